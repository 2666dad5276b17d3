//! Which types each aggregate takes and gives.

use creta_model::{Aggregate, FeaturePath, Type, Window};

use crate::functions::{coerce, is_ordered};
use crate::infer::{ExprError, Typed, typed};

/// What a window aggregates, with its types; `None` for a count of rows. When the feature declares a wider type, such as
/// a Decimal with more places, the values are read as that, as Python would take an int for a float.
pub fn typed_value(
    window: &Window,
    declared: &Type,
    lookup: &dyn Fn(&FeaturePath) -> Option<(Type, bool)>,
) -> Result<Option<Typed>, ExprError> {
    let Some(expr) = &window.value else {
        return Ok(None);
    };
    let value = typed(expr, lookup)?;
    let fits = |value: &Typed| aggregate_type(window.aggregate, Some(&value.ty)).as_ref() == Ok(declared);
    if fits(&value) {
        return Ok(Some(value));
    }
    Ok(Some(coerce(value.clone(), declared).filter(fits).unwrap_or(value)))
}

/// Type of an aggregation's value, or what it cannot take and what to do.
pub(crate) fn aggregate_type(aggregate: Aggregate, value: Option<&Type>) -> Result<Type, (String, String)> {
    let what = match aggregate {
        Aggregate::Count => return Ok(Type::Int),
        Aggregate::Sum => "the sum",
        Aggregate::Mean => "the mean",
        Aggregate::Min => "the smallest",
        Aggregate::Max => "the largest",
        Aggregate::Std => "the standard deviation",
        Aggregate::Var => "the variance",
        Aggregate::First => "the first",
        Aggregate::Last | Aggregate::LastN { .. } => "the last",
        Aggregate::Distinct => "the number of different values",
        Aggregate::Percentile { .. } => "a percentile",
    };
    let Some(value) = value else {
        return Err((
            format!("{what} of nothing"),
            "say of which feature, for example `mean(flights[Flight.dep_delay], last=days(7))`".to_owned(),
        ));
    };
    let allowed = match (aggregate, value) {
        (Aggregate::Sum | Aggregate::Mean | Aggregate::Percentile { .. }, Type::Decimal { .. } | Type::Timedelta) => {
            Some(value.clone())
        }
        (Aggregate::Sum, Type::Int | Type::Float) => Some(value.clone()),
        (Aggregate::Mean | Aggregate::Std | Aggregate::Var | Aggregate::Percentile { .. }, Type::Int | Type::Float) => {
            Some(Type::Float)
        }
        (Aggregate::Min | Aggregate::Max, ty) if is_ordered(ty) => Some(value.clone()),
        (Aggregate::First | Aggregate::Last, _) => Some(value.clone()),
        (Aggregate::LastN { .. }, _) => Some(Type::List { item: Box::new(value.clone()), optional: false }),
        (Aggregate::Distinct, Type::List { .. } | Type::Struct { .. } | Type::Vector { .. }) => None,
        (Aggregate::Distinct, _) => Some(Type::Int),
        _ => None,
    };
    allowed.ok_or_else(|| {
        let help = match (aggregate, value) {
            (Aggregate::Sum | Aggregate::Mean, Type::Bool) => {
                "count the true ones: `count(..., where=...)`; for their share divide two counts"
            }
            (Aggregate::Std | Aggregate::Var, Type::Decimal { .. }) => "convert the Decimal with `to_float(...)`",
            (Aggregate::Min | Aggregate::Max | Aggregate::Distinct, _) => "aggregate a feature with simple values",
            _ => "aggregate a number",
        };
        (format!("{what} of `{}`", value.python_name()), help.to_owned())
    })
}
