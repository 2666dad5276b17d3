//! What a tree of files promises, whatever holds it.

use std::io;

/// A tree of files under one root. Every implementation passes the same suite (`contract.rs`).
///
/// Paths are relative and separated by `/`. A part holds ASCII letters, digits and `-_.=+`, does not start with a dot
/// and has at most 200 characters; that rules out absolute paths, `..`, empty parts and an implementation's own temporary
/// files. Symbolic links are never followed. Folders come into being with the files inside them, and a name stands either
/// for a file or for a folder. Paths are shown in errors and logs, so they must not hold data.
///
/// A create, replace or delete that fails with [`FileError::Io`] may have happened: it may be visible, and a crash may undo
/// it until a later change in the same folder succeeds or the tree is opened anew. After every other error nothing changed.
pub trait Files: Send + Sync {
    /// Writes a new file: afterwards it is there whole and survives a crash. [`FileError::Exists`] leaves the present file
    /// as it was; of several concurrent calls exactly one succeeds.
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), FileError>;

    /// Writes a file whether or not one is there: readers and crashes see the old bytes or the new ones, never a mixture.
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), FileError>;

    /// All bytes of a file; [`FileError::NotFound`] if there is none.
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError>;

    /// The bytes from `offset`, at most `len` of them; fewer, or none, where the file ends earlier.
    fn read_range(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>, FileError>;

    /// Length of a file in bytes.
    fn size(&self, path: &str) -> Result<u64, FileError>;

    /// Opens a file for appending and creates it, durably, if it is not there.
    fn append(&self, path: &str) -> Result<Box<dyn AppendFile>, FileError>;

    /// Paths of all files whose path starts with `prefix` (`""` for all), sorted by byte value.
    fn list(&self, prefix: &str) -> Result<Vec<String>, FileError>;

    /// Removes a file durably; [`FileError::NotFound`] if there is none.
    fn delete(&self, path: &str) -> Result<(), FileError>;
}

/// A file that grows at its end. One writer at a time; the caller sees to that.
pub trait AppendFile: Send {
    /// Adds bytes at the end. They survive a crash only after [`sync`](Self::sync); until then any prefix of them may.
    /// After an error part of `bytes` may stand at the end: [`truncate`](Self::truncate) restores a known length.
    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError>;

    /// Makes everything appended so far survive a crash. After an error nothing is known about what was appended since the
    /// last successful call, and calling again proves nothing: truncate, or give the file up.
    fn sync(&mut self) -> Result<(), FileError>;

    /// Cuts the file to `len` bytes, durably. A `len` beyond the end is [`FileError::OutOfRange`].
    fn truncate(&mut self, len: u64) -> Result<(), FileError>;

    /// Length in bytes, counting every append that succeeded.
    fn len(&self) -> u64;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a file operation failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The path, or what stands there on disk, breaks a rule.
    #[error("the path `{path}` is refused: {rule}")]
    InvalidPath {
        /// The path as given.
        path: String,
        /// The rule it broke.
        rule: &'static str,
    },
    /// No file by that name.
    #[error("there is no file `{path}`")]
    NotFound {
        /// The path as given.
        path: String,
    },
    /// A conditional create met a file.
    #[error("the file `{path}` is already there")]
    Exists {
        /// The path as given.
        path: String,
    },
    /// The disk, or the quota on it, is used up.
    #[error("the disk is full: `{path}` could not be written; free space or enlarge the volume, then try again")]
    Full {
        /// The path as given.
        path: String,
    },
    /// A position beyond the end of the file.
    #[error("the file `{path}` has {len} bytes and cannot be cut to {wanted}")]
    OutOfRange {
        /// The path as given.
        path: String,
        /// Its length in bytes.
        len: u64,
        /// The length asked for.
        wanted: u64,
    },
    /// A simulated process has crashed; see [`FaultyFiles`](crate::FaultyFiles).
    #[error("the simulated process has crashed; restart it")]
    Crashed,
    /// Anything else the operating system reports.
    #[error("could not {action} `{path}`")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The path as given.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
}

const PART_RULE: &str =
    "use parts of 1 to 200 ASCII letters, digits and `-_.=+`, not starting with a dot, joined by `/`";

/// Checks a whole path.
pub(crate) fn check_path(path: &str) -> Result<(), FileError> {
    if path.len() <= 1000 && path.split('/').all(is_part) { Ok(()) } else { Err(invalid(path, PART_RULE)) }
}

/// Checks a listing prefix: like a path, but its last part may be empty or cut short.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), FileError> {
    let (folders, last) = prefix.rsplit_once('/').map_or((None, prefix), |(folders, last)| (Some(folders), last));
    folders.map_or(Ok(()), check_path)?;
    if last.is_empty() || is_part(last) { Ok(()) } else { Err(invalid(prefix, PART_RULE)) }
}

pub(crate) fn invalid(path: &str, rule: &'static str) -> FileError {
    FileError::InvalidPath { path: path.to_owned(), rule }
}

fn is_part(part: &str) -> bool {
    (1..=200).contains(&part.len())
        && !part.starts_with('.')
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=+".contains(&b))
}

/// Rule for a name that is a folder where a file is wanted, or the other way round.
pub(crate) const TAKEN_RULE: &str =
    "a name stands either for a file or for a folder, and this one is taken by the other kind";
/// Rule for links.
pub(crate) const LINK_RULE: &str =
    "it holds a symbolic link, and links are not followed; put a plain file or folder there";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_leave_the_root_or_hide_are_refused() {
        let long = "a".repeat(201);
        for bad in
            ["", "/", "/etc/passwd", "a//b", "a/", "..", "a/../b", "./a", ".tmp/x", "a b", "a\\b", "a\0", "é", &long]
        {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b/c", "keys/acme-eu.json", "part=1/x+y_z"] {
            assert!(check_path(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_prefix_may_end_anywhere_but_not_leave_the_root() {
        for good in ["", "a", "a/", "a/b", "a/b."] {
            assert!(check_prefix(good).is_ok(), "{good:?}");
        }
        for bad in ["/", "../", "a//", "a/..", "/a", ".t"] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }
}
