use super::*;

fn with(custom: &str) -> Policies {
    Policies::parse_with(custom).expect("valid")
}

fn id(text: &str) -> PrincipalId {
    PrincipalId::parse(text).expect("valid")
}

const AUDITORS_SEE_PLANS: &str = r#"
    @id("auditors-see-plans")
    permit (principal is Creta::Person in Creta::Role::"auditor", action == Creta::Action::"plan", resource is Creta::Scope)
    when { context.class == "staging" };"#;

#[test]
fn equal_policies_allow_the_same() {
    let comparison = compare(&with(""), &with("")).expect("comparable");
    assert_eq!((comparison.wider.len(), comparison.narrower.len()), (0, 0));
}

#[test]
fn what_a_permit_adds_is_found_and_nothing_else() {
    let comparison = compare(&with(""), &with(AUDITORS_SEE_PLANS)).expect("comparable");
    assert!(comparison.is_widening() && comparison.narrower.is_empty());
    assert!(comparison.wider.iter().all(|a| a.action == "plan" && a.class == EnvironmentClass::Staging));
    let who: BTreeSet<&str> = comparison.wider.iter().filter_map(|a| a.who.split(',').next()).collect();
    assert_eq!(who, BTreeSet::from(["person as auditor", "person as auditor by grant"]), "other roles may already");
    let back = compare(&with(AUDITORS_SEE_PLANS), &with("")).expect("comparable");
    assert_eq!((back.wider, back.narrower), (comparison.narrower, comparison.wider));
}

#[test]
fn attack_ci20_a_widening_that_hides_behind_tags_is_found() {
    let hidden = r#"
        @id("people-get-features")
        permit (principal is Creta::Person, action in [Creta::Action::"feature.return",
            Creta::Action::"feature.return-masked", Creta::Action::"feature.use"], resource is Creta::Scope)
        when { principal.home == resource.path };
        @id("more-tags-more-rights")
        permit (principal is Creta::Person in Creta::Role::"auditor", action == Creta::Action::"query", resource is Creta::Scope)
        when { context.tags.contains("pii") && context.tags.contains("project-x") };"#;
    let comparison = compare(&with(""), &with(hidden)).expect("comparable");
    assert!(comparison.is_widening());
    for allowance in &comparison.wider {
        let tags: Vec<&str> = allowance.tags.iter().map(String::as_str).collect();
        assert!(tags.contains(&"pii") && tags.contains(&"project-x"), "{allowance}");
        assert_eq!(allowance.action, "query");
    }
}

#[test]
fn attack_ci20_a_built_in_permit_that_is_made_wider_is_found() {
    let wider = r#"
        @id("auditor-of-environment")
        @role("auditor")
        permit (principal is Creta::Person in Creta::Role::"auditor", action == Creta::Action::"trust.run", resource is Creta::Environment)
        when { principal.environment == resource.environment };"#;
    let comparison = compare(&with(""), &with(wider)).expect("comparable");
    assert!(comparison.is_widening());
    assert!(comparison.wider.iter().all(|allowance| allowance.action == "trust.run"));
    assert!(
        comparison.narrower.iter().any(|allowance| allowance.action == "trust.read"),
        "and what it did before is gone"
    );
}

#[test]
fn a_forbid_narrows_and_a_purpose_counts() {
    let custom = r#"
        @id("training-needs-its-purpose")
        forbid (principal is Creta::ServiceAccount, action == Creta::Action::"train", resource)
        unless { context has purpose && context.purpose == "fraud" };"#;
    let comparison = compare(&with(""), &with(custom)).expect("comparable");
    assert!(!comparison.is_widening());
    let purposes: BTreeSet<Option<&str>> = comparison.narrower.iter().map(|a| a.purpose.as_deref()).collect();
    assert!(purposes.contains(&None) && purposes.contains(&Some("another purpose")), "{purposes:?}");
    assert!(!purposes.contains(&Some("fraud")), "{purposes:?}");
}

