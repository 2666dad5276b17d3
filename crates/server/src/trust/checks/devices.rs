//! People work from computers that are as they have to be, and from nothing else (CH-16, CH-18, CI-26).

use creta_compliance::Observation;
use creta_identity::device::{
    Approved, Device, DeviceError, Enrolment, Item, Nonces, Package, Platform, Posture, Report, Signed, Standard,
    State, Trust,
};
use creta_identity::key::{KeyKind, SigningKey};
use creta_model::{Instant, Span};
use creta_platform::Random;
use serde_json::json;

use super::{Check, Seen, World};
use crate::people::PersonRecord;

/// What a laptop's password manager is about; without a report of the day nobody knows.
const OF_PASSWORDS: [Item; 5] =
    [Item::Enrolment, Item::Report, Item::PasswordManager, Item::PasswordManagerLock, Item::BrowserPasswords];
/// What production is reached from.
const PLATFORMS: [&str; 3] = ["linux", "macos", "windows"];
/// What is tried in vain.
const MOBILE: [&str; 8] = ["android", "ios", "ipados", "watchos", "tvos", "visionos", "harmonyos", "chromeos"];
/// People are counted and not named: what a check finds may be shown to everybody.
const PEOPLE: &str = "people";

pub(super) struct DevicePosture;

impl Check for DevicePosture {
    fn id(&self) -> &'static str {
        "device-posture"
    }

    /// Computers with one thing wrong each, and one whose report is of the day before yesterday.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let (standard, now) = (standard(world)?, now(world));
        let random = &*world.app.control.platform().random;
        for (_, fault) in FAULTS {
            let planted = planted(standard, random, now, fault)?;
            if look(standard, &[planted], (1, 0), None, now).0.findings.is_empty() {
                return Ok(false);
            }
        }
        let old = planted(standard, random, now.minus(Span::hours(48)), |_| ())?;
        Ok(!look(standard, &[old], (1, 0), None, now).0.findings.is_empty())
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        observe(world, None)
    }
}

pub(super) struct PasswordManagers;

impl Check for PasswordManagers {
    fn id(&self) -> &'static str {
        "password-managers"
    }

    /// A computer with a program of the right name that somebody else signed, one whose manager does not lock, and one whose
    /// browsers keep passwords.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let (standard, now) = (standard(world)?, now(world));
        for (item, fault) in FAULTS.iter().filter(|(item, _)| OF_PASSWORDS.contains(item)) {
            let planted = planted(standard, &*world.app.control.platform().random, now, fault)?;
            let seen = look(standard, &[planted], (1, 0), Some(&OF_PASSWORDS), now);
            if !seen.0.findings.iter().any(|finding| finding.says.contains(&word(*item))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        observe(world, Some(&OF_PASSWORDS))
    }
}

pub(super) struct MobileDevices;

impl Check for MobileDevices {
    fn id(&self) -> &'static str {
        "mobile-devices"
    }

    /// A laptop in a phone's place: the check must see that it gets in.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let mut seen = Seen::default();
        try_enrolments(world, &["linux"], &mut seen);
        Ok(seen.0.findings.iter().any(|finding| finding.code == "device/mobile-enrolled"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let mut seen = Seen::default();
        try_enrolments(world, &MOBILE, &mut seen);
        let living = world.app.people.devices.living();
        for device in &living {
            let subject = subject(device);
            seen.subject(&subject);
            if !PLATFORMS.contains(&device.platform.as_str()) {
                seen.finding(&subject, "device/mobile", "something that is no computer is enrolled");
            }
        }
        Ok(seen.raw(json!({ "tried": MOBILE, "enrolled": living.len() })))
    }
}

