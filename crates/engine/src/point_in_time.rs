//! The point-in-time join: the latest fact at or before each row's instant, as it was known then.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute;
use creta_model::{CellState, EntityId, FeatureId, Name, Span, Type};
use creta_planner::{KeyColumn, LookupColumn};

use creta_store::layout::feature_column;

use crate::column::{Absences, CellColumn, cell_error};
use crate::error::EngineError;
use crate::facts::{FactPoint, FactRange, FactReader, FactRequest, contract};
use crate::key_set::{KeySet, RowKey};
use crate::timeline::Timelines;
use crate::value::{is_of_type, null_array};

/// The instants of a request's rows in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instants<'a> {
    pub(crate) as_of: &'a [i64],
    pub(crate) known_as_of: &'a [i64],
}

/// An entity, the features that make up the key, and each row's key.
#[derive(Debug)]
pub(crate) struct KeyedRows<'a> {
    pub(crate) entity: EntityId,
    pub(crate) entity_name: &'a Name,
    pub(crate) key: &'a [KeyColumn],
    pub(crate) cells: &'a [Arc<CellColumn>],
}

/// Rows with their keys numbered; what a lookup and a window have in common.
pub(crate) struct Spine {
    pub(crate) keys: KeySet,
    pub(crate) points: Vec<FactPoint>,
    /// Row of each point.
    pub(crate) rows: Vec<usize>,
    row_keys: Vec<RowKey>,
}

impl Spine {
    pub(crate) fn new(keyed: &KeyedRows<'_>, at: Instants<'_>) -> Result<Self, EngineError> {
        let types: Vec<Type> = keyed.key.iter().map(|part| part.ty.clone()).collect();
        let columns: Vec<ArrayRef> = keyed.cells.iter().map(|cells| Arc::clone(cells.values())).collect();
        let (keys, row_keys) = KeySet::collect(&types, &columns, at.as_of.len())?;
        let mut points = Vec::with_capacity(row_keys.len());
        let mut rows = Vec::with_capacity(row_keys.len());
        for (row, row_key) in row_keys.iter().enumerate() {
            if let RowKey::Id(key) = row_key {
                points.push(FactPoint { key: *key, as_of: at.as_of[row], known_as_of: at.known_as_of[row] });
                rows.push(row);
            }
        }
        Ok(Self { keys, points, rows, row_keys })
    }

    /// Points sorted by key, and by time within a key.
    pub(crate) fn by_key_and_time(&self) -> Vec<u32> {
        let by_time = points_by_time(&self.points);
        let mut next = vec![0; self.keys.len() + 1];
        for point in &self.points {
            next[point.key as usize + 1] += 1;
        }
        for key in 1..next.len() {
            next[key] += next[key - 1];
        }
        let mut order = vec![0; self.points.len()];
        for point in by_time {
            let position = &mut next[self.points[point as usize].key as usize];
            order[*position] = point;
            *position += 1;
        }
        order
    }

    /// Adds the rows without a key, if all of them are plainly `missing`; otherwise `false`, and whatever is added counts for
    /// nothing.
    pub(crate) fn rows_without_key_are_missing(&self, keyed: &KeyedRows<'_>, missing: &mut Vec<u32>) -> bool {
        if self.points.len() == self.row_keys.len() {
            return true;
        }
        let of_row = |row: usize| keyed.cells.iter().any(|cells| severity(cells.state(row)) > 0);
        for (row, row_key) in self.row_keys.iter().enumerate() {
            match row_key {
                RowKey::Id(_) => {}
                RowKey::Absent if !of_row(row) => missing.push(row as u32),
                RowKey::Absent | RowKey::Nan => return false,
            }
        }
        true
    }

