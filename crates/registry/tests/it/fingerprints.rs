//! Rule S28: a fingerprint changes exactly when values may no longer be mixed.

use std::collections::BTreeMap;

use creta_model::{Bundle, Environment};
use creta_registry::{FeatureRef, Registry};
use proptest::prelude::*;

use crate::dsl;

const DEFINITIONS: &str = r#"
entity Carrier
  key code: str
  country: str
  many flights: Flight on code = carrier
  delay_mean: float = mean(flights: dep_delay) where dep_delay > 0 last 1h 1d
  flown: int = count(flights) last 1d
entity Weather
  key airport: str
  wind: float | None  max_age=2h
entity Flight
  key id: int  event_id
  event_time departed: datetime
  carrier: str
  origin: str
  dep_delay: float | None
  one operator: Carrier on carrier = code
  one weather: Weather on origin = airport
  risk: float
  spread: float
  high: bool = risk > 0.5
  low: bool = not high
  foreign: bool = operator.country != "US"
resolver risk(delay: Flight.operator.delay_mean[1d], wind: Flight.weather.wind | None) -> Flight.risk, Flight.spread  env=prod
resolver risk_staging(delay: Flight.dep_delay | None) -> Flight.risk  env=staging
source flights of Flight csv data/flights.csv
query risk/1 (Flight.id) -> Flight.risk
"#;

fn registry(bundle: Bundle) -> Registry {
    Registry::apply(None, bundle).unwrap_or_else(|problems| panic!("{}", problems[0])).registry
}

fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("a name")
}

fn all(bundle: Bundle, environment_name: &str) -> BTreeMap<String, String> {
    let registry = registry(bundle);
    let environment = environment(environment_name);
    let mut fingerprints = registry.fingerprints_in(&environment);
    registry
        .features()
        .map(|(feature, ..)| (feature.to_string(), fingerprints.of(&feature).expect("a known feature")))
        .collect()
}

/// Features whose fingerprint in `prod` is another after `change`.
fn changed_by(change: impl FnOnce(&mut Bundle)) -> Vec<String> {
    let before = all(dsl::parse(DEFINITIONS), "prod");
    let mut bundle = dsl::parse(DEFINITIONS);
    change(&mut bundle);
    let after = all(bundle, "prod");
    before
        .into_iter()
        .filter(|(name, fingerprint)| after.get(name) != Some(fingerprint))
        .map(|(name, _)| name)
        .collect()
}

fn changed_text(from: &str, to: &str) -> Vec<String> {
    assert!(DEFINITIONS.contains(from), "{from}");
    changed_by(|bundle| *bundle = dsl::parse(&DEFINITIONS.replace(from, to)))
}

#[test]
fn s28_code_changes_what_is_downstream_and_nothing_else() {
    let downstream = ["Flight.high", "Flight.low", "Flight.risk", "Flight.spread"];
    assert_eq!(changed_by(|bundle| bundle.graph.resolvers[0].code.push_str("\n    return 1")), downstream);
    assert_eq!(
        changed_by(|bundle| bundle.graph.resolvers[1].code.push_str("\n    return 1")),
        [""; 0],
        "of staging only"
    );
    assert_eq!(changed_by(|bundle| bundle.lock.python = "3.12".into()), downstream);
}

#[test]
fn s28_options_and_inputs_count() {
    let wind = ["Flight.high", "Flight.low", "Flight.risk", "Flight.spread", "Weather.wind"];
    assert_eq!(changed_text("max_age=2h", "max_age=1h"), wind);
    assert_eq!(changed_text("max_age=2h", "max_age=2h default=0.0"), wind);
    assert_eq!(changed_text("max_age=2h", "max_age=2h version=2"), wind);
    assert_eq!(changed_text("max_age=2h", "max_age=2h min=0"), wind);
    let mean = ["Carrier.delay_mean", "Flight.high", "Flight.low", "Flight.risk", "Flight.spread"];
    assert_eq!(changed_text("dep_delay > 0 last 1h 1d", "dep_delay > 1 last 1h 1d"), mean);
    assert_eq!(changed_text("last 1h 1d", "last 1h 1d now"), mean);
    assert_eq!(changed_text("last 1h 1d", "last 1h 1d 7d"), [""; 0], "each window's value is its own");
    assert_eq!(changed_text("risk > 0.5", "risk > 0.6"), ["Flight.high", "Flight.low"]);
    assert_eq!(
        changed_text("delay_mean[1d], wind", "delay_mean[1h], wind"),
        ["Flight.high", "Flight.low", "Flight.risk", "Flight.spread"]
    );
    let by_origin = changed_text("one operator: Carrier on carrier", "one operator: Carrier on origin");
    assert_eq!(by_origin, ["Flight.foreign", "Flight.high", "Flight.low", "Flight.risk", "Flight.spread"]);
}

