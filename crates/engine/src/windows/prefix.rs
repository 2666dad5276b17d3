//! Sums of everything before each fact, over all keys at once.

use std::ops::Range;

use super::input::Numbers;
use crate::exact::{Grid, LIMBS_MAX, Power, add_assign, sub_assign};

/// What any window sums up to, by one subtraction. Limbs wrap around, so only the sum of the window has to fit, which its grid
/// sees to; that the facts before belong to other keys does not matter.
pub(super) struct Prefix {
    exponent: i32,
    sums: Sums,
}

/// One more than there are facts, by the number of limbs that are kept.
enum Sums {
    One(Vec<[u64; 1]>),
    Two(Vec<[u64; 2]>),
    Four(Vec<[u64; 4]>),
}

impl Prefix {
    /// `counted` is the number of positions before each one that count. `None` where exponents are so far apart that keeping
    /// a sum per fact would cost too much: then each key finds a grid of its own.
    pub(super) fn new(numbers: &Numbers, counted: &[u32], power: Power) -> Option<Self> {
        let counting = || (0..counted.len() - 1).filter(|position| counted[*position] != counted[*position + 1]);
        let grid = Grid::of(counting().filter_map(|position| numbers.parts(position)), power);
        let sums = match grid.limbs {
            1 => Sums::One(prefixes(numbers, counted, grid, power)),
            2 => Sums::Two(prefixes(numbers, counted, grid, power)),
            3 | 4 => Sums::Four(prefixes(numbers, counted, grid, power)),
            _ => return None,
        };
        Some(Self { exponent: grid.exponent, sums })
    }

    /// The sums before each position in units of `2^exponent`, where each fits into one limb.
    pub(super) fn short(&self) -> Option<(&[[u64; 1]], i32)> {
        match &self.sums {
            Sums::One(sums) => Some((sums, self.exponent)),
            Sums::Two(_) | Sums::Four(_) => None,
        }
    }

    /// The exact sum over `runs` in two's complement, in units of the returned power of two.
    pub(super) fn total<'t>(&self, runs: &[Range<usize>], buffer: &'t mut [u64; LIMBS_MAX]) -> (&'t mut [u64], i32) {
        let limbs = match &self.sums {
            Sums::One(sums) => difference(sums, runs, buffer),
            Sums::Two(sums) => difference(sums, runs, buffer),
            Sums::Four(sums) => difference(sums, runs, buffer),
        };
        (&mut buffer[..limbs], self.exponent)
    }
}

fn prefixes<const N: usize>(numbers: &Numbers, counted: &[u32], grid: Grid, power: Power) -> Vec<[u64; N]> {
    let mut sums = Vec::with_capacity(counted.len());
    let mut running = [0; N];
    sums.push(running);
    for (position, pair) in counted.windows(2).enumerate() {
        if pair[0] != pair[1]
            && let Some(parts) = numbers.parts(position)
        {
            grid.add(&mut running, parts, power);
        }
        sums.push(running);
    }
    sums
}

fn difference<const N: usize>(sums: &[[u64; N]], runs: &[Range<usize>], buffer: &mut [u64; LIMBS_MAX]) -> usize {
    let mut total = [0; N];
    for run in runs {
        add_assign(&mut total, &sums[run.end]);
        sub_assign(&mut total, &sums[run.start]);
    }
    buffer[..N].copy_from_slice(&total);
    N
}
