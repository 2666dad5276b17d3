//! A browser on a device: the device says with its key that the browser runs on it.
//!
//! Browsers keep their keys where other programs can reach them, and cannot ask a TPM. So the computer they run on vouches for
//! one session of theirs: it signs for whom, in which environment, for which key of the browser, and with a word that the server
//! told that session alone, so that the browser has to be where the device is.

use creta_model::{Environment, Instant};
use serde::{Deserialize, Serialize};

use super::nonce::Nonces;
use super::signed::Signed;
use super::{Device, DeviceError};
use crate::key::Thumbprint;

const FORMAT: &str = "creta.browser-device/1";

/// The session of a browser, with all that must not be another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrowserSession {
    /// Where.
    pub environment: Environment,
    /// Whose.
    pub person: String,
    /// Its id.
    pub session: String,
    /// Of the key that the browser made.
    pub key: Thumbprint,
    /// What the server told the browser, and the browser its computer.
    pub word: String,
}

/// What a device signs to vouch for a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vouching {
    format: String,
    device: Thumbprint,
    browser: BrowserSession,
    nonce: String,
}

impl Vouching {
    /// That `browser` runs on `device`, for a nonce that the server gave to the device.
    pub fn new(device: Thumbprint, browser: BrowserSession, nonce: &str) -> Self {
        Self { format: FORMAT.to_owned(), device, browser, nonce: nonce.to_owned() }
    }
}

impl Device {
    /// Whether this device said, now, that exactly `browser` runs on it. A device vouches for nobody but its owner. The word
    /// is for the caller to take once.
    pub fn vouches_for(
        &self,
        signed: &Signed,
        browser: &BrowserSession,
        nonces: &mut Nonces,
        now: Instant,
    ) -> Result<(), DeviceError> {
        if self.revoked.is_some() {
            return Err(DeviceError::Revoked);
        }
        let vouching: Vouching = signed.unverified()?;
        if vouching.format != FORMAT {
            return Err(DeviceError::Malformed);
        }
        if vouching.device != self.id || browser.person != self.person {
            return Err(DeviceError::OtherDevice);
        }
        if vouching.browser != *browser {
            return Err(DeviceError::OtherBrowser);
        }
        signed.verify(&self.key)?;
        nonces.take(&vouching.nonce, self.id.as_str(), now)
    }
}

#[cfg(test)]
mod tests {
    use creta_model::Span;

