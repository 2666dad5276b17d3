//! Prompts under way: what each is for, for whom, and that it is answered once.

use std::collections::BTreeMap;

use creta_model::{Instant, Span};
use serde::{Deserialize, Serialize};
use webauthn_rs::prelude::{PasskeyAuthentication, PasskeyRegistration};

use super::WebauthnError;
use crate::jws::{encode, sha256};
use crate::key::Thumbprint;

/// How long a prompt waits for its answer.
pub const CEREMONY_MINUTES: u32 = 5;
/// Most prompts of one person that wait at once.
pub const PROMPTS_MAX: usize = 3;
const FORMAT: &str = "creta.challenge/1";

/// What a person agrees to by touching their authenticator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// The action, in the words of the log: `session.open`, `access.approve`.
    pub action: String,
    /// SHA-256 of what it is done to, in hexadecimal: the key of a session, the request that is approved.
    pub digest: String,
}

impl Purpose {
    /// Opening a session for a key.
    pub fn sign_in(key: &Thumbprint) -> Self {
        Self::agree("session.open", key.as_str().as_bytes())
    }

    /// Agreeing to a document, whole: canonical JSON of a request, for example.
    pub fn agree(action: &str, document: &[u8]) -> Self {
        Self { action: action.to_owned(), digest: hex::encode(sha256(document)) }
    }
}

/// What an authenticator signs, in words. The challenge is the SHA-256 of its canonical JSON (RFC 8785).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    format: String,
    /// Who.
    pub person: String,
    /// Agrees to what.
    #[serde(flatten)]
    pub purpose: Purpose,
    /// When they were asked.
    pub asked: Instant,
    /// 32 random bytes, base64url: no two statements are alike.
    pub random: String,
}

impl Statement {
    pub(super) fn new(person: &str, purpose: Purpose, random: &[u8; 32], asked: Instant) -> Self {
        Self { format: FORMAT.to_owned(), person: person.to_owned(), purpose, asked, random: encode(random) }
    }

    /// 32 bytes.
    pub fn challenge(&self) -> [u8; 32] {
        sha256(&serde_json_canonicalizer::to_vec(self).expect("a statement has a canonical form"))
    }
}

/// A prompt under way. Kept by the server and taken once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceremony {
    pub(super) statement: Statement,
    pub(super) state: State,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum State {
    Registration(Box<PasskeyRegistration>),
    Authentication(Box<PasskeyAuthentication>),
}

impl Ceremony {
    /// Names the prompt: its challenge, base64url.
    pub fn id(&self) -> String {
        encode(self.statement.challenge())
    }

    /// What it is for.
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        let asked = self.statement.asked;
        now >= asked.plus(Span::seconds(CEREMONY_MINUTES * 60)) || now < asked.minus(Span::seconds(60))
    }
}

/// Prompts under way, by id. Each can be taken once.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceremonies {
    by_id: BTreeMap<String, Ceremony>,
}

impl Ceremonies {
    /// Remembers a prompt; `TooManyPrompts` if its person has [`PROMPTS_MAX`] waiting. O(all that wait).
    pub fn put(&mut self, ceremony: Ceremony, now: Instant) -> Result<(), WebauthnError> {
        self.by_id.retain(|_, ceremony| !ceremony.is_over(now));
        let person = &ceremony.statement.person;
        if self.by_id.values().filter(|other| other.statement.person == *person).count() >= PROMPTS_MAX {
            return Err(WebauthnError::TooManyPrompts);
        }
        self.by_id.insert(ceremony.id(), ceremony);
        Ok(())
    }

    /// Takes a prompt, whatever comes of it. `person` and `purpose` are what is being done now; a prompt for something
    /// else is used up too.
    pub fn take(&mut self, id: &str, person: &str, purpose: &Purpose, now: Instant) -> Result<Ceremony, WebauthnError> {
        let taken = self.by_id.remove(id).filter(|ceremony| !ceremony.is_over(now));
        taken
            .filter(|ceremony| ceremony.statement.person == person && ceremony.statement.purpose == *purpose)
            .ok_or(WebauthnError::NoCeremony)
    }
}
