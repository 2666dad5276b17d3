//! Somebody else has seen the log, lately (CH-44, T7).

use creta_compliance::Observation;
use creta_model::{Instant, Span};
use serde_json::json;

use super::{Check, Seen, World};

/// A cosignature is at most so old while the log grows.
const AGE_MAX: Span = Span::seconds(120);

pub(super) struct LogWitness;

impl Check for LogWitness {
    fn id(&self) -> &'static str {
        "log-witness"
    }

    /// A cosignature of yesterday.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let now = world.app.control.platform().clock.now();
        let seen = judge(&[("witness".to_owned(), Some(now.minus(Span::days(1))))], now);
        Ok(!seen.0.findings.is_empty())
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let control = &world.app.control;
        let witnesses = crate::trust::cosigners(control);
        if witnesses.is_empty() {
            return Err("no witness is configured; `creta witness` runs one".to_owned());
        }
        let seen = judge(&witnesses, control.platform().clock.now());
        let raw: Vec<_> = witnesses.iter().map(|(name, at)| json!({"witness": name, "cosigned_at": at})).collect();
        Ok(seen.raw(json!({ "witnesses": raw })))
    }
}

fn judge(witnesses: &[(String, Option<Instant>)], now: Instant) -> Seen {
    let mut seen = Seen::default();
    for (name, at) in witnesses {
        let subject = format!("witness:{name}");
        seen.subject(&subject);
        match at {
            None => seen.finding(&subject, "witness/never", "the witness has not cosigned this log"),
            Some(at) if at.plus(AGE_MAX) < now => {
                seen.finding(&subject, "witness/old", "the witness has not cosigned this log lately");
            }
            Some(_) => {}
        }
    }
    seen
}
