//! Exact sums in fixed point and their correctly rounded results (rule S26).
//!
//! A sum is held as a two's complement integer of 64-bit limbs, least significant first, in units of a power of two.
//! Adding is associative, so the result does not depend on order, partitions or threads; rounding happens once, at the end.

/// Limbs that hold any sum of squares of up to 2^32 doubles, and the products that a variance takes.
pub(crate) const LIMBS_MAX: usize = 72;

/// A finite number as `±mantissa * 2^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) negative: bool,
    pub(crate) mantissa: u128,
    pub(crate) exponent: i32,
}

impl Parts {
    /// `None` for NaN and the infinities.
    pub(crate) fn of_float(value: f64) -> Option<Self> {
        let bits = value.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, exponent) = match (bits >> 52) & 0x7ff {
            0x7ff => return None,
            0 => (fraction, -1074),
            biased => (fraction | 1 << 52, biased as i32 - 1075),
        };
        Some(Self { negative: value.is_sign_negative(), mantissa: mantissa.into(), exponent })
    }

    pub(crate) fn of_int(value: i128) -> Self {
        Self { negative: value < 0, mantissa: value.unsigned_abs(), exponent: 0 }
    }
}

/// What sums are held in: multiples of `2^exponent` in `limbs` limbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) exponent: i32,
    pub(crate) limbs: usize,
}

/// To which power numbers are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    One,
    Two,
}

/// Bits that adding up to 2^32 numbers may need on top, and the sign.
const HEADROOM_BITS: u32 = 33;

impl Grid {
    /// The smallest grid that holds every sum of up to 2^32 of these numbers to that power, without rounding.
    pub(crate) fn of(numbers: impl Iterator<Item = Parts>, power: Power) -> Self {
        let (mut low, mut high) = (i32::MAX, i32::MIN);
        for number in numbers.filter(|number| number.mantissa != 0) {
            low = low.min(number.exponent + number.mantissa.trailing_zeros() as i32);
            high = high.max(number.exponent + (128 - number.mantissa.leading_zeros()) as i32);
        }
        let (low, width) = if low > high { (0, 0) } else { (low, (high - low) as u32) };
        let factor = if power == Power::One { 1 } else { 2 };
        Self { exponent: factor * low, limbs: (factor as u32 * width + HEADROOM_BITS).div_ceil(64) as usize }
    }

    /// Adds one of the numbers that the grid was made for.
    pub(crate) fn add(&self, sum: &mut [u64], number: Parts, power: Power) {
        if number.mantissa == 0 {
            return;
        }
        let shift = number.mantissa.trailing_zeros();
        let mantissa = number.mantissa >> shift;
        let exponent = number.exponent + shift as i32;
        match power {
            Power::One => {
                let limbs = [mantissa as u64, (mantissa >> 64) as u64];
                accumulate(sum, &limbs, (exponent - self.exponent) as usize, number.negative);
            }
            Power::Two => {
                let limbs = [mantissa as u64, (mantissa >> 64) as u64];
                let mut square = [0; 4];
                multiply(trim(&limbs), trim(&limbs), &mut square);
                accumulate(sum, trim(&square), (2 * exponent - self.exponent) as usize, false);
            }
        }
    }
}

/// `sum ± magnitude * 2^shift`, modulo the width of `sum`.
fn accumulate(sum: &mut [u64], magnitude: &[u64], shift: usize, negative: bool) {
    let (word, bit) = (shift / 64, shift % 64);
    let (mut spill, mut carry) = (0, false);
    for (index, limb) in sum[word..].iter_mut().enumerate() {
        let next = magnitude.get(index).copied().unwrap_or(0);
        let part = next << bit | spill;
        spill = if bit == 0 { 0 } else { next >> (64 - bit) };
        if index > magnitude.len() && !carry {
            return;
        }
        (*limb, carry) = if negative { limb.borrowing_sub(part, carry) } else { limb.carrying_add(part, carry) };
    }
}

/// `sum + other`, modulo the width.
pub(crate) fn add_assign(sum: &mut [u64], other: &[u64]) {
    let mut carry = false;
    for (limb, other) in sum.iter_mut().zip(other) {
        (*limb, carry) = limb.carrying_add(*other, carry);
    }
}

