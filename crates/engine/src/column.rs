//! A column of answer cells (rule S12): values beside the reasons why there is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, Int64Array, MutableArrayData, make_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute;
use creta_model::{CellError, CellState, Type, Value};

use crate::error::EngineError;
use crate::value::{build_array, null_array};

/// One cell per row.
///
/// `values` is null exactly where the state is not [`CellState::Value`]. States are kept only when some cell is neither
/// a value nor an observed null.
#[derive(Debug, Clone)]
pub struct CellColumn {
    values: ArrayRef,
    states: Option<Arc<[CellState]>>,
    errors: BTreeMap<usize, Arc<CellError>>,
    event_times: Option<Int64Array>,
}

impl CellColumn {
    /// Values and observed nulls.
    pub fn from_values(values: ArrayRef) -> Self {
        Self { values, states: None, errors: BTreeMap::new(), event_times: None }
    }

    /// Values with a state per row. `values` may hold anything where the state is not a value: it is cleared. A row of
    /// state error without an entry in `errors` is an invariant broken by the caller.
    pub fn new(
        values: ArrayRef,
        states: Vec<CellState>,
        errors: BTreeMap<usize, Arc<CellError>>,
    ) -> Result<Self, EngineError> {
        debug_assert_eq!(values.len(), states.len());
        debug_assert!((0..states.len()).all(|row| (states[row] == CellState::Error) == errors.contains_key(&row)));
        let absent = BooleanBuffer::collect_bool(states.len(), |row| states[row] != CellState::Value);
        let absents = absent.count_set_bits();
        let agree = match values.nulls() {
            None => absents == 0,
            Some(nulls) => absents == nulls.null_count() && absent == !nulls.inner(),
        };
        let values = if agree { values } else { compute::nullif(&values, &BooleanArray::new(absent, None))? };
        let plain = states.iter().all(|state| matches!(state, CellState::Value | CellState::Null));
        Ok(Self { values, states: (!plain).then(|| states.into()), errors, event_times: None })
    }

    /// Values, none of them null, with `missing` in some rows. O(rows) for the states, O(1) for each such row.
    pub(crate) fn with_missing(values: ArrayRef, missing: &[u32]) -> Result<Self, EngineError> {
        debug_assert_eq!(values.null_count(), 0);
        if missing.is_empty() {
            return Ok(Self::from_values(values));
        }
        let mut states = vec![CellState::Value; values.len()];
        let mut valid = BooleanBufferBuilder::new(values.len());
        valid.append_n(values.len(), true);
        for row in missing {
            states[*row as usize] = CellState::Missing;
            valid.set_bit(*row as usize, false);
        }
        let nulls = NullBuffer::new(valid.finish());
        let values = arrow::array::make_array(values.to_data().into_builder().nulls(Some(nulls)).build()?);
        Ok(Self { values, states: Some(states.into()), errors: BTreeMap::new(), event_times: None })
    }

    /// `rows` cells in one state that is neither a value nor an error.
    pub fn absent(ty: &Type, rows: usize, state: CellState) -> Self {
        debug_assert!(!matches!(state, CellState::Value | CellState::Error));
        let states = (state != CellState::Null).then(|| vec![state; rows].into());
        Self { values: null_array(ty, rows), states, errors: BTreeMap::new(), event_times: None }
    }

    /// `rows` cells that failed for one reason.
    pub fn failed(ty: &Type, rows: usize, error: &Arc<CellError>) -> Self {
        Self {
            values: null_array(ty, rows),
            states: Some(vec![CellState::Error; rows].into()),
            errors: (0..rows).map(|row| (row, Arc::clone(error))).collect(),
            event_times: None,
        }
    }

