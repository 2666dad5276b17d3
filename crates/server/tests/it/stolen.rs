//! Stolen tokens and secrets of programs (T4): copies without their key, planted ones, and use from elsewhere.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use creta_model::{EnvironmentClass, Span};
use creta_platform::ManualClock;
use serde_json::{Value, json};

use crate::people::{now, prove, prover};
use crate::support::{JSON, Reply, Server};

const QUESTION: &str = "/v1/query";

fn question() -> Value {
    json!({"inputs": {"User.id": [7]}, "outputs": ["User.score"]})
}

/// Asks for a token with proof of a key.
fn proven_token(server: &Server, (id, secret): (&str, &str), key: &creta_identity::dpop::Prover) -> Value {
    let body = json!({"client_id": id, "client_secret": secret}).to_string();
    let proof = prove(server, key, "POST", "/v1/token", None);
    let headers = [("dpop", proof.as_str()), ("content-type", JSON)];
    server.send_with("POST", "/v1/token", None, &headers, Some(body.as_bytes())).ok()
}

fn ask_with(server: &Server, token: &str, proof: &str) -> Reply {
    let authorization = format!("DPoP {token}");
    let headers = [("authorization", authorization.as_str()), ("dpop", proof), ("content-type", JSON)];
    server.send_with("POST", QUESTION, None, &headers, Some(question().to_string().as_bytes()))
}

fn log_of(server: &Server) -> String {
    server.running().keep_log().expect("kept");
    server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text()
}

/// A server that writes into `pages` whom it wakes.
fn paging(pages: &Path, more: &str) -> Server {
    let out = pages.to_str().expect("a plain path");
    let tail = format!("[[on_call]]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> {out}\"]\n{more}");
    Server::configured(EnvironmentClass::Development, &tail)
}

