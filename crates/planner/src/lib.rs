//! Turns a request and a registry snapshot into a plan: pure, without any instant inside, so one plan serves a single
//! row now and a million rows of history alike.
//!
//! [`plan`] decides where each feature comes from and in what order; [`explain`] tells a person the same.
//!
//! ```
//! use std::collections::BTreeMap;
//! use creta_model::{Environment, FeaturePath};
//! use creta_planner::{Shape, plan};
//! use creta_registry::Registry;
//!
//! let bundle = serde_json::from_str(r#"{
//!     "format": "creta.bundle/1", "modules": {}, "lock": { "python": "3.11" },
//!     "graph": { "format": "creta.graph/1", "project": "flights", "entities": [{
//!         "name": "Flight", "location": { "file": "flights.py", "line": 4 },
//!         "features": [
//!             { "name": "id", "type": { "kind": "int" }, "role": "key", "location": { "file": "flights.py", "line": 5 } },
//!             { "name": "delay", "type": { "kind": "float" }, "location": { "file": "flights.py", "line": 6 } }
//!         ]
//!     }] }
//! }"#)?;
//! let registry = Registry::apply(None, bundle).expect("valid definitions").registry;
//! let outputs = vec![FeaturePath::parse("Flight.delay")?];
//! let environment = Environment::parse("prod")?;
//! let shape = Shape { environment, given: Vec::new(), outputs, max_age: BTreeMap::new() };
//! let problem = plan(&registry, &shape).expect_err("no key is given");
//! assert_eq!(problem.message, "`Flight.delay` comes from facts and needs `Flight.id`");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arrange;
mod bind;
mod error;
mod explain;
mod plan;
mod resolve;
mod shape;

pub use error::PlanError;
pub use explain::{Explained, Explanation, Runs, explain};
pub use plan::*;
pub use shape::Shape;

use creta_model::Problem;
use creta_registry::Registry;

/// The plan for requests of this shape. The same registry and shape give the same plan, byte for byte; the order of the
/// given paths decides only the numbers of slots.
///
/// An output of an entity that nothing given belongs to is reached through the one chain of `one` relations that leads
/// there from the entities given: with `Flight.carrier` given, `Carrier.name` means `Flight.operator.name`. Its slot has
/// the path through the relations. Time linear in the definitions the outputs are computed from.
pub fn plan(registry: &Registry, shape: &Shape) -> Result<Plan, Problem> {
    let draft = resolve::resolve(registry, shape).map_err(error::Failure::problem)?;
    Ok(arrange::arrange(registry, draft))
}
