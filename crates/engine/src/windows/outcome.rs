//! Collects the results of windows and puts them back into the order of the rows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    ArrayRef, Decimal128Array, DurationMicrosecondArray, Float64Array, Int64Array, ListArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, Field};
use creta_model::{Aggregate, CellError, CellState, Type};
use creta_planner::Aggregation;

use super::WindowPlan;
use super::input::values_of_keys;
use crate::column::{Absences, CellColumn};
use crate::error::EngineError;
use crate::parallel::in_parallel;
use crate::point_in_time::{KeyedRows, Spine};
use crate::value::null_array;

/// Results of one aggregation for the points of one thread, in their order.
pub(super) struct Outcome {
    values: Values,
    missing: Vec<u32>,
    errors: BTreeMap<usize, Arc<CellError>>,
    /// Values that no fact at hand has: the extremes of tiles.
    keys: Vec<i128>,
}

/// Marks what is no position of a fact but an index into the keys.
const KEY: u32 = 1 << 31;

/// A filler stands where there is no value: states say that it is none, and nobody reads it.
enum Values {
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Decimals(Vec<i128>),
    /// Positions of facts.
    Positions(Vec<u32>),
    /// Positions, and where each list ends.
    Lists(Vec<u32>, Vec<usize>),
}

impl Outcome {
    /// For values of that type.
    pub(super) fn new(aggregation: &Aggregation, slot: &Type, capacity: usize) -> Self {
        let values = match (aggregation.aggregate, slot) {
            (Aggregate::Min | Aggregate::Max | Aggregate::First | Aggregate::Last, _) => {
                Values::Positions(Vec::with_capacity(capacity))
            }
            (Aggregate::LastN { .. }, _) => Values::Lists(Vec::new(), Vec::with_capacity(capacity)),
            (_, Type::Int | Type::Timedelta) => Values::Ints(Vec::with_capacity(capacity)),
            (_, Type::Decimal { .. }) => Values::Decimals(Vec::with_capacity(capacity)),
            _ => Values::Floats(Vec::with_capacity(capacity)),
        };
        Self { values, missing: Vec::new(), errors: BTreeMap::new(), keys: Vec::new() }
    }

    fn len(&self) -> usize {
        match &self.values {
            Values::Ints(values) => values.len(),
            Values::Floats(values) => values.len(),
            Values::Decimals(values) => values.len(),
            Values::Positions(values) => values.len(),
            Values::Lists(_, ends) => ends.len(),
        }
    }

    fn push_filler(&mut self) {
        match &mut self.values {
            Values::Ints(values) => values.push(0),
            Values::Floats(values) => values.push(0.0),
            Values::Decimals(values) => values.push(0),
            Values::Positions(values) => values.push(0),
            Values::Lists(positions, ends) => ends.push(positions.len()),
        }
    }

    pub(super) fn push_missing(&mut self) {
        self.missing.push(self.len() as u32);
        self.push_filler();
    }

    pub(super) fn fail(&mut self, error: &Arc<CellError>) {
        self.errors.insert(self.len(), Arc::clone(error));
        self.push_filler();
    }
}

macro_rules! push {
    ($name:ident, $variant:ident, $ty:ty) => {
        impl Outcome {
            pub(super) fn $name(&mut self, value: $ty) {
                match &mut self.values {
                    Values::$variant(values) => values.push(value),
                    _ => unreachable!("an aggregation gives values of its slot's type"),
                }
            }
        }
    };
}
push!(push_int, Ints, i64);
push!(push_float, Floats, f64);
push!(push_decimal, Decimals, i128);

impl Outcome {
    pub(super) fn is_float(&self) -> bool {
        matches!(self.values, Values::Floats(_))
    }

    pub(super) fn is_int(&self) -> bool {
        matches!(self.values, Values::Ints(_))
    }

    pub(super) fn push_position(&mut self, position: Option<usize>) {
        match (&mut self.values, position) {
            (Values::Positions(positions), Some(position)) => positions.push(position as u32),
            _ => unreachable!("a window that counts facts has a first, a last and extremes"),
        }
    }

