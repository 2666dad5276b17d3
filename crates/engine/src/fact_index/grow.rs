//! Puts facts where they lie and brings the tiles above them up to date.
//!
//! Only pages on the way to changed leaves are read and written. Partials of a changed leaf are computed from its facts,
//! those of a page are merged from its parts: never adjusted, so a fact that is superseded or comes late needs no care.

use std::collections::BTreeMap;
use std::sync::Arc;

use creta_model::FeatureId;
use creta_store::{OnlineKey, OnlineView, StoreError};

use super::block::{self, IndexedFact, NotABlock, Part};
use super::page::{Below, Entry, Extent, Interval, Page, ordinal};
use super::{Limits, damaged, leaf_key, page_key, read_leaf};
use crate::windows::{Accumulator, TileMark, merged, next_partial};

/// A fact with the features that it carries, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lying {
    pub(super) features: Arc<[FeatureId]>,
    pub(super) fact: IndexedFact,
}

/// (event time, arrival time, sequence) of a fact that is superseded from then on.
pub(super) type Mark = ((i64, i64, u64), i64);

impl Lying {
    /// Facts lie in this order, so that their bytes do not depend on when they came.
    fn order(&self) -> (i64, i64, u64, &[FeatureId], &[u8]) {
        let fact = &self.fact;
        (fact.event_time, fact.arrival_time, fact.sequence, &self.features, &fact.row)
    }
}

pub(super) fn sort(facts: &mut [Lying]) {
    if !facts.is_sorted_by(|a, b| a.order() <= b.order()) {
        facts.sort_by(|a, b| a.order().cmp(&b.order()));
    }
}

pub(super) fn flatten(parts: Vec<Part>) -> Vec<Lying> {
    let lying = |part: Part| {
        let features: Arc<[FeatureId]> = part.features.into();
        part.facts.into_iter().map(move |fact| Lying { features: Arc::clone(&features), fact })
    };
    let mut facts: Vec<Lying> = parts.into_iter().flat_map(lying).collect();
    sort(&mut facts);
    facts
}

/// Sorted facts as parts, in the order of their features.
pub(super) fn gather(facts: Vec<Lying>) -> Vec<Part> {
    let mut parts: BTreeMap<Arc<[FeatureId]>, Vec<IndexedFact>> = BTreeMap::new();
    for lying in facts {
        parts.entry(lying.features).or_default().push(lying.fact);
    }
    parts.into_iter().map(|(features, facts)| Part { features: features.to_vec(), facts }).collect()
}

pub(super) fn supersede(facts: &mut [Lying], marks: &[Mark]) {
    for (stamp, at) in marks {
        let same = |fact: &&mut IndexedFact| (fact.event_time, fact.arrival_time, fact.sequence) == *stamp;
        for fact in facts.iter_mut().map(|lying| &mut lying.fact).filter(same) {
            fact.superseded_at = fact.superseded_at.min(*at);
        }
    }
}

fn extent(facts: &[Lying]) -> Extent {
    let one = |Lying { fact, .. }: &Lying| {
        let certain_from = match fact.superseded_at {
            _ if fact.retracted => i64::MIN,
            i64::MAX => fact.arrival_time,
            // Never visible: a newer version was known first.
            at if at <= fact.arrival_time => i64::MIN,
            at => at,
        };
        let (first, arrival_min) = (fact.event_time, fact.arrival_time);
        Extent { first, last: first, facts: 1, arrival_min, certain_from }
    };
    facts.iter().map(one).fold(Extent::NONE, |all, one| all.and(&one))
}

/// A page that is being changed.
pub(super) struct Draft {
    interval: Interval,
    entries: Vec<DraftEntry>,
}

struct DraftEntry {
    interval: Interval,
    node: Node,
}

enum Node {
    /// As it is stored.
    Kept(Box<Entry>),
    Leaf(Vec<Lying>),
    Page(Box<Draft>),
}

/// Changes what lies under one root.
pub(super) struct Grower<'a> {
    pub(super) view: &'a dyn OnlineView,
    pub(super) root: &'a OnlineKey,
    pub(super) marks: &'a [TileMark],
    pub(super) limits: Limits,
    /// Values that are no longer needed.
    pub(super) dead: &'a mut Vec<OnlineKey>,
}