fn wait_for_page(pages: &Path, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string(pages).is_ok_and(|pages| pages.contains(what)) {
        assert!(Instant::now() < deadline, "nobody was paged about {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn attack_t4_a_token_of_an_account_that_requires_proof_is_worth_nothing_without_its_key() {
    let server = Server::new();
    server.shop("acme");
    let admin = server.admin_token();
    let asked = json!({"tenant": "acme", "name": "scoring", "role": "reader", "require_proof": true});
    let made = server.post("/v1/service-accounts", &admin, &asked).ok();
    assert_eq!(made["require_proof"], true);
    let (id, secret) = (made["client_id"].as_str().expect("text"), made["client_secret"].as_str().expect("text"));

    // No token without a key, and it is said why; a wrong secret is told nothing of it.
    let refused = server.ask_token(id, secret);
    assert_eq!(refused.problem(401), "auth/no-proof", "{}", refused.text());
    assert_eq!(server.ask_token(id, "guess").problem(401), "auth/bad-credentials");
    let (own, thief) = (prover(), prover());
    let given = proven_token(&server, (id, secret), &own);
    assert_eq!(given["token_type"], "DPoP");
    let token = given["access_token"].as_str().expect("a token");
    let proof = |key| prove(&server, key, "POST", QUESTION, Some(token));
    assert_eq!(ask_with(&server, token, &proof(&own)).status, 200);
    // The thief has the token, and whatever proofs they saw.
    assert_eq!(server.post(QUESTION, token, &question()).problem(401), "auth/no-proof");
    assert_eq!(ask_with(&server, token, &proof(&thief)).problem(401), "auth/bad-proof");
    let seen = proof(&own);
    assert_eq!(ask_with(&server, token, &seen).status, 200);
    assert_eq!(ask_with(&server, token, &seen).problem(401), "auth/bad-proof", "each proof counts once");
    assert!(log_of(&server).contains("proof.refused"));

    // Tokens that were given before the account was told so end with it, however lately they were checked.
    let etl = server.account("acme", "old", "reader");
    for _ in 0..3 {
        server.post(QUESTION, &etl.token, &question()).ok();
    }
    let path = format!("/v1/service-accounts/{}/rotate", etl.client_id);
    let rotate = |body: Value| server.post(&path, &admin, &body).ok();
    assert_eq!(rotate(json!({"require_proof": true}))["require_proof"], true);
    assert_eq!(server.post(QUESTION, &etl.token, &question()).problem(401), "auth/no-proof");
    assert_eq!(rotate(json!({}))["require_proof"], true, "rotating says nothing of it");
    assert_eq!(server.ask_token(&etl.client_id, &etl.secret).problem(401), "auth/bad-credentials", "two rotations ago");
    let free = rotate(json!({"require_proof": false}));
    let token = server.token(&etl.client_id, free["client_secret"].as_str().expect("text"));
    server.post(QUESTION, &token, &question()).ok();
    let log = log_of(&server);
    assert!(log.contains("not-required"), "that it is not required any more stands in the log: {log}");
    let listed = server.get("/v1/service-accounts?tenant=acme", &admin).ok();
    let proofs = listed["service_accounts"].as_array().expect("a list").iter().map(|one| &one["require_proof"]);
    assert_eq!(proofs.filter(|proof| **proof == json!(true)).count(), 1);
}

#[test]
fn attack_t4_a_planted_credential_is_refused_like_any_other_and_wakes_somebody() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("pages");
    let mut server = paging(&pages, "");
    let etl = server.shop("acme");
    server.tenant("globex");
    let admin = server.admin_token();
    let plant =
        |name: &str, token: &str| server.post("/v1/canary-tokens", token, &json!({"tenant": "acme", "name": name}));
    let planted = plant("backup-root", &admin).ok();
    let (id, secret) = (planted["client_id"].as_str().expect("text"), planted["client_secret"].as_str().expect("text"));
    assert!(id == "backup-root@acme" && secret.starts_with("creta_sk_"), "{planted}");
    assert_eq!(plant("other", &etl.token).problem(403), "access/denied", "not for whoever only uses the tenant");
    // Names are not used twice, by neither kind.
    assert_eq!(plant("etl", &admin).problem(409), "conflict/service-account");
    let account = json!({"tenant": "acme", "name": "backup-root", "role": "reader"});
    assert_eq!(server.post("/v1/service-accounts", &admin, &account).problem(409), "conflict/service-account");
    assert!(!server.get("/v1/service-accounts?tenant=acme", &admin).text().contains("backup-root"));

    // Every way of using it is refused by the words that a wrong one gets.
    let wrong = server.account("globex", "gone", "reader");
    server.send("POST", &format!("/v1/service-accounts/{}/revoke", wrong.client_id), Some(&admin), None).ok();
    let alike = |ours: Reply, other: Reply| {
        assert_eq!((ours.status, ours.text()), (other.status, other.text()));
        assert_eq!(ours.status, 401, "{}", ours.text());
    };
    let basic = |id: &str, secret: &str| {
        let value = format!("Basic {}", BASE64.encode(format!("{id}:{secret}")));
        server.send_with("GET", "/v1/status", None, &[("authorization", &value)], None)
    };
    alike(server.ask_token(id, secret), server.ask_token(&etl.client_id, &wrong.secret));
    alike(server.ask_token("etl@acme", secret), server.ask_token(&etl.client_id, &wrong.secret));
    alike(server.get("/v1/status", secret), server.get("/v1/status", &wrong.secret));
    alike(basic(id, secret), basic(&wrong.client_id, &wrong.secret));
    assert!(!log_of(&server).is_empty());
    wait_for_page(&pages, "canary-");
    let listed = |server: &Server| {
        let listed = server.get("/v1/canary-tokens?tenant=acme", &server.admin_token()).ok();
        listed["canary_tokens"][0].clone()
    };
    let entries = log_of(&server);
    assert!(entries.contains("canary.used") && entries.contains("127.0.0.0/24"), "{entries}");
    assert!(!entries.contains(secret), "the secret stands nowhere");
    assert!(listed(&server)["times"].as_u64() >= Some(1), "{}", listed(&server));
    // It is known after a restart, and taken up by whoever may end accounts of the tenant alone.
    server.stop();
    std::fs::write(&pages, "").expect("emptied");
    server.start();
    server.get("/v1/status", secret).problem(401);
    server.running().keep_log().expect("kept");
    wait_for_page(&pages, "canary-");
    let end = |token: &str| server.send("POST", &format!("/v1/canary-tokens/{id}/end"), Some(token), None);
    let admin = server.admin_token();
    assert_eq!(end(&server.token(&etl.client_id, &etl.secret)).problem(403), "access/denied");
    assert!(end(&admin).ok()["ended"].is_string() && end(&admin).ok()["ended"].is_string());
    let times = listed(&server)["times"].clone();
    server.get("/v1/status", secret).problem(401);
    server.running().keep_log().expect("kept");
    assert_eq!(listed(&server)["times"], times);
    assert!(log_of(&server).contains("canary.ended"));
}

/// A way to the server from another network: what it takes at its own address it passes on from `from`.
fn through(server: &Server, from: &'static str) -> SocketAddr {
    let url = server.running().url();
    let target: SocketAddr = url.trim_start_matches("https://").parse().expect("an address");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            listener.set_nonblocking(true).expect("set");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((mut here, _)) = listener.accept().await {
                let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
                socket.bind(format!("{from}:0").parse().expect("an address")).expect("bound");
                let mut there = socket.connect(target).await.expect("connected");
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut here, &mut there).await });
            }
        });
    });
    address
}

