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
