//! Comparisons, `min` and `max` as Python does them: exact between ints, floats and decimals; NaN equals nothing.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute;
use arrow::datatypes::{
    Date32Type, Decimal128Type, DurationMicrosecondType, Float64Type, Int64Type, TimestampMicrosecondType,
};
use creta_compiler::numbers::compare_int_float;
use creta_model::{Function, Type};
use num_bigint::BigInt;

use super::{Call, Computed};
use crate::error::EngineError;
use crate::exact::Parts;
use crate::value::read_value;

/// A decimal against a float without rounding either; `None` for NaN.
fn compare_decimal_float(unscaled: i128, scale: u8, float: f64) -> Option<Ordering> {
    let Some(parts) = Parts::of_float(float) else {
        return if float.is_nan() { None } else { 0f64.partial_cmp(&float) };
    };
    let mantissa = BigInt::from(parts.mantissa) * if parts.negative { -1 } else { 1 };
    let (mut left, mut right) = (BigInt::from(unscaled), mantissa * BigInt::from(10).pow(scale.into()));
    if parts.exponent < 0 {
        left <<= -parts.exponent;
    } else {
        right <<= parts.exponent;
    }
    Some(left.cmp(&right))
}

type Comparison<'a> = Box<dyn Fn(usize) -> Option<Ordering> + 'a>;

/// How two columns compare row by row, for rows in which both have values; `None` if such types have no order.
fn ordering<'a>(left: (&Type, &'a ArrayRef), right: (&Type, &'a ArrayRef)) -> Option<Comparison<'a>> {
    macro_rules! natural {
        ($array:ident $(::<$generic:ty>)?) => {{
            let (a, b) = (left.1.$array$(::<$generic>)?(), right.1.$array$(::<$generic>)?());
            Box::new(move |row| Some(a.value(row).cmp(&b.value(row))))
        }};
    }
    let reversed =
        |comparison: Comparison<'a>| -> Comparison<'a> { Box::new(move |row| comparison(row).map(Ordering::reverse)) };
    Some(match (left.0, right.0) {
        (Type::Int, Type::Int) => natural!(as_primitive::<Int64Type>),
        (Type::Float, Type::Float) => {
            let (a, b) = (left.1.as_primitive::<Float64Type>(), right.1.as_primitive::<Float64Type>());
            Box::new(move |row| a.value(row).partial_cmp(&b.value(row)))
        }
        (Type::Int, Type::Float) => {
            let (a, b) = (left.1.as_primitive::<Int64Type>(), right.1.as_primitive::<Float64Type>());
            Box::new(move |row| compare_int_float(a.value(row), b.value(row)))
        }
        (Type::Decimal { scale }, Type::Float) => {
            let (a, b) = (left.1.as_primitive::<Decimal128Type>(), right.1.as_primitive::<Float64Type>());
            let scale = *scale;
            Box::new(move |row| compare_decimal_float(a.value(row), scale, b.value(row)))
        }
        (Type::Decimal { scale: a_scale }, Type::Decimal { scale: b_scale }) => {
            let (a, b) = (left.1.as_primitive::<Decimal128Type>(), right.1.as_primitive::<Decimal128Type>());
            let common = *a_scale.max(b_scale);
            let (up_a, up_b) = (ten_to(common - a_scale), ten_to(common - b_scale));
            Box::new(move |row| Some((BigInt::from(a.value(row)) * &up_a).cmp(&(BigInt::from(b.value(row)) * &up_b))))
        }
        (Type::Decimal { scale }, Type::Int) => {
            let (a, b) = (left.1.as_primitive::<Decimal128Type>(), right.1.as_primitive::<Int64Type>());
            let up = ten_to(*scale);
            Box::new(move |row| Some(BigInt::from(a.value(row)).cmp(&(BigInt::from(b.value(row)) * &up))))
        }
        (Type::Float, Type::Int | Type::Decimal { .. }) | (Type::Int, Type::Decimal { .. }) => {
            reversed(ordering(right, left)?)
        }
        (Type::Bool, Type::Bool) => natural!(as_boolean),
        (Type::Str | Type::Enum { .. }, Type::Str | Type::Enum { .. }) => natural!(as_string::<i32>),
        (Type::Bytes, Type::Bytes) => natural!(as_binary::<i32>),
        (Type::Date, Type::Date) => natural!(as_primitive::<Date32Type>),
        (Type::Datetime, Type::Datetime) => natural!(as_primitive::<TimestampMicrosecondType>),
        (Type::Timedelta, Type::Timedelta) => natural!(as_primitive::<DurationMicrosecondType>),
        _ => return None,
    })
}

fn ten_to(digits: u8) -> BigInt {
    BigInt::from(10).pow(digits.into())
}

pub(super) fn compare(call: &Call<'_>) -> Result<Computed, EngineError> {
    let [left, right] = call.types else { return Err(call.unsupported()) };
    let (a, b) = (call.values(0), call.values(1));
    if let Some(ordering) = ordering((left, a), (right, b)) {
        let holds = |ordering: Option<Ordering>| match call.function {
            Function::Eq => ordering == Some(Ordering::Equal),
            Function::Ne => ordering != Some(Ordering::Equal),
            Function::Lt => ordering == Some(Ordering::Less),
            Function::Le => ordering.is_some_and(Ordering::is_le),
            Function::Gt => ordering == Some(Ordering::Greater),
            _ => ordering.is_some_and(Ordering::is_ge),
        };
        return Ok(call.each_row::<_, BooleanArray>(|row| Ok(holds(ordering(row)))));
    }
    match call.function {
        Function::Eq | Function::Ne if left == right => Ok(call.each_row::<_, BooleanArray>(|row| {
            Ok((read_value(a, left, row) == read_value(b, right, row)) == (call.function == Function::Eq))
        })),
        _ => Err(call.unsupported()),
    }
}

/// Python keeps the first of several equal ones, and replaces it only by one that compares smaller (greater).
pub(super) fn extreme(call: &Call<'_>) -> Result<Computed, EngineError> {
    let Some(complete) = call.types.iter().all(|ty| *ty == call.ty).then(|| call.complete()) else {
        return Err(call.unsupported());
    };
    let better = if call.function == Function::Min { Ordering::Less } else { Ordering::Greater };
    let mut best = vec![0; call.rows];
    for candidate in 1..call.cells.len() {
        for holder in 0..candidate {
            let of = |index: usize| (call.types[index], call.values(index));
            let ordering = ordering(of(candidate), of(holder)).ok_or_else(|| call.unsupported())?;
            for (row, best) in best.iter_mut().enumerate().filter(|(_, best)| **best == holder) {
                let valid = complete.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                if valid && ordering(row) == Some(better) {
                    *best = candidate;
                }
            }
        }
    }
    let sources: Vec<&dyn Array> = call.cells.iter().map(|cells| cells.values().as_ref()).collect();
    let picked: Vec<(usize, usize)> = best.into_iter().enumerate().map(|(row, best)| (best, row)).collect();
    let values = compute::interleave(&sources, &picked)?;
    let indices: UInt32Array = (0..call.rows as u32)
        .map(|row| complete.as_ref().is_none_or(|nulls| nulls.is_valid(row as usize)).then_some(row))
        .collect();
    Ok(Computed { values: compute::take(&values, &indices, None)?, failures: Vec::new() })
}
