//! One scope with ten thousand users of fifty features, with the security spine or without it.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use creta_audit::{Details, Log, Permit};
use creta_engine::{NoResolvers, QueryRequest, ResolverHost, ResolverHosts, ScopeEngine, ScopeStores, WrittenQuery};
use creta_iam::{
    Action, DecisionCache, FeatureSet, Policies, Principal, PrincipalId, Resource, Role, control_plane, decide,
};
use creta_keys::{KeyRing, RootKey};
use creta_model::{Bundle, Problem, Scope};
use creta_platform::Platform;
use creta_store::{LmdbStore, MemoryMetadata, OnlineStore};
use serde_json::{Value, json};

use crate::Outcome;
use crate::plain::PlainStore;

/// How many users there are; each has one fact.
pub(crate) const USERS: usize = 10_000;
/// Features of a user, half of them numbers.
const FEATURES: usize = 50;

/// An engine, and what a question passes on its way to it.
pub(crate) struct World {
    pub(crate) engine: ScopeEngine,
    principal: Principal,
    spine: Spine,
}

enum Spine {
    /// Each question is decided on and admitted.
    Asked(Box<Asked>),
    /// One permit for all, given beforehand.
    Held(Permit),
}

struct Asked {
    policies: Policies,
    decisions: DecisionCache,
    log: Log,
}

struct NoHosts;

impl ResolverHosts for NoHosts {
    fn host(&self, _scope: &Scope, _bundle: &Bundle) -> Result<Arc<dyn ResolverHost>, Problem> {
        Ok(Arc::new(NoResolvers))
    }
}

fn scope() -> Scope {
    Scope::parse("acme", "prod").expect("a name of our own is valid")
}

impl World {
    /// As a server puts it together.
    pub(crate) fn secured(folder: &Path) -> Outcome<Self> {
        Self::made(&folder.join("secured"), |folder, ring| {
            Ok(Arc::new(LmdbStore::open(folder.join("online"), ring.scope_or_create(&scope())?, 1 << 30)?))
        })
    }

    /// Without permits, log and seals on the way of a question.
    pub(crate) fn bare(folder: &Path) -> Outcome<Self> {
        let world = Self::made(&folder.join("bare"), |folder, _| {
            std::fs::create_dir_all(folder.join("online"))?;
            Ok(Arc::new(PlainStore::open(&folder.join("online"))?))
        })?;
        let features = world.engine.features_of(&serde_json::from_value(question_json(0, 1))?)?;
        let permit = world.permit_for(Action::Query, features)?;
        Ok(Self { spine: Spine::Held(permit), ..world })
    }

    fn made(folder: &Path, online: impl FnOnce(&Path, &KeyRing) -> Outcome<Arc<dyn OnlineStore>>) -> Outcome<Self> {
        let scope = scope();
        let platform = Platform::system(folder)?;
        let root = RootKey::generate(&scope.environment, platform.random.as_ref());
        let ring = KeyRing::open(root, scope.environment.clone(), platform.clone())?;
        let stores = ScopeStores {
            platform: platform.clone(),
            key: ring.scope_or_create(&scope)?,
            online: online(folder, &ring)?,
            metadata: Arc::new(MemoryMetadata::new()),
            prefix: "facts".into(),
        };
        let key = ring.scope_or_create(&control_plane(&scope.environment))?;
        let log = Log::open(&platform, key, scope.environment.clone())?;
        let world = Self {
            engine: ScopeEngine::open(scope.clone(), stores, Arc::new(NoHosts))?,
            spine: Spine::Asked(Box::new(Asked {
                policies: Policies::load()?,
                decisions: DecisionCache::new(4096),
                log,
            })),
            principal: Principal::service_account(PrincipalId::parse("scoring")?, scope, Role::Developer),
        };
        let deploy = world.permit_for(Action::Deploy, FeatureSet::none())?;
        world.engine.deploy(serde_json::from_value(bundle())?, &deploy).map_err(|problems| format!("{problems:?}"))?;
        let load = json!({"entity": "User", "event_time": {"column": "seen"}, "arrival": {"delay": "0s"}});
        let ingest = world.permit_for(Action::Ingest, FeatureSet::none())?;
        world.engine.ingest(&serde_json::from_value(load)?, &[facts()?], &ingest)?;
        Ok(world)
    }

