//! The form that all documents share: canonical JSON (RFC 8785) that names its own format.

use std::fmt;

use creta_proof::Hash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Random name of a request, an order, a grant, a campaign: 128 bits in hexadecimal. Whoever calls brings the bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordId([u8; 16]);

impl RecordId {
    /// From 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the 32 hexadecimal digits that `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).ok()?.try_into().ok()?;
        // One name has one form, so upper case is another name.
        (!text.bytes().any(|b| b.is_ascii_uppercase())).then_some(Self(bytes))
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<RecordId> for String {
    fn from(id: RecordId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for RecordId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a record is named by 32 hexadecimal digits")
    }
}

/// Why stored bytes are not the document they should be. Nothing of them is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a usable `{format}` document: {rule}; restore it from a backup, and look in the log who changed it"
)]
pub struct DocumentError {
    /// What it should have been, for example `creta.access-request/1`.
    pub format: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// A document with a format of its own and rules that hold between its members.
pub(crate) trait Document: Serialize + DeserializeOwned {
    const FORMAT: &'static str;

    fn format(&self) -> &str;

    /// The rule that its members break, if any.
    fn broken_rule(&self) -> Option<&'static str>;

    fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        let fault = |rule| DocumentError { format: Self::FORMAT, rule };
        let document: Self = serde_json::from_slice(bytes).map_err(|_| fault("it does not have its members"))?;
        if document.format() != Self::FORMAT {
            return Err(fault("its format is not known to this build"));
        }
        if canonical(&document) != bytes {
            return Err(fault("it is not canonical JSON"));
        }
        document.broken_rule().map_or(Ok(document), |rule| Err(fault(rule)))
    }
}

/// `parse` and `to_bytes` for a document, in the form that everybody calls.
macro_rules! document {
    ($name:ident, $format:expr) => {
        impl $name {
            /// Reads what [`Self::to_bytes`] wrote, and checks that its members agree with one another.
            pub fn parse(bytes: &[u8]) -> Result<Self, $crate::DocumentError> {
                <Self as $crate::document::Document>::read(bytes)
            }

            /// The bytes to seal and store: canonical JSON.
            pub fn to_bytes(&self) -> Vec<u8> {
                $crate::document::canonical(self)
            }
        }

        impl $crate::document::Document for $name {
            const FORMAT: &'static str = $format;

            fn format(&self) -> &str {
                &self.format
            }

            fn broken_rule(&self) -> Option<&'static str> {
                Self::broken_rule(self)
            }
        }
    };
}
pub(crate) use document;

pub(crate) fn canonical(value: &impl Serialize) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("names, texts and small whole numbers have a canonical form")
}

pub(crate) fn digest(value: &impl Serialize) -> Hash {
    Hash::of(&[&canonical(value)])
}
