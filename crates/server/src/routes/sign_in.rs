//! Signing in: the browser's pages, and the sessions that come of it.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use creta_audit::Event;
use creta_identity::dpop::{Expected, Proven};
use creta_identity::key::Thumbprint;
use creta_identity::oidc::Callback;
use creta_model::Problem;
use serde::Deserialize;
use serde_json::json;

use crate::context::{Input, KeyOf, admit_proof, check_proof, require_proof};
use crate::failures::Attempt;
use crate::http::App;
use crate::limits::TOKEN_SECONDS;
use crate::people::authenticators::Then;
use crate::people::web::require_own_form;
use crate::people::{DEVICE_INTERVAL_SECONDS, DEVICE_SECONDS, Done, Known, Opened, Purpose, normal_code, pages};
use crate::problem::{Refusal, internal, status_of};
use crate::routes::{json as answer, typed};

pub(super) const COOKIE: &str = "__Host-creta-sign-in";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    redirect_uri: String,
    state: String,
    code_challenge: String,
    code_challenge_method: String,
    dpop_jkt: String,
    /// `register` asks for a new authenticator.
    #[serde(default)]
    authenticator: Option<String>,
}

/// Sends a browser, which a command line opened, to the identity provider.
pub(super) async fn begin(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let begin: Result<Begin, Problem> = input.query();
    page(begin.and_then(command_line), app, input, |app, input, purpose| {
        let url = app.people.public_url(&input.url)?;
        if !input.url.starts_with(&format!("{url}/")) {
            // The cookie has to be set where the provider sends the browser back to.
            app.people.require_sign_in()?;
            return redirect(&format!("{url}/sign-in?{}", input.query), None);
        }
        start(app, input, purpose)
    })
    .await
}

/// The command line that asks, if everything it says has the right form.
fn command_line(begin: Begin) -> Result<Purpose, Problem> {
    let malformed = || {
        Problem::new("request/sign-in", "this is not an address that `creta login` makes")
            .with_help("run `creta login` and open the address it shows")
    };
    let plain = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let fits = begin.code_challenge_method == "S256"
        && plain(&begin.code_challenge, 43)
        && plain(&begin.state, 43)
        && Thumbprint::parse(&begin.dpop_jkt).is_some()
        && is_loopback(&begin.redirect_uri)
        && begin.authenticator.as_deref().is_none_or(|wish| wish == "register");
    let register = begin.authenticator.is_some();
    let Begin { redirect_uri: back, state, code_challenge: challenge, dpop_jkt: thumbprint, .. } = begin;
    fits.then_some(Purpose::CommandLine { back, state, challenge, thumbprint, register }).ok_or_else(malformed)
}

/// Codes are sent to this machine and nowhere else (RFC 8252 section 7.3): `http://127.0.0.1:PORT/signed-in`.
fn is_loopback(address: &str) -> bool {
    let port = address.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/signed-in"));
    port.is_some_and(|port| !port.starts_with('0') && !port.starts_with('+') && port.parse::<u16>().is_ok())
}

/// Sends a browser on its way: to the provider, or where there are local accounts to the page that asks which way.
pub(super) fn start(app: &App, input: &Input, purpose: Purpose) -> Result<Response, Problem> {
    if !app.people.local.is_used() {
        return to_provider(app, input, purpose);
    }
    let cookie = app.people.begin_on_page(&app.control, purpose);
    let page = pages::begin(app.people.require_provider().is_ok(), None);
    with_cookie(html(StatusCode::OK, page), &cookie_with(&cookie))
}

/// Sends a browser to the provider.
pub(super) fn to_provider(app: &App, input: &Input, purpose: Purpose) -> Result<Response, Problem> {
    let url = app.people.public_url(&input.url)?;
    let started = app.people.begin_sign_in(&app.control, format!("{url}/sign-in/callback"), purpose)?;
    redirect(&started.location, Some(&cookie_with(&started.cookie)))
}

/// The cookie of a sign-in under way.
pub(super) fn cookie_with(value: &str) -> String {
    format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600")
}