    use super::*;
    use crate::device::{Binding, Enrolment, Platform};
    use crate::key::{KeyKind, SigningKey};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_random(KeyKind::P256, &[seed; 32])
    }

    fn browser() -> BrowserSession {
        BrowserSession {
            environment: Environment::parse("prod").expect("valid"),
            person: "ana".to_owned(),
            session: "s1".to_owned(),
            key: key(1).public().thumbprint(),
            word: "w1".to_owned(),
        }
    }

    fn fixture() -> (Device, Nonces, Instant) {
        let now = Instant::parse("2026-01-01T12:00:00Z").expect("valid");
        let mut nonces = Nonces::default();
        let nonce = nonces.give("ana", &[1; 32], now);
        let enrolment = Enrolment::new("laptop", Platform::Linux, None, key(7).public(), &nonce, None);
        let device = Device::enrol(&enrolment.sign(&key(7)), "ana", &[], &mut nonces, now).expect("enrols");
        (device, nonces, now)
    }

    #[test]
    fn attack_ch18_a_device_vouches_for_a_browser_once() {
        let (mut device, mut nonces, now) = fixture();
        let nonce = nonces.give(device.id.as_str(), &[2; 32], now);
        let good = Signed::make(&Vouching::new(device.id.clone(), browser(), &nonce), &key(7));
        assert_eq!(device.vouches_for(&good, &browser(), &mut nonces, now), Ok(()));
        assert_eq!(device.vouches_for(&good, &browser(), &mut nonces, now), Err(DeviceError::Nonce), "once");
        let nonce = nonces.give(device.id.as_str(), &[3; 32], now);
        let good = Signed::make(&Vouching::new(device.id.clone(), browser(), &nonce), &key(7));
        device.revoke(now);
        assert_eq!(device.vouches_for(&good, &browser(), &mut nonces, now), Err(DeviceError::Revoked));
    }

    type Change = fn(&mut BrowserSession);

    #[test]
    fn attack_ch18_a_device_vouches_for_no_other_browser_person_environment_key_or_word() {
        let (device, mut nonces, now) = fixture();
        let nonce = nonces.give(device.id.as_str(), &[2; 32], now);
        let good = Signed::make(&Vouching::new(device.id.clone(), browser(), &nonce), &key(7));
        let others: [(&str, Change); 4] = [
            ("environment", |other| other.environment = Environment::parse("staging").expect("valid")),
            ("session", |other| other.session = "s2".to_owned()),
            ("key", |other| other.key = key(2).public().thumbprint()),
            ("word", |other| other.word = "w2".to_owned()),
        ];
        for (name, change) in others {
            let mut other = browser();
            change(&mut other);
            assert_eq!(
                device.vouches_for(&good, &other, &mut nonces, now),
                Err(DeviceError::OtherBrowser),
                "another {name}"
            );
        }
        // Its own key says something about somebody else's browser: a device vouches for its owner alone.
        let of_eve = BrowserSession { person: "eve".to_owned(), ..browser() };
        let signed = Signed::make(&Vouching::new(device.id.clone(), of_eve.clone(), &nonce), &key(7));
        assert_eq!(device.vouches_for(&signed, &of_eve, &mut nonces, now), Err(DeviceError::OtherDevice));
        let other = Vouching::new(key(8).public().thumbprint(), browser(), &nonce);
        let signed = Signed::make(&other, &key(7));
        assert_eq!(device.vouches_for(&signed, &browser(), &mut nonces, now), Err(DeviceError::OtherDevice));
        let forged = Signed::make(&Vouching::new(device.id.clone(), browser(), &nonce), &key(8));
        assert_eq!(device.vouches_for(&forged, &browser(), &mut nonces, now), Err(DeviceError::Signature));
        assert_eq!(
            device.vouches_for(&good, &browser(), &mut nonces, now),
            Ok(()),
            "nothing of this used the nonce up"
        );
    }

    #[test]
    fn attack_ch18_a_device_vouches_for_no_browser_late_or_in_another_form() {
        let (device, mut nonces, now) = fixture();
        let nonce = nonces.give(device.id.as_str(), &[2; 32], now);
        let vouching = Vouching::new(device.id.clone(), browser(), &nonce);
        let late = now.plus(Span::seconds(600));
        let taken = device.vouches_for(&Signed::make(&vouching, &key(7)), &browser(), &mut nonces, late);
        assert_eq!(taken, Err(DeviceError::Nonce));

        let nonce = nonces.give(device.id.as_str(), &[3; 32], now);
        let document = serde_json::to_value(Vouching::new(device.id.clone(), browser(), &nonce)).expect("JSON");
        for (name, value) in [("format", "creta.session-device/1"), ("format", "creta.posture/1"), ("until", "2030")] {
            let mut other = document.clone();
            other[name] = value.into();
            let taken = device.vouches_for(&Signed::make(&other, &key(7)), &browser(), &mut nonces, now);
            assert_eq!(taken, Err(DeviceError::Malformed), "{name} {value}");
        }
        // What the device signs about its own sessions says nothing about a browser's, nor the other way round.
        let binding = Signed::make(&Binding::new(device.id.clone(), "s1", &nonce), &key(7));
        assert_eq!(device.vouches_for(&binding, &browser(), &mut nonces, now), Err(DeviceError::Malformed));
        let vouching = Signed::make(&document, &key(7));
        assert_eq!(device.takes_on(&vouching, "s1", &mut nonces, now), Err(DeviceError::Malformed));
        assert_eq!(device.vouches_for(&vouching, &browser(), &mut nonces, now), Ok(()));
    }
}
