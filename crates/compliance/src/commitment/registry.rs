//! The registry: all promises, the documents that make them, the checks that watch them.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::source::{self, Read, SourceFile};
use super::{CheckDefinition, Commitment, CommitmentId, Document, Framework, RegistryError, rules};

/// All promises, in order, and what belongs to them. Holds only what the rules of loading let through.
///
/// ```
/// use creta_compliance::{CommitmentId, Registry};
///
/// let registry = Registry::embedded();
/// assert_eq!((registry.commitments().count(), registry.statements()), (91, 104));
/// // What two documents promise alike is one commitment.
/// let folded = registry.commitment(&CommitmentId::parse("CH-30")?).expect("carried by another");
/// assert_eq!(folded.id.as_str(), "CI-12");
/// # Ok::<(), creta_compliance::InvalidCommitmentId>(())
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct Registry {
    commitments: Vec<Commitment>,
    documents: Vec<Document>,
    checks: Vec<CheckDefinition>,
    frameworks: Vec<Framework>,
    not_claimed: Vec<String>,
    #[serde(skip)]
    carriers: HashMap<CommitmentId, Vec<usize>>,
}

impl Registry {
    /// The promises that ship with this build. A few milliseconds.
    pub fn embedded() -> Self {
        Self::load(None).expect("the promises that ship keep the rules, which a test shows")
    }

    /// The promises that ship, with those of an organisation's folder. The folder has the layout of
    /// `crates/compliance/data`, every part of it optional; it adds and cannot replace. The first broken rule is the error.
    pub fn load(folder: Option<&Path>) -> Result<Self, RegistryError> {
        let own = folder.map(source::folder).transpose()?.unwrap_or_default();
        Self::of(&source::built_in(), &own)
    }

    pub(super) fn of(built_in: &[SourceFile], own: &[SourceFile]) -> Result<Self, RegistryError> {
        let mut read = Read::default();
        source::parse(built_in, false, &mut read)?;
        source::parse(own, true, &mut read)?;
        rules::keep(&mut read)?;
        let values = |placed: source::Placed<Commitment>| placed.value;
        let mut commitments: Vec<Commitment> = read.commitments.into_iter().map(values).collect();
        commitments.sort_by(|one, other| one.id.cmp(&other.id));
        let mut carriers: HashMap<CommitmentId, Vec<usize>> = HashMap::new();
        for (index, commitment) in commitments.iter().enumerate() {
            for id in commitment.ids() {
                carriers.entry(id.clone()).or_default().push(index);
            }
        }
        Ok(Self {
            commitments,
            documents: read.documents.into_iter().map(|placed| placed.value).collect(),
            checks: read.checks.into_iter().map(|placed| placed.value).collect(),
            frameworks: read.frameworks.into_iter().map(|placed| placed.value).collect(),
            not_claimed: read.not_claimed,
            carriers,
        })
    }

    /// The commitments in the order of their ids.
    pub fn commitments(&self) -> impl ExactSizeIterator<Item = &Commitment> {
        self.commitments.iter()
    }

    /// The commitment of an id, or the first that carries it. Of an id that two carry half of each, [`Self::carriers`]
    /// gives both.
    pub fn commitment(&self, id: &CommitmentId) -> Option<&Commitment> {
        self.carriers(id).next()
    }

    /// Every commitment that carries an id: one, none for an unknown id, two where each carries half of it. The state of
    /// the id is the worst of theirs.
    pub fn carriers(&self, id: &CommitmentId) -> impl Iterator<Item = &Commitment> {
        self.carriers.get(id).into_iter().flatten().map(|index| &self.commitments[*index])
    }

    /// How many ids there are, with those that other rows carry.
    pub fn statements(&self) -> usize {
        self.carriers.len()
    }

    /// The documents, those that ship first.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = &Document> {
        self.documents.iter()
    }

    /// The document of a name.
    pub fn document(&self, id: &str) -> Option<&Document> {
        self.documents.iter().find(|document| document.id == id)
    }

    /// The checks in the order they are defined, those that ship first.
    pub fn checks(&self) -> impl ExactSizeIterator<Item = &CheckDefinition> {
        self.checks.iter()
    }

    /// The check of a name.
    pub fn check(&self, id: &str) -> Option<&CheckDefinition> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// The commitments that a check watches, in order.
    pub fn watched_by(&self, check: &str) -> impl Iterator<Item = &Commitment> {
        self.commitments.iter().filter(move |commitment| commitment.checks.iter().any(|id| id == check))
    }

    /// The frameworks, those that ship first.
    pub fn frameworks(&self) -> impl ExactSizeIterator<Item = &Framework> {
        self.frameworks.iter()
    }

    /// The framework of a name.
    pub fn framework(&self, id: &str) -> Option<&Framework> {
        self.frameworks.iter().find(|framework| framework.id == id)
    }

    /// What nobody should read into the promises, a sentence each.
    pub fn not_claimed(&self) -> impl ExactSizeIterator<Item = &str> {
        self.not_claimed.iter().map(String::as_str)
    }

    /// Everything in it as canonical JSON (RFC 8785): the text whose digest the audit log dates. The same files give the
    /// same bytes.
    pub fn canonical(&self) -> Vec<u8> {
        serde_json_canonicalizer::to_vec(self).expect("a registry is plain data")
    }
}
