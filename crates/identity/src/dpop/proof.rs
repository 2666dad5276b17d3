//! What a proof says, and whether it says it about this request.

use creta_model::{Instant, Span};
use openidconnect::url::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::replay::ReplayCache;
use crate::jws::{Unverified, sha256};
use crate::key::{KeyError, PublicKey, Thumbprint};

/// How far the instant of a proof may be from now, either way: proofs are made for one request, clocks of laptops drift.
pub const AGE_SECONDS_MAX: u32 = 60;
/// Longest text that is looked at as a proof.
const PROOF_BYTES_MAX: usize = 4_096;
/// Longest id of a proof.
const ID_BYTES_MAX: usize = 128;
pub(super) const TYPE: &str = "dpop+jwt";

/// Why a proof was refused. Strangers are told that it was, not why; see [`commitment`](Self::commitment).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DpopError {
    /// Not a proof of RFC 9449.
    #[error("the proof of possession cannot be read; send one JWT of type `dpop+jwt` as RFC 9449 describes")]
    Malformed,
    /// Its algorithm is not that of its key, or none that is accepted.
    #[error("the proof's algorithm is not accepted; use `ES256` or `EdDSA`")]
    Algorithm,
    /// Its key is no public key of an accepted kind.
    #[error("the proof's key is refused")]
    Key(#[source] KeyError),
    /// The signature is not its key's.
    #[error("the proof's signature is not that of its key")]
    Signature,
    /// It was made for another request.
    #[error("the proof was made for another method or address; make one per request")]
    OtherRequest,
    /// It was made for another access token, or for none.
    #[error("the proof was made for another access token")]
    OtherToken,
    /// The session or token is bound to another key.
    #[error("the proof is of another key than this session's; sign in on this device")]
    OtherKey,
    /// Too old, or from the future.
    #[error("the proof was not made now; check this computer's clock")]
    Time,
    /// It was used before.
    #[error("the proof was used before; make one per request")]
    Replayed,
    /// More proofs than the cache holds in their time of life: nothing is admitted until some expire.
    #[error("too many requests at once; wait a minute")]
    Busy,
}

impl DpopError {
    /// The promise that a refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        match self {
            Self::OtherKey => "CH-16",
            _ => "CH-33",
        }
    }
}

/// The request that a proof has to be about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected<'a> {
    /// As it was received: `POST`.
    pub method: &'a str,
    /// The address that the client was told to use, scheme and host included. Query and fragment do not matter.
    pub url: &'a str,
    /// The access token that came with it. `None` where tokens are asked for.
    pub access_token: Option<&'a str>,
    /// The key that token or session is bound to. `None` where a key is seen for the first time.
    pub thumbprint: Option<&'a Thumbprint>,
}

/// A proof that is right in itself; [`admit`](Self::admit) asks whether it was seen before. Splitting the two keeps the
/// signature's check out of the cache's lock.
#[derive(Debug)]
#[must_use = "a proof counts only after it was admitted"]
pub struct Proof {
    key: PublicKey,
    thumbprint: Thumbprint,
    pub(super) made: Instant,
    /// SHA-256 of thumbprint and id: ids of one key say nothing about another's.
    pub(super) digest: [u8; 32],
}

/// Who made a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The key.
    pub key: PublicKey,
    /// Its name.
    pub thumbprint: Thumbprint,
}

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: Value,
    #[serde(default)]
    crit: Option<Value>,
}

/// Claims of a proof (RFC 9449 §4.2). Members that we do not know are allowed there.
#[derive(Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) jti: String,
    pub(super) htm: String,
    pub(super) htu: String,
    /// Seconds since 1970.
    pub(super) iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ath: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nonce: Option<String>,
}

impl Proof {
    /// Checks everything but reuse (RFC 9449 §4.3). One signature check; about 0.1 ms.
    pub fn check(proof: &str, expected: &Expected<'_>, now: Instant) -> Result<Self, DpopError> {
        let parts = Unverified::split(proof, PROOF_BYTES_MAX).ok_or(DpopError::Malformed)?;
        let header: Header = parts.header().ok_or(DpopError::Malformed)?;
        if header.typ != TYPE || header.crit.is_some() {
            return Err(DpopError::Malformed);
        }
        let key = PublicKey::from_jwk(&header.jwk).map_err(DpopError::Key)?;
        if header.alg != key.kind().algorithm() {
            return Err(DpopError::Algorithm);
        }
        if !key.verifies(parts.signed.as_bytes(), &parts.signature) {
            return Err(DpopError::Signature);
        }
        let claims: Claims = parts.payload().ok_or(DpopError::Malformed)?;
        let thumbprint = key.thumbprint();
        let made = about(&claims, &thumbprint, expected, now)?;
        let digest = sha256(format!("{thumbprint}.{}", claims.jti).as_bytes());
        Ok(Self { key, thumbprint, made, digest })
    }

