//! Facts where online queries find them: by key and time, in the online store.
//!
//! Each entity has an index over its key and one for every set of features that a `many` relation joins on. An index
//! holds for each key one *root* value: all facts of the key while they are few, later the top [page] of a tree over time
//! with the facts in leaves and tiles above them, each a value of its own. A fact with an event id also has its place among
//! the [versions] of its event, so that a newer version supersedes it wherever it lies (rule S8).
//!
//! The index is derived: applying a batch of facts, with all tiles that it touches, and moving the position is one
//! transaction of the online store, so each batch counts exactly once, whatever crashes; and what is applied does not
//! depend on the order of arrival (S9). Whoever reads holds one view of the store, so tiles and facts are of one moment.

mod block;
mod contents;
mod cover;
mod grow;
mod newest;
mod page;
#[cfg(test)]
mod tests;
mod versions;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use creta_model::{EntityId, FeatureId, Type};
use creta_planner::{Aggregation, KeyColumn};
use creta_store::{FactBatch, FactSnapshot, OnlineKey, OnlineStore, OnlineView, Position, StoreError, layout};

use block::{FORMAT, Part};
use cover::{Tree, Window};
use grow::{Draft, Grower, Lying, Mark};
pub(crate) use newest::{Newest, NewestReader, Plain, Wanted, is_plain};
use page::Interval;
use versions::Version;

use crate::error::EngineError;
use crate::facts::{FactRange, FactReader, FactRequest};
use crate::key_set::{Encoded, KeyEncoder};
use crate::windows::{Accumulator, TileFacts, TileInput, TileMark, partials};

pub(crate) use block::{NotABlock, take, take_u32};
pub(crate) use contents::Contents;
pub(crate) use cover::{Cover, Want, partial_of};
pub(crate) use page::Page;

/// How much is held together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// A key keeps its facts in its root value up to this many; at least as many as in a leaf.
    pub(crate) inline_facts_max: usize,
    /// Facts of one leaf, unless all are of one microsecond.
    pub(crate) leaf_facts_max: usize,
    /// A window is put together from tiles where it would otherwise read more facts than this, for each window of a key.
    pub(crate) facts_per_window: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { inline_facts_max: 128, leaf_facts_max: 64, facts_per_window: 64 }
    }
}

const ROOT: &str = "fact-root";
const PAGE: &str = "fact-page";
const LEAF: &str = "fact-leaf";
const EVENT: &str = "fact-event";
const SHAPE: &str = "fact-index-shape";

/// Keys whose tiles are made anew in one transaction.
const KEYS_AT_ONCE: usize = 64;

const INLINE: u8 = 0;
const TREE: u8 = 1;

/// Features by which facts of an entity are found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct IndexSpec {
    /// Entity of the facts.
    pub entity: EntityId,
    /// In the order of the key or of the relation's pairs.
    pub features: Vec<FeatureId>,
}

/// What the points of a request want of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Event times from `from` to `to`, both included.
    Window { from: i64, to: i64 },
    /// The latest fact at or before any instant from `from` to `to`, for whoever knows at least what was known at `known`.
    Latest { from: i64, to: i64, known: i64 },
}

/// For each key of the request what its points want; `None` for a key without points.
fn reaches(request: &FactRequest<'_>) -> Vec<Option<Reach>> {
    let mut reaches: Vec<Option<Reach>> = vec![None; request.keys.len()];
    for point in request.points {
        let reach = &mut reaches[point.key as usize];
        *reach = Some(match (request.range, *reach) {
            (FactRange::Window { span_max, .. }, None) => {
                Reach::Window { from: point.as_of.saturating_sub(span_max), to: point.as_of }
            }
            (FactRange::Window { span_max, .. }, Some(Reach::Window { from, to } | Reach::Latest { from, to, .. })) => {
                Reach::Window { from: from.min(point.as_of.saturating_sub(span_max)), to: to.max(point.as_of) }
            }
            (FactRange::Latest { .. }, Some(Reach::Latest { from, to, known })) => Reach::Latest {
                from: from.min(point.as_of),
                to: to.max(point.as_of),
                known: known.min(point.known_as_of),
            },
            (FactRange::Latest { .. }, _) => {
                Reach::Latest { from: point.as_of, to: point.as_of, known: point.known_as_of }
            }
        });
    }
    reaches
}

