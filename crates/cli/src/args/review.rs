//! Arguments of `creta review`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::Connection;

/// Reviews of access.
#[derive(Debug, Subcommand)]
pub(crate) enum ReviewCommand {
    /// Show all reviews. They open by themselves each quarter.
    List(Connection),
    /// Show what is under review, and what still has to be decided.
    Show {
        /// Id, as `creta review list` shows it.
        id: String,
        /// Only what lacks a decision or a refused trial.
        #[arg(long)]
        undone: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Keep or revoke what somebody or something holds, as it is now. A revocation takes effect at once.
    Decide {
        /// Id of the review.
        id: String,
        /// Who or what, as `creta review show` names it: `person:ana@example.com`.
        subject: String,
        /// How.
        #[arg(long, value_enum)]
        verdict: ReviewVerdict,
        /// Why, in a sentence.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Close a review in which nothing is undone; else show what is.
    Close {
        /// Id of the review.
        id: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Write the result of a closed review, with the proof that the log holds its digest.
    Export {
        /// Id of the review.
        id: String,
        /// Folder to write `result.json` and `result.tlog-proof` into.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
    /// Check an exported result without a server.
    Check {
        /// Folder that `creta review export` wrote.
        folder: PathBuf,
        /// The log's key, as `creta server init` showed it.
        #[arg(long, value_name = "KEY")]
        key: String,
    },
}

/// What is decided on a line of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReviewVerdict {
    /// It keeps its rights.
    Keep,
    /// It loses them, at once.
    Revoke,
}
