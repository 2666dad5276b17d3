//! Reviews of access: once a quarter somebody decides about everybody's rights, and nobody about their own.
//!
//! The population is everything that can act, with its effective rights, as the caller computes it; its digest and the
//! instant of the snapshot go into the log when the campaign opens. When it closes, a fresh population is held against
//! it: whoever came, vanished or gained rights in between is flagged, and has to be decided on too.
//!
//! - Whoever is the subject, uses or owns it, or gave it a right cannot decide on it, by any account.
//! - Decisions faster than one in two seconds are flagged, and after a burst refused.
//! - What nobody decided on for 14 days is revoked.
//! - A revocation counts once a probe was refused. Without that the campaign does not close.

mod close;
mod decide;

use std::collections::BTreeSet;

use creta_model::{Instant, Span};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};

pub use close::{Closing, Pending, REVIEW_FORMAT, ReviewLine, ReviewResult};
pub use decide::{DECISION_BURST, DECISION_PACE, Escalation};

use crate::access::ReasonFault;
use crate::document::{digest, document};
use crate::draft::{Change, Draft};
use crate::{PersonId, PersonRef, RecordId, SubjectId};

/// The form of campaigns that this build writes and reads.
pub const CAMPAIGN_FORMAT: &str = "creta.access-campaign/1";
/// What nobody decided on for so long is revoked.
pub const UNANSWERED_AFTER: Span = Span::days(14);
/// A population is fresh for so long.
pub const SNAPSHOT_LASTS: Span = Span::hours(1);

/// Something that can act, and what it effectively may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Which.
    pub subject: SubjectId,
    /// The human it is, or the humans who use or own it.
    pub people: BTreeSet<PersonId>,
    /// The humans who gave it a right that it has, or approved it.
    pub granted_by: BTreeSet<PersonId>,
    /// Its effective rights, each a name: what was given, such as `developer@prod/acme`, and each action that it amounts to by the
    /// policies in force, after [`MAY`]. So a policy that allows more makes it another line, to be decided on again.
    pub rights: BTreeSet<SubjectId>,
}

/// What the names of actions begin with among rights: `may:deploy@prod/acme`.
pub const MAY: &str = "may:";

impl Identity {
    /// What was given: roles, grants, keys.
    pub fn given(&self) -> impl Iterator<Item = &str> {
        self.rights.iter().map(SubjectId::as_str).filter(|right| !right.starts_with(MAY))
    }

    /// What all of it amounts to by the policies in force: `deploy@prod/acme`.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.rights.iter().filter_map(|right| right.as_str().strip_prefix(MAY))
    }
}

/// Everything that can act, at an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// When it was computed.
    pub snapshot_at: Instant,
    /// Ordered by subject, each once.
    pub identities: Vec<Identity>,
}

impl Population {
    /// Puts identities in order.
    pub fn new(snapshot_at: Instant, mut identities: Vec<Identity>) -> Self {
        identities.sort_by(|a, b| a.subject.cmp(&b.subject));
        Self { snapshot_at, identities }
    }

    /// SHA-256 of the canonical JSON, instant included.
    pub fn digest(&self) -> Hash {
        digest(self)
    }

    fn find(&self, subject: &SubjectId) -> Option<&Identity> {
        let index = self.identities.binary_search_by(|identity| identity.subject.cmp(subject)).ok()?;
        Some(&self.identities[index])
    }

    /// Fresh and in order. It may be empty: by the end of a review everything may have been revoked.
    fn require_usable(&self, now: Instant) -> Result<(), CampaignError> {
        let in_order = self.identities.windows(2).all(|pair| pair[0].subject < pair[1].subject);
        let rule = if now < self.snapshot_at || self.snapshot_at.plus(SNAPSHOT_LASTS) < now {
            "it was not computed in the last hour"
        } else if !in_order {
            "its subjects are not in order, each once"
        } else {
            return Ok(());
        };
        Err(CampaignError::Population { rule })
    }
}

