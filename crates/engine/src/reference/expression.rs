//! Expressions, one row at a time, by Python's rules.

use std::cmp::Ordering;

use creta_model::{Function, Instant, Type, Value};
use creta_planner::BoundExpr;
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

use super::Cell;
use super::exact::{nearest_double, units, units_of_int};

type Result<T> = std::result::Result<T, &'static str>;

const ZERO: &str = "arithmetic/division-by-zero";
const OVERFLOW: &str = "arithmetic/overflow";
const DOMAIN: &str = "arithmetic/domain";
const RANGE: &str = "arithmetic/out-of-range";

/// The value of an expression whose types the planner checked; `column` gives what it reads.
pub fn expression(expr: &BoundExpr, column: &dyn Fn(usize) -> Cell) -> Cell {
    match expr {
        BoundExpr::Column { index, .. } => column(*index),
        BoundExpr::Literal { ty, value } => {
            Cell::observed(Value::from_json(ty, value).expect("the planner checks literals"))
        }
        BoundExpr::Call { function, args, ty } => call(*function, args, ty, column),
    }
}

fn is_true(cell: &Cell) -> bool {
    matches!(cell, Cell::Value(Value::Bool(true)))
}

fn is_false(cell: &Cell) -> bool {
    matches!(cell, Cell::Value(Value::Bool(false)))
}

fn stops(cell: &Cell) -> bool {
    matches!(cell, Cell::Error(_) | Cell::Denied)
}

fn call(function: Function, args: &[BoundExpr], ty: &Type, column: &dyn Fn(usize) -> Cell) -> Cell {
    let arg = |index: usize| expression(&args[index], column);
    match function {
        Function::And => match (arg(0), arg(1)) {
            (left, _) if stops(&left) || is_false(&left) => left,
            (_, right) if stops(&right) || is_false(&right) => right,
            (left, right) => {
                if is_true(&left) {
                    right
                } else {
                    left
                }
            }
        },
        Function::Or => match (arg(0), arg(1)) {
            (left, _) if stops(&left) || is_true(&left) => left,
            (_, right) if stops(&right) || is_true(&right) => right,
            (left, right) => {
                if is_false(&left) {
                    right
                } else {
                    left
                }
            }
        },
        Function::If => match arg(0) {
            condition if stops(&condition) => condition,
            condition => {
                if is_true(&condition) {
                    arg(1)
                } else {
                    arg(2)
                }
            }
        },
        Function::IsNone => match arg(0) {
            cell if stops(&cell) => cell,
            cell => Cell::Value(Value::Bool(!matches!(cell, Cell::Value(_)))),
        },
        Function::Coalesce => {
            let cells = (0..args.len()).map(arg);
            let mut last = Cell::Null;
            for cell in cells {
                last = cell;
                if matches!(last, Cell::Value(_)) || stops(&last) {
                    break;
                }
            }
            last
        }
        _ => {
            let cells: Vec<Cell> = (0..args.len()).map(arg).collect();
            let counts = |index: usize, cell: &Cell| !(function == Function::Slice && index > 0 && *cell == Cell::Null);
            let absent = |cell: &&Cell| !matches!(cell, Cell::Value(_));
            let needed: Vec<&Cell> =
                cells.iter().enumerate().filter(|(index, cell)| counts(*index, cell)).map(|(_, cell)| cell).collect();
            let passed = needed
                .iter()
                .find(|cell| matches!(cell, Cell::Denied))
                .or_else(|| needed.iter().find(|cell| matches!(cell, Cell::Error(_))))
                .or_else(|| needed.iter().find(|cell| absent(cell)));
            if let Some(cell) = passed {
                return (*cell).clone();
            }
            let values: Vec<Value> =
                cells.into_iter().map(|cell| if let Cell::Value(value) = cell { value } else { Value::Null }).collect();
            let types: Vec<&Type> = args.iter().map(BoundExpr::ty).collect();
            match apply(function, &values, &types, ty) {
                Ok(value) => Cell::Value(value),
                Err(code) => Cell::Error(code.into()),
            }
        }
    }
}

