//! What bad loads get: a message that says what, where and what to do, and nothing stored.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use creta_model::Span;
use creta_platform::Clock as _;
use serde_json::{Value, json};

use crate::support::{Airline, Departure, MIDNIGHT, MINUTE, departure, instants, load, table};

fn refused(airline: &Airline, request: Value, table: RecordBatch, code: &str) -> String {
    let before = airline.engine.statistics();
    let problem = airline.ingest(request, table).expect_err(code);
    assert_eq!(problem.code, code, "{problem}");
    assert!(problem.help.is_some(), "says what to do: {problem}");
    assert_eq!(airline.engine.statistics(), before, "nothing is stored");
    problem.to_string()
}

fn with_column(name: &str, column: ArrayRef) -> RecordBatch {
    let base = table(&[departure(1, "UA", 0, 5.0), departure(2, "AA", 1, 6.0)]);
    let columns = base.schema_ref().fields().iter().zip(base.columns()).map(|(field, old)| {
        (field.name().clone(), if field.name() == name { Arc::clone(&column) } else { Arc::clone(old) })
    });
    RecordBatch::try_from_iter(columns.collect::<Vec<_>>()).expect("one length")
}

#[test]
fn s1_history_without_arrival_times_is_refused_with_both_remedies() {
    let airline = Airline::new();
    let request = json!({ "entity": "Flight", "event_time": { "column": "departed" } });
    let text = refused(&airline, request, table(&[departure(1, "UA", 0, 5.0)]), "ingest/history-without-arrival");
    assert!(text.contains("arrival=\"received_at\"") && text.contains("arrival=hours(6)"), "{text}");
}

#[test]
fn s15_a_naive_time_is_refused_and_a_declared_zone_is_used() {
    let airline = Airline::new();
    let naive: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![MIDNIGHT, MIDNIGHT + 1]));
    let request = json!({ "entity": "Flight", "event_time": { "column": "departed" }, "arrival": { "delay": "0s" } });
    refused(&airline, request.clone(), with_column("departed", Arc::clone(&naive)), "time/naive");
    let mut zoned = request;
    zoned["zone"] = json!("America/New_York");
    airline.ingest(zoned, with_column("departed", naive)).expect("a zone is declared");
    let answer =
        airline.query(json!({ "inputs": { "Flight.id": [1] }, "outputs": ["Flight.departed"] })).expect("answers");
    assert_eq!(answer.columns[0].values, [json!("2013-07-01T04:00:00Z")], "midnight in New York, four hours behind");
}

#[test]
fn s20_s14_wrong_types_null_keys_and_strangers_are_refused() {
    let airline = Airline::new();
    let words: ArrayRef = Arc::new(StringArray::from(vec!["1", "2"]));
    refused(&airline, load(), with_column("id", words), "value/wrong-type");
    let gap: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    refused(&airline, load(), with_column("id", gap), "ingest/null-key");
    let gap: ArrayRef = Arc::new(StringArray::from(vec![Some("UA"), None]));
    refused(&airline, load(), with_column("carrier", gap), "ingest/unexpected-null");
    let gap: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(MIDNIGHT), None]).with_timezone("UTC"));
    refused(&airline, load(), with_column("departed", gap), "ingest/no-time");
    let low = Departure { delay: Some(-1000.0), ..departure(1, "UA", 0, 0.0) };
    let text = refused(&airline, load(), table(&[low]), "value/out-of-bounds");
    assert!(!text.contains("1000"), "a message never holds a value: {text}");
    let mut unknown = load();
    unknown["entity"] = json!("Fligth");
    refused(&airline, unknown, table(&[departure(1, "UA", 0, 5.0)]), "not-found/entity");
    let mut missing = load();
    missing["event_time"] = json!({ "column": "when" });
    refused(&airline, missing, table(&[departure(1, "UA", 0, 5.0)]), "ingest/no-column");
}

#[test]
fn a_computed_feature_cannot_be_loaded_and_other_columns_are_reported() {
    let airline = Airline::new();
    let mut request = load();
    request["columns"] = json!({ "late": "gone" });
    refused(&airline, request, table(&[departure(1, "UA", 0, 5.0)]), "ingest/computed-feature");
    let mut request = load();
    request.as_object_mut().expect("an object").remove("retract");
    let report = airline.ingest(request, table(&[departure(1, "UA", 0, 5.0)])).expect("a load");
    assert_eq!(report.ignored_columns, ["gone"]);
}

