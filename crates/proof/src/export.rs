//! An exported log: a folder of static files that shows everything the log says, or the same files fetched one by one.
//!
//! ```text
//! checkpoint                 newest signed checkpoint; cosignatures of witnesses follow the log's signature
//! verifier-key               the log's key, one line, for convenience: an auditor brings their own copy
//! tile/<L>/<K>[.p/<W>]       hash tiles of every level, C2SP tlog-tiles
//! tile/entries/<K>[.p/<W>]   entry bundles
//! ```

use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use serde::Serialize;

use crate::tiles::{TILE_WIDTH, bundle_entries, entries_path, parse_tile_index, tile_path};
use crate::verify::{LogReader, LogReport};
use crate::witness::{Witnessed, require_witnessed};
use crate::{Checkpoint, Hash, ProofError, SignedCheckpoint, Time, VerifierKey, check_entry};

/// Name of the file with the newest checkpoint.
pub const CHECKPOINT_FILE: &str = "checkpoint";
/// Name of the file with the log's verifier key.
pub const VERIFIER_KEY_FILE: &str = "verifier-key";

const BUNDLES_AT_ONCE: usize = 64; // About 8 MB of entries.

/// Paths of all tiles and bundles of a log of `size` entries: each bundle and its hash tile, then the upper levels.
pub fn tile_paths(size: u64) -> impl Iterator<Item = String> {
    let bundles = tiles_at(0, size).flat_map(|(index, width)| [entries_path(index, width), tile_path(0, index, width)]);
    let upper =
        (1..8).flat_map(move |level| tiles_at(level, size).map(move |(index, width)| tile_path(level, index, width)));
    bundles.chain(upper)
}

/// Index and width of each tile at `level`. C2SP tlog-tiles: the partial one has `floor(size / 256**level) mod 256`.
fn tiles_at(level: u32, size: u64) -> impl Iterator<Item = (u64, u64)> {
    let hashes = size >> (8 * level);
    (0..hashes.div_ceil(TILE_WIDTH)).map(move |index| (index, TILE_WIDTH.min(hashes - index * TILE_WIDTH)))
}

/// Checks everything a log says against a checkpoint that was verified before: each entry's form, its hash in its tile,
/// every hash tile, and the root. With `since`, an older verified checkpoint, also that the log continues that.
///
/// `fetch` gives the bytes of a file by its path, `None` where there is none. Each is asked for once, in the order of
/// [`tile_paths`] apart from upper levels. Time O(entries), on all processors; memory a few megabytes.
/// Errors name the first entry that is wrong as closely as the tiles tell.
pub fn verify_files<E: From<ProofError>>(
    checkpoint: &Checkpoint,
    since: Option<&Checkpoint>,
    mut fetch: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<LogReport, E> {
    if let Some(since) = since.filter(|since| since.size > checkpoint.size) {
        return Err(ProofError::Shorter { entries: checkpoint.size, checkpoint: since.size }.into());
    }
    let (mut reader, mut tiles) = (LogReader::default(), UpperTiles::default());
    let mut disagreement: Option<ProofError> = None;
    let mut continues = Continues { since, wrong: false };
    continues.compare(&reader);
    let mut all = tiles_at(0, checkpoint.size).peekable();
    while all.peek().is_some() {
        let mut unfetched = None;
        let mut group = Vec::with_capacity(BUNDLES_AT_ONCE);
        for (index, width) in all.by_ref().take(BUNDLES_AT_ONCE) {
            match Bundle::fetch(index, width, &mut fetch) {
                Ok(bundle) => group.push(bundle),
                Err(error) => {
                    unfetched = Some(error);
                    break;
                }
            }
        }
        for read in in_parallel(&group) {
            disagreement = disagreement.or(read.disagreement);
            for (leaf, time) in &read.entries {
                reader.add(*leaf, *time);
                continues.compare(&reader);
                tiles.add(*leaf);
            }
            if let Some(error) = read.failed {
                return Err(disagreement.unwrap_or(error).into());
            }
        }
        if let Some(error) = unfetched {
            return Err(disagreement.map_or(error, E::from));
        }
        for tile in tiles.completed.drain(..) {
            disagreement = tile.compare(&mut fetch, disagreement)?;
        }
    }
    for tile in tiles.partial() {
        disagreement = tile.compare(&mut fetch, disagreement)?;
    }
    let report = reader.report();
    if report.root != checkpoint.root {
        return Err(disagreement.unwrap_or(ProofError::Inconsistent { size: checkpoint.size }).into());
    }
    // The entries are those that were signed, so where they and a tile disagree, the tile is wrong.
    if let Some(disagreement) = disagreement {
        return Err(match disagreement {
            ProofError::Edited { index, tile } => ProofError::Tile { tile, first: index, last: index },
            other => other,
        }
        .into());
    }
    match since {
        Some(since) if continues.wrong => Err(ProofError::Inconsistent { size: since.size }.into()),
        _ => Ok(report),
    }
}

fn missing(file: String, level: u32, index: u64, width: u64) -> ProofError {
    let first = (index * TILE_WIDTH) << (8 * level);
    ProofError::Missing { file, first, last: first + (width << (8 * level)) - 1 }
}

/// Whether the log had the root of an older checkpoint when it had its size.
struct Continues<'a> {
    since: Option<&'a Checkpoint>,
    wrong: bool,
}

