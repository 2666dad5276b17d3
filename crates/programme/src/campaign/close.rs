//! Holding a campaign against a fresh population, and closing it.

use std::collections::BTreeSet;

use creta_model::Instant;
use creta_proof::Hash;
use serde::{Deserialize, Serialize};

use super::{Campaign, CampaignError, Flag, Identity, Line, Population, Tried, Verdict};
use crate::document::{digest, document};
use crate::draft::Change;
use crate::{PersonRef, RecordId, SubjectId};

/// The form of results that this build writes and reads.
pub const REVIEW_FORMAT: &str = "creta.access-review/1";

/// What a line still lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pending {
    /// Somebody has to decide.
    Decision,
    /// Its rights have to be tried and refused.
    Probe,
}

/// What was decided on one identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewLine {
    /// Which.
    pub subject: SubjectId,
    /// SHA-256 of the identity with the rights that were decided on.
    pub identity: Hash,
    /// How.
    pub verdict: Verdict,
    /// By whom; nobody when it was revoked for want of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonRef>,
    /// When.
    pub at: Instant,
    /// SHA-256 of what a refused trial asked and was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Hash>,
    /// What was noticed.
    pub flags: BTreeSet<Flag>,
}

/// The outcome of a campaign: evidence, to be signed by whoever runs Creta. Reasons stay in the campaign, whose digest it
/// names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewResult {
    /// [`REVIEW_FORMAT`].
    pub format: String,
    /// Which campaign.
    pub campaign: RecordId,
    /// SHA-256 of the closed campaign.
    pub campaign_digest: Hash,
    /// The occurrence of its cadence.
    pub occurrence: String,
    /// When it was opened.
    pub opened: Instant,
    /// When it was closed.
    pub closed: Instant,
    /// Population when it was opened.
    pub population_before: Hash,
    /// Population when it was closed.
    pub population_after: Hash,
    /// How many kept their rights.
    pub kept: usize,
    /// How many lost them.
    pub revoked: usize,
    /// How many of those for want of an answer.
    pub unanswered: usize,
    /// Ordered by subject, one for each identity.
    pub lines: Vec<ReviewLine>,
}

document!(ReviewResult, REVIEW_FORMAT);

impl ReviewResult {
    pub(crate) fn broken_rule(&self) -> Option<&'static str> {
        let of = |verdict| self.lines.iter().filter(|line| line.verdict == verdict).count();
        if self.kept != of(Verdict::Keep) || self.revoked != of(Verdict::Revoke) {
            Some("its sums are not those of its lines")
        } else if self.unanswered != self.lines.iter().filter(|line| line.by.is_none()).count() {
            Some("its unanswered lines are not as many as it says")
        } else if self.lines.iter().any(|line| line.verdict == Verdict::Revoke && line.probe.is_none()) {
            Some("a revocation was never tried")
        } else {
            None
        }
    }
}

/// What came of trying to close.
#[derive(Debug, Clone, PartialEq)]
pub enum Closing {
    /// It is closed. The result is to be signed and stored with it.
    Closed(Change<Campaign>, Box<ReviewResult>),
    /// Something is undone. The campaign is to be stored all the same: it knows now who came, went and changed.
    NotYet(Change<Campaign>, Vec<(SubjectId, Pending)>),
}

impl Campaign {
    /// Holds the campaign against a fresh population. Whoever came or gained something since is in it afterwards, flagged
    /// and undecided; whoever vanished stays in it.
    pub fn reconcile(&self, fresh: &Population, now: Instant) -> Result<Change<Self>, CampaignError> {
        self.require_open()?;
        fresh.require_usable(now)?;
        if fresh.snapshot_at < self.snapshot_at {
            return Err(CampaignError::Population { rule: "it is older than the one under review" });
        }
        let mut document = self.clone();
        for line in &mut document.lines {
            match fresh.find(&line.identity.subject) {
                Some(identity) => line.meet(identity, fresh.snapshot_at, now),
                None => line.miss(),
            }
        }
        let known: BTreeSet<&SubjectId> = self.lines.iter().map(|line| &line.identity.subject).collect();
        let added = fresh.identities.iter().filter(|identity| !known.contains(&identity.subject));
        let added: Vec<Line> =
            added.map(|identity| Line::new(identity.clone(), now, BTreeSet::from([Flag::Added]))).collect();
        let count = added.len();
        document.lines.extend(added);
        document.lines.sort_by(|a, b| a.identity.subject.cmp(&b.identity.subject));
        let flagged = |flag: Flag| document.lines.iter().filter(|line| line.flags.contains(&flag)).count();
        let entry = document
            .describe("review.reconciled")
            .digest("population-after", fresh.digest())
            .at("snapshot-at", fresh.snapshot_at)
            .count("added", count)
            .count("vanished", flagged(Flag::Vanished))
            .count("changed", flagged(Flag::Changed))
            .count("still-there", flagged(Flag::StillThere));
        Ok(Change { document, entry })
    }

