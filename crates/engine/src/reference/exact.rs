//! Rounding fractions by trying out doubles.

use std::cmp::Ordering;

use num_bigint::{BigInt, Sign};

/// How many halvings the smallest double is: every finite double is a whole multiple of 2^-1074.
const SMALLEST: i32 = 1074;

/// A finite double in units of 2^-1074.
pub(super) fn units(value: f64) -> BigInt {
    let bits = value.abs().to_bits();
    let (field, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
    let magnitude = if field == 0 { BigInt::from(fraction) } else { BigInt::from(fraction | 1 << 52) << (field - 1) };
    if value < 0.0 { -magnitude } else { magnitude }
}

/// The whole number `value` in units of 2^-1074.
pub(super) fn units_of_int(value: &BigInt) -> BigInt {
    value << SMALLEST
}

/// The double nearest to `numerator / denominator` in units of 2^-1074, ties to the even one. Zero is 0, and what is
/// negative and too small for any double is -0, as IEEE 754 has it.
///
/// Doubles that are not negative sort as their bits do, so the last one that is not above the fraction is found by halving,
/// and then it or the next one is nearer.
pub fn nearest_double(numerator: &BigInt, denominator: &BigInt) -> f64 {
    if numerator.sign() == Sign::NoSign {
        return 0.0;
    }
    let negative = (numerator.sign() == Sign::Minus) != (denominator.sign() == Sign::Minus);
    let (numerator, denominator) = (BigInt::from(numerator.magnitude().clone()), denominator.magnitude().clone());
    let denominator = BigInt::from(denominator);
    // The step after the largest double is 2^1024: there rounding becomes infinite.
    let of_bits = |bits: u64| match f64::from_bits(bits) {
        value if value.is_finite() => units(value),
        _ => BigInt::from(1) << (1024 + SMALLEST),
    };
    let (mut low, mut high) = (0, f64::INFINITY.to_bits());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if of_bits(middle) * &denominator <= numerator {
            low = middle;
        } else {
            high = middle;
        }
    }
    let twice: BigInt = &numerator * 2;
    let bits = match twice.cmp(&((of_bits(low) + of_bits(high)) * &denominator)) {
        Ordering::Less => low,
        Ordering::Greater => high,
        Ordering::Equal => low + low % 2,
    };
    let magnitude = f64::from_bits(bits);
    if negative { -magnitude } else { magnitude }
}
