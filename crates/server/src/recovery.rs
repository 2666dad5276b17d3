//! What an operator does to a data folder while no server runs on it: name a witness, go on from an older copy.
//!
//! Each of the last two stands in the audit log before anything goes on, with the digest of the reason that was given.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use creta_audit::{Details, Event, Log};
use creta_iam::{Place, PrincipalId, Role, control_plane};
use creta_identity::oidc::Identity;
use creta_keys::{KeyRing, RootKey, ScopeKey};
use creta_model::{EnvironmentClass, Problem, Scope, TenantId};
use creta_platform::Platform;
use creta_programme::duties::{Duty, Holder, Roster};
use creta_programme::{PersonId, SubjectId};
use creta_proof::Hash;
use creta_store::{FactStore, MetadataStore, SqliteStore};

use crate::ServerError;
use crate::config::{Config, WitnessConfig};
use crate::copied;
use crate::data_folder::{file_failed, lock};
use crate::epochs::{Epochs, Moment, Store};
use crate::people::{PersonRecord, checked_need, id_for, no_need};
use crate::placed::undo_unfinished;
use crate::problem::{from_audit, from_keys, from_store, internal};
use crate::register::Register;
use crate::witness::{ForkNotice, Witnesses, entries_of};

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// Adds a witness to `config.toml`, which otherwise stays as it is written, and copies its certificate authority into the
/// data folder. A running server asks it from its next start on.
pub fn add_witness(folder: &Path, url: &str, key: &str, ca: &Path) -> Result<WitnessConfig, ServerError> {
    let file = folder.join(Config::FILE);
    Config::load(folder)?;
    let io = |action, path: &Path, source| ServerError::Io { action, path: path.to_owned(), source };
    let name = format!("tls/witness-{}.pem", hex::encode(&Hash::of(&[key.as_bytes()]).as_bytes()[..4]));
    let added = WitnessConfig { url: url.to_owned(), key: key.to_owned(), ca: name.clone().into() };
    let text = fs::read_to_string(&file).map_err(|source| io("read", &file, source))?;
    let table = toml::to_string(&added).expect("a witness has a TOML form");
    let text = format!("{}\n\n[[witness]]\n{table}", text.trim_end());
    Config::parse(&text).map_err(|reason| ServerError::Config { file: file.clone(), reason })?;

    let pem = fs::read(ca).map_err(|source| io("read", ca, source))?;
    let platform = Platform::system(folder).map_err(|error| file_failed(folder, error))?;
    platform.files.replace(&name, &pem).map_err(|error| file_failed(&folder.join(&name), error))?;
    // Whoever cannot be talked to is found out now rather than at the next start.
    crate::witness::WitnessClient::new(url, &folder.join(&name))?;
    platform.files.replace(Config::FILE, text.as_bytes()).map_err(|error| file_failed(&file, error))?;
    Ok(added)
}

/// Records that the log goes on although witnesses have seen another history of it, and gives a notice for each of them.
/// The notices are also written to `fork-<n>.json` in `out`. No server may run on the folder; every witness must answer.
/// Outside class development two people approve it first: see [`recover`](crate::recover).
pub fn declare_fork(folder: &Path, reason: &str, out: &Path) -> Result<Vec<ForkNotice>, ServerError> {
    check_reason(reason)?;
    let offline = Offline::open(folder)?;
    require_one_suffices(&offline)?;
    let witnesses = witnesses_of(folder, &offline)?;
    let left = witnesses.left_behind(&offline.log)?;
    if left.is_empty() {
        return Err(no_fork().into());
    }
    declare_forks(&offline, &witnesses, reason, NoticeFiles::create(out, left.len())?)
}

/// The witnesses of a data folder, as the environment's own server asks them.
pub(crate) fn witnesses_of(folder: &Path, offline: &Offline) -> Result<Witnesses, ServerError> {
    let documents = crate::components::documents(folder, offline)?;
    let (config, now) = (&offline.config, offline.platform.clock.now());
    let own = crate::components::own_certificate(&documents, &config.environment_id, &config.environment, now)?;
    Ok(Witnesses::new(&config.witness, folder, &offline.platform, &own)?)
}

/// As [`declare_fork`], for whoever made sure that it may be.
pub(crate) fn declare_forks(
    offline: &Offline,
    witnesses: &Witnesses,
    reason: &str,
    files: NoticeFiles,
) -> Result<Vec<ForkNotice>, ServerError> {
    let notices = witnesses.declare_forks(&offline.log, reason)?;
    files.write(&notices)?;
    Ok(notices)
}

