//! That an occurrence was done: by whom, with what to show for it, confirmed by whom.

use std::collections::{BTreeMap, BTreeSet};

use creta_model::Instant;
use creta_proof::Hash;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Cadence, CadenceError, FieldKind, Occurrence, People};
use crate::document::{digest, document};
use crate::draft::{Change, Draft};
use crate::{PersonRef, SubjectId};

/// The form of completions that this build writes and reads.
pub const COMPLETION_FORMAT: &str = "creta.completion/1";

const TEXT_CHARS_MIN: usize = 20;
const TEXT_CHARS_MAX: usize = 4_000;
const COUNT_MAX: u64 = 1 << 53;

/// Somebody who does something, with the roles that they hold now.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// Who.
    pub who: &'a PersonRef,
    /// Their roles.
    pub roles: &'a BTreeSet<String>,
}

/// Somebody confirmed a completion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmed {
    /// Who.
    pub by: PersonRef,
    /// When.
    pub at: Instant,
}

/// An occurrence was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    /// [`COMPLETION_FORMAT`].
    pub format: String,
    /// Which occurrence.
    pub occurrence: String,
    /// Digest of the cadence as it was.
    pub cadence: Hash,
    /// Who did it.
    pub by: PersonRef,
    /// When they said so.
    pub at: Instant,
    /// What there is to show for it.
    pub artefact: BTreeMap<String, Value>,
    /// How many humans it takes.
    pub people: People,
    /// Who confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Confirmed>,
}

document!(Completion, COMPLETION_FORMAT);

impl Cadence {
    /// Reports an occurrence as done. `known` are the completions of this cadence so far.
    pub fn complete(
        &self,
        occurrence: &str,
        by: Actor<'_>,
        artefact: BTreeMap<String, Value>,
        known: &[Completion],
        now: Instant,
    ) -> Result<Change<Completion>, CadenceError> {
        let found = self.occurrences(now)?.into_iter().find(|candidate| candidate.id == occurrence);
        let occurrence = found.ok_or_else(|| CadenceError::NoOccurrence { cadence: self.id.clone() })?;
        if now < occurrence.opens {
            return Err(CadenceError::Early { occurrence: occurrence.id, opens: occurrence.opens });
        }
        if known.iter().any(|completion| completion.occurrence == occurrence.id) {
            return Err(CadenceError::Done { occurrence: occurrence.id });
        }
        if !by.roles.contains(&self.owner) {
            let rule = "has to be completed by somebody with the role of its owner";
            return Err(CadenceError::WrongPerson { occurrence: occurrence.id, rule });
        }
        self.require_artefact(&artefact, &occurrence, known, now)?;
        let document = Completion {
            format: COMPLETION_FORMAT.to_owned(),
            occurrence: occurrence.id.clone(),
            cadence: digest(self),
            by: by.who.clone(),
            at: now,
            artefact,
            people: self.people,
            confirmed: None,
        };
        let lateness = usize::from(occurrence.due < now);
        let entry =
            document.describe("artefact.recorded").name("by", by.who).at("due", occurrence.due).count("late", lateness);
        Ok(Change { document, entry })
    }

    fn require_artefact(
        &self,
        artefact: &BTreeMap<String, Value>,
        occurrence: &Occurrence,
        known: &[Completion],
        now: Instant,
    ) -> Result<(), CadenceError> {
        let fault = |field: &str, rule| Err(CadenceError::Artefact { field: field.to_owned(), rule });
        let unknown = artefact.keys().find(|name| !self.artefact.iter().any(|field| field.name == **name));
        if let Some(name) = unknown {
            // A name that nobody declared may hold anything, so it is not repeated.
            let name = if SubjectId::parse(name).is_ok() { name } else { "?" };
            return fault(name, "is not asked for");
        }
        for field in &self.artefact {
            let Some(value) = artefact.get(&field.name) else { return fault(&field.name, "is missing") };
            if let Err(rule) = check(field.kind, value, occurrence, now) {
                return fault(&field.name, rule);
            }
            let shown_before = || known.iter().any(|completion| completion.artefact.get(&field.name) == Some(value));
            if field.kind == FieldKind::Digest && shown_before() {
                return fault(&field.name, "was shown for an earlier occurrence; show what was done this time");
            }
        }
        Ok(())
    }
}

fn check(kind: FieldKind, value: &Value, occurrence: &Occurrence, now: Instant) -> Result<(), &'static str> {
    let text = value.as_str();
    let (fits, rule) = match kind {
        FieldKind::Text => {
            let chars = text.map_or(0, |text| text.trim().chars().count());
            ((TEXT_CHARS_MIN..=TEXT_CHARS_MAX).contains(&chars), "needs 20 to 4,000 characters")
        }
        FieldKind::Name => (text.is_some_and(|text| SubjectId::parse(text).is_ok()), "needs a name"),
        FieldKind::Digest => {
            let is_digest =
                |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            (text.is_some_and(is_digest), "needs a SHA-256 in hexadecimal")
        }
        FieldKind::Count => (value.as_u64().is_some_and(|count| count <= COUNT_MAX), "needs a whole number"),
        FieldKind::Instant => {
            let at = text.and_then(|text| Instant::parse(text).ok());
            let within = at.is_some_and(|at| occurrence.opens <= at && at <= now);
            (within, "needs an instant between the opening and now")
        }
    };
    if fits { Ok(()) } else { Err(rule) }
}

impl Completion {
    /// Confirms it. `seen` is the digest of what was shown to whoever confirms.
    pub fn confirm(&self, by: &PersonRef, seen: Hash, now: Instant) -> Result<Change<Self>, CadenceError> {
        let occurrence = || self.occurrence.clone();
        if self.is_final() {
            return Err(CadenceError::Done { occurrence: occurrence() });
        }
        if by.is_same_human(&self.by) {
            let rule = "has to be confirmed by another person than who did it";
            return Err(CadenceError::WrongPerson { occurrence: occurrence(), rule });
        }
        if seen != self.digest() {
            return Err(CadenceError::Changed);
        }
        let document = Self { confirmed: Some(Confirmed { by: by.clone(), at: now }), ..self.clone() };
        let entry = self.describe("artefact.confirmed").name("by", by);
        Ok(Change { document, entry })
    }

    /// SHA-256 of the document: what a second person confirms.
    pub fn digest(&self) -> Hash {
        digest(self)
    }

    /// Whether nothing is missing.
    pub fn is_final(&self) -> bool {
        self.people == People::One || self.confirmed.is_some()
    }

    /// When the last of those whom it takes did their part.
    pub(super) fn final_at(&self) -> Instant {
        self.confirmed.as_ref().map_or(self.at, |confirmed| confirmed.at)
    }

    fn describe(&self, action: &'static str) -> Draft {
        Draft::new(action)
            .name("occurrence", &self.occurrence)
            .digest("cadence", self.cadence)
            .digest("completion", self.digest())
            .count("fields", self.artefact.len())
    }

    pub(crate) fn broken_rule(&self) -> Option<&'static str> {
        match &self.confirmed {
            Some(confirmed) if confirmed.by.is_same_human(&self.by) => Some("it was confirmed by who did it"),
            Some(confirmed) if confirmed.at < self.at => Some("it was confirmed before it was done"),
            _ => None,
        }
    }
}
