//! Built-in functions, those of `math`, classes of `datetime`, and methods.

use std::sync::Arc;

use crate::math;
use crate::numbers;
use crate::operators::{Binary, binary, order};
use crate::raised::{Outcome, Raised};
use crate::text::{self, Ends, sized};
use crate::times::{self, DAY};
use crate::value::{Table, Value, equal};
use crate::written::{repr, str_of};

/// A function with a fixed place for each argument; one that was left out is [`Value::Unbound`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    Abs,
    Bool,
    Chr,
    Date,
    Datetime,
    Divmod,
    Enumerate,
    Float,
    Int,
    Len,
    List,
    Max,
    Min,
    Ord,
    Pow,
    Range,
    Repr,
    Reversed,
    Round,
    Set,
    Sorted,
    Str,
    Sum,
    Timedelta,
    Tuple,
    Any,
    All,
    Zip,
    /// A function of the module `math`.
    Math(math::Function),
}

impl Builtin {
    /// The built-in of that name with the names of its parameters; `*` takes any number.
    pub(crate) fn find(name: &str) -> Option<(Self, &'static [&'static str])> {
        Some(match name {
            "abs" => (Self::Abs, &["/x"]),
            "all" => (Self::All, &["/x"]),
            "any" => (Self::Any, &["/x"]),
            "bool" => (Self::Bool, &["/x?"]),
            "chr" => (Self::Chr, &["/i"]),
            "divmod" => (Self::Divmod, &["/a", "/b"]),
            "enumerate" => (Self::Enumerate, &["iterable", "start?"]),
            "float" => (Self::Float, &["/x?"]),
            "frozenset" | "set" => (Self::Set, &["/x?"]),
            "int" => (Self::Int, &["/x?"]),
            "len" => (Self::Len, &["/x"]),
            "list" => (Self::List, &["/x?"]),
            "max" => (Self::Max, &["*", "default?"]),
            "min" => (Self::Min, &["*", "default?"]),
            "ord" => (Self::Ord, &["/c"]),
            "pow" => (Self::Pow, &["base", "exp"]),
            "range" => (Self::Range, &["/start", "/stop?", "/step?"]),
            "repr" => (Self::Repr, &["/x"]),
            "reversed" => (Self::Reversed, &["/x"]),
            "round" => (Self::Round, &["number", "ndigits?"]),
            "sorted" => (Self::Sorted, &["/x", "reverse?"]),
            "str" => (Self::Str, &["/x?"]),
            "sum" => (Self::Sum, &["/x", "start?"]),
            "tuple" => (Self::Tuple, &["/x?"]),
            "zip" => (Self::Zip, &["*"]),
            _ => return None,
        })
    }

    /// A class of the module `datetime`.
    pub(crate) fn find_datetime(name: &str) -> Option<(Self, &'static [&'static str])> {
        Some(match name {
            "date" => (Self::Date, &["year", "month", "day"]),
            "datetime" => {
                (Self::Datetime, &["year", "month", "day", "hour?", "minute?", "second?", "microsecond?", "tzinfo?"])
            }
            "timedelta" => (
                Self::Timedelta,
                &["days?", "seconds?", "microseconds?", "milliseconds?", "minutes?", "hours?", "weeks?"],
            ),
            _ => return None,
        })
    }

    /// Whether the result is an iterator or view, which may only be walked on the spot.
    pub(crate) fn is_iterator(self) -> bool {
        matches!(self, Self::Enumerate | Self::Range | Self::Reversed | Self::Zip)
    }

    /// Calls it.
    pub(crate) fn call(self, args: &[Value]) -> Outcome<Value> {
        let given = |at: usize| args.get(at).filter(|arg| !matches!(arg, Value::Unbound));
        Ok(match self {
            Self::Abs => return absolute(&args[0]),
            Self::All => Value::Bool(items(&args[0])?.iter().all(Value::truth)),
            Self::Any => Value::Bool(items(&args[0])?.iter().any(Value::truth)),
            Self::Bool => Value::Bool(given(0).is_some_and(Value::truth)),
            Self::Chr => {
                // Beyond a C `int` it is an `OverflowError`, and from Python 3.13 on a `ValueError`.
                let code = int(&args[0])?;
                let code = i32::try_from(code).map_err(|_| Raised::VERSION)?;
                let code = u32::try_from(code).ok().filter(|code| *code < 0x11_0000).ok_or(Raised::VALUE)?;
                let letter = char::from_u32(code).ok_or(Raised::Beyond("half of a surrogate pair"))?;
                Value::text(letter.encode_utf8(&mut [0; 4]))
            }
            Self::Date => Value::Date(times::days_of(c_int(&args[0])?, c_int(&args[1])?, c_int(&args[2])?)?),
            Self::Datetime => return datetime(args),
            Self::Divmod => Value::Tuple(
                [binary(Binary::FloorDiv, &args[0], &args[1])?, binary(Binary::Mod, &args[0], &args[1])?].into(),
            ),
            Self::Enumerate => {
                let start = given(1).map_or(Ok(0), int)?;
                let walked = items(&args[0])?;
                let numbered = walked.iter().enumerate().map(|(at, item)| {
                    let number = start.checked_add(at as i64).ok_or(Raised::INT)?;
                    Ok(Value::Tuple([Value::Int(number), item.clone()].into()))
                });
                Value::List(numbered.collect::<Outcome<_>>()?)
            }
            Self::Float => match given(0) {
                None => Value::Float(0.0),
                Some(Value::Str(text)) => Value::Float(text::parse_float(text)?),
                Some(other) => Value::Float(other.as_float().ok_or(Raised::TYPE)?),
            },
            Self::Int => match given(0) {
                None => Value::Int(0),
                Some(Value::Str(text)) => Value::Int(text::parse_int(text)?),
                Some(Value::Float(float)) => Value::Int(numbers::whole(float.trunc())?),
                Some(other) => Value::Int(int(other)?),
            },
            Self::Len => Value::Int(length(&args[0])? as i64),
            Self::List => Value::List(given(0).map_or(Ok(Arc::from([])), items)?),
            Self::Max | Self::Min => return extreme(self == Self::Max, args),
            Self::Ord => match &args[0] {
                Value::Str(text) => {
                    let mut letters = text.chars();
                    match (letters.next(), letters.next()) {
                        (Some(letter), None) => Value::Int(letter as i64),
                        _ => return Err(Raised::TYPE),
                    }
                }
                _ => return Err(Raised::TYPE),
            },
            Self::Pow => return binary(Binary::Pow, &args[0], &args[1]),
            Self::Range => return range(args),
            Self::Repr => Value::text(&repr(&args[0])?),
            Self::Reversed => match &args[0] {
                Value::List(items) | Value::Tuple(items) => Value::List(items.iter().rev().cloned().collect()),
                Value::Str(_) | Value::Dict(_) => Value::List(items(&args[0])?.iter().rev().cloned().collect()),
                _ => return Err(Raised::TYPE),
            },
            Self::Round => return round(&args[0], given(1)),
            Self::Set => {
                let mut table = Table::default();
                for item in given(0).map_or(Ok(Arc::from([])), all_items)?.iter() {
                    table.insert(item.clone(), None)?;
                }
                Value::Set(table.into())
            }
            Self::Sorted => {
                let reverse = match given(1) {
                    None => false,
                    Some(Value::Bool(flag)) => *flag,
                    Some(Value::Int(int)) if i32::try_from(*int).is_ok() => *int != 0,
                    // Before Python 3.12 a `TypeError` or `OverflowError`, since then its truth.
                    Some(_) => return Err(Raised::NOT_COMPILED),
                };
                Value::List(sorted(&all_items(&args[0])?, reverse)?)
            }
            Self::Str => Value::text(&given(0).map_or(Ok(String::new()), str_of)?),
            Self::Sum => {
                let mut sum = Sum::from(given(1).cloned().unwrap_or(Value::Int(0)))?;
                items(&args[0])?.iter().try_for_each(|item| sum.add(item))?;
                return sum.total();
            }
            Self::Timedelta => return timedelta(args),
            Self::Tuple => Value::Tuple(given(0).map_or(Ok(Arc::from([])), items)?),
            Self::Zip => {
                let columns = args.iter().map(items).collect::<Outcome<Vec<_>>>()?;
                let rows = columns.iter().map(|column| column.len()).min().unwrap_or(0);
                let row = |at: usize| Value::Tuple(columns.iter().map(|column| column[at].clone()).collect());
                Value::List((0..rows).map(row).collect())
            }
            Self::Math(function) => return function.call(args),
        })
    }
}

