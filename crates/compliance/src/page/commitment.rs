//! One commitment: what is promised, whether it holds, how we know, and what was tried against it.

use maud::{Markup, html};

use super::layout::Frame;
use super::{View, folder, history, parts, words};
use crate::{CheckReport, CommitmentReport, HISTORY};

const ROOT: &str = "../../";

pub(super) fn page(view: &View<'_>, commitment: &CommitmentReport) -> Markup {
    let frame = Frame::of(view, ROOT, "commitments/");
    let content = html! {
        p class="over" {
            a href={ (ROOT) "#" (parts::group(commitment.state)) } { "All commitments" } " / " span class="mono" {
                (commitment.id)
            }
            @if !commitment.folded.is_empty() { " carries " (ids(commitment)) }
        }
        h1 { (commitment.title) }
        p class="promise" { (commitment.text) }
        div class="verdict" {
            (parts::state(commitment.state))
            @if let Some(held) = &commitment.held { span class="tag" { (held) } }
            p { (parts::prose(&commitment.reason)) }
        }
        (excepted(view, commitment))
        div class="split" {
            div {
                section { h2 { "How it is kept" } p { (parts::prose(&commitment.behaviour)) } }
                section {
                    h2 { "The attack that has to fail" } p { (parts::prose(&commitment.attack)) } (tests(commitment))
                }
                section {
                    h2 { "What watches it" }
                    @if commitment.checks.is_empty() { p class="quiet" { "Nothing yet." } }
                    @for check in &commitment.checks { (watched(view, check)) }
                }
                @if commitment.held.is_some() { section { h2 { "Issued by somebody outside" } (issued(commitment)) } }
                section { h2 { "The last " (words::span(HISTORY)) } (history::history(&commitment.history)) }
            }
            aside aria-label="Facts" {
                section { h2 { "Facts" } (facts(commitment)) }
                section { h2 { "Where it stands" } (places(view, commitment)) }
                section { h2 { "Criteria" } (criteria(view, commitment)) }
            }
        }
    };
    frame.page(&format!("{} {}", commitment.id, commitment.title), content)
}

/// Exceptions beside the state; they change nothing about it.
fn excepted(view: &View<'_>, commitment: &CommitmentReport) -> Markup {
    let own = |id: &str| commitment.id.as_str() == id || commitment.folded.iter().any(|folded| folded.as_str() == id);
    html! {
        @for exception in view.report.exceptions.iter().filter(|exception| own(&exception.commitment)) {
            p class="note" {
                "An exception agreed by two people holds until " (parts::time(exception.expires))
                ". The state is what it is all the same."
            }
        }
    }
}

fn issued(commitment: &CommitmentReport) -> Markup {
    html! {
        @if commitment.artefacts.is_empty() { p class="quiet" { "Nothing yet." } }
        @for artefact in &commitment.artefacts {
            div class="check" {
                div class="pair" {
                    h3 { (artefact.kind) }
                    span class="tag" { (if artefact.counts { "held" } else { "not held" }) }
                }
                @if let Some(because) = &artefact.because { p { (parts::prose(because)) } }
                dl class="facts" {
                    @if let Some(issuer) = &artefact.issuer { dt { "Issued by" } dd { (issuer) } }
                    dt { "Issued" } dd { (parts::time(artefact.issued)) }
                    dt { "Counts until" } dd { (parts::time(artefact.good_until)) }
                    dt { "File" } dd class="mono" { "sha256:" (artefact.file) }
                    dt { "Log entry" } dd { (words::number(artefact.log_index)) }
                }
            }
        }
    }
}

fn ids(commitment: &CommitmentReport) -> String {
    let ids: Vec<&str> = commitment.folded.iter().map(|id| id.as_str()).collect();
    ids.join(", ")
}