/// Files that notices are written to, made before anything is recorded: what the log says once cannot be said again.
/// Those that nothing was written to are removed when it is dropped.
pub(crate) struct NoticeFiles(Vec<(PathBuf, fs::File)>);

impl NoticeFiles {
    /// `fork-<n>.json` in a folder, for so many notices; none of them may be there.
    pub(crate) fn create(out: &Path, notices: usize) -> Result<Self, ServerError> {
        let mut files = Self(Vec::new());
        for number in 1..=notices {
            let path = out.join(format!("fork-{number}.json"));
            let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
            let file = made.map_err(|source| ServerError::Io { action: "create", path: path.clone(), source })?;
            files.0.push((path, file));
        }
        Ok(files)
    }

    fn write(mut self, notices: &[ForkNotice]) -> Result<(), ServerError> {
        for notice in notices {
            let (path, mut file) = if self.0.is_empty() { return Err(internal().into()) } else { self.0.remove(0) };
            let json = serde_json::to_vec_pretty(notice).expect("a notice has a JSON form");
            let written = file.write_all(&json).and_then(|()| file.sync_all());
            written.map_err(|source| ServerError::Io { action: "write", path, source })?;
        }
        Ok(())
    }
}

impl Drop for NoticeFiles {
    fn drop(&mut self) {
        for (path, _) in &self.0 {
            let _ = fs::remove_file(path); // An empty file more is no harm.
        }
    }
}

pub(crate) fn no_fork() -> Problem {
    Problem::new("audit/no-fork", "every witness has seen this history and no other; nothing was recorded")
        .with_help("start the server")
}

/// Records that the stores of a tenant, or without one the control plane's documents, go on from the copy at hand although
/// the log knows a newer one. Gives the entries. No server may run on the folder. Outside class development two people
/// approve it first: see [`recover`](crate::recover).
pub fn accept_older(folder: &Path, tenant: Option<&TenantId>, reason: &str) -> Result<Vec<u64>, ServerError> {
    check_reason(reason)?;
    let offline = Offline::open(folder)?;
    require_one_suffices(&offline)?;
    let epochs = Epochs::read(&offline.log)?;
    let (place, moments) = moments_of(folder, &offline, tenant)?;
    let accepted = moments.into_iter().map(|(store, moment)| {
        let entry = epochs.accept(&offline.log, &place, store, moment, (reason, None));
        entry.map_err(|error| ServerError::from(from_audit(&error)))
    });
    let accepted = accepted.collect::<Result<Vec<_>, _>>()?;
    offline.log.close().map_err(|error| from_audit(&error))?;
    Ok(accepted)
}

/// Whoever holds the root key answers alone in class development only, and there only while the environment never was of
/// another class: the log says so, whatever `config.toml` says today.
fn require_one_suffices(offline: &Offline) -> Result<(), Problem> {
    if strictest_class(offline)? == EnvironmentClass::Development {
        return Ok(());
    }
    Err(Problem::new("restore/two-people", "outside class development two people approve going on from an older copy")
        .with_help(
            "draw the statement that they sign: `creta restore draw --data FOLDER --reason TEXT --out FILE`; then each \
             runs `creta restore approve FILE`, and you `creta restore run`",
        ))
}

/// The strictest class that the environment has or ever ran under.
pub(crate) fn strictest_class(offline: &Offline) -> Result<EnvironmentClass, Problem> {
    let started = entries_of(&offline.log, &["server.start"]).map_err(|error| from_audit(&error))?;
    let named = |word: &String| EnvironmentClass::ALL.into_iter().find(|class| class.as_str() == word);
    let ran = started.iter().filter_map(|(_, entry)| entry.details.get("class").and_then(named));
    Ok(ran.fold(offline.config.class, std::cmp::Ord::max))
}

/// Where the stores of a tenant, or the control plane's documents, are now.
pub(crate) fn moments_of(
    folder: &Path,
    offline: &Offline,
    tenant: Option<&TenantId>,
) -> Result<(Place, Vec<(Store, Moment)>), ServerError> {
    let of = |store: Store| Ok::<_, Problem>((store, moment_of(folder, offline, tenant, store)?));
    let environment = offline.config.environment.clone();
    Ok(match tenant {
        None => (Place::Environment(environment), vec![of(Store::Metadata)?]),
        Some(tenant) => {
            let moments = vec![of(Store::Facts)?, of(Store::Quarantine)?, of(Store::Metadata)?];
            (Place::Scope(Scope::new(tenant.clone(), environment)), moments)
        }
    })
}

