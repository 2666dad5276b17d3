//! Going on from an older copy, by two people (CH-35): a backup that is put in place, a store that is older than the log
//! knows it, a log that witnesses have seen further.
//!
//! ```text
//! draw     whoever holds the root key; no server runs      a statement: environment, copy, log, positions, reason
//! approve  two people, each with their own recovery key    an approval each; needs neither server nor root key
//! run      whoever holds the root key                      checks everything again, puts files in place, records
//! ```
//!
//! A statement counts for the log that it names, to the entry, and running it adds entries: it is good once. Who may agree
//! is what the log says of recovery keys; which accounts are one human's, what the documents say that go on.
//!
//! What runs is this program, in the hands of whoever holds the root key. A program of their own could skip all of it, and
//! could not sign for a second person: the approvals stand in the log, which witnesses cosign.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use creta_audit::{AuditError, Details, Event, Hash};
use creta_iam::Place;
use creta_identity::recovery::{Approval, KeyHolder, LogAt, RecoveryError, Statement, StoreAt, What, require_two};
use creta_model::{EnvironmentClass, Problem, TenantId};
use creta_store::{MetadataStore, SqliteStore};
use serde::Serialize;

use crate::ServerError;
use crate::backup::{BackupManifest, VerifiedBackup, log_files, log_folder, verify_backup};
use crate::config::Config;
use crate::epochs::{Epochs, Store};
use crate::people::PersonRecord;
use crate::people::recovery_keys::{ADDED, ENDED, RecoveryKey};
use crate::problem::{from_audit, from_store, internal};
use crate::recovery::{Offline, declare_forks, moments_of, no_fork, strictest_class, witnesses_of};
use crate::register::Register;
use crate::witness::{ForkNotice, entries_of};

/// The entry of an approval that counted.
pub(crate) const AGREED: &str = "recovery.agreed";

