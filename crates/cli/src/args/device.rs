//! Arguments of `creta device`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::{AccessItem, Connection};

/// The computers that you work from.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Enrol this computer: makes its key and tells the server who it is.
    Enrol {
        /// What you call it.
        #[arg(long)]
        name: String,
        /// The serial number, as the manufacturer wrote it: how exports of other tools name this computer.
        #[arg(long)]
        serial: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Look at how this computer is set up, tell the server, and put your session on it.
    Report(Connection),
    /// Show devices and what they are worth now.
    List {
        /// Somebody else's, if you may revoke their access.
        #[arg(long)]
        person: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show this computer: what it is worth now, and what is not as it has to be.
    Status(Connection),
    /// End a device and the sessions on it.
    Revoke(AccessItem),
    /// Tell the server what another tool says about devices.
    Import(DeviceImport),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("tool").required(true)))]
pub(crate) struct DeviceImport {
    /// Results of osquery for one device, in JSON.
    #[arg(long, value_name = "FILE", group = "tool")]
    pub(crate) osquery: Option<PathBuf>,
    /// Export of a device management tool: CSV, or JSON if the file's name ends with `.json`.
    #[arg(long, value_name = "FILE", group = "tool")]
    pub(crate) mdm: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
