//! Counts failed attempts, so that guessing is slow and the log does not fill up.
//!
//! Every kind of attempt has a table and a budget of log entries of its own: what strangers do at one door neither makes room
//! at another nor silences it. A table never forgets somebody who has to wait, whoever else comes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::limits::{FAILURE_ENTRIES_MAX, FAILURE_MEMORY, FAILURES_MAX, FAILURES_RECORDED_MAX};

/// What is attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// A client id with a secret.
    ClientSecret,
    /// A proof of possession.
    Proof,
    /// A report of a device.
    DeviceReport,
    /// A request that another site's page sends.
    ForeignPage,
    /// What an identity provider is said to have answered.
    ProviderAnswer,
    /// The code that another machine shows.
    DeviceCode,
    /// A half of the emergency account's secret.
    Half,
    /// The code of an invitation.
    Invitation,
    /// A name with a password, by browsers that nobody knows.
    Password,
    /// The same by one in which that person's password was right before.
    PasswordInKnownBrowser,
    /// Their present password, by somebody who is signed in.
    PresentPassword,
    /// The code of somebody whose first factor was right.
    Code,
    /// Passwords and codes of whomever, by network.
    Typed,
}

const KINDS: usize = Attempt::Typed as usize + 1;

/// Failed attempts of each kind, by whose they are and the network they come from, so that nobody locks somebody else out
/// from elsewhere. Names that do not exist count like those that do.
#[derive(Default)]
pub(crate) struct Failures {
    kinds: [Kind; KINDS],
    hasher: std::hash::RandomState,
}

#[derive(Default)]
struct Kind {
    entries: Mutex<HashMap<(u64, IpAddr), Entry>>,
    recorded: Mutex<Entry>,
}

#[derive(Default)]
struct Entry {
    count: u32,
    first: Duration,
}

impl Entry {
    fn is_over(&self, now: Duration) -> bool {
        now >= self.first + FAILURE_MEMORY
    }

    fn waits(&self, now: Duration) -> bool {
        self.count >= FAILURES_MAX && !self.is_over(now)
    }
}

/// Failed attempts from everywhere are counted under this address.
pub(crate) const EVERYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Failures {
    /// How long to wait before the next attempt; `None` when it may be made now. `now` is monotonic time.
    pub(crate) fn wait(&self, kind: Attempt, whose: &str, address: IpAddr, now: Duration) -> Option<Duration> {
        let entries = self.kinds[kind as usize].entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(&self.key(whose, address)).filter(|entry| entry.waits(now))?;
        Some(entry.first + FAILURE_MEMORY - now)
    }

    /// Counts a failed attempt. Says whether it should stand in the log: all do, up to [`FAILURES_RECORDED_MAX`] of a kind in
    /// the time they count, so that nobody fills the disk by guessing.
    pub(crate) fn count(&self, kind: Attempt, whose: &str, address: IpAddr, now: Duration) -> bool {
        self.add(kind, whose, address, now);
        self.is_recorded(kind, now)
    }

    /// Counts an attempt before it is made, so that of many at once no more are made than may fail; how long to wait if that
    /// many were. [`Failures::give_back`] takes it off again when it did not fail.
    pub(crate) fn begin(&self, kind: Attempt, whose: &str, address: IpAddr, now: Duration) -> Result<(), Duration> {
        match self.wait(kind, whose, address, now) {
            Some(wait) => Err(wait),
            None => match self.add(kind, whose, address, now) {
                count if count > FAILURES_MAX => {
                    self.give_back(kind, whose, address); // Others came between the two.
                    Err(self.wait(kind, whose, address, now).unwrap_or(FAILURE_MEMORY))
                }
                _ => Ok(()),
            },
        }
    }

    /// An attempt that was counted before it was made did not fail.
    pub(crate) fn give_back(&self, kind: Attempt, whose: &str, address: IpAddr) {
        let mut entries = self.kinds[kind as usize].entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&self.key(whose, address)) {
            entry.count = entry.count.saturating_sub(1);
        }
    }

    /// Whether another failure of this kind should stand in the log.
    pub(crate) fn is_recorded(&self, kind: Attempt, now: Duration) -> bool {
        let mut recorded = self.kinds[kind as usize].recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.is_over(now) {
            *recorded = Entry { count: 0, first: now };
        }
        recorded.count += 1;
        recorded.count <= FAILURES_RECORDED_MAX
    }

    /// How often somebody failed by now, this time included.
    fn add(&self, kind: Attempt, whose: &str, address: IpAddr, now: Duration) -> u32 {
        let key = self.key(whose, address);
        let mut entries = self.kinds[kind as usize].entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= FAILURE_ENTRIES_MAX && !entries.contains_key(&key) {
            entries.retain(|_, entry| !entry.is_over(now));
            if entries.len() >= FAILURE_ENTRIES_MAX {
                // So many at once are an attack from many addresses. Forgetting the oldest keeps memory bounded; whoever has to
                // wait is not forgotten for it.
                let forgettable = entries.iter().filter(|(_, entry)| !entry.waits(now));
                let oldest = forgettable.min_by_key(|(_, entry)| entry.first).map(|(key, _)| *key);
                let Some(oldest) = oldest else { return 1 };
                entries.remove(&oldest);
            }
        }
        let entry = entries.entry(key).or_insert(Entry { count: 0, first: now });
        if entry.is_over(now) {
            *entry = Entry { count: 0, first: now };
        }
        entry.count += 1;
        entry.count
    }

    fn key(&self, whose: &str, address: IpAddr) -> (u64, IpAddr) {
        use std::hash::BuildHasher as _;
        (self.hasher.hash_one(whose), network_of(address))
    }
}

