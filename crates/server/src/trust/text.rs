//! The text of the promises: the log dates it before anything shows it, and what it was before stays readable (CI-01).

use creta_audit::{Details, Event};
use creta_compliance::{DatedText, Ledger, detail};
use creta_model::Problem;
use creta_proof::Hash;

use super::{Trust, lock};
use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, from_store};

/// Kind of the documents that hold texts, by digest.
const KIND: &str = "trust-text";

impl Trust {
    /// Puts the text of the promises into the log when it is not the one that the log dates newest; keeps a copy of it.
    pub(super) fn date_text(&self, control: &ControlPlane) -> Result<(), Problem> {
        let text = self.registry.canonical();
        let digest = Hash::of(&[&text]);
        if require_newest(lock(&self.ledger).texts(), &digest).is_err() {
            let details = Details::none().digest(detail::TEXT, *digest.as_bytes()).map_err(|e| from_audit(&e))?;
            let event = Event::new(Ledger::TEXT_ACTION, control.place()).with(details).for_commitment("CI-01");
            control.log().record(event).map_err(|e| from_audit(&e))?;
            self.catch_up(control)?;
        }
        let id = digest.to_string();
        match control.metadata().read(KIND, &id) {
            Ok(Some(_)) => {}
            Ok(None) => {
                control.metadata().write(KIND, &id, None, &text).map_err(|error| from_store(&error))?;
            }
            // Its check turns red; the promises themselves are known.
            Err(error) => tracing::error!(%error, "the kept text of the promises cannot be read"),
        }
        Ok(())
    }

    /// The texts that the log dates, oldest first.
    pub(super) fn dated_texts(&self) -> Vec<DatedText> {
        lock(&self.ledger).texts().to_vec()
    }

    /// What is kept of a text, if that is what the log dates. The error is for people.
    pub(super) fn kept_text(&self, control: &ControlPlane, digest: &Hash) -> Result<Vec<u8>, String> {
        let kept = control.metadata().read(KIND, &digest.to_string());
        let kept = kept.map_err(|error| format!("a text that the log dates cannot be read: {error}"))?;
        let text = kept.ok_or("a text that the log dates is gone")?.body;
        is_of(&text, digest)?;
        Ok(text)
    }

    /// Lets nothing be shown of promises whose text is not the one that the log dates newest, within the checkpoint.
    pub(super) fn require_dated(&self, control: &ControlPlane, ledger: &Ledger, signed: &str) -> Result<(), Problem> {
        let digest = Hash::of(&[&self.registry.canonical()]);
        let names = format!("\"{}\":\"sha256:{digest}\"", detail::TEXT);
        require_newest(ledger.texts(), &digest)
            .and_then(|dated| Self::require_in_log(control, dated.log_index, signed, &names))
            .map_err(|reason| Problem::new("trust/text", reason))
    }
}

/// Whether bytes are the text of a digest.
pub(super) fn is_of(text: &[u8], digest: &Hash) -> Result<(), String> {
    if Hash::of(&[text]) == *digest { Ok(()) } else { Err("a text was changed after the log dated it".to_owned()) }
}

fn require_newest<'a>(dated: &'a [DatedText], digest: &Hash) -> Result<&'a DatedText, String> {
    let newest = dated.last().filter(|newest| newest.digest == *digest);
    newest.ok_or_else(|| "the log does not date this text of the promises; restart the server".to_owned())
}

#[cfg(test)]
mod tests {
    use creta_model::Instant;

    use super::*;

    #[test]
    fn attack_ci01_only_the_newest_text_of_the_log_is_in_force() {
        let (one, other) = (Hash::of(&[b"one"]), Hash::of(&[b"other"]));
        let since = Instant::parse("2026-01-01T00:00:00Z").expect("valid");
        let dated = |digest, log_index| DatedText { digest, since, log_index };
        assert!(require_newest(&[], &one).is_err(), "the log dates nothing");
        let texts = [dated(one, 3), dated(other, 9)];
        assert_eq!(require_newest(&texts, &other).map(|dated| dated.log_index), Ok(9));
        assert!(require_newest(&texts, &one).is_err(), "an earlier text is not in force any more");
        assert!(require_newest(&texts, &Hash::of(&[b"other."])).is_err(), "one byte more");
        assert!(is_of(b"one", &one).is_ok() && is_of(b"0ne", &one).is_err());
    }
}
