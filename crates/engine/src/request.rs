//! Requests and answers as data: the same JSON over HTTP, on the command line and in the embedded engine.

use std::collections::BTreeMap;

use creta_model::{Arrival, EventTime, FeaturePath, Instant, Name, Span};
use serde::{Deserialize, Serialize};

use crate::selecting::Sample;

/// One instant for all rows, or one for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Instants {
    /// The same for all rows.
    One(Instant),
    /// One for each row, in order.
    Each(Vec<Instant>),
}

/// Until when facts may have arrived to count (rule S1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownAsOf {
    /// Restated history: everything known today.
    Latest,
    /// Known by these instants.
    At(Instants),
}

impl Instants {
    /// How many rows they are for; one for all counts as one.
    pub fn rows(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Each(list) => list.len(),
        }
    }
}

impl KnownAsOf {
    /// As [`Instants::rows`]; none where everything counts.
    pub fn rows(&self) -> usize {
        match self {
            Self::Latest => 0,
            Self::At(at) => at.rows(),
        }
    }
}

impl QueryRequest {
    /// How many rows it asks about at most.
    pub fn rows(&self) -> usize {
        let columns = self.inputs.values().map(Vec::len).max();
        let (as_of, known) = (self.as_of.as_ref().map(Instants::rows), self.known_as_of.as_ref().map(KnownAsOf::rows));
        columns.max(as_of).max(known).unwrap_or(0)
    }
}

impl Serialize for KnownAsOf {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Latest => serializer.serialize_str("latest"),
            Self::At(instants) => instants.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for KnownAsOf {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = serde_json::Value::deserialize(deserializer)?;
        if json.as_str() == Some("latest") {
            return Ok(Self::Latest);
        }
        parse_instants(json).map(Self::At).map_err(serde::de::Error::custom)
    }
}

/// Reads an instant or a list of instants; the message of the first bad one says what is wrong with it.
fn parse_instants(json: serde_json::Value) -> Result<Instants, String> {
    let one = |json: &serde_json::Value| match json.as_str() {
        Some(text) => Instant::parse(text).map_err(|error| error.to_string()),
        None => Err("an instant is text, for example `2013-07-01T12:00:00Z`".to_owned()),
    };
    match json {
        serde_json::Value::Array(items) => items.iter().map(one).collect::<Result<_, _>>().map(Instants::Each),
        other => one(&other).map(Instants::One),
    }
}

pub(crate) fn opt_instants<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Instants>, D::Error> {
    match Option::<serde_json::Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(json) => parse_instants(json).map(Some).map_err(serde::de::Error::custom),
    }
}

/// What are these features at these instants, for these keys?
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// Known values by path, one for each row; all lists have the same length.
    #[serde(default)]
    pub inputs: BTreeMap<FeaturePath, Vec<serde_json::Value>>,
    /// Features asked for, answered in this order. Left out when `query` names them.
    #[serde(default)]
    pub outputs: Vec<FeaturePath>,
    /// A named query: `name` or `name@version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// When; by default now.
    #[serde(default, deserialize_with = "opt_instants", skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Instants>,
    /// What was known; by default at `as_of`, and no later than the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_as_of: Option<KnownAsOf>,
    /// Tighter limits on the age of stored values than the features declare (rule S5).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub max_age: BTreeMap<FeaturePath, Span>,
}

/// Answer to a [`QueryRequest`]: columnar, in the order asked (rules S21, S35).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryAnswer {
    /// How many rows.
    pub rows: usize,
    /// The instant of each row.
    pub as_of: Vec<Instant>,
    /// Where instants lie after the present and `known_as_of` was left out: the present. Rows of later instants were
    /// answered by what had arrived until then, so this as `known_as_of` gives the same again, and in a training set too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_to: Option<Instant>,
    /// One per feature asked for.
    pub columns: Vec<QueryColumn>,
    /// Fingerprint of the plan that ran.
    pub plan: String,
}

