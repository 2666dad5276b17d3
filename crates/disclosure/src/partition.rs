//! Bins that follow from a feature's definition, never from its data: an edge that depends on the data is a value.

use creta_model::{Type, Validation, Value};

/// Bins of a range that the definition bounds on both sides.
const BOUNDED_BINS: u32 = 10;
/// Powers of ten that numbers without bounds are told apart by.
const DECADES: std::ops::RangeInclusive<i32> = 0..=12;
/// Lengths of texts, bytes and lists that are told apart: up to and including each.
const LENGTHS: &[usize] = &[0, 4, 8, 16, 32, 64, 128, 256];
/// Years that days and instants are told apart by.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2100;

/// The bin that a value lies in; the same number means the same range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bin {
    /// No value.
    Null,
    /// One of the ranges of [`Partition::range`].
    Of(u32),
}

/// How the values of a feature are put into bins.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// Whether there is a value, and no more.
    Presence,
    Bool,
    Members(Vec<String>),
    /// Equal ranges from `min` to `max`.
    Bounded {
        min: f64,
        max: f64,
    },
    /// Sign and power of ten.
    Decades {
        unit: &'static str,
    },
    Lengths {
        unit: &'static str,
    },
    Years,
}

impl Partition {
    /// The bins of a type, with the bounds that a definition gives it.
    pub fn of(ty: &Type, validation: Option<&Validation>) -> Self {
        let bounds = validation.and_then(|given| given.min.zip(given.max));
        Self(match (ty, bounds) {
            (Type::Int | Type::Float | Type::Decimal { .. }, Some((min, max)))
                if min.is_finite() && max.is_finite() && min < max =>
            {
                Kind::Bounded { min, max }
            }
            (Type::Int | Type::Float | Type::Decimal { .. }, _) => Kind::Decades { unit: "" },
            (Type::Timedelta, _) => Kind::Decades { unit: " s" },
            (Type::Bool, _) => Kind::Bool,
            (Type::Enum { members, .. }, _) => Kind::Members(members.clone()),
            (Type::Str, _) => Kind::Lengths { unit: "characters" },
            (Type::Bytes, _) => Kind::Lengths { unit: "bytes" },
            (Type::List { .. }, _) => Kind::Lengths { unit: "items" },
            (Type::Date | Type::Datetime, _) => Kind::Years,
            (Type::Struct { .. } | Type::Vector { .. }, _) => Kind::Presence,
        })
    }

    /// The bin of a value of the partition's type.
    pub fn bin(&self, ty: &Type, value: &Value) -> Bin {
        if *value == Value::Null {
            return Bin::Null;
        }
        Bin::Of(match (&self.0, value) {
            (Kind::Bool, Value::Bool(flag)) => u32::from(*flag),
            (Kind::Members(members), Value::Str(text)) => {
                members.iter().position(|member| member == text).unwrap_or(members.len()) as u32
            }
            (Kind::Lengths { .. }, Value::Str(text)) => length_bin(text.chars().count()),
            (Kind::Lengths { .. }, Value::Bytes(bytes)) => length_bin(bytes.len()),
            (Kind::Lengths { .. }, Value::List(items)) => length_bin(items.len()),
            (Kind::Years, Value::Date(days)) => year_bin(i64::from(*days)),
            (Kind::Years, Value::Datetime(at)) => year_bin(at.micros().div_euclid(86_400_000_000)),
            (Kind::Bounded { min, max }, value) => bounded_bin(*min, *max, number(ty, value)),
            (Kind::Decades { .. }, value) => decade_bin(number(ty, value)),
            _ => 0,
        })
    }

    /// What a bin holds, in words. The same for every feature with the same definition.
    pub fn range(&self, bin: Bin) -> String {
        let Bin::Of(bin) = bin else { return "no value".to_owned() };
        match &self.0 {
            Kind::Presence => "some value".to_owned(),
            Kind::Bool => if bin == 1 { "true" } else { "false" }.to_owned(),
            Kind::Members(members) => members.get(bin as usize).cloned().unwrap_or_else(|| "another text".to_owned()),
            Kind::Bounded { min, max } => {
                let edge = |n: u32| min + (max - min) * f64::from(n) / f64::from(BOUNDED_BINS);
                let closed = if bin + 1 == BOUNDED_BINS { "to" } else { "to below" };
                format!("{} {closed} {}", edge(bin), edge(bin + 1))
            }
            Kind::Decades { unit } => decade_range(bin, unit),
            Kind::Lengths { unit } => match (LENGTHS.get(bin as usize), bin) {
                (Some(0), _) => "empty".to_owned(),
                (Some(most), _) => format!("{} to {most} {unit}", LENGTHS[bin as usize - 1] + 1),
                (None, _) => format!("more than {} {unit}", LENGTHS[LENGTHS.len() - 1]),
            },
            Kind::Years => match bin {
                0 => format!("before {}", YEARS.start()),
                n if n as i32 > YEARS.end() - YEARS.start() + 1 => format!("after {}", YEARS.end()),
                n => (YEARS.start() + n as i32 - 1).to_string(),
            },
        }
    }
}

fn number(ty: &Type, value: &Value) -> f64 {
    match (value, ty) {
        (Value::Int(number), _) => *number as f64,
        (Value::Float(number), _) => *number,
        (Value::Decimal(unscaled), Type::Decimal { scale }) => *unscaled as f64 / 10_f64.powi(i32::from(*scale)),
        (Value::Timedelta(micros), _) => *micros as f64 / 1e6,
        _ => f64::NAN,
    }
}

