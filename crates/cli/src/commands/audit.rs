//! `creta audit`: read the log, prove what it says, and check it without believing the server.

mod access;
mod export;

use std::path::Path;

use creta_audit::{Entry, Outcome};
use creta_compliance::ocsf;
use creta_model::Problem;
use creta_proof::export::{Demands, ExportReport};
use creta_proof::{
    ConsistencyProof, ExportedLog, Hash, InclusionProof, ProofError, ProofFile, SignedCheckpoint, VerifierKey,
};
use serde::{Deserialize, Serialize};

use super::connect;
use crate::args::{AuditCommand, AuditVerify};
use crate::failure::{Exit, Failure};
use crate::http::Server;
use crate::terminal::{Align, Terminal, grouped, table};

pub(crate) fn run(command: AuditCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify(AuditVerify {
            export: Some(folder),
            key: Some(key),
            since,
            witness,
            witnessed_after,
            accept_set_back,
            ..
        }) => {
            let demands = Demands {
                since: since.as_deref().map(read_checkpoint).transpose()?,
                witnesses: witness.iter().map(|key| read_key(key)).collect::<Result<_, _>>()?,
                witnessed_after,
                set_backs_accepted: accept_set_back,
            };
            let report = ExportedLog::new(folder).verify(&read_key(&key)?, &demands)?;
            show_export(&report, "verified", terminal);
            Ok(())
        }
        AuditCommand::Verify(verify) => {
            let (server, _) = connect(&verify.connection)?;
            let report = verify_on_server(&server, terminal)?;
            terminal.show(&report, || report.text());
            if report.verified { Ok(()) } else { Err(Problem::new("audit/broken", "the log does not check").into()) }
        }
        AuditCommand::Show { limit, start, ocsf, connection } => {
            let (server, _) = connect(&connection)?;
            // The latest are wanted, and only the server knows how many there are.
            let start = match start {
                Some(start) => start,
                None => server.get::<Page>("/v1/audit/entries?limit=1")?.size.saturating_sub(limit),
            };
            let page: Page = server.get(&format!("/v1/audit/entries?start={start}&limit={limit}"))?;
            if ocsf {
                terminal.print(&page.events()?);
                return Ok(());
            }
            terminal.show(&page, || page.text());
            Ok(())
        }
        AuditCommand::Export { out, key, connection } => {
            let (server, _) = connect(&connection)?;
            let report = export::export(&server, &out, key.as_deref().map(read_key).transpose()?, terminal)?;
            show_export(&report, "exported and verified", terminal);
            Ok(())
        }
        AuditCommand::Prove { entry, since, out, connection } => {
            let (server, _) = connect(&connection)?;
            let (what, text) = match (entry, since) {
                (Some(entry), _) => (format!("entry {entry}"), prove_entry(&server, entry)?.to_string()),
                (None, since) => {
                    let since = read_checkpoint(&since.expect("the command line demands one of the two"))?;
                    (
                        format!("growth since {} entries", since.claimed().size),
                        prove_growth(&server, since)?.to_string(),
                    )
                }
            };
            std::fs::write(&out, text).map_err(|error| Failure::file("write", &out, &error))?;
            let shown = serde_json::json!({ "proves": what, "file": out });
            terminal.show(&shown, || {
                let file = out.display();
                format!("wrote the proof of {what} to {file}\nnext: creta audit check {file} --key KEY")
            });
            Ok(())
        }
        AuditCommand::Access { start, prove, connection } => {
            let (server, _) = connect(&connection)?;
            access::run(&server, start, prove.as_deref(), terminal)
        }
        AuditCommand::Fork { data, reason, out } => super::witness::fork(&data, &reason, &out, terminal),
        AuditCommand::AcceptOlder { data, tenant, reason } => {
            super::witness::accept_older(&data, tenant.as_deref(), &reason, terminal)
        }
        AuditCommand::Check { proof, key } => check(&proof, &read_key(&key)?, terminal),
    }
}

fn verify_on_server(server: &Server, terminal: &Terminal<'_>) -> Result<Report, Failure> {
    let bar = terminal.progress("reading the log", 0);
    let report = server.post_empty("/v1/audit/verify");
    bar.finish_and_clear();
    report
}

fn prove_entry(server: &Server, entry: u64) -> Result<InclusionProof, Failure> {
    read_inclusion(server.get(&format!("/v1/audit/proof/inclusion?index={entry}"))?, entry)
}

/// The same for an entry about the caller's own scope, which needs no look at the whole log.
fn prove_own_entry(server: &Server, entry: u64) -> Result<InclusionProof, Failure> {
    read_inclusion(server.get(&format!("/v1/audit/access/{entry}/proof"))?, entry)
}

fn read_inclusion(answer: Inclusion, entry: u64) -> Result<InclusionProof, Failure> {
    let checkpoint = SignedCheckpoint::parse(&answer.checkpoint)?;
    Ok(InclusionProof { entry: answer.entry.into_bytes(), index: entry, proof: hashes(&answer.proof)?, checkpoint })
}

