//! Signing in in a browser: to the provider and back with a code, which the page's script turns into a session.
//!
//! The browser is a client like the command line: it makes a key, a verifier and a state, and gets a code on an address of
//! its own. Only what it kept turns the code into a session, bound to that key (RFC 7636, RFC 9449).

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use creta_identity::dpop::access_token_hash;
use creta_identity::key::Thumbprint;
use creta_model::Problem;
use serde::Deserialize;
use serde_json::json;

use crate::context::Input;
use crate::http::App;
use crate::people::Purpose;
use crate::people::web::{COOKIE, require_own_page};
use crate::problem::{Refusal, internal};
use crate::routes::json as answer;
use crate::routes::sign_in::{page, prove, redirect, start};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    state: String,
    code_challenge: String,
    code_challenge_method: String,
    dpop_jkt: String,
    /// `register` asks for a new authenticator.
    #[serde(default)]
    authenticator: Option<String>,
}

/// Sends a browser to the identity provider, for pages.
pub(in crate::routes) async fn begin(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let begin: Result<Begin, Problem> = input.query();
    page(begin, app, input, |app, input, begin| {
        let url = app.people.public_url(&input.url)?;
        if !input.url.starts_with(&format!("{url}/")) {
            // The cookie has to be set where the provider sends the browser back to.
            app.people.require_provider()?;
            return redirect(&format!("{url}/sign-in/browser?{}", input.query), None);
        }
        start(app, input, purpose(begin, format!("{url}/my/signed-in"))?)
    })
    .await
}

fn purpose(begin: Begin, back: String) -> Result<Purpose, Problem> {
    let plain = |text: &str| {
        text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let fits = begin.code_challenge_method == "S256"
        && plain(&begin.code_challenge)
        && plain(&begin.state)
        && Thumbprint::parse(&begin.dpop_jkt).is_some()
        && begin.authenticator.as_deref().is_none_or(|wish| wish == "register");
    let register = begin.authenticator.is_some();
    let Begin { state, code_challenge: challenge, dpop_jkt: thumbprint, .. } = begin;
    fits.then_some(Purpose::CommandLine { back, state, challenge, thumbprint, register }).ok_or_else(|| {
        Problem::new("request/sign-in", "this is not an address that our pages make")
            .with_help("open `/my` and sign in there")
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arrived {
    code: String,
    code_verifier: String,
}

/// Opens the session of a browser that came back with a code, bound to the key that this request proves.
pub(in crate::routes) async fn arrive(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let Arrived { code, code_verifier } = input.json()?;
    let work = tokio::task::spawn_blocking(move || {
        require_own_page(&app, &input.presented())?;
        let thumbprint = prove(&app, &input)?.thumbprint;
        app.people.open_in_browser(&app.control, (&code, &code_verifier), thumbprint.as_str())
    });
    let opened = work.await.map_err(|_| internal())??;
    // Scripts cannot read the cookie. Its hash is what their proofs name.
    let mut response = answer(&json!({ "person": opened.session.person, "bound": access_token_hash(&opened.cookie) }))?;
    let cookie = format!("{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict", opened.cookie.as_str());
    let mut cookie = HeaderValue::from_str(&cookie).map_err(|_| internal())?;
    cookie.set_sensitive(true);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// What makes a browser forget its cookie.
pub(super) fn forgotten(mut response: Response) -> Response {
    let cookie = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
