//! Text in definitions: descriptions, owners, tags, defaults. It is metadata, which everybody in a tenant may read, so it
//! holds neither secrets nor values (CH-22).

use creta_model::{Location, Problem};
use serde_json::Value;

/// What definitely is a secret: how it begins, how many characters follow at least, and what it is.
const SECRETS: &[(&str, usize, &str)] = &[
    ("creta_sk_", 40, "a secret of a service account"),
    ("AKIA", 16, "a key of Amazon Web Services"),
    ("ASIA", 16, "a key of Amazon Web Services"),
    ("AIza", 35, "a key of Google Cloud"),
    ("ghp_", 36, "a token of GitHub"),
    ("gho_", 36, "a token of GitHub"),
    ("ghs_", 36, "a token of GitHub"),
    ("github_pat_", 22, "a token of GitHub"),
    ("glpat-", 20, "a token of GitLab"),
    ("xoxb-", 20, "a token of Slack"),
    ("xoxp-", 20, "a token of Slack"),
    ("sk_live_", 24, "a key of Stripe"),
    ("AccountKey=", 40, "a key of Azure"),
    ("sv=20", 40, "an access signature of Azure"),
];

/// Texts in which a private key stands in PEM.
const PRIVATE_KEYS: &[&str] = &["PRIVATE KEY-----", "PRIVATE KEY BLOCK-----"];

/// Longest run that may look random: names and words do not get there.
const RANDOM_RUN: usize = 32;
/// Bits per character from which on a run looks random. Words stay below 4; base64 of random bytes is near 5.
const RANDOM_BITS: f64 = 4.2;
/// Longest description, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// The first secret in a text, by what it is.
pub(crate) fn secret_in(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN") && PRIVATE_KEYS.iter().any(|mark| text.contains(mark)) {
        return Some("a private key");
    }
    SECRETS.iter().find(|(prefix, least, _)| follows(text, prefix, *least)).map(|(_, _, what)| *what)
}

/// Whether after any `prefix` that begins a word come `least` characters of which keys are made.
fn follows(text: &str, prefix: &str, least: usize) -> bool {
    text.match_indices(prefix).any(|(at, _)| {
        let before = text[..at].bytes().next_back();
        let rest = &text.as_bytes()[at + prefix.len()..];
        let long = rest.iter().take_while(|byte| is_key_byte(**byte)).count() >= least;
        long && !before.is_some_and(|byte| byte.is_ascii_alphanumeric())
    })
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-+/=.%&".contains(&byte)
}

/// Why a text looks like data rather than words; `None` when it does not.
pub(crate) fn looks_like_data(text: &str) -> Option<&'static str> {
    if text.len() > TEXT_BYTES_MAX {
        return Some("it is longer than descriptions are");
    }
    let runs = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+=_-".contains(c)));
    let random = |run: &str| run.len() >= RANDOM_RUN && bits_per_byte(run) >= RANDOM_BITS;
    runs.into_iter().any(random).then_some("it holds a long run of random characters")
}

/// Shannon's entropy of a text's bytes.
fn bits_per_byte(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let total = text.len() as f64;
    let share = |count: u32| f64::from(count) / total;
    counts.into_iter().filter(|count| *count > 0).map(|count| -share(count) * share(count).log2()).sum()
}

/// Members of definitions in which people write, and what a feature has where there is no value.
pub(crate) const WRITTEN_BY_PEOPLE: &[&str] = &["doc", "tags", "default", "owner"];

/// Domains that belong to nobody (RFC 2606), for examples in descriptions.
const EXAMPLE_DOMAINS: &[&str] = &["example.com", "example.net", "example.org", "example"];

/// What in a text is somebody's: an address, a card's or an account's number. `None` when nothing is.
pub(crate) fn value_in(text: &str) -> Option<&'static str> {
    let is_word = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
    let words = || text.split(|c: char| !is_word(c)).map(|word| word.trim_matches(['.', '-', '_', '+']));
    if words().any(is_address) {
        return Some("an e-mail address");
    }
    // Numbers are written in groups, with spaces or hyphens between them.
    let joined: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '\u{a0}')).collect();
    if joined.split(|c: char| !c.is_ascii_digit()).any(is_card) {
        return Some("a card's number");
    }
    let runs = joined.split(|c: char| !c.is_ascii_alphanumeric());
    runs.into_iter().any(is_iban).then_some("an account's number")
}

