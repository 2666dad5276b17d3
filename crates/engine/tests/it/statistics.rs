//! What may be told of a feature: over all keys, as of an instant, and nothing but ranges.

use creta_disclosure::GroupSize;
use creta_iam::Action;
use creta_model::{FeaturePath, Instant};

use crate::support::{Airline, MIDNIGHT, MINUTE, departure, load, table};

fn path(text: &str) -> FeaturePath {
    FeaturePath::parse(text).expect("a path")
}

fn minute(minute: i64) -> Instant {
    Instant::from_micros(MIDNIGHT + minute * MINUTE).expect("in range")
}

/// Sixty flights of three carriers, one a minute; a delay of 7.25 but for every third.
fn flights() -> Airline {
    let airline = Airline::new();
    let rows = (0..60).map(|n| {
        let mut row = departure(n, ["aa", "bb", "canary-carrier"][n as usize % 3], n, 7.25);
        row.delay = (n % 3 != 0).then_some(7.25);
        row
    });
    airline.ingest(load(), table(&rows.collect::<Vec<_>>())).expect("taken");
    airline
}

#[test]
fn a_feature_is_told_in_ranges_over_all_keys_as_of_an_instant() {
    let airline = flights();
    let permit = airline.staff_permit(&["Flight.delay"]);
    let asked = [(path("Flight.delay"), minute(60)), (path("Flight.delay"), minute(30))];
    let populations = airline.engine.populations(&asked, &permit).expect("told");
    assert_eq!((populations[0].len(), populations[1].len()), (60, 31), "what happened later is not known yet");
    assert_eq!(populations[0].difference(&populations[1]), 29);
    let told = populations[0].summary("Flight.delay", minute(60), GroupSize::default()).expect("enough");
    let told = serde_json::to_value(told).expect("JSON");
    assert_eq!(told["bins"], serde_json::json!([{"range": "1 to below 10", "count": 40}]));
    assert_eq!((&told["nulls"], &told["entities"]), (&serde_json::json!(20), &serde_json::json!(60)));
    assert!(!told.to_string().contains("7.25"), "{told}");
}

#[test]
fn entities_without_facts_of_their_own_have_the_keys_that_relations_lead_to() {
    let airline = flights();
    let feature = "Carrier.flights_n";
    let asked = [(path("Carrier.flights_n[7d]"), minute(61))];
    let populations = airline.engine.populations(&asked, &airline.staff_permit(&[feature])).expect("told");
    assert_eq!(populations[0].len(), 3);
    assert!(populations[0].summary(feature, minute(61), GroupSize::default()).is_err(), "three are too few");
    let texts =
        airline.engine.populations(&[(path("Flight.carrier"), minute(61))], &airline.staff_permit(&["Flight.carrier"]));
    let summary = texts.expect("told")[0].summary("Flight.carrier", minute(61), GroupSize::default()).expect("enough");
    let told = serde_json::to_string(&summary).expect("JSON");
    assert!(told.contains(r#"{"form":"xxx-xxx","count":20}"#) && !told.contains("canary"), "{told}");
}

#[test]
fn attack_ch19_statistics_take_a_permit_of_their_own_and_features_without_detours() {
    let airline = flights();
    let asked = [(path("Flight.delay"), minute(60))];
    for permit in [airline.permit(Action::Query, &["Flight.delay"]), airline.staff_permit(&["Flight.carrier"])] {
        assert_eq!(airline.engine.populations(&asked, &permit).expect_err("another permit").code, "access/not-covered");
    }
    for (text, code) in [
        ("Flight.operator.delay_mean[1d]", "statistics/path"),
        ("Flight.nothing", "not-found/feature"),
        ("Nobody.delay", "not-found/feature"),
        ("Carrier.flights_n", "not-found/feature"),
        ("Flight.delay[1d]", "not-found/feature"),
    ] {
        assert_eq!(airline.engine.feature_of_statistics(&path(text)).expect_err(text).code, code, "{text}");
    }
    // And it opens nothing else.
    let permit = airline.staff_permit(&["Flight.delay"]);
    let request =
        serde_json::from_value(serde_json::json!({"inputs": {"Flight.id": [1]}, "outputs": ["Flight.delay"]}));
    let refused = airline.engine.query(&request.expect("a request"), &permit).expect_err("no permit for values");
    assert_eq!(refused.code, "access/not-covered");
}
