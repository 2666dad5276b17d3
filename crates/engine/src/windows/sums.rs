//! Exact sums and extremes over runs of one key's facts.

use std::cell::OnceCell;
use std::ops::Range;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::extreme::{ExtremeQueue, ExtremeTree};
use super::input::{Input, Numbers};
use super::outcome::Outcome;
use super::percentile::{Ranks, WHOLE, between};
use crate::exact::{
    Grid, LIMBS_MAX, Power, add_assign, make_magnitude, multiply, round_quotient, sub_assign, to_i128, trim,
};
use crate::expression::{divide_half_even, in_38_digits};

/// One input over the facts of one key. What is precomputed changes the cost of an answer, never the answer.
pub(super) struct KeySums<'a> {
    pub(super) input: &'a Input,
    range: Range<usize>,
    precompute: bool,
    ones: OnceCell<Sums>,
    squares: OnceCell<Sums>,
    smallest: OnceCell<ExtremeTree>,
    largest: OnceCell<ExtremeTree>,
    ranks: OnceCell<Ranks>,
}

/// Where sums are put together; kept, since clearing it costs more than most sums do.
pub(super) struct Scratch {
    ones: [u64; LIMBS_MAX],
    squares: [u64; LIMBS_MAX],
    positions: Vec<u32>,
    ranges: Vec<Range<usize>>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { ones: [0; LIMBS_MAX], squares: [0; LIMBS_MAX], positions: Vec::new(), ranges: Vec::new() }
    }
}

/// Sums of numbers to one power.
struct Sums {
    power: Power,
    grid: Grid,
    /// Sum of everything before each multiple of `stride` positions, or nothing.
    prefixes: Vec<u64>,
    stride: usize,
}

impl<'a> KeySums<'a> {
    pub(super) fn new(input: &'a Input, range: Range<usize>, precompute: bool) -> Self {
        Self {
            input,
            range,
            precompute,
            ones: OnceCell::new(),
            squares: OnceCell::new(),
            smallest: OnceCell::new(),
            largest: OnceCell::new(),
            ranks: OnceCell::new(),
        }
    }

