//! Attributes that are no methods.

use crate::raised::{Outcome, Raised};
use crate::times::{self, DAY};
use crate::value::Value;

/// Attributes that are compiled for some type and that no other type has.
const ATTRIBUTES: &[&str] = &[
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "microsecond",
    "days",
    "seconds",
    "microseconds",
    "name",
    "value",
];

/// Whether no value of this value's type has an attribute of that name in any version of Python.
fn is_absent(value: &Value, name: &str) -> bool {
    if name.starts_with('_') {
        return false;
    }
    match value {
        // Nothing but their members, and `None` has no names at all.
        Value::None | Value::Struct(_) => true,
        // A member may be asked for the others in some versions.
        Value::Enum(class, _) => class.members.iter().all(|(own, _)| own != name),
        _ => ATTRIBUTES.contains(&name),
    }
}

/// An attribute that is no method. What Python may have and compiled code does not know is not compiled.
pub(crate) fn attribute(value: &Value, name: &str) -> Outcome<Value> {
    known_attribute(value, name).map_err(|raised| {
        let is_unknown = raised == Raised::ATTRIBUTE && !is_absent(value, name);
        if is_unknown { Raised::NOT_COMPILED } else { raised }
    })
}

fn known_attribute(value: &Value, name: &str) -> Outcome<Value> {
    let date = |day: i32| {
        let (year, month, of_month) = times::civil(day);
        Ok(Value::Int(match name {
            "year" => year.into(),
            "month" => month.into(),
            "day" => of_month.into(),
            _ => return Err(Raised::ATTRIBUTE),
        }))
    };
    match value {
        Value::Date(day) => date(*day),
        Value::Datetime(micros) => {
            let (hour, minute, second, micro) = times::clock(*micros);
            match name {
                "hour" => Ok(Value::Int(hour)),
                "minute" => Ok(Value::Int(minute)),
                "second" => Ok(Value::Int(second)),
                "microsecond" => Ok(Value::Int(micro)),
                _ => date(times::day_of(*micros)),
            }
        }
        Value::Timedelta(micros) => Ok(Value::Int(match name {
            "days" => micros.div_euclid(DAY),
            "seconds" => micros.rem_euclid(DAY) / 1_000_000,
            "microseconds" => micros.rem_euclid(1_000_000),
            _ => return Err(Raised::ATTRIBUTE),
        })),
        Value::Enum(class, at) => {
            let (member, text) = &class.members[*at as usize];
            match name {
                "value" => Ok(Value::text(text)),
                "name" if member.is_empty() => Err(Raised::NOT_COMPILED),
                "name" => Ok(Value::text(member)),
                _ => Err(Raised::ATTRIBUTE),
            }
        }
        Value::Struct(instance) => {
            let at = instance.class.fields.iter().position(|field| field == name).ok_or(Raised::ATTRIBUTE)?;
            Ok(instance.values[at].clone())
        }
        _ => Err(Raised::ATTRIBUTE),
    }
}
