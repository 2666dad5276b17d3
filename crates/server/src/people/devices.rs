//! Devices that people work from: enrolled, reporting, worth something at each request. Their rules stand in
//! `creta_identity::device`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use creta_audit::{Details, Event};
use creta_iam::{DeviceTrust, Principal};
use creta_identity::device::{Device, DeviceError, Nonces, SearchAsked, Signed, Source, Standard, Trust, canary, mdm};
use creta_model::{Instant, Problem, Span, TenantId};
use creta_programme::{PersonRef, RecordId};
use creta_proof::Hash;
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};

use super::vouched::Offers;
use super::{People, PersonRecord, Session};
use crate::config::DeviceConfig;
use crate::control_plane::ControlPlane;
use crate::problem::from_audit;
use crate::register::{Record, Register};

const FORMAT: &str = "creta.device/1";
/// Most devices of one person that count at the same time.
const DEVICES_MAX: usize = 10;
/// Separates planted values, and the keys of searches for them, from all other keyed hashes.
const CANARY_DOMAIN: &str = "planted value";
const SEARCH_DOMAIN: &str = "search for planted values";
/// How long a search may take, in hours.
const SEARCH_HOURS: u32 = 6;

/// A device as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceRecord {
    format: String,
    pub(crate) device: Device,
}

impl Record for DeviceRecord {
    const KIND: &'static str = "device";

    fn id(&self) -> String {
        self.device.id.as_str().to_owned()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|record| record.format == FORMAT)
    }
}

/// All devices, and what is asked of them.
pub(crate) struct Devices {
    devices: Register<DeviceRecord>,
    config: Option<DeviceConfig>,
    nonces: Mutex<Nonces>,
    /// Browsers that wait for their computer's word.
    pub(super) offers: Offers,
}

/// What became of an export.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Imported {
    /// Devices that it says something new about.
    pub(crate) taken: usize,
    /// Devices of ours about which something newer was known.
    pub(crate) older: usize,
    /// Rows about devices that are not enrolled.
    pub(crate) unknown: usize,
    /// Rows about devices of whoever brings them, which were left out.
    pub(crate) own: usize,
}

impl Devices {
    pub(super) fn open(metadata: Arc<dyn MetadataStore>, config: Option<DeviceConfig>) -> Result<Self, Problem> {
        let devices = Register::load(metadata)?;
        Ok(Self { devices, config, nonces: Mutex::default(), offers: Offers::default() })
    }

    /// What a device has to be like.
    pub(crate) fn require_standard(&self) -> Result<&Standard, Problem> {
        self.config.as_ref().map(|config| &config.standard).ok_or_else(|| {
            Problem::new(
                "not-found/device-standard",
                "this server has no standard for devices, so none can be enrolled",
            )
            .with_help("add `[devices.standard]` to `config.toml`")
        })
    }

    /// What the device of a session is worth now. One look-up and some comparisons.
    pub(super) fn trust(&self, session: &Session, now: Instant) -> DeviceTrust {
        let Some(id) = session.device_now(now) else { return DeviceTrust::None };
        let own = |record: &DeviceRecord| record.device.person == session.person.as_str();
        let worth = |record: &DeviceRecord| own(record).then(|| self.worth(&record.device, now));
        self.devices.with(id, worth).flatten().unwrap_or(DeviceTrust::None)
    }

    /// What a device is worth, as policies call it.
    pub(crate) fn worth(&self, device: &Device, now: Instant) -> DeviceTrust {
        self.judge(device, now).map_or(DeviceTrust::None, |trust| degree(&trust))
    }

    /// The enrolled device of a person that has this key.
    pub(super) fn of_key(&self, thumbprint: &str, person: &str) -> Option<String> {
        let counts = |record: &DeviceRecord| record.device.person == person && record.device.revoked.is_none();
        self.devices.with(thumbprint, counts).unwrap_or(false).then(|| thumbprint.to_owned())
    }

    /// All devices that have not ended, by id.
    pub(crate) fn living(&self) -> Vec<Device> {
        self.devices.list(|record| record.device.revoked.is_none()).into_iter().map(|record| record.device).collect()
    }

    /// What enrolling would make of a document that a person's device signed; nothing is kept.
    pub(crate) fn examine(&self, signed: &Signed, person: &str, now: Instant) -> Result<Device, DeviceError> {
        let attesters = self.config.as_ref().map(|config| config.attesters.as_slice()).unwrap_or_default();
        Device::enrol(signed, person, attesters, &mut self.lock(), now)
    }

    /// What a device is worth, and why it is not worth more.
    pub(crate) fn judge(&self, device: &Device, now: Instant) -> Option<Trust> {
        self.config.as_ref().map(|config| config.standard.trust(device, now))
    }

