//! The first page: how many promises are met, what is wrong, and all of them by state.

use maud::{Markup, html};

use super::layout::Frame;
use super::{View, document, folder, parts, pillar, words};
use crate::{CommitmentReport, State};

pub(super) fn page(view: &View<'_>) -> Markup {
    let report = view.report;
    let frame = Frame::of(view, "", "");
    let content = html! {
        (hero(view))
        (attention(view))
        section {
            h2 { "Two public documents, promise by promise" }
            p class="quiet prose" { "Others have said what a company that holds customers' data owes them. This is each of their promises, in their order, in our words, with its state here." }
            div class="cards" {
                @for of in view.registry.documents() {
                    @let states: Vec<State> = of.lines().map(|line| document::state(report, &line.id)).collect();
                    @let counts = parts::counts(states.iter().copied());
                    div class="card" {
                        h3 { a href={ (folder(&of.id)) "/" } { (of.title) } }
                        (parts::bar(&counts))
                        p class="small quiet pair" {
                            span { "met " (counted(&counts, State::Met)) " of " (states.len()) " promises" }
                            @if let Some(date) = &of.date { span { "dated " (date) } }
                        }
                    }
                }
            }
        }
        section {
            h2 { "Three pillars" }
            div class="cards" {
                @for own in &report.pillars {
                    div class="card" {
                        h3 { a href={ "pillars/#" (own.pillar.as_str()) } { (words::pillar(own.pillar)) } }
                        p class="small quiet" { (words::pillar_meaning(own.pillar)) }
                        (parts::bar(&parts::counts(of_pillar(view, own.pillar).map(|commitment| commitment.state))))
                        p class="small quiet pair" { span { "met " (own.met) " of " (own.total) } span { "watched: " (parts::state(own.state)) } }
                        @let [(_, held), (_, looked_at), (_, refused)] = pillar::figures(own);
                        p class="small quiet" {
                            @if own.held_ppm.is_some() { "held " (held) " of the time watched" } @else { (held) }
                            " · " (looked_at) " looked at · " (refused) " refused"
                        }
                    }
                }
            }
        }
        section {
            h2 { "All commitments" }
            (met(view))
            (not_started(view))
        }
        section class="prose" id="exceptions" {
            h2 { "Exceptions" @if !report.exceptions.is_empty() { span class="num" { (report.exceptions.len()) } } }
            (exceptions(view))
        }
        section class="prose" id="not-claimed" {
            h2 { "What we do not claim" }
            ul class="plain" { @for line in &report.not_claimed { li { (line) } } }
        }
        (texts(view))
        (how(report.total))
    };
    frame.page("Trust", content)
}

fn exceptions(view: &View<'_>) -> Markup {
    let exceptions = &view.report.exceptions;
    html! {
        @if exceptions.is_empty() {
            p { "None holds. An exception takes two people, ends within 90 days and makes nothing met." }
        } @else {
            p { "Each was proposed by one and approved by another, and ends by itself. None makes anything met: the states above are what they are." }
            ul class="plain" {
                @for exception in exceptions {
                    li {
                        a href={ "commitments/" (exception.commitment) "/" } { (exception.commitment) }
                        ": until " (parts::time(exception.expires)) ", agreed " (parts::time(exception.since))
                        span class="quiet" { ", log entry " (words::number(exception.log_index)) }
                    }
                }
            }
        }
    }
}

fn of_pillar<'a>(view: &View<'a>, pillar: crate::Pillar) -> impl Iterator<Item = &'a CommitmentReport> + Clone {
    view.report.commitments.iter().filter(move |commitment| commitment.pillar.contains(&pillar))
}

fn counted(counts: &[(State, usize)], wanted: State) -> usize {
    counts.iter().filter(|(state, _)| *state == wanted).map(|(_, count)| count).sum()
}

fn hero(view: &View<'_>) -> Markup {
    let report = view.report;
    html! {
        div class="hero" {
            div {
                p class="over" { "Environment " (report.environment.as_str()) " (" (view.class.as_str()) ") · " (words::mode(report.organisation.mode)) " · " (parts::time(report.generated_at)) }
                h1 { "met " (report.met) " " span { "of " (report.total) } }
                p class="lead" { "Commitments that hold now, by evidence in date. Each state is computed from entries of an append-only log; nobody can type one in." }
            }
            div {
                (parts::bar(&report.counts))
                ul class="counts" {
                    @for (state, count) in report.counts.iter().rev() {
                        li {
                            @if *count > 0 { a href={ "#" (parts::group(*state)) } { (parts::state(*state)) } } @else { (parts::state(*state)) }
                            " " span class="num" { (count) }
                        }
                    }
                }
                p class="small quiet" { a href="#log" { "Log of " (words::number(report.log.size)) " entries" } }
            }
        }
    }
}

