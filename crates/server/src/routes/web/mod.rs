//! Pages for people: what they may do and why, what they ask for, what waits for them.
//!
//! A page is an address below `/my` whose document shows nothing; its script asks below `/view` for what it shows, and proves
//! the browser's key with each request. What stands below `/view` is guarded like the API and does nothing by itself: it
//! calls what the API's routes call, with the same permits and the same entries in the log.

mod accesses;
mod computer;
mod frame;
mod overview;
mod policies;
mod requests;
mod reviews;
mod signing_in;
mod watch;
mod words;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use creta_audit::Details;
use creta_iam::Action;
use creta_model::Problem;
use serde::de::DeserializeOwned;

pub(crate) use self::frame::{Frame, refused};
pub(in crate::routes) use self::signing_in::{arrive, begin};
use crate::context::{Guarded, Input, PlaceOf};
use crate::http::App;
use crate::problem::Refusal;
use crate::routes::sign_in::redirect;
use crate::routes::typed;

const SCRIPT: &str = include_str!("script.js");
const STYLE: &str = include_str!("style.css");

/// Any page: the same document for all, which holds nothing.
pub(super) async fn shell(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    // Cookie and key belong to one name of this server, the one that authenticators know too.
    let url = app.people.public_url(&input.url)?;
    if let Some(path) = input.url.strip_prefix("https://").and_then(|rest| rest.find('/').map(|at| &rest[at..]))
        && !input.url.starts_with(&format!("{url}/"))
    {
        let query = if input.query.is_empty() { String::new() } else { format!("?{}", input.query) };
        return Ok(redirect(&format!("{url}{path}{query}"), None)?);
    }
    Ok(frame::shell(app.control.platform().clock.now().micros().div_euclid(1_000_000)))
}

/// The script of all pages.
pub(super) async fn script(_app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    Ok(typed("text/javascript; charset=utf-8", SCRIPT))
}

/// The style of all pages.
pub(super) async fn style(_app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    Ok(typed("text/css; charset=utf-8", STYLE))
}

/// My access.
pub(super) async fn overview(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    overview::page(&guarded, None).await
}

/// The form that asks for access, filled in as far as its address says.
pub(super) async fn ask(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    requests::form(guarded, input.query()?).await
}

/// Asks for access.
pub(super) async fn asked(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    requests::ask(guarded, form(&input)?).await
}

/// All requests that concern somebody.
pub(super) async fn requests(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    requests::list(guarded).await
}

/// One of them.
pub(super) async fn request(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    requests::one(&guarded, input.path("id").to_owned(), None).await
}

/// Approves or refuses it, or says where that is signed.
pub(super) async fn decide(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let given = form(&input)?;
    requests::decide(guarded, input.url.clone(), input.path("id").to_owned(), given).await
}

/// Begins what was approved.
pub(super) async fn activate(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let again = guarded.also(Action::AccessRead, PlaceOf::Own);
    let (grant, now) = super::access::begin(guarded, input.path("id").to_owned()).await?;
    let terms = &grant.terms;
    let left = words::left(now, grant.expires);
    let said = format!("You are {} of {} for {left}. Give it back when you are done.", terms.role, terms.place);
    Ok(frame::at("/my", overview::page(&again, Some(&said)).await?))
}

/// Takes a request back.
pub(super) async fn withdraw(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let again = guarded.also(Action::AccessRead, PlaceOf::Own);
    let id = input.path("id").to_owned();
    super::access::take_back(guarded, id.clone()).await?;
    let address = format!("/my/requests/{id}");
    Ok(frame::at(&address, requests::one(&again, id, Some("The request is taken back.")).await?))
}

/// Gives a grant back.
pub(super) async fn give_back(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let again = guarded.also(Action::AccessRead, PlaceOf::Own);
    let (grant, _) = super::access::hand_back(guarded, input.path("id").to_owned()).await?;
    let said = format!("You are no longer {} of {}.", grant.terms.role, grant.terms.place);
    Ok(frame::at("/my", overview::page(&again, Some(&said)).await?))
}

/// Takes a grant away from somebody.
pub(super) async fn revoke(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let again = guarded.also(Action::AccessRead, PlaceOf::Own);
    let (grant, _) = super::access::take_away(guarded, input.path("id").to_owned()).await?;
    let (holder, terms) = (&grant.holder().account, &grant.terms);
    let said = format!("{holder} is no longer {} of {}.", terms.role, terms.place);
    Ok(frame::at("/my", overview::page(&again, Some(&said)).await?))
}

/// Ends a session: this one, and nobody is signed in here any more; or another.
pub(super) async fn end_session(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let again = guarded.also(Action::AccessRead, PlaceOf::Own);
    let ended = super::people::end_one(guarded, input.path("id").to_owned()).await?;
    if ended.this {
        return Ok(frame::at("/my", signing_in::forgotten(frame::signed_out())));
    }
    Ok(frame::at("/my", overview::page(&again, Some("The session is over.")).await?))
}

/// Says where it is signed that an authenticator is taken away.
pub(super) async fn remove_factor(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let frame = frame::Frame::of(&guarded);
    let (_, verify) = super::factors::ask(guarded, input.url.clone(), input.path("id").to_owned()).await?;
    Ok(frame::to_sign(&frame, "/my", &verify))
}

/// The computer that this browser runs on, and asking it to vouch for the browser.
pub(super) async fn computer(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    computer::page(guarded, input.query()?).await
}

/// Tells the browser the word that its computer needs.
pub(super) async fn offer(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    computer::offer(guarded, form(&input)?).await
}

/// Who saw a tenant's data.
pub(super) async fn accesses(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    accesses::page(guarded, input.query()?).await
}

/// All reviews of access.
pub(super) async fn reviews(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    reviews::list(guarded).await
}

/// One of them.
pub(super) async fn review(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    reviews::one(&guarded, input.path("id").to_owned(), None).await
}

/// Decides on one line of it, or says where that is signed.
pub(super) async fn decide_review(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let given = form(&input)?;
    reviews::decide(guarded, input.url.clone(), input.path("id").to_owned(), given).await
}

/// The access policies of one's own, and all proposals.
pub(super) async fn policies(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    policies::list(guarded).await
}

/// One proposal beside what it would change.
pub(super) async fn policy(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    policies::one(&guarded, input.path("id").to_owned(), None).await
}

/// Puts it in force, or says where that is signed.
pub(super) async fn approve_policy(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let given = form(&input)?;
    policies::approve(guarded, input.url.clone(), input.path("id").to_owned(), given).await
}

/// Tells an open page when its reader's session is over, or anything they held was taken away.
pub(super) async fn watch(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let (turn, holds) = (guarded.app().watch_turn()?, guarded.still_holds());
    let app = guarded.shared_app();
    let holds = move || app.is_ready().then(&holds);
    guarded.act(Details::none(), |_| Ok(())).await?;
    Ok(typed("text/plain; charset=utf-8", Body::new(watch::Watch::new(turn, holds))))
}

/// The body as the form of a page. Unknown and repeated fields are refused as the type says.
fn form<T: DeserializeOwned>(input: &Input) -> Result<T, Problem> {
    input.require_content_type("application/x-www-form-urlencoded")?;
    input.form()
}
