//! One scope in memory with a small airline in it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use creta_audit::{Details, Log, Permit};
use creta_engine::{
    DataPolicy, Deployed, IngestReport, IngestRequest, Loaded, NoResolvers, OnceKey, QueryAnswer, QueryRequest,
    ResolverHost, ResolverHosts, ScopeEngine, ScopeStores, TrainingSetRequest, VerifyOptions, VerifyReport,
};
use creta_iam::{
    Action, Assurance, Decision, DeviceTrust, FeatureSet, Person, Place, Policies, Principal, PrincipalId, Resource,
    Role, RowRules, Seal, Standing, decide,
};
use creta_keys::{KeyRing, RootKey, ScopeKey};
use creta_model::{Bundle, Environment, EnvironmentClass, Instant, Problem, Scope};
use creta_platform::{FaultyFiles, ManualClock, Platform, SeededRandom};
use creta_store::{MemoryMetadata, MemoryStore, MetadataStore, OnlineStore};
use serde_json::json;

/// The present of every test: noon of 1 July 2013.
pub(crate) const NOW: &str = "2013-07-01T12:00:00Z";

struct NoHosts;

impl ResolverHosts for NoHosts {
    fn host(&self, _scope: &Scope, _bundle: &Bundle) -> Result<Arc<dyn ResolverHost>, Problem> {
        Ok(Arc::new(NoResolvers))
    }
}

/// What a scope is opened on, and what stays when it is closed.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) files: FaultyFiles,
    platform: Platform,
    key: ScopeKey,
    pub(crate) online: Arc<dyn OnlineStore>,
    metadata: Arc<dyn MetadataStore>,
    pub(crate) hosts: Arc<dyn ResolverHosts>,
}

/// A scope and somebody who may do everything in it.
pub(crate) struct Airline {
    pub(crate) engine: ScopeEngine,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) stores: Stores,
    log: Log,
    policies: Policies,
    principal: Principal,
}

/// Without what a table says of itself.
pub(crate) fn plain(table: RecordBatch) -> RecordBatch {
    let schema = table.schema().as_ref().clone().with_metadata(Default::default());
    RecordBatch::try_new(Arc::new(schema), table.columns().to_vec()).expect("the same columns")
}

pub(crate) fn at(text: &str) -> Instant {
    Instant::parse(text).expect("a valid instant")
}

fn scope() -> Scope {
    Scope::parse("acme", "dev").expect("a valid scope")
}

impl Stores {
    /// Empty ones.
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::new(at(NOW)));
        let files = FaultyFiles::new(7);
        let platform = Platform {
            clock: Arc::clone(&clock) as Arc<_>,
            random: Arc::new(SeededRandom::new(7)),
            files: Arc::new(files.clone()),
        };
        let environment = Environment::parse("dev").expect("valid");
        let root = RootKey::generate(&environment, platform.random.as_ref());
        let ring = KeyRing::open(root, environment, platform.clone()).expect("opens");
        let key = ring.create_scope(&scope()).expect("a new scope");
        Self {
            clock,
            files,
            platform,
            key,
            online: Arc::new(MemoryStore::new()),
            metadata: Arc::new(MemoryMetadata::new()),
            hosts: Arc::new(NoHosts),
        }
    }

    /// The same with a clock that shows another time.
    pub(crate) fn at(self, now: Instant) -> Self {
        let clock = Arc::new(ManualClock::new(now));
        let platform = Platform { clock: Arc::clone(&clock) as Arc<_>, ..self.platform };
        Self { clock, platform, ..self }
    }

    /// The same on other files: those of a process that crashed.
    pub(crate) fn with_files(self, files: FaultyFiles) -> Self {
        let platform = Platform { files: Arc::new(files.clone()), ..self.platform };
        Self { files, platform, ..self }
    }

    fn engine(&self) -> Result<ScopeEngine, Problem> {
        let stores = ScopeStores {
            platform: self.platform.clone(),
            key: self.key.clone(),
            online: Arc::clone(&self.online),
            metadata: Arc::clone(&self.metadata),
            prefix: "tenants/acme/facts".into(),
        };
        ScopeEngine::open(scope(), stores, Arc::clone(&self.hosts))
    }

    /// A scope with what these hold.
    pub(crate) fn open(self) -> Result<Airline, Problem> {
        let engine = self.engine()?;
        let principal = Principal::ServiceAccount {
            id: PrincipalId::parse("tester").expect("valid"),
            scope: scope(),
            role: Role::Developer,
        };
        let log = Log::in_memory(scope().environment).expect("a log");
        let policies = Policies::load().expect("valid policies");
        Ok(Airline { engine, clock: Arc::clone(&self.clock), stores: self, log, policies, principal })
    }
}

