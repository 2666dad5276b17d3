//! Attacks on what lies on a real disk, across the parts of this crate. Those on one part stand beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use creta_model::{Environment, Scope};
use creta_platform::{Platform, SystemRandom};

use crate::{KeyError, KeyRing, RootKey, ScopeKey, SealContext, SealedFiles, SealedLog};

const CANARY: &[u8] = b"canary-4f1d-ana@example.com";

struct House {
    folder: tempfile::TempDir,
    platform: Platform,
    acme: ScopeKey,
    beta: ScopeKey,
}

/// Two tenants with identical names and paths, each with a file, a log and a value on disk.
fn house() -> House {
    let folder = tempfile::tempdir().expect("temp folder");
    let environment = Environment::parse("prod").expect("valid");
    let platform = Platform::system(folder.path().join("data")).expect("opens");
    let root = RootKey::create_file(folder.path().join("prod.key"), &environment, &SystemRandom).expect("new");
    let ring = KeyRing::open(root, environment, platform.clone()).expect("opens");
    let key = |tenant: &str| ring.create_scope(&Scope::parse(tenant, "prod").expect("valid")).expect("new");
    let house = House { acme: key("acme"), beta: key("beta"), folder, platform };
    for (tenant, key) in [("acme", &house.acme), ("beta", &house.beta)] {
        let text = [tenant.as_bytes(), b" ", CANARY].concat();
        house.files(key).create(&format!("{tenant}/segment"), &text.repeat(5_000)).expect("new");
        let (mut log, _) = house.log(key, &format!("{tenant}/log")).expect("creates");
        log.append(&[&text, CANARY]).expect("appends");
        house.platform.files.create(&format!("{tenant}/value"), &key.seal(&value(), &text)).expect("new");
    }
    house
}

fn value() -> SealContext {
    SealContext { store: "online", path: "k".to_owned(), version: 0 }
}

impl House {
    fn files(&self, key: &ScopeKey) -> SealedFiles {
        SealedFiles::new(Arc::clone(&self.platform.files), key.clone(), "segments")
    }

    fn log(&self, key: &ScopeKey, path: &str) -> Result<(SealedLog, Vec<crate::Record>), KeyError> {
        SealedLog::open(&self.platform.files, key, "facts", path)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("data").join(path)
    }
}

fn all_bytes(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("own folder") {
        let path = entry.expect("own folder").path();
        if path.is_dir() {
            all_bytes(&path, found)
        } else {
            found.push((path.clone(), std::fs::read(&path).expect("own file")))
        }
    }
}

fn holds(bytes: &[u8], canary: &[u8]) -> bool {
    bytes.windows(canary.len()).any(|window| window == canary)
}

#[test]
fn attack_ci12_no_canary_and_no_key_is_found_in_any_byte_on_disk() {
    let house = house();
    let mut found = Vec::new();
    all_bytes(house.folder.path(), &mut found);
    assert!(found.len() >= 9, "two key files, the root key and six sealed files");
    let secret = house.acme.derive("x");
    for (path, bytes) in &found {
        assert!(!holds(bytes, CANARY) && !holds(bytes, &CANARY[..8]) && !holds(bytes, &secret), "{}", path.display());
    }
    // The search finds what is there to be found.
    house.platform.files.create("plain", CANARY).expect("new");
    found.clear();
    all_bytes(house.folder.path(), &mut found);
    assert_eq!(found.iter().filter(|(_, bytes)| holds(bytes, CANARY)).count(), 1);
}

#[test]
fn attack_ch23_the_files_of_one_tenant_in_place_of_anothers_are_refused() {
    let house = house();
    for name in ["segment", "log", "value"] {
        std::fs::copy(house.path(&format!("acme/{name}")), house.path(&format!("beta/{name}"))).expect("own files");
    }
    assert!(matches!(house.files(&house.beta).read("beta/segment"), Err(KeyError::Foreign { .. })));
    assert!(matches!(house.log(&house.beta, "beta/log").map(|_| ()), Err(KeyError::Foreign { .. })));
    let planted = house.platform.files.read("beta/value").expect("there");
    assert!(matches!(house.beta.open(&value(), &planted), Err(KeyError::Foreign { .. })));
    // A store that is pointed at the other tenant's folder by its configuration fares no better.
    assert!(matches!(house.files(&house.beta).read("acme/segment"), Err(KeyError::Foreign { .. })));
    assert!(matches!(house.log(&house.beta, "acme/log").map(|_| ()), Err(KeyError::Foreign { .. })));
    house.files(&house.acme).read("acme/segment").expect("its own tenant still reads it");
}

#[test]
fn attack_ch23_a_link_to_another_tenants_folder_is_refused() {
    let house = house();
    std::fs::remove_dir_all(house.path("beta")).expect("own folder");
    std::os::unix::fs::symlink(house.path("acme"), house.path("beta")).expect("own folder");
    for key in [&house.acme, &house.beta] {
        assert!(matches!(house.files(key).read("beta/segment"), Err(KeyError::File(_))));
        assert!(matches!(house.log(key, "beta/log").map(|_| ()), Err(KeyError::File(_))));
    }
}

#[test]
fn attack_ci12_another_environments_root_key_opens_nothing() {
    let house = house();
    let staging = Environment::parse("staging").expect("valid");
    let path = house.folder.path().join("prod.key");
    assert!(matches!(RootKey::load_file(&path, &staging), Err(KeyError::WrongEnvironment { .. })));
    // Even with the environment rewritten in the file.
    let text = std::fs::read_to_string(&path).expect("there").replace("prod", "staging");
    std::fs::write(&path, text).expect("own file");
    assert!(matches!(RootKey::load_file(&path, &staging), Err(KeyError::KeyFile { .. })));
    let root = RootKey::generate(&staging, &SystemRandom);
    let ring = KeyRing::open(root, staging, house.platform.clone()).expect("nothing destroyed yet");
    assert!(matches!(ring.scope(&Scope::parse("acme", "staging").expect("valid")), Err(KeyError::KeyFile { .. })));
}

#[test]
fn attack_ci12_a_destroyed_tenants_bytes_stay_closed_when_its_files_are_restored() {
    let house = house();
    let root = |house: &House| {
        RootKey::load_file(house.folder.path().join("prod.key"), &Environment::parse("prod").expect("valid"))
            .expect("own file")
    };
    let open = || KeyRing::open(root(&house), Environment::parse("prod").expect("valid"), house.platform.clone());
    let acme = Scope::parse("acme", "prod").expect("valid");
    let backup = std::fs::read(house.path("keys/acme.json")).expect("there");
    open().and_then(|ring| ring.destroy_scope(&acme)).expect("destroys");
    std::fs::write(house.path("keys/acme.json"), backup).expect("own file");
    let ring = open().expect("opens");
    assert!(matches!(ring.scope(&acme), Err(KeyError::Destroyed { .. })));
    assert!(!house.path("keys/acme.json").exists(), "a restored key of a destroyed scope is erased again");
    ring.scope(&Scope::parse("beta", "prod").expect("valid")).expect("the other tenant is untouched");
}
