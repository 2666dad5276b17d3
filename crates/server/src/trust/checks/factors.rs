//! Signing in takes two factors (CI-22), and passwords are kept as they have to be (CI-25).

use creta_compliance::Observation;
use creta_identity::password::PasswordHash;
use creta_model::EnvironmentClass;
use serde_json::json;

use super::{Check, Seen, World};

pub(super) struct SecondFactors;

impl Check for SecondFactors {
    fn id(&self) -> &'static str {
        "second-factors"
    }

    /// A session in production that no second factor was used for.
    fn notices_planted_fault(&self, _world: &World<'_>) -> Result<bool, String> {
        Ok(judge_sessions(EnvironmentClass::Production, &[true, false]).0.findings.len() == 1)
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let now = world.app.control.platform().clock.now();
        let sessions = world.app.people.living_sessions(now);
        let verified: Vec<bool> = sessions.iter().map(|session| session.user_verified).collect();
        let seen = judge_sessions(world.app.control.class(), &verified);
        Ok(seen.raw(json!({ "sessions": verified.len() })))
    }
}

/// Sessions are counted and not named: the trust page is everybody's.
fn judge_sessions(class: EnvironmentClass, verified: &[bool]) -> Seen {
    let mut seen = Seen::default();
    seen.subject("sessions");
    let single = verified.iter().filter(|verified| !**verified).count();
    if single > 0 && class != EnvironmentClass::Development {
        let says = format!("{single} of {} sessions were opened without a second factor; end them", verified.len());
        seen.finding("sessions", "factors/single", says);
    }
    seen
}

pub(super) struct Passwords;

impl Check for Passwords {
    fn id(&self) -> &'static str {
        "passwords"
    }

    /// A hash whose cost somebody lowered where it is stored, and a password of somebody who is staff.
    fn notices_planted_fault(&self, _world: &World<'_>) -> Result<bool, String> {
        let weakened = json!({
            "algorithm": "argon2id", "version": 0x13, "cost": {"memory_kib": 8, "passes": 1, "lanes": 1},
            "salt": "AAAAAAAAAAAAAAAAAAAAAA", "hash": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        });
        let weakened: PasswordHash = serde_json::from_value(weakened).map_err(|error| error.to_string())?;
        let found = judge_passwords(&[weakened], 1).0.findings;
        Ok(["passwords/weakened", "passwords/staff"].iter().all(|code| found.iter().any(|f| f.code == *code)))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let people = &world.app.people;
        let hashes = people.local.hashes();
        Ok(judge_passwords(&hashes, people.staff_with_password()).raw(json!({ "passwords": hashes.len() })))
    }
}

fn judge_passwords(hashes: &[PasswordHash], staff: usize) -> Seen {
    let mut seen = Seen::default();
    seen.subject("passwords");
    let unsound = hashes.iter().filter(|hash| !hash.is_sound()).count();
    if unsound > 0 {
        let says = format!("{unsound} of {} stored hashes are damaged or cheaper than any that was made", hashes.len());
        seen.finding("passwords", "passwords/weakened", says);
    }
    if staff > 0 {
        let says = format!("{staff} members of staff have a password; end those accounts");
        seen.finding("passwords", "passwords/staff", says);
    }
    seen
}
