//! Counts failed attempts to get a token, so that guessing is slow and the log does not fill up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::limits::{FAILURE_ENTRIES_MAX, FAILURE_MEMORY, FAILURES_MAX, FAILURES_RECORDED_MAX};

/// Failed attempts by client id and address. By both, so that nobody locks a client out from elsewhere. Ids that do not
/// exist count like those that do.
#[derive(Default)]
pub(crate) struct Failures {
    entries: Mutex<HashMap<(u64, IpAddr), Entry>>,
    recorded: Mutex<Entry>,
    hasher: std::hash::RandomState,
}

#[derive(Default)]
struct Entry {
    count: u32,
    first: Duration,
}

impl Failures {
    /// How long to wait before the next attempt; `None` when it may be made now. `now` is monotonic time.
    pub(crate) fn wait(&self, client_id: &str, address: IpAddr, now: Duration) -> Option<Duration> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(&self.key(client_id, address))?;
        let until = entry.first + FAILURE_MEMORY;
        (entry.count >= FAILURES_MAX && now < until).then(|| until - now)
    }

    /// Counts a failed attempt. Says whether it should stand in the log: all do, up to [`FAILURES_RECORDED_MAX`] in the
    /// time they count, so that nobody fills the disk by guessing.
    pub(crate) fn count(&self, client_id: &str, address: IpAddr, now: Duration) -> bool {
        let key = self.key(client_id, address);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= FAILURE_ENTRIES_MAX && !entries.contains_key(&key) {
            entries.retain(|_, entry| now < entry.first + FAILURE_MEMORY);
            if entries.len() >= FAILURE_ENTRIES_MAX {
                // So many at once are an attack from many addresses. Forgetting the oldest keeps memory bounded.
                let oldest = entries.iter().min_by_key(|(_, entry)| entry.first).map(|(key, _)| *key);
                oldest.map(|key| entries.remove(&key));
            }
        }
        let entry = entries.entry(key).or_insert(Entry { count: 0, first: now });
        if now >= entry.first + FAILURE_MEMORY {
            *entry = Entry { count: 0, first: now };
        }
        entry.count += 1;
        drop(entries);
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= recorded.first + FAILURE_MEMORY {
            *recorded = Entry { count: 0, first: now };
        }
        recorded.count += 1;
        recorded.count <= FAILURES_RECORDED_MAX
    }

    fn key(&self, client_id: &str, address: IpAddr) -> (u64, IpAddr) {
        use std::hash::BuildHasher as _;
        (self.hasher.hash_one(client_id), address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn attack_guessing_has_to_wait_and_others_do_not() {
        let failures = Failures::default();
        let at = Duration::from_secs(5);
        for _ in 0..FAILURES_MAX {
            assert_eq!(failures.wait("etl@acme", HERE, at), None);
            failures.count("etl@acme", HERE, at);
        }
        assert_eq!(failures.wait("etl@acme", HERE, at), Some(FAILURE_MEMORY));
        assert_eq!(failures.wait("etl@globex", HERE, at), None, "another client");
        let elsewhere = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(failures.wait("etl@acme", elsewhere, at), None, "the same client from another address");
        assert_eq!(failures.wait("etl@acme", HERE, at + FAILURE_MEMORY), None, "after a while");
        failures.count("etl@acme", HERE, at + FAILURE_MEMORY);
        assert_eq!(failures.wait("etl@acme", HERE, at + FAILURE_MEMORY), None, "counting starts again");
    }

    #[test]
    fn attack_many_made_up_ids_do_not_fill_the_memory() {
        let failures = Failures::default();
        let mut recorded = 0;
        for n in 0..FAILURE_ENTRIES_MAX + 20 {
            recorded += u32::from(failures.count(&n.to_string(), HERE, Duration::from_secs(1)));
        }
        assert_eq!(recorded, FAILURES_RECORDED_MAX);
        assert_eq!(failures.entries.lock().expect("not poisoned").len(), FAILURE_ENTRIES_MAX);
        assert!(failures.count("later", HERE, Duration::from_secs(2) + FAILURE_MEMORY), "recorded again");
    }
}
