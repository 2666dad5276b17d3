//! Requests to a provider, as values that the server sends, and its answers.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openidconnect::url::form_urlencoded::{Serializer, byte_serialize};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::RelyingParty;
use super::discovery::Discovery;
use super::error::OidcError;

/// Largest answer that is looked at.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// What the organisation registered at its provider.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The provider, exactly as it names itself.
    pub issuer: String,
    /// What it calls us.
    pub client_id: String,
    /// For a confidential client. Comes from a secret file, never from the configuration's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.client_secret.as_ref().map(|_| "…");
        f.debug_struct("Client")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .field("client_secret", &secret)
            .finish()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.client_secret.zeroize();
    }
}

/// A POST of a form to the provider. Redirects must not be followed.
pub struct Request {
    /// Where to.
    pub url: String,
    /// `application/x-www-form-urlencoded`. Holds secrets.
    pub body: Zeroizing<String>,
    /// Value of the header `Authorization`, if the provider wants the client's secret there.
    pub authorization: Option<Zeroizing<String>>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.url)
    }
}

/// What a provider's token endpoint answered. The access token is not kept: we want to know who it is, no more.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Tokens {
    pub(super) id_token: String,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
}

impl Tokens {
    /// Reads the answer to a [`Request`]. `Refused` holds the code of an error answer.
    pub fn parse(status: u16, body: &[u8]) -> Result<Self, OidcError> {
        let refuse = |why: &str| OidcError::Provider { document: "answer", why: why.to_owned() };
        if body.len() > ANSWER_BYTES_MAX {
            return Err(refuse("it is too large"));
        }
        match status {
            200 => serde_json::from_slice(body).map_err(|_| refuse("it holds no ID token")),
            400..=499 => {
                let failure: Failure = serde_json::from_slice(body).map_err(|_| refuse("it is not JSON"))?;
                Err(OidcError::Refused { code: known_code(&failure.error) })
            }
            _ => Err(refuse("the provider has an error of its own; try again later")),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

/// Codes of RFC 6749, RFC 8628 and OpenID Connect Core. Others are not repeated: whoever forges an answer writes them.
pub(super) fn known_code(code: &str) -> String {
    const KNOWN: [&str; 16] = [
        "access_denied",
        "account_selection_required",
        "authorization_pending",
        "consent_required",
        "expired_token",
        "interaction_required",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "login_required",
        "server_error",
        "slow_down",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_grant_type",
    ];
    KNOWN.iter().find(|known| **known == code).map_or("unknown", |known| *known).to_owned()
}

impl RelyingParty {
    /// A form for one of the provider's endpoints, with the client's proof of who it is.
    pub(super) fn request(&self, discovery: &Discovery, url: &str, form: &[(&str, &str)]) -> Request {
        let client = &self.client;
        let methods = &discovery.token_endpoint_auth_methods_supported;
        let offers = |name: &str| methods.iter().any(|method| method == name);
        let mut body = Serializer::new(String::new());
        body.extend_pairs(form).append_pair("client_id", &client.client_id);
        let mut authorization = None;
        if let Some(secret) = &client.client_secret {
            // Basic is what every provider has to support (RFC 6749 §2.3.1) unless it says otherwise.
            if offers("client_secret_post") && !offers("client_secret_basic") {
                body.append_pair("client_secret", secret);
            } else {
                let part = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = Zeroizing::new(format!("{}:{}", part(&client.client_id), part(secret)));
                authorization = Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))));
            }
        }
        Request { url: url.to_owned(), body: Zeroizing::new(body.finish()), authorization }
    }
}
