//! Queries as they are written in JSON, read no further than it takes to find what was made ready for their shape.

use std::borrow::Cow;
use std::fmt;

use creta_model::FeaturePath;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::request::{Instants, KnownAsOf, opt_instants};

/// The text of a [`QueryRequest`](crate::QueryRequest). What makes its shape stays text; values and instants are read.
///
/// It takes every text that a request is read from and perhaps others: whoever finds nothing ready for it reads the
/// request itself, and says what is wrong with it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenQuery<'a> {
    #[serde(borrow, default)]
    inputs: Inputs<'a>,
    #[serde(borrow, default)]
    outputs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    query: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_age: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "opt_instants")]
    as_of: Option<Instants>,
    #[serde(default)]
    known_as_of: Option<KnownAsOf>,
}

/// Values by the text of their path, in the order of the text.
#[derive(Debug, Default)]
struct Inputs<'a>(Vec<(Cow<'a, str>, Vec<Json>)>);

impl<'a> WrittenQuery<'a> {
    /// Reads a body. The error says no more than that it is not one of a request.
    pub fn read(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// How many rows it asks about at most.
    pub fn rows(&self) -> usize {
        let columns = self.inputs.0.iter().map(|(_, values)| values.len()).max();
        let (as_of, known) = (self.as_of.as_ref().map(Instants::rows), self.known_as_of.as_ref().map(KnownAsOf::rows));
        columns.max(as_of).max(known).unwrap_or(0)
    }

    /// What two queries have in common that are answered by the same plan, as bytes with every border in them.
    pub(crate) fn shape_text(&self) -> Option<Vec<u8>> {
        let parts = [self.outputs, self.query, self.max_age].map(|part| part.map_or("", RawValue::get));
        let names = self.inputs.0.iter().map(|(name, _)| name.as_ref());
        let bytes: usize = names.clone().chain(parts).map(|part| part.len() + 4).sum();
        let mut text = Vec::with_capacity(bytes);
        for part in parts.into_iter().chain(names) {
            text.extend(u32::try_from(part.len()).ok()?.to_le_bytes());
            text.extend(part.as_bytes());
        }
        Some(text)
    }

    /// How many inputs it gives, repeated ones included.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs.0.len()
    }

    /// Which of its inputs is the one at a path.
    pub(crate) fn position_of(&self, path: &FeaturePath) -> Option<usize> {
        self.inputs.0.iter().position(|(name, _)| FeaturePath::parse(name).as_ref() == Ok(path))
    }

    pub(crate) fn values(&self, input: usize) -> &[Json] {
        &self.inputs.0[input].1
    }

    pub(crate) fn as_of(&self) -> Option<&Instants> {
        self.as_of.as_ref()
    }

    pub(crate) fn known_as_of(&self) -> Option<&KnownAsOf> {
        self.known_as_of.as_ref()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Inputs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Inputs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of lists")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut inputs = Vec::with_capacity(1);
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    inputs.push((name.0, map.next_value()?));
                }
                Ok(Inputs(inputs))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A text that is borrowed where it stands as it is.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> WrittenQuery<'_> {
        WrittenQuery::read(text.as_bytes()).expect("a request")
    }

    #[test]
    fn values_and_instants_are_no_part_of_a_shape_and_everything_else_is() {
        let shape = |text: &str| read(text).shape_text().expect("short");
        let base = shape(r#"{"inputs": {"A.k": [1]}, "outputs": ["A.b"]}"#);
        for same in [
            r#"{"inputs": {"A.k": [2, 3]}, "outputs": ["A.b"]}"#,
            r#"{"outputs": ["A.b"], "as_of": "2026-03-01T00:00:00Z", "inputs": {"A.k": [1]}}"#,
            r#"{"outputs": ["A.b"], "known_as_of": "latest", "inputs": {"A.k": []}}"#,
        ] {
            assert_eq!(shape(same), base, "{same}");
        }
        for other in [
            r#"{"inputs": {"A.l": [1]}, "outputs": ["A.b"]}"#,
            r#"{"inputs": {"A.k": [1], "A.l": [1]}, "outputs": ["A.b"]}"#,
            r#"{"inputs": {"A.k": [1]}, "outputs": ["A.b", "A.c"]}"#,
            r#"{"inputs": {"A.k": [1]}, "outputs": ["A.b"], "max_age": {"A.b": "1d"}}"#,
            r#"{"inputs": {"A.k": [1]}, "query": ["A.b"]}"#,
            r#"{"inputs": {"A.k": [1]}}"#,
            r#"{"outputs": ["A.b"]}"#,
        ] {
            assert_ne!(shape(other), base, "{other}");
        }
    }

    #[test]
    fn rows_are_counted_as_of_the_request() {
        assert_eq!(read("{}").rows(), 0);
        assert_eq!(read(r#"{"inputs": {"A.k": [1, 2], "A.l": [1]}}"#).rows(), 2);
        assert_eq!(read(r#"{"as_of": ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"]}"#).rows(), 2);
        assert_eq!(read(r#"{"known_as_of": "latest", "inputs": {"A.k": [1]}}"#).rows(), 1);
    }

    #[test]
    fn what_is_no_request_is_none() {
        for bad in ["", "{\"inputs\": 1}", "{\"inputs\": {\"A.k\": 1}}", "{\"more\": 1}", "{\"as_of\": 1}"] {
            assert!(WrittenQuery::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