impl Continues<'_> {
    fn compare(&mut self, reader: &LogReader) {
        if let Some(since) = self.since.filter(|since| since.size == reader.entries()) {
            self.wrong = reader.root() != since.root;
        }
    }
}

/// A bundle of entries and the hash tile beside it, each with its path.
struct Bundle {
    first: u64,
    width: u64,
    bundle: (String, Vec<u8>),
    tile: (String, Vec<u8>),
}

/// What a bundle says. Entries end before the first that could not be read.
#[derive(Default)]
struct Read {
    entries: Vec<(Hash, Time)>,
    disagreement: Option<ProofError>,
    failed: Option<ProofError>,
}

fn in_parallel(bundles: &[Bundle]) -> Vec<Read> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = bundles.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let read = |share: &[Bundle]| share.iter().map(Bundle::read).collect::<Vec<_>>();
        let shares: Vec<_> = bundles.chunks(share).map(|share| scope.spawn(move || read(share))).collect();
        shares.into_iter().flat_map(|share| share.join().expect("reading a bundle does not panic")).collect()
    })
}

impl Bundle {
    fn fetch<E: From<ProofError>>(
        index: u64,
        width: u64,
        fetch: &mut impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        let mut require = |file: String| match fetch(&file)? {
            Some(bytes) => Ok((file, bytes)),
            None => Err(E::from(missing(file, 0, index, width))),
        };
        let (bundle, tile) = (require(entries_path(index, width))?, require(tile_path(0, index, width))?);
        Ok(Self { first: index * TILE_WIDTH, width, bundle, tile })
    }

    fn read(&self) -> Read {
        let mut read = Read::default();
        let entries = match bundle_entries(&self.bundle.1, self.width) {
            Ok(entries) => entries,
            Err((at, rule)) => {
                let (file, index) = (self.bundle.0.clone(), self.first + at);
                read.failed = Some(ProofError::Bundle { file, index, rule });
                return read;
            }
        };
        let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(entry)).collect();
        read.disagreement = self.compare(&leaves);
        for ((index, entry), leaf) in (self.first..).zip(entries).zip(leaves) {
            match check_entry(entry) {
                Ok(time) => read.entries.push((leaf, time)),
                Err(rule) => {
                    read.failed = Some(ProofError::Entry { index, rule });
                    break;
                }
            }
        }
        read
    }

    fn compare(&self, leaves: &[Hash]) -> Option<ProofError> {
        let tile = self.tile.0.clone();
        if self.tile.1.len() != leaves.len() * 32 {
            return Some(ProofError::Tile { tile, first: self.first, last: self.first + self.width - 1 });
        }
        let at = leaves.iter().zip(self.tile.1.chunks(32)).position(|(leaf, stored)| leaf.as_bytes() != stored)?;
        Some(ProofError::Edited { index: self.first + at as u64, tile })
    }
}

/// Computes the hash tiles above level 0, given the leaves.
#[derive(Default)]
struct UpperTiles {
    /// Per level from 0: the index of the tile that grows, and its hashes so far.
    growing: Vec<(u64, Vec<Hash>)>,
    completed: Vec<Tile>,
}

struct Tile {
    level: u32,
    index: u64,
    hashes: Vec<Hash>,
}

impl UpperTiles {
    fn add(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if self.growing.len() == level {
                self.growing.push((0, Vec::new()));
            }
            let (index, hashes) = &mut self.growing[level];
            hashes.push(hash);
            if hashes.len() < TILE_WIDTH as usize {
                return;
            }
            let tile = Tile { level: level as u32, index: *index, hashes: std::mem::take(hashes) };
            *index += 1;
            hash = tile.root();
            if level > 0 {
                self.completed.push(tile);
            }
        }
    }

    /// The partial tiles at the end of every level above 0.
    fn partial(self) -> impl Iterator<Item = Tile> {
        let growing = (0..).zip(self.growing).skip(1).filter(|(_, (_, hashes))| !hashes.is_empty());
        growing.map(|(level, (index, hashes))| Tile { level, index, hashes })
    }
}

impl Tile {
    /// Of a full tile.
    fn root(&self) -> Hash {
        let mut row = self.hashes.clone();
        while row.len() > 1 {
            row = row.chunks(2).map(|pair| Hash::node(&pair[0], &pair[1])).collect();
        }
        row[0]
    }

