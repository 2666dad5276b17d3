//! Aggregations, one fact after the other.

use std::cmp::Ordering;

use creta_model::{Aggregate, FeatureId, Type, Value};
use creta_planner::{Aggregation, BoundExpr, KeyColumn};
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};

use super::exact::{nearest_double, units, units_of_int};
use super::{At, Cell, Fact, expression, visible};

/// One aggregation over the facts with this key between `as_of - span` and `as_of` (rules S3, S4, S13, S26).
pub fn window(
    history: &[Fact],
    key: &[(FeatureId, Value)],
    columns: &[KeyColumn],
    aggregation: &Aggregation,
    at: At,
) -> Cell {
    let mut values = Vec::new();
    let mut count = 0;
    for fact in visible(history, at.known_as_of) {
        let from = at.as_of.micros() - aggregation.span.micros();
        let before_end = fact.event_time < at.as_of || (aggregation.include_now && fact.event_time == at.as_of);
        if !fact.has_key(key) || fact.event_time.micros() < from || !before_end {
            continue;
        }
        let column = |index: usize| {
            let observed = fact.values.get(&columns[index].feature).cloned();
            observed.map_or(Cell::Null, Cell::observed)
        };
        match aggregation.filter.as_ref().map(|filter| expression(filter, &column)) {
            None | Some(Cell::Value(Value::Bool(true))) => {}
            Some(Cell::Error(code)) => return Cell::Error(code),
            Some(_) => continue,
        }
        match aggregation.value.as_ref().map(|value| expression(value, &column)) {
            None => count += 1,
            Some(Cell::Value(value)) => {
                count += 1;
                values.push(value);
            }
            Some(Cell::Error(code)) => return Cell::Error(code),
            Some(_) => {}
        }
    }
    aggregate(aggregation, count, &values)
}

fn aggregate(aggregation: &Aggregation, count: i64, values: &[Value]) -> Cell {
    let ty = aggregation.value.as_ref().map(BoundExpr::ty);
    match aggregation.aggregate {
        Aggregate::Count => Cell::Value(Value::Int(count)),
        Aggregate::Distinct => {
            let mut different: Vec<&Value> = Vec::new();
            for value in values {
                if !different.iter().any(|other| same(other, value)) {
                    different.push(value);
                }
            }
            Cell::Value(Value::Int(different.len() as i64))
        }
        _ if values.is_empty() => Cell::Missing,
        Aggregate::First => Cell::Value(values[0].clone()),
        Aggregate::Last => Cell::Value(values[values.len() - 1].clone()),
        Aggregate::LastN { n } => Cell::Value(Value::List(values[values.len().saturating_sub(n as usize)..].to_vec())),
        Aggregate::Min => extreme(values, less),
        Aggregate::Max => extreme(values, |new, best| less(best, new)),
        Aggregate::Sum => sum(ty, values),
        Aggregate::Mean => mean(ty, values),
        Aggregate::Percentile { thousandths } => percentile(ty, values, thousandths),
        Aggregate::Var => variance(values).map_or(Cell::Missing, float),
        Aggregate::Std => variance(values).map_or(Cell::Missing, |variance| float(variance.sqrt())),
    }
}

fn float(value: f64) -> Cell {
    Cell::Value(Value::Float(value))
}

/// -0 is 0 and NaN is NaN.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
        _ => a == b,
    }
}

fn extreme(values: &[Value], better: impl Fn(&Value, &Value) -> bool) -> Cell {
    let mut best = &values[0];
    for value in values {
        if better(value, best) {
            best = value;
        }
    }
    Cell::Value(best.clone())
}

fn less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a < b,
        (Value::Int(a), Value::Int(b)) | (Value::Timedelta(a), Value::Timedelta(b)) => a < b,
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b).is_lt(),
        (Value::Str(a), Value::Str(b)) => a < b,
        (Value::Bytes(a), Value::Bytes(b)) => a < b,
        (Value::Decimal(a), Value::Decimal(b)) => a < b,
        (Value::Date(a), Value::Date(b)) => a < b,
        (Value::Datetime(a), Value::Datetime(b)) => a < b,
        _ => unreachable!("values of one ordered type"),
    }
}

/// The sum of numbers that are not finite, as IEEE 754 has it.
fn special(values: &[Value]) -> Option<f64> {
    let floats = values.iter().filter_map(|value| if let Value::Float(float) = value { Some(*float) } else { None });
    let special: Vec<f64> = floats.filter(|float| !float.is_finite()).collect();
    if special.is_empty() { None } else { Some(special.iter().sum()) }
}

