//! One value of a type within its bounds.

use std::ops::RangeInclusive;

use creta_model::{Instant, Type, Validation, Value};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::Options;
use crate::patterns::Pattern;

/// Where nothing says otherwise numbers go this far.
const PLAIN_MAX: f64 = 1_000.0;
/// Places behind the point of floats.
const PLACES: f64 = 100.0;
/// Longest text, bytes and list where nothing says otherwise.
const TEXT_MAX: u32 = 12;
const LIST_MAX: u32 = 4;
/// Longest time where a length of time is asked for: a day, in microseconds.
const TIMEDELTA_MAX: i64 = 86_400_000_000;
/// Syllables of made-up words.
const SYLLABLES: [&str; 16] =
    ["ba", "do", "fi", "ka", "lu", "me", "no", "pa", "ri", "so", "ta", "vu", "we", "xi", "yo", "ze"];

/// Makes values of one feature.
pub(crate) struct Maker<'a> {
    ty: &'a Type,
    bounds: Validation,
    pattern: Option<Pattern>,
    options: &'a Options,
}

impl<'a> Maker<'a> {
    /// `None` where the pattern cannot be followed.
    pub(crate) fn new(ty: &'a Type, bounds: Validation, options: &'a Options) -> Option<Self> {
        let pattern = match bounds.pattern.as_deref() {
            Some(pattern) => Some(Pattern::new(pattern)?),
            None => None,
        };
        Some(Self { ty, bounds, pattern, options })
    }

    /// A value that is not null. `None` where none was found.
    pub(crate) fn value(&self, random: &mut ChaCha8Rng) -> Option<Value> {
        match (self.ty, &self.pattern) {
            (Type::Str, Some(pattern)) => {
                let text = pattern.text(random, |text| self.has_length(text.chars().count()))?;
                Some(Value::Str(text))
            }
            (Type::Int, _) => Some(Value::Int(random.random_range(self.ints()?))),
            (Type::Float, _) => self.float(random).map(Value::Float),
            (Type::Decimal { scale }, _) => Some(Value::Decimal(random.random_range(self.decimals(*scale)?))),
            (Type::Str, None) => Some(Value::Str(word(random, self.lengths(3, TEXT_MAX)?))),
            (Type::Bytes, _) => {
                let length = random.random_range(self.lengths(8, 16)?);
                Some(Value::Bytes((0..length).map(|_| random.random()).collect()))
            }
            (Type::List { item, optional }, _) => {
                let length = random.random_range(self.lengths(0, LIST_MAX)?);
                (0..length).map(|_| self.plain(item, *optional, random)).collect::<Option<_>>().map(Value::List)
            }
            (other, _) => self.plain(other, false, random),
        }
    }

    /// The number of a row as a key, so that keys count up from the first that is permitted. `None` for other types.
    pub(crate) fn counted(&self, row: u64) -> Option<Value> {
        if *self.ty != Type::Int {
            return None;
        }
        let permitted = self.ints()?;
        let first = if permitted.contains(&1) { 1 } else { *permitted.start() };
        let key = first.checked_add(i64::try_from(row).ok()?)?;
        permitted.contains(&key).then_some(Value::Int(key))
    }