/// Where one store is now. Every byte of its facts is compared with what its manifest says of them.
pub(crate) fn moment_of(
    folder: &Path,
    offline: &Offline,
    tenant: Option<&TenantId>,
    store: Store,
) -> Result<Moment, Problem> {
    let key = match tenant {
        None => offline.key.clone(),
        Some(tenant) => {
            let scope = Scope::new(tenant.clone(), offline.config.environment.clone());
            offline.ring.scope(&scope).map_err(|error| from_keys(&error))?
        }
    };
    let moment = match store {
        Store::Metadata => {
            SqliteStore::open(folder.join(store.path(tenant)), key).and_then(|opened| opened.epoch()).map(Moment::from)
        }
        Store::Facts | Store::Quarantine => FactStore::open(&offline.platform, key, &store.path(tenant))
            .and_then(|opened| opened.verify().map(|()| opened.epoch()))
            .map(Moment::from),
    };
    moment.map_err(|error| from_store(&error))
}

/// Somebody whom whoever holds the root key gives their first roles, so that an environment can be begun in which nobody
/// has any yet.
#[derive(Debug, Clone)]
pub struct Appointment {
    /// Who vouches for them: the identity provider, exactly as it names itself.
    pub issuer: String,
    /// Who they are to it: the claim `sub`.
    pub subject: String,
    /// An address to be recognised by; becomes their name here if it is free.
    pub email: Option<String>,
    /// Roles of people.
    pub roles: BTreeSet<Role>,
    /// Which need they serve. Outside class development it has to be said.
    pub need: Option<String>,
}

/// Gives a member of staff their first roles; the log first. Gives the id that they are known by. No server may run on the
/// folder. Refused are somebody who has roles or has left, and roles that must not lie in one hand.
pub fn appoint(folder: &Path, appointment: &Appointment) -> Result<String, ServerError> {
    let offline = Offline::open(folder)?;
    require_apart(&offline.config, &appointment.roles)?;
    let metadata = SqliteStore::open(folder.join("metadata.sqlite"), offline.key.clone());
    let metadata: Arc<dyn MetadataStore> = Arc::new(metadata.map_err(|e| from_store(&e))?);
    // Nobody goes on from an older copy by this road.
    let epochs = Epochs::read(&offline.log)?;
    let at_hand = SqliteStore::open(folder.join("metadata.sqlite"), offline.key.clone()).map_err(|e| from_store(&e))?;
    epochs.check(None, Store::Metadata, |kept| at_hand.check_epoch(&kept.metadata()))?;
    let persons = Register::<PersonRecord>::load(metadata)?;
    let identity = Identity { issuer: appointment.issuer.clone(), subject: appointment.subject.clone() };
    let now = offline.platform.clock.now();
    let known = persons.find_by(|person| person.identity.as_ref() == Some(&identity));
    let mut person = match &known {
        Some(person) if person.is_active() && person.roles.is_empty() => person.clone(),
        Some(person) => {
            let message = format!("`{}` has roles already, or has left", person.id);
            return Err(Problem::new("conflict/appointed", message)
                .with_help("an administrator changes roles: `creta person assign`")
                .into());
        }
        None => {
            let is_free = |id: &str| persons.with(id, |_| ()).is_none();
            let id = id_for(&identity, appointment.email.as_deref(), is_free);
            let mut person = PersonRecord::new(id, None, now);
            (person.identity, person.email) = (Some(identity), appointment.email.clone());
            person
        }
    };
    let need = appointment.need.as_deref().map(checked_need).transpose()?;
    if let (None, Some(role), false) =
        (&need, appointment.roles.first(), offline.config.class == EnvironmentClass::Development)
    {
        return Err(no_need(*role).into());
    }
    person.since = person.since_with(&appointment.roles, None, now);
    person.needs = person.needs_with(&appointment.roles, None, |_| need.clone());
    person.withheld.retain(|role| !appointment.roles.contains(role));
    (person.roles, person.tenant) = (appointment.roles.clone(), None);
    let roles: Vec<&str> = person.roles.iter().map(|role| role.as_str()).collect();
    let details = Details::none()
        .name("person", person.id.as_str())
        .and_then(|details| details.name("roles", roles.join("+")))
        .map_err(|e| from_audit(&e))?;
    let place = Place::Environment(offline.config.environment.clone());
    offline.log.record(Event::new("person.appointed", place).with(details)).map_err(|e| from_audit(&e))?;
    let id = person.id.to_string();
    match known {
        Some(_) => persons.change(&id, |_| Ok::<_, Problem>(person))?.map(drop),
        None => persons.add(person)?.map(drop),
    }
    .ok_or_else(internal)?;
    offline.log.close().map_err(|error| from_audit(&error))?;
    Ok(id)
}

