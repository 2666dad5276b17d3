//! Checkpoints: what the log signs, in the text forms of C2SP `signed-note` and `tlog-checkpoint`.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use creta_model::Environment;

use crate::AuditError;
use crate::tree::{Hash, sha256};

const ED25519_ALGORITHM: u8 = 0x01; // C2SP signed-note, "Signature types".
const SIGNATURES_MAX: usize = 32; // The specification asks verifiers to accept at least 16, and to set a limit.

/// Name of an environment's log: first line of its checkpoints and name of its key.
pub(crate) fn origin(environment: &Environment) -> String {
    format!("creta/{environment}/audit")
}

/// The state of a log at one moment: how many entries, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            Some((&ED25519_ALGORITHM, public)) => public.try_into().map_err(|_| malformed("its key is not 32 bytes"))?,
            _ => return Err(malformed("its key is not of type Ed25519")),
        };
        if !is_key_name(name) {
            return Err(malformed("its name is empty or has spaces"));
        }
        let parsed = Self { name: name.to_owned(), public };
        if id == hex::encode(parsed.key_id()) { Ok(parsed) } else { Err(malformed("its id does not belong to its key")) }
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
