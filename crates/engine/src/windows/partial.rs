//! What a part of a window comes to: aggregates that are merged with those of its other parts, exactly (rule S26).
//!
//! The bytes of one partial:
//!
//! ```text
//! flags u8, counted u32, then as far as it is kept: sum, sum of squares, smallest i64, largest i64
//! ```
//!
//! Extremes are there when something counts; a flag says that both take 16 bytes instead of 8.

use crate::exact::{Power, make_magnitude, multiply, round_quotient, sub_assign, trim};
use crate::fact_index::{NotABlock, take, take_u32};

use super::input::Numbers;
use super::wide::{Total, WIDE_LIMBS, Wide};

/// What a partial keeps beside the count.
pub(crate) type Keeps = u8;
pub(super) const SUM: Keeps = 1;
pub(super) const SQUARES: Keeps = 2;
pub(super) const SMALLEST: Keeps = 4;
pub(super) const LARGEST: Keeps = 8;

const FAILED: u8 = 1;
const NAN: u8 = 2;
const UP: u8 = 4;
const DOWN: u8 = 8;
const LONG: u8 = 16;

/// The aggregates of facts that were added one by one or as partials. Large: made once and cleared.
pub(crate) struct Accumulator {
    flags: u8,
    count: u64,
    ones: Wide,
    squares: Wide,
    smallest: Option<i128>,
    largest: Option<i128>,
}

