//! Online values in LMDB.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use creta_keys::ScopeKey;
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, MdbError, RoTxn, RwTxn, WithoutTls};

use super::{Merge, OnlineKey, OnlineStore, OnlineView, check_forward};
use crate::sealing::Sealer;
use crate::{Position, StoreError};

const STORE: &str = "online values";
/// Version of the layout below; it is part of what every value is sealed for.
const FORMAT: u64 = 1;
/// Key of the position. All others are MACs of 32 bytes.
const POSITION_KEY: &[u8] = b"position";

/// Online values in an LMDB folder of one scope.
///
/// LMDB sees nothing but MACs and sealed bytes: the stored key is a MAC of the key's kind and bytes under the scope key, a
/// value is sealed for its stored key, so that it opens nowhere else. Reads do not wait for the writer, and writers take
/// turns. A commit is one flush: after a power cut the last commit may be missing, whole and together with its position.
pub struct LmdbStore {
    env: Env<WithoutTls>,
    values: Database<Bytes, Bytes>,
    sealer: Sealer,
}

type StoredKey = [u8; 32];

impl LmdbStore {
    /// Opens the store in `folder`, created with mode 0700 if it is not there. It must be on a local disk.
    ///
    /// `map_size` bounds the store's size in bytes; it reserves address space, not memory or disk. Reaching it is
    /// [`StoreError::Full`], and opening with a larger one remedies that. A folder of another scope is
    /// [`StoreError::Foreign`].
    pub fn open(folder: impl AsRef<Path>, key: ScopeKey, map_size: usize) -> Result<Self, StoreError> {
        let folder = folder.as_ref();
        prepare_folder(folder).map_err(database)?;
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_size.next_multiple_of(PAGE_BYTES)).max_dbs(1).max_readers(READERS_MAX);
        // SAFETY: without the flush of the meta page a power cut may undo the last commit but leaves the database whole; the
        // contract allows for that, since the position goes with the commit.
        #[allow(unsafe_code, reason = "heed marks the flag unsafe")]
        unsafe {
            options.flags(EnvFlags::NO_META_SYNC)
        };
        // SAFETY: the folder is private to this store (mode 0700, checked above), on a local disk by contract, and changed
        // by nobody but LMDB, whose own lock file stays in use.
        #[allow(unsafe_code, reason = "LMDB maps its file into memory, so opening is marked unsafe")]
        let env = unsafe { options.open(folder) }.map_err(failed)?;
        env.clear_stale_readers().map_err(failed)?;
        let mut txn = env.write_txn().map_err(failed)?;
        let values = env.create_database(&mut txn, Some("values")).map_err(failed)?;
        let store = Self { env: env.clone(), values, sealer: Sealer::new(key, STORE) };
        match store.values.get(&txn, POSITION_KEY).map_err(failed)? {
            Some(sealed) => drop(store.sealer.open("position", FORMAT, sealed)?),
            None if store.values.is_empty(&txn).map_err(failed)? => store.put_position(&mut txn, Position::START)?,
            None => return Err(tampered("its position is missing")),
        }
        txn.commit().map_err(failed)?;
        Ok(store)
    }

    fn stored_key(&self, key: &OnlineKey) -> StoredKey {
        self.sealer.mac("online key", &[key.kind().as_bytes(), key.bytes()])
    }

    fn load(&self, txn: &RoTxn<'_, WithoutTls>, key: &StoredKey) -> Result<Option<Vec<u8>>, StoreError> {
        match self.values.get(txn, key).map_err(failed)? {
            Some(sealed) => self.open_value(key, sealed).map(Some),
            None => Ok(None),
        }
    }

    fn set(&self, txn: &mut RwTxn<'_>, key: &StoredKey, value: Option<&[u8]>) -> Result<(), StoreError> {
        match value {
            Some(value) => {
                let sealed = self.sealer.seal(&hex::encode(key), FORMAT, value);
                self.values.put(txn, key, &sealed).map_err(failed)
            }
            None => self.values.delete(txn, key).map_err(failed).map(drop),
        }
    }

    /// A value that was moved here from another key is authentic, but not for this key.
    fn open_value(&self, key: &StoredKey, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.sealer.open(&hex::encode(key), FORMAT, sealed).map_err(|error| match error {
            StoreError::Foreign { .. } => tampered("a value does not belong to its key"),
            other => other,
        })
    }

    fn load_position(&self, txn: &RoTxn<'_, WithoutTls>) -> Result<Position, StoreError> {
        let sealed = self.values.get(txn, POSITION_KEY).map_err(failed)?;
        let bytes = self.sealer.open("position", FORMAT, sealed.ok_or_else(|| tampered("its position is missing"))?)?;
        let bytes = bytes.try_into().map_err(|_| tampered("its position does not decode"))?;
        Ok(Position(u64::from_be_bytes(bytes)))
    }

    fn put_position(&self, txn: &mut RwTxn<'_>, position: Position) -> Result<(), StoreError> {
        let sealed = self.sealer.seal("position", FORMAT, &position.0.to_be_bytes());
        self.values.put(txn, POSITION_KEY, &sealed).map_err(failed)
    }
}

