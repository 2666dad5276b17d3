//! Facts grouped by key and put in the order of rule S7, and which of them a row can see.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use creta_model::Type;

use crate::error::EngineError;
use creta_store::layout::{EVENT_ID, RETRACTED, feature_column};

use crate::facts::{FactRequest, SUPERSEDED_AT, Stamps, contract};
use crate::key_set::{Encoded, KeyEncoder};

/// The facts that any row of a request may see, by key and rule S7. Position `n` is the `n`-th of them over all keys.
///
/// Left out are retractions, facts of other keys, facts that a newer version superseded before they arrived, repeats of
/// one fact, and facts that no row of the request can see because of when they were known.
#[derive(Debug)]
pub(crate) struct Timelines {
    starts: Vec<usize>,
    event: Vec<i64>,
    arrival: Vec<i64>,
    superseded: Vec<i64>,
    /// Batch and row of each position.
    pub(crate) places: Vec<(usize, usize)>,
}

struct Fact {
    key: u32,
    source: u32,
    event: i64,
    arrival: i64,
    sequence: u64,
    superseded: i64,
    batch: u32,
    row: u32,
}

impl Fact {
    /// Rule S7.
    fn order(&self) -> (i64, i64, u32, u64) {
        (self.event, self.arrival, self.source, self.sequence)
    }
}

/// Marks facts that were returned twice; none has that many keys.
const REPEATED: u32 = u32::MAX;

impl Timelines {
    /// Groups and sorts the facts of `batches`. O(n) in matching facts that come in the order of rule S7, as segments hold
    /// them, O(n log n) in others.
    pub(crate) fn new(batches: &[&RecordBatch], request: &FactRequest<'_>, entity: &str) -> Result<Self, EngineError> {
        let total: usize = batches.iter().map(|batch| batch.num_rows()).sum();
        if total >= u32::MAX as usize {
            return Err(EngineError::TooMany { what: "facts", max: u64::from(u32::MAX) - 1 });
        }
        let stamps: Vec<Stamps<'_>> =
            batches.iter().map(|batch| Stamps::of(batch, entity)).collect::<Result<_, _>>()?;
        let ranks = source_ranks(&stamps);
        let known_from = request.points.iter().map(|point| point.known_as_of).min().unwrap_or(i64::MAX);
        let known_to = request.known_to();
        let types: Vec<Type> = request.key.iter().map(|part| part.ty.clone()).collect();
        let mut facts = Vec::with_capacity(total);
        let mut encoded = Vec::new();
        for (batch_index, (batch, stamps)) in batches.iter().zip(&stamps).enumerate() {
            let Some(columns) = key_columns(batch, request) else { continue };
            let encoder = KeyEncoder::new(&types, &columns)
                .map_err(|_| contract(entity, "a key column has another type than its feature"))?;
            let retracted = batch
                .column_by_name(RETRACTED)
                .and_then(|column| column.as_boolean_opt())
                .filter(|column| column.null_count() == 0)
                .ok_or_else(|| contract(entity, "`retracted` is not boolean or has nulls"))?;
            let superseded = superseded_at(batch, entity)?;
            let mut last_source = None;
            for row in 0..batch.num_rows() {
                let (event, arrival) = (stamps.event[row], stamps.arrival[row]);
                let superseded = superseded.as_ref().map_or(i64::MAX, |column| column(row));
                let visible_to_some = arrival <= known_to && superseded > known_from.max(arrival);
                if retracted.value(row) || !visible_to_some || !request.range.covers(event) {
                    continue;
                }
                encoded.clear();
                let Encoded::Complete = encoder.encode(row, &mut encoded) else { continue };
                let Some(key) = request.keys.find(&encoded) else { continue };
                let source = stamps.source.value(row);
                let source = match last_source {
                    Some((text, rank)) if text == source => rank,
                    _ => ranks[source],
                };
                last_source = Some((stamps.source.value(row), source));
                facts.push(Fact {
                    key,
                    source,
                    event,
                    arrival,
                    sequence: stamps.sequence[row],
                    // For this request a version superseded later than any row knows is never superseded.
                    superseded: if superseded > known_to { i64::MAX } else { superseded },
                    batch: batch_index as u32,
                    row: row as u32,
                });
            }
        }
        if !facts.is_sorted_by_key(Fact::order) {
            // Stable, so that of a fact returned twice the first one stays; quick where batches are sorted in themselves.
            facts.sort_by_key(Fact::order);
        }
        mark_repeats(&mut facts, request.keys.len());
        Ok(Self::grouped(&facts, request.keys.len()))
    }

