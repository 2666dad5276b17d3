//! The smallest of any range of positions, and of ranges that only move forward.

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

/// The smallest of ranges whose two ends never go back, each position looked at once: those that a later, smaller one makes
/// irrelevant leave the queue.
#[derive(Default)]
pub(super) struct ExtremeQueue {
    waiting: Vec<u32>,
    head: usize,
    end: usize,
}

impl ExtremeQueue {
    /// The counting position with the smallest key, the first of equals; `key` is `None` for positions that do not count.
    /// Neither end of `positions` lies before its last one. O(1) per position over all calls.
    pub(super) fn best(&mut self, positions: Range<usize>, key: impl Fn(usize) -> Option<i64>) -> Option<usize> {
        if positions.start >= self.end {
            self.waiting.clear();
            self.head = 0;
            self.end = positions.start;
        }
        for position in self.end..positions.end {
            let Some(new) = key(position) else { continue };
            while self.waiting.len() > self.head {
                let last = self.waiting[self.waiting.len() - 1] as usize;
                if key(last).is_some_and(|last| last <= new) {
                    break;
                }
                self.waiting.pop();
            }
            self.waiting.push(position as u32);
        }
        self.end = self.end.max(positions.end);
        while self.waiting.get(self.head).is_some_and(|first| (*first as usize) < positions.start) {
            self.head += 1;
        }
        self.waiting.get(self.head).map(|first| *first as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_queue_and_the_tree_find_what_a_scan_finds(
            keys in prop::collection::vec(prop::option::weighted(0.8, -3i64..4), 0..80),
            moves in prop::collection::vec((0usize..6, 0usize..6), 0..60),
        ) {
            let tree = ExtremeTree::new(0..keys.len(), |position| keys[position]);
            let mut queue = ExtremeQueue::default();
            let (mut from, mut to) = (0, 0);
            for (first, last) in moves {
                (from, to) = ((from + first).min(keys.len()), (to + last).min(keys.len()));
                let range = from..to.max(from);
                to = range.end;
                let expected = range.clone().filter(|position| keys[*position].is_some()).min_by_key(|p| keys[*p]);
                prop_assert_eq!(queue.best(range.clone(), |position| keys[position]), expected);
                prop_assert_eq!(tree.best(range, &|position| keys[position].expect("counting")), expected);
            }
        }
    }
}
