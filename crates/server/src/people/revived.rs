//! What older documents of the control plane would bring back (CH-33, CH-35).
//!
//! Two people agreed that an older copy goes on. They agreed to lose facts and changes; nobody agreed that whoever was put out
//! since comes in again. The copy knows nothing of what was taken away after it was made; the audit log does. So the first
//! start after that ends what is short-lived without asking, and what lasts by what the log says:
//!
//! - every session, every grant, and every request that could still become one: all are asked for again;
//! - whoever left is gone; whose roles were changed has none until somebody gives them; whose authenticators were reset has
//!   none; whose password was changed is invited anew;
//! - a device that was revoked or cloned is revoked; a program whose secret was changed or ended has none; halves of the
//!   emergency account that were replaced are void; recovery keys that were ended are.
//!
//! An entry that names nobody, as older releases wrote them, counts for everybody of its kind: all roles, all devices, all secrets. Which
//! accounts became known as one human's is taken from the log again.
//!
//! Where the log itself went back and a fork was declared, it names nothing of what was lost. Then every device is revoked, every
//! program's secret locked and the emergency account's halves void, whatever they were.
//!
//! The part of the log that counts begins before the copy was made and ends where it was accepted. Doing this twice changes
//! nothing, so a start that is cut short does it again.

use std::collections::{BTreeMap, BTreeSet};

use creta_audit::{Details, Event};
use creta_iam::{PrincipalId, Role};
use creta_model::{Instant, Problem};
use creta_programme::PersonId;
use creta_programme::access::End;
use creta_proof::Hash;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{People, PersonRecord, factors, recovery_keys};
use crate::control_plane::ControlPlane;
use crate::epochs::Gap;
use crate::problem::from_audit;
use crate::register::{Record, Register};
use crate::witness::entries_of;

const FORMAT: &str = "creta.revived/1";
/// The only document of its kind.
const DOCUMENTS: &str = "documents";

/// Up to where the log was gone through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gone {
    format: String,
    /// The entry by which older documents were accepted.
    accepted: u64,
}

impl Record for Gone {
    const KIND: &'static str = "revived";

    fn id(&self) -> String {
        DOCUMENTS.to_owned()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|gone| gone.format == FORMAT)
    }
}

/// What was taken away in a part of the log, as entries name it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    left: BTreeSet<String>,
    assigned: BTreeSet<String>,
    reset: BTreeSet<String>,
    passwords: BTreeSet<String>,
    /// Digests of their keys.
    devices: BTreeSet<String>,
    /// That were ended, and those that got another secret.
    programs: BTreeSet<String>,
    secrets: BTreeSet<String>,
    recovery_keys: BTreeSet<String>,
    /// Of whom, and which: those that their owners took away.
    factors: BTreeSet<(String, String)>,
    components: BTreeSet<String>,
    sealed: bool,
    /// Of accounts that became known as another's human, the newest human.
    humans: BTreeMap<String, PersonId>,
    /// Actions of entries that name nobody, as older releases wrote them: they count for everybody.
    unnamed: BTreeSet<String>,
}

const LEFT: &str = "person.left";
const ASSIGNED: &str = "person.assigned";
/// Of whom it became known which human they are, without any change of roles.
const LINKED: &str = "person.linked";
const RESET: &str = "authenticator.reset";
const COMPONENT: &str = "component.revoked";
const PASSWORDS: [&str; 3] = ["password.chosen", "password.changed", "person.invited"];
const DEVICES: [&str; 2] = ["device.revoked", "device.cloned"];
const PROGRAM: &str = "service-account.revoked";
const SECRETS: [&str; 2] = ["service-account.rotated", "service-account.locked"];
const SEALED: [&str; 3] = ["break-glass.sealed", "break-glass.unsealed", "break-glass.opened"];

/// Entries that stand in the log before what they speak of is durable.
const WRITTEN_FIRST: [&str; 11] = [
    COMPONENT,
    factors::REMOVED,
    LEFT,
    "device.revoked",
    "password.chosen",
    "password.changed",
    "person.invited",
    PROGRAM,
    "service-account.locked",
    "break-glass.sealed",
    recovery_keys::ENDED,
];

