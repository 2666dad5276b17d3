//! What a request asks, without its values and instants.

use std::collections::BTreeMap;

use creta_model::{Environment, FeaturePath, Span};

/// The shape of a request: requests of one shape share a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Decides which resolvers are enabled.
    pub environment: Environment,
    /// Features whose values the request brings, each once, in the order of its columns.
    pub given: Vec<FeaturePath>,
    /// Features asked for, in the order of the answer.
    pub outputs: Vec<FeaturePath>,
    /// Limits on the age of stored values, tighter than the features' own (rule S5). Of no effect on what is computed
    /// for the request, whose age is zero.
    pub max_age: BTreeMap<FeaturePath, Span>,
}
