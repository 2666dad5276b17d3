//! Operators, with Python's meaning for every pair of types that the checker lets through.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::numbers;
use crate::raised::{Outcome, Raised};
use crate::text::{self, sized};
use crate::times;
use crate::value::{Value, equal, same_item};

/// An operator between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `//`
    FloorDiv,
    /// `%`
    Mod,
    /// `**`
    Pow,
    /// `&`
    BitAnd,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `is`
    Is,
    /// `is not`
    IsNot,
    /// `in`
    In,
    /// `not in`
    NotIn,
}

/// An operator before one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unary {
    /// `-`
    Neg,
    /// `+`
    Pos,
    /// `~`
    Invert,
    /// `not`
    Not,
}

/// `a op b`.
#[inline]
pub(crate) fn binary(op: Binary, a: &Value, b: &Value) -> Outcome<Value> {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => floats(op, *a, *b),
        (Value::Int(a), Value::Int(b)) => ints(op, *a, *b),
        _ => mixed(op, a, b),
    }
}

fn floats(op: Binary, a: f64, b: f64) -> Outcome<Value> {
    Ok(Value::Float(match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => numbers::divide(a, b)?,
        Binary::FloorDiv => numbers::floor_division(a, b)?.0,
        Binary::Mod => numbers::modulo_floats(a, b)?,
        Binary::Pow => numbers::power(a, b)?,
        _ => return Err(Raised::TYPE),
    }))
}

fn ints(op: Binary, a: i64, b: i64) -> Outcome<Value> {
    Ok(Value::Int(match op {
        Binary::Add => numbers::add(a, b)?,
        Binary::Sub => numbers::sub(a, b)?,
        Binary::Mul => numbers::mul(a, b)?,
        Binary::Div => return numbers::divide_ints(a, b).map(Value::Float),
        Binary::FloorDiv => numbers::floor_div(a, b)?,
        Binary::Mod => numbers::modulo(a, b)?,
        Binary::Pow => return numbers::power_ints(a, b).map(|power| power.map_or_else(Value::Float, Value::Int)),
        Binary::BitAnd => a & b,
        Binary::BitOr => a | b,
        Binary::BitXor => a ^ b,
        Binary::ShiftLeft if b < 0 => return Err(Raised::VALUE),
        Binary::ShiftRight if b < 0 => return Err(Raised::VALUE),
        Binary::ShiftLeft if a == 0 => 0,
        Binary::ShiftLeft if b < 63 && (a << b) >> b == a => a << b,
        Binary::ShiftLeft => return Err(Raised::INT),
        Binary::ShiftRight => a >> b.min(63),
    }))
}

fn mixed(op: Binary, a: &Value, b: &Value) -> Outcome<Value> {
    use Value as V;
    match (a, b) {
        (V::Bool(a), V::Bool(b)) if matches!(op, Binary::BitAnd | Binary::BitOr | Binary::BitXor) => {
            Ok(V::Bool(match op {
                Binary::BitAnd => a & b,
                Binary::BitOr => a | b,
                _ => a ^ b,
            }))
        }
        (V::Bool(_) | V::Int(_), V::Bool(_) | V::Int(_)) => {
            ints(op, a.as_int().expect("an int"), b.as_int().expect("an int"))
        }
        (V::Float(_) | V::Bool(_) | V::Int(_), V::Float(_) | V::Bool(_) | V::Int(_)) => {
            floats(op, a.as_float().expect("a number"), b.as_float().expect("a number"))
        }
        (V::Str(a), V::Str(b)) if op == Binary::Add => concatenated(a, b),
        (V::Str(text), V::Int(_) | V::Bool(_)) | (V::Int(_) | V::Bool(_), V::Str(text)) if op == Binary::Mul => {
            let count = a.as_int().or(b.as_int()).expect("a count");
            let times = usize::try_from(count).unwrap_or(0);
            sized(text.len().checked_mul(times))?;
            Ok(V::text(&text.repeat(times)))
        }
        (V::Str(_), _) if op == Binary::Mod => Err(Raised::NOT_COMPILED),
        (V::List(a), V::List(b)) if op == Binary::Add => joined(a, b).map(V::List),
        (V::Tuple(a), V::Tuple(b)) if op == Binary::Add => joined(a, b).map(V::Tuple),
        (V::List(_) | V::Tuple(_), V::Int(_) | V::Bool(_)) | (V::Int(_) | V::Bool(_), V::List(_) | V::Tuple(_))
            if op == Binary::Mul =>
        {
            Err(Raised::NOT_COMPILED)
        }
        (V::Set(_), V::Set(_)) | (V::Dict(_), V::Dict(_)) => Err(Raised::NOT_COMPILED),
        _ => of_times(op, a, b),
    }
}

