//! The times of entries: RFC 3339 in UTC, in the one form that the log writes.

use std::fmt;

use serde::{Serialize, Serializer};

const SECONDS_A_DAY: i64 = 86_400;
const DAYS_OF_400_YEARS: i64 = 146_097;

/// An instant of the log: microseconds since 1970 in UTC, years 0 to 9999. Shown and written as
/// `2026-03-01T12:00:00Z`, with exactly six more digits where it is not a whole second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(i64);

impl Time {
    /// From microseconds since the epoch; `None` outside years 0 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        let seconds = micros.div_euclid(1_000_000);
        let (first, end) = (days(0, 1, 1) * SECONDS_A_DAY, days(10_000, 1, 1) * SECONDS_A_DAY);
        (first..end).contains(&seconds).then_some(Self(micros))
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads the form that the log writes, and no other: `Z` and capital `T`, no leap second, no needless digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let [year, month, day] = numbers(date, '-')?;
        let [hour, minute, second] = numbers(clock, ':')?;
        let fraction: i64 = fraction.parse().ok()?;
        if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = days(year, month, day) * SECONDS_A_DAY + hour * 3600 + minute * 60 + second;
        let time = Self::from_micros(seconds * 1_000_000 + fraction)?;
        // Whatever is written otherwise than the log writes it (February 30, five digits) comes back changed.
        (time.to_string() == text).then_some(time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        let (year, month, day) = date(seconds.div_euclid(SECONDS_A_DAY));
        let of_day = seconds.rem_euclid(SECONDS_A_DAY);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if micros == 0 { f.write_str("Z") } else { write!(f, ".{micros:06}Z") }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn numbers(text: &str, between: char) -> Option<[i64; 3]> {
    let mut parts = text.splitn(3, between).map(|part| if part.len() <= 4 { part.parse().ok() } else { None });
    Some([parts.next()??, parts.next()??, parts.next()??])
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that a leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before_year = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let before_month = (month * 153 + 2) / 5; // 31, 30, 31, 30, 31 days, from March on.
    before_year + before_month + day - 1 - 719_468
}

/// The date of a day counted from 1970-01-01: the inverse of `days`.
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468; // From 0000-03-01.
    let (era, of_era) = (day.div_euclid(DAYS_OF_400_YEARS), day.rem_euclid(DAYS_OF_400_YEARS));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (year * 365 + year / 4 - year / 100);
    let month = (of_year * 5 + 2) / 153;
    let day = of_year - (month * 153 + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_days_of_all_years_follow_one_another() {
        // The slow way: count through the calendar.
        let mut expected = days(0, 1, 1);
        assert_eq!(days(1970, 1, 1), 0);
        for year in 0..10_000_i64 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, length) in (1..).zip(lengths) {
                assert_eq!(days(year, month, 1), expected, "{year}-{month}");
                assert_eq!(date(expected), (year, month, 1));
                assert_eq!(date(expected + length - 1), (year, month, length));
                expected += length;
            }
        }
    }

    #[test]
    fn known_instants() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-03-01T12:00:00Z", 1_772_366_400_000_000),
            ("2026-03-01T12:00:00.000001Z", 1_772_366_400_000_001),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
        ] {
            assert_eq!(Time::parse(text).map(Time::micros), Some(micros), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "2026-03-01T12:00:00",
            "2026-03-01T12:00:00z",
            "2026-03-01t12:00:00Z",
            "2026-03-01 12:00:00Z",
            "2026-03-01T12:00:00+00:00",
            "2026-03-01T12:00:00.5Z",
            "2026-03-01T12:00:00.000000Z",
            "2026-03-01T12:00:00.1234567Z",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-03-00T12:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:60:00Z",
            "2026-12-31T23:59:60Z",
            "+026-03-01T12:00:00Z",
            "2026-3-01T12:00:00Z",
            "10000-01-01T00:00:00Z",
            "2026-03-01T12:00:00.-00001Z",
            "",
        ] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn times_are_read_as_they_are_written(micros in -62_167_219_200_000_000_i64..253_402_300_800_000_000) {
            let time = Time::from_micros(micros).expect("within the years");
            prop_assert_eq!(Time::parse(&time.to_string()), Some(time));
        }

        #[test]
        fn no_text_is_read_as_another_time(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,7})?Z?") {
            if let Some(time) = Time::parse(&text) {
                prop_assert_eq!(time.to_string(), text);
            }
        }
    }
}
