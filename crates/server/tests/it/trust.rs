//! The trust machinery of a running server: what checks see, what the log says of it, what is published, and what an
//! attacker who edits it achieves.

use serde_json::{Value, json};

use crate::support::{JSON, Server};

pub(crate) fn run(server: &Server, checks: &[&str]) -> Value {
    let body = if checks.is_empty() { json!({}) } else { json!({ "checks": checks }) };
    server.post("/v1/trust/run", &server.admin_token(), &body).ok()["ran"].clone()
}

pub(crate) fn outcome_of<'a>(ran: &'a Value, check: &str) -> &'a Value {
    let found = ran.as_array().expect("a list").iter().find(|run| run["check"] == check);
    found.unwrap_or_else(|| panic!("`{check}` ran: {ran}"))
}

pub(crate) fn declared(server: &Server) {
    let body = json!({"owner": "platform", "region": "eu"});
    server.post("/v1/trust/inventory", &server.admin_token(), &body).ok();
}

fn commitment(server: &Server, id: &str) -> Value {
    let report = server.get("/v1/trust", &server.admin_token()).ok();
    let found = report["commitments"].as_array().expect("a list").iter().find(|row| row["id"] == id).cloned();
    found.unwrap_or_else(|| panic!("`{id}` is in the report"))
}

#[test]
fn every_check_passes_on_a_fresh_server_except_that_nobody_witnesses_it() {
    let server = Server::new();
    server.shop("acme");
    declared(&server);
    let ran = run(&server, &[]);
    for run in ran.as_array().expect("a list") {
        let expected = match run["check"].as_str().expect("an id") {
            "log-witness" => "unknown",
            // Nobody works here yet, from any computer, and no quarter has begun.
            "device-posture" | "password-managers" | "workstation-values" | "access-reviews" => "unknown",
            // Nobody handed it the fingerprints of other environments, or named an account.
            "environment-identity" | "environment-networks" | "environment-account" => "unknown",
            "security-txt" => "fail", // Nobody configured a contact.
            _ => "pass",
        };
        assert_eq!(run["outcome"], expected, "{run}");
    }
    assert_eq!(commitment(&server, "CH-20")["state"], "met");
    assert_eq!(commitment(&server, "CI-12")["state"], "met");
    assert_eq!(commitment(&server, "CH-44")["state"], "unknown", "a check that could not look is no pass");
    assert_eq!(commitment(&server, "CI-04")["state"], "not-started");
}

#[test]
fn nothing_is_met_before_anybody_looked() {
    let server = Server::new();
    let report = server.get("/v1/trust", &server.admin_token()).ok();
    assert_eq!(report["met"], 0);
    assert_eq!(report["total"], 91);
}

#[test]
fn evidence_stands_in_the_log_and_its_proof_is_published() {
    let server = Server::new();
    let ran = run(&server, &["clock"]);
    let index = outcome_of(&ran, "clock")["log_index"].as_u64().expect("an index");
    let entry = server.get(&format!("/v1/audit/entries?start={index}&limit=1"), &server.admin_token()).ok();
    let entry = &entry["entries"][0]["entry"];
    assert_eq!((&entry["action"], &entry["details"]["check"]), (&json!("check.pass"), &json!("clock")));
    assert!(entry["details"]["evidence"].as_str().is_some_and(|digest| digest.starts_with("sha256:")));
}

