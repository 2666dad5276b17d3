//! Python source of a resolver becomes a program that needs no Python, or the reason why not.
//!
//! [`Project`] holds the parsed modules of a bundle. [`Project::compile`] finds a resolver in them, resolves every name,
//! checks that each operation is compiled for the types it may meet, and gives a [`Program`] or a [`Refusal`] that names
//! the line and what to write instead. A program means exactly what CPython makes of the same source, exceptions included.
//! Where Python has an answer that is not computed here (an int beyond 64 bits, a complex number, a table of letters
//! that differs between versions), the row raises [`Raised::Beyond`], and whoever runs the program asks Python for it.
//!
//! ```
//! use std::collections::BTreeMap;
//! use creta_compiler::{Project, ResolverSource, Value};
//! use creta_model::{ResolverMode, Type};
//!
//! let text = "def ratio(amount, limit):\n    return round(amount / limit, 2) if limit else None\n";
//! let project = Project::new(&BTreeMap::from([("features.py".to_owned(), text.to_owned())]));
//! let source = ResolverSource {
//!     name: "ratio",
//!     module: "features",
//!     mode: ResolverMode::Scalar,
//!     is_async: false,
//!     code: text,
//!     inputs: vec![(Type::Float, false), (Type::Int, true)],
//! };
//! let program = project.compile(&source).expect("nothing in it needs Python");
//! let ratio = program.call(&[Value::Float(10.0), Value::Int(3)]).expect("no exception");
//! assert!(matches!(ratio, Value::Float(ratio) if ratio == 3.33));
//! ```

mod attributes;
mod boundary;
mod budget;
mod builtins;
mod bundle;
mod columns;
mod eval;
mod infer;
mod kernels;
mod limits;
mod lower;
mod made_up;
mod math;
pub mod numbers;
mod operators;
mod program;
mod project;
mod raised;
mod refusal;
mod text;
mod times;
mod value;
mod written;

pub use boundary::{Mismatch, Shape, cell_error};
pub use budget::within as bounded;
pub use bundle::{Batch, BuildArray, CompiledResolver, NoValue, compile_bundle};
pub use columns::{Answers, Lane};
pub use lower::ResolverSource;
pub use program::{Place, Program};
pub use project::Project;
pub use raised::{Outcome, Raised};
pub use refusal::Refusal;
pub use value::{EnumClass, StructClass, StructValue, Value};