    /// A nonce for a person who enrols, or a device of theirs that says something.
    pub(crate) fn nonce(&self, control: &ControlPlane, who: &str, now: Instant) -> String {
        let mut random = [0; 32];
        control.platform().random.fill(&mut random);
        self.lock().give(who, &random, now)
    }

    /// What a device is asked to search for within an hour, before its next report; none where the standard asks for no
    /// search.
    pub(crate) fn search_asked(&self, control: &ControlPlane, device: &str, at: Instant) -> Option<SearchAsked> {
        let search = self.config.as_ref()?.standard.search.as_ref()?;
        let hour = at.micros().div_euclid(3_600_000_000).to_be_bytes();
        let key = control.own_key().mac(SEARCH_DOMAIN, &[device.as_bytes(), &hour]);
        let tenants = control.tenants();
        let canaries = tenants.iter().map(|tenant| canary_of(control, &tenant.tenant));
        let earlier = tenants.iter().flat_map(|tenant| {
            let generations = control.canaries().earlier(&tenant.tenant, at).into_iter();
            generations.map(|generation| canary_of_generation(control, &tenant.tenant, generation))
        });
        Some(SearchAsked::new(&search.folders, &key, canaries).with_earlier(&key, earlier))
    }

    /// The devices of a person, revoked ones included, by id.
    pub(crate) fn of(&self, person: &str) -> Vec<Device> {
        self.devices.list(|record| record.device.person == person).into_iter().map(|record| record.device).collect()
    }

    pub(crate) fn find(&self, id: &str) -> Option<Device> {
        self.devices.find(id).map(|record| record.device)
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a device; gives what it was and what it is. What does not change is not written again.
    fn change(&self, id: &str, change: impl FnOnce(&mut Device)) -> Result<(Device, Device), Problem> {
        let mut was = None;
        let changed = self.devices.change(id, |record| {
            let mut changed = record.clone();
            change(&mut changed.device);
            was = Some(record.device.clone());
            if changed.device == record.device { Err(None) } else { Ok(changed) }
        });
        let was = was.ok_or_else(|| no_device(id))?;
        match changed {
            Ok(Some(record)) => Ok((was, record.device)),
            Ok(None) => Err(no_device(id)),
            Err(Some(problem)) => Err(problem),
            Err(None) => Ok((was.clone(), was)),
        }
    }
}

/// The value that is planted for a tenant: in the data of the checks' own, and by its people wherever they like.
pub(crate) fn canary_of(control: &ControlPlane, tenant: &TenantId) -> String {
    canary_of_generation(control, tenant, control.canaries().generation(tenant))
}

fn canary_of_generation(control: &ControlPlane, tenant: &TenantId, generation: u64) -> String {
    let parts = [tenant.as_str().as_bytes(), &generation.to_be_bytes()];
    // The first is what it was before there were others.
    let parts = if generation == 0 { &parts[..1] } else { &parts[..] };
    let bytes = control.own_key().mac(CANARY_DOMAIN, parts);
    canary(bytes.first_chunk().expect("32 bytes begin with 16"))
}

/// How many files of a new search hold planted values, those that others took the place of included, if any do.
pub(crate) fn found_new(was: &Device, is: &Device) -> Option<u64> {
    let searched = is.searched().filter(|searched| was.searched().is_none_or(|earlier| earlier.made < searched.made));
    searched.map(|searched| searched.found + searched.found_earlier).filter(|found| *found > 0)
}

/// What the policies call it.
pub(crate) fn degree(trust: &Trust) -> DeviceTrust {
    match trust {
        Trust::None(_) => DeviceTrust::None,
        Trust::LowAssurance => DeviceTrust::LowAssurance,
        Trust::Trusted => DeviceTrust::Trusted,
    }
}

impl People {
    /// Enrols a device of the person who asks.
    pub(crate) fn enrol_device(
        &self,
        control: &ControlPlane,
        principal: &Principal,
        person: &PersonRecord,
        signed: &Signed,
        now: Instant,
    ) -> Result<Device, Problem> {
        self.devices.require_standard()?;
        let examined = self.devices.examine(signed, person.id.as_str(), now);
        let device = examined.map_err(|error| refused(control, principal, &error))?;
        let living = self.devices.devices.list(|record| record.device.revoked.is_none());
        // Exports name devices by serial: what one says about a good computer must not count for another.
        let same_serial = |record: &DeviceRecord| device.serial.is_some() && record.device.serial == device.serial;
        if living.iter().any(same_serial) {
            return Err(Problem::new("conflict/device", "another enrolled device has this serial number")
                .with_help("revoke that one first: `creta device revoke`"));
        }
        if living.iter().filter(|record| record.device.person == device.person).count() >= DEVICES_MAX {
            return Err(Problem::new("conflict/devices", format!("nobody has more than {DEVICES_MAX} devices"))
                .with_help("revoke one that you no longer use: `creta device revoke`"));
        }
        self.log_device("device.enrolled", control, Some(principal), &device, Details::none())?;
        let added = self.devices.devices.add(DeviceRecord { format: FORMAT.to_owned(), device })?;
        added.map(|record| record.device).ok_or_else(|| {
            Problem::new("conflict/device", "a device with this key is or was enrolled")
                .with_help("make a new key: `creta device enrol`")
        })
    }

