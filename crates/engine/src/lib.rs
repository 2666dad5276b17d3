//! Runs plans: point-in-time joins, windows, expressions and resolvers over columns.
//!
//! The engine never reads a clock: every row brings its instant. It asks a [`FactReader`] for facts and a [`ResolverHost`]
//! for what only Python can compute, and answers one cell per row and feature. A cell is a value or the reason why there
//! is none, so nothing that concerns one row fails another.

mod answer;
mod answers;
mod coerce;
mod column;
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
mod point_in_time;
#[cfg(test)]
mod properties;
pub mod reference;
mod request;
mod resolve;
#[cfg(test)]
mod resolve_tests;
mod run;
mod scan;
mod scope_engine;
mod sources;
mod spine;
#[cfg(test)]
mod testing;
mod timeline;
mod value;
mod verify;
mod windows;

pub use answer::{Answer, AnswerColumn};
pub use coerce::{Coerced, coerce};
pub use column::CellColumn;
pub use error::EngineError;
pub use fact_index::{FactIndex, IndexSpec};
pub use facts::{FactPoint, FactRange, FactReader, FactRequest, SUPERSEDED_AT, supersede};
pub use host::{Argument, NoResolvers, ResolverAnswer, ResolverHost};
pub use ingest::CLOCK_SKEW;
pub use key_set::{Encoded, KeyEncoder, KeySet, RowKey};
pub use request::{
    IngestReport, IngestRequest, Instants, KnownAsOf, KnownAsOfColumn, QueryAnswer, QueryColumn, QueryRequest,
    TrainingSetRequest, VerifyOptions, VerifyReport,
};
pub use resolve::violations;
pub use run::{Rows, RunOptions, run};
pub use scan::SnapshotReader;
pub use scope_engine::{Checked, Deployed, FeatureAccess, ResolverHosts, ScopeEngine, ScopeStores};
pub use sources::{load_request, read_arrow, read_parquet, read_source};
pub use value::{build_array, is_of_type, null_array, read_value};
