//! What is turned on, by the files that only root writes.

use serde_json::Value;

use super::Tree;
use super::packages::Database;
use crate::device::State;

const UNITS: &str = "/etc/systemd/system";
/// Programs against malware: package, and the unit that starts it.
const PROTECTION: [(&str, &str); 6] = [
    ("clamav-daemon", "clamav-daemon.service"),
    ("cbagent", "cbagentd.service"),
    ("falcon-sensor", "falcon-sensor.service"),
    ("mdatp", "mdatp.service"),
    ("sentinelagent", "sentinelone.service"),
    ("wazuh-agent", "wazuh-agent.service"),
];
/// Ports of logins over the network: SSH, telnet, remote desktops.
const LOGIN_PORTS: [u16; 5] = [22, 23, 3389, 5900, 5901];

/// Id and version of the distribution (os-release(5)).
pub(super) fn system(tree: &dyn Tree) -> (String, String) {
    let text = tree.text("/etc/os-release").or_else(|| tree.text("/usr/lib/os-release")).unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
    };
    (value("ID"), value("VERSION_ID"))
}

/// Whether a unit starts with the system: it is wanted by a target and not masked.
fn starts(tree: &dyn Tree, unit: &str) -> bool {
    let targets = tree.list(UNITS).into_iter().filter(|name| name.ends_with(".target.wants"));
    let wanted =
        targets.into_iter().any(|target| tree.list(&format!("{UNITS}/{target}")).iter().any(|name| name == unit));
    // A masked unit is a link to /dev/null, which reads as nothing.
    let masked = tree.read(&format!("{UNITS}/{unit}")).is_some_and(|content| content.is_empty());
    wanted && !masked
}

/// ufw or firewalld enabled, or nftables with a chain for what comes in that drops or rejects.
pub(super) fn firewall(tree: &dyn Tree) -> State {
    let ufw = tree.text("/etc/ufw/ufw.conf").is_some_and(|text| setting(&text, "ENABLED").as_deref() == Some("yes"));
    let nftables = tree.text("/etc/nftables.conf").is_some_and(|text| {
        let rules: String = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        rules.contains("hook input") && (rules.contains("policy drop") || rules.contains("reject"))
    });
    let on = (ufw && starts(tree, "ufw.service"))
        || starts(tree, "firewalld.service")
        || (nftables && starts(tree, "nftables.service"));
    known(tree, on)
}

/// Debian's unattended upgrades, or Fedora's timers.
pub(super) fn automatic_updates(tree: &dyn Tree, database: &Database) -> State {
    let folder = "/etc/apt/apt.conf.d";
    let mut upgrade = None;
    // Later files win, as apt reads them in order of their names.
    for file in tree.list(folder) {
        let text = tree.text(&format!("{folder}/{file}")).unwrap_or_default();
        for line in text.lines().map(str::trim) {
            if let Some(value) = line.strip_prefix("APT::Periodic::Unattended-Upgrade") {
                upgrade = Some(value.trim().trim_matches(['"', ';']).to_owned());
            }
        }
    }
    let apt = database.holds("unattended-upgrades")
        && upgrade.is_some_and(|days| days.parse::<u32>().is_ok_and(|days| days > 0));
    let timers = ["dnf-automatic.timer", "dnf-automatic-install.timer", "dnf5-automatic.timer"];
    known(tree, apt || timers.iter().any(|timer| starts(tree, timer)))
}

/// Installed as a package and started with the system; a process of that name is nothing.
pub(super) fn malware_protection(tree: &dyn Tree, database: &Database) -> State {
    known(tree, PROTECTION.iter().any(|(package, unit)| database.holds(package) && starts(tree, unit)))
}

/// On if something listens on a port of logins from elsewhere, or a server for them starts with the system.
pub(super) fn remote_login(tree: &dyn Tree) -> State {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| tree.text(path));
    if tables.iter().all(Option::is_none) {
        return State::Unknown;
    }
    let listens = tables.iter().flatten().flat_map(|text| text.lines().skip(1)).any(is_login);
    let units = ["ssh.service", "sshd.service", "ssh.socket", "sshd.socket", "xrdp.service", "telnet.socket"];
    State::of(listens || units.iter().any(|unit| starts(tree, unit)))
}

/// A line of `/proc/net/tcp` (proc(5)) that listens for logins on more than this machine.
fn is_login(line: &str) -> bool {
    let mut fields = line.split_whitespace().skip(1);
    let (Some(local), _, Some(state)) = (fields.next(), fields.next(), fields.next()) else {
        return false;
    };
    let Some((address, port)) = local.split_once(':') else {
        return false;
    };
    // 127.0.0.0/8 with its bytes reversed, and ::1.
    let loopback = (address.len() == 8 && address.ends_with("7F")) || address == "00000000000000000000000001000000";
    let port = u16::from_str_radix(port, 16).unwrap_or_default();
    state == "0A" && !loopback && LOGIN_PORTS.contains(&port)
}

