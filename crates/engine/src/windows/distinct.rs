//! Which values are the same, and how many different ones a window holds.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use arrow::row::{RowConverter, SortField};

use crate::error::EngineError;

/// A number per position; equal numbers mean the same value. -0 is 0, and every NaN is the same value; inside lists,
/// structs and vectors floats are compared by their bits.
pub(super) struct Identities {
    of: Vec<u32>,
    distinct: usize,
}

/// Which identities one window has met already.
pub(super) struct Seen {
    window: u32,
    by: Vec<u32>,
}

impl Identities {
    pub(super) fn new(values: &ArrayRef) -> Result<Self, EngineError> {
        let values: ArrayRef = if *values.data_type() == DataType::Float64 {
            let canonical = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(canonical))
        } else {
            Arc::clone(values)
        };
        let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())])?;
        let rows = converter.convert_columns(std::slice::from_ref(&values))?;
        let mut known = HashMap::new();
        let mut of = Vec::with_capacity(values.len());
        for row in rows.iter() {
            let next = known.len() as u32;
            of.push(*known.entry(row.data().to_vec()).or_insert(next));
        }
        Ok(Self { of, distinct: known.len() })
    }

    pub(super) fn seen(&self) -> Seen {
        Seen { window: 0, by: vec![0; self.distinct] }
    }

    /// How many different values are at these positions.
    pub(super) fn count(&self, seen: &mut Seen, positions: impl Iterator<Item = usize>) -> i64 {
        seen.window = seen.window.checked_add(1).unwrap_or_else(|| {
            seen.by.fill(0);
            1
        });
        let mut count = 0;
        for position in positions {
            let last = &mut seen.by[self.of[position] as usize];
            if *last != seen.window {
                *last = seen.window;
                count += 1;
            }
        }
        count
    }
}
