//! `creta.local`: the server's engine over stores that live and die with the process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use creta_audit::{Details, Hash, Log, Permit};
use creta_engine::{
    Compiling, IngestRequest, LabelColumn, OnceKey, QueryRequest, ResolverHost, ResolverHosts, ScopeEngine,
    ScopeStores, TrainingSetRequest, Trial, VerifyOptions, load_request, read_source,
};
use creta_iam::{Action, Decision, DecisionCache, FeatureSet, Policies, Principal, PrincipalId, Resource, Role};
use creta_keys::{KeyRing, RootKey};
use creta_model::{Bundle, Environment, Instant, Name, Problem, Scope, SourceFormat};
use creta_platform::Platform;
use creta_store::{MemoryMetadata, MemoryStore};
use creta_synth::Options;
use pyo3::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::belongings::{refuse_belongings, refuse_labelled};
use crate::datasets;
use crate::host::PythonHost;
use crate::native_error;
use crate::stream::{ArrowStream, read_stream};

/// The one environment a process may hold by itself. Keys and data of others stay with their servers.
const ENVIRONMENT: &str = "local";

/// Decisions kept; each is about one set of features.
const DECISIONS_MAX: usize = 1024;

/// One scope, `local/local`, in memory, with keys and a log of its own that nobody else has.
///
/// Every question is decided, recorded and permitted as on a server: there is no way around it that only tests take.
#[pyclass(frozen, module = "creta._native")]
pub(crate) struct Local {
    pub(crate) engine: ScopeEngine,
    log: Log,
    policies: Policies,
    decisions: DecisionCache,
    principal: Principal,
}

/// The same interpreter for every bundle.
struct InProcess(Arc<PythonHost>);

impl ResolverHosts for InProcess {
    fn host(&self, _scope: &Scope, _bundle: &Bundle) -> Result<Arc<dyn ResolverHost>, Problem> {
        Ok(Arc::clone(&self.0) as Arc<dyn ResolverHost>)
    }
}

#[pymethods]
impl Local {
    /// Checks the bundle and makes an engine for it, without facts. Raises `NativeError` with every problem.
    #[new]
    fn new(
        py: Python<'_>,
        bundle_json: &str,
        environment: &str,
        resolver_call: Py<PyAny>,
        scalar_call: Py<PyAny>,
    ) -> PyResult<Self> {
        if environment != ENVIRONMENT {
            let message = format!("environment `{environment}` cannot be opened in this process, only `{ENVIRONMENT}`");
            let help = "use `creta.connect()` for a server's environment; facts here are those given in the process";
            return Err(native_error(&[Problem::new("access/local-only", message).with_help(help)]));
        }
        let host = Arc::new(PythonHost::new(resolver_call, scalar_call));
        let local = py.detach(|| Self::open(host)).map_err(|problem| native_error(&[problem]))?;
        local.deploy(py, bundle_json)?;
        Ok(local)
    }

    /// Makes another bundle the active one and keeps the facts. Returns what changed, as JSON.
    fn deploy(&self, py: Python<'_>, bundle_json: &str) -> PyResult<String> {
        let bundle = request(bundle_json)?;
        answer(py.detach(|| {
            let permit = self.permit(Action::Deploy, FeatureSet::none()).map_err(|problem| vec![problem])?;
            self.engine.deploy(bundle, &permit)
        }))
    }

    /// Answers a `QueryRequest` with a `QueryAnswer`, both as JSON.
    fn query(&self, py: Python<'_>, request_json: &str) -> PyResult<String> {
        let request: QueryRequest = request(request_json)?;
        let answered = py.detach(|| {
            let permit = self.permit(Action::Query, self.engine.features_of(&request)?)?;
            self.engine.query_json(&request, &permit)
        });
        let answer = answered.map_err(|problem| native_error(&[problem]))?;
        Ok(String::from_utf8(answer.json).expect("JSON is UTF-8"))
    }

