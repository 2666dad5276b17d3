//! What OCSF permits, as data, and whether an event keeps to it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../data/ocsf/1.7.json")).expect("the schema of this build has its form")
});

const OTHER: i64 = 99; // "Not among these; see the text beside it": the same number in every class.

/// The facts of `data/ocsf`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Schema {
    #[serde(rename = "format")]
    _format: Format,
    pub(super) version: String,
    pub(super) profile: String,
    scalars: BTreeMap<String, Scalar>,
    classes: BTreeMap<String, Class>,
    objects: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
enum Format {
    #[serde(rename = "creta.ocsf/1")]
    One,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scalar {
    Anything,
    Boolean,
    Hexadecimal,
    Integer,
    Object,
    Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Class {
    uid: u64,
    pub(super) caption: String,
    pub(super) category_uid: u64,
    pub(super) category_name: String,
    constraints: Constraints,
    attributes: Attributes,
}

type Constraints = BTreeMap<Constraint, Vec<String>>;
type Attributes = BTreeMap<String, Attribute>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    constraints: Constraints,
    attributes: Attributes,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Constraint {
    AtLeastOne,
    JustOne,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    #[serde(rename = "is")]
    kind: String,
    #[serde(default)]
    list: bool,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    profile: Option<String>,
    #[serde(default, rename = "in")]
    permitted: Option<BTreeMap<i64, String>>,
    #[serde(default)]
    named: Option<String>,
}

impl Schema {
    /// That of this build.
    pub(super) fn of_this_build() -> &'static Self {
        &SCHEMA
    }

    /// The class of a number.
    pub(super) fn class(&self, uid: u64) -> Option<&Class> {
        self.classes.values().find(|class| class.uid == uid)
    }
}

impl Class {
    /// The words for a number of an attribute of this class, if the schema has words for it.
    pub(super) fn caption_of(&self, attribute: &str, number: i64) -> Option<&str> {
        self.attributes.get(attribute)?.permitted.as_ref()?.get(&number).map(String::as_str)
    }

    /// Whether events of this class can have an attribute.
    pub(super) fn has(&self, attribute: &str) -> bool {
        self.attributes.contains_key(attribute)
    }
}

/// What is not as OCSF wants it. Says where and which rule, never a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The attribute: `actor.user.type_id`, `policies[0]`; empty for the event as a whole.
    pub path: String,
    /// What it should be.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "the event {}", self.rule)
        } else {
            write!(f, "`{}` {}", self.path, self.rule)
        }
    }
}

/// Checks an event: every attribute known and of its type, every required one there, numbers among those permitted,
/// texts beside them the right ones, and the classification consistent. All violations are listed, in order of paths.
pub fn validate(event: &Value) -> Result<(), Vec<Violation>> {
    let schema = Schema::of_this_build();
    let mut check = Check { schema, profiles: Vec::new(), violations: Vec::new() };
    check.event(event);
    check.violations.sort_unstable();
    check.violations.dedup();
    if check.violations.is_empty() { Ok(()) } else { Err(check.violations) }
}

struct Check<'a> {
    schema: &'a Schema,
    profiles: Vec<&'a str>,
    violations: Vec<Violation>,
}

impl<'a> Check<'a> {
    fn refuse(&mut self, path: &str, rule: impl Into<String>) {
        self.violations.push(Violation { path: path.to_owned(), rule: rule.into() });
    }

    fn event(&mut self, event: &'a Value) {
        let Some(event) = event.as_object() else { return self.refuse("", "is not a JSON object") };
        let class = event.get("class_uid").and_then(Value::as_u64).and_then(|uid| self.schema.class(uid));
        let Some(class) = class else { return self.refuse("class_uid", "is not a class that Creta's events have") };

        let metadata = event.get("metadata");
        let profiles = metadata.and_then(|metadata| metadata.get("profiles")).and_then(Value::as_array);
        self.profiles = profiles.into_iter().flatten().filter_map(Value::as_str).collect();
        if self.profiles.iter().any(|profile| *profile != self.schema.profile) {
            self.refuse("metadata.profiles", "names a profile that Creta's events do not have");
        }
        if metadata.and_then(|metadata| metadata.get("version")).and_then(Value::as_str) != Some(&self.schema.version) {
            self.refuse("metadata.version", format!("is not `{}`", self.schema.version));
        }
        self.classification(class, event);
        self.shape("", (&class.constraints, &class.attributes), event);
    }

