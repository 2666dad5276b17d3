//! Reports of a device about itself, and of management tools about it.

use creta_model::{Instant, Span};
use serde::{Deserialize, Serialize};

use super::nonce::{NONCE_MINUTES, Nonces};
use super::posture::Posture;
use super::search::{LatestSearch, Searched};
use super::signed::Signed;
use super::{Device, DeviceError};
use crate::key::Thumbprint;

const FORMAT: &str = "creta.posture/1";
/// How far a device's clock may be from ours.
const LEEWAY_SECONDS: u32 = 60;

/// Who says how a device is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The device, signed.
    Agent,
    /// osquery, through the organisation's fleet.
    Osquery,
    /// The organisation's device management.
    Mdm,
}

/// What a device says about how it is set up: `creta.posture/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    format: String,
    device: Thumbprint,
    nonce: String,
    /// Only grows. The device stores the next one before it sends a report, so that none is ever used twice.
    sequence: u64,
    made: Instant,
    posture: Posture,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    search: Option<Searched>,
}

impl Report {
    /// What a device signs (see [`Signed::make`]).
    pub fn new(device: Thumbprint, nonce: &str, sequence: u64, made: Instant, posture: Posture) -> Self {
        Self { format: FORMAT.to_owned(), device, nonce: nonce.to_owned(), sequence, made, posture, search: None }
    }

    /// The same with what a search for planted values found.
    #[must_use]
    pub fn with_search(self, search: Searched) -> Self {
        Self { search: Some(search), ..self }
    }
}

/// The latest report of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    pub(super) made: Instant,
    pub(super) source: Source,
    pub(super) posture: Posture,
}

impl Device {
    /// Takes a report that the device signed, where no search was asked for. Store the device also when it is refused: a cloned
    /// one was revoked.
    pub fn report(&mut self, signed: &Signed, nonces: &mut Nonces, now: Instant) -> Result<(), DeviceError> {
        self.report_asked(signed, nonces, |_| false, now)
    }

    /// As [`report`](Self::report), where `asked` tells whether a search of this digest was asked for lately.
    pub fn report_asked(
        &mut self,
        signed: &Signed,
        nonces: &mut Nonces,
        asked: impl FnOnce(&str) -> bool,
        now: Instant,
    ) -> Result<(), DeviceError> {
        if self.revoked.is_some() {
            return Err(DeviceError::Revoked);
        }
        let report: Report = signed.unverified()?;
        if report.format != FORMAT {
            return Err(DeviceError::Malformed);
        }
        if report.device != self.id {
            return Err(DeviceError::OtherDevice);
        }
        signed.verify(&self.key)?;
        nonces.take(&report.nonce, self.id.as_str(), now)?;
        // Whoever answers a nonce with the key and an old number has the key, and is not the device that counted on.
        if report.sequence <= self.sequence {
            self.revoke(now);
            return Err(DeviceError::Cloned);
        }
        self.sequence = report.sequence;
        let oldest = now.minus(Span::seconds(NONCE_MINUTES * 60 + LEEWAY_SECONDS));
        if report.made < oldest || report.made > now.plus(Span::seconds(LEEWAY_SECONDS)) {
            return Err(DeviceError::Time);
        }
        if report.posture.platform != self.platform {
            return Err(DeviceError::OtherDevice);
        }
        if let Some(search) = report.search {
            if !asked(&search.asked) {
                return Err(DeviceError::Search);
            }
            self.searched = Some(LatestSearch::after(self.searched.as_ref(), report.made, &search));
        }
        self.latest = Some(Accepted { made: report.made, source: Source::Agent, posture: report.posture });
        Ok(())
    }

    /// Takes what a management tool says about the device; older than what is known is passed over, and whether it was
    /// taken is returned. `serial` is how the tool names it.
    pub fn import(
        &mut self,
        serial: &str,
        source: Source,
        collected: Instant,
        posture: Posture,
        now: Instant,
    ) -> Result<bool, DeviceError> {
        if self.revoked.is_some() {
            return Err(DeviceError::Revoked);
        }
        if self.serial.as_deref() != Some(serial) || posture.platform != self.platform {
            return Err(DeviceError::OtherDevice);
        }
        if collected > now.plus(Span::seconds(LEEWAY_SECONDS)) {
            return Err(DeviceError::Time);
        }
        let newer = self.reported().is_none_or(|latest| collected > latest);
        if newer {
            self.latest = Some(Accepted { made: collected, source, posture });
        }
        Ok(newer)
    }
}
