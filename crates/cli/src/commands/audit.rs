//! `creta audit`: read the log, prove what it says, and check it without believing the server.

use std::path::Path;

use creta_audit::{Entry, Hash, Outcome, verify};
use creta_model::Problem;
use serde::{Deserialize, Serialize};

use super::connect;
use crate::args::AuditCommand;
use crate::failure::{Exit, Failure};
use crate::terminal::{Align, Terminal, grouped, table};

pub(crate) fn run(command: AuditCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify(connection) => {
            let (server, _) = connect(&connection)?;
            let bar = terminal.progress("reading the log", 0);
            let report = server.post_empty::<Report>("/v1/audit/verify");
            bar.finish_and_clear();
            let report = report?;
            terminal.show(&report, || report.text());
            if report.verified { Ok(()) } else { Err(Problem::new("audit/broken", "the log does not check").into()) }
        }
        AuditCommand::Show { limit, start, connection } => {
            let (server, _) = connect(&connection)?;
            // The latest are wanted, and only the server knows how many there are.
            let start = match start {
                Some(start) => start,
                None => server.get::<Page>("/v1/audit/entries?limit=1")?.size.saturating_sub(limit),
            };
            let page: Page = server.get(&format!("/v1/audit/entries?start={start}&limit={limit}"))?;
            terminal.show(&page, || page.text());
            Ok(())
        }
        AuditCommand::Prove { entry, out, connection } => {
            let (server, _) = connect(&connection)?;
            let bytes = server.get_bytes(&format!("/v1/audit/proof/inclusion?index={entry}"))?;
            std::fs::write(&out, &bytes).map_err(|error| Failure::file("write", &out, &error))?;
            let shown = serde_json::json!({ "entry": entry, "file": out });
            terminal.show(&shown, || {
                let file = out.display();
                format!("wrote the proof of entry {entry} to {file}\nnext: creta audit check {file} --key KEY")
            });
            Ok(())
        }
        AuditCommand::Check { proof, key } => check(&proof, &key, terminal),
    }
}

/// Believes nothing but the key: that it signed the checkpoint, and that the entry is in the log the checkpoint is of.
fn check(file: &Path, key: &str, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    let proof: Proof = serde_json::from_str(&text).map_err(|error| {
        let message = format!("`{}` is not a proof: {error}", file.display());
        Failure::usage("audit/not-a-proof", message, "name a file that `creta audit prove` wrote")
    })?;
    let broken = |error: creta_audit::ProofError| {
        let problem = Problem::new("audit/not-proven", error.to_string());
        Failure::new(
            Exit::Failed,
            problem.with_help("do not rely on this entry; ask for a new proof, and keep this one"),
        )
    };
    let checkpoint = verify::verify_checkpoint(&proof.checkpoint, key).map_err(broken)?;
    let hashes = proof.proof.iter().map(|hash| Hash::from_base64(hash)).collect::<Option<Vec<_>>>();
    let hashes = hashes.ok_or_else(|| {
        Failure::usage("audit/not-a-proof", "a hash of the proof cannot be read", "ask for a new proof")
    })?;
    let size = checkpoint.size;
    verify::verify_inclusion(proof.entry.as_bytes(), proof.index, size, &hashes, &checkpoint.root).map_err(broken)?;
    let entry: serde_json::Value = serde_json::from_str(&proof.entry).unwrap_or_default();
    let shown = serde_json::json!({ "proven": true, "index": proof.index, "size": size, "entry": entry });
    terminal.show(&shown, || {
        format!(
            "proven: entry {} is in the log of {} entries signed by this key\n{entry:#}",
            proof.index,
            grouped(size)
        )
    });
    Ok(())
}

/// What `creta audit prove` writes.
#[derive(Debug, Deserialize)]
struct Proof {
    index: u64,
    entry: String,
    proof: Vec<String>,
    checkpoint: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Report {
    verified: bool,
    verifier_key: String,
    entries: u64,
    checkpoint_size: u64,
    root: String,
    first_time: Option<String>,
    last_time: Option<String>,
    #[serde(default)]
    clock_set_back: serde_json::Value,
}

impl Report {
    fn text(&self) -> String {
        let (first, last) = (self.first_time.as_deref().unwrap_or("-"), self.last_time.as_deref().unwrap_or("-"));
        format!(
            "{}\n  entries  {}   {first} to {last}\n  root     {}\n  log key  {}",
            if self.verified {
                "the log checks: every entry, every hash, the signature"
            } else {
                "the log does NOT check"
            },
            grouped(self.entries),
            self.root,
            self.verifier_key,
        )
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Page {
    entries: Vec<Line>,
    next: u64,
    size: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    index: u64,
    entry: Entry,
}

impl Page {
    fn text(&self) -> String {
        let row = |line: &Line| {
            let Entry { time, actor, action, decision, tenant, .. } = &line.entry;
            vec![
                line.index.to_string(),
                time.to_string(),
                actor.as_ref().map(|actor| actor.id().to_string()).unwrap_or_default(),
                action.clone(),
                match decision {
                    Some(Outcome::Allow) => "allowed".to_owned(),
                    Some(Outcome::Deny) => "denied".to_owned(),
                    None => String::new(),
                },
                tenant.as_ref().map(ToString::to_string).unwrap_or_default(),
            ]
        };
        let headings = [
            ("entry", Align::Right),
            ("time", Align::Left),
            ("actor", Align::Left),
            ("action", Align::Left),
            ("outcome", Align::Left),
            ("tenant", Align::Left),
        ];
        let rows: Vec<_> = self.entries.iter().map(row).collect();
        format!("{}\n{} of {} entries", table(&headings, &rows), self.entries.len(), grouped(self.size))
    }
}
