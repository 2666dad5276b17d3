//! The key of one tenant in one environment.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use aws_lc_rs::hmac;
use creta_model::Scope;

use crate::KeyError;
use crate::primitives::{AesKey, NONCE_LEN, Secret, TAG_LEN, derive, mac, mac_key, push_part, random, same};

const VALUE_FORMAT: u8 = 1;
const COMMITMENT_LEN: usize = 16;
/// Format, key version, lane, commitment, nonce; then ciphertext and tag.
const VALUE_HEADER_LEN: usize = 1 + 4 + 1 + COMMITMENT_LEN + NONCE_LEN;
const LANES: u8 = 16;
/// Domains are few and fixed in code; the limit keeps a mistake from filling memory.
const CACHED_DOMAINS_MAX: usize = 256;

/// Where a sealed value belongs. Together with the scope it is authenticated, so the value opens nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealContext {
    /// The store, a fixed word of the code such as `online`.
    pub store: &'static str,
    /// The place in the store. It appears in errors, so it must not hold data.
    pub path: String,
    /// The value's version where the store counts versions, else 0.
    pub version: u64,
}

/// The key of one scope, in all its versions. Cloning shares it; the secrets are overwritten when the last clone goes.
///
/// It gives out no secret but those it derives, and has no `Debug`:
///
/// ```compile_fail
/// fn print<T: std::fmt::Debug>() {}
/// print::<creta_keys::ScopeKey>();
/// ```
#[derive(Clone)]
pub struct ScopeKey {
    inner: Arc<Inner>,
}

struct Inner {
    scope: Scope,
    newest: u32,
    versions: BTreeMap<u32, Version>,
    mac_keys: RwLock<HashMap<String, hmac::Key>>,
}

struct Version {
    secret: Secret,
    stores: RwLock<HashMap<&'static str, Arc<StoreKey>>>,
}

/// Keys of one store under one version.
pub(crate) struct StoreKey {
    commitment: [u8; COMMITMENT_LEN],
    /// Values are spread over several keys, so that 16 times as many can be sealed with random nonces.
    lanes: Vec<AesKey>,
    /// Wraps data keys of files and logs.
    pub(crate) wrap: AesKey,
}

impl ScopeKey {
    /// `versions` must not be empty.
    pub(crate) fn new(scope: Scope, versions: BTreeMap<u32, Secret>) -> Self {
        let newest = *versions.keys().next_back().expect("a scope key has at least one version");
        let versions = versions
            .into_iter()
            .map(|(version, secret)| (version, Version { secret, stores: RwLock::default() }))
            .collect();
        Self { inner: Arc::new(Inner { scope, newest, versions, mac_keys: RwLock::default() }) }
    }

    /// Whose key it is.
    pub fn scope(&self) -> &Scope {
        &self.inner.scope
    }

    /// The version that new seals use, from 1.
    pub fn newest_version(&self) -> u32 {
        self.inner.newest
    }

    /// Seals a value for one place. Adds 50 bytes; costs about a microsecond for a small value.
    ///
    /// Layout: format 1, key version (u32, big-endian), lane, commitment (16), nonce (12), ciphertext, tag (16). The keys
    /// of a store are derived once and kept. Nonces are random: by NIST SP 800-38D a key may seal 2^32 values, so a store
    /// may seal 2^36 (sixteen lanes) between two [rotations](crate::KeyRing::rotate_scope).
    pub fn seal(&self, ctx: &SealContext, plain: &[u8]) -> Vec<u8> {
        let newest = self.inner.newest;
        let store = self.store(ctx.store, newest).expect("the newest version is present");
        let [lane, nonce @ ..] = random::<{ NONCE_LEN + 1 }>();
        let lane = lane % LANES;
        let mut sealed = Vec::with_capacity(VALUE_HEADER_LEN + plain.len() + TAG_LEN);
        sealed.push(VALUE_FORMAT);
        sealed.extend_from_slice(&newest.to_be_bytes());
        sealed.push(lane);
        sealed.extend_from_slice(&store.commitment);
        sealed.extend_from_slice(&nonce);
        store.lanes[usize::from(lane)].seal_onto(nonce, &self.value_aad(ctx), plain, &mut sealed);
        sealed
    }

