//! Loops over plain numbers: what most rows of most resolvers are made of.

use crate::builtins::Builtin;
use crate::columns::Lane;
use crate::numbers::{self, compare_int_float};
use crate::operators::{Binary, Comparison};
use crate::raised::{Outcome, Raised};
use crate::value::Value;

/// A column of numbers of one type, or one number for all rows.
enum Numbers<'a> {
    Floats(&'a [f64]),
    Float(f64),
    Ints(&'a [i64]),
    Int(i64),
}

fn numbers_of(lane: &Lane) -> Option<Numbers<'_>> {
    Some(match lane {
        Lane::Floats(values) => Numbers::Floats(values),
        Lane::Ints(values) => Numbers::Ints(values),
        Lane::Same(Value::Float(value)) => Numbers::Float(*value),
        Lane::Same(Value::Int(value)) => Numbers::Int(*value),
        _ => return None,
    })
}

/// Applies `of` to pairs, of which at least one side is a column.
fn pairs<A: Copy, B: Copy, R>(a: &Side<'_, A>, b: &Side<'_, B>, of: impl Fn(A, B) -> R) -> Vec<R> {
    match (a, b) {
        (Side::Column(a), Side::Column(b)) => a.iter().zip(*b).map(|(a, b)| of(*a, *b)).collect(),
        (Side::Column(a), Side::One(b)) => a.iter().map(|a| of(*a, *b)).collect(),
        (Side::One(a), Side::Column(b)) => b.iter().map(|b| of(*a, *b)).collect(),
        (Side::One(a), Side::One(b)) => vec![of(*a, *b)],
    }
}

enum Side<'a, T> {
    Column(&'a [T]),
    One(T),
}

/// The same, where a pair may fail; a failed row gets `filler`.
fn fallible<A: Copy, B: Copy, R: Copy>(
    a: &Side<'_, A>,
    b: &Side<'_, B>,
    filler: R,
    failures: &mut Vec<(usize, Raised)>,
    of: impl Fn(A, B) -> Outcome<R>,
) -> Vec<R> {
    let outcomes = pairs(a, b, of);
    let mut results = Vec::with_capacity(outcomes.len());
    for (row, outcome) in outcomes.into_iter().enumerate() {
        results.push(outcome.unwrap_or_else(|error| {
            failures.push((row, error));
            filler
        }));
    }
    results
}

fn both_floats<'a>(
    a: &Numbers<'a>,
    b: &Numbers<'a>,
    widened: &'a mut [Vec<f64>; 2],
) -> Option<(Side<'a, f64>, Side<'a, f64>)> {
    let is_float = |side: &Numbers<'_>| matches!(side, Numbers::Floats(_) | Numbers::Float(_));
    if !is_float(a) && !is_float(b) {
        return None;
    }
    let [left, right] = widened;
    let side = |numbers: &Numbers<'a>, space: &'a mut Vec<f64>| match *numbers {
        Numbers::Floats(values) => Side::Column(values),
        Numbers::Float(value) => Side::One(value),
        Numbers::Int(value) => Side::One(value as f64),
        Numbers::Ints(values) => {
            space.extend(values.iter().map(|int| *int as f64));
            Side::Column(space)
        }
    };
    Some((side(a, left), side(b, right)))
}

fn both_ints<'a>(a: &Numbers<'a>, b: &Numbers<'a>) -> Option<(Side<'a, i64>, Side<'a, i64>)> {
    let side = |numbers: &Numbers<'a>| match *numbers {
        Numbers::Ints(values) => Some(Side::Column(values)),
        Numbers::Int(value) => Some(Side::One(value)),
        _ => None,
    };
    Some((side(a)?, side(b)?))
}

fn is_column(a: &Lane, b: &Lane) -> bool {
    !(matches!(a, Lane::Same(_)) && matches!(b, Lane::Same(_)))
}