/// Where a browser goes on after a step.
pub(super) fn go(done: Done) -> Result<Response, Problem> {
    let forget = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
    match done {
        Done::Redirect(address) => redirect(&address, Some(&forget)),
        Done::Page => Ok(html(StatusCode::OK, pages::done())),
        Done::Registered => Ok(html(StatusCode::OK, pages::registered())),
        Done::Prompt(id) => redirect(&format!("/sign-in/verify?prompt={id}"), None),
        Done::SecondFactor => redirect("/sign-in/second-factor", None),
    }
}

/// The provider sent the browser back.
pub(super) async fn callback(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let callback = callback_of(&input);
    page(callback, app, input, |app, input, callback| {
        let url = app.people.public_url(&input.url)?;
        // Anybody may come here with anything: what is refused is written to the log as far as failures are.
        let refused = |event: Event| {
            let now = app.control.platform().clock.monotonic();
            if app.failures.count(Attempt::ProviderAnswer, "", input.address, now) {
                app.control.record(event);
            }
        };
        let done = app.people.finish_sign_in(&app.control, &callback, input.cookie(COOKIE), &url, &refused)?;
        go(done)
    })
    .await
}

/// Providers add parameters of their own, which say nothing to us.
fn callback_of(input: &Input) -> Result<Callback, Problem> {
    let pairs: Vec<(String, String)> = input.query()?;
    let one = |name: &str| {
        let mut found = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone());
        (found.next(), found.next())
    };
    let known = ["state", "code", "error", "iss"].map(one);
    if known.iter().any(|(_, second)| second.is_some()) {
        return Err(Problem::new("request/sign-in", "the identity provider's answer says something twice"));
    }
    let [(state, _), (code, _), (error, _), (iss, _)] = known;
    Ok(Callback { state: state.unwrap_or_default(), code, error, iss })
}

