//! Copies of everything that an environment has sealed: taken by a program that can open none of it (CH-35).
//!
//! What goes out are the bytes as they lie on the disk: facts, definitions, datasets, the control plane's documents, the audit log.
//! What stays are keys and all that unlocks or signs: `root.key`, `keys/`, the log's signing key, `tls/`, `config.toml`.
//! Whoever keeps those keeps them by another road, so that neither hand can read anything alone.
//!
//! Each store is copied as of one moment, and the log after all stores: it knows each of them as it was copied, or newer. The
//! copied log says of itself that it is a copy, and going on from one takes two people; see `copied` and `restore`.
//!
//! A tenant whose stores cannot be copied does not keep the others from being copied: it is left out, and the manifest, the
//! log and whoever took the backup say so.
//!
//! On the wire a backup is a row of frames: the length of a head as four bytes, big-endian, the head as JSON, and as many
//! bytes as it says. The last head is the manifest; an answer without it is no backup.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::digest;
use creta_audit::{Details, Event, Hash};
use creta_iam::Place;
use creta_identity::recovery::{LogAt, StoreAt};
use creta_model::{Environment, Instant, Problem, Scope, TenantId};
use serde::{Deserialize, Serialize};

use crate::control_plane::ControlPlane;
use crate::copied;
use crate::epochs::{Moment, Store};
use crate::problem::{from_audit, from_store, internal, logged};

/// Version of [`BackupManifest`].
pub const BACKUP_FORMAT: &str = "creta.backup/1";
/// The file beside the copied ones that names them.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Largest head of a frame, in bytes: the manifest of some hundred thousand files.
pub const HEAD_BYTES_MAX: usize = 64 << 20;
/// Bytes that are read and sent at once.
const PART_BYTES: usize = 256 << 10;
/// Where copies of documents lie until they are sent.
const SCRATCH: &str = "copies";
/// The entry of a tenant that a backup goes on without.
const LEFT_OUT: &str = "backup.tenant-left-out";

/// What a backup holds, and of which moments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupManifest {
    format: String,
    /// The environment, by name.
    pub environment: Environment,
    /// And by its random id.
    pub environment_id: String,
    /// When it was complete.
    pub taken: Instant,
    /// How far the copied log is.
    pub log: LogAt,
    /// The moment of each copied store.
    pub stores: Vec<StoreAt>,
    /// Every file, by path.
    pub files: Vec<BackupFile>,
    /// Tenants that are not in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupFile {
    /// Its path in the data folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// A tenant that is not in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Which.
    pub tenant: TenantId,
    /// Code of the problem that its stores had.
    pub code: String,
}

/// What stands before the bytes of a frame.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum BackupHead {
    /// So many bytes of a file follow.
    File {
        /// Its path in the data folder.
        file: String,
        /// How many.
        bytes: u64,
    },
    /// What was sent of this tenant is not whole, and counts for nothing.
    LeftOut {
        /// Which.
        left_out: TenantId,
    },
    /// The end.
    Manifest {
        /// What came before.
        manifest: Box<BackupManifest>,
    },
}

impl BackupManifest {
    /// Reads `manifest.json`; every path must be one that a backup can have.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let refused = |why: &str| {
            Problem::new("backup/manifest", format!("the manifest is none of a backup: {why}"))
                .with_help("take another copy: `creta backup write FOLDER`")
        };
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| refused(&error.to_string()))?;
        if manifest.format != BACKUP_FORMAT {
            return Err(refused("it is of another version"));
        }
        let paths: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        if paths.len() != manifest.files.len() {
            return Err(refused("it names a file twice"));
        }
        if let Some(path) = paths.iter().find(|path| !is_sealed(path, &manifest.environment)) {
            return Err(refused(&format!("`{path}` is no sealed file of an environment")));
        }
        Ok(manifest)
    }

    /// SHA-256 of what it says, in hexadecimal digits: what a restore names.
    pub fn digest(&self) -> String {
        self.hash().to_string()
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a manifest has a JSON form")
    }

    /// Its members in the order of their declaration, without blanks.
    fn hash(&self) -> Hash {
        Hash::of(&[&serde_json::to_vec(self).expect("a manifest has a JSON form")])
    }

    /// Digest of all that was copied before the log: what the log itself has of a copy.
    pub(crate) fn contents(&self) -> Hash {
        let log = log_files(&self.environment);
        contents(&self.stores, self.files.iter().filter(|file| !log.contains(&file.path)))
    }

    /// The files of a store. Those of datasets belong to the documents that name them.
    pub(crate) fn of_store(&self, store: &StoreAt) -> impl Iterator<Item = &BackupFile> {
        let kind = Store::parse(&store.store);
        let place = kind.map(|kind| kind.path(store.tenant.as_ref())).unwrap_or_default();
        let mut within = vec![format!("{place}/")];
        if let (Some(Store::Metadata), Some(tenant)) = (kind, &store.tenant) {
            within.push(format!("{}/", datasets_folder(tenant)));
        }
        let is_in = move |file: &&BackupFile| file.path == place || within.iter().any(|w| file.path.starts_with(w));
        self.files.iter().filter(is_in)
    }
}

