//! The truth path under faults: random work on a disk that crashes, fills up and fails, checked against a model.
//!
//! A [`Workload`] is one part of the system with a model of what it has promised. The driver lets it live on a
//! [`FaultyFiles`](creta_platform::FaultyFiles), injects a fault, takes the process or the power away, starts it again and
//! lets the workload compare what is there with what was acknowledged: acknowledged work is there, other work wholly or
//! not at all.
//!
//! - [`run`] draws everything from a seed: work, faults and restarts.
//! - [`fault_everywhere`] runs the same short work once for each file operation and kind of fault.
//!
//! The same seed gives the same course, so a [`Failure`] can be replayed. In the tests of this crate `CRETA_SIM_SEEDS`
//! sets the number of seeds (500 without it; slow parts take a share of it) and `CRETA_SIM_SEED` replays one.
//!
//! ```
//! let summary = creta_sim::run::<creta_sim::SealedLogs>(4711)?;
//! assert!(summary.lives > 2);
//! # Ok::<(), creta_sim::Failure>(())
//! ```
//!
//! A new part joins by implementing [`Workload`] and adding a line to the tests in `tests.rs`.

mod driver;
mod fact_stores;
mod key_rings;
mod sealed_files;
mod sealed_logs;
#[cfg(test)]
mod tests;
mod workload;

pub use driver::{Failure, Summary, fault_everywhere, fault_everywhere_over, run, run_over};
pub use fact_stores::FactStores;
pub use key_rings::KeyRings;
pub use sealed_files::SealedFileTrees;
pub use sealed_logs::SealedLogs;
pub use workload::{Outcome, Trouble, Workload, ensure};
