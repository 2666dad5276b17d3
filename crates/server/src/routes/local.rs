//! Tenants' own people who sign in here: invitations, passwords, and second factors of whoever has no security key.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use creta_audit::{Details, Event};
use creta_iam::Role;
use creta_model::{Problem, TenantId};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::sign_in::{COOKIE, cookie_with, go, html, page, redirect, to_provider};
use crate::context::{Guarded, Input};
use crate::failures::{Attempt, EVERYWHERE};
use crate::http::App;
use crate::people::changes::{PersonChange, word_of};
use crate::people::guesses::Door;
use crate::people::web::require_own_form;
use crate::people::{Step, pages};
use crate::problem::{Refusal, from_audit};
use crate::routes::json as answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invitation {
    /// Becomes the name that they sign in with.
    email: String,
    tenant: TenantId,
    #[serde(default)]
    roles: BTreeSet<Role>,
    /// Which need the roles serve that are new to them.
    #[serde(default)]
    need: Option<String>,
}

/// Invites somebody to a tenant, or anew. The answer holds the link, which nobody can see again.
pub(super) async fn invite(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Invitation { email, tenant, roles, need } = input.json()?;
    let details = Details::none().keyed("person", email.as_bytes()).map_err(|e| from_audit(&e))?;
    let place = tenant.clone();
    let url = input.url.clone();
    let invited = guarded
        .act_at(
            move |app| super::control::home_of(app, &place),
            details,
            move |admitted| {
                let people = &admitted.app.people;
                admitted.control.require_tenant(&tenant)?;
                let url = people.public_url(&url)?;
                if let Ok(known) = people.require_person(&email.to_ascii_lowercase()) {
                    super::people::require_somebody_else(admitted, &known)?;
                }
                let by = (admitted.control, admitted.permit.principal());
                let person = super::changes::person_named(&email)?;
                let change =
                    PersonChange::Invite { person, tenant: tenant.clone(), roles: roles.clone(), need: need.clone() };
                let agreed = people.agreed_change(admitted.control, &admitted.permit, &change)?;
                let word = agreed.map(|agreed| word_of(admitted.control.own_key(), &agreed));
                let (whom, given) = ((email.as_str(), &tenant), (roles, need));
                let invited = people.invite(by, whom, given, word.as_deref(), admitted.now())?;
                Ok(json!({
                    "person": invited.person.id,
                    "tenant": tenant,
                    "roles": invited.person.roles,
                    "link": format!("{url}/sign-in/invited?code={}", invited.code.as_str()),
                    "expires": invited.expires,
                    "word": word.is_some(),
                }))
            },
        )
        .await?;
    Ok((StatusCode::CREATED, answer(&invited)?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    code: String,
}

/// The page where whoever was invited chooses a password. Looking at it uses nothing up.
pub(super) async fn invited(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    require_used(&app)?;
    let code: Result<Code, Problem> = input.query();
    page(code, app, input, |app, input, Code { code }| {
        let now = app.control.platform().clock.now();
        let person = try_code(app, input, || app.people.invited(&app.control, &code, now))?;
        let asks_word = app.people.asks_for_word(&person);
        Ok(html(StatusCode::OK, pages::choose_password(&code, person.id.as_str(), asks_word, None)))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    code: String,
    /// The other half of an invitation that took two people.
    #[serde(default)]
    word: String,
    password: Zeroizing<String>,
    again: Zeroizing<String>,
}

/// A password was chosen.
pub(super) async fn choose(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    require_used(&app)?;
    let chosen = input.form::<Chosen>();
    page(chosen, app, input, |app, input, Chosen { code, word, password, again }| {
        let (control, now) = (&app.control, app.control.platform().clock.now());
        require_own_form(app, &input.presented())?;
        let person = try_code(app, input, || app.people.invited(control, &code, now))?;
        let asks_word = app.people.asks_for_word(&person);
        let shown = |problem: &Problem| {
            let page = pages::choose_password(&code, person.id.as_str(), asks_word, Some(problem));
            Ok(html(StatusCode::UNPROCESSABLE_ENTITY, page))
        };
        if let Err(problem) = try_code(app, input, || app.people.require_word(control, &person, &word)) {
            return if is_wrong(&Err::<(), _>(problem.clone())) { shown(&problem) } else { Err(problem) };
        }
        if password != again {
            return shown(&Problem::new("request/password", "the two are not the same; type it twice"));
        }
        let generation = app.people.generations.of(person.id.as_str());
        match app.people.accept_invitation(control, &code, &password, now) {
            Err(problem) if problem.code == "request/password" => shown(&problem),
            Err(problem) => Err(problem),
            Ok(person) => {
                let cookie = app.people.begin_registration(control, &person, generation)?;
                redirect("/sign-in/second-factor", Some(&cookie_with(&cookie)))
            }
        }
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: Zeroizing<String>,
    /// `provider`: sign in there instead.
    #[serde(default)]
    with: Option<String>,
}

/// Name and password were typed, or the provider was chosen. Nothing is here where nobody has a password.
pub(super) async fn password(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    require_used(&app)?;
    let typed = input.form::<Typed>();
    page(typed, app, input, |app, input, Typed { name, password, with }| {
        require_own_form(app, &input.presented())?;
        let (cookie, now) = (cookie_of(input), app.control.platform().clock.now());
        if with.is_some() {
            let (purpose, _) = app.people.sign_ins.page(&cookie, now).ok_or_else(crate::people::over)?;
            return to_provider(app, input, purpose);
        }
        let origin = app.people.public_url(&input.url)?;
        let typed = (name.as_str(), password.as_str());
        let done = guess_password(app, input, &name, |door| {
            app.people.password_typed(&app.control, (&cookie, &origin), typed, door)
        });
        match done {
            Err(problem) if problem.code == "auth/bad-password" => {
                let provider = app.people.require_provider().is_ok();
                Ok(html(StatusCode::UNAUTHORIZED, pages::begin(provider, Some(&problem))))
            }
            done => knowing(app, go(done?)?, &name),
        }
    })
    .await
}

/// The page that asks for a code, or for a second factor to be registered.
pub(super) async fn second_factor(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    page(Ok(()), app, input, |app, input, ()| show_factor(app, &cookie_of(input), StatusCode::OK, None)).await
}

fn show_factor(app: &App, cookie: &[u8], status: StatusCode, wrong: Option<&Problem>) -> Result<Response, Problem> {
    let page = app.people.sign_ins.page(cookie, app.control.platform().clock.now());
    let elsewhere = page.as_ref().and_then(|(purpose, _)| purpose.elsewhere());
    let elsewhere = elsewhere.as_deref();
    match page.map(|(_, step)| step) {
        Some(Step::Code(_)) => Ok(html(status, pages::enter_factor(elsewhere, wrong))),
        Some(Step::Register { address, .. }) => Ok(html(status, pages::register_factor(&address, elsewhere, wrong))),
        _ => wrong.map_or_else(|| Err(crate::people::over()), |problem| Err(problem.clone())),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Factor {
    #[serde(default)]
    code: String,
    /// `yes`: a security key or device instead.
    #[serde(default)]
    key: Option<String>,
}

/// A code was typed.
pub(super) async fn factor_typed(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let factor = input.form::<Factor>();
    page(factor, app, input, |app, input, Factor { code, key }| {
        require_own_form(app, &input.presented())?;
        let cookie = cookie_of(input);
        if key.is_some() {
            let origin = app.people.public_url(&input.url)?;
            return go(app.people.register_key_instead(&app.control, (&cookie, &origin))?);
        }
        let now = app.control.platform().clock.now();
        let who = app.people.sign_ins.page(&cookie, now).and_then(|(_, step)| match step {
            Step::Begin => None,
            Step::Code(who) | Step::Register { who, .. } => Some(who.person),
        });
        let who = who.ok_or_else(crate::people::over)?;
        let whose = Guess { kind: Attempt::Code, whose: who.as_str() };
        let origin = app.people.public_url(&input.url)?;
        match guess(app, &whose, || app.people.code_typed(&app.control, (&cookie, &origin), &code)) {
            Err(problem) if problem.code == "access/authenticator" => {
                show_factor(app, &cookie, StatusCode::FORBIDDEN, Some(&problem))
            }
            done => go(done?),
        }
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(deserialize_with = "secret")]
    current: Zeroizing<String>,
    #[serde(deserialize_with = "secret")]
    new: Zeroizing<String>,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// Somebody who is signed in chooses another password.
pub(super) async fn change(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Change { current, new } = input.json()?;
    let changed = guarded
        .act(Details::none(), move |admitted| {
            let person = admitted.person()?;
            let (own, passwords) = ((&person, admitted.session), (current.as_str(), new.as_str()));
            let whose = Guess { kind: Attempt::PresentPassword, whose: person.id.as_str() };
            let now = admitted.now();
            let changed = guess(admitted.app, &whose, || {
                admitted.app.people.change_password(admitted.control, own, passwords, now)
            });
            changed.map_err(|problem| match problem.code.as_str() {
                // Who asks is known; it is the word of whoever sits there that is wrong.
                "auth/bad-password" => Problem::new("access/bad-password", "this is not your present password"),
                _ => problem,
            })?;
            Ok(json!({ "person": person.id }))
        })
        .await?;
    answer(&changed)
}

/// Where nobody has a password there is nothing at these paths.
fn require_used(app: &App) -> Result<(), Refusal> {
    if app.people.local.is_used() {
        return Ok(());
    }
    Err(Problem::new("not-found/path", "there is nothing at this path")
        .with_help("people sign in at the provider")
        .into())
}

fn cookie_of(input: &Input) -> Vec<u8> {
    input.cookie(COOKIE).and_then(|cookie| hex::decode(cookie).ok()).unwrap_or_default()
}

/// What somebody tries to know, and whose it is.
struct Guess<'a> {
    kind: Attempt,
    whose: &'a str,
}

/// Lets somebody try what cannot be guessed, and counts by network what was wrong: only who tries has to wait.
fn try_code<T>(app: &App, input: &Input, attempt: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    let now = app.control.platform().clock.monotonic();
    if let Some(wait) = app.failures.wait(Attempt::Invitation, "", input.address, now) {
        return Err(has_to_wait(wait));
    }
    let tried = attempt();
    if is_wrong(&tried) && app.failures.count(Attempt::Invitation, "", input.address, now) {
        record_refusal(app);
    }
    tried
}

/// Lets somebody guess. It is counted for whose it is, from wherever it comes, before it is made: of many at once no more are
/// made than may be wrong. Accounts that do not exist count like those that do.
fn guess<T>(
    app: &App,
    Guess { kind, whose }: &Guess<'_>,
    attempt: impl FnOnce() -> Result<T, Problem>,
) -> Result<T, Problem> {
    let now = app.control.platform().clock.monotonic();
    app.failures.begin(*kind, whose, EVERYWHERE, now).map_err(has_to_wait)?;
    let tried = attempt();
    if !is_wrong(&tried) {
        app.failures.give_back(*kind, whose, EVERYWHERE);
    } else if app.failures.is_recorded(*kind, now) {
        record_refusal(app);
    }
    tried
}

/// Lets a browser try a password. One in which that person's password was right before is counted by itself: strangers who
/// guess at the name keep out browsers that nobody knows, and not these.
fn guess_password<T>(
    app: &App,
    input: &Input,
    name: &str,
    attempt: impl FnOnce(Door) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let (now, name) = (app.control.platform().clock.monotonic(), name.trim().to_ascii_lowercase());
    if let Some(browser) = known_browser(app, input, &name) {
        let whose = format!("{name} {browser}");
        return guess(app, &Guess { kind: Attempt::PasswordInKnownBrowser, whose: &whose }, || attempt(Door::Known));
    }
    if let Some(wait) = app.failures.wait(Attempt::Typed, "", input.address, now) {
        return Err(has_to_wait(wait));
    }
    let tried = guess(app, &Guess { kind: Attempt::Password, whose: &name }, || attempt(Door::Unknown));
    if is_wrong(&tried) {
        app.failures.count(Attempt::Typed, "", input.address, now);
    }
    tried
}

fn is_wrong<T>(tried: &Result<T, Problem>) -> bool {
    const WRONG: [&str; 4] =
        ["auth/bad-password", "access/authenticator", "access/invitation-word", "not-found/invitation"];
    tried.as_ref().is_err_and(|problem| WRONG.contains(&problem.code.as_str()))
}

fn has_to_wait(wait: Duration) -> Problem {
    Problem::new("auth/too-many-failures", format!("too many wrong attempts; wait {} s", wait.as_secs() + 1))
}

fn record_refusal(app: &App) {
    app.control.record(Event::new("sign-in.refused", app.control.place()).for_commitment("CI-25"));
}

/// What browsers keep in which somebody's password was right: a word of theirs, and its keyed hash for that name.
const KNOWN_COOKIE: &str = "__Host-creta-known";
const KNOWN_DOMAIN: &str = "known browser";
/// How long they keep it.
const KNOWN_DAYS: u32 = 180;

/// The word of a browser in which this person's password was right before.
fn known_browser<'i>(app: &App, input: &'i Input, name: &str) -> Option<&'i str> {
    let (word, given) = input.cookie(KNOWN_COOKIE)?.split_once('.')?;
    let own = hex::encode(app.control.own_key().mac(KNOWN_DOMAIN, &[name.as_bytes(), word.as_bytes()]));
    verify_slices_are_equal(given.as_bytes(), own.as_bytes()).is_ok().then_some(word)
}

/// Lets a browser keep that this person's password was right in it.
fn knowing(app: &App, mut response: Response, name: &str) -> Result<Response, Problem> {
    let mut word = [0; 16];
    app.control.platform().random.fill(&mut word);
    let (word, name) = (hex::encode(word), name.trim().to_ascii_lowercase());
    let own = hex::encode(app.control.own_key().mac(KNOWN_DOMAIN, &[name.as_bytes(), word.as_bytes()]));
    let age = u64::from(KNOWN_DAYS) * 24 * 60 * 60;
    let cookie = format!("{KNOWN_COOKIE}={word}.{own}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={age}");
    let cookie = HeaderValue::from_str(&cookie).map_err(|_| crate::problem::internal())?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}
