//! What a monitor checks: that a log only grows, that it does not fall silent, and that its witness sees the same.
//!
//! Pure: whoever runs a monitor fetches what it asks for and keeps its state. An alarm is a finding, not a failure of the
//! monitor; what could not be fetched is one too, since a log that hides looks like that.

use creta_audit::Entry;
use creta_model::{Instant, Span};
use creta_proof::verify::verify_consistency;
use creta_proof::{Hash, SignedCheckpoint, Time, VerifierKey};
use serde::{Deserialize, Serialize};

/// Version of [`Seen::format`].
pub const SEEN_FORMAT: &str = "creta.monitor/1";
/// Heartbeats come each minute; a gap of more than this shows.
pub const HEARTBEAT_GAP_SECONDS_MAX: u64 = 90;

/// What a monitor remembers between two rounds. Without it, it would believe any log that is new to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// [`SEEN_FORMAT`].
    pub format: String,
    /// The newest checkpoint that was verified.
    pub checkpoint: String,
    /// Time of the last entry that was read; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_entry: Option<Instant>,
    /// Whether the last entry that says so says that the server runs.
    pub running: bool,
}

/// Something that a person has to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Stable name: `rolled-back`, `forked`, `not-signed`, `silent`, `gap`, `not-cosigned`, `witness-ahead`, `clock`.
    pub kind: String,
    /// What was found.
    pub message: String,
}

impl Alarm {
    /// An alarm of a kind.
    pub fn new(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), message: message.into() }
    }
}

/// Checks that `new` is signed by the log and continues `old`, given the proof that the log gave. `None` when it does.
pub fn check_growth(
    key: &VerifierKey,
    old: &SignedCheckpoint,
    new: &SignedCheckpoint,
    proof: &[Hash],
) -> Option<Alarm> {
    let new = match new.verify(key) {
        Ok(new) => new,
        Err(error) => return Some(Alarm::new("not-signed", error.to_string())),
    };
    let old = old.claimed();
    if new.size < old.size {
        let message = format!("the log had {} entries and shows {}: it was rolled back", old.size, new.size);
        return Some(Alarm::new("rolled-back", message));
    }
    let consistent = verify_consistency(old.size, new.size, &old.root, &new.root, proof);
    consistent.err().map(|error| {
        let message = format!("the log of {} entries does not continue that of {}: {error}", new.size, old.size);
        Alarm::new("forked", message)
    })
}

/// Checks that a witness cosigned a checkpoint of the log not longer ago than `age_max`. `None` when it did.
pub fn check_cosignature(
    key: &VerifierKey,
    witness: &VerifierKey,
    cosigned: Option<&SignedCheckpoint>,
    now: Instant,
    age_max: Span,
) -> Option<Alarm> {
    let name = witness.name();
    let Some(cosigned) = cosigned else {
        return Some(Alarm::new("not-cosigned", format!("witness `{name}` has cosigned nothing of this log")));
    };
    let at = match cosigned.verify(key).and_then(|_| cosigned.cosigned(witness)) {
        Ok(at) => at,
        Err(error) => {
            return Some(Alarm::new("not-cosigned", format!("what witness `{name}` shows is refused: {error}")));
        }
    };
    let age = now.micros() - at.micros();
    (age > age_max.micros()).then(|| {
        let seconds = age / 1_000_000;
        Alarm::new("not-cosigned", format!("witness `{name}` cosigned {seconds} s ago, at {}", shown(at)))
    })
}

/// Reads entries that follow what was seen, in order, and checks the times between them: a server that runs is never
/// silent for long. Times while it was stopped, by an entry of its own, do not count.
pub fn check_entries<'a>(seen: &mut Seen, entries: impl IntoIterator<Item = &'a Entry>) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    for entry in entries {
        if let Some(last) = seen.last_entry {
            if entry.time < last {
                alarms.push(Alarm::new("clock", format!("the log's clock was set back from {last} to {}", entry.time)));
            } else if seen.running && seconds_between(last, entry.time) > HEARTBEAT_GAP_SECONDS_MAX {
                let message =
                    format!("the log was silent from {last} to {}, and its server had not been stopped", entry.time);
                alarms.push(Alarm::new("gap", message));
            }
        }
        match entry.action.as_str() {
            "server.start" | "log.heartbeat" => seen.running = true,
            "server.stop" => seen.running = false,
            _ => {}
        }
        seen.last_entry = Some(entry.time);
    }
    alarms
}