impl Taken {
    fn of(control: &ControlPlane, gap: &Gap) -> Result<Self, Problem> {
        let actions: Vec<&str> =
            [LEFT, ASSIGNED, LINKED, RESET, PROGRAM, COMPONENT, factors::REMOVED, recovery_keys::ENDED]
                .into_iter()
                .chain(PASSWORDS)
                .chain(DEVICES)
                .chain(SECRETS)
                .chain(SEALED)
                .collect();
        let mut taken = Self::default();
        for (index, entry) in entries_of(control.log(), &actions).map_err(|e| from_audit(&e))? {
            let action = entry.action.as_str();
            let counts = if WRITTEN_FIRST.contains(&action) { gap.written_first() } else { gap.entries() };
            if !counts.contains(&index) {
                continue;
            }
            let named = |name: &str| entry.details.get(name).cloned();
            let (names, name) = match action {
                LEFT => (&mut taken.left, "person"),
                ASSIGNED | LINKED => (&mut taken.assigned, "person"),
                RESET => (&mut taken.reset, "person"),
                recovery_keys::ENDED => (&mut taken.recovery_keys, "key"),
                COMPONENT => (&mut taken.components, "component"),
                factors::REMOVED => {
                    taken.factors.extend(named("person").zip(named("authenticator")));
                    continue;
                }
                _ if PASSWORDS.contains(&action) => (&mut taken.passwords, "person"),
                _ if DEVICES.contains(&action) => (&mut taken.devices, "key"),
                PROGRAM => (&mut taken.programs, "service-account"),
                _ if SECRETS.contains(&action) => (&mut taken.secrets, "service-account"),
                _ => {
                    taken.sealed = true;
                    continue;
                }
            };
            if let (true, Some(person), Some(human)) =
                ([ASSIGNED, LINKED].contains(&action), named("person"), named("human"))
                && let Ok(human) = PrincipalId::parse(&human)
            {
                taken.humans.insert(person, PersonId::new(human));
            }
            if action == LINKED {
                continue;
            }
            match named(name) {
                Some(name) => drop(names.insert(name)),
                None => drop(taken.unnamed.insert(action.to_owned())),
            }
        }
        Ok(taken)
    }

    /// Whether an entry of one of these actions names nobody.
    fn any(&self, actions: &[&str]) -> bool {
        actions.iter().any(|action| self.unnamed.contains(*action))
    }

    /// Puts everybody beside those that entries name, where some entry names nobody: who it was about cannot be known any more.
    fn spread(&mut self, people: &[PersonRecord]) {
        let everybody = || people.iter().map(|person| person.id.to_string());
        // Who left without a name may be anybody: nobody is put out for good, and nobody keeps a role.
        if self.any(&[LEFT, ASSIGNED]) {
            self.assigned.extend(everybody());
        }
        if self.any(&[RESET]) {
            self.reset.extend(everybody());
        }
        if self.any(&PASSWORDS) {
            self.passwords.extend(everybody());
        }
    }
}

/// How much was ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Ended {
    sessions: usize,
    grants: usize,
    requests: usize,
    people: usize,
    devices: usize,
    programs: usize,
}

impl People {
    /// Ends what older documents brought back, at the first start after they were accepted.
    pub(super) fn end_revived(&self, control: &ControlPlane, now: Instant) -> Result<(), Problem> {
        let Some(gap) = control.documents_lost() else { return Ok(()) };
        let gone = Register::<Gone>::load(control.shared_metadata())?;
        let before = gone.find(DOCUMENTS);
        let done = before.as_ref().map(|gone| gone.accepted);
        if done >= Some(gap.accepted()) {
            return Ok(());
        }
        let unknown = gap.forked().is_some_and(|fork| done.is_none_or(|done| done < fork));
        let mut taken = Taken::of(control, &gap)?;
        taken.spread(&self.persons.list(|_| true));
        let (any_device, any_secret) =
            (unknown || taken.any(&DEVICES), unknown || taken.any(&SECRETS) || taken.any(&[PROGRAM]));
        let mut ended = Ended::default();
        let open = self.sessions.list(|session| session.is_open(now));
        open.iter().try_for_each(|session| self.end_session(&session.id, now).map(drop))?;
        ended.sessions = open.len();
        (ended.grants, ended.requests) = self.access.end_everything(control, &End::Restored, now)?;
        // Before anything else: who is known as one human approves nothing of their own.
        for (id, human) in &taken.humans {
            let linked =
                |person: &PersonRecord| Ok::<_, Problem>(PersonRecord { human: human.clone(), ..person.clone() });
            self.persons.change(id, linked)?;
        }
        for id in &taken.left {
            ended.people += usize::from(self.leave_again(control, id, now)?);
        }
        for id in &taken.assigned {
            ended.people += usize::from(self.take_roles(control, id, now)?);
        }
        for id in &taken.reset {
            self.authenticators.remove(id)?;
        }
        for (id, factor) in &taken.factors {
            self.forget_factor(id, factor)?;
        }
        for name in &taken.components {
            control.end_component(name, now)?;
        }
        for id in &taken.passwords {
            self.local.forget(id)?;
        }
        for device in self.devices.living() {
            if any_device || taken.devices.contains(&format!("sha256:{}", Hash::of(&[device.id.as_str().as_bytes()]))) {
                self.revoke_device(device.id.as_str(), now)?;
                ended.devices += 1;
            }
        }
        for program in &taken.programs {
            ended.programs += usize::from(control.end_program(program)?);
        }
        let everybody = control.client_ids().into_iter().filter(|_| any_secret).collect();
        let secrets: BTreeSet<String> = taken.secrets.union(&everybody).cloned().collect();
        for program in secrets.difference(&taken.programs) {
            ended.programs += usize::from(control.lock_program(program)?);
        }
        for key in self.recovery_keys() {
            if taken.recovery_keys.contains(&format!("sha256:{}", key.digest())) {
                self.end_recovery_key(control, &key.account, &key.id, now)?;
            }
        }
        if taken.sealed || unknown {
            self.break_glass.void(control)?;
        }
        let count = |details: Details, name, count: usize| details.count(name, count as u64);
        let details = Details::none()
            .count("accepted", gap.accepted())
            .and_then(|details| count(details, "sessions", ended.sessions))
            .and_then(|details| count(details, "grants", ended.grants))
            .and_then(|details| count(details, "requests", ended.requests))
            .and_then(|details| count(details, "people", ended.people))
            .and_then(|details| count(details, "devices", ended.devices))
            .and_then(|details| count(details, "programs", ended.programs))
            .map_err(|e| from_audit(&e))?;
        let event = Event::new("restore.access-ended", control.place()).with(details).for_commitment("CH-33");
        control.log().record(event).map_err(|e| from_audit(&e))?;
        tracing::warn!(
            ?ended,
            "older documents were accepted: sessions, grants and what was taken away since are ended"
        );
        let now_gone = Gone { format: FORMAT.to_owned(), accepted: gap.accepted() };
        match before {
            Some(_) => gone.change(DOCUMENTS, |_| Ok::<_, Problem>(now_gone))?.map(drop),
            None => gone.add(now_gone)?.map(drop),
        }
        .ok_or_else(crate::problem::internal)
    }

