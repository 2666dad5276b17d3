//! `creta device`: enrols this computer, reports how it is set up, and shows what that is worth.

mod agent;
mod browser;
mod computer;
mod mend;
mod search;

use std::path::Path;

use creta_identity::device::linux;
use creta_identity::device::{Binding, Enrolment, Platform, Posture, Report, SearchAsked, Searched, Signed, Standard};
use creta_platform::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::computer::ThisComputer;
use super::connect;
use crate::args::{Connection, DeviceCommand, DeviceImport};
use crate::failure::Failure;
use crate::held_key::{DeviceFile, HeldKey, from_tpm, new_key, not_enrolled, of_device};
use crate::http::{Server, encoded, query_string};
use crate::profile::{Profile, SessionFile, Whom};
use crate::terminal::{Align, Terminal, counted, table};
use crate::tpm::{self, Tpm, TpmKey};

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
    /// What a device has to be like; not said to a person who enrols one.
    #[serde(default)]
    standard: Option<Standard>,
    /// What a report has to search for; nothing where the standard names no folders.
    #[serde(default)]
    search: Option<SearchAsked>,
}

#[derive(Serialize, Deserialize)]
struct Imported {
    taken: u64,
    older: u64,
    unknown: u64,
    own: u64,
}

pub(crate) fn run(command: DeviceCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        DeviceCommand::Enrol { name, serial, software, connection } => {
            enrol(&name, serial.as_deref(), software, &connection, terminal)
        }
        DeviceCommand::Attester => attester(terminal),
        DeviceCommand::Report(connection) => {
            let (server, profile) = connect(&connection)?;
            let device = report(&server, &DeviceFile::path(&profile)?, terminal)?;
            take_session_on(&server, &profile)?;
            terminal.show(&device, || described(&device));
            Ok(())
        }
        DeviceCommand::Agent(agent) => agent::run(&agent, terminal),
        DeviceCommand::List { person, connection } => {
            let path = query_string("/v1/devices", &[("person", person)]);
            let Devices { devices, .. } = connect(&connection)?.0.get(&path)?;
            terminal.show(&json!({ "devices": devices }), || listed(&devices));
            Ok(())
        }
        DeviceCommand::Status(connection) => status(&connection, terminal),
        DeviceCommand::Browser { no_browser, connection } => browser::run(no_browser, &connection, terminal),
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
    software: bool,
    connection: &Connection,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    require_linux()?;
    let (server, profile) = connect(connection)?;
    let Whom::Person { .. } = &profile.whom else { return Err(people_only(connection)) };
    let file = DeviceFile::path(&profile)?;
    if file.symlink_metadata().is_ok() {
        let message = format!("this computer is enrolled already: `{}` is there", file.display());
        let help = "look at it with `creta device status`; to begin anew, revoke it and remove the file";
        return Err(Failure::usage("device/enrolled", message, help));
    }
    let Nonce { nonce, .. } = server.post_empty("/v1/devices/nonce")?;
    let (key, kept, evidence) = match tpm::find().filter(|_| !software) {
        Some(path) => {
            let in_tpm = |tpm: &mut Tpm| {
                let sealed = tpm.create()?;
                let evidence = tpm.attest(&sealed, &nonce)?;
                Ok((TpmKey::new(sealed.clone())?, sealed, evidence))
            };
            // Closed before the key is used: a software TPM serves one at a time.
            let (key, sealed, evidence) =
                Tpm::open(&path).and_then(|mut tpm| in_tpm(&mut tpm)).map_err(|e| from_tpm(&e))?;
            let key = HeldKey::Tpm(Box::new(key));
            let kept = DeviceFile::new(&key, Some(sealed));
            (key, kept, Some(evidence))
        }
        None => {
            terminal.complain(
                "the key is kept in a file: whoever copies it can pose as this computer. The device is of low assurance, \
                 which production refuses",
            );
            let key = HeldKey::Software(new_key());
            let kept = DeviceFile::new(&key, None);
            (key, kept, None)
        }
    };
    let attester = evidence.as_ref().map(|evidence| evidence.attester.thumbprint());
    let enrolment = Enrolment::new(name, Platform::Linux, serial, key.public(), &nonce, evidence);
    let signed = Signed::make_with(&enrolment, |message| key.sign(message))?;
    let enrolled: Result<Device, Failure> = server.post("/v1/devices", &signed);
    enrolled.map_err(|failure| match attester {
        Some(attester) if failure.problems[0].code == "device/tpm" => unknown_tpm(failure, attester.as_str()),
        _ => failure,
    })?;
    drop(key);
    kept.write(&file)?;
    let device = report(&server, &file, terminal)?;
    take_session_on(&server, &profile)?;
    terminal.show(&device, || {
        format!("{}\nits key is known to {}\nnext: creta device agent --install", described(&device), file.display())
    });
    Ok(())
}

/// The server does not know the TPM: somebody has to tell it.
fn unknown_tpm(failure: Failure, attester: &str) -> Failure {
    let Failure { exit, problems } = failure;
    let help = format!(
        "let whoever runs the server add \"{attester}\" to `attesters` under `[devices]` in `config.toml`, after they have \
         seen that this is the computer they think it is; `--software` goes without, but not to production"
    );
    let problems = problems.into_iter().map(|problem| problem.with_help(help.clone())).collect();
    Failure { exit, problems }
}

