//! How the engine asks for facts, and how versions of one event supersede each other (rules S7, S8).
//!
//! Facts travel as record batches in the layout of [`creta_store::layout`], with [`SUPERSEDED_AT`] added. A batch without a
//! feature's column comes from a load that did not observe it; a null there is an observed null (rule S12).

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, UInt64Type};
use creta_model::{EntityId, FeatureId};
use creta_planner::KeyColumn;
use creta_store::layout::{ARRIVAL_TIME, EVENT_ID, EVENT_TIME, SEQUENCE, SOURCE};

use crate::error::EngineError;
use crate::fact_index::IndexView;
use crate::key_set::KeySet;

/// Smallest arrival time among later versions of the event: `Timestamp(us, "UTC")`, null where there is none. Computed.
pub const SUPERSEDED_AT: &str = "superseded_at";

/// One row's question: which key, at which instant, known by when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactPoint {
    /// Number of the key in [`FactRequest::keys`].
    pub key: u32,
    /// The row's instant in microseconds.
    pub as_of: i64,
    /// Facts that arrived later do not exist for this row.
    pub known_as_of: i64,
}

/// Which facts of a key matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactRange {
    /// For each point and each asked column, the last fact by rule S7 that carries the column, is visible at
    /// `known_as_of` and has `event_time <= as_of`.
    Latest {
        /// The greatest `as_of` of all points.
        to: i64,
    },
    /// For each point, every fact visible at `known_as_of` with `as_of - span_max <= event_time <= as_of`.
    Window {
        /// The smallest `as_of - span_max` of all points.
        from: i64,
        /// The greatest `as_of` of all points.
        to: i64,
        /// The longest window asked for, in microseconds.
        span_max: i64,
    },
}

impl FactRange {
    /// Whether a fact of this event time can matter to any point; the coarse test for scans.
    pub fn covers(&self, event_time: i64) -> bool {
        match *self {
            Self::Latest { to } => event_time <= to,
            Self::Window { from, to, .. } => (from..=to).contains(&event_time),
        }
    }
}

/// What a run needs to know about one entity. Fields narrow the answer; a reader may always return more facts.
#[derive(Debug)]
pub struct FactRequest<'a> {
    /// Whose facts.
    pub entity: EntityId,
    /// The features that must equal the keys, in order. Every batch that can match carries all of them.
    pub key: &'a [KeyColumn],
    /// The distinct keys asked about.
    pub keys: &'a KeySet,
    /// Features whose values are read, besides the key, without repeats.
    pub columns: &'a [FeatureId],
    /// One per row with a key, in row order, repeats included.
    pub points: &'a [FactPoint],
    /// Which facts of the key matter.
    pub range: FactRange,
}

impl FactRequest<'_> {
    /// The greatest `known_as_of`: facts that arrived later are not needed. Looks at every point: ask once, not per fact.
    pub fn known_to(&self) -> i64 {
        self.points.iter().map(|point| point.known_as_of).max().unwrap_or(i64::MIN)
    }
}

/// Where facts come from: segments, the online index, or a test's own.
pub trait FactReader: Send + Sync {
    /// Every fact of the entity that the request asks for, unsorted, in any number of batches; more facts do no harm.
    ///
    /// Each batch holds the columns that every fact has, those features of `key` and `columns` that its load observed, and
    /// [`SUPERSEDED_AT`], computed over all facts of the entity: a newer version may stand under another key or
    /// time, so it cannot be seen from the answer. Only a batch without any event id may leave that column out. The four
    /// parts of rule S7 name one fact: the engine counts a fact that is returned twice once.
    fn read(&self, request: &FactRequest<'_>) -> Result<Vec<RecordBatch>, EngineError>;

    /// Says that nobody will ask about an entity again: what was kept of its facts may go.
    fn release(&self, _entity: EntityId) {}

    /// The online index, if facts come from there: windows are then put together from its tiles.
    fn tiles(&self) -> Option<&IndexView<'_>> {
        None
    }
}

/// Finds event ids that occur more than once, of which there are few, without keeping any: each id sets a bit, and one whose bit
/// was set before is perhaps a repeated one. Two bits for every eighth of a fact.
pub(crate) struct RepeatedIds {
    once: Vec<u64>,
    twice: Vec<u64>,
    any: bool,
    hasher: RandomState,
}

impl RepeatedIds {
    /// For about so many facts.
    pub(crate) fn new(facts: u64) -> Self {
        let words = (facts / 8).next_power_of_two().clamp(16, 1 << 27) as usize;
        Self { once: vec![0; words], twice: vec![0; words], any: false, hasher: RandomState::new() }
    }

    /// Word and bit of an id.
    fn place(&self, id: &[u8]) -> (usize, u64) {
        let hash = self.hasher.hash_one(id);
        ((hash >> 6) as usize & (self.once.len() - 1), 1 << (hash & 63))
    }

    /// Takes note of the ids of a batch.
    pub(crate) fn look_at(&mut self, batch: &RecordBatch) {
        for id in ids(batch).into_iter().flatten().flatten() {
            let (word, bit) = self.place(id);
            if self.once[word] & bit != 0 {
                self.twice[word] |= bit;
            }
            self.once[word] |= bit;
            self.any = true;
        }
    }

