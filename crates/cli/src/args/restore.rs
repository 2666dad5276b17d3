//! Arguments of `creta backup` and `creta restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Connection;

/// Copies of everything that an environment has sealed, without any key.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Fetch a copy from a running server, as a service account with the role `backup`.
    Write {
        /// Folder to make; it must not be there, or be empty.
        folder: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
    /// Compare a copy with its manifest, without a server or a key.
    Verify {
        /// Folder that `write` made.
        folder: PathBuf,
    },
}

/// Going on from an older copy, which two people approve.
#[derive(Debug, Subcommand)]
pub(crate) enum RestoreCommand {
    /// Make a recovery key of your own and register it, while all is well.
    Key {
        /// File for the key, which only you can read. Keep it where you can reach it when nothing else works.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
    /// Your recovery keys, and how many people could approve a restore.
    Keys(Connection),
    /// End a recovery key of yours.
    End {
        /// The key, as `keys` shows it.
        key: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Draw the statement that two people approve. The server must not run.
    Draw(RestoreDraw),
    /// Look at a statement; with the first digits of its digest, sign it with your recovery key. Needs no server.
    Approve {
        /// The statement.
        statement: PathBuf,
        /// Your recovery key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// File for the approval.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// At least eight digits that the digest begins with, once you looked at it. Without them nothing is signed.
        #[arg(long, value_name = "DIGITS")]
        digest: Option<String>,
    },
    /// Do what a statement says. The server must not run.
    Run {
        /// The statement.
        statement: PathBuf,
        /// Data folder.
        #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// An approval; named twice.
        #[arg(long = "approval", value_name = "FILE")]
        approvals: Vec<PathBuf>,
        /// The backup's folder, for a restore.
        #[arg(long, value_name = "FOLDER")]
        copy: Option<PathBuf>,
        /// Folder to write the notices of a fork to.
        #[arg(long, default_value = ".", value_name = "FOLDER")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RestoreDraw {
    /// Data folder.
    #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
    pub(crate) data: PathBuf,
    /// Put stores of this backup in place. Without it, what stands in the data folder goes on.
    #[arg(long, value_name = "FOLDER", conflicts_with = "fork")]
    pub(crate) copy: Option<PathBuf>,
    /// The log goes on, although witnesses have seen another history of it.
    #[arg(long, conflicts_with = "tenant")]
    pub(crate) fork: bool,
    /// Whose stores [default: all of a backup; without one the control plane's documents].
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Why, for the people who approve it. The log keeps its digest.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// File for the statement.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}
