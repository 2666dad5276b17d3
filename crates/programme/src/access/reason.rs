//! Reasons that say something. The rules, in the order in which they are told:
//!
//! 1. One line of at most [`REASON_CHARS_MAX`] characters, none of them invisible: what an approver sees is what is there.
//! 2. More than tickets. Tickets are left out of everything below.
//! 3. At least [`REASON_CHARS_MIN`] characters, runs of blanks counting as one.
//! 4. No character but a digit five times in a row, and no word that makes up more than half.
//! 5. At least [`REASON_WORDS_MIN`] different telling words. A word has two letters or more. It tells something unless it
//!    is filler (`please`, `need`, `access`, `test`), the same letter three times in a row, or a run of keys (`asdf`).
//! 6. Not what the same person said lately: of the telling words of both, fewer than four fifths are shared. Numbers are no
//!    words, so counting up does not make a new reason.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::AccessError;

/// A reason has at least so many characters.
pub const REASON_CHARS_MIN: usize = 20;
/// A reason has at most so many characters.
pub const REASON_CHARS_MAX: usize = 500;
/// A reason has at least so many different telling words.
pub const REASON_WORDS_MIN: usize = 4;

const RUN_MAX: usize = 4;

/// Words that ask without saying why, and words that stand for nothing.
const FILLER: &[&str] = &[
    "access",
    "again",
    "allow",
    "and",
    "approve",
    "asap",
    "bar",
    "baz",
    "because",
    "bla",
    "blah",
    "check",
    "debug",
    "do",
    "environment",
    "fix",
    "foo",
    "for",
    "get",
    "give",
    "grant",
    "have",
    "hello",
    "help",
    "important",
    "in",
    "into",
    "is",
    "it",
    "job",
    "just",
    "let",
    "look",
    "lorem",
    "ipsum",
    "me",
    "my",
    "need",
    "needed",
    "now",
    "of",
    "ok",
    "on",
    "permission",
    "permissions",
    "please",
    "pls",
    "prod",
    "production",
    "quick",
    "quickly",
    "reason",
    "reasons",
    "request",
    "required",
    "some",
    "something",
    "stuff",
    "task",
    "temporary",
    "test",
    "testing",
    "tests",
    "the",
    "thing",
    "things",
    "this",
    "ticket",
    "to",
    "todo",
    "urgent",
    "want",
    "with",
    "work",
    "working",
];

const KEY_ROWS: &[&str] =
    &["qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm", "abcdefghijkl"];

/// Why a reason was refused. It is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReasonFault {
    /// Control characters, line ends, or characters that cannot be seen.
    #[error("a reason is one line of visible characters; write it again without line breaks and hidden characters")]
    NotOneLine,
    /// Too long.
    #[error("a reason has at most {REASON_CHARS_MAX} characters; put the rest into the ticket")]
    TooLong,
    /// Nothing besides tickets.
    #[error("a ticket alone is no reason; say in a sentence what you will do and why")]
    OnlyTicket,
    /// Too short.
    #[error(
        "a reason has at least {REASON_CHARS_MIN} characters besides the ticket, not {chars}; say what you will do and why"
    )]
    TooShort {
        /// How many it has.
        chars: usize,
    },
    /// The same again and again.
    #[error("this reason repeats itself; say in a sentence what you will do and why")]
    Repeats,
    /// Too few words that tell something.
    #[error(
        "a reason has at least {REASON_WORDS_MIN} different words that tell something, not {words}: `please`, `test`, `access` and the like do not count; say what you will do and why"
    )]
    TooFewWords {
        /// How many it has.
        words: usize,
    },
    /// Nearly the same as a late one of the same person.
    #[error("this is nearly what you gave as reason before; say what is different this time")]
    SameAsBefore,
}

