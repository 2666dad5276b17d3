//! What is granted beside what is used, from the log. What follows from it stands in `creta_programme::analyser`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use creta_audit::{Entry, Log, Outcome};
use creta_iam::{Action, FOR_THEMSELVES, Place, Principal, PrincipalId, Role};
use creta_model::{Instant, Problem, Span};
use creta_programme::SubjectId;
use creta_programme::access::GrantState;
use creta_programme::analyser::{
    Analysis, Effect, GrantUsed, Granted, GrantsFinding, Nature, Permission, Subject, Use, WINDOW, analyse,
    judge_grants,
};
use creta_programme::duties::Toxic;
use serde::Serialize;

use super::duties::{account_node, living_programs, person_node};
use super::{People, PersonRecord};
use crate::accounts::client_id;
use crate::control_plane::ControlPlane;
use crate::problem::from_audit;
use crate::seen::NewUse;

/// Entries that are read at a time.
const ENTRIES_AT_A_TIME: u64 = 10_000;
/// The newest uses of one right that are looked at: enough to see a pattern in them.
const USES_MAX: usize = 64;

/// Changes of which the log holds the end as well: without it nothing came of them.
const ENDS: &[(Action, &[&str])] = &[
    (Action::Deploy, &["deploy.done"]),
    (Action::Ingest, &["ingest.done", "ingest.repeated"]),
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
    /// Roles that people were granted for hours, and what of them was used.
    pub(crate) grants: Vec<GrantsFinding>,
    /// What programs did for the first time after they were known for a while, within the window.
    pub(crate) news: Vec<NewUse>,
    /// Roles that people have for good.
    pub(crate) standing: Vec<StandingRole>,
    /// Duties that lie in one hand and should not.
    pub(crate) paths: Vec<Toxic>,
    /// A policy that takes away what no holder of a role uses; absent where all of it is used.
    pub(crate) policy: Option<String>,
    /// How many entries of the log were read.
    pub(crate) entries: u64,
}

/// A role that a person has for good.
#[derive(Debug, Serialize)]
pub(crate) struct StandingRole {
    pub(crate) subject: SubjectId,
    pub(crate) role: Role,
    /// Which need it serves; none where nobody wrote it down.
    pub(crate) need: Option<String>,
}

/// What was found now, and what of it was there a while ago already.
pub(crate) struct Overdue {
    /// Roles that somebody had for good, of which nothing was used.
    pub(crate) roles: BTreeSet<(SubjectId, Role)>,
    /// Actions of a role that none of its holders used.
    pub(crate) actions: BTreeSet<(Role, Action)>,
    /// Roles that were granted for hours again and again, and never used.
    pub(crate) grants: BTreeSet<(SubjectId, Role)>,
    /// How many roles were looked at.
    pub(crate) looked_at: usize,
}

/// What people and programs hold.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) subjects: Vec<Subject>,
    pub(crate) granted: Vec<Granted>,
    pub(crate) grants: Vec<GrantUsed>,
}

impl Overdue {
    /// What `held` and `uses` show at `now` and showed `grace` before.
    pub(crate) fn find(held: &Held, uses: &[Use], now: Instant, grace: Span) -> Self {
        let whole = |at: Instant| {
            let analysis = analyse(&held.subjects, &held.granted, uses, at);
            let kept: BTreeSet<(SubjectId, Role)> =
                analysis.proposal.iter().map(|right| (right.subject.clone(), right.role)).collect();
            let all = held.granted.iter().map(|right| (right.subject.clone(), right.role));
            let roles: BTreeSet<(SubjectId, Role)> = all.filter(|role| !kept.contains(role)).collect();
            let actions = analysis.roles.iter().flat_map(|role| role.unused.iter().map(|action| (role.role, *action)));
            let idle = judge_grants(&held.grants, at).into_iter().filter(GrantsFinding::is_idle);
            (roles, actions.collect::<BTreeSet<_>>(), idle.map(|one| (one.holder, one.role)).collect::<BTreeSet<_>>())
        };
        let (now, before) = (whole(now), whole(now.minus(grace)));
        let all: BTreeSet<(&SubjectId, Role)> = held.granted.iter().map(|right| (&right.subject, right.role)).collect();
        Self {
            roles: &now.0 & &before.0,
            actions: &now.1 & &before.1,
            grants: &now.2 & &before.2,
            looked_at: all.len() + held.grants.len(),
        }
    }
}

impl People {
    /// Compares what people and programs are granted with what the log says that they used within the window. Reads the log
    /// in pieces; keeps at most a few uses per right.
    pub(crate) fn analyse(&self, control: &ControlPlane, now: Instant) -> Result<Analysed, Problem> {
        let (held, uses, entries) = self.held_and_used(control, now, WINDOW)?;
        let analysis = analyse(&held.subjects, &held.granted, &uses, now);
        let policy = tightened(&analysis, &held.granted);
        let grants = judge_grants(&held.grants, now);
        let (standing, news) = (self.standing_roles()?, control.sightings().told_since(now.minus(WINDOW)));
        Ok(Analysed { paths: self.toxic(control, now)?, policy, analysis, grants, news, standing, entries })
    }

