//! Devices over HTTP: enrolled by a key, trusted by what they report, and only for as long as it is so.

use creta_identity::device::{Binding, Enrolment, Package, Platform, Posture, Report, Signed, State, TpmEvidence};
use creta_identity::key::{KeyKind, SigningKey, Thumbprint};
use creta_model::{EnvironmentClass, Instant, Span};
use serde_json::{Value, json};

use crate::jws::{decode, encode, sha256};
use crate::people::{Someone, authenticator, now, random, sign_in, sign_in_with};
use crate::provider::Provider;
use crate::provisioning::{group, make, provisioner, user};
use crate::support::{Reply, Server};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_random(KeyKind::P256, &[seed; 32])
}

/// The organisation's TPM is the one whose attestation key this is.
const ATTESTER: u8 = 99;

fn standard() -> String {
    format!(
        "[devices]\nattesters = [\"{}\"]\n[devices.standard]\nscreen_lock_seconds_max = 300\nreport_hours_max = 24\n\
         password_managers = [{{ platform = \"linux\", package = {{ id = \"1password\", signer = \"ab\" }} }}, \
         {{ platform = \"macos\", package = {{ id = \"com.1password\", signer = \"2BUA8C4S2C\" }} }}]\n\
         [devices.standard.os_versions_min]\nubuntu = \"22.04\"\nmacos = \"14.0\"\n",
        key(ATTESTER).public().thumbprint().as_str(),
    )
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
        password_managers: vec![Package { id: "1password".to_owned(), signer: "ab".to_owned() }],
        password_manager_lock: State::On,
        browser_passwords: State::Off,
    }
}

/// What a TPM with the attestation key says about a key that it made (TPM 2.0 Library, Part 2).
fn evidence(key_: &SigningKey, nonce: &str) -> TpmEvidence {
    let sized = |bytes: &[u8]| [u16::try_from(bytes.len()).expect("short").to_be_bytes().as_slice(), bytes].concat();
    let jwk = key_.public().to_jwk();
    let coordinate = |name: &str| decode(jwk[name].as_str().expect("a coordinate")).expect("base64url");
    let words = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let attributes = (1_u32 << 1 | 1 << 4 | 1 << 5 | 1 << 18).to_be_bytes();
    let public = [
        words(&[0x0023, 0x000b]).as_slice(),
        &attributes,
        &sized(&[]),
        &words(&[0x0010, 0x0018, 0x000b, 0x0003, 0x0010]),
        &sized(&coordinate("x")),
        &sized(&coordinate("y")),
    ]
    .concat();
    let name = [[0, 0x0b].as_slice(), &sha256(&public)].concat();
    let attest = [
        0xff54_4347_u32.to_be_bytes().as_slice(),
        &words(&[0x8017]),
        &sized(&[1; 34]),
        &sized(&sha256(nonce.as_bytes())),
        &[0; 25],
        &sized(&name),
        &sized(&[2; 34]),
    ]
    .concat();
    let signature = encode(key(ATTESTER).sign(&attest));
    TpmEvidence { attester: key(ATTESTER).public(), public: encode(public), attest: encode(attest), signature }
}

/// A computer and who works on it.
struct Laptop<'a> {
    server: &'a Server,
    owner: &'a Someone,
    key: SigningKey,
}

