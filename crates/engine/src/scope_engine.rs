//! One tenant in one environment: its definitions, its facts and the answers to its questions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use creta_audit::Permit;
use creta_iam::{Action, Declassification, Place, Principal, RowRules, Tokeniser, WrittenRowRule, declassified};
use creta_keys::ScopeKey;
use creta_model::{Bundle, CellError, FeaturePath, Instant, Problem, Scope};
use creta_planner::{Explanation, Plan, Shape};
use creta_platform::Platform;
use creta_registry::{Declassified, Diff, FeatureRef, Registry, diff};
use creta_store::{
    Document, Epoch, FactBatch, FactStore, MetadataStore, OnlineStore, Position, StoreError, TableStore,
};

use crate::answers;
use crate::bounded::SpillFolder;
use crate::compiled::{DIFFERS, Running};
use crate::fact_index::{Before, Contents, FactIndex};
use crate::facts::FactReader;
use crate::host::ResolverHost;
use crate::masking::mask;
use crate::present::Present;
use crate::ready::{ReadyShape, ReadyShapes};
use crate::request::QueryRequest;
use crate::rows::{ReadyRules, RowGuard};
use crate::run::{Guarding, RunOptions, run_guarded};

mod loading;
mod training;
mod upkeep;

use loading::Loads;
pub use loading::{Loaded, OnceKey};
pub use training::KNOWN_TO;
use upkeep::{last_arrival, not_kept_apart, stopped};

/// Document kind and id of the active definitions in the metadata store.
const REGISTRY_KIND: &str = "registry";
const REGISTRY_ID: &str = "active";

/// Separates the key of tokens from all others of a scope.
const TOKENS: &str = "feature tokens";

/// Code of a question whose answer was under way when the online values were made anew for other definitions.
pub(crate) const OUTDATED: &str = "store/outdated";

/// An index that catches up takes about so many facts in one transaction.
const ROWS_AT_ONCE: usize = 1 << 16;

/// Makes what runs a bundle's Python resolvers.
pub trait ResolverHosts: Send + Sync {
    /// Called when a scope opens and at each deploy.
    fn host(&self, scope: &Scope, bundle: &Bundle) -> Result<Arc<dyn ResolverHost>, Problem>;
}

/// Where a scope keeps what it knows.
pub struct ScopeStores {
    /// Clock, randomness and files.
    pub platform: Platform,
    /// Seals everything of the scope.
    pub key: ScopeKey,
    /// Values derived from the facts.
    pub online: Arc<dyn OnlineStore>,
    /// Definitions.
    pub metadata: Arc<dyn MetadataStore>,
    /// Folder of the facts in `platform.files`.
    pub prefix: String,
}

/// What a check found.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Checked {
    /// Allowed but worth a look.
    pub warnings: Vec<Problem>,
    /// What a deploy would change.
    pub diff: Diff,
}

/// What a deploy did.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Deployed {
    /// Counts the deployments of the scope.
    pub revision: u64,
    /// Of the bundle.
    pub digest: String,
    /// What changed.
    pub diff: Diff,
    /// Allowed but worth a look.
    pub warnings: Vec<Problem>,
    /// Named queries that were planned.
    pub queries: usize,
    /// How each resolver runs.
    pub resolvers: Vec<Running>,
}

/// A feature that a request would return, with the tags that flow along its lineage: what access rules decide on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeatureAccess {
    /// `Entity.feature`.
    pub name: String,
    /// Its own tags, its entity's, and those of everything it is computed from.
    pub tags: BTreeSet<String>,
}

/// The definitions in force and what was made ready for them.
pub(crate) struct Deployment {
    pub(crate) registry: Arc<Registry>,
    pub(crate) host: Arc<dyn ResolverHost>,
    pub(crate) index: FactIndex,
}

struct Writer {
    sequence: u64,
}

