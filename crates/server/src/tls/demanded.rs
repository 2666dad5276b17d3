//! Listeners that take components only: whoever shows no certificate, or not the right one, gets no further than the
//! handshake (CH-25).
//!
//! A server may have a second listener of this kind, for the components of its environment. A process that belongs to no
//! environment, such as a witness that the same organisation runs, knows environments by their authorities.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use creta_model::Environment;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DistinguishedName, Error, RootCertStore};
use serde::{Deserialize, Serialize};

use super::component::ComponentName;
use super::handshake::Judging;
use super::peer::{Judge, Reason, not_let_in};
use super::refused;
use crate::ServerError;

/// An environment whose components are let in, as a configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Neighbour {
    /// Its name.
    pub(crate) environment: Environment,
    /// Its random name.
    pub(crate) environment_id: String,
    /// Its authority's certificate, in PEM.
    pub(crate) ca: PathBuf,
    /// Which of its components.
    pub(crate) components: BTreeSet<ComponentName>,
}

/// Judges certificates by several environments' authorities.
pub(crate) struct Neighbours {
    each: Vec<(Judge, BTreeSet<ComponentName>)>,
    hints: Vec<DistinguishedName>,
}

impl fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Neighbours({})", self.each.len())
    }
}

impl Neighbours {
    /// At least one; paths are relative to `folder`.
    pub(crate) fn new(neighbours: &[Neighbour], folder: &Path) -> Result<Self, ServerError> {
        let judge = |neighbour: &Neighbour| {
            let file = folder.join(&neighbour.ca);
            let own = CertificateDer::from_pem_file(&file).map_err(|error| ServerError::Certificate {
                reason: format!("the authority of environment `{}` cannot be used: {error}", neighbour.environment),
            })?;
            let mut roots = RootCertStore::empty();
            roots.add(own).map_err(refused)?;
            let judge = Judge::new(roots, &neighbour.environment_id, &neighbour.environment)?;
            Ok((judge, neighbour.components.clone()))
        };
        let each = neighbours.iter().map(judge).collect::<Result<Vec<_>, ServerError>>()?;
        let hints = each.iter().flat_map(|(judge, _)| judge.chain.root_hint_subjects().to_vec()).collect();
        Ok(Self { each, hints })
    }

    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, (Reason, Error)> {
        let named = self.each.iter().find(|(judge, _)| judge.is_named_by(certificate));
        let (judge, components) = named.ok_or_else(|| not_let_in(Reason::OtherEnvironment))?;
        let (verified, name) = judge.judge(certificate, intermediates, now)?;
        if components.contains(&name) { Ok(verified) } else { Err(not_let_in(Reason::Revoked)) }
    }
}

impl Judging for Neighbours {
    /// Signatures are checked alike for all of them.
    fn chain(&self) -> &dyn ClientCertVerifier {
        &*self.each.first().expect("there is at least one environment").0.chain
    }

    fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn let_in(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(certificate, intermediates, now).map_err(|(reason, error)| {
            let digest = super::certificate_thumbprint(certificate);
            tracing::warn!(reason = reason.as_str(), certificate = %hex::encode(digest), "a component was turned away");
            error
        })
    }
}
