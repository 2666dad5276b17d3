//! The words of Creta: scopes, instants, types, features and the graph of definitions. Pure data and its checks.
//!
//! ```
//! use creta_model::{FeaturePath, Instant, Scope};
//!
//! let scope = Scope::parse("acme", "prod")?;
//! let path = FeaturePath::parse("Flight.operator.delay_mean[7d]")?;
//! let noon = Instant::parse("2013-07-01T12:00:00Z")?;
//! assert_eq!((scope.path().as_str(), path.via.len(), noon.micros()), ("prod/acme", 1, 1_372_680_000_000_000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cell;
mod expr;
mod graph;
mod id;
mod instant;
mod memory;
mod path;
mod problem;
mod types;

pub use cell::{CellError, CellState};
pub use expr::{Expr, Function};
pub use graph::{
    Aggregate, Arrival, BUNDLE_FORMAT, Bundle, Entity, EventTime, Feature, GRAPH_FORMAT, Graph, InputSource, Location,
    LockedPackage, NamedQuery, PackageLock, Relation, RelationKind, Resolver, ResolverInput, ResolverMode, Role,
    Source, SourceFormat, Validation, Window,
};
pub use id::{EntityId, Environment, EnvironmentClass, FeatureId, InvalidName, Name, Scope, TenantId};
pub use instant::{Instant, Span, TimeError};
pub use memory::{InvalidMemorySize, MemorySize};
pub use path::{FeaturePath, InvalidPath};
pub use problem::{Note, Problem};
pub use types::{StructField, Type, TypeMismatch, Value, format_decimal, parse_decimal};