/// One tenant in one environment. Every method takes `&self` and may be called from many threads; writes wait for each other.
pub struct ScopeEngine {
    scope: Scope,
    pub(crate) platform: Platform,
    pub(crate) facts: FactStore,
    quarantine: FactStore,
    pub(crate) metadata: Arc<dyn MetadataStore>,
    /// Training sets that were given a name.
    pub(crate) tables: TableStore,
    /// Held by whoever changes which of these there are.
    pub(crate) naming: Mutex<()>,
    online: Arc<dyn OnlineStore>,
    hosts: Arc<dyn ResolverHosts>,
    deployment: RwLock<Option<Arc<Deployment>>>,
    /// Why nothing is in force although definitions are stored.
    stopped: Mutex<Option<Problem>>,
    writer: Mutex<Writer>,
    present: Arc<Present>,
    loads: Loads,
    key: ScopeKey,
    any_time: bool,
    pub(crate) tokeniser: Tokeniser,
    policy: RwLock<DataPolicy>,
    /// What was made of the policy for the definitions in force.
    ready: Mutex<Option<Arc<ReadyPolicy>>>,
    /// Parts of training sets that do not fit in memory.
    spill: SpillFolder,
}

/// What was agreed on about the data of a scope, beside the definitions. Nothing, until it is set.
#[derive(Debug, Clone, Default)]
pub struct DataPolicy {
    /// Of which rows somebody sees nothing.
    pub rows: Arc<RowRules>,
    /// Tags that no longer flow into computed features. Those that no longer hold for the definitions in force count for
    /// nothing.
    pub declassifications: Arc<Vec<Declassification>>,
}

/// A row rule that binds somebody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct BindingRule {
    /// Its name.
    pub rule: String,
    /// The feature that it looks at.
    pub feature: String,
    /// The entity that it is about.
    pub entity: String,
}

/// The policy beside the definitions it was made ready for.
pub(crate) struct ReadyPolicy {
    policy: DataPolicy,
    registry: Arc<Registry>,
    pub(crate) rows: ReadyRules,
    pub(crate) declassified: Declassified,
    pub(crate) shapes: ReadyShapes,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store's failure as the user sees it.
pub(crate) fn store_problem(error: &StoreError) -> Problem {
    let refused = |message: String| Problem::new("store/refused", message);
    match error {
        StoreError::Full { store } => {
            Problem::new("store/full", format!("no space is left for `{store}`, and nothing was stored"))
                .with_help("free space or enlarge its volume, then try again")
        }
        StoreError::TooLarge { bytes, bytes_max, .. } => Problem::new(
            "too-large/load",
            format!("the load takes {bytes} bytes, and at most {bytes_max} are stored at once"),
        )
        .with_help("send it in smaller parts"),
        StoreError::Conflict { kind, .. } => {
            Problem::new("conflict/metadata", format!("the `{kind}` document was changed by somebody else meanwhile"))
                .with_help("look at what they changed, then repeat your change")
        }
        StoreError::Foreign { store } => refused(format!("`{store}` was not sealed for this scope and store"))
            .with_help("check that the data folder and the tenant belong together; nothing in it was changed"),
        StoreError::Tampered { store, reason } => refused(format!("`{store}` is refused: {reason}"))
            .with_help("restore it from a backup; nothing in it was changed"),
        StoreError::Ahead { store, given, end } => refused(format!(
            "`{store}` ends at position {end}, but values were derived from facts up to {given}: acknowledged facts are missing"
        ))
        .with_help(
            "restore the newer facts; nothing in it was changed. If an older backup is meant, remove the scope's online store, \
             which is then made anew",
        ),
        StoreError::Format { store, format } => {
            refused(format!("`{store}` has the format `{format}`, which this release does not read"))
                .with_help("use the release that wrote it; nothing in it was changed")
        }
        other => {
            let problem = Problem::new("internal/store", other.to_string())
                .with_help("try again; if it stays, open the scope anew, which checks all it holds");
            match std::error::Error::source(other) {
                Some(cause) => problem.with_note("because", cause.to_string(), None),
                None => problem,
            }
        }
    }
}

pub(crate) fn engine_problem(error: &crate::error::EngineError) -> Problem {
    use crate::error::EngineError as E;
    match error {
        E::GivenCount { .. } | E::GivenType { .. } | E::RowCount { .. } | E::Instant { .. } | E::KeyType { .. } => {
            Problem::new("query/bad-input", error.to_string()).with_help("give typed columns of one length")
        }
        E::TooMany { .. } => {
            Problem::new("too-large/request", error.to_string()).with_help("ask for fewer rows at once")
        }
        E::Reader { source } if matches!(source.downcast_ref(), Some(StoreError::Outdated { .. })) => {
            Problem::new(OUTDATED, "other definitions came into force while this was answered").with_help("ask again")
        }
        E::Spill { source: creta_keys::KeyError::File(creta_platform::FileError::Full { .. }) } => {
            Problem::new("store/full", "no space is left for the parts of a training set that wait in sealed files")
                .with_help("free space or enlarge the volume, ask for fewer rows, or allow more memory")
        }
        E::Spill { source } => {
            Problem::new("internal/store", error.to_string()).with_note("because", source.to_string(), None)
        }
        E::Reader { source } => {
            Problem::new("internal/store", error.to_string()).with_note("because", source.to_string(), None)
        }
        _ => Problem::new("internal/engine", error.to_string()),
    }
}

impl ReadyPolicy {
    /// The tags of a feature that are stopped there, although it is computed from what has them.
    pub(crate) fn stopped_at(&self, registry: &Registry, feature: &FeatureRef) -> BTreeSet<String> {
        let all = registry.effective_tags(feature);
        let left: BTreeSet<String> = registry.tag_paths(feature, &self.declassified).into_keys().collect();
        all.difference(&left).cloned().collect()
    }

