//! The sealed emergency account: its halves, its openings, and their reviews.

use std::net::IpAddr;
use std::sync::Arc;

use axum::response::Response;
use creta_audit::{Details, Event};
use creta_identity::dpop::Expected;
use creta_model::{Instant, Problem};
use creta_programme::access::Reason;
use creta_programme::break_glass::{Finding, Opening, ReviewState};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::context::{Guarded, Input, require_proof, whole};
use crate::failures::Attempt;
use crate::http::App;
use crate::people::break_glass::{AskedToOpen, SealRecord, word};
use crate::problem::{Refusal, from_audit, internal};
use crate::routes::access::as_person;
use crate::routes::json as answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealing {
    /// The two people.
    holders: [String; 2],
}

/// Makes the halves anew.
pub(super) async fn seal(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Sealing { holders } = input.json()?;
    let seal = guarded
        .act(Details::none(), move |admitted| {
            let (by, on_call) = (admitted.permit.principal(), admitted.app.trust.pager.contacts());
            let holders = [holders[0].as_str(), holders[1].as_str()];
            let seal = admitted.app.people.seal(admitted.control, by, holders, on_call, admitted.now())?;
            Ok(seal_view(&seal))
        })
        .await?;
    answer(&seal)
}

/// Hands a holder their half, once.
pub(super) async fn take(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let taken = guarded
        .act(Details::none(), |admitted| {
            admitted.person()?;
            let people = &admitted.app.people;
            let (half, secret) = people.take_half(admitted.control, admitted.permit.principal(), admitted.now())?;
            Ok((half, secret))
        })
        .await?;
    let (half, secret) = taken;
    answer(&json!({ "half": word(half), "secret": secret.expose().as_str() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    person: String,
    #[serde(deserialize_with = "secret")]
    half: Zeroizing<String>,
    reason: String,
    #[serde(default, deserialize_with = "whole")]
    minutes: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Second {
    person: String,
    #[serde(deserialize_with = "secret")]
    half: Zeroizing<String>,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// The first half: its holder signs in a browser, and waits with the session that this answer names.
pub(super) async fn begin(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let First { person, half, reason, minutes } = input.json()?;
    let work = tokio::task::spawn_blocking(move || {
        let key = require_proof(&app, &input.presented(), Expected::default())?.thumbprint;
        let (origin, now) = (app.people.public_url(&input.url)?, app.control.platform().clock.now());
        // More than a byte holds is more than an hour as well.
        let minutes = u8::try_from(minutes.unwrap_or(30)).unwrap_or(u8::MAX);
        let (account, half, reason) = (person.as_str(), half.as_str(), reason.as_str());
        let asked = AskedToOpen { origin: &origin, account, half, reason, minutes, thumbprint: key.as_str() };
        let began = guess(&app, input.address, || app.people.ask_to_open(&app.control, &asked, now))?;
        Ok::<_, Problem>(json!({
            "opening": began.opening.to_string(),
            "verify": format!("{origin}/sign-in/verify?prompt={}", began.prompt.id),
            "person": began.session.person,
            "session": began.session.id,
            "renewal": began.renewal.as_str(),
            "expires": began.session.expires,
        }))
    });
    answer(&work.await.map_err(|_| internal())??)
}

/// The second half: its holder signs in a browser.
pub(super) async fn join(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let Second { person, half } = input.json()?;
    let work = tokio::task::spawn_blocking(move || {
        let (origin, now) = (app.people.public_url(&input.url)?, app.control.platform().clock.now());
        let shown = (input.path("id"), person.as_str(), half.as_str());
        let prompt = guess(&app, input.address, || app.people.ask_to_join(&app.control, &origin, shown, now))?;
        Ok::<_, Problem>(json!({ "verify": format!("{origin}/sign-in/verify?prompt={}", prompt.id) }))
    });
    answer(&work.await.map_err(|_| internal())??)
}

/// Lets somebody try a half, and counts it when it was none: for both halves together, and by network alone. Halves cannot be
/// guessed; who tries it from elsewhere must not keep their holders out.
fn guess<T>(app: &App, address: IpAddr, attempt: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    let now = app.control.platform().clock.monotonic();
    if let Some(wait) = app.failures.wait(Attempt::Half, "", address, now) {
        let says = format!("too many halves that were none; wait {} s", wait.as_secs() + 1);
        return Err(Problem::new("auth/too-many-failures", says));
    }
    let tried = attempt();
    let is_wrong = tried.as_ref().is_err_and(|problem| problem.code == "auth/bad-half");
    if is_wrong && app.failures.count(Attempt::Half, "", address, now) {
        app.control.record(Event::new("break-glass.refused", app.control.place()).for_commitment("CH-33"));
    }
    tried
}

/// The seal and all openings.
pub(super) async fn show(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let view = guarded
        .act(Details::none(), |admitted| {
            let (glass, now) = (&admitted.app.people.break_glass, admitted.now());
            let openings: Vec<Value> = glass.openings().iter().map(|opening| view(opening, now)).collect();
            Ok(json!({ "seal": glass.seal().as_ref().map(seal_view), "openings": openings }))
        })
        .await?;
    answer(&view)
}

/// Closes the account before its time.
pub(super) async fn close(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("opening", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let closed = guarded
        .act(details, move |admitted| {
            let people = &admitted.app.people;
            let by = admitted.human()?;
            let closed = people.close_opening(admitted.control, &by, &id, admitted.now())?;
            Ok(view(&closed, admitted.now()))
        })
        .await?;
    answer(&closed)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Review {
    finding: Finding,
    words: String,
}

/// Somebody who did not open it says what they found.
pub(super) async fn review(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Review { finding, words } = input.json()?;
    let words = Reason::without_ticket(&words).map_err(|fault| Problem::new("request/reason", fault.to_string()))?;
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("opening", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let reviewed = guarded
        .act(details, move |admitted| {
            as_person(admitted, |actor| {
                let people = &admitted.app.people;
                let reviewed = people.review_opening(actor.control, actor.person, (&id, finding, &words), actor.now)?;
                Ok(view(&reviewed, actor.now))
            })
        })
        .await?;
    answer(&reviewed)
}

fn seal_view(seal: &SealRecord) -> Value {
    let holders = seal
        .slots
        .iter()
        .map(|slot| json!({ "half": word(slot.half), "person": slot.holder.account, "taken": slot.taken }));
    json!({
        "seal": seal.number.to_string(),
        "made": seal.made,
        "by": seal.by,
        "holders": holders.collect::<Vec<_>>(),
        "ready": seal.ready().is_some(),
        "spent": seal.spent.map(|opening| opening.to_string()),
    })
}

fn view(opening: &Opening, now: Instant) -> Value {
    let shown =
        opening.halves.iter().map(|shown| json!({ "half": word(shown.half), "by": shown.by.account, "at": shown.at }));
    let review = match opening.review_state(now) {
        ReviewState::NotNeeded => "not-needed",
        ReviewState::Due => "due",
        ReviewState::Overdue => "overdue",
        ReviewState::Done => "done",
    };
    json!({
        "opening": opening.id.to_string(),
        "reason": opening.reason,
        "minutes": opening.minutes,
        "halves": shown.collect::<Vec<_>>(),
        "open": opening.require_open(now).is_ok(),
        "expires": opening.expires(),
        "closed": opening.closed_at,
        "review": review,
        "found": opening.review.as_ref().map(|review| json!(review.finding)),
    })
}
