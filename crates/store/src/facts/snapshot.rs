//! What a reader sees: segments and log tails of one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::filter_record_batch;
use creta_model::{EntityId, FeatureId, Instant};

use super::View;
use super::segment::{Remember, split_positions};
use super::tail::{Run, Tail, group};
use crate::layout::{META_COLUMNS, feature_of, instants};
use crate::{FactBatch, Position, StoreError};

/// The facts of one moment. Cloning is cheap; files it needs stay until it is dropped.
#[derive(Clone)]
pub struct FactSnapshot {
    pub(super) view: Arc<View>,
}

/// How much a store holds about an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EntityStatistics {
    /// Facts, retractions among them.
    pub rows: u64,
    /// Bytes of its segments, compressed.
    pub segment_bytes: u64,
    /// Bytes that its facts in the log take in memory.
    pub tail_bytes: u64,
}

impl FactSnapshot {
    /// The position that the snapshot ends at.
    pub fn position(&self) -> Position {
        self.view.active.end
    }

    /// All facts about an entity with event times in `events` (`..` for all).
    ///
    /// Each batch has the layout's columns, then those of `columns` (`None`: all features) that its loads observed; facts
    /// that observed none of them are there too, since they may supersede or retract others. Rows of one batch may come
    /// from several loads; batches come in no order and rows are not sorted across them. Never returns empty batches.
    pub fn scan(
        &self,
        entity: EntityId,
        columns: Option<&[FeatureId]>,
        events: impl RangeBounds<Instant>,
    ) -> Result<Vec<RecordBatch>, StoreError> {
        let mut found = Vec::new();
        self.scan_into(entity, columns, events, Remember::Columns, |batch| {
            found.push(batch);
            Ok::<(), StoreError>(())
        })?;
        Ok(found)
    }

    /// The same batches in the same order, one after the other. None is remembered: memory is that of the largest.
    pub fn scan_each<E: From<StoreError>>(
        &self,
        entity: EntityId,
        columns: Option<&[FeatureId]>,
        events: impl RangeBounds<Instant>,
        visit: impl FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        self.scan_into(entity, columns, events, Remember::Nothing, visit)
    }

    fn scan_into<E: From<StoreError>>(
        &self,
        entity: EntityId,
        columns: Option<&[FeatureId]>,
        events: impl RangeBounds<Instant>,
        remember: Remember,
        mut visit: impl FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let first = match events.start_bound() {
            Bound::Included(at) => at.micros(),
            Bound::Excluded(at) => at.micros() + 1,
            Bound::Unbounded => i64::MIN,
        };
        let last = match events.end_bound() {
            Bound::Included(at) => at.micros(),
            Bound::Excluded(at) => at.micros() - 1,
            Bound::Unbounded => i64::MAX,
        };
        for segment in self.view.segments.iter().filter(|segment| segment.meta.entity == entity) {
            if let Some(batch) = segment.scan(columns, first, last, remember)? {
                visit(batch)?;
            }
        }
        for table in self.view.tails().flat_map(|tail| &tail.tables).filter(|table| table.entity == entity) {
            for batch in table.runs.iter().filter_map(|run| scan_run(run, columns, first, last)) {
                visit(batch)?;
            }
        }
        Ok(())
    }

    /// The latest arrival after `after` among facts that `counts` by (event time, arrival time). Reads the times of segments
    /// with later arrivals; others cost nothing.
    pub fn latest_arrival(
        &self,
        after: Instant,
        counts: impl Fn(Instant, Instant) -> bool,
    ) -> Result<Option<Instant>, StoreError> {
        let mut latest: Option<Instant> = None;
        let mut look = |batch: &RecordBatch| {
            let at = |micros: i64| Instant::from_micros(micros).expect("fact batches hold instants in range");
            for (event, arrival) in instants(batch, 0).iter().zip(instants(batch, 1)) {
                let (event, arrival) = (at(*event), at(*arrival));
                if arrival > latest.unwrap_or(after) && counts(event, arrival) {
                    latest = Some(arrival);
                }
            }
        };
        for segment in self.view.segments.iter().filter(|segment| segment.meta.arrival_max > after) {
            segment.scan(Some(&[]), i64::MIN, i64::MAX, Remember::Columns)?.iter().for_each(&mut look);
        }
        let runs = self.view.tails().flat_map(|tail| &tail.tables).flat_map(|table| &table.runs);
        runs.for_each(|run| look(&run.batch));
        Ok(latest)
    }

    /// Features that some load observed. Reads the schema of every segment, which is kept.
    pub fn observed(&self) -> Result<BTreeSet<FeatureId>, StoreError> {
        let mut observed = BTreeSet::new();
        let mut look = |schema: &arrow::datatypes::Schema| {
            observed.extend(schema.fields().iter().filter_map(|field| feature_of(field.name())));
        };
        for segment in self.view.segments.iter() {
            look(&*segment.schema()?);
        }
        self.view.tails().flat_map(|tail| &tail.tables).for_each(|table| look(&table.schema));
        Ok(observed)
    }

    /// Entities that have facts.
    pub fn entities(&self) -> Vec<EntityId> {
        self.statistics().into_keys().collect()
    }