/// An argument that has to be an int.
fn int(value: &Value) -> Outcome<i64> {
    value.as_int().ok_or(Raised::TYPE)
}

/// An argument that CPython takes as a C `int`.
fn c_int(value: &Value) -> Outcome<i64> {
    int(value).and_then(|int| i32::try_from(int).map(i64::from).map_err(|_| Raised::OVERFLOW))
}

fn str_arg(value: &Value) -> Outcome<&str> {
    if let Value::Str(text) = value { Ok(text) } else { Err(Raised::TYPE) }
}

/// What a loop over the value walks. Sets are not walked: their order is not known.
pub(crate) fn items(value: &Value) -> Outcome<Arc<[Value]>> {
    Ok(match value {
        Value::List(items) | Value::Tuple(items) => Arc::clone(items),
        Value::Dict(table) => table.keys.iter().cloned().collect(),
        Value::Str(text) => text.chars().map(|letter| Value::text(letter.encode_utf8(&mut [0; 4]))).collect(),
        Value::Set(_) => return Err(Raised::NOT_COMPILED),
        _ => return Err(Raised::TYPE),
    })
}

/// The same where the order does not matter.
fn all_items(value: &Value) -> Outcome<Arc<[Value]>> {
    match value {
        Value::Set(table) => Ok(table.keys.iter().cloned().collect()),
        other => items(other),
    }
}

