//! Sessions in a browser: a cookie that is worth nothing without the key that the browser made for it.
//!
//! The key is one that scripts can use and not read (WebCrypto, not extractable). Each request of a page proves it, as a
//! command line's requests do (RFC 9449); the proof names the cookie. So a cookie that was copied elsewhere shows nothing
//! and changes nothing. Why so: `docs/decisions/0007-browser-sessions-bound-to-keys.md`.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::HeaderMap;
use creta_audit::Event;
use creta_identity::dpop::Expected;
use creta_model::{Instant, Problem};
use zeroize::Zeroizing;

use super::session::Client;
use super::{People, Session};
use crate::context::{Caller, Credential, KeyOf, Presented, admit_proof, check_proof};
use crate::control_plane::ControlPlane;
use crate::failures::Attempt;
use crate::http::App;

/// Where pages get what they show. What stands below answers to cookies, and to nothing else.
pub(crate) const VIEWS: &str = "/view";
/// The stream that ends when its reader's session does.
pub(crate) const WATCH: &str = "/view/watch";
/// The session and its secret. `__Host-`: only this host set it, over TLS, for every path.
pub(crate) const COOKIE: &str = "__Host-creta-session";
/// What every change has to bring besides its proof: a word that only pages of the session were told.
pub(crate) const FORM_HEADER: &str = "creta-form";
const FORM_DOMAIN: &str = "form of a page";

/// A session that was just opened in a browser.
pub(crate) struct InBrowser {
    pub(crate) session: Session,
    /// What its cookie holds.
    pub(crate) cookie: Zeroizing<String>,
}

impl People {
    /// Opens the session for the code that came to this browser, if it has the verifier and the key it began with.
    pub(crate) fn open_in_browser(
        &self,
        control: &ControlPlane,
        (code, verifier): (&str, &str),
        thumbprint: &str,
    ) -> Result<InBrowser, Problem> {
        let now = control.platform().clock.now();
        let who = self.sign_ins.redeem_code(code, verifier, thumbprint, now)?;
        let opened = self.open_for(control, who, (thumbprint, Client::Browser), now)?;
        let cookie = Zeroizing::new(format!("{}.{}", opened.session.id, opened.renewal.as_str()));
        Ok(InBrowser { session: opened.session, cookie })
    }

    /// Whose session the cookie is, if it lives and is bound to this key.
    fn of_cookie(&self, control: &ControlPlane, cookie: &str, thumbprint: &str, now: Instant) -> Option<Session> {
        let (id, secret) = cookie.split_once('.')?;
        let session = self.sessions.find(id)?;
        let own = session.is_renewed_by(control.own_key(), secret) & (session.thumbprint == thumbprint);
        Some(session).filter(|session| own && session.client == Client::Browser && session.is_open(now))
    }

    /// Who sits before a browser whose session was open, as they are now.
    pub(crate) fn in_browser_now(&self, app: &App, session: &str) -> Option<Caller> {
        let principal = self.principal_in(session, app.control.platform().clock.now())?;
        let session = Some(session.to_owned());
        Some(Caller { principal, features: None, session, credential: Credential::Browser })
    }
}

/// Who sends a page's request: by the cookie, together with proof of the key, and from a page of this server.
pub(crate) fn authenticate(app: &App, presented: &Presented<'_>, path: &str) -> Result<Caller, Problem> {
    let cookie = presented.cookie(COOKIE).ok_or_else(nobody)?;
    require_own_page(app, presented)?;
    if !presented.headers.contains_key("dpop") {
        return Err(keyless());
    }
    let expected = Expected { access_token: Some(cookie), ..Expected::default() };
    let proof = check_proof(app, presented, expected)?;
    let now = app.control.platform().clock.now();
    let session = app.people.of_cookie(&app.control, cookie, proof.thumbprint().as_str(), now).ok_or_else(over)?;
    admit_proof(app, presented, proof, KeyOf::Somebody)?;
    if presented.method != "GET" {
        let given = one(presented.headers, FORM_HEADER).unwrap_or_default();
        let known = form_word(&app.control, &session.id);
        if verify_slices_are_equal(given.as_bytes(), known.as_bytes()).is_err() {
            return Err(foreign(app, presented));
        }
    }
    // A page that only stands open is no use of the session.
    let session = match path == WATCH {
        true => session,
        false => app.people.keep_open(session, now)?.ok_or_else(over)?,
    };
    app.people.in_browser_now(app, &session.id).ok_or_else(over)
}

/// What pages of a session send with each change.
pub(crate) fn form_word(control: &ControlPlane, session: &str) -> String {
    hex::encode(control.own_key().mac(FORM_DOMAIN, &[session.as_bytes()]))
}

/// Browsers say where a request comes from. Another site's, another subdomain's or nobody's is none of ours, whatever it
/// brings.
pub(crate) fn require_own_page(app: &App, presented: &Presented<'_>) -> Result<(), Problem> {
    let origin = origin_of(presented.url);
    let site = presented.headers.contains_key("sec-fetch-site").then(|| one(presented.headers, "sec-fetch-site"));
    let from = presented.headers.contains_key("origin").then(|| one(presented.headers, "origin"));
    let same_site = site.is_none_or(|site| site == Some("same-origin"));
    let same_origin = match from {
        Some(from) => from == Some(origin.as_str()),
        // Browsers name the origin of every request that changes something.
        None => presented.method == "GET",
    };
    if same_site && same_origin { Ok(()) } else { Err(foreign(app, presented)) }
}

/// A form is sent by a page of this server: nobody signs in by what another site fills in for them.
pub(crate) fn require_own_form(app: &App, presented: &Presented<'_>) -> Result<(), Problem> {
    // Who says where it comes from in the newer way may leave out the origin, or hide it.
    let own = match presented.headers.contains_key("sec-fetch-site") {
        true => one(presented.headers, "sec-fetch-site") == Some("same-origin"),
        false => one(presented.headers, "origin") == Some(origin_of(presented.url).as_str()),
    };
    if own { Ok(()) } else { Err(foreign(app, presented)) }
}

fn origin_of(url: &str) -> String {
    url.split('/').take(3).collect::<Vec<_>>().join("/")
}

/// A header, if it is there once and is text.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Somebody else's page tried: counted, and written to the log as far as failures are.
fn foreign(app: &App, presented: &Presented<'_>) -> Problem {
    if app.failures.count(Attempt::ForeignPage, "", presented.address, app.control.platform().clock.monotonic()) {
        app.control.record(Event::new("page.refused", app.control.place()).for_commitment("CH-33"));
    }
    Problem::new("access/foreign-page", "this request does not come from a page of this server")
        .with_help("open `/my` by itself and do it there; if a link or another site brought you here, tell whoever looks after security")
}

fn nobody() -> Problem {
    Problem::new("auth/no-session", "nobody is signed in in this browser")
}

fn keyless() -> Problem {
    Problem::new(
        "auth/no-proof",
        "the session belongs to a key of the browser that signed in, and this request does not show it",
    )
    .with_help("sign in again in this browser")
}

pub(crate) fn over() -> Problem {
    Problem::new("auth/session-over", "your session in this browser is over").with_help(
        "sign in again; it ends after half an hour without use, after eight hours, and when it is ended elsewhere",
    )
}
