//! Arithmetic of ints and floats as Python does it.

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type};
use creta_compiler::numbers;
use creta_model::{Function, Type};

use super::{Call, Computed, Failure};
use crate::error::EngineError;

/// A column of numbers, ints widened to floats on demand.
pub(super) enum Numbers<'a> {
    Ints(&'a Int64Array),
    Floats(&'a Float64Array),
}

impl<'a> Numbers<'a> {
    pub(super) fn of(ty: &Type, values: &'a ArrayRef) -> Option<Self> {
        match ty {
            Type::Int => Some(Self::Ints(values.as_primitive::<Int64Type>())),
            Type::Float => Some(Self::Floats(values.as_primitive::<Float64Type>())),
            _ => None,
        }
    }

    pub(super) fn float(&self, row: usize) -> f64 {
        match self {
            Self::Ints(values) => values.value(row) as f64,
            Self::Floats(values) => values.value(row),
        }
    }
}

pub(super) fn arithmetic(call: &Call<'_>) -> Result<Computed, EngineError> {
    let number = |index: usize| Numbers::of(call.types[index], call.values(index)).ok_or_else(|| call.unsupported());
    match call.function {
        Function::Neg | Function::Abs if call.cells.len() == 1 => Ok(match (number(0)?, call.function) {
            (Numbers::Ints(a), Function::Neg) => {
                call.each_row::<_, Int64Array>(|row| a.value(row).checked_neg().ok_or(Failure::Overflow))
            }
            (Numbers::Ints(a), _) => {
                call.each_row::<_, Int64Array>(|row| a.value(row).checked_abs().ok_or(Failure::Overflow))
            }
            (Numbers::Floats(a), Function::Neg) => call.each_row::<_, Float64Array>(|row| Ok(-a.value(row))),
            (Numbers::Floats(a), _) => call.each_row::<_, Float64Array>(|row| Ok(a.value(row).abs())),
        }),
        _ if call.cells.len() != 2 => Err(call.unsupported()),
        Function::Pow => Ok(power(call, &number(0)?, &number(1)?)),
        function => Ok(match (number(0)?, number(1)?) {
            (Numbers::Ints(a), Numbers::Ints(b)) if function == Function::Div => {
                call.each_row::<_, Float64Array>(|row| Ok(numbers::divide_ints(a.value(row), b.value(row))?))
            }
            (Numbers::Ints(a), Numbers::Ints(b)) => {
                call.each_row::<_, Int64Array>(|row| int_operation(function, a.value(row), b.value(row)))
            }
            (a, b) => call.each_row::<_, Float64Array>(|row| float_operation(function, a.float(row), b.float(row))),
        }),
    }
}

fn int_operation(function: Function, a: i64, b: i64) -> Result<i64, Failure> {
    Ok(match function {
        Function::Add => numbers::add(a, b),
        Function::Sub => numbers::sub(a, b),
        Function::Mul => numbers::mul(a, b),
        Function::FloorDiv => numbers::floor_div(a, b),
        _ => numbers::modulo(a, b),
    }?)
}

fn float_operation(function: Function, a: f64, b: f64) -> Result<f64, Failure> {
    Ok(match function {
        Function::Add => a + b,
        Function::Sub => a - b,
        Function::Mul => a * b,
        Function::Div => numbers::divide(a, b)?,
        Function::FloorDiv => numbers::floor_division(a, b)?.0,
        _ => numbers::modulo_floats(a, b)?,
    })
}

fn power(call: &Call<'_>, a: &Numbers<'_>, b: &Numbers<'_>) -> Computed {
    match (a, b) {
        (Numbers::Ints(a), Numbers::Ints(b)) if *call.ty == Type::Int => {
            call.each_row::<_, Int64Array>(|row| int_power(a.value(row), b.value(row)))
        }
        // Python gives an int for ints with an exponent of at least 0: exact while 64 bits hold it.
        (Numbers::Ints(a), Numbers::Ints(b)) => {
            call.each_row::<_, Float64Array>(|row| match int_power(a.value(row), b.value(row)) {
                Ok(power) => Ok(power as f64),
                Err(_) => Ok(numbers::power(a.value(row) as f64, b.value(row) as f64)?),
            })
        }
        _ => call.each_row::<_, Float64Array>(|row| Ok(numbers::power(a.float(row), b.float(row))?)),
    }
}

fn int_power(base: i64, exponent: i64) -> Result<i64, Failure> {
    numbers::power_ints(base, exponent)?.map_err(|_| Failure::NegativeExponent)
}

fn finite_or_overflow(result: f64, from_finite: bool) -> Result<f64, Failure> {
    if result.is_infinite() && from_finite { Err(Failure::Overflow) } else { Ok(result) }
}

pub(super) fn transcendental(call: &Call<'_>) -> Result<Computed, EngineError> {
    let [ty] = call.types else { return Err(call.unsupported()) };
    let a = Numbers::of(ty, call.values(0)).ok_or_else(|| call.unsupported())?;
    Ok(call.each_row::<_, Float64Array>(|row| {
        let x = a.float(row);
        match call.function {
            Function::Sqrt if x < 0.0 => Err(Failure::Domain),
            Function::Sqrt => Ok(x.sqrt()),
            Function::Log if x <= 0.0 => Err(Failure::Domain),
            Function::Log => Ok(x.ln()),
            _ => finite_or_overflow(x.exp(), x.is_finite()),
        }
    }))
}
