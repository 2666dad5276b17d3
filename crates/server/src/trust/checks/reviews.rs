//! Access is gone through every quarter, by people, and what they take away is gone (CI-24).

use std::collections::BTreeSet;

use creta_compliance::Observation;
use creta_model::{Instant, Span};
use creta_programme::campaign::{Campaign, Identity, Pending, Population, UNANSWERED_AFTER};
use creta_programme::{PersonId, RecordId, SubjectId};
use serde_json::json;

use super::{Check, Seen, World};

/// A review opens by itself within a minute of its quarter; so long after, it is missing.
const OPENED_WITHIN: Span = Span::hours(1);

pub(super) struct AccessReviews;

impl Check for AccessReviews {
    fn id(&self) -> &'static str {
        "access-reviews"
    }

    /// A quarter without a review, and a review that nobody answered for two weeks.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let now = world.app.control.platform().clock.now();
        let notices = |campaigns: &[Campaign], code: &str| {
            let seen = look("access-review@planted", campaigns, now);
            seen.0.findings.iter().any(|finding| finding.code == code)
        };
        let unanswered = planted(now.minus(UNANSWERED_AFTER).minus(Span::seconds(1)))?;
        Ok(notices(&[], "review/not-opened") && notices(&[unanswered], "review/unanswered"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let (control, people) = (&world.app.control, &world.app.people);
        let now = control.platform().clock.now();
        let due = people.review_due(control, now.minus(OPENED_WITHIN), now).map_err(|problem| problem.message)?;
        let due = due.ok_or("no quarter has begun since there was anybody to decide about")?;
        let campaigns = people.reviews.all();
        let lines: usize = campaigns.iter().map(|campaign| campaign.lines.len()).sum();
        Ok(look(&due, &campaigns, now).raw(json!({ "reviews": campaigns.len(), "lines": lines })))
    }
}

/// Whether the quarter that began last has its review, and every review is decided on and carried out in time.
fn look(due: &str, campaigns: &[Campaign], now: Instant) -> Seen {
    let mut seen = Seen::default();
    seen.subject(due);
    if !campaigns.iter().any(|campaign| campaign.occurrence == due) {
        seen.finding(due, "review/not-opened", "a quarter has begun, and its review was not opened");
    }
    for campaign in campaigns {
        let subject = campaign.occurrence.as_str();
        seen.subject(subject);
        let lacks = |what: Pending| campaign.lines.iter().filter(|line| line.pending() == Some(what)).count();
        let overdue = campaign.closed.is_none() && campaign.opened.plus(UNANSWERED_AFTER) < now;
        if overdue && lacks(Pending::Decision) > 0 {
            let says =
                format!("nobody decided on {} of {} for two weeks", lacks(Pending::Decision), campaign.lines.len());
            seen.finding(subject, "review/unanswered", says);
        }
        if campaign.closed.is_none() && lacks(Pending::Probe) > 0 {
            let says = format!("{} were revoked and can still do something", lacks(Pending::Probe));
            seen.finding(subject, "review/not-carried-out", says);
        }
    }
    seen
}

/// A review of one account that was opened at `opened`.
fn planted(opened: Instant) -> Result<Campaign, String> {
    let subject = |text: &str| SubjectId::parse(text).map_err(|error| error.to_string());
    let somebody = creta_iam::PrincipalId::parse("planted").map_err(|error| error.to_string())?;
    let identity = Identity {
        subject: subject("person:planted")?,
        people: BTreeSet::from([PersonId::new(somebody)]),
        granted_by: BTreeSet::new(),
        rights: BTreeSet::from([subject("operator@planted")?]),
    };
    let population = Population::new(opened, vec![identity]);
    let change = Campaign::open(RecordId::from_bytes([0; 16]), "access-review@planted", &population, opened);
    change.map(|change| change.document).map_err(|error| error.to_string())
}
