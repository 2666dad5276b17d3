//! What windows cost online: over a key with a million facts, over one with a thousand, and beside stored features; what facts
//! cost when they come, and on disk.
//!
//! ```text
//! windows_bench FOLDER [OUT.json]
//! ```
//!
//! One scope on disk as a server has it, LMDB included: users with 50 stored features, and purchases with twelve windows of four
//! aggregates each. Queries go through the whole engine, without the wire. Times are medians. `hot_key_ratio` is a query of
//! all windows of a user with 1,000,000 purchases by the same of one with 1,000; `windows_vs_stored` that of the latter by
//! a query of the 50 stored features.
#![allow(clippy::print_stdout, reason = "a benchmark reports on its standard output")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use creta_audit::{Details, Log, Permit};
use creta_engine::{
    IngestRequest, NoResolvers, QueryRequest, ResolverHost, ResolverHosts, ScopeEngine, ScopeStores, TrainingSetRequest,
};
use creta_iam::{Action, FeatureSet, Policies, Principal, PrincipalId, Resource, Role, decide};
use creta_keys::{KeyRing, RootKey};
use creta_model::{Bundle, Environment, Problem, Scope};
use creta_platform::Platform;
use creta_store::{LmdbStore, SqliteStore};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ONLINE_BYTES: usize = 16 << 30;

const STORED: usize = 50;
const SPANS: [&str; 12] = ["1h", "3h", "6h", "12h", "1d", "2d", "3d", "5d", "7d", "10d", "14d", "30d"];
const AGGREGATES: [&str; 4] = ["count", "sum", "mean", "std"];

/// Noon of 1 July 2013; purchases lie in the 30 days before.
const NOW: i64 = 1_372_680_000_000_000;
const DAYS_30: i64 = 30 * 86_400_000_000;

