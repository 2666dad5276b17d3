//! `creta intake`: the process that takes security reports whatever happens to the server.

use creta_server::intake::{self, IntakeOptions, IntakeServeOptions, OnCall, RunningIntake};
use serde_json::json;

use super::server::failed;
use crate::args::{IntakeCommand, IntakeInit};
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, counted};

pub(crate) fn run(command: IntakeCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        IntakeCommand::Init(asked) => init(asked, terminal),
        IntakeCommand::Start { data, listen } => {
            let options = IntakeServeOptions { folder: data, listen };
            let said = |intake: &RunningIntake| {
                let form = format!("{}/trust/report/", intake.url());
                let shown = json!({ "url": intake.url(), "form": form, "pid": std::process::id() });
                terminal.show(&shown, || format!("taking reports at {form}; ctrl-c stops it"));
            };
            intake::serve(&options, said).map_err(|error| failed(&error))
        }
        IntakeCommand::Code { data, tenant } => {
            let code = intake::tenant_code(&data, &tenant).map_err(|error| failed(&error))?;
            terminal.show(&json!({ "tenant": tenant, "code": code }), || code.clone());
            Ok(())
        }
        IntakeCommand::Page { data } => {
            let results = intake::page_contacts(&data).map_err(|error| failed(&error))?;
            terminal.show(&json!({ "pages": results }), || {
                let line = |result: &intake::PageResult| match &result.failed {
                    None => format!("accepted  {}", result.contact),
                    Some(why) => format!("FAILED    {}: {why}", result.contact),
                };
                results.iter().map(line).collect::<Vec<_>>().join("\n")
            });
            if results.iter().any(|result| result.failed.is_none()) {
                return Ok(());
            }
            let problem = creta_model::Problem::new("intake/nobody-paged", "nobody on call accepted the page")
                .with_help("correct `on_call` in `intake.toml` of the intake's data folder");
            Err(Failure::new(Exit::Failed, problem))
        }
    }
}

fn init(asked: IntakeInit, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let ca = asked.page_ca.as_deref().map(std::path::absolute).transpose();
    let ca = ca.map_err(|error| Failure::file("find", asked.page_ca.as_deref().unwrap_or(&asked.data), &error))?;
    let webhooks =
        asked.page_webhook.into_iter().map(|url| OnCall { webhook: Some(url), ca: ca.clone(), ..OnCall::default() });
    let commands = asked.page_command.into_iter().map(|file| OnCall { command: vec![file], ..OnCall::default() });
    let mut options = IntakeOptions {
        name: asked.name,
        names: asked.host,
        url: asked.url,
        on_call: webhooks.chain(commands).collect(),
        ..IntakeOptions::default()
    };
    options.listen = asked.listen.unwrap_or(options.listen);
    let made = intake::init(&asked.data, &asked.server, &options).map_err(|error| failed(&error))?;
    terminal.show(&made, || {
        format!(
            "made an intake of security reports\n  form       {}\n  authority  {}\n  on call    {}\n\
             the server takes its reports from its next start on\nnext: creta intake start --data {}",
            made.form,
            made.ca.display(),
            counted(made.on_call as u64, "contact", "contacts"),
            made.folder.display(),
        )
    });
    Ok(())
}
