//! The stores of Creta: facts (the truth), online values (derived) and metadata documents, one contract each.
//!
//! Everything here belongs to one [scope](creta_model::Scope) and is sealed with that scope's key. Facts are the only
//! store that cannot be rebuilt: [`FactStore`] acknowledges an append once its write-ahead log is durable. An
//! [`OnlineStore`] remembers up to which [`Position`] of the facts it has caught up and is rebuilt when the two disagree.
//! A [`MetadataStore`] holds definitions, grants and digests, never a feature value.

mod error;
mod facts;
pub mod layout;
mod metadata;
mod online;
mod position;
mod sealing;

pub use error::StoreError;
pub use facts::{EntityStatistics, Epoch, FactSnapshot, FactStore};
pub use layout::FactBatch;
pub use metadata::{Document, MemoryMetadata, MetadataEpoch, MetadataStore, SqliteStore};
pub use online::{LmdbStore, MemoryStore, Merge, OnlineKey, OnlineStore};
pub use position::Position;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod testing;
