//! The clock: nobody set it while the server ran (R7), and it has not gone back against the log.

use std::time::Duration;

use creta_compliance::Observation;
use serde_json::json;

use super::{Check, Seen, World};

/// Wall clock and monotonic clock may run apart by this much: time services slew, they do not jump.
const DRIFT_MAX: Duration = Duration::from_secs(2);

pub(super) struct Clock;

impl Check for Clock {
    fn id(&self) -> &'static str {
        "clock"
    }

    fn notices_planted_fault(&self, _world: &World<'_>) -> Result<bool, String> {
        Ok(!judge(Duration::from_secs(60), None, 0).findings.is_empty())
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let log = world.app.control.log();
        let newest = log.size().checked_sub(1).and_then(|last| log.entries(last..last + 1).ok()?.pop());
        let behind = newest.map_or(0, |entry| {
            (entry.time.micros() - world.app.control.platform().clock.now().micros()).max(0) / 1_000_000
        });
        Ok(judge(world.clock_drift, synchronised(), behind))
    }
}

/// Whether a time service disciplines the clock, where the system says so.
fn synchronised() -> Option<bool> {
    // systemd-timesyncd keeps this file while it is in step; chrony and others say it elsewhere, so absence says nothing.
    std::path::Path::new("/run/systemd/timesync/synchronized").exists().then_some(true)
}

fn judge(drift: Duration, synchronised: Option<bool>, seconds_behind_the_log: i64) -> Observation {
    let mut seen = Seen::default();
    seen.subject("system:server");
    if drift > DRIFT_MAX {
        seen.finding("system:server", "clock/jumped", "the wall clock was set while the server ran");
    }
    if seconds_behind_the_log > 0 {
        seen.finding("system:server", "clock/behind-log", "the wall clock is behind the newest entry of the log");
    }
    if synchronised == Some(false) {
        seen.finding("system:server", "clock/unsynchronised", "no time service keeps the clock in step");
    }
    seen.raw(json!({
        "drift_ms": u64::try_from(drift.as_millis()).unwrap_or(u64::MAX),
        "seconds_behind_the_log": seconds_behind_the_log,
        "time_service": synchronised,
    }))
}