#[test]
fn s18_a_fact_from_the_future_is_kept_apart_counted_and_never_served() {
    let airline = Airline::new();
    let early = Departure { known_after: -30, ..departure(1, "UA", 60, 5.0) };
    let report = airline.ingest(load(), table(&[early, departure(2, "UA", 61, 6.0)])).expect("a load");
    assert_eq!((report.rows, report.accepted, report.quarantined), (2, 1, 1));
    let answer =
        airline.query(json!({ "inputs": { "Flight.id": [1, 2] }, "outputs": ["Flight.delay"] })).expect("answers");
    assert_eq!(answer.columns[0].values, [json!(null), json!(6.0)]);
    assert_eq!(airline.engine.statistics()["quarantined"], json!({ "Flight": 1 }));
}

#[test]
fn s1_an_arrival_in_the_future_is_refused() {
    let airline = Airline::new();
    let late = Departure { known_after: 24 * 60, ..departure(1, "UA", 0, 5.0) };
    refused(&airline, load(), table(&[late]), "ingest/arrival-in-the-future");
}

#[test]
fn s17_finer_times_are_floored_with_a_warning() {
    let airline = Airline::new();
    let fine: ArrayRef = Arc::new(
        arrow::array::TimestampNanosecondArray::from(vec![MIDNIGHT * 1000 + 999, (MIDNIGHT + MINUTE) * 1000])
            .with_timezone("UTC"),
    );
    let report = airline.ingest(load(), with_column("departed", fine)).expect("a load");
    assert_eq!((report.floored, report.warnings.len()), (1, 1));
}

#[test]
fn s8_a_later_version_replaces_an_event_and_s22_a_retraction_removes_it() {
    let airline = Airline::new();
    let mean = |airline: &Airline| {
        let query = json!({ "inputs": { "Carrier.code": ["UA"] }, "outputs": ["Carrier.delay_mean[1d]"] });
        airline.query(query).expect("answers").columns[0].values[0].clone()
    };
    airline.ingest(load(), table(&[departure(1, "UA", 60, 10.0), departure(2, "UA", 61, 20.0)])).expect("a load");
    assert_eq!(mean(&airline), json!(15.0));
    let correction = Departure { known_after: 5, ..departure(1, "UA", 60, 40.0) };
    airline.ingest(load(), table(&[correction])).expect("a correction");
    assert_eq!(mean(&airline), json!(30.0), "the correction counts, once");
    let retraction = Departure { known_after: 9, retracted: true, ..departure(1, "UA", 60, 0.0) };
    airline.ingest(load(), table(&[retraction])).expect("a retraction");
    assert_eq!(mean(&airline), json!(20.0));
    let anonymous = json!({ "entity": "Flight", "event_time": { "column": "departed" }, "arrival": { "delay": "0s" },
        "retract": "gone", "event_id": "delay" });
    refused(&airline, anonymous, table(&[departure(3, "UA", 62, 1.0)]), "ingest/bad-event-id");
}

#[test]
fn an_empty_load_is_accepted_and_stores_nothing() {
    let airline = Airline::new();
    let report = airline.ingest(load(), table(&[])).expect("an empty load");
    assert_eq!((report.rows, report.accepted, report.position), (0, 0, 0));
}

#[test]
fn the_clock_of_a_scope_never_goes_back() {
    let airline = Airline::new();
    let request = json!({ "entity": "Flight", "event_time": { "column": "departed" } });
    let now = || instants([airline.clock.now().micros()]);
    let mut last = airline.engine.now();
    for id in 0..3 {
        let mut row = departure(id, "UA", 720, 1.0);
        row.known_after = 0;
        let batch = table(&[row]);
        let columns =
            [("id", Arc::clone(batch.column(0))), ("carrier", Arc::clone(batch.column(1))), ("departed", now())];
        airline.ingest(request.clone(), RecordBatch::try_from_iter(columns).expect("one length")).expect("a load");
        let after = airline.engine.now();
        assert!(after > last, "a later load has a later present");
        last = after;
    }
    airline.clock.advance(Span::hours(1));
    assert!(airline.engine.now() > last);
}