/// Asks for the code of another machine.
pub(super) async fn device_page(_app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    Ok(html(StatusCode::OK, pages::enter_code(false)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entered {
    user_code: String,
    #[serde(default)]
    confirm: Option<String>,
    /// What the page that asks holds, beside the cookie that came with it.
    #[serde(default)]
    word: Option<String>,
}

/// Says that this browser was shown from where a code was asked for.
const CONFIRM_COOKIE: &str = "__Host-creta-device";
const CONFIRM_DOMAIN: &str = "confirmation of a device code";

/// What a form has to bring beside the cookie `word`: no other site knows either, and none can set the cookie.
fn confirmation(app: &App, user_code: &str, word: &str) -> String {
    hex::encode(app.control.own_key().mac(CONFIRM_DOMAIN, &[user_code.as_bytes(), word.as_bytes()]))
}

/// A code was entered, or confirmed.
pub(super) async fn device_entered(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let entered = input.form::<Entered>();
    page(entered, app, input, |app, input, entered| {
        require_own_form(app, &input.presented())?;
        let now = app.control.platform().clock.monotonic();
        if app.failures.wait(Attempt::DeviceCode, "", input.address, now).is_some() {
            return Err(Problem::new("auth/too-many-failures", "too many codes that nobody waits with; wait a minute"));
        }
        let code = normal_code(&entered.user_code);
        let Some((address, thumbprint)) = app.people.sign_ins.device_of(&code, app.control.platform().clock.now())
        else {
            app.failures.count(Attempt::DeviceCode, "", input.address, now);
            return Ok(html(StatusCode::OK, pages::enter_code(true)));
        };
        let shown = input.cookie(CONFIRM_COOKIE).map(|word| confirmation(app, &code, word));
        match entered.confirm.as_deref() {
            // Only a browser that was asked whether it is theirs can say so.
            Some(_) if shown.is_none() || entered.word != shown => Ok(html(StatusCode::OK, pages::enter_code(false))),
            Some("yes") => start(app, input, Purpose::Device { user_code: code, thumbprint, address }),
            Some(_) => {
                app.people.sign_ins.refuse_device(&code);
                Ok(html(StatusCode::OK, pages::refused()))
            }
            None => {
                let mut word = [0; 32];
                app.control.platform().random.fill(&mut word);
                let word = hex::encode(word);
                let page = pages::confirm_code(&code, address, &confirmation(app, &code, &word));
                let cookie = format!("{CONFIRM_COOKIE}={word}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=600");
                with_cookie(html(StatusCode::OK, page), &cookie)
            }
        }
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    prompt: String,
}

/// The page that asks for an authenticator.
pub(super) async fn prompt(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let shown: Result<Shown, Problem> = input.query();
    page(shown, app, input, |app, _, shown| {
        let prompt = app.people.prompts.find(&shown.prompt, app.control.platform().clock.now());
        let prompt = prompt.ok_or_else(|| {
            Problem::new("not-found/prompt", "this prompt was answered, or took too long").with_help("start again")
        })?;
        let mut response = html(StatusCode::OK, pages::prompt(&prompt));
        let policy = HeaderValue::from_static(pages::POLICY_WITH_SCRIPT);
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        Ok(response)
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptAnswer {
    prompt: String,
    response: serde_json::Value,
}

/// The authenticator's answer.
pub(super) async fn verify(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let PromptAnswer { prompt, response } = input.json()?;
    let work = tokio::task::spawn_blocking(move || {
        let now = app.control.platform().clock.now();
        let cookie = input.cookie(COOKIE).and_then(|cookie| hex::decode(cookie).ok()).unwrap_or_default();
        let response = response.to_string();
        let answered = app.people.answer_prompt(&app.control, &prompt, response.as_bytes(), &cookie, now)?;
        match answered.then {
            Then::SignIn { purpose, known } => {
                let known = Known { person: answered.person, ..known };
                let done = match purpose.registers() && !answered.registered {
                    true => {
                        let origin = app.people.public_url(&input.url)?;
                        app.people.register_another(&app.control, (&origin, &cookie), &purpose, &known)?
                    }
                    false => app.people.go_on(&app.control, purpose, known)?,
                };
                Ok(match done {
                    Done::Redirect(address) => json!({ "location": address }),
                    Done::Prompt(id) => json!({ "location": format!("/sign-in/verify?prompt={id}") }),
                    Done::Registered => json!({ "title": pages::REGISTERED, "text": pages::REGISTERED_TEXT }),
                    _ => {
                        json!({ "title": "You are signed in", "text": "Close this window and go back to the terminal." })
                    }
                })
            }
            Then::Do(agreement) => {
                let signature = answered.signature.ok_or_else(internal)?;
                let said = crate::routes::agreed::do_as_agreed(&app, &answered.person, &agreement, signature)?;
                Ok(match said.page {
                    Some(page) => json!({ "location": page }),
                    None => json!({ "title": "Done", "text": format!("{} You can close this window.", said.text) }),
                })
            }
            Then::BreakGlass(step) => {
                let said = app.people.half_was_signed(&app.control, &app.trust.pager, &step, now)?;
                Ok(json!({ "title": "Done", "text": format!("{said} You can close this window.") }))
            }
        }
    });
    let said: Result<serde_json::Value, Problem> = work.await.map_err(|_| internal())?;
    answer(&said?)
}

/// The script of that page.
pub(super) async fn script(_app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    Ok(typed("text/javascript; charset=utf-8", pages::SCRIPT))
}

/// The pages' style.
pub(super) async fn style(_app: Arc<App>, _input: Input) -> Result<Response, Refusal> {
    Ok(typed("text/css; charset=utf-8", pages::STYLE))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoWords {}

/// Begins a sign-in on a machine without a browser (RFC 8628).
pub(super) async fn begin_device(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let NoWords {} = input.json()?;
    app.people.require_sign_in()?;
    let proven = prove(&app, &input)?;
    let (random, now) = (&*app.control.platform().random, app.control.platform().clock.now());
    let url = app.people.public_url(&input.url)?;
    let started = app.people.sign_ins.begin_device(random, proven.thumbprint.as_str(), input.address, now);
    answer(&json!({
        "device_code": started.device_code,
        "user_code": started.user_code,
        "verification_uri": format!("{url}/sign-in/device"),
        "expires_in": DEVICE_SECONDS,
        "interval": DEVICE_INTERVAL_SECONDS,
    }))
}

/// Either a code and its verifier, or a device code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionRequest {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    code_verifier: Option<String>,
    #[serde(default)]
    device_code: Option<String>,
}

/// Opens a session for whoever signed in, bound to the key that this request proves.
pub(super) async fn open_session(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let request: SessionRequest = input.json()?;
    let work = tokio::task::spawn_blocking(move || {
        let thumbprint = prove(&app, &input)?.thumbprint;
        let SessionRequest { code, code_verifier, device_code } = &request;
        let opened = match (code, code_verifier, device_code) {
            (Some(code), Some(verifier), None) => {
                app.people.redeem_code(&app.control, code, verifier, thumbprint.as_str()).map(Some)
            }
            (None, None, Some(code)) => app.people.redeem_device(&app.control, code, thumbprint.as_str()),
            _ => Err(Problem::new("request/sign-in", "send `code` and `code_verifier`, or `device_code`")),
        };
        opened?.ok_or_else(|| {
            Problem::new("conflict/sign-in-pending", "nobody has entered the code yet")
                .with_help(format!("ask again after {DEVICE_INTERVAL_SECONDS} s"))
        })
    });
    let Opened { session, renewal, access_token } = work.await.map_err(|_| internal())??;
    answer(&json!({
        "person": session.person,
        "session": session.id,
        "renewal": renewal.as_str(),
        "access_token": access_token,
        "token_type": "DPoP",
        "expires_in": TOKEN_SECONDS,
        "expires": session.expires,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renewal {
    session: String,
    renewal: String,
}

/// A new access token in a session that lives.
pub(super) async fn renew_session(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let Renewal { session, renewal } = input.json()?;
    let work = tokio::task::spawn_blocking(move || {
        let proof = check_proof(&app, &input.presented(), Expected::default())?;
        let is_its_key = app.people.session(&session).is_some_and(|s| s.thumbprint == proof.thumbprint().as_str());
        let key = if is_its_key { KeyOf::Somebody } else { KeyOf::Anybody };
        let thumbprint = admit_proof(&app, &input.presented(), proof, key)?.thumbprint;
        let now = app.control.platform().clock.now();
        app.people.renew(&app.control, &session, &renewal, thumbprint.as_str(), now)
    });
    let (session, access_token) = work.await.map_err(|_| internal())??;
    answer(&json!({
        "access_token": access_token,
        "token_type": "DPoP",
        "expires_in": TOKEN_SECONDS,
        "expires": session.expires,
    }))
}

/// The key that a request proves, before there is a token.
pub(super) fn prove(app: &App, input: &Input) -> Result<Proven, Problem> {
    require_proof(app, &input.presented(), Expected::default())
}

/// Does something for a browser on a thread that may wait; what goes wrong becomes a page.
pub(super) async fn page<T: Send + 'static>(
    given: Result<T, Problem>,
    app: Arc<App>,
    input: Input,
    act: impl FnOnce(&App, &Input, T) -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Refusal> {
    let work = tokio::task::spawn_blocking(move || given.and_then(|given| act(&app, &input, given)));
    let done = work.await.unwrap_or_else(|_| Err(internal()));
    Ok(done.unwrap_or_else(|problem| html(status_of(&problem), pages::problem(&problem))))
}

pub(super) fn html(status: StatusCode, body: String) -> Response {
    let mut response = (status, typed("text/html; charset=utf-8", body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(pages::POLICY));
    // Not `no-referrer`: browsers would hide the origin of the page's forms from us too.
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("same-origin"));
    response
}

pub(super) fn redirect(location: &str, cookie: Option<&str>) -> Result<Response, Problem> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| internal());
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, value(location)?);
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    match cookie {
        Some(cookie) => with_cookie(response, cookie),
        None => Ok(response),
    }
}

pub(super) fn with_cookie(mut response: Response, cookie: &str) -> Result<Response, Problem> {
    let value = HeaderValue::from_str(cookie).map_err(|_| internal())?;
    response.headers_mut().insert(header::SET_COOKIE, value);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ci21_codes_go_to_this_machine_and_nowhere_else() {
        assert!(is_loopback("http://127.0.0.1:7000/signed-in"));
        for bad in [
            "http://127.0.0.1:7000/other",
            "http://127.0.0.1:7000/signed-in?x=1",
            "http://127.0.0.1:7000@evil.example/signed-in",
            "http://127.0.0.1.evil.example:7000/signed-in",
            "http://localhost:7000/signed-in",
            "https://evil.example/signed-in",
            "http://127.0.0.1/signed-in",
            "http://127.0.0.1:/signed-in",
            "http://127.0.0.1:70000/signed-in",
            "http://127.0.0.1:+700/signed-in",
            "HTTP://127.0.0.1:7000/signed-in",
            "http://127.0.0.1:7000/../signed-in",
            "",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
