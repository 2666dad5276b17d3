//! The promises, what watches them and how they stand, in the Open Security Controls Assessment Language, for whoever
//! assesses with other tools.
//!
//! Three documents refer to one another: [`catalog`] is the promises as controls of our own, [`component_definition`] the
//! software and its checks that implement them, [`assessment_results`] what the checks saw. The same input gives the same
//! bytes and the same UUIDs. [`check_references`] finds references that lead nowhere, which validators of the form let
//! through.

mod catalog;
mod components;
mod references;
mod results;
mod uuid;

use std::collections::BTreeSet;

use creta_model::Instant;
use serde_json::{Map, Value, json};

use crate::Registry;
use crate::evidence::canonical;

pub use catalog::catalog;
pub use components::component_definition;
pub use references::{Dangling, check_references};
pub use results::{OscalError, assessment_results, evidence_path, proof_path};

/// The version of OSCAL that the documents follow.
pub const OSCAL_VERSION: &str = "1.2.1";

/// Name of the catalogue's file, by which the other documents refer to it.
pub const CATALOG_FILE: &str = "catalog.json";
/// Name of the component definition's file.
pub const COMPONENTS_FILE: &str = "component-definition.json";
/// Name of the assessment results' file.
pub const RESULTS_FILE: &str = "assessment-results.json";

/// The namespace of properties that OSCAL does not define.
const NAMESPACE: &str = "https://creta.dev/ns/oscal";

/// Who publishes the documents, and as of when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The organisation that answers for the promises.
    pub organisation: String,
    /// Version of the code.
    pub code_version: String,
    /// When what the documents say last changed.
    pub modified: Instant,
}

/// A document: metadata and body under its name, with a UUID that follows from all of it.
fn document(kind: &str, title: &str, publication: &Publication, roles: &Roles, body: Value) -> Value {
    let organisation = uuid::of(&["party", &publication.organisation]);
    let mut metadata = json!({
        "title": title,
        "last-modified": publication.modified.to_string(),
        "version": publication.code_version,
        "oscal-version": OSCAL_VERSION,
        "parties": [{"uuid": organisation, "type": "organization", "name": publication.organisation}],
    });
    if !roles.0.is_empty() {
        metadata["roles"] = roles.0.iter().map(|role| json!({"id": role, "title": role})).collect();
    }
    let mut content = json!({"metadata": metadata});
    let (Value::Object(content_members), Value::Object(body)) = (&mut content, body) else {
        unreachable!("both are written as objects here");
    };
    content_members.extend(body);
    let bytes = canonical(&content);
    content["uuid"] = uuid::of(&[kind, &String::from_utf8(bytes).expect("JSON is text")]).into();
    json!({ kind: content })
}

/// The roles that a document names, which its metadata has to declare.
struct Roles(BTreeSet<String>);

impl Roles {
    fn none() -> Self {
        Self(BTreeSet::new())
    }

    fn of(registry: &Registry) -> Self {
        Self(registry.commitments().map(|commitment| commitment.owner.clone()).collect())
    }
}

/// A property of ours. OSCAL wants its value in one line without blanks around it.
fn prop(name: &str, value: impl ToString) -> Value {
    json!({"name": name, "ns": NAMESPACE, "value": one_line(&value.to_string())})
}

/// A property of a class of properties: a criterion of a framework.
fn classed(name: &str, class: &str, value: &str) -> Value {
    json!({"name": name, "ns": NAMESPACE, "class": class, "value": one_line(value)})
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
}

/// Text for people, where OSCAL wants some.
fn text(given: &str) -> Value {
    one_line(given).into()
}

/// A file that a document refers to.
fn resource(uuid: &str, title: &str, files: &[(&str, Option<&str>)]) -> Value {
    let links = files.iter().map(|(href, digest)| {
        let media_type = if href.ends_with(".json") { "application/json" } else { "text/plain" };
        let mut link = Map::from_iter([("href".to_owned(), json!(href)), ("media-type".to_owned(), json!(media_type))]);
        if let Some(digest) = digest {
            link.insert("hashes".to_owned(), json!([{"algorithm": "SHA-256", "value": digest}]));
        }
        Value::Object(link)
    });
    json!({"uuid": uuid, "title": title, "rlinks": links.collect::<Vec<_>>()})
}
