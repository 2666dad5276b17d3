//! What is not as it has to be on this Linux, and how its owner mends it: in words, with the command or the file.

use creta_identity::device::{Finding, Item, Platform, Standard};
use serde::Serialize;

/// One thing to mend.
#[derive(Debug, Serialize)]
pub(super) struct Mend {
    item: Item,
    /// What the standard wants.
    wanted: String,
    /// How to get there.
    how: String,
}

/// How to mend what a look at this computer found.
pub(super) fn mend(finding: &Finding, standard: Option<&Standard>) -> Mend {
    let how = match finding.item {
        Item::Enrolment => "creta device enrol --name NAME".to_owned(),
        Item::Report => "creta device report; and let it happen by itself: creta device agent --install".to_owned(),
        Item::DiskEncryption => {
            "a system that is installed is encrypted by installing it anew with `encrypted LVM`; for swap space alone: \
             sudo swapoff -a, then a line with `swap,cipher=aes-xts-plain64,size=512` in /etc/crypttab"
                .to_owned()
        }
        Item::ScreenLock => {
            let seconds = standard.map_or(300, |standard| standard.screen_lock_seconds_max);
            format!(
                "a policy for everybody in /etc/dconf/db/local.d/lock: `[org/gnome/desktop/session]` with `idle-delay=uint32 \
                 {seconds}`, `[org/gnome/desktop/screensaver]` with `lock-enabled=true` and `lock-delay=uint32 0`; the same \
                 three names as paths in /etc/dconf/db/local.d/locks/lock; then: sudo dconf update"
            )
        }
        Item::OsVersion => "sudo apt full-upgrade, or the next release of your distribution".to_owned(),
        Item::Firewall => "sudo apt install ufw && sudo ufw enable".to_owned(),
        Item::AutomaticUpdates => {
            "sudo apt install unattended-upgrades && sudo dpkg-reconfigure -plow unattended-upgrades".to_owned()
        }
        Item::MalwareProtection => {
            "sudo apt install clamav-daemon && sudo systemctl enable --now clamav-daemon, or what your company uses".to_owned()
        }
        Item::PasswordManager => {
            let approved = standard.map(|standard| standard.password_managers.as_slice()).unwrap_or_default();
            let names = approved.iter().filter(|approved| approved.platform == Platform::Linux);
            let names: Vec<&str> = names.map(|approved| approved.package.id.as_str()).collect();
            format!(
                "install {} from its maker's repository, with a `signed-by` of its own; a copy from elsewhere does not count",
                if names.is_empty() { "nothing: none is approved for Linux".to_owned() } else { names.join(" or ") }
            )
        }
        Item::PasswordManagerLock => {
            "your administrators set the manager's lock, and say so in /etc/creta/password-manager.json: {\"lock\": true}"
                .to_owned()
        }
        Item::BrowserPasswords => {
            "{\"PasswordManagerEnabled\": false} in /etc/chromium/policies/managed/passwords.json (Chrome: \
             /etc/opt/chrome/policies/managed); for Firefox {\"policies\": {\"PasswordManagerEnabled\": false}} in \
             /etc/firefox/policies/policies.json"
                .to_owned()
        }
        Item::Search => "creta device report; and let it happen by itself: creta device agent --install".to_owned(),
        Item::CustomersValues => {
            "tell your security lead; `creta device report` names the files, remove them and report again".to_owned()
        }
        Item::RemoteLogin => "sudo systemctl disable --now ssh.socket ssh.service, and xrdp if it is there".to_owned(),
    };
    Mend { item: finding.item, wanted: finding.help.clone(), how }
}

/// For people.
pub(super) fn told(mends: &[Mend]) -> String {
    if mends.is_empty() {
        return "a look at this computer finds it as it has to be".to_owned();
    }
    let one = |mend: &Mend| format!("\n  {}\n    {}", mend.wanted, mend.how);
    let all: String = mends.iter().map(one).collect();
    format!("a look at this computer finds what is not as it has to be:{all}\nafterwards: creta device report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_wrong_has_a_way_out() {
        let items = [
            Item::Enrolment,
            Item::Report,
            Item::DiskEncryption,
            Item::ScreenLock,
            Item::OsVersion,
            Item::Firewall,
            Item::AutomaticUpdates,
            Item::MalwareProtection,
            Item::PasswordManager,
            Item::PasswordManagerLock,
            Item::BrowserPasswords,
            Item::RemoteLogin,
        ];
        let mends = items.map(|item| mend(&Finding { item, help: "do it".to_owned() }, None));
        let told = told(&mends);
        assert!(mends.iter().all(|mend| mend.how.len() > 20 && told.contains(&mend.how)), "{told}");
    }
}
