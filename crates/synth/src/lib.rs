//! Data with the shape of a schema and nobody's values (CH-14, CH-15): for laptops, tests and environments for development.
//!
//! Everything follows from the definitions, the number of rows and a seed: types, bounds, lengths, patterns, members of
//! enumerations, what may be null, unique keys, relations that lead somewhere, event times within a range. No data is ever
//! looked at; there is no argument by which it could come in. The same input gives the same data.
//!
//! ```
//! use creta_registry::Registry;
//! use creta_synth::{Options, synthesise};
//!
//! let bundle = serde_json::from_str(r#"{
//!     "format": "creta.bundle/1", "modules": {}, "lock": { "python": "3.11" },
//!     "graph": { "format": "creta.graph/1", "project": "shop", "entities": [{
//!         "name": "User", "location": { "file": "shop.py", "line": 1 }, "features": [
//!             { "name": "id", "type": { "kind": "int" }, "role": "key", "location": { "file": "shop.py", "line": 2 } },
//!             { "name": "code", "type": { "kind": "str" }, "validation": { "pattern": "[A-Z]{2}-[0-9]{3}" },
//!               "location": { "file": "shop.py", "line": 3 } }
//!         ]
//!     }] }
//! }"#)?;
//! let registry = Registry::apply(None, bundle).expect("valid definitions").registry;
//! let tables = synthesise(&registry, &Options { rows: 3, ..Options::default() })?;
//! assert_eq!((tables[0].rows, tables[0].columns.len()), (3, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Pure: no input or output, no clock.

mod links;
mod patterns;
mod tables;
mod values;

use std::collections::BTreeMap;

use creta_model::{Instant, Location, Name, Type, Value};

pub use tables::synthesise;

/// How much data, of which time, and which of all the data that fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Rows of each entity, unless `of_entity` says otherwise.
    pub rows: u64,
    /// Rows of single entities.
    pub of_entity: BTreeMap<Name, u64>,
    /// The same seed gives the same data.
    pub seed: u64,
    /// Earliest event time.
    pub from: Instant,
    /// Latest event time.
    pub to: Instant,
    /// Share of nulls among values that may be null, 0 to 1.
    pub nulls: f64,
}

impl Default for Options {
    /// 100 rows of the year 2025, seed 1, one null in ten.
    fn default() -> Self {
        let at = |text| Instant::parse(text).expect("the constants are instants");
        Self {
            rows: 100,
            of_entity: BTreeMap::new(),
            seed: 1,
            from: at("2025-01-01T00:00:00Z"),
            to: at("2025-12-31T23:59:59.999999Z"),
            nulls: 0.1,
        }
    }
}

/// Most rows of all entities together.
pub const ROWS_MAX: u64 = 10_000_000;

/// Made-up facts of one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Which.
    pub entity: Name,
    /// How many rows: fewer than asked for where there are not as many keys.
    pub rows: u64,
    /// Key, event time and stored features, in declaration order.
    pub columns: Vec<Column>,
}

/// The values of one feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The feature's name.
    pub name: Name,
    /// Its type.
    pub ty: Type,
    /// One per row.
    pub values: Vec<Value>,
}

/// Why no data can be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SynthError {
    /// Nothing was found that its bounds, length and pattern all permit.
    #[error("no value was found for `{feature}` that its bounds, length and pattern all permit")]
    NoValue {
        /// `Entity.feature`.
        feature: String,
        /// Where it is defined.
        location: Location,
    },
    /// More rows than [`ROWS_MAX`].
    #[error("{rows} rows are more than are made at once, which is {ROWS_MAX}")]
    TooManyRows {
        /// What was asked for.
        rows: u64,
    },
    /// Rows of an entity that is not there.
    #[error("no entity is called `{entity}`")]
    UnknownEntity {
        /// Its name.
        entity: Name,
    },
    /// A time range that ends before it begins, or a share outside of 0 to 1.
    #[error("{0}")]
    Options(&'static str),
}
