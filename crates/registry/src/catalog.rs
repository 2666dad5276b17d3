//! A graph with an index: find entities and features, follow paths, ask what produces a feature.

use std::collections::BTreeMap;
use std::fmt;

use creta_model::{
    Entity, Environment, Expr, Feature, FeaturePath, Graph, Name, Relation, RelationKind, Resolver, Role, Window,
};
use serde::{Deserialize, Serialize};

use crate::closest::closest;
use crate::error::PathError;

/// One feature of one entity: `Flight.risk`. Without relations or a window, unlike a [`FeaturePath`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FeatureRef {
    /// The entity.
    pub entity: Name,
    /// Its feature.
    pub feature: Name,
}

impl FeatureRef {
    /// The feature of that entity.
    pub fn new(entity: &Name, feature: &Name) -> Self {
        Self { entity: entity.clone(), feature: feature.clone() }
    }
}

impl fmt::Display for FeatureRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.entity, self.feature)
    }
}

/// Where a feature's values come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Production<'g> {
    /// Ingested facts; also keys and event times.
    Facts,
    /// Computed from other features.
    Expression(&'g Expr),
    /// Aggregated over the facts of a `many` relation.
    Window(&'g Window),
    /// Resolvers, each enabled in some environments; sorted by name, never empty.
    Resolvers(Vec<&'g Resolver>),
}

/// Positions in a graph, so that lookups do not search.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    entities: BTreeMap<Name, usize>,
    producers: BTreeMap<FeatureRef, Vec<usize>>,
}

impl Index {
    /// Of names that occur twice the first counts; the check reports the others.
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut index = Self::default();
        for (position, entity) in graph.entities.iter().enumerate() {
            index.entities.entry(entity.name.clone()).or_insert(position);
        }
        for (position, resolver) in graph.resolvers.iter().enumerate() {
            for output in &resolver.outputs {
                let produced = index.producers.entry(FeatureRef::new(&output.root, &output.feature)).or_default();
                if !produced.contains(&position) {
                    produced.push(position);
                }
            }
        }
        index
    }
}

/// A graph and its index. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Catalog<'g> {
    graph: &'g Graph,
    index: &'g Index,
}

/// One step of a path: from an entity through a relation.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'g> {
    /// The entity the relation belongs to.
    pub from: &'g Entity,
    /// A `one` relation.
    pub relation: &'g Relation,
    /// The entity it leads to.
    pub to: &'g Entity,
}

/// What a path leads to.
#[derive(Debug, Clone)]
pub struct Target<'g> {
    /// Relations followed, in order.
    pub hops: Vec<Hop<'g>>,
    /// The entity reached.
    pub entity: &'g Entity,
    /// Its feature.
    pub feature: &'g Feature,
}

impl<'g> Catalog<'g> {
    pub(crate) fn new(graph: &'g Graph, index: &'g Index) -> Self {
        Self { graph, index }
    }