/// `a op b` where both sides are numbers and one is a column.
pub(crate) fn binary(op: Binary, a: &Lane, b: &Lane, failures: &mut Vec<(usize, Raised)>) -> Option<Lane> {
    if !is_column(a, b) {
        return None;
    }
    let (a, b) = (numbers_of(a)?, numbers_of(b)?);
    let mut space = [Vec::new(), Vec::new()];
    if let Some((a, b)) = both_floats(&a, &b, &mut space) {
        return Some(Lane::Floats(match op {
            Binary::Add => pairs(&a, &b, |a, b| a + b),
            Binary::Sub => pairs(&a, &b, |a, b| a - b),
            Binary::Mul => pairs(&a, &b, |a, b| a * b),
            // A divisor that is not zero cannot fail.
            Binary::Div => match b {
                Side::One(b) if b != 0.0 => pairs(&a, &Side::One(b), |a, b| a / b),
                b => fallible(&a, &b, 0.0, failures, numbers::divide),
            },
            Binary::Mod => fallible(&a, &b, 0.0, failures, numbers::modulo_floats),
            Binary::FloorDiv => {
                fallible(&a, &b, 0.0, failures, |a, b| numbers::floor_division(a, b).map(|(whole, _)| whole))
            }
            Binary::Pow => fallible(&a, &b, 0.0, failures, numbers::power),
            _ => return None,
        }));
    }
    let (a, b) = both_ints(&a, &b)?;
    Some(match op {
        Binary::Add => Lane::Ints(fallible(&a, &b, 0, failures, numbers::add)),
        Binary::Sub => Lane::Ints(fallible(&a, &b, 0, failures, numbers::sub)),
        Binary::Mul => Lane::Ints(fallible(&a, &b, 0, failures, numbers::mul)),
        Binary::FloorDiv => Lane::Ints(fallible(&a, &b, 0, failures, numbers::floor_div)),
        Binary::Mod => Lane::Ints(fallible(&a, &b, 0, failures, numbers::modulo)),
        Binary::Div => Lane::Floats(fallible(&a, &b, 0.0, failures, numbers::divide_ints)),
        _ => return None,
    })
}

/// `a op b` of numbers as bools.
pub(crate) fn compare(op: Comparison, a: &Lane, b: &Lane) -> Option<Lane> {
    if !is_column(a, b) {
        return None;
    }
    fn ordered<T: PartialOrd + Copy>(op: Comparison, a: &Side<'_, T>, b: &Side<'_, T>) -> Option<Vec<bool>> {
        Some(match op {
            Comparison::Eq => pairs(a, b, |a, b| a == b),
            Comparison::Ne => pairs(a, b, |a, b| a != b),
            Comparison::Lt => pairs(a, b, |a, b| a < b),
            Comparison::Le => pairs(a, b, |a, b| a <= b),
            Comparison::Gt => pairs(a, b, |a, b| a > b),
            Comparison::Ge => pairs(a, b, |a, b| a >= b),
            _ => return None,
        })
    }
    let (a, b) = (numbers_of(a)?, numbers_of(b)?);
    if let Some((a, b)) = both_ints(&a, &b) {
        return ordered(op, &a, &b).map(Lane::Bools);
    }
    // Floats beside a constant int that a double holds exactly are compared as floats, all others without rounding.
    let exact = |numbers: &Numbers<'_>| match numbers {
        Numbers::Ints(_) => false,
        Numbers::Int(int) => compare_int_float(*int, *int as f64) == Some(std::cmp::Ordering::Equal),
        _ => true,
    };
    if !exact(&a) || !exact(&b) {
        return None;
    }
    let mut space = [Vec::new(), Vec::new()];
    let (a, b) = both_floats(&a, &b, &mut space)?;
    ordered(op, &a, &b).map(Lane::Bools)
}

/// `abs`, `min` and `max` of two, over floats.
pub(crate) fn call(builtin: Builtin, args: &[Lane]) -> Option<Lane> {
    match (builtin, args) {
        (Builtin::Abs, [Lane::Floats(values)]) => Some(Lane::Floats(values.iter().map(|value| value.abs()).collect())),
        (Builtin::Min | Builtin::Max, [a, b, Lane::Same(Value::Unbound)]) if is_column(a, b) => {
            let side = |lane| match lane {
                Numbers::Floats(values) => Some(Side::Column(values)),
                Numbers::Float(value) => Some(Side::One(value)),
                _ => None,
            };
            let (a, b) = (side(numbers_of(a)?)?, side(numbers_of(b)?)?);
            // The first stays unless the second is better, which NaN never is.
            Some(Lane::Floats(if builtin == Builtin::Min {
                pairs(&a, &b, |a, b| if b < a { b } else { a })
            } else {
                pairs(&a, &b, |a, b| if b > a { b } else { a })
            }))
        }
        _ => None,
    }
}
