//! Commitments by what they protect.

use maud::{Markup, html};

use super::layout::Frame;
use super::{View, parts, words};
use crate::PillarReport;

const ROOT: &str = "../";

pub(super) fn page(view: &View<'_>) -> Markup {
    let frame = Frame::of(view, ROOT, "pillars/");
    let content = html! {
        h1 { "Three pillars" }
        p class="lead" { "What each commitment protects. One that protects several stands under each of them." }
        @for pillar in &view.report.pillars {
            section id=(pillar.pillar.as_str()) {
                h2 { (words::pillar(pillar.pillar)) span class="num" { "met " (pillar.met) " of " (pillar.total) } }
                p class="quiet" {
                    (words::pillar_meaning(pillar.pillar)) " What is watched is " (parts::state(pillar.state)) "."
                }
                dl class="facts" { @for (name, figure) in figures(pillar) { dt { (name) } dd { (figure) } } }
                ul class="rows" {
                    @for commitment in view.report.commitments.iter().filter(|row| row.pillar.contains(&pillar.pillar)) {
                        (parts::row(ROOT, commitment, false))
                    }
                }
            }
        }
    };
    frame.page("Pillars", content)
}

/// The live figures of a pillar: for how much of the time it held, what was looked at, and what was turned away.
pub(super) fn figures(pillar: &PillarReport) -> [(&'static str, String); 3] {
    let held = pillar.held_ppm.map_or_else(|| "nobody has looked yet".to_owned(), words::share);
    [
        ("Held, of the time watched in 90 days", held),
        ("Looked at in the newest runs", words::number(pillar.subjects)),
        ("Attempts refused in 90 days", words::number(pillar.refusals)),
    ]
}
