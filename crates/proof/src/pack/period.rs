//! States over a period. The server computes them too, in another way; a pack whose server disagrees does not verify.

use std::collections::BTreeMap;

use serde::Serialize;

use super::PackRequest;
use super::run::{Outcome, Run};
use crate::Time;

/// What is known at an instant. The least of several counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeriodState {
    /// A check found something wrong.
    Failing,
    /// A check could not look.
    Unknown,
    /// The last pass is too old.
    Stale,
    /// It has not run yet.
    NotStarted,
    /// It holds, by evidence in date.
    Met,
}

/// A stretch of time in one state: from `from`, up to but not including `until`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// First instant.
    pub from: Time,
    /// First instant that is no longer part of it.
    pub until: Time,
    /// The state.
    pub state: PeriodState,
}

/// How the period went for one check or one commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// The check or the commitment.
    pub id: String,
    /// How many runs looked within the period.
    pub runs: u64,
    /// How many of them found something wrong.
    pub failed: u64,
    /// How many of them could not look, or have lost their evidence.
    pub unknown: u64,
    /// How much of the period was met, in parts of a million.
    pub met_ppm: u64,
    /// How often it began to fail.
    pub failures: u64,
    /// How often nobody looked for too long, or a check could not look.
    pub gaps: u64,
    /// The states, in order, without gaps, neighbours differing.
    pub intervals: Vec<Stretch>,
}

/// How the period went for a commitment, and for each check that watches it, with the freshness it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ControlPeriod {
    /// The least state of its checks at every instant.
    pub whole: Timeline,
    /// Each check on its own.
    pub checks: Vec<Timeline>,
}

/// The runs of one check: instants in order, and outcomes.
pub(super) type Known = Vec<(i64, Outcome)>;

/// Of runs in order of their instants.
pub(super) fn known(runs: &[&Run]) -> Known {
    runs.iter().map(|run| (run.observed_at.micros(), run.outcome)).collect()
}

/// How the period went for every commitment.
pub(super) fn controls(request: &PackRequest, known: &BTreeMap<&str, Known>) -> Vec<ControlPeriod> {
    let of_control = |control: &super::PackControl| {
        let fresh = i128::from(control.freshness_us);
        let own: Vec<&Known> = control.checks.iter().map(|check| &known[check.as_str()]).collect();
        let checks = control.checks.iter().zip(&own).map(|(check, runs)| timeline(request, check, fresh, &[runs]));
        ControlPeriod { checks: checks.collect(), whole: timeline(request, &control.id, fresh, &own) }
    };
    request.controls.iter().map(of_control).collect()
}

/// The state of a check at an instant: a pass is good for its freshness, both ends included; a failure stays one until a
/// later run says otherwise.
fn state_at(runs: &Known, fresh: i128, at: i64) -> PeriodState {
    let later = runs.partition_point(|(time, _)| *time <= at);
    match later.checked_sub(1).map(|last| runs[last]) {
        None => PeriodState::NotStarted,
        Some((_, Outcome::Fail)) => PeriodState::Failing,
        Some((_, Outcome::Unknown)) => PeriodState::Unknown,
        Some((time, Outcome::Pass)) if i128::from(at) <= i128::from(time) + fresh => PeriodState::Met,
        Some((_, Outcome::Pass)) => PeriodState::Stale,
    }
}

fn timeline(request: &PackRequest, id: &str, fresh: i128, checks: &[&Known]) -> Timeline {
    let (from, until) = (request.from.micros(), request.until.micros());
    let runs = || checks.iter().flat_map(|runs| runs.iter());
    // Where the state can change: at a run, and where its freshness ends.
    let stale_from = |time: i64| i64::try_from(i128::from(time) + fresh + 1).unwrap_or(i64::MAX);
    let inner = runs().flat_map(|(time, _)| [*time, stale_from(*time)]).filter(|edge| (from..until).contains(edge));
    let mut edges: Vec<i64> = inner.chain([from, until]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut intervals: Vec<Stretch> = Vec::new();
    for pair in edges.windows(2) {
        let states = checks.iter().map(|runs| state_at(runs, fresh, pair[0]));
        let state = states.min().unwrap_or(PeriodState::NotStarted);
        let time = |micros| Time::from_micros(micros).expect("between two times");
        match intervals.last_mut() {
            Some(last) if last.state == state => last.until = time(pair[1]),
            _ => intervals.push(Stretch { from: time(pair[0]), until: time(pair[1]), state }),
        }
    }
    let met = intervals.iter().filter(|stretch| stretch.state == PeriodState::Met);
    let met: i128 = met.map(|stretch| i128::from(stretch.until.micros()) - i128::from(stretch.from.micros())).sum();
    let whole = i128::from(until) - i128::from(from);
    let count =
        |wanted: &[PeriodState]| intervals.iter().filter(|stretch| wanted.contains(&stretch.state)).count() as u64;
    let within = || runs().filter(|(time, _)| (from..until).contains(time));
    let ended = |wanted| within().filter(|(_, outcome)| *outcome == wanted).count() as u64;
    Timeline {
        id: id.to_owned(),
        runs: within().count() as u64,
        failed: ended(Outcome::Fail),
        unknown: ended(Outcome::Unknown),
        met_ppm: u64::try_from(met * 1_000_000 / whole).expect("a part of a whole, and the period is not empty"),
        failures: count(&[PeriodState::Failing]),
        gaps: count(&[PeriodState::Stale, PeriodState::Unknown]),
        intervals,
    }
}

/// What the pack alone cannot show.
pub(super) fn only_log_shows(request: &PackRequest, known: &BTreeMap<&str, Known>, lost: &[u64]) -> Vec<String> {
    let of_lost = |index: &u64| format!("that nothing ran just before the run at {index}, whose evidence is lost");
    let mut open: Vec<String> = lost.iter().map(of_lost).collect();
    for (check, runs) in known {
        match runs.last() {
            None => open.push(format!("that `{check}` never ran")),
            Some((last, _)) if *last < request.until.micros() => {
                let at = Time::from_micros(*last).expect("the time of a run");
                open.push(format!("that `{check}` did not run after {at}"));
            }
            Some(_) => {}
        }
    }
    open
}

/// What the operator claims.
pub(super) fn unprovable() -> Vec<String> {
    [
        "that a pass counts for as long as the pack says: compare the freshness with what was promised",
        "that these checks are all that watch the commitments: compare them with the published registry",
    ]
    .map(str::to_owned)
    .into()
}
