//! What somebody outside issued, and the organisation that would like to have issued it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use creta_model::{Instant, Span};
use serde_json::{Value, json};

use crate::support::{Reply, Server};

fn days(days: i64) -> String {
    use creta_platform::Clock as _;
    let now = creta_platform::SystemClock::new().now();
    let span = Span::days(u32::try_from(days.abs()).expect("few"));
    let at = if days < 0 { now.minus(span) } else { now.plus(span) };
    Instant::from_micros(at.micros() / 1_000_000 * 1_000_000).expect("valid").to_string()
}

fn certificate(kind: &str) -> Value {
    json!({
        "commitment": "CH-08", "kind": kind, "issuer": "Nordwind Audit GmbH", "issued": days(-10), "expires": days(300),
        "scope_from": days(-200), "scope_to": days(-20), "file": BASE64.encode(format!("the {kind} report")),
    })
}

fn record(server: &Server, body: &Value) -> Reply {
    server.post("/v1/trust/artefacts", &server.admin_token(), body)
}

fn row(server: &Server, id: &str) -> Value {
    let report = server.get("/v1/trust", &server.admin_token()).ok();
    let rows = report["commitments"].as_array().expect("a list");
    rows.iter().find(|row| row["id"] == id).cloned().expect("it is in the report")
}

fn run(server: &Server) -> Value {
    server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["artefacts"]})).ok()["ran"][0].clone()
}

#[test]
fn an_artefact_of_somebody_outside_makes_what_it_is_for_held() {
    let server = Server::new();
    assert_eq!(run(&server)["outcome"], "pass");
    let before = row(&server, "CH-08");
    assert_eq!((&before["held"], &before["state"]), (&json!("not held"), &json!("not-started")));
    record(&server, &certificate("soc2-type-2")).ok();
    assert_eq!(row(&server, "CH-08")["held"], "not held", "one of two");
    let second = record(&server, &certificate("iso-27001")).ok();
    let after = row(&server, "CH-08");
    assert_eq!((&after["held"], &after["state"]), (&json!("held"), &json!("met")), "{after}");
    assert_eq!(after["artefacts"][1]["issuer"], "Nordwind Audit GmbH");
    assert_eq!(run(&server)["subjects"], 5, "three rows that need some, and two artefacts");

    let admin = server.admin_token();
    let id = second["id"].as_str().expect("a name");
    let file = server.get(&format!("/v1/trust/artefacts/{id}/file"), &admin);
    assert_eq!((file.status, file.text().as_str()), (200, "the iso-27001 report"));
    let listed = server.get("/v1/trust/artefacts", &admin).ok();
    assert_eq!(listed["artefacts"].as_array().map(Vec::len), Some(2));
    let entry = server.get(&format!("/v1/audit/entries?start={}&limit=1", second["log_index"]), &admin).ok();
    assert_eq!(entry["entries"][0]["entry"]["details"]["artefact"], id);

    // The software for a yearly test is to come, whoever tested.
    let mut test = certificate("penetration-test");
    test["commitment"] = json!("CI-05");
    record(&server, &test).ok();
    let row = row(&server, "CI-05");
    assert_eq!((&row["held"], &row["state"]), (&json!("held"), &json!("not-started")));
    let page = server.send("GET", "/trust/commitments/CI-05/", None, None).text();
    assert!(page.contains("Nordwind Audit GmbH"), "{page}");
}

#[test]
fn attack_ch08_a_certificate_without_a_document_or_out_of_date_is_not_held() {
    let server = Server::new();
    let with = |name: &str, value: Value| {
        let mut body = certificate("soc2-type-2");
        body[name] = value;
        record(&server, &body)
    };
    assert_eq!(with("file", json!("")).problem(422), "artefact/file");
    assert_eq!(with("file", json!("*")).problem(422), "artefact/file");
    assert_eq!(with("expires", json!(days(-1))).problem(422), "artefact/dates");
    assert_eq!(with("issued", json!(days(1))).problem(422), "artefact/dates", "issued later than it is received");
    assert_eq!(with("kind", json!("gold-medal")).problem(422), "artefact/kind");
    assert_eq!(with("commitment", json!("CH-20")).problem(422), "artefact/kind", "an enforced row needs none");
    assert_eq!(with("held", json!(true)).problem(400), "request/malformed", "there is no switch");
    // Issued long ago: it may say itself that it is good for years.
    let mut old = certificate("soc2-type-2");
    (old["issued"], old["scope_from"], old["scope_to"]) = (json!(days(-400)), json!(days(-800)), json!(days(-420)));
    record(&server, &old).ok();
    record(&server, &certificate("iso-27001")).ok();
    let row = row(&server, "CH-08");
    assert_eq!((&row["held"], &row["artefacts"][0]["because"]), (&json!("not held"), &json!("it has expired")));
    let developer = server.shop("acme");
    let body = certificate("soc2-type-2");
    assert_eq!(server.post("/v1/trust/artefacts", &developer.token, &body).problem(403), "access/denied");
}

