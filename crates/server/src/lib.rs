//! The server: HTTP over TLS in front of the engine, and the control plane of one environment.
//!
//! One request, in the order of the modules: the listener speaks TLS only (`tls`, `server`); limits apply before anything
//! is read (`http`, `limits`); the bearer token says who asks (`tokens`, `accounts`); the policies decide, the audit log
//! records, and only then does a handler get a permit and an engine (`context`, `routes`); what goes wrong is one
//! `Problem` (`problem`). Python that is not compiled runs in worker processes of its tenant (`workers`).
//!
//! The scope of a request comes from its token. Headers, bodies and query strings name no tenant, except where an
//! administrator manages the tenants of the own environment.
//!
//! ```no_run
//! use creta_model::Environment;
//! use creta_server::{InitOptions, ServeOptions, init, serve};
//!
//! let folder = std::path::Path::new("/var/lib/creta");
//! let report = init(folder, &Environment::parse("prod")?, &InitOptions::default())?;
//! let options = ServeOptions { folder: report.folder, listen: None };
//! serve(&options, |server| eprintln!("{}", server.url()))?; // Until SIGTERM.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accounts;
mod acme;
mod arrow_body;
mod at_once;
mod backup;
mod canaries;
mod components;
mod config;
mod context;
mod control_plane;
mod copied;
mod cores;
mod data_folder;
mod data_policy;
mod definition_text;
mod disclosure;
mod environments;
#[cfg(test)]
mod epoch_tests;
mod epochs;
mod error;
mod failures;
mod hosting;
mod http;
#[cfg(test)]
mod in_process;
pub mod intake;
pub mod limits;
mod logging;
mod metrics;
mod openapi;
mod people;
mod placed;
mod planted;
mod policies;
mod problem;
mod recovery;
mod register;
mod restore;
mod routes;
mod scopes;
mod seen;
mod server;
mod signatures;
#[cfg(test)]
mod tenant_tests;
#[cfg(test)]
#[path = "../../identity/src/timing.rs"]
mod timing;
#[cfg(test)]
mod timing_tests;
mod tls;
mod tokens;
mod trust;
mod turns;
mod two_people;
mod watched;
pub mod witness;
mod workers;

pub use acme::AcmeConfig;
pub use backup::{
    BACKUP_FORMAT, BackupFile, BackupHead, BackupManifest, HEAD_BYTES_MAX, LeftOut, MANIFEST_FILE, VerifiedBackup,
    verify_backup,
};
pub use components::{ComponentReport, ComponentView, add_component, components, revoke_component};
pub use config::{CONFIG_FORMAT, ComponentsConfig, Config, IntakeConfig, LISTEN_DEFAULT, WitnessConfig, WorkerConfig};
pub use data_folder::{Credential, InitOptions, InitReport, init};
pub use disclosure::{SinkConfig, StatisticsConfig};
pub use environments::{EnvironmentFingerprint, FINGERPRINT_FORMAT, fingerprint};
pub use error::ServerError;
pub use logging::init_logging;
pub use openapi::document_text as openapi_document;
pub use recovery::{Appointment, accept_older, add_witness, appoint, declare_fork};
pub use restore::{AskedRecovery, Recovered, draw_recovery, recover};
pub use server::{RunningServer, ServeOptions, serve, start, start_by};
pub use tls::{CIPHER_SUITES, CertificateFiles, ComponentRole, provider as tls_provider};
pub use workers::resolvers_of;
