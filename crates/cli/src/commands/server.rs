//! `creta server`: make a data folder, serve it, ask how it is.

use std::net::SocketAddr;
use std::path::Path;

use creta_model::Environment;
use creta_server::{InitOptions, ServerError};

use super::connect;
use crate::args::{Connection, ServerCommand};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

pub(crate) fn run(command: ServerCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        ServerCommand::Init { data, environment, listen } => init(&data, environment, listen, terminal),
        ServerCommand::Start { data, listen } => start(&data, listen, terminal),
        ServerCommand::Status(connection) => status(&connection, terminal),
    }
}

fn init(
    data: &Path,
    environment: String,
    listen: Option<SocketAddr>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let environment = Environment::parse(environment)
        .map_err(|error| Failure::usage("server/name", error.to_string(), "name another environment"))?;
    let mut options = InitOptions::default();
    if let Some(listen) = listen {
        options.listen = listen;
    }
    let report = creta_server::init(data, &environment, &options).map_err(|error| failed(&error))?;
    terminal.show(&report, || {
        format!(
            "made a data folder for environment `{}`\n  \
             address        {}\n  \
             authority      {}\n  \
             administrator  {}\n  \
             root key       {}   keep a copy in a safe place: nothing can be read without it\n  \
             log key        {}\n\
             next: creta server start --data {}",
            report.environment,
            report.url,
            report.ca.display(),
            report.admin.display(),
            report.root_key.display(),
            report.audit_verifier_key,
            report.folder.display(),
        )
    });
    Ok(())
}

fn failed(error: &ServerError) -> Failure {
    let exit = if matches!(error, ServerError::AlreadyThere { .. } | ServerError::NotADataFolder { .. }) {
        Exit::Usage
    } else {
        Exit::Failed
    };
    Failure::new(exit, error.to_problem())
}

/// Serves until SIGINT or SIGTERM; says where, once it listens.
fn start(data: &Path, listen: Option<SocketAddr>, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    todo!()
}

fn status(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    todo!()
}
