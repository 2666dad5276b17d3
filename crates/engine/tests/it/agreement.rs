//! The property users pay for: at every instant the online answer equals the offline one.

use arrow::array::RecordBatch;
use creta_engine::{TrainingSetRequest, VerifyOptions};
use creta_model::FeaturePath;
use proptest::prelude::*;
use serde_json::json;

use crate::support::{Airline, Departure, LoseOnline, MIDNIGHT, MINUTE, departure, instants, load, table};

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
    }
}

fn spine(ids: &[i64], minutes: &[i64]) -> RecordBatch {
    let flights = arrow::array::Int64Array::from_iter_values(ids.iter().copied());
    let at = instants(minutes.iter().map(|minute| MIDNIGHT + minute * MINUTE));
    RecordBatch::try_from_iter([("flight", std::sync::Arc::new(flights) as _), ("at", at)]).expect("one length")
}

fn online(airline: &Airline, spine: &RecordBatch) -> RecordBatch {
    let request = request();
    let spine = [spine.clone()];
    let features = airline.engine.features_of_training_set(&request, &spine).expect("plans");
    let names: Vec<&str> = features.names().collect();
    let permit = airline.permit(creta_iam::Action::Query, &names);
    airline.engine.query_batch(&request, &spine, &permit).expect("answers").remove(0)
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
        let (ids, minutes): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
        let spine = spine(&ids, &minutes);
        let offline = airline.training_set(&request(), spine.clone()).expect("answers");
        let before = online(&airline, &spine);
        prop_assert_eq!(&before, &offline);
        // A lost online store is rebuilt to the same answers, and segments say what the log said.
        airline.engine.flush().expect("flushes");
        let airline = airline.reopened(if cuts_len % 2 == 0 { LoseOnline::Yes } else { LoseOnline::No });
        prop_assert_eq!(&online(&airline, &spine), &offline);
        prop_assert_eq!(&airline.training_set(&request(), spine).expect("answers"), &offline);
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
    assert_eq!(online(&airline, &spine), airline.training_set(&request(), spine.clone()).expect("answers"));
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