#[test]
fn attack_ch22_values_reach_neither_the_metadata_nor_any_message() {
    const CANARY: &str = "canary-7f3a";
    let airline = Airline::new();
    let row = departure(4711, CANARY, 600, 42.0);
    airline.ingest(load(), table(std::slice::from_ref(&row))).expect("a load");
    let given = json!({ "inputs": { "Flight.carrier": [CANARY] }, "outputs": ["Flight.operator.flights_n[1d]"] });
    airline.query(given).expect("answers");
    // Every way to fail that has the value at hand.
    let mut texts = vec![airline.engine.catalogue().to_string(), airline.engine.statistics().to_string()];
    let wrong = json!({ "inputs": { "Flight.id": [CANARY] }, "outputs": ["Flight.delay"] });
    texts.push(airline.query(wrong).expect_err("a text is no int").to_string());
    let low = Departure { delay: Some(-4711.0), ..row.clone() };
    texts.push(airline.ingest(load(), table(&[low])).expect_err("out of bounds").to_string());
    let typed = with_column("delay", Arc::new(StringArray::from(vec![CANARY, CANARY])));
    texts.push(airline.ingest(load(), typed).expect_err("a text is no float").to_string());
    let report = airline.verify(&creta_engine::VerifyOptions { samples: 10, seed: 1 }).expect("a report");
    texts.push(format!("{report:?}"));
    for text in texts.into_iter().chain(airline.documents()) {
        assert!(!text.contains(CANARY) && !text.contains("4711"), "a value got out: {text}");
    }
}

#[test]
fn attack_ch22_a_default_that_does_not_fit_its_type_is_refused_at_deploy() {
    let mut bundle = crate::support::bundle();
    let flight = bundle.graph.entities.iter_mut().find(|entity| entity.name.as_str() == "Flight").expect("an entity");
    flight.features[3].default = Some(json!("sk_live_secret"));
    let problems = Airline::new().engine.check(bundle).expect_err("a text is no float");
    assert!(problems.iter().all(|problem| !problem.to_string().contains("sk_live")), "{problems:?}");
}

#[test]
fn s8_versions_of_one_event_meet_whatever_the_width_of_its_id() {
    use arrow::array::{Int32Array, UInt16Array};
    let airline = Airline::new();
    let request = |event_id: &str| {
        json!({ "entity": "Flight", "event_time": { "column": "departed" }, "arrival": { "column": "known" },
            "retract": "gone", "event_id": event_id })
    };
    let with_ticket = |row: Departure, ticket: ArrayRef| {
        let base = table(&[row]);
        let columns = base.schema_ref().fields().iter().map(|field| field.name().as_str()).zip(base.columns().to_vec());
        RecordBatch::try_from_iter(columns.chain([("ticket", ticket)])).expect("one length")
    };
    let counts = || {
        let query = json!({ "inputs": { "Carrier.code": ["UA"] }, "outputs": ["Carrier.flights_n[1d]", "Carrier.delay_mean[1d]"] });
        let answer = airline.query(query).expect("answers");
        (answer.columns[0].values[0].clone(), answer.columns[1].values[0].clone())
    };
    let first = with_ticket(departure(1, "UA", 60, 10.0), Arc::new(Int32Array::from(vec![7])));
    airline.ingest(request("ticket"), first).expect("a load");
    let corrected = Departure { known_after: 5, ..departure(2, "UA", 60, 30.0) };
    airline.ingest(request("ticket"), with_ticket(corrected, Arc::new(Int64Array::from(vec![7])))).expect("a load");
    assert_eq!(counts(), (json!(1), json!(30.0)), "the correction counts, once");
    let retracted = Departure { known_after: 9, retracted: true, ..departure(2, "UA", 60, 0.0) };
    airline.ingest(request("ticket"), with_ticket(retracted, Arc::new(UInt16Array::from(vec![7])))).expect("a load");
    assert_eq!(counts().0, json!(0), "it is taken back");
    let beyond = with_ticket(departure(3, "UA", 60, 1.0), Arc::new(arrow::array::UInt64Array::from(vec![u64::MAX])));
    refused(&airline, request("ticket"), beyond, "value/out-of-range");
    // Times of any unit are the same events, and so are texts of any layout.
    let seconds = arrow::array::TimestampSecondArray::from(vec![60]).with_timezone("UTC");
    let micros = arrow::array::TimestampMicrosecondArray::from(vec![60_000_000]).with_timezone("Europe/Paris");
    let pairs: [(ArrayRef, ArrayRef); 3] = [
        (Arc::new(seconds), Arc::new(micros)),
        (Arc::new(StringArray::from(vec!["x"])), Arc::new(arrow::array::LargeStringArray::from(vec!["x"]))),
        (
            Arc::new(Int64Array::from(vec![8])),
            Arc::new(arrow::array::Decimal128Array::from(vec![8]).with_precision_and_scale(20, 0).expect("valid")),
        ),
    ];
    for (number, (one, other)) in (1..).zip(pairs) {
        airline.ingest(request("ticket"), with_ticket(departure(number, "UA", 60, 10.0), one)).expect("a load");
        let again = Departure { known_after: 5, ..departure(number, "UA", 60, 10.0) };
        airline.ingest(request("ticket"), with_ticket(again, other)).expect("a load");
        assert_eq!(counts().0, json!(number));
    }
}

