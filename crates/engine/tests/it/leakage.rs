//! The guard against leaks finds those that are planted, and is silent where there are none.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use creta_engine::{KnownAsOfColumn, LabelColumn, Leak, LeakageReport, TrainingSetRequest};
use creta_iam::{Action, Role};
use creta_model::FeaturePath;
use serde_json::json;

use crate::support::{Airline, Departure, MIDNIGHT, MINUTE, bundle, departure, instants, load, table};

const HOUR: i64 = 60 * MINUTE;
const ROWS: i64 = 30;
/// When the first flight leaves: the day before yesterday.
const FIRST: i64 = -2 * 24 * 60;

/// Thirty flights of two carriers, one an hour, each known the moment it left.
fn flights(known_after: i64) -> Vec<Departure> {
    let flight = |n: i64| Departure {
        known_after,
        ..departure(n, if n % 2 == 0 { "UA" } else { "AA" }, FIRST + n * 60, (n * 7 % 11) as f64)
    };
    (0..ROWS).map(flight).collect()
}

fn airline() -> Airline {
    let airline = Airline::new();
    airline.ingest(load(), table(&flights(0))).expect("a load");
    airline
}

/// A row for each flight, asked so many minutes after it left, with its delay as label.
fn spine(after: i64) -> RecordBatch {
    let flights = flights(0);
    RecordBatch::try_from_iter([
        ("Flight.id", Arc::new(Int64Array::from_iter_values(0..ROWS)) as ArrayRef),
        ("Flight.carrier", Arc::new(StringArray::from_iter_values(flights.iter().map(|f| f.carrier.as_str())))),
        ("at", instants((0..ROWS).map(|n| MIDNIGHT + FIRST * MINUTE + n * HOUR + after * MINUTE))),
        ("label", Arc::new(flights.iter().map(|flight| flight.delay).collect::<Float64Array>())),
    ])
    .expect("columns of one length")
}

fn path(text: &str) -> FeaturePath {
    FeaturePath::parse(text).expect("a path")
}

fn request(features: &[&str]) -> TrainingSetRequest {
    serde_json::from_value(json!({"features": features, "as_of": "at"})).expect("a request")
}

fn label(feature: Option<&str>) -> Vec<LabelColumn> {
    vec![LabelColumn { column: "label".into(), feature: feature.map(path) }]
}

fn audit(airline: &Airline, request: &TrainingSetRequest, labels: &[LabelColumn], spine: RecordBatch) -> LeakageReport {
    let spine = [spine];
    let features = airline.engine.features_of_audit(request, labels, &spine).expect("features");
    let permit = airline.permit_on(Role::Developer, Action::Train, &features);
    airline.engine.audit_leakage(request, labels, &spine, &permit).expect("a report")
}

fn leaks(report: LeakageReport) -> Vec<Leak> {
    report.findings.into_iter().map(|found| found.leak).collect()
}

#[test]
fn a_clean_training_set_has_no_leak() {
    let airline = airline();
    // Earlier flights of the carrier are history; the row's own has not left yet, or leaves just now.
    let features =
        ["Flight.operator.delay_mean[1d]", "Flight.operator.flights_n[7d]", "Flight.operator.delay_last[1d]"];
    let report = audit(&airline, &request(&features), &label(Some("Flight.delay")), spine(-1));
    assert_eq!((report.rows, report.features, report.findings.len()), (30, 3, 0), "{report:?}");
    // Without saying what feature the label is, nothing is known of it that could be wrong here.
    assert_eq!(leaks(audit(&airline, &request(&features), &label(None), spine(-1))), Vec::<Leak>::new());
    assert_eq!(leaks(audit(&airline, &request(&["Flight.delay"]), &[], spine(30))), Vec::<Leak>::new());
}

#[test]
fn a_label_that_is_known_at_the_instant_is_found_by_who_reads_it() {
    let airline = airline();
    let features = ["Flight.operator.delay_mean[1d]", "Flight.operator.flights_n[7d]"];
    let found = leaks(audit(&airline, &request(&features), &label(Some("Flight.delay")), spine(1)));
    // The mean reads delays; the count reads carriers only.
    let expected = Leak::LabelVisible { feature: path(features[0]), label: path("Flight.delay"), rows: 30 };
    assert_eq!(found, std::slice::from_ref(&expected));
    assert!(expected.is_certain() && expected.to_string().contains("earlier instant"));
    // At the instant itself the flight's delay is known to a lookup (rule S2), and no window has it (rule S3).
    let both = request(&[features[0], "Flight.late"]);
    let found = leaks(audit(&airline, &both, &label(Some("Flight.delay")), spine(0)));
    assert_eq!(found, [Leak::LabelVisible { feature: path("Flight.late"), label: path("Flight.delay"), rows: 30 }]);
    // Without the flight's number its own delay cannot be told from others.
    let keyless = spine(1).project(&[1, 2, 3]).expect("columns");
    assert_eq!(leaks(audit(&airline, &request(&features), &label(Some("Flight.delay")), keyless)), Vec::<Leak>::new());
}