    /// Closes the campaign if nothing is undone after holding it against a fresh population.
    pub fn close(&self, fresh: &Population, now: Instant) -> Result<Closing, CampaignError> {
        let reconciled = self.reconcile(fresh, now)?;
        let pending = |line: &Line| Some((line.identity.subject.clone(), line.pending()?));
        let undone: Vec<_> = reconciled.document.lines.iter().filter_map(pending).collect();
        if !undone.is_empty() {
            return Ok(Closing::NotYet(reconciled, undone));
        }
        let document = Self { closed: Some(now), ..reconciled.document };
        let result = document.result(fresh.digest(), now);
        let entry = document
            .describe("review.closed")
            .digest("population-after", result.population_after)
            .digest("result", digest(&result))
            .count("kept", result.kept)
            .count("revoked", result.revoked)
            .count("unanswered", result.unanswered);
        Ok(Closing::Closed(Change { document, entry }, Box::new(result)))
    }

    fn result(&self, population_after: Hash, closed: Instant) -> ReviewResult {
        let line = |line: &Line| {
            let decision = line.decision.as_ref().expect("a line without a decision keeps a campaign open");
            ReviewLine {
                subject: line.identity.subject.clone(),
                identity: line.digest(),
                verdict: decision.verdict,
                by: decision.by.clone(),
                at: decision.at,
                probe: line.probe.as_ref().map(|probe| probe.raw),
                flags: line.flags.clone(),
            }
        };
        let lines: Vec<ReviewLine> = self.lines.iter().map(line).collect();
        let of = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
        ReviewResult {
            format: REVIEW_FORMAT.to_owned(),
            campaign: self.id,
            campaign_digest: digest(self),
            occurrence: self.occurrence.clone(),
            opened: self.opened,
            closed,
            population_before: self.population,
            population_after,
            kept: of(Verdict::Keep),
            revoked: of(Verdict::Revoke),
            unanswered: lines.iter().filter(|line| line.by.is_none()).count(),
            lines,
        }
    }
}

impl Line {
    /// The subject is in a fresh population.
    fn meet(&mut self, fresh: &Identity, snapshot_at: Instant, now: Instant) {
        let is_revoked = self.decision.as_ref().is_some_and(|decision| decision.verdict == Verdict::Revoke);
        let refused = self.probe.as_ref().is_some_and(|probe| probe.tried == Tried::Refused && probe.at <= snapshot_at);
        if is_revoked && refused && !fresh.rights.is_empty() {
            // The probe was refused, and yet there are rights: they came back, or the probe tried something else.
            self.flags.insert(Flag::StillThere);
            self.probe = None;
        }
        let gained = !fresh.rights.is_subset(&self.identity.rights)
            || !fresh.people.is_subset(&self.identity.people)
            || !fresh.granted_by.is_subset(&self.identity.granted_by);
        if gained {
            self.identity = fresh.clone();
            self.flags.insert(Flag::Changed);
            (self.decision, self.probe, self.since) = (None, None, now);
        }
    }

    /// The subject is in no fresh population. That is what a revocation is for; otherwise somebody took it out of sight.
    fn miss(&mut self) {
        if self.decision.as_ref().is_none_or(|decision| decision.verdict == Verdict::Keep) {
            self.flags.insert(Flag::Vanished);
        }
    }
}