struct LmdbView<'a> {
    store: &'a LmdbStore,
    /// Used by one thread at a time.
    txn: Mutex<RoTxn<'a, WithoutTls>>,
}

impl OnlineView for LmdbView<'_> {
    fn get_many(&self, keys: &[OnlineKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let txn = self.txn.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| self.store.load(&txn, &self.store.stored_key(key))).collect()
    }
}

impl OnlineStore for LmdbStore {
    fn view(&self) -> Result<Box<dyn OnlineView + '_>, StoreError> {
        Ok(Box::new(LmdbView { store: self, txn: Mutex::new(self.env.read_txn().map_err(failed)?) }))
    }

    fn update_many(&self, keys: &[OnlineKey], merge: &mut Merge<'_>, position: Position) -> Result<(), StoreError> {
        let mut txn = self.env.write_txn().map_err(failed)?;
        check_forward(STORE, self.load_position(&txn)?, position)?;
        for (index, key) in keys.iter().enumerate() {
            let stored = self.stored_key(key);
            let value = merge(index, self.load(&txn, &stored)?)?;
            self.set(&mut txn, &stored, value.as_deref())?;
        }
        self.put_position(&mut txn, position)?;
        txn.commit().map_err(failed)
    }

    fn replace_many(&self, values: Vec<(OnlineKey, Option<Vec<u8>>)>, position: Position) -> Result<(), StoreError> {
        self.replace_all(values.iter().map(|(key, value)| (key, value.as_deref())).collect(), position)
    }

    /// Values are sealed before the transaction begins, on several threads where there are many, and put in the order in which
    /// the database holds them.
    fn replace_all(&self, values: Vec<(&OnlineKey, Option<&[u8]>)>, position: Position) -> Result<(), StoreError> {
        let sealed = |values: &[(&OnlineKey, Option<&[u8]>)]| -> Vec<(StoredKey, Option<Vec<u8>>)> {
            let seal = |(key, value): &(&OnlineKey, Option<&[u8]>)| {
                let stored = self.stored_key(key);
                (stored, value.map(|value| self.sealer.seal(&hex::encode(stored), FORMAT, value)))
            };
            values.iter().map(seal).collect()
        };
        let mut sealed = if values.len() < SEALED_ALONE_MAX {
            sealed(&values)
        } else {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            std::thread::scope(|scope| {
                let parts: Vec<_> = values
                    .chunks(values.len().div_ceil(threads))
                    .map(|part| scope.spawn(move || sealed(part)))
                    .collect();
                parts.into_iter().flat_map(|part| part.join().expect("sealing does not panic")).collect()
            })
        };
        sealed.sort_unstable_by_key(|(key, _)| *key);
        let mut txn = self.env.write_txn().map_err(failed)?;
        check_forward(STORE, self.load_position(&txn)?, position)?;
        for (key, value) in &sealed {
            match value {
                Some(value) => self.values.put(&mut txn, key, value).map_err(failed)?,
                None => drop(self.values.delete(&mut txn, key).map_err(failed)?),
            }
        }
        self.put_position(&mut txn, position)?;
        txn.commit().map_err(failed)
    }

    fn position(&self) -> Result<Position, StoreError> {
        self.load_position(&self.env.read_txn().map_err(failed)?)
    }

    fn clear(&self) -> Result<(), StoreError> {
        let mut txn = self.env.write_txn().map_err(failed)?;
        self.values.clear(&mut txn).map_err(failed)?;
        self.put_position(&mut txn, Position::START)?;
        txn.commit().map_err(failed)
    }
}

/// LMDB wants a map of whole pages; this is a multiple of every page size in use.
const PAGE_BYTES: usize = 1 << 16;
const READERS_MAX: u32 = 1024;
/// More values than these are sealed by several threads.
const SEALED_ALONE_MAX: usize = 4096;

fn prepare_folder(folder: &Path) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => fs::set_permissions(folder, Permissions::from_mode(0o700)),
        Ok(_) => Err(io::Error::new(io::ErrorKind::NotADirectory, "its place is taken by a file or a link")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)
        }
        Err(error) => Err(error),
    }
}

fn tampered(reason: &str) -> StoreError {
    StoreError::Tampered { store: STORE.into(), reason: reason.into() }
}

fn database(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Database { store: STORE.into(), source: Box::new(error) }
}

fn failed(error: heed::Error) -> StoreError {
    match error {
        heed::Error::Mdb(MdbError::MapFull) => StoreError::Full { store: STORE.into() },
        heed::Error::Io(io) if io.kind() == io::ErrorKind::StorageFull => StoreError::Full { store: STORE.into() },
        heed::Error::Mdb(
            MdbError::Invalid | MdbError::Corrupted | MdbError::PageNotFound | MdbError::VersionMismatch,
        ) => tampered("its file is not a whole LMDB database"),
        heed::Error::EnvAlreadyOpened => StoreError::InUse { store: STORE.into() },
        other => database(other),
    }
}
