//! Results of osquery, through the organisation's fleet: for macOS and Windows, where Creta has no agent of its own.
//!
//! One JSON object per device: `serial`, `collected` (RFC 3339), `platform`, and `tables`: the rows of these tables as
//! osquery writes them, all values text. A table that is missing leaves its items unknown.
//!
//! | Item | macOS | Windows |
//! | --- | --- | --- |
//! | system | `os_version` | `os_version` |
//! | disk encryption | `disk_encryption`: each `encrypted` is `1` | `bitlocker_info`: each `protection_status` is `1` |
//! | screen lock | `managed_policies`: `maxInactivity` (minutes), or `idleTime` (seconds) | `registry`: `InactivityTimeoutSecs` |
//! | firewall | `alf`: `global_state` is `1` or `2` | `windows_security_center`: `firewall` is `Good` |
//! | updates | `managed_policies`: `AutomaticallyInstallMacOSUpdates` | `windows_security_center`: `autoupdate` |
//! | malware protection | `xprotect_meta` has rows, each `sip_config` is `enabled` | `windows_security_center`: `antivirus` |
//! | remote login | `sharing_preferences`: all off | `registry`: `fDenyTSConnections`; `listening_ports` without 22 |
//! | password manager | `signature`: `signed`, `identifier`, `team_identifier` | `authenticode`: `trusted` result, product, subject |
//! | its lock; browser stores | `managed_policies` of the manager and the browsers | `registry` policies |

use std::collections::BTreeMap;

use creta_model::Instant;
use serde::Deserialize;

use super::DeviceError;
use super::mdm::Imported;
use super::posture::{Package, Platform, Posture, State};

const BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    serial: String,
    collected: Instant,
    platform: String,
    tables: BTreeMap<String, Vec<Row>>,
}

type Row = BTreeMap<String, String>;

/// Reads the results of one device. A platform that cannot be enrolled is an error.
pub fn from_json(export: &[u8]) -> Result<Imported, DeviceError> {
    let refuse = |why: &str| DeviceError::Export { why: why.to_owned() };
    if export.len() > BYTES_MAX {
        return Err(refuse("it is larger than 4 MiB"));
    }
    let export: Export = serde_json::from_slice(export)
        .map_err(|_| refuse("it is not one object of `serial`, `collected`, `platform` and `tables`"))?;
    if export.serial.trim().is_empty() {
        return Err(refuse("its serial is empty"));
    }
    let tables = Tables(&export.tables);
    let posture = match Platform::parse(&export.platform)? {
        Platform::Macos => macos(tables),
        Platform::Windows => windows(tables),
        Platform::Linux => return Err(refuse("linux has an agent of its own: `creta device report`")),
    };
    Ok(Imported { serial: export.serial, collected: export.collected, posture })
}

#[derive(Clone, Copy)]
struct Tables<'a>(&'a BTreeMap<String, Vec<Row>>);

impl<'a> Tables<'a> {
    fn rows(self, table: &str) -> Option<&'a [Row]> {
        self.0.get(table).map(Vec::as_slice)
    }

    /// One value of the first row.
    fn value(self, table: &str, column: &str) -> &'a str {
        self.rows(table).and_then(<[Row]>::first).map_or("", |row| column_of(row, column))
    }

    /// On if each row's column is one of `on`; unknown without rows.
    fn every(self, table: &str, column: &str, on: &[&str]) -> State {
        let rows = self.rows(table).unwrap_or_default();
        State::all(rows.iter().map(|row| State::of(on.contains(&column_of(row, column)))))
    }

    /// A setting of a managed policy, if there is one: what a person set for themselves is no policy.
    fn policy(self, name: &str) -> Option<&'a str> {
        let rows = self.rows("managed_policies").unwrap_or_default();
        rows.iter().find(|row| column_of(row, "name") == name).map(|row| column_of(row, "value"))
    }

    /// A registry value, by the end of its path.
    fn registry(self, path: &str) -> Option<&'a str> {
        let rows = self.rows("registry").unwrap_or_default();
        let ends = |row: &&Row| column_of(row, "path").to_lowercase().ends_with(&path.to_lowercase());
        rows.iter().find(ends).map(|row| column_of(row, "data"))
    }
}

