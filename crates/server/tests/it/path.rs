//! From an empty folder to a training set, as a user goes.

use arrow::array::AsArray as _;
use arrow::datatypes::Float64Type;
use creta_audit::verify;
use serde_json::json;

use crate::support::{ARROW, INGEST, Server, bundle, facts, spine};

#[test]
fn a_project_is_deployed_filled_asked_and_verified() {
    let server = Server::new();
    let developer = server.shop("acme");
    let token = &developer.token;

    let report = server.post_arrow(INGEST, token, &facts()).ok();
    assert_eq!((report["rows"].as_u64(), report["accepted"].as_u64()), (Some(3), Some(3)), "{report}");

    let question = json!({
        "inputs": {"User.id": [7, 8, 9]},
        "outputs": ["User.city", "User.doubled"],
        "as_of": "2025-03-02T00:00:00Z",
    });
    let answer = server.post("/v1/query", token, &question).ok();
    assert_eq!(answer["columns"][0]["values"], json!(["Lyon", "Bern", null]));
    assert_eq!(answer["columns"][0]["states"], json!({"2": "missing"}));
    assert_eq!(answer["columns"][1]["values"], json!([3.0, 7.0, null]));
    let now = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]});
    assert_eq!(server.post("/v1/query", token, &now).ok()["columns"][0]["values"], json!(["Turin"]));

    let rows = spine(&[(7, "2025-03-01T12:00:00Z"), (7, "2025-03-01T11:59:59.999999Z"), (7, "2025-03-03T00:00:00Z")]);
    for path in ["/v1/training-sets", "/v1/query/arrow"] {
        let path = format!("{path}?features=User.city,User.score&as_of=at&states=true");
        let answer = server.post_arrow(&path, token, &rows).batch();
        let cities: Vec<_> = answer.column_by_name("User.city").expect("asked").as_string::<i32>().iter().collect();
        assert_eq!(cities, [Some("Lyon"), None, Some("Turin")], "{path}");
        let scores = answer.column_by_name("User.score").expect("asked").as_primitive::<Float64Type>();
        assert_eq!(scores.value(2), 2.5);
        assert!(answer.column_by_name("User.city__state").is_some());
    }

    let explained = server.post("/v1/explain", token, &question).ok();
    assert!(explained.is_object());
    let verified = server.post("/v1/verify", token, &json!({"samples": 50, "seed": 4711})).ok();
    assert_eq!(
        (verified["differences"].as_u64(), verified["planted_fault_seen"].as_bool()),
        (Some(0), Some(true)),
        "{verified}"
    );
    assert_eq!(server.get("/v1/status", token).ok()["facts"]["User"], 3);
    assert_eq!(server.get("/v1/catalogue", token).ok()["entities"][0]["name"], "User");
    let checked = server.post("/v1/check", token, &bundle()).ok();
    assert!(checked["diff"].is_object(), "{checked}");
}

#[test]
fn single_facts_in_json_take_the_types_of_their_features() {
    let server = Server::new();
    let token = server.shop("acme").token;
    let body = json!({
        "load": {"entity": "User", "event_time": {"column": "when"}, "arrival": {"delay": "0s"}, "columns": {"city": "town"}},
        "rows": [
            {"id": 7, "when": "2025-03-01T12:00:00Z", "town": "Lyon", "score": 2, "note": "kept apart"},
            {"id": 8, "when": "2025-03-01T12:00:00Z", "town": "Bern", "score": 3.5},
        ],
    });
    let report = server.post("/v1/facts", &token, &body).ok();
    assert_eq!(report["accepted"], 2, "{report}");
    assert_eq!(report["ignored_columns"], json!(["note"]));
    let question = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city", "User.score"]});
    let answer = server.post("/v1/query", &token, &question).ok();
    assert_eq!(answer["columns"][0]["values"], json!(["Lyon"]));
    assert_eq!(answer["columns"][1]["values"], json!([2.0]));

    let mut wrong = body;
    wrong["rows"][1]["when"] = json!("hunter2");
    let reply = server.post("/v1/facts", &token, &wrong);
    assert_eq!(reply.problem(422), "ingest/wrong-type");
    assert!(!reply.text().contains("hunter2"), "values are not repeated: {}", reply.text());
}