#[test]
fn a_label_among_the_inputs_is_found() {
    let airline = airline();
    let names = ["Flight.id", "Flight.carrier", "at", "Flight.delay"];
    let columns = spine(-1).columns().to_vec();
    let named = RecordBatch::try_from_iter(names.into_iter().zip(columns)).expect("columns");
    let labels = [LabelColumn { column: "Flight.delay".into(), feature: None }];
    let found = leaks(audit(&airline, &request(&["Flight.late", "Flight.departed"]), &labels, named));
    assert_eq!(found, [Leak::LabelGiven { feature: path("Flight.late"), label: "Flight.delay".into() }]);
    let mut mapped = request(&["Flight.late"]);
    mapped.inputs.insert(path("Flight.delay"), "label".into());
    let found = leaks(audit(&airline, &mapped, &label(None), spine(-1)));
    assert_eq!(found, [Leak::LabelGiven { feature: path("Flight.late"), label: "label".into() }]);
}

#[test]
fn a_feature_that_says_the_label_is_found_in_enough_rows() {
    let airline = airline();
    let same =
        |rows| Leak::SameAsLabel { feature: path("Flight.delay"), label: "label".into(), compared: rows, same: rows };
    let found = |labels: &[LabelColumn], rows: usize| {
        leaks(audit(
            &airline,
            &request(&["Flight.delay", "Flight.operator.delay_sum[1d]"]),
            labels,
            spine(1).slice(0, rows),
        ))
    };
    assert_eq!(found(&label(None), 30), [same(30)]);
    assert_eq!(found(&label(None), 20), [same(20)]);
    assert_eq!(found(&label(None), 19), Vec::<Leak>::new(), "so few say nothing");
    let with_feature = found(&label(Some("Flight.delay")), 30);
    assert!(with_feature.contains(&same(30)) && with_feature.len() == 3, "{with_feature:?}");
}

#[test]
fn restated_history_and_late_facts_are_found() {
    let airline = Airline::new();
    // Each flight is known two hours after it left.
    airline.ingest(load(), table(&flights(120))).expect("a load");
    let mean = "Flight.operator.delay_mean[1d]";
    let labels = label(Some("Flight.delay"));
    let clean = leaks(audit(&airline, &request(&[mean]), &labels, spine(-1)));
    let late = Leak::LateFacts {
        feature: path(mean),
        entity: creta_model::Name::parse("Flight").expect("a name"),
        facts: 30,
        late: 30,
        declared: creta_model::Span::ZERO,
        latest_us: 2 * HOUR,
    };
    assert_eq!(clean, std::slice::from_ref(&late), "they count from when they were learned: worth a look, and no leak");
    assert!(!late.is_certain() && late.to_string().contains("after 2h"), "{late}");
    let restated = TrainingSetRequest { known_as_of: Some(KnownAsOfColumn::Latest), ..request(&[mean]) };
    let found = leaks(audit(&airline, &restated, &labels, spine(-1)));
    // Of every carrier the first flight has none before it; the flight before it is two hours old, and known by then to nobody.
    assert_eq!(found, [Leak::Restated { feature: path(mean), rows: 28 }, late]);
    assert_eq!(
        leaks(audit(&airline, &restated, &labels, spine(1)))[0],
        Leak::LabelVisible { feature: path(mean), label: path("Flight.delay"), rows: 30 }
    );
}

#[test]
fn attack_ch03_the_guard_tells_nothing_of_rows_that_a_rule_keeps_back() {
    let airline = airline();
    let rule = json!({"id": "own-flights", "entity": "Flight", "roles": ["developer"], "feature": "Flight.carrier", "op": "in",
        "values": ["UA"]});
    airline.set_rows(json!([rule]));
    // Of fifteen flights by AA neither values nor whether there are any.
    let found = leaks(audit(&airline, &request(&["Flight.delay"]), &label(None), spine(1)));
    assert_eq!(found, Vec::<Leak>::new(), "fifteen rows are too few to compare");
    let found = leaks(audit(&airline, &request(&["Flight.delay"]), &label(Some("Flight.delay")), spine(1)));
    assert_eq!(found, [Leak::LabelVisible { feature: path("Flight.delay"), label: path("Flight.delay"), rows: 15 }]);
}