impl Airline {
    /// Deployed, without facts.
    pub(crate) fn new() -> Self {
        let airline = Stores::new().open().expect("opens");
        airline.engine.deploy(bundle(), &airline.permit(Action::Deploy, &[])).expect("a valid project");
        airline
    }

    /// Puts other definitions in force.
    pub(crate) fn deploy(&self, bundle: Bundle) -> Result<Deployed, Vec<Problem>> {
        self.engine.deploy(bundle, &self.permit(Action::Deploy, &[]))
    }

    /// Another project, deployed, without facts.
    pub(crate) fn of(bundle: Bundle) -> Self {
        let airline = Stores::new().open().expect("opens");
        airline.engine.deploy(bundle, &airline.permit(Action::Deploy, &[])).expect("a valid project");
        airline
    }

    /// A permit of somebody who runs the environment and looks at statistics.
    pub(crate) fn staff_permit(&self, features: &[&str]) -> Permit {
        let admin = Principal::administrator(PrincipalId::parse("admin").expect("valid"), scope().environment);
        let resource = Resource::features(scope(), FeatureSet::untagged(features.iter().copied()));
        let decision = decide(&self.policies, &admin, Action::StatisticsRead, &resource);
        self.log.admit(decision, Details::none()).expect("whoever looks after a tenant may")
    }

    /// The same stores, opened anew; `lose_online` as if the derived store had been lost.
    pub(crate) fn reopened(self, lose_online: LoseOnline) -> Self {
        let mut stores = self.stores.clone();
        drop(self);
        if lose_online == LoseOnline::Yes {
            stores.online = Arc::new(MemoryStore::new());
        }
        stores.open().expect("opens again")
    }

    pub(crate) fn permit(&self, action: Action, features: &[&str]) -> Permit {
        self.permit_of(&self.principal, action, features)
    }

    fn permit_of(&self, principal: &Principal, action: Action, features: &[&str]) -> Permit {
        let set = FeatureSet::untagged(features.iter().copied());
        let resource = Resource::features(scope(), set);
        let decision = decide(&self.policies, principal, action, &resource);
        self.log.admit(decision, Details::none()).expect("they may")
    }

    /// As [`Airline::query`], by a program of another role.
    pub(crate) fn query_as(&self, role: Role, request: serde_json::Value) -> Result<QueryAnswer, Problem> {
        let request: QueryRequest = serde_json::from_value(request).expect("a request");
        let features = self.engine.features_of(&request)?;
        let names: Vec<&str> = features.names().collect();
        let principal = Principal::service_account(PrincipalId::parse("other").expect("valid"), scope(), role);
        self.engine.query(&request, &self.permit_of(&principal, Action::Query, &names))
    }

    /// A permit on features with these tags, as they were when it was decided.
    pub(crate) fn permit_on(&self, role: Role, action: Action, features: &FeatureSet) -> Permit {
        let principal = Principal::service_account(PrincipalId::parse("other").expect("valid"), scope(), role);
        let decision = decide(&self.policies, &principal, action, &Resource::features(scope(), features.clone()));
        self.log.admit(decision, Details::none()).expect("they may")
    }

    /// As [`Airline::query`], by a person of the tenant with roles for good, by the tags that features have.
    pub(crate) fn query_as_person(&self, roles: &[Role], request: serde_json::Value) -> Result<QueryAnswer, Problem> {
        let request: QueryRequest = serde_json::from_value(request).expect("a request");
        let features = self.engine.features_of(&request)?;
        let decision = decide(&self.policies, &person(roles), Action::Query, &Resource::features(scope(), features));
        self.engine.query(&request, &self.log.admit(decision, Details::none()).expect("they may"))
    }

    /// As [`Airline::permit_on`], for a person of the tenant with roles for good; the refusal where they may not.
    pub(crate) fn person_permit(
        &self,
        roles: &[Role],
        action: Action,
        features: &FeatureSet,
    ) -> Result<Permit, String> {
        let decision = decide(&self.policies, &person(roles), action, &Resource::features(scope(), features.clone()));
        self.log.admit(decision, Details::none()).map_err(|error| error.to_string())
    }

    /// What is decided for a program of a role.
    pub(crate) fn decide(&self, role: Role, action: Action, features: FeatureSet) -> Decision {
        let principal = Principal::service_account(PrincipalId::parse("other").expect("valid"), scope(), role);
        decide(&self.policies, &principal, action, &Resource::features(scope(), features))
    }

