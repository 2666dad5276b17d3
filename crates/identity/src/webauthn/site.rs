//! The relying party: asks authenticators and judges their answers.

use creta_model::Instant;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use webauthn_rs::Webauthn;
use webauthn_rs::prelude::{
    PublicKeyCredential, RegisterPublicKeyCredential, Url, WebauthnBuilder, WebauthnError as LibraryError,
};

use super::ceremony::{Ceremony, Purpose, State, Statement};
use super::{AuthenticatorKey, CREDENTIALS_MAX, Credential, Credentials, LABEL_CHARACTERS_MAX, WebauthnError};
use crate::jws::encode;

/// A person, as the browser's dialog names them.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// Never changes.
    pub id: &'a str,
    /// What they sign in with.
    pub name: &'a str,
    /// What they are called.
    pub display_name: &'a str,
}

/// A person who was verified, and the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// Base64url.
    pub credential: String,
    /// The authenticator's public key as it was registered: evidence outlives the registration.
    pub key: AuthenticatorKey,
    /// Whether the key may be copied between devices by its maker.
    pub is_synced: bool,
    /// What was signed.
    pub statement: Statement,
    /// The signature, as the browser sent it.
    pub response: Value,
}

/// Where authenticators are used: one server, by its public address.
#[derive(Debug)]
pub struct Site {
    library: Webauthn,
}

impl Site {
    /// `origin` as browsers see it, such as `https://creta.bank.example`. Keys are bound to its domain: it cannot change
    /// without everybody registering again.
    pub fn new(origin: &str) -> Result<Self, WebauthnError> {
        let url = Url::parse(origin).map_err(|_| WebauthnError::Configuration)?;
        let domain = url.domain().ok_or(WebauthnError::Configuration)?;
        if url.scheme() != "https" && domain != "localhost" {
            return Err(WebauthnError::Configuration);
        }
        let library = WebauthnBuilder::new(domain, &url)
            .and_then(|builder| builder.rp_name("Creta").build())
            .map_err(|_| WebauthnError::Configuration)?;
        Ok(Self { library })
    }

    /// Begins a registration: what to remember, and the options for `navigator.credentials.create`. The caller has
    /// verified the person otherwise (their provider, an administrator's invitation) and says so by `purpose`.
    pub fn begin_registration(
        &self,
        credentials: &Credentials,
        person: Person<'_>,
        purpose: Purpose,
        random: &[u8; 32],
        now: Instant,
    ) -> Result<(Ceremony, Value), WebauthnError> {
        if credentials.keys.len() >= CREDENTIALS_MAX {
            return Err(WebauthnError::TooManyCredentials);
        }
        let known = credentials.keys.iter().map(|key| key.passkey.cred_id().clone()).collect();
        let (options, state) = self
            .library
            .start_passkey_registration(credentials.handle, person.name, person.display_name, Some(known))
            .map_err(|_| WebauthnError::Configuration)?;
        let statement = Statement::new(person.id, purpose, random, now);
        let options = with_challenge(&options, "/publicKey/challenge", &statement);
        let state = State::Registration(Box::new(with_challenge(&state, "/rs/challenge", &statement)));
        Ok((Ceremony { statement, state }, options))
    }

    /// Adds the authenticator that answered. `response` is the JSON of the browser's `PublicKeyCredential`. The caller
    /// checks that nobody else [holds](Credentials::holds) it.
    pub fn finish_registration(
        &self,
        ceremony: Ceremony,
        response: &[u8],
        credentials: &mut Credentials,
        label: &str,
        now: Instant,
    ) -> Result<String, WebauthnError> {
        let label = label.trim();
        let characters = label.chars().count();
        if characters == 0 || characters > LABEL_CHARACTERS_MAX || label.chars().any(char::is_control) {
            return Err(WebauthnError::Label);
        }
        if credentials.keys.len() >= CREDENTIALS_MAX {
            return Err(WebauthnError::TooManyCredentials);
        }
        if ceremony.is_over(now) {
            return Err(WebauthnError::NoCeremony);
        }
        let State::Registration(state) = &ceremony.state else {
            return Err(WebauthnError::NoCeremony);
        };
        let response: RegisterPublicKeyCredential = parse(response)?;
        let passkey = self.library.finish_passkey_registration(&response, state).map_err(refusal)?;
        let id = encode(passkey.cred_id());
        if credentials.holds(&id) {
            return Err(WebauthnError::Refused);
        }
        let label = label.to_owned();
        credentials.keys.push(Credential { passkey, counter: 0, label, added: now, used: None, suspended: None });
        Ok(id)
    }