fn length_bin(length: usize) -> u32 {
    LENGTHS.iter().position(|most| length <= *most).unwrap_or(LENGTHS.len()) as u32
}

fn bounded_bin(min: f64, max: f64, number: f64) -> u32 {
    let share = ((number - min) / (max - min)).clamp(0.0, 1.0);
    // Of a number that is none the cast is 0.
    ((share * f64::from(BOUNDED_BINS)) as u32).min(BOUNDED_BINS - 1)
}

/// From most negative to most positive: below -10^12, ..., -10 to -1, within 1 of zero, 1 to 10, ...; what is not a number
/// comes last.
fn decade_bin(number: f64) -> u32 {
    let middle = DECADES.end() + 1;
    if number.is_nan() {
        return (2 * middle + 1) as u32;
    }
    let decade = DECADES.filter(|power| number.abs() >= 10_f64.powi(*power)).count() as i32;
    (middle + if number < 0.0 { -decade } else { decade }) as u32
}

fn decade_range(bin: u32, unit: &str) -> String {
    let middle = DECADES.end() + 1;
    let power = |decade: i32| format!("1{}{unit}", "0".repeat(decade as usize));
    match bin as i32 - middle {
        above if above > middle => "not a number".to_owned(),
        0 => format!("above -1{unit} and below 1{unit}"),
        above if above > *DECADES.end() => format!("{} and more", power(above - 1)),
        above if above > 0 => format!("{} to below {}", power(above - 1), power(above)),
        below if -below > *DECADES.end() => format!("-{} and less", power(-below - 1)),
        below => format!("-{} down to above -{}", power(-below - 1), power(-below)),
    }
}

/// By the Gregorian calendar, from days since 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn year_bin(days: i64) -> u32 {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * of_era + of_era / 4 - of_era / 100);
    let year = of_era + era * 400 + i64::from(day_of_year >= 306);
    let (first, last) = (i64::from(*YEARS.start()), i64::from(*YEARS.end()));
    (year.clamp(first - 1, last + 1) - first + 1) as u32
}

#[cfg(test)]
mod tests {
    use creta_model::Instant;

    use super::*;

    fn told(ty: &Type, validation: Option<&Validation>, value: &Value) -> String {
        let partition = Partition::of(ty, validation);
        partition.range(partition.bin(ty, value))
    }

    #[test]
    fn a_value_is_told_as_the_range_it_lies_in() {
        let zero_to_one = Validation { min: Some(0.0), max: Some(1.0), ..Validation::default() };
        let members = Type::Enum { name: "Plan".into(), members: vec!["basic".into(), "gold".into()] };
        let at = |text: &str| Value::Datetime(Instant::parse(text).expect("valid"));
        for (ty, validation, value, range) in [
            (Type::Int, None, Value::Int(0), "above -1 and below 1"),
            (Type::Int, None, Value::Int(34), "10 to below 100"),
            (Type::Int, None, Value::Int(10), "10 to below 100"),
            (Type::Int, None, Value::Int(-7), "-1 down to above -10"),
            (Type::Int, None, Value::Int(i64::MAX), "1000000000000 and more"),
            (Type::Int, None, Value::Int(i64::MIN), "-1000000000000 and less"),
            (Type::Float, None, Value::Float(f64::NAN), "not a number"),
            (Type::Float, None, Value::Float(f64::INFINITY), "1000000000000 and more"),
            (Type::Float, Some(&zero_to_one), Value::Float(0.25), "0.2 to below 0.3"),
            (Type::Float, Some(&zero_to_one), Value::Float(1.0), "0.9 to 1"),
            (Type::Decimal { scale: 2 }, None, Value::Decimal(1_250), "10 to below 100"),
            (Type::Timedelta, None, Value::Timedelta(90_000_000), "10 s to below 100 s"),
            (Type::Bool, None, Value::Bool(true), "true"),
            (members.clone(), None, Value::Str("gold".into()), "gold"),
            (members, None, Value::Str("platinum".into()), "another text"),
            (Type::Str, None, Value::Str("".into()), "empty"),
            (Type::Str, None, Value::Str("ana@example.com".into()), "9 to 16 characters"),
            (Type::Str, None, Value::Str("x".repeat(300)), "more than 256 characters"),
            (Type::Datetime, None, at("1999-12-31T23:59:59.999999Z"), "1999"),
            (Type::Datetime, None, at("2000-01-01T00:00:00Z"), "2000"),
            (Type::Datetime, None, at("0005-01-01T00:00:00Z"), "before 1900"),
            (Type::Datetime, None, at("2200-01-01T00:00:00Z"), "after 2100"),
            (Type::Vector { size: 1 }, None, Value::Vector(vec![1.0]), "some value"),
            (Type::Str, None, Value::Null, "no value"),
        ] {
            assert_eq!(told(&ty, validation, &value), range, "{ty:?}");
        }
    }

    #[test]
    fn bounds_that_bound_nothing_are_as_none() {
        for (min, max) in [(f64::NEG_INFINITY, 1.0), (1.0, 1.0), (f64::NAN, 1.0)] {
            let given = Validation { min: Some(min), max: Some(max), ..Validation::default() };
            assert_eq!(Partition::of(&Type::Int, Some(&given)), Partition::of(&Type::Int, None));
        }
    }
}
