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
