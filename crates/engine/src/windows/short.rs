//! Windows over numbers so alike that exact sums fit into a machine word: what minutes, counts and prices mostly are.

use std::ops::Range;

use creta_model::Aggregate;

use super::input::{Input, Numbers};
use super::outcome::Outcome;
use crate::exact::{Power, power_of_two, round_quotient};

/// Whole numbers below it are doubles.
const EXACT: u64 = 1 << 53;

/// Exponents whose powers, multiplied with a quotient of two whole numbers, stay within normal doubles.
const EXPONENT_MAX: i32 = 400;

/// Sums of one input before each position, in one limb each.
pub(super) struct ShortSums<'a> {
    input: &'a Input,
    ones: &'a [[u64; 1]],
    squares: Option<&'a [[u64; 1]]>,
    exponent: i32,
    /// The unit of sums and that of squares.
    unit: f64,
    unit_of_squares: f64,
}

impl<'a> ShortSums<'a> {
    /// `None` where sums are longer, some value failed, or some number is not finite.
    pub(super) fn of(input: &'a Input) -> Option<Self> {
        let is_plain = !input.has_failures()
            && match input.numbers.as_ref()? {
                Numbers::Floats { specials, .. } => specials.is_none(),
                Numbers::Ints(_) => true,
                Numbers::Decimals(_) => false,
            };
        let (ones, exponent) = input.prefix(Power::One)?.short()?;
        if !is_plain || exponent.abs() > EXPONENT_MAX {
            return None;
        }
        let squares = input.prefix(Power::Two).and_then(|prefix| prefix.short());
        // Both come from one grid, so that the unit of the squares is the square of the unit.
        let squares = squares.filter(|(_, of_squares)| *of_squares == 2 * exponent).map(|(squares, _)| squares);
        let (unit, unit_of_squares) = (power_of_two(exponent), power_of_two(2 * exponent));
        Some(Self { input, ones, squares, exponent, unit, unit_of_squares })
    }

    /// Pushes an aggregate over positions that are all visible, if it is one of these.
    pub(super) fn answer(&self, aggregate: &Aggregate, window: &Range<usize>, outcome: &mut Outcome) -> bool {
        let count = self.input.count(window.clone());
        match aggregate {
            Aggregate::Count => outcome.push_int(count as i64),
            Aggregate::Sum | Aggregate::Mean if count == 0 => outcome.push_missing(),
            Aggregate::Sum if outcome.is_float() => match self.sum(window) {
                Some(sum) => outcome.push_float(sum as f64 * self.unit),
                None => return false,
            },
            Aggregate::Mean if outcome.is_float() => match self.sum(window) {
                Some(sum) => outcome.push_float(sum as f64 / count as f64 * self.unit),
                None => return false,
            },
            Aggregate::Var | Aggregate::Std if count < 2 => outcome.push_missing(),
            Aggregate::Var => match self.variance(window, count) {
                Some(variance) => outcome.push_float(variance),
                None => return false,
            },
            Aggregate::Std => match self.variance(window, count) {
                Some(variance) => outcome.push_float(variance.sqrt()),
                None => return false,
            },
            _ => return false,
        }
        true
    }

    /// A sum that a double holds exactly, in units.
    fn sum(&self, window: &Range<usize>) -> Option<i64> {
        let sum = self.ones[window.end][0].wrapping_sub(self.ones[window.start][0]) as i64;
        (sum.unsigned_abs() < EXACT).then_some(sum)
    }

    /// As [`super::sums::KeySums::variance`] has it.
    fn variance(&self, window: &Range<usize>, count: u64) -> Option<f64> {
        let squares = self.squares?;
        let sum = (self.ones[window.end][0].wrapping_sub(self.ones[window.start][0]) as i64).unsigned_abs();
        let sum_of_squares = squares[window.end][0].wrapping_sub(squares[window.start][0]);
        let numerator = u128::from(sum_of_squares) * u128::from(count) - u128::from(sum) * u128::from(sum);
        let denominator = count * (count - 1);
        if numerator < u128::from(EXACT) && denominator < EXACT {
            return Some(numerator as u64 as f64 / denominator as f64 * self.unit_of_squares);
        }
        let limbs = [numerator as u64, (numerator >> 64) as u64];
        Some(round_quotient(false, &limbs, 2 * self.exponent, &[denominator]))
    }
}
