//! What can go wrong between a decision and its permit, and when a log is opened or verified.

use std::sync::Arc;

use creta_iam::{Action, Place, Principal, Reason};
use creta_keys::KeyError;
use creta_model::{Environment, Scope};
use creta_proof::ProofError;

/// Why something was not admitted, not recorded, or not believed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The policies deny it. The denial is on record.
    #[error("{principal} may not `{action}` on {place}; ask an administrator of the environment for a role that may")]
    Denied {
        /// Who asked.
        principal: Box<Principal>,
        /// What for.
        action: Action,
        /// On what.
        place: Place,
        /// Why not.
        reason: Reason,
    },
    /// The principal belongs to another environment than this log. Nothing was recorded here.
    #[error(
        "{principal} belongs to another environment than `{environment}`; connect to the server of that environment"
    )]
    OtherEnvironment {
        /// Who asked.
        principal: Box<Principal>,
        /// The environment of this log.
        environment: Environment,
    },
    /// A permit was shown for something that it does not cover.
    #[error("the permit for `{permitted}` on {place} does not cover this: {missing}; ask for it in the request")]
    NotCovered {
        /// What the permit is for.
        permitted: Action,
        /// Where it holds.
        place: Place,
        /// What it lacks: an action, a scope or a feature, by name.
        missing: String,
    },
    /// Entries cannot be written. Nothing that must stand in the log first is admitted.
    #[error("the audit log cannot be written, so nothing that must be recorded is done; check the disk that holds it")]
    Write {
        /// What failed.
        source: Arc<KeyError>,
    },
    /// Entries cannot be written, and the reads that wait to be recorded have reached their limit.
    #[error("the audit log has not been written for too long, so reads are refused too; check the disk that holds it")]
    ReadsPending {
        /// What failed.
        source: Box<AuditError>,
    },
    /// The log was stopped for good ([`Log::halt`](crate::Log::halt)): somebody elsewhere has seen another history of it.
    #[error("{reason}")]
    Halted {
        /// Why, and what to do.
        reason: Arc<str>,
    },
    /// The key given belongs to another environment than the log.
    #[error("this key is of scope `{scope}` and cannot open the audit log of `{environment}`")]
    OtherKey {
        /// Scope of the key.
        scope: Box<Scope>,
        /// The environment asked for.
        environment: Environment,
    },
    /// The log's files cannot be read.
    #[error("the audit log cannot be read; check the disk that holds it and the key of the environment")]
    Read {
        /// What failed.
        source: Arc<KeyError>,
    },
    /// A detail would put into the log what does not belong there. Its value is not repeated.
    #[error("detail `{key}` cannot be recorded: {rule}")]
    Detail {
        /// Which detail.
        key: &'static str,
        /// What it broke.
        rule: &'static str,
    },
    /// An entry is larger than entry bundles can hold.
    #[error("this entry takes {bytes} bytes and the log holds at most 65535; record fewer details")]
    EntryTooLong {
        /// Its size.
        bytes: usize,
    },
    /// What the log holds, or what was given, does not verify.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The log has entries but no checkpoint of its own.
    #[error("the audit log has {entries} entries but its checkpoint is gone; restore the file from a copy")]
    CheckpointMissing {
        /// How many entries there are.
        entries: u64,
    },
    /// The key that signs checkpoints is missing or damaged.
    #[error("the key that signs the audit log {rule}; restore the file from a copy, a new key would hide the old log")]
    SigningKey {
        /// What is wrong with it.
        rule: &'static str,
    },
    /// Something beyond the end of the log was asked for.
    #[error("the audit log has {size} entries; {asked} is beyond its end")]
    OutOfRange {
        /// What was asked for.
        asked: u64,
        /// How many entries there are.
        size: u64,
    },
}
