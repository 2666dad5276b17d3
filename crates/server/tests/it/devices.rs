//! Devices over HTTP: enrolled by a key, trusted by what they report, and only for as long as it is so.

use std::io::Read as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use creta_identity::device::{
    Binding, Enrolment, Package, Platform, Posture, Report, SearchAsked, Searched, Signed, State, TpmEvidence,
};
use creta_identity::dpop::Prover;
use creta_identity::key::{KeyKind, SigningKey, Thumbprint};
use creta_model::{EnvironmentClass, Instant, Span};
use serde_json::{Value, json};

use crate::jws::{decode, encode, sha256};
use crate::people::{
    Someone, answer_prompt, assign, authenticator, now, prove, prover, random, server_by, sign_in, sign_in_holding,
    sign_in_registering, sign_in_with,
};
use crate::provider::Provider;
use crate::provisioning::{group, make, provisioner, user};
use crate::soft_authenticator::SoftAuthenticator;
use crate::support::{ARROW, JSON, Reply, Server, stream};

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_random(KeyKind::P256, &[seed; 32])
}

/// The organisation's TPM is the one whose attestation key this is.
const ATTESTER: u8 = 99;

/// The keyring of the approved password manager's repository, as its SHA-256.
const SIGNER: &str = "abababababababababababababababababababababababababababababababab";

pub(crate) fn standard() -> String {
    format!(
        "[devices]\nattesters = [\"{}\"]\n[devices.standard]\nscreen_lock_seconds_max = 300\nreport_hours_max = 24\n\
         password_managers = [{{ platform = \"linux\", package = {{ id = \"1password\", signer = \"{SIGNER}\" }} }}, \
         {{ platform = \"macos\", package = {{ id = \"com.1password\", signer = \"2BUA8C4S2C\" }} }}]\n\
         [devices.standard.os_versions_min]\nubuntu = \"22.04\"\nmacos = \"14.0\"\n",
        key(ATTESTER).public().thumbprint().as_str(),
    )
}

pub(crate) fn good() -> Posture {
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
        password_managers: vec![Package { id: "1password".to_owned(), signer: SIGNER.to_owned() }],
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

/// A computer and who works on it, in a session that its key proves.
pub(crate) struct Laptop<'a> {
    pub(crate) server: &'a Server,
    pub(crate) owner: Someone,
    pub(crate) key: SigningKey,
}

/// Somebody signs in with the key of a computer.
pub(crate) fn sign_in_on(
    server: &Server,
    provider: &Provider,
    who: &str,
    seed: u8,
    authenticator: Option<&mut SoftAuthenticator>,
) -> Someone {
    sign_in_holding(server, provider, who, Prover::new(key(seed)), authenticator)
}

impl<'a> Laptop<'a> {
    pub(crate) fn of(server: &'a Server, provider: &Provider, who: &str, seed: u8) -> Self {
        Self { server, owner: sign_in_on(server, provider, who, seed, None), key: key(seed) }
    }

    /// One with a TPM that is as it has to be, with its owner at work on it.
    pub(crate) fn ready(server: &'a Server, provider: &Provider, who: &str, seed: u8) -> Self {
        let laptop = Self::of(server, provider, who, seed);
        assert_eq!(laptop.enrol(true, None).ok()["key"], "tpm");
        laptop.bind().ok();
        laptop.report(1, good()).ok();
        laptop
    }

    pub(crate) fn id(&self) -> Thumbprint {
        self.key.public().thumbprint()
    }

    pub(crate) fn path(&self, what: &str) -> String {
        format!("/v1/devices/{}/{what}", self.id().as_str())
    }

    /// Asked by the computer itself, with nobody signed in.
    pub(crate) fn nonce(&self) -> String {
        let given = open(self.server, &self.path("nonce"), &json!({})).ok();
        assert_eq!(given["standard"]["screen_lock_seconds_max"], 300);
        given["nonce"].as_str().expect("a nonce").to_owned()
    }

    fn enrolment_nonce(&self) -> String {
        let given = self.owner.post(self.server, "/v1/devices/nonce", &json!({})).ok();
        given["nonce"].as_str().expect("a nonce").to_owned()
    }

    pub(crate) fn enrol(&self, tpm: bool, serial: Option<&str>) -> Reply {
        let nonce = self.enrolment_nonce();
        let tpm = tpm.then(|| evidence(&self.key, &nonce));
        let enrolment = Enrolment::new("laptop", Platform::Linux, serial, self.key.public(), &nonce, tpm);
        self.send("/v1/devices", &enrolment.sign(&self.key))
    }

    fn signed(&self, sequence: u64, made: Instant, posture: Posture) -> Signed {
        Signed::make(&Report::new(self.id(), &self.nonce(), sequence, made, posture), &self.key)
    }

    pub(crate) fn report(&self, sequence: u64, posture: Posture) -> Reply {
        self.send_report(&self.signed(sequence, now(), posture))
    }

