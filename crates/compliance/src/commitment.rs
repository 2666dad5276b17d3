//! Commitments: what is promised, to whom it matters, what watches it and which attack must fail.
//!
//! The promises are data. What ships lies in `crates/compliance/data`; an organisation adds a folder of the same layout
//! with its own. [`Registry::load`] reads both and refuses what would let a promise look better kept than it is.

mod check;
mod document;
mod error;
mod framework;
mod freshness;
mod id;
mod mappings;
mod registry;
mod rules;
mod source;
#[cfg(test)]
mod tests;

use creta_model::Span;
use serde::{Deserialize, Serialize};

pub use check::{CheckDefinition, CheckKind};
pub use document::{Document, Line, Section};
pub use error::{Place, RegistryError, Rule};
pub use framework::{Criterion, Framework};
pub use freshness::{Freshness, InvalidFreshness};
pub use id::{CommitmentId, InvalidCommitmentId};
pub use mappings::Mappings;
pub use registry::Registry;

/// The form of files that hold commitments.
pub const COMMITMENTS_FORMAT: &str = "creta.commitments/1";

/// The longest title, in characters: it has to fit on a phone.
pub const TITLE_CHARS_MAX: usize = 60;

/// One promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    /// Its id.
    pub id: CommitmentId,
    /// Ids of the same promise made elsewhere, which show this row's state. Where two rows carry half of one each, both
    /// list it, and its state is the worse of theirs.
    #[serde(default)]
    pub folded: Vec<CommitmentId>,
    /// A short name, at most [`TITLE_CHARS_MAX`] characters.
    pub title: String,
    /// The promise in a sentence.
    pub text: String,
    /// How it is kept: one or more mechanisms, each once.
    pub class: Vec<Class>,
    /// What it protects: one or more, each once.
    pub pillar: Vec<Pillar>,
    /// What the software does, and which bad case it refuses.
    pub behaviour: String,
    /// The attack that has to fail.
    pub attack: String,
    /// The role that answers for it.
    pub owner: String,
    /// Whether only an artefact issued by somebody outside the organisation can make it met.
    #[serde(default)]
    pub outside: bool,
    /// What somebody outside has to issue for that. Only where `outside` is set.
    #[serde(default)]
    pub artefacts: Vec<NeededArtefact>,
    /// Whether the software behind it stands.
    pub software: Software,
    /// Ids of the checks that watch it. Empty while the software is to come.
    #[serde(default)]
    pub checks: Vec<String>,
    /// How old a passing observation may be.
    pub freshness: Freshness,
    /// Tests that show it working: `<test binary> <test>` as nextest lists them, or `pytest <file>::<test>`.
    #[serde(default)]
    pub positive_tests: Vec<String>,
    /// Tests that attack it, named in the same way.
    #[serde(default)]
    pub attack_tests: Vec<String>,
    /// Criteria of frameworks that it answers.
    #[serde(default)]
    pub mappings: Mappings,
}

impl Commitment {
    /// How old a passing observation may be.
    pub fn freshness(&self) -> Span {
        self.freshness.span()
    }

    /// Its own id, then those it carries.
    pub fn ids(&self) -> impl Iterator<Item = &CommitmentId> {
        std::iter::once(&self.id).chain(&self.folded)
    }
}

/// What somebody outside has to issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeededArtefact {
    /// Its name: `soc2-type-2`.
    pub kind: String,
    /// How long after it was issued it counts, however long it says itself.
    pub good_for: Freshness,
}

/// How a promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The bad case cannot happen through any interface, and no setting turns that off.
    Enforced,
    /// The fact is measured on a schedule, and the measurements are kept.
    Checked,
    /// People do it; the software asks for it and for what shows that it was done.
    Programme,
}

impl Class {
    /// All, strongest first.
    pub const ALL: [Class; 3] = [Self::Enforced, Self::Checked, Self::Programme];

    /// `enforced`, `checked` or `programme`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Checked => "checked",
            Self::Programme => "programme",
        }
    }
}

/// What a promise protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pillar {
    /// Only those who may know it do.
    Confidentiality,
    /// It is what it was, and where it was changed that shows.
    Integrity,
    /// It is there when it is needed.
    Availability,
}

impl Pillar {
    /// All three, in their usual order.
    pub const ALL: [Pillar; 3] = [Self::Confidentiality, Self::Integrity, Self::Availability];

    /// `confidentiality`, `integrity` or `availability`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confidentiality => "confidentiality",
            Self::Integrity => "integrity",
            Self::Availability => "availability",
        }
    }
}

/// Whether the software behind a promise stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Software {
    /// It is in this build, with tests.
    Here,
    /// It is not, or not all of it.
    ToCome,
}

impl Software {
    /// Both.
    pub const ALL: [Software; 2] = [Self::Here, Self::ToCome];

    /// `here` or `to-come`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::ToCome => "to-come",
        }
    }
}
