//! Facts where online queries find them: by key and time, in the online store.
//!
//! Each entity has an index over its key and one for every set of features that a `many` relation joins on. An index
//! holds for each key one *root* value: all facts of the key while they are few, later a directory of *buckets* of one
//! day, each a value of its own. A fact with an event id also has its place among the [versions] of its event, so that
//! a newer version supersedes it wherever it lies (rule S8).
//!
//! The index is derived: applying a batch of facts and moving the position is one transaction of the online store, so
//! each batch counts exactly once, whatever crashes; and what is applied does not depend on the order of arrival (S9).

mod block;
mod newest;
mod versions;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use creta_model::{EntityId, FeatureId, Type};
use creta_store::{FactBatch, OnlineKey, OnlineStore, Position, StoreError, layout};

pub(crate) use block::NotABlock;
use block::{FORMAT, Part};
pub(crate) use newest::{Newest, NewestReader, Plain, is_plain};
use versions::Version;

use crate::error::EngineError;
use crate::facts::{FactRange, FactReader, FactRequest};
use crate::key_set::{Encoded, KeyEncoder};

/// A key keeps its facts in its root value up to this many.
const INLINE_FACTS_MAX: usize = 128;

/// Width of a bucket: one day.
const BUCKET_MICROS: i64 = 86_400_000_000;

const ROOT: &str = "fact-root";
const BUCKET: &str = "fact-bucket";
const EVENT: &str = "fact-event";
const SHAPE: &str = "fact-index-shape";

const INLINE: u8 = 0;
const DIRECTORY: u8 = 1;

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

impl FactReader for FactIndex {
    fn read(&self, request: &FactRequest<'_>) -> Result<Vec<RecordBatch>, EngineError> {
        let found = self.find(request).map_err(|error| EngineError::Reader { source: Box::new(error) })?;
        found.ok_or_else(|| EngineError::plan("no online index serves one of its steps"))
    }
}

/// The index over one scope's facts.
pub struct FactIndex {
    store: Arc<dyn OnlineStore>,
    specs: Vec<IndexSpec>,
    types: HashMap<FeatureId, Type>,
}

/// What an index was built for, kept beside it.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Shape {
    format: u8,
    specs: Vec<IndexSpec>,
    types: BTreeMap<FeatureId, Type>,
}

/// What a bucket's value, or a root's, becomes.
#[derive(Default)]
struct Change {
    add: Vec<Part>,
    /// (event time, arrival time, sequence) of facts that are superseded from then on.
    supersede: Vec<((i64, i64, u64), i64)>,
}

impl FactIndex {
    /// An index over `specs`; `types` gives the type of every feature that is to be kept, others are left out.
    ///
    /// When the store was built for other specs, kept a feature that is gone, or was written by another version, it is
    /// cleared; the owner then applies all facts again, from [`FactIndex::position`] on.
    pub fn open(
        store: Arc<dyn OnlineStore>,
        specs: impl IntoIterator<Item = IndexSpec>,
        types: HashMap<FeatureId, Type>,
    ) -> Result<Self, StoreError> {
        let specs: Vec<IndexSpec> = specs.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let index = Self { store, specs, types };
        let wanted = index.shape();
        let found = index.store.get_many(&[shape_key()])?.remove(0);
        let found = found.and_then(|bytes| serde_json::from_slice::<Shape>(&bytes).ok());
        if found.as_ref() == Some(&wanted) {
            return Ok(index);
        }
        // A feature that is new has no facts yet, so what stands there stays right.
        let grown = found.is_some_and(|found| {
            found.format == wanted.format
                && found.specs == wanted.specs
                && found.types.iter().all(|(feature, ty)| wanted.types.get(feature) == Some(ty))
        });
        if !grown {
            index.store.clear()?;
        }
        let bytes = serde_json::to_vec(&wanted).expect("numbers, names and lists are JSON");
        let position = index.store.position()?;
        index.store.update_many(&[shape_key()], &mut |_, _| Ok(Some(bytes.clone())), position)?;
        Ok(index)
    }

    fn shape(&self) -> Shape {
        let types = self.types.iter().map(|(feature, ty)| (*feature, ty.clone())).collect();
        Shape { format: FORMAT, specs: self.specs.clone(), types }
    }

