//! Made-up data passes the door that all data passes, whatever the definitions.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use creta_engine::read_value;
use creta_iam::Action;
use creta_model::{Bundle, Graph, Instant, Name, Role, Span, Type};
use creta_registry::Registry;
use creta_synth::Options;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Airline, bundle};

fn types() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(json!({"kind": "bool"})),
        Just(json!({"kind": "int"})),
        Just(json!({"kind": "float"})),
        Just(json!({"kind": "str"})),
        Just(json!({"kind": "bytes"})),
        Just(json!({"kind": "date"})),
        Just(json!({"kind": "datetime"})),
        Just(json!({"kind": "timedelta"})),
        (0..=38_u8).prop_map(|scale| json!({"kind": "decimal", "scale": scale})),
        Just(json!({"kind": "enum", "name": "Plan", "members": ["basic", "gold", "ä"]})),
    ];
    prop_oneof![
        6 => scalar.clone(),
        1 => (scalar.clone(), any::<bool>()).prop_map(|(item, optional)| {
            json!({"kind": "list", "item": item, "optional": optional})
        }),
        1 => (scalar, any::<bool>()).prop_map(|(ty, optional)| {
            json!({"kind": "struct", "name": "Part", "fields": [{"name": "a", "type": ty, "optional": optional}]})
        }),
        1 => (1..5_u32).prop_map(|size| json!({"kind": "vector", "size": size})),
    ]
}

fn bounds() -> impl Strategy<Value = (Option<f64>, Option<f64>)> {
    let edge = prop_oneof![
        (-1_000_i64..1_000).prop_map(|n| n as f64),
        (-1_000_i64..1_000).prop_map(|n| n as f64 / 8.0),
        Just(-1e300),
        Just(1e300),
        Just(9.3e18),
        Just(0.1),
    ];
    (proptest::option::of(edge.clone()), proptest::option::of(edge)).prop_map(|(a, b)| match (a, b) {
        (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b))),
        other => other,
    })
}

fn patterns() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![".+@.+", "[A-Z]{2}-[0-9]{3}", r"^\d{4}$", "(a|bc)+", r"\w+ \w+", "[äöü]{1,3}", "x?"])
}

/// A feature with bounds that fit its type. Bounds that no value of the type satisfies are left out by the caller.
fn feature(name: String) -> impl Strategy<Value = Value> {
    let lengths = (0..6_u32, 0..6_u32).prop_map(|(a, b)| (a.min(b), a.max(b)));
    (types(), any::<bool>(), bounds(), proptest::option::of(lengths), proptest::option::of(patterns())).prop_map(
        move |(ty, optional, (min, max), lengths, pattern)| {
            let mut validation = json!({});
            match ty["kind"].as_str().expect("a kind") {
                "int" | "float" | "decimal" => {
                    min.into_iter().for_each(|min| validation["min"] = json!(min));
                    max.into_iter().for_each(|max| validation["max"] = json!(max));
                }
                "str" if pattern.is_some() => validation["pattern"] = json!(pattern),
                "str" | "bytes" | "list" => lengths.into_iter().for_each(|(least, most)| {
                    validation = json!({"min_length": least, "max_length": most});
                }),
                _ => {}
            }
            json!({"name": name, "type": ty, "optional": optional, "validation": validation,
                   "location": {"file": "a.py", "line": 1}})
        },
    )
}

fn entity(number: usize) -> impl Strategy<Value = Value> {
    let features: Vec<_> = (0..4).map(|n| feature(format!("f{n}"))).collect();
    let key = prop_oneof![
        Just(json!({"kind": "int"})),
        Just(json!({"kind": "str"})),
        Just(json!({"kind": "date"})),
        Just(json!({"kind": "enum", "name": "Plan", "members": ["basic", "gold"]})),
    ];
    (features, proptest::collection::vec(key, 1..3), any::<bool>(), any::<bool>()).prop_map(
        move |(mut features, keys, event_time, event_id)| {
            let here = json!({"file": "a.py", "line": 1});
            for (n, ty) in keys.into_iter().enumerate() {
                features.push(json!({"name": format!("k{n}"), "type": ty, "role": "key", "location": here}));
            }
            if event_time {
                features
                    .push(json!({"name": "at", "type": {"kind": "datetime"}, "role": "event_time", "location": here}));
            }
            if event_id {
                features.push(json!({"name": "event", "type": {"kind": "str"}, "event_id": true, "location": here}));
            }
            json!({"name": format!("E{number}"), "location": here, "features": features, "relations": []})
        },
    )
}

