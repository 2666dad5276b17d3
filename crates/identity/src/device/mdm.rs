//! Exports of a device management tool: one row per device, as CSV (RFC 4180) or as JSON (an array of objects).
//!
//! | Column | Holds |
//! | --- | --- |
//! | `serial` | the manufacturer's number, as enrolled |
//! | `collected` | when the tool asked the device, RFC 3339 with a zone |
//! | `platform`, `os`, `os_version` | `macos`, `macos`, `14.5`; platforms that cannot be enrolled are passed over |
//! | `disk_encryption`, `firewall`, `automatic_updates`, `malware_protection`, `remote_login`, `password_manager_lock`, `browser_passwords` | `on`, `off` or nothing |
//! | `screen_lock_seconds` | a number, or nothing |
//! | `password_manager`, `password_manager_signer` | identifier and signer of the manager, or nothing |
//!
//! Other columns are refused: what nobody reads, nobody should believe is checked.

use std::collections::{BTreeMap, BTreeSet};

use creta_model::Instant;
use serde_json::Value;

use super::DeviceError;
use super::posture::{Package, Platform, Posture, State};

const COLUMNS: [&str; 15] = [
    "automatic_updates",
    "browser_passwords",
    "collected",
    "disk_encryption",
    "firewall",
    "malware_protection",
    "os",
    "os_version",
    "password_manager",
    "password_manager_lock",
    "password_manager_signer",
    "platform",
    "remote_login",
    "screen_lock_seconds",
    "serial",
];
/// Largest export that is looked at: about 50,000 devices.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a tool says about one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// How the tool names it.
    pub serial: String,
    /// When it asked.
    pub collected: Instant,
    /// What it found.
    pub posture: Posture,
}

type Row = BTreeMap<String, String>;

/// Reads a CSV export, in the order of its rows. All or nothing: a row that cannot be read is an error that names its
/// line.
pub fn from_csv(export: &[u8]) -> Result<Vec<Imported>, DeviceError> {
    let text = readable(export)?;
    let mut records = csv(text)?.into_iter();
    let (_, header) = records.next().ok_or(refuse("it is empty"))?;
    if header.iter().collect::<BTreeSet<_>>().len() != header.len() {
        return Err(refuse("a column is there twice"));
    }
    if let Some(unknown) = header.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        return Err(refuse(&format!("the column `{unknown}` is not one of ours")));
    }
    if let Some(missing) = COLUMNS.iter().find(|name| !header.iter().any(|column| column == *name)) {
        return Err(refuse(&format!("the column `{missing}` is missing")));
    }
    let row = |(line, fields): (usize, Vec<String>)| {
        if fields.len() != header.len() {
            return Err(refuse(&format!("line {line} does not have as many fields as the first")));
        }
        Ok((line, header.iter().cloned().zip(fields).collect::<Row>()))
    };
    records.map(row).collect::<Result<Vec<_>, _>>().and_then(imported)
}

/// Reads a JSON export, in the order of its elements; an error names the element, counted from 1.
pub fn from_json(export: &[u8]) -> Result<Vec<Imported>, DeviceError> {
    let rows: Vec<BTreeMap<String, Value>> =
        serde_json::from_str(readable(export)?).map_err(|_| refuse("it is no JSON array of objects"))?;
    let text = |(name, value)| match value {
        Value::Null => Ok((name, String::new())),
        Value::String(text) => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        _ => Err(refuse(&format!("`{name}` is neither text nor number"))),
    };
    let row = |(place, row): (usize, BTreeMap<String, Value>)| {
        row.into_iter().map(text).collect::<Result<Row, _>>().map(|row| (place + 1, row))
    };
    rows.into_iter().enumerate().map(row).collect::<Result<Vec<_>, _>>().and_then(imported)
}

fn readable(export: &[u8]) -> Result<&str, DeviceError> {
    if export.len() > BYTES_MAX {
        return Err(refuse("it is larger than 16 MiB"));
    }
    std::str::from_utf8(export).map_err(|_| refuse("it is not UTF-8"))
}

fn imported(rows: Vec<(usize, Row)>) -> Result<Vec<Imported>, DeviceError> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (place, row) in rows {
        let at = |why: &str| refuse(&format!("row {place}: {why}"));
        if let Some(unknown) = row.keys().find(|name| !COLUMNS.contains(&name.as_str())) {
            return Err(at(&format!("the column `{unknown}` is not one of ours")));
        }
        if let Some(missing) = COLUMNS.iter().find(|name| !row.contains_key(**name)) {
            return Err(at(&format!("the column `{missing}` is missing")));
        }
        let field = |name: &str| row[name].trim();
        let Ok(platform) = Platform::parse(field("platform")) else {
            continue;
        };
        if !seen.insert(field("serial").to_owned()) || field("serial").is_empty() {
            return Err(at("its serial is empty or there twice"));
        }
        let state = |name: &str| match field(name) {
            "on" => Ok(State::On),
            "off" => Ok(State::Off),
            "" => Ok(State::Unknown),
            _ => Err(at(&format!("`{name}` is neither `on` nor `off` nor empty"))),
        };
        let seconds = match field("screen_lock_seconds") {
            "" => None,
            text => Some(text.parse().map_err(|_| at("`screen_lock_seconds` is no number"))?),
        };
        let manager = (field("password_manager"), field("password_manager_signer"));
        let manager = match manager {
            ("", _) | (_, "") => Vec::new(),
            (id, signer) => vec![Package { id: id.to_owned(), signer: signer.to_owned() }],
        };
        found.push(Imported {
            serial: field("serial").to_owned(),
            collected: Instant::parse(field("collected")).map_err(|_| at("`collected` is no instant with a zone"))?,
            posture: Posture {
                platform,
                os: field("os").to_ascii_lowercase(),
                os_version: field("os_version").to_owned(),
                disk_encryption: state("disk_encryption")?,
                screen_lock_seconds: seconds,
                firewall: state("firewall")?,
                automatic_updates: state("automatic_updates")?,
                malware_protection: state("malware_protection")?,
                remote_login: state("remote_login")?,
                password_managers: manager,
                password_manager_lock: state("password_manager_lock")?,
                browser_passwords: state("browser_passwords")?,
            },
        });
    }
    Ok(found)
}

