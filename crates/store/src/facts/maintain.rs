//! Moving facts from the log into segments, and from many segments into few.

use std::sync::{Arc, MutexGuard};

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::SchemaRef;
use creta_model::EntityId;
use creta_platform::FileError;

use super::manifest::{Anchor, Manifest, SegmentMeta};
use super::segment::{SEGMENT_MEMORY_MAX, SEGMENT_ROWS_MAX, Segment, memory, sort, with_positions};
use super::tail::{Run, Table, Tail};
use super::{Epoch, FactStore, Maintenance, manifest_path};
use crate::StoreError;
use crate::sealing::{files_failed, sealed_failed};

/// A log of this length is due for a flush.
const LOG_BYTES_DUE: u64 = 64 << 20;
/// So many small segments of one kind are due for compaction.
const SEGMENTS_DUE: usize = 8;

/// What concerns one entity and one set of features.
type OfOneKind<T> = (EntityId, Vec<Arc<T>>);

impl FactStore {
    pub(super) fn maintain_if_due(&self) -> Result<(), StoreError> {
        let due: u64 = self.view().tails().map(|tail| tail.bytes).sum();
        if due >= LOG_BYTES_DUE {
            self.flush_all()?;
        }
        self.compact_where(SEGMENTS_DUE)
    }

    pub(super) fn flush_all(&self) -> Result<(), StoreError> {
        let mut maintenance = self.lock_maintenance()?;
        self.rotate()?;
        let frozen = self.view().frozen.clone();
        let Some(newest) = frozen.last() else { return Ok(()) };
        let mut manifest = maintenance.manifest.clone();
        let mut fresh = Fresh { store: self, segments: Vec::new() };
        for (entity, tables) in tables(&frozen) {
            for rows in chunks(&tables) {
                fresh.write(&mut manifest, entity, &rows)?;
            }
        }
        let (generation, base) = (newest.generation + 1, newest.end);
        let chain = self.chain_at(base);
        manifest.advance(generation, base, chain);
        let oldest = maintenance.manifest.generation;
        let (certainty, added) = self.replace_manifest(&mut maintenance, manifest, Vec::new(), fresh)?;
        self.publish(|view| {
            view.segments = Arc::new(view.segments.iter().cloned().chain(added).collect());
            view.frozen.retain(|tail| tail.generation >= generation);
        });
        self.lock_log().anchors.retain(|anchor| anchor.position >= base);
        self.remember(&maintenance.manifest.anchors);
        if certainty == Certainty::Durable {
            (oldest..generation).for_each(|generation| self.delete_log(generation));
        }
        Ok(())
    }

    /// Nobody replaces or removes a file while the turn at maintenance is held; a log grows at its end alone.
    pub(super) fn hold_still<T>(&self, copy: impl FnOnce(Epoch, &[(String, u64)]) -> T) -> Result<T, StoreError> {
        let maintenance = self.lock_maintenance()?;
        let whole = |path: String| {
            let bytes = self.files.size(&path).map_err(|error| files_failed(&self.prefix, error))?;
            Ok::<_, StoreError>((path, bytes))
        };
        let segments = maintenance.manifest.segments.iter().map(|meta| self.folder.path(&meta.name));
        let mut files = segments.chain([manifest_path(&self.prefix)]).map(whole).collect::<Result<Vec<_>, _>>()?;
        let epoch = {
            let mut log = self.lock_log();
            self.settle(&mut log)?;
            for generation in maintenance.manifest.generation..log.generation {
                files.push(whole(self.log_path(generation))?);
            }
            files.push((self.log_path(log.generation), log.log.position().bytes));
            Epoch { position: log.end, chain: log.chain, manifest: log.manifest }
        };
        Ok(copy(epoch, &files))
    }

    /// Merges small segments of one kind where at least `at_least` of them are there.
    pub(super) fn compact_where(&self, at_least: usize) -> Result<(), StoreError> {
        let mut maintenance = self.lock_maintenance()?;
        for (entity, segments) in self.small_segments()? {
            if segments.len() < at_least.max(2) {
                continue;
            }
            for group in fitting(segments) {
                self.merge(&mut maintenance, entity, &group)?;
            }
        }
        Ok(())
    }

