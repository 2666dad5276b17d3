use super::*;

#[test]
fn policies_without_an_id_unknown_words_or_wrong_types_are_refused() {
    for (what, text) in [
        ("no id", "permit (principal, action, resource);"),
        ("unknown action", r#"@id("a") permit (principal, action == Creta::Action::"drop", resource);"#),
        ("wrong type", r#"@id("a") permit (principal, action, resource) when { context.purpose == 1 };"#),
        ("missing attribute", r#"@id("a") permit (principal, action, resource) when { context.purpose == "x" };"#),
        (
            "twice the same id",
            r#"@id("a") permit (principal, action, resource); @id("a") forbid (principal, action, resource);"#,
        ),
    ] {
        assert!(
            matches!(named(text).and_then(|all| Policies::of(SCHEMA, all)), Err(IamError::Policies { .. })),
            "{what} must be refused"
        );
    }
}

#[test]
fn attack_ci20_a_permit_that_leaves_something_open_is_refused() {
    let policy = |who: &str, what: &str, where_: &str| {
        Policies::parse_with(&format!(r#"@id("wide") permit ({who}, {what}, {where_});"#))
    };
    let who = r#"principal is Creta::Person in Creta::Role::"auditor""#;
    let what = r#"action == Creta::Action::"plan""#;
    policy(who, what, "resource is Creta::Scope").expect("says who, what and where");
    for (bad, open) in [
        (policy("principal", what, "resource is Creta::Scope"), "principal"),
        (policy(who, "action", "resource is Creta::Scope"), "action"),
        (policy(who, what, "resource"), "resource"),
    ] {
        let refused = bad.expect_err("a wildcard").to_string();
        assert!(refused.contains(&format!("`wide` permits any {open}")), "{refused}");
    }
}

#[test]
fn attack_ci20_a_policy_that_names_somebody_is_refused() {
    let head = r#"permit (principal is Creta::Person, action == Creta::Action::"plan", resource is Creta::Scope)"#;
    for bad in [
        r#"permit (principal == Creta::Person::"prod/ana", action == Creta::Action::"plan", resource is Creta::Scope)"#,
        r#"permit (principal is Creta::Person, action == Creta::Action::"plan", resource == Creta::Scope::"prod/acme")"#,
        &format!(r#"{head} when {{ principal.home == "prod/acme" }}"#),
        &format!(r#"{head} when {{ "prod/acme" == resource.path }}"#),
        &format!(r#"{head} when {{ ["prod/acme"].contains(resource.path) }}"#),
        &format!(r#"{head} when {{ principal.home like "prod/*" }}"#),
        &format!(r#"{head} when {{ principal == Creta::Person::"prod/ana" }}"#),
    ] {
        let refused = Policies::parse_with(&format!(r#"@id("named") {bad};"#)).expect_err(bad);
        assert!(matches!(refused, IamError::Named { .. }), "{bad}: {refused}");
    }
    Policies::parse_with(&format!(r#"@id("role") {head} when {{ principal.home == resource.path }};"#))
        .expect("a rule");
}

#[test]
fn attack_ci20_boundaries_cannot_be_replaced_and_permits_can() {
    for id in ["staff-see-no-data", "no-standing-access-in-production", "pii-is-masked"] {
        for effect in ["permit", "forbid"] {
            let custom = format!(
                r#"@id("{id}") {effect} (principal is Creta::Person, action == Creta::Action::"plan", resource is Creta::Scope);"#
            );
            assert!(Policies::parse_with(&custom).is_err(), "{id} as {effect}");
        }
    }
    let viewers = |effect: &str| {
        Policies::parse_with(&format!(
            r#"@id("viewer-of-scope") {effect} (principal is Creta::Person in Creta::Role::"viewer", action == Creta::Action::"plan", resource is Creta::Scope);"#
        ))
    };
    let replaced = viewers("permit").expect("a narrower permit in the place of the built-in one");
    assert_eq!(replaced.set.num_of_policies(), Policies::load().expect("valid").set.num_of_policies());
    assert!(viewers("forbid").is_err(), "one id, one policy");
    assert!(Policies::parse_with(r#"@id("t") permit (principal in ?principal, action, resource);"#).is_err());
    assert!(Policies::parse_with(r#"@id("c") @commitment("XX-1") forbid (principal, action, resource);"#).is_err());
}

#[test]
fn epochs_grow_for_one_or_for_all() {
    let policies = Policies::load().expect("valid");
    let key = |name: &str| {
        let home = crate::Place::Environment(creta_model::Environment::parse("prod").expect("valid"));
        PrincipalKey::person(crate::PrincipalId::parse(name).expect("valid"), home)
    };
    let epochs = || (0..20).map(|n| policies.epoch_of(&key(&format!("p-{n}")))).collect::<Vec<_>>();
    let before = epochs();
    policies.start_epoch_of(&key("p-0"));
    let after = epochs();
    assert!(after[0] > before[0]);
    let untouched = before.iter().zip(&after).filter(|(before, after)| before == after).count();
    assert!(untouched >= 17, "one revocation does not empty everybody's cache: {untouched} of 20");
    policies.start_epoch();
    assert!(epochs().iter().zip(&after).all(|(now, then)| now > then));
}