/// Digest of stores and of files, which are in the order of their paths.
fn contents<'a>(stores: &[StoreAt], files: impl Iterator<Item = &'a BackupFile>) -> Hash {
    let files: Vec<&BackupFile> = files.collect();
    Hash::of(&[&serde_json::to_vec(&(stores, files)).expect("both have a JSON form")])
}

/// The folder of a tenant's datasets.
pub(crate) fn datasets_folder(tenant: &TenantId) -> String {
    format!("tenants/{tenant}/facts/datasets")
}

/// Paths of the log that a backup holds. The key that signs is not among them.
pub(crate) fn log_files(environment: &Environment) -> [String; 2] {
    ["entries", "checkpoint"].map(|name| format!("{}/{name}", log_folder(environment)))
}

/// The folder of the log.
pub(crate) fn log_folder(environment: &Environment) -> String {
    format!("{}/audit", creta_iam::control_plane(environment).path())
}

/// Whether a path is that of something sealed which is no key.
fn is_sealed(path: &str, environment: &Environment) -> bool {
    if path == "metadata.sqlite" || log_files(environment).iter().any(|log| log == path) {
        return true;
    }
    let part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=200).contains(&part.len()) && part.bytes().all(plain)
    };
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["tenants", tenant, rest @ ..] if TenantId::parse(*tenant).is_ok() => match rest {
            ["metadata.sqlite"] => true,
            ["facts", "truth" | "quarantine" | "datasets", rest @ ..] => {
                !rest.is_empty() && rest.iter().all(|name| part(name))
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whoever takes what is copied; an error ends the copy.
pub(crate) trait Taker {
    fn take(&mut self, bytes: Vec<u8>) -> io::Result<()>;
}

/// Copies everything, one store after another, and the log last. `done` is recorded with the digest of the manifest before
/// the manifest is handed out. Takes no lock that an append, a flush or a question waits for while anything is sent. A tenant
/// whose stores cannot be copied is left out, by name, in the manifest and in the log.
pub(crate) fn copy(control: &ControlPlane, done: Event, taker: &mut dyn Taker) -> Result<(), Problem> {
    clear(control)?;
    let copied =
        Copying { control, taker, files: Vec::new(), stores: Vec::new(), left_out: Vec::new() }.everything(done);
    let broken_off = copied::break_off(&*control.platform().files, control.log());
    clear(control)?;
    copied.and(broken_off)
}

/// Removes what an earlier copy left behind.
fn clear(control: &ControlPlane) -> Result<(), Problem> {
    match fs::remove_dir_all(control.folder().join(SCRATCH)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(logged("what a backup left behind cannot be removed", &error))
        }
        _ => Ok(()),
    }
}

struct Copying<'a> {
    control: &'a ControlPlane,
    taker: &'a mut dyn Taker,
    files: Vec<BackupFile>,
    stores: Vec<StoreAt>,
    left_out: Vec<LeftOut>,
}

/// The files of a tenant as of a moment, under other names that nothing else uses.
#[derive(Default)]
struct Still {
    /// Each by its path in a backup, the name it has now, and how many of its bytes belong to the moment.
    files: Vec<(String, String, u64)>,
    stores: Vec<StoreAt>,
}

