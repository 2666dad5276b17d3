//! What somebody outside issued, and exceptions that two people agree on.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{plain, write_new};
use crate::args::{ArtefactAdd, ArtefactCommand, ExceptionCommand, ExceptionDecide};
use crate::commands::connect;
use crate::commands::signed::wait_for_signature;
use crate::failure::Failure;
use crate::http::encoded;
use crate::terminal::{Align, Terminal, table};

/// An artefact as the server lists it.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artefact: Option<Value>,
    id: String,
    commitment: String,
    kind: String,
    expires: String,
    log_index: u64,
    received_at: String,
    status: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Artefacts {
    artefacts: Vec<Listed>,
}

pub(super) fn artefact(command: ArtefactCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        ArtefactCommand::Add(asked) => add(&asked, terminal),
        ArtefactCommand::List(connection) => {
            let (server, _) = connect(&connection)?;
            let listed: Artefacts = server.get("/v1/trust/artefacts")?;
            terminal.show(&listed, || artefacts_text(&listed.artefacts));
            Ok(())
        }
        ArtefactCommand::Show { id, out, connection } => {
            let (server, _) = connect(&connection)?;
            let path = format!("/v1/trust/artefacts/{}", encoded(&id));
            if let Some(out) = &out {
                write_new(out, &server.get_bytes(&format!("{path}/file"))?)?;
            }
            let listed: Listed = server.get(&path)?;
            terminal.show(&listed, || match &out {
                Some(out) => format!("wrote {}", out.display()),
                None => artefacts_text(std::slice::from_ref(&listed)),
            });
            Ok(())
        }
    }
}

fn add(asked: &ArtefactAdd, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let file = read(&asked.file)?;
    let (server, _) = connect(&asked.connection)?;
    let body = json!({
        "commitment": asked.commitment, "kind": asked.kind, "issuer": asked.issuer, "issued": asked.issued,
        "expires": asked.expires, "scope_from": asked.scope_from, "scope_to": asked.scope_to,
        "file": BASE64.encode(file),
    });
    let listed: Listed = server.post("/v1/trust/artefacts", &body)?;
    terminal.show(&listed, || format!("recorded as {}, entry {} of the log", listed.id, listed.log_index));
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::file("read", file, &error))
}

fn artefacts_text(artefacts: &[Listed]) -> String {
    if artefacts.is_empty() {
        return "nobody outside has issued anything".to_owned();
    }
    let row = |listed: &Listed| {
        let issuer = listed.artefact.as_ref().and_then(|artefact| artefact["issuer"].as_str()).unwrap_or_default();
        vec![
            listed.id.clone(),
            listed.commitment.clone(),
            listed.kind.clone(),
            plain(issuer),
            listed.expires.clone(),
            listed.log_index.to_string(),
            plain(&listed.status),
        ]
    };
    let headings = [
        ("name", Align::Left),
        ("for", Align::Left),
        ("kind", Align::Left),
        ("issuer", Align::Left),
        ("expires", Align::Left),
        ("log entry", Align::Right),
        ("status", Align::Left),
    ];
    table(&headings, &artefacts.iter().map(row).collect::<Vec<_>>())
}

/// An exception as the server lists it.
#[derive(Debug, Serialize, Deserialize)]
struct Excepted {
    exception: Value,
    terms: String,
    holds: bool,
    as_logged: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Exceptions {
    exceptions: Vec<Excepted>,
}

pub(super) fn exception(command: ExceptionCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        ExceptionCommand::Propose { commitment, reason, until, connection } => {
            let (server, _) = connect(&connection)?;
            let body = json!({ "commitment": commitment, "reason": reason, "expires": until });
            let proposed: Excepted = server.post("/v1/trust/exceptions", &body)?;
            let id = proposed.exception["terms"]["id"].as_str().unwrap_or_default().to_owned();
            terminal.show(&proposed, || {
                format!("proposed; it holds when somebody else approves it\nnext, by them: creta trust exception approve {id} --terms {}", proposed.terms)
            });
            Ok(())
        }
        ExceptionCommand::List(connection) => {
            let (server, _) = connect(&connection)?;
            let listed: Exceptions = server.get("/v1/trust/exceptions")?;
            terminal.show(&listed, || exceptions_text(&listed.exceptions));
            Ok(())
        }
        ExceptionCommand::Approve(asked) => decide(&asked, "approved", terminal),
        ExceptionCommand::Refuse(asked) => decide(&asked, "refused", terminal),
    }
}

fn decide(asked: &ExceptionDecide, verdict: &str, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, _) = connect(&asked.connection)?;
    let body = json!({ "verdict": verdict, "terms": asked.terms });
    let mut decided: Excepted = server.post(&format!("/v1/trust/exceptions/{}", encoded(&asked.id)), &body)?;
    if let Some(address) = decided.verify.take() {
        decided = wait_for_signature(&address, terminal, "`creta trust exception list`", || {
            let listed: Exceptions = server.get("/v1/trust/exceptions")?;
            let is_it = |one: &Excepted| one.terms == asked.terms && !one.exception["decision"].is_null();
            Ok(listed.exceptions.into_iter().find(is_it))
        })?;
    }
    terminal.show(&decided, || verdict.to_owned());
    Ok(())
}

fn exceptions_text(exceptions: &[Excepted]) -> String {
    if exceptions.is_empty() {
        return "no exceptions".to_owned();
    }
    let row = |excepted: &Excepted| {
        let terms = |name: &str| plain(excepted.exception["terms"][name].as_str().unwrap_or_default());
        let status = match (excepted.as_logged, excepted.holds) {
            (false, _) => "EDITED: not what the log knows",
            (true, true) => "holds",
            (true, false) => "does not hold",
        };
        vec![
            terms("id"),
            terms("commitment"),
            terms("expires"),
            status.to_owned(),
            excepted.terms.clone(),
            terms("reason"),
        ]
    };
    let headings = [
        ("name", Align::Left),
        ("commitment", Align::Left),
        ("ends", Align::Left),
        ("status", Align::Left),
        ("terms", Align::Left),
        ("reason", Align::Left),
    ];
    table(&headings, &exceptions.iter().map(row).collect::<Vec<_>>())
}
