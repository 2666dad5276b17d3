//! Stable numbers for entities and features: given on first sight, carried along a rename, never given twice.

use std::collections::{BTreeMap, BTreeSet};

use creta_model::{Entity, EntityId, Feature, FeatureId, Name, Problem, Type};
use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::render::render_type;

/// Numbers by name, and the numbers that no longer have a name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ids {
    pub(crate) entities: BTreeMap<Name, EntityIds>,
    pub(crate) retired_entities: BTreeMap<EntityId, Name>,
    pub(crate) retired_features: BTreeMap<FeatureId, String>,
    next_entity: u32,
    next_feature: u32,
}

/// Numbers of one entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntityIds {
    pub(crate) id: EntityId,
    /// In key order. Facts are filed by it, so it may not change.
    key: Vec<FeatureId>,
    pub(crate) features: BTreeMap<Name, FeatureIds>,
}

/// Number of one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeatureIds {
    pub(crate) id: FeatureId,
    version: u32,
    /// Type of the facts that may have been stored under this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored_as: Option<Type>,
}

impl Ids {
    /// Numbers for the definitions of `catalog`, and what may not change but did.
    pub(crate) fn assign(previous: Option<&Self>, catalog: Catalog<'_>) -> (Self, Vec<Problem>) {
        let nothing = Self::default();
        let previous = previous.unwrap_or(&nothing);
        let mut ids = Self { entities: BTreeMap::new(), ..previous.clone() };
        let mut problems = Vec::new();
        let mut carried = BTreeSet::new();
        for entity in &catalog.graph().entities {
            let before = former(&entity.name, entity.renamed_from.as_ref(), &previous.entities);
            carried.extend(before.map(|(_, before)| before.id));
            let assigned = ids.assign_entity(catalog, entity, before.map(|(_, before)| before), &mut problems);
            ids.entities.insert(entity.name.clone(), assigned);
        }
        for (name, before) in previous.entities.iter().filter(|(_, before)| !carried.contains(&before.id)) {
            ids.retired_entities.insert(before.id, name.clone());
            for (feature, before) in &before.features {
                ids.retired_features.insert(before.id, format!("{name}.{feature}"));
            }
        }
        (ids, problems)
    }

    fn assign_entity(
        &mut self,
        catalog: Catalog<'_>,
        entity: &Entity,
        before: Option<&EntityIds>,
        problems: &mut Vec<Problem>,
    ) -> EntityIds {
        let id = before.map_or_else(|| EntityId(take(&mut self.next_entity)), |before| before.id);
        let nothing = BTreeMap::new();
        let known = before.map_or(&nothing, |before| &before.features);
        let mut features = BTreeMap::new();
        let mut changed = Vec::new();
        let mut carried = BTreeSet::new();
        // By name, so that the order of declaration does not decide the numbers.
        let mut by_name: Vec<&Feature> = entity.features.iter().collect();
        by_name.sort_by(|a, b| a.name.cmp(&b.name));
        for feature in by_name {
            let stored = catalog.is_stored(entity, feature);
            let former = former(&feature.name, feature.renamed_from.as_ref(), known).map(|(_, former)| former);
            let fits =
                former.and_then(|former| former.stored_as.as_ref()).is_none_or(|ty| !stored || keeps(ty, &feature.ty));
            let kept = former.filter(|former| fits || feature.version <= former.version);
            if let (Some(kept), false) = (kept, fits) {
                changed.push(type_changed(entity, feature, kept.stored_as.as_ref()));
            }
            carried.extend(kept.map(|kept| kept.id));
            let stored_as =
                if stored { Some(feature.ty.clone()) } else { kept.and_then(|kept| kept.stored_as.clone()) };
            let id = kept.map_or_else(|| FeatureId(take(&mut self.next_feature)), |kept| kept.id);
            features.insert(feature.name.clone(), FeatureIds { id, version: feature.version, stored_as });
        }
        let key: Vec<FeatureId> = entity.keys().filter_map(|key| features.get(&key.name)).map(|key| key.id).collect();
        let key_changed = before.is_some_and(|before| before.key != key);
        if key_changed || entity.keys().any(|key| changed.iter().any(|(name, _)| *name == key.name)) {
            problems.push(key_problem(entity));
            changed.retain(|(name, _)| entity.keys().all(|key| key.name != *name));
        }
        problems.extend(changed.into_iter().map(|(_, problem)| problem));
        for (name, gone) in known.iter().filter(|(_, gone)| !carried.contains(&gone.id)) {
            self.retired_features.insert(gone.id, format!("{}.{name}", entity.name));
        }
        EntityIds { id, key, features }
    }

    /// Checks stored numbers against the definitions they stand beside; the reason names what does not fit.
    pub(crate) fn verify(&self, catalog: Catalog<'_>) -> Result<(), String> {
        let (again, problems) = Self::assign(Some(self), catalog);
        if let Some(problem) = problems.first() {
            return Err(problem.message.clone());
        }
        if again != *self {
            return Err("its identifiers do not belong to its definitions".to_owned());
        }
        let entities = self.entities.values().map(|entity| entity.id.0);
        let features = self.entities.values().flat_map(|entity| entity.features.values().map(|feature| feature.id.0));
        unique(entities.chain(self.retired_entities.keys().map(|id| id.0)), self.next_entity)?;
        unique(features.chain(self.retired_features.keys().map(|id| id.0)), self.next_feature)
    }
}

fn unique(numbers: impl Iterator<Item = u32>, next: u32) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for number in numbers {
        if number >= next || !seen.insert(number) {
            return Err(format!("the identifier {number} is used twice or was never given"));
        }
    }
    Ok(())
}

fn take(next: &mut u32) -> u32 {
    let taken = *next;
    *next = taken.checked_add(1).expect("fewer than 2^32 definitions in the life of a scope");
    taken
}

/// What a definition was called before, if it is known: by its name, else by the name it was renamed from.
fn former<'a, T>(name: &Name, renamed_from: Option<&Name>, known: &'a BTreeMap<Name, T>) -> Option<(&'a Name, &'a T)> {
    known.get_key_value(name).or_else(|| known.get_key_value(renamed_from?))
}

/// Whether facts stored as `before` can be read as `after`: the same type, or an enum that gained members.
fn keeps(before: &Type, after: &Type) -> bool {
    match (before, after) {
        (Type::Enum { members: before, .. }, Type::Enum { members: after, .. }) => {
            before.iter().all(|member| after.contains(member))
        }
        _ => before == after,
    }
}

fn type_changed(entity: &Entity, feature: &Feature, before: Option<&Type>) -> (Name, Problem) {
    let before = before.map_or_else(String::new, |ty| render_type(ty, false));
    let after = render_type(&feature.ty, false);
    let message = if before == after {
        format!("`{}.{}` was deployed with another definition of `{after}`", entity.name, feature.name)
    } else {
        format!("`{}.{}` was deployed as `{before}` and cannot become `{after}`", entity.name, feature.name)
    };
    let problem = Problem::new("feature/type-changed", message).at(&feature.location).with_help(format!(
        "facts of the old type are stored under this feature; add a new feature, or raise its `version` to {} to start \
         an empty history",
        feature.version + 1
    ));
    (feature.name.clone(), problem)
}

fn key_problem(entity: &Entity) -> Problem {
    Problem::new("entity/key-changed", format!("the key of `{}` changed", entity.name))
        .at(&entity.location)
        .with_help("stored facts are filed by the deployed key; restore it, or define a new entity with the new key")
}