/// The index over one scope's facts.
pub struct FactIndex {
    store: Arc<dyn OnlineStore>,
    contents: Contents,
    /// What the partials of each index are of, in the order of its inputs.
    marks: Vec<Vec<TileMark>>,
    limits: Limits,
    /// The store is being made anew for other definitions.
    retired: AtomicBool,
}

/// What an index was built for, kept beside it.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Shape {
    format: u8,
    specs: Vec<IndexSpec>,
    types: BTreeMap<FeatureId, Type>,
    /// Of each index.
    tiles: Vec<Vec<TileMark>>,
}

/// What was there before an index is opened.
#[derive(Clone, Copy, Default)]
pub(crate) struct Before<'a> {
    /// The index over the same store that somebody may still ask.
    pub(crate) index: Option<&'a FactIndex>,
    /// The facts that were or will be applied; none for a store of its own.
    pub(crate) truth: Option<&'a FactSnapshot>,
}

impl Shape {
    /// Whether a store of this shape needs nothing but the facts that come from now on to be one of another: a feature that is
    /// new has no facts yet, unless it was stored before it was something else for a while.
    fn grows_to(&self, wanted: &Self, before: &Before<'_>) -> Result<bool, StoreError> {
        let kept = self.types.iter().all(|(feature, ty)| wanted.types.get(feature) == Some(ty));
        if self.format != wanted.format || self.specs != wanted.specs || !kept {
            return Ok(false);
        }
        let mut new = wanted.types.keys().filter(|feature| !self.types.contains_key(feature)).peekable();
        let Some(truth) = before.truth.filter(|_| new.peek().is_some()) else { return Ok(true) };
        let observed = truth.observed()?;
        Ok(!new.any(|feature| observed.contains(feature)))
    }
}

/// What happens to the facts of one key.
#[derive(Default)]
struct Change {
    add: Vec<Lying>,
    supersede: Vec<Mark>,
}

/// Changes by index and root.
type Changes = BTreeMap<(usize, OnlineKey), Change>;

impl FactIndex {
    /// An index with these contents; features without a type are left out.
    ///
    /// When the store was built for other specs, kept a feature that is gone, lacks one that `truth` says was observed before,
    /// or was written by another version, it is cleared; the owner then applies all facts again, from
    /// [`FactIndex::position`] on. Whoever still asks the index that was there before is told so first. Tiles of other inputs
    /// stay where they are: windows read facts instead until [`FactIndex::make_tiles`].
    pub(crate) fn open(
        store: Arc<dyn OnlineStore>,
        contents: Contents,
        before: Before<'_>,
    ) -> Result<Self, StoreError> {
        Self::open_with(store, contents, before, Limits::default())
    }

    pub(crate) fn open_with(
        store: Arc<dyn OnlineStore>,
        contents: Contents,
        before: Before<'_>,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let marks = contents.tiles.iter().map(|inputs| inputs.iter().map(|input| input.mark).collect()).collect();
        let index = Self { store, contents, marks, limits, retired: AtomicBool::new(false) };
        let wanted = index.shape();
        let found = index.found_shape()?;
        if found.as_ref() == Some(&wanted) {
            return Ok(index);
        }
        let grown = match &found {
            Some(found) => found.grows_to(&wanted, &before)?,
            None => false,
        };
        match found {
            Some(found) if grown => index.keep_shape(&Shape { tiles: found.tiles, ..wanted })?,
            _ => {
                if let Some(index) = before.index {
                    index.retired.store(true, Ordering::SeqCst);
                }
                index.store.clear()?;
                index.keep_shape(&wanted)?;
            }
        }
        Ok(index)
    }

    fn shape(&self) -> Shape {
        let types = self.contents.types.iter().map(|(feature, ty)| (*feature, ty.clone())).collect();
        Shape { format: FORMAT, specs: self.contents.specs.clone(), types, tiles: self.marks.clone() }
    }

