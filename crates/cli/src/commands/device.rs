//! `creta device`: enrols this computer, reports how it is set up, and shows what that is worth.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use creta_identity::device::linux::{self, Tree};
use creta_identity::device::{Binding, Enrolment, Platform, Report, Signed, Standard};
use creta_identity::key::{KeyKind, SigningKey};
use creta_platform::{Clock as _, Random as _, SystemClock, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::connect;
use crate::args::{Connection, DeviceCommand, DeviceImport};
use crate::failure::Failure;
use crate::http::{Server, encoded, query_string};
use crate::profile::{self, Profile, SessionFile, Whom, read_secret, write_private};
use crate::terminal::{Align, Terminal, table};

const FORMAT: &str = "creta.device-file/1";
/// Largest file that is looked at.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Where a TPM is, and what would ask it.
const TPM: &str = "/dev/tpmrm0";

/// This computer's key, beside the profile. Whoever copies it can pose as this computer until the next report of either.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceFile {
    format: String,
    device: String,
    /// The private key (PKCS #8, base64).
    key: String,
    /// The number of the last report.
    sequence: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Finding {
    item: String,
    help: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Device {
    device: String,
    person: String,
    name: String,
    platform: String,
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    enrolled: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reported: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    trust: String,
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Devices {
    devices: Vec<Device>,
    standard: Option<Standard>,
}

#[derive(Deserialize)]
struct Nonce {
    nonce: String,
}

#[derive(Serialize, Deserialize)]
struct Imported {
    taken: u64,
    older: u64,
    unknown: u64,
}

pub(crate) fn run(command: DeviceCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        DeviceCommand::Enrol { name, serial, connection } => enrol(&name, serial.as_deref(), &connection, terminal),
        DeviceCommand::Report(connection) => report(&connection, terminal),
        DeviceCommand::List { person, connection } => {
            let path = query_string("/v1/devices", &[("person", person)]);
            let Devices { devices, .. } = connect(&connection)?.0.get(&path)?;
            terminal.show(&json!({ "devices": devices }), || listed(&devices));
            Ok(())
        }
        DeviceCommand::Status(connection) => {
            let (server, profile) = connect(&connection)?;
            let file = DeviceFile::read(&device_file(&profile)?)?;
            let Devices { devices, .. } = server.get("/v1/devices")?;
            let own = devices.into_iter().find(|device| device.device == file.device).ok_or_else(not_enrolled)?;
            terminal.show(&own, || described(&own));
            Ok(())
        }
        DeviceCommand::Revoke(item) => {
            let path = format!("/v1/devices/{}/revoke", encoded(&item.id));
            let device: Device = connect(&item.connection)?.0.post(&path, &json!({}))?;
            terminal.show(&device, || format!("`{}` of {} counts no more", device.name, device.person));
            Ok(())
        }
        DeviceCommand::Import(import) => take_export(&import, terminal),
    }
}

fn enrol(
    name: &str,
    serial: Option<&str>,
    connection: &Connection,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    require_linux()?;
    let (server, profile) = connect(connection)?;
    let file = device_file(&profile)?;
    if file.symlink_metadata().is_ok() {
        let message = format!("this computer is enrolled already: `{}` is there", file.display());
        let help = "look at it with `creta device status`; to begin anew, revoke it and remove the file";
        return Err(Failure::usage("device/enrolled", message, help));
    }
    if Path::new(TPM).exists() {
        terminal.complain(
            "this computer has a TPM, and this command does not use it: proof that a key is in one takes TPM2_Certify with \
             an attestation key that the organisation knows. The key is kept in a file; the device is of low assurance, \
             which production refuses",
        );
    }
    let mut seed = [0; 32];
    SystemRandom.fill(&mut seed);
    let key = SigningKey::from_random(KeyKind::P256, &seed);
    let kept = DeviceFile {
        format: FORMAT.to_owned(),
        device: key.public().thumbprint().as_str().to_owned(),
        key: BASE64.encode(key.to_pkcs8().as_slice()),
        sequence: 0,
    };
    let Nonce { nonce } = server.post("/v1/devices/nonce", &json!({}))?;
    let enrolment = Enrolment::new(name, Platform::Linux, serial, key.public(), &nonce, None);
    let device: Device = server.post("/v1/devices", &enrolment.sign(&key))?;
    kept.write(&file)?;
    terminal.show(&device, || {
        format!(
            "enrolled `{}` as {}; its key is in {}\nnext: creta device report",
            device.name,
            device.device,
            file.display()
        )
    });
    Ok(())
}

fn report(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    require_linux()?;
    let (server, profile) = connect(connection)?;
    let file = device_file(&profile)?;
    let mut kept = DeviceFile::read(&file)?;
    let key = kept.key(&file)?;
    let Devices { standard, .. } = server.get("/v1/devices")?;
    let approved = standard.map(|standard| standard.password_managers).unwrap_or_default();
    let managers: Vec<&str> = approved
        .iter()
        .filter(|approved| approved.platform == Platform::Linux)
        .map(|approved| approved.package.id.as_str())
        .collect();
    let posture = linux::posture(&ThisComputer, &managers);
    // Kept before it is used: a number that is seen twice means that the key is in two places.
    kept.sequence += 1;
    kept.write(&file)?;
    let nonce = nonce_for(&server, &kept)?;
    let thumbprint = key.public().thumbprint();
    let report = Report::new(thumbprint.clone(), &nonce, kept.sequence, SystemClock::new().now(), posture);
    let path = format!("/v1/devices/{}/report", encoded(&kept.device));
    let device: Device = server.post(&path, &Signed::make(&report, &key))?;
    let Whom::Person { session_file } = &profile.whom else { return Err(people_only(connection)) };
    let session = SessionFile::read(session_file)?.session;
    let binding = Binding::new(thumbprint, &session, &nonce_for(&server, &kept)?);
    let body = json!({ "device": kept.device, "signed": Signed::make(&binding, &key) });
    let _: Device = server.post("/v1/sessions/device", &body)?;
    terminal.show(&device, || described(&device));
    Ok(())
}

fn nonce_for(server: &Server, kept: &DeviceFile) -> Result<String, Failure> {
    let Nonce { nonce } = server.post("/v1/devices/nonce", &json!({ "device": kept.device }))?;
    Ok(nonce)
}

fn take_export(import: &DeviceImport, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (tool, file) = match (&import.osquery, &import.mdm) {
        (Some(file), _) => ("osquery", file),
        (None, Some(file)) if file.extension().is_some_and(|extension| extension == "json") => ("mdm-json", file),
        (None, Some(file)) => ("mdm-csv", file),
        (None, None) => {
            return Err(Failure::usage("device/no-export", "no file was named", "add `--osquery` or `--mdm`"));
        }
    };
    let export = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    let body = json!({ "tool": tool, "export": export });
    let imported: Imported = connect(&import.connection)?.0.post("/v1/devices/import", &body)?;
    terminal.show(&imported, || {
        let Imported { taken, older, unknown } = &imported;
        format!("{taken} devices changed; {older} were known better; {unknown} are not enrolled")
    });
    Ok(())
}

fn listed(devices: &[Device]) -> String {
    if devices.is_empty() {
        return "no devices; enrol this one: creta device enrol --name NAME".to_owned();
    }
    let row = |device: &Device| {
        let state = match &device.revoked {
            Some(at) => format!("revoked {at}"),
            None => device.trust.clone(),
        };
        let reported = device.reported.clone().unwrap_or_else(|| "never".to_owned());
        vec![device.device.clone(), device.name.clone(), device.platform.clone(), device.key.clone(), reported, state]
    };
    let left = |name| (name, Align::Left);
    let headings = ["device", "name", "platform", "key", "reported", "worth"].map(left);
    table(&headings, &devices.iter().map(row).collect::<Vec<_>>())
}

fn described(device: &Device) -> String {
    let worth = match device.trust.as_str() {
        "trusted" => "it is trusted",
        "low-assurance" => "its key is in a file: low assurance, which production refuses",
        _ => "it is worth nothing now",
    };
    let findings: String =
        device.findings.iter().map(|finding| format!("\n  {:22} {}", finding.item, finding.help)).collect();
    format!("`{}` ({}): {worth}{findings}", device.name, device.device)
}

/// The files of the machine that this command runs on.
struct ThisComputer;

impl Tree for ThisComputer {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path).ok()?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= FILE_BYTES_MAX).then_some(bytes)
    }

    fn list(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

impl DeviceFile {
    fn read(file: &Path) -> Result<Self, Failure> {
        if file.symlink_metadata().is_err() {
            return Err(not_enrolled());
        }
        let read = serde_json::from_str::<Self>(&read_secret(file)?).ok();
        read.filter(|kept| kept.format == FORMAT).ok_or_else(|| unreadable(file))
    }

    fn write(&self, file: &Path) -> Result<(), Failure> {
        write_private(file, &serde_json::to_vec(self).expect("texts have a JSON form"))
    }

    fn key(&self, file: &Path) -> Result<SigningKey, Failure> {
        let key = BASE64.decode(&self.key).ok().and_then(|key| SigningKey::from_pkcs8(&key).ok());
        key.ok_or_else(|| unreadable(file))
    }
}

/// One file for all profiles of an address: a computer is enrolled once with each server.
fn device_file(profile: &Profile) -> Result<PathBuf, Failure> {
    let name: String = profile.url.trim_start_matches("https://").chars().map(plain).collect();
    Ok(profile::default_file()?.with_file_name(format!("{name}.device")))
}

fn plain(c: char) -> char {
    if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' }
}

fn not_enrolled() -> Failure {
    Failure::usage(
        "device/not-enrolled",
        "this computer is not enrolled with this server",
        "run `creta device enrol --name NAME`",
    )
}

fn unreadable(file: &Path) -> Failure {
    let message = format!("`{}` is not a device's key of this version", file.display());
    Failure::usage("device/invalid", message, "remove it and enrol again: `creta device enrol`")
}

fn people_only(connection: &Connection) -> Failure {
    let message = format!("profile `{}` is a service account's, which works from no device", connection.profile);
    Failure::usage("profile/no-session", message, "sign in as a person: `creta login`")
}

fn require_linux() -> Result<(), Failure> {
    if cfg!(target_os = "linux") {
        return Ok(());
    }
    Err(Failure::usage(
        "device/no-agent",
        "this command looks at Linux only",
        "let your security lead import what osquery or your device management says: `creta device import`",
    ))
}
