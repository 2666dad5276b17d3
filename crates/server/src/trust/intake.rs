//! Reports of security issues: anybody may send one, every one is kept, acknowledged and decided on, and nobody can delete
//! one (CH-63, CI-29).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use creta_audit::{Details, Event, Permit};
use creta_compliance::page::{REPORT_CONTACT_CHARS_MAX, REPORT_DESCRIPTION_CHARS_MAX, REPORT_TITLE_CHARS_MAX};
use creta_model::{Instant, Problem, Span};
use creta_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, from_store, internal};

const KIND: &str = "security-report";
/// A report is acknowledged by a person within this time.
pub(crate) const ACKNOWLEDGED_WITHIN: Span = Span::hours(24);
/// A report is decided on within this time.
pub(crate) const DECIDED_WITHIN: Span = Span::days(14);
/// Reports from one address within [`MEMORY`].
const FROM_ADDRESS_MAX: u32 = 5;
/// Reports from everybody within [`MEMORY`], so that nobody fills the disk.
const FROM_ALL_MAX: u32 = 200;
const MEMORY: Duration = Duration::from_secs(3600);

/// What somebody sends. Text, and never anything else.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReport {
    pub(crate) title: String,
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) contact: String,
    /// Set by the form's checkbox.
    #[serde(default)]
    pub(crate) urgent: Option<String>,
}

impl NewReport {
    /// A checkbox that is set sends any text; programs may say no.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent.as_ref().is_some_and(|text| !matches!(text.as_str(), "" | "false" | "off" | "0"))
    }
}

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledged_at: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) decided: Option<Decided>,
}

impl Report {
    const FORMAT: &'static str = "creta.security-report/1";

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

/// Counts who sent how many, so that a flood does not drown the genuine one.
#[derive(Default)]
pub(crate) struct Intake {
    sent: Mutex<Counts>,
    unlimited: AtomicBool,
}

#[derive(Default)]
struct Counts {
    since: Duration,
    all: u32,
    from: HashMap<IpAddr, u32>,
}

impl Intake {
    /// Lets one report of this machine pass uncounted while `send` runs: checks send through the door that people use.
    pub(crate) fn without_limit<T>(&self, send: impl FnOnce() -> T) -> T {
        self.unlimited.store(true, Ordering::Release);
        let sent = send();
        self.unlimited.store(false, Ordering::Release);
        sent
    }

    /// Counts a report from `address`, or says that there were too many. `now` is monotonic time.
    fn count(&self, address: IpAddr, now: Duration) -> bool {
        if address.is_loopback() && self.unlimited.swap(false, Ordering::AcqRel) {
            return true;
        }
        let mut counts = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= counts.since + MEMORY {
            *counts = Counts { since: now, ..Counts::default() };
        }
        let from = counts.from.get(&address).copied().unwrap_or_default();
        if from >= FROM_ADDRESS_MAX || counts.all >= FROM_ALL_MAX {
            return false;
        }
        counts.all += 1;
        counts.from.insert(address, from + 1);
        true
    }
}

/// Takes a report. Durable, and in the log, when it returns.
pub(crate) fn receive(
    control: &ControlPlane,
    intake: &Intake,
    address: IpAddr,
    new: NewReport,
) -> Result<Report, Problem> {
    let limits = [
        ("title", &new.title, REPORT_TITLE_CHARS_MAX),
        ("description", &new.description, REPORT_DESCRIPTION_CHARS_MAX),
        ("contact", &new.contact, REPORT_CONTACT_CHARS_MAX),
    ];
    for (name, text, max) in limits {
        if text.chars().count() > max {
            return Err(Problem::new("too-large/report", format!("`{name}` has at most {max} characters")));
        }
    }
    if new.title.trim().is_empty() || new.description.trim().is_empty() {
        return Err(Problem::new("request/report", "a report needs a title and a description"));
    }
    let now = control.platform().clock.monotonic();
    if !intake.count(address, now) {
        return Err(Problem::new("busy/reports", "too many reports came in within the hour")
            .with_help("the contacts in `/.well-known/security.txt` still reach us"));
    }
    let mut reference = [0; 12];
    control.platform().random.fill(&mut reference);
    let urgent = new.is_urgent();
    let report = Report {
        format: Report::FORMAT.to_owned(),
        reference: hex::encode(reference),
        received_at: control.platform().clock.now(),
        title: new.title,
        description: new.description,
        contact: new.contact,
        urgent,
        acknowledged_at: None,
        decided: None,
    };
    let event = Event::new("report.received", control.place()).with(details(&report)?).for_commitment("CH-63");
    control.log().record(event).map_err(|e| from_audit(&e))?;
    control.metadata().write(KIND, &report.reference, None, &report.to_bytes()).map_err(|e| from_store(&e))?;
    if report.urgent {
        tracing::error!(reference = report.reference, "an urgent report of a security issue came in");
    }
    Ok(report)
}

fn details(report: &Report) -> Result<Details, Problem> {
    Details::none()
        .keyed("report", report.reference.as_bytes())
        .and_then(|details| details.name("urgent", if report.urgent { "yes" } else { "no" }))
        .map_err(|e| from_audit(&e))
}

/// The report of a reference.
pub(crate) fn find(control: &ControlPlane, reference: &str) -> Result<Report, Problem> {
    let document = control.metadata().read(KIND, reference).map_err(|e| from_store(&e))?;
    Report::from_bytes(&document.ok_or_else(|| missing(reference))?.body)
}

/// All reports, oldest first; those that checks sent are left out.
pub(crate) fn all(control: &ControlPlane) -> Result<Vec<Report>, Problem> {
    let documents = control.metadata().list(KIND).map_err(|e| from_store(&e))?;
    let mut reports =
        documents.iter().map(|document| Report::from_bytes(&document.body)).collect::<Result<Vec<_>, _>>()?;
    reports.retain(|report| report.decided.as_ref().is_none_or(|decided| decided.verdict != Verdict::Probe));
    reports.sort_by_key(|report| report.received_at);
    Ok(reports)
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
    fn a_flood_from_one_address_leaves_room_for_others() {
        let intake = Intake::default();
        let at = |text: &str| text.parse::<IpAddr>().expect("an address");
        let minute = Duration::from_secs(60);
        let taken = (0..50).filter(|_| intake.count(at("192.0.2.1"), minute)).count();
        assert_eq!(taken, 5);
        assert!(intake.count(at("192.0.2.2"), minute), "somebody else");
        assert!(intake.count(at("192.0.2.1"), minute + MEMORY), "an hour later");
    }

    #[test]
    fn a_flood_from_many_addresses_is_bounded() {
        let intake = Intake::default();
        let taken = (0..1000_u32).filter(|n| intake.count(IpAddr::from(n.to_be_bytes()), Duration::ZERO)).count();
        assert_eq!(taken, 200);
    }

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