fn apply(function: Function, values: &[Value], types: &[&Type], ty: &Type) -> Result<Value> {
    use Function as F;
    use Value as V;
    match (function, values) {
        (F::Not, [V::Bool(a)]) => Ok(V::Bool(!a)),
        (F::Eq | F::Ne | F::Lt | F::Le | F::Gt | F::Ge, [a, b]) => {
            let ordering = compare((a, types[0]), (b, types[1]));
            Ok(V::Bool(match function {
                F::Eq => ordering == Some(Ordering::Equal),
                F::Ne => ordering != Some(Ordering::Equal),
                F::Lt => ordering == Some(Ordering::Less),
                F::Le => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
                F::Gt => ordering == Some(Ordering::Greater),
                _ => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
            }))
        }
        (F::Min | F::Max, values) => {
            let wanted = if function == F::Min { Ordering::Less } else { Ordering::Greater };
            let mut best = 0;
            for index in 1..values.len() {
                if compare((&values[index], ty), (&values[best], ty)) == Some(wanted) {
                    best = index;
                }
            }
            Ok(values[best].clone())
        }
        (F::Pow, [V::Int(a), V::Int(b)]) if *ty == Type::Int => match b {
            // Python divides by zero there; what it answers for any other base is no int.
            ..0 if *a == 0 => Err(ZERO),
            ..0 => Err("arithmetic/negative-exponent"),
            // 0 and 1 stay what they are, -1 alternates, and anything to the power of 0 is 1.
            _ if (-1..=1).contains(a) => Ok(V::Int(if *b == 0 || (*a == -1 && b % 2 == 0) { 1 } else { *a })),
            65.. => Err(OVERFLOW),
            _ => int(BigInt::from(*a).pow(*b as u32)),
        },
        (F::Add, [V::Int(a), V::Int(b)]) => int(BigInt::from(*a) + b),
        (F::Sub, [V::Int(a), V::Int(b)]) => int(BigInt::from(*a) - b),
        (F::Mul, [V::Int(a), V::Int(b)]) => int(BigInt::from(*a) * b),
        (F::Neg, [V::Int(a)]) => int(-BigInt::from(*a)),
        (F::Abs, [V::Int(a)]) => int(BigInt::from(*a).abs()),
        (F::Div | F::FloorDiv | F::Mod, [_, V::Int(0)]) => Err(ZERO),
        (F::Div | F::FloorDiv | F::Mod, [_, V::Float(b)]) if *b == 0.0 => Err(ZERO),
        (F::Div, [V::Int(a), V::Int(b)]) => Ok(V::Float(quotient(*a, *b))),
        (F::FloorDiv, [V::Int(a), V::Int(b)]) => int(floor(&BigInt::from(*a), &BigInt::from(*b))),
        (F::Mod, [V::Int(a), V::Int(b)]) => {
            let (a, b) = (BigInt::from(*a), BigInt::from(*b));
            int(&a - floor(&a, &b) * &b)
        }
        (F::Add, [V::Float(a), V::Float(b)]) => Ok(V::Float(a + b)),
        (F::Sub, [V::Float(a), V::Float(b)]) => Ok(V::Float(a - b)),
        (F::Mul, [V::Float(a), V::Float(b)]) => Ok(V::Float(a * b)),
        (F::Div, [V::Float(a), V::Float(b)]) => Ok(V::Float(a / b)),
        (F::Neg, [V::Float(a)]) => Ok(V::Float(-a)),
        (F::Abs, [V::Float(a)]) => Ok(V::Float(a.abs())),
        (F::Sqrt, [V::Float(a)]) => {
            if *a < 0.0 {
                Err(DOMAIN)
            } else {
                Ok(V::Float(a.sqrt()))
            }
        }
        (F::Floor | F::Ceil | F::ToInt | F::Round, [V::Float(a)]) => whole(function, *a),
        (F::Floor | F::Ceil | F::ToInt | F::Round, [V::Int(a)]) => Ok(V::Int(*a)),
        (F::ToInt, [V::Bool(a)]) => Ok(V::Int((*a).into())),
        (F::ToFloat, [V::Bool(a)]) => Ok(V::Float(if *a { 1.0 } else { 0.0 })),
        (F::ToFloat, [V::Int(a)]) => Ok(V::Float(nearest_double(&units_of_int(&BigInt::from(*a)), &BigInt::from(1)))),
        (F::ToFloat, [V::Float(a)]) => Ok(V::Float(*a)),
        (F::ToStr, [V::Int(a)]) => Ok(V::Str(a.to_string())),
        (F::ToStr, [V::Bool(a)]) => Ok(V::Str(if *a { "True".into() } else { "False".into() })),
        (F::ToStr, [V::Str(a)]) => Ok(V::Str(a.clone())),
        (F::Round, [V::Float(a), V::Int(digits @ 0..=300)]) if a.is_finite() => {
            // Formatting writes the exact value rounded half to even.
            Ok(V::Float(format!("{a:.*}", *digits as usize).parse().expect("a formatted float")))
        }
        (F::Lower, [V::Str(a)]) => Ok(V::Str(a.to_lowercase())),
        (F::Upper, [V::Str(a)]) => Ok(V::Str(a.to_uppercase())),
        (F::Length, [V::Str(a)]) => Ok(V::Int(a.chars().count() as i64)),
        (F::Length, [V::List(a)]) => Ok(V::Int(a.len() as i64)),
        (F::Add, [V::Str(a), V::Str(b)]) => Ok(V::Str(format!("{a}{b}"))),
        (F::StartsWith, [V::Str(a), V::Str(b)]) => Ok(V::Bool(a.starts_with(b.as_str()))),
        (F::EndsWith, [V::Str(a), V::Str(b)]) => Ok(V::Bool(a.ends_with(b.as_str()))),
        (F::Contains, [V::Str(a), V::Str(b)]) => Ok(V::Bool(a.contains(b.as_str()))),
        (F::Contains, [V::List(items), wanted]) => Ok(V::Bool(items.contains(wanted))),
        (F::Slice, [V::Str(text), from, to]) => Ok(V::Str(slice(text, from, to))),
        _ => times(function, values),
    }
}

