//! Reports of security issues: anybody may send one, every one is kept, acknowledged and decided on, and nobody can delete
//! one (CH-63, CI-29).

use std::collections::BTreeMap;
use std::net::IpAddr;

use creta_audit::{Details, Event, Permit};
use creta_model::{Instant, Problem, Span, TenantId};
use creta_proof::Hash;
use creta_store::StoreError;
use serde::{Deserialize, Serialize};

use super::{Trust, refusals};
use crate::control_plane::ControlPlane;
use crate::intake::{BUSY, NewReport, Promised, not_noted};
use crate::problem::{from_audit, from_store, internal};

const KIND: &str = "security-report";
/// A report is acknowledged by a person within this time.
pub(crate) const ACKNOWLEDGED_WITHIN: Span = Promised::ACKNOWLEDGED_WITHIN;
/// A report is decided on within this time.
pub(crate) const DECIDED_WITHIN: Span = Promised::DECIDED_WITHIN;

/// How a report was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It is an issue, and is worked on.
    Accepted,
    /// It is an issue that was known.
    Duplicate,
    /// It is none.
    Rejected,
    /// A check sent it to see whether reports arrive.
    Probe,
}

impl Verdict {
    /// For whoever sent the report.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "known before",
            Self::Rejected => "not an issue",
            Self::Probe => "sent by a check",
        }
    }
}

/// A decision with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decided {
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
    pub(crate) by: String,
    pub(crate) at: Instant,
}

/// How a report came in that this server's own form did not take. `received_at` is what that process signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CameBy {
    /// The intake's name.
    pub(crate) name: String,
    /// SHA-256 of the file that it spooled.
    pub(crate) spooled: Hash,
    /// When this server took it.
    pub(crate) picked_up_at: Instant,
}

/// A report as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    pub(crate) format: String,
    /// Random: whoever knows it may see how the report stands.
    pub(crate) reference: String,
    pub(crate) received_at: Instant,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) contact: String,
    pub(crate) urgent: bool,
    /// The tenant whose code it bears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<TenantId>,
    /// The report that said the same before. What is decided about that is decided about this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) same_as: Option<String>,
    /// By which process it came in; absent for this server's own form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) intake: Option<CameBy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledged_at: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) decided: Option<Decided>,
}

impl Report {
    pub(crate) const FORMAT: &'static str = "creta.security-report/1";

    /// `received`, `acknowledged` or `decided`.
    pub(crate) fn status(&self) -> &'static str {
        match (&self.decided, self.acknowledged_at) {
            (Some(_), _) => "decided",
            (None, Some(_)) => "acknowledged",
            (None, None) => "received",
        }
    }

    /// What is overdue at `now`.
    pub(crate) fn overdue(&self, now: Instant) -> Option<&'static str> {
        if self.decided.is_some() {
            None
        } else if self.acknowledged_at.is_none() && self.received_at.plus(ACKNOWLEDGED_WITHIN) < now {
            Some("was not acknowledged in time")
        } else if self.received_at.plus(DECIDED_WITHIN) < now {
            Some("was not decided in time")
        } else {
            None
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a report has a JSON form")
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Problem> {
        serde_json::from_slice(bytes).map_err(|error| crate::problem::logged("a stored report cannot be read", &error))
    }
}

/// Takes a report that came in by this server's own form. Durable, and in the log, when it returns.
pub(crate) fn receive(
    control: &ControlPlane,
    trust: &Trust,
    address: IpAddr,
    new: NewReport,
) -> Result<Report, Problem> {
    let platform = control.platform();
    let taken = new.take(&trust.gate, &trust.codes, address, (&*platform.clock, &*platform.random));
    let taken = taken.inspect_err(|problem| {
        if problem.code == BUSY {
            refusals::count(control, refusals::Kind::Report);
        }
    })?;
    let urgent = new.is_urgent();
    let report = Report {
        format: Report::FORMAT.to_owned(),
        reference: taken.reference,
        received_at: platform.clock.now(),
        title: new.title,
        description: new.description,
        contact: new.contact,
        urgent,
        tenant: taken.tenant,
        same_as: taken.same_as,
        intake: None,
        acknowledged_at: None,
        decided: None,
    };
    keep(control, &report)?;
    if let Some(urgency) = taken.urgency {
        trust.pager.ask(&report.reference, report.received_at, urgency).map_err(|error| not_noted(&error))?;
        if report.urgent {
            tracing::error!(reference = report.reference, "an urgent report of a security issue came in");
        }
    }
    Ok(report)
}

/// Makes a case: the log first, then the document. Harmless when repeated.
pub(super) fn keep(control: &ControlPlane, report: &Report) -> Result<(), Problem> {
    let event = Event::new("report.received", control.place()).with(details(report)?).for_commitment("CH-63");
    control.log().record(event).map_err(|e| from_audit(&e))?;
    match control.metadata().write(KIND, &report.reference, None, &report.to_bytes()) {
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(from_store(&error)),
    }
}

/// Whether there is a case of this reference.
pub(super) fn is_kept(control: &ControlPlane, reference: &str) -> Result<bool, Problem> {
    Ok(control.metadata().read(KIND, reference).map_err(|e| from_store(&e))?.is_some())
}

fn details(report: &Report) -> Result<Details, Problem> {
    let mut details = Details::none()
        .keyed("report", report.reference.as_bytes())
        .and_then(|details| details.name("urgent", if report.urgent { "yes" } else { "no" }))
        .and_then(|details| details.instant("received-at", report.received_at))
        .map_err(|e| from_audit(&e))?;
    if let Some(intake) = &report.intake {
        details = details
            .name("intake", intake.name.clone())
            .and_then(|details| details.digest("spooled", *intake.spooled.as_bytes()))
            .map_err(|e| from_audit(&e))?;
    }
    Ok(details)
}

