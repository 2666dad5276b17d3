//! What an outsider needs to check an audit log: hashes, checkpoints, proofs. No key that signs is ever here.
//!
//! A log signs checkpoints: "I had `size` entries with this root" ([`SignedCheckpoint`]). An inclusion proof shows that an
//! entry is in the log, a consistency proof that an older checkpoint is its beginning ([`verify`], and as files
//! [`InclusionProof`] and [`ConsistencyProof`]). All entries together show that none was edited, dropped or moved
//! ([`export`]). A witness remembers the newest checkpoint it saw and signs only what continues it ([`witness`]).
//!
//! Formats follow RFC 6962 and C2SP `signed-note`, `tlog-checkpoint`, `tlog-tiles`, `tlog-cosignature`, `tlog-witness` and
//! `tlog-proof`; the reference page `docs/reference/audit-log.md` says how they fit together.
//!
//! ```
//! use creta_proof::{Hash, Tree, verify};
//!
//! let mut tree = Tree::default();
//! for entry in ["deploy", "deploy.done", "query"] {
//!     tree.push(Hash::leaf(entry.as_bytes()));
//! }
//! let (size, root) = (tree.len(), tree.root(3).expect("within"));
//! let proof = tree.inclusion(1, size).expect("within");
//! verify::verify_inclusion(b"deploy.done", 1, size, &proof, &root)?;
//! assert!(verify::verify_inclusion(b"deploy.none", 1, size, &proof, &root).is_err());
//! # Ok::<(), creta_proof::ProofError>(())
//! ```

mod checkpoint;
mod entry;
mod error;
pub mod export;
mod hash;
pub mod pack;
mod proof_file;
#[cfg(test)]
mod testing;
mod tiles;
mod time;
mod tree;
pub mod verify;
pub mod witness;

pub use checkpoint::{Checkpoint, KeyKind, SignedCheckpoint, VerifierKey};
pub use entry::{ENTRY_VERSION, check_entry};
pub use error::ProofError;
pub use export::ExportedLog;
pub use hash::Hash;
pub use proof_file::{ConsistencyProof, InclusionProof, ProofFile};
pub use tiles::{TILE_WIDTH, bundle_entries, bundle_of, entries_path, parse_tile_index, tile_hashes, tile_path};
pub use time::Time;
pub use tree::Tree;
