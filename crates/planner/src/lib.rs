//! Turns a request and a registry snapshot into a plan.
mod plan;
pub use plan::*;
