//! Tests of the registry: golden cases of what users read, properties of fingerprints and numbers.

mod diff_and_ids;
mod dsl;
mod dsl_expr;
mod fingerprints;
mod golden;
mod lineage;
mod messages;
mod schema;
mod types;
