//! The data folder: what stands in it, and how it is made.
//!
//! ```text
//! config.toml        creta.server/1                       root.key         unlocks everything else (may live elsewhere)
//! admin.json         the administrator's credential       keys/            scope keys, wrapped by the root key
//! tls/ca.pem         what clients trust                   <environment>/   control-plane/audit/: the environment's log
//! metadata.sqlite    tenants and accounts, sealed         tenants/<name>/  facts, online values and definitions
//! witnesses/         newest cosigned checkpoints, public      recoveries/      what two people signed
//! copying            while a backup is taken                  replaced/        what restored files took the place of
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use creta_audit::{Event, Log};
use creta_compliance::Organisation;
use creta_iam::{Place, Principal, PrincipalId, control_plane};
use creta_keys::{KeyError, KeyRing, RootKey};
use creta_model::{Environment, EnvironmentClass};
use creta_platform::{FileError, Platform};
use creta_store::{MetadataStore, SqliteStore};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::ServerError;
use crate::accounts::{ACCOUNT_KIND, Account};
use crate::config::{CONFIG_FORMAT, Config, DatasetsConfig, LISTEN_DEFAULT, PasswordConfig, WorkerConfig, unnamed};
use crate::control_plane::setting;
use crate::disclosure::StatisticsConfig;
use crate::environments::{check_account, load_known, require_nothing_shared};
use crate::problem::{from_audit, from_keys, from_store};
use crate::tls::make_authority;
use crate::tokens::Tokens;

/// The administrator's name.
const ADMINISTRATOR: &str = "admin";
pub(crate) const AUTHORITY_FILE: &str = "tls/ca.pem";
const ADMIN_FILE: &str = "admin.json";

/// What can be chosen when a data folder is made.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// What rules people and programs work under.
    pub class: EnvironmentClass,
    /// The account or project at a provider that the environment has to itself.
    pub account: Option<String>,
    /// Files with the fingerprints of other environments.
    pub known_environments: Vec<PathBuf>,
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Names and addresses that clients use besides the local ones.
    pub names: Vec<String>,
    /// Where to put the root key; by default `root.key` in the data folder.
    pub root_key: Option<PathBuf>,
    /// Worker processes.
    pub workers: WorkerConfig,
    /// Who runs this; without it the trust page has no name on it.
    pub organisation: Option<Organisation>,
    /// Where security issues can be reported besides the form.
    pub security_contacts: Vec<String>,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self {
            class: EnvironmentClass::default(),
            account: None,
            known_environments: Vec::new(),
            listen: LISTEN_DEFAULT.parse().expect("the default is an address"),
            names: Vec::new(),
            root_key: None,
            workers: WorkerConfig::default(),
            organisation: None,
            security_contacts: Vec::new(),
        }
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitReport {
    /// The data folder.
    pub folder: PathBuf,
    /// The environment it is for.
    pub environment: Environment,
    /// What rules people and programs work under.
    pub class: EnvironmentClass,
    /// Its random name, to which tokens are bound.
    pub environment_id: String,
    /// Where clients will find the server.
    pub url: String,
    /// The file that unlocks everything else. Keep a copy in a safe place.
    pub root_key: PathBuf,
    /// The certificate that clients trust.
    pub ca: PathBuf,
    /// The administrator's credential.
    pub admin: PathBuf,
    /// By which checkpoints of the audit log are recognised. Keep a copy elsewhere.
    pub audit_verifier_key: String,
}

/// What stands in `admin.json`: all that a client needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Where the server is.
    pub url: String,
    /// Who.
    pub client_id: String,
    /// The proof.
    pub client_secret: String,
    /// Path of the certificate to trust.
    pub ca: PathBuf,
}

