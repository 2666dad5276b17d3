//! How many reports are taken, and from whom. Nobody has to prove who they are or to run a script, so what tells a flood
//! from a report is where it comes from and what it says.
//!
//! Each address, and each of the two networks around it, has an allowance by the hour. When more comes in from everybody
//! together than on any quiet day ([`CALM_MAX`]), allowances shrink to one report per network: whoever floods uses up the
//! networks that they flood from, and somebody elsewhere is still heard. What says the same as an earlier report joins its
//! group. Tenants have an allowance of their own that strangers cannot touch. Proof of work is not asked for: it needs a
//! script, and costs a phone more than a botnet.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use creta_model::{Problem, TenantId};
use creta_proof::Hash;

use super::report::FLOOD_DESCRIPTION_CHARS_MAX;

/// Code of the refusal of a report that is one too many.
pub(crate) const BUSY: &str = "busy/reports";
/// How long a report counts.
const MEMORY: Duration = Duration::from_secs(3600);
/// Reports of strangers within [`MEMORY`] up to which all is calm.
const CALM_MAX: u32 = 200;
/// Reports of strangers within [`MEMORY`], so that nobody fills the disk: about as many small networks as a large botnet has.
const ALL_MAX: u32 = 5_000;
/// Reports of one tenant within [`MEMORY`], should a code have become known.
const TENANT_MAX: u32 = 60;
/// Allowances of an address, the network next to it, and the one around that.
const CALM: [u32; 3] = [5, 20, 60];
const FLOOD: [u32; 3] = [1, 1, 8];

/// A report may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Passed {
    /// As any other.
    Calm,
    /// In a flood: it is taken, if it is short.
    Flood,
    /// It says what the report of this reference said.
    Again(String),
    /// A check sent it. It counts for nothing and wakes nobody.
    Probe,
}

/// Why a report may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// Too many came from there.
    FromThere,
    /// Too many came from everywhere.
    FromAll,
    /// In a flood only short ones are taken. It was not counted, so that it can come again, shorter.
    TooLong,
}

impl Turned {
    /// What whoever sent the report reads.
    pub(crate) fn to_problem(self) -> Problem {
        let (code, message) = match self {
            Self::FromThere => (BUSY, "too many reports came from your network within the hour".to_owned()),
            Self::FromAll => (BUSY, "too many reports came in within the hour".to_owned()),
            Self::TooLong => (
                "too-large/report",
                format!(
                    "so many reports come in that a description has at most {FLOOD_DESCRIPTION_CHARS_MAX} characters now"
                ),
            ),
        };
        Problem::new(code, message).with_help("the contacts in `/.well-known/security.txt` still reach us")
    }
}

/// Who sends what, as far as the gate looks.
#[derive(Debug, Clone)]
pub(crate) struct Arriving<'a> {
    pub(crate) address: IpAddr,
    /// Whose code it bears.
    pub(crate) tenant: Option<&'a TenantId>,
    pub(crate) fingerprint: Hash,
    /// Characters of its description.
    pub(crate) chars: usize,
    /// The name that it will have.
    pub(crate) reference: &'a str,
}

/// Counts who sent how many. Memory is bounded by what is taken within [`MEMORY`].
#[derive(Default)]
pub(crate) struct Gate {
    counts: Mutex<Counts>,
    probing: AtomicBool,
}

#[derive(Default)]
struct Counts {
    since: Duration,
    all: u32,
    from: HashMap<(u8, IpAddr), u32>,
    tenants: HashMap<TenantId, u32>,
    groups: HashMap<Hash, String>,
}

impl Gate {
    /// Lets one report of this machine pass uncounted while `send` runs: checks send through the door that people use.
    pub(crate) fn probing<T>(&self, send: impl FnOnce() -> T) -> T {
        self.probing.store(true, Ordering::Release);
        let sent = send();
        self.probing.store(false, Ordering::Release);
        sent
    }

