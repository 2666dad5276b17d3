//! Changes of somebody's account that take two people: asking, looking, agreeing.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::connect;
use super::signed::wait_for_signature;
use crate::args::Connection;
use crate::failure::Failure;
use crate::http::{Server, encoded};
use crate::terminal::{Align, Terminal, table};

const REQUESTS: &str = "/v1/person-requests";

/// What somebody asks another to agree to.
#[derive(Debug, Serialize, Deserialize)]
struct Change {
    request: String,
    state: String,
    person: String,
    reason: String,
    requested_by: String,
    requested: String,
    void_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agreed_by: Option<String>,
    says: String,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Changes {
    requests: Vec<Change>,
}

/// Asks for agreement.
pub(super) fn ask(connection: &Connection, body: &Value, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let asked: Change = connect(connection)?.0.post(REQUESTS, body)?;
    terminal.show(&asked, || {
        let Change { request, says, void_at, .. } = &asked;
        format!(
            "asked to {says}; void at {void_at}\n\
             somebody else agrees with: creta person agree {request}\n\
             then repeat your command without `--reason`"
        )
    });
    Ok(())
}

/// Shows what one asked for and what one may agree to.
pub(super) fn list(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let listed: Changes = connect(connection)?.0.get(REQUESTS)?;
    terminal.show(&listed, || {
        if listed.requests.is_empty() {
            return "no requests".to_owned();
        }
        let row = |c: &Change| vec![c.request.clone(), c.state.clone(), c.requested_by.clone(), c.says.clone()];
        let headings = [("request", Align::Left), ("state", Align::Left), ("by", Align::Left), ("what", Align::Left)];
        table(&headings, &listed.requests.iter().map(row).collect::<Vec<_>>())
    });
    Ok(())
}

/// Agrees, signed where one has an authenticator. The page where it is signed shows what has to be passed on.
pub(super) fn agree(connection: &Connection, id: &str, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, _) = connect(connection)?;
    let shown = find(&server, id)?;
    let Change { says, requested_by, reason, .. } = &shown;
    terminal.complain(&format!("{requested_by} asks to {says}\nreason: {reason}"));
    let path = format!("{REQUESTS}/{}/approve", encoded(id));
    let mut agreed: Change = server.post(&path, &json!({ "digest": shown.digest }))?;
    if let Some(address) = agreed.verify.take() {
        agreed = wait_for_signature(&address, terminal, "`creta person requests`", || {
            Ok(Some(find(&server, id)?).filter(|now| now.state == "approved"))
        })?;
    }
    terminal.show(&agreed, || format!("agreed; {} can do it until {}", agreed.requested_by, agreed.void_at));
    Ok(())
}

fn find(server: &Server, id: &str) -> Result<Change, Failure> {
    let Changes { requests } = server.get(REQUESTS)?;
    requests.into_iter().find(|change| change.request == id).ok_or_else(|| {
        Failure::usage(
            "not-found/proposal",
            format!("there is no request `{id}` that you can see"),
            "`creta person requests` shows those that you can",
        )
    })
}
