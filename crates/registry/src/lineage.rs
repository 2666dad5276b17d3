//! What a feature is computed from: direct inputs, and stored features at the far end.

use std::collections::BTreeSet;

use creta_model::{Expr, FeaturePath, InputSource, Resolver, Window};

use crate::catalog::{Catalog, FeatureRef, Production};

/// Which resolvers count.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Enabled<'a> {
    /// Those of all environments.
    Anywhere,
    /// Those enabled in the environment of that name.
    In(&'a str),
}

impl Enabled<'_> {
    pub(crate) fn covers(self, resolver: &Resolver) -> bool {
        match self {
            Self::Anywhere => true,
            Self::In(name) => resolver.environments.is_empty() || resolver.environments.iter().any(|e| e == name),
        }
    }
}

/// The features read directly to compute `feature`, without repeats. Reading through a relation also reads the features
/// that the relation goes by. Unknown paths are left out.
pub(crate) fn direct_inputs(catalog: Catalog<'_>, feature: &FeatureRef, enabled: Enabled<'_>) -> BTreeSet<FeatureRef> {
    let mut inputs = BTreeSet::new();
    let Some((entity, definition)) = catalog.find_feature(feature) else {
        return inputs;
    };
    match catalog.production(entity, definition) {
        Production::Facts => {}
        Production::Expression(expr) => of_expression(catalog, expr, &mut inputs),
        Production::Window(window) => of_window(catalog, feature, window, &mut inputs),
        Production::Resolvers(resolvers) => {
            for resolver in resolvers.into_iter().filter(|resolver| enabled.covers(resolver)) {
                for input in &resolver.inputs {
                    if let InputSource::Path(path) = &input.from {
                        of_path(catalog, path, &mut inputs);
                    }
                }
            }
        }
    }
    inputs
}

fn of_expression(catalog: Catalog<'_>, expr: &Expr, inputs: &mut BTreeSet<FeatureRef>) {
    expr.for_each_path(&mut |path| of_path(catalog, path, inputs));
}

fn of_window(catalog: Catalog<'_>, feature: &FeatureRef, window: &Window, inputs: &mut BTreeSet<FeatureRef>) {
    let relation = catalog.find_entity(&feature.entity).and_then(|entity| entity.find_relation(&window.relation));
    if let Some(relation) = relation {
        for (here, there) in &relation.on {
            inputs.insert(FeatureRef::new(&feature.entity, here));
            inputs.insert(FeatureRef::new(&relation.target, there));
        }
    }
    for expr in window.value.iter().chain(&window.filter) {
        of_expression(catalog, expr, inputs);
    }
}

fn of_path(catalog: Catalog<'_>, path: &FeaturePath, inputs: &mut BTreeSet<FeatureRef>) {
    let Ok(target) = catalog.follow(path) else {
        return;
    };
    for hop in &target.hops {
        for (here, _) in &hop.relation.on {
            inputs.insert(FeatureRef::new(&hop.from.name, here));
        }
    }
    inputs.insert(FeatureRef::new(&target.entity.name, &target.feature.name));
}

/// Everything `feature` is computed from in any environment, directly or not, itself included.
pub(crate) fn closure(catalog: Catalog<'_>, feature: &FeatureRef) -> BTreeSet<FeatureRef> {
    let mut seen = BTreeSet::from([feature.clone()]);
    let mut open = vec![feature.clone()];
    while let Some(next) = open.pop() {
        for input in direct_inputs(catalog, &next, Enabled::Anywhere) {
            if seen.insert(input.clone()) {
                open.push(input);
            }
        }
    }
    seen
}

/// The stored features at the far end of what the path reads, in any environment; those its relations go by included.
/// Empty for a path that leads nowhere.
pub(crate) fn lineage(catalog: Catalog<'_>, path: &FeaturePath) -> BTreeSet<FeatureRef> {
    let mut direct = BTreeSet::new();
    of_path(catalog, path, &mut direct);
    let all = direct.iter().flat_map(|feature| closure(catalog, feature));
    all.filter(|feature| {
        catalog.find_feature(feature).is_some_and(|(entity, definition)| catalog.is_stored(entity, definition))
    })
    .collect()
}
