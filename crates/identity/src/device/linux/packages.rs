//! What is installed, and who signed the repository that it came from: Debian's and Ubuntu's databases.

use std::collections::BTreeMap;

use super::Tree;
use crate::device::Package;
use crate::jws::sha256;

const SOURCES: &str = "/etc/apt/sources.list.d";
const LISTS: &str = "/var/lib/apt/lists";

/// Installed packages and their versions.
pub(super) struct Database {
    installed: BTreeMap<String, String>,
}

impl Database {
    pub(super) fn read(tree: &dyn Tree) -> Self {
        let status = tree.text("/var/lib/dpkg/status").unwrap_or_default();
        let installed = paragraphs(&status)
            .filter(|fields| fields.get("Status").is_some_and(|status| *status == "install ok installed"))
            .filter_map(|fields| Some(((*fields.get("Package")?).to_owned(), (*fields.get("Version")?).to_owned())))
            .collect();
        Self { installed }
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.installed.contains_key(name)
    }

    /// The package with who signed it: the keyring of the repository whose list, verified by apt with that keyring, names
    /// the installed version. A package that was built at home and given a known name has no such repository.
    pub(super) fn signed(&self, tree: &dyn Tree, name: &str) -> Option<Package> {
        let version = self.installed.get(name)?;
        let lists: Vec<String> = tree.list(LISTS).into_iter().filter(|file| file.ends_with("_Packages")).collect();
        sources(tree).into_iter().find_map(|source| {
            let prefix = source.list_prefix();
            let named = lists.iter().filter(|file| file.starts_with(&prefix)).any(|file| {
                let list = tree.text(&format!("{LISTS}/{file}")).unwrap_or_default();
                paragraphs(&list).any(|fields| {
                    fields.get("Package") == Some(&name) && fields.get("Version") == Some(&version.as_str())
                })
            });
            let keyring = tree.read(&source.keyring).filter(|_| named)?;
            Some(Package { id: name.to_owned(), signer: hex::encode(sha256(&keyring)) })
        })
    }
}

/// A repository and the keyring that its lists are verified with.
struct Source {
    address: String,
    keyring: String,
}

impl Source {
    /// How apt names the files of a repository: the address without its scheme, slashes as underscores.
    fn list_prefix(&self) -> String {
        let rest = self.address.split_once("://").map_or(self.address.as_str(), |(_, rest)| rest);
        format!("{}_", rest.trim_end_matches('/').replace('_', "%5f").replace('/', "_"))
    }
}

/// Repositories with a keyring of their own, from both of apt's formats. What is not tied to a keyring is passed over:
/// any of the system's keys could have signed it.
fn sources(tree: &dyn Tree) -> Vec<Source> {
    let mut found = Vec::new();
    for file in tree.list(SOURCES) {
        let text = tree.text(&format!("{SOURCES}/{file}")).unwrap_or_default();
        if file.ends_with(".sources") {
            for fields in paragraphs(&text) {
                let enabled = fields.get("Enabled").is_none_or(|enabled| !enabled.eq_ignore_ascii_case("no"));
                if let (true, Some(addresses), Some(keyring)) = (enabled, fields.get("URIs"), fields.get("Signed-By")) {
                    found.extend(addresses.split_whitespace().map(|address| source(address, keyring)));
                }
            }
        } else if file.ends_with(".list") {
            // deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://… stable main
            for line in text.lines().filter_map(|line| line.trim().strip_prefix("deb [")) {
                let Some((options, rest)) = line.split_once(']') else { continue };
                let keyring = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
                if let (Some(keyring), Some(address)) = (keyring, rest.split_whitespace().next()) {
                    found.push(source(address, keyring));
                }
            }
        }
    }
    found
}

fn source(address: &str, keyring: &str) -> Source {
    Source { address: address.to_owned(), keyring: keyring.to_owned() }
}

/// Paragraphs of a control file (deb822(5)): fields by name, continuation lines left out.
fn paragraphs(text: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    text.split("\n\n").map(|paragraph| {
        let lines = paragraph.lines().filter(|line| !line.starts_with([' ', '\t', '#']));
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect()
    })
}
