//! Keys that people's sessions and devices are bound to: P-256 (what TPMs and browsers have) and Ed25519.

use std::fmt;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::jws::{decode, encode, sha256};

/// Members that only a private or a shared key has (RFC 7518 §6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Why a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither P-256 nor Ed25519.
    #[error("the key is of a kind that is not accepted here; use P-256 or Ed25519")]
    Kind,
    /// Not a point of its curve, or members of the wrong shape.
    #[error("the key is not a valid public key")]
    Malformed,
    /// Somebody sent a private key; it is burned.
    #[error("a private key was sent where a public one belongs; make a new key and never send its private part")]
    Private,
}

/// Kind of a key; decides its signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// ECDSA on P-256 with SHA-256: `ES256`.
    P256,
    /// `EdDSA` on Curve25519.
    Ed25519,
}

impl KeyKind {
    /// Name of the signature algorithm in JOSE headers.
    pub const fn algorithm(self) -> &'static str {
        match self {
            Self::P256 => "ES256",
            Self::Ed25519 => "EdDSA",
        }
    }
}

/// SHA-256 thumbprint of a public key (RFC 7638), base64url: how sessions and devices name keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thumbprint(String);

impl Thumbprint {
    /// `None` if `text` is not 32 bytes in base64url.
    pub fn parse(text: &str) -> Option<Self> {
        decode(text).filter(|bytes| bytes.len() == 32).map(|_| Self(text.to_owned()))
    }

    /// 43 characters of base64url.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a thumbprint is 32 bytes in base64url")
    }
}

impl From<Thumbprint> for String {
    fn from(thumbprint: Thumbprint) -> Self {
        thumbprint.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key, checked to be a point of its curve. Its JSON form is a JWK with the required members only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct PublicKey {
    kind: KeyKind,
    /// P-256: 0x04, x, y (SEC 1 §2.3.3). Ed25519: 32 bytes.
    bytes: Vec<u8>,
}

impl PublicKey {
    /// From the bytes that the signature algorithm takes: 65 (uncompressed point) or 32.
    pub fn new(kind: KeyKind, bytes: &[u8]) -> Result<Self, KeyError> {
        let valid = match kind {
            KeyKind::P256 => {
                bytes.len() == 65 && aws_lc_rs::signature::ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).is_ok()
            }
            KeyKind::Ed25519 => {
                bytes.len() == 32 && aws_lc_rs::signature::ParsedPublicKey::new(&ED25519, bytes).is_ok()
            }
        };
        if valid { Ok(Self { kind, bytes: bytes.to_vec() }) } else { Err(KeyError::Malformed) }
    }

    /// From a JWK. Members that say nothing about the key's value (`kid`, `use`) are passed over; private ones are refused.
    pub fn from_jwk(jwk: &Value) -> Result<Self, KeyError> {
        let members = jwk.as_object().ok_or(KeyError::Malformed)?;
        if PRIVATE_MEMBERS.iter().any(|name| members.contains_key(*name)) {
            return Err(KeyError::Private);
        }
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let coordinate = |name: &str| {
            let bytes = text(name).and_then(decode).ok_or(KeyError::Malformed)?;
            if bytes.len() == 32 { Ok(bytes) } else { Err(KeyError::Malformed) }
        };
        let (kind, bytes) = match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-256")) => (KeyKind::P256, [vec![4], coordinate("x")?, coordinate("y")?].concat()),
            (Some("OKP"), Some("Ed25519")) => (KeyKind::Ed25519, coordinate("x")?),
            _ => return Err(KeyError::Kind),
        };
        if text("alg").is_some_and(|alg| alg != kind.algorithm()) {
            return Err(KeyError::Kind);
        }
        Self::new(kind, &bytes)
    }

    /// The JWK with the members that RFC 7638 requires, no others.
    pub fn to_jwk(&self) -> Value {
        match self.kind {
            KeyKind::P256 => {
                let (x, y) = self.bytes[1..].split_at(32);
                json!({"crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y)})
            }
            KeyKind::Ed25519 => json!({"crv": "Ed25519", "kty": "OKP", "x": encode(&self.bytes)}),
        }
    }

    /// RFC 7638: SHA-256 of the required members, sorted, without blanks.
    pub fn thumbprint(&self) -> Thumbprint {
        let canonical = serde_json_canonicalizer::to_vec(&self.to_jwk()).expect("a JWK has a canonical form");
        Thumbprint(encode(sha256(&canonical)))
    }

    /// Its kind.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Whether `signature` (64 bytes, for P-256 r and s) is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.kind {
            KeyKind::P256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.bytes).verify(message, signature),
            KeyKind::Ed25519 => UnparsedPublicKey::new(&ED25519, &self.bytes).verify(message, signature),
        }
        .is_ok()
    }
}

impl TryFrom<Value> for PublicKey {
    type Error = KeyError;

    fn try_from(jwk: Value) -> Result<Self, KeyError> {
        Self::from_jwk(&jwk)
    }
}

impl From<PublicKey> for Value {
    fn from(key: PublicKey) -> Self {
        key.to_jwk()
    }
}

/// A private key in memory. Keys in a TPM never become one: they sign through the `_with` functions of their users.
pub struct SigningKey(Pair);

