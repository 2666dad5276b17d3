//! Calls of compiled resolvers for one row: the rule S32 on cells.

use std::sync::Arc;

use creta_model::{CellState, Type, Validation, Value};
use creta_planner::{CallInput, CallOutput, ResolverCall, SlotId};

use super::{Cells, Made, Source};
use crate::column::cell_error;
use crate::fact_index::NotABlock;
use crate::host::AtOnce;
use crate::point_in_time::severity;
use crate::resolve::{violations, wrong_count, wrong_type};
use crate::value::build_array;

/// One call.
pub(super) struct Call {
    pub(super) resolver: ResolverCall,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
}

struct Input {
    /// `None` is the row's instant.
    source: Option<Source>,
    ty: Type,
    optional: bool,
}

struct Output {
    ty: Type,
    optional: bool,
    validation: Option<Validation>,
    default: Option<Value>,
}

impl Call {
    /// `None` for one whose inputs are made otherwise, or whose defaults do not fit.
    pub(super) fn of(
        resolver: &ResolverCall,
        inputs: &[CallInput],
        outputs: &[CallOutput],
        source: impl Fn(SlotId) -> Option<Source>,
    ) -> Option<Self> {
        let input = |input: &CallInput| {
            let source = match input.slot {
                None => None,
                Some(slot) => Some(source(slot)?),
            };
            Some(Input { source, ty: input.ty.clone(), optional: input.optional })
        };
        let result = |output: &CallOutput| {
            let default = match &output.default {
                None => None,
                Some(default) => Some(Value::from_json(&output.ty, default).ok()?),
            };
            let CallOutput { ty, optional, validation, .. } = output.clone();
            Some(Output { ty, optional, validation, default })
        };
        Some(Self {
            resolver: resolver.clone(),
            inputs: inputs.iter().map(input).collect::<Option<_>>()?,
            outputs: outputs.iter().map(result).collect::<Option<_>>()?,
        })
    }

    /// Makes the cells of one row, to be put from `at` on; `None` where only Python can, or where it would be too much work.
    pub(super) fn run(
        &self,
        cells: &mut Cells<'_>,
        row: usize,
        at: usize,
        compiled: &dyn AtOnce,
    ) -> Result<Option<()>, NotABlock> {
        let mut arguments = Vec::with_capacity(self.inputs.len());
        let mut blocking: Option<(u8, Made)> = None;
        for input in &self.inputs {
            let Some(source) = input.source else {
                arguments.push(Value::Datetime(cells.rows.as_of[row]));
                continue;
            };
            let cell = cells.cell(source, row)?;
            let state = cell.state();
            if severity(state) == 0 && (state == CellState::Value || input.optional) {
                arguments.push(cell.value(&input.ty)?);
            } else if blocking.as_ref().is_none_or(|(known, _)| severity(state) > *known) {
                blocking = Some((severity(state), cell.copied()));
            }
        }
        let made = &mut cells.made[at..at + self.outputs.len()];
        if let Some((_, state)) = blocking {
            for (made, output) in made.iter_mut().zip(&self.outputs) {
                *made = output.or_default(state.clone());
            }
            return Ok(Some(()));
        }
        let error = match compiled.call(&arguments) {
            None => return Ok(None),
            Some(Ok(values)) if values.len() == self.outputs.len() => {
                for ((made, output), value) in made.iter_mut().zip(&self.outputs).zip(values) {
                    *made = output.checked(&self.resolver, value);
                }
                return Ok(Some(()));
            }
            Some(Ok(_)) => wrong_count(&self.resolver),
            Some(Err(error)) => Arc::new(error),
        };
        made.fill(Made::Failed(error));
        Ok(Some(()))
    }
}

impl Output {
    fn or_default(&self, made: Made) -> Made {
        match (&made, &self.default) {
            (Made::Absent(CellState::Missing | CellState::Expired), Some(default)) => Made::Value(default.clone()),
            _ => made,
        }
    }

    /// As `resolve::check` over columns.
    fn checked(&self, call: &ResolverCall, value: Value) -> Made {
        if value == Value::Null {
            if self.optional {
                return Made::Value(value);
            }
            let message = format!("resolver `{}` returned `None` for a feature that is not optional", call.name);
            return Made::Failed(cell_error("resolver/returned-none", message));
        }
        let plain = matches!(
            (&self.ty, &value),
            (Type::Bool, Value::Bool(_))
                | (Type::Int, Value::Int(_))
                | (Type::Float, Value::Float(_))
                | (Type::Str, Value::Str(_))
                | (Type::Timedelta, Value::Timedelta(_))
        );
        if plain && self.validation.is_none() {
            return Made::Value(value); // What an Arrow type says is all there is to say.
        }
        let Ok(array) = build_array(&self.ty, std::slice::from_ref(&value)) else {
            return Made::Failed(wrong_type(call));
        };
        match violations(&self.ty, self.validation.as_ref(), &array).remove(&0) {
            Some(error) => Made::Failed(error),
            None => Made::Value(value),
        }
    }
}