/// What is asked for.
#[derive(Debug, Clone)]
pub enum AskedRecovery {
    /// Stores that stand in the folder go on: a tenant's, or without one the control plane's documents.
    AcceptOlder(Option<TenantId>),
    /// Stores of a backup are put in place and go on: a tenant's, or without one all that it has.
    Restore {
        /// The backup's folder.
        copy: PathBuf,
        /// Whose stores.
        tenant: Option<TenantId>,
    },
    /// The log goes on, although witnesses have seen another history.
    Fork,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
pub struct Recovered {
    /// SHA-256 of the statement.
    pub statement: String,
    /// Who agreed, by account.
    pub approved_by: Vec<String>,
    /// The entries that the stores go on from.
    pub entries: Vec<u64>,
    /// Where the files lie that stood in the place of those of the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<PathBuf>,
    /// What the operators of witnesses are given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<ForkNotice>,
}

/// Draws the statement that two people sign. Changes nothing. No server may run on the folder.
pub fn draw_recovery(folder: &Path, asked: &AskedRecovery, reason: &str) -> Result<Statement, ServerError> {
    let config = Config::load(folder)?;
    let now =
        creta_platform::Platform::system(folder).map_err(|error| crate::data_folder::file_failed(folder, error))?;
    let now = now.clock.now();
    let of = (&config.environment, config.environment_id.as_str());
    let (what, log, stores) = match asked {
        AskedRecovery::AcceptOlder(tenant) => {
            let offline = Offline::open(folder)?;
            let (_, moments) = moments_of(folder, &offline, tenant.as_ref())?;
            let stores = moments.into_iter().map(|(store, moment)| moment.of_store(tenant.as_ref(), store)).collect();
            (What::AcceptOlder, log_of(&offline)?, stores)
        }
        AskedRecovery::Restore { copy, tenant } => {
            let VerifiedBackup { manifest, digest } = verify_backup(copy)?;
            require_own(&config, &manifest)?;
            let of_tenant = |store: &&StoreAt| tenant.is_none() || store.tenant == *tenant;
            let stores: Vec<StoreAt> = manifest.stores.iter().filter(of_tenant).cloned().collect();
            if stores.is_empty() {
                let problem = Problem::new("restore/nothing", "the backup has no store of this tenant");
                return Err(problem.with_help("its `manifest.json` names those that it has").into());
            }
            // A log that is there is the newer one, and never replaced.
            let log = if has_log(folder, &config) { log_of(&Offline::open(folder)?)? } else { manifest.log };
            (What::Restore { copy: digest }, log, stores)
        }
        AskedRecovery::Fork => {
            let offline = Offline::open(folder)?;
            let mut left = witnesses_of(folder, &offline)?.left_behind(&offline.log)?;
            if left.is_empty() {
                return Err(no_fork().into());
            }
            left.sort();
            (What::Fork { left }, log_of(&offline)?, Vec::new())
        }
    };
    Ok(Statement::draw(of, what, log, stores, reason, now).map_err(|error| of_error(&error))?)
}

/// Does what a statement says, if two different people agree to exactly it, now. `copy` is the backup's folder for a restore,
/// `out` where a fork's notices are written. No server may run on the folder. What was put in place is taken back if
/// anything is refused.
pub fn recover(
    folder: &Path,
    statement: &Statement,
    approvals: &[Approval],
    copy: Option<&Path>,
    out: &Path,
) -> Result<Recovered, ServerError> {
    let config = Config::load(folder)?;
    if (&statement.environment, &statement.environment_id) != (&config.environment, &config.environment_id) {
        let problem = Problem::new("restore/other-environment", "the statement is about another environment");
        return Err(problem.with_help("name the data folder that it was drawn from").into());
    }
    let mut placed = Placed::default();
    let done = (|| {
        if let What::Restore { copy: digest } = &statement.what {
            let missing =
                || Problem::new("restore/no-copy", "a restore needs the backup").with_help("add `--copy FOLDER`");
            let copy = copy.ok_or_else(missing)?;
            let verified = verify_backup(copy)?;
            require_own(&config, &verified.manifest)?;
            if verified.digest != *digest {
                let problem = Problem::new("restore/other-copy", "this is not the backup that the statement names");
                return Err(problem.with_help("name the one it was drawn from, or draw another statement").into());
            }
            placed.put(folder, copy, &config, &verified.manifest, statement)?;
        }
        carry_out(folder, statement, approvals, out, placed.log)
    })();
    match done {
        Ok(done) => Ok(Recovered { replaced: placed.aside.filter(|aside| aside.exists()), ..done }),
        Err(error) => {
            placed.take_back();
            Err(error)
        }
    }
}

/// Everything after the files are where they belong.
fn carry_out(
    folder: &Path,
    statement: &Statement,
    approvals: &[Approval],
    out: &Path,
    of_copy: bool,
) -> Result<Recovered, ServerError> {
    let offline = Offline::open(folder)?;
    if log_of(&offline)? != statement.log {
        let message = format!(
            "the statement is about the log at {} entries, and it has {} now: it was used, or something happened since",
            statement.log.size,
            offline.log.size()
        );
        let problem = Problem::new("restore/other-log", message);
        return Err(problem.with_help("draw it again, and have two people approve that").into());
    }
    let agreed = agreed(folder, &offline, statement, approvals, of_copy)?;
    let wanted: BTreeSet<Option<TenantId>> = statement.stores.iter().map(|store| store.tenant.clone()).collect();
    let mut accepted = Vec::new();
    for tenant in wanted {
        let (place, moments) = moments_of(folder, &offline, tenant.as_ref())?;
        for (store, moment) in moments {
            let there = moment.of_store(tenant.as_ref(), store);
            match statement.stores.iter().find(|stated| stated.store == there.store && stated.tenant == there.tenant) {
                Some(stated) if *stated == there => accepted.push((place.clone(), store, moment)),
                Some(_) => return Err(other_position(&there).into()),
                None => {}
            }
        }
    }
    if accepted.len() != statement.stores.len() {
        return Err(Problem::new("restore/other-stores", "the statement names stores that are not there")
            .with_help("draw it again, and have two people approve that")
            .into());
    }

    // From here on it is done: what the log says first, then everything that follows from it.
    let digest = hash_of(statement);
    for (approval, key) in &agreed {
        let details = Details::none()
            .name("person", approval.account.as_str())
            .and_then(|details| details.digest("key", *key.as_bytes()))
            .and_then(|details| details.digest("statement", *digest.as_bytes()))
            .and_then(|details| details.digest("approval", *Hash::of(&[&approval.to_bytes()]).as_bytes()));
        record(&offline, AGREED, details)?;
    }
    let epochs = Epochs::read(&offline.log)?;
    let entries = accepted.iter().map(|(place, store, moment)| {
        epochs.accept(&offline.log, place, *store, *moment, (&statement.reason, Some(digest)))
    });
    let entries = entries.collect::<Result<Vec<u64>, _>>().map_err(|error| from_audit(&error))?;
    if let What::Restore { copy } = &statement.what {
        let mut manifest = [0; 32];
        hex::decode_to_slice(copy, &mut manifest).map_err(|_| internal())?;
        let details = Details::none().digest("manifest", manifest);
        record(&offline, "backup.restored", details.and_then(|d| d.count("stores", entries.len() as u64)))?;
    }
    let notices = match &statement.what {
        What::Fork { .. } => declare_forks(folder, &offline, &statement.reason, out)?,
        _ => Vec::new(),
    };
    keep(&offline, statement, &agreed)?;
    offline.log.close().map_err(|error| from_audit(&error))?;
    let approved_by = agreed.into_iter().map(|(approval, _)| approval.account.clone()).collect();
    Ok(Recovered { statement: statement.digest(), approved_by, entries, replaced: None, notices })
}

/// The approvals that count, each with the digest of its key. A refusal stands in the log.
fn agreed<'a>(
    folder: &Path,
    offline: &Offline,
    statement: &Statement,
    approvals: &'a [Approval],
    of_copy: bool,
) -> Result<Vec<(&'a Approval, Hash)>, ServerError> {
    if let What::Fork { left } = &statement.what {
        let mut now = witnesses_of(folder, offline)?.left_behind(&offline.log)?;
        now.sort();
        if now != *left {
            return Err(Problem::new("restore/other-witness", "a witness has seen something else since")
                .with_help("draw the statement again, and have two people approve that")
                .into());
        }
    }
    if strictest_class(offline)? == EnvironmentClass::Development && approvals.is_empty() {
        return Ok(Vec::new());
    }
    let holders = holders(folder, offline)?;
    match require_two(statement, approvals, &holders, offline.platform.clock.now()) {
        Ok(counted) => {
            let key = |holder: &KeyHolder| Hash::of(&[holder.key.thumbprint().as_str().as_bytes()]);
            Ok(counted.into_iter().map(|(approval, holder)| (approval, key(holder))).collect())
        }
        Err(error) => {
            // That one is still missing is no attempt at anything; and a log that goes back out records nothing.
            if approvals.len() >= 2 && !of_copy {
                let statement = Details::none().digest("statement", *hash_of(statement).as_bytes());
                let event = Event::new("recovery.refused", Place::Environment(offline.config.environment.clone()));
                let event = event.with(statement.map_err(|e| from_audit(&e))?).for_commitment(error.commitment());
                offline.log.record(event).and_then(|_| offline.log.close()).map_err(|e| from_audit(&e))?;
            }
            Err(of_error(&error).into())
        }
    }
}