impl Laptop<'_> {
    fn id(&self) -> Thumbprint {
        self.key.public().thumbprint()
    }

    fn nonce(&self, device: Option<&Thumbprint>) -> String {
        let body = device.map_or_else(|| json!({}), |device| json!({"device": device.as_str()}));
        let given = self.owner.post(self.server, "/v1/devices/nonce", &body).ok();
        given["nonce"].as_str().expect("a nonce").to_owned()
    }

    fn enrol(&self, tpm: bool, serial: Option<&str>) -> Reply {
        let nonce = self.nonce(None);
        let tpm = tpm.then(|| evidence(&self.key, &nonce));
        let enrolment = Enrolment::new("laptop", Platform::Linux, serial, self.key.public(), &nonce, tpm);
        self.send("/v1/devices", &enrolment.sign(&self.key))
    }

    fn signed(&self, sequence: u64, made: Instant, posture: Posture) -> Signed {
        Signed::make(&Report::new(self.id(), &self.nonce(Some(&self.id())), sequence, made, posture), &self.key)
    }

    fn report(&self, sequence: u64, posture: Posture) -> Reply {
        let signed = self.signed(sequence, now(), posture);
        self.send_report(&signed)
    }

    fn send_report(&self, signed: &Signed) -> Reply {
        self.send(&format!("/v1/devices/{}/report", self.id().as_str()), signed)
    }

    fn bind(&self) -> Reply {
        let session = self.owner.opened["session"].as_str().expect("a session");
        let binding = Binding::new(self.id(), session, &self.nonce(Some(&self.id())));
        let body = json!({"device": self.id().as_str(), "signed": Signed::make(&binding, &self.key)});
        self.owner.post(self.server, "/v1/sessions/device", &body)
    }

    fn send(&self, path: &str, signed: &Signed) -> Reply {
        self.owner.post(self.server, path, &serde_json::to_value(signed).expect("JSON"))
    }

    fn worth(&self) -> Value {
        self.owner.get(self.server, "/v1/me").ok()["device"].clone()
    }
}

fn development(provider: &Provider) -> Server {
    Server::configured(EnvironmentClass::Development, &format!("{}{}", provider.config(), standard()))
}

#[test]
fn attack_ch18_production_is_reached_from_trusted_devices_and_only_while_they_are() {
    let provider = Provider::start();
    let groups = "[sign_in.groups]\nleads = { role = \"security-lead\" }\n";
    let tail = format!("{}{groups}{}", provider.config(), standard());
    let mut server = Server::configured(EnvironmentClass::Development, &tail);
    let directory = provisioner(&server);
    server.stop();
    let file = server.data().join("config.toml");
    let config = std::fs::read_to_string(&file).expect("written");
    let production = config.replacen("class = \"development\"", "class = \"production\"", 1);
    assert_ne!(production, config);
    std::fs::write(&file, production).expect("written");
    server.start();
    let id = make(&server, &directory.token, "/Users", &user("ana"));
    make(&server, &directory.token, "/Groups", &group("leads", &[&id]));
    let mut yubikey = authenticator(&server, 1);
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut yubikey));
    let nothing = json!({"tool": "mdm-json", "export": "[]"});
    let reach = || ana.post(&server, "/v1/devices/import", &nothing).status;
    assert_eq!(reach(), 403, "no device");

    // A key in a file is not enough, however well the computer is set up.
    let soft = Laptop { server: &server, owner: &ana, key: key(7) };
    assert_eq!(soft.enrol(false, None).status, 201);
    assert_eq!(soft.report(1, good()).ok()["trust"], "low-assurance");
    soft.bind().ok();
    assert_eq!((soft.worth(), reach()), (json!("low-assurance"), 403));

    let laptop = Laptop { server: &server, owner: &ana, key: key(8) };
    assert_eq!(laptop.enrol(true, None).ok()["key"], "tpm");
    laptop.bind().ok();
    assert_eq!((laptop.worth(), reach()), (json!("none"), 403), "it has not reported");
    laptop.report(1, good()).ok();
    assert_eq!((laptop.worth(), reach()), (json!("trusted"), 200));

    // Whatever turns bad ends it with the next request; set right again it counts again.
    let turns: [fn(&mut Posture); 4] = [
        |posture| posture.disk_encryption = State::Off,
        |posture| posture.password_managers[0].signer = "somebody else's".to_owned(),
        |posture| posture.password_manager_lock = State::Unknown,
        |posture| posture.remote_login = State::On,
    ];
    for (turn, change) in turns.iter().enumerate() {
        let mut bad = good();
        change(&mut bad);
        let number = 2 * u64::try_from(turn).expect("few") + 2;
        let told = laptop.report(number, bad).ok();
        assert_eq!((&told["trust"], told["findings"].as_array().map(Vec::len)), (&json!("none"), Some(1)), "{told}");
        assert_eq!(reach(), 403);
        laptop.report(number + 1, good()).ok();
        assert_eq!(reach(), 200);
    }
    let path = format!("/v1/devices/{}/revoke", laptop.id().as_str());
    ana.post(&server, &path, &json!({})).ok();
    assert_eq!(reach(), 401, "the session ended with its device");
}

