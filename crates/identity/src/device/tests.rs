//! Enrolment, reports and what a device is worth.

use std::collections::BTreeMap;

use creta_model::Span;
use serde_json::json;

use super::*;
use crate::key::{KeyKind, SigningKey};

fn now() -> Instant {
    Instant::parse("2026-01-01T12:00:00Z").expect("valid")
}

fn after(seconds: u32) -> Instant {
    now().plus(Span::seconds(seconds))
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_random(KeyKind::P256, &[seed; 32])
}

fn manager() -> Package {
    Package { id: "1password".to_owned(), signer: "ab".to_owned() }
}

fn good() -> Posture {
    Posture {
        platform: Platform::Linux,
        os: "ubuntu".to_owned(),
        os_version: "24.04".to_owned(),
        disk_encryption: State::On,
        screen_lock_seconds: Some(300),
        firewall: State::On,
        automatic_updates: State::On,
        malware_protection: State::On,
        remote_login: State::Off,
        password_managers: vec![manager()],
        password_manager_lock: State::On,
        browser_passwords: State::Off,
    }
}

fn standard() -> Standard {
    Standard {
        os_versions_min: BTreeMap::from([("ubuntu".to_owned(), "22.04".to_owned())]),
        screen_lock_seconds_max: 300,
        report_hours_max: 24,
        password_managers: vec![Approved { platform: Platform::Linux, package: manager() }],
        search: None,
    }
}

/// The server's side of a device, and the device's.
struct Fixture {
    nonces: Nonces,
    key: SigningKey,
    device: Device,
}

fn fixture() -> Fixture {
    let mut nonces = Nonces::default();
    let nonce = nonces.give("ana", &[1; 32], now());
    let evidence = tpm::tests::evidence(&key(99), &key(7).public(), &nonce);
    let enrolment =
        Enrolment::new("ana's laptop", Platform::Linux, Some("C02X"), key(7).public(), &nonce, Some(evidence));
    let known = [key(99).public().thumbprint()];
    let device = Device::enrol(&enrolment.sign(&key(7)), "ana", &known, &mut nonces, now()).expect("enrols");
    Fixture { nonces, key: key(7), device }
}

impl Fixture {
    fn signed(&mut self, sequence: u64, made: Instant, posture: Posture) -> Signed {
        let random = crate::jws::sha256(format!("{sequence} {made}").as_bytes());
        let nonce = self.nonces.give(self.device.id.as_str(), &random, made);
        Signed::make(&Report::new(self.device.id.clone(), &nonce, sequence, made, posture), &self.key)
    }

    fn report(&mut self, sequence: u64, at: Instant) -> Result<(), DeviceError> {
        let signed = self.signed(sequence, at, good());
        self.device.report(&signed, &mut self.nonces, at)
    }
}

fn enrol(platform: &str, name: &str) -> Result<Device, DeviceError> {
    let mut nonces = Nonces::default();
    let nonce = nonces.give("ana", &[1; 32], now());
    let enrolment = Enrolment::new(name, Platform::Linux, None, key(7).public(), &nonce, None);
    let mut document = serde_json::to_value(enrolment).expect("JSON");
    document["platform"] = json!(platform);
    Device::enrol(&Signed::make(&document, &key(7)), "ana", &[], &mut nonces, now())
}

#[test]
fn a_device_with_a_tpm_that_reports_well_is_trusted_for_a_day() {
    let mut fixture = fixture();
    assert_eq!((fixture.device.storage, fixture.device.id.clone()), (KeyStorage::Tpm, key(7).public().thumbprint()));
    assert!(
        matches!(standard().trust(&fixture.device, now()), Trust::None(findings) if findings[0].item == Item::Report)
    );
    assert_eq!(fixture.report(1, now()), Ok(()));
    let text = serde_json::to_string(&fixture.device).expect("JSON");
    let device: Device = serde_json::from_str(&text).expect("own JSON");
    assert_eq!(device, fixture.device);
    let day = 24 * 3_600;
    for (at, trusted) in [(0, true), (day - 1, true), (day, false), (day + 1, false)] {
        assert_eq!(standard().trust(&device, after(at)) == Trust::Trusted, trusted, "{at}");
    }
    let lax = Standard { report_hours_max: 1_000, ..standard() };
    assert_ne!(lax.trust(&device, after(day)), Trust::Trusted, "no standard makes a day longer");
    let strict = Standard { report_hours_max: 1, ..standard() };
    assert_ne!(strict.trust(&device, after(3_600)), Trust::Trusted);
}

