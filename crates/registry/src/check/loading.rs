//! What surrounds the features: sources, named queries and the package lock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use creta_model::{EventTime, Location, Name, NamedQuery, PackageLock, Problem, Source, SourceFormat};

use super::{Checker, full_name};
use crate::closest::closest;
use crate::error::{did_you_mean, listed};

impl Checker<'_> {
    pub(super) fn sources(&mut self) {
        let sources = &self.catalog.graph().sources;
        let mut seen: BTreeMap<&Name, &Location> = BTreeMap::new();
        for source in sources {
            if let Some(first) = seen.insert(&source.name, &source.location) {
                self.problem(
                    Problem::new("source/duplicate", format!("there are two sources `{}`", source.name))
                        .at(&source.location)
                        .with_note("other", source.name.to_string(), Some(first))
                        .with_help("rename one of them"),
                );
            }
            self.source_columns(source);
            self.source_place(source);
        }
    }

    fn source_columns(&mut self, source: &Source) {
        let Some(entity) = self.catalog.find_entity(&source.entity) else {
            let known = self.catalog.graph().entities.iter().map(|e| e.name.as_str());
            let help = did_you_mean(closest(source.entity.as_str(), known));
            let problem = Problem::new(
                "source/unknown-entity",
                format!("the source `{}` holds facts of `{}`, which is not an entity", source.name, source.entity),
            )
            .at(&source.location);
            self.problem(match help {
                Some(help) => problem.with_help(help),
                None => problem.with_help(format!("define an entity `{}`", source.entity)),
            });
            return;
        };
        for name in source.columns.keys() {
            let Some(feature) = entity.find_feature(name) else {
                let close = closest(name.as_str(), entity.features.iter().map(|f| f.name.as_str()));
                self.problem(
                    Problem::new(
                        "source/unknown-feature",
                        format!(
                            "the source `{}` names a column for `{}.{name}`, which is not a feature",
                            source.name, entity.name
                        ),
                    )
                    .at(&source.location)
                    .with_help(match close {
                        Some(close) => format!("did you mean `{}.{close}`?", entity.name),
                        None => {
                            format!("`{}` has {}", entity.name, listed(entity.features.iter().map(|f| &f.name), "and"))
                        }
                    }),
                );
                continue;
            };
            if !self.catalog.is_stored(entity, feature) {
                self.problem(
                    Problem::new(
                        "source/computed-feature",
                        format!(
                            "the source `{}` names a column for `{}`, which is computed",
                            source.name,
                            full_name(entity, feature)
                        ),
                    )
                    .at(&source.location)
                    .with_note("computed", full_name(entity, feature).to_string(), Some(&feature.location))
                    .with_help("remove the column, or what computes the feature"),
                );
            }
        }
    }

    fn source_place(&mut self, source: &Source) {
        let (SourceFormat::Parquet { path }
        | SourceFormat::Csv { path }
        | SourceFormat::Arrow { path }
        | SourceFormat::Sqlite { path, .. }) = &source.format;
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if path.is_empty() || !inside {
            self.problem(
                Problem::new("source/path", format!("the source `{}` is outside the project folder", source.name))
                    .at(&source.location)
                    .with_help("give a path relative to the project folder, without `..`"),
            );
        }
        if let Some(zone) = &source.zone
            && zone.parse::<chrono_tz::Tz>().is_err()
        {
            let close = closest(zone, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
            self.problem(
                Problem::new("source/zone", format!("the source `{}` has the unknown time zone `{zone}`", source.name))
                    .at(&source.location)
                    .with_help(
                        did_you_mean(close)
                            .unwrap_or_else(|| "write a name of the IANA list, for example `Europe/Paris`".to_owned()),
                    ),
            );
        }
        if let (EventTime::Column(column), true) = (&source.event_time, source.columns.is_empty())
            && column.is_empty()
        {
            self.problem(
                Problem::new("source/event-time", format!("the source `{}` names no event time column", source.name))
                    .at(&source.location)
                    .with_help("name the column that says when a fact was true"),
            );
        }
    }

    pub(super) fn queries(&mut self) {
        let mut seen: BTreeMap<(&Name, u32), &Location> = BTreeMap::new();
        for query in &self.catalog.graph().queries {
            if let Some(first) = seen.insert((&query.name, query.version), &query.location) {
                self.problem(
                    Problem::new(
                        "query/duplicate",
                        format!("there are two queries `{}` of version {}", query.name, query.version),
                    )
                    .at(&query.location)
                    .with_note("other", query.name.to_string(), Some(first))
                    .with_help("raise the version of the newer one"),
                );
            }
            self.query(query);
        }
    }

    fn query(&mut self, query: &NamedQuery) {
        let reader = format!("the query `{}`", query.name);
        if query.outputs.is_empty() {
            self.problem(
                Problem::new("query/no-output", format!("{reader} asks for nothing"))
                    .at(&query.location)
                    .with_help("name the features it answers with"),
            );
        }
        let mut given = BTreeSet::new();
        for input in &query.inputs {
            if !given.insert(input) {
                self.problem(
                    Problem::new("query/given-twice", format!("{reader} takes `{input}` twice"))
                        .at(&query.location)
                        .with_help("name each input once"),
                );
            }
        }
        for path in query.inputs.iter().chain(&query.outputs) {
            self.follow(path, &reader, &query.location);
        }
    }

    pub(super) fn lock(&mut self, lock: &PackageLock) {
        for (name, package) in &lock.packages {
            let is_hash = |hash: &String| {
                let hex = hash.strip_prefix("sha256:").unwrap_or_default();
                hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            };
            if package.hashes.is_empty() || !package.hashes.iter().all(is_hash) {
                self.problem(
                    Problem::new("lock/hash", format!("the package `{name}` is not locked to the hash of a file"))
                        .with_help("run `creta check` to lock the packages of `creta.toml` again"),
                );
            }
        }
    }
}