/// A reason that passed the rules when it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Checks `text` against the rules above. `before` are the latest reasons of the same human, by whichever account; ten
    /// are enough.
    pub fn parse(text: &str, ticket: &Ticket, before: &[&str]) -> Result<Self, ReasonFault> {
        Self::checked(text, Some(ticket), before)
    }

    /// The same for what needs no ticket and may be said again: a decision in a review, an exception, an emergency.
    pub fn without_ticket(text: &str) -> Result<Self, ReasonFault> {
        Self::checked(text, None, &[])
    }

    fn checked(text: &str, ticket: Option<&Ticket>, before: &[&str]) -> Result<Self, ReasonFault> {
        if text.chars().any(|c| c.is_control() || is_invisible(c)) {
            return Err(ReasonFault::NotOneLine);
        }
        if text.chars().count() > REASON_CHARS_MAX {
            return Err(ReasonFault::TooLong);
        }
        let rest = without_tickets(text, ticket);
        let words = words(&rest);
        if words.is_empty() && rest.split_whitespace().count() < text.split_whitespace().count() {
            return Err(ReasonFault::OnlyTicket);
        }
        let chars = rest.chars().count();
        if chars < REASON_CHARS_MIN {
            return Err(ReasonFault::TooShort { chars });
        }
        if longest_run(&rest) > RUN_MAX || most_frequent(&words) * 2 > words.len() {
            return Err(ReasonFault::Repeats);
        }
        let telling = telling(&words);
        if telling.len() < REASON_WORDS_MIN {
            return Err(ReasonFault::TooFewWords { words: telling.len() });
        }
        if before.iter().any(|earlier| is_near(&telling, &without_tickets(earlier, ticket))) {
            return Err(ReasonFault::SameAsBefore);
        }
        Ok(Self(text.trim().to_owned()))
    }

    /// The reason as given, without blanks around it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Name of a ticket elsewhere: `OPS-1234`. Whether it exists is for whoever can ask its system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ticket(String);

impl Ticket {
    /// 2 to 10 capital letters or digits that start with a letter, a hyphen, and a number of 1 to 9 digits without a
    /// leading zero.
    pub fn parse(text: &str) -> Result<Self, AccessError> {
        let valid = text.split_once('-').is_some_and(|(key, number)| {
            (2..=10).contains(&key.len())
                && key.starts_with(|c: char| c.is_ascii_uppercase())
                && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
                && (1..=9).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
                && !number.starts_with('0')
        });
        if valid { Ok(Self(text.to_owned())) } else { Err(AccessError::Ticket) }
    }

    /// The ticket as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Ticket {
    type Error = AccessError;
    fn try_from(text: String) -> Result<Self, AccessError> {
        Self::parse(&text)
    }
}

impl From<Ticket> for String {
    fn from(ticket: Ticket) -> String {
        ticket.0
    }
}

impl std::fmt::Display for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Soft hyphens, zero-width characters, marks that turn the direction of text, and tags.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
}

/// The words between blanks that are not tickets, with one blank between them.
fn without_tickets(text: &str, ticket: Option<&Ticket>) -> String {
    let is_ticket = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric()).to_uppercase();
        ticket.is_some_and(|ticket| bare == ticket.0) || Ticket::parse(&bare).is_ok()
    };
    text.split_whitespace().filter(|word| !is_ticket(word)).collect::<Vec<_>>().join(" ")
}

/// Lowercased words of two letters or more, in order, repeated ones too.
fn words(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| !c.is_alphanumeric());
    parts.filter(|part| part.chars().filter(|c| c.is_alphabetic()).count() >= 2).map(str::to_lowercase).collect()
}

fn telling(words: &[String]) -> BTreeSet<&str> {
    let says = |word: &&str| !FILLER.contains(word) && longest_run(word) < 3 && !is_key_run(word);
    words.iter().map(String::as_str).filter(says).collect()
}

/// Whether a word of four letters or more is keys side by side, forwards or backwards.
fn is_key_run(word: &str) -> bool {
    let backwards: String = word.chars().rev().collect();
    word.len() >= 4 && KEY_ROWS.iter().any(|row| row.contains(word) || row.contains(&backwards))
}

fn longest_run(text: &str) -> usize {
    let (mut longest, mut run, mut last) = (0, 0, None);
    for c in text.chars().flat_map(char::to_lowercase) {
        // Digits repeat in honest numbers.
        run = if last == Some(c) && !c.is_numeric() { run + 1 } else { 1 };
        last = Some(c);
        longest = longest.max(run);
    }
    longest
}

fn most_frequent(words: &[String]) -> usize {
    let mut counts = BTreeMap::<&str, usize>::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

fn is_near(telling_words: &BTreeSet<&str>, earlier: &str) -> bool {
    let earlier_words = words(earlier);
    let earlier = telling(&earlier_words);
    let shared = telling_words.intersection(&earlier).count();
    let all = telling_words.union(&earlier).count();
    shared * 5 >= all * 4
}