    /// Whether a value of another feature is one of this one too.
    pub(crate) fn accepts(&self, value: &Value) -> bool {
        match (self.ty, value) {
            (_, Value::Null) => false,
            (Type::Int, Value::Int(number)) => self.ints().is_some_and(|permitted| permitted.contains(number)),
            (Type::Str, Value::Str(text)) => {
                self.has_length(text.chars().count())
                    && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(text))
            }
            (Type::Enum { members, .. }, Value::Str(text)) => members.contains(text),
            (Type::Bytes, Value::Bytes(bytes)) => self.has_length(bytes.len()),
            (Type::Bool, Value::Bool(_)) | (Type::Date, Value::Date(_)) | (Type::Datetime, Value::Datetime(_)) => true,
            _ => false, // Of other types nothing is equal by relation (rule S14).
        }
    }

    /// Values without bounds of their own: items, members, and types that have none.
    fn plain(&self, ty: &Type, optional: bool, random: &mut ChaCha8Rng) -> Option<Value> {
        if optional && random.random_bool(self.options.nulls) {
            return Some(Value::Null);
        }
        Some(match ty {
            Type::Bool => Value::Bool(random.random()),
            Type::Enum { members, .. } => {
                Value::Str(members.get(random.random_range(0..members.len().max(1)))?.clone())
            }
            Type::Date => Value::Date((self.micros(random)?).div_euclid(86_400_000_000) as i32),
            Type::Datetime => Value::Datetime(Instant::from_micros(self.micros(random)?).ok()?),
            // Whole seconds, as people measure.
            Type::Timedelta => Value::Timedelta(random.random_range(0..=TIMEDELTA_MAX / 1_000_000) * 1_000_000),
            Type::Struct { fields, .. } => {
                let members = fields.iter().map(|field| self.plain(&field.ty, field.optional, random));
                Value::Struct(members.collect::<Option<_>>()?)
            }
            Type::Vector { size } => Value::Vector(
                (0..*size).map(|_| random.random_range(-100_i16..=100).into()).map(|n: f32| n / 100.0).collect(),
            ),
            ty => Maker::new(ty, Validation::default(), self.options)?.value(random)?,
        })
    }

    fn micros(&self, random: &mut ChaCha8Rng) -> Option<i64> {
        let (from, to) = (self.options.from.micros(), self.options.to.micros());
        (from <= to).then(|| random.random_range(from..=to))
    }

    fn ints(&self) -> Option<RangeInclusive<i64>> {
        let (least, most) = self.reach(0.0);
        let (least, most) = (least.ceil(), most.floor());
        // Bounds beyond the type leave nothing on that side; otherwise a cast stops at its ends.
        let end = 9_223_372_036_854_775_808.0;
        let any = least < end && most >= -end && least <= most;
        any.then_some(least as i64..=most as i64)
    }

    fn decimals(&self, scale: u8) -> Option<RangeInclusive<i128>> {
        let (least, most) = self.reach(0.0);
        let unit = 10_f64.powi(i32::from(scale));
        // A step within the bounds, since scaling a bound rounds; where there is no room for that, a bound that is exact.
        let limit = 1e37;
        let (low, high) = ((least * unit).ceil().max(-limit) as i128, (most * unit).floor().min(limit) as i128);
        let step = |bound: i128| (bound.unsigned_abs() >> 50) as i128 + 1;
        let inner = low.saturating_add(step(low))..=high.saturating_sub(step(high));
        if !inner.is_empty() {
            return Some(inner);
        }
        let is_exact = |bound: i128| bound.unsigned_abs() < 1 << 53;
        Some(low..=high).filter(|range| !range.is_empty() && is_exact(low) && is_exact(high))
    }

    fn float(&self, random: &mut ChaCha8Rng) -> Option<f64> {
        let (least, most) = self.reach(0.0);
        if least > most {
            return None;
        }
        let drawn = least + (most - least) * random.random::<f64>();
        let rounded = (drawn * PLACES).round() / PLACES;
        // Rounding may leave a narrow range, and a wide one may overflow.
        let within = |number: &f64| (least..=most).contains(number);
        [rounded, drawn, least].into_iter().find(|number| number.is_finite() && within(number))
    }

    /// From the bounds, and a plain distance from the one that is given.
    fn reach(&self, least: f64) -> (f64, f64) {
        match (self.bounds.min, self.bounds.max) {
            (Some(min), Some(max)) => (min, max),
            (Some(min), None) => (min, min + PLAIN_MAX.max(min.abs())),
            (None, Some(max)) => (if max > least { least } else { max - PLAIN_MAX.max(max.abs()) }, max),
            (None, None) => (least, PLAIN_MAX),
        }
    }

    fn lengths(&self, least: u32, most: u32) -> Option<RangeInclusive<u32>> {
        let least = self.bounds.min_length.unwrap_or(least.min(self.bounds.max_length.unwrap_or(least)));
        let most = self.bounds.max_length.map_or(most.max(least), |given| given.min(most.max(least)));
        (least <= most).then_some(least..=most)
    }

    fn has_length(&self, length: usize) -> bool {
        self.bounds.min_length.is_none_or(|min| length >= min as usize)
            && self.bounds.max_length.is_none_or(|max| length <= max as usize)
    }
}

/// A made-up word of some length.
fn word(random: &mut ChaCha8Rng, lengths: RangeInclusive<u32>) -> String {
    let length = random.random_range(lengths) as usize;
    let mut word = String::with_capacity(length + 2);
    while word.len() < length {
        word.push_str(SYLLABLES[random.random_range(0..SYLLABLES.len())]);
    }
    word.truncate(length);
    word
}