#[test]
fn attack_ci04_the_organisation_and_its_accounts_issue_nothing() {
    let mut server = Server::new();
    server.tenant("acme");
    server.account("acme", "ana-silva", "reader");
    server.stop();
    let file = server.data().join("config.toml");
    let config = std::fs::read_to_string(&file).expect("readable");
    let named = config.replace("an organisation without a name", "Meridian Rail Ltd");
    assert_ne!(named, config);
    std::fs::write(&file, named).expect("written");
    server.start();
    for issuer in ["Meridian Rail", "MERIDIAN-RAIL GmbH", "Meridiаn Rаil", "Ana Silva"] {
        let mut body = certificate("soc2-type-2");
        body["issuer"] = json!(issuer);
        let code = record(&server, &body).problem(422);
        assert!(["artefact/own-issuer", "artefact/issuer"].contains(&code.as_str()), "{issuer}: {code}");
    }
    server.running().keep_log().expect("kept");
    assert_eq!(row(&server, "CI-04")["refusals"], 3, "each attempt is counted; one was no name at all");
    assert_eq!(row(&server, "CH-08")["held"], "not held");
}

#[test]
fn attack_ch08_an_edited_artefact_does_not_count() {
    let server = Server::new();
    run(&server);
    record(&server, &certificate("soc2-type-2")).ok();
    record(&server, &certificate("iso-27001")).ok();
    assert_eq!(row(&server, "CH-08")["state"], "met");
    let database = rusqlite::Connection::open(server.data().join("metadata.sqlite")).expect("opens");
    let newest = "rowid = (SELECT max(rowid) FROM document)";
    for back in [0, 1] {
        // The statement, then the file.
        let which = format!("rowid = (SELECT rowid FROM document ORDER BY rowid DESC LIMIT 1 OFFSET {back})");
        let whole: Vec<u8> = database
            .query_row(&format!("SELECT sealed FROM document WHERE {which}"), [], |row| row.get(0))
            .expect("a document");
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        let edit = |bytes: &[u8]| {
            database.execute(&format!("UPDATE document SET sealed = ?1 WHERE {which}"), [bytes]).expect("edited");
        };
        edit(&changed);
        let row_now = row(&server, "CH-08");
        assert_eq!(row_now["held"], "not held", "{row_now}");
        edit(&whole);
        assert_eq!(row(&server, "CH-08")["held"], "held");
    }
    let mut changed: Vec<u8> = database
        .query_row(&format!("SELECT sealed FROM document WHERE {newest}"), [], |row| row.get(0))
        .expect("a document");
    *changed.last_mut().expect("bytes") ^= 1;
    database.execute(&format!("UPDATE document SET sealed = ?1 WHERE {newest}"), [changed]).expect("edited");
    assert_eq!(row(&server, "CH-08")["held"], "not held");
    let page = server.send("GET", "/trust/commitments/CH-08/", None, None).text();
    assert!(page.contains("not held") && page.contains("what is stored does not count"), "{page}");
    // And nothing more is written to a store that somebody edited past the server.
    assert_eq!(record(&server, &certificate("iso-27001")).problem(500), "store/refused");
}

#[test]
fn attack_r5_handshakes_reports_and_older_copies_that_were_refused_are_counted() {
    use std::io::{Read as _, Write as _};
    let server = Server::new();
    for _ in 0..7 {
        let mut stream = std::net::TcpStream::connect(server.running().address()).expect("connected");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
        let _ = stream.read_to_end(&mut Vec::new()); // Ended by the server, one way or the other.
    }
    let body = json!({"title": "junk", "description": "text"}).to_string();
    for _ in 0..12 {
        server.send("POST", "/trust/report", None, Some((crate::support::JSON, body.as_bytes())));
    }
    server.running().keep_log().expect("kept");
    let count = |action: &str| {
        let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).ok();
        let entries = log["entries"].as_array().expect("a list");
        let of_it: Vec<u64> = entries
            .iter()
            .filter(|line| line["entry"]["action"] == action)
            .map(|line| line["entry"]["details"]["count"].as_str().expect("a count").parse().expect("a number"))
            .collect();
        (of_it.len() <= 2, of_it.iter().sum::<u64>())
    };
    assert_eq!(count("handshake.refused"), (true, 7));
    assert_eq!(count("report.refused"), (true, 7));
    assert_eq!((&row(&server, "CI-13")["refusals"], &row(&server, "CH-63")["refusals"]), (&json!(7), &json!(7)));
}