fn attention(view: &View<'_>) -> Markup {
    let mut urgent: Vec<&CommitmentReport> =
        view.report.commitments.iter().filter(|commitment| commitment.state < State::NotStarted).collect();
    urgent.sort_by_key(|commitment| commitment.state);
    html! {
        section id="attention" {
            h2 { "Needs attention" @if !urgent.is_empty() { span class="num" { (urgent.len()) } } }
            @if view.report.needs_attention() {
                ul class="rows" { @for commitment in urgent { (parts::row("", commitment, true)) } }
            } @else {
                p class="quiet" { "Nothing is failing, unknown or stale." }
            }
        }
    }
}

fn met(view: &View<'_>) -> Markup {
    let own: Vec<&CommitmentReport> =
        view.report.commitments.iter().filter(|commitment| commitment.state == State::Met).collect();
    html! {
        @if !own.is_empty() {
            div class="group" id=(parts::group(State::Met)) {
                h3 { "Met " span class="quiet num" { (own.len()) } }
                ul class="rows" { @for commitment in own { (parts::row("", commitment, false)) } }
            }
        }
    }
}

/// The commitments that have not started, by what they wait for. There are many at first, so they stand close together.
fn not_started(view: &View<'_>) -> Markup {
    let own: Vec<&CommitmentReport> =
        view.report.commitments.iter().filter(|commitment| commitment.state == State::NotStarted).collect();
    let (held, others): (Vec<&CommitmentReport>, _) =
        own.iter().partition(|commitment| commitment.held.as_deref() == Some("not held"));
    let (in_part, unwatched): (Vec<&CommitmentReport>, Vec<&CommitmentReport>) =
        others.into_iter().partition(|commitment| !commitment.checks.is_empty());
    let kinds = [
        ("Watched in part: what is watched holds, the rest is to come", in_part),
        ("Not held: somebody outside has to issue what it needs", held),
        ("Nothing watches it yet", unwatched),
    ];
    html! {
        @if !own.is_empty() {
            div class="group" id=(parts::group(State::NotStarted)) {
                h3 { "Not started " span class="quiet num" { (own.len()) } }
                @for (waits_for, kind) in kinds.iter().filter(|(_, kind)| !kind.is_empty()) {
                    h4 { (waits_for) " " span class="num" { (kind.len()) } }
                    ul class="close" { @for commitment in kind { li { (parts::chip("", commitment)) } } }
                }
            }
        }
    }
}

/// Which text of the promises this is, since when, and which there were before.
fn texts(view: &View<'_>) -> Markup {
    html! {
        section class="prose" id="texts" {
            h2 { "The text of these promises" }
            @if view.report.texts.is_empty() { p { "The log does not date it yet." } } @else {
                p { "A text is in the log before it is shown here, and earlier ones stay readable. The file's SHA-256 is what the entry names." }
            }
            ul class="plain" {
                @for (index, text) in view.report.texts.iter().enumerate() {
                    li {
                        @if index == 0 { strong { "In force" } } @else { "Earlier, " } " since " (parts::time(text.since)) ", "
                        @if view.proofs.contains_key(&text.log_index) { a href={ "proofs/" (text.log_index) ".txt" } { "entry " (text.log_index) } } @else { "entry " (text.log_index) }
                        ": "
                        @if view.texts.contains_key(&text.digest) {
                            a class="mono" href={ "texts/" (text.digest) ".json" } { (text.digest) }
                        } @else {
                            span class="mono" { (text.digest) } ", not shown: what is kept of it is not what the log dates"
                        }
                    }
                }
            }
        }
    }
}

fn how(total: usize) -> Markup {
    html! {
        section class="prose" id="how" {
            h2 { "How states come about" }
            p { "A check looks at a known set of subjects. Just before, a fault is planted that it has to notice. What it saw is digested, the digest goes into the log, and only then does it count." }
            ul class="rows narrow" {
                @for state in State::ALL.into_iter().rev() { li { (parts::state(state)) " " div class="what" { (words::meaning(state)) } } }
            }
        }
        section class="prose" {
            h2 { "Two numbers" }
            p { em { "met M of " (total) } " speaks of this organisation, now: evidence in date, from the running system. " em { "proven N of " (total) } " belongs to a build of the software: how many commitments have a test that shows them working and an attack that fails, on that source code. Neither says anything about the other, and this page shows only the first." }
        }
    }
}
