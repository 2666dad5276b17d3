//! Exact sums that are added to other exact sums (rule S26).
//!
//! A sum is a number of 64-bit limbs in units of a power of `2^64`, its sign apart. Limbs that are zero at either end are
//! left out, so equal sums have equal bytes, in whatever order and parts they were added up.

use crate::exact::{Parts, Power, multiply, sub_assign, trim};
use crate::fact_index::{NotABlock, take};

/// Limbs from `2^-2304` on: squares of the smallest double and sums of `2^64` squares of the largest fit.
pub(super) const WIDE_LIMBS: usize = 72;

/// Place of the limb whose unit is 1.
const ONE: i32 = 36;

const NEGATIVE: u8 = 0x80;

/// Sums of positive and of negative numbers, apart, so that a carry never runs far.
pub(super) struct Wide {
    positive: Side,
    negative: Side,
}

struct Side {
    limbs: [u64; WIDE_LIMBS],
    /// The limbs that may not be zero.
    low: usize,
    high: usize,
}

/// What a sum comes to: `±limbs * 2^exponent`, the limbs without zeros at either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Total<'a> {
    pub(super) negative: bool,
    pub(super) limbs: &'a [u64],
    pub(super) exponent: i32,
}

impl Side {
    const EMPTY: Self = Self { limbs: [0; WIDE_LIMBS], low: WIDE_LIMBS, high: 0 };

    fn clear(&mut self) {
        if self.low < self.high {
            self.limbs[self.low..self.high].fill(0);
        }
        (self.low, self.high) = (WIDE_LIMBS, 0);
    }

    fn add(&mut self, place: usize, limbs: &[u64]) {
        let mut carry = false;
        for (limb, other) in self.limbs[place..].iter_mut().zip(limbs) {
            (*limb, carry) = limb.carrying_add(*other, carry);
        }
        let mut end = place + limbs.len();
        while carry {
            (self.limbs[end], carry) = self.limbs[end].overflowing_add(1);
            end += 1;
        }
        (self.low, self.high) = (self.low.min(place), self.high.max(end));
    }
}

impl Wide {
    pub(super) fn new() -> Self {
        Self { positive: Side::EMPTY, negative: Side::EMPTY }
    }

    pub(super) fn clear(&mut self) {
        self.positive.clear();
        self.negative.clear();
    }

    /// Adds a number to the power.
    pub(super) fn add(&mut self, number: Parts, power: Power) {
        if number.mantissa == 0 {
            return;
        }
        let limbs = [number.mantissa as u64, (number.mantissa >> 64) as u64];
        let (exponent, negative, mut shifted) = match power {
            Power::One => (number.exponent, number.negative, [limbs[0], limbs[1], 0, 0, 0]),
            Power::Two => {
                let mut square = [0; 5];
                multiply(trim(&limbs), trim(&limbs), &mut square);
                (2 * number.exponent, false, square)
            }
        };
        let (unit, bits) = (exponent.div_euclid(64), exponent.rem_euclid(64) as u32);
        if bits > 0 {
            let mut spill = 0;
            for limb in &mut shifted {
                (*limb, spill) = (*limb << bits | spill, *limb >> (64 - bits));
            }
        }
        let side = if negative { &mut self.negative } else { &mut self.positive };
        side.add((unit + ONE) as usize, trim(&shifted));
    }