    /// Rows without a key answer without facts: `missing`, or what their key's cells pass on (rule S32).
    pub(crate) fn mark_rows_without_key(&self, keyed: &KeyedRows<'_>, absences: &mut Absences) {
        for (row, row_key) in self.row_keys.iter().enumerate() {
            match row_key {
                RowKey::Id(_) => {}
                RowKey::Nan => absences.fail(row, cell_error("key/nan", "NaN cannot be part of a key")),
                RowKey::Absent => {
                    let strongest = keyed.cells.iter().max_by_key(|cells| severity(cells.state(row)));
                    match strongest {
                        Some(cells) if severity(cells.state(row)) > 0 => absences.copy(row, cells, row),
                        _ => absences.set(row, CellState::Missing),
                    }
                }
            }
        }
    }
}

/// Points by time, equal times in their order.
fn points_by_time(points: &[FactPoint]) -> Vec<u32> {
    let all = 0..points.len() as u32;
    if points.is_sorted_by_key(|point| point.as_of) {
        return all.collect();
    }
    let times = || points.iter().map(|point| point.as_of);
    let (min, max) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let index_bits = u32::BITS - (points.len() as u32).leading_zeros();
    // Where a time and a number fit into 64 bits together, as they do for years and millions, plain integers are sorted.
    if max.abs_diff(min) <= u64::MAX >> index_bits {
        let mut packed: Vec<u64> =
            times().zip(0u64..).map(|(time, index)| time.abs_diff(min) << index_bits | index).collect();
        packed.sort_unstable();
        return packed.into_iter().map(|packed| (packed & ((1 << index_bits) - 1)) as u32).collect();
    }
    let mut order: Vec<u32> = all.collect();
    order.sort_by_key(|point| points[*point as usize].as_of);
    order
}

/// States that are passed on whatever else a row holds: denied before error.
pub(crate) fn severity(state: CellState) -> u8 {
    match state {
        CellState::Denied => 2,
        CellState::Error => 1,
        CellState::Value | CellState::Null | CellState::Missing | CellState::Expired => 0,
    }
}

/// One column of cells per asked feature, in order (rules S2, S5, S7, S8, S12).
///
/// Features observed by the same loads are found in one pass: O(facts log facts + rows log facts) for each such set.
pub(crate) fn lookup(
    keyed: &KeyedRows<'_>,
    asked: &[LookupColumn],
    at: Instants<'_>,
    facts: &dyn FactReader,
) -> Result<Vec<CellColumn>, EngineError> {
    let spine = Spine::new(keyed, at)?;
    let mut features: Vec<FeatureId> = Vec::new();
    for column in asked {
        let is_key = keyed.key.iter().any(|part| part.feature == column.column.feature);
        if !is_key && !features.contains(&column.column.feature) {
            features.push(column.column.feature);
        }
    }
    let request = FactRequest {
        entity: keyed.entity,
        key: keyed.key,
        keys: &spine.keys,
        columns: &features,
        points: &spine.points,
        range: FactRange::Latest { to: spine.points.iter().map(|point| point.as_of).max().unwrap_or(i64::MIN) },
    };
    let batches = if spine.points.is_empty() { Vec::new() } else { facts.read(&request)? };
    let mut passes: Vec<(Vec<usize>, Pass)> = Vec::new();
    let mut answer = Vec::with_capacity(asked.len());
    for column in asked {
        let name = feature_column(column.column.feature);
        let carriers: Vec<usize> =
            (0..batches.len()).filter(|index| batches[*index].column_by_name(&name).is_some()).collect();
        let pass = match passes.iter().position(|(of, _)| *of == carriers) {
            Some(index) => &mut passes[index].1,
            None => {
                let members: Vec<&RecordBatch> = carriers.iter().map(|index| &batches[*index]).collect();
                let pass = Pass::new(&members, &request, &spine, keyed.entity_name.as_str())?;
                passes.push((carriers.clone(), pass));
                &mut passes.last_mut().expect("just pushed").1
            }
        };
        let carriers: Vec<&ArrayRef> =
            carriers.iter().filter_map(|index| batches[*index].column_by_name(&name)).collect();
        answer.push(pass.column(keyed, column, &carriers, &spine, at)?);
    }
    Ok(answer)
}

