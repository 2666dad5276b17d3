//! How a device becomes one of ours.

use creta_model::Instant;
use serde::{Deserialize, Serialize};

use super::nonce::Nonces;
use super::posture::Platform;
use super::signed::Signed;
use super::tpm::{self, TpmEvidence};
use super::{Device, DeviceError, KeyStorage};
use crate::key::{PublicKey, SigningKey, Thumbprint};

const FORMAT: &str = "creta.enrolment/1";
const NAME_CHARACTERS_MAX: usize = 64;

/// What a device says about itself, once, signed by its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    format: String,
    name: String,
    /// As text, so that a phone is told what it is.
    platform: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    key: PublicKey,
    nonce: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tpm: Option<TpmEvidence>,
}

impl Enrolment {
    /// What the device sends, for a nonce that the server gave to its owner. A key in a TPM brings `tpm` and signs by
    /// [`Signed::make_with`].
    pub fn new(
        name: &str,
        platform: Platform,
        serial: Option<&str>,
        key: PublicKey,
        nonce: &str,
        tpm: Option<TpmEvidence>,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            name: name.to_owned(),
            platform: platform.as_str().to_owned(),
            serial: serial.map(str::to_owned),
            key,
            nonce: nonce.to_owned(),
            tpm,
        }
    }

    /// Signed by a key in memory.
    pub fn sign(&self, key: &SigningKey) -> Signed {
        Signed::make(self, key)
    }
}

impl Device {
    /// Enrols a device for a person who was verified. `attesters` are the thumbprints of the attestation keys of the
    /// organisation's TPMs, from its purchase or its own provisioning; without one of them a key counts as software.
    pub fn enrol(
        signed: &Signed,
        person: &str,
        attesters: &[Thumbprint],
        nonces: &mut Nonces,
        now: Instant,
    ) -> Result<Self, DeviceError> {
        let enrolment: Enrolment = signed.unverified()?;
        if enrolment.format != FORMAT {
            return Err(DeviceError::Malformed);
        }
        signed.verify(&enrolment.key)?;
        nonces.take(&enrolment.nonce, person, now)?;
        let platform = Platform::parse(&enrolment.platform)?;
        let name = enrolment.name.trim();
        let writable = |c: char| c.is_alphanumeric() || " .-_'".contains(c);
        if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX || !name.chars().all(writable) {
            return Err(DeviceError::Name);
        }
        let storage = match &enrolment.tpm {
            Some(evidence) => {
                tpm::verify(evidence, &enrolment.key, &enrolment.nonce, attesters)?;
                KeyStorage::Tpm
            }
            None => KeyStorage::Software,
        };
        Ok(Self {
            id: enrolment.key.thumbprint(),
            person: person.to_owned(),
            name: name.to_owned(),
            platform,
            storage,
            serial: enrolment.serial.filter(|serial| !serial.trim().is_empty() && serial.len() <= 128),
            enrolled: now,
            revoked: None,
            key: enrolment.key,
            sequence: 0,
            latest: None,
            searched: None,
        })
    }
}
