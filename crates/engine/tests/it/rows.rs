//! Row rules: who is bound sees nothing of an entity that its rule denies, whichever way they ask.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use creta_engine::{QueryAnswer, TrainingSetRequest, VerifyOptions};
use creta_iam::Role;
use creta_model::{CellState, FeaturePath};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Airline, Departure, MIDNIGHT, MINUTE, departure, instants, load, table};

fn airline() -> Airline {
    let airline = Airline::new();
    let rows = [departure(1, "UA", 600, 20.0), departure(2, "UA", 660, 10.0), departure(3, "AA", 690, -5.0)];
    airline.ingest(load(), table(&rows)).expect("a load");
    airline
}

/// Developers are bound; readers are not.
fn flights_of(carriers: Value) -> Value {
    json!({"id": "own-flights", "entity": "Flight", "roles": ["developer"], "feature": "Flight.carrier", "op": "in",
        "values": carriers})
}

fn carriers(codes: Value) -> Value {
    json!({"id": "own-carriers", "entity": "Carrier", "roles": ["developer"], "feature": "Carrier.code", "op": "in",
        "values": codes})
}

const NOON: &str = "2013-07-01T12:00:00Z";

fn ask(ids: &[i64], outputs: &[&str]) -> Value {
    json!({"inputs": {"Flight.id": ids}, "outputs": outputs, "as_of": NOON})
}

fn states(answer: &QueryAnswer, column: usize) -> Vec<CellState> {
    let column = &answer.columns[column];
    let state = |row: usize| match column.states.get(&row) {
        Some(state) => *state,
        None if column.values[row].is_null() => CellState::Null,
        None => CellState::Value,
    };
    (0..answer.rows).map(state).collect()
}

use CellState::{Denied, Missing, Value as Seen};

#[test]
fn s12_every_cell_of_a_denied_row_is_denied_and_looks_like_one_that_does_not_exist() {
    let airline = airline();
    airline.set_rows(json!([flights_of(json!(["UA"]))]));
    let outputs = ["Flight.delay", "Flight.late", "Flight.carrier", "Flight.id", "Flight.departed"];
    let answer = airline.query(ask(&[1, 3, 99], &outputs)).expect("answers");
    for (column, output) in outputs.iter().enumerate() {
        assert_eq!(states(&answer, column), [Seen, Denied, Denied], "{output}");
        let column = serde_json::to_value(&answer.columns[column]).expect("JSON");
        let of = |row: usize| {
            (column["values"][row].clone(), column["states"][row.to_string()].clone(), column["ages_us"][row].clone())
        };
        assert_eq!(of(1), of(2), "{output}: what is denied and what is not there are the same");
    }
    let free = airline.query_as(Role::Reader, ask(&[1, 3, 99], &outputs)).expect("answers");
    assert_eq!(states(&free, 0), [Seen, Seen, Missing], "who is not bound sees all");
    // In force with the next request, and gone with the next.
    airline.set_rows(json!([flights_of(json!(["AA"]))]));
    assert_eq!(states(&airline.query(ask(&[1, 3, 99], &outputs)).expect("answers"), 0), [Denied, Seen, Denied]);
    airline.set_rows(json!([]));
    assert_eq!(states(&airline.query(ask(&[1, 3], &outputs)).expect("answers"), 0), [Seen, Seen]);
}

#[test]
fn attack_ch03_a_value_that_the_request_gives_satisfies_no_rule() {
    let airline = airline();
    airline.set_rows(json!([flights_of(json!(["UA"]))]));
    let given = json!({"inputs": {"Flight.id": [3, 1], "Flight.carrier": ["UA", "AA"]},
        "outputs": ["Flight.delay", "Flight.late", "Flight.carrier"], "as_of": NOON});
    let answer = airline.query(given).expect("answers");
    assert_eq!(states(&answer, 0), [Denied, Seen], "the facts decide");
    assert_eq!(states(&answer, 1), [Denied, Seen]);
    assert_eq!(states(&answer, 2), [Denied, Seen]);
    // Without its key a row is of nobody who could be judged.
    let keyless = json!({"inputs": {"Flight.delay": [20.0]}, "outputs": ["Flight.late"], "as_of": NOON});
    assert_eq!(states(&airline.query(keyless).expect("answers"), 0), [Denied]);
    // Nor do instants at which nothing was known yet, or what was known is asked of otherwise.
    for (as_of, known) in [("2013-07-01T09:59:59.999999Z", json!(null)), (NOON, json!("2013-07-01T00:00:00Z"))] {
        let mut request = ask(&[1], &["Flight.delay"]);
        request["as_of"] = as_of.into();
        if !known.is_null() {
            request["known_as_of"] = known;
        }
        assert_eq!(states(&airline.query(request).expect("answers"), 0), [Denied], "{as_of}");
    }
}