/// The winning fact of each row among the facts of some batches.
struct Pass {
    /// Batch and row of the winner of each point, and its event time.
    winners: Vec<Option<((usize, usize), i64)>>,
    /// What was picked under each limit of age so far.
    picks: Vec<Picks>,
}

/// Which fact each row shows, and what it is where it shows none.
struct Picks {
    max_age: Option<Span>,
    places: Places,
    absences: Absences,
    event_times: Int64Array,
}

/// Rows of the only batch, or batches and rows; the one after the last batch is a batch of one null.
enum Places {
    OfOne(UInt32Array),
    OfMany(Vec<(usize, usize)>),
}

impl Pass {
    fn new(
        batches: &[&RecordBatch],
        request: &FactRequest<'_>,
        spine: &Spine,
        entity: &str,
    ) -> Result<Self, EngineError> {
        let timelines = Timelines::new(batches, request, entity)?;
        let by_key: Vec<_> = (0..spine.keys.len() as u32).map(|key| timelines.of_key(key)).collect();
        let winner = |point: &FactPoint| {
            let timeline = &by_key[point.key as usize];
            let position = timeline.last_visible(timeline.first_after(point.as_of), point.known_as_of)?;
            Some((timelines.places[position], timelines.event_time(position)))
        };
        Ok(Self { winners: spine.points.iter().map(winner).collect(), picks: Vec::new() })
    }

    fn column(
        &mut self,
        keyed: &KeyedRows<'_>,
        asked: &LookupColumn,
        carriers: &[&ArrayRef],
        spine: &Spine,
        at: Instants<'_>,
    ) -> Result<CellColumn, EngineError> {
        let ty = &asked.column.ty;
        if let Some(wrong) = carriers.iter().find(|array| !is_of_type(array, ty)) {
            let detail = format!("`{}` is {}, its feature {}", asked.column.name, wrong.data_type(), ty.python_name());
            return Err(contract(keyed.entity_name.as_str(), detail));
        }
        let index = match self.picks.iter().position(|picks| picks.max_age == asked.max_age) {
            Some(index) => index,
            None => {
                let picks = self.pick(keyed, asked.max_age, carriers.len(), spine, at);
                self.picks.push(picks);
                self.picks.len() - 1
            }
        };
        let picks = &self.picks[index];
        let values = match &picks.places {
            Places::OfOne(rows) => compute::take(carriers[0], rows, None)?,
            Places::OfMany(places) => {
                let nothing = null_array(ty, 1);
                let mut sources: Vec<&dyn Array> = carriers.iter().map(|array| array.as_ref()).collect();
                sources.push(&nothing);
                compute::interleave(&sources, places)?
            }
        };
        let cells = picks.absences.clone().finish(values)?;
        cells.with_event_times(picks.event_times.clone()).with_default(ty, asked.default.as_ref())
    }

    fn pick(
        &self,
        keyed: &KeyedRows<'_>,
        max_age: Option<Span>,
        batches: usize,
        spine: &Spine,
        at: Instants<'_>,
    ) -> Picks {
        let none = (batches, 0);
        let mut picked = vec![none; at.as_of.len()];
        let mut event_times = vec![None; at.as_of.len()];
        let mut absences = Absences::default();
        for (row, winner) in spine.rows.iter().zip(&self.winners) {
            let Some((place, event_time)) = winner else {
                absences.set(*row, CellState::Missing);
                continue;
            };
            event_times[*row] = Some(*event_time);
            let age = at.as_of[*row] - event_time;
            if max_age.is_some_and(|max_age| age > max_age.micros()) {
                absences.set(*row, CellState::Expired);
            } else {
                picked[*row] = *place;
            }
        }
        spine.mark_rows_without_key(keyed, &mut absences);
        let places = if batches == 1 {
            Places::OfOne(picked.iter().map(|place| (*place != none).then_some(place.1 as u32)).collect())
        } else {
            Places::OfMany(picked)
        };
        Picks { max_age, places, absences, event_times: Int64Array::from(event_times) }
    }
}
