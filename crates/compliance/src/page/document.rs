//! A public document as it stands, line by line, with the state of the commitment that answers each line.

use maud::{Markup, html};

use super::layout::Frame;
use super::{View, folder, parts};
use crate::{CommitmentId, CommitmentReport, Document, Line, State, TrustReport};

const ROOT: &str = "../";

pub(super) fn page(view: &View<'_>, document: &Document) -> Markup {
    let here = folder(&document.id) + "/";
    let frame = Frame::of(view, ROOT, &here);
    let states: Vec<State> = document.lines().map(|line| state(view.report, &line.id)).collect();
    let met = states.iter().filter(|state| **state == State::Met).count();
    let parts = document.sections.iter().map(|section| section.part.as_deref());
    let begins =
        std::iter::once(None).chain(parts.clone()).zip(parts).map(|(before, part)| part.filter(|_| part != before));
    let content = html! {
        p class="over" { "Promises of a public document" @if let Some(date) = &document.date { " dated " (date) } }
        h1 { (document.title) }
        p class="lead" {
            "Its own order and headings; every line is in our words. Here " (met) " of its "
            (states.len()) " promises are met."
        }
        (parts::bar(&parts::counts(states.iter().copied())))
        @for (section, begins) in document.sections.iter().zip(begins) {
            section {
                @if let Some(part) = begins { h2 { (part) } }
                @if section.part.is_some() { h3 { (section.heading) } } @else { h2 { (section.heading) } }
                ul class="rows" { @for line in &section.lines { (row(view.report, line)) } }
            }
        }
    };
    frame.page(&document.title, content)
}

fn row(report: &TrustReport, line: &Line) -> Markup {
    let carriers = carriers(report, &line.id);
    let elsewhere: Vec<&&CommitmentReport> = carriers.iter().filter(|carrier| carrier.id != line.id).collect();
    html! {
        li id=(line.id) {
            (parts::state(state(report, &line.id))) " " span class="id" { (line.id) } " "
            div class="what" {
                @match carriers.first() {
                    Some(first) => { a href=(parts::address(ROOT, first)) { (line.says) } }
                    None => { (line.says) }
                }
                @if let Some(held) = carriers.iter().find_map(|carrier| carrier.held.as_ref()) {
                    " " span class="tag" { (held) }
                }
                @if !elsewhere.is_empty() {
                    p { "Answered by " @for (index, carrier) in elsewhere.iter().enumerate() {
                        @if index > 0 { " and " }
                        a href=(parts::address(ROOT, carrier)) { (carrier.id) " " (carrier.title) }
                    } }
                }
            }
        }
    }
}

/// The commitments that answer an id: the row itself, or those that carry it.
fn carriers<'a>(report: &'a TrustReport, id: &CommitmentId) -> Vec<&'a CommitmentReport> {
    report.commitments.iter().filter(|commitment| commitment.id == *id || commitment.folded.contains(id)).collect()
}

/// The state of an id: the worst of the rows that carry it; not started when there is none.
pub(super) fn state(report: &TrustReport, id: &CommitmentId) -> State {
    carriers(report, id).iter().map(|carrier| carrier.state).min().unwrap_or(State::NotStarted)
}

/// The ids of the rows that carry an id.
pub(super) fn carrier_ids(report: &TrustReport, id: &CommitmentId) -> Vec<CommitmentId> {
    carriers(report, id).iter().map(|carrier| carrier.id.clone()).collect()
}