impl Copying<'_> {
    fn everything(mut self, done: Event) -> Result<(), Problem> {
        let control = self.control;
        for tenant in control.tenants() {
            let sent = match self.still(&tenant.tenant) {
                Ok(still) => self.tenant(&tenant.tenant, still)?,
                Err(problem) => Err(problem),
            };
            if let Err(problem) = sent {
                self.leave_out(tenant.tenant, &problem.code)?;
            }
        }
        // What is taken away from here on stands in the log behind this moment: a restore goes through it.
        control.anchor_documents()?;
        let (scratch, own) = self.documents(None, |path| control.copy_documents(path))?;
        let (path, from, bytes) = &scratch;
        if !self.file(path, from, *bytes)? {
            return Err(internal());
        }
        self.stores.push(own);
        control
            .platform()
            .files
            .delete(from)
            .map_err(|error| logged("a copy of documents cannot be removed", &error))?;

        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let copy = copied::begin(control.platform(), control.log(), contents(&self.stores, self.files.iter()))?;
        let extent = control.log().extent().map_err(|error| from_audit(&error))?;
        let (checkpoint, sealed) = &extent.checkpoint;
        self.bytes(checkpoint, sealed)?;
        if !self.file(&extent.entries.0, &extent.entries.0, extent.entries.1)? {
            return Err(internal());
        }

        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = BackupManifest {
            format: BACKUP_FORMAT.to_owned(),
            environment: control.environment().clone(),
            environment_id: control.environment_id().to_owned(),
            taken: control.platform().clock.now(),
            log: LogAt { size: extent.size, root: extent.root.to_base64() },
            stores: self.stores.clone(),
            files: self.files.clone(),
            left_out: self.left_out.clone(),
        };
        let total: u64 = manifest.files.iter().map(|file| file.bytes).sum();
        let details = copied::of_copy(copy)
            .and_then(|details| details.digest("manifest", *manifest.hash().as_bytes()))
            .and_then(|details| details.count("files", manifest.files.len() as u64))
            .and_then(|details| details.count("bytes", total))
            .map_err(|error| from_audit(&error))?;
        control.log().record(done.with(details)).map_err(|error| from_audit(&error))?;
        copied::over(&*control.platform().files)?;
        self.head(&BackupHead::Manifest { manifest: Box::new(manifest) })
    }

    /// Gives the files of a tenant names that stay when the stores go on: segments and logs are never written over, so a second
    /// name keeps them as they are. Flushes wait for that, and not for any reader.
    fn still(&self, tenant: &TenantId) -> Result<Still, Problem> {
        let (engine, documents) = self.control.stores_of(tenant)?;
        let mut still = Still::default();
        engine
            .while_still(|[facts, quarantine]| {
                for (store, (epoch, files)) in [(Store::Facts, facts), (Store::Quarantine, quarantine)] {
                    for (path, bytes) in files {
                        let named = format!("{SCRATCH}/{path}");
                        self.name_again(path, &named)?;
                        still.files.push((path.clone(), named, *bytes));
                    }
                    still.stores.push(Moment::from(epoch).of_store(Some(tenant), store));
                }
                Ok::<_, Problem>(())
            })
            .map_err(|error| from_store(&error))??;
        // After the facts: definitions that are newer than facts are what every deploy makes. With the datasets that the
        // documents name: their parts get a second name too, so that none has to wait before it may go.
        let (file, store) = engine.while_datasets_stay(|parts| {
            for path in parts {
                let named = format!("{SCRATCH}/{path}");
                let bytes = self.control.platform().files.size(path);
                let bytes = bytes.map_err(|error| logged("a part of a dataset cannot be copied", &error))?;
                self.name_again(path, &named)?;
                still.files.push((path.clone(), named, bytes));
            }
            self.documents(Some(tenant), |path| documents.copy_to(path))
        })??;
        still.files.push(file);
        still.stores.push(store);
        Ok(still)
    }

    fn name_again(&self, path: &str, named: &str) -> Result<(), Problem> {
        let (from, to) = (self.control.folder().join(path), self.control.folder().join(named));
        let linked = fs::create_dir_all(to.parent().unwrap_or(&to)).and_then(|()| match fs::hard_link(&from, &to) {
            // Some file systems have one name for each file.
            Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
                fs::copy(&from, &to).map(drop)
            }
            other => other,
        });
        linked.map_err(|error| logged("a file cannot be kept for a backup", &error))
    }

    /// Sends what was kept of a tenant. The inner error is the tenant's: what was sent of it counts for nothing.
    fn tenant(&mut self, tenant: &TenantId, still: Still) -> Result<Result<(), Problem>, Problem> {
        let before = self.files.len();
        let mut whole = true;
        for (path, from, bytes) in &still.files {
            whole = whole && self.file(path, from, *bytes)?;
            let removed = self.control.platform().files.delete(from);
            removed.map_err(|error| logged("a file that was kept for a backup cannot be removed", &error))?;
        }
        if whole {
            self.stores.extend(still.stores);
            return Ok(Ok(()));
        }
        self.files.truncate(before);
        self.head(&BackupHead::LeftOut { left_out: tenant.clone() })?;
        Ok(Err(internal()))
    }

    /// Goes on without a tenant, and says so.
    fn leave_out(&mut self, tenant: TenantId, code: &str) -> Result<(), Problem> {
        tracing::error!(%tenant, code, "a tenant is not in the backup");
        let place = Place::Scope(Scope::new(tenant.clone(), self.control.environment().clone()));
        let details = Details::none().name("code", code).map_err(|error| from_audit(&error))?;
        let event = Event::new(LEFT_OUT, place).with(details).for_commitment("CH-35");
        self.control.log().record(event).map_err(|error| from_audit(&error))?;
        self.left_out.push(LeftOut { tenant, code: code.to_owned() });
        Ok(())
    }

    /// Documents go through a copy of their file, whose moment is its own.
    fn documents(
        &self,
        tenant: Option<&TenantId>,
        copy: impl FnOnce(&Path) -> Result<creta_store::MetadataEpoch, creta_store::StoreError>,
    ) -> Result<((String, String, u64), StoreAt), Problem> {
        let scratch = format!("{SCRATCH}/{}.sqlite", tenant.map_or("control-plane", TenantId::as_str));
        let folder = self.control.folder();
        fs::create_dir_all(folder.join(SCRATCH))
            .map_err(|error| logged("a folder for copies cannot be made", &error))?;
        let moment = copy(&folder.join(&scratch)).map_err(|error| from_store(&error))?;
        let bytes = self.control.platform().files.size(&scratch);
        let bytes = bytes.map_err(|error| logged("a copy of documents cannot be used", &error))?;
        let store = Moment::from(moment).of_store(tenant, Store::Metadata);
        Ok(((Store::Metadata.path(tenant), scratch, bytes), store))
    }

    /// Sends so many bytes of the file at `from` as the file `path`. Says whether they could be read; a reader that was told
    /// how many come gets as many.
    fn file(&mut self, path: &str, from: &str, bytes: u64) -> Result<bool, Problem> {
        self.begin(path, bytes)?;
        let mut digest = digest::Context::new(&digest::SHA256);
        let (mut sent, mut whole) = (0, true);
        while sent < bytes {
            let len = usize::try_from(bytes - sent).unwrap_or(PART_BYTES).min(PART_BYTES);
            let part = match self.control.platform().files.read_range(from, sent, len) {
                Ok(part) if whole && !part.is_empty() => part,
                read => {
                    if whole {
                        tracing::error!(path, error = ?read.err(), "a file cannot be copied to its end");
                    }
                    whole = false;
                    vec![0; len]
                }
            };
            digest.update(&part);
            sent += part.len() as u64;
            self.taker.take(part).map_err(|error| gone(&error))?;
        }
        self.add(path, bytes, digest.finish().as_ref());
        Ok(whole)
    }

    fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), Problem> {
        self.begin(path, bytes.len() as u64)?;
        self.add(path, bytes.len() as u64, Hash::of(&[bytes]).as_bytes());
        self.taker.take(bytes.to_vec()).map_err(|error| gone(&error))
    }

    fn begin(&mut self, path: &str, bytes: u64) -> Result<(), Problem> {
        if !is_sealed(path, self.control.environment()) {
            tracing::error!(path, "this is nothing that a backup may hold");
            return Err(internal());
        }
        self.head(&BackupHead::File { file: path.to_owned(), bytes })
    }

    fn add(&mut self, path: &str, bytes: u64, digest: &[u8]) {
        self.files.push(BackupFile { path: path.to_owned(), bytes, sha256: hex::encode(digest) });
    }

    fn head(&mut self, head: &BackupHead) -> Result<(), Problem> {
        let json = serde_json::to_vec(head).expect("a head has a JSON form");
        let length = u32::try_from(json.len()).map_err(|_| internal())?;
        let frame = [&length.to_be_bytes()[..], &json].concat();
        self.taker.take(frame).map_err(|error| gone(&error))
    }
}

