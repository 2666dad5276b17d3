//! Whether somebody with a clock can tell two things apart (T12). Only tests link it; those of the server include this file.
//!
//! Times on a busy machine have no mean worth comparing: one in a thousand takes a hundred times as long. So ranks are
//! compared: of all pairs of one way's times and another's, the share in which the one is larger (Mann and Whitney's U). Half of
//! them are, if nobody can tell. Ways are tried in random order, so that whatever else the machine does falls on all alike, and
//! they count as told apart only if each of three rounds says so, in the same direction.

use std::time::{Duration, Instant};

/// Times of each way in a round.
const SAMPLES: usize = 2_000;
const ROUNDS: usize = 3;
/// How far from a half the share may be. Samples of one distribution stay within 0.04 (four deviations).
const EFFECT_MAX: f64 = 0.07;
/// Tries before a round that are not counted: what is done for the first time takes longer.
const WARM: usize = 50;

/// Refuses ways that take longer or shorter than the first of them, by name. `act` does one of them by its index and says how
/// long what an attacker can time took, so that it may prepare something first.
pub(crate) fn require_alike(ways: &[&str], act: impl FnMut(usize) -> Duration) {
    require_alike_within(Duration::ZERO, ways, act);
}

/// The same where `margin` more or less is no difference: for a part of a request that takes microseconds, whose clock shows what
/// no answer over a network does.
pub(crate) fn require_alike_within(margin: Duration, ways: &[&str], mut act: impl FnMut(usize) -> Duration) {
    if let Err(told) = compare(ways, margin, &mut act) {
        panic!("{told}");
    }
}

/// How long something takes.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = act();
    (done, began.elapsed())
}

fn compare(ways: &[&str], margin: Duration, act: &mut dyn FnMut(usize) -> Duration) -> Result<(), String> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    // For each way but the first: longer in all rounds so far, shorter in all rounds so far, and what was seen.
    let mut suspects: Vec<(bool, bool, Vec<String>)> = vec![(true, true, Vec::new()); ways.len().saturating_sub(1)];
    for _ in 0..ROUNDS {
        let times = round(ways.len(), &mut random, act);
        for (way, (longer, shorter, seen)) in suspects.iter_mut().enumerate() {
            let (these, first) = (&times[way + 1], &times[0]);
            let shifted = |times: &[Duration]| times.iter().map(|time| *time + margin).collect::<Vec<_>>();
            *longer &= larger(these, &shifted(first)) > 0.5 + EFFECT_MAX;
            *shorter &= larger(&shifted(these), first) < 0.5 - EFFECT_MAX;
            let share = larger(these, first);
            seen.push(format!("{share:.3} (medians {:?} and {:?})", median(these), median(first)));
        }
        if !suspects.iter().any(|(longer, shorter, _)| *longer || *shorter) {
            for ((_, _, seen), way) in suspects.iter().zip(&ways[1..]) {
                eprintln!("`{way}` against `{}`: larger in a share of {}", ways[0], seen.join(", "));
            }
            return Ok(());
        }
    }
    let named = suspects.iter().zip(&ways[1..]).filter(|((longer, shorter, _), _)| *longer || *shorter);
    let told = named.map(|((_, _, seen), way)| {
        format!("`{way}` is told apart from `{}`: larger in a share of {}", ways[0], seen.join(", "))
    });
    Err(told.collect::<Vec<_>>().join("\n"))
}

/// The times of all ways, each block of tries in another order.
fn round(ways: usize, random: &mut u64, act: &mut dyn FnMut(usize) -> Duration) -> Vec<Vec<Duration>> {
    let mut times = vec![Vec::with_capacity(SAMPLES); ways];
    let mut order: Vec<usize> = (0..ways).collect();
    for block in 0..SAMPLES + WARM {
        for last in (1..ways).rev() {
            // Xorshift (Marsaglia 2003): the order has to be no clock's, and the same in each run.
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            order.swap(last, (*random % (last as u64 + 1)) as usize);
        }
        for way in &order {
            let time = act(*way);
            if block >= WARM {
                times[*way].push(time);
            }
        }
    }
    times
}

/// How often a value of `a` is larger than one of `b`, ties by half: 0.5 for two samples of one distribution.
fn larger(a: &[Duration], b: &[Duration]) -> f64 {
    let mut sorted = b.to_vec();
    sorted.sort_unstable();
    let below = |value: &Duration| {
        let (less, at_most) = (sorted.partition_point(|b| b < value), sorted.partition_point(|b| b <= value));
        (less + at_most) as f64 / 2.0
    };
    a.iter().map(below).sum::<f64>() / (a.len() * b.len()) as f64
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

mod tests {
    use super::*;

    /// Times around `micros` that spread by a twentieth, one in fifty ten times as long.
    fn noisy(state: &mut u64, micros: f64) -> Duration {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (*state >> 11) as f64 / (1_u64 << 53) as f64;
        let long = if (*state >> 5).is_multiple_of(50) { 10.0 } else { 1.0 };
        Duration::from_secs_f64(micros * (0.975 + uniform / 20.0) * long / 1e6)
    }

    #[test]
    fn a_shortcut_of_a_twentieth_is_told_and_noise_is_not() {
        let mut state = 7;
        compare(&["one", "other", "third"], Duration::ZERO, &mut |_| noisy(&mut state, 300.0)).expect("alike");
        let told = compare(&["one", "alike", "shorter"], Duration::ZERO, &mut |way| {
            noisy(&mut state, if way == 2 { 285.0 } else { 300.0 })
        });
        let told = told.expect_err("a twentieth less");
        assert!(told.contains("`shorter`") && !told.contains("`alike`"), "{told}");
    }

    #[test]
    fn what_is_within_the_margin_is_alike_and_what_is_not_is_told() {
        let mut state = 7;
        let mut within = |margin: u64| {
            compare(&["one", "shorter"], Duration::from_micros(margin), &mut |way| {
                noisy(&mut state, if way == 1 { 280.0 } else { 300.0 })
            })
        };
        within(40).expect("within it");
        within(10).expect_err("beyond it");
    }

    #[test]
    fn a_bad_moment_in_one_round_tells_nothing() {
        let (mut state, mut tries) = (7, 0);
        compare(&["one", "other"], Duration::ZERO, &mut |way| {
            tries += 1;
            let disturbed = way == 1 && tries < 2 * SAMPLES;
            noisy(&mut state, if disturbed { 600.0 } else { 300.0 })
        })
        .expect("the other rounds say no");
    }
}
