//! Tables of all entities, column after column.

use std::collections::{BTreeMap, HashSet};

use creta_model::{Entity, Feature, Name, Role, Validation, Value};
use creta_registry::Registry;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::links::{Link, Unit, WithKey, ordered, stored};
use crate::values::Maker;
use crate::{Column, Options, ROWS_MAX, SynthError, Table};

/// Attempts at a key that no other row has, before a table ends with the rows it has.
const KEY_ATTEMPTS: u64 = 200;

type Columns = BTreeMap<(Name, Name), Vec<Value>>;

/// Makes facts of every entity that has any stored feature, in the order of their names. Time and memory are those of the
/// rows.
pub fn synthesise(registry: &Registry, options: &Options) -> Result<Vec<Table>, SynthError> {
    check(registry, options)?;
    let (units, links, with_key) = ordered(registry);
    let mut made = Synthesis { registry, options, links: &links, with_key: &with_key, columns: Columns::new() };
    for unit in &units {
        made.make(unit)?;
    }
    let mut columns = made.columns;
    let tables = registry.graph().entities.iter().map(|entity| {
        let columns: Vec<Column> = stored(registry, entity)
            .filter_map(|feature| {
                let values = columns.remove(&(entity.name.clone(), feature.name.clone()))?;
                Some(Column { name: feature.name.clone(), ty: feature.ty.clone(), values })
            })
            .collect();
        let rows = columns.first().map_or(0, |column| column.values.len() as u64);
        Table { entity: entity.name.clone(), rows, columns }
    });
    Ok(tables.filter(|table| !table.columns.is_empty()).collect())
}

fn check(registry: &Registry, options: &Options) -> Result<(), SynthError> {
    if options.from > options.to {
        return Err(SynthError::Options("the range of event times ends before it begins"));
    }
    if !(0.0..=1.0).contains(&options.nulls) {
        return Err(SynthError::Options("the share of nulls is not between 0 and 1"));
    }
    if let Some(entity) = options.of_entity.keys().find(|name| registry.entity(name).is_none()) {
        return Err(SynthError::UnknownEntity { entity: entity.clone() });
    }
    let rows = registry.graph().entities.iter().map(|entity| rows_of(entity, options));
    match rows.fold(0, u64::saturating_add) {
        rows if rows > ROWS_MAX => Err(SynthError::TooManyRows { rows }),
        _ => Ok(()),
    }
}

fn rows_of(entity: &Entity, options: &Options) -> u64 {
    options.of_entity.get(&entity.name).copied().unwrap_or(options.rows)
}

struct Synthesis<'a> {
    registry: &'a Registry,
    options: &'a Options,
    links: &'a [Link],
    with_key: &'a WithKey,
    columns: Columns,
}

impl<'a> Synthesis<'a> {
    fn make(&mut self, unit: &Unit) -> Result<(), SynthError> {
        let entity = self.registry.entity(&unit.entity).expect("units are of entities there are");
        let members: Vec<&Feature> =
            stored(self.registry, entity).filter(|feature| self.with_key.unit_of(entity, feature) == *unit).collect();
        let makers: Vec<Maker<'a>> =
            members.iter().map(|feature| self.maker(entity, feature)).collect::<Result<_, _>>()?;
        let sources = self.sources(entity, &members, &makers);
        let mut random = self.random(unit);
        let values = match unit.feature {
            None => self.keys(entity, &members, &makers, &sources, &mut random)?,
            Some(_) => vec![self.column(entity, members[0], &makers[0], sources.first(), &mut random)?],
        };
        for (feature, values) in members.iter().zip(values) {
            self.columns.insert((entity.name.clone(), feature.name.clone()), values);
        }
        Ok(())
    }

