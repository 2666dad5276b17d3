//! The sealed local account for when nothing else works: two people open it together, for at most an hour. Opening it
//! pages, and somebody else looks at it within a day.
//!
//! ```text
//! Opening  half -> unsealed -> open -> closed -> reviewed
//! ```

use creta_model::{Environment, Instant, Span};
use serde::{Deserialize, Serialize};

use crate::access::Reason;
use crate::document::document;
use crate::draft::{Change, Draft};
use crate::{PersonId, PersonRef, RecordId};

/// The form of openings that this build writes and reads.
pub const OPENING_FORMAT: &str = "creta.break-glass/1";
/// An opening lasts at most so long.
pub const OPEN_MINUTES_MAX: u8 = 60;
/// The second half must follow the first within so long.
pub const HALF_LASTS: Span = Span::seconds(900);
/// The review is due so long after the opening.
pub const REVIEW_WITHIN: Span = Span::hours(24);

/// Which part of the secret somebody holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Half {
    /// The first.
    First,
    /// The second.
    Second,
}

impl Half {
    const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }
}

/// Somebody showed their half, which the caller has checked against its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// Which.
    pub half: Half,
    /// Who.
    pub by: PersonRef,
    /// When.
    pub at: Instant,
}

/// What a review found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// It was needed, and what was done was what it was opened for.
    Justified,
    /// It was not; an incident has to follow.
    NotJustified,
}

/// A review of an opening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// By whom.
    pub by: PersonRef,
    /// When.
    pub at: Instant,
    /// What it found.
    pub finding: Finding,
    /// In words.
    pub words: String,
}

/// One use of the sealed account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// [`OPENING_FORMAT`].
    pub format: String,
    /// Random name.
    pub id: RecordId,
    /// Of which environment.
    pub environment: Environment,
    /// Why.
    pub reason: String,
    /// For how many minutes.
    pub minutes: u8,
    /// Who showed which half; two once it is unsealed.
    pub halves: Vec<Shown>,
    /// When the page was handed over, durably; nothing can be done before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paged_at: Option<Instant>,
    /// When it was closed before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Instant>,
    /// What came of its review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
}

document!(Opening, OPENING_FORMAT);

/// How the review of an opening stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReviewState {
    /// It was never open, so there is nothing to look at.
    NotNeeded,
    /// Somebody has to look at it, in time.
    Due,
    /// Nobody looked at it in time.
    Overdue,
    /// Somebody did.
    Done,
}

/// Why a transition was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BreakGlassError {
    /// Zero minutes, or more than an hour.
    #[error("the sealed account opens for 1 to {OPEN_MINUTES_MAX} minutes, not {given}")]
    Minutes {
        /// What was asked for.
        given: u8,
    },
    /// Both halves from one human, or one half twice.
    #[error("both halves must come from different people; let somebody else show the other half")]
    SamePerson,
    /// The first half waited too long.
    #[error("the first half was shown more than 15 minutes ago; begin again")]
    TooLate,
    /// The second half is there already.
    #[error("this opening has both halves; begin another")]
    Complete,
    /// Lacks a half, a page, or time.
    #[error("the sealed account is not open: {rule}")]
    NotOpen {
        /// What it lacks.
        rule: &'static str,
    },
    /// A review by one of those who opened it, a second one, or one while it is still open.
    #[error("this review does not count: {rule}")]
    Review {
        /// Why.
        rule: &'static str,
    },
}

impl BreakGlassError {
    /// The commitment that the refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        "CH-33"
    }

    /// A stable code for the API: `break-glass/same-person`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Minutes { .. } => "break-glass/minutes",
            Self::SamePerson => "break-glass/same-person",
            Self::TooLate => "break-glass/too-late",
            Self::Complete => "break-glass/complete",
            Self::NotOpen { .. } => "break-glass/not-open",
            Self::Review { .. } => "break-glass/review",
        }
    }
}

impl Opening {
    /// The first of two people shows a half.
    pub fn begin(
        id: RecordId,
        environment: Environment,
        reason: &Reason,
        minutes: u8,
        (half, by): (Half, &PersonRef),
        now: Instant,
    ) -> Result<Change<Self>, BreakGlassError> {
        if !(1..=OPEN_MINUTES_MAX).contains(&minutes) {
            return Err(BreakGlassError::Minutes { given: minutes });
        }
        let document = Self {
            format: OPENING_FORMAT.to_owned(),
            id,
            environment,
            reason: reason.as_str().to_owned(),
            minutes,
            halves: vec![Shown { half, by: by.clone(), at: now }],
            paged_at: None,
            closed_at: None,
            review: None,
        };
        let entry = document.describe("break-glass.half-shown").name("by", by).name("half", half.as_str());
        Ok(Change { document, entry })
    }

    /// The second of two people shows the other half. The caller then pages, and records it with [`Self::paged`].
    pub fn complete(&self, half: Half, by: &PersonRef, now: Instant) -> Result<Change<Self>, BreakGlassError> {
        let [first] = self.halves.as_slice() else { return Err(BreakGlassError::Complete) };
        if first.half == half || first.by.is_same_human(by) {
            return Err(BreakGlassError::SamePerson);
        }
        if now < first.at || first.at.plus(HALF_LASTS) <= now {
            return Err(BreakGlassError::TooLate);
        }
        let mut document = self.clone();
        document.halves.push(Shown { half, by: by.clone(), at: now });
        let entry = document.describe("break-glass.unsealed").name("by", by).name("half", half.as_str());
        Ok(Change { document, entry })
    }

