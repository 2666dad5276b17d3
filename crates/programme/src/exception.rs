//! Exceptions to a commitment (R6): for a while, by two people, for all to see.
//!
//! ```text
//! Exception  proposed -> in force -> over
//!               |-> refused             (with time, or ended early)
//! ```

use std::collections::BTreeMap;

use creta_model::{Instant, Span};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};

use crate::access::Reason;
use crate::document::{digest, document};
use crate::draft::{Change, Draft};
use crate::{PersonRef, RecordId};

/// The form of exceptions that this build writes and reads.
pub const EXCEPTION_FORMAT: &str = "creta.exception/1";
/// An exception ends at most so long after it was proposed.
pub const EXCEPTION_LASTS_MAX: Span = Span::days(90);

/// What two people agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExceptionTerms {
    /// Random name.
    pub id: RecordId,
    /// Which commitment: `CH-17`.
    pub commitment: String,
    /// Why.
    pub reason: String,
    /// Who proposed it.
    pub proposed_by: PersonRef,
    /// When.
    pub proposed: Instant,
    /// The first instant at which it holds no more.
    pub expires: Instant,
}

/// How somebody decided on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExceptionVerdict {
    /// It holds until it expires.
    Approved,
    /// It never holds.
    Refused,
}

/// Who decided on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExceptionDecision {
    /// How.
    pub verdict: ExceptionVerdict,
    /// Who.
    pub by: PersonRef,
    /// When.
    pub at: Instant,
    /// SHA-256 of the terms that they saw.
    pub terms: Hash,
}

/// An exception to a commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// [`EXCEPTION_FORMAT`].
    pub format: String,
    /// What it is about.
    pub terms: ExceptionTerms,
    /// What was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<ExceptionDecision>,
    /// When it was ended before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Instant>,
}

document!(Exception, EXCEPTION_FORMAT);

/// Where an exception stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExceptionState {
    /// Waits for another person.
    Proposed,
    /// Holds.
    InForce,
    /// Held once, or was not decided in time.
    Over,
    /// Never held.
    Refused,
}

/// Exceptions to one commitment, as everybody may see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExceptionCount {
    /// How many hold.
    pub in_force: usize,
    /// When the last of them ends.
    pub last_expires: Instant,
}

/// Why a transition was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExceptionError {
    /// Not the id of a commitment.
    #[error("this is not the id of a commitment; write it like `CH-17`")]
    Commitment,
    /// Over before it begins, or longer than it may.
    #[error("an exception ends within 90 days; propose an end between now and then")]
    Span,
    /// Decided on by who proposed it.
    #[error("an exception takes two people; let somebody else than who proposed it decide")]
    SamePerson,
    /// Not the terms as they stand.
    #[error("what you decided on is not what was proposed; look at it again and decide anew")]
    Changed,
    /// Decided on, ended, or its time is over.
    #[error("this exception is {state}; propose another if one is needed")]
    State {
        /// What it is.
        state: &'static str,
    },
}

impl ExceptionError {
    /// The rule that the refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        "R6"
    }

    /// A stable code for the API: `exception/same-person`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Commitment => "exception/commitment",
            Self::Span => "exception/span",
            Self::SamePerson => "exception/same-person",
            Self::Changed => "exception/changed",
            Self::State { .. } => "exception/state",
        }
    }
}

impl Exception {
    /// Proposes one. Whether the commitment exists is for the caller to know.
    pub fn propose(
        id: RecordId,
        commitment: &str,
        reason: &Reason,
        by: &PersonRef,
        expires: Instant,
        now: Instant,
    ) -> Result<Change<Self>, ExceptionError> {
        if !is_commitment(commitment) {
            return Err(ExceptionError::Commitment);
        }
        if expires <= now || now.plus(EXCEPTION_LASTS_MAX) < expires {
            return Err(ExceptionError::Span);
        }
        let (commitment, reason, proposed_by) = (commitment.to_owned(), reason.as_str().to_owned(), by.clone());
        let terms = ExceptionTerms { id, commitment, reason, proposed_by, proposed: now, expires };
        let document = Self { format: EXCEPTION_FORMAT.to_owned(), terms, decision: None, ended: None };
        let entry = document.describe("exception.proposed");
        Ok(Change { document, entry })
    }

