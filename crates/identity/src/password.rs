//! Passwords, where there are any at all: a tenant's own users and break-glass (NIST SP 800-63B §3.1.1).
//!
//! Long ones, no rules about kinds of characters, nothing that is known to be breached or easily guessed, kept as Argon2id
//! with the parameters beside it. Text is normalised to NFKC, as SP 800-63B recommends: the same keys pressed on another
//! computer give the same password. NFC would keep apart what people cannot see apart, such as `ﬁ` and `fi`. Because NFKC
//! makes some characters longer (U+FDFA becomes eighteen), a password has to be long enough before and after.

mod breached;
mod hash;

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;
use zxcvbn::Score;

pub use breached::{Bytes, ListFile};
pub use hash::{Cost, Costs, PasswordHash, Verdict, verify};

/// Fewest characters of a new password.
pub const CHARACTERS_MIN: usize = 14;
/// Most characters: enough for any sentence; SP 800-63B asks for 64 at least.
pub const CHARACTERS_MAX: usize = 256;
/// Fewest letters and digits that are not about the person: `AnaLimaAcme2026` has four.
const REST_MIN: usize = 8;
/// NFKC makes a character at most 18 times longer; this is where we stop reading.
const NORMALISED_BYTES_MAX: usize = 8 * 1024;

/// Why a new password was refused. Texts are shown to who chose it; none holds a part of it.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Fewer than [`CHARACTERS_MIN`].
    #[error("the password is too short; use at least {CHARACTERS_MIN} characters, for example five random words")]
    TooShort,
    /// More than [`CHARACTERS_MAX`].
    #[error("the password is too long; use at most {CHARACTERS_MAX} characters")]
    TooLong,
    /// A line break, a tab or another character that a form would not pass on.
    #[error("the password holds a control character; use letters, digits, signs and blanks")]
    Control,
    /// On a list of breached ones, or a variant of an obvious one.
    #[error("the password is known from breaches; choose one that is used nowhere else")]
    Breached,
    /// Guessed in fewer than 10^8 tries.
    #[error("the password is easily guessed; use longer or more unusual words, and nothing about yourself")]
    Guessable,
    /// The list of breached ones cannot be read: nothing is accepted until it can.
    #[error("the list of breached passwords cannot be read; check the file that is configured")]
    List(#[source] std::io::Error),
    /// A stored hash was made by weaker parameters than were ever used, or cannot be read.
    #[error("the stored hash is not one of ours; set a new password for this account")]
    Tampered,
}

impl PasswordError {
    /// The promise that a refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        "CI-25"
    }
}

/// A password as it was typed, normalised; wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    normalised: Zeroizing<String>,
    typed_characters: usize,
}

impl Password {
    /// Reads what was typed. Never cut: what is too long is refused.
    pub fn parse(typed: &str) -> Result<Self, PasswordError> {
        let typed_characters = typed.chars().take(CHARACTERS_MAX + 1).count();
        if typed_characters > CHARACTERS_MAX {
            return Err(PasswordError::TooLong);
        }
        if typed.chars().any(char::is_control) {
            return Err(PasswordError::Control);
        }
        // Grown in one piece, so that no copy of it stays behind in freed memory.
        let mut normalised = Zeroizing::new(String::with_capacity(NORMALISED_BYTES_MAX));
        for character in typed.nfkc() {
            if normalised.len() + character.len_utf8() > NORMALISED_BYTES_MAX {
                return Err(PasswordError::TooLong);
            }
            normalised.push(character);
        }
        Ok(Self { normalised, typed_characters })
    }

    /// Whether it may become somebody's password. `about` is what is known of them: name, address, tenant. `lists` are
    /// the organisation's lists of breached ones; a built-in list of obvious ones always counts. About 1 ms and one
    /// binary search per list.
    pub fn accept(&self, about: &[&str], lists: &[&ListFile<'_>]) -> Result<(), PasswordError> {
        let characters = self.normalised.chars().count().min(self.typed_characters);
        if characters < CHARACTERS_MIN {
            return Err(PasswordError::TooShort);
        }
        if breached::is_obvious(&self.normalised) {
            return Err(PasswordError::Breached);
        }
        for list in lists {
            if list.holds(&self.normalised).map_err(PasswordError::List)? {
                return Err(PasswordError::Breached);
            }
        }
        let words = words(about);
        if rest_without(&self.normalised, &words) < REST_MIN
            || zxcvbn::zxcvbn(&self.normalised, &words).score() < Score::Three
        {
            return Err(PasswordError::Guessable);
        }
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        self.normalised.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The texts and their parts: `ana.lima@bank.example` is also `ana`, `lima` and `bank`.
fn words<'a>(about: &[&'a str]) -> Vec<&'a str> {
    let parts = about.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric()));
    let long = parts.filter(|part| part.chars().count() > 2);
    about.iter().copied().chain(long).chain(["creta"]).collect()
}

/// How many letters and digits are left once everything known about the person is taken out.
fn rest_without(password: &str, words: &[&str]) -> usize {
    let mut rest = Zeroizing::new(password.to_lowercase());
    for word in words.iter().filter(|word| word.chars().count() > 2) {
        rest = Zeroizing::new(rest.replace(&word.to_lowercase(), " "));
    }
    rest.chars().filter(|c| c.is_alphanumeric()).count()
}

#[cfg(test)]
mod tests;