fn length(value: &Value) -> Outcome<usize> {
    Ok(match value {
        Value::Str(text) => text::length(text),
        Value::List(items) | Value::Tuple(items) => items.len(),
        Value::Set(table) | Value::Dict(table) => table.keys.len(),
        _ => return Err(Raised::TYPE),
    })
}

fn absolute(value: &Value) -> Outcome<Value> {
    Ok(match value {
        Value::Float(float) => Value::Float(float.abs()),
        Value::Timedelta(micros) => times::length(micros.checked_abs())?,
        other => Value::Int(int(other)?.checked_abs().ok_or(Raised::INT)?),
    })
}

fn round(number: &Value, digits: Option<&Value>) -> Outcome<Value> {
    let digits = match digits {
        None | Some(Value::None) => None,
        Some(digits) => Some(digits),
    };
    Ok(match (number, digits) {
        (Value::Float(float), None) => Value::Int(numbers::whole(float.round_ties_even())?),
        (Value::Float(float), Some(digits)) => Value::Float(numbers::round_float(*float, int(digits)?)?),
        (Value::Int(_) | Value::Bool(_), None) => Value::Int(int(number)?),
        (Value::Int(_) | Value::Bool(_), Some(digits)) => Value::Int(numbers::round_int(int(number)?, int(digits)?)?),
        _ => return Err(Raised::TYPE),
    })
}

fn extreme(largest: bool, args: &[Value]) -> Outcome<Value> {
    let (default, values) = args.split_last().expect("the place of `default`");
    let values = match values {
        [one] => items(one)?,
        many if matches!(default, Value::Unbound) => many.into(),
        _ => return Err(Raised::TYPE),
    };
    let mut best: Option<Value> = None;
    for value in values.iter() {
        improve(&mut best, value, largest)?;
    }
    match (best, default) {
        (Some(best), _) => Ok(best),
        (None, Value::Unbound) => Err(Raised::VALUE),
        (None, default) => Ok(default.clone()),
    }
}

/// Takes `value` for the best so far if it is better: the first of equals stays, and NaN neither wins nor loses.
pub(crate) fn improve(best: &mut Option<Value>, value: &Value, largest: bool) -> Outcome<()> {
    let better = match best {
        None => true,
        Some(best) => {
            let wanted = if largest { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less };
            order(value, best)? == Some(wanted)
        }
    };
    if better {
        *best = Some(value.clone());
    }
    Ok(())
}

