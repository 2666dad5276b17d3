//! What bad input gets over the wire, golden: `tests/golden/http/bad_input.case` holds every answer as people read it, and
//! after each the count of facts, which no refusal changes.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::{ARROW, INGEST, JSON, Reply, Server, bundle, facts, stream};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/http/bad_input.case");

/// A problem as the command line and the SDK print it, without what differs from run to run.
fn shown(reply: &Reply) -> String {
    let problem: Value = reply.json();
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let mut shown = format!("{} error[{}]: {}\n", reply.status, text("code"), text("message"));
    if !text("help").is_empty() {
        writeln!(shown, "  help: {}", text("help")).expect("text grows");
    }
    shown
}

#[test]
fn what_bad_input_gets_over_the_wire_is_golden_and_leaves_everything_as_it_was() {
    let server = Server::new();
    let developer = server.shop("acme");
    let token = developer.token.as_str();
    server.post_arrow(INGEST, token, &facts()).ok();
    server.tenant("globex");
    let other = server.account("globex", "etl", "developer").token;
    let theirs: Value = serde_json::from_str(&bundle().to_string().replace("User", "Client")).expect("JSON");
    server.post("/v1/deploy", &other, &theirs).ok();
    let whole = stream(&facts());
    let question = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]});
    let with = |name: &str, value: Value| {
        let mut changed = question.clone();
        changed[name] = value;
        changed
    };
    let json_body = |text: &'static str| (JSON, text.as_bytes());

    let cases: Vec<(&str, Reply)> = vec![
        ("a wrong token", server.post("/v1/query", "a.b.c", &question)),
        ("no token", server.send("POST", "/v1/query", None, Some((JSON, b"{}")))),
        ("a wrong secret", server.ask_token(&developer.client_id, "nonsense")),
        ("another tenant's feature", server.post("/v1/query", &other, &question)),
        ("an unknown feature", server.post("/v1/query", token, &with("outputs", json!(["User.ctiy"])))),
        ("a time without a zone", server.post("/v1/query", token, &with("as_of", json!("2025-03-01T12:00:00")))),
        ("a key of the wrong type", server.post("/v1/query", token, &with("inputs", json!({"User.id": ["seven"]})))),
        ("a body that is not JSON", server.send("POST", "/v1/query", Some(token), Some(json_body("{\"inputs\": ")))),
        ("a member that is not known", server.post("/v1/query", token, &with("tenant", json!("globex")))),
        ("another content type", server.send("POST", "/v1/query", Some(token), Some(("text/csv", b"User.id\n7")))),
        (
            "an Arrow stream that is cut in its middle",
            server.send("POST", INGEST, Some(token), Some((ARROW, &whole[..whole.len() / 2]))),
        ),
        (
            "an Arrow stream without its end",
            server.send("POST", INGEST, Some(token), Some((ARROW, &whole[..whole.len() - 8]))),
        ),
        ("bytes that are no Arrow stream", server.send("POST", INGEST, Some(token), Some((ARROW, b"PAR1 not arrow")))),
        ("history without arrival times", server.post_arrow("/v1/ingest?entity=User&event_time=seen", token, &facts())),
        (
            "an entity that is not there",
            server.post_arrow("/v1/ingest?entity=Usr&event_time=seen&arrival_delay=0s", token, &facts()),
        ),
        (
            "a parameter that is not known",
            server.post_arrow("/v1/ingest?entity=User&event_time=seen&arival_delay=0s", token, &facts()),
        ),
        (
            "an object where a number has to be",
            server.post("/v1/synth", token, &json!({"entity": "User", "rows": {"many": 3}})),
        ),
        ("a role that may not", server.post("/v1/tenants", token, &json!({"tenant": "mine"}))),
        ("a path that is not there", server.get("/v1/qery", token)),
        ("a method that the path does not take", server.get("/v1/query", token)),
    ];
    let mut found = String::from(
        "# What bad input gets over the wire: status, code, message, help. No answer repeats a value, and after all of\n\
         # them the facts are those that were there before.\n",
    );
    for (title, reply) in &cases {
        assert!((400..500).contains(&reply.status), "{title}: {} {}", reply.status, reply.text());
        write!(found, "----\n# {title}\n{}", shown(reply)).expect("text grows");
    }
    let status = server.get("/v1/status", token).ok();
    write!(found, "----\nstored: {}\n", status["facts"]).expect("text grows");
    assert_eq!(status["facts"]["User"], 3, "nothing was lost or half written");
    assert_eq!(server.post("/v1/query", token, &question).ok()["columns"][0]["values"], json!(["Turin"]));

    if std::env::var_os("CRETA_UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &found).expect("written");
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("the golden answers are committed");
    assert_eq!(found, golden, "run with CRETA_UPDATE_GOLDEN=1 and read the difference");
}
