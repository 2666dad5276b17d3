//! A witness's data folder.
//!
//! ```text
//! witness.toml     creta.witness/1: name and address        logs/<hash>.json   one file per log: its key, the newest
//! witness.key      signs cosignatures; for its owner only                      checkpoint cosigned, accepted forks
//! tls/             its certificate authority                lock               says that a witness is at work
//! ```
//!
//! `<hash>` is the SHA-256 of the log's origin. Whoever changes a log's file holds the lock on the file beside it, so that
//! requests for one log, and commands of the operator meanwhile, take turns.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use creta_model::{Environment, Instant, Problem};
use creta_platform::{Clock, FileError, Files, Platform};
use creta_proof::witness::{AddCheckpoint, Refusal, consider};
use creta_proof::{Checkpoint, Hash, KeyKind, SignedCheckpoint, Time, VerifierKey};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::fork::ForkNotice;
use crate::ServerError;
use crate::data_folder::{file_failed, require_empty, url_of};
use crate::tls::{ComponentName, Neighbour, Neighbours, make_authority};

/// Version of `witness.toml`.
pub const WITNESS_FORMAT: &str = "creta.witness/1";
/// Version of a log's file.
pub const WATCHED_LOG_FORMAT: &str = "creta.witness-log/1";
/// Where a witness listens when nothing else is asked for.
const LISTEN_DEFAULT: &str = "127.0.0.1:7444";
/// How many contradicting checkpoints of a log are kept: one proves as much as a thousand.
const EVIDENCE_MAX: usize = 16;

const CONFIG: &str = "witness.toml";
const KEY: &str = "witness.key";
const AUTHORITY: &str = "tls/ca.pem";
const AUTHORITY_KEY: &str = "tls/ca.key";

/// What can be chosen when a witness is made.
#[derive(Debug, Clone)]
pub struct WitnessOptions {
    /// What it is called in its key and in every cosignature: a name of the operator's, such as `witness.example.com/w1`.
    pub name: String,
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Names and addresses that logs use besides the local ones.
    pub names: Vec<String>,
}

impl WitnessOptions {
    /// A witness of this name, on this machine only.
    pub fn named(name: impl Into<String>) -> Self {
        let listen = LISTEN_DEFAULT.parse().expect("the default is an address");
        Self { name: name.into(), listen, names: Vec::new() }
    }
}

/// What was made, and what the operators of logs need to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessInit {
    /// The data folder.
    pub folder: PathBuf,
    /// Where logs will find it.
    pub url: String,
    /// The certificate that logs trust.
    pub ca: PathBuf,
    /// By which its cosignatures are recognised.
    pub key: String,
}

/// A log that is watched, as its file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchedLog {
    /// [`WATCHED_LOG_FORMAT`].
    pub format: String,
    /// The log's verifier key.
    pub key: String,
    /// The newest checkpoint that was cosigned, with the signatures of log and witness. Absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Forks that the witness's operator accepted, oldest first. They stay for ever.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<AcceptedFork>,
    /// Checkpoints that the log signed and that contradict what it had signed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

/// A log went on from an older copy, said so, and the witness's operator believed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptedFork {
    /// When.
    pub accepted: Instant,
    /// Why, in the words of the log's operator.
    pub reason: String,
    /// The newest checkpoint of the history that was left.
    pub left: String,
    /// The checkpoint of the other one that was cosigned first.
    pub taken: String,
}

/// Two histories, signed by one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// When it came.
    pub received: Instant,
    /// What was cosigned.
    pub cosigned: String,
    /// What the log signed too.
    pub contradicting: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WitnessConfig {
    format: String,
    pub(super) name: String,
    pub(super) listen: SocketAddr,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) names: Vec<String>,
    /// Environments of this organisation. Where any stands here, their components are let in and nobody else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) environment: Vec<Neighbour>,
}

