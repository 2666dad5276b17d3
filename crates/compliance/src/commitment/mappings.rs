//! Which criteria of which frameworks a commitment answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Criteria by framework, and whether somebody who knows the frameworks has read the mapping.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mappings {
    /// Whether a reviewer has confirmed all of it.
    pub reviewed: bool,
    /// Who did. Set exactly when it is reviewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<String>,
    /// The day, as `2026-11-22`. Set exactly when it is reviewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_on: Option<String>,
    /// Ids of criteria by the id of their framework.
    #[serde(flatten)]
    pub criteria: BTreeMap<String, Vec<String>>,
}

impl Mappings {
    /// The criteria of one framework, in the order they are written; none if it is not mapped.
    pub fn of(&self, framework: &str) -> &[String] {
        self.criteria.get(framework).map_or(&[], Vec::as_slice)
    }
}
