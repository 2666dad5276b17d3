//! Why a request cannot be planned, in the words of who asked.

use creta_model::{Environment, FeaturePath, Location, Name, Problem, Span};
use creta_registry::{PathError, listed};

/// Why a request cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A path leads nowhere.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No outputs at all.
    #[error("the request asks for no features")]
    NothingAsked,
    /// The same path is given twice.
    #[error("`{path}` is given twice")]
    GivenTwice {
        /// The repeated path.
        path: FeaturePath,
    },
    /// Every resolver of the feature belongs to other environments.
    #[error("nothing produces `{path}` in environment `{environment}`")]
    NoResolver {
        /// The feature.
        path: FeaturePath,
        /// Where it was asked for.
        environment: Environment,
        /// Its resolvers with their environments, sorted by name.
        elsewhere: Vec<(Name, Location, Vec<String>)>,
    },
    /// Facts cannot be found because part of the key is not given.
    #[error("`{path}` comes from facts and needs {}", listed(missing, "and"))]
    MissingKey {
        /// The feature.
        path: FeaturePath,
        /// Key features that are not given, in key order.
        missing: Vec<FeaturePath>,
    },
    /// A key itself is needed and not given.
    #[error("`{path}` is a key and is not given")]
    KeyNotGiven {
        /// The key feature.
        path: FeaturePath,
    },
    /// Several chains of relations lead to the entity of an output.
    #[error("`{path}` can be reached in several ways")]
    Ambiguous {
        /// The output.
        path: FeaturePath,
        /// What it can mean.
        choices: Vec<FeaturePath>,
    },
    /// A limit on age that is wider than the feature's own.
    #[error("`{path}` has a `max_age` of {declared}; a request may tighten it, not widen it to {asked}")]
    NotTighter {
        /// The feature.
        path: FeaturePath,
        /// Its own limit.
        declared: Span,
        /// The limit asked for.
        asked: Span,
    },
    /// A limit on the age of something the request does not read.
    #[error("the request limits the age of `{path}`, which it does not read")]
    UnusedMaxAge {
        /// The feature.
        path: FeaturePath,
    },
    /// A feature would be computed from itself; the registry refuses such definitions.
    #[error("`{path}` is computed from itself")]
    Cycle {
        /// The feature.
        path: FeaturePath,
    },
}

/// Something on the way from an output to what failed.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) path: FeaturePath,
    pub(crate) location: Location,
}

/// An error and who asked, the nearest first.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Box<PlanError>,
    pub(crate) asked_by: Vec<Asker>,
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self { error: Box::new(error), asked_by: Vec::new() }
    }
}

impl Failure {
    pub(crate) fn problem(self) -> Problem {
        let code = match &*self.error {
            PlanError::Path(error) => return self.with_askers(error.problem("plan")),
            PlanError::NothingAsked => "plan/nothing-asked",
            PlanError::GivenTwice { .. } => "plan/given-twice",
            PlanError::NoResolver { .. } => "plan/no-resolver",
            PlanError::MissingKey { .. } | PlanError::KeyNotGiven { .. } => "plan/missing-key",
            PlanError::Ambiguous { .. } => "plan/ambiguous",
            PlanError::NotTighter { .. } => "plan/not-tighter",
            PlanError::UnusedMaxAge { .. } => "plan/unused-max-age",
            PlanError::Cycle { .. } => "plan/cycle",
        };
        let mut problem = self.with_askers(Problem::new(code, self.error.to_string()));
        if let PlanError::NoResolver { elsewhere, .. } = &*self.error {
            for (name, location, environments) in elsewhere {
                let text = format!("resolver `{name}`, only enabled in {}", listed(environments, "and"));
                problem = problem.with_note("closest", text, Some(location));
            }
        }
        problem.with_help(self.help())
    }

    fn with_askers(&self, problem: Problem) -> Problem {
        self.asked_by.iter().fold(problem, |problem, asker| {
            problem.with_note("asked for by", asker.path.to_string(), Some(&asker.location))
        })
    }

    fn help(&self) -> String {
        match &*self.error {
            PlanError::Path(_) => String::new(),
            PlanError::NothingAsked => "name at least one feature".to_owned(),
            PlanError::GivenTwice { .. } => "give each feature once".to_owned(),
            PlanError::NoResolver { path, environment, .. } => {
                format!("add \"{environment}\" to its environments, or pass `{path}` in `inputs=`")
            }
            PlanError::MissingKey { path, missing } => {
                format!("give {}, or give `{path}` itself", listed(missing, "and"))
            }
            PlanError::KeyNotGiven { path } => format!("give `{path}`"),
            PlanError::Ambiguous { choices, .. } => format!("ask for {}", listed(choices, "or")),
            PlanError::NotTighter { declared, .. } => {
                format!("ask for at most {declared}, or raise `max_age` in the definition")
            }
            PlanError::UnusedMaxAge { .. } => "remove the limit, or ask for something computed from it".to_owned(),
            PlanError::Cycle { .. } => "let one feature of the chain read facts".to_owned(),
        }
    }
}
