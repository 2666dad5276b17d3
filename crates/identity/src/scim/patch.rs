//! Changes to a resource (RFC 7644 §3.5.2): all of them, or none.

use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, PatchPath, ValFilter};
use serde_json::{Map, Value};

use super::filter::matches_value;
use super::schema::{self, Attribute};
use super::{Kind, ScimError};

const OPERATIONS_MAX: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Remove,
    Replace,
}

/// Applies a `PatchOp` message to what is kept of a resource.
pub(super) fn apply(kind: Kind, kept: &mut Map<String, Value>, body: &Value) -> Result<(), ScimError> {
    let urns = member(body, "schemas").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !urns.iter().any(|urn| urn.as_str() == Some(scim_v2::schema_urns::PATCH_OP)) {
        return Err(ScimError::syntax("`schemas` does not name the message of a patch"));
    }
    let operations = member(body, "Operations").and_then(Value::as_array);
    let operations = operations.ok_or_else(|| ScimError::syntax("`Operations` is missing"))?;
    if operations.is_empty() || operations.len() > OPERATIONS_MAX {
        return Err(ScimError::syntax("`Operations` holds none or too many"));
    }
    let mut changed = kept.clone();
    for operation in operations {
        let op = member(operation, "op").and_then(Value::as_str).unwrap_or_default();
        let op = match op.to_ascii_lowercase().as_str() {
            "add" => Operation::Add,
            "remove" => Operation::Remove,
            "replace" => Operation::Replace,
            _ => return Err(ScimError::syntax("`op` is neither `add` nor `remove` nor `replace`")),
        };
        let value = member(operation, "value").unwrap_or(&Value::Null);
        match member(operation, "path") {
            Some(path) => at(kind, &mut changed, op, &parse(path.as_str().unwrap_or_default())?, value)?,
            None if op == Operation::Remove => return Err(no_target("`path` is required to remove something")),
            None => {
                let members = value.as_object();
                let members = members.ok_or_else(|| ScimError::value("without `path`, `value` has to be an object"))?;
                for (name, value) in members {
                    // Extensions come under their URN; we have none, so they are passed over like unknown attributes.
                    if let Ok(path) = parse(name) {
                        at(kind, &mut changed, op, &path, value)?;
                    }
                }
            }
        }
    }
    *kept = changed;
    Ok(())
}

fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn parse(path: &str) -> Result<PatchPath, ScimError> {
    let refuse = || ScimError::new(400, Some("invalidPath"), "`path` cannot be read");
    if path.len() > 1_024 { Err(refuse()) } else { path.parse().map_err(|_| refuse()) }
}

fn no_target(detail: &str) -> ScimError {
    ScimError::new(400, Some("noTarget"), detail)
}

fn mutability(attribute: &Attribute) -> ScimError {
    ScimError::new(400, Some("mutability"), format!("`{}` cannot be changed", attribute.name))
}

fn at(
    kind: Kind,
    kept: &mut Map<String, Value>,
    op: Operation,
    path: &PatchPath,
    value: &Value,
) -> Result<(), ScimError> {
    let attr = match path {
        PatchPath::Attr(attr) => attr,
        PatchPath::Value(path) => &path.attr,
    };
    let Some(attribute) = known(kind, attr) else {
        return Ok(());
    };
    if attribute.read_only {
        return Err(mutability(attribute));
    }
    match path {
        PatchPath::Attr(AttrPath { sub_attr: None, .. }) => whole(kept, attribute, op, value),
        PatchPath::Attr(AttrPath { sub_attr: Some(sub), .. }) => part(kept, attribute, op, sub, value),
        PatchPath::Value(path) => some(kept, attribute, op, &path.filter, path.sub_attr.as_deref(), value),
    }
}

/// The attribute of a path; none for what we do not keep, and for other schemas.
fn known(kind: Kind, path: &AttrPath) -> Option<&'static Attribute> {
    let ours = path.uri.as_ref().is_none_or(|uri| uri.eq_ignore_ascii_case(kind.urn()));
    schema::find(kind, &path.name).filter(|_| ours)
}

/// A whole attribute.
fn whole(
    kept: &mut Map<String, Value>,
    attribute: &'static Attribute,
    op: Operation,
    value: &Value,
) -> Result<(), ScimError> {
    if op == Operation::Remove {
        // With a value, some directories mean only these values of a multi-valued attribute.
        if attribute.many && !value.is_null() {
            let gone = attribute.read(value)?.unwrap_or(Value::Null);
            let gone = gone.as_array().map(Vec::as_slice).unwrap_or_default().to_vec();
            return retain(kept, attribute, |value| !gone.iter().any(|gone| gone["value"] == value["value"]));
        }
        kept.remove(attribute.name);
        return Ok(());
    }
    let Some(read) = attribute.read(value)? else {
        if op == Operation::Replace {
            kept.remove(attribute.name);
        }
        return Ok(());
    };
    match (kept.get_mut(attribute.name), read) {
        (Some(Value::Array(values)), Value::Array(more)) if op == Operation::Add => {
            for value in more {
                add_to(values, attribute, value);
            }
        }
        (Some(Value::Object(members)), Value::Object(more)) if attribute.sub("value").is_none() => members.extend(more),
        (_, read) => {
            kept.insert(attribute.name.to_owned(), read);
        }
    }
    Ok(())
}