    fn send_report(&self, signed: &Signed) -> Reply {
        open(self.server, &self.path("report"), &serde_json::to_value(signed).expect("JSON"))
    }

    pub(crate) fn bind(&self) -> Reply {
        self.bind_of(&self.owner)
    }

    fn bind_of(&self, someone: &Someone) -> Reply {
        let session = someone.opened["session"].as_str().expect("a session");
        let binding = Binding::new(self.id(), session, &self.nonce());
        let body = json!({"device": self.id().as_str(), "signed": Signed::make(&binding, &self.key)});
        someone.post(self.server, "/v1/sessions/device", &body)
    }

    fn send(&self, path: &str, signed: &Signed) -> Reply {
        self.owner.post(self.server, path, &serde_json::to_value(signed).expect("JSON"))
    }

    pub(crate) fn worth(&self) -> Value {
        self.owner.get(self.server, "/v1/me").ok()["device"].clone()
    }
}

/// Sends something without saying who sends it.
fn open(server: &Server, path: &str, body: &Value) -> Reply {
    server.send("POST", path, None, Some((JSON, body.to_string().as_bytes())))
}

pub(crate) fn log(server: &Server) -> String {
    server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text()
}

fn development(provider: &Provider) -> Server {
    Server::configured(EnvironmentClass::Development, &format!("{}{}", provider.config(), standard()))
}

/// A server of class production that the directory has told about: `leads` are security leads, `makers` developers of acme.
pub(crate) fn production(provider: &Provider, members: &[(&str, &str)]) -> Server {
    let groups = "[sign_in.groups]\nleads = { role = \"security-lead\", need = \"Looks after the shop while others sleep\" }\nmakers = { role = \"developer\", tenant = \"acme\", need = \"Makes features of the shop and mends those that broke\" }\n";
    let tail = format!("{}{groups}{}", provider.config(), standard());
    let mut server = Server::configured(EnvironmentClass::Development, &tail);
    server.shop("acme");
    let directory = provisioner(&server);
    server.stop();
    let file = server.data().join("config.toml");
    let config = std::fs::read_to_string(&file).expect("written");
    let of_production = config.replacen("class = \"development\"", "class = \"production\"", 1);
    assert_ne!(of_production, config);
    std::fs::write(&file, of_production).expect("written");
    server.start();
    let mut groups = std::collections::BTreeMap::<&str, Vec<String>>::new();
    for (who, of) in members {
        groups.entry(of).or_default().push(make(&server, &directory.token, "/Users", &user(who)));
    }
    for (name, members) in &groups {
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        make(&server, &directory.token, "/Groups", &group(name, &members));
    }
    server
}

/// What `ana`, a security lead, can do in production on a computer with this key.
fn reach(server: &Server, ana: &Someone) -> u16 {
    ana.post(server, "/v1/devices/import", &json!({"tool": "mdm-json", "export": "[]"})).status
}

#[test]
fn attack_ch18_production_is_reached_from_trusted_devices_and_only_while_they_are() {
    let provider = Provider::start();
    let server = production(&provider, &[("ana", "leads")]);
    let mut yubikey = authenticator(&server, 1);
    let owner = sign_in_on(&server, &provider, "ana", 7, Some(&mut yubikey));
    assert_eq!(reach(&server, &owner), 403, "no device");

    // A key in a file is not enough, however well the computer is set up.
    let soft = Laptop { server: &server, owner, key: key(7) };
    assert_eq!(soft.enrol(false, None).status, 201);
    assert_eq!(soft.report(1, good()).ok()["trust"], "low-assurance");
    soft.bind().ok();
    assert_eq!((soft.worth(), reach(&server, &soft.owner)), (json!("low-assurance"), 403));

    let owner = sign_in_on(&server, &provider, "ana", 8, Some(&mut yubikey));
    let mut laptop = Laptop { server: &server, owner, key: key(8) };
    assert_eq!(laptop.enrol(true, None).ok()["key"], "tpm");
    laptop.bind().ok();
    assert_eq!((laptop.worth(), reach(&server, &laptop.owner)), (json!("none"), 403), "it has not reported");
    laptop.report(1, good()).ok();
    assert_eq!((laptop.worth(), reach(&server, &laptop.owner)), (json!("trusted"), 200));

    // Whatever turns bad ends the session at once. A new one on the bad computer reaches nothing; once it is set right and
    // has said so, production is there again.
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
        assert_eq!(reach(&server, &laptop.owner), 401, "the session ended");
        assert_eq!(laptop.owner.renew(&server, &laptop.owner.prover).problem(401), "auth/session-over");
        laptop.owner = sign_in_on(&server, &provider, "ana", 8, Some(&mut yubikey));
        assert_eq!((laptop.worth(), reach(&server, &laptop.owner)), (json!("none"), 403));
        laptop.report(number + 1, good()).ok();
        assert_eq!(reach(&server, &laptop.owner), 200);
    }
    laptop.owner.post(&server, &laptop.path("revoke"), &json!({})).ok();
    assert_eq!(reach(&server, &laptop.owner), 401, "the session ended with its device");
    laptop.owner = sign_in_on(&server, &provider, "ana", 8, Some(&mut yubikey));
    assert_eq!((laptop.worth(), reach(&server, &laptop.owner)), (json!("none"), 403), "its key opens nothing any more");
}

