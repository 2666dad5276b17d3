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
//! is what the log says of recovery keys; which accounts are one human's, what the log says newest, and where it says nothing
//! the documents.
//!
//! What runs is this program, in the hands of whoever holds the root key. A program of their own could skip all of it, and
//! could not sign for a second person: the approvals stand in the log, which witnesses cosign.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use creta_audit::{AuditError, Details, Event, Hash};
use creta_iam::Place;
use creta_identity::recovery::{
    Approval, KeptLog, KeyHolder, LogAt, RecoveryError, Statement, StoreAt, What, require_two,
};
use creta_model::{EnvironmentClass, Problem, TenantId};
use creta_platform::Platform;
use creta_store::{MetadataStore, SqliteStore};
use serde::Serialize;

use crate::ServerError;
use crate::backup::{BackupManifest, VerifiedBackup, verify_backup};
use crate::config::Config;
use crate::copied::{self, RESTORED, Unclosed};
use crate::data_folder::{file_failed, lock};
use crate::epochs::{self, Epochs, Moment, Store};
use crate::people::PersonRecord;
use crate::people::recovery_keys::{ADDED, ENDED, HUMAN, RecoveryKey};
use crate::placed::{Placed, has_log, undo_unfinished};
use crate::problem::{from_audit, from_store};
use crate::recovery::{
    NoticeFiles, Offline, declare_forks, moment_of, moments_of, no_fork, strictest_class, witnesses_of,
};
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
    let _lock = lock(folder)?;
    undo_unfinished(folder)?;
    let platform = Platform::system(folder).map_err(|error| file_failed(folder, error))?;
    let own = || {
        let offline = Offline::under_lock(folder)?;
        copied::require_own(&*offline.platform.files, &offline.log)?;
        Ok::<_, ServerError>(offline)
    };
    let (what, log, stores, newest) = match asked {
        AskedRecovery::AcceptOlder(tenant) => {
            let offline = own()?;
            let (_, moments) = moments_of(folder, &offline, tenant.as_ref())?;
            let at = |(store, moment): (Store, Moment)| moment.of_store(tenant.as_ref(), store);
            let stores: Vec<StoreAt> = moments.into_iter().map(at).collect();
            let newest = newest_of(folder, &offline, &What::AcceptOlder, &stores)?;
            (What::AcceptOlder, log_of(&offline)?, stores, newest)
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
            let log = kept_log(folder, &config);
            let what = What::Restore { copy: digest, taken: manifest.taken, log };
            require_whole(&manifest, &stores, log == KeptLog::Lost)?;
            match log {
                KeptLog::Lost => (what, manifest.log, stores, Vec::new()),
                KeptLog::Kept => {
                    let offline = Offline::under_lock(folder)?;
                    require_known(&offline, &manifest, &stores)?;
                    let newest = newest_of(folder, &offline, &what, &stores)?;
                    (what, log_of(&offline)?, stores, newest)
                }
            }
        }
        AskedRecovery::Fork => {
            let offline = own()?;
            let mut left = witnesses_of(folder, &offline)?.left_behind(&offline.log)?;
            if left.is_empty() {
                return Err(no_fork().into());
            }
            left.sort();
            (What::Fork { left }, log_of(&offline)?, Vec::new(), Vec::new())
        }
    };
    let of = (&config.environment, config.environment_id.as_str());
    let drawn = Statement::draw(of, what, log, (stores, newest), reason, platform.clock.now());
    Ok(drawn.map_err(|error| of_error(&error))?)
}

