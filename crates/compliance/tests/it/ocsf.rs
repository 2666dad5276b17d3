//! Entries as events: every action that the code knows has one, every event keeps to the schema, and the schema refuses
//! what does not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use creta_compliance::ocsf::{Product, event, known_actions, validate, version};
use creta_proof::Hash;
use regex::Regex;
use serde_json::{Value, json};

fn product() -> Product {
    Product { name: "Creta".to_owned(), vendor: "Example".to_owned(), version: "0.1.0".to_owned() }
}

fn schema() -> Value {
    serde_json::from_str(include_str!("../../data/ocsf/1.7.json")).expect("JSON")
}

/// The entry of a decision or a happening, in all the ways that entries are written.
fn entries(action: &str) -> Vec<Value> {
    let actors = [
        None,
        Some(json!({"kind": "administrator", "id": "ana", "environment": "prod"})),
        Some(json!({
            "kind": "service-account", "id": "etl", "role": "reader",
            "scope": {"tenant": "acme", "environment": "prod"},
        })),
    ];
    let decisions = [
        json!({}),
        json!({"decision": "allow", "reason": "role", "policies": ["reader"]}),
        json!({"decision": "deny", "reason": "no-grant"}),
        json!({"decision": "deny", "reason": "other-tenant", "commitment": "CH-20"}),
        json!({"commitment": "CH-33"}),
    ];
    let details = [
        json!({}),
        json!({"details": {
            "check": "isolation", "evidence": "sha256:00", "commitments": "CH-20+CH-03", "service-account": "etl",
            "client": "hmac:00", "tenant": "acme", "rows": "12",
        }}),
        json!({"details": {"client": "hmac:00"}, "purpose": "churn", "features": {"count": 1, "digest": "00"}}),
    ];
    let mut entries = Vec::new();
    for actor in &actors {
        for decision in &decisions {
            for detail in &details {
                for tenant in [None, Some("acme")] {
                    let mut entry = json!({
                        "version": "creta.audit/1", "time": "2026-03-01T12:00:00.000001Z", "environment": "prod",
                        "action": action,
                    });
                    let members = entry.as_object_mut().expect("an object");
                    members.extend(actor.iter().map(|actor| ("actor".to_owned(), actor.clone())));
                    members.extend(tenant.iter().map(|tenant| ("tenant".to_owned(), json!(tenant))));
                    for more in [decision, detail] {
                        members.extend(more.as_object().expect("an object").clone());
                    }
                    entries.push(entry);
                }
            }
        }
    }
    entries
}

fn events() -> Vec<Value> {
    let actions = known_actions().chain(["a.new-action"]);
    actions.flat_map(entries).map(|entry| event(&entry, 4711, &product()).expect("every entry has an event")).collect()
}

/// One event of each class, with as many attributes as any has.
fn one_of_each_class() -> Vec<Value> {
    let mut events = events();
    events.sort_by_cached_key(|event| (event["class_uid"].as_u64(), std::cmp::Reverse(event.to_string().len())));
    events.dedup_by_key(|event| event["class_uid"].clone());
    assert_eq!(events.len(), schema()["classes"].as_object().expect("classes").len(), "every class is used");
    events
}

#[test]
fn events_of_all_actions_keep_to_the_schema() {
    let events = events();
    for event in &events {
        let violations = validate(event).err().unwrap_or_default();
        let listed: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(listed.is_empty(), "{}: {}", event["message"], listed.join("; "));
    }
    // For checking them with other tools.
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("ocsf.jsonl"), lines.join("\n")).expect("written");
}

#[test]
fn the_classes_are_those_that_fit() {
    let class = |entry: Value| event(&entry, 0, &product()).expect("an event")["class_name"].clone();
    let entry = |action: &str, more: Value| {
        let mut entry = json!({
            "version": "creta.audit/1", "time": "2026-03-01T12:00:00Z", "environment": "prod", "action": action,
        });
        entry.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        entry
    };
    for (action, more, expected) in [
        ("token.issue", json!({"decision": "allow"}), "Authentication"),
        ("token.refused", json!({}), "Authentication"),
        ("token.refused", json!({"commitment": "CH-33"}), "Detection Finding"),
        ("service-account.create", json!({"decision": "allow"}), "Account Change"),
        ("tenant.create", json!({"decision": "allow"}), "Entity Management"),
        ("deploy", json!({"decision": "allow"}), "API Activity"),
        ("deploy", json!({"decision": "deny"}), "API Activity"),
        ("deploy", json!({"decision": "deny", "commitment": "CI-20"}), "Detection Finding"),
        ("deploy.done", json!({}), "Application Lifecycle"),
        ("query", json!({"decision": "allow"}), "Datastore Activity"),
        ("check.fail", json!({}), "Compliance Finding"),
        ("server.start", json!({}), "Application Lifecycle"),
        ("clock.set-back", json!({"commitment": "CH-44"}), "Detection Finding"),
        ("a.new-action", json!({}), "API Activity"),
    ] {
        assert_eq!(class(entry(action, more.clone())), expected, "{action} {more}");
    }
}