#[test]
fn attack_ch16_phones_and_unknown_platforms_cannot_be_enrolled() {
    for platform in ["ios", "iOS", "ipados", "android", "watchos", "chromeos"] {
        let refused = enrol(platform, "phone").expect_err("refused");
        assert_eq!(refused, DeviceError::Platform { platform: platform.to_ascii_lowercase() });
        assert_eq!(refused.commitment(), "CH-16");
    }
    assert_eq!(enrol("<b>", "x"), Err(DeviceError::Platform { platform: "this platform".to_owned() }));
    // A phone that calls itself a computer in its report is another device than the one enrolled.
    let mut fixture = fixture();
    let signed = fixture.signed(1, now(), Posture { platform: Platform::Macos, ..good() });
    assert_eq!(fixture.device.report(&signed, &mut fixture.nonces, now()), Err(DeviceError::OtherDevice));
}

#[test]
fn attack_ch18_a_key_in_software_is_of_low_assurance_whatever_it_claims() {
    let mut software = enrol("linux", "laptop").expect("enrols");
    assert_eq!(software.storage, KeyStorage::Software);
    let mut nonces = Nonces::default();
    let nonce = nonces.give(software.id.as_str(), &[2; 32], now());
    let signed = Signed::make(&Report::new(software.id.clone(), &nonce, 1, now(), good()), &key(7));
    software.report(&signed, &mut nonces, now()).expect("its own");
    assert_eq!(standard().trust(&software, now()), Trust::LowAssurance);
    // The statement of a TPM that nobody knows: the key is in a file and its owner made the TPM too.
    let nonce = nonces.give("ana", &[3; 32], now());
    let evidence = tpm::tests::evidence(&key(98), &key(7).public(), &nonce);
    let enrolment = Enrolment::new("laptop", Platform::Linux, None, key(7).public(), &nonce, Some(evidence));
    let known = [key(99).public().thumbprint()];
    let refused = Device::enrol(&enrolment.sign(&key(7)), "ana", &known, &mut nonces, now());
    assert!(matches!(refused, Err(DeviceError::Tpm { .. })), "{refused:?}");
}

#[test]
fn attack_ch18_an_enrolment_works_once_for_its_person_and_key() {
    let mut nonces = Nonces::default();
    let enrolment =
        |nonce: &str, key: &SigningKey| Enrolment::new("laptop", Platform::Linux, None, key.public(), nonce, None);
    let nonce = nonces.give("ana", &[1; 32], now());
    let signed = enrolment(&nonce, &key(7)).sign(&key(7));
    assert_eq!(Device::enrol(&signed, "bob", &[], &mut nonces, now()), Err(DeviceError::Nonce));
    assert_eq!(Device::enrol(&signed, "ana", &[], &mut nonces, now()), Err(DeviceError::Nonce), "used up");
    let nonce = nonces.give("ana", &[1; 32], now());
    let signed = enrolment(&nonce, &key(7)).sign(&key(7));
    assert!(Device::enrol(&signed, "ana", &[], &mut nonces, after(599)).is_ok());
    assert_eq!(Device::enrol(&signed, "ana", &[], &mut nonces, after(599)), Err(DeviceError::Nonce), "replayed");
    let nonce = nonces.give("ana", &[1; 32], now());
    let late = enrolment(&nonce, &key(7)).sign(&key(7));
    assert_eq!(Device::enrol(&late, "ana", &[], &mut nonces, after(600)), Err(DeviceError::Nonce));
    let nonce = nonces.give("ana", &[1; 32], now());
    let foreign = enrolment(&nonce, &key(7)).sign(&key(8));
    assert_eq!(Device::enrol(&foreign, "ana", &[], &mut nonces, now()), Err(DeviceError::Signature));
    for name in ["", "   ", "a\u{1b}[2J", "<script>", &"x".repeat(65)] {
        assert_eq!(enrol("linux", name), Err(DeviceError::Name), "{name:?}");
    }
}