    /// The name of the key that made it.
    pub fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// Records the proof as used. `Replayed` if it was, `Busy` if the cache is full.
    pub fn admit(self, seen: &mut ReplayCache, now: Instant) -> Result<Proven, DpopError> {
        seen.admit(&self, now)?;
        Ok(Proven { key: self.key, thumbprint: self.thumbprint })
    }
}

/// Whether claims that a key signed are about the expected request; the instant they were made.
fn about(
    claims: &Claims,
    thumbprint: &Thumbprint,
    expected: &Expected<'_>,
    now: Instant,
) -> Result<Instant, DpopError> {
    if claims.jti.is_empty() || claims.jti.len() > ID_BYTES_MAX {
        return Err(DpopError::Malformed);
    }
    if expected.thumbprint.is_some_and(|bound| bound != thumbprint) {
        return Err(DpopError::OtherKey);
    }
    let same_address = match (address(&claims.htu), address(expected.url)) {
        (Some(given), Some(expected)) => given == expected,
        _ => false,
    };
    if claims.htm != expected.method || !same_address {
        return Err(DpopError::OtherRequest);
    }
    if claims.ath != expected.access_token.map(super::access_token_hash) {
        return Err(DpopError::OtherToken);
    }
    let made = claims.iat.checked_mul(1_000_000).and_then(|micros| Instant::from_micros(micros).ok());
    let made = made.ok_or(DpopError::Malformed)?;
    let leeway = Span::seconds(AGE_SECONDS_MAX);
    if made < now.minus(leeway) || made > now.plus(leeway) {
        return Err(DpopError::Time);
    }
    Ok(made)
}