/// Who may agree: staff that is here, with a key that the log knows to be theirs and not to have ended.
fn holders(folder: &Path, offline: &Offline) -> Result<Vec<KeyHolder>, Problem> {
    let mut in_log = BTreeSet::new();
    for (_, entry) in entries_of(&offline.log, &[ADDED, ENDED]).map_err(|error| from_audit(&error))? {
        let detail = |name: &str| entry.details.get(name).cloned().unwrap_or_default();
        let pair = (detail("person"), detail("key"));
        match entry.action.as_str() {
            ADDED => in_log.insert(pair),
            _ => in_log.remove(&pair),
        };
    }
    let metadata = SqliteStore::open(folder.join(Store::Metadata.path(None)), offline.key.clone());
    let metadata: std::sync::Arc<dyn MetadataStore> =
        std::sync::Arc::new(metadata.map_err(|error| from_store(&error))?);
    let persons = Register::<PersonRecord>::load(std::sync::Arc::clone(&metadata))?;
    let keys = Register::<RecoveryKey>::load(metadata)?;
    let known = |key: &RecoveryKey| {
        let pair = (key.account.to_string(), format!("sha256:{}", key.digest()));
        key.ended.is_none() && in_log.contains(&pair)
    };
    let holder = |key: RecoveryKey| {
        let person = persons.find(key.account.as_str()).filter(|p| p.is_active() && p.tenant.is_none())?;
        Some(KeyHolder { account: key.account.to_string(), human: person.human.to_string(), key: key.key })
    };
    Ok(keys.list(known).into_iter().filter_map(holder).collect())
}