#[test]
fn an_event_carries_the_entry_and_its_place_so_that_it_can_be_compared_with_the_log() {
    for entry in entries("query") {
        let bytes = serde_json_canonicalizer::to_vec(&entry).expect("plain data");
        let event = event(&entry, 4711, &product()).expect("an event");
        assert_eq!(event["raw_data"].as_str().map(str::as_bytes), Some(&bytes[..]));
        assert_eq!(event["raw_data_hash"]["value"], Hash::of(&[&bytes]).to_string());
        assert_eq!(event["metadata"]["uid"], "creta/prod/audit#4711");
        assert_eq!((&event["time"], &event["metadata"]["version"]), (&json!(1_772_366_400_000_i64), &json!(version())));
    }
}

#[test]
fn what_is_no_entry_has_no_event() {
    let good = &entries("query")[0];
    for (member, value) in [
        ("version", json!("creta.audit/2")),
        ("time", json!("2026-03-01T12:00:00+01:00")),
        ("time", json!(12)),
        ("action", json!(null)),
        ("environment", json!([])),
    ] {
        let mut bad = good.clone();
        bad[member] = value;
        let error = event(&bad, 3, &product()).expect_err(member);
        assert!(error.to_string().starts_with("the entry at 3 cannot be an event: "), "{error}");
    }
    assert!(event(&json!([]), 0, &product()).is_err());
}

#[test]
fn every_action_and_happening_of_the_code_has_a_class_of_its_own() {
    let patterns = [
        r#"\w+ = "([a-z-]+(?:\.[a-z-]+)*)", (?:Change|Read);"#,
        r#"Event::new\(\s*"([a-z.-]+)""#,
        r#"Event::of\(\s*&?[\w.()]+,\s*"([a-z.-]+)""#,
        r#"record_done\(\s*&?[\w.()]+,\s*"([a-z.-]+)""#,
    ]
    .map(|pattern| Regex::new(pattern).expect("a pattern"));
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates");
    let mut files = Vec::new();
    for folder in ["audit", "iam", "server", "store"] {
        rust_files(&crates.join(folder).join("src"), &mut files);
    }
    let mut found = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let text = text.split("#[cfg(test)]\nmod tests {").next().expect("a beginning").to_owned();
        for pattern in &patterns {
            found.extend(pattern.captures_iter(&text).map(|found| found[1].to_owned()));
        }
    }
    assert!(found.len() >= 28 && found.contains("server.start") && found.contains("audit.read"), "{found:?}");
    let known: BTreeSet<&str> = known_actions().collect();
    let lacking: Vec<&String> = found.iter().filter(|action| !known.contains(action.as_str())).collect();
    assert!(lacking.is_empty(), "add these to the table of `ocsf`: {lacking:?}");
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            rust_files(&path, found);
        } else if name.ends_with(".rs") && !["test", "attacks"].iter().any(|word| name.contains(word)) {
            found.push(path);
        }
    }
}

#[test]
fn attack_an_event_without_a_required_attribute_is_refused() {
    let schema = schema();
    let mut removed = 0;
    for event in one_of_each_class() {
        let class = schema["classes"].as_object().expect("classes").values();
        let class = class.into_iter().find(|class| class["uid"] == event["class_uid"]).expect("known");
        for place in required(&schema, &class["attributes"], &event, "") {
            let mut bad = event.clone();
            let (parent, name) = place.rsplit_once('/').expect("a pointer");
            bad.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(name).expect("was there");
            let violations = validate(&bad).expect_err(&place);
            assert!(violations.iter().any(|violation| violation.path.ends_with(name)), "{place}: {violations:?}");
            removed += 1;
        }
    }
    assert!(removed > 70, "{removed} attributes removed");
}

/// Pointers to everything in `value` that its shape requires.
fn required(schema: &Value, attributes: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, attribute) in attributes.as_object().expect("attributes") {
        let Some(inner) = value.get(name) else { continue };
        let place = format!("{at}/{name}");
        if attribute["required"] == true {
            found.push(place.clone());
        }
        if let Some(shape) = schema["objects"].get(attribute["is"].as_str().expect("a type")) {
            match inner.as_array() {
                Some(list) => list.iter().enumerate().for_each(|(index, inner)| {
                    found.extend(required(schema, &shape["attributes"], inner, &format!("{place}/{index}")));
                }),
                None => found.extend(required(schema, &shape["attributes"], inner, &place)),
            }
        }
    }
    found
}

