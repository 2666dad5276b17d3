//! Versioned definitions of a scope: checked, numbered, compared, and traced back to the facts they come from.
//!
//! A bundle goes through [`Registry::apply`], which refuses it with every problem at once or gives the next registry.
//! Stores file facts under the stable numbers of that registry; the planner asks it what produces a feature.

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

pub use canonical::{canonical_bytes, digest};
pub use catalog::{Catalog, FeatureRef, Hop, Production, Target, is_enabled};
pub use closest::closest;
pub use diff::{Change, Diff, Happened, PropertyChange, diff};
pub use error::{PathError, RegistryError, listed};
pub use fingerprint::{Fingerprints, SEMANTICS_VERSION};
pub use infer::{ExprError, Node, Typed, infer, typed, typed_as};
pub use registry::{Applied, REGISTRY_FORMAT, Registry};
pub use render::{render_aggregate, render_expr, render_spans, render_type, render_window};
