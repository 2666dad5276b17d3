//! Files of a backup that a restore puts in place, and those that stood there, which stay beside them.
//!
//! Until the log says that a restore was done, a journal in `replaced/<statement>/` says what is being done. A data folder in
//! which one stands was left half way, and whoever opens it next, a server too, first makes everything as it was.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use creta_identity::recovery::Statement;
use creta_model::{Environment, Problem};
use serde::{Deserialize, Serialize};

use crate::ServerError;
use crate::backup::{BackupFile, BackupManifest, datasets_folder, log_files, log_folder};
use crate::epochs::Store;
use crate::problem::internal;

const FORMAT: &str = "creta.placing/1";
/// Where everything lies that a restore replaced.
const REPLACED: &str = "replaced";
const JOURNAL: &str = "journal.json";
/// Bytes that are read and written at once.
const PART_BYTES: usize = 256 << 10;

/// Everything that a restore moves away or writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Journal {
    format: String,
    /// Files and folders, by their path in the data folder.
    places: Vec<Place>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    path: String,
    /// Whether something stood there.
    stood: bool,
}

/// Files that were put in place.
pub(crate) struct Placed {
    folder: PathBuf,
    /// Where what stood there lies.
    aside: PathBuf,
    /// Whether the log itself is the backup's.
    pub(crate) log: bool,
}

impl Placed {
    /// Puts the stores that a statement names in place, and the log if there is none. Whoever calls it holds the folder's
    /// lock. Each file is compared with the manifest as it is copied. After an error everything is as it was.
    pub(crate) fn put(
        folder: &Path,
        copy: &Path,
        environment: &Environment,
        manifest: &BackupManifest,
        statement: &Statement,
    ) -> Result<Self, ServerError> {
        let log = !has_log(folder, environment);
        let (mut paths, mut files) = (Vec::new(), Vec::new());
        for store in &statement.stores {
            let kind = Store::parse(&store.store).ok_or_else(internal)?;
            let path = kind.path(store.tenant.as_ref());
            let derived = store.tenant.as_ref().map(|tenant| format!("tenants/{tenant}/online"));
            // What SQLite keeps beside its file belongs to it; what is derived from facts is made anew.
            paths.extend([path.clone(), format!("{path}-wal"), format!("{path}-shm")]);
            paths.extend(derived.filter(|_| kind == Store::Facts));
            let datasets = store.tenant.as_ref().map(datasets_folder);
            paths.extend(datasets.filter(|_| kind == Store::Metadata));
            files.extend(manifest.of_store(store));
        }
        if log {
            // Entries last: what has none is no log.
            let [entries, checkpoint] = log_files(environment);
            for path in [checkpoint, entries] {
                files.extend(manifest.files.iter().filter(|file| file.path == path));
                paths.push(path);
            }
        }
        let placed = Self { folder: folder.to_owned(), aside: free_place(folder, &statement.digest()[..16]), log };
        let stands = |path: &String| folder.join(path).symlink_metadata().is_ok();
        let places = paths.into_iter().map(|path| Place { stood: stands(&path), path }).collect();
        let journal = Journal { format: FORMAT.to_owned(), places };
        write_journal(&placed.aside, &journal)?;
        let outcome = (|| {
            for place in journal.places.iter().filter(|place| place.stood) {
                placed.set_aside(&place.path)?;
            }
            files.iter().try_for_each(|file| placed.copy(copy, file))
        })();
        match outcome {
            Ok(()) => Ok(placed),
            Err(error) => {
                placed.take_back();
                Err(error)
            }
        }
    }

    /// From here on nothing is taken back by whoever opens the folder: what the log says next counts. Gives what
    /// [`take_back_kept`](Self::take_back_kept) needs.
    pub(crate) fn keep(&self) -> Result<KeptJournal, ServerError> {
        let journal = read_journal(&self.aside)?.ok_or_else(internal)?;
        remove_journal(&self.aside)?;
        Ok(KeptJournal(journal))
    }

    /// Everything as it was, for a restore of which the log says nothing.
    pub(crate) fn take_back(&self) {
        if let Err(error) = undo(&self.folder, &self.aside) {
            tracing::error!(%error, "a refused restore is taken back when the folder is opened next");
        }
    }

    /// Everything as it was, after [`keep`](Self::keep): nothing was recorded after all.
    pub(crate) fn take_back_kept(&self, journal: &KeptJournal) {
        match write_journal(&self.aside, &journal.0) {
            Ok(()) => self.take_back(),
            Err(error) => {
                let aside = self.aside.display();
                tracing::error!(%error, "a restore that was not recorded cannot be taken back; `{aside}` has what stood there");
            }
        }
    }

    /// Where what stood there lies, if anything did.
    pub(crate) fn replaced(self) -> Option<PathBuf> {
        let holds_something = fs::read_dir(&self.aside).is_ok_and(|mut entries| entries.next().is_some());
        if !holds_something {
            let _ = fs::remove_dir(&self.aside); // An empty folder more is no harm.
        }
        holds_something.then_some(self.aside)
    }

