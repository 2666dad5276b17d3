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
    assert_eq!(purposes, BTreeSet::from([None, Some("another purpose")]));
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
