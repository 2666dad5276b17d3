//! Online values in LMDB as they are: no seal, no keyed hash. For comparison only.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use creta_store::{Merge, OnlineKey, OnlineStore, OnlineView, Position, StoreError};
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, RoTxn, WithoutTls};

const POSITION: &[u8] = b"position";

/// The same database with the same options as the server's, with values in the clear under their keys in the clear.
pub(crate) struct PlainStore {
    env: Env<WithoutTls>,
    values: Database<Bytes, Bytes>,
}

impl PlainStore {
    pub(crate) fn open(folder: &Path) -> Result<Self, heed::Error> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(1 << 30).max_dbs(1).max_readers(1024);
        // SAFETY: as in the server's store; the folder is this process's own and lives as long as it.
        #[allow(unsafe_code, reason = "heed marks the flag unsafe")]
        unsafe {
            options.flags(EnvFlags::NO_META_SYNC)
        };
        // SAFETY: nobody else knows the folder.
        #[allow(unsafe_code, reason = "LMDB maps its file into memory, so opening is marked unsafe")]
        let env = unsafe { options.open(folder) }?;
        let mut txn = env.write_txn()?;
        let values = env.create_database(&mut txn, Some("values"))?;
        txn.commit()?;
        Ok(Self { env, values })
    }
}

fn failed(source: heed::Error) -> StoreError {
    StoreError::Database { store: "plain values".into(), source: Box::new(source) }
}

fn stored(key: &OnlineKey) -> Vec<u8> {
    [key.kind().as_bytes(), b"/", key.bytes()].concat()
}

struct PlainView<'a>(&'a PlainStore, Mutex<RoTxn<'a, WithoutTls>>);

impl OnlineView for PlainView<'_> {
    fn get_many(&self, keys: &[OnlineKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let txn = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let load = |key| Ok(self.0.values.get(&txn, &stored(key)).map_err(failed)?.map(<[u8]>::to_vec));
        keys.iter().map(load).collect()
    }
}

impl OnlineStore for PlainStore {
    fn view(&self) -> Result<Box<dyn OnlineView + '_>, StoreError> {
        Ok(Box::new(PlainView(self, Mutex::new(self.env.read_txn().map_err(failed)?))))
    }

    fn update_many(&self, keys: &[OnlineKey], merge: &mut Merge<'_>, position: Position) -> Result<(), StoreError> {
        let mut txn = self.env.write_txn().map_err(failed)?;
        for (index, key) in keys.iter().enumerate() {
            let key = stored(key);
            let before = self.values.get(&txn, &key).map_err(failed)?.map(<[u8]>::to_vec);
            match merge(index, before)? {
                Some(value) => self.values.put(&mut txn, &key, &value).map_err(failed)?,
                None => drop(self.values.delete(&mut txn, &key).map_err(failed)?),
            }
        }
        self.values.put(&mut txn, POSITION, &position.0.to_be_bytes()).map_err(failed)?;
        txn.commit().map_err(failed)
    }

    fn position(&self) -> Result<Position, StoreError> {
        let txn = self.env.read_txn().map_err(failed)?;
        let bytes = self.values.get(&txn, POSITION).map_err(failed)?;
        Ok(bytes.map_or(Position::START, |bytes| Position(u64::from_be_bytes(bytes.try_into().expect("written so")))))
    }

    fn clear(&self) -> Result<(), StoreError> {
        let mut txn = self.env.write_txn().map_err(failed)?;
        self.values.clear(&mut txn).map_err(failed)?;
        txn.commit().map_err(failed)
    }
}
