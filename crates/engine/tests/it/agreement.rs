//! The property users pay for: at every instant the online answer equals the offline one.

use arrow::array::RecordBatch;
use creta_engine::{TrainingSetRequest, VerifyOptions};
use creta_model::{Bundle, FeaturePath, Span};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{
    Airline, Departure, LoseOnline, MIDNIGHT, MINUTE, bundle, departure, instants, load, plain, table,
};

fn path(text: &str) -> FeaturePath {
    FeaturePath::parse(text).expect("a path")
}

fn departures() -> impl Strategy<Value = Vec<Departure>> {
    // Few carriers, few ids and few minutes, so that keys are hot, events have versions and times are equal.
    let one = (
        0i64..12,
        prop::sample::select(vec!["UA", "AA", ""]),
        prop_oneof![0i64..6, Just(60), Just(1439), Just(1440), Just(1441), -2000i64..600],
        prop::option::weighted(0.8, prop_oneof![Just(0.1), Just(-0.0), Just(1e15), Just(f64::NAN), -50.0..50.0]),
        prop_oneof![3 => Just(0i64), 1 => 0i64..2000],
        prop::bool::weighted(0.1),
    );
    let one = one.prop_map(|(id, carrier, minute, delay, known_after, retracted)| Departure {
        id,
        carrier: carrier.into(),
        minute: minute.min(700),
        delay: delay.map(|delay| if delay.is_nan() { 3.5 } else { delay }),
        known_after: known_after.min(700 - minute.min(700)),
        retracted,
    });
    prop::collection::vec(one, 1..40)
}

fn asked() -> Vec<FeaturePath> {
    let mut features = vec![path("Flight.delay"), path("Flight.late"), path("Flight.departed")];
    for name in ["flights_n", "delay_sum", "delay_mean", "delay_max", "delay_std", "delay_last"] {
        features.extend(["1h", "1d", "7d"].map(|span| path(&format!("Flight.operator.{name}[{span}]"))));
    }
    features
}

fn request() -> TrainingSetRequest {
    TrainingSetRequest {
        features: asked(),
        as_of: "at".into(),
        known_as_of: None,
        inputs: [(path("Flight.id"), "flight".into())].into(),
        states: true,
        max_age: Default::default(),
        sample: None,
        required: Vec::new(),
    }
}

fn spine(ids: &[i64], minutes: &[i64]) -> RecordBatch {
    let flights = arrow::array::Int64Array::from_iter_values(ids.iter().copied());
    let at = instants(minutes.iter().map(|minute| MIDNIGHT + minute * MINUTE));
    RecordBatch::try_from_iter([("flight", std::sync::Arc::new(flights) as _), ("at", at)]).expect("one length")
}

fn online(airline: &Airline, spine: &RecordBatch) -> RecordBatch {
    online_of(airline, &request(), spine)
}

fn online_of(airline: &Airline, request: &TrainingSetRequest, spine: &RecordBatch) -> RecordBatch {
    let spine = [spine.clone()];
    let features = airline.engine.features_of_training_set(request, &spine).expect("plans");
    let names: Vec<&str> = features.names().collect();
    let permit = airline.permit(creta_iam::Action::Query, &names);
    plain(airline.engine.query_batch(request, &spine, &permit).expect("answers").remove(0))
}