    fn numbers(&self) -> &'a Numbers {
        self.input.numbers.as_ref().expect("prepared for sums")
    }

    fn sums(&self, power: Power) -> &Sums {
        let cell = if power == Power::One { &self.ones } else { &self.squares };
        cell.get_or_init(|| {
            let numbers = self.numbers();
            let counting = self.range.clone().filter(|position| self.input.counts(*position));
            let grid = Grid::of(counting.filter_map(|position| numbers.parts(position)), power);
            // Wide sums are kept for every few positions only, so that memory per fact stays bounded.
            let stride = if grid.limbs <= 4 { 1 } else { 4 * grid.limbs };
            let mut sums = Sums { power, grid, prefixes: Vec::new(), stride };
            if self.precompute {
                let count = self.range.len() / stride + 1;
                let mut prefixes = Vec::with_capacity(count * grid.limbs);
                let mut running = vec![0; grid.limbs];
                prefixes.extend(&running);
                for chunk in 1..count {
                    let start = self.range.start + (chunk - 1) * stride;
                    self.walk(&sums, start..start + stride, &mut running);
                    prefixes.extend(&running);
                }
                sums.prefixes = prefixes;
            }
            sums
        })
    }

    /// Adds up positions one by one.
    fn walk(&self, sums: &Sums, positions: Range<usize>, total: &mut [u64]) {
        let numbers = self.numbers();
        for position in positions.filter(|position| self.input.counts(*position)) {
            if let Some(parts) = numbers.parts(position) {
                sums.grid.add(total, parts, sums.power);
            }
        }
    }

    /// The exact sum over `runs` in two's complement, in units of the returned power of two.
    fn total<'t>(&self, runs: &[Range<usize>], power: Power, buffer: &'t mut [u64; LIMBS_MAX]) -> (&'t mut [u64], i32) {
        match self.input.prefix(power) {
            Some(prefix) => prefix.total(runs, buffer),
            None => self.total_of_key(runs, power, buffer),
        }
    }

    /// The same from sums of the key alone.
    fn total_of_key<'t>(
        &self,
        runs: &[Range<usize>],
        power: Power,
        buffer: &'t mut [u64; LIMBS_MAX],
    ) -> (&'t mut [u64], i32) {
        let sums = self.sums(power);
        let (limbs, stride) = (sums.grid.limbs, sums.stride);
        let total = &mut buffer[..limbs];
        total.fill(0);
        for run in runs {
            let (from, to) = (run.start - self.range.start, run.end - self.range.start);
            let (first, last) = (from.div_ceil(stride), to / stride);
            if sums.prefixes.is_empty() || first >= last {
                self.walk(sums, run.clone(), total);
                continue;
            }
            add_assign(total, &sums.prefixes[last * limbs..(last + 1) * limbs]);
            sub_assign(total, &sums.prefixes[first * limbs..(first + 1) * limbs]);
            self.walk(sums, run.start..self.range.start + first * stride, total);
            self.walk(sums, self.range.start + last * stride..run.end, total);
        }
        (total, sums.grid.exponent)
    }

    fn special(&self, runs: &[Range<usize>]) -> Option<f64> {
        match self.numbers() {
            Numbers::Floats { specials: Some(specials), .. } => specials.sum(runs),
            _ => None,
        }
    }

    /// Pushes the sum; `None` if its type cannot hold it. A float sum beyond the largest double is infinite, and an exact
    /// zero is 0, never -0.
    pub(super) fn sum(&self, runs: &[Range<usize>], scratch: &mut Scratch, outcome: &mut Outcome) -> Option<()> {
        let buffer = &mut scratch.ones;
        match self.numbers() {
            Numbers::Floats { .. } => outcome.push_float(self.special(runs).unwrap_or_else(|| {
                let (total, exponent) = self.total(runs, Power::One, buffer);
                let negative = make_magnitude(total);
                round_quotient(negative, total, exponent, &[])
            })),
            Numbers::Ints(_) => {
                let (total, exponent) = self.total(runs, Power::One, buffer);
                outcome.push_int(whole(total, exponent).to_i64()?);
            }
            Numbers::Decimals(_) => {
                let (total, exponent) = self.total(runs, Power::One, buffer);
                outcome.push_decimal(in_38_digits(&whole(total, exponent))?);
            }
        }
        Some(())
    }

    /// Pushes the correctly rounded mean: to the nearest double, or half to even to the last digit of a decimal or the
    /// microsecond of a length of time.
    pub(super) fn mean(
        &self,
        runs: &[Range<usize>],
        count: u64,
        scratch: &mut Scratch,
        outcome: &mut Outcome,
    ) -> Option<()> {
        let buffer = &mut scratch.ones;
        if let Some(special) = self.special(runs) {
            outcome.push_float(special);
            return Some(());
        }
        let (total, exponent) = self.total(runs, Power::One, buffer);
        if outcome.is_float() {
            let negative = make_magnitude(total);
            outcome.push_float(round_quotient(negative, total, exponent, &[count]));
            return Some(());
        }
        let mean = divide_half_even(&whole(total, exponent), &count.into());
        if outcome.is_int() {
            outcome.push_int(mean.to_i64()?);
        } else {
            outcome.push_decimal(in_38_digits(&mean)?);
        }
        Some(())
    }

    /// The sample variance of at least two numbers: `(n·Σx² - (Σx)²) / (n·(n-1))` as an exact fraction, rounded once. NaN
    /// if any of them is not finite.
    pub(super) fn variance(&self, runs: &[Range<usize>], count: u64, scratch: &mut Scratch) -> f64 {
        if self.special(runs).is_some() {
            return f64::NAN;
        }
        let Scratch { ones, squares, .. } = scratch;
        // Both from one grid, so that the unit of the squares is the square of the unit.
        let ((sum, exponent), (sum_of_squares, _)) =
            match (self.input.prefix(Power::One), self.input.prefix(Power::Two)) {
                (Some(of_ones), Some(of_squares)) => (of_ones.total(runs, ones), of_squares.total(runs, squares)),
                _ => (self.total_of_key(runs, Power::One, ones), self.total_of_key(runs, Power::Two, squares)),
            };
        make_magnitude(sum);
        let (sum, sum_of_squares) = (trim(sum), trim(sum_of_squares));
        // Both products fit into 128 bits, and by Cauchy and Schwarz the difference is not negative.
        if let ([sum], [sum_of_squares]) = (sum, sum_of_squares) {
            let numerator = u128::from(*sum_of_squares) * u128::from(count) - u128::from(*sum) * u128::from(*sum);
            let limbs = [numerator as u64, (numerator >> 64) as u64];
            return round_quotient(false, &limbs, 2 * exponent, &[count * (count - 1)]);
        }
        if sum.len() <= 4 && sum_of_squares.len() <= 4 {
            return variance_of::<8>(sum, sum_of_squares, count, exponent);
        }
        variance_of::<{ 2 * LIMBS_MAX }>(sum, sum_of_squares, count, exponent)
    }

    /// Pushes the percentile of at least one number: the one at place `(count - 1) * percent` in their order, or between the two
    /// around it. `None` if its type cannot hold it.
    pub(super) fn percentile(
        &self,
        runs: &[Range<usize>],
        count: u64,
        thousandths: u32,
        scratch: &mut Scratch,
        outcome: &mut Outcome,
    ) -> Option<()> {
        let place = u128::from(count - 1) * u128::from(thousandths);
        let (rank, part) = ((place / u128::from(WHOLE)) as usize, (place % u128::from(WHOLE)) as u64);
        let order = self.input.order.as_ref().expect("prepared for percentiles");
        let Scratch { positions, ranges, .. } = scratch;
        let (low, high) = if self.precompute {
            let ranks = self.ranks.get_or_init(|| {
                Ranks::new(self.range.clone().filter(|position| self.input.counts(*position)), |position| {
                    order[position]
                })
            });
            let index = |position: usize| self.input.count(self.range.start..position) as usize;
            let low = ranks.find(runs.iter().map(|run| index(run.start)..index(run.end)), rank, ranges);
            let high = if part == 0 {
                low
            } else {
                ranks.find(runs.iter().map(|run| index(run.start)..index(run.end)), rank + 1, ranges)
            };
            (low, high)
        } else {
            positions.clear();
            let counting = runs.iter().cloned().flatten().filter(|position| self.input.counts(*position));
            positions.extend(counting.map(|position| position as u32));
            let (_, low, above) = positions.select_nth_unstable_by_key(rank, |position| order[*position as usize]);
            let next = || above.iter().copied().min_by_key(|position| order[*position as usize]);
            let high = if part == 0 { *low } else { next().expect("there is a place after this one") };
            (*low as usize, high as usize)
        };
        between(self.numbers(), low, high, part, outcome)
    }

    /// `queue`, if there is one, has seen no window that lies after this one.
    pub(super) fn smallest(&self, runs: &[Range<usize>], queue: Option<&mut ExtremeQueue>) -> Option<usize> {
        let order = self.input.order.as_ref().expect("prepared for min");
        self.extreme(runs, queue, &self.smallest, |position| order[position])
    }

    pub(super) fn largest(&self, runs: &[Range<usize>], queue: Option<&mut ExtremeQueue>) -> Option<usize> {
        let order = self.input.order.as_ref().expect("prepared for max");
        // The complement of an integer sorts the other way round.
        self.extreme(runs, queue, &self.largest, |position| !order[position])
    }

    /// The counting position with the smallest key.
    fn extreme(
        &self,
        runs: &[Range<usize>],
        queue: Option<&mut ExtremeQueue>,
        tree: &OnceCell<ExtremeTree>,
        key: impl Fn(usize) -> i64,
    ) -> Option<usize> {
        let counting = |position: usize| self.input.counts(position).then(|| key(position));
        if let (Some(queue), [run]) = (queue, runs) {
            return queue.best(run.clone(), counting);
        }
        if !self.precompute {
            let positions = runs.iter().cloned().flatten().filter(|position| self.input.counts(*position));
            return positions.min_by_key(|position| key(*position));
        }
        let tree = tree.get_or_init(|| ExtremeTree::new(self.range.clone(), counting));
        runs.iter().filter_map(|run| tree.best(run.clone(), &key)).min_by_key(|position| key(*position))
    }
}

/// `W` limbs hold the square of `sum` and `count` times `sum_of_squares`.
fn variance_of<const W: usize>(sum: &[u64], sum_of_squares: &[u64], count: u64, exponent: i32) -> f64 {
    let (mut numerator, mut square) = ([0; W], [0; W]);
    multiply(sum_of_squares, &[count], &mut numerator);
    multiply(sum, sum, &mut square);
    sub_assign(&mut numerator, &square);
    round_quotient(false, &numerator, 2 * exponent, &[count * (count - 1)])
}

/// A sum of whole numbers, whose grid is never finer than 1.
pub(super) fn whole(total: &[u64], exponent: i32) -> BigInt {
    let total = to_i128(total).map_or_else(
        || {
            let bytes: Vec<u8> = total.iter().flat_map(|limb| limb.to_le_bytes()).collect();
            BigInt::from_signed_bytes_le(&bytes)
        },
        BigInt::from,
    );
    total << exponent
}
