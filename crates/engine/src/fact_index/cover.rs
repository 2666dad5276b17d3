//! Which tiles and which facts a window consists of (rule S11).

use std::collections::{BTreeSet, HashMap};

use creta_store::{OnlineKey, OnlineView, StoreError};

use super::block::{NotABlock, Part};
use super::page::{Below, Interval, Page};
use super::{block, damaged, leaf_key, page_key, read_leaf, read_page};
use crate::windows::{TileMark, next_partial, peek};

/// What an aggregate wants of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Want {
    /// Inputs of the index whose partials are merged or consulted; with none, tiles do not help.
    pub(crate) inputs: Vec<usize>,
    /// From which end of the window on `facts` are counted.
    pub(crate) from_start: bool,
    /// So many facts that count are wanted as they are, or all there are; only the others may be tiles.
    pub(crate) facts: u64,
}

/// Both ends included, in microseconds; what is known; which parts are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) known_as_of: i64,
    pub(super) want: &'a Want,
}

/// A window as tiles and ranges of event time, both ends included, without gaps in what is visible.
#[derive(Debug, Default)]
pub(crate) struct Cover {
    /// Number of the page and of the entry in it.
    pub(crate) tiles: Vec<(u32, u32)>,
    /// In order of time.
    pub(crate) facts: Vec<(i64, i64)>,
}

/// Reads the facts of a leaf.
type ReadLeaf<'r> = dyn FnMut() -> Result<Vec<Part>, StoreError> + 'r;

/// Is given the event time of a leaf's last fact and what reads the leaf; answers whether it wants more.
type Visit<'v> = dyn FnMut(i64, &mut ReadLeaf<'_>) -> Result<bool, StoreError> + 'v;