    /// Counts a report, or turns it away. `now` is monotonic time.
    pub(crate) fn pass(&self, arriving: &Arriving<'_>, now: Duration) -> Result<Passed, Turned> {
        let Arriving { address, tenant, fingerprint, chars, reference } = *arriving;
        if address.is_loopback() && self.probing.swap(false, Ordering::AcqRel) {
            return Ok(Passed::Probe);
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= counts.since + MEMORY {
            *counts = Counts { since: now, ..Counts::default() };
        }
        if let Some(tenant) = tenant {
            let sent = counts.tenants.entry(tenant.clone()).or_default();
            *sent += 1;
            return if *sent <= TENANT_MAX { Ok(Passed::Calm) } else { Err(Turned::FromThere) };
        }
        let calm = counts.all < CALM_MAX;
        if counts.all >= ALL_MAX {
            return Err(Turned::FromAll);
        }
        let places = networks(address);
        let allowed = if calm { CALM } else { FLOOD };
        if places.iter().zip(allowed).any(|(place, max)| counts.from.get(place).copied().unwrap_or_default() >= max) {
            return Err(Turned::FromThere);
        }
        if !calm && chars > FLOOD_DESCRIPTION_CHARS_MAX {
            return Err(Turned::TooLong);
        }
        for place in places {
            *counts.from.entry(place).or_default() += 1;
        }
        counts.all += 1;
        if let Some(first) = counts.groups.get(&fingerprint) {
            return Ok(Passed::Again(first.clone()));
        }
        counts.groups.insert(fingerprint, reference.to_owned());
        Ok(if calm { Passed::Calm } else { Passed::Flood })
    }
}

/// An address as far as one customer of a provider has it for sure, the network next to it, and the one around that.
fn networks(address: IpAddr) -> [(u8, IpAddr); 3] {
    match address.to_canonical() {
        IpAddr::V4(v4) => [32, 24, 16].map(|bits| {
            let kept = u32::from(v4) & (u32::MAX << (32 - bits));
            (bits, IpAddr::V4(Ipv4Addr::from(kept)))
        }),
        IpAddr::V6(v6) => [64, 48, 32].map(|bits| {
            let kept = u128::from(v6) & (u128::MAX << (128 - u32::from(bits)));
            (bits, IpAddr::V6(Ipv6Addr::from(kept)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn arriving<'a>(address: IpAddr, says: &[u8], reference: &'a str) -> Arriving<'a> {
        Arriving { address, tenant: None, fingerprint: Hash::of(&[says]), chars: 100, reference }
    }

    /// Sends a report that says something of its own.
    fn send(gate: &Gate, address: IpAddr, number: u32, now: Duration) -> Result<Passed, Turned> {
        gate.pass(&arriving(address, &number.to_be_bytes(), &number.to_string()), now)
    }

    #[test]
    fn a_flood_from_one_address_leaves_room_for_others() {
        let gate = Gate::default();
        let taken = (0..50).filter(|n| send(&gate, at("192.0.2.1"), *n, MINUTE).is_ok()).count();
        assert_eq!(taken, 5);
        assert_eq!(send(&gate, at("192.0.2.2"), 90, MINUTE), Ok(Passed::Calm), "somebody else");
        assert_eq!(send(&gate, at("192.0.2.1"), 91, MINUTE + MEMORY), Ok(Passed::Calm), "an hour later");
    }

    #[test]
    fn a_network_has_an_allowance_of_its_own() {
        let gate = Gate::default();
        let taken = (1..=254).filter(|n| send(&gate, at(&format!("192.0.2.{n}")), *n, MINUTE).is_ok()).count();
        assert_eq!(taken, 20, "v4: 24 bits");
        let taken = (1..=254).filter(|n| send(&gate, at(&format!("192.0.{n}.1")), 1000 + n, MINUTE).is_ok()).count();
        assert_eq!(taken, 40, "v4: 16 bits, 20 of which are used up");
        let six = (1..=500).filter(|n| send(&gate, at(&format!("2001:db8:1:1::{n:x}")), 2000 + n, MINUTE).is_ok());
        assert_eq!(six.count(), 5, "v6: nobody has fewer than 64 bits");
        let mapped = send(&gate, at("::ffff:192.0.2.1"), 3000, MINUTE);
        assert_eq!(mapped, Err(Turned::FromThere), "an address written otherwise is the same one");
    }

    #[test]
    fn attack_ch63_a_flood_from_everywhere_does_not_lock_the_genuine_one_out() {
        let gate = Gate::default();
        // One report from each of ten thousand small networks, until no more are taken from those.
        let botnet = |n: u32| IpAddr::from((0x0a00_0000 + n * 256 + 7).to_be_bytes());
        let mut flooded = 0;
        for n in 0..3_000 {
            flooded += u32::from(send(&gate, botnet(n % 1_500), n, MINUTE).is_ok());
        }
        assert!(flooded > CALM_MAX, "{flooded}: it is a flood");
        assert_eq!(send(&gate, at("198.51.100.7"), 90_000, MINUTE), Ok(Passed::Flood), "the genuine one");
        assert_eq!(send(&gate, at("198.51.100.8"), 90_001, MINUTE), Err(Turned::FromThere), "one per network");
        let long = Arriving { chars: 2_001, ..arriving(at("2001:db8::1"), b"long", "l") };
        assert_eq!(gate.pass(&long, MINUTE), Err(Turned::TooLong));
        assert_eq!(send(&gate, at("2001:db8::1"), 90_002, MINUTE), Ok(Passed::Flood), "and again, shorter");
        let tenant = TenantId::parse("acme").expect("valid");
        let coded = gate.pass(&Arriving { tenant: Some(&tenant), ..arriving(botnet(1), b"x", "x") }, MINUTE);
        assert_eq!(coded, Ok(Passed::Calm), "a tenant among them is heard from anywhere");
    }

    #[test]
    fn no_flood_fills_the_disk() {
        let gate = Gate::default();
        let everywhere = |n: u32| IpAddr::from((n.wrapping_mul(0x9e37_79b1)).to_be_bytes());
        let taken = (0..100_000).filter(|n| send(&gate, everywhere(*n), *n, MINUTE).is_ok()).count();
        assert_eq!(taken, ALL_MAX as usize);
        assert_eq!(send(&gate, at("198.51.100.7"), 1_000_000, MINUTE), Err(Turned::FromAll));
        let tenant = TenantId::parse("acme").expect("valid");
        let own = Arriving { tenant: Some(&tenant), ..arriving(at("::1"), b"x", "x") };
        let own = (0..100).filter(|_| gate.pass(&own, MINUTE).is_ok());
        assert_eq!(own.count(), TENANT_MAX as usize, "a code that became known is no way around");
    }

    #[test]
    fn what_was_said_before_joins_its_group() {
        let gate = Gate::default();
        let of = |n: u32| IpAddr::from((n * 65_536).to_be_bytes());
        let pass = |n, says: &[u8], reference| gate.pass(&arriving(of(n), says, reference), MINUTE);
        assert_eq!(pass(1, b"junk", "first"), Ok(Passed::Calm));
        assert_eq!(pass(2, b"junk", "second"), Ok(Passed::Again("first".to_owned())));
        assert_eq!(pass(3, b"else", "third"), Ok(Passed::Calm));
    }

    #[test]
    fn a_probe_counts_for_nothing_and_is_one_only() {
        let gate = Gate::default();
        let (first, second) = gate.probing(|| (send(&gate, at("::1"), 1, MINUTE), send(&gate, at("::1"), 2, MINUTE)));
        assert_eq!((first, second), (Ok(Passed::Probe), Ok(Passed::Calm)));
        assert_eq!(gate.probing(|| send(&gate, at("192.0.2.1"), 1, MINUTE)), Ok(Passed::Calm), "of this machine only");
    }
}
