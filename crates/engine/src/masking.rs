//! What leaves of a feature that the permit does not give as it is: tokens, its form, or nothing.
//!
//! Masking is the last step, on what is answered: other features are computed from the true values, and carry the tag
//! that asked for masking themselves.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, StringArray};
use creta_audit::Permit;
use creta_iam::{Level, Tokeniser, masked};
use creta_model::{CellState, Type, Value};
use creta_planner::{BoundExpr, Origin, Plan, SlotId, Step};
use creta_registry::{FeatureRef, Registry};

use crate::EngineError;
use crate::answer::Answer;
use crate::column::CellColumn;

/// An output of a plan, as far as it matters for what leaves of it.
pub(crate) struct Output {
    /// Name of its feature; `None` for one that the registry does not know.
    pub(crate) feature: Option<String>,
    /// Whether facts carry the feature, rather than something computing it.
    pub(crate) is_stored: bool,
    /// Whether its values come from the request, or are computed from such.
    pub(crate) is_brought: bool,
}

impl Output {
    /// The outputs of a plan, in order, whose features are `features`.
    pub(crate) fn all(registry: &Registry, plan: &Plan, features: &[Option<FeatureRef>]) -> Vec<Self> {
        let brought = brought(plan);
        let one = |(slot, feature): (&SlotId, &Option<FeatureRef>)| Self {
            feature: feature.as_ref().map(ToString::to_string),
            is_stored: feature.as_ref().is_some_and(|feature| registry.is_stored(&feature.entity, &feature.feature))
                && matches!(plan.slots[slot.0].origin, Origin::Facts | Origin::Given),
            is_brought: brought[slot.0],
        };
        plan.outputs.iter().zip(features).map(one).collect()
    }
}

/// Cells on their way out, as far as it matters for what leaves of them.
pub(crate) struct Leaving<'a> {
    /// Name of their feature, under which tokens are made.
    pub(crate) feature: &'a str,
    /// See [`Output`].
    pub(crate) is_stored: bool,
    /// See [`Output`].
    pub(crate) is_brought: bool,
}

impl Leaving<'_> {
    /// What leaves at a level, with its type: all, tokens, forms, or `denied` throughout.
    pub(crate) fn at(
        &self,
        level: Level,
        tokeniser: &Tokeniser,
        ty: &Type,
        cells: &CellColumn,
    ) -> Result<(CellColumn, Type), EngineError> {
        Ok(match (level, ty) {
            (Level::Allow, _) => (cells.clone(), ty.clone()),
            // Whatever the values are of, tokens are texts.
            (Level::Tokenised, _) if !self.is_brought => (tokens(tokeniser, self.feature, ty, cells)?, Type::Str),
            (Level::Masked, Type::Str) if self.is_stored => (masked_texts(cells)?, Type::Str),
            _ => (CellColumn::absent(ty, cells.len(), CellState::Denied), ty.clone()),
        })
    }
}

/// Masks the columns of `answer` that `permit` gives masked; `outputs` are theirs. A column whose feature is not known, or of
/// which the permit gives less, becomes `denied` throughout: what cannot be judged is not shown. So does
/// - a masked feature that is computed: whoever writes the computation chooses its form, states and errors, and would say the
///   value in them;
/// - a feature that is given as tokens where its values come from the request: a guess would get its token.
///
/// Time O(cells masked).
pub(crate) fn mask(
    outputs: &[Output],
    permit: &Permit,
    tokeniser: &Tokeniser,
    answer: &mut Answer,
) -> Result<(), EngineError> {
    for (index, column) in answer.columns.iter_mut().enumerate() {
        let output = outputs.get(index);
        let feature = output.and_then(|output| output.feature.as_deref());
        let level = feature.and_then(|feature| permit.level_of(feature)).unwrap_or(Level::Deny);
        if level == Level::Allow {
            continue;
        }
        column.ages = None; // When something was last seen says something about it.
        let leaving = Leaving {
            feature: feature.unwrap_or_default(),
            is_stored: output.is_some_and(|output| output.is_stored),
            is_brought: output.is_none_or(|output| output.is_brought),
        };
        let (cells, ty) = leaving.at(level, tokeniser, &column.ty, &column.cells)?;
        (column.cells, column.ty) = (cells, ty);
    }
    Ok(())
}

/// For each slot whether it holds values of the request, or what is computed from them. What is looked up by them is not:
/// it is what the facts say.
fn brought(plan: &Plan) -> Vec<bool> {
    let mut brought = vec![false; plan.slots.len()];
    for SlotId(slot) in &plan.given {
        brought[*slot] = true;
    }
    for step in &plan.steps {
        match step {
            Step::Lookup { .. } | Step::Windows { .. } => {}
            Step::Expression { expr, slot, .. } => brought[slot.0] = reads(expr, &brought),
            Step::Resolve { inputs, outputs, .. } => {
                let of_request = inputs.iter().filter_map(|input| input.slot).any(|SlotId(slot)| brought[slot]);
                outputs.iter().for_each(|output| brought[output.slot.0] = of_request);
            }
        }
    }
    brought
}

fn reads(expr: &BoundExpr, brought: &[bool]) -> bool {
    match expr {
        BoundExpr::Column { index, .. } => brought[*index],
        BoundExpr::Literal { .. } => false,
        BoundExpr::Call { args, .. } => args.iter().any(|arg| reads(arg, brought)),
    }
}

/// A token for each value. Cells without a value keep their state.
fn tokens(tokeniser: &Tokeniser, feature: &str, ty: &Type, cells: &CellColumn) -> Result<CellColumn, EngineError> {
    let token = |row: usize| tokeniser.token(feature, ty, &cells.value(ty, row)?);
    let values: StringArray = (0..cells.len()).map(token).collect();
    let states = (0..cells.len()).map(|row| cells.state(row)).collect();
    CellColumn::new(Arc::new(values) as ArrayRef, states, cells.errors().clone())
}

/// Each text in its form. Cells without a value keep their state: that nothing is known is no content.
fn masked_texts(cells: &CellColumn) -> Result<CellColumn, EngineError> {
    let texts = cells.values().as_string::<i32>();
    let one = |row: usize| match masked(&Type::Str, &Value::Str(texts.value(row).into())) {
        Value::Str(text) => Some(text.to_string()),
        _ => None,
    };
    let values: StringArray = (0..texts.len()).map(|row| if texts.is_null(row) { None } else { one(row) }).collect();
    let states = (0..cells.len()).map(|row| cells.state(row)).collect();
    CellColumn::new(Arc::new(values) as ArrayRef, states, cells.errors().clone())
}
