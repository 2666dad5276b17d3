use std::fmt::Write as _;

use proptest::prelude::*;

use creta_model::{Environment, Scope};

use super::*;
use crate::policies::{SCHEMA, named};
use crate::{PrincipalId, Purpose};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/iam/roles.case");

const HEADER: &str = "\
# Who may do what. An administrator belongs to environment `prod`; developer and reader belong to tenant `acme` in `prod`.
#   own           scope prod/acme                 environment  the control plane of `prod`
#   other-tenant  scope prod/globex               other-plane  the control plane of `staging`
#   other-env     scope staging/acme
# Each cell is `allow`, or `deny` and the reason.
----
";

/// These policies and no others, not even the boundaries.
fn only(text: &str) -> Policies {
    Policies::of(SCHEMA, named(text).expect("valid")).expect("valid")
}

fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("valid")
}

fn scope(tenant: &str, environment: &str) -> Scope {
    Scope::parse(tenant, environment).expect("valid")
}

fn id(text: &str) -> PrincipalId {
    PrincipalId::parse(text).expect("valid")
}

fn principals() -> [(&'static str, Principal); 3] {
    let account = |role| Principal::service_account(id("etl"), scope("acme", "prod"), role);
    [
        ("administrator", Principal::administrator(id("root"), environment("prod"))),
        ("developer", account(Role::Developer)),
        ("reader", account(Role::Reader)),
    ]
}

fn places() -> [(&'static str, Resource); 5] {
    [
        ("own", Resource::scope(scope("acme", "prod"))),
        ("other-tenant", Resource::scope(scope("globex", "prod"))),
        ("other-env", Resource::scope(scope("acme", "staging"))),
        ("environment", Resource::environment(environment("prod"))),
        ("other-plane", Resource::environment(environment("staging"))),
    ]
}

#[test]
fn every_role_action_and_place_is_as_the_golden_table_says() {
    let policies = Policies::load().expect("valid");
    let mut table = format!("{HEADER}{:<15}{:<24}", "role", "action");
    for (place, _) in places() {
        write!(table, "{place:<24}").expect("a string takes all");
    }
    for (role, principal) in principals() {
        for action in Action::ALL {
            table.truncate(table.trim_end().len());
            write!(table, "\n{role:<15}{:<24}", action.as_str()).expect("a string takes all");
            for (_, resource) in places() {
                let decision = decide(&policies, &principal, *action, &resource);
                let cell = match decision.is_allowed() {
                    true => "allow".to_owned(),
                    false => format!("deny {}", decision.reason().as_str()),
                };
                write!(table, "{cell:<24}").expect("a string takes all");
            }
        }
    }
    let table = format!("{}\n", table.trim_end());
    if std::env::var_os("CRETA_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(GOLDEN, &table).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("the golden file exists; make it with CRETA_UPDATE_GOLDEN=1");
    assert_eq!(table, golden, "if this is meant, run again with CRETA_UPDATE_GOLDEN=1 and read the difference");
}

#[test]
fn administrators_never_touch_feature_data() {
    let policies = Policies::load().expect("valid");
    let (_, administrator) = &principals()[0];
    for action in [Action::Ingest, Action::Query, Action::Train, Action::Verify] {
        for (place, resource) in places() {
            let decision = decide(&policies, administrator, action, &resource);
            assert!(!decision.is_allowed(), "{action} at {place}");
            assert!(decision.policies().iter().any(|id| id == "administrators-see-no-data"), "{action} at {place}");
        }
    }
}

#[test]
fn with_policies_that_permit_everything_other_scopes_still_stay_closed() {
    let open = only(r#"@id("all") permit (principal, action, resource);"#);
    for (role, principal) in principals() {
        for (place, resource) in places() {
            let decision = decide(&open, &principal, Action::Query, &resource);
            let within = place == "own" || (role == "administrator" && matches!(place, "other-tenant" | "environment"));
            assert_eq!(decision.is_allowed(), within, "{role} at {place}");
        }
    }
}

#[test]
fn the_policies_alone_already_keep_scopes_apart() {
    let policies = Policies::load().expect("valid");
    for (role, principal) in principals() {
        for (place, resource) in places() {
            if out_of_reach(&principal, resource.place()).is_none() {
                continue;
            }
            for action in Action::ALL {
                let question = Question::new(&policies, &principal, resource.place(), None).expect("valid");
                let (reason, _) = question.ask(action.as_str(), &Default::default());
                assert_ne!(reason, Reason::Permitted, "{role} {action} at {place}");
            }
        }
    }
}

#[test]
fn nobody_acts_in_the_scope_of_the_control_plane() {
    let policies = Policies::load().expect("valid");
    let home = crate::control_plane(&environment("prod"));
    let squatter = Principal::service_account(id("etl"), home.clone(), Role::Developer);
    let (_, administrator) = &principals()[0];
    for principal in [&squatter, administrator] {
        for action in Action::ALL {
            let decision = decide(&policies, principal, *action, &Resource::scope(home.clone()));
            assert_eq!(decision.reason(), Reason::ControlPlane, "{principal} {action}");
        }
    }
}

#[test]
fn tags_and_purpose_reach_the_policies() {
    let text = r#"
        @id("all") permit (principal, action, resource);
        @id("pii") forbid (principal, action, resource)
        when { context.tags.contains("pii") && !(context has purpose && context.purpose == "fraud") };"#;
    let policies = only(text);
    let (_, reader) = &principals()[2];
    let ask = |resource: Resource| decide(&policies, reader, Action::Query, &resource);
    let email = || Resource::features(scope("acme", "prod"), FeatureSet::new([("User.email", ["pii"])]));

    assert!(ask(Resource::features(scope("acme", "prod"), FeatureSet::untagged(["User.age"]))).is_allowed());
    let denied = ask(email());
    assert_eq!((denied.reason(), denied.policies()), (Reason::Forbidden, ["pii".to_owned()].as_slice()));
    assert!(ask(email().for_purpose(Purpose::parse("fraud").expect("valid"))).is_allowed());
}

#[test]
fn a_policy_that_fails_denies() {
    // Integer overflow is the one failure that strict validation cannot exclude.
    let text = r#"
        @id("all") permit (principal, action, resource);
        @id("broken") forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };"#;
    let policies = only(text);
    let decision = decide(&policies, &principals()[1].1, Action::Query, &places()[0].1);
    assert!(!decision.is_allowed());
    assert_eq!(decision.reason(), Reason::Unanswerable);
}

fn any_scope() -> impl Strategy<Value = Scope> {
    // Few names, and some that would collide if the parts were glued together without a separator.
    let label =
        || prop::sample::select(vec!["ab", "abc", "cd", "bcd", "prod", "staging", "acme", "acme-prod", "prod-acme"]);
    (label(), label()).prop_map(|(tenant, environment)| scope(tenant, environment))
}

fn any_principal() -> impl Strategy<Value = Principal> {
    let name = prop::sample::select(vec!["root", "etl", "acme", "prod.acme", "developer"]);
    (name, any_scope(), 0..3u8).prop_map(|(name, scope, kind)| match kind {
        0 => Principal::administrator(id(name), scope.environment),
        1 => Principal::service_account(id(name), scope, Role::Developer),
        _ => Principal::service_account(id(name), scope, Role::Reader),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn another_tenant_or_environment_is_always_denied(
        principal in any_principal(),
        place in any_scope(),
        whole_environment: bool,
        action in prop::sample::select(Action::ALL),
        features in prop::collection::vec("[A-Z][a-z]{1,4}\\.[a-z]{1,4}", 0..3),
    ) {
        let policies = std::sync::LazyLock::force(&POLICIES_OF_THIS_BUILD);
        let resource = match whole_environment {
            true => Resource::environment(place.environment.clone()),
            false => Resource::features(place.clone(), FeatureSet::untagged(features)),
        };
        let decision = decide(policies, &principal, action, &resource);
        let foreign = principal.environment() != &place.environment
            || (!whole_environment && principal.scope().is_some_and(|own| own != &place))
            || (whole_environment && principal.scope().is_some());
        prop_assert!(decision.reason() != Reason::Unanswerable, "every question is a valid one");
        prop_assert!(!(foreign && decision.is_allowed()), "{principal} {action} on {}", resource.place());
        prop_assert_eq!(decision.is_allowed(), decision.commitment().is_none());
        prop_assert!(!decision.is_allowed() || !decision.policies().is_empty(), "an allowed action names its policy");
        if principal.scope().is_none() {
            let data = matches!(action, Action::Ingest | Action::Query | Action::Train | Action::Verify);
            prop_assert!(!(data && decision.is_allowed()), "an administrator sees no data");
        }
        let again = decide(policies, &principal, action, &resource);
        prop_assert_eq!((again.reason(), again.policies()), (decision.reason(), decision.policies()));
    }
}

static POLICIES_OF_THIS_BUILD: std::sync::LazyLock<Policies> =
    std::sync::LazyLock::new(|| Policies::load().expect("valid"));