fn gone(error: &io::Error) -> Problem {
    tracing::warn!(%error, "whoever took a backup is gone");
    internal()
}

/// What [`verify_backup`] found.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedBackup {
    /// What it says.
    #[serde(flatten)]
    pub manifest: BackupManifest,
    /// SHA-256 of what it says.
    pub digest: String,
}

/// Compares a folder with its manifest: every file is there, has its length and its digest, and nothing else is there. Needs
/// no key and no server. Time grows with the bytes.
pub fn verify_backup(folder: &Path) -> Result<VerifiedBackup, Problem> {
    let refused = |path: &str, why: &str| {
        Problem::new("backup/refused", format!("`{path}` is not as it was copied: {why}"))
            .with_help("use another copy; this one is no backup of anything")
    };
    let unreadable = |path: &str, error: &io::Error| refused(path, &error.to_string());
    let bytes = fs::read(folder.join(MANIFEST_FILE)).map_err(|error| unreadable(MANIFEST_FILE, &error))?;
    let manifest = BackupManifest::parse(&bytes)?;
    let mut there = BTreeMap::new();
    list(folder, "", &mut there).map_err(|error| unreadable(".", &error))?;
    there.remove(MANIFEST_FILE);
    for file in &manifest.files {
        match there.remove(&file.path) {
            None => return Err(refused(&file.path, "it is not there")),
            Some(bytes) if bytes != file.bytes => return Err(refused(&file.path, "it has another length")),
            Some(_) => {}
        }
        let digest = digest_of(&folder.join(&file.path)).map_err(|error| unreadable(&file.path, &error))?;
        if digest != file.sha256 {
            return Err(refused(&file.path, "its bytes are others"));
        }
    }
    match there.into_keys().next() {
        Some(more) => Err(refused(&more, "the manifest does not name it")),
        None => Ok(VerifiedBackup { digest: manifest.digest(), manifest }),
    }
}