fn attester(terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let path = tpm::find().ok_or_else(|| {
        Failure::usage(
            "device/no-tpm",
            "this computer has no TPM that can be seen",
            "turn it on in the firmware settings",
        )
    })?;
    let attester = Tpm::open(&path).and_then(|mut tpm| tpm.attester()).map_err(|error| from_tpm(&error))?;
    let thumbprint = attester.thumbprint();
    terminal.show(&json!({ "attester": thumbprint }), || thumbprint.as_str().to_owned());
    Ok(())
}

/// Looks at this computer and tells the server. Nobody has to be signed in: the computer's key is its credential.
fn report(server: &Server, file: &Path, terminal: &mut Terminal<'_>) -> Result<Device, Failure> {
    require_linux()?;
    // One at a time: a number that is used twice means to the server that the key is in two places.
    let _turn = computer::turn(file)?;
    let mut kept = DeviceFile::read(file)?;
    let key = kept.key()?;
    let Nonce { nonce, standard, search } = nonce_for(server, &kept)?;
    let posture = look(standard.as_ref());
    let searched = search.map(|asked| searched(&asked, terminal)).transpose()?;
    // A search takes its time, and a nonce has none.
    let nonce = if searched.is_some() { nonce_for(server, &kept)?.nonce } else { nonce };
    // Kept before it is used, for the same reason.
    kept.sequence += 1;
    kept.write(file)?;
    let report = Report::new(key.public().thumbprint(), &nonce, kept.sequence, SystemClock::new().now(), posture);
    let report = searched.into_iter().fold(report, Report::with_search);
    let signed = Signed::make_with(&report, |message| key.sign(message))?;
    server.post_open(&format!("/v1/devices/{}/report", encoded(&kept.device)), &signed)
}

/// Searches this computer, and tells its owner alone where customers' data lies.
fn searched(asked: &SearchAsked, terminal: &mut Terminal<'_>) -> Result<Searched, Failure> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home =
        home.ok_or_else(|| Failure::usage("device/no-home", "there is no home folder to search", "set `HOME`"))?;
    let outcome = search::search(asked, Path::new(&home));
    for file in &outcome.holding {
        terminal.complain(&format!("customers' data lies in {}", file.display()));
    }
    Ok(outcome.says)
}

/// How this computer is set up now, as far as the standard asks.
fn look(standard: Option<&Standard>) -> Posture {
    let approved = standard.map(|standard| standard.password_managers.as_slice()).unwrap_or_default();
    let here = approved.iter().filter(|approved| approved.platform == Platform::Linux);
    let managers: Vec<&str> = here.map(|approved| approved.package.id.as_str()).collect();
    linux::posture(&ThisComputer, &managers)
}

fn nonce_for(server: &Server, kept: &DeviceFile) -> Result<Nonce, Failure> {
    server.post_open(&format!("/v1/devices/{}/nonce", encoded(&kept.device)), &json!({}))
}

/// Puts a session that began before this computer was enrolled on it: from here on only the computer's key proves it.
fn take_session_on(server: &Server, profile: &Profile) -> Result<(), Failure> {
    let Whom::Person { session_file } = &profile.whom else { return Ok(()) };
    if session_file.symlink_metadata().is_err() {
        return Ok(());
    }
    let (mut session, file) = (SessionFile::read(session_file)?, DeviceFile::path(profile)?);
    if session.key == of_device(&file) {
        return Ok(());
    }
    let kept = DeviceFile::read(&file)?;
    let key = kept.key()?;
    let Nonce { nonce, .. } = nonce_for(server, &kept)?;
    let binding = Binding::new(key.public().thumbprint(), &session.session, &nonce);
    let signed = Signed::make_with(&binding, |message| key.sign(message))?;
    let _: Device = server.post("/v1/sessions/device", &json!({ "device": kept.device, "signed": signed }))?;
    session.key = of_device(&file);
    session.write(session_file)
}

/// What the server makes of this computer, what a look at it finds now, and how to mend what is not as it has to be.
fn status(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    require_linux()?;
    let (server, profile) = connect(connection)?;
    let file = DeviceFile::read(&DeviceFile::path(&profile)?)?;
    let Devices { devices, standard } = server.get("/v1/devices")?;
    let own = devices.into_iter().find(|device| device.device == file.device).ok_or_else(not_enrolled)?;
    let findings = standard.as_ref().map(|standard| standard.judge(&look(Some(standard)))).unwrap_or_default();
    let mends: Vec<mend::Mend> = findings.iter().map(|finding| mend::mend(finding, standard.as_ref())).collect();
    let mut shown = serde_json::to_value(&own).expect("texts have a JSON form");
    shown["now"] = serde_json::to_value(&mends).expect("texts have a JSON form");
    terminal.show(&shown, || format!("{}\n{}", described(&own), mend::told(&mends)));
    Ok(())
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
        let Imported { taken, older, unknown, own } = &imported;
        let own =
            if *own == 0 { String::new() } else { format!("; {own} are yours, which somebody else has to bring") };
        let changed = counted(*taken, "device", "devices");
        format!("{changed} changed; {older} known from a later report; {unknown} not enrolled{own}")
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
