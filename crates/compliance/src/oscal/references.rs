//! References between and within documents, and whether each leads somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

/// A reference that leads nowhere, or a name that two things have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dangling {
    /// The document's file.
    pub file: String,
    /// Where in it, as a JSON pointer (RFC 6901).
    pub at: String,
    /// What is wrong: `refers to the control ...`.
    pub what: String,
}

impl fmt::Display for Dangling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}: {}", self.file, self.at, self.what)
    }
}

/// Checks every reference of documents that belong together: UUIDs, controls and their parts, roles, resources, files.
/// `documents` are by file name; `files` are the others that lie beside them, such as `evidence/12.json`. All that is
/// wrong is listed, by document and place.
///
/// A UUID stands for one thing: none is given twice within a document. A reference to a UUID may lead into any of the
/// documents; `#...` leads to a resource of the same document; other addresses lead to a file, unless they name a host.
pub fn check_references(documents: &BTreeMap<String, &Value>, files: &BTreeSet<String>) -> Result<(), Vec<Dangling>> {
    let mut known = Known::default();
    let mut dangling = Vec::new();
    for (file, document) in documents {
        let mut own = Own { uuids: BTreeSet::new(), dangling: &mut dangling, file };
        own.collect("", document, &mut known);
        known.files.insert(file);
    }
    known.files.extend(files.iter().map(String::as_str));
    for (file, document) in documents {
        let mut local = Local::default();
        local.collect(document);
        walk("", document, &mut |at, key, value| {
            if let Some(what) = leads_nowhere(key, value, &known, &local) {
                dangling.push(Dangling { file: file.clone(), at: at.to_owned(), what });
            }
        });
    }
    dangling.sort();
    if dangling.is_empty() { Ok(()) } else { Err(dangling) }
}

/// What all documents together have.
#[derive(Default)]
struct Known<'a> {
    uuids: BTreeSet<&'a str>,
    controls: BTreeSet<&'a str>,
    parts: BTreeSet<&'a str>,
    files: BTreeSet<&'a str>,
}

struct Own<'a, 'd> {
    uuids: BTreeSet<&'a str>,
    dangling: &'d mut Vec<Dangling>,
    file: &'a str,
}

impl<'a> Own<'a, '_> {
    fn collect(&mut self, at: &str, value: &'a Value, known: &mut Known<'a>) {
        match value {
            Value::Object(members) => {
                if let Some(uuid) = members.get("uuid").and_then(Value::as_str) {
                    known.uuids.insert(uuid);
                    if !self.uuids.insert(uuid) {
                        self.twice(at, "has a UUID that something else in the document has");
                    }
                }
                for (name, known) in [("controls", &mut known.controls), ("parts", &mut known.parts)] {
                    for (index, thing) in members.get(name).and_then(Value::as_array).into_iter().flatten().enumerate()
                    {
                        let id = thing.get("id").and_then(Value::as_str);
                        if id.is_some_and(|id| !known.insert(id)) {
                            self.twice(&format!("{at}/{name}/{index}"), "has an id that another control or part has");
                        }
                    }
                }
                for (name, value) in members {
                    self.collect(&format!("{at}/{name}"), value, known);
                }
            }
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    self.collect(&format!("{at}/{index}"), value, known);
                }
            }
            _ => {}
        }
    }

    fn twice(&mut self, at: &str, what: &str) {
        self.dangling.push(Dangling { file: self.file.to_owned(), at: at.to_owned(), what: what.to_owned() });
    }
}

/// What only references of the same document can lead to.
#[derive(Default)]
struct Local<'a> {
    resources: BTreeSet<&'a str>,
    roles: BTreeSet<&'a str>,
}

impl<'a> Local<'a> {
    fn collect(&mut self, document: &'a Value) {
        for content in document.as_object().into_iter().flat_map(|members| members.values()) {
            let list = |pointer: &str| content.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
            let text = |name: &'static str| move |thing: &'a Value| thing.get(name).and_then(Value::as_str);
            self.resources.extend(list("/back-matter/resources").filter_map(text("uuid")));
            self.roles.extend(list("/metadata/roles").filter_map(text("id")));
        }
    }
}

fn walk<'a>(at: &str, value: &'a Value, visit: &mut impl FnMut(&str, &'a str, &'a str)) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let at = format!("{at}/{name}");
                match value {
                    Value::String(text) => visit(&at, name, text),
                    _ => walk(&at, value, visit),
                }
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                walk(&format!("{at}/{index}"), value, visit);
            }
        }
        _ => {}
    }
}

fn leads_nowhere(key: &str, value: &str, known: &Known<'_>, local: &Local<'_>) -> Option<String> {
    let lacking =
        |there: bool, what: &str| (!there).then(|| format!("refers to the {what} `{value}`, which is not there"));
    match key {
        "control-id" => lacking(known.controls.contains(value), "control"),
        "target-id" | "statement-id" | "objective-id" => lacking(known.parts.contains(value), "part of a control"),
        "role-id" => lacking(local.roles.contains(value), "role"),
        "href" | "source" => match value.strip_prefix('#') {
            Some(resource) => lacking(local.resources.contains(resource), "resource"),
            None if value.contains("://") => None,
            None => lacking(known.files.contains(value), "file"),
        },
        _ if key.ends_with("-uuid") => lacking(known.uuids.contains(value), "thing with the UUID"),
        _ => None,
    }
}
