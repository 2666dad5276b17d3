//! Time, real and by hand.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use creta_model::{Instant, Span};

/// Tells the time. The engine never asks it: `as_of` is data (rule S1).
pub trait Clock: Send + Sync {
    /// The current instant. Never earlier than a value that the same clock returned before.
    fn now(&self) -> Instant;

    /// Time since an arbitrary start, for measuring and for deadlines. Not affected when the wall clock is set.
    fn monotonic(&self) -> Duration;
}

/// The system's wall clock, which does not go backwards within a process, and its monotonic clock.
pub struct SystemClock {
    start: std::time::Instant,
    latest_micros: AtomicI64,
}

impl SystemClock {
    /// A clock whose monotonic time starts at zero now.
    pub fn new() -> Self {
        Self { start: std::time::Instant::now(), latest_micros: AtomicI64::new(i64::MIN) }
    }

    /// When the wall clock is set back, the latest instant is repeated until real time has caught up.
    fn not_before_latest(&self, micros: i64) -> i64 {
        micros.max(self.latest_micros.fetch_max(micros, Ordering::AcqRel))
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        let micros = micros.clamp(Instant::MIN.micros(), Instant::MAX.micros());
        Instant::from_micros(self.not_before_latest(micros)).expect("the value was clamped to the range of instants")
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is advanced.
pub struct ManualClock {
    start: Instant,
    now_micros: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `at`.
    pub fn new(at: Instant) -> Self {
        Self { start: at, now_micros: AtomicI64::new(at.micros()) }
    }

    /// Moves both times forward by `span`, staying inside the representable range.
    pub fn advance(&self, span: Span) {
        let moved = |now: i64| Instant::from_micros(now).ok().map(|now| now.plus(span).micros());
        self.now_micros
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, moved)
            .expect("a manual clock holds a representable instant");
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_micros(self.now_micros.load(Ordering::Acquire))
            .expect("a manual clock holds a representable instant")
    }

    fn monotonic(&self) -> Duration {
        let micros = self.now_micros.load(Ordering::Acquire) - self.start.micros();
        Duration::from_micros(u64::try_from(micros).expect("a manual clock only moves forward"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_a_wall_clock_that_is_set_back_repeats_its_latest_instant() {
        let clock = SystemClock::new();
        assert_eq!(clock.not_before_latest(1_000), 1_000);
        assert_eq!(clock.not_before_latest(400), 1_000);
        assert_eq!(clock.not_before_latest(1_001), 1_001);
    }

    #[test]
    fn the_system_clock_shows_the_present() {
        let clock = SystemClock::new();
        let (first, second) = (clock.now(), clock.now());
        assert!(first <= second);
        assert!(first > Instant::parse("2025-01-01T00:00:00Z").expect("valid"));
        assert!(clock.monotonic() <= clock.monotonic());
    }

    #[test]
    fn a_manual_clock_moves_only_when_advanced() {
        let start = Instant::parse("2025-03-01T12:00:00Z").expect("valid");
        let clock = ManualClock::new(start);
        assert_eq!(clock.now(), start);
        clock.advance(Span::hours(2));
        assert_eq!(clock.now(), start.plus(Span::hours(2)));
        assert_eq!(clock.monotonic(), Duration::from_secs(7_200));
        clock.advance(Span::from_micros(i64::MAX).expect("not negative"));
        assert_eq!(clock.now(), Instant::MAX);
    }
}
