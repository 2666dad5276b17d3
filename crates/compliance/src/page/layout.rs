//! What every page has around its content: head, names and places, the numbers, the log.

use maud::{DOCTYPE, Markup, html};

use super::{View, folder, parts, words};
use crate::{Organisation, State, TrustReport};

/// The frame of a page.
pub(super) struct Frame<'a> {
    /// Leads from the page to the site's folder.
    root: &'a str,
    /// The page's own place, as `places` names it.
    here: &'a str,
    organisation: &'a Organisation,
    /// Places to go to, with their names.
    places: Vec<(String, String)>,
    /// The report, the version of the software, and the newest entry of the log that there is a proof of.
    report: Option<(&'a TrustReport, &'a str, Option<u64>)>,
}

impl<'a> Frame<'a> {
    /// The frame of a page of the site.
    pub(super) fn of(view: &View<'a>, root: &'a str, here: &'a str) -> Self {
        let mut places = vec![(String::new(), "Overview".to_owned())];
        places.extend(view.registry.documents().map(|document| (folder(&document.id) + "/", document.title.clone())));
        places.push(("pillars/".to_owned(), "Pillars".to_owned()));
        places.push(("frameworks/".to_owned(), "Frameworks".to_owned()));
        if view.intake.is_some() {
            places.push(("report/".to_owned(), "Report a problem".to_owned()));
        }
        let report = Some((view.report, view.version, view.proofs.keys().next_back().copied()));
        Self { root, here, organisation: &view.report.organisation, places, report }
    }

    /// The frame of an answer to somebody who reported something. It has the same looks and shows no report.
    pub(super) fn answer(root: &'a str, organisation: &'a Organisation) -> Self {
        let places =
            [("", "Overview"), ("report/", "Report a problem")].map(|(to, name)| (to.to_owned(), name.to_owned()));
        Self { root, here: "report/", organisation, places: places.into(), report: None }
    }

    pub(super) fn root(&self) -> &'a str {
        self.root
    }

    /// A whole page. `title` is what the browser's tab says before the organisation's name.
    pub(super) fn page(&self, title: &str, content: Markup) -> Markup {
        let mark = if self.organisation.demonstration { "[demonstration] " } else { "" };
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (mark) (title) " · " (self.organisation.name) }
                    link rel="stylesheet" href={ (self.root) "style.css" };
                    link rel="icon" href={ (self.root) "icon.svg" } type="image/svg+xml";
                }
                body {
                    a class="skip" href="#content" { "Skip to the content" }
                    (parts::sprite())
                    @if self.organisation.demonstration { (demonstration()) }
                    (self.top())
                    @if let Some((report, ..)) = self.report { @if !self.here.is_empty() { (strip(self.root, report)) } }
                    main id="content" { div class="wide" { (content) } }
                    (self.foot())
                }
            }
        }
    }

    fn top(&self) -> Markup {
        html! {
            header class="top" {
                div class="wide" {
                    p class="name" { a href=(self.place("")) { (self.organisation.name) " " span { "Trust" } } }
                    nav aria-label="Trust page" {
                        ul {
                            @for (to, name) in &self.places {
                                li { a href=(self.place(to)) aria-current=[(to == self.here).then_some("page")] { (name) } }
                            }
                        }
                    }
                }
            }
        }
    }

    fn place(&self, to: &str) -> String {
        let address = format!("{}{to}", self.root);
        if address.is_empty() { "./".to_owned() } else { address }
    }

    fn foot(&self) -> Markup {
        html! {
            footer class="foot" {
                div class="wide" {
                    @if let Some((report, version, newest)) = &self.report {
                        (log(report))
                        (verify(self.root, *newest))
                        div {
                            h2 { "This page" }
                            p { "Made from the log at " (parts::time(report.generated_at)) " by Creta " (version) ". It does not change by itself: if that is long ago, look at a newer one." }
                            @if let Some(text) = report.texts.first() {
                                p { "The promises were last changed at " (parts::time(text.since)) "; " a href={ (self.root) "#texts" } { "every text of them" } "." }
                            }
                            p { a href={ (self.root) "trust.json" } { "The same as JSON" } }
                        }
                    } @else {
                        p { a href=(self.place("")) { "What " (self.organisation.name) " promises, and whether it holds" } }
                    }
                }
            }
        }
    }
}

fn demonstration() -> Markup {
    html! {
        aside class="demonstration" aria-label="Demonstration" {
            p class="wide" { strong { "Demonstration." } " Checks or documents behind this page are made up." }
        }
    }
}

/// The numbers, on every page but the overview, which shows them larger.
fn strip(root: &str, report: &TrustReport) -> Markup {
    html! {
        section class="strip" aria-label="Numbers" {
            div class="wide" {
                strong { "met " (report.met) " of " (report.total) } " "
                @for (state, count) in report.counts.iter().filter(|(state, _)| *state != State::Met) {
                    span { (words::state(*state)) " " (count) } " "
                }
                span { "log " a href={ (root) "#log" } { (words::number(report.log.size)) " entries" } } " "
                (parts::time(report.generated_at))
            }
        }
    }
}

fn log(report: &TrustReport) -> Markup {
    html! {
        div id="log" {
            h2 { "Log checkpoint" }
            dl class="facts" {
                dt { "Log" } dd class="mono" { (report.log.origin) }
                dt { "Entries" } dd { (words::number(report.log.size)) }
                dt { "Root" } dd class="mono" { (report.log.root) }
                dt { "Key" } dd class="mono" { (report.log.verifier_key) }
                dt { "Witnesses" } dd {
                    @if report.log.witnesses.is_empty() { "none has cosigned" } @else { (report.log.witnesses.join(", ")) }
                }
            }
        }
    }
}

fn verify(root: &str, newest: Option<u64>) -> Markup {
    html! {
        div {
            h2 { "Check it yourself" }
            p { "Each check names the entry of the log that its evidence stands in, with a proof file. " code { "creta-verify" } " reads proofs offline and believes only the key that you give it: one that you got elsewhere, and that should be the key shown here." }
            @if let Some(index) = newest { pre tabindex="0" { "creta-verify proof " (index) ".txt --key KEY" } }
            p { a href={ (root) "#how" } { "How states come about" } }
        }
    }
}
