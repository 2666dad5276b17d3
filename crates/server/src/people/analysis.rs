//! What is granted beside what is used, from the log. What follows from it stands in `creta_programme::analyser`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use creta_audit::{Entry, Log, Outcome};
use creta_iam::{Action, FOR_THEMSELVES, Place, Principal, PrincipalId, Role};
use creta_model::{Instant, Problem};
use creta_programme::SubjectId;
use creta_programme::analyser::{Analysis, Effect, Granted, Nature, Permission, Subject, Use, WINDOW, analyse};
use creta_programme::duties::Toxic;
use serde::Serialize;

use super::duties::{account_node, person_node};
use super::{People, PersonRecord};
use crate::accounts::client_id;
use crate::control_plane::ControlPlane;
use crate::problem::from_audit;

/// Entries that are read at a time.
const ENTRIES_AT_A_TIME: u64 = 10_000;
/// The newest uses of one right that are looked at: enough to see a pattern in them.
const USES_MAX: usize = 64;

/// Changes of which the log holds the end as well: without it nothing came of them.
const ENDS: &[(Action, &[&str])] = &[
    (Action::Deploy, &["deploy.done"]),
    (Action::Ingest, &["ingest.done"]),
    (Action::TenantCreate, &["tenant.created"]),
    (Action::ServiceAccountCreate, &["service-account.created"]),
    (Action::ServiceAccountRotate, &["service-account.rotated"]),
    (Action::ServiceAccountRevoke, &["service-account.revoked"]),
    (Action::PersonAssign, &["person.assigned", "person.left"]),
    (Action::InventoryDeclare, &["inventory.declared"]),
    (Action::ReportDecide, &["report.decided"]),
];

/// What was found, and what would do instead.
#[derive(Debug, Serialize)]
pub(crate) struct Analysed {
    #[serde(flatten)]
    pub(crate) analysis: Analysis,
    /// Duties that lie in one hand and should not.
    pub(crate) paths: Vec<Toxic>,
    /// A policy that takes away what no holder of a role uses; absent where all of it is used.
    pub(crate) policy: Option<String>,
    /// How many entries of the log were read.
    pub(crate) entries: u64,
}

impl People {
    /// Compares what people and programs are granted with what the log says that they used within the window. Reads the log
    /// in pieces; keeps at most a few uses per right.
    pub(crate) fn analyse(&self, control: &ControlPlane, now: Instant) -> Result<Analysed, Problem> {
        let (mut subjects, mut granted) = (Vec::new(), Vec::new());
        let mut homes = BTreeMap::<SubjectId, Place>::new();
        for person in self.persons.list(PersonRecord::is_active) {
            let (id, home) = (person_node(&person.id)?, person.home(&self.environment));
            for role in &person.roles {
                let since = person.since.get(role).copied().unwrap_or(person.created);
                let actions = self.actions_of_person(control, *role, &home);
                let right = |action| right(&id, &home, action, *role, since);
                granted.extend(actions.into_iter().filter(|a| !FOR_THEMSELVES.contains(a)).map(right));
            }
            subjects.push(Subject { id: id.clone(), nature: Nature::Human, since: person.created });
            homes.insert(id, home);
        }
        for account in control.programs().iter().filter(|account| account.revoked.is_none()) {
            let (id, home) = (account_node(account)?, account.principal.home());
            if let Some(role) = account.principal.role() {
                let actions = self.actions_of_program(control, &account.principal);
                granted.extend(actions.into_iter().map(|action| right(&id, &home, action, role, account.created)));
            }
            subjects.push(Subject { id: id.clone(), nature: Nature::Program, since: account.created });
            homes.insert(id, home);
        }
        let mut used = Used::default();
        let entries = read(control.log(), now.minus(WINDOW), |entry| used.take(entry))?;
        let uses = used.uses(&homes);
        let analysis = analyse(&subjects, &granted, &uses, now);
        let policy = tightened(&analysis, &granted);
        Ok(Analysed { paths: self.toxic(control, now)?, policy, analysis, entries })
    }
}

fn right(subject: &SubjectId, home: &Place, action: Action, role: Role, since: Instant) -> Granted {
    let permission = Permission { place: home.clone(), action };
    Granted { subject: subject.clone(), permission, role, since }
}