/// Makes the data folder of a witness: its key, its certificate authority, no logs yet. A folder that holds anything is
/// [`ServerError::AlreadyThere`] and stays as it is.
pub fn init(folder: &Path, options: &WitnessOptions) -> Result<WitnessInit, ServerError> {
    let folder = std::path::absolute(folder).map_err(|source| failed("find", folder, source))?;
    require_empty(&folder)?;
    let mut seed = Zeroizing::new([0; 32]);
    let platform = open_platform(&folder)?;
    platform.random.fill(seed.as_mut_slice());
    let (_, verifier) = keys(&options.name, &*seed)?;
    let (authority, authority_key) = make_authority(&options.name, platform.clock.now())?;
    let config = WitnessConfig {
        format: WITNESS_FORMAT.to_owned(),
        name: options.name.clone(),
        listen: options.listen,
        names: options.names.clone(),
        environment: Vec::new(),
    };
    let body = toml::to_string(&config).expect("a configuration has a TOML form");
    let body = format!("# Configuration of a Creta witness.\n{body}");
    let key = Zeroizing::new(format!("{}\n", hex::encode(seed.as_slice())));
    let authority_key = Zeroizing::new(format!("{}\n", hex::encode(authority_key.as_slice())));
    for (path, bytes) in [
        (KEY, key.as_bytes()),
        (AUTHORITY, authority.as_bytes()),
        (AUTHORITY_KEY, authority_key.as_bytes()),
        (CONFIG, body.as_bytes()), // Last: a folder without it is not a witness's yet.
    ] {
        platform.files.create(path, bytes).map_err(|error| file_failed(&folder.join(path), error))?;
    }
    Ok(WitnessInit { url: url_of(options.listen), ca: folder.join(AUTHORITY), key: verifier.to_string(), folder })
}

/// Lets in the components of an environment of the same organisation that `components` names, and from the next start on
/// nobody who is not named so. `ca` is the environment's `tls/ca.pem`. Naming an environment again replaces what was said.
pub fn admit(
    folder: &Path,
    environment: &Environment,
    environment_id: &str,
    ca: &Path,
    components: &[String],
) -> Result<(), ServerError> {
    let witness = Witness::open(folder)?;
    let names = components.iter().map(|name| ComponentName::parse(name)).collect::<Result<BTreeSet<_>, _>>()?;
    let pem = fs::read(ca).map_err(|source| failed("read", ca, source))?;
    let file = format!("tls/environment-{}.pem", hex::encode(&Hash::of(&[environment_id.as_bytes()]).as_bytes()[..4]));
    witness.files.replace(&file, &pem).map_err(|error| witness.failed(&file, error))?;
    let mut config = witness.config.clone();
    config.environment.retain(|neighbour| neighbour.environment_id != environment_id);
    config.environment.push(Neighbour {
        environment: environment.clone(),
        environment_id: environment_id.to_owned(),
        ca: file.into(),
        components: names,
    });
    // Whatever cannot be used is found out now rather than at the next start.
    Neighbours::new(&config.environment, &witness.folder)?;
    let body = toml::to_string(&config).expect("a configuration has a TOML form");
    let body = format!("# Configuration of a Creta witness.\n{body}");
    witness.files.replace(CONFIG, body.as_bytes()).map_err(|error| witness.failed(CONFIG, error))?;
    Ok(())
}

/// Watches a log from its next checkpoint on. `vkey` is the log's verifier key, which its operator gives, by another way
/// than the log itself. Harmless when repeated; another key for the same log is refused, running or not.
pub fn add_log(folder: &Path, vkey: &str) -> Result<WatchedLog, ServerError> {
    let witness = Witness::open(folder)?;
    let key = VerifierKey::parse(vkey).map_err(|error| Problem::new("witness/key", error.to_string()))?;
    if key.kind() != KeyKind::Log {
        return Err(Problem::new("witness/key", format!("`{vkey}` is a witness's key, not a log's"))
            .with_help("give the log key that `creta server init` showed")
            .into());
    }
    let hash = origin_hash(key.name());
    let _turn = witness.turn(&hash)?;
    match witness.load(&hash)? {
        Some(log) if log.key == key.to_string() => Ok(log),
        Some(_) => Err(Problem::new("witness/other-key", format!("log `{}` is watched with another key", key.name()))
            .with_help("a log keeps its key; ask its operator what happened before you remove its file from `logs/`")
            .into()),
        None => {
            let log = WatchedLog {
                format: WATCHED_LOG_FORMAT.to_owned(),
                key: key.to_string(),
                checkpoint: None,
                forks: Vec::new(),
                evidence: Vec::new(),
            };
            witness.store(&hash, &log)?;
            Ok(log)
        }
    }
}

