//! Provisioning: what the organisation's directory says about people becomes so here (SCIM 2.0).
//!
//! The directory knows a person by an id of its own, `externalId`, which has to be the subject under which the identity
//! provider vouches for them: by it an account is there before its person signs in for the first time, and ends when they
//! leave. What the directory said is kept one document for each user and group. Accounts end before that is written and
//! begin after it, so that a crash in between leaves nobody in who was told to go; [`People::settle`] does the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use creta_audit::{Details, Event};
use creta_iam::Role;
use creta_identity::oidc::Identity;
use creta_identity::scim::{Answer, Directory, ScimError};
use creta_model::{EnvironmentClass, Instant, Problem, TenantId};
use creta_programme::duties::DutyConflict;
use creta_store::MetadataStore;
use serde_json::{Value, json};

use super::duties::Given;
use super::person::id_for;
use super::{People, PersonRecord, checked_need, no_need};
use crate::config::{GroupRole, SignInConfig};
use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, from_store, internal};

const KIND: &str = "scim";
const FORMAT: &str = "creta.scim/1";

/// What the directory told us, and what it decides here.
pub(crate) struct Provisioning {
    metadata: Arc<dyn MetadataStore>,
    told: Mutex<Told>,
    /// Who vouches for people; none where nobody signs in.
    issuer: Option<String>,
    /// Names of groups to what they give.
    groups: BTreeMap<String, GroupRole>,
    /// Whether people whom the directory does not know are nobody.
    required: bool,
}

struct Told {
    directory: Directory,
    versions: BTreeMap<String, u64>,
    /// False after a failure, when memory may say something else than the disk.
    sound: bool,
}

/// Why a request of the directory was not answered as it asked.
pub(crate) enum Refused {
    /// By the rules of SCIM.
    Scim(ScimError),
    /// By a failure of ours.
    Failed(Problem),
}

impl Refused {
    /// As a problem, where this server itself asked.
    pub(super) fn into_problem(self) -> Problem {
        match self {
            Self::Failed(problem) => problem,
            Self::Scim(error) => {
                tracing::error!(%error, "the directory's own rules refuse what follows from an older copy");
                internal()
            }
        }
    }
}

impl From<ScimError> for Refused {
    fn from(error: ScimError) -> Self {
        Self::Scim(error)
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

impl Told {
    fn load(metadata: &dyn MetadataStore) -> Result<Self, Problem> {
        let (mut directory, mut versions) = (Directory::default(), BTreeMap::new());
        for document in metadata.list(KIND).map_err(|e| from_store(&e))? {
            let body = serde_json::from_slice::<Value>(&document.body).unwrap_or_default();
            if body["format"] != FORMAT || !directory.restore(&document.id, body["entry"].clone()) {
                tracing::error!("a user or group cannot be read; restore `metadata.sqlite`");
                return Err(internal());
            }
            versions.insert(document.id, document.version);
        }
        Ok(Self { directory, versions, sound: true })
    }

    fn keep(&mut self, metadata: &dyn MetadataStore, id: &str) -> Result<(), Problem> {
        let version = self.versions.get(id).copied();
        match (self.directory.document(id), version) {
            (Some(entry), version) => {
                let body = json!({ "format": FORMAT, "entry": entry }).to_string();
                let written = metadata.write(KIND, id, version, body.as_bytes()).map_err(|e| from_store(&e))?;
                self.versions.insert(id.to_owned(), written);
            }
            (None, Some(version)) => {
                metadata.delete(KIND, id, version).map_err(|e| from_store(&e))?;
                self.versions.remove(id);
            }
            (None, None) => {}
        }
        Ok(())
    }
}

impl Provisioning {
    pub(super) fn open(
        metadata: Arc<dyn MetadataStore>,
        config: Option<&SignInConfig>,
        class: EnvironmentClass,
    ) -> Result<Self, Problem> {
        for (name, given) in config.iter().flat_map(|config| &config.groups) {
            require_need(name, given, class)?;
        }
        Ok(Self {
            told: Mutex::new(Told::load(&*metadata)?),
            metadata,
            issuer: config.map(|config| config.issuer.clone()),
            groups: config.map(|config| config.groups.clone()).unwrap_or_default(),
            required: config.is_some_and(|config| config.provisioned),
        })
    }

    /// Whether a person may be here at all. Tenants' own people with a local account are not of this directory.
    pub(super) fn lets_in(&self, person: &PersonRecord) -> bool {
        !self.required || person.user.is_some() || (person.tenant.is_some() && person.identity.is_none())
    }

    /// Whether whoever the directory does not know may begin here.
    pub(super) fn takes_strangers(&self) -> bool {
        !self.required
    }

    /// Whether the roles of this person come from groups of the directory.
    pub(super) fn gives_roles_to(&self, person: &PersonRecord) -> bool {
        !self.groups.is_empty() && person.user.is_some()
    }

    /// The directory as it stands.
    fn told(&self) -> Result<MutexGuard<'_, Told>, Problem> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.sound {
            *told = Told::load(&*self.metadata)?;
        }
        Ok(told)
    }

