//! A commitment's states over the last 90 days: as a picture with one column a day, and as the same in words.

use creta_model::Instant;
use maud::{Markup, html};

use super::{parts, words};
use crate::{HISTORY, Interval, PeriodSummary, State};

/// One column per day.
const COLUMNS: usize = 90;

/// Most stretches that a page lists; the numbers above them speak of all.
const LISTED_MAX: usize = 12;

pub(super) fn history(history: &PeriodSummary) -> Markup {
    let Some((first, last)) = history.intervals.first().zip(history.intervals.last()) else {
        return html! { p { "There is no history yet." } };
    };
    let met = format!("Met for {} of the last {}", words::percent(history.met_ppm), words::span(HISTORY));
    let failures = words::counted(history.failures, "time", "times");
    let gaps = words::counted(history.gaps, "stretch", "stretches");
    html! {
        figure {
            svg class="days" role="img" aria-label=(met) viewBox={ "0 0 " (COLUMNS) " 10" } preserveAspectRatio="none" {
                @for (state, x, width) in columns(&history.intervals) {
                    rect class=(state.as_str()) x=(x) y=(10 - height(state)) width=(width) height=(height(state)) {}
                }
            }
            div class="axis" aria-hidden="true" {
                span { (&words::instant(first.from)[..10]) } span { (&words::instant(last.until)[..10]) }
            }
        }
        p {
            (met) ". It began to fail " (failures) ", and " (gaps) " had no answer in time. A day shows its worst \
                state. Times are UTC."
        }
        ul class="spans" {
            @for span in history.intervals.iter().rev().take(LISTED_MAX) {
                li { (parts::state(span.state)) " " span { (minute(span.from)) " to " (minute(span.until)) } }
            }
        }
        @if history.intervals.len() > LISTED_MAX {
            p class="small quiet" {
                (words::number((history.intervals.len() - LISTED_MAX) as u64)) " earlier stretches are not listed here."
            }
        }
    }
}

/// An instant to the minute, since a stretch is read beside others.
fn minute(at: Instant) -> Markup {
    html! { time datetime=(at) { (&words::instant(at)[..16]) } }
}

/// Height of a state's column: no two states differ in colour alone.
fn height(state: State) -> u8 {
    match state {
        State::Failing => 10,
        State::Met => 8,
        State::Stale => 5,
        State::Unknown => 3,
        State::NotStarted => 1,
    }
}

/// The worst state of each column; neighbours in the same state are one. Time O(intervals + columns).
fn columns(intervals: &[Interval]) -> Vec<(State, usize, usize)> {
    let (Some(first), Some(last)) = (intervals.first(), intervals.last()) else { return Vec::new() };
    let (from, length) = (i128::from(first.from.micros()), i128::from(last.until.micros() - first.from.micros()));
    if length <= 0 {
        return Vec::new();
    }
    let column = |micros: i64| (i128::from(micros) - from) * COLUMNS as i128 / length;
    let mut worst: [Option<State>; COLUMNS] = [None; COLUMNS];
    for span in intervals.iter().filter(|span| span.from < span.until) {
        let (begin, end) = (column(span.from.micros()), column(span.until.micros() - 1));
        for cell in &mut worst[usize::try_from(begin).expect("within")..=usize::try_from(end).expect("within")] {
            *cell = Some(cell.map_or(span.state, |state| state.min(span.state)));
        }
    }
    let mut merged: Vec<(State, usize, usize)> = Vec::new();
    for (x, state) in worst.into_iter().enumerate().filter_map(|(x, state)| Some((x, state?))) {
        match merged.last_mut() {
            Some((of, _, width)) if *of == state => *width += 1,
            _ => merged.push((state, x, 1)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use creta_model::Span;

    use super::*;

    fn spans(ends: &[(u32, State)]) -> Vec<Interval> {
        let start = Instant::parse("2026-01-01T00:00:00Z").expect("valid");
        let mut from = start;
        let mut spans = Vec::new();
        for (hours, state) in ends {
            let until = start.plus(Span::hours(*hours));
            spans.push(Interval { from, until, state: *state });
            from = until;
        }
        spans
    }

    #[test]
    fn a_day_shows_its_worst_state() {
        let history = spans(&[(30, State::Met), (31, State::Failing), (48, State::Met), (90 * 24, State::Met)]);
        assert_eq!(columns(&history), [(State::Met, 0, 1), (State::Failing, 1, 1), (State::Met, 2, 88)]);
    }

    #[test]
    fn a_stretch_that_ends_at_midnight_leaves_the_next_day_alone() {
        let history = spans(&[(24, State::Failing), (90 * 24, State::Met)]);
        assert_eq!(columns(&history), [(State::Failing, 0, 1), (State::Met, 1, 89)]);
    }

    #[test]
    fn the_picture_is_also_told_in_words() {
        let told =
            history(&PeriodSummary::of(spans(&[(24, State::Failing), (48, State::Stale), (90 * 24, State::Met)])));
        let told = told.into_string();
        assert!(told.contains("Met for 97.7 % of the last 90 days. It began to fail 1 time, and 1 stretch"), "{told}");
        assert!(told.contains(">2026-01-01 00:00</time> to "), "{told}");
    }
}
