//! Criteria of frameworks, and the commitments that answer them.

use maud::{Markup, html};

use super::layout::Frame;
use super::{View, parts};
use crate::{CommitmentReport, Framework, Mappings};

const ROOT: &str = "../";

pub(super) fn page(view: &View<'_>) -> Markup {
    let frame = Frame::of(view, ROOT, "frameworks/");
    let unreviewed = view.report.commitments.iter().filter(|commitment| !commitment.mappings.reviewed).count();
    let content = html! {
        h1 { "Frameworks" }
        p class="lead" {
            "Criteria that auditors work with, and which commitments answer them. A criterion is not met because its \
                commitments are: an auditor decides that."
        }
        @if unreviewed > 0 {
            p class="note" {
                strong { "Unreviewed mapping." } " No auditor has confirmed the mapping of " (unreviewed) " of "
                (view.report.total) " commitments. Read it as a proposal."
            }
        }
        @for framework in view.registry.frameworks() {
            section id={ "framework-" (super::folder(&framework.id)) } {
                h2 { (framework.title) span class="num" { (framework.edition) } }
                ul class="rows narrow" {
                    @for criterion in &framework.criteria {
                        li {
                            span class="id" { (criterion.id) } " "
                            div class="what" {
                                span { (criterion.title) }
                                div class="chips" {
                                    @for commitment in &view.report.commitments {
                                        @if answers(commitment, framework, &criterion.id) {
                                            (parts::chip(ROOT, commitment)) " "
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    frame.page("Frameworks", content)
}

/// Whether a commitment answers a criterion, by its own mapping or by the framework's.
fn answers(commitment: &CommitmentReport, framework: &Framework, criterion: &str) -> bool {
    let by_itself = commitment.mappings.of(&framework.id).iter().any(|id| id == criterion);
    by_itself || framework.criteria.iter().any(|of| of.id == criterion && of.commitments.contains(&commitment.id))
}

/// The criteria of a framework that a commitment answers, in the framework's order.
pub(super) fn answered<'a>(view: &View<'a>, commitment: &CommitmentReport, framework: &str) -> Vec<&'a str> {
    let Some(framework) = view.registry.frameworks().find(|known| known.id == framework) else { return Vec::new() };
    let ids = framework.criteria.iter().map(|criterion| criterion.id.as_str());
    ids.filter(|id| answers(commitment, framework, id)).collect()
}

/// Who has read a mapping, in a sentence.
pub(super) fn review(mappings: &Mappings) -> String {
    match (mappings.reviewed, &mappings.reviewer, &mappings.reviewed_on) {
        (true, Some(reviewer), Some(day)) => format!("Mapping reviewed by {reviewer} on {day}."),
        (true, ..) => "Mapping reviewed.".to_owned(),
        (false, ..) => "Mapping unreviewed: no auditor has confirmed it.".to_owned(),
    }
}