/// Asks this server to take phones, signed and in answer to its nonce, as an honest device would; nothing is kept.
fn try_enrolments(world: &World<'_>, platforms: &[&str], seen: &mut Seen) {
    const WHO: &str = "trust-checks";
    let (control, devices) = (&world.app.control, &world.app.people.devices);
    for platform in platforms {
        let subject = format!("platform:{platform}");
        seen.subject(&subject);
        let now = control.platform().clock.now();
        let key = new_key(&*control.platform().random);
        let nonce = devices.nonce(control, WHO, now);
        let enrolment = Enrolment::new("probe", Platform::Linux, None, key.public(), &nonce, None);
        let mut document = serde_json::to_value(enrolment).expect("an enrolment has a JSON form");
        document["platform"] = (*platform).into();
        let examined = devices.examine(&Signed::make(&document, &key), WHO, now);
        if !matches!(examined, Err(DeviceError::Platform { .. })) {
            seen.finding(&subject, "device/mobile-enrolled", format!("`{platform}` was not refused as what it is"));
        }
    }
}

fn observe(world: &World<'_>, of: Option<&[Item]>) -> Result<Observation, String> {
    let (standard, now, people) = (standard(world)?, now(world), &world.app.people);
    let devices = people.devices.living();
    if devices.is_empty() {
        return Err("no computer is enrolled yet; `creta device enrol` enrols one".to_owned());
    }
    let everybody = people.persons();
    let with_access: Vec<&PersonRecord> = everybody.iter().filter(|person| people.has_access(person, now)).collect();
    let bare = with_access.iter().filter(|person| devices.iter().all(|device| device.person != person.id.as_str()));
    let bare = bare.count();
    let seen = look(standard, &devices, (with_access.len(), bare), of, now);
    Ok(seen.raw(json!({ "computers": devices.len(), "people": with_access.len(), "without": bare })))
}

/// Every computer against the standard, or against some items of it, and whether everybody has one.
fn look(
    standard: &Standard,
    devices: &[Device],
    (people, bare): (usize, usize),
    of: Option<&[Item]>,
    now: Instant,
) -> Seen {
    let mut seen = Seen::default();
    for device in devices {
        let subject = subject(device);
        seen.subject(&subject);
        let Trust::None(findings) = standard.trust(device, now) else { continue };
        let items = findings.iter().map(|finding| finding.item);
        let wrong: Vec<String> = items.filter(|item| of.is_none_or(|of| of.contains(item))).map(word).collect();
        if !wrong.is_empty() {
            let says = format!("a computer is not as it has to be: {}", wrong.join(", "));
            seen.finding(&subject, "device/not-as-it-has-to-be", says);
        }
    }
    seen.subject(PEOPLE);
    if bare > 0 {
        let says = format!("{bare} of {people} people with access have no enrolled computer, so nobody knows theirs");
        seen.finding(PEOPLE, "device/none", says);
    }
    seen
}

fn standard<'a>(world: &World<'a>) -> Result<&'a Standard, String> {
    world.app.people.devices.require_standard().map_err(|problem| problem.message)
}

fn now(world: &World<'_>) -> Instant {
    world.app.control.platform().clock.now()
}

/// Enough of a device's id to find it in `creta device list`, and nothing of whose it is.
fn subject(device: &Device) -> String {
    format!("device:{}", device.id.as_str().get(..12).unwrap_or_default())
}