/// By the built-in policies: an environment that is begun has no others.
fn require_apart(config: &Config, roles: &BTreeSet<Role>) -> Result<(), Problem> {
    if roles.is_empty() || !roles.iter().all(|role| Role::OF_PEOPLE.contains(role)) {
        return Err(Problem::new("request/roles", "name one or more roles of people")
            .with_help("such as `--role administrator` for one person and `--role security-lead` for another"));
    }
    let node = |text: String| SubjectId::parse(&text).expect("names of roles are names of subjects");
    let (somebody, place) = (node("person:appointed".into()), Place::Environment(config.environment.clone()));
    let human = PersonId::new(PrincipalId::parse("appointed").expect("letters make an id"));
    let mut roster = Roster::default();
    roster.accounts.insert(somebody.clone(), Holder::Human(human));
    for role in roles {
        let of_role = node(format!("role:{role}"));
        roster.members.insert((somebody.clone(), of_role.clone()));
        for duty in Duty::of_role(*role, creta_iam::Identity::Person(*role).may().iter().copied()) {
            roster.given.push((of_role.clone(), duty, place.clone()));
        }
    }
    Roster::default().require_change(&roster).map_err(|conflict| {
        Problem::new(conflict.code(), conflict.to_string()).with_help("appoint another person for one of the two")
    })
}

/// An open data folder without a server.
pub(crate) struct Offline {
    pub(crate) config: Config,
    pub(crate) platform: Platform,
    ring: KeyRing,
    pub(crate) key: ScopeKey,
    pub(crate) log: Log,
    _lock: Option<fs::File>,
}

impl Offline {
    /// Opens a folder that nobody else has open. A log that is a backup's is refused; see `copied`.
    pub(crate) fn open(folder: &Path) -> Result<Self, ServerError> {
        Config::load(folder)?;
        let lock = lock(folder)?;
        undo_unfinished(folder)?;
        let offline = Self { _lock: Some(lock), ..Self::under_lock(folder)? };
        copied::require_own(&*offline.platform.files, &offline.log)?;
        Ok(offline)
    }

    /// As [`open`](Self::open) by whoever holds the lock, and whichever log it is.
    pub(crate) fn under_lock(folder: &Path) -> Result<Self, ServerError> {
        let config = Config::load(folder)?;
        let platform = Platform::system(folder).map_err(|error| file_failed(folder, error))?;
        let root_key = config.root_key_file(folder);
        let root = RootKey::load_file(&root_key, &config.environment).map_err(|error| {
            Problem::new("server/root-key", error.to_string()).with_note("file", root_key.display().to_string(), None)
        })?;
        let ring = KeyRing::open(root, config.environment.clone(), platform.clone()).map_err(|e| from_keys(&e))?;
        let key = ring.scope(&control_plane(&config.environment)).map_err(|e| from_keys(&e))?;
        let log = Log::open(&platform, key.clone(), config.environment.clone()).map_err(|e| from_audit(&e))?;
        Ok(Self { config, platform, ring, key, log, _lock: None })
    }
}

fn check_reason(reason: &str) -> Result<(), Problem> {
    if (1..=REASON_BYTES_MAX).contains(&reason.trim().len()) {
        return Ok(());
    }
    Err(Problem::new("request/reason", format!("a reason has 1 to {REASON_BYTES_MAX} bytes"))
        .with_help("say what was lost, and who decided to go on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_ch44_no_fork_is_declared_where_its_notice_cannot_be_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let fork = |number: u32| folder.path().join(format!("fork-{number}.json"));
        // Somebody's notice is there already: nothing of it is written over, and nothing new is left behind.
        fs::write(fork(2), "of another day").expect("written");
        let refused = NoticeFiles::create(folder.path(), 3).err().expect("refused");
        assert!(refused.to_problem().to_string().contains("fork-2.json"), "{}", refused.to_problem());
        assert!(!fork(1).exists() && !fork(3).exists());
        assert_eq!(fs::read_to_string(fork(2)).expect("there"), "of another day");
        assert!(NoticeFiles::create(&folder.path().join("nowhere"), 1).is_err());
        fs::remove_file(fork(2)).expect("removed");
        // Made before anything is recorded, and gone again if nothing is.
        let files = NoticeFiles::create(folder.path(), 2).expect("made");
        assert!(fork(1).exists() && fork(2).exists());
        drop(files);
        assert!(!fork(1).exists() && !fork(2).exists());
        assert!(NoticeFiles::create(folder.path(), 0).expect("none").write(&[]).is_ok());
    }
}