    /// Pushes the value that a key of its type says.
    pub(super) fn push_key(&mut self, key: Option<i128>) {
        match (&mut self.values, key) {
            (Values::Positions(positions), Some(key)) => {
                positions.push(KEY | self.keys.len() as u32);
                self.keys.push(key);
            }
            _ => unreachable!("a window that counts facts has extremes"),
        }
    }

    /// Takes the positions from last to first.
    pub(super) fn push_list(&mut self, latest_first: impl Iterator<Item = usize>) {
        let Values::Lists(positions, ends) = &mut self.values else {
            unreachable!("an aggregation gives values of its slot's type")
        };
        let start = positions.len();
        positions.extend(latest_first.map(|position| position as u32));
        positions[start..].reverse();
        ends.push(positions.len());
    }
}

/// Where the results of all threads go.
pub(super) struct Outcomes<'a> {
    pub(super) keyed: &'a KeyedRows<'a>,
    pub(super) spine: &'a Spine,
    /// Rows of the request in the order in which they were answered, `chunk_rows` of them per thread.
    pub(super) order: &'a [u32],
    pub(super) chunk_rows: usize,
    pub(super) rows: usize,
}

impl Outcomes<'_> {
    /// One column per aggregation.
    pub(super) fn columns(
        &self,
        chunks: Vec<Vec<Outcome>>,
        plan: &WindowPlan<'_>,
        threads: usize,
    ) -> Result<Vec<CellColumn>, EngineError> {
        let mut by_aggregation: Vec<Vec<Outcome>> = plan.aggregations.iter().map(|_| Vec::new()).collect();
        for chunk in chunks {
            for (outcomes, outcome) in by_aggregation.iter_mut().zip(chunk) {
                outcomes.push(outcome);
            }
        }
        let by_aggregation: Vec<Mutex<Vec<Outcome>>> = by_aggregation.into_iter().map(Mutex::new).collect();
        // What is put in order goes before the next is begun.
        let column = |index: usize| {
            let outcomes = std::mem::take(&mut *by_aggregation[index].lock().unwrap_or_else(PoisonError::into_inner));
            self.column(index, &outcomes, plan)
        };
        in_parallel(by_aggregation.len(), threads, column).into_iter().collect()
    }

    /// Row of the request of the `index`-th result of a chunk.
    fn row(&self, chunk: usize, index: usize) -> usize {
        self.order[chunk * self.chunk_rows + index] as usize
    }

    /// Rows of the request of a chunk's results.
    fn rows_of(&self, chunk: usize) -> &[u32] {
        let start = (chunk * self.chunk_rows).min(self.order.len());
        &self.order[start..(start + self.chunk_rows).min(self.order.len())]
    }

    fn column(&self, index: usize, outcomes: &[Outcome], plan: &WindowPlan<'_>) -> Result<CellColumn, EngineError> {
        let (aggregation, ty) = (&plan.aggregations[index], &plan.types[index]);
        let values = self.values(index, outcomes, plan)?;
        if values.null_count() == 0 && outcomes.iter().all(|outcome| outcome.errors.is_empty()) {
            let mut missing = Vec::new();
            for (chunk, outcome) in outcomes.iter().enumerate() {
                missing.extend(outcome.missing.iter().map(|at| self.row(chunk, *at as usize) as u32));
            }
            if self.spine.rows_without_key_are_missing(self.keyed, &mut missing) {
                return CellColumn::with_missing(values, &missing)?.with_default(ty, aggregation.default.as_ref());
            }
        }
        let mut absences = Absences::default();
        for (chunk, outcome) in outcomes.iter().enumerate() {
            for at in &outcome.missing {
                absences.set(self.row(chunk, *at as usize), CellState::Missing);
            }
            for (at, error) in &outcome.errors {
                absences.fail(self.row(chunk, *at), Arc::clone(error));
            }
        }
        self.spine.mark_rows_without_key(self.keyed, &mut absences);
        absences.finish(values)?.with_default(ty, aggregation.default.as_ref())
    }

    /// The values of one aggregation in the order of rows, anything where there is none.
    fn values(&self, index: usize, outcomes: &[Outcome], plan: &WindowPlan<'_>) -> Result<ArrayRef, EngineError> {
        let ty = &plan.types[index];
        Ok(match outcomes.first().map(|outcome| &outcome.values) {
            None => null_array(ty, self.rows),
            Some(Values::Ints(_)) => {
                let ints = self.scatter(outcomes, |values| if let Values::Ints(ints) = values { ints } else { &[] });
                match ty {
                    Type::Timedelta => Arc::new(DurationMicrosecondArray::from(ints)),
                    _ => Arc::new(Int64Array::from(ints)),
                }
            }
            Some(Values::Floats(_)) => Arc::new(Float64Array::from(
                self.scatter(outcomes, |values| if let Values::Floats(floats) = values { floats } else { &[] }),
            )),
            Some(Values::Decimals(_)) => {
                let digits: Vec<i128> =
                    self.scatter(outcomes, |values| if let Values::Decimals(digits) = values { digits } else { &[] });
                let DataType::Decimal128(precision, scale) = ty.to_arrow() else {
                    unreachable!("decimals are collected for decimal slots")
                };
                Arc::new(Decimal128Array::from(digits).with_precision_and_scale(precision, scale)?)
            }
            Some(Values::Positions(_)) => {
                let source = plan.inputs.all[plan.inputs.of[index]].values.as_ref().expect("prepared with a value");
                if outcomes.iter().any(|outcome| !outcome.keys.is_empty()) {
                    self.with_keys(outcomes, ty, source)?
                } else if source.is_empty() {
                    null_array(ty, self.rows)
                } else {
                    let positions: Vec<u32> =
                        self.scatter(outcomes, |values| if let Values::Positions(all) = values { all } else { &[] });
                    compute::take(source, &UInt32Array::from(positions), None)?
                }
            }
            Some(Values::Lists(..)) => self.lists(outcomes, plan.inputs.all[plan.inputs.of[index]].values.as_ref())?,
        })
    }

    /// Results in the order of rows, a filler for rows without a key.
    fn scatter<T: Copy + Default>(&self, outcomes: &[Outcome], values: impl Fn(&Values) -> &[T]) -> Vec<T> {
        let mut scattered = vec![T::default(); self.rows];
        for (chunk, outcome) in outcomes.iter().enumerate() {
            for (row, value) in self.rows_of(chunk).iter().zip(values(&outcome.values)) {
                scattered[*row as usize] = *value;
            }
        }
        scattered
    }

    /// Values of facts at hand and of tiles.
    fn with_keys(&self, outcomes: &[Outcome], ty: &Type, source: &ArrayRef) -> Result<ArrayRef, EngineError> {
        let (nothing, all_keys) = (null_array(ty, 1), outcomes.iter().flat_map(|outcome| outcome.keys.iter().copied()));
        let of_keys = values_of_keys(ty, &all_keys.collect::<Vec<_>>())?;
        let mut places = vec![(0, 0); self.rows];
        let mut first_key = 0;
        for (chunk, outcome) in outcomes.iter().enumerate() {
            let Values::Positions(positions) = &outcome.values else { unreachable!("one kind per aggregation") };
            for (row, position) in self.rows_of(chunk).iter().zip(positions) {
                places[*row as usize] = match *position {
                    key if key & KEY != 0 => (2, first_key + (key & !KEY) as usize),
                    position if (position as usize) < source.len() => (1, position as usize),
                    _ => (0, 0),
                };
            }
            first_key += outcome.keys.len();
        }
        Ok(compute::interleave(&[nothing.as_ref(), source.as_ref(), of_keys.as_ref()], &places)?)
    }

    fn lists(&self, outcomes: &[Outcome], source: Option<&ArrayRef>) -> Result<ArrayRef, EngineError> {
        let source = source.expect("prepared with a value");
        let mut of_row: Vec<&[u32]> = vec![&[]; self.rows];
        for (chunk, outcome) in outcomes.iter().enumerate() {
            if let Values::Lists(positions, ends) = &outcome.values {
                let mut start = 0;
                for (index, end) in ends.iter().enumerate() {
                    of_row[self.row(chunk, index)] = &positions[start..*end];
                    start = *end;
                }
            }
        }
        let items = compute::take(source, &UInt32Array::from(of_row.concat()), None)?;
        let field = Arc::new(Field::new("item", items.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(of_row.iter().map(|list| list.len()));
        Ok(Arc::new(ListArray::try_new(field, offsets, items, None)?))
    }
}
