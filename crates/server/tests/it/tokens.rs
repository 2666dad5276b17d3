//! Tokens and secrets under attack, over the wire.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::support::Server;

#[test]
fn attack_token_of_a_revoked_account_ends_at_once() {
    let server = Server::new();
    let etl = server.shop("acme");
    let other = server.account("acme", "other", "reader");
    assert_eq!(server.get("/v1/status", &etl.token).status, 200);
    let admin = server.admin_token();
    let path = format!("/v1/service-accounts/{}/revoke", etl.client_id);
    let revoked = server.send("POST", &path, Some(&admin), None).ok();
    assert!(revoked["revoked"].is_string(), "{revoked}");

    assert_eq!(server.get("/v1/status", &etl.token).problem(401), "auth/bad-token");
    assert_eq!(server.ask_token(&etl.client_id, &etl.secret).problem(401), "auth/bad-credentials");
    assert_eq!(server.get("/v1/status", &other.token).status, 200, "others are not concerned");
    server.send("POST", &path, Some(&admin), None).ok(); // Harmless when repeated.
    let again =
        server.post("/v1/service-accounts", &admin, &json!({"tenant": "acme", "name": "etl", "role": "reader"}));
    assert_eq!(again.problem(409), "conflict/service-account");
    let listed = server.get("/v1/service-accounts?tenant=acme", &admin).ok();
    assert_eq!(listed["service_accounts"].as_array().expect("a list").len(), 2);
    assert!(!listed.to_string().contains("creta_sk_") && !listed.to_string().contains("secret"), "{listed}");
}

#[test]
fn attack_token_of_another_environment_is_refused() {
    let (here, there) = (Server::new(), Server::new());
    let (etl, foreign) = (here.shop("acme"), there.shop("acme"));
    assert_eq!(here.get("/v1/status", &etl.token).status, 200);
    assert_eq!(here.get("/v1/status", &foreign.token).problem(401), "auth/bad-token");
    assert_eq!(here.ask_token(&foreign.client_id, &foreign.secret).problem(401), "auth/bad-credentials");
    // The client of one environment does not believe the other's certificate.
    let url = format!("{}/health", there.running().url());
    let refused = crate::support::agent(&here.report.ca).get(&url).call().expect_err("not trusted");
    assert!(refused.to_string().to_lowercase().contains("cert"), "{refused}");
}

/// RFC 6749 section 2.3.1: a server has to take HTTP Basic; section 2.3: a client uses one way at a time.
#[test]
fn attack_ch33_a_client_says_once_who_it_is_by_basic_or_in_the_body() {
    let server = Server::new();
    let (etl, other) = (server.shop("acme"), server.account("acme", "other", "reader"));
    let ask = |header: Option<&str>, body: &str| {
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        headers.extend(header.map(|given| ("authorization", given)));
        server.send_with("POST", "/v1/token", None, &headers, Some(body.as_bytes()))
    };
    let basic = |id: &str, secret: &str| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let grant = "grant_type=client_credentials";
    let right = basic(&etl.client_id, &etl.secret);
    let token = ask(Some(&right), grant).ok()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(server.get("/v1/status", &token).status, 200);
    // As the standard wants it: id and secret written as in a form, whatever the case of the scheme.
    let escaped = basic(&etl.client_id.replace('@', "%40"), &etl.secret).replacen("Basic", "bASIC", 1);
    ask(Some(&escaped), grant).ok();

    // Both ways at once, equal or not, whole or in part.
    let theirs = format!("client_id={}&client_secret={}", other.client_id, other.secret);
    let own = format!("client_id={}&client_secret={}", etl.client_id, etl.secret);
    for body in [&own, &theirs, &format!("client_id={}", etl.client_id), &format!("client_secret={}", etl.secret)] {
        assert_eq!(ask(Some(&right), &format!("{grant}&{body}")).problem(400), "request/two-credentials", "{body}");
    }
    let twice = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("authorization", right.as_str()),
        ("authorization", right.as_str()),
    ];
    let reply = server.send_with("POST", "/v1/token", None, &twice, Some(grant.as_bytes()));
    assert_eq!(reply.problem(400), "request/two-credentials");
    assert_eq!(ask(Some("Basic !"), grant).problem(400), "request/basic");

    // Refusals: as any other, and with the scheme by which it was asked.
    for wrong in [basic(&etl.client_id, "nonsense"), basic("nobody@acme", &etl.secret), basic("", "")] {
        let refused = ask(Some(&wrong), grant);
        let scheme = refused.headers["www-authenticate"].to_str().expect("text").to_owned();
        assert_eq!(refused.problem(401), "auth/bad-credentials");
        assert!(scheme.starts_with("Basic realm="), "{scheme}");
    }
    assert_eq!(ask(None, grant).problem(401), "auth/bad-credentials");
}

#[test]
fn attack_unsigned_token_over_the_wire_is_refused() {
    let server = Server::new();
    let etl = server.shop("acme");
    let mut parts = etl.token.split('.');
    let (_, payload) = (parts.next(), parts.next().expect("three parts"));
    for head in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0", "eyJhbGciOiJIUzI1NiJ9"] {
        for signature in ["", "AA"] {
            let forged = format!("{head}.{payload}.{signature}");
            assert_eq!(server.get("/v1/status", &forged).problem(401), "auth/bad-token", "{forged}");
        }
    }
}

