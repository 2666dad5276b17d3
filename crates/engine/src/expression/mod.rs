//! Evaluates expressions over columns with Python's meaning (rules S31, S32).
//!
//! A function of arguments that all have values has a value or an error. Otherwise its cell takes over a state: denied
//! before error before the state of the first argument without a value. `and`, `or`, `if` and coalesce look at their
//! arguments one after the other as Python does, so an error in what Python would not have evaluated does not count.

mod compare;
mod decimal;
mod failure;
mod logic;
mod numbers;
#[cfg(test)]
mod properties;
mod rounding;
mod text;
mod times;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, Int64Type};
use creta_model::{CellError, CellState, Function, Type, Value};
use creta_planner::BoundExpr;

pub(crate) use creta_compiler::numbers::half_even as divide_half_even;
pub(crate) use decimal::in_38_digits;
pub(crate) use failure::Failure;

use crate::column::{Absences, CellColumn};
use crate::error::EngineError;
use crate::point_in_time::severity;
use crate::value::{build_array, is_of_type};

/// Gives the cells of column `n`.
pub(crate) type Columns<'a> = dyn Fn(usize) -> Result<Arc<CellColumn>, EngineError> + 'a;

/// One cell per row. Work is O(rows) per node of the expression.
pub(crate) fn evaluate(expr: &BoundExpr, columns: &Columns<'_>, rows: usize) -> Result<Arc<CellColumn>, EngineError> {
    match expr {
        BoundExpr::Column { index, ty } => {
            let cells = columns(*index)?;
            if !is_of_type(cells.values(), ty) {
                return Err(EngineError::plan(format!("column {index} of an expression is not {}", ty.python_name())));
            }
            Ok(cells)
        }
        BoundExpr::Literal { ty, value } => literal(ty, value, rows).map(Arc::new),
        BoundExpr::Call { function, args, ty } => {
            let cells = args.iter().map(|arg| evaluate(arg, columns, rows)).collect::<Result<Vec<_>, _>>()?;
            let types: Vec<&Type> = args.iter().map(BoundExpr::ty).collect();
            let call = Call { function: *function, cells: &cells, types: &types, ty, rows };
            match logic::call(&call)? {
                Some(column) => Ok(Arc::new(column)),
                None => strict(&call).map(Arc::new),
            }
        }
    }
}

fn literal(ty: &Type, json: &serde_json::Value, rows: usize) -> Result<CellColumn, EngineError> {
    let value = Value::from_json(ty, json)
        .map_err(|error| EngineError::plan(format!("a literal does not fit its type: {error}")))?;
    let one = build_array(ty, &[value]).expect("a value read by a type fits that type");
    let values = if rows == 1 { one } else { compute::take(&one, &UInt32Array::from(vec![0; rows]), None)? };
    Ok(CellColumn::from_values(values))
}

/// A function with its evaluated arguments.
struct Call<'a> {
    function: Function,
    cells: &'a [Arc<CellColumn>],
    types: &'a [&'a Type],
    ty: &'a Type,
    rows: usize,
}

impl<'a> Call<'a> {
    fn values(&self, index: usize) -> &'a ArrayRef {
        self.cells[index].values()
    }

    fn unsupported(&self) -> EngineError {
        let types: Vec<String> = self.types.iter().map(|ty| ty.python_name()).collect();
        EngineError::plan(format!(
            "`{:?}` of ({}) as {} does not exist",
            self.function,
            types.join(", "),
            self.ty.python_name()
        ))
    }

    /// Whether the function gives null a meaning in this argument: an open bound of a slice.
    fn takes_null(&self, index: usize) -> bool {
        self.function == Function::Slice && index > 0
    }

    /// The rows in which every argument that has to has a value.
    fn complete(&self) -> Option<NullBuffer> {
        let needed = self.cells.iter().enumerate().filter(|(index, _)| !self.takes_null(*index));
        needed
            .fold(None, |nulls, (_, cells)| NullBuffer::union(nulls.as_ref(), cells.values().logical_nulls().as_ref()))
    }

    /// Applies `of` to every row in which all arguments have values.
    fn each_row<T, A: Array + FromIterator<Option<T>> + 'static>(
        &self,
        mut of: impl FnMut(usize) -> Result<T, Failure>,
    ) -> Computed {
        let complete = self.complete();
        let mut failures = Vec::new();
        let values: A = (0..self.rows)
            .map(|row| {
                if complete.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    return None;
                }
                of(row).map_err(|failure| failures.push((row, failure))).ok()
            })
            .collect();
        Computed { values: Arc::new(values), failures }
    }
}

