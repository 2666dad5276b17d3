//! A public document that promises things, as a view on the commitments in the document's own order.

use serde::{Deserialize, Serialize};

use super::CommitmentId;

/// The form of files that hold a document.
pub(super) const DOCUMENT_FORMAT: &str = "creta.document/1";

/// A public document, section by section. Each id with one of its prefixes stands in it exactly once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The form: `creta.document/1`.
    pub format: String,
    /// Its name in addresses: `chalk`.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its date as `2022-02-03`, where it bears one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Prefixes of the ids that it holds all of.
    pub covers: Vec<String>,
    /// Its sections in order.
    #[serde(rename = "section")]
    pub sections: Vec<Section>,
}

/// A section of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// The heading of the part it belongs to, where the document has such a level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Its heading.
    pub heading: String,
    /// Its promises in order.
    pub lines: Vec<Line>,
}

/// One promise, where it stands in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The commitment; it may be one that another row carries.
    pub id: CommitmentId,
    /// The promise, in a few words of ours.
    pub says: String,
}

impl Document {
    /// All lines in order.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.sections.iter().flat_map(|section| &section.lines)
    }
}