#[test]
fn s17_whichever_time_is_floored_a_warning_says_so_once() {
    let airline = Airline::new();
    let fine: ArrayRef = Arc::new(
        arrow::array::TimestampNanosecondArray::from(vec![MIDNIGHT * 1000 + 60_000_999, (MIDNIGHT + MINUTE) * 1000])
            .with_timezone("UTC"),
    );
    let report = airline.ingest(load(), with_column("known", fine)).expect("a load");
    let told = "1 times were finer than a microsecond and were floored";
    assert_eq!((report.floored, report.warnings), (1, vec![told.to_owned()]));
}

/// A shop whose products have a day and a price.
fn shop() -> creta_model::Bundle {
    let here = json!({ "file": "shop.py", "line": 1 });
    let mut bundle = serde_json::to_value(crate::support::bundle()).expect("JSON");
    bundle["graph"]["queries"] = json!([]);
    bundle["graph"]["entities"] = json!([{ "name": "Product", "location": here, "relations": [], "features": [
        { "name": "id", "type": { "kind": "int" }, "role": "key", "location": here },
        { "name": "since", "type": { "kind": "date" }, "optional": true, "location": here },
        { "name": "price", "type": { "kind": "decimal", "scale": 2 }, "optional": true, "location": here },
    ] }]);
    serde_json::from_value(bundle).expect("a bundle")
}

#[test]
fn dates_and_decimals_that_no_answer_can_hold_are_refused_at_both_doors() {
    use arrow::array::{Date32Array, Decimal128Array};
    let airline = Airline::of(shop());
    let request = json!({ "entity": "Product", "event_time": { "constant": "2013-06-01T00:00:00Z" }, "arrival": { "delay": "0s" } });
    let ids = || Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let with =
        |name: &str, column: ArrayRef| RecordBatch::try_from_iter([("id", ids()), (name, column)]).expect("even");
    // Postgres writes `infinity` as the last day that 32 bits can count.
    for far in [i32::MAX, i32::MIN, 2_932_897, -719_163] {
        let text = refused(
            &airline,
            request.clone(),
            with("since", Arc::new(Date32Array::from(vec![0, far]))),
            "value/out-of-bounds",
        );
        assert!(text.contains("row 1") && text.contains("years 0001 to 9999"), "{text}");
    }
    let huge =
        Decimal128Array::from(vec![0, 10_i128.pow(38)]).with_data_type(arrow::datatypes::DataType::Decimal128(38, 2));
    let text = refused(&airline, request.clone(), with("price", Arc::new(huge)), "value/out-of-bounds");
    assert!(text.contains("more than 38 digits"), "{text}");
    let ends: ArrayRef = Arc::new(Date32Array::from(vec![-719_162, 2_932_896]));
    airline.ingest(request, with("since", ends)).expect("the first and the last day");
    let query = json!({ "inputs": { "Product.id": [1, 2] }, "outputs": ["Product.since"] });
    assert_eq!(airline.query(query).expect("answers").columns[0].values, [json!("0001-01-01"), json!("9999-12-31")]);

    let spine = RecordBatch::try_from_iter([
        ("Product.since", Arc::new(Date32Array::from(vec![i32::MAX])) as ArrayRef),
        ("at", instants([MIDNIGHT])),
    ]);
    let wanted = serde_json::from_value(json!({ "features": ["Product.since"], "as_of": "at" })).expect("a request");
    let problem = airline.training_set(&wanted, spine.expect("even")).expect_err("no day of an answer");
    assert_eq!(problem.code, "value/out-of-bounds");
}

#[test]
fn facts_that_are_known_since_ever_can_be_verified() {
    let airline = Airline::of(shop());
    let request = json!({ "entity": "Product", "event_time": { "constant": "0001-01-01T00:00:00Z" }, "arrival": { "delay": "0s" } });
    let days: ArrayRef = Arc::new(arrow::array::Date32Array::from(vec![1, 2, 3, 4, 5, 6]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5, 6]));
    airline.ingest(request, RecordBatch::try_from_iter([("id", ids), ("since", days)]).expect("even")).expect("a load");
    let report = airline.verify(&creta_engine::VerifyOptions { samples: 10, seed: 1 }).expect("a report");
    assert_eq!((report.differences, report.planted_fault_seen), (0, true));
    assert!(report.compared >= 10, "{report:?}");
}