    /// Records that the page was handed over to a channel that keeps it. From here on the account is open.
    pub fn paged(&self, now: Instant) -> Result<Change<Self>, BreakGlassError> {
        let unsealed = self.unsealed_at().ok_or(BreakGlassError::NotOpen { rule: "it lacks the other half" })?;
        if self.paged_at.is_some() {
            return Err(BreakGlassError::Complete);
        }
        if now < unsealed || self.expires().is_none_or(|expires| expires <= now) {
            return Err(BreakGlassError::NotOpen { rule: "its time is over" });
        }
        let document = Self { paged_at: Some(now), ..self.clone() };
        let entry = document.describe("break-glass.opened");
        Ok(Change { document, entry })
    }

    /// Whether something may be done with the account now.
    pub fn require_open(&self, now: Instant) -> Result<(), BreakGlassError> {
        let rule = match (self.unsealed_at(), self.expires(), self.paged_at, self.closed_at) {
            (None, ..) | (_, None, ..) => "it lacks the other half",
            (_, _, None, _) => "nobody was paged",
            (.., Some(_)) => "it was closed",
            (_, Some(expires), Some(_), None) if expires <= now => "its time is over",
            (_, _, Some(paged), None) if now < paged => "its time has not begun",
            _ => return Ok(()),
        };
        Err(BreakGlassError::NotOpen { rule })
    }

    /// Closes it before its time.
    pub fn close(&self, by: &PersonRef, now: Instant) -> Result<Change<Self>, BreakGlassError> {
        self.require_open(now)?;
        let document = Self { closed_at: Some(now), ..self.clone() };
        let entry = document.describe("break-glass.closed").name("by", by);
        Ok(Change { document, entry })
    }

    /// Somebody who did not open it says what they found, once it is over.
    pub fn review(
        &self,
        by: &PersonRef,
        finding: Finding,
        words: &str,
        now: Instant,
    ) -> Result<Change<Self>, BreakGlassError> {
        let refused = |rule| Err(BreakGlassError::Review { rule });
        if self.paged_at.is_none() {
            return refused("the account was never open");
        }
        if self.review.is_some() {
            return refused("there is one already");
        }
        if self.opened_by().any(|person| *person == by.person) {
            return refused("it must come from somebody who did not open the account");
        }
        if self.require_open(now).is_ok() {
            return refused("the account is still open; close it first");
        }
        let review = Review { by: by.clone(), at: now, finding, words: words.to_owned() };
        let document = Self { review: Some(review), ..self.clone() };
        let found = match finding {
            Finding::Justified => "justified",
            Finding::NotJustified => "not-justified",
        };
        let entry =
            document.describe("break-glass.reviewed").name("by", by).name("finding", found).keyed("words", words);
        Ok(Change { document, entry })
    }

    /// How its review stands. An overdue one is a finding and is shown; it does not stop the next emergency.
    pub fn review_state(&self, now: Instant) -> ReviewState {
        match (self.paged_at, &self.review) {
            (None, _) => ReviewState::NotNeeded,
            (Some(_), Some(_)) => ReviewState::Done,
            (Some(paged), None) if paged.plus(REVIEW_WITHIN) < now => ReviewState::Overdue,
            (Some(_), None) => ReviewState::Due,
        }
    }

    /// The first instant at which it is over; `None` while it lacks a half.
    pub fn expires(&self) -> Option<Instant> {
        Some(self.unsealed_at()?.plus(Span::seconds(u32::from(self.minutes) * 60)))
    }

    fn unsealed_at(&self) -> Option<Instant> {
        self.halves.get(1).map(|shown| shown.at)
    }

    fn opened_by(&self) -> impl Iterator<Item = &PersonId> {
        self.halves.iter().map(|shown| &shown.by.person)
    }

    fn describe(&self, action: &'static str) -> Draft {
        let entry = Draft::new(action)
            .name("opening", self.id)
            .name("environment", &self.environment)
            .count("minutes", usize::from(self.minutes))
            .count("halves", self.halves.len())
            .keyed("reason", &self.reason);
        match self.expires() {
            Some(expires) => entry.at("expires", expires),
            None => entry,
        }
    }

    pub(crate) fn broken_rule(&self) -> Option<&'static str> {
        if !(1..=OPEN_MINUTES_MAX).contains(&self.minutes) {
            return Some("it lasts longer than an hour");
        }
        match self.halves.as_slice() {
            [_] if self.paged_at.is_none() && self.closed_at.is_none() && self.review.is_none() => None,
            [_] => Some("it went on with one half"),
            [a, b] if a.half == b.half || a.by.is_same_human(&b.by) => Some("both halves come from one person"),
            [a, b] if b.at < a.at || a.at.plus(HALF_LASTS) <= b.at => Some("its halves lie too far apart"),
            [_, _] if self.paged_at.is_none() && (self.closed_at.is_some() || self.review.is_some()) => {
                Some("it went on without a page")
            }
            [_, _] if self.review.as_ref().is_some_and(|r| self.opened_by().any(|p| *p == r.by.person)) => {
                Some("it was reviewed by somebody who opened it")
            }
            [_, _] => None,
            _ => Some("it has neither one nor two halves"),
        }
    }
}
