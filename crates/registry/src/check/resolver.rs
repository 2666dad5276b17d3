//! Resolvers: outputs of one entity, inputs reachable from it, no two for one feature in one environment.

use std::collections::{BTreeMap, BTreeSet};

use creta_model::{Entity, Environment, FeaturePath, InputSource, Location, Name, Problem, Resolver, Span};

use super::Checker;
use crate::catalog::FeatureRef;
use crate::error::listed;

impl<'g> Checker<'g> {
    pub(super) fn resolvers(&mut self) {
        let resolvers = &self.catalog.graph().resolvers;
        let mut seen: BTreeMap<&Name, &Location> = BTreeMap::new();
        for resolver in resolvers {
            if let Some(first) = seen.insert(&resolver.name, &resolver.location) {
                self.problem(
                    Problem::new("resolver/duplicate", format!("there are two resolvers `{}`", resolver.name))
                        .at(&resolver.location)
                        .with_note("other", resolver.name.to_string(), Some(first))
                        .with_help("rename one of them"),
                );
            }
            self.environments(resolver);
            if resolver.timeout == Some(Span::ZERO) {
                self.problem(
                    Problem::new("resolver/timeout", format!("the resolver `{}` has no time to run", resolver.name))
                        .at(&resolver.location)
                        .with_help("give it a `timeout` above zero, or none"),
                );
            }
            if let Some(entity) = self.outputs(resolver) {
                self.inputs(resolver, entity);
            }
        }
        self.overlaps();
    }

    fn environments(&mut self, resolver: &Resolver) {
        for name in &resolver.environments {
            if let Err(error) = Environment::parse(name.as_str()) {
                self.problem(
                    Problem::new("resolver/environment", error.to_string())
                        .at(&resolver.location)
                        .with_note("resolver", resolver.name.to_string(), None)
                        .with_help("write the names that stand in `creta.toml`, for example `prod`"),
                );
            }
        }
    }

    /// The entity the outputs belong to.
    fn outputs(&mut self, resolver: &Resolver) -> Option<&'g Entity> {
        let name = &resolver.name;
        let Some(first) = resolver.outputs.first() else {
            self.problem(
                Problem::new(
                    "resolver/no-output",
                    format!("the resolver `{name}` says of no feature that it makes it"),
                )
                .at(&resolver.location)
                .with_help("annotate what it returns: `-> Annotated[float, Flight.risk]`"),
            );
            return None;
        };
        let roots: BTreeSet<&Name> = resolver.outputs.iter().map(|output| &output.root).collect();
        if roots.len() > 1 {
            self.problem(
                Problem::new(
                    "resolver/several-entities",
                    format!("the resolver `{name}` makes features of {}", listed(roots, "and")),
                )
                .at(&resolver.location)
                .with_help("write one resolver for each entity"),
            );
            return None;
        }
        let mut seen = BTreeSet::new();
        for output in &resolver.outputs {
            if !seen.insert(output) {
                self.problem(
                    Problem::new("resolver/output-twice", format!("the resolver `{name}` makes `{output}` twice"))
                        .at(&resolver.location)
                        .with_help("name each feature once"),
                );
            }
            self.output(resolver, output);
        }
        self.catalog.find_entity(&first.root)
    }

    fn output(&mut self, resolver: &Resolver, output: &FeaturePath) {
        if !output.via.is_empty() || output.window.is_some() {
            self.problem(
                Problem::new("resolver/output", format!("the resolver `{}` cannot make `{output}`", resolver.name))
                    .at(&resolver.location)
                    .with_help("a resolver makes features of one entity itself, without relations and windows"),
            );
            return;
        }
        // A windowed feature is reported as one that has two origins.
        let windowed = FeatureRef::new(&output.root, &output.feature);
        if self.catalog.find_feature(&windowed).is_none_or(|(_, feature)| feature.window.is_none())
            && let Err(error) = self.catalog.follow(output)
        {
            let reader = format!("the resolver `{}`", resolver.name);
            self.problem(error.problem("path").at(&resolver.location).with_note("made by", reader, None));
        }
    }

    fn inputs(&mut self, resolver: &Resolver, entity: &Entity) {
        let mut seen = BTreeSet::new();
        for input in &resolver.inputs {
            if !seen.insert(&input.name) {
                self.problem(
                    Problem::new(
                        "resolver/input-twice",
                        format!("the resolver `{}` has two inputs `{}`", resolver.name, input.name),
                    )
                    .at(&resolver.location)
                    .with_help("rename one of them"),
                );
            }
            if let InputSource::Path(path) = &input.from
                && self.rooted(path, entity, &format!("the resolver `{}`", resolver.name), &resolver.location)
            {
                let reader = format!("input `{}` of the resolver `{}`", input.name, resolver.name);
                self.follow(path, &reader, &resolver.location);
            }
        }
    }

    fn overlaps(&mut self) {
        let resolvers = &self.catalog.graph().resolvers;
        let features: BTreeSet<FeatureRef> = resolvers
            .iter()
            .flat_map(|resolver| &resolver.outputs)
            .map(|output| FeatureRef::new(&output.root, &output.feature))
            .collect();
        for feature in features {
            let producers = self.catalog.producers(&feature);
            for (position, first) in producers.iter().enumerate() {
                for second in &producers[position + 1..] {
                    if let Some(shared) = overlap(first, second) {
                        self.problem(
                            Problem::new(
                                "resolver/overlap",
                                format!("`{feature}` is made by `{}` and by `{}` {shared}", first.name, second.name),
                            )
                            .at(&second.location)
                            .with_note("first", first.name.to_string(), Some(&first.location))
                            .with_note("second", second.name.to_string(), Some(&second.location))
                            .with_help("remove one of them, or enable them in different environments"),
                        );
                    }
                }
            }
        }
    }
}

/// Where two resolvers are both enabled, in words; `None` when nowhere.
fn overlap(first: &Resolver, second: &Resolver) -> Option<String> {
    let (a, b) = (&first.environments, &second.environments);
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Some("in all environments".to_owned()),
        (true, false) => Some(format!("in {}", listed(b, "and"))),
        (false, true) => Some(format!("in {}", listed(a, "and"))),
        (false, false) => {
            let shared: Vec<&String> = a.iter().filter(|name| b.contains(name)).collect();
            (!shared.is_empty()).then(|| format!("in {}", listed(shared, "and")))
        }
    }
}
