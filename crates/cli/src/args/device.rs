//! Arguments of `creta device`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::Connection;

/// The computers that you work from.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Enrol this computer: makes its key, in the TPM where there is one, and reports how the computer is set up.
    Enrol {
        /// What you call it.
        #[arg(long)]
        name: String,
        /// The serial number, as the manufacturer wrote it: how exports of other tools name this computer.
        #[arg(long)]
        serial: Option<String>,
        /// Keep the key in a file although there is a TPM. Production refuses such a computer.
        #[arg(long)]
        software: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show the thumbprint by which a server knows this computer's TPM (`attesters` in its `config.toml`).
    Attester,
    /// Look at how this computer is set up and tell the server, once.
    Report(Connection),
    /// Report by itself, again and again, with nobody signed in.
    Agent(DeviceAgent),
    /// Show devices and what they are worth now.
    List {
        /// Somebody else's, if you may revoke their access.
        #[arg(long)]
        person: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show this computer: what it is worth now, what is not as it has to be, and how to mend it.
    Status(Connection),
    /// Let this computer vouch for your browser, which opens: pages then count as this computer for some hours.
    Browser {
        /// Show the address instead of opening it.
        #[arg(long)]
        no_browser: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// End a device and the sessions on it.
    Revoke(DeviceItem),
    /// Tell the server what another tool says about devices.
    Import(DeviceImport),
}

#[derive(Debug, Args)]
pub(crate) struct DeviceItem {
    /// Id, as `creta device list` shows it.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceAgent {
    /// Report once and end, for a timer.
    #[arg(long, conflicts_with = "install")]
    pub(crate) once: bool,
    /// Minutes between two reports, give or take a tenth.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=720))]
    pub(crate) interval_minutes: u32,
    /// Write units for your systemd that report by a timer, and say how to start them.
    #[arg(long)]
    pub(crate) install: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
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
