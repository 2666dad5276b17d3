//! A small log with a signing key, its exported folder, and a way to run the tool on it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use creta_proof::export::tile_paths;
use creta_proof::{
    Checkpoint, Hash, KeyKind, SignedCheckpoint, Time, Tree, VerifierKey, bundle_of, parse_tile_index, tile_hashes,
};
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "creta/prod/audit";
pub(crate) const WITNESS: &str = "witness.example/creta";

/// A key that signs, as a log or a witness has it.
pub(crate) struct Key {
    pair: Ed25519KeyPair,
    pub(crate) public: VerifierKey,
}

impl Key {
    pub(crate) fn new(kind: KeyKind, name: &str, seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes");
        let public = pair.public_key().as_ref().try_into().expect("32 bytes");
        Self { pair, public: VerifierKey::new(kind, name, public).expect("a name") }
    }

    pub(crate) fn sign(&self, entries: &[Vec<u8>]) -> SignedCheckpoint {
        let tree = tree_of(entries);
        let root = tree.root(tree.len()).expect("its own");
        Checkpoint { origin: self.public.name().to_owned(), size: tree.len(), root }
            .sign(&self.public, |text| self.raw(text))
    }

    pub(crate) fn cosign(&self, signed: &SignedCheckpoint, at: &str) -> SignedCheckpoint {
        let at = Time::parse(at).expect("a time");
        let line = signed.claimed().cosign(&self.public, at, |text| self.raw(text));
        signed.with_signatures(&line).expect("well formed")
    }

    fn raw(&self, text: &[u8]) -> [u8; 64] {
        self.pair.sign(text).as_ref().try_into().expect("64 bytes")
    }
}

pub(crate) fn log_key() -> Key {
    Key::new(KeyKind::Log, ORIGIN, 7)
}

pub(crate) fn witness_key() -> Key {
    Key::new(KeyKind::Witness, WITNESS, 3)
}

pub(crate) fn tree_of(entries: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::default();
    entries.iter().for_each(|entry| tree.push(Hash::leaf(entry)));
    tree
}

/// An entry so and so many hours after the log began.
pub(crate) fn entry(turn: u64, hour: u64) -> Vec<u8> {
    let micros = 1_772_366_400_000_000 + i64::try_from(hour).expect("small") * 3_600_000_000;
    let (time, details) = (Time::from_micros(micros).expect("this century"), format!(r#"{{"turn":"{turn}"}}"#));
    format!(r#"{{"action":"deploy","details":{details},"time":"{time}","version":"creta.audit/1"}}"#).into_bytes()
}

/// One entry an hour.
pub(crate) fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|turn| entry(turn, turn)).collect()
}

/// An exported log.
pub(crate) struct Export(TempDir);

impl Export {
    pub(crate) fn of(entries: &[Vec<u8>]) -> Self {
        let export = Self(tempfile::tempdir().expect("a folder"));
        let paths: Vec<String> = tile_paths(entries.len() as u64).collect();
        paths.iter().for_each(|path| export.put_tile(path, entries));
        export.put("checkpoint", log_key().sign(entries).as_str().as_bytes());
        export
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let file = self.path().join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, bytes).expect("written");
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.path().join(path)).expect("removed");
    }

    /// Writes the tile or bundle of this path as it is for other entries.
    pub(crate) fn put_tile(&self, path: &str, entries: &[Vec<u8>]) {
        let (level, index) = path.strip_prefix("tile/").and_then(|path| path.split_once('/')).expect("a tile");
        let (index, width) = parse_tile_index(index).expect("a tile");
        let bytes = match level {
            "entries" => bundle_of(entries, index, width),
            level => tile_hashes(&tree_of(entries), level.parse().expect("a level"), index, width),
        };
        self.put(path, &bytes.expect("there are as many entries"));
    }

    /// Runs `creta-verify log` on it with the log's key.
    pub(crate) fn verify(&self, more: &[&str]) -> Outcome {
        let (folder, key) = (self.path().to_str().expect("text").to_owned(), log_key().public.to_string());
        run(&[&["log", &folder, "--key", &key], more].concat())
    }
}

/// How the tool ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn verified(self) -> String {
        assert_eq!(self.code, 0, "{}", self.text);
        self.text
    }

    /// Not verified, with a message that says this.
    #[track_caller]
    pub(crate) fn refused(self, saying: &str) {
        assert_eq!(self.code, 1, "{}", self.text);
        assert!(self.text.starts_with("NOT verified: ") && self.text.contains(saying), "`{saying}` in: {}", self.text);
    }

    #[track_caller]
    pub(crate) fn wrong_use(self, saying: &str) {
        assert_eq!(self.code, 2, "{}", self.text);
        assert!(self.text.contains(saying), "`{saying}` in: {}", self.text);
    }
}

pub(crate) fn run(arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_creta-verify")).args(arguments).output();
    let Output { status, stdout, stderr } = output.expect("it runs");
    let text = String::from_utf8([stdout, stderr].concat()).expect("text");
    Outcome { code: status.code().expect("not killed"), text }
}