    /// Puts facts that are in the order of rule S7 beside those of the same key, and keeps that order within a key.
    fn grouped(facts: &[Fact], keys: usize) -> Self {
        let kept = || facts.iter().filter(|fact| fact.key != REPEATED);
        let mut starts = vec![0; keys + 1];
        for fact in kept() {
            starts[fact.key as usize + 1] += 1;
        }
        for key in 1..starts.len() {
            starts[key] += starts[key - 1];
        }
        let count = starts[keys];
        let mut next = starts.clone();
        let (mut event, mut arrival, mut superseded) = (vec![0; count], vec![0; count], vec![0; count]);
        let mut places = vec![(0, 0); count];
        for fact in kept() {
            let position = next[fact.key as usize];
            next[fact.key as usize] += 1;
            event[position] = fact.event;
            arrival[position] = fact.arrival;
            superseded[position] = fact.superseded;
            places[position] = (fact.batch as usize, fact.row as usize);
        }
        Self { starts, event, arrival, superseded, places }
    }

    /// Number of facts over all keys.
    pub(crate) fn len(&self) -> usize {
        self.event.len()
    }

    pub(crate) fn event_time(&self, position: usize) -> i64 {
        self.event[position]
    }

    /// The facts of one key.
    pub(crate) fn of_key(&self, key: u32) -> Timeline<'_> {
        let range = self.starts[key as usize]..self.starts[key as usize + 1];
        Timeline { all: self, range, delay_max: OnceCell::new(), arrivals: OnceCell::new(), doubts: OnceCell::new() }
    }
}

/// The four parts of rule S7 name one fact: of several under one key the first counts.
fn mark_repeats(facts: &mut [Fact], keys: usize) {
    if facts.windows(2).all(|pair| pair[0].order() != pair[1].order()) {
        return;
    }
    let mut last = vec![usize::MAX; keys];
    for index in 0..facts.len() {
        let key = facts[index].key as usize;
        if facts.get(last[key]).is_some_and(|other| other.order() == facts[index].order()) {
            facts[index].key = REPEATED;
        } else {
            last[key] = index;
        }
    }
}

fn source_ranks<'a>(stamps: &[Stamps<'a>]) -> BTreeMap<&'a str, u32> {
    let mut ranks = BTreeMap::new();
    let mut last = None;
    for text in stamps.iter().flat_map(|stamps| stamps.source.iter().flatten()) {
        if last != Some(text) {
            ranks.insert(text, 0);
            last = Some(text);
        }
    }
    for (rank, value) in ranks.values_mut().enumerate() {
        *value = rank as u32;
    }
    ranks
}

/// The key's columns, or `None` when the load did not observe one of them, so that none of its facts can match.
fn key_columns(batch: &RecordBatch, request: &FactRequest<'_>) -> Option<Vec<ArrayRef>> {
    request.key.iter().map(|part| batch.column_by_name(&feature_column(part.feature)).cloned()).collect()
}

type SupersededAt<'a> = Box<dyn Fn(usize) -> i64 + 'a>;