/// Where any value of the type will do.
const ANYTHING: [&str; 6] =
    ["/finding_info/created_time", "/is_alert", "/metadata/sequence", "/time", "/timezone_offset", "/unmapped"];

#[test]
fn attack_wrong_types_numbers_and_names_are_refused() {
    let mut tried = 0;
    for event in one_of_each_class() {
        let mut places = Vec::new();
        pointers("", &event, &mut places);
        for place in places.iter().filter(|place| !place.starts_with("/unmapped/")) {
            let old = event.pointer(place).expect("there").clone();
            for new in [json!([[]]), json!(true), json!(-77), json!("\u{1f512}"), json!(null), json!({"surely not": 1})]
            {
                let same_type = std::mem::discriminant(&new) == std::mem::discriminant(&old);
                if same_type && (old.is_string() || ANYTHING.contains(&place.as_str())) {
                    continue; // Another text is a text; words that a number has are tested below.
                }
                let mut bad = event.clone();
                *bad.pointer_mut(place).expect("there") = new.clone();
                assert!(validate(&bad).is_err(), "{place} = {new} in {}", event["class_name"]);
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried} changes tried");
}

fn pointers(at: &str, value: &Value, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in inner {
        let place = format!("{at}/{name}");
        pointers(&place, value, found);
        found.push(place);
    }
}

#[test]
fn attack_an_inconsistent_classification_is_refused() {
    for event in one_of_each_class() {
        for (name, value) in [
            ("type_uid", json!(event["type_uid"].as_i64().expect("a number") + 1)),
            ("category_uid", json!(1)),
            ("class_uid", json!(1001)),
            ("class_name", json!("File System Activity")),
            ("category_name", json!("System Activity")),
            ("activity_name", json!("Nothing")),
            ("type_name", json!("Nothing: At All")),
            ("severity", json!("Harmless")),
            ("status", json!("Fine")),
            ("colour", json!("red")),
            ("osint", json!([])),
        ] {
            let mut bad = event.clone();
            bad[name] = value;
            assert!(validate(&bad).is_err(), "{name} in {}", event["class_name"]);
        }
        let mut bad = event.clone();
        bad["activity_id"] = json!(77);
        bad["type_uid"] = json!(event["class_uid"].as_i64().expect("a number") * 100 + 77);
        assert!(validate(&bad).is_err(), "an activity that is none");
        let mut bad = event.clone();
        bad["metadata"]["version"] = json!("1.0.0");
        assert!(validate(&bad).is_err(), "another version");
        let mut bad = event.clone();
        bad["metadata"]["profiles"] = json!(["osint"]);
        assert!(validate(&bad).is_err(), "another profile");
        if event.get("action_id").is_some() {
            let mut bad = event.clone();
            bad["metadata"].as_object_mut().expect("an object").remove("profiles");
            assert!(validate(&bad).is_err(), "attributes of a profile that is not named");
        }
    }
}

#[test]
fn attack_what_the_schema_wants_of_several_attributes_together_is_refused() {
    let all = events();
    let lacks = |class: &str, activity: i64, place: &str, rule: &str| {
        let event = all.iter().find(|event| event["class_name"] == class && event["activity_id"] == activity);
        let mut bad = event.expect("there is one").clone();
        let (parent, name) = place.rsplit_once('/').expect("a pointer");
        bad.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(name).expect("was there");
        let listed: Vec<String> = validate(&bad).expect_err(place).iter().map(ToString::to_string).collect();
        assert!(listed.iter().any(|violation| violation.contains(rule)), "{place}: {listed:?}");
    };
    lacks("Authentication", 1, "/service", "the event needs one of service");
    lacks("Datastore Activity", 4, "/databucket", "the event needs one of databucket");
    lacks("Datastore Activity", 4, "/databucket/name", "`databucket` needs one of name, uid");
    lacks("API Activity", 99, "/activity_name", "`activity_id` needs `activity_name` beside it");
    lacks("Datastore Activity", 4, "/databucket/type", "`databucket.type_id` needs `type` beside it");
}

#[test]
fn violations_name_places_and_never_values() {
    let mut bad = one_of_each_class().remove(0);
    bad["message"] = json!(["canary-4711"]);
    bad["severity_id"] = json!(4711);
    let listed: Vec<String> = validate(&bad).expect_err("wrong").iter().map(ToString::to_string).collect();
    assert!(listed.iter().all(|violation| !violation.contains("4711")), "{listed:?}");
    assert!(listed.contains(&"`message` is not of type `string_t`".to_owned()), "{listed:?}");
}
