//! A framework that auditors work with, as far as commitments answer it.

use serde::{Deserialize, Serialize};

use super::CommitmentId;

/// The form of files that hold a framework.
pub(super) const FRAMEWORK_FORMAT: &str = "creta.framework/1";

/// A framework and those of its criteria that something here answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    /// The form: `creta.framework/1`.
    pub format: String,
    /// Its name in mappings and addresses: `soc2`.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its edition.
    pub edition: String,
    /// Its criteria, in its order.
    #[serde(rename = "criterion")]
    pub criteria: Vec<Criterion>,
}

/// One criterion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Criterion {
    /// Its code: `CC6.1`.
    pub id: String,
    /// What it is about, in a few words of ours.
    pub title: String,
    /// Commitments that answer it, besides those whose own mapping names it. An organisation's framework maps what ships
    /// in this way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commitments: Vec<CommitmentId>,
}
