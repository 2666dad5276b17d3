//! Which resources and values a filter means (RFC 7644 §3.4.2.2). The grammar is the library's, the meaning is here.

use std::cmp::Ordering;

use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, Filter, ValFilter};
use serde_json::Value;

use super::schema::{self, Attribute};
use super::{Kind, ScimError};

/// Reads a filter. Depth and terms are limited by the library.
pub(super) fn parse(text: &str) -> Result<Filter, ScimError> {
    let refuse = || ScimError::new(400, Some("invalidFilter"), "the filter cannot be read");
    if text.len() > 4_096 { Err(refuse()) } else { text.parse().map_err(|_| refuse()) }
}

/// Whether a resource, as it is sent, is meant.
pub(super) fn matches(kind: Kind, filter: &Filter, resource: &Value) -> bool {
    match filter {
        Filter::Attr(expression) => {
            let path = path_of(expression);
            let Some(attribute) = schema::find(kind, &path.name) else {
                return holds(None, &[], expression);
            };
            let (attribute, values) = values(attribute, &resource[attribute.name], path.sub_attr.as_deref());
            holds(attribute, &values, expression)
        }
        Filter::ValuePath(path) => schema::find(kind, &path.attr.name).is_some_and(|attribute| {
            elements(&resource[attribute.name]).into_iter().any(|value| matches_value(attribute, &path.filter, value))
        }),
        Filter::Not(inner) => !matches(kind, inner, resource),
        Filter::And(all) => all.iter().all(|filter| matches(kind, filter, resource)),
        Filter::Or(any) => any.iter().any(|filter| matches(kind, filter, resource)),
    }
}

/// Whether one value of a multi-valued attribute is meant: `emails[type eq "work"]`.
pub(super) fn matches_value(attribute: &'static Attribute, filter: &ValFilter, value: &Value) -> bool {
    match filter {
        ValFilter::Attr(expression) => {
            let Some(sub) = attribute.sub(&path_of(expression).name) else {
                return holds(None, &[], expression);
            };
            holds(Some(sub), &elements(&value[sub.name]), expression)
        }
        ValFilter::Not(inner) => !matches_value(attribute, inner, value),
        ValFilter::And(all) => all.iter().all(|filter| matches_value(attribute, filter, value)),
        ValFilter::Or(any) => any.iter().any(|filter| matches_value(attribute, filter, value)),
    }
}

/// The value that resources are sorted by.
pub(super) fn sort_key(kind: Kind, path: &AttrPath, resource: &Value) -> Option<String> {
    let attribute = schema::find(kind, &path.name)?;
    let (attribute, values) = values(attribute, &resource[attribute.name], path.sub_attr.as_deref());
    let first = values.first()?;
    let text = first.as_str().map_or_else(|| first.to_string(), str::to_owned);
    Some(if attribute.is_some_and(|attribute| attribute.case_exact) { text } else { text.to_lowercase() })
}

const fn path_of(expression: &AttrExp) -> &AttrPath {
    match expression {
        AttrExp::Present(path) | AttrExp::Comparison(path, _, _) => path,
    }
}

fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().collect(),
        one => vec![one],
    }
}

/// Values of an attribute or sub-attribute; of a complex one without a sub-attribute, its `value`.
fn values<'a>(
    attribute: &'static Attribute,
    value: &'a Value,
    sub: Option<&str>,
) -> (Option<&'static Attribute>, Vec<&'a Value>) {
    let sub = match sub {
        Some(name) => attribute.sub(name).ok_or(()),
        None => attribute.sub("value").ok_or(()).or(if attribute.subs().is_empty() { Err(()) } else { Ok(attribute) }),
    };
    match sub {
        Ok(sub) if std::ptr::eq(sub, attribute) => (Some(attribute), elements(value)),
        Ok(sub) => (Some(sub), elements(value).into_iter().flat_map(|value| elements(&value[sub.name])).collect()),
        Err(()) if attribute.subs().is_empty() => (Some(attribute), elements(value)),
        Err(()) => (None, Vec::new()),
    }
}

/// Whether any value satisfies an expression; unknown attributes have none.
fn holds(attribute: Option<&Attribute>, values: &[&Value], expression: &AttrExp) -> bool {
    match expression {
        AttrExp::Present(_) => values.iter().any(|value| !value.is_null() && value.as_str() != Some("")),
        AttrExp::Comparison(_, CompareOp::Eq, CompValue::Null) => values.is_empty(),
        AttrExp::Comparison(_, CompareOp::Ne, CompValue::Null) => !values.is_empty(),
        // Not equal is the opposite of equal, also where there is no value.
        AttrExp::Comparison(_, CompareOp::Ne, expected) => {
            !values.iter().any(|value| compares(attribute, value, &CompareOp::Eq, expected))
        }
        AttrExp::Comparison(_, op, expected) => values.iter().any(|value| compares(attribute, value, op, expected)),
    }
}

fn compares(attribute: Option<&Attribute>, value: &Value, op: &CompareOp, expected: &CompValue) -> bool {
    let expected = match expected {
        CompValue::Str(text) => text,
        CompValue::True => return *op == CompareOp::Eq && *value == Value::Bool(true),
        CompValue::False => return *op == CompareOp::Eq && *value == Value::Bool(false),
        CompValue::Number(_) | CompValue::Null => return false,
    };
    if let Value::Bool(on) = value {
        return *op == CompareOp::Eq && expected.eq_ignore_ascii_case(if *on { "true" } else { "false" });
    }
    let Some(text) = value.as_str() else {
        return false;
    };
    let exact = attribute.is_some_and(|attribute| attribute.case_exact);
    let fold = |text: &str| if exact { text.to_owned() } else { text.to_lowercase() };
    let (text, expected) = (fold(text), fold(expected));
    match op {
        CompareOp::Eq => text == expected,
        CompareOp::Ne => text != expected,
        CompareOp::Co => text.contains(&expected),
        CompareOp::Sw => text.starts_with(&expected),
        CompareOp::Ew => text.ends_with(&expected),
        CompareOp::Gt => text.cmp(&expected) == Ordering::Greater,
        CompareOp::Ge => text.cmp(&expected) != Ordering::Less,
        CompareOp::Lt => text.cmp(&expected) == Ordering::Less,
        CompareOp::Le => text.cmp(&expected) != Ordering::Greater,
    }
}
