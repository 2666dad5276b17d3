//! Which proofs were used, for as long as they live.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use creta_model::{Instant, Span};

use super::proof::{AGE_SECONDS_MAX, DpopError, Proof};

/// Most proofs remembered at once: 100,000 in two minutes are 800 requests a second, about 10 MB.
pub const PROOFS_MAX: usize = 100_000;
/// Most of them of one key, so that no client of many fills the memory for all.
pub(super) const PROOFS_OF_KEY_MAX: u32 = 50_000;

/// What happens when more proofs come than are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    /// None is taken until some expire. Evicting instead would let a flood make room for a replay.
    Refuse,
    /// The oldest is forgotten. Refusing instead would let a flood of keys that cost nothing keep everybody out.
    Forget,
}

/// Proofs that were used. Lives in memory: after a restart, proofs from before it are refused instead of remembered.
#[derive(Debug)]
pub struct ReplayCache {
    started: Instant,
    when_full: WhenFull,
    used: HashSet<[u8; 32]>,
    /// By the instant when they were made, so that forgetting starts at the oldest, with the hash of their key.
    by_age: BTreeSet<(Instant, [u8; 32], u64)>,
    /// How many of a key.
    of_key: HashMap<u64, u32>,
    hasher: RandomState,
}

impl ReplayCache {
    /// Empty, for proofs of keys that sessions and tokens are bound to. Proofs made before `started` are refused: nobody knows
    /// whether they were used.
    pub fn new(started: Instant) -> Self {
        Self::of(started, WhenFull::Refuse)
    }

    /// The same for proofs of keys that anybody may have made just now. Such a request has to bring something that works once by
    /// itself, such as a code: a flood lets its proof be used again.
    pub fn of_strangers(started: Instant) -> Self {
        Self::of(started, WhenFull::Forget)
    }

