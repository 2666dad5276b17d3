//! Small parts that several pages share.

use creta_model::Instant;
use maud::{Markup, html};

use super::words;
use crate::{CommitmentReport, State};

/// Shapes of the states, each another outline, so that none needs its colour to be told apart. Drawn once per page.
pub(super) fn sprite() -> Markup {
    html! {
        svg class="sprite" aria-hidden="true" focusable="false" {
            symbol id="s-met" viewBox="0 0 16 16" {
                circle class="fill" cx="8" cy="8" r="7" {}
                path class="cut" d="M4.7 8.3l2.2 2.2 4.4-4.8" {}
            }
            symbol id="s-failing" viewBox="0 0 16 16" {
                path class="fill" d="M5 .9h6L15.1 5v6L11 15.1H5L.9 11V5z" {}
                path class="cut" d="M5.5 5.5l5 5m0-5l-5 5" {}
            }
            symbol id="s-unknown" viewBox="0 0 16 16" {
                path class="fill" d="M8 .3L15.7 8 8 15.7.3 8z" {}
                path class="cut" d="M6.3 6.3a1.75 1.75 0 1 1 2.7 1.5c-.7.4-1 .7-1 1.3M8 11.5v.05" {}
            }
            symbol id="s-stale" viewBox="0 0 16 16" {
                circle class="ring" cx="8" cy="8" r="6.3" {}
                path class="ring hand" d="M8 4.3V8l2.5 1.7" {}
            }
            symbol id="s-not-started" viewBox="0 0 16 16" { circle class="ring dash" cx="8" cy="8" r="6.3" {} }
        }
    }
}

/// The shape of a state, without its word.
pub(super) fn shape(state: State) -> Markup {
    html! { svg class=(state.as_str()) aria-hidden="true" { use href={ "#s-" (state.as_str()) } {} } }
}

/// A state: shape, word and colour.
pub(super) fn state(state: State) -> Markup {
    html! { span class={ "state " (state.as_str()) } { (shape(state)) (words::state(state)) } }
}

/// An instant to the second.
pub(super) fn time(at: Instant) -> Markup {
    html! { time datetime=(at) { (words::instant(at)) } }
}

/// How many of the `counts` are in each state, as one bar: met first, since that is what the eye looks for.
pub(super) fn bar(counts: &[(State, usize)]) -> Markup {
    let total: usize = counts.iter().map(|(_, count)| count).sum();
    let label: Vec<String> = counts.iter().map(|(state, count)| format!("{} {count}", words::state(*state))).collect();
    let ordered = [State::Met, State::Stale, State::Unknown, State::Failing, State::NotStarted];
    let mut begin = 0;
    let parts = ordered.into_iter().filter_map(|state| {
        let (_, width) = counts.iter().find(|(of, count)| *of == state && *count > 0)?;
        begin += width;
        Some((state, begin - width, width))
    });
    html! {
        svg class="bar" role="img" aria-label=(label.join(", ")) viewBox={ "0 0 " (total.max(1)) " 1" }
            preserveAspectRatio="none" {
            @for (state, x, width) in parts { rect class=(state.as_str()) x=(x) y="0" width=(width) height="1" {} }
        }
    }
}

/// How many of the given states are in each state, most urgent first.
pub(super) fn counts(states: impl Iterator<Item = State> + Clone) -> Vec<(State, usize)> {
    State::ALL.into_iter().map(|wanted| (wanted, states.clone().filter(|state| *state == wanted).count())).collect()
}

/// A commitment as a row of a list. `root` leads to the site's folder.
pub(super) fn row(root: &str, commitment: &CommitmentReport, with_reason: bool) -> Markup {
    html! {
        li {
            (state(commitment.state)) " " span class="id" { (commitment.id) } " "
            div class="what" {
                a href=(address(root, commitment)) { (commitment.title) }
                @if let Some(held) = &commitment.held { " " span class="tag" { (held) } }
                @if with_reason { p { (prose(&commitment.reason)) } }
            }
            " " span class="age" { (age(commitment)) }
        }
    }
}

/// A commitment as one of several on a line.
pub(super) fn chip(root: &str, commitment: &CommitmentReport) -> Markup {
    html! {
        a href=(address(root, commitment)) {
            (shape(commitment.state)) span class="hidden" { (words::state(commitment.state)) } " "
            span class="id" { (commitment.id) } " " span class="say" { (commitment.title) }
        }
    }
}

/// Where on the overview the commitments in a state stand.
pub(super) fn group(state: State) -> &'static str {
    match state {
        State::Failing | State::Unknown | State::Stale => "attention",
        State::NotStarted => "not-started",
        State::Met => "met",
    }
}

/// Text in which names stand in backticks. An odd backtick stays what it is.
pub(super) fn prose(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return html! { (text) };
    }
    html! {
        @for (index, part) in parts.iter().enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// The name of a test, which may be broken between its parts and words.
pub(super) fn breakable(name: &str) -> Markup {
    html! { code { @for part in name.split_inclusive([':', '_', ' ']) { (part) wbr; } } }
}

/// Address of a commitment's page.
pub(super) fn address(root: &str, commitment: &CommitmentReport) -> String {
    format!("{root}commitments/{}/", commitment.id)
}

fn age(commitment: &CommitmentReport) -> String {
    match commitment.evidence_age_s {
        Some(seconds) => format!("{} old", words::age(seconds)),
        None => String::new(),
    }
}