    /// Stores the facts of a table for `entity`; `options_json` holds the other members of an `IngestRequest`, and the key of a
    /// load that is to be taken once.
    fn ingest(&self, py: Python<'_>, entity: &str, options_json: &str, table: &Bound<'_, PyAny>) -> PyResult<String> {
        let mut options: serde_json::Map<String, serde_json::Value> = request(options_json)?;
        options.insert("entity".to_owned(), entity.into());
        let key = options.remove("idempotency_key").and_then(|key| key.as_str().map(str::to_owned));
        let said = serde_json::Value::Object(options.clone()).to_string();
        let request: IngestRequest = from_value(options.into())?;
        let (schema, batches) = read_stream(table)?;
        refuse_labelled(&schema).map_err(|problem| native_error(&[problem]))?;
        let once = key.map(|key| once_key(key, &said, &schema, &batches)).transpose()?;
        answer(py.detach(|| {
            let permit = self.permit(Action::Ingest, FeatureSet::none()).map_err(one)?;
            self.engine.ingest_once(&request, &batches, &permit, once.as_ref()).map(|loaded| loaded.report).map_err(one)
        }))
    }

    /// Reads a declared source of the project in `folder` and stores its facts, as the command line does.
    fn load_source(&self, py: Python<'_>, folder: PathBuf, name: &str) -> PyResult<String> {
        answer(py.detach(|| {
            let registry = self.engine.registry().expect("the constructor deploys");
            let graph = registry.graph();
            let source = graph.sources.iter().find(|source| source.name.as_str() == name).ok_or_else(|| {
                vec![Problem::new("not-found/source", format!("the project declares no source `{name}`"))]
            })?;
            refuse_belongings(&folder.join(path_of(&source.format)))
                .map_err(|problem| one(problem.at(&source.location)))?;
            let batches = read_source(&folder, graph, source).map_err(one)?;
            if let Some(batch) = batches.first() {
                refuse_labelled(batch.schema_ref()).map_err(|problem| one(problem.at(&source.location)))?;
            }
            let permit = self.permit(Action::Ingest, FeatureSet::none()).map_err(one)?;
            self.engine.ingest(&load_request(source), &batches, &permit).map_err(|problem| {
                one(problem.with_note("loaded by", format!("source `{name}`"), Some(&source.location)))
            })
        }))
    }

    /// Puts features beside the rows of a table by a `TrainingSetRequest`.
    fn training_set(&self, py: Python<'_>, request_json: &str, spine: &Bound<'_, PyAny>) -> PyResult<ArrowStream> {
        let request: TrainingSetRequest = request(request_json)?;
        let (schema, spine) = read_stream(spine)?;
        refuse_labelled(&schema).map_err(|problem| native_error(&[problem]))?;
        let spine = at_least_one(&schema, spine);
        let batches = py.detach(|| {
            let features = self.engine.features_of_training_set(&request, &spine)?;
            self.engine.training_set(&request, &spine, &self.permit(Action::Train, features)?)
        });
        let batches = batches.map_err(|problem| native_error(&[problem]))?;
        let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        Ok(ArrowStream::new(schema, batches))
    }

    /// Looks for what a model could learn of a training set and not know later. Returns the report, as JSON.
    fn audit_leakage(
        &self,
        py: Python<'_>,
        request_json: &str,
        labels_json: &str,
        spine: &Bound<'_, PyAny>,
    ) -> PyResult<String> {
        let asked: TrainingSetRequest = request(request_json)?;
        let labels: Vec<LabelColumn> = request(labels_json)?;
        let (schema, spine) = read_stream(spine)?;
        refuse_labelled(&schema).map_err(|problem| native_error(&[problem]))?;
        let spine = at_least_one(&schema, spine);
        answer(py.detach(|| {
            let features = self.engine.features_of_audit(&asked, &labels, &spine).map_err(one)?;
            let permit = self.permit(Action::Train, features).map_err(one)?;
            self.engine.audit_leakage(&asked, &labels, &spine, &permit).map_err(one)
        }))
    }

