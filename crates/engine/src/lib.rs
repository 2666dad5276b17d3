//! Runs plans: point-in-time joins, windows, expressions and resolvers over columns.
//!
//! The engine never reads a clock: every row brings its instant. It asks a [`FactReader`] for facts and a [`ResolverHost`]
//! for what only Python can compute, and answers one cell per row and feature. A cell is a value or the reason why there
//! is none, so nothing that concerns one row fails another.

mod answer;
mod column;
mod error;
mod exact;
mod expression;
mod facts;
mod host;
mod key_set;
mod point_in_time;
mod resolve;
mod run;
mod timeline;
mod value;
mod windows;

pub use answer::{Answer, AnswerColumn};
pub use column::CellColumn;
pub use error::EngineError;
pub use facts::{FactPoint, FactRange, FactReader, FactRequest, SUPERSEDED_AT, supersede};
pub use host::{Argument, NoResolvers, ResolverAnswer, ResolverHost};
pub use key_set::{Encoded, KeyEncoder, KeySet, RowKey};
pub use resolve::violations;
pub use run::{Rows, RunOptions, run};
pub use value::{build_array, is_of_type, null_array, read_value};