#[test]
fn attack_r4_changed_evidence_turns_its_commitment_red() {
    let server = Server::new();
    run(&server, &["isolation", "route-permits"]);
    assert_eq!(commitment(&server, "CH-20")["state"], "met");
    // Whoever has the machine edits the newest document, which is evidence, past all interfaces.
    let database = rusqlite::Connection::open(server.data().join("metadata.sqlite")).expect("opens");
    let newest = "rowid = (SELECT max(rowid) FROM document)";
    let whole: Vec<u8> = database
        .query_row(&format!("SELECT sealed FROM document WHERE {newest}"), [], |row| row.get(0))
        .expect("a document");
    let edit = |sealed: &[u8]| {
        let edited = database.execute(&format!("UPDATE document SET sealed = ?1 WHERE {newest}"), [sealed]);
        assert_eq!(edited.expect("edited"), 1);
    };
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    edit(&changed);
    let row = commitment(&server, "CH-20");
    assert_eq!(row["state"], "failing", "{row}");
    let page = server.send("GET", "/trust/commitments/CH-20/", None, None).text();
    assert!(page.contains("failing"), "{page}");

    edit(&whole);
    assert_eq!(commitment(&server, "CH-20")["state"], "met", "nothing else was wrong");
}

#[test]
fn a_listener_that_nobody_declared_is_a_finding() {
    let server = Server::new();
    declared(&server);
    let known = server.get("/v1/trust/inventory", &server.admin_token()).text();
    assert!(known.contains("store:unfinished-writes") && !known.contains("nobody knows"), "{known}");
    assert_eq!(outcome_of(&run(&server, &["inventory"]), "inventory")["outcome"], "pass");
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let ran = run(&server, &["inventory"]);
    let found = outcome_of(&ran, "inventory");
    assert_eq!(found["outcome"], "fail");
    assert_eq!(found["findings"][0]["code"], "inventory/undeclared");
    drop(stranger);
    assert_eq!(outcome_of(&run(&server, &["inventory"]), "inventory")["outcome"], "pass");
}

#[test]
fn without_a_declared_inventory_the_check_could_not_look() {
    let server = Server::new();
    let ran = run(&server, &["inventory"]);
    let found = outcome_of(&ran, "inventory");
    assert_eq!(found["outcome"], "unknown");
    assert!(found["could_not"].as_str().is_some_and(|why| why.contains("creta trust inventory --declare")), "{found}");
}