/// Keep or revoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It keeps its rights.
    Keep,
    /// It loses them.
    Revoke,
}

/// What was decided on an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// How.
    pub verdict: Verdict,
    /// Who; nobody when it was revoked for want of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonRef>,
    /// When.
    pub at: Instant,
    /// Why.
    pub reason: String,
}

/// What came of trying a revoked right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tried {
    /// It was refused, as it should be.
    Refused,
    /// It was allowed: the revocation has not taken effect.
    Allowed,
}

/// A trial of revoked rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What came of it.
    pub tried: Tried,
    /// When.
    pub at: Instant,
    /// SHA-256 of what was asked and answered.
    pub raw: Hash,
}

/// Why a line deserves a second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// Came after the snapshot.
    Added,
    /// Vanished before anybody decided to revoke it.
    Vanished,
    /// Gained rights, people or givers after it was shown; what was decided before does not count.
    Changed,
    /// Still had rights after a probe said otherwise, or a probe was allowed.
    StillThere,
    /// Decided within two seconds of the decision before.
    Hasty,
    /// Nobody decided in time.
    Unanswered,
}

/// An identity under review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Which, with the rights that are decided on.
    pub identity: Identity,
    /// Since when it waits for a decision.
    pub since: Instant,
    /// What was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What came of trying its rights after a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// What was noticed.
    pub flags: BTreeSet<Flag>,
}

/// A review of everybody's access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// [`CAMPAIGN_FORMAT`].
    pub format: String,
    /// Random name.
    pub id: RecordId,
    /// The occurrence of its cadence.
    pub occurrence: String,
    /// When it was opened.
    pub opened: Instant,
    /// When the population was computed.
    pub snapshot_at: Instant,
    /// [`Population::digest`].
    pub population: Hash,
    /// Ordered by subject, each once.
    pub lines: Vec<Line>,
    /// Every decision made, also those that count no more: who and when, oldest first.
    pub pace: Vec<(PersonId, Instant)>,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Instant>,
}

document!(Campaign, CAMPAIGN_FORMAT);

/// Why a transition was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CampaignError {
    /// The population cannot be reviewed.
    #[error("this population cannot be reviewed: {rule}; compute it again")]
    Population {
        /// What is wrong.
        rule: &'static str,
    },
    /// It is closed.
    #[error("this review of access is closed; the next one opens by itself")]
    Closed,
    /// Nobody of that name in it.
    #[error("`{subject}` is not in this review; list its lines")]
    NoLine {
        /// Which.
        subject: SubjectId,
    },
    /// The reviewer has a part in it.
    #[error("`{person}` cannot decide on `{subject}`: {rule}; let another reviewer decide")]
    Conflict {
        /// Who.
        person: PersonId,
        /// On what.
        subject: SubjectId,
        /// Their part in it.
        rule: &'static str,
    },
    /// Decided already.
    #[error("`{subject}` is decided on; what is kept can still be revoked, not the other way round")]
    Decided {
        /// Which.
        subject: SubjectId,
    },
    /// Its rights changed since they were shown.
    #[error("`{subject}` has changed since it was shown to you; look at it again and decide anew")]
    Changed {
        /// Which.
        subject: SubjectId,
    },
    /// The reason says nothing.
    #[error(transparent)]
    Reason(#[from] ReasonFault),
    /// Too many decisions in too short a time.
    #[error("these decisions come faster than anybody can look; go on in a few seconds")]
    TooFast,
    /// A probe without a revocation, or from before it.
    #[error("this probe of `{subject}` does not count: {rule}; try its rights again")]
    Probe {
        /// Of what.
        subject: SubjectId,
        /// Why not.
        rule: &'static str,
    },
}

impl CampaignError {
    /// The commitment that the refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        "CI-24"
    }

    /// A stable code for the API: `review/conflict`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Population { .. } => "review/population",
            Self::Closed => "review/closed",
            Self::NoLine { .. } => "review/no-line",
            Self::Conflict { .. } => "review/conflict",
            Self::Decided { .. } => "review/decided",
            Self::Changed { .. } => "review/changed",
            Self::Reason(_) => "review/reason",
            Self::TooFast => "review/too-fast",
            Self::Probe { .. } => "review/probe",
        }
    }
}

