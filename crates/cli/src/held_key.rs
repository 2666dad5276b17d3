//! Keys that this computer holds: in a file, or in its TPM.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use creta_identity::dpop::Prover;
use creta_identity::key::{KeyKind, PublicKey, SigningKey};
use creta_platform::{Clock as _, Random as _, SystemClock, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};
use crate::profile::{self, Profile, read_secret, write_private};
use crate::tpm::{SealedKey, TpmError, TpmKey};

const DEVICE_FORMAT: &str = "creta.device-file/1";
/// How a session file says that its key is the enrolled computer's: this, and the file that knows the key.
const OF_DEVICE: &str = "device:";

/// What signs reports, and proves sessions.
pub(crate) enum HeldKey {
    Software(SigningKey),
    Tpm(Box<TpmKey>),
}

impl HeldKey {
    /// The one that a session file names: PKCS #8 in base64, or a computer's. `None` if there is no such thing.
    pub(crate) fn of_session(key: &str) -> Option<Self> {
        match key.strip_prefix(OF_DEVICE) {
            Some(file) => DeviceFile::read(Path::new(file)).and_then(|kept| kept.key()).ok(),
            None => from_pkcs8(key).map(Self::Software),
        }
    }

    pub(crate) fn public(&self) -> PublicKey {
        match self {
            Self::Software(key) => key.public(),
            Self::Tpm(key) => key.public().clone(),
        }
    }

    /// 64 bytes over a message.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Software(key) => Ok(key.sign(message)),
            Self::Tpm(key) => key.sign(message).map_err(|error| from_tpm(&error)),
        }
    }

    /// Proof that whoever has this key makes a request with `token`, now (RFC 9449).
    pub(crate) fn prove(&self, method: &str, address: &str, token: Option<&str>) -> Result<String, Failure> {
        let mut id = [0; 16];
        SystemRandom.fill(&mut id);
        let sign = |message: &[u8]| self.sign(message);
        Prover::prove_with(&self.public(), sign, (method, address), token, None, id, SystemClock::new().now())
    }
}

/// An enrolled computer's key, beside the profile. With a TPM the file is of no use elsewhere; without, whoever copies it can
/// pose as this computer until the next report of either.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceFile {
    format: String,
    /// Thumbprint of the key.
    pub(crate) device: String,
    /// The private key (PKCS #8, base64), unless a TPM has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tpm: Option<SealedKey>,
    /// The number of the last report.
    pub(crate) sequence: u64,
}

impl DeviceFile {
    /// Of a key in software, or of one in a TPM.
    pub(crate) fn new(key: &HeldKey, sealed: Option<SealedKey>) -> Self {
        let pkcs8 = match key {
            HeldKey::Software(key) => Some(to_pkcs8(key)),
            HeldKey::Tpm(_) => None,
        };
        let device = key.public().thumbprint().as_str().to_owned();
        Self { format: DEVICE_FORMAT.to_owned(), device, key: pkcs8, tpm: sealed, sequence: 0 }
    }

    /// Where it is: one file for all profiles of an address, since a computer is enrolled once with each server.
    pub(crate) fn path(profile: &Profile) -> Result<PathBuf, Failure> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' };
        let name: String = profile.url.trim_start_matches("https://").chars().map(plain).collect();
        let path = profile::default_file()?.with_file_name(format!("{name}.device"));
        std::path::absolute(&path).map_err(|error| Failure::file("find", &path, &error))
    }

    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        if file.symlink_metadata().is_err() {
            return Err(not_enrolled());
        }
        let read = serde_json::from_str::<Self>(&read_secret(file)?).ok();
        read.filter(|kept| kept.format == DEVICE_FORMAT).ok_or_else(|| unreadable(file))
    }

    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        write_private(file, &serde_json::to_vec(self).expect("texts have a JSON form"))
    }

    pub(crate) fn key(&self) -> Result<HeldKey, Failure> {
        match (&self.key, &self.tpm) {
            (Some(key), None) => from_pkcs8(key).map(HeldKey::Software).ok_or_else(invalid),
            (None, Some(sealed)) => {
                let key = TpmKey::new(sealed.clone()).map_err(|error| from_tpm(&error))?;
                Ok(HeldKey::Tpm(Box::new(key)))
            }
            _ => Err(invalid()),
        }
    }
}

/// A new key in memory.
pub(crate) fn new_key() -> SigningKey {
    let mut seed = [0; 32];
    SystemRandom.fill(&mut seed);
    SigningKey::from_random(KeyKind::P256, &seed)
}

/// What a session file says about its key.
pub(crate) fn of_device(file: &Path) -> String {
    format!("{OF_DEVICE}{}", file.display())
}

/// A private key in a session file.
pub(crate) fn to_pkcs8(key: &SigningKey) -> String {
    BASE64.encode(key.to_pkcs8().as_slice())
}

pub(crate) fn from_pkcs8(key: &str) -> Option<SigningKey> {
    BASE64.decode(key).ok().and_then(|key| SigningKey::from_pkcs8(&key).ok())
}

/// What goes wrong with a TPM, and what to do about it.
pub(crate) fn from_tpm(error: &TpmError) -> Failure {
    let help = match error {
        TpmError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            "let your account use the TPM: `sudo usermod -aG tss $USER`, then log in to this computer again"
        }
        TpmError::Io { .. } => "see whether the TPM is turned on in the computer's firmware settings",
        TpmError::Refused { .. } | TpmError::Malformed => {
            "a key works in the TPM that made it and in no other; if this one was cleared or the file is another \
             computer's, remove the file and enrol again: `creta device enrol`"
        }
    };
    let problem = creta_model::Problem::new("device/tpm", error.to_string());
    Failure::new(Exit::Failed, problem.with_help(help))
}

pub(crate) fn not_enrolled() -> Failure {
    Failure::usage(
        "device/not-enrolled",
        "this computer is not enrolled with this server",
        "run `creta device enrol --name NAME`",
    )
}

fn unreadable(file: &Path) -> Failure {
    let message = format!("`{}` is not a device's key of this version", file.display());
    Failure::usage("device/invalid", message, "remove it and enrol again: `creta device enrol`")
}

fn invalid() -> Failure {
    Failure::usage(
        "device/invalid",
        "the file of this computer's key holds none that can be read",
        "remove it and enrol again: `creta device enrol`",
    )
}
