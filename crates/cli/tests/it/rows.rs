//! Row rules from the command line, as the guide writes them.

use serde_json::json;

use super::Place;

const RULES: &str = r#"
format = "creta.rows/1"

[[rule]]
id = "other-sensors"
entity = "Reading"
roles = ["developer"]
feature = "Reading.sensor"
in = ["b"]
"#;

#[test]
fn row_rules_are_proposed_from_a_file_shown_and_in_force_at_once() {
    let mut place = Place::new();
    place.serve();
    place.readings();
    place.ok(&["deploy", "project"]);
    place.ok(&["ingest", "--all", "--project", "project"]);
    let ask = ["query", "-i", "Reading.id=1", "-o", "Reading.value"];
    assert_eq!(place.ok(&ask)["columns"][0]["values"], json!([1.0]));
    std::fs::write(place.path("rows.toml"), RULES).expect("written");
    let of = ["--tenant", "acme", "--profile", "admin"];
    let reason = ["--reason", "Each team looks after its own sensors only"];
    let propose = [&["access", "rows", "propose", "rows.toml"][..], &reason, &of].concat();
    let proposed = place.text(&propose);
    assert!(proposed.contains("in force: it shows nothing more than what held before"), "{proposed}");
    assert!(proposed.contains("rows of `Reading` are no longer seen by role developer"), "{proposed}");
    let denied = place.ok(&ask);
    assert_eq!(denied["columns"][0]["states"], json!({"0": "denied"}), "{denied}");
    let shown = place.text(&[&["access", "rows", "show"][..], &of].concat());
    assert!(shown.contains("developer see only `Reading` whose `Reading.sensor` is one of \"b\""), "{shown}");
    let plan = place.text(&["plan", "--deployed", "--input", "Reading.id", "--output", "Reading.value"]);
    assert!(plan.contains("satisfies rule `other-sensors`, which binds you"), "{plan}");

    // Nothing more is shown by the local administrator's word.
    std::fs::write(place.path("rows.toml"), "format = \"creta.rows/1\"\n").expect("written");
    assert_eq!(place.refused(&propose).1, "access/people-only");
    std::fs::write(place.path("rows.toml"), "format = \"creta.rows/9\"\n").expect("written");
    assert_eq!(place.refused(&propose).1, "rows/file");
    // Tags are a matter of the tenant's own people, as requests for secrets are of people.
    assert_eq!(place.refused(&["access", "declassify", "list"]).1, "access/denied");
    let secret =
        ["service-account", "request", "x", "--role", "reader", "--reason", "The scoring service starts on Monday"];
    assert_eq!(place.refused(&[&secret[..], &of].concat()).1, "access/people-only");
}
