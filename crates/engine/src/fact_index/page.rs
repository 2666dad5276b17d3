//! How the facts of a key lie in time: intervals, pages and leaves.
//!
//! A key with many facts holds them in *leaves*, each for an interval of event time, under *pages*. An interval is
//! `2^shift` microseconds wide and starts at a multiple of that. A page is for an interval whose shift is a multiple of
//! [`PAGE_BITS`]. It is cut into halves, and they again, until a part holds few enough facts for a leaf or is
//! [`PAGE_BITS`] halvings down: that part has a page of its own, for the smallest interval that holds its facts. So what lies
//! where depends on the facts alone, not on the order in which they came (rule S9), and a part of a second with many
//! facts has as many leaves as a year with as many.
//!
//! Each part has an *entry* in its page: its tile. An entry says when its facts begin and end, from when on it is certain
//! which of them are visible, and the partials of all inputs over the visible ones.
//!
//! ```text
//! page    start u64, shift u8, inputs u8, then each (fingerprint 16 bytes, keeps u8), entries u16, then each entry
//! entry   start u64, shift u8, kind u8 (0 leaf, 1 page), for a page its start u64 and shift u8,
//!         first i64, last i64, facts u64, arrival_min i64, certain_from i64, partials length u32, partials
//! ```

use crate::windows::{TileMark, next_partial};

use super::block::{NotABlock, take, take_i64, take_u32};

/// Halvings from a page to the pages below it.
pub(super) const PAGE_BITS: u8 = 5;

/// A point on the line of event times: instants in their order, from 0 on.
pub(super) fn ordinal(event_time: i64) -> u64 {
    event_time as u64 ^ 1 << 63
}

/// From `start`, a multiple of `2^shift`, on, `2^shift` microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Interval {
    pub(super) start: u64,
    pub(super) shift: u8,
}

impl Interval {
    /// The one of that width that holds a point.
    pub(super) fn around(point: u64, shift: u8) -> Self {
        Self { start: if shift >= 64 { 0 } else { point >> shift << shift }, shift }
    }

    /// The smallest that a page may be for and that holds both points.
    pub(super) fn of_page(a: u64, b: u64) -> Self {
        let differing = (64 - (a ^ b).leading_zeros()) as u8;
        Self::around(a, differing.div_ceil(PAGE_BITS).max(1).saturating_mul(PAGE_BITS).min(64))
    }

    pub(super) fn contains(&self, point: u64) -> bool {
        Self::around(point, self.shift).start == self.start
    }

    /// Its two halves; it is wider than one microsecond.
    pub(super) fn halves(&self) -> [Self; 2] {
        let shift = self.shift - 1;
        [Self { start: self.start, shift }, Self { start: self.start | 1 << shift, shift }]
    }

    /// Of a page: the width of the parts that have pages of their own.
    pub(super) fn slot_shift(&self) -> u8 {
        (self.shift - 1) / PAGE_BITS * PAGE_BITS
    }

    pub(super) fn to_bytes(self) -> [u8; 9] {
        let mut bytes = [0; 9];
        bytes[..8].copy_from_slice(&self.start.to_be_bytes());
        bytes[8] = self.shift;
        bytes
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, NotABlock> {
        let start = u64::from_be_bytes(take(bytes, 8)?.try_into().map_err(|_| NotABlock)?);
        let shift = take(bytes, 1)?[0];
        if shift <= 64 && Self::around(start, shift).start == start {
            Ok(Self { start, shift })
        } else {
            Err(NotABlock)
        }
    }
}

/// What lies under an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Below {
    Leaf,
    /// For this interval.
    Page(Interval),
}

/// What is known of the facts under an entry without reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Event times of the earliest and the latest fact.
    pub(super) first: i64,
    pub(super) last: i64,
    /// Superseded facts and retractions included.
    pub(super) facts: u64,
    /// Arrival of the one that was known first: before, none is visible.
    pub(super) arrival_min: i64,
    /// Whoever knows what was known then sees those that are neither superseded nor retracted, and no others.
    pub(super) certain_from: i64,
}

impl Extent {
    pub(super) const NONE: Self =
        Self { first: i64::MAX, last: i64::MIN, facts: 0, arrival_min: i64::MAX, certain_from: i64::MIN };

    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            facts: self.facts + other.facts,
            arrival_min: self.arrival_min.min(other.arrival_min),
            certain_from: self.certain_from.max(other.certain_from),
        }
    }
}

/// One part of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(super) interval: Interval,
    pub(super) below: Below,
    pub(super) extent: Extent,
    /// Written partials, one per input of the page.
    pub(super) partials: Vec<u8>,
}

/// A page with its entries in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(super) interval: Interval,
    /// The inputs that the partials are of, in order.
    pub(super) marks: Vec<TileMark>,
    pub(super) entries: Vec<Entry>,
}

