//! People: who somebody is to the identity provider, and which roles they were given here.

use std::collections::{BTreeMap, BTreeSet};

use creta_iam::{Place, PrincipalId, Role};
use creta_identity::oidc::Identity;
use creta_model::{Environment, Instant, Scope, TenantId};
use creta_programme::{PersonId, PersonRef};
use serde::{Deserialize, Serialize};

use crate::register::Record;

const FORMAT: &str = "creta.person/1";

/// One account of one human. It is known by the provider's issuer and subject, never by an address, which the provider
/// may give to somebody else one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonRecord {
    pub(super) format: String,
    pub(crate) id: PrincipalId,
    /// The human behind it. Several accounts of one human bear the same name, so that nobody approves their own request
    /// with another account.
    pub(crate) human: PersonId,
    /// The human who made the account and for whom it stands, until somebody else vouches that another human is behind it.
    /// None where a provider or directory vouches. Whoever makes an account could use it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stands_for: Option<PersonId>,
    /// None until the provider says who that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<Identity>,
    /// For people to recognise one another. Decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    /// The user of the organisation's directory that this is; none for whoever it did not tell us about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// The tenant whose user this is; none for the staff of whoever runs the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<TenantId>,
    /// Roles held without a grant. In an environment of class production they permit nothing by themselves.
    pub(crate) roles: BTreeSet<Role>,
    /// The account of the person who gave them; none where it was the local administrator or a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given_by: Option<PrincipalId>,
    /// Since when each role was held without interruption.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) since: BTreeMap<Role, Instant>,
    /// Which need each role serves, in the words of whoever gave it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) needs: BTreeMap<Role, String>,
    pub(crate) created: Instant,
    /// When this person left. Nobody comes back under the same account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left: Option<Instant>,
    /// Whether somebody here ended the account by name. Then the directory makes no other one for its person, until somebody
    /// here takes that back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ended_by_name: bool,
    /// Roles that a review took from them. Groups of the directory do not give these again; somebody here may, by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) withheld: BTreeSet<Role>,
}

impl Record for PersonRecord {
    const KIND: &'static str = "person";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|person| person.format == FORMAT)
    }
}

impl PersonRecord {
    /// Somebody without any role.
    pub(crate) fn new(id: PrincipalId, tenant: Option<TenantId>, created: Instant) -> Self {
        let human = PersonId::new(id.clone());
        let (identity, email, user, given_by, left, roles) = (None, None, None, None, None, BTreeSet::new());
        let stands_for = None;
        let (since, needs) = (BTreeMap::new(), BTreeMap::new());
        let format = FORMAT.to_owned();
        let (ended_by_name, withheld) = (false, BTreeSet::new());
        Self {
            format,
            id,
            human,
            stands_for,
            identity,
            email,
            user,
            tenant,
            roles,
            given_by,
            since,
            needs,
            created,
            left,
            ended_by_name,
            withheld,
        }
    }

    /// Since when each of `roles` is held if they are given now: a role at another home is another right.
    pub(crate) fn since_with(
        &self,
        roles: &BTreeSet<Role>,
        tenant: Option<&TenantId>,
        now: Instant,
    ) -> BTreeMap<Role, Instant> {
        let held = |role: &Role| {
            let same = self.roles.contains(role) && self.tenant.as_ref() == tenant;
            same.then(|| self.since.get(role).copied().unwrap_or(self.created))
        };
        roles.iter().map(|role| (*role, held(role).unwrap_or(now))).collect()
    }

    /// The need of each of `roles` if they are given now: a role that is held keeps its own, the others get `need`.
    pub(crate) fn needs_with(
        &self,
        roles: &BTreeSet<Role>,
        tenant: Option<&TenantId>,
        need: impl Fn(Role) -> Option<String>,
    ) -> BTreeMap<Role, String> {
        let same_home = self.tenant.as_ref() == tenant;
        let kept = |role: &Role| self.needs.get(role).filter(|_| same_home && self.roles.contains(role)).cloned();
        roles.iter().filter_map(|role| Some((*role, kept(role).or_else(|| need(*role))?))).collect()
    }

    /// Roles for which no need is recorded.
    pub(crate) fn without_need(&self) -> impl Iterator<Item = Role> + '_ {
        self.roles.iter().copied().filter(|role| !self.needs.contains_key(role))
    }

    /// Whether this person may sign in.
    pub(crate) fn is_active(&self) -> bool {
        self.left.is_none()
    }

    /// Where they belong.
    pub(crate) fn home(&self, environment: &Environment) -> Place {
        match &self.tenant {
            Some(tenant) => Place::Scope(Scope::new(tenant.clone(), environment.clone())),
            None => Place::Environment(environment.clone()),
        }
    }

    /// The human who counts as the one behind the account wherever two are needed: an account that somebody made is theirs
    /// until another vouches for it, and so are those that it made.
    pub(crate) fn behind(&self) -> &PersonId {
        self.stands_for.as_ref().unwrap_or(&self.human)
    }

    /// The account and whose it is, for rules that take two people.
    pub(crate) fn reference(&self) -> PersonRef {
        PersonRef { account: self.id.clone(), person: self.behind().clone() }
    }
}

/// An id for somebody who comes for the first time: what the provider calls them if that can be an id and is free, else
/// one made from issuer and subject, with a number if they were here before. The name links nobody to anything: a taken one
/// is never shared.
pub(crate) fn id_for(identity: &Identity, name: Option<&str>, is_free: impl Fn(&str) -> bool) -> PrincipalId {
    let wished = name.map(str::to_ascii_lowercase).and_then(|name| PrincipalId::parse(&name).ok());
    wished.filter(|id| is_free(id.as_str())).unwrap_or_else(|| {
        let text = serde_json::to_vec(&(&identity.issuer, &identity.subject)).expect("texts have a JSON form");
        let digest = creta_proof::Hash::of(&[&text]);
        let id = format!("p-{}", hex::encode(&digest.as_bytes()[..12]));
        let again = (2_u32..).map(|time| format!("{id}-{time}"));
        let id = std::iter::once(id.clone()).chain(again).find(|id| is_free(id)).expect("nobody came so often");
        PrincipalId::parse(&id).expect("hexadecimal digits make an id")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ci21_a_name_that_is_taken_links_nobody_to_its_account() {
        let identity = |subject: &str| Identity { issuer: "https://idp.example".into(), subject: subject.into() };
        let free = |_: &str| true;
        assert_eq!(id_for(&identity("1"), Some("Ana@Example.com"), free).as_str(), "ana@example.com");
        let taken = |id: &str| id != "ana@example.com";
        let other = id_for(&identity("2"), Some("ana@example.com"), taken);
        assert!(other.as_str().starts_with("p-"), "{other}");
        assert_ne!(other, id_for(&identity("3"), Some("ana@example.com"), taken));
        let twice = |id: &str| taken(id) && id != other.as_str();
        assert_eq!(id_for(&identity("2"), None, twice).as_str(), format!("{other}-2"), "whoever comes back");
        for odd in [None, Some(""), Some("ana b"), Some("аna")] {
            assert_eq!(id_for(&identity("2"), odd, free), other, "{odd:?}");
        }
    }
}
