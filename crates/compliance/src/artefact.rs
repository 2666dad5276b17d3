//! Artefacts that somebody outside issued: reports, certificates, letters. The organisation cannot issue one to itself, and
//! what the log does not name does not count.

use creta_model::{Instant, Span};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use crate::CommitmentId;
use crate::evidence::canonical;

/// The form of statements about artefacts.
pub const ARTEFACT_FORMAT: &str = "creta.artefact/1";
/// Largest file.
pub const ARTEFACT_BYTES_MAX: usize = 8 << 20;
/// No artefact is good for longer.
pub const ARTEFACT_SPAN_MAX: Span = Span::days(3 * 366);
/// Longest name of an issuer, in characters.
const ISSUER_CHARS_MAX: usize = 120;

/// What is said of a file that somebody outside issued. Its digest stands in the log before it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefact {
    /// [`ARTEFACT_FORMAT`].
    pub format: String,
    /// Its name here: random.
    pub id: String,
    /// What it shows to be kept.
    pub commitment: CommitmentId,
    /// Which of the artefacts that the commitment needs.
    pub kind: String,
    /// Who issued it.
    pub issuer: String,
    /// When.
    pub issued: Instant,
    /// The first instant at which it is good for nothing.
    pub expires: Instant,
    /// The period that it speaks of.
    pub scope_from: Instant,
    /// The first instant after that period.
    pub scope_to: Instant,
    /// SHA-256 of the file.
    pub file: Hash,
    /// Its length.
    pub bytes: u64,
}

/// Why an artefact is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtefactError {
    /// The organisation, or somebody of it, under whatever spelling.
    #[error("`{issuer}` is this organisation or one of its own people; an artefact has to be issued by somebody else")]
    OwnIssuer {
        /// As it was given.
        issuer: String,
    },
    /// Not a name.
    #[error("an issuer has 1 to 120 characters of one script, with letters in it")]
    Issuer,
    /// Dates that cannot be.
    #[error("{rule}")]
    Dates {
        /// What they have to be.
        rule: &'static str,
    },
    /// Not one that the commitment needs.
    #[error("`{commitment}` needs no artefact `{kind}`")]
    Kind {
        /// Of which commitment.
        commitment: CommitmentId,
        /// What was given.
        kind: String,
    },
    /// Nothing, or too much.
    #[error("an artefact's file has 1 to {ARTEFACT_BYTES_MAX} bytes")]
    File,
}

impl Artefact {
    /// Canonical JSON, as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(self)
    }

    /// SHA-256 of [`to_bytes`](Self::to_bytes): what the log names.
    pub fn digest(&self) -> Hash {
        Hash::of(&[&self.to_bytes()])
    }

    /// Checks that it may be recorded at `now`. `own` are names of the organisation and of its people.
    pub fn require_valid<'a>(&self, own: impl IntoIterator<Item = &'a str>, now: Instant) -> Result<(), ArtefactError> {
        require_issuer(&self.issuer, own)?;
        let dates = |rule| Err(ArtefactError::Dates { rule });
        if self.issued > now {
            return dates("an artefact cannot have been issued later than it is received");
        }
        if self.expires <= now {
            return dates("this artefact has expired");
        }
        if self.issued.plus(ARTEFACT_SPAN_MAX) < self.expires {
            return dates("an artefact is good for at most three years from the day it was issued");
        }
        if self.scope_from >= self.scope_to {
            return dates("the period that an artefact speaks of begins before it ends");
        }
        if self.scope_from > self.issued {
            return dates("an artefact cannot speak only of what came after it was issued");
        }
        if self.bytes == 0 || self.bytes > ARTEFACT_BYTES_MAX as u64 {
            return Err(ArtefactError::File);
        }
        Ok(())
    }
}

/// Endings by which companies differ only in law.
const LEGAL_FORMS: [&str; 20] = [
    "ltd",
    "limited",
    "inc",
    "incorporated",
    "llc",
    "llp",
    "gmbh",
    "ag",
    "sa",
    "sas",
    "sarl",
    "srl",
    "bv",
    "nv",
    "plc",
    "corp",
    "co",
    "company",
    "ab",
    "oy",
];

/// Letters that look like others, as pairs. Those of the Latin alphabet stand for themselves; marks above and below are
/// taken off before.
const LOOK_ALIKES: &[(&str, char)] = &[
    ("аɑαａ", 'a'),
    ("ЬьвβƄ", 'b'),
    ("сϲⅽ", 'c'),
    ("ԁⅾɗ", 'd'),
    ("еєҽε℮3", 'e'),
    ("ғƒ", 'f'),
    ("ɡցԍ9", 'g'),
    ("һնнʜ", 'h'),
    ("іıɩιӏ1l|!ןⅰ", 'i'),
    ("јϳ", 'j'),
    ("кκқ", 'k'),
    ("мⅿ", 'm'),
    ("пηոո", 'n'),
    ("оοօ0ⲟσ", 'o'),
    ("рρϱ", 'p'),
    ("ԛգ", 'q'),
    ("гꭇɼ", 'r'),
    ("ѕꜱ5$", 's'),
    ("тτ7", 't'),
    ("υսʋц", 'u'),
    ("νѵⅴ", 'v'),
    ("ԝѡωա", 'w'),
    ("хχⅹ", 'x'),
    ("уγүყ", 'y'),
    ("ᴢʐ2", 'z'),
];

