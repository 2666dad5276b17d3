//! What a transition asks to be written into the audit log before it takes effect.

use std::fmt;

use creta_model::Instant;
use creta_proof::Hash;

/// One detail of an entry. The audit log takes each kind as it is; there is none for free text.
#[derive(Clone, PartialEq, Eq)]
pub enum Detail {
    /// A name that people gave: of an account, a role, a place, a ticket.
    Name(String),
    /// How many.
    Count(u64),
    /// SHA-256 of a document.
    Digest(Hash),
    /// When.
    Instant(Instant),
    /// Words of people. Only their hash under the log's key may be written.
    Keyed(String),
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Digest(digest) => write!(f, "sha256:{digest}"),
            Self::Instant(at) => write!(f, "{at}"),
            Self::Keyed(_) => f.write_str("hmac:..."),
        }
    }
}

/// An entry of the audit log that is still to be written: what happened, and its details in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What happened, for example `access.request.opened`.
    pub action: &'static str,
    /// At most 32, each key once.
    pub details: Vec<(&'static str, Detail)>,
}

impl Draft {
    pub(crate) fn new(action: &'static str) -> Self {
        Self { action, details: Vec::new() }
    }

    pub(crate) fn name(self, key: &'static str, name: impl fmt::Display) -> Self {
        self.with(key, Detail::Name(name.to_string()))
    }

    pub(crate) fn count(self, key: &'static str, count: usize) -> Self {
        self.with(key, Detail::Count(count as u64))
    }

    pub(crate) fn digest(self, key: &'static str, digest: Hash) -> Self {
        self.with(key, Detail::Digest(digest))
    }

    pub(crate) fn at(self, key: &'static str, at: Instant) -> Self {
        self.with(key, Detail::Instant(at))
    }

    pub(crate) fn keyed(self, key: &'static str, words: &str) -> Self {
        self.with(key, Detail::Keyed(words.to_owned()))
    }

    fn with(mut self, key: &'static str, detail: Detail) -> Self {
        self.details.push((key, detail));
        self
    }
}

/// A document as it will be, and the entry that must be in the log, durably, before the document is stored.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "nothing has happened until the entry is logged and the document stored"]
pub struct Change<T> {
    /// To store, once the entry is durable.
    pub document: T,
    /// To log first.
    pub entry: Draft,
}
