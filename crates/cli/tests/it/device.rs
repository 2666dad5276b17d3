//! A computer with a TPM: enrolled, reporting by itself, and of no use to whoever copies its files.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::provider::Provider;
use crate::software_tpm::SoftwareTpm;
use crate::{Done, Place, Serving};

/// A computer: the profiles, sessions and keys that somebody has on it, and its TPM.
pub(crate) struct Computer<'a> {
    pub(crate) place: &'a Place,
    pub(crate) name: &'static str,
    pub(crate) tpm: &'a SoftwareTpm,
}

impl Computer<'_> {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        let home = self.place.path(self.name);
        command.env("CRETA_TPM", self.tpm.socket()).env("CRETA_PROFILE_FILE", home.join("profiles.toml"));
        command.env("XDG_CONFIG_HOME", home.join("config"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        let output = self.command(arguments).arg("--json").output().expect("the command starts");
        Done {
            code: output.status.code().expect("it ends by itself"),
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> Value {
        let done = self.run(arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {} {}", done.json, done.stderr);
        done.json
    }

    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_ne!(done.code, 0, "{arguments:?} must be refused");
        done.json["problems"][0]["code"].as_str().unwrap_or_else(|| panic!("{}", done.stderr)).to_owned()
    }

    /// Signs in, with a browser that does what it is told.
    pub(crate) fn login(&self, provider: &Provider, url: &str, who: &str) {
        let ca = self.place.path("data/tls/ca.pem");
        let arguments = ["login", "--no-browser", "--url", url, "--ca", ca.to_str().expect("text")];
        let mut login = self.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let said = BufReader::new(login.stderr.take().expect("piped"));
        let mut lines = said.lines().map(|line| line.expect("text"));
        let address =
            lines.find_map(|line| Some(line.trim().strip_prefix("https://")?.to_owned())).expect("an address");
        browse(provider, &ca, &format!("https://{address}"), who);
        assert!(login.wait().expect("it ends").success(), "{:?}", lines.collect::<Vec<_>>());
    }

    fn device_file(&self) -> std::path::PathBuf {
        let files = std::fs::read_dir(self.place.path(self.name)).expect("a folder");
        let mut found = files.map(|file| file.expect("a file").path());
        found.find(|file| file.extension().is_some_and(|extension| extension == "device")).expect("a device file")
    }
}

/// What follows no redirect by itself, and trusts the server's authority.
pub(crate) fn agent(ca: &Path) -> Agent {
    let root = Certificate::from_pem(&std::fs::read(ca).expect("written")).expect("a certificate");
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[root]))
        .unversioned_rustls_crypto_provider(std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder().tls_config(tls).http_status_as_error(false).max_redirects(0).build().new_agent()
}

/// From the server to the provider, back, and to the command line.
fn browse(provider: &Provider, ca: &Path, address: &str, who: &str) {
    let agent = agent(ca);
    let follow = |address: &str, cookie: &str| {
        let reply = agent.get(address).header("cookie", cookie).call().expect("an answer");
        let text = |name: &str| reply.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        (text("location").unwrap_or_default(), text("set-cookie").unwrap_or_default())
    };
    let (mut location, mut cookie) = (address.to_owned(), String::new());
    while !location.contains("/authorize?") {
        assert!(!location.is_empty(), "the server leads to the provider");
        (location, cookie) = follow(&location, "");
    }
    let asked = provider.asked(&location);
    let code = provider.signs_in(who, &asked.nonce);
    let back = format!("{}?code={code}&state={}", asked.redirect, asked.state);
    let (location, _) = follow(&back, cookie.split(';').next().unwrap_or_default());
    assert!(location.starts_with("http://127.0.0.1:"), "{location}");
    agent.get(&location).call().expect("the command line listens");
}

const STANDARD: &str = "[devices.standard]\nscreen_lock_seconds_max = 300\nreport_hours_max = 24\npassword_managers = \
     [{ platform = \"linux\", package = { id = \"1password\", signer = \"abababababababababababababababababababababababababababababababab\" } }]\n[devices.standard.os_versions_min]\n\
     ubuntu = \"22.04\"\n";

/// A server that knows these TPMs, and its address.
pub(crate) fn serve(place: &Place, provider: &Provider, attesters: &[&str]) -> Serving {
    place.ok(&["server", "init", "--data", "data", "--environment", "dev"]);
    let file = place.path("data/config.toml");
    let text = std::fs::read_to_string(&file).expect("written");
    let devices = format!("[devices]\nattesters = {attesters:?}\n{STANDARD}");
    std::fs::write(&file, format!("{text}\n{}{devices}", provider.config())).expect("written");
    Serving::server(place)
}

/// What a management tool says about a computer that is as it has to be.
pub(crate) fn export(serial: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_micros();
    let now = creta_model::Instant::from_micros(i64::try_from(now).expect("in range")).expect("in range");
    json!([{
        "serial": serial, "collected": now, "platform": "linux", "os": "ubuntu", "os_version": "24.04",
        "disk_encryption": "on", "firewall": "on", "automatic_updates": "on", "malware_protection": "on",
        "remote_login": "off", "password_manager_lock": "on", "browser_passwords": "off",
        "screen_lock_seconds": 300, "password_manager": "1password", "password_manager_signer": "ab".repeat(32),
    }])
    .to_string()
}

#[test]
fn a_computer_with_a_tpm_is_enrolled_reports_by_itself_and_is_trusted_while_it_is_as_it_has_to_be() {
    let (place, provider, chip) = (Place::new(), Provider::start(), SoftwareTpm::start());
    let laptop = Computer { place: &place, name: "laptop", tpm: &chip };
    let attester = laptop.ok(&["device", "attester"])["attester"].as_str().expect("a thumbprint").to_owned();
    assert_eq!(laptop.ok(&["device", "attester"])["attester"], *attester, "it stays the same");
    let server = serve(&place, &provider, &[&attester]);
    laptop.login(&provider, server.url(), "ana");
    assert_eq!(laptop.refused(&["device", "agent", "--once"]), "device/not-enrolled");
    let enrolled = laptop.ok(&["device", "enrol", "--name", "ana's laptop", "--serial", "C02X"]);
    assert_eq!((&enrolled["key"], &enrolled["source"]), (&json!("tpm"), &json!("agent")), "{enrolled}");
    assert_eq!(enrolled["trust"], "none", "this machine has no password manager, for one");
    assert_eq!(laptop.refused(&["device", "enrol", "--name", "again"]), "device/enrolled");

    // The session that was there is the computer's now: nothing in any file proves it.
    let session = std::fs::read_to_string(place.path("laptop/default.session")).expect("written");
    let session: Value = serde_json::from_str(&session).expect("JSON");
    assert!(session["key"].as_str().is_some_and(|key| key.starts_with("device:/")), "{session}");
    let kept = std::fs::read_to_string(laptop.device_file()).expect("written");
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    assert!(kept.get("key").is_none() && kept["tpm"]["private"].is_string(), "{kept}");
    assert_eq!(laptop.ok(&["whoami"])["device"], "none");

    // It reports with nobody signed in, counting on over restarts, and says what to do.
    laptop.ok(&["logout"]);
    for _ in 0..2 {
        laptop.ok(&["device", "agent", "--once"]);
    }
    let counted: Value =
        serde_json::from_str(&std::fs::read_to_string(laptop.device_file()).expect("written")).expect("JSON");
    assert_eq!(counted["sequence"], 3);
    laptop.login(&provider, server.url(), "ana");
    let status = laptop.ok(&["device", "status"]);
    let mends = status["now"].as_array().expect("a list");
    let manager = mends.iter().find(|mend| mend["item"] == "password-manager").expect("it is found");
    assert!(manager["how"].as_str().is_some_and(|how| how.contains("1password")), "{manager}");

    // Management knows better; a key in a TPM is trusted then. The next look of the agent's ends it at once.
    std::fs::write(place.path("export.json"), export("C02X")).expect("written");
    let admin = Computer { place: &place, name: "other", tpm: &chip };
    admin.login(&provider, server.url(), "lead");
    place.ok(&["person", "assign", "lead@example.com", "--role", "security-lead", "--profile", "admin"]);
    let import = ["device", "import", "--mdm", "export.json"];
    assert_eq!(admin.ok(&import), json!({"taken": 1, "older": 0, "unknown": 0, "own": 0}));
    assert_eq!(laptop.ok(&["whoami"])["device"], "trusted");
    laptop.ok(&["device", "agent", "--once"]);
    assert!(laptop.refused(&["whoami"]).starts_with("auth/"), "the session ended");
    place.ok(&["audit", "verify", "--profile", "admin"]);
}

#[test]
fn attack_ch18_files_of_a_computer_are_worth_nothing_on_another_one() {
    let (place, provider) = (Place::new(), Provider::start());
    let (chip, other_chip) = (SoftwareTpm::start(), SoftwareTpm::start());
    let laptop = Computer { place: &place, name: "laptop", tpm: &chip };
    let attester = laptop.ok(&["device", "attester"])["attester"].as_str().expect("a thumbprint").to_owned();
    let server = serve(&place, &provider, &[&attester]);
    laptop.login(&provider, server.url(), "ana");
    laptop.ok(&["device", "enrol", "--name", "ana's laptop"]);
    laptop.ok(&["whoami"]);

    // Every file is copied, to where it was: session, key, profile. The other computer's TPM cannot use the key.
    let thief = Computer { tpm: &other_chip, ..laptop };
    assert_eq!(thief.refused(&["whoami"]), "device/tpm");
    assert_eq!(thief.refused(&["device", "report"]), "device/tpm");
    assert_eq!(thief.refused(&["device", "agent", "--once"]), "device/tpm");
    let own = Computer { place: &place, name: "laptop", tpm: &chip };
    own.ok(&["whoami"]);
    own.ok(&["device", "report"]);

    // A computer whose TPM nobody told the server about is not taken for one of the organisation's.
    let stranger = Computer { place: &place, name: "stranger", tpm: &other_chip };
    let of_stranger = stranger.ok(&["device", "attester"])["attester"].as_str().expect("a thumbprint").to_owned();
    assert_ne!(of_stranger, attester);
    stranger.login(&provider, server.url(), "ben");
    let refused = stranger.run(&["device", "enrol", "--name", "ben's"]);
    let problem = &refused.json["problems"][0];
    assert_eq!(problem["code"], "device/tpm", "{}", refused.stderr);
    assert!(problem["help"].as_str().is_some_and(|help| help.contains(&of_stranger)), "{problem}");
    let soft = stranger.ok(&["device", "enrol", "--name", "ben's", "--software"]);
    assert_eq!(soft["key"], "software");

    // A key in a file counts on wherever it is: the second to use a number ends it for both.
    let copy = std::fs::read(stranger.device_file()).expect("there");
    stranger.ok(&["device", "report"]);
    std::fs::write(stranger.device_file(), copy).expect("written");
    assert_eq!(stranger.refused(&["device", "agent", "--once"]), "access/device-cloned");
    assert_eq!(stranger.refused(&["device", "agent"]), "access/device-revoked", "it does not try for ever");
}

#[test]
fn the_unit_that_is_written_runs_what_it_says_in_an_environment_of_its_own() {
    let (place, provider, chip) = (Place::new(), Provider::start(), SoftwareTpm::start());
    let laptop = Computer { place: &place, name: "laptop", tpm: &chip };
    let server = serve(&place, &provider, &[]);
    laptop.login(&provider, server.url(), "ana");
    laptop.ok(&["device", "enrol", "--name", "laptop", "--software"]);
    let written = laptop.ok(&["device", "agent", "--install", "--interval-minutes", "30"]);
    let files: Vec<&str> = written["files"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(files.len(), 2);
    let service = std::fs::read_to_string(files[0]).expect("written");
    assert!(service.contains("device agent --once --profile \"default\"") && service.contains("NoNewPrivileges=yes"));
    // What the unit would run, run.
    let line = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let mut run = Command::new("sh");
    let environment = service.lines().filter_map(|line| line.strip_prefix("Environment=\"")?.strip_suffix('"'));
    run.args(["-c", line]).env_clear().envs(environment.filter_map(|pair| pair.split_once('=')));
    assert!(run.status().expect("it starts").success(), "{line}");
}