    /// The definitions.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// The entity of that name. O(log entities).
    pub fn find_entity(&self, name: &Name) -> Option<&'g Entity> {
        self.index.entities.get(name).map(|position| &self.graph.entities[*position])
    }

    /// The feature, with its entity.
    pub fn find_feature(&self, feature: &FeatureRef) -> Option<(&'g Entity, &'g Feature)> {
        let entity = self.find_entity(&feature.entity)?;
        Some((entity, entity.find_feature(&feature.feature)?))
    }

    /// Where the feature's values come from, over all environments.
    pub fn production(&self, entity: &Entity, feature: &'g Feature) -> Production<'g> {
        if let Some(expr) = &feature.expression {
            return Production::Expression(expr);
        }
        if let Some(window) = &feature.window {
            return Production::Window(window);
        }
        let producers = self.producers(&FeatureRef::new(&entity.name, &feature.name));
        if producers.is_empty() || feature.role != Role::Value {
            return Production::Facts;
        }
        Production::Resolvers(producers)
    }

    /// Whether the feature comes from ingested facts rather than being computed.
    pub fn is_stored(&self, entity: &Entity, feature: &'g Feature) -> bool {
        self.production(entity, feature) == Production::Facts
    }

    /// The resolvers that output the feature in any environment, sorted by name.
    pub fn producers(&self, feature: &FeatureRef) -> Vec<&'g Resolver> {
        let positions = self.index.producers.get(feature).map_or(&[][..], Vec::as_slice);
        let mut found: Vec<_> = positions.iter().map(|position| &self.graph.resolvers[*position]).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The resolver that outputs the feature in that environment. Overlaps are refused by the check.
    pub fn find_producer(&self, feature: &FeatureRef, environment: &Environment) -> Option<&'g Resolver> {
        self.producers(feature).into_iter().find(|resolver| is_enabled(resolver, environment))
    }

    /// Follows a path through `one` relations to its feature and checks that it names a window exactly when the feature
    /// has windows.
    pub fn follow(&self, path: &FeaturePath) -> Result<Target<'g>, PathError> {
        let target = self.follow_without_window(path)?;
        let direct = FeatureRef::new(&target.entity.name, &target.feature.name);
        match (&target.feature.window, path.window) {
            (Some(window), None) => {
                Err(PathError::NeedsWindow { path: Box::new(path.clone()), declared: window.last.clone() })
            }
            (Some(window), Some(span)) if !window.last.contains(&span) => Err(PathError::UnknownWindow {
                path: Box::new(path.clone()),
                feature: direct,
                declared: window.last.clone(),
            }),
            (None, Some(_)) => Err(PathError::NotWindowed { path: Box::new(path.clone()) }),
            _ => Ok(target),
        }
    }

    fn follow_without_window(&self, path: &FeaturePath) -> Result<Target<'g>, PathError> {
        let mut entity = self.find_entity(&path.root).ok_or_else(|| PathError::UnknownEntity {
            path: Box::new(path.clone()),
            closest: closest(path.root.as_str(), self.graph.entities.iter().map(|e| e.name.as_str()))
                .map(str::to_owned),
        })?;
        let mut hops = Vec::with_capacity(path.via.len());
        for name in &path.via {
            let relation = entity.find_relation(name).ok_or_else(|| PathError::UnknownRelation {
                path: Box::new(path.clone()),
                entity: entity.name.clone(),
                relation: name.clone(),
                is_feature: entity.find_feature(name).is_some(),
                closest: closest(name.as_str(), entity.relations.iter().map(|r| r.name.as_str())).map(str::to_owned),
            })?;
            if relation.kind == RelationKind::Many {
                return Err(PathError::ThroughMany {
                    path: Box::new(path.clone()),
                    entity: entity.name.clone(),
                    relation: name.clone(),
                    target: relation.target.clone(),
                });
            }
            let to = self.find_entity(&relation.target).ok_or_else(|| PathError::BrokenRelation {
                path: Box::new(path.clone()),
                entity: entity.name.clone(),
                relation: name.clone(),
            })?;
            hops.push(Hop { from: entity, relation, to });
            entity = to;
        }
        let feature = entity.find_feature(&path.feature).ok_or_else(|| self.unknown_feature(path, entity))?;
        Ok(Target { hops, entity, feature })
    }

    fn unknown_feature(&self, path: &FeaturePath, entity: &Entity) -> PathError {
        let names = || entity.features.iter().map(|f| f.name.as_str());
        PathError::UnknownFeature {
            path: Box::new(path.clone()),
            entity: entity.name.clone(),
            leads_to: entity.find_relation(&path.feature).map(|relation| relation.target.clone()),
            closest: closest(path.feature.as_str(), names()).map(str::to_owned),
            features: names().map(str::to_owned).collect(),
        }
    }
}

/// Whether the resolver runs in that environment: it names it, or names none.
pub fn is_enabled(resolver: &Resolver, environment: &Environment) -> bool {
    resolver.environments.is_empty() || resolver.environments.iter().any(|name| name == environment.as_str())
}