/// One feature of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryColumn {
    /// As it was asked for.
    pub feature: FeaturePath,
    /// Type of its values in Python's words.
    #[serde(rename = "type")]
    pub ty: String,
    /// One per row; null where there is no value.
    pub values: Vec<serde_json::Value>,
    /// Row to state, only where a cell is not a value (rule S12).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub states: BTreeMap<usize, creta_model::CellState>,
    /// Age of stored values in microseconds at `as_of`; absent for computed features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ages_us: Option<Vec<Option<i64>>>,
    /// `facts`, `given`, `window`, `expression` or `resolver:<name>`.
    pub source: String,
    /// Row to error, only where the state is `error`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<usize, creta_model::CellError>,
}

/// Which features to put beside the rows of a spine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSetRequest {
    /// Features asked for, appended in this order.
    pub features: Vec<FeaturePath>,
    /// Column of the spine that holds each row's instant.
    pub as_of: String,
    /// What was known: a column of the spine, or `latest`; by default at `as_of`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_as_of: Option<KnownAsOfColumn>,
    /// Path to column of the spine. Columns already named by a path need no entry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<FeaturePath, String>,
    /// Whether to add a `name__state` column beside each feature.
    #[serde(default)]
    pub states: bool,
    /// Tighter limits on the age of stored values than the features declare (rule S5).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub max_age: BTreeMap<FeaturePath, Span>,
    /// Rows of the spine to look at; all of them without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// Features without whose value a row is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<FeaturePath>,
}

impl TrainingSetRequest {
    /// Until when facts count that arrived (rule S1), in a word: `as_of`, `latest`, or `column` for one of the spine's.
    pub fn known_until(&self) -> &'static str {
        match &self.known_as_of {
            None => "as_of",
            Some(KnownAsOfColumn::Latest) => "latest",
            Some(KnownAsOfColumn::Column(_)) => "column",
        }
    }
}

/// Until when facts may have arrived, for the rows of a spine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownAsOfColumn {
    /// Restated history: everything known today.
    Latest,
    /// A column of instants.
    Column(String),
}

/// What a load of facts is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestRequest {
    /// Entity the facts are about.
    pub entity: Name,
    /// When they were true.
    pub event_time: EventTime,
    /// When they were known; without it they are known now, which is refused for history (rule S1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<Arrival>,
    /// Column whose equal values mark versions of one event (rule S8); by default the entity's event id feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Name of the source, part of the order of equal facts (rule S7); by default `api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Feature to column, where the names differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<Name, String>,
    /// IANA zone of naive datetimes; without it they are refused (rule S15).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Bool column that marks retractions: empty versions of their events (rules S8, S22).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retract: Option<String>,
}

/// What became of a load.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestReport {
    /// Rows given.
    pub rows: u64,
    /// Rows stored; visible online unless a warning says that they are not yet.
    pub accepted: u64,
    /// Rows from the future, stored apart and never served (rule S18).
    pub quarantined: u64,
    /// Rows whose times were finer than a microsecond and were floored (rule S17).
    pub floored: u64,
    /// Position of the load in the scope's log of facts.
    pub position: u64,
    /// Columns of the load that are no feature and were not stored.
    pub ignored_columns: Vec<String>,
    /// For people.
    pub warnings: Vec<String>,
}

/// How much to compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyOptions {
    /// Cells to compare at least, as far as there are facts.
    pub samples: u64,
    /// Which rows and instants are drawn.
    pub seed: u64,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { samples: 10_000, seed: 1 }
    }
}

/// Outcome of comparing online with offline answers. Never holds a feature value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Cells compared.
    pub compared: u64,
    /// Cells that differed.
    pub differences: u64,
    /// Whether the fault planted in a copy beforehand was noticed; a run in which it was not proves nothing.
    pub planted_fault_seen: bool,
    /// Facts replayed in arrival order.
    pub facts: u64,
    /// Rows asked.
    pub rows: u64,
    /// Features compared.
    pub features: Vec<FeaturePath>,
    /// The first differences: feature, key digest, instant and the two states.
    pub examples: Vec<String>,
    /// Wall time.
    pub seconds: f64,
}
