//! The command line of trust.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use creta_model::Instant;

use super::Connection;

/// Whom an organisation serves.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OrganisationMode {
    /// Other organisations, its customers.
    Vendor,
    /// Itself.
    InHouse,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Show every commitment with its state and the reason.
    Status {
        /// Fail when a commitment is failing, stale or unknown.
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Run checks now, all of them or those named.
    Run {
        /// Check to run.
        #[arg(value_name = "CHECK")]
        check: Vec<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show what runs beside what was declared.
    Inventory {
        /// Declare what runs now.
        #[arg(long)]
        declare: bool,
        /// Who is accountable for what is declared.
        #[arg(long, requires = "declare", value_name = "ROLE")]
        owner: Option<String>,
        /// Where it stands.
        #[arg(long, requires = "declare", value_name = "REGION")]
        region: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Answer reports of security issues.
    #[command(subcommand)]
    Reports(TrustReportsCommand),
    /// The security contact (RFC 9116), and its signature.
    #[command(subcommand)]
    SecurityTxt(SecurityTxtCommand),
    /// What somebody outside issued: reports, certificates, letters.
    #[command(subcommand)]
    Artefact(ArtefactCommand),
    /// Exceptions to commitments: proposed by one, approved by another, for at most 90 days.
    #[command(subcommand)]
    Exception(ExceptionCommand),
    /// Write an evidence pack for an auditor: raw outputs, proofs, population, and a sample drawn with their seed.
    Pack(Pack),
    /// Write the commitments and their states as OSCAL documents.
    Oscal {
        /// Folder to write to; its files must not exist.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ArtefactCommand {
    /// Record one. Its digest is in the log before the file is stored.
    Add(ArtefactAdd),
    /// Show what was recorded, and whether it counts.
    List(Connection),
    /// Show one, or write its file.
    Show {
        /// Its name.
        id: String,
        /// File to write it to; must not exist.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ArtefactAdd {
    /// What it shows to be kept, for example `CI-05`.
    #[arg(long, value_name = "ID")]
    pub(crate) commitment: String,
    /// Which of the artefacts that the commitment needs, if it needs several.
    #[arg(long, value_name = "NAME")]
    pub(crate) kind: Option<String>,
    /// Who issued it: somebody else than this organisation.
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: String,
    /// The day on which it was issued.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(crate) issued: Instant,
    /// The first day on which it is good for nothing.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(crate) expires: Instant,
    /// First day of the period that it speaks of.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(crate) scope_from: Instant,
    /// First day after that period.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(crate) scope_to: Instant,
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExceptionCommand {
    /// Propose one. It holds when somebody else approves it.
    Propose {
        /// What it excepts from.
        #[arg(long, value_name = "ID")]
        commitment: String,
        /// Why, in a sentence.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// When it ends, at most 90 days from now.
        #[arg(long, value_name = "DAY", value_parser = day)]
        until: Instant,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show them, with the digest that a decision has to name.
    List(Connection),
    /// Approve one that somebody else proposed.
    Approve(ExceptionDecide),
    /// Refuse one that somebody else proposed.
    Refuse(ExceptionDecide),
}

#[derive(Debug, Args)]
pub(crate) struct ExceptionDecide {
    /// Its name.
    pub(crate) id: String,
    /// Digest of the terms that you read, as `list` showed it.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) terms: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// A day, or an instant.
fn day(text: &str) -> Result<Instant, String> {
    let whole = format!("{text}T00:00:00Z");
    let read = if text.len() == 10 { Instant::parse(&whole) } else { Instant::parse(text) };
    read.map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// Commitment, for example `CH-20`; again or with commas for several.
    #[arg(long, value_name = "ID", value_delimiter = ',', required = true)]
    pub(crate) control: Vec<String>,
    /// First instant of the period.
    #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
    pub(crate) from: Instant,
    /// First instant after the period.
    #[arg(long = "to", value_name = "INSTANT", value_parser = Instant::parse)]
    pub(crate) until: Instant,
    /// What the auditor chose, so that nobody else chose the sample.
    #[arg(long, value_name = "TEXT")]
    pub(crate) seed: String,
    /// How many subjects to draw.
    #[arg(long, default_value_t = 25, value_name = "N")]
    pub(crate) sample: u64,
    /// File to write; must not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TrustReportsCommand {
    /// Show what was reported.
    List(Connection),
    /// Tell whoever sent a report that it was read.
    Acknowledge {
        /// Reference of the report.
        reference: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Decide on a report. Decisions stay.
    Decide {
        /// Reference of the report.
        reference: String,
        /// What was decided.
        #[arg(long, value_enum)]
        verdict: ReportVerdict,
        /// Why, for whoever sent it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        connection: Connection,
    },
}

/// A decision on a report.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ReportVerdict {
    /// It is an issue and will be mended.
    Accepted,
    /// It was reported before.
    Duplicate,
    /// It is no issue.
    Rejected,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecurityTxtCommand {
    /// Print the contact as it is to be signed.
    Show(Connection),
    /// Sign it with this machine's `gpg`, check the signature, and publish both contact and key.
    Sign {
        /// The key: a fingerprint, or the address it is for.
        #[arg(long, value_name = "KEY")]
        key: String,
        #[command(flatten)]
        connection: Connection,
    },
}
