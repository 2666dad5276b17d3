//! Tenants' own people who sign in here: invitations, passwords, and second factors of whoever has no security key.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use creta_audit::{Details, Event};
use creta_iam::{Place, Role};
use creta_model::{Problem, TenantId};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::sign_in::{COOKIE, cookie_with, go, html, page, redirect, to_provider};
use crate::context::{Guarded, Input};
use crate::http::App;
use crate::people::{Step, pages};
use crate::problem::{Refusal, from_audit};
use crate::routes::json as answer;

/// Failed attempts from everywhere are counted under this address.
const EVERYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

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
            move |app| app.control.require_tenant(&place).map(Place::Scope),
            details,
            move |admitted| {
                let people = &admitted.app.people;
                let url = people.public_url(&url)?;
                if let Ok(known) = people.require_person(&email.to_ascii_lowercase()) {
                    super::people::require_somebody_else(admitted, &known)?;
                }
                let by = (admitted.control, admitted.permit.principal());
                let invited = people.invite(by, (&email, &tenant), (roles, need), admitted.now())?;
                Ok(json!({
                    "person": invited.person.id,
                    "tenant": tenant,
                    "roles": invited.person.roles,
                    "link": format!("{url}/sign-in/invited?code={}", invited.code.as_str()),
                    "expires": invited.expires,
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
        let person = guess(app, input, "invitation", || app.people.invited(&app.control, &code, now))?;
        Ok(html(StatusCode::OK, pages::choose_password(&code, person.id.as_str(), None)))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    code: String,
    password: Zeroizing<String>,
    again: Zeroizing<String>,
}

/// A password was chosen.
pub(super) async fn choose(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    require_used(&app)?;
    let chosen = form::<Chosen>(&input);
    page(chosen, app, input, |app, input, Chosen { code, password, again }| {
        let (control, now) = (&app.control, app.control.platform().clock.now());
        let person = guess(app, input, "invitation", || app.people.invited(control, &code, now))?;
        let shown = |problem: &Problem| {
            Ok(html(StatusCode::UNPROCESSABLE_ENTITY, pages::choose_password(&code, person.id.as_str(), Some(problem))))
        };
        if password != again {
            return shown(&Problem::new("request/password", "the two are not the same; type it twice"));
        }
        match app.people.accept_invitation(control, &code, &password, now) {
            Err(problem) if problem.code == "request/password" => shown(&problem),
            Err(problem) => Err(problem),
            Ok(person) => {
                let cookie = app.people.begin_registration(control, &person)?;
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
    let typed = form::<Typed>(&input);
    page(typed, app, input, |app, input, Typed { name, password, with }| {
        let (cookie, now) = (cookie_of(input), app.control.platform().clock.now());
        if with.is_some() {
            let (purpose, _) = app.people.sign_ins.page(&cookie, now).ok_or_else(crate::people::over)?;
            return to_provider(app, input, purpose);
        }
        let origin = app.people.public_url(&input.url)?;
        let typed = (name.as_str(), password.as_str());
        let account = format!("password of {}", name.trim().to_ascii_lowercase());
        let done = guess(app, input, &account, || app.people.password_typed(&app.control, (&cookie, &origin), typed));
        match done {
            Err(problem) if problem.code == "auth/bad-password" => {
                let provider = app.people.require_provider().is_ok();
                Ok(html(StatusCode::UNAUTHORIZED, pages::begin(provider, Some(&problem))))
            }
            done => go(done?),
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
    match page.map(|(_, step)| step) {
        Some(Step::Code(_)) => Ok(html(status, pages::enter_factor(wrong))),
        Some(Step::Register { address, .. }) => Ok(html(status, pages::register_factor(&address, wrong))),
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
    let factor = form::<Factor>(&input);
    page(factor, app, input, |app, input, Factor { code, key }| {
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
        let whose = format!("code of {}", who.ok_or_else(crate::people::over)?);
        match guess(app, input, &whose, || app.people.code_typed(&app.control, &cookie, &code)) {
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
            let whose = format!("password of {}", person.id);
            let now = admitted.now();
            let changed = guess(admitted.app, &input, &whose, || {
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

fn form<T: serde::de::DeserializeOwned>(input: &Input) -> Result<T, Problem> {
    let form = String::from_utf8(input.body.to_vec());
    let form = form.map_err(|_| Problem::new("request/malformed", "the form is not text"))?;
    input.with_query(form).query()
}

fn cookie_of(input: &Input) -> Vec<u8> {
    input.cookie(COOKIE).and_then(|cookie| hex::decode(cookie).ok()).unwrap_or_default()
}

/// Lets somebody guess, and counts what was wrong: by account and network, by account from everywhere, and by network
/// whatever the account. Accounts that do not exist count like those that do.
fn guess<T>(
    app: &App,
    input: &Input,
    account: &str,
    attempt: impl FnOnce() -> Result<T, Problem>,
) -> Result<T, Problem> {
    let (now, network) = (app.control.platform().clock.monotonic(), network_of(input.address));
    let counted = [(account, network), (account, EVERYWHERE), ("what is typed at a sign-in", network)];
    if let Some(wait) = counted.iter().find_map(|(what, whence)| app.failures.wait(what, *whence, now)) {
        let says = format!("too many wrong attempts; wait {} s", wait.as_secs() + 1);
        return Err(Problem::new("auth/too-many-failures", says));
    }
    let tried = attempt();
    let wrong = ["auth/bad-password", "access/authenticator", "not-found/invitation"];
    if tried.as_ref().is_err_and(|problem| wrong.contains(&problem.code.as_str())) {
        let mut is_recorded = true;
        for (what, whence) in counted {
            is_recorded &= app.failures.count(what, whence, now);
        }
        if is_recorded {
            app.control.record(Event::new("sign-in.refused", app.control.place()).for_commitment("CI-25"));
        }
    }
    tried
}

/// The network that somebody is in: who has one IPv6 address has 2^64 of them.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}
