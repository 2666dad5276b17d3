//! What of tenants' values gets to people, and how much of it (CH-14, CH-19).
//!
//! Staff get statistics, in the only form that their routes can answer with ([`statistics`]). A tenant's own people get
//! values, but outside of development no bulk of them on a machine of theirs: few rows a day ([`rows`]), and training sets
//! into sinks that the tenant named ([`sinks`]). Whatever staff get is metered ([`meter`]).

mod counted;
mod meter;
mod rows;
mod sinks;
mod statistics;

use std::sync::Arc;

use creta_disclosure::{Budget, GroupSize};
use creta_engine::DatasetLimits;
use creta_iam::Principal;
use creta_model::{EnvironmentClass, MemorySize, Problem};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::control_plane::ControlPlane;
use crate::register::Register;

pub(crate) use meter::STAFF_ANSWER_BYTES_MAX;
pub(crate) use rows::no_download;
pub use sinks::SinkConfig;
pub(crate) use sinks::Written;

/// What may be told of feature data to those who do not see it. Each number only makes it less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatisticsConfig {
    /// How many entities a count is about, at least.
    pub group: GroupSize,
    /// Questions of one person in a day.
    pub budget: Budget,
}

impl StatisticsConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        let most = Budget::MOST;
        if self.budget.is_within_most() {
            return Ok(());
        }
        Err(format!(
            "a budget of statistics is at most {} questions a day, {} of them about one feature",
            most.of_day, most.of_feature
        ))
    }
}

/// What a server knows about what it told, and to whom.
pub(crate) struct Disclosures {
    pub(crate) statistics: statistics::Statistics,
    pub(crate) meter: meter::Meter,
    pub(crate) rows: rows::PersonRows,
    pub(crate) sinks: sinks::Sinks,
    /// What the process may take at most while it builds a training set.
    pub(crate) training_memory: Option<MemorySize>,
    /// How much of datasets each tenant keeps.
    pub(crate) datasets: DatasetLimits,
}

impl Disclosures {
    pub(crate) fn open(config: &Config, control: &ControlPlane) -> Result<Self, Problem> {
        let counted = Arc::new(Register::load(control.shared_metadata())?);
        Ok(Self {
            statistics: statistics::Statistics::open(config.statistics, control)?,
            meter: meter::Meter::open(Arc::clone(&counted)),
            rows: rows::PersonRows::open(counted),
            sinks: sinks::Sinks::new(&config.sinks),
            training_memory: config.training_memory,
            datasets: config.datasets.limits(),
        })
    }
}

/// Whether whoever asks is a human whose machine the values would end on, outside of development. Programs run where the
/// tenant put them.
pub(crate) fn ends_on_a_machine(principal: &Principal, class: EnvironmentClass) -> bool {
    principal.person().is_some() && class != EnvironmentClass::Development
}

/// Whether whoever asks runs the environment rather than being of a tenant.
pub(crate) fn is_staff(principal: &Principal) -> bool {
    match principal {
        Principal::Administrator { .. } => true,
        Principal::Person(person) => person.is_staff(),
        Principal::ServiceAccount { .. } => false,
    }
}

/// Days since 1970-01-01, UTC.
pub(crate) fn day_of(now: creta_model::Instant) -> i64 {
    now.micros().div_euclid(DAY)
}

pub(crate) const DAY: i64 = 86_400_000_000;
