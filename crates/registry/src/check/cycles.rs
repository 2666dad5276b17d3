//! Features that would be computed from themselves.

use std::collections::{BTreeMap, BTreeSet};

use creta_model::Problem;

use super::Checker;
use crate::catalog::{Catalog, FeatureRef, Production};
use crate::lineage::{Enabled, direct_inputs};

/// Where a depth-first walk stands with a feature.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    OnTheWay,
    Done,
}

impl Checker<'_> {
    /// Environments are looked at one by one: two resolvers that are never enabled together make no cycle.
    pub(super) fn cycles(&mut self) {
        let graph = self.catalog.graph();
        let mut environments: BTreeSet<&str> =
            graph.resolvers.iter().flat_map(|resolver| resolver.environments.iter().map(String::as_str)).collect();
        // No environment has an empty name: it stands for those that no resolver names.
        environments.insert("");
        let mut reported: BTreeSet<Vec<FeatureRef>> = BTreeSet::new();
        for environment in environments {
            let mut walk = Walk {
                catalog: self.catalog,
                enabled: Enabled::In(environment),
                marks: BTreeMap::new(),
                way: Vec::new(),
                found: Vec::new(),
            };
            for entity in &graph.entities {
                for feature in &entity.features {
                    walk.visit(&FeatureRef::new(&entity.name, &feature.name));
                }
            }
            for cycle in walk.found {
                if reported.insert(cycle.clone()) {
                    self.problem(self.cycle(&cycle));
                }
            }
        }
    }

    fn cycle(&self, cycle: &[FeatureRef]) -> Problem {
        let chain = cycle.iter().chain(cycle.first()).map(|feature| format!("`{feature}`")).collect::<Vec<_>>();
        let message = format!("`{}` is computed from itself: {}", cycle[0], chain.join(" -> "));
        let mut problem = Problem::new("graph/cycle", message)
            .with_help("break the chain: let one of them read facts instead of the next");
        for feature in cycle {
            let Some((entity, definition)) = self.catalog.find_feature(feature) else { continue };
            let (how, at) = match self.catalog.production(entity, definition) {
                Production::Resolvers(resolvers) => {
                    (format!("{feature}, by resolver `{}`", resolvers[0].name), &resolvers[0].location)
                }
                _ => (feature.to_string(), &definition.location),
            };
            problem = problem.with_note("computed", how, Some(at));
            if problem.location.is_none() {
                problem = problem.at(at);
            }
        }
        problem
    }
}

struct Walk<'g> {
    catalog: Catalog<'g>,
    enabled: Enabled<'g>,
    marks: BTreeMap<FeatureRef, Mark>,
    way: Vec<FeatureRef>,
    /// Each starts with its smallest feature, so that one cycle is found once whatever the entry.
    found: Vec<Vec<FeatureRef>>,
}

impl Walk<'_> {
    fn visit(&mut self, feature: &FeatureRef) {
        match self.marks.get(feature) {
            Some(Mark::Done) => return,
            Some(Mark::OnTheWay) => {
                let start =
                    self.way.iter().position(|on_way| on_way == feature).expect("marked features are on the way");
                let mut cycle = self.way[start..].to_vec();
                let smallest = cycle.iter().enumerate().min_by_key(|(_, feature)| *feature).map_or(0, |(i, _)| i);
                cycle.rotate_left(smallest);
                self.found.push(cycle);
                return;
            }
            None => {}
        }
        self.marks.insert(feature.clone(), Mark::OnTheWay);
        self.way.push(feature.clone());
        for input in direct_inputs(self.catalog, feature, self.enabled) {
            self.visit(&input);
        }
        self.way.pop();
        self.marks.insert(feature.clone(), Mark::Done);
    }
}
