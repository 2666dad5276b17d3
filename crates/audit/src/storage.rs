//! The log's three sealed files: entries, newest checkpoint, and the seed of the key that signs.

use std::sync::Arc;

use creta_keys::{KeyError, LogReader as EntryReader, ScopeKey, SealedFiles, SealedLog, TornTail};
use creta_model::Environment;
use creta_platform::{FileError, Files, Platform, Random};

use crate::checkpoint::Signer;
use crate::{AuditError, Hash, ProofError, SignedCheckpoint};

const STORE: &str = "audit";
const SEED_LEN: usize = 32;

pub(crate) struct Storage {
    files: Arc<dyn Files>,
    key: ScopeKey,
    log: SealedLog,
    sealed: SealedFiles,
}

impl Storage {
    /// Opens or creates the file of entries, and gives each to `visit` in order.
    pub(crate) fn open(
        platform: &Platform,
        key: &ScopeKey,
        mut visit: impl FnMut(Vec<u8>),
    ) -> Result<Self, AuditError> {
        let visit = |record: creta_keys::Record| {
            visit(record.bytes);
            Ok::<(), KeyError>(())
        };
        let log =
            SealedLog::open_each(&platform.files, key, STORE, &path(key, "entries"), visit).map_err(unreadable)?;
        let sealed = SealedFiles::new(platform.files.clone(), key.clone(), STORE);
        Ok(Self { files: platform.files.clone(), key: key.clone(), log, sealed })
    }

    /// What a crash left half written at the end, if anything. It was never acknowledged.
    pub(crate) fn recovered(&self) -> Option<TornTail> {
        self.log.recovered()
    }

    /// Appends entries; all are durable afterwards. After an error the storage takes no more until it is opened again.
    pub(crate) fn append(&mut self, entries: &[&[u8]]) -> Result<(), AuditError> {
        self.log.append(entries).map(drop).map_err(unwritable)
    }

    /// Reads the entries again from the file. Opened while no entry is half written, it may be read at leisure.
    pub(crate) fn reader(&self) -> Result<impl Iterator<Item = Result<Vec<u8>, AuditError>> + use<>, AuditError> {
        let reader =
            EntryReader::open(&self.files, &self.key, STORE, &path(&self.key, "entries")).map_err(unreadable)?;
        Ok(reader.map(|record| record.map(|record| record.bytes).map_err(unreadable)))
    }

    /// The newest stored checkpoint, not yet verified.
    pub(crate) fn read_checkpoint(&self) -> Result<Option<SignedCheckpoint>, AuditError> {
        let Some(bytes) = self.find("checkpoint")? else { return Ok(None) };
        let note = String::from_utf8(bytes).map_err(|_| ProofError::Checkpoint { rule: "it is not text" })?;
        Ok(Some(SignedCheckpoint::parse(&note)?))
    }

    pub(crate) fn store_checkpoint(&self, signed: &SignedCheckpoint) -> Result<(), AuditError> {
        let path = path(&self.key, "checkpoint");
        self.sealed.replace(&path, signed.as_str().as_bytes()).map(drop).map_err(unwritable)
    }

    /// The signer and the newest checkpoint. A log of no entries gets what it lacks; one that has `entries` must have both.
    pub(crate) fn signer_and_checkpoint(
        &self,
        environment: &Environment,
        entries: u64,
        random: &dyn Random,
    ) -> Result<(Signer, SignedCheckpoint), AuditError> {
        let stored = self.read_checkpoint()?;
        let signer = match self.find("signing-key")? {
            Some(seed) => Signer::from_seed(environment, &seed)?,
            None if entries > 0 || stored.is_some() => return Err(AuditError::SigningKey { rule: "is gone" }),
            None => self.new_signer(environment, random)?,
        };
        let newest = match stored {
            Some(stored) => stored,
            None if entries > 0 => return Err(AuditError::CheckpointMissing { entries }),
            None => {
                let signed = signer.sign(0, Hash::empty());
                self.store_checkpoint(&signed)?;
                signed
            }
        };
        Ok((signer, newest))
    }

    fn new_signer(&self, environment: &Environment, random: &dyn Random) -> Result<Signer, AuditError> {
        let mut seed = zeroize::Zeroizing::new([0; SEED_LEN]);
        random.fill(seed.as_mut_slice());
        self.sealed.create(&path(&self.key, "signing-key"), seed.as_slice()).map_err(unwritable)?;
        Signer::from_seed(environment, seed.as_slice())
    }

    /// Where the newest checkpoint stands, with its sealed bytes.
    pub(crate) fn sealed_checkpoint(&self) -> Result<(String, Vec<u8>), AuditError> {
        let path = path(&self.key, "checkpoint");
        let bytes = self.files.read(&path).map_err(|error| unreadable(KeyError::File(error)))?;
        Ok((path, bytes))
    }

    /// Where the entries stand, and how many of the file's bytes hold those that are durable now.
    pub(crate) fn extent(&self) -> (String, u64) {
        (path(&self.key, "entries"), self.log.position().bytes)
    }

    fn find(&self, name: &str) -> Result<Option<Vec<u8>>, AuditError> {
        match self.sealed.read(&path(&self.key, name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(KeyError::File(FileError::NotFound { .. })) => Ok(None),
            Err(error) => Err(unreadable(error)),
        }
    }
}

fn path(key: &ScopeKey, name: &str) -> String {
    format!("{}/{STORE}/{name}", key.scope().path())
}

fn unreadable(source: KeyError) -> AuditError {
    AuditError::Read { source: Arc::new(source) }
}

fn unwritable(source: KeyError) -> AuditError {
    AuditError::Write { source: Arc::new(source) }
}