#[test]
fn what_was_done_stands_in_the_log_and_can_be_proven_from_outside() {
    let server = Server::new();
    let developer = server.shop("acme");
    server.post_arrow(INGEST, &developer.token, &facts()).ok();
    let admin = server.admin_token();

    let page = server.get("/v1/audit/entries?limit=1000", &admin).ok();
    let entries = page["entries"].as_array().expect("a list");
    let actions: Vec<&str> = entries.iter().map(|line| line["entry"]["action"].as_str().expect("text")).collect();
    for expected in [
        "environment.init",
        "server.start",
        "tenant.create",
        "service-account.create",
        "deploy",
        "deploy.done",
        "ingest",
        "ingest.done",
    ] {
        assert!(actions.contains(&expected), "{expected} is missing in {actions:?}");
    }
    for own in server.get("/v1/audit/entries", &developer.token).ok()["entries"].as_array().expect("a list") {
        assert_eq!(own["entry"]["tenant"], "acme", "{own}");
    }

    let key = &server.report.audit_verifier_key;
    let checkpoint = server.get("/v1/audit/checkpoint", &admin);
    let older = verify::verify_checkpoint(&checkpoint.text(), key).expect("signed");
    let deploy = actions.iter().position(|action| *action == "deploy").expect("deployed");
    let proof = server.get(&format!("/v1/audit/proof/inclusion?index={deploy}"), &admin).ok();
    let newest = verify::verify_checkpoint(proof["checkpoint"].as_str().expect("text"), key).expect("signed");
    let hashes = |list: &serde_json::Value| -> Vec<creta_audit::Hash> {
        let texts = list.as_array().expect("a list").iter().map(|hash| hash.as_str().expect("text"));
        texts.map(|hash| creta_audit::Hash::from_base64(hash).expect("a hash")).collect()
    };
    let entry = proof["entry"].as_str().expect("text").as_bytes();
    let (index, size) = (deploy as u64, newest.size);
    verify::verify_inclusion(entry, index, size, &hashes(&proof["proof"]), &newest.root).expect("in the log");
    let path = format!("/v1/audit/proof/consistency?old={}&new={size}", older.size);
    let grown = server.get(&path, &admin).ok();
    verify::verify_consistency(older.size, size, &older.root, &newest.root, &hashes(&grown["proof"])).expect("one log");

    let tile = server.get(&format!("/v1/audit/tile/entries/000.p/{}", older.size), &admin);
    assert_eq!((tile.status, tile.content_type.as_str()), (200, "application/octet-stream"));
    let leaves = server.get(&format!("/v1/audit/tile/0/000.p/{}", older.size), &admin);
    assert_eq!(leaves.body.len() as u64, older.size * 32);
    assert_eq!(server.get("/v1/audit/tile/0/777", &admin).problem(404), "not-found/tile");
    let report = server.send("POST", "/v1/audit/verify", Some(&admin), None).ok();
    assert_eq!(report["verified"], true);
    assert_eq!(report["verifier_key"], key.as_str());
}

#[test]
fn metrics_count_requests_and_rows_by_scope() {
    let server = Server::new();
    let developer = server.shop("acme");
    server.post_arrow(INGEST, &developer.token, &facts()).ok();
    let question = json!({"inputs": {"User.id": [7, 8]}, "outputs": ["User.city"]});
    server.post("/v1/query", &developer.token, &question).ok();
    let metrics = server.get("/metrics", &server.admin_token());
    assert_eq!(metrics.status, 200);
    for line in [
        r#"creta_ingested_rows_total{scope="prod/acme"} 3"#,
        r#"creta_query_rows_total{scope="prod/acme"} 2"#,
        r#"creta_requests_total{method="POST",route="/v1/query",status="200"} 1"#,
    ] {
        assert!(metrics.text().contains(line), "{line} is missing in {}", metrics.text());
    }
    assert!(!metrics.text().contains("Lyon") && !metrics.text().contains("User"), "no values and no names of features");
    assert_eq!(server.get("/metrics", &developer.token).problem(403), "access/denied");
}

#[test]
fn the_description_is_served_and_every_example_of_prometheus_works() {
    let server = Server::new();
    let described = server.send("GET", "/openapi.json", None, None).ok();
    assert_eq!(described["openapi"], "3.1.0");
    // Prometheus asks for tokens with a form, as RFC 6749 has it.
    let admin = &server.admin;
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        admin.client_id.replace('@', "%40"),
        admin.client_secret
    );
    let answer =
        server.send("POST", "/v1/token", None, Some(("application/x-www-form-urlencoded", form.as_bytes()))).ok();
    assert_eq!((answer["token_type"].as_str(), answer["expires_in"].as_u64()), (Some("Bearer"), Some(900)));
    let other = server.send("POST", "/v1/token", None, Some((ARROW, b"x")));
    assert_eq!(other.problem(415), "request/content-type");
}
