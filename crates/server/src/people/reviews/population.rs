//! Everything that can act, with its effective rights: what a review is about.

use std::collections::{BTreeMap, BTreeSet};

use creta_iam::{Action, FOR_THEMSELVES, PrincipalId, Role};
use creta_identity::device::{Device, KeyStorage};
use creta_model::{Instant, Problem};
use creta_programme::campaign::{Identity, MAY, Population};
use creta_programme::{PersonId, SubjectId};

use crate::accounts::Account;
use crate::control_plane::ControlPlane;
use crate::people::duties::{account_node, living_programs, node_of, person_node};
use crate::people::{People, PersonRecord};

/// What the names of devices begin with.
pub(super) const DEVICE: &str = "device:";
/// The same of administrators whose secret lies in the data folder.
pub(super) const LOCAL_ADMINISTRATOR: &str = "local-administrator:";
/// The same of components, which have certificates.
pub(super) const COMPONENT: &str = "component:";

/// The actions that roles amount to, each asked of the policies once.
#[derive(Default)]
struct Asked(BTreeMap<(Role, String), Vec<Action>>);

impl People {
    /// Computed from the records that decisions are made from: people with roles, grants, recovery keys or halves of the
    /// emergency account, the devices that anybody works from, service accounts, the local administrator where it counts, and
    /// components with a certificate.
    pub(super) fn population(&self, control: &ControlPlane, now: Instant) -> Result<Population, Problem> {
        let (mut identities, mut asked) = (Vec::new(), Asked::default());
        for person in self.persons.list(PersonRecord::is_active) {
            let identity = self.identity_of(control, &person, &mut asked, now)?;
            if !identity.rights.is_empty() {
                identities.push(identity);
            }
        }
        for device in self.devices.living() {
            identities.push(self.identity_of_device(&device)?);
        }
        for account in &living_programs(control) {
            identities.push(self.identity_of_program(control, account)?);
        }
        if self.takes_local_administrator() {
            let all = control.local_administrators();
            for account in all.iter().filter_map(|id| control.account(id)) {
                identities.push(self.identity_of_administrator(control, &account)?);
            }
        }
        for component in control.living_components()? {
            let right = node_of(&format!("certificate:{}@{}", component.role.as_str(), control.place().path()))?;
            identities.push(Identity {
                subject: node_of(&format!("{COMPONENT}{}", component.name))?,
                people: BTreeSet::new(),
                granted_by: BTreeSet::new(),
                rights: BTreeSet::from([right]),
            });
        }
        Ok(Population::new(now, identities))
    }

    fn identity_of(
        &self,
        control: &ControlPlane,
        person: &PersonRecord,
        asked: &mut Asked,
        now: Instant,
    ) -> Result<Identity, Problem> {
        let own = person.home(&self.environment);
        let home = own.path();
        let mut rights = BTreeSet::new();
        for role in &person.roles {
            rights.insert(right(*role, &home)?);
            let actions = asked.0.entry((*role, home.clone()));
            rights.extend(named(actions.or_insert_with(|| self.actions_of_person(control, *role, &own)), &home)?);
        }
        // What restores or opens everything is no role, and is looked at all the same.
        if self.holds_recovery_key(&person.id) {
            rights.insert(node_of(&format!("holds:recovery-key@{home}"))?);
        }
        // A half opens nothing in the hands of somebody who may not open the account.
        if self.holds_half(&person.id) && self.lacks_as_holder(control, person, now).is_none() {
            rights.insert(node_of(&format!("holds:emergency-half@{home}"))?);
        }
        let given_by = person.given_by.as_ref().filter(|_| !person.roles.is_empty());
        let mut granted_by = self.humans(given_by);
        for grant in self.access.grants(|grant| grant.holder().account == person.id && grant.is_active(now)) {
            let (role, place) = (grant.terms.role, &grant.terms.place);
            rights.insert(node_of(&format!("grant:{role}@{}", place.path()))?);
            let key = (role, format!("{home} {}", place.path()));
            let actions = asked.0.entry(key).or_insert_with(|| self.actions_of_grant(control, role, &own, place));
            rights.extend(named(actions, &place.path())?);
            granted_by.extend(grant.approvals.iter().map(|approval| approval.by.person.clone()));
        }
        let people = BTreeSet::from([person.human.clone(), person.behind().clone()]);
        Ok(Identity { subject: person_node(&person.id)?, people, granted_by, rights })
    }