fn column_of<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).map_or("", String::as_str)
}

fn is_on(setting: Option<&str>) -> State {
    setting.map_or(State::Unknown, |value| State::of(matches!(value, "1" | "true")))
}

/// Several settings of which all have to be off for the whole to be off.
fn any_on(settings: &[Option<&str>]) -> State {
    match State::all(settings.iter().map(|setting| match is_on(*setting) {
        State::On => State::Off,
        State::Off => State::On,
        State::Unknown => State::Unknown,
    })) {
        State::On => State::Off,
        State::Off => State::On,
        State::Unknown => State::Unknown,
    }
}

fn macos(tables: Tables<'_>) -> Posture {
    let minutes = tables.policy("maxInactivity").and_then(|value| value.parse::<u32>().ok());
    let seconds = tables.policy("idleTime").and_then(|value| value.parse::<u32>().ok());
    // Zero means never in both settings.
    let lock = minutes.and_then(|minutes| minutes.checked_mul(60)).or(seconds).filter(|seconds| *seconds > 0);
    let protection = tables.rows("xprotect_meta").map(|rows| State::of(!rows.is_empty()));
    let sharing = ["remote_login", "remote_management", "screen_sharing"];
    let sharing = tables
        .rows("sharing_preferences")
        .and_then(<[Row]>::first)
        .map_or(State::Unknown, |row| any_on(&sharing.map(|column| row.get(column).map(String::as_str))));
    let managers = tables.rows("signature").unwrap_or_default().iter().filter(|row| column_of(row, "signed") == "1");
    let managers = managers.map(|row| package(column_of(row, "identifier"), column_of(row, "team_identifier")));
    Posture {
        platform: Platform::Macos,
        os: "macos".to_owned(),
        os_version: tables.value("os_version", "version").to_owned(),
        disk_encryption: tables.every("disk_encryption", "encrypted", &["1"]),
        screen_lock_seconds: lock,
        firewall: tables.every("alf", "global_state", &["1", "2"]),
        automatic_updates: is_on(tables.policy("AutomaticallyInstallMacOSUpdates")),
        malware_protection: State::all([
            protection.unwrap_or(State::Unknown),
            tables.every("sip_config", "enabled", &["1"]),
        ]),
        remote_login: sharing,
        password_managers: managers.flatten().collect(),
        password_manager_lock: is_on(tables.policy("autolock")),
        browser_passwords: any_on(&[tables.policy("PasswordManagerEnabled"), tables.policy("allowPasswordAutoFill")]),
    }
}

fn windows(tables: Tables<'_>) -> Posture {
    let center = |column: &str| tables.every("windows_security_center", column, &["Good"]);
    let seconds = tables.registry(r"Policies\System\InactivityTimeoutSecs").and_then(|value| value.parse::<u32>().ok());
    let ports = tables.rows("listening_ports");
    let ssh = ports.map(|rows| if rows.iter().any(|row| column_of(row, "port") == "22") { "1" } else { "0" });
    let denied = tables.registry(r"Terminal Server\fDenyTSConnections");
    let desktop = denied.map(|value| if value == "1" { "0" } else { "1" });
    let managers = tables.rows("authenticode").unwrap_or_default().iter();
    let managers = managers.filter(|row| column_of(row, "result") == "trusted");
    let managers = managers.map(|row| package(column_of(row, "original_program_name"), column_of(row, "subject_name")));
    Posture {
        platform: Platform::Windows,
        os: "windows".to_owned(),
        os_version: tables.value("os_version", "version").to_owned(),
        disk_encryption: tables.every("bitlocker_info", "protection_status", &["1"]),
        screen_lock_seconds: seconds.filter(|seconds| *seconds > 0),
        firewall: center("firewall"),
        automatic_updates: center("autoupdate"),
        malware_protection: center("antivirus"),
        remote_login: any_on(&[ssh, desktop]),
        password_managers: managers.flatten().collect(),
        password_manager_lock: is_on(tables.registry(r"Policies\PasswordManager\AutoLock")),
        browser_passwords: any_on(&[
            tables.registry(r"Google\Chrome\PasswordManagerEnabled"),
            tables.registry(r"Microsoft\Edge\PasswordManagerEnabled"),
        ]),
    }
}

