//! Arguments of `creta break-glass`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Connection;

/// The sealed emergency account, which two people open together.
#[derive(Debug, Subcommand)]
pub(crate) enum BreakGlassCommand {
    /// Name the two people who hold its halves from now on. Halves that are out end.
    Seal {
        /// A holder; named twice.
        #[arg(long = "holder", value_name = "PERSON", required = true, num_args = 1)]
        holders: Vec<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Take your own half. It is shown once: write it down and keep it where the provider's outage does not reach.
    Take {
        /// Write it into this file, which only you can read, instead of showing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Begin: show your half, sign, and wait for the other holder. Makes a profile that lasts as long as the account is open.
    Open {
        /// Why, in a sentence that says what has happened.
        #[arg(long)]
        reason: String,
        /// For how many minutes, 1 to 60.
        #[arg(long, default_value_t = 30)]
        minutes: u8,
        #[command(flatten)]
        half: HalfShown,
        /// Name of the profile that is made.
        #[arg(long, default_value = "emergency", value_name = "NAME")]
        name: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show the other half, within 15 minutes, and sign.
    Join {
        /// Id of the opening, as the other holder's terminal shows it.
        id: String,
        #[command(flatten)]
        half: HalfShown,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show who holds the halves, and every use of the account.
    Show(Connection),
    /// Close the account before its time.
    Close {
        /// Id of the opening.
        id: String,
        /// Profile to use.
        #[arg(long, default_value = "emergency", value_name = "NAME")]
        profile: String,
    },
    /// Say what you found when you looked at a use of the account. Nobody who opened it may.
    Review {
        /// Id of the opening.
        id: String,
        /// What you found.
        #[arg(long, value_enum)]
        finding: FindingArg,
        /// In a sentence.
        #[arg(long)]
        words: String,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Who shows their half.
#[derive(Debug, Args)]
pub(crate) struct HalfShown {
    /// Who you are: your id, as `creta whoami` shows it. You need no session.
    #[arg(long = "as", value_name = "PERSON")]
    pub(crate) person: String,
    /// File with your half; without it, it is read from the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) half_file: Option<PathBuf>,
}

/// What a review found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindingArg {
    /// It was needed, and what was done was what it was opened for.
    Justified,
    /// It was not.
    NotJustified,
}
