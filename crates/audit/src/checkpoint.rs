//! The private half of a log's key.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use creta_model::Environment;
use creta_proof::KeyKind;

use crate::{AuditError, Checkpoint, Hash, SignedCheckpoint, VerifierKey};

/// Signs checkpoints of the log `creta/<environment>/audit`. It never leaves the log.
pub(crate) struct Signer {
    key: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl Signer {
    /// From the 32 bytes of RFC 8032 §5.1.5.
    pub(crate) fn from_seed(environment: &Environment, seed: &[u8]) -> Result<Self, AuditError> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| AuditError::SigningKey { rule: "is not the 32 bytes that were stored" })?;
        let public = key.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        let verifier = VerifierKey::new(KeyKind::Log, &format!("creta/{environment}/audit"), public)?;
        Ok(Self { key, verifier })
    }

    pub(crate) fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    pub(crate) fn sign(&self, size: u64, root: Hash) -> SignedCheckpoint {
        let checkpoint = Checkpoint { origin: self.verifier.name().to_owned(), size, root };
        checkpoint.sign(&self.verifier, |text| {
            self.key.sign(text).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}
