//! What tells a log from its copy (CH-35).
//!
//! A backup holds the log as it was while the backup was taken. Before the log is copied, an entry `backup.copying` says so;
//! in the log itself `backup.taken` or `backup.broken-off` of the same number follows, in the copied log never. Whoever puts
//! the files of a backup in place by hand has a log that says of itself that it is a copy, and nothing opens it but a restore
//! that two people approved, which closes it with `backup.restored`.
//!
//! The entry holds the digest of a random number that stands in the file `copying` until the copy is over. A server that
//! died meanwhile closes its own entry by that file, which no backup holds. Whoever copies the whole data folder, that file
//! included, has what a witness alone tells from the folder itself.
//!
//! The entry also holds the digest of all that was copied before it: a manifest from which a store was taken, or to which
//! one of another day was added, is none that this log knows.

use std::collections::BTreeMap;

use creta_audit::{Details, Entry, Event, Hash, Log};
use creta_iam::Place;
use creta_model::Problem;
use creta_platform::{FileError, Files, Platform};

use crate::problem::{from_audit, logged};
use crate::witness::entries_of;

/// The entries that begin and end the taking of a copy, and the one by which a copy goes on.
const COPYING: &str = "backup.copying";
pub(crate) const TAKEN: &str = "backup.taken";
const BROKEN_OFF: &str = "backup.broken-off";
pub(crate) const RESTORED: &str = "backup.restored";
/// The detail that all of them share.
const COPY: &str = "copy";
const CONTENTS: &str = "contents";
/// The file that makes a log the one that was copied, and not the copy.
const MARKER: &str = "copying";

/// A copy of the log that has not ended in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unclosed {
    /// Its number's digest.
    pub(crate) copy: Hash,
    /// Digest of all that was copied before the log, as the entry writes it.
    contents: String,
}

impl Unclosed {
    /// Whether this is the copying of exactly these contents.
    pub(crate) fn is_of(&self, contents: Hash) -> bool {
        self.contents == text(contents)
    }
}

/// Says in the log that it is copied from now on. Gives what its end names.
pub(crate) fn begin(platform: &Platform, log: &Log, contents: Hash) -> Result<Hash, Problem> {
    break_off(&*platform.files, log)?;
    let mut number = [0; 32];
    platform.random.fill(&mut number);
    // First: an entry that nobody could close would make this log its own copy.
    platform
        .files
        .replace(MARKER, hex::encode(number).as_bytes())
        .map_err(|error| logged("the file that says that a copy is taken cannot be written", &error))?;
    let copy = Hash::of(&[&number]);
    let details = of_copy(copy).and_then(|details| details.digest(CONTENTS, *contents.as_bytes()));
    record(log, COPYING, details)?;
    Ok(copy)
}

/// What an entry that ends the copy says of it.
pub(crate) fn of_copy(copy: Hash) -> Result<Details, creta_audit::AuditError> {
    Details::none().digest(COPY, *copy.as_bytes())
}

/// Says in the log that the copy which this folder began and did not end was broken off, if there is one.
pub(crate) fn break_off(files: &dyn Files, log: &Log) -> Result<(), Problem> {
    let Some(own) = marked(files)? else { return Ok(()) };
    if unclosed(log)?.iter().any(|unclosed| unclosed.copy == own) {
        record(log, BROKEN_OFF, of_copy(own))?;
    }
    over(files)
}

/// Forgets the copy that ended.
pub(crate) fn over(files: &dyn Files) -> Result<(), Problem> {
    match files.delete(MARKER) {
        Ok(()) | Err(FileError::NotFound { .. }) => Ok(()),
        Err(error) => Err(logged("the file that says that a copy is taken cannot be removed", &error)),
    }
}

/// Refuses a log that is a copy. Looks at each entry once.
pub(crate) fn require_own(files: &dyn Files, log: &Log) -> Result<(), Problem> {
    if foreign(files, log)?.is_empty() {
        return Ok(());
    }
    tracing::error!("the audit log is that of a backup, which was put in place without `creta restore`");
    Err(Problem::new(
        "restore/copied-log",
        "the audit log is the copy in a backup, and nobody approved that it goes on",
    )
    .with_note("place", log.environment().to_string(), None)
    .with_help(
        "put the data folder itself back; if it is lost, keep `config.toml`, `root.key`, `keys/`, `tls/` and the log's \
             `signing-key` in an empty folder, and draw what two people approve: `creta restore draw --help`",
    ))
}

/// Copies that have not ended in this log and that this folder did not begin: the log is one of them.
pub(crate) fn foreign(files: &dyn Files, log: &Log) -> Result<Vec<Unclosed>, Problem> {
    let own = marked(files)?;
    Ok(unclosed(log)?.into_iter().filter(|unclosed| Some(unclosed.copy) != own).collect())
}