    fn classification(&mut self, class: &Class, event: &Map<String, Value>) {
        let number = |name: &str| event.get(name).and_then(Value::as_u64);
        let activity = number("activity_id");
        let of_activity = activity.and_then(|id| class.uid.checked_mul(100)?.checked_add(id));
        if number("type_uid") != of_activity {
            self.refuse("type_uid", "is not 100 times the class plus the activity");
        }
        if number("category_uid") != Some(class.category_uid) {
            self.refuse("category_uid", "is not the category of the class");
        }
        let activity_name = event.get("activity_name").and_then(Value::as_str).unwrap_or_default();
        let type_name = format!("{}: {activity_name}", class.caption);
        for (name, expected) in
            [("class_name", &class.caption), ("category_name", &class.category_name), ("type_name", &type_name)]
        {
            if event.get(name).is_some_and(|text| text.as_str() != Some(expected)) {
                self.refuse(name, "does not say what the number beside it means");
            }
        }
    }

    fn shape(&mut self, at: &str, (constraints, attributes): (&Constraints, &Attributes), given: &Map<String, Value>) {
        let within = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        for (name, value) in given {
            match attributes.get(name) {
                Some(attribute) if !self.applies(attribute) => {
                    self.refuse(&within(name), "belongs to a profile that `metadata.profiles` does not name");
                }
                Some(attribute) => {
                    self.value(&within(name), attribute, value);
                    self.name_beside(&within(name), attribute, value, given);
                }
                None => self.refuse(&within(name), "is not an attribute of this class or object"),
            }
        }
        for (name, attribute) in attributes {
            if attribute.required && self.applies(attribute) && !given.contains_key(name) {
                self.refuse(&within(name), "is required");
            }
        }
        for (constraint, names) in constraints {
            let there = names.iter().filter(|name| given.contains_key(*name)).count();
            match constraint {
                Constraint::AtLeastOne if there == 0 => self.refuse(at, format!("needs one of {}", names.join(", "))),
                Constraint::JustOne if there != 1 => self.refuse(at, format!("needs just one of {}", names.join(", "))),
                _ => {}
            }
        }
    }

    fn applies(&self, attribute: &Attribute) -> bool {
        attribute.profile.as_ref().is_none_or(|profile| self.profiles.contains(&profile.as_str()))
    }

    fn value(&mut self, at: &str, attribute: &Attribute, value: &Value) {
        if !attribute.list {
            return self.single(at, attribute, value);
        }
        let Some(values) = value.as_array() else { return self.refuse(at, "is not a list") };
        for (index, value) in values.iter().enumerate() {
            self.single(&format!("{at}[{index}]"), attribute, value);
        }
    }

    fn single(&mut self, at: &str, attribute: &Attribute, value: &Value) {
        let schema = self.schema;
        if let Some(scalar) = schema.scalars.get(&attribute.kind) {
            if !scalar.holds(value) {
                return self.refuse(at, format!("is not of type `{}`", attribute.kind));
            }
            let number = value.as_i64();
            if attribute
                .permitted
                .as_ref()
                .is_some_and(|known| number.is_none_or(|number| !known.contains_key(&number)))
            {
                self.refuse(at, "is not one of the permitted numbers");
            }
            return;
        }
        let shape = schema.objects.get(&attribute.kind).expect("the schema of this build has all objects it names");
        match value.as_object() {
            Some(object) => self.shape(at, (&shape.constraints, &shape.attributes), object),
            None => self.refuse(at, format!("is not an object of type `{}`", attribute.kind)),
        }
    }

    /// The text beside a number says what the number means; beside [`OTHER`] there has to be one.
    fn name_beside(&mut self, at: &str, attribute: &Attribute, value: &Value, given: &Map<String, Value>) {
        let (Some(sibling), Some(permitted), Some(number)) = (&attribute.named, &attribute.permitted, value.as_i64())
        else {
            return;
        };
        match given.get(sibling).and_then(Value::as_str) {
            None if number == OTHER => self.refuse(at, format!("needs `{sibling}` beside it")),
            Some(text) if number != OTHER && permitted.get(&number).is_some_and(|caption| caption != text) => {
                self.refuse(at, format!("is not what `{sibling}` says"));
            }
            _ => {}
        }
    }
}

impl Scalar {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Anything => true,
            Self::Boolean => value.is_boolean(),
            Self::Hexadecimal => {
                value.as_str().is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit()))
            }
            Self::Integer => value.is_i64(),
            Self::Object => value.is_object(),
            Self::Text => value.is_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_names_no_type_that_it_does_not_have() {
        let schema = Schema::of_this_build();
        let classes = schema.classes.values().map(|class| &class.attributes);
        let shapes = classes.chain(schema.objects.values().map(|object| &object.attributes));
        for attribute in shapes.flat_map(BTreeMap::values) {
            let known = schema.scalars.contains_key(&attribute.kind) || schema.objects.contains_key(&attribute.kind);
            assert!(known, "{}", attribute.kind);
            assert!(attribute.profile.as_ref().is_none_or(|profile| *profile == schema.profile));
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_violations_and_no_panic() {
        for number in [u64::MAX, 1 << 63, 0] {
            let event = serde_json::json!({"class_uid": 6003, "activity_id": number, "type_uid": number});
            assert!(validate(&event).expect_err("lacks nearly everything").len() > 5);
        }
    }
}