    fn set_aside(&self, path: &str) -> Result<(), ServerError> {
        move_to(&self.folder.join(path), &self.aside.join(path))
    }

    fn copy(&self, copy: &Path, file: &BackupFile) -> Result<(), ServerError> {
        let to = self.folder.join(&file.path);
        make_parent(&to)?;
        let failed = |source| ServerError::Io { action: "write", path: to.clone(), source };
        let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let mut from =
            fs::OpenOptions::new().read(true).custom_flags(no_link).open(copy.join(&file.path)).map_err(failed)?;
        let mut written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to).map_err(failed)?;
        let (mut digest, mut part) = (digest::Context::new(&digest::SHA256), vec![0; PART_BYTES]);
        loop {
            match from.read(&mut part).map_err(failed)? {
                0 => break,
                len => {
                    digest.update(&part[..len]);
                    written.write_all(&part[..len]).map_err(failed)?;
                }
            }
        }
        written.sync_all().and_then(|()| sync_parent(&to)).map_err(failed)?;
        if hex::encode(digest.finish()) == file.sha256 {
            return Ok(());
        }
        let message = format!("`{}` changed after the backup was compared with its manifest", file.path);
        Err(Problem::new("backup/refused", message).with_help("find out who writes to it, and use another copy").into())
    }
}

/// A journal in memory.
pub(crate) struct KeptJournal(Journal);

/// Whether there is a log. One that lost its entries and kept a checkpoint is one that is damaged.
pub(crate) fn has_log(folder: &Path, environment: &Environment) -> bool {
    let log = folder.join(log_folder(environment));
    ["entries", "checkpoint"].iter().any(|name| log.join(name).symlink_metadata().is_ok())
}

/// Makes everything as it was before restores that were left half way. Whoever calls it holds the folder's lock. Reads one
/// folder where there was none.
pub(crate) fn undo_unfinished(folder: &Path) -> Result<(), ServerError> {
    let entries = match fs::read_dir(folder.join(REPLACED)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ServerError::Io { action: "read", path: folder.join(REPLACED), source }),
    };
    for entry in entries {
        let entry = entry.map_err(|source| ServerError::Io { action: "read", path: folder.join(REPLACED), source })?;
        if entry.path().join(JOURNAL).symlink_metadata().is_ok() {
            tracing::warn!("a restore was left half way; what stood there is put back");
            undo(folder, &entry.path())?;
        }
    }
    Ok(())
}

/// Puts back what stood at each place. Good at any moment of [`Placed::put`], and again after itself.
fn undo(folder: &Path, aside: &Path) -> Result<(), ServerError> {
    let Some(journal) = read_journal(aside)? else { return Ok(()) };
    for Place { path, stood } in &journal.places {
        let (place, kept) = (folder.join(path), aside.join(path));
        if kept.symlink_metadata().is_ok() {
            remove(&place)?;
            move_to(&kept, &place)?;
        } else if !stood {
            remove(&place)?;
        } // Else it was not moved yet, or is back already.
    }
    remove_journal(aside)?;
    let failed = |source| ServerError::Io { action: "remove", path: aside.to_owned(), source };
    fs::remove_dir_all(aside).map_err(failed) // Folders without a file.
}

/// A folder for what stood in the place of files of a statement.
fn free_place(folder: &Path, name: &str) -> PathBuf {
    let replaced = folder.join(REPLACED);
    let names = (1_u64..).map(|number| if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
    let mut free = names.map(|name| replaced.join(name)).filter(|place| place.symlink_metadata().is_err());
    free.next().expect("there are more numbers than folders")
}

fn write_journal(aside: &Path, journal: &Journal) -> Result<(), ServerError> {
    let file = aside.join(JOURNAL);
    make_parent(&file)?;
    let bytes = serde_json::to_vec_pretty(journal).expect("a journal has a JSON form");
    let written = (|| {
        // By another name first: a journal is whole or not there.
        let new = aside.join("journal.new");
        let mut written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        written.write_all(&bytes)?;
        written.sync_all()?;
        fs::rename(&new, &file)?;
        sync_parent(&file)?;
        sync_parent(aside)
    })();
    written.map_err(|source| ServerError::Io { action: "write", path: file, source })
}

fn read_journal(aside: &Path) -> Result<Option<Journal>, ServerError> {
    let file = aside.join(JOURNAL);
    let bytes = match fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ServerError::Io { action: "read", path: file, source }),
    };
    match serde_json::from_slice::<Journal>(&bytes) {
        Ok(journal) if journal.format == FORMAT => Ok(Some(journal)),
        _ => Err(Problem::new("restore/journal", format!("`{}` cannot be read", file.display()))
            .with_help("take the version of `creta` that the restore was begun with")
            .into()),
    }
}

fn remove_journal(aside: &Path) -> Result<(), ServerError> {
    let file = aside.join(JOURNAL);
    let removed = fs::remove_file(&file).and_then(|()| sync_parent(&file));
    removed.map_err(|source| ServerError::Io { action: "remove", path: file, source })
}