    /// What the groups of somebody give.
    fn given_by_groups<'a>(
        &'a self,
        directory: &'a Directory,
        person: &'a PersonRecord,
    ) -> impl Iterator<Item = &'a GroupRole> {
        let user = person.user.as_deref().unwrap_or_default();
        let is_member = move |name: &str| directory.members_of(name).contains(user);
        self.groups.iter().filter(move |(name, _)| is_member(name.as_str())).map(|(_, given)| given)
    }

    /// For whom the provider would have to vouch, as far as the directory says that they are here.
    fn vouched(&self, directory: &Directory, user: &str) -> Option<Identity> {
        let subject = directory.external_id(user).filter(|_| directory.is_active(user))?;
        Some(Identity { issuer: self.issuer.clone()?, subject: subject.to_owned() })
    }
}

impl People {
    /// Something about users and groups.
    pub(crate) fn directory<T>(&self, ask: impl FnOnce(&Directory) -> T) -> Result<T, Problem> {
        Ok(ask(&self.provisioning.told()?.directory))
    }

    /// A change of users or groups, and what follows from it for people: they have left when this returns. `about` is the
    /// user or group that is changed, none for a new one.
    pub(crate) fn provision(
        &self,
        control: &ControlPlane,
        about: Option<&str>,
        change: impl FnOnce(&mut Directory) -> Result<Answer, ScimError>,
        now: Instant,
    ) -> Result<Answer, Refused> {
        let mut told = self.provisioning.told()?;
        let answer = change(&mut told.directory)?; // Refused, it changed nothing.
        let changed = changed_by(&answer, about);
        // From here on a failure leaves memory ahead of the disk.
        told.sound = false;
        for id in &changed {
            self.end_unvouched(control, &told.directory, id, now)?;
        }
        // Groups first: a group must not name somebody who is gone.
        let (users, groups): (Vec<_>, Vec<_>) = changed.iter().partition(|id| told.directory.user_name(id).is_some());
        let (gone, groups): (Vec<_>, Vec<_>) = groups.into_iter().partition(|id| told.directory.document(id).is_none());
        for id in groups.into_iter().chain(users).chain(gone) {
            told.keep(&*self.provisioning.metadata, id)?;
        }
        for id in &changed {
            self.begin_vouched(control, &told.directory, id, now)?;
        }
        self.assign_by_groups(control, &told.directory, now)?;
        told.sound = true;
        Ok(answer)
    }

    /// Makes everybody what the directory says: after a start, and whatever was cut short before it.
    pub(crate) fn settle(&self, control: &ControlPlane, now: Instant) -> Result<(), Problem> {
        let told = self.provisioning.told()?;
        let linked: BTreeSet<String> = self.persons.list(|_| true).into_iter().filter_map(|p| p.user).collect();
        linked.iter().try_for_each(|user| self.end_unvouched(control, &told.directory, user, now))?;
        for user in told.directory.active_users() {
            self.begin_vouched(control, &told.directory, user, now)?;
        }
        self.assign_by_groups(control, &told.directory, now)
    }

    /// Accounts that stand although the directory is in use and does not vouch for them, by id.
    pub(crate) fn orphans(&self) -> Result<Vec<PersonRecord>, Problem> {
        let in_use = !self.directory(Directory::is_empty)? || !self.provisioning.takes_strangers();
        if in_use { self.unvouched_among(self.persons()) } else { Ok(Vec::new()) }
    }

    /// Those of `persons` who are active by the provider's word and whom the directory does not vouch for.
    pub(crate) fn unvouched_among(&self, mut persons: Vec<PersonRecord>) -> Result<Vec<PersonRecord>, Problem> {
        let told = self.provisioning.told()?;
        let vouched = |person: &PersonRecord| {
            let user = person.user.as_deref();
            user.is_some_and(|user| self.provisioning.vouched(&told.directory, user) == person.identity)
        };
        persons.retain(|person| person.is_active() && person.identity.is_some() && !vouched(person));
        Ok(persons)
    }

