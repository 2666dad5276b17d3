//! `creta audit access`: every access to a scope, as whoever owns the data sees it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::prove_own_entry;
use crate::failure::Failure;
use crate::http::Server;
use crate::terminal::{Align, Terminal, counted, grouped, table};

/// Entries that are asked for at a time.
const PAGE: u64 = 1_000;

/// What the server says of some entries.
#[derive(Debug, Deserialize)]
struct Page {
    accesses: Vec<Access>,
    next: u64,
    size: u64,
}

/// One access. The same members as the server's.
#[derive(Debug, Serialize, Deserialize)]
struct Access {
    index: u64,
    time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    staff: bool,
    action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    features: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
    counts: serde_json::Value,
}

/// All of them.
#[derive(Debug, Serialize)]
struct Accesses {
    accesses: Vec<Access>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    proofs: Option<usize>,
}

pub(super) fn run(
    server: &Server,
    start: u64,
    prove: Option<&Path>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let mut all = Accesses { accesses: Vec::new(), size: 0, proofs: None };
    let mut next = start;
    loop {
        let page: Page = server.get(&format!("/v1/audit/access?start={next}&limit={PAGE}"))?;
        all.accesses.extend(page.accesses);
        all.size = page.size;
        if page.next >= page.size || page.next <= next {
            break;
        }
        next = page.next;
    }
    if let Some(folder) = prove {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
        for access in &all.accesses {
            let file = folder.join(format!("{}.tlog-proof", access.index));
            let proof = prove_own_entry(server, access.index)?.to_string();
            std::fs::write(&file, proof).map_err(|error| Failure::file("write", &file, &error))?;
        }
        all.proofs = Some(all.accesses.len());
    }
    terminal.show(&all, || all.text());
    Ok(())
}

impl Accesses {
    fn text(&self) -> String {
        let row = |access: &Access| {
            let who = access.id.as_deref().unwrap_or("(creta itself)");
            vec![
                access.index.to_string(),
                access.time.clone(),
                if access.staff { format!("{who}  STAFF") } else { who.to_owned() },
                access.kind.clone().unwrap_or_default(),
                access.action.clone(),
                access.decision.clone().unwrap_or_default(),
                features(access.features.as_ref()),
                counts(&access.counts),
                access.purpose.clone().unwrap_or_default(),
            ]
        };
        let headings = [
            ("entry", Align::Right),
            ("time", Align::Left),
            ("who", Align::Left),
            ("kind", Align::Left),
            ("action", Align::Left),
            ("outcome", Align::Left),
            ("features", Align::Left),
            ("counts", Align::Left),
            ("purpose", Align::Left),
        ];
        let rows: Vec<_> = self.accesses.iter().map(row).collect();
        let mut text = format!(
            "{}\n{} of your own, of {} in the log",
            table(&headings, &rows),
            counted(self.accesses.len() as u64, "entry", "entries"),
            grouped(self.size)
        );
        if let Some(proofs) = self.proofs {
            text += &format!("\nwrote {}", counted(proofs as u64, "proof", "proofs"));
        }
        text
    }
}

/// `reads 1, rows 3`.
fn counts(counts: &serde_json::Value) -> String {
    let all = counts.as_object().into_iter().flatten();
    all.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

fn features(features: Option<&serde_json::Value>) -> String {
    let Some(features) = features else { return String::new() };
    let names = features["names"]
        .as_array()
        .map(|names| names.iter().filter_map(|name| name.as_str()).collect::<Vec<_>>().join(" "));
    names.filter(|names| !names.is_empty()).unwrap_or_else(|| features["count"].to_string())
}
