//! Keys, and everything durable sealed with them.
//!
//! ```text
//! root key          one per environment, in a file of its own or a key service
//!   └ scope key     one per tenant in an environment, wrapped by the root key, in versions      KeyRing, ScopeKey
//!       ├ store key     derived per store: seals single values                                 ScopeKey::seal
//!       └ data key      random per file and per log, wrapped by the store key in its header    SealedFiles, SealedLog
//! ```
//!
//! Everything is AES-256-GCM from `aws-lc-rs`. Each seal authenticates where it belongs: environment, tenant, store, path
//! and version. So bytes that are moved to another tenant, another path or an older place do not open, and each key is
//! committed to, so that no bytes open under two keys.
//!
//! What this crate cannot see is a whole file, log tail or key folder put back to an earlier state together: that takes a
//! version remembered elsewhere ([`SealedFiles::read_version`], [`LogPosition`]), which the audit log anchors.
//!
//! ```
//! use creta_keys::{KeyRing, RootKey, SealContext, SealedFiles};
//! use creta_model::{Environment, Scope};
//! use creta_platform::Platform;
//!
//! let environment = Environment::parse("dev")?;
//! let platform = Platform::in_memory();
//! let root = RootKey::generate(&environment, &*platform.random);
//! let ring = KeyRing::open(root, environment, platform.clone())?;
//! let key = ring.scope_or_create(&Scope::parse("acme", "dev")?)?;
//!
//! let context = SealContext { store: "online", path: "k1".to_owned(), version: 1 };
//! let sealed = key.seal(&context, b"Lyon");
//! assert_eq!(key.open(&context, &sealed)?, b"Lyon");
//!
//! let files = SealedFiles::new(platform.files, key, "segments");
//! files.create("s1", b"rows")?;
//! assert_eq!(files.read_range("s1", 1, 2)?, b"ow");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Domains
//!
//! No key serves two purposes. Keys are derived with HKDF-SHA256 from a label and length-prefixed parts:
//!
//! | Label | From | Parts | For |
//! | --- | --- | --- | --- |
//! | `root key id` | root key | environment | naming the root key |
//! | `scope key wrap` | root key | environment | wrapping scope keys |
//! | `tombstone` | root key | environment | authenticating the record of a destroyed scope |
//! | `value`, lane | scope key version | environment, tenant, store | sealing values |
//! | `value commitment` | scope key version | environment, tenant, store | committing to the value keys |
//! | `data key wrap` | scope key version | environment, tenant, store | wrapping data keys of files and logs |
//! | `mac` | first scope key version | environment, tenant, domain | [`ScopeKey::mac`] |
//! | `derive` | first scope key version | environment, tenant, label | [`ScopeKey::derive`] |
//! | `data commitment` | data key | | committing to a data key |
//! | `file chunks` | data key | | chunks of a file |
//! | `log records`, `log headers` | data key | | records of a log, and their lengths |

#[cfg(test)]
mod attacks;
mod error;
mod header;
mod primitives;
mod ring;
mod root;
mod scope_key;
mod sealed_files;
mod sealed_log;

pub use error::KeyError;
pub use ring::KeyRing;
pub use root::RootKey;
pub use scope_key::{ScopeKey, SealContext};
pub use sealed_files::SealedFiles;
pub use sealed_log::{LogPosition, LogReader, Record, SealedLog, TornTail};