    /// Takes a report that a device signed, whoever brings it. One key in two places ends the device. What the rules of
    /// devices refuse is for the caller to record.
    pub(crate) fn take_report(
        &self,
        control: &ControlPlane,
        id: &str,
        signed: &Signed,
        now: Instant,
    ) -> Result<Result<Device, DeviceError>, Problem> {
        let mut outcome = Ok(());
        // Kept also when it is refused: the number that was used, and the end of a device that exists twice.
        let asked = |digest: &str| {
            let hours = (0..SEARCH_HOURS).map(|ago| now.minus(Span::hours(ago)));
            let mut asked = hours.filter_map(|hour| self.devices.search_asked(control, id, hour));
            asked.any(|asked| asked.digest() == digest)
        };
        let (was, device) = self.devices.change(id, |device| {
            outcome = device.report_asked(signed, &mut self.devices.lock(), asked, now);
        })?;
        match outcome {
            Ok(()) => {
                self.log_device("device.reported", control, None, &device, Details::none())?;
                if let Some(found) = found_new(&was, &device) {
                    let earlier = device.searched().map_or(0, |searched| searched.found_earlier);
                    let details = Details::none().count("files", found);
                    let details = details.and_then(|details| details.count("earlier", earlier));
                    let details = details.map_err(|e| from_audit(&e))?;
                    self.log_device("device.values-found", control, None, &device, details)?;
                }
            }
            Err(DeviceError::Cloned) => {
                self.end_sessions_on(id, now)?;
                self.log_device("device.cloned", control, None, &device, Details::none())?;
            }
            Err(_) => {}
        }
        self.settle_device(control, &was, &device, now)?;
        Ok(outcome.map(|()| device))
    }

    /// A device that is worth less than before takes its sessions with it, and its owner's grants with them: they permit
    /// nothing without a device, and are there again when they sign in on one that is as it has to be.
    fn settle_device(&self, control: &ControlPlane, was: &Device, is: &Device, now: Instant) -> Result<(), Problem> {
        if self.devices.worth(is, now) >= self.devices.worth(was, now) {
            return Ok(());
        }
        let ended = self.end_sessions_on(is.id.as_str(), now)?;
        let holder = self.persons.find(&is.person);
        let suspended = holder.map_or(0, |person| self.access.held(&person.id, now).len());
        let details = Details::none()
            .count("sessions_ended", ended as u64)
            .and_then(|details| details.count("grants_suspended", suspended as u64))
            .map_err(|e| from_audit(&e))?;
        self.log_device("device.fell", control, None, is, details)
    }

    /// Puts a session on the device that says, with its key, that it is its own.
    pub(crate) fn bind_session(
        &self,
        control: &ControlPlane,
        principal: &Principal,
        session: &str,
        device: &Device,
        signed: &Signed,
        now: Instant,
    ) -> Result<Session, Problem> {
        let taken = device.takes_on(signed, session, &mut self.devices.lock(), now);
        taken.map_err(|error| refused(control, principal, &error))?;
        self.log_device("session.bound", control, Some(principal), device, Details::none())?;
        let bind = |session: &Session| Ok::<_, Problem>(session.on(device.id.as_str()));
        self.sessions.change(session, bind)?.ok_or_else(crate::problem::internal)
    }

    /// Ends a device and the sessions on it. Harmless when repeated.
    pub(crate) fn revoke_device(&self, id: &str, now: Instant) -> Result<Device, Problem> {
        let (_, device) = self.devices.change(id, |device| device.revoke(now))?;
        self.end_sessions_on(id, now)?;
        Ok(device)
    }

    /// As [`revoke_device`](Self::revoke_device), where a review decided so.
    pub(super) fn revoke_device_for_review(
        &self,
        control: &ControlPlane,
        id: &str,
        campaign: RecordId,
        now: Instant,
    ) -> Result<(), Problem> {
        let Some(device) = self.devices.find(id) else { return Ok(()) };
        if device.revoked.is_none() {
            let details = Details::none().name("campaign", campaign.to_string()).map_err(|e| from_audit(&e))?;
            self.log_device("device.revoked", control, None, &device, details)?;
        }
        self.revoke_device(id, now).map(drop)
    }