/// Seconds until the screen locks, from a policy for everybody: GNOME's (dconf, with the settings locked) or KDE's.
pub(super) fn screen_lock(tree: &dyn Tree) -> Option<u32> {
    gnome_lock(tree).or_else(|| kde_lock(tree))
}

fn gnome_lock(tree: &dyn Tree) -> Option<u32> {
    let databases = tree.list("/etc/dconf/db").into_iter().filter(|name| name.ends_with(".d"));
    databases.into_iter().find_map(|database| {
        let folder = format!("/etc/dconf/db/{database}");
        let join = |folder: &str| {
            let files = tree.list(folder).into_iter();
            files.filter_map(|file| tree.text(&format!("{folder}/{file}"))).collect::<Vec<_>>().join("\n")
        };
        let (text, locks) = (join(&folder), join(&format!("{folder}/locks")));
        let value = |group: &str, name: &str| {
            let path = format!("/{group}/{name}");
            let locked = locks.lines().any(|line| line.trim() == path);
            section(&text, group).and_then(|section| setting(&section, name)).filter(|_| locked)
        };
        let seconds = |text: String| text.trim_start_matches("uint32").trim().parse::<u32>().ok();
        let saver = "org/gnome/desktop/screensaver";
        let idle = value("org/gnome/desktop/session", "idle-delay").and_then(seconds).filter(|idle| *idle > 0)?;
        let delay = value(saver, "lock-delay").and_then(seconds)?;
        value(saver, "lock-enabled").filter(|enabled| enabled == "true")?;
        idle.checked_add(delay)
    })
}

fn kde_lock(tree: &dyn Tree) -> Option<u32> {
    let text = tree.text("/etc/xdg/kscreenlockerrc")?;
    // `[$i]` after a section or a name makes it immutable for people.
    let (daemon, whole) = match section(&text, "Daemon][$i") {
        Some(daemon) => (daemon, true),
        None => (section(&text, "Daemon")?, false),
    };
    let value =
        |name: &str| setting(&daemon, &format!("{name}[$i]")).or_else(|| setting(&daemon, name).filter(|_| whole));
    value("Autolock").filter(|on| on == "true")?;
    value("Timeout")?.parse::<u32>().ok()?.checked_mul(60).filter(|seconds| *seconds > 0)
}

/// A policy file of the organisation for its password manager: `/etc/creta/password-manager.json`, `{"lock": true}`,
/// written by the tool that also configures the manager.
pub(super) fn password_manager_lock(tree: &dyn Tree) -> State {
    let policy =
        tree.read("/etc/creta/password-manager.json").and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    policy.and_then(|policy| policy["lock"].as_bool()).map_or(State::Unknown, State::of)
}

/// Off if each browser that is installed has a policy against keeping passwords.
pub(super) fn browser_passwords(tree: &dyn Tree, database: &Database) -> State {
    let managed = |folder: &str| {
        let files = tree.list(folder).into_iter().filter(|file| file.ends_with(".json"));
        files.into_iter().any(|file| {
            let policy =
                tree.read(&format!("{folder}/{file}")).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            policy.is_some_and(|policy| policy["PasswordManagerEnabled"] == Value::Bool(false))
        })
    };
    let firefox = || {
        let policies = ["/etc/firefox/policies/policies.json", "/usr/lib/firefox/distribution/policies.json"];
        let read = |path: &&str| tree.read(path).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        policies
            .iter()
            .find_map(read)
            .is_some_and(|policy| policy["policies"]["PasswordManagerEnabled"] == Value::Bool(false))
    };
    let browsers: [(&str, &dyn Fn() -> bool); 6] = [
        ("chromium", &|| managed("/etc/chromium/policies/managed")),
        ("chromium-browser", &|| managed("/etc/chromium/policies/managed")),
        ("firefox", &firefox),
        ("firefox-esr", &firefox),
        ("google-chrome-stable", &|| managed("/etc/opt/chrome/policies/managed")),
        ("microsoft-edge-stable", &|| managed("/etc/opt/edge/policies/managed")),
    ];
    if tree.read("/var/lib/dpkg/status").is_none() {
        return State::Unknown;
    }
    let keeps = browsers.iter().any(|(package, off)| database.holds(package) && !off());
    State::of(keeps)
}

/// Without any unit files this is no machine that we can read.
fn known(tree: &dyn Tree, on: bool) -> State {
    if on || !tree.list(UNITS).is_empty() { State::of(on) } else { State::Unknown }
}

/// The lines of `[name]` of a key file.
fn section(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != format!("[{name}]"));
    lines.next()?;
    Some(lines.take_while(|line| !line.starts_with('[')).collect::<Vec<_>>().join("\n"))
}

/// The last value of `name=value`, without quotes.
fn setting(text: &str, name: &str) -> Option<String> {
    let values = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let last = values.filter_map(|line| line.split_once('=')).rfind(|(key, _)| key.trim() == name);
    last.map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned())
}