/// The pages and leaves of one root that were read at one moment.
pub(super) struct Tree<'a> {
    view: &'a dyn OnlineView,
    root: &'a OnlineKey,
    /// Inputs of the index.
    marks: &'a [TileMark],
    top: u32,
    pub(super) pages: &'a mut Vec<Page>,
    numbers: HashMap<Interval, u32>,
    leaves: BTreeSet<Interval>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(
        view: &'a dyn OnlineView,
        root: &'a OnlineKey,
        marks: &'a [TileMark],
        top: Page,
        pages: &'a mut Vec<Page>,
    ) -> Self {
        let number = pages.len() as u32;
        pages.push(top);
        Self { view, root, marks, top: number, pages, numbers: HashMap::new(), leaves: BTreeSet::new() }
    }

    /// About how many facts lie between two instants, both included; never fewer.
    pub(super) fn estimate(&self, from: i64, to: i64) -> u64 {
        let entries = self.pages[self.top as usize].entries.iter().map(|entry| &entry.extent);
        entries.filter(|extent| extent.first <= to && extent.last >= from).map(|extent| extent.facts).sum()
    }

    /// Covers a window; the leaves that it needs are read by [`Tree::read_leaves`]. Reads O(log facts) pages, more where
    /// facts were learned late or are wanted as they are.
    pub(super) fn cover(&mut self, window: Window<'_>) -> Result<Cover, StoreError> {
        let mut cover = Cover::default();
        let mut wanted = window.want.facts;
        if window.from <= window.to {
            self.walk(self.top, window, &mut wanted, &mut cover)?;
        }
        if !window.want.from_start {
            cover.facts.reverse();
        }
        Ok(cover)
    }

    fn walk(&mut self, number: u32, window: Window<'_>, wanted: &mut u64, cover: &mut Cover) -> Result<(), StoreError> {
        let count = self.pages[number as usize].entries.len();
        for index in 0..count {
            let index = if window.want.from_start { index } else { count - 1 - index };
            let page = &self.pages[number as usize];
            let entry = &page.entries[index];
            let extent = entry.extent;
            if extent.last < window.from || extent.first > window.to || extent.arrival_min > window.known_as_of {
                continue;
            }
            let inside = window.from <= extent.first && extent.last <= window.to;
            let counted = if inside && extent.certain_from <= window.known_as_of {
                self.counted(page, &entry.partials, window.want).map_err(damaged)?
            } else {
                None
            };
            if counted.is_some_and(|counted| *wanted == 0 || counted == 0) {
                cover.tiles.push((number, index as u32));
                continue;
            }
            match entry.below {
                Below::Page(interval) => {
                    let below = self.page(interval)?;
                    self.walk(below, window, wanted, cover)?;
                }
                Below::Leaf => {
                    self.leaves.insert(entry.interval);
                    cover.facts.push((extent.first.max(window.from), extent.last.min(window.to)));
                    *wanted = wanted.saturating_sub(counted.unwrap_or(0));
                }
            }
        }
        Ok(())
    }

    /// How many facts of a tile count, by the input where most do; `None` if the tile lacks an input or a fact of it
    /// failed.
    fn counted(&self, page: &Page, partials: &[u8], want: &Want) -> Result<Option<u64>, NotABlock> {
        let mut most = None;
        for input in &want.inputs {
            let Some(partial) = partial_of(page, partials, *input, &self.marks[*input])? else { return Ok(None) };
            let (failed, count) = peek(partial)?;
            if failed {
                return Ok(None);
            }
            most = most.max(Some(u64::from(count)));
        }
        Ok(most)
    }

    fn page(&mut self, interval: Interval) -> Result<u32, StoreError> {
        if let Some(number) = self.numbers.get(&interval) {
            return Ok(*number);
        }
        let bytes = self.view.get_many(&[page_key(self.root, interval)])?.remove(0);
        let number = self.pages.len() as u32;
        self.pages.push(bytes.ok_or(NotABlock).and_then(|bytes| read_page(&bytes)).map_err(damaged)?);
        self.numbers.insert(interval, number);
        Ok(number)
    }

    /// Adds the facts of the leaves that covers need.
    pub(super) fn read_leaves(self, parts: &mut Vec<Part>) -> Result<(), StoreError> {
        let keys: Vec<OnlineKey> = self.leaves.iter().map(|interval| leaf_key(self.root, *interval)).collect();
        for bytes in self.view.get_many(&keys)? {
            block::append(parts, bytes.ok_or(NotABlock).and_then(|bytes| read_leaf(&bytes)).map_err(damaged)?);
        }
        Ok(())
    }

    /// Visits leaves with facts up to `to` that somebody who knows what arrived until `known_to` may see, from the latest
    /// on, until `visit` has enough.
    pub(super) fn latest_first(&mut self, to: i64, known_to: i64, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.descend(self.top, to, known_to, visit).map(drop)
    }

    fn descend(&mut self, number: u32, to: i64, known_to: i64, visit: &mut Visit<'_>) -> Result<bool, StoreError> {
        for index in (0..self.pages[number as usize].entries.len()).rev() {
            let entry = &self.pages[number as usize].entries[index];
            if entry.extent.first > to || entry.extent.arrival_min > known_to {
                continue;
            }
            let more = match entry.below {
                Below::Page(interval) => {
                    let below = self.page(interval)?;
                    self.descend(below, to, known_to, visit)?
                }
                Below::Leaf => {
                    let (view, key) = (self.view, leaf_key(self.root, entry.interval));
                    let mut read = || {
                        let bytes = view.get_many(std::slice::from_ref(&key))?.remove(0);
                        bytes.ok_or(NotABlock).and_then(|bytes| read_leaf(&bytes)).map_err(damaged)
                    };
                    visit(entry.extent.last, &mut read)?
                }
            };
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The partial of one of the index's inputs among those of a tile, if the page holds such.
pub(crate) fn partial_of<'p>(
    page: &Page,
    mut partials: &'p [u8],
    input: usize,
    mark: &TileMark,
) -> Result<Option<&'p [u8]>, NotABlock> {
    let place = if page.marks.get(input) == Some(mark) {
        input
    } else {
        match page.marks.iter().position(|other| other == mark) {
            Some(place) => place,
            None => return Ok(None),
        }
    };
    for _ in 0..place {
        next_partial(&mut partials)?;
    }
    let partial = next_partial(&mut partials)?;
    Ok((!partial.is_empty()).then_some(partial))
}