    /// How many accounts were ended here by name whose person the directory still vouches for, and how many people are in groups
    /// whose roles a review took from them.
    pub(crate) fn kept_apart(&self) -> Result<(usize, usize), Problem> {
        let told = self.provisioning.told()?;
        let vouched: Vec<Identity> =
            told.directory.active_users().filter_map(|user| self.provisioning.vouched(&told.directory, user)).collect();
        let ended = |person: &PersonRecord| {
            person.ended_by_name && person.identity.as_ref().is_some_and(|identity| vouched.contains(identity))
        };
        let withheld = |person: &PersonRecord| {
            let mut given = self.provisioning.given_by_groups(&told.directory, person);
            let some = person.is_active() && !person.withheld.is_empty();
            some && given.any(|group| person.withheld.contains(&group.role))
        };
        Ok((self.persons.list(ended).len(), self.persons.list(withheld).len()))
    }

    /// Whether `roles` are those that somebody holds, with others that a review took from them and that their groups still give:
    /// these are given again by name.
    pub(super) fn are_given_again(
        &self,
        person: &PersonRecord,
        tenant: Option<&TenantId>,
        roles: &BTreeSet<Role>,
    ) -> Result<bool, Problem> {
        let told = self.provisioning.told()?;
        let given: BTreeSet<Role> = self
            .provisioning
            .given_by_groups(&told.directory, person)
            .filter(|group| group.tenant.as_ref() == tenant)
            .map(|group| group.role)
            .collect();
        let mut new = roles.difference(&person.roles);
        Ok(person.tenant.as_ref() == tenant
            && roles.is_superset(&person.roles)
            && new.all(|role| person.withheld.contains(role) && given.contains(role)))
    }

    /// Takes back that an account was ended by name: whom the directory vouches for has a new one when this returns. Their
    /// sessions, grants and roles of before are gone.
    pub(crate) fn readmit(&self, control: &ControlPlane, id: &str, now: Instant) -> Result<(), Problem> {
        let ended = self.require_person(id)?;
        let identity = ended.identity.clone().filter(|_| ended.ended_by_name).ok_or_else(|| {
            Problem::new("conflict/person", format!("`{id}` was not ended here by name, or is not of the directory"))
                .with_help("`creta person list` shows who is here")
        })?;
        for person in self.persons.list(|person| person.identity.as_ref() == Some(&identity) && person.ended_by_name) {
            let back =
                |person: &PersonRecord| Ok::<_, Problem>(PersonRecord { ended_by_name: false, ..person.clone() });
            self.persons.change(person.id.as_str(), back)?;
        }
        self.settle(control, now)
    }

    /// Ends the accounts of a user who is gone, inactive, or has become somebody else.
    fn end_unvouched(
        &self,
        control: &ControlPlane,
        directory: &Directory,
        user: &str,
        now: Instant,
    ) -> Result<(), Problem> {
        let vouched = self.provisioning.vouched(directory, user);
        let issuer = self.provisioning.issuer.as_ref();
        // Accounts at another provider are not this directory's: a mistyped address must not end everybody.
        let ours = |person: &PersonRecord| person.identity.as_ref().map(|identity| &identity.issuer) == issuer;
        let ends = |person: &PersonRecord| {
            person.is_active() && person.user.as_deref() == Some(user) && ours(person) && person.identity != vouched
        };
        for person in self.persons.list(ends) {
            record(control, &person, Event::new("person.left", control.place()).for_commitment("CH-33"))?;
            self.leave(control, person.id.as_str(), now)?;
        }
        Ok(())
    }

    /// Makes the account of a user who is here, or finds the one that their person already has. Who comes back gets a new
    /// one, of the same human.
    fn begin_vouched(
        &self,
        control: &ControlPlane,
        directory: &Directory,
        user: &str,
        now: Instant,
    ) -> Result<(), Problem> {
        let Some(identity) = self.provisioning.vouched(directory, user) else { return Ok(()) };
        let known = self.persons.list(|person| person.identity.as_ref() == Some(&identity));
        if let Some(active) = known.iter().find(|person| person.is_active()) {
            if active.user.is_none() {
                let link = |person: &PersonRecord| {
                    let mut person = person.clone();
                    person.user = Some(user.to_owned());
                    Ok::<_, Problem>(person)
                };
                self.persons.change(active.id.as_str(), link)?;
            }
            return Ok(());
        }
        if known.iter().any(|person| person.ended_by_name) {
            return Ok(());
        }
        let email = directory.email(user);
        let is_free = |id: &str| self.persons.with(id, |_| ()).is_none();
        let id = id_for(&identity, email.or_else(|| directory.user_name(user)), is_free);
        let mut person = PersonRecord::new(id, None, now);
        if let Some(before) = known.last() {
            person.human = before.human.clone();
            person.withheld = known.iter().flat_map(|person| &person.withheld).copied().collect();
        }
        (person.identity, person.email, person.user) =
            (Some(identity), email.map(str::to_owned), Some(user.to_owned()));
        record(control, &person, Event::new("person.provisioned", control.place()))?;
        self.persons.add(person)?.map(drop).ok_or_else(internal)
    }