    /// Another person decides. `seen` is [`Self::terms_digest`] as shown to them.
    pub fn decide(
        &self,
        verdict: ExceptionVerdict,
        by: &PersonRef,
        seen: Hash,
        now: Instant,
    ) -> Result<Change<Self>, ExceptionError> {
        self.require(ExceptionState::Proposed, now)?;
        if by.is_same_human(&self.terms.proposed_by) {
            return Err(ExceptionError::SamePerson);
        }
        if seen != self.terms_digest() {
            return Err(ExceptionError::Changed);
        }
        let decision = ExceptionDecision { verdict, by: by.clone(), at: now, terms: seen };
        let document = Self { decision: Some(decision), ..self.clone() };
        let action = match verdict {
            ExceptionVerdict::Approved => "exception.approved",
            ExceptionVerdict::Refused => "exception.refused",
        };
        let entry = self.describe(action).name("by", by);
        Ok(Change { document, entry })
    }

    /// Ends it before its time.
    pub fn end(&self, by: &PersonRef, now: Instant) -> Result<Change<Self>, ExceptionError> {
        self.require(ExceptionState::InForce, now)?;
        let entry = self.describe("exception.ended").name("by", by);
        Ok(Change { document: Self { ended: Some(now), ..self.clone() }, entry })
    }

    /// Where it stands.
    pub fn state(&self, now: Instant) -> ExceptionState {
        match &self.decision {
            Some(decision) if decision.verdict == ExceptionVerdict::Refused => ExceptionState::Refused,
            _ if self.ended.is_some() || self.terms.expires <= now => ExceptionState::Over,
            Some(_) => ExceptionState::InForce,
            None => ExceptionState::Proposed,
        }
    }

    /// SHA-256 of the terms: what a second person decides on.
    pub fn terms_digest(&self) -> Hash {
        digest(&self.terms)
    }

    fn require(&self, wanted: ExceptionState, now: Instant) -> Result<(), ExceptionError> {
        let state = self.state(now);
        if state == wanted && self.terms.proposed <= now {
            return Ok(());
        }
        Err(ExceptionError::State {
            state: match state {
                ExceptionState::Proposed => "not decided on yet",
                ExceptionState::InForce => "decided on already",
                ExceptionState::Over => "over",
                ExceptionState::Refused => "refused",
            },
        })
    }

    fn describe(&self, action: &'static str) -> Draft {
        Draft::new(action)
            .name("exception", self.terms.id)
            .name("excepted", &self.terms.commitment)
            .digest("terms", self.terms_digest())
            .name("proposed-by", &self.terms.proposed_by)
            .at("expires", self.terms.expires)
            .keyed("reason", &self.terms.reason)
    }

    pub(crate) fn broken_rule(&self) -> Option<&'static str> {
        let terms = &self.terms;
        let decision = self.decision.as_ref();
        if terms.expires <= terms.proposed || terms.proposed.plus(EXCEPTION_LASTS_MAX) < terms.expires {
            Some("it lasts longer than 90 days")
        } else if !is_commitment(&terms.commitment) {
            Some("it names no commitment")
        } else if decision.is_some_and(|decision| decision.by.is_same_human(&terms.proposed_by)) {
            Some("it was decided on by who proposed it")
        } else if decision.is_some_and(|decision| decision.terms != digest(terms)) {
            Some("other terms were decided on")
        } else if self.ended.is_some() && decision.is_none() {
            Some("it ended before anybody decided")
        } else {
            None
        }
    }
}

/// Exceptions in force, by commitment: what the trust page shows. Reasons and names stay out.
pub fn in_force<'a>(
    exceptions: impl IntoIterator<Item = &'a Exception>,
    now: Instant,
) -> BTreeMap<&'a str, ExceptionCount> {
    let mut counts = BTreeMap::<&str, ExceptionCount>::new();
    for exception in exceptions.into_iter().filter(|exception| exception.state(now) == ExceptionState::InForce) {
        let expires = exception.terms.expires;
        let count =
            counts.entry(&exception.terms.commitment).or_insert(ExceptionCount { in_force: 0, last_expires: expires });
        count.in_force += 1;
        count.last_expires = count.last_expires.max(expires);
    }
    counts
}

fn is_commitment(text: &str) -> bool {
    let number = text.strip_prefix("CH-").or_else(|| text.strip_prefix("CI-"));
    number.is_some_and(|number| number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit()))
}
