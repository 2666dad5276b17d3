//! The outside world as traits: clock, randomness and files, each with a real and a simulated form.
//!
//! Everything above this crate takes a [`Platform`] and nothing else touches the wall clock, the kernel's random source or
//! the disk. That is what lets one thread simulate crashes, full disks and the passing of months from a seed.
//!
//! | Trait | Real | In memory | Simulated |
//! | --- | --- | --- | --- |
//! | [`Clock`] | [`SystemClock`] | | [`ManualClock`] |
//! | [`Random`] | [`SystemRandom`] | | [`SeededRandom`] |
//! | [`Files`] | [`DiskFiles`] | [`MemoryFiles`] | [`FaultyFiles`] |
//!
//! ```
//! use creta_platform::{FileError, Platform};
//!
//! let platform = Platform::in_memory();
//! platform.files.create("facts/0001", b"sealed bytes")?;
//! assert!(matches!(platform.files.create("facts/0001", b"again"), Err(FileError::Exists { .. })));
//! assert_eq!(platform.files.list("facts/")?, ["facts/0001"]);
//! # Ok::<(), FileError>(())
//! ```

use std::path::Path;
use std::sync::Arc;

mod clock;
#[cfg(test)]
mod contract;
mod disk;
mod faulty;
mod files;
mod memory;
mod random;

pub use clock::{Clock, ManualClock, SystemClock};
pub use disk::DiskFiles;
pub use faulty::{Fault, FaultyFiles};
pub use files::{AppendFile, FileError, Files};
pub use memory::MemoryFiles;
pub use random::{Random, SeededRandom, SystemRandom};

/// What a part of Creta may use of the outside world. Cloning shares the same clock, random source and files.
#[derive(Clone)]
pub struct Platform {
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub random: Arc<dyn Random>,
    /// One tree of files.
    pub files: Arc<dyn Files>,
}

impl Platform {
    /// The system's clock and random source, and the folder `root`, created if it is not there (see [`DiskFiles::open`]).
    pub fn system(root: impl AsRef<Path>) -> Result<Self, FileError> {
        Ok(Self {
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            files: Arc::new(DiskFiles::open(root)?),
        })
    }

    /// The system's clock and random source over files that live and die with the process.
    pub fn in_memory() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            files: Arc::new(MemoryFiles::new()),
        }
    }
}