/// Makes a data folder for `environment`, with keys, an administrator and an empty log. A folder that holds anything is
/// [`ServerError::AlreadyThere`] and stays as it is.
pub fn init(folder: &Path, environment: &Environment, options: &InitOptions) -> Result<InitReport, ServerError> {
    let folder = std::path::absolute(folder).map_err(|source| failed("find", folder, source))?;
    require_empty(&folder)?;
    let absolute = |file: &PathBuf| std::path::absolute(file).map_err(|source| failed("find", file, source));
    let known_files = options.known_environments.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
    let known = load_known(&known_files)?;
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(|source| failed("create", parent, source))?;
    }
    let platform = Platform::system(&folder).map_err(|error| file_failed(&folder, error))?;
    let mut id = [0; 8];
    platform.random.fill(&mut id);
    let config = Config {
        format: CONFIG_FORMAT.to_owned(),
        environment: environment.clone(),
        class: options.class,
        environment_id: format!("{environment}-{}", hex::encode(id)),
        account: options.account.clone(),
        known_environments: known_files,
        listen: options.listen,
        components: None,
        names: options.names.clone(),
        certificate: None,
        acme: None,
        root_key: options.root_key.clone().unwrap_or_else(|| "root.key".into()),
        workers: options.workers.clone(),
        organisation: options.organisation.clone().unwrap_or_else(unnamed),
        security_contacts: options.security_contacts.clone(),
        sign_in: None,
        passwords: PasswordConfig::default(),
        devices: None,
        witness: Vec::new(),
        intake: Vec::new(),
        statistics: StatisticsConfig::default(),
        programs: crate::config::ProgramsConfig::default(),
        sinks: Vec::new(),
        training_memory: None,
        datasets: DatasetsConfig::default(),
        on_call: Vec::new(),
    };
    let root_key = config.root_key_file(&folder);
    if let Some(account) = &config.account {
        let file = folder.join(Config::FILE);
        check_account(account).map_err(|reason| ServerError::Config { file, reason })?;
    }
    require_nothing_shared(&config, &known)?;
    let root = RootKey::create_file(&root_key, environment, &*platform.random).map_err(|error| match error {
        KeyError::RootKeyExists { .. } => {
            ServerError::AlreadyThere { folder: folder.clone(), present: vec![format!("`{}`", root_key.display())] }
        }
        other => from_keys(&other).into(),
    })?;

    let system = control_plane(environment);
    let ring = KeyRing::open(root, environment.clone(), platform.clone()).map_err(|e| from_keys(&e))?;
    let key = ring.create_scope(&system).map_err(|e| from_keys(&e))?;
    let log = Log::open(&platform, key.clone(), environment.clone()).map_err(|e| from_audit(&e))?;
    log.record(Event::new("environment.init", Place::Environment(environment.clone()))).map_err(|e| from_audit(&e))?;
    let metadata = SqliteStore::open(folder.join("metadata.sqlite"), key.clone()).map_err(|e| from_store(&e))?;

    let now = platform.clock.now();
    let (authority, authority_key) = make_authority(&config.environment_id, now)?;
    create(&platform, &folder, AUTHORITY_FILE, authority.as_bytes())?;
    let write = |kind: &str, id: &str, body: &[u8]| {
        metadata.write(kind, id, None, body).map(drop).map_err(|error| from_store(&error))
    };
    write(setting::KIND, setting::AUTHORITY_KEY, &authority_key)?;
    write(setting::KIND, setting::TOKEN_KEY, &Tokens::make_key(&*platform.random))?;

    let id = PrincipalId::parse(ADMINISTRATOR).expect("the administrator's name is a valid one");
    let principal = Principal::administrator(id, environment.clone());
    let (account, secret) = Account::make(&key, &*platform.random, principal, &system.tenant, now, 0);
    write(ACCOUNT_KIND, &account.client_id, &account.to_bytes())?;
    let credential = Credential {
        url: url_of(options.listen),
        client_id: account.client_id.clone(),
        client_secret: secret.expose().to_string(),
        ca: folder.join(AUTHORITY_FILE),
    };
    let json = serde_json::to_vec_pretty(&credential).expect("a credential has a JSON form");
    create(&platform, &folder, ADMIN_FILE, &json)?;
    log.close().map_err(|e| from_audit(&e))?;
    // Last: a folder without it is not a data folder yet.
    create(&platform, &folder, Config::FILE, config.to_toml().as_bytes())?;

    Ok(InitReport {
        environment: environment.clone(),
        class: config.class,
        environment_id: config.environment_id,
        url: credential.url,
        root_key,
        ca: credential.ca,
        admin: folder.join(ADMIN_FILE),
        audit_verifier_key: log.verifier_key(),
        folder,
    })
}

/// Where a client on this machine finds a server that listens on `listen`.
pub(crate) fn url_of(listen: SocketAddr) -> String {
    let here = if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    format!("https://{}", SocketAddr::new(here, listen.port()))
}

pub(crate) fn require_empty(folder: &Path) -> Result<(), ServerError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("read", folder, source)),
    };
    let mut present = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| failed("read", folder, source))?;
        present.push(format!("`{}`", entry.file_name().to_string_lossy()));
    }
    present.sort_unstable();
    let more = present.len().saturating_sub(10);
    present.truncate(10);
    if more > 0 {
        present.push(format!("{more} more"));
    }
    if present.is_empty() { Ok(()) } else { Err(ServerError::AlreadyThere { folder: folder.to_owned(), present }) }
}

fn create(platform: &Platform, folder: &Path, path: &str, bytes: &[u8]) -> Result<(), ServerError> {
    platform.files.create(path, bytes).map_err(|error| file_failed(&folder.join(path), error))
}

/// The lock that says that a server has the folder open. It ends with the process.
pub(crate) fn lock(folder: &Path) -> Result<File, ServerError> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(|source| failed("open", &path, source))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ServerError::InUse { folder: folder.to_owned() }),
        Err(errno) => Err(failed("lock", &path, errno.into())),
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> ServerError {
    ServerError::Io { action, path: path.to_owned(), source }
}

pub(crate) fn file_failed(path: &Path, error: FileError) -> ServerError {
    failed("use", path, io::Error::other(error))
}
