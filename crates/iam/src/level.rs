//! What a principal gets of a feature, by the feature's tags.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policies::FEATURE_QUESTIONS;
use crate::question::Question;
use crate::{Action, Reason};

/// What a principal gets of a feature. The order is that of what is given: [`Level::Deny`] is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing: not even other features may be computed from it.
    Deny,
    /// It may feed other features; its values are not returned.
    Internal,
    /// Its values are returned masked.
    Masked,
    /// Tokens are returned in the place of its values: equal ones for equal values.
    Tokenised,
    /// Its values are returned as they are.
    Allow,
}

impl Level {
    /// All levels, the least first.
    pub const ALL: &'static [Level] = &[Level::Deny, Level::Internal, Level::Masked, Level::Tokenised, Level::Allow];

    /// `deny`, `internal`, `masked`, `tokenised` or `allow`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Deny => "deny",
            Level::Internal => "internal",
            Level::Masked => "masked",
            Level::Tokenised => "tokenised",
            Level::Allow => "allow",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Action {
    /// The least level that each feature asked for must have; `None` for actions that give nothing of a feature.
    pub const fn level_min(self) -> Option<Level> {
        match self {
            Action::Query | Action::Train => Some(Level::Masked),
            Action::Verify => Some(Level::Internal),
            _ => None,
        }
    }
}

/// A feature of which the principal gets less than the action needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Withheld {
    /// The feature.
    pub feature: String,
    /// What the principal gets of it.
    pub level: Level,
    /// Its tags, lineage included, in order: they are why.
    pub tags: Vec<String>,
}

/// A level, and why it is not a higher one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) level: Level,
    /// Ids of the policies that forbid more, in order.
    pub(crate) policies: Vec<String>,
}

/// Asks the policies for the level of features with these tags: at most four questions.
pub(crate) fn level(question: &Question<'_>, tags: &BTreeSet<&str>) -> Decided {
    let mut policies = BTreeSet::new();
    for (asked, level) in FEATURE_QUESTIONS {
        let (reason, deciding) = question.ask(asked, tags);
        if reason == Reason::Permitted {
            return Decided { level, policies: policies.into_iter().collect() };
        }
        policies.extend(deciding);
    }
    Decided { level: Level::Deny, policies: policies.into_iter().collect() }
}
