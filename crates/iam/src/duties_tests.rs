use creta_model::{Environment, Scope};

use super::*;

fn id(text: &str) -> PrincipalId {
    PrincipalId::parse(text).expect("valid")
}

fn prod() -> Place {
    Place::Environment(Environment::parse("prod").expect("valid"))
}

fn scope(tenant: &str) -> Place {
    Place::Scope(Scope::parse(tenant, "prod").expect("valid"))
}

fn assigned(role: Role, place: &Place) -> Assignment {
    Assignment { role, place: place.clone() }
}

fn group(people: &[&str], groups: &[&str], roles: &[Assignment]) -> Group {
    Group {
        people: people.iter().map(|name| id(name)).collect(),
        groups: groups.iter().map(ToString::to_string).collect(),
        roles: roles.iter().cloned().collect(),
    }
}

fn roster(people: &[(&str, &[Assignment])], groups: &[(&str, Group)]) -> Roster {
    Roster {
        people: people.iter().map(|(name, roles)| (id(name), roles.iter().cloned().collect())).collect(),
        groups: groups.iter().map(|(name, group)| (name.to_string(), group.clone())).collect(),
    }
}

#[test]
fn attack_ch35_both_sides_through_nested_groups_are_refused_with_the_path() {
    let roster = roster(
        &[("ana", &[assigned(Role::SecurityLead, &scope("acme"))])],
        &[
            ("fraud", group(&["ana", "bob"], &[], &[])),
            ("modelling", group(&[], &["fraud"], &[])),
            ("builders", group(&["cyd"], &["modelling"], &[assigned(Role::Developer, &scope("acme"))])),
        ],
    );
    let refused = roster.require_separate_duties().expect_err("ana holds both sides");
    assert_eq!(
        refused.to_string(),
        "`ana` would be `developer` on scope `prod/acme` through group `fraud` in `modelling` in `builders` and \
         `security-lead` on scope `prod/acme`: one person could take the tag off their own feature; take one of the two \
         roles away first"
    );
    let humans: BTreeSet<String> = roster.toxic_combinations().iter().map(|found| found.human.to_string()).collect();
    assert_eq!(humans, BTreeSet::from(["ana".to_owned()]), "bob and cyd hold one side only");
}

#[test]
fn roles_come_by_the_shortest_way_and_circles_end() {
    let viewer = assigned(Role::Viewer, &scope("acme"));
    let roster = roster(
        &[("bob", std::slice::from_ref(&viewer))],
        &[
            ("a", group(&["ana", "bob"], &["c"], &[])),
            ("b", group(&[], &["a"], &[])),
            ("c", group(&[], &["b"], &[viewer.clone()])),
            ("d", group(&[], &["a"], &[viewer.clone()])),
        ],
    );
    let ways = |name: &str| roster.roles_of(&id(name)).into_iter().map(|held| held.via).collect::<Vec<_>>();
    assert_eq!(ways("ana"), [["a", "d"].map(str::to_owned)]);
    assert_eq!(ways("bob"), [Vec::<String>::new()]);
    assert_eq!(roster.roles_of(&id("eve")), []);
}

#[test]
fn a_combination_is_toxic_only_where_both_roles_count() {
    let holds = |one: Assignment, other: Assignment| {
        let people: &[(&str, &[Assignment])] = &[("ana", &[one, other])];
        roster(people, &[]).require_separate_duties().is_err()
    };
    let (admin, lead) = (Role::Administrator, Role::SecurityLead);
    assert!(holds(assigned(admin, &prod()), assigned(lead, &prod())));
    assert!(holds(assigned(admin, &prod()), assigned(lead, &scope("acme"))), "the environment covers the scope");
    assert!(holds(assigned(admin, &scope("acme")), assigned(lead, &prod())));
    assert!(!holds(assigned(admin, &scope("acme")), assigned(lead, &scope("globex"))));
    assert!(!holds(assigned(Role::Viewer, &prod()), assigned(lead, &prod())));
}

#[test]
fn every_toxic_pair_is_found_and_no_role_alone_is_toxic() {
    for pair in TOXIC_PAIRS {
        let roles = |side: Side| Role::OF_PEOPLE.iter().copied().filter(move |role| side.is_on(*role));
        let mut pairs = 0;
        for (one, other) in roles(pair.one).flat_map(|one| roles(pair.other).map(move |other| (one, other))) {
            assert_ne!(one, other, "{one} alone would hold both sides: {}", pair.why);
            for (first, second) in [(one, other), (other, one)] {
                let people: &[(&str, &[Assignment])] = &[("ana", &[assigned(first, &prod())])];
                let mut roster = roster(people, &[("g", group(&["ana"], &[], &[assigned(second, &prod())]))]);
                assert!(roster.toxic_combinations().iter().any(|found| found.pair == *pair), "{first} and {second}");
                roster.groups.clear();
                roster.require_separate_duties().expect("one side is fine");
            }
            pairs += 1;
        }
        assert!(pairs > 0, "nobody can hold {pair:?}");
    }
}

#[test]
fn programs_have_one_purpose_each() {
    let purposes: [(Role, fn(Action) -> bool); 3] = [
        (Role::Deployer, |action| matches!(action, Action::Deploy | Action::Check | Action::Diff)),
        (Role::Ingester, |action| action == Action::Ingest),
        (Role::Provisioner, |action| action == Action::ScimWrite),
    ];
    for (role, purpose) in purposes {
        let others = Identity::Program(role).may().iter().filter(|action| **action != Action::TokenIssue);
        assert!(others.copied().all(purpose), "{role}");
    }
    let sides = |role: Role| Identity::Program(role).may();
    for one in [Role::Deployer, Role::Ingester, Role::Provisioner, Role::Reader] {
        for other in [Role::Deployer, Role::Ingester, Role::Provisioner, Role::Reader] {
            let shared = sides(one).iter().filter(|action| sides(other).contains(action));
            assert!(one == other || shared.eq([&Action::TokenIssue]), "{one} and {other} are apart");
        }
    }
}
