//! `creta server`: make a data folder, serve it, ask how it is.

use std::net::SocketAddr;
use std::path::Path;

use creta_compliance::{Mode, Organisation};
use creta_model::{Environment, EnvironmentClass};
use creta_server::{Appointment, ComponentView, InitOptions, RunningServer, ServeOptions, ServerError};
use serde::{Deserialize, Serialize};

use super::connect;
use crate::args::{ComponentCommand, Connection, OrganisationMode, ServerCommand};
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, grouped};

/// In a data folder: what clients trust.
const AUTHORITY_FILE: &str = "tls/ca.pem";

pub(crate) fn run(command: ServerCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        ServerCommand::Init {
            data,
            environment,
            class,
            account,
            known,
            listen,
            organisation,
            mode,
            demonstration,
            security_contact,
        } => {
            let organisation = organisation.map(|name| Organisation {
                name,
                mode: match mode {
                    OrganisationMode::Vendor => Mode::Vendor,
                    OrganisationMode::InHouse => Mode::InHouse,
                },
                demonstration,
            });
            let mut options = InitOptions {
                class,
                account,
                known_environments: known,
                organisation,
                security_contacts: security_contact,
                ..InitOptions::default()
            };
            if let Some(listen) = listen {
                options.listen = listen;
            }
            init(&data, environment, &options, terminal)
        }
        ServerCommand::Start { data, listen } => start(&data, listen, terminal),
        ServerCommand::Component(command) => component(command, terminal),
        ServerCommand::Status(connection) => status(&connection, terminal),
        ServerCommand::Appoint { data, issuer, subject, email, roles, need } => {
            let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            let names = names.join(", ");
            let roles = roles.into_iter().collect();
            let person = creta_server::appoint(&data, &Appointment { issuer, subject, email, roles, need });
            let person = person.map_err(|error| failed(&error))?;
            terminal.show(&serde_json::json!({ "person": person }), || format!("{person}, staff: {names}"));
            Ok(())
        }
        ServerCommand::Witness(command) => super::witness::add_to_server(command, terminal),
    }
}

fn init(data: &Path, environment: String, options: &InitOptions, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let environment = Environment::parse(environment)
        .map_err(|error| Failure::usage("server/name", error.to_string(), "name another environment"))?;
    let report = creta_server::init(data, &environment, options).map_err(|error| failed(&error))?;
    terminal.show(&report, || {
        let administrator = match report.class {
            EnvironmentClass::Production => "none: appoint people with `creta server appoint`".to_owned(),
            _ => report.admin.display().to_string(),
        };
        format!(
            "made a data folder for environment `{}` of class {}\n  \
             address        {}\n  \
             authority      {}\n  \
             administrator  {}\n  \
             root key       {}   keep a copy in a safe place: nothing can be read without it\n  \
             log key        {}\n\
             next: creta server start --data {}",
            report.environment,
            report.class,
            report.url,
            report.ca.display(),
            administrator,
            report.root_key.display(),
            report.audit_verifier_key,
            report.folder.display(),
        )
    });
    Ok(())
}

fn component(command: ComponentCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        ComponentCommand::Add { name, role, data, out } => {
            let made = creta_server::add_component(&data, &name, role, &out).map_err(|error| failed(&error))?;
            terminal.show(&made, || {
                format!(
                    "`{}` is {}\n  certificate  {}   ends {}\n  key          {}   for the component alone: it is nowhere \
                     else\n  authority    {}",
                    made.component.name,
                    made.uri,
                    made.certificate.display(),
                    made.component.expires.map_or_else(String::new, |end| end.to_string()),
                    made.key.display(),
                    made.ca.display(),
                )
            });
        }
        ComponentCommand::List { data } => {
            let components = creta_server::components(&data).map_err(|error| failed(&error))?;
            terminal.show(&components, || {
                if components.is_empty() {
                    return "no components".to_owned();
                }
                components.iter().map(component_line).collect::<Vec<_>>().join("\n")
            });
        }
        ComponentCommand::Revoke { name, data } => {
            let revoked = creta_server::revoke_component(&data, &name).map_err(|error| failed(&error))?;
            terminal.show(&revoked, || component_line(&revoked));
        }
    }
    Ok(())
}

fn component_line(component: &ComponentView) -> String {
    let state = match (component.revoked, component.expires) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(end)) => format!("until {end}"),
        (None, None) => "without a certificate".to_owned(),
    };
    format!("{}  {}  {state}", component.name, component.role)
}

pub(super) fn failed(error: &ServerError) -> Failure {
    let exit = if matches!(error, ServerError::AlreadyThere { .. } | ServerError::NotADataFolder { .. }) {
        Exit::Usage
    } else {
        Exit::Failed
    };
    Failure::new(exit, error.to_problem())
}

/// Serves until interrupted; says where, once it takes connections.
fn start(data: &Path, listen: Option<SocketAddr>, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let options = ServeOptions { folder: data.to_owned(), listen };
    let said = |server: &RunningServer| {
        let authority = data.join(AUTHORITY_FILE);
        let shown = serde_json::json!({
            "url": server.url(), "ca": authority, "environment_id": server.environment_id(), "pid": std::process::id(),
            "components": server.components_address(),
        });
        terminal.show(&shown, || {
            format!("serving at {} (authority {}); ctrl-c stops it", server.url(), authority.display())
        });
    };
    creta_server::serve(&options, said).map_err(|error| failed(&error))
}

#[derive(Debug, Serialize, Deserialize)]
struct Status {
    url: String,
    status: String,
    version: String,
    environment: String,
    class: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<serde_json::Value>,
}

/// What anybody may ask, and for a service account its scope.
fn status(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, profile) = connect(connection)?;
    let health: serde_json::Value = server.get_open("/health")?;
    let ready: serde_json::Value = server.get_open("/ready")?;
    let text = |value: &serde_json::Value, name: &str| value[name].as_str().unwrap_or("unknown").to_owned();
    let status = Status {
        url: profile.url,
        status: text(&ready, "status"),
        version: text(&health, "version"),
        environment: text(&ready, "environment"),
        class: text(&ready, "class"),
        // An administrator has no scope; that is no failure of the server.
        scope: server.get("/v1/status").ok(),
    };
    terminal.show(&status, || {
        let mut lines = vec![
            format!("{} is {}", status.url, status.status),
            format!("  version      {}", status.version),
            format!("  environment  {} ({})", status.environment, status.class),
        ];
        if let Some(scope) = &status.scope {
            lines.extend(scope_lines(scope));
        }
        lines.join("\n")
    });
    Ok(())
}

fn scope_lines(scope: &serde_json::Value) -> Vec<String> {
    let number = |value: &serde_json::Value| value.as_u64().map_or("none".to_owned(), grouped);
    let mut lines = vec![
        format!("  tenant       {}", scope["scope"]["tenant"].as_str().unwrap_or("unknown")),
        format!("  revision     {}", number(&scope["revision"])),
    ];
    for (entity, rows) in scope["facts"].as_object().into_iter().flatten() {
        lines.push(format!("  facts        {} of {entity}", number(rows)));
    }
    lines
}
