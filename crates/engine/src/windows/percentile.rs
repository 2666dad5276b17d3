//! The value at a place in the order of a window's values.

use std::ops::Range;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::input::Numbers;
use super::outcome::Outcome;
use super::wide::{WIDE_LIMBS, Wide};
use crate::exact::{Parts, Power, round_quotient};
use crate::expression::{divide_half_even, in_38_digits};

/// Thousandths of a percent in a whole.
pub(super) const WHOLE: u64 = 100_000;

/// Finds the value of any rank among any ranges of one key's values: a wavelet matrix over their ranks, about 4 bytes and as many
/// bits per value as its rank has, one and a half times.
pub(super) struct Ranks {
    /// Positions by rank.
    sorted: Vec<u32>,
    /// From the highest bit of a rank to the lowest.
    levels: Vec<Level>,
}

/// One bit of the rank of each value, those with a 0 in the level above first.
struct Level {
    words: Vec<u64>,
    /// Zeros before each word.
    before: Vec<u32>,
    zeros: usize,
}

impl Level {
    fn new(ranks: &[u32], bit: usize) -> Self {
        let mut level = Self { words: vec![0; ranks.len() / 64 + 1], before: Vec::new(), zeros: 0 };
        for (index, rank) in ranks.iter().enumerate() {
            level.words[index / 64] |= u64::from(rank >> bit & 1) << (index % 64);
        }
        let mut zeros = 0;
        for word in &level.words {
            level.before.push(zeros);
            zeros += word.count_zeros();
        }
        level.zeros = level.zeros_before(ranks.len());
        level
    }

    /// Zeros among the first values.
    fn zeros_before(&self, index: usize) -> usize {
        let below = (1u64 << (index % 64)) - 1;
        self.before[index / 64] as usize + (!self.words[index / 64] & below).count_ones() as usize
    }
}

impl Ranks {
    /// Of values at these positions, ascending; `key` sorts as they do. O(n log n).
    pub(super) fn new(positions: impl Iterator<Item = usize>, key: impl Fn(usize) -> i64) -> Self {
        let positions: Vec<u32> = positions.map(|position| position as u32).collect();
        let mut order: Vec<u32> = (0..positions.len() as u32).collect();
        // Stable, so that ranks do not depend on how they are found.
        order.sort_by_key(|index| key(positions[*index as usize] as usize));
        let mut ranks = vec![0; positions.len()];
        for (rank, index) in order.iter().enumerate() {
            ranks[*index as usize] = rank as u32;
        }
        let bits = usize::BITS - positions.len().saturating_sub(1).leading_zeros();
        let mut levels = Vec::with_capacity(bits as usize);
        for bit in (0..bits as usize).rev() {
            levels.push(Level::new(&ranks, bit));
            let (zeros, ones): (Vec<u32>, Vec<u32>) = ranks.iter().partition(|rank| *rank >> bit & 1 == 0);
            ranks = zeros;
            ranks.extend(ones);
        }
        Self { sorted: order.into_iter().map(|index| positions[index as usize]).collect(), levels }
    }

    /// The position of the value of that rank among those in some ranges, which hold more than `rank`; they count values, not
    /// positions. O(log n) per range.
    pub(super) fn find(
        &self,
        among: impl Iterator<Item = Range<usize>>,
        mut rank: usize,
        ranges: &mut Vec<Range<usize>>,
    ) -> usize {
        ranges.clear();
        ranges.extend(among);
        let mut found = 0;
        for level in &self.levels {
            let zeros: usize =
                ranges.iter().map(|range| level.zeros_before(range.end) - level.zeros_before(range.start)).sum();
            let one = rank >= zeros;
            found = found << 1 | usize::from(one);
            for range in &mut *ranges {
                let (start, end) = (level.zeros_before(range.start), level.zeros_before(range.end));
                *range =
                    if one { level.zeros + range.start - start..level.zeros + range.end - end } else { start..end };
            }
            if one {
                rank -= zeros;
            }
        }
        self.sorted[found] as usize
    }
}

