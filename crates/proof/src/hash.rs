//! SHA-256 as RFC 6962 uses it.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::ProofError;

/// A SHA-256 hash: of an entry, of a subtree, or of the whole tree. Shown, and written in JSON, in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// From its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The form that checkpoints use: base64 of RFC 4648 §4.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads the form that checkpoints use.
    pub fn from_base64(text: &str) -> Option<Self> {
        Some(Self(STANDARD.decode(text).ok()?.try_into().ok()?))
    }

    /// Of a tree without entries: the hash of nothing.
    pub fn empty() -> Self {
        Self::of(&[])
    }

    /// Of one entry. Leaf prefix 0x00: RFC 6962 §2.1.
    pub fn leaf(entry: &[u8]) -> Self {
        Self::of(&[&[0x00], entry])
    }

    /// Of two subtrees. Node prefix 0x01: RFC 6962 §2.1.
    pub fn node(left: &Hash, right: &Hash) -> Self {
        Self::of(&[&[0x01], &left.0, &right.0])
    }

    /// Plain SHA-256 of the parts one after the other, with no prefix: for files and evidence, never for tree nodes.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        Self(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = ProofError;
    fn try_from(text: String) -> Result<Self, ProofError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes)
            .map_err(|_| ProofError::Proof { rule: "a hash is not 64 hexadecimal digits" })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_hexadecimal_in_json() {
        let json = serde_json::to_string(&Hash::empty()).expect("serializes");
        assert_eq!(json, "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"");
        assert_eq!(serde_json::from_str::<Hash>(&json).expect("own form"), Hash::empty());
        assert!(serde_json::from_str::<Hash>("\"e3b0\"").is_err());
    }
}
