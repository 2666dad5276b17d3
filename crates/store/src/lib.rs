//! The stores of Creta: facts (the truth), online values (derived) and metadata documents, one contract each.
//!
//! Everything here belongs to one [scope](creta_model::Scope) and is sealed with that scope's key. Facts are the only
//! store that cannot be rebuilt: [`FactStore`] acknowledges an append once its write-ahead log is durable. An
//! [`OnlineStore`] remembers up to which [`Position`] of the facts it has caught up and is rebuilt when the two disagree.
//! A [`MetadataStore`] holds definitions, grants and digests, never a feature value. A [`TableStore`] holds training sets that
//! were given a name.
//!
//! | Contract | On disk | In memory |
//! | --- | --- | --- |
//! | facts | [`FactStore`] over [`DiskFiles`](creta_platform::DiskFiles) | [`FactStore`] over [`MemoryFiles`](creta_platform::MemoryFiles) |
//! | [`OnlineStore`] | [`LmdbStore`], behind [`WriteBack`] | [`MemoryStore`] |
//! | [`MetadataStore`] | [`SqliteStore`] | [`MemoryMetadata`] |
//!
//! ```
//! use creta_keys::{KeyRing, RootKey};
//! use creta_model::{Environment, Scope};
//! use creta_platform::Platform;
//! use creta_store::{FactStore, MemoryStore, OnlineKey, OnlineStore, Position};
//!
//! let platform = Platform::in_memory();
//! let dev = Environment::parse("dev")?;
//! let ring = KeyRing::open(RootKey::generate(&dev, &*platform.random), dev, platform.clone())?;
//! let scope = Scope::parse("acme", "dev")?;
//!
//! let facts = FactStore::open(&platform, ring.scope_or_create(&scope)?, &format!("{}/facts", scope.path()))?;
//! let online = MemoryStore::new();
//! for (position, batches) in facts.read_since(online.position()?)? {
//!     let keys = [OnlineKey::new("units", *b"count")];
//!     let mut count = |_, _| Ok(Some(batches.len().to_be_bytes().to_vec()));
//!     online.update_many(&keys, &mut count, position)?;
//! }
//! assert_eq!((facts.position(), online.position()?), (Position::START, Position::START));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod facts;
pub mod layout;
mod metadata;
mod online;
mod position;
mod sealing;
mod tables;

pub use error::StoreError;
pub use facts::{EntityStatistics, Epoch, FactSnapshot, FactStore, ONCE_KEPT, ONCE_KEYS_MAX, Once, Unit};
pub use layout::FactBatch;
pub use metadata::{Document, MemoryMetadata, MetadataEpoch, MetadataStore, SqliteStore};
pub use online::{LmdbStore, MemoryStore, Merge, OnlineKey, OnlineStore, OnlineView, WriteBack};
pub use position::Position;
pub use tables::{TablePart, TableStore};

#[cfg(test)]
mod contract;
#[cfg(test)]
mod testing;
