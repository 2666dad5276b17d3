//! Windows: over a `many` relation, of what the facts themselves hold, with spans that make sense.

use std::collections::BTreeMap;

use creta_model::{Aggregate, Entity, Expr, Feature, Location, Name, Problem, RelationKind, Span, Type, Window};

use super::{Checker, full_name};
use crate::aggregates::{aggregate_type, typed_value};
use crate::catalog::FeatureRef;
use crate::closest::closest;
use crate::infer::infer;

/// The most values that `last_n` keeps.
const LAST_N_MAX: u32 = 1000;

impl<'g> Checker<'g> {
    pub(super) fn windows(&mut self) {
        // Entities whose facts are aggregated without an event id, and by which windows.
        let mut at_least_once: BTreeMap<&Name, Vec<(FeatureRef, &Location)>> = BTreeMap::new();
        for entity in &self.catalog.graph().entities {
            for feature in &entity.features {
                let Some(window) = &feature.window else { continue };
                self.spans(entity, feature, window);
                let Some(target) = self.window_target(entity, feature, window) else { continue };
                self.aggregation(entity, target, feature, window);
                if !target.features.iter().any(|f| f.event_id) {
                    at_least_once
                        .entry(&target.name)
                        .or_default()
                        .push((full_name(entity, feature), &feature.location));
                }
            }
        }
        for (target, readers) in at_least_once {
            let location = &self.catalog.find_entity(target).expect("windows lead to known entities").location;
            let warning = Problem::new(
                "entity/at-least-once",
                format!("a fact of `{target}` that is delivered twice counts twice: `{target}` has no event id"),
            )
            .at(location)
            .with_help("mark what identifies an event, with `event_id()` or `key(event_id=True)`");
            self.warnings.push(
                readers.into_iter().fold(warning, |warning, (reader, at)| {
                    warning.with_note("counted by", reader.to_string(), Some(at))
                }),
            );
        }
    }

    fn spans(&mut self, entity: &Entity, feature: &Feature, window: &Window) {
        let name = full_name(entity, feature);
        let problem = if window.last.is_empty() {
            Problem::new("window/spans", format!("`{name}` has no window"))
                .with_help("write for example `last=days(7)`")
        } else if window.last.contains(&Span::ZERO) {
            Problem::new("window/spans", format!("`{name}` has a window of no length"))
                .with_help("a window ends before the row's instant, so it needs some length")
        } else if !window.last.is_sorted_by(|a, b| a < b) {
            Problem::new("window/spans", format!("the windows of `{name}` are not sorted or repeat"))
                .with_help("list each window once, the shortest first")
        } else {
            return;
        };
        self.problem(problem.at(&feature.location));
    }

    fn window_target(&mut self, entity: &Entity, feature: &Feature, window: &Window) -> Option<&'g Entity> {
        let name = full_name(entity, feature);
        let Some(relation) = entity.find_relation(&window.relation) else {
            let many = entity.relations.iter().filter(|r| r.kind == RelationKind::Many).map(|r| r.name.as_str());
            let help = closest(window.relation.as_str(), many).map_or_else(
                || format!("add it: `{}: Many[...] = many(on=lambda: (...))`", window.relation),
                |relation| format!("did you mean `{}.{relation}`?", entity.name),
            );
            self.problem(
                Problem::new(
                    "window/unknown-relation",
                    format!("`{name}` aggregates over `{}.{}`, which is not a relation", entity.name, window.relation),
                )
                .at(&feature.location)
                .with_help(help),
            );
            return None;
        };
        if relation.kind == RelationKind::One {
            self.problem(
                Problem::new(
                    "window/one-relation",
                    format!("`{name}` aggregates over `{}.{}`, which leads to only one", entity.name, relation.name),
                )
                .at(&feature.location)
                .with_note("relation", format!("{}.{}", entity.name, relation.name), Some(&relation.location))
                .with_help(format!("read it directly: `{}.{}.<feature>`", entity.name, relation.name)),
            );
            return None;
        }
        self.catalog.find_entity(&relation.target)
    }

    fn aggregation(&mut self, entity: &Entity, target: &'g Entity, feature: &Feature, window: &Window) {
        let name = full_name(entity, feature);
        if let Some(filter) = &window.filter
            && let Some((ty, _)) = self.over_facts(entity, target, feature, filter)
            && ty != Type::Bool
        {
            self.problem(
                Problem::new(
                    "window/filter",
                    format!("`where` of `{name}` has to be a bool, not `{}`", ty.python_name()),
                )
                .at(&feature.location)
                .with_help("compare: `where=Flight.dep_delay > 0`"),
            );
        }
        if window.value.as_ref().is_some_and(|value| self.over_facts(entity, target, feature, value).is_none()) {
            return;
        }
        let value = typed_value(window, &feature.ty, &|path| self.type_of(path));
        let value = value.expect("the value was found to have a type").map(|value| value.ty);
        if let Aggregate::LastN { n } = window.aggregate
            && !(1..=LAST_N_MAX).contains(&n)
        {
            self.problem(
                Problem::new("window/last-n", format!("`{name}` keeps the last {n} values"))
                    .at(&feature.location)
                    .with_help(format!("keep between 1 and {LAST_N_MAX}")),
            );
        }
        if let Aggregate::Percentile { thousandths } = window.aggregate
            && !(1..100_000).contains(&thousandths)
        {
            let percent = f64::from(thousandths) / 1000.0;
            self.problem(
                Problem::new("window/percentile", format!("`{name}` takes the percentile {percent}"))
                    .at(&feature.location)
                    .with_help("take one above 0 and below 100; the ends are `min_` and `max_`"),
            );
        }
        match aggregate_type(window.aggregate, value.as_ref()) {
            Ok(ty) => self.result("window/result", entity, feature, &ty, false, None),
            Err((message, help)) => {
                self.problem(
                    Problem::new("window/aggregate", format!("`{name}` takes {message}"))
                        .at(&feature.location)
                        .with_help(help),
                );
            }
        }
    }

    /// Type of an expression over the facts of `target`, which may read only what those facts hold.
    fn over_facts(
        &mut self,
        entity: &Entity,
        target: &'g Entity,
        feature: &Feature,
        expr: &Expr,
    ) -> Option<(Type, bool)> {
        let name = full_name(entity, feature);
        let mut paths = Vec::new();
        expr.for_each_path(&mut |path| paths.push(path));
        let mut known = true;
        for path in paths {
            let reason = if path.root != target.name {
                Some(format!("`{path}`, which is not a feature of `{}`", target.name))
            } else if !path.via.is_empty() {
                Some(format!("`{path}`, which follows a relation"))
            } else {
                let Some(read) = self.follow(path, &format!("`{name}`"), &feature.location) else {
                    known = false;
                    continue;
                };
                let stored = self.catalog.is_stored(target, read.feature);
                (!stored).then(|| format!("`{path}`, which is computed"))
            };
            if let Some(reason) = reason {
                known = false;
                self.problem(
                    Problem::new("window/reads", format!("`{name}` aggregates {reason}"))
                        .at(&feature.location)
                        .with_help(format!("aggregate features that come with the facts of `{}`", target.name)),
                );
            }
        }
        if !known {
            return None;
        }
        match infer(expr, &|path| self.type_of(path)) {
            Ok(found) => Some(found),
            Err(error) => {
                self.expression_error("expression/type", &format!("`{name}`"), feature, &error);
                None
            }
        }
    }
}