    /// What is decided on training for a person of the tenant with roles for good.
    pub(crate) fn decide_for_person(&self, roles: &[Role], features: FeatureSet) -> Decision {
        decide(&self.policies, &person(roles), Action::Train, &Resource::features(scope(), features))
    }

    /// A permit for statistics of a person of the tenant.
    pub(crate) fn statistics_permit(&self, roles: &[Role], features: &[&str]) -> Permit {
        let resource = Resource::features(scope(), FeatureSet::untagged(features.iter().copied()));
        let decision = decide(&self.policies, &person(roles), Action::StatisticsRead, &resource);
        self.log.admit(decision, Details::none()).expect("they may")
    }

    /// Puts row rules in force, bound to the definitions as they are.
    pub(crate) fn set_rows(&self, rules: serde_json::Value) {
        let rules: RowRules = serde_json::from_value(json!({ "rules": rules })).expect("rules");
        rules.check().expect("they make sense");
        let bound = rules.rules.iter().map(|rule| self.engine.bind_row_rule(rule).expect("it fits")).collect();
        let rows = Arc::new(RowRules { rules: bound });
        self.engine.set_policy(DataPolicy { rows, ..self.engine.policy() });
    }

    pub(crate) fn ingest(&self, request: serde_json::Value, table: RecordBatch) -> Result<IngestReport, Problem> {
        let request: IngestRequest = serde_json::from_value(request).expect("a request");
        self.engine.ingest(&request, &[table], &self.permit(Action::Ingest, &[]))
    }

    /// As [`Airline::ingest`], by a program of some name, with a key that stands for these bytes.
    pub(crate) fn ingest_once(
        &self,
        who: &str,
        key: &str,
        content: u8,
        request: serde_json::Value,
        table: RecordBatch,
    ) -> Result<Loaded, Problem> {
        let request: IngestRequest = serde_json::from_value(request).expect("a request");
        let principal = Principal::service_account(PrincipalId::parse(who).expect("valid"), scope(), Role::Developer);
        let once = OnceKey { key: key.to_owned(), content: [content; 32] };
        let permit = self.permit_of(&principal, Action::Ingest, &[]);
        self.engine.ingest_once(&request, &[table], &permit, Some(&once))
    }

    pub(crate) fn query(&self, request: serde_json::Value) -> Result<QueryAnswer, Problem> {
        let request: QueryRequest = serde_json::from_value(request).expect("a request");
        let features = self.engine.features_of(&request)?;
        let names: Vec<&str> = features.names().collect();
        self.engine.query(&request, &self.permit(Action::Query, &names))
    }

    pub(crate) fn training_set(
        &self,
        request: &TrainingSetRequest,
        spine: RecordBatch,
    ) -> Result<RecordBatch, Problem> {
        let spine = [spine];
        let features = self.engine.features_of_training_set(request, &spine)?;
        let names: Vec<&str> = features.names().collect();
        let permit = self.permit(Action::Train, &names);
        self.engine.training_set(request, &spine, &permit).map(|mut batches| batches.remove(0))
    }

    /// Everything in the metadata store, opened.
    pub(crate) fn documents(&self) -> Vec<String> {
        self.all_documents("registry")
    }

    /// Every document of a kind, opened.
    pub(crate) fn all_documents(&self, kind: &str) -> Vec<String> {
        let documents = self.stores.metadata.list(kind).expect("a list");
        assert!(!documents.is_empty(), "they are there");
        documents.iter().map(|document| String::from_utf8_lossy(&document.body).into_owned()).collect()
    }

    /// Writes over every document of a kind what nobody can read.
    pub(crate) fn spoil_documents(&self, kind: &str) {
        for document in self.stores.metadata.list(kind).expect("a list") {
            let write = self.stores.metadata.write(kind, &document.id, Some(document.version), b"spoilt");
            write.expect("written");
        }
    }

    pub(crate) fn verify(&self, options: &VerifyOptions) -> Result<VerifyReport, Problem> {
        self.engine.verify(options, &self.permit(Action::Verify, &[]), &|_, _| {})
    }
}