/// A running `sum`. Floats are added as before Python 3.12 and with the compensation since; where the two differ, the
/// answer depends on the version and is left to Python.
pub(crate) struct Sum {
    plain: Value,
    /// Sum and compensation since the first float.
    compensated: Option<(f64, f64)>,
}

impl Sum {
    pub(crate) fn from(start: Value) -> Outcome<Self> {
        if matches!(start, Value::Str(_)) {
            return Err(Raised::TYPE);
        }
        let compensated = if let Value::Float(start) = start { Some((start, 0.0)) } else { None };
        Ok(Self { plain: start, compensated })
    }

    pub(crate) fn add(&mut self, item: &Value) -> Outcome<()> {
        let before = self.plain.as_float();
        self.plain = binary(Binary::Add, &self.plain, item)?;
        match (&mut self.compensated, item) {
            (Some((sum, rest)), Value::Float(item)) => {
                // Neumaier's summation, as `cs_add` of CPython 3.12 has it.
                let total = *sum + item;
                *rest += if sum.abs() >= item.abs() { (*sum - total) + item } else { (item - total) + *sum };
                *sum = total;
            }
            (Some((sum, _)), item) => *sum += item.as_float().ok_or(Raised::TYPE)?,
            (None, Value::Float(item)) => self.compensated = before.map(|before| (before + item, 0.0)),
            (None, _) => {}
        }
        Ok(())
    }

    pub(crate) fn total(self) -> Outcome<Value> {
        if let (Some((sum, rest)), Value::Float(plain)) = (self.compensated, &self.plain) {
            let better = if rest != 0.0 && rest.is_finite() { sum + rest } else { sum };
            if better.to_bits() != plain.to_bits() && !(better.is_nan() && plain.is_nan()) {
                return Err(Raised::Beyond("a sum of floats that differs between versions of Python"));
            }
        }
        Ok(self.plain)
    }
}

fn sorted(items: &[Value], reverse: bool) -> Outcome<Arc<[Value]>> {
    let mut sorted = items.to_vec();
    // Reversed before and after, equal items keep their order.
    if reverse {
        sorted.reverse();
    }
    let mut sorted = merge_sorted(sorted)?;
    if reverse {
        sorted.reverse();
    }
    Ok(sorted.into())
}

/// Merge sort with an order that may raise, which the sort of the standard library does not take.
fn merge_sorted(mut items: Vec<Value>) -> Outcome<Vec<Value>> {
    if items.len() < 2 {
        return Ok(items);
    }
    let right = merge_sorted(items.split_off(items.len() / 2))?;
    let left = merge_sorted(items)?;
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = match order(b, a)? {
            Some(std::cmp::Ordering::Less) => right.next(),
            Some(_) => left.next(),
            // Where NaN ends up depends on which pairs are compared.
            None => return Err(Raised::Beyond("the order of NaN in `sorted`")),
        };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}

/// Longest range that is walked.
const RANGE_MAX: usize = 100_000;

