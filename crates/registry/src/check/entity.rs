//! Entities: names, keys, event times, renames.

use std::collections::BTreeMap;

use creta_model::{Entity, Feature, Location, Name, Problem, Role};

use super::{Checker, full_name};

impl Checker<'_> {
    pub(super) fn entities(&mut self) {
        let entities = &self.catalog.graph().entities;
        let mut seen: BTreeMap<&Name, &Location> = BTreeMap::new();
        for entity in entities {
            if let Some(first) = seen.insert(&entity.name, &entity.location) {
                self.problem(
                    Problem::new("entity/duplicate", format!("there are two entities `{}`", entity.name))
                        .at(&entity.location)
                        .with_note("other", entity.name.to_string(), Some(first))
                        .with_help("rename one of them"),
                );
            }
            self.members(entity);
            self.key(entity);
            self.event_time(entity);
            self.event_id(entity);
        }
        let renames = entities.iter().map(|e| (&e.name, e.renamed_from.as_ref(), &e.location));
        self.renames("entity", "", renames.collect());
        for entity in entities {
            let renames = entity.features.iter().map(|f| (&f.name, f.renamed_from.as_ref(), &f.location));
            self.renames("feature", &format!("{}.", entity.name), renames.collect());
        }
    }

    /// Features and relations are members of one Python class, so they share its names.
    fn members(&mut self, entity: &Entity) {
        let features = entity.features.iter().map(|f| (&f.name, &f.location));
        let relations = entity.relations.iter().map(|r| (&r.name, &r.location));
        let mut seen: BTreeMap<&Name, &Location> = BTreeMap::new();
        for (name, location) in features.chain(relations) {
            if let Some(first) = seen.insert(name, location) {
                self.problem(
                    Problem::new("feature/duplicate", format!("`{}.{name}` is defined twice", entity.name))
                        .at(location)
                        .with_note("other", format!("{}.{name}", entity.name), Some(first))
                        .with_help("rename one of them"),
                );
            }
        }
    }

    fn key(&mut self, entity: &Entity) {
        if entity.keys().next().is_none() {
            self.problem(
                Problem::new("entity/no-key", format!("`{}` has no key", entity.name))
                    .at(&entity.location)
                    .with_help("mark what identifies it: `id: Feature[int] = key()`"),
            );
        }
        for key in entity.keys() {
            let name = full_name(entity, key);
            if !key.ty.is_key_type() {
                self.problem(
                    Problem::new(
                        "feature/key-type",
                        format!("`{name}` is a key and cannot be `{}`", key.ty.python_name()),
                    )
                    .at(&key.location)
                    .with_help("keys are compared exactly: use bool, int, str, bytes, date, datetime or an enum"),
                );
            }
            if key.optional {
                self.problem(
                    Problem::new("feature/key-optional", format!("`{name}` is a key and cannot be None"))
                        .at(&key.location)
                        .with_help(format!("declare it as `Feature[{}]`", key.ty.python_name())),
                );
            }
            if key.default.is_some() {
                self.problem(
                    Problem::new("feature/key-default", format!("`{name}` is a key and cannot have a default"))
                        .at(&key.location)
                        .with_help("remove `default=`"),
                );
            }
        }
    }

    fn event_time(&mut self, entity: &Entity) {
        let times: Vec<&Feature> = entity.features.iter().filter(|f| f.role == Role::EventTime).collect();
        for time in &times {
            if time.ty != creta_model::Type::Datetime || time.optional {
                let name = full_name(entity, time);
                let ty = crate::render::render_type(&time.ty, time.optional);
                self.problem(
                    Problem::new("feature/event-time-type", format!("`{name}` is the event time and cannot be `{ty}`"))
                        .at(&time.location)
                        .with_help("declare it as `Feature[datetime] = event_time()`"),
                );
            }
        }
        if let [first, second, ..] = times[..] {
            self.problem(
                Problem::new("entity/two-event-times", format!("`{}` has two event times", entity.name))
                    .at(&second.location)
                    .with_note("first", full_name(entity, first).to_string(), Some(&first.location))
                    .with_note("second", full_name(entity, second).to_string(), Some(&second.location))
                    .with_help("keep the one that says when a fact was true; declare the other with `feature()`"),
            );
        }
    }

    fn event_id(&mut self, entity: &Entity) {
        let ids: Vec<&Feature> = entity.features.iter().filter(|f| f.event_id).collect();
        if let [first, second, ..] = ids[..] {
            self.problem(
                Problem::new("entity/two-event-ids", format!("`{}` has two event ids", entity.name))
                    .at(&second.location)
                    .with_note("first", full_name(entity, first).to_string(), Some(&first.location))
                    .with_help("keep the one whose equal values mark versions of one event"),
            );
        }
        for id in ids {
            let name = full_name(entity, id);
            if !id.ty.is_key_type() || id.optional {
                let ty = crate::render::render_type(&id.ty, id.optional);
                self.problem(
                    Problem::new("feature/event-id-type", format!("`{name}` is an event id and cannot be `{ty}`"))
                        .at(&id.location)
                        .with_help(
                            "event ids are compared exactly: use a required int, str, bytes or another key type",
                        ),
                );
            }
        }
    }

    /// `prefix` stands before names in messages: nothing for entities, `Flight.` for features.
    fn renames(&mut self, what: &str, prefix: &str, definitions: Vec<(&Name, Option<&Name>, &Location)>) {
        let mut taken: BTreeMap<&Name, &Name> = BTreeMap::new();
        for (name, from, location) in &definitions {
            let Some(from) = from else { continue };
            if definitions.iter().any(|(other, ..)| other == from) {
                self.problem(
                    Problem::new(
                        format!("{what}/rename-taken"),
                        format!("`{prefix}{name}` is renamed from `{prefix}{from}`, which is still defined"),
                    )
                    .at(location)
                    .with_help(format!("remove the old {what}, or remove `renamed_from`")),
                );
            }
            if let Some(other) = taken.insert(from, name) {
                self.problem(
                    Problem::new(
                        format!("{what}/rename-twice"),
                        format!("`{prefix}{other}` and `{prefix}{name}` are both renamed from `{prefix}{from}`"),
                    )
                    .at(location)
                    .with_help("only one of them can keep its history; remove `renamed_from` from the other"),
                );
            }
        }
    }
}