    fn found_shape(&self) -> Result<Option<Shape>, StoreError> {
        let found = self.store.get_many(&[shape_key()])?.remove(0);
        Ok(found.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn keep_shape(&self, shape: &Shape) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(shape).expect("numbers, names and lists are JSON");
        self.store.replace_many(vec![(shape_key(), Some(bytes))], self.store.position()?)
    }

    /// Whether tiles are missing that windows want.
    pub(crate) fn lacks_tiles(&self) -> Result<bool, StoreError> {
        Ok(self.found_shape()?.is_none_or(|found| found.tiles != self.marks))
    }

    /// Refuses what was read since the store began to be made anew: it may be of other definitions, or of none.
    fn require_in_force(&self) -> Result<(), StoreError> {
        match self.retired.load(Ordering::SeqCst) {
            true => Err(StoreError::Outdated { store: "online".to_owned() }),
            false => Ok(()),
        }
    }

    /// Makes the tiles of all keys that stand in `facts` for the inputs of now, a few keys at a time; the answers are the
    /// same before, meanwhile and afterwards. It is asked again with other facts until all that were applied came, and then
    /// [told so](Self::tiles_are_made); the position stays.
    pub(crate) fn make_tiles(&self, facts: &[FactBatch]) -> Result<(), StoreError> {
        let mut roots: BTreeSet<(usize, OnlineKey)> = BTreeSet::new();
        for facts in facts {
            for (spec, index) in self.contents.specs.iter().enumerate().filter(|(_, s)| s.entity == facts.entity()) {
                let keys = self.encode_keys(facts.batch(), index)?;
                roots.extend(keys.iter().flatten().map(|key| (spec, root_key(index, key))));
            }
        }
        let roots: Vec<(usize, OnlineKey)> = roots.into_iter().collect();
        for some in roots.chunks(KEYS_AT_ONCE) {
            let (mut drafts, mut dead) = (Vec::new(), Vec::new());
            let view = self.store.view()?;
            for (spec, root) in some {
                let bytes = view.get_many(std::slice::from_ref(root))?.remove(0);
                if let Root::Tree(page) = Root::read(bytes.as_deref()).map_err(damaged)?
                    && (page.marks != self.marks[*spec] || !page.is_whole().map_err(damaged)?)
                {
                    let marks = &self.marks[*spec];
                    let mut draft = Draft::of(page, marks).map_err(damaged)?;
                    let limits = self.limits;
                    Grower { view: &*view, root, marks, limits, dead: &mut dead }.open_all(&mut draft)?;
                    drafts.push((*spec, root.clone(), draft));
                }
            }
            drop(view);
            let mut values = Vec::new();
            self.finish(drafts, &mut values)?;
            self.store.replace_many(values, self.store.position()?)?;
        }
        Ok(())
    }

    /// Notes that the tiles of every key are there.
    pub(crate) fn tiles_are_made(&self) -> Result<(), StoreError> {
        self.keep_shape(&self.shape())
    }

    /// Up to where the facts are applied.
    pub fn position(&self) -> Result<Position, StoreError> {
        self.store.position()
    }

    /// Adds facts, all or none, and moves the position. Cost: for each key in the batch one read and one write, of a key with
    /// many facts one of each per leaf and per page above it; one of each per event id.
    pub fn apply(&self, batches: &[FactBatch], position: Position) -> Result<(), StoreError> {
        let mut roots = Changes::new();
        let mut events: BTreeMap<OnlineKey, Vec<u8>> = BTreeMap::new();
        for facts in batches {
            self.collect(facts, &mut roots, &mut events)?;
        }
        self.write(roots, events, position)
    }

    fn collect(
        &self,
        facts: &FactBatch,
        roots: &mut Changes,
        events: &mut BTreeMap<OnlineKey, Vec<u8>>,
    ) -> Result<(), StoreError> {
        let batch = facts.batch();
        let entity = facts.entity();
        let all = &self.contents.specs;
        let specs: Vec<usize> = (0..all.len()).filter(|i| all[*i].entity == entity).collect();
        let keys: Vec<Vec<Option<Box<[u8]>>>> =
            specs.iter().map(|i| self.encode_keys(batch, &all[*i])).collect::<Result<_, _>>()?;
        let superseded = self.supersede(entity, batch, &specs, &keys, roots, events)?;
        let (features, encoded) =
            block::encode(batch, &superseded, |feature| self.contents.types.contains_key(&feature));
        let features: Arc<[FeatureId]> = features.into();
        for (row, fact) in encoded.into_iter().enumerate() {
            for (slot, spec) in specs.iter().enumerate() {
                let Some(key) = &keys[slot][row] else { continue };
                let change = roots.entry((*spec, root_key(&all[*spec], key))).or_default();
                change.add.push(Lying { features: Arc::clone(&features), fact: fact.clone() });
            }
        }
        Ok(())
    }

    /// What supersedes each new fact, and changes to older facts that the new ones supersede.
    fn supersede(
        &self,
        entity: EntityId,
        batch: &RecordBatch,
        specs: &[usize],
        keys: &[Vec<Option<Box<[u8]>>>],
        roots: &mut Changes,
        events: &mut BTreeMap<OnlineKey, Vec<u8>>,
    ) -> Result<Vec<i64>, StoreError> {
        let mut superseded = vec![i64::MAX; batch.num_rows()];
        let ids = batch.column_by_name(layout::EVENT_ID).expect("a column of the layout").as_binary::<i32>();
        let mut rows_of: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for row in (0..ids.len()).filter(|row| ids.is_valid(*row)) {
            rows_of.entry(ids.value(row)).or_default().push(row);
        }
        if rows_of.is_empty() {
            return Ok(superseded);
        }
        let online: Vec<OnlineKey> = rows_of.keys().map(|id| event_key(entity, id)).collect();
        let known = self.store.get_many(&online)?;
        for ((key, known), rows) in online.into_iter().zip(known).zip(rows_of.values()) {
            // An earlier batch of this very apply may hold versions of the same event.
            let mut all = match events.get(&key).or(known.as_ref()) {
                Some(bytes) => versions::read(bytes, specs.len()).map_err(damaged)?,
                None => Vec::new(),
            };
            let old = all.len();
            all.extend(rows.iter().map(|row| version_at(batch, *row, keys)));
            let stamp = |v: &Version| (v.event_time, v.arrival_time, v.sequence);
            let fresh: HashMap<(i64, i64, u64), usize> =
                all[old..].iter().zip(rows).map(|(v, row)| (stamp(v), *row)).collect();
            let found = versions::superseded_at(&mut all);
            for (version, at) in all.iter().zip(found) {
                if let Some(row) = fresh.get(&stamp(version)) {
                    superseded[*row] = at;
                } else if at != i64::MAX {
                    for (slot, spec) in specs.iter().enumerate() {
                        let Some(key) = &version.keys[slot] else { continue };
                        let root = root_key(&self.contents.specs[*spec], key);
                        roots.entry((*spec, root)).or_default().supersede.push((stamp(version), at));
                    }
                }
            }
            events.insert(key, versions::write(&all));
        }
        Ok(superseded)
    }

    fn write(
        &self,
        roots: Changes,
        events: BTreeMap<OnlineKey, Vec<u8>>,
        position: Position,
    ) -> Result<(), StoreError> {
        let mut values: Vec<(OnlineKey, Option<Vec<u8>>)> =
            events.into_iter().map(|(key, bytes)| (key, Some(bytes))).collect();
        let (mut drafts, mut dead) = (Vec::new(), Vec::new());
        let view = self.store.view()?;
        let keys: Vec<OnlineKey> = roots.keys().map(|(_, key)| key.clone()).collect();
        for (((spec, root), change), old) in roots.into_iter().zip(view.get_many(&keys)?) {
            let Change { mut add, mut supersede } = change;
            grow::sort(&mut add);
            supersede.sort_unstable();
            let marks = &self.marks[spec];
            let mut grower = Grower { view: &*view, root: &root, marks, limits: self.limits, dead: &mut dead };
            // Facts are added first: one apply may bring both a fact and the newer version of its event.
            let mut draft = match Root::read(old.as_deref()).map_err(damaged)? {
                Root::Inline(parts) => {
                    let mut facts = grow::flatten(parts);
                    facts.extend(add);
                    grow::sort(&mut facts);
                    if facts.len() <= self.limits.inline_facts_max {
                        grow::supersede(&mut facts, &supersede);
                        values.push((root, Some(Root::Inline(grow::gather(facts)).write())));
                        continue;
                    }
                    grower.build(facts)
                }
                Root::Tree(page) => grower.add(Draft::of(page, marks).map_err(damaged)?, add)?,
            };
            grower.supersede(&mut draft, &supersede)?;
            drafts.push((spec, root, draft));
        }
        drop(view);
        self.finish(drafts, &mut values)?;
        values.extend(dead.into_iter().map(|key| (key, None)));
        self.store.replace_many(values, position)
    }

    /// Writes changed trees, and above what changed its tiles, those of one index all at once.
    fn finish(
        &self,
        drafts: Vec<(usize, OnlineKey, Draft)>,
        values: &mut Vec<(OnlineKey, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        let mut by_spec: BTreeMap<usize, Vec<(OnlineKey, Draft)>> = BTreeMap::new();
        for (spec, root, draft) in drafts {
            by_spec.entry(spec).or_default().push((root, draft));
        }
        let mut accumulator = Accumulator::new();
        for (spec, drafts) in by_spec {
            let mut changed = Vec::new();
            drafts.iter().for_each(|(_, draft)| draft.changed(&mut changed));
            let mut partials = self.partials(spec, &changed).map_err(damaged)?.into_iter();
            for (root, draft) in drafts {
                let page =
                    draft.finish(&root, &self.marks[spec], &mut partials, &mut accumulator, values).map_err(damaged)?;
                values.push((root, Some(Root::Tree(page).write())));
            }
        }
        Ok(())
    }

    /// The partials of leaves over the facts that are neither superseded nor retracted.
    fn partials(&self, spec: usize, leaves: &[&[Lying]]) -> Result<Vec<Vec<u8>>, NotABlock> {
        let inputs = &self.contents.tiles[spec];
        if inputs.is_empty() {
            return Ok(vec![Vec::new(); leaves.len()]);
        }
        let mut by_features: BTreeMap<&[FeatureId], (Vec<&block::IndexedFact>, Vec<u32>)> = BTreeMap::new();
        for (leaf, facts) in leaves.iter().enumerate() {
            for Lying { features, fact } in facts.iter() {
                if !fact.retracted && fact.superseded_at == i64::MAX {
                    let (facts, tiles) = by_features.entry(features).or_default();
                    facts.push(fact);
                    tiles.push(leaf as u32);
                }
            }
        }
        let facts: Vec<TileFacts> = by_features
            .into_iter()
            .map(|(features, (facts, tiles))| {
                Ok(TileFacts { batch: block::decode_part(features, &facts, &self.contents.types)?, tiles })
            })
            .collect::<Result<_, NotABlock>>()?;
        Ok(partials(inputs, &facts, leaves.len()))
    }

    /// Keys of a batch of facts; `None` for a row without one, and where the load did not bring every feature of the index.
    fn encode_keys(&self, batch: &RecordBatch, spec: &IndexSpec) -> Result<Vec<Option<Box<[u8]>>>, StoreError> {
        let columns: Option<Vec<ArrayRef>> =
            spec.features.iter().map(|id| batch.column_by_name(&layout::feature_column(*id)).cloned()).collect();
        let types: Option<Vec<Type>> = spec.features.iter().map(|id| self.contents.types.get(id).cloned()).collect();
        let (Some(columns), Some(types)) = (columns, types) else { return Ok(vec![None; batch.num_rows()]) };
        let encoder = KeyEncoder::new(&types, &columns).map_err(|_| damaged(NotABlock))?;
        let mut key = Vec::new();
        Ok((0..batch.num_rows())
            .map(|row| {
                key.clear();
                matches!(encoder.encode(row, &mut key), Encoded::Complete).then(|| key.as_slice().into())
            })
            .collect())
    }

    /// As [`IndexView::find`], of this moment.
    pub fn find(&self, request: &FactRequest<'_>) -> Result<Option<Vec<RecordBatch>>, StoreError> {
        self.view()?.find(request)
    }

    /// One moment of the index, for all that one question reads of it (rule S23).
    pub fn view(&self) -> Result<IndexView<'_>, StoreError> {
        Ok(IndexView { index: self, store: self.store.view()? })
    }

    /// Reads the newest values of the wanted features out of roots.
    pub(crate) fn newest<'a>(&'a self, wanted: &'a Wanted) -> NewestReader<'a> {
        NewestReader::new(wanted, &self.contents.types)
    }

    fn spec_of(&self, request: &FactRequest<'_>) -> Option<usize> {
        let is_key =
            |features: &[FeatureId]| request.key.iter().map(|column| column.feature).eq(features.iter().copied());
        self.contents.specs.iter().position(|spec| spec.entity == request.entity && is_key(&spec.features))
    }

    /// Whether tiles serve each of these aggregations over the facts of an entity that are found by `key`.
    pub(crate) fn has_tiles_of(
        &self,
        entity: EntityId,
        key: &[KeyColumn],
        columns: &[KeyColumn],
        aggregations: &[Aggregation],
    ) -> bool {
        let is_key = |spec: &IndexSpec| key.iter().map(|column| column.feature).eq(spec.features.iter().copied());
        let spec = self.contents.specs.iter().position(|spec| spec.entity == entity && is_key(spec));
        let tiles = spec.map_or(&[][..], |spec| &self.contents.tiles[spec]);
        aggregations.iter().all(|aggregation| tiles.iter().any(|input| input.serves(aggregation, columns)))
    }

    /// The inputs of which the index that serves a request has tiles, in order.
    pub(crate) fn inputs(&self, request: &FactRequest<'_>) -> &[TileInput] {
        self.spec_of(request).map_or(&[], |spec| &self.contents.tiles[spec])
    }
}

/// One moment of an index: what is applied to it meanwhile does not show.
pub struct IndexView<'a> {
    index: &'a FactIndex,
    store: Box<dyn OnlineView + 'a>,
}

