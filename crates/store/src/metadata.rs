//! Metadata: definitions, grants and digests as versioned documents. No feature value ever goes here (CH-22); what a body
//! may hold is decided by the types of those who write it.

use crate::StoreError;

mod index;
mod memory;
mod sqlite;
#[cfg(test)]
mod tests;

pub use memory::MemoryMetadata;
pub use sqlite::{MetadataEpoch, SqliteStore};

/// One document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What sort of document it is.
    pub kind: String,
    /// Its name, unique in its kind.
    pub id: String,
    /// 1 when it is first written, one more with each write, never reused for the same kind and id.
    pub version: u64,
    /// Its content.
    pub body: Vec<u8>,
}

/// Versioned documents of one scope. Every write is durable when it returns.
pub trait MetadataStore: Send + Sync {
    /// The document, or `None`.
    fn read(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError>;

    /// Writes a document if the present version is `expected` (`None`: if it is not there) and returns its new version;
    /// [`StoreError::Conflict`] otherwise. Of several concurrent writers that expect the same version one succeeds.
    fn write(&self, kind: &str, id: &str, expected: Option<u64>, body: &[u8]) -> Result<u64, StoreError>;

    /// All documents of a kind, sorted by id.
    fn list(&self, kind: &str) -> Result<Vec<Document>, StoreError>;

    /// Removes a document if its version is `expected`; [`StoreError::Conflict`] otherwise.
    fn delete(&self, kind: &str, id: &str, expected: u64) -> Result<(), StoreError>;
}

fn check_expected(kind: &str, expected: Option<u64>, present: Option<u64>) -> Result<(), StoreError> {
    if expected == present { Ok(()) } else { Err(StoreError::Conflict { kind: kind.to_owned(), expected, present }) }
}
