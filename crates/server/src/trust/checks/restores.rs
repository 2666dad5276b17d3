//! Whether everything that went on from an older copy was approved by two people, and two could approve it today (CH-35).

use std::collections::{BTreeMap, BTreeSet};

use creta_compliance::Observation;
use creta_model::EnvironmentClass;
use serde_json::json;

use super::{Check, Seen, World};
use crate::epochs::ACCEPTED;
use crate::restore::AGREED;
use crate::witness::entries_of;

pub(super) struct Restores;

/// What an entry says about going on from an older copy.
struct Step {
    entry: u64,
    accepts: bool,
    statement: Option<String>,
    /// Who agreed; none where a store is accepted.
    person: Option<String>,
}

impl Check for Restores {
    fn id(&self) -> &'static str {
        "restores"
    }

    /// A store that was accepted after one person agreed, and one that nobody agreed to, beside one that two did.
    fn notices_planted_fault(&self, _world: &World<'_>) -> Result<bool, String> {
        let step = |entry, accepts, statement: Option<&str>, person: Option<&str>| Step {
            entry,
            accepts,
            statement: statement.map(str::to_owned),
            person: person.map(str::to_owned),
        };
        let planted = [
            step(0, false, Some("good"), Some("planted-one")),
            step(1, false, Some("good"), Some("planted-other")),
            step(2, true, Some("good"), None),
            step(3, false, Some("alone"), Some("planted-one")),
            step(4, false, Some("alone"), Some("planted-one")),
            step(5, true, Some("alone"), None),
            step(6, true, None, None),
        ];
        let human = |account: &str| account.to_owned();
        Ok(unapproved(&planted, human).into_iter().eq([5, 6]))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let (app, people) = (world.app, &world.app.people);
        let mut seen = Seen::default();
        seen.subject("recovery-keys");
        let found = entries_of(app.control.log(), &[ACCEPTED, AGREED]).map_err(|error| error.to_string())?;
        let step = |(index, entry): &(u64, creta_audit::Entry)| Step {
            entry: *index,
            accepts: entry.action == ACCEPTED,
            statement: entry.details.get("statement").cloned(),
            person: entry.details.get("person").cloned(),
        };
        let steps: Vec<Step> = found.iter().map(step).collect();
        let accepted = steps.iter().filter(|step| step.accepts);
        accepted.clone().for_each(|step| seen.subject(format!("entry {}", step.entry)));
        let human = |account: &str| {
            people.require_person(account).map_or_else(|_| account.to_owned(), |person| person.behind().to_string())
        };
        let holders = people.who_could_recover();
        if app.control.class() != EnvironmentClass::Development {
            for entry in unapproved(&steps, human) {
                let says = "a store went on from an older copy, and no two people approved it; find out who ran what";
                seen.finding(&format!("entry {entry}"), "restores/not-approved", says);
            }
            if holders < 2 {
                let says = format!(
                    "{holders} could approve a restore, and it takes two different people; each registers a key: \
                     `creta restore key`"
                );
                seen.finding("recovery-keys", "restores/too-few", says);
            }
        }
        Ok(seen.raw(json!({ "accepted": accepted.count(), "holders": holders })))
    }
}

/// Entries by which a store went on without two different humans' agreement to the statement that they name.
fn unapproved(steps: &[Step], human: impl Fn(&str) -> String) -> BTreeSet<u64> {
    let mut agreed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for step in steps {
        match (&step.statement, &step.person) {
            (Some(statement), Some(person)) if !step.accepts => {
                agreed.entry(statement).or_default().insert(human(person));
            }
            (statement, _) if step.accepts => {
                let humans = statement.as_deref().and_then(|statement| agreed.get(statement)).map_or(0, BTreeSet::len);
                if humans < 2 {
                    found.insert(step.entry);
                }
            }
            _ => {}
        }
    }
    found
}