/// Reads entries from `begin` on, in order; gives how many. Entries are in the order of time, but for a clock that was set
/// back, and then too many are read rather than too few.
fn read(log: &Log, begin: Instant, mut take: impl FnMut(&Entry)) -> Result<u64, Problem> {
    let size = log.size();
    let mut start = size;
    while start > 0 {
        let from = start.saturating_sub(ENTRIES_AT_A_TIME);
        let first = log.entries(from..from + 1).map_err(|e| from_audit(&e))?;
        start = from;
        if first.first().is_some_and(|entry| entry.time < begin) {
            break;
        }
    }
    for from in (start..size).step_by(usize::try_from(ENTRIES_AT_A_TIME).expect("fits")) {
        let to = from.saturating_add(ENTRIES_AT_A_TIME).min(size);
        log.entries(from..to).map_err(|e| from_audit(&e))?.iter().for_each(&mut take);
    }
    Ok(size - start)
}

/// Uses by whom and of what; the newest of each.
#[derive(Default)]
struct Used(BTreeMap<SubjectId, BTreeMap<Action, VecDeque<(Instant, Effect)>>>);

impl Used {
    fn take(&mut self, entry: &Entry) {
        let Some(subject) = entry.actor.as_ref().and_then(subject_of) else { return };
        let ended = ENDS.iter().find(|(_, ends)| ends.contains(&entry.action.as_str()));
        if let Some((action, _)) = ended {
            let uses = self.0.get_mut(&subject).and_then(|actions| actions.get_mut(action));
            if let Some(newest) = uses.and_then(VecDeque::back_mut) {
                newest.1 = Effect::Some;
            }
            return;
        }
        let Ok(action) = Action::parse(&entry.action) else { return };
        if entry.decision != Some(Outcome::Allow) {
            return;
        }
        let uses = self.0.entry(subject).or_default().entry(action).or_default();
        if uses.len() == USES_MAX {
            uses.pop_front();
        }
        uses.push_back((entry.time, effect_of(action, entry)));
    }

    fn uses(self, homes: &BTreeMap<SubjectId, Place>) -> Vec<Use> {
        let mut uses = Vec::new();
        for (subject, actions) in self.0 {
            // A right at home holds in every scope of the environment, so a use there is a use of it.
            let Some(home) = homes.get(&subject) else { continue };
            for (action, times) in actions {
                let permission = Permission { place: home.clone(), action };
                let of = |(at, effect)| Use { subject: subject.clone(), permission: permission.clone(), at, effect };
                uses.extend(times.into_iter().map(of));
            }
        }
        uses
    }
}

fn effect_of(action: Action, entry: &Entry) -> Effect {
    let has_end = ENDS.iter().any(|(of, _)| *of == action);
    let gave_nothing = entry.details.get("rows").is_some_and(|rows| rows == "0");
    if has_end || gave_nothing || entry.details.contains_key("refused") { Effect::None } else { Effect::Some }
}

fn subject_of(actor: &Principal) -> Option<SubjectId> {
    let name = |id: &PrincipalId| SubjectId::parse(&format!("person:{id}")).ok();
    match actor {
        Principal::Administrator { .. } => None,
        Principal::Person(person) => name(person.id()),
        Principal::ServiceAccount { id, scope, .. } => {
            SubjectId::parse(&format!("service-account:{}", client_id(id.as_str(), &scope.tenant))).ok()
        }
    }
}

/// A policy that forbids what no holder of a role uses. It only ever takes away, which whoever adopts it is shown again.
fn tightened(analysis: &Analysis, granted: &[Granted]) -> Option<String> {
    let programs: BTreeSet<Role> = granted
        .iter()
        .filter(|right| right.subject.as_str().starts_with("service-account:"))
        .map(|right| right.role)
        .collect();
    let people: BTreeSet<Role> =
        granted.iter().filter(|right| right.subject.as_str().starts_with("person:")).map(|right| right.role).collect();
    let mut policies = Vec::new();
    for finding in analysis.roles.iter().filter(|finding| !finding.unused.is_empty()) {
        let actions: Vec<String> =
            finding.unused.iter().map(|action| format!("    Creta::Action::\"{action}\"")).collect();
        let actions = actions.join(",\n");
        for (kind, roles) in [("Person", &people), ("ServiceAccount", &programs)] {
            if roles.contains(&finding.role) {
                let (role, id) = (finding.role, kind.to_lowercase());
                policies.push(format!(
                    "@id(\"unused-by-{id}-{role}\")\nforbid (\n  principal is Creta::{kind} in Creta::Role::\"{role}\",\n  \
                     action in [\n{actions}\n  ],\n  resource\n);\n"
                ));
            }
        }
    }
    (!policies.is_empty()).then(|| policies.join("\n"))
}
