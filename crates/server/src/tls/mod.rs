//! TLS: which versions and suites are spoken, who vouches for whom, and what is served.
//!
//! | Module | What |
//! | --- | --- |
//! | `authority` | the environment's own certificate authority: the server's certificate, and those of its components |
//! | `files` | a certificate and key from elsewhere (ACME, a company's authority), checked before they are used |
//! | `served` | what a listener shows, replaced while it runs; a broken replacement changes nothing |
//! | `component` | who a component is: the name in its certificate, bound to one environment |
//! | `peer` | what happens to a certificate that a client shows |
//! | `demanded` | listeners that take components only |
//! | `outbound` | the one place that makes clients for other servers |
//!
//! The constants here are all there is: no setting adds a version or a suite, in either direction.

mod authority;
mod component;
mod demanded;
mod files;
mod handshake;
mod outbound;
mod peer;
mod served;

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite, kx_group as group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use self::handshake::Verifying;
use self::served::PROOF_PROTOCOL;
use crate::ServerError;

pub(crate) use self::authority::{Authority, Issued, make_authority};
pub use self::component::ComponentRole;
pub(crate) use self::component::{Component, ComponentName, ComponentUri, Components, KnownCertificate};
pub(crate) use self::demanded::{Neighbour, Neighbours};
pub use self::files::CertificateFiles;
pub(crate) use self::outbound::{Client, Handshake, Outbound, handshake, is_https};
pub(crate) use self::peer::{EnvironmentVerifier, KnownComponents, Reason, Turned, TurnedAway};
pub(crate) use self::served::{CERTIFICATE_RENEWAL, Certificates, FILES_LOOKED_AT, Looked};

/// The suites that are spoken, best first: authenticated encryption with ephemeral keys, nothing else. Code rather than
/// configuration, so that nobody weakens it by accident.
pub static CIPHER_SUITES: &[SupportedCipherSuite] = &[
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    // For certificates with RSA keys: peers', and those that operators bring.
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Ephemeral key agreement, best first.
static KEY_AGREEMENTS: &[&dyn SupportedKxGroup] =
    &[group::X25519MLKEM768, group::X25519, group::SECP256R1, group::SECP384R1];

/// The versions that are spoken, the preferred first. Older ones do not exist in the library.
static VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// The provider of cryptography for TLS, with the suites above only.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: CIPHER_SUITES.to_vec(),
        kx_groups: KEY_AGREEMENTS.to_vec(),
        ..aws_lc_rs::default_provider()
    }
}

/// SHA-256 of a certificate in DER: the member `x5t#S256` of a token that is bound to it (RFC 8705 section 3.1), before
/// base64url.
pub(crate) fn certificate_thumbprint(der: &[u8]) -> [u8; 32] {
    *creta_proof::Hash::of(&[der]).as_bytes()
}

/// Whose certificates a listener takes.
#[derive(Debug)]
pub(crate) enum Clients {
    /// Nobody is asked for one.
    Anybody,
    /// Whoever shows one has to show the right one.
    Invited(Arc<EnvironmentVerifier>),
    /// Components of the environment, and nobody else.
    Components(Arc<EnvironmentVerifier>),
    /// Components of environments beside this process, and nobody else.
    Neighbours(Neighbours),
}

/// A listener's configuration: what it shows follows `certificates`.
pub(crate) fn server_config(
    certificates: Arc<Certificates>,
    clients: Clients,
) -> Result<Arc<ServerConfig>, ServerError> {
    let builder =
        ServerConfig::builder_with_provider(Arc::new(provider())).with_protocol_versions(VERSIONS).map_err(refused)?;
    let builder = match clients {
        Clients::Anybody => builder.with_no_client_auth(),
        Clients::Invited(verifier) => builder.with_client_cert_verifier(Arc::new(Verifying::invited(verifier))),
        Clients::Components(verifier) => builder.with_client_cert_verifier(Arc::new(Verifying::demanded(verifier))),
        Clients::Neighbours(neighbours) => builder.with_client_cert_verifier(Arc::new(Verifying::demanded(neighbours))),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Showing(certificates)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), PROOF_PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

/// Shows what is served at the moment of the handshake.
#[derive(Debug)]
struct Showing(Arc<Certificates>);

impl ResolvesServerCert for Showing {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Whoever speaks this protocol asks for a proof and for nothing else.
        if hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == PROOF_PROTOCOL)) {
            return self.0.proof_for(hello.server_name());
        }
        Some(self.0.shown_to(hello.server_name()))
    }
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
    fn a_thumbprint_is_the_sha_256_of_the_certificate() {
        // RFC 6234: SHA-256 of "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(certificate_thumbprint(b"abc")), expected);
    }
}
