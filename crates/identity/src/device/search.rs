//! Searching a computer for values that a server planted in customers' data (CH-14).
//!
//! A planted value has a form of its own, `creta-canary-` and 32 digits, and is otherwise unguessable. So a device finds
//! values of that form without being told any, and asks whether they are ours by keyed hashes that the server sends: it
//! learns no planted value that it does not hold, and says of what it finds how many there are and nothing else. The key
//! belongs to the device and the hour, so that no list says anything about another, and no result is good for long.
//!
//! Whoever takes data on purpose can strip what has this form, pack it or encrypt it. This finds what lies about: exports,
//! notebooks, caches, downloads.

use aws_lc_rs::hmac;
use creta_model::{Instant, Span};
use serde::{Deserialize, Serialize};

use crate::jws::sha256;

/// How every planted value begins.
pub const CANARY_PREFIX: &str = "creta-canary-";
/// Hexadecimal digits after that.
const DIGITS: usize = 32;
/// Bytes of a planted value.
pub const CANARY_BYTES: usize = CANARY_PREFIX.len() + DIGITS;

/// The planted value of 16 bytes.
pub fn canary(bytes: &[u8; 16]) -> String {
    format!("{CANARY_PREFIX}{}", hex::encode(bytes))
}

/// Where computers are searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchFor {
    /// Folders: `~/` stands for the home of whoever enrolled the computer.
    pub folders: Vec<String>,
    /// Hours in which a computer on which a planted value was found has to be rid of it. Until then it counts as before:
    /// whoever knows such a value can send it to somebody, and would put their computer out with it.
    #[serde(default = "remove_hours_default")]
    pub remove_hours: u32,
}

const fn remove_hours_default() -> u32 {
    24
}

/// What a server asks a device to search for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchAsked {
    /// Where.
    pub folders: Vec<String>,
    /// Key of the hashes, in hexadecimal digits: another one for each device and hour.
    key: String,
    /// Keyed hashes of the planted values, sorted.
    canaries: Vec<String>,
    /// The same of values that others took the place of lately, sorted. They are told of apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<String>,
}

impl SearchAsked {
    /// For one device and one hour: `key` must be used for no other.
    pub fn new(folders: &[String], key: &[u8; 32], canaries: impl IntoIterator<Item = String>) -> Self {
        let (canaries, earlier) = (hashes(key, canaries), Vec::new());
        Self { folders: folders.to_vec(), key: hex::encode(key), canaries, earlier }
    }

    /// The same, with values that others took the place of.
    pub fn with_earlier(self, key: &[u8; 32], earlier: impl IntoIterator<Item = String>) -> Self {
        Self { earlier: hashes(key, earlier), ..self }
    }

    /// What stands for all of it in a report.
    pub fn digest(&self) -> String {
        let canonical = serde_json_canonicalizer::to_vec(self).expect("texts have a canonical form");
        hex::encode(sha256(&canonical))
    }

    /// Looks for planted values in what comes, piece by piece.
    pub fn begin(&self) -> Searching<'_> {
        let mut key = [0; 32];
        // A key that is none finds nothing, and neither would the server's own.
        let _ = hex::decode_to_slice(&self.key, &mut key);
        Searching { asked: self, key, kept: Vec::new(), found: false, found_earlier: false }
    }
}

/// A file that is being searched.
pub struct Searching<'a> {
    asked: &'a SearchAsked,
    key: [u8; 32],
    /// The end of what came before, in which a value may have begun.
    kept: Vec<u8>,
    found: bool,
    found_earlier: bool,
}

impl Searching<'_> {
    /// The next bytes of the file.
    pub fn add(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        for token in tokens(&self.kept) {
            let digest = digest(&self.key, token);
            self.found |= self.asked.canaries.binary_search(&digest).is_ok();
            self.found_earlier |= self.asked.earlier.binary_search(&digest).is_ok();
        }
        let rest = self.kept.len().saturating_sub(CANARY_BYTES - 1);
        self.kept.drain(..rest);
    }

    /// Whether there was one.
    pub fn found(&self) -> bool {
        self.found
    }

    /// Whether there was one that another took the place of.
    pub fn found_earlier(&self) -> bool {
        self.found_earlier
    }
}

fn hashes(key: &[u8; 32], canaries: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut hashes: Vec<String> = canaries.into_iter().map(|canary| digest(key, canary.as_bytes())).collect();
    hashes.sort();
    hashes
}

/// Everything of the form of a planted value.
fn tokens(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let prefix = CANARY_PREFIX.as_bytes();
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            // The first byte is rare enough in what people keep for this to be as fast as disks are.
            let at = from + bytes.get(from..)?.iter().position(|byte| *byte == prefix[0])?;
            from = at + 1;
            let token = bytes.get(at..at + CANARY_BYTES)?;
            let digits = &token[prefix.len()..];
            if token.starts_with(prefix) && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                return Some(token);
            }
        }
    })
}

fn digest(key: &[u8; 32], token: &[u8]) -> String {
    hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), token))
}

