//! Access tokens: signed, short-lived, bound to one environment and one account.
//!
//! A token says who asks and for how long; what its bearer may do is looked up at each request. The algorithm is fixed
//! here: the one that a token names is compared with it and never chosen by it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_model::{Environment, TenantId};
use creta_platform::{Clock, Random};
use creta_proof::Hash;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::limits::TOKEN_SECONDS;

const ISSUER: &str = "creta";
const ALGORITHM: Algorithm = Algorithm::EdDSA;
/// Longest text that is looked at as a token.
const TOKEN_BYTES_MAX: usize = 4_096;

/// What a token says. Unknown members are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    iss: String,
    /// The environment's id: a token of another server means nothing here.
    aud: String,
    /// Client id of the account.
    pub(crate) sub: String,
    /// The account's tenant; none for an administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<TenantId>,
    /// The account's environment.
    pub(crate) environment: Environment,
    /// Seconds since 1970.
    iat: u64,
    /// Seconds since 1970.
    exp: u64,
    /// Unique, so that two tokens never look alike in the log.
    pub(crate) jti: String,
    /// The policy epoch that it was issued in.
    pub(crate) epoch: u64,
    /// The session of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<String>,
    /// The key that its bearer has to prove to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cnf: Option<Confirmation>,
    /// The only features it is good for; without it, all that its account may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) features: Option<BTreeSet<String>>,
}

/// The key a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirmation {
    /// Thumbprint of a DPoP key (RFC 9449 section 6.1, RFC 7638).
    pub(crate) jkt: String,
}

/// Whose token it is to be, and what binds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// Client id of a service account or administrator; id of a person.
    pub(crate) subject: String,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) epoch: u64,
    pub(crate) session: Option<String>,
    pub(crate) thumbprint: Option<String>,
    pub(crate) features: Option<BTreeSet<String>>,
}

impl Bearer {
    /// The bearer of an account's token that is good for all that the account may do.
    pub(crate) fn account(subject: &str, tenant: Option<TenantId>, epoch: u64) -> Self {
        Self { subject: subject.to_owned(), tenant, epoch, session: None, thumbprint: None, features: None }
    }
}

/// Why a token was refused. The answer to the client is the same for all but expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token has expired")]
    Expired,
    #[error("the token is not one of this environment")]
    Invalid,
    /// It is right, and bound to no key although its account takes none without.
    #[error("the token is bound to no key, and its account takes no such token")]
    Unbound,
}

/// Issues and checks the tokens of one environment.
pub(crate) struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    audience: String,
    environment: Environment,
    validation: Validation,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// What tokens say whose signatures were found right, by SHA-256 of the token. Whether a signature is right never changes;
    /// whether a token is still good is asked each time.
    signed: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

/// Tokens whose signatures are remembered; one more, and all are checked anew.
const SIGNED_MAX: usize = 4_096;

