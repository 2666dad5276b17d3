//! What a provider says about itself: its discovery document and its keys, both fetched and cached by the caller.

use creta_model::{Instant, Span};
use openidconnect::core::CoreJsonWebKeySet;
use openidconnect::url::{Host, Url};
use serde::{Deserialize, Serialize};

use super::error::OidcError;

/// Older keys are fetched again before they are believed: what a provider withdrew is refused after this long.
pub const KEYS_AGE_MINUTES_MAX: u32 = 60;
/// An unknown key leads to a fetch at most this often, so that made-up keys cannot make us hammer the provider.
const REFRESH_SECONDS_MIN: u32 = 60;
/// Largest document that is looked at.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// Where the discovery document of an issuer stands (OpenID Connect Discovery §4).
pub fn discovery_url(issuer: &str) -> Result<String, OidcError> {
    secure(issuer)?;
    Ok(format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))
}

/// The part of a provider's discovery document that a sign-in uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    pub(super) device_authorization_endpoint: Option<String>,
    #[serde(default)]
    pub(super) token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    /// RFC 9207.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl Discovery {
    /// Reads the document fetched from [`discovery_url`]. It has to name the same issuer, letter by letter, and reach
    /// everything by TLS.
    pub fn parse(issuer: &str, document: &[u8]) -> Result<Self, OidcError> {
        let refuse = |why: String| OidcError::Provider { document: "discovery document", why };
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(refuse("it is too large".to_owned()));
        }
        let found: Self = serde_json::from_slice(document)
            .map_err(|_| refuse("it is not JSON, or a required member is missing".to_owned()))?;
        if found.issuer != issuer {
            return Err(refuse("it names another issuer".to_owned()));
        }
        let addresses = [&found.authorization_endpoint, &found.token_endpoint, &found.jwks_uri];
        for address in addresses.into_iter().chain(&found.device_authorization_endpoint) {
            secure(address).map_err(|_| refuse("one of its addresses is not `https`".to_owned()))?;
        }
        // Absent means unknown (RFC 8414 §2); a list without S256 means that our codes would be unprotected.
        let methods = &found.code_challenge_methods_supported;
        if !methods.is_empty() && !methods.iter().any(|method| method == "S256") {
            return Err(refuse("it does not offer PKCE with `S256`".to_owned()));
        }
        Ok(found)
    }

    /// Where to fetch the keys.
    pub fn keys_url(&self) -> &str {
        &self.jwks_uri
    }

    /// Where tokens are asked for.
    pub fn token_url(&self) -> &str {
        &self.token_endpoint
    }

    /// Whether machines without a browser can sign in (RFC 8628).
    pub const fn has_device_flow(&self) -> bool {
        self.device_authorization_endpoint.is_some()
    }
}

/// A provider's keys as of an instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    pub(super) set: CoreJsonWebKeySet,
    fetched: Instant,
}

impl Keys {
    /// Reads a JWKS. Keys of kinds that we do not know are passed over; a set without any other is refused.
    pub fn parse(document: &[u8], fetched: Instant) -> Result<Self, OidcError> {
        let refuse = |why: &str| OidcError::Provider { document: "keys", why: why.to_owned() };
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(refuse("they are too large"));
        }
        let set: CoreJsonWebKeySet = serde_json::from_slice(document).map_err(|_| refuse("they are no JWKS"))?;
        if set.keys().is_empty() { Err(refuse("there is none that we know")) } else { Ok(Self { set, fetched }) }
    }

    /// Whether they have to be fetched again before anything is believed.
    pub fn are_stale(&self, now: Instant) -> bool {
        now > self.fetched.plus(Span::seconds(KEYS_AGE_MINUTES_MAX * 60)) || now < self.fetched.minus(leeway())
    }

    /// Whether an unknown key is a reason to fetch them again: not more often than once a minute.
    pub fn may_be_refreshed(&self, now: Instant) -> bool {
        self.are_stale(now) || now >= self.fetched.plus(Span::seconds(REFRESH_SECONDS_MIN))
    }
}

pub(super) fn leeway() -> Span {
    Span::seconds(super::LEEWAY_SECONDS)
}

/// `https`, or `http` to this machine, where nothing can listen in between.
pub(super) fn secure(address: &str) -> Result<Url, OidcError> {
    let refuse = |why: &str| OidcError::Configuration { what: format!("`{address}` {why}") };
    let url = Url::parse(address).map_err(|_| refuse("is not an address"))?;
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        _ => false,
    };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(refuse("holds more than an address"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err(refuse("is not reached by `https`")),
    }
}
