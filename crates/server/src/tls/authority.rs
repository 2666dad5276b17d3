//! The environment's own certificate authority. Its key is sealed under the control plane's key, or a witness's.
//!
//! The server's certificate is short-lived and made at start, then once a day; its key never touches the disk.

use std::sync::Arc;

use creta_model::Instant;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::component::ComponentUri;
use super::{certificate_thumbprint, provider, refused};
use crate::ServerError;

/// Names that every server certificate holds.
pub(super) const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const AUTHORITY_DAYS: u32 = 3_650;
/// How long a server's or a component's certificate is valid.
const CERTIFICATE_DAYS: u32 = 90;
/// Certificates begin a little in the past, for clients whose clocks are late.
const BACKDATED_SECONDS: i64 = 3_600;

/// A certificate authority that can sign.
pub(crate) struct Authority {
    name: String,
    key: Zeroizing<Vec<u8>>,
}

/// What a component gets. The key is nowhere else.
pub(crate) struct Issued {
    /// The certificate in PEM.
    pub(crate) certificate: String,
    /// Its private key in PEM (PKCS #8).
    pub(crate) key: Zeroizing<String>,
    /// SHA-256 of the certificate.
    pub(crate) thumbprint: [u8; 32],
    /// When it ends.
    pub(crate) expires: Instant,
}

/// A new authority: its certificate as PEM, which clients trust, and its private key (PKCS #8).
pub(crate) fn make_authority(name: &str, now: Instant) -> Result<(String, Zeroizing<Vec<u8>>), ServerError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
    let certificate = authority_params(name, now)?.self_signed(&key).map_err(refused)?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_der())))
}

impl Authority {
    /// The authority of the environment, or witness, `name`, with its private key (PKCS #8).
    pub(crate) fn new(name: &str, key: Zeroizing<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), key }
    }

    fn issuer(&self, now: Instant) -> Result<Issuer<'static, KeyPair>, ServerError> {
        Ok(Issuer::new(authority_params(&self.name, now)?, self.key_pair()?))
    }

    fn key_pair(&self) -> Result<KeyPair, ServerError> {
        let key = PrivatePkcs8KeyDer::from(self.key.as_slice());
        KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256).map_err(refused)
    }

    /// What certificates that it issued are checked against. Made from the sealed key rather than read from `tls/ca.pem`,
    /// which whoever can write the folder could exchange.
    pub(super) fn roots(&self, now: Instant) -> Result<RootCertStore, ServerError> {
        let own = authority_params(&self.name, now)?.self_signed(&self.key_pair()?).map_err(refused)?;
        let mut roots = RootCertStore::empty();
        roots.add(own.der().clone()).map_err(refused)?;
        Ok(roots)
    }

    /// A fresh certificate of a server for `names` besides the local ones, with its key.
    pub(super) fn server_certificate(&self, names: &[String], now: Instant) -> Result<Arc<CertifiedKey>, ServerError> {
        if let Some(bad) = names.iter().find(|name| ServerName::try_from(name.as_str()).is_err()) {
            let reason = format!("`{bad}` is neither a host name nor an address; correct `names` in `config.toml`");
            return Err(ServerError::Certificate { reason });
        }
        let names: Vec<String> = LOCAL_NAMES.iter().map(ToString::to_string).chain(names.iter().cloned()).collect();
        let mut params = CertificateParams::new(names).map_err(refused)?;
        params.distinguished_name = named(&format!("Creta server of {}", self.name));
        let (certificate, key) = self.sign(params, ExtendedKeyUsagePurpose::ServerAuth, now)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider()).map(Arc::new).map_err(refused)
    }

    /// A fresh certificate with which a component shows who it is.
    pub(crate) fn component_certificate(&self, uri: &ComponentUri, now: Instant) -> Result<Issued, ServerError> {
        let mut params = CertificateParams::new([]).map_err(refused)?;
        params.distinguished_name = named(&format!("Creta component {}", uri.name()));
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri.to_string()).map_err(refused)?)];
        let (certificate, key) = self.sign(params, ExtendedKeyUsagePurpose::ClientAuth, now)?;
        let der: &CertificateDer<'_> = certificate.der();
        Ok(Issued {
            certificate: certificate.pem(),
            key: Zeroizing::new(key.serialize_pem()),
            thumbprint: certificate_thumbprint(der),
            expires: now.plus(creta_model::Span::days(CERTIFICATE_DAYS)),
        })
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
        now: Instant,
    ) -> Result<(rcgen::Certificate, KeyPair), ServerError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, now, CERTIFICATE_DAYS);
        let certificate = params.signed_by(&key, &self.issuer(now)?).map_err(refused)?;
        Ok((certificate, key))
    }
}

fn authority_params(name: &str, now: Instant) -> Result<CertificateParams, ServerError> {
    let mut params = CertificateParams::new([]).map_err(refused)?;
    params.distinguished_name = named(&format!("Creta authority of {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now, AUTHORITY_DAYS);
    Ok(params)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn validity(params: &mut CertificateParams, now: Instant, days: u32) {
    let seconds = now.micros() / 1_000_000;
    let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = at(seconds - BACKDATED_SECONDS);
    params.not_after = at(seconds + i64::from(days) * 86_400);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none_and_keys_that_are_none_make_no_certificate() {
        let now = Instant::parse("2026-01-01T00:00:00Z").expect("valid");
        let (_, key) = make_authority("prod-1", now).expect("made");
        let authority = Authority::new("prod-1", key.clone());
        assert!(authority.server_certificate(&["creta.internal".to_owned()], now).is_ok());
        assert!(Authority::new("prod-1", Zeroizing::new(key[1..].to_vec())).server_certificate(&[], now).is_err());
        for bad in ["", "not a name", "a\0b", "https://creta", "creta:7443"] {
            assert!(authority.server_certificate(&[bad.to_owned()], now).is_err(), "{bad:?}");
        }
    }
}