    /// Whether somebody's signature counts among those that let a server go on from an older store.
    pub(super) fn holds_recovery_key(&self, person: &PrincipalId) -> bool {
        self.recovery_keys.find_by(|key| key.account == *person && key.ended.is_none()).is_some()
    }

    /// Whether somebody has a half of the emergency account's secret that was not used.
    pub(super) fn holds_half(&self, person: &PrincipalId) -> bool {
        let seal = self.break_glass.seal().filter(|seal| seal.spent.is_none());
        seal.is_some_and(|seal| seal.slots.iter().any(|slot| slot.holder.account == *person))
    }

    /// A device stands for its owner, who enrolled it, and so does not decide on it.
    fn identity_of_device(&self, device: &Device) -> Result<Identity, Problem> {
        let storage = match device.storage {
            KeyStorage::Tpm => "tpm",
            KeyStorage::Software => "software",
        };
        let right = node_of(&format!("works-for:{}/{}/{storage}", device.person, device.platform.as_str()))?;
        let owner = self.persons.with(&device.person, |person| person.behind().clone());
        let (people, granted_by) = (owner.into_iter().collect(), BTreeSet::new());
        Ok(Identity { subject: device_node(device)?, people, granted_by, rights: BTreeSet::from([right]) })
    }

    fn identity_of_program(&self, control: &ControlPlane, account: &Account) -> Result<Identity, Problem> {
        let home = account.principal.home().path();
        let mut rights = named(&self.actions_of_program(control, &account.principal), &home)?;
        if let Some(role) = account.principal.role() {
            rights.insert(right(role, &home)?);
        }
        let made_by = self.humans(account.made_by.as_ref());
        Ok(Identity { subject: account_node(account)?, people: BTreeSet::new(), granted_by: made_by, rights })
    }

    /// Whoever can read the data folder has its secret: it is nobody in particular.
    fn identity_of_administrator(&self, control: &ControlPlane, account: &Account) -> Result<Identity, Problem> {
        let home = account.principal.home().path();
        let mut rights = named(&self.actions_of_program(control, &account.principal), &home)?;
        rights.insert(node_of(&format!("local-administrator@{home}"))?);
        let subject = node_of(&format!("{LOCAL_ADMINISTRATOR}{}", account.client_id))?;
        Ok(Identity { subject, people: BTreeSet::new(), granted_by: BTreeSet::new(), rights })
    }

    fn humans(&self, account: Option<&PrincipalId>) -> BTreeSet<PersonId> {
        let human = |id: &PrincipalId| self.persons.with(id.as_str(), |person| person.behind().clone());
        account.and_then(human).into_iter().collect()
    }
}

/// The name of a device in reviews.
fn device_node(device: &Device) -> Result<SubjectId, Problem> {
    node_of(&format!("{DEVICE}{}", device.id.as_str()))
}

/// Actions as rights at a place. What everybody may do about themselves is none.
fn named(actions: &[Action], place: &str) -> Result<BTreeSet<SubjectId>, Problem> {
    let actions = actions.iter().filter(|action| !FOR_THEMSELVES.contains(action));
    actions.map(|action| node_of(&format!("{MAY}{action}@{place}"))).collect()
}

/// Whether anybody is in it who was given something since the environment was made.
pub(super) fn is_of_anybody(population: &Population) -> bool {
    let made = |identity: &Identity| {
        let subject = identity.subject.as_str();
        subject.starts_with(LOCAL_ADMINISTRATOR) || subject.starts_with(COMPONENT)
    };
    !population.identities.iter().all(made)
}

fn right(role: Role, place: &str) -> Result<SubjectId, Problem> {
    node_of(&format!("{role}@{place}"))
}
