//! `creta trust`: what is promised, whether it holds, and what shows it. Needs a server, and no project.

mod contact;
mod outside;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Component, Path};

use creta_compliance::{Finding, Inventory, TrustReport, page};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::connect;
use crate::args::{Pack, ReportVerdict, TrustCommand, TrustReportsCommand};
use crate::failure::{Exit, Failure};
use crate::http::encoded;
use crate::terminal::{Align, Terminal, counted, grouped, table};

pub(crate) fn run(command: TrustCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        TrustCommand::Status { strict, connection } => {
            let (server, profile) = connect(&connection)?;
            let report: TrustReport = server.get("/v1/trust")?;
            terminal.show(&report, || format!("{}\n{}/trust/", page::text(&report).trim_end(), profile.url));
            if strict && report.needs_attention() {
                let problem = creta_model::Problem::new("trust/attention", "a commitment is failing, stale or unknown")
                    .with_help("each is named above with its reason");
                return Err(Failure::new(Exit::Failed, problem));
            }
            Ok(())
        }
        TrustCommand::Run { check, connection } => {
            let (server, _) = connect(&connection)?;
            let body = if check.is_empty() { json!({}) } else { json!({ "checks": check }) };
            let ran: RanChecks = server.post("/v1/trust/run", &body)?;
            terminal.show(&ran, || ran.to_text());
            Ok(())
        }
        TrustCommand::Inventory { declare, owner, region, connection } => {
            let (server, _) = connect(&connection)?;
            if declare {
                let declared: Inventory =
                    server.post("/v1/trust/inventory", &json!({ "owner": owner, "region": region }))?;
                let items = counted(declared.items.len() as u64, "item", "items");
                terminal.show(&declared, || {
                    format!("declared {items}\ncomplete them in `trust/inventory.toml` of the data folder")
                });
                return Ok(());
            }
            let found: Drift = server.get("/v1/trust/inventory")?;
            terminal.show(&found, || found.to_text());
            Ok(())
        }
        TrustCommand::Reports(command) => reports(command, terminal),
        TrustCommand::SecurityTxt(command) => contact::run(command, terminal),
        TrustCommand::Artefact(command) => outside::artefact(command, terminal),
        TrustCommand::Exception(command) => outside::exception(command, terminal),
        TrustCommand::Pack(asked) => pack(asked, terminal),
        TrustCommand::Oscal { out, connection } => {
            let (server, _) = connect(&connection)?;
            let given: Oscal = server.get("/v1/trust/oscal")?;
            let written = given.write(&out)?;
            let shown = json!({ "folder": out, "files": written });
            terminal.show(&shown, || format!("wrote {} to {}", counted(written, "file", "files"), out.display()));
            Ok(())
        }
    }
}

fn pack(asked: Pack, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, _) = connect(&asked.connection)?;
    let query = [
        ("controls", asked.control.join(",")),
        ("from", asked.from.to_string()),
        ("until", asked.until.to_string()),
        ("seed", asked.seed),
        ("sample", asked.sample.to_string()),
    ];
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let bytes = server.get_bytes(&format!("/v1/trust/pack?{}", query.join("&")))?;
    write_new(&asked.out, &bytes)?;
    let (file, size) = (asked.out.display(), grouped(bytes.len() as u64));
    terminal.show(&json!({ "file": asked.out, "bytes": bytes.len() }), || {
        format!("wrote {file}, {size} bytes\nto verify it: creta-verify pack {file} --key KEY")
    });
    Ok(())
}

fn reports(command: TrustReportsCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        TrustReportsCommand::List(connection) => {
            let (server, _) = connect(&connection)?;
            let listed: Reports = server.get("/v1/trust/reports")?;
            terminal.show(&listed, || listed.to_text());
        }
        TrustReportsCommand::Acknowledge { reference, connection } => {
            let (server, _) = connect(&connection)?;
            let path = format!("/v1/trust/reports/{}", encoded(&reference));
            let report: SecurityReport = server.post(&path, &json!({}))?;
            terminal.show(&report, || format!("acknowledged `{}`; whoever sent it sees that", report.title));
        }
        TrustReportsCommand::Decide { reference, verdict, reason, connection } => {
            let (server, _) = connect(&connection)?;
            let verdict = match verdict {
                ReportVerdict::Accepted => "accepted",
                ReportVerdict::Duplicate => "duplicate",
                ReportVerdict::Rejected => "rejected",
            };
            let path = format!("/v1/trust/reports/{}", encoded(&reference));
            let report: SecurityReport = server.post(&path, &json!({ "verdict": verdict, "reason": reason }))?;
            terminal.show(&report, || format!("decided on `{}`: {verdict}; decisions stay", report.title));
        }
    }
    Ok(())
}

/// OSCAL documents with the files that they refer to.
#[derive(Debug, Deserialize)]
struct Oscal {
    documents: BTreeMap<String, serde_json::Value>,
    files: BTreeMap<String, String>,
}

