//! The root key of an environment, and its file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use creta_model::Environment;
use creta_platform::Random;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::KeyError;
use crate::primitives::{KEY_LEN, Secret, derive};

const FORMAT: &str = "creta.root-key/1";

/// The key that wraps all scope keys of one environment. Whoever has it and the disk has the data: keep its file on
/// another volume, or another machine, than the data and the backups.
///
/// It has no `Debug`, cannot be cloned or read out, and is overwritten when dropped.
pub struct RootKey {
    environment: Environment,
    id: String,
    secret: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RootKeyFile<'a> {
    format: &'a str,
    environment: &'a str,
    key_id: &'a str,
    key: &'a str,
}

impl RootKey {
    /// A fresh key that is kept nowhere: for files in memory, which it outlives by nothing.
    pub fn generate(environment: &Environment, random: &dyn Random) -> Self {
        let mut secret = Secret::default();
        random.fill(&mut *secret);
        Self::of(environment.clone(), secret)
    }

    /// Makes a fresh key and its file, mode 0600. A file that is there is [`KeyError::RootKeyExists`] and stays.
    pub fn create_file(
        path: impl AsRef<Path>,
        environment: &Environment,
        random: &dyn Random,
    ) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let root = Self::generate(environment, random);
        let key = Zeroizing::new(STANDARD.encode(&root.secret[..]));
        let text = Zeroizing::new(format!(
            "{{\n  \"format\": \"{FORMAT}\",\n  \"environment\": \"{environment}\",\n  \"key_id\": \"{}\",\n  \"key\": \"{}\"\n}}\n",
            root.id, *key
        ));
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyError::RootKeyExists { path: path.display().to_string() },
            _ => KeyError::RootKeyIo { action: "write", path: path.display().to_string(), source },
        };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(root)
    }

    /// Reads the key of `environment`. Refuses a file that other users may read, and one of another environment.
    pub fn load_file(path: impl AsRef<Path>, environment: &Environment) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let shown = || path.display().to_string();
        let failed = |source| KeyError::RootKeyIo { action: "read", path: shown(), source };
        let mut file = File::open(path).map_err(failed)?;
        // Asked of the open file, so that it is the one that is read.
        let mode = file.metadata().map_err(failed)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: shown(), mode });
        }
        // A root key file has some 200 bytes; room for them all, so that no copy is left behind by growing.
        let mut text = Zeroizing::new(Vec::with_capacity(4096));
        Read::by_ref(&mut file).take(4096).read_to_end(&mut text).map_err(failed)?;
        let damaged = |problem| KeyError::KeyFile { path: shown(), problem };
        let parsed: RootKeyFile<'_> = serde_json::from_slice(&text)
            .map_err(|_| damaged("it is not a root key in the form `creta.root-key/1`"))?;
        if parsed.format != FORMAT {
            return Err(damaged("its format is not `creta.root-key/1`"));
        }
        let own = Environment::parse(parsed.environment).map_err(|_| damaged("its environment is not a valid name"))?;
        if own != *environment {
            return Err(KeyError::WrongEnvironment { expected: own, given: environment.clone() });
        }
        let mut decoded = Zeroizing::new([0; KEY_LEN + 3]);
        let len = STANDARD
            .decode_slice(parsed.key, &mut decoded[..])
            .map_err(|_| damaged("its key is not base64 of 32 bytes"))?;
        if len != KEY_LEN {
            return Err(damaged("its key is not base64 of 32 bytes"));
        }
        let mut secret = Secret::default();
        secret.copy_from_slice(&decoded[..KEY_LEN]);
        let root = Self::of(own, secret);
        if root.id != parsed.key_id {
            return Err(damaged("its key id does not belong to its key and environment"));
        }
        Ok(root)
    }

    fn of(environment: Environment, secret: Secret) -> Self {
        let id = hex::encode(&derive(&secret, "root key id", &[environment.as_str().as_bytes()])[..8]);
        Self { environment, id, secret }
    }

    /// The environment whose scope keys it wraps.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Names the key without revealing it: derived from it, 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Tells whether two environments use the same key, without revealing anything of it: derived from the key alone,
    /// whatever the environment; 64 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        hex::encode(&derive(&self.secret, "root key fingerprint", &[])[..])
    }

    /// A key for one purpose.
    pub(crate) fn derive(&self, label: &str) -> Secret {
        derive(&self.secret, label, &[self.environment.as_str().as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use creta_platform::{SeededRandom, SystemRandom};
    use std::os::unix::fs::PermissionsExt;

    fn environment(name: &str) -> Environment {
        Environment::parse(name).expect("valid")
    }

    #[test]
    fn a_root_key_is_read_back_by_its_environment_only() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("prod.key");
        let made = RootKey::create_file(&path, &environment("prod"), &SystemRandom).expect("new");
        let read = RootKey::load_file(&path, &environment("prod")).expect("own file");
        assert_eq!((made.id(), &made.secret), (read.id(), &read.secret));
        let error = RootKey::load_file(&path, &environment("staging")).err().expect("refused");
        assert_eq!(error.to_string(), "this key belongs to environment `prod` and cannot serve `staging`");
        let again = RootKey::create_file(&path, &environment("prod"), &SystemRandom);
        assert!(matches!(again, Err(KeyError::RootKeyExists { .. })));
        assert_eq!(RootKey::load_file(&path, &environment("prod")).expect("still there").id(), made.id());
    }

    #[test]
    fn attack_ch27_a_key_that_two_environments_use_has_one_fingerprint_in_both() {
        let of = |name: &str, seed| RootKey::generate(&environment(name), &SeededRandom::new(seed));
        assert_eq!(of("prod", 1).fingerprint(), of("staging", 1).fingerprint(), "their ids differ");
        assert_ne!(of("prod", 1).id(), of("staging", 1).id());
        assert_ne!(of("prod", 1).fingerprint(), of("prod", 2).fingerprint());
        let root = of("prod", 1);
        let secret = hex::encode(&root.secret[..]);
        assert!(!root.fingerprint().contains(&secret[..8]) && !root.fingerprint().contains(root.id()));
    }

    #[test]
    fn attack_ci12_a_root_key_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("prod.key");
        RootKey::create_file(&path, &environment("prod"), &SystemRandom).expect("new");
        let mode = || std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        for open in [0o640, 0o604, 0o660, 0o610, 0o601] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(open)).expect("own file");
            let outcome = RootKey::load_file(&path, &environment("prod"));
            assert!(matches!(outcome, Err(KeyError::Exposed { mode, .. }) if mode == open), "{open:o}");
        }
        for closed in [0o600, 0o400] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(closed)).expect("own file");
            RootKey::load_file(&path, &environment("prod")).expect("closed");
        }
    }

    #[test]
    fn a_damaged_root_key_is_named_without_its_content() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("prod.key");
        RootKey::create_file(&path, &environment("prod"), &SeededRandom::new(1)).expect("new");
        let good = std::fs::read_to_string(&path).expect("there");
        let key = good.split('"').nth(15).expect("the key is the fourth value").to_owned();
        assert_eq!(key.len(), 44);
        let other_key = format!("{}{}", if key.starts_with('A') { 'B' } else { 'A' }, &key[1..]);
        let damages = [
            good[..good.len() / 2].to_owned(),
            good.replace("root-key/1", "root-key/2"),
            good.replace(&key, &other_key),
            good.replace(&key, &key[4..]),
            good.replace("\"prod\"", "\"PROD\""),
            good.replace("key_id", "id"),
            String::new(),
        ];
        for damaged in damages {
            assert_ne!(damaged, good);
            std::fs::write(&path, &damaged).expect("own file");
            let error = RootKey::load_file(&path, &environment("prod")).err().expect("refused");
            assert!(matches!(error, KeyError::KeyFile { .. }), "{error}");
            assert!(!error.to_string().contains(&key[4..]) && !format!("{error:?}").contains(&key[4..]), "{error}");
        }
    }
}