fn superseded_at<'a>(batch: &'a RecordBatch, entity: &str) -> Result<Option<SupersededAt<'a>>, EngineError> {
    let Some(column) = batch.column_by_name(SUPERSEDED_AT) else {
        return match batch.column_by_name(EVENT_ID) {
            Some(ids) if ids.null_count() < ids.len() => {
                Err(contract(entity, "facts with event ids came without `superseded_at`"))
            }
            _ => Ok(None),
        };
    };
    if !matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
        return Err(contract(entity, "`superseded_at` is not in microseconds"));
    }
    let column = column.as_primitive::<TimestampMicrosecondType>();
    Ok(Some(Box::new(|row| if column.is_null(row) { i64::MAX } else { column.value(row) })))
}

/// The facts of one key in the order of rule S7, by their positions among all facts.
#[derive(Debug)]
pub(crate) struct Timeline<'a> {
    all: &'a Timelines,
    range: Range<usize>,
    /// The longest time from event to arrival; `i64::MAX` where a fact may be superseded.
    delay_max: OnceCell<i64>,
    /// Negated arrivals from last to first.
    arrivals: OnceCell<MaxTree>,
    /// From when on a fact is visible for certain; never for one that may be superseded.
    doubts: OnceCell<MaxTree>,
}

/// Up to this many facts a straight scan beats building a tree.
const SCAN_MAX: usize = 64;

impl Timeline<'_> {
    /// Positions of all facts of the key.
    pub(crate) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Whether the facts at these positions, at least one, are all visible for certain. O(1) after O(n) once; `false` says
    /// nothing.
    pub(crate) fn all_certain(&self, positions: &Range<usize>, known_as_of: i64) -> bool {
        let delay_max = *self.delay_max.get_or_init(|| {
            let delay = |position: usize| match self.all.superseded[position] {
                i64::MAX => self.all.arrival[position].saturating_sub(self.all.event[position]),
                _ => i64::MAX,
            };
            self.range().map(delay).max().unwrap_or(0)
        });
        delay_max < i64::MAX && self.all.event[positions.end - 1].saturating_add(delay_max) <= known_as_of
    }

    /// The first position not before `from` with `event_time >= at`, where none before `from` has. O(log distance).
    pub(crate) fn advance_to(&self, from: usize, at: i64) -> usize {
        self.gallop(from, |event| event < at)
    }

    /// The first position not before `from` with `event_time > at`, where none before `from` has. O(log distance).
    pub(crate) fn advance_past(&self, from: usize, at: i64) -> usize {
        self.gallop(from, |event| event <= at)
    }

    fn gallop(&self, from: usize, before: impl Fn(i64) -> bool) -> usize {
        let events = &self.all.event[from..self.range.end];
        let (mut passed, mut step) = (0, 1);
        while passed + step <= events.len() && before(events[passed + step - 1]) {
            passed += step;
            step *= 2;
        }
        let end = (passed + step - 1).min(events.len());
        from + passed + events[passed..end].partition_point(|event| before(*event))
    }

    /// The first position with `event_time >= at`.
    pub(crate) fn first_at(&self, at: i64) -> usize {
        self.range.start + self.all.event[self.range.clone()].partition_point(|event| *event < at)
    }

    /// The first position with `event_time > at`.
    pub(crate) fn first_after(&self, at: i64) -> usize {
        self.range.start + self.all.event[self.range.clone()].partition_point(|event| *event <= at)
    }

    /// Whether the fact at `position` exists for somebody who knows what arrived until `known_as_of` (rule S8).
    pub(crate) fn is_visible(&self, position: usize, known_as_of: i64) -> bool {
        self.all.arrival[position] <= known_as_of && known_as_of < self.all.superseded[position]
    }

    /// The last visible position before `end`. O(log n) plus the superseded versions passed over.
    pub(crate) fn last_visible(&self, mut end: usize, known_as_of: i64) -> Option<usize> {
        let scan_from = end.saturating_sub(SCAN_MAX).max(self.range.start);
        if let Some(found) = (scan_from..end).rev().find(|position| self.is_visible(*position, known_as_of)) {
            return Some(found);
        }
        end = scan_from;
        while end > self.range.start {
            let tree = self.arrivals.get_or_init(|| {
                MaxTree::new(self.all.arrival[self.range.clone()].iter().rev().map(|arrival| -arrival))
            });
            // The last position before `end` that arrived in time is the first one in the reversed order.
            let reversed = tree.next_above(self.range.end - end, self.range.len(), -known_as_of - 1)?;
            let position = self.range.end - 1 - reversed;
            if self.is_visible(position, known_as_of) {
                return Some(position);
            }
            end = position;
        }
        None
    }

    /// Calls `visit` with maximal runs of visible positions in `positions`, in order. O(log n) per fact that arrived too late
    /// or may be superseded, plus O(log n).
    pub(crate) fn for_each_run(&self, positions: Range<usize>, known_as_of: i64, visit: &mut impl FnMut(Range<usize>)) {
        let mut start = positions.start;
        for doubtful in self.doubtful(positions.clone(), known_as_of) {
            if self.is_visible(doubtful, known_as_of) {
                continue;
            }
            if start < doubtful {
                visit(start..doubtful);
            }
            start = doubtful + 1;
        }
        if start < positions.end {
            visit(start..positions.end);
        }
    }

    /// Positions whose visibility has to be checked one by one, in order.
    fn doubtful(&self, positions: Range<usize>, known_as_of: i64) -> impl Iterator<Item = usize> {
        let certain_from = |position: usize| {
            if self.all.superseded[position] == i64::MAX { self.all.arrival[position] } else { i64::MAX }
        };
        let scan = positions.len() <= SCAN_MAX;
        let mut next = positions.start;
        std::iter::from_fn(move || {
            let found = if scan {
                (next..positions.end).find(|position| certain_from(*position) > known_as_of)
            } else {
                let tree = self.doubts.get_or_init(|| MaxTree::new(self.range.clone().map(certain_from)));
                let offset = self.range.start;
                tree.next_above(next - offset, positions.end - offset, known_as_of).map(|found| found + offset)
            };
            next = found.map_or(positions.end, |position| position + 1);
            found
        })
    }
}