#[test]
fn a_label_that_is_computed_is_found_by_what_it_is_computed_from() {
    let airline = airline();
    let mean = "Flight.operator.delay_mean[1d]";
    let features = request(&[mean, "Flight.operator.flights_n[1d]"]);
    // Whether a flight is late is computed from its delay, which the mean reads. Its carrier leads to it, and is known before.
    let found = leaks(audit(&airline, &features, &label(Some("Flight.late")), spine(1)));
    assert_eq!(found, [Leak::LabelVisible { feature: path(mean), label: path("Flight.late"), rows: 30 }]);
    assert_eq!(leaks(audit(&airline, &features, &label(Some("Flight.late")), spine(-1))), Vec::<Leak>::new());
}

#[test]
fn a_label_that_has_expired_is_known_all_the_same() {
    let airline = airline();
    let mut bundle = serde_json::to_value(bundle()).expect("JSON");
    let features = bundle["graph"]["entities"][1]["features"].as_array_mut().expect("features");
    features.iter_mut().find(|own| own["name"] == "delay").expect("there")["max_age"] = json!("1h");
    airline.deploy(serde_json::from_value(bundle).expect("a bundle")).expect("deployed");
    let mean = request(&["Flight.operator.delay_mean[1d]"]);
    let found = leaks(audit(&airline, &mean, &label(Some("Flight.delay")), spine(120)));
    assert_eq!(
        found,
        [Leak::LabelVisible { feature: mean.features[0].clone(), label: path("Flight.delay"), rows: 30 }]
    );
}

#[test]
fn a_label_that_is_withheld_is_said_not_to_be_judged() {
    let airline = airline();
    let mut bundle = serde_json::to_value(bundle()).expect("JSON");
    let features = bundle["graph"]["entities"][1]["features"].as_array_mut().expect("features");
    features.iter_mut().find(|own| own["name"] == "delay").expect("there")["tags"] = json!(["pii"]);
    airline.deploy(serde_json::from_value(bundle).expect("a bundle")).expect("deployed");
    let (mean, labels, spine) = (request(&["Flight.operator.delay_mean[1d]"]), label(Some("Flight.delay")), [spine(1)]);
    let features = airline.engine.features_of_audit(&mean, &labels, &spine).expect("features");
    let permit = airline.person_permit(&[Role::DataScientist], Action::Train, &features).expect("they may");
    let found = leaks(airline.engine.audit_leakage(&mean, &labels, &spine, &permit).expect("a report"));
    let expected = Leak::NotJudged { feature: mean.features[0].clone(), label: path("Flight.delay"), rows: 30 };
    assert_eq!(found, std::slice::from_ref(&expected), "a number has no form that could be shown");
    assert!(!expected.is_certain() && expected.to_string().contains("not told"));
}

#[test]
fn no_column_of_the_spine_is_read_instead_of_the_instants_just_before() {
    let airline = airline();
    let mean = request(&["Flight.operator.delay_mean[1d]"]);
    let of = spine(1);
    let names = ["Flight.id", "Flight.carrier", "at", "label", "just before", "just before'"];
    let columns = of.columns().iter().cloned().chain([instants([0; ROWS as usize]), instants([0; ROWS as usize])]);
    let named = RecordBatch::try_from_iter(names.into_iter().zip(columns)).expect("columns");
    let found = leaks(audit(&airline, &mean, &label(Some("Flight.delay")), named));
    assert_eq!(
        found,
        [Leak::LabelVisible { feature: mean.features[0].clone(), label: path("Flight.delay"), rows: 30 }]
    );
}

#[test]
fn what_is_not_there_is_refused_with_its_name() {
    let airline = airline();
    let code = |labels: &[LabelColumn]| {
        airline.engine.features_of_audit(&request(&["Flight.delay"]), labels, &[spine(0)]).expect_err("refused").code
    };
    assert_eq!(code(&[LabelColumn { column: "lable".into(), feature: None }]), "spine/no-column");
    assert_eq!(code(&label(Some("Flight.dealy"))), "leakage/no-feature");
}