/// The report of a reference. One that said what another said before stands as that one does.
pub(crate) fn find(control: &ControlPlane, reference: &str) -> Result<Report, Problem> {
    let read = |reference: &str| control.metadata().read(KIND, reference).map_err(|e| from_store(&e));
    let mut report = Report::from_bytes(&read(reference)?.ok_or_else(|| missing(reference))?.body)?;
    if let (Some(first), None) = (&report.same_as, &report.decided)
        && let Some(first) = read(first)?
    {
        let first = Report::from_bytes(&first.body)?;
        report.acknowledged_at = report.acknowledged_at.or(first.acknowledged_at);
        report.decided = first.decided;
    }
    Ok(report)
}

/// All reports, oldest first, each with how many said the same after it; those that checks sent are left out.
pub(crate) fn all(control: &ControlPlane) -> Result<Vec<(Report, usize)>, Problem> {
    let documents = control.metadata().list(KIND).map_err(|e| from_store(&e))?;
    let mut reports =
        documents.iter().map(|document| Report::from_bytes(&document.body)).collect::<Result<Vec<_>, _>>()?;
    reports.retain(|report| report.decided.as_ref().is_none_or(|decided| decided.verdict != Verdict::Probe));
    reports.sort_by(|a, b| (a.received_at, &a.reference).cmp(&(b.received_at, &b.reference)));
    let mut again: BTreeMap<String, usize> = reports.iter().map(|report| (report.reference.clone(), 0)).collect();
    reports.retain(|report| {
        // Alone where the first of its group never arrived, or where somebody decided about it by itself.
        let first = report.same_as.as_ref().filter(|_| report.decided.is_none());
        first.and_then(|first| again.get_mut(first)).map(|count| *count += 1).is_none()
    });
    Ok(reports
        .into_iter()
        .map(|report| {
            let count = again.get(&report.reference).copied().unwrap_or_default();
            (report, count)
        })
        .collect())
}

/// What a person, or a check that sent it, does about a report.
pub(crate) enum Step {
    /// A person has read it.
    Acknowledge,
    /// It is decided, with a reason that whoever sent it may read.
    Decide(Verdict, String),
}

/// Takes a step. What was decided stays decided.
pub(crate) fn step(control: &ControlPlane, reference: &str, step: Step, permit: &Permit) -> Result<Report, Problem> {
    let document = control.metadata().read(KIND, reference).map_err(|e| from_store(&e))?;
    let document = document.ok_or_else(|| missing(reference))?;
    let mut report = Report::from_bytes(&document.body)?;
    if report.decided.is_some() {
        return Err(Problem::new("conflict/report", "this report was decided on already; decisions stay"));
    }
    let now = control.platform().clock.now();
    let name = match step {
        Step::Acknowledge => {
            report.acknowledged_at = report.acknowledged_at.or(Some(now));
            "report.acknowledged"
        }
        Step::Decide(verdict, reason) => {
            if reason.trim().is_empty() {
                return Err(Problem::new("request/reason", "a decision needs a reason"));
            }
            report.acknowledged_at = report.acknowledged_at.or(Some(now));
            report.decided = Some(Decided { verdict, reason, by: permit.principal().id().to_string(), at: now });
            "report.decided"
        }
    };
    let event = Event::of(permit, name).with(details(&report)?).for_commitment("CH-63");
    control.log().record(event).map_err(|e| from_audit(&e))?;
    let written = control.metadata().write(KIND, reference, Some(document.version), &report.to_bytes());
    written.map_err(|error| match error {
        StoreError::Conflict { .. } => {
            Problem::new("conflict/report", "somebody else took a step at the same time; look again")
        }
        other => from_store(&other),
    })?;
    Ok(report)
}

fn missing(reference: &str) -> Problem {
    if reference.is_empty() {
        return internal();
    }
    Problem::new("not-found/report", "there is no report of this reference")
        .with_help("the reference stands on the page that was shown when the report came in")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_until_a_decision() {
        let at = |text: &str| Instant::parse(text).expect("an instant");
        let mut report = Report {
            format: Report::FORMAT.to_owned(),
            reference: "00".to_owned(),
            received_at: at("2026-01-01T00:00:00Z"),
            title: "t".to_owned(),
            description: "d".to_owned(),
            contact: String::new(),
            urgent: false,
            tenant: None,
            same_as: None,
            intake: None,
            acknowledged_at: None,
            decided: None,
        };
        assert_eq!(report.overdue(at("2026-01-02T00:00:00Z")), None);
        assert_eq!(report.overdue(at("2026-01-02T00:00:01Z")), Some("was not acknowledged in time"));
        report.acknowledged_at = Some(at("2026-01-01T01:00:00Z"));
        assert_eq!(report.overdue(at("2026-01-15T00:00:00Z")), None);
        assert_eq!(report.overdue(at("2026-01-15T00:00:01Z")), Some("was not decided in time"));
        let decided = Decided {
            verdict: Verdict::Rejected,
            reason: "r".to_owned(),
            by: "admin".to_owned(),
            at: at("2026-01-16T00:00:00Z"),
        };
        report.decided = Some(decided);
        assert_eq!(report.overdue(at("2027-01-01T00:00:00Z")), None);
    }
}
