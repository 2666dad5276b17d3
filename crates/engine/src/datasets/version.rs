//! What is written down about a training set with a name: how it was made, and out of what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use creta_iam::Level;
use creta_model::{FeatureId, FeaturePath, Instant, Problem, Type};
use creta_store::TablePart;
use serde::{Deserialize, Serialize};

use crate::request::TrainingSetRequest;

/// Version of [`DatasetVersion`].
pub(super) const FORMAT: &str = "creta.dataset/1";

/// Longest name, in characters.
const NAME_MAX: usize = 64;

/// What a dataset is called: lowercase letters, digits, `-` and `_`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetName(String);

impl DatasetName {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if begins && text.len() <= NAME_MAX && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(Problem::new("dataset/bad-name", "this cannot be the name of a dataset").with_help(format!(
            "use 1 to {NAME_MAX} lowercase letters, digits, `-` and `_`, beginning with a letter: `delays-2013`"
        )))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for DatasetName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|problem| problem.message)
    }
}

impl From<DatasetName> for String {
    fn from(name: DatasetName) -> String {
        name.0
    }
}

/// A version of a dataset: `delays@3`, or `delays` for its newest that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetRef {
    /// Which dataset.
    pub name: DatasetName,
    /// Which version, counted from 1; `None` for the newest.
    pub version: Option<u32>,
}

impl DatasetRef {
    /// Reads `name` or `name@version`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let (name, version) = match text.split_once('@') {
            None => (text, None),
            Some((name, version)) => (name, Some(version)),
        };
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0 && *text == number.to_string());
        let version = version.map(|text| {
            number(text).ok_or_else(|| {
                Problem::new("dataset/bad-name", "a version of a dataset is a number from 1 on")
                    .with_help("write for example `delays@3`; without `@` it is the newest version")
            })
        });
        Ok(Self { name: DatasetName::parse(name)?, version: version.transpose()? })
    }
}

impl fmt::Display for DatasetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            None => write!(f, "{}", self.name),
            Some(version) => write!(f, "{}@{version}", self.name),
        }
    }
}

/// Where a column of a dataset comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnKind {
    /// The spine, and it gave the values of a feature.
    Given,
    /// The spine, and it is no feature: an instant, a label.
    Spine,
    /// A feature that was asked for.
    Feature,
}

/// A feature behind a column, as it was when the dataset was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureMade {
    /// How it was asked for.
    pub path: FeaturePath,
    /// `Entity.feature`.
    pub feature: String,
    /// Its stable number.
    pub id: Option<FeatureId>,
    /// Of its definition (rule S28).
    pub fingerprint: Option<String>,
    /// Those it carried.
    pub tags: BTreeSet<String>,
    /// What it was computed from, at however many removes: tags that these get later count for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<FeatureRead>,
}

/// A feature that another one was computed from, as it was when the dataset was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureRead {
    /// `Entity.feature`.
    pub feature: String,
    /// Its stable number.
    pub id: Option<FeatureId>,
    /// Those it carried.
    pub tags: BTreeSet<String>,
}

/// One column of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetColumn {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub kind: ColumnKind,
    /// What it holds, in Python's words for features and in Arrow's for others.
    #[serde(rename = "type")]
    pub ty: String,
    /// The type of a feature's values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_type: Option<Type>,
    /// The features that it holds values of: one, or for a column of the spine those that it gave.
    pub features: Vec<FeatureMade>,
    /// What its maker got of it.
    pub level: Level,
    /// Tags of a column of the spine that is no feature, as they were when the dataset was made.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Whether facts carry the feature, rather than something computing it.
    #[serde(default)]
    pub stored: bool,
    /// Whether values of the spine are computed into it.
    #[serde(default)]
    pub brought: bool,
    /// Cells without a value, by state; `null` alone for columns of the spine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub absent: BTreeMap<String, u64>,
    /// SHA-256 of its cells in order.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
}

/// A part of the content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetPart {
    /// Its rows.
    pub rows: u64,
    /// The sealed part.
    pub part: TablePart,
}

/// Whether the content of a version is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum DatasetState {
    /// It is.
    Kept,
    /// It was removed; what was written down about it stays.
    Retired {
        /// Who removed it.
        by: String,
        /// When.
        at: Instant,
    },
}

