//! The promises that are shown are those that the log dates, and what they were before is kept (CI-01).

use creta_compliance::Observation;
use creta_proof::Hash;
use serde_json::{Value, json};

use super::{Check, Seen, World};
use crate::trust::text::is_of;

pub(super) struct PublicText;

impl Check for PublicText {
    fn id(&self) -> &'static str {
        "public-text"
    }

    /// The text of which one word was changed, as it is kept and as it is shown.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let text = world.app.trust.registry().canonical();
        let changed = String::from_utf8_lossy(&text).replacen("\"text\":\"", "\"text\":\"Not: ", 1);
        let shown = serde_json::from_str(&changed).map_err(|error| error.to_string())?;
        let original: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        let is_noticed = is_of(changed.as_bytes(), &Hash::of(&[&text])).is_err();
        Ok(is_noticed && differing(&original, &shown).len() == 1 && differing(&original, &original).is_empty())
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let (trust, control) = (&world.app.trust, &world.app.control);
        let mut seen = Seen::default();
        let texts = trust.dated_texts();
        for dated in &texts {
            let subject = format!("text:{}", dated.log_index);
            seen.subject(subject.as_str());
            if let Err(reason) = trust.kept_text(control, &dated.digest) {
                seen.finding(&subject, "text/not-as-dated", reason);
            }
        }
        seen.subject(SHOWN);
        let shown = world.client.get("/trust/trust.json", None)?;
        let newest = texts.last().map(|dated| dated.digest.to_string()).unwrap_or_default();
        if shown.status != 200 || shown.json()["texts"][0]["digest"] != newest.as_str() {
            seen.finding(SHOWN, "text/not-shown", "the page does not show the text that the log dates newest");
        }
        let text: Value = serde_json::from_slice(&trust.registry().canonical()).map_err(|error| error.to_string())?;
        for id in differing(&text, &shown.json()) {
            seen.finding(SHOWN, "text/other-words", format!("the page has other words for `{id}`"));
        }
        Ok(seen.raw(json!({ "texts": texts.len(), "newest": newest })))
    }
}

const SHOWN: &str = "flow:public";

/// Ids of the commitments that are not shown as they are in a text, or that only one of the two has.
fn differing(text: &Value, shown: &Value) -> Vec<String> {
    const WORDS: [&str; 6] = ["title", "text", "behaviour", "attack", "owner", "class"];
    let rows = |of: &Value| of["commitments"].as_array().cloned().unwrap_or_default();
    let (promised, shown) = (rows(text), rows(shown));
    let find = |rows: &[Value], id: &Value| rows.iter().find(|row| row["id"] == *id).cloned();
    let differs =
        |row: &&Value| find(&shown, &row["id"]).is_none_or(|other| WORDS.iter().any(|word| row[*word] != other[*word]));
    let more = shown.iter().filter(|row| find(&promised, &row["id"]).is_none());
    let ids = promised.iter().filter(differs).chain(more);
    ids.map(|row| row["id"].as_str().unwrap_or_default().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_missing_and_additional_promises_are_named() {
        let row = |id: &str, text: &str| json!({"id": id, "title": "t", "text": text, "behaviour": "b", "attack": "a"});
        let text = json!({"commitments": [row("A-01", "x"), row("A-02", "y")]});
        assert!(differing(&text, &text).is_empty());
        let other = json!({"commitments": [row("A-01", "x"), row("A-02", "Y")]});
        assert_eq!(differing(&text, &other), ["A-02"]);
        let fewer = json!({"commitments": [row("A-02", "y")]});
        assert_eq!(differing(&text, &fewer), ["A-01"]);
        assert_eq!(differing(&fewer, &text), ["A-01"]);
        assert_eq!(differing(&text, &json!({})).len(), 2);
    }
}
