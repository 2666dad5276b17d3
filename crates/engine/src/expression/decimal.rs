//! Arithmetic of decimals: exact, then rounded half to even to the scale of the result.

use std::sync::Arc;

use arrow::array::{AsArray, Decimal128Array};
use arrow::datatypes::{Decimal128Type, Int64Type};
use creta_compiler::numbers::half_even;
use creta_model::{Function, Type};
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

use super::{Call, Computed, Failure};
use crate::error::EngineError;

/// A decimal column from unscaled results; more than 38 digits are an overflow.
pub(super) fn digits_of(
    call: &Call<'_>,
    scale: u8,
    mut of: impl FnMut(usize) -> Result<BigInt, Failure>,
) -> Result<Computed, EngineError> {
    let computed = call.each_row::<_, Decimal128Array>(|row| in_38_digits(&of(row)?).ok_or(Failure::Overflow));
    let values = computed.values.as_primitive::<Decimal128Type>().clone().with_precision_and_scale(38, scale as i8)?;
    Ok(Computed { values: Arc::new(values), ..computed })
}

pub(crate) fn in_38_digits(unscaled: &BigInt) -> Option<i128> {
    unscaled.to_i128().filter(|unscaled| unscaled.unsigned_abs() < 10u128.pow(38))
}

/// The unscaled integer of a row.
type Unscaled<'a> = Box<dyn Fn(usize) -> BigInt + 'a>;

/// A decimal or int as unscaled integer and scale.
fn operand<'a>(call: &Call<'a>, index: usize) -> Option<(Unscaled<'a>, u8)> {
    let values = call.values(index);
    match call.types[index] {
        Type::Decimal { scale } => {
            let values = values.as_primitive::<Decimal128Type>();
            Some((Box::new(|row| values.value(row).into()), *scale))
        }
        Type::Int => {
            let values = values.as_primitive::<Int64Type>();
            Some((Box::new(|row| values.value(row).into()), 0))
        }
        _ => None,
    }
}

fn ten_to(digits: u8) -> BigInt {
    BigInt::from(10).pow(digits.into())
}

pub(super) fn arithmetic(call: &Call<'_>) -> Result<Computed, EngineError> {
    let Type::Decimal { scale: to } = *call.ty else { return Err(call.unsupported()) };
    let (a, a_scale) = operand(call, 0).ok_or_else(|| call.unsupported())?;
    if call.cells.len() == 1 && matches!(call.function, Function::Neg | Function::Abs) && a_scale == to {
        let negate = call.function == Function::Neg;
        return digits_of(call, to, |row| Ok(if negate { -a(row) } else { a(row).abs() }));
    }
    if call.cells.len() != 2 || call.function == Function::Pow {
        return Err(call.unsupported());
    }
    let (b, b_scale) = operand(call, 1).ok_or_else(|| call.unsupported())?;
    let common = a_scale.max(b_scale);
    let (up_a, up_b) = (ten_to(common - a_scale), ten_to(common - b_scale));
    let (to_unit, common_unit) = (ten_to(to), ten_to(common));
    let product_unit = ten_to(a_scale) * ten_to(b_scale);
    digits_of(call, to, |row| {
        let (x, y) = (a(row) * &up_a, b(row) * &up_b);
        let at_common = match call.function {
            Function::Add => x + y,
            Function::Sub => x - y,
            Function::Mul => return Ok(half_even(&(a(row) * b(row) * &to_unit), &product_unit)),
            _ if y.is_zero() => return Err(Failure::DivisionByZero),
            Function::Div => return Ok(half_even(&(x * &to_unit), &y)),
            // Unlike ints, Python's decimals divide towards zero and their remainder takes the sign of the dividend.
            Function::FloorDiv => return Ok(x / y * &to_unit),
            _ => x % y,
        };
        Ok(half_even(&(at_common * &to_unit), &common_unit))
    })
}