fn word(item: Item) -> String {
    serde_json::to_value(item).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What makes a good computer a bad one.
type Fault = fn(&mut Posture);

/// One for each item that a report can get wrong.
static FAULTS: &[(Item, Fault)] = &[
    (Item::DiskEncryption, |posture| posture.disk_encryption = State::Off),
    (Item::ScreenLock, |posture| posture.screen_lock_seconds = None),
    (Item::OsVersion, |posture| posture.os_version = "0.1".to_owned()),
    (Item::Firewall, |posture| posture.firewall = State::Unknown),
    (Item::AutomaticUpdates, |posture| posture.automatic_updates = State::Off),
    (Item::MalwareProtection, |posture| posture.malware_protection = State::Off),
    (Item::PasswordManager, |posture| {
        posture.password_managers.iter_mut().for_each(|manager| manager.signer = "somebody-else".to_owned());
    }),
    (Item::PasswordManagerLock, |posture| posture.password_manager_lock = State::Unknown),
    (Item::BrowserPasswords, |posture| posture.browser_passwords = State::On),
    (Item::RemoteLogin, |posture| posture.remote_login = State::On),
];

/// A computer of nobody that reported at `made`, as the standard wants it but for a fault.
fn planted(
    standard: &Standard,
    random: &dyn Random,
    made: Instant,
    fault: impl Fn(&mut Posture),
) -> Result<Device, String> {
    let failed = |error: DeviceError| format!("a computer with a fault cannot be made: {error}");
    let (key, mut nonces) = (new_key(random), Nonces::default());
    let mut posture = good(standard);
    fault(&mut posture);
    let nonce = nonces.give("planted", &bytes(random), made);
    let enrolment = Enrolment::new("planted", posture.platform, None, key.public(), &nonce, None);
    let mut device = Device::enrol(&enrolment.sign(&key), "planted", &[], &mut nonces, made).map_err(failed)?;
    let nonce = nonces.give(device.id.as_str(), &bytes(random), made);
    let report = Report::new(device.id.clone(), &nonce, 1, made, posture);
    device.report(&Signed::make(&report, &key), &mut nonces, made).map_err(failed)?;
    Ok(device)
}

fn good(standard: &Standard) -> Posture {
    let any = || Approved {
        platform: Platform::Linux,
        package: Package { id: "none".to_owned(), signer: "nobody".to_owned() },
    };
    let Approved { platform, package } = standard.password_managers.first().cloned().unwrap_or_else(any);
    let (os, os_version) =
        standard.os_versions_min.first_key_value().map(|(os, v)| (os.clone(), v.clone())).unwrap_or_default();
    Posture {
        platform,
        os,
        os_version,
        disk_encryption: State::On,
        screen_lock_seconds: Some(standard.screen_lock_seconds_max),
        firewall: State::On,
        automatic_updates: State::On,
        malware_protection: State::On,
        remote_login: State::Off,
        password_managers: vec![package],
        password_manager_lock: State::On,
        browser_passwords: State::Off,
    }
}

fn new_key(random: &dyn Random) -> SigningKey {
    SigningKey::from_random(KeyKind::P256, &bytes(random))
}

fn bytes(random: &dyn Random) -> [u8; 32] {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use creta_platform::SeededRandom;

    use super::*;

    fn standard() -> Standard {
        let package = Package { id: "1password".to_owned(), signer: "ab".to_owned() };
        Standard {
            os_versions_min: BTreeMap::from([("ubuntu".to_owned(), "22.04".to_owned())]),
            screen_lock_seconds_max: 300,
            report_hours_max: 24,
            password_managers: vec![Approved { platform: Platform::Linux, package }],
            search: None,
        }
    }

    #[test]
    fn each_fault_is_found_as_what_it_is_and_a_good_computer_is_not() {
        let (standard, random) = (standard(), SeededRandom::new(1));
        let now = Instant::parse("2026-01-01T12:00:00Z").expect("valid");
        let make = |made: Instant, fault: Fault| planted(&standard, &random, made, fault).expect("made");
        let found = |device: Device, of: Option<&[Item]>| look(&standard, &[device], (1, 0), of, now).0.findings;
        assert_eq!(found(make(now, |_| ()), None), []);
        for (item, fault) in FAULTS {
            let all = found(make(now, *fault), None);
            assert!(all.len() == 1 && all[0].says.ends_with(&format!(": {}", word(*item))), "{all:?}");
            let of_passwords = found(make(now, *fault), Some(&OF_PASSWORDS)).len();
            assert_eq!(of_passwords, usize::from(OF_PASSWORDS.contains(item)), "{item:?}");
        }
        let day = now.minus(Span::hours(24));
        assert_eq!(found(make(day, |_| ()), Some(&OF_PASSWORDS)).len(), 1, "nobody knows any more");
        let bare = look(&standard, &[make(now, |_| ())], (3, 2), None, now).0.findings;
        assert!(bare.len() == 1 && bare[0].says.starts_with("2 of 3 people"), "{bare:?}");
    }
}
