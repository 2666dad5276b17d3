//! Queries as a caller writes them.

use creta_engine::TrainingSetRequest;
use creta_model::{CellState, FeaturePath};
use serde_json::json;

use crate::support::{Airline, departure, load, table};

fn airline() -> Airline {
    let airline = Airline::new();
    let rows = [departure(1, "UA", 600, 20.0), departure(2, "UA", 660, 10.0), departure(3, "AA", 690, -5.0)];
    airline.ingest(load(), table(&rows)).expect("a load");
    airline
}

#[test]
fn a_named_query_answers_values_with_age_and_source() {
    let answer = airline()
        .query(json!({ "inputs": { "Flight.id": [1, 3] }, "query": "lateness", "as_of": "2013-07-01T11:30:00Z" }))
        .expect("answers");
    assert_eq!(answer.rows, 2);
    let [late, mean] = answer.columns.as_slice() else { panic!("two features") };
    assert_eq!((late.values.clone(), late.source.as_str()), (vec![json!(true), json!(false)], "expression"));
    // Rule S3: the flight at 11:30 itself is not in its own window.
    assert_eq!((mean.values.clone(), mean.source.as_str()), (vec![json!(15.0), json!(null)], "window"));
    assert_eq!(mean.states, [(1, CellState::Missing)].into());
}

#[test]
fn s12_states_stand_beside_values_and_ages_beside_facts() {
    let answer = airline()
        .query(json!({
            "inputs": { "Flight.id": [1, 9] }, "outputs": ["Flight.delay"],
            "as_of": ["2013-07-03T10:00:00.000001Z", "2013-07-01T12:00:00Z"]
        }))
        .expect("answers");
    let delay = &answer.columns[0];
    assert_eq!(delay.states, [(0, CellState::Expired), (1, CellState::Missing)].into());
    assert_eq!(delay.values, [json!(null), json!(null)]);
    let fresh = airline()
        .query(json!({ "inputs": { "Flight.id": [1] }, "outputs": ["Flight.delay"], "as_of": "2013-07-03T10:00:00Z" }))
        .expect("answers");
    assert_eq!(
        (fresh.columns[0].values[0].clone(), fresh.columns[0].ages_us.clone()),
        (json!(20.0), Some(vec![Some(172_800_000_000)]))
    );
}

#[test]
fn s24_given_values_win_and_a_row_may_come_without_its_key() {
    let answer = airline()
        .query(json!({
            "inputs": { "Flight.carrier": ["UA"] }, "outputs": ["Flight.operator.flights_n[1d]", "Flight.carrier"],
            "as_of": "2013-07-01T12:00:00Z"
        }))
        .expect("answers");
    assert_eq!(answer.columns[0].values, [json!(2)]);
    assert_eq!(answer.columns[1].source, "given");
}

#[test]
fn bad_queries_say_what_where_and_what_to_do() {
    let airline = airline();
    let cases = [
        (json!({ "inputs": { "Flight.id": [1] }, "outputs": [] }), "query/no-outputs"),
        (json!({ "inputs": { "Flight.id": ["ana@example.com"] }, "outputs": ["Flight.delay"] }), "value/wrong-type"),
        (json!({ "inputs": { "Flight.id": [null] }, "outputs": ["Flight.delay"] }), "value/unexpected-null"),
        (
            json!({ "inputs": { "Flight.id": [1, 2], "Flight.carrier": ["UA"] }, "outputs": ["Flight.delay"] }),
            "query/uneven-inputs",
        ),
        (
            json!({ "inputs": { "Flight.id": [1] }, "outputs": ["Flight.delay"], "as_of": ["2013-07-01T00:00:00Z", "2013-07-02T00:00:00Z"] }),
            "query/uneven-inputs",
        ),
        (json!({ "inputs": { "Flight.id": [1] }, "query": "nothing" }), "not-found/query"),
        (
            json!({ "inputs": { "Flight.id": [1] }, "query": "lateness", "outputs": ["Flight.late"] }),
            "query/two-outputs",
        ),
        (
            json!({ "inputs": { "Flight.departed": ["2013-07-01T12:00:00"] }, "outputs": ["Flight.departed"] }),
            "time/naive",
        ),
    ];
    for (request, code) in cases {
        let problem = airline.query(request).expect_err(code);
        assert_eq!(problem.code, code);
        assert!(!problem.message.contains("ana@"), "a message never holds a value: {}", problem.message);
    }
    let text = serde_json::from_value::<creta_engine::QueryRequest>(json!({ "as_of": "2013-07-01T12:00:00" }))
        .expect_err("naive")
        .to_string();
    assert!(text.contains("no time zone"), "{text}");
}