    /// Somebody left after the copy was made. Where a directory told of them, it tells anew of whoever is back.
    fn leave_again(&self, control: &ControlPlane, id: &str, now: Instant) -> Result<bool, Problem> {
        let Some(person) = self.persons.find(id).filter(PersonRecord::is_active) else { return Ok(false) };
        if let Some(user) = &person.user {
            self.forget_user(control, user, now)?;
        }
        self.leave(control, id, now)?;
        let details = Details::none().name("person", id).map_err(|e| from_audit(&e))?;
        let event = Event::new(LEFT, control.place()).with(details).for_commitment("CH-33");
        control.log().record(event).map(|_| true).map_err(|e| from_audit(&e))
    }

    /// Somebody's roles were changed after the copy was made: which they had then says nothing. Where groups of a directory
    /// give them, they are in none until it tells of them again.
    fn take_roles(&self, control: &ControlPlane, id: &str, now: Instant) -> Result<bool, Problem> {
        let has_roles = |person: &PersonRecord| person.is_active() && !person.roles.is_empty();
        let Some(person) = self.persons.find(id).filter(has_roles) else { return Ok(false) };
        if let Some(user) = &person.user {
            self.leave_groups(control, user, now)?;
        }
        let roles: Vec<&str> = person.roles.iter().copied().map(Role::as_str).collect();
        let details = Details::none().name("person", id).and_then(|details| details.name("taken", roles.join("+")));
        let event = Event::new(ASSIGNED, control.place()).with(details.map_err(|e| from_audit(&e))?);
        control.log().record(event.for_commitment("CH-33")).map_err(|e| from_audit(&e))?;
        let without = |person: &PersonRecord| {
            let mut person = person.clone();
            person.roles.clear();
            person.needs.clear();
            person.since.clear();
            Ok::<_, Problem>(person)
        };
        self.persons.change(id, without).map(|_| true)
    }

    /// The directory's user is none until it tells of them again.
    fn forget_user(&self, control: &ControlPlane, user: &str, now: Instant) -> Result<(), Problem> {
        if self.directory(|directory| directory.user_name(user).is_none())? {
            return Ok(());
        }
        let delete = |directory: &mut creta_identity::scim::Directory| {
            directory.delete(creta_identity::scim::Kind::User, user, None, now)
        };
        self.provision(control, Some(user), delete, now).map(drop).map_err(super::provisioning::Refused::into_problem)
    }

    /// The directory's user is in no group until it says so again.
    fn leave_groups(&self, control: &ControlPlane, user: &str, now: Instant) -> Result<(), Problem> {
        let groups = self.directory(|directory| directory.groups_naming(user))?;
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "remove", "path": format!("members[value eq \"{user}\"]")}],
        });
        let body = serde_json::to_vec(&body).expect("texts have a JSON form");
        for group in &groups {
            let remove = |directory: &mut creta_identity::scim::Directory| {
                directory.patch(creta_identity::scim::Kind::Group, group, None, &body, "", now)
            };
            self.provision(control, Some(group), remove, now)
                .map(drop)
                .map_err(super::provisioning::Refused::into_problem)?;
        }
        Ok(())
    }
}
