//! Sealed files in which parts of a training set wait, and what they hold is known by.
//!
//! A run has a folder of its own, named by what it computes. Its manifest says which parts are done, so that the same request
//! over the same facts goes on where another one stopped. Everything is sealed for the scope and the file's place; it goes
//! when the run is done, and what a stopped run left goes with the next other run or when the scope opens a day later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use creta_keys::{KeyError, ScopeKey, SealedFiles};
use creta_model::Instant;
use creta_platform::{FileError, Platform};
use serde::{Deserialize, Serialize};

use crate::error::EngineError;

/// Version of what waits.
const FORMAT: &str = "creta.spill/1";

/// For how long a stopped run can go on, in microseconds.
const KEPT: i64 = 86_400_000_000;

/// The folder of a scope's runs.
pub(crate) struct SpillFolder {
    files: SealedFiles,
    key: ScopeKey,
    /// Ends with a slash.
    prefix: String,
    active: Mutex<BTreeSet<String>>,
}

/// Where something stands in a file: its start and its length.
pub(crate) type Place = (u64, u64);

/// Which parts of a run are done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: String,
    begun: i64,
    /// Rows of a block.
    pub(crate) block_rows: usize,
    /// Into how many parts the rows of a step are split, by number of the step.
    pub(crate) parts: BTreeMap<usize, usize>,
    /// For each part that is done, by step and part, where the answers for each block stand in its file.
    done: BTreeMap<String, Vec<Place>>,
}

/// One run that is under way. Dropped before it is finished, it leaves what is done.
pub(crate) struct SpillRun<'a> {
    folder: &'a SpillFolder,
    id: String,
    pub(crate) manifest: Manifest,
    /// Bytes written so far.
    pub(crate) written: u64,
    /// Parts that an earlier run had done.
    pub(crate) resumed: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SpillFolder {
    pub(crate) fn new(platform: &Platform, key: ScopeKey, prefix: String) -> Self {
        let files = SealedFiles::new(Arc::clone(&platform.files), key.clone(), "spill");
        Self { files, key, prefix, active: Mutex::default() }
    }

    /// A name for what these bytes say, which nobody else can make.
    pub(crate) fn mark(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.key.mac("training run", parts)
    }

    fn read_manifest(&self, id: &str) -> Option<Manifest> {
        let bytes = self.files.read(&format!("{}{id}/manifest", self.prefix)).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|manifest: &Manifest| manifest.format == FORMAT)
    }

    /// The runs that left something.
    fn runs(&self) -> Result<BTreeSet<String>, KeyError> {
        let of = |path: String| path.strip_prefix(&self.prefix)?.split_once('/').map(|(id, _)| id.to_owned());
        Ok(self.files.list(&self.prefix)?.into_iter().filter_map(of).collect())
    }

    /// Removes what no run can go on from: of runs that have no manifest or began too long ago everything, of others what
    /// their manifest does not name.
    pub(crate) fn sweep(&self, now: Instant) -> Result<(), KeyError> {
        for id in self.runs()? {
            let manifest = self.read_manifest(&id).filter(|manifest| now.micros() - manifest.begun < KEPT);
            self.remove(&id, manifest.as_ref())?;
        }
        Ok(())
    }

    /// Removes the files of a run, without those that `kept` names.
    fn remove(&self, id: &str, kept: Option<&Manifest>) -> Result<(), KeyError> {
        let folder = format!("{}{id}/", self.prefix);
        for path in self.files.list(&folder)? {
            let name = path.strip_prefix(&folder).unwrap_or_default();
            let named = kept.is_some_and(|kept| name == "manifest" || kept.done.contains_key(name));
            if !named {
                self.files.delete(&path)?;
            }
        }
        Ok(())
    }

    /// Begins a run, or goes on with it. What other runs left that are not under way is removed. `None` while the same run is
    /// under way.
    pub(crate) fn begin(&self, id: &str, now: Instant, block_rows: usize) -> Result<Option<SpillRun<'_>>, EngineError> {
        let mut active = lock(&self.active);
        if active.contains(id) {
            return Ok(None);
        }
        for other in self.runs().map_err(failed)?.into_iter().filter(|other| other != id && !active.contains(other)) {
            self.remove(&other, None).map_err(failed)?;
        }
        let manifest = self.read_manifest(id).filter(|manifest| now.micros() - manifest.begun < KEPT);
        self.remove(id, manifest.as_ref()).map_err(failed)?;
        let resumed = manifest.as_ref().map_or(0, |manifest| manifest.done.len());
        let manifest = manifest.unwrap_or_else(|| Manifest {
            format: FORMAT.to_owned(),
            begun: now.micros(),
            block_rows,
            parts: BTreeMap::new(),
            done: BTreeMap::new(),
        });
        active.insert(id.to_owned());
        Ok(Some(SpillRun { folder: self, id: id.to_owned(), manifest, written: 0, resumed }))
    }
}

/// What a sealed file could not do.
pub(crate) fn failed(source: KeyError) -> EngineError {
    EngineError::Spill { source }
}

impl SpillRun<'_> {
    fn path(&self, name: &str) -> String {
        format!("{}{}/{name}", self.folder.prefix, self.id)
    }

    /// Writes what is needed until the next part is done.
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), EngineError> {
        self.folder.files.create(&self.path(name), bytes).map_err(failed)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Reads what [`put`](Self::put) wrote and removes it.
    pub(crate) fn take(&mut self, name: &str) -> Result<Vec<u8>, EngineError> {
        let path = self.path(name);
        let bytes = self.folder.files.read(&path).map_err(failed)?;
        self.folder.files.delete(&path).map_err(failed)?;
        Ok(bytes)
    }

    pub(crate) fn is_done(&self, step: usize, part: usize) -> bool {
        self.manifest.done.contains_key(&part_name(step, part))
    }

    /// Writes the answers of a part: `bytes`, and where those for each block stand in them.
    pub(crate) fn finish_part(
        &mut self,
        (step, part): (usize, usize),
        bytes: &[u8],
        blocks: Vec<Place>,
    ) -> Result<(), EngineError> {
        let name = part_name(step, part);
        self.put(&name, bytes)?;
        self.manifest.done.insert(name, blocks);
        let manifest = serde_json::to_vec(&self.manifest).expect("a manifest has a JSON form");
        self.folder.files.replace(&self.path("manifest"), &manifest).map_err(failed)?;
        Ok(())
    }

    /// The answers of a part for a block; nothing where it has none.
    pub(crate) fn read_block(&self, step: usize, part: usize, block: usize) -> Result<Option<Vec<u8>>, EngineError> {
        let name = part_name(step, part);
        let (start, length) = self.manifest.done[&name][block];
        if length == 0 {
            return Ok(None);
        }
        let bytes = self.folder.files.read_range(&self.path(&name), start, length as usize).map_err(failed)?;
        if bytes.len() as u64 != length {
            let path = self.path(&name);
            return Err(failed(KeyError::File(FileError::NotFound { path })));
        }
        Ok(Some(bytes))
    }

    /// Removes everything of the run.
    pub(crate) fn finish(self) -> Result<(), EngineError> {
        self.folder.remove(&self.id, None).map_err(failed)
    }
}

impl Drop for SpillRun<'_> {
    fn drop(&mut self) {
        lock(&self.folder.active).remove(&self.id);
    }
}

fn part_name(step: usize, part: usize) -> String {
    format!("part-{step}-{part}")
}
