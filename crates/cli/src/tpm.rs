//! This computer's TPM 2.0: a key that is made in it and never leaves, and the TPM's own word that it is so.
//!
//! The kernel's device takes commands and gives answers, so neither a library in C nor other programs are needed. Two keys
//! wrap and attest; both follow from the chip's seeds, so that nothing has to be kept of them. The device's own key is kept
//! as two sealed parts, which no other TPM can load.

mod wire;

use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use creta_identity::device::{TpmEvidence, tpm_key};
use creta_identity::key::PublicKey;
use serde::{Deserialize, Serialize};

use self::wire::{ANSWER_BYTES_MAX, Answer, Hierarchy, Template};

/// The kernel's device, which keeps programs that use the TPM at the same time apart.
const DEVICE: &str = "/dev/tpmrm0";
/// Another device, or the socket of a software TPM. Which TPM it is decides nothing here: the server knows its own.
const ELSEWHERE: &str = "CRETA_TPM";

/// How long a software TPM may be busy with somebody else; the kernel's device has limits of its own.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Why the TPM did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TpmError {
    /// It cannot be opened or talked to.
    #[error("`{path}` cannot be used: {source}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It answered that it will not.
    #[error("the TPM answered {code:#06x}")]
    Refused {
        /// `TPM_RC` (Part 2, 6.6).
        code: u32,
    },
    /// Not an answer.
    #[error("the TPM's answer cannot be read")]
    Malformed,
}

/// A key that only the TPM which made it can use: two texts for a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SealedKey {
    /// `TPMT_PUBLIC`, hexadecimal.
    pub(crate) public: String,
    /// `TPM2B_PRIVATE` without its size, hexadecimal: sealed under the TPM's storage key.
    pub(crate) private: String,
}

/// Where the TPM is, if there is one.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os(ELSEWHERE).map_or_else(|| PathBuf::from(DEVICE), PathBuf::from);
    path.exists().then_some(path)
}

