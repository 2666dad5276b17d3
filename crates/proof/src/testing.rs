//! Keys that sign, for tests: outside of them this crate has none.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use crate::{Checkpoint, Hash, KeyKind, SignedCheckpoint, Time, VerifierKey};

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
