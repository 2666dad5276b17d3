//! Tokens of programs, for an id and a secret.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use creta_audit::{Details, Event};
use creta_iam::{Action, FeatureSet};
use creta_identity::dpop::Expected;
use creta_model::Problem;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::accounts::{Account, Binding};
use crate::context::{Input, refused_unbound, require_proof, resource};
use crate::control_plane::Narrowed;
use crate::failures::Attempt;
use crate::http::{App, refused};
use crate::limits::TOKEN_SECONDS;
use crate::problem::{Refusal, from_audit, internal};
use crate::routes::json as answer;

const BAD_CREDENTIALS: &str = "auth/bad-credentials";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    /// RFC 6749 asks for it in a form; in JSON it may be left out.
    #[serde(default)]
    grant_type: Option<String>,
    /// Here, or as HTTP Basic.
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    client_secret: Option<Zeroizing<String>>,
    /// Narrows the token: features by name, separated by spaces. Without it the token is good for all that the account
    /// may ask for.
    #[serde(default)]
    scope: Option<String>,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|secret| secret.map(Zeroizing::new))
}

/// A client's id and secret.
struct Credentials {
    id: String,
    secret: Zeroizing<String>,
}

/// Client credentials for a token (RFC 6749 section 4.4), as a form or as JSON; the client says who it is there or by HTTP
/// Basic (section 2.3.1), never both ways at once.
pub(super) async fn issue_token(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let by_basic = basic(&input.headers).is_some();
    match issue(app, input).await {
        // Whoever came by this scheme is told of it (section 5.2).
        Err(refusal) if by_basic && refusal.0.iter().any(|problem| problem.code == BAD_CREDENTIALS) => {
            let mut response = refused("/v1/token", refusal);
            let scheme = HeaderValue::from_static("Basic realm=\"creta\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            Ok(response)
        }
        answered => answered,
    }
}

async fn issue(app: Arc<App>, input: Input) -> Result<Response, Refusal> {
    let request: TokenRequest = if input.require_content_type("application/x-www-form-urlencoded").is_ok() {
        input.form()?
    } else {
        input.json()?
    };
    if request.grant_type.is_some_and(|grant| grant != "client_credentials") {
        let problem = Problem::new("request/grant-type", "the only grant is `client_credentials`");
        return Err(problem.into());
    }
    let TokenRequest { client_id, client_secret, scope, .. } = request;
    let Credentials { id, secret } = credentials(&input.headers, client_id, client_secret)?;
    let work = tokio::task::spawn_blocking(move || {
        let address = input.address;
        let now = app.control.platform().clock.monotonic();
        // First and for everybody: whether a secret was planted is not to be told by how long this takes.
        app.control.planted().note(&app.control, &secret, address);
        if let Some(wait) = app.failures.wait(Attempt::ClientSecret, &id, address, now) {
            app.metrics.token("waiting");
            let seconds = wait.as_secs() + 1;
            let problem = Problem::new("auth/too-many-failures", format!("too many failed attempts; wait {seconds} s"));
            return Err(Refusal::from(problem));
        }
        let account = app.control.authenticate(&id, &secret);
        let Some(account) = account.filter(|account| app.takes(&account.principal)) else {
            if app.failures.count(Attempt::ClientSecret, &id, address, now) {
                let details = Details::none().keyed("client", id.as_bytes()).map_err(|e| from_audit(&e))?;
                app.control
                    .record(Event::new("token.refused", app.control.place()).with(details).for_commitment("CH-33"));
            }
            app.metrics.token("refused");
            let problem = Problem::new(BAD_CREDENTIALS, "the client id or the client secret is wrong");
            return Err(problem.with_help("check both, and that the account was not revoked").into());
        };
        // A client that shows a key gets a token that is worth nothing without it (RFC 9449 section 5).
        let bound = match input.headers.contains_key("dpop") {
            true => Some(require_proof(&app, &input.presented(), Expected::default())?.thumbprint.as_str().to_owned()),
            false if account.binding == Binding::Always => {
                app.metrics.token("refused");
                return Err(refused_unbound(&app, address, &account.client_id).into());
            }
            false => None,
        };
        let token_type = if bound.is_some() { "DPoP" } else { "Bearer" };
        let features = scope.as_deref().map(features_in).transpose()?;
        let token = token_for(&app, &account, Narrowed { thumbprint: bound, features })?;
        app.control.sightings().note_network(&account.principal, address);
        app.metrics.token("issued");
        Ok((token, token_type))
    });
    let (token, token_type) = work.await.map_err(|_| internal())??;
    answer(&json!({"access_token": token, "token_type": token_type, "expires_in": TOKEN_SECONDS}))
}

/// Who a client says it is: in the body or by HTTP Basic. Both at once is refused, whatever they say: two readers of one request
/// could believe two different clients (RFC 6749 section 2.3).
fn credentials(
    headers: &HeaderMap,
    id: Option<String>,
    secret: Option<Zeroizing<String>>,
) -> Result<Credentials, Problem> {
    let Some(given) = basic(headers) else {
        let (Some(id), Some(secret)) = (id, secret) else {
            return Err(Problem::new(
                BAD_CREDENTIALS,
                "the request says neither by its body nor by HTTP Basic who asks",
            )
            .with_help("send `client_id` and `client_secret` in the body, or `curl -u CLIENT_ID:CLIENT_SECRET`"));
        };
        return Ok(Credentials { id, secret });
    };
    if id.is_some() || secret.is_some() || headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
        return Err(Problem::new("request/two-credentials", "the request says more than once who asks")
            .with_help("send HTTP Basic, or `client_id` and `client_secret` in the body, not both"));
    }
    decoded(given).ok_or_else(|| {
        Problem::new("request/basic", "what follows `Basic` is not the base64 of an id, a colon and a secret")
            .with_help("write both as in a form (`+` and `%`), as RFC 6749 section 2.3.1 says")
    })
}

