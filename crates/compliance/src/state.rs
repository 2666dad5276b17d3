//! States: what evidence says about a promise, at an instant and over a period.

use creta_model::{Instant, Span};
use serde::{Deserialize, Serialize};

use crate::Outcome;

/// What is known about a commitment. Never met by default, and `unknown` is never shown as met.
///
/// The order is that of urgency: of several checks the least state is the commitment's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Evidence shows that it does not hold.
    Failing,
    /// A check could not look.
    Unknown,
    /// It held when last looked at, too long ago.
    Stale,
    /// Nothing watches it yet.
    NotStarted,
    /// It holds, by evidence in date.
    Met,
}

impl State {
    /// All, most urgent first.
    pub const ALL: [State; 5] = [Self::Failing, Self::Unknown, Self::Stale, Self::NotStarted, Self::Met];

    /// `met`, `failing`, `stale`, `unknown` or `not-started`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Unknown => "unknown",
            Self::Stale => "stale",
            Self::NotStarted => "not-started",
            Self::Met => "met",
        }
    }
}

/// One run of a check, as far as states need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// When it looked.
    pub at: Instant,
    /// How it ended.
    pub outcome: Outcome,
}

/// A stretch of time in one state: from `from`, up to but not including `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// First instant.
    pub from: Instant,
    /// First instant that is no longer part of it.
    pub until: Instant,
    /// The state.
    pub state: State,
}

/// State of one check at `now`, by its latest run at or before it. A pass is good for `freshness`, both ends included; a
/// failure stays one until a later run says otherwise.
pub fn state_at(seen: &[Seen], freshness: Span, now: Instant) -> State {
    let later = seen.partition_point(|run| run.at <= now);
    match later.checked_sub(1).map(|index| seen[index]) {
        None => State::NotStarted,
        Some(Seen { outcome: Outcome::Fail, .. }) => State::Failing,
        Some(Seen { outcome: Outcome::Unknown, .. }) => State::Unknown,
        Some(Seen { outcome: Outcome::Pass, at }) if now <= at.plus(freshness) => State::Met,
        Some(_) => State::Stale,
    }
}

/// States of one check over `from..until`, in order, without gaps, neighbours differing. `seen` is in the order of its
/// instants. Empty when the period is. Time O(runs in the period + log runs).
pub fn over_period(seen: &[Seen], freshness: Span, from: Instant, until: Instant) -> Vec<Interval> {
    let mut intervals = Vec::new();
    let mut push = |start: Instant, end: Instant, state| {
        let (start, end) = (start.max(from), end.min(until));
        if start < end {
            extend(&mut intervals, Interval { from: start, until: end, state });
        }
    };
    let first = seen.partition_point(|run| run.at <= from).saturating_sub(1);
    let begin = seen.get(first).map_or(until, |run| run.at);
    push(from, begin, State::NotStarted);
    for (index, run) in seen.iter().enumerate().skip(first).take_while(|(_, run)| run.at < until) {
        let next = seen.get(index + 1).map_or(until, |run| run.at);
        match run.outcome {
            Outcome::Fail => push(run.at, next, State::Failing),
            Outcome::Unknown => push(run.at, next, State::Unknown),
            Outcome::Pass => {
                let fresh_until = run.at.plus(freshness).plus(microsecond()); // The last instant of freshness counts.
                push(run.at, next.min(fresh_until), State::Met);
                push(fresh_until, next, State::Stale);
            }
        }
    }
    intervals
}

/// The least state at every instant of timelines that cover the same period.
pub fn least(timelines: &[Vec<Interval>]) -> Vec<Interval> {
    let mut edges: Vec<Instant> = timelines.iter().flatten().flat_map(|span| [span.from, span.until]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut cursors = vec![0; timelines.len()];
    let mut joined = Vec::new();
    for pair in edges.windows(2) {
        let mut state = None;
        for (timeline, cursor) in timelines.iter().zip(&mut cursors) {
            while timeline.get(*cursor).is_some_and(|span| span.until <= pair[0]) {
                *cursor += 1;
            }
            if let Some(span) = timeline.get(*cursor).filter(|span| span.from <= pair[0]) {
                state = Some(state.map_or(span.state, |least: State| least.min(span.state)));
            }
        }
        if let Some(state) = state {
            extend(&mut joined, Interval { from: pair[0], until: pair[1], state });
        }
    }
    joined
}

/// What an auditor reads of a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodSummary {
    /// The states, in order.
    pub intervals: Vec<Interval>,
    /// How much of the period was met, in parts of a million.
    pub met_ppm: u64,
    /// How often it began to fail.
    pub failures: u64,
    /// How often nobody looked for too long, or a check could not look.
    pub gaps: u64,
}