/// The network that somebody is in: who has one IPv6 address has 2^64 of them.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const AT: Duration = Duration::from_secs(5);

    #[test]
    fn attack_guessing_has_to_wait_and_others_do_not() {
        let failures = Failures::default();
        let wait = |whose: &str, address, at| failures.wait(Attempt::ClientSecret, whose, address, at);
        for _ in 0..FAILURES_MAX {
            assert_eq!(wait("etl@acme", HERE, AT), None);
            failures.count(Attempt::ClientSecret, "etl@acme", HERE, AT);
        }
        assert_eq!(wait("etl@acme", HERE, AT), Some(FAILURE_MEMORY));
        assert_eq!(wait("etl@globex", HERE, AT), None, "another client");
        let elsewhere = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(wait("etl@acme", elsewhere, AT), None, "the same client from another address");
        assert_eq!(failures.wait(Attempt::Proof, "etl@acme", HERE, AT), None, "another kind");
        assert_eq!(wait("etl@acme", HERE, AT + FAILURE_MEMORY), None, "after a while");
        failures.count(Attempt::ClientSecret, "etl@acme", HERE, AT + FAILURE_MEMORY);
        assert_eq!(wait("etl@acme", HERE, AT + FAILURE_MEMORY), None, "counting starts again");
    }

    #[test]
    fn attack_one_ipv6_network_is_one_guesser() {
        let failures = Failures::default();
        for n in 0..FAILURES_MAX {
            let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, u16::try_from(n).expect("small")));
            failures.count(Attempt::ClientSecret, "etl@acme", address, AT);
        }
        let another = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 9, 9, 9, 9));
        assert_eq!(failures.wait(Attempt::ClientSecret, "etl@acme", another, AT), Some(FAILURE_MEMORY));
    }

    #[test]
    fn attack_many_made_up_ids_do_not_fill_the_memory() {
        let failures = Failures::default();
        let kind = Attempt::ClientSecret;
        let mut recorded = 0;
        for n in 0..FAILURE_ENTRIES_MAX + 20 {
            recorded += u32::from(failures.count(kind, &n.to_string(), HERE, Duration::from_secs(1)));
        }
        assert_eq!(recorded, FAILURES_RECORDED_MAX);
        let entries = failures.kinds[kind as usize].entries.lock().expect("not poisoned").len();
        assert_eq!(entries, FAILURE_ENTRIES_MAX);
        assert!(failures.count(kind, "later", HERE, Duration::from_secs(2) + FAILURE_MEMORY), "recorded again");
    }

    #[test]
    fn attack_ci25_a_flood_opens_no_lock_and_silences_no_other_door() {
        let failures = Failures::default();
        for kind in [Attempt::Code, Attempt::ClientSecret] {
            for _ in 0..FAILURES_MAX {
                failures.count(kind, "ana", EVERYWHERE, AT);
            }
        }
        for n in 0..FAILURE_ENTRIES_MAX * 2 {
            failures.count(Attempt::ClientSecret, &n.to_string(), HERE, AT + Duration::from_secs(1));
        }
        for kind in [Attempt::Code, Attempt::ClientSecret] {
            assert!(failures.wait(kind, "ana", EVERYWHERE, AT + Duration::from_secs(2)).is_some(), "{kind:?}");
        }
        assert!(failures.count(Attempt::Proof, "", HERE, AT + Duration::from_secs(2)), "proofs are recorded still");
        // A table full of those who wait takes nobody more, and lets none of them go.
        for n in 0..FAILURE_ENTRIES_MAX + 10 {
            for _ in 0..FAILURES_MAX {
                failures.count(Attempt::Half, &n.to_string(), HERE, AT);
            }
        }
        assert!(failures.wait(Attempt::Half, "0", HERE, AT).is_some());
        let entries = failures.kinds[Attempt::Half as usize].entries.lock().expect("not poisoned").len();
        assert_eq!(entries, FAILURE_ENTRIES_MAX);
    }

    #[test]
    fn attack_ci25_of_many_attempts_at_once_no_more_are_made_than_may_fail() {
        let failures = Failures::default();
        let begin = || failures.begin(Attempt::Code, "ana", EVERYWHERE, AT);
        let begun = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64).map(|_| scope.spawn(begin)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).filter(Result::is_ok).count()
        });
        assert_eq!(begun, FAILURES_MAX as usize);
        assert_eq!(begin(), Err(FAILURE_MEMORY));
        failures.give_back(Attempt::Code, "ana", EVERYWHERE);
        assert_eq!(begin(), Ok(()), "one was right");
    }
}