/// An open TPM.
pub(crate) struct Tpm {
    path: PathBuf,
    stream: Box<dyn Stream>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Tpm {
    pub(crate) fn open(path: &Path) -> Result<Self, TpmError> {
        let failed = |source| TpmError::Io { path: path.display().to_string(), source };
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        let stream: Box<dyn Stream> = match kind.is_socket() {
            true => {
                let stream = UnixStream::connect(path).map_err(failed)?;
                stream.set_read_timeout(Some(ANSWER_TIME_MAX)).map_err(failed)?;
                Box::new(stream)
            }
            false => Box::new(std::fs::OpenOptions::new().read(true).write(true).open(path).map_err(failed)?),
        };
        Ok(Self { path: path.to_owned(), stream })
    }

    /// The key that speaks for this TPM, and always will.
    pub(crate) fn attester(&mut self) -> Result<PublicKey, TpmError> {
        let (handle, public) = self.primary(Hierarchy::Endorsement, Template::Attestation)?;
        self.flush(handle)?;
        tpm_key(&public).ok_or(TpmError::Malformed)
    }

    /// Makes a key, sealed for this TPM.
    pub(crate) fn create(&mut self) -> Result<SealedKey, TpmError> {
        let (storage, _) = self.primary(Hierarchy::Owner, Template::Storage)?;
        let made = self.ask(&wire::create(storage, Template::Device));
        self.flush(storage)?;
        let made = made?;
        let mut parameters = Answer::read(&made)?.parameters()?;
        let (private, public) = (parameters.sized()?, parameters.sized()?);
        Ok(SealedKey { public: hex::encode(public), private: hex::encode(private) })
    }

    /// What this TPM says about a key of its own, in answer to a nonce.
    pub(crate) fn attest(&mut self, key: &SealedKey, nonce: &str) -> Result<TpmEvidence, TpmError> {
        let loaded = self.load(key)?;
        let (attester, attester_public) = self.primary(Hierarchy::Endorsement, Template::Attestation)?;
        let extra = *creta_proof::Hash::of(&[nonce.as_bytes()]).as_bytes();
        let certified = self.ask(&wire::certify(loaded, attester, &extra));
        self.flush(attester)?;
        self.flush(loaded)?;
        let certified = certified?;
        let mut parameters = Answer::read(&certified)?.parameters()?;
        let (attest, signature) = (parameters.sized()?, parameters.signature()?);
        Ok(TpmEvidence {
            attester: tpm_key(&attester_public).ok_or(TpmError::Malformed)?,
            public: base64url(&hex::decode(&key.public).map_err(|_| TpmError::Malformed)?),
            attest: base64url(attest),
            signature: base64url(&signature),
        })
    }

    /// Makes a key usable until it is flushed. Another TPM's is refused.
    fn load(&mut self, key: &SealedKey) -> Result<u32, TpmError> {
        let part = |text: &str| hex::decode(text).map_err(|_| TpmError::Malformed);
        let (private, public) = (part(&key.private)?, part(&key.public)?);
        let (storage, _) = self.primary(Hierarchy::Owner, Template::Storage)?;
        let loaded = self.ask(&wire::load(storage, &private, &public));
        self.flush(storage)?;
        Answer::read(&loaded?)?.handle()
    }

    fn sign(&mut self, handle: u32, message: &[u8]) -> Result<Vec<u8>, TpmError> {
        let signed = self.ask(&wire::sign(handle, creta_proof::Hash::of(&[message]).as_bytes()))?;
        Answer::read(&signed)?.parameters()?.signature()
    }

    fn primary(&mut self, hierarchy: Hierarchy, template: Template) -> Result<(u32, Vec<u8>), TpmError> {
        let made = self.ask(&wire::create_primary(hierarchy, template))?;
        let mut answer = Answer::read(&made)?;
        let handle = answer.handle()?;
        Ok((handle, answer.parameters()?.sized()?.to_vec()))
    }

    fn flush(&mut self, handle: u32) -> Result<(), TpmError> {
        self.ask(&wire::flush(handle)).map(drop)
    }

    /// One command, one answer; a refusal is an error.
    fn ask(&mut self, command: &[u8]) -> Result<Vec<u8>, TpmError> {
        let answer = self.exchange(command).map_err(|source| {
            let path = self.path.display().to_string();
            TpmError::Io { path, source }
        })?;
        Answer::read(&answer)?;
        Ok(answer)
    }

    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(command)?;
        let (mut answer, mut part) = (Vec::new(), [0; ANSWER_BYTES_MAX]);
        while wire::answer_bytes(&answer).is_none_or(|size| answer.len() < size.min(ANSWER_BYTES_MAX)) {
            match self.stream.read(&mut part)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => answer.extend_from_slice(&part[..count]),
            }
        }
        Ok(answer)
    }
}

/// A sealed key that signs. It is loaded when it signs first, and anew when the TPM lost it, as over a suspended night.
pub(crate) struct TpmKey {
    path: PathBuf,
    sealed: SealedKey,
    public: PublicKey,
    loaded: Mutex<Option<(Tpm, u32)>>,
}

impl TpmKey {
    pub(crate) fn new(sealed: SealedKey) -> Result<Self, TpmError> {
        let public = hex::decode(&sealed.public).ok().and_then(|public| tpm_key(&public)).ok_or(TpmError::Malformed)?;
        let path = find().unwrap_or_else(|| PathBuf::from(DEVICE));
        Ok(Self { path, sealed, public, loaded: Mutex::default() })
    }

    /// The same key, asked of another TPM.
    #[cfg(test)]
    fn at(self, path: PathBuf) -> Self {
        self.release();
        Self { path, sealed: self.sealed.clone(), public: self.public.clone(), loaded: Mutex::default() }
    }

    /// Takes the key out of the TPM; it is loaded again when it signs next. Behind the kernel's device this happens by itself
    /// when a program ends; a software TPM keeps what nobody takes out.
    fn release(&self) {
        if let Some((mut tpm, handle)) = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = tpm.flush(handle);
        }
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// r and s.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TpmError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((tpm, handle)) = loaded.as_mut() {
            if let Ok(signature) = tpm.sign(*handle, message) {
                return Ok(signature);
            }
            *loaded = None;
        }
        let mut tpm = Tpm::open(&self.path)?;
        let handle = tpm.load(&self.sealed)?;
        let signature = tpm.sign(handle, message);
        *loaded = Some((tpm, handle));
        signature
    }
}

impl Drop for TpmKey {
    fn drop(&mut self) {
        self.release();
    }
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests;