#[test]
fn attack_wrong_id_and_wrong_secret_are_answered_alike() {
    let server = Server::new();
    let etl = server.shop("acme");
    let wrong_secret = server.ask_token(&etl.client_id, &server.admin.client_secret);
    let wrong_id = server.ask_token("nobody@acme", &etl.secret);
    let no_secret = server.ask_token(&etl.client_id, "hunter2");
    for reply in [&wrong_secret, &wrong_id, &no_secret] {
        assert_eq!(reply.problem(401), "auth/bad-credentials");
        assert_eq!(reply.text(), wrong_secret.text());
    }
}

/// What feast-dev/feast#6785 is about: tokens that nobody signed, or that are signed with a secret that everybody knows.
#[test]
fn attack_ch33_feast_6785_unsigned_tokens_and_those_of_a_constant_secret_are_refused() {
    let server = Server::new();
    let etl = server.shop("acme");
    let parts: Vec<&str> = etl.token.split('.').collect();
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = encode(&json!({"alg": "none", "typ": "JWT"}));
    let constant = |secret: &str| {
        let head = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "JWT"})), parts[1]);
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, head.as_bytes());
        format!("{head}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let forged = [
        format!("{unsigned}.{}.", parts[1]),
        format!("{unsigned}.{}.{}", parts[1], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        constant("secret"),
        constant(""),
        constant("feast"),
    ];
    assert_eq!(server.get("/v1/status", &etl.token).status, 200);
    for token in &forged {
        assert_eq!(server.get("/v1/status", token).problem(401), "auth/bad-token", "{token}");
    }
}

#[test]
fn attack_guessing_secrets_is_slowed_down() {
    let server = Server::new();
    let etl = server.shop("acme");
    let replies: Vec<u16> = (0..12).map(|_| server.ask_token(&etl.client_id, "guess").status).collect();
    assert_eq!(replies[..10], [401; 10]);
    assert_eq!(replies[10..], [429; 2]);
    let waiting = server.ask_token(&etl.client_id, &etl.secret);
    assert_eq!(waiting.problem(429), "auth/too-many-failures");
    assert!(waiting.headers.contains_key("retry-after"));
    assert_eq!(
        server.ask_token(&server.admin.client_id, &server.admin.client_secret).status,
        200,
        "others do not wait"
    );
    let entries = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert_eq!(entries.matches("token.refused").count(), 10);
    assert!(!entries.contains("guess") && !entries.contains(&etl.secret));
}

#[test]
fn attack_ch33_a_rotation_without_overlap_ends_what_the_leaked_secret_got() {
    let server = Server::new();
    let etl = server.shop("acme");
    let other = server.account("acme", "other", "reader");
    let rotate = |hours: u32| {
        let path = format!("/v1/service-accounts/{}/rotate", etl.client_id);
        let made = server.post(&path, &server.admin_token(), &json!({"overlap_hours": hours})).ok();
        made["client_secret"].as_str().expect("shown").to_owned()
    };
    let second = server.token(&etl.client_id, &rotate(1));
    assert_eq!(server.get("/v1/status", &etl.token).status, 200, "with an overlap nobody stops");
    let third = rotate(0);
    for (whose, token) in [("the first", &etl.token), ("the second", &second)] {
        assert_eq!(server.get("/v1/status", token).problem(401), "auth/bad-token", "{whose}");
    }
    assert_eq!(server.get("/v1/status", &server.token(&etl.client_id, &third)).status, 200);
    assert_eq!(server.get("/v1/status", &other.token).status, 200, "others are not concerned");
}

#[test]
fn attack_ch33_a_token_for_some_features_asks_for_these_and_does_nothing_else() {
    let server = Server::new();
    let etl = server.shop("acme");
    let body = json!({"client_id": etl.client_id, "client_secret": etl.secret, "scope": "User.city"}).to_string();
    let narrow = server.send("POST", "/v1/token", None, Some((crate::support::JSON, body.as_bytes()))).ok();
    let narrow = narrow["access_token"].as_str().expect("a token");
    let question = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]});
    server.post("/v1/query", narrow, &question).ok();
    let facts = json!({
        "load": {"entity": "User", "event_time": {"constant": "2025-03-01T12:00:00Z"}, "arrival": {"delay": "0s"}},
        "rows": [{"id": 7, "city": "Lyon", "score": 1.5}],
    });
    for (path, body) in [
        ("/v1/deploy", crate::support::bundle()),
        ("/v1/check", crate::support::bundle()),
        ("/v1/facts", facts),
        ("/v1/verify", json!({})),
    ] {
        assert_eq!(server.post(path, narrow, &body).problem(403), "access/token-features", "{path}");
        server.post(path, &etl.token, &body).ok();
    }
    for path in ["/v1/audit/entries", "/v1/catalogue", "/v1/status"] {
        assert_eq!(server.get(path, narrow).problem(403), "access/token-features", "{path}");
    }
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(log.matches("token.narrowed").count() >= 7 && log.contains("CH-33"), "{log}");
}

#[test]
fn tokens_and_accounts_outlive_a_restart() {
    let mut server = Server::new();
    let etl = server.shop("acme");
    server.stop();
    server.start();
    assert_eq!(server.get("/v1/status", &etl.token).status, 200);
    assert_eq!(server.ask_token(&etl.client_id, &etl.secret).status, 200);
}