#[test]
fn attack_ci13_a_listener_in_the_clear_is_found() {
    let server = Server::new();
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let answering = stranger.try_clone().expect("cloned");
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        while let Ok((mut stream, _)) = answering.accept() {
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let ran = run(&server, &["tls-listeners"]);
    let found = outcome_of(&ran, "tls-listeners");
    assert_eq!(found["outcome"], "fail");
    assert!(found["findings"].to_string().contains("tls/in-the-clear"), "{found}");
}

#[test]
fn attack_ci12_a_value_in_the_clear_on_disk_is_found() {
    let server = Server::new();
    let ran = run(&server, &["sealed-bytes"]);
    assert_eq!(outcome_of(&ran, "sealed-bytes")["outcome"], "pass");
    // The probe's own value, as a tenant's program would read it, left on the disk by somebody.
    let canary = probe_canary(&server);
    std::fs::write(server.data().join("tenants/creta-probe-a/leak"), format!("....{canary}....")).expect("written");
    let ran = run(&server, &["sealed-bytes"]);
    let found = outcome_of(&ran, "sealed-bytes");
    assert_eq!(found["outcome"], "fail");
    assert!(!found.to_string().contains(&canary), "a finding does not repeat the value");
}

/// Reads the planted value with an account of the probe tenant that an administrator makes.
fn probe_canary(server: &Server) -> String {
    let account = server.account("creta-probe-a", "reader", "reader");
    let question = json!({"inputs": {"Probe.id": [1]}, "outputs": ["Probe.canary"]});
    let answer = server.post("/v1/query", &account.token, &question).ok();
    answer["columns"][0]["values"][0].as_str().expect("a value").to_owned()
}

#[test]
fn the_page_is_public_strict_and_names_no_tenant() {
    let server = Server::new();
    server.shop("very-secret-customer");
    run(&server, &[]);
    let mut open = vec!["/trust/".to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let reply = server.send("GET", &path, None, None);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert!(!reply.text().contains("very-secret-customer"), "{path}");
        assert!(!reply.text().contains("creta-probe"), "{path}");
        let policy = reply.headers.get("content-security-policy").expect("a policy").to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        if reply.content_type.starts_with("text/html") {
            assert!(!reply.text().contains("<script"), "{path}");
            open.extend(links(&path, &reply.text()));
        }
    }
    for view in ["/trust/chalk/", "/trust/chain-io/", "/trust/pillars/", "/trust/frameworks/", "/trust/report/"] {
        assert!(seen.contains(view), "{view} is linked from the page");
    }
    assert!(seen.iter().any(|path| path.starts_with("/trust/proofs/")), "{seen:?}");
    assert!(seen.len() > 95, "every commitment has a page: {}", seen.len());
}

/// Addresses of this site that a page links to.
fn links(page: &str, html: &str) -> Vec<String> {
    let base = ureq::http::Uri::builder().scheme("https").authority("x").path_and_query(page).build().expect("valid");
    html.split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(|link| link.split('#').next().unwrap_or_default())
        .filter(|link| !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:"))
        .map(|link| resolve(base.path(), link))
        .filter(|path| path.starts_with("/trust/"))
        .collect()
}

fn resolve(base: &str, link: &str) -> String {
    if link.starts_with('/') {
        return link.to_owned();
    }
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    if link.ends_with("..") || link == "." { format!("{path}/") } else { path }
}

#[test]
fn a_report_is_kept_acknowledged_and_decided_on_and_its_text_stays_text() {
    let server = Server::new();
    let hostile =
        "title=%3Cscript%3Ealert(1)%3C/script%3E&description=%3Cimg+src=x+onerror=alert(1)%3E&contact=&urgent=on";
    let reply =
        server.send("POST", "/trust/report", None, Some(("application/x-www-form-urlencoded", hostile.as_bytes())));
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert!(!reply.text().contains("<script") && !reply.text().contains("<img src=x"), "{}", reply.text());

    let admin = server.admin_token();
    let listed = server.get("/v1/trust/reports", &admin).ok();
    let report = &listed["reports"][0];
    assert_eq!((&report["status"], &report["report"]["urgent"]), (&json!("received"), &json!(true)));
    let reference = report["report"]["reference"].as_str().expect("a reference").to_owned();
    let status = server.send("GET", &format!("/trust/report/{reference}"), None, None);
    assert_eq!(status.status, 200);
    assert!(!status.text().contains("<script"), "{}", status.text());

    let path = format!("/v1/trust/reports/{reference}");
    server.post(&path, &admin, &json!({})).ok();
    let decision = json!({"verdict": "rejected", "reason": "a title is text"});
    assert_eq!(server.post(&path, &admin, &json!({"verdict": "rejected"})).problem(422), "request/reason");
    server.post(&path, &admin, &decision).ok();
    assert_eq!(server.post(&path, &admin, &decision).problem(409), "conflict/report");
    assert_eq!(server.get("/v1/trust/reports", &admin).ok()["reports"][0]["status"], "decided");
    let actions = server.get("/v1/audit/entries?limit=1000", &admin).ok().to_string();
    for action in ["report.received", "report.acknowledged", "report.decided"] {
        assert!(actions.contains(action), "{action}");
    }
    assert!(!actions.contains("alert(1)"), "the log holds no text of strangers");
}

#[test]
fn a_refused_form_comes_back_with_what_was_written_in_it() {
    let server = Server::new();
    let form = ("application/x-www-form-urlencoded", b"title=&description=a+long+story&contact=me".as_slice());
    let reply = server.send("POST", "/trust/report", None, Some(form));
    assert_eq!((reply.status, reply.content_type.as_str()), (422, "text/html; charset=utf-8"));
    assert!(
        reply.text().contains("a long story") && reply.text().contains("a title and a description"),
        "{}",
        reply.text()
    );
}

#[test]
fn a_folder_without_its_slash_leads_to_itself() {
    let server = Server::new();
    let reply = server.send("GET", "/trust/chalk", None, None);
    // Relative to where it was asked for.
    assert_eq!((reply.status, reply.headers["location"].to_str().ok()), (308, Some("chalk/")), "{}", reply.text());
    let reply = server.send("GET", "/trust/chalk/", None, None);
    assert!(reply.status == 200 && reply.text().contains("Chalk"), "{} {}", reply.status, reply.text());
}

#[test]
fn attack_ch63_a_flood_is_turned_away_and_what_came_before_it_stays() {
    let server = Server::new();
    let report = |title: &str| {
        let body = json!({"title": title, "description": "text"}).to_string();
        server.send("POST", "/trust/report", None, Some((JSON, body.as_bytes())))
    };
    assert_eq!(report("the genuine one").status, 201);
    let refused = (0..20).filter(|_| report("junk").status == 429).count();
    assert!(refused >= 15, "{refused}");
    let listed = server.get("/v1/trust/reports", &server.admin_token()).ok();
    assert_eq!(listed["reports"][0]["report"]["title"], "the genuine one");
    assert_eq!(outcome_of(&run(&server, &["report-intake"]), "report-intake")["outcome"], "pass");
}

#[test]
fn only_administrators_see_the_inventory_and_run_checks() {
    let server = Server::new();
    let developer = server.shop("acme");
    for path in ["/v1/trust", "/v1/trust/inventory", "/v1/trust/reports"] {
        assert_eq!(server.get(path, &developer.token).problem(403), "access/denied", "{path}");
    }
    assert_eq!(server.post("/v1/trust/run", &developer.token, &json!({})).problem(403), "access/denied");
    let unknown = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["nonsense"]}));
    assert_eq!(unknown.problem(404), "not-found/check");
}

