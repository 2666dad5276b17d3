//! How a device is set up.

use serde::{Deserialize, Serialize};

use super::DeviceError;

/// What a device runs. There is no form for a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// Any distribution.
    Linux,
    /// Of Apple's, the one with a keyboard.
    Macos,
    /// On a computer.
    Windows,
}

impl Platform {
    /// Reads a platform's name as this crate, osquery and management tools write it.
    pub fn parse(text: &str) -> Result<Self, DeviceError> {
        const MOBILE: [&str; 8] = ["android", "ios", "ipados", "tvos", "visionos", "watchos", "chromeos", "harmonyos"];
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "linux" | "ubuntu" | "debian" | "fedora" | "rhel" | "centos" | "arch" => Ok(Self::Linux),
            "macos" | "darwin" => Ok(Self::Macos),
            "windows" => Ok(Self::Windows),
            _ => {
                let known = MOBILE.iter().find(|mobile| **mobile == lower);
                Err(DeviceError::Platform { platform: known.map_or("this platform", |known| *known).to_owned() })
            }
        }
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Macos => "macos",
            Self::Windows => "windows",
        }
    }
}

/// Whether something is on. What nobody could find out counts as the worse of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is.
    On,
    /// It is not.
    Off,
    /// Nobody knows.
    Unknown,
}

impl State {
    pub(super) const fn of(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }

    /// On if all are, off if any is, unknown otherwise or if there is none.
    pub(super) fn all(states: impl IntoIterator<Item = Self>) -> Self {
        let states: Vec<Self> = states.into_iter().collect();
        if states.contains(&Self::Off) {
            Self::Off
        } else if states.is_empty() || states.contains(&Self::Unknown) {
            Self::Unknown
        } else {
            Self::On
        }
    }
}

/// A program by the identity that its maker signed, never by the name of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Package name on Linux, bundle identifier on macOS, product name on Windows.
    pub id: String,
    /// Who signed it: SHA-256 of the repository's keyring on Linux, team identifier on macOS, subject of the certificate
    /// on Windows.
    pub signer: String,
}

/// What is checked on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posture {
    /// What it runs.
    pub platform: Platform,
    /// Which one: `ubuntu`, `debian`, `macos`, `windows`.
    pub os: String,
    /// Numbers separated by dots.
    pub os_version: String,
    /// Of everything that holds data, swap space included.
    pub disk_encryption: State,
    /// Seconds until the screen locks by itself, set where the person cannot change it. None: it does not, or may not.
    pub screen_lock_seconds: Option<u32>,
    /// For what comes in.
    pub firewall: State,
    /// Of the system.
    pub automatic_updates: State,
    /// Installed and started with the system.
    pub malware_protection: State,
    /// Whether somebody can log in over the network.
    pub remote_login: State,
    /// The password managers found.
    pub password_managers: Vec<Package>,
    /// Whether the manager's own lock is set where the person cannot change it.
    pub password_manager_lock: State,
    /// Whether browsers keep passwords themselves.
    pub browser_passwords: State,
}
