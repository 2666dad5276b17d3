//! Facts: the truth that everything else is derived from.
//!
//! ```text
//! append ─► write-ahead log ─► tail in memory ─┐
//!           log/<generation>                   ├─► snapshot ─► scan
//!           flush ─► segment/<number> ─────────┘
//!                    named by the manifest
//! ```
//!
//! **Durable.** An append is answered after its record is in the log and synced; concurrent appends share one sync. One
//! record is one unit, so a crash leaves it whole or not at all.
//!
//! **Files.** A flush begins a new log, writes the old one's facts as segments, and replaces the manifest; only then does
//! the old log go. Compaction works the same way. Opening therefore finds the state before or after, and removes what is
//! in neither.
//!
//! **Tampering.** Everything is sealed for scope and path. Beyond that the files vouch for each other: the manifest names
//! the log to go on from and each segment's length and digest, a log names the position and history it goes on from, its
//! successor once it is closed, and the newest manifest. What the files cannot tell is that all of them were put back
//! together to an earlier moment: for that an [`Epoch`] is kept elsewhere.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};

use arrow::array::RecordBatch;
use creta_keys::{ScopeKey, SealedFiles, SealedLog};
use creta_model::{EntityId, FeatureId, Instant};
use creta_platform::{Files, Platform, Random};

use crate::{FactBatch, Position, StoreError};

mod cache;
mod commit;
mod maintain;
mod manifest;
mod once;
mod record;
mod recover;
mod segment;
mod snapshot;
mod tail;
#[cfg(test)]
mod tests;

use commit::Queue;
pub use commit::Unit;
use manifest::{Anchor, Manifest};
use once::Remembered;
pub use once::{KEPT as ONCE_KEPT, KEYS_MAX as ONCE_KEYS_MAX, Once};
use segment::{Segment, SegmentFolder};
pub use snapshot::{EntityStatistics, FactSnapshot};
use tail::Tail;

/// The word that facts are sealed for.
const STORE: &str = "facts";
/// Decoded columns of segments that are kept in memory.
const CACHE_BYTES_MAX: u64 = 256 << 20;
/// Decoded bytes of segments, about, that catching up holds at once.
const READ_MEMORY_MAX: u64 = 512 << 20;

/// The facts of one scope.
///
/// Every method may be called from many threads. One store per prefix at a time, in one process; the caller sees to that.
pub struct FactStore {
    prefix: String,
    files: Arc<dyn Files>,
    random: Arc<dyn Random>,
    key: ScopeKey,
    manifests: SealedFiles,
    folder: Arc<SegmentFolder>,
    queue: Mutex<Queue>,
    answered: Condvar,
    /// Taken after the log where both are.
    once: Mutex<Remembered>,
    log: Mutex<LogState>,
    view: RwLock<Arc<View>>,
    maintenance: Mutex<Maintenance>,
}

/// What the next append goes on from.
struct LogState {
    log: SealedLog,
    generation: u64,
    end: Position,
    chain: [u8; 32],
    /// Chain values of the units that are not in segments, and of earlier flushes.
    anchors: Vec<Anchor>,
    /// The newest durable manifest.
    manifest: u64,
    /// Whether the log still has to name it.
    manifest_unnamed: bool,
    /// An append failed, so the log has to be opened again before the next one.
    in_doubt: bool,
}

/// What flush and compaction go on from. They take turns.
struct Maintenance {
    manifest: Manifest,
    version: u64,
    /// Files that the durable manifest may still name, because replacing it failed in the middle.
    kept: Vec<Arc<Segment>>,
    /// It is not known which manifest is durable.
    in_doubt: bool,
}

/// What a snapshot sees. Replaced, never changed.
#[derive(Clone)]
struct View {
    segments: Arc<Vec<Arc<Segment>>>,
    /// Tails of closed logs that are not in segments yet, oldest first.
    frozen: Vec<Arc<Tail>>,
    active: Arc<Tail>,
}