    /// What nobody used for the window and `grace` more.
    pub(crate) fn overdue(&self, control: &ControlPlane, now: Instant, grace: Span) -> Result<Overdue, Problem> {
        let back = now.minus(WINDOW).minus(grace);
        let span = Span::from_micros(now.micros() - back.micros()).map_err(|_| crate::problem::internal())?;
        let (held, uses, _) = self.held_and_used(control, now, span)?;
        Ok(Overdue::find(&held, &uses, now, grace))
    }

    /// Every role that a person has for good, with the need it serves.
    pub(crate) fn standing_roles(&self) -> Result<Vec<StandingRole>, Problem> {
        let mut roles = Vec::new();
        for person in self.persons.list(PersonRecord::is_active) {
            let subject = person_node(&person.id)?;
            let of = |role: &Role| StandingRole {
                subject: subject.clone(),
                role: *role,
                need: person.needs.get(role).cloned(),
            };
            roles.extend(person.roles.iter().map(of));
        }
        Ok(roles)
    }

    /// What is held now, and what was used within `span` before; and how many entries of the log say so.
    fn held_and_used(
        &self,
        control: &ControlPlane,
        now: Instant,
        span: Span,
    ) -> Result<(Held, Vec<Use>, u64), Problem> {
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
        for account in &living_programs(control) {
            let (id, home) = (account_node(account)?, account.principal.home());
            if let Some(role) = account.principal.role() {
                let actions = self.actions_of_program(control, &account.principal);
                granted.extend(actions.into_iter().map(|action| right(&id, &home, action, role, account.created)));
            }
            subjects.push(Subject { id: id.clone(), nature: Nature::Program, since: account.created });
            homes.insert(id, home);
        }
        let mut used = Used::default();
        let entries = read(control.log(), now.minus(span), |entry| used.take(entry))?;
        let mut grants = Vec::new();
        for grant in self.access.grants(|grant| now.minus(span) <= grant.activated) {
            let holder = self.persons.find(grant.holder().account.as_str());
            let home = holder.map_or_else(|| grant.terms.place.clone(), |person| person.home(&self.environment));
            let may = self.actions_of_grant(control, grant.terms.role, &home, &grant.terms.place);
            let over = match &grant.state {
                GrantState::Active => (grant.expires <= now).then_some(grant.expires),
                GrantState::Expired { at } | GrantState::Ended { at, .. } => Some(*at),
            };
            let of_grant = used.by_grant.remove(&grant.id.to_string()).unwrap_or_default();
            grants.push(GrantUsed {
                holder: person_node(&grant.holder().account)?,
                role: grant.terms.role,
                place: grant.terms.place.clone(),
                begun: grant.activated,
                over,
                may: may.into_iter().filter(|action| !FOR_THEMSELVES.contains(action)).collect(),
                used: of_grant,
            });
        }
        Ok((Held { subjects, granted, grants }, used.uses(&homes), entries))
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
struct Used {
    by_subject: BTreeMap<SubjectId, BTreeMap<Action, VecDeque<(Instant, Effect)>>>,
    /// What rested on each grant and had an effect.
    by_grant: BTreeMap<String, BTreeSet<Action>>,
    /// The grant that the newest use of an action rested on, whose end is still to come.
    waiting: BTreeMap<(SubjectId, Action), String>,
}

impl Used {
    fn take(&mut self, entry: &Entry) {
        let Some(subject) = entry.actor.as_ref().and_then(subject_of) else { return };
        let ended = ENDS.iter().find(|(_, ends)| ends.contains(&entry.action.as_str()));
        if let Some((action, _)) = ended {
            let uses = self.by_subject.get_mut(&subject).and_then(|actions| actions.get_mut(action));
            if let Some(newest) = uses.and_then(VecDeque::back_mut) {
                newest.1 = Effect::Some;
            }
            if let Some(grant) = self.waiting.remove(&(subject, *action)) {
                self.by_grant.entry(grant).or_default().insert(*action);
            }
            return;
        }
        let Ok(action) = Action::parse(&entry.action) else { return };
        if entry.decision != Some(Outcome::Allow) {
            return;
        }
        let effect = effect_of(action, entry);
        if let Some(grant) = entry.details.get("grant") {
            if effect == Effect::Some {
                self.by_grant.entry(grant.clone()).or_default().insert(action);
            } else {
                self.waiting.insert((subject.clone(), action), grant.clone());
            }
        }
        let uses = self.by_subject.entry(subject).or_default().entry(action).or_default();
        if uses.len() == USES_MAX {
            uses.pop_front();
        }
        uses.push_back((entry.time, effect));
    }

    fn uses(self, homes: &BTreeMap<SubjectId, Place>) -> Vec<Use> {
        let mut uses = Vec::new();
        for (subject, actions) in self.by_subject {
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
