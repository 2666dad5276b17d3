//! Paths: how a feature is named in definitions, requests and answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Name, Span};

/// `Flight.operator.delay_mean[1d]`: an entity, `one` relations to follow, a feature, and for windowed features the window.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeaturePath {
    /// Entity the path starts from.
    pub root: Name,
    /// `one` relations followed from there, in order.
    pub via: Vec<Name>,
    /// The feature of the entity reached.
    pub feature: Name,
    /// Which window of a windowed feature.
    pub window: Option<Span>,
}

/// Why a text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a feature path; write `Entity.feature`, `Entity.relation.feature` or `Entity.feature[7d]`")]
pub struct InvalidPath {
    /// The rejected text.
    pub given: String,
}

impl FeaturePath {
    /// A feature of `root` itself.
    pub fn direct(root: Name, feature: Name) -> Self {
        Self { root, via: Vec::new(), feature, window: None }
    }

    /// Reads the form that `Display` writes.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        let error = || InvalidPath { given: text.to_owned() };
        let (names, window) = match text.strip_suffix(']') {
            Some(rest) => {
                let (names, window) = rest.split_once('[').ok_or_else(error)?;
                (names, Some(Span::parse(window).map_err(|_| error())?))
            }
            None => (text, None),
        };
        let mut names = names.split('.').map(Name::parse).collect::<Result<Vec<_>, _>>().map_err(|_| error())?;
        if names.len() < 2 {
            return Err(error());
        }
        let feature = names.pop().expect("at least two names");
        let root = names.remove(0);
        Ok(Self { root, via: names, feature, window })
    }
}

impl fmt::Display for FeaturePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)?;
        for relation in &self.via {
            write!(f, ".{relation}")?;
        }
        write!(f, ".{}", self.feature)?;
        self.window.map_or(Ok(()), |window| write!(f, "[{window}]"))
    }
}

impl Serialize for FeaturePath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FeaturePath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_writing_and_reading() {
        for text in ["Flight.risk", "Flight.operator.delay_mean[1d]", "A.b.c.d"] {
            assert_eq!(FeaturePath::parse(text).expect("valid").to_string(), text);
        }
        for bad in ["", "Flight", "Flight.", ".risk", "Flight.risk[", "Flight.risk[]", "Flight.risk[1w]", "Flight risk"]
        {
            assert!(FeaturePath::parse(bad).is_err(), "{bad:?}");
        }
    }
}
