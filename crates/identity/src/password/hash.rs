//! How a password is kept: Argon2id (RFC 9106), its parameters beside it, bound to its account.

use argon2::{Algorithm, Argon2, AssociatedData, Params, ParamsBuilder, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Password, PasswordError};
use crate::jws::{decode, encode, sha256};

const ALGORITHM: &str = "argon2id";
const VERSION: u32 = 0x13;

/// What one guess costs. Recorded with each hash, so that it can grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// The least that was ever used; anything below was written by somebody else. OWASP's first choice: 19 MiB, two
    /// passes, about 20 ms.
    pub const FLOOR: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
    /// What new hashes are made with.
    pub const NOW: Self = Self::FLOOR;
    /// The most that a stored hash may ask for: a larger number would be a way to exhaust the server.
    const CEILING: Self = Self { memory_kib: 1024 * 1024, passes: 16, lanes: 4 };

    /// Whether a stored hash may have this cost, where `floor` is the least that was ever used.
    const fn is_believable(self, floor: Self) -> bool {
        let Self { memory_kib, passes, lanes } = self;
        memory_kib >= floor.memory_kib
            && memory_kib <= Self::CEILING.memory_kib
            && passes >= floor.passes
            && passes <= Self::CEILING.passes
            && lanes >= floor.lanes
            && lanes <= Self::CEILING.lanes
    }
}

/// What guesses cost: the least that a stored hash may, and what new ones do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// The least that was ever used; what is cheaper was written by somebody else.
    pub floor: Cost,
    /// What new hashes are made with.
    pub now: Cost,
}

impl Costs {
    /// Those of every server. Tests that take thousands of times use cheap ones.
    pub const OURS: Self = Self { floor: Cost::FLOOR, now: Cost::NOW };
}

/// A password as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordHash {
    algorithm: String,
    version: u32,
    cost: Cost,
    /// 16 bytes, base64url.
    salt: String,
    /// 32 bytes, base64url.
    hash: String,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not the account's password, or there is no such account.
    Wrong,
    /// The account's.
    Right,
    /// The account's; its hash costs less than new ones. Store this one instead.
    RightRehashed(PasswordHash),
}

impl PasswordHash {
    /// Hashes a password that was accepted. `account` never changes for its owner, unlike a name or an address; `salt` is
    /// random. About 20 ms and 19 MiB.
    pub fn make(password: &Password, account: &str, salt: [u8; 16], cost: Cost) -> Self {
        let hash = derive(password.bytes(), account, &salt, cost).expect("own parameters are valid");
        Self {
            algorithm: ALGORITHM.to_owned(),
            version: VERSION,
            cost,
            salt: encode(salt),
            hash: encode(hash.as_slice()),
        }
    }

    /// One that no password has.
    fn nobodys(cost: Cost) -> Self {
        let (salt, hash) = (encode([0; 16]), encode([0; 32]));
        Self { algorithm: ALGORITHM.to_owned(), version: VERSION, cost, salt, hash }
    }

    /// What one guess costs.
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// Whether it is one that this build would compare: not damaged, and no cheaper than any that was ever made.
    pub fn is_sound(&self) -> bool {
        self.parts(Cost::FLOOR).is_some()
    }

    fn parts(&self, floor: Cost) -> Option<([u8; 16], [u8; 32])> {
        let known = self.algorithm == ALGORITHM && self.version == VERSION && self.cost.is_believable(floor);
        let salt = decode(&self.salt)?.try_into().ok()?;
        let hash = decode(&self.hash)?.try_into().ok()?;
        known.then_some((salt, hash))
    }
}

