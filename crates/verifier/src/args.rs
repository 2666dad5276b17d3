//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use creta_proof::{KeyKind, Time, VerifierKey};

/// Checks exported audit logs and proofs, offline. Believes nothing but the keys it is given.
///
/// Exit codes: 0 verified, 1 not verified, 2 wrong use.
#[derive(Debug, Parser)]
#[command(name = "creta-verify", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a whole exported log: every entry, every hash, the signature.
    Log(Log),
    /// Check a proof that an entry is in the log.
    Proof {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        log: LogKey,
        #[command(flatten)]
        witnesses: Witnesses,
    },
    /// Check a proof that the log continues an older state of itself.
    Consistency {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        log: LogKey,
        #[command(flatten)]
        witnesses: Witnesses,
    },
    /// Check an evidence pack: every file, every run, and that none between others was left out.
    Pack(Pack),
    /// Check that witnesses cosigned a checkpoint.
    Witnessed {
        /// File with a signed checkpoint, such as `checkpoint` of an exported log.
        file: PathBuf,
        #[command(flatten)]
        log: LogKey,
        /// Verifier key of a witness; again for each that must have cosigned.
        #[arg(long, value_name = "VKEY", value_parser = witness_key, required = true)]
        witness: Vec<VerifierKey>,
        /// Refuse cosignatures before this time, such as `2026-03-01T12:00:00Z`.
        #[arg(long, value_name = "TIME", value_parser = time)]
        witnessed_after: Option<Time>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Folder that `creta audit export` wrote.
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) log: LogKey,
    /// An older checkpoint of this log, kept elsewhere, that it has to continue.
    #[arg(long, value_name = "FILE")]
    pub(crate) since: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) witnesses: Witnesses,
    /// Accept that this entry is earlier than the one before it; again for each.
    #[arg(long, value_name = "INDEX")]
    pub(crate) accept_set_back: Vec<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// The file that `creta trust pack` wrote.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) key: LogKey,
    /// The seed you chose: refuse a sample that was drawn with another.
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<String>,
    /// Folder of the exported log: refuse a pack that leaves out any run of it.
    #[arg(long, value_name = "DIR")]
    pub(crate) log: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) witnesses: Witnesses,
    /// Accept that this entry of the exported log is earlier than the one before it; again for each.
    #[arg(long, value_name = "INDEX", requires = "log")]
    pub(crate) accept_set_back: Vec<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct LogKey {
    /// Verifier key of the log, from somewhere else than the log itself.
    #[arg(long, value_name = "VKEY", value_parser = log_key)]
    pub(crate) key: VerifierKey,
}

#[derive(Debug, Args)]
pub(crate) struct Witnesses {
    /// Verifier key of a witness that must have cosigned; again for each.
    #[arg(long, value_name = "VKEY", value_parser = witness_key)]
    pub(crate) witness: Vec<VerifierKey>,
    /// Refuse cosignatures before this time, such as `2026-03-01T12:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "witness")]
    pub(crate) witnessed_after: Option<Time>,
}

fn log_key(text: &str) -> Result<VerifierKey, String> {
    of_kind(text, KeyKind::Log, "this is a witness's key; name the log's")
}

fn witness_key(text: &str) -> Result<VerifierKey, String> {
    of_kind(text, KeyKind::Witness, "this is a log's key; name the witness's")
}

fn of_kind(text: &str, kind: KeyKind, other: &str) -> Result<VerifierKey, String> {
    let key = VerifierKey::parse(text).map_err(|error| error.to_string())?;
    if key.kind() == kind { Ok(key) } else { Err(other.to_owned()) }
}

fn time(text: &str) -> Result<Time, String> {
    Time::parse(text).ok_or_else(|| "write a time in UTC like `2026-03-01T12:00:00Z`".to_owned())
}