fn offline(airline: &Airline, request: &TrainingSetRequest, spine: RecordBatch) -> RecordBatch {
    plain(airline.training_set(request, spine).expect("answers"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn s9_s8_s22_online_equals_offline_whatever_arrives_in_whatever_parts(
        departures in departures(),
        cuts in prop::collection::vec(0usize..40, 0..4),
        questions in prop::collection::vec((0i64..12, prop_oneof![0i64..8, 55i64..65, 1435i64..1445, -100i64..700]), 1..12),
    ) {
        let airline = Airline::new();
        let cuts_len = cuts.len();
        let mut rest = departures.as_slice();
        for cut in cuts {
            let (part, tail) = rest.split_at(cut.min(rest.len()));
            if !part.is_empty() {
                airline.ingest(load(), table(part)).expect("a load");
            }
            rest = tail;
        }
        if !rest.is_empty() {
            airline.ingest(load(), table(rest)).expect("a load");
        }
        // Everything that is asked about is past: what is not has a rule of its own.
        airline.clock.advance(Span::days(2));
        let (ids, minutes): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
        let spine = spine(&ids, &minutes);
        let facts = offline(&airline, &request(), spine.clone());
        let before = online(&airline, &spine);
        prop_assert_eq!(&before, &facts);
        // A lost online store is rebuilt to the same answers, and segments say what the log said.
        airline.engine.flush().expect("flushes");
        let airline = airline.reopened(if cuts_len % 2 == 0 { LoseOnline::Yes } else { LoseOnline::No });
        prop_assert_eq!(&online(&airline, &spine), &facts);
        prop_assert_eq!(&offline(&airline, &request(), spine), &facts);
    }
}

#[test]
fn s9_a_hot_key_answers_online_as_offline_across_days() {
    let airline = Airline::new();
    // 600 flights of one carrier over ten days: far more than a root value keeps.
    let all: Vec<Departure> =
        (0..600).map(|n| departure(n % 200, "UA", n * 24 - 13_700, (n % 37) as f64 - 3.3)).collect();
    for part in all.chunks(97) {
        airline.ingest(load(), table(part)).expect("a load");
    }
    let ids: Vec<i64> = (0..200).collect();
    let minutes: Vec<i64> = (0..200).map(|n| n * 72 - 13_700).collect();
    let spine = spine(&ids, &minutes);
    assert_eq!(online(&airline, &spine), offline(&airline, &request(), spine.clone()));
}

/// The airline with windows of every kind that tiles help with and of those that they do not, filtered and not.
fn windows_of_all_kinds() -> Bundle {
    let mut all = serde_json::to_value(bundle()).expect("JSON");
    let carrier = &mut all["graph"]["entities"][0];
    let delay = json!({ "op": "feature", "path": "Flight.delay" });
    let late = json!({ "op": "call", "function": "gt", "args": [
        delay, { "op": "literal", "type": { "kind": "float" }, "value": 0.0 }
    ] });
    let features = carrier["features"].as_array_mut().expect("a list");
    for (name, kind, window) in [
        ("late_n", json!({ "kind": "int" }), json!({ "aggregate": "count", "where": late })),
        ("late_min", json!({ "kind": "float" }), json!({ "aggregate": "min", "value": delay, "where": late })),
        ("delay_var", json!({ "kind": "float" }), json!({ "aggregate": "var", "value": delay, "include_now": true })),
        ("delay_first", json!({ "kind": "float" }), json!({ "aggregate": "first", "value": delay })),
        ("delay_distinct", json!({ "kind": "int" }), json!({ "aggregate": "distinct", "value": delay })),
        (
            "delay_p90",
            json!({ "kind": "float" }),
            json!({ "aggregate": "percentile", "thousandths": 90_000, "value": delay }),
        ),
        (
            "last_three",
            json!({ "kind": "list", "item": { "kind": "float" } }),
            json!({ "aggregate": "last_n", "n": 3, "value": delay, "where": late }),
        ),
    ] {
        let mut window = window;
        window["relation"] = json!("flights");
        window["last"] = json!(["1h", "1d", "7d", "30d"]);
        let here = json!({ "file": "features.py", "line": 1 });
        features.push(json!({ "name": name, "type": kind, "location": here, "window": window }));
    }
    serde_json::from_value(all).expect("a bundle")
}

fn of_all_kinds() -> TrainingSetRequest {
    let mut features = asked();
    for name in ["late_n", "late_min", "delay_var", "delay_first", "delay_distinct", "delay_p90", "last_three"] {
        features.extend(["1h", "7d", "30d"].map(|span| path(&format!("Flight.operator.{name}[{span}]"))));
    }
    TrainingSetRequest { features, ..request() }
}

/// Minutes from 1 July to 31 March, and a flight of before.
const SPRING: i64 = -92 * 24 * 60;
const WITNESS: i64 = 9_999;

/// Flights of one carrier, thousands within days, some of them known late, corrected or taken back; the days are those
/// around 31 March 2013, when clocks changed in Europe.
fn crowded_days() -> Vec<Departure> {
    let flight = |n: i64| Departure {
        known_after: if n % 11 == 0 { n % 4_000 } else { 0 },
        retracted: n % 53 == 0,
        delay: (n % 17 != 0).then(|| (n * 7_919 % 600) as f64 / 10.0 - 20.3),
        ..departure(n % 2_700, "UA", SPRING + n * 7_907 % 20_000, 0.0)
    };
    // The first leads from its id to the carrier at every instant that is asked about.
    std::iter::once(departure(WITNESS, "UA", SPRING - 10, 1.0)).chain((0..3_000).map(flight)).collect()
}

fn agree(airline: &Airline, request: &TrainingSetRequest, minutes: &[i64]) {
    for minute in minutes {
        // One row at a time: windows of many rows about one key are read as facts.
        let spine = spine(&[WITNESS], &[*minute]);
        let online = online_of(airline, request, &spine);
        assert_eq!(online, offline(airline, request, spine), "minute {minute}");
    }
}

#[test]
fn s11_s22_tiles_of_a_hot_key_answer_as_the_facts_do_across_changes_of_clocks() {
    let airline = Airline::of(windows_of_all_kinds());
    let all = crowded_days();
    for part in all.chunks(701) {
        airline.ingest(load(), table(part)).expect("a load");
    }
    let minutes = [1, 700, 4_000, 8_191, 8_192, 12_000, 19_999, 20_000, 26_000, 60_000].map(|minute| SPRING + minute);
    agree(&airline, &of_all_kinds(), &minutes);
    airline.engine.flush().expect("flushes");
    let airline = airline.reopened(LoseOnline::Yes);
    agree(&airline, &of_all_kinds(), &minutes);
}

#[test]
fn s28_a_deploy_that_adds_windows_makes_their_tiles() {
    let airline = Airline::new();
    let all = crowded_days();
    airline.ingest(load(), table(&all[..2_000])).expect("a load");
    let permit = airline.permit(creta_iam::Action::Deploy, &[]);
    airline.engine.deploy(windows_of_all_kinds(), &permit).expect("a valid project");
    let minutes = [4_000, 8_191, 19_999].map(|minute| SPRING + minute);
    agree(&airline, &of_all_kinds(), &minutes);
    airline.ingest(load(), table(&all[2_000..])).expect("a load");
    agree(&airline, &of_all_kinds(), &minutes);
}

#[test]
fn s1_s9_queries_about_the_past_do_not_see_loads_that_arrive_meanwhile() {
    let airline = Airline::new();
    let early: Vec<Departure> = (0..1_500).map(|n| departure(n, "UA", n - 3_000, (n % 37) as f64 - 3.3)).collect();
    airline.ingest(load(), table(&early)).expect("a load");
    let spine = spine(&[7], &[-1_400]);
    let before = online(&airline, &spine);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| {
            for part in 0..60 {
                // Later flights of the same carrier, close enough that leaves and pages with earlier ones change.
                let later: Vec<Departure> =
                    (0..9).map(|n| departure(5_000 + part * 9 + n, "UA", -1_399 + (part * 9 + n) % 60, 1.0)).collect();
                airline.ingest(load(), table(&later)).expect("a load");
            }
        });
        while !loading.is_finished() {
            assert_eq!(online(&airline, &spine), before);
        }
    });
    assert_eq!(online(&airline, &spine), before);
}

