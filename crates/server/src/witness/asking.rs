//! The server's side: every checkpoint goes to every witness, and one that has seen another history halts the log.
//!
//! A witness that is down, slow or confused costs nothing but its cosignature: requests never wait for one. A witness that
//! shows a checkpoint which this log signed and does not continue is another matter: then somebody put an older copy of the
//! log back, or there are two of it. Before a start nothing is appended, later the log is halted, until an operator
//! declares a fork. A claim without such a checkpoint stops nothing, so that no witness can stop a log by lying.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use creta_audit::{AuditError, Log};
use creta_identity::recovery::LeftBehind;
use creta_model::{Instant, Problem};
use creta_platform::{FileError, Files, Platform};
use creta_proof::witness::AddCheckpoint;
use creta_proof::{Hash, SignedCheckpoint, VerifierKey};
use tokio::sync::watch;

use super::client::{Reply, WitnessClient};
use super::fork::{ForkNotice, declare, is_declared};
use crate::config::WitnessConfig;
use crate::http::App;
use crate::problem::from_audit;
use crate::tls::Issued;

/// Longest wait before a witness that failed is asked again.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Questions to one witness about one checkpoint: where it stands, the proof from there, and once more if it moved.
const ATTEMPTS_MAX: usize = 4;

/// The witnesses of a log.
pub(crate) struct Witnesses {
    each: Vec<Witness>,
    files: Arc<dyn Files>,
    newest: watch::Sender<Option<SignedCheckpoint>>,
}

struct Witness {
    url: String,
    key: VerifierKey,
    client: RwLock<Arc<WitnessClient>>,
    ca: PathBuf,
    /// Where its newest cosigned checkpoint is kept.
    path: String,
    standing: Mutex<Standing>,
}

/// What is known about a witness.
#[derive(Default)]
struct Standing {
    /// Size of what it cosigned last.
    known: Option<u64>,
    /// That, with its cosignature.
    cosigned: Option<SignedCheckpoint>,
    failures: u32,
}

/// What came of asking a witness.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It cosigned the newest checkpoint, now or before.
    Cosigned,
    /// There is nothing to cosign yet.
    Nothing,
    /// It knows the history that a fork notice left, and has not accepted the notice yet.
    ForkDeclared,
    /// It did not, and is to be asked again later.
    Failed(String),
    /// It has seen another history of this log.
    OtherHistory(Box<Problem>),
}

impl Asked {
    /// The label of a metric.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Cosigned => "cosigned",
            Self::Nothing => "nothing",
            Self::ForkDeclared => "fork-declared",
            Self::Failed(_) => "failed",
            Self::OtherHistory(_) => "other-history",
        }
    }
}

impl Witnesses {
    /// Those of the configuration. Does not talk to them yet.
    /// `own` says who this server is, for those of its own organisation that let nobody else in.
    pub(crate) fn new(
        configs: &[WitnessConfig],
        folder: &Path,
        platform: &Platform,
        own: &Issued,
    ) -> Result<Self, Problem> {
        let each = configs.iter().map(|config| Witness::new(config, folder, own)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { each, files: Arc::clone(&platform.files), newest: watch::Sender::new(None) })
    }

