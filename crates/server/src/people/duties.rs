//! Duties that must not lie in one hand, looked for before anything is given to anybody. The rule stands in
//! `creta_programme::duties`; what a role amounts to is asked of the policies that hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

use creta_audit::{Details, Event};
use creta_iam::{
    Action, Assurance, DeviceTrust, FeatureSet, GrantId, HeldGrant, Person, Place, Policies, Principal, PrincipalId,
    Resource, Role, Seal, Standing, decide,
};
use creta_model::{EnvironmentClass, Instant, Problem, Scope, TenantId};
use creta_programme::duties::{Duty, DutyConflict, Holder, Node, Roster, Toxic};
use creta_programme::{PersonId, PersonRef, SubjectId};

use super::{People, PersonRecord};
use crate::accounts::{Account, client_id};
use crate::context::resource;
use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, internal};
use crate::trust::probes::is_of_checks;

/// Something that is about to be given to somebody.
pub(crate) enum Given<'a> {
    /// Accounts as they will be: home, roles, and whose they are.
    Accounts(&'a [PersonRecord]),
    /// A role for hours.
    Grant { holder: &'a PersonRef, role: Role, place: &'a Place },
    /// A service account.
    Program(&'a Principal),
}

/// The programs that somebody made and nobody ended: those that only checks of this server use are nobody's.
pub(super) fn living_programs(control: &ControlPlane) -> Vec<Account> {
    let programs = control.programs().into_iter();
    programs.filter(|account| account.revoked.is_none() && !is_of_checks(&account.client_id)).collect()
}

impl People {
    /// Gives something to somebody if that puts no two duties into one hand that must be apart. One at a time, so that two
    /// halves given at once do not pass each other.
    pub(crate) fn give<T>(
        &self,
        control: &ControlPlane,
        by: &Principal,
        given: &Given<'_>,
        now: Instant,
        effect: impl FnOnce() -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let _one_at_a_time = self.one_at_a_time();
        self.require_apart(control, by, given, now)?;
        effect()
    }

    /// Held by whoever gives something, from the question until it is given.
    pub(super) fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.giving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses, with the path shown, what would put two duties into one hand that must be apart.
    pub(super) fn require_apart(
        &self,
        control: &ControlPlane,
        by: &Principal,
        given: &Given<'_>,
        now: Instant,
    ) -> Result<(), Problem> {
        self.apart(control, given, now)?.map_err(|conflict| refused(control, by, &conflict))
    }

    /// What lies in one hand and should not, by all that is given now.
    pub(super) fn toxic(&self, control: &ControlPlane, now: Instant) -> Result<Vec<Toxic>, Problem> {
        let allows = by_ruling(control);
        Ok(self.everybody(control, Asking::new(&allows, self.class), now)?.toxic())
    }

    /// Refuses policies by which two duties would come to lie in one hand that do not today.
    pub(crate) fn require_policies_apart(
        &self,
        control: &ControlPlane,
        by: &Principal,
        policies: &Policies,
        now: Instant,
    ) -> Result<(), Problem> {
        let today = by_ruling(control);
        let then = |principal: &Principal, action: Action, resource: &Resource| {
            decide(policies, principal, action, resource).is_allowed()
        };
        let before = self.everybody(control, Asking::new(&today, self.class), now)?;
        let after = self.everybody(control, Asking::new(&then, self.class), now)?;
        before.require_change(&after).map_err(|conflict| refused(control, by, &conflict))
    }

    fn everybody(&self, control: &ControlPlane, mut asking: Asking<'_>, now: Instant) -> Result<Roster, Problem> {
        let accounts = self.persons();
        let mut roster = self.roster(asking.again(), (&accounts, &Hands::of(&accounts)), now)?;
        for account in &living_programs(control) {
            let node = account_node(account)?;
            roster.accounts.insert(node.clone(), Holder::Program(node.clone()));
            for duty in asking.of_program(&account.principal) {
                roster.given.push((node.clone(), duty, account.principal.home()));
            }
        }
        Ok(roster)
    }

    /// Every action that a role amounts to for a person of `home`.
    pub(super) fn actions_of_person(&self, control: &ControlPlane, role: Role, home: &Place) -> Vec<Action> {
        let allows = by_ruling(control);
        let asking = Asking::new(&allows, self.class);
        asking.actions(&asking.person(role, home, None), home, Action::ALL)
    }

    /// Every action that a role amounts to for a person of `home` who is granted it on `place`.
    pub(super) fn actions_of_grant(
        &self,
        control: &ControlPlane,
        role: Role,
        home: &Place,
        place: &Place,
    ) -> Vec<Action> {
        let allows = by_ruling(control);
        let asking = Asking::new(&allows, self.class);
        asking.actions(&asking.person(role, home, Some(place)), place, Action::ALL)
    }

    /// Every action that a service account may do.
    pub(super) fn actions_of_program(&self, control: &ControlPlane, principal: &Principal) -> Vec<Action> {
        let allows = by_ruling(control);
        let asking = Asking::new(&allows, self.class);
        asking.actions(principal, &principal.home(), Action::ALL)
    }

    /// What would lie in one hand and should not.
    pub(super) fn apart(
        &self,
        control: &ControlPlane,
        given: &Given<'_>,
        now: Instant,
    ) -> Result<Result<(), DutyConflict>, Problem> {
        let allows = by_ruling(control);
        let asking = Asking::new(&allows, self.class);
        let (before, after) = match given {
            Given::Accounts(changed) => {
                let is_changed = |other: &PersonRecord| changed.iter().any(|person| person.id == other.id);
                let mut accounts = self.persons.list(|other| !is_changed(other));
                accounts.extend(changed.iter().cloned());
                let hands = Hands::of(&accounts);
                let concerned: BTreeSet<PersonId> = changed.iter().map(|person| hands.whose(&person.human)).collect();
                accounts.retain(|other| concerned.contains(&hands.whose(&other.human)));
                let after = self.roster(asking.again(), (&accounts, &hands), now)?;
                accounts.retain(|other| !is_changed(other));
                (self.roster(asking, (&accounts, &hands), now)?, after)
            }
            Given::Grant { holder, role, place } => {
                let mut accounts = self.persons();
                let hands = Hands::of(&accounts);
                let own = hands.whose(&holder.person);
                accounts.retain(|other| hands.whose(&other.human) == own);
                let mut after = self.roster(asking.again(), (&accounts, &hands), now)?;
                let before = after.clone();
                let home = self.persons.find(holder.account.as_str()).ok_or_else(internal)?.home(&self.environment);
                let mut asking = asking;
                for duty in asking.of_person(*role, &home, Some(place)) {
                    after.given.push((person_node(&holder.account)?, duty, (*place).clone()));
                }
                (before, after)
            }
            // On a developer's own machine one program does everything; nothing of worth is within its reach.
            Given::Program(_) if self.class == EnvironmentClass::Development => return Ok(Ok(())),
            Given::Program(principal) => {
                let (mut after, mut asking) = (Roster::default(), asking);
                let scope = principal.scope().ok_or_else(internal)?;
                let node = program_node(principal.id(), &scope.tenant)?;
                after.accounts.insert(node.clone(), Holder::Program(node.clone()));
                for duty in asking.of_program(principal) {
                    after.given.push((node.clone(), duty, principal.home()));
                }
                (Roster::default(), after)
            }
        };
        Ok(before.require_change(&after))
    }

    /// What these accounts hold: roles where they belong, and grants where they hold.
    fn roster(
        &self,
        mut asking: Asking<'_>,
        (accounts, hands): (&[PersonRecord], &Hands),
        now: Instant,
    ) -> Result<Roster, Problem> {
        let mut roster = Roster::default();
        for person in accounts.iter().filter(|person| person.is_active()) {
            let (node, home) = (person_node(&person.id)?, person.home(&self.environment));
            roster.accounts.insert(node.clone(), Holder::Human(hands.whose(&person.human)));
            for role in &person.roles {
                // The role stands between the person and the duty, so that the path names it.
                let role_node = node_of(&format!("role:{role}@{}", home.path()))?;
                roster.members.insert((node.clone(), role_node.clone()));
                for duty in asking.of_person(*role, &home, None) {
                    roster.given.push((role_node.clone(), duty, home.clone()));
                }
            }
            for grant in self.access.held(&person.id, now) {
                for duty in asking.of_person(grant.role, &home, Some(&grant.place)) {
                    roster.given.push((node.clone(), duty, grant.place.clone()));
                }
            }
        }
        // Several accounts of a kind may be in one role: each duty of it is given once.
        let given: BTreeSet<_> = std::mem::take(&mut roster.given).into_iter().map(Sorted).collect();
        roster.given = given.into_iter().map(|Sorted(given)| given).collect();
        Ok(roster)
    }
}

/// Whose hand each human's accounts are in, for what must be apart: accounts of one human, and those that they made and nobody
/// else vouched for yet, are one hand, and so are those that are linked through others.
struct Hands(BTreeMap<PersonId, PersonId>);

impl Hands {
    fn of(accounts: &[PersonRecord]) -> Self {
        let mut hands = Self(BTreeMap::new());
        for person in accounts.iter().filter(|person| person.behind() != &person.human) {
            let (own, makers) = (hands.whose(&person.human), hands.whose(person.behind()));
            if own != makers {
                hands.0.insert(own, makers);
            }
        }
        hands
    }

    /// One name for everybody in the same hand.
    fn whose(&self, human: &PersonId) -> PersonId {
        let mut whose = human;
        while let Some(next) = self.0.get(whose) {
            whose = next;
        }
        whose.clone()
    }
}

/// Places have no order of their own; their paths do.
struct Sorted((Node, Duty, Place));

impl Sorted {
    fn key(&self) -> (&Node, Duty, String) {
        (&self.0.0, self.0.1, self.0.2.path())
    }
}

impl PartialEq for Sorted {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Sorted {}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

pub(crate) fn node_of(text: &str) -> Result<Node, Problem> {
    SubjectId::parse(text).map_err(|_| internal())
}

pub(crate) fn person_node(id: &PrincipalId) -> Result<Node, Problem> {
    node_of(&format!("person:{id}"))
}

fn program_node(name: &PrincipalId, tenant: &TenantId) -> Result<Node, Problem> {
    node_of(&format!("service-account:{}", client_id(name.as_str(), tenant)))
}

/// The name of a service account in reviews and rosters.
pub(crate) fn account_node(account: &Account) -> Result<Node, Problem> {
    node_of(&format!("service-account:{}", account.client_id))
}

/// Whether the policies that hold allow something.
fn by_ruling(control: &ControlPlane) -> impl Fn(&Principal, Action, &Resource) -> bool + '_ {
    |principal, action, resource| control.decide(principal, action, resource).is_allowed()
}

/// Asks the policies which duties a role amounts to, each once.
struct Asking<'a> {
    /// Whether the policies allow something.
    allows: &'a dyn Fn(&Principal, Action, &Resource) -> bool,
    class: EnvironmentClass,
    known: BTreeMap<(Role, String), BTreeSet<Duty>>,
}

