//! Checkpoints: what the log signs, in the text forms of C2SP `signed-note` and `tlog-checkpoint`.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use creta_model::Environment;
use serde::Serialize;

use crate::AuditError;
use crate::tree::{Hash, sha256};

const ED25519_ALGORITHM: u8 = 0x01; // C2SP signed-note, "Signature types".
const SIGNATURES_MAX: usize = 32; // The specification asks verifiers to accept at least 16, and to set a limit.

/// Name of an environment's log: first line of its checkpoints and name of its key.
pub(crate) fn origin(environment: &Environment) -> String {
    format!("creta/{environment}/audit")
}

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
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    fn parse(text: &str) -> Result<Self, AuditError> {
        let malformed = |rule| AuditError::Checkpoint { rule };
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
    pub fn parse(note: &str) -> Result<Self, AuditError> {
        let malformed = |rule| AuditError::Checkpoint { rule };
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

    /// Checks the signature of `key`. Signatures of other keys (witnesses, older keys) are passed over; a wrong one of
    /// this key refuses the whole note, and so does an origin that is not the key's.
    pub fn verify(&self, key: &VerifierKey) -> Result<Checkpoint, AuditError> {
        if self.checkpoint.origin != key.name {
            let (given, expected) = (self.checkpoint.origin.clone(), key.name.clone());
            return Err(AuditError::OtherLog { given, expected });
        }
        let text = self.checkpoint.text();
        let mut signed = false;
        for by in self.signatures.iter().filter(|by| by.name == key.name && by.key_id == key.key_id()) {
            UnparsedPublicKey::new(&ED25519, key.public)
                .verify(text.as_bytes(), &by.signature)
                .map_err(|_| AuditError::Signature { key: key.name.clone() })?;
            signed = true;
        }
        if signed { Ok(self.checkpoint.clone()) } else { Err(AuditError::Unsigned { key: key.to_string() }) }
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

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

/// The public half of a log's key, by which its checkpoints are recognised. Shown and read as a `vkey`:
/// `name+hex(key id)+base64(0x01, public key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// Reads the text form; the key id in it must belong to name and key.
    pub fn parse(vkey: &str) -> Result<Self, AuditError> {
        let malformed = |rule| AuditError::VerifierKey { rule };
        let mut parts = vkey.splitn(3, '+'); // Base64 may hold further plus signs.
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("it is not `name+id+key`"));
        };
        let bytes = STANDARD.decode(key).map_err(|_| malformed("its key is not base64"))?;
        let public = match bytes.split_first() {
            Some((&ED25519_ALGORITHM, public)) => {
                public.try_into().map_err(|_| malformed("its key is not 32 bytes"))?
            }
            _ => return Err(malformed("its key is not of type Ed25519")),
        };
        if !is_key_name(name) {
            return Err(malformed("its name is empty or has spaces"));
        }
        let parsed = Self { name: name.to_owned(), public };
        if id == hex::encode(parsed.key_id()) {
            Ok(parsed)
        } else {
            Err(malformed("its id does not belong to its key"))
        }
    }

    /// The log it belongs to: `creta/<environment>/audit`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First four bytes of SHA-256(name, newline, 0x01, public key): C2SP signed-note, "Ed25519 signatures".
    fn key_id(&self) -> [u8; 4] {
        let hash = sha256(&[self.name.as_bytes(), b"\n", &[ED25519_ALGORITHM], &self.public]);
        *hash.as_bytes().first_chunk().expect("a hash has four bytes")
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[ED25519_ALGORITHM], self.public.as_slice()].concat());
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.key_id()))
    }
}

/// The private half. It never leaves the log.
pub(crate) struct Signer {
    key: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl Signer {
    /// From the 32 bytes of RFC 8032 §5.1.5.
    pub(crate) fn from_seed(environment: &Environment, seed: &[u8]) -> Result<Self, AuditError> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| AuditError::SigningKey { rule: "is not the 32 bytes that were stored" })?;
        let public = key.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        Ok(Self { key, verifier: VerifierKey { name: origin(environment), public } })
    }

    pub(crate) fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    pub(crate) fn sign(&self, size: u64, root: Hash) -> SignedCheckpoint {
        let checkpoint = Checkpoint { origin: self.verifier.name.clone(), size, root };
        let (name, key_id) = (self.verifier.name.clone(), self.verifier.key_id());
        let signature = self.key.sign(checkpoint.text().as_bytes()).as_ref().to_vec();
        let encoded = STANDARD.encode([key_id.as_slice(), &signature].concat());
        let text = format!("{}\n\u{2014} {name} {encoded}\n", checkpoint.text());
        SignedCheckpoint { text, checkpoint, signatures: vec![Signature { name, key_id, signature }] }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let verify = |text: &str| UnparsedPublicKey::new(&ED25519, key.public).verify(text.as_bytes(), &by.signature);
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
            ("a cut key", SUMDB[..SUMDB.len() - 4].to_owned()),
            ("no key", "sum.golang.org+033de0ae".to_owned()),
        ] {
            assert!(matches!(VerifierKey::parse(&vkey), Err(AuditError::VerifierKey { .. })), "{what}");
        }
    }

    fn signer() -> Signer {
        Signer::from_seed(&Environment::parse("prod").expect("valid"), &[7; 32]).expect("32 bytes")
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
        assert_eq!(read.verify(signer.verifier()).expect("own signature"), *signed.claimed());
    }

    #[test]
    fn other_signatures_are_passed_over_and_a_wrong_one_refuses_the_note() {
        let signer = signer();
        let signed = signer.sign(1, Hash::empty());
        let witness = "\u{2014} witness.example/w1 AAAAAAAA\n";
        let witnessed = SignedCheckpoint::parse(&format!("{signed}{witness}")).expect("well formed");
        assert!(witnessed.verify(signer.verifier()).is_ok());

        let body = signed.as_str().split_inclusive("\n\n").next().expect("a text");
        let by_witness = SignedCheckpoint::parse(&format!("{body}{witness}")).expect("well formed");
        assert!(matches!(by_witness.verify(signer.verifier()), Err(AuditError::Unsigned { .. })));

        let other = signer.sign(2, Hash::empty());
        let wrong = other.as_str().lines().last().expect("a signature");
        let both = SignedCheckpoint::parse(&format!("{signed}{wrong}\n")).expect("well formed");
        assert!(matches!(both.verify(signer.verifier()), Err(AuditError::Signature { .. })));
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
            assert!(matches!(SignedCheckpoint::parse(&bad), Err(AuditError::Checkpoint { .. })), "{what}");
        }
        let line = good.lines().last().expect("a signature");
        let many = format!("{good}{}", format!("{line}\n").repeat(SIGNATURES_MAX));
        assert!(matches!(SignedCheckpoint::parse(&many), Err(AuditError::Checkpoint { .. })));
    }
}
