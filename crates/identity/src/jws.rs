//! Compact JWS (RFC 7515 §7.1) for the few places where the library for ID tokens does not fit: proofs and reports.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Base64url without padding.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Strict: padding, other alphabets and trailing bits are refused, so that one value has one text.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Three parts of a compact JWS, decoded but believed in nothing.
pub(crate) struct Unverified<'a> {
    /// What the signature covers.
    pub(crate) signed: &'a str,
    header: Vec<u8>,
    payload: Vec<u8>,
    /// Raw bytes.
    pub(crate) signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// `None` if the text is longer than `bytes_max` or does not have exactly three parts.
    pub(crate) fn split(text: &'a str, bytes_max: usize) -> Option<Self> {
        if text.len() > bytes_max {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        Some(Self { signed, header: decode(header)?, payload: decode(payload)?, signature: decode(signature)? })
    }

    pub(crate) fn header<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.header).ok()
    }

    pub(crate) fn payload<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.payload).ok()
    }
}

/// Header and payload as they are signed.
pub(crate) fn to_be_signed(header: &impl Serialize, payload: &impl Serialize) -> String {
    let part = |json: Result<Vec<u8>, _>| encode(json.expect("own structures have a JSON form"));
    format!("{}.{}", part(serde_json::to_vec(header)), part(serde_json::to_vec(payload)))
}