/// Finds the next of many numbers that exceeds a bound. A complete binary tree of maxima; 16 bytes per number.
#[derive(Debug)]
struct MaxTree {
    leaves: usize,
    nodes: Vec<i64>,
}

impl MaxTree {
    fn new(values: impl ExactSizeIterator<Item = i64>) -> Self {
        let leaves = values.len().next_power_of_two();
        let mut nodes = vec![i64::MIN; 2 * leaves];
        for (index, value) in values.enumerate() {
            nodes[leaves + index] = value;
        }
        for node in (1..leaves).rev() {
            nodes[node] = nodes[2 * node].max(nodes[2 * node + 1]);
        }
        Self { leaves, nodes }
    }

    /// The first index in `from..to` whose number is above `bound`, which is at least `i64::MIN`. O(log n).
    fn next_above(&self, from: usize, to: usize, bound: i64) -> Option<usize> {
        if from >= to {
            return None;
        }
        let mut node = self.leaves + from;
        while self.nodes[node] <= bound {
            // Up while this was a right child, then to the neighbour; the rightmost path has no neighbour.
            while node & 1 == 1 {
                node >>= 1;
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < self.leaves {
            node *= 2;
            if self.nodes[node] <= bound {
                node += 1;
            }
        }
        let index = node - self.leaves;
        (index < to).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timelines(facts: &[(i64, i64, i64)]) -> Timelines {
        Timelines {
            starts: vec![0, 0, facts.len()],
            event: facts.iter().map(|fact| fact.0).collect(),
            arrival: facts.iter().map(|fact| fact.1).collect(),
            superseded: facts.iter().map(|fact| fact.2).collect(),
            places: vec![(0, 0); facts.len()],
        }
    }

    fn stamps() -> impl Strategy<Value = Vec<(i64, i64, i64)>> {
        let superseded = prop_oneof![4 => Just(i64::MAX), 1 => 0i64..100];
        // Mostly in order, sometimes very late.
        let delay = prop_oneof![8 => 0i64..3, 1 => 0i64..300];
        prop::collection::vec((delay, superseded), 0..300).prop_map(|delays| {
            let stamped = |(event, (delay, superseded)): (usize, (i64, i64))| {
                (event as i64 / 2, event as i64 / 2 + delay, superseded)
            };
            delays.into_iter().enumerate().map(stamped).collect()
        })
    }

    proptest! {
        #[test]
        fn the_next_number_above_a_bound_is_found(
            values in prop::collection::vec(-5i64..6, 0..70), from in 0usize..70, to in 0usize..71, bound in -6i64..7,
        ) {
            let (from, to) = (from.min(values.len()), to.min(values.len()));
            let expected = (from..to.max(from)).find(|index| values[*index] > bound);
            prop_assert_eq!(MaxTree::new(values.iter().copied()).next_above(from, to, bound), expected);
        }

        #[test]
        fn s7_s8_trees_find_what_a_scan_finds(facts in stamps(), from in 0usize..300, to in 0usize..301, known in -1i64..200) {
            let all = timelines(&facts);
            let timeline = all.of_key(1);
            let visible = |position: &usize| facts[*position].1 <= known && known < facts[*position].2;
            let to = to.min(facts.len());
            let from = from.min(to);
            let mut seen = Vec::new();
            let mut runs = Vec::new();
            timeline.for_each_run(from..to, known, &mut |run| {
                seen.extend(run.clone());
                runs.push(run);
            });
            prop_assert_eq!(seen, (from..to).filter(visible).collect::<Vec<_>>());
            prop_assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start), "runs are maximal");
            prop_assert_eq!(timeline.last_visible(to, known), (0..to).rev().find(visible));
            if from < to && timeline.all_certain(&(from..to), known) {
                prop_assert!((from..to).all(|position| visible(&position)), "certain facts are visible");
            }
        }

        #[test]
        fn advancing_finds_what_a_search_finds(facts in stamps(), start in -1i64..160, ats in prop::collection::vec(-1i64..160, 0..9)) {
            let all = timelines(&facts);
            let timeline = all.of_key(1);
            let (mut to, mut past) = (timeline.first_at(start), timeline.first_after(start));
            let mut ats = ats;
            ats.sort_unstable();
            for at in ats.into_iter().filter(|at| *at >= start) {
                to = timeline.advance_to(to, at);
                past = timeline.advance_past(past, at);
                prop_assert_eq!((to, past), (timeline.first_at(at), timeline.first_after(at)));
            }
        }

        #[test]
        fn s7_grouping_keeps_the_order_and_drops_repeats(keys in prop::collection::vec((0u32..4, 0i64..6, 0u64..3), 0..60)) {
            let fact = |(row, (key, event, sequence)): (usize, (u32, i64, u64))| Fact {
                key, source: 0, event, arrival: event, sequence, superseded: i64::MAX, batch: 0, row: row as u32,
            };
            let mut facts: Vec<Fact> = keys.into_iter().enumerate().map(fact).collect();
            facts.sort_by_key(Fact::order);
            let mut expected = Vec::new();
            for key in 0..4 {
                let mut of_key: Vec<_> = facts.iter().filter(|fact| fact.key == key).collect();
                of_key.dedup_by_key(|fact| fact.order());
                expected.push(of_key.iter().map(|fact| (fact.event, fact.row as usize)).collect::<Vec<_>>());
            }
            mark_repeats(&mut facts, 4);
            let all = Timelines::grouped(&facts, 4);
            for key in 0..4 {
                let range = all.of_key(key).range();
                let got: Vec<_> = range.map(|position| (all.event[position], all.places[position].1)).collect();
                prop_assert_eq!(&got, &expected[key as usize]);
            }
        }
    }
}
