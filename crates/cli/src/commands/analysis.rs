//! `creta access analyze`: what is granted beside what is used.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::http::Server;
use crate::terminal::{Align, Terminal, counted, table};

#[derive(Debug, Serialize, Deserialize)]
struct Analysis {
    findings: Vec<Finding>,
    roles: Vec<RoleFinding>,
    young: Vec<String>,
    proposal: Vec<Value>,
    grants: Vec<Grants>,
    news: Vec<News>,
    standing: Vec<Standing>,
    paths: Vec<Toxic>,
    policy: Option<String>,
    entries: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Finding {
    subject: String,
    unused: Vec<String>,
    suspicious: Vec<Suspicious>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Suspicious {
    permission: String,
    pattern: String,
    uses: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct RoleFinding {
    role: String,
    unused: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Grants {
    holder: String,
    role: String,
    place: Value,
    grants: u64,
    idle: u64,
    judged: bool,
    since: String,
    used: Vec<String>,
    unused: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Standing {
    subject: String,
    role: String,
    need: Option<String>,
}

/// What a program did for the first time after it was known for a while.
#[derive(Debug, Serialize, Deserialize)]
struct News {
    client_id: String,
    what: String,
    name: String,
    first: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Toxic {
    holder: Value,
    left: Duty,
    right: Duty,
    why: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Duty {
    through: Vec<String>,
    duty: String,
    place: String,
}

const LEFT: Align = Align::Left;

pub(super) fn run(server: &Server, policy: Option<&Path>, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let analysis: Analysis = server.get("/v1/access/analysis")?;
    if let Some(file) = policy {
        let text = analysis.policy.as_deref().ok_or_else(|| {
            Failure::usage(
                "access/nothing-unused",
                "every action of every role is used by somebody, or too young to be judged",
                "there is nothing to propose",
            )
        })?;
        std::fs::write(file, text).map_err(|error| Failure::file("write", file, &error))?;
    }
    terminal.show(&analysis, || text(&analysis, policy));
    Ok(())
}

fn text(analysis: &Analysis, policy: Option<&Path>) -> String {
    let mut parts = Vec::new();
    let of_finding = |finding: &Finding| {
        let unused =
            finding.unused.iter().map(|right| vec![finding.subject.clone(), right.clone(), "unused".to_owned()]);
        let suspicious = finding.suspicious.iter().map(|one| {
            let how = format!(
                "{}: {} as use",
                one.pattern,
                counted(one.uses, "request does not count", "requests do not count")
            );
            vec![finding.subject.clone(), one.permission.clone(), how]
        });
        unused.chain(suspicious).collect::<Vec<_>>()
    };
    let rows: Vec<_> = analysis.findings.iter().flat_map(of_finding).collect();
    parts.push(match rows.is_empty() {
        true => "every right that is old enough to be judged was used".to_owned(),
        false => table(&[("subject", LEFT), ("right", LEFT), ("what", LEFT)], &rows).trim_end().to_owned(),
    });
    for role in &analysis.roles {
        parts.push(format!("no {} uses {}", role.role, role.unused.join(", ")));
    }
    let of_grants = |one: &Grants| {
        let of = match one.place["tenant"].as_str() {
            Some(tenant) => format!("{} of {tenant}", one.role),
            None => one.role.clone(),
        };
        let used = match (one.used.is_empty(), one.judged) {
            (false, _) => one.used.join(", "),
            (true, true) => "nothing".to_owned(),
            (true, false) => "nothing yet".to_owned(),
        };
        vec![one.holder.clone(), of, one.grants.to_string(), one.idle.to_string(), used, one.unused.join(", ")]
    };
    if !analysis.grants.is_empty() {
        let headings =
            [("holder", LEFT), ("granted", LEFT), ("times", LEFT), ("idle", LEFT), ("used", LEFT), ("not used", LEFT)];
        parts.push(table(&headings, &analysis.grants.iter().map(of_grants).collect::<Vec<_>>()).trim_end().to_owned());
    }
    let of_standing = |one: &Standing| {
        let need = one.need.clone().unwrap_or_else(|| "no need is written down".to_owned());
        vec![one.subject.clone(), one.role.clone(), need]
    };
    if !analysis.standing.is_empty() {
        let rows: Vec<_> = analysis.standing.iter().map(of_standing).collect();
        parts.push(table(&[("for good", LEFT), ("role", LEFT), ("need", LEFT)], &rows).trim_end().to_owned());
    }
    let of_news = |one: &News| vec![one.client_id.clone(), format!("{} {}", one.what, one.name), one.first.clone()];
    if !analysis.news.is_empty() {
        let rows: Vec<_> = analysis.news.iter().map(of_news).collect();
        parts.push(table(&[("program", LEFT), ("new", LEFT), ("first", LEFT)], &rows).trim_end().to_owned());
    }
    for path in &analysis.paths {
        let way = |duty: &Duty| format!("{} > {}@{}", duty.through.join(" > "), duty.duty, duty.place);
        parts.push(format!("in one hand: {} and {}; they {}", way(&path.left), way(&path.right), path.why));
    }
    let young = counted(analysis.young.len() as u64, "is", "are");
    parts.push(format!("{young} too young to be judged; {}", counted(analysis.entries, "entry read", "entries read")));
    if let Some(file) = policy {
        let file = file.display();
        parts.push(format!("wrote a policy to {file}\nnext: creta access policy propose {file}"));
    }
    parts.join("\n")
}
