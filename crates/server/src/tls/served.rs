//! What a listener shows, replaced while it runs.
//!
//! Clients that name the machine itself (`localhost`, or no name at all) get the local authority's certificate, all others
//! the one in files where there is one. Files are looked at every few seconds; a broken replacement changes nothing and is
//! said aloud.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use creta_model::Instant;
use creta_proof::Hash;
use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::authority::{Authority, LOCAL_NAMES};
use super::files::{self, CertificateFiles, Loaded};
use super::provider;
use crate::ServerError;

/// How often a new certificate of the local authority is made.
pub(crate) const CERTIFICATE_RENEWAL: Duration = Duration::from_secs(86_400);
/// How often files are looked at.
pub(crate) const FILES_LOOKED_AT: Duration = Duration::from_secs(2);

/// The certificates of one listener.
#[derive(Debug)]
pub(crate) struct Certificates {
    names: Vec<String>,
    local: RwLock<Arc<CertifiedKey>>,
    loaded: RwLock<Option<Arc<Loaded>>>,
    files: Option<CertificateFiles>,
    seen: Mutex<Seen>,
    /// Certificates that prove names to an ACME authority, by name, while it asks.
    proofs: RwLock<BTreeMap<String, Arc<CertifiedKey>>>,
    /// Why none was issued when one was due.
    failed: Mutex<Option<String>>,
}

/// The protocol in which an ACME authority asks for a proof (RFC 8737 section 6.2).
pub(super) const PROOF_PROTOCOL: &[u8] = b"acme-tls/1";

/// What the files were when they were last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Never,
    Good(Hash),
    /// With what is wrong, and the digest of what was read; none when it could not be read.
    Broken(Option<Hash>, String),
}

/// What came of looking at the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Looked {
    /// Nothing new.
    Same,
    /// New ones are served from now on.
    Replaced {
        /// SHA-256 of the chain.
        chain: Hash,
        not_after: Instant,
    },
    /// New ones cannot be used, for this reason; the ones before are still served.
    Broken(String),
}

impl Certificates {
    /// A fresh certificate of the local authority, and what stands in `files`, which has to be good from the start.
    pub(crate) fn new(
        authority: &Authority,
        names: &[String],
        files: Option<CertificateFiles>,
        now: Instant,
    ) -> Result<Self, ServerError> {
        let certificates = Self {
            names: names.to_vec(),
            local: RwLock::new(authority.server_certificate(names, now)?),
            loaded: RwLock::default(),
            files,
            seen: Mutex::new(Seen::Never),
            proofs: RwLock::default(),
            failed: Mutex::default(),
        };
        match certificates.look(now) {
            Looked::Broken(reason) => Err(ServerError::Certificate { reason }),
            Looked::Same | Looked::Replaced { .. } => Ok(certificates),
        }
    }

    /// Makes a new certificate of the local authority.
    pub(crate) fn renew(&self, authority: &Authority, now: Instant) -> Result<(), ServerError> {
        let fresh = authority.server_certificate(&self.names, now)?;
        *self.local.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Looks at the files. What is new and good is served from the next handshake on.
    pub(crate) fn look(&self, now: Instant) -> Looked {
        let Some(files) = &self.files else { return Looked::Same };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (digest, chain, outcome) = match files.read() {
            Ok(bytes) => {
                let digest = Hash::of(&[&(bytes.chain.len() as u64).to_le_bytes(), &bytes.chain, &bytes.key]);
                if matches!(&*seen, Seen::Good(good) if *good == digest)
                    || matches!(&*seen, Seen::Broken(Some(broken), _) if *broken == digest)
                {
                    return Looked::Same;
                }
                (Some(digest), Hash::of(&[&bytes.chain]), files::check(&bytes, &self.names, now))
            }
            Err(reason) => (None, Hash::of(&[]), Err(reason)),
        };
        match (digest, outcome) {
            (Some(digest), Ok(loaded)) => {
                let not_after = loaded.not_after;
                *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(loaded));
                *seen = Seen::Good(digest);
                Looked::Replaced { chain, not_after }
            }
            (digest, outcome) => {
                let reason = outcome.err().unwrap_or_default();
                let new = Seen::Broken(digest, reason.clone());
                if *seen == new {
                    return Looked::Same;
                }
                *seen = new;
                Looked::Broken(reason)
            }
        }
    }