impl IndexView<'_> {
    /// The index that it is a moment of.
    pub(crate) fn index(&self) -> &FactIndex {
        self.index
    }

    /// Facts for a request, as batches in the layout of facts plus `superseded_at`; `None` when no index serves it.
    ///
    /// May hold more facts of the keys than wanted, never fewer. Cost: one read for keys with few facts, for others one per
    /// leaf in reach and page above it.
    pub fn find(&self, request: &FactRequest<'_>) -> Result<Option<Vec<RecordBatch>>, StoreError> {
        Ok(self.find_windows(request, &[], &[])?.map(|found| found.batches))
    }

    /// What the roots of `keys` hold, to be read by [`newest`](FactIndex::newest); `None` when no index serves them.
    pub(crate) fn roots(
        &self,
        spec: &IndexSpec,
        keys: &[impl AsRef<[u8]>],
    ) -> Result<Option<Vec<Option<Vec<u8>>>>, StoreError> {
        if !self.index.contents.specs.contains(spec) {
            return Ok(None);
        }
        let roots: Vec<OnlineKey> = keys.iter().map(|key| root_key(spec, key.as_ref())).collect();
        let found = self.store.get_many(&roots)?;
        self.index.require_in_force()?;
        Ok(Some(found))
    }

    /// As [`IndexView::find`], with the windows of some keys put together from tiles.
    ///
    /// `frames` are the lengths of the windows that end at each point, whether they include it, and what is wanted of each.
    /// A point of a key with many facts gets a cover per frame and want, and of its facts those that the covers need.
    pub(crate) fn find_windows(
        &self,
        request: &FactRequest<'_>,
        spans: &[(i64, bool)],
        wants: &[Vec<Want>],
    ) -> Result<Option<Found>, StoreError> {
        let index = self.index;
        let Some(spec) = index.spec_of(request) else { return Ok(None) };
        let of = &index.contents.specs[spec];
        let keys = request.keys.len();
        let roots: Vec<OnlineKey> = (0..keys).map(|id| root_key(of, request.keys.encoded(id as u32))).collect();
        let (mut parts, mut trees) = (Vec::new(), Vec::new());
        for (id, value) in self.store.get_many(&roots)?.into_iter().enumerate() {
            match Root::read(value.as_deref()).map_err(damaged)? {
                Root::Inline(facts) => block::append(&mut parts, facts),
                Root::Tree(page) => trees.push((id, page)),
            }
        }
        let mut found = Found { batches: Vec::new(), pages: Vec::new(), covers: HashMap::new() };
        if !trees.is_empty() {
            let reaches = reaches(request);
            let mut points = vec![Vec::new(); keys];
            for (number, point) in request.points.iter().enumerate() {
                points[point.key as usize].push(number);
            }
            for (id, page) in trees {
                let Some(reach) = reaches[id] else { continue };
                let mut tree = Tree::new(&*self.store, &roots[id], &index.marks[spec], page, &mut found.pages);
                let windows = (points[id].len() * spans.len()) as u64;
                let tiled = matches!(reach, Reach::Window { from, to }
                    if windows > 0 && tree.estimate(from, to) > windows.saturating_mul(index.limits.facts_per_window));
                if !tiled {
                    read_reach(&mut tree, reach, request, &mut parts)?;
                    continue;
                }
                for number in &points[id] {
                    let point = &request.points[*number];
                    let mut covers = Vec::with_capacity(spans.len());
                    for ((span, include_now), wants) in spans.iter().zip(wants) {
                        let from = point.as_of.saturating_sub(*span);
                        let to = if *include_now { point.as_of } else { point.as_of - 1 };
                        let known_as_of = point.known_as_of;
                        let cover = |want| tree.cover(Window { from, to, known_as_of, want });
                        covers.push(wants.iter().map(cover).collect::<Result<Vec<_>, _>>()?);
                    }
                    found.covers.insert(*number as u32, covers);
                }
                tree.read_leaves(&mut parts)?;
            }
        }
        index.require_in_force()?;
        found.batches = block::decode(parts, &index.contents.types).map_err(damaged)?;
        Ok(Some(found))
    }
}

