//! Why a store refused or failed.

use creta_keys::KeyError;
use creta_platform::FileError;

use crate::Position;

/// Why a store refused or failed. Messages name files, columns and kinds of documents, never values or document ids.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A batch does not follow the [layout](crate::layout).
    #[error(
        "the column `{column}` breaks the layout of facts: {rule}; see `creta_store::layout` for the columns and types"
    )]
    Layout {
        /// The column, or `batch`.
        column: String,
        /// The rule it broke, as the second half of a sentence about it.
        rule: &'static str,
    },
    /// No space is left. Nothing of the operation took effect, and the store works on once there is space.
    #[error("no space is left for `{store}`; free space or enlarge its volume, then try again")]
    Full {
        /// Which store.
        store: String,
    },
    /// One atomic unit is larger than the store can hold.
    #[error("a unit of {bytes} bytes is too large for `{store}`; split it into parts of at most {bytes_max} bytes")]
    TooLarge {
        /// Which store.
        store: String,
        /// Its size.
        bytes: u64,
        /// The largest size.
        bytes_max: u64,
    },
    /// The files belong to another scope or another store, or their key is another one.
    #[error("`{store}` was not sealed for this scope and store; check that the path and the tenant belong together")]
    Foreign {
        /// Which store.
        store: String,
    },
    /// The files do not form the store that was written last.
    #[error("`{store}` is refused: {reason}; restore it from a backup")]
    Tampered {
        /// Which store.
        store: String,
        /// What was found.
        reason: String,
    },
    /// The files were written by a later release.
    #[error("`{store}` has the format `{format}`, which this release does not read; use the release that wrote it")]
    Format {
        /// Which store.
        store: String,
        /// The format found.
        format: String,
    },
    /// The document changed since it was read.
    #[error(
        "the `{kind}` document is at version {present:?}, not at {expected:?}; read it again and repeat the change"
    )]
    Conflict {
        /// Kind of document.
        kind: String,
        /// The version that the writer expected; `None` for no document.
        expected: Option<u64>,
        /// The version that is there.
        present: Option<u64>,
    },
    /// A derived store knows more than the truth: its owner must rebuild it.
    #[error("position {given} is ahead of `{store}`, which ends at {end}; rebuild what was derived from it")]
    Ahead {
        /// Which store.
        store: String,
        /// The position asked about.
        given: Position,
        /// The last position there is.
        end: Position,
    },
    /// A write would move a derived store back.
    #[error("`{store}` stands at position {present} and cannot go back to {given}; clear it to rebuild it")]
    Behind {
        /// Which store.
        store: String,
        /// The position of the write.
        given: Position,
        /// The position it stands at.
        present: Position,
    },
    /// What was read was made anew for something else meanwhile; whoever asked starts again.
    #[error("`{store}` was made anew while it was read")]
    Outdated {
        /// Which store.
        store: String,
    },
    /// An earlier failure left the store in doubt about its own state.
    #[error("`{store}` stopped after a failed write; open it again")]
    Stopped {
        /// Which store.
        store: String,
    },
    /// Another append of the same group failed, and this one with it.
    #[error("the append failed together with others: {reason}")]
    Group {
        /// What the others were told.
        reason: String,
    },
    /// Someone else has the store open.
    #[error("`{store}` is open in another process or twice in this one; close it there first")]
    InUse {
        /// Which store.
        store: String,
    },
    /// The files failed.
    #[error("could not use the files of `{store}`")]
    Files {
        /// Which store.
        store: String,
        /// Why.
        source: FileError,
    },
    /// Sealing or opening failed for a reason other than those above.
    #[error("could not seal or open `{store}`")]
    Keys {
        /// Which store.
        store: String,
        /// Why.
        source: KeyError,
    },
    /// The database library failed.
    #[error("the database of `{store}` failed")]
    Database {
        /// Which store.
        store: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Sealed bytes are authentic, yet do not decode.
    #[error("the content of `{store}` does not decode")]
    Decode {
        /// Which store.
        store: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