/// Adds a value once; a new primary one takes that from the others (RFC 7644 §3.5.2.1).
fn add_to(values: &mut Vec<Value>, attribute: &Attribute, value: Value) {
    let same = |known: &Value| {
        if attribute.name == "members" { known["value"] == value["value"] } else { *known == value }
    };
    if values.iter().any(same) {
        return;
    }
    if value["primary"] == Value::Bool(true) {
        unset_primary(values);
    }
    values.push(value);
}

fn unset_primary(values: &mut [Value]) {
    for value in values {
        if value["primary"] == Value::Bool(true) {
            value["primary"] = Value::Bool(false);
        }
    }
}

/// One part of a complex attribute: `name.familyName`.
fn part(
    kept: &mut Map<String, Value>,
    attribute: &'static Attribute,
    op: Operation,
    sub: &str,
    value: &Value,
) -> Result<(), ScimError> {
    let Some(sub) = attribute.sub(sub) else {
        return Ok(());
    };
    if sub.read_only {
        return Err(mutability(sub));
    }
    let read = if op == Operation::Remove { None } else { sub.read(value)? };
    if attribute.many {
        let Some(Value::Array(values)) = kept.get_mut(attribute.name) else {
            return Err(no_target("there is no value to change"));
        };
        return values.iter_mut().try_for_each(|value| set(value, sub, read.clone()));
    }
    let mut whole = kept.remove(attribute.name).unwrap_or_else(|| Value::Object(Map::new()));
    set(&mut whole, sub, read)?;
    if whole.as_object().is_some_and(|members| !members.is_empty()) {
        kept.insert(attribute.name.to_owned(), whole);
    }
    Ok(())
}

fn set(value: &mut Value, sub: &Attribute, read: Option<Value>) -> Result<(), ScimError> {
    let members = value.as_object_mut().ok_or_else(|| no_target("there is no value to change"))?;
    match read {
        Some(read) => {
            members.insert(sub.name.to_owned(), read);
        }
        None if sub.required => return Err(mutability(sub)),
        None => {
            members.remove(sub.name);
        }
    }
    Ok(())
}

/// The values that a filter means: `members[value eq "17"]`, `emails[type eq "work"].value`.
fn some(
    kept: &mut Map<String, Value>,
    attribute: &'static Attribute,
    op: Operation,
    filter: &ValFilter,
    sub: Option<&str>,
    value: &Value,
) -> Result<(), ScimError> {
    if !attribute.many {
        return Err(ScimError::new(400, Some("invalidPath"), format!("`{}` has one value only", attribute.name)));
    }
    let sub = match sub {
        None => None,
        Some(name) => match attribute.sub(name) {
            None => return Ok(()),
            Some(sub) if sub.read_only => return Err(mutability(sub)),
            known => known,
        },
    };
    if op == Operation::Remove && sub.is_none() {
        return retain(kept, attribute, |value| !matches_value(attribute, filter, value));
    }
    let read = match (op, sub) {
        (Operation::Remove, _) => None,
        (_, Some(sub)) => sub.read(value)?,
        (_, None) => attribute.read_one(value)?,
    };
    let entry = kept.entry(attribute.name).or_insert_with(|| Value::Array(Vec::new()));
    let values = entry.as_array_mut().ok_or_else(|| no_target("there is no value to change"))?;
    if !values.iter().any(|value| matches_value(attribute, filter, value)) {
        // Adding what is not there yet: the filter says what the new value is.
        let mut new = match op {
            Operation::Add => from_filter(attribute, filter),
            _ => None,
        }
        .ok_or_else(|| no_target("no value is meant by the filter"))?;
        match sub {
            Some(sub) => set(&mut new, sub, read)?,
            None => merge(&mut new, read),
        }
        add_to(values, attribute, new);
        return Ok(());
    }
    if read.as_ref().is_some_and(|read| *read == Value::Bool(true) && sub.is_some_and(|sub| sub.name == "primary"))
        || read.as_ref().is_some_and(|read| read["primary"] == Value::Bool(true))
    {
        unset_primary(values);
    }
    for value in values.iter_mut().filter(|value| matches_value(attribute, filter, value)) {
        match sub {
            Some(sub) => set(value, sub, read.clone())?,
            None if op == Operation::Replace => *value = read.clone().ok_or_else(|| no_target("there is no value"))?,
            None => merge(value, read.clone()),
        }
    }
    Ok(())
}

fn merge(value: &mut Value, more: Option<Value>) {
    if let (Some(members), Some(Value::Object(more))) = (value.as_object_mut(), more) {
        members.extend(more);
    }
}

/// `type eq "work"` as a value: `{"type": "work"}`.
fn from_filter(attribute: &'static Attribute, filter: &ValFilter) -> Option<Value> {
    let ValFilter::Attr(AttrExp::Comparison(path, CompareOp::Eq, CompValue::Str(text))) = filter else {
        return None;
    };
    let sub = attribute.sub(&path.name).filter(|sub| !sub.read_only)?;
    Some(Value::Object(Map::from_iter([(sub.name.to_owned(), Value::String(text.clone()))])))
}

fn retain(
    kept: &mut Map<String, Value>,
    attribute: &Attribute,
    keep: impl Fn(&Value) -> bool,
) -> Result<(), ScimError> {
    if let Some(Value::Array(values)) = kept.get_mut(attribute.name) {
        values.retain(keep);
        if values.is_empty() {
            kept.remove(attribute.name);
        }
    }
    Ok(())
}
