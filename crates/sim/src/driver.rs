//! Lives, faults and restarts.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use creta_platform::{Fault, FaultyFiles, Files, SeededRandom};

use crate::workload::{Outcome, Trouble, Workload};

const STEPS_MAX: u64 = 30;
const STEPS_OF_SHORT_WORK: u64 = 8;

/// A broken promise, and how to see it again.
#[derive(Debug)]
pub struct Failure {
    /// The workload's name.
    pub workload: &'static str,
    /// The seed that shows it.
    pub seed: u64,
    /// What was promised and what was found.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, seed, what } = self;
        write!(
            f,
            "`{workload}` broke a promise with seed {seed}: {what}\nreplay: CRETA_SIM_SEED={seed} cargo nextest run -p creta-sim {workload}"
        )
    }
}

impl Error for Failure {}

/// What a simulation went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Processes that were started.
    pub lives: u64,
    /// Operations of the workload that were acknowledged.
    pub steps: u64,
    /// Faults that happened.
    pub faults: u64,
    /// Times the power went, with or without a fault before.
    pub power_losses: u64,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.lives += other.lives;
        self.steps += other.steps;
        self.faults += other.faults;
        self.power_losses += other.power_losses;
    }
}

/// Several lives of a workload with drawn faults; the last one has none and must find everything in order.
pub fn run<W: Workload>(seed: u64) -> Result<Summary, Failure> {
    run_over::<W>(seed, |disk| Arc::new(disk))
}

/// Like [`run`], with the disk seen through `wrap`.
pub fn run_over<W: Workload>(seed: u64, wrap: impl Fn(FaultyFiles) -> Arc<dyn Files>) -> Result<Summary, Failure> {
    let mut sim = Simulation::<W, _>::new(seed, wrap);
    for _ in 0..2 + sim.random.below(6) {
        // A process dies far more often than a disk fails.
        let kind = sim.random.below(2 * W::FAULTS.len() as u64);
        let fault = usize::try_from(kind).ok().and_then(|kind| W::FAULTS.get(kind)).copied().unwrap_or(Fault::Crash);
        sim.disk.inject(fault, sim.random.below(30));
        let steps = sim.random.below(STEPS_MAX);
        let opened = sim.live(steps)?;
        // After a sync failed while a part was being opened, its bytes look saved and are not: nobody can tell, on Linux
        // either. Only losing the power shows what is there.
        let doubtful = !opened && fault != Fault::Crash;
        if sim.disk.is_crashed() || doubtful || sim.random.below(2) == 0 {
            sim.lose_power();
        } else {
            sim.disk = sim.disk.reopen();
        }
    }
    sim.finish()
}

/// The same short work once for each of its file operations and each kind of fault, that fault happening there.
pub fn fault_everywhere<W: Workload>(seed: u64) -> Result<Summary, Failure> {
    fault_everywhere_over::<W>(seed, |disk| Arc::new(disk))
}

/// Like [`fault_everywhere`], with the disk seen through `wrap`.
pub fn fault_everywhere_over<W: Workload>(
    seed: u64,
    wrap: impl Fn(FaultyFiles) -> Arc<dyn Files> + Copy,
) -> Result<Summary, Failure> {
    let mut undisturbed = Simulation::<W, _>::new(seed, wrap);
    undisturbed.live(STEPS_OF_SHORT_WORK)?;
    let operations = undisturbed.disk.operations();
    let mut summary = undisturbed.finish()?;
    for fault in W::FAULTS.iter().copied() {
        for at in 0..operations {
            let mut sim = Simulation::<W, _>::new(seed, wrap);
            sim.disk.inject(fault, at);
            sim.live(STEPS_OF_SHORT_WORK)?;
            summary += sim.finish()?;
        }
    }
    Ok(summary)
}

struct Simulation<W, F> {
    seed: u64,
    random: Arc<SeededRandom>,
    disk: FaultyFiles,
    wrap: F,
    workload: W,
    summary: Summary,
}

impl<W: Workload, F: Fn(FaultyFiles) -> Arc<dyn Files>> Simulation<W, F> {
    fn new(seed: u64, wrap: F) -> Self {
        let random = Arc::new(SeededRandom::new(seed));
        let disk = FaultyFiles::new(random.next_u64());
        let workload = W::new(Arc::clone(&random));
        Self { seed, random, disk, wrap, workload, summary: Summary::default() }
    }

    /// One process: opens the part and works until a fault stops it or `steps` are done. Tells whether it was opened.
    fn live(&mut self, steps: u64) -> Result<bool, Failure> {
        self.summary.lives += 1;
        let files = (self.wrap)(self.disk.clone());
        let opening = self.workload.open(&files);
        let opened = opening.is_ok();
        let outcome = opening.and_then(|()| self.work(steps));
        self.workload.close();
        let met = self.disk.fault_met();
        self.summary.faults += u64::from(met);
        match outcome {
            Ok(()) => Ok(opened),
            Err(Trouble::Error(_)) if met => Ok(opened),
            Err(Trouble::Error(error)) => Err(self.failure(format!("an error without a fault: {}", chain(&*error)))),
            Err(Trouble::Broken(what)) => Err(self.failure(what)),
        }
    }

    fn work(&mut self, steps: u64) -> Outcome {
        for _ in 0..steps {
            match self.workload.step() {
                Ok(()) => self.summary.steps += 1,
                Err(Trouble::Error(_)) if W::OUTLIVES_ERRORS && self.disk.fault_met() && !self.disk.is_crashed() => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    fn lose_power(&mut self) {
        self.disk = self.disk.restart();
        self.summary.power_losses += 1;
    }

    /// Without faults everything opens, works, and is there once more after the power went.
    fn finish(mut self) -> Result<Summary, Failure> {
        self.lose_power();
        self.live(5)?;
        self.lose_power();
        self.live(0)?;
        Ok(self.summary)
    }

    fn failure(&self, what: String) -> Failure {
        Failure { workload: W::NAME, seed: self.seed, what }
    }
}

/// An error and its causes, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
