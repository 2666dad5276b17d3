//! What an account would get of features beside what its maker gets: a secret in somebody's hands is access for them.

use std::collections::BTreeSet;

use creta_model::Scope;
use serde::Serialize;

use crate::compare::subsets;
use crate::{
    Action, FeatureSet, IamError, Level, Person, Place, Policies, Principal, Resource, Role, RowRules, Standing,
    WrittenRowRule, decide,
};

/// The feature that stands for all of a set of tags. Policies name no feature, so any does.
const ANY: &str = "Any.feature";

/// Features of which an account gets more than its maker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excess {
    /// Their tags, in order; none for features without any.
    pub tags: Vec<String>,
    /// What the maker gets of them for good.
    pub maker: Level,
    /// What the account gets.
    pub account: Level,
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tags, maker, account } = self;
        match tags.is_empty() {
            true => write!(f, "features without a tag: `{account}` for it, `{maker}` for you"),
            false => write!(f, "features tagged {}: `{account}` for it, `{maker}` for you", tags.join(", ")),
        }
    }
}

/// The first set of tags of whose features `account` gets more in `scope` than `maker`, if there is one. What a person holds
/// for hours does not count: the account outlives it.
///
/// Asked are every set of the tags that policies speak of, by itself and with one that they do not know. Some milliseconds.
pub fn excess(
    policies: &Policies,
    maker: &Principal,
    account: &Principal,
    scope: &Scope,
) -> Result<Option<Excess>, IamError> {
    let maker = for_good(maker);
    let found = subsets(&policies.words()?).into_iter().find_map(|tags| {
        let (maker, account) = (given(policies, &maker, scope, &tags), given(policies, account, scope, &tags));
        (account > maker).then_some(Excess { tags, maker, account })
    });
    Ok(found)
}

/// What decides on what features and levels there are, so that it amounts to more than one's own level of them: definitions
/// may leave a tag out, facts may say what a row rule asks for, and a directory makes people.
const POWERS: [Action; 3] = [Action::Deploy, Action::Ingest, Action::ScimWrite];

/// The first of the actions that change what is decided by which `account` may do at home and `maker` may not for good.
pub fn power_excess(policies: &Policies, maker: &Principal, account: &Principal) -> Option<Action> {
    let maker = for_good(maker);
    let resource = match account.home() {
        Place::Environment(environment) => Resource::environment(environment),
        Place::Scope(scope) => Resource::features(scope, FeatureSet::none()),
    };
    let may = |principal: &Principal, action| decide(policies, principal, action, &resource).is_allowed();
    POWERS.into_iter().find(|action| may(account, *action) && !may(&maker, *action))
}

/// The first row rule that binds `maker` for good and not `account`, if the account gets features at all: what it would be
/// answered are rows that its maker is not.
pub fn row_excess<'r>(rules: &'r RowRules, maker: &Principal, account: &Principal) -> Option<&'r WrittenRowRule> {
    let role = account.role().filter(|role| matches!(role, Role::Reader | Role::Developer))?;
    let own = match maker {
        Principal::Person(person) => person.standing().roles.clone(),
        Principal::ServiceAccount { role, .. } => BTreeSet::from([*role]),
        Principal::Administrator { .. } => BTreeSet::new(),
    };
    rules.rules.iter().find(|rule| !rule.roles.is_disjoint(&own) && !rule.roles.contains(&role))
}

/// What a principal is answered of features with these tags, by a query or in a training set.
fn given(policies: &Policies, principal: &Principal, scope: &Scope, tags: &[String]) -> Level {
    let features = FeatureSet::new([(ANY, tags.iter().cloned().collect::<BTreeSet<_>>())]);
    let resource = Resource::features(scope.clone(), features);
    let of = |action| decide(policies, principal, action, &resource).level_of(ANY);
    [Action::Query, Action::Train].into_iter().filter_map(of).max().unwrap_or(Level::Deny)
}

fn for_good(principal: &Principal) -> Principal {
    let Principal::Person(person) = principal else { return principal.clone() };
    let standing = Standing { grants: BTreeSet::new(), ..person.standing().clone() };
    Principal::Person(Person::new(person.id().clone(), person.home().clone(), standing))
}

#[cfg(test)]
mod tests {
    use creta_model::EnvironmentClass;

    use super::*;
    use crate::{Assurance, DeviceTrust, GrantId, HeldGrant, PrincipalId, RowOp, Seal};

    const SURE: Assurance = Assurance { user_verified: true, device: DeviceTrust::Trusted, seal: Seal::Intact };

    fn id(text: &str) -> PrincipalId {
        PrincipalId::parse(text).expect("valid")
    }

    fn person(home: Place, roles: &[Role], granted: &[Role], class: EnvironmentClass) -> Principal {
        let grant = |role: &Role| HeldGrant {
            id: GrantId::parse(role.as_str()).expect("valid"),
            role: *role,
            place: home.clone(),
        };
        let standing = Standing {
            roles: roles.iter().copied().collect(),
            grants: granted.iter().map(grant).collect(),
            assurance: SURE,
            class,
        };
        Principal::Person(Person::new(id("ana"), home.clone(), standing))
    }

