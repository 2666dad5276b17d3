//! The command line of the intake of security reports.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use creta_model::{InvalidName, TenantId};

#[derive(Debug, Subcommand)]
pub(crate) enum IntakeCommand {
    /// Make an intake's data folder for a server, and name it to that server.
    Init(IntakeInit),
    /// Take reports in the foreground until interrupted. Runs on when the server does not.
    Start {
        /// The intake's data folder.
        #[arg(long, env = "CRETA_INTAKE_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// Another address than the folder's configuration names; port 0 takes a free one.
        #[arg(long, value_name = "HOST:PORT")]
        listen: Option<SocketAddr>,
    },
    /// Show the code by which a tenant's reports are known: what it marks as urgent always pages.
    Code {
        /// The intake's data folder.
        #[arg(long, env = "CRETA_INTAKE_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// Whose code.
        #[arg(long, value_name = "NAME", value_parser = tenant)]
        tenant: TenantId,
    },
    /// Send a page that says it is a test to everybody on call.
    Page {
        /// The intake's data folder.
        #[arg(long, env = "CRETA_INTAKE_DATA", value_name = "FOLDER")]
        data: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct IntakeInit {
    /// Folder to make; empty or not there yet.
    #[arg(long, env = "CRETA_INTAKE_DATA", value_name = "FOLDER")]
    pub(crate) data: PathBuf,
    /// Data folder of the server that its reports are for.
    #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
    pub(crate) server: PathBuf,
    /// What it is called in pages and in the log.
    #[arg(long, default_value = "intake", value_name = "NAME")]
    pub(crate) name: String,
    /// Address to listen on.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Name or address that people use besides the local ones; again for several.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Vec<String>,
    /// Where people find it, if not at the address it listens on: `https://...`.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Somebody on call: an `https:` address that takes pages; again for several.
    #[arg(long, value_name = "URL")]
    pub(crate) page_webhook: Vec<String>,
    /// Certificate authority of the webhooks, in PEM, if not one that the system trusts.
    #[arg(long, value_name = "FILE", requires = "page_webhook")]
    pub(crate) page_ca: Option<PathBuf>,
    /// Somebody on call: a program, named with its whole path, that gets pages on standard input; again for several.
    #[arg(long, value_name = "FILE")]
    pub(crate) page_command: Vec<String>,
}

fn tenant(text: &str) -> Result<TenantId, InvalidName> {
    TenantId::parse(text)
}
