//! Documents in a SQLite file.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use creta_keys::ScopeKey;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use super::index::{Index, Key, RowMac};
use super::{Document, MetadataStore, check_expected};
use crate::StoreError;
use crate::sealing::Sealer;

const STORE: &str = "metadata";
const FORMAT: i64 = 1;
/// How long to wait for another process that is writing.
const BUSY_MAX: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE document (
        key BLOB PRIMARY KEY NOT NULL, kind BLOB NOT NULL, version INTEGER NOT NULL, sealed BLOB NOT NULL
    ) STRICT;
    CREATE INDEX document_kind ON document (kind);
    CREATE TABLE summary (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;
    PRAGMA user_version = 1;
";

/// Documents of one scope in a SQLite file.
///
/// SQLite sees nothing but MACs and sealed bytes: rows are found by MACs of kind and id, and a body is sealed, with its id
/// inside, for its row and version. A sealed summary covers all rows, is renewed with every write and compared whenever
/// somebody else has written to the file. So a row that was edited, swapped, removed, added or put back to an earlier
/// version is [`StoreError::Tampered`] at the next use, whoever wrote it. What remains is putting the whole file back to
/// an earlier moment: for that a [`MetadataEpoch`] is kept elsewhere.
///
/// Opening reads every row once; the store then keeps about 150 bytes per document in memory.
pub struct SqliteStore {
    path: PathBuf,
    state: Mutex<State>,
    sealer: Sealer,
}

struct State {
    connection: Connection,
    index: Index,
    /// SQLite's counter of changes by others; `None` when the index must be read again.
    seen: Option<i64>,
}

/// A moment in the life of a metadata store, to be kept where whoever can change the file cannot (the audit log).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataEpoch {
    /// How many writes there have been.
    pub number: u64,
    /// Stands for all of them, in order.
    pub chain: [u8; 32],
}

/// A row as it stands in the table.
struct Row {
    key: Key,
    kind: Key,
    version: u64,
    sealed: Vec<u8>,
}

/// An opened row. A deleted document leaves its version behind, so that no version is used twice.
struct Opened {
    id: String,
    version: u64,
    body: Option<Vec<u8>>,
}