impl Page {
    /// Whether each part has a partial of every input; one that lacks it somewhere below lacks it.
    pub(super) fn is_whole(&self) -> Result<bool, NotABlock> {
        for entry in &self.entries {
            let mut partials = entry.partials.as_slice();
            for _ in &self.marks {
                if next_partial(&mut partials)?.is_empty() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The partials of a part.
    pub(crate) fn partials(&self, entry: u32) -> &[u8] {
        &self.entries[entry as usize].partials
    }

    /// Writes the page behind whatever stands in `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.interval.to_bytes());
        out.push(u8::try_from(self.marks.len()).expect("an index keeps at most 255 inputs"));
        for mark in &self.marks {
            out.extend(mark.fingerprint);
            out.push(mark.keeps);
        }
        out.extend((self.entries.len() as u16).to_le_bytes());
        for entry in &self.entries {
            out.extend(entry.interval.to_bytes());
            match entry.below {
                Below::Leaf => out.push(0),
                Below::Page(interval) => {
                    out.push(1);
                    out.extend(interval.to_bytes());
                }
            }
            let Extent { first, last, facts, arrival_min, certain_from } = entry.extent;
            for number in [first, last, facts as i64, arrival_min, certain_from] {
                out.extend(number.to_le_bytes());
            }
            out.extend((entry.partials.len() as u32).to_le_bytes());
            out.extend(&entry.partials);
        }
    }

    /// Reads what [`Page::write`] wrote.
    pub(super) fn read(mut bytes: &[u8]) -> Result<Self, NotABlock> {
        let bytes = &mut bytes;
        let interval = Interval::take(bytes)?;
        let inputs = take(bytes, 1)?[0];
        let mut marks = Vec::with_capacity(inputs.into());
        for _ in 0..inputs {
            let fingerprint = take(bytes, 16)?.try_into().map_err(|_| NotABlock)?;
            marks.push(TileMark { fingerprint, keeps: take(bytes, 1)?[0] });
        }
        let count = u16::from_le_bytes(take(bytes, 2)?.try_into().map_err(|_| NotABlock)?);
        let mut entries = Vec::with_capacity(count.into());
        for _ in 0..count {
            let interval = Interval::take(bytes)?;
            let below = match take(bytes, 1)?[0] {
                0 => Below::Leaf,
                1 => Below::Page(Interval::take(bytes)?),
                _ => return Err(NotABlock),
            };
            let extent = Extent {
                first: take_i64(bytes)?,
                last: take_i64(bytes)?,
                facts: take_i64(bytes)? as u64,
                arrival_min: take_i64(bytes)?,
                certain_from: take_i64(bytes)?,
            };
            let length = take_u32(bytes)? as usize;
            entries.push(Entry { interval, below, extent, partials: take(bytes, length)?.to_vec() });
        }
        if bytes.is_empty() { Ok(Self { interval, marks, entries }) } else { Err(NotABlock) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_page_is_for_the_smallest_interval_that_holds_its_facts(a in any::<i64>(), near in -70i64..70, far in any::<i64>()) {
            for b in [a, a.saturating_add(near), far] {
                let page = Interval::of_page(ordinal(a), ordinal(b));
                prop_assert!(page.contains(ordinal(a)) && page.contains(ordinal(b)));
                prop_assert!(page.shift == 64 || page.shift.is_multiple_of(PAGE_BITS));
                prop_assert!(page.slot_shift() < page.shift && page.slot_shift().is_multiple_of(PAGE_BITS));
                if page.shift > PAGE_BITS {
                    let smaller = Interval::around(ordinal(a), page.slot_shift());
                    prop_assert!(!smaller.contains(ordinal(b)));
                }
                let [early, late] = page.halves();
                prop_assert_eq!(early.contains(ordinal(a)), !late.contains(ordinal(a)));
                prop_assert!(page.contains(early.start) && page.contains(late.start) && !early.contains(late.start));
            }
            prop_assert_eq!(a < far, ordinal(a) < ordinal(far));
        }
    }

    #[test]
    fn pages_survive_their_bytes_and_cut_ones_are_refused() {
        let interval = Interval::of_page(ordinal(-5), ordinal(70));
        let extent = Extent { first: -5, last: 70, facts: 3, arrival_min: -4, certain_from: i64::MAX };
        let entry = |shift, below| Entry {
            interval: Interval::around(ordinal(3), shift),
            below,
            extent,
            partials: vec![3, 0, 1, 2, 3],
        };
        let page = Page {
            interval,
            marks: vec![TileMark { fingerprint: [7; 16], keeps: 3 }],
            entries: vec![entry(0, Below::Leaf), entry(5, Below::Page(Interval::of_page(ordinal(1), ordinal(2))))],
        };
        let mut bytes = Vec::new();
        page.write(&mut bytes);
        assert_eq!(Page::read(&bytes), Ok(page));
        for length in 0..bytes.len() {
            assert_eq!(Page::read(&bytes[..length]), Err(NotABlock));
        }
    }
}
