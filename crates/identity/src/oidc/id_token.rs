//! Who signed in: an ID token, verified against one attempt.

use chrono::{DateTime, Utc};
use creta_model::Instant;
use openidconnect::core::{
    CoreIdToken, CoreIdTokenClaims, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm,
};
use openidconnect::{ClaimsVerificationError, ClientId, IssuerUrl, Nonce, SignatureVerificationError};
use serde::{Deserialize, Serialize};

use super::RelyingParty;
use super::attempt::Attempt;
use super::discovery::{Keys, leeway};
use super::error::{Flaw, OidcError};
use super::request::Tokens;

/// What a provider may sign with. Nothing with a shared secret, and never `none`.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 4] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EdDsa,
];
/// OpenID Connect Core §2: a subject has at most 255 characters.
const SUBJECT_BYTES_MAX: usize = 255;
/// Longest name or address that is passed on.
const TEXT_BYTES_MAX: usize = 320;

/// A person, as their provider names them: both parts, and nothing else, are who they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// Never given to another person by the same provider.
    pub subject: String,
}

/// A sign-in that the provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// Who.
    pub identity: Identity,
    /// An address that the provider says is theirs, to show to people and to name them by; links nobody to anything. One that it
    /// did not verify is whatever they typed, and is left out.
    pub email: Option<String>,
    /// To show to people; decides nothing.
    pub name: Option<String>,
    /// How they showed it (RFC 8176), such as `hwk`, `mfa`, `pwd`.
    pub amr: Vec<String>,
    /// How sure the provider is, in its own words.
    pub acr: Option<String>,
    /// When they showed it.
    pub auth_time: Option<Instant>,
    /// When the provider said so.
    pub issued: Instant,
}

/// What an ID token has to match.
struct Expected<'a> {
    nonce: &'a str,
    created: Instant,
}

impl RelyingParty {
    /// Who signed in by an attempt. `KeysNeeded` if the keys are stale or do not hold the one that signed: see
    /// [`verify_refreshing`](Self::verify_refreshing). One signature check; about 0.2 ms.
    pub fn verify(&self, keys: &Keys, attempt: &Attempt, tokens: &Tokens, now: Instant) -> Result<SignIn, OidcError> {
        let Attempt { nonce, created, .. } = attempt;
        let expected = Expected { nonce, created: *created };
        self.verify_token(keys, &expected, &tokens.id_token, now)
    }

    /// [`verify`](Self::verify), fetching the keys at most once, and for an unknown key at most once a minute. The keys
    /// fetched replace `keys`.
    pub fn verify_refreshing(
        &self,
        keys: &mut Keys,
        attempt: &Attempt,
        tokens: &Tokens,
        now: Instant,
        fetch: impl FnOnce() -> Result<Vec<u8>, OidcError>,
    ) -> Result<SignIn, OidcError> {
        match self.verify(keys, attempt, tokens, now) {
            Err(OidcError::KeysNeeded) if keys.may_be_refreshed(now) => {
                *keys = Keys::parse(&fetch()?, now)?;
                // Still unknown in keys that are new: nobody's.
                self.verify(keys, attempt, tokens, now).map_err(|error| match error {
                    OidcError::KeysNeeded => OidcError::flaw(Flaw::Signature),
                    error => error,
                })
            }
            Err(OidcError::KeysNeeded) => Err(OidcError::flaw(Flaw::Signature)),
            verified => verified,
        }
    }