/// A moment in the life of a store, to be kept where whoever can change the store's files cannot (the audit log).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// How much had been acknowledged.
    pub position: Position,
    /// Stands for everything up to `position`: two stores with equal chains hold the same history.
    pub chain: [u8; 32],
    /// Version of the manifest.
    pub manifest: u64,
}

impl FactStore {
    /// Opens the store under `prefix` of the platform's files, created if there is none, and reads the log into memory.
    ///
    /// Leftovers of a crash are removed. Files that do not form the store that was written last are refused: another
    /// scope's or place's ([`StoreError::Foreign`]), missing, cut, changed, swapped or older ones
    /// ([`StoreError::Tampered`]).
    pub fn open(platform: &Platform, key: ScopeKey, prefix: &str) -> Result<Self, StoreError> {
        Self::open_known(platform, key, prefix, Position::START)
    }

    /// [`open`](Self::open) by somebody who knows that facts up to `known` were acknowledged, for example because values were
    /// derived from them: a store that ends before that is [`StoreError::Ahead`], and nothing in it is changed. By itself a
    /// log that was cut looks like one that a crash left.
    pub fn open_known(platform: &Platform, key: ScopeKey, prefix: &str, known: Position) -> Result<Self, StoreError> {
        recover::open(platform, key, prefix, known)
    }

    /// Makes the batches durable as one unit and returns the position after it.
    ///
    /// All or nothing, also when the process dies. After [`StoreError::Full`] nothing was written and the store works on.
    /// After another error the unit is not visible, and whether it comes back when the store is opened again is open.
    /// Batches without rows are left out; without any fact nothing is written. Costs one encoding and sealing of the
    /// batches and one sync, shared with concurrent callers.
    pub fn append(&self, batches: Vec<FactBatch>) -> Result<Position, StoreError> {
        self.append_all(vec![Unit { batches, once: None }]).remove(0)
    }

    /// Makes several units durable with one sync, each whole or not at all, and returns the position after each. A unit that
    /// cannot be taken is an error of its own and keeps no other back. One that is to be remembered is written without any
    /// fact too; otherwise as [`append`](Self::append).
    pub fn append_all(&self, units: Vec<Unit>) -> Vec<Result<Position, StoreError>> {
        self.commit(units)
    }

    /// The unit that is remembered under a key at `now`, and its position.
    ///
    /// Keys are durable together with their units. They are forgotten after [`ONCE_KEPT`], or when [`ONCE_KEYS_MAX`] newer
    /// ones came.
    pub fn remembered(&self, key: &[u8; 16], now: Instant) -> Option<(Position, Once)> {
        self.lock_once().find(key, now)
    }

    /// How much has been acknowledged.
    pub fn position(&self) -> Position {
        self.view().active.end
    }

    /// The units after `since`, in order, for stores that catch up.
    ///
    /// Always complete: what is no longer in the log is read from segments, where the batches of a unit that concern the
    /// same entity and features are one. [`StoreError::Ahead`] when `since` is beyond the end: the caller's state is not
    /// derived from these facts and must be rebuilt. Holds all of them in memory; whoever may be far behind asks for
    /// [some](Self::read_some_since) at a time.
    pub fn read_since(
        &self,
        since: Position,
    ) -> Result<impl Iterator<Item = (Position, Vec<FactBatch>)> + use<>, StoreError> {
        Ok(self.snapshot().units_since(since, &self.prefix)?.into_iter())
    }

    /// The first of the units after `since`, in order and without gaps, as many as memory holds well; none at the end. Whoever
    /// catches up asks again from the last of them on. Otherwise as [`read_since`](Self::read_since).
    pub fn read_some_since(&self, since: Position) -> Result<Vec<(Position, Vec<FactBatch>)>, StoreError> {
        self.snapshot().some_units_since(since, READ_MEMORY_MAX, &self.prefix)
    }

    /// The facts as they are now. Costs a few reference counts; later changes do not reach it, and files it needs stay
    /// until it is dropped.
    pub fn snapshot(&self) -> FactSnapshot {
        FactSnapshot { view: self.view() }
    }

