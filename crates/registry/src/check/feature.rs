//! Features: types, where their values come from, bounds and defaults.

use creta_model::{Entity, Feature, Problem, Role, Type, Validation, Value};

use super::{Checker, full_name};
use crate::error::listed;

impl Checker<'_> {
    pub(super) fn features(&mut self) {
        for entity in &self.catalog.graph().entities {
            for feature in &entity.features {
                self.single_production(entity, feature);
                if let Some(reason) = broken_type(&feature.ty) {
                    self.problem(
                        Problem::new(
                            "feature/type",
                            format!("the type of `{}` is not possible: {reason}", full_name(entity, feature)),
                        )
                        .at(&feature.location)
                        .with_help("change its annotation"),
                    );
                }
                if let Some(validation) = &feature.validation {
                    self.validation(entity, feature, validation);
                }
                self.default(entity, feature);
            }
        }
    }

    fn single_production(&mut self, entity: &Entity, feature: &Feature) {
        let name = full_name(entity, feature);
        let producers = self.catalog.producers(&name);
        let mut ways = Vec::new();
        if feature.expression.is_some() {
            ways.push("an expression".to_owned());
        }
        if feature.window.is_some() {
            ways.push("a window".to_owned());
        }
        if let Some(resolver) = producers.first() {
            ways.push(format!("the resolver `{}`", resolver.name));
        }
        let role = match feature.role {
            Role::Key => Some("a key"),
            Role::EventTime => Some("the event time"),
            Role::Value if feature.event_id => Some("an event id"),
            Role::Value => None,
        };
        let problem = match (role, &ways[..]) {
            (Some(role), [way, ..]) => {
                Problem::new("feature/computed-role", format!("`{name}` is {role} and cannot come from {way}"))
                    .with_help("such features come with the facts; compute another feature from it instead")
            }
            (None, [_, _, ..]) => {
                Problem::new("feature/two-origins", format!("`{name}` comes from {} at once", ways.join(" and from ")))
                    .with_help("keep one of them")
            }
            _ => return,
        };
        let problem = producers.iter().fold(problem.at(&feature.location), |problem, resolver| {
            problem.with_note("resolver", resolver.name.to_string(), Some(&resolver.location))
        });
        self.problem(problem);
    }

    fn validation(&mut self, entity: &Entity, feature: &Feature, bounds: &Validation) {
        let name = full_name(entity, feature);
        let ty = feature.ty.python_name();
        let number = feature.ty.is_numeric();
        let sized = matches!(feature.ty, Type::Str | Type::Bytes | Type::List { .. });
        let text = feature.ty == Type::Str;
        let given = [
            ("min", bounds.min.is_some(), number, "numbers"),
            ("max", bounds.max.is_some(), number, "numbers"),
            ("min_length", bounds.min_length.is_some(), sized, "str, bytes and lists"),
            ("max_length", bounds.max_length.is_some(), sized, "str, bytes and lists"),
            ("pattern", bounds.pattern.is_some(), text, "str"),
        ];
        for (option, given, fits, meant_for) in given {
            if given && !fits {
                self.problem(
                    Problem::new(
                        "feature/validation",
                        format!("`{name}` is `{ty}`, which `{option}` does not apply to"),
                    )
                    .at(&feature.location)
                    .with_help(format!("`{option}` is for {meant_for}; remove it")),
                );
            }
        }
        let numbers_crossed = matches!((bounds.min, bounds.max), (Some(min), Some(max)) if min > max);
        let lengths_crossed = matches!((bounds.min_length, bounds.max_length), (Some(min), Some(max)) if min > max);
        if numbers_crossed || lengths_crossed {
            self.problem(
                Problem::new(
                    "feature/validation",
                    format!("no value of `{name}` can be valid: its min is above its max"),
                )
                .at(&feature.location)
                .with_help("swap the two bounds"),
            );
        }
        // By itself first: `a)|(b` is one only within the brackets that make it match whole texts.
        let compiled = bounds
            .pattern
            .as_ref()
            .map(|pattern| regex::Regex::new(pattern).and_then(|_| regex::Regex::new(&format!(r"\A(?:{pattern})\z"))));
        if let Some(Err(error)) = compiled {
            let message =
                format!("the pattern of `{name}` is not a regular expression that values can be checked with");
            self.problem(
                Problem::new("feature/pattern", message)
                    .at(&feature.location)
                    .with_note("because", reason(&error), None)
                    .with_help("look-around and back-references are not supported; most of Python's other syntax is"),
            );
        }
    }

    fn default(&mut self, entity: &Entity, feature: &Feature) {
        let Some(default) = &feature.default else { return };
        let name = full_name(entity, feature);
        if let Err(mismatch) = Value::from_json(&feature.ty, default) {
            self.problem(
                Problem::new("feature/default", format!("the default of `{name}` does not fit: {mismatch}"))
                    .at(&feature.location)
                    .with_help("change the default or the type"),
            );
        } else if default.is_null() && !feature.optional {
            self.problem(
                Problem::new(
                    "feature/default",
                    format!("the default of `{name}` is None, which its type does not allow"),
                )
                .at(&feature.location)
                .with_help(format!("declare it as `{} | None`, or remove `default=`", feature.ty.python_name())),
            );
        }
    }
}

/// The last line of a pattern error says what is wrong; the lines before it draw an arrow.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
}

fn repeated<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

fn broken_type(ty: &Type) -> Option<String> {
    match ty {
        Type::Decimal { scale } if *scale > 38 => Some(format!("a Decimal has at most 38 places, not {scale}")),
        Type::Enum { name, members } if members.is_empty() => Some(format!("the enum `{name}` has no members")),
        Type::Enum { name, members } => repeated(members.iter().map(String::as_str))
            .map(|member| format!("the enum `{name}` has the member {} twice", listed([member], "and"))),
        Type::List { item, .. } => broken_type(item),
        Type::Struct { name, fields } if fields.is_empty() => Some(format!("`{name}` has no members")),
        Type::Struct { name, fields } => repeated(fields.iter().map(|f| f.name.as_str()))
            .map(|field| format!("`{name}` has the member `{field}` twice"))
            .or_else(|| fields.iter().find_map(|field| broken_type(&field.ty))),
        Type::Vector { size: 0 } => Some("a vector needs at least one number".to_owned()),
        Type::Vector { size } if *size > i32::MAX as u32 => Some(format!("a vector cannot have {size} numbers")),
        _ => None,
    }
}