    fn of(started: Instant, when_full: WhenFull) -> Self {
        // Proofs name whole seconds. What was used in this very second before the start could be used again in it.
        let second = Instant::from_micros(started.micros().div_euclid(1_000_000) * 1_000_000).unwrap_or(started);
        Self {
            started: second,
            when_full,
            used: HashSet::new(),
            by_age: BTreeSet::new(),
            of_key: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    /// O(log n), and O(1) amortised for forgetting.
    pub(super) fn admit(&mut self, proof: &Proof, now: Instant) -> Result<(), DpopError> {
        let oldest = now.minus(Span::seconds(AGE_SECONDS_MAX));
        while self.by_age.first().is_some_and(|(made, ..)| *made < oldest) {
            self.forget_oldest();
        }
        if proof.made < self.started || proof.made < oldest {
            return Err(DpopError::Time);
        }
        if self.used.contains(&proof.digest) {
            return Err(DpopError::Replayed);
        }
        let key = self.hasher.hash_one(proof.thumbprint().as_str());
        let of_key = self.of_key.get(&key).copied().unwrap_or_default();
        match self.when_full {
            WhenFull::Refuse if self.used.len() >= PROOFS_MAX || of_key >= PROOFS_OF_KEY_MAX => {
                return Err(DpopError::Busy);
            }
            WhenFull::Forget if self.used.len() >= PROOFS_MAX => self.forget_oldest(),
            WhenFull::Refuse | WhenFull::Forget => {}
        }
        self.used.insert(proof.digest);
        self.by_age.insert((proof.made, proof.digest, key));
        self.of_key.insert(key, self.of_key.get(&key).copied().unwrap_or_default() + 1);
        Ok(())
    }

    fn forget_oldest(&mut self) {
        let Some((_, digest, key)) = self.by_age.pop_first() else { return };
        self.used.remove(&digest);
        if let Some(count) = self.of_key.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.of_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expected, Prover};
    use super::*;
    use crate::key::{KeyKind, SigningKey};

    const URL: &str = "https://creta.example/v1/token";

    fn start() -> Instant {
        Instant::parse("2026-01-01T12:00:00.4Z").expect("valid")
    }

    fn proof(key: u8, id: u8, made: Instant) -> String {
        let prover = Prover::new(SigningKey::from_random(KeyKind::Ed25519, &[key; 32]));
        prover.prove("POST", URL, None, None, [id; 16], made)
    }

    fn admit(seen: &mut ReplayCache, proof: &str, now: Instant) -> Result<(), DpopError> {
        let expected = Expected { method: "POST", url: URL, ..Expected::default() };
        Proof::check(proof, &expected, now)?.admit(seen, now).map(|_| ())
    }

    #[test]
    fn attack_ch33_a_proof_works_once_for_as_long_as_it_lives() {
        let mut seen = ReplayCache::new(start());
        let ahead = start().plus(Span::seconds(59));
        let first = proof(1, 1, ahead);
        assert_eq!(admit(&mut seen, &first, start()), Ok(()));
        for seconds in [0, 1, 59, 60, 61, 118] {
            let now = start().plus(Span::seconds(seconds));
            assert_eq!(admit(&mut seen, &first, now), Err(DpopError::Replayed), "after {seconds} s");
            // Other proofs come and go meanwhile; they must not push it out.
            let other = proof(2, u8::try_from(seconds).expect("small"), now);
            assert_eq!(admit(&mut seen, &other, now), Ok(()));
        }
        assert_eq!(admit(&mut seen, &first, start().plus(Span::seconds(120))), Err(DpopError::Time));
        // The same id of another key is another proof.
        assert_eq!(admit(&mut seen, &proof(3, 1, ahead), ahead), Ok(()));
    }

    #[test]
    fn attack_ch33_a_proof_from_before_a_restart_is_refused() {
        let old = proof(1, 1, start().minus(Span::seconds(1)));
        assert_eq!(admit(&mut ReplayCache::new(start()), &old, start()), Err(DpopError::Time));
        let same_second = proof(1, 1, start());
        assert_eq!(admit(&mut ReplayCache::new(start()), &same_second, start()), Ok(()));
    }

    #[test]
    fn attack_ch33_a_flood_makes_no_room_for_a_replay() {
        let mut seen = ReplayCache::new(start());
        let first = proof(1, 1, start());
        assert_eq!(admit(&mut seen, &first, start()), Ok(()));
        for n in 1..PROOFS_MAX {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_le_bytes());
            seen.used.insert(digest);
            seen.by_age.insert((start(), digest, n as u64));
            seen.of_key.insert(n as u64, 1);
        }
        assert_eq!(admit(&mut seen, &proof(1, 2, start()), start()), Err(DpopError::Busy));
        assert_eq!(admit(&mut seen, &first, start()), Err(DpopError::Replayed));
        let later = start().plus(Span::seconds(61));
        assert_eq!(admit(&mut seen, &proof(1, 3, later), later), Ok(()));
        assert_eq!((seen.len(), seen.of_key.len()), (1, 1), "what has expired is forgotten");
    }

    #[test]
    fn attack_ch33_a_flood_of_strangers_keeps_nobody_out_and_one_key_fills_no_memory() {
        let mut strangers = ReplayCache::of_strangers(start());
        for n in 0..PROOFS_MAX {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_le_bytes());
            strangers.used.insert(digest);
            strangers.by_age.insert((start(), digest, 7));
        }
        strangers.of_key.insert(7, u32::try_from(PROOFS_MAX).expect("small"));
        assert_eq!(admit(&mut strangers, &proof(1, 1, start()), start()), Ok(()), "room is made");
        assert_eq!(strangers.len(), PROOFS_MAX);
        let mut seen = ReplayCache::new(start());
        let busy = Prover::new(SigningKey::from_random(KeyKind::Ed25519, &[1; 32])).thumbprint();
        let busy = seen.hasher.hash_one(busy.as_str());
        seen.of_key.insert(busy, PROOFS_OF_KEY_MAX);
        assert_eq!(admit(&mut seen, &proof(1, 1, start()), start()), Err(DpopError::Busy));
        assert_eq!(admit(&mut seen, &proof(2, 1, start()), start()), Ok(()), "another key");
    }
}
