//! Access policies of one's own: what holds, what is proposed, and approving it as it was shown.

use axum::response::Response;
use creta_iam::{Action, Allowance};
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{Frame, at, change, said, to_sign};
use super::words::{moment, prose};
use crate::context::{Guarded, PlaceOf};
use crate::policies::PolicyRecord;
use crate::problem::Refusal;
use crate::routes::agreed::Signed;
use crate::routes::policies::{approve_as_shown, book, shown};

/// Differences that a page shows of each kind; the digest covers all of them.
const SHOWN_MAX: usize = 12;

fn proposer(record: &PolicyRecord) -> String {
    record.proposed_by.as_ref().map_or_else(|| "the local administrator".to_owned(), |by| by.account.to_string())
}

pub(super) async fn list(guarded: Guarded) -> Result<Response, Refusal> {
    let frame = Frame::of(&guarded);
    let (in_force, proposals) = book(guarded).await?;
    let body = html! {
        section aria-labelledby="holds" {
            h2 id="holds" { "In force beside the built-in ones" }
            @match &in_force { Some(record) => { pre tabindex="0" aria-label="Policies in force" { (record.text.trim()) } }, None => { p class="none" { "None." } } }
        }
        section aria-labelledby="proposals" {
            h2 id="proposals" { "Proposals" }
            @if proposals.is_empty() { p class="none" { "Nobody proposed any. Propose with " code { "creta access policy propose FILE" } "." } }
            ul class="plain lines" {
                @for record in proposals.iter().rev() {
                    li { a href={ "/my/policies/" (record.id) } { "By " (proposer(record)) ", " (moment(record.proposed)) }
                        ": " @if in_force.as_ref().is_some_and(|other| other.id == record.id) { strong { "in force" } } @else { "not in force" } }
                }
            }
        }
    };
    Ok(frame.page("/my/policies", "Access policies", &body))
}

pub(super) async fn one(guarded: &Guarded, id: String, done: Option<&str>) -> Result<Response, Refusal> {
    let frame = Frame::of(guarded);
    let (compared, may_approve) = shown(guarded.also(Action::PolicyRead, PlaceOf::Environment), id).await?;
    let (record, comparison) = (&compared.record, &compared.comparison);
    let body = html! {
        (said(done))
        p { "Proposed by " (proposer(record)) ", " (moment(record.proposed)) ". " @if compared.in_force { strong { "In force." } } @else { "Not in force." } }
        pre tabindex="0" aria-label="The proposed policies" { (record.text.trim()) }
        // What holds is the same as itself.
        @if !compared.in_force {
            (differences("wider", "Would be allowed", &comparison.wider))
            (differences("narrower", "Would no longer be allowed", &comparison.narrower))
        }
        @if may_approve && !compared.in_force {
            (change(&format!("/view/policies/{}/approve", record.id), &html! {
                input type="hidden" name="digest" value=(compared.digest);
                button type="submit" { "Approve, and put in force" }
            }))
            p class="hint" { "Another human than the one who proposed it approves, and signs with their authenticator." }
        }
    };
    Ok(frame.page("/my/policies", "Proposed policies", &body))
}

fn differences(id: &str, title: &str, all: &[Allowance]) -> Markup {
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) ": " (all.len()) }
            ul { @for one in all.iter().take(SHOWN_MAX) { li { (prose(&one.to_string())) } } }
            @if all.len() > SHOWN_MAX { p { "And " (all.len() - SHOWN_MAX) " more." } }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    digest: String,
}

pub(super) async fn approve(guarded: Guarded, url: String, id: String, given: Given) -> Result<Response, Refusal> {
    let again = guarded.also(Action::PolicyRead, PlaceOf::Environment);
    match approve_as_shown(guarded, url, id.clone(), given.digest).await? {
        Signed::Asked { verify, .. } => Ok(to_sign(&Frame::of(&again), "/my/policies", &verify)),
        Signed::Done(_) => {
            Ok(at(&format!("/my/policies/{id}"), one(&again, id, Some("The policies are in force.")).await?))
        }
    }
}
