//! What a feature is computed from, and the tags that flow along.

use std::collections::BTreeSet;

use creta_registry::{FeatureRef, Registry};

use crate::dsl;

const DEFINITIONS: &str = r#"
entity Carrier  tags=partners owner=ops
  key code: str
  many flights: Flight on code = carrier
  delay_mean: float = mean(flights: dep_delay) where seats > 10 last 1d
entity Flight
  key id: int  event_id
  carrier: str
  dep_delay: float | None  tags=pii owner=ana
  seats: int  tags=inventory
  tail: str
  one operator: Carrier on carrier = code
  risk: float
  high: bool = risk > 0.5
resolver risk(x: Flight.operator.delay_mean[1d]) -> Flight.risk  env=prod
resolver other(x: Flight.tail) -> Flight.risk  env=staging
"#;

fn registry() -> Registry {
    Registry::apply(None, dsl::parse(DEFINITIONS)).expect("valid definitions").registry
}

fn feature(text: &str) -> FeatureRef {
    let path = dsl::path(text);
    FeatureRef::new(&path.root, &path.feature)
}

fn names(features: BTreeSet<FeatureRef>) -> Vec<String> {
    features.iter().map(FeatureRef::to_string).collect()
}

#[test]
fn lineage_ends_at_stored_features_of_every_environment() {
    let registry = registry();
    let stored = names(registry.lineage(&dsl::path("Flight.high")));
    assert_eq!(
        stored,
        ["Carrier.code", "Flight.carrier", "Flight.dep_delay", "Flight.seats", "Flight.tail"],
        "also what only a filter, a relation or another environment reads"
    );
    assert_eq!(names(registry.lineage(&dsl::path("Flight.operator.code"))), ["Carrier.code", "Flight.carrier"]);
    assert_eq!(names(registry.lineage(&dsl::path("Flight.nowhere"))), [""; 0]);
    assert_eq!(
        names(registry.inputs_of(&feature("Flight.risk"))),
        ["Carrier.delay_mean", "Flight.carrier", "Flight.tail"]
    );
}

#[test]
fn tags_flow_along_lineage_and_never_against_it() {
    let registry = registry();
    let tags = |text: &str| registry.effective_tags(&feature(text)).into_iter().collect::<Vec<_>>();
    assert_eq!(tags("Flight.high"), ["inventory", "partners", "pii"]);
    assert_eq!(tags("Carrier.delay_mean"), ["inventory", "partners", "pii"]);
    assert_eq!(tags("Flight.dep_delay"), ["pii"]);
    assert_eq!(tags("Flight.tail"), [""; 0]);
    assert_eq!(tags("Carrier.code"), ["partners"]);
}

#[test]
fn a_feature_is_owned_by_its_own_owner_before_its_entity() {
    let registry = registry();
    assert_eq!(registry.owner(&feature("Flight.dep_delay")), Some("ana"));
    assert_eq!(registry.owner(&feature("Carrier.delay_mean")), Some("ops"));
    assert_eq!(registry.owner(&feature("Flight.tail")), None);
}
