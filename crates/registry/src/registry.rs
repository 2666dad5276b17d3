//! The registry: checked definitions with stable numbers, one revision after another.

use std::collections::{BTreeMap, BTreeSet};

use creta_model::{
    Bundle, Entity, EntityId, Environment, Feature, FeatureId, FeaturePath, Graph, Name, Problem, Resolver,
};
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, FeatureRef, Index};
use crate::error::RegistryError;
use crate::ids::Ids;
use crate::tags::{self, Declassified};
use crate::{canonical, check, lineage};

/// The version that stored registries carry.
pub const REGISTRY_FORMAT: &str = "creta.registry/1";

/// Checked definitions of one scope, with the numbers its stores use. Immutable: a change is a new registry.
#[derive(Debug, Clone)]
pub struct Registry {
    bundle: Bundle,
    ids: Ids,
    revision: u64,
    digest: String,
    index: Index,
}

/// What applying a bundle gave.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The definitions, now in force.
    pub registry: Registry,
    /// What is allowed but worth a look, in order of place.
    pub warnings: Vec<Problem>,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: String,
    revision: u64,
    digest: String,
    ids: Ids,
    bundle: Bundle,
}

impl Registry {
    /// Checks a bundle and numbers its definitions, carrying the numbers of `previous` along. All problems are
    /// collected, in order of place. A bundle equal to the previous one keeps its revision.
    pub fn apply(previous: Option<&Self>, bundle: Bundle) -> Result<Applied, Vec<Problem>> {
        let bundle = normalised(bundle);
        check::formats(&bundle)?;
        let index = Index::of(&bundle.graph);
        let catalog = Catalog::new(&bundle.graph, &index);
        let check::Findings { mut problems, warnings } = check::check(&bundle, catalog);
        let (ids, changes) = Ids::assign(previous.map(|previous| &previous.ids), catalog);
        problems.extend(changes);
        if !problems.is_empty() {
            check::sort(&mut problems);
            return Err(problems);
        }
        let digest = canonical::digest(&bundle);
        let revision = match previous {
            None => 1,
            Some(previous) if previous.digest == digest => previous.revision,
            Some(previous) => previous.revision + 1,
        };
        Ok(Applied { registry: Self { bundle, ids, revision, digest, index }, warnings })
    }

    /// Reads what [`Registry::to_json`] wrote and checks everything again.
    pub fn load(bytes: &[u8]) -> Result<Self, RegistryError> {
        #[derive(Deserialize)]
        struct Format {
            format: String,
        }
        let Format { format } = serde_json::from_slice(bytes).map_err(RegistryError::Unreadable)?;
        if format != REGISTRY_FORMAT {
            return Err(RegistryError::Format { found: format, expected: REGISTRY_FORMAT });
        }
        let stored: Stored = serde_json::from_slice(bytes).map_err(RegistryError::Unreadable)?;
        if canonical::digest(&stored.bundle) != stored.digest {
            return Err(RegistryError::Digest);
        }
        check::formats(&stored.bundle).map_err(RegistryError::Invalid)?;
        let index = Index::of(&stored.bundle.graph);
        let catalog = Catalog::new(&stored.bundle.graph, &index);
        let findings = check::check(&stored.bundle, catalog);
        if !findings.problems.is_empty() {
            return Err(RegistryError::Invalid(findings.problems));
        }
        stored.ids.verify(catalog).map_err(|reason| RegistryError::Identifiers { reason })?;
        let Stored { revision, digest, ids, bundle, .. } = stored;
        Ok(Self { bundle, ids, revision, digest, index })
    }

    /// The stored form: JSON with sorted members, the same bytes for the same registry.
    pub fn to_json(&self) -> Vec<u8> {
        canonical::sorted_bytes(&Stored {
            format: REGISTRY_FORMAT.to_owned(),
            revision: self.revision,
            digest: self.digest.clone(),
            ids: self.ids.clone(),
            bundle: self.bundle.clone(),
        })
    }

    /// Counts the changes of this scope's definitions, from 1.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// `sha256:<hex>` of the bundle's canonical form, its lists sorted by name.
    pub fn bundle_digest(&self) -> &str {
        &self.digest
    }

    /// What was applied, its lists sorted by name.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The definitions.
    pub fn graph(&self) -> &Graph {
        &self.bundle.graph
    }