#[test]
fn attack_ch03_aggregates_over_denied_entities_tell_nothing_of_them() {
    let airline = airline();
    airline.set_rows(json!([flights_of(json!(["UA"]))]));
    let request = json!({"inputs": {"Carrier.code": ["UA", "AA", "ZZ"]},
        "outputs": ["Carrier.flights_n[1d]", "Carrier.delay_sum[1d]", "Carrier.delay_last[1d]"], "as_of": NOON});
    let answer = airline.query(request.clone()).expect("answers");
    for column in 0..3 {
        assert_eq!(states(&answer, column), [Denied; 3], "the same whether there are such flights or not");
    }
    assert_eq!(
        airline.query_as(Role::Reader, request).expect("answers").columns[0].values,
        [json!(2), json!(1), json!(0)]
    );
    let along = airline.query(ask(&[1], &["Flight.operator.delay_mean[1d]", "Flight.delay"])).expect("answers");
    assert_eq!((states(&along, 0), states(&along, 1)), (vec![Denied], vec![Seen]));
}

#[test]
fn attack_ch03_what_is_read_along_a_relation_is_denied_with_the_entity_it_reaches() {
    let airline = airline();
    airline.set_rows(json!([carriers(json!(["UA"]))]));
    let outputs = ["Flight.operator.delay_mean[1d]", "Flight.operator.flights_n[1d]", "Flight.delay", "Flight.carrier"];
    let answer = airline.query(ask(&[1, 3], &outputs)).expect("answers");
    assert_eq!(states(&answer, 0), [Seen, Denied]);
    assert_eq!(states(&answer, 1), [Seen, Denied]);
    assert_eq!(states(&answer, 2), [Seen, Seen], "the flight itself is another entity");
    assert_eq!(states(&answer, 3), [Seen, Seen]);
    // A relation that the request bends reaches another entity, and is judged by that.
    let bent = json!({"inputs": {"Flight.id": [1, 3], "Flight.carrier": ["AA", "UA"]},
        "outputs": ["Flight.operator.flights_n[1d]"], "as_of": NOON});
    assert_eq!(states(&airline.query(bent).expect("answers"), 0), [Denied, Seen]);
}

#[test]
fn s30_training_sets_are_judged_at_each_rows_own_instant() {
    let airline = Airline::new();
    // Flight 1 moves from AA to UA at 11:00.
    let rows = [departure(1, "AA", 600, 20.0), departure(1, "UA", 660, 10.0), departure(2, "UA", 600, 1.0)];
    airline.ingest(load(), table(&rows)).expect("a load");
    airline.set_rows(json!([flights_of(json!(["UA"]))]));
    let spine = RecordBatch::try_from_iter([
        ("Flight.id", std::sync::Arc::new(Int64Array::from(vec![1, 1, 2, 9])) as ArrayRef),
        ("at", instants([610, 670, 610, 670].map(|minute| MIDNIGHT + minute * MINUTE))),
    ])
    .expect("columns of one length");
    let request = TrainingSetRequest {
        features: vec![FeaturePath::parse("Flight.delay").expect("a path")],
        as_of: "at".into(),
        known_as_of: None,
        inputs: BTreeMap::new(),
        states: true,
        max_age: BTreeMap::new(),
        sample: None,
        required: Vec::new(),
    };
    let answer = airline.training_set(&request, spine.clone()).expect("answers");
    let states = answer.column_by_name("Flight.delay__state").expect("asked for").as_string::<i32>().clone();
    let states: Vec<&str> = states.iter().flatten().collect();
    assert_eq!(states, ["denied", "value", "value", "denied"]);
    let values = answer.column_by_name("Flight.delay").expect("asked for");
    assert_eq!((0..4).map(|row| values.is_valid(row)).collect::<Vec<_>>(), [false, true, true, false]);
    // `latest` knows today what was not known then, and is still judged at the row's instant.
    let request = TrainingSetRequest { known_as_of: Some(creta_engine::KnownAsOfColumn::Latest), ..request };
    let answer = airline.training_set(&request, spine).expect("answers");
    let states = answer.column_by_name("Flight.delay__state").expect("asked for").as_string::<i32>().clone();
    assert_eq!(states.value(3), "denied");
    assert_eq!(states.value(2), "value");
}

