//! Instants and spans: UTC microseconds in an `i64` (rules S15 to S17).

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z. Written and read as RFC 3339 with `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instant(i64);

/// A length of time in whole microseconds, never negative. Written as `7d`, `6h`, `15m`, `30s`, `250ms` or `5us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span(i64);

/// Why a text is not an instant or a span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Rule S15: instants carry a zone.
    #[error("`{given}` has no time zone; write it as UTC, for example `2013-07-01T12:00:00Z`")]
    Naive {
        /// What was given.
        given: String,
    },
    /// Not RFC 3339 at all.
    #[error("`{given}` is not an instant; write it as UTC, for example `2013-07-01T12:00:00Z`")]
    NotAnInstant {
        /// What was given.
        given: String,
    },
    /// Rule S17: representable years only.
    #[error("`{given}` is outside the years 0001 to 9999")]
    OutOfRange {
        /// What was given.
        given: String,
    },
    /// Not a span.
    #[error("`{given}` is not a length of time; write for example `7d`, `6h`, `15m`, `30s`, `250ms` or `5us`")]
    NotASpan {
        /// What was given.
        given: String,
    },
}

impl Instant {
    /// 0001-01-01T00:00:00Z, the earliest instant Python can show.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z, the latest instant Python can show.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// Checks the range (rule S17).
    pub fn from_micros(micros: i64) -> Result<Self, TimeError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(TimeError::OutOfRange { given: format!("{micros} us") })
        }
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339. A text without a zone is refused (S15); digits finer than microseconds are floored (S17).
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let given = || text.to_owned();
        match DateTime::parse_from_rfc3339(text) {
            Ok(at) => Self::from_micros(at.timestamp_micros()).map_err(|_| TimeError::OutOfRange { given: given() }),
            Err(_) if DateTime::parse_from_rfc3339(&format!("{}Z", text.trim())).is_ok() => {
                Err(TimeError::Naive { given: given() })
            }
            Err(_) => Err(TimeError::NotAnInstant { given: given() }),
        }
    }

    /// The instant `span` later, staying inside the representable range.
    pub fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0).min(Self::MAX.0))
    }

    /// The instant `span` earlier, staying inside the representable range.
    pub fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0).max(Self::MIN.0))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = DateTime::<Utc>::from_timestamp_micros(self.0).expect("the constructor checked the range");
        let format = if self.0 % 1_000_000 == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
        f.write_str(&at.to_rfc3339_opts(format, true))
    }
}

const UNITS: [(i64, &str); 6] =
    [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms"), (1, "us")];

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// Whole microseconds; negative lengths are refused.
    pub fn from_micros(micros: i64) -> Result<Self, TimeError> {
        if micros >= 0 { Ok(Self(micros)) } else { Err(TimeError::NotASpan { given: format!("{micros} us") }) }
    }

    /// `n` seconds.
    pub const fn seconds(n: u32) -> Self {
        Self(n as i64 * 1_000_000)
    }

    /// `n` hours.
    pub const fn hours(n: u32) -> Self {
        Self(n as i64 * 3_600_000_000)
    }

    /// `n` times 86,400 seconds (rule S16).
    pub const fn days(n: u32) -> Self {
        Self(n as i64 * 86_400_000_000)
    }

    /// Microseconds.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads the form that `Display` writes: a whole number and one unit.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let error = || TimeError::NotASpan { given: text.to_owned() };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: i64 = number.parse().map_err(|_| error())?;
        let factor = UNITS.iter().find(|(_, name)| *name == unit).ok_or_else(error)?.0;
        number.checked_mul(factor).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (factor, unit) =
            UNITS.iter().find(|(factor, _)| self.0 % factor == 0).expect("every length divides by 1 us");
        if self.0 == 0 { f.write_str("0s") } else { write!(f, "{}{unit}", self.0 / factor) }
    }
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
text_serde!(Instant);
text_serde!(Span);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn s15_a_naive_time_is_refused_with_its_remedy() {
        let error = Instant::parse("2013-07-01T12:00:00").expect_err("naive");
        assert_eq!(
            error.to_string(),
            "`2013-07-01T12:00:00` has no time zone; write it as UTC, for example `2013-07-01T12:00:00Z`"
        );
    }

    #[test]
    fn s17_finer_than_a_microsecond_is_floored_also_before_the_epoch() {
        assert_eq!(Instant::parse("1970-01-01T00:00:00.0000019Z").expect("valid").micros(), 1);
        assert_eq!(Instant::parse("1969-12-31T23:59:59.9999991Z").expect("valid").micros(), -1);
    }

    #[test]
    fn spans_are_written_in_their_largest_whole_unit() {
        for text in ["7d", "6h", "90m", "30s", "250ms", "5us", "0s"] {
            assert_eq!(Span::parse(text).expect("valid").to_string(), text);
        }
        for bad in ["", "7", "d", "-1d", "1.5h", "1w", "9999999999999d"] {
            assert!(Span::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn s15_instants_survive_writing_and_reading(micros in Instant::MIN.0..=Instant::MAX.0) {
            let at = Instant(micros);
            prop_assert_eq!(Instant::parse(&at.to_string()).expect("own form"), at);
        }

        #[test]
        fn spans_survive_writing_and_reading(micros in 0..=i64::MAX) {
            let span = Span(micros);
            prop_assert_eq!(Span::parse(&span.to_string()).expect("own form"), span);
        }
    }
}
