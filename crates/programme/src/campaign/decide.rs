//! Deciding on lines, and trying what was revoked.

use creta_model::{Instant, Span};
use creta_proof::Hash;

use super::{Campaign, CampaignError, Decision, Flag, Line, Probe, Tried, UNANSWERED_AFTER, Verdict};
use crate::access::Reason;
use crate::draft::Change;
use crate::{PersonId, PersonRef, SubjectId};

/// Looking at a line takes at least so long.
pub const DECISION_PACE: Span = Span::seconds(2);
/// So many decisions may come faster than that before the next is refused. One more is allowed for every
/// [`DECISION_PACE`] that passes.
pub const DECISION_BURST: i64 = 3;

/// A line on which none of the reviewers may decide, so that somebody else has to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// Which line.
    pub subject: SubjectId,
    /// Why each of them may not, in their order.
    pub conflicts: Vec<(PersonId, &'static str)>,
}

impl Campaign {
    /// A reviewer decides on a line. `seen` is [`Line::digest`] as shown to them. That they may review at all is for the
    /// caller to know.
    pub fn decide(
        &self,
        (subject, seen): (&SubjectId, Hash),
        by: &PersonRef,
        verdict: Verdict,
        reason: &str,
        now: Instant,
    ) -> Result<Change<Self>, CampaignError> {
        self.require_open()?;
        let index = self.index_of(subject)?;
        let line = &self.lines[index];
        if let Some(rule) = line.conflict(&by.person) {
            return Err(CampaignError::Conflict { person: by.person.clone(), subject: subject.clone(), rule });
        }
        let tightens = |decision: &Decision| decision.verdict == Verdict::Keep && verdict == Verdict::Revoke;
        if line.decision.as_ref().is_some_and(|decision| !tightens(decision)) {
            return Err(CampaignError::Decided { subject: subject.clone() });
        }
        if seen != line.digest() {
            return Err(CampaignError::Changed { subject: subject.clone() });
        }
        let reason = Reason::without_ticket(reason)?;
        let pace = Pace::of(&self.pace, &by.person);
        if !pace.allows(now) {
            return Err(CampaignError::TooFast);
        }
        let mut document = self.clone();
        let line = &mut document.lines[index];
        let reason = reason.as_str().to_owned();
        line.decision = Some(Decision { verdict, by: Some(by.clone()), at: now, reason: reason.clone() });
        if pace.is_hasty(now) {
            line.flags.insert(Flag::Hasty);
        }
        let hasty = usize::from(line.flags.contains(&Flag::Hasty));
        document.pace.push((by.person.clone(), now));
        let action = match verdict {
            Verdict::Keep => "review.kept",
            Verdict::Revoke => "review.revoked",
        };
        let entry = document
            .describe(action)
            .name("subject", subject)
            .digest("identity", seen)
            .name("by", by)
            .count("hasty", hasty);
        Ok(Change { document, entry: entry.keyed("reason", &reason) })
    }

    /// Revokes what nobody decided on for [`UNANSWERED_AFTER`]; the caller takes the rights away. `None` when there is
    /// nothing to revoke.
    pub fn revoke_unanswered(&self, now: Instant) -> Option<(Change<Self>, Vec<SubjectId>)> {
        let mut document = self.clone();
        let mut subjects = Vec::new();
        let is_over = |line: &Line| line.decision.is_none() && line.since.plus(UNANSWERED_AFTER) <= now;
        for line in document.lines.iter_mut().filter(|line| self.closed.is_none() && is_over(line)) {
            let reason = "nobody decided within 14 days".to_owned();
            line.decision = Some(Decision { verdict: Verdict::Revoke, by: None, at: now, reason });
            line.flags.insert(Flag::Unanswered);
            subjects.push(line.identity.subject.clone());
        }
        if subjects.is_empty() {
            return None;
        }
        let entry = document.describe("review.unanswered").count("revoked", subjects.len());
        Some((Change { document, entry }, subjects))
    }

    /// Records what came of trying the rights of a revoked line. A trial that was allowed is kept and flagged; the line
    /// stays undone until one is refused.
    pub fn probed(&self, subject: &SubjectId, probe: Probe, now: Instant) -> Result<Change<Self>, CampaignError> {
        self.require_open()?;
        let index = self.index_of(subject)?;
        let refused = |rule| Err(CampaignError::Probe { subject: subject.clone(), rule });
        let revoked_at = match &self.lines[index].decision {
            Some(decision) if decision.verdict == Verdict::Revoke => decision.at,
            _ => return refused("nothing was revoked"),
        };
        if probe.at < revoked_at {
            return refused("it is from before the revocation");
        }
        if now < probe.at {
            return refused("it is from the future");
        }
        let mut document = self.clone();
        let line = &mut document.lines[index];
        let tried = match probe.tried {
            Tried::Refused => "refused",
            Tried::Allowed => {
                line.flags.insert(Flag::StillThere);
                "allowed"
            }
        };
        let entry =
            self.describe("review.probed").name("subject", subject).name("tried", tried).digest("raw", probe.raw);
        line.probe = Some(probe);
        Ok(Change { document, entry })
    }

    /// Undecided lines on which none of `reviewers` may decide.
    pub fn escalations(&self, reviewers: &[PersonRef]) -> Vec<Escalation> {
        let of = |line: &Line| {
            let conflict = |who: &PersonRef| Some((who.person.clone(), line.conflict(&who.person)?));
            let conflicts: Option<Vec<_>> = reviewers.iter().map(conflict).collect();
            Some(Escalation { subject: line.identity.subject.clone(), conflicts: conflicts? })
        };
        self.lines.iter().filter(|line| line.decision.is_none()).filter_map(of).collect()
    }
}

/// The decisions of one human so far. Counts persons, so a second account does not make anybody faster.
struct Pace {
    /// Microseconds' worth of decisions ahead of [`DECISION_PACE`], and when that was.
    ahead: Option<(i64, Instant)>,
}

impl Pace {
    fn of(decisions: &[(PersonId, Instant)], person: &PersonId) -> Self {
        let own = decisions.iter().filter(|(who, _)| who == person);
        own.fold(Self { ahead: None }, |pace, (_, at)| Self {
            ahead: Some((pace.ahead_at(*at) + DECISION_PACE.micros(), *at)),
        })
    }

    /// How far ahead they are at `at`, after time has passed.
    fn ahead_at(&self, at: Instant) -> i64 {
        self.ahead.map_or(0, |(ahead, last)| (ahead - (at.micros() - last.micros()).max(0)).max(0))
    }

    fn is_hasty(&self, now: Instant) -> bool {
        self.ahead.is_some_and(|(_, last)| now < last.plus(DECISION_PACE))
    }

    fn allows(&self, now: Instant) -> bool {
        self.ahead_at(now) <= DECISION_BURST * DECISION_PACE.micros()
    }
}