/// Checks that the log is not silent now, after its newest entries were read.
pub fn check_silence(seen: &Seen, now: Instant) -> Option<Alarm> {
    let last = seen.last_entry.filter(|_| seen.running)?;
    (seconds_between(last, now) > HEARTBEAT_GAP_SECONDS_MAX)
        .then(|| Alarm::new("silent", format!("the log has been silent since {last}, and its server was not stopped")))
}

fn seconds_between(earlier: Instant, later: Instant) -> u64 {
    u64::try_from((later.micros() - earlier.micros()) / 1_000_000).unwrap_or(0)
}

fn shown(time: Time) -> String {
    time.to_string()
}

#[cfg(test)]
mod tests {
    use creta_audit::{Event, Log};
    use creta_iam::Place;
    use creta_model::Environment;

    use super::*;

    fn entry(action: &'static str, time: &str) -> Entry {
        let prod = Environment::parse("prod").expect("valid");
        let log = Log::in_memory(prod.clone()).expect("opens");
        log.record(Event::new(action, Place::Environment(prod))).expect("recorded");
        Entry { time: at(time), ..log.entries(0..1).expect("within").remove(0) }
    }

    fn at(time: &str) -> Instant {
        Instant::parse(time).expect("valid")
    }

    fn seen() -> Seen {
        Seen { format: SEEN_FORMAT.to_owned(), checkpoint: String::new(), last_entry: None, running: false }
    }

    fn kinds(alarms: &[Alarm]) -> Vec<&str> {
        alarms.iter().map(|alarm| alarm.kind.as_str()).collect()
    }

    #[test]
    fn a_running_server_that_is_silent_for_more_than_90_seconds_raises_an_alarm() {
        let beats = |second: &str| {
            [
                entry("server.start", "2026-03-01T12:00:00Z"),
                entry("log.heartbeat", &format!("2026-03-01T12:01:{second}Z")),
            ]
        };
        assert_eq!(kinds(&check_entries(&mut seen(), &beats("30"))), [""; 0]);
        assert_eq!(kinds(&check_entries(&mut seen(), &beats("31"))), ["gap"]);

        let mut seen = seen();
        check_entries(&mut seen, &beats("30"));
        assert_eq!(check_silence(&seen, at("2026-03-01T12:03:00Z")), None);
        assert_eq!(check_silence(&seen, at("2026-03-01T12:03:01Z")).expect("silent").kind, "silent");
        // The gap may lie between two rounds of the monitor.
        assert_eq!(kinds(&check_entries(&mut seen, &[entry("deploy", "2026-03-01T12:09:00Z")])), ["gap"]);
    }

    #[test]
    fn a_stopped_server_may_be_silent_and_a_clock_set_back_shows() {
        let mut seen = seen();
        let day = [
            entry("server.start", "2026-03-01T12:00:00Z"),
            entry("server.stop", "2026-03-01T12:00:10Z"),
            entry("server.start", "2026-03-02T09:00:00Z"),
        ];
        assert_eq!(kinds(&check_entries(&mut seen, &day)), [""; 0]);
        assert_eq!(kinds(&check_entries(&mut seen, &[entry("deploy", "2026-03-01T12:00:00Z")])), ["clock"]);
        check_entries(&mut seen, &[entry("server.stop", "2026-03-02T09:00:01Z")]);
        assert_eq!(check_silence(&seen, at("2026-03-09T00:00:00Z")), None);
    }

    #[test]
    fn attack_ch44_a_log_that_shrank_or_changed_raises_an_alarm() {
        let prod = Environment::parse("prod").expect("valid");
        let log = Log::in_memory(prod.clone()).expect("opens");
        let record = || log.record(Event::new("deploy", Place::Environment(prod.clone()))).expect("recorded");
        let key = VerifierKey::parse(&log.verifier_key()).expect("its own");
        (0..3).for_each(|n| assert_eq!(record(), n));
        let old = log.checkpoint().expect("signed");
        (3..7).for_each(|n| assert_eq!(record(), n));
        let new = log.checkpoint().expect("signed");
        let proof = log.prove_consistency(3, 7).expect("within");
        assert_eq!(check_growth(&key, &old, &new, &proof), None);
        assert_eq!(check_growth(&key, &new, &old, &[]).expect("shrank").kind, "rolled-back");
        assert_eq!(check_growth(&key, &old, &new, &proof[1..]).expect("not shown").kind, "forked");
        let other = Log::in_memory(prod.clone()).expect("opens");
        let other_key = VerifierKey::parse(&other.verifier_key()).expect("its own");
        assert_eq!(check_growth(&other_key, &old, &new, &proof).expect("another key").kind, "not-signed");
    }
}
