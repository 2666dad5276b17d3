//! Steps that run over columns, for the rows at hand: expressions, and windows that tiles serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use creta_model::{Aggregate, Type, Value};
use creta_planner::{BoundExpr, Plan, SlotId, Step};

use super::{Cells, Made, Source, broken};
use crate::column::CellColumn;
use crate::error::EngineError;
use crate::expression::evaluate;
use crate::fact_index::IndexView;
use crate::point_in_time::{Instants, KeyedRows};
use crate::value::build_array;
use crate::windows::windows;

/// A step over columns.
pub(super) struct OverColumns {
    step: Step,
    /// The slots that it reads, and where their cells come from.
    reads: BTreeMap<usize, (Source, Type)>,
    /// The types of what it makes.
    types: Vec<Type>,
}

impl OverColumns {
    /// `None` for what reads more than is bounded by its size, and for what is made of cells otherwise.
    pub(super) fn of(plan: &Plan, step: &Step, source: impl Fn(usize) -> Option<Source>) -> Option<Self> {
        let mut slots = Vec::new();
        match step {
            // The cells of another slot as they are keep the time of their facts.
            Step::Expression { expr: BoundExpr::Call { args, .. }, .. } => {
                args.iter().for_each(|arg| read(arg, &mut slots))
            }
            Step::Windows { key_slots, aggregations, .. } => {
                let bounded =
                    |aggregate: &Aggregate| !matches!(aggregate, Aggregate::Distinct | Aggregate::LastN { .. });
                if !aggregations.iter().all(|aggregation| bounded(&aggregation.aggregate)) {
                    return None;
                }
                slots.extend(key_slots.iter().map(|slot| slot.0));
            }
            _ => return None,
        }
        let reads = slots.into_iter().map(|slot| Some((slot, (source(slot)?, plan.slots[slot].ty.clone()))));
        let types = made(step).iter().map(|slot| plan.slots[slot.0].ty.clone()).collect();
        Some(Self { step: step.clone(), reads: reads.collect::<Option<_>>()?, types })
    }

    /// How many cells of a row it makes.
    pub(super) fn makes(&self) -> usize {
        self.types.len()
    }

    /// What it makes, a column of cells for each; `None` where that has to be found over columns from the beginning.
    pub(super) fn run(&self, cells: &Cells<'_>, view: &IndexView<'_>) -> Result<Option<Vec<Vec<Made>>>, EngineError> {
        let columns = match &self.step {
            Step::Expression { expr, default, .. } => {
                let column = |slot: usize| self.column(cells, slot);
                let made = evaluate(expr, &column, cells.rows())?;
                vec![CellColumn::clone(&made).with_default(expr.ty(), default.as_ref())?]
            }
            Step::Windows { entity, entity_name, key, key_slots, columns, aggregations } => {
                if !view.index().has_tiles_of(*entity, key, columns, aggregations) {
                    return Ok(None);
                }
                let read = key_slots.iter().map(|slot| self.column(cells, slot.0)).collect::<Result<Vec<_>, _>>()?;
                let keyed = KeyedRows { entity: *entity, entity_name, key, cells: &read };
                let [as_of, known_as_of] = [&cells.rows.as_of, &cells.rows.known_as_of]
                    .map(|instants| instants.iter().map(|at| at.micros()).collect::<Vec<_>>());
                let at = Instants { as_of: &as_of, known_as_of: &known_as_of };
                windows(&keyed, columns, aggregations, &self.types, at, view, 1)?
            }
            _ => unreachable!("there are no others"),
        };
        if columns.iter().any(|column| column.event_times().is_some()) {
            return Ok(None);
        }
        let made =
            |(column, ty): (&CellColumn, &Type)| (0..cells.rows()).map(|row| Made::of(column, ty, row)).collect();
        Ok(Some(columns.iter().zip(&self.types).map(made).collect()))
    }

    fn column(&self, cells: &Cells<'_>, slot: usize) -> Result<Arc<CellColumn>, EngineError> {
        let (source, ty) =
            self.reads.get(&slot).ok_or_else(|| EngineError::plan(format!("slot {slot} is read and not named")))?;
        let (mut values, mut states, mut errors) = (Vec::new(), Vec::new(), BTreeMap::new());
        for row in 0..cells.rows() {
            let cell = cells.cell(*source, row).map_err(broken)?;
            states.push(cell.state());
            values.push(cell.value(ty).map_err(broken)?);
            if let Made::Failed(error) = cell.copied() {
                errors.insert(row, error);
            }
        }
        let array = build_array(ty, &values).map_err(|error| EngineError::plan(error.to_string()))?;
        CellColumn::new(array, states, errors).map(Arc::new)
    }
}

impl Made {
    fn of(column: &CellColumn, ty: &Type, row: usize) -> Self {
        use creta_model::CellState::{Error, Null, Value as Is};
        match column.state(row) {
            Is | Null => Self::Value(column.value(ty, row).unwrap_or(Value::Null)),
            Error => Self::Failed(Arc::clone(&column.errors()[&row])),
            state => Self::Absent(state),
        }
    }
}

/// The slots that a step fills, in order.
pub(super) fn made(step: &Step) -> Vec<SlotId> {
    match step {
        Step::Windows { aggregations, .. } => aggregations.iter().map(|aggregation| aggregation.slot).collect(),
        Step::Expression { slot, .. } => vec![*slot],
        Step::Resolve { outputs, .. } => outputs.iter().map(|output| output.slot).collect(),
        Step::Lookup { .. } => Vec::new(),
    }
}

fn read(expr: &BoundExpr, slots: &mut Vec<usize>) {
    match expr {
        BoundExpr::Column { index, .. } => slots.push(*index),
        BoundExpr::Literal { .. } => {}
        BoundExpr::Call { args, .. } => args.iter().for_each(|arg| read(arg, slots)),
    }
}
