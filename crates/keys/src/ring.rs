//! The scope keys of one environment, wrapped in files.
//!
//! `keys/<tenant>.json` holds the versions of a tenant's scope key, each sealed with AES-256-GCM under a key derived from
//! the root key and authenticated with format, environment, tenant, version and
//! time of creation. `keys/<tenant>.destroyed` says that there
//! was a key and that it must not be made again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use creta_model::{Environment, Instant, Scope, TenantId};
use creta_platform::{FileError, Platform};
use serde::{Deserialize, Serialize};

use crate::header::unwrap;
use crate::primitives::{AesKey, NONCE_LEN, Secret, encode, mac, mac_key, random, random_secret, same};
use crate::{KeyError, RootKey, ScopeKey};

const FORMAT: &str = "creta.scope-key/1";
const TOMBSTONE_FORMAT: &str = "creta.destroyed-key/1";

/// The scope keys of one environment. Cheap to share behind an `Arc`; keys that were used stay in memory.
///
/// One process changes a key folder at a time. Another process that has it open sees a rotated or destroyed key when it
/// opens the ring again.
pub struct KeyRing {
    environment: Environment,
    platform: Platform,
    state: Mutex<State>,
}

struct State {
    root: RootKey,
    opened: HashMap<TenantId, ScopeKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    format: String,
    environment: Environment,
    tenant: TenantId,
    /// Id of the root key that wraps the versions.
    root: String,
    versions: Vec<WrappedKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrappedKey {
    version: u32,
    created: Instant,
    nonce: String,
    wrapped: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tombstone {
    format: String,
    environment: Environment,
    tenant: TenantId,
    destroyed: Instant,
    root: String,
    /// Of the other fields, so that nobody without the root key can have a scope's key deleted.
    mac: String,
}

impl KeyRing {
    /// Opens the keys of `environment` in `platform.files`, and finishes destructions that a crash interrupted. A root key
    /// of another environment is [`KeyError::WrongEnvironment`].
    pub fn open(root: RootKey, environment: Environment, platform: Platform) -> Result<Self, KeyError> {
        if *root.environment() != environment {
            return Err(KeyError::WrongEnvironment { expected: root.environment().clone(), given: environment });
        }
        let ring = Self { environment, platform, state: Mutex::new(State { root, opened: HashMap::new() }) };
        ring.finish_destructions(&ring.state().root)?;
        Ok(ring)
    }

    /// The environment whose keys these are.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Makes the key of a new scope. [`KeyError::ScopeExists`] if there is one, [`KeyError::Destroyed`] if there was.
    pub fn create_scope(&self, scope: &Scope) -> Result<ScopeKey, KeyError> {
        self.check(scope)?;
        let mut state = self.state();
        self.refuse_destroyed(&state.root, scope)?;
        let secret = random_secret();
        let file = KeyFile {
            format: FORMAT.to_owned(),
            environment: self.environment.clone(),
            tenant: scope.tenant.clone(),
            root: state.root.id().to_owned(),
            versions: vec![self.wrap(&state.root, &scope.tenant, 1, self.platform.clock.now(), &secret)],
        };
        match self.platform.files.create(&key_path(&scope.tenant), &to_json(&file)) {
            Ok(()) => {}
            Err(FileError::Exists { .. }) => return Err(KeyError::ScopeExists { scope: scope.clone() }),
            Err(error) => return Err(error.into()),
        }
        let key = ScopeKey::new(scope.clone(), BTreeMap::from([(1, secret)]));
        state.opened.insert(scope.tenant.clone(), key.clone());
        Ok(key)
    }

    /// The key of a scope: [`KeyError::UnknownScope`] if there is none, [`KeyError::Destroyed`] if there was one,
    /// [`KeyError::WrongEnvironment`] for a scope of another environment. Reads files on the first call only.
    pub fn scope(&self, scope: &Scope) -> Result<ScopeKey, KeyError> {
        self.check(scope)?;
        let mut state = self.state();
        if let Some(key) = state.opened.get(&scope.tenant) {
            return Ok(key.clone());
        }
        self.refuse_destroyed(&state.root, scope)?;
        let file = self.read(scope)?;
        let key = ScopeKey::new(scope.clone(), self.unwrap_all(&state.root, &file)?);
        state.opened.insert(scope.tenant.clone(), key.clone());
        Ok(key)
    }

    /// The key of a scope, made now if there is none. A destroyed key is not made again.
    pub fn scope_or_create(&self, scope: &Scope) -> Result<ScopeKey, KeyError> {
        match self.scope(scope) {
            Err(KeyError::UnknownScope { .. }) => match self.create_scope(scope) {
                // Somebody else was faster.
                Err(KeyError::ScopeExists { .. }) => self.scope(scope),
                outcome => outcome,
            },
            outcome => outcome,
        }
    }

    /// Adds a version to a scope's key. New seals of the returned key use it; what older versions sealed stays readable,
    /// and [`ScopeKey::mac`] and [`ScopeKey::derive`] keep their results. Keys handed out before go on sealing with the
    /// version they know.
    pub fn rotate_scope(&self, scope: &Scope) -> Result<ScopeKey, KeyError> {
        self.check(scope)?;
        let mut state = self.state();
        self.refuse_destroyed(&state.root, scope)?;
        let mut file = self.read(scope)?;
        let mut versions = self.unwrap_all(&state.root, &file)?;
        let next = versions.keys().next_back().expect("a scope key has at least one version") + 1;
        let secret = random_secret();
        file.versions.push(self.wrap(&state.root, &scope.tenant, next, self.platform.clock.now(), &secret));
        self.platform.files.replace(&key_path(&scope.tenant), &to_json(&file))?;
        versions.insert(next, secret);
        let key = ScopeKey::new(scope.clone(), versions);
        state.opened.insert(scope.tenant.clone(), key.clone());
        Ok(key)
    }

    /// Destroys a scope's key for good: all that was sealed with it is unreadable, and the name cannot be used again.
    /// Calling it again is harmless. Keys handed out before live until they are dropped.
    ///
    /// First a tombstone is made durable, then the wrapped key is overwritten and deleted. File systems and disks may keep
    /// the old blocks, and backups of the key folder the old file: those hold the key wrapped by the root key, so
    /// [`rotate_root`](Self::rotate_root) and destroying the old root key closes them too.
    pub fn destroy_scope(&self, scope: &Scope) -> Result<(), KeyError> {
        self.check(scope)?;
        let mut state = self.state();
        let path = tombstone_path(&scope.tenant);
        if self.tombstone(&state.root, &scope.tenant)?.is_none() {
            match self.platform.files.size(&key_path(&scope.tenant)) {
                Err(FileError::NotFound { .. }) => return Err(KeyError::UnknownScope { scope: scope.clone() }),
                other => other?,
            };
            let tombstone = self.new_tombstone(&state.root, &scope.tenant, self.platform.clock.now());
            self.platform.files.create(&path, &to_json(&tombstone))?;
        }
        state.opened.remove(&scope.tenant);
        self.erase(&scope.tenant)
    }

    /// Scopes that have a key, by tenant name.
    pub fn list(&self) -> Result<Vec<Scope>, KeyError> {
        let paths = self.platform.files.list("keys/")?;
        let destroyed: Vec<TenantId> = paths.iter().filter_map(|path| tenant_of(path, ".destroyed")).collect();
        let tenants =
            paths.iter().filter_map(|path| tenant_of(path, ".json")).filter(|tenant| !destroyed.contains(tenant));
        let mut scopes: Vec<Scope> = tenants.map(|tenant| Scope::new(tenant, self.environment.clone())).collect();
        scopes.sort_unstable();
        Ok(scopes)
    }

    /// Wraps all scope keys anew with `new`, which serves from then on; data stays as it is. Keep the old root key until
    /// this has returned: after an interruption, open the ring with the old key and call it again with the same `new`.
    pub fn rotate_root(&self, new: RootKey) -> Result<(), KeyError> {
        if *new.environment() != self.environment {
            return Err(KeyError::WrongEnvironment {
                expected: new.environment().clone(),
                given: self.environment.clone(),
            });
        }
        let mut state = self.state();
        self.finish_destructions(&state.root)?;
        for path in self.platform.files.list("keys/")? {
            if let Some(tenant) = tenant_of(&path, ".json") {
                let file = self.read(&Scope::new(tenant.clone(), self.environment.clone()))?;
                if file.root == new.id() {
                    self.unwrap_all(&new, &file)?;
                    continue;
                }
                let secrets = self.unwrap_all(&state.root, &file)?;
                let versions = file.versions.iter().map(|wrapped| {
                    self.wrap(&new, &tenant, wrapped.version, wrapped.created, &secrets[&wrapped.version])
                });
                let rewrapped = KeyFile { root: new.id().to_owned(), versions: versions.collect(), ..file };
                self.platform.files.replace(&path, &to_json(&rewrapped))?;
            } else if let Some(tenant) = tenant_of(&path, ".destroyed") {
                let at = match self.tombstone(&new, &tenant) {
                    Err(KeyError::OtherRootKey { .. }) => self.tombstone(&state.root, &tenant)?,
                    _done => continue,
                };
                let at = at.expect("the tombstone was just listed");
                self.platform.files.replace(&path, &to_json(&self.new_tombstone(&new, &tenant, at)))?;
            }
        }
        state.root = new;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the keys")
    }

    fn check(&self, scope: &Scope) -> Result<(), KeyError> {
        if scope.environment == self.environment {
            return Ok(());
        }
        Err(KeyError::WrongEnvironment { expected: self.environment.clone(), given: scope.environment.clone() })
    }

    fn refuse_destroyed(&self, root: &RootKey, scope: &Scope) -> Result<(), KeyError> {
        match self.tombstone(root, &scope.tenant)? {
            None => Ok(()),
            Some(at) => Err(KeyError::Destroyed { scope: scope.clone(), at }),
        }
    }

    /// Erases the keys whose tombstone stands, authentic, beside them.
    fn finish_destructions(&self, root: &RootKey) -> Result<(), KeyError> {
        for path in self.platform.files.list("keys/")? {
            let Some(tenant) = tenant_of(&path, ".destroyed") else { continue };
            match self.tombstone(root, &tenant) {
                // An interrupted rotation of the root key got this far, so the key beside it was already erased.
                Err(KeyError::OtherRootKey { .. }) => {}
                outcome => {
                    outcome?;
                    self.erase(&tenant)?;
                }
            }
        }
        Ok(())
    }

    fn erase(&self, tenant: &TenantId) -> Result<(), KeyError> {
        let path = key_path(tenant);
        let size = match self.platform.files.size(&path) {
            Err(FileError::NotFound { .. }) => return Ok(()),
            other => usize::try_from(other?).expect("a key file fits in memory"),
        };
        // A full disk must not keep a key alive: deleting needs no space.
        if let Err(error) = self.platform.files.replace(&path, &vec![0; size]) {
            tracing::warn!(path, %error, "a destroyed key could not be overwritten; deleting it");
        }
        Ok(self.platform.files.delete(&path)?)
    }

    fn read(&self, scope: &Scope) -> Result<KeyFile, KeyError> {
        let path = key_path(&scope.tenant);
        let bytes = match self.platform.files.read(&path) {
            Err(FileError::NotFound { .. }) => return Err(KeyError::UnknownScope { scope: scope.clone() }),
            other => other?,
        };
        let damaged = |problem| KeyError::KeyFile { path: path.clone(), problem };
        let file: KeyFile =
            serde_json::from_slice(&bytes).map_err(|_| damaged("it is not in the form `creta.scope-key/1`"))?;
        if file.format != FORMAT {
            return Err(damaged("its format is not `creta.scope-key/1`"));
        }
        if file.environment != scope.environment || file.tenant != scope.tenant {
            return Err(damaged("it belongs to another tenant or environment"));
        }
        if file.versions.is_empty() || file.versions.windows(2).any(|pair| pair[0].version >= pair[1].version) {
            return Err(damaged("its versions are not in order"));
        }
        Ok(file)
    }

    fn wrap(&self, root: &RootKey, tenant: &TenantId, version: u32, created: Instant, secret: &Secret) -> WrappedKey {
        let nonce = random::<NONCE_LEN>();
        let mut wrapped = Vec::new();
        let key = AesKey::new(&root.derive("scope key wrap"));
        key.seal_onto(nonce, &self.wrap_aad(tenant, version, created), &secret[..], &mut wrapped);
        WrappedKey { version, created, nonce: STANDARD.encode(nonce), wrapped: STANDARD.encode(wrapped) }
    }

    fn unwrap_all(&self, root: &RootKey, file: &KeyFile) -> Result<BTreeMap<u32, Secret>, KeyError> {
        let path = key_path(&file.tenant);
        if file.root != root.id() {
            return Err(KeyError::OtherRootKey { path, found: file.root.clone(), at_hand: root.id().to_owned() });
        }
        let key = AesKey::new(&root.derive("scope key wrap"));
        let unwrapped = file.versions.iter().map(|wrapped| {
            let decode = |text: &str| STANDARD.decode(text).ok();
            decode(&wrapped.nonce)
                .zip(decode(&wrapped.wrapped))
                .and_then(|(nonce, bytes)| {
                    unwrap(&key, &nonce, &self.wrap_aad(&file.tenant, wrapped.version, wrapped.created), &bytes)
                })
                .map(|secret| (wrapped.version, secret))
                .ok_or_else(|| KeyError::KeyFile {
                    path: path.clone(),
                    problem: "a wrapped key was changed or belongs elsewhere",
                })
        });
        unwrapped.collect()
    }

    fn wrap_aad(&self, tenant: &TenantId, version: u32, created: Instant) -> Vec<u8> {
        let (environment, tenant) = (self.environment.as_str().as_bytes(), tenant.as_str().as_bytes());
        encode(&[FORMAT.as_bytes(), environment, tenant, &version.to_be_bytes(), &created.micros().to_be_bytes()])
    }

    /// When the tenant's key was destroyed, if it was.
    fn tombstone(&self, root: &RootKey, tenant: &TenantId) -> Result<Option<Instant>, KeyError> {
        let path = tombstone_path(tenant);
        let bytes = match self.platform.files.read(&path) {
            Err(FileError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let damaged = |problem| KeyError::KeyFile { path: path.clone(), problem };
        let found: Tombstone =
            serde_json::from_slice(&bytes).map_err(|_| damaged("it is not in the form `creta.destroyed-key/1`"))?;
        if found.root != root.id() {
            return Err(KeyError::OtherRootKey { path, found: found.root, at_hand: root.id().to_owned() });
        }
        let expected = self.new_tombstone(root, tenant, found.destroyed);
        if !same(found.mac.as_bytes(), expected.mac.as_bytes()) {
            return Err(damaged("it was changed or belongs elsewhere"));
        }
        Ok(Some(found.destroyed))
    }

    fn new_tombstone(&self, root: &RootKey, tenant: &TenantId, destroyed: Instant) -> Tombstone {
        let key = mac_key(&root.derive("tombstone"));
        let mac =
            mac(&key, &[TOMBSTONE_FORMAT.as_bytes(), tenant.as_str().as_bytes(), &destroyed.micros().to_be_bytes()]);
        Tombstone {
            format: TOMBSTONE_FORMAT.to_owned(),
            environment: self.environment.clone(),
            tenant: tenant.clone(),
            destroyed,
            root: root.id().to_owned(),
            mac: hex::encode(mac),
        }
    }
}

fn key_path(tenant: &TenantId) -> String {
    format!("keys/{tenant}.json")
}

fn tombstone_path(tenant: &TenantId) -> String {
    format!("keys/{tenant}.destroyed")
}

fn tenant_of(path: &str, ending: &str) -> Option<TenantId> {
    TenantId::parse(path.strip_prefix("keys/")?.strip_suffix(ending)?).ok()
}

fn to_json(document: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(document).expect("key documents have text keys");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::SealContext;
    use creta_model::Span;
    use creta_platform::{Fault, FaultyFiles, Files, ManualClock, SystemRandom};

    fn platform(files: Arc<dyn Files>) -> Platform {
        let now = Instant::parse("2025-03-01T12:00:00Z").expect("valid");
        Platform { clock: Arc::new(ManualClock::new(now)), random: Arc::new(SystemRandom), files }
    }

    fn environment() -> Environment {
        Environment::parse("prod").expect("valid")
    }

    fn scope(tenant: &str) -> Scope {
        Scope::parse(tenant, "prod").expect("valid")
    }

    /// The same root key each time, so that a ring can be opened again.
    fn root(seed: u64) -> RootKey {
        RootKey::generate(&environment(), &creta_platform::SeededRandom::new(seed))
    }

    fn ring(platform: &Platform) -> KeyRing {
        KeyRing::open(root(1), environment(), platform.clone()).expect("opens")
    }

    fn place() -> SealContext {
        SealContext { store: "online", path: "k".to_owned(), version: 0 }
    }

    #[test]
    fn a_scope_key_is_made_once_and_found_again() {
        let platform = platform(Platform::in_memory().files);
        let first = ring(&platform);
        assert!(matches!(first.scope(&scope("acme")), Err(KeyError::UnknownScope { .. })));
        let key = first.create_scope(&scope("acme")).expect("new");
        assert!(matches!(first.create_scope(&scope("acme")), Err(KeyError::ScopeExists { .. })));
        first.scope_or_create(&scope("beta")).expect("new");
        let sealed = key.seal(&place(), b"x");

        let second = ring(&platform);
        let found = second.scope_or_create(&scope("acme")).expect("there");
        assert_eq!(found.open(&place(), &sealed).expect("own"), b"x");
        assert_eq!(second.list().expect("lists"), [scope("acme"), scope("beta")]);
    }

    #[test]
    fn attack_ch23_another_environment_gets_no_key() {
        let ring = ring(&platform(Platform::in_memory().files));
        let staging = Scope::parse("acme", "staging").expect("valid");
        for outcome in [
            ring.scope(&staging),
            ring.create_scope(&staging),
            ring.scope_or_create(&staging),
            ring.rotate_scope(&staging),
        ] {
            assert!(matches!(outcome, Err(KeyError::WrongEnvironment { .. })));
        }
        assert!(matches!(ring.destroy_scope(&staging), Err(KeyError::WrongEnvironment { .. })));
        let other = Environment::parse("staging").expect("valid");
        let opened = KeyRing::open(root(1), other, Platform::in_memory());
        assert!(matches!(opened, Err(KeyError::WrongEnvironment { .. })));
    }

    #[test]
    fn rotation_keeps_old_seals_readable_and_lookups_stable() {
        let platform = platform(Platform::in_memory().files);
        let ring_one = ring(&platform);
        let old = ring_one.create_scope(&scope("acme")).expect("new");
        let sealed_old = old.seal(&place(), b"old");
        let new = ring_one.rotate_scope(&scope("acme")).expect("rotates");
        let sealed_new = new.seal(&place(), b"new");
        assert_eq!((old.newest_version(), new.newest_version()), (1, 2));
        assert!(matches!(old.open(&place(), &sealed_new), Err(KeyError::KeyVersion { version: 2, newest: 1, .. })));
        for key in
            [new, ring_one.scope(&scope("acme")).expect("there"), ring(&platform).scope(&scope("acme")).expect("there")]
        {
            assert_eq!(key.open(&place(), &sealed_old).expect("own"), b"old");
            assert_eq!(key.open(&place(), &sealed_new).expect("own"), b"new");
            assert_eq!(key.mac("lookup", &[b"7"]), old.mac("lookup", &[b"7"]));
            assert_eq!(key.derive("chain"), old.derive("chain"));
            let (before, after) = (old.mac_newest("log", &[b"7"]), key.mac_newest("log", &[b"7"]));
            assert_eq!((before.0, after.0), (1, 2));
            assert_ne!(before.1, after.1, "a rotation makes other hashes");
            assert_eq!(after, key.mac_newest("log", &[b"7"]));
            assert_ne!(after.1, key.mac("log", &[b"7"]));
        }
    }

    #[test]
    fn attack_ch23_a_wrapped_key_serves_no_other_tenant_or_root() {
        let platform = platform(Platform::in_memory().files);
        let keys = ring(&platform);
        keys.create_scope(&scope("acme")).expect("new");
        keys.create_scope(&scope("beta")).expect("new");
        let acme = String::from_utf8(platform.files.read("keys/acme.json").expect("there")).expect("text");
        // As it is, and with its tenant rewritten.
        for planted in [acme.clone(), acme.replace("acme", "beta")] {
            platform.files.replace("keys/beta.json", planted.as_bytes()).expect("writes");
            assert!(matches!(ring(&platform).scope(&scope("beta")), Err(KeyError::KeyFile { .. })));
        }
        let other_root = KeyRing::open(root(2), environment(), platform.clone()).expect("no destroyed keys");
        assert!(matches!(other_root.scope(&scope("acme")), Err(KeyError::OtherRootKey { .. })));
        let renamed = acme.replace(root(1).id(), root(2).id());
        platform.files.replace("keys/acme.json", renamed.as_bytes()).expect("writes");
        assert!(matches!(other_root.scope(&scope("acme")), Err(KeyError::KeyFile { .. })));
    }

    #[test]
    fn attack_ci12_a_key_file_with_any_byte_flipped_gives_no_other_key() {
        let platform = platform(Platform::in_memory().files);
        let keys = ring(&platform);
        let key = keys.create_scope(&scope("acme")).expect("new");
        let good = platform.files.read("keys/acme.json").expect("there");
        let mut refused = 0;
        for at in 0..good.len() {
            for bit in [0, 2, 6] {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                platform.files.replace("keys/acme.json", &bad).expect("writes");
                match ring(&platform).scope(&scope("acme")) {
                    // White space between fields carries nothing.
                    Ok(found) => assert_eq!(found.derive("x"), key.derive("x"), "byte {at}"),
                    Err(KeyError::KeyFile { .. } | KeyError::OtherRootKey { .. }) => refused += 1,
                    Err(other) => panic!("byte {at}: {other}"),
                }
            }
        }
        assert!(refused > good.len() * 2);
    }

    #[test]
    fn attack_ci12_an_older_key_file_put_back_is_noticed() {
        let platform = platform(Platform::in_memory().files);
        let keys = ring(&platform);
        keys.create_scope(&scope("acme")).expect("new");
        let older = platform.files.read("keys/acme.json").expect("there");
        let sealed = keys.rotate_scope(&scope("acme")).expect("rotates").seal(&place(), b"new");
        platform.files.replace("keys/acme.json", &older).expect("writes");
        let found = ring(&platform).scope(&scope("acme")).expect("authentic").open(&place(), &sealed);
        assert!(matches!(found, Err(KeyError::KeyVersion { .. })));
    }

    #[test]
    fn a_destroyed_key_is_gone_and_its_name_stays_used() {
        let clock = Arc::new(ManualClock::new(Instant::parse("2025-03-01T12:00:00Z").expect("valid")));
        let platform = Platform { clock: Arc::clone(&clock) as _, ..platform(Platform::in_memory().files) };
        let keys = ring(&platform);
        assert!(matches!(keys.destroy_scope(&scope("acme")), Err(KeyError::UnknownScope { .. })));
        keys.create_scope(&scope("acme")).expect("new");
        keys.create_scope(&scope("beta")).expect("new");
        clock.advance(Span::days(3));
        keys.destroy_scope(&scope("acme")).expect("destroys");
        keys.destroy_scope(&scope("acme")).expect("again is harmless");
        for ring in [keys, ring(&platform)] {
            for outcome in [
                ring.scope(&scope("acme")),
                ring.create_scope(&scope("acme")),
                ring.scope_or_create(&scope("acme")),
                ring.rotate_scope(&scope("acme")),
            ] {
                let error = outcome.err().expect("refused");
                assert_eq!(
                    error.to_string(),
                    "the key of `prod/acme` was destroyed at 2025-03-04T12:00:00Z: its data cannot be read again, \
                     and the name cannot be reused"
                );
            }
            assert_eq!(ring.list().expect("lists"), [scope("beta")]);
        }
        assert_eq!(platform.files.list("").expect("lists"), ["keys/acme.destroyed", "keys/beta.json"]);
    }

    #[test]
    fn attack_ci12_a_forged_tombstone_deletes_nothing() {
        let platform = platform(Platform::in_memory().files);
        let keys = ring(&platform);
        keys.create_scope(&scope("acme")).expect("new");
        keys.create_scope(&scope("beta")).expect("new");
        keys.destroy_scope(&scope("acme")).expect("destroys");
        let tombstone = String::from_utf8(platform.files.read("keys/acme.destroyed").expect("there")).expect("text");
        platform.files.create("keys/beta.destroyed", tombstone.replace("acme", "beta").as_bytes()).expect("new");
        assert!(matches!(KeyRing::open(root(1), environment(), platform.clone()), Err(KeyError::KeyFile { .. })));
        assert!(platform.files.size("keys/beta.json").is_ok());
    }

    /// Runs `change` with a fault at each of its operations, until it gets through without meeting it.
    fn at_every_fault(
        prepare: impl Fn(&KeyRing),
        change: impl Fn(&KeyRing) -> Result<(), KeyError>,
        check: impl Fn(Platform, bool),
    ) {
        for fault in [Fault::Crash, Fault::Full, Fault::Error, Fault::Unflushed] {
            let mut step = 0;
            loop {
                let disk = FaultyFiles::new(step);
                let keys = ring(&platform(Arc::new(disk.clone())));
                prepare(&keys);
                disk.inject(fault, step);
                let met = disk.operations() + step;
                let acknowledged = change(&keys).is_ok();
                let finished = disk.operations() <= met;
                check(platform(Arc::new(disk.restart())), acknowledged);
                if finished {
                    assert!(step > 0);
                    break;
                }
                step += 1;
            }
        }
    }

    #[test]
    fn a_destruction_survives_a_crash_at_every_operation() {
        let acme = scope("acme");
        let overwritten = std::cell::Cell::new(false);
        at_every_fault(
            |keys| drop(keys.create_scope(&acme).expect("new")),
            |keys| keys.destroy_scope(&acme),
            |platform, acknowledged| {
                if platform.files.read("keys/acme.json").is_ok_and(|left| left.iter().all(|byte| *byte == 0)) {
                    overwritten.set(true);
                }
                let keys = ring(&platform);
                let destroyed = match keys.scope(&acme) {
                    Ok(_) => false,
                    Err(KeyError::Destroyed { .. }) => true,
                    Err(other) => panic!("{other}"),
                };
                assert!(destroyed || !acknowledged);
                assert_eq!(
                    platform.files.size("keys/acme.json").is_err(),
                    destroyed,
                    "a destroyed key is erased on opening"
                );
            },
        );
        assert!(overwritten.get(), "a key is overwritten before its name goes");
    }

    #[test]
    fn a_rotation_of_the_root_key_can_be_finished_after_a_crash_at_every_operation() {
        let secret = std::cell::RefCell::new(Vec::new());
        at_every_fault(
            |keys| {
                let tenants = ["acme", "beta", "gone"].map(|tenant| keys.create_scope(&scope(tenant)).expect("new"));
                keys.rotate_scope(&scope("beta")).expect("rotates");
                keys.destroy_scope(&scope("gone")).expect("destroys");
                *secret.borrow_mut() = tenants[..2].iter().map(|key| key.derive("x")).collect();
            },
            |keys| keys.rotate_root(root(2)),
            |platform, acknowledged| {
                if !acknowledged {
                    ring(&platform).rotate_root(root(2)).expect("finishes");
                }
                let keys = KeyRing::open(root(2), environment(), platform.clone()).expect("opens");
                let found = ["acme", "beta"].map(|tenant| keys.scope(&scope(tenant)).expect("rewrapped").derive("x"));
                assert_eq!(found[..], secret.borrow()[..]);
                assert_eq!(keys.scope(&scope("beta")).expect("there").newest_version(), 2);
                assert!(matches!(keys.scope(&scope("gone")), Err(KeyError::Destroyed { .. })));
                let stale = ring(&platform).scope(&scope("acme")).err().expect("the old root key serves no more");
                assert!(matches!(stale, KeyError::OtherRootKey { .. }));
            },
        );
    }
}
