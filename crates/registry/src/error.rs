//! What can be wrong with a path or a stored registry.

use creta_model::{FeaturePath, Name, Problem, Span};

use crate::catalog::FeatureRef;

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No entity of that name.
    #[error("there is no entity `{}`", .path.root)]
    UnknownEntity {
        /// The path as given.
        path: Box<FeaturePath>,
        /// A similar name.
        closest: Option<String>,
    },
    /// The entity has no relation of that name.
    #[error("`{entity}` has no relation `{relation}`")]
    UnknownRelation {
        /// The path as given.
        path: Box<FeaturePath>,
        /// The entity reached so far.
        entity: Name,
        /// The missing relation.
        relation: Name,
        /// Whether it is a feature instead.
        is_feature: bool,
        /// A similar relation.
        closest: Option<String>,
    },
    /// The relation's target does not exist; reported where the relation stands.
    #[error("`{entity}.{relation}` leads to an entity that does not exist")]
    BrokenRelation {
        /// The path as given.
        path: Box<FeaturePath>,
        /// The entity of the relation.
        entity: Name,
        /// The relation.
        relation: Name,
    },
    /// A single value cannot be read through a `many` relation.
    #[error("`{path}` has no single value: `{entity}.{relation}` leads to many `{target}`")]
    ThroughMany {
        /// The path as given.
        path: Box<FeaturePath>,
        /// The entity of the relation.
        entity: Name,
        /// The relation.
        relation: Name,
        /// The entity it leads to.
        target: Name,
    },
    /// The entity has no feature of that name.
    #[error("`{entity}` has no feature `{}`", .path.feature)]
    UnknownFeature {
        /// The path as given.
        path: Box<FeaturePath>,
        /// The entity reached.
        entity: Name,
        /// The target, when the name is a relation instead.
        leads_to: Option<Name>,
        /// A similar feature.
        closest: Option<String>,
        /// All features, in declaration order.
        features: Vec<String>,
    },
    /// A windowed feature without a window.
    #[error("`{path}` needs a window")]
    NeedsWindow {
        /// The path as given.
        path: Box<FeaturePath>,
        /// The windows it has.
        declared: Vec<Span>,
    },
    /// A window the feature does not declare.
    #[error("`{feature}` has no window of {}", .path.window.expect("the variant is about a window"))]
    UnknownWindow {
        /// The path as given.
        path: Box<FeaturePath>,
        /// The feature.
        feature: FeatureRef,
        /// The windows it has.
        declared: Vec<Span>,
    },
    /// A window on a feature without windows.
    #[error("`{path}` names a window, but the feature has none")]
    NotWindowed {
        /// The path as given.
        path: Box<FeaturePath>,
    },
}

impl PathError {
    /// The path as given.
    pub fn path(&self) -> &FeaturePath {
        match self {
            Self::UnknownEntity { path, .. }
            | Self::UnknownRelation { path, .. }
            | Self::BrokenRelation { path, .. }
            | Self::ThroughMany { path, .. }
            | Self::UnknownFeature { path, .. }
            | Self::NeedsWindow { path, .. }
            | Self::UnknownWindow { path, .. }
            | Self::NotWindowed { path } => path,
        }
    }

    /// The problem to show, with a code of `family`: `path/unknown-feature`, `plan/unknown-feature`.
    pub fn problem(&self, family: &str) -> Problem {
        let (code, help) = match self {
            Self::UnknownEntity { closest, .. } => ("unknown-entity", did_you_mean(closest.as_deref())),
            Self::UnknownRelation { entity, relation, is_feature: true, .. } => (
                "unknown-relation",
                Some(format!("`{entity}.{relation}` is a feature; only relations can be followed to another entity")),
            ),
            Self::UnknownRelation { entity, closest, .. } => {
                ("unknown-relation", did_you_mean(closest.as_ref().map(|name| format!("{entity}.{name}")).as_deref()))
            }
            Self::BrokenRelation { .. } => ("broken-relation", Some("correct the relation first".to_owned())),
            Self::ThroughMany { relation, path, target, .. } => (
                "through-many",
                Some(format!(
                    "aggregate it in a windowed feature, for example `last({relation}[{target}.{}], last=days(7))`",
                    path.feature
                )),
            ),
            Self::UnknownFeature { entity, path, leads_to: Some(target), .. } => (
                "unknown-feature",
                Some(format!("`{entity}.{}` is a relation; go on to one of the features of `{target}`", path.feature)),
            ),
            Self::UnknownFeature { closest: Some(name), entity, .. } => {
                ("unknown-feature", did_you_mean(Some(&format!("{entity}.{name}"))))
            }
            Self::UnknownFeature { features, .. } if features.is_empty() => ("unknown-feature", None),
            Self::UnknownFeature { features, .. } => {
                ("unknown-feature", Some(format!("it has {}", listed(features.iter(), "and"))))
            }
            Self::NeedsWindow { path, declared } => (
                "needs-window",
                Some(format!("write {}", listed(declared.iter().map(|w| format!("{path}[{w}]")), "or"))),
            ),
            Self::UnknownWindow { path, declared, .. } => (
                "unknown-window",
                Some(format!(
                    "it has {}; add {} to its `last=` if you need it",
                    listed(declared, "and"),
                    path.window.expect("the variant is about a window")
                )),
            ),
            Self::NotWindowed { path } => {
                ("not-windowed", Some(format!("write `{}`", FeaturePath { window: None, ..FeaturePath::clone(path) })))
            }
        };
        let problem = Problem::new(format!("{family}/{code}"), self.to_string());
        match help {
            Some(help) => problem.with_help(help),
            None => problem,
        }
    }
}

/// `did you mean `x`?`, when there is an x.
pub(crate) fn did_you_mean(closest: Option<&str>) -> Option<String> {
    closest.map(|name| format!("did you mean `{name}`?"))
}

/// `` `a`, `b` and `c` ``.
pub fn listed<T: std::fmt::Display>(items: impl IntoIterator<Item = T>, conjunction: &str) -> String {
    let items: Vec<String> = items.into_iter().map(|item| format!("`{item}`")).collect();
    match items.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {conjunction} {last}", rest.join(", ")),
    }
}

/// Why stored bytes are not a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Not JSON of the expected shape.
    #[error("the stored registry cannot be read; restore it from a backup")]
    Unreadable(#[source] serde_json::Error),
    /// Written by another version.
    #[error("the stored registry has the format `{found}`, this version reads `{expected}`; upgrade creta")]
    Format {
        /// What the bytes say.
        found: String,
        /// What this version reads.
        expected: &'static str,
    },
    /// The definitions do not have the digest that stands beside them.
    #[error("the stored registry was altered: its definitions do not match their digest; restore it from a backup")]
    Digest,
    /// The identifiers do not fit the definitions.
    #[error("the stored registry was altered: {reason}; restore it from a backup")]
    Identifiers {
        /// What does not fit.
        reason: String,
    },
    /// The definitions break the rules of this version.
    #[error("the stored registry breaks {} rule(s) of this version, first: {}", .0.len(), .0[0].message)]
    Invalid(Vec<Problem>),
}