impl Oscal {
    /// Writes everything below a new folder. Names come from the server and stay below it.
    fn write(&self, folder: &Path) -> Result<u64, Failure> {
        let documents = self.documents.iter().map(|(name, document)| {
            (name, serde_json::to_vec_pretty(document).expect("what came as JSON has a JSON form"))
        });
        let files = self.files.iter().map(|(name, text)| (name, text.clone().into_bytes()));
        let mut written = 0;
        for (name, bytes) in documents.chain(files) {
            let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
            if !Path::new(name).components().all(plain) {
                let message = format!("the server names a file `{name}`, which does not stay in the folder");
                return Err(Failure::usage("trust/file-name", message, "ask whoever runs the server"));
            }
            write_new(&folder.join(name), &bytes)?;
            written += 1;
        }
        Ok(written)
    }
}

/// Writes a file that is not there yet, with the folders it needs.
fn write_new(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
        let mut made = std::fs::File::create_new(file)?;
        made.write_all(bytes)?;
        made.sync_all()
    });
    written.map_err(|error| {
        let message = format!("`{}` cannot be written: {error}", file.display());
        Failure::usage("file/not-written", message, "name another place with `--out`")
    })
}

/// What came of checks.
#[derive(Debug, Serialize, Deserialize)]
struct RanChecks {
    ran: Vec<Ran>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ran {
    check: String,
    outcome: String,
    subjects: u64,
    findings: Vec<Finding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    could_not: Option<String>,
    log_index: u64,
}

impl RanChecks {
    fn to_text(&self) -> String {
        let row = |ran: &Ran| {
            let why = ran.could_not.clone().or_else(|| ran.findings.first().map(|finding| finding.says.clone()));
            vec![
                ran.check.clone(),
                ran.outcome.clone(),
                ran.subjects.to_string(),
                ran.log_index.to_string(),
                why.unwrap_or_default(),
            ]
        };
        let headings = [
            ("check", Align::Left),
            ("outcome", Align::Left),
            ("subjects", Align::Right),
            ("log entry", Align::Right),
            ("why", Align::Left),
        ];
        table(&headings, &self.ran.iter().map(row).collect::<Vec<_>>())
    }
}

/// What was declared beside what runs.
#[derive(Debug, Serialize, Deserialize)]
struct Drift {
    observed: Inventory,
    declared: Option<Inventory>,
    drift: Option<Vec<Finding>>,
    #[serde(default)]
    undeclared_because: Option<String>,
}

impl Drift {
    fn to_text(&self) -> String {
        let shown = self.declared.as_ref().unwrap_or(&self.observed);
        let row = |item: &creta_compliance::Item| {
            vec![
                item.id.clone(),
                item.class.map_or_else(String::new, |class| format!("{class:?}").to_lowercase()),
                item.owner.clone().unwrap_or_default(),
                item.region.clone().unwrap_or_default(),
                item.purpose.clone(),
            ]
        };
        let headings = [
            ("item", Align::Left),
            ("class", Align::Left),
            ("owner", Align::Left),
            ("region", Align::Left),
            ("purpose", Align::Left),
        ];
        let mut text = table(&headings, &shown.items.iter().map(row).collect::<Vec<_>>());
        match (&self.undeclared_because, &self.drift) {
            (Some(reason), _) => text.push_str(&format!("\n\n{reason}")),
            (None, Some(drift)) if drift.is_empty() => text.push_str("\n\nwhat runs is what was declared"),
            (None, drift) => {
                text.push_str("\n\nnot as declared:");
                for finding in drift.iter().flatten() {
                    text.push_str(&format!("\n  {}", finding.says));
                }
            }
        }
        text
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Reports {
    reports: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    report: SecurityReport,
    status: String,
    /// How many said the same after it.
    #[serde(default)]
    again: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct SecurityReport {
    reference: String,
    received_at: String,
    title: String,
    description: String,
    contact: String,
    urgent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intake: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decided: Option<serde_json::Value>,
}

impl Reports {
    fn to_text(&self) -> String {
        if self.reports.is_empty() {
            return "no reports of security issues".to_owned();
        }
        let row = |listed: &Listed| {
            let urgent = if listed.report.urgent { "urgent" } else { "" };
            vec![
                listed.report.reference.clone(),
                listed.status.clone(),
                listed.report.received_at.clone(),
                urgent.to_owned(),
                listed.report.tenant.clone().unwrap_or_default(),
                if listed.again == 0 { String::new() } else { format!("+{}", grouped(listed.again)) },
                plain(&listed.report.title),
            ]
        };
        let headings = [
            ("reference", Align::Left),
            ("status", Align::Left),
            ("received", Align::Left),
            ("", Align::Left),
            ("customer", Align::Left),
            ("again", Align::Right),
            ("title", Align::Left),
        ];
        table(&headings, &self.reports.iter().map(row).collect::<Vec<_>>())
    }
}

/// A stranger's text for a terminal: no control characters, so that it cannot move the cursor or set colours.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_title_cannot_command_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mred\r\n"), "a\u{fffd}[31mred\u{fffd}\u{fffd}");
    }
}
