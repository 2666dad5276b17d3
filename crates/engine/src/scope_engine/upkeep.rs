//! What a scope does so that it can go on: stores kept within bounds, online values brought up to the facts, time that does not
//! go back.

use std::sync::{Arc, MutexGuard, PoisonError};

use creta_model::{Instant, Problem, Span};
use creta_store::{FactStore, StoreError};

use super::{ScopeEngine, Writer, catch_up, lock, read_registry, store_problem};
use crate::ingest::CLOCK_SKEW;

/// How far back a clock may have been set between two processes for the scope's time to go on where it was.
const SET_BACK_MAX: Span = Span::hours(1);

pub(super) const NOT_ONLINE_YET: &str = "the facts are stored and not yet visible online, because the online values could not be written; they follow \
     without your help: do not send the load again";

impl ScopeEngine {
    /// Flushes logs that have become long, merges segments that have become many, and makes visible online what could not be
    /// when it was loaded. Meant to be called every few seconds by whoever keeps the scope open; costs nothing when there is
    /// nothing to do, and queries go on meanwhile.
    pub fn maintain(&self) -> Result<(), Problem> {
        let problem = |error: StoreError| store_problem(&error);
        let kept = self.facts.maintain().and_then(|()| self.quarantine.maintain()).and_then(|()| self.online.settle());
        let kept = kept.map_err(problem);
        let writer = lock(&self.writer);
        self.resume(&writer)?;
        let _turn = self.index_turn();
        if let Ok(deployment) = self.deployment()
            && deployment.index.position().map_err(problem)? != self.facts.position()
        {
            catch_up(&self.facts, &deployment.index).map_err(problem)?;
        }
        kept
    }

    /// Makes the stored definitions ready, if there are any.
    pub(super) fn put_in_force_what_is_stored(&self) -> Result<(), Problem> {
        if let Some(document) = self.stored_definitions()? {
            let deployment = self.prepare(read_registry(&document)?, None, None)?;
            *self.deployment.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(deployment));
        }
        Ok(())
    }

    /// Tries again to put definitions in force whose online values could not be made ready.
    pub(super) fn resume(&self, _writer: &MutexGuard<'_, Writer>) -> Result<(), Problem> {
        if lock(&self.stopped).is_some() {
            self.put_in_force_what_is_stored().map_err(|problem| stopped(&problem))?;
            *lock(&self.stopped) = None;
        }
        Ok(())
    }
}

/// The latest arrival that the clock of an earlier process may have stamped and that lies after `now`, because somebody set
/// the clock back meanwhile. An arrival that follows from an event and a declared delay may lie ahead and is none of these.
pub(super) fn last_arrival(facts: &FactStore, now: Instant) -> Result<Instant, StoreError> {
    let stamped = |event: Instant, arrival: Instant| {
        arrival <= now.plus(SET_BACK_MAX)
            && event.micros().abs_diff(arrival.micros()) <= CLOCK_SKEW.micros().unsigned_abs()
    };
    Ok(facts.snapshot().latest_arrival(now, stamped)?.unwrap_or(Instant::MIN))
}

/// What everybody is told while the online values of the definitions that are stored could not be made.
pub(super) fn stopped(cause: &Problem) -> Problem {
    let message =
        "the definitions are stored and not in force, because the online values could not be made ready for them";
    let problem = Problem::new("store/not-ready", message).with_help(
        "free space or mend what stands below; it is tried again every few seconds, at the next load and at the next deploy",
    );
    problem.with_note("because", cause.message.clone(), None)
}

/// Rows from the future that could not be stored, after the others of their load were.
pub(super) fn not_kept_apart(rows: u64, error: &StoreError) -> String {
    let cause = store_problem(error).code;
    format!(
        "{rows} rows from the future could not be kept apart ({cause}) and are not stored; all others are: do not send the load again"
    )
}