fn whole(value: &Value) -> BigInt {
    match value {
        Value::Int(int) | Value::Timedelta(int) => BigInt::from(*int),
        Value::Decimal(unscaled) => BigInt::from(*unscaled),
        _ => unreachable!("whole numbers only"),
    }
}

/// In units of 2^-1074.
fn fine(value: &Value) -> BigInt {
    match value {
        Value::Float(float) => units(*float),
        other => units_of_int(&whole(other)),
    }
}

fn sum(ty: Option<&Type>, values: &[Value]) -> Cell {
    if let Some(special) = special(values) {
        return float(special);
    }
    if ty == Some(&Type::Float) {
        return float(nearest_double(&values.iter().map(fine).sum(), &BigInt::from(1)));
    }
    exactly(ty, values.iter().map(whole).sum())
}

/// A whole number as a value of the type.
fn exactly(ty: Option<&Type>, number: BigInt) -> Cell {
    let value = match ty {
        Some(Type::Int) => number.to_i64().map(Value::Int),
        Some(Type::Timedelta) => number.to_i64().map(Value::Timedelta),
        _ => number.to_i128().filter(|digits| digits.unsigned_abs() < 10u128.pow(38)).map(Value::Decimal),
    };
    value.map_or(Cell::Error("arithmetic/overflow".into()), Cell::Value)
}

fn mean(ty: Option<&Type>, values: &[Value]) -> Cell {
    if let Some(special) = special(values) {
        return float(special);
    }
    let count = BigInt::from(values.len());
    if matches!(ty, Some(Type::Float | Type::Int)) {
        return float(nearest_double(&values.iter().map(fine).sum(), &count));
    }
    exactly(ty, nearest_whole(&values.iter().map(whole).sum(), &count))
}

/// At place `(n - 1) * percent` in their order, or in proportion between the two values around it.
fn percentile(ty: Option<&Type>, values: &[Value], thousandths: u32) -> Cell {
    let mut sorted: Vec<&Value> = values.iter().collect();
    sorted.sort_by(|a, b| {
        if less(a, b) {
            Ordering::Less
        } else if less(b, a) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    });
    let place = (values.len() as u128 - 1) * u128::from(thousandths);
    let (index, part) = ((place / 100_000) as usize, (place % 100_000) as i64);
    let low = sorted[index];
    let high = if part == 0 { low } else { sorted[index + 1] };
    let (less_of_it, more_of_it, all) = (BigInt::from(100_000 - part), BigInt::from(part), BigInt::from(100_000));
    match (ty, low, high) {
        (Some(Type::Float), Value::Float(a), Value::Float(b)) => {
            if a.to_bits() == b.to_bits() {
                float(*a)
            } else if let Some(special) = special(&[low.clone(), high.clone()]) {
                float(special)
            } else {
                float(nearest_double(&(fine(low) * less_of_it + fine(high) * more_of_it), &all))
            }
        }
        (Some(Type::Int), ..) => float(nearest_double(&(fine(low) * less_of_it + fine(high) * more_of_it), &all)),
        _ => exactly(ty, nearest_whole(&(whole(low) * less_of_it + whole(high) * more_of_it), &all)),
    }
}

/// The whole number nearest to a quotient.
fn nearest_whole(sum: &BigInt, count: &BigInt) -> BigInt {
    // It is one of the two around the quotient; of two equally near ones the even one.
    let (below, above): (BigInt, BigInt) = (sum / count - 1, sum / count + 1);
    let mut best = below.clone();
    let mut candidate = below;
    while candidate <= above {
        let (new, old) = ((&candidate * count - sum).abs(), (&best * count - sum).abs());
        if new < old || (new == old && !candidate.bit(0)) {
            best = candidate.clone();
        }
        candidate += 1;
    }
    best
}

/// `(n·Σx² - (Σx)²) / (n·(n-1))`, rounded once.
fn variance(values: &[Value]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    if special(values).is_some() {
        return Some(f64::NAN);
    }
    let n = BigInt::from(values.len());
    let sum: BigInt = values.iter().map(fine).sum();
    let squares: BigInt = values.iter().map(|value| fine(value) * fine(value)).sum();
    // Squares are in units of 2^-2148; the other half of the unit goes to the denominator.
    let denominator = units_of_int(&(&n * (&n - 1)));
    Some(nearest_double(&(&n * squares - &sum * &sum), &denominator))
}