const HOT: i64 = 1_000_000;
const MILD: i64 = 1_000;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(arguments.first().ok_or("name a folder that is not there yet")?);
    if folder.exists() {
        return Err("the folder is there already; name another".into());
    }
    let mut bench = Bench::open(folder)?;
    let report = bench.run(folder)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    if let Some(out) = arguments.get(1) {
        std::fs::write(out, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

struct NoHosts;

impl ResolverHosts for NoHosts {
    fn host(&self, _scope: &Scope, _bundle: &Bundle) -> Result<Arc<dyn ResolverHost>, Problem> {
        Ok(Arc::new(NoResolvers))
    }
}

/// A scope on disk and somebody who may do everything in it.
struct Bench {
    engine: ScopeEngine,
    log: Log,
    policies: Policies,
    principal: Principal,
    /// Number of the next purchase.
    next: i64,
}

fn said(problem: Problem) -> Box<dyn Error> {
    problem.to_string().into()
}

fn bundle() -> Outcome<Bundle> {
    let here = json!({ "file": "features.py", "line": 1 });
    let feature = |name: &str, kind: &str| json!({ "name": name, "type": { "kind": kind }, "location": here });
    let with = |mut base: Value, extra: Value| {
        base.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        base
    };
    let mut user = vec![
        with(feature("id", "str"), json!({ "role": "key" })),
        with(feature("seen", "datetime"), json!({ "role": "event_time" })),
    ];
    user.extend((0..STORED).map(|n| feature(&format!("f{n}"), "float")));
    for aggregate in AGGREGATES {
        let kind = if aggregate == "count" { "int" } else { "float" };
        let mut window = json!({ "relation": "purchases", "aggregate": aggregate, "last": SPANS });
        if aggregate != "count" {
            window["value"] = json!({ "op": "feature", "path": "Purchase.amount" });
        }
        user.push(with(feature(&format!("amount_{aggregate}"), kind), json!({ "window": window })));
    }
    let purchases =
        json!({ "name": "purchases", "kind": "many", "target": "Purchase", "on": [["id", "user"]], "location": here });
    let purchase = json!([
        with(feature("id", "int"), json!({ "role": "key" })),
        feature("user", "str"),
        with(feature("bought", "datetime"), json!({ "role": "event_time" })),
        feature("amount", "float"),
    ]);
    Ok(serde_json::from_value(json!({
        "format": "creta.bundle/1", "modules": {}, "lock": { "python": "3.11" },
        "graph": {
            "format": "creta.graph/1", "project": "windows",
            "entities": [
                { "name": "User", "location": here, "features": user, "relations": [purchases] },
                { "name": "Purchase", "location": here, "features": purchase, "relations": [] },
            ],
            "resolvers": [], "sources": [], "queries": [],
        },
    }))?)
}

impl Bench {
    fn open(folder: &Path) -> Outcome<Self> {
        let (environment, scope) = (Environment::parse("bench")?, Scope::parse("acme", "bench")?);
        std::fs::create_dir_all(folder)?;
        let platform = Platform::system(folder.join("store"))?;
        let root = RootKey::create_file(folder.join("root.key"), &environment, &*platform.random)?;
        let key = KeyRing::open(root, environment.clone(), platform.clone())?.scope_or_create(&scope)?;
        let stores = ScopeStores {
            online: Arc::new(LmdbStore::open(folder.join("online"), key.clone(), ONLINE_BYTES)?),
            metadata: Arc::new(SqliteStore::open(folder.join("metadata.sqlite"), key.clone())?),
            platform,
            key,
            prefix: "facts".into(),
        };
        let bench = Self {
            engine: ScopeEngine::open(scope.clone(), stores, Arc::new(NoHosts)).map_err(said)?,
            log: Log::in_memory(environment)?,
            policies: Policies::load()?,
            principal: Principal::service_account(PrincipalId::parse("bench")?, scope, Role::Developer),
            next: 0,
        };
        let deployed = bench.engine.deploy(bundle()?, &bench.permit(Action::Deploy, FeatureSet::none())?);
        deployed.map_err(|problems| said(problems.into_iter().next().expect("a refusal has a reason")))?;
        Ok(bench)
    }

    fn permit(&self, action: Action, features: FeatureSet) -> Outcome<Permit> {
        let resource = Resource::features(self.engine.scope().clone(), features);
        Ok(self.log.admit(decide(&self.policies, &self.principal, action, &resource), Details::none())?)
    }

    fn load(&self, request: Value, table: RecordBatch) -> Outcome<()> {
        let request: IngestRequest = serde_json::from_value(request)?;
        let permit = self.permit(Action::Ingest, FeatureSet::none())?;
        self.engine.ingest(&request, &[table], &permit).map_err(said)?;
        Ok(())
    }

    fn load_users(&self, users: &[&str]) -> Outcome<()> {
        let mut columns: Vec<(String, ArrayRef)> = vec![
            ("id".into(), Arc::new(StringArray::from_iter_values(users))),
            ("seen".into(), instants(users.iter().map(|_| NOW - DAYS_30))),
        ];
        for n in 0..STORED {
            let values = (0..users.len()).map(|row| (row * STORED + n) as f64 / 7.0);
            columns.push((format!("f{n}"), Arc::new(Float64Array::from_iter_values(values))));
        }
        let request = json!({ "entity": "User", "event_time": { "column": "seen" }, "arrival": { "column": "seen" } });
        self.load(request, RecordBatch::try_from_iter(columns)?)
    }

    /// Purchases of (user, when), known at once.
    fn load_purchases(&mut self, of: impl Iterator<Item = (String, i64)>) -> Outcome<()> {
        let (users, times): (Vec<String>, Vec<i64>) = of.unzip();
        let ids = self.next..self.next + users.len() as i64;
        self.next = ids.end;
        let amounts = ids.clone().map(|id| ((id * 7919) % 100_000) as f64 / 100.0);
        let bought = instants(times.into_iter());
        let table = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef),
            ("user", Arc::new(StringArray::from_iter_values(users))),
            ("bought", bought),
            ("amount", Arc::new(Float64Array::from_iter_values(amounts))),
        ])?;
        let request =
            json!({ "entity": "Purchase", "event_time": { "column": "bought" }, "arrival": { "column": "bought" } });
        self.load(request, table)
    }

    /// Microseconds of the median query, after some to warm up.
    fn query(&self, user: &str, outputs: &[String], times: usize) -> Outcome<f64> {
        let request: QueryRequest =
            serde_json::from_value(json!({ "inputs": { "User.id": [user] }, "outputs": outputs, "as_of": as_of() }))?;
        let permit = self.permit(Action::Query, self.engine.features_of(&request).map_err(said)?)?;
        let mut took = Vec::with_capacity(times);
        for _ in 0..times + times / 10 {
            let start = Instant::now();
            let answer = self.engine.query(&request, &permit).map_err(said)?;
            took.push(micros(start));
            if answer.columns.len() != outputs.len() {
                return Err("an answer has a column per output".into());
            }
        }
        Ok(median(took.split_off(times / 10)))
    }

    /// Whether the online answer equals that of the facts, bit for bit.
    fn is_exact(&self, user: &str, outputs: &[String]) -> Outcome<bool> {
        let request: TrainingSetRequest = serde_json::from_value(
            json!({ "features": outputs, "as_of": "at", "inputs": { "User.id": "user" }, "states": true }),
        )?;
        let times = [NOW, NOW - 1, NOW - DAYS_30 / 3];
        let users = StringArray::from_iter_values(times.iter().map(|_| user));
        let spine =
            RecordBatch::try_from_iter([("user", Arc::new(users) as ArrayRef), ("at", instants(times.into_iter()))])?;
        let spine = [spine];
        let features = || self.engine.features_of_training_set(&request, &spine).map_err(said);
        let online = self.engine.query_batch(&request, &spine, &self.permit(Action::Query, features()?)?);
        let offline = self.engine.training_set(&request, &spine, &self.permit(Action::Train, features()?)?);
        Ok(online.map_err(said)? == offline.map_err(said)?)
    }

    fn run(&mut self, folder: &Path) -> Outcome<Value> {
        self.load_users(&["hot", "mild"])?;
        let mut seconds = 0.0;
        // Chunks as a stream brings them: in order of time.
        const CHUNK: i64 = 50_000;
        let before = online_bytes(folder)?;
        for chunk in 0..HOT / CHUNK {
            let at = |n: i64| NOW - DAYS_30 + (chunk * CHUNK + n) * (DAYS_30 / HOT);
            let start = Instant::now();
            self.load_purchases((0..CHUNK).map(|n| ("hot".to_owned(), at(n))))?;
            seconds += start.elapsed().as_secs_f64();
        }
        let hot_bytes = online_bytes(folder)? - before;
        let at = |n: i64| NOW - DAYS_30 + n * (DAYS_30 / MILD);
        self.load_purchases((0..MILD).map(|n| ("mild".to_owned(), at(n))))?;
        // Many keys with few facts each.
        let start = Instant::now();
        self.load_purchases((0..50_000).map(|n| (format!("few-{}", n % 10_000), NOW - DAYS_30 + n)))?;
        let few = micros(start) / 50_000.0;
        let mut single_hot = Vec::new();
        let mut single_few = Vec::new();
        for n in 0..200 {
            let start = Instant::now();
            self.load_purchases([("hot".to_owned(), NOW - 400 + n)].into_iter())?;
            single_hot.push(micros(start));
            let start = Instant::now();
            self.load_purchases([(format!("few-{n}"), NOW - 400 + n)].into_iter())?;
            single_few.push(micros(start));
        }

        let windows: Vec<String> = AGGREGATES
            .iter()
            .flat_map(|aggregate| SPANS.iter().map(move |span| format!("User.amount_{aggregate}[{span}]")))
            .collect();
        let stored: Vec<String> = (0..STORED).map(|n| format!("User.f{n}")).collect();
        let one = [windows[SPANS.len() + SPANS.len() - 1].clone()];
        let hot_times = if self.query("hot", &windows, 1)? > 50_000.0 { 10 } else { 500 };
        let (hot, mild) = (self.query("hot", &windows, hot_times)?, self.query("mild", &windows, 500)?);
        let (hot_one, mild_one) = (self.query("hot", &one, hot_times)?, self.query("mild", &one, 500)?);
        let stored = self.query("mild", &stored, 500)?;
        let exact = self.is_exact("hot", &windows)? && self.is_exact("mild", &windows)?;
        Ok(json!({
            "hot_key_ratio": ratio(hot, mild),
            "hot_key_ratio_one_window": ratio(hot_one, mild_one),
            "windows_vs_stored": ratio(mild, stored),
            "hot_windows_vs_stored": ratio(hot, stored),
            "exact": exact,
            "micros": {
                "hot_12_windows_4_aggregates": hot.round(), "mild_12_windows_4_aggregates": mild.round(),
                "hot_one_window": hot_one.round(), "mild_one_window": mild_one.round(),
                "stored_50": stored.round(),
                "ingest_per_fact_hot_key_50000_at_once": (seconds * 1e6 / HOT as f64 * 100.0).round() / 100.0,
                "ingest_per_fact_10000_keys_50000_at_once": (few * 100.0).round() / 100.0,
                "ingest_one_fact_hot_key": median(single_hot).round(),
                "ingest_one_fact_key_with_few": median(single_few).round(),
            },
            "online_bytes_per_fact_hot_key": (hot_bytes as f64 / HOT as f64).round(),
        }))
    }
}

fn as_of() -> String {
    creta_model::Instant::from_micros(NOW).expect("in range").to_string()
}

fn instants(micros: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn ratio(a: f64, b: f64) -> f64 {
    (a / b * 100.0).round() / 100.0
}

fn online_bytes(folder: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for file in std::fs::read_dir(folder.join("online"))? {
        // What is allocated: the file is sparse where nothing was written.
        bytes += file?.metadata()?.blocks() * 512;
    }
    Ok(bytes)
}
