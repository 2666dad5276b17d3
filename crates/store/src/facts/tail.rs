//! The units of one log, decoded in memory.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use creta_model::EntityId;

use super::segment::memory;
use crate::layout::instants;
use crate::{FactBatch, Position};

/// Runs of fewer rows are merged with their neighbours, so that many small units do not make many small batches.
const SMALL_ROWS: usize = 8192;
/// How many runs of about the same size are merged into one.
const FAN_IN: usize = 8;
/// Merged runs stay below this: texts of one column cannot take 2 GiB, and rows that are large gain nothing by merging.
const MERGED_BYTES_MAX: u64 = 64 << 20;

/// The units after `base`, immutable: adding one makes a new tail that shares almost everything.
#[derive(Clone)]
pub(crate) struct Tail {
    pub(crate) generation: u64,
    pub(crate) base: Position,
    pub(crate) end: Position,
    pub(crate) bytes: u64,
    pub(crate) tables: Vec<Arc<Table>>,
}

/// Facts of one entity from loads that observed the same features, in order of position.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) entity: EntityId,
    pub(crate) schema: SchemaRef,
    pub(crate) runs: Vec<Arc<Run>>,
}

/// Rows that came with neighbouring units.
pub(crate) struct Run {
    pub(crate) batch: RecordBatch,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) events: RangeInclusive<i64>,
    bytes: u64,
}

/// The rows of a run, up to `end`, that came as batch number `ordinal` of the unit at `position`.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) position: Position,
    pub(crate) ordinal: u32,
    pub(crate) end: usize,
}

impl Tail {
    pub(crate) fn new(generation: u64, base: Position) -> Self {
        Self { generation, base, end: base, bytes: 0, tables: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.base == self.end
    }

    /// Adds the unit after `end`. `bytes` is what it takes in the log.
    pub(crate) fn push(&mut self, batches: &[FactBatch], bytes: u64) {
        self.end = self.end.next();
        self.bytes += bytes;
        for (ordinal, facts) in (0..).zip(batches) {
            if facts.rows() == 0 {
                continue;
            }
            let run = Run::new(facts, Piece { position: self.end, ordinal, end: facts.rows() });
            let schema = facts.batch().schema_ref();
            let same = |table: &Arc<Table>| table.entity == facts.entity() && table.schema == *schema;
            match self.tables.iter_mut().find(|table| same(table)) {
                Some(table) => Arc::make_mut(table).push(run, MERGED_BYTES_MAX),
                None => self.tables.push(Arc::new(Table {
                    entity: facts.entity(),
                    schema: Arc::clone(schema),
                    runs: vec![Arc::new(run)],
                })),
            }
        }
    }

    /// The units after `since`, in order. Small ones are slices of merged batches.
    pub(crate) fn units_since(&self, since: Position) -> Vec<(Position, Vec<FactBatch>)> {
        let mut found: Vec<(Position, u32, FactBatch)> = Vec::new();
        for table in &self.tables {
            let from = table.runs.partition_point(|run| run.pieces.last().is_some_and(|piece| piece.position <= since));
            for run in &table.runs[from..] {
                let mut start = 0;
                for piece in &run.pieces {
                    if piece.position > since {
                        let rows = run.batch.slice(start, piece.end - start);
                        found.push((piece.position, piece.ordinal, FactBatch::trusted(table.entity, rows)));
                    }
                    start = piece.end;
                }
            }
        }
        found.sort_by_key(|(position, ordinal, _)| (*position, *ordinal));
        group(found, since.max(self.base), self.end)
    }
}

/// Units from their batches; units without facts are there too, so that positions have no gaps.
pub(crate) fn group(
    sorted: Vec<(Position, u32, FactBatch)>,
    since: Position,
    end: Position,
) -> Vec<(Position, Vec<FactBatch>)> {
    let mut batches = sorted.into_iter().peekable();
    (since.0 + 1..=end.0)
        .map(|position| {
            let of_unit = std::iter::from_fn(|| batches.next_if(|(at, ..)| at.0 == position));
            (Position(position), of_unit.map(|(_, _, facts)| facts).collect())
        })
        .collect()
}

impl Table {
    fn push(&mut self, run: Run, merged_bytes_max: u64) {
        self.runs.push(Arc::new(run));
        loop {
            let Some(rows) = self.runs.last().map(|run| run.batch.num_rows()).filter(|rows| *rows < SMALL_ROWS) else {
                return;
            };
            let tier = tier(rows);
            let mut bytes = 0;
            let fits = |run: &&Arc<Run>| {
                bytes += run.bytes;
                bytes <= merged_bytes_max && tier_at_most(run, tier)
            };
            let alike = self.runs.iter().rev().take_while(fits).count();
            if alike < FAN_IN {
                return;
            }
            let merged = Run::merge(&self.runs[self.runs.len() - alike..]);
            self.runs.truncate(self.runs.len() - alike);
            self.runs.push(Arc::new(merged));
        }
    }
}

fn tier(rows: usize) -> u32 {
    rows.ilog(FAN_IN)
}

fn tier_at_most(run: &Run, most: u32) -> bool {
    run.batch.num_rows() < SMALL_ROWS && tier(run.batch.num_rows()) <= most
}

impl Run {
    fn new(facts: &FactBatch, piece: Piece) -> Self {
        let times = facts.event_times();
        let first = *times.iter().min().expect("a run has rows");
        let last = *times.iter().max().expect("a run has rows");
        Self { batch: facts.batch().clone(), pieces: vec![piece], events: first..=last, bytes: memory(facts.batch()) }
    }

    fn merge(runs: &[Arc<Run>]) -> Self {
        let schema = runs[0].batch.schema();
        let batch = concat_batches(&schema, runs.iter().map(|run| &run.batch)).expect("runs of a table share a schema");
        let mut pieces = Vec::with_capacity(runs.iter().map(|run| run.pieces.len()).sum());
        let mut start = 0;
        for run in runs {
            pieces.extend(run.pieces.iter().map(|piece| Piece { end: start + piece.end, ..*piece }));
            start += run.batch.num_rows();
        }
        let first = runs.iter().map(|run| *run.events.start()).min().expect("several runs");
        let last = runs.iter().map(|run| *run.events.end()).max().expect("several runs");
        let bytes = runs.iter().map(|run| run.bytes).sum();
        Self { batch, pieces, events: first..=last, bytes }
    }

    /// Event times of the run.
    pub(crate) fn event_times(&self) -> &[i64] {
        instants(&self.batch, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fact, batch};

    /// How many runs twenty loads of one row each become.
    fn runs(merged_bytes_max: u64) -> usize {
        let facts = |n: u64| batch(1, &[Fact::at(n as i64, n)]);
        let schema = facts(0).batch().schema();
        let mut table = Table { entity: facts(0).entity(), schema, runs: Vec::new() };
        for n in 1..=20 {
            let piece = Piece { position: Position(n), ordinal: 0, end: 1 };
            table.push(Run::new(&facts(n), piece), merged_bytes_max);
        }
        assert_eq!(table.runs.iter().flat_map(|run| &run.pieces).count(), 20, "no load is lost");
        table.runs.len()
    }

    #[test]
    fn runs_of_few_rows_are_merged_and_runs_of_many_bytes_stay_apart() {
        assert_eq!(runs(MERGED_BYTES_MAX), 2 + 4, "two of eight, four that wait");
        let one = memory(batch(1, &[Fact::at(1, 1)]).batch());
        assert_eq!(runs(4 * one), 20, "eight rows would be too large for one run");
    }
}