    /// Rows of unique keys; as many as there are, if that is fewer than asked for.
    fn keys(
        &self,
        entity: &Entity,
        members: &[&Feature],
        makers: &[Maker<'_>],
        sources: &[Source],
        random: &mut ChaCha8Rng,
    ) -> Result<Vec<Vec<Value>>, SynthError> {
        let mut columns: Vec<Vec<Value>> = vec![Vec::new(); members.len()];
        let mut seen: Vec<HashSet<String>> = vec![HashSet::new(); members.len() + 1];
        let whole = members.len();
        // A number in a key counts up unless it is taken from elsewhere: that is what ids look like.
        let counted = (0..whole).find(|place| {
            sources.iter().all(|source| source.column(*place).is_none()) && makers[*place].counted(0).is_some()
        });
        'rows: for row in 0..rows_of(entity, self.options) {
            for attempt in 0..KEY_ATTEMPTS {
                let picks: Vec<usize> = sources.iter().map(|source| source.pick(row + attempt, random)).collect();
                let mut key = Vec::with_capacity(whole);
                for (place, maker) in makers.iter().enumerate() {
                    let taken = sources.iter().zip(&picks).find_map(|(source, pick)| source.column(place)?.get(*pick));
                    let counted = || (counted == Some(place)).then(|| maker.counted(row)).flatten();
                    let value = taken.cloned().or_else(counted).or_else(|| maker.value(random));
                    key.push(value.ok_or_else(|| no_value(entity, members[place]))?);
                }
                let parts: Vec<String> = key.iter().zip(members).map(|(v, f)| v.to_json(&f.ty).to_string()).collect();
                let is_key = |place: &usize| members[*place].role == Role::Key;
                let together =
                    (0..whole).filter(is_key).map(|place| parts[place].as_str()).collect::<Vec<_>>().join(",");
                let event_ids: Vec<usize> = (0..whole).filter(|place| members[*place].event_id).collect();
                let is_new = !seen[whole].contains(&together)
                    && event_ids.iter().all(|place| !seen[*place].contains(&parts[*place]));
                if is_new {
                    event_ids.iter().for_each(|place| {
                        seen[*place].insert(parts[*place].clone());
                    });
                    seen[whole].insert(together);
                    columns.iter_mut().zip(key).for_each(|(column, value)| column.push(value));
                    continue 'rows;
                }
            }
            break; // There are no more keys, or hardly any.
        }
        Ok(columns)
    }

    /// A column beside the keys.
    fn column(
        &self,
        entity: &Entity,
        feature: &Feature,
        maker: &Maker<'_>,
        source: Option<&Source>,
        random: &mut ChaCha8Rng,
    ) -> Result<Vec<Value>, SynthError> {
        let key = entity.keys().next().and_then(|key| self.columns.get(&(entity.name.clone(), key.name.clone())));
        let rows = key.map_or_else(|| rows_of(entity, self.options), |key| key.len() as u64);
        let mut values = Vec::with_capacity(rows as usize);
        for row in 0..rows {
            if feature.optional && feature.role == Role::Value && random.random_bool(self.options.nulls) {
                values.push(Value::Null);
                continue;
            }
            // One relation may have several features: their picks have to be of one row, so they depend on the row alone.
            let taken = source.and_then(|source| source.column(0)?.get(source.of_row(self.options.seed, row)));
            let value = taken.cloned().or_else(|| maker.value(random));
            values.push(value.ok_or_else(|| no_value(entity, feature))?);
        }
        Ok(values)
    }