    /// One question as it comes over the wire, answered as a server answers what it was asked before.
    pub(crate) fn ask(&self, question: &[u8]) -> Outcome<Vec<u8>> {
        let query = WrittenQuery::read(question)?;
        let Some(ready) = self.engine.find_ready(&query, &self.principal) else {
            let request: QueryRequest = serde_json::from_slice(question)?;
            let ready = self.engine.ready(&request)?;
            self.engine.keep_ready(&query, &request, &ready);
            return self.ask(question);
        };
        let answer = match &self.spine {
            Spine::Held(permit) => self.engine.query_ready(&ready, &query, permit)?,
            Spine::Asked(asked) => {
                let resource = Resource::features(scope(), ready.features().clone());
                let Asked { policies, decisions, log } = asked.as_ref();
                let known = decisions.known(policies, &self.principal, Action::Query, &resource);
                let permit = match known.and_then(|decision| log.admit_at_once(&decision, Details::none())) {
                    Some(permit) => permit,
                    None => self.permit_for(Action::Query, ready.features().clone())?,
                };
                self.engine.query_ready(&ready, &query, &permit)?
            }
        };
        Ok(answer.ok_or("other definitions came into force")?.json)
    }

    fn permit_for(&self, action: Action, features: FeatureSet) -> Outcome<Permit> {
        let Spine::Asked(asked) = &self.spine else { return Err("this world asks nobody".into()) };
        let (Asked { policies, decisions, log }, principal) = (asked.as_ref(), &self.principal);
        let resource = Resource::features(scope(), features);
        let decision = match action {
            Action::Query => decisions.decide(policies, principal, action, &resource),
            _ => decide(policies, principal, action, &resource),
        };
        Ok(log.admit(decision, Details::none())?)
    }
}

/// The `n`th question about so many users, and all their features.
pub(crate) fn question(n: usize, rows: usize) -> Vec<u8> {
    question_json(n, rows).to_string().into_bytes()
}

pub(crate) fn question_json(n: usize, rows: usize) -> Value {
    // A step that is prime to the number of users, so that questions fall all over the store.
    let ids: Vec<usize> = (0..rows).map(|row| ((n * rows + row) * 7_919) % USERS).collect();
    let outputs: Vec<String> = (0..FEATURES).map(|n| format!("User.f{n}")).collect();
    json!({"inputs": {"User.id": ids}, "outputs": outputs})
}

pub(crate) fn bundle() -> Value {
    let location = json!({"file": "bench.py", "line": 1});
    let feature = |name: String, ty: &str, role: &str| json!({"name": name, "type": {"kind": ty}, "role": role, "location": location});
    let mut features = vec![feature("id".into(), "int", "key"), feature("seen".into(), "datetime", "event_time")];
    features.extend((0..FEATURES).map(|n| feature(format!("f{n}"), if n % 2 == 0 { "float" } else { "str" }, "value")));
    json!({
        "format": "creta.bundle/1",
        "graph": {
            "format": "creta.graph/1", "project": "bench",
            "entities": [{"name": "User", "features": features, "location": location}],
        },
        "modules": {},
        "lock": {"python": "3.11", "packages": {}},
    })
}

pub(crate) fn facts() -> Outcome<RecordBatch> {
    let seen = creta_model::Instant::parse("2026-03-01T00:00:00Z")?.micros();
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("id".into(), Arc::new(Int64Array::from_iter_values(0..USERS as i64))),
        ("seen".into(), Arc::new(TimestampMicrosecondArray::from(vec![seen; USERS]).with_timezone("UTC"))),
    ];
    for n in 0..FEATURES {
        let column: ArrayRef = if n % 2 == 0 {
            Arc::new(Float64Array::from_iter_values((0..USERS).map(|user| (user * n) as f64 / 7.0)))
        } else {
            Arc::new(StringArray::from_iter_values((0..USERS).map(|user| format!("city-{}", user % 997))))
        };
        columns.push((format!("f{n}"), column));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}