/// The address without query and fragment, scheme and host in lower case, default ports left out (RFC 9449 §4.3 (9)).
fn address(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Prover, access_token_hash};
    use super::*;
    use crate::jws::{encode, to_be_signed};
    use crate::key::{KeyKind, SigningKey};

    const URL: &str = "https://creta.example/v1/query";

    fn now() -> Instant {
        Instant::parse("2026-01-01T12:00:00Z").expect("valid")
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_random(KeyKind::P256, &[seed; 32])
    }

    fn expected<'a>() -> Expected<'a> {
        Expected { method: "POST", url: URL, access_token: Some("token"), ..Expected::default() }
    }

    /// A proof with whatever header and claims somebody likes to write, signed by the key.
    fn forged(key: &SigningKey, header: Value, claims: Value) -> String {
        let mut head = json!({"typ": "dpop+jwt", "alg": key.public().kind().algorithm(), "jwk": key.public().to_jwk()});
        let mut body = json!({
            "jti": "1", "htm": "POST", "htu": URL, "iat": now().micros() / 1_000_000, "ath": access_token_hash("token"),
        });
        for (whole, change) in [(&mut head, header), (&mut body, claims)] {
            for (name, value) in change.as_object().expect("an object") {
                whole[name] = value.clone();
            }
        }
        let signed = to_be_signed(&head, &body);
        let signature = encode(key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn refused(proof: &str) -> DpopError {
        Proof::check(proof, &expected(), now()).expect_err("refused")
    }

    #[test]
    fn a_proof_of_either_kind_of_key_names_its_key() {
        for kind in [KeyKind::P256, KeyKind::Ed25519] {
            let prover = Prover::new(SigningKey::from_random(kind, &[3; 32]));
            let thumbprint = prover.thumbprint();
            let proof = prover.prove("POST", URL, Some("token"), Some("n-1"), [1; 16], now());
            let expected = Expected { thumbprint: Some(&thumbprint), ..expected() };
            let proven =
                Proof::check(&proof, &expected, now()).expect("right").admit(&mut ReplayCache::new(now()), now());
            assert_eq!(proven.expect("first use").thumbprint, thumbprint);
        }
    }

    #[test]
    fn the_proof_of_rfc_9449_is_right() {
        // RFC 9449 §4.1 and §4.2: the example proof for a token request.
        let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik\
            VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR\
            nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE\
            QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIj\
            oiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia\
            WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg\
            4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
        let at = Instant::from_micros(1_562_262_616_000_000).expect("valid");
        let expected = Expected { method: "POST", url: "https://server.example.com/token", ..Expected::default() };
        let proof = Proof::check(proof, &expected, at).expect("the RFC's own");
        assert_eq!(proof.thumbprint.as_str(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }

    #[test]
    fn attack_ch33_a_proof_for_another_method_or_address_is_refused() {
        let prove = |method, url| Prover::new(key(3)).prove(method, url, Some("token"), None, [1; 16], now());
        for (method, url) in [
            ("GET", URL),
            ("post", URL),
            ("POST", "https://creta.example/v1/query/"),
            ("POST", "https://creta.example/v1/token"),
            ("POST", "http://creta.example/v1/query"),
            ("POST", "https://creta.example:8443/v1/query"),
            ("POST", "https://creta.example.evil.example/v1/query"),
            ("POST", "https://ana@creta.example/v1/query"),
            ("POST", "/v1/query"),
        ] {
            assert_eq!(refused(&prove(method, url)), DpopError::OtherRequest, "{method} {url}");
        }
        for url in ["https://CRETA.example:443/v1/query", "https://creta.example/v1/query?a=1#b"] {
            assert!(Proof::check(&prove("POST", url), &expected(), now()).is_ok(), "the same address: {url}");
        }
    }

    #[test]
    fn attack_ch33_a_proof_of_another_key_or_token_is_refused() {
        let mine = key(3).public().thumbprint();
        let bound = Expected { thumbprint: Some(&mine), ..expected() };
        let thief = Prover::new(key(4)).prove("POST", URL, Some("token"), None, [1; 16], now());
        assert_eq!(Proof::check(&thief, &bound, now()).expect_err("refused"), DpopError::OtherKey);
        assert_eq!(DpopError::OtherKey.commitment(), "CH-16");
        let prover = Prover::new(key(3));
        let other = prover.prove("POST", URL, Some("another"), None, [1; 16], now());
        assert_eq!(refused(&other), DpopError::OtherToken);
        assert_eq!(refused(&prover.prove("POST", URL, None, None, [1; 16], now())), DpopError::OtherToken);
        let unbound = Expected { access_token: None, ..expected() };
        assert_eq!(Proof::check(&other, &unbound, now()).expect_err("refused"), DpopError::OtherToken);
        // The owner's key in the header over the thief's signature.
        let swapped = forged(&key(4), json!({"jwk": key(3).public().to_jwk()}), json!({}));
        assert_eq!(refused(&swapped), DpopError::Signature);
    }

    #[test]
    fn attack_ch33_a_proof_that_was_not_made_now_is_refused() {
        let at = |seconds: i64| forged(&key(3), json!({}), json!({"iat": now().micros() / 1_000_000 + seconds}));
        for seconds in [-61, 61, -86_400, i64::MAX / 4, -4_000_000_000] {
            assert!(matches!(refused(&at(seconds)), DpopError::Time | DpopError::Malformed), "{seconds}");
        }
        for seconds in [-60, 60] {
            assert!(Proof::check(&at(seconds), &expected(), now()).is_ok(), "{seconds}");
        }
        assert_eq!(refused(&at(-61)), DpopError::Time);
        assert_eq!(refused(&at(61)), DpopError::Time);
    }

    #[test]
    fn attack_ch33_other_algorithms_and_keys_are_refused() {
        for alg in ["none", "HS256", "RS256", "EdDSA", "es256", ""] {
            assert_eq!(refused(&forged(&key(3), json!({"alg": alg}), json!({}))), DpopError::Algorithm, "{alg}");
        }
        let shared = forged(&key(3), json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}), json!({}));
        assert_eq!(refused(&shared), DpopError::Key(KeyError::Private));
        let mut jwk = key(3).public().to_jwk();
        jwk["d"] = json!(encode([3; 32]));
        assert_eq!(refused(&forged(&key(3), json!({"jwk": jwk}), json!({}))), DpopError::Key(KeyError::Private));
    }

    #[test]
    fn attack_ch33_what_is_no_proof_is_refused() {
        let good = forged(&key(3), json!({}), json!({}));
        assert!(Proof::check(&good, &expected(), now()).is_ok());
        for (header, claims) in [
            (json!({"typ": "JWT"}), json!({})),
            (json!({"crit": ["exp"]}), json!({})),
            (json!({"jwk": null}), json!({})),
            (json!({}), json!({"jti": ""})),
            (json!({}), json!({"jti": "x".repeat(129)})),
            (json!({}), json!({"iat": null})),
            (json!({}), json!({"htm": 1})),
        ] {
            let error = refused(&forged(&key(3), header.clone(), claims.clone()));
            assert!(matches!(error, DpopError::Malformed | DpopError::Key(KeyError::Malformed)), "{header} {claims}");
        }
        let unsigned = good.rsplit_once('.').expect("three parts").0;
        for text in ["", ".", "..", "a.b.c", unsigned, &format!("{good}.x"), &format!("{good}="), &"a".repeat(5_000)] {
            assert_eq!(refused(text), DpopError::Malformed, "{text}");
        }
        assert_eq!(refused(&format!("{unsigned}.")), DpopError::Signature);
    }
}