/// Pushes what lies `part` of the way from one number to another, in hundred thousandths, rounded once; `None` if its type cannot
/// hold it.
pub(super) fn between(numbers: &Numbers, low: usize, high: usize, part: u64, outcome: &mut Outcome) -> Option<()> {
    let weights = [WHOLE - part, part];
    match numbers {
        Numbers::Floats { values, .. } => outcome.push_float(between_floats(values[low], values[high], weights)),
        Numbers::Ints(values) if outcome.is_float() => {
            let [more, less] = weights.map(i128::from);
            let sum = i128::from(values[low]) * more + i128::from(values[high]) * less;
            let magnitude = sum.unsigned_abs();
            let limbs = [magnitude as u64, (magnitude >> 64) as u64];
            outcome.push_float(round_quotient(sum < 0, &limbs, 0, &[WHOLE]));
        }
        Numbers::Ints(values) => outcome.push_int(whole(values[low].into(), values[high].into(), weights).to_i64()?),
        Numbers::Decimals(values) => {
            outcome.push_decimal(in_38_digits(&whole(values[low].into(), values[high].into(), weights))?);
        }
    }
    Some(())
}

fn whole(low: BigInt, high: BigInt, [more, less]: [u64; 2]) -> BigInt {
    divide_half_even(&(low * more + high * less), &WHOLE.into())
}

fn between_floats(low: f64, high: f64, weights: [u64; 2]) -> f64 {
    if low.to_bits() == high.to_bits() {
        return low;
    }
    let (Some(a), Some(b)) = (Parts::of_float(low), Parts::of_float(high)) else {
        // What a sum with these would be, as IEEE 754 has it.
        return [low, high].into_iter().filter(|value| !value.is_finite()).sum();
    };
    let mut sum = Wide::new();
    for (parts, weight) in [a, b].into_iter().zip(weights) {
        sum.add(Parts { mantissa: parts.mantissa * u128::from(weight), ..parts }, Power::One);
    }
    let mut buffer = [0; WIDE_LIMBS];
    let total = sum.total(&mut buffer);
    round_quotient(total.negative, total.limbs, total.exponent, &[WHOLE])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_matrix_finds_what_sorting_finds(
            keys in prop::collection::vec(-3i64..4, 1..300), cuts in any::<[prop::sample::Index; 4]>(), rank in any::<prop::sample::Index>(),
        ) {
            let ranks = Ranks::new((0..keys.len()).map(|index| 7 + 2 * index), |position| keys[(position - 7) / 2]);
            let mut cuts = cuts.map(|cut| cut.index(keys.len() + 1));
            cuts.sort_unstable();
            let ranges = [cuts[0]..cuts[1], cuts[2]..cuts[3]];
            let mut all: Vec<usize> = ranges.iter().cloned().flatten().collect();
            all.sort_by_key(|index| (keys[*index], *index));
            if !all.is_empty() {
                let rank = rank.index(all.len());
                let found = ranks.find(ranges.iter().cloned(), rank, &mut Vec::new());
                prop_assert_eq!(found, 7 + 2 * all[rank]);
            }
        }
    }

    #[test]
    fn between_two_numbers_lies_their_mean() {
        assert_eq!(between_floats(1.0, 2.0, [50_000, 50_000]), 1.5);
        assert_eq!(between_floats(f64::MAX, -f64::MAX, [50_000, 50_000]), 0.0);
        assert_eq!(between_floats(5e-324, 1e300, [1, 99_999]), 1e300 / 100_000.0 * 99_999.0);
        assert_eq!(between_floats(f64::NEG_INFINITY, 1.0, [1, 99_999]), f64::NEG_INFINITY);
        assert!(between_floats(f64::NEG_INFINITY, f64::INFINITY, [1, 99_999]).is_nan());
        assert!(between_floats(0.0, f64::NAN, [1, 99_999]).is_nan());
    }
}