    /// What is wrong with the files, if anything is.
    pub(crate) fn broken(&self) -> Option<String> {
        match &*self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            Seen::Broken(_, reason) => Some(reason.clone()),
            Seen::Never | Seen::Good(_) => None,
        }
    }

    /// Serves what an ACME authority issued for `names`, if it is in order; gives when it ends.
    pub(crate) fn take_issued(
        &self,
        chain: &[u8],
        key: &str,
        names: &[String],
        now: Instant,
    ) -> Result<Instant, String> {
        let bytes = files::Bytes { chain: chain.to_vec(), key: Zeroizing::new(key.as_bytes().to_vec()) };
        let loaded = files::check(&bytes, names, now)?;
        let not_after = loaded.not_after;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(loaded));
        Ok(not_after)
    }

    /// Proves to an ACME authority that this listener answers for `name`: a certificate of no other use, with the digest of
    /// the key authorization in it (RFC 8737 section 3).
    pub(crate) fn show_proof(&self, name: &str, digest: &[u8]) -> Result<(), String> {
        let made = || {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            let mut params = CertificateParams::new([name.to_owned()])?;
            params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
            let certificate = params.self_signed(&key)?;
            Ok::<_, rcgen::Error>((certificate.der().clone(), key.serialize_der()))
        };
        let (certificate, key) = made().map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        // Put together by hand: the extension is critical, so whoever does not know it, as our own library, reads no further.
        let key = provider().key_provider.load_private_key(key).map_err(|error| error.to_string())?;
        let proof = CertifiedKey::new(vec![certificate], key);
        self.proofs.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::new(proof));
        Ok(())
    }

    /// Ends a proof.
    pub(crate) fn forget_proof(&self, name: &str) {
        self.proofs.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// What an ACME authority is shown that asks for `name`; nothing unless a proof is due.
    pub(super) fn proof_for(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        self.proofs.read().unwrap_or_else(PoisonError::into_inner).get(name?).cloned()
    }

    /// Notes how the last attempt to have a certificate issued ended.
    pub(crate) fn acme_failed(&self, reason: Option<String>) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Why no certificate was issued when one was due; none when the last attempt went well.
    pub(crate) fn acme_failure(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether what others issued comes from files.
    pub(crate) fn is_from_files(&self) -> bool {
        self.files.is_some()
    }

    /// When what others issued ends; `None` without files.
    pub(crate) fn not_after(&self) -> Option<Instant> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|loaded| loaded.not_after)
    }

    /// What a client is shown that asks for `name`.
    pub(super) fn shown_to(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        match loaded.as_deref() {
            Some(loaded) if name.map_or(loaded.for_addresses, |name| !LOCAL_NAMES.contains(&name)) => {
                Arc::clone(&loaded.key)
            }
            _ => Arc::clone(&self.local.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::super::authority::make_authority;
    use super::super::files::tests::{Company, NOW, params};
    use super::*;

    fn write(files: &CertificateFiles, (chain, key): &(String, String)) {
        std::fs::write(&files.chain, chain).expect("written");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&files.key).expect("opened");
        std::io::Write::write_all(&mut file, key.as_bytes()).expect("written");
    }

    #[test]
    fn attack_ci13_a_broken_replacement_leaves_the_old_certificate_and_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = CertificateFiles { chain: "c.pem".into(), key: "k.pem".into() }.within(folder.path());
        let now = Instant::parse(NOW).expect("valid");
        let authority = Authority::new("prod-1", make_authority("prod-1", now).expect("made").1);
        let company = Company::new();
        let issue = |until| company.issue(&params(&["creta.example.com"], "2026-01-01T00:00:00Z", until));
        let (first, second) = (issue("2026-02-01T00:00:00Z"), issue("2026-03-01T00:00:00Z"));

        assert!(Certificates::new(&authority, &[], Some(files.clone()), now).is_err(), "nothing starts without them");
        write(&files, &first);
        let certificates = Certificates::new(&authority, &[], Some(files.clone()), now).expect("good");
        let shown = || certificates.shown_to(Some("creta.example.com")).cert[0].clone();
        let before = shown();
        assert_eq!(certificates.look(now), Looked::Same);
        assert_ne!(certificates.shown_to(Some("localhost")).cert[0], before, "the machine itself has its own");
        assert_ne!(certificates.shown_to(None).cert[0], before, "this one holds no address");

        // The chain is replaced first, its key a moment later.
        write(&files, &(second.0.clone(), first.1.clone()));
        let Looked::Broken(reason) = certificates.look(now) else { panic!("half a replacement was served") };
        assert!(reason.contains("does not belong"), "{reason}");
        assert_eq!((certificates.look(now), certificates.broken()), (Looked::Same, Some(reason)), "told once");
        assert_eq!(shown(), before);
        write(&files, &second);
        let not_after = Instant::parse("2026-03-01T00:00:00Z").expect("valid");
        assert!(matches!(certificates.look(now), Looked::Replaced { not_after: at, .. } if at == not_after));
        assert_ne!(shown(), before);
        assert_eq!((certificates.broken(), certificates.not_after()), (None, Some(not_after)));

        let after = shown();
        for broken in [String::new(), "-----BEGIN NOTHING-----".to_owned(), first.0.clone()] {
            write(&files, &(broken, second.1.clone()));
            assert!(matches!(certificates.look(now), Looked::Broken(_)));
            assert_eq!(shown(), after);
        }
        std::fs::remove_file(&files.key).expect("own file");
        assert!(matches!(certificates.look(now), Looked::Broken(_)));
        assert_eq!(certificates.look(now), Looked::Same, "told once");
        assert_eq!(shown(), after);
        write(&files, &second);
        assert!(matches!(certificates.look(now), Looked::Replaced { .. }), "whole again");
        assert_eq!(certificates.broken(), None);
    }
}
