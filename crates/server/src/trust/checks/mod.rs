//! The checks: each looks at the running server from outside, and first proves that it can turn red.

mod apart;
mod artefacts;
mod break_glass;
mod clock;
mod devices;
mod evidence;
mod factors;
mod files;
mod grants;
mod inventory;
mod isolation;
mod keys;
mod least;
mod log;
mod peers;
mod people;
mod permits;
mod public;
mod restores;
mod reviews;
mod sealed;
mod searches;
mod serving;
mod sign_on;
mod staff;
mod standing;
mod surroundings;
mod text;
mod tls;
mod witness;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use creta_compliance::{Finding, Observation};

use crate::http::App;
use crate::trust::client::Client;
use crate::trust::probes::Probes;

/// What checks look at.
pub(crate) struct World<'a> {
    pub(crate) app: &'a App,
    pub(crate) folder: &'a Path,
    pub(crate) address: SocketAddr,
    pub(crate) client: &'a Client,
    pub(crate) probes: &'a Probes,
    /// How far wall clock and monotonic clock have run apart since the server started.
    pub(crate) clock_drift: Duration,
}

/// A check. `Err` means that it could not look, which is never a pass.
pub(crate) trait Check: Sync {
    /// Its id in the registry.
    fn id(&self) -> &'static str;
    /// Plants a fault where it harms nobody, looks at it as at the real thing, and tells whether it was noticed.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String>;
    /// Looks at everything there is.
    fn observe(&self, world: &World<'_>) -> Result<Observation, String>;
}

/// All checks, in the order in which they run.
pub(crate) static CHECKS: &[&dyn Check] = &[
    &clock::Clock,
    &inventory::Inventory,
    &tls::TlsListeners,
    &peers::TlsPeers,
    &peers::ForeignPeers,
    &permits::RoutePermits,
    &standing::StandingAccess,
    &staff::StaffValues,
    &staff::CoreFiles,
    &grants::AccessGrants,
    &isolation::Isolation,
    &keys::KeyHierarchy,
    &people::OrphanAccounts,
    &devices::DevicePosture,
    &devices::PasswordManagers,
    &devices::MobileDevices,
    &searches::WorkstationValues,
    &reviews::AccessReviews,
    &sign_on::SingleSignOn,
    &factors::SecondFactors,
    &factors::Passwords,
    &break_glass::EmergencyAccount,
    &restores::Restores,
    &least::RoleNeeds,
    &least::UnusedRights,
    &apart::EnvironmentIdentity,
    &surroundings::EnvironmentNetworks,
    &surroundings::EnvironmentAccount,
    &apart::TenantStores,
    &apart::MetadataValues,
    &files::FileRefusals,
    &sealed::SealedBytes,
    &log::LogIntegrity,
    &witness::LogWitness,
    &evidence::EvidenceIntegrity,
    &artefacts::Artefacts,
    &text::PublicText,
    &public::SecurityTxt,
    &public::ReportIntake,
    &serving::Serving,
];

/// An observation under construction.
#[derive(Default)]
pub(crate) struct Seen(Observation);

impl Seen {
    pub(crate) fn subject(&mut self, subject: impl Into<String>) {
        self.0.subjects.insert(subject.into());
    }

    pub(crate) fn finding(&mut self, subject: &str, code: &str, says: impl Into<String>) {
        self.0.findings.push(Finding::new(subject, code, says));
    }

    fn raw(mut self, raw: serde_json::Value) -> Observation {
        self.0.raw = raw;
        self.0
    }
}
