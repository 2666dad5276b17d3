//! The attributes that we keep, as a table: what is read, compared, changed and described follows from it.

use serde_json::{Map, Value};

use super::{Kind, ScimError};

/// Longest text of one attribute.
const TEXT_BYTES_MAX: usize = 1_024;
/// Most values of one attribute; a group may have this many members.
const VALUES_MAX: usize = 50_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Boolean,
    Reference,
    Complex(&'static [Attribute]),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) many: bool,
    pub(super) required: bool,
    pub(super) case_exact: bool,
    pub(super) read_only: bool,
    /// Said once, with the value that it is a part of. One that is read-only as well follows from the rest of the value,
    /// and whatever is said about it is passed over.
    pub(super) immutable: bool,
    pub(super) unique: bool,
    pub(super) about: &'static str,
}

const fn text(name: &'static str, about: &'static str) -> Attribute {
    Attribute {
        name,
        shape: Shape::Text,
        many: false,
        required: false,
        case_exact: false,
        read_only: false,
        immutable: false,
        unique: false,
        about,
    }
}

const NAME: &[Attribute] =
    &[text("formatted", "The whole name."), text("familyName", "Family name."), text("givenName", "Given name.")];
const EMAIL: &[Attribute] = &[
    text("value", "The address. Shown to people; decides nothing."),
    text("display", "How it is shown."),
    text("type", "Such as work."),
    Attribute { shape: Shape::Boolean, ..text("primary", "Whether it is the one to write to.") },
];
const MEMBER: &[Attribute] = &[
    Attribute { case_exact: true, required: true, immutable: true, ..text("value", "Id of a user or group.") },
    Attribute {
        shape: Shape::Reference,
        read_only: true,
        immutable: true,
        case_exact: true,
        ..text("$ref", "Its address.")
    },
    Attribute { read_only: true, immutable: true, ..text("type", "User or Group.") },
];
const GROUP_OF: &[Attribute] = &[
    Attribute { read_only: true, case_exact: true, ..text("value", "Id of the group.") },
    Attribute { read_only: true, case_exact: true, shape: Shape::Reference, ..text("$ref", "Its address.") },
    Attribute { read_only: true, ..text("display", "Its name.") },
];
const USER: &[Attribute] = &[
    Attribute { required: true, unique: true, ..text("userName", "What the person signs in with at their provider.") },
    Attribute { shape: Shape::Complex(NAME), ..text("name", "What the person is called.") },
    text("displayName", "How the person is shown."),
    Attribute {
        shape: Shape::Boolean,
        ..text("active", "Whether the person is here. False ends everything of theirs.")
    },
    Attribute {
        shape: Shape::Complex(EMAIL),
        many: true,
        ..text("emails", "Addresses. They are not who somebody is.")
    },
    Attribute {
        shape: Shape::Complex(GROUP_OF),
        many: true,
        read_only: true,
        ..text("groups", "Groups that the person belongs to directly.")
    },
];
const GROUP: &[Attribute] = &[
    Attribute { required: true, unique: true, ..text("displayName", "Name of the group.") },
    Attribute { shape: Shape::Complex(MEMBER), many: true, ..text("members", "Users and groups that belong to it.") },
];
/// Every resource has it (RFC 7643 §3.1), and no schema lists it.
const COMMON: &[Attribute] = &[
    Attribute { case_exact: true, ..text("externalId", "The directory's own id.") },
    Attribute { case_exact: true, read_only: true, ..text("id", "") },
    Attribute { read_only: true, many: true, case_exact: true, ..text("schemas", "") },
    Attribute { read_only: true, shape: Shape::Complex(META), ..text("meta", "") },
];
const META: &[Attribute] = &[
    Attribute { case_exact: true, ..text("resourceType", "") },
    Attribute { case_exact: true, ..text("created", "") },
    Attribute { case_exact: true, ..text("lastModified", "") },
    Attribute { case_exact: true, ..text("location", "") },
    Attribute { case_exact: true, ..text("version", "") },
];

/// The schema's own attributes.
pub(super) const fn attributes(kind: Kind) -> &'static [Attribute] {
    match kind {
        Kind::User => USER,
        Kind::Group => GROUP,
    }
}

/// An attribute by name, common ones included; case does not matter (RFC 7643 §2.1).
pub(super) fn find(kind: Kind, name: &str) -> Option<&'static Attribute> {
    attributes(kind).iter().chain(COMMON).find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