/// The same question as everybody's, by another way.
fn ask_through(server: &Server, way: SocketAddr, token: &str) -> u16 {
    let request = server.agent().post(format!("https://{way}{QUESTION}")).header("content-type", JSON);
    let request = request.header("authorization", format!("Bearer {token}"));
    request.send(question().to_string()).expect("answered").status().as_u16()
}

#[test]
fn attack_t4_a_stolen_token_that_is_used_from_elsewhere_wakes_somebody() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("pages");
    let clock = Arc::new(ManualClock::new(now()));
    let server = paging(&pages, "[programs]\nlearning_days = 3\n").by(&clock);
    let etl = server.shop("acme");
    let scoring = server.account("acme", "scoring", "reader");
    let fresh = |server: &Server| server.token(&scoring.client_id, &scoring.secret);
    let news = |server: &Server| {
        server.running().keep_log().expect("kept");
        server.get("/v1/access/analysis", &server.admin_token()).ok()["news"].clone()
    };
    // While it is learned, the networks of its own are taken in silence.
    let [second, elsewhere] = [through(&server, "127.0.7.1"), through(&server, "127.0.9.1")];
    server.post(QUESTION, &fresh(&server), &question()).ok();
    assert_eq!(ask_through(&server, second, &fresh(&server)), 200);
    assert_eq!(news(&server), json!([]));
    clock.advance(Span::days(3));
    server.post(QUESTION, &fresh(&server), &question()).ok();
    assert_eq!(ask_through(&server, second, &fresh(&server)), 200);
    assert_eq!(news(&server), json!([]), "nothing of it is new");
    assert!(!log_of(&server).contains("service-account.new"));
    let before = std::fs::read_to_string(&pages).unwrap_or_default();
    assert!(!before.contains("network-"), "{before}");

    // The thief's first use, with a question that was asked before and is answered at once.
    let stolen = fresh(&server);
    for _ in 0..3 {
        server.post(QUESTION, &stolen, &question()).ok();
    }
    assert_eq!(ask_through(&server, elsewhere, &stolen), 200, "nothing is refused");
    let told = news(&server);
    assert_eq!(told.as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!((&told[0]["client_id"], &told[0]["name"]), (&json!("scoring@acme"), &json!("127.0.9.0/24")));
    wait_for_page(&pages, "network-");
    let entries = log_of(&server);
    assert_eq!(entries.matches("service-account.new-network").count(), 1, "{entries}");
    // Once is enough.
    let elsewhere = through(&server, "127.0.9.77");
    assert_eq!(ask_through(&server, elsewhere, &fresh(&server)), 200);
    // A use of another kind stands in the log and wakes nobody; other accounts are not concerned.
    std::fs::write(&pages, "").expect("emptied");
    server.get("/v1/catalogue", &fresh(&server)).ok();
    server.get("/v1/status", &server.token(&etl.client_id, &etl.secret)).ok();
    let told = news(&server);
    let names: Vec<&str> = told.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.contains(&"127.0.9.0/24") && names.contains(&"catalogue.read"), "{told}");
    let entries = log_of(&server);
    assert_eq!(entries.matches("service-account.new-network").count(), 1, "{entries}");
    assert!(entries.contains("service-account.new-use"), "{entries}");
    assert!(!std::fs::read_to_string(&pages).expect("a file").contains("network-"));
}
