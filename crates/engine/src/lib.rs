//! Runs plans: point-in-time joins, windows, expressions and resolvers over columns.
//!
//! The engine never reads a clock: every row brings its instant. It asks a [`FactReader`] for facts and a [`ResolverHost`]
//! for what only Python can compute, and answers one cell per row and feature. A cell is a value or the reason why there
//! is none, so nothing that concerns one row fails another. [`ScopeEngine`] puts that together for one tenant: it keeps the
//! definitions and the stores, takes facts in and answers queries.
//!
//! ```
//! use std::sync::Arc;
//! use arrow::array::Float64Array;
//! use creta_audit::{Details, Log};
//! use creta_engine::{NoResolvers, Rows, RunOptions, SnapshotReader, read_value, run};
//! use creta_iam::{Action, FeatureSet, Policies, Principal, PrincipalId, Resource, Role, decide};
//! use creta_keys::{KeyRing, RootKey};
//! use creta_model::{CellState, Environment, FeaturePath, Instant, Scope, Value};
//! use creta_planner::{Shape, plan};
//! use creta_platform::Platform;
//! use creta_registry::Registry;
//! use creta_store::FactStore;
//!
//! let bundle = serde_json::from_str(r#"{
//!     "format": "creta.bundle/1", "modules": {}, "lock": { "python": "3.11" },
//!     "graph": { "format": "creta.graph/1", "project": "flights", "entities": [{
//!         "name": "Flight", "location": { "file": "flights.py", "line": 4 },
//!         "features": [
//!             { "name": "id", "type": { "kind": "int" }, "role": "key", "location": { "file": "flights.py", "line": 5 } },
//!             { "name": "delay", "type": { "kind": "float" }, "optional": true,
//!               "location": { "file": "flights.py", "line": 6 } },
//!             { "name": "twice", "type": { "kind": "float" }, "optional": true,
//!               "expression": { "op": "call", "function": "add", "args": [
//!                   { "op": "feature", "path": "Flight.delay" }, { "op": "feature", "path": "Flight.delay" } ] },
//!               "location": { "file": "flights.py", "line": 7 } }
//!         ]
//!     }] }
//! }"#)?;
//! let registry = Registry::apply(None, bundle).expect("valid definitions").registry;
//! let (scope, path) = (Scope::parse("acme", "dev")?, |text| FeaturePath::parse(text));
//! let (given, outputs) = (vec![path("Flight.delay")?], vec![path("Flight.twice")?]);
//! let plan = plan(&registry, &Shape { environment: scope.environment.clone(), given, outputs, max_age: Default::default() })?;
//!
//! // Nothing is read before somebody was asked and the answer was recorded.
//! let somebody = Principal::service_account(PrincipalId::parse("trainer")?, scope.clone(), Role::Developer);
//! let features = Resource::features(scope.clone(), FeatureSet::untagged(["Flight.twice"]));
//! let decision = decide(&Policies::load()?, &somebody, Action::Query, &features);
//! let permit = Log::in_memory(scope.environment.clone())?.admit(decision, Details::none())?;
//!
//! let platform = Platform::in_memory();
//! let root = RootKey::generate(&scope.environment, &*platform.random);
//! let key = KeyRing::open(root, scope.environment.clone(), platform.clone())?.create_scope(&scope)?;
//! let facts = SnapshotReader::new(FactStore::open(&platform, key, "facts")?.snapshot());
//! let rows = Rows::at(vec![Arc::new(Float64Array::from(vec![Some(7.5), None]))], 2, Instant::parse("2025-03-01T12:00:00Z")?);
//! let answer = run(&plan, &rows, &permit, &facts, &NoResolvers, &RunOptions::default())?;
//! let twice = &answer.columns[0];
//! assert_eq!(read_value(twice.cells.values(), &twice.ty, 0), Value::Float(15.0));
//! assert_eq!(twice.cells.state(1), CellState::Null);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod answers;
mod bounded;
mod coerce;
mod column;
mod compiled;
#[cfg(test)]
mod compiled_tests;
mod datasets;
mod error;
mod exact;
mod expression;
mod fact_index;
mod facts;
#[cfg(test)]
mod golden;
mod host;
mod ingest;
mod key_set;
mod leakage;
mod masking;
#[cfg(test)]
mod metamorphic;
mod parallel;
mod parquet_file;
mod point_in_time;
mod population;
mod present;
#[cfg(test)]
mod properties;
mod ready;
pub mod reference;
mod request;
mod resolve;
#[cfg(test)]
mod resolve_tests;
mod rows;
mod rowwise;
mod run;
mod scan;
mod scope_engine;
mod selecting;
mod sources;
mod spine;
mod synth;
#[cfg(test)]
mod testing;
mod timeline;
mod trial;
mod value;
mod verify;
mod windows;
mod written;

pub use answer::{Answer, AnswerColumn};
pub use bounded::{TrainingOptions, TrainingProgress};
pub use coerce::{Coerced, coerce};
pub use column::CellColumn;
pub use compiled::{CompiledHost, Compiling, DIFFERS, Running, Trial};
pub use datasets::{
    Bin, Change, ChangedFeature, ColumnKind, ColumnProfile, DatasetColumn, DatasetDiff, DatasetEntry, DatasetLimits,
    DatasetName, DatasetPart, DatasetProfile, DatasetRef, DatasetRequest, DatasetRows, DatasetState, DatasetVersion,
    FeatureMade, FeatureRead, Keeper, Numbers, Selection, SpineTags, VersionEntry, Why,
};
pub use error::EngineError;
pub use fact_index::{FactIndex, IndexSpec, IndexView};
pub use facts::{FactPoint, FactRange, FactReader, FactRequest, SUPERSEDED_AT, supersede};
pub use host::{Argument, AtOnce, NoResolvers, ResolverAnswer, ResolverHost};
pub use ingest::CLOCK_SKEW;
pub use key_set::{Encoded, KeyEncoder, KeySet, RowKey};
pub use leakage::{Finding, LabelColumn, Leak, LeakageReport};
pub use parquet_file::{ParquetForm, ParquetWriter, create_parquet, write_parquet};
pub use ready::{JsonAnswer, ReadyQuery};
pub use request::{
    IngestReport, IngestRequest, Instants, KnownAsOf, KnownAsOfColumn, QueryAnswer, QueryColumn, QueryRequest,
    TrainingSetRequest, VerifyOptions, VerifyReport,
};
pub use resolve::violations;
pub use run::{Rows, RunOptions, run};
pub use scan::SnapshotReader;

pub use scope_engine::{
    BindingRule, Checked, DataPolicy, Deployed, FeatureAccess, KNOWN_TO, Loaded, OnceKey, ResolverHosts, ScopeEngine,
    ScopeStores, not_tried,
};
pub use selecting::{ROWS_DROPPED, Sample};
pub use sources::{load_request, read_arrow, read_parquet, read_source};
pub use spine::{LABEL_DATASET, LABEL_ENTRY, LABEL_KNOWN_AS_OF, LABEL_PLAN, LABEL_POSITION, TIMES_FLOORED};
pub use synth::synthesise;
pub use value::{build_array, is_of_type, null_array, read_value};
pub use written::WrittenQuery;
