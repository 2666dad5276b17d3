//! How old an observation may be.

use std::fmt;

use creta_model::Span;
use serde::{Deserialize, Serialize};

/// How old an observation may be and still count: more than nothing, at most [`Freshness::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Freshness(Span);

/// A text that says no such age.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is no freshness; write a number and `s`, `m`, `h` or `d`, at most `366d`, as in `90s`, `5m`, `1h` or `7d`"
)]
pub struct InvalidFreshness {
    /// The refused text.
    pub given: String,
}

impl Freshness {
    /// A year, for what people do once a year.
    pub const MAX: Self = Self(Span::days(366));
    /// A month, for what is measured.
    pub const MEASURED_MAX: Self = Self(Span::days(31));

    /// Reads `90s`, `5m`, `1h` or `7d`.
    pub fn parse(text: &str) -> Result<Self, InvalidFreshness> {
        let error = || InvalidFreshness { given: text.to_owned() };
        let number = text.strip_suffix(['s', 'm', 'h', 'd']).ok_or_else(error)?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        let span = Span::parse(text).map_err(|_| error())?;
        if span == Span::ZERO || span > Self::MAX.0 { Err(error()) } else { Ok(Self(span)) }
    }

    /// The age as a length of time.
    pub const fn span(self) -> Span {
        self.0
    }
}

impl TryFrom<String> for Freshness {
    type Error = InvalidFreshness;

    fn try_from(text: String) -> Result<Self, InvalidFreshness> {
        Self::parse(&text)
    }
}

impl From<Freshness> for String {
    fn from(freshness: Freshness) -> String {
        freshness.to_string()
    }
}

impl fmt::Display for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h", 3600), ("7d", 604_800), ("366d", 31_622_400)] {
            assert_eq!(Freshness::parse(text).expect("valid").span(), Span::seconds(seconds), "{text}");
        }
        for bad in
            ["", "5", "s", "0s", "-1s", "1.5h", "5 m", "1w", "5ms", "5us", "367d", "99999999999999999999s", "1H", "+1s"]
        {
            assert_eq!(Freshness::parse(bad), Err(InvalidFreshness { given: bad.to_owned() }));
        }
    }
}
