//! An entry as an outsider sees it: canonical JSON with a version and a time. What else it says is the reader's business.

use serde_json::Value;

use crate::Time;

/// The form of entries that this build checks.
pub const ENTRY_VERSION: &str = "creta.audit/1";

/// Checks the form of an entry: canonical JSON (RFC 8785), an object, of version `creta.audit/1`, with a `time` in UTC.
/// Gives the time. The error says what is wrong, without repeating anything of the entry.
///
/// Canonical form matters: an entry that could be written in two ways could be shown in one and hashed in the other.
pub fn check_entry(bytes: &[u8]) -> Result<Time, &'static str> {
    let Ok(Value::Object(entry)) = serde_json::from_slice(bytes) else {
        return Err("it is not a JSON object");
    };
    if entry.get("version").and_then(Value::as_str) != Some(ENTRY_VERSION) {
        return Err("its version is not known to this build");
    }
    let time = entry.get("time").and_then(Value::as_str).and_then(Time::parse);
    let time = time.ok_or("its time is not in the form `2026-03-01T12:00:00Z`")?;
    match serde_json_canonicalizer::to_vec(&entry) {
        Ok(canonical) if canonical == bytes => Ok(time),
        _ => Err("it is not canonical JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"action":"deploy","details":{"a":"1","b":"é"},"time":"2026-03-01T12:00:00Z","version":"creta.audit/1"}"#;

    #[test]
    fn the_time_of_an_entry_is_given() {
        let time = check_entry(GOOD.as_bytes()).expect("canonical");
        assert_eq!(time.to_string(), "2026-03-01T12:00:00Z");
    }

    #[test]
    fn other_forms_are_refused() {
        for (what, from, to) in [
            ("a space", ",", ", "),
            ("another order", r#""a":"1","b":"é""#, r#""b":"é","a":"1""#),
            ("a field twice", r#""a":"1""#, r#""a":"1","a":"1""#),
            ("an escape too many", "é", r"\u00e9"),
            ("another version", "audit/1", "audit/2"),
            ("no version", r#","version":"creta.audit/1""#, ""),
            ("no time", r#""time":"2026-03-01T12:00:00Z","#, ""),
            ("another zone", "00Z", "00+00:00"),
            ("no object", "{", "[{"),
            ("more after it", "/1\"}", "/1\"}\n"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD, "{what}");
            check_entry(bad.as_bytes()).expect_err(what);
        }
    }
}