/// One to three entities, some with a relation to the key of another.
fn bundles() -> impl Strategy<Value = Value> {
    let entities: Vec<_> = (0..3).map(entity).collect();
    (entities, 1..=3_usize, proptest::collection::vec((0..3_usize, 0..3_usize, any::<bool>()), 0..4)).prop_map(
        |(mut entities, count, relations)| {
            entities.truncate(count);
            for (number, (from, to, many)) in relations.into_iter().enumerate() {
                if from >= count || to >= count {
                    continue;
                }
                let keys: Vec<Value> = keys_of(&entities[to]);
                let here = json!({"file": "a.py", "line": 1});
                let mut on = Vec::new();
                for (n, key) in keys.iter().enumerate() {
                    let name = format!("r{number}_{n}");
                    let feature = json!({"name": name, "type": key["type"], "optional": many, "location": here});
                    entities[from]["features"].as_array_mut().expect("features").push(feature);
                    on.push((name, key["name"].as_str().expect("a name").to_owned()));
                }
                let (holder, target, on): (usize, usize, Vec<_>) = match many {
                    false => (from, to, on.into_iter().map(|(a, b)| json!([a, b])).collect()),
                    true => (to, from, on.into_iter().map(|(a, b)| json!([b, a])).collect()),
                };
                let kind = if many { "many" } else { "one" };
                let relation = json!({"name": format!("rel{number}"), "kind": kind, "target": format!("E{target}"),
                                      "on": on, "location": here});
                entities[holder]["relations"].as_array_mut().expect("relations").push(relation);
            }
            json!({"format": "creta.bundle/1", "modules": {}, "lock": {"python": "3.11"},
                   "graph": {"format": "creta.graph/1", "project": "made", "entities": entities}})
        },
    )
}

fn keys_of(entity: &Value) -> Vec<Value> {
    let features = entity["features"].as_array().expect("features");
    features.iter().filter(|feature| feature["role"] == "key").cloned().collect()
}

fn read(bundle: Value) -> Option<(Bundle, Registry)> {
    let bundle: Bundle = serde_json::from_value(bundle).expect("a bundle");
    let registry = Registry::apply(None, bundle.clone()).ok()?.registry;
    Some((bundle, registry))
}

fn load_of(graph: &Graph, entity: &Name) -> Value {
    let declared = graph.find_entity(entity).expect("of the graph");
    let event_time = declared.features.iter().find(|feature| feature.role == Role::EventTime);
    let event_time = event_time.map_or(json!({"constant": "2025-01-01T00:00:00Z"}), |at| json!({"column": at.name}));
    json!({"entity": entity, "event_time": event_time, "arrival": {"delay": "1s"}})
}

