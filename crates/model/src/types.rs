//! Types of feature values and dynamically typed values.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::{Instant, TimeError};

/// The type of one feature value. In JSON `{"kind":"list","item":{"kind":"int"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Type {
    /// True or false.
    Bool,
    /// 64-bit signed integer.
    Int,
    /// IEEE 754 double.
    Float,
    /// Unicode text.
    Str,
    /// Raw bytes; base64 in JSON.
    Bytes,
    /// Exact decimal of up to 38 digits, `scale` of them behind the point; text in JSON.
    Decimal {
        /// Digits behind the point, 0 to 38.
        scale: u8,
    },
    /// A day of the proleptic Gregorian calendar; `YYYY-MM-DD` in JSON.
    Date,
    /// An instant in UTC microseconds; RFC 3339 with `Z` in JSON.
    Datetime,
    /// A signed length of time in microseconds; that integer in JSON.
    Timedelta,
    /// One of a fixed set of texts.
    Enum {
        /// Name of the Python enum class.
        name: String,
        /// The permitted texts, in declaration order.
        members: Vec<String>,
    },
    /// Any number of items of one type.
    List {
        /// Type of each item.
        item: Box<Type>,
        /// Whether an item may be null.
        #[serde(default, skip_serializing_if = "is_false")]
        optional: bool,
    },
    /// Named members.
    Struct {
        /// Name of the Python class.
        name: String,
        /// Members in declaration order.
        fields: Vec<StructField>,
    },
    /// A fixed number of 32-bit floats.
    Vector {
        /// How many floats.
        size: u32,
    },
}

/// One member of a struct type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StructField {
    /// Member name.
    pub name: String,
    /// Member type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether the member may be null.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}

impl Type {
    /// The Arrow type that carries values of this type everywhere: in memory, in segments and on the wire.
    pub fn to_arrow(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Str | Self::Enum { .. } => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Decimal { scale } => DataType::Decimal128(38, *scale as i8),
            Self::Date => DataType::Date32,
            Self::Datetime => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Timedelta => DataType::Duration(TimeUnit::Microsecond),
            Self::List { item, .. } => DataType::List(Arc::new(Field::new("item", item.to_arrow(), true))),
            Self::Struct { fields, .. } => {
                DataType::Struct(fields.iter().map(|f| Field::new(&f.name, f.ty.to_arrow(), true)).collect::<Fields>())
            }
            Self::Vector { size } => {
                DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, false)), *size as i32)
            }
        }
    }

    /// Whether values of this type may be part of a key: exact and totally ordered types only (rules S14, S19).
    pub fn is_key_type(&self) -> bool {
        matches!(
            self,
            Self::Bool | Self::Int | Self::Str | Self::Bytes | Self::Date | Self::Datetime | Self::Enum { .. }
        )
    }

    /// Whether arithmetic is defined on it.
    pub fn is_numeric(&self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Decimal { .. })
    }

    /// The type as a Python developer writes it.
    pub fn python_name(&self) -> String {
        match self {
            Self::Bool => "bool".into(),
            Self::Int => "int".into(),
            Self::Float => "float".into(),
            Self::Str => "str".into(),
            Self::Bytes => "bytes".into(),
            Self::Decimal { .. } => "Decimal".into(),
            Self::Date => "date".into(),
            Self::Datetime => "datetime".into(),
            Self::Timedelta => "timedelta".into(),
            Self::Enum { name, .. } | Self::Struct { name, .. } => name.clone(),
            Self::List { item, optional } => {
                format!("list[{}{}]", item.python_name(), if *optional { " | None" } else { "" })
            }
            Self::Vector { size } => format!("Vector[{size}]"),
        }
    }
}

/// One dynamically typed value: literals in definitions and single values at the edges. Columns are Arrow arrays.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An observed null.
    Null,
    /// See [`Type::Bool`].
    Bool(bool),
    /// See [`Type::Int`].
    Int(i64),
    /// See [`Type::Float`].
    Float(f64),
    /// Also carries enum values.
    Str(String),
    /// See [`Type::Bytes`].
    Bytes(Vec<u8>),
    /// Unscaled digits; the scale is in the type.
    Decimal(i128),
    /// Days since 1970-01-01.
    Date(i32),
    /// See [`Type::Datetime`].
    Datetime(Instant),
    /// Microseconds.
    Timedelta(i64),
    /// Items of a list.
    List(Vec<Value>),
    /// Members of a struct in the order of its type.
    Struct(Vec<Value>),
    /// Floats of a vector.
    Vector(Vec<f32>),
}

/// Why a JSON value does not fit a type. Never holds the value itself: it may be somebody's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got}")]
pub struct TypeMismatch {
    /// What the schema says, in Python's words.
    pub expected: String,
    /// What came, by kind.
    pub got: String,
}

fn json_kind(json: &serde_json::Value) -> &'static str {
    match json {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a bool",
        serde_json::Value::Number(n) if n.is_f64() => "a float",
        serde_json::Value::Number(_) => "an integer",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "an object",
    }
}