#[test]
fn attack_ci20_a_widening_needs_another_person_who_saw_it() {
    let proposed = ProposedPolicies::new(&with(""), AUDITORS_SEE_PLANS, id("ana")).expect("valid");
    let refused = proposed.adopt().expect_err("it allows more").to_string();
    assert!(refused.contains("another person has to approve") && refused.contains("`plan` on own scope"), "{refused}");
    let digest = proposed.digest();
    assert!(matches!(proposed.approve(&id("ana"), &digest), Err(IamError::OwnProposal { .. })));
    let other = ProposedPolicies { text: String::new(), ..proposed.clone() };
    assert!(matches!(other.approve(&id("bob"), &digest), Err(IamError::OtherProposal)));
    proposed.approve(&id("bob"), &digest).expect("another person who saw it");

    let narrowing =
        r#"@id("no-plans") forbid (principal is Creta::ServiceAccount, action == Creta::Action::"plan", resource);"#;
    let proposed = ProposedPolicies::new(&with(""), narrowing, id("ana")).expect("valid");
    proposed.adopt().expect("it allows nothing more");
    let text = String::from_utf8(proposed.comparison.to_bytes()).expect("JSON");
    assert!(text.starts_with(r#"{"narrower":[{"action":"plan","class":"development""#), "{}", &text[..80]);
    assert_ne!(proposed.comparison.digest(), Comparison { wider: vec![], narrower: vec![] }.digest());
}

/// A policy that lets administrators approve access, under conditions.
fn approvers(conditions: &str) -> String {
    format!(
        r#"@id("x") permit (principal is Creta::Person in Creta::Role::"administrator",
            action == Creta::Action::"access.approve", resource is Creta::Environment) {conditions};"#
    )
}

#[test]
fn attack_ci20_a_widening_that_hides_behind_several_roles_is_found() {
    for conditions in [
        r#"when { principal in Creta::Role::"operator" } unless { principal in Creta::Role::"auditor" }"#,
        r#"when { principal in Creta::Granted::"operator" } unless { principal in Creta::Granted::"administrator" }"#,
        r#"when { principal in Creta::Role::"operator" } unless { principal in Creta::Granted::"operator" }"#,
        r#"when { principal.breakGlass && principal.userVerified && principal.device == "trusted" }
           unless { principal in Creta::Role::"auditor" }"#,
    ] {
        let comparison = compare(&with(""), &with(&approvers(conditions))).expect("comparable");
        assert!(comparison.is_widening(), "{conditions}");
        assert!(comparison.wider.iter().all(|a| a.action == "access.approve"), "{conditions}");
    }
}

#[test]
fn attack_ci20_a_forbid_taken_away_from_two_roles_is_a_widening() {
    let both = r#"@id("not-both") forbid (principal is Creta::Person in Creta::Role::"auditor",
        action == Creta::Action::"plan", resource) when { principal in Creta::Role::"viewer" };
        @id("no-operators") forbid (principal is Creta::Person in Creta::Role::"operator",
        action == Creta::Action::"plan", resource);"#;
    let without = both.split_once("@id(\"no-operators\")").expect("two").1;
    let without = format!("@id(\"no-operators\"){without}");
    let comparison = compare(&with(both), &with(&without)).expect("comparable");
    assert!(comparison.is_widening(), "in every role they are operators as well");
    let back = compare(&with(&without), &with(both)).expect("comparable");
    assert!(!back.is_widening(), "a forbid more");
}

#[test]
fn attack_ci20_words_that_name_classes_devices_and_purposes_hide_nothing() {
    for hidden in [
        r#"when { context.tags.contains("production") }"#,
        r#"when { context.tags.contains("trusted") && context.tags.contains("none") }"#,
        r#"when { context has purpose && context.purpose == "pii" }"#,
        r#"when { context.class == (if context.tags.contains("hidden") then "staging" else "none of them") }"#,
    ] {
        let text = format!(
            r#"@id("x") permit (principal is Creta::Person in Creta::Role::"auditor", action == Creta::Action::"plan",
                resource is Creta::Scope) {hidden};"#
        );
        assert!(compare(&with(""), &with(&text)).expect("comparable").is_widening(), "{hidden}");
    }
}

#[test]
fn attack_ci20_what_is_not_asked_about_is_never_called_no_wider() {
    // Four tags that must all be there, three that must not: nobody asks in all ways.
    let tag = |n: usize| format!(r#"context.tags.contains("tag-{n}")"#);
    let all: Vec<String> = (0..4).map(tag).collect();
    let none: Vec<String> = (4..7).map(tag).collect();
    let words = format!(
        r#"@id("x") permit (principal is Creta::Person in Creta::Role::"auditor", action == Creta::Action::"plan",
            resource is Creta::Scope) when {{ {} }} unless {{ {} }};"#,
        all.join(" && "),
        none.join(" || ")
    );
    let roles = approvers(
        r#"when { principal in Creta::Role::"operator" && principal in Creta::Role::"viewer" &&
            principal in Creta::Role::"developer" } unless { principal in Creta::Role::"auditor" }"#,
    );
    for text in [words, roles] {
        let comparison = compare(&with(""), &with(&text)).expect("comparable");
        assert!(comparison.is_widening(), "{text}");
        assert!(comparison.wider[0].to_string().starts_with("perhaps somebody: `x`"), "{}", comparison.wider[0]);
    }
    // A forbid allows nothing more, whatever it speaks of.
    let forbid = format!(
        r#"@id("x") forbid (principal, action == Creta::Action::"plan", resource) when {{ {} }};"#,
        all.join(" && ")
    );
    assert!(!compare(&with(""), &with(&forbid)).expect("comparable").is_widening());
}

#[test]
fn a_permit_for_two_roles_who_may_already_is_no_widening() {
    let text = r#"@id("x") permit (principal is Creta::Person in Creta::Role::"viewer", action == Creta::Action::"plan",
        resource is Creta::Scope) when { principal.environment == resource.environment }
        unless { principal in Creta::Role::"auditor" };"#;
    let comparison = compare(&with(""), &with(text)).expect("comparable");
    assert_eq!((comparison.wider, comparison.narrower), (vec![], vec![]));
}
