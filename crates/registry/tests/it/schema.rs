//! The published schema says of a bundle what the model reads: `docs/reference/graph.schema.json`.
//!
//! The validator below knows the keywords that the schema uses and refuses any other, so none is ignored in silence.

use std::collections::BTreeSet;
use std::path::Path;

use creta_model::{
    Bundle, Entity, Feature, Graph, NamedQuery, Relation, Resolver, ResolverInput, Source, Validation, Window,
};
use creta_registry::Registry;
use serde_json::{Value, json};

use crate::dsl;

fn read(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

fn schema() -> Value {
    read("docs/reference/graph.schema.json")
}

fn maximal() -> Value {
    read("tests/golden/registry/maximal.bundle.json")
}

/// Where in the schema each property of a valid document was described.
type Seen = BTreeSet<String>;

fn check(root: &Value, at: &str, value: &Value, seen: &mut Seen) -> Result<(), String> {
    let schema = root.pointer(at).unwrap_or_else(|| panic!("no schema at {at}"));
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let here = format!("{at}/{keyword}");
        let ok = match (keyword.as_str(), rule) {
            ("$schema" | "$id" | "$defs" | "title" | "description" | "default", _) => true,
            ("$ref", Value::String(reference)) => {
                check(root, reference.strip_prefix('#').expect("a local reference"), value, seen)?;
                true
            }
            ("type", Value::String(name)) => match name.as_str() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                other => panic!("unknown type `{other}` at {here}"),
            },
            ("const", expected) => value == expected,
            ("enum", Value::Array(allowed)) => allowed.contains(value),
            ("pattern", Value::String(pattern)) => {
                value.as_str().is_none_or(|text| regex::Regex::new(pattern).expect("a pattern").is_match(text))
            }
            ("minimum", least) => value.as_f64().is_none_or(|n| n >= least.as_f64().expect("a number")),
            ("maximum", most) => value.as_f64().is_none_or(|n| n <= most.as_f64().expect("a number")),
            ("minItems", least) => value.as_array().is_none_or(|a| a.len() as u64 >= least.as_u64().expect("a count")),
            ("maxItems", most) => value.as_array().is_none_or(|a| a.len() as u64 <= most.as_u64().expect("a count")),
            ("items", _) => {
                for item in value.as_array().into_iter().flatten() {
                    check(root, &here, item, seen)?;
                }
                true
            }
            ("required", Value::Array(names)) => value
                .as_object()
                .is_none_or(|object| names.iter().all(|name| object.contains_key(name.as_str().expect("a name")))),
            ("properties", Value::Object(properties)) => {
                for name in properties.keys() {
                    if let Some(member) = value.get(name) {
                        let property = format!("{here}/{name}");
                        check(root, &property, member, seen)?;
                        seen.insert(property);
                    }
                }
                true
            }
            ("additionalProperties", Value::Bool(false)) => {
                let known = schema["properties"].as_object().expect("a closed object lists its properties");
                value.as_object().is_none_or(|object| object.keys().all(|name| known.contains_key(name)))
            }
            ("additionalProperties", _) => {
                for member in value.as_object().into_iter().flat_map(serde_json::Map::values) {
                    check(root, &here, member, seen)?;
                }
                true
            }
            ("propertyNames", _) => {
                for name in value.as_object().into_iter().flat_map(serde_json::Map::keys) {
                    check(root, &here, &json!(name), seen)?;
                }
                true
            }
            ("not", _) => check(root, &here, value, &mut Seen::new()).is_err(),
            ("oneOf", Value::Array(choices)) => {
                let mut fitting: Vec<Seen> = Vec::new();
                for choice in 0..choices.len() {
                    let mut of_choice = Seen::new();
                    if check(root, &format!("{here}/{choice}"), value, &mut of_choice).is_ok() {
                        fitting.push(of_choice);
                    }
                }
                let one = fitting.len() == 1;
                seen.extend(fitting.into_iter().flatten());
                one
            }
            (other, _) => panic!("unknown keyword `{other}` at {at}"),
        };
        if !ok {
            return Err(format!("{here} refuses {value}"));
        }
    }
    Ok(())
}

fn validate(value: &Value) -> Result<Seen, String> {
    let mut seen = Seen::new();
    check(&schema(), "", value, &mut seen).map(|()| seen)
}

#[test]
fn the_schema_knows_every_field_of_the_maximal_example() {
    validate(&maximal()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_maximal_example_has_every_property_of_the_schema() {
    fn properties(value: &Value, at: &str, found: &mut Seen) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let here = format!("{at}/{name}");
                    if at.ends_with("/properties") {
                        found.insert(here.clone());
                    }
                    properties(member, &here, found);
                }
            }
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(position, item)| properties(item, &format!("{at}/{position}"), found));
            }
            _ => {}
        }
    }
    let mut described = Seen::new();
    properties(&schema(), "", &mut described);
    let seen = validate(&maximal()).expect("valid");
    let missing: Vec<&String> = described.difference(&seen).collect();
    assert!(missing.is_empty(), "not in the example: {missing:#?}");
}

#[test]
fn the_model_reads_and_writes_the_maximal_example_without_loss() {
    let json = maximal();
    let bundle: Bundle = serde_json::from_value(json.clone()).expect("a bundle");
    assert_eq!(serde_json::to_value(&bundle).expect("JSON"), json);
    Registry::apply(None, bundle).unwrap_or_else(|problems| panic!("{}", problems[0]));
}