/// A name as the eye reads it: without case, marks, spaces, signs and legal forms, look-alikes as one letter.
fn seen(name: &str) -> String {
    let folded: String = name
        .nfkd()
        .filter(|c| !unicode_normalization::char::is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .map(|c| LOOK_ALIKES.iter().find(|(alike, _)| alike.contains(c)).map_or(c, |(_, letter)| *letter))
        .collect();
    let words: Vec<&str> = folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let forms: Vec<String> = LEGAL_FORMS.iter().map(|form| plain_fold(form)).collect();
    let mut kept = words.as_slice();
    while let [rest @ .., last] = kept
        && !rest.is_empty()
        && forms.iter().any(|form| form == last)
    {
        kept = rest;
    }
    kept.concat()
}

fn plain_fold(text: &str) -> String {
    text.chars().map(|c| LOOK_ALIKES.iter().find(|(alike, _)| alike.contains(c)).map_or(c, |(_, l)| *l)).collect()
}

fn require_issuer<'a>(issuer: &str, own: impl IntoIterator<Item = &'a str>) -> Result<(), ArtefactError> {
    let chars = issuer.chars().count();
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}')
    };
    let latin = issuer.chars().any(|c| c.is_alphabetic() && is_latin(c));
    let mixed = latin && issuer.chars().any(|c| c.is_alphabetic() && !is_latin(c));
    let as_seen = seen(issuer);
    if as_seen.is_empty()
        || chars > ISSUER_CHARS_MAX
        || issuer.chars().any(invisible)
        || mixed
        || !issuer.chars().any(char::is_alphabetic)
    {
        return Err(ArtefactError::Issuer);
    }
    let is_own = own.into_iter().map(seen).filter(|name| !name.is_empty()).any(|name| is_similar(&as_seen, &name));
    if is_own { Err(ArtefactError::OwnIssuer { issuer: issuer.to_owned() }) } else { Ok(()) }
}

fn is_latin(c: char) -> bool {
    matches!(c, 'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{ff21}'..='\u{ff5a}')
}

/// Whether two names, as seen, are one: equal, one within the other, or a slip apart.
fn is_similar(a: &str, b: &str) -> bool {
    let (short, long) = if a.chars().count() <= b.chars().count() { (a, b) } else { (b, a) };
    let length = short.chars().count();
    if a == b || (length >= 4 && long.contains(short)) {
        return true;
    }
    let slips = if length >= 10 { 2 } else { usize::from(length >= 5) };
    slips > 0 && distance(a, b) <= slips
}

/// How many letters have to be put in, taken out or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        Instant::parse(text).expect("an instant")
    }

    fn artefact(issuer: &str) -> Artefact {
        Artefact {
            format: ARTEFACT_FORMAT.to_owned(),
            id: "a1".to_owned(),
            commitment: CommitmentId::parse("CI-05").expect("valid"),
            kind: "penetration-test".to_owned(),
            issuer: issuer.to_owned(),
            issued: at("2026-03-01T00:00:00Z"),
            expires: at("2027-03-01T00:00:00Z"),
            scope_from: at("2026-02-01T00:00:00Z"),
            scope_to: at("2026-02-15T00:00:00Z"),
            file: Hash::of(&[b"report"]),
            bytes: 6,
        }
    }

    #[test]
    fn attack_ci04_the_organisation_does_not_assess_itself_under_any_spelling() {
        let now = at("2026-03-02T00:00:00Z");
        let own = ["Meridian Rail Ltd", "ana.silva", "admin"];
        let judged = |issuer: &str| artefact(issuer).require_valid(own, now);
        for bad in [
            "Meridian Rail Ltd",
            "MERIDIAN RAIL",
            "meridian-rail",
            "Meridian Rail GmbH",
            "Meridiаn Rail",
            "Mеridian Rаil Ltd",
            "Ｍｅｒｉｄｉａｎ Ｒａｉｌ",
            "M3r1d1an Ra1l",
            "Méridian Räil",
            "Meridian Raill",
            "Meridian Rai",
            "Meridan Rail",
            "Meridian Rail Audit Services",
            "Ana Silva",
            "ANA SILVA, auditor",
            "Meri\u{200b}dian Rail",
            "Ληridian Rail",
            "",
            "4711",
        ] {
            assert!(judged(bad).is_err(), "{bad}");
        }
        for good in
            ["Nordwind Security GmbH", "Müller & Söhne", "KPX Audit LLP", "Аудит Север", "東京監査法人", "Adminova"]
        {
            let refused = judged(good);
            assert!(refused.is_ok() || good == "Adminova", "{good}: {refused:?}"); // Close to `admin`: better one too many.
        }
    }

    #[test]
    fn attack_ch08_dates_that_cannot_be_are_refused() {
        let now = at("2026-03-02T00:00:00Z");
        let judged = |change: &dyn Fn(&mut Artefact)| {
            let mut artefact = artefact("Nordwind Security");
            change(&mut artefact);
            artefact.require_valid(["Meridian Rail"], now).is_ok()
        };
        assert!(judged(&|_| ()));
        assert!(!judged(&|a| a.issued = at("2026-03-02T00:00:01Z")), "issued later than it is received");
        assert!(!judged(&|a| a.expires = now), "expired");
        assert!(!judged(&|a| a.expires = at("2030-01-01T00:00:00Z")), "good for ever");
        assert!(!judged(&|a| a.scope_to = a.scope_from), "of no time at all");
        assert!(!judged(&|a| (a.scope_from, a.scope_to) = (at("2026-04-01T00:00:00Z"), at("2026-05-01T00:00:00Z"))));
        assert!(!judged(&|a| a.bytes = 0) && !judged(&|a| a.bytes = ARTEFACT_BYTES_MAX as u64 + 1));
    }

    #[test]
    fn names_that_only_share_letters_are_not_one() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert!(is_similar("meridian", "meridien") && !is_similar("acme", "acne") && !is_similar("ab", "abcdef"));
        assert_eq!(seen("Beispiel GmbH & Co"), seen("beispiel"));
    }
}