fn package(id: &str, signer: &str) -> Option<Package> {
    (!id.is_empty() && !signer.is_empty()).then(|| Package { id: id.to_owned(), signer: signer.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn export(platform: &str, tables: Value) -> Result<Posture, DeviceError> {
        let export =
            json!({"serial": "C02X", "collected": "2026-01-01T10:00:00Z", "platform": platform, "tables": tables});
        from_json(export.to_string().as_bytes()).map(|imported| imported.posture)
    }

    fn mac() -> Value {
        json!({
            "os_version": [{"name": "macOS", "version": "14.5"}],
            "disk_encryption": [{"name": "/dev/disk1s1", "encrypted": "1"}, {"name": "/dev/disk1s2", "encrypted": "1"}],
            "alf": [{"global_state": "2"}],
            "xprotect_meta": [{"identifier": "x"}],
            "sip_config": [{"config_flag": "sip", "enabled": "1"}],
            "sharing_preferences": [{"remote_login": "0", "remote_management": "0", "screen_sharing": "0"}],
            "signature": [
                {"signed": "1", "identifier": "com.1password.1password", "team_identifier": "2BUA8C4S2C"},
                {"signed": "0", "identifier": "com.fake.manager", "team_identifier": "2BUA8C4S2C"},
                {"signed": "1", "identifier": "com.adhoc", "team_identifier": ""},
            ],
            "managed_policies": [
                {"name": "maxInactivity", "value": "5"}, {"name": "AutomaticallyInstallMacOSUpdates", "value": "1"},
                {"name": "autolock", "value": "true"}, {"name": "PasswordManagerEnabled", "value": "0"},
                {"name": "allowPasswordAutoFill", "value": "false"},
            ],
        })
    }

    fn pc() -> Value {
        json!({
            "os_version": [{"name": "Windows 11", "version": "10.0.22631"}],
            "bitlocker_info": [{"drive_letter": "C:", "protection_status": "1"}],
            "windows_security_center": [{"firewall": "Good", "autoupdate": "Good", "antivirus": "Good"}],
            "listening_ports": [{"port": "135"}],
            "authenticode": [{"result": "trusted", "original_program_name": "KeePass.exe", "subject_name": "Open Source"}],
            "registry": [
                {"path": r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\System\InactivityTimeoutSecs", "data": "600"},
                {"path": r"HKEY_LOCAL_MACHINE\SYSTEM\Control\Terminal Server\fDenyTSConnections", "data": "1"},
                {"path": r"HKLM\SOFTWARE\Policies\PasswordManager\AutoLock", "data": "1"},
                {"path": r"HKLM\SOFTWARE\Policies\Google\Chrome\PasswordManagerEnabled", "data": "0"},
                {"path": r"HKLM\SOFTWARE\Policies\Microsoft\Edge\PasswordManagerEnabled", "data": "0"},
            ],
        })
    }

    /// States in the order of the table above, then seconds and managers.
    fn shown(posture: &Posture) -> String {
        let states = [
            posture.disk_encryption,
            posture.firewall,
            posture.automatic_updates,
            posture.malware_protection,
            posture.remote_login,
            posture.password_manager_lock,
            posture.browser_passwords,
        ];
        format!("{states:?} {:?} {}", posture.screen_lock_seconds, posture.password_managers.len())
    }

    #[test]
    fn results_become_a_posture() {
        let mac = export("darwin", mac()).expect("reads");
        assert_eq!((mac.platform, mac.os_version.as_str()), (Platform::Macos, "14.5"));
        assert_eq!(
            shown(&mac),
            "[On, On, On, On, Off, On, Off] Some(300) 1",
            "the unsigned and the ad hoc do not count"
        );
        let pc = export("windows", pc()).expect("reads");
        assert_eq!((pc.platform, pc.os.as_str()), (Platform::Windows, "windows"));
        assert_eq!(shown(&pc), "[On, On, On, On, Off, On, Off] Some(600) 1");
    }

    #[test]
    fn each_row_decides_its_item() {
        let state = |whole: Value, platform: &str, path: &str, value: &str| {
            let mut tables = whole;
            *tables.pointer_mut(path).expect("a row") = json!(value);
            shown(&export(platform, tables).expect("reads"))
        };
        for (path, value, expected) in [
            ("/disk_encryption/1/encrypted", "0", "[Off, On, On, On, Off, On, Off] Some(300) 1"),
            ("/alf/0/global_state", "0", "[On, Off, On, On, Off, On, Off] Some(300) 1"),
            ("/managed_policies/1/value", "0", "[On, On, Off, On, Off, On, Off] Some(300) 1"),
            ("/sip_config/0/enabled", "0", "[On, On, On, Off, Off, On, Off] Some(300) 1"),
            ("/sharing_preferences/0/screen_sharing", "1", "[On, On, On, On, On, On, Off] Some(300) 1"),
            ("/managed_policies/2/value", "false", "[On, On, On, On, Off, Off, Off] Some(300) 1"),
            ("/managed_policies/3/value", "1", "[On, On, On, On, Off, On, On] Some(300) 1"),
            ("/managed_policies/0/value", "0", "[On, On, On, On, Off, On, Off] None 1"),
        ] {
            assert_eq!(state(mac(), "darwin", path, value), expected, "{path}");
        }
        for (path, value, expected) in [
            ("/bitlocker_info/0/protection_status", "2", "[Off, On, On, On, Off, On, Off] Some(600) 1"),
            ("/windows_security_center/0/firewall", "Poor", "[On, Off, On, On, Off, On, Off] Some(600) 1"),
            ("/windows_security_center/0/antivirus", "Snoozed", "[On, On, On, Off, Off, On, Off] Some(600) 1"),
            ("/listening_ports/0/port", "22", "[On, On, On, On, On, On, Off] Some(600) 1"),
            ("/registry/1/data", "0", "[On, On, On, On, On, On, Off] Some(600) 1"),
            ("/registry/4/data", "1", "[On, On, On, On, Off, On, On] Some(600) 1"),
            ("/authenticode/0/result", "untrusted", "[On, On, On, On, Off, On, Off] Some(600) 0"),
        ] {
            assert_eq!(state(pc(), "windows", path, value), expected, "{path}");
        }
    }

    #[test]
    fn attack_ch18_what_is_missing_is_unknown_and_phones_are_refused() {
        for platform in ["darwin", "windows"] {
            let posture = export(platform, json!({})).expect("reads");
            let unknown = "[Unknown, Unknown, Unknown, Unknown, Unknown, Unknown, Unknown] None 0";
            assert_eq!(shown(&posture), unknown, "{platform}");
        }
        let ios = Err(DeviceError::Platform { platform: "ios".to_owned() });
        assert_eq!(export("ios", mac()), ios);
        assert!(matches!(export("ubuntu", mac()), Err(DeviceError::Export { .. })));
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"serial": " ", "collected": "2026-01-01T10:00:00Z", "platform": "darwin", "tables": {}}"#,
        ] {
            assert!(matches!(from_json(bad.as_bytes()), Err(DeviceError::Export { .. })), "{bad}");
        }
    }
}
