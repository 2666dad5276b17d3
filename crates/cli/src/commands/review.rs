//! `creta review`: reviews of access.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use creta_programme::campaign::{MAY, ReviewResult};
use creta_proof::{Hash, InclusionProof, VerifierKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::audit::read_key;
use super::connect;
use super::signed::wait_for_signature;
use crate::args::{ReviewCommand, ReviewVerdict};
use crate::failure::Failure;
use crate::http::{Server, encoded};
use crate::terminal::{Align, Terminal, table};

const RESULT: &str = "result.json";
const PROOF: &str = "result.tlog-proof";
const LEFT: Align = Align::Left;

#[derive(Debug, Serialize, Deserialize)]
struct Summary {
    review: String,
    occurrence: String,
    opened: String,
    population: String,
    identities: u64,
    decided: u64,
    undone: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Reviews {
    reviews: Vec<Summary>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Review {
    #[serde(flatten)]
    summary: Summary,
    lines: Vec<Line>,
    nobody_may_decide: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    identity: Identity,
    since: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probe: Option<Value>,
    flags: BTreeSet<String>,
    #[serde(default)]
    needs: BTreeMap<String, String>,
    digest: String,
    pending: Option<String>,
    conflict: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    subject: String,
    people: BTreeSet<String>,
    granted_by: BTreeSet<String>,
    rights: BTreeSet<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Undone {
    subject: String,
    lacks: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Closing {
    closed: bool,
    undone: Vec<Undone>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entry: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Filed {
    result: String,
    entry: u64,
    proof: String,
}

pub(crate) fn run(command: ReviewCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        ReviewCommand::List(connection) => {
            let listed: Reviews = connect(&connection)?.0.get("/v1/reviews")?;
            terminal.show(&listed, || listed_text(&listed.reviews));
        }
        ReviewCommand::Show { id, undone, connection } => {
            let mut review: Review = connect(&connection)?.0.get(&path(&id, ""))?;
            review.lines.retain(|line| !undone || line.pending.is_some());
            terminal.show(&review, || shown_text(&review));
        }
        ReviewCommand::Decide { id, subject, verdict, reason, connection } => {
            let line = decide(&connect(&connection)?.0, &id, &subject, verdict, &reason, terminal)?;
            terminal.show(&line, || match verdict {
                ReviewVerdict::Keep => format!("{subject} keeps {}", rights(&line)),
                ReviewVerdict::Revoke => {
                    let tried = line.probe.as_ref().map_or("not tried yet", |probe| {
                        if probe["tried"] == "refused" { "tried, and refused" } else { "still allowed" }
                    });
                    format!("{subject} loses {}: {tried}", rights(&line))
                }
            });
        }
        ReviewCommand::Close { id, connection } => {
            let closing: Closing = connect(&connection)?.0.post(&path(&id, "/close"), &json!({}))?;
            terminal.show(&closing, || match closing.entry {
                Some(entry) => format!(
                    "review {id} is closed; entry {entry} of the log holds the digest of its result\n\
                     next: creta review export {id} --out FOLDER"
                ),
                None => {
                    let row = |undone: &Undone| vec![undone.subject.clone(), undone.lacks.clone()];
                    let rows: Vec<_> = closing.undone.iter().map(row).collect();
                    format!("not closed yet\n{}", table(&[("subject", LEFT), ("lacks a", LEFT)], &rows))
                }
            });
        }
        ReviewCommand::Export { id, out, connection } => {
            let filed: Filed = connect(&connection)?.0.get(&path(&id, "/result"))?;
            std::fs::create_dir_all(&out).map_err(|error| Failure::file("create", &out, &error))?;
            for (name, text) in [(RESULT, &filed.result), (PROOF, &filed.proof)] {
                let file = out.join(name);
                std::fs::write(&file, text).map_err(|error| Failure::file("write", &file, &error))?;
            }
            let shown = json!({ "folder": out, "entry": filed.entry });
            terminal.show(&shown, || {
                let folder = out.display();
                format!("wrote the result to {folder}\nnext: creta review check {folder} --key KEY")
            });
        }
        ReviewCommand::Check { folder, key } => {
            let result = check(&folder, &read_key(&key)?)?;
            let shown = json!({
                "holds": true, "review": result.campaign, "occurrence": result.occurrence, "kept": result.kept,
                "revoked": result.revoked, "unanswered": result.unanswered,
            });
            terminal.show(&shown, || {
                let ReviewResult { campaign, occurrence, kept, revoked, unanswered, closed, .. } = &result;
                format!(
                    "review {campaign} ({occurrence}) was closed at {closed}: {kept} kept, {revoked} revoked, of which \
                     {unanswered} for want of an answer\nthe log holds the digest of this result"
                )
            });
        }
    }
    Ok(())
}

/// Decides on a line as it is now, after showing what that is.
fn decide(
    server: &Server,
    id: &str,
    subject: &str,
    verdict: ReviewVerdict,
    reason: &str,
    terminal: &mut Terminal<'_>,
) -> Result<Line, Failure> {
    let line = line_of(server, id, subject)?;
    terminal.complain(&format!("{subject} holds {}", rights(&line)));
    let actions: Vec<&str> = line.identity.rights.iter().filter_map(|right| right.strip_prefix(MAY)).collect();
    if !actions.is_empty() {
        terminal.complain(&format!("by the policies in force: {}", actions.join(", ")));
    }
    let verdict = match verdict {
        ReviewVerdict::Keep => "keep",
        ReviewVerdict::Revoke => "revoke",
    };
    let body = json!({ "subject": subject, "digest": line.digest, "verdict": verdict, "reason": reason });
    let decided: Line = server.post(&path(id, "/decide"), &body)?;
    let Some(address) = decided.verify else { return Ok(decided) };
    let look = format!("`creta review show {id}`");
    wait_for_signature(&address, terminal, &look, || {
        let now = line_of(server, id, subject)?;
        Ok((now.decision.is_some() && now.decision != line.decision).then_some(now))
    })
}

fn line_of(server: &Server, id: &str, subject: &str) -> Result<Line, Failure> {
    let review: Review = server.get(&path(id, ""))?;
    review.lines.into_iter().find(|line| line.identity.subject == subject).ok_or_else(|| {
        let message = format!("`{subject}` is not in review {id}");
        Failure::usage("review/no-line", message, format!("`creta review show {id}` lists its lines"))
    })
}

/// Believes nothing but the key: that the log holds the entry, and that the entry holds the digest of this very result.
fn check(folder: &Path, key: &VerifierKey) -> Result<ReviewResult, Failure> {
    let read = |name: &str| {
        let file = folder.join(name);
        std::fs::read_to_string(&file).map_err(|error| Failure::file("read", &file, &error))
    };
    let wrong =
        |what: &str| Failure::usage("review/not-proven", what.to_owned(), "ask for the result and its proof again");
    let text = read(RESULT)?;
    let proof = InclusionProof::parse(&read(PROOF)?)?;
    proof.verify(key)?;
    let entry: Value = serde_json::from_slice(&proof.entry).map_err(|_| wrong("the entry is not JSON"))?;
    if entry["action"] != "review.closed" {
        return Err(wrong("the proof is of another entry, not of the end of a review"));
    }
    if entry["details"]["result"] != format!("sha256:{}", Hash::of(&[text.as_bytes()])) {
        return Err(wrong("this is not the result whose digest the log holds"));
    }
    ReviewResult::parse(text.as_bytes()).map_err(|error| wrong(&error.to_string()))
}

fn path(id: &str, what: &str) -> String {
    format!("/v1/reviews/{}{what}", encoded(id))
}

/// What was given; what it amounts to is counted, or listed where it is decided on.
fn rights(line: &Line) -> String {
    let rights: Vec<&str> =
        line.identity.rights.iter().map(String::as_str).filter(|right| !right.starts_with(MAY)).collect();
    let needs: Vec<String> = line.needs.iter().map(|(role, need)| format!("; {role}: {need}")).collect();
    if rights.is_empty() { "nothing".to_owned() } else { rights.join(", ") + &needs.concat() }
}

fn listed_text(reviews: &[Summary]) -> String {
    if reviews.is_empty() {
        return "no reviews yet; the first opens with the next quarter".to_owned();
    }
    let row = |review: &Summary| {
        let state = match &review.closed {
            Some(at) => format!("closed {at}"),
            None => format!("{} undone", review.undone),
        };
        let decided = format!("{} of {}", review.decided, review.identities);
        vec![review.review.clone(), review.occurrence.clone(), decided, state]
    };
    let headings = [("review", LEFT), ("of", LEFT), ("decided", LEFT), ("state", LEFT)];
    table(&headings, &reviews.iter().map(row).collect::<Vec<_>>())
}

fn shown_text(review: &Review) -> String {
    let row = |line: &Line| {
        let verdict = line.decision.as_ref().and_then(|decision| decision["verdict"].as_str());
        let state = match (verdict, line.pending.as_deref(), &line.conflict) {
            (Some(verdict), None, _) => verdict.to_owned(),
            (Some(verdict), Some(lacks), _) => format!("{verdict}, lacks a {lacks}"),
            (None, _, Some(_)) => "not yours to decide".to_owned(),
            (None, ..) => "to decide".to_owned(),
        };
        let flags: Vec<&str> = line.flags.iter().map(String::as_str).collect();
        vec![line.identity.subject.clone(), rights(line), state, flags.join(", ")]
    };
    let headings = [("subject", LEFT), ("holds", LEFT), ("state", LEFT), ("noticed", LEFT)];
    let lines = table(&headings, &review.lines.iter().map(row).collect::<Vec<_>>());
    let Summary { review: id, occurrence, decided, identities, .. } = &review.summary;
    let nobody = match review.nobody_may_decide.as_slice() {
        [] => String::new(),
        subjects => format!("\nnone of today's reviewers may decide on {}", subjects.join(", ")),
    };
    format!("review {id} ({occurrence}): {decided} of {identities} decided\n{}{nobody}", lines.trim_end())
}
