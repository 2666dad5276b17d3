//! `creta device agent`: reports again and again, with nobody signed in.
//!
//! It needs no root: all that is looked at may be read by everybody, and the key belongs to whoever enrolled the computer.
//! Whoever stops it loses nothing but their access to production, a day after the last report.

use std::path::{Path, PathBuf};
use std::time::Duration;

use creta_platform::{Random as _, SystemRandom};
use serde_json::json;

use super::{described, report};
use crate::args::DeviceAgent;
use crate::commands::connect;
use crate::failure::{Exit, Failure};
use crate::held_key::DeviceFile;
use crate::terminal::Terminal;

/// How soon a report that did not arrive is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(5 * 60);
const UNIT: &str = "creta-device-agent";

pub(super) fn run(agent: &DeviceAgent, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, profile) = connect(&agent.connection)?;
    let file = DeviceFile::path(&profile)?;
    // Not enrolled is not something that time mends.
    DeviceFile::read(&file)?;
    if agent.install {
        return install(agent, &file, terminal);
    }
    let interval = Duration::from_secs(u64::from(agent.interval_minutes) * 60);
    loop {
        let wait = match report(&server, &file, terminal) {
            Ok(device) => {
                terminal.show(&device, || described(&device));
                if agent.once {
                    return Ok(());
                }
                interval
            }
            Err(failure) if agent.once || is_final(&failure) => return Err(failure),
            Err(failure) => {
                terminal.fail(&failure);
                interval.min(AGAIN_AFTER)
            }
        };
        std::thread::sleep(with_jitter(wait, random()));
    }
}

/// Whether trying again is of no use: the device has ended, or the file of its key is of no use.
fn is_final(failure: &Failure) -> bool {
    failure.exit == Exit::Usage
        || failure.problems.iter().any(|problem| {
            ["access/device-revoked", "access/device-cloned", "not-found/device"].contains(&problem.code.as_str())
        })
}

/// A tenth more or less, so that not everybody comes at once after a power cut.
fn with_jitter(wait: Duration, random: u16) -> Duration {
    wait.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u16::MAX))
}

fn random() -> u16 {
    let mut bytes = [0; 2];
    SystemRandom.fill(&mut bytes);
    u16::from_be_bytes(bytes)
}

/// Writes units for the systemd of whoever runs this.
fn install(agent: &DeviceAgent, device: &Path, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let folder = units_folder()?;
    let command = own_command()?;
    let written = [
        (folder.join(format!("{UNIT}.service")), service(&command, &agent.connection.profile, device)),
        (folder.join(format!("{UNIT}.timer")), timer(agent.interval_minutes)),
    ];
    std::fs::create_dir_all(&folder).map_err(|error| Failure::file("make", &folder, &error))?;
    for (file, text) in &written {
        std::fs::write(file, text).map_err(|error| Failure::file("write", file, &error))?;
    }
    let files: Vec<&PathBuf> = written.iter().map(|(file, _)| file).collect();
    terminal.show(&json!({ "files": files }), || {
        format!(
            "wrote {} and {}\nstart it: systemctl --user daemon-reload && systemctl --user enable --now {UNIT}.timer\n\
             and let it run while you are not logged in: loginctl enable-linger\nsee what it does: journalctl --user -u {UNIT}",
            files[0].display(),
            files[1].display()
        )
    });
    Ok(())
}

fn units_folder() -> Result<PathBuf, Failure> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = given("XDG_CONFIG_HOME").or_else(|| given("HOME").map(|home| home.join(".config")));
    config
        .map(|config| config.join("systemd/user"))
        .ok_or_else(|| Failure::usage("device/no-home", "there is no home folder to write units to", "set `HOME`"))
}

/// This program by its path; what Python runs is found by its name.
fn own_command() -> Result<PathBuf, Failure> {
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name == "creta");
    let running = std::env::current_exe().ok().filter(named);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("creta")).filter(|file| file.is_file());
    running.or_else(|| found.next()).ok_or_else(|| {
        Failure::usage("device/no-command", "the command `creta` is not found", "add its folder to `PATH`")
    })
}

/// Looks at everything, writes into the folder of its key, talks to the server and to the TPM, and does nothing else. What
/// takes capabilities away is left out: a person's own systemd has none to take, and fails at it.
fn service(command: &Path, profile: &str, device: &Path) -> String {
    let folder = device.parent().unwrap_or(Path::new("/"));
    let kept: String = ["CRETA_PROFILE_FILE", "CRETA_TPM", "XDG_CONFIG_HOME"]
        .iter()
        .filter_map(|name| Some(format!("Environment={}\n", quoted(&format!("{name}={}", std::env::var(name).ok()?)))))
        .collect();
    format!(
        "[Unit]\n\
         Description=Reports how this computer is set up\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         {kept}\
         ExecStart={} device agent --once --profile {}\n\
         TimeoutStartSec=3600\n\
         UMask=0077\n\
         NoNewPrivileges=yes\n\
         ProtectSystem=strict\n\
         ProtectHome=read-only\n\
         ReadWritePaths={}\n\
         ProtectKernelTunables=yes\n\
         ProtectControlGroups=yes\n\
         RestrictNamespaces=yes\n\
         RestrictRealtime=yes\n\
         RestrictSUIDSGID=yes\n\
         RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n\
         LockPersonality=yes\n\
         MemoryDenyWriteExecute=yes\n\
         SystemCallArchitectures=native\n\
         SystemCallFilter=@system-service\n\
         SystemCallFilter=~@privileged @resources\n",
        quoted(&command.display().to_string()),
        quoted(profile),
        quoted(&folder.display().to_string()),
    )
}

fn timer(interval_minutes: u32) -> String {
    // `OnUnitActiveSec` counts from the last run, `OnBootSec` from the start of the computer.
    format!(
        "[Unit]\n\
         Description=Reports how this computer is set up, again and again\n\
         \n\
         [Timer]\n\
         OnBootSec=2min\n\
         OnUnitActiveSec={interval_minutes}min\n\
         RandomizedDelaySec={}min\n\
         \n\
         [Install]\n\
         WantedBy=timers.target\n",
        (interval_minutes / 10).max(1)
    )
}

/// A word of a unit (systemd.syntax(7)); `%` and `$` would be read as something else.
fn quoted(word: &str) -> String {
    let escaped: String = word
        .chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            '%' | '$' => vec![c, c],
            c => vec![c],
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_differ_by_a_tenth_and_no_more() {
        let hour = Duration::from_secs(3600);
        assert_eq!(with_jitter(hour, 0), Duration::from_secs(3240));
        assert_eq!(with_jitter(hour, u16::MAX), Duration::from_secs(3960));
    }

    #[test]
    fn attack_ch18_a_units_words_stay_words() {
        assert_eq!(quoted("/home/ana x/creta"), "\"/home/ana x/creta\"");
        assert_eq!(quoted("a\"b\\c%d$e"), "\"a\\\"b\\\\c%%d$$e\"");
        let unit = service(
            Path::new("/usr/bin/creta"),
            "x\" ExecStartPost=\"/bin/sh",
            Path::new("/home/ana/.config/creta/h.device"),
        );
        assert!(unit.contains("--profile \"x\\\" ExecStartPost=\\\"/bin/sh\"\n"), "{unit}");
        assert!(unit.contains("ReadWritePaths=\"/home/ana/.config/creta\"\n"));
        assert!(timer(5).contains("RandomizedDelaySec=1min"));
    }
}
