//! Loads by idempotency key, over the wire.

use arrow::array::RecordBatch;
use serde_json::{Value, json};

use crate::support::{ARROW, Account, INGEST, JSON, Reply, Server, bundle, facts, stream};

const KEY: &str = "idempotency-key";

fn load(server: &Server, account: &Account, key: &str, batch: &RecordBatch) -> Reply {
    let headers = [("content-type", ARROW), (KEY, key)];
    server.send_with("POST", INGEST, Some(&account.token), &headers, Some(&stream(batch)))
}

fn stored(server: &Server, account: &Account) -> Value {
    server.get("/v1/status", &account.token).ok()["facts"]["User"].clone()
}

fn replayed(reply: &Reply) -> bool {
    reply.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[test]
fn a_load_sent_again_after_a_lost_answer_is_taken_once_over_a_restart_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::at(folder.path());
    let etl = server.shop("acme");
    let first = load(&server, &etl, "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", &facts());
    assert!(!replayed(&first));
    first.ok();
    for restarted in [false, true] {
        if restarted {
            server.stop();
            server.start();
        }
        // As most clients write it, too.
        for key in ["\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"] {
            let again = load(&server, &etl, key, &facts());
            assert!(replayed(&again));
            assert_eq!(again.ok(), first.ok());
        }
        assert_eq!(stored(&server, &etl), 3);
    }
    let other = load(&server, &etl, "8e03978e-40d5-43dd-bc93-6894a57f9324", &facts().slice(0, 1));
    assert_eq!(other.problem(422), "ingest/key-reused");
    let body = json!({"load": {"entity": "User", "event_time": {"column": "seen"}, "arrival": {"delay": "0s"}},
                      "rows": [{"id": 9, "seen": "2025-03-01T12:00:00Z", "city": "Rome", "score": 1.0}]});
    let single = || {
        let headers = [("content-type", JSON), (KEY, "single")];
        server.send_with("POST", "/v1/facts", Some(&etl.token), &headers, Some(body.to_string().as_bytes()))
    };
    let (one, two) = (single(), single());
    assert_eq!((one.ok(), replayed(&one), replayed(&two)), (two.ok(), false, true));
    assert_eq!(stored(&server, &etl), 4);
    let accesses = server.get("/v1/audit/entries?limit=1000", &etl.token).ok();
    let entries = accesses["entries"].as_array().expect("a list");
    let count = |action: &str| entries.iter().filter(|line| line["entry"]["action"] == action).count();
    assert_eq!((count("ingest.done"), count("ingest.repeated")), (2, 5), "the log tells them apart");
}

#[test]
fn attack_ch03_nobody_reads_what_another_loaded_by_guessing_the_key() {
    let server = Server::new();
    let etl = server.shop("acme");
    load(&server, &etl, "night-1", &facts()).ok();
    let colleague = server.account("acme", "colleague", "developer");
    let guessed = load(&server, &colleague, "night-1", &facts().slice(0, 1));
    assert!(!replayed(&guessed));
    assert_eq!(guessed.ok()["accepted"], 1, "a load of their own, whatever the other's was");
    let globex = server.shop("globex");
    let guessed = load(&server, &globex, "night-1", &facts());
    assert!(!replayed(&guessed));
    assert_eq!((guessed.ok()["position"].clone(), stored(&server, &globex)), (json!(1), json!(3)));
    let reader = server.account("acme", "reader", "reader");
    assert_eq!(load(&server, &reader, "night-1", &facts()).problem(403), "access/denied");
    server.post("/v1/deploy", &etl.token, &bundle()).ok();
    assert!(replayed(&load(&server, &etl, "night-1", &facts())), "it is still theirs");
}

#[test]
fn what_is_no_key_is_refused_before_anything_is_stored() {
    let server = Server::new();
    let etl = server.shop("acme");
    for key in ["", " ", "\"\"", "a b", "\"a\"b\"", "caf\u{e9}", &"x".repeat(129)] {
        assert_eq!(load(&server, &etl, key, &facts()).problem(400), "request/idempotency-key", "{key:?}");
    }
    let headers = [("content-type", ARROW), (KEY, "a"), (KEY, "b")];
    let twice = server.send_with("POST", INGEST, Some(&etl.token), &headers, Some(&stream(&facts())));
    assert_eq!(twice.problem(400), "request/idempotency-key");
    assert_eq!(stored(&server, &etl), Value::Null);
    load(&server, &etl, &"x".repeat(128), &facts()).ok();
}
