//! Whether every grant stands in the log: who asked, who approved which terms, when it began and that it ended; and whether its
//! approvals were signed as they stand (CH-43).

use creta_audit::Entry;
use creta_compliance::Observation;
use creta_programme::access::{Grant, GrantState};
use serde_json::json;

use super::{Check, Seen, World};
use crate::http::App;
use crate::witness::entries_of;

/// Older releases had a word for requests that were changed.
const ASKED: [&str; 2] = ["access.request.opened", "access.request.amended"];
const APPROVED: &str = "access.request.approved";
const BEGUN: &str = "access.grant.activated";
const OVER: [&str; 3] = ["access.grant.returned", "access.grant.revoked", "access.grant.expired"];

pub(super) struct AccessGrants;

/// What a grant says of itself, as entries say it.
struct Facts {
    grant: String,
    request: String,
    terms: String,
    orders: Vec<String>,
    over: bool,
    /// What is wrong with the signatures under its approvals.
    unproven: Option<&'static str>,
}

impl Facts {
    fn of(app: &App, grant: &Grant) -> Result<Self, String> {
        let over = grant.state != GrantState::Active;
        let signed = grant.approvals.iter().any(|approval| approval.signature.is_some());
        // Of grants that are over, those of older releases were never signed.
        let unproven = match over && !signed {
            true => None,
            false => app.people.unproven(&app.control, &grant.terms, &grant.approvals).map_err(|e| e.to_string())?,
        };
        Ok(Self {
            grant: grant.id.to_string(),
            request: grant.terms.request.to_string(),
            terms: format!("sha256:{}", grant.terms.digest()),
            orders: grant.approvals.iter().map(|approval| approval.order.to_string()).collect(),
            over,
            unproven: unproven.map(|(_, rule)| rule),
        })
    }
}

impl Check for AccessGrants {
    fn id(&self) -> &'static str {
        "access-grants"
    }

    /// A grant of which no entry speaks, held against the log beside the real ones.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let none = || "0".repeat(32);
        let planted = Facts {
            grant: none(),
            request: none(),
            terms: none(),
            orders: vec![none()],
            over: true,
            unproven: Some("nobody signed it"),
        };
        let seen = look(&[planted], &entries(world)?);
        let found = |code: &str| seen.0.findings.iter().filter(|finding| finding.code == code).count();
        Ok(found("access/grant-unrecorded") >= 4 && found("access/grant-unproven") == 1)
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        // The documents first: a grant whose entry was written meanwhile is in neither or in the log alone.
        let grants = world.app.people.access.grants(|_| true);
        let grants: Vec<Facts> = grants.iter().map(|grant| Facts::of(world.app, grant)).collect::<Result<_, _>>()?;
        let entries = entries(world)?;
        let mut seen = look(&grants, &entries);
        let known = |entry: &Entry| grants.iter().any(|facts| Some(&facts.grant) == entry.details.get("grant"));
        let begun: Vec<&Entry> = entries.iter().filter(|entry| entry.action == BEGUN).collect();
        let unkept = begun.iter().filter(|entry| !known(entry)).count();
        // A grant may begin while this looks; more than a few are documents that somebody took away.
        let later = world.app.people.access.grants(|_| true).len().saturating_sub(grants.len());
        seen.subject("entries");
        if unkept > later {
            let says =
                format!("{} of {} grants that the log saw begin are not kept any more", unkept - later, begun.len());
            seen.finding("entries", "access/grant-unkept", says);
        }
        Ok(seen.raw(json!({ "grants": grants.len(), "begun": begun.len() })))
    }
}

fn entries(world: &World<'_>) -> Result<Vec<Entry>, String> {
    let actions = [&ASKED[..], &[APPROVED, BEGUN], &OVER[..]].concat();
    let found = entries_of(world.app.control.log(), &actions).map_err(|error| error.to_string())?;
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}

/// Grants are named by their random ids, people not at all: the trust page is everybody's.
fn look(grants: &[Facts], entries: &[Entry]) -> Seen {
    let mut seen = Seen::default();
    for facts in grants {
        let subject = format!("grant:{}", facts.grant);
        seen.subject(&subject);
        let says = |actions: &[&str], details: &[(&str, &str)]| {
            entries.iter().filter(|entry| actions.contains(&entry.action.as_str())).any(|entry| {
                details.iter().all(|(key, value)| entry.details.get(*key).is_some_and(|given| given == value))
            })
        };
        let (grant, terms) = (("grant", facts.grant.as_str()), ("terms", facts.terms.as_str()));
        let mut stages = vec![
            ("that it was asked for", says(&ASKED, &[("request", &facts.request), terms])),
            ("that it began", says(&[BEGUN], &[grant, terms])),
        ];
        stages.extend(
            facts.orders.iter().map(|order| ("an approval of it", says(&[APPROVED], &[("order", order), terms]))),
        );
        if facts.over {
            stages.push(("that it ended", says(&OVER, &[grant])));
        }
        if let Some(rule) = facts.unproven {
            seen.finding(&subject, "access/grant-unproven", format!("an approval of it does not count: {rule}"));
        }
        for (what, _) in stages.into_iter().filter(|(_, stands)| !stands) {
            seen.finding(&subject, "access/grant-unrecorded", format!("no entry of the log says {what}"));
        }
    }
    seen
}