    /// The sum so far.
    pub(super) fn total<'t>(&self, buffer: &'t mut [u64; WIDE_LIMBS]) -> Total<'t> {
        let (low, high) = (self.positive.low.min(self.negative.low), self.positive.high.max(self.negative.high));
        if low >= high {
            return Total { negative: false, limbs: &[], exponent: 0 };
        }
        let (positive, negative) = (&self.positive.limbs[low..high], &self.negative.limbs[low..high]);
        let is_negative = positive.iter().rev().lt(negative.iter().rev());
        let (larger, smaller) = if is_negative { (negative, positive) } else { (positive, negative) };
        let total = &mut buffer[..high - low];
        total.copy_from_slice(larger);
        sub_assign(total, smaller);
        let total = trim(total);
        let zeros = total.iter().take_while(|limb| **limb == 0).count();
        let exponent = if total.is_empty() { 0 } else { 64 * ((low + zeros) as i32 - ONE) };
        Total { negative: is_negative, limbs: &total[zeros..], exponent }
    }

    /// Writes the sum: the number of limbs with the sign in the highest bit, then unless there is none the place of the
    /// first and the limbs.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut buffer = [0; WIDE_LIMBS];
        let total = self.total(&mut buffer);
        out.push(total.limbs.len() as u8 | if total.negative { NEGATIVE } else { 0 });
        if !total.limbs.is_empty() {
            out.push((total.exponent / 64 + ONE) as u8);
            total.limbs.iter().for_each(|limb| out.extend(limb.to_le_bytes()));
        }
    }

    /// Adds a sum that was written.
    pub(super) fn add_written(&mut self, bytes: &mut &[u8]) -> Result<(), NotABlock> {
        let head = take(bytes, 1)?[0];
        let count = usize::from(head & !NEGATIVE);
        if count == 0 {
            return Ok(());
        }
        let place = usize::from(take(bytes, 1)?[0]);
        // One limb stays free for what carries.
        if place + count >= WIDE_LIMBS {
            return Err(NotABlock);
        }
        let mut limbs = [0; WIDE_LIMBS];
        for (limb, bytes) in limbs.iter_mut().zip(take(bytes, 8 * count)?.as_chunks::<8>().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        let side = if head & NEGATIVE == 0 { &mut self.positive } else { &mut self.negative };
        side.add(place, &limbs[..count]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;
    use proptest::prelude::*;

    use super::*;
    use crate::exact::round_quotient;
    use crate::properties::floats;
    use crate::reference::nearest_double;

    fn numbers() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(floats().prop_filter("finite", |float| float.is_finite()), 0..40)
    }

    fn written(values: &[f64], power: Power) -> Vec<u8> {
        let mut sum = Wide::new();
        values.iter().for_each(|value| sum.add(Parts::of_float(*value).expect("finite"), power));
        let mut bytes = Vec::new();
        sum.write(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn s26_sums_of_sums_have_the_bytes_of_one_sum(values in numbers(), cuts in any::<[prop::sample::Index; 2]>()) {
            for power in [Power::One, Power::Two] {
                let mut cuts = cuts.map(|cut| cut.index(values.len() + 1));
                cuts.sort_unstable();
                let mut sum = Wide::new();
                // A sum that was used before leaves nothing behind.
                sum.add(Parts::of_float(-1e300).expect("finite"), power);
                sum.clear();
                for part in [&values[cuts[1]..], &values[..cuts[0]], &values[cuts[0]..cuts[1]]] {
                    let bytes = written(part, power);
                    let mut rest = bytes.as_slice();
                    sum.add_written(&mut rest).expect("own form");
                    prop_assert!(rest.is_empty());
                }
                let mut bytes = Vec::new();
                sum.write(&mut bytes);
                prop_assert_eq!(bytes, written(&values, power));
            }
        }

        #[test]
        fn s26_totals_round_to_the_nearest_double(values in numbers()) {
            let mut sum = Wide::new();
            values.iter().for_each(|value| sum.add(Parts::of_float(*value).expect("finite"), Power::One));
            let mut buffer = [0; WIDE_LIMBS];
            let total = sum.total(&mut buffer);
            let exact: BigInt = values.iter().map(|value| {
                let parts = Parts::of_float(*value).expect("finite");
                let magnitude = BigInt::from(parts.mantissa) << (parts.exponent + 1074) as u32;
                if parts.negative { -magnitude } else { magnitude }
            }).sum();
            let expected = nearest_double(&exact, &BigInt::from(1));
            let got = round_quotient(total.negative, total.limbs, total.exponent, &[]);
            prop_assert_eq!(got.to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn bytes_that_are_no_sum_are_refused() {
        for bytes in [&[][..], &[1], &[2, 36, 0, 0], &[3, 70], &[72, 0]] {
            assert!(Wide::new().add_written(&mut { bytes }).is_err());
        }
    }
}
