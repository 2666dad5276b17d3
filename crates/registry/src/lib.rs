//! Versioned definitions of a scope: checked, numbered, compared, and traced back to the facts they come from.
//!
//! A bundle goes through [`Registry::apply`], which refuses it with every problem at once or gives the next registry.
//! Stores file facts under the stable numbers of that registry; the planner asks it what produces a feature.
//!
//! ```
//! use creta_registry::Registry;
//!
//! let bundle = serde_json::from_str(r#"{
//!     "format": "creta.bundle/1", "modules": {}, "lock": { "python": "3.11" },
//!     "graph": { "format": "creta.graph/1", "project": "flights", "entities": [{
//!         "name": "Flight", "location": { "file": "flights.py", "line": 4 },
//!         "features": [
//!             { "name": "id", "type": { "kind": "float" }, "role": "key", "location": { "file": "flights.py", "line": 5 } }
//!         ]
//!     }] }
//! }"#)?;
//! let problems = Registry::apply(None, bundle).expect_err("floats are not exact");
//! assert_eq!(problems[0].message, "`Flight.id` is a key and cannot be `float`");
//! # Ok::<(), serde_json::Error>(())
//! ```

mod aggregates;
mod canonical;
mod catalog;
mod check;
mod closest;
mod diff;
mod error;
mod fingerprint;
mod functions;
mod ids;
mod infer;
mod lineage;
mod properties;
mod registry;
mod render;
mod tags;

pub use aggregates::typed_value;
pub use canonical::{canonical_bytes, digest};
pub use catalog::{Catalog, FeatureRef, Hop, Production, Target, is_enabled};
pub use closest::closest;
pub use diff::{Change, Diff, Happened, PropertyChange, diff};
pub use error::{PathError, RegistryError, listed};
pub use fingerprint::{Fingerprints, SEMANTICS_VERSION};
pub use infer::{ExprError, Node, Typed, infer, typed, typed_as};
pub use registry::{Applied, REGISTRY_FORMAT, Registry};
pub use render::{render_aggregate, render_expr, render_spans, render_type, render_window};
pub use tags::{Declassified, TAGS_THAT_STAY};