/// Keeps what was signed beside the log, so that anybody can check the signatures later.
fn keep(offline: &Offline, statement: &Statement, agreed: &[(&Approval, Hash)]) -> Result<(), ServerError> {
    let approvals: Vec<&Approval> = agreed.iter().map(|(approval, _)| *approval).collect();
    let path = format!("recoveries/{}.json", statement.digest());
    let kept = serde_json::json!({ "statement": statement, "approvals": approvals });
    let bytes = serde_json::to_vec_pretty(&kept).expect("both have a JSON form");
    offline
        .platform
        .files
        .replace(&path, &bytes)
        .map_err(|error| crate::data_folder::file_failed(Path::new(&path), error))
}

/// Files that were put in place, and those that stood there.
#[derive(Default)]
struct Placed {
    folder: PathBuf,
    /// Where what stood there lies.
    aside: Option<PathBuf>,
    moved: Vec<String>,
    put: Vec<String>,
    /// Whether the log itself is the backup's.
    log: bool,
}

impl Placed {
    fn put(
        &mut self,
        folder: &Path,
        copy: &Path,
        config: &Config,
        manifest: &BackupManifest,
        statement: &Statement,
    ) -> Result<(), ServerError> {
        let _lock = crate::data_folder::lock(folder)?;
        self.folder = folder.to_owned();
        let aside = folder.join("replaced").join(&statement.digest()[..16]);
        if aside.exists() {
            return Err(ServerError::AlreadyThere { folder: aside, present: vec!["an earlier attempt".to_owned()] });
        }
        self.aside = Some(aside);
        for store in &statement.stores {
            let kind = Store::parse(&store.store).ok_or_else(internal)?;
            let path = kind.path(store.tenant.as_ref());
            let derived = store.tenant.as_ref().map(|tenant| format!("tenants/{tenant}/online"));
            // What SQLite keeps beside its file belongs to it; what is derived from facts is made anew.
            let beside = [format!("{path}-wal"), format!("{path}-shm")];
            for gone in [path].into_iter().chain(beside).chain(derived.filter(|_| kind == Store::Facts)) {
                self.set_aside(&gone)?;
            }
            for file in manifest.of_store(store) {
                self.copy(copy, &file.path)?;
            }
        }
        if !has_log(folder, config) {
            self.log = true;
            for path in log_files(&config.environment) {
                self.set_aside(&path)?;
                self.copy(copy, &path)?;
            }
        }
        Ok(())
    }