impl Value {
    /// Days since 1970-01-01 that a [`Type::Date`] holds: those of the years 0001 to 9999, as Python's dates.
    pub const DATES: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;

    /// Reads JSON by the schema's type (rule S20): nothing is guessed, an integer is accepted for a float, never the
    /// other way round. `null` reads as [`Value::Null`]; whether that is allowed is the caller's question.
    pub fn from_json(ty: &Type, json: &serde_json::Value) -> Result<Self, TypeMismatch> {
        use serde_json::Value as Json;
        let mismatch = |got: &str| TypeMismatch { expected: ty.python_name(), got: got.to_owned() };
        let wrong = || mismatch(json_kind(json));
        Ok(match (ty, json) {
            (_, Json::Null) => Self::Null,
            (Type::Bool, Json::Bool(b)) => Self::Bool(*b),
            (Type::Int, Json::Number(n)) => Self::Int(
                n.as_i64().ok_or_else(|| if n.is_f64() { wrong() } else { mismatch("an integer beyond 64 bits") })?,
            ),
            // Beyond 2^53 an integer is not always a float; `9007199254740993.0` says that digits may be lost.
            (Type::Float, Json::Number(n)) if !n.is_f64() && n.as_i64().is_none_or(|i| i.unsigned_abs() > 1 << 53) => {
                return Err(mismatch("an integer beyond 2^53, which it may not hold exactly"));
            }
            (Type::Float, Json::Number(n)) => Self::Float(n.as_f64().ok_or_else(wrong)?),
            (Type::Float, Json::String(s)) => match s.as_str() {
                "NaN" => Self::Float(f64::NAN),
                "Infinity" => Self::Float(f64::INFINITY),
                "-Infinity" => Self::Float(f64::NEG_INFINITY),
                _ => return Err(wrong()),
            },
            (Type::Str, Json::String(s)) => Self::Str(s.clone()),
            (Type::Enum { name, members }, Json::String(s)) => {
                if members.contains(s) {
                    Self::Str(s.clone())
                } else {
                    return Err(TypeMismatch { expected: format!("a member of `{name}`"), got: "another text".into() });
                }
            }
            (Type::Bytes, Json::String(s)) => {
                Self::Bytes(BASE64.decode(s).map_err(|_| mismatch("a string that is not base64"))?)
            }
            (Type::Decimal { scale }, Json::String(s)) => Self::Decimal(
                parse_decimal(s, *scale).ok_or_else(|| mismatch("a string that is not a decimal of its scale"))?,
            ),
            (Type::Decimal { scale }, Json::Number(n)) if !n.is_f64() => {
                Self::Decimal(parse_decimal(&n.to_string(), *scale).ok_or_else(|| mismatch("too large an integer"))?)
            }
            (Type::Date, Json::String(s)) => {
                let day = NaiveDate::parse_from_str(s, "%Y-%m-%d")
                    .map_err(|_| mismatch("a string that is not YYYY-MM-DD"))?;
                let days = day.num_days_from_ce() - 719_163;
                if !Self::DATES.contains(&days) {
                    return Err(mismatch("a date outside the years 0001 to 9999"));
                }
                Self::Date(days)
            }
            (Type::Datetime, Json::String(s)) => Self::Datetime(Instant::parse(s).map_err(|error| {
                mismatch(match error {
                    TimeError::Naive { .. } => "a datetime without a time zone; write UTC as `2013-07-01T12:00:00Z`",
                    TimeError::OutOfRange { .. } => "a datetime outside the years 0001 to 9999",
                    _ => "a string that is no datetime; write UTC as `2013-07-01T12:00:00Z`",
                })
            })?),
            (Type::Timedelta, Json::Number(n)) => Self::Timedelta(n.as_i64().ok_or_else(wrong)?),
            (Type::List { item, optional }, Json::Array(items)) => {
                let items = items.iter().map(|json| Self::from_json(item, json)).collect::<Result<Vec<_>, _>>()?;
                if !optional && items.contains(&Self::Null) {
                    return Err(mismatch("a list with a null item"));
                }
                Self::List(items)
            }
            (Type::Struct { fields, .. }, Json::Object(members)) => {
                if let Some(extra) = members.keys().find(|key| !fields.iter().any(|f| &f.name == *key)) {
                    return Err(mismatch(&format!("an object with the unknown member `{extra}`")));
                }
                let mut values = Vec::with_capacity(fields.len());
                for field in fields {
                    let value = Self::from_json(&field.ty, members.get(&field.name).unwrap_or(&Json::Null))?;
                    if value == Self::Null && !field.optional {
                        return Err(mismatch(&format!("an object without `{}`", field.name)));
                    }
                    values.push(value);
                }
                Self::Struct(values)
            }
            (Type::Vector { size }, Json::Array(items)) if items.len() == *size as usize => Self::Vector(
                items.iter().map(|n| n.as_f64().map(|f| f as f32).ok_or_else(wrong)).collect::<Result<Vec<_>, _>>()?,
            ),
            _ => return Err(wrong()),
        })
    }

