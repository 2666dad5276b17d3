//! What every page has around it, and the headers with which pages are sent.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use creta_iam::Principal;
use creta_model::Problem;
use maud::{DOCTYPE, Markup, html};

use super::words::{prose, sentence};
use crate::context::Guarded;
use crate::control_plane::ControlPlane;
use crate::people::web::form_word;
use crate::problem::{Refusal, internal, status_of};
use crate::routes::typed;

/// What pages may do: run our script, use our style, ask us. Text cannot become script: the one script makes no markup from
/// text, and browsers that know trusted types hold it to that.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Who looks, and what their pages need.
pub(crate) struct Frame {
    pub(super) who: String,
    pub(super) place: String,
    /// Of the staff of whoever runs the environment.
    pub(super) staff: bool,
    word: String,
}

impl Frame {
    pub(super) fn of(guarded: &Guarded) -> Self {
        Self::around(&guarded.app().control, guarded.principal(), guarded.session())
    }

    /// The same for who is refused before anything is read for them.
    pub(crate) fn around(control: &ControlPlane, principal: &Principal, session: &str) -> Self {
        let place = principal.scope().map_or_else(|| principal.environment().to_string(), ToString::to_string);
        Self { who: principal.id().to_string(), place, staff: is_staff(principal), word: form_word(control, session) }
    }

    /// The page with what is around it.
    pub(super) fn page(&self, current: &str, title: &str, body: &Markup) -> Response {
        let main = html! { main id="content" data-word=(self.word) { h1 { (title) } (body) } };
        send(StatusCode::OK, document(title, &html! { (self.bar(current)) (main) }))
    }

    /// What stands above every page.
    fn bar(&self, current: &str) -> Markup {
        let entry = |address: &str, name: &str| {
            html! { li { a href=(address) aria-current=[(address == current).then_some("page")] { (name) } } }
        };
        html! {
            a class="skip" href="#content" { "Skip to the content" }
            header {
                nav aria-label="Pages" {
                    ul {
                        (entry("/my", "My access"))
                        (entry("/my/ask", "Ask for access"))
                        (entry("/my/requests", "Requests"))
                        @if self.staff { (entry("/my/reviews", "Reviews")) (entry("/my/policies", "Policies")) }
                        @else { (entry("/my/accesses", "Who saw our data")) }
                    }
                }
                p class="who" { (self.who) " at " (self.place) }
            }
        }
    }
}

fn is_staff(principal: &Principal) -> bool {
    principal.scope().is_none()
}

/// A page that shows nothing by itself: its script asks for what it shows and proves the browser's key with that. `now` is
/// this server's clock in seconds since 1970; browsers' clocks are wrong more often.
pub(super) fn shell(now: i64) -> Response {
    let body = html! {
        main id="content" aria-busy="true" {
            h1 { "Creta" }
            p role="status" { "One moment: this page asks for what it shows." }
            noscript { p class="alert" { "These pages sign what they ask with a key of this browser, and need scripts for that. Without scripts, use the command line: " code { "creta whoami" } "." } }
        }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" data-now=(now) {
            (head("Creta", &html! { script src="/my/script.js" defer {} }))
            body { (body) }
        }
    };
    send(StatusCode::OK, page)
}

fn head(title: &str, more: &Markup) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            title { (title) " · Creta" }
            link rel="stylesheet" href="/my/style.css";
            (more)
        }
    }
}

fn document(title: &str, body: &Markup) -> Markup {
    html! { (DOCTYPE) html lang="en" { (head(title, &Markup::default())) body { (body) } } }
}

/// What went wrong, as a page. What a refusal lacks stands in its help, with the page where it is asked for.
/// `frame` is of who is signed in, where that is known and still so.
pub(crate) fn refused(refusal: &Refusal, frame: Option<&Frame>) -> Response {
    let first = refusal.0.first().cloned().unwrap_or_else(internal);
    let status = status_of(&first);
    let title = match status {
        StatusCode::UNAUTHORIZED => "Sign in",
        StatusCode::FORBIDDEN => "Not permitted",
        StatusCode::NOT_FOUND => "There is no such thing",
        StatusCode::CONFLICT => "Changed meanwhile",
        _ => "This did not work",
    };
    let body = html! {
        @match frame.filter(|_| status != StatusCode::UNAUTHORIZED) {
            Some(frame) => { (frame.bar("")) },
            None => { header { nav aria-label="Pages" { ul { li { a href="/my" { "My access" } } } } } },
        }
        main id="content" data-code=(first.code) {
            h1 { (title) }
            @for problem in &refusal.0 { (told(problem)) }
            @if status == StatusCode::UNAUTHORIZED { p { button type="button" data-sign-in="" { "Sign in" } } }
        }
    };
    let mut response = send(status, document(title, &body));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("DPoP algs=\"ES256 EdDSA\""));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Somebody ended the session that their page belongs to.
pub(super) fn signed_out() -> Response {
    let body = html! {
        main id="content" data-code="signed-out" {
            h1 { "Signed out" }
            p role="status" { "Your session in this browser is over. Sessions elsewhere go on." }
            p { button type="button" data-sign-in="" { "Sign in again" } }
        }
    };
    send(StatusCode::OK, document("Signed out", &body))
}

/// What a form did, at the top of the page that it leads to.
pub(super) fn said(text: Option<&str>) -> Markup {
    html! { @if let Some(text) = text { p class="said" role="status" tabindex="-1" { (prose(text)) } } }
}

/// A form that changes something. Its script proves the browser's key with it.
pub(super) fn change(action: &str, body: &Markup) -> Markup {
    html! { form method="post" action=(action) { (body) } }
}

/// The same for one button whose words name what it does; it asks once more before it does that.
pub(super) fn button(action: &str, does: &str, surely: &str) -> Markup {
    html! {
        details class="surely" {
            summary { (does) }
            p { (prose(surely)) }
            (change(action, &html! { button type="submit" class="serious" { (does) } }))
        }
    }
}

/// Where somebody signs what they asked for with their authenticator: the script goes there.
pub(super) fn to_sign(frame: &Frame, current: &str, verify: &str) -> Response {
    let body = html! {
        p data-go=(verify) { "Sign it with your authenticator: " a href=(verify) { "read what you sign, and sign" } "." }
    };
    frame.page(current, "One more step", &body)
}

/// One problem: what failed, more to know, what to do.
fn told(problem: &Problem) -> Markup {
    html! {
        div class="problem" role="alert" {
            p class="alert" { (prose(&sentence(&problem.message))) "." }
            @if !problem.notes.is_empty() { ul { @for note in &problem.notes { li { (note.label) ": " (prose(&note.text)) } } } }
            @if let Some(help) = &problem.help { p { (prose(&sentence(help))) "." } }
        }
    }
}

/// Sends a page. Nobody keeps it, frames it, or reads it from another site.
fn send(status: StatusCode, page: Markup) -> Response {
    let mut response = (status, typed("text/html; charset=utf-8", page.into_string())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// The answer to a form is the page that shows what came of it. `address` is that page's own (RFC 9110 section 8.7).
pub(super) fn at(address: &str, mut response: Response) -> Response {
    if let Ok(address) = HeaderValue::from_str(address) {
        response.headers_mut().insert(header::CONTENT_LOCATION, address);
    }
    response
}