#[test]
fn attack_ch18_what_a_tenants_developer_was_granted_does_nothing_once_the_disk_is_not_encrypted() {
    let provider = Provider::start();
    let server = production(&provider, &[("ana", "makers"), ("ben", "leads"), ("eve", "makers")]);
    let (mut of_ana, mut of_ben) = (authenticator(&server, 1), authenticator(&server, 2));
    let laptop = |who: &str, seed, authenticator: &mut SoftAuthenticator| {
        let owner = sign_in_registering(&server, &provider, who, Prover::new(key(seed)), authenticator);
        let laptop = Laptop { server: &server, owner, key: key(seed) };
        assert_eq!(laptop.enrol(true, None).status, 201);
        laptop.report(1, good()).ok();
        let owner = sign_in_on(&server, &provider, who, seed, Some(authenticator));
        Laptop { owner, ..laptop }
    };
    let (ana, ben) = (laptop("ana", 7, &mut of_ana), laptop("ben", 8, &mut of_ben));
    assert_eq!((ana.worth(), ben.worth()), (json!("trusted"), json!("trusted")), "signing in is enough");
    assert_eq!(ana.owner.get(&server, "/v1/catalogue").problem(403), "access/denied", "nothing was granted");

    let request = ana.owner.request(&server, "developer", 2).json();
    let path = format!("/v1/access/requests/{}", request["request"].as_str().expect("an id"));
    // Who may decide, from a computer that nobody knows, is told that it is the computer; who may not learns of nothing.
    let bare = sign_in_with(&server, &provider, "ben", Some(&mut of_ben));
    let mut of_eve = authenticator(&server, 3);
    let eve = sign_in_with(&server, &provider, "eve", Some(&mut of_eve));
    for asked in [path.as_str(), "/v1/devices?person=ana@example.com"] {
        let refused = bare.get(&server, asked);
        let help = refused.json()["help"].as_str().unwrap_or_default().to_owned();
        assert_eq!(refused.problem(403), "access/denied", "{asked}");
        assert!(help.starts_with("use an enrolled device"), "{asked}: {help}");
        assert!(eve.get(&server, asked).problem(404).starts_with("not-found/"), "{asked}");
    }
    let approve = json!({"verdict": "approve", "digest": request["digest"]});
    let asked = ben.owner.post(&server, &format!("{path}/decide"), &approve).ok();
    let prompt = asked["verify"].as_str().expect("where to sign").split("prompt=").nth(1).expect("an id").to_owned();
    assert_eq!(answer_prompt(&server, &mut of_ben, &prompt, None).status, 200);
    ana.owner.post(&server, &format!("{path}/activate"), &json!({})).ok();
    ana.owner.get(&server, "/v1/catalogue").ok();

    // The grant runs on; the computer does not. Neither the old session, nor a new one, nor one from elsewhere uses it.
    let mut bad = good();
    bad.disk_encryption = State::Off;
    ana.report(2, bad).ok();
    assert_eq!(ana.owner.get(&server, "/v1/catalogue").problem(401), "auth/bad-token");
    let ana = Laptop { owner: sign_in_on(&server, &provider, "ana", 7, Some(&mut of_ana)), ..ana };
    assert_eq!(ana.owner.get(&server, "/v1/catalogue").problem(403), "access/denied");
    let elsewhere = sign_in_with(&server, &provider, "ana", Some(&mut of_ana));
    assert_eq!(elsewhere.get(&server, "/v1/catalogue").problem(403), "access/denied");
    let grants = elsewhere.get(&server, "/v1/access/grants").ok();
    assert_eq!(grants["grants"][0]["holds"], true, "{grants}");
    ana.report(3, good()).ok();
    ana.owner.get(&server, "/v1/catalogue").ok();
}

