//! How this Linux machine is set up, from its files: `/proc`, `/sys`, `/etc` and the package database.
//!
//! Only what the person cannot change without root counts as set: a policy, not a preference. What cannot be read is
//! unknown. The files come through [`Tree`], so that each finding has a tree of files as its test.

mod packages;
mod settings;
mod storage;

use super::posture::{Platform, Posture};

/// A tree of files, rooted at `/`. Reading never fails: what cannot be read is not there.
pub trait Tree {
    /// A file's bytes, at most 64 MiB.
    fn read(&self, path: &str) -> Option<Vec<u8>>;
    /// Names in a folder, sorted; none if there is none.
    fn list(&self, path: &str) -> Vec<String>;

    /// A file as text.
    fn text(&self, path: &str) -> Option<String> {
        self.read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Looks at the machine. `password_managers` are the package names that the organisation approves for Linux; one that is
/// installed is named with the repository that it came from.
pub fn posture(tree: &dyn Tree, password_managers: &[&str]) -> Posture {
    let (os, os_version) = settings::system(tree);
    let database = packages::Database::read(tree);
    Posture {
        platform: Platform::Linux,
        os,
        os_version,
        disk_encryption: storage::encryption(tree),
        screen_lock_seconds: settings::screen_lock(tree),
        firewall: settings::firewall(tree),
        automatic_updates: settings::automatic_updates(tree, &database),
        malware_protection: settings::malware_protection(tree, &database),
        remote_login: settings::remote_login(tree),
        password_managers: password_managers.iter().filter_map(|name| database.signed(tree, name)).collect(),
        password_manager_lock: settings::password_manager_lock(tree),
        browser_passwords: settings::browser_passwords(tree, &database),
    }
}

#[cfg(test)]
mod tests;