fn range(args: &[Value]) -> Outcome<Value> {
    let (start, stop) = match &args[1] {
        Value::Unbound => (0, int(&args[0])?),
        stop => (int(&args[0])?, int(stop)?),
    };
    let step = if matches!(args[2], Value::Unbound) { 1 } else { int(&args[2])? };
    let beyond =
        if step == 0 { return Err(Raised::VALUE) } else { |at: i64| if step > 0 { at >= stop } else { at <= stop } };
    let mut walked = Vec::new();
    let mut at = start;
    while !beyond(at) {
        if walked.len() == RANGE_MAX {
            return Err(Raised::Beyond("a range of more than 100,000 numbers"));
        }
        walked.push(Value::Int(at));
        match at.checked_add(step) {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(Value::List(walked.into()))
}

fn datetime(args: &[Value]) -> Outcome<Value> {
    // All arguments are converted before any is looked at.
    let mut parts = [0; 7];
    for (part, arg) in parts.iter_mut().zip(args) {
        if !matches!(arg, Value::Unbound) {
            *part = c_int(arg)?;
        }
    }
    let [year, month, day, hour, minute, second, micro] = parts;
    let day = times::days_of(year, month, day)?;
    let inside = |count: i64, limit: i64| (0..limit).contains(&count);
    if !(inside(hour, 24) && inside(minute, 60) && inside(second, 60) && inside(micro, 1_000_000)) {
        return Err(Raised::VALUE);
    }
    Ok(Value::Datetime(i64::from(day) * DAY + hour * 3_600_000_000 + minute * 60_000_000 + second * 1_000_000 + micro))
}

fn timedelta(args: &[Value]) -> Outcome<Value> {
    let units = [DAY, 1_000_000, 1, 1_000, 60_000_000, 3_600_000_000, 7 * DAY];
    let mut total = Some(0i64);
    for (arg, unit) in args.iter().zip(units) {
        let count = match arg {
            Value::Unbound => continue,
            // A whole number of a unit leaves nothing to round.
            Value::Float(float) if float.fract() == 0.0 && float.abs() < 1e9 => *float as i64,
            Value::Float(float) => halves(*float, unit)?,
            other => int(other)?,
        };
        let micros = if matches!(arg, Value::Float(float) if float.fract() != 0.0) {
            Some(count)
        } else {
            count.checked_mul(unit)
        };
        total = total.zip(micros).and_then(|(total, micros)| total.checked_add(micros));
    }
    times::length(total)
}

/// Microseconds of a number of units that has a fraction, where they are whole however one rounds.
fn halves(count: f64, unit: i64) -> Outcome<i64> {
    // Eighths of a unit are exact in a double, and so is everything done with them.
    let eighths = count * 8.0;
    if eighths.fract() == 0.0 && eighths.abs() < 1e9 && unit % 8 == 0 {
        return (eighths as i64).checked_mul(unit / 8).ok_or(Raised::INT);
    }
    Err(Raised::Beyond("a timedelta of a float"))
}

/// A method, by the name it has in Python; several types may have one of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Capitalize,
    Center,
    Count,
    Date,
    Endswith,
    Find,
    Get,
    Index,
    Isalnum,
    Isalpha,
    Isascii,
    Isdecimal,
    Isdigit,
    Islower,
    Isnumeric,
    Isocalendar,
    Isoformat,
    Isoweekday,
    Isspace,
    Istitle,
    Isupper,
    Items,
    Join,
    Keys,
    Ljust,
    Lower,
    Lstrip,
    Partition,
    Removeprefix,
    Removesuffix,
    Replace,
    ReplaceTime,
    Rfind,
    Rindex,
    Rjust,
    Rpartition,
    Rsplit,
    Rstrip,
    Split,
    Splitlines,
    Startswith,
    Strftime,
    Strip,
    Swapcase,
    Timestamp,
    Title,
    Toordinal,
    TotalSeconds,
    Upper,
    Values,
    Weekday,
    Zfill,
}

impl Method {
    /// The method of that name with the names of its parameters. A name with `/` is positional, one with `?` optional.
    pub(crate) fn find(name: &str) -> Option<(Self, &'static [&'static str])> {
        use Method as M;
        Some(match name {
            "capitalize" => (M::Capitalize, &[]),
            "center" => (M::Center, &["/width", "/fillchar?"]),
            "count" => (M::Count, &["/x"]),
            "date" => (M::Date, &[]),
            "endswith" => (M::Endswith, &["/suffix"]),
            "find" => (M::Find, &["/x"]),
            "get" => (M::Get, &["/key", "/default?"]),
            "index" => (M::Index, &["/x"]),
            "isalnum" => (M::Isalnum, &[]),
            "isalpha" => (M::Isalpha, &[]),
            "isascii" => (M::Isascii, &[]),
            "isdecimal" => (M::Isdecimal, &[]),
            "isdigit" => (M::Isdigit, &[]),
            "islower" => (M::Islower, &[]),
            "isnumeric" => (M::Isnumeric, &[]),
            "isocalendar" => (M::Isocalendar, &[]),
            "isoformat" => (M::Isoformat, &[]),
            "isoweekday" => (M::Isoweekday, &[]),
            "isspace" => (M::Isspace, &[]),
            "istitle" => (M::Istitle, &[]),
            "isupper" => (M::Isupper, &[]),
            "items" => (M::Items, &[]),
            "join" => (M::Join, &["/x"]),
            "keys" => (M::Keys, &[]),
            "ljust" => (M::Ljust, &["/width", "/fillchar?"]),
            "lower" => (M::Lower, &[]),
            "lstrip" => (M::Lstrip, &["/chars?"]),
            "partition" => (M::Partition, &["/sep"]),
            "removeprefix" => (M::Removeprefix, &["/prefix"]),
            "removesuffix" => (M::Removesuffix, &["/suffix"]),
            "replace" => (M::Replace, &["/old", "/new", "/count?"]),
            "rfind" => (M::Rfind, &["/x"]),
            "rindex" => (M::Rindex, &["/x"]),
            "rjust" => (M::Rjust, &["/width", "/fillchar?"]),
            "rpartition" => (M::Rpartition, &["/sep"]),
            "rsplit" => (M::Rsplit, &["sep?", "maxsplit?"]),
            "rstrip" => (M::Rstrip, &["/chars?"]),
            "split" => (M::Split, &["sep?", "maxsplit?"]),
            "splitlines" => (M::Splitlines, &[]),
            "startswith" => (M::Startswith, &["/prefix"]),
            "strftime" => (M::Strftime, &["format"]),
            "strip" => (M::Strip, &["/chars?"]),
            "swapcase" => (M::Swapcase, &[]),
            "timestamp" => (M::Timestamp, &[]),
            "title" => (M::Title, &[]),
            "toordinal" => (M::Toordinal, &[]),
            "total_seconds" => (M::TotalSeconds, &[]),
            "upper" => (M::Upper, &[]),
            "values" => (M::Values, &[]),
            "weekday" => (M::Weekday, &[]),
            "zfill" => (M::Zfill, &["/width"]),
            _ => return None,
        })
    }

    /// `replace` with keywords, as dates have it.
    pub(crate) const REPLACE_TIME: (Self, &'static [&'static str]) =
        (Self::ReplaceTime, &["year?", "month?", "day?", "hour?", "minute?", "second?", "microsecond?"]);

    /// Whether the result is a view or named tuple, which may only be walked or looked into on the spot.
    pub(crate) fn is_view(self) -> bool {
        matches!(self, Self::Items | Self::Keys | Self::Values | Self::Isocalendar)
    }

    /// Whether a value has a method of this name.
    pub(crate) fn is_of(self, value: &Value) -> bool {
        use Method as M;
        let of_dict = matches!(self, M::Get | M::Items | M::Keys | M::Values);
        let of_datetime = matches!(self, M::Date | M::Timestamp);
        let of_date = matches!(
            self,
            M::Isocalendar
                | M::Isoformat
                | M::Isoweekday
                | M::Replace
                | M::ReplaceTime
                | M::Strftime
                | M::Toordinal
                | M::Weekday
        );
        match value {
            Value::Str(_) => {
                let only_of_others = of_date && !matches!(self, M::Replace | M::ReplaceTime);
                !(of_dict || of_datetime || only_of_others || self == M::TotalSeconds)
            }
            Value::Dict(_) => of_dict,
            Value::Date(_) => of_date,
            Value::Datetime(_) => of_date || of_datetime,
            Value::Timedelta(_) => self == M::TotalSeconds,
            Value::List(_) | Value::Tuple(_) => matches!(self, M::Count | M::Index),
            _ => false,
        }
    }

    /// Calls it on the first argument.
    pub(crate) fn call(self, args: &[Value]) -> Outcome<Value> {
        match &args[0] {
            Value::Str(text) => self.of_text(text, &args[1..]),
            Value::Dict(table) => self.of_dict(table, &args[1..]),
            Value::Date(day) => self.of_time(*day, None, &args[1..]),
            Value::Datetime(micros) => self.of_time(times::day_of(*micros), Some(*micros), &args[1..]),
            Value::Timedelta(micros) if self == Self::TotalSeconds => Ok(Value::Float(times::total_seconds(*micros))),
            Value::List(_) | Value::Tuple(_) if matches!(self, Self::Count | Self::Index) => self.of_items(args),
            _ => Err(Raised::ATTRIBUTE),
        }
    }

    fn of_items(self, args: &[Value]) -> Outcome<Value> {
        let mut count = 0;
        for (at, item) in items(&args[0])?.iter().enumerate() {
            if crate::value::same_item(item, &args[1])? {
                if self == Self::Index {
                    return Ok(Value::Int(at as i64));
                }
                count += 1;
            }
        }
        if self == Self::Index { Err(Raised::VALUE) } else { Ok(Value::Int(count)) }
    }

    fn of_dict(self, table: &Table, args: &[Value]) -> Outcome<Value> {
        Ok(match self {
            Self::Get => match (table.find(&args[0])?, &args[1]) {
                (Some(at), _) => table.values[at].clone(),
                (None, Value::Unbound) => Value::None,
                (None, default) => default.clone(),
            },
            Self::Keys => Value::List(table.keys.iter().cloned().collect()),
            Self::Values => Value::List(table.values.iter().cloned().collect()),
            Self::Items => {
                let pairs = table.keys.iter().zip(&table.values);
                Value::List(pairs.map(|(key, value)| Value::Tuple([key.clone(), value.clone()].into())).collect())
            }
            _ => return Err(Raised::ATTRIBUTE),
        })
    }

    fn of_text(self, own: &str, args: &[Value]) -> Outcome<Value> {
        let part = |at: usize| str_arg(&args[at]);
        let optional = |at: usize| match &args[at] {
            Value::Unbound | Value::None => Ok(None),
            other => str_arg(other).map(Some),
        };
        let flag = |is: bool| Ok(Value::Bool(is));
        let written = |text: String| Ok(Value::Str(text.into()));
        match self {
            Self::Capitalize => written(text::capitalize(own)?),
            Self::Center | Self::Ljust | Self::Rjust => {
                let fill = if let Value::Unbound = args[1] { " " } else { part(1)? };
                let side = match self {
                    Self::Center => 'c',
                    Self::Ljust => 'l',
                    _ => 'r',
                };
                written(text::justify(own, int(&args[0])?, fill, side)?)
            }
            Self::Count => Ok(Value::Int(text::count(own, part(0)?))),
            Self::Endswith => affix(&args[0], |part| own.ends_with(part)),
            Self::Startswith => affix(&args[0], |part| own.starts_with(part)),
            Self::Find => Ok(Value::Int(text::find(own, part(0)?, false))),
            Self::Rfind => Ok(Value::Int(text::find(own, part(0)?, true))),
            Self::Index | Self::Rindex => match text::find(own, part(0)?, self == Self::Rindex) {
                -1 => Err(Raised::VALUE),
                at => Ok(Value::Int(at)),
            },
            Self::Isalnum => flag(text::every(own, char::is_ascii_alphanumeric)?),
            Self::Isalpha => flag(text::every(own, char::is_ascii_alphabetic)?),
            Self::Isascii => flag(own.is_ascii()),
            Self::Isdecimal | Self::Isdigit | Self::Isnumeric => flag(text::every(own, char::is_ascii_digit)?),
            Self::Islower => flag(text::cased(own, char::is_ascii_lowercase)?),
            Self::Isupper => flag(text::cased(own, char::is_ascii_uppercase)?),
            Self::Isspace => flag(!own.is_empty() && own.chars().all(text::is_space)),
            Self::Istitle => flag(text::istitle(own)?),
            Self::Join => text::join(own, &items(&args[0])?),
            Self::Lower => written(text::lower(own)?),
            Self::Upper => written(text::upper(own)?),
            Self::Strip => Ok(Value::text(text::strip(own, optional(0)?, Ends::Both))),
            Self::Lstrip => Ok(Value::text(text::strip(own, optional(0)?, Ends::Left))),
            Self::Rstrip => Ok(Value::text(text::strip(own, optional(0)?, Ends::Right))),
            Self::Partition => text::partition(own, part(0)?, false),
            Self::Rpartition => text::partition(own, part(0)?, true),
            Self::Removeprefix => Ok(Value::text(own.strip_prefix(part(0)?).unwrap_or(own))),
            Self::Removesuffix => Ok(Value::text(own.strip_suffix(part(0)?).unwrap_or(own))),
            Self::Replace => {
                let limit = if let Value::Unbound = args[2] { -1 } else { int(&args[2])? };
                written(text::replace(own, part(0)?, part(1)?, limit)?)
            }
            Self::Split | Self::Rsplit => {
                let limit = if let Value::Unbound = args[1] { -1 } else { int(&args[1])? };
                Ok(Value::List(text::split(own, optional(0)?, limit, self == Self::Rsplit)?.into()))
            }
            Self::Splitlines => Ok(Value::List(text::splitlines(own).into())),
            Self::Swapcase => written(text::swapcase(own)?),
            Self::Title => written(text::title(own)?),
            Self::Zfill => written(text::zfill(own, int(&args[0])?)?),
            // `str` has no method of this name, or takes no such keywords.
            Self::ReplaceTime => Err(Raised::TYPE),
            _ => Err(Raised::ATTRIBUTE),
        }
    }

    /// Of a date, and of an instant where `micros` is given.
    fn of_time(self, day: i32, micros: Option<i64>, args: &[Value]) -> Outcome<Value> {
        let iso = times::iso_calendar(day);
        Ok(match (self, micros) {
            (Self::Date, Some(_)) => Value::Date(day),
            (Self::Timestamp, Some(micros)) => Value::Float(times::total_seconds(micros)),
            (Self::Isoformat, None) => Value::text(&times::date_text(day)),
            (Self::Isoformat, Some(micros)) => Value::text(&times::datetime_text(micros, 'T')),
            (Self::Isoweekday, _) => Value::Int(iso.2),
            (Self::Weekday, _) => Value::Int(times::weekday(day)),
            (Self::Toordinal, _) => Value::Int(i64::from(day) + 719_163),
            (Self::Isocalendar, _) => Value::Tuple([Value::Int(iso.0), Value::Int(iso.1), Value::Int(iso.2)].into()),
            (Self::Strftime, micros) => {
                Value::text(&times::formatted(day, micros.unwrap_or(0).rem_euclid(DAY), str_arg(&args[0])?)?)
            }
            (Self::ReplaceTime, micros) => return replaced(day, micros, args),
            (Self::Replace, _) => return Err(Raised::NOT_COMPILED),
            _ => return Err(Raised::ATTRIBUTE),
        })
    }
}

