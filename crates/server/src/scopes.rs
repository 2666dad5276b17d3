//! The open scopes of a server: one engine, one folder and one key for each tenant (CH-23).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use creta_engine::{ResolverHosts, ScopeEngine, ScopeStores};
use creta_keys::ScopeKey;
use creta_model::{Problem, Scope};
use creta_platform::Platform;
use creta_store::{LmdbStore, SqliteStore};

use crate::config::WorkerConfig;
use crate::problem::from_store;
use crate::workers::WorkerHosts;

/// Address space for one tenant's online values; disk is used as values come.
const ONLINE_BYTES_MAX: usize = 64 << 30;

type Slot = Arc<Mutex<Option<Arc<ScopeEngine>>>>;

/// Engines by scope, opened when they are first needed.
pub(crate) struct Scopes {
    folder: PathBuf,
    platform: Platform,
    workers: WorkerConfig,
    open: Mutex<HashMap<Scope, Slot>>,
}

impl Scopes {
    pub(crate) fn new(folder: &Path, platform: Platform, workers: WorkerConfig) -> Self {
        Self { folder: folder.to_owned(), platform, workers, open: Mutex::default() }
    }

    /// The engine of `scope`. The first call opens its stores, which others wait for; other scopes do not.
    pub(crate) fn open(
        &self,
        scope: &Scope,
        key: impl FnOnce() -> Result<ScopeKey, Problem>,
    ) -> Result<Arc<ScopeEngine>, Problem> {
        let slot = Arc::clone(lock(&self.open).entry(scope.clone()).or_default());
        let mut engine = lock(&slot);
        if let Some(engine) = engine.as_ref() {
            return Ok(Arc::clone(engine));
        }
        let opened = Arc::new(self.open_stores(scope, key()?)?);
        *engine = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn open_stores(&self, scope: &Scope, key: ScopeKey) -> Result<ScopeEngine, Problem> {
        let prefix = format!("tenants/{}", scope.tenant);
        let home = self.folder.join(&prefix);
        std::fs::create_dir_all(&home).map_err(|error| {
            tracing::error!(%scope, %error, "the folder of a tenant cannot be made");
            crate::problem::internal()
        })?;
        let online = LmdbStore::open(home.join("online"), key.clone(), ONLINE_BYTES_MAX).map_err(|e| from_store(&e))?;
        let metadata = SqliteStore::open(home.join("metadata.sqlite"), key.clone()).map_err(|e| from_store(&e))?;
        let stores = ScopeStores {
            platform: self.platform.clone(),
            key,
            online: Arc::new(online),
            metadata: Arc::new(metadata),
            prefix: format!("{prefix}/facts"),
        };
        let hosts = Arc::new(WorkerHosts::new(&self.workers));
        let engine = ScopeEngine::open(scope.clone(), stores, Arc::clone(&hosts) as Arc<dyn ResolverHosts>)?;
        hosts.refuse_what_does_not_start();
        Ok(engine)
    }

    /// Writes what waits in memory of every open scope, and closes them. Every problem is logged, the first is returned.
    pub(crate) fn close(&self) -> Result<(), Problem> {
        let slots: Vec<(Scope, Slot)> = lock(&self.open).drain().collect();
        let mut outcome = Ok(());
        for (scope, slot) in slots {
            let Some(engine) = lock(&slot).take() else { continue };
            if let Err(problem) = engine.flush() {
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
