//! Functions that look at their arguments one after the other: `and`, `or`, `if`, coalesce, `is None`; and `not`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute;
use creta_model::{CellState, Function, Type};

use super::Call;
use crate::column::{Absences, CellColumn};
use crate::error::EngineError;
use crate::point_in_time::severity;

/// `None` for functions of other modules.
pub(super) fn call(call: &Call<'_>) -> Result<Option<CellColumn>, EngineError> {
    let bools = |count: usize| call.types.len() == count && call.types.iter().all(|ty| **ty == Type::Bool);
    Ok(Some(match call.function {
        Function::And if bools(2) => both(call, false)?,
        Function::Or if bools(2) => both(call, true)?,
        Function::Not if bools(1) => not(call)?,
        Function::IsNone if call.cells.len() == 1 => is_none(call)?,
        Function::If if call.cells.len() == 3 && *call.types[0] == Type::Bool => {
            let condition = &call.cells[0];
            let truth = condition.values().as_boolean();
            choose(call, |row| match condition.state(row) {
                CellState::Error | CellState::Denied => 0,
                CellState::Value if truth.value(row) => 1,
                _ => 2,
            })?
        }
        Function::Coalesce if !call.cells.is_empty() => choose(call, |row| {
            let decides =
                |cells: &Arc<CellColumn>| cells.state(row) == CellState::Value || severity(cells.state(row)) > 0;
            call.cells.iter().position(decides).unwrap_or(call.cells.len() - 1)
        })?,
        Function::And | Function::Or | Function::Not | Function::IsNone | Function::If | Function::Coalesce => {
            return Err(call.unsupported());
        }
        _ => return Ok(None),
    }))
}

/// `and` when `decisive` is false, `or` when it is true: the decisive value wins over null, and on the left it hides
/// whatever the right is.
fn both(call: &Call<'_>, decisive: bool) -> Result<CellColumn, EngineError> {
    let (left, right) = (&call.cells[0], &call.cells[1]);
    let (left_values, right_values) = (left.values().as_boolean(), right.values().as_boolean());
    let mut absences = Absences::default();
    let mut values = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let decided = |cells: &CellColumn, values: &BooleanArray| {
            cells.state(row) == CellState::Value && values.value(row) == decisive
        };
        let absent = |cells: &CellColumn| cells.state(row) != CellState::Value;
        let blocks = |cells: &CellColumn| severity(cells.state(row)) > 0;
        let decided_left = !blocks(left) && decided(left, left_values);
        let decided_right = !blocks(left) && decided(right, right_values);
        let from = if decided_left || decided_right {
            None
        } else if blocks(left) || (absent(left) && !blocks(right)) {
            Some(left)
        } else {
            absent(right).then_some(right)
        };
        match from {
            Some(cells) => {
                absences.copy(row, cells, row);
                values.push(None);
            }
            None => values.push(Some((decided_left || decided_right) == decisive)),
        }
    }
    absences.finish(Arc::new(BooleanArray::from(values)))
}

fn not(call: &Call<'_>) -> Result<CellColumn, EngineError> {
    let values = Arc::new(compute::not(call.values(0).as_boolean())?);
    passing(call, values, |state| state != CellState::Value)
}

fn is_none(call: &Call<'_>) -> Result<CellColumn, EngineError> {
    let cells = &call.cells[0];
    let values: BooleanArray = (0..call.rows).map(|row| Some(cells.values().is_null(row))).collect();
    passing(call, Arc::new(values), |state| severity(state) > 0)
}

/// `values`, with those states of the first argument that are passed on.
fn passing(call: &Call<'_>, values: ArrayRef, passes: impl Fn(CellState) -> bool) -> Result<CellColumn, EngineError> {
    let cells = &call.cells[0];
    let mut absences = Absences::default();
    if cells.states().is_some() {
        for row in (0..call.rows).filter(|row| passes(cells.state(*row))) {
            absences.copy(row, cells, row);
        }
    }
    absences.finish(values)
}

/// In each row the cell of the argument that `which` names. Only arguments of the result's type, or without a value in
/// that row, are named.
fn choose(call: &Call<'_>, which: impl Fn(usize) -> usize) -> Result<CellColumn, EngineError> {
    let mut sources: Vec<ArrayRef> = vec![crate::value::null_array(call.ty, 1)];
    let mut source_of = Vec::with_capacity(call.cells.len());
    for (index, cells) in call.cells.iter().enumerate() {
        if crate::value::is_of_type(cells.values(), call.ty) {
            source_of.push(sources.len());
            sources.push(Arc::clone(cells.values()));
        } else if cells.values().null_count() == call.rows || (call.function == Function::If && index == 0) {
            // A condition is only named for its error; a bare `None` may have any type.
            source_of.push(0);
        } else {
            return Err(call.unsupported());
        }
    }
    let mut absences = Absences::default();
    let mut picked = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let chosen = which(row);
        let cells = &call.cells[chosen];
        picked.push(if cells.state(row) == CellState::Value { (source_of[chosen], row) } else { (0, 0) });
        if !matches!(cells.state(row), CellState::Value | CellState::Null) {
            absences.copy(row, cells, row);
        }
    }
    let sources: Vec<&dyn Array> = sources.iter().map(|source| source.as_ref()).collect();
    absences.finish(compute::interleave(&sources, &picked)?)
}
