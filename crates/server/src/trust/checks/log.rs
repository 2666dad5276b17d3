//! The audit log on disk is what was signed, entry by entry (CH-44).

use creta_audit::{Event, Log, verify};
use creta_compliance::Observation;
use serde_json::json;

use super::{Check, Seen, World};

pub(super) struct LogIntegrity;

impl Check for LogIntegrity {
    fn id(&self) -> &'static str {
        "log-integrity"
    }

    /// A small log of which one byte of one entry was changed, judged by the code that judges the real one.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let said = |error: creta_audit::AuditError| error.to_string();
        let log = Log::in_memory(world.app.control.environment().clone()).map_err(said)?;
        for _ in 0..9 {
            log.record(Event::new("check.planted", world.app.control.place())).map_err(said)?;
        }
        let signed = log.checkpoint().map_err(said)?;
        let checkpoint = verify::verify_checkpoint(signed.as_str(), &log.verifier_key()).map_err(|e| e.to_string())?;
        let mut entries: Vec<Vec<u8>> =
            (0..log.size()).map(|index| log.entry_bytes(index)).collect::<Result<_, _>>().map_err(said)?;
        verify::verify_log(&checkpoint, &entries).map_err(|_| "the planted log is not whole to begin with")?;
        let changed = String::from_utf8_lossy(&entries[4]).replace("check.planted", "check.plantid");
        entries[4] = changed.into_bytes();
        Ok(verify::verify_log(&checkpoint, &entries).is_err())
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let log = world.app.control.log();
        let mut seen = Seen::default();
        seen.subject("store:audit-log");
        match log.checkpoint().and_then(|_| log.verify()) {
            Ok(report) => {
                if !report.clock_set_back.is_empty() {
                    let count = report.clock_set_back.len();
                    seen.finding(
                        "store:audit-log",
                        "log/clock",
                        format!("{count} entries are earlier than the one before"),
                    );
                }
                Ok(seen.raw(json!({
                    "entries": report.entries,
                    "checkpoint": report.checkpoint.size,
                    "root": report.root.to_string(),
                })))
            }
            Err(error) => {
                seen.finding("store:audit-log", "log/broken", error.to_string());
                Ok(seen.raw(json!({})))
            }
        }
    }
}