impl SqliteStore {
    /// Opens the file, created with mode 0600 if it is not there; its folder must be. Another scope's file is
    /// [`StoreError::Foreign`], one with changed rows [`StoreError::Tampered`].
    pub fn open(path: impl AsRef<Path>, key: ScopeKey) -> Result<Self, StoreError> {
        let path = path.as_ref();
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::Database { store: STORE.into(), source: Box::new(error) }),
        }
        let connection = connect(path).map_err(failed)?;
        let sealer = Sealer::new(key, STORE);
        let mut state = State { connection, index: Index::default(), seen: None };
        create_if_new(&mut state.connection, &sealer)?;
        let store = Self { path: path.to_owned(), state: Mutex::new(state), sealer };
        store.epoch()?;
        Ok(store)
    }

    /// The present moment, to be kept elsewhere.
    pub fn epoch(&self) -> Result<MetadataEpoch, StoreError> {
        self.reading(|_, index| Ok(MetadataEpoch { number: index.number, chain: index.chain }))
    }

    /// Checks that this store went on from a moment kept earlier; an older copy, or another one of the same age, is
    /// [`StoreError::Tampered`].
    pub fn check_epoch(&self, kept: &MetadataEpoch) -> Result<(), StoreError> {
        let now = self.epoch()?;
        if now.number < kept.number || (now.number == kept.number && now.chain != kept.chain) {
            return Err(tampered("an older copy was put in its place"));
        }
        Ok(())
    }

    /// Writes a copy of the file, as of one moment, which must not be there yet; its bytes are as sealed as these. Gives the
    /// moment, after a look at every row of the copy. Reads and writes go on meanwhile: the copy is made over a connection of
    /// its own.
    pub fn copy_to(&self, path: impl AsRef<Path>) -> Result<MetadataEpoch, StoreError> {
        let path = path.as_ref();
        let io = |source: io::Error| StoreError::Database { store: STORE.into(), source: Box::new(source) };
        let target = path.to_str().ok_or_else(|| io(io::Error::other("the path is not UTF-8")))?;
        // SQLite fills an empty file, whose mode stays.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        connect(&self.path).and_then(|own| own.execute("VACUUM INTO ?1", params![target])).map_err(failed)?;
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut copied = Connection::open_with_flags(path, flags).map_err(failed)?;
        let index = self.index_of(&copied.transaction().map_err(failed)?)?;
        Ok(MetadataEpoch { number: index.number, chain: index.chain })
    }

    /// How many documents, deleted ones included, are of none of these kinds.
    pub fn beyond(&self, kinds: &[&str]) -> Result<usize, StoreError> {
        self.reading(|_, index| {
            let known: usize = kinds.iter().map(|kind| index.count(&self.kind_key(kind))).sum();
            Ok(index.len() - known)
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the connection")
    }

    /// Runs `read` on one state of the file that agrees with its summary.
    fn reading<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>, &Index) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        let State { connection, index, seen } = &mut *state;
        let txn = connection.transaction_with_behavior(TransactionBehavior::Deferred).map_err(failed)?;
        self.refresh(&txn, index, seen)?;
        read(&txn, index)
    }

    /// Replaces one row, and the summary with it, by what `change` makes of the old one.
    fn writing(
        &self,
        kind: &str,
        id: &str,
        change: impl FnOnce(Option<&Opened>) -> Result<Opened, StoreError>,
    ) -> Result<u64, StoreError> {
        let mut state = self.lock();
        let State { connection, index, seen } = &mut *state;
        let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        self.refresh(&txn, index, seen)?;
        let (key, kind_key) = (self.key(kind, id), self.kind_key(kind));
        let old = self.load(&txn, index, kind, &key)?;
        let new = change(old.as_ref())?;
        let row = Row { key, kind: kind_key, version: new.version, sealed: self.seal(&key, &new) };
        let mac = self.row_mac(&row);
        let mut next = index.summary_with(&key, &mac);
        next.chain = self.sealer.mac("metadata chain", &[&index.chain, &mac]);
        next.number += 1;
        let put = "INSERT INTO document (key, kind, version, sealed) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (key) DO UPDATE SET version = ?3, sealed = ?4";
        txn.execute(put, params![row.key, row.kind, row.version as i64, row.sealed]).map_err(failed)?;
        put_summary(&txn, &self.sealer, &next)?;
        // A commit that fails may have happened all the same: then the index is read again. SQLite's counter does not count
        // our own commits.
        let before = seen.take();
        txn.commit().map_err(failed)?;
        index.apply(next, key, kind_key, mac);
        *seen = before;
        Ok(new.version)
    }

    /// Reads the index again if anybody else has changed the file.
    fn refresh(&self, txn: &Transaction<'_>, index: &mut Index, seen: &mut Option<i64>) -> Result<(), StoreError> {
        let now = data_version(txn)?;
        if *seen == Some(now) {
            return Ok(());
        }
        *seen = None;
        let fresh = self.index_of(txn)?;
        if fresh.number < index.number {
            return Err(tampered("an older copy was put in its place"));
        }
        *index = fresh;
        *seen = Some(now);
        Ok(())
    }

    /// The index of all rows, which have to agree with their summary.
    fn index_of(&self, txn: &Transaction<'_>) -> Result<Index, StoreError> {
        let summary = load_summary(txn, &self.sealer)?;
        let mut fresh = Index::default();
        let mut rows = txn.prepare_cached("SELECT key, kind, version, sealed FROM document").map_err(failed)?;
        let mut rows = rows.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let row = read_row(row)?;
            fresh.add(row.key, row.kind, self.row_mac(&row));
        }
        if !fresh.agrees_with(&summary) {
            return Err(tampered("its rows are not those that were written last"));
        }
        (fresh.number, fresh.chain) = (summary.number, summary.chain);
        Ok(fresh)
    }

    fn load(&self, txn: &Transaction<'_>, index: &Index, kind: &str, key: &Key) -> Result<Option<Opened>, StoreError> {
        let select = "SELECT key, kind, version, sealed FROM document WHERE key = ?1";
        let mut select = txn.prepare_cached(select).map_err(failed)?;
        let row = select.query_row([key], |row| Ok(read_row(row))).optional().map_err(failed)?.transpose()?;
        match (row, index.mac(key)) {
            (None, None) => Ok(None),
            (Some(row), Some(mac)) if self.row_mac(&row) == *mac => self.open_row(kind, &row).map(Some),
            _ => Err(tampered("a row is not the one that was written last")),
        }
    }

    fn open_row(&self, kind: &str, row: &Row) -> Result<Opened, StoreError> {
        let plain = self.sealer.open(&hex::encode(row.key), row.version, &row.sealed)?;
        let opened = decode(&plain, row.version).ok_or_else(|| tampered("a row does not decode"))?;
        if self.key(kind, &opened.id) == row.key {
            Ok(opened)
        } else {
            Err(tampered("a row stands in another's place"))
        }
    }

    fn seal(&self, key: &Key, document: &Opened) -> Vec<u8> {
        let mut plain = vec![u8::from(document.body.is_some())];
        plain.extend_from_slice(&(document.id.len() as u64).to_be_bytes());
        plain.extend_from_slice(document.id.as_bytes());
        plain.extend_from_slice(document.body.as_deref().unwrap_or_default());
        self.sealer.seal(&hex::encode(key), document.version, &plain)
    }

    fn key(&self, kind: &str, id: &str) -> Key {
        self.sealer.mac("metadata key", &[kind.as_bytes(), id.as_bytes()])
    }

    fn kind_key(&self, kind: &str) -> Key {
        self.sealer.mac("metadata kind", &[kind.as_bytes()])
    }

    fn row_mac(&self, row: &Row) -> RowMac {
        self.sealer.mac("metadata row", &[&row.key, &row.kind, &row.version.to_be_bytes(), &row.sealed])
    }
}

