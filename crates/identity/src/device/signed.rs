//! Documents that a device signs: canonical JSON (RFC 8785) under its key.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DeviceError;
use crate::jws::{decode, encode};
use crate::key::{PublicKey, SigningKey};

/// Keeps these signatures apart from all others of the same key.
const DOMAIN: &[u8] = b"creta.signed/1\n";

/// A document and a signature over its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    document: Value,
    /// 64 bytes, base64url.
    signature: String,
}

impl Signed {
    /// Signs on the device.
    pub fn make(document: &impl Serialize, key: &SigningKey) -> Self {
        let sign = |message: &[u8]| Ok::<_, std::convert::Infallible>(key.sign(message));
        match Self::make_with(document, sign) {
            Ok(signed) => signed,
            Err(never) => match never {},
        }
    }

    /// The same with a key that signs elsewhere, such as in a TPM: 64 bytes, for P-256 r and s.
    pub fn make_with<E>(document: &impl Serialize, sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>) -> Result<Self, E> {
        let document = serde_json::to_value(document).expect("own documents have a JSON form");
        let signature = encode(sign(&message(&document))?);
        Ok(Self { document, signature })
    }

    /// The document as it came: believed in nothing.
    pub(super) fn unverified<T: for<'de> Deserialize<'de>>(&self) -> Result<T, DeviceError> {
        T::deserialize(&self.document).map_err(|_| DeviceError::Malformed)
    }

    pub(super) fn verify(&self, key: &PublicKey) -> Result<(), DeviceError> {
        let signature = decode(&self.signature).ok_or(DeviceError::Malformed)?;
        if key.verifies(&message(&self.document), &signature) { Ok(()) } else { Err(DeviceError::Signature) }
    }
}

fn message(document: &Value) -> Vec<u8> {
    let canonical = serde_json_canonicalizer::to_vec(document).expect("a JSON value has a canonical form");
    [DOMAIN, &canonical].concat()
}