    /// The definitions with lookups: entities, paths, what produces a feature.
    pub fn catalog(&self) -> Catalog<'_> {
        Catalog::new(&self.bundle.graph, &self.index)
    }

    /// The entity of that name.
    pub fn entity(&self, name: &Name) -> Option<&Entity> {
        self.catalog().find_entity(name)
    }

    /// The feature of that entity.
    pub fn feature(&self, entity: &Name, feature: &Name) -> Option<&Feature> {
        self.entity(entity)?.find_feature(feature)
    }

    /// The resolver that outputs the feature in that environment.
    pub fn resolver(&self, feature: &FeatureRef, environment: &Environment) -> Option<&Resolver> {
        self.catalog().find_producer(feature, environment)
    }

    /// Whether the feature comes from ingested facts rather than being computed. False for unknown features.
    pub fn is_stored(&self, entity: &Name, feature: &Name) -> bool {
        let catalog = self.catalog();
        catalog
            .find_feature(&FeatureRef::new(entity, feature))
            .is_some_and(|(entity, feature)| catalog.is_stored(entity, feature))
    }

    /// The entity's stable number.
    pub fn entity_id(&self, name: &Name) -> Option<EntityId> {
        self.ids.entities.get(name).map(|entity| entity.id)
    }

    /// The feature's stable number.
    pub fn feature_id(&self, entity: &Name, feature: &Name) -> Option<FeatureId> {
        self.ids.entities.get(entity)?.features.get(feature).map(|feature| feature.id)
    }

    /// The present name of an entity; `None` when it was removed. O(entities).
    pub fn entity_name(&self, id: EntityId) -> Option<&Name> {
        self.ids.entities.iter().find(|(_, entity)| entity.id == id).map(|(name, _)| name)
    }

    /// The present name of a feature; `None` when it was removed. O(features).
    pub fn feature_name(&self, id: FeatureId) -> Option<FeatureRef> {
        self.ids.entities.iter().find_map(|(entity, ids)| {
            let (feature, _) = ids.features.iter().find(|(_, feature)| feature.id == id)?;
            Some(FeatureRef::new(entity, feature))
        })
    }

    /// Entities that were removed, with the last name they had.
    pub fn retired_entities(&self) -> impl Iterator<Item = (EntityId, &Name)> {
        self.ids.retired_entities.iter().map(|(id, name)| (*id, name))
    }

    /// Tags that features which were there before, or their entities, had by themselves and no longer have, whatever they are
    /// called now: each with the feature's present name. Who takes one away decides what is shown of values that are stored.
    pub fn tags_dropped_since(&self, previous: &Self) -> BTreeSet<(FeatureRef, String)> {
        let own = |entity: &Entity, feature: &Feature| -> BTreeSet<String> {
            entity.tags.iter().chain(&feature.tags).cloned().collect()
        };
        let mut dropped = BTreeSet::new();
        for (was, entity, feature) in previous.features() {
            let number = previous.feature_id(&was.entity, &was.feature);
            let Some(now) = number.map_or_else(|| Some(was.clone()), |number| self.feature_name(number)) else {
                continue;
            };
            let (Some(entity_now), Some(feature_now)) =
                (self.entity(&now.entity), self.feature(&now.entity, &now.feature))
            else {
                continue;
            };
            let has = own(entity_now, feature_now);
            dropped.extend(own(entity, feature).difference(&has).map(|tag| (now.clone(), tag.clone())));
        }
        dropped
    }

    /// Features that were removed, with the last name they had: `Flight.wind`.
    pub fn retired_features(&self) -> impl Iterator<Item = (FeatureId, &str)> {
        self.ids.retired_features.iter().map(|(id, name)| (*id, name.as_str()))
    }

    /// The features read directly to compute a feature, in any environment. Empty for stored ones.
    pub fn inputs_of(&self, feature: &FeatureRef) -> BTreeSet<FeatureRef> {
        lineage::direct_inputs(self.catalog(), feature, lineage::Enabled::Anywhere)
    }

    /// The stored features at the far end of what a path reads, in any environment; the features its relations go by
    /// included. Empty for a path that leads nowhere.
    pub fn lineage(&self, path: &FeaturePath) -> BTreeSet<FeatureRef> {
        lineage::lineage(self.catalog(), path)
    }

    /// Tags of the feature, of its entity, and of everything it is computed from in any environment, in order. Those that
    /// stay ([`TAGS_THAT_STAY`](crate::TAGS_THAT_STAY)) only where the feature or its entity has them.
    pub fn effective_tags(&self, feature: &FeatureRef) -> BTreeSet<String> {
        self.tag_paths(feature, &Declassified::nothing()).into_keys().collect()
    }

    /// As [`effective_tags`](Self::effective_tags), with declassifications applied. Each tag comes with why: the shortest path
    /// from the feature, itself included, to one that has the tag by itself or by its entity.
    pub fn tag_paths(&self, feature: &FeatureRef, declassified: &Declassified) -> BTreeMap<String, Vec<FeatureRef>> {
        tags::flowing(self.catalog(), feature, declassified)
    }

    /// The features that have `tag` by themselves or by their entity and from which it flows to `feature`, whatever is
    /// declassified: what a declassification is reviewed against.
    pub fn tag_sources(&self, feature: &FeatureRef, tag: &str) -> BTreeSet<FeatureRef> {
        tags::sources(self.catalog(), feature, tag)
    }

    /// Who answers for the feature: its own owner, else the entity's.
    pub fn owner(&self, feature: &FeatureRef) -> Option<&str> {
        let (entity, feature) = self.catalog().find_feature(feature)?;
        feature.owner.as_deref().or(entity.owner.as_deref())
    }

    /// Every feature of every entity, sorted.
    pub fn features(&self) -> impl Iterator<Item = (FeatureRef, &Entity, &Feature)> {
        let all = self.graph().entities.iter().flat_map(|entity| {
            let mut features: Vec<&Feature> = entity.features.iter().collect();
            features.sort_by(|a, b| a.name.cmp(&b.name));
            features.into_iter().map(move |feature| (FeatureRef::new(&entity.name, &feature.name), entity, feature))
        });
        all.collect::<Vec<_>>().into_iter()
    }
}

/// The lists of a graph sorted by name: their order means nothing, so it must not show.
fn normalised(mut bundle: Bundle) -> Bundle {
    let graph = &mut bundle.graph;
    graph.entities.sort_by(|a, b| a.name.cmp(&b.name));
    graph.resolvers.sort_by(|a, b| a.name.cmp(&b.name));
    graph.sources.sort_by(|a, b| a.name.cmp(&b.name));
    graph.queries.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
    bundle
}
