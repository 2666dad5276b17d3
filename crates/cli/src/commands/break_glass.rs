//! `creta break-glass`: the sealed emergency account.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::browser;
use super::connect;
use crate::args::{BreakGlassCommand, Connection, FindingArg, HalfShown};
use crate::failure::Failure;
use crate::held_key::{HeldKey, new_key, to_pkcs8};
use crate::http::{Server, encoded};
use crate::profile::{self, Profile, SESSION_FILE_FORMAT, SessionFile, Whom};
use crate::terminal::{Align, Terminal, table};

const LEFT: Align = Align::Left;
/// The first half, the other one 15 minutes later at most, and the time for both signatures.
const WAITS: Duration = Duration::from_secs(22 * 60);

#[derive(Debug, Serialize, Deserialize)]
struct Seal {
    seal: String,
    made: String,
    by: String,
    holders: Vec<Holder>,
    ready: bool,
    #[serde(default)]
    spent: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    half: String,
    person: String,
    #[serde(default)]
    taken: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Taken {
    half: String,
    secret: String,
}

#[derive(Debug, Deserialize)]
struct Began {
    opening: String,
    verify: String,
    person: String,
    session: String,
    renewal: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Use {
    opening: String,
    reason: String,
    minutes: u64,
    halves: Vec<Value>,
    open: bool,
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    closed: Option<String>,
    review: String,
    #[serde(default)]
    found: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Account {
    seal: Option<Seal>,
    openings: Vec<Use>,
}

pub(crate) fn run(command: BreakGlassCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        BreakGlassCommand::Seal { holders, connection } => {
            let [first, second] = holders.as_slice() else {
                let help = "add `--holder` twice, for two different people";
                return Err(Failure::usage("break-glass/holders", "two people hold the halves", help));
            };
            let body = json!({ "holders": [first, second] });
            let seal: Seal = connect(&connection)?.0.post("/v1/break-glass/seal", &body)?;
            terminal.show(&seal, || {
                format!(
                    "{first} and {second} hold the halves of the emergency account\n\
                     each of them takes their own with: creta break-glass take"
                )
            });
        }
        BreakGlassCommand::Take { out, connection } => {
            let taken: Taken = connect(&connection)?.0.post_empty("/v1/break-glass/half")?;
            match out {
                Some(file) => {
                    profile::write_private(&file, taken.secret.as_bytes())?;
                    let shown = json!({ "half": taken.half, "file": file });
                    terminal.show(&shown, || format!("wrote the {} half to {}", taken.half, file.display()));
                }
                None => terminal.show(&taken, || {
                    format!(
                        "the {} half, shown this once:\n  {}\nkeep it on paper or in a store of your own; \
                         whoever has it needs your authenticator as well",
                        taken.half, taken.secret
                    )
                }),
            }
        }
        BreakGlassCommand::Open { reason, minutes, half, name, connection } => {
            open(&connection, &half, (&reason, minutes), &name, terminal)?;
        }
        BreakGlassCommand::Join { id, half, connection } => {
            let body = json!({ "person": half.person, "half": read_half(&half, terminal)? });
            let path = format!("/v1/break-glass/openings/{}/join", encoded(&id));
            let asked: Value = connect(&connection)?.0.post_open(&path, &body)?;
            let address = asked["verify"].as_str().unwrap_or_default().to_owned();
            send_to(&address, terminal);
            terminal.show(&asked, || {
                "read there what the other holder wants, call them, and sign; the account is open then".to_owned()
            });
        }
        BreakGlassCommand::Show(connection) => {
            let account: Account = connect(&connection)?.0.get("/v1/break-glass")?;
            terminal.show(&account, || account_text(&account));
        }
        BreakGlassCommand::Close { id, profile } => {
            let path = format!("/v1/break-glass/openings/{}/close", encoded(&id));
            let closed: Use = connect(&Connection { profile })?.0.post_empty(&path)?;
            terminal.show(&closed, || {
                format!("opening {id} is closed; somebody else reviews it within a day: creta break-glass review {id}")
            });
        }
        BreakGlassCommand::Review { id, finding, words, connection } => {
            let finding = match finding {
                FindingArg::Justified => "justified",
                FindingArg::NotJustified => "not-justified",
            };
            let path = format!("/v1/break-glass/openings/{}/review", encoded(&id));
            let reviewed: Use = connect(&connection)?.0.post(&path, &json!({ "finding": finding, "words": words }))?;
            terminal.show(&reviewed, || {
                format!(
                    "opening {id}: {finding}\nmake new halves: creta break-glass seal --holder PERSON --holder PERSON"
                )
            });
        }
    }
    Ok(())
}

/// Shows the first half with a key of this machine, and asks until the account is open.
fn open(
    connection: &Connection,
    half: &HalfShown,
    (reason, minutes): (&str, u8),
    name: &str,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let (server, known) = connect(connection)?;
    let key = new_key();
    let kept = to_pkcs8(&key);
    let key = HeldKey::Software(key);
    let secret = read_half(half, terminal)?;
    let body = json!({ "person": half.person, "half": secret, "reason": reason, "minutes": minutes });
    let began: Began = server.post_proven("/v1/break-glass/openings", &body, &key)?;
    send_to(&began.verify, terminal);
    terminal.complain(&format!(
        "then call the other holder; within 15 minutes they run\n  creta break-glass join {} --as PERSON\n",
        began.opening
    ));
    let file = profile::default_file()?;
    let session_file = file.with_file_name(format!("{name}.session"));
    let session = SessionFile {
        format: SESSION_FILE_FORMAT.to_owned(),
        person: began.person.clone(),
        session: began.session,
        renewal: began.renewal,
        key: kept,
    };
    wait(&server, &session, &key)?;
    session.write(&session_file)?;
    let profile = Profile { url: known.url, ca_file: known.ca_file, whom: Whom::Person { session_file } };
    profile::store(&file, name, profile)?;
    let shown = json!({ "opening": began.opening, "profile": name, "person": began.person, "minutes": minutes });
    terminal.show(&shown, || {
        format!(
            "the emergency account is open for {minutes} minutes, and whoever is on call is paged\n\
             act with `--profile {name}`, such as: creta person list --profile {name}\n\
             close it when you are done:       creta break-glass close {} --profile {name}",
            began.opening
        )
    });
    Ok(())
}

fn wait(server: &Server, session: &SessionFile, key: &HeldKey) -> Result<(), Failure> {
    let deadline = Instant::now() + WAITS;
    let request = json!({ "session": session.session, "renewal": session.renewal });
    while Instant::now() < deadline {
        match server.post_proven::<Value>("/v1/sessions/renew", &request, key) {
            Ok(_) => return Ok(()),
            Err(failure) if failure.problems[0].code == "conflict/break-glass-pending" => {}
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(Duration::from_secs(3));
    }
    Err(Failure::usage("break-glass/too-late", "nobody showed the other half in time", "begin again"))
}

/// Opens the page where an authenticator signs, or says where it is.
pub(super) fn send_to(address: &str, terminal: &mut Terminal<'_>) {
    if !browser::open(address) {
        terminal.complain("sign it with your authenticator, in any browser:\n");
    }
    terminal.complain(&format!("  {address}\n"));
}

fn read_half(half: &HalfShown, terminal: &mut Terminal<'_>) -> Result<String, Failure> {
    match &half.half_file {
        Some(file) => Ok(profile::read_secret(file)?.trim().to_owned()),
        None => terminal.ask_secret("your half: "),
    }
}

fn account_text(account: &Account) -> String {
    let seal = match &account.seal {
        None => "there is no seal: creta break-glass seal --holder PERSON --holder PERSON".to_owned(),
        Some(seal) => {
            let row = |holder: &Holder| {
                let taken = holder.taken.as_ref().map_or("not taken yet".to_owned(), |at| format!("taken {at}"));
                vec![holder.half.clone(), holder.person.clone(), taken]
            };
            let rows: Vec<_> = seal.holders.iter().map(row).collect();
            let state = match (&seal.spent, seal.ready) {
                (Some(_), _) => "the halves were used; make new ones",
                (None, true) => "ready",
                (None, false) => "not ready: a half was not taken yet",
            };
            format!("{}\n{state}", table(&[("half", LEFT), ("holder", LEFT), ("state", LEFT)], &rows).trim_end())
        }
    };
    if account.openings.is_empty() {
        return format!("{seal}\n\nit was never opened");
    }
    let row = |used: &Use| {
        let by: Vec<&str> = used.halves.iter().filter_map(|shown| shown["by"].as_str()).collect();
        let state = match (used.open, used.halves.len(), &used.found) {
            (true, ..) => format!("open until {}", used.expires.as_deref().unwrap_or("?")),
            (false, 1, _) => "never open".to_owned(),
            (false, _, Some(found)) => found.clone(),
            (false, _, None) => format!("review {}", used.review),
        };
        vec![used.opening.clone(), by.join(" + "), state, used.reason.clone()]
    };
    let headings = [("opening", LEFT), ("by", LEFT), ("state", LEFT), ("reason", LEFT)];
    format!("{seal}\n\n{}", table(&headings, &account.openings.iter().map(row).collect::<Vec<_>>()).trim_end())
}
