//! Reviews of access, opened by themselves each quarter, kept and carried out. Their rules stand in
//! `creta_programme::campaign`.
//!
//! In environments of class development nothing is taken away for want of an answer: nobody would answer, and a team that
//! only tries things out would lose everything after two weeks.

mod population;
mod revocation;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use creta_audit::Event;
use creta_model::{EnvironmentClass, Instant, Problem, Span};
use creta_programme::cadence::Schedule;
use creta_programme::campaign::{Campaign, CampaignError, Closing, Pending, ReviewResult, UNANSWERED_AFTER, Verdict};
use creta_programme::{Change, Draft, SubjectId};
use creta_proof::Hash;
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};

use self::population::is_of_anybody;
use super::People;
use super::access::{Actor, log, record, record_id};
use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, internal};
use crate::register::{Record, Register};

/// When reviews open (RFC 5545), in the zone below.
const RULE: &str = "FREQ=MONTHLY;INTERVAL=3";
const START: &str = "2026-01-01T00:00:00";
const ZONE: &str = "UTC";
/// What occurrences are of.
const CADENCE: &str = "access-review";
/// How long after all is settled a review that nobody closes is closed by itself.
const CLOSED_AFTER: Span = UNANSWERED_AFTER;

impl Record for Campaign {
    const KIND: &'static str = "access-campaign";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn read(body: &[u8]) -> Option<Self> {
        Self::parse(body).ok()
    }

    fn body(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

/// The result of a closed review, and the entry of the log that holds its digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filed {
    pub(crate) result: ReviewResult,
    /// Index of the entry.
    pub(crate) entry: u64,
}

impl Record for Filed {
    const KIND: &'static str = "access-review";

    fn id(&self) -> String {
        self.result.campaign.to_string()
    }

    fn read(body: &[u8]) -> Option<Self> {
        let filed: Self = serde_json::from_slice(body).ok()?;
        ReviewResult::parse(&filed.result.to_bytes()).ok().map(|_| filed)
    }
}

/// All reviews.
pub(crate) struct Reviews {
    campaigns: Register<Campaign>,
    results: Register<Filed>,
    /// Held from a look at everybody's rights until what follows from it is stored.
    at_work: Mutex<()>,
    /// The first review is of the quarter after this.
    began: Instant,
}

/// What came of trying to close a review.
pub(crate) enum Tried {
    /// Its result's digest is in this entry of the log.
    Closed(u64),
    NotYet(Vec<(SubjectId, Pending)>),
}

