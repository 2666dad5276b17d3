//! The command line of witnesses and monitors.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use creta_model::Span;

use super::Connection;

#[derive(Debug, Subcommand)]
pub(crate) enum WitnessCommand {
    /// Make a witness's data folder: its key and its certificate authority.
    Init {
        /// Folder to make; empty or not there yet.
        #[arg(long, env = "CRETA_WITNESS_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// What it is called in every cosignature: `witness.example.com/w1`.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Address to listen on.
        #[arg(long, value_name = "HOST:PORT")]
        listen: Option<SocketAddr>,
        /// Name or address that logs use besides the local ones; again for several.
        #[arg(long, value_name = "HOST")]
        host: Vec<String>,
    },
    /// Watch a log.
    AddLog {
        /// The witness's data folder.
        #[arg(long, env = "CRETA_WITNESS_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// The log's key, as `creta keys fingerprint` shows it.
        #[arg(long, value_name = "KEY")]
        key: String,
    },
    /// Let in components of an environment of your own organisation, and nobody who is not named so.
    Admit {
        /// The witness's data folder.
        #[arg(long, env = "CRETA_WITNESS_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// The environment's name.
        #[arg(long, value_name = "NAME")]
        environment: String,
        /// Its id, as `creta server init` showed it.
        #[arg(long, value_name = "ID")]
        environment_id: String,
        /// Its authority: the file `tls/ca.pem` of its data folder.
        #[arg(long, value_name = "FILE")]
        ca: PathBuf,
        /// A component that is let in; again for several.
        #[arg(long, value_name = "NAME", default_value = "server")]
        component: Vec<String>,
    },
    /// Serve in the foreground until interrupted.
    Start {
        /// The witness's data folder.
        #[arg(long, env = "CRETA_WITNESS_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// Another address than the folder's configuration names; port 0 takes a free one.
        #[arg(long, value_name = "HOST:PORT")]
        listen: Option<SocketAddr>,
    },
    /// Show the logs that are watched: their newest checkpoints, accepted forks, evidence.
    Status {
        /// The witness's data folder.
        #[arg(long, env = "CRETA_WITNESS_DATA", value_name = "FOLDER")]
        data: PathBuf,
    },
    /// Go on with the history that a fork notice declares.
    AcceptFork {
        /// The witness's data folder.
        #[arg(long, env = "CRETA_WITNESS_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// File that `creta audit fork` wrote.
        #[arg(value_name = "NOTICE")]
        notice: PathBuf,
    },
    /// Watch a log and its witness: read every entry once, and raise an alarm when something does not fit.
    Monitor(Monitor),
}

#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// The log's key, as `creta server init` showed it.
    #[arg(long, value_name = "KEY")]
    pub(crate) log_key: String,
    /// File that remembers what was seen; made at the first round.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: PathBuf,
    /// Address of the witness: `https://HOST:PORT`.
    #[arg(long, value_name = "URL", requires_all = ["witness_key", "witness_ca"])]
    pub(crate) witness_url: Option<String>,
    /// The witness's key, as `creta witness init` showed it.
    #[arg(long, value_name = "KEY", requires = "witness_url")]
    pub(crate) witness_key: Option<String>,
    /// The witness's certificate authority, in PEM.
    #[arg(long, value_name = "FILE", requires = "witness_url")]
    pub(crate) witness_ca: Option<PathBuf>,
    /// Certificate of a component, in PEM, for a witness that lets in nobody else.
    #[arg(long, value_name = "FILE", requires_all = ["witness_url", "witness_certificate_key"])]
    pub(crate) witness_certificate: Option<PathBuf>,
    /// Its key, in PEM.
    #[arg(long, value_name = "FILE", requires = "witness_certificate")]
    pub(crate) witness_certificate_key: Option<PathBuf>,
    /// How old the newest cosignature may be.
    #[arg(long, default_value = "3m", value_name = "SPAN", value_parser = Span::parse)]
    pub(crate) cosignature_age_max: Span,
    /// Look once, and fail if anything raises an alarm.
    #[arg(long)]
    pub(crate) once: bool,
    /// How long to wait between two rounds.
    #[arg(long, default_value = "30s", value_name = "SPAN", value_parser = Span::parse, conflicts_with = "once")]
    pub(crate) every: Span,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerWitnessCommand {
    /// Have a witness cosign the log, from the next start on.
    Add {
        /// Data folder of the server.
        #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// Address of the witness: `https://HOST:PORT`.
        #[arg(long, value_name = "URL")]
        url: String,
        /// The witness's key, as `creta witness init` showed it.
        #[arg(long, value_name = "KEY")]
        key: String,
        /// The witness's certificate authority, in PEM.
        #[arg(long, value_name = "FILE")]
        ca: PathBuf,
    },
}