    /// The same cells with the event time of the fact each came from, null where there is none.
    pub fn with_event_times(self, event_times: Int64Array) -> Self {
        Self { event_times: Some(event_times), ..self }
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no cell at all.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Null where there is no value.
    pub fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// One state per row, or `None` when every cell is a value or an observed null.
    pub fn states(&self) -> Option<&[CellState]> {
        self.states.as_deref()
    }

    /// What the cell is.
    pub fn state(&self, row: usize) -> CellState {
        match &self.states {
            Some(states) => states[row],
            None if self.values.is_null(row) => CellState::Null,
            None => CellState::Value,
        }
    }

    /// Why each cell of state error failed, by row.
    pub fn errors(&self) -> &BTreeMap<usize, Arc<CellError>> {
        &self.errors
    }

    /// Event time of the fact behind each cell in microseconds, when the column came from facts.
    pub fn event_times(&self) -> Option<&Int64Array> {
        self.event_times.as_ref()
    }

    /// The cell as a value: `None` where there is none.
    pub fn value(&self, ty: &Type, row: usize) -> Option<Value> {
        self.values.is_valid(row).then(|| crate::value::read_value(&self.values, ty, row))
    }

    /// The same cells, `denied` and without a time in the rows that `denies` names.
    pub(crate) fn deny(self, denies: impl Fn(usize) -> bool) -> Result<Self, EngineError> {
        let denied: Vec<bool> = (0..self.len()).map(denies).collect();
        if !denied.contains(&true) {
            return Ok(self);
        }
        let states = (0..self.len()).map(|row| if denied[row] { CellState::Denied } else { self.state(row) }).collect();
        let errors = self.errors.into_iter().filter(|(row, _)| !denied[*row]).collect();
        let event_times = self.event_times.map(|times| {
            times.iter().zip(&denied).map(|(time, denied)| time.filter(|_| !denied)).collect::<Int64Array>()
        });
        let denied = Self::new(self.values, states, errors)?;
        Ok(Self { event_times, values: written_anew(&denied.values, |_| true)?, ..denied })
    }

    /// The cells of `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Result<Self, EngineError> {
        let indices = arrow::array::UInt32Array::from(rows.to_vec());
        let pick = |row: &u32| *row as usize;
        Ok(Self {
            values: compute::take(&self.values, &indices, None)?,
            states: self.states.as_ref().map(|states| rows.iter().map(|row| states[pick(row)]).collect()),
            errors: if self.errors.is_empty() {
                BTreeMap::new()
            } else {
                let found = |(at, row): (usize, &u32)| Some((at, Arc::clone(self.errors.get(&pick(row))?)));
                rows.iter().enumerate().filter_map(found).collect()
            },
            event_times: match &self.event_times {
                Some(times) => {
                    let taken = compute::take(times, &indices, None)?;
                    Some(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&taken).clone())
                }
                None => None,
            },
        })
    }

    /// A column put together from what it was made of; the caller had one like it.
    pub(crate) fn restore(
        values: ArrayRef,
        states: Option<Arc<[CellState]>>,
        errors: BTreeMap<usize, Arc<CellError>>,
        event_times: Option<Int64Array>,
    ) -> Self {
        Self { values, states, errors, event_times }
    }

    /// `length` cells from `start` on.
    pub(crate) fn slice(&self, start: usize, length: usize) -> Self {
        let errors = self.errors.range(start..start + length);
        Self {
            values: self.values.slice(start, length),
            states: self.states.as_ref().map(|states| states[start..start + length].into()),
            errors: errors.map(|(row, error)| (row - start, Arc::clone(error))).collect(),
            event_times: self.event_times.as_ref().map(|times| times.slice(start, length)),
        }
    }

    /// The cells that `picks` names by column and row, in that order. At least one column; all are of one type, and all or none
    /// come from facts.
    pub(crate) fn interleave(columns: &[Self], picks: &[(usize, usize)]) -> Result<Self, EngineError> {
        let of = |array: fn(&Self) -> &dyn Array| -> Result<ArrayRef, EngineError> {
            Ok(compute::interleave(&columns.iter().map(array).collect::<Vec<_>>(), picks)?)
        };
        let has_states = columns.iter().any(|column| column.states.is_some());
        let has_errors = columns.iter().any(|column| !column.errors.is_empty());
        let error =
            |(at, (column, row)): (usize, &(usize, usize))| Some((at, Arc::clone(columns[*column].errors.get(row)?)));
        let event_times = if columns.iter().all(|column| column.event_times.is_some()) {
            let times = of(|column| column.event_times.as_ref().expect("every column has them"))?;
            Some(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&times).clone())
        } else {
            None
        };
        Ok(Self {
            values: of(|column| column.values.as_ref())?,
            states: has_states.then(|| picks.iter().map(|(column, row)| columns[*column].state(*row)).collect()),
            errors: if has_errors { picks.iter().enumerate().filter_map(error).collect() } else { BTreeMap::new() },
            event_times,
        })
    }

    /// The same cells with `missing` and `expired` replaced by a default in JSON form of `ty` (rule S13).
    pub fn with_default(self, ty: &Type, default: Option<&serde_json::Value>) -> Result<Self, EngineError> {
        let (Some(default), Some(states)) = (default, &self.states) else { return Ok(self) };
        let replaced = |state: CellState| matches!(state, CellState::Missing | CellState::Expired);
        if !states.iter().copied().any(replaced) {
            return Ok(self);
        }
        let default = Value::from_json(ty, default)
            .map_err(|error| EngineError::plan(format!("a default does not fit its feature: {error}")))?;
        let state = if default == Value::Null { CellState::Null } else { CellState::Value };
        let constant = build_array(ty, &[default]).expect("a value read by a type fits that type");
        let picked: Vec<(usize, usize)> =
            states.iter().enumerate().map(|(row, s)| if replaced(*s) { (1, 0) } else { (0, row) }).collect();
        let values = compute::interleave(&[self.values.as_ref(), constant.as_ref()], &picked)?;
        // No fact stands behind a default, so it has no age.
        let event_times = self.event_times.map(|times| {
            times.iter().zip(states.iter()).map(|(time, state)| time.filter(|_| !replaced(*state))).collect()
        });
        let states = states.iter().map(|s| if replaced(*s) { state } else { *s }).collect();
        Ok(Self { event_times, ..Self::new(values, states, self.errors)? })
    }
}