#[test]
fn attack_ch18_a_long_answer_breaks_off_when_the_computer_turns_bad() {
    let provider = Provider::start();
    let server = development(&provider);
    server.shop("acme");
    let laptop = Laptop::ready(&server, &provider, "ana", 7);
    assign(&server, "ana", &json!({"roles": ["developer"], "tenant": "acme"}));
    let rows = 1_500_000;
    let spine = RecordBatch::try_from_iter([
        ("User.id", Arc::new((0..rows).collect::<Int64Array>()) as ArrayRef),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![now().micros(); rows as usize]).with_timezone("UTC"))),
    ])
    .expect("columns of one length");
    let ask = || {
        let path = "/v1/training-sets?features=User.city&as_of=at";
        let proof = prove(&server, &laptop.owner.prover, "POST", path, Some(laptop.owner.token()));
        let authorization = format!("DPoP {}", laptop.owner.token());
        let headers = [("authorization", authorization.as_str()), ("dpop", &proof), ("content-type", ARROW)];
        server.begin("POST", path, None, &headers, Some(&stream(&spine)))
    };
    let mut answer = ask();
    assert_eq!(answer.status(), 200);
    let mut body = answer.body_mut().with_config().limit(u64::MAX).reader();
    let mut first = vec![0; 64 << 10];
    body.read_exact(&mut first).expect("it begins");
    let mut bad = good();
    bad.firewall = State::Off;
    laptop.report(2, bad).ok();
    let mut rest = Vec::new();
    let ended = body.read_to_end(&mut rest);
    assert!(ended.is_err(), "{} of {rows} rows' bytes came and looked whole", rest.len());
}

#[test]
fn attack_ch18_replayed_foreign_old_and_cloned_reports_are_refused() {
    let provider = Provider::start();
    let server = development(&provider);
    let (laptop, other) = (Laptop::of(&server, &provider, "ana", 7), Laptop::of(&server, &provider, "ben", 8));
    let (ana, ben) = (&laptop.owner, &other.owner);
    assert_eq!((laptop.enrol(true, None).status, other.enrol(true, None).status), (201, 201));
    laptop.bind().ok();
    let first = laptop.signed(1, now(), good());
    laptop.send_report(&first).ok();
    assert_eq!(laptop.worth(), "trusted");
    assert_eq!(laptop.send_report(&first).problem(422), "device/nonce", "replayed");
    // Ben's computer says something about Ana's, and Ana hands in what Ben's says.
    let id = laptop.id();
    let forged = Signed::make(&Report::new(id.clone(), &laptop.nonce(), 2, now(), good()), &other.key);
    assert_eq!(laptop.send_report(&forged).problem(422), "device/signature");
    let foreign = other.signed(1, now(), good());
    assert_eq!(laptop.send_report(&foreign).problem(422), "device/other");
    let nonce_of_ben = Signed::make(&Report::new(id.clone(), &other.nonce(), 2, now(), good()), &laptop.key);
    assert_eq!(laptop.send_report(&nonce_of_ben).problem(422), "device/nonce", "another device's question");
    let nobody = open(&server, &format!("/v1/devices/{}/nonce", key(9).public().thumbprint().as_str()), &json!({}));
    assert_eq!(nobody.problem(404), "not-found/device");
    let old = laptop.signed(3, now().minus(Span::hours(1)), good());
    assert_eq!(laptop.send_report(&old).problem(422), "device/time");
    let future = laptop.signed(4, now().plus(Span::hours(1)), good());
    assert_eq!(laptop.send_report(&future).problem(422), "device/time");
    assert_eq!(laptop.worth(), "trusted", "none of this changed anything");
    // Ben's session is not put on Ana's computer.
    let session = ben.opened["session"].as_str().expect("a session");
    let binding = Binding::new(id.clone(), session, &laptop.nonce());
    let body = json!({"device": id.as_str(), "signed": Signed::make(&binding, &laptop.key)});
    assert_eq!(ben.post(&server, "/v1/sessions/device", &body).problem(404), "not-found/device");
    assert_eq!(ana.post(&server, "/v1/sessions/device", &body).problem(422), "device/other");
    // Nor is Ben's a session on Ana's computer because he signs in with a copy of its key.
    let thief = sign_in_on(&server, &provider, "ben", 7, None);
    assert_eq!(thief.get(&server, "/v1/me").ok()["device"], "none");

    // The key was copied: the copy counts on from where it was taken, and so does the original.
    laptop.report(5, good()).ok();
    assert_eq!(laptop.report(5, good()).problem(403), "access/device-cloned");
    assert_eq!(ana.get(&server, "/v1/me").problem(401), "auth/bad-token", "the session on it ended");
    let laptop = Laptop::of(&server, &provider, "ana", 7);
    assert_eq!(laptop.worth(), "none");
    assert_eq!(laptop.report(6, good()).problem(403), "access/device-revoked");
    assert_eq!(laptop.bind().problem(403), "access/device-revoked");
    assert_eq!(laptop.enrol(true, None).problem(409), "conflict/device");
    let log = log(&server);
    for entry in ["device.enrolled", "device.refused", "device.cloned", "device.fell", "session.bound", "CH-18"] {
        assert!(log.contains(entry), "{entry}");
    }
}

#[test]
fn attack_ch18_strangers_fill_neither_the_log_nor_a_computers_nonces() {
    let provider = Provider::start();
    let server = development(&provider);
    let laptop = Laptop::ready(&server, &provider, "ana", 7);
    let other = Laptop::ready(&server, &provider, "ben", 8);
    let (early, forger) = (laptop.signed(2, now(), good()), key(9));
    for _ in 0..150 {
        let forged = Signed::make(&Report::new(other.id(), &other.nonce(), 2, now(), good()), &forger);
        assert_eq!(other.send_report(&forged).problem(422), "device/signature");
    }
    laptop.send_report(&early).ok();
    let written = log(&server).matches("device.refused").count();
    assert!((1..=100).contains(&written), "{written}");
}