fn is_address(word: &str) -> bool {
    let Some((name, domain)) = word.split_once('@') else { return false };
    let domain = domain.to_ascii_lowercase();
    let named = domain.split('.').count() > 1 && domain.split('.').all(|label| !label.is_empty());
    let example = EXAMPLE_DOMAINS.iter().any(|own| domain == *own || domain.ends_with(&format!(".{own}")));
    !name.is_empty() && named && !example
}

/// ISO/IEC 7812-1, annex B: the check digit of cards.
fn is_card(digits: &str) -> bool {
    let sum = digits
        .bytes()
        .rev()
        .map(|b| u32::from(b - b'0'))
        .enumerate()
        .fold(0, |sum, (place, digit)| sum + if place % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit });
    (13..=19).contains(&digits.len()) && sum % 10 == 0 && digits.bytes().any(|b| b != b'0')
}

/// ISO 13616-1: two letters, two check digits, an account; the rest of 97 is one.
fn is_iban(run: &str) -> bool {
    let bytes = run.as_bytes();
    let begins = (15..=34).contains(&bytes.len())
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit);
    begins
        && bytes[4..].iter().chain(&bytes[..4]).fold(0_u32, |rest, byte| match char::from(*byte).to_digit(36) {
            Some(digit) if digit >= 10 => (rest * 100 + digit) % 97,
            Some(digit) => (rest * 10 + digit) % 97,
            None => 0,
        }) == 1
}