/// Rows as texts, in the columns of a relation.
fn rows(table: &RecordBatch, columns: &[String], types: &BTreeMap<String, Type>) -> Vec<Option<String>> {
    (0..table.num_rows())
        .map(|row| {
            let parts = columns.iter().map(|name| {
                let column = table.column_by_name(name).expect("a column");
                column.is_valid(row).then(|| read_value(column, &types[name], row).to_json(&types[name]).to_string())
            });
            parts.collect::<Option<Vec<_>>>().map(|parts| parts.join(","))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every set that is made passes ingest, with unique keys and times within the range, and is made again by its seed.
    #[test]
    fn attack_ch14_what_is_made_up_passes_every_check_of_real_data(bundle in bundles(), seed in 0..1_000_u64) {
        let Some((bundle, registry)) = read(bundle) else { return Ok(()) };
        let at = |text| Instant::parse(text).expect("valid");
        let options = Options { rows: 30, seed, from: at("2024-02-01T00:00:00Z"), to: at("2024-02-29T00:00:00Z"), ..Options::default() };
        let tables = match creta_engine::synthesise(&registry, &options) {
            Ok(tables) => tables,
            // Bounds between two whole numbers, say: nothing can be made, and the place is said.
            Err(problem) => { prop_assert_eq!(problem.code, "synth/no-value"); return Ok(()) }
        };
        prop_assert_eq!(&creta_engine::synthesise(&registry, &options).expect("again"), &tables);
        let scope = Airline::of(bundle);
        scope.clock.advance(Span::days(20 * 365));
        for (entity, table) in &tables {
            let graph = registry.graph();
            let declared = graph.find_entity(entity).expect("of the graph");
            let report = scope.ingest(load_of(graph, entity), table.clone());
            let report = report.map_err(|problem| TestCaseError::fail(format!("{entity}: {problem}")))?;
            prop_assert_eq!((report.ignored_columns.len(), report.accepted), (0, table.num_rows() as u64));
            prop_assert!(table.num_rows() > 0);
            let types: BTreeMap<String, Type> =
                declared.features.iter().map(|feature| (feature.name.to_string(), feature.ty.clone())).collect();
            let keys: Vec<String> = declared.keys().map(|key| key.name.to_string()).collect();
            let unique: HashSet<_> = rows(table, &keys, &types).into_iter().collect();
            prop_assert_eq!(unique.len(), table.num_rows(), "keys of {} repeat", entity);
            if let Some(times) = table.column_by_name("at") {
                let times = times.as_primitive::<TimestampMicrosecondType>();
                prop_assert!(times.values().iter().all(|at| (options.from.micros()..=options.to.micros()).contains(at)));
            }
        }
    }
}

#[test]
fn relations_lead_somewhere_and_keys_count_up() {
    let airline = Airline::new();
    let permit = airline.permit(Action::Synth, &[]);
    let options =
        Options { rows: 200, of_entity: [(Name::parse("Carrier").expect("valid"), 5)].into(), ..Options::default() };
    let tables = airline.engine.synth(&options, &permit).expect("made");
    let [(carrier, carriers), (flight, flights)] = tables.as_slice() else { panic!("{tables:?}") };
    assert_eq!(
        (carrier.as_str(), flight.as_str(), carriers.num_rows(), flights.num_rows()),
        ("Carrier", "Flight", 5, 200)
    );
    let codes: HashSet<&str> = carriers["code"].as_string::<i32>().iter().flatten().collect();
    let flown: HashSet<&str> = flights["carrier"].as_string::<i32>().iter().flatten().collect();
    assert_eq!(flown, codes, "each flight is of a carrier there is, and with so many each carrier flies");
    assert_eq!(flights["id"].as_primitive::<Int64Type>().values()[..3], [1, 2, 3]);
    assert!(flights["delay"].null_count() > 5 && flights["delay"].null_count() < 50);
    let other = airline.engine.synth(&Options { seed: 2, ..options.clone() }, &permit).expect("made");
    assert_ne!(other, tables, "another seed is other data");
    let more = airline.engine.synth(&Options { rows: 300, ..options }, &permit).expect("made");
    assert_eq!(
        more[1].1.slice(0, 200)["departed"].as_ref(),
        flights["departed"].as_ref(),
        "more rows leave the first ones"
    );
}

#[test]
fn made_up_data_needs_the_definitions_alone() {
    let airline = Airline::new();
    let permit = airline.permit(Action::Synth, &[]);
    let before = airline.engine.synth(&Options::default(), &permit).expect("made");
    let row = crate::support::departure(4_711, "canary", 1, 77.0);
    airline.ingest(crate::support::load(), crate::support::table(&[row])).expect("taken");
    assert_eq!(airline.engine.synth(&Options::default(), &permit).expect("made"), before, "no fact changes it");
    let wrong = airline.permit(Action::Query, &[]);
    assert_eq!(
        airline.engine.synth(&Options::default(), &wrong).expect_err("another permit").code,
        "access/not-covered"
    );
}

#[test]
fn what_cannot_be_made_says_where_and_what_to_do() {
    let mut project = serde_json::to_value(bundle()).expect("JSON");
    project["graph"]["entities"][1]["features"][1]["validation"] = json!({"min_length": 9, "pattern": "[a-z]{2}"});
    let (_, registry) = read(project).expect("valid definitions");
    let problem = creta_engine::synthesise(&registry, &Options::default()).expect_err("nothing fits");
    assert_eq!(problem.code, "synth/no-value");
    assert!(problem.message.contains("`Flight.carrier`") && problem.location.is_some(), "{problem}");
    for (options, code) in [
        (Options { rows: u64::MAX, ..Options::default() }, "too-large/rows"),
        (Options { nulls: 1.5, ..Options::default() }, "synth/options"),
        (Options { from: Options::default().to, to: Options::default().from, ..Options::default() }, "synth/options"),
        (
            Options { of_entity: [(Name::parse("Nobody").expect("valid"), 1)].into(), ..Options::default() },
            "not-found/entity",
        ),
    ] {
        let (_, registry) = read(serde_json::to_value(bundle()).expect("JSON")).expect("valid");
        assert_eq!(creta_engine::synthesise(&registry, &options).expect_err(code).code, code);
    }
}