#[test]
fn attack_ch16_a_desktops_session_is_worth_nothing_on_a_phone() {
    let provider = Provider::start();
    let server = production(&provider, &[("ana", "leads")]);
    let mut yubikey = authenticator(&server, 1);
    // A session that began with a key in a file, of which somebody may have a copy, moves onto the computer.
    let mut desktop = sign_in_with(&server, &provider, "ana", Some(&mut yubikey));
    let laptop =
        Laptop { server: &server, owner: sign_in_on(&server, &provider, "ana", 8, Some(&mut yubikey)), key: key(8) };
    assert_eq!(laptop.enrol(true, None).status, 201);
    laptop.report(1, good()).ok();
    laptop.bind_of(&desktop).ok();
    let copied = desktop.get(&server, "/v1/me");
    assert_eq!(copied.problem(401), "auth/bad-token", "the key in the file proves it no more");
    assert_eq!(desktop.renew(&server, &desktop.prover).problem(401), "auth/session-over");
    let renewed = desktop.renew(&server, &Prover::new(key(8))).ok();
    desktop.opened["access_token"] = renewed["access_token"].clone();
    desktop.prover = Prover::new(key(8));
    assert_eq!(reach(&server, &desktop), 200);

    // A phone has everything that a file can hold, and says that it is a desktop. It does not have the computer's key.
    let phone = prover();
    let body = json!({"tool": "mdm-json", "export": "[]"}).to_string();
    for (what, key_of, expected) in [("no proof", None, "auth/no-proof"), ("its own", Some(&phone), "auth/bad-proof")] {
        let path = "/v1/devices/import";
        let proof = key_of.map(|key| prove(&server, key, "POST", path, Some(desktop.token())));
        let authorization = format!("{} {}", if proof.is_some() { "DPoP" } else { "Bearer" }, desktop.token());
        let mut headers = vec![("authorization", authorization.as_str()), ("content-type", JSON), DESKTOP];
        headers.extend(proof.as_deref().map(|proof| ("dpop", proof)));
        let reply = server.send_with("POST", path, None, &headers, Some(body.as_bytes()));
        assert_eq!(reply.problem(401), expected, "{what}");
    }
    assert_eq!(desktop.renew(&server, &phone).problem(401), "auth/session-over");
    assert_eq!(reach(&server, &desktop), 200, "nobody is locked out by it");
    assert!(Laptop { owner: desktop, ..laptop }.worth() == "trusted");
}

/// What a browser on a desktop says that it is.
const DESKTOP: (&str, &str) =
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36");

#[test]
fn attack_ch16_a_phone_that_poses_as_a_desktop_signs_in_and_reaches_nothing() {
    let provider = Provider::start();
    let server = production(&provider, &[("ana", "leads")]);
    let mut passkey = authenticator(&server, 1);
    let seed = 21;
    let phone = Laptop {
        server: &server,
        owner: sign_in_on(&server, &provider, "ana", seed, Some(&mut passkey)),
        key: key(seed),
    };
    assert_eq!(phone.owner.get(&server, "/v1/me").ok()["user_verified"], true, "the passkey is a good one");
    assert_eq!(server.send("GET", "/trust/", None, None).status, 200);
    let as_desktop = |path: &str, body: &Value| {
        let proof = prove(&server, &phone.owner.prover, "POST", path, Some(phone.owner.token()));
        let authorization = format!("DPoP {}", phone.owner.token());
        let headers = [("authorization", authorization.as_str()), ("dpop", &proof), ("content-type", JSON), DESKTOP];
        server.send_with("POST", path, None, &headers, Some(body.to_string().as_bytes()))
    };
    let import = json!({"tool": "mdm-json", "export": "[]"});
    assert_eq!(as_desktop("/v1/devices/import", &import).problem(403), "access/denied");
    // It says what it is, and is refused for it.
    for platform in ["ios", "android", "ipados"] {
        let enrolment =
            Enrolment::new("phone", Platform::Linux, None, phone.key.public(), &phone.enrolment_nonce(), None);
        let mut document = serde_json::to_value(enrolment).expect("JSON");
        document["platform"] = platform.into();
        let signed = serde_json::to_value(Signed::make(&document, &phone.key)).expect("JSON");
        assert_eq!(as_desktop("/v1/devices", &signed).problem(403), "access/device-platform", "{platform}");
    }
    // It lies, with a statement that its own chip signed: not one that the organisation bought.
    let nonce = phone.enrolment_nonce();
    let mut chip = evidence(&phone.key, &nonce);
    (chip.attester, chip.signature) =
        (key(22).public(), encode(key(22).sign(&decode(&chip.attest).expect("base64url"))));
    let lie = Enrolment::new("desk", Platform::Linux, None, phone.key.public(), &nonce, Some(chip)).sign(&phone.key);
    assert_eq!(as_desktop("/v1/devices", &serde_json::to_value(lie).expect("JSON")).problem(422), "device/tpm");
    // It lies without one, and reports what it likes: whatever has its key in software does not reach production.
    assert_eq!(phone.enrol(false, None).status, 201);
    phone.report(1, good()).ok();
    phone.bind().ok();
    assert_eq!(phone.worth(), "low-assurance");
    assert_eq!(as_desktop("/v1/devices/import", &import).problem(403), "access/denied");
}

