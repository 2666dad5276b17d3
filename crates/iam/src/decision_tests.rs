use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;

use creta_model::{Environment, EnvironmentClass, Scope};

use super::*;
use crate::policies::{SCHEMA, named};
use crate::{Assurance, DeviceTrust, GrantId, Person, PrincipalId, Purpose, Seal, Standing};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/iam/roles.case");

const LEVELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/iam/levels.case");

const HEADER: &str = "\
# Who may do what. The local administrator and staff belong to environment `prod`; programs and tenants' own people belong to
# tenant `acme` in `prod`. People are signed in with user verification from a trusted device.
#   own           scope prod/acme          other-tenant  scope prod/globex          environment  the control plane of `prod`
# `allow`: in every class of environment. `grant`: in class production only with the role by grant. `never there`: not in class
# production, whatever is granted. `-`: denied. Actions that are not listed are denied everywhere, and so is everything in
# another environment.
----
";

const LEVELS_HEADER: &str = "\
# What principals of tenant `acme` get of features, by tag and by class: allow, tokenised, masked, internal (may feed other
# features, is not returned) or deny. `-` where they may not ask at all, which is so everywhere for all who are not listed. Tags flow along
# lineage, `internal` apart.
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

fn sure() -> Assurance {
    Assurance { user_verified: true, device: DeviceTrust::Trusted, seal: Seal::Intact }
}

fn grant(role: Role, place: &Place) -> HeldGrant {
    HeldGrant { id: GrantId::parse(&format!("g-{role}")).expect("valid"), role, place: place.clone() }
}

fn person(
    home: &Place,
    roles: &[Role],
    grants: &[HeldGrant],
    assurance: Assurance,
    class: EnvironmentClass,
) -> Principal {
    let (roles, grants) = (roles.iter().copied().collect(), grants.iter().cloned().collect());
    Principal::Person(Person::new(id("ana"), home.clone(), Standing { roles, grants, assurance, class }))
}

/// Everybody that the golden tables are about: a name, and the principal for good or by a grant in an environment of a class.
type Row = (String, Box<dyn Fn(EnvironmentClass, bool) -> Principal>);

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let root = Principal::administrator(id("root"), environment("prod"));
    rows.push(("local administrator".to_owned(), Box::new(move |_, _| root.clone())));
    for role in Role::OF_PROGRAMS {
        let program = Principal::service_account(id("etl"), scope("acme", "prod"), *role);
        rows.push((format!("program {role}"), Box::new(move |_, _| program.clone())));
    }
    let provisioner = Principal::environment_account(id("hr"), &environment("prod"), Role::Provisioner);
    rows.push(("staff's provisioner".to_owned(), Box::new(move |_, _| provisioner.clone())));
    let backup = Principal::environment_account(id("copies"), &environment("prod"), Role::Backup);
    rows.push(("staff's backup".to_owned(), Box::new(move |_, _| backup.clone())));
    let monitor = Principal::environment_account(id("prometheus"), &environment("prod"), Role::Monitor);
    rows.push(("staff's monitor".to_owned(), Box::new(move |_, _| monitor.clone())));
    let checker = Principal::environment_account(id("checks"), &environment("prod"), Role::Checker);
    rows.push(("the server's checker".to_owned(), Box::new(move |_, _| checker.clone())));
    for (kind, home) in
        [("staff", Place::Environment(environment("prod"))), ("tenant's", Place::Scope(scope("acme", "prod")))]
    {
        for role in [None].into_iter().chain(Role::OF_PEOPLE.iter().copied().map(Some)) {
            let home = home.clone();
            let make = move |class, by_grant: bool| {
                let role: Vec<Role> = role.into_iter().collect();
                let grants: Vec<HeldGrant> = role.iter().map(|role| grant(*role, &home)).collect();
                match by_grant {
                    true => person(&home, &[], &grants, sure(), class),
                    false => person(&home, &role, &[], sure(), class),
                }
            };
            rows.push((format!("{kind} {}", role.map_or("person", Role::as_str)), Box::new(make)));
        }
    }
    rows
}

const CASES: [(EnvironmentClass, bool); 3] = [
    (EnvironmentClass::Development, false),
    (EnvironmentClass::Production, false),
    (EnvironmentClass::Production, true),
];