enum Pair {
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl SigningKey {
    /// A new key from 32 random bytes.
    pub fn from_random(kind: KeyKind, random: &[u8; 32]) -> Self {
        Self(match kind {
            KeyKind::P256 => Pair::P256(Box::new(p256_from(random))),
            KeyKind::Ed25519 => Pair::Ed25519(Box::new(
                Ed25519KeyPair::from_seed_unchecked(random).expect("32 bytes make an Ed25519 key"),
            )),
        })
    }

    /// Reads what [`to_pkcs8`](Self::to_pkcs8) wrote.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(document) {
            return Ok(Self(Pair::Ed25519(Box::new(pair))));
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document)
            .map(|pair| Self(Pair::P256(Box::new(pair))))
            .map_err(|_| KeyError::Malformed)
    }

    /// PKCS #8, to be sealed and kept.
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let document = match &self.0 {
            Pair::P256(pair) => pair.to_pkcs8v1(),
            Pair::Ed25519(pair) => pair.to_pkcs8(),
        };
        Zeroizing::new(document.expect("a key has a PKCS #8 form").as_ref().to_vec())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let (kind, bytes) = match &self.0 {
            Pair::P256(pair) => (KeyKind::P256, pair.public_key().as_ref()),
            Pair::Ed25519(pair) => (KeyKind::Ed25519, pair.public_key().as_ref()),
        };
        PublicKey { kind, bytes: bytes.to_vec() }
    }

    /// 64 bytes. P-256 signatures take a random number from the system's source: they differ each time.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Pair::P256(pair) => {
                pair.sign(&SystemRandom::new(), message).expect("a key in memory signs").as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// One in 2^32 texts of 32 bytes is not below the group's order; its hash is taken instead.
fn p256_from(random: &[u8; 32]) -> EcdsaKeyPair {
    let mut scalar = Zeroizing::new(*random);
    let private = loop {
        match PrivateKey::from_private_key(&ECDH_P256, scalar.as_slice()) {
            Ok(private) => break private,
            Err(_) => scalar = Zeroizing::new(sha256(scalar.as_slice())),
        }
    };
    let public = private.compute_public_key().expect("a private key has a public one");
    EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, scalar.as_slice(), public.as_ref())
        .expect("both parts belong together")
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().thumbprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_of_rfc_9449_is_ours() {
        // RFC 9449 §6.1: the key of its examples and the `jkt` it gives for it.
        let jwk = json!({
            "kty": "EC", "crv": "P-256",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        });
        let key = PublicKey::from_jwk(&jwk).expect("a point");
        assert_eq!(key.thumbprint().as_str(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert_eq!(key.to_jwk(), jwk);
    }

    #[test]
    fn the_thumbprint_of_rfc_8037_is_ours() {
        // RFC 8037 appendices A.2 and A.3.
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let key = PublicKey::from_jwk(&jwk).expect("a point");
        assert_eq!(key.thumbprint().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn keys_sign_verify_and_survive_being_kept() {
        for kind in [KeyKind::P256, KeyKind::Ed25519] {
            let key = SigningKey::from_random(kind, &[7; 32]);
            let again = SigningKey::from_pkcs8(&key.to_pkcs8()).expect("own document");
            assert_eq!(again.public(), key.public());
            let signature = again.sign(b"message");
            assert!(key.public().verifies(b"message", &signature));
            assert!(!key.public().verifies(b"massage", &signature));
            assert!(!SigningKey::from_random(kind, &[8; 32]).public().verifies(b"message", &signature));
            let json = serde_json::to_string(&key.public()).expect("JSON");
            assert_eq!(serde_json::from_str::<PublicKey>(&json).expect("own JSON"), key.public());
        }
    }

    #[test]
    fn bytes_that_are_no_scalar_of_the_curve_still_make_a_key() {
        let (zero, above) = ([0; 32], [255; 32]);
        let keys = [zero, above].map(|bytes| SigningKey::from_random(KeyKind::P256, &bytes).public());
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn attack_ch16_keys_that_are_private_shared_or_off_the_curve_are_refused() {
        let good = SigningKey::from_random(KeyKind::P256, &[7; 32]).public().to_jwk();
        let with = |name: &str, value: Value| {
            let mut jwk = good.clone();
            jwk[name] = value;
            PublicKey::from_jwk(&jwk)
        };
        for name in PRIVATE_MEMBERS {
            assert_eq!(with(name, json!("AAAA")), Err(KeyError::Private), "{name}");
        }
        assert_eq!(with("y", json!(encode([7; 32]))), Err(KeyError::Malformed), "off the curve");
        assert_eq!(with("y", json!(encode([0; 33]))), Err(KeyError::Malformed));
        assert_eq!(with("alg", json!("EdDSA")), Err(KeyError::Kind));
        assert_eq!(with("crv", json!("P-384")), Err(KeyError::Kind));
        assert_eq!(with("kty", json!("oct")), Err(KeyError::Kind));
        assert_eq!(PublicKey::from_jwk(&json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})), Err(KeyError::Kind));
        assert!(with("kid", json!("mine")).is_ok());
        assert_eq!(PublicKey::new(KeyKind::P256, &[0]), Err(KeyError::Malformed), "the point at infinity");
    }
}
