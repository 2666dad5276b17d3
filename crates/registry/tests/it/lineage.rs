//! What a feature is computed from, and the tags that flow along.

use std::collections::BTreeSet;

use creta_registry::{Declassified, FeatureRef, Registry};

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
fn a_tag_comes_with_the_shortest_path_to_where_it_is_from() {
    let registry = registry();
    let paths = registry.tag_paths(&feature("Flight.high"), &Declassified::nothing());
    let path = |tag: &str| paths[tag].iter().map(FeatureRef::to_string).collect::<Vec<_>>();
    assert_eq!(path("pii"), ["Flight.high", "Flight.risk", "Carrier.delay_mean", "Flight.dep_delay"]);
    assert_eq!(path("inventory"), ["Flight.high", "Flight.risk", "Carrier.delay_mean", "Flight.seats"]);
    assert_eq!(path("partners"), ["Flight.high", "Flight.risk", "Carrier.delay_mean"], "its entity has it");
    assert_eq!(registry.tag_paths(&feature("Flight.dep_delay"), &Declassified::nothing())["pii"].len(), 1);
    assert_eq!(names(registry.tag_sources(&feature("Flight.high"), "pii")), ["Flight.dep_delay"]);
    assert_eq!(
        names(registry.tag_sources(&feature("Flight.high"), "partners")),
        ["Carrier.code", "Carrier.delay_mean"]
    );
}

#[test]
fn a_declassified_tag_stops_where_it_was_reviewed_and_nowhere_else() {
    let registry = registry();
    let tags = |of: &str, declassified: &[(&str, &str)]| {
        let pairs = declassified.iter().map(|(path, tag)| (feature(path), (*tag).to_owned()));
        registry.tag_paths(&feature(of), &Declassified::new(pairs)).into_keys().collect::<Vec<_>>()
    };
    let mean = ("Carrier.delay_mean", "pii");
    assert_eq!(tags("Carrier.delay_mean", &[mean]), ["inventory", "partners"]);
    assert_eq!(tags("Flight.high", &[mean]), ["inventory", "partners"], "what is computed from it has it no more");
    assert_eq!(tags("Flight.dep_delay", &[mean]), ["pii"], "its source keeps it");
    assert_eq!(tags("Carrier.delay_mean", &[("Flight.high", "pii")]), ["inventory", "partners", "pii"]);
    assert_eq!(
        tags("Flight.dep_delay", &[("Flight.dep_delay", "pii")]),
        ["pii"],
        "what the definition says is not declassified"
    );
    assert_eq!(tags("Carrier.delay_mean", &[("Carrier.delay_mean", "partners")]), ["inventory", "partners", "pii"]);
    assert_eq!(
        names(registry.tag_sources(&feature("Flight.high"), "pii")),
        ["Flight.dep_delay"],
        "sources do not depend on what is declassified"
    );
}

#[test]
fn a_tag_flows_by_any_path_that_is_open() {
    let text = r#"
entity A
  key id: int
  secret: int  tags=pii,internal
  left: int = secret + 1
  right: int = secret + 2
  both: int = left + right
"#;
    let registry = Registry::apply(None, dsl::parse(text)).expect("valid definitions").registry;
    let tags = |stops: &[&str]| {
        let pairs = stops.iter().map(|path| (feature(path), "pii".to_owned()));
        registry.tag_paths(&feature("A.both"), &Declassified::new(pairs)).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(tags(&[]), ["pii"], "`internal` stays where it is");
    assert_eq!(tags(&["A.left"]), ["pii"]);
    assert_eq!(tags(&["A.right"]), ["pii"]);
    assert_eq!(tags(&["A.left", "A.right"]), [""; 0]);
    assert_eq!(registry.effective_tags(&feature("A.secret")).into_iter().collect::<Vec<_>>(), ["internal", "pii"]);
}

#[test]
fn a_feature_is_owned_by_its_own_owner_before_its_entity() {
    let registry = registry();
    assert_eq!(registry.owner(&feature("Flight.dep_delay")), Some("ana"));
    assert_eq!(registry.owner(&feature("Carrier.delay_mean")), Some("ops"));
    assert_eq!(registry.owner(&feature("Flight.tail")), None);
}
