//! Pages for whoever reports a security problem: the form, the receipt, and how far it has come.

use creta_model::{Instant, Span};
use maud::{Markup, html};

use super::layout::Frame;
use super::{PageFile, parts, words};
use crate::Organisation;

/// Longest title of a report, in characters.
pub const REPORT_TITLE_CHARS_MAX: usize = 120;
/// Longest description of a report, in characters.
pub const REPORT_DESCRIPTION_CHARS_MAX: usize = 20_000;
/// Longest contact of a reporter, in characters.
pub const REPORT_CONTACT_CHARS_MAX: usize = 200;

/// Where these pages are: they answer at several addresses, so they lead to the site by its whole path.
const ROOT: &str = "/trust/";

/// What whoever reports may expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// A person acknowledges each report within this time.
    pub acknowledge_within: Span,
    /// Each report is decided on, with a reason, within this time.
    pub decide_within: Span,
}

/// What somebody has typed into the form. Never markup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportDraft {
    /// In a few words.
    pub title: String,
    /// What they saw.
    pub description: String,
    /// How to reach them; may be empty.
    pub contact: String,
    /// Whether somebody should be woken up.
    pub urgent: bool,
}

/// How far a report has come, as its reporter may see it. It shows nothing of what was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportProgress {
    /// Its name.
    pub reference: String,
    /// When it arrived.
    pub received_at: Instant,
    /// Until when a person has to acknowledge it.
    pub acknowledge_by: Instant,
    /// When a person did.
    pub acknowledged_at: Option<Instant>,
    /// Until when it has to be decided on.
    pub decide_by: Instant,
    /// When it was decided on, how, and why.
    pub decision: Option<(Instant, String, String)>,
}

/// The form by itself: as it is, or after a refusal with what was typed and what is wrong with it.
pub fn report_form(
    organisation: &Organisation,
    intake: &Intake,
    draft: &ReportDraft,
    problem: Option<&str>,
) -> PageFile {
    PageFile::html(form_page(&Frame::answer(ROOT, organisation), intake, draft, problem))
}

/// The receipt for a report. `status_url` is a path on this server (`/trust/report/...`) where its progress can be seen;
/// anything else is shown as text and not linked.
pub fn report_received(organisation: &Organisation, intake: &Intake, reference: &str, status_url: &str) -> PageFile {
    let is_ours =
        status_url.starts_with('/') && !status_url.starts_with("//") && !status_url.contains(['\\', '\n', '\r']);
    let content = html! {
        h1 { "Thank you. We have your report." }
        p class="lead" {
            "A person acknowledges it within " (words::span(intake.acknowledge_within)) ", and it is decided on \
                within " (words::span(intake.decide_within)) ", with a reason."
        }
        section class="prose" {
            dl class="facts" {
                dt { "Reference" } dd class="mono" { (reference) }
                dt { "Follow it at" } dd class="mono" {
                    @if is_ours { a href=(status_url) { (status_url) } } @else { (status_url) }
                }
            }
            p class="note" {
                "Keep this address: it is shown only now. Whoever has it can see how far the report has come, and \
                    nothing of what you wrote."
            }
        }
    };
    PageFile::html(Frame::answer(ROOT, organisation).page("Report received", content))
}

/// How far a report has come.
pub fn report_status(organisation: &Organisation, progress: &ReportProgress) -> PageFile {
    let content = html! {
        p class="over" { "Report " span class="mono" { (progress.reference) } }
        h1 {
            @match (&progress.decision, progress.acknowledged_at) {
                (Some(_), _) => { "Decided" }
                (None, Some(_)) => { "Acknowledged, not decided yet" }
                (None, None) => { "Received, not acknowledged yet" }
            }
        }
        section class="prose" {
            dl class="facts" {
                dt { "Received" } dd { (parts::time(progress.received_at)) }
                dt { "Acknowledged" } dd {
                    @match progress.acknowledged_at {
                        Some(at) => { (parts::time(at)) (late(at, progress.acknowledge_by)) }
                        None => { "due " (parts::time(progress.acknowledge_by)) }
                    }
                }
                dt { "Decided" } dd {
                    @match &progress.decision {
                        Some((at, ..)) => { (parts::time(*at)) (late(*at, progress.decide_by)) }
                        None => { "due " (parts::time(progress.decide_by)) }
                    }
                }
                @if let Some((_, decision, reason)) = &progress.decision {
                    dt { "Decision" } dd { (decision) }
                    dt { "Reason" } dd { (reason) }
                }
            }
        }
    };
    PageFile::html(Frame::answer(ROOT, organisation).page("Report", content))
}

fn late(at: Instant, due: Instant) -> &'static str {
    if at > due { ", later than promised" } else { "" }
}

pub(super) fn form_page(frame: &Frame<'_>, intake: &Intake, draft: &ReportDraft, problem: Option<&str>) -> Markup {
    let content = html! {
        h1 { "Report a security problem" }
        p class="lead" {
            "Anybody may, without an account. A person acknowledges your report within "
            (words::span(intake.acknowledge_within))
            ", and every report is decided on within " (words::span(intake.decide_within)) ", with a reason that you \
                can read."
        }
        @if let Some(problem) = problem { p class="note" role="alert" { (problem) } }
        form method="post" action={ (frame.root()) "report" } {
            div {
                label for="title" { "In a few words" }
                input type="text" id="title" name="title" required maxlength=(REPORT_TITLE_CHARS_MAX) autocomplete="off"
                    value=(draft.title);
            }
            div {
                label for="description" {
                    "What did you see, and how can we see it too?" span class="hint" id="description-hint" {
                        "Plain text. Leave out passwords, keys and other people's data."
                    }
                }
                textarea id="description" name="description" required maxlength=(REPORT_DESCRIPTION_CHARS_MAX)
                    aria-describedby="description-hint" {
                    "\n" (draft.description)
                }
            }
            div {
                label for="contact" {
                    "How can we reach you?" span class="hint" id="contact-hint" {
                        "Optional. Without it you can still follow the report at the address that you get."
                    }
                }
                input type="text" id="contact" name="contact" maxlength=(REPORT_CONTACT_CHARS_MAX)
                    autocomplete="email" aria-describedby="contact-hint" value=(draft.contact);
            }
            div {
                label for="code" {
                    "Customer's code" span class="hint" id="code-hint" {
                        "Only if you have one: with it, what is marked below always wakes somebody."
                    }
                }
                input type="text" id="code" name="code" maxlength="128" autocomplete="off"
                    aria-describedby="code-hint";
            }
            div class="tick" {
                input type="checkbox" id="urgent" name="urgent" value="yes" checked[draft.urgent]
                    aria-describedby="urgent-hint";
                label for="urgent" {
                    "Somebody should look at once" span class="hint" id="urgent-hint" {
                        "It is being exploited, or data is exposed now."
                    }
                }
            }
            button type="submit" { "Send the report" }
        }
    };
    frame.page("Report a security problem", content)
}
