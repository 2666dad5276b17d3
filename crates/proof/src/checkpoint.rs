//! Checkpoints: what a log signs and a witness cosigns, in the text forms of C2SP `signed-note`, `tlog-checkpoint` and
//! `tlog-cosignature`.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::{Hash, ProofError, Time};

const SIGNATURES_MAX: usize = 32; // The specification asks verifiers to accept at least 16, and to set a limit.

/// The state of a log at one moment: how many entries, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// Which log: `creta/<environment>/audit`.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root of RFC 6962 over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed, with its last newline.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// This checkpoint as a signed note. `key` is the log's, `sign` signs with its private half (Ed25519, RFC 8032).
    pub fn sign(self, key: &VerifierKey, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> SignedCheckpoint {
        let by = Signature {
            name: key.name.clone(),
            key_id: key.key_id(),
            signature: sign(self.text().as_bytes()).to_vec(),
        };
        SignedCheckpoint { text: format!("{}\n{by}\n", self.text()), checkpoint: self, signatures: vec![by] }
    }

    /// The line, with its newline, by which a witness says that at `at` this was the largest checkpoint of this log that
    /// it had seen, and that it continues all it saw before. Fractions of a second are left out. `key` is the witness's.
    /// C2SP tlog-cosignature, "Ed25519 signed message". A time before 1970 counts as its first second.
    pub fn cosign(&self, key: &VerifierKey, at: Time, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> String {
        let seconds = u64::try_from(at.micros() / 1_000_000).unwrap_or(0);
        let signature = [seconds.to_be_bytes().as_slice(), &sign(self.cosigned_text(seconds).as_bytes())].concat();
        format!("{}\n", Signature { name: key.name.clone(), key_id: key.key_id(), signature })
    }

    fn cosigned_text(&self, seconds: u64) -> String {
        format!("cosignature/v1\ntime {seconds}\n{}", self.text())
    }

    fn parse(text: &str) -> Result<Self, ProofError> {
        let malformed = |rule| ProofError::Checkpoint { rule };
        let body = text.strip_suffix('\n').ok_or(malformed("its text does not end with a newline"))?;
        let lines: Vec<&str> = body.split('\n').collect();
        // Extension lines are allowed by the specification, not recommended, and nothing here could check them.
        let [origin, size, root] = lines[..] else {
            return Err(malformed("its text is not three lines: origin, size and root"));
        };
        if origin.is_empty() {
            return Err(malformed("its origin is empty"));
        }
        let number: u64 = size.parse().map_err(|_| malformed("its size is not a number"))?;
        if number.to_string() != size {
            return Err(malformed("its size is not written plainly"));
        }
        let root = Hash::from_base64(root).ok_or(malformed("its root is not 32 bytes of base64"))?;
        Ok(Self { origin: origin.to_owned(), size: number, root })
    }
}

/// A checkpoint with its signatures, as text that can be published. Not yet verified: see [`SignedCheckpoint::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    text: String,
    checkpoint: Checkpoint,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    key_id: [u8; 4],
    signature: Vec<u8>,
}

impl SignedCheckpoint {
    /// Reads a signed note: the text, an empty line, and at least one line `— name base64(key id, signature)`.
    pub fn parse(note: &str) -> Result<Self, ProofError> {
        let malformed = |rule| ProofError::Checkpoint { rule };
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(malformed("it contains control characters"));
        }
        let blank = note.rfind("\n\n").ok_or(malformed("it has no signatures"))?;
        let (text, lines) = (&note[..=blank], &note[blank + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(malformed("its last line is cut off"))?;
        let signatures = lines
            .split('\n')
            .map(|line| Signature::parse(line).ok_or(malformed("a signature line is malformed")))
            .collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(malformed("it has too many signatures"));
        }
        Ok(Self { text: note.to_owned(), checkpoint: Checkpoint::parse(text)?, signatures })
    }

    /// Checks the signature of `key`, which is a log's. Signatures of other keys (witnesses, older keys) are passed over; a wrong one of
    /// this key refuses the whole note, and so does an origin that is not the key's.
    pub fn verify(&self, key: &VerifierKey) -> Result<Checkpoint, ProofError> {
        key.require(KeyKind::Log)?;
        if self.checkpoint.origin != key.name {
            let (given, expected) = (self.checkpoint.origin.clone(), key.name.clone());
            return Err(ProofError::OtherLog { given, expected });
        }
        let text = self.checkpoint.text();
        let mut signed = false;
        for by in self.signatures_of(key) {
            key.check(text.as_bytes(), &by.signature)?;
            signed = true;
        }
        if signed { Ok(self.checkpoint.clone()) } else { Err(ProofError::Unsigned { key: key.to_string() }) }
    }

