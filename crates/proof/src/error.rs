//! Why something is not believed.

use crate::Time;

/// What does not verify, or cannot be read at all ([`is_unreadable`](ProofError::is_unreadable)).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Not a checkpoint.
    #[error("this is not a signed checkpoint: {rule}; fetch it again")]
    Checkpoint {
        /// What it lacks.
        rule: &'static str,
    },
    /// A checkpoint of another log.
    #[error("this checkpoint is of log `{given}`, not of `{expected}`; use the verifier key of that log")]
    OtherLog {
        /// The log it names.
        given: String,
        /// The log of the key.
        expected: String,
    },
    /// Nobody known signed it.
    #[error("this checkpoint is not signed by `{key}`: the log's key was replaced, or it is of another log")]
    Unsigned {
        /// The verifier key that was expected.
        key: String,
    },
    /// The witness did not sign it.
    #[error("this checkpoint is not cosigned by witness `{key}`; send it there, or ask why it was refused")]
    NotCosigned {
        /// The verifier key of the witness.
        key: String,
    },
    /// The signature is wrong.
    #[error("the signature of `{key}` on this checkpoint is wrong: it was edited after it was signed")]
    Signature {
        /// Name of the key.
        key: String,
    },
    /// Not a verifier key, or not one of this kind.
    #[error("this is not a verifier key: {rule}; it looks like `creta/prod/audit+0a1b2c3d+AQ...`")]
    VerifierKey {
        /// What it lacks.
        rule: &'static str,
    },
    /// A proof that proves nothing.
    #[error("the proof does not verify: {rule}")]
    Proof {
        /// Where it fails.
        rule: &'static str,
    },
    /// Not a proof file.
    #[error("this is not a proof file: {rule}; ask for the proof again")]
    ProofFile {
        /// What it lacks.
        rule: &'static str,
    },
    /// An entry that the log's writer would not have written.
    #[error("entry {index} of the audit log is not valid: {rule}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// The log is shorter than what it signed: entries were deleted, or an older copy was put back.
    #[error(
        "the audit log has {entries} entries but signed a checkpoint of {checkpoint}: entries were deleted or an older \
         copy was restored; keep both files and restore the newest copy"
    )]
    Shorter {
        /// How many there are.
        entries: u64,
        /// How many there were.
        checkpoint: u64,
    },
    /// There are more entries than the checkpoint speaks of.
    #[error("{entries} entries were given for a checkpoint of {checkpoint}; verify against a newer checkpoint")]
    Longer {
        /// How many there are.
        entries: u64,
        /// How many the checkpoint covers.
        checkpoint: u64,
    },
    /// The entries are not those that were signed.
    #[error(
        "the audit log is not what it was when it had {size} entries: one was edited, dropped or moved, or another log \
         was put in its place; keep the files and restore the newest copy"
    )]
    Inconsistent {
        /// Size of the checkpoint that does not fit.
        size: u64,
    },
    /// An entry of an exported log whose hash is not the one beside it.
    #[error(
        "entry {index} is not the one that was logged: its hash is not in `{tile}`; it was edited, dropped or moved"
    )]
    Edited {
        /// Its index: the first that differs.
        index: u64,
        /// The tile of hashes that says otherwise.
        tile: String,
    },
    /// Hashes of an exported log that are not those of its entries.
    #[error("`{tile}` does not hold the hashes of entries {first} to {last}: one of them or the tile was edited")]
    Tile {
        /// The tile.
        tile: String,
        /// First entry that its wrong hash covers.
        first: u64,
        /// Last entry that it covers.
        last: u64,
    },
    /// A file of an exported log that is not there.
    #[error("`{file}` is missing, with entries {first} to {last}; export the log again")]
    Missing {
        /// Its path in the folder.
        file: String,
        /// First entry that it covers.
        first: u64,
        /// Last entry that it covers.
        last: u64,
    },
    /// The witness's newest cosignature is older than was demanded: this state of the log may have been put back.
    #[error("witness `{key}` cosigned this checkpoint at {at}, before {after}; ask for a newer checkpoint of the log")]
    WitnessedBefore {
        /// Name of the witness.
        key: String,
        /// When it did.
        at: Time,
        /// When it should have at the earliest.
        after: Time,
    },
    /// An entry is earlier than the one before it.
    #[error(
        "entry {index} is earlier than the entry before it: somebody set the clock back; find out why, and accept the \
         index once it is explained"
    )]
    ClockSetBack {
        /// The first such entry that was not accepted.
        index: u64,
    },
    /// An exported log without a checkpoint.
    #[error("there is no file `checkpoint`, so nothing was signed; name the folder of an exported log")]
    NoCheckpoint,
    /// A file that cannot be read.
    #[error("`{file}` cannot be read: {kind}; check the folder")]
    File {
        /// Its path in the folder.
        file: String,
        /// Why not.
        kind: std::io::ErrorKind,
    },
    /// A bundle of entries that cannot be taken apart.
    #[error("`{file}` is damaged at entry {index}: {rule}; export the log again")]
    Bundle {
        /// Its path in the folder.
        file: String,
        /// The entry at which it goes wrong.
        index: u64,
        /// How.
        rule: &'static str,
    },
}

impl ProofError {
    /// A stable word for it, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Checkpoint { .. } => "checkpoint/malformed",
            Self::OtherLog { .. } => "checkpoint/other-log",
            Self::Unsigned { .. } => "checkpoint/unsigned",
            Self::NotCosigned { .. } => "checkpoint/not-cosigned",
            Self::Signature { .. } => "checkpoint/signature",
            Self::WitnessedBefore { .. } => "checkpoint/stale",
            Self::VerifierKey { .. } => "key/malformed",
            Self::Proof { .. } => "proof/wrong",
            Self::ProofFile { .. } => "proof/malformed",
            Self::Entry { .. } => "log/entry-malformed",
            Self::Shorter { .. } => "log/shorter",
            Self::Longer { .. } => "log/longer",
            Self::Inconsistent { .. } => "log/inconsistent",
            Self::Edited { .. } => "log/edited",
            Self::Tile { .. } => "log/tile",
            Self::Missing { .. } => "log/missing",
            Self::ClockSetBack { .. } => "log/clock-set-back",
            Self::NoCheckpoint => "log/no-checkpoint",
            Self::File { .. } => "log/unreadable",
            Self::Bundle { .. } => "log/bundle",
        }
    }

    /// Whether what was given cannot be read at all, rather than read and not believed.
    pub fn is_unreadable(&self) -> bool {
        matches!(
            self,
            Self::VerifierKey { .. }
                | Self::ProofFile { .. }
                | Self::Checkpoint { .. }
                | Self::NoCheckpoint
                | Self::File { .. }
        )
    }
}
