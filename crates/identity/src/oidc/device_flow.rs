//! Signing in from a machine without a browser (RFC 8628): a person confirms a short code on another one.
//!
//! Whoever talks a person into confirming a code that somebody else was shown gets a session for their own key. That is
//! why the session says how it came about, and why production needs an enrolled device besides.

use std::fmt;

use creta_model::{Instant, Span};
use serde::{Deserialize, Serialize};

use super::RelyingParty;
use super::attempt::BoundTo;
use super::discovery::{Discovery, secure};
use super::error::OidcError;
use super::request::{Request, Tokens};

const SCOPES: &str = "openid email profile";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 8628 §3.2: used where the provider names none.
const INTERVAL_SECONDS: u32 = 5;
const INTERVAL_SECONDS_MAX: u32 = 60;
/// Longest that a device code is believed to live, whatever the provider says.
const LIFE_SECONDS_MAX: u32 = 30 * 60;

/// A sign-in without a browser, under way. Holds a secret: kept by the server, sealed, and dropped once it ends.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceAttempt {
    device_code: String,
    bound_to: BoundTo,
    pub(super) created: Instant,
    expires: Instant,
    interval_seconds: u32,
    /// Asking earlier is answered by us.
    next_poll: Instant,
}

impl fmt::Debug for DeviceAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceAttempt({:?}, {})", self.bound_to, self.created)
    }
}

/// What a person is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevicePrompt {
    /// What they type.
    pub user_code: String,
    /// Where: checked to be `https`.
    pub verification_uri: String,
    /// The same with the code inside, for a link or a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_uri_complete: Option<String>,
    /// How long the code lives.
    pub expires_in_seconds: u32,
    /// How often to ask.
    pub interval_seconds: u32,
}

/// How far a person got.
#[derive(Debug)]
pub enum Poll {
    /// Not yet; ask again after the interval.
    Pending,
    /// Confirmed: [`RelyingParty::verify_device`] says who it is.
    Done(Tokens),
}

#[derive(Deserialize)]
struct Started {
    device_code: String,
    user_code: String,
    verification_uri: String,
    #[serde(default)]
    verification_uri_complete: Option<String>,
    expires_in: u32,
    #[serde(default)]
    interval: Option<u32>,
}

impl RelyingParty {
    /// The request that begins a sign-in without a browser.
    pub fn begin_device(&self, discovery: &Discovery) -> Result<Request, OidcError> {
        let endpoint = discovery.device_authorization_endpoint.as_deref().ok_or_else(|| OidcError::Provider {
            document: "discovery document",
            why: "it offers no sign-in without a browser; run `creta login` where there is one".to_owned(),
        })?;
        Ok(self.request(discovery, endpoint, &[("scope", SCOPES)]))
    }
}

impl DeviceAttempt {
    /// Reads the answer to [`RelyingParty::begin_device`].
    pub fn started(
        status: u16,
        body: &[u8],
        bound_to: BoundTo,
        now: Instant,
    ) -> Result<(Self, DevicePrompt), OidcError> {
        let refuse = |why: &str| OidcError::Provider { document: "answer", why: why.to_owned() };
        if status != 200 {
            return Err(Tokens::parse(status, body).err().unwrap_or_else(|| refuse("it is not one")));
        }
        let started: Started = serde_json::from_slice(body).map_err(|_| refuse("it is not one of RFC 8628"))?;
        for address in [Some(&started.verification_uri), started.verification_uri_complete.as_ref()] {
            address.map_or(Ok(()), |address| {
                secure(address).map(|_| ()).map_err(|_| refuse("its address is not `https`"))
            })?;
        }
        // Shown in a terminal, so nothing but what a person can type.
        let typeable = |code: &str| code.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if started.user_code.is_empty() || started.user_code.len() > 32 || !typeable(&started.user_code) {
            return Err(refuse("its code cannot be typed"));
        }
        let life = started.expires_in.min(LIFE_SECONDS_MAX);
        let interval = started.interval.unwrap_or(INTERVAL_SECONDS).clamp(1, INTERVAL_SECONDS_MAX);
        let attempt = Self {
            device_code: started.device_code,
            bound_to,
            created: now,
            expires: now.plus(Span::seconds(life)),
            interval_seconds: interval,
            next_poll: now.plus(Span::seconds(interval)),
        };
        let prompt = DevicePrompt {
            user_code: started.user_code,
            verification_uri: started.verification_uri,
            verification_uri_complete: started.verification_uri_complete,
            expires_in_seconds: life,
            interval_seconds: interval,
        };
        Ok((attempt, prompt))
    }

    /// Who has to finish it.
    pub const fn bound_to(&self) -> &BoundTo {
        &self.bound_to
    }

    /// The next question to the provider; `None` if it is too early for one. `proven` is the key that asks now.
    pub fn poll(
        &mut self,
        party: &RelyingParty,
        discovery: &Discovery,
        proven: &BoundTo,
        now: Instant,
    ) -> Result<Option<Request>, OidcError> {
        if self.bound_to != *proven {
            return Err(OidcError::OtherClient);
        }
        if now >= self.expires {
            return Err(OidcError::NoAttempt);
        }
        if now < self.next_poll {
            return Ok(None);
        }
        self.next_poll = now.plus(Span::seconds(self.interval_seconds));
        let form = [("grant_type", GRANT), ("device_code", self.device_code.as_str())];
        Ok(Some(party.request(discovery, &discovery.token_endpoint, &form)))
    }

    /// Reads the provider's answer. An error ends the attempt.
    pub fn answered(&mut self, status: u16, body: &[u8], now: Instant) -> Result<Poll, OidcError> {
        match Tokens::parse(status, body) {
            Ok(tokens) => Ok(Poll::Done(tokens)),
            Err(OidcError::Refused { code }) if code == "authorization_pending" => Ok(Poll::Pending),
            Err(OidcError::Refused { code }) if code == "slow_down" => {
                // RFC 8628 §3.5: five seconds more, from now on.
                self.interval_seconds = (self.interval_seconds + 5).min(INTERVAL_SECONDS_MAX);
                self.next_poll = now.plus(Span::seconds(self.interval_seconds));
                Ok(Poll::Pending)
            }
            Err(error) => Err(error),
        }
    }
}
