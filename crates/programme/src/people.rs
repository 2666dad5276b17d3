//! Humans, and the accounts they act through.

use std::fmt;

use creta_iam::PrincipalId;
use serde::{Deserialize, Serialize};

/// A human. One person may act through several accounts; rules about "another person" compare this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonId(PrincipalId);

impl PersonId {
    /// The human of this name in the one source of identities.
    pub fn new(id: PrincipalId) -> Self {
        Self(id)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An account together with the human behind it, as the source of identities knows them. It comes from authentication,
/// never from a body.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonRef {
    /// The account that was signed in.
    pub account: PrincipalId,
    /// The human whose account it is.
    pub person: PersonId,
}

impl PersonRef {
    /// Whether both are accounts of one human.
    pub fn is_same_human(&self, other: &Self) -> bool {
        self.person == other.person
    }
}

impl fmt::Display for PersonRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.account.fmt(f)
    }
}

/// Whoever can hold rights, as one name: `person:ana`, `service-account:prod/acme/etl`, `device:prod/ana-laptop`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubjectId(String);

/// Why a text names no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a subject is named like `person:ana`: 1 to 128 letters, digits and `._:/@+#-`")]
pub struct InvalidSubject;

impl SubjectId {
    /// 1 to 128 ASCII letters, digits and `._:/@+#-`: what the audit log takes as a name.
    pub fn parse(text: &str) -> Result<Self, InvalidSubject> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@+#-".contains(&b);
        let valid = (1..=128).contains(&text.len()) && text.bytes().all(plain);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidSubject) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SubjectId {
    type Error = InvalidSubject;
    fn try_from(text: String) -> Result<Self, InvalidSubject> {
        Self::parse(&text)
    }
}

impl From<SubjectId> for String {
    fn from(id: SubjectId) -> String {
        id.0
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
