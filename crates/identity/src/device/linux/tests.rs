//! Trees of files, each one change away from a machine that is set up right.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::device::State;
use crate::jws::sha256;

#[derive(Clone, Default)]
struct Fixture(BTreeMap<String, String>);

impl Tree for Fixture {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.get(path).map(|text| text.clone().into_bytes())
    }

    fn list(&self, path: &str) -> Vec<String> {
        let inside = self.0.keys().filter_map(|file| file.strip_prefix(path)?.strip_prefix('/'));
        let names: BTreeSet<&str> = inside.filter_map(|rest| rest.split('/').next()).collect();
        names.into_iter().map(str::to_owned).collect()
    }
}

const GOOD: [(&str, &str); 32] = [
    ("/etc/os-release", "NAME=\"Ubuntu\"\nID=ubuntu\nVERSION_ID=\"24.04\"\n"),
    (
        "/proc/self/mountinfo",
        "22 1 252:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw\n30 22 0:5 / /proc rw - proc proc rw\n31 22 252:3 / /home rw - ext4 /dev/dm-3 rw\n",
    ),
    (
        "/proc/swaps",
        "Filename Type Size Used Priority\n/dev/dm-2 partition 1 0 -2\n/dev/zram0 partition 1 0 5\n/swapfile file 1 0 -3\n",
    ),
    ("/sys/class/block/sda3/dev", "8:3\n"),
    ("/sys/class/block/dm-0/dm/uuid", "CRYPT-LUKS2-0123\n"),
    ("/sys/class/block/dm-0/slaves/sda3/dev", "8:3\n"),
    ("/sys/class/block/dm-1/dm/uuid", "LVM-4567\n"),
    ("/sys/class/block/dm-1/dm/name", "vg-root\n"),
    ("/sys/class/block/dm-1/slaves/dm-0/dev", "252:0\n"),
    ("/sys/class/block/dm-2/slaves/dm-0/dev", "252:0\n"),
    ("/sys/class/block/dm-3/slaves/dm-0/dev", "252:0\n"),
    ("/etc/systemd/system/multi-user.target.wants/ufw.service", "[Unit]"),
    ("/etc/systemd/system/multi-user.target.wants/clamav-daemon.service", "[Unit]"),
    ("/etc/ufw/ufw.conf", "# ENABLED=no\nENABLED=yes\n"),
    ("/etc/apt/apt.conf.d/10periodic", "APT::Periodic::Unattended-Upgrade \"0\";\n"),
    (
        "/etc/apt/apt.conf.d/20auto-upgrades",
        "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n",
    ),
    (
        "/etc/dconf/db/local.d/00-lock",
        "[org/gnome/desktop/session]\nidle-delay=uint32 300\n\n[org/gnome/desktop/screensaver]\nlock-enabled=true\nlock-delay=uint32 5\n",
    ),
    (
        "/etc/dconf/db/local.d/locks/lock",
        "/org/gnome/desktop/session/idle-delay\n/org/gnome/desktop/screensaver/lock-enabled\n/org/gnome/desktop/screensaver/lock-delay\n",
    ),
    (
        "/proc/net/tcp",
        "  sl local rem st\n   0: 0100007F:0016 00000000:0000 0A\n   1: 00000000:1F90 00000000:0000 0A\n   2: 0A00000A:0016 0B00000A:C000 01\n",
    ),
    ("/proc/net/tcp6", "  sl local rem st\n   0: 00000000000000000000000001000000:0016 0:0 0A\n"),
    ("/etc/creta/password-manager.json", "{\"lock\": true}"),
    ("/etc/firefox/policies/policies.json", "{\"policies\": {\"PasswordManagerEnabled\": false}}"),
    ("/etc/opt/chrome/policies/managed/bank.json", "{\"PasswordManagerEnabled\": false}"),
    ("/usr/share/keyrings/1password.gpg", "keyring"),
    (
        "/etc/apt/sources.list.d/1password.list",
        "# a comment\ndeb [arch=amd64 signed-by=/usr/share/keyrings/1password.gpg] https://downloads.1password.example/linux/debian/amd64 stable main\n",
    ),
    (
        "/var/lib/apt/lists/downloads.1password.example_linux_debian_amd64_dists_stable_main_binary-amd64_Packages",
        "Package: 1password\nVersion: 8.10\n\nPackage: 1password-cli\nVersion: 2.0\n",
    ),
    (
        "/etc/apt/sources.list.d/vault.sources",
        "Types: deb\nURIs: https://vault.example/apt\nSuites: stable\nSigned-By: /usr/share/keyrings/vault.gpg\n",
    ),
    ("/usr/share/keyrings/vault.gpg", "vault"),
    (
        "/var/lib/apt/lists/vault.example_apt_dists_stable_main_binary-amd64_Packages",
        "Package: vaultpass\nVersion: 1\n",
    ),
    (
        "/var/lib/dpkg/status",
        "Package: 1password\nStatus: install ok installed\nVersion: 8.10\n\nPackage: clamav-daemon\nStatus: install ok installed\nVersion: 1\nDescription: x\n Package: fake\n\nPackage: unattended-upgrades\nStatus: install ok installed\nVersion: 2\n\nPackage: firefox\nStatus: install ok installed\nVersion: 3\n\nPackage: google-chrome-stable\nStatus: install ok installed\nVersion: 4\n\nPackage: chromium\nStatus: deinstall ok config-files\nVersion: 5\n\nPackage: vaultpass\nStatus: install ok installed\nVersion: 1\n",
    ),
    ("/etc/systemd/system/sockets.target.wants/cups.socket", "[Unit]"),
    ("/etc/systemd/system/timers.target.wants/fstrim.timer", "[Unit]"),
];

