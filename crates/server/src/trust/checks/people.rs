//! Whether everybody who can act here is somebody whom the organisation's directory knows.

use creta_compliance::Observation;
use serde_json::json;

use super::{Check, Seen, World};

pub(super) struct OrphanAccounts;

impl Check for OrphanAccounts {
    fn id(&self) -> &'static str {
        "orphan-accounts"
    }

    /// An account that nobody vouches for, looked at beside the real ones.
    fn notices_planted_fault(&self, _world: &World<'_>) -> Result<bool, String> {
        let seen = look(&["planted".to_owned()], &["planted".to_owned()]);
        Ok(seen.findings.iter().any(|finding| finding.code == "people/orphan"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let people = &world.app.people;
        let all: Vec<String> = people.persons().iter().filter(|p| p.is_active()).map(|p| p.id.to_string()).collect();
        let orphans = people.orphans().map_err(|problem| problem.message)?;
        let orphans: Vec<String> = orphans.iter().map(|person| person.id.to_string()).collect();
        Ok(look(&all, &orphans))
    }
}

/// People are counted and not named: the trust page is everybody's.
fn look(all: &[String], orphans: &[String]) -> Observation {
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
    seen.raw(json!({ "accounts": all.len(), "orphans": orphans.len() }))
}