#[test]
fn attack_ch18_replayed_foreign_old_and_cloned_reports_are_refused() {
    let provider = Provider::start();
    let server = development(&provider);
    let (ana, ben) = (sign_in(&server, &provider, "ana"), sign_in(&server, &provider, "ben"));
    let laptop = Laptop { server: &server, owner: &ana, key: key(7) };
    let other = Laptop { server: &server, owner: &ben, key: key(8) };
    assert_eq!((laptop.enrol(true, None).status, other.enrol(true, None).status), (201, 201));
    laptop.bind().ok();
    let first = laptop.signed(1, now(), good());
    laptop.send_report(&first).ok();
    assert_eq!(laptop.worth(), "trusted");
    assert_eq!(laptop.send_report(&first).problem(422), "device/nonce", "replayed");
    // Ben's computer says something about Ana's, and Ana hands in what Ben's says.
    let id = laptop.id();
    let nonce = laptop.nonce(Some(&id));
    let forged = Signed::make(&Report::new(id.clone(), &nonce, 2, now(), good()), &other.key);
    assert_eq!(laptop.send_report(&forged).problem(422), "device/signature");
    let foreign = other.signed(1, now(), good());
    assert_eq!(laptop.send_report(&foreign).problem(422), "device/other");
    let path = format!("/v1/devices/{}/report", id.as_str());
    assert_eq!(other.send(&path, &first).problem(404), "not-found/device", "somebody else's");
    let old = laptop.signed(3, now().minus(Span::hours(1)), good());
    assert_eq!(laptop.send_report(&old).problem(422), "device/time");
    let future = laptop.signed(4, now().plus(Span::hours(1)), good());
    assert_eq!(laptop.send_report(&future).problem(422), "device/time");
    assert_eq!(laptop.worth(), "trusted", "none of this changed anything");
    // Ben's session is not put on Ana's computer.
    let session = ben.opened["session"].as_str().expect("a session");
    let binding = Binding::new(id.clone(), session, &laptop.nonce(Some(&id)));
    let body = json!({"device": id.as_str(), "signed": Signed::make(&binding, &laptop.key)});
    assert_eq!(ben.post(&server, "/v1/sessions/device", &body).problem(404), "not-found/device");
    assert_eq!(ana.post(&server, "/v1/sessions/device", &body).problem(422), "device/other");

    // The key was copied: the copy counts on from where it was taken, and so does the original.
    laptop.report(5, good()).ok();
    assert_eq!(laptop.report(5, good()).problem(403), "access/device-cloned");
    assert_eq!(ana.get(&server, "/v1/me").problem(401), "auth/bad-token", "the session on it ended");
    let again = sign_in(&server, &provider, "ana");
    let laptop = Laptop { server: &server, owner: &again, key: key(7) };
    assert_eq!(laptop.report(6, good()).problem(403), "access/device-revoked");
    assert_eq!(laptop.bind().problem(403), "access/device-revoked");
    assert_eq!(laptop.enrol(true, None).problem(409), "conflict/device");
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    for entry in ["device.enrolled", "device.refused", "device.cloned", "session.bound", "CH-18"] {
        assert!(log.contains(entry), "{entry}");
    }
}

