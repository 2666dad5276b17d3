//! The present of a scope: the newest instant about which everything is known.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use creta_model::{Instant, Span};
use creta_platform::Clock;

/// Tells questions their instant and loads their arrival, so that no fact arrives at or before an instant that was answered
/// about without it. Nobody waits for loads that are being written: until they are there, time stands still just before the
/// first of them.
pub(crate) struct Present {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// Of the newest load that is durable.
    last_arrival: Instant,
    /// The newest instant that a question was told.
    told: Instant,
    /// Of the loads that are being written or made visible.
    under_way: BTreeSet<Instant>,
}

/// The arrival of loads that are written together; it is over when this is dropped.
pub(crate) struct Arriving {
    present: Arc<Present>,
    at: Instant,
}

/// An instant that was told this much before the clock's present was told before somebody set the clock back.
const SET_BACK: Span = Span::seconds(1);

pub(crate) fn tick() -> Span {
    Span::from_micros(1).expect("one is not negative")
}

impl Present {
    /// Of a scope whose newest durable load arrived at `last_arrival`.
    pub(crate) fn new(clock: Arc<dyn Clock>, last_arrival: Instant) -> Arc<Self> {
        let state = State { last_arrival, told: Instant::MIN, under_way: BTreeSet::new() };
        Arc::new(Self { clock, state: Mutex::new(state) })
    }

    /// Later than the arrival of every acknowledged load (rule S29).
    pub(crate) fn now(&self) -> Instant {
        let mut state = self.state();
        let now = match state.under_way.first() {
            Some(arrival) => arrival.minus(tick()),
            None => self.clock.now().max(state.last_arrival.plus(tick())),
        };
        state.told = now;
        now
    }

    /// The arrival of loads that are about to be written, later than that of those before them.
    pub(crate) fn arrive(self: &Arc<Self>) -> Arriving {
        let mut state = self.state();
        let last = state.under_way.last().copied().unwrap_or(Instant::MIN).max(state.last_arrival);
        // Two ticks, since one is told meanwhile.
        let mut at = self.clock.now().max(last.plus(tick()).plus(tick()));
        if (at..at.plus(SET_BACK)).contains(&state.told) {
            at = state.told.plus(tick());
        }
        state.under_way.insert(at);
        Arriving { present: Arc::clone(self), at }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arriving {
    /// When the load arrives.
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// The load is durable, and so acknowledged.
    pub(crate) fn is_durable(&self) {
        let mut state = self.present.state();
        state.last_arrival = state.last_arrival.max(self.at);
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.present.state().under_way.remove(&self.at);
    }
}

#[cfg(test)]
mod tests {
    use creta_platform::ManualClock;

    use super::*;

    fn present() -> (Arc<ManualClock>, Arc<Present>) {
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
        let told = present.state().told;
        let state = State { last_arrival: Instant::MIN, told, under_way: BTreeSet::new() };
        let earlier = Arc::new(ManualClock::new(clock.now().minus(Span::hours(1))));
        let early = Arc::new(Present { clock: earlier, state: Mutex::new(state) });
        assert_eq!(early.arrive().at(), early.clock.now());
    }

    #[test]
    fn s29_of_loads_that_overlap_the_present_lies_before_the_first_that_is_not_there() {
        let (clock, present) = present();
        let first = present.arrive();
        clock.advance(Span::seconds(1));
        let second = present.arrive();
        assert!(second.at() > first.at());
        second.is_durable();
        assert!(present.now() < first.at(), "the second is there and the first is not");
        first.is_durable();
        let at = first.at();
        drop(first);
        assert!(present.now() > at && present.now() < second.at());
        let third = present.arrive();
        assert!(third.at() > second.at(), "also when the clock stands still");
        drop(second);
        assert!(present.now() < third.at());
        drop(third);
        clock.advance(Span::seconds(1));
        assert_eq!(present.now(), clock.now());
    }
}