/// Values where all arguments have values, and the rows in which the function failed; null elsewhere.
struct Computed {
    values: ArrayRef,
    failures: Vec<(usize, Failure)>,
}

/// A function that needs all its arguments.
fn strict(call: &Call<'_>) -> Result<CellColumn, EngineError> {
    let Computed { values, failures } = dispatch(call)?;
    let values = if *call.ty == Type::Float && *values.data_type() == DataType::Int64 {
        let floats = values.as_primitive::<Int64Type>().unary::<_, arrow::datatypes::Float64Type>(|int| int as f64);
        Arc::new(floats)
    } else {
        values
    };
    if !is_of_type(&values, call.ty) {
        return Err(call.unsupported());
    }
    let mut absences = Absences::default();
    let mut reasons: BTreeMap<Failure, Arc<CellError>> = BTreeMap::new();
    for (row, failure) in failures {
        let reason = reasons.entry(failure).or_insert_with(|| failure.to_error(call.function));
        absences.fail(row, Arc::clone(reason));
    }
    if call.cells.iter().any(|cells| cells.states().is_some()) {
        for row in 0..call.rows {
            let mut from: Option<&CellColumn> = None;
            for (index, cells) in call.cells.iter().enumerate() {
                let state = cells.state(row);
                if state == CellState::Null && call.takes_null(index) {
                    continue;
                }
                let stronger = |than: &CellColumn| severity(state) > severity(than.state(row));
                if state != CellState::Value && from.is_none_or(stronger) {
                    from = Some(cells);
                }
            }
            if let Some(cells) = from {
                absences.copy(row, cells, row);
            }
        }
    }
    absences.finish(values)
}

fn dispatch(call: &Call<'_>) -> Result<Computed, EngineError> {
    use Function as F;
    match call.function {
        F::Add | F::Sub | F::Mul | F::Div | F::FloorDiv | F::Mod | F::Pow | F::Neg | F::Abs => {
            let is_time = |ty: &&Type| matches!(ty, Type::Date | Type::Datetime | Type::Timedelta);
            if call.types.iter().any(is_time) {
                times::arithmetic(call)
            } else if call.types.iter().any(|ty| matches!(ty, Type::Decimal { .. })) {
                decimal::arithmetic(call)
            } else if call.types.contains(&&Type::Str) {
                text::concatenate(call)
            } else {
                numbers::arithmetic(call)
            }
        }
        F::Eq | F::Ne | F::Lt | F::Le | F::Gt | F::Ge => compare::compare(call),
        F::Min | F::Max => compare::extreme(call),
        F::Sqrt | F::Exp | F::Log => numbers::transcendental(call),
        F::Floor | F::Ceil | F::Round | F::ToInt | F::ToFloat => rounding::convert(call),
        F::Lower
        | F::Upper
        | F::Strip
        | F::Length
        | F::StartsWith
        | F::EndsWith
        | F::Contains
        | F::Replace
        | F::Slice
        | F::ToStr => text::call(call),
        F::Year | F::Month | F::Day | F::Hour | F::Minute | F::Second | F::Weekday | F::DateOf | F::TotalSeconds => {
            times::part(call)
        }
        F::And | F::Or | F::Not | F::If | F::IsNone | F::Coalesce => Err(call.unsupported()),
    }
}
