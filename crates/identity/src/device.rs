//! Devices that people work from: enrolled by a key, reporting how they are set up, judged against the organisation's
//! standard at each use.
//!
//! A device is its key. One that a TPM holds, proven by the TPM's own statement, is trusted; a key in a file can be copied
//! and is of low assurance, whatever it claims. Phones and tablets cannot be enrolled: there is no platform for them.
//!
//! A report is signed by the device, answers a nonce of the server, has a number that only grows, and counts for a day. A
//! number that was seen before, over a fresh nonce, means that there are two devices with one key: both are suspended.

mod binding;
mod browser;
mod enrolment;
pub mod linux;
pub mod mdm;
mod nonce;
pub mod osquery;
mod posture;
mod report;
mod search;
mod signed;
mod standard;
mod tpm;

use creta_model::Instant;
use serde::{Deserialize, Serialize};

pub use binding::Binding;
pub use browser::{BrowserSession, Vouching};
pub use enrolment::Enrolment;
pub use nonce::{NONCE_MINUTES, NONCES_MAX, Nonces};
pub use posture::{Package, Platform, Posture, State};
pub use report::{Report, Source};
pub use search::{CANARY_BYTES, CANARY_PREFIX, LatestSearch, SearchAsked, SearchFor, Searched, Searching, canary};
pub use signed::Signed;
pub use standard::{Approved, Finding, Item, Standard, Trust};
pub use tpm::{TpmEvidence, tpm_key};

use crate::key::{PublicKey, Thumbprint};

/// Why a device or its report was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Not a document of this format, or one with unknown members.
    #[error("the document cannot be read; update the `creta` command on that device")]
    Malformed,
    /// The signature is not the device's.
    #[error("the document is not signed by this device's key")]
    Signature,
    /// A phone, a tablet, or something that nobody knows.
    #[error("`{platform}` cannot be enrolled: production is reached from linux, macos and windows only")]
    Platform {
        /// What it said it is, if that is a known mobile platform; `this platform` otherwise.
        platform: String,
    },
    /// A name without letters, or too long.
    #[error("name the device with 1 to 64 letters, digits, blanks, dots or dashes")]
    Name,
    /// The nonce was used, is too old, or was given for something else.
    #[error("the document answers no question of this server; ask for a new nonce")]
    Nonce,
    /// Somebody else's key or device.
    #[error("the document is about another device")]
    OtherDevice,
    /// Not the browser that asked for it.
    #[error("the document is about another browser than the one that asked; begin again")]
    OtherBrowser,
    /// What a TPM said about the key is not believed.
    #[error("the proof that a TPM holds the key is refused: {why}")]
    Tpm {
        /// Why.
        why: &'static str,
    },
    /// Made too long ago, or in the future.
    #[error("the report was not made now; check this computer's clock")]
    Time,
    /// Two devices have one key.
    #[error("this device's key exists twice; it is suspended, enrol the device again")]
    Cloned,
    /// A search for something else than was asked, or none where nothing was asked.
    #[error("the search in the report is not the one that this server asked for; report again")]
    Search,
    /// Suspended or revoked before.
    #[error("this device is no longer enrolled; enrol it again")]
    Revoked,
    /// An export that cannot be read; nothing of it is taken.
    #[error("the export cannot be read: {why}")]
    Export {
        /// Where and why, without values.
        why: String,
    },
}

impl DeviceError {
    /// The promise that a refusal keeps.
    pub const fn commitment(&self) -> &'static str {
        match self {
            Self::Platform { .. } => "CH-16",
            Self::Search => "CH-14",
            _ => "CH-18",
        }
    }
}

/// Where a device's key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyStorage {
    /// In a TPM, which said so itself.
    Tpm,
    /// In a file, or nobody knows.
    Software,
}

/// An enrolled device. Kept by the server, sealed; changes have to be stored before anything is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Thumbprint of its key.
    pub id: Thumbprint,
    /// Whose it is.
    pub person: String,
    /// What its owner calls it.
    pub name: String,
    /// What it runs.
    pub platform: Platform,
    /// Where its key is.
    pub storage: KeyStorage,
    /// As the manufacturer wrote it: how exports of other tools name the device.
    pub serial: Option<String>,
    /// When it was enrolled.
    pub enrolled: Instant,
    /// Since when it counts no more.
    pub revoked: Option<Instant>,
    key: PublicKey,
    /// Of the latest report; 0 before the first.
    sequence: u64,
    /// The latest report.
    latest: Option<report::Accepted>,
    /// The latest search for planted values; what other tools say of the device leaves it as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    searched: Option<LatestSearch>,
}

impl Device {
    /// When its latest report was made.
    pub fn reported(&self) -> Option<Instant> {
        self.latest.as_ref().map(|latest| latest.made)
    }

    /// How it is set up, by its latest report.
    pub fn posture(&self) -> Option<&Posture> {
        self.latest.as_ref().map(|latest| &latest.posture)
    }

    /// What the latest search for planted values found.
    pub fn searched(&self) -> Option<&LatestSearch> {
        self.searched.as_ref()
    }

    /// Who says so.
    pub fn source(&self) -> Option<Source> {
        self.latest.as_ref().map(|latest| latest.source)
    }

    /// Ends it: it was lost, or its owner left.
    pub fn revoke(&mut self, now: Instant) {
        self.revoked.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests;