fn concatenated(a: &str, b: &str) -> Outcome<Value> {
    let mut text = String::with_capacity(sized(a.len().checked_add(b.len()))?);
    text.push_str(a);
    text.push_str(b);
    Ok(Value::Str(text.into()))
}

fn joined(a: &[Value], b: &[Value]) -> Outcome<Arc<[Value]>> {
    sized(a.len().checked_add(b.len()))?;
    Ok(a.iter().chain(b).cloned().collect())
}

fn of_times(op: Binary, a: &Value, b: &Value) -> Outcome<Value> {
    use Binary::{Add, Div, FloorDiv, Mod, Mul, Sub};
    use Value::{Bool, Date, Datetime, Float, Int, Timedelta};
    match (op, a, b) {
        (Add, Datetime(at), Timedelta(by)) | (Add, Timedelta(by), Datetime(at)) => times::instant(at.checked_add(*by)),
        (Sub, Datetime(at), Timedelta(by)) => times::instant(at.checked_sub(*by)),
        // Only whole days count, and a negative length has one more of them.
        (Add, Date(day), Timedelta(by)) | (Add, Timedelta(by), Date(day)) => {
            times::day(i64::from(*day) + by.div_euclid(times::DAY))
        }
        // `date - timedelta` adds the days of the negative one: `-by.days`, not the days of `-by`.
        (Sub, Date(day), Timedelta(by)) => times::day(i64::from(*day) - by.div_euclid(times::DAY)),
        (Add, Timedelta(a), Timedelta(b)) => times::length(a.checked_add(*b)),
        (Sub, Timedelta(a), Timedelta(b)) => times::length(a.checked_sub(*b)),
        (Sub, Datetime(a), Datetime(b)) => times::length(a.checked_sub(*b)),
        // Python takes the time of day away, or not, depending on which side is which.
        (Sub, Date(_), Datetime(_)) | (Sub, Datetime(_), Date(_)) => Err(Raised::NOT_COMPILED),
        (Sub, Date(a), Date(b)) => times::length((i64::from(*a) - i64::from(*b)).checked_mul(times::DAY)),
        (Mul, Timedelta(length), Int(_) | Bool(_)) => times::times(*length, b.as_int().expect("an int")),
        (Mul, Int(_) | Bool(_), Timedelta(length)) => times::times(*length, a.as_int().expect("an int")),
        (Mul, Timedelta(_), Float(_)) | (Mul, Float(_), Timedelta(_)) | (Div, Timedelta(_), Float(_)) => {
            Err(Raised::Beyond("a timedelta times a float"))
        }
        (Div, Timedelta(length), Int(_) | Bool(_)) => times::divided(*length, b.as_int().expect("an int")),
        (FloorDiv, Timedelta(length), Int(_) | Bool(_)) => {
            numbers::floor_div(*length, b.as_int().expect("an int")).map(Timedelta)
        }
        (Div, Timedelta(a), Timedelta(b)) => numbers::divide_ints(*a, *b).map(Float),
        (FloorDiv, Timedelta(a), Timedelta(b)) => numbers::floor_div(*a, *b).map(Int),
        (Mod, Timedelta(a), Timedelta(b)) => numbers::modulo(*a, *b).map(Timedelta),
        _ => Err(Raised::TYPE),
    }
}

/// `op a`.
pub(crate) fn unary(op: Unary, a: &Value) -> Outcome<Value> {
    Ok(match (op, a) {
        (Unary::Not, _) => Value::Bool(!a.truth()),
        (Unary::Neg, Value::Float(float)) => Value::Float(-float),
        (Unary::Pos, Value::Float(float)) => Value::Float(*float),
        (Unary::Neg, Value::Timedelta(micros)) => times::length(micros.checked_neg())?,
        (Unary::Pos, Value::Timedelta(micros)) => Value::Timedelta(*micros),
        (op, Value::Int(_) | Value::Bool(_)) => {
            let int = a.as_int().expect("an int");
            Value::Int(match op {
                Unary::Neg => int.checked_neg().ok_or(Raised::INT)?,
                Unary::Invert => !int,
                _ => int,
            })
        }
        _ => return Err(Raised::TYPE),
    })
}