    /// Up to where the facts are applied.
    pub fn position(&self) -> Result<Position, StoreError> {
        self.store.position()
    }

    /// Adds facts, all or none, and moves the position. Cost: one read and one write per key and day in the batch, one of
    /// each per event id.
    pub fn apply(&self, batches: &[FactBatch], position: Position) -> Result<(), StoreError> {
        let mut roots: BTreeMap<OnlineKey, BTreeMap<i64, Change>> = BTreeMap::new();
        let mut events: BTreeMap<OnlineKey, Vec<u8>> = BTreeMap::new();
        for facts in batches {
            self.collect(facts, &mut roots, &mut events)?;
        }
        self.write(roots, events, position)
    }

    fn collect(
        &self,
        facts: &FactBatch,
        roots: &mut BTreeMap<OnlineKey, BTreeMap<i64, Change>>,
        events: &mut BTreeMap<OnlineKey, Vec<u8>>,
    ) -> Result<(), StoreError> {
        let batch = facts.batch();
        let entity = facts.entity();
        let specs: Vec<usize> = (0..self.specs.len()).filter(|i| self.specs[*i].entity == entity).collect();
        let keys: Vec<Vec<Option<Box<[u8]>>>> =
            specs.iter().map(|i| self.encode_keys(batch, &self.specs[*i])).collect::<Result<_, _>>()?;
        let superseded = self.supersede(entity, batch, &specs, &keys, roots, events)?;
        let (features, encoded) = block::encode(batch, &superseded, |feature| self.types.contains_key(&feature));
        for (row, fact) in encoded.into_iter().enumerate() {
            for (slot, spec) in specs.iter().enumerate() {
                let Some(key) = &keys[slot][row] else { continue };
                let change = roots
                    .entry(root_key(&self.specs[*spec], key))
                    .or_default()
                    .entry(fact.event_time.div_euclid(BUCKET_MICROS))
                    .or_default();
                let fact = fact.clone();
                match change.add.iter_mut().find(|part| part.features == features) {
                    Some(part) => part.facts.push(fact),
                    None => change.add.push(Part { features: features.clone(), facts: vec![fact] }),
                }
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
        roots: &mut BTreeMap<OnlineKey, BTreeMap<i64, Change>>,
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
                        let bucket = version.event_time.div_euclid(BUCKET_MICROS);
                        let root = root_key(&self.specs[*spec], key);
                        let change = roots.entry(root).or_default().entry(bucket).or_default();
                        change.supersede.push((stamp(version), at));
                    }
                }
            }
            events.insert(key, versions::write(&all));
        }
        Ok(superseded)
    }

    fn write(
        &self,
        roots: BTreeMap<OnlineKey, BTreeMap<i64, Change>>,
        events: BTreeMap<OnlineKey, Vec<u8>>,
        position: Position,
    ) -> Result<(), StoreError> {
        // First the new form of each root is decided; a root that outgrows itself hands its facts to buckets.
        let keys: Vec<OnlineKey> = roots.keys().cloned().collect();
        let old_roots = self.store.get_many(&keys)?;
        let mut whole: Vec<(OnlineKey, Vec<u8>)> = Vec::new();
        let mut buckets: Vec<(OnlineKey, Change)> = Vec::new();
        for ((key, changes), old) in roots.into_iter().zip(old_roots) {
            let added: usize = changes.values().flat_map(|change| &change.add).map(|part| part.facts.len()).sum();
            let root = Root::read(old.as_deref()).map_err(damaged)?;
            match root {
                Root::Inline(mut parts) if facts_in(&parts) + added <= INLINE_FACTS_MAX => {
                    for change in changes.into_values() {
                        change.apply(&mut parts);
                    }
                    whole.push((key, Root::Inline(parts).write()));
                }
                Root::Inline(parts) => {
                    let mut by_bucket: BTreeMap<i64, Change> = BTreeMap::new();
                    for part in parts {
                        for fact in part.facts {
                            let change = by_bucket.entry(fact.event_time.div_euclid(BUCKET_MICROS)).or_default();
                            let moved = Part { features: part.features.clone(), facts: vec![fact] };
                            block::append(&mut change.add, vec![moved]);
                        }
                    }
                    for (bucket, change) in changes {
                        let merged = by_bucket.entry(bucket).or_default();
                        block::append(&mut merged.add, change.add);
                        merged.supersede.extend(change.supersede);
                    }
                    whole.push((key.clone(), Root::Directory(by_bucket.keys().copied().collect()).write()));
                    buckets.extend(by_bucket.into_iter().map(|(bucket, change)| (bucket_key(&key, bucket), change)));
                }
                Root::Directory(mut present) => {
                    present.extend(changes.keys().copied());
                    whole.push((key.clone(), Root::Directory(present).write()));
                    buckets.extend(changes.into_iter().map(|(bucket, change)| (bucket_key(&key, bucket), change)));
                }
            }
        }
        whole.extend(events);
        let keys: Vec<OnlineKey> =
            whole.iter().map(|(key, _)| key).chain(buckets.iter().map(|(key, _)| key)).cloned().collect();
        let wholes = whole.len();
        self.store.update_many(
            &keys,
            &mut |index, old| {
                if index < wholes {
                    return Ok(Some(std::mem::take(&mut whole[index].1)));
                }
                let mut parts = match old {
                    Some(bytes) => read_bucket(&bytes).map_err(damaged)?,
                    None => Vec::new(),
                };
                std::mem::take(&mut buckets[index - wholes].1).apply(&mut parts);
                let mut bytes = vec![FORMAT];
                block::write(&parts, &mut bytes);
                Ok(Some(bytes))
            },
            position,
        )
    }

    /// Keys of a batch of facts; `None` for a row without one, and where the load did not bring every feature of the index.
    fn encode_keys(&self, batch: &RecordBatch, spec: &IndexSpec) -> Result<Vec<Option<Box<[u8]>>>, StoreError> {
        let columns: Option<Vec<ArrayRef>> =
            spec.features.iter().map(|id| batch.column_by_name(&layout::feature_column(*id)).cloned()).collect();
        let types: Option<Vec<Type>> = spec.features.iter().map(|id| self.types.get(id).cloned()).collect();
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

    /// Facts for a request, as batches in the layout of facts plus `superseded_at`; `None` when no index serves it.
    ///
    /// May hold more facts of the keys than wanted, never fewer. Cost: one read for keys with few facts, one per day in
    /// reach for others.
    pub fn find(&self, request: &FactRequest<'_>) -> Result<Option<Vec<RecordBatch>>, StoreError> {
        let spec =
            IndexSpec { entity: request.entity, features: request.key.iter().map(|column| column.feature).collect() };
        if !self.specs.contains(&spec) {
            return Ok(None);
        }
        let keys = request.keys.len();
        let roots: Vec<OnlineKey> = (0..keys).map(|id| root_key(&spec, request.keys.encoded(id as u32))).collect();
        let mut parts = Vec::new();
        let mut directories = Vec::new();
        for (id, value) in self.store.get_many(&roots)?.into_iter().enumerate() {
            match Root::read(value.as_deref()).map_err(damaged)? {
                Root::Inline(facts) => block::append(&mut parts, facts),
                Root::Directory(buckets) => directories.push((id, buckets)),
            }
        }
        if !directories.is_empty() {
            let reaches = reaches(request);
            for (id, buckets) in directories {
                let Some(reach) = reaches[id] else { continue };
                self.read_buckets(&roots[id], &buckets, reach, request.columns, &mut parts)?;
            }
        }
        block::decode(parts, &self.types).map(Some).map_err(damaged)
    }

    /// What the roots of `keys` hold, to be read by [`newest`](Self::newest); `None` when no index serves them.
    pub(crate) fn roots(
        &self,
        spec: &IndexSpec,
        keys: &[impl AsRef<[u8]>],
    ) -> Result<Option<Vec<Option<Vec<u8>>>>, StoreError> {
        if !self.specs.contains(spec) {
            return Ok(None);
        }
        let roots: Vec<OnlineKey> = keys.iter().map(|key| root_key(spec, key.as_ref())).collect();
        self.store.get_many(&roots).map(Some)
    }

    /// Reads the newest values of `features` out of roots.
    pub(crate) fn newest<'a>(&'a self, features: &'a [FeatureId]) -> NewestReader<'a> {
        NewestReader::new(features, &self.types)
    }

    fn read_buckets(
        &self,
        root: &OnlineKey,
        buckets: &BTreeSet<i64>,
        reach: Reach,
        features: &[FeatureId],
        parts: &mut Vec<Part>,
    ) -> Result<(), StoreError> {
        let read = |wanted: &[i64]| -> Result<Vec<Part>, StoreError> {
            let keys: Vec<OnlineKey> = wanted.iter().map(|bucket| bucket_key(root, *bucket)).collect();
            let mut found = Vec::new();
            for value in self.store.get_many(&keys)?.into_iter().flatten() {
                block::append(&mut found, read_bucket(&value).map_err(damaged)?);
            }
            Ok(found)
        };
        match reach {
            Reach::Window { from, to } => {
                let range = from.div_euclid(BUCKET_MICROS)..=to.div_euclid(BUCKET_MICROS);
                let wanted: Vec<i64> =
                    if range.is_empty() { Vec::new() } else { buckets.range(range).copied().collect() };
                block::append(parts, read(&wanted)?);
            }
            Reach::Latest { from, to, known } => {
                let first = from.div_euclid(BUCKET_MICROS);
                let later: Vec<i64> = buckets.range(first..=to.div_euclid(BUCKET_MICROS).max(first)).copied().collect();
                let mut found = read(&later)?;
                // Older days matter only until every feature has a fact that no instant asked about can miss.
                for bucket in buckets.range(..first).rev() {
                    if settled(&found, features, from, known) {
                        break;
                    }
                    block::append(&mut found, read(&[*bucket])?);
                }
                block::append(parts, found);
            }
        }
        Ok(())
    }
}