/// Whether `typed` is the password of `account`. One derivation whatever happens, also for an account that does not exist
/// (`None`), a text that could be no password, or a stored hash that is refused, so that time tells nobody apart.
/// `salt` is random, for a hash of today's cost.
///
/// `Tampered` if the stored hash was weakened or damaged: it is never compared.
pub fn verify(
    stored: Option<&PasswordHash>,
    account: &str,
    typed: &str,
    salt: [u8; 16],
    Costs { floor, now }: Costs,
) -> Result<Verdict, PasswordError> {
    let password = Password::parse(typed).ok();
    let bytes = password.as_ref().map_or(b"".as_slice(), Password::bytes);
    // Reading the stored hash is work as well: where there is none, one that nobody has is read.
    let nobodys = PasswordHash::nobodys(now);
    let parts = stored.unwrap_or(&nobodys).parts(floor).filter(|_| stored.is_some());
    let cost = if parts.is_some() { stored.map_or(now, |stored| stored.cost) } else { now };
    let (used_salt, expected) = parts.unwrap_or(([0; 16], [0; 32]));
    let given = derive(bytes, account, &used_salt, cost).ok_or(PasswordError::Tampered)?;
    let equal = verify_slices_are_equal(given.as_slice(), &expected).is_ok();
    if stored.is_some() && parts.is_none() {
        return Err(PasswordError::Tampered);
    }
    match password {
        Some(password) if equal & parts.is_some() => Ok(if cost == now {
            Verdict::Right
        } else {
            Verdict::RightRehashed(PasswordHash::make(&password, account, salt, now))
        }),
        _ => Ok(Verdict::Wrong),
    }
}