    /// Writes the JSON form that [`Value::from_json`] reads.
    pub fn to_json(&self, ty: &Type) -> serde_json::Value {
        use serde_json::Value as Json;
        match (self, ty) {
            (Self::Null, _) => Json::Null,
            (Self::Bool(b), _) => Json::Bool(*b),
            (Self::Int(i) | Self::Timedelta(i), _) => (*i).into(),
            (Self::Float(f), _) if f.is_nan() => "NaN".into(),
            (Self::Float(f), _) if f.is_infinite() => if *f > 0.0 { "Infinity" } else { "-Infinity" }.into(),
            (Self::Float(f), _) => (*f).into(),
            (Self::Str(s), _) => s.clone().into(),
            (Self::Bytes(b), _) => BASE64.encode(b).into(),
            (Self::Decimal(d), Type::Decimal { scale }) => format_decimal(*d, *scale).into(),
            (Self::Decimal(d), _) => d.to_string().into(),
            (Self::Date(days), _) => NaiveDate::from_num_days_from_ce_opt(days.saturating_add(719_163))
                .map_or(Json::Null, |day| day.format("%Y-%m-%d").to_string().into()),
            (Self::Datetime(at), _) => at.to_string().into(),
            (Self::List(items), Type::List { item, .. }) => items.iter().map(|v| v.to_json(item)).collect(),
            (Self::List(items), _) => items.iter().map(|v| v.to_json(ty)).collect(),
            (Self::Struct(values), Type::Struct { fields, .. }) => {
                Json::Object(fields.iter().zip(values).map(|(f, v)| (f.name.clone(), v.to_json(&f.ty))).collect())
            }
            (Self::Struct(_), _) => Json::Null,
            (Self::Vector(floats), _) => floats.iter().map(|f| Json::from(f64::from(*f))).collect(),
        }
    }
}

/// Reads decimal text exactly; `None` when it is not a decimal, needs more than `scale` places or more than 38 digits.
pub fn parse_decimal(text: &str, scale: u8) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    let places = places.trim_end_matches('0');
    let valid = !digits.is_empty() && digits != "." && whole.bytes().chain(places.bytes()).all(|b| b.is_ascii_digit());
    if !valid || places.len() > scale as usize {
        return None;
    }
    let padded = format!("{whole}{places:0<width$}", width = scale as usize);
    let padded = padded.trim_start_matches('0');
    if padded.len() > 38 {
        return None;
    }
    let unscaled: i128 = if padded.is_empty() { 0 } else { padded.parse().ok()? };
    Some(if negative { -unscaled } else { unscaled })
}

/// Writes an unscaled decimal with exactly `scale` places.
pub fn format_decimal(unscaled: i128, scale: u8) -> String {
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale as usize + 1);
    let (whole, places) = digits.split_at(digits.len() - scale as usize);
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{places}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn s20_nothing_is_guessed_from_json() {
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("json");
        assert!(Value::from_json(&Type::Int, &json("1.0")).is_err());
        assert!(Value::from_json(&Type::Int, &json("\"1\"")).is_err());
        assert!(Value::from_json(&Type::Int, &json("9223372036854775808")).is_err());
        assert!(Value::from_json(&Type::Bool, &json("1")).is_err());
        assert!(Value::from_json(&Type::Str, &json("1")).is_err());
        assert_eq!(Value::from_json(&Type::Float, &json("1")), Ok(Value::Float(1.0)));
        assert!(Value::from_json(&Type::Float, &json("9007199254740993")).is_err());
        assert!(Value::from_json(&Type::Float, &json("18446744073709551615")).is_err());
        assert_eq!(Value::from_json(&Type::Float, &json("-9007199254740992")), Ok(Value::Float(-9007199254740992.0)));
        assert_eq!(Value::from_json(&Type::Float, &json("1e300")), Ok(Value::Float(1e300)));
    }

    #[test]
    fn dates_lie_in_the_years_of_python() {
        let read = |text: &str| Value::from_json(&Type::Date, &serde_json::Value::from(text));
        assert_eq!(read("0001-01-01"), Ok(Value::Date(*Value::DATES.start())));
        assert_eq!(read("9999-12-31"), Ok(Value::Date(*Value::DATES.end())));
        for far in ["+10000-01-01", "0000-12-31", "-0001-01-01"] {
            assert!(read(far).is_err(), "{far}");
        }
    }

    #[test]
    fn mismatches_never_hold_the_value() {
        let secret = serde_json::Value::String("ana@example.com".into());
        let error = Value::from_json(&Type::Int, &secret).expect_err("a string is no int");
        assert_eq!(error.to_string(), "expected int, got a string");
    }

    proptest! {
        #[test]
        fn decimals_survive_writing_and_reading(unscaled in -(10i128.pow(38) - 1)..10i128.pow(38), scale in 0u8..=38) {
            prop_assert_eq!(parse_decimal(&format_decimal(unscaled, scale), scale), Some(unscaled));
        }

        #[test]
        fn dates_survive_writing_and_reading(days in -719_162i32..2_932_897) {
            let json = Value::Date(days).to_json(&Type::Date);
            prop_assert_eq!(Value::from_json(&Type::Date, &json), Ok(Value::Date(days)));
        }
    }
}
