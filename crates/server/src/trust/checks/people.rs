//! Whether everybody who can act here is somebody whom the organisation's directory knows.

use creta_compliance::Observation;
use creta_iam::PrincipalId;
use creta_identity::oidc::Identity;
use serde_json::json;

use super::{Check, Seen, World};
use crate::people::PersonRecord;

pub(super) struct OrphanAccounts;

impl Check for OrphanAccounts {
    fn id(&self) -> &'static str {
        "orphan-accounts"
    }

    /// An account that nobody vouches for, looked at beside the real ones by what looks at these.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let people = &world.app.people;
        let id = PrincipalId::parse("trust-check-person").map_err(|error| error.to_string())?;
        let mut planted = PersonRecord::new(id.clone(), None, world.app.control.platform().clock.now());
        planted.identity =
            Some(Identity { issuer: "https://planted.invalid".to_owned(), subject: "planted".to_owned() });
        let among = people.persons().into_iter().chain([planted]).collect();
        let orphans = people.unvouched_among(among).map_err(|problem| problem.message)?;
        if !orphans.iter().any(|person| person.id == id) {
            return Ok(false);
        }
        let seen = look(&["planted".to_owned()], &["planted".to_owned()], (1, 1));
        let noticed = |code: &str| seen.findings.iter().any(|finding| finding.code == code);
        Ok(["people/orphan", "people/ended-here", "people/withheld"].into_iter().all(noticed))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let people = &world.app.people;
        let all: Vec<String> = people.persons().iter().filter(|p| p.is_active()).map(|p| p.id.to_string()).collect();
        let orphans = people.orphans().map_err(|problem| problem.message)?;
        let orphans: Vec<String> = orphans.iter().map(|person| person.id.to_string()).collect();
        Ok(look(&all, &orphans, people.kept_apart().map_err(|problem| problem.message)?))
    }
}

/// People are counted and not named: the trust page is everybody's.
fn look(all: &[String], orphans: &[String], (ended, withheld): (usize, usize)) -> Observation {
    let mut seen = Seen::default();
    seen.subject("people");
    if !orphans.is_empty() {
        let says = format!(
            "{} of {} accounts stand although the directory does not vouch for them; \
             compare `creta person list` with the directory, and end them with `creta person leave`",
            orphans.len(),
            all.len(),
        );
        seen.finding("people", "people/orphan", says);
    }
    // Nobody gets in by these, and still two sources say two things of one person.
    if ended > 0 {
        let says = format!(
            "{ended} accounts were ended here and their people are still in the directory; take them out there, or let them come \
             back with `creta person readmit`"
        );
        seen.finding("people", "people/ended-here", says);
    }
    if withheld > 0 {
        let says = format!(
            "{withheld} people are in groups of the directory whose roles a review took from them; take them out of these groups, \
             or give the roles again by name with `creta person assign`"
        );
        seen.finding("people", "people/withheld", says);
    }
    seen.raw(json!({ "accounts": all.len(), "orphans": orphans.len(), "ended-here": ended, "withheld": withheld }))
}