#[test]
fn s21_a_spine_keeps_its_rows_their_order_and_its_own_columns() {
    let airline = airline();
    let spine = arrow::array::RecordBatch::try_from_iter([
        ("Flight.id", std::sync::Arc::new(arrow::array::Int64Array::from(vec![3, 1, 3])) as arrow::array::ArrayRef),
        ("at", crate::support::instants([1_372_680_000_000_000; 3])),
        ("label", std::sync::Arc::new(arrow::array::StringArray::from(vec!["c", "a", "b"]))),
    ])
    .expect("one length");
    let request = TrainingSetRequest {
        features: vec![FeaturePath::parse("Flight.delay").expect("a path")],
        as_of: "at".into(),
        known_as_of: None,
        inputs: Default::default(),
        states: true,
        max_age: Default::default(),
        sample: None,
        required: Vec::new(),
    };
    let set = airline.training_set(&request, spine.clone()).expect("answers");
    assert_eq!(set.project(&[0, 1, 2]).expect("columns").columns(), spine.columns());
    let names: Vec<_> = set.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["Flight.id", "at", "label", "Flight.delay", "Flight.delay__state"]);
    let missing = TrainingSetRequest { as_of: "when".into(), ..request };
    assert_eq!(airline.training_set(&missing, spine).expect_err("no such column").code, "spine/no-column");
}

/// The project with tags: of a flight's carrier, which is a text, and with features computed from it.
fn tagged(tags: &[&str]) -> creta_model::Bundle {
    let mut bundle = serde_json::to_value(crate::support::bundle()).expect("JSON");
    let here = json!({ "file": "features.py", "line": 1 });
    let carrier = json!({ "op": "feature", "path": "Flight.carrier" });
    let upper = json!({ "name": "spelled", "type": { "kind": "str" }, "location": here,
        "expression": { "op": "call", "function": "upper", "args": [carrier] } });
    let features = bundle["graph"]["entities"][1]["features"].as_array_mut().expect("features");
    let own = features.iter_mut().find(|feature| feature["name"] == "carrier").expect("there");
    own["tags"] = json!(tags);
    features.push(upper);
    serde_json::from_value(bundle).expect("a bundle")
}

fn of_flight_one(airline: &Airline, outputs: &[&str], inputs: serde_json::Value) -> Vec<serde_json::Value> {
    let request = json!({ "inputs": inputs, "outputs": outputs });
    let answer = airline.query_as_person(&[creta_iam::Role::Developer], request).expect("answers");
    answer.columns.iter().map(|column| json!([column.values[0], column.states.get(&0)])).collect()
}

#[test]
fn attack_ch14_what_is_computed_from_a_masked_feature_shows_no_form() {
    let airline = Airline::of(tagged(&["pii"]));
    airline.ingest(load(), table(&[departure(1, "UA", 600, 20.0)])).expect("a load");
    let shown = of_flight_one(&airline, &["Flight.carrier", "Flight.spelled"], json!({ "Flight.id": [1] }));
    assert_eq!(shown, [json!(["XX", null]), json!([null, "denied"])]);
}

#[test]
fn attack_ch14_nobody_gets_the_token_of_a_value_that_they_guess() {
    let airline = Airline::of(tagged(&["pseudonymous"]));
    airline.ingest(load(), table(&[departure(1, "UA", 600, 20.0)])).expect("a load");
    let outputs = ["Flight.carrier", "Flight.spelled"];
    let facts = of_flight_one(&airline, &outputs, json!({ "Flight.id": [1] }));
    for told in &facts {
        assert!(told[0].as_str().is_some_and(|token| token.starts_with("tok")), "{facts:?}");
    }
    for inputs in [json!({ "Flight.carrier": ["UA"] }), json!({ "Flight.id": [1], "Flight.carrier": ["UA"] })] {
        let guessed = of_flight_one(&airline, &outputs, inputs);
        assert_eq!(guessed, [json!([null, "denied"]), json!([null, "denied"])]);
    }
}

#[test]
fn attack_ch14_what_was_decided_on_other_tags_is_not_answered() {
    let airline = Airline::of(tagged(&[]));
    airline.ingest(load(), table(&[departure(1, "UA", 600, 20.0)])).expect("a load");
    let request = json!({ "inputs": { "Flight.id": [1] }, "outputs": ["Flight.spelled"] });
    let request: creta_engine::QueryRequest = serde_json::from_value(request).expect("a request");
    let features = airline.engine.features_of(&request).expect("planned");
    let permit = || airline.permit_on(creta_iam::Role::Reader, creta_iam::Action::Query, &features);
    airline.engine.query(&request, &permit()).expect("answers");
    // A colleague deploys between the decision and the answer.
    let decided = permit();
    airline.engine.deploy(tagged(&["secret"]), &airline.permit(creta_iam::Action::Deploy, &[])).expect("deployed");
    assert_eq!(airline.engine.query(&request, &decided).expect_err("refused").code, "conflict/changed");
}

#[test]
fn attack_t04_nobody_has_more_compared_than_there_is_memory_for() {
    let airline = Airline::new();
    airline.ingest(load(), table(&[departure(1, "UA", 600, 20.0)])).expect("a load");
    for samples in [1_000_001, 1_000_000_000_000, u64::MAX] {
        let refused = airline.verify(&creta_engine::VerifyOptions { samples, seed: 1 }).expect_err("refused");
        assert_eq!(refused.code, "too-large/samples");
    }
}
