//! The doors for people outside: a contact that is in date, and reports that arrive (CI-29, CH-63).

use creta_compliance::{Observation, SecurityTxt as File};
use creta_iam::{Action, FeatureSet};
use creta_model::{Instant, Span};
use serde_json::json;

use super::{Check, Seen, World};
use crate::context::resource;
use crate::trust::contact::{self, RENEWED_BEFORE};
use crate::trust::intake::{self, ACKNOWLEDGED_WITHIN, Step, Verdict};
use crate::trust::probes::system;

pub(super) struct SecurityTxt;

impl Check for SecurityTxt {
    fn id(&self) -> &'static str {
        "security-txt"
    }

    /// A file that has expired.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let now = world.app.control.platform().clock.now();
        let expired = format!(
            "Contact: mailto:security@example.org\nExpires: {}\n",
            Instant::parse("2020-01-01T00:00:00Z").expect("valid")
        );
        Ok(!judge(&expired, now).0.findings.is_empty())
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let reply = world.client.get("/.well-known/security.txt", None)?;
        let now = world.app.control.platform().clock.now();
        let mut seen = judge(&reply.body, now);
        if reply.status != 200 {
            seen.0.findings.clear();
            seen.finding(SUBJECT, "security-txt/absent", "no contact for security issues is published; set one");
        }
        let signed = contact::signed(&world.app.control).map_err(|problem| problem.to_string())?;
        if signed.as_ref().is_some_and(|signed| now >= signed.expires.minus(RENEWED_BEFORE)) {
            seen.finding(SUBJECT, "security-txt/renew", "the signed contact runs out within a month; sign it anew");
        } else if signed.as_ref().is_some_and(|signed| signed.text != reply.body) {
            seen.finding(SUBJECT, "security-txt/outdated", "the signed contact is not what the configuration says");
        }
        Ok(seen.raw(json!({ "status": reply.status, "text": reply.body, "signed": signed.is_some() })))
    }
}

const SUBJECT: &str = "flow:public";

fn judge(text: &str, now: Instant) -> Seen {
    let mut seen = Seen::default();
    seen.subject(SUBJECT);
    if let Err(error) = File::parse(text, now) {
        seen.finding(SUBJECT, "security-txt/invalid", error.to_string());
    }
    seen
}

pub(super) struct ReportIntake;

impl Check for ReportIntake {
    fn id(&self) -> &'static str {
        "report-intake"
    }

    /// A report that was never sent, looked for as if it had arrived, and one that nobody acknowledged in time.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let control = &world.app.control;
        let now = control.platform().clock.now();
        let overdue = intake::Report {
            format: String::new(),
            reference: "0".repeat(24),
            received_at: now.minus(ACKNOWLEDGED_WITHIN).minus(Span::seconds(1)),
            title: String::new(),
            description: String::new(),
            contact: String::new(),
            urgent: false,
            tenant: None,
            same_as: None,
            intake: None,
            acknowledged_at: None,
            decided: None,
        };
        Ok(intake::find(control, &overdue.reference).is_err() && overdue.overdue(now).is_some())
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let control = &world.app.control;
        let mut seen = Seen::default();
        seen.subject(SUBJECT);
        // Sent by the door that people use, except that it does not count against this machine's allowance.
        let arrived = world.app.trust.gate.probing(|| {
            let headers = [("content-type", "application/json")];
            let body = json!({"title": "probe", "description": "sent by a check to see whether reports arrive"});
            world.client.send("POST", "/trust/report", &headers, Some(&body.to_string()))
        })?;
        let reference = arrived.json()["reference"].as_str().unwrap_or_default().to_owned();
        if arrived.status != 201 || intake::find(control, &reference).is_err() {
            seen.finding(SUBJECT, "intake/lost", "a report that was sent did not arrive");
        } else {
            let asked = control.decide(
                &system(world.app),
                Action::ReportDecide,
                &resource(&control.place(), FeatureSet::none()),
            );
            let permit = control.admit(asked, creta_audit::Details::none()).map_err(|problem| problem.to_string())?;
            let step = Step::Decide(Verdict::Probe, "sent by a check".to_owned());
            intake::step(control, &reference, step, &permit).map_err(|problem| problem.to_string())?;
        }
        let now = control.platform().clock.now();
        let reports = intake::all(control).map_err(|problem| problem.to_string())?;
        for (report, _) in &reports {
            seen.subject(format!("report:{}", &report.reference[..6]));
            if let Some(what) = report.overdue(now) {
                let subject = format!("report:{}", &report.reference[..6]);
                seen.finding(&subject, "intake/overdue", format!("a report of a security issue {what}"));
            }
        }
        let undecided = reports.iter().filter(|(report, _)| report.decided.is_none()).count();
        let intakes = world.app.trust.intakes.look(&mut seen);
        if world.app.trust.pager.failing().is_some() {
            seen.finding(SUBJECT, "intake/nobody-paged", "nobody on call accepted the newest page");
        }
        Ok(seen.raw(json!({ "reports": reports.len(), "undecided": undecided, "intakes": intakes })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ci29_a_contact_that_has_run_out_or_is_of_no_use_is_found() {
        let now = Instant::parse("2026-01-01T00:00:00Z").expect("valid");
        let found = |text: &str| judge(text, now).0.findings.len();
        assert_eq!(found("Contact: mailto:security@example.org\r\nExpires: 2026-01-01T00:00:01Z\r\n"), 0);
        for bad in [
            "Contact: mailto:security@example.org\r\nExpires: 2026-01-01T00:00:00Z\r\n",
            "Contact: mailto:security@example.org\r\nExpires: 2027-01-02T00:00:00Z\r\n",
            "Contact: mailto:security@example.org\r\n",
            "Contact: http://example.org/report\r\nExpires: 2026-06-01T00:00:00Z\r\n",
            "Contact: mailto:nobody\r\nExpires: 2026-06-01T00:00:00Z\r\n",
            "Expires: 2026-06-01T00:00:00Z\r\n",
            "<html>not found</html>",
            "",
        ] {
            assert_eq!(found(bad), 1, "{bad}");
        }
    }
}
