//! A session on a device: the device says with its key that the session is its own.

use creta_model::Instant;
use serde::{Deserialize, Serialize};

use super::nonce::Nonces;
use super::signed::Signed;
use super::{Device, DeviceError};
use crate::key::Thumbprint;

const FORMAT: &str = "creta.session-device/1";

/// What a device signs to take a session on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    format: String,
    device: Thumbprint,
    session: String,
    nonce: String,
}

impl Binding {
    /// That `session` runs on `device`, for a nonce that the server gave to the device.
    pub fn new(device: Thumbprint, session: &str, nonce: &str) -> Self {
        Self { format: FORMAT.to_owned(), device, session: session.to_owned(), nonce: nonce.to_owned() }
    }
}

impl Device {
    /// Whether this device said, now, that `session` is its own.
    pub fn takes_on(
        &self,
        signed: &Signed,
        session: &str,
        nonces: &mut Nonces,
        now: Instant,
    ) -> Result<(), DeviceError> {
        if self.revoked.is_some() {
            return Err(DeviceError::Revoked);
        }
        let binding: Binding = signed.unverified()?;
        if binding.format != FORMAT {
            return Err(DeviceError::Malformed);
        }
        if binding.device != self.id || binding.session != session {
            return Err(DeviceError::OtherDevice);
        }
        signed.verify(&self.key)?;
        nonces.take(&binding.nonce, self.id.as_str(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Enrolment, Platform};
    use crate::key::{KeyKind, SigningKey};

    #[test]
    fn attack_ch18_a_session_is_taken_on_by_the_device_itself_once_and_no_other_session() {
        let now = Instant::parse("2026-01-01T12:00:00Z").expect("valid");
        let mut nonces = Nonces::default();
        let key = |seed| SigningKey::from_random(KeyKind::P256, &[seed; 32]);
        let nonce = nonces.give("ana", &[1; 32], now);
        let enrolment = Enrolment::new("laptop", Platform::Linux, None, key(7).public(), &nonce, None);
        let mut device = Device::enrol(&enrolment.sign(&key(7)), "ana", &[], &mut nonces, now).expect("enrols");
        let id = device.id.clone();
        let nonce = nonces.give(id.as_str(), &[2; 32], now);
        let binding = Binding::new(id.clone(), "s1", &nonce);
        let good = Signed::make(&binding, &key(7));

        assert_eq!(device.takes_on(&good, "s2", &mut nonces, now), Err(DeviceError::OtherDevice));
        let forged = Signed::make(&binding, &key(8));
        assert_eq!(device.takes_on(&forged, "s1", &mut nonces, now), Err(DeviceError::Signature));
        assert_eq!(device.takes_on(&good, "s1", &mut nonces, now), Ok(()));
        assert_eq!(device.takes_on(&good, "s1", &mut nonces, now), Err(DeviceError::Nonce), "once");
        let unasked = Signed::make(&Binding::new(id, "s1", "n"), &key(7));
        assert_eq!(device.takes_on(&unasked, "s1", &mut nonces, now), Err(DeviceError::Nonce));
        device.revoke(now);
        assert_eq!(device.takes_on(&good, "s1", &mut nonces, now), Err(DeviceError::Revoked));
    }

    #[test]
    fn attack_ch18_a_session_is_not_taken_on_late_or_in_another_form() {
        let now = Instant::parse("2026-01-01T12:00:00Z").expect("valid");
        let mut nonces = Nonces::default();
        let key = SigningKey::from_random(KeyKind::P256, &[7; 32]);
        let nonce = nonces.give("ana", &[1; 32], now);
        let enrolment = Enrolment::new("laptop", Platform::Linux, None, key.public(), &nonce, None);
        let device = Device::enrol(&enrolment.sign(&key), "ana", &[], &mut nonces, now).expect("enrols");
        let nonce = nonces.give(device.id.as_str(), &[2; 32], now);
        let binding = Binding::new(device.id.clone(), "s1", &nonce);
        let late = now.plus(creta_model::Span::seconds(600));
        assert_eq!(device.takes_on(&Signed::make(&binding, &key), "s1", &mut nonces, late), Err(DeviceError::Nonce));
        let nonce = nonces.give(device.id.as_str(), &[3; 32], now);
        let binding = serde_json::to_value(Binding::new(device.id.clone(), "s1", &nonce)).expect("JSON");
        for (name, value) in [("format", "creta.session-device/0"), ("format", "creta.posture/1"), ("trusted", "yes")] {
            let mut other = binding.clone();
            other[name] = value.into();
            let taken = device.takes_on(&Signed::make(&other, &key), "s1", &mut nonces, now);
            assert_eq!(taken, Err(DeviceError::Malformed), "{name} {value}");
        }
        assert_eq!(device.takes_on(&Signed::make(&binding, &key), "s1", &mut nonces, now), Ok(()));
    }
}
