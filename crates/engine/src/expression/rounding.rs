//! Conversions between numbers: `round`, `math.floor`, `math.ceil`, `int`, `float`.

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type};
use creta_model::{Function, Type};
use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::decimal::{digits_of, divide_half_even};
use super::{Call, Computed, Failure};
use crate::error::EngineError;
use crate::exact::{Parts, ratio_to_f64};

pub(super) fn convert(call: &Call<'_>) -> Result<Computed, EngineError> {
    let a = call.values(0);
    match (call.function, call.types) {
        (Function::ToFloat, [ty]) => to_float(call, ty, a),
        (Function::Round, [ty, Type::Int]) => round_to_digits(call, ty, a),
        (Function::ToInt, [Type::Bool]) => {
            Ok(call.each_row::<_, Int64Array>(|row| Ok(i64::from(a.as_boolean().value(row)))))
        }
        (_, [Type::Int]) => Ok(call.each_row::<_, Int64Array>(|row| Ok(a.as_primitive::<Int64Type>().value(row)))),
        (function, [Type::Float]) => Ok(call.each_row::<_, Int64Array>(|row| {
            let x = a.as_primitive::<Float64Type>().value(row);
            float_to_int(match function {
                Function::Floor => x.floor(),
                Function::Ceil => x.ceil(),
                Function::Round => x.round_ties_even(),
                _ => x.trunc(),
            })
        })),
        (function, [Type::Decimal { scale }]) => {
            let one = 10i128.pow((*scale).into());
            Ok(call.each_row::<_, Int64Array>(|row| {
                let x = a.as_primitive::<Decimal128Type>().value(row);
                let whole = match function {
                    Function::Floor => x.div_euclid(one),
                    Function::Ceil => -(-x).div_euclid(one),
                    Function::Round => divide_half_even(&x.into(), &one.into()).to_i128().ok_or(Failure::Overflow)?,
                    _ => x / one,
                };
                i64::try_from(whole).map_err(|_| Failure::Overflow)
            }))
        }
        _ => Err(call.unsupported()),
    }
}

/// A whole float as an int of 64 bits. NaN and the infinities have no int.
fn float_to_int(whole: f64) -> Result<i64, Failure> {
    if whole.is_nan() {
        Err(Failure::Domain)
    } else if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&whole) {
        Ok(whole as i64)
    } else {
        Err(Failure::Overflow)
    }
}

fn to_float(call: &Call<'_>, ty: &Type, a: &ArrayRef) -> Result<Computed, EngineError> {
    Ok(match ty {
        Type::Bool => call.each_row::<_, Float64Array>(|row| Ok(f64::from(u8::from(a.as_boolean().value(row))))),
        Type::Int => call.each_row::<_, Float64Array>(|row| Ok(a.as_primitive::<Int64Type>().value(row) as f64)),
        Type::Float => call.each_row::<_, Float64Array>(|row| Ok(a.as_primitive::<Float64Type>().value(row))),
        Type::Decimal { scale } => call
            .each_row::<_, Float64Array>(|row| Ok(ratio_to_f64(a.as_primitive::<Decimal128Type>().value(row), *scale))),
        _ => return Err(call.unsupported()),
    })
}

fn round_to_digits(call: &Call<'_>, ty: &Type, a: &ArrayRef) -> Result<Computed, EngineError> {
    let digits = call.values(1).as_primitive::<Int64Type>();
    match (ty, call.ty) {
        (Type::Float, Type::Float) => Ok(call.each_row::<_, Float64Array>(|row| {
            round_float(a.as_primitive::<Float64Type>().value(row), digits.value(row))
        })),
        (Type::Int, Type::Int | Type::Float) => Ok(call
            .each_row::<_, Int64Array>(|row| round_int(a.as_primitive::<Int64Type>().value(row), digits.value(row)))),
        (Type::Decimal { scale }, Type::Decimal { scale: to }) => {
            let a = a.as_primitive::<Decimal128Type>();
            digits_of(call, *to, |row| {
                let places = digits.value(row).clamp(-40, i64::from(*scale)) as i32;
                let unit = BigInt::from(10).pow((i32::from(*scale) - places) as u32);
                let rounded = divide_half_even(&a.value(row).into(), &unit) * unit;
                Ok(divide_half_even(
                    &(rounded * BigInt::from(10).pow((*to).into())),
                    &BigInt::from(10).pow((*scale).into()),
                ))
            })
        }
        _ => Err(call.unsupported()),
    }
}

/// The multiple of `10^-digits` nearest to the int, ties to even.
fn round_int(value: i64, digits: i64) -> Result<i64, Failure> {
    match digits {
        0.. => Ok(value),
        // Half of 10^20 is beyond 64 bits, so everything rounds to 0.
        ..=-20 => Ok(0),
        _ => {
            let unit = BigInt::from(10).pow(digits.unsigned_abs() as u32);
            (divide_half_even(&value.into(), &unit) * unit).to_i64().ok_or(Failure::Overflow)
        }
    }
}

/// The double nearest to the multiple of `10^-digits` that is nearest to the exact value of `value`, ties to even.
fn round_float(value: f64, digits: i64) -> Result<f64, Failure> {
    let Some(parts) = Parts::of_float(value) else { return Ok(value) };
    // Beyond these every double has fewer digits, or lies below half a unit.
    if digits > 323 || value == 0.0 {
        return Ok(value);
    }
    if digits < -308 {
        return Ok(0f64.copysign(value));
    }
    let mut numerator = BigInt::from(parts.mantissa);
    let mut denominator = BigInt::from(1);
    *(if digits < 0 { &mut denominator } else { &mut numerator }) *= BigInt::from(10).pow(digits.unsigned_abs() as u32);
    *(if parts.exponent < 0 { &mut denominator } else { &mut numerator }) <<= parts.exponent.unsigned_abs();
    let whole = divide_half_even(&numerator, &denominator);
    let text = format!("{whole}e{}", -digits);
    let rounded: f64 = text.parse().expect("digits and an exponent are a float");
    if rounded.is_infinite() {
        return Err(Failure::Overflow);
    }
    Ok(rounded.copysign(value))
}
