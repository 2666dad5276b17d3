//! Too much, too deep, cut short, or of another type: refused with a problem, and nothing is stored.

use std::sync::mpsc::channel;

use creta_model::EnvironmentClass;
use serde_json::json;

use crate::provider::Provider;
use crate::support::{ARROW, INGEST, JSON, Server, Slow, bundle, facts, stream};

#[test]
fn attack_arrow_that_is_cut_short_or_lies_stores_nothing() {
    let server = Server::new();
    let token = server.shop("acme").token;
    let whole = stream(&facts());
    let mut lying = whole.clone();
    lying[4..8].copy_from_slice(&i32::MAX.to_le_bytes());
    let mut longer = whole.clone();
    longer.extend_from_slice(b"trailing");
    let cuts = [0, 1, 4, 100, whole.len() / 2, whole.len() - 8, whole.len() - 1].map(|len| whole[..len].to_vec());
    for bad in cuts.into_iter().chain([lying, longer, b"not arrow at all".to_vec(), vec![0xff; 4096]]) {
        let reply = server.send("POST", INGEST, Some(&token), Some((ARROW, &bad)));
        assert_eq!(reply.problem(422), "ingest/bad-arrow", "{} bytes", bad.len());
    }
    assert_eq!(server.get("/v1/status", &token).ok()["position"], 0);
    server.send("POST", INGEST, Some(&token), Some((ARROW, &whole))).ok();
}

#[test]
fn attack_bodies_beyond_the_limit_are_refused_whether_or_not_they_say_so() {
    let server = Server::new();
    let token = server.shop("acme").token;
    let large = vec![b' '; creta_server::limits::JSON_BYTES_MAX + 1];
    let reply = server.send("POST", "/v1/query", Some(&token), Some((JSON, &large)));
    assert_eq!(reply.problem(413), "too-large/body");
    let reply = server.send("POST", "/v1/token", None, Some((JSON, &large[..4096])));
    assert_eq!(reply.problem(413), "too-large/body");
    let long = format!("/v1/audit/entries?start={}", "1".repeat(60_000));
    assert_eq!(server.get(&long, &token).problem(400), "request/query-string");
}

#[test]
fn attack_rows_beyond_the_limit_and_deep_json_are_refused() {
    let server = Server::new();
    let token = server.shop("acme").token;
    let question = json!({"inputs": {"User.id": vec![7; 10_001]}, "outputs": ["User.city"]});
    assert_eq!(server.post("/v1/query", &token, &question).problem(413), "too-large/rows");
    let depth = 100_000;
    let deep = format!(r#"{{"inputs":{{"User.id":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth));
    let reply = server.send("POST", "/v1/query", Some(&token), Some((JSON, deep.as_bytes())));
    assert_eq!(reply.problem(400), "request/malformed");
    assert_eq!(server.send("GET", "/health", None, None).status, 200);
}

#[test]
fn other_content_types_and_bad_json_are_problems_without_the_values() {
    let server = Server::new();
    let token = server.shop("acme").token;
    let question = br#"{"outputs":["User.city"]}"#;
    for media in ["text/plain", "application/xml", ARROW, "", "application/jsonp"] {
        let reply = server.send("POST", "/v1/query", Some(&token), Some((media, question)));
        assert_eq!(reply.problem(415), "request/content-type", "{media}");
    }
    let reply = server.send("POST", "/v1/query", Some(&token), Some(("Application/JSON; charset=utf-8", question)));
    assert_ne!(reply.status, 415);
    for bad in
        [r#"{"outputs":"hunter2"}"#, r#"{"inputs":["hunter2"]}"#, "", "[]", "nul", r#"{"as_of":"2025-01-01T00:00:00"}"#]
    {
        let reply = server.send("POST", "/v1/query", Some(&token), Some((JSON, bad.as_bytes())));
        assert_eq!(reply.problem(400), "request/malformed", "{bad}");
        assert!(!reply.text().contains("hunter2"), "{}", reply.text());
    }
    let reply = server.post("/v1/deploy", &token, &json!({"format": "creta.bundle/1"}));
    assert_eq!(reply.problem(400), "request/malformed");
}

/// RFC 9449 section 4.3: a proof names this server, and not whatever somebody calls it who passes requests on.
#[test]
fn attack_ch33_outside_development_a_server_answers_to_its_own_names_alone() {
    let provider = Provider::start();
    let tail = "public_url = \"https://creta.shop.example:8443\"\n";
    let staging = Server::configured(EnvironmentClass::Staging, &format!("{}{tail}", provider.config()));
    let ask = |server: &Server, host: &str| server.send_with("GET", "/openapi.json", None, &[("host", host)], None);
    for host in
        ["creta.evil.example", "creta.shop.example.evil.example", "", "creta.shop.example@evil.example", "evil:443"]
    {
        assert_eq!(ask(&staging, host).problem(421), "request/host", "{host}");
    }
    for host in ["creta.shop.example", "CRETA.shop.example:8443", "localhost:1", "127.0.0.1"] {
        assert_eq!(ask(&staging, host).status, 200, "{host}");
    }
    let probe = staging.send_with("GET", "/health", None, &[("host", "10.1.2.3:7443")], None);
    assert_eq!(probe.status, 200, "whoever looks whether it lives knows an address");
    // With a proof that is right for the look-alike's name.
    let key = crate::people::prover();
    let url = "https://creta.evil.example/v1/sign-in/device";
    let proof = key.prove("POST", url, None, None, crate::people::random(), crate::people::now());
    let headers = [("host", "creta.evil.example"), ("dpop", proof.as_str()), ("content-type", JSON)];
    let passed_on = |server: &Server| server.send_with("POST", "/v1/sign-in/device", None, &headers, Some(b"{}"));
    assert_eq!(passed_on(&staging).problem(421), "request/host");
}

#[test]
fn a_request_id_is_made_by_the_server_and_never_taken_over() {
    let server = Server::new();
    let reply = server.send_with("GET", "/health", None, &[("x-request-id", "forged")], None);
    let id = reply.headers.get("x-request-id").expect("an id").to_str().expect("text").to_owned();
    assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
}

#[test]
fn requests_beyond_what_the_server_takes_are_told_to_come_back() {
    let server = Server::new();
    let token = server.shop("acme").token;
    let agent = crate::support::agent(&server.report.ca);
    let (started, has_started) = channel();
    let mut at_work = Vec::new();
    for _ in 0..creta_server::limits::BULK_REQUESTS_SHARE_MAX {
        let (go_on, may_go_on) = channel();
        let end = Some(bundle().to_string().into_bytes());
        let body = Slow { padding: 3 << 20, end, started: started.clone(), go_on: may_go_on };
        let request = agent.post(format!("{}/v1/check", server.running().url()));
        let request = request.header("authorization", format!("Bearer {token}")).header("content-type", JSON);
        let sending =
            move || request.send(ureq::SendBody::from_owned_reader(body)).map(|reply| reply.status().as_u16());
        at_work.push((go_on, std::thread::spawn(sending)));
        has_started.recv().expect("most of the body is sent");
    }
    server.wait_for("bulk", creta_server::limits::BULK_REQUESTS_SHARE_MAX);
    let refused = server.post("/v1/check", &token, &bundle());
    assert_eq!(refused.problem(503), "busy/requests");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(server.get("/v1/status", &token).status, 200, "light requests have places of their own");
    for (go_on, sending) in at_work {
        go_on.send(()).expect("the body waits");
        assert_eq!(sending.join().expect("no panic").expect("answered"), 200);
    }
    server.post("/v1/check", &token, &bundle()).ok();
}
