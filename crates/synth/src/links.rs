//! Which columns take their values from which: relations have to lead somewhere.

use std::collections::BTreeSet;

use creta_model::{Entity, Feature, Name, RelationKind, Role};
use creta_registry::Registry;

/// Columns of one entity that are made together: its key and event ids, so that they are unique, or one other column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unit {
    pub(crate) entity: Name,
    /// `None` for the key.
    pub(crate) feature: Option<Name>,
}

/// Features of `child` whose values are those of one row of `parent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) child: Name,
    pub(crate) parent: Name,
    /// Pairs (feature of the child, feature of the parent).
    pub(crate) on: Vec<(Name, Name)>,
}

/// What is stored of an entity: the columns of its facts.
pub(crate) fn stored<'a>(registry: &'a Registry, entity: &'a Entity) -> impl Iterator<Item = &'a Feature> {
    entity
        .features
        .iter()
        .filter(|feature| feature.role != Role::Value || registry.is_stored(&entity.name, &feature.name))
}

/// Features that are made together with the key, by entity: the key, event ids, and what one relation joins on beside them,
/// since that has to be of the same row of the parent.
pub(crate) struct WithKey(BTreeSet<(Name, Name)>);

impl WithKey {
    fn of(registry: &Registry) -> Self {
        let mut with_key = BTreeSet::new();
        for entity in &registry.graph().entities {
            let unique = entity.features.iter().filter(|feature| feature.role == Role::Key || feature.event_id);
            with_key.extend(unique.map(|feature| (entity.name.clone(), feature.name.clone())));
        }
        for link in candidates(registry) {
            let of_child = |(child, _): &(Name, Name)| (link.child.clone(), child.clone());
            if link.on.iter().any(|pair| with_key.contains(&of_child(pair))) {
                with_key.extend(link.on.iter().map(of_child));
            }
        }
        Self(with_key)
    }

    /// The unit that makes a feature.
    pub(crate) fn unit_of(&self, entity: &Entity, feature: &Feature) -> Unit {
        let together = self.0.contains(&(entity.name.clone(), feature.name.clone()));
        Unit { entity: entity.name.clone(), feature: (!together).then(|| feature.name.clone()) }
    }
}

/// The links of a registry, and its units in an order in which each comes after those it takes values from. A link that would
/// close a circle is left out, and so is a second one for the same feature.
pub(crate) fn ordered(registry: &Registry) -> (Vec<Unit>, Vec<Link>, WithKey) {
    let with_key = WithKey::of(registry);
    let units: Vec<Unit> = registry
        .graph()
        .entities
        .iter()
        .flat_map(|entity| stored(registry, entity).map(|feature| with_key.unit_of(entity, feature)))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut links: Vec<Link> = Vec::new();
    let mut after: BTreeSet<(Unit, Unit)> = BTreeSet::new();
    for link in candidates(registry) {
        let is_taken = |feature: &Name| {
            links.iter().any(|other| other.child == link.child && other.on.iter().any(|(child, _)| child == feature))
        };
        let Some(pairs) =
            units_of(registry, &with_key, &link).filter(|_| !link.on.iter().any(|(child, _)| is_taken(child)))
        else {
            continue;
        };
        let closes = pairs.iter().any(|(child, parent)| child == parent || reaches(&after, parent, child));
        if !closes {
            after.extend(pairs);
            links.push(link);
        }
    }
    let (mut ordered, mut done) = (Vec::new(), BTreeSet::new());
    while ordered.len() < units.len() {
        let ready = |unit: &&Unit| {
            !done.contains(*unit) && after.iter().all(|(child, parent)| child != *unit || done.contains(parent))
        };
        let next = units.iter().find(ready).expect("links that would close a circle were left out");
        done.insert(next.clone());
        ordered.push(next.clone());
    }
    (ordered, links, with_key)
}

/// Every relation as a link. A `one` relation finds its target by key, so the features here are taken from there; the facts
/// of a `many` relation have what the row here has.
fn candidates(registry: &Registry) -> Vec<Link> {
    let mut links = Vec::new();
    for entity in &registry.graph().entities {
        for relation in &entity.relations {
            let there = relation.on.iter().map(|(here, there)| (there.clone(), here.clone()));
            links.push(match relation.kind {
                RelationKind::One => {
                    Link { child: entity.name.clone(), parent: relation.target.clone(), on: relation.on.clone() }
                }
                RelationKind::Many => {
                    Link { child: relation.target.clone(), parent: entity.name.clone(), on: there.collect() }
                }
            });
        }
    }
    // Keys that are taken from keys come first: the rest can be arranged around them.
    links.sort_by_key(|link| !is_of_keys(registry, link));
    links
}

fn is_of_keys(registry: &Registry, link: &Link) -> bool {
    let is_key = |name: &Name| registry.feature(&link.child, name).is_some_and(|feature| feature.role == Role::Key);
    link.on.iter().all(|(child, _)| is_key(child))
}

/// The units of a link's pairs, if all of it is stored and of equal types.
fn units_of(registry: &Registry, with_key: &WithKey, link: &Link) -> Option<Vec<(Unit, Unit)>> {
    let (child, parent) = (registry.entity(&link.child)?, registry.entity(&link.parent)?);
    let stored_in = |entity: &Entity, name: &Name| {
        let feature = registry.feature(&entity.name, name)?;
        stored(registry, entity).any(|stored| stored.name == *name).then(|| feature.clone())
    };
    link.on
        .iter()
        .map(|(here, there)| {
            let (here, there) = (stored_in(child, here)?, stored_in(parent, there)?);
            (here.ty == there.ty && here.role != Role::EventTime)
                .then(|| (with_key.unit_of(child, &here), with_key.unit_of(parent, &there)))
        })
        .collect()
}

/// Whether `from` comes after `to`, directly or not.
fn reaches(after: &BTreeSet<(Unit, Unit)>, from: &Unit, to: &Unit) -> bool {
    let (mut waiting, mut seen) = (vec![from], BTreeSet::new());
    while let Some(unit) = waiting.pop() {
        if unit == to {
            return true;
        }
        if seen.insert(unit) {
            waiting.extend(after.iter().filter(|(child, _)| child == unit).map(|(_, parent)| parent));
        }
    }
    false
}
