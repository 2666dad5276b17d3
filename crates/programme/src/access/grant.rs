//! A grant: a role at a place for hours, carrying the terms and the approvals it stems from.

use std::collections::BTreeSet;

use creta_iam::{Action, GrantId, HeldGrant, Place};
use creta_model::Instant;
use serde::{Deserialize, Serialize};

use super::AccessError;
use super::request::{Approval, Terms, approvals_rule};
use crate::document::document;
use crate::draft::{Change, Draft};
use crate::{PersonId, PersonRef, RecordId};

/// The form of grants that this build writes and reads.
pub const GRANT_FORMAT: &str = "creta.access-grant/1";

/// Why a grant ended before its hours were over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case", deny_unknown_fields)]
pub enum End {
    /// Its holder gave it back.
    Returned,
    /// Somebody took it away.
    Revoked {
        /// Who.
        by: PersonRef,
    },
    /// A review of access took it away.
    Review {
        /// Which campaign.
        campaign: RecordId,
    },
    /// Its holder left, or is no longer active where identities come from.
    Left,
    /// An older copy of the documents was put in place, which does not know what ended since.
    Restored,
    /// What its approvers signed is not what stands there, or they signed nothing.
    Unproven,
}

/// Whether a grant holds. That it is over with time shows in [`Grant::is_active`], whether or not that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GrantState {
    /// Holds until it expires.
    Active,
    /// Its hours are over.
    Expired {
        /// When this was recorded.
        at: Instant,
    },
    /// Ended before.
    Ended {
        /// Why.
        end: End,
        /// When.
        at: Instant,
    },
}

/// A role that a person holds at a place for hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// [`GRANT_FORMAT`].
    pub format: String,
    /// Random name.
    pub id: RecordId,
    /// What was asked and approved.
    pub terms: Terms,
    /// Who approved it.
    pub approvals: Vec<Approval>,
    /// When its hours began.
    pub activated: Instant,
    /// The first instant at which it holds no more.
    pub expires: Instant,
    /// Whether it holds.
    pub state: GrantState,
}

document!(Grant, GRANT_FORMAT);

impl Grant {
    /// Whose it is.
    pub fn holder(&self) -> &PersonRef {
        &self.terms.beneficiary
    }

    /// As a decision takes it, while it is active.
    pub fn held(&self) -> HeldGrant {
        let id = GrantId::parse(&self.id.to_string()).expect("hexadecimal digits name a grant");
        HeldGrant { id, role: self.terms.role, place: self.terms.place.clone() }
    }

    /// Whether it holds: from the instant it was activated, up to but not including the one it expires at.
    pub fn is_active(&self, now: Instant) -> bool {
        self.state == GrantState::Active && self.activated <= now && now < self.expires
    }

    /// The entry of one use, or why there cannot be one. A grant for an environment holds in every scope of it. Nothing may be done under the grant before it is logged.
    pub fn use_for(&self, action: Action, place: &Place, now: Instant) -> Result<Draft, AccessError> {
        self.require_active(now)?;
        if !self.terms.place.covers(place) {
            return Err(AccessError::OtherPlace { grant: self.id });
        }
        Ok(self.describe(Draft::new("access.grant.used")).name("action", action).name("at", place.path()))
    }

    /// Ends it. Whether `End::Revoked` is allowed to its author is for the caller to decide.
    pub fn end(&self, end: End, now: Instant) -> Result<Change<Self>, AccessError> {
        self.require_active(now)?;
        let entry = Draft::new(match end {
            End::Returned => "access.grant.returned",
            End::Revoked { .. } | End::Review { .. } | End::Left | End::Restored | End::Unproven => {
                "access.grant.revoked"
            }
        });
        let entry = match &end {
            End::Returned => entry,
            End::Revoked { by } => entry.name("by", by),
            End::Review { campaign } => entry.name("campaign", campaign),
            End::Left => entry.name("by", "identity-source"),
            End::Restored => entry.name("by", "restore"),
            End::Unproven => entry.name("by", "signature-check"),
        };
        let entry = self.describe(entry);
        Ok(Change { document: Self { state: GrantState::Ended { end, at: now }, ..self.clone() }, entry })
    }

    /// Records that its hours are over, if they are; `None` while they are not, or when it ended before.
    pub fn expire(&self, now: Instant) -> Option<Change<Self>> {
        (self.state == GrantState::Active && self.expires <= now).then(|| Change {
            document: Self { state: GrantState::Expired { at: now }, ..self.clone() },
            entry: self.describe(Draft::new("access.grant.expired")),
        })
    }

    /// Humans without whom it would not exist: of several approvers, who is behind all of them.
    pub fn rests_on(&self) -> BTreeSet<PersonId> {
        let behind = self.approvals.iter().map(|approval| {
            let mut people = approval.rests_on.clone();
            people.insert(approval.by.person.clone());
            people
        });
        behind.reduce(|a, b| &a & &b).unwrap_or_default()
    }

    pub(crate) fn broken_rule(&self) -> Option<&'static str> {
        let terms = &self.terms;
        let latest = self.approvals.iter().map(|approval| approval.at).max();
        if !(1..=terms.kind.hours_max()).contains(&terms.hours) {
            Some("it lasts longer than its kind may")
        } else if let Some(rule) = approvals_rule(terms, &self.approvals) {
            Some(rule)
        } else if self.approvals.len() != terms.kind.approvals() {
            Some("it does not have the approvals of its kind")
        } else if self.expires != self.activated.plus(terms.span()) {
            Some("it does not last as long as was approved")
        } else if latest.is_none_or(|at| self.activated < at) || terms.void_at() <= self.activated {
            Some("it was activated before its approval, or when its request was void")
        } else {
            None
        }
    }

    pub(super) fn describe(&self, entry: Draft) -> Draft {
        self.terms.describe(entry.name("grant", self.id).name("holder", self.holder()))
    }

    fn require_active(&self, now: Instant) -> Result<(), AccessError> {
        let state = match &self.state {
            GrantState::Active if now < self.activated => "has not begun",
            GrantState::Active if self.expires <= now => "is over: its hours have passed",
            GrantState::Active => return Ok(()),
            GrantState::Expired { .. } => "is over: its hours have passed",
            GrantState::Ended { .. } => "was ended",
        };
        Err(AccessError::GrantOver { grant: self.id, state })
    }
}

/// The grants that a human holds now, by whichever account, in the given order.
pub fn active_of<'a>(
    grants: impl IntoIterator<Item = &'a Grant>,
    person: &PersonId,
    now: Instant,
) -> impl Iterator<Item = &'a Grant> {
    grants.into_iter().filter(move |grant| grant.holder().person == *person && grant.is_active(now))
}
