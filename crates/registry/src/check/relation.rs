//! Relations: both sides exist, agree in type, and a `one` goes by the whole key.

use std::collections::BTreeSet;

use creta_model::{Entity, Name, Problem, Relation, RelationKind};

use super::{Checker, full_name};
use crate::catalog::FeatureRef;
use crate::closest::closest;
use crate::error::{did_you_mean, listed};

impl Checker<'_> {
    pub(super) fn relations(&mut self) {
        for entity in &self.catalog.graph().entities {
            for relation in &entity.relations {
                self.relation(entity, relation);
            }
        }
    }

    fn relation(&mut self, entity: &Entity, relation: &Relation) {
        let name = format!("{}.{}", entity.name, relation.name);
        let Some(target) = self.catalog.find_entity(&relation.target) else {
            let known = self.catalog.graph().entities.iter().map(|e| e.name.as_str());
            let problem = Problem::new(
                "relation/unknown-entity",
                format!("`{name}` leads to `{}`, which is not an entity", relation.target),
            )
            .at(&relation.location);
            let help = did_you_mean(closest(relation.target.as_str(), known));
            self.problem(match help {
                Some(help) => problem.with_help(help),
                None => problem.with_help(format!("define an entity `{}`", relation.target)),
            });
            return;
        };
        if relation.on.is_empty() {
            self.problem(
                Problem::new("relation/empty", format!("`{name}` does not say which features must be equal"))
                    .at(&relation.location)
                    .with_help(format!("write `on=lambda: ({}.<feature>, {}.<feature>)`", entity.name, target.name)),
            );
            return;
        }
        let mut complete = true;
        for (here, there) in &relation.on {
            complete &= self.pair(entity, target, relation, here, there);
        }
        if relation.kind == RelationKind::One && complete {
            self.whole_key(entity, target, relation);
        }
    }

    /// Whether both features of a pair exist; reports what else is wrong with them.
    fn pair(&mut self, entity: &Entity, target: &Entity, relation: &Relation, here: &Name, there: &Name) -> bool {
        let name = format!("{}.{}", entity.name, relation.name);
        let left = self.side(&name, entity, here, relation);
        let right = self.side(&name, target, there, relation);
        let (true, true) = (left, right) else { return false };
        let catalog = self.catalog;
        let found = |entity: &Name, feature: &Name| catalog.find_feature(&FeatureRef::new(entity, feature));
        let (Some((_, left)), Some((_, right))) = (found(&entity.name, here), found(&target.name, there)) else {
            return false;
        };
        let (left_name, right_name) = (full_name(entity, left), full_name(target, right));
        for (feature, name_of) in [(left, &left_name), (right, &right_name)] {
            if feature.window.is_some() {
                self.problem(
                    Problem::new("relation/windowed", format!("`{name}` goes by `{name_of}`, which has windows"))
                        .at(&relation.location)
                        .with_help("go by a feature with a single value"),
                );
                return true;
            }
        }
        if left.ty != right.ty {
            self.problem(
                Problem::new(
                    "relation/types",
                    format!(
                        "`{name}` compares `{left_name}` (`{}`) with `{right_name}` (`{}`)",
                        left.ty.python_name(),
                        right.ty.python_name()
                    ),
                )
                .at(&relation.location)
                .with_help("both sides need the same type; nothing is converted in silence"),
            );
        } else if !left.ty.is_key_type() {
            self.problem(
                Problem::new(
                    "relation/types",
                    format!("`{name}` goes by `{left_name}`, and `{}` is not compared exactly", left.ty.python_name()),
                )
                .at(&relation.location)
                .with_help("go by bool, int, str, bytes, date, datetime or an enum"),
            );
        }
        if !self.catalog.is_stored(target, right) {
            self.problem(
                Problem::new(
                    "relation/computed",
                    format!("`{name}` finds facts of `{}` by `{right_name}`, which is computed", target.name),
                )
                .at(&relation.location)
                .with_help("the other side has to come with the facts"),
            );
        }
        true
    }

    /// Whether one side of a pair exists.
    fn side(&mut self, relation_name: &str, entity: &Entity, feature: &Name, relation: &Relation) -> bool {
        if entity.find_feature(feature).is_some() {
            return true;
        }
        let problem = Problem::new(
            "relation/unknown-feature",
            format!("`{relation_name}` goes by `{}.{feature}`, which is not a feature", entity.name),
        )
        .at(&relation.location);
        let closest = closest(feature.as_str(), entity.features.iter().map(|f| f.name.as_str()));
        self.problem(match closest {
            Some(closest) => problem.with_help(format!("did you mean `{}.{closest}`?", entity.name)),
            None => problem.with_help(format!(
                "`{}` has {}",
                entity.name,
                listed(entity.features.iter().map(|f| &f.name), "and")
            )),
        });
        false
    }

    fn whole_key(&mut self, entity: &Entity, target: &Entity, relation: &Relation) {
        let given: Vec<&Name> = relation.on.iter().map(|(_, there)| there).collect();
        let distinct: BTreeSet<&Name> = given.iter().copied().collect();
        let key: BTreeSet<&Name> = target.keys().map(|key| &key.name).collect();
        if key.is_empty() || (distinct == key && distinct.len() == given.len()) {
            return;
        }
        let names = |names: &BTreeSet<&Name>| listed(names.iter().map(|n| format!("{}.{n}", target.name)), "and");
        self.problem(
            Problem::new(
                "relation/not-the-key",
                format!(
                    "`{}.{}` leads to one `{}` and so has to go by its key",
                    entity.name, relation.name, target.name
                ),
            )
            .at(&relation.location)
            .with_note("the key is", names(&key), Some(&target.location))
            .with_note("it goes by", names(&distinct), None)
            .with_help(format!("pair every key feature of `{}` once, or use `many`", target.name)),
        );
    }
}
