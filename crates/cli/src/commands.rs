//! One module per command or family of commands; this is where they are told apart.

mod access;
mod accounts;
mod analysis;
mod audit;
mod backup;
mod break_glass;
mod browser;
mod changes;
mod dataset;
mod declassify;
mod device;
mod ingest;
mod init;
mod intake;
mod keys;
mod leakage;
mod login;
mod policies;
mod project;
mod query;
mod restore;
mod review;
mod rows;
mod server;
mod signed;
mod statistics;
mod synth;
mod train;
mod trust;
mod verify;
mod witness;

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use clap::CommandFactory;

use crate::args::{Cli, Command, Connection};
use crate::failure::Failure;
use crate::http::Server;
use crate::profile::{self, Profile};
use crate::terminal::Terminal;

pub(crate) fn run(command: Command, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        Command::Init(init) => init::run(&init, terminal),
        Command::Server(command) => server::run(command, terminal),
        Command::Keys(command) => keys::run(command, terminal),
        Command::Login(login) => login::run(login, terminal),
        Command::Logout(connection) => access::logout(&connection, terminal),
        Command::Password(connection) => access::password(&connection, terminal),
        Command::Whoami(connection) => access::whoami(&connection, terminal),
        Command::Access(command) => access::access(command, terminal),
        Command::Person(command) => access::person(command, terminal),
        Command::Session(command) => access::session(command, terminal),
        Command::Device(command) => device::run(command, terminal),
        Command::BreakGlass(command) => break_glass::run(command, terminal),
        Command::Backup(command) => backup::run(command, terminal),
        Command::Restore(command) => restore::run(command, terminal),
        Command::Review(command) => review::run(command, terminal),
        Command::Tenant(command) => accounts::tenant(command, terminal),
        Command::Canary(command) => accounts::canary(command, terminal),
        Command::ServiceAccount(command) => accounts::service_account(command, terminal),
        Command::Check(check) => project::check(&check, terminal),
        Command::Plan(plan) => project::plan(&plan, terminal),
        Command::Diff(deploy) => project::diff(&deploy, terminal),
        Command::Deploy(deploy) => project::deploy(&deploy, terminal),
        Command::Ingest(ingest) => ingest::run(&ingest, terminal),
        Command::Query(query) => query::run(query, terminal),
        Command::Train(train) => train::run(&train, terminal),
        Command::Dataset(command) => dataset::run(command, terminal),
        Command::Synth(synth) => synth::run(&synth, terminal),
        Command::Statistics(statistics) => statistics::run(&statistics, terminal),
        Command::Verify(verify) => verify::run(&verify, terminal),
        Command::Audit(command) => audit::run(command, terminal),
        Command::Witness(command) => witness::run(command, terminal),
        Command::Trust(command) => trust::run(command, terminal),
        Command::Intake(command) => intake::run(command, terminal),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "creta", &mut script);
            terminal.print(&String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}

/// The server that a profile names, and the profile.
fn connect(connection: &Connection) -> Result<(Server, Profile), Failure> {
    let profile = profile::require(&profile::default_file()?, &connection.profile)?;
    Ok((Server::new(profile.clone())?, profile))
}

/// Batches of one schema as an Arrow IPC stream, the form of bulk bodies. There must be at least one.
fn arrow_stream(batches: &[RecordBatch]) -> Result<Vec<u8>, Failure> {
    let schema = batches.first().expect("a table has at least one batch").schema();
    let mut bytes = Vec::new();
    let written = StreamWriter::try_new(&mut bytes, &schema).and_then(|mut writer| {
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.finish()
    });
    written.map_err(|error| {
        Failure::usage(
            "file/not-sendable",
            format!("the table cannot be sent: {error}"),
            "check the types of its columns",
        )
    })?;
    Ok(bytes)
}