fn int(value: BigInt) -> Result<Value> {
    value.to_i64().map(Value::Int).ok_or(OVERFLOW)
}

fn quotient(a: i64, b: i64) -> f64 {
    let nearest = nearest_double(&units_of_int(&BigInt::from(a)), &BigInt::from(b));
    if a == 0 && b < 0 { -0.0 } else { nearest }
}

/// The largest whole number that is not above `a / b`.
fn floor(a: &BigInt, b: &BigInt) -> BigInt {
    let quotient = a / b;
    let above = if b.is_positive() { &quotient * b > *a } else { &quotient * b < *a };
    if above { quotient - 1 } else { quotient }
}

fn whole(function: Function, value: f64) -> Result<Value> {
    if value.is_nan() {
        return Err(DOMAIN);
    }
    if value.is_infinite() {
        return Err(OVERFLOW);
    }
    let one = units(1.0);
    let below = floor(&units(value), &one);
    let rest = units(value) - &below * &one;
    let up = match function {
        Function::Floor => false,
        Function::Ceil => !rest.is_zero(),
        Function::ToInt => value < 0.0 && !rest.is_zero(),
        _ => &rest * 2 > one || (&rest * 2 == one && below.bit(0)),
    };
    int(if up { below + 1 } else { below })
}

/// Python's order of two values that are both there; `None` where NaN takes part.
fn compare(a: (&Value, &Type), b: (&Value, &Type)) -> Option<Ordering> {
    use Value as V;
    // Numbers as fractions over one denominator, so that ints, floats and decimals compare exactly.
    let fraction = |(value, ty): (&Value, &Type)| match (value, ty) {
        (V::Int(int), _) => Some((units_of_int(&BigInt::from(*int)), BigInt::from(1))),
        (V::Float(float), _) if float.is_finite() => Some((units(*float), BigInt::from(1))),
        (V::Decimal(digits), Type::Decimal { scale }) => {
            Some((units_of_int(&BigInt::from(*digits)), BigInt::from(10).pow((*scale).into())))
        }
        _ => None,
    };
    if let (Some((a, a_below)), Some((b, b_below))) = (fraction(a), fraction(b)) {
        return Some((a * b_below).cmp(&(b * a_below)));
    }
    match (a.0, b.0) {
        (V::Float(a), V::Float(b)) => a.partial_cmp(b),
        (V::Float(a), _) => a.partial_cmp(&0.0),
        (_, V::Float(b)) => 0.0.partial_cmp(b),
        (V::Bool(a), V::Bool(b)) => Some(a.cmp(b)),
        (V::Str(a), V::Str(b)) => Some(a.chars().cmp(b.chars())),
        (V::Bytes(a), V::Bytes(b)) => Some(a.cmp(b)),
        (V::Date(a), V::Date(b)) => Some(a.cmp(b)),
        (V::Datetime(a), V::Datetime(b)) => Some(a.cmp(b)),
        (V::Timedelta(a), V::Timedelta(b)) => Some(a.cmp(b)),
        _ => unreachable!("the planner checks types"),
    }
}