    /// Opens what [`seal`](Self::seal) gave for the same scope and place; anything else is an error.
    pub fn open(&self, ctx: &SealContext, sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let what = || format!("{}/{}", ctx.store, ctx.path);
        match sealed.first() {
            None => return Err(KeyError::Truncated { what: what() }),
            Some(&VALUE_FORMAT) => {}
            Some(&format) => return Err(KeyError::UnknownFormat { what: what(), format }),
        }
        if sealed.len() < VALUE_HEADER_LEN + TAG_LEN {
            return Err(KeyError::Truncated { what: what() });
        }
        let (header, body) = sealed.split_at(VALUE_HEADER_LEN);
        let version = u32::from_be_bytes(header[1..5].try_into().expect("four bytes"));
        let (lane, commitment, nonce) = (header[5], &header[6..6 + COMMITMENT_LEN], &header[6 + COMMITMENT_LEN..]);
        let store = self.store(ctx.store, version).ok_or_else(|| self.no_version(what(), version))?;
        let mut plain = Vec::with_capacity(body.len() - TAG_LEN);
        if lane >= LANES || !same(commitment, &store.commitment) {
            return Err(KeyError::Foreign { what: what() });
        }
        store.lanes[usize::from(lane)]
            .open_onto(nonce, &self.value_aad(ctx), body, &mut plain)
            .ok_or_else(|| KeyError::Foreign { what: what() })?;
        Ok(plain)
    }

    /// A keyed hash that reveals nothing about `parts` and cannot be computed without the key: HMAC-SHA256 under a key of
    /// this scope and `domain`, over the parts with their lengths. Different lists of parts never meet (rule S19).
    ///
    /// It stays the same when the scope key is rotated, since stores look values up by it.
    pub fn mac(&self, domain: &str, parts: &[&[u8]]) -> [u8; 32] {
        // Under the lock, since copying a key takes as long as using it.
        if let Some(key) = self.inner.mac_keys.read().expect("no code panics while it holds the keys").get(domain) {
            return mac(key, parts);
        }
        let key = mac_key(&self.derive_for("mac", domain));
        let hash = mac(&key, parts);
        let mut keys = self.inner.mac_keys.write().expect("no code panics while it holds the keys");
        if keys.len() < CACHED_DOMAINS_MAX {
            keys.insert(domain.to_owned(), key);
        }
        hash
    }

    /// As [`ScopeKey::mac`], under the newest version of the scope key, with the number of that version: for hashes that
    /// are written down for good and never looked up, so that a rotation changes what whoever had the key can recognise.
    pub fn mac_newest(&self, domain: &str, parts: &[&[u8]]) -> (u32, [u8; 32]) {
        let (number, newest) = self.inner.versions.iter().next_back().expect("a scope key has at least one version");
        let secret = derive(&newest.secret, "mac newest", &[self.environment(), self.tenant(), domain.as_bytes()]);
        (*number, mac(&mac_key(&secret), parts))
    }

