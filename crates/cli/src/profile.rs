//! Profiles: which server to talk to, and as whom. One file for the command line and the Python client.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// One entry of `profiles.toml`. The secret itself stands in a file of its own that only its owner reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) struct Profile {
    /// `https://host:port`, without a path.
    pub(crate) url: String,
    /// Certificate authority of the server, in PEM; without it the system's are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    #[serde(flatten)]
    pub(crate) whom: Whom,
}

/// As whom: a service account, or a person who signed in on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Whom {
    ServiceAccount {
        /// Name of the service account.
        client_id: String,
        /// File that holds its secret.
        client_secret_file: PathBuf,
    },
    Person {
        /// File that holds the session and the key it is bound to.
        session_file: PathBuf,
    },
}

/// The version that [`SessionFile::format`] must carry.
pub(crate) const SESSION_FILE_FORMAT: &str = "creta.session-file/1";

/// A person's session on this machine. Without the key the rest is worth nothing; copied to another machine all of it
/// still is, so only its owner reads the file, and the server ends the session after hours.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionFile {
    pub(crate) format: String,
    /// Who signed in.
    pub(crate) person: String,
    /// Id of the session.
    pub(crate) session: String,
    /// Renews it.
    pub(crate) renewal: String,
    /// The private key (PKCS #8, base64), or `device:` and the file of the enrolled computer whose key it is.
    pub(crate) key: String,
}

impl SessionFile {
    /// Reads one, and refuses one that others on the machine can read.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        if !file.try_exists().unwrap_or(true) {
            let message = "nobody is signed in with this profile";
            return Err(Failure::usage("profile/signed-out", message, "sign in: `creta login`"));
        }
        let read = serde_json::from_str::<Self>(&read_secret(file)?).ok();
        read.filter(|session| session.format == SESSION_FILE_FORMAT).ok_or_else(|| {
            let message = format!("`{}` is not a session of this version", file.display());
            Failure::usage("profile/invalid-session", message, "sign in again: `creta login`")
        })
    }

    /// Writes it for its owner alone.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        write_private(file, &serde_json::to_vec(self).expect("texts have a JSON form"))
    }
}

/// All profiles, by name.
pub(crate) type Profiles = BTreeMap<String, Profile>;

/// `CRETA_PROFILE_FILE`, else `profiles.toml` in the user's configuration folder.
pub(crate) fn default_file() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("CRETA_PROFILE_FILE") {
        return Ok(path.into());
    }
    let folder = match std::env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => match std::env::var_os("HOME").filter(|path| !path.is_empty()) {
            Some(home) => Path::new(&home).join(".config"),
            None => {
                return Err(Failure::usage(
                    "profile/no-home",
                    "there is no home folder to keep profiles in",
                    "set `CRETA_PROFILE_FILE` to a path",
                ));
            }
        },
    };
    Ok(folder.join("creta").join("profiles.toml"))
}

/// Reads the file; none is the same as an empty one.
pub(crate) fn load(file: &Path) -> Result<Profiles, Failure> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Profiles::new()),
        Err(error) => return Err(Failure::file("read", file, &error)),
    };
    toml::from_str(&text).map_err(|error| {
        let reason = error.message().to_owned();
        let shown = file.display();
        Failure::usage(
            "profile/invalid",
            format!("`{shown}` is not a file of profiles: {reason}"),
            "correct the file, or remove it and run `creta login` again",
        )
    })
}

/// The profile of that name.
pub(crate) fn require(file: &Path, name: &str) -> Result<Profile, Failure> {
    let mut profiles = load(file)?;
    if let Some(profile) = profiles.remove(name) {
        return Ok(profile);
    }
    let known: Vec<String> = profiles.keys().map(|name| format!("`{name}`")).collect();
    let help = if known.is_empty() {
        format!("run `creta login --name {name} --url https://HOST:PORT --ca FILE`")
    } else {
        format!("profiles there are {}; run `creta login --name {name}` to add it", known.join(", "))
    };
    let message = format!("there is no profile `{name}` in `{}`", file.display());
    Err(Failure::usage("profile/unknown", message, help))
}

/// Adds or replaces one profile.
pub(crate) fn store(file: &Path, name: &str, profile: Profile) -> Result<(), Failure> {
    let mut profiles = load(file)?;
    profiles.insert(name.to_owned(), profile);
    let text = toml::to_string(&profiles).expect("profiles are tables of texts");
    write_private(file, text.as_bytes())
}

/// Writes a file that only its owner may read, replacing the previous one whole.
pub(crate) fn write_private(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error: &std::io::Error| Failure::file("write", file, error);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    // A temporary file is made with mode 0600; renaming keeps it and never shows half a file.
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    temporary.write_all(bytes).map_err(|error| failed(&error))?;
    temporary.as_file().set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(|error| failed(&error))?;
    temporary.as_file().sync_all().map_err(|error| failed(&error))?;
    temporary.persist(file).map_err(|error| failed(&error.error))?;
    Ok(())
}

/// Reads a secret and refuses one that others on the machine can read.
pub(crate) fn read_secret(file: &Path) -> Result<String, Failure> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(file).map_err(|error| Failure::file("read", file, &error))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Failure::usage(
            "profile/secret-exposed",
            format!("others on this machine can read the secret in `{}`", file.display()),
            format!("run `chmod 600 {}`; if it was exposed, revoke the service account", file.display()),
        ));
    }
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn profile() -> Profile {
        Profile {
            url: "https://127.0.0.1:8443".into(),
            ca_file: Some("/data/ca.pem".into()),
            whom: Whom::ServiceAccount { client_id: "acme-scoring".into(), client_secret_file: "/data/secret".into() },
        }
    }

    #[test]
    fn profiles_survive_and_only_their_owner_reads_them() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("creta/profiles.toml");
        store(&file, "default", profile()).expect("stores");
        let whom = Whom::Person { session_file: "/data/other.session".into() };
        store(&file, "other", Profile { ca_file: None, whom: whom.clone(), ..profile() }).expect("stores");
        assert_eq!(require(&file, "default").expect("is there"), profile());
        let other = require(&file, "other").expect("is there");
        assert_eq!((other.ca_file, other.whom), (None, whom));
        assert_eq!(std::fs::metadata(&file).expect("is there").permissions().mode() & 0o777, 0o600);
        let missing = require(&file, "prod").expect_err("is not there");
        assert!(missing.problems[0].help.as_ref().expect("help").contains("`default`, `other`"));
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("secret");
        write_private(&file, b"s3cret\n").expect("writes");
        assert_eq!(read_secret(&file).expect("private"), "s3cret");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        let refused = read_secret(&file).expect_err("readable by the group");
        assert_eq!(refused.problems[0].code, "profile/secret-exposed");
        assert!(!refused.problems[0].message.contains("s3cret"));
    }
}
