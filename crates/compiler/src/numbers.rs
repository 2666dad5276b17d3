//! Arithmetic of ints and floats as CPython does it: for compiled resolvers and for the engine's expressions.

use std::cmp::Ordering;

use num_bigint::{BigInt, Sign};
use num_traits::ToPrimitive;

use crate::raised::{Outcome, Raised};

/// Ints up to here are floats exactly.
const EXACT: u64 = 1 << 53;

/// An int against a float without rounding; `None` for NaN.
pub fn compare_int_float(int: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // 2^63 is a double; every float below it in magnitude truncates to an int that fits.
    if float >= 9_223_372_036_854_775_808.0 {
        return Some(Ordering::Less);
    }
    if float < -9_223_372_036_854_775_808.0 {
        return Some(Ordering::Greater);
    }
    Some(int.cmp(&(float as i64)).then_with(|| 0f64.total_cmp(&(float.fract() + 0.0))))
}

/// `a + b`.
pub fn add(a: i64, b: i64) -> Outcome<i64> {
    a.checked_add(b).ok_or(Raised::INT)
}

/// `a - b`.
pub fn sub(a: i64, b: i64) -> Outcome<i64> {
    a.checked_sub(b).ok_or(Raised::INT)
}

/// `a * b`.
pub fn mul(a: i64, b: i64) -> Outcome<i64> {
    a.checked_mul(b).ok_or(Raised::INT)
}

/// `a // b`: towards minus infinity.
pub fn floor_div(a: i64, b: i64) -> Outcome<i64> {
    if b == 0 {
        return Err(Raised::ZERO_DIVISION);
    }
    let quotient = a.checked_div(b).ok_or(Raised::INT)?;
    let rest = a.wrapping_rem(b);
    Ok(quotient - i64::from(rest != 0 && (rest < 0) != (b < 0)))
}

/// `a % b`: the sign of `b`.
pub fn modulo(a: i64, b: i64) -> Outcome<i64> {
    if b == 0 {
        return Err(Raised::ZERO_DIVISION);
    }
    let rest = a.wrapping_rem(b);
    Ok(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
}

/// `a / b` of ints: their exact quotient, rounded once.
pub fn divide_ints(a: i64, b: i64) -> Outcome<f64> {
    if b == 0 {
        return Err(Raised::ZERO_DIVISION);
    }
    if a.unsigned_abs() <= EXACT && b.unsigned_abs() <= EXACT {
        return Ok(a as f64 / b as f64);
    }
    let magnitude = quotient(a.unsigned_abs().into(), b.unsigned_abs().into());
    Ok(if (a < 0) != (b < 0) { -magnitude } else { magnitude })
}

/// The double nearest to the quotient of two magnitudes below 2^64, ties to even.
fn quotient(a: u128, b: u128) -> f64 {
    if a == 0 {
        return 0.0;
    }
    // With its highest bit at the top, `a` leaves a quotient of at least 64 bits, more than a double keeps.
    let shift = a.leading_zeros();
    let (scaled, rest) = ((a << shift) / b, (a << shift) % b);
    // What was cut off only matters as "a little more": the lowest bit stands for it, far below the 53rd.
    let sticky = scaled | u128::from(rest != 0);
    (sticky as f64) * 2f64.powi(-(shift as i32))
}

/// `a ** b` of ints: an int, or a float for a negative exponent.
pub fn power_ints(a: i64, b: i64) -> Outcome<Result<i64, f64>> {
    if b < 0 {
        return power(a as f64, b as f64).map(Err);
    }
    match a {
        0 | 1 => return Ok(Ok(if b == 0 { 1 } else { a })),
        -1 => return Ok(Ok(if b % 2 == 0 { 1 } else { -1 })),
        _ => {}
    }
    let exponent = u32::try_from(b).map_err(|_| Raised::INT)?;
    a.checked_pow(exponent).map(Ok).ok_or(Raised::INT)
}

/// `a / b` of floats.
pub fn divide(a: f64, b: f64) -> Outcome<f64> {
    if b == 0.0 { Err(Raised::ZERO_DIVISION) } else { Ok(a / b) }
}

/// Python's `divmod` of floats: the remainder is exact before it takes the sign of the divisor, and the quotient is the
/// whole number nearest to what remains after taking the remainder away.
pub fn floor_division(a: f64, b: f64) -> Outcome<(f64, f64)> {
    if b == 0.0 {
        return Err(Raised::ZERO_DIVISION);
    }
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
    Ok((whole, rest))
}

/// `a % b` of floats.
pub fn modulo_floats(a: f64, b: f64) -> Outcome<f64> {
    if b == 0.0 {
        return Err(Raised::ZERO_DIVISION);
    }
    let rest = a % b;
    Ok(if rest == 0.0 {
        0f64.copysign(b)
    } else if (rest < 0.0) != (b < 0.0) {
        rest + b
    } else {
        rest
    })
}

/// `a ** b` of floats: C's `pow` where both agree, an exception where C says infinity, complex numbers left to Python.
pub fn power(a: f64, b: f64) -> Outcome<f64> {
    if b == 0.0 || a == 1.0 {
        return Ok(1.0);
    }
    if a.is_nan() || b.is_nan() {
        return Ok(f64::NAN);
    }
    if a == 0.0 && b < 0.0 && b.is_finite() {
        return Err(Raised::ZERO_DIVISION);
    }
    if a < 0.0 && a.is_finite() && b.is_finite() && b.fract() != 0.0 {
        return Err(Raised::Beyond("a complex number"));
    }
    let power = a.powf(b);
    if power.is_infinite() && a.is_finite() && b.is_finite() { Err(Raised::OVERFLOW) } else { Ok(power) }
}

/// A whole float as an int, as `int()`, `math.floor` and `round` make it.
pub fn whole(float: f64) -> Outcome<i64> {
    if float.is_nan() {
        return Err(Raised::VALUE);
    }
    if float.is_infinite() {
        return Err(Raised::OVERFLOW);
    }
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float) {
        Ok(float as i64)
    } else {
        Err(Raised::INT)
    }
}