impl FactReader for IndexView<'_> {
    fn read(&self, request: &FactRequest<'_>) -> Result<Vec<RecordBatch>, EngineError> {
        let found = self.find(request).map_err(|error| EngineError::Reader { source: Box::new(error) })?;
        found.ok_or_else(|| EngineError::plan("no online index serves one of its steps"))
    }

    fn tiles(&self) -> Option<&IndexView<'_>> {
        Some(self)
    }
}

/// Facts, and how windows are put together from them and from tiles.
pub(crate) struct Found {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) pages: Vec<Page>,
    /// By number of the point: for each frame a cover per want. A point that is not here has all its facts in `batches`.
    pub(crate) covers: HashMap<u32, Vec<Vec<Cover>>>,
}

/// Adds the facts of a tree that points may want.
fn read_reach(
    tree: &mut Tree<'_>,
    reach: Reach,
    request: &FactRequest<'_>,
    parts: &mut Vec<Part>,
) -> Result<(), StoreError> {
    let mut found = Vec::new();
    let (from, to, settles) = match reach {
        Reach::Window { from, to } => (from, to, None),
        Reach::Latest { from, to, known } => (from, to, Some(known)),
    };
    tree.latest_first(to, request.known_to(), &mut |last, read| {
        // What is older than every instant asked about matters only until every feature has a fact that none can miss.
        let older = last < from;
        let enough = match settles {
            None => older,
            Some(known) => older && settled(&found, request.columns, from, known),
        };
        if !enough {
            block::append(&mut found, read()?);
        }
        Ok(!enough)
    })?;
    block::append(parts, found);
    Ok(())
}

