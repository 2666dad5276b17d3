//! Asking for access, and requests: one's own, and those that wait for one.

use axum::http::StatusCode;
use axum::response::Response;
use creta_iam::{Action, Place, Role};
use creta_model::{Problem, TenantId};
use creta_programme::access::{REASON_CHARS_MAX, REASON_CHARS_MIN, REASON_WORDS_MIN, Verdict};
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{Frame, at, button, change, said, to_sign};
use super::words::{moment, prose};
use crate::context::{Guarded, PlaceOf};
use crate::problem::Refusal;
use crate::routes::access::{AccessRequest, Seen, Where, all_requests, decide_on, one_request, words_of};
use crate::routes::agreed::Signed;

/// Decided requests that are shown.
const DECIDED_SHOWN: usize = 20;
/// Hours that can be asked for.
const HOURS: std::ops::RangeInclusive<u8> = 1..=8;

/// What a role is for, in a line.
pub(super) fn purpose(role: Role) -> &'static str {
    match role {
        Role::Viewer => "read the catalogue and ask for features, personal data masked",
        Role::DataScientist => "build training sets too",
        Role::Developer => "deploy definitions and ingest facts too",
        Role::Operator => "look after tenants, service accounts and the running of the environment",
        Role::SecurityLead => "approve access and policies, decide in reviews and on reports",
        Role::Auditor => "read the log, the trust report, policies and reviews",
        Role::Administrator => "make tenants, give roles, propose policies",
        _ => "for programs",
    }
}

/// Whether it permits anything where somebody belongs: staff see no data, tenants run no environment.
pub(super) fn has_meaning(role: Role, staff: bool) -> bool {
    let of_data = matches!(role, Role::Viewer | Role::DataScientist | Role::Developer);
    of_data != staff || matches!(role, Role::Auditor | Role::SecurityLead)
}

/// The form for a role, filled in.
pub(super) fn address(role: Role, place: &Place) -> String {
    match place.scope() {
        Some(scope) => format!("/my/ask?role={role}&tenant={}", scope.tenant),
        None => format!("/my/ask?role={role}&place=environment"),
    }
}

/// The address of the form says what to fill in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filled {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    place: Option<String>,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    hours: Option<u8>,
    #[serde(default)]
    ticket: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

pub(super) async fn form(guarded: Guarded, filled: Filled) -> Result<Response, Refusal> {
    let frame = Frame::of(&guarded);
    guarded.act(creta_audit::Details::none(), |_| Ok(())).await?;
    let role = filled.role.as_deref().and_then(|role| Role::parse_of_person(role).ok());
    let whole = filled.tenant.is_none() && filled.place.as_deref() != Some("tenant");
    let text = |given: &Option<String>| given.clone().unwrap_or_default();
    let roles = Role::OF_PEOPLE.iter().filter(|other| has_meaning(**other, frame.staff) || role == Some(**other));
    let body = html! {
        p { "Somebody else reads this and approves it. The hours run from when you begin, and end by themselves." }
        (change("/view/ask", &html! {
            label for="role" { "Role" }
            select id="role" name="role" required {
                @if role.is_none() { option value="" { "Choose" } }
                @for one in roles { option value=(one) selected[role == Some(*one)] { (one) ": " (purpose(*one)) } }
            }
            @if frame.staff {
                fieldset {
                    legend { "Where" }
                    label class="choice" { input type="radio" name="place" value="environment" checked[whole]; " the environment as a whole" }
                    label class="choice" { input type="radio" name="place" value="tenant" checked[!whole]; " one tenant" }
                    label for="tenant" { "Tenant, if it is one" }
                    input id="tenant" name="tenant" value=(text(&filled.tenant)) autocomplete="off" autocapitalize="off" spellcheck="false" maxlength="63";
                }
            } @else { p { "Where: your own scope, " code { (frame.place) } "." } }
            label for="reason" { "Reason: what you will do, and why" }
            textarea id="reason" name="reason" required rows="3" maxlength=(REASON_CHARS_MAX) aria-describedby="reason-rules" { (text(&filled.reason)) }
            p id="reason-rules" class="hint" { "At least " (REASON_CHARS_MIN) " characters besides the ticket, " (REASON_WORDS_MIN) " words that say something, and not what you wrote last time." }
            label for="ticket" { "Ticket" }
            input id="ticket" name="ticket" required value=(text(&filled.ticket)) placeholder="OPS-1234" autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="40";
            label for="hours" { "Hours" }
            input id="hours" name="hours" type="number" required min=(HOURS.start()) max=(HOURS.end()) value=(filled.hours.filter(|hours| HOURS.contains(hours)).unwrap_or(1)) inputmode="numeric";
            button type="submit" { "Ask for access" }
        }))
    };
    Ok(frame.page("/my/ask", "Ask for access", &body))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    role: String,
    /// `environment` or `tenant`; people of tenants have no choice.
    #[serde(default)]
    place: Option<String>,
    #[serde(default)]
    tenant: Option<String>,
    reason: String,
    ticket: String,
    hours: String,
}