/// Python's indices: negative ones count from the end, those outside are moved inside.
fn slice(text: &str, from: &Value, to: &Value) -> String {
    let characters: Vec<char> = text.chars().collect();
    let length = characters.len() as i128;
    let inside = |bound: &Value, open: i128| match bound {
        Value::Int(at) if *at < 0 => (i128::from(*at) + length).max(0),
        Value::Int(at) => i128::from(*at).min(length),
        _ => open,
    };
    let (from, to) = (inside(from, 0), inside(to, length));
    (from..to).map(|index| characters[index as usize]).collect()
}

fn times(function: Function, values: &[Value]) -> Result<Value> {
    use Function as F;
    use Value as V;
    let instant = |micros: i128| match i64::try_from(micros).map(Instant::from_micros) {
        Ok(Ok(at)) => Ok(V::Datetime(at)),
        _ => Err(RANGE),
    };
    let length = |micros: i128| i64::try_from(micros).map(V::Timedelta).map_err(|_| OVERFLOW);
    let micros = |at: &Instant| i128::from(at.micros());
    match (function, values) {
        (F::Add, [V::Datetime(at), V::Timedelta(span)]) | (F::Add, [V::Timedelta(span), V::Datetime(at)]) => {
            instant(micros(at) + i128::from(*span))
        }
        (F::Sub, [V::Datetime(at), V::Timedelta(span)]) => instant(micros(at) - i128::from(*span)),
        (F::Sub, [V::Datetime(a), V::Datetime(b)]) => length(micros(a) - micros(b)),
        (F::Add, [V::Timedelta(a), V::Timedelta(b)]) => length(i128::from(*a) + i128::from(*b)),
        (F::Sub, [V::Timedelta(a), V::Timedelta(b)]) => length(i128::from(*a) - i128::from(*b)),
        (F::Neg, [V::Timedelta(a)]) => length(-i128::from(*a)),
        (F::Abs, [V::Timedelta(a)]) => length(i128::from(*a).abs()),
        (F::TotalSeconds, [V::Timedelta(a)]) => Ok(V::Float(quotient(*a, 1_000_000))),
        // Everything about the calendar as chrono writes it.
        (part, [V::Datetime(at)]) => {
            let text = at.to_string();
            let number = |range: std::ops::Range<usize>| V::Int(text[range].parse().expect("digits of RFC 3339"));
            Ok(match part {
                F::Year => number(0..4),
                F::Month => number(5..7),
                F::Day => number(8..10),
                F::Hour => number(11..13),
                F::Minute => number(14..16),
                F::Second => number(17..19),
                F::DateOf => Value::from_json(&Type::Date, &text[..10].into()).expect("a day"),
                F::Weekday => {
                    let day = chrono::DateTime::from_timestamp_micros(at.micros()).expect("in range");
                    V::Int(chrono::Datelike::weekday(&day).num_days_from_monday().into())
                }
                _ => unreachable!("the planner checks types"),
            })
        }
        _ => unreachable!("`{function:?}` is compared with Python's own answers"),
    }
}