    /// Builds a training set and keeps it: `options_json` holds its name, the `TrainingSetRequest` and tags of the spine's own
    /// columns. Returns how it was made, as JSON.
    fn make_dataset(&self, py: Python<'_>, options_json: &str, spine: &Bound<'_, PyAny>) -> PyResult<String> {
        let wanted = request(options_json)?;
        let (schema, spine) = read_stream(spine)?;
        refuse_labelled(&schema).map_err(|problem| native_error(&[problem]))?;
        let spine = at_least_one(&schema, spine);
        answer(py.detach(|| datasets::make(self, wanted, &spine).map_err(one)))
    }

    /// Does something with kept training sets by a `creta.dataset` operation, both as JSON.
    fn datasets(&self, py: Python<'_>, operation_json: &str) -> PyResult<String> {
        let operation = request(operation_json)?;
        answer(py.detach(|| datasets::operate(self, operation).map_err(one)))
    }

    /// The rows of a kept training set.
    fn dataset_rows(&self, py: Python<'_>, options_json: &str) -> PyResult<ArrowStream> {
        let wanted = request(options_json)?;
        let rows = py.detach(|| datasets::rows(self, &wanted)).map_err(|problem| native_error(&[problem]))?;
        Ok(ArrowStream::new(rows.schema, rows.batches))
    }

    /// Made-up facts by the definitions: for each entity its name and a table.
    fn synth(&self, py: Python<'_>, options_json: &str) -> PyResult<Vec<(String, ArrowStream)>> {
        let wanted: Wanted = request(options_json)?;
        let tables = py.detach(|| {
            let permit = self.permit(Action::Synth, FeatureSet::none())?;
            self.engine.synth(&wanted.into_options(), &permit)
        });
        let tables = tables.map_err(|problem| native_error(&[problem]))?;
        let stream = |batch: RecordBatch| ArrowStream::new(batch.schema(), vec![batch]);
        Ok(tables.into_iter().map(|(entity, batch)| (entity.to_string(), stream(batch))).collect())
    }

    /// How a `QueryRequest` would be answered, as JSON; under `text` the form for people.
    fn explain(&self, py: Python<'_>, request_json: &str) -> PyResult<String> {
        let request: QueryRequest = request(request_json)?;
        answer(py.detach(|| {
            let permit = self.permit(Action::Plan, FeatureSet::none()).map_err(one)?;
            let explanation = self.engine.explain(&request, &permit).map_err(one)?;
            let mut body = serde_json::to_value(&explanation).expect("an explanation has a JSON form");
            body["text"] = explanation.to_string().into();
            Ok(body)
        }))
    }

    /// Replays the facts and compares online with offline answers, by `VerifyOptions`. Returns the report as JSON.
    fn verify(&self, py: Python<'_>, options_json: &str) -> PyResult<String> {
        let options: VerifyOptions = request(options_json)?;
        answer(py.detach(|| {
            let permit = self.permit(Action::Verify, FeatureSet::none()).map_err(one)?;
            self.engine.verify(&options, &permit, &|_, _| {}).map_err(one)
        }))
    }

    /// Definitions for people and tools, as JSON.
    fn catalogue(&self, py: Python<'_>) -> PyResult<String> {
        answer(py.detach(|| {
            let permit = self.permit(Action::CatalogueRead, FeatureSet::none()).map_err(one)?;
            permit.require(Action::CatalogueRead, self.engine.scope(), []).expect("the permit was asked for this");
            Ok::<_, Vec<Problem>>(self.engine.catalogue())
        }))
    }
}