fn move_to(from: &Path, to: &Path) -> Result<(), ServerError> {
    make_parent(to)?;
    let moved = fs::rename(from, to).and_then(|()| sync_parent(to)).and_then(|()| sync_parent(from));
    moved.map_err(|source| ServerError::Io { action: "move", path: from.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), ServerError> {
    let removed = match path.symlink_metadata() {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(|source| ServerError::Io { action: "remove", path: path.to_owned(), source })
}

fn make_parent(path: &Path) -> Result<(), ServerError> {
    let parent = path.parent().unwrap_or(path);
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
    made.map_err(|source| ServerError::Io { action: "create", path: parent.to_owned(), source })
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use creta_identity::recovery::{KeptLog, LogAt, StoreAt, What};
    use creta_model::Instant;
    use serde_json::json;

    use super::*;

    /// A data folder with documents and a log, a backup of other documents, and the statement that restores them.
    struct Here {
        folder: tempfile::TempDir,
        environment: Environment,
        statement: Statement,
    }

    impl Here {
        fn new() -> Self {
            let (folder, environment) =
                (tempfile::tempdir().expect("a folder"), Environment::parse("prod").expect("valid"));
            for (path, text) in [
                ("data/metadata.sqlite", "newer"),
                ("data/metadata.sqlite-wal", "newer still"),
                ("data/prod/control-plane/audit/entries", "entries"),
                ("copy/metadata.sqlite", "older"),
            ] {
                let path = folder.path().join(path);
                fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
                fs::write(path, text).expect("written");
            }
            let now = Instant::parse("2026-01-01T12:00:00Z").expect("valid");
            let store =
                StoreAt { tenant: None, store: "metadata".into(), position: 1, chain: "00".repeat(32), manifest: 0 };
            let what = What::Restore { copy: "00".repeat(32), taken: now, log: KeptLog::Kept };
            let log = LogAt { size: 1, root: String::new() };
            let of = (&environment, "prod-00");
            let drawn = Statement::draw(of, what, log, (vec![store], Vec::new()), "The disk was lost", now);
            Self { folder, statement: drawn.expect("drawn"), environment }
        }

        fn data(&self) -> PathBuf {
            self.folder.path().join("data")
        }

        /// What the manifest says of the backup's file.
        fn manifest(&self, text: &str) -> BackupManifest {
            let sha256 = hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
            let manifest = json!({
                "format": crate::backup::BACKUP_FORMAT, "environment": "prod", "environment_id": "prod-00",
                "taken": "2026-01-01T12:00:00Z", "log": {"size": 1, "root": ""}, "stores": self.statement.stores,
                "files": [{"path": "metadata.sqlite", "bytes": text.len(), "sha256": sha256}],
            });
            BackupManifest::parse(manifest.to_string().as_bytes()).expect("a manifest")
        }

        fn put(&self, manifest: &BackupManifest) -> Result<Placed, ServerError> {
            Placed::put(&self.data(), &self.folder.path().join("copy"), &self.environment, manifest, &self.statement)
        }

        fn reads(&self, path: &str) -> Option<String> {
            fs::read_to_string(self.data().join(path)).ok()
        }

        fn require_as_it_was(&self) {
            assert_eq!(self.reads("metadata.sqlite").as_deref(), Some("newer"));
            assert_eq!(self.reads("metadata.sqlite-wal").as_deref(), Some("newer still"));
            let left = fs::read_dir(self.data().join(REPLACED)).expect("there").count();
            assert_eq!(left, 0, "nothing is left aside");
        }
    }

    #[test]
    fn attack_ch35_a_file_that_changes_after_it_was_compared_is_not_put_in_place() {
        let here = Here::new();
        // Whoever holds the disk of backups changes the file between the look at it and the copying.
        let refused = here.put(&here.manifest("other")).err().expect("refused").to_problem();
        assert_eq!(refused.code, "backup/refused");
        assert!(refused.message.contains("changed after the backup was compared"), "{refused}");
        here.require_as_it_was();
        // Nor is a link to something else.
        fs::rename(here.folder.path().join("copy/metadata.sqlite"), here.folder.path().join("kept")).expect("moved");
        std::os::unix::fs::symlink(here.folder.path().join("kept"), here.folder.path().join("copy/metadata.sqlite"))
            .expect("linked");
        assert!(here.put(&here.manifest("older")).is_err());
        here.require_as_it_was();
    }

    #[test]
    fn attack_ch35_what_the_log_does_not_say_is_taken_back_though_the_journal_was_gone() {
        let here = Here::new();
        let placed = here.put(&here.manifest("older")).expect("in place");
        assert_eq!(
            (here.reads("metadata.sqlite").as_deref(), here.reads("metadata.sqlite-wal")),
            (Some("older"), None)
        );
        let journal = placed.keep().expect("kept");
        // From here on whoever opens the folder leaves everything as it is.
        undo_unfinished(&here.data()).expect("nothing to do");
        assert_eq!(here.reads("metadata.sqlite").as_deref(), Some("older"));
        placed.take_back_kept(&journal);
        here.require_as_it_was();
    }
}