    /// What the links into these features offer: rows of the parent in which each value is one of the child too.
    fn sources(&self, entity: &Entity, members: &[&Feature], makers: &[Maker<'_>]) -> Vec<Source> {
        let mut sources = Vec::new();
        for (number, link) in self.links.iter().enumerate().filter(|(_, link)| link.child == entity.name) {
            let place = |name: &Name| members.iter().position(|feature| feature.name == *name);
            if !link.on.iter().any(|(child, _)| place(child).is_some()) {
                continue;
            }
            let parent = |name: &Name| self.columns.get(&(link.parent.clone(), name.clone()));
            let Some(columns) = link.on.iter().map(|(_, there)| parent(there)).collect::<Option<Vec<_>>>() else {
                continue; // Part of it is made later: this link is followed by another unit, or not at all.
            };
            // Whether a row fits is asked of the whole link, so that each of its units picks among the same rows.
            let fits = |row: usize| {
                link.on.iter().zip(&columns).all(|((child, _), column)| {
                    let own = place(child).map(|place| makers[place].accepts(&column[row]));
                    own.unwrap_or_else(|| self.accepts(&entity.name, child, &column[row]))
                })
            };
            let rows: Vec<usize> = (0..columns[0].len()).filter(|row| fits(*row)).collect();
            if rows.is_empty() {
                continue;
            }
            let places = link.on.iter().zip(&columns).filter_map(|((child, _), column)| {
                Some((place(child)?, rows.iter().map(|row| column[*row].clone()).collect()))
            });
            let places = places.collect();
            sources.push(Source { number: number as u64, rows: rows.len(), places });
        }
        sources
    }

    fn accepts(&self, entity: &Name, feature: &Name, value: &Value) -> bool {
        let feature = self.registry.feature(entity, feature).expect("links are between features there are");
        let bounds = feature.validation.clone().unwrap_or_default();
        Maker::new(&feature.ty, bounds, self.options).is_some_and(|maker| maker.accepts(value))
    }

    /// A maker by the feature's own bounds and those of every feature that takes its values.
    fn maker(&self, entity: &Entity, feature: &'a Feature) -> Result<Maker<'a>, SynthError> {
        let own = feature.validation.clone().unwrap_or_default();
        let mut bounds = own.clone();
        for link in self.links.iter().filter(|link| link.parent == entity.name) {
            for (child, _) in link.on.iter().filter(|(_, there)| *there == feature.name) {
                let child = self.registry.feature(&link.child, child).and_then(|child| child.validation.as_ref());
                bounds = child.map_or_else(|| bounds.clone(), |child| both(&bounds, child));
            }
        }
        let maker = |bounds| Maker::new(&feature.ty, bounds, self.options);
        // Where nothing satisfies both, what is made satisfies its own, and that relation leads nowhere.
        let mut probe = ChaCha8Rng::seed_from_u64(0);
        let narrow = maker(bounds).filter(|narrow| narrow.value(&mut probe).is_some());
        narrow.or_else(|| maker(own)).ok_or_else(|| no_value(entity, feature))
    }

    /// A stream of its own for each unit, so that more rows of one leave the others as they are.
    fn random(&self, unit: &Unit) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.options.seed);
        let entities = &self.registry.graph().entities;
        let entity = entities.iter().position(|entity| entity.name == unit.entity).unwrap_or_default();
        let place = |name: &Name| entities[entity].features.iter().position(|feature| feature.name == *name);
        let feature = unit.feature.as_ref().and_then(place).map_or(0, |place| place + 1);
        random.set_stream(((entity as u64) << 32) | feature as u64);
        random
    }
}

fn no_value(entity: &Entity, feature: &Feature) -> SynthError {
    SynthError::NoValue { feature: format!("{}.{}", entity.name, feature.name), location: feature.location.clone() }
}

/// What both permit. Of two patterns the first one's counts: what it makes is checked against the second.
fn both(one: &Validation, other: &Validation) -> Validation {
    let later = |one: Option<f64>, other: Option<f64>| one.into_iter().chain(other).reduce(f64::max);
    let earlier = |one: Option<f64>, other: Option<f64>| one.into_iter().chain(other).reduce(f64::min);
    Validation {
        min: later(one.min, other.min),
        max: earlier(one.max, other.max),
        min_length: one.min_length.max(other.min_length),
        max_length: one.max_length.into_iter().chain(other.max_length).min(),
        pattern: one.pattern.clone().or_else(|| other.pattern.clone()),
    }
}

/// Rows of a parent that a child's row may take its values from.
struct Source {
    /// Of the link.
    number: u64,
    rows: usize,
    /// By the place of the feature among those that are made: the parent's values.
    places: Vec<(usize, Vec<Value>)>,
}

impl Source {
    fn column(&self, place: usize) -> Option<&[Value]> {
        self.places.iter().find(|(own, _)| *own == place).map(|(_, values)| values.as_slice())
    }

    /// One after another, so that a key that is taken whole finds every one before it ends; from then on at random.
    fn pick(&self, attempt: u64, random: &mut ChaCha8Rng) -> usize {
        let next = usize::try_from(attempt).unwrap_or(usize::MAX);
        if next < self.rows { next } else { random.random_range(0..self.rows) }
    }

    /// The row that a child's row takes its values from, whichever of its columns asks.
    fn of_row(&self, seed: u64, row: u64) -> usize {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream((1 << 63) | (self.number << 40) | row);
        random.random_range(0..self.rows)
    }
}