    /// Gives everybody whom the directory knows the roles of their groups, and no others.
    fn assign_by_groups(&self, control: &ControlPlane, directory: &Directory, now: Instant) -> Result<(), Problem> {
        if self.provisioning.groups.is_empty() {
            return Ok(());
        }
        let given: Vec<(&GroupRole, BTreeSet<String>)> =
            self.provisioning.groups.iter().map(|(name, given)| (given, directory.members_of(name))).collect();
        let _one_at_a_time = self.one_at_a_time();
        for person in self.persons.list(|person| person.is_active() && person.user.is_some()) {
            let user = person.user.clone().unwrap_or_default();
            let own = given.iter().filter(|(_, members)| members.contains(&user)).map(|(given, _)| *given);
            let exists = |tenant: &TenantId| control.require_tenant(tenant).is_ok();
            let (tenant, mut roles) = standing_of(own, person.tenant.as_ref(), exists);
            roles.retain(|role| !person.withheld.contains(role));
            if (&tenant, &roles) == (&person.tenant, &person.roles) {
                continue;
            }
            let mut after = person.clone();
            after.given_by = None;
            let need = |role: Role| {
                let mut groups = given.iter().filter(|(_, members)| members.contains(&user));
                groups.find(|(group, _)| group.role == role).and_then(|(group, _)| group.need.clone())
            };
            after.needs = person.needs_with(&roles, tenant.as_ref(), need);
            (after.since, after.tenant, after.roles) = (person.since_with(&roles, tenant.as_ref(), now), tenant, roles);
            // Groups that put two duties into one hand which must be apart give nothing.
            if let Err(conflict) = self.apart(control, &Given::Accounts(std::slice::from_ref(&after)), now)? {
                let groups: Vec<(&String, &GroupRole)> = self.provisioning.groups.iter().collect();
                let paths = paths_of(&person, &user, &conflict, directory, &groups)?;
                let event = Event::new("duties.refused", control.place()).for_commitment(conflict.commitment());
                control.log().record(event.with(paths)).map_err(|e| from_audit(&e))?;
                (after.tenant, after.roles, after.since) = (person.tenant.clone(), BTreeSet::new(), BTreeMap::new());
                after.needs.clear();
                if person.roles.is_empty() {
                    continue;
                }
            }
            let names: Vec<&str> = after.roles.iter().map(|role| role.as_str()).collect();
            let details = details_of(&person)?;
            let details = if names.is_empty() { Ok(details) } else { details.name("roles", names.join("+")) };
            let event = Event::new("person.assigned", control.place()).with(details.map_err(|e| from_audit(&e))?);
            control.log().record(event).map_err(|e| from_audit(&e))?;
            self.persons.change(person.id.as_str(), |_| Ok::<_, Problem>(after))?;
        }
        Ok(())
    }
}

/// What a group gives serves a need that is written down, outside class development.
fn require_need(name: &str, given: &GroupRole, class: EnvironmentClass) -> Result<(), Problem> {
    let checked = given.need.as_deref().map(checked_need).transpose();
    let problem = match checked {
        Err(problem) => problem,
        Ok(None) if class != EnvironmentClass::Development => no_need(given.role),
        Ok(_) => return Ok(()),
    };
    let line = format!("`[sign_in.groups]`, `{name}`");
    Err(problem.with_note("place", line, None).with_help("add `need = \"...\"` to the group in `config.toml`"))
}

/// What the groups of one person make of them: home and roles. Nobody has two homes: groups of two tenants, or of a tenant
/// and the staff, give nothing.
fn standing_of<'a>(
    given: impl Iterator<Item = &'a GroupRole>,
    home: Option<&TenantId>,
    exists: impl Fn(&TenantId) -> bool,
) -> (Option<TenantId>, BTreeSet<Role>) {
    let given: Vec<&GroupRole> = given.collect();
    let homes: BTreeSet<Option<&TenantId>> = given.iter().map(|given| given.tenant.as_ref()).collect();
    match homes.iter().collect::<Vec<_>>().as_slice() {
        [tenant] if tenant.is_none_or(&exists) => (tenant.cloned(), given.iter().map(|given| given.role).collect()),
        _ => (home.cloned(), BTreeSet::new()),
    }
}

