//! `creta access rows`: rules by which people and programs see only some rows.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::connect;
use super::signed::wait_for_signature;
use crate::args::{OfTenant, RowsCommand};
use crate::failure::Failure;
use crate::http::{Server, encoded, query_string};
use crate::terminal::{Align, Terminal, counted, table};

const LEFT: Align = Align::Left;
const FORMAT: &str = "creta.rows/1";

/// The file: rules as people write them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    #[serde(default)]
    rule: Vec<WrittenRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    id: String,
    entity: String,
    roles: Vec<String>,
    feature: String,
    #[serde(default)]
    equals: Option<Value>,
    #[serde(default, rename = "in")]
    any_of: Option<Vec<Value>>,
    #[serde(default)]
    not_in: Option<Vec<Value>>,
}

impl WrittenRule {
    fn into_json(self) -> Result<Value, Failure> {
        let Self { id, entity, roles, feature, equals, any_of, not_in } = self;
        let (op, values) = match (equals, any_of, not_in) {
            (Some(value), None, None) => ("eq", vec![value]),
            (None, Some(values), None) => ("in", values),
            (None, None, Some(values)) => ("ne", values),
            _ => {
                let message = format!("rule `{id}` needs exactly one of `equals`, `in` and `not_in`");
                return Err(Failure::usage("rows/file", message, "such as `in = [\"CH\", \"LI\"]`"));
            }
        };
        Ok(json!({"id": id, "entity": entity, "roles": roles, "feature": feature, "op": op, "values": values}))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Summary {
    proposal: String,
    state: String,
    proposed_by: String,
    proposed: String,
    approved_by: Option<String>,
    reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Rule {
    id: String,
    entity: String,
    roles: Vec<String>,
    feature: String,
    op: String,
    values: Vec<Value>,
    #[serde(default)]
    bound_to: Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct Rules {
    in_force: Option<String>,
    rules: Vec<Rule>,
    proposals: Vec<Summary>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Proposal {
    #[serde(flatten)]
    summary: Summary,
    rules: Vec<Rule>,
    wider: Vec<String>,
    narrower: Vec<String>,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<String>,
}

pub(super) fn run(command: RowsCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        RowsCommand::Show { id: None, tenant } => {
            let path = query_string("/v1/access/rows", &[("tenant", Some(tenant.tenant.clone()))]);
            let rules: Rules = connect(&tenant.connection)?.0.get(&path)?;
            terminal.show(&rules, || listed_text(&rules));
        }
        RowsCommand::Show { id: Some(id), tenant } => {
            let proposal = read(&connect(&tenant.connection)?.0, &id, &tenant)?;
            terminal.show(&proposal, || proposal_text(&proposal));
        }
        RowsCommand::Propose { file, reason, tenant } => {
            let body = json!({"tenant": tenant.tenant, "rules": {"rules": rules_of(&file)?}, "reason": reason});
            let proposal: Proposal = connect(&tenant.connection)?.0.post("/v1/access/rows", &body)?;
            terminal.show(&proposal, || {
                let id = &proposal.summary.proposal;
                let next = match proposal.summary.state.as_str() {
                    "in-force" => "in force: it shows nothing more than what held before".to_owned(),
                    _ => format!(
                        "it shows more, so another person approves it with: creta access rows approve {id} --tenant {}",
                        tenant.tenant
                    ),
                };
                format!("proposal {id}\n{}\n{next}", comparison_text(&proposal))
            });
        }
        RowsCommand::Approve { id, tenant } => {
            let (server, _) = connect(&tenant.connection)?;
            let shown = read(&server, &id, &tenant)?;
            terminal.complain(&proposal_text(&shown));
            let path = format!("/v1/access/rows/{}/approve", encoded(&id));
            let mut adopted: Proposal = server.post(&path, &json!({"digest": shown.digest}))?;
            if let Some(address) = adopted.verify.take() {
                let look = format!("`creta access rows show {id} --tenant {}`", tenant.tenant);
                adopted = wait_for_signature(&address, terminal, &look, || {
                    let now = read(&server, &id, &tenant)?;
                    Ok((now.summary.state == "in-force").then_some(now))
                })?;
            }
            terminal.show(&adopted, || format!("proposal {} is in force", adopted.summary.proposal));
        }
    }
    Ok(())
}

fn read(server: &Server, id: &str, of: &OfTenant) -> Result<Proposal, Failure> {
    let path = format!("/v1/access/rows/{}", encoded(id));
    server.get(&query_string(&path, &[("tenant", Some(of.tenant.clone()))]))
}

fn rules_of(file: &Path) -> Result<Vec<Value>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    let help = "the guide on access shows the form of the file";
    let wrong = |message: String| Failure::usage("rows/file", message, help);
    let parsed: File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if parsed.format != FORMAT {
        return Err(wrong(format!("its format is `{}`, and this release reads `{FORMAT}`", parsed.format)));
    }
    parsed.rule.into_iter().map(WrittenRule::into_json).collect()
}

fn rule_text(rule: &Rule) -> String {
    let values: Vec<String> = rule.values.iter().map(ToString::to_string).collect();
    let op = match rule.op.as_str() {
        "eq" => "is",
        "ne" => "is none of",
        _ => "is one of",
    };
    let Rule { id, entity, roles, feature, .. } = rule;
    format!("  {id}: {} see only `{entity}` whose `{feature}` {op} {}", roles.join(", "), values.join(", "))
}

fn rules_text(rules: &[Rule]) -> String {
    if rules.is_empty() {
        return "  no rules: every row is seen by whoever may ask".to_owned();
    }
    rules.iter().map(rule_text).collect::<Vec<_>>().join("\n")
}

fn listed_text(rules: &Rules) -> String {
    let holds = format!("in force:\n{}", rules_text(&rules.rules));
    if rules.proposals.is_empty() {
        return holds;
    }
    let row =
        |one: &Summary| vec![one.proposal.clone(), one.state.clone(), one.proposed_by.clone(), one.proposed.clone()];
    let headings = [("proposal", LEFT), ("state", LEFT), ("by", LEFT), ("at", LEFT)];
    format!("{holds}\n\n{}", table(&headings, &rules.proposals.iter().map(row).collect::<Vec<_>>()).trim_end())
}

fn proposal_text(proposal: &Proposal) -> String {
    let Summary { proposal: id, proposed_by, proposed, reason, .. } = &proposal.summary;
    let rules = rules_text(&proposal.rules);
    format!("proposal {id} by {proposed_by}, {proposed}\nreason: {reason}\n{rules}\n{}", comparison_text(proposal))
}

fn comparison_text(proposal: &Proposal) -> String {
    let part = |what: &str, lines: &[String]| {
        let heading = format!("{} {what}", counted(lines.len() as u64, "thing", "things"));
        [heading].into_iter().chain(lines.iter().map(|line| format!("  {line}"))).collect::<Vec<_>>().join("\n")
    };
    format!("{}\n{}", part("now shown", &proposal.wider), part("no longer shown", &proposal.narrower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_who_sees_what() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rows.toml");
        let write = |text: &str| std::fs::write(&file, text).expect("written");
        write(
            "format = \"creta.rows/1\"\n[[rule]]\nid = \"home\"\nentity = \"User\"\nroles = [\"viewer\"]\n\
             feature = \"User.country\"\nin = [\"CH\", \"LI\"]\n",
        );
        assert_eq!(
            rules_of(&file).expect("read"),
            [json!({"id": "home", "entity": "User", "roles": ["viewer"], "feature": "User.country", "op": "in",
                "values": ["CH", "LI"]})]
        );
        for bad in [
            "format = \"creta.rows/2\"",
            "format = \"creta.rows/1\"\n[[rule]]\nid = \"home\"\nentity = \"U\"\nroles = []\nfeature = \"U.c\"",
            "format = \"creta.rows/1\"\n[[rule]]\nid = \"h\"\nentity = \"U\"\nroles = []\nfeature = \"U.c\"\nequals = 1\nin = [1]",
            "rules = []",
        ] {
            write(bad);
            rules_of(&file).expect_err(bad);
        }
    }
}