/// Whether every feature has a fact that is visible at every instant from `from` on to whoever knows what was known at `known`.
fn settled(parts: &[Part], features: &[FeatureId], from: i64, known: i64) -> bool {
    features.iter().all(|feature| {
        parts.iter().filter(|part| part.features.contains(feature)).flat_map(|part| &part.facts).any(|fact| {
            fact.event_time <= from && fact.arrival_time <= known && fact.superseded_at == i64::MAX && !fact.retracted
        })
    })
}

impl Change {
    fn apply(self, parts: &mut Vec<Part>) {
        // Added first: one apply may bring both a fact and the newer version of its event.
        block::append(parts, self.add);
        for (stamp, at) in self.supersede {
            let facts = parts.iter_mut().flat_map(|part| &mut part.facts);
            for fact in facts.filter(|fact| (fact.event_time, fact.arrival_time, fact.sequence) == stamp) {
                fact.superseded_at = fact.superseded_at.min(at);
            }
        }
    }
}

enum Root {
    Inline(Vec<Part>),
    Directory(BTreeSet<i64>),
}

impl Root {
    fn read(bytes: Option<&[u8]>) -> Result<Self, NotABlock> {
        match bytes {
            None => Ok(Self::Inline(Vec::new())),
            Some([FORMAT, INLINE, parts @ ..]) => block::read(parts).map(Self::Inline),
            Some([FORMAT, DIRECTORY, buckets @ ..]) => {
                let mut present = BTreeSet::new();
                let mut buckets = buckets;
                while !buckets.is_empty() {
                    present.insert(block::take_i64(&mut buckets)?);
                }
                Ok(Self::Directory(present))
            }
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
            Self::Directory(buckets) => {
                let mut bytes = vec![FORMAT, DIRECTORY];
                buckets.iter().for_each(|bucket| bytes.extend(bucket.to_le_bytes()));
                bytes
            }
        }
    }
}

fn read_bucket(bytes: &[u8]) -> Result<Vec<Part>, NotABlock> {
    match bytes {
        [FORMAT, parts @ ..] => block::read(parts),
        _ => Err(NotABlock),
    }
}

fn facts_in(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.facts.len()).sum()
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

fn bucket_key(root: &OnlineKey, bucket: i64) -> OnlineKey {
    let mut bytes = bucket.to_be_bytes().to_vec();
    bytes.extend(root.bytes());
    OnlineKey::new(BUCKET, bytes)
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