    /// The tags that a feature carries.
    pub(crate) fn tags(&self, registry: &Registry, feature: &FeatureRef) -> BTreeSet<String> {
        registry.tag_paths(feature, &self.declassified).into_keys().collect()
    }
}

impl ScopeEngine {
    /// Opens the stores and makes the active deployment ready; facts that the online store lacks are applied to it.
    pub fn open(scope: Scope, stores: ScopeStores, hosts: Arc<dyn ResolverHosts>) -> Result<Self, Problem> {
        Self::open_checked(scope, stores, hosts, |_, _| Ok(()))
    }

    /// The same, where `check` sees the stores of facts and of quarantined facts before anything is made of them: whoever
    /// kept their epochs elsewhere notices there that an older copy was put back.
    pub fn open_checked(
        scope: Scope,
        stores: ScopeStores,
        hosts: Arc<dyn ResolverHosts>,
        check: impl FnOnce(&FactStore, &FactStore) -> Result<(), Problem>,
    ) -> Result<Self, Problem> {
        let ScopeStores { platform, key, online, metadata, prefix } = stores;
        let (version, of_tokens) = key.mac_newest(TOKENS, &[]);
        let problem = |error: StoreError| store_problem(&error);
        // Values are derived only from what is durable, so the truth cannot end before them.
        let derived = online.position().map_err(problem)?;
        let truth = format!("{prefix}/truth");
        let facts = FactStore::open_known(&platform, key.clone(), &truth, derived).map_err(problem)?;
        let spill = SpillFolder::new(&platform, key.clone(), format!("{prefix}/spill/"));
        let quarantine = FactStore::open(&platform, key.clone(), &format!("{prefix}/quarantine")).map_err(problem)?;
        let tables = TableStore::new(&platform, key.clone(), &format!("{prefix}/datasets"));
        check(&facts, &quarantine)?;
        if let Err(error) = spill.sweep(platform.clock.now()) {
            tracing::warn!(%scope, %error, "what a stopped training set left stays until the next one");
        }
        let rows = |store: &FactStore| store.statistics().values().map(|entity| entity.rows).sum::<u64>();
        let last_arrival = last_arrival(&facts, platform.clock.now()).map_err(problem)?;
        let writer = Writer { sequence: rows(&facts) + rows(&quarantine) };
        let engine = Self {
            scope,
            present: Present::new(Arc::clone(&platform.clock), last_arrival),
            loads: Loads::default(),
            key,
            platform,
            facts,
            quarantine,
            metadata,
            tables,
            naming: Mutex::default(),
            online,
            hosts,
            deployment: RwLock::new(None),
            stopped: Mutex::default(),
            writer: Mutex::new(writer),
            any_time: false,
            tokeniser: Tokeniser::new(version, of_tokens),
            policy: RwLock::default(),
            ready: Mutex::default(),
            spill,
        };
        engine.put_in_force_what_is_stored()?;
        engine.remove_unnamed_tables()?;
        Ok(engine)
    }