fn facts(commitment: &CommitmentReport) -> Markup {
    let pillars: Vec<&str> = commitment.pillar.iter().map(|pillar| pillar.as_str()).collect();
    html! {
        dl class="facts" {
            dt { "Kept by" } dd { (words::classes(&commitment.class)) }
            dt { "Evidence" } dd {
                @match commitment.evidence_age_s {
                    Some(seconds) => { (words::age(seconds)) " old" }
                    None => { "none yet" }
                }
            }
            dt { "Refusals" } dd { (words::number(commitment.refusals)) " recorded in " (words::span(HISTORY)) }
            dt { "Answers for it" } dd { (commitment.owner) }
            dt { "Protects" } dd { (pillars.join(", ")) }
        }
        ul class="small quiet under" { @for class in &commitment.class { li { (words::class(*class)) } } }
    }
}

fn tests(commitment: &CommitmentReport) -> Markup {
    html! {
        @if commitment.attack_tests.is_empty() {
            p class="small quiet" { "No test attacks it yet." }
        } @else {
            details class="small" {
                summary {
                    (words::counted(commitment.attack_tests.len() as u64, "test tries", "tests try")) " it at every \
                        build"
                }
                ul class="tests" { @for test in &commitment.attack_tests { li { (parts::breakable(test)) } } }
            }
        }
    }
}

/// A check: its state, when and what it saw, and where that stands in the log.
fn watched(view: &View<'_>, check: &CheckReport) -> Markup {
    let definition = view.registry.checks().find(|definition| definition.id == check.id);
    html! {
        div class="check" {
            div class="pair" { h3 { (check.title) } (parts::state(check.state)) }
            @if let Some(definition) = definition { p class="small quiet" { (definition.observes) } }
            @if let Some(reason) = &check.could_not { p { "It could not look: " (parts::prose(reason)) } }
            @if !check.findings.is_empty() {
                ul class="findings" {
                    @for finding in &check.findings {
                        li {
                            (parts::prose(&finding.says)) " "
                            span class="small quiet" { code { (finding.subject) } " · " code { (finding.code) } }
                        }
                    }
                }
            }
            dl class="facts" {
                dt { "Looked" } dd {
                    @match check.observed_at { Some(at) => { (parts::time(at)) } None => { "not yet" } }
                }
                dt { "Good for" } dd { (words::span(check.freshness)) }
                dt { "Looked at" } dd {
                    (words::counted(check.subjects, "subject", "subjects"))
                    @if let Some(definition) = definition { span class="quiet" { ": " (definition.population) } }
                }
                @if check.observed_at.is_some() {
                    dt { "Planted fault" } dd { (if check.noticed_planted_fault { "noticed" } else { "not noticed" }) }
                }
                @if let Some(evidence) = &check.evidence { dt { "Evidence" } dd class="mono" { "sha256:" (evidence) } }
                @if let Some(index) = check.log_index {
                    dt { "Log entry" } dd {
                        (words::number(index))
                        @if view.proofs.contains_key(&index) {
                            ", " a href={ (ROOT) "proofs/" (index) ".txt" } {
                                "proof" span class="hidden" { " of log entry " (index) }
                            }
                        } @else { span class="quiet" { ", no proof yet" } }
                    }
                }
            }
        }
    }
}

/// The documents that promise it.
fn places(view: &View<'_>, commitment: &CommitmentReport) -> Markup {
    let is_own = |id: &crate::CommitmentId| *id == commitment.id || commitment.folded.contains(id);
    html! {
        ul {
            @for document in view.registry.documents() {
                @for line in document.lines().filter(|line| is_own(&line.id)) {
                    li { a href={ (ROOT) (folder(&document.id)) "/#" (line.id) } { (document.title) ", " (line.id) } }
                }
            }
        }
    }
}

fn criteria(view: &View<'_>, commitment: &CommitmentReport) -> Markup {
    let mapped = |id: &str| super::framework::answered(view, commitment, id);
    html! {
        dl class="facts" {
            @for framework in view.registry.frameworks() {
                @let own = mapped(&framework.id);
                @if !own.is_empty() { dt { (framework.title) } dd { (own.join(", ")) } }
            }
        }
        p class="small quiet" { (super::framework::review(&commitment.mappings)) }
    }
}