#[test]
fn s28_what_marks_versions_of_one_event_counts_for_lookups_and_windows() {
    assert_eq!(
        changed_text("key id: int  event_id", "key id: int"),
        [
            "Carrier.delay_mean",
            "Carrier.flown",
            "Flight.carrier",
            "Flight.dep_delay",
            "Flight.departed",
            "Flight.foreign",
            "Flight.high",
            "Flight.id",
            "Flight.low",
            "Flight.origin",
            "Flight.risk",
            "Flight.spread",
        ]
    );
}

/// Stored values carry fingerprints. When this one changes, values stored so far are recomputed everywhere: raise
/// `SEMANTICS_VERSION` with a decision page, or find another way.
#[test]
fn s28_fingerprints_stay_what_they_are_from_release_to_release() {
    let fingerprints = all(dsl::parse(DEFINITIONS), "prod");
    assert_eq!(fingerprints["Flight.low"], "sha256:9f8a065a304976da4da258f7055eae4c1c1f6c9b9ee0bfedac9e555a846b83e0");
}

#[test]
fn s28_each_environment_has_its_own_resolvers() {
    let (prod, staging, dev) = (
        all(dsl::parse(DEFINITIONS), "prod"),
        all(dsl::parse(DEFINITIONS), "staging"),
        all(dsl::parse(DEFINITIONS), "dev"),
    );
    for feature in ["Flight.risk", "Flight.high", "Flight.low"] {
        assert!(prod[feature] != staging[feature] && staging[feature] != dev[feature], "{feature}");
    }
    for feature in ["Flight.foreign", "Carrier.delay_mean"] {
        assert_eq!(prod[feature], staging[feature]);
    }
}

#[test]
fn an_unknown_feature_has_no_fingerprint() {
    let unknown = FeatureRef::new(&dsl::name("Flight"), &dsl::name("nowhere"));
    assert_eq!(registry(dsl::parse(DEFINITIONS)).feature_fingerprint(&unknown, &environment("prod")), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn s28_neither_order_nor_what_people_read_counts(seed in any::<u64>(), doc in "[a-z ]{1,20}") {
        let expected = all(dsl::parse(DEFINITIONS), "prod");
        let mut bundle = dsl::parse(DEFINITIONS);
        let mut state = seed;
        let mut next = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        let graph = &mut bundle.graph;
        graph.entities.sort_by_cached_key(|_| next(1 << 20));
        graph.resolvers.sort_by_cached_key(|_| next(1 << 20));
        for entity in &mut graph.entities {
            entity.features.sort_by_cached_key(|_| next(1 << 20));
            entity.relations.sort_by_cached_key(|_| next(1 << 20));
            entity.doc.clone_from(&doc);
            entity.owner = Some(doc.clone());
            entity.location.line += next(100) as u32;
            for relation in &mut entity.relations {
                relation.location.line += next(100) as u32;
            }
            for feature in &mut entity.features {
                feature.doc.clone_from(&doc);
                feature.tags = vec![doc.clone()];
                feature.unit = Some(doc.clone());
                feature.owner = Some(doc.clone());
                feature.deprecated = Some(doc.clone());
                feature.location.file = format!("{doc}.py");
            }
        }
        for resolver in &mut graph.resolvers {
            resolver.doc.clone_from(&doc);
            resolver.location.line += next(100) as u32;
            resolver.retries = next(3) as u32;
        }
        bundle.modules.insert("features.py".into(), doc);
        prop_assert_eq!(all(bundle, "prod"), expected);
    }
}