    /// Whether there was any id.
    pub(crate) fn has_ids(&self) -> bool {
        self.any
    }

    /// The rows of a batch that was looked at whose id perhaps occurs more than once.
    pub(crate) fn maybe(&self, batch: &RecordBatch) -> BooleanArray {
        let Some(ids) = ids(batch) else { return BooleanArray::from(vec![false; batch.num_rows()]) };
        let is_repeated = |id: Option<&[u8]>| {
            id.is_some_and(|id| {
                let (word, bit) = self.place(id);
                self.twice[word] & bit != 0
            })
        };
        ids.iter().map(|id| Some(is_repeated(id))).collect()
    }
}

fn ids(batch: &RecordBatch) -> Option<&BinaryArray> {
    batch.column_by_name(EVENT_ID)?.as_binary_opt::<i32>()
}

/// For each row of each batch, the smallest arrival time among later versions of its event in the order of rule S7, or
/// `i64::MAX` if there is none. `batches` are all facts of one entity.
///
/// A fact is visible at `known_as_of` exactly when `arrival_time <= known_as_of < superseded_at` and it is not a
/// retraction (rule S8). O(n), and O(m log m) in the versions of events that have several.
pub fn supersede(batches: &[RecordBatch]) -> Result<Vec<Vec<i64>>, EngineError> {
    let mut versions: HashMap<&[u8], Vec<(usize, usize)>> = HashMap::new();
    let mut stamps = Vec::with_capacity(batches.len());
    let mut repeated = RepeatedIds::new(batches.iter().map(|batch| batch.num_rows() as u64).sum());
    for batch in batches {
        stamps.push(Stamps::of(batch, "an entity")?);
        if batch.column_by_name(EVENT_ID).is_some_and(|ids| ids.as_binary_opt::<i32>().is_none()) {
            return Err(contract("an entity", "`event_id` is not binary"));
        }
        repeated.look_at(batch);
    }
    for (batch_index, batch) in batches.iter().enumerate() {
        if let Some(ids) = ids(batch).filter(|_| repeated.has_ids()) {
            for row in repeated.maybe(batch).values().set_indices() {
                versions.entry(ids.value(row)).or_default().push((batch_index, row));
            }
        }
    }
    let mut answer: Vec<Vec<i64>> = batches.iter().map(|batch| vec![i64::MAX; batch.num_rows()]).collect();
    for mut facts in versions.into_values().filter(|facts| facts.len() > 1) {
        facts.sort_unstable_by_key(|(batch, row)| stamps[*batch].order(*row));
        let mut smallest = i64::MAX;
        let mut later: Option<(usize, usize)> = None;
        let mut pending = i64::MAX;
        for (batch, row) in facts.into_iter().rev() {
            let order = stamps[batch].order(row);
            // A fact stored twice does not supersede itself.
            if later.is_none_or(|(batch, row)| stamps[batch].order(row) != order) {
                smallest = smallest.min(pending);
                pending = i64::MAX;
            }
            answer[batch][row] = smallest;
            pending = pending.min(stamps[batch].arrival[row]);
            later = Some((batch, row));
        }
    }
    Ok(answer)
}

/// The parts of rule S7 of one batch.
pub(crate) struct Stamps<'a> {
    pub(crate) event: &'a [i64],
    pub(crate) arrival: &'a [i64],
    pub(crate) source: &'a arrow::array::StringArray,
    pub(crate) sequence: &'a [u64],
}

impl<'a> Stamps<'a> {
    pub(crate) fn of(batch: &'a RecordBatch, entity: &str) -> Result<Self, EngineError> {
        Ok(Self {
            event: instants(batch, EVENT_TIME, entity)?,
            arrival: instants(batch, ARRIVAL_TIME, entity)?,
            source: stamp(batch, SOURCE, entity)?
                .as_string_opt()
                .ok_or_else(|| contract(entity, "`source` is not text"))?,
            sequence: stamp(batch, SEQUENCE, entity)?
                .as_primitive_opt::<UInt64Type>()
                .ok_or_else(|| contract(entity, "`sequence` is not UInt64"))?
                .values(),
        })
    }

    pub(crate) fn order(&self, row: usize) -> (i64, i64, &'a str, u64) {
        (self.event[row], self.arrival[row], self.source.value(row), self.sequence[row])
    }
}

fn stamp<'a>(batch: &'a RecordBatch, name: &str, entity: &str) -> Result<&'a dyn Array, EngineError> {
    let column = batch.column_by_name(name).ok_or_else(|| contract(entity, format!("`{name}` is not there")))?;
    if column.null_count() > 0 {
        return Err(contract(entity, format!("`{name}` has nulls")));
    }
    Ok(column.as_ref())
}

fn instants<'a>(batch: &'a RecordBatch, name: &str, entity: &str) -> Result<&'a [i64], EngineError> {
    let column = stamp(batch, name, entity)?;
    if !matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC") {
        return Err(contract(entity, format!("`{name}` is not UTC microseconds")));
    }
    Ok(column.as_primitive::<TimestampMicrosecondType>().values())
}

pub(crate) fn contract(entity: &str, detail: impl Into<String>) -> EngineError {
    EngineError::Facts { entity: entity.to_owned(), detail: detail.into() }
}