impl Grower<'_> {
    /// A page over facts, more than a leaf may hold.
    pub(super) fn build(&mut self, facts: Vec<Lying>) -> Draft {
        let point = |lying: Option<&Lying>| ordinal(lying.expect("a page has facts").fact.event_time);
        let interval = Interval::of_page(point(facts.first()), point(facts.last()));
        let mut entries = Vec::new();
        self.cut(interval, interval.slot_shift(), facts, &mut entries);
        Draft { interval, entries }
    }

    fn build_part(&mut self, interval: Interval, slot_shift: u8, facts: Vec<Lying>, out: &mut Vec<DraftEntry>) {
        if facts.is_empty() {
            return;
        }
        if facts.len() <= self.limits.leaf_facts_max || interval.shift == 0 {
            out.push(DraftEntry { interval, node: Node::Leaf(facts) });
        } else if interval.shift == slot_shift {
            let page = self.build(facts);
            out.push(DraftEntry { interval, node: Node::Page(Box::new(page)) });
        } else {
            self.cut(interval, slot_shift, facts, out);
        }
    }

    fn cut(&mut self, interval: Interval, slot_shift: u8, facts: Vec<Lying>, out: &mut Vec<DraftEntry>) {
        let [early, late] = interval.halves();
        let (facts, later) = split(facts, late.start);
        self.build_part(early, slot_shift, facts, out);
        self.build_part(late, slot_shift, later, out);
    }

    /// Adds sorted facts to a page; answers the page that is now at the top.
    pub(super) fn add(&mut self, mut page: Draft, facts: Vec<Lying>) -> Result<Draft, StoreError> {
        let (Some(first), Some(last)) = (facts.first(), facts.last()) else { return Ok(page) };
        let (first, last) = (ordinal(first.fact.event_time), ordinal(last.fact.event_time));
        if !page.interval.contains(first) || !page.interval.contains(last) {
            let start = page.interval.start;
            let end = if page.interval.shift >= 64 { u64::MAX } else { start | ((1 << page.interval.shift) - 1) };
            let interval = Interval::of_page(start.min(first), end.max(last));
            let slot = Interval::around(start, interval.slot_shift());
            page = Draft { interval, entries: vec![DraftEntry { interval: slot, node: Node::Page(Box::new(page)) }] };
        }
        let mut entries = Vec::with_capacity(page.entries.len() + 1);
        let slot_shift = page.interval.slot_shift();
        self.cut_with(page.interval, slot_shift, page.entries, facts, &mut entries)?;
        Ok(Draft { interval: page.interval, entries })
    }

    fn add_part(
        &mut self,
        interval: Interval,
        slot_shift: u8,
        mut entries: Vec<DraftEntry>,
        facts: Vec<Lying>,
        out: &mut Vec<DraftEntry>,
    ) -> Result<(), StoreError> {
        if facts.is_empty() {
            out.append(&mut entries);
            return Ok(());
        }
        if entries.is_empty() {
            self.build_part(interval, slot_shift, facts, out);
            return Ok(());
        }
        if entries[0].interval != interval {
            return self.cut_with(interval, slot_shift, entries, facts, out);
        }
        match self.opened(entries.remove(0))? {
            Node::Page(page) => {
                let page = self.add(*page, facts)?;
                out.push(DraftEntry { interval, node: Node::Page(Box::new(page)) });
            }
            Node::Leaf(mut all) => {
                all.extend(facts);
                sort(&mut all);
                if all.len() > self.limits.leaf_facts_max && interval.shift > 0 {
                    self.dead.push(leaf_key(self.root, interval));
                }
                self.build_part(interval, slot_shift, all, out);
            }
            Node::Kept(_) => unreachable!("it was opened"),
        }
        Ok(())
    }

    fn cut_with(
        &mut self,
        interval: Interval,
        slot_shift: u8,
        mut entries: Vec<DraftEntry>,
        facts: Vec<Lying>,
        out: &mut Vec<DraftEntry>,
    ) -> Result<(), StoreError> {
        let [early, late] = interval.halves();
        let later_entries = entries.split_off(entries.partition_point(|entry| entry.interval.start < late.start));
        let (facts, later) = split(facts, late.start);
        self.add_part(early, slot_shift, entries, facts, out)?;
        self.add_part(late, slot_shift, later_entries, later, out)
    }

    /// Marks facts that are superseded; `marks` are in order of event time.
    pub(super) fn supersede(&mut self, page: &mut Draft, marks: &[Mark]) -> Result<(), StoreError> {
        for entry in &mut page.entries {
            let from = marks.partition_point(|((event, ..), _)| ordinal(*event) < entry.interval.start);
            let inside = marks[from..].iter().take_while(|((event, ..), _)| entry.interval.contains(ordinal(*event)));
            let marks = &marks[from..from + inside.count()];
            if marks.is_empty() {
                continue;
            }
            let interval = entry.interval;
            let node = std::mem::replace(&mut entry.node, Node::Leaf(Vec::new()));
            entry.node = self.opened(DraftEntry { interval, node })?;
            match &mut entry.node {
                Node::Leaf(facts) => supersede(facts, marks),
                Node::Page(page) => self.supersede(page, marks)?,
                Node::Kept(_) => unreachable!("it was opened"),
            }
        }
        Ok(())
    }

    /// Opens everything below, so that all tiles are made anew.
    pub(super) fn open_all(&mut self, page: &mut Draft) -> Result<(), StoreError> {
        for entry in &mut page.entries {
            let interval = entry.interval;
            let node = std::mem::replace(&mut entry.node, Node::Leaf(Vec::new()));
            entry.node = self.opened(DraftEntry { interval, node })?;
            if let Node::Page(page) = &mut entry.node {
                self.open_all(page)?;
            }
        }
        Ok(())
    }

    /// What lies under an entry, read if it has not been.
    fn opened(&self, entry: DraftEntry) -> Result<Node, StoreError> {
        let Node::Kept(kept) = entry.node else { return Ok(entry.node) };
        let key = match kept.below {
            Below::Leaf => leaf_key(self.root, entry.interval),
            Below::Page(interval) => page_key(self.root, interval),
        };
        let bytes = self.view.get_many(&[key])?.remove(0).ok_or(NotABlock).map_err(damaged)?;
        Ok(match kept.below {
            Below::Leaf => Node::Leaf(flatten(read_leaf(&bytes).map_err(damaged)?)),
            Below::Page(_) => {
                let page = super::read_page(&bytes).map_err(damaged)?;
                Node::Page(Box::new(Draft::of(page, self.marks).map_err(damaged)?))
            }
        })
    }
}

