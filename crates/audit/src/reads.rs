//! Reads that are counted rather than written one by one: per principal, action, feature set and outcome, until the
//! next flush, which comes at least every second.

use std::collections::{BTreeMap, HashMap};

use creta_iam::Decision;
use creta_model::{Instant, Span};

use crate::details::Details;

/// Distinct groups of reads that wait at most. One more flushes first, and is refused when that fails.
pub const READ_GROUPS_MAX: usize = 1024;
/// Reads wait at most this long before the next read flushes them.
pub const READS_FLUSHED_AFTER: Span = Span::seconds(1);
/// While the log cannot be written, reads go on for at most this long after the oldest that waits.
pub const READS_PENDING_MAX: Span = Span::seconds(10);

#[derive(Debug, Default)]
pub(crate) struct Reads {
    groups: HashMap<Group, Tally>,
    oldest: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) decision: Decision,
    pub(crate) details: Details,
}

#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) reads: u64,
    pub(crate) first: Instant,
    pub(crate) last: Instant,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Reads {
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether a read at `now` flushes before it is counted.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.groups.len() >= READ_GROUPS_MAX || self.waited(now, READS_FLUSHED_AFTER)
    }

    /// Whether a read at `now` has to be refused when flushing fails.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.groups.len() >= READ_GROUPS_MAX || self.waited(now, READS_PENDING_MAX)
    }

    fn waited(&self, now: Instant, span: Span) -> bool {
        self.oldest.is_some_and(|oldest| now >= oldest.plus(span))
    }

    /// Counts one read.
    pub(crate) fn count(&mut self, decision: Decision, details: Details, now: Instant) {
        let (counts, details) = details.split_counts();
        self.add(Group { decision, details }, Tally { reads: 1, first: now, last: now, counts });
    }

    /// Takes everything that waits.
    pub(crate) fn take(&mut self) -> Reads {
        std::mem::take(self)
    }

    /// Puts back what could not be written, beside what came in meanwhile.
    pub(crate) fn put_back(&mut self, unwritten: Reads) {
        for (group, tally) in unwritten.groups {
            self.add(group, tally);
        }
    }

    /// Groups in the order of their first read.
    pub(crate) fn in_order(&self) -> Vec<(&Group, &Tally)> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        let place = |group: &Group| {
            let (who, what) = (group.decision.principal().clone(), group.decision.action());
            let features: Vec<String> = group.decision.resource().feature_set().names().map(str::to_owned).collect();
            (who, what, group.decision.resource().place().to_string(), features)
        };
        groups.sort_by_cached_key(|(group, tally)| (tally.first, place(group)));
        groups
    }

    fn add(&mut self, group: Group, tally: Tally) {
        self.oldest = Some(self.oldest.map_or(tally.first, |oldest| oldest.min(tally.first)));
        match self.groups.entry(group) {
            std::collections::hash_map::Entry::Vacant(vacant) => drop(vacant.insert(tally)),
            std::collections::hash_map::Entry::Occupied(mut known) => known.get_mut().join(tally),
        }
    }
}

impl Tally {
    fn join(&mut self, other: Tally) {
        self.reads += other.reads;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        for (key, count) in other.counts {
            let sum = self.counts.entry(key).or_default();
            *sum = sum.saturating_add(count);
        }
    }
}
