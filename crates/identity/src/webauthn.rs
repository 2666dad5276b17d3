//! Authenticators that cannot be phished (WebAuthn Level 3): how staff show that it is them, at sign-in and at each approval.
//!
//! The person is always verified (PIN, finger, face), never only present. What is signed commits to what is being done: the
//! challenge is the hash of a [`Statement`] that names the person, the action and the digest of the document agreed to.
//! A signature for one request is worth nothing for another, and the statement with the signature is evidence later.

mod ceremony;
mod site;

use creta_model::Instant;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use webauthn_rs::prelude::{Passkey, Uuid};

pub use ceremony::{CEREMONY_MINUTES, Ceremonies, Ceremony, PROMPTS_MAX, Purpose, Statement};
pub use site::{Person, Site, Verified};

use crate::jws::{encode, sha256};

/// Most authenticators of one person.
pub const CREDENTIALS_MAX: usize = 10;
const LABEL_CHARACTERS_MAX: usize = 64;

/// Why an authenticator's answer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebauthnError {
    /// Ours to repair.
    #[error("the address of this server cannot be used for authenticators: it needs a domain and `https`")]
    Configuration,
    /// Not an answer of a browser.
    #[error("the browser's answer cannot be read; try again")]
    Malformed,
    /// Never begun, used, for something else, or longer ago than five minutes.
    #[error("this prompt was answered, was for something else, or has expired; start again")]
    NoCeremony,
    /// Too many prompts under way for one person: somebody else may be asking.
    #[error("too many prompts are waiting for an answer; if you did not start them, tell security")]
    TooManyPrompts,
    /// The person has none, or too many.
    #[error(
        "this takes a security key or a device's own authenticator; register one with `creta login --register-authenticator`"
    )]
    NoCredential,
    /// One person, ten authenticators.
    #[error("there are {CREDENTIALS_MAX} authenticators already; remove one first")]
    TooManyCredentials,
    /// A label without letters, or too long.
    #[error("name the authenticator with 1 to {LABEL_CHARACTERS_MAX} characters")]
    Label,
    /// Present, not verified.
    #[error("the authenticator did not verify who holds it; set a PIN or a fingerprint on it")]
    NotVerified,
    /// The signature counter did not grow: there are two copies of the key. It is suspended from now on.
    #[error("this authenticator seems to exist twice; it is suspended, tell security and register another one")]
    Cloned,
    /// Suspended earlier.
    #[error("this authenticator is suspended; use another one")]
    Suspended,
    /// Signature, origin, challenge or key is wrong.
    #[error("the authenticator's answer is refused")]
    Refused,
}

impl WebauthnError {
    /// The promise that a refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        "CI-22"
    }
}

/// A person's authenticators. Kept with the person; changes have to be stored before anything is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// What authenticators know the person by: random, says nothing about them.
    handle: Uuid,
    keys: Vec<Credential>,
}

/// One authenticator's key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Credential {
    passkey: Passkey,
    /// Highest signature counter seen; 0 if the authenticator has none.
    counter: u32,
    label: String,
    added: Instant,
    /// When it last answered rightly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suspended: Option<Instant>,
}

/// The public half of an authenticator, as it was when it was registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuthenticatorKey(Value);

impl AuthenticatorKey {
    fn of(passkey: &Passkey) -> Self {
        let mut value = serde_json::to_value(passkey).expect("a passkey has a JSON form");
        // What changes with use is no part of it.
        for (name, first) in [("counter", Value::from(0)), ("backup_state", Value::from(false))] {
            if let Some(member) = value.pointer_mut(&format!("/cred/{name}")) {
                *member = first;
            }
        }
        Self(value)
    }

    fn passkey(&self) -> Option<Passkey> {
        serde_json::from_value(self.0.clone()).ok()
    }

    /// SHA-256 of the canonical JSON of credential id and public key: by it the log knows the authenticator.
    pub fn digest(&self) -> [u8; 32] {
        let parts = [self.0.pointer("/cred/cred_id"), self.0.pointer("/cred/cred")];
        sha256(&serde_json_canonicalizer::to_vec(&parts).expect("JSON has a canonical form"))
    }
}

/// What people are shown of an authenticator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Base64url.
    pub id: String,
    /// Chosen by its owner.
    pub label: String,
    /// When it was registered.
    pub added: Instant,
    /// When it last answered rightly.
    pub used: Option<Instant>,
    /// Whether it was seen twice and counts no more.
    pub is_suspended: bool,
}

impl Credentials {
    /// None yet. `random` names the person to authenticators.
    pub fn new(random: [u8; 16]) -> Self {
        Self { handle: Uuid::from_bytes(random), keys: Vec::new() }
    }

    /// In the order of registration.
    pub fn summaries(&self) -> Vec<Summary> {
        let summary = |key: &Credential| Summary {
            id: encode(key.passkey.cred_id()),
            label: key.label.clone(),
            added: key.added,
            used: key.used,
            is_suspended: key.suspended.is_some(),
        };
        self.keys.iter().map(summary).collect()
    }

    /// Whether there is one that counts.
    pub fn can_verify(&self) -> bool {
        self.keys.iter().any(|key| key.suspended.is_none())
    }

    /// Whether an authenticator is this person's: no two persons may register the same.
    pub fn holds(&self, id: &str) -> bool {
        self.keys.iter().any(|key| encode(key.passkey.cred_id()) == id)
    }

    /// The public key of one of them.
    pub fn key_of(&self, id: &str) -> Option<AuthenticatorKey> {
        let key = self.keys.iter().find(|key| encode(key.passkey.cred_id()) == id);
        key.map(|key| AuthenticatorKey::of(&key.passkey))
    }

    /// Removes a lost or suspended authenticator; whether it was there.
    pub fn remove(&mut self, id: &str) -> bool {
        let before = self.keys.len();
        self.keys.retain(|key| encode(key.passkey.cred_id()) != id);
        self.keys.len() < before
    }
}

#[cfg(test)]
mod soft_authenticator;
#[cfg(test)]
mod tests;
