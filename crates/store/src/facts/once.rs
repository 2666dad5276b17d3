//! Loads that are taken once: what a load's key stands for, remembered as durably as its facts.
//!
//! A key is part of the record of its unit, so the two are there together or not at all. When a log is closed, the next one
//! begins with the keys that are still remembered.

use std::collections::{HashMap, VecDeque};

use creta_model::{Instant, Span};

use crate::Position;

/// How long a key is remembered.
pub const KEPT: Span = Span::hours(24);
/// How many keys of one scope are remembered; the oldest go first.
pub const KEYS_MAX: usize = 131_072;
/// Longest text that is remembered beside a key.
pub(super) const TOLD_BYTES_MAX: usize = 64 << 10;

/// What is remembered of a load, so that it is taken once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Stands for the name that the load was given, and for whoever gave it.
    pub key: [u8; 16],
    /// Stands for what was loaded.
    pub content: [u8; 16],
    /// When it was loaded.
    pub at: Instant,
    /// What whoever loaded it was told.
    pub told: Vec<u8>,
}

/// The keys of one store that are remembered, oldest first.
pub(super) struct Remembered {
    keys_max: usize,
    by_key: HashMap<[u8; 16], (Position, Once)>,
    order: VecDeque<(Position, [u8; 16])>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self::of_at_most(KEYS_MAX)
    }
}

impl Remembered {
    pub(super) fn of_at_most(keys_max: usize) -> Self {
        Self { keys_max, by_key: HashMap::new(), order: VecDeque::new() }
    }

    /// Remembers a key from its unit on; of one that is known already the newer unit counts.
    pub(super) fn add(&mut self, position: Position, once: Once) {
        let old = once.at.minus(KEPT);
        if self.by_key.get(&once.key).is_some_and(|(known, _)| *known >= position) {
            return; // Carried from log to log.
        }
        self.order.push_back((position, once.key));
        self.by_key.insert(once.key, (position, once));
        while let Some((at, key)) = self.order.front().copied() {
            let known = self.by_key.get(&key).filter(|(known, _)| *known == at);
            if known.is_some_and(|(_, once)| once.at >= old) && self.by_key.len() <= self.keys_max {
                break;
            }
            if known.is_some() {
                self.by_key.remove(&key);
            }
            self.order.pop_front();
        }
    }

    /// What a key stands for at `now`.
    pub(super) fn find(&self, key: &[u8; 16], now: Instant) -> Option<(Position, Once)> {
        self.by_key.get(key).filter(|(_, once)| once.at >= now.minus(KEPT)).cloned()
    }

    /// All that is remembered, oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (Position, &Once)> {
        self.order.iter().filter_map(|(at, key)| {
            let (known, once) = self.by_key.get(key)?;
            (known == at).then_some((*at, once))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(key: u8, seconds: i64) -> Once {
        let at = Instant::from_micros(seconds * 1_000_000).expect("in range");
        Once { key: [key; 16], content: [key; 16], at, told: vec![key] }
    }

    fn keys(remembered: &Remembered) -> Vec<u8> {
        remembered.all().map(|(_, once)| once.key[0]).collect()
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_and_when_their_time_is_over() {
        let mut remembered = Remembered::of_at_most(3);
        for (position, key) in (1..).zip([1, 2, 3, 4]) {
            remembered.add(Position(position), once(key, 100 + i64::from(key)));
        }
        assert_eq!(keys(&remembered), [2, 3, 4], "of four, three are kept");
        let day = 86_400;
        let end = Instant::from_micros((102 + day) * 1_000_000).expect("in range");
        assert!(remembered.find(&[2; 16], end).is_some(), "to the last microsecond");
        let later = Instant::from_micros(end.micros() + 1).expect("in range");
        assert!(remembered.find(&[2; 16], later).is_none(), "and no longer, although it is still there");
        remembered.add(Position(5), once(5, 103 + day));
        assert_eq!(keys(&remembered), [3, 4, 5], "what is over goes with the next that comes");
    }

    #[test]
    fn of_a_key_that_comes_again_the_newer_unit_counts_and_a_carried_one_changes_nothing() {
        let mut remembered = Remembered::of_at_most(2);
        remembered.add(Position(1), once(1, 1));
        remembered.add(Position(2), once(2, 2));
        remembered.add(Position(1), once(1, 1));
        assert_eq!(keys(&remembered), [1, 2]);
        remembered.add(Position(3), once(1, 3));
        assert_eq!(keys(&remembered), [2, 1], "it is as new as its newest unit");
        remembered.add(Position(4), once(4, 4));
        assert_eq!(keys(&remembered), [1, 4]);
        assert_eq!(remembered.find(&[1; 16], once(1, 3).at).expect("remembered").0, Position(3));
    }
}