impl<'a> Asking<'a> {
    fn new(allows: &'a dyn Fn(&Principal, Action, &Resource) -> bool, class: EnvironmentClass) -> Self {
        Self { allows, class, known: BTreeMap::new() }
    }

    fn again(&self) -> Asking<'a> {
        Asking { allows: self.allows, class: self.class, known: self.known.clone() }
    }

    /// The duties of a person of `home` with a role there or, by a grant, at another place.
    fn of_person(&mut self, role: Role, home: &Place, granted: Option<&Place>) -> BTreeSet<Duty> {
        let place = granted.unwrap_or(home);
        let key = (role, format!("{} {}", home.path(), place.path()));
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let principal = self.person(role, home, granted);
        let duties = Duty::of_role(role, self.actions(&principal, place, &concerned()));
        self.known.insert(key, duties.clone());
        duties
    }

    /// Somebody of `home` with a role, at the most that it can amount to: whoever has it for good may be granted it for
    /// hours.
    fn person(&self, role: Role, home: &Place, granted: Option<&Place>) -> Principal {
        let id = GrantId::parse("asked").expect("letters make an id");
        let grant = HeldGrant { id, role, place: granted.unwrap_or(home).clone() };
        let standing = Standing {
            roles: if granted.is_some() { BTreeSet::new() } else { BTreeSet::from([role]) },
            grants: BTreeSet::from([grant]),
            assurance: Assurance { user_verified: true, device: DeviceTrust::Trusted, seal: Seal::Intact },
            class: self.class,
        };
        let id = PrincipalId::parse("asked").expect("letters make an id");
        Principal::Person(Person::new(id, home.clone(), standing))
    }

    fn of_program(&mut self, principal: &Principal) -> BTreeSet<Duty> {
        let actions = self.actions(principal, &principal.home(), &concerned());
        actions.into_iter().filter_map(Duty::of_action).collect()
    }

    /// Those of `among` that are allowed at `place`, or in any scope within it.
    fn actions(&self, principal: &Principal, place: &Place, among: &[Action]) -> Vec<Action> {
        let mut places = vec![place.clone()];
        if let Place::Environment(environment) = place {
            let any = TenantId::parse("any-tenant").expect("a valid name");
            places.push(Place::Scope(Scope::new(any, environment.clone())));
        }
        let allowed = |action: Action| {
            places.iter().any(|place| (self.allows)(principal, action, &resource(place, FeatureSet::none())))
        };
        among.iter().copied().filter(|action| allowed(*action)).collect()
    }
}

/// Actions that are part of a duty.
fn concerned() -> Vec<Action> {
    Action::ALL.iter().copied().filter(|action| Duty::of_action(*action).is_some()).collect()
}

fn refused(control: &ControlPlane, by: &Principal, conflict: &DutyConflict) -> Problem {
    let subject = conflict.left.through.first().map_or("nobody", |node| node.as_str());
    let details = Details::none()
        .name("subject", subject)
        .and_then(|details| details.name("left", conflict.left.duty.as_str()))
        .and_then(|details| details.name("right", conflict.right.duty.as_str()));
    match details {
        Ok(details) => {
            let event = Event::new("duties.refused", control.place()).by(by).with(details);
            control.record(event.for_commitment(conflict.commitment()));
        }
        Err(error) => return from_audit(&error),
    }
    Problem::new(conflict.code(), conflict.to_string())
        .with_help("give one of the two to somebody else, or take the other away first")
}
