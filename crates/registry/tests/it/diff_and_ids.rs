//! Stable numbers, revisions, and what is stored.

use creta_model::{EntityId, FeatureId};
use creta_registry::{FeatureRef, Happened, Registry, RegistryError, diff};

use crate::dsl;

fn apply(previous: Option<&Registry>, definitions: &str) -> Registry {
    Registry::apply(previous, dsl::parse(definitions)).unwrap_or_else(|problems| panic!("{}", problems[0])).registry
}

fn id(registry: &Registry, path: &str) -> Option<FeatureId> {
    let path = dsl::path(path);
    registry.feature_id(&path.root, &path.feature)
}

const FIRST: &str = "
entity Flight
  key id: int
  delay: float
  seats: int
entity Carrier
  key code: str
";

#[test]
fn numbers_follow_a_rename_of_feature_and_entity() {
    let first = apply(None, FIRST);
    let renamed = "
entity Departure  was=Flight
  key id: int
  dep_delay: float  was=delay
  seats: int
entity Carrier
  key code: str
";
    let second = apply(Some(&first), renamed);
    assert_eq!(id(&second, "Departure.dep_delay"), id(&first, "Flight.delay"));
    assert_eq!(second.entity_id(&dsl::name("Departure")), first.entity_id(&dsl::name("Flight")));
    assert_eq!(id(&second, "Flight.delay"), None);
    assert_eq!(second.retired_features().count(), 0);
    // The rename stays written in the code; applying it again is nothing new.
    let third = apply(Some(&second), &format!("{renamed}  name: str\n"));
    assert_eq!(id(&third, "Departure.dep_delay"), id(&first, "Flight.delay"));
}

#[test]
fn numbers_are_never_given_twice() {
    let first = apply(None, FIRST);
    let gone = id(&first, "Flight.seats").expect("a number");
    let second = apply(Some(&first), "entity Flight\n  key id: int\n  delay: float\n");
    let third = apply(Some(&second), FIRST);
    let back = id(&third, "Flight.seats").expect("a number");
    assert_ne!(back, gone, "a removed feature that comes back has an empty history");
    assert_eq!(third.feature_name(gone), None);
    assert!(third.retired_features().any(|(id, name)| id == gone && name == "Flight.seats"));
    let carrier = first.entity_id(&dsl::name("Carrier")).expect("a number");
    assert_ne!(third.entity_id(&dsl::name("Carrier")), Some(carrier));
    assert!(third.retired_entities().any(|(id, name)| id == carrier && name.as_str() == "Carrier"));
    let numbers: Vec<FeatureId> =
        third.features().map(|(feature, ..)| id(&third, &feature.to_string()).expect("a number")).collect();
    let all: std::collections::BTreeSet<_> =
        numbers.iter().copied().chain(third.retired_features().map(|r| r.0)).collect();
    assert_eq!(all.len(), numbers.len() + third.retired_features().count());
}

#[test]
fn numbers_do_not_depend_on_the_order_of_declaration() {
    let first = apply(None, FIRST);
    let other = apply(
        None,
        "
entity Carrier
  key code: str
entity Flight
  seats: int
  delay: float
  key id: int
",
    );
    for path in ["Flight.id", "Flight.delay", "Flight.seats", "Carrier.code"] {
        assert_eq!(id(&first, path), id(&other, path), "{path}");
    }
}

#[test]
fn names_and_numbers_lead_to_each_other() {
    let registry = apply(None, FIRST);
    for (feature, entity, _) in registry.features() {
        let number = registry.feature_id(&feature.entity, &feature.feature).expect("a number");
        assert_eq!(registry.feature_name(number), Some(feature));
        let number = registry.entity_id(&entity.name).expect("a number");
        assert_eq!(registry.entity_name(number), Some(&entity.name));
    }
    assert_eq!(registry.entity_name(EntityId(99)), None);
}

#[test]
fn a_new_version_of_another_type_gets_a_new_number_and_any_other_change_keeps_it() {
    let first = apply(None, FIRST);
    let second = apply(Some(&first), &FIRST.replace("delay: float", "delay: int  version=2"));
    assert_ne!(id(&second, "Flight.delay"), id(&first, "Flight.delay"));
    let third = apply(Some(&first), &FIRST.replace("delay: float", "delay: float | None  version=2 max_age=1d"));
    assert_eq!(id(&third, "Flight.delay"), id(&first, "Flight.delay"));
}

#[test]
fn revisions_count_changes() {
    let first = apply(None, FIRST);
    let same = apply(Some(&first), FIRST);
    let other = apply(Some(&same), &FIRST.replace("delay: float", "delay: float  doc=Minutes."));
    assert_eq!((first.revision(), same.revision(), other.revision()), (1, 1, 2));
    assert_eq!(first.bundle_digest(), same.bundle_digest());
    assert_ne!(first.bundle_digest(), other.bundle_digest());
}

#[test]
fn what_is_stored_is_read_again_byte_for_byte() {
    let first = apply(None, FIRST);
    let second = apply(
        Some(&first),
        "entity Flight\n  key id: int\n  late: bool = id > 9007199254740993\n  half: float = id * 0.1\n",
    );
    for registry in [first, second] {
        let bytes = registry.to_json();
        let loaded = Registry::load(&bytes).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.to_json(), bytes);
        assert_eq!(loaded.bundle_digest(), registry.bundle_digest());
        assert!(diff(Some(&registry), &loaded).is_empty());
    }
}

#[test]
fn an_altered_registry_is_not_loaded() {
    let first = apply(None, FIRST);
    let registry = apply(Some(&first), "entity Flight\n  key id: int\n  delay: float\n");
    let text = String::from_utf8(registry.to_json()).expect("text");
    let load = |text: &str| Registry::load(text.as_bytes()).err().unwrap_or_else(|| panic!("{text}"));
    assert!(matches!(load("{}"), RegistryError::Unreadable(_)));
    assert!(matches!(load(&text.replace("creta.registry/1", "creta.registry/2")), RegistryError::Format { .. }));
    assert!(matches!(load(&text.replace("features.py", "features.pi")), RegistryError::Digest));
    let swapped = text.replace(r#""id":1,"key""#, r#""id":0,"key""#);
    assert_ne!(swapped, text);
    assert!(matches!(load(&swapped), RegistryError::Identifiers { .. }), "an entity with a retired number");
    let unknown = text.replace(r#""revision":2"#, r#""revision":2,"more":1"#);
    assert!(matches!(load(&unknown), RegistryError::Unreadable(_)));
}

#[test]
fn everything_is_added_at_first_and_the_form_is_json() {
    let registry = apply(None, FIRST);
    let first = diff(None, &registry);
    assert!(first.changes.iter().all(|change| change.happened == Happened::Added));
    assert_eq!(first.changes.len(), 6);
    assert!(first.recomputed.is_empty());
    let json = serde_json::to_value(&first).expect("json");
    assert_eq!(
        json["changes"][0],
        serde_json::json!({ "happened": "added", "kind": "entity", "name": "Carrier", "properties": [] })
    );
    let gone = diff(Some(&registry), &apply(Some(&registry), "entity Carrier\n  key code: str\n"));
    assert_eq!(
        gone.to_string(),
        "- entity Flight\n- feature Flight.delay\n- feature Flight.id\n- feature Flight.seats\n"
    );
    assert!(registry.feature(&dsl::name("Flight"), &dsl::name("delay")).is_some());
    assert!(registry.is_stored(&dsl::name("Flight"), &dsl::name("delay")));
    assert_eq!(registry.owner(&FeatureRef::new(&dsl::name("Flight"), &dsl::name("delay"))), None);
}