#[test]
fn attack_ch16_phones_are_not_enrolled() {
    let provider = Provider::start();
    let server = development(&provider);
    let ana = sign_in(&server, &provider, "ana");
    let phone = Laptop { server: &server, owner: ana, key: SigningKey::from_random(KeyKind::P256, &random()) };
    for platform in ["ios", "android", "ipados"] {
        let enrolment =
            Enrolment::new("phone", Platform::Linux, None, phone.key.public(), &phone.enrolment_nonce(), None);
        let mut document = serde_json::to_value(enrolment).expect("JSON");
        document["platform"] = platform.into();
        let refused = phone.send("/v1/devices", &Signed::make(&document, &phone.key));
        assert_eq!(refused.problem(403), "access/device-platform", "{platform}");
    }
    let none = Server::configured(EnvironmentClass::Development, &provider.config());
    let laptop = Laptop::of(&none, &provider, "ana", 7);
    assert_eq!(laptop.enrol(false, None).problem(404), "not-found/device-standard");
}

#[test]
fn exports_count_for_the_device_with_their_serial_and_only_a_security_lead_brings_them() {
    let provider = Provider::start();
    let server = development(&provider);
    let lead = sign_in(&server, &provider, "lead");
    let assigned = json!({"roles": ["security-lead"]});
    server.post("/v1/persons/lead@example.com/assign", &server.admin_token(), &assigned).ok();
    let laptop = Laptop::of(&server, &provider, "ana", 7);
    let ana = &laptop.owner;
    assert_eq!(laptop.enrol(false, Some("C02X")).status, 201);
    laptop.bind().ok();
    let export = |serial: &str, disk: &str, at: Instant| {
        json!([{
            "serial": serial, "collected": at, "platform": "linux", "os": "ubuntu", "os_version": "24.04",
            "disk_encryption": disk, "firewall": "on", "automatic_updates": "on", "malware_protection": "on",
            "remote_login": "off", "password_manager_lock": "on", "browser_passwords": "off",
            "screen_lock_seconds": 300, "password_manager": "1password", "password_manager_signer": SIGNER,
        }])
        .to_string()
    };
    let import = |who: &Someone, export: &str| {
        who.post(&server, "/v1/devices/import", &json!({"tool": "mdm-json", "export": export}))
    };
    let fresh = export("C02X", "on", now());
    assert_eq!(import(ana, &fresh).problem(403), "access/denied", "nobody vouches for their own computer");
    assert_eq!(import(&lead, &fresh).ok(), json!({"taken": 1, "older": 0, "unknown": 0, "own": 0}));
    assert_eq!(laptop.worth(), "low-assurance", "a tool does not say where the key is");
    assert_eq!(import(&lead, &fresh).ok()["older"], 1);
    assert_eq!(import(&lead, &export("C03X", "on", now())).ok()["unknown"], 1);
    import(&lead, &export("C02X", "off", now())).ok();
    assert_eq!(ana.get(&server, "/v1/me").problem(401), "auth/bad-token", "what a tool says ends a session as well");
    let laptop = Laptop::of(&server, &provider, "ana", 7);
    assert_eq!(laptop.worth(), "none");
    assert_eq!(import(&lead, "[{}]").problem(422), "device/export");

    // Nor does whoever may bring them vouch for the computer that they work from themselves.
    let own = Laptop { server: &server, owner: sign_in_on(&server, &provider, "lead", 10, None), key: key(10) };
    assert_eq!(own.enrol(false, Some("C09X")).status, 201);
    assert_eq!(
        import(&lead, &export("C09X", "on", now())).ok(),
        json!({"taken": 0, "older": 0, "unknown": 0, "own": 1})
    );
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(log.contains("device.refused") && log.contains("\"export\""), "{log}");

    // One serial, one computer; and the lead sees and ends what is somebody else's, which others do not.
    let second = Laptop { server: &server, owner: sign_in_on(&server, &provider, "lead", 9, None), key: key(9) };
    assert_eq!(second.enrol(false, Some("C02X")).problem(409), "conflict/device");
    let listed = lead.get(&server, "/v1/devices?person=ana@example.com").ok();
    assert_eq!(listed["devices"][0]["device"], laptop.id().as_str());
    assert_eq!(laptop.owner.get(&server, "/v1/devices?person=lead@example.com").problem(404), "not-found/person");
    assert!(lead.post(&server, &laptop.path("revoke"), &json!({})).ok()["revoked"].is_string());
    assert_eq!(laptop.owner.get(&server, "/v1/me").problem(401), "auth/bad-token");
}