/// Does what a statement says, if two different people agree to exactly it, now. `copy` is the backup's folder for a restore,
/// `out` where a fork's notices are written. No server may run on the folder, and none can start meanwhile. Approvals are
/// looked at before anything is moved, unless the documents that judge them are themselves what is restored. What was put in
/// place is taken back if anything is refused; if this program is killed, by whoever opens the folder next.
pub fn recover(
    folder: &Path,
    statement: &Statement,
    approvals: &[Approval],
    copy: Option<&Path>,
    out: &Path,
) -> Result<Recovered, ServerError> {
    let config = Config::load(folder)?;
    let _lock = lock(folder)?;
    undo_unfinished(folder)?;
    if (&statement.environment, &statement.environment_id) != (&config.environment, &config.environment_id) {
        let problem = Problem::new("restore/other-environment", "the statement is about another environment");
        return Err(problem.with_help("name the data folder that it was drawn from").into());
    }
    let What::Restore { copy: digest, log, .. } = &statement.what else {
        let offline = Offline::under_lock(folder)?;
        copied::require_own(&*offline.platform.files, &offline.log)?;
        require_drawn_now(folder, &offline, statement)?;
        return carry_out(folder, &offline, statement, approvals, (out, None));
    };
    let missing = || Problem::new("restore/no-copy", "a restore needs the backup").with_help("add `--copy FOLDER`");
    let copy = copy.ok_or_else(missing)?;
    let VerifiedBackup { manifest, digest: found } = verify_backup(copy)?;
    require_own(&config, &manifest)?;
    if found != *digest {
        let problem = Problem::new("restore/other-copy", "this is not the backup that the statement names");
        return Err(problem.with_help("name the one it was drawn from, or draw another statement").into());
    }
    let kept = kept_log(folder, &config);
    if kept == KeptLog::Lost && folder.join(kept_at(statement)).exists() {
        return Err(other_log("a log that was lost, and it was used").into());
    }
    if kept != *log {
        return Err(other_log("a log that was lost where it is there now, or the other way round").into());
    }
    require_whole(&manifest, &statement.stores, kept == KeptLog::Lost)?;
    if kept == KeptLog::Kept {
        let offline = Offline::under_lock(folder)?;
        require_known(&offline, &manifest, &statement.stores)?;
        require_drawn_now(folder, &offline, statement)?;
        if !names_documents(statement) {
            agreed(folder, &offline, statement, approvals, false)?;
        }
    }
    let placed = Placed::put(folder, copy, &config.environment, &manifest, statement)?;
    let done = (|| {
        let offline = Offline::under_lock(folder)?;
        require_log(&offline, statement)?;
        require_known(&offline, &manifest, &statement.stores)?;
        carry_out(folder, &offline, statement, approvals, (out, Some(&placed)))
    })();
    match done {
        Ok(done) => Ok(Recovered { replaced: placed.replaced(), ..done }),
        Err(error) => {
            placed.take_back(); // Does nothing once the log says that it was done.
            Err(error)
        }
    }
}

