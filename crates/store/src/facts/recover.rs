//! Opening: which files form the store, which are leftovers of a crash, and which must be refused.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, RwLock};

use creta_keys::{KeyError, LogPosition, LogReader, ScopeKey, SealedFiles, SealedLog};
use creta_platform::{FileError, Platform};

use super::cache::ColumnCache;
use super::manifest::{Anchor, Manifest};
use super::once::Remembered;
use super::record::{LogRecord, Opened, decode};
use super::segment::{Segment, SegmentFolder};
use super::tail::Tail;
use super::{CACHE_BYTES_MAX, FactStore, LogState, Maintenance, STORE, View, log_path, manifest_path, next_chain};
use crate::sealing::{files_failed, sealed_failed};
use crate::{Position, StoreError};

pub(super) fn open(platform: &Platform, key: ScopeKey, prefix: &str, known: Position) -> Result<FactStore, StoreError> {
    let files = Arc::clone(&platform.files);
    let manifests = SealedFiles::new(Arc::clone(&files), key.clone(), STORE);
    let opening = Opening { platform, key: &key, prefix, manifests: &manifests };
    let mut found = opening.find()?;
    let (manifest, version) = opening.manifest(&mut found)?;
    let folder = Arc::new(SegmentFolder {
        files: manifests.clone(),
        key: key.clone(),
        prefix: format!("{prefix}/segment/"),
        cache: ColumnCache::new(CACHE_BYTES_MAX),
    });
    let mut history =
        History { end: manifest.base, chain: manifest.chain, anchors: manifest.anchors.clone(), ..History::new() };
    history.anchors.push(Anchor { position: manifest.base, chain: manifest.chain });
    let replayed = opening.replay(&found, &manifest, version, &mut history)?;
    let segments: Vec<_> =
        manifest.segments.iter().map(|meta| Arc::new(Segment::new(meta.clone(), Arc::clone(&folder)))).collect();
    for segment in &segments {
        if !found.segments.contains(&segment.meta.name) {
            return Err(opening.tampered(&format!("the segment `{}` is missing", segment.meta.name)));
        }
        segment.check()?;
    }
    opening.check_later_logs(&found, &replayed)?;
    if history.end < known {
        return Err(StoreError::Ahead { store: prefix.to_owned(), given: known, end: history.end });
    }
    // Nothing has been changed so far, so whatever was refused is there to be looked at.
    let log = opening.open_log(&replayed)?;
    opening.clean(&found, &manifest, &replayed)?;
    let mut tails = replayed.tails;
    let active = tails.pop().expect("a store has a log");
    let log = LogState {
        log,
        generation: active.generation,
        end: history.end,
        chain: history.chain,
        anchors: history.anchors,
        manifest: version,
        manifest_unnamed: history.named_manifest < version,
        in_doubt: false,
    };
    let view = View {
        segments: Arc::new(segments),
        frozen: tails.into_iter().map(Arc::new).collect(),
        active: Arc::new(active),
    };
    Ok(FactStore {
        prefix: prefix.to_owned(),
        files,
        random: Arc::clone(&platform.random),
        key,
        manifests,
        folder,
        queue: Mutex::default(),
        answered: Condvar::new(),
        once: Mutex::new(history.once),
        log: Mutex::new(log),
        view: RwLock::new(Arc::new(view)),
        maintenance: Mutex::new(Maintenance { manifest, version, kept: Vec::new(), in_doubt: false }),
    })
}

struct Opening<'a> {
    platform: &'a Platform,
    key: &'a ScopeKey,
    prefix: &'a str,
    manifests: &'a SealedFiles,
}

/// Files by their names.
struct Found {
    manifest: bool,
    logs: BTreeSet<u64>,
    segments: BTreeSet<String>,
}

/// What has been read of the history so far.
struct History {
    end: Position,
    chain: [u8; 32],
    anchors: Vec<Anchor>,
    named_manifest: u64,
    once: Remembered,
}

struct Replayed {
    /// At least one, one per log.
    tails: Vec<Tail>,
    /// Where the last log ends.
    end: LogPosition,
}