#[test]
fn attack_ci24_a_device_is_reviewed_by_somebody_else_and_one_that_is_revoked_opens_nothing() {
    let provider = Provider::start();
    let (server, clock) = server_by(&provider, EnvironmentClass::Development, &standard());
    sign_in(&server, &provider, "ben");
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    let laptop = Laptop::ready(&server, &provider, "ana", 7);
    let of_ben = Laptop::ready(&server, &provider, "ben", 8);
    clock.advance(Span::days(93));
    server.running().keep_log().expect("kept");
    let ben = sign_in(&server, &provider, "ben");
    let laptop = Laptop { owner: sign_in_on(&server, &provider, "ana", 7, None), ..laptop };
    laptop.report(2, good()).ok();
    assert_eq!(laptop.worth(), "trusted");

    let listed = ben.get(&server, "/v1/reviews").ok();
    let review = listed["reviews"][0]["review"].as_str().expect("a review opened").to_owned();
    let line_of = |device: &Laptop<'_>| {
        let shown = ben.get(&server, &format!("/v1/reviews/{review}")).ok();
        let subject = format!("device:{}", device.id().as_str());
        let lines = shown["lines"].as_array().expect("a list").clone();
        lines.into_iter().find(|line| line["identity"]["subject"] == subject).expect("devices are under review")
    };
    let line = line_of(&laptop);
    assert_eq!(line["identity"]["rights"], json!(["works-for:ana@example.com/linux/tpm"]));
    let decide = |line: &Value, verdict: &str| {
        clock.advance(Span::seconds(3));
        let body = json!({"subject": line["identity"]["subject"], "digest": line["digest"], "verdict": verdict,
            "reason": "Left in a train last week, its owner says"});
        ben.post(&server, &format!("/v1/reviews/{review}/decide"), &body)
    };
    let own = decide(&line_of(&of_ben), "keep");
    assert_eq!(own.problem(422), "review/conflict", "nobody decides on their own computer");
    let decided = decide(&line, "revoke").ok();
    assert_eq!(decided["probe"]["tried"], "refused", "{decided}");
    assert_eq!(laptop.owner.get(&server, "/v1/me").problem(401), "auth/bad-token", "the session on it ended");
    let again = Laptop { owner: sign_in_on(&server, &provider, "ana", 7, None), ..laptop };
    assert_eq!(again.worth(), "none");
    assert_eq!(again.report(3, good()).problem(403), "access/device-revoked");
    // One that comes while the review is open is decided on as well.
    let late = Laptop::ready(&server, &provider, "ana", 9);
    let closed = ben.post(&server, &format!("/v1/reviews/{review}/close"), &json!({})).ok();
    assert_eq!(closed["closed"], false, "{closed}");
    assert!(closed.to_string().contains(late.id().as_str()), "{closed}");
}

#[test]
fn checks_find_computers_that_are_not_as_they_have_to_be_and_people_without_one() {
    let provider = Provider::start();
    let server = development(&provider);
    let admin = server.admin_token();
    let outcome = |check: &str| {
        let body = json!({"checks": [check]});
        let ran = server.post("/v1/trust/run", &server.admin_token(), &body).ok();
        ran["ran"][0].clone()
    };
    for check in ["device-posture", "password-managers"] {
        assert_eq!(outcome(check)["outcome"], "unknown", "nobody knows of a computer");
    }
    assert_eq!(outcome("mobile-devices")["outcome"], "pass");
    let laptop = Laptop::ready(&server, &provider, "ana", 7);
    server.post("/v1/persons/ana@example.com/assign", &admin, &json!({"roles": ["operator"]})).ok();
    for check in ["device-posture", "password-managers", "mobile-devices"] {
        assert_eq!(outcome(check)["outcome"], "pass", "{}", outcome(check));
    }
    // A process of the manager's name is nothing: the package is somebody else's.
    let mut fake = good();
    fake.password_managers[0].signer = "somebody else's".to_owned();
    laptop.report(2, fake).ok();
    assert_eq!(
        (&outcome("device-posture")["outcome"], &outcome("password-managers")["outcome"]),
        (&json!("fail"), &json!("fail"))
    );
    let mut open_door = good();
    open_door.remote_login = State::On;
    laptop.report(3, open_door).ok();
    assert_eq!(
        (&outcome("device-posture")["outcome"], &outcome("password-managers")["outcome"]),
        (&json!("fail"), &json!("pass"))
    );
    laptop.report(4, good()).ok();
    assert_eq!(outcome("device-posture")["outcome"], "pass");
    // Somebody with access whose computer nobody knows.
    sign_in(&server, &provider, "ben");
    server.post("/v1/persons/ben@example.com/assign", &admin, &json!({"roles": ["operator"]})).ok();
    assert_eq!(outcome("password-managers")["outcome"], "fail");
}