/// Does not compile when the model gains a field: then the schema and the maximal example need it too.
#[test]
fn every_field_of_the_model_occurs_in_the_maximal_example() {
    let bundle: Bundle = serde_json::from_value(maximal()).expect("a bundle");
    let Graph { format: _, project: _, entities, resolvers, sources, queries } = bundle.graph;
    for Entity { name: _, doc: _, owner: _, tags: _, renamed_from: _, features, relations, location: _ } in entities {
        for Feature {
            name: _,
            ty: _,
            optional: _,
            role: _,
            event_id: _,
            doc: _,
            owner: _,
            tags: _,
            unit: _,
            default: _,
            validation,
            max_age: _,
            version: _,
            deprecated: _,
            renamed_from: _,
            expression: _,
            window,
            location: _,
        } in features
        {
            if let Some(Validation { min: _, max: _, min_length: _, max_length: _, pattern: _ }) = validation {}
            if let Some(Window { relation: _, aggregate: _, value: _, filter: _, last: _, include_now: _ }) = window {}
        }
        for Relation { name: _, kind: _, target: _, on, location: _ } in relations {
            assert!(!on.is_empty());
        }
    }
    for Resolver {
        name: _,
        module: _,
        mode: _,
        is_async,
        doc: _,
        owner: _,
        inputs,
        outputs: _,
        environments: _,
        timeout: _,
        retries: _,
        code: _,
        location: _,
    } in resolvers
    {
        assert!(is_async);
        for ResolverInput { name: _, from: _, optional: _ } in inputs {}
    }
    for Source { name: _, entity: _, format: _, columns: _, event_time: _, arrival, zone: _, location: _ } in sources {
        assert!(arrival.is_some());
    }
    for NamedQuery { name: _, version: _, inputs: _, outputs: _, doc: _, owner, location: _ } in queries {
        assert!(owner.is_some());
    }
}

#[test]
fn schema_and_model_refuse_the_same() {
    for (pointer, replacement) in [
        ("/format", json!("creta.bundle/2")),
        ("/graph/entities/0/name", json!("_hidden")),
        ("/graph/entities/0/more", json!(1)),
        ("/graph/entities/0/features/0/type", json!({ "kind": "integer" })),
        ("/graph/entities/0/features/0/type", json!({ "kind": "int", "scale": 2 })),
        ("/graph/entities/0/features/0/role", json!("id")),
        ("/graph/entities/0/features/1/window/aggregate", json!("median")),
        ("/graph/entities/0/features/1/window/last/0", json!("1w")),
        ("/graph/entities/0/features/1/window/value/path", json!("Flight")),
        ("/graph/entities/0/features/1/window/where/function", json!("greater")),
        ("/graph/entities/0/relations/0/kind", json!("some")),
        ("/graph/entities/0/relations/0/on/0", json!(["code"])),
        ("/graph/resolvers/0/mode", json!("jax")),
        ("/graph/resolvers/0/inputs/2/from", json!("later")),
        ("/graph/resolvers/0/retries", json!(-1)),
        ("/graph/sources/0/format", json!("excel")),
        ("/graph/sources/0/event_time", json!({ "constant": "2013-01-01T00:00:00" })),
        ("/graph/sources/1/arrival", json!({ "delay": "soon" })),
        ("/graph/queries/0/outputs/0", json!("risk")),
        ("/lock/packages/pandas/more", json!(1)),
    ] {
        let mut json = maximal();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        match json.pointer_mut(parent).expect("a place") {
            Value::Object(members) => {
                members.insert(name.to_owned(), replacement.clone());
            }
            Value::Array(items) => items[name.parse::<usize>().expect("a position")] = replacement.clone(),
            other => panic!("{other}"),
        }
        assert!(validate(&json).is_err(), "the schema takes {replacement} at {pointer}");
        let read = serde_json::from_value::<Bundle>(json).map(|bundle| Registry::apply(None, bundle));
        assert!(!matches!(read, Ok(Ok(_))), "the model takes {replacement} at {pointer}");
    }
}

#[test]
fn the_schema_takes_the_definitions_of_every_golden_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/planner");
    let mut validated = 0;
    for entry in std::fs::read_dir(folder).expect("golden cases") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("text");
        for case in text.split("====\n") {
            let (definitions, _) = case.split_once("request\n").expect("definitions, then a request");
            let json = serde_json::to_value(dsl::parse(definitions)).expect("JSON");
            validate(&json).unwrap_or_else(|error| panic!("{error}\n{definitions}"));
            validated += 1;
        }
    }
    assert!(validated > 10);
}

#[test]
fn schema_and_registry_take_what_the_python_package_exports() {
    for name in ["flights", "shop"] {
        let mut json = read(&format!("sdk/python/tests/golden/{name}.json"));
        // The golden files may list the names of modules instead of their text.
        json["modules"] = json!({});
        validate(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
        let bundle: Bundle = serde_json::from_value(json).unwrap_or_else(|error| panic!("{name}: {error}"));
        // The shop shows every declaration once, whether or not they go together.
        if name != "shop" {
            Registry::apply(None, bundle).unwrap_or_else(|problems| panic!("{name}: {}", problems[0]));
        }
    }
}