pub(super) async fn ask(guarded: Guarded, given: Given) -> Result<Response, Refusal> {
    let again = guarded.also(Action::AccessRead, PlaceOf::Own);
    let role = Role::parse_of_person(&given.role).map_err(|error| Problem::new("access/role", error.to_string()))?;
    let tenant = given.tenant.as_deref().map(str::trim).filter(|tenant| !tenant.is_empty());
    let place = match (given.place.as_deref(), tenant) {
        (Some("environment"), _) => Some(Where::Environment),
        (Some("tenant"), Some(tenant)) => Some(Where::Tenant(
            TenantId::parse(tenant).map_err(|error| Problem::new("request/tenant", error.to_string()))?,
        )),
        (Some("tenant"), None) => return Err(Problem::new("request/tenant", "say which tenant").into()),
        _ => None,
    };
    // A form's lines are one line here: what an approver reads is what is stored.
    let reason = given.reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let hours =
        given.hours.trim().parse().map_err(|_| Problem::new("access/hours", "hours are a whole number, 1 to 8"))?;
    let asked = AccessRequest {
        role,
        place,
        reason,
        ticket: given.ticket.trim().to_owned(),
        hours: Some(hours),
        beneficiary: None,
    };
    let request = crate::routes::access::ask(guarded, asked).await?;
    let id = request.terms.request.to_string();
    let said = "You asked. Somebody else approves it; send them the address of this page.";
    let mut shown = at(&format!("/my/requests/{id}"), one(&again, id, Some(said)).await?);
    *shown.status_mut() = StatusCode::CREATED;
    Ok(shown)
}

/// A request in a list.
pub(super) fn line(seen: &Seen) -> Markup {
    let terms = &seen.request.terms;
    html! {
        a href={ "/my/requests/" (terms.request) } { (terms.role) " of " (terms.place.to_string().replace('`', "")) " for " (terms.beneficiary.account) }
        ", " (terms.hours) " h, " (terms.ticket.as_str()) ": " strong { (seen.request.state.as_str()) }
        @if seen.own && seen.request.state.as_str() == "approved" { ", begin it when you start" }
    }
}

