//! Signing in at the organisation's provider (OpenID Connect Core, RFC 8252): Creta is a relying party.
//!
//! A browser and the command line go the same way: the server keeps the [`Attempt`] with its secrets, the client carries
//! a code back. It is bound to the key or cookie of who began it ([`BoundTo`]), so that a code, a state or a whole answer in other hands signs nobody in.
//!
//! A person is the pair of issuer and subject ([`Identity`]). An e-mail address is shown to people and decides nothing:
//! addresses change hands.

mod attempt;
mod discovery;
mod error;
mod id_token;
mod request;

pub use attempt::{ATTEMPT_MINUTES, ATTEMPTS_MAX, Attempt, Attempts, BoundTo, Callback, Redirect};
pub use discovery::{Discovery, KEYS_AGE_MINUTES_MAX, Keys, discovery_url};
pub use error::{Flaw, OidcError};
pub use id_token::{Identity, SignIn};
pub use request::{Client, Request, Tokens};

/// How far the provider's clock may be from ours.
pub const LEEWAY_SECONDS: u32 = 60;

/// The organisation's registration at its provider; everything a sign-in needs besides the provider's documents.
#[derive(Debug, Clone)]
pub struct RelyingParty {
    client: Client,
}

impl RelyingParty {
    /// Refuses an issuer that is not reached by TLS (loopback apart, for tests).
    pub fn new(client: Client) -> Result<Self, OidcError> {
        discovery::secure(&client.issuer)?;
        if client.client_id.is_empty() {
            return Err(OidcError::Configuration { what: "the client id is empty".to_owned() });
        }
        Ok(Self { client })
    }

    /// The issuer, as identities name it.
    pub fn issuer(&self) -> &str {
        &self.client.issuer
    }
}

#[cfg(test)]
mod tests;
