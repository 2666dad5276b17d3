//! Promises from the command line: a server, no project, no tenant of its own.

use serde_json::Value;

use super::Place;

#[test]
fn a_security_lead_and_an_auditor_get_all_they_need_from_the_command_line() {
    let mut place = Place::new();
    let made = place.serve();
    let key = made["audit_verifier_key"].as_str().expect("a key");
    let admin = ["--profile", "admin"];
    let with = |arguments: &[&'static str]| [arguments, &admin].concat();

    let before = place.text(&with(&["trust", "inventory"]));
    assert!(before.contains("creta trust inventory --declare"), "{before}");
    place.ok(&with(&["trust", "inventory", "--declare", "--owner", "platform", "--region", "eu"]));
    let after = place.text(&with(&["trust", "inventory"]));
    assert!(after.contains("what runs is what was declared") && after.contains("platform"), "{after}");

    let ran = place.ok(&with(&["trust", "run", "isolation", "route-permits", "clock"]));
    for run in ran["ran"].as_array().expect("a list") {
        assert_eq!(run["outcome"], "pass", "{run}");
    }
    assert_eq!(place.refused(&with(&["trust", "run", "nonsense"])), (1, "not-found/check".into()));
    let shown = place.text(&with(&["trust", "status"]));
    assert!(shown.contains("met 2 of 91") && shown.contains("CH-20") && shown.contains("/trust/"), "{shown}");
    // Nothing looks at anything wrong here, so a pipeline goes on.
    place.ok(&with(&["trust", "status", "--strict"]));

    let pack =
        ["trust", "pack", "--control", "CH-20", "--from", "2020-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"];
    place.ok(&with(&[&pack[..], &["--seed", "theirs", "--out", "pack.zip"]].concat()));
    let bytes = std::fs::read(place.path("pack.zip")).expect("written");
    creta_proof::pack::verify(&bytes, key).expect("it verifies");
    assert_eq!(
        place.refused(&with(&[&pack[..], &["--seed", "theirs", "--out", "pack.zip"]].concat())),
        (2, "file/not-written".into()),
        "nothing is written over"
    );
    place.ok(&with(&["trust", "oscal", "--out", "oscal"]));
    assert!(place.path("oscal/assessment-results.json").exists() && place.path("oscal/evidence").is_dir());
    assert_eq!(place.text(&with(&["trust", "reports", "list"])), "no reports of security issues\n");

    let events = place.text(&with(&["audit", "show", "--limit", "1000", "--ocsf"]));
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert!(events.len() > 20, "{}", events.len());
    for event in &events {
        creta_compliance::ocsf::validate(event).unwrap_or_else(|violations| panic!("{violations:?}: {event}"));
    }
}