impl Accumulator {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self { flags: 0, count: 0, ones: Wide::new(), squares: Wide::new(), smallest: None, largest: None })
    }

    pub(crate) fn clear(&mut self) {
        (self.flags, self.count, self.smallest, self.largest) = (0, 0, None, None);
        self.ones.clear();
        self.squares.clear();
    }

    /// A fact whose value or filter failed.
    pub(super) fn fail(&mut self) {
        self.flags |= FAILED;
    }

    /// A fact that counts; its number and its place in the order of values, where they are kept.
    pub(super) fn add(&mut self, keeps: Keeps, number: Option<(&Numbers, usize)>, key: Option<i128>) {
        self.count += 1;
        if let Some((numbers, position)) = number.filter(|_| keeps & (SUM | SQUARES) != 0) {
            match numbers.parts(position) {
                Some(parts) => {
                    self.ones.add(parts, Power::One);
                    if keeps & SQUARES != 0 {
                        self.squares.add(parts, Power::Two);
                    }
                }
                None => {
                    self.flags |= match numbers.special(position) {
                        f64::INFINITY => UP,
                        f64::NEG_INFINITY => DOWN,
                        _ => NAN,
                    }
                }
            }
        }
        if let Some(key) = key {
            self.extremes(keeps, key, key);
        }
    }

    fn extremes(&mut self, keeps: Keeps, smallest: i128, largest: i128) {
        if keeps & SMALLEST != 0 {
            self.smallest = Some(self.smallest.map_or(smallest, |old| old.min(smallest)));
        }
        if keeps & LARGEST != 0 {
            self.largest = Some(self.largest.map_or(largest, |old| old.max(largest)));
        }
    }

    /// Writes what is kept.
    pub(crate) fn write(&self, keeps: Keeps, out: &mut Vec<u8>) {
        let extremes = [(SMALLEST, self.smallest), (LARGEST, self.largest)];
        let kept = || extremes.iter().filter(|(which, _)| keeps & which != 0).filter_map(|(_, key)| *key);
        let long = kept().any(|key| i64::try_from(key).is_err());
        out.push(self.flags | if long { LONG } else { 0 });
        out.extend((self.count as u32).to_le_bytes());
        if keeps & SUM != 0 {
            self.ones.write(out);
        }
        if keeps & SQUARES != 0 {
            self.squares.write(out);
        }
        for key in kept() {
            if long { out.extend(key.to_le_bytes()) } else { out.extend((key as i64).to_le_bytes()) }
        }
    }

    /// Adds what [`Accumulator::write`] wrote with the same `keeps`.
    pub(crate) fn merge(&mut self, keeps: Keeps, mut bytes: &[u8]) -> Result<(), NotABlock> {
        let flags = take(&mut bytes, 1)?[0];
        let count = take_u32(&mut bytes)?;
        self.flags |= flags & !LONG;
        self.count += u64::from(count);
        if keeps & SUM != 0 {
            self.ones.add_written(&mut bytes)?;
        }
        if keeps & SQUARES != 0 {
            self.squares.add_written(&mut bytes)?;
        }
        if count > 0 {
            for which in [SMALLEST, LARGEST].into_iter().filter(|which| keeps & which != 0) {
                let key = if flags & LONG != 0 {
                    i128::from_le_bytes(take(&mut bytes, 16)?.try_into().map_err(|_| NotABlock)?)
                } else {
                    i64::from_le_bytes(take(&mut bytes, 8)?.try_into().map_err(|_| NotABlock)?).into()
                };
                self.extremes(which, key, key);
            }
        }
        if bytes.is_empty() { Ok(()) } else { Err(NotABlock) }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn smallest(&self) -> Option<i128> {
        self.smallest
    }

    pub(super) fn largest(&self) -> Option<i128> {
        self.largest
    }

    /// What a sum with numbers that are not finite is, as IEEE 754 has it; `None` if there are none.
    pub(super) fn special(&self) -> Option<f64> {
        match self.flags & (NAN | UP | DOWN) {
            0 => None,
            UP => Some(f64::INFINITY),
            DOWN => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    /// The exact sum of the finite numbers.
    pub(super) fn total<'t>(&self, buffer: &'t mut [u64; WIDE_LIMBS]) -> Total<'t> {
        self.ones.total(buffer)
    }

    /// The sample variance of at least two numbers: `(n·Σx² - (Σx)²) / (n·(n-1))` as an exact fraction, rounded once. NaN
    /// if any of them is not finite.
    pub(super) fn variance(&self) -> f64 {
        if self.special().is_some() {
            return f64::NAN;
        }
        let (mut ones, mut squares) = ([0; WIDE_LIMBS], [0; WIDE_LIMBS]);
        let (sum, of_squares) = (self.ones.total(&mut ones), self.squares.total(&mut squares));
        // Both products in units of the finer one's. The square takes up to twice as many limbs as the sum, and so does the
        // sum of squares; the count takes one more.
        let mut square = [0; 2 * WIDE_LIMBS];
        multiply(sum.limbs, sum.limbs, &mut square);
        let mut product = [0; WIDE_LIMBS + 1];
        multiply(of_squares.limbs, &[self.count], &mut product);
        let exponent = match (sum.limbs.is_empty(), of_squares.limbs.is_empty()) {
            (true, _) => of_squares.exponent,
            (_, true) => 2 * sum.exponent,
            _ => of_squares.exponent.min(2 * sum.exponent),
        };
        let shifted = |limbs: &[u64], from: i32, numerator: &mut [u64]| {
            let limbs = trim(limbs);
            let place = if limbs.is_empty() { 0 } else { ((from - exponent) / 64) as usize };
            numerator[place..place + limbs.len()].copy_from_slice(limbs);
        };
        let (mut numerator, mut subtracted) = ([0; 2 * WIDE_LIMBS], [0; 2 * WIDE_LIMBS]);
        shifted(&product, of_squares.exponent, &mut numerator);
        shifted(&square, 2 * sum.exponent, &mut subtracted);
        sub_assign(&mut numerator, &subtracted);
        debug_assert!(!make_magnitude(&mut numerator.clone()), "by Cauchy and Schwarz the difference is not negative");
        round_quotient(false, trim(&numerator), exponent, &[self.count * (self.count - 1)])
    }
}

/// Whether some fact's value or filter failed, and how many count, without reading the rest.
pub(crate) fn peek(bytes: &[u8]) -> Result<(bool, u32), NotABlock> {
    let (flags, mut rest) = bytes.split_first().ok_or(NotABlock)?;
    Ok((flags & FAILED != 0, take_u32(&mut rest)?))
}
