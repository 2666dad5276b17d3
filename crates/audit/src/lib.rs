//! Append-only Merkle log: admit, append, prove, verify.
//!
//! [`Log::admit`] records a decision and gives a [`Permit`], which the engine and the control plane demand as an argument:
//! what was not asked and recorded does not compile. [`Log::record`] adds what happened next. Entries are sealed on disk
//! and are the leaves of an RFC 6962 tree, whose root the log signs in [`Log::checkpoint`]. [`verify`] believes nothing but
//! the verifier key, so anybody can check a log, an entry or the growth of a log apart from this server.
//!
//! Formats: entries are canonical JSON ([`Entry`], RFC 8785); checkpoints, tiles and keys follow C2SP `tlog-checkpoint`,
//! `tlog-tiles` and `signed-note`.
//!
//! ```
//! use creta_audit::{Details, Event, Log, verify};
//! use creta_iam::{Action, Policies, Principal, PrincipalId, Resource, Role, decide};
//! use creta_model::Scope;
//!
//! let acme = Scope::parse("acme", "dev")?;
//! let log = Log::in_memory(acme.environment.clone())?;
//! let etl = Principal::service_account(PrincipalId::parse("etl")?, acme.clone(), Role::Developer);
//!
//! let decision = decide(&Policies::load()?, &etl, Action::Deploy, &Resource::scope(acme.clone()));
//! let permit = log.admit(decision, Details::none().digest("bundle", [7; 32])?)?; // Durable from here on.
//! assert!(permit.covers(Action::Deploy, &acme, []));
//! log.record(Event::of(&permit, "deploy.done"))?;
//!
//! let signed = log.checkpoint()?;
//! let checkpoint = verify::verify_checkpoint(signed.as_str(), &log.verifier_key())?;
//! let index = permit.entry().expect("a deploy is logged first");
//! let proof = log.prove_inclusion(index, checkpoint.size)?;
//! verify::verify_inclusion(&log.entry_bytes(index)?, index, checkpoint.size, &proof, &checkpoint.root)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod attacks;
mod checkpoint;
mod details;
mod entry;
mod error;
mod log;
mod permit;
mod publish;
mod reads;
mod storage;
#[cfg(test)]
mod testing;
pub mod verify;

pub use creta_proof::{Checkpoint, Hash, ProofError, SignedCheckpoint, VerifierKey, entries_path, tile_path};
pub use details::Details;
pub use entry::{ENTRY_VERSION, Entry, EntryFeatures, Outcome};
pub use error::AuditError;
pub use log::{Event, Log, LogExtent, VerifyReport};
pub use permit::Permit;
pub use reads::{READ_GROUPS_MAX, READS_FLUSHED_AFTER, READS_PENDING_MAX};
