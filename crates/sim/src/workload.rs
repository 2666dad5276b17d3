//! What a part of the system has to bring to be simulated.

use std::error::Error;
use std::sync::Arc;

use creta_keys::{KeyRing, RootKey, ScopeKey};
use creta_model::{Environment, Scope};
use creta_platform::{Fault, Files, Platform, SeededRandom};

/// One part of the system, together with a model of what it has promised.
///
/// It draws what it does from the random source it is given, and nothing else decides: no clock, no hash order.
pub trait Workload: Sized {
    /// What it is called in a failure, and the name of its test.
    const NAME: &'static str;

    /// Whether it goes on in the same process after an error, as long as that has not crashed.
    const OUTLIVES_ERRORS: bool = false;

    /// The kinds of fault it has to live through.
    const FAULTS: &'static [Fault] = &[Fault::Crash, Fault::Full, Fault::Error, Fault::Unflushed];

    /// A model in which nothing was promised yet.
    fn new(random: Arc<SeededRandom>) -> Self;

    /// Opens the part on `files`, as a process does that just started, and compares what it finds with the model. What was
    /// in flight when the last life ended may be there or not, as a whole; from now on the model holds what was found.
    fn open(&mut self, files: &Arc<dyn Files>) -> Outcome;

    /// One drawn operation on the open part. Before calling the part, the model notes what is in flight; after success,
    /// that it is promised. An error ends the life.
    fn step(&mut self) -> Outcome;

    /// Drops what the process holds. The model stays.
    fn close(&mut self);
}

/// What stopped a life.
#[derive(Debug)]
pub enum Trouble {
    /// The part reported an error. That is right if there was a fault, and a failure otherwise.
    Error(Box<dyn Error + Send + Sync>),
    /// The part did not keep a promise.
    Broken(String),
}

/// How an opening or a step went.
pub type Outcome = Result<(), Trouble>;

impl<E: Error + Send + Sync + 'static> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Error(Box::new(error))
    }
}

/// A promise: `Broken` with the words of `otherwise` unless it holds.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Trouble::Broken(otherwise())) }
}

/// The scope all simulated data belongs to.
pub(crate) fn scope() -> Scope {
    Scope::parse("acme", "sim").expect("valid names")
}

/// A key of [`scope`] that is kept off the simulated disk.
pub(crate) fn scope_key(random: &SeededRandom) -> ScopeKey {
    let environment = Environment::parse("sim").expect("a valid name");
    let root = RootKey::generate(&environment, random);
    KeyRing::open(root, environment, Platform::in_memory())
        .and_then(|ring| ring.create_scope(&scope()))
        .expect("files in memory do not fail")
}

/// Drawn bytes of drawn length: mostly short, now and then across the borders of chunks.
pub(crate) fn bytes(random: &SeededRandom) -> Vec<u8> {
    let len = match random.below(40) {
        0 => random.below(150_000),
        1..=5 => 0,
        _ => random.below(300),
    };
    let mut bytes = vec![0; usize::try_from(len).expect("small")];
    creta_platform::Random::fill(random, &mut bytes);
    bytes
}
