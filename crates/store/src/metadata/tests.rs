//! Whoever can write the SQLite file, but has no key.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::testing::key;
use crate::{MetadataStore, SqliteStore, StoreError};

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("metadata.db")
    }

    fn open(&self, tenant: &str) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(self.path(), key(tenant))
    }

    /// A store with two grants, the first one written twice.
    fn filled(&self) -> SqliteStore {
        let store = self.open("acme").expect("a new store");
        store.write("grant", "1", None, b"one").expect("space");
        store.write("grant", "2", None, b"two").expect("space");
        store.write("grant", "1", Some(1), b"one again").expect("space");
        store
    }

    /// Opens the file as its owner does, not as the store does.
    fn superuser(&self) -> Connection {
        Connection::open(self.path()).expect("a SQLite file")
    }

    fn copy_to(&self, other: &Path) {
        self.superuser().execute("VACUUM INTO ?1", [other.to_str().expect("text")]).expect("space");
    }
}

/// Every way of reading must refuse, with an open store and with a new one.
fn refused(folder: &Folder, store: &SqliteStore) {
    let is_tampered = |outcome: Result<(), StoreError>| matches!(outcome, Err(StoreError::Tampered { .. }));
    assert!(is_tampered(store.read("grant", "1").map(drop)), "read");
    assert!(is_tampered(store.list("grant").map(drop)), "list");
    assert!(is_tampered(store.write("grant", "3", None, b"x").map(drop)), "write");
    assert!(is_tampered(store.delete("grant", "2", 1)), "delete");
    assert!(is_tampered(folder.open("acme").map(drop)), "open");
}

#[test]
fn attack_ci12_a_superusers_edit_of_a_row_is_noticed_at_the_next_read() {
    let edits = [
        "UPDATE document SET sealed = zeroblob(length(sealed)) WHERE version = 2",
        "UPDATE document SET sealed = substr(sealed, 1, length(sealed) - 1)",
        "UPDATE document SET version = 3 WHERE version = 2",
        "UPDATE document SET kind = zeroblob(32)",
        "UPDATE document SET version = 'two'",
        "DELETE FROM document WHERE version = 2",
        "DELETE FROM document",
        "INSERT INTO document SELECT randomblob(32), kind, version, sealed FROM document LIMIT 1",
        "DELETE FROM summary",
        "UPDATE summary SET number = number - 1",
    ];
    for edit in edits {
        let folder = Folder::new();
        let store = folder.filled();
        if let Err(error) = folder.superuser().execute(edit, []) {
            // The schema is strict, so a text where a number belongs needs a schema that is not.
            assert!(edit.contains("'two'"), "{edit}: {error}");
            continue;
        }
        match edit {
            _ if edit.contains("summary SET") => assert!(store.list("grant").is_err() && folder.open("acme").is_err()),
            _ => refused(&folder, &store),
        }
    }
}

#[test]
fn attack_ci12_swapped_and_rolled_back_rows_are_refused() {
    // Two bodies change places.
    let folder = Folder::new();
    let store = folder.filled();
    let swap = "UPDATE document SET sealed = (SELECT sealed FROM document other WHERE other.key <> document.key)";
    folder.superuser().execute(swap, []).expect("SQLite allows it");
    refused(&folder, &store);
    // A whole row, version and all, goes back to what it once was; then the summary of that time with it.
    let folder = Folder::new();
    let store = folder.open("acme").expect("a new store");
    store.write("grant", "1", None, b"one").expect("space");
    let backup = folder.folder.path().join("backup.db");
    folder.copy_to(&backup);
    store.write("grant", "1", Some(1), b"revoked").expect("space");
    let superuser = folder.superuser();
    superuser.execute("ATTACH ?1 AS backup", [backup.to_str().expect("text")]).expect("SQLite allows it");
    superuser.execute("REPLACE INTO document SELECT * FROM backup.document", []).expect("SQLite allows it");
    refused(&folder, &store);
    superuser.execute("REPLACE INTO summary SELECT * FROM backup.summary", []).expect("SQLite allows it");
    assert!(matches!(store.read("grant", "1"), Err(StoreError::Tampered { .. })), "the open store remembers");
}

#[test]
fn attack_ci12_yesterdays_file_is_noticed_by_a_kept_epoch() {
    let folder = Folder::new();
    let store = folder.filled();
    let backup = folder.folder.path().join("backup.db");
    folder.copy_to(&backup);
    store.delete("grant", "2", 1).expect("space");
    let kept = store.epoch().expect("readable");
    drop(store);
    std::fs::rename(&backup, folder.path()).expect("space");
    let store = folder.open("acme").expect("yesterday's file is whole");
    assert!(matches!(store.check_epoch(&kept), Err(StoreError::Tampered { .. })));
    store.write("grant", "9", None, b"x").expect("space");
    assert!(matches!(store.check_epoch(&kept), Err(StoreError::Tampered { .. })), "as old, but another history");
}

#[test]
fn attack_ci12_planted_triggers_do_not_run() {
    let folder = Folder::new();
    let store = folder.filled();
    let trigger = "CREATE TRIGGER planted AFTER INSERT ON document BEGIN DELETE FROM document; END";
    folder.superuser().execute(trigger, []).expect("SQLite allows it");
    store.write("grant", "3", None, b"three").expect("space");
    assert_eq!(store.list("grant").expect("readable").len(), 3);
}

#[test]
fn attack_ch23_the_file_of_another_tenant_and_no_database_at_all_are_refused() {
    let folder = Folder::new();
    drop(folder.filled());
    assert!(matches!(folder.open("globex").map(drop), Err(StoreError::Foreign { .. })));
    let link = folder.folder.path().join("link.db");
    std::os::unix::fs::symlink(folder.path(), &link).expect("space");
    assert!(SqliteStore::open(&link, key("acme")).is_err(), "links are not followed");
    std::fs::write(folder.path(), vec![7; 8192]).expect("space");
    assert!(matches!(folder.open("acme").map(drop), Err(StoreError::Tampered { .. })));
}

#[test]
fn a_later_format_is_refused_by_name() {
    let folder = Folder::new();
    drop(folder.filled());
    folder.superuser().execute_batch("PRAGMA user_version = 2").expect("SQLite allows it");
    let error = folder.open("acme").map(drop).expect_err("a later format");
    assert!(error.to_string().contains("`creta.metadata/2`"), "{error}");
}

#[test]
fn attack_ci12_neither_ids_nor_bodies_are_on_disk_nor_in_the_journal() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let canary = "canary-7f3a-of-a-customer";
    let store = folder.open("acme").expect("a new store");
    for n in 0..20 {
        store.write(canary, &format!("{canary}{n}"), None, canary.as_bytes()).expect("space");
    }
    store.delete(canary, &format!("{canary}3"), 1).expect("space");
    // The store is open, so the journal is there too.
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder.folder.path()).expect("there") {
        let file = file.expect("there");
        names.push(file.file_name().into_string().expect("text"));
        let bytes = std::fs::read(file.path()).expect("readable");
        assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "{names:?}");
        assert_eq!(file.metadata().expect("there").permissions().mode() & 0o077, 0, "{names:?}");
    }
    assert!(names.iter().any(|name| name.ends_with("-wal")), "{names:?}");
}