impl Tokens {
    /// A new signing key (PKCS #8), to be sealed and kept.
    pub(crate) fn make_key(random: &dyn Random) -> Zeroizing<Vec<u8>> {
        let mut seed = Zeroizing::new([0; 32]);
        random.fill(seed.as_mut_slice());
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).expect("32 bytes make an Ed25519 key");
        let document = pair.to_pkcs8().expect("an Ed25519 key has a PKCS #8 form");
        Zeroizing::new(document.as_ref().to_vec())
    }

    /// `None` if `key` is not what [`make_key`](Self::make_key) made.
    pub(crate) fn new(
        key: &[u8],
        environment: Environment,
        audience: &str,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(key).ok()?;
        let mut validation = Validation::new(ALGORITHM);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.validate_exp = false; // Done below, by the platform's clock and to the second.
        Some(Self {
            signing: EncodingKey::from_ed_der(key),
            checking: DecodingKey::from_ed_der(pair.public_key().as_ref()),
            audience: audience.to_owned(),
            environment,
            validation,
            clock,
            random,
            signed: Mutex::default(),
        })
    }

    /// A token for somebody who has proven who it is.
    pub(crate) fn issue(&self, bearer: Bearer) -> String {
        let mut id = [0; 16];
        self.random.fill(&mut id);
        let now = self.seconds();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: self.audience.clone(),
            sub: bearer.subject,
            tenant: bearer.tenant,
            environment: self.environment.clone(),
            iat: now,
            exp: now + TOKEN_SECONDS,
            jti: hex::encode(id),
            epoch: bearer.epoch,
            sid: bearer.session,
            cnf: bearer.thumbprint.map(|jkt| Confirmation { jkt }),
            features: bearer.features,
        };
        jsonwebtoken::encode(&Header::new(ALGORITHM), &claims, &self.signing).expect("claims have a JSON form")
    }

    /// What a token says, if it was issued here and has not expired. Whether its account still exists is for the caller.
    pub(crate) fn check(&self, token: &str) -> Result<Arc<Claims>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        self.good_now(self.signed(token)?)
    }

    /// As [`check`](Self::check), for a token whose signature was found right before; `None` for all others.
    pub(crate) fn check_known(&self, token: &str) -> Option<Arc<Claims>> {
        let known = (token.len() <= TOKEN_BYTES_MAX).then(|| self.find_signed(&digest(token)))?;
        self.good_now(known?).ok()
    }

    fn good_now(&self, claims: Arc<Claims>) -> Result<Arc<Claims>, TokenError> {
        let now = self.seconds();
        if claims.environment != self.environment
            || claims.iat > now
            || claims.exp - claims.iat.min(claims.exp) > TOKEN_SECONDS
        {
            return Err(TokenError::Invalid);
        }
        if claims.exp <= now { Err(TokenError::Expired) } else { Ok(claims) }
    }

    /// What a token says that was signed here. Checking a signature takes longer than answering a small query, so each is
    /// checked once.
    fn signed(&self, token: &str) -> Result<Arc<Claims>, TokenError> {
        let digest = digest(token);
        if let Some(claims) = self.find_signed(&digest) {
            return Ok(claims);
        }
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.checking, &self.validation);
        let claims = Arc::new(decoded.map_err(|_| TokenError::Invalid)?.claims);
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if signed.len() >= SIGNED_MAX {
            signed.clear();
        }
        signed.insert(digest, Arc::clone(&claims));
        Ok(claims)
    }

    fn find_signed(&self, digest: &[u8; 32]) -> Option<Arc<Claims>> {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// Whether a token that was refused says itself that it is of another environment: one of staging at production's
    /// address. Nothing else of it is believed.
    pub(crate) fn is_of_elsewhere(&self, token: &str) -> bool {
        let claims = (token.len() <= TOKEN_BYTES_MAX).then(|| token.split('.').nth(1)).flatten();
        let claims = claims.and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
        let claims = claims.and_then(|claims| serde_json::from_slice::<Claims>(&claims).ok());
        claims.is_some_and(|claims| {
            claims.iss == ISSUER && (claims.aud != self.audience || claims.environment != self.environment)
        })
    }

    fn seconds(&self) -> u64 {
        u64::try_from(self.clock.now().micros() / 1_000_000).unwrap_or(0)
    }
}

fn digest(token: &str) -> [u8; 32] {
    *Hash::of(&[token.as_bytes()]).as_bytes()
}

#[cfg(test)]
mod tests {
    use creta_model::{Instant, Span};
    use creta_platform::{ManualClock, SeededRandom};

    use super::*;

    struct Fixture {
        tokens: Tokens,
        clock: Arc<ManualClock>,
        key: Zeroizing<Vec<u8>>,
    }

    fn fixture(seed: u64, audience: &str) -> Fixture {
        let clock = Arc::new(ManualClock::new(Instant::parse("2026-01-01T00:00:00Z").expect("valid")));
        let random = Arc::new(SeededRandom::new(seed));
        let key = Tokens::make_key(random.as_ref());
        let tokens = tokens(&key, audience, clock.clone());
        Fixture { tokens, clock, key }
    }

    fn tokens(key: &[u8], audience: &str, clock: Arc<ManualClock>) -> Tokens {
        let environment = Environment::parse("prod").expect("valid");
        Tokens::new(key, environment, audience, clock, Arc::new(SeededRandom::new(9))).expect("own key")
    }

    fn bearer(epoch: u64) -> Bearer {
        Bearer::account("etl@acme", acme(), epoch)
    }

    fn acme() -> Option<TenantId> {
        Some(TenantId::parse("acme").expect("valid"))
    }

    /// The token's parts with one of them replaced.
    fn with(token: &str, part: usize, bytes: &[u8]) -> String {
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        parts[part] = URL_SAFE_NO_PAD.encode(bytes);
        parts.join(".")
    }

    #[test]
    fn a_token_is_valid_for_a_quarter_of_an_hour() {
        let Fixture { tokens, clock, .. } = fixture(1, "prod-1");
        let token = tokens.issue(bearer(7));
        let claims = tokens.check(&token).expect("fresh");
        assert_eq!((claims.sub.as_str(), claims.tenant.clone(), claims.epoch), ("etl@acme", acme(), 7));
        clock.advance(Span::seconds(899));
        assert!(tokens.check(&token).is_ok());
        clock.advance(Span::seconds(1));
        assert_eq!(tokens.check(&token), Err(TokenError::Expired));
    }