/// What a request gives as HTTP Basic (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
    values
        .filter_map(|value| value.split_once(' '))
        .find(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .map(|(_, given)| given)
}

/// Id and secret, each written as in a form.
fn decoded(given: &str) -> Option<Credentials> {
    let bytes = Zeroizing::new(STANDARD.decode(given.trim()).ok()?);
    let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some(Credentials { id: of_form(id)?, secret: Zeroizing::new(of_form(secret)?) })
}

/// Text as it stands in a form: `+` is a space, `%` begins two hexadecimal digits.
fn of_form(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [left.next()?, left.next()?];
                hex::decode(digits).ok()?[0]
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Most features that one token names.
const TOKEN_FEATURES_MAX: usize = 32;

fn features_in(scope: &str) -> Result<BTreeSet<String>, Problem> {
    let features: BTreeSet<String> = scope.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let named = features.iter().all(|name| creta_model::FeaturePath::parse(name).is_ok());
    if named && (1..=TOKEN_FEATURES_MAX).contains(&features.len()) {
        return Ok(features);
    }
    Err(Problem::new("request/scope", "the scope of a token is a list of features, separated by spaces")
        .with_help(format!("name 1 to {TOKEN_FEATURES_MAX} features, such as `User.age`, or leave it out")))
}

fn token_for(app: &App, account: &Account, narrowed: Narrowed) -> Result<String, Refusal> {
    let place = account.principal.home();
    let decision = app.control.decide(&account.principal, Action::TokenIssue, &resource(&place, FeatureSet::none()));
    let permit = app.control.admit(decision, Details::none())?;
    Ok(app.control.issue_token(account, narrowed, &permit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_basic_is_written_as_in_a_form() {
        let read = |text: &str| decoded(&STANDARD.encode(text)).map(|who| (who.id, who.secret.to_string()));
        let both = |id: &str, secret: &str| Some((id.to_owned(), secret.to_owned()));
        assert_eq!(read("etl@acme:creta_sk_a-b"), both("etl@acme", "creta_sk_a-b"), "as curl writes it");
        assert_eq!(read("etl%40acme:a%3Ab+c"), both("etl@acme", "a:b c"), "as RFC 6749 says");
        assert_eq!(read("id:a:b"), both("id", "a:b"));
        for wrong in ["", "id", "id%4:secret", "id:%zz", "id:%ff"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert!(decoded("not base64!").is_none());
    }
}