/// Facts before a point and from there on.
fn split(mut facts: Vec<Lying>, point: u64) -> (Vec<Lying>, Vec<Lying>) {
    let later = facts.split_off(facts.partition_point(|lying| ordinal(lying.fact.event_time) < point));
    (facts, later)
}

impl Draft {
    /// A stored page; of its partials those stay that are of one of the inputs.
    pub(super) fn of(page: Page, marks: &[TileMark]) -> Result<Self, NotABlock> {
        let same = page.marks == marks;
        let mut entries = Vec::with_capacity(page.entries.len());
        for mut entry in page.entries {
            if !same {
                entry.partials = translated(&entry.partials, &page.marks, marks)?;
            }
            entries.push(DraftEntry { interval: entry.interval, node: Node::Kept(Box::new(entry)) });
        }
        Ok(Self { interval: page.interval, entries })
    }

    /// The facts of each changed leaf, in order of time.
    pub(super) fn changed<'d>(&'d self, out: &mut Vec<&'d [Lying]>) {
        for entry in &self.entries {
            match &entry.node {
                Node::Kept(_) => {}
                Node::Leaf(facts) => out.push(facts),
                Node::Page(page) => page.changed(out),
            }
        }
    }

    /// The finished page, and in `values` what lies below it and changed. `partials` are those of the changed leaves.
    pub(super) fn finish(
        self,
        root: &OnlineKey,
        marks: &[TileMark],
        partials: &mut dyn Iterator<Item = Vec<u8>>,
        accumulator: &mut Accumulator,
        values: &mut Vec<(OnlineKey, Option<Vec<u8>>)>,
    ) -> Result<Page, NotABlock> {
        let mut entries = Vec::with_capacity(self.entries.len());
        for DraftEntry { interval, node } in self.entries {
            entries.push(match node {
                Node::Kept(entry) => *entry,
                Node::Leaf(facts) => {
                    let extent = extent(&facts);
                    let mut bytes = vec![block::FORMAT];
                    block::write(&gather(facts), &mut bytes);
                    values.push((leaf_key(root, interval), Some(bytes)));
                    let partials = partials.next().expect("one for each changed leaf");
                    Entry { interval, below: Below::Leaf, extent, partials }
                }
                Node::Page(draft) => {
                    let page = draft.finish(root, marks, partials, accumulator, values)?;
                    let extent = page.entries.iter().fold(Extent::NONE, |all, entry| all.and(&entry.extent));
                    let tiles = page.entries.iter().map(|entry| entry.partials.as_slice());
                    let partials = merged(marks, tiles, accumulator)?;
                    let mut bytes = vec![block::FORMAT];
                    page.write(&mut bytes);
                    values.push((page_key(root, page.interval), Some(bytes)));
                    Entry { interval, below: Below::Page(page.interval), extent, partials }
                }
            });
        }
        Ok(Page { interval: self.interval, marks: marks.to_vec(), entries })
    }
}

/// Partials of other inputs, in their order; none where an input is new.
fn translated(mut partials: &[u8], from: &[TileMark], to: &[TileMark]) -> Result<Vec<u8>, NotABlock> {
    let old = from.iter().map(|_| next_partial(&mut partials)).collect::<Result<Vec<_>, _>>()?;
    let mut out = Vec::new();
    for mark in to {
        let partial = from.iter().position(|other| other == mark).map_or(&[][..], |index| old[index]);
        out.extend((partial.len() as u16).to_le_bytes());
        out.extend(partial);
    }
    Ok(out)
}
