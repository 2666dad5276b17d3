//! What a monitor checks: that a log only grows, that it does not fall silent, and that its witness sees the same.
//!
//! Pure: whoever runs a monitor fetches what it asks for and keeps its state. An alarm is a finding, not a failure of the
//! monitor; what could not be fetched is one too, since a log that hides looks like that.

use creta_audit::Entry;
use creta_model::{Instant, Span};
use creta_proof::{Hash, SignedCheckpoint, VerifierKey};
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
    /// The log's verifier key.
    pub key: String,
    /// How many entries were read.
    pub size: u64,
    /// Roots of the complete subtrees over them, widest first, in base64: enough to go on from.
    subtrees: Vec<String>,
    /// Time of the last entry that was read; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_entry: Option<Instant>,
    /// Whether the last entry that says so says that the server runs.
    running: bool,
    /// How many forks the witness had accepted.
    pub forks: usize,
}

/// Something that a person has to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Stable name: `unreachable`, `not-signed`, `rolled-back`, `forked`, `silent`, `gap`, `clock`, `not-cosigned`,
    /// `fork-accepted`, `evidence`.
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

impl Seen {
    /// Nothing of this log yet.
    pub fn nothing(key: &VerifierKey) -> Self {
        Self {
            format: SEEN_FORMAT.to_owned(),
            key: key.to_string(),
            size: 0,
            subtrees: Vec::new(),
            last_entry: None,
            running: false,
            forks: 0,
        }
    }

    /// Reads the next entry, and checks the time since the one before: a server that runs is never silent for long.
    /// Time while it was stopped, by an entry of its own, does not count.
    pub fn read(&mut self, entry: &Entry) -> Option<Alarm> {
        let mut alarm = None;
        if let Some(last) = self.last_entry {
            if entry.time < last {
                alarm =
                    Some(Alarm::new("clock", format!("the log's clock was set back from {last} to {}", entry.time)));
            } else if self.running && seconds_between(last, entry.time) > HEARTBEAT_GAP_SECONDS_MAX {
                let message =
                    format!("the log was silent from {last} to {}, and its server had not been stopped", entry.time);
                alarm = Some(Alarm::new("gap", message));
            }
        }
        match entry.action.as_str() {
            "server.start" | "log.heartbeat" => self.running = true,
            "server.stop" => self.running = false,
            _ => {}
        }
        self.last_entry = Some(entry.time);
        // An entry that has no bytes has no hash that could lead to a signed root.
        let leaf = entry.to_bytes().map_or_else(|_| Hash::empty(), |bytes| Hash::leaf(&bytes));
        self.push(leaf);
        alarm
    }

    /// Checks that the log signed `signed` and that it covers at least what was read before. `None` when it does.
    pub fn check_signed(&self, key: &VerifierKey, signed: &SignedCheckpoint) -> Option<Alarm> {
        match signed.verify(key) {
            Err(error) => Some(Alarm::new("not-signed", error.to_string())),
            Ok(new) if new.size < self.size => {
                let message = format!("the log had {} entries and shows {}: it was rolled back", self.size, new.size);
                Some(Alarm::new("rolled-back", message))
            }
            Ok(_) => None,
        }
    }

    /// Checks that what was read is what a checkpoint, which [`check_signed`](Self::check_signed) passed, is about: that
    /// it continues what was read in earlier rounds, and that no entry was shown other than it was signed.
    pub fn check_root(&self, signed: &SignedCheckpoint) -> Option<Alarm> {
        let claimed = signed.claimed();
        if (claimed.size, claimed.root) == (self.size, self.root()) {
            return None;
        }
        let message = format!("the log of {} entries is not what was read of it: it has another history", claimed.size);
        Some(Alarm::new("forked", message))
    }

    /// Checks that the log is not silent now, after its newest entries were read.
    pub fn check_silence(&self, now: Instant) -> Option<Alarm> {
        let last = self.last_entry.filter(|_| self.running)?;
        (seconds_between(last, now) > HEARTBEAT_GAP_SECONDS_MAX).then(|| {
            Alarm::new("silent", format!("the log has been silent since {last}, and its server was not stopped"))
        })
    }

    /// The root over what was read.
    pub fn root(&self) -> Hash {
        let hashes = self.subtrees.iter().map(|hash| Hash::from_base64(hash).unwrap_or_else(Hash::empty));
        hashes.rev().reduce(|right, left| Hash::node(&left, &right)).unwrap_or_else(Hash::empty)
    }

