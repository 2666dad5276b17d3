//! The JSON schema says what the loader reads: the same fields, the same words, the same refusals.
//!
//! The few keywords that the schema uses are evaluated here; one it does not know fails the test rather than passing it.

use serde_json::{Map, Value, json};

use super::*;

const SCHEMA: &str = include_str!("../../../schema/commitments.schema.json");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("JSON")
}

/// Why `value` does not follow `rules`; empty if it does. JSON Schema 2020-12, as far as used.
fn faults(root: &Value, rules: &Value, value: &Value) -> Vec<String> {
    let rules = rules.as_object().expect("a schema is an object");
    let mut found = Vec::new();
    for (keyword, rule) in rules {
        let mut fault = |holds: bool| {
            if !holds {
                found.push(format!("{keyword} {rule}: {value}"));
            }
        };
        let text = value.as_str();
        let list = value.as_array();
        match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let path = rule.as_str().and_then(|rule| rule.strip_prefix('#')).expect("a reference within");
                found.extend(faults(root, root.pointer(path).expect("leads somewhere"), value));
            }
            "type" => fault(match rule.as_str().expect("one type") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                other => panic!("the type `{other}` is not evaluated"),
            }),
            "const" => fault(value == rule),
            "not" => fault(!faults(root, rule, value).is_empty()),
            "anyOf" => {
                fault(rule.as_array().expect("a list").iter().any(|rule| faults(root, rule, value).is_empty()));
            }
            "enum" => fault(rule.as_array().expect("a list").contains(value)),
            "pattern" => {
                let pattern = regex::Regex::new(rule.as_str().expect("text")).expect("a pattern");
                fault(text.is_none_or(|text| pattern.is_match(text)));
            }
            "maxLength" => {
                fault(text.is_none_or(|text| text.chars().count() as u64 <= rule.as_u64().expect("a number")))
            }
            "minItems" => fault(list.is_none_or(|list| list.len() as u64 >= rule.as_u64().expect("a number"))),
            "uniqueItems" => fault(list.is_none_or(|list| (1..list.len()).all(|n| !list[..n].contains(&list[n])))),
            "items" => {
                for item in list.into_iter().flatten() {
                    found.extend(faults(root, rule, item));
                }
            }
            "required" => {
                for name in rule.as_array().expect("a list") {
                    fault(value.get(name.as_str().expect("text")).is_some());
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().expect("an object") {
                    found.extend(value.get(name).into_iter().flat_map(|value| faults(root, rule, value)));
                }
            }
            "additionalProperties" => {
                let known = rules["properties"].as_object().expect("an object");
                let others = value.as_object().into_iter().flatten().filter(|(name, _)| !known.contains_key(*name));
                for (name, value) in others {
                    match rule {
                        Value::Bool(false) => found.push(format!("`{name}` is unknown")),
                        rule => found.extend(faults(root, rule, value)),
                    }
                }
            }
            other => panic!("the keyword `{other}` is not evaluated"),
        }
    }
    found
}

fn is_valid(file: &Value) -> bool {
    faults(&schema(), &schema(), file).is_empty()
}

/// A file with one commitment of every field, valid by the schema and by the loader.
fn full() -> Value {
    let all: Value = toml::from_str(OWN[0].1).expect("TOML");
    let mut row = all["commitment"][0].clone();
    row["outside"] = json!(false);
    json!({"format": COMMITMENTS_FORMAT, "split": [], "commitment": [row]})
}

fn loads(file: &Value) -> bool {
    let text = toml::to_string(file).expect("TOML");
    let own = [("commitments/own.toml", text.as_str())];
    Registry::of(&built_in(), &files(&own)).is_ok()
}

