//! Everything that can act, with its effective rights: what a review is about.

use std::collections::BTreeSet;

use creta_iam::{PrincipalId, Role};
use creta_identity::device::{Device, KeyStorage};
use creta_model::{Instant, Problem};
use creta_programme::campaign::{Identity, Population};
use creta_programme::{PersonId, SubjectId};

use crate::accounts::Account;
use crate::control_plane::ControlPlane;
use crate::people::duties::{account_node, node_of, person_node};
use crate::people::{People, PersonRecord};

/// What the names of devices begin with.
pub(super) const DEVICE: &str = "device:";

impl People {
    /// Computed from the records that decisions are made from: people with roles, grants, recovery keys or halves of the
    /// emergency account, the devices that anybody works from, and service accounts.
    pub(super) fn population(&self, control: &ControlPlane, now: Instant) -> Result<Population, Problem> {
        let mut identities = Vec::new();
        for person in self.persons.list(PersonRecord::is_active) {
            let identity = self.identity_of(&person, now)?;
            if !identity.rights.is_empty() {
                identities.push(identity);
            }
        }
        for device in self.devices.living() {
            identities.push(self.identity_of_device(&device)?);
        }
        for account in control.programs().iter().filter(|account| account.revoked.is_none()) {
            identities.push(self.identity_of_program(account)?);
        }
        Ok(Population::new(now, identities))
    }

    pub(super) fn identity_of(&self, person: &PersonRecord, now: Instant) -> Result<Identity, Problem> {
        let home = person.home(&self.environment).path();
        let mut rights = BTreeSet::new();
        for role in &person.roles {
            rights.insert(right(*role, &home)?);
        }
        // What restores or opens everything is no role, and is looked at all the same.
        if self.holds_recovery_key(&person.id) {
            rights.insert(node_of(&format!("holds:recovery-key@{home}"))?);
        }
        if self.holds_half(&person.id) {
            rights.insert(node_of(&format!("holds:emergency-half@{home}"))?);
        }
        let given_by = person.given_by.as_ref().filter(|_| !person.roles.is_empty());
        let mut granted_by = self.humans(given_by);
        for grant in self.access.grants(|grant| grant.holder().account == person.id && grant.is_active(now)) {
            rights.insert(node_of(&format!("grant:{}@{}", grant.terms.role, grant.terms.place.path()))?);
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

    fn identity_of_program(&self, account: &Account) -> Result<Identity, Problem> {
        let mut rights = BTreeSet::new();
        if let Some(role) = account.principal.role() {
            rights.insert(right(role, &account.principal.home().path())?);
        }
        let made_by = self.humans(account.made_by.as_ref());
        Ok(Identity { subject: account_node(account)?, people: BTreeSet::new(), granted_by: made_by, rights })
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

fn right(role: Role, place: &str) -> Result<SubjectId, Problem> {
    node_of(&format!("{role}@{place}"))
}