pub(super) async fn list(guarded: Guarded) -> Result<Response, Refusal> {
    let frame = Frame::of(&guarded);
    let seen = all_requests(guarded).await?;
    let open = |seen: &&Seen| seen.request.state.as_str() == "open";
    let waiting: Vec<&Seen> = seen.iter().filter(|seen| seen.approves && !seen.own).filter(open).collect();
    let own: Vec<&Seen> = seen.iter().rev().filter(|seen| seen.own).take(DECIDED_SHOWN).collect();
    let decided: Vec<&Seen> =
        seen.iter().rev().filter(|seen| !seen.own).filter(|seen| !open(seen)).take(DECIDED_SHOWN).collect();
    let approves = seen.iter().any(|seen| seen.approves) || frame.staff;
    let section = |id: &str, title: &str, none: &str, lines: &[&Seen]| {
        html! {
            section aria-labelledby=(id) {
                h2 id=(id) { (title) }
                @if lines.is_empty() { p class="none" { (none) } }
                @else { ul class="plain lines" { @for seen in lines { li { (line(seen)) } } } }
            }
        }
    };
    let body = html! {
        @if approves { (section("waiting", "Waiting for you", "No request waits for you.", &waiting)) }
        (section("own", "Yours", "You asked for nothing yet.", &own))
        p { a href="/my/ask" { "Ask for access" } }
        @if !decided.is_empty() { (section("decided", "Decided lately", "", &decided)) }
    };
    Ok(frame.page("/my/requests", "Requests", &body))
}

pub(super) async fn one(guarded: &Guarded, id: String, done: Option<&str>) -> Result<Response, Refusal> {
    let frame = Frame::of(guarded);
    let seen = one_request(guarded.also(Action::AccessRead, PlaceOf::Own), id).await?;
    let request = &seen.request;
    let (terms, state) = (&request.terms, request.state.as_str());
    let path = |what: &str| format!("/view/requests/{}/{what}", terms.request);
    let approved: Vec<&str> = request.approvals.iter().map(|approval| approval.by.account.as_str()).collect();
    let body = html! {
        (said(done))
        p { strong class={ "state " (state) } { (state) } @if matches!(state, "open" | "approved") { ", void at " (moment(terms.void_at())) } }
        dl class="facts" {
            dt { "Role" } dd { (terms.role) ": " (purpose(terms.role)) }
            dt { "Where" } dd { (prose(&terms.place.to_string())) }
            dt { "For" } dd { (terms.beneficiary.account) @if terms.beneficiary != terms.requester { ", asked by " (terms.requester.account) } }
            dt { "Hours" } dd { (terms.hours) ", from when it is begun" }
            dt { "Ticket" } dd { (terms.ticket.as_str()) }
            dt { "Reason" } dd { (terms.reason) }
            dt { "Asked" } dd { (moment(terms.created)) }
            @if !approved.is_empty() { dt { "Approved by" } dd { (approved.join(", ")) } }
        }
        @if seen.approves && !seen.own && state == "open" {
            section aria-labelledby="decide" {
                h2 id="decide" { "Your decision" }
                @for text in words_of(request, "Approve or refuse") { p { (prose(&text)) } }
                (change(&path("decide"), &html! {
                    input type="hidden" name="digest" value=(request.digest);
                    button type="submit" name="verdict" value="approve" { "Approve" }
                    button type="submit" name="verdict" value="deny" class="quiet" { "Refuse" }
                }))
                p class="hint" { "Who has an authenticator signs the decision with it." }
            }
        }
        @if seen.own && state == "approved" {
            (change(&path("activate"), &html! { button type="submit" { "Begin: " (terms.role) " for " (terms.hours) " h" } }))
        }
        @if seen.own && state == "open" { p { "Somebody else approves it. Send them the address of this page." } }
        @if seen.asked && matches!(state, "open" | "approved") {
            (button(&path("withdraw"), "Take it back", "The request is over then; you can ask anew."))
        }
    };
    Ok(frame.page("/my/requests", "Request for access", &body))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    digest: String,
    verdict: Verdict,
}

pub(super) async fn decide(guarded: Guarded, url: String, id: String, given: Decision) -> Result<Response, Refusal> {
    let again = guarded.also(Action::AccessRead, PlaceOf::Own);
    match decide_on(guarded, url, id.clone(), (given.verdict, given.digest)).await? {
        Signed::Asked { verify, .. } => Ok(to_sign(&Frame::of(&again), "/my/requests", &verify)),
        Signed::Done(request) => {
            let said = format!("The request is {}.", request.state.as_str());
            Ok(at(&format!("/my/requests/{id}"), one(&again, id, Some(&said)).await?))
        }
    }
}