fn prove_growth(server: &Server, old: SignedCheckpoint) -> Result<ConsistencyProof, Failure> {
    let new = newest(server)?;
    let (from, to) = (old.claimed().size, new.claimed().size);
    if from > to {
        return Err(ProofError::Shorter { entries: to, checkpoint: from }.into());
    }
    let answer: Consistency = server.get(&format!("/v1/audit/proof/consistency?old={from}&new={to}"))?;
    Ok(ConsistencyProof { old, proof: hashes(&answer.proof)?, new })
}

fn newest(server: &Server) -> Result<SignedCheckpoint, Failure> {
    let bytes = server.get_bytes("/v1/audit/checkpoint")?;
    Ok(SignedCheckpoint::parse(&String::from_utf8_lossy(&bytes))?)
}

fn hashes(texts: &[String]) -> Result<Vec<Hash>, ProofError> {
    let hashes: Option<Vec<Hash>> = texts.iter().map(|text| Hash::from_base64(text)).collect();
    hashes.ok_or(ProofError::Proof { rule: "one of its hashes cannot be read" })
}

/// Believes nothing but the key: that it signed the checkpoint, and that the proof leads to what the checkpoint says.
fn check(file: &Path, key: &VerifierKey, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    let proof = ProofFile::parse(&text).map_err(|error| {
        Failure::usage("audit/not-a-proof", error.to_string(), "name a file that `creta audit prove` wrote")
    })?;
    match proof {
        ProofFile::Inclusion(proof) => {
            let (size, index) = (proof.verify(key)?.size, proof.index);
            let entry: serde_json::Value = serde_json::from_slice(&proof.entry).expect("a verified entry is JSON");
            let shown = serde_json::json!({ "proven": true, "index": index, "size": size, "entry": entry });
            terminal.show(&shown, || {
                format!(
                    "proven: entry {index} is in the log of {} entries signed by this key\n{entry:#}",
                    grouped(size)
                )
            });
        }
        ProofFile::Consistency(proof) => {
            let (old, new) = proof.verify(key)?;
            let shown = serde_json::json!({ "proven": true, "old": old, "new": new });
            terminal.show(&shown, || {
                let (old, new) = (grouped(old.size), grouped(new.size));
                format!("proven: the log of {new} entries signed by this key begins with that of {old}")
            });
        }
    }
    Ok(())
}

pub(super) fn read_key(vkey: &str) -> Result<VerifierKey, Failure> {
    VerifierKey::parse(vkey).map_err(|error| {
        Failure::usage("audit/not-a-key", error.to_string(), "use the key that `creta server init` showed")
    })
}

fn read_checkpoint(file: &Path) -> Result<SignedCheckpoint, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    SignedCheckpoint::parse(&text).map_err(|error| {
        let message = format!("`{}`: {error}", file.display());
        Failure::usage("audit/not-a-checkpoint", message, "name the `checkpoint` of an older export")
    })
}

fn show_export(report: &ExportReport, what: &str, terminal: &mut Terminal<'_>) {
    let mut value = serde_json::to_value(report).expect("reports have string keys and no odd numbers");
    value["verified"] = true.into();
    terminal.show(&value, || {
        let log = &report.log;
        let time = |time: Option<creta_proof::Time>| time.map_or("-".to_owned(), |time| time.to_string());
        let (first, last) = (time(log.first_time), time(log.last_time));
        let mut text = format!("{what}: all {} entries of {}", grouped(log.entries), report.origin);
        text += &format!("\n  time     {first} to {last}\n  root     {}", log.root);
        if let Some(since) = report.since {
            text += &format!("\n  since    continues the checkpoint at {} entries", grouped(since));
        }
        for by in &report.witnessed {
            text += &format!("\n  witness  {} at {}", by.witness, by.time);
        }
        if !log.clock_set_back.is_empty() {
            text += &format!("\n  clock    set back before entries {:?}", log.clock_set_back);
        }
        text
    });
}

impl From<ProofError> for Failure {
    fn from(error: ProofError) -> Self {
        let problem = Problem::new("audit/not-proven", error.to_string());
        Self::new(Exit::Failed, problem.with_help("do not rely on it; keep what you were given, and ask again"))
    }
}

/// What the server answers about an entry.
#[derive(Debug, Deserialize)]
struct Inclusion {
    entry: String,
    proof: Vec<String>,
    checkpoint: String,
}

/// What the server answers about the log's growth.
#[derive(Debug, Deserialize)]
struct Consistency {
    proof: Vec<String>,
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
    /// One OCSF event a line.
    fn events(&self) -> Result<String, Failure> {
        let (name, version) = ("Creta".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let product = ocsf::Product { vendor: name.clone(), name, version };
        let mut lines = String::new();
        for Line { index, entry } in &self.entries {
            let entry = serde_json::to_value(entry).expect("entries have string keys and whole numbers");
            let event = ocsf::event(&entry, *index, &product)
                .map_err(|error| Failure::new(Exit::Failed, Problem::new("audit/no-event", error.to_string())))?;
            lines.push_str(&event.to_string());
            lines.push('\n');
        }
        Ok(lines)
    }

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