    fn verify_token(
        &self,
        keys: &Keys,
        expected: &Expected<'_>,
        token: &str,
        now: Instant,
    ) -> Result<SignIn, OidcError> {
        if keys.are_stale(now) {
            return Err(OidcError::KeysNeeded);
        }
        let token: CoreIdToken = token.parse().map_err(|_| unreadable(token))?;
        let client = &self.client;
        let earliest = expected.created.minus(leeway());
        let latest = now.plus(leeway());
        let verifier = CoreIdTokenVerifier::new_public_client(
            ClientId::new(client.client_id.clone()),
            IssuerUrl::new(client.issuer.clone()).map_err(|_| OidcError::flaw(Flaw::Issuer))?,
            CoreJsonWebKeySet::new(keys.set.keys().clone()),
        )
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || utc(now.minus(leeway())))
        .set_issue_time_verifier_fn(move |issued| {
            let inside = issued >= utc(earliest) && issued <= utc(latest);
            if inside { Ok(()) } else { Err("outside of the attempt".to_owned()) }
        });
        let claims = token.claims(&verifier, &Nonce::new(expected.nonce.to_owned()));
        self.sign_in(claims.map_err(refusal)?)
    }

    /// What the library leaves to its caller, and the words that we pass on.
    fn sign_in(&self, claims: &CoreIdTokenClaims) -> Result<SignIn, OidcError> {
        if claims.authorized_party().is_some_and(|party| party.as_str() != self.client.client_id) {
            return Err(OidcError::flaw(Flaw::Audience));
        }
        let subject = claims.subject().as_str();
        if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX {
            return Err(OidcError::flaw(Flaw::Subject));
        }
        let auth_time = claims.auth_time().map(instant).transpose()?;
        let short = |text: &str| Some(text.to_owned()).filter(|text| text.len() <= TEXT_BYTES_MAX);
        Ok(SignIn {
            identity: Identity { issuer: self.client.issuer.clone(), subject: subject.to_owned() },
            email: claims
                .email()
                .filter(|_| claims.email_verified() == Some(true))
                .and_then(|email| short(email.as_str())),
            name: claims.name().and_then(|name| name.get(None)).and_then(|name| short(name.as_str())),
            amr: claims.auth_method_refs().into_iter().flatten().map(|method| method.as_str().to_owned()).collect(),
            acr: claims.auth_context_ref().map(|context| context.as_str().to_owned()),
            auth_time,
            issued: instant(claims.issue_time())?,
        })
    }
}

/// The library reads the algorithm while it parses; one that it does not know is no reason to call a token unreadable.
fn unreadable(token: &str) -> OidcError {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
    }
    let header = crate::jws::Unverified::split(token, 64 * 1024).and_then(|parts| parts.header::<Header>());
    let accepted = ["RS256", "PS256", "ES256", "EdDSA"];
    match header {
        Some(Header { alg }) if !accepted.contains(&alg.as_str()) => OidcError::flaw(Flaw::Algorithm),
        _ => OidcError::flaw(Flaw::Malformed),
    }
}

fn refusal(error: ClaimsVerificationError) -> OidcError {
    use SignatureVerificationError as Signature;
    OidcError::flaw(match error {
        ClaimsVerificationError::Expired(_) | ClaimsVerificationError::InvalidAuthTime(_) => Flaw::Time,
        ClaimsVerificationError::InvalidAudience(_) => Flaw::Audience,
        ClaimsVerificationError::InvalidIssuer(_) => Flaw::Issuer,
        ClaimsVerificationError::InvalidNonce(_) => Flaw::Nonce,
        ClaimsVerificationError::InvalidSubject(_) => Flaw::Subject,
        ClaimsVerificationError::SignatureVerification(Signature::NoMatchingKey) => return OidcError::KeysNeeded,
        ClaimsVerificationError::SignatureVerification(
            Signature::DisallowedAlg(_) | Signature::UnsupportedAlg(_) | Signature::NoSignature,
        ) => Flaw::Algorithm,
        ClaimsVerificationError::SignatureVerification(_) => Flaw::Signature,
        _ => Flaw::Malformed,
    })
}

fn utc(at: Instant) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.micros()).expect("an instant is inside of the calendar")
}

fn instant(at: DateTime<Utc>) -> Result<Instant, OidcError> {
    Instant::from_micros(at.timestamp_micros()).map_err(|_| OidcError::flaw(Flaw::Time))
}