    /// Compares with the stored tile; gives the disagreement that was known before, or else one that is found here.
    fn compare<E: From<ProofError>>(
        self,
        fetch: &mut impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
        known: Option<ProofError>,
    ) -> Result<Option<ProofError>, E> {
        let (level, index, width) = (self.level, self.index, self.hashes.len() as u64);
        let tile = tile_path(level, index, width);
        let Some(stored) = fetch(&tile)? else {
            return Err(known.unwrap_or(missing(tile, level, index, width)).into());
        };
        let covered = |at: u64| (index * TILE_WIDTH + at) << (8 * level);
        if stored.len() != self.hashes.len() * 32 {
            return Ok(known.or(Some(ProofError::Tile { tile, first: covered(0), last: covered(width) - 1 })));
        }
        let at = self.hashes.iter().zip(stored.chunks(32)).position(|(hash, stored)| hash.as_bytes() != stored);
        Ok(known.or(at.map(|at| at as u64).map(|at| ProofError::Tile {
            tile,
            first: covered(at),
            last: covered(at + 1) - 1,
        })))
    }
}

/// What is demanded of an exported log beyond its own signature.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// An older checkpoint of the same log, kept elsewhere, that it has to continue. Only with it, or a witness, is a log
    /// noticed that was put back to an older state together with its checkpoint.
    pub since: Option<SignedCheckpoint>,
    /// Witnesses who have to have cosigned the checkpoint, all of them.
    pub witnesses: Vec<VerifierKey>,
    /// When they have to have done so at the earliest, by their clocks.
    pub witnessed_after: Option<Time>,
    /// Indices of entries that may be earlier than the entry before them, the reason being known.
    pub set_backs_accepted: Vec<u64>,
}

/// What an exported log shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// Which log.
    pub origin: String,
    /// What its entries say together.
    #[serde(flatten)]
    pub log: LogReport,
    /// Size of the older checkpoint that it continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Who cosigned its checkpoint, in the order asked for.
    pub witnessed: Vec<Witnessed>,
}

/// A folder that a log was exported to.
#[derive(Debug, Clone)]
pub struct ExportedLog {
    folder: PathBuf,
}

impl ExportedLog {
    /// Names the folder; nothing is read yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Its newest checkpoint, not yet verified.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, ProofError> {
        let bytes = self.read(CHECKPOINT_FILE)?.ok_or(ProofError::NoCheckpoint)?;
        let note = String::from_utf8(bytes).map_err(|_| ProofError::Checkpoint { rule: "it is not text" })?;
        SignedCheckpoint::parse(&note)
    }

    /// One of its files by its path; `None` where there is none.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, ProofError> {
        match fs::read(self.folder.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ProofError::File { file: path.to_owned(), kind: error.kind() }),
        }
    }

    /// Checks all of it: that `key` signed the checkpoint, everything of [`verify_files`], the witnesses, and that time
    /// goes forward.
    pub fn verify(&self, key: &VerifierKey, demands: &Demands) -> Result<ExportReport, ProofError> {
        let signed = self.checkpoint()?;
        let checkpoint = signed.verify(key)?;
        let since = demands.since.as_ref().map(|since| since.verify(key)).transpose()?;
        let log = self.verify_extent(&checkpoint, since.as_ref())?;
        let witnessed = require_witnessed(&signed, &demands.witnesses, demands.witnessed_after)?;
        match log.clock_set_back.iter().find(|index| !demands.set_backs_accepted.contains(index)) {
            Some(&index) => Err(ProofError::ClockSetBack { index }),
            None => {
                Ok(ExportReport { origin: checkpoint.origin, log, since: since.map(|since| since.size), witnessed })
            }
        }
    }

    fn verify_extent(&self, checkpoint: &Checkpoint, since: Option<&Checkpoint>) -> Result<LogReport, ProofError> {
        let verified = verify_files(checkpoint, since, |path| self.read(path));
        if matches!(verified, Ok(_) | Err(ProofError::Missing { .. })) {
            let entries = self.extent()?;
            if entries > checkpoint.size {
                return Err(ProofError::Longer { entries, checkpoint: checkpoint.size });
            }
            if entries < checkpoint.size {
                return Err(ProofError::Shorter { entries, checkpoint: checkpoint.size });
            }
        }
        verified
    }

    /// How many entries the names of its bundles speak of.
    fn extent(&self) -> Result<u64, ProofError> {
        let (entries, mut folders, mut extent) = (self.folder.join("tile/entries"), vec![String::new()], 0);
        while let Some(folder) = folders.pop() {
            let failed = |error: io::Error| ProofError::File { file: "tile/entries".to_owned(), kind: error.kind() };
            let listed = match fs::read_dir(entries.join(&folder)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listed => listed.map_err(failed)?,
            };
            for found in listed {
                let found = found.map_err(failed)?;
                let Some(name) = found.file_name().to_str().map(|name| format!("{folder}{name}")) else { continue };
                if found.file_type().map_err(failed)?.is_dir() {
                    folders.push(format!("{name}/"));
                } else if let Some((index, width)) = parse_tile_index(&name) {
                    extent = extent.max(index.saturating_mul(TILE_WIDTH).saturating_add(width));
                }
            }
        }
        Ok(extent)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
