use creta_model::{Environment, EnvironmentClass, Scope};

use super::*;
use crate::{
    Assurance, DeviceTrust, GrantId, HeldGrant, Person, Place, Policies, Principal, PrincipalId, Resource, Seal,
    Standing, decide,
};

fn id(text: &str) -> PrincipalId {
    PrincipalId::parse(text).expect("valid")
}

fn environment() -> Environment {
    Environment::parse("prod").expect("valid")
}

fn scope(tenant: &str) -> Scope {
    Scope::new(creta_model::TenantId::parse(tenant).expect("valid"), environment())
}

fn resources() -> [Resource; 4] {
    [
        Resource::scope(scope("acme")),
        Resource::scope(scope("globex")),
        Resource::environment(environment()),
        Resource::environment(Environment::parse("staging").expect("valid")),
    ]
}

/// Everybody of that identity, at each home it can have, with the role for good and by a grant, sure of in every way.
fn everybody(identity: Identity) -> Vec<Principal> {
    match identity {
        Identity::Administrator => vec![Principal::administrator(id("root"), environment())],
        Identity::Program(role) => vec![
            Principal::service_account(id("etl"), scope("acme"), role),
            Principal::environment_account(id("etl"), &environment(), role),
        ],
        Identity::Person(role) => {
            let homes = [Place::Environment(environment()), Place::Scope(scope("acme"))];
            let person = |home: Place| {
                let grant = HeldGrant { id: GrantId::parse("g-1").expect("valid"), role, place: home.clone() };
                let assurance = Assurance { user_verified: true, device: DeviceTrust::Trusted, seal: Seal::Intact };
                let standing = Standing {
                    roles: [role].into(),
                    grants: [grant].into(),
                    assurance,
                    class: EnvironmentClass::Development,
                };
                Principal::Person(Person::new(id("ana"), home, standing))
            };
            homes.map(person).into()
        }
    }
}

#[test]
fn attack_ch35_every_identity_is_denied_every_forbidden_action_everywhere() {
    // Staging forbids no more than production and permits no more than development.
    let classes = [EnvironmentClass::Development, EnvironmentClass::Production]
        .map(|class| Policies::load().expect("valid").in_class(class));
    let mut probed = 0;
    for (identity, action) in forbidden_pairs() {
        for (policies, principal) in classes.iter().flat_map(|p| everybody(identity).into_iter().map(move |w| (p, w))) {
            for resource in resources() {
                let decision = decide(policies, &principal, action, &resource);
                assert!(!decision.is_allowed(), "{identity}: {action} on {}: {:?}", resource.place(), decision);
                probed += 1;
            }
        }
    }
    assert!(probed > 4000, "{probed} questions");
}

#[test]
fn every_identity_may_do_what_it_is_for_somewhere() {
    let policies = Policies::load().expect("valid");
    for identity in Identity::all() {
        let themselves = if matches!(identity, Identity::Person(_)) { FOR_THEMSELVES } else { &[] };
        for action in identity.may().iter().chain(themselves) {
            let everybody = everybody(identity);
            let mut asked = everybody.iter().flat_map(|who| resources().map(|resource| (who, resource)));
            let allowed = asked.any(|(who, resource)| decide(&policies, who, *action, &resource).is_allowed());
            assert!(allowed, "{identity} should be able to {action} somewhere");
        }
    }
}

#[test]
fn attack_ch35_no_identity_holds_both_sides_of_a_decision_for_two() {
    use Action::*;
    for (one, other) in [
        (PolicyPropose, PolicyApprove),
        (DeclassifyPropose, DeclassifyApprove),
        (ExceptionPropose, ExceptionApprove),
        (PersonAssign, AccessApprove),
        (PersonAssign, ReviewDecide),
        (Deploy, PolicyApprove),
        (Deploy, AccessApprove),
        (ScimWrite, PersonAssign),
    ] {
        for identity in Identity::all() {
            let may = identity.may();
            assert!(!(may.contains(&one) && may.contains(&other)), "{identity}: {one} and {other}");
        }
        let somebody = |action: Action| Identity::all().any(|identity| identity.may().contains(&action));
        assert!(somebody(one) && somebody(other), "nobody could ever {one} or {other}");
    }
}

#[test]
fn programs_of_one_purpose_share_nothing_but_their_token() {
    use Role::*;
    let purposes: [(Role, &[Action]); 5] = [
        (Deployer, &[Action::Deploy, Action::Check, Action::Diff]),
        (Ingester, &[Action::Ingest]),
        (Provisioner, &[Action::ScimWrite]),
        (Backup, &[Action::BackupRead]),
        (Monitor, &[Action::MetricsRead]),
    ];
    for (role, purpose) in purposes {
        let may = Identity::Program(role).may().iter().filter(|action| **action != Action::TokenIssue);
        assert!(may.eq(purpose), "{role}");
    }
    let pairs = [
        (Deployer, Ingester),
        (Deployer, Reader),
        (Ingester, Reader),
        (Provisioner, Reader),
        (Backup, Reader),
        (Backup, Deployer),
        (Backup, Provisioner),
        (Monitor, Reader),
        (Monitor, Backup),
    ];
    for (one, other) in pairs {
        let theirs = Identity::Program(other).may();
        let shared = Identity::Program(one).may().iter().filter(|action| theirs.contains(action));
        assert!(shared.eq([&Action::TokenIssue]), "{one} and {other}");
    }
}
