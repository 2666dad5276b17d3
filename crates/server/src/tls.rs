//! TLS: which versions and suites are spoken, the environment's own certificate authority, and server certificates.
//!
//! The authority's key is sealed under the control plane's key. Server certificates are short-lived and made at start,
//! then once a day; their keys never touch the disk.

use std::sync::Arc;
use std::time::Duration;

use creta_model::Instant;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite, kx_group as group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::ServerError;

/// The suites that are spoken, best first: authenticated encryption with ephemeral keys, nothing else. Code rather than
/// configuration, so that nobody weakens it by accident.
pub static CIPHER_SUITES: &[SupportedCipherSuite] = &[
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Ephemeral key agreement, best first.
static KEY_AGREEMENTS: &[&dyn SupportedKxGroup] =
    &[group::X25519MLKEM768, group::X25519, group::SECP256R1, group::SECP384R1];

/// The versions that are spoken. Older ones do not exist in the library.
static VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Names that every server certificate holds.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const AUTHORITY_DAYS: u64 = 3_650;
/// How long a server certificate is valid.
const CERTIFICATE_DAYS: u64 = 90;
/// How often a new one is made.
pub(crate) const CERTIFICATE_RENEWAL: Duration = Duration::from_secs(86_400);
/// Certificates begin a little in the past, for clients whose clocks are late.
const BACKDATED_SECONDS: i64 = 3_600;

/// The provider of cryptography for TLS, with the suites above only.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: CIPHER_SUITES.to_vec(),
        kx_groups: KEY_AGREEMENTS.to_vec(),
        ..aws_lc_rs::default_provider()
    }
}

/// A new certificate authority: its certificate as PEM, which clients trust, and its private key (PKCS #8).
pub(crate) fn make_authority(environment_id: &str, now: Instant) -> Result<(String, Zeroizing<Vec<u8>>), ServerError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
    let certificate = authority_params(environment_id, now)?.self_signed(&key).map_err(refused)?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_der())))
}

fn authority_params(environment_id: &str, now: Instant) -> Result<CertificateParams, ServerError> {
    let mut params = CertificateParams::new([]).map_err(refused)?;
    params.distinguished_name = named(&format!("Creta authority of {environment_id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now, AUTHORITY_DAYS);
    Ok(params)
}

/// A server's TLS configuration with a fresh certificate for `names` besides the local ones.
pub(crate) fn server_config(
    environment_id: &str,
    authority_key: &[u8],
    names: &[String],
    now: Instant,
) -> Result<Arc<ServerConfig>, ServerError> {
    let authority_key = PrivatePkcs8KeyDer::from(authority_key);
    let authority_key =
        KeyPair::from_pkcs8_der_and_sign_algo(&authority_key, &PKCS_ECDSA_P256_SHA256).map_err(refused)?;
    let issuer = Issuer::new(authority_params(environment_id, now)?, authority_key);

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
    if let Some(bad) = names.iter().find(|name| ServerName::try_from(name.as_str()).is_err()) {
        let reason = format!("`{bad}` is neither a host name nor an address; correct `names` in `config.toml`");
        return Err(ServerError::Certificate { reason });
    }
    let names: Vec<String> = LOCAL_NAMES.iter().map(ToString::to_string).chain(names.iter().cloned()).collect();
    let mut params = CertificateParams::new(names).map_err(refused)?;
    params.distinguished_name = named(&format!("Creta server of {environment_id}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, now, CERTIFICATE_DAYS);
    let certificate = params.signed_by(&key, &issuer).map_err(refused)?;

    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(VERSIONS)
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn validity(params: &mut CertificateParams, now: Instant, days: u64) {
    let seconds = now.micros() / 1_000_000;
    let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = at(seconds - BACKDATED_SECONDS);
    params.not_after = at(seconds + days as i64 * 86_400);
}

fn refused(error: impl ToString) -> ServerError {
    ServerError::Certificate { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ch32_no_suite_without_authenticated_encryption_and_ephemeral_keys_is_on_the_list() {
        for suite in CIPHER_SUITES {
            let name = format!("{:?}", suite.suite());
            let ephemeral = name.starts_with("TLS13_") || name.contains("_ECDHE_");
            let authenticated = name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_");
            assert!(ephemeral && authenticated, "{name}");
        }
        assert_eq!(provider().cipher_suites.len(), CIPHER_SUITES.len());
    }

    #[test]
    fn a_certificate_that_the_authority_did_not_make_is_not_served() {
        let now = Instant::parse("2026-01-01T00:00:00Z").expect("valid");
        let (_, key) = make_authority("prod-1", now).expect("made");
        assert!(server_config("prod-1", &key, &["creta.internal".to_owned()], now).is_ok());
        assert!(server_config("prod-1", &key[1..], &[], now).is_err());
        for bad in ["", "not a name", "a\0b", "https://creta", "creta:7443"] {
            assert!(server_config("prod-1", &key, &[bad.to_owned()], now).is_err(), "{bad:?}");
        }
    }
}
