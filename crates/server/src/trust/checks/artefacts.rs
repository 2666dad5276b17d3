//! What others issued is stored as the log names it, and nobody issues to themselves (CH-08).

use creta_compliance::{ARTEFACT_FORMAT, Artefact, CommitmentId, Observation};
use creta_model::Span;
use creta_proof::Hash;
use serde_json::json;

use super::{Check, Seen, World};
use crate::trust::Trust;

pub(super) struct Artefacts;

impl Check for Artefacts {
    fn id(&self) -> &'static str {
        "artefacts"
    }

    /// A file of which one byte was changed, and an artefact that the organisation issued to itself.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let now = world.app.control.platform().clock.now();
        let name = &world.app.trust.organisation().name;
        let own = Artefact {
            format: ARTEFACT_FORMAT.to_owned(),
            id: "planted".to_owned(),
            commitment: CommitmentId::parse("CH-08").map_err(|error| error.to_string())?,
            kind: "planted".to_owned(),
            issuer: name.to_uppercase(),
            issued: now.minus(Span::days(1)),
            expires: now.plus(Span::days(1)),
            scope_from: now.minus(Span::days(2)),
            scope_to: now.minus(Span::days(1)),
            file: Hash::of(&[b"planted"]),
            bytes: 7,
        };
        let changed = Hash::of(&[b"plantee"]) != own.file;
        Ok(changed && own.require_valid([name.as_str()], now).is_err())
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let (trust, control) = (&world.app.trust, &world.app.control);
        let mut seen = Seen::default();
        for row in trust.registry().commitments().filter(|row| !row.artefacts.is_empty()) {
            seen.subject(format!("commitment:{}", row.id));
        }
        let signed = control.log().checkpoint().map_err(|error| error.to_string())?;
        let all = trust.recorded_artefacts();
        for recorded in &all {
            let subject = format!("artefact:{}", recorded.index);
            seen.subject(subject.as_str());
            if let Err(reason) = Trust::proven_artefact(control, recorded, signed.as_str()) {
                seen.finding(&subject, "artefact/not-as-logged", format!("a stored artefact does not count: {reason}"));
            }
        }
        Ok(seen.raw(json!({ "artefacts": all.len() })))
    }
}