/// Everything after the files are where they belong.
fn carry_out(
    folder: &Path,
    offline: &Offline,
    statement: &Statement,
    approvals: &[Approval],
    (out, placed): (&Path, Option<&Placed>),
) -> Result<Recovered, ServerError> {
    let agreed = agreed(folder, offline, statement, approvals, placed.is_some_and(|placed| placed.log))?;
    let wanted: BTreeSet<Option<TenantId>> = statement.stores.iter().map(|store| store.tenant.clone()).collect();
    let mut accepted = Vec::new();
    for tenant in wanted {
        let (place, moments) = moments_of(folder, offline, tenant.as_ref())?;
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
    let fork = match &statement.what {
        What::Fork { left } => Some((witnesses_of(folder, offline)?, NoticeFiles::create(out, left.len())?)),
        _ => None,
    };
    let copies = copied::foreign(&*offline.platform.files, &offline.log)?;
    let events = events_of(offline, statement, &agreed, &accepted, &copies).map_err(|error| from_audit(&error))?;
    // What was signed is kept before the log has its digest: once it is spent, nobody can sign it again.
    keep(offline, statement, &agreed)?;

    // The log gets everything in one write, or nothing. From then on files stay where they are.
    let journal = placed.map(Placed::keep).transpose()?;
    let recorded = offline.log.record_all(events).map_err(|error| {
        if let (Some(placed), Some(journal)) = (placed, journal) {
            placed.take_back_kept(&journal);
        }
        from_audit(&error)
    })?;
    let entries = (recorded.start + agreed.len() as u64..).take(accepted.len()).collect();
    let notices = fork.map(|(witnesses, files)| declare_forks(offline, &witnesses, &statement.reason, files));
    let notices = notices.transpose()?.unwrap_or_default();
    if let Err(error) = offline.log.close() {
        tracing::warn!(%error, "what was recorded is signed when the log is opened next");
    }
    let approved_by = agreed.into_iter().map(|(approval, _)| approval.account.clone()).collect();
    Ok(Recovered { statement: statement.digest(), approved_by, entries, replaced: None, notices })
}

/// What the log gets: who agreed, what goes on, and which backup that was.
fn events_of(
    offline: &Offline,
    statement: &Statement,
    agreed: &[(&Approval, Hash)],
    accepted: &[(Place, Store, Moment)],
    copies: &[Unclosed],
) -> Result<Vec<Event>, AuditError> {
    let digest = hash_of(statement);
    let event = |name, details| {
        Event::new(name, Place::Environment(offline.config.environment.clone())).with(details).for_commitment("CH-35")
    };
    let mut events = Vec::new();
    for (approval, key) in agreed {
        let details = Details::none()
            .name("person", approval.account.as_str())?
            .digest("key", *key.as_bytes())?
            .digest("statement", *digest.as_bytes())?
            .digest("approval", *Hash::of(&[&approval.to_bytes()]).as_bytes())?;
        events.push(event(AGREED, details));
    }
    for (place, store, moment) in accepted {
        events.push(epochs::accepted(place, *store, *moment, (&statement.reason, Some(digest)))?);
    }
    if let What::Restore { copy, .. } = &statement.what {
        let manifest = *hash_from(copy).as_bytes();
        let restored = |of: Details| of.digest("manifest", manifest)?.count("stores", accepted.len() as u64);
        for unclosed in copies {
            events.push(event(RESTORED, restored(copied::of_copy(unclosed.copy)?)?));
        }
        if copies.is_empty() {
            events.push(event(RESTORED, restored(Details::none())?));
        }
    }
    Ok(events)
}

/// A log that is there is the newer one, and never replaced.
fn kept_log(folder: &Path, config: &Config) -> KeptLog {
    if has_log(folder, &config.environment) { KeptLog::Kept } else { KeptLog::Lost }
}

/// The log, and what is left behind, must be what the statement was drawn from.
fn require_drawn_now(folder: &Path, offline: &Offline, statement: &Statement) -> Result<(), Problem> {
    require_log(offline, statement)?;
    if newest_of(folder, offline, &statement.what, &statement.stores)? == statement.newest {
        return Ok(());
    }
    Err(Problem::new("restore/other-position", "what would be left behind is not what the statement says")
        .with_help("draw the statement again, and have two people approve that"))
}

fn require_log(offline: &Offline, statement: &Statement) -> Result<(), Problem> {
    if log_of(offline)? == statement.log {
        return Ok(());
    }
    Err(other_log(&format!(
        "the log at {} entries, and it has {} now: it was used, or something happened since",
        statement.log.size,
        offline.log.size()
    )))
}

fn other_log(about: &str) -> Problem {
    Problem::new("restore/other-log", format!("the statement is about {about}"))
        .with_help("draw it again, and have two people approve that")
}

/// A log that is lost goes on from the backup's with everything that the backup has.
fn require_whole(manifest: &BackupManifest, stores: &[StoreAt], lost: bool) -> Result<(), Problem> {
    if !lost || stores.len() == manifest.stores.len() {
        return Ok(());
    }
    Err(Problem::new("restore/log-lost", "without the newest log, stores are not restored one by one")
        .with_help("restore everything: draw the statement without `--tenant`"))
}

/// The log must have an entry of exactly what the backup holds, and one that is itself the copy in a backup goes on with all
/// of that backup only.
fn require_known(offline: &Offline, manifest: &BackupManifest, stores: &[StoreAt]) -> Result<(), Problem> {
    let contents = manifest.contents();
    let copies = copied::foreign(&*offline.platform.files, &offline.log)?;
    require_whole(manifest, stores, !copies.is_empty())?;
    if copied::is_known(&offline.log, contents)? && copies.iter().all(|copy| copy.is_of(contents)) {
        return Ok(());
    }
    Err(Problem::new("restore/unknown-copy", "the audit log knows no backup of exactly these files and moments")
        .with_help("something was added to this backup, left out or mixed with another one; name another backup"))
}

/// The newest moments of stores that the log knows or, for those that are replaced, that stand in the folder.
fn newest_of(folder: &Path, offline: &Offline, what: &What, stores: &[StoreAt]) -> Result<Vec<StoreAt>, Problem> {
    let epochs = Epochs::read(&offline.log)?;
    let newest = |at: &StoreAt| {
        let (store, tenant) = (Store::parse(&at.store)?, at.tenant.as_ref());
        let stands = matches!(what, What::Restore { .. }) && folder.join(store.path(tenant)).exists();
        // One that cannot be opened is one that is lost.
        let stands = stands.then(|| moment_of(folder, offline, tenant, store).ok()).flatten();
        let newest = epochs.newest(tenant, store).into_iter().chain(stands).max_by_key(Moment::age)?;
        Some(newest.of_store(tenant, store))
    };
    Ok(stores.iter().filter_map(newest).collect())
}

/// Whether a statement restores the documents that say who is one human.
fn names_documents(statement: &Statement) -> bool {
    statement.stores.iter().any(|store| store.tenant.is_none())
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
    let holders = holders(folder, offline, statement)?;
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

/// Who may agree: staff that is here, with a key that the log knows to be theirs and not to have ended. Which human somebody
/// is, the log's newest word says, and the documents where it has none. Documents that are older than the log knows them say
/// nothing, unless two people are asked about just that.
fn holders(folder: &Path, offline: &Offline, statement: &Statement) -> Result<Vec<KeyHolder>, Problem> {
    let (mut in_log, mut humans) = (BTreeSet::new(), BTreeMap::new());
    for (_, entry) in entries_of(&offline.log, &[ADDED, ENDED, HUMAN]).map_err(|error| from_audit(&error))? {
        let detail = |name: &str| entry.details.get(name).cloned().unwrap_or_default();
        let pair = (detail("person"), detail("key"));
        if let Some(human) = entry.details.get("human") {
            humans.insert(detail("person"), human.clone());
        }
        match entry.action.as_str() {
            ADDED => drop(in_log.insert(pair)),
            ENDED => drop(in_log.remove(&pair)),
            _ => {}
        }
    }
    let file = folder.join(Store::Metadata.path(None));
    if !file.exists() {
        return Ok(Vec::new()); // Opening it would make an empty one.
    }
    let metadata = SqliteStore::open(file, offline.key.clone()).map_err(|error| from_store(&error))?;
    if !names_documents(statement) {
        let epochs = Epochs::read(&offline.log)?;
        epochs.check(None, Store::Metadata, |kept| metadata.check_epoch(&kept.metadata()))?;
    }
    let metadata: Arc<dyn MetadataStore> = Arc::new(metadata);
    let persons = Register::<PersonRecord>::load(Arc::clone(&metadata))?;
    let keys = Register::<RecoveryKey>::load(metadata)?;
    let known = |key: &RecoveryKey| {
        let pair = (key.account.to_string(), format!("sha256:{}", key.digest()));
        key.ended.is_none() && in_log.contains(&pair)
    };
    let holder = |key: RecoveryKey| {
        let person = persons.find(key.account.as_str()).filter(|p| p.is_active() && p.tenant.is_none())?;
        let human = humans.get(key.account.as_str()).cloned().unwrap_or_else(|| person.behind().to_string());
        Some(KeyHolder { account: key.account.to_string(), human, key: key.key })
    };
    Ok(keys.list(known).into_iter().filter_map(holder).collect())
}

/// Where what was signed is kept, beside the log.
fn kept_at(statement: &Statement) -> String {
    format!("recoveries/{}.json", statement.digest())
}

/// Keeps what was signed beside the log, so that anybody can check the signatures later.
fn keep(offline: &Offline, statement: &Statement, agreed: &[(&Approval, Hash)]) -> Result<(), ServerError> {
    let approvals: Vec<&Approval> = agreed.iter().map(|(approval, _)| *approval).collect();
    let path = kept_at(statement);
    let kept = serde_json::json!({ "statement": statement, "approvals": approvals });
    let bytes = serde_json::to_vec_pretty(&kept).expect("both have a JSON form");
    offline.platform.files.replace(&path, &bytes).map_err(|error| file_failed(Path::new(&path), error))
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

fn hash_of(statement: &Statement) -> Hash {
    hash_from(&statement.digest())
}

/// A digest in hexadecimal digits; whatever is none stands for nothing.
fn hash_from(digits: &str) -> Hash {
    let mut bytes = [0; 32];
    let _ = hex::decode_to_slice(digits, &mut bytes); // Compared with a backup's own before.
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

#[cfg(test)]
mod tests;