    /// The facts about an entity; see [`FactSnapshot::scan`].
    pub fn scan(
        &self,
        entity: EntityId,
        columns: Option<&[FeatureId]>,
        events: impl RangeBounds<Instant>,
    ) -> Result<Vec<RecordBatch>, StoreError> {
        self.snapshot().scan(entity, columns, events)
    }

    /// Moves everything appended so far from the log into segments. Appends go on meanwhile.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.flush_all()
    }

    /// Merges small segments of the same entity and features.
    pub fn compact(&self) -> Result<(), StoreError> {
        self.compact_where(2)
    }

    /// Flushes a log that has become long and merges segments that have become many. Meant to be called every few seconds;
    /// costs nothing when there is nothing to do.
    pub fn maintain(&self) -> Result<(), StoreError> {
        self.maintain_if_due()
    }

    /// Rows and bytes per entity.
    pub fn statistics(&self) -> BTreeMap<EntityId, EntityStatistics> {
        self.snapshot().statistics()
    }

    /// The present moment, to be kept elsewhere.
    pub fn epoch(&self) -> Epoch {
        let log = self.lock_log();
        Epoch { position: log.end, chain: log.chain, manifest: log.manifest }
    }

    /// Runs `copy` on one moment of this store: its epoch and its files, each by path and by how many of its bytes belong to
    /// the moment. These bytes stay as they are until `copy` returns; together they are a store that opens as of the epoch.
    /// Appends go on meanwhile, flushes and compactions wait; under another name (a hard link) the bytes stay for longer.
    pub fn while_still<T>(&self, copy: impl FnOnce(Epoch, &[(String, u64)]) -> T) -> Result<T, StoreError> {
        self.hold_still(copy)
    }

    /// Checks that this store went on from a moment kept earlier: [`StoreError::Tampered`] if it is an older copy, or one
    /// that took another way since. Moments further back than the last 512 flushes are checked by position only.
    pub fn check_epoch(&self, kept: &Epoch) -> Result<(), StoreError> {
        let log = self.lock_log();
        let known = log.anchors.iter().rev().find(|anchor| anchor.position == kept.position);
        let reason = if log.end < kept.position || log.manifest < kept.manifest {
            "an older copy was put in its place"
        } else if known.is_some_and(|anchor| anchor.chain != kept.chain) {
            "its history is not the one that was recorded"
        } else {
            return Ok(());
        };
        Err(self.tampered(reason))
    }

    /// Reads every segment and compares it with the manifest's digest.
    pub fn verify(&self) -> Result<(), StoreError> {
        self.view().segments.iter().try_for_each(|segment| segment.load().map(drop))
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().expect("no code panics while it holds the view"))
    }

    fn publish(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.write().expect("no code panics while it holds the view");
        let mut next = View::clone(&view);
        change(&mut next);
        let old = std::mem::replace(&mut *view, Arc::new(next));
        drop(view);
        // Files of obsolete segments may go with it, which readers need not wait for.
        drop(old);
    }

    fn lock_log(&self) -> MutexGuard<'_, LogState> {
        self.log.lock().expect("no code panics while it holds the log")
    }

    fn lock_once(&self) -> MutexGuard<'_, Remembered> {
        self.once.lock().expect("no code panics while it holds the keys")
    }

    fn tampered(&self, reason: &str) -> StoreError {
        StoreError::Tampered { store: self.prefix.clone(), reason: reason.to_owned() }
    }

    fn log_path(&self, generation: u64) -> String {
        log_path(&self.prefix, generation)
    }
}

fn log_path(prefix: &str, generation: u64) -> String {
    format!("{prefix}/log/{generation:020}")
}

fn manifest_path(prefix: &str) -> String {
    format!("{prefix}/manifest")
}

/// What stands for the history up to a unit: the unit's random id on top of the history before.
fn next_chain(key: &ScopeKey, chain: &[u8; 32], unit: &[u8; 16]) -> [u8; 32] {
    key.mac("facts chain", &[chain, unit])
}
