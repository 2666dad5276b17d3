//! The client's side: making proofs.

use creta_model::Instant;
use serde_json::json;

use super::proof::{Claims, TYPE};
use crate::jws::{encode, to_be_signed};
use crate::key::{PublicKey, SigningKey, Thumbprint};

/// Makes one proof per request with a key in memory.
#[derive(Debug)]
pub struct Prover {
    key: SigningKey,
}

impl Prover {
    /// Proofs of this key.
    pub const fn new(key: SigningKey) -> Self {
        Self { key }
    }

    /// What the session will be bound to.
    pub fn thumbprint(&self) -> Thumbprint {
        self.key.public().thumbprint()
    }

    /// The key, to be kept sealed between commands.
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The header `DPoP` of one request. `id` is 16 random bytes, new for each; `nonce` is what the server asked for last.
    pub fn prove(
        &self,
        method: &str,
        url: &str,
        access_token: Option<&str>,
        nonce: Option<&str>,
        id: [u8; 16],
        now: Instant,
    ) -> String {
        let sign = |message: &[u8]| Ok::<_, std::convert::Infallible>(self.key.sign(message));
        match Self::prove_with(&self.key.public(), sign, (method, url), access_token, nonce, id, now) {
            Ok(proof) => proof,
            Err(never) => match never {},
        }
    }

    /// The same with a key that signs elsewhere, such as in a TPM. `sign` returns 64 bytes, for P-256 r and s.
    /// `request` is method and address.
    pub fn prove_with<E>(
        public: &PublicKey,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
        request: (&str, &str),
        access_token: Option<&str>,
        nonce: Option<&str>,
        id: [u8; 16],
        now: Instant,
    ) -> Result<String, E> {
        let header = json!({"typ": TYPE, "alg": public.kind().algorithm(), "jwk": public.to_jwk()});
        let (method, url) = request;
        let claims = Claims {
            jti: encode(id),
            htm: method.to_owned(),
            htu: url.split(['?', '#']).next().unwrap_or_default().to_owned(),
            iat: now.micros().div_euclid(1_000_000),
            ath: access_token.map(super::access_token_hash),
            nonce: nonce.map(str::to_owned),
        };
        let signed = to_be_signed(&header, &claims);
        let signature = encode(sign(signed.as_bytes())?);
        Ok(format!("{signed}.{signature}"))
    }
}