/// Whether the log knows a copy of these contents, ended or not.
pub(crate) fn is_known(log: &Log, contents: Hash) -> Result<bool, Problem> {
    let contents = text(contents);
    let entries = entries_of(log, &[COPYING]).map_err(|error| from_audit(&error))?;
    Ok(entries.iter().any(|(_, entry)| entry.details.get(CONTENTS) == Some(&contents)))
}

fn unclosed(log: &Log) -> Result<Vec<Unclosed>, Problem> {
    let entries = entries_of(log, &[COPYING, TAKEN, BROKEN_OFF, RESTORED]).map_err(|error| from_audit(&error))?;
    Ok(unclosed_of(entries.into_iter().map(|(_, entry)| entry)))
}

fn unclosed_of(entries: impl Iterator<Item = Entry>) -> Vec<Unclosed> {
    let mut open = BTreeMap::new();
    for mut entry in entries {
        let Some(copy) = entry.details.remove(COPY).and_then(|text| digest(&text)) else { continue };
        match entry.action.as_str() {
            COPYING => {
                let contents = entry.details.remove(CONTENTS).unwrap_or_default();
                open.insert(copy, Unclosed { copy, contents });
            }
            _ => drop(open.remove(&copy)),
        }
    }
    open.into_values().collect()
}

/// The copy that this folder began and has not ended.
fn marked(files: &dyn Files) -> Result<Option<Hash>, Problem> {
    let text = match files.read(MARKER) {
        Ok(text) => text,
        Err(FileError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(logged("the file that says that a copy is taken cannot be read", &error)),
    };
    let mut number = [0; 32];
    // Whatever else stands there is the number of no copy.
    Ok(hex::decode_to_slice(&text, &mut number).ok().map(|()| Hash::of(&[&number])))
}

fn record(log: &Log, name: &'static str, details: Result<Details, creta_audit::AuditError>) -> Result<(), Problem> {
    let event = Event::new(name, Place::Environment(log.environment().clone())).for_commitment("CH-35");
    let recorded = details.and_then(|details| log.record(event.with(details)));
    recorded.map(drop).map_err(|error| from_audit(&error))
}

/// As entries write digests.
fn text(digest: Hash) -> String {
    format!("sha256:{digest}")
}

fn digest(text: &str) -> Option<Hash> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.strip_prefix("sha256:")?, &mut bytes).ok()?;
    Some(Hash::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use creta_model::Environment;

    use super::*;

    fn log() -> Log {
        Log::in_memory(Environment::parse("prod").expect("valid")).expect("opens")
    }

    #[test]
    fn attack_ch35_a_log_that_was_copied_is_known_from_its_copy() {
        let (platform, log, contents) = (Platform::in_memory(), log(), Hash::of(&[b"contents"]));
        let copy = begin(&platform, &log, contents).expect("begun");
        // What is copied now holds no such file.
        let elsewhere = Platform::in_memory();
        let refused = require_own(&*elsewhere.files, &log).expect_err("a copy");
        assert_eq!(refused.code, "restore/copied-log");
        assert!(refused.help.as_ref().is_some_and(|help| help.contains("creta restore draw")), "{refused}");
        assert!(foreign(&*elsewhere.files, &log).expect("read")[0].is_of(contents));
        assert!(!foreign(&*elsewhere.files, &log).expect("read")[0].is_of(Hash::of(&[b"others"])));
        elsewhere.files.replace(MARKER, hex::encode(copy.as_bytes()).as_bytes()).expect("written");
        assert!(require_own(&*elsewhere.files, &log).is_err(), "the entry says nothing that makes the file");

        require_own(&*platform.files, &log).expect("the log itself");
        assert!(is_known(&log, contents).expect("read") && !is_known(&log, copy).expect("read"));
        record(&log, TAKEN, of_copy(copy)).expect("recorded");
        over(&*platform.files).expect("over");
        require_own(&*platform.files, &log).expect("closed");
    }

    #[test]
    fn a_copy_that_a_crash_ended_is_closed_by_the_folder_that_began_it() {
        let (platform, log, contents) = (Platform::in_memory(), log(), Hash::of(&[b"contents"]));
        begin(&platform, &log, contents).expect("begun");
        break_off(&*platform.files, &log).expect("closed");
        break_off(&*platform.files, &log).expect("nothing to close");
        assert_eq!(log.size(), 2, "begun and broken off");
        assert!(platform.files.read(MARKER).is_err(), "removed");
        // Before its entry was written.
        platform.files.replace(MARKER, hex::encode([7; 32]).as_bytes()).expect("written");
        break_off(&*platform.files, &log).expect("nothing to close");
        assert_eq!(log.size(), 2);
        // Two in a row: the first one does not stay open.
        begin(&platform, &log, contents).expect("begun");
        begin(&platform, &log, contents).expect("begun");
        assert_eq!(unclosed(&log).expect("read").len(), 1);
    }
}
