//! `creta access declassify`: tags that no longer flow into a computed feature.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::connect;
use super::signed::wait_for_signature;
use crate::args::DeclassifyCommand;
use crate::failure::Failure;
use crate::http::{Server, encoded};
use crate::terminal::{Align, Terminal, table};

const PATH: &str = "/v1/access/declassifications";
const LEFT: Align = Align::Left;

#[derive(Debug, Serialize, Deserialize)]
struct Declassification {
    proposal: String,
    state: String,
    holds: bool,
    feature: String,
    tag: String,
    sources: Vec<String>,
    fingerprint: String,
    reason: String,
    proposed_by: String,
    proposed: String,
    approved_by: Option<String>,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<String>,
}

const REMOVALS: &str = "/v1/access/tag-removals";

#[derive(Debug, Serialize, Deserialize)]
struct Removals {
    removals: Vec<Removal>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Removal {
    proposal: String,
    state: String,
    bundle: String,
    dropped: Vec<Dropped>,
    proposed_by: String,
    proposed: String,
    void_at: String,
    approved_by: Option<String>,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Dropped {
    feature: String,
    tag: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    declassifications: Vec<Declassification>,
}

pub(super) fn run(command: DeclassifyCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        DeclassifyCommand::List(connection) => {
            let listed: Listed = connect(&connection)?.0.get(PATH)?;
            terminal.show(&listed, || listed_text(&listed.declassifications));
        }
        DeclassifyCommand::Propose { feature, tag, reason, connection } => {
            let body = json!({"feature": feature, "tag": tag, "reason": reason});
            let proposed: Declassification = connect(&connection)?.0.post(PATH, &body)?;
            terminal.show(&proposed, || {
                let id = &proposed.proposal;
                format!("{}\nanother person approves it with: creta access declassify approve {id}", text(&proposed))
            });
        }
        DeclassifyCommand::Approve(item) => {
            let (server, _) = connect(&item.connection)?;
            let shown = find(&server, &item.id)?;
            terminal.complain(&text(&shown));
            let path = format!("{PATH}/{}/approve", encoded(&item.id));
            let mut approved: Declassification = server.post(&path, &json!({"digest": shown.digest}))?;
            if let Some(address) = approved.verify.take() {
                approved = wait_for_signature(&address, terminal, "`creta access declassify list`", || {
                    let now = find(&server, &item.id)?;
                    Ok((now.state == "approved").then_some(now))
                })?;
            }
            terminal.show(&approved, || {
                let Declassification { feature, tag, .. } = &approved;
                format!(
                    "`{feature}` no longer carries `{tag}`, as long as it and where the tag comes from stay as they are"
                )
            });
        }
        DeclassifyCommand::Withdraw(item) => {
            let path = format!("{PATH}/{}/withdraw", encoded(&item.id));
            let ended: Declassification = connect(&item.connection)?.0.post_empty(&path)?;
            terminal.show(&ended, || format!("ended; `{}` carries `{}`", ended.feature, ended.tag));
        }
        DeclassifyCommand::Removals(connection) => {
            let listed: Removals = connect(&connection)?.0.get(REMOVALS)?;
            terminal.show(&listed, || {
                let all: Vec<String> = listed.removals.iter().map(removal_text).collect();
                if all.is_empty() { "no deploy would take a tag away".to_owned() } else { all.join("\n") }
            });
        }
        DeclassifyCommand::ApproveRemoval(item) => {
            let (server, _) = connect(&item.connection)?;
            let find = || {
                let Removals { removals } = server.get(REMOVALS)?;
                removals.into_iter().find(|one: &Removal| one.proposal == item.id).ok_or_else(|| {
                    let message = format!("there is no removal `{}` where you belong", item.id);
                    Failure::usage("not-found/proposal", message, "`creta access declassify removals` shows them")
                })
            };
            let shown = find()?;
            terminal.complain(&removal_text(&shown));
            let path = format!("{REMOVALS}/{}/approve", encoded(&item.id));
            let mut approved: Removal = server.post(&path, &json!({"digest": shown.digest}))?;
            if let Some(address) = approved.verify.take() {
                approved = wait_for_signature(&address, terminal, "`creta access declassify removals`", || {
                    Ok(Some(find()?).filter(|now| now.state == "approved"))
                })?;
            }
            terminal.show(&approved, || format!("agreed; the same project can be deployed until {}", approved.void_at));
        }
    }
    Ok(())
}

fn find(server: &Server, id: &str) -> Result<Declassification, Failure> {
    let listed: Listed = server.get(PATH)?;
    listed.declassifications.into_iter().find(|one| one.proposal == id).ok_or_else(|| {
        let message = format!("there is no declassification `{id}` where you belong");
        Failure::usage("not-found/proposal", message, "`creta access declassify list` shows them")
    })
}

fn removal_text(one: &Removal) -> String {
    let Removal { proposal, state, proposed_by, dropped, .. } = one;
    let lines: String = dropped.iter().map(|one| format!("\n  `{}` loses `{}`", one.feature, one.tag)).collect();
    format!("removal {proposal} by {proposed_by}, {state}{lines}")
}

fn text(one: &Declassification) -> String {
    let Declassification { proposal, feature, tag, sources, reason, proposed_by, .. } = one;
    format!(
        "proposal {proposal} by {proposed_by}: `{feature}` no longer carries `{tag}`\n  from    {}\n  reason  {reason}",
        sources.join(", ")
    )
}

fn listed_text(all: &[Declassification]) -> String {
    if all.is_empty() {
        return "every tag flows".to_owned();
    }
    let row = |one: &Declassification| {
        let state = match (one.state.as_str(), one.holds) {
            ("approved", true) => "holds".to_owned(),
            ("approved", false) => "void: what was looked at has changed".to_owned(),
            (state, _) => state.to_owned(),
        };
        vec![one.proposal.clone(), one.feature.clone(), one.tag.clone(), state, one.proposed_by.clone()]
    };
    let headings = [("proposal", LEFT), ("feature", LEFT), ("tag", LEFT), ("state", LEFT), ("by", LEFT)];
    table(&headings, &all.iter().map(row).collect::<Vec<_>>())
}
