//! The present of a scope: the newest instant about which everything is known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use creta_model::{Instant, Span};
use creta_platform::Clock;

/// Tells questions their instant and loads their arrival, so that no fact arrives at or before an instant that was answered
/// about without it. Nobody waits for a load that is being written: until it is there, time stands still just before it.
pub(crate) struct Present {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// Of the newest load that is durable.
    last_arrival: Instant,
    /// The newest instant that a question was told.
    told: Instant,
    /// Of the load that is being written.
    under_way: Option<Instant>,
}

/// The arrival of a load that is being written; it is over when this is dropped.
pub(crate) struct Arriving<'a> {
    present: &'a Present,
    at: Instant,
}

/// An instant that was told this much before the clock's present was told before somebody set the clock back.
const SET_BACK: Span = Span::seconds(1);

pub(crate) fn tick() -> Span {
    Span::from_micros(1).expect("one is not negative")
}

impl Present {
    /// Of a scope whose newest durable load arrived at `last_arrival`.
    pub(crate) fn new(clock: Arc<dyn Clock>, last_arrival: Instant) -> Self {
        let state = State { last_arrival, told: Instant::MIN, under_way: None };
        Self { clock, state: Mutex::new(state) }
    }

    /// Later than the arrival of every acknowledged load (rule S29).
    pub(crate) fn now(&self) -> Instant {
        let mut state = self.state();
        let now = match state.under_way {
            Some(arrival) => arrival.minus(tick()),
            None => self.clock.now().max(state.last_arrival.plus(tick())),
        };
        state.told = now;
        now
    }

    /// The arrival of a load that is about to be written; loads are written one after another.
    pub(crate) fn arrive(&self) -> Arriving<'_> {
        let mut state = self.state();
        // Two ticks, since one is told meanwhile.
        let mut at = self.clock.now().max(state.last_arrival.plus(tick()).plus(tick()));
        if (at..at.plus(SET_BACK)).contains(&state.told) {
            at = state.told.plus(tick());
        }
        debug_assert!(state.under_way.is_none(), "loads are written one after another");
        state.under_way = Some(at);
        Arriving { present: self, at }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arriving<'_> {
    /// When the load arrives.
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// The load is durable, and so acknowledged.
    pub(crate) fn is_durable(&self) {
        self.present.state().last_arrival = self.at;
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        self.present.state().under_way = None;
    }
}

#[cfg(test)]
mod tests {
    use creta_platform::ManualClock;

    use super::*;

    fn present() -> (Arc<ManualClock>, Present) {
        let clock = Arc::new(ManualClock::new(Instant::parse("2026-03-01T12:00:00Z").expect("valid")));
        (Arc::clone(&clock), Present::new(clock, Instant::MIN))
    }

    #[test]
    fn s29_what_is_acknowledged_lies_before_the_present() {
        let (clock, present) = present();
        for _ in 0..3 {
            let load = present.arrive();
            load.is_durable();
            let at = load.at();
            drop(load);
            assert!(present.now() > at, "also when the clock stands still");
        }
        clock.advance(Span::seconds(5));
        assert_eq!(present.now(), clock.now());
    }

    #[test]
    fn s1_a_load_arrives_after_every_instant_that_was_told_before_or_meanwhile() {
        let (clock, present) = present();
        let before = present.now();
        let load = present.arrive();
        assert!(load.at() > before, "nothing is answered as of an instant at which facts still arrive");
        clock.advance(Span::hours(1));
        assert!(present.now() < load.at(), "time stands still until the load is there");
        load.is_durable();
        assert!(present.now() < load.at(), "also when it is durable and not yet online");
        drop(load);
        assert_eq!(present.now(), clock.now());
    }

    #[test]
    fn a_load_that_failed_holds_nothing_up() {
        let (clock, present) = present();
        drop(present.arrive());
        clock.advance(Span::seconds(1));
        assert_eq!(present.now(), clock.now());
    }

    #[test]
    fn loads_do_not_arrive_in_the_future_for_long_after_the_clock_was_set_back() {
        let (clock, present) = present();
        clock.advance(Span::hours(1));
        present.now();
        let early = Present { clock: Arc::new(ManualClock::new(clock.now().minus(Span::hours(1)))), ..present };
        assert_eq!(early.arrive().at(), early.clock.now());
    }
}
