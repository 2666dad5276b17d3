//! What an operator does about the components of an environment, while no server runs on its data folder: gives one a
//! certificate, ends one. Each stands in the audit log.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use creta_audit::{Details, Event};
use creta_iam::Place;
use creta_model::{Environment, Instant};
use creta_store::{MetadataStore, SqliteStore};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ServerError;
use crate::control_plane::setting;
use crate::data_folder::AUTHORITY_FILE;
use crate::problem::{from_audit, from_store, internal};
use crate::recovery::Offline;
use crate::tls::{
    Authority, Component, ComponentName, ComponentRole, ComponentUri, Components, Issued, KnownCertificate,
};

/// A component as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentView {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub role: ComponentRole,
    /// When it was made.
    pub created: Instant,
    /// When its newest certificate ends; none once it is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Instant>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Instant>,
}

impl From<&Component> for ComponentView {
    fn from(component: &Component) -> Self {
        Self {
            name: component.name.to_string(),
            role: component.role,
            created: component.created,
            expires: component.certificates.iter().map(|certificate| certificate.expires).max(),
            revoked: component.revoked,
        }
    }
}

/// What was written for a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentReport {
    /// The component.
    #[serde(flatten)]
    pub component: ComponentView,
    /// The name in its certificate.
    pub uri: String,
    /// Its certificate, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM, readable by its owner only. It is nowhere else.
    pub key: PathBuf,
    /// What it trusts, in PEM.
    pub ca: PathBuf,
}

/// Gives a component a certificate of this environment: `NAME.pem`, `NAME.key` and `ca.pem` in `out`. For one that is there
/// already it is a further certificate; the one before stays good until it ends. Files that are there are not overwritten.
/// No server may run on the folder.
pub fn add_component(
    folder: &Path,
    name: &str,
    role: ComponentRole,
    out: &Path,
) -> Result<ComponentReport, ServerError> {
    let name = ComponentName::parse(name)?;
    let offline = Offline::open(folder)?;
    let documents = documents(folder, &offline)?;
    let config = &offline.config;
    let key = documents.read(setting::KIND, setting::AUTHORITY_KEY).map_err(|error| from_store(&error))?;
    let authority = Authority::new(&config.environment_id, Zeroizing::new(key.ok_or_else(internal)?.body));
    let uri = ComponentUri::new(&config.environment_id, config.environment.clone(), name.clone());
    let now = offline.platform.clock.now();
    let issued = authority.component_certificate(&uri, now)?;

    fs::create_dir_all(out).map_err(|source| ServerError::Io { action: "make", path: out.to_owned(), source })?;
    let (certificate, key) = (out.join(format!("{name}.pem")), out.join(format!("{name}.key")));
    let ca = out.join("ca.pem");
    create(&key, issued.key.as_bytes(), 0o600)?;
    create(&certificate, issued.certificate.as_bytes(), 0o644)?;
    if !ca.exists() {
        let own = folder.join(AUTHORITY_FILE);
        fs::copy(&own, &ca).map_err(|source| ServerError::Io { action: "copy", path: own, source })?;
    }
    // Recorded before it is let in.
    let details = Details::none()
        .name("component", name.as_str())
        .and_then(|details| details.name("role", role.as_str()))
        .and_then(|details| details.digest("certificate", issued.thumbprint));
    record(&offline, "component.added", details)?;
    let known = KnownCertificate { thumbprint: hex::encode(issued.thumbprint), expires: issued.expires };
    let component = Components(&documents).add(&name, role, known, now)?;
    offline.log.close().map_err(|error| from_audit(&error))?;
    Ok(ComponentReport { component: (&component).into(), uri: uri.to_string(), certificate, key, ca })
}

/// With what the server shows other processes of its organisation who it is: a fresh certificate, whose key never touches a
/// disk.
pub(crate) fn own_certificate(
    documents: &dyn MetadataStore,
    environment_id: &str,
    environment: &Environment,
    now: Instant,
) -> Result<Issued, ServerError> {
    let key = documents.read(setting::KIND, setting::AUTHORITY_KEY).map_err(|error| from_store(&error))?;
    let authority = Authority::new(environment_id, Zeroizing::new(key.ok_or_else(internal)?.body));
    let uri = ComponentUri::new(environment_id, environment.clone(), ComponentName::server());
    authority.component_certificate(&uri, now)
}

/// The components of a data folder by name, revoked ones included. No server may run on the folder.
pub fn components(folder: &Path) -> Result<Vec<ComponentView>, ServerError> {
    let offline = Offline::open(folder)?;
    let documents = documents(folder, &offline)?;
    Ok(Components(&documents).list()?.iter().map(ComponentView::from).collect())
}

/// Ends a component: from the next start on its certificates are refused. No server may run on the folder.
pub fn revoke_component(folder: &Path, name: &str) -> Result<ComponentView, ServerError> {
    let name = ComponentName::parse(name)?;
    let offline = Offline::open(folder)?;
    let documents = documents(folder, &offline)?;
    let component = Components(&documents).revoke(&name, offline.platform.clock.now())?;
    record(&offline, "component.revoked", Details::none().name("component", name.as_str()))?;
    offline.log.close().map_err(|error| from_audit(&error))?;
    Ok((&component).into())
}

pub(crate) fn documents(folder: &Path, offline: &Offline) -> Result<SqliteStore, ServerError> {
    let opened = SqliteStore::open(folder.join("metadata.sqlite"), offline.key.clone());
    opened.map_err(|error| ServerError::from(from_store(&error)))
}

fn record(
    offline: &Offline,
    name: &'static str,
    details: Result<Details, creta_audit::AuditError>,
) -> Result<(), ServerError> {
    let place = Place::Environment(offline.config.environment.clone());
    let recorded = details.and_then(|details| offline.log.record(Event::new(name, place).with(details)));
    recorded.map(drop).map_err(|error| from_audit(&error).into())
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ServerError> {
    let failed = |source| ServerError::Io { action: "write", path: path.to_owned(), source };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}
