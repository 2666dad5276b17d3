//! The organisation's standard for devices, and what a device is worth by it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use creta_model::{Instant, Span};
use serde::{Deserialize, Serialize};

use super::posture::{Package, Platform, Posture, State};
use super::search::SearchFor;
use super::{Device, KeyStorage};

/// How long a report counts at most; a standard may say less.
const REPORT_HOURS_MAX: u32 = 24;

/// A password manager that may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approved {
    /// Where.
    pub platform: Platform,
    /// Which, and by whom.
    pub package: Package,
}

/// What a device has to be like. A file of the organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standard {
    /// Lowest version of each system that is accepted: `ubuntu` to `22.04`. What is not named is not accepted.
    pub os_versions_min: BTreeMap<String, String>,
    /// Longest time until the screen locks.
    pub screen_lock_seconds_max: u32,
    /// Hours that a report counts; more than 24 count as 24.
    pub report_hours_max: u32,
    /// Password managers that may be used.
    pub password_managers: Vec<Approved>,
    /// Where computers are searched for values that were planted in customers' data; nowhere without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchFor>,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// Lost, cloned, or its owner left.
    Enrolment,
    /// There is none, or it is too old.
    Report,
    /// Disks and swap space.
    DiskEncryption,
    /// By itself, soon enough.
    ScreenLock,
    /// New enough.
    OsVersion,
    /// For what comes in.
    Firewall,
    /// By themselves.
    AutomaticUpdates,
    /// Installed and started.
    MalwareProtection,
    /// An approved one, by its signature (CI-26).
    PasswordManager,
    /// Locks where the person cannot change it (CI-26).
    PasswordManagerLock,
    /// Browsers keep none (CI-26).
    BrowserPasswords,
    /// Off.
    RemoteLogin,
    /// Done within the time that a report counts (CH-14).
    Search,
    /// None lies about (CH-14).
    CustomersValues,
}

/// What is not as it has to be, in words for the device's owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What.
    pub item: Item,
    /// What to do.
    pub help: String,
}

/// What a device is worth in a decision now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Nothing; its owner is told why.
    None(Vec<Finding>),
    /// Set up right, but its key could be copied: not for production.
    LowAssurance,
    /// Set up right, with a key that cannot leave it.
    Trusted,
}

impl Standard {
    /// Findings about how a device is set up, in the order of [`Item`]. Empty means compliant.
    pub fn judge(&self, posture: &Posture) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut require = |item, met: bool, help: &str| {
            if !met {
                findings.push(Finding { item, help: help.to_owned() });
            }
        };
        let on = |state| state == State::On;
        require(Item::DiskEncryption, on(posture.disk_encryption), "encrypt the disks and the swap space");
        let lock = posture.screen_lock_seconds.is_some_and(|seconds| seconds <= self.screen_lock_seconds_max);
        let minutes = self.screen_lock_seconds_max.div_ceil(60);
        require(Item::ScreenLock, lock, &format!("let the screen lock after at most {minutes} minutes, by policy"));
        let lowest = self.os_versions_min.get(&posture.os);
        let version = lowest.is_some_and(|lowest| is_at_least(&posture.os_version, lowest));
        let help = lowest.map_or("use a system that the standard names".to_owned(), |lowest| {
            format!("update the system to {lowest} or later")
        });
        require(Item::OsVersion, version, &help);
        require(Item::Firewall, on(posture.firewall), "turn the firewall on");
        require(Item::AutomaticUpdates, on(posture.automatic_updates), "turn automatic updates on");
        require(Item::MalwareProtection, on(posture.malware_protection), "install and start malware protection");
        let approved = self.password_managers.iter().filter(|approved| approved.platform == posture.platform);
        let manager = approved.into_iter().any(|approved| posture.password_managers.contains(&approved.package));
        require(Item::PasswordManager, manager, "install an approved password manager from its maker's repository");
        let manager_lock = on(posture.password_manager_lock);
        require(Item::PasswordManagerLock, manager_lock, "let the password manager lock itself, by policy");
        let browser = posture.browser_passwords == State::Off;
        require(Item::BrowserPasswords, browser, "turn off the browsers' own password stores, by policy");
        require(Item::RemoteLogin, posture.remote_login == State::Off, "turn off logins over the network");
        findings
    }

    /// What a device is worth now: asked at each decision, so that a change or a missing report ends what stood on it.
    pub fn trust(&self, device: &Device, now: Instant) -> Trust {
        let none = |item, help: &str| Trust::None(vec![Finding { item, help: help.to_owned() }]);
        if device.revoked.is_some() {
            return none(Item::Enrolment, "enrol this device again");
        }
        let hours = self.report_hours_max.min(REPORT_HOURS_MAX);
        let fresh = |made: Instant| now < made.plus(Span::hours(hours)) && made <= now.plus(Span::seconds(60));
        let Some(latest) = device.latest.as_ref().filter(|latest| fresh(latest.made)) else {
            return none(Item::Report, "run `creta device report` on this device");
        };
        let mut findings = self.judge(&latest.posture);
        let mut found = |item, help: &str| findings.push(Finding { item, help: help.to_owned() });
        match (&self.search, device.searched.as_ref().filter(|searched| fresh(searched.made))) {
            (None, _) => {}
            (Some(_), None) => found(Item::Search, "let it be searched: run `creta device report` on this device"),
            (Some(asked), Some(searched)) if searched.is_overdue(asked, now) => {
                let help = "tell your security lead, then remove what `creta device report` names and run it again";
                found(Item::CustomersValues, help);
            }
            (Some(_), Some(_)) => {}
        }
        if !findings.is_empty() {
            return Trust::None(findings);
        }
        match device.storage {
            KeyStorage::Tpm => Trust::Trusted,
            KeyStorage::Software => Trust::LowAssurance,
        }
    }
}

/// Numbers between dots, compared one after the other; missing ones are zero. A version with anything else in it is
/// older than every other.
fn is_at_least(version: &str, lowest: &str) -> bool {
    let numbers = |text: &str| text.split('.').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>();
    let (Some(version), Some(lowest)) = (numbers(version), numbers(lowest)) else {
        return false;
    };
    let at = |numbers: &[u64], place: usize| numbers.get(place).copied().unwrap_or(0);
    (0..version.len().max(lowest.len()))
        .map(|place| at(&version, place).cmp(&at(&lowest, place)))
        .find(|order| *order != Ordering::Equal)
        .is_none_or(Ordering::is_gt)
}
