//! Sealed files: an acknowledged change is there; one in flight happened wholly or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use creta_keys::{KeyError, ScopeKey, SealedFiles};
use creta_platform::{FileError, Files, SeededRandom};

use crate::workload::{Outcome, Workload, bytes, ensure, scope_key};

const PATHS: [&str; 4] = ["a/1", "a/2", "b", "c"];

/// Version and bytes of a file.
type File = (u64, Vec<u8>);

/// A few sealed files that are created, replaced, read and deleted.
pub struct SealedFileTrees {
    random: Arc<SeededRandom>,
    key: ScopeKey,
    promised: BTreeMap<&'static str, File>,
    /// A path and what it may hold from now on; `None` for a deletion.
    in_flight: Option<(&'static str, Option<File>)>,
    open: Option<SealedFiles>,
}

fn found(files: &SealedFiles, path: &str) -> Result<Option<File>, KeyError> {
    match files.version(path) {
        Err(KeyError::File(FileError::NotFound { .. })) => Ok(None),
        version => {
            let version = version?;
            Ok(Some((version, files.read_version(path, version)?)))
        }
    }
}

impl Workload for SealedFileTrees {
    const NAME: &'static str = "sealed_files";

    fn new(random: Arc<SeededRandom>) -> Self {
        let key = scope_key(&random);
        Self { random, key, promised: BTreeMap::new(), in_flight: None, open: None }
    }

    fn open(&mut self, files: &Arc<dyn Files>) -> Outcome {
        let files = SealedFiles::new(Arc::clone(files), self.key.clone(), "segments");
        let in_flight = self.in_flight.take();
        for path in PATHS {
            let now = found(&files, path)?;
            let is_promised = now.as_ref() == self.promised.get(path);
            let is_in_flight = in_flight.as_ref().is_some_and(|(changed, file)| *changed == path && *file == now);
            ensure(is_promised || is_in_flight, || {
                format!("`{path}` holds neither what was acknowledged nor what was in flight")
            })?;
            match now {
                Some(file) => self.promised.insert(path, file),
                None => self.promised.remove(path),
            };
        }
        let listed = files.list("")?;
        ensure(listed.iter().eq(self.promised.keys()), || format!("unknown files are listed: {listed:?}"))?;
        self.open = Some(files);
        Ok(())
    }

    fn step(&mut self) -> Outcome {
        let files = self.open.as_ref().expect("the driver opens before it works");
        let path = PATHS[usize::try_from(self.random.below(PATHS.len() as u64)).expect("small")];
        let present = self.promised.get(path).cloned();
        match self.random.below(8) {
            0..=2 => {
                let bytes = bytes(&self.random);
                let version = present.map_or(1, |(version, _)| version + 1);
                self.in_flight = Some((path, Some((version, bytes.clone()))));
                let written = files.replace(path, &bytes)?;
                ensure(written == version, || format!("`{path}` was given version {written}, not {version}"))?;
            }
            3 => {
                let bytes = bytes(&self.random);
                if present.is_none() {
                    self.in_flight = Some((path, Some((1, bytes.clone()))));
                }
                match (files.create(path, &bytes), present.is_some()) {
                    (Err(KeyError::File(FileError::Exists { .. })), true) => {}
                    (outcome, _) => {
                        let version = outcome?;
                        ensure(version == 1 && present.is_none(), || {
                            format!("`{path}` was created over a present file")
                        })?;
                    }
                }
            }
            4 => {
                if present.is_some() {
                    self.in_flight = Some((path, None));
                }
                match (files.delete(path), present.is_some()) {
                    (Err(KeyError::File(FileError::NotFound { .. })), false) => {}
                    (outcome, present) => {
                        outcome?;
                        ensure(present, || format!("`{path}` was deleted without being there"))?;
                    }
                }
            }
            5 => {
                let Some((_, bytes)) = present else { return Ok(()) };
                let start = self.random.below(bytes.len() as u64 + 2);
                let len = usize::try_from(self.random.below(100_000)).expect("small");
                let read = files.read_range(path, start, len)?;
                let start = usize::try_from(start).expect("small").min(bytes.len());
                ensure(read == bytes[start..bytes.len().min(start + len)], || format!("a range of `{path}` is wrong"))?;
            }
            _ => ensure(found(files, path)? == present, || format!("`{path}` changed by itself"))?,
        }
        match self.in_flight.take() {
            Some((path, Some(file))) => drop(self.promised.insert(path, file)),
            Some((path, None)) => drop(self.promised.remove(path)),
            None => {}
        }
        Ok(())
    }

    fn close(&mut self) {
        self.open = None;
    }
}