fn policies_by_class(class: EnvironmentClass) -> &'static Policies {
    static ALL: std::sync::LazyLock<[Policies; 3]> = std::sync::LazyLock::new(|| {
        EnvironmentClass::ALL.map(|class| Policies::load().expect("valid").in_class(class))
    });
    ALL.iter().find(|policies| policies.class() == class).expect("each class has its policies")
}

fn compare_with_golden(path: &str, table: &str) {
    if std::env::var_os("CRETA_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(path, table).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(path).expect("the golden file exists; make it with CRETA_UPDATE_GOLDEN=1");
    assert_eq!(table, golden, "if this is meant, run again with CRETA_UPDATE_GOLDEN=1 and read the difference");
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
    let mut table = format!("{HEADER}{:<24}{:<24}{:<14}{:<14}environment\n", "who", "action", "own", "other-tenant");
    for (who, principal) in rows() {
        let principals = CASES.map(|(class, by_grant)| (policies_by_class(class), principal(class, by_grant)));
        for action in Action::ALL {
            let cells = ["own", "other-tenant", "environment"].map(|shown| {
                let (_, resource) = places().into_iter().find(|(place, _)| *place == shown).expect("one of them");
                let allowed =
                    principals.each_ref().map(|(policies, who)| decide(policies, who, *action, &resource).is_allowed());
                match allowed {
                    [true, true, true] => "allow",
                    [true, false, true] => "grant",
                    [true, false, false] => "never there",
                    [false, false, false] => "-",
                    other => panic!("{who} {action} at {shown}: {other:?} has no word"),
                }
            });
            if cells != ["-"; 3] {
                let [own, other, environment] = cells;
                writeln!(table, "{who:<24}{:<24}{own:<14}{other:<14}{environment}", action.as_str()).expect("a string");
            }
        }
    }
    compare_with_golden(GOLDEN, &table);
}

#[test]
fn attack_ch20_whatever_lies_elsewhere_is_refused_for_that_reason() {
    for (who, principal) in rows() {
        let principal = principal(EnvironmentClass::Development, false);
        let tenants = principal.home().scope().is_some();
        for (place, resource) in places() {
            let expected = match place {
                "other-env" | "other-plane" => (Reason::OtherEnvironment, Some("CH-25")),
                "other-tenant" if tenants => (Reason::OtherTenant, Some("CH-20")),
                "environment" if tenants => (Reason::ControlPlane, Some("CI-20")),
                _ => continue,
            };
            for action in [Action::Query, Action::Deploy, Action::AuditRead, Action::TokenIssue, Action::AccessApprove]
            {
                let decision = decide(policies_by_class(EnvironmentClass::Development), &principal, action, &resource);
                assert_eq!((decision.reason(), decision.commitment()), expected, "{who} {action} at {place}");
            }
        }
    }
}

#[test]
fn every_role_and_tag_is_as_the_golden_table_says() {
    let tag_sets: [&[&str]; 10] = [
        &[],
        &["finance"],
        &["pii"],
        &["pseudonymous"],
        &["internal"],
        &["secret"],
        &["credential"],
        &["internal", "pii"],
        &["pii", "secret"],
        &["pii", "pseudonymous"],
    ];
    let mut table = format!("{LEVELS_HEADER}{:<24}{:<24}", "who", "class");
    for tags in tag_sets {
        write!(table, "{:<16}", if tags.is_empty() { "no tag".to_owned() } else { tags.join("+") }).expect("a string");
    }
    let asking = |who: &&str| ["viewer", "scientist", "developer", "reader"].iter().any(|role| who.ends_with(role));
    for (who, principal) in rows().iter().filter(|(who, _)| asking(&who.as_str()) && !who.starts_with("staff")) {
        for (class, by_grant) in CASES.into_iter().chain([(EnvironmentClass::Development, true)]) {
            table.truncate(table.trim_end().len());
            let case = format!("{class}{}", if by_grant { ", by grant" } else { "" });
            write!(table, "\n{who:<24}{case:<24}").expect("a string takes all");
            for tags in tag_sets {
                let features = FeatureSet::new([("User.f", tags.iter().copied())]);
                let resource = Resource::features(scope("acme", "prod"), features);
                let decision = decide(policies_by_class(class), &principal(class, by_grant), Action::Query, &resource);
                let level = decision.level_of("User.f").map_or("-", Level::as_str);
                write!(table, "{level:<16}").expect("a string takes all");
                assert_eq!(decision.is_allowed(), matches!(level, "allow" | "tokenised" | "masked"), "{who} {tags:?}");
            }
        }
    }
    compare_with_golden(LEVELS, &format!("{}\n", table.trim_end()));
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
    for (who, principal) in rows() {
        let principal = principal(EnvironmentClass::Production, true);
        for (place, resource) in places() {
            let mut within = principal.home().covers(resource.place());
            if ["staff's provisioner", "staff's backup", "staff's monitor", "the server's checker"]
                .contains(&who.as_str())
            {
                within = place == "environment";
            }
            assert_eq!(decide(&open, &principal, Action::Query, &resource).is_allowed(), within, "{who} at {place}");
        }
    }
}

#[test]
fn the_policies_alone_already_keep_scopes_apart() {
    let policies = Policies::load().expect("valid");
    for (role, principal) in rows() {
        let principal = principal(EnvironmentClass::Development, role.len() % 2 == 0);
        for (place, resource) in places() {
            if out_of_reach(&principal, resource.place()).is_none() {
                continue;
            }
            for action in Action::ALL {
                let question = Question::new(&policies, &principal, resource.place(), None).expect("valid");
                let conforms = question.request(action.as_str(), &BTreeSet::from(["pii"]), Some(&policies.schema));
                assert!(conforms.is_some(), "{role} {action} at {place}: not a question that the schema knows");
                let (reason, _) = question.ask(action.as_str(), &BTreeSet::new());
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

fn any_place() -> impl Strategy<Value = Place> {
    (any_scope(), any::<bool>()).prop_map(|(scope, whole)| match whole {
        true => Place::Environment(scope.environment),
        false => Place::Scope(scope),
    })
}

fn any_class() -> impl Strategy<Value = EnvironmentClass> {
    prop::sample::select(EnvironmentClass::ALL.to_vec())
}

fn any_person() -> impl Strategy<Value = Person> {
    let role = || prop::sample::select(Role::OF_PEOPLE);
    let roles = prop::collection::btree_set(role(), 0..3);
    let grants = prop::collection::vec((role(), any_place(), any::<bool>()), 0..4);
    let assurance = (any::<bool>(), prop::sample::select(DeviceTrust::ALL), prop::bool::weighted(0.1));
    (any_place(), roles, grants, assurance, any_class()).prop_map(|(home, roles, grants, assurance, class)| {
        // Half of the grants are at home, where they can matter.
        let grants = grants.into_iter().map(|(role, place, at_home)| grant(role, if at_home { &home } else { &place }));
        let (user_verified, device, broken) = assurance;
        let seal = if broken { Seal::Broken } else { Seal::Intact };
        let assurance = Assurance { user_verified, device, seal };
        let standing = Standing { roles, grants: grants.collect(), assurance, class };
        Person::new(id("ana"), home, standing)
    })
}

fn any_principal() -> impl Strategy<Value = Principal> {
    let name = || prop::sample::select(vec!["root", "etl", "acme", "prod.acme", "developer"]);
    let program = (name(), any_scope(), prop::sample::select(Role::ALL))
        .prop_map(|(name, scope, role)| Principal::service_account(id(name), scope, role));
    let of_environment = (name(), any_scope(), prop::sample::select(Role::ALL))
        .prop_map(|(name, scope, role)| Principal::environment_account(id(name), &scope.environment, role));
    let administrator = (name(), any_scope()).prop_map(|(name, s)| Principal::administrator(id(name), s.environment));
    prop_oneof![2 => program, 1 => of_environment, 1 => administrator, 4 => any_person().prop_map(Principal::Person)]
}

fn is_data(action: Action) -> bool {
    matches!(action, Action::Ingest | Action::Query | Action::Train | Action::Verify)
}

/// What needs no role in production, and what needs a role and no grant.
fn is_without_grant(action: Action) -> bool {
    use Action::*;
    crate::FOR_THEMSELVES.contains(&action)
        || matches!(action, AccessApprove | AccessRevoke | ReviewRead | ReviewDecide | BreakGlassOpen)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn another_tenant_or_environment_is_always_denied(
        principal in any_principal(),
        place in any_place(),
        at_home: bool,
        action in prop::sample::select(Action::ALL),
        features in prop::collection::vec("[A-Z][a-z]{1,4}\\.[a-z]{1,4}", 0..3),
    ) {
        let policies = policies_by_class(EnvironmentClass::Development);
        let place = if at_home { principal.home() } else { place };
        let resource = match &place {
            Place::Environment(environment) => Resource::environment(environment.clone()),
            Place::Scope(scope) => Resource::features(scope.clone(), FeatureSet::untagged(features)),
        };
        let decision = decide(policies, &principal, action, &resource);
        prop_assert!(decision.reason() != Reason::Unanswerable, "every question is a valid one");
        prop_assert!(!decision.is_allowed() || principal.home().covers(&place), "{principal} {action} on {place}");
        prop_assert_eq!(decision.is_allowed(), decision.commitment().is_none());
        prop_assert!(!decision.is_allowed() || !decision.policies().is_empty(), "an allowed action names its policy");
        let runs_the_environment = principal.home().scope().is_none();
        prop_assert!(!(runs_the_environment && is_data(action) && decision.is_allowed()), "{principal} sees no data");
        let again = decide(policies, &principal, action, &resource);
        prop_assert_eq!((again.reason(), again.policies()), (decision.reason(), decision.policies()));
    }

    #[test]
    fn attack_ch17_production_without_a_grant_for_role_and_place_is_always_denied(
        person in any_person(),
        place in any_place(),
        at_home in prop::bool::weighted(0.8),
        action in prop::sample::select(Action::ALL),
        said_by_the_server: bool,
    ) {
        let place = if at_home { person.home().clone() } else { place };
        let mut standing = person.standing().clone();
        let policies = if said_by_the_server {
            policies_by_class(EnvironmentClass::Production)
        } else {
            standing.class = EnvironmentClass::Production;
            policies_by_class(EnvironmentClass::Development)
        };
        let principal = Principal::Person(Person::new(id("ana"), person.home().clone(), standing));
        let resource = resource_at(&place);
        let decision = decide(policies, &principal, action, &resource);
        if decision.is_allowed() && !is_without_grant(action) {
            let granted = person.grants_at(&place).any(|grant| crate::Identity::Person(grant.role).may().contains(&action));
            prop_assert!(granted, "{action} on {place} without a grant");
            prop_assert!(!decision.grants().is_empty(), "the grant that it rests on is named");
            let Assurance { user_verified, device, seal } = person.standing().assurance;
            prop_assert!(seal == Seal::Broken || (user_verified && device == DeviceTrust::Trusted), "{action}");
        }
    }

    #[test]
    fn a_grant_never_widens_beyond_its_role_and_place(
        person in any_person(),
        added in (prop::sample::select(Role::OF_PEOPLE), any_place(), any::<bool>()),
        place in any_place(),
        at_home in prop::bool::weighted(0.8),
        action in prop::sample::select(Action::ALL),
        class in any_class(),
    ) {
        let policies = policies_by_class(class);
        let place = if at_home { person.home().clone() } else { place };
        let (role, granted_at, granted_at_home) = added;
        let granted_at = if granted_at_home { person.home().clone() } else { granted_at };
        let mut standing = person.standing().clone();
        standing.grants.insert(grant(role, &granted_at));
        let richer = Principal::Person(Person::new(id("ana"), person.home().clone(), standing));
        let resource = resource_at(&place);
        let before = decide(policies, &Principal::Person(person), action, &resource);
        let after = decide(policies, &richer, action, &resource);
        prop_assert!(after.is_allowed() || !before.is_allowed(), "a grant takes nothing away");
        if after.is_allowed() && !before.is_allowed() {
            prop_assert!(granted_at.covers(&place), "granted at {granted_at}, used at {place}");
            prop_assert!(crate::Identity::Person(role).may().contains(&action), "{action} as {role}");
        }
    }

    #[test]
    fn more_tags_never_give_a_higher_level(
        principal in any_principal(),
        tags in prop::collection::btree_set(prop::sample::select(vec!["pii", "pseudonymous", "internal", "secret", "credential", "x"]), 0..4),
        more in prop::sample::select(vec!["pii", "pseudonymous", "internal", "secret", "credential", "x"]),
        class in any_class(),
    ) {
        let policies = policies_by_class(class);
        let question = Question::new(policies, &principal, &principal.home(), None).expect("conforms");
        let lower = level::level(&question, &tags);
        let mut with_more = tags.clone();
        with_more.insert(more);
        let higher = level::level(&question, &with_more);
        prop_assert!(higher.level <= lower.level);
        prop_assert!(higher.level == Level::Allow || principal.home().scope().is_none() || !higher.policies.is_empty());
        if with_more.contains("secret") || with_more.contains("credential") {
            prop_assert_eq!(higher.level, Level::Deny);
        }
        if with_more.contains("internal") {
            prop_assert!(higher.level <= Level::Internal);
        }
    }
}

fn resource_at(place: &Place) -> Resource {
    match place {
        Place::Environment(environment) => Resource::environment(environment.clone()),
        Place::Scope(scope) => Resource::scope(scope.clone()),
    }
}

#[test]
fn attack_ch16_each_lack_of_a_production_sign_in_is_refused_by_its_own_policy() {
    let home = Place::Environment(environment("prod"));
    let class = EnvironmentClass::Production;
    let ask = |roles: &[Role], grants: &[HeldGrant], assurance: Assurance| {
        let who = person(&home, roles, grants, assurance, class);
        decide(policies_by_class(class), &who, Action::AuditRead, &Resource::environment(environment("prod")))
    };
    let granted = [grant(Role::Operator, &home)];
    assert!(ask(&[], &granted, sure()).is_allowed());
    let broken = Assurance { user_verified: false, device: DeviceTrust::None, seal: Seal::Broken };
    assert!(ask(&[], &granted, broken).is_allowed(), "a broken seal needs a grant and nothing else");
    let not_verified = Assurance { user_verified: false, ..sure() };
    let device = |device| Assurance { device, ..sure() };
    let elsewhere = [grant(Role::Operator, &Place::Scope(scope("acme", "prod")))];
    for (what, decision, policy, commitment) in [
        ("standing", ask(Role::OF_PEOPLE, &[], sure()), "no-standing-access-in-production", "CH-17"),
        (
            "standing under a broken seal",
            ask(Role::OF_PEOPLE, &[], broken),
            "no-standing-access-in-production",
            "CH-17",
        ),
        (
            "another role",
            ask(&[Role::Operator], &[grant(Role::Viewer, &home)], sure()),
            "no-standing-access-in-production",
            "CH-17",
        ),
        ("another place", ask(&[Role::Operator], &elsewhere, sure()), "no-standing-access-in-production", "CH-17"),
        ("not verified", ask(&[], &granted, not_verified), "production-needs-user-verification", "CI-22"),
        ("no device", ask(&[], &granted, device(DeviceTrust::None)), "production-needs-a-trusted-device", "CH-16"),
        (
            "software key",
            ask(&[], &granted, device(DeviceTrust::LowAssurance)),
            "production-needs-a-trusted-device",
            "CH-16",
        ),
    ] {
        assert_eq!(decision.reason(), Reason::Forbidden, "{what}");
        assert_eq!(decision.policies(), [policy], "{what}");
        assert_eq!(decision.commitment(), Some(commitment), "{what}");
    }
}

#[test]
fn attack_ch17_the_local_administrator_only_breaks_the_seal_in_production() {
    let (_, root) = &principals()[0];
    let production = policies_by_class(EnvironmentClass::Production);
    for (place, resource) in places() {
        for action in Action::ALL {
            let allowed = decide(production, root, *action, &resource).is_allowed();
            let seal = matches!(action, Action::TokenIssue | Action::BreakGlassOpen) && place == "environment";
            assert_eq!(allowed, seal, "{action} at {place}");
        }
    }
}

#[test]
fn attack_ci22_approvals_need_user_verification_outside_development() {
    let home = Place::Environment(environment("prod"));
    let resource = Resource::environment(environment("prod"));
    for class in EnvironmentClass::ALL {
        for action in [Action::AccessApprove, Action::PolicyApprove, Action::ExceptionApprove, Action::ReviewDecide] {
            let ask = |assurance| {
                let grants = [grant(Role::SecurityLead, &home)];
                let who = person(&home, &[Role::SecurityLead], &grants, assurance, class);
                decide(policies_by_class(class), &who, action, &resource).is_allowed()
            };
            assert!(ask(sure()), "{action} in {class}");
            let lax = class == EnvironmentClass::Development;
            assert_eq!(ask(Assurance { user_verified: false, ..sure() }), lax, "{action} in {class}");
        }
    }
}

#[test]
fn attack_ch03_withheld_features_are_named_by_their_tags() {
    let (_, reader) = &principals()[2];
    let features = FeatureSet::new([
        ("User.age", vec![]),
        ("User.score", vec!["internal", "pii"]),
        ("User.token", vec!["credential"]),
    ]);
    let ask = |action| {
        let resource = Resource::features(scope("acme", "prod"), features.clone());
        decide(policies_by_class(EnvironmentClass::Development), reader, action, &resource)
    };
    let denied = ask(Action::Query);
    assert_eq!((denied.reason(), denied.commitment()), (Reason::Withheld, Some("CH-03")));
    assert_eq!(denied.policies(), ["internal-is-not-returned", "secrets-are-denied"]);
    assert_eq!(denied.policies_of("User.token"), ["secrets-are-denied"]);
    assert_eq!(denied.policies_of("User.age"), [""; 0]);
    let told: Vec<String> = denied.withheld().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "`User.score` is tagged `internal`, `pii` and may feed other features, but is not returned",
            "`User.token` is tagged `credential` and is withheld"
        ]
    );
    let levels = ["User.age", "User.score", "User.token", "User.other"].map(|name| denied.level_of(name));
    assert_eq!(levels, [Some(Level::Allow), Some(Level::Internal), Some(Level::Deny), None]);
    assert!(ask(Action::Plan).is_allowed(), "a plan shows no values");
    assert_eq!(ask(Action::Plan).level_of("User.age"), None);

    let developer = &principals()[1].1;
    let only = FeatureSet::new([("User.score", ["internal"])]);
    let resource = Resource::features(scope("acme", "prod"), only);
    let policies = policies_by_class(EnvironmentClass::Development);
    assert!(decide(policies, developer, Action::Verify, &resource).is_allowed(), "verifying uses a feature");
    assert!(!decide(policies, developer, Action::Train, &resource).is_allowed());
}

#[test]
fn a_permission_by_grant_names_the_grant_and_no_other() {
    let (home, acme) = (Place::Environment(environment("prod")), Place::Scope(scope("acme", "prod")));
    let grants = [grant(Role::Operator, &acme), grant(Role::Auditor, &home), grant(Role::Viewer, &home)];
    let who = person(&home, &[], &grants, sure(), EnvironmentClass::Production);
    let policies = policies_by_class(EnvironmentClass::Production);
    let used = |action, resource: &Resource| -> Vec<String> {
        decide(policies, &who, action, resource).grants().iter().map(|grant| grant.role.to_string()).collect()
    };
    assert_eq!(used(Action::ServiceAccountRotate, &Resource::scope(scope("acme", "prod"))), ["operator"]);
    assert_eq!(used(Action::ServiceAccountList, &Resource::scope(scope("acme", "prod"))), ["auditor", "operator"]);
    assert_eq!(used(Action::ServiceAccountList, &Resource::scope(scope("globex", "prod"))), ["auditor"]);
    assert_eq!(used(Action::ServiceAccountRotate, &Resource::scope(scope("globex", "prod"))), [""; 0], "denied");
}

#[test]
fn attack_ch17_a_grant_on_an_environment_counts_nowhere_for_a_tenants_own() {
    let acme = Place::Scope(scope("acme", "prod"));
    let grants = [grant(Role::Developer, &Place::Environment(environment("prod")))];
    let who = person(&acme, &[], &grants, sure(), EnvironmentClass::Production);
    for (place, resource) in places() {
        let decision = decide(policies_by_class(EnvironmentClass::Production), &who, Action::Query, &resource);
        assert!(!decision.is_allowed(), "{place}");
    }
}