#[test]
fn an_evidence_pack_verifies_by_itself_and_oscal_documents_hang_together() {
    let server = Server::new();
    let before = creta_model::Instant::parse("2026-01-01T00:00:00Z").expect("an instant");
    run(&server, &["isolation", "route-permits"]);
    let admin = server.admin_token();
    let pack = server.get(
        &format!("/v1/trust/pack?controls=CH-20&from={before}&until=2100-01-01T00:00:00Z&seed=auditor&sample=3"),
        &admin,
    );
    assert_eq!((pack.status, pack.content_type.as_str()), (200, "application/zip"), "{}", pack.text());
    let verified = creta_proof::pack::verify(&pack.body, &server.report.audit_verifier_key).expect("it verifies");
    assert!(format!("{verified:?}").contains("CH-20"), "{verified:?}");

    let unknown = format!("/v1/trust/pack?controls=CH-99&from={before}&until=2100-01-01T00:00:00Z&seed=a");
    assert_eq!(server.get(&unknown, &admin).problem(404), "not-found/commitment");

    let oscal = server.get("/v1/trust/oscal", &admin).ok();
    for document in ["catalog.json", "component-definition.json", "assessment-results.json"] {
        assert!(oscal["documents"][document].is_object(), "{document}");
    }
    let files = oscal["files"].as_object().expect("files");
    assert!(
        files.keys().any(|name| name.starts_with("evidence/")) && files.keys().any(|name| name.starts_with("proofs/"))
    );
}

#[test]
fn in_production_checks_look_by_an_identity_of_their_own_where_no_administrator_is_one() {
    let server = Server::configured(creta_model::EnvironmentClass::Production, "");
    let checks = ["isolation", "sealed-bytes", "route-permits", "report-intake", "serving", "staff-values", "restores"];
    let ran = server.running().run_checks(&checks).expect("they ran");
    for check in checks {
        let found = outcome_of(&ran, check);
        let expected = if check == "restores" { "fail" } else { "pass" }; // Nobody holds a recovery key yet.
        assert_eq!(found["outcome"], expected, "{found}");
    }
    assert_eq!(server.ask_token(&server.admin.client_id, &server.admin.client_secret).status, 401, "it is nobody");
}