/// The account is associated data: a hash that was copied to another account is wrong there.
fn derive(password: &[u8], account: &str, salt: &[u8; 16], cost: Cost) -> Option<Zeroizing<[u8; 32]>> {
    #[cfg(test)]
    tests::DERIVED.with_borrow_mut(|derived| derived.push(cost));
    let params: Params = ParamsBuilder::new()
        .m_cost(cost.memory_kib)
        .t_cost(cost.passes)
        .p_cost(cost.lanes)
        .data(AssociatedData::new(&sha256(account.as_bytes())).ok()?)
        .output_len(32)
        .build()
        .ok()?;
    let mut output = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(password, salt, output.as_mut_slice()).ok()?;
    Some(output)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::timing::{require_alike, timed};
    use std::cell::RefCell;

    thread_local! {
        /// What this test derived: the work that an attacker could time.
        pub(super) static DERIVED: RefCell<Vec<Cost>> = const { RefCell::new(Vec::new()) };
    }

    const GOOD: &str = "seven otters juggle";

    fn password(text: &str) -> Password {
        Password::parse(text).expect("a password")
    }

    fn stored(cost: Cost) -> PasswordHash {
        PasswordHash::make(&password(GOOD), "u-1", [5; 16], cost)
    }

    fn try_with(stored: Option<&PasswordHash>, account: &str, typed: &str) -> (Result<Verdict, ()>, Vec<Cost>) {
        DERIVED.take();
        let verdict = verify(stored, account, typed, [6; 16], Costs::OURS).map_err(|_| ());
        (verdict, DERIVED.take())
    }

    #[test]
    fn a_hash_is_bound_to_its_account_and_records_its_parameters() {
        let params = Params::new(19 * 1024, 2, 1, Some(32)).expect("valid");
        let mut plain = [0; 32];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(GOOD.as_bytes(), &[5; 16], &mut plain).expect("valid");
        let bound = derive(GOOD.as_bytes(), "u-1", &[5; 16], Cost::NOW).expect("valid");
        assert_ne!(*bound, plain, "the account is part of it");
        let text = serde_json::to_value(stored(Cost::NOW)).expect("JSON");
        assert_eq!(text["algorithm"], "argon2id");
        assert_eq!(text["cost"], serde_json::json!({"memory_kib": 19_456, "passes": 2, "lanes": 1}));
    }

    #[test]
    fn attack_ci25_unknown_accounts_and_wrong_passwords_cost_the_same() {
        let known = stored(Cost::NOW);
        let mut damaged = known.clone();
        damaged.hash.truncate(10);
        let long = "x".repeat(300);
        for (stored, typed, expected) in [
            (Some(&known), GOOD, Ok(Verdict::Right)),
            (Some(&known), "seven otters juggles", Ok(Verdict::Wrong)),
            (Some(&known), "", Ok(Verdict::Wrong)),
            (Some(&known), long.as_str(), Ok(Verdict::Wrong)),
            (None, GOOD, Ok(Verdict::Wrong)),
            (None, long.as_str(), Ok(Verdict::Wrong)),
            (Some(&damaged), GOOD, Err(())),
        ] {
            assert_eq!(try_with(stored, "u-1", typed), (expected, vec![Cost::NOW]), "{typed}");
        }
    }

    #[test]
    fn attack_ci25_time_does_not_tell_whether_an_account_exists() {
        // Cheap, so that what differs besides the derivation would show all the more.
        let cheap = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let known = stored(cheap);
        require_alike(&["a known account", "an unknown account"], |way| {
            let stored = [Some(&known), None][way];
            let costs = Costs { floor: cheap, now: cheap };
            let (verdict, time) = timed(|| verify(stored, "u-1", "seven otters juggles", [6; 16], costs));
            DERIVED.take();
            assert_eq!(verdict.expect("sound"), Verdict::Wrong);
            time
        });
    }

    #[test]
    fn attack_ci25_a_hash_of_another_account_is_wrong_here() {
        assert_eq!(try_with(Some(&stored(Cost::NOW)), "u-2", GOOD).0, Ok(Verdict::Wrong));
    }

    #[test]
    fn attack_ci25_weakened_parameters_are_refused() {
        let floor = Cost::FLOOR;
        for cost in [
            Cost { memory_kib: floor.memory_kib - 1, ..floor },
            Cost { memory_kib: 8, ..floor },
            Cost { passes: 1, ..floor },
            Cost { memory_kib: 2 * 1024 * 1024, ..floor },
            Cost { passes: u32::MAX, ..floor },
            Cost { lanes: 5, ..floor },
        ] {
            // Consistent in itself where that is cheap: the attacker knows the password and writes the whole record.
            let mut weak = stored(Cost::NOW);
            if cost.memory_kib <= floor.memory_kib && cost.passes <= floor.passes {
                weak = stored(cost);
            }
            weak.cost = cost;
            assert_eq!(try_with(Some(&weak), "u-1", GOOD), (Err(()), vec![Cost::NOW]), "{cost:?}");
            assert!(!weak.is_sound() && stored(Cost::NOW).is_sound());
        }
        for (algorithm, version) in [("argon2d", VERSION), ("bcrypt", VERSION), (ALGORITHM, 0x10)] {
            let weak = PasswordHash { algorithm: algorithm.to_owned(), version, ..stored(Cost::NOW) };
            assert_eq!(try_with(Some(&weak), "u-1", GOOD).0, Err(()), "{algorithm}");
        }
    }

    #[test]
    fn a_cheaper_hash_is_replaced_when_its_owner_comes() {
        let old = stored(Cost::NOW);
        let dearer = Cost { passes: 3, ..Cost::NOW };
        let verify = |stored: &PasswordHash, typed| {
            let costs = Costs { floor: Cost::FLOOR, now: dearer };
            super::verify(Some(stored), "u-1", typed, [6; 16], costs).expect("ours")
        };
        let Verdict::RightRehashed(new) = verify(&old, GOOD) else { panic!("its cost is yesterday's") };
        assert_eq!(new.cost(), dearer);
        assert_eq!(verify(&new, GOOD), Verdict::Right);
        assert_eq!(verify(&old, "seven otters juggles"), Verdict::Wrong);
    }

    #[test]
    fn attack_ci25_nothing_is_cut_off_at_72_bytes() {
        let long = "seven otters juggle ".repeat(4);
        assert!(long.len() > 72);
        let hash = PasswordHash::make(&password(&format!("{long}a")), "u-1", [5; 16], Cost::NOW);
        assert_eq!(try_with(Some(&hash), "u-1", &format!("{long}a")).0, Ok(Verdict::Right));
        assert_eq!(try_with(Some(&hash), "u-1", &format!("{long}b")).0, Ok(Verdict::Wrong));
        assert_eq!(try_with(Some(&hash), "u-1", &long).0, Ok(Verdict::Wrong));
        let nul = Password::parse("seven otters\0 juggle");
        assert!(matches!(nul, Err(PasswordError::Control)), "nor at a zero byte");
    }
}
