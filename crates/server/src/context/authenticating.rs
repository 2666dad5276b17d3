//! Who sends a request: what stands in `authorization`, the token's own account as it is now, and proof of a key.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, header};
use creta_audit::{Details, Event};
use creta_identity::dpop::{DpopError, Expected, Proof, Proven};
use creta_identity::key::Thumbprint;
use creta_model::Problem;

use super::{Caller, Presented, caller_of};
use crate::failures::Attempt;
use crate::http::App;
use crate::tokens::TokenError;

const TOKEN_HELP: &str = "get one with `POST /v1/token` and send it as `authorization: Bearer ...`";

/// Who sends a request: by a bearer token, or by a token together with proof of the key it is bound to.
pub(crate) fn authenticate(app: &App, presented: &Presented<'_>) -> Result<Caller, Problem> {
    let mut values = presented.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Problem::new("auth/no-token", "this request needs one access token").with_help(TOKEN_HELP));
    };
    match authenticate_by(app, presented, value) {
        Ok(caller) => {
            app.control.sightings().note_network(&caller.principal, presented.address);
            Ok(caller)
        }
        Err(problem) => {
            app.control.planted().note_header(&app.control, value.as_bytes(), presented.address);
            Err(problem)
        }
    }
}

fn authenticate_by(app: &App, presented: &Presented<'_>, value: &HeaderValue) -> Result<Caller, Problem> {
    let parts =
        value.to_str().ok().and_then(|value| value.split_once(' ')).map(|(scheme, token)| (scheme, token.trim()));
    let proven = |scheme: &str| scheme.eq_ignore_ascii_case("dpop");
    let (scheme, token) = parts
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer") || proven(scheme))
        .ok_or_else(|| Problem::new("auth/no-token", "this request needs a bearer token").with_help(TOKEN_HELP))?;
    let claims = app.control.claims_of(token).map_err(token_problem)?;
    match &claims.cnf {
        Some(bound) => {
            let key = Thumbprint::parse(&bound.jkt).filter(|_| proven(scheme)).ok_or_else(no_proof)?;
            let expected = Expected { access_token: Some(token), thumbprint: Some(&key), ..Expected::default() };
            let proof = check_proof(app, presented, expected)?;
            // Remembered last: nobody else's proof takes a place among those of keys that tokens are bound to.
            admit_proof(app, presented, proof, KeyOf::Somebody)?;
        }
        None if proven(scheme) => return Err(token_problem(TokenError::Invalid)),
        None => {}
    }
    caller_of(app, &claims).map_err(|error| match error {
        TokenError::Unbound => refused_unbound(app, presented.address, &claims.sub),
        error => token_problem(error),
    })
}

/// A program's token that came without proof of a key although its account takes none such: it may be a copy of one that was got
/// before the account was told to, or somebody who knows the secret and not the rule. It is counted as wrong proofs are.
pub(crate) fn refused_unbound(app: &App, address: IpAddr, client_id: &str) -> Problem {
    if app.failures.count(Attempt::Proof, "", address, app.control.platform().clock.monotonic())
        && let Ok(details) = Details::none().name("service-account", client_id)
    {
        let event = Event::new("proof.refused", app.control.place()).with(details);
        app.control.record(event.for_commitment("CH-33"));
    }
    Problem::new("auth/no-proof", "the tokens of this service account are given and taken with proof of a key alone")
        .with_help(
            "ask for a token with a proof in the header `dpop`, then send `authorization: DPoP ...` and another with each request \
             (RFC 9449); `creta` and the SDK do",
        )
}

/// As [`authenticate`], where that takes no more than to remember: a program whose token was checked before, not bound to a
/// key. `None` is no answer.
pub(crate) fn authenticate_known(app: &App, headers: &HeaderMap, from: IpAddr) -> Option<Caller> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let claims = app.control.claims_known(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    if claims.cnf.is_some() || claims.sid.is_some() {
        return None;
    }
    let caller = caller_of(app, &claims).ok()?;
    app.control.sightings().note_network(&caller.principal, from);
    Some(caller)
}

/// What somebody is told of a token that does not let them in.
pub(super) fn token_problem(error: TokenError) -> Problem {
    match error {
        TokenError::Expired => Problem::new("auth/expired-token", "the access token has expired").with_help(TOKEN_HELP),
        TokenError::Invalid => {
            Problem::new("auth/bad-token", "the access token is not valid here").with_help(TOKEN_HELP)
        }
        TokenError::Unbound => no_proof(),
    }
}

fn no_proof() -> Problem {
    Problem::new("auth/no-proof", "this access token is bound to a key, and the request does not prove to have it")
        .with_help("send `authorization: DPoP ...` and a proof in the header `dpop` (RFC 9449); `creta` and the SDK do")
}

/// Whose key a proof is of. What strangers prove is remembered apart, so that they fill no memory that others need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyOf {
    /// A key that a session or token is bound to.
    Somebody,
    /// A key that anybody may have made just now.
    Anybody,
}

/// The proof of possession that comes with a request before there is a token (RFC 9449), if it is right and new.
pub(crate) fn require_proof(app: &App, presented: &Presented<'_>, expected: Expected<'_>) -> Result<Proven, Problem> {
    admit_proof(app, presented, check_proof(app, presented, expected)?, KeyOf::Anybody)
}

/// The proof that comes with a request, if it is right. It counts once it is admitted.
pub(crate) fn check_proof(app: &App, presented: &Presented<'_>, expected: Expected<'_>) -> Result<Proof, Problem> {
    let mut values = presented.headers.get_all("dpop").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(no_proof()) };
    let now = app.control.platform().clock.now();
    let expected = Expected { method: presented.method, url: presented.url, ..expected };
    let checked =
        value.to_str().map_err(|_| DpopError::Malformed).and_then(|proof| Proof::check(proof, &expected, now));
    checked.map_err(|error| refused_proof(app, presented.address, &error))
}

/// Takes a proof, once.
pub(crate) fn admit_proof(app: &App, presented: &Presented<'_>, proof: Proof, key: KeyOf) -> Result<Proven, Problem> {
    let admitted = app.people.admit(proof, key, app.control.platform().clock.now());
    admitted.map_err(|error| refused_proof(app, presented.address, &error))
}

/// A proof that is wrong may be a stolen token: it is counted, and written to the log as far as failures are.
fn refused_proof(app: &App, address: IpAddr, error: &DpopError) -> Problem {
    if app.failures.count(Attempt::Proof, "", address, app.control.platform().clock.monotonic()) {
        let event = Event::new("proof.refused", app.control.place()).for_commitment(error.commitment());
        app.control.record(event);
    }
    Problem::new("auth/bad-proof", "the proof of possession that came with this request is not good for it").with_help(
        "make a new proof for each request, with the key that the token is bound to and a clock that is right",
    )
}
