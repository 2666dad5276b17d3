//! What the tests of this crate share: a small world with a log in it, and an attacker who holds its keys.

use std::sync::{Arc, LazyLock};

use creta_iam::{
    Action, Decision, FeatureSet, Policies, Principal, PrincipalId, Resource, Role, control_plane, decide,
};
use creta_keys::{KeyRing, LogReader, RootKey, ScopeKey, SealedLog};
use creta_model::{Environment, Instant, Scope};
use creta_platform::{Files, ManualClock, MemoryFiles, Platform, SeededRandom};

use crate::{AuditError, Details, Log, SignedCheckpoint};

pub(crate) static POLICIES: LazyLock<Policies> = LazyLock::new(|| Policies::load().expect("valid"));

pub(crate) const ENTRIES: &str = "prod/control-plane/audit/entries";
pub(crate) const CHECKPOINT: &str = "prod/control-plane/audit/checkpoint";
pub(crate) const SIGNING_KEY: &str = "prod/control-plane/audit/signing-key";

/// Clock, disk and key of environment `prod`.
pub(crate) struct World {
    pub(crate) platform: Platform,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) key: ScopeKey,
}

pub(crate) fn prod() -> Environment {
    Environment::parse("prod").expect("valid")
}

pub(crate) fn scope(tenant: &str) -> Scope {
    Scope::parse(tenant, "prod").expect("valid")
}

pub(crate) fn at(text: &str) -> Instant {
    Instant::parse(text).expect("valid")
}

pub(crate) fn account(id: &str, tenant: &str, role: Role) -> Principal {
    Principal::service_account(PrincipalId::parse(id).expect("valid"), scope(tenant), role)
}

/// A decision on the account's own scope.
pub(crate) fn ask(id: &str, role: Role, action: Action, features: &[&str]) -> Decision {
    let resource = Resource::features(scope("acme"), FeatureSet::untagged(features.iter().copied()));
    decide(&POLICIES, &account(id, "acme", role), action, &resource)
}

pub(crate) fn deploy() -> Decision {
    ask("etl", Role::Developer, Action::Deploy, &[])
}

impl World {
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(MemoryFiles::new()))
    }

    pub(crate) fn on(files: Arc<dyn Files>) -> Self {
        Self::at(files, "2026-03-01T12:00:00Z")
    }

    pub(crate) fn at(files: Arc<dyn Files>, now: &str) -> Self {
        let clock = Arc::new(ManualClock::new(at(now)));
        let random = Arc::new(SeededRandom::new(7));
        let platform = Platform { clock: clock.clone(), random: random.clone(), files };
        // Keys live on a disk of their own, which stays whole.
        let keys = Platform { files: Arc::new(MemoryFiles::new()), ..platform.clone() };
        let root = RootKey::generate(&prod(), random.as_ref());
        let ring = KeyRing::open(root, prod(), keys).expect("opens");
        let key = ring.scope_or_create(&control_plane(&prod())).expect("made");
        Self { platform, clock, key }
    }

    /// The same clock, key and randomness over another disk.
    pub(crate) fn moved_to(&self, files: Arc<dyn Files>) -> Self {
        let platform = Platform { files, ..self.platform.clone() };
        Self { platform, clock: self.clock.clone(), key: self.key.clone() }
    }

    pub(crate) fn open(&self) -> Result<Log, AuditError> {
        Log::open(&self.platform, self.key.clone(), prod())
    }

    /// A log of `n` deploys, closed with a checkpoint.
    pub(crate) fn with_deploys(n: u64) -> (Self, SignedCheckpoint) {
        let world = Self::new();
        let log = world.open().expect("opens");
        let signed = world.deploys(&log, n);
        (world, signed)
    }

    pub(crate) fn deploys(&self, log: &Log, n: u64) -> SignedCheckpoint {
        for turn in 0..n {
            self.clock.advance(creta_model::Span::seconds(1));
            let details = Details::none().count("turn", turn).expect("valid");
            log.admit(deploy(), details).map(drop).expect("allowed");
        }
        log.close().expect("closes")
    }

    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        self.platform.files.read(path).expect("there")
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        self.platform.files.replace(path, bytes).expect("written");
    }

    /// A copy of the whole disk.
    pub(crate) fn backup(&self) -> Vec<(String, Vec<u8>)> {
        let paths = self.platform.files.list("").expect("listed");
        paths.into_iter().map(|path| (path.clone(), self.bytes(&path))).collect()
    }

    pub(crate) fn restore(&self, backup: &[(String, Vec<u8>)]) {
        for path in self.platform.files.list("").expect("listed") {
            self.platform.files.delete(&path).expect("deleted");
        }
        backup.iter().for_each(|(path, bytes)| self.put(path, bytes));
    }

    /// Entries as an attacker reads them who holds the environment's key.
    pub(crate) fn stolen_entries(&self) -> Vec<Vec<u8>> {
        let reader = LogReader::open(&self.platform.files, &self.key, "audit", ENTRIES).expect("opens");
        reader.map(|record| record.expect("authentic").bytes).collect()
    }

    /// Puts other entries in place of the log's, perfectly sealed, as only a holder of the environment's key can.
    pub(crate) fn forge_entries(&self, entries: &[Vec<u8>]) {
        let elsewhere: Arc<dyn Files> = Arc::new(MemoryFiles::new());
        let (mut log, _) = SealedLog::open(&elsewhere, &self.key, "audit", ENTRIES).expect("opens");
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        log.append(&entries).expect("appended");
        self.put(ENTRIES, &elsewhere.read(ENTRIES).expect("there"));
    }
}