fn affix(arg: &Value, has: impl Fn(&str) -> bool) -> Outcome<Value> {
    match arg {
        Value::Str(part) => Ok(Value::Bool(has(part))),
        Value::Tuple(parts) => {
            for part in parts.iter() {
                if has(str_arg(part)?) {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        _ => Err(Raised::TYPE),
    }
}

fn replaced(day: i32, micros: Option<i64>, args: &[Value]) -> Outcome<Value> {
    let (year, month, of_month) = times::civil(day);
    let (hour, minute, second, micro) = times::clock(micros.unwrap_or(0));
    let own = [year.into(), month.into(), of_month.into(), hour, minute, second, micro];
    if micros.is_none() && args[3..].iter().any(|arg| !matches!(arg, Value::Unbound)) {
        return Err(Raised::TYPE);
    }
    let full: Vec<Value> = args
        .iter()
        .zip(own)
        .map(|(arg, own)| if let Value::Unbound = arg { Value::Int(own) } else { arg.clone() })
        .collect();
    match micros {
        Some(_) => datetime(&full),
        None => Builtin::Date.call(&full),
    }
}

/// The member of an enum with that value.
pub(crate) fn member(class: &Arc<crate::value::EnumClass>, value: &Value) -> Outcome<Value> {
    if matches!(value, Value::Enum(own, _) if own.name == class.name) {
        return Ok(value.clone());
    }
    for (at, (_, text)) in class.members.iter().enumerate() {
        if equal(&Value::text(text), value)? {
            return Ok(Value::Enum(Arc::clone(class), at as u32));
        }
    }
    Err(Raised::VALUE)
}

/// Whether a text of this many items may be built.
pub(crate) fn list_of(values: Vec<Value>) -> Outcome<Arc<[Value]>> {
    sized(Some(values.len()))?;
    Ok(values.into())
}