    /// Shows them a newer certificate from now on.
    pub(crate) fn show(&self, own: &Issued) -> Result<(), Problem> {
        self.each.iter().try_for_each(|witness| {
            let client = client(&witness.url, &witness.ca, own)?;
            *witness.client.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(client);
            Ok(())
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.each.len()
    }

    /// Name and address of each, for the inventory.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&str, &str)> {
        self.each.iter().map(|witness| (witness.key.name(), witness.url.as_str()))
    }

    /// Name of each, and when it last cosigned, if it ever did.
    pub(crate) fn cosigned_at(&self) -> impl Iterator<Item = (&str, Option<Instant>)> {
        self.each.iter().map(|witness| {
            let standing = witness.standing();
            let time = standing.cosigned.as_ref().and_then(|signed| signed.cosigned(&witness.key).ok());
            (witness.key.name(), time.and_then(|time| Instant::from_micros(time.micros()).ok()))
        })
    }

    /// Asks all of them what they saw of this log, before anything is appended or signed. Those that do not answer are
    /// asked again later; what they cosigned in earlier runs counts too.
    pub(crate) fn check_at_start(&self, log: &Log) -> Result<(), Problem> {
        for (witness, shown) in self.each.iter().zip(self.shown(log)) {
            match shown {
                Ok(Some(shown)) if !witness.vouches(log, &shown)? => {
                    tracing::warn!(
                        witness = witness.key.name(),
                        "it shows a checkpoint that this log and it did not sign"
                    );
                }
                Ok(Some(shown)) if witness.refuses(log, &shown)? => return Err(other_history(log, witness, &shown)),
                Ok(Some(shown)) => witness.standing().known = Some(shown.claimed().size),
                Ok(None) => {}
                Err(reason) => {
                    tracing::warn!(witness = witness.key.name(), reason, "it cannot be asked what it saw of this log");
                }
            }
            let Some(kept) = self.load(witness)? else { continue };
            if !witness.vouches(log, &kept)? {
                tracing::warn!(witness = witness.key.name(), "a kept cosignature is not of this log and is left out");
            } else if witness.refuses(log, &kept)? {
                return Err(other_history(log, witness, &kept));
            } else {
                witness.standing().cosigned = Some(kept);
            }
        }
        Ok(())
    }

    /// Records, for each witness that has seen another history, that the log goes on without it; see `fork`. All of them
    /// must answer, since each has a head of its own. Empty when none has.
    pub(crate) fn declare_forks(&self, log: &Log, reason: &str) -> Result<Vec<ForkNotice>, Problem> {
        let declared = self.disagreeing(log)?.into_iter().map(|(witness, shown)| {
            let notice = declare(log, &witness.key, &shown, reason).map_err(|e| from_audit(&e))?;
            // What it cosigned before is of the history that is left.
            match self.files.delete(&witness.path) {
                Ok(()) | Err(FileError::NotFound { .. }) => Ok(notice),
                Err(error) => Err(crate::problem::logged("a kept cosignature cannot be removed", &error)),
            }
        });
        declared.collect()
    }

    /// What would be left behind if the log went on: the newest checkpoint of each witness that has seen another history.
    pub(crate) fn left_behind(&self, log: &Log) -> Result<Vec<LeftBehind>, Problem> {
        let left = |(witness, shown): (&Witness, SignedCheckpoint)| LeftBehind {
            witness: witness.key.to_string(),
            size: shown.claimed().size,
            root: shown.claimed().root.to_base64(),
        };
        Ok(self.disagreeing(log)?.into_iter().map(left).collect())
    }

    /// The witnesses that have seen another history, each with what it cosigned last. All of them must answer.
    fn disagreeing(&self, log: &Log) -> Result<Vec<(&Witness, SignedCheckpoint)>, Problem> {
        let mut disagreeing = Vec::new();
        for (witness, shown) in self.each.iter().zip(self.shown(log)) {
            let shown = shown.map_err(|reason| {
                Problem::new(
                    "audit/witness-silent",
                    format!("witness `{}` does not answer: {reason}", witness.key.name()),
                )
                .with_help("the notice names the checkpoint that it knows; try again when it runs")
            })?;
            let Some(shown) = shown.filter(|shown| witness.vouches(log, shown).unwrap_or(false)) else { continue };
            let continues = log.root(shown.claimed().size).is_ok_and(|root| root == shown.claimed().root);
            if !continues {
                disagreeing.push((witness, shown));
            }
        }
        Ok(disagreeing)
    }

    /// What each of them cosigned last, asked at the same time.
    fn shown(&self, log: &Log) -> Vec<Result<Option<SignedCheckpoint>, String>> {
        let origin = log_origin(log);
        let ask = |witness: &Witness| witness.client().newest(&origin);
        let ask = &ask;
        std::thread::scope(|threads| {
            let asking: Vec<_> = self.each.iter().map(|witness| threads.spawn(move || ask(witness))).collect();
            asking
                .into_iter()
                .map(|asked| asked.join().unwrap_or_else(|_| Err("asking it failed".to_owned())))
                .collect()
        })
    }

    /// The newest checkpoint, for whoever asks the witnesses.
    pub(crate) fn publish(&self, signed: SignedCheckpoint) {
        self.newest.send_replace(Some(signed));
    }

    /// The newest checkpoint that a witness cosigned, with the cosignatures of all that did.
    pub(crate) fn cosigned(&self) -> Option<SignedCheckpoint> {
        let each: Vec<SignedCheckpoint> = self.each.iter().filter_map(|w| w.standing().cosigned.clone()).collect();
        let newest = each.iter().max_by_key(|signed| signed.claimed().size)?.clone();
        let same = each.iter().filter(|signed| signed.claimed() == newest.claimed());
        // A note that cannot take more lines is one with fewer cosignatures.
        Some(same.fold(newest.clone(), |all, one| all.with_signatures(signatures(one)).unwrap_or(all)))
    }

    /// Asks every witness once to cosign what was published last, at the same time.
    pub(crate) fn ask_all(&self, log: &Log) -> Vec<Asked> {
        std::thread::scope(|threads| {
            let asking: Vec<_> =
                (0..self.each.len()).map(|index| threads.spawn(move || self.ask(index, log))).collect();
            let failed = |_| Asked::Failed("asking it failed".to_owned());
            asking.into_iter().map(|asked| asked.join().unwrap_or_else(failed)).collect()
        })
    }

    /// Asks one witness to cosign what was published last, and halts the log if it has seen another history.
    pub(crate) fn ask(&self, index: usize, log: &Log) -> Asked {
        let Some(newest) = self.newest.borrow().clone() else { return Asked::Nothing };
        let witness = &self.each[index];
        let asked = match self.try_ask(witness, log, &newest) {
            Ok(asked) => asked,
            Err(AuditError::Halted { .. }) => Asked::Nothing,
            Err(error) => Asked::Failed(error.to_string()),
        };
        let name = witness.key.name();
        match &asked {
            Asked::Failed(reason) => {
                witness.standing().failures += 1;
                tracing::warn!(witness = name, reason, "a checkpoint was not cosigned");
            }
            Asked::OtherHistory(problem) => {
                tracing::error!(witness = name, %problem, "the log is halted");
                log.halt(&problem.message);
            }
            Asked::ForkDeclared => tracing::warn!(witness = name, "it has not accepted the fork notice yet"),
            Asked::Cosigned | Asked::Nothing => witness.standing().failures = 0,
        }
        asked
    }

    fn try_ask(&self, witness: &Witness, log: &Log, newest: &SignedCheckpoint) -> Result<Asked, AuditError> {
        let size = newest.claimed().size;
        if witness.standing().cosigned.as_ref().is_some_and(|signed| signed.claimed() == newest.claimed()) {
            return Ok(Asked::Cosigned);
        }
        let mut old = witness.standing().known.unwrap_or(0);
        for _ in 0..ATTEMPTS_MAX {
            let proof = if old == 0 { Vec::new() } else { log.prove_consistency(old, size)? };
            let request = AddCheckpoint { old, proof, checkpoint: newest.clone() };
            let reply = match witness.client().add_checkpoint(&request) {
                Ok(reply) => reply,
                Err(reason) => return Ok(Asked::Failed(reason)),
            };
            match reply {
                Reply::Cosigned(lines) => return Ok(self.keep(witness, newest, &lines)),
                Reply::Known(known) if known <= size && known != old => old = known,
                Reply::Known(_) | Reply::NotConsistent => return witness.explain(log),
                Reply::Refused { status, reason } => {
                    return Ok(Asked::Failed(format!("it answered {status}: {reason}")));
                }
            }
        }
        Ok(Asked::Failed("it says each time that it stands elsewhere".to_owned()))
    }

    /// Keeps a cosignature that is one.
    fn keep(&self, witness: &Witness, newest: &SignedCheckpoint, lines: &str) -> Asked {
        let cosigned = newest.with_signatures(lines).and_then(|signed| signed.cosigned(&witness.key).map(|_| signed));
        let cosigned = match cosigned {
            Ok(cosigned) => cosigned,
            Err(error) => return Asked::Failed(format!("its answer is not a cosignature: {error}")),
        };
        // Two may ask at the same time: what was cosigned for an older checkpoint does not take the newer one's place.
        let size = cosigned.claimed().size;
        if witness.standing().cosigned.as_ref().is_some_and(|kept| kept.claimed().size > size) {
            return Asked::Cosigned;
        }
        if let Err(error) = self.files.replace(&witness.path, cosigned.as_str().as_bytes()) {
            tracing::warn!(witness = witness.key.name(), %error, "a cosignature could not be stored");
        }
        let mut standing = witness.standing();
        standing.known = Some(cosigned.claimed().size);
        standing.cosigned = Some(cosigned);
        Asked::Cosigned
    }

    fn load(&self, witness: &Witness) -> Result<Option<SignedCheckpoint>, Problem> {
        let bytes = match self.files.read(&witness.path) {
            Ok(bytes) => bytes,
            Err(FileError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(crate::problem::logged("a kept cosignature cannot be read", &error)),
        };
        Ok(std::str::from_utf8(&bytes).ok().and_then(|note| SignedCheckpoint::parse(note).ok()))
    }

    /// How long to wait before a witness that failed is asked again; it doubles each time.
    fn backoff(&self, index: usize) -> Duration {
        let failures = self.each[index].standing().failures;
        Duration::from_secs(1 << failures.min(6)).min(BACKOFF_MAX)
    }
}

fn client(url: &str, ca: &Path, own: &Issued) -> Result<WitnessClient, Problem> {
    WitnessClient::showing(url, ca, Some((&own.certificate, &own.key)))
}

impl Witness {
    fn new(config: &WitnessConfig, folder: &Path, own: &Issued) -> Result<Self, Problem> {
        let key = config.verifier_key().map_err(|reason| Problem::new("server/config", reason))?;
        let ca: PathBuf = folder.join(&config.ca);
        Ok(Self {
            url: config.url.clone(),
            client: RwLock::new(Arc::new(client(&config.url, &ca, own)?)),
            ca,
            path: format!("witnesses/{}", hex::encode(&Hash::of(&[config.key.as_bytes()]).as_bytes()[..8])),
            key,
            standing: Mutex::default(),
        })
    }

    fn client(&self) -> Arc<WitnessClient> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether log and witness signed a checkpoint that this witness shows.
    fn vouches(&self, log: &Log, shown: &SignedCheckpoint) -> Result<bool, Problem> {
        Ok(shown.verify(&log_key(log)?).is_ok() && shown.cosigned(&self.key).is_ok())
    }

    /// Whether a checkpoint, which both signed, is of another history than the log at hand, and no fork was declared.
    fn refuses(&self, log: &Log, seen: &SignedCheckpoint) -> Result<bool, Problem> {
        let seen = seen.claimed();
        let continues = log.root(seen.size).is_ok_and(|root| root == seen.root);
        Ok(!continues && !is_declared(log, &self.key, seen).map_err(|e| from_audit(&e))?)
    }

    /// Why it does not cosign: it has to show what it saw.
    fn explain(&self, log: &Log) -> Result<Asked, AuditError> {
        let shown = match self.client().newest(&log_origin(log)) {
            Ok(Some(shown)) => shown,
            Ok(None) => return Ok(Asked::Failed("it stands elsewhere and shows no checkpoint".to_owned())),
            Err(reason) => return Ok(Asked::Failed(reason)),
        };
        let explained = || {
            if !self.vouches(log, &shown)? {
                return Ok(Asked::Failed("it stands elsewhere and shows what this log and it did not sign".to_owned()));
            }
            let seen = shown.claimed();
            if log.root(seen.size).is_ok_and(|root| root == seen.root) {
                self.standing().known = Some(seen.size);
                return Ok(Asked::Failed("it stood elsewhere meanwhile".to_owned()));
            }
            if self.refuses(log, &shown)? {
                return Ok(Asked::OtherHistory(Box::new(other_history(log, self, &shown))));
            }
            Ok(Asked::ForkDeclared)
        };
        Ok(explained().unwrap_or_else(|problem: Problem| Asked::Failed(problem.message)))
    }
}

/// Sends every published checkpoint to one witness, for as long as the server runs.
pub(crate) async fn follow(app: Arc<App>, index: usize) {
    let mut newest = app.control.witnesses().newest.subscribe();
    loop {
        newest.mark_unchanged();
        let work = Arc::clone(&app);
        let asked = tokio::task::spawn_blocking(move || {
            let control = &work.control;
            let asked = control.witnesses().ask(index, control.log());
            work.metrics.witness(control.witnesses().each[index].key.name(), asked.as_str());
            asked
        });
        match asked.await {
            Ok(Asked::Cosigned | Asked::Nothing) => {
                if newest.changed().await.is_err() {
                    return;
                }
            }
            Ok(Asked::OtherHistory(_)) | Err(_) => return,
            Ok(Asked::ForkDeclared) => tokio::time::sleep(BACKOFF_MAX).await,
            Ok(Asked::Failed(_)) => tokio::time::sleep(app.control.witnesses().backoff(index)).await,
        }
    }
}

/// The lines of a note after its empty line.
fn signatures(signed: &SignedCheckpoint) -> &str {
    signed.as_str().rsplit_once("\n\n").map_or("", |(_, lines)| lines)
}

fn log_key(log: &Log) -> Result<VerifierKey, Problem> {
    VerifierKey::parse(&log.verifier_key()).map_err(|error| crate::problem::logged("the log's own key", &error))
}

fn log_origin(log: &Log) -> String {
    format!("creta/{}/audit", log.environment())
}

fn other_history(log: &Log, witness: &Witness, seen: &SignedCheckpoint) -> Problem {
    let (seen, name, own) = (seen.claimed(), witness.key.name(), log.size());
    let what = if seen.size > own {
        format!(
            "witness `{name}` has cosigned {} entries of this audit log, which has {own}: an older copy was put back",
            seen.size
        )
    } else {
        format!("witness `{name}` has cosigned another history of this audit log's first {} entries", seen.size)
    };
    Problem::new("audit/behind-witness", what)
        .with_note("witness", witness.url.clone(), None)
        .with_note("its root", seen.root.to_base64(), None)
        .with_help(
            "put the newest copy of the data folder back; if it is lost, stop the server, run \
             `creta audit fork --data FOLDER --reason TEXT`, and give the notice to whoever runs the witness",
        )
}