    /// Takes what a management tool says about devices that it names by serial, whoever brings it. What it says of the devices of
    /// `own` is left out: nobody vouches for the computer that they work from.
    pub(crate) fn import_posture(
        &self,
        control: &ControlPlane,
        (source, own): (Source, Option<&PersonRef>),
        rows: Vec<mdm::Imported>,
        now: Instant,
    ) -> Result<Imported, Problem> {
        let mut imported = Imported::default();
        for mdm::Imported { serial, collected, posture } in rows {
            let named = |record: &DeviceRecord| {
                record.device.revoked.is_none() && record.device.serial.as_deref() == Some(serial.as_str())
            };
            let Some(record) = self.devices.devices.find_by(named) else {
                imported.unknown += 1;
                continue;
            };
            let owner = self.persons.with(&record.device.person, PersonRecord::reference);
            if owner.zip(own).is_some_and(|(owner, own)| !self.is_other_human(&owner, own)) {
                imported.own += 1;
                continue;
            }
            let mut taken = Ok(false);
            let id = Record::id(&record);
            let import = |device: &mut Device| taken = device.import(&serial, source, collected, posture, now);
            let (was, is) = self.devices.change(&id, import)?;
            self.settle_device(control, &was, &is, now)?;
            match taken {
                Ok(true) => imported.taken += 1,
                Ok(false) => imported.older += 1,
                Err(_) => imported.unknown += 1,
            }
        }
        Ok(imported)
    }

    /// Ends all devices of somebody who left.
    pub(super) fn end_devices_of(&self, person: &str, now: Instant) -> Result<(), Problem> {
        for device in self.devices.of(person) {
            if device.revoked.is_none() {
                self.devices.change(device.id.as_str(), |device| device.revoke(now))?;
            }
        }
        Ok(())
    }

    /// Ends the sessions on a device; gives how many there were.
    fn end_sessions_on(&self, device: &str, now: Instant) -> Result<usize, Problem> {
        let on = |session: &Session| session.names(device) && session.is_open(now);
        let ids: BTreeSet<String> = self.sessions.list(on).into_iter().map(|session| session.id).collect();
        ids.iter().try_for_each(|id| self.end_session(id, now).map(drop))?;
        Ok(ids.len())
    }

    /// Whether anybody works on a device.
    pub(super) fn has_session_on(&self, device: &str, now: Instant) -> bool {
        let on = |session: &Session| session.names(device) && session.is_open(now);
        self.sessions.find_by(on).is_some()
    }

    /// An entry about a device, where its owner belongs.
    pub(crate) fn log_device(
        &self,
        name: &'static str,
        control: &ControlPlane,
        by: Option<&Principal>,
        device: &Device,
        details: Details,
    ) -> Result<(), Problem> {
        let details = details
            .name("owner", device.person.clone())
            .and_then(|details| details.keyed("device", device.id.as_str().as_bytes()))
            .and_then(|details| details.digest("key", *Hash::of(&[device.id.as_str().as_bytes()]).as_bytes()))
            .map_err(|e| from_audit(&e))?;
        let home = self.persons.with(&device.person, |person| person.home(&self.environment));
        let event = Event::new(name, home.unwrap_or_else(|| control.place()));
        let event = by.into_iter().fold(event, Event::by);
        control.log().record(event.with(details)).map(drop).map_err(|e| from_audit(&e))
    }
}

/// A rule that was kept against a device of somebody who is signed in: recorded with the promise that it keeps.
pub(super) fn refused(control: &ControlPlane, principal: &Principal, error: &DeviceError) -> Problem {
    let event = Event::new("device.refused", control.place()).by(principal);
    control.record(event.for_commitment(error.commitment()));
    of_error(error)
}

/// What the owner of a device is told.
pub(crate) fn of_error(error: &DeviceError) -> Problem {
    let code = match error {
        DeviceError::Malformed => "device/malformed",
        DeviceError::Signature => "device/signature",
        DeviceError::Platform { .. } => "access/device-platform",
        DeviceError::Name => "device/name",
        DeviceError::Nonce => "device/nonce",
        DeviceError::OtherDevice => "device/other",
        DeviceError::OtherBrowser => "device/other-browser",
        DeviceError::Tpm { .. } => "device/tpm",
        DeviceError::Time => "device/time",
        DeviceError::Cloned => "access/device-cloned",
        DeviceError::Search => "device/search",
        DeviceError::Revoked => "access/device-revoked",
        DeviceError::Export { .. } => "device/export",
    };
    Problem::new(code, error.to_string())
}

pub(crate) fn no_device(id: &str) -> Problem {
    Problem::new("not-found/device", format!("there is no device `{id}` that you can see"))
        .with_help("`creta device list` shows those that you can")
}
