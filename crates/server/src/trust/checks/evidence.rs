//! Every stored piece of evidence is what the log says of it (R4).

use creta_compliance::{Evidence, Observation};
use creta_proof::Hash;
use serde_json::json;

use super::{Check, Seen, World};

pub(super) struct EvidenceIntegrity;

impl Check for EvidenceIntegrity {
    fn id(&self) -> &'static str {
        "evidence-integrity"
    }

    /// A stored piece of which one letter was changed.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let trust = &world.app.trust;
        let Some(any) = trust.all_recorded().into_iter().next() else {
            return Ok(!is_as_logged(b"{}", &Hash::empty()));
        };
        let stored = trust.stored(&world.app.control, &any)?;
        let changed = String::from_utf8_lossy(&stored).replacen("\"outcome\":\"", "\"outcome\":\"x", 1).into_bytes();
        Ok(!is_as_logged(&changed, &any.evidence))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let trust = &world.app.trust;
        let mut seen = Seen::default();
        seen.subject("store:control-plane");
        let all = trust.all_recorded();
        for recorded in &all {
            let subject = format!("evidence:{}", recorded.index);
            match trust.stored(&world.app.control, recorded) {
                Ok(bytes) if is_as_logged(&bytes, &recorded.evidence) => {}
                Ok(_) => seen.finding(&subject, "evidence/changed", "stored evidence is not what the log says"),
                Err(reason) => seen.finding(&subject, "evidence/gone", reason),
            }
        }
        Ok(seen.raw(json!({ "pieces": all.len() })))
    }
}

fn is_as_logged(bytes: &[u8], digest: &Hash) -> bool {
    Hash::of(&[bytes]) == *digest && Evidence::parse(bytes).is_ok()
}
