//! `creta access`, `creta person`, `creta session`, `creta whoami` and `creta logout`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::signed::wait_for_signature;
use super::{changes, connect};
use crate::args::{AccessCommand, AccessItem, AccessRequest, Connection, PersonCommand, SessionCommand};
use crate::failure::Failure;
use crate::http::{Server, encoded, query_string};
use crate::profile::{SessionFile, Whom};
use crate::terminal::{Align, Terminal, table};

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    request: String,
    state: String,
    requester: String,
    #[serde(rename = "for")]
    beneficiary: String,
    role: String,
    place: String,
    reason: String,
    ticket: String,
    hours: u8,
    created: String,
    void_at: String,
    approved_by: Vec<String>,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Requests {
    requests: Vec<Request>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Grant {
    grant: String,
    holder: String,
    role: String,
    place: String,
    ticket: String,
    activated: String,
    expires: String,
    holds: bool,
    approved_by: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Invited {
    person: String,
    tenant: String,
    roles: Vec<String>,
    link: String,
    expires: String,
    /// Whether it is good only together with a word that somebody else knows.
    word: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Grants {
    grants: Vec<Grant>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Person {
    person: String,
    human: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stands_for: Option<String>,
    tenant: Option<String>,
    roles: Vec<String>,
    #[serde(default)]
    needs: BTreeMap<String, String>,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<String>,
    /// Where it is signed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Persons {
    persons: Vec<Person>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Session {
    session: String,
    client: String,
    methods: Vec<String>,
    user_verified: bool,
    opened: String,
    expires: String,
    open: bool,
    this: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sessions {
    sessions: Vec<Session>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Explanation {
    allowed: bool,
    reason: String,
    policies: Vec<String>,
    grants: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commitment: Option<String>,
    features: Vec<ExplainedFeature>,
    #[serde(default)]
    declassified: Vec<Value>,
    #[serde(default)]
    rows: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remedy: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ExplainedFeature {
    feature: String,
    level: String,
    policies: Vec<String>,
    tags: Vec<ExplainedTag>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ExplainedTag {
    tag: String,
    path: Vec<String>,
}

const LEFT: Align = Align::Left;

pub(crate) fn access(command: AccessCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        AccessCommand::Request(request) => ask(&request, terminal),
        AccessCommand::List(connection) => list(&connection, terminal),
        AccessCommand::Show(item) => {
            let request: Request = connect(&item.connection)?.0.get(&request_path(&item, ""))?;
            terminal.show(&request, || described(&request));
            Ok(())
        }
        AccessCommand::Approve(item) => decide(&item, "approve", terminal),
        AccessCommand::Deny(item) => decide(&item, "deny", terminal),
        AccessCommand::Activate(item) => {
            let grant: Grant = connect(&item.connection)?.0.post(&request_path(&item, "/activate"), &json!({}))?;
            terminal.show(&grant, || {
                let Grant { role, place, expires, grant, .. } = &grant;
                format!(
                    "you are {role} of {place} until {expires}\n\
                     give it back when you are done: creta access return {grant}"
                )
            });
            Ok(())
        }
        AccessCommand::Withdraw(item) => {
            let request: Request = connect(&item.connection)?.0.post(&request_path(&item, "/withdraw"), &json!({}))?;
            terminal.show(&request, || format!("request {} is withdrawn", request.request));
            Ok(())
        }
        AccessCommand::Return(item) => end_grant(&item, "return", terminal),
        AccessCommand::Revoke(item) => end_grant(&item, "revoke", terminal),
        AccessCommand::Policy(command) => super::policies::run(command, terminal),
        AccessCommand::Rows(command) => super::rows::run(command, terminal),
        AccessCommand::Declassify(command) => super::declassify::run(command, terminal),
        AccessCommand::Analyze { policy, connection } => {
            super::analysis::run(&connect(&connection)?.0, policy.as_deref(), terminal)
        }
        AccessCommand::Explain { action, features, tenant, connection } => {
            let features = (!features.is_empty()).then(|| features.join(","));
            let parameters = [("action", Some(action.clone())), ("features", features), ("tenant", tenant)];
            let path = query_string("/v1/access/explain", &parameters);
            let explained: Explanation = connect(&connection)?.0.get(&path)?;
            terminal.show(&explained, || explanation_text(&action, &explained));
            Ok(())
        }
    }
}

fn ask(asked: &AccessRequest, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let place = match &asked.tenant {
        Some(tenant) => json!({ "tenant": tenant }),
        None if asked.environment => json!("environment"),
        None => Value::Null,
    };
    let body = json!({
        "role": asked.role, "place": place, "reason": asked.reason, "ticket": asked.ticket, "hours": asked.hours,
        "for": asked.beneficiary,
    });
    let request: Request = connect(&asked.connection)?.0.post("/v1/access/requests", &body)?;
    terminal.show(&request, || {
        let Request { request, role, place, void_at, .. } = &request;
        format!(
            "asked for {role} of {place}; void at {void_at}\n\
             somebody else approves it with: creta access approve {request}\n\
             then begin it with:             creta access activate {request}"
        )
    });
    Ok(())
}

fn list(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, _) = connect(connection)?;
    let Requests { requests } = server.get("/v1/access/requests")?;
    let Grants { grants } = server.get("/v1/access/grants")?;
    terminal.show(&json!({ "requests": requests, "grants": grants }), || {
        let request = |r: &Request| {
            vec![
                r.request.clone(),
                r.state.clone(),
                r.beneficiary.clone(),
                r.role.clone(),
                r.place.clone(),
                format!("{} h", r.hours),
                r.ticket.clone(),
            ]
        };
        let grant = |g: &Grant| {
            let state = if g.holds { format!("until {}", g.expires) } else { "over".to_owned() };
            vec![g.grant.clone(), g.holder.clone(), g.role.clone(), g.place.clone(), state]
        };
        let asked = [
            ("request", LEFT),
            ("state", LEFT),
            ("for", LEFT),
            ("role", LEFT),
            ("place", LEFT),
            ("hours", LEFT),
            ("ticket", LEFT),
        ];
        let held = [("grant", LEFT), ("holder", LEFT), ("role", LEFT), ("place", LEFT), ("state", LEFT)];
        let requests = match requests.is_empty() {
            true => "no requests".to_owned(),
            false => table(&asked, &requests.iter().map(request).collect::<Vec<_>>()),
        };
        let grants = match grants.is_empty() {
            true => "no grants".to_owned(),
            false => table(&held, &grants.iter().map(grant).collect::<Vec<_>>()),
        };
        format!("{}\n\n{}", requests.trim_end(), grants.trim_end())
    });
    Ok(())
}

/// Decides on the request as it is now, after showing what that is.
fn decide(item: &AccessItem, verdict: &str, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, _) = connect(&item.connection)?;
    let read: Request = server.get(&request_path(item, ""))?;
    terminal.complain(&format!("{}\n", described(&read)));
    let body = json!({ "verdict": verdict, "digest": read.digest });
    let mut decided: Request = server.post(&request_path(item, "/decide"), &body)?;
    if let Some(address) = decided.verify.take() {
        let look = format!("`creta access show {}`", item.id);
        decided = wait_for_signature(&address, terminal, &look, || {
            let request: Request = server.get(&request_path(item, ""))?;
            Ok((request.state != read.state).then_some(request))
        })?;
    }
    terminal.show(&decided, || format!("request {} is {}", decided.request, decided.state));
    Ok(())
}

fn end_grant(item: &AccessItem, how: &str, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let path = format!("/v1/access/grants/{}/{how}", encoded(&item.id));
    let grant: Grant = connect(&item.connection)?.0.post(&path, &json!({}))?;
    terminal.show(&grant, || format!("{} is no longer {} of {}", grant.holder, grant.role, grant.place));
    Ok(())
}

fn explanation_text(action: &str, explained: &Explanation) -> String {
    let mut lines = vec![match explained.allowed {
        true => format!("you may `{action}`"),
        false => format!("you may not `{action}`: {}", explained.reason),
    }];
    if !explained.policies.is_empty() {
        lines.push(format!("  decided by   {}", explained.policies.join(", ")));
    }
    for grant in &explained.grants {
        lines.push(format!("  by grant     {}", grant["id"].as_str().unwrap_or_default()));
    }
    for feature in &explained.features {
        lines.push(format!("  {}: {}", feature.feature, feature.level));
        for tag in &feature.tags {
            lines.push(format!("    `{}` through {}", tag.tag, tag.path.join(" <- ")));
        }
        let lifted = explained.declassified.iter().filter(|one| one["feature"] == feature.feature.as_str());
        lines.extend(lifted.map(|one| {
            format!("    not `{}`, by agreement: creta access declassify list", one["tag"].as_str().unwrap_or_default())
        }));
    }
    for rule in &explained.rows {
        let text = |name: &str| rule[name].as_str().unwrap_or_default();
        lines.push(format!(
            "  row rule     {}: rows of `{}` are denied unless `{}` satisfies it",
            text("rule"),
            text("entity"),
            text("feature")
        ));
    }
    let wanted = explained.remedy.as_ref().map(|remedy| &remedy["grant"]);
    if let Some((wanted, role)) = wanted.and_then(|wanted| Some((wanted, wanted["role"].as_str()?))) {
        let place = match wanted["place"]["tenant"].as_str() {
            Some(tenant) => format!("--tenant {tenant}"),
            None => "--environment".to_owned(),
        };
        lines.push(format!(
            "  ask for      creta access request --role {role} {place} --hours 1 --ticket OPS-1234 --reason \"...\""
        ));
    }
    lines.join("\n")
}

fn request_path(item: &AccessItem, what: &str) -> String {
    format!("/v1/access/requests/{}{what}", encoded(&item.id))
}

fn described(request: &Request) -> String {
    let Request { request: id, requester, beneficiary, role, place, hours, ticket, reason, state, .. } = request;
    let whom = if requester == beneficiary { String::new() } else { format!(" for {beneficiary}") };
    let approved = match request.approved_by.as_slice() {
        [] => String::new(),
        people => format!("\n  approved by  {}", people.join(", ")),
    };
    format!(
        "request {id}: {state}\n  {requester} asks{whom} to be {role} of {place} for {hours} h\n  \
         ticket  {ticket}\n  reason  {reason}{approved}"
    )
}

pub(crate) fn person(command: PersonCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        PersonCommand::List(connection) => {
            let listed: Persons = connect(&connection)?.0.get("/v1/persons")?;
            terminal.show(&listed, || {
                let row = |person: &Person| {
                    let state = person.left.as_ref().map_or("active".to_owned(), |at| format!("left {at}"));
                    let home = person.tenant.clone().unwrap_or_else(|| "staff".to_owned());
                    let need = |role: &String| match person.needs.get(role) {
                        Some(need) => format!("{role} ({need})"),
                        None => role.clone(),
                    };
                    let roles: Vec<String> = person.roles.iter().map(need).collect();
                    let human = match &person.stands_for {
                        Some(maker) => format!("{maker}, who invited them: vouch for them"),
                        None => person.human.clone(),
                    };
                    vec![person.person.clone(), home, human, state, roles.join(", ")]
                };
                let headings =
                    [("person", LEFT), ("of", LEFT), ("human", LEFT), ("state", LEFT), ("roles and their needs", LEFT)];
                table(&headings, &listed.persons.iter().map(row).collect::<Vec<_>>())
            });
        }
        PersonCommand::Assign { id, roles, tenant, same_human_as, need, connection } => {
            let body = json!({ "roles": roles, "tenant": tenant, "same_human_as": same_human_as, "need": need });
            let path = format!("/v1/persons/{}/assign", encoded(&id));
            let person: Person = connect(&connection)?.0.post(&path, &body)?;
            terminal.show(&person, || {
                let home = person.tenant.as_ref().map_or("staff".to_owned(), |tenant| format!("of tenant `{tenant}`"));
                let roles = if person.roles.is_empty() { "no role".to_owned() } else { person.roles.join(", ") };
                format!("{}, {home}: {roles}", person.person)
            });
        }
        PersonCommand::Invite { email, tenant, roles, need, reason: Some(reason), connection } => {
            let body = json!({"what": "invite", "person": email, "tenant": tenant, "roles": roles, "need": need, "reason": reason});
            changes::ask(&connection, &body, terminal)?;
        }
        PersonCommand::Invite { email, tenant, roles, need, reason: None, connection } => {
            let body = json!({ "email": email, "tenant": tenant, "roles": roles, "need": need });
            let invited: Invited = connect(&connection)?.0.post("/v1/persons/invite", &body)?;
            terminal.show(&invited, || {
                let Invited { person, link, expires, word, .. } = &invited;
                let with = match word {
                    true => " together with the word that whoever agreed tells them",
                    false => "",
                };
                format!(
                    "{person} is invited; send them this link, which is good once{with}, until {expires}:\n  {link}"
                )
            });
        }
        PersonCommand::Vouch(item) => {
            let path = format!("/v1/persons/{}/vouch", encoded(&item.id));
            let person: Person = connect(&item.connection)?.0.post_empty(&path)?;
            if let Some(address) = &person.verify {
                super::break_glass::send_to(address, terminal);
            }
            terminal.show(&person, || match person.verify {
                Some(_) => format!("{} counts as a human of their own once you signed it there", person.person),
                None => format!("{} counts as a human of their own", person.person),
            });
        }
        PersonCommand::Requests(connection) => changes::list(&connection, terminal)?,
        PersonCommand::Agree(item) => changes::agree(&item.connection, &item.id, terminal)?,
        PersonCommand::ResetAuthenticators { item, reason: Some(reason) } => {
            let body = json!({"what": "reset-authenticators", "person": item.id, "reason": reason});
            changes::ask(&item.connection, &body, terminal)?;
        }
        PersonCommand::ResetAuthenticators { item, reason: None } => {
            let path = format!("/v1/persons/{}/reset-authenticators", encoded(&item.id));
            let person: Person = connect(&item.connection)?.0.post_empty(&path)?;
            terminal.show(&person, || format!("{} registers a second factor at their next sign-in", person.person));
        }
        PersonCommand::Leave(item) => {
            let path = format!("/v1/persons/{}/leave", encoded(&item.id));
            let person: Person = connect(&item.connection)?.0.post(&path, &json!({}))?;
            terminal.show(&person, || format!("{} left; sessions, grants and roles ended", person.person));
        }
        PersonCommand::Readmit(item) => {
            let path = format!("/v1/persons/{}/readmit", encoded(&item.id));
            let person: Person = connect(&item.connection)?.0.post_empty(&path)?;
            terminal.show(&person, || format!("{} may come back, with a new account and no role", person.person));
        }
    }
    Ok(())
}

/// Chooses another password. Neither is shown, nor stands in the shell's history.
pub(crate) fn password(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, _) = connect(connection)?;
    let current = terminal.ask_secret("your password: ")?;
    let new = terminal.ask_secret("the new one, 14 characters at least: ")?;
    if new != terminal.ask_secret("the new one again: ")? {
        return Err(Failure::usage("password/not-the-same", "the two are not the same", "run the command again"));
    }
    let changed: Value = server.post("/v1/me/password", &json!({ "current": current, "new": new }))?;
    terminal.show(&changed, || "the password is changed; your other sessions are over".to_owned());
    Ok(())
}

pub(crate) fn session(command: SessionCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        SessionCommand::List(connection) => {
            let listed: Sessions = connect(&connection)?.0.get("/v1/sessions")?;
            terminal.show(&listed, || {
                let row = |session: &Session| {
                    let state = match (session.this, session.open) {
                        (true, _) => format!("this one, until {}", session.expires),
                        (false, true) => format!("open until {}", session.expires),
                        (false, false) => "over".to_owned(),
                    };
                    let client = session.client.replace('-', " ");
                    vec![session.session.clone(), client, session.opened.clone(), session.methods.join(", "), state]
                };
                let headings =
                    [("session", LEFT), ("in", LEFT), ("opened", LEFT), ("signed in with", LEFT), ("state", LEFT)];
                table(&headings, &listed.sessions.iter().map(row).collect::<Vec<_>>())
            });
        }
        SessionCommand::End(item) => {
            let ended = end_session(&connect(&item.connection)?.0, &item.id)?;
            terminal.show(&ended, || format!("session {} is over", ended.session));
        }
    }
    Ok(())
}

fn end_session(server: &Server, id: &str) -> Result<Session, Failure> {
    server.post(&format!("/v1/sessions/{}/revoke", encoded(id)), &json!({}))
}

pub(crate) fn whoami(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, profile) = connect(connection)?;
    if let Whom::ServiceAccount { client_id, .. } = &profile.whom {
        let shown = json!({ "client_id": client_id, "url": profile.url });
        terminal.show(&shown, || format!("{client_id} at {}", profile.url));
        return Ok(());
    }
    let me: Value = server.get("/v1/me")?;
    terminal.show(&me, || {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value, one: &dyn Fn(&Value) -> String| {
            let all: Vec<String> = value.as_array().into_iter().flatten().map(one).collect();
            if all.is_empty() { "none".to_owned() } else { all.join(", ") }
        };
        let verified = if me["user_verified"] == true { "yes" } else { "no" };
        format!(
            "{} at {}\nhome           {}\nclass          {}\nroles          {}\ngrants         {}\n\
             verified       {verified}\ndevice         {}",
            text(&me["person"]["person"]),
            profile.url,
            text(&me["home"]),
            text(&me["class"]),
            list(&me["person"]["roles"], &|role| text(role)),
            list(&me["grants"], &|grant| format!("{} of {}", text(&grant["role"]), text(&grant["place"]))),
            text(&me["device"]),
        )
    });
    Ok(())
}

pub(crate) fn logout(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, profile) = connect(connection)?;
    let Whom::Person { session_file } = &profile.whom else {
        let message = format!("profile `{}` is a service account's, which has no session", connection.profile);
        let help = "end the account itself with `creta service-account revoke`";
        return Err(Failure::usage("profile/no-session", message, help));
    };
    let kept = SessionFile::read(session_file)?;
    match end_session(&server, &kept.session) {
        // A session that ran out or was ended elsewhere is what was asked for.
        Err(failure) if failure.problems[0].code != "auth/session-over" => return Err(failure),
        _ => {}
    }
    std::fs::remove_file(session_file).map_err(|error| Failure::file("remove", session_file, &error))?;
    let shown = json!({ "person": kept.person, "session": kept.session, "open": false });
    terminal.show(&shown, || format!("logged out {}; its session is over on the server too", kept.person));
    Ok(())
}