fn good() -> Fixture {
    Fixture(GOOD.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

/// The good tree with one text replaced; every change has to hit something.
fn changed(path: &str, from: &str, to: &str) -> Posture {
    let mut tree = good();
    let text = tree.0.get_mut(path).expect("a file");
    assert!(text.contains(from), "{path} does not hold {from}");
    *text = text.replace(from, to);
    look(&tree)
}

fn with(path: &str, text: &str) -> Posture {
    let mut tree = good();
    tree.0.insert(path.to_owned(), text.to_owned());
    look(&tree)
}

fn without(path: &str) -> Posture {
    let mut tree = good();
    assert!(tree.0.remove(path).is_some(), "{path}");
    look(&tree)
}

fn look(tree: &Fixture) -> Posture {
    posture(tree, &["1password", "vaultpass", "keepassxc"])
}

#[test]
fn a_machine_that_is_set_up_right_is_seen_so() {
    let posture = look(&good());
    assert_eq!((posture.os.as_str(), posture.os_version.as_str()), ("ubuntu", "24.04"));
    assert_eq!((posture.disk_encryption, posture.firewall), (State::On, State::On));
    assert_eq!((posture.automatic_updates, posture.malware_protection), (State::On, State::On));
    assert_eq!((posture.remote_login, posture.browser_passwords), (State::Off, State::Off));
    assert_eq!((posture.password_manager_lock, posture.screen_lock_seconds), (State::On, Some(305)));
    let signers: Vec<_> = posture.password_managers.iter().map(|p| (p.id.as_str(), p.signer.clone())).collect();
    let expected = [("1password", hex::encode(sha256(b"keyring"))), ("vaultpass", hex::encode(sha256(b"vault")))];
    assert_eq!(signers, expected);
}

#[test]
fn attack_ch18_a_disk_home_or_swap_that_is_not_encrypted_is_noticed() {
    let encrypted = |posture: Posture| posture.disk_encryption;
    let plain = "252:1 / / rw,relatime shared:1 - ext4 /dev/sda3 rw";
    assert_eq!(
        encrypted(changed(
            "/proc/self/mountinfo",
            "252:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw",
            plain
        )),
        State::Off
    );
    assert_eq!(encrypted(changed("/proc/self/mountinfo", "/dev/dm-3", "/dev/sda3")), State::Off, "home");
    assert_eq!(encrypted(changed("/proc/swaps", "/dev/dm-2", "/dev/sda3")), State::Off, "swap");
    assert_eq!(encrypted(changed("/sys/class/block/dm-0/dm/uuid", "CRYPT-", "LVM-")), State::Off, "a partition below");
    // One of two disks of an array.
    assert_eq!(encrypted(with("/sys/class/block/dm-1/slaves/sda3/dev", "8:3")), State::Off);
    // A file system mounted over root later is what counts.
    let over = format!("{}40 22 8:3 / / rw - ext4 /dev/sda3 rw\n", GOOD[1].1);
    assert_eq!(encrypted(with("/proc/self/mountinfo", &over)), State::Off);
    for (path, from, to) in [
        ("/proc/self/mountinfo", "/dev/mapper/vg-root", "/dev/mapper/other"),
        ("/proc/self/mountinfo", "/dev/mapper/vg-root", "rpool/root"),
        ("/proc/self/mountinfo", "/dev/dm-3", "/dev/nvme9"),
    ] {
        assert_eq!(encrypted(changed(path, from, to)), State::Unknown, "{to}");
    }
    assert_eq!(encrypted(without("/proc/self/mountinfo")), State::Unknown);
}

#[test]
fn attack_ch18_what_is_only_installed_or_only_configured_is_off() {
    assert_eq!(changed("/etc/ufw/ufw.conf", "\nENABLED=yes", "\nENABLED=no").firewall, State::Off);
    assert_eq!(without("/etc/systemd/system/multi-user.target.wants/ufw.service").firewall, State::Off);
    assert_eq!(with("/etc/systemd/system/ufw.service", "").firewall, State::Off, "masked");
    assert_eq!(
        changed("/etc/apt/apt.conf.d/20auto-upgrades", "Upgrade \"1\"", "Upgrade \"0\"").automatic_updates,
        State::Off
    );
    assert_eq!(
        with("/etc/apt/apt.conf.d/99local", "APT::Periodic::Unattended-Upgrade \"0\";").automatic_updates,
        State::Off
    );
    assert_eq!(changed("/var/lib/dpkg/status", "unattended-upgrades", "unattended").automatic_updates, State::Off);
    assert_eq!(
        changed("/var/lib/dpkg/status", "Package: clamav-daemon", "Package: clamav").malware_protection,
        State::Off
    );
    assert_eq!(
        without("/etc/systemd/system/multi-user.target.wants/clamav-daemon.service").malware_protection,
        State::Off
    );
    let mut nftables = good();
    nftables.0.remove("/etc/ufw/ufw.conf");
    nftables.0.insert("/etc/systemd/system/sysinit.target.wants/nftables.service".to_owned(), "[Unit]".to_owned());
    for (rules, state) in [
        ("chain input { type filter hook input priority 0; policy drop; }", State::On),
        ("# hook input policy drop", State::Off),
        ("chain input { type filter hook input priority 0; policy accept; }", State::Off),
    ] {
        nftables.0.insert("/etc/nftables.conf".to_owned(), rules.to_owned());
        assert_eq!(look(&nftables).firewall, state, "{rules}");
    }
}

#[test]
fn attack_ch18_logins_over_the_network_are_noticed() {
    assert_eq!(changed("/proc/net/tcp", "0100007F:0016", "00000000:0016").remote_login, State::On);
    assert_eq!(changed("/proc/net/tcp", "00000000:1F90", "0A00000A:0D3D").remote_login, State::On, "a remote desktop");
    assert_eq!(changed("/proc/net/tcp6", "00000000000000000000000001000000", &"0".repeat(32)).remote_login, State::On);
    assert_eq!(with("/etc/systemd/system/sockets.target.wants/ssh.socket", "x").remote_login, State::On);
    let mut tree = good();
    tree.0.retain(|path, _| !path.starts_with("/proc/net"));
    assert_eq!(look(&tree).remote_login, State::Unknown);
}

#[test]
fn attack_ch18_a_screen_lock_that_the_person_can_change_does_not_count() {
    for lock in ["session/idle-delay", "screensaver/lock-enabled", "screensaver/lock-delay"] {
        let posture = changed("/etc/dconf/db/local.d/locks/lock", &format!("/org/gnome/desktop/{lock}\n"), "");
        assert_eq!(posture.screen_lock_seconds, None, "{lock}");
    }
    assert_eq!(
        changed("/etc/dconf/db/local.d/00-lock", "lock-enabled=true", "lock-enabled=false").screen_lock_seconds,
        None
    );
    assert_eq!(changed("/etc/dconf/db/local.d/00-lock", "uint32 300", "uint32 0").screen_lock_seconds, None, "never");
    let mut kde = good();
    kde.0.remove("/etc/dconf/db/local.d/00-lock");
    for (text, seconds) in [
        ("[Daemon][$i]\nAutolock=true\nTimeout=5\n", Some(300)),
        ("[Daemon]\nAutolock[$i]=true\nTimeout[$i]=5\n", Some(300)),
        ("[Daemon]\nAutolock=true\nTimeout=5\n", None),
        ("[Daemon][$i]\nAutolock=false\nTimeout=5\n", None),
        ("[Daemon][$i]\nAutolock=true\nTimeout=0\n", None),
    ] {
        kde.0.insert("/etc/xdg/kscreenlockerrc".to_owned(), text.to_owned());
        assert_eq!(look(&kde).screen_lock_seconds, seconds, "{text}");
    }
}

#[test]
fn attack_ci26_a_password_manager_counts_by_its_repository_and_not_by_its_name() {
    let ids = |posture: Posture| posture.password_managers.into_iter().map(|package| package.id).collect::<Vec<_>>();
    assert_eq!(ids(look(&good())), ["1password", "vaultpass"]);
    // Built at home with another version, removed again, from a repository without a keyring, or with none at all.
    assert_eq!(ids(changed("/var/lib/dpkg/status", "Version: 8.10", "Version: 9.99")), ["vaultpass"]);
    assert_eq!(
        ids(changed(
            "/var/lib/dpkg/status",
            "Package: 1password\nStatus: install ok installed",
            "Package: 1password\nStatus: deinstall ok config-files"
        )),
        ["vaultpass"]
    );
    assert_eq!(
        ids(changed(
            "/etc/apt/sources.list.d/1password.list",
            "signed-by=/usr/share/keyrings/1password.gpg",
            "trusted=yes"
        )),
        ["vaultpass"]
    );
    assert_eq!(ids(without("/usr/share/keyrings/1password.gpg")), ["vaultpass"]);
    assert_eq!(
        ids(changed("/etc/apt/sources.list.d/vault.sources", "Types: deb", "Enabled: no\nTypes: deb")),
        ["1password"]
    );
    // The name in a description, and a process of that name: nothing.
    let posture = with("/proc/4711/comm", "keepassxc\n");
    assert_eq!(ids(posture), ["1password", "vaultpass"]);
    let evil = changed("/etc/apt/sources.list.d/1password.list", "1password.gpg", "vault.gpg").password_managers;
    assert_ne!(evil[0].signer, look(&good()).password_managers[0].signer, "another repository signs with another key");
}

#[test]
fn attack_ci26_a_browser_that_keeps_passwords_is_noticed() {
    assert_eq!(changed("/etc/firefox/policies/policies.json", "false", "true").browser_passwords, State::On);
    assert_eq!(without("/etc/opt/chrome/policies/managed/bank.json").browser_passwords, State::On);
    let installed = "Package: chromium\nStatus: install ok installed";
    assert_eq!(
        changed("/var/lib/dpkg/status", "Package: chromium\nStatus: deinstall ok config-files", installed)
            .browser_passwords,
        State::On
    );
    assert_eq!(changed("/etc/creta/password-manager.json", "true", "false").password_manager_lock, State::Off);
    assert_eq!(without("/etc/creta/password-manager.json").password_manager_lock, State::Unknown);
}

#[test]
fn a_machine_without_files_is_unknown() {
    let posture = look(&Fixture::default());
    let states = [
        posture.disk_encryption,
        posture.firewall,
        posture.automatic_updates,
        posture.malware_protection,
        posture.remote_login,
        posture.password_manager_lock,
        posture.browser_passwords,
    ];
    assert_eq!((states, posture.screen_lock_seconds), ([State::Unknown; 7], None));
}