    /// When the witness of `key` cosigned this, by the witness's clock; the latest time where it did so again. Whether the
    /// log signed it is asked of [`verify`](Self::verify). A wrong cosignature of this key refuses the whole note.
    pub fn cosigned(&self, key: &VerifierKey) -> Result<Time, ProofError> {
        key.require(KeyKind::Witness)?;
        let mut newest = None;
        for by in self.signatures_of(key) {
            let wrong = || ProofError::Signature { key: key.name.clone() };
            let (seconds, signature) = by.signature.split_first_chunk::<8>().ok_or_else(wrong)?;
            let seconds = u64::from_be_bytes(*seconds);
            key.check(self.checkpoint.cosigned_text(seconds).as_bytes(), signature)?;
            let micros = i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1_000_000));
            newest = newest.max(Some(micros.and_then(Time::from_micros).ok_or_else(wrong)?));
        }
        newest.ok_or_else(|| ProofError::NotCosigned { key: key.to_string() })
    }

    /// With further signature lines, as a witness answers them. Lines that are there already are left out.
    pub fn with_signatures(&self, lines: &str) -> Result<Self, ProofError> {
        let new: String = lines.split_inclusive('\n').filter(|line| !self.text.contains(line)).collect();
        Self::parse(&format!("{}{new}", self.text))
    }

    fn signatures_of(&self, key: &VerifierKey) -> impl Iterator<Item = &Signature> {
        let key_id = key.key_id();
        self.signatures.iter().filter(move |by| by.name == key.name && by.key_id == key_id)
    }

    /// The signed note as it is published.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says, whether true or not.
    pub fn claimed(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Signature {
    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (key_id, signature) = bytes.split_first_chunk::<4>()?;
        is_key_name(name).then(|| Self { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = STANDARD.encode([self.key_id.as_slice(), &self.signature].concat());
        write!(f, "\u{2014} {} {encoded}", self.name)
    }
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Checkpoints of one log, whose name it bears.
    Log,
    /// Cosignatures with a time on checkpoints of other people's logs.
    Witness,
}

impl KeyKind {
    /// C2SP signed-note, "Signature types".
    const fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }
}

/// The public half of an Ed25519 key, by which the checkpoints of a log or the cosignatures of a witness are recognised.
/// Shown and read as a `vkey`: `name+hex(key id)+base64(kind, public key)`, the kind being one byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    kind: KeyKind,
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// Of a public key. The name is that of the log (`creta/<environment>/audit`) or of the witness
    /// (`witness.example.com/creta`): not empty, without spaces and plus signs.
    pub fn new(kind: KeyKind, name: &str, public: [u8; 32]) -> Result<Self, ProofError> {
        if !is_key_name(name) {
            return Err(ProofError::VerifierKey { rule: "its name is empty or has spaces" });
        }
        Ok(Self { kind, name: name.to_owned(), public })
    }

    /// Reads the text form; the key id in it must belong to name and key.
    pub fn parse(vkey: &str) -> Result<Self, ProofError> {
        let malformed = |rule| ProofError::VerifierKey { rule };
        let mut parts = vkey.splitn(3, '+'); // Base64 may hold further plus signs.
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("it is not `name+id+key`"));
        };
        let bytes = STANDARD.decode(key).map_err(|_| malformed("its key is not base64"))?;
        let (kind, public) = match bytes.split_first() {
            Some((0x01, public)) => (KeyKind::Log, public),
            Some((0x04, public)) => (KeyKind::Witness, public),
            _ => return Err(malformed("its key is not of type Ed25519")),
        };
        let parsed = Self::new(kind, name, public.try_into().map_err(|_| malformed("its key is not 32 bytes"))?)?;
        if id == hex::encode(parsed.key_id()) {
            Ok(parsed)
        } else {
            Err(malformed("its id does not belong to its key"))
        }
    }

    /// The log or the witness it belongs to.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// First four bytes of SHA-256(name, newline, kind, public key): C2SP signed-note, "Signatures".
    fn key_id(&self) -> [u8; 4] {
        let hash = Hash::of(&[self.name.as_bytes(), b"\n", &[self.kind.byte()], &self.public]);
        *hash.as_bytes().first_chunk().expect("a hash has four bytes")
    }

    fn check(&self, text: &[u8], signature: &[u8]) -> Result<(), ProofError> {
        let checked = UnparsedPublicKey::new(&ED25519, self.public).verify(text, signature);
        checked.map_err(|_| ProofError::Signature { key: self.name.clone() })
    }

    fn require(&self, kind: KeyKind) -> Result<(), ProofError> {
        match (kind, self.kind) {
            (KeyKind::Log, KeyKind::Witness) => {
                Err(ProofError::VerifierKey { rule: "it is a witness's key where a log's is asked for" })
            }
            (KeyKind::Witness, KeyKind::Log) => {
                Err(ProofError::VerifierKey { rule: "it is a log's key where a witness's is asked for" })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[self.kind.byte()], self.public.as_slice()].concat());
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.key_id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Key;

    // Published keys and notes of the Go checksum database and of its note format's documentation.
    const SUMDB: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    const EXAMPLE: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn published_verifier_keys_are_read_and_written() {
        for vkey in [SUMDB, EXAMPLE] {
            assert_eq!(VerifierKey::parse(vkey).expect("published").to_string(), vkey);
        }
    }

    #[test]
    fn a_published_signature_verifies() {
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let line = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        let key = VerifierKey::parse(EXAMPLE).expect("published");
        let by = Signature::parse(line).expect("published");
        assert_eq!((by.name.as_str(), by.key_id), (key.name(), key.key_id()));
        let verify = |text: &str| key.check(text.as_bytes(), &by.signature);
        assert!(verify(text).is_ok());
        assert!(verify(text.trim_end()).is_err(), "the last newline is signed too");
    }

    #[test]
    fn verifier_keys_that_do_not_fit_together_are_refused() {
        for (what, vkey) in [
            ("another id", SUMDB.replacen("033de0ae", "033de0af", 1)),
            ("an uppercase id", SUMDB.replacen("033de0ae", "033DE0AE", 1)),
            ("another name", SUMDB.replacen("sum.golang.org", "sum.golang.com", 1)),
            ("no name", SUMDB.replacen("sum.golang.org", "", 1)),
            ("another algorithm", SUMDB.replacen("+Ac4", "+As4", 1)),
            ("the kind of a witness", SUMDB.replacen("+Ac4", "+BM4", 1)),
            ("a cut key", SUMDB[..SUMDB.len() - 4].to_owned()),
            ("no key", "sum.golang.org+033de0ae".to_owned()),
        ] {
            assert!(matches!(VerifierKey::parse(&vkey), Err(ProofError::VerifierKey { .. })), "{what}");
        }
    }

    fn signer() -> Key {
        Key::log("creta/prod/audit", 7)
    }

    #[test]
    fn a_checkpoint_has_the_form_of_the_specification() {
        let signer = signer();
        let signed = signer.sign(20_852_163, Hash::empty());
        let lines: Vec<&str> = signed.as_str().split('\n').collect();
        assert_eq!(lines[..4], ["creta/prod/audit", "20852163", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", ""]);
        assert!(lines[4].starts_with("\u{2014} creta/prod/audit "), "{}", lines[4]);
        assert_eq!(lines[5..], [""]);
        let read = SignedCheckpoint::parse(signed.as_str()).expect("own form");
        assert_eq!(read, signed);
        assert_eq!(read.verify(&signer.public).expect("own signature"), *signed.claimed());
    }

    #[test]
    fn other_signatures_are_passed_over_and_a_wrong_one_refuses_the_note() {
        let signer = signer();
        let signed = signer.sign(1, Hash::empty());
        let witness = "\u{2014} witness.example/w1 AAAAAAAA\n";
        let witnessed = SignedCheckpoint::parse(&format!("{signed}{witness}")).expect("well formed");
        assert!(witnessed.verify(&signer.public).is_ok());

        let body = signed.as_str().split_inclusive("\n\n").next().expect("a text");
        let by_witness = SignedCheckpoint::parse(&format!("{body}{witness}")).expect("well formed");
        assert!(matches!(by_witness.verify(&signer.public), Err(ProofError::Unsigned { .. })));

        let other = signer.sign(2, Hash::empty());
        let wrong = other.as_str().lines().last().expect("a signature");
        let both = SignedCheckpoint::parse(&format!("{signed}{wrong}\n")).expect("well formed");
        assert!(matches!(both.verify(&signer.public), Err(ProofError::Signature { .. })));
    }

    #[test]
    fn malformed_checkpoints_are_refused() {
        let good = signer().sign(5, Hash::empty()).to_string();
        for (what, from, to) in [
            ("a size with zeroes", "\n5\n", "\n05\n"),
            ("a signed size", "\n5\n", "\n+5\n"),
            ("no number", "\n5\n", "\nfive\n"),
            ("a short root", "47DE", ""),
            ("an extension line", "\n\n", "\nmore\n\n"),
            ("no origin", "creta/prod/audit\n", "\n"),
            ("a carriage return", "\n5\n", "\r\n5\n"),
            ("no blank line", "\n\n", "\n"),
            ("two hyphens for the dash", "\u{2014} ", "-- "),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{what}");
            assert!(matches!(SignedCheckpoint::parse(&bad), Err(ProofError::Checkpoint { .. })), "{what}");
        }
        let line = good.lines().last().expect("a signature");
        let many = format!("{good}{}", format!("{line}\n").repeat(SIGNATURES_MAX));
        assert!(matches!(SignedCheckpoint::parse(&many), Err(ProofError::Checkpoint { .. })));
    }

    fn at(text: &str) -> Time {
        Time::parse(text).expect("valid")
    }

    #[test]
    fn a_cosignature_has_the_form_of_the_specification() {
        let (signer, witness) = (signer(), Key::witness("witness.example.com/w1", 3));
        let signed = signer.sign(20_852_163, Hash::empty());
        let line = witness.cosign(signed.claimed(), at("2023-03-20T12:25:47.9Z".replace(".9", ".900000").as_str()));
        let (name, encoded) =
            line.strip_prefix("\u{2014} ").and_then(|l| l.trim_end().split_once(' ')).expect("a line");
        let bytes = STANDARD.decode(encoded).expect("base64");
        assert_eq!((name, bytes.len()), ("witness.example.com/w1", 4 + 8 + 64));
        assert_eq!(bytes[..4], Hash::of(&[b"witness.example.com/w1\n\x04", &witness.public.public]).as_bytes()[..4]);
        assert_eq!(bytes[4..12], 1_679_315_147_u64.to_be_bytes());
        let message = "cosignature/v1\ntime 1679315147\ncreta/prod/audit\n20852163\n\
                       47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
        witness.public.check(message.as_bytes(), &bytes[12..]).expect("signed as specified");

        let cosigned = signed.with_signatures(&line).expect("well formed");
        assert_eq!(cosigned.cosigned(&witness.public).expect("its own"), at("2023-03-20T12:25:47Z"));
        cosigned.verify(&signer.public).expect("the log's signature is still there");
        assert_eq!(cosigned.with_signatures(&line).expect("well formed"), cosigned, "once is enough");
        let later = witness.cosign(signed.claimed(), at("2023-03-21T00:00:00Z"));
        let again = cosigned.with_signatures(&later).expect("well formed");
        assert_eq!(again.cosigned(&witness.public).expect("its own"), at("2023-03-21T00:00:00Z"));
    }

    #[test]
    fn attack_ch44_a_cosignature_counts_only_as_it_was_given() {
        let (signer, witness) = (signer(), Key::witness("witness.example.com/w1", 3));
        let (one, two) = (signer.sign(1, Hash::leaf(b"a")), signer.sign(1, Hash::leaf(b"b")));
        assert!(matches!(one.cosigned(&witness.public), Err(ProofError::NotCosigned { .. })));
        let line = witness.cosign(one.claimed(), at("2026-03-01T12:00:00Z"));
        let moved = two.with_signatures(&line).expect("well formed");
        assert!(matches!(moved.cosigned(&witness.public), Err(ProofError::Signature { .. })));

        // The time is signed too.
        let (name, encoded) = line.trim_end().rsplit_once(' ').expect("a line");
        let mut bytes = STANDARD.decode(encoded).expect("base64");
        bytes[11] += 1;
        let later = one.with_signatures(&format!("{name} {}\n", STANDARD.encode(&bytes))).expect("well formed");
        assert!(matches!(later.cosigned(&witness.public), Err(ProofError::Signature { .. })));
        let cut = one.with_signatures(&format!("{name} {}\n", STANDARD.encode(&bytes[..9]))).expect("well formed");
        assert!(matches!(cut.cosigned(&witness.public), Err(ProofError::Signature { .. })));
    }

    #[test]
    fn a_log_cannot_stand_in_for_a_witness_nor_the_other_way_round() {
        let (signer, witness) = (signer(), Key::witness("creta/prod/audit", 7));
        let signed = signer.sign(1, Hash::empty());
        assert!(matches!(signed.cosigned(&signer.public), Err(ProofError::VerifierKey { .. })));
        assert!(matches!(signed.verify(&witness.public), Err(ProofError::VerifierKey { .. })));
        assert!(matches!(signed.cosigned(&witness.public), Err(ProofError::NotCosigned { .. })), "same name, same key");
        assert_eq!(VerifierKey::parse(&witness.public.to_string()).expect("own form"), witness.public);
    }
}
