//! Arithmetic of ints and floats as Python does it.

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type};
use creta_model::{Function, Type};

use super::{Call, Computed, Failure};
use crate::error::EngineError;
use crate::exact::divide_ints;

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
                call.each_row::<_, Float64Array>(|row| match b.value(row) {
                    0 => Err(Failure::DivisionByZero),
                    divisor => Ok(divide_ints(a.value(row), divisor)),
                })
            }
            (Numbers::Ints(a), Numbers::Ints(b)) => {
                call.each_row::<_, Int64Array>(|row| int_operation(function, a.value(row), b.value(row)))
            }
            (a, b) => call.each_row::<_, Float64Array>(|row| float_operation(function, a.float(row), b.float(row))),
        }),
    }
}

fn int_operation(function: Function, a: i64, b: i64) -> Result<i64, Failure> {
    let result = match function {
        Function::Add => a.checked_add(b),
        Function::Sub => a.checked_sub(b),
        Function::Mul => a.checked_mul(b),
        _ if b == 0 => return Err(Failure::DivisionByZero),
        Function::FloorDiv => {
            // Rust truncates; Python floors, so one less where the signs differ and something is left over.
            let left_over = a.checked_rem(b).is_some_and(|rest| rest != 0 && (rest < 0) != (b < 0));
            a.checked_div(b).map(|quotient| quotient - i64::from(left_over))
        }
        // The remainder takes the sign of the divisor; `i64::MIN % -1` is 0 though its quotient overflows.
        _ => {
            let rest = a.wrapping_rem(b);
            Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
    };
    result.ok_or(Failure::Overflow)
}

fn float_operation(function: Function, a: f64, b: f64) -> Result<f64, Failure> {
    match function {
        Function::Add => Ok(a + b),
        Function::Sub => Ok(a - b),
        Function::Mul => Ok(a * b),
        _ if b == 0.0 => Err(Failure::DivisionByZero),
        Function::Div => Ok(a / b),
        Function::FloorDiv => Ok(floor_division(a, b).0),
        _ => Ok(floor_division(a, b).1),
    }
}

/// Python's `divmod` of floats: the remainder is exact before it takes the sign of the divisor, and the quotient is the
/// whole number nearest to what remains after taking the remainder away.
fn floor_division(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest == 0.0 {
        rest = 0f64.copysign(b);
    } else if (rest < 0.0) != (b < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    let whole = if quotient == 0.0 {
        0f64.copysign(a / b)
    } else {
        let floor = quotient.floor();
        if quotient - floor > 0.5 { floor + 1.0 } else { floor }
    };
    (whole, rest)
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
                Err(_) => float_power(a.value(row) as f64, b.value(row) as f64),
            })
        }
        _ => call.each_row::<_, Float64Array>(|row| float_power(a.float(row), b.float(row))),
    }
}

fn int_power(base: i64, exponent: i64) -> Result<i64, Failure> {
    match (base, exponent) {
        (_, ..0) => Err(Failure::NegativeExponent),
        (0 | 1, _) => Ok(if exponent == 0 { 1 } else { base }),
        (-1, _) => Ok(if exponent % 2 == 0 { 1 } else { -1 }),
        (_, 64..) => Err(Failure::Overflow),
        _ => base.checked_pow(exponent as u32).ok_or(Failure::Overflow),
    }
}

fn float_power(base: f64, exponent: f64) -> Result<f64, Failure> {
    if base == 0.0 && exponent < 0.0 {
        return Err(Failure::DivisionByZero);
    }
    // A negative base with a broken exponent is a complex number in Python.
    if base < 0.0 && base.is_finite() && exponent.is_finite() && exponent.fract() != 0.0 {
        return Err(Failure::Domain);
    }
    finite_or_overflow(base.powf(exponent), base.is_finite() && exponent.is_finite())
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