    fn merge(&self, maintenance: &mut Maintenance, entity: EntityId, group: &[Arc<Segment>]) -> Result<(), StoreError> {
        let parts = group.iter().map(|segment| segment.load()).collect::<Result<Vec<_>, _>>()?;
        let mut manifest = maintenance.manifest.clone();
        manifest.segments.retain(|meta| !group.iter().any(|segment| segment.meta.name == meta.name));
        let mut fresh = Fresh { store: self, segments: Vec::new() };
        fresh.write(&mut manifest, entity, &parts)?;
        let (_, added) = self.replace_manifest(maintenance, manifest, group.to_vec(), fresh)?;
        self.publish(|view| {
            let kept = view.segments.iter().filter(|segment| !group.iter().any(|old| Arc::ptr_eq(old, segment)));
            view.segments = Arc::new(kept.cloned().chain(added).collect());
        });
        Ok(())
    }

    /// Segments that could share one file, by entity and features, in order of their numbers.
    fn small_segments(&self) -> Result<Vec<OfOneKind<Segment>>, StoreError> {
        let mut kinds: Vec<(EntityId, SchemaRef, Vec<Arc<Segment>>)> = Vec::new();
        for segment in self.view().segments.iter().filter(|segment| is_small(&segment.meta)) {
            let (entity, schema) = (segment.meta.entity, segment.schema()?);
            match kinds.iter_mut().find(|kind| kind.0 == entity && kind.1 == schema) {
                Some(kind) => kind.2.push(Arc::clone(segment)),
                None => kinds.push((entity, schema, vec![Arc::clone(segment)])),
            }
        }
        Ok(kinds.into_iter().map(|(entity, _, segments)| (entity, segments)).collect())
    }

    /// Makes `manifest` the durable one and returns the segments that are new in it. `replaced` are those that it no longer
    /// names.
    ///
    /// When writing fails it may have taken effect all the same, so the file is asked. What either manifest names stays
    /// until a later one is durable for certain, or the store is opened again.
    fn replace_manifest(
        &self,
        maintenance: &mut Maintenance,
        manifest: Manifest,
        replaced: Vec<Arc<Segment>>,
        fresh: Fresh<'_>,
    ) -> Result<(Certainty, Vec<Arc<Segment>>), StoreError> {
        let path = manifest_path(&self.prefix);
        let version = maintenance.version + 1;
        let certainty = match self.manifests.replace(&path, &manifest.encode()) {
            Ok(_) => {
                maintenance.kept.drain(..).chain(replaced).for_each(|segment| segment.retire());
                Certainty::Durable
            }
            Err(error) => {
                let failed = || sealed_failed(&self.prefix, error);
                match self.manifests.version(&path) {
                    Ok(there) if there == version => {}
                    Ok(_) => return Err(failed()),
                    Err(_) => {
                        maintenance.in_doubt = true;
                        drop(fresh.keep());
                        return Err(failed());
                    }
                }
                maintenance.kept.extend(replaced);
                Certainty::Visible
            }
        };
        (maintenance.manifest, maintenance.version) = (manifest, version);
        if certainty == Certainty::Durable {
            let mut log = self.lock_log();
            (log.manifest, log.manifest_unnamed) = (version, true);
        }
        Ok((certainty, fresh.keep()))
    }

    fn lock_maintenance(&self) -> Result<MutexGuard<'_, Maintenance>, StoreError> {
        let maintenance = self.maintenance.lock().expect("no code panics while it holds the manifest");
        if maintenance.in_doubt { Err(StoreError::Stopped { store: self.prefix.clone() }) } else { Ok(maintenance) }
    }

    fn chain_at(&self, position: crate::Position) -> [u8; 32] {
        let log = self.lock_log();
        let known = log.anchors.iter().rev().find(|anchor| anchor.position == position);
        known.expect("the log remembers every unit that is not in segments").chain
    }

    /// Puts anchors of earlier flushes back before those of the units in the log.
    fn remember(&self, flushed: &[Anchor]) {
        let mut log = self.lock_log();
        let since = log.anchors.first().map_or(crate::Position::START, |anchor| anchor.position);
        let earlier: Vec<_> = flushed.iter().filter(|anchor| anchor.position < since).copied().collect();
        log.anchors.splice(..0, earlier);
    }

    fn delete_log(&self, generation: u64) {
        let path = self.log_path(generation);
        match self.files.delete(&path) {
            Ok(()) | Err(FileError::NotFound { .. }) => {}
            Err(error) => tracing::warn!(path, error = %error, "an old log stays until the store is opened again"),
        }
    }
}