/// `a op b` as a bool.
#[inline]
pub(crate) fn compare(op: Comparison, a: &Value, b: &Value) -> Outcome<bool> {
    Ok(match op {
        Comparison::Eq => equal(a, b)?,
        Comparison::Ne => !equal(a, b)?,
        Comparison::Is => a.is_same(b),
        Comparison::IsNot => !a.is_same(b),
        Comparison::In => contains(b, a)?,
        Comparison::NotIn => !contains(b, a)?,
        Comparison::Lt => order(a, b)? == Some(Ordering::Less),
        Comparison::Gt => order(a, b)? == Some(Ordering::Greater),
        Comparison::Le => matches!(order(a, b)?, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Ge => matches!(order(a, b)?, Some(Ordering::Greater | Ordering::Equal)),
    })
}

/// How two values are ordered; `None` beside a NaN, `TypeError` where there is no order.
pub(crate) fn order(a: &Value, b: &Value) -> Outcome<Option<Ordering>> {
    use Value as V;
    Ok(match (a, b) {
        (V::Float(a), V::Float(b)) => a.partial_cmp(b),
        (V::Int(a), V::Int(b)) => Some(a.cmp(b)),
        (V::Str(a), V::Str(b)) => Some(a.cmp(b)),
        (V::Int(_) | V::Bool(_), V::Int(_) | V::Bool(_)) => Some(a.as_int().cmp(&b.as_int())),
        (V::Int(_) | V::Bool(_), V::Float(b)) => numbers::compare_int_float(a.as_int().expect("an int"), *b),
        (V::Float(a), V::Int(_) | V::Bool(_)) => {
            numbers::compare_int_float(b.as_int().expect("an int"), *a).map(Ordering::reverse)
        }
        (V::Date(a), V::Date(b)) => Some(a.cmp(b)),
        (V::Datetime(a), V::Datetime(b)) | (V::Timedelta(a), V::Timedelta(b)) => Some(a.cmp(b)),
        (V::List(a), V::List(b)) | (V::Tuple(a), V::Tuple(b)) => {
            for (a, b) in a.iter().zip(b.iter()) {
                if !same_item(a, b)? {
                    return order(a, b);
                }
            }
            Some(a.len().cmp(&b.len()))
        }
        (V::Set(_), V::Set(_)) => return Err(Raised::NOT_COMPILED),
        _ => return Err(Raised::TYPE),
    })
}

/// `item in container`.
pub(crate) fn contains(container: &Value, item: &Value) -> Outcome<bool> {
    match container {
        Value::Str(text) => match item {
            Value::Str(part) => Ok(text.contains(&**part)),
            _ => Err(Raised::TYPE),
        },
        Value::List(items) | Value::Tuple(items) => {
            for own in items.iter() {
                if same_item(own, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        // A set asked for a set looks for it as a frozenset.
        Value::Set(_) if matches!(item, Value::Set(_)) => Err(Raised::NOT_COMPILED),
        Value::Set(table) | Value::Dict(table) => Ok(table.find(item)?.is_some()),
        _ => Err(Raised::TYPE),
    }
}

/// `container[at]`.
pub(crate) fn index(container: &Value, at: &Value) -> Outcome<Value> {
    match container {
        Value::Dict(table) => {
            let found = table.find(at)?.ok_or(Raised::KEY)?;
            Ok(table.values[found].clone())
        }
        Value::Str(text) => text::letter(text, at.as_int().ok_or(Raised::TYPE)?),
        Value::List(items) | Value::Tuple(items) => {
            let at = text::position(items.len(), at.as_int().ok_or(Raised::TYPE)?).ok_or(Raised::INDEX)?;
            Ok(items[at].clone())
        }
        _ => Err(Raised::TYPE),
    }
}

/// `container[start:stop:step]`.
pub(crate) fn sliced(container: &Value, start: &Value, stop: &Value, step: &Value) -> Outcome<Value> {
    let bound = |value: &Value| match value {
        Value::None | Value::Unbound => Ok(None),
        other => other.as_int().map(Some).ok_or(Raised::TYPE),
    };
    let items = match container {
        Value::Str(_) => None,
        Value::List(items) | Value::Tuple(items) => Some(items),
        _ => return Err(Raised::TYPE),
    };
    // CPython looks at the step first, then at the bounds.
    let step = bound(step)?.unwrap_or(1);
    if step == 0 {
        return Err(Raised::VALUE);
    }
    let (start, stop) = (bound(start)?, bound(stop)?);
    match (container, items) {
        (Value::Str(text), _) => Ok(text::sliced(text, start, stop, step)),
        (_, Some(items)) => {
            let (from, count) = text::slice(items.len(), start, stop, step);
            let picked = (0..count as i64).map(|n| items[(from + n * step) as usize].clone()).collect();
            Ok(if matches!(container, Value::List(_)) { Value::List(picked) } else { Value::Tuple(picked) })
        }
        _ => Err(Raised::TYPE),
    }
}
