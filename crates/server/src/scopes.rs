//! The open scopes of a server: one engine, one folder and one key for each tenant (CH-23).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use creta_audit::{AuditError, Log};
use creta_engine::{Compiling, ResolverHosts, ScopeEngine, ScopeStores, Trial};
use creta_iam::Place;
use creta_keys::ScopeKey;
use creta_model::{Problem, Scope};
use creta_platform::Platform;
use creta_store::{LmdbStore, MetadataStore, SqliteStore, WriteBack};

use crate::config::WorkerConfig;
use crate::data_policy::{Agreed, ScopePolicy};
use crate::epochs::{Epochs, Store};
use crate::problem::{from_audit, from_store};
use crate::workers::WorkerHosts;

/// Address space for one tenant's online values; disk is used as values come.
const ONLINE_BYTES_MAX: usize = 64 << 30;
/// Online values of one scope that wait in memory to be written.
const WAITING_BYTES_MAX: usize = 128 << 20;

type Slot = Arc<Mutex<Option<OpenScope>>>;

/// A scope at work.
#[derive(Clone)]
struct OpenScope {
    engine: Arc<ScopeEngine>,
    policy: Arc<ScopePolicy>,
    metadata: Arc<SqliteStore>,
}

impl OpenScope {
    /// Records in the log how far the stores are.
    fn anchor(&self, epochs: &Epochs, log: &Log) -> Result<(), Problem> {
        let place = Place::Scope(self.engine.scope().clone());
        let (facts, quarantine) = self.engine.epochs();
        let metadata = self.metadata.epoch().map_err(|e| from_store(&e))?;
        let moments =
            [(Store::Facts, facts.into()), (Store::Quarantine, quarantine.into()), (Store::Metadata, metadata.into())];
        let anchored = moments.into_iter().try_for_each(|(store, moment)| epochs.anchor(log, &place, store, moment));
        anchored.map_err(|error: AuditError| from_audit(&error))
    }
}

/// Engines by scope, opened when they are first needed.
pub(crate) struct Scopes {
    folder: PathBuf,
    platform: Platform,
    workers: WorkerConfig,
    /// What the log said was agreed on about each scope's data when the server started. From then on it changes with an open
    /// scope only.
    agreed: Agreed,
    open: Mutex<HashMap<Scope, Slot>>,
}

impl Scopes {
    pub(crate) fn new(folder: &Path, platform: Platform, workers: WorkerConfig, agreed: Agreed) -> Self {
        Self { folder: folder.to_owned(), platform, workers, agreed, open: Mutex::default() }
    }

    /// The engine of `scope`. The first call opens its stores, which others wait for; other scopes do not. Stores that are
    /// older than the log says are refused.
    pub(crate) fn open(
        &self,
        scope: &Scope,
        epochs: &Epochs,
        log: &Log,
        key: impl FnOnce() -> Result<ScopeKey, Problem>,
    ) -> Result<(Arc<ScopeEngine>, Arc<ScopePolicy>), Problem> {
        let slot = Arc::clone(lock(&self.open).entry(scope.clone()).or_default());
        let mut open = lock(&slot);
        if let Some(open) = open.as_ref() {
            return Ok((Arc::clone(&open.engine), Arc::clone(&open.policy)));
        }
        let opened = self.open_stores(scope, epochs, key()?)?;
        opened.anchor(epochs, log)?;
        let opened = open.insert(opened);
        Ok((Arc::clone(&opened.engine), Arc::clone(&opened.policy)))
    }

    /// The engine of `scope`, if it is open and nobody is opening or closing it just now.
    pub(crate) fn at_hand(&self, scope: &Scope) -> Option<Arc<ScopeEngine>> {
        let open = self.open.try_lock().ok()?;
        let slot = open.get(scope)?.try_lock().ok()?;
        slot.as_ref().map(|open| Arc::clone(&open.engine))
    }