/// Whether every feature has a fact that is visible at every instant from `from` on to whoever knows what was known at `known`.
fn settled(parts: &[Part], features: &[FeatureId], from: i64, known: i64) -> bool {
    features.iter().all(|feature| {
        parts.iter().filter(|part| part.features.contains(feature)).flat_map(|part| &part.facts).any(|fact| {
            fact.event_time <= from && fact.arrival_time <= known && fact.superseded_at == i64::MAX && !fact.retracted
        })
    })
}

enum Root {
    Inline(Vec<Part>),
    Tree(Page),
}

impl Root {
    fn read(bytes: Option<&[u8]>) -> Result<Self, NotABlock> {
        match bytes {
            None => Ok(Self::Inline(Vec::new())),
            Some([FORMAT, INLINE, parts @ ..]) => block::read(parts).map(Self::Inline),
            Some([FORMAT, TREE, page @ ..]) => Page::read(page).map(Self::Tree),
            Some(_) => Err(NotABlock),
        }
    }

    fn write(&self) -> Vec<u8> {
        match self {
            Self::Inline(parts) => {
                let mut bytes = vec![FORMAT, INLINE];
                block::write(parts, &mut bytes);
                bytes
            }
            Self::Tree(page) => {
                let mut bytes = vec![FORMAT, TREE];
                page.write(&mut bytes);
                bytes
            }
        }
    }
}