#[test]
fn attack_ch03_whoever_a_rule_binds_writes_nothing_that_it_looks_at() {
    let airline = airline();
    airline.set_rows(json!([flights_of(json!(["UA"]))]));
    let denied = |airline: &Airline| states(&airline.query(ask(&[3], &["Flight.delay"])).expect("answers"), 0);
    assert_eq!(denied(&airline), [Denied]);
    // Flight 3 is of AA. It becomes one of UA; or what said so is taken back; or it gets another version.
    let mut gone = departure(3, "AA", 690, -5.0);
    gone.retracted = true;
    for row in [departure(3, "UA", 700, 1.0), gone] {
        assert_eq!(airline.ingest(load(), table(&[row])).expect_err("refused").code, "access/rows");
    }
    let known = instants([MIDNIGHT + 700 * MINUTE]);
    let versions = RecordBatch::try_from_iter([
        ("id", std::sync::Arc::new(Int64Array::from(vec![3])) as ArrayRef),
        ("delay", std::sync::Arc::new(arrow::array::Float64Array::from(vec![1.0]))),
        ("departed", std::sync::Arc::clone(&known)),
        ("known", std::sync::Arc::clone(&known)),
    ])
    .expect("columns of one length");
    let request = json!({"entity": "Flight", "event_time": {"column": "departed"}, "arrival": {"column": "known"}});
    let refused = airline.ingest(request, versions).expect_err("refused");
    assert!(refused.code == "access/rows" && refused.to_string().contains("own-flights"), "{refused}");
    assert_eq!(denied(&airline), [Denied], "nothing was stored");
    // What the rule does not look at is theirs to write.
    airline.set_rows(json!([carriers(json!(["UA"]))]));
    airline.ingest(load(), table(&[departure(4, "UA", 700, 1.0)])).expect("a load");
}

#[test]
fn attack_ch03_statistics_tell_nothing_of_rows_that_are_not_seen() {
    let airline = airline();
    let rule = json!({"id": "own-flights", "entity": "Flight", "roles": ["data-scientist"], "feature": "Flight.carrier",
        "op": "in", "values": ["UA"]});
    airline.set_rows(json!([rule]));
    let at = crate::support::at(NOON);
    let told = |roles: &[Role], path: &str, feature: &str| {
        let asked = [(FeaturePath::parse(path).expect("a path"), at)];
        let told = airline.engine.populations(&asked, &airline.statistics_permit(roles, &[feature]));
        told.map(drop).map_err(|problem| problem.code)
    };
    let refused = Err("access/rows".to_owned());
    assert_eq!(told(&[Role::DataScientist], "Flight.delay", "Flight.delay"), refused);
    assert_eq!(told(&[Role::DataScientist], "Carrier.flights_n[1d]", "Carrier.flights_n"), refused, "over its facts");
    assert_eq!(told(&[Role::Developer], "Flight.delay", "Flight.delay"), Ok(()), "who is not bound is told");
}

#[test]
fn attack_ch03_verify_compares_and_names_nothing_of_denied_rows() {
    let airline = airline();
    let options = VerifyOptions { samples: 200, seed: 1 };
    let free = airline.verify(&options).expect("agrees");
    assert!(free.planted_fault_seen && free.differences == 0, "{free:?}");
    airline.set_rows(json!([flights_of(json!(["none"])), carriers(json!(["none"]))]));
    let bound = airline.verify(&options).expect("runs");
    assert_eq!(bound.differences, 0);
    assert!(
        !bound.planted_fault_seen,
        "a fault in what is denied does not show, and the run says that it proves nothing"
    );
}

#[test]
fn attack_ch03_other_definitions_free_nobody_from_a_rule() {
    let airline = airline();
    airline.set_rows(json!([flights_of(json!(["UA"]))]));
    let deploy = |change: &dyn Fn(&mut Value)| {
        let mut bundle = serde_json::to_value(crate::support::bundle()).expect("JSON");
        change(&mut bundle);
        let bundle = serde_json::from_value(bundle).expect("a bundle");
        airline.engine.deploy(bundle, &airline.permit(creta_iam::Action::Deploy, &[])).expect("a valid project")
    };
    // What the rule looks at has become something else: nothing is seen until two people agree again.
    let deployed = deploy(&|bundle| {
        let features = bundle["graph"]["entities"][1]["features"].as_array_mut().expect("features");
        let carrier = features.iter_mut().find(|feature| feature["name"] == "carrier").expect("there");
        carrier["max_age"] = "1d".into();
    });
    assert!(deployed.warnings.iter().any(|warning| warning.code == "rows/ended"), "{:?}", deployed.warnings);
    assert_eq!(states(&airline.query(ask(&[1, 3], &["Flight.delay"])).expect("answers"), 0), [Denied, Denied]);
    deploy(&|_| {});
    assert_eq!(states(&airline.query(ask(&[1, 3], &["Flight.delay"])).expect("answers"), 0), [Seen, Denied]);
}