/// One version of a dataset: all that is known about it but the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetVersion {
    /// [`FORMAT`].
    pub format: String,
    /// What the dataset is called now.
    pub name: DatasetName,
    /// Counts from 1.
    pub version: u32,
    /// Names the dataset whatever it is called.
    pub dataset: String,
    /// Whether its content is there.
    pub state: DatasetState,
    /// When it was made.
    pub made: Instant,
    /// Who made it.
    pub made_by: String,
    /// Entry of the log with the permit to build it (rule S30).
    pub entry: Option<u64>,
    /// What was asked for.
    pub request: TrainingSetRequest,
    /// Until when facts counted that arrived (rule S1): `as_of`, `latest`, or a column of the spine.
    pub known_as_of: String,
    /// Of the definitions that answered.
    pub revision: u64,
    /// Digest of their bundle.
    pub bundle: String,
    /// Fingerprint of the plan.
    pub plan: String,
    /// Fingerprint of every feature that anything was computed from, by name (rule S28).
    pub definitions: BTreeMap<String, String>,
    /// Position in the log of facts: those after it did not count.
    pub position: u64,
    /// Facts there were of each entity that was read, retractions among them. For whom no row rule binds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, u64>,
    /// Rows of the spine.
    pub spine_rows: u64,
    /// Times of the spine that were finer than a microsecond and floored (rule S17).
    #[serde(default)]
    pub floored: u64,
    /// Features of which the maker got values, where columns of the spine carry all their tags: those that they get later too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub spine_seen: BTreeSet<FeatureId>,
    /// SHA-256 over all columns of the spine.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub spine_digest: String,
    /// Rows of the content. Not told to everybody where a required feature chose them: it says how many have a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// In order.
    pub columns: Vec<DatasetColumn>,
    /// SHA-256 over all columns: the same request on the same facts gives the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Names the content among the sealed tables.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub table: String,
    /// The content, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<DatasetPart>,
}

impl DatasetVersion {
    /// `name@version`.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// Bytes of its content.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.part.bytes).sum()
    }

    /// Without all that says something of values: counts of facts, of absent cells, of rows that a feature chose, and digests,
    /// by which a guess could be tried. And without the places of the content.
    #[must_use]
    pub fn without_contents(mut self) -> Self {
        self.digest = String::new();
        self.spine_digest = String::new();
        self.table = String::new();
        self.parts = Vec::new();
        self.facts = BTreeMap::new();
        self.spine_seen = BTreeSet::new();
        self.rows = self.rows.filter(|_| self.request.required.is_empty());
        for column in &mut self.columns {
            column.digest = String::new();
            column.absent = BTreeMap::new();
        }
        self
    }
}

/// A dataset among others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetEntry {
    /// What it is called.
    pub name: DatasetName,
    /// Its versions, the newest first.
    pub versions: Vec<VersionEntry>,
}

/// A version among others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionEntry {
    /// Counts from 1.
    pub version: u32,
    /// When it was made.
    pub made: Instant,
    /// Who made it.
    pub made_by: String,
    /// How many rows; not told where a required feature chose them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// How many features.
    pub features: usize,
    /// Whether its content is there.
    pub state: DatasetState,
}

impl VersionEntry {
    pub(super) fn of(version: &DatasetVersion) -> Self {
        let is_feature = |column: &&DatasetColumn| column.kind == ColumnKind::Feature;
        Self {
            version: version.version,
            made: version.made,
            made_by: version.made_by.clone(),
            rows: version.rows.filter(|_| version.request.required.is_empty()),
            features: version.columns.iter().filter(is_feature).count(),
            state: version.state.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_read_and_others_refused() {
        let read = |text| DatasetRef::parse(text).map(|read| (read.name.to_string(), read.version));
        assert_eq!(read("delays").expect("a name"), ("delays".to_owned(), None));
        assert_eq!(read("delays-2013_b@12").expect("a version"), ("delays-2013_b".to_owned(), Some(12)));
        assert_eq!(DatasetRef::parse("a@3").expect("a version").to_string(), "a@3");
        let long = "a".repeat(NAME_MAX + 1);
        for bad in [
            "",
            "@1",
            "a@",
            "a@0",
            "a@-1",
            "a@+1",
            "a@01",
            "a@1@2",
            "a@4294967296",
            "A",
            "1a",
            "a b",
            "../a",
            "a/b",
            "é",
            &long,
        ] {
            assert_eq!(DatasetRef::parse(bad).expect_err(bad).code, "dataset/bad-name", "{bad}");
        }
    }
}