    #[test]
    fn attack_a_remembered_signature_makes_no_other_token_good() {
        let Fixture { tokens, clock, .. } = fixture(1, "prod-1");
        let first = tokens.issue(bearer(0));
        assert!(tokens.check(&first).is_ok());
        let payload = URL_SAFE_NO_PAD.decode(first.split('.').nth(1).expect("three parts")).expect("base64");
        let other = String::from_utf8(payload).expect("text").replacen("etl@acme", "ops@acme", 1);
        assert_eq!(tokens.check(&with(&first, 1, other.as_bytes())), Err(TokenError::Invalid));
        let mut shorter = first.clone();
        shorter.pop();
        assert_eq!(tokens.check(&shorter), Err(TokenError::Invalid));
        for _ in 0..SIGNED_MAX + 5 {
            assert!(tokens.check(&tokens.issue(bearer(0))).is_ok());
            assert!(tokens.signed.lock().expect("not poisoned").len() <= SIGNED_MAX);
        }
        assert!(tokens.check(&first).is_ok(), "what was forgotten is checked anew");
        clock.advance(Span::seconds(900));
        assert_eq!(tokens.check(&first), Err(TokenError::Expired), "what is remembered ends in its time");
    }

    #[test]
    fn attack_unsigned_token_and_other_algorithms_are_refused() {
        let Fixture { tokens, key, .. } = fixture(1, "prod-1");
        let token = tokens.issue(bearer(0));
        let payload = token.split('.').nth(1).expect("three parts").to_owned();
        for alg in ["none", "None", "NONE", "", "HS256", "ES256", "RS256", "EdDSA "] {
            let head = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#));
            for signature in ["", "AAAA", token.rsplit('.').next().expect("three parts")] {
                let forged = format!("{head}.{payload}.{signature}");
                assert_eq!(tokens.check(&forged), Err(TokenError::Invalid), "{alg:?}");
            }
        }
        // The public key as a shared secret: the classic confusion of algorithms.
        let public = Ed25519KeyPair::from_pkcs8(&key).expect("own key").public_key().as_ref().to_vec();
        let claims = tokens.check(&token).expect("fresh");
        let confused =
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims.as_ref(), &EncodingKey::from_secret(&public));
        assert_eq!(tokens.check(&confused.expect("encodes")), Err(TokenError::Invalid));
    }

    #[test]
    fn attack_token_of_another_environment_is_refused() {
        let here = fixture(1, "prod-1");
        let other_key = fixture(2, "prod-1");
        assert_eq!(here.tokens.check(&other_key.tokens.issue(bearer(0))), Err(TokenError::Invalid));
        // Even with the same key, as after copying a data folder and renaming its environment.
        let other_audience = tokens(&here.key, "staging-1", here.clock.clone());
        assert_eq!(here.tokens.check(&other_audience.issue(bearer(0))), Err(TokenError::Invalid));
    }

    #[test]
    fn attack_tampered_token_is_refused() {
        let Fixture { tokens, .. } = fixture(1, "prod-1");
        let token = tokens.issue(bearer(0));
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("three parts")).expect("base64");
        let payload = String::from_utf8(payload).expect("JSON");
        let globex = payload.replace("acme", "globex");
        assert_ne!(globex, payload);
        assert_eq!(tokens.check(&with(&token, 1, globex.as_bytes())), Err(TokenError::Invalid));
        for bad in
            ["", ".", "..", "a.b.c", &token[1..], &token[..token.len() - 2], &format!("{token}.x"), &"a".repeat(5_000)]
        {
            assert_eq!(tokens.check(bad), Err(TokenError::Invalid), "{bad:?}");
        }
    }

    #[test]
    fn attack_token_that_outlives_the_limit_or_comes_from_the_future_is_refused() {
        let Fixture { tokens, clock, key } = fixture(1, "prod-1");
        let mut claims = tokens.check(&tokens.issue(bearer(0))).expect("fresh").as_ref().clone();
        let sign = |claims: &Claims| {
            jsonwebtoken::encode(&Header::new(ALGORITHM), claims, &EncodingKey::from_ed_der(&key)).expect("encodes")
        };
        claims.exp += 1;
        assert_eq!(tokens.check(&sign(&claims)), Err(TokenError::Invalid), "valid for longer than any token is");
        claims.exp = u64::MAX;
        assert_eq!(tokens.check(&sign(&claims)), Err(TokenError::Invalid));
        let ahead = tokens_ahead(&key, &clock);
        assert_eq!(tokens.check(&ahead), Err(TokenError::Invalid), "issued an hour from now");
    }

    fn tokens_ahead(key: &[u8], clock: &ManualClock) -> String {
        let ahead = Arc::new(ManualClock::new(clock.now().plus(Span::hours(1))));
        tokens(key, "prod-1", ahead).issue(bearer(0))
    }
}