/// The logs that are watched, by file name.
pub fn watched_logs(folder: &Path) -> Result<Vec<WatchedLog>, ServerError> {
    let witness = Witness::open(folder)?;
    let files = witness.files.list("logs/").map_err(|error| witness.failed("logs", error))?;
    let hashes = files.iter().filter_map(|path| path.strip_prefix("logs/")?.strip_suffix(".json"));
    hashes.filter_map(|hash| witness.load(hash).transpose()).collect()
}

/// Goes on with the history that a fork notice declares. The history that is left stays in the log's file for ever. The
/// notice must be signed by the log, be for this witness, and name the checkpoint that it cosigned last: a notice works
/// once.
pub fn accept_fork(folder: &Path, notice: &ForkNotice) -> Result<WatchedLog, ServerError> {
    let witness = Witness::open(folder)?;
    let refused = |reason: &str| Problem::new("witness/fork-notice", format!("the fork notice is refused: {reason}"));
    let claimed = SignedCheckpoint::parse(&notice.checkpoint).map_err(|error| refused(&error.to_string()))?;
    let hash = origin_hash(&claimed.claimed().origin);
    let _turn = witness.turn(&hash)?;
    let Some(mut log) = witness.load(&hash)? else {
        return Err(refused(&format!("log `{}` is not watched here", claimed.claimed().origin)).into());
    };
    let newest = log.newest()?.ok_or_else(|| refused("nothing of this log was cosigned yet"))?;
    let key = VerifierKey::parse(&log.key).map_err(|error| refused(&error.to_string()))?;
    let taken = notice.verify(&key, &witness.verifier, newest.claimed()).map_err(|reason| refused(&reason))?;
    let signed = witness.cosigned(&claimed, &taken)?;
    log.forks.push(AcceptedFork {
        accepted: witness.clock.now(),
        reason: notice.reason.clone(),
        left: newest.to_string(),
        taken: signed.to_string(),
    });
    log.checkpoint = Some(signed.to_string());
    witness.store(&hash, &log)?;
    Ok(log)
}

impl WatchedLog {
    /// The newest checkpoint that was cosigned.
    pub fn newest(&self) -> Result<Option<SignedCheckpoint>, ServerError> {
        let parsed = self.checkpoint.as_deref().map(SignedCheckpoint::parse).transpose();
        parsed
            .map_err(|error| Problem::new("witness/damaged", format!("a stored checkpoint is refused: {error}")).into())
    }
}

/// The name of a log's file, and of its address for monitors.
pub(super) fn origin_hash(origin: &str) -> String {
    hex::encode(Hash::of(&[origin.as_bytes()]).as_bytes())
}

/// An open witness: its key and its files.
pub(super) struct Witness {
    pub(super) folder: PathBuf,
    pub(super) config: WitnessConfig,
    pub(super) clock: Arc<dyn Clock>,
    files: Arc<dyn Files>,
    key: Ed25519KeyPair,
    pub(super) verifier: VerifierKey,
}

/// Why a request is not answered with a cosignature.
#[derive(Debug)]
pub(super) enum Declined {
    /// The request does not deserve one.
    Refused(Refusal),
    /// The witness itself is broken.
    Broken(ServerError),
}

