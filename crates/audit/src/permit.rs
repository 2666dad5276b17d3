//! The permit: proof that a decision was made and recorded, without which nothing runs.

use creta_iam::{Action, Decision, FeatureSet, HeldGrant, Level, Place, Principal, Purpose, Resource};
use creta_model::{Environment, Scope};

use crate::AuditError;

/// Leave to do one thing, once. Only [`Log::admit`](crate::Log::admit) makes one; it can be neither built nor copied,
/// so a function that takes a `&Permit` cannot be reached without a recorded decision.
#[derive(Debug)]
#[must_use = "a permit that is not used was recorded for nothing"]
pub struct Permit {
    decision: Decision,
    entry: Option<u64>,
}

impl Permit {
    /// `decision` allows, and is recorded or counted.
    pub(crate) fn new(decision: Decision, entry: Option<u64>) -> Self {
        assert!(decision.is_allowed(), "a denial has no permit");
        Self { decision, entry }
    }

    /// Who acts.
    pub fn principal(&self) -> &Principal {
        self.decision.principal()
    }

    /// What may be done.
    pub fn action(&self) -> Action {
        self.decision.action()
    }

    /// On what.
    pub fn resource(&self) -> &Resource {
        self.decision.resource()
    }

    /// Where.
    pub fn place(&self) -> &Place {
        self.resource().place()
    }

    /// The scope it holds for; `None` for the control plane.
    pub fn scope(&self) -> Option<&Scope> {
        self.place().scope()
    }

    /// The environment it holds for.
    pub fn environment(&self) -> &Environment {
        self.place().environment()
    }

    /// The features it covers.
    pub fn features(&self) -> &FeatureSet {
        self.resource().feature_set()
    }

    /// What it gives of a feature that it covers; `None` for others.
    pub fn level_of(&self, feature: &str) -> Option<Level> {
        self.decision.level_of(feature)
    }

    /// The least that it gives of any feature that it covers; `None` where it covers none.
    pub fn lowest_level(&self) -> Option<Level> {
        self.decision.lowest_level()
    }

    /// The grants it rests on.
    pub fn grants(&self) -> &[HeldGrant] {
        self.decision.grants()
    }

    /// Why it was asked for, if that was said.
    pub fn purpose(&self) -> Option<&Purpose> {
        self.resource().purpose()
    }

    /// Index of its entry in the log; `None` for a read, which is counted and recorded within a second.
    pub fn entry(&self) -> Option<u64> {
        self.entry
    }

    /// Whether it is for this action, in this scope, on all these features.
    pub fn covers<'a>(&self, action: Action, scope: &Scope, features: impl IntoIterator<Item = &'a str>) -> bool {
        self.require(action, scope, features).is_ok()
    }

    /// As [`Permit::covers`], with an error that names what is missing.
    pub fn require<'a>(
        &self,
        action: Action,
        scope: &Scope,
        features: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), AuditError> {
        let missing = |missing: String| {
            Err(AuditError::NotCovered { permitted: self.action(), place: self.place().clone(), missing })
        };
        if self.action() != action {
            return missing(format!("action `{action}`"));
        }
        if self.scope() != Some(scope) {
            return missing(format!("scope `{scope}`"));
        }
        match features.into_iter().find(|name| !self.features().contains(name)) {
            Some(name) => missing(format!("feature `{name}`")),
            None => Ok(()),
        }
    }
}