impl PeriodSummary {
    /// Of a timeline.
    pub fn of(intervals: Vec<Interval>) -> Self {
        let length = |spans: &mut dyn Iterator<Item = &Interval>| -> i128 {
            spans.map(|span| i128::from(span.until.micros()) - i128::from(span.from.micros())).sum()
        };
        let whole = length(&mut intervals.iter());
        let met = length(&mut intervals.iter().filter(|span| span.state == State::Met));
        let count = |wanted: &[State]| intervals.iter().filter(|span| wanted.contains(&span.state)).count() as u64;
        Self {
            met_ppm: if whole == 0 { 0 } else { u64::try_from(met * 1_000_000 / whole).expect("a part of a whole") },
            failures: count(&[State::Failing]),
            gaps: count(&[State::Stale, State::Unknown]),
            intervals,
        }
    }
}

fn microsecond() -> Span {
    Span::from_micros(1).expect("one is not negative")
}

fn extend(intervals: &mut Vec<Interval>, next: Interval) {
    match intervals.last_mut() {
        Some(last) if last.state == next.state && last.until == next.from => last.until = next.until,
        _ => intervals.push(next),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> Instant {
        Instant::from_micros(micros).expect("in range")
    }

    fn seen(runs: &[(i64, Outcome)]) -> Vec<Seen> {
        runs.iter().map(|(micros, outcome)| Seen { at: at(*micros), outcome: *outcome }).collect()
    }

    #[test]
    fn a_pass_is_good_up_to_and_including_its_last_instant() {
        let runs = seen(&[(10, Outcome::Pass)]);
        let fresh = Span::from_micros(5).expect("valid");
        let states: Vec<State> = [9, 10, 15, 16].map(|t| state_at(&runs, fresh, at(t))).to_vec();
        assert_eq!(states, [State::NotStarted, State::Met, State::Met, State::Stale]);
    }

    #[test]
    fn a_failure_does_not_go_stale() {
        let runs = seen(&[(10, Outcome::Fail)]);
        assert_eq!(state_at(&runs, Span::from_micros(5).expect("valid"), at(10_000)), State::Failing);
    }

    #[test]
    fn the_least_state_wins() {
        assert_eq!(State::ALL.iter().min(), Some(&State::Failing));
        assert!(State::Unknown < State::Stale && State::Stale < State::NotStarted && State::NotStarted < State::Met);
    }

    #[test]
    fn a_period_is_summed_up() {
        let runs = seen(&[(0, Outcome::Pass), (10, Outcome::Fail), (12, Outcome::Pass)]);
        let intervals = over_period(&runs, Span::from_micros(7).expect("valid"), at(0), at(20));
        let states: Vec<(i64, State)> = intervals.iter().map(|span| (span.until.micros(), span.state)).collect();
        assert_eq!(states, [(8, State::Met), (10, State::Stale), (12, State::Failing), (20, State::Met)]);
        let summary = PeriodSummary::of(intervals);
        assert_eq!((summary.met_ppm, summary.failures, summary.gaps), (800_000, 1, 1));
    }

    fn runs() -> impl Strategy<Value = Vec<Seen>> {
        let outcome = prop_oneof![Just(Outcome::Pass), Just(Outcome::Fail), Just(Outcome::Unknown)];
        proptest::collection::btree_map(0..40_i64, outcome, 0..8)
            .prop_map(|runs| runs.into_iter().map(|(micros, outcome)| Seen { at: at(micros), outcome }).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn every_instant_of_a_period_has_the_state_it_had_then(
            runs in runs(), fresh in 1..12_i64, from in 0..40_i64, length in 0..40_i64,
        ) {
            let fresh = Span::from_micros(fresh).expect("valid");
            let intervals = over_period(&runs, fresh, at(from), at(from + length));
            for micros in from..from + length {
                let holding: Vec<_> =
                    intervals.iter().filter(|span| span.from <= at(micros) && at(micros) < span.until).collect();
                prop_assert_eq!(holding.len(), 1, "one state at {}", micros);
                prop_assert_eq!(holding[0].state, state_at(&runs, fresh, at(micros)), "at {}", micros);
            }
            for pair in intervals.windows(2) {
                prop_assert_eq!(pair[0].until, pair[1].from);
                prop_assert_ne!(pair[0].state, pair[1].state);
            }
        }

        #[test]
        fn of_several_checks_the_least_state_counts_at_every_instant(
            checks in proptest::collection::vec(runs(), 1..4), fresh in 1..12_i64, from in 0..40_i64, length in 1..40_i64,
        ) {
            let fresh = Span::from_micros(fresh).expect("valid");
            let timelines: Vec<_> =
                checks.iter().map(|runs| over_period(runs, fresh, at(from), at(from + length))).collect();
            let joined = least(&timelines);
            for micros in from..from + length {
                let expected = checks.iter().map(|runs| state_at(runs, fresh, at(micros))).min();
                let found = joined.iter().find(|span| span.from <= at(micros) && at(micros) < span.until);
                prop_assert_eq!(found.map(|span| span.state), expected, "at {}", micros);
            }
        }
    }
}
