//! One sign-in by authorization code, from the address that a browser opens to the code that comes back.

use std::collections::BTreeMap;
use std::fmt;

use creta_model::{Instant, Span};
use serde::{Deserialize, Serialize};

use super::RelyingParty;
use super::discovery::{Discovery, secure};
use super::error::OidcError;
use super::request::{Request, known_code};
use crate::jws::{encode, sha256};
use crate::key::Thumbprint;

/// How long an attempt may take.
pub const ATTEMPT_MINUTES: u32 = 10;
/// Most attempts under way at once; the oldest make room.
pub const ATTEMPTS_MAX: usize = 10_000;
const SCOPES: &str = "openid email profile";

/// Who began a sign-in, and has to finish it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum BoundTo {
    /// The holder of a key, proven by a DPoP proof of the request.
    Key(Thumbprint),
    /// The browser that holds a cookie: SHA-256 of its secret, base64url.
    Browser(String),
}

impl BoundTo {
    /// The browser whose cookie holds `secret`: at least 16 random bytes, `HttpOnly`, `Secure`, `SameSite=Lax`.
    pub fn browser(secret: &[u8]) -> Self {
        Self::Browser(encode(sha256(secret)))
    }

    fn text(&self) -> String {
        match self {
            Self::Key(thumbprint) => format!("key.{thumbprint}"),
            Self::Browser(digest) => format!("browser.{digest}"),
        }
    }
}

/// Where the code comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// The command line, listening on this machine (RFC 8252 §7.3); the provider ignores the port when it compares.
    Loopback {
        /// The port that it listens on.
        port: u16,
    },
    /// A page of the server.
    Web {
        /// Its `https` address, as registered at the provider.
        url: String,
    },
}

/// A sign-in under way. Holds secrets: kept by the server, sealed, and taken once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    pub(super) state: String,
    pub(super) nonce: String,
    verifier: String,
    redirect: String,
    pub(super) bound_to: BoundTo,
    pub(super) created: Instant,
}

impl Attempt {
    /// Names the attempt; the browser carries it.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Who has to finish it.
    pub const fn bound_to(&self) -> &BoundTo {
        &self.bound_to
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.created.plus(Span::seconds(ATTEMPT_MINUTES * 60)) || now < self.created.minus(Span::seconds(60))
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attempt({}, {})", self.bound_to.text(), self.created)
    }
}

/// The query that the provider sent the browser back with.
#[derive(Clone, Default, Deserialize)]
pub struct Callback {
    /// Of the attempt.
    pub state: String,
    /// On success.
    #[serde(default)]
    pub code: Option<String>,
    /// On failure.
    #[serde(default)]
    pub error: Option<String>,
    /// RFC 9207.
    #[serde(default)]
    pub iss: Option<String>,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("error", &self.error).finish_non_exhaustive()
    }
}

/// Attempts under way, by state. Each can be taken once.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    by_state: BTreeMap<String, Attempt>,
}

impl Attempts {
    /// Remembers an attempt; forgets those that took too long, and the oldest if there are too many: refusing new ones
    /// instead would let a stranger keep everybody out.
    pub fn put(&mut self, attempt: Attempt, now: Instant) {
        if self.by_state.len() >= ATTEMPTS_MAX {
            self.by_state.retain(|_, attempt| !attempt.is_over(now));
        }
        if self.by_state.len() >= ATTEMPTS_MAX {
            let oldest = self.by_state.values().min_by_key(|attempt| attempt.created);
            if let Some(state) = oldest.map(|attempt| attempt.state.clone()) {
                self.by_state.remove(&state);
            }
        }
        self.by_state.insert(attempt.state.clone(), attempt);
    }

    /// Takes an attempt, whatever comes of it: a state works once. `proven` is the key or browser that asks now.
    pub fn take(&mut self, state: &str, proven: &BoundTo, now: Instant) -> Result<Attempt, OidcError> {
        let attempt = self.by_state.remove(state).filter(|attempt| !attempt.is_over(now));
        let attempt = attempt.ok_or(OidcError::NoAttempt)?;
        if attempt.bound_to == *proven { Ok(attempt) } else { Err(OidcError::OtherClient) }
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.by_state.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_state.is_empty()
    }
}

impl RelyingParty {
    /// Begins a sign-in: what to remember, and the address that a browser opens. `random` is new for each attempt.
    pub fn begin(
        &self,
        discovery: &Discovery,
        redirect: &Redirect,
        bound_to: BoundTo,
        random: &[u8; 96],
        now: Instant,
    ) -> Result<(Attempt, String), OidcError> {
        let redirect = match redirect {
            // The address and not the name: a name can be made to point elsewhere (RFC 8252 §8.3).
            Redirect::Loopback { port } => format!("http://127.0.0.1:{port}/callback"),
            Redirect::Web { url } => secure(url)?.to_string(),
        };
        let (state, rest) = random.split_at(32);
        let (verifier, seed) = rest.split_at(32);
        let nonce = sha256(&[b"creta.oidc-nonce/1\n", seed, bound_to.text().as_bytes()].concat());
        let attempt = Attempt {
            state: encode(state),
            nonce: encode(nonce),
            verifier: encode(verifier),
            redirect,
            bound_to,
            created: now,
        };
        let mut url = secure(&discovery.authorization_endpoint)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client.client_id)
            .append_pair("redirect_uri", &attempt.redirect)
            .append_pair("scope", SCOPES)
            .append_pair("state", &attempt.state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", &encode(sha256(attempt.verifier.as_bytes())))
            .append_pair("code_challenge_method", "S256");
        Ok((attempt, url.into()))
    }

    /// The request that turns the code into tokens. `attempt` is what [`Attempts::take`] gave for the callback's state.
    pub fn exchange(
        &self,
        discovery: &Discovery,
        attempt: &Attempt,
        callback: &Callback,
    ) -> Result<Request, OidcError> {
        if callback.state != attempt.state {
            return Err(OidcError::NoAttempt);
        }
        // Another provider's answer in our attempt: RFC 9207 §2.4.
        let other = callback.iss.as_ref().is_some_and(|issuer| *issuer != self.client.issuer);
        if other || (discovery.authorization_response_iss_parameter_supported && callback.iss.is_none()) {
            return Err(OidcError::flaw(super::error::Flaw::Issuer));
        }
        if let Some(code) = &callback.error {
            return Err(OidcError::Refused { code: known_code(code) });
        }
        let code = callback.code.as_deref().ok_or(OidcError::Refused { code: "unknown".to_owned() })?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &attempt.redirect),
            ("code_verifier", &attempt.verifier),
        ];
        Ok(self.request(discovery, &discovery.token_endpoint, &form))
    }
}