/// The multiple of `10^-digits` nearest to the int, ties to even.
pub fn round_int(value: i64, digits: i64) -> Outcome<i64> {
    match digits {
        0.. => Ok(value),
        // Half of 10^20 is beyond 64 bits, so everything rounds to 0.
        ..=-20 => Ok(0),
        _ => {
            let unit = BigInt::from(10).pow(digits.unsigned_abs() as u32);
            (half_even(&value.into(), &unit) * unit).to_i64().ok_or(Raised::INT)
        }
    }
}

/// The int nearest to `numerator / denominator`, ties to even. The denominator is not 0.
pub fn half_even(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    let twice = rest.magnitude() * 2u32;
    let away = twice > *denominator.magnitude() || (twice == *denominator.magnitude() && quotient.bit(0));
    match (away, (numerator.sign() == Sign::Minus) != (denominator.sign() == Sign::Minus)) {
        (false, _) => quotient,
        (true, false) => quotient + 1,
        (true, true) => quotient - 1,
    }
}

/// `round(value, digits)`: the double nearest to the multiple of `10^-digits` nearest to the exact value, ties to even.
pub fn round_float(value: f64, digits: i64) -> Outcome<f64> {
    // Beyond these every double has fewer digits, or lies below half a unit.
    if !value.is_finite() || value == 0.0 || digits > 323 {
        return Ok(value);
    }
    if digits < -308 {
        return Ok(0f64.copysign(value));
    }
    if digits >= 0 {
        let text = format!("{value:.*}", digits as usize);
        return Ok(text.parse().expect("digits are a float"));
    }
    // A float of at least half of ten is a whole number plus what only breaks ties: keep that as a sticky half.
    let unit = BigInt::from(10).pow(digits.unsigned_abs() as u32);
    let twice = big(value.trunc()) * 2 + if value.fract() == 0.0 { 0 } else { value.signum() as i32 };
    let rounded = half_even(&twice, &(&unit * 2)) * unit;
    let text = rounded.to_string();
    let rounded: f64 = text.parse().expect("digits are a float");
    if rounded.is_infinite() { Err(Raised::OVERFLOW) } else { Ok(rounded.copysign(value)) }
}

/// A whole float as an int of any size.
fn big(whole: f64) -> BigInt {
    num_traits::FromPrimitive::from_f64(whole).expect("a finite float")
}
