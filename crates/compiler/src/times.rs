//! Dates, instants in UTC and lengths of time, as Python's `datetime` module has them.

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::numbers::{divide_ints, half_even};
use crate::raised::{Outcome, Raised};
use crate::value::Value;

pub(crate) const DAY: i64 = 86_400_000_000;
/// 0001-01-01 and 9999-12-31 in days since 1970-01-01.
const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
const TOO_LONG: Raised = Raised::Beyond("a timedelta beyond 64 bits of microseconds");

/// Year, month and day of a day since 1970-01-01. Howard Hinnant, "chrono-compatible low-level date algorithms".
pub(crate) fn civil(days: i32) -> (i32, u32, u32) {
    let shifted = i64::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as i32, month as u32, day as u32)
}

/// The day of a date that exists, or `ValueError`.
pub(crate) fn days_of(year: i64, month: i64, day: i64) -> Outcome<i32> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=length).contains(&day) {
        return Err(Raised::VALUE);
    }
    Ok(unchecked_days(year, month, day) as i32)
}

fn unchecked_days(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

/// The day an instant is in.
pub(crate) fn day_of(micros: i64) -> i32 {
    micros.div_euclid(DAY) as i32
}

/// Hour, minute, second and microsecond of an instant.
pub(crate) fn clock(micros: i64) -> (i64, i64, i64, i64) {
    let rest = micros.rem_euclid(DAY);
    (rest / 3_600_000_000, rest / 60_000_000 % 60, rest / 1_000_000 % 60, rest % 1_000_000)
}

/// Monday is 0.
pub(crate) fn weekday(days: i32) -> i64 {
    (i64::from(days) + 3).rem_euclid(7)
}

/// A day within the years 1 to 9999, or `OverflowError`.
pub(crate) fn day(days: i64) -> Outcome<Value> {
    if DAYS.contains(&days) { Ok(Value::Date(days as i32)) } else { Err(Raised::OVERFLOW) }
}

/// An instant within the years 1 to 9999, or `OverflowError`.
pub(crate) fn instant(micros: Option<i64>) -> Outcome<Value> {
    match micros {
        Some(micros) if DAYS.contains(&micros.div_euclid(DAY)) => Ok(Value::Datetime(micros)),
        _ => Err(Raised::OVERFLOW),
    }
}

/// A length of time that 64 bits hold; Python's own limit lies further out.
pub(crate) fn length(micros: Option<i64>) -> Outcome<Value> {
    micros.map(Value::Timedelta).ok_or(TOO_LONG)
}

/// `length * count`.
pub(crate) fn times(micros: i64, count: i64) -> Outcome<Value> {
    length(micros.checked_mul(count))
}

/// `length / count`: to the nearest microsecond, ties to even.
pub(crate) fn divided(micros: i64, count: i64) -> Outcome<Value> {
    if count == 0 {
        return Err(Raised::ZERO_DIVISION);
    }
    let (numerator, denominator) = (BigInt::from(micros) * count.signum(), BigInt::from(count.unsigned_abs()));
    length(half_even(&numerator, &denominator).to_i64())
}

/// `total_seconds()`.
pub(crate) fn total_seconds(micros: i64) -> f64 {
    divide_ints(micros, 1_000_000).expect("a million is not zero")
}

pub(crate) fn date_text(days: i32) -> String {
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

pub(crate) fn datetime_text(micros: i64, separator: char) -> String {
    let (hour, minute, second, micro) = clock(micros);
    let date = date_text(day_of(micros));
    let fraction = if micro == 0 { String::new() } else { format!(".{micro:06}") };
    format!("{date}{separator}{hour:02}:{minute:02}:{second:02}{fraction}+00:00")
}

pub(crate) fn timedelta_text(micros: i64) -> String {
    let days = micros.div_euclid(DAY);
    let (hour, minute, second, micro) = clock(micros);
    let plural = if days.abs() == 1 { "" } else { "s" };
    let days = if days == 0 { String::new() } else { format!("{days} day{plural}, ") };
    let fraction = if micro == 0 { String::new() } else { format!(".{micro:06}") };
    format!("{days}{hour}:{minute:02}:{second:02}{fraction}")
}

/// `strftime`: the directives that depend on no locale. A year below 1000 is written as the C library likes, so it is
/// left to Python.
pub(crate) fn formatted(days: i32, micros_of_day: i64, format: &str) -> Outcome<String> {
    let (year, month, day) = civil(days);
    let (hour, minute, second, micro) = clock(micros_of_day);
    let of_year = i64::from(days) - i64::from(days_of(year.into(), 1, 1)?) + 1;
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('Y') if year >= 1000 => text += &year.to_string(),
            Some('m') => text += &format!("{month:02}"),
            Some('d') => text += &format!("{day:02}"),
            Some('H') => text += &format!("{hour:02}"),
            Some('M') => text += &format!("{minute:02}"),
            Some('S') => text += &format!("{second:02}"),
            Some('f') => text += &format!("{micro:06}"),
            Some('j') => text += &format!("{of_year:03}"),
            Some('%') => text.push('%'),
            _ => return Err(Raised::NOT_COMPILED),
        }
    }
    Ok(text)
}

/// Directives of [`formatted`].
pub(crate) fn is_formattable(format: &str) -> bool {
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter == '\0'
            || (letter == '%' && !matches!(letters.next(), Some('Y' | 'm' | 'd' | 'H' | 'M' | 'S' | 'f' | 'j' | '%')))
        {
            return false;
        }
    }
    true
}

/// `isocalendar()`: year, week and weekday of ISO 8601.
pub(crate) fn iso_calendar(days: i32) -> (i64, i64, i64) {
    let monday_of_week_one = |year: i64| -> i64 {
        let fourth = unchecked_days(year, 1, 4);
        fourth - weekday(fourth as i32)
    };
    let (year, _, _) = civil(days);
    let (mut year, days) = (i64::from(year), i64::from(days));
    if days < monday_of_week_one(year) {
        year -= 1;
    } else if days >= monday_of_week_one(year + 1) {
        year += 1;
    }
    let week = (days - monday_of_week_one(year)).div_euclid(7) + 1;
    (year, week, weekday(days as i32) + 1)
}