impl Reviews {
    pub(super) fn open(metadata: Arc<dyn MetadataStore>, control: &ControlPlane) -> Result<Self, Problem> {
        let first = control.log().entries(0..1).map_err(|e| from_audit(&e))?;
        Ok(Self {
            campaigns: Register::load(Arc::clone(&metadata))?,
            results: Register::load(metadata)?,
            at_work: Mutex::default(),
            began: first.first().map_or_else(|| control.platform().clock.now(), |entry| entry.time),
        })
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<Campaign> {
        let mut campaigns = self.campaigns.list(|_| true);
        campaigns.sort_by_key(|campaign| campaign.opened);
        campaigns
    }

    /// A review as it is kept. Whoever came since it was last held against everybody is not in it: see `People::review_now`.
    pub(crate) fn require(&self, id: &str) -> Result<Campaign, Problem> {
        self.campaigns.find(id).ok_or_else(|| no_review(id))
    }

    /// The result of a review that is closed.
    pub(crate) fn require_result(&self, id: &str) -> Result<Filed, Problem> {
        self.require(id)?;
        self.results.find(id).ok_or_else(|| {
            Problem::new("not-found/review-result", format!("review `{id}` is not closed, so it has no result yet"))
                .with_help(format!("close it: `creta review close {id}`"))
        })
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The occurrence that opened last, if it did since the environment was made.
    fn occurrence(&self, now: Instant) -> Option<String> {
        let schedule = Schedule::parse(RULE, START, ZONE).expect("the rule of reviews is a valid one");
        let opened = schedule.between(self.began, now.plus(Span::seconds(1))).into_iter().max()?;
        Some(format!("{CADENCE}@{opened}"))
    }

    fn change(
        &self,
        id: &str,
        entry: impl FnOnce(&Draft) -> Result<u64, Problem>,
        change: impl FnOnce(&Campaign) -> Result<Change<Campaign>, Problem>,
    ) -> Result<Campaign, Problem> {
        let changed = self.campaigns.change(id, |campaign| {
            let change = change(campaign)?;
            entry(&change.entry)?;
            Ok::<_, Problem>(change.document)
        })?;
        changed.ok_or_else(|| no_review(id))
    }
}

impl People {
    /// Opens the review of a quarter that began, takes away what nobody decided on in time, tries again what was not
    /// refused yet, and closes what is settled. Cheap when nothing is due.
    pub(crate) fn review(&self, control: &ControlPlane, now: Instant) -> Result<(), Problem> {
        self.open_review(control, now)?;
        for campaign in self.reviews.campaigns.list(|campaign| campaign.closed.is_none()) {
            let id = Record::id(&campaign);
            let place = control.place();
            let is_due = self.class != EnvironmentClass::Development && campaign.revoke_unanswered(now).is_some();
            if is_due {
                self.reviews.change(
                    &id,
                    |entry| record(control, entry, &place),
                    |campaign| campaign.revoke_unanswered(now).map(|(change, _)| change).ok_or_else(internal),
                )?;
            }
            self.carry_out(control, &id, now)?;
            let campaign = self.reviews.require(&id)?;
            let is_settled = campaign.lines.iter().all(|line| line.pending().is_none());
            if is_settled && campaign.opened.plus(CLOSED_AFTER) <= now {
                self.close_review(control, &id, now, |entry| record(control, entry, &place))?;
            }
        }
        Ok(())
    }

    /// The quarter whose review has to be there: the last one that had begun at `by`, once there was anybody to decide about.
    pub(crate) fn review_due(
        &self,
        control: &ControlPlane,
        by: Instant,
        now: Instant,
    ) -> Result<Option<String>, Problem> {
        let Some(occurrence) = self.reviews.occurrence(by) else { return Ok(None) };
        let is_this = |campaign: &Campaign| campaign.occurrence == occurrence;
        let is_due =
            self.reviews.campaigns.find_by(is_this).is_some() || is_of_anybody(&self.population(control, now)?);
        Ok(is_due.then_some(occurrence))
    }

    /// A review held against everybody as they are now: with whoever came or gained something since, undecided. Nothing is
    /// stored. A closed one is as it was.
    pub(crate) fn review_now(&self, control: &ControlPlane, id: &str, now: Instant) -> Result<Campaign, Problem> {
        let campaign = self.reviews.require(id)?;
        if campaign.closed.is_some() {
            return Ok(campaign);
        }
        let fresh = self.population(control, now)?;
        Ok(campaign.reconcile(&fresh, now).map_err(|error| of_error(&error))?.document)
    }

    fn open_review(&self, control: &ControlPlane, now: Instant) -> Result<(), Problem> {
        let Some(occurrence) = self.reviews.occurrence(now) else { return Ok(()) };
        let is_this = |campaign: &Campaign| campaign.occurrence == occurrence;
        if self.reviews.campaigns.find_by(is_this).is_some() {
            return Ok(());
        }
        let _one_at_a_time = self.reviews.one_at_a_time();
        let population = self.population(control, now)?;
        if !is_of_anybody(&population) {
            return Ok(()); // There is nobody to decide about yet.
        }
        let change = Campaign::open(record_id(control), &occurrence, &population, now).map_err(|e| of_error(&e))?;
        record(control, &change.entry, &control.place())?;
        self.reviews.campaigns.add(change.document)?.ok_or_else(internal)?;
        Ok(())
    }

    /// Decides on one line as it was shown, and carries a revocation out at once.
    pub(crate) fn decide_review(
        &self,
        actor: &Actor<'_>,
        id: &str,
        (subject, seen): (&SubjectId, Hash),
        verdict: Verdict,
        reason: &str,
    ) -> Result<Campaign, Problem> {
        self.note_who_came(actor, id, (subject, seen))?;
        let decided = self.reviews.change(
            id,
            |entry| log(actor, entry, &actor.control.place()),
            |campaign| {
                campaign
                    .decide((subject, seen), actor.person, verdict, reason, actor.now)
                    .map_err(|error| refused(actor, &error))
            },
        )?;
        if verdict == Verdict::Keep {
            return Ok(decided);
        }
        self.carry_out(actor.control, id, actor.now)?;
        self.reviews.require(id)
    }

    /// Puts whoever came or changed since into the review, if what somebody was shown is not in it as they saw it.
    fn note_who_came(&self, actor: &Actor<'_>, id: &str, (subject, seen): (&SubjectId, Hash)) -> Result<(), Problem> {
        let is_shown = |campaign: &Campaign| campaign.line(subject).is_ok_and(|line| line.digest() == seen);
        let campaign = self.reviews.require(id)?;
        if campaign.closed.is_some() || is_shown(&campaign) {
            return Ok(());
        }
        let _one_at_a_time = self.reviews.one_at_a_time();
        let fresh = self.population(actor.control, actor.now)?;
        let came = campaign.reconcile(&fresh, actor.now).map_err(|error| of_error(&error))?.document;
        if !is_shown(&came) {
            return Ok(()); // Decided on as it is, and refused.
        }
        self.reviews.change(
            id,
            |entry| record(actor.control, entry, &actor.control.place()),
            |campaign| campaign.reconcile(&fresh, actor.now).map_err(|error| of_error(&error)),
        )?;
        Ok(())
    }

    /// Closes a review if nothing is undone, as everybody's rights are now.
    pub(crate) fn close_review_by(&self, actor: &Actor<'_>, id: &str) -> Result<Tried, Problem> {
        self.carry_out(actor.control, id, actor.now)?;
        self.close_review(actor.control, id, actor.now, |entry| log(actor, entry, &actor.control.place()))
    }

    fn close_review(
        &self,
        control: &ControlPlane,
        id: &str,
        now: Instant,
        entry: impl FnOnce(&Draft) -> Result<u64, Problem>,
    ) -> Result<Tried, Problem> {
        let _one_at_a_time = self.reviews.one_at_a_time();
        // Read after the clock: whatever is added from here on is in the next look.
        let population = self.population(control, now)?;
        let mut tried = None;
        let closed = self.reviews.campaigns.change(id, |campaign| {
            let closing = campaign.close(&population, now).map_err(|e| of_error(&e))?;
            match closing {
                Closing::NotYet(change, undone) => {
                    entry(&change.entry)?;
                    tried = Some(Tried::NotYet(undone));
                    Ok::<_, Problem>(change.document)
                }
                Closing::Closed(change, result) => {
                    // The result first: a review is closed only where its result can be shown.
                    let filed = Filed { entry: entry(&change.entry)?, result: *result };
                    tried = Some(Tried::Closed(filed.entry));
                    self.reviews.results.add(filed)?;
                    Ok(change.document)
                }
            }
        })?;
        closed.ok_or_else(|| no_review(id))?;
        tried.ok_or_else(internal)
    }

    /// Takes away what was decided to be revoked and tries it; what is done already is not done again.
    fn carry_out(&self, control: &ControlPlane, id: &str, now: Instant) -> Result<(), Problem> {
        let _one_at_a_time = self.reviews.one_at_a_time();
        let campaign = self.reviews.require(id)?;
        let undone = campaign.lines.iter().filter(|line| line.pending() == Some(Pending::Probe));
        for line in undone.filter(|_| campaign.closed.is_none()) {
            let subject = &line.identity.subject;
            self.revoke_subject(control, campaign.id, subject, now)?;
            let probe = self.probe(control, subject, now)?;
            self.reviews.change(
                id,
                |entry| record(control, entry, &control.place()),
                |campaign| campaign.probed(subject, probe, now).map_err(|e| of_error(&e)),
            )?;
        }
        Ok(())
    }
}

/// A rule of reviews that was kept against somebody: recorded with the promise that it keeps.
fn refused(actor: &Actor<'_>, error: &CampaignError) -> Problem {
    let event = Event::new("review.refused", actor.control.place()).by(actor.principal);
    actor.control.record(event.for_commitment(error.commitment()));
    of_error(error)
}

fn of_error(error: &CampaignError) -> Problem {
    Problem::new(error.code(), error.to_string())
}

pub(crate) fn no_review(id: &str) -> Problem {
    Problem::new("not-found/review", format!("there is no review of access `{id}`"))
        .with_help("`creta review list` shows all of them")
}

/// Names a subject of a request.
pub(crate) fn subject_of(text: &str) -> Result<SubjectId, Problem> {
    SubjectId::parse(text).map_err(|error| Problem::new("request/subject", error.to_string()))
}