/// What a device says about a search. How many, never what or where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Searched {
    /// [`SearchAsked::digest`] of what it was asked.
    pub asked: String,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files and folders that could not be read.
    pub unreadable: u64,
    /// Files that hold a planted value.
    pub found: u64,
    /// Files that hold one that another took the place of.
    #[serde(default, skip_serializing_if = "is_none")]
    pub found_earlier: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// The latest search of a device, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatestSearch {
    /// When the report was made.
    pub made: Instant,
    /// Files that were read.
    pub files: u64,
    /// Files and folders that could not be read.
    pub unreadable: u64,
    /// Files that hold a planted value.
    pub found: u64,
    /// Files that hold one that another took the place of: told, and no reason to put a computer out.
    #[serde(default, skip_serializing_if = "is_none")]
    pub found_earlier: u64,
    /// Since when every search found some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Instant>,
}

impl LatestSearch {
    /// What follows on `before`.
    pub(super) fn after(before: Option<&Self>, made: Instant, says: &Searched) -> Self {
        let Searched { files, unreadable, found, found_earlier, .. } = *says;
        let since = (found > 0).then(|| before.and_then(|before| before.since).unwrap_or(made));
        Self { made, files, unreadable, found, found_earlier, since }
    }

    /// Whether what was found lies there for longer than it may.
    pub(super) fn is_overdue(&self, asked: &SearchFor, now: Instant) -> bool {
        // Searches that were kept before this was counted began when they were made.
        let since = self.since.unwrap_or(self.made);
        self.found > 0 && now >= since.plus(Span::hours(asked.remove_hours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(key: u8, canaries: &[String]) -> SearchAsked {
        SearchAsked::new(&["~/Downloads".to_owned()], &[key; 32], canaries.iter().cloned())
    }

    fn finds(asked: &SearchAsked, bytes: &[u8], piece: usize) -> bool {
        let mut searching = asked.begin();
        bytes.chunks(piece).for_each(|bytes| searching.add(bytes));
        searching.found()
    }

    #[test]
    fn a_planted_value_is_found_wherever_it_lies_and_whatever_borders_fall_into_it() {
        let ours = canary(&[0xab; 16]);
        assert_eq!(ours.len(), CANARY_BYTES);
        let asked = asked(1, &[canary(&[1; 16]), ours.clone()]);
        for text in [
            ours.clone(),
            format!("id,mail\n7,{ours}\n"),
            format!("creta-canary-creta-canary-{ours}"),
            format!("creta-canary-{}{ours}", &"ab".repeat(15)),
        ] {
            for piece in [1, 7, CANARY_BYTES - 1, CANARY_BYTES, 4096] {
                assert!(finds(&asked, text.as_bytes(), piece), "{text} in pieces of {piece}");
            }
        }
        for other in
            [canary(&[2; 16]), ours[1..].to_owned(), ours.to_uppercase(), ours.replace("ab", "a b"), String::new()]
        {
            assert!(!finds(&asked, other.as_bytes(), 11), "{other}");
        }
    }

    #[test]
    fn attack_ch14_a_value_that_somebody_sent_puts_no_computer_out_that_is_rid_of_it_in_time() {
        let asked = SearchFor { folders: Vec::new(), remove_hours: 24 };
        let at = |hour: u32| Instant::parse("2026-01-01T12:00:00Z").expect("valid").plus(Span::hours(hour));
        let says =
            |found| Searched { asked: String::new(), files: 1, bytes: 1, unreadable: 0, found, found_earlier: 0 };
        let mut latest = LatestSearch::after(None, at(0), &says(1));
        assert!(!latest.is_overdue(&asked, at(23)) && latest.is_overdue(&asked, at(24)));
        latest = LatestSearch::after(Some(&latest), at(20), &says(2));
        assert!(latest.is_overdue(&asked, at(24)), "more of it begins no new day");
        latest = LatestSearch::after(Some(&latest), at(21), &says(0));
        assert!(!latest.is_overdue(&asked, at(99)), "it is gone");
        latest = LatestSearch::after(Some(&latest), at(22), &says(1));
        assert!(!latest.is_overdue(&asked, at(45)), "sent again, it may be removed again");
    }

    #[test]
    fn attack_ch14_what_a_device_is_sent_and_what_it_says_hold_no_planted_value() {
        let ours = canary(&[0xab; 16]);
        let (one, other) = (asked(1, std::slice::from_ref(&ours)), asked(2, std::slice::from_ref(&ours)));
        let sent = serde_json::to_string(&one).expect("JSON");
        assert!(!sent.contains(CANARY_PREFIX) && !sent.contains(&"ab".repeat(8)), "{sent}");
        assert_ne!(one.canaries, other.canaries, "each key has hashes of its own");
        assert_ne!(one.digest(), other.digest());
        let said = Searched { asked: one.digest(), files: 1, bytes: 45, unreadable: 0, found: 1, found_earlier: 0 };
        let said = serde_json::to_string(&said).expect("JSON");
        assert!(!said.contains(CANARY_PREFIX), "{said}");
    }
}