impl Replayed {
    /// Generation of the last log.
    fn last(&self) -> u64 {
        self.tails.last().expect("a store has a log").generation
    }
}

/// One log as it was read.
struct ReadLog {
    end: LogPosition,
    opened: Option<Opened>,
    tail: Tail,
    closed: Option<u64>,
}

impl Opening<'_> {
    fn find(&self) -> Result<Found, StoreError> {
        let mut found = Found { manifest: false, logs: BTreeSet::new(), segments: BTreeSet::new() };
        let start = format!("{}/", self.prefix);
        let paths = self.platform.files.list(&start).map_err(|error| files_failed(self.prefix, error))?;
        for path in &paths {
            let name = &path[start.len()..];
            if name == "manifest" {
                found.manifest = true;
            } else if let Some(segment) = name.strip_prefix("segment/") {
                found.segments.insert(segment.to_owned());
            } else if let Some(generation) = name.strip_prefix("log/").and_then(|text| text.parse().ok()) {
                found.logs.insert(generation);
            }
        }
        Ok(found)
    }

    /// The manifest and its version; writes the first one for a new store.
    fn manifest(&self, found: &mut Found) -> Result<(Manifest, u64), StoreError> {
        let path = manifest_path(self.prefix);
        if found.manifest {
            let bytes = self.manifests.read(&path).map_err(|error| self.failed(error))?;
            let version = self.manifests.version(&path).map_err(|error| self.failed(error))?;
            return Ok((Manifest::decode(&bytes, self.prefix)?, version));
        }
        // A crash while the first files were written leaves a log without any unit, and nothing else.
        let unused = found.segments.is_empty() && found.logs.iter().all(|generation| *generation == 0);
        if !unused || (found.logs.contains(&0) && !self.read_log(0, &mut History::new())?.is_unused()) {
            return Err(self.tampered("its manifest is missing"));
        }
        let log = log_path(self.prefix, 0);
        match self.platform.files.delete(&log) {
            Ok(()) | Err(FileError::NotFound { .. }) => {}
            Err(error) => return Err(files_failed(self.prefix, error)),
        }
        let manifest = Manifest::first();
        let opened = Opened { generation: 0, base: manifest.base, chain: manifest.chain, manifest: 0 };
        let (mut first, _) =
            SealedLog::open(&self.platform.files, self.key, STORE, &log).map_err(|e| self.failed(e))?;
        first.append(&[&opened.encode()]).map_err(|error| self.failed(error))?;
        let version = self.manifests.create(&path, &manifest.encode()).map_err(|error| self.failed(error))?;
        found.logs.insert(0);
        Ok((manifest, version))
    }

    /// Reads the logs from the manifest's on, each of which must go on from the one before.
    fn replay(
        &self,
        found: &Found,
        manifest: &Manifest,
        version: u64,
        history: &mut History,
    ) -> Result<Replayed, StoreError> {
        let mut tails = Vec::new();
        let mut generation = manifest.generation;
        loop {
            if !found.logs.contains(&generation) {
                let newer = found.logs.iter().any(|other| *other > generation);
                return Err(self.tampered(if newer {
                    "its manifest is older than its log: an older copy was put in its place"
                } else {
                    "its log is missing"
                }));
            }
            let (base, chain) = (history.end, history.chain);
            let read = self.read_log(generation, history)?;
            let opened = read.opened.ok_or_else(|| self.tampered("its log is cut short"))?;
            if (opened.generation, opened.base, opened.chain) != (generation, base, chain) {
                return Err(self.tampered("its log does not go on from its manifest"));
            }
            if opened.manifest.max(history.named_manifest) > version {
                return Err(
                    self.tampered("its manifest is older than its log says: an older copy was put in its place")
                );
            }
            tails.push(read.tail);
            match read.closed {
                Some(next) => generation = next,
                None => return Ok(Replayed { tails, end: read.end }),
            }
        }
    }

    fn read_log(&self, generation: u64, history: &mut History) -> Result<ReadLog, StoreError> {
        let path = log_path(self.prefix, generation);
        let mut tail = Tail::new(generation, history.end);
        let mut opened = None;
        let mut closed = None;
        let mut reader = LogReader::open(&self.platform.files, self.key, STORE, &path).map_err(|e| self.failed(e))?;
        for record in &mut reader {
            let record = record.map_err(|error| self.failed(error))?;
            let bytes = record.bytes.len() as u64;
            match decode(record.bytes) {
                Some(LogRecord::Open(first)) if record.sequence == 0 => opened = Some(first),
                Some(LogRecord::Remembered(all)) if opened.is_some() && tail.is_empty() && closed.is_none() => {
                    all.into_iter().for_each(|(position, once)| history.once.add(position, once));
                }
                Some(LogRecord::Unit { position, id, batches, once })
                    if opened.is_some() && closed.is_none() && position == history.end.next() =>
                {
                    history.push(self.key, &id);
                    if let Some(once) = once {
                        history.once.add(position, once);
                    }
                    tail.push(&batches, bytes);
                }
                Some(LogRecord::Manifest { version }) if closed.is_none() => {
                    history.named_manifest = history.named_manifest.max(version);
                }
                Some(LogRecord::Closed { next }) if closed.is_none() && next == generation + 1 => closed = Some(next),
                _ => return Err(self.tampered("a record of its log does not belong there")),
            }
        }
        Ok(ReadLog { end: reader.position(), opened, tail, closed })
    }

    /// Opens the last log for appending and cuts off what a crash left at its end.
    fn open_log(&self, replayed: &Replayed) -> Result<SealedLog, StoreError> {
        let path = log_path(self.prefix, replayed.last());
        let ignore = |_| Ok::<(), KeyError>(());
        let log = SealedLog::open_each(&self.platform.files, self.key, STORE, &path, ignore)
            .map_err(|error| self.failed(error))?;
        if log.position() == replayed.end { Ok(log) } else { Err(self.tampered("its log changed while it was opened")) }
    }

    /// After the last log there may be one more, which was begun when a crash kept the last one from being closed.
    fn check_later_logs(&self, found: &Found, replayed: &Replayed) -> Result<(), StoreError> {
        for generation in found.logs.iter().filter(|generation| **generation > replayed.last()) {
            let unused =
                *generation == replayed.last() + 1 && self.read_log(*generation, &mut History::new())?.is_unused();
            if !unused {
                return Err(self.tampered("a log is there that the one before does not name"));
            }
        }
        Ok(())
    }

    /// Removes what no crash-free run would have left: segments that the manifest does not name, logs that are wholly in
    /// segments, and a next log that was begun without closing the one before.
    fn clean(&self, found: &Found, manifest: &Manifest, replayed: &Replayed) -> Result<(), StoreError> {
        let logs = found.logs.iter().filter(|generation| !(manifest.generation..=replayed.last()).contains(generation));
        let named: BTreeSet<&str> = manifest.segments.iter().map(|meta| meta.name.as_str()).collect();
        let segments = found.segments.iter().filter(|name| !named.contains(name.as_str()));
        let logs = logs.map(|generation| log_path(self.prefix, *generation));
        for path in logs.chain(segments.map(|name| format!("{}/segment/{name}", self.prefix))) {
            tracing::info!(path, "removing what a crash left behind");
            self.platform.files.delete(&path).map_err(|error| files_failed(self.prefix, error))?;
        }
        Ok(())
    }

    fn failed(&self, error: KeyError) -> StoreError {
        sealed_failed(self.prefix, error)
    }

    fn tampered(&self, reason: &str) -> StoreError {
        StoreError::Tampered { store: self.prefix.to_owned(), reason: reason.to_owned() }
    }
}

impl ReadLog {
    fn is_unused(&self) -> bool {
        self.tail.is_empty() && self.closed.is_none()
    }
}

impl History {
    fn new() -> Self {
        let once = Remembered::default();
        Self { end: Position::START, chain: [0; 32], anchors: Vec::new(), named_manifest: 0, once }
    }

    fn push(&mut self, key: &ScopeKey, unit: &[u8; 16]) {
        self.chain = next_chain(key, &self.chain, unit);
        self.end = self.end.next();
        self.anchors.push(Anchor { position: self.end, chain: self.chain });
    }
}
