//! Certificates of clients in handshakes: whoever judges them says who is let in, and the rest is the same for all.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Whose certificates are let in.
pub(super) trait Judging: fmt::Debug + Send + Sync {
    /// What checks chains, and the signatures of handshakes.
    fn chain(&self) -> &dyn ClientCertVerifier;

    /// By whom clients' certificates should be signed.
    fn hints(&self) -> &[DistinguishedName] {
        self.chain().root_hint_subjects()
    }

    /// Lets a certificate in, or says why not; whoever is turned away is noted.
    fn let_in(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error>;
}

impl<J: Judging> Judging for Arc<J> {
    fn chain(&self) -> &dyn ClientCertVerifier {
        (**self).chain()
    }

    fn hints(&self) -> &[DistinguishedName] {
        (**self).hints()
    }

    fn let_in(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        (**self).let_in(certificate, intermediates, now)
    }
}

/// As the library asks for it.
#[derive(Debug)]
pub(super) struct Verifying<J> {
    judge: J,
    demanded: bool,
}

impl<J: Judging> Verifying<J> {
    /// People and programs with tokens have no certificate; what is shown has to be right all the same.
    pub(super) fn invited(judge: J) -> Self {
        Self { judge, demanded: false }
    }

    /// Whoever shows none gets no further than the handshake.
    pub(super) fn demanded(judge: J) -> Self {
        Self { judge, demanded: true }
    }
}

impl<J: Judging> ClientCertVerifier for Verifying<J> {
    fn client_auth_mandatory(&self) -> bool {
        self.demanded
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.judge.hints()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge.let_in(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.chain().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.chain().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.chain().supported_verify_schemes()
    }
}