impl Local {
    fn open(host: Arc<PythonHost>) -> Result<Self, Problem> {
        let internal = |error: &dyn std::error::Error| Problem::new("internal/local", error.to_string());
        let platform = Platform::in_memory();
        let environment = Environment::parse(ENVIRONMENT).expect("the constant is a valid name");
        let scope = Scope::parse(ENVIRONMENT, ENVIRONMENT).expect("the constant is a valid name");
        let root = RootKey::generate(&environment, platform.random.as_ref());
        let ring = KeyRing::open(root, environment.clone(), platform.clone()).map_err(|error| internal(&error))?;
        let stores = ScopeStores {
            key: ring.create_scope(&scope).map_err(|error| internal(&error))?,
            platform,
            online: Arc::new(MemoryStore::new()),
            metadata: Arc::new(MemoryMetadata::new()),
            prefix: "facts".to_owned(),
        };
        // Most resolvers of a project are never asked for in a test, so each is tried when it is.
        let compiling = Compiling::new(Arc::new(InProcess(host)), Trial::AtFirstCall);
        let id = PrincipalId::parse(ENVIRONMENT).map_err(|error| internal(&error))?;
        Ok(Self {
            engine: ScopeEngine::open(scope.clone(), stores, Arc::new(compiling))?.with_facts_of_any_time(),
            log: Log::in_memory(environment).map_err(|error| internal(&error))?,
            policies: Policies::load().map_err(|error| internal(&error))?,
            decisions: DecisionCache::new(DECISIONS_MAX),
            principal: Principal::service_account(id, scope, Role::Developer),
        })
    }

    pub(crate) fn decide(&self, action: Action, features: FeatureSet) -> Decision {
        let resource = Resource::features(self.engine.scope().clone(), features);
        self.decisions.decide(&self.policies, &self.principal, action, &resource)
    }

    pub(crate) fn permit(&self, action: Action, features: FeatureSet) -> Result<Permit, Problem> {
        let decision = self.decide(action, features);
        self.log.admit(decision, Details::none()).map_err(|error| Problem::new("access/denied", error.to_string()))
    }
}

/// Options of made-up data as they come from Python.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    rows: u64,
    of_entity: BTreeMap<Name, u64>,
    seed: u64,
    from: Option<Instant>,
    to: Option<Instant>,
    nulls: f64,
}

impl Wanted {
    fn into_options(self) -> Options {
        let plain = Options::default();
        let Self { rows, of_entity, seed, from, to, nulls } = self;
        Options { rows, of_entity, seed, from: from.unwrap_or(plain.from), to: to.unwrap_or(plain.to), nulls }
    }
}

fn path_of(format: &SourceFormat) -> &str {
    let (SourceFormat::Parquet { path }
    | SourceFormat::Csv { path }
    | SourceFormat::Arrow { path }
    | SourceFormat::Sqlite { path, .. }) = format;
    path
}

/// The key of a load beside a digest of all that the load is.
fn once_key(key: String, said: &str, schema: &Schema, batches: &[RecordBatch]) -> PyResult<OnceKey> {
    let mut bytes = Vec::new();
    let written = StreamWriter::try_new(&mut bytes, schema).and_then(|mut writer| {
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.finish()
    });
    written.map_err(|error| native_error(&[Problem::new("ingest/bad-arrow", error.to_string())]))?;
    Ok(OnceKey { key, content: *Hash::of(&[said.as_bytes(), &bytes]).as_bytes() })
}

fn one(problem: Problem) -> Vec<Problem> {
    vec![problem]
}

/// A table without rows still has its columns.
fn at_least_one(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Vec<RecordBatch> {
    if batches.is_empty() { vec![RecordBatch::new_empty(Arc::clone(schema))] } else { batches }
}

fn request<T: DeserializeOwned>(json: &str) -> PyResult<T> {
    serde_json::from_str(json).map_err(|error| malformed(&error))
}

fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> PyResult<T> {
    serde_json::from_value(value).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> PyErr {
    native_error(&[Problem::new("request/malformed", format!("the request is not understood: {error}"))])
}

fn answer<T: Serialize>(outcome: Result<T, Vec<Problem>>) -> PyResult<String> {
    match outcome {
        Ok(value) => Ok(serde_json::to_string(&value).expect("answers have string keys and finite numbers")),
        Err(problems) => Err(native_error(&problems)),
    }
}
