//! Every workload over many seeds, and proof that the simulation sees what it is there to see.

use std::sync::Arc;

use creta_platform::{AppendFile, FaultyFiles, FileError, Files};

use crate::{
    FactStores, Failure, KeyRings, SealedFileTrees, SealedLogs, Summary, Workload, fault_everywhere,
    fault_everywhere_over, run, run_over,
};

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{variable}` must be a whole number, not `{text}`")))
}

/// `default` is the share of 500 seeds that this part can afford in an everyday run.
fn over_seeds(default: u64, simulate: impl Fn(u64) -> Result<Summary, Failure>) -> Summary {
    let mut total = Summary::default();
    let seeds = match number_of("CRETA_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_of("CRETA_SIM_SEEDS").map_or(default, |seeds| seeds * default / 500),
    };
    for seed in seeds {
        total += simulate(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
    total
}

fn holds<W: Workload>(seeds: u64) {
    let total = over_seeds(seeds, run::<W>);
    if number_of("CRETA_SIM_SEED").is_none() {
        assert!(total.faults > total.lives / 4, "many lives must meet a fault: {total:?}");
        assert!(total.steps > total.lives * 3, "there must be work to lose: {total:?}");
        assert!(total.power_losses < total.lives, "some lives must follow without a power loss: {total:?}");
    }
}

fn holds_everywhere<W: Workload>(seeds: u64) {
    let total = over_seeds(seeds, fault_everywhere::<W>);
    if number_of("CRETA_SIM_SEED").is_none() {
        assert!(total.faults > seeds * 10, "{total:?}");
    }
}

#[test]
fn sealed_logs() {
    holds::<SealedLogs>(500);
}

#[test]
fn sealed_logs_everywhere() {
    holds_everywhere::<SealedLogs>(20);
}

#[test]
fn sealed_files() {
    holds::<SealedFileTrees>(500);
}

#[test]
fn sealed_files_everywhere() {
    holds_everywhere::<SealedFileTrees>(20);
}

#[test]
fn key_rings() {
    holds::<KeyRings>(500);
}

#[test]
fn key_rings_everywhere() {
    holds_everywhere::<KeyRings>(20);
}

#[test]
fn fact_stores() {
    holds::<FactStores>(500);
}

#[test]
fn fact_stores_everywhere() {
    holds_everywhere::<FactStores>(5);
}

#[test]
fn a_seed_decides_the_course() {
    for seed in 0..5 {
        assert_eq!(run::<SealedLogs>(seed).ok(), run::<SealedLogs>(seed).ok());
        assert_eq!(run::<SealedFileTrees>(seed).ok(), run::<SealedFileTrees>(seed).ok());
        assert_eq!(run::<KeyRings>(seed).ok(), run::<KeyRings>(seed).ok());
        assert_eq!(run::<FactStores>(seed).ok(), run::<FactStores>(seed).ok());
    }
    assert_ne!(run::<SealedLogs>(1).ok(), run::<SealedLogs>(2).ok());
}

/// Ways in which files may lie.
#[derive(Clone, Copy, PartialEq)]
enum Lie {
    /// A sync returns without saving.
    SyncDoesNothing,
    /// An append claims success and leaves its last byte out.
    AppendIsShort,
    /// A replacement deletes first and writes afterwards.
    ReplaceIsTwoSteps,
    /// A deletion claims success and does nothing.
    DeleteDoesNothing,
    /// A conditional create overwrites.
    CreateOverwrites,
}

struct Lying {
    files: FaultyFiles,
    lie: Lie,
}

struct LyingAppend {
    file: Box<dyn AppendFile>,
    lie: Lie,
}

impl Files for Lying {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        if self.lie == Lie::CreateOverwrites { self.files.replace(path, bytes) } else { self.files.create(path, bytes) }
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        if self.lie == Lie::ReplaceIsTwoSteps && self.files.size(path).is_ok() {
            self.files.delete(path)?;
        }
        self.files.replace(path, bytes)
    }
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.files.read(path)
    }
    fn read_range(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>, FileError> {
        self.files.read_range(path, offset, len)
    }
    fn size(&self, path: &str) -> Result<u64, FileError> {
        self.files.size(path)
    }
    fn append(&self, path: &str) -> Result<Box<dyn AppendFile>, FileError> {
        Ok(Box::new(LyingAppend { file: self.files.append(path)?, lie: self.lie }))
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, FileError> {
        self.files.list(prefix)
    }
    fn delete(&self, path: &str) -> Result<(), FileError> {
        if self.lie == Lie::DeleteDoesNothing && self.files.size(path).is_ok() {
            Ok(())
        } else {
            self.files.delete(path)
        }
    }
}

impl AppendFile for LyingAppend {
    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let short = usize::from(self.lie == Lie::AppendIsShort);
        self.file.append(&bytes[..bytes.len().saturating_sub(short)])
    }
    fn sync(&mut self) -> Result<(), FileError> {
        if self.lie == Lie::SyncDoesNothing { Ok(()) } else { self.file.sync() }
    }
    fn truncate(&mut self, len: u64) -> Result<(), FileError> {
        self.file.truncate(len)
    }
    fn len(&self) -> u64 {
        self.file.len()
    }
}

/// The first of a few seeds that shows the lie.
fn seen<W: Workload>(lie: Lie) -> Option<Failure> {
    (0..100).find_map(|seed| run_over::<W>(seed, |files| Arc::new(Lying { files, lie })).err())
}

fn seen_everywhere<W: Workload>(lie: Lie) -> Option<Failure> {
    (0..20).find_map(|seed| fault_everywhere_over::<W>(seed, |files| Arc::new(Lying { files, lie })).err())
}

#[test]
fn files_that_lie_are_found_out() {
    let failure = seen::<SealedLogs>(Lie::SyncDoesNothing).expect("acknowledged records are lost");
    assert!(failure.what.contains("records were acknowledged"), "{failure}");
    assert!(failure.to_string().contains(&format!("CRETA_SIM_SEED={}", failure.seed)), "{failure}");
    let failures = [
        seen_everywhere::<SealedLogs>(Lie::SyncDoesNothing),
        seen::<SealedLogs>(Lie::AppendIsShort),
        seen::<SealedFileTrees>(Lie::ReplaceIsTwoSteps),
        seen_everywhere::<SealedFileTrees>(Lie::ReplaceIsTwoSteps),
        seen::<SealedFileTrees>(Lie::DeleteDoesNothing),
        seen::<SealedFileTrees>(Lie::CreateOverwrites),
        seen::<KeyRings>(Lie::ReplaceIsTwoSteps),
        seen_everywhere::<KeyRings>(Lie::ReplaceIsTwoSteps),
        seen::<KeyRings>(Lie::CreateOverwrites),
        seen::<FactStores>(Lie::SyncDoesNothing),
        seen_everywhere::<FactStores>(Lie::SyncDoesNothing),
        seen::<FactStores>(Lie::AppendIsShort),
        seen::<FactStores>(Lie::ReplaceIsTwoSteps),
    ];
    for (index, failure) in failures.iter().enumerate() {
        assert!(failure.is_some(), "lie {index} was not seen");
    }
}