impl Campaign {
    /// Opens a campaign over a population of somebody.
    pub fn open(
        id: RecordId,
        occurrence: &str,
        population: &Population,
        now: Instant,
    ) -> Result<Change<Self>, CampaignError> {
        population.require_usable(now)?;
        if population.identities.is_empty() {
            return Err(CampaignError::Population { rule: "nobody is in it" });
        }
        let line = |identity: &Identity| Line::new(identity.clone(), now, BTreeSet::new());
        let document = Self {
            format: CAMPAIGN_FORMAT.to_owned(),
            id,
            occurrence: occurrence.to_owned(),
            opened: now,
            snapshot_at: population.snapshot_at,
            population: population.digest(),
            lines: population.identities.iter().map(line).collect(),
            pace: Vec::new(),
            closed: None,
        };
        let entry = document.describe("review.opened").at("snapshot-at", population.snapshot_at);
        Ok(Change { document, entry })
    }

    /// The line of a subject.
    pub fn line(&self, subject: &SubjectId) -> Result<&Line, CampaignError> {
        self.index_of(subject).map(|index| &self.lines[index])
    }

    fn index_of(&self, subject: &SubjectId) -> Result<usize, CampaignError> {
        let index = self.lines.binary_search_by(|line| line.identity.subject.cmp(subject));
        index.map_err(|_| CampaignError::NoLine { subject: subject.clone() })
    }

    fn require_open(&self) -> Result<(), CampaignError> {
        if self.closed.is_some() { Err(CampaignError::Closed) } else { Ok(()) }
    }

    fn describe(&self, action: &'static str) -> Draft {
        Draft::new(action)
            .name("campaign", self.id)
            .name("occurrence", &self.occurrence)
            .digest("population", self.population)
            .count("lines", self.lines.len())
            .count("decided", self.lines.iter().filter(|line| line.decision.is_some()).count())
    }

    pub(crate) fn broken_rule(&self) -> Option<&'static str> {
        let decided_by = |line: &Line| line.decision.as_ref().and_then(|decision| decision.by.clone());
        if !self.lines.windows(2).all(|pair| pair[0].identity.subject < pair[1].identity.subject) {
            Some("its lines are not in order, each once")
        } else if self.lines.is_empty() {
            Some("nobody is in it")
        } else if self.lines.iter().any(|line| decided_by(line).is_some_and(|by| line.conflict(&by.person).is_some())) {
            Some("somebody decided on their own access")
        } else if self.closed.is_some() && self.lines.iter().any(|line| line.pending().is_some()) {
            Some("it is closed with something undone")
        } else {
            None
        }
    }
}

impl Line {
    fn new(identity: Identity, since: Instant, flags: BTreeSet<Flag>) -> Self {
        Self { identity, since, decision: None, probe: None, flags }
    }

    /// SHA-256 of the identity with its rights: what is decided on.
    pub fn digest(&self) -> Hash {
        digest(&self.identity)
    }

    /// The part that a human has in it, if any. Such a reviewer cannot decide.
    pub fn conflict(&self, person: &PersonId) -> Option<&'static str> {
        if self.identity.people.contains(person) {
            Some("it is their own access, or that of something they use or own")
        } else if self.identity.granted_by.contains(person) {
            Some("they gave or approved it")
        } else {
            None
        }
    }

    /// What is still to be done before the campaign can close.
    pub fn pending(&self) -> Option<Pending> {
        match (&self.decision, &self.probe) {
            (None, _) => Some(Pending::Decision),
            (Some(decision), _) if decision.verdict == Verdict::Keep => None,
            (Some(_), Some(probe)) if probe.tried == Tried::Refused => None,
            (Some(_), _) => Some(Pending::Probe),
        }
    }
}