#[test]
fn attack_ch16_phones_are_not_enrolled() {
    let provider = Provider::start();
    let server = development(&provider);
    let ana = sign_in(&server, &provider, "ana");
    let phone = Laptop { server: &server, owner: &ana, key: SigningKey::from_random(KeyKind::P256, &random()) };
    for platform in ["ios", "android", "ipados"] {
        let enrolment = Enrolment::new("phone", Platform::Linux, None, phone.key.public(), &phone.nonce(None), None);
        let mut document = serde_json::to_value(enrolment).expect("JSON");
        document["platform"] = platform.into();
        let refused = phone.send("/v1/devices", &Signed::make(&document, &phone.key));
        assert_eq!(refused.problem(403), "access/device-platform", "{platform}");
    }
    let none = Server::configured(EnvironmentClass::Development, &provider.config());
    let ana = sign_in(&none, &provider, "ana");
    let laptop = Laptop { server: &none, owner: &ana, key: key(7) };
    assert_eq!(laptop.enrol(false, None).problem(404), "not-found/device-standard");
}

#[test]
fn exports_count_for_the_device_with_their_serial_and_only_a_security_lead_brings_them() {
    let provider = Provider::start();
    let server = development(&provider);
    let (ana, lead) = (sign_in(&server, &provider, "ana"), sign_in(&server, &provider, "lead"));
    let assigned = json!({"roles": ["security-lead"]});
    server.post("/v1/persons/lead@example.com/assign", &server.admin_token(), &assigned).ok();
    let laptop = Laptop { server: &server, owner: &ana, key: key(7) };
    assert_eq!(laptop.enrol(false, Some("C02X")).status, 201);
    laptop.bind().ok();
    let export = |serial: &str, disk: &str, at: Instant| {
        json!([{
            "serial": serial, "collected": at, "platform": "linux", "os": "ubuntu", "os_version": "24.04",
            "disk_encryption": disk, "firewall": "on", "automatic_updates": "on", "malware_protection": "on",
            "remote_login": "off", "password_manager_lock": "on", "browser_passwords": "off",
            "screen_lock_seconds": 300, "password_manager": "1password", "password_manager_signer": "ab",
        }])
        .to_string()
    };
    let import = |who: &Someone, export: &str| {
        who.post(&server, "/v1/devices/import", &json!({"tool": "mdm-json", "export": export}))
    };
    let fresh = export("C02X", "on", now());
    assert_eq!(import(&ana, &fresh).problem(403), "access/denied", "nobody vouches for their own computer");
    assert_eq!(import(&lead, &fresh).ok(), json!({"taken": 1, "older": 0, "unknown": 0}));
    assert_eq!(laptop.worth(), "low-assurance", "a tool does not say where the key is");
    assert_eq!(import(&lead, &fresh).ok()["older"], 1);
    assert_eq!(import(&lead, &export("C03X", "on", now())).ok()["unknown"], 1);
    import(&lead, &export("C02X", "off", now())).ok();
    assert_eq!(laptop.worth(), "none");
    assert_eq!(import(&lead, "[{}]").problem(422), "device/export");

    // One serial, one computer; and the lead sees and ends what is somebody else's, which others do not.
    let second = Laptop { server: &server, owner: &lead, key: key(9) };
    assert_eq!(second.enrol(false, Some("C02X")).problem(409), "conflict/device");
    let listed = lead.get(&server, "/v1/devices?person=ana@example.com").ok();
    assert_eq!(listed["devices"][0]["device"], laptop.id().as_str());
    assert_eq!(ana.get(&server, "/v1/devices?person=lead@example.com").problem(404), "not-found/person");
    let path = format!("/v1/devices/{}/revoke", laptop.id().as_str());
    assert!(lead.post(&server, &path, &json!({})).ok()["revoked"].is_string());
    assert_eq!(ana.get(&server, "/v1/me").problem(401), "auth/bad-token");
}
