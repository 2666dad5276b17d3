//! What can go wrong with keys and sealed bytes.

use std::io;

use creta_model::{Environment, Instant, Scope};
use creta_platform::FileError;

/// Why a key could not be had, or sealed bytes could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Authentication failed. Bytes of another scope, store, path or version and bytes that were changed cannot be told
    /// apart: both are simply not what this key sealed for this place.
    #[error(
        "`{what}` does not open: it was sealed for another tenant, environment, store, path or version, or it was changed; \
         restore it from a backup of the same place"
    )]
    Foreign {
        /// Store and path.
        what: String,
    },
    /// Bytes are missing at the end.
    #[error("`{what}` is cut short; restore it from a backup")]
    Truncated {
        /// Store and path.
        what: String,
    },
    /// The first byte names a format this build does not read.
    #[error("`{what}` has format {format}, which this version does not read; open it with the version that wrote it")]
    UnknownFormat {
        /// Store and path.
        what: String,
        /// The format byte.
        format: u8,
    },
    /// Sealed under a version of the scope key that the key ring does not have.
    #[error(
        "`{what}` needs version {version} of the key of `{scope}`, and the newest here is {newest}; restore the key folder"
    )]
    KeyVersion {
        /// Store and path.
        what: String,
        /// Whose key.
        scope: Scope,
        /// The version asked for.
        version: u32,
        /// The newest version at hand.
        newest: u32,
    },
    /// A file is authentic but not of the version that is remembered elsewhere: somebody put another one in its place.
    #[error("`{what}` is at version {found} and must be at {expected}: an older or newer copy was put in its place")]
    OtherVersion {
        /// Store and path.
        what: String,
        /// The version remembered.
        expected: u64,
        /// The version in the file.
        found: u64,
    },
    /// A record inside a log is damaged, which a crash cannot cause.
    #[error(
        "record {record} of the log `{what}`, at byte {offset}, was changed or belongs elsewhere; nothing was cut off; \
         restore the log from a backup"
    )]
    Record {
        /// Store and path.
        what: String,
        /// Number of the record, from 0.
        record: u64,
        /// Where it starts in the file.
        offset: u64,
    },
    /// An earlier append failed.
    #[error("the log `{what}` takes no more records because an earlier write failed; open it again")]
    Poisoned {
        /// Store and path.
        what: String,
    },
    /// A record above the format's limit.
    #[error("a record of {bytes} bytes is too large for the log `{what}`; the limit is 4 GiB; split it")]
    TooLarge {
        /// Store and path.
        what: String,
        /// Its length.
        bytes: usize,
    },
    /// No key for this scope.
    #[error("there is no key for `{scope}`; create the tenant first")]
    UnknownScope {
        /// The scope asked for.
        scope: Scope,
    },
    /// A key for this scope is there already.
    #[error("there is already a key for `{scope}`")]
    ScopeExists {
        /// The scope asked for.
        scope: Scope,
    },
    /// The scope's key was destroyed on purpose.
    #[error("the key of `{scope}` was destroyed at {at}: its data cannot be read again, and the name cannot be reused")]
    Destroyed {
        /// The scope asked for.
        scope: Scope,
        /// When.
        at: Instant,
    },
    /// A scope or root key of another environment.
    #[error("this key belongs to environment `{expected}` and cannot serve `{given}`")]
    WrongEnvironment {
        /// The environment of the key.
        expected: Environment,
        /// The environment asked for.
        given: Environment,
    },
    /// A scope key wrapped by another root key than the one at hand.
    #[error("`{path}` is wrapped by root key `{found}`, and this is `{at_hand}`; use that key, or finish its rotation")]
    OtherRootKey {
        /// The key file.
        path: String,
        /// The root key that wraps it.
        found: String,
        /// The root key given.
        at_hand: String,
    },
    /// A key file that is not what we write, or does not authenticate.
    #[error("the key file `{path}` is damaged: {problem}; restore it from a backup")]
    KeyFile {
        /// The key file.
        path: String,
        /// What is wrong, without any content.
        problem: &'static str,
    },
    /// Other users may read the root key.
    #[error("other users can read the root key `{path}` (mode {mode:o}); close it with `chmod 600 {path}`")]
    Exposed {
        /// The root key file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A root key must never be overwritten: everything sealed under it would be lost.
    #[error("the root key `{path}` is already there and is not overwritten")]
    RootKeyExists {
        /// The root key file.
        path: String,
    },
    /// The root key file could not be read or written.
    #[error("could not {action} the root key `{path}`")]
    RootKeyIo {
        /// What was tried, as a verb.
        action: &'static str,
        /// The root key file.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The files below.
    #[error(transparent)]
    File(#[from] FileError),
}