#[test]
fn verify_compares_and_sees_its_planted_fault() {
    let airline = Airline::new();
    let all: Vec<Departure> =
        (0..300).map(|n| departure(n, if n % 3 == 0 { "UA" } else { "AA" }, n, n as f64)).collect();
    airline.ingest(load(), table(&all)).expect("a load");
    let report = airline.verify(&VerifyOptions { samples: 2_000, seed: 3 }).expect("a report");
    assert!(report.planted_fault_seen, "the planted fault must be seen");
    assert!(report.compared >= 2_000, "{} cells", report.compared);
    assert_eq!((report.differences, report.facts), (0, 300));
    assert!(report.features.iter().any(|path| path.root.as_str() == "Carrier"), "windows of a key without facts");
}

#[test]
fn verify_without_facts_says_so() {
    let problem = Airline::new().verify(&VerifyOptions::default()).expect_err("nothing to compare");
    assert_eq!(problem.code, "verify/nothing-to-compare");
}

#[test]
fn s29_a_read_after_an_acknowledged_write_sees_it() {
    let airline = Airline::new();
    let now = json!({ "entity": "Flight", "event_time": { "column": "departed" } });
    airline.ingest(now, table(&[departure(1, "UA", 720, 9.0)])).expect("a load about now");
    let answer =
        airline.query(json!({ "inputs": { "Flight.id": [1] }, "outputs": ["Flight.delay"] })).expect("answers");
    assert_eq!(answer.columns[0].values, [json!(9.0)]);
}