/// Somebody of the tenant, in class development.
fn person(roles: &[Role]) -> Principal {
    let standing = Standing {
        roles: roles.iter().copied().collect(),
        grants: Default::default(),
        assurance: Assurance { user_verified: true, device: DeviceTrust::Trusted, seal: Seal::Intact },
        class: EnvironmentClass::Development,
    };
    let id = PrincipalId::parse("ana").expect("valid");
    Principal::Person(Person::new(id, Place::Scope(scope()), standing))
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoseOnline {
    Yes,
    No,
}

/// Flights, with windows over them by carrier.
pub(crate) fn bundle() -> Bundle {
    let here = json!({ "file": "features.py", "line": 1 });
    let feature = |name: &str, kind: &str| json!({ "name": name, "type": { "kind": kind }, "location": here });
    let with = |mut base: serde_json::Value, extra: serde_json::Value| {
        base.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        base
    };
    let delay = json!({ "op": "feature", "path": "Flight.delay" });
    let window = |name: &str, kind: &str, aggregate: &str, value: bool| {
        let mut window = json!({ "relation": "flights", "aggregate": aggregate, "last": ["1h", "1d", "7d"] });
        if value {
            window["value"] = delay.clone();
        }
        with(feature(name, kind), json!({ "window": window }))
    };
    let bundle = json!({
        "format": "creta.bundle/1",
        "modules": {},
        "lock": { "python": "3.11" },
        "graph": {
            "format": "creta.graph/1",
            "project": "airline",
            "entities": [
                {
                    "name": "Carrier",
                    "location": here,
                    "features": [
                        with(feature("code", "str"), json!({ "role": "key" })),
                        window("flights_n", "int", "count", false),
                        window("delay_sum", "float", "sum", true),
                        window("delay_mean", "float", "mean", true),
                        window("delay_max", "float", "max", true),
                        window("delay_std", "float", "std", true),
                        window("delay_last", "float", "last", true),
                    ],
                    "relations": [
                        { "name": "flights", "kind": "many", "target": "Flight", "on": [["code", "carrier"]], "location": here }
                    ],
                },
                {
                    "name": "Flight",
                    "location": here,
                    "features": [
                        with(feature("id", "int"), json!({ "role": "key", "event_id": true })),
                        feature("carrier", "str"),
                        with(feature("departed", "datetime"), json!({ "role": "event_time" })),
                        with(feature("delay", "float"), json!({
                            "optional": true, "max_age": "2d", "validation": { "min": -100.0 }
                        })),
                        with(feature("late", "bool"), json!({
                            "optional": true,
                            "expression": { "op": "call", "function": "gt", "args": [
                                delay, { "op": "literal", "type": { "kind": "float" }, "value": 15.0 }
                            ] },
                        })),
                    ],
                    "relations": [
                        { "name": "operator", "kind": "one", "target": "Carrier", "on": [["carrier", "code"]], "location": here }
                    ],
                },
            ],
            "resolvers": [],
            "sources": [],
            "queries": [{
                "name": "lateness", "version": 1, "inputs": ["Flight.id"],
                "outputs": ["Flight.late", "Flight.operator.delay_mean[1d]"], "location": here
            }],
        },
    });
    serde_json::from_value(bundle).expect("a bundle")
}

/// One departure: id, carrier, minutes after 1 July 2013 00:00 UTC, delay, minutes until it was known.
#[derive(Debug, Clone)]
pub(crate) struct Departure {
    pub(crate) id: i64,
    pub(crate) carrier: String,
    pub(crate) minute: i64,
    pub(crate) delay: Option<f64>,
    pub(crate) known_after: i64,
    pub(crate) retracted: bool,
}

pub(crate) const MIDNIGHT: i64 = 1_372_636_800_000_000;
pub(crate) const MINUTE: i64 = 60_000_000;

pub(crate) fn instants(micros: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

pub(crate) fn table(rows: &[Departure]) -> RecordBatch {
    let event = |row: &Departure| MIDNIGHT + row.minute * MINUTE;
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))) as ArrayRef),
        ("carrier", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.carrier.as_str())))),
        ("delay", Arc::new(rows.iter().map(|row| row.delay).collect::<Float64Array>())),
        ("departed", instants(rows.iter().map(event))),
        ("known", instants(rows.iter().map(|row| event(row) + row.known_after * MINUTE))),
        ("gone", Arc::new(rows.iter().map(|row| Some(row.retracted)).collect::<BooleanArray>())),
    ])
    .expect("columns of one length")
}

/// How [`table`] is ingested.
pub(crate) fn load() -> serde_json::Value {
    json!({
        "entity": "Flight", "event_time": { "column": "departed" }, "arrival": { "column": "known" }, "retract": "gone"
    })
}

pub(crate) fn departure(id: i64, carrier: &str, minute: i64, delay: f64) -> Departure {
    Departure { id, carrier: carrier.into(), minute, delay: Some(delay), known_after: 0, retracted: false }
}