/// Refuses definitions that hold a secret in any text, or a value where people write. Says where it stands, never what it is.
pub(crate) fn require_words(graph: &Value) -> Result<(), Vec<Problem>> {
    let mut found = Vec::new();
    each_text(graph, &mut Vec::new(), None, &mut |path, text, location| {
        let place = path.join(".");
        let by_people = path.iter().any(|part| WRITTEN_BY_PEOPLE.contains(&part.as_str()));
        // Whoever answers for something is reached at an address.
        let is_owner = path.iter().any(|part| part == "owner");
        let value = || value_in(text).filter(|what| by_people && !(is_owner && *what == "an e-mail address"));
        let problem = if let Some(what) = secret_in(text) {
            let message = format!("`{place}` holds {what}; definitions are read by many (CH-22)");
            Problem::new("definition/secret", message)
                .with_help("remove it, and make a new secret: this one has been sent")
        } else if let Some(what) = value() {
            let message = format!("`{place}` holds {what}; definitions hold no values (CH-22)");
            Problem::new("definition/value", message)
                .with_help("remove it, or use one that is nobody's, such as an address at example.com")
        } else if let Some(why) = looks_like_data(text).filter(|_| by_people) {
            let message = format!("`{place}` looks like data rather than words: {why} (CH-22)");
            Problem::new("definition/looks-like-data", message).with_help("say it in words; data belongs into facts")
        } else {
            return;
        };
        found.push(match location {
            Some(location) => problem.at(&location),
            None => problem,
        });
    });
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// Calls `each` with every text, where it stands by the names on the way, and the nearest place in the project.
pub(crate) fn each_text(
    value: &Value,
    path: &mut Vec<String>,
    location: Option<&Location>,
    each: &mut impl FnMut(&[String], &str, Option<Location>),
) {
    match value {
        Value::String(text) => each(path, text, location.cloned()),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, path, location, each)),
        Value::Object(members) => {
            let own = members.get("location").and_then(|own| serde_json::from_value::<Location>(own.clone()).ok());
            let named = members.get("name").and_then(Value::as_str).filter(|name| secret_in(name).is_none());
            path.extend(named.map(str::to_owned));
            for (name, member) in members {
                // A name may be a text too: keys of a default's object.
                each(path, name, own.clone().or_else(|| location.cloned()));
                path.push(if secret_in(name).is_some() { "a member".to_owned() } else { name.clone() });
                each_text(member, path, own.as_ref().or(location), each);
                path.pop();
            }
            path.truncate(path.len() - usize::from(named.is_some()));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secrets() -> Vec<String> {
        let mut all: Vec<String> = SECRETS
            .iter()
            .map(|(prefix, least, _)| format!("{prefix}{}", "aB3dE6gH".repeat(8)[..*least].to_owned()))
            .collect();
        all.push("-----BEGIN EC PRIVATE KEY-----\nMHc".to_owned());
        all.push("-----BEGIN PRIVATE KEY-----".to_owned());
        all.push("-----BEGIN PGP PRIVATE KEY BLOCK-----".to_owned());
        all
    }

    #[test]
    fn attack_ch22_secrets_are_known_wherever_they_stand_in_a_text() {
        for secret in secrets() {
            for text in
                [secret.clone(), format!("use {secret} to ask"), format!("key={secret}"), format!("(\"{secret}\")")]
            {
                assert!(secret_in(&text).is_some(), "{text}");
            }
        }
        for good in [
            "",
            "AKIA",
            "the prefix `creta_sk_` marks secrets",
            "creta_sk_short",
            "MAKIAABCDEFGHIJKLMNOP",
            "ghp_",
            "a public key: -----BEGIN PUBLIC KEY-----",
            "sv=2020",
            "taskAIzation",
        ] {
            assert_eq!(secret_in(good), None, "{good}");
        }
    }

    #[test]
    fn attack_ch22_a_secret_in_any_text_of_a_definition_is_refused_without_being_repeated() {
        let secret = &secrets()[0];
        let graph = |place: &str, value: Value| {
            let mut feature =
                json!({"name": "city", "type": {"kind": "str"}, "location": {"file": "shop.py", "line": 7}});
            feature[place] = value;
            json!({"entities": [{"name": "User", "features": [feature], "location": {"file": "shop.py", "line": 1}}]})
        };
        for (place, value) in [
            ("doc", json!(format!("ask with {secret}"))),
            ("tags", json!(["pii", secret])),
            ("default", json!(secret)),
            ("default", json!({"token": {"deep": [secret]}})),
            ("default", json!({secret.as_str(): 1})),
            ("owner", json!(secret)),
            ("name", json!(secret)),
        ] {
            let problems = require_words(&graph(place, value)).expect_err(place);
            let shown = serde_json::to_string(&problems).expect("JSON");
            assert!(!shown.contains(&secret[10..]), "{shown}");
            assert_eq!(problems[0].location.as_ref().map(|at| at.line), Some(7), "{place}");
            assert!(shown.contains("User"), "{shown}");
        }
        require_words(&graph("doc", json!("Where somebody lives."))).expect("plain words");
    }

    #[test]
    fn attack_ch22_a_value_in_a_description_default_or_tag_is_refused_without_being_repeated() {
        let graph = |place: &str, value: &Value| {
            let mut feature =
                json!({"name": "city", "type": {"kind": "str"}, "location": {"file": "shop.py", "line": 7}});
            feature[place] = value.clone();
            json!({"entities": [{"name": "User", "features": [feature], "location": {"file": "shop.py", "line": 1}}]})
        };
        let random = "9f8Kx2LmQ4vZ7tRbY1wNcJ5hUeA3sDpG0oViXk6M";
        for (value, code) in [
            ("for ana.keller@gmail.com, say", "definition/value"),
            ("4111 1111 1111 1111", "definition/value"),
            ("paid with 5500-0000-0000-0004 once", "definition/value"),
            ("DE89 3704 0044 0532 0130 00", "definition/value"),
            ("CH9300762011623852957", "definition/value"),
            (random, "definition/looks-like-data"),
        ] {
            for (place, given) in
                [("doc", json!(value)), ("tags", json!(["pii", value])), ("default", json!({"a": [value]}))]
            {
                let problems = require_words(&graph(place, &given)).expect_err(value);
                assert_eq!(problems[0].code, code, "{value} in {place}");
                assert!(!serde_json::to_string(&problems).expect("JSON").contains(value), "{problems:?}");
            }
        }
        for (place, good) in [
            ("doc", json!("Such as ana@example.com, version 1.2, 24 x 7, order 1234567890123.")),
            ("owner", json!("risk-team@acme.example.io")),
            ("default", json!("unknown@example.com")),
            ("tags", json!(["pii", "gdpr-art-9"])),
            ("doc", json!("@entity and user@ and @home; DE and CH93")),
        ] {
            require_words(&graph(place, &good)).unwrap_or_else(|problems| panic!("{good}: {problems:?}"));
        }
    }

    #[test]
    fn random_characters_and_very_long_texts_look_like_data_and_words_do_not() {
        assert!(looks_like_data("key 9f8Kx2LmQ4vZ7tRbY1wNcJ5hUeA3sDpG0oViXk6M").is_some());
        assert!(looks_like_data(&"word ".repeat(4_000)).is_some());
        for words in [
            "Mean departure delay of the carrier over the last seven days.",
            "mean_departure_delay_of_the_carrier_over_seven_days",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "https://docs.example.com/teams/risk/features/flight/departure",
        ] {
            assert_eq!(looks_like_data(words), None, "{words}");
        }
    }
}
