//! What an index holds by the definitions in force.

use std::collections::{BTreeSet, HashMap};

use creta_model::{Entity, Environment, FeatureId, FeaturePath, Name, RelationKind, Role, Type};
use creta_planner::{Aggregation, KeyColumn, Shape, Step};
use creta_registry::Registry;

use super::IndexSpec;
use crate::windows::{TileInput, tile_inputs};

/// Which indexes there are, which features they keep, and of which inputs they have tiles.
pub(crate) struct Contents {
    /// Ascending, without repeats.
    pub(crate) specs: Vec<IndexSpec>,
    /// Types of all features that are kept.
    pub(crate) types: HashMap<FeatureId, Type>,
    /// Of each index the inputs, in the order of their marks.
    pub(crate) tiles: Vec<Vec<TileInput>>,
}

impl Contents {
    /// Those of these definitions, with resolvers as they are enabled in an environment.
    pub(crate) fn of(registry: &Registry, environment: &Environment) -> Self {
        let specs: Vec<IndexSpec> = index_specs(registry).into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let windows = windows(registry, environment);
        let tiles = specs.iter().map(|spec| {
            let of_spec = windows.iter().filter(|(window, ..)| window == spec);
            tile_inputs(of_spec.flat_map(|(_, columns, all)| all.iter().map(|one| (columns.as_slice(), one))))
        });
        Self { tiles: tiles.collect(), types: stored_types(registry), specs }
    }
}

/// An index over each entity's key and one for each set of features that a window's relation joins on.
fn index_specs(registry: &Registry) -> Vec<IndexSpec> {
    let mut specs = Vec::new();
    let graph = registry.graph();
    let ids = |entity: &Entity, names: &mut dyn Iterator<Item = &Name>| -> Option<IndexSpec> {
        let features = names.map(|name| registry.feature_id(&entity.name, name)).collect::<Option<Vec<_>>>()?;
        Some(IndexSpec { entity: registry.entity_id(&entity.name)?, features })
    };
    for entity in &graph.entities {
        specs.extend(ids(entity, &mut entity.keys().map(|feature| &feature.name)));
        for relation in entity.relations.iter().filter(|relation| relation.kind == RelationKind::Many) {
            if let Some(target) = graph.find_entity(&relation.target) {
                specs.extend(ids(target, &mut relation.on.iter().map(|(_, there)| there)));
            }
        }
    }
    specs
}

/// Types of all features that facts may carry.
fn stored_types(registry: &Registry) -> HashMap<FeatureId, Type> {
    registry
        .features()
        .filter(|(feature, _, definition)| {
            definition.role != Role::Value || registry.is_stored(&feature.entity, &feature.feature)
        })
        .filter_map(|(feature, _, definition)| {
            Some((registry.feature_id(&feature.entity, &feature.feature)?, definition.ty.clone()))
        })
        .collect()
}

/// Every window, as a plan for it alone has it, with the index that serves it. One that cannot be planned has no tiles.
fn windows(registry: &Registry, environment: &Environment) -> Vec<(IndexSpec, Vec<KeyColumn>, Vec<Aggregation>)> {
    let mut windows = Vec::new();
    for entity in &registry.graph().entities {
        let path = |feature: &Name| FeaturePath::direct(entity.name.clone(), feature.clone());
        for feature in &entity.features {
            let Some(window) = &feature.window else { continue };
            let Some(relation) = entity.find_relation(&window.relation) else { continue };
            let shape = Shape {
                environment: environment.clone(),
                given: relation.on.iter().map(|(here, _)| path(here)).collect(),
                outputs: vec![FeaturePath { window: window.last.first().copied(), ..path(&feature.name) }],
                max_age: Default::default(),
            };
            let Ok(plan) = creta_planner::plan(registry, &shape) else { continue };
            for step in plan.steps {
                if let Step::Windows { entity, key, columns, aggregations, .. } = step {
                    let features = key.into_iter().map(|column| column.feature).collect();
                    windows.push((IndexSpec { entity, features }, columns, aggregations));
                }
            }
        }
    }
    windows
}
