//! Queries that are asked again and again: answered quickly, and never by what no longer holds.

use serde_json::{Value, json};

use crate::support::{Account, INGEST, JSON, Reply, Server, bundle, facts};

const AT: &str = "2025-03-05T00:00:00Z";

fn question() -> Value {
    json!({"inputs": {"User.id": [7, 8, 9]}, "outputs": ["User.city", "User.score", "User.id"], "as_of": AT})
}

/// A shop with facts, and a program that asked the same three times.
fn asked_before(server: &Server, tenant: &str) -> (Account, Account) {
    let etl = server.shop(tenant);
    server.post_arrow(INGEST, &etl.token, &facts()).ok();
    let reader = server.account(tenant, "scoring", "reader");
    let answers: Vec<Reply> = (0..3).map(|_| server.post("/v1/query", &reader.token, &question())).collect();
    for answer in &answers {
        answer.ok();
        assert_eq!(answer.text(), answers[0].text(), "whichever way it is answered");
        assert_eq!(answer.content_type, JSON);
    }
    (etl, reader)
}

#[test]
fn what_is_asked_again_is_answered_alike_and_counted_alike() {
    let server = Server::new();
    let (etl, reader) = asked_before(&server, "acme");
    // Written otherwise, and with what is only known when it is read.
    let spaced = r#" { "outputs":["User.city" , "User.score","User.id"],"as_of":"2025-03-05T00:00:00Z","inputs":{"User.id":[7,8,9]}}"#;
    let first = server.post("/v1/query", &reader.token, &question());
    for _ in 0..3 {
        let again = server.send("POST", "/v1/query", Some(&reader.token), Some((JSON, spaced.as_bytes())));
        assert_eq!(again.text(), first.text());
    }
    for (id, state) in [(json!("7"), "value/wrong-type"), (json!(null), "value/unexpected-null")] {
        let wrong =
            json!({"inputs": {"User.id": [id]}, "outputs": ["User.city", "User.score", "User.id"], "as_of": AT});
        assert_eq!(server.post("/v1/query", &reader.token, &wrong).problem(422), state);
    }
    let seen = server.get("/v1/audit/access", &etl.token).ok();
    let seen = seen["accesses"].as_array().expect("a list");
    let reads = seen.iter().filter(|access| access["action"] == "query" && access["id"] == "scoring");
    let reads: u64 = reads.map(|access| access["counts"]["reads"].as_u64().expect("a count")).sum();
    assert_eq!(reads, 9, "each question is counted once, those that were refused for their values too: {seen:?}");
}

#[test]
fn attack_ch33_a_program_that_was_revoked_or_a_token_that_is_narrower_gets_no_answer_from_before() {
    let server = Server::new();
    let (_, reader) = asked_before(&server, "acme");
    let asked = json!({"client_id": reader.client_id, "client_secret": reader.secret, "scope": "User.city"});
    let narrow = server.send("POST", "/v1/token", None, Some((JSON, asked.to_string().as_bytes()))).ok();
    let narrow = narrow["access_token"].as_str().expect("a token").to_owned();
    for _ in 0..3 {
        assert_eq!(server.post("/v1/query", &narrow, &question()).problem(403), "access/token-features");
    }
    let path = format!("/v1/service-accounts/{}/revoke", reader.client_id);
    server.post(&path, &server.admin_token(), &json!({"tenant": "acme"}));
    assert_eq!(server.post("/v1/query", &reader.token, &question()).problem(401), "auth/bad-token");
}

#[test]
fn attack_ci20_a_changed_policy_holds_for_the_next_of_many_equal_questions() {
    let server = Server::new();
    let (_, reader) = asked_before(&server, "acme");
    let text = r#"
@id("readers-ask-nothing")
forbid (
  principal is Creta::ServiceAccount in Creta::Role::"reader",
  action == Creta::Action::"query",
  resource
);"#;
    let proposed = server.post("/v1/access/policies", &server.admin_token(), &json!({ "text": text })).ok();
    assert_eq!(proposed["in_force"], true, "{proposed}");
    assert_eq!(server.post("/v1/query", &reader.token, &question()).problem(403), "access/denied");
}

#[test]
fn attack_ci20_row_rules_and_tags_hold_for_the_next_of_many_equal_questions() {
    let server = Server::new();
    let (etl, reader) = asked_before(&server, "acme");
    let ask = || server.post("/v1/query", &reader.token, &question());
    // A tag that withholds.
    let mut tagged = bundle();
    tagged["graph"]["entities"][0]["features"][2]["tags"] = json!(["internal"]);
    server.post("/v1/deploy", &etl.token, &tagged).ok();
    assert_eq!(ask().problem(403), "access/denied");
    server.post("/v1/deploy", &etl.token, &bundle()).ok();
    assert_eq!(ask().ok()["columns"][0]["values"], json!(["Turin", "Bern", null]));
    ask().ok();
    // A rule about rows.
    let rule = json!({"id": "home", "entity": "User", "roles": ["reader"], "feature": "User.city", "op": "in", "values": ["Bern"]});
    let rules =
        json!({"tenant": "acme", "rules": {"rules": [rule]}, "reason": "Each market looks after its own customers"});
    let proposed = server.post("/v1/access/rows", &server.admin_token(), &rules).ok();
    assert_eq!(proposed["state"], "in-force", "{proposed}");
    for _ in 0..2 {
        assert_eq!(ask().ok()["columns"][0]["values"], json!([null, "Bern", null]));
    }
    // A feature that is gone.
    let mut less = bundle();
    less["graph"]["entities"][0]["features"].as_array_mut().expect("features").remove(3);
    less["graph"]["entities"][0]["features"].as_array_mut().expect("features").pop();
    server.post("/v1/deploy", &etl.token, &less).ok();
    assert_eq!(ask().status / 100, 4, "{}", ask().text());
}

#[test]
fn attack_ch20_an_equal_question_of_another_tenant_is_answered_from_its_own_data() {
    let server = Server::new();
    let (_, reader) = asked_before(&server, "acme");
    let other = server.shop("globex");
    for _ in 0..3 {
        let answer = server.post("/v1/query", &other.token, &question()).ok();
        assert_eq!(answer["columns"][0]["values"], json!([null, null, null]));
    }
    let own = server.post("/v1/query", &reader.token, &question()).ok();
    assert_eq!(own["columns"][0]["values"], json!(["Turin", "Bern", null]));
}

#[test]
fn a_load_is_seen_by_the_next_of_many_equal_questions() {
    let server = Server::new();
    let etl = server.shop("acme");
    let question = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]});
    for _ in 0..3 {
        assert_eq!(server.post("/v1/query", &etl.token, &question).ok()["columns"][0]["values"], json!([null]));
    }
    server.post_arrow(INGEST, &etl.token, &facts()).ok();
    assert_eq!(server.post("/v1/query", &etl.token, &question).ok()["columns"][0]["values"], json!(["Turin"]));
}