/// The users and groups that an answer is about.
fn changed_by(answer: &Answer, about: Option<&str>) -> BTreeSet<String> {
    use creta_identity::scim::Event::{GroupChanged, Joined, Left};
    let made = answer.body.as_ref().and_then(|body| body["id"].as_str());
    let of_event = answer.events.iter().map(|event| match event {
        Joined { user } | Left { user } => user.as_str(),
        GroupChanged { group } => group.as_str(),
    });
    about.into_iter().chain(made).chain(of_event).map(str::to_owned).collect()
}

fn details_of(person: &PersonRecord) -> Result<Details, Problem> {
    Details::none().name("person", person.id.as_str()).map_err(|e| from_audit(&e))
}

/// Which duties would have come into one hand, and through which groups: the log gets the ids of the outermost and the
/// innermost of each way, the server's output all their names.
fn paths_of(
    person: &PersonRecord,
    user: &str,
    conflict: &DutyConflict,
    directory: &Directory,
    given: &[(&String, &GroupRole)],
) -> Result<Details, Problem> {
    let named = |details: Details, key: &'static str, name: &str| details.name(key, name).map_err(|e| from_audit(&e));
    let mut details = details_of(person)?;
    for (duty, groups, path) in [("left", "left-groups", &conflict.left), ("right", "right-groups", &conflict.right)] {
        details = named(details, duty, path.duty.as_str())?;
        let is_of = |role: Role| {
            let node = format!("role:{role}");
            path.through.iter().any(|through| through.as_str().split('@').next() == Some(node.as_str()))
        };
        let way =
            given.iter().filter(|(_, given)| is_of(given.role)).find_map(|(name, _)| directory.path_to(name, user));
        let Some(way) = way else { continue };
        let names: Vec<&str> = way.iter().map(|(_, name)| name.as_str()).collect();
        tracing::warn!(
            person = person.id.as_str(),
            duty = path.duty.as_str(),
            groups = names.join(" > "),
            "duties that must be apart"
        );
        let (outer, inner) = (way.first().expect("a way has groups"), way.last().expect("a way has groups"));
        let ids = if way.len() == 1 { outer.0.clone() } else { format!("{}/{}", outer.0, inner.0) };
        details = named(details, groups, &ids)?;
    }
    Ok(details)
}

fn record(control: &ControlPlane, person: &PersonRecord, event: Event) -> Result<(), Problem> {
    control.log().record(event.with(details_of(person)?)).map(drop).map_err(|e| from_audit(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ch35_groups_of_two_homes_give_nothing() {
        let acme = TenantId::parse("acme").expect("valid");
        let globex = TenantId::parse("globex").expect("valid");
        let of = |role, tenant: Option<&TenantId>| GroupRole { role, tenant: tenant.cloned(), need: None };
        let given = |groups: &[GroupRole]| standing_of(groups.iter(), Some(&globex), |tenant| *tenant == acme);
        let both = [of(Role::Viewer, Some(&acme)), of(Role::Developer, Some(&acme))];
        assert_eq!(given(&both), (Some(acme.clone()), BTreeSet::from([Role::Viewer, Role::Developer])));
        assert_eq!(given(&[of(Role::Auditor, None)]), (None, BTreeSet::from([Role::Auditor])));
        let nothing = (Some(globex.clone()), BTreeSet::new());
        assert_eq!(given(&[]), nothing);
        assert_eq!(given(&[of(Role::Viewer, Some(&acme)), of(Role::Administrator, None)]), nothing);
        assert_eq!(given(&[of(Role::Viewer, Some(&acme)), of(Role::Viewer, Some(&globex))]), nothing);
        assert_eq!(given(&[of(Role::Viewer, Some(&globex))]), nothing, "a tenant that is not there");
    }

    #[test]
    fn attack_ci20_outside_development_a_group_without_a_need_stops_the_start() {
        let of = |need: Option<&str>| GroupRole { role: Role::Viewer, tenant: None, need: need.map(str::to_owned) };
        let asked = |need, class| require_need("all", &of(need), class).map_err(|problem| problem.code);
        let says = Some("Builds and runs the features of the shop");
        for class in [EnvironmentClass::Staging, EnvironmentClass::Production] {
            assert_eq!(asked(None, class), Err("access/need".into()));
            assert_eq!(asked(Some("needed for work"), class), Err("access/need".into()));
            assert_eq!(asked(says, class), Ok(()));
        }
        assert_eq!(asked(None, EnvironmentClass::Development), Ok(()));
        assert_eq!(asked(Some("needed for work"), EnvironmentClass::Development), Err("access/need".into()));
    }
}