#[test]
fn attack_ch18_old_edited_and_foreign_reports_are_refused() {
    let mut fixture = fixture();
    let signed = fixture.signed(1, now(), Posture { disk_encryption: State::Off, ..good() });
    let text = serde_json::to_string(&signed).expect("JSON");
    let edited: Signed =
        serde_json::from_str(&text.replace(r#""disk_encryption":"off""#, r#""disk_encryption":"on""#)).expect("JSON");
    assert_ne!(edited, signed);
    let Fixture { nonces, device, .. } = &mut fixture;
    assert_eq!(device.report(&edited, nonces, now()), Err(DeviceError::Signature));
    assert_eq!(device.report(&signed, nonces, now()), Ok(()));
    assert_eq!(device.report(&signed, nonces, now()), Err(DeviceError::Nonce), "replayed");
    assert!(device.revoked.is_none(), "a replay is no sign of a clone");
    assert_eq!(device.report(&signed, nonces, after(86_400)), Err(DeviceError::Nonce));
    // Another device's report, in its own name and in this one's.
    let nonce = nonces.give(device.id.as_str(), &[9; 32], now());
    let theirs = Signed::make(&Report::new(key(8).public().thumbprint(), &nonce, 2, now(), good()), &key(8));
    assert_eq!(device.report(&theirs, nonces, now()), Err(DeviceError::OtherDevice));
    let forged = Signed::make(&Report::new(device.id.clone(), &nonce, 2, now(), good()), &key(8));
    assert_eq!(device.report(&forged, nonces, now()), Err(DeviceError::Signature));
    // A nonce that was given to another device.
    let other = nonces.give("another", &[10; 32], now());
    let signed = Signed::make(&Report::new(device.id.clone(), &other, 2, now(), good()), &key(7));
    assert_eq!(device.report(&signed, nonces, now()), Err(DeviceError::Nonce));
    // An enrolment is no report, and unknown members are refused.
    let enrolment = Enrolment::new("x", Platform::Linux, None, key(7).public(), &nonce, None).sign(&key(7));
    assert_eq!(device.report(&enrolment, nonces, now()), Err(DeviceError::Malformed));
    let mut document = serde_json::to_value(Report::new(device.id.clone(), &nonce, 2, now(), good())).expect("JSON");
    for (name, value) in [("format", json!("creta.posture/2")), ("trusted", json!(true))] {
        let before = document.clone();
        document[name] = value;
        assert_eq!(
            device.report(&Signed::make(&document, &key(7)), nonces, now()),
            Err(DeviceError::Malformed),
            "{name}"
        );
        document = before;
    }
}

#[test]
fn attack_ch18_a_signature_of_the_key_for_something_else_is_none_for_a_report() {
    let Fixture { mut nonces, key, mut device } = fixture();
    let nonce = nonces.give(device.id.as_str(), &[9; 32], now());
    let report = serde_json::to_value(Report::new(device.id.clone(), &nonce, 1, now(), good())).expect("JSON");
    let canonical = serde_json_canonicalizer::to_vec(&report).expect("canonical");
    for (prefix, ok) in [("", false), ("creta.signed/2\n", false), ("creta.signed/1\n", true)] {
        let signature = crate::jws::encode(key.sign(&[prefix.as_bytes(), &canonical].concat()));
        let signed = serde_json::from_value(json!({"document": report, "signature": signature})).expect("JSON");
        let taken = device.report(&signed, &mut nonces, now());
        assert_eq!(taken, if ok { Ok(()) } else { Err(DeviceError::Signature) }, "{prefix:?}");
    }
}

#[test]
fn attack_ch18_a_report_is_about_now() {
    for (made, given, received, ok) in
        [(0, 0, 599, true), (0, 50, 649, true), (0, 100, 661, false), (61, 0, 0, false), (60, 0, 0, true)]
    {
        let mut fixture = fixture();
        let nonce = fixture.nonces.give(fixture.device.id.as_str(), &[8; 32], after(given));
        let signed =
            Signed::make(&Report::new(fixture.device.id.clone(), &nonce, 1, after(made), good()), &fixture.key);
        let taken = fixture.device.report(&signed, &mut fixture.nonces, after(received));
        assert_eq!(taken, if ok { Ok(()) } else { Err(DeviceError::Time) }, "{made} {given} {received}");
    }
}

#[test]
fn attack_ch18_a_cloned_key_suspends_both_devices() {
    let mut fixture = fixture();
    assert_eq!(fixture.report(1, now()), Ok(()));
    assert_eq!(fixture.report(5, after(10)), Ok(()), "numbers may be left out");
    // The copy counts on from where the key file was copied.
    for sequence in [0, 4, 5] {
        let mut copied = Fixture { nonces: Nonces::default(), key: key(7), device: fixture.device.clone() };
        assert_eq!(copied.report(sequence, after(20)), Err(DeviceError::Cloned), "{sequence}");
        assert!(matches!(standard().trust(&copied.device, after(20)), Trust::None(f) if f[0].item == Item::Enrolment));
        assert_eq!(copied.report(6, after(30)), Err(DeviceError::Revoked));
    }
}

#[test]
fn attack_ch18_each_item_of_the_standard_is_looked_at() {
    assert_eq!(standard().judge(&good()), []);
    let item = |change: &dyn Fn(&mut Posture)| {
        let mut posture = good();
        change(&mut posture);
        standard().judge(&posture).into_iter().map(|finding| finding.item).collect::<Vec<_>>()
    };
    for bad in [State::Off, State::Unknown] {
        assert_eq!(item(&|p| p.disk_encryption = bad), [Item::DiskEncryption]);
        assert_eq!(item(&|p| p.firewall = bad), [Item::Firewall]);
        assert_eq!(item(&|p| p.automatic_updates = bad), [Item::AutomaticUpdates]);
        assert_eq!(item(&|p| p.malware_protection = bad), [Item::MalwareProtection]);
        assert_eq!(item(&|p| p.password_manager_lock = bad), [Item::PasswordManagerLock]);
    }
    for bad in [State::On, State::Unknown] {
        assert_eq!(item(&|p| p.remote_login = bad), [Item::RemoteLogin]);
        assert_eq!(item(&|p| p.browser_passwords = bad), [Item::BrowserPasswords]);
    }
    for bad in [None, Some(301)] {
        assert_eq!(item(&|p| p.screen_lock_seconds = bad), [Item::ScreenLock]);
    }
    for version in ["20.04", "22.03.9", "", "22", "24.04-custom", "latest", "-1"] {
        assert_eq!(item(&|p| p.os_version = version.to_owned()), [Item::OsVersion], "{version}");
    }
    for version in ["22.04", "22.04.0", "22.04.1", "22.10", "100"] {
        assert_eq!(item(&|p| p.os_version = version.to_owned()), [], "{version}");
    }
    assert_eq!(item(&|p| p.os = "debian".to_owned()), [Item::OsVersion]);
}

#[test]
fn attack_ci26_a_posture_without_an_approved_password_manager_is_not_compliant() {
    let judged = |managers: Vec<Package>| standard().judge(&Posture { password_managers: managers, ..good() });
    let fake = Package { signer: "cd".to_owned(), ..manager() };
    for managers in [vec![], vec![fake.clone()], vec![Package { id: "other".to_owned(), ..manager() }]] {
        assert_eq!(judged(managers)[0].item, Item::PasswordManager);
    }
    assert_eq!(judged(vec![fake, manager()]), []);
    let elsewhere = Approved { platform: Platform::Macos, package: manager() };
    let standard = Standard { password_managers: vec![elsewhere], ..standard() };
    assert_eq!(standard.judge(&good())[0].item, Item::PasswordManager);
}

#[test]
fn a_management_tool_speaks_of_devices_by_their_serial() {
    let mut fixture = fixture();
    let mut import =
        |serial: &str, at: Instant, posture| fixture.device.import(serial, Source::Mdm, at, posture, after(100));
    assert_eq!(import("C02X", after(10), good()), Ok(true));
    assert_eq!(import("C02X", after(10), good()), Ok(false), "nothing new");
    assert_eq!(import("C02X", now(), good()), Ok(false), "older");
    assert_eq!(import("C02Y", after(20), good()), Err(DeviceError::OtherDevice));
    assert_eq!(
        import("C02X", after(20), Posture { platform: Platform::Windows, ..good() }),
        Err(DeviceError::OtherDevice)
    );
    assert_eq!(import("C02X", after(161), good()), Err(DeviceError::Time));
    assert_eq!((fixture.device.source(), fixture.device.reported()), (Some(Source::Mdm), Some(after(10))));
    fixture.device.revoke(after(30));
    let revoked = fixture.device.import("C02X", Source::Mdm, after(40), good(), after(100));
    assert_eq!((revoked, fixture.device.posture()), (Err(DeviceError::Revoked), Some(&good())));
}

#[test]
fn attack_ch18_whoever_asks_for_nonces_in_a_devices_name_pushes_out_no_other_devices() {
    let mut fixture = fixture();
    let Fixture { nonces, key, device } = &mut fixture;
    let nonce = nonces.give(device.id.as_str(), &[1; 32], now());
    for number in 0..2 * NONCES_MAX {
        let mut random = [2; 32];
        random[..8].copy_from_slice(&number.to_be_bytes());
        nonces.give("another device", &random, after(1));
    }
    let report = Report::new(device.id.clone(), &nonce, 1, now(), good());
    device.report(&Signed::make(&report, key), nonces, after(2)).expect("its nonce is still there");
    // Its own older ones make room for newer ones.
    let first = nonces.give(device.id.as_str(), &[3; 32], after(2));
    for number in 0..16 {
        nonces.give(device.id.as_str(), &[100 + number; 32], after(3));
    }
    let late = Report::new(device.id.clone(), &first, 2, after(3), good());
    assert_eq!(device.report(&Signed::make(&late, key), nonces, after(3)), Err(DeviceError::Nonce));
}

fn searching() -> (Standard, SearchAsked) {
    let search = SearchFor { folders: vec!["~/Downloads".to_owned()], remove_hours: 0 };
    let asked = SearchAsked::new(&search.folders, &[5; 32], [canary(&[6; 16])]);
    (Standard { search: Some(search), ..standard() }, asked)
}

/// A report with a search that found so many, answering what was asked.
fn searched(fixture: &mut Fixture, sequence: u64, asked: &SearchAsked, found: u64) -> Signed {
    let nonce = fixture.nonces.give(fixture.device.id.as_str(), &[sequence as u8; 32], now());
    let search = Searched { asked: asked.digest(), files: 3, bytes: 99, unreadable: 0, found, found_earlier: 0 };
    let report = Report::new(fixture.device.id.clone(), &nonce, sequence, now(), good()).with_search(search);
    Signed::make(&report, &fixture.key)
}

#[test]
fn attack_ch14_a_computer_with_a_planted_value_or_without_a_search_is_worth_nothing() {
    let (standard, asked) = searching();
    let mut fixture = fixture();
    let item = |fixture: &Fixture, at: Instant| match standard.trust(&fixture.device, at) {
        Trust::None(findings) => findings.iter().map(|finding| finding.item).collect::<Vec<_>>(),
        Trust::LowAssurance | Trust::Trusted => Vec::new(),
    };
    fixture.report(1, now()).expect("a report without a search");
    assert_eq!(item(&fixture, now()), [Item::Search], "nobody knows");
    let take = |fixture: &mut Fixture, sequence, found| {
        let signed = searched(fixture, sequence, &asked, found);
        fixture.device.report_asked(&signed, &mut fixture.nonces, |digest| digest == asked.digest(), now())
    };
    take(&mut fixture, 2, 0).expect("taken");
    assert_eq!(item(&fixture, now()), []);
    take(&mut fixture, 3, 1).expect("taken");
    assert_eq!(item(&fixture, now()), [Item::CustomersValues]);
    // What a management tool says of it later does not hide that.
    let mut device = fixture.device.clone();
    device.import("C02X", Source::Mdm, after(60), good(), after(60)).expect("its own");
    assert!(matches!(standard.trust(&device, after(60)), Trust::None(_)));
    // A report without a search does not either, and a search is good for as long as a report.
    fixture.report(4, now()).expect("a report");
    assert_eq!(item(&fixture, now()), [Item::CustomersValues]);
    take(&mut fixture, 5, 0).expect("taken");
    assert_eq!(item(&fixture, now()), []);
    fixture.report(6, after(3_600)).expect("a later report without a search");
    assert_eq!(item(&fixture, after(86_400)), [Item::Search]);
}

#[test]
fn attack_ch14_a_search_for_something_else_is_none() {
    let (_, asked) = searching();
    let nothing = SearchAsked::new(&["~/Downloads".to_owned()], &[5; 32], []);
    let elsewhere = SearchAsked::new(&["~/Empty".to_owned()], &[5; 32], [canary(&[6; 16])]);
    let earlier = SearchAsked::new(&["~/Downloads".to_owned()], &[4; 32], [canary(&[6; 16])]);
    for (sequence, other) in (1..).zip([nothing, elsewhere, earlier]) {
        let mut fixture = fixture();
        let signed = searched(&mut fixture, sequence, &other, 0);
        let taken = fixture.device.report_asked(&signed, &mut fixture.nonces, |digest| digest == asked.digest(), now());
        assert_eq!(taken, Err(DeviceError::Search));
        assert!(fixture.device.searched().is_none() && fixture.device.reported().is_none());
        assert_eq!(DeviceError::Search.commitment(), "CH-14");
    }
    let mut fixture = fixture();
    let signed = searched(&mut fixture, 1, &asked, 0);
    assert_eq!(fixture.device.report(&signed, &mut fixture.nonces, now()), Err(DeviceError::Search), "nobody asked");
}