    fn set_aside(&mut self, path: &str) -> Result<(), ServerError> {
        let (from, aside) = (self.folder.join(path), self.aside.as_ref().expect("set before"));
        if from.symlink_metadata().is_err() {
            return Ok(());
        }
        let to = aside.join(path);
        make_parent(&to)?;
        fs::rename(&from, &to).map_err(|source| ServerError::Io { action: "move", path: from, source })?;
        self.moved.push(path.to_owned());
        Ok(())
    }

    fn copy(&mut self, copy: &Path, path: &str) -> Result<(), ServerError> {
        let to = self.folder.join(path);
        make_parent(&to)?;
        let failed = |source| ServerError::Io { action: "write", path: to.clone(), source };
        self.put.push(path.to_owned());
        let mut from = fs::File::open(copy.join(path)).map_err(failed)?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to).map_err(failed)?;
        std::io::copy(&mut from, &mut file).and_then(|_| file.flush()).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Everything as it was.
    fn take_back(&self) {
        let report = |path: &str, outcome: std::io::Result<()>| {
            if let Err(error) = outcome {
                tracing::error!(path, %error, "a file of a refused restore could not be taken back");
            }
        };
        for path in &self.put {
            for path in [path.clone(), format!("{path}-wal"), format!("{path}-shm")] {
                let file = self.folder.join(&path);
                if file.symlink_metadata().is_ok() {
                    report(&path, fs::remove_file(&file));
                }
            }
        }
        let Some(aside) = &self.aside else { return };
        for path in self.moved.iter().rev() {
            let to = self.folder.join(path);
            if to.is_dir() {
                report(path, fs::remove_dir_all(&to));
            }
            report(path, fs::rename(aside.join(path), &to));
        }
        if aside.exists() {
            report("replaced", fs::remove_dir_all(aside));
        }
    }
}

fn make_parent(path: &Path) -> Result<(), ServerError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|source| ServerError::Io { action: "create", path: parent.to_owned(), source })
}

fn has_log(folder: &Path, config: &Config) -> bool {
    folder.join(log_folder(&config.environment)).join("entries").symlink_metadata().is_ok()
}

fn log_of(offline: &Offline) -> Result<LogAt, Problem> {
    let size = offline.log.size();
    let root = offline.log.root(size).map_err(|error| from_audit(&error))?;
    Ok(LogAt { size, root: root.to_base64() })
}

fn require_own(config: &Config, manifest: &BackupManifest) -> Result<(), Problem> {
    if (&manifest.environment, &manifest.environment_id) == (&config.environment, &config.environment_id) {
        return Ok(());
    }
    Err(Problem::new("restore/other-environment", "the backup is of another environment")
        .with_help("name a backup of the environment that the data folder belongs to"))
}

fn record(offline: &Offline, name: &'static str, details: Result<Details, AuditError>) -> Result<(), Problem> {
    let event = Event::new(name, Place::Environment(offline.config.environment.clone())).for_commitment("CH-35");
    let recorded = details.and_then(|details| offline.log.record(event.with(details)));
    recorded.map(drop).map_err(|error| from_audit(&error))
}

fn hash_of(statement: &Statement) -> Hash {
    let mut bytes = [0; 32];
    hex::decode_to_slice(statement.digest(), &mut bytes).expect("a digest has 32 bytes");
    Hash::from_bytes(bytes)
}

fn other_position(there: &StoreAt) -> Problem {
    let whose = there.tenant.as_ref().map_or_else(|| "the control plane".to_owned(), |tenant| format!("`{tenant}`"));
    Problem::new(
        "restore/other-position",
        format!("the {} store of {whose} is not where the statement says it goes on from", there.store),
    )
    .with_help("draw the statement again, and have two people approve that")
}

fn of_error(error: &RecoveryError) -> Problem {
    let problem = Problem::new("restore/refused", error.to_string());
    problem.with_help("two different people approve the statement as it is: `creta restore approve FILE`")
}