    /// RFC 6962: an even count ends in two subtrees of one width, which become one.
    fn push(&mut self, leaf: Hash) {
        self.size += 1;
        let mut hash = leaf;
        for _ in 0..self.size.trailing_zeros() {
            // A state that lacks one leads to another root, which is an alarm.
            let left = self.subtrees.pop().and_then(|left| Hash::from_base64(&left)).unwrap_or_else(Hash::empty);
            hash = Hash::node(&left, &hash);
        }
        self.subtrees.push(hash.to_base64());
    }
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
        Alarm::new("not-cosigned", format!("witness `{name}` cosigned {seconds} s ago, at {at}"))
    })
}

fn seconds_between(earlier: Instant, later: Instant) -> u64 {
    u64::try_from((later.micros() - earlier.micros()) / 1_000_000).unwrap_or(0)
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
        let log = Log::in_memory(Environment::parse("prod").expect("valid")).expect("opens");
        Seen::nothing(&VerifierKey::parse(&log.verifier_key()).expect("its own"))
    }

    fn kinds(seen: &mut Seen, entries: &[Entry]) -> Vec<String> {
        entries.iter().filter_map(|entry| seen.read(entry)).map(|alarm| alarm.kind).collect()
    }

    #[test]
    fn a_running_server_that_is_silent_for_more_than_90_seconds_raises_an_alarm() {
        let beats = |second: &str| {
            [
                entry("server.start", "2026-03-01T12:00:00Z"),
                entry("log.heartbeat", &format!("2026-03-01T12:01:{second}Z")),
            ]
        };
        assert_eq!(kinds(&mut seen(), &beats("30")), [""; 0]);
        assert_eq!(kinds(&mut seen(), &beats("31")), ["gap"]);

        let mut seen = seen();
        kinds(&mut seen, &beats("30"));
        assert_eq!(seen.check_silence(at("2026-03-01T12:03:00Z")), None);
        assert_eq!(seen.check_silence(at("2026-03-01T12:03:01Z")).expect("silent").kind, "silent");
        // The gap may lie between two rounds of the monitor.
        assert_eq!(kinds(&mut seen, &[entry("deploy", "2026-03-01T12:09:00Z")]), ["gap"]);
    }

    #[test]
    fn a_stopped_server_may_be_silent_and_a_clock_set_back_shows() {
        let mut seen = seen();
        let day = [
            entry("server.start", "2026-03-01T12:00:00Z"),
            entry("server.stop", "2026-03-01T12:00:10Z"),
            entry("server.start", "2026-03-02T09:00:00Z"),
        ];
        assert_eq!(kinds(&mut seen, &day), [""; 0]);
        assert_eq!(kinds(&mut seen, &[entry("deploy", "2026-03-01T12:00:00Z")]), ["clock"]);
        kinds(&mut seen, &[entry("server.stop", "2026-03-02T09:00:01Z")]);
        assert_eq!(seen.check_silence(at("2026-03-09T00:00:00Z")), None);
    }

    #[test]
    fn attack_ch44_a_log_that_shrank_changed_or_is_shown_otherwise_raises_an_alarm() {
        let prod = Environment::parse("prod").expect("valid");
        let log = Log::in_memory(prod.clone()).expect("opens");
        let key = VerifierKey::parse(&log.verifier_key()).expect("its own");
        let mut seen = Seen::nothing(&key);
        let mut earlier: Option<(SignedCheckpoint, Seen)> = None;
        for size in 1..20 {
            log.record(Event::new("deploy", Place::Environment(prod.clone()))).expect("recorded");
            let signed = log.checkpoint().expect("signed");
            assert_eq!(seen.check_signed(&key, &signed), None);
            assert_eq!(seen.check_root(&signed).expect("not read yet").kind, "forked");
            let entry = log.entries(size - 1..size).expect("within").remove(0);
            let mut edited = seen.clone();
            edited.read(&Entry { action: "query".to_owned(), ..entry.clone() });
            assert_eq!(edited.check_root(&signed).expect("shown otherwise").kind, "forked");
            assert_eq!(seen.read(&entry), None);
            assert_eq!(seen.check_root(&signed), None);
            if let Some((older, _)) = &earlier {
                assert_eq!(seen.check_signed(&key, older).expect("shrank").kind, "rolled-back");
            }
            earlier = Some((signed, seen.clone()));
        }
        let (signed, kept) = earlier.expect("some");
        let stored = serde_json::to_string(&kept).expect("JSON");
        assert_eq!(serde_json::from_str::<Seen>(&stored).expect("its own form").check_root(&signed), None);
        let other = Log::in_memory(prod).expect("opens");
        let other = VerifierKey::parse(&other.verifier_key()).expect("its own");
        assert_eq!(kept.check_signed(&other, &signed).expect("another key").kind, "not-signed");
    }
}
