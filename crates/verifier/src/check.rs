//! What each command checks, and how it says what it found.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use creta_proof::export::{Demands, ExportReport};
use creta_proof::pack::PackError;
use creta_proof::witness::{Witnessed, require_witnessed};
use creta_proof::{Checkpoint, ConsistencyProof, ExportedLog, InclusionProof, ProofError, SignedCheckpoint};
use serde::Serialize;

use crate::args::{Command, Log};
use crate::pack::PackVerified;

/// Why a command does not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was given does not verify, or is not what it claims to be.
    #[error(transparent)]
    NotVerified(#[from] ProofError),
    /// The pack does not verify, or is not one.
    #[error("{}", crate::pack::with_cause(.0))]
    Pack(PackError),
    /// The command was not given what it needs.
    #[error("{message}")]
    Usage { message: String },
}

impl Failure {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotVerified(error) => error.code(),
            Self::Pack(error) => error.code(),
            Self::Usage { .. } => "usage",
        }
    }
}

/// What was found to be true.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Verified {
    Log(ExportReport),
    Proof { checkpoint: Checkpoint, index: u64, entry: serde_json::Value, witnessed: Vec<Witnessed> },
    Consistency { old: Checkpoint, new: Checkpoint, witnessed: Vec<Witnessed> },
    Pack(Box<PackVerified>),
    Witnessed { checkpoint: Checkpoint, witnessed: Vec<Witnessed> },
}

pub(crate) fn check(command: &Command) -> Result<Verified, Failure> {
    match command {
        Command::Log(log) => check_log(log),
        Command::Proof { file, log, witnesses } => {
            let proof = InclusionProof::parse(&read(file)?)?;
            let checkpoint = proof.verify(&log.key)?;
            let witnessed = require_witnessed(&proof.checkpoint, &witnesses.witness, witnesses.witnessed_after)?;
            let entry = serde_json::from_slice(&proof.entry).expect("a verified entry is JSON");
            Ok(Verified::Proof { checkpoint, index: proof.index, entry, witnessed })
        }
        Command::Consistency { file, log, witnesses } => {
            let proof = ConsistencyProof::parse(&read(file)?)?;
            let (old, new) = proof.verify(&log.key)?;
            let witnessed = require_witnessed(&proof.new, &witnesses.witness, witnesses.witnessed_after)?;
            Ok(Verified::Consistency { old, new, witnessed })
        }
        Command::Pack(pack) => Ok(Verified::Pack(Box::new(crate::pack::check_pack(pack)?))),
        Command::Witnessed { file, log, witness, witnessed_after } => {
            let signed = SignedCheckpoint::parse(&read(file)?)?;
            let checkpoint = signed.verify(&log.key)?;
            let witnessed = require_witnessed(&signed, witness, *witnessed_after)?;
            Ok(Verified::Witnessed { checkpoint, witnessed })
        }
    }
}

fn check_log(log: &Log) -> Result<Verified, Failure> {
    require_folder(&log.folder)?;
    let since = match &log.since {
        Some(file) => Some(
            SignedCheckpoint::parse(&read(file)?)
                .map_err(|error| Failure::Usage { message: format!("`{}`: {error}", file.display()) })?,
        ),
        None => None,
    };
    let demands = Demands {
        since,
        witnesses: log.witnesses.witness.clone(),
        witnessed_after: log.witnesses.witnessed_after,
        set_backs_accepted: log.accept_set_back.clone(),
    };
    Ok(Verified::Log(ExportedLog::new(&log.folder).verify(&log.log.key, &demands)?))
}

pub(crate) fn require_folder(folder: &Path) -> Result<(), Failure> {
    if folder.is_dir() {
        return Ok(());
    }
    let message = format!("`{}` is not a folder; name one that `creta audit export` wrote", folder.display());
    Err(Failure::Usage { message })
}

fn read(file: &Path) -> Result<String, Failure> {
    let bytes = fs::read(file)
        .map_err(|error| Failure::Usage { message: format!("`{}` cannot be read: {error}", file.display()) })?;
    String::from_utf8(bytes).map_err(|_| ProofError::ProofFile { rule: "it is not text" }.into())
}

impl Verified {
    pub(crate) fn text(&self) -> String {
        let (mut text, witnessed) = match self {
            Self::Log(report) => (log_text(report), &report.witnessed),
            Self::Proof { checkpoint, index, entry, witnessed } => {
                let Checkpoint { origin, size, .. } = checkpoint;
                (format!("verified: entry {index} is in the {size} entries of {origin}\n{entry:#}"), witnessed)
            }
            Self::Consistency { old, new, witnessed } => {
                let (old, Checkpoint { origin, size, root }) = (old.size, new);
                (
                    format!("verified: the {size} entries of {origin} begin with its first {old}\n  root     {root}"),
                    witnessed,
                )
            }
            Self::Pack(pack) => (pack.text(), &pack.witnessed),
            Self::Witnessed { checkpoint, witnessed } => {
                let Checkpoint { origin, size, root } = checkpoint;
                (format!("verified: the checkpoint of {origin} at {size} entries\n  root     {root}"), witnessed)
            }
        };
        for Witnessed { witness, time } in witnessed {
            write!(text, "\n  witness  {witness} at {time}").expect("a text takes more text");
        }
        text
    }
}

fn log_text(report: &ExportReport) -> String {
    let log = &report.log;
    let mut text = format!("verified: all {} entries of {}", log.entries, report.origin);
    if let (Some(first), Some(last)) = (log.first_time, log.last_time) {
        write!(text, "\n  time     {first} to {last}").expect("a text takes more text");
    }
    write!(text, "\n  root     {}", log.root).expect("a text takes more text");
    if let Some(since) = report.since {
        write!(text, "\n  since    continues the checkpoint at {since} entries").expect("a text takes more text");
    } else if report.witnessed.is_empty() {
        text += "\n  since    not asked: that no older copy was put back shows only with --since or --witness";
    }
    if !log.clock_set_back.is_empty() {
        write!(text, "\n  clock    set back before entries {:?}, as accepted", log.clock_set_back)
            .expect("a text takes more text");
    }
    text
}
