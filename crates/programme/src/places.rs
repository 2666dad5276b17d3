//! Places in documents: `prod` is the control plane of an environment, `prod/acme` one tenant's scope there.

use creta_iam::Place;
use creta_model::{Environment, Scope};
use serde::{Deserialize, Deserializer, Serializer};

/// The text form. Names hold no slash, so it is injective.
pub(crate) fn text(place: &Place) -> String {
    match place {
        Place::Environment(environment) => environment.to_string(),
        Place::Scope(scope) => scope.path(),
    }
}

/// Reads the text form.
pub(crate) fn parse(text: &str) -> Option<Place> {
    match text.split_once('/') {
        None => Environment::parse(text).ok().map(Place::Environment),
        Some((environment, tenant)) => Scope::parse(tenant, environment).ok().map(Place::Scope),
    }
}

pub(crate) fn serialize<S: Serializer>(place: &Place, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(place))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| serde::de::Error::custom("a place is written `prod` or `prod/acme`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_writing_and_reading() {
        for good in ["prod", "prod/acme"] {
            assert_eq!(text(&parse(good).expect("a place")), good);
        }
        for bad in ["", "prod/", "/acme", "prod/acme/x", "Prod", "prod acme"] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }
}