    fn stored_definitions(&self) -> Result<Option<Document>, Problem> {
        self.metadata.read(REGISTRY_KIND, REGISTRY_ID).map_err(|error| store_problem(&error))
    }

    /// The definitions that the next ones follow: those in force, or those that could not be put in force.
    fn previous(&self, stored: Option<&Document>) -> Result<Option<Arc<Registry>>, Problem> {
        match self.registry() {
            Some(registry) => Ok(Some(registry)),
            None => stored.map(read_registry).transpose(),
        }
    }

    /// Takes facts of any time, as known from the moment they are true on: for made-up facts in a process of its own. Otherwise
    /// rule S18 holds, and nothing is known before it arrived.
    #[must_use]
    pub fn with_facts_of_any_time(mut self) -> Self {
        self.any_time = true;
        self
    }

    /// Puts a policy about data in force instead of the one before: for every request that begins after this.
    pub fn set_policy(&self, policy: DataPolicy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// What holds.
    pub fn policy(&self) -> DataPolicy {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The policy as it applies to these definitions, made once for each pair of them.
    pub(crate) fn ready_policy(&self, registry: &Arc<Registry>) -> Arc<ReadyPolicy> {
        let policy = self.policy();
        let mut ready = lock(&self.ready);
        let is_of = |ready: &Arc<ReadyPolicy>| {
            Arc::ptr_eq(&ready.registry, registry)
                && Arc::ptr_eq(&ready.policy.rows, &policy.rows)
                && Arc::ptr_eq(&ready.policy.declassifications, &policy.declassifications)
        };
        if let Some(ready) = ready.as_ref().filter(|ready| is_of(ready)) {
            return Arc::clone(ready);
        }
        let environment = &self.scope.environment;
        let made = Arc::new(ReadyPolicy {
            rows: ReadyRules::new(&policy.rows, registry, environment),
            declassified: holding(registry, &self.scope, &policy.declassifications),
            registry: Arc::clone(registry),
            policy,
            shapes: ReadyShapes::default(),
        });
        *ready = Some(Arc::clone(&made));
        made
    }

    pub(crate) fn guard(&self, deployment: &Deployment, principal: &Principal, place: &Place) -> Option<RowGuard> {
        self.ready_policy(&deployment.registry).rows.guard(principal, place)
    }

    /// The row rules that bind somebody here, in order.
    pub fn binding_rules(&self, principal: &Principal) -> Vec<BindingRule> {
        let Ok(deployment) = self.deployment() else { return Vec::new() };
        let place = Place::Scope(self.scope.clone());
        let names = self.guard(&deployment, principal, &place).map(|guard| guard.names()).unwrap_or_default();
        names.into_iter().map(|(rule, feature, entity)| BindingRule { rule, feature, entity }).collect()
    }

    /// What a declassification of a tag of a feature would rest on: its fingerprint and where the tag comes from, as things
    /// are now. `None` for what there is not.
    pub fn declassification_of(&self, feature: &str, tag: &str) -> Option<(String, BTreeSet<String>)> {
        rests_on(self.registry()?.as_ref(), &self.scope, feature, tag)
    }

    /// The tags that are declassified as things are now, by feature.
    pub fn declassified(&self) -> BTreeSet<(String, String)> {
        let Some(registry) = self.registry() else { return BTreeSet::new() };
        let policy = self.policy();
        declassified(policy.declassifications.iter(), |feature, tag| rests_on(&registry, &self.scope, feature, tag))
    }

    /// What was agreed on about data and no longer holds once `next` is in force: tags flow again, rows are no longer seen.
    fn ended_by(&self, next: &Registry) -> Vec<Problem> {
        let (policy, before) = (self.policy(), self.declassified());
        let after =
            declassified(policy.declassifications.iter(), |feature, tag| rests_on(next, &self.scope, feature, tag));
        let tags = before.difference(&after).map(|(feature, tag)| {
            let message = format!("`{feature}` carries `{tag}` again: what was declassified has changed");
            Problem::new("declassify/ended", message).with_help("propose it again: `creta access declassify propose`")
        });
        let now = self.registry();
        let rules = policy.rows.rules.iter().filter(|rule| {
            let fits = |registry: &Registry| crate::rows::fits(rule, registry, &self.scope.environment);
            now.as_deref().is_some_and(fits) && !fits(next)
        });
        let rules = rules.map(|rule| {
            let message = format!(
                "rows of `{}` are no longer seen by rule `{}`: what it looks at has changed",
                rule.entity, rule.id
            );
            Problem::new("rows/ended", message).with_help("propose the row rules again: `creta access rows propose`")
        });
        tags.chain(rules).collect()
    }

    /// Binds a row rule to the definitions in force: the entity that it is about and what its feature is.
    pub fn bind_row_rule(&self, rule: &WrittenRowRule) -> Result<WrittenRowRule, Problem> {
        let registry = Arc::clone(&self.deployment()?.registry);
        crate::rows::bind(rule, &registry, &self.scope.environment)
    }

    /// Whose it is.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The definitions in force; `None` before the first deploy.
    pub fn registry(&self) -> Option<Arc<Registry>> {
        self.deployment().ok().map(|deployment| Arc::clone(&deployment.registry))
    }

    pub(crate) fn deployment(&self) -> Result<Arc<Deployment>, Problem> {
        self.deployment.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| {
            lock(&self.stopped).clone().unwrap_or_else(|| {
                Problem::new("not-found/deployment", format!("nothing is deployed in `{}`", self.scope))
                    .with_help("run `creta deploy` in the project's folder")
            })
        })
    }

    /// Asks by the definitions in force, and again by those that came into force meanwhile if they made the online values anew:
    /// an answer is of one of them, never of values that are half made.
    pub(crate) fn by_what_is_in_force<T>(&self, ask: impl Fn() -> Result<T, Problem>) -> Result<T, Problem> {
        loop {
            match ask() {
                Err(problem) if problem.code == OUTDATED => {}
                answered => return answered,
            }
        }
    }

    /// The deployment in force, without waiting for one under way.
    pub(crate) fn deployment_at_hand(&self) -> Option<Arc<Deployment>> {
        self.deployment.try_read().ok()?.clone()
    }

    /// Checks a bundle against what is deployed. Changes nothing.
    pub fn check(&self, bundle: Bundle) -> Result<Checked, Vec<Problem>> {
        let one = |problem: Problem| vec![problem];
        let previous = self.previous(self.stored_definitions().map_err(one)?.as_ref()).map_err(one)?;
        let applied = Registry::apply(previous.as_deref(), bundle)?;
        self.plan_queries(&applied.registry)?;
        let mut warnings = applied.warnings;
        warnings.extend(self.ended_by(&applied.registry));
        Ok(Checked { diff: diff(previous.as_deref(), &applied.registry), warnings })
    }

    /// Tags that a bundle would take from features that are there: feature and tag. Nothing before the first deploy.
    pub fn tags_dropped(&self, bundle: &Bundle) -> Result<BTreeSet<(String, String)>, Vec<Problem>> {
        let Some(previous) = self.registry() else { return Ok(BTreeSet::new()) };
        let applied = Registry::apply(Some(&*previous), bundle.clone())?;
        let dropped = applied.registry.tags_dropped_since(&previous);
        Ok(dropped.into_iter().map(|(feature, tag)| (feature.to_string(), tag)).collect())
    }

    /// Plans every named query; their problems are the project's.
    fn plan_queries(&self, registry: &Registry) -> Result<usize, Vec<Problem>> {
        let mut problems = Vec::new();
        for query in &registry.graph().queries {
            let shape = Shape {
                environment: self.scope.environment.clone(),
                given: query.inputs.clone(),
                outputs: query.outputs.clone(),
                max_age: Default::default(),
            };
            if let Err(problem) = creta_planner::plan(registry, &shape) {
                problems.push(problem.with_note(
                    "asked for by",
                    format!("query `{}`", query.name),
                    Some(&query.location),
                ));
            }
        }
        if problems.is_empty() { Ok(registry.graph().queries.len()) } else { Err(problems) }
    }

    /// Makes a bundle the active one: checked, planned, stored, then in force for every later request.
    pub fn deploy(&self, bundle: Bundle, permit: &Permit) -> Result<Deployed, Vec<Problem>> {
        self.permitted(permit, Action::Deploy, []).map_err(|problem| vec![problem])?;
        let _writer = lock(&self.writer);
        let one = |problem: Problem| vec![problem];
        let stored = self.stored_definitions().map_err(one)?;
        let previous = self.previous(stored.as_ref()).map_err(one)?;
        let applied = Registry::apply(previous.as_deref(), bundle)?;
        let queries = self.plan_queries(&applied.registry)?;
        let mut warnings = applied.warnings;
        warnings.extend(self.ended_by(&applied.registry));
        let registry = Arc::new(applied.registry);
        let host = self.hosts.host(&self.scope, registry.bundle()).map_err(one)?;
        let tried = host.try_out();
        let resolvers = host.running();
        let differs = |running: &Running| running.why.clone().filter(|why| why.code == DIFFERS);
        warnings.extend(resolvers.iter().filter_map(differs));
        warnings.extend(tried.err().map(|error| not_tried(&error)));
        self.metadata
            .write(REGISTRY_KIND, REGISTRY_ID, stored.map(|document| document.version), &registry.to_json())
            .map_err(|error| one(store_problem(&error)))?;
        let deployed = Deployed {
            revision: registry.revision(),
            digest: registry.bundle_digest().to_owned(),
            diff: diff(previous.as_deref(), &registry),
            warnings,
            queries,
            resolvers,
        };
        let _turn = self.index_turn();
        // The index may be rebuilt; until it is ready, queries wait rather than miss facts.
        let mut current = self.deployment.write().unwrap_or_else(PoisonError::into_inner);
        let prepared = self.prepare(registry, Some(host), current.as_deref());
        // The definitions before these cannot go on over online values that are half made for others.
        *current = None;
        *current = Some(Arc::new(prepared.map_err(|problem| {
            let problem = stopped(&problem);
            *lock(&self.stopped) = Some(problem.clone());
            one(problem)
        })?));
        *lock(&self.stopped) = None;
        Ok(deployed)
    }

    fn prepare(
        &self,
        registry: Arc<Registry>,
        host: Option<Arc<dyn ResolverHost>>,
        before: Option<&Deployment>,
    ) -> Result<Deployment, Problem> {
        let host = match host {
            Some(host) => host,
            None => self.hosts.host(&self.scope, registry.bundle())?,
        };
        let contents = Contents::of(&registry, &self.scope.environment);
        let truth = self.facts.snapshot();
        let before = Before { index: before.map(|deployment| &deployment.index), truth: Some(&truth) };
        let index =
            FactIndex::open(Arc::clone(&self.online), contents, before).map_err(|error| store_problem(&error))?;
        catch_up(&self.facts, &index).map_err(|error| store_problem(&error))?;
        Ok(Deployment { registry, host, index })
    }

    /// Refuses a permit for anything else than this.
    pub(crate) fn permitted<'a>(
        &self,
        permit: &Permit,
        action: Action,
        features: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Problem> {
        permit
            .require(action, &self.scope, features)
            .map_err(|error| Problem::new("access/not-covered", error.to_string()))
    }

    /// The scope's present: later than every acknowledged arrival (rule S29). Waits for nothing: while a load is being written,
    /// it is the instant before that load.
    pub fn now(&self) -> Instant {
        self.present.now()
    }

    /// The tags that a feature carries, each with the features from it to the one that has the tag by itself; `None` if
    /// there is no such feature.
    pub fn tags_of(&self, path: &FeaturePath) -> Result<Option<BTreeMap<String, Vec<String>>>, Problem> {
        let registry = Arc::clone(&self.deployment()?.registry);
        let Ok(target) = registry.catalog().follow(path) else { return Ok(None) };
        let feature = FeatureRef::new(&target.entity.name, &target.feature.name);
        let paths = registry.tag_paths(&feature, &self.ready_policy(&registry).declassified);
        Ok(Some(paths.into_iter().map(|(tag, path)| (tag, path.iter().map(ToString::to_string).collect())).collect()))
    }

    /// Whether the processes that run this scope's resolvers are well; `None` where there are none. The error says what
    /// happened to one, and nothing of anybody's data.
    pub fn probe_resolvers(&self) -> Option<Result<(), CellError>> {
        self.deployment().ok().and_then(|deployment| deployment.host.probe())
    }

    /// How a query would be answered, without answering it.
    pub fn explain(&self, request: &QueryRequest, permit: &Permit) -> Result<Explanation, Problem> {
        self.permitted(permit, Action::Plan, [])?;
        let deployment = self.deployment()?;
        let plan = self.ready(request)?.shape.plan.clone();
        let running: BTreeMap<_, _> =
            deployment.host.running().into_iter().map(|one| (one.resolver, one.runs)).collect();
        Ok(creta_planner::explain(&plan, &deployment.registry).with_runs(&|resolver| running.get(resolver).copied()))
    }

    /// Runs a plan on given rows; for comparing readers.
    pub(crate) fn execute(
        &self,
        deployment: &Deployment,
        plan: &Plan,
        rows: &crate::run::Rows,
        permit: &Permit,
        reader: &dyn FactReader,
    ) -> Result<crate::answer::Answer, Problem> {
        self.run(deployment, plan, rows, permit, reader, &RunOptions::default())
    }

    /// Runs a plan by the row rules that bind whoever has the permit.
    pub(crate) fn run(
        &self,
        deployment: &Deployment,
        plan: &Plan,
        rows: &crate::run::Rows,
        permit: &Permit,
        reader: &dyn FactReader,
        options: &RunOptions,
    ) -> Result<crate::answer::Answer, Problem> {
        let guard = self.guard(deployment, permit.principal(), permit.place());
        let guarding = guard.as_ref().map(|guard| Guarding { guard, registry: &deployment.registry });
        run_guarded(plan, rows, permit, reader, deployment.host.as_ref(), options, guarding)
            .map_err(|error| engine_problem(&error))
    }

    /// Masks what a permit gives masked of the outputs of a shape.
    pub(crate) fn mask(
        &self,
        shape: &ReadyShape,
        permit: &Permit,
        answer: &mut crate::answer::Answer,
    ) -> Result<(), Problem> {
        if shape.is_whole(permit) {
            return Ok(());
        }
        mask(&shape.outputs, permit, &self.tokeniser, answer).map_err(|error| engine_problem(&error))
    }

    /// Moves acknowledged facts from the write-ahead log into segments, and online values to where they outlast the process.
    pub fn flush(&self) -> Result<(), Problem> {
        let flushed = self.facts.flush().and_then(|()| self.quarantine.flush()).and_then(|()| self.online.settle());
        flushed.map_err(|error| store_problem(&error))
    }

    /// The present moment of the stores of facts and of quarantined facts, both durable, to be kept elsewhere.
    pub fn epochs(&self) -> (Epoch, Epoch) {
        (self.facts.epoch(), self.quarantine.epoch())
    }

    /// Runs `copy` while the files of both stores, the facts first, are still; see [`FactStore::while_still`].
    pub fn while_still<T>(&self, copy: impl FnOnce([(Epoch, &[(String, u64)]); 2]) -> T) -> Result<T, StoreError> {
        let both = |facts: (Epoch, &[(String, u64)])| {
            self.quarantine.while_still(|epoch, files| copy([(facts.0, facts.1), (epoch, files)]))
        };
        self.facts.while_still(|epoch, files| both((epoch, files)))?
    }

    /// Definitions for people and tools: entities, features with owners, tags, docs and where they come from.
    pub fn catalogue(&self) -> serde_json::Value {
        let Some(registry) = self.registry() else { return serde_json::json!({ "entities": [], "queries": [] }) };
        let ready = self.ready_policy(&registry);
        let entities: Vec<_> = registry
            .graph()
            .entities
            .iter()
            .map(|entity| answers::catalogue_entry(&registry, entity, &ready))
            .collect();
        serde_json::json!({
            "revision": registry.revision(),
            "digest": registry.bundle_digest(),
            "entities": entities,
            "queries": registry.graph().queries,
        })
    }

    /// Counts, never values: facts and positions.
    pub fn statistics(&self) -> serde_json::Value {
        let registry = self.registry();
        let rows = |store: &FactStore| -> serde_json::Map<String, serde_json::Value> {
            let statistics = store.statistics();
            let named = statistics.iter().map(|(id, entity)| {
                let name = registry.as_ref().and_then(|registry| registry.entity_name(*id)).map(ToString::to_string);
                (name.unwrap_or_else(|| id.to_string()), entity.rows.into())
            });
            named.collect()
        };
        serde_json::json!({
            "scope": self.scope,
            "revision": registry.as_ref().map(|registry| registry.revision()),
            "facts": rows(&self.facts),
            "quarantined": rows(&self.quarantine),
            "position": self.facts.position().0,
            "online_position": self.online.position().map(|position| position.0).ok(),
        })
    }
}

/// Compiled resolvers could not be compared with Python.
pub fn not_tried(error: &CellError) -> Problem {
    let message = format!("compiled resolvers could not be tried against Python: {}", error.message);
    Problem::new("compile/not-tried", message).with_help(
        "until one can be, it runs in Python; look whether the interpreter starts and has the project's packages",
    )
}

/// The fingerprint of a feature, and the features from which a tag comes to it.
fn rests_on(registry: &Registry, scope: &Scope, feature: &str, tag: &str) -> Option<(String, BTreeSet<String>)> {
    let path = FeaturePath::parse(feature).ok().filter(|path| path.via.is_empty() && path.window.is_none())?;
    let feature = FeatureRef::new(&path.root, &path.feature);
    let fingerprint = registry.feature_fingerprint(&feature, &scope.environment)?;
    let sources = registry.tag_sources(&feature, tag);
    Some((fingerprint, sources.iter().map(ToString::to_string).collect()))
}

/// The declassifications that hold for these definitions.
fn holding(registry: &Registry, scope: &Scope, all: &[Declassification]) -> Declassified {
    let pairs = declassified(all, |feature, tag| rests_on(registry, scope, feature, tag));
    Declassified::new(pairs.into_iter().filter_map(|(feature, tag)| {
        let path = FeaturePath::parse(&feature).ok()?;
        Some((FeatureRef::new(&path.root, &path.feature), tag))
    }))
}

fn read_registry(document: &Document) -> Result<Arc<Registry>, Problem> {
    let registry = Registry::load(&document.body);
    registry
        .map(Arc::new)
        .map_err(|error| Problem::new("store/refused", format!("the stored definitions are refused: {error}")))
}

/// Applies to the index what it lacks, some units at a time, so that neither memory nor a transaction holds all of them; then
/// makes tiles that windows want and that are not there.
pub(crate) fn catch_up(facts: &FactStore, index: &FactIndex) -> Result<(), StoreError> {
    loop {
        let units = facts.read_some_since(index.position()?)?;
        let Some((end, _)) = units.last() else { break };
        let (end, mut some, mut rows) = (*end, Vec::new(), 0);
        for (position, batches) in units {
            rows += batches.iter().map(FactBatch::rows).sum::<usize>();
            some.extend(batches);
            if rows >= ROWS_AT_ONCE || position == end {
                index.apply(&std::mem::take(&mut some), position)?;
                rows = 0;
            }
        }
    }
    if index.lacks_tiles()? {
        let mut since = Position::START;
        loop {
            let units = facts.read_some_since(since)?;
            let Some((end, _)) = units.last() else { break };
            since = *end;
            index.make_tiles(&units.into_iter().flat_map(|(_, batches)| batches).collect::<Vec<_>>())?;
        }
        index.tiles_are_made()?;
    }
    Ok(())
}