    /// 32 secret bytes of this scope for a purpose of the caller's. Rotation does not change them.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        *self.derive_for("derive", label)
    }

    /// Derived from the first version, which stays for good.
    fn derive_for(&self, label: &str, purpose: &str) -> Secret {
        let first = self.inner.versions.values().next().expect("a scope key has at least one version");
        derive(&first.secret, label, &[self.environment(), self.tenant(), purpose.as_bytes()])
    }

    /// The keys of a store; `None` if there is no such version of the scope key.
    pub(crate) fn store(&self, store: &'static str, version: u32) -> Option<Arc<StoreKey>> {
        let version = self.inner.versions.get(&version)?;
        if let Some(keys) = version.stores.read().expect("no code panics while it holds the keys").get(store) {
            return Some(Arc::clone(keys));
        }
        let parts = [self.environment(), self.tenant(), store.as_bytes()];
        let secret = |label: &str| derive(&version.secret, label, &parts);
        let lane = |lane: u8| AesKey::new(&derive(&secret("value"), "lane", &[&[lane]]));
        let keys = Arc::new(StoreKey {
            commitment: secret("value commitment")[..COMMITMENT_LEN].try_into().expect("shorter than a secret"),
            lanes: (0..LANES).map(lane).collect(),
            wrap: AesKey::new(&secret("data key wrap")),
        });
        let mut stores = version.stores.write().expect("no code panics while it holds the keys");
        Some(Arc::clone(stores.entry(store).or_insert(keys)))
    }

    pub(crate) fn no_version(&self, what: String, version: u32) -> KeyError {
        KeyError::KeyVersion { what, scope: self.inner.scope.clone(), version, newest: self.inner.newest }
    }

    pub(crate) fn environment(&self) -> &[u8] {
        self.inner.scope.environment.as_str().as_bytes()
    }

    pub(crate) fn tenant(&self) -> &[u8] {
        self.inner.scope.tenant.as_str().as_bytes()
    }

    fn value_aad(&self, ctx: &SealContext) -> Vec<u8> {
        let mut aad = Vec::with_capacity(128 + ctx.path.len());
        for part in [b"value", self.environment(), self.tenant(), ctx.store.as_bytes(), ctx.path.as_bytes()] {
            push_part(&mut aad, part);
        }
        aad.extend_from_slice(&ctx.version.to_be_bytes());
        aad
    }
}

/// A key of a scope, for tests.
#[cfg(test)]
pub(crate) fn test_key(tenant: &str, environment: &str) -> ScopeKey {
    let scope = Scope::parse(tenant, environment).expect("valid");
    ScopeKey::new(scope, BTreeMap::from([(1, crate::primitives::random_secret())]))
}