fn read_leaf(bytes: &[u8]) -> Result<Vec<Part>, NotABlock> {
    match bytes {
        [FORMAT, parts @ ..] => block::read(parts),
        _ => Err(NotABlock),
    }
}

fn read_page(bytes: &[u8]) -> Result<Page, NotABlock> {
    match bytes {
        [FORMAT, page @ ..] => Page::read(page),
        _ => Err(NotABlock),
    }
}

pub(crate) fn damaged(_: NotABlock) -> StoreError {
    StoreError::Tampered { store: "online".to_owned(), reason: "a block of facts cannot be read".to_owned() }
}

fn shape_key() -> OnlineKey {
    OnlineKey::new(SHAPE, Vec::new())
}

/// Entity, features and their number stand before the key, each of fixed width, so no two indexes share a key.
fn root_key(spec: &IndexSpec, key: &[u8]) -> OnlineKey {
    let mut bytes = spec.entity.0.to_be_bytes().to_vec();
    bytes.extend((spec.features.len() as u32).to_be_bytes());
    spec.features.iter().for_each(|id| bytes.extend(id.0.to_be_bytes()));
    bytes.extend(key);
    OnlineKey::new(ROOT, bytes)
}

fn page_key(root: &OnlineKey, interval: Interval) -> OnlineKey {
    OnlineKey::new(PAGE, [&interval.to_bytes(), root.bytes()].concat())
}

fn leaf_key(root: &OnlineKey, interval: Interval) -> OnlineKey {
    OnlineKey::new(LEAF, [&interval.to_bytes(), root.bytes()].concat())
}

fn event_key(entity: EntityId, id: &[u8]) -> OnlineKey {
    let mut bytes = entity.0.to_be_bytes().to_vec();
    bytes.extend(id);
    OnlineKey::new(EVENT, bytes)
}

fn version_at(batch: &RecordBatch, row: usize, keys: &[Vec<Option<Box<[u8]>>>]) -> Version {
    use arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
    let column = |name: &str| batch.column_by_name(name).expect("a column of the layout");
    Version {
        event_time: column(layout::EVENT_TIME).as_primitive::<TimestampMicrosecondType>().value(row),
        arrival_time: column(layout::ARRIVAL_TIME).as_primitive::<TimestampMicrosecondType>().value(row),
        source: column(layout::SOURCE).as_string::<i32>().value(row).as_bytes().into(),
        sequence: column(layout::SEQUENCE).as_primitive::<UInt64Type>().value(row),
        keys: keys.iter().map(|column| column[row].clone()).collect(),
    }
}