/// Records with the line that each starts on. Quoted fields may hold commas, line breaks and doubled quotes.
fn csv(text: &str) -> Result<Vec<(usize, Vec<String>)>, DeviceError> {
    let mut records = Vec::new();
    let (mut line, mut start) = (1, 1);
    let (mut fields, mut field) = (Vec::new(), String::new());
    let mut characters = text.trim_start_matches('\u{feff}').chars().peekable();
    let mut quoted = false;
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            '"' => return Err(refuse(&format!("line {line} has a quote inside of a field"))),
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            '\r' if !quoted && characters.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                fields.push(std::mem::take(&mut field));
                let record = std::mem::take(&mut fields);
                if record != [""] {
                    records.push((start, record));
                }
                line += 1;
                start = line;
            }
            c => {
                line += usize::from(c == '\n');
                field.push(c);
            }
        }
    }
    if quoted {
        return Err(refuse("a quote is not closed"));
    }
    if !field.is_empty() || !fields.is_empty() {
        fields.push(field);
        records.push((start, fields));
    }
    Ok(records)
}

fn refuse(why: &str) -> DeviceError {
    DeviceError::Export { why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "serial,collected,platform,os,os_version,disk_encryption,screen_lock_seconds,firewall,\
        automatic_updates,malware_protection,remote_login,password_manager,password_manager_signer,password_manager_lock,\
        browser_passwords";
    const ROW: &str =
        "C02X,2026-01-01T10:00:00Z,macos,macOS,14.5,on,300,on,on,on,off,com.1password.1password,2BUA8C4S2C,on,off";

    #[test]
    fn csv_and_json_give_the_same_posture() {
        let phone = ROW.replace("macos,macOS", "iOS,iOS").replace("C02X", "F17Z");
        let export = format!("\u{feff}{HEADER}\r\n{ROW}\r\n{phone}\r\n\r\n");
        let found = from_csv(export.as_bytes()).expect("reads");
        assert_eq!(found.len(), 1, "phones are passed over");
        let names = HEADER.split(',');
        let json: BTreeMap<&str, Value> =
            names.zip(ROW.split(',').map(|text| Value::String(text.to_owned()))).collect();
        assert_eq!(from_json(serde_json::to_string(&[json]).expect("JSON").as_bytes()).expect("reads"), found);
        let Imported { serial, posture, .. } = &found[0];
        assert_eq!((serial.as_str(), posture.os.as_str(), posture.screen_lock_seconds), ("C02X", "macos", Some(300)));
        assert_eq!((posture.disk_encryption, posture.remote_login), (State::On, State::Off));
        assert_eq!(posture.password_managers[0].signer, "2BUA8C4S2C");
    }

    #[test]
    fn empty_fields_are_unknown_and_quotes_are_read() {
        let row = "\"C,\"\"02\n\",2026-01-01T10:00:00Z,windows,windows,10.0.22631,,,,,,,KeePass,,,";
        let found = from_csv(format!("{HEADER}\n{row}").as_bytes()).expect("reads");
        assert_eq!((found[0].serial.as_str(), found[0].posture.firewall), ("C,\"02", State::Unknown));
        assert_eq!(
            (found[0].posture.screen_lock_seconds, found[0].posture.password_managers.len()),
            (None, 0),
            "unsigned"
        );
    }

    #[test]
    fn attack_ch18_an_export_that_is_not_understood_is_refused_whole() {
        let refused = |text: &str| matches!(from_csv(text.as_bytes()), Err(DeviceError::Export { .. }));
        let with = |from: &str, to: &str| format!("{HEADER}\n{}\n", ROW.replacen(from, to, 1));
        assert!(!refused(&with("x", "x")));
        for (from, to) in
            [("on", "yes"), ("on", "On"), ("300", "soon"), ("300", "-1"), ("10:00:00Z", "10:00:00"), ("C02X", "")]
        {
            assert!(refused(&with(from, to)), "{to}");
        }
        assert!(refused(&format!("{HEADER}\n{ROW}\n{ROW}\n")), "one device twice");
        assert!(refused(&format!("{HEADER},extra\n{ROW},on\n")));
        assert!(refused(&format!("{HEADER}\n{ROW},on\n")));
        assert!(refused(&with("C02X", "\"C02X")), "an open quote");
        assert!(refused(&format!("{}\n{}\n", &HEADER[7..], &ROW[5..])), "no serial");
        assert!(refused(""));
        assert!(refused("serial\n") && refused(&format!("{HEADER},extra\n")), "columns count without rows too");
        assert!(!refused(&format!("{HEADER}\n")), "no device is an export");
        assert!(from_json(b"[{\"serial\": [1]}]").is_err() && from_json(b"{}").is_err() && from_json(&[0xff]).is_err());
    }
}