/// Keys of several scopes that share even the secret: only the scope's name tells them apart.
#[cfg(test)]
pub(crate) fn fixed_key(tenant: &str, environment: &str) -> ScopeKey {
    let scope = Scope::parse(tenant, environment).expect("valid");
    ScopeKey::new(scope, BTreeMap::from([(1, Secret::new([7; 32]))]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn place(store: &'static str, path: &str, version: u64) -> SealContext {
        SealContext { store, path: path.to_owned(), version }
    }

    #[test]
    fn attack_ci12_a_value_with_any_byte_flipped_is_refused() {
        let key = test_key("acme", "prod");
        let ctx = place("online", "k", 3);
        let sealed = key.seal(&ctx, b"feature value");
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut bad = sealed.clone();
                bad[at] ^= 1 << bit;
                let outcome = key.open(&ctx, &bad);
                let expected = match at {
                    0 => matches!(outcome, Err(KeyError::UnknownFormat { .. })),
                    1..=4 => matches!(outcome, Err(KeyError::KeyVersion { .. })),
                    _ => matches!(outcome, Err(KeyError::Foreign { .. })),
                };
                assert!(expected, "byte {at} bit {bit}: {outcome:?}");
            }
        }
    }

    #[test]
    fn attack_ci12_a_value_cut_or_extended_is_refused() {
        let key = test_key("acme", "prod");
        let ctx = place("online", "k", 3);
        let sealed = key.seal(&ctx, b"feature value");
        for len in 0..sealed.len() {
            let outcome = key.open(&ctx, &sealed[..len]);
            assert!(
                matches!(outcome, Err(KeyError::Truncated { .. } | KeyError::Foreign { .. })),
                "{len}: {outcome:?}"
            );
        }
        let extended = [&sealed[..], b"x"].concat();
        assert!(matches!(key.open(&ctx, &extended), Err(KeyError::Foreign { .. })));
    }

    #[test]
    fn attack_ch23_a_value_opens_at_its_place_only() {
        let key = fixed_key("acme", "prod");
        let ctx = place("online", "a/b", 3);
        let sealed = key.seal(&ctx, b"x");
        assert_eq!(key.open(&ctx, &sealed).expect("own"), b"x");
        let elsewhere =
            [place("tiles", "a/b", 3), place("online", "a/c", 3), place("online", "a/b", 2), place("onlinea", "/b", 3)];
        for other in elsewhere {
            assert!(matches!(key.open(&other, &sealed), Err(KeyError::Foreign { .. })), "{other:?}");
        }
        for other in [fixed_key("beta", "prod"), fixed_key("acme", "staging"), test_key("acme", "prod")] {
            assert!(matches!(other.open(&ctx, &sealed), Err(KeyError::Foreign { .. })), "{}", other.scope());
        }
    }

    #[test]
    fn attack_ci12_nonces_never_repeat_within_a_key() {
        let key = test_key("acme", "prod");
        let ctx = place("online", "k", 0);
        let mut lanes = HashSet::new();
        let mut nonces = HashSet::new();
        for _ in 0..20_000 {
            let sealed = key.seal(&ctx, b"");
            lanes.insert(sealed[5]);
            assert!(nonces.insert(sealed[6 + COMMITMENT_LEN..VALUE_HEADER_LEN].to_vec()));
        }
        assert_eq!(lanes.len(), usize::from(LANES));
        // Each byte of the nonce takes all its values: none of them is fixed or counts.
        for at in 0..NONCE_LEN {
            assert_eq!(nonces.iter().map(|nonce| nonce[at]).collect::<HashSet<_>>().len(), 256, "byte {at}");
        }
    }

    #[test]
    fn a_mac_depends_on_scope_domain_and_every_border() {
        let key = fixed_key("acme", "prod");
        let mut seen = HashSet::new();
        for (domain, parts) in [
            ("a", &[&b"1"[..], b"23"][..]),
            ("a", &[b"12", b"3"]),
            ("a", &[b"123"]),
            ("b", &[b"123"]),
            ("a", &[]),
            ("a", &[b""]),
        ] {
            assert!(seen.insert(key.mac(domain, parts)), "{domain} {parts:?}");
            assert_eq!(key.mac(domain, parts), key.mac(domain, parts));
        }
        for other in [fixed_key("beta", "prod"), fixed_key("acme", "staging")] {
            assert!(seen.insert(other.mac("a", &[b"123"])));
            assert!(seen.insert(other.derive("a")));
        }
        assert!(seen.insert(key.derive("a")));
        for domain in 0..2 * CACHED_DOMAINS_MAX {
            assert!(seen.insert(key.mac(&format!("domain {domain}"), &[b"1"])), "also beyond what is cached");
        }
    }

    #[test]
    fn what_was_sealed_by_the_first_release_still_opens() {
        let sealed = hex::decode(SEALED_BY_FORMAT_1).expect("hex");
        assert_eq!(fixed_key("acme", "prod").open(&place("online", "k", 3), &sealed).expect("format 1"), b"Lyon");
        let lookup = fixed_key("acme", "prod").mac("lookup", &[b"7"]);
        assert_eq!(hex::encode(lookup), LOOKUP_OF_FORMAT_1, "stores find their rows by it");
    }

    const LOOKUP_OF_FORMAT_1: &str = "413c556d333595572723f38d89f942178b4913f0573966b3ff8748eae2f4c82c";
    const SEALED_BY_FORMAT_1: &str = "\
        0100000001051297dfa44c4e8dae7c6d50f5870bd9aa15c68dc32bccc89881063aa978359efc51337c5ad7a4e82a74e0\
        2928a6c9f593";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_value_is_given_back(plain in proptest::collection::vec(any::<u8>(), 0..600), path in "[a-z/]{0,20}", version: u64) {
            let key = fixed_key("acme", "prod");
            let ctx = SealContext { store: "online", path, version };
            let sealed = key.seal(&ctx, &plain);
            prop_assert_eq!(sealed.len(), plain.len() + 50);
            prop_assert_eq!(key.open(&ctx, &sealed).expect("own"), plain);
        }
    }
}