    fn open_stores(&self, scope: &Scope, epochs: &Epochs, key: ScopeKey) -> Result<OpenScope, Problem> {
        let prefix = format!("tenants/{}", scope.tenant);
        let home = self.folder.join(&prefix);
        std::fs::create_dir_all(&home).map_err(|error| {
            tracing::error!(%scope, %error, "the folder of a tenant cannot be made");
            crate::problem::internal()
        })?;
        let online = LmdbStore::open(home.join("online"), key.clone(), ONLINE_BYTES_MAX)
            .and_then(|store| WriteBack::over(store, WAITING_BYTES_MAX))
            .map_err(|e| from_store(&e))?;
        let metadata = SqliteStore::open(home.join("metadata.sqlite"), key.clone()).map_err(|e| from_store(&e))?;
        let metadata = Arc::new(metadata);
        let tenant = Some(&scope.tenant);
        epochs.check(tenant, Store::Metadata, |kept| metadata.check_epoch(&kept.metadata()))?;
        let stores = ScopeStores {
            platform: self.platform.clone(),
            key,
            online: Arc::new(online),
            metadata: Arc::clone(&metadata) as Arc<dyn MetadataStore>,
            prefix: format!("{prefix}/facts"),
        };
        let hosts = Arc::new(WorkerHosts::new(&self.workers));
        let compiling = Compiling::new(Arc::clone(&hosts) as Arc<dyn ResolverHosts>, Trial::AtDeploy);
        let engine = ScopeEngine::open_checked(scope.clone(), stores, Arc::new(compiling), |facts, quarantine| {
            epochs.check(tenant, Store::Facts, |kept| facts.check_epoch(&kept.facts()))?;
            epochs.check(tenant, Store::Quarantine, |kept| quarantine.check_epoch(&kept.facts()))
        })?;
        hosts.refuse_what_does_not_start();
        let policy = ScopePolicy::open(scope, Arc::clone(&metadata) as Arc<dyn MetadataStore>, &self.agreed)?;
        engine.set_policy(policy.for_engine()?);
        Ok(OpenScope { engine: Arc::new(engine), policy: Arc::new(policy), metadata })
    }

    /// The documents of a scope that is open.
    pub(crate) fn documents(&self, scope: &Scope) -> Option<Arc<SqliteStore>> {
        let slot = lock(&self.open).get(scope).map(Arc::clone)?;
        lock(&slot).as_ref().map(|open| Arc::clone(&open.metadata))
    }

    /// The engines at work, by scope. One that is being opened just now is not among them.
    pub(crate) fn at_work(&self) -> Vec<Arc<ScopeEngine>> {
        let slots: Vec<Slot> = lock(&self.open).values().cloned().collect();
        let engine = |slot: &Slot| slot.try_lock().ok()?.as_ref().map(|open| Arc::clone(&open.engine));
        let mut engines: Vec<Arc<ScopeEngine>> = slots.iter().filter_map(engine).collect();
        engines.sort_by_key(|engine| engine.scope().tenant.clone());
        engines
    }

    /// Records in the log how far the stores of every open scope are.
    pub(crate) fn anchor(&self, epochs: &Epochs, log: &Log) -> Result<(), Problem> {
        let slots: Vec<Slot> = lock(&self.open).values().cloned().collect();
        // One that is being opened is anchored then; nobody waits for it here.
        let open = slots.iter().filter_map(|slot| slot.try_lock().ok()?.clone());
        open.collect::<Vec<_>>().iter().try_for_each(|open| open.anchor(epochs, log))
    }

    /// Writes what waits in memory of every open scope, records how far it is, and closes it. Every problem is logged, the
    /// first is returned.
    pub(crate) fn close(&self, epochs: &Epochs, log: &Log) -> Result<(), Problem> {
        let slots: Vec<(Scope, Slot)> = lock(&self.open).drain().collect();
        let mut outcome = Ok(());
        for (scope, slot) in slots {
            let Some(open) = lock(&slot).take() else { continue };
            // What was acknowledged is durable before it is flushed too.
            if let Err(problem) = open.engine.flush().and_then(|()| open.anchor(epochs, log)) {
                tracing::error!(%scope, code = problem.code, "a scope could not be flushed; its log is replayed at the next start");
                outcome = outcome.and(Err(problem));
            }
        }
        outcome
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