/// Collects the states of a column row by row; rows not mentioned are values or observed nulls by their validity.
#[derive(Debug, Clone, Default)]
pub(crate) struct Absences {
    /// By row, up to the last one mentioned.
    states: Vec<Option<CellState>>,
    errors: BTreeMap<usize, Arc<CellError>>,
}

impl Absences {
    pub(crate) fn fail(&mut self, row: usize, error: Arc<CellError>) {
        self.put(row, CellState::Error);
        self.errors.insert(row, error);
    }

    pub(crate) fn set(&mut self, row: usize, state: CellState) {
        debug_assert!(state != CellState::Error);
        self.put(row, state);
        if !self.errors.is_empty() {
            self.errors.remove(&row);
        }
    }

    fn put(&mut self, row: usize, state: CellState) {
        if row >= self.states.len() {
            self.states.resize(row + 1, None);
        }
        self.states[row] = Some(state);
    }

    /// Takes over the state of another column's cell, which is not a value.
    pub(crate) fn copy(&mut self, row: usize, from: &CellColumn, from_row: usize) {
        match from.state(from_row) {
            CellState::Error => self.fail(row, Arc::clone(&from.errors[&from_row])),
            state => self.set(row, state),
        }
    }

    pub(crate) fn finish(mut self, values: ArrayRef) -> Result<CellColumn, EngineError> {
        if self.states.is_empty() {
            return Ok(CellColumn::from_values(values));
        }
        self.states.resize(values.len(), None);
        let nulls = values.nulls();
        let by_validity = |row| {
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) { CellState::Value } else { CellState::Null }
        };
        let states = self.states.iter().enumerate().map(|(row, state)| state.unwrap_or_else(|| by_validity(row)));
        CellColumn::new(Arc::clone(&values), states.collect(), self.errors)
    }
}

/// An error cell's reason. The message is for people and never holds a value.
pub(crate) fn cell_error(code: &str, message: impl Into<String>) -> Arc<CellError> {
    Arc::new(CellError { code: code.to_owned(), message: message.into() })
}

/// Values of the rows that are `seen` in buffers that hold nothing else: what filters and nulls hide lies in those that they
/// were taken out of, and goes along with them over the wire. Time and memory O(bytes kept).
pub(crate) fn written_anew(
    column: &ArrayRef,
    seen: impl Fn(usize) -> bool,
) -> Result<ArrayRef, arrow::error::ArrowError> {
    let data = column.to_data();
    let mut anew = MutableArrayData::new(vec![&data], true, column.len());
    let kind = |row: usize| seen(row).then(|| column.is_valid(row));
    let mut from = 0;
    while from < column.len() {
        let first = kind(from);
        let to = (from + 1..column.len()).find(|row| kind(*row) != first).unwrap_or(column.len());
        match first {
            Some(true) => anew.try_extend(0, from, to)?,
            Some(false) => anew.try_extend_nulls(to - from)?,
            None => {}
        }
        from = to;
    }
    Ok(make_array(anew.freeze()))
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn attack_ch20_what_is_denied_is_not_beneath_the_nulls_either() {
        let values = StringArray::from(vec![Some("seen"), Some("told to nobody"), None, Some("seen too")]);
        let denied = CellColumn::from_values(Arc::new(values)).deny(|row| row == 1).expect("denied");
        let data = denied.values.to_data();
        let bytes: Vec<u8> = data.buffers().iter().flat_map(|buffer| buffer.as_slice().to_vec()).collect();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
        assert!(holds(b"seen too") && !holds(b"nobody"));
        assert!(denied.values.is_null(1) && denied.values.is_null(2) && denied.values.is_valid(3));
    }
}