    #[test]
    fn attack_ci20_an_account_that_gets_more_than_its_maker_is_noticed() {
        let scope = Scope::parse("acme", "prod").expect("valid");
        let (own, staff) = (Place::Scope(scope.clone()), Place::Environment(scope.environment.clone()));
        let program = |role| Principal::service_account(id("etl"), scope.clone(), role);
        let (staging, production) = (EnvironmentClass::Staging, EnvironmentClass::Production);
        let admin = Principal::administrator(id("admin"), scope.environment.clone());
        let pii = Some((vec!["pii".to_owned()], Level::Masked, Level::Allow));
        let all = Some((vec![], Level::Deny, Level::Allow));
        for (what, maker, account, class, expected) in [
            ("the local administrator sees no data", admin, Role::Reader, staging, all.clone()),
            ("nor does staff", person(staff, &[Role::Operator], &[], staging), Role::Reader, staging, all.clone()),
            (
                "an operator asks for none",
                person(own.clone(), &[Role::Operator], &[], staging),
                Role::Reader,
                staging,
                all.clone(),
            ),
            (
                "a viewer gets it masked",
                person(own.clone(), &[Role::Operator, Role::Viewer], &[], staging),
                Role::Reader,
                staging,
                pii.clone(),
            ),
            (
                "hours do not count",
                person(own.clone(), &[Role::Viewer], &[Role::Developer, Role::Operator], staging),
                Role::Reader,
                staging,
                pii,
            ),
            (
                "nobody has anything for good in production",
                person(own.clone(), &[Role::Developer], &[Role::Developer], production),
                Role::Reader,
                production,
                all,
            ),
            (
                "an ingester reads nothing",
                person(own.clone(), &[Role::Operator], &[], staging),
                Role::Ingester,
                staging,
                None,
            ),
            ("a deployer neither", person(own, &[Role::Operator], &[], production), Role::Deployer, production, None),
            ("a program as its twin", program(Role::Reader), Role::Reader, production, None),
        ] {
            let policies = Policies::load().expect("valid").in_class(class);
            let found = excess(&policies, &maker, &program(account), &scope).expect("asked");
            assert_eq!(found.map(|found| (found.tags, found.maker, found.account)), expected, "{what}");
        }
    }

    #[test]
    fn attack_ci20_an_account_that_changes_what_is_decided_by_is_noticed() {
        let scope = Scope::parse("acme", "prod").expect("valid");
        let (own, staff) = (Place::Scope(scope.clone()), Place::Environment(scope.environment.clone()));
        let (staging, production) = (EnvironmentClass::Staging, EnvironmentClass::Production);
        let found = |maker: &Principal, account: &Principal, class| {
            power_excess(&Policies::load().expect("valid").in_class(class), maker, account)
        };
        let program = |role| Principal::service_account(id("etl"), scope.clone(), role);
        let operator = person(own.clone(), &[Role::Operator, Role::Viewer], &[Role::Developer], staging);
        assert_eq!(found(&operator, &program(Role::Deployer), staging), Some(Action::Deploy), "hours do not count");
        assert_eq!(found(&operator, &program(Role::Ingester), staging), Some(Action::Ingest));
        assert_eq!(found(&operator, &program(Role::Provisioner), staging), Some(Action::ScimWrite));
        assert_eq!(found(&operator, &program(Role::Reader), staging), None, "that is a matter of levels");
        let developer = person(own.clone(), &[Role::Operator, Role::Developer], &[], staging);
        assert_eq!(found(&developer, &program(Role::Deployer), staging), None, "they may as well");
        let granted = person(own, &[Role::Developer], &[Role::Developer], production);
        assert_eq!(found(&granted, &program(Role::Deployer), production), Some(Action::Deploy));
        let directory = Principal::environment_account(id("hr"), &scope.environment, Role::Provisioner);
        let administrator = person(staff, &[Role::Administrator], &[], staging);
        assert_eq!(found(&administrator, &directory, staging), Some(Action::ScimWrite));
    }

    #[test]
    fn attack_ci20_an_account_that_sees_rows_its_maker_does_not_is_noticed() {
        let scope = Scope::parse("acme", "prod").expect("valid");
        let rules = |roles: &[Role]| RowRules {
            rules: vec![WrittenRowRule {
                id: "home".to_owned(),
                entity: "User".to_owned(),
                roles: roles.iter().copied().collect(),
                feature: "User.country".to_owned(),
                op: RowOp::In,
                values: vec!["CH".into()],
                bound_to: None,
            }],
        };
        let maker = person(Place::Scope(scope.clone()), &[Role::Viewer], &[], EnvironmentClass::Staging);
        let program = |role| Principal::service_account(id("etl"), scope.clone(), role);
        let found = |roles: &[Role], account: Role| row_excess(&rules(roles), &maker, &program(account)).is_some();
        assert!(found(&[Role::Viewer], Role::Reader));
        assert!(!found(&[Role::Viewer, Role::Reader], Role::Reader), "it binds both");
        assert!(!found(&[Role::Developer], Role::Reader), "it binds neither");
        assert!(!found(&[Role::Viewer], Role::Ingester), "it is answered nothing");
    }
}