    /// Rows and bytes per entity.
    pub fn statistics(&self) -> BTreeMap<EntityId, EntityStatistics> {
        let mut entities: BTreeMap<EntityId, EntityStatistics> = BTreeMap::new();
        for segment in self.view.segments.iter() {
            let of_entity = entities.entry(segment.meta.entity).or_default();
            of_entity.rows += segment.meta.rows;
            of_entity.segment_bytes += segment.meta.bytes;
        }
        for table in self.view.tails().flat_map(|tail| &tail.tables) {
            let of_entity = entities.entry(table.entity).or_default();
            for run in &table.runs {
                of_entity.rows += run.batch.num_rows() as u64;
                of_entity.tail_bytes += super::segment::memory(&run.batch);
            }
        }
        entities
    }

    /// The units after `since`; see [`FactStore::read_since`](super::FactStore::read_since).
    pub(super) fn units_since(
        &self,
        since: Position,
        store: &str,
    ) -> Result<Vec<(Position, Vec<FactBatch>)>, StoreError> {
        let end = self.position();
        if since > end {
            return Err(StoreError::Ahead { store: store.to_owned(), given: since, end });
        }
        let base = self.view.tails().next().map_or(end, |tail| tail.base);
        let mut units = Vec::new();
        if since < base {
            let mut found = Vec::new();
            for segment in self.view.segments.iter().filter(|segment| segment.meta.last > since) {
                let (facts, positions) = split_positions(&segment.load()?);
                by_position(segment.meta.entity, &facts, positions.as_primitive(), since, base, &mut found);
            }
            found.sort_by_key(|(position, ..)| *position);
            units = group(found, since, base);
        }
        for tail in self.view.tails().filter(|tail| tail.end > since) {
            units.extend(tail.units_since(since));
        }
        Ok(units)
    }

    /// The first of the units after `since`, none only at the end; see
    /// [`FactStore::read_some_since`](super::FactStore::read_some_since).
    pub(super) fn some_units_since(
        &self,
        since: Position,
        memory_max: u64,
        store: &str,
    ) -> Result<Vec<(Position, Vec<FactBatch>)>, StoreError> {
        let end = self.position();
        if since > end {
            return Err(StoreError::Ahead { store: store.to_owned(), given: since, end });
        }
        if let Some(tail) = self.view.tails().find(|tail| tail.base <= since && since < tail.end) {
            return Ok(tail.units_since(since)); // In memory already.
        }
        let mut ends: Vec<Position> =
            self.view.segments.iter().map(|segment| segment.meta.last).filter(|last| *last > since).collect();
        ends.sort_unstable();
        let reaching = |to: Position| {
            let reached = move |meta: &super::manifest::SegmentMeta| meta.last > since && meta.first <= to;
            self.view.segments.iter().filter(move |segment| reached(&segment.meta))
        };
        let memory = |to: Position| reaching(to).map(|segment| segment.meta.memory).sum::<u64>();
        let Some(first) = ends.first().copied() else {
            // Units without facts leave nothing in segments.
            let base = self.view.tails().next().map_or(end, |tail| tail.base);
            return Ok(group(Vec::new(), since, base));
        };
        let to = ends.into_iter().take_while(|to| memory(*to) <= memory_max).last().unwrap_or(first);
        let mut found = Vec::new();
        for segment in reaching(to) {
            let (facts, positions) = split_positions(&segment.load()?);
            by_position(segment.meta.entity, &facts, positions.as_primitive(), since, to, &mut found);
        }
        found.sort_by_key(|(position, ..)| *position);
        Ok(group(found, since, to))
    }
}

impl View {
    /// Frozen ones first, in order of position.
    pub(super) fn tails(&self) -> impl Iterator<Item = &Tail> {
        self.frozen.iter().chain([&self.active]).map(Arc::as_ref)
    }
}

fn scan_run(run: &Run, columns: Option<&[FeatureId]>, first: i64, last: i64) -> Option<RecordBatch> {
    if *run.events.end() < first || *run.events.start() > last {
        return None;
    }
    let projected = match columns {
        None => run.batch.clone(),
        Some(wanted) => {
            let schema = run.batch.schema_ref();
            let is_wanted = |index: &usize| {
                *index < META_COLUMNS
                    || feature_of(schema.field(*index).name()).is_some_and(|feature| wanted.contains(&feature))
            };
            let indices: Vec<usize> = (0..schema.fields().len()).filter(is_wanted).collect();
            run.batch.project(&indices).expect("these columns are there")
        }
    };
    if first <= *run.events.start() && *run.events.end() <= last {
        return Some(projected);
    }
    let inside: BooleanArray = run.event_times().iter().map(|at| Some((first..=last).contains(at))).collect();
    let rows = filter_record_batch(&projected, &inside).expect("one flag per row");
    (rows.num_rows() > 0).then_some(rows)
}

/// Splits rows in S7 order into the batches of their units, after `since` and up to `to`.
fn by_position(
    entity: EntityId,
    facts: &RecordBatch,
    positions: &UInt64Array,
    since: Position,
    to: Position,
    found: &mut Vec<(Position, u32, FactBatch)>,
) {
    let mut rows_of: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (row, position) in (0..).zip(positions.values()) {
        if since.0 < *position && *position <= to.0 {
            rows_of.entry(*position).or_default().push(row);
        }
    }
    for (position, rows) in rows_of {
        let rows = arrow::array::UInt32Array::from(rows);
        let batch = arrow::compute::take_record_batch(facts, &rows).expect("the rows are there");
        found.push((Position(position), 0, FactBatch::trusted(entity, batch)));
    }
}
