//! The smallest of any range of positions.

use std::ops::Range;

const NONE: u32 = u32::MAX;

/// A complete binary tree of winners over the positions of one key; 8 bytes per fact.
pub(super) struct ExtremeTree {
    start: usize,
    leaves: usize,
    winners: Vec<u32>,
}

impl ExtremeTree {
    /// `key` is `None` for positions that do not count.
    pub(super) fn new(range: Range<usize>, key: impl Fn(usize) -> Option<i64>) -> Self {
        let leaves = range.len().next_power_of_two();
        let mut winners = vec![NONE; 2 * leaves];
        for (index, position) in range.clone().enumerate() {
            if key(position).is_some() {
                winners[leaves + index] = position as u32;
            }
        }
        let strict = |position: usize| key(position).expect("only counting positions are in the tree");
        for node in (1..leaves).rev() {
            winners[node] = better(winners[2 * node], winners[2 * node + 1], &strict);
        }
        Self { start: range.start, leaves, winners }
    }

    /// The counting position with the smallest key, the first of equals. O(log n).
    pub(super) fn best(&self, positions: Range<usize>, key: &impl Fn(usize) -> i64) -> Option<usize> {
        let mut from = positions.start - self.start + self.leaves;
        let mut to = positions.end - self.start + self.leaves;
        let mut best = NONE;
        while from < to {
            if from & 1 == 1 {
                best = better(best, self.winners[from], key);
                from += 1;
            }
            if to & 1 == 1 {
                to -= 1;
                best = better(best, self.winners[to], key);
            }
            from /= 2;
            to /= 2;
        }
        (best != NONE).then_some(best as usize)
    }
}

fn better(a: u32, b: u32, key: &impl Fn(usize) -> i64) -> u32 {
    match (a, b) {
        (NONE, winner) | (winner, NONE) => winner,
        (a, b) => {
            let (left, right) = ((key(a as usize), a), (key(b as usize), b));
            if left <= right { a } else { b }
        }
    }
}
