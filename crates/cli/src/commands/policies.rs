//! `creta access policy`: policies of one's own.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::connect;
use super::signed::wait_for_signature;
use crate::args::PolicyCommand;
use crate::failure::Failure;
use crate::http::{Server, encoded};
use crate::terminal::{Align, Terminal, counted, table};

/// Differences that are shown of each kind.
const SHOWN: usize = 10;
const LEFT: Align = Align::Left;

#[derive(Debug, Serialize, Deserialize)]
struct Summary {
    policy: String,
    proposed_by: Option<String>,
    proposed: String,
    text_digest: String,
    in_force: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Policies {
    in_force: Option<String>,
    text: String,
    proposals: Vec<Summary>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Comparison {
    wider: u64,
    narrower: u64,
    wider_shown: Vec<String>,
    narrower_shown: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Proposal {
    #[serde(flatten)]
    summary: Summary,
    text: String,
    comparison: Comparison,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<String>,
}

pub(super) fn run(command: PolicyCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        PolicyCommand::Show { id: None, connection } => {
            let policies: Policies = connect(&connection)?.0.get("/v1/access/policies")?;
            terminal.show(&policies, || listed_text(&policies));
        }
        PolicyCommand::Show { id: Some(id), connection } => {
            let proposal = read(&connect(&connection)?.0, &id)?;
            terminal.show(&proposal, || proposal_text(&proposal));
        }
        PolicyCommand::Check { file, connection } => {
            let body = json!({ "text": text_of(&file)? });
            let comparison: Comparison = connect(&connection)?.0.post("/v1/access/policies/check", &body)?;
            terminal.show(&comparison, || comparison_text(&comparison));
        }
        PolicyCommand::Propose { file, connection } => {
            let body = json!({ "text": text_of(&file)? });
            let proposal: Proposal = connect(&connection)?.0.post("/v1/access/policies", &body)?;
            terminal.show(&proposal, || {
                let id = &proposal.summary.policy;
                let next = match proposal.summary.in_force {
                    true => "in force: it allows nothing more than what held before".to_owned(),
                    false => {
                        format!("it allows more, so another person approves it with: creta access policy approve {id}")
                    }
                };
                format!("proposal {id}\n{}\n{next}", comparison_text(&proposal.comparison))
            });
        }
        PolicyCommand::Approve(item) => {
            let (server, _) = connect(&item.connection)?;
            let shown = read(&server, &item.id)?;
            terminal.complain(&proposal_text(&shown));
            let path = format!("/v1/access/policies/{}/approve", encoded(&item.id));
            let mut adopted: Proposal = server.post(&path, &json!({ "digest": shown.digest }))?;
            if let Some(address) = adopted.verify.take() {
                let look = format!("`creta access policy show {}`", item.id);
                adopted = wait_for_signature(&address, terminal, &look, || {
                    let now = read(&server, &item.id)?;
                    Ok(now.summary.in_force.then_some(now))
                })?;
            }
            terminal.show(&adopted, || format!("proposal {} is in force", adopted.summary.policy));
        }
    }
    Ok(())
}

fn read(server: &Server, id: &str) -> Result<Proposal, Failure> {
    server.get(&format!("/v1/access/policies/{}", encoded(id)))
}

fn text_of(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))
}

fn listed_text(policies: &Policies) -> String {
    let row = |proposal: &Summary| {
        let by = proposal.proposed_by.clone().unwrap_or_else(|| "local administrator".to_owned());
        let state = if proposal.in_force { "in force" } else { "not in force" };
        vec![proposal.policy.clone(), by, proposal.proposed.clone(), state.to_owned()]
    };
    let holds = match policies.in_force {
        None => "the built-in policies hold, and no others".to_owned(),
        Some(_) => format!("beside the built-in policies hold:\n{}", policies.text.trim()),
    };
    if policies.proposals.is_empty() {
        return holds;
    }
    let headings = [("proposal", LEFT), ("by", LEFT), ("at", LEFT), ("state", LEFT)];
    format!("{holds}\n\n{}", table(&headings, &policies.proposals.iter().map(row).collect::<Vec<_>>()).trim_end())
}

fn proposal_text(proposal: &Proposal) -> String {
    let by = proposal.summary.proposed_by.as_deref().unwrap_or("the local administrator");
    let Summary { policy, proposed, .. } = &proposal.summary;
    let text = proposal.text.trim();
    format!("proposal {policy} by {by}, {proposed}\n{text}\n\n{}", comparison_text(&proposal.comparison))
}

fn comparison_text(comparison: &Comparison) -> String {
    let part = |what: &str, number: u64, shown: &[String]| {
        let mut lines = vec![format!("{} {what}", counted(number, "thing", "things"))];
        lines.extend(shown.iter().take(SHOWN).map(|one| format!("  {one}")));
        if number > SHOWN as u64 {
            lines.push(format!("  and {} more", number - SHOWN as u64));
        }
        lines.join("\n")
    };
    let wider = part("now allowed", comparison.wider, &comparison.wider_shown);
    format!("{wider}\n{}", part("no longer allowed", comparison.narrower, &comparison.narrower_shown))
}
