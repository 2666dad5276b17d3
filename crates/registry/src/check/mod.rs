//! Everything that can be wrong with definitions, each with its place and its remedy. Nothing stops at the first.

mod cycles;
mod entity;
mod expression;
mod feature;
mod loading;
mod relation;
mod resolver;
mod window;

use creta_model::{BUNDLE_FORMAT, Bundle, Feature, FeaturePath, GRAPH_FORMAT, Location, Problem, Type};

use crate::catalog::{Catalog, FeatureRef, Target};

/// What a check found, each list in order of place.
pub(crate) struct Findings {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// Collects findings. Each part of the definitions has its own file of methods.
struct Checker<'g> {
    catalog: Catalog<'g>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// Whether this version can read the bundle at all. Nothing else is worth saying when it cannot.
pub(crate) fn formats(bundle: &Bundle) -> Result<(), Vec<Problem>> {
    let found = [("bundle", &bundle.format, BUNDLE_FORMAT), ("graph", &bundle.graph.format, GRAPH_FORMAT)];
    let problems: Vec<Problem> = found
        .into_iter()
        .filter(|(_, found, expected)| found.as_str() != *expected)
        .map(|(what, found, expected)| {
            Problem::new(
                format!("{what}/format"),
                format!("the {what} has the format `{found}`, this version reads `{expected}`"),
            )
            .with_help("use the same version of creta for the Python package and the server")
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// All problems and warnings of a bundle of the right format.
pub(crate) fn check(bundle: &Bundle, catalog: Catalog<'_>) -> Findings {
    let mut checker = Checker { catalog, problems: Vec::new(), warnings: Vec::new() };
    checker.entities();
    checker.features();
    checker.relations();
    checker.expressions();
    checker.windows();
    checker.resolvers();
    checker.sources();
    checker.queries();
    checker.lock(&bundle.lock);
    checker.cycles();
    let Checker { mut problems, mut warnings, .. } = checker;
    sort(&mut problems);
    sort(&mut warnings);
    Findings { problems, warnings }
}

/// In order of place, then of code, without repeats.
pub(crate) fn sort(problems: &mut Vec<Problem>) {
    let key = |problem: &Problem| {
        let place = problem.location.as_ref().map(|at| (at.file.clone(), at.line));
        (place, problem.code.clone(), problem.message.clone())
    };
    problems.sort_by_cached_key(key);
    problems.dedup();
}

impl<'g> Checker<'g> {
    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Follows a path that stands at `at` in the definition of `reader`, reporting what is wrong with it, and warns
    /// when it is deprecated.
    fn follow(&mut self, path: &FeaturePath, reader: &str, at: &Location) -> Option<Target<'g>> {
        match self.catalog.follow(path) {
            Ok(target) => {
                if let Some(instead) = &target.feature.deprecated {
                    let name = FeatureRef::new(&target.entity.name, &target.feature.name);
                    self.warnings.push(
                        Problem::new("feature/deprecated", format!("{reader} reads `{name}`, which is deprecated"))
                            .at(at)
                            .with_note("declared", name.to_string(), Some(&target.feature.location))
                            .with_help(format!("use instead: {instead}")),
                    );
                }
                Some(target)
            }
            Err(error) => {
                self.problem(error.problem("path").at(at).with_note("read by", reader, None));
                None
            }
        }
    }

    /// What an expression of this place may read: the type of a feature that exists.
    fn type_of(&self, path: &FeaturePath) -> Option<(Type, bool)> {
        let target = self.catalog.follow(path).ok()?;
        Some((target.feature.ty.clone(), target.feature.optional))
    }
}

/// `a feature's name in messages`: `Flight.risk`.
fn full_name(entity: &creta_model::Entity, feature: &Feature) -> FeatureRef {
    FeatureRef::new(&entity.name, &feature.name)
}
