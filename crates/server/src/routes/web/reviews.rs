//! Reviews of access: what is under review, and a decision on each line.

use std::collections::BTreeMap;

use axum::response::Response;
use creta_iam::{Action, Role};
use creta_programme::campaign::{Line, Verdict};
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{Frame, at, change, said, to_sign};
use super::words::moment;
use crate::context::{Guarded, PlaceOf};
use crate::problem::Refusal;
use crate::routes::agreed::Signed;
use crate::routes::reviews::{Decision, SeenReview, all, decide_on, seen};

pub(super) async fn list(guarded: Guarded) -> Result<Response, Refusal> {
    let frame = Frame::of(&guarded);
    let reviews = all(guarded).await?;
    let body = html! {
        @if reviews.is_empty() { p class="none" { "No reviews yet; the first opens with the next quarter." } }
        ul class="plain lines" {
            @for review in reviews.iter().rev() {
                @let decided = review.lines.iter().filter(|line| line.decision.is_some()).count();
                li {
                    a href={ "/my/reviews/" (review.id) } { "Opened " (moment(review.opened)) }
                    ": " (decided) " of " (review.lines.len()) " decided, "
                    @match review.closed { Some(at) => { "closed " (moment(at)) }, None => { strong { "open" } } }
                }
            }
        }
    };
    Ok(frame.page("/my/reviews", "Reviews of access", &body))
}

pub(super) async fn one(guarded: &Guarded, id: String, done: Option<&str>) -> Result<Response, Refusal> {
    let frame = Frame::of(guarded);
    let SeenReview { campaign, conflicts, needs, decides } =
        seen(guarded.also(Action::ReviewRead, PlaceOf::Environment), id).await?;
    let all = campaign.lines.iter().zip(conflicts.iter().zip(&needs));
    let (undone, settled): (Vec<_>, Vec<_>) = all.partition(|(line, _)| line.decision.is_none());
    let path = format!("/view/reviews/{}/decide", campaign.id);
    let open = campaign.closed.is_none();
    let body = html! {
        (said(done))
        p { "Opened " (moment(campaign.opened)) ". " @match campaign.closed { Some(at) => { "Closed " (moment(at)) "." }, None => { (undone.len()) " of " (campaign.lines.len()) " to decide." } } }
        @if open && undone.is_empty() { p { "Close it with " code { "creta review close " (campaign.id) } "." } }
        @if !undone.is_empty() {
            section aria-labelledby="undone" {
                h2 id="undone" { "To decide" }
                ul class="cards" {
                    @for (line, (conflict, needs)) in undone {
                        li {
                            (what(line, needs))
                            @match conflict {
                                Some(rule) => { p class="none" { "Not yours to decide: " (rule) "." } },
                                None if decides && open => { (decision(&path, line)) },
                                None => {},
                            }
                        }
                    }
                }
            }
        }
        @if !settled.is_empty() {
            section aria-labelledby="settled" {
                h2 id="settled" { "Decided" }
                ul class="cards" { @for (line, (_, needs)) in settled { li { (what(line, needs)) (decided(line)) } } }
            }
        }
    };
    Ok(frame.page("/my/reviews", "Review of access", &body))
}

fn what(line: &Line, needs: &BTreeMap<Role, String>) -> Markup {
    let given: Vec<&str> = line.identity.given().collect();
    let people: Vec<&str> = line.identity.people.iter().map(|person| person.as_str()).collect();
    let actions: Vec<&str> = line.identity.actions().collect();
    html! {
        h3 { (line.identity.subject) }
        p { "Holds " @if given.is_empty() { "nothing" } @else { (given.join(", ")) } @if !people.is_empty() { "; of " (people.join(", ")) } "." }
        @if !needs.is_empty() { ul { @for (role, need) in needs { li { (role) ": " (need) } } } }
        @if !actions.is_empty() {
            details {
                summary { "By the policies in force: " (actions.len()) @if actions.len() == 1 { " action" } @else { " actions" } }
                p { (actions.join(", ")) }
            }
        }
    }
}

fn decision(path: &str, line: &Line) -> Markup {
    let subject = line.identity.subject.as_str();
    html! {
        details {
            summary { "Decide on " (subject) }
            (change(path, &html! {
                input type="hidden" name="subject" value=(subject);
                input type="hidden" name="digest" value=(line.digest());
                label { "Why " textarea name="reason" required rows="2" maxlength="500" {} }
                button type="submit" name="verdict" value="keep" { "Keep" }
                button type="submit" name="verdict" value="revoke" class="serious" { "Take away" }
            }))
        }
    }
}

fn decided(line: &Line) -> Markup {
    html! {
        @if let Some(decision) = &line.decision {
            p {
                @match decision.verdict { Verdict::Keep => "Kept", Verdict::Revoke => "Taken away" }
                @match &decision.by { Some(by) => { " by " (by.account) }, None => " for want of an answer" }
                ", " (moment(decision.at)) ": " (decision.reason)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    subject: String,
    digest: String,
    verdict: Verdict,
    reason: String,
}

pub(super) async fn decide(guarded: Guarded, url: String, id: String, given: Given) -> Result<Response, Refusal> {
    let again = guarded.also(Action::ReviewRead, PlaceOf::Environment);
    let reason = given.reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let decision = Decision { subject: given.subject, digest: given.digest, verdict: given.verdict, reason };
    match decide_on(guarded, url, id.clone(), decision).await? {
        Signed::Asked { verify, .. } => Ok(to_sign(&Frame::of(&again), "/my/reviews", &verify)),
        Signed::Done(line) => {
            let said = format!("What {} holds is decided.", line.identity.subject);
            Ok(at(&format!("/my/reviews/{id}"), one(&again, id, Some(&said)).await?))
        }
    }
}
