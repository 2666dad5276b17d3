//! Declared bounds on values: checked where facts come in and where resolvers answer.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type};
use creta_model::{Feature, Problem, Type, Validation};
use regex::Regex;

/// Which declared bound a value breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Smaller than `min`.
    Min,
    /// Larger than `max`.
    Max,
    /// Shorter than `min_length`.
    MinLength,
    /// Longer than `max_length`.
    MaxLength,
    /// Does not match `pattern`.
    Pattern,
}

impl Bound {
    /// The option's name in the SDK.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::MinLength => "min_length",
            Self::MaxLength => "max_length",
            Self::Pattern => "pattern",
        }
    }
}

/// A validation ready to be applied to many values; the pattern is compiled once.
#[derive(Debug)]
pub struct Validator {
    bounds: Validation,
    pattern: Option<Regex>,
}

impl Validator {
    /// Compiles the pattern; the registry has checked that it is one.
    pub fn new(bounds: &Validation) -> Self {
        let pattern = bounds
            .pattern
            .as_ref()
            .map(|text| Regex::new(&format!("^(?:{text})$")).expect("the registry compiled every pattern"));
        Self { bounds: bounds.clone(), pattern }
    }

    /// The first bound that the value at `row` breaks; null breaks none, NaN breaks `min` and `max`.
    pub fn broken(&self, ty: &Type, array: &ArrayRef, row: usize) -> Option<Bound> {
        if array.is_null(row) {
            return None;
        }
        self.broken_number(ty, array, row).or_else(|| self.broken_length(ty, array, row)).or_else(|| {
            let pattern = self.pattern.as_ref()?;
            (matches!(ty, Type::Str) && !pattern.is_match(array.as_string::<i32>().value(row))).then_some(Bound::Pattern)
        })
    }

    fn broken_number(&self, ty: &Type, array: &ArrayRef, row: usize) -> Option<Bound> {
        if self.bounds.min.is_none() && self.bounds.max.is_none() {
            return None;
        }
        let number = match ty {
            Type::Int => array.as_primitive::<Int64Type>().value(row) as f64,
            Type::Float => array.as_primitive::<Float64Type>().value(row),
            Type::Decimal { scale } => {
                array.as_primitive::<Decimal128Type>().value(row) as f64 / 10f64.powi(i32::from(*scale))
            }
            _ => return None,
        };
        if self.bounds.min.is_some_and(|min| number < min || number.is_nan()) {
            Some(Bound::Min)
        } else if self.bounds.max.is_some_and(|max| number > max || number.is_nan()) {
            Some(Bound::Max)
        } else {
            None
        }
    }

    fn broken_length(&self, ty: &Type, array: &ArrayRef, row: usize) -> Option<Bound> {
        if self.bounds.min_length.is_none() && self.bounds.max_length.is_none() {
            return None;
        }
        let length = match ty {
            Type::Str => array.as_string::<i32>().value(row).chars().count(),
            Type::Bytes => array.as_binary::<i32>().value(row).len(),
            Type::List { .. } => array.as_list::<i32>().value_length(row) as usize,
            _ => return None,
        };
        if self.bounds.min_length.is_some_and(|min| length < min as usize) {
            Some(Bound::MinLength)
        } else if self.bounds.max_length.is_some_and(|max| length > max as usize) {
            Some(Bound::MaxLength)
        } else {
            None
        }
    }
}

/// Refuses a column of which a value breaks the feature's bounds; names the row and the bound, never the value.
pub fn column(feature: &Feature, what: &str, array: &ArrayRef) -> Result<(), Problem> {
    let Some(bounds) = &feature.validation else { return Ok(()) };
    let validator = Validator::new(bounds);
    match (0..array.len()).find_map(|row| Some((row, validator.broken(&feature.ty, array, row)?))) {
        None => Ok(()),
        Some((row, bound)) => Err(Problem::new(
            "value/out-of-bounds",
            format!("{what} breaks its `{}` in row {row}", bound.as_str()),
        )
        .at(&feature.location)
        .with_help("nothing was stored; correct or drop the row, or widen the bound")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};

    #[test]
    fn bounds_are_inclusive_and_nan_breaks_them() {
        let validator = Validator::new(&Validation { min: Some(0.0), max: Some(1.0), ..Validation::default() });
        let array: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.0), Some(1.0), Some(-0.1), Some(1.1), Some(f64::NAN), None]));
        let broken: Vec<_> = (0..6).map(|row| validator.broken(&Type::Float, &array, row)).collect();
        assert_eq!(broken, [None, None, Some(Bound::Min), Some(Bound::Max), Some(Bound::Min), None]);
    }

    #[test]
    fn a_pattern_matches_the_whole_text_and_lengths_count_characters() {
        let bounds = Validation { max_length: Some(3), pattern: Some("a+|é+".into()), ..Validation::default() };
        let array: ArrayRef = Arc::new(StringArray::from(vec!["aa", "ééé", "éééé", "ab"]));
        let validator = Validator::new(&bounds);
        let broken: Vec<_> = (0..4).map(|row| validator.broken(&Type::Str, &array, row)).collect();
        assert_eq!(broken, [None, None, Some(Bound::MaxLength), Some(Bound::Pattern)]);
    }
}