#[test]
fn every_file_that_ships_follows_the_schema() {
    let shipped: Vec<_> = BUILT_IN.iter().filter(|(path, _)| path.starts_with("commitments/")).collect();
    assert_eq!(shipped.len(), 11);
    for (path, text) in shipped {
        let file: Value = toml::from_str(text).expect("TOML");
        assert_eq!(faults(&schema(), &schema(), &file), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn the_schema_has_the_fields_and_words_of_the_types() {
    let schema = schema();
    let rules = &schema["$defs"]["commitment"];
    let names = |object: &Value| object.as_object().expect("an object").keys().cloned().collect::<BTreeSet<String>>();
    let row: Commitment = serde_json::from_value(full()["commitment"][0].clone()).expect("a commitment");
    assert_eq!(names(&rules["properties"]), names(&serde_json::to_value(row).expect("plain data")));
    assert_eq!(rules["properties"]["title"]["maxLength"], TITLE_CHARS_MAX);
    let words = |field: &str| rules["properties"][field]["items"]["enum"].clone();
    assert_eq!(words("class"), json!(Class::ALL));
    assert_eq!(words("pillar"), json!(Pillar::ALL));
    assert_eq!(rules["properties"]["software"]["enum"], json!(Software::ALL));
    assert_eq!(json!(Class::ALL.map(Class::as_str)), json!(Class::ALL));
    assert_eq!(json!(Pillar::ALL.map(Pillar::as_str)), json!(Pillar::ALL));
    assert_eq!(json!(Software::ALL.map(Software::as_str)), json!(Software::ALL));
}

#[test]
fn what_the_schema_requires_the_loader_misses_and_nothing_else_is_known() {
    assert!(is_valid(&full()) && loads(&full()));
    let row = full()["commitment"][0].as_object().expect("an object").clone();
    let with = |row: Map<String, Value>| json!({"format": COMMITMENTS_FORMAT, "commitment": [row]});
    // A row whose software is to come may leave out everything that is not required.
    let mut bare = row.clone();
    bare.insert("software".to_owned(), json!("to-come"));
    for name in ["checks", "positive_tests", "attack_tests"] {
        bare.remove(name);
    }
    assert!(is_valid(&with(bare.clone())) && loads(&with(bare.clone())));
    for name in bare.keys() {
        let mut less = bare.clone();
        less.remove(name);
        assert_eq!(is_valid(&with(less.clone())), loads(&with(less)), "without `{name}`");
    }
    let mut more = bare;
    more.insert("notes".to_owned(), json!("none"));
    assert!(!is_valid(&with(more.clone())) && !loads(&with(more)));
    for name in ["format", "commitment"] {
        let mut file = full();
        file.as_object_mut().expect("an object").remove(name);
        assert!(!is_valid(&file) && !loads(&file), "without `{name}`");
    }
}

#[test]
fn schema_and_loader_judge_single_fields_alike() {
    let cases: &[(&str, &[Value])] = &[
        ("id", &[json!("ACME-01"), json!("AB-123"), json!("A-01"), json!("ACME-1"), json!("acme-01"), json!(1)]),
        (
            "folded",
            &[json!([]), json!(["ACME-12", "ACME-13"]), json!(["ACME-12", "ACME-12"]), json!(["x"]), json!("x")],
        ),
        ("title", &[json!("é".repeat(60)), json!("é".repeat(61)), json!(""), json!(" "), json!([])]),
        ("text", &[json!("Yes."), json!(""), json!(true)]),
        ("behaviour", &[json!("Yes."), json!("")]),
        ("attack", &[json!("Yes."), json!("\n")]),
        (
            "class",
            &[
                json!(["enforced", "checked"]),
                json!([]),
                json!(["checked", "checked"]),
                json!(["other"]),
                json!("checked"),
            ],
        ),
        ("pillar", &[json!(["integrity"]), json!([]), json!(["integrity", "integrity"]), json!(["beauty"])]),
        (
            "owner",
            &[json!("lead"), json!("data-lead-2"), json!("Lead"), json!(""), json!("a--b"), json!("-a"), json!("a b")],
        ),
        ("outside", &[json!(false), json!("false")]),
        ("software", &[json!("here"), json!("soon")]),
        ("checks", &[json!(["isolation"]), json!(["isolation", "isolation"]), json!("isolation"), json!([1])]),
        (
            "freshness",
            &[
                json!("1h"),
                json!("00090m"),
                json!("0h"),
                json!("1w"),
                json!("h"),
                json!("1.5h"),
                json!(5),
                json!("5ms"),
            ],
        ),
        (
            "attack_tests",
            &[
                json!(["creta-audit attacks::a"]),
                json!(["creta-server::it a"]),
                json!(["pytest test_a.py::test_b[1-2]"]),
                json!(["pytest test_a::test_b"]),
                json!(["pytest test_a.py::"]),
                json!(["a"]),
                json!(["a b c"]),
                json!(["a :b"]),
                json!(["a b", "a b"]),
            ],
        ),
        (
            "mappings",
            &[
                json!({"reviewed": false}),
                json!({"reviewed": false, "soc2": ["CC6.1"]}),
                json!({"reviewed": true, "reviewer": "A. Auditor", "reviewed_on": "2026-11-20"}),
                json!({"reviewed": true, "reviewer": " ", "reviewed_on": "2026-11-20"}),
                json!({"reviewed": true, "reviewer": "A. Auditor", "reviewed_on": "20 November"}),
                json!({"soc2": ["CC6.1"]}),
                json!({"reviewed": false, "soc2": "CC6.1"}),
                json!({"reviewed": false, "soc2": ["CC6.1", "CC6.1"]}),
                json!({"reviewed": "no"}),
            ],
        ),
    ];
    let (mut good, mut bad) = (0, 0);
    for (field, values) in cases {
        for value in *values {
            let mut file = full();
            file["commitment"][0][field] = value.clone();
            let valid = is_valid(&file);
            assert_eq!(valid, loads(&file), "{field} = {value}");
            if valid { good += 1 } else { bad += 1 }
        }
    }
    assert!(good >= 20 && bad >= 35, "{good} good, {bad} bad");
}
