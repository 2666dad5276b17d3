//! Keys that sign, for tests: outside of them this crate has none.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use crate::{Checkpoint, Hash, KeyKind, SignedCheckpoint, Time, Tree, VerifierKey};

pub(crate) struct Key {
    pair: Ed25519KeyPair,
    pub(crate) public: VerifierKey,
}

impl Key {
    pub(crate) fn log(name: &str, seed: u8) -> Self {
        Self::new(KeyKind::Log, name, seed)
    }

    pub(crate) fn witness(name: &str, seed: u8) -> Self {
        Self::new(KeyKind::Witness, name, seed)
    }

    fn new(kind: KeyKind, name: &str, seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes");
        let public = pair.public_key().as_ref().try_into().expect("32 bytes");
        Self { pair, public: VerifierKey::new(kind, name, public).expect("a name") }
    }

    pub(crate) fn sign(&self, size: u64, root: Hash) -> SignedCheckpoint {
        Checkpoint { origin: self.public.name().to_owned(), size, root }.sign(&self.public, |text| self.raw(text))
    }

    pub(crate) fn cosign(&self, checkpoint: &Checkpoint, at: Time) -> String {
        checkpoint.cosign(&self.public, at, |text| self.raw(text))
    }

    fn raw(&self, text: &[u8]) -> [u8; 64] {
        self.pair.sign(text).as_ref().try_into().expect("64 bytes")
    }
}

/// A log of `size` entries, one a second, in the form that is checked.
pub(crate) fn log(size: u64) -> (Tree, Vec<Vec<u8>>) {
    let entries: Vec<Vec<u8>> = (0..size).map(|turn| entry(turn, turn)).collect();
    let mut tree = Tree::default();
    entries.iter().for_each(|entry| tree.push(Hash::leaf(entry)));
    (tree, entries)
}

/// An entry, so and so many seconds after the log began.
pub(crate) fn entry(turn: u64, seconds: u64) -> Vec<u8> {
    let micros = i64::try_from(seconds).expect("small") * 1_000_000;
    let time = Time::from_micros(1_772_366_400_000_000 + micros).expect("this century");
    let details = format!(r#"{{"turn":"{turn}"}}"#);
    format!(r#"{{"action":"deploy","details":{details},"time":"{time}","version":"creta.audit/1"}}"#).into_bytes()
}