impl From<ServerError> for Declined {
    fn from(error: ServerError) -> Self {
        Self::Broken(error)
    }
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Witness {
    pub(super) fn open(folder: &Path) -> Result<Self, ServerError> {
        let folder = std::path::absolute(folder).map_err(|source| failed("find", folder, source))?;
        let file = folder.join(CONFIG);
        let text = fs::read_to_string(&file).map_err(|source| failed("read", &file, source))?;
        let refused = |reason: String| ServerError::Config { file: file.clone(), reason };
        let config: WitnessConfig = toml::from_str(&text).map_err(|error| refused(error.message().to_owned()))?;
        if config.format != WITNESS_FORMAT {
            return Err(refused(format!("its format is `{}`, and this build reads `{WITNESS_FORMAT}`", config.format)));
        }
        let platform = open_platform(&folder)?;
        let seed = secret(&*platform.files, &folder, KEY)?;
        let (key, verifier) = keys(&config.name, &seed)?;
        Ok(Self { folder, config, clock: platform.clock, files: platform.files, key, verifier })
    }

    /// The certificate authority's private key.
    pub(super) fn authority_key(&self) -> Result<Zeroizing<Vec<u8>>, ServerError> {
        secret(&*self.files, &self.folder, AUTHORITY_KEY)
    }

    /// Decides on a request. The cosignature is given only after the new state is durable, which holds it.
    pub(super) fn add_checkpoint(&self, body: &str) -> Result<String, Declined> {
        let request = AddCheckpoint::parse(body)?;
        let origin = &request.checkpoint.claimed().origin;
        let unknown = || Refusal::UnknownLog { origin: origin.clone() };
        let hash = origin_hash(origin);
        // Before a lock file is made for a log that nobody watches.
        self.load(&hash)?.ok_or_else(unknown)?;
        let _turn = self.turn(&hash)?;
        let mut log = self.load(&hash)?.ok_or_else(unknown)?;
        let newest = log.newest()?;
        let known = newest.as_ref().map(|newest| (newest.claimed().size, newest.claimed().root));
        let key = VerifierKey::parse(&log.key)
            .map_err(|error| ServerError::from(Problem::new("witness/damaged", error.to_string())))?;
        let accepted = match consider(known, &request, &key) {
            Ok(accepted) => accepted,
            Err(refusal) => {
                if let (true, Some(newest)) = (refusal.is_misbehaviour(), newest) {
                    self.keep_evidence(&hash, &mut log, &newest, &request.checkpoint)?;
                }
                return Err(refusal.into());
            }
        };
        let line = self.cosignature(&accepted)?;
        log.checkpoint = Some(with_line(&own_signatures(&request.checkpoint)?, &line)?.to_string());
        self.store(&hash, &log)?;
        Ok(line)
    }

    /// A log's file by the hash of its origin, as it is shown to monitors.
    pub(super) fn load(&self, hash: &str) -> Result<Option<WatchedLog>, ServerError> {
        let path = format!("logs/{hash}.json");
        let bytes = match self.files.read(&path) {
            Ok(bytes) => bytes,
            Err(FileError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.failed(&path, error)),
        };
        let damaged = |reason: String| {
            Problem::new("witness/damaged", format!("`{path}` is refused: {reason}"))
                .with_help("restore the newest copy; without it this log cannot be cosigned any more")
        };
        let log: WatchedLog = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if log.format != WATCHED_LOG_FORMAT {
            return Err(damaged(format!("its format is `{}`", log.format)).into());
        }
        Ok(Some(log))
    }

    fn store(&self, hash: &str, log: &WatchedLog) -> Result<(), ServerError> {
        let path = format!("logs/{hash}.json");
        let bytes = serde_json::to_vec_pretty(log).expect("a log's file has a JSON form");
        // Durable when this returns; a crash leaves the old file or the new one.
        self.files.replace(&path, &bytes).map_err(|error| self.failed(&path, error))
    }

    /// Waits until nobody else changes this log's file, this process's other threads included.
    fn turn(&self, hash: &str) -> Result<File, ServerError> {
        let folder = self.folder.join("logs");
        fs::create_dir_all(&folder).map_err(|source| failed("create", &folder, source))?;
        let path = folder.join(format!(".{hash}.lock"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(|source| failed("open", &path, source))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| failed("lock", &path, errno.into()))?;
        Ok(file)
    }

    fn keep_evidence(
        &self,
        hash: &str,
        log: &mut WatchedLog,
        cosigned: &SignedCheckpoint,
        contradicting: &SignedCheckpoint,
    ) -> Result<(), ServerError> {
        tracing::error!(origin = cosigned.claimed().origin, "a log has signed two histories");
        let contradicting = own_signatures(contradicting)?.to_string();
        let known = log.evidence.iter().any(|kept| kept.contradicting == contradicting);
        if known || log.evidence.len() >= EVIDENCE_MAX {
            return Ok(());
        }
        log.evidence.push(Evidence { received: self.clock.now(), cosigned: cosigned.to_string(), contradicting });
        self.store(hash, log)
    }

    fn cosignature(&self, checkpoint: &Checkpoint) -> Result<String, ServerError> {
        let now = Time::from_micros(self.clock.now().micros()).ok_or_else(|| {
            Problem::new("witness/clock", "the clock shows a year that cosignatures cannot carry")
                .with_help("set the clock")
        })?;
        Ok(checkpoint.cosign(&self.verifier, now, |text| {
            self.key.sign(text).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
        }))
    }

    fn cosigned(&self, signed: &SignedCheckpoint, checkpoint: &Checkpoint) -> Result<SignedCheckpoint, ServerError> {
        with_line(&own_signatures(signed)?, &self.cosignature(checkpoint)?)
    }

    fn failed(&self, path: &str, error: FileError) -> ServerError {
        file_failed(&self.folder.join(path), error)
    }
}

/// A checkpoint with the log's own signatures only: others were not checked and could fill the file.
fn own_signatures(signed: &SignedCheckpoint) -> Result<SignedCheckpoint, ServerError> {
    let own = format!("\u{2014} {} ", signed.claimed().origin);
    let lines = signed.as_str().lines().filter(|line| line.starts_with(&own));
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    let note = format!("{}\n{lines}", signed.claimed().text());
    SignedCheckpoint::parse(&note).map_err(|error| Problem::new("witness/damaged", error.to_string()).into())
}

fn with_line(signed: &SignedCheckpoint, line: &str) -> Result<SignedCheckpoint, ServerError> {
    signed.with_signatures(line).map_err(|error| Problem::new("witness/damaged", error.to_string()).into())
}

fn keys(name: &str, seed: &[u8]) -> Result<(Ed25519KeyPair, VerifierKey), ServerError> {
    let unusable = || Problem::new("witness/key", "the witness's key is not the 32 bytes that were stored");
    let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| unusable())?;
    let public = key.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
    let verifier = VerifierKey::new(KeyKind::Witness, name, public).map_err(|error| {
        Problem::new("witness/name", error.to_string()).with_help("name it like `witness.example.com/w1`")
    })?;
    Ok((key, verifier))
}

/// Reads a file of hexadecimal digits that holds a secret.
fn secret(files: &dyn Files, folder: &Path, path: &str) -> Result<Zeroizing<Vec<u8>>, ServerError> {
    let text = Zeroizing::new(files.read(path).map_err(|error| file_failed(&folder.join(path), error))?);
    let plain = hex::decode(text.trim_ascii()).map(Zeroizing::new);
    plain.map_err(|_| Problem::new("witness/key", format!("`{path}` does not hold what was stored")).into())
}

fn open_platform(folder: &Path) -> Result<Platform, ServerError> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(|source| failed("create", parent, source))?;
    }
    Platform::system(folder).map_err(|error| file_failed(folder, error))
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> ServerError {
    ServerError::Io { action, path: path.to_owned(), source }
}
