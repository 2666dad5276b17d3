//! What a check is, apart from the code that runs it.

use creta_proof::Hash;
use serde::{Deserialize, Serialize};

use super::{Freshness, Pillar};

/// The form of files that define checks.
pub(super) const CHECKS_FORMAT: &str = "creta.checks/1";

/// One check: what it looks at, how, and how it is known to still notice a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckDefinition {
    /// Its id: lowercase words joined with hyphens.
    pub id: String,
    /// A short name that says what holds when it passes.
    pub title: String,
    /// Who looks.
    pub kind: CheckKind,
    /// What is broken when it fails. A promise may protect several; what one check looks at is one of them.
    pub pillar: Pillar,
    /// What it observes.
    pub observes: String,
    /// Of what, and where the count of it comes from.
    pub population: String,
    /// Where it runs.
    pub place: String,
    /// It runs at least this often.
    pub freshness: Freshness,
    /// The fault planted before each run, which it has to notice.
    pub negative: String,
    /// Artefacts only: whether they must be issued by somebody outside the organisation.
    #[serde(default)]
    pub issued_outside: bool,
}

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// Code of this build, on a schedule.
    Probe,
    /// People, who hand in an artefact: a report, a certificate, a record.
    Artefact,
}

impl CheckDefinition {
    /// Names this definition together with the version of the code that runs it: changing either shows in evidence.
    pub fn digest(&self, code_version: &str) -> Hash {
        let named = serde_json_canonicalizer::to_vec(&(self, code_version)).expect("a definition is plain data");
        Hash::of(&[&named])
    }
}