/// `sum - other`, modulo the width.
pub(crate) fn sub_assign(sum: &mut [u64], other: &[u64]) {
    let mut borrow = false;
    for (limb, other) in sum.iter_mut().zip(other) {
        (*limb, borrow) = limb.borrowing_sub(*other, borrow);
    }
}

/// Turns a two's complement number into its magnitude in place; answers whether it was negative.
pub(crate) fn make_magnitude(number: &mut [u64]) -> bool {
    let negative = number.last().is_some_and(|limb| limb >> 63 == 1);
    if negative {
        let mut carry = true;
        for limb in number {
            (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
        }
    }
    negative
}

/// The number as an `i128` if it fits.
pub(crate) fn to_i128(number: &[u64]) -> Option<i128> {
    let low = number.first().copied().unwrap_or(0);
    let sign_of = |limb: u64| ((limb as i64) >> 63) as u64;
    let high = number.get(1).copied().unwrap_or(sign_of(low));
    let extended = number.iter().skip(2).all(|limb| *limb == sign_of(high));
    extended.then_some((u128::from(high) << 64 | u128::from(low)) as i128)
}

/// Without leading zero limbs.
pub(crate) fn trim(number: &[u64]) -> &[u64] {
    &number[..number.iter().rposition(|limb| *limb != 0).map_or(0, |top| top + 1)]
}

/// `a * b` into `product`, which is zero and long enough.
pub(crate) fn multiply(a: &[u64], b: &[u64], product: &mut [u64]) {
    for (i, x) in a.iter().enumerate() {
        let mut carry = 0;
        for (j, y) in b.iter().enumerate() {
            (product[i + j], carry) = x.carrying_mul_add(*y, product[i + j], carry);
        }
        if carry != 0 {
            product[i + b.len()] = carry;
        }
    }
}

/// Divides in place and answers the remainder.
fn divide(number: &mut [u64], divisor: u64) -> u64 {
    let mut rest = 0u64;
    for limb in number.iter_mut().rev() {
        if rest == 0 && *limb < divisor {
            rest = std::mem::take(limb);
            continue;
        }
        let dividend = u128::from(rest) << 64 | u128::from(*limb);
        *limb = (dividend / u128::from(divisor)) as u64;
        rest = (dividend % u128::from(divisor)) as u64;
    }
    rest
}

/// `±magnitude * 2^exponent / (product of divisors)`, rounded once, to nearest, ties to even.
pub(crate) fn round_quotient(negative: bool, magnitude: &[u64], exponent: i32, divisors: &[u64]) -> f64 {
    const SMALL: u64 = 1 << 53;
    let magnitude = trim(magnitude);
    // Two integers that doubles hold exactly: one division rounds correctly, and scaling stays within normal numbers.
    if magnitude.len() <= 1 && divisors.len() <= 1 && exponent.abs() <= 900 {
        let (dividend, divisor) = (magnitude.first().copied().unwrap_or(0), divisors.first().copied().unwrap_or(1));
        if dividend < SMALL && divisor < SMALL {
            let scaled = dividend as f64 / divisor as f64 * power_of_two(exponent);
            return if negative && dividend != 0 { -scaled } else { scaled };
        }
    }
    let mut quotient = [0; LIMBS_MAX + 8];
    // So much below the point that 64 bits of quotient remain whatever the divisors.
    let below = if divisors.is_empty() { 0 } else { divisors.len() + 1 };
    let quotient = &mut quotient[..magnitude.len() + below];
    quotient[below..].copy_from_slice(magnitude);
    let mut sticky = false;
    for divisor in divisors {
        sticky |= divide(quotient, *divisor) != 0;
    }
    round(negative, quotient, exponent - 64 * below as i32, sticky)
}

/// `2^exponent` for a normal result.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// `±magnitude * 2^exponent` to nearest, ties to even. `sticky` says that the true magnitude is a little larger; then it
/// has at least 55 bits.
fn round(negative: bool, magnitude: &[u64], exponent: i32, sticky: bool) -> f64 {
    let magnitude = trim(magnitude);
    let sign = u64::from(negative) << 63;
    let Some(top) = magnitude.last() else { return 0.0 };
    let bits = (64 * magnitude.len()) as i32 - top.leading_zeros() as i32;
    let highest = bits - 1 + exponent;
    if highest > 1023 {
        return f64::from_bits(sign | f64::INFINITY.to_bits());
    }
    // How many bits a double keeps of a number of this size; none or fewer for what is below half the smallest one.
    let precision = if highest >= -1022 { 53 } else { highest + 1075 };
    if precision < 0 {
        return f64::from_bits(sign);
    }
    let dropped = bits - precision;
    let kept = if dropped <= 0 {
        bits_from(magnitude, 0) << -dropped
    } else {
        let kept = if precision == 0 { 0 } else { bits_from(magnitude, dropped as usize) };
        let half = bits_from(magnitude, dropped as usize - 1) & 1 == 1;
        let rest = sticky || any_below(magnitude, dropped as usize - 1);
        kept + u64::from(half && (rest || kept & 1 == 1))
    };
    // Rounding up may carry into the next power of two, which the addition to the exponent field takes care of.
    let field = if highest >= -1022 { ((highest + 1022) as u64) << 52 } else { 0 };
    f64::from_bits(sign | (field + kept))
}

/// 64 bits from bit `from` on.
fn bits_from(number: &[u64], from: usize) -> u64 {
    let (word, bit) = (from / 64, from % 64);
    let low = number.get(word).copied().unwrap_or(0) >> bit;
    if bit == 0 { low } else { low | number.get(word + 1).copied().unwrap_or(0) << (64 - bit) }
}

fn any_below(number: &[u64], bit: usize) -> bool {
    let (word, rest) = (bit / 64, bit % 64);
    number[..word].iter().any(|limb| *limb != 0) || (rest > 0 && number[word] << (64 - rest) != 0)
}

/// `10^scale` as factors of 64 bits.
fn powers_of_ten(scale: u32) -> Vec<u64> {
    let mut factors = Vec::new();
    let mut rest = scale;
    while rest > 0 {
        let digits = rest.min(19);
        factors.push(10u64.pow(digits));
        rest -= digits;
    }
    factors
}

/// The double nearest to a decimal.
pub(crate) fn ratio_to_f64(unscaled: i128, scale: u8) -> f64 {
    let magnitude = unscaled.unsigned_abs();
    let limbs = [magnitude as u64, (magnitude >> 64) as u64];
    round_quotient(unscaled < 0, &limbs, 0, &powers_of_ten(scale.into()))
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;
    use proptest::prelude::*;

    use super::*;
    use crate::properties::floats;
    use crate::reference::nearest_double;

    const UNIT: i32 = 1074;

    /// A two's complement number in units of 2^-1074.
    fn big(limbs: &[u64], exponent: i32) -> BigInt {
        let bytes: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
        let number = BigInt::from_signed_bytes_le(&bytes);
        if exponent + UNIT >= 0 { number << (exponent + UNIT) } else { number >> -(exponent + UNIT) }
    }

    fn same(a: f64, b: f64) -> bool {
        a.to_bits() == b.to_bits()
    }

    #[test]
    fn s26_halves_round_to_even_at_every_size() {
        // One more bit than a double keeps: 2^53 + 1 goes down, 2^53 + 3 goes up.
        assert!(same(round_quotient(false, &[(1 << 53) + 1], 0, &[]), 9_007_199_254_740_992.0));
        assert!(same(round_quotient(false, &[(1 << 53) + 3], 0, &[]), 9_007_199_254_740_996.0));
        // 192 bits of this quotient are a tie, and only the remainder says that it is above it.
        let above = round_quotient(false, &[311], 0, &[9_949_219_770_565_820_039]);
        assert!(same(above, 10_144_038_679_932_690.0 * power_of_two(-108)));
        // Half of the smallest double is nothing, a little more is the smallest double.
        assert!(same(round_quotient(false, &[1], -1075, &[]), 0.0));
        assert!(same(round_quotient(true, &[3], -1076, &[]), -5e-324));
        // Half a step above the largest double is infinite, a little less is not.
        assert!(same(round_quotient(false, &[0, (1 << 54) - 1], 1024 - 64 - 54, &[]), f64::INFINITY));
        assert!(same(round_quotient(false, &[u64::MAX, (1 << 54) - 2], 1024 - 64 - 54, &[]), f64::MAX));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn s26_quotients_are_the_nearest_doubles(
            limbs in prop::collection::vec(prop_oneof![Just(0), Just(u64::MAX), Just(1 << 53), any::<u64>()], 1..5),
            exponent in -1074i32..700, shift in 0u32..64, divisors in prop::collection::vec(1u64.., 0..3),
        ) {
            let mut limbs = limbs;
            if let Some(top) = limbs.last_mut() {
                *top >>= shift;
            }
            let mut signed = limbs.clone();
            signed.push(0);
            let denominator: BigInt = divisors.iter().map(|divisor| BigInt::from(*divisor)).product();
            let expected = nearest_double(&big(&signed, exponent), &denominator);
            let got = round_quotient(false, &limbs, exponent, &divisors);
            prop_assert!(same(got, expected), "{got:e} is not {expected:e}");
            let negated = round_quotient(true, &limbs, exponent, &divisors);
            let zero = limbs.iter().all(|limb| *limb == 0);
            prop_assert!(same(negated, if zero { 0.0 } else { -expected }), "{negated:e} is not -{expected:e}");
        }

        #[test]
        fn s26_ints_divide_as_in_python(a in any::<i64>(), b in any::<i64>(), near in -3i64..4) {
            for (a, b) in [(a, b), (a, near), (near, b), ((1 << 53) + near, near + 4)] {
                if b != 0 {
                    let expected = nearest_double(&(BigInt::from(a) << UNIT), &BigInt::from(b));
                    prop_assert_eq!(creta_compiler::numbers::divide_ints(a, b), Ok(expected));
                }
            }
        }

        #[test]
        fn decimals_become_the_nearest_double(unscaled in any::<i128>(), scale in 0u8..=38) {
            let unscaled = unscaled % 10i128.pow(38);
            let expected = nearest_double(&(BigInt::from(unscaled) << UNIT), &BigInt::from(10).pow(scale.into()));
            prop_assert!(same(ratio_to_f64(unscaled, scale), expected));
        }

        #[test]
        fn s26_grids_hold_sums_and_sums_of_squares_exactly(
            values in prop::collection::vec(floats().prop_filter("finite", |x| x.is_finite()), 0..40),
            taken in any::<prop::sample::Index>(),
        ) {
            for power in [Power::One, Power::Two] {
                let parts = || values.iter().filter_map(|value| Parts::of_float(*value));
                let grid = Grid::of(parts(), power);
                let mut sum = vec![0; grid.limbs];
                let mut prefix = sum.clone();
                let cut = taken.index(values.len() + 1);
                for (index, part) in parts().enumerate() {
                    grid.add(&mut sum, part, power);
                    if index < cut {
                        grid.add(&mut prefix, part, power);
                    }
                }
                // What is left after taking a prefix away is the sum of the rest, limb by limb.
                let mut rest = vec![0; grid.limbs];
                parts().skip(cut).for_each(|part| grid.add(&mut rest, part, power));
                let mut difference = sum.clone();
                sub_assign(&mut difference, &prefix);
                prop_assert_eq!(&difference, &rest);
                add_assign(&mut prefix, &rest);
                prop_assert_eq!(&prefix, &sum);
                let negative = make_magnitude(&mut sum);
                let exact: BigInt = parts().map(|part| {
                    let unit = (part.exponent + UNIT) as u32;
                    let value = BigInt::from(part.mantissa) << unit;
                    let value = if part.negative { -value } else { value };
                    if power == Power::One { value } else { &value * &value }
                }).sum();
                let denominator = if power == Power::One { BigInt::from(1) } else { BigInt::from(1) << UNIT };
                prop_assert!(same(round_quotient(negative, &sum, grid.exponent, &[]), nearest_double(&exact, &denominator)));
            }
        }
    }
}