impl MetadataStore for SqliteStore {
    fn read(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError> {
        let found = self.reading(|txn, index| self.load(txn, index, kind, &self.key(kind, id)))?;
        Ok(found.and_then(|opened| opened.into_document(kind)))
    }

    fn write(&self, kind: &str, id: &str, expected: Option<u64>, body: &[u8]) -> Result<u64, StoreError> {
        self.writing(kind, id, |old| {
            check_expected(kind, expected, present(old))?;
            let version = old.map_or(0, |old| old.version) + 1;
            Ok(Opened { id: id.to_owned(), version, body: Some(body.to_vec()) })
        })
    }

    fn list(&self, kind: &str) -> Result<Vec<Document>, StoreError> {
        let kind_key = self.kind_key(kind);
        let mut documents = self.reading(|txn, index| {
            let select = "SELECT key, kind, version, sealed FROM document WHERE kind = ?1";
            let mut select = txn.prepare_cached(select).map_err(failed)?;
            let mut rows = select.query([kind_key]).map_err(failed)?;
            let (mut documents, mut count) = (Vec::new(), 0);
            while let Some(row) = rows.next().map_err(failed)? {
                let row = read_row(row)?;
                if index.mac(&row.key) != Some(&self.row_mac(&row)) {
                    return Err(tampered("a row is not the one that was written last"));
                }
                documents.extend(self.open_row(kind, &row)?.into_document(kind));
                count += 1;
            }
            if count == index.count(&kind_key) { Ok(documents) } else { Err(tampered("a row is missing")) }
        })?;
        documents.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(documents)
    }

    fn delete(&self, kind: &str, id: &str, expected: u64) -> Result<(), StoreError> {
        let deleted = self.writing(kind, id, |old| {
            check_expected(kind, Some(expected), present(old))?;
            Ok(Opened { id: id.to_owned(), version: expected, body: None })
        });
        deleted.map(drop)
    }
}

impl Opened {
    fn into_document(self, kind: &str) -> Option<Document> {
        Some(Document { kind: kind.to_owned(), id: self.id, version: self.version, body: self.body? })
    }
}

fn present(old: Option<&Opened>) -> Option<u64> {
    old.filter(|old| old.body.is_some()).map(|old| old.version)
}

fn decode(plain: &[u8], version: u64) -> Option<Opened> {
    let (is_there, rest) = plain.split_first()?;
    let (len, rest) = rest.split_at_checked(8)?;
    let len = usize::try_from(u64::from_be_bytes(len.try_into().ok()?)).ok()?;
    let (id, body) = rest.split_at_checked(len)?;
    let id = String::from_utf8(id.to_vec()).ok()?;
    Some(Opened { id, version, body: (*is_there == 1).then(|| body.to_vec()) })
}

fn read_row(row: &rusqlite::Row<'_>) -> Result<Row, StoreError> {
    let read = || -> rusqlite::Result<Row> {
        let version = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(u64::MAX);
        Ok(Row { key: row.get(0)?, kind: row.get(1)?, version, sealed: row.get(3)? })
    };
    read().map_err(|_| tampered("a row has another form than we write"))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_MAX)?;
    // Whoever can edit the file could plant triggers and views; we have none.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn create_if_new(connection: &mut Connection, sealer: &Sealer) -> Result<(), StoreError> {
    let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let tables: i64 = txn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let format: i64 = txn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    match (tables, format) {
        (0, 0) => {
            txn.execute_batch(SCHEMA).map_err(failed)?;
            put_summary(&txn, sealer, &Index::default())?;
            txn.commit().map_err(failed)
        }
        (_, FORMAT) => Ok(()),
        _ => Err(StoreError::Format { store: STORE.into(), format: format!("creta.metadata/{format}") }),
    }
}

fn data_version(connection: &Connection) -> Result<i64, StoreError> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(failed)
}

fn put_summary(txn: &Transaction<'_>, sealer: &Sealer, summary: &Index) -> Result<(), StoreError> {
    let sealed = sealer.seal("summary", summary.number, &[summary.sum(), summary.chain].concat());
    let put = "INSERT OR REPLACE INTO summary (id, number, sealed) VALUES (1, ?1, ?2)";
    txn.execute(put, params![summary.number as i64, sealed]).map(drop).map_err(failed)
}

/// A summary without rows: only its number, chain and sum count.
fn load_summary(txn: &Transaction<'_>, sealer: &Sealer) -> Result<Index, StoreError> {
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?));
    let found = txn.query_row("SELECT number, sealed FROM summary WHERE id = 1", [], row).optional().map_err(failed)?;
    let (number, sealed) = found.ok_or_else(|| tampered("its summary is missing"))?;
    let number = u64::try_from(number).map_err(|_| tampered("its summary does not decode"))?;
    let plain = sealer.open("summary", number, &sealed)?;
    Index::from_summary(number, &plain).ok_or_else(|| tampered("its summary does not decode"))
}

fn tampered(reason: &str) -> StoreError {
    StoreError::Tampered { store: STORE.into(), reason: reason.into() }
}

fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { store: STORE.into() },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            tampered("its file is not a whole SQLite database")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse { store: STORE.into() },
        _ => StoreError::Database { store: STORE.into(), source: Box::new(error) },
    }
}

#[cfg(test)]
mod tests;
