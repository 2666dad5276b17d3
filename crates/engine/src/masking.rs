//! What leaves of a feature that the permit does not give as it is: tokens, its form, or nothing.
//!
//! Masking is the last step, on what is answered: other features are computed from the true values, and carry the tag
//! that asked for masking themselves.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, StringArray};
use creta_audit::Permit;
use creta_iam::{Level, Tokeniser, masked};
use creta_model::{CellState, Type, Value};

use crate::EngineError;
use crate::answer::Answer;
use crate::column::CellColumn;

/// Masks the columns of `answer` that `permit` gives masked; `features` are the names of theirs. A column whose feature is not
/// known, or of which the permit gives less, becomes `denied` throughout: what cannot be judged is not shown. Time O(cells
/// masked).
pub(crate) fn mask(
    features: &[Option<String>],
    permit: &Permit,
    tokeniser: &Tokeniser,
    answer: &mut Answer,
) -> Result<(), EngineError> {
    for (index, column) in answer.columns.iter_mut().enumerate() {
        let feature = features.get(index).and_then(Option::as_deref);
        let level = feature.and_then(|feature| permit.level_of(feature)).unwrap_or(Level::Deny);
        if level == Level::Allow {
            continue;
        }
        column.ages = None; // When something was last seen says something about it.
        column.cells = match (level, &column.ty) {
            (Level::Tokenised, ty) => {
                let cells = tokens(tokeniser, feature.unwrap_or_default(), ty, &column.cells)?;
                column.ty = Type::Str; // Whatever the values are of, tokens are texts.
                cells
            }
            (Level::Masked, Type::Str) => masked_texts(&column.cells)?,
            _ => CellColumn::absent(&column.ty, column.cells.len(), CellState::Denied),
        };
    }
    Ok(())
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