    /// Begins a verification: what to remember, and the options for `navigator.credentials.get`.
    pub fn begin(
        &self,
        credentials: &Credentials,
        person: &str,
        purpose: Purpose,
        random: &[u8; 32],
        now: Instant,
    ) -> Result<(Ceremony, Value), WebauthnError> {
        let usable: Vec<_> =
            credentials.keys.iter().filter(|key| key.suspended.is_none()).map(|key| key.passkey.clone()).collect();
        if usable.is_empty() {
            return Err(WebauthnError::NoCredential);
        }
        let (options, state) =
            self.library.start_passkey_authentication(&usable).map_err(|_| WebauthnError::Configuration)?;
        let statement = Statement::new(person, purpose, random, now);
        let options = with_challenge(&options, "/publicKey/challenge", &statement);
        let state = State::Authentication(Box::new(with_challenge(&state, "/ast/challenge", &statement)));
        Ok((Ceremony { statement, state }, options))
    }

    /// Judges an answer. Store `credentials` also when it is refused: a cloned authenticator was suspended.
    pub fn finish(
        &self,
        ceremony: Ceremony,
        response: &[u8],
        credentials: &mut Credentials,
        now: Instant,
    ) -> Result<Verified, WebauthnError> {
        if ceremony.is_over(now) {
            return Err(WebauthnError::NoCeremony);
        }
        let State::Authentication(state) = &ceremony.state else {
            return Err(WebauthnError::NoCeremony);
        };
        let answer: PublicKeyCredential = parse(response)?;
        // The key as it is now, not as it was when the prompt began.
        let key = credentials.keys.iter_mut().find(|key| key.passkey.cred_id().as_slice() == answer.raw_id);
        let key = key.ok_or(WebauthnError::Refused)?;
        if key.suspended.is_some() {
            return Err(WebauthnError::Suspended);
        }
        let result = match self.library.finish_passkey_authentication(&answer, state) {
            Ok(result) => result,
            Err(LibraryError::CredentialPossibleCompromise) => {
                key.suspended = Some(now);
                return Err(WebauthnError::Cloned);
            }
            Err(error) => return Err(refusal(error)),
        };
        if !result.user_verified() {
            return Err(WebauthnError::NotVerified);
        }
        // Two prompts that began together know the same old counter; the stored one has seen the first answer.
        if (result.counter() > 0 || key.counter > 0) && result.counter() <= key.counter {
            key.suspended = Some(now);
            return Err(WebauthnError::Cloned);
        }
        (key.counter, key.used) = (result.counter(), Some(now));
        key.passkey.update_credential(&result).ok_or(WebauthnError::Refused)?;
        Ok(Verified {
            credential: encode(result.cred_id()),
            key: AuthenticatorKey::of(&key.passkey),
            is_synced: result.backup_eligible(),
            response: serde_json::to_value(&answer).map_err(|_| WebauthnError::Malformed)?,
            statement: ceremony.statement,
        })
    }
}

impl Site {
    /// Checks evidence that was kept: that the authenticator of `evidence.key` signed exactly the statement that stands in it, for
    /// this site, after verifying who holds it. Whose key it is, and that it was theirs when they signed, is for the caller to
    /// know, by [`AuthenticatorKey::digest`]. The counter says nothing any more. Costs a signature check.
    pub fn check(&self, evidence: &Verified) -> Result<(), WebauthnError> {
        let answer: PublicKeyCredential =
            serde_json::from_value(evidence.response.clone()).map_err(|_| WebauthnError::Malformed)?;
        let passkey = evidence.key.passkey().ok_or(WebauthnError::Malformed)?;
        let same = encode(passkey.cred_id()) == evidence.credential && passkey.cred_id().as_slice() == answer.raw_id;
        if !same {
            return Err(WebauthnError::Refused);
        }
        let (_, state) =
            self.library.start_passkey_authentication(&[passkey]).map_err(|_| WebauthnError::Configuration)?;
        let state = with_challenge(&state, "/ast/challenge", &evidence.statement);
        let result = self.library.finish_passkey_authentication(&answer, &state).map_err(refusal)?;
        if result.user_verified() { Ok(()) } else { Err(WebauthnError::NotVerified) }
    }
}

/// The library draws a challenge of its own; ours commits to what is agreed to and takes its place, in the options and in
/// the state alike.
fn with_challenge<T: Serialize, U: DeserializeOwned>(value: &T, path: &str, statement: &Statement) -> U {
    let mut value = serde_json::to_value(value).expect("the library's types have a JSON form");
    let challenge = value.pointer_mut(path).expect("the library keeps its challenge there");
    *challenge = json!(encode(statement.challenge()));
    serde_json::from_value(value).expect("a challenge is 32 bytes in base64url")
}

fn parse<T: DeserializeOwned>(response: &[u8]) -> Result<T, WebauthnError> {
    serde_json::from_slice(response).map_err(|_| WebauthnError::Malformed)
}

fn refusal(error: LibraryError) -> WebauthnError {
    match error {
        LibraryError::UserNotVerified => WebauthnError::NotVerified,
        _ => WebauthnError::Refused,
    }
}
