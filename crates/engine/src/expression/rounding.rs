//! Conversions between numbers: `round`, `math.floor`, `math.ceil`, `int`, `float`.

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type};
use creta_compiler::numbers::{self, half_even};
use creta_model::{Function, Type};
use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::decimal::digits_of;
use super::{Call, Computed, Failure};
use crate::error::EngineError;
use crate::exact::ratio_to_f64;

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
            Ok(numbers::whole(match function {
                Function::Floor => x.floor(),
                Function::Ceil => x.ceil(),
                Function::Round => x.round_ties_even(),
                _ => x.trunc(),
            })?)
        })),
        (function, [Type::Decimal { scale }]) => {
            let one = 10i128.pow((*scale).into());
            Ok(call.each_row::<_, Int64Array>(|row| {
                let x = a.as_primitive::<Decimal128Type>().value(row);
                let whole = match function {
                    Function::Floor => x.div_euclid(one),
                    Function::Ceil => -(-x).div_euclid(one),
                    Function::Round => half_even(&x.into(), &one.into()).to_i128().ok_or(Failure::Overflow)?,
                    _ => x / one,
                };
                i64::try_from(whole).map_err(|_| Failure::Overflow)
            }))
        }
        _ => Err(call.unsupported()),
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
            Ok(numbers::round_float(a.as_primitive::<Float64Type>().value(row), digits.value(row))?)
        })),
        (Type::Int, Type::Int | Type::Float) => Ok(call.each_row::<_, Int64Array>(|row| {
            Ok(numbers::round_int(a.as_primitive::<Int64Type>().value(row), digits.value(row))?)
        })),
        (Type::Decimal { scale }, Type::Decimal { scale: to }) => {
            let a = a.as_primitive::<Decimal128Type>();
            digits_of(call, *to, |row| {
                let places = digits.value(row).clamp(-40, i64::from(*scale)) as i32;
                let unit = BigInt::from(10).pow((i32::from(*scale) - places) as u32);
                let rounded = half_even(&a.value(row).into(), &unit) * unit;
                Ok(half_even(&(rounded * BigInt::from(10).pow((*to).into())), &BigInt::from(10).pow((*scale).into())))
            })
        }
        _ => Err(call.unsupported()),
    }
}