/// How much is known about a manifest that is in place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Certainty {
    /// It survives a crash.
    Durable,
    /// It is what readers find, and after a crash it may be the one before.
    Visible,
}

/// Segments that no durable manifest names yet. Dropping them removes their files.
struct Fresh<'a> {
    store: &'a FactStore,
    segments: Vec<Arc<Segment>>,
}

impl Fresh<'_> {
    fn write(&mut self, manifest: &mut Manifest, entity: EntityId, parts: &[RecordBatch]) -> Result<(), StoreError> {
        let decode = |error| StoreError::Decode { store: self.store.prefix.clone(), source: Box::new(error) };
        let rows = sort(parts).map_err(decode)?;
        for start in (0..rows.num_rows()).step_by(SEGMENT_ROWS_MAX) {
            let rows = rows.slice(start, SEGMENT_ROWS_MAX.min(rows.num_rows() - start));
            let meta = self.store.folder.write(manifest.next_segment, &*self.store.random, entity, &rows)?;
            manifest.next_segment += 1;
            manifest.segments.push(meta.clone());
            self.segments.push(Arc::new(Segment::new(meta, Arc::clone(&self.store.folder))));
        }
        Ok(())
    }

    fn keep(mut self) -> Vec<Arc<Segment>> {
        std::mem::take(&mut self.segments)
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        self.segments.iter().for_each(|segment| segment.retire());
    }
}

/// The tables of several tails, those of one entity and schema together.
fn tables(tails: &[Arc<Tail>]) -> Vec<OfOneKind<Table>> {
    let mut kinds: Vec<OfOneKind<Table>> = Vec::new();
    for table in tails.iter().flat_map(|tail| &tail.tables) {
        match kinds.iter_mut().find(|kind| kind.0 == table.entity && kind.1[0].schema == table.schema) {
            Some(kind) => kind.1.push(Arc::clone(table)),
            None => kinds.push((table.entity, vec![Arc::clone(table)])),
        }
    }
    kinds
}

/// Rows with positions, in portions that fit one segment each by their memory.
fn chunks(tables: &[Arc<Table>]) -> Vec<Vec<RecordBatch>> {
    let mut chunks: Vec<Vec<RecordBatch>> = vec![Vec::new()];
    let mut filled = 0;
    for run in tables.iter().flat_map(|table| &table.runs) {
        let rows = with_positions(&run.batch, positions(run));
        let bytes = memory(&rows);
        let parts = usize::try_from(bytes / SEGMENT_MEMORY_MAX + 1).expect("fewer parts than bytes");
        let rows_max = rows.num_rows().div_ceil(parts);
        for start in (0..rows.num_rows()).step_by(rows_max) {
            let part = rows.slice(start, rows_max.min(rows.num_rows() - start));
            let bytes = memory(&part);
            if filled > 0 && filled + bytes > SEGMENT_MEMORY_MAX {
                chunks.push(Vec::new());
                filled = 0;
            }
            filled += bytes;
            chunks.last_mut().expect("there is always one").push(part);
        }
    }
    chunks
}

fn positions(run: &Run) -> ArrayRef {
    let mut positions = Vec::with_capacity(run.batch.num_rows());
    for piece in &run.pieces {
        positions.resize(piece.end, piece.position.0);
    }
    Arc::new(UInt64Array::from(positions))
}

fn is_small(meta: &SegmentMeta) -> bool {
    meta.rows < SEGMENT_ROWS_MAX as u64 / 2 && meta.memory < SEGMENT_MEMORY_MAX / 2
}

/// Neighbours that together fit into one segment; single ones are left out.
fn fitting(segments: Vec<Arc<Segment>>) -> Vec<Vec<Arc<Segment>>> {
    let mut groups: Vec<Vec<Arc<Segment>>> = Vec::new();
    let (mut rows, mut bytes) = (u64::MAX, u64::MAX);
    for segment in segments {
        rows = rows.saturating_add(segment.meta.rows);
        bytes = bytes.saturating_add(segment.meta.memory);
        if rows > SEGMENT_ROWS_MAX as u64 || bytes > SEGMENT_MEMORY_MAX {
            groups.push(Vec::new());
            (rows, bytes) = (segment.meta.rows, segment.meta.memory);
        }
        groups.last_mut().expect("the first segment begins a group").push(segment);
    }
    groups.retain(|group| group.len() > 1);
    groups
}
