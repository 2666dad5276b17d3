//! What may be told of a tenant's values, to whom, in which form (CH-14, CH-19).
//!
//! Values leave an environment in three ways, and each has its module. A table that a server hands out carries a [`Label`]
//! that says where it is from; the engine inside a Python process refuses what is from production. Staff, who never see
//! values, get a [`Summary`]: counts in groups of a least size, over a [`Partition`] that follows from the schema alone. What
//! a staff interface answers is [`Redacted`], which holds nothing but forms that are [`ForStaff`], so that returning a value
//! there does not compile. And a [`Budget`] bounds how much anybody learns in a day.
//!
//! ```
//! use creta_disclosure::{GroupSize, Partition, Population, Redacted};
//! use creta_model::{Instant, Type, Value};
//!
//! let ages = (0..100).map(|key| (key.to_string(), Value::Int(20 + key % 50)));
//! let population = Population::new(Partition::of(&Type::Int, None), &Type::Int, ages);
//! let at = Instant::parse("2026-03-01T00:00:00Z")?;
//! let summary = population.summary("User.age", at, GroupSize::default())?;
//! assert_eq!(summary.entities().at_least(), 100);
//! let told = serde_json::to_value(Redacted::new(summary))?;
//! assert_eq!(told["bins"][0]["range"], "10 to below 100");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Pure: no input or output, no clock.

mod budget;
mod group;
mod label;
mod partition;
mod population;
mod redacted;

pub use budget::{Budget, Overspent, Spent};
pub use group::{Count, GROUP_MIN, GroupSize, GroupTooSmall};
pub use label::{LABEL_CLASS, LABEL_ENVIRONMENT, Label, LabelRefused};
pub use partition::{Bin, Partition};
pub use population::{BinCount, FormCount, Population, Summary, TooFew};
pub use redacted::{ForStaff, Redacted};