/// What a computer is asked to search for, and a report that says what a text of it holds.
pub(crate) fn report_searching(laptop: &Laptop<'_>, sequence: u64, text: &str) -> (Reply, String) {
    let given = open(laptop.server, &laptop.path("nonce"), &json!({})).ok();
    let asked: SearchAsked = serde_json::from_value(given["search"].clone()).expect("a search is asked for");
    assert_eq!(asked.folders, ["~/Downloads"]);
    let mut searching = asked.begin();
    searching.add(text.as_bytes());
    let says = Searched {
        asked: asked.digest(),
        files: 1,
        bytes: text.len() as u64,
        unreadable: 0,
        found: u64::from(searching.found()),
        found_earlier: u64::from(searching.found_earlier()),
    };
    let nonce = given["nonce"].as_str().expect("a nonce");
    let report = Report::new(laptop.id(), nonce, sequence, now(), good()).with_search(says);
    (laptop.send_report(&Signed::make(&report, &laptop.key)), given.to_string())
}

#[test]
fn attack_ch14_customers_data_on_a_computer_ends_its_trust_wakes_somebody_and_turns_the_check_red() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("pages");
    let provider = Provider::start();
    let tail = format!(
        "[[on_call]]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> {}\"]\n{}{}[devices.standard.search]\nfolders = \
         [\"~/Downloads\"]\nremove_hours = 0\n",
        out.to_str().expect("a plain path"),
        provider.config(),
        standard()
    );
    let server = Server::configured(EnvironmentClass::Development, &tail);
    let etl = server.shop("acme");
    let planted = server.get("/v1/canary", &etl.token).ok()["canary"].as_str().expect("a value").to_owned();
    let other = server.shop("beta");
    assert_ne!(server.get("/v1/canary", &other.token).ok()["canary"], planted.as_str(), "each tenant has its own");
    assert_eq!(server.get("/v1/canary", &server.admin_token()).problem(403), "access/denied");
    let check = || {
        let ran = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["workstation-values"]})).ok();
        crate::trust::outcome_of(&ran["ran"], "workstation-values")["outcome"].clone()
    };

    let laptop = Laptop::ready(&server, &provider, "ana", 7);
    assert_eq!(laptop.worth(), "none", "nobody has searched it");
    assert_eq!(check(), "unknown");
    let (clean, sent) = report_searching(&laptop, 2, "id,mail\n7,ana@example.com\n");
    assert_eq!(clean.ok()["trust"], "trusted");
    assert!(!sent.contains(&planted) && !sent.contains(&planted[planted.len() - 32..]), "{sent}");
    assert_eq!(check(), "pass");

    // What nobody planted, and a search that was asked of another computer.
    let strange = planted.replace(&planted[planted.len() - 2..], "zz");
    assert_eq!(report_searching(&laptop, 3, &strange).0.ok()["trust"], "trusted");
    let elsewhere = Laptop::ready(&server, &provider, "ben", 8);
    let given = open(&server, &elsewhere.path("nonce"), &json!({})).ok();
    let asked: SearchAsked = serde_json::from_value(given["search"].clone()).expect("a search");
    let says = Searched { asked: asked.digest(), files: 1, bytes: 1, unreadable: 0, found: 0, found_earlier: 0 };
    let borrowed = Report::new(laptop.id(), &laptop.nonce(), 4, now(), good()).with_search(says);
    assert_eq!(laptop.send_report(&Signed::make(&borrowed, &laptop.key)).problem(422), "device/search");

    // An export lies about.
    let owner = laptop.owner.get(&server, "/v1/me").ok();
    assert_eq!(owner["device"], "trusted", "{owner}");
    let (told, _) = report_searching(&laptop, 5, &format!("id,mail\n7,{planted}\n"));
    let told = told.ok();
    assert_eq!((&told["trust"], &told["findings"][0]["item"]), (&json!("none"), &json!("customers-values")), "{told}");
    assert!(!told.to_string().contains(&planted));
    assert_eq!(laptop.owner.get(&server, "/v1/me").status, 401, "the session ended");
    assert_eq!(check(), "fail");
    let log = log(&server);
    assert!(log.contains("device.values-found") && !log.contains(&planted), "{log}");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !std::fs::read_to_string(&out).is_ok_and(|pages| pages.contains("values-") && pages.contains("urgent")) {
        assert!(std::time::Instant::now() < deadline, "nobody was paged");
        std::thread::yield_now();
    }
    assert!(!std::fs::read_to_string(&out).expect("written").contains(&planted));
    // Removed, and looked for again.
    assert_eq!(report_searching(&laptop, 6, "").0.ok()["trust"], "trusted");
    report_searching(&elsewhere, 2, "").0.ok();
    assert_eq!(check(), "pass");
}