impl Attribute {
    pub(super) fn sub(&self, name: &str) -> Option<&'static Attribute> {
        match self.shape {
            Shape::Complex(subs) => subs.iter().find(|sub| sub.name.eq_ignore_ascii_case(name)),
            _ => None,
        }
    }

    /// A value as it is kept: known names in our spelling, unknown and read-only ones left out, `null` and nothing gone.
    pub(super) fn read(&self, value: &Value) -> Result<Option<Value>, ScimError> {
        if !self.many {
            return self.read_one(value);
        }
        let values = match value {
            Value::Null => return Ok(None),
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        if values.len() > VALUES_MAX {
            return Err(ScimError::value(format!("`{}` has too many values", self.name)));
        }
        let mut read: Vec<Value> = Vec::new();
        for value in values {
            read.extend(self.read_one(value)?);
        }
        Ok((!read.is_empty()).then_some(Value::Array(read)))
    }

    /// One value of a multi-valued attribute, or the value of another.
    pub(super) fn read_one(&self, value: &Value) -> Result<Option<Value>, ScimError> {
        let wrong = || ScimError::value(format!("`{}` has a value of the wrong type", self.name));
        match (self.shape, value) {
            (_, Value::Null) => Ok(None),
            (Shape::Boolean, Value::Bool(_)) => Ok(Some(value.clone())),
            // Some directories write booleans as text.
            (Shape::Boolean, Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(Value::Bool(true))),
            (Shape::Boolean, Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(Value::Bool(false))),
            (Shape::Text | Shape::Reference, Value::String(text)) => {
                if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
                    return Err(ScimError::value(format!("`{}` is too long or holds control characters", self.name)));
                }
                Ok(Some(value.clone()))
            }
            (Shape::Complex(_), Value::Object(members)) => {
                let mut read = Map::new();
                for (name, value) in members {
                    if let Some(sub) = self.sub(name).filter(|sub| !sub.read_only)
                        && let Some(value) = sub.read(value)?
                    {
                        read.insert(sub.name.to_owned(), value);
                    }
                }
                if let Some(missing) = self.subs().iter().find(|sub| sub.required && !read.contains_key(sub.name)) {
                    return Err(ScimError::value(format!("`{}.{}` is required", self.name, missing.name)));
                }
                Ok((!read.is_empty()).then_some(Value::Object(read)))
            }
            // A list of ids or addresses without their wrapping, as some directories send it.
            (Shape::Complex(_), Value::String(_)) if self.many => {
                self.read_one(&Value::Object(Map::from_iter([("value".to_owned(), value.clone())])))
            }
            _ => Err(wrong()),
        }
    }

    pub(super) fn subs(&self) -> &'static [Attribute] {
        match self.shape {
            Shape::Complex(subs) => subs,
            _ => &[],
        }
    }
}

/// A resource's body as it is kept.
pub(super) fn read(kind: Kind, body: &Value) -> Result<Map<String, Value>, ScimError> {
    let members = body.as_object().ok_or_else(|| ScimError::syntax("the body is no JSON object"))?;
    let listed = members.iter().find(|(name, _)| name.eq_ignore_ascii_case("schemas")).map(|(_, value)| value);
    let listed = listed.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !listed.iter().any(|urn| urn.as_str().is_some_and(|urn| urn.eq_ignore_ascii_case(kind.urn()))) {
        return Err(ScimError::value(format!("`schemas` does not name `{}`", kind.urn())));
    }
    let mut kept = Map::new();
    for (name, value) in members {
        if let Some(attribute) = find(kind, name).filter(|attribute| !attribute.read_only)
            && let Some(value) = attribute.read(value)?
            && kept.insert(attribute.name.to_owned(), value).is_some()
        {
            return Err(ScimError::syntax(format!("`{}` is there twice", attribute.name)));
        }
    }
    Ok(kept)
}

/// Whether what is kept is a whole resource.
pub(super) fn require(kind: Kind, kept: &Map<String, Value>) -> Result<(), ScimError> {
    for attribute in attributes(kind).iter().filter(|attribute| attribute.required) {
        if kept.get(attribute.name).and_then(Value::as_str).is_none_or(|text| text.trim().is_empty()) {
            return Err(ScimError::value(format!("`{}` is required", attribute.name)));
        }
    }
    for attribute in attributes(kind).iter().filter(|attribute| attribute.sub("primary").is_some()) {
        let values = kept.get(attribute.name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if values.iter().filter(|value| value["primary"] == Value::Bool(true)).count() > 1 {
            return Err(ScimError::value(format!("`{}` has more than one primary value", attribute.name)));
        }
    }
    Ok(())
}