/// Plain files below a folder, by path; anything else there is an error.
fn list(folder: &Path, prefix: &str, found: &mut BTreeMap<String, u64>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), &format!("{path}/"), found)?;
        } else if kind.is_file() {
            found.insert(path, entry.metadata()?.len());
        } else {
            return Err(io::Error::other(format!("`{path}` is neither a file nor a folder")));
        }
    }
    Ok(())
}

fn digest_of(file: &Path) -> io::Result<String> {
    let mut digest = digest::Context::new(&digest::SHA256);
    let (mut file, mut part) = (File::open(file)?, vec![0; PART_BYTES]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hex::encode(digest.finish())),
            len => digest.update(&part[..len]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ch35_a_backup_names_sealed_files_and_never_a_key_or_a_way_out() {
        let environment = Environment::parse("prod").expect("valid");
        for sealed in [
            "metadata.sqlite",
            "prod/control-plane/audit/entries",
            "prod/control-plane/audit/checkpoint",
            "tenants/acme/metadata.sqlite",
            "tenants/acme/facts/truth/manifest",
            "tenants/acme/facts/truth/log/00000000000000000001",
            "tenants/acme/facts/quarantine/segment/00000000000000000001-00ff",
        ] {
            assert!(is_sealed(sealed, &environment), "{sealed}");
        }
        for other in [
            "root.key",
            "config.toml",
            "admin.json",
            "keys/acme.json",
            "tls/ca.pem",
            "prod/control-plane/audit/signing-key",
            "staging/control-plane/audit/entries",
            "tenants/acme/facts/truth/../../../../root.key",
            "tenants/acme/facts/truth/",
            "tenants/acme/facts/datasets",
            "tenants/acme/facts/datasets/../../metadata.sqlite",
            "tenants/acme/facts/truth",
            "tenants/acme/facts/../metadata.sqlite",
            "tenants/../metadata.sqlite",
            "tenants/acme/online/data.mdb",
            "/etc/passwd",
            "../metadata.sqlite",
            "",
        ] {
            assert!(!is_sealed(other, &environment), "{other}");
        }
    }
}