#[test]
fn rules_that_do_not_fit_the_definitions_are_refused() {
    let airline = airline();
    let refused = |rule: Value| {
        let rule = serde_json::from_value(rule).expect("a rule");
        airline.engine.bind_row_rule(&rule).expect_err("refused").code
    };
    let with = |name: &str, value: Value| {
        let mut rule = flights_of(json!(["UA"]));
        rule[name] = value;
        rule
    };
    for rule in [
        with("feature", "Flight.nothing".into()),
        with("feature", "Nothing.carrier".into()),
        with("values", json!([1])),
        with("feature", "Flight.operator.code".into()),
    ] {
        assert_eq!(refused(rule.clone()), "rows/refused", "{rule}");
    }
}

/// Few flights of few carriers that change, and are known late.
fn departures() -> impl Strategy<Value = Vec<Departure>> {
    let one = (1..5i64, prop::sample::select(vec!["UA", "AA", "DL"]), 0..8i64, 0..3i64, prop::bool::weighted(0.1));
    let one = one.prop_map(|(id, carrier, slot, known, retracted)| Departure {
        id,
        carrier: carrier.to_owned(),
        minute: 180 + slot * 60,
        delay: Some(slot as f64 * 7.0),
        known_after: known * 45,
        retracted,
    });
    prop::collection::vec(one, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// The slow reference: each row by itself, as somebody sees it who is not bound; denied where nested conditions say so.
    #[test]
    fn s12_denied_cells_are_those_of_the_slow_reference_and_all_others_are_the_same(
        departures in departures(),
        allowed_flights in prop::collection::btree_set(prop::sample::select(vec!["UA", "AA", "DL"]), 0..3),
        allowed_carriers in prop::option::of(prop::collection::btree_set(prop::sample::select(vec!["UA", "AA", "DL"]), 1..3)),
        rows in prop::collection::vec((1..6i64, 0..10i64), 1..8),
    ) {
        let airline = Airline::new();
        airline.ingest(load(), table(&departures)).expect("a load");
        let mut rules = Vec::new();
        let flights = (!allowed_flights.is_empty()).then_some(&allowed_flights);
        if let Some(allowed) = flights {
            rules.push(flights_of(json!(allowed)));
        }
        if let Some(allowed) = &allowed_carriers {
            rules.push(carriers(json!(allowed)));
        }
        airline.set_rows(json!(rules));
        let outputs = ["Flight.delay", "Flight.late", "Flight.carrier", "Flight.operator.flights_n[1d]"];
        let as_of = |slot: i64| creta_model::Instant::from_micros(MIDNIGHT + (150 + slot * 60) * MINUTE).expect("valid");
        let ids: Vec<i64> = rows.iter().map(|(id, _)| *id).collect();
        let at_each: Vec<_> = rows.iter().map(|(_, slot)| as_of(*slot)).collect();
        let asked = json!({"inputs": {"Flight.id": ids}, "outputs": outputs, "as_of": at_each});
        let bound = airline.query(asked).expect("answers");
        for (row, (id, slot)) in rows.iter().enumerate() {
            let one = json!({"inputs": {"Flight.id": [id]}, "outputs": outputs, "as_of": as_of(*slot)});
            let free = airline.query_as(Role::Reader, one).expect("answers");
            let carrier = free.columns[2].values[0].as_str().map(str::to_owned);
            let seen_flight = flights.is_none_or(|allowed| carrier.as_deref().is_some_and(|own| allowed.contains(own)));
            for (column, output) in outputs.iter().enumerate() {
                let along = column == 3;
                let reaches_denied = along && carrier.as_deref().is_some_and(|own| {
                    allowed_carriers.as_ref().is_some_and(|allowed| !allowed.contains(own))
                });
                // Flights are aggregated there, so that a rule about them denies the number.
                let aggregated = along && flights.is_some();
                let expected = if !seen_flight || reaches_denied || aggregated {
                    (CellState::Denied, Value::Null)
                } else {
                    (states(&free, column)[0], free.columns[column].values[0].clone())
                };
                let got = (states(&bound, column)[row], bound.columns[column].values[row].clone());
                prop_assert_eq!(got, expected, "{} of flight {} at {}", output, id, as_of(*slot));
            }
        }
    }
}
