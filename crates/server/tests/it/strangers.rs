//! What somebody does whom nobody knows: they keep nobody out, stop nothing and fill nothing.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use creta_model::EnvironmentClass;
use creta_server::limits::{ARRIVING_MAX, PUBLIC_ARRIVING_SHARE_MAX};
use serde_json::{Value, json};

use crate::people::{cookie_of, header, origin, prove, prover, server, sign_in};
use crate::provider::Provider;
use crate::support::{JSON, Server};
use crate::transit::Anything;

/// A network of its own, as far as the server sees.
pub(crate) const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

type Connection = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A connection from an address of this machine.
fn connect_from(server: &Server, from: Ipv4Addr) -> Connection {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let SocketAddr::V4(to) = server.running().address() else { panic!("an IPv4 address") };
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&fd, &SocketAddrV4::new(from, 0)).expect("bound");
    connect(&fd, &to).expect("connected");
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(creta_server::tls_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("made");
    rustls::StreamOwned::new(connection, TcpStream::from(fd))
}

fn begin_from(server: &Server, from: Ipv4Addr, head: &str, body: &[u8]) -> Connection {
    let mut stream = connect_from(server, from);
    let host = server.running().url().replace("https://", "");
    write!(stream, "{head}\r\nhost: {host}\r\nconnection: close\r\n\r\n").expect("sent");
    stream.write_all(body).expect("sent");
    stream.flush().expect("sent");
    stream
}

fn status_of(mut stream: Connection) -> u16 {
    stream.sock.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !answer.windows(2).any(|two| two == b"\r\n") {
        let read = stream.read(&mut part).expect("an answer");
        assert!(read > 0, "the connection ended without an answer");
        answer.extend_from_slice(&part[..read]);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

/// The status of an answer to somebody elsewhere.
pub(crate) fn post_from(server: &Server, from: Ipv4Addr, path: &str, body: &Value) -> u16 {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\ncontent-type: {JSON}\r\ncontent-length: {}", body.len());
    status_of(begin_from(server, from, &head, body.as_bytes()))
}

/// The same of a form that a page of this server sends.
pub(crate) fn form_from(server: &Server, from: Ipv4Addr, path: &str, cookie: &str, form: &str) -> u16 {
    let head = format!(
        "POST {path} HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\nsec-fetch-site: same-origin\r\n\
         cookie: {cookie}\r\ncontent-length: {}",
        form.len()
    );
    status_of(begin_from(server, from, &head, form.as_bytes()))
}

#[test]
fn attack_t04_slow_requests_of_strangers_stop_nobody() {
    let server = Server::new();
    let etl = server.shop("acme");
    let slow = "POST /sign-in/verify HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 60000";
    let mut held: Vec<Connection> =
        (0..PUBLIC_ARRIVING_SHARE_MAX).map(|_| begin_from(&server, ELSEWHERE, slow, b"{")).collect();
    // All of them are there when the next one is refused. Its own body is whole: what is left of one is waited for.
    let whole = "POST /sign-in/verify HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 2";
    let refused = || status_of(begin_from(&server, ELSEWHERE, whole, b"{}")) == 503;
    assert!((0..200).any(|_| refused()), "one network has a share");
    held.extend((0..ARRIVING_MAX / 2).map(|_| begin_from(&server, ELSEWHERE, slow, b"{")));
    for _ in 0..5 {
        assert_eq!(server.get("/v1/status", &etl.token).status, 200, "who is known has other places");
        assert_eq!(server.ask_token(&etl.client_id, &etl.secret).status, 200, "strangers elsewhere have a share too");
    }
    let question = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]});
    server.post("/v1/query", &etl.token, &question).ok();
    drop(held);
}

#[test]
fn attack_t04_a_tenant_that_sends_slowly_leaves_places_to_others() {
    let server = Server::new();
    let [acme, globex] = ["acme", "globex"].map(|tenant| server.shop(tenant));
    let head = |path: &str, bytes: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {bytes}",
            acme.token
        )
    };
    let (light, bulk) = (head("/v1/query", 60_000), head("/v1/check", 60_000));
    let from = Ipv4Addr::LOCALHOST;
    let held: Vec<Connection> = (0..creta_server::limits::ARRIVING_SHARE_MAX)
        .map(|_| begin_from(&server, from, &light, b"{"))
        .chain((0..creta_server::limits::BULK_REQUESTS_SHARE_MAX).map(|_| begin_from(&server, from, &bulk, b"{")))
        .collect();
    for whole in [head("/v1/query", 2), head("/v1/check", 2)] {
        assert!((0..200).any(|_| status_of(begin_from(&server, from, &whole, b"{}")) == 503), "{whole}");
    }
    let question = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]});
    server.post("/v1/query", &globex.token, &question).ok();
    server.post("/v1/check", &globex.token, &crate::support::bundle()).ok();
    drop(held);
}

#[test]
fn attack_t04_answers_that_no_provider_gave_leave_no_entries() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let size = || server.get("/v1/audit/entries?limit=1000", &server.admin_token()).ok();
    let entries = |log: &Value| log["entries"].as_array().expect("entries").len();
    let before = size();
    for n in 0..60 {
        let reply = server.browse_at(&origin(&server), &format!("/sign-in/callback?state={n}&code=y"), None);
        assert_eq!(reply.status, 401, "{}", reply.text());
    }
    let after = size();
    assert!(!after.to_string().contains("sign-in.refused"), "{after}");
    assert!(entries(&after) <= entries(&before) + 5, "{} and {}", entries(&before), entries(&after));
    // What began here and is refused is recorded, as far as failures are.
    provider.forge(|_, claims| claims["aud"] = "other".into());
    for _ in 0..40 {
        let key = prover();
        let back = crate::people::browse_through(&server, &provider, "ana", key.thumbprint().as_str(), &"v".repeat(43));
        assert_eq!(back.status, 403, "{}", back.text());
    }
    let log = size().to_string();
    assert_eq!(log.matches("sign-in.refused").count(), creta_server::limits::FAILURES_RECORDED_MAX as usize);
}

#[test]
fn attack_ch33_a_strangers_key_takes_no_place_among_proofs_that_sessions_need() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let ana = sign_in(&server, &provider, "ana");
    // A token that was copied, with a proof of another key: refused before anything is remembered of it.
    let thief = prover();
    let proof = prove(&server, &thief, "GET", "/v1/me", Some(ana.token()));
    let authorization = format!("DPoP {}", ana.token());
    for _ in 0..2 {
        let headers = [("authorization", authorization.as_str()), ("dpop", proof.as_str())];
        assert_eq!(server.send_with("GET", "/v1/me", None, &headers, None).problem(401), "auth/bad-proof");
    }
    ana.get(&server, "/v1/me").ok();
    let renewed = ana.renew(&server, &ana.prover);
    assert_eq!(renewed.status, 200, "{}", renewed.text());
}

/// The code that a command line elsewhere shows.
fn device(server: &Server) -> String {
    let key = prover();
    let proof = prove(server, &key, "POST", "/v1/sign-in/device", None);
    let headers = [("dpop", proof.as_str()), ("content-type", JSON)];
    let started = server.send_with("POST", "/v1/sign-in/device", None, &headers, Some(b"{}")).ok();
    started["user_code"].as_str().expect("a code").to_owned()
}

#[test]
fn attack_ci21_nobody_signs_a_machine_in_that_they_were_not_asked_about() {
    const DEVICE: &str = "/sign-in/device";
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let (own, code) = (origin(&server), device(&server));
    let form = ("content-type", "application/x-www-form-urlencoded");
    let yes = format!("user_code={code}&confirm=yes");
    // Another site fills the form in.
    for from in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")]
    {
        for body in [yes.as_str(), &format!("user_code={code}")] {
            let reply = server.post_form(&own, DEVICE, &[form, from], body.as_bytes());
            assert!(
                reply.status == 403 && reply.text().contains("does not come from a page"),
                "{from:?}: {}",
                reply.text()
            );
        }
    }
    // A page of ours that did not ask, another browser's answer, another code's.
    let asked = |code: &str| {
        let page = server.post_form(&own, DEVICE, &[form], format!("user_code={code}").as_bytes());
        let text = page.text();
        assert!(text.contains("Is this your machine?") && text.contains("127.0.0.1"), "{text}");
        let cookie = header(&page, "set-cookie");
        assert!(cookie.starts_with("__Host-creta-device=") && cookie.contains("SameSite=Strict"), "{cookie}");
        let word = text.split("name=\"word\" value=\"").nth(1).expect("a word").split('"').next().expect("a word");
        (cookie.split(';').next().expect("a pair").to_owned(), word.to_owned())
    };
    let (cookie, word) = asked(&code);
    let (other_cookie, _) = asked(&code);
    let other_code = device(&server);
    let say = |code: &str, cookie: Option<&str>, word: Option<&str>| {
        let mut headers = vec![form];
        headers.extend(cookie.map(|cookie| ("cookie", cookie)));
        let word = word.map(|word| format!("&word={word}")).unwrap_or_default();
        server.post_form(&own, DEVICE, &headers, format!("user_code={code}&confirm=yes{word}").as_bytes())
    };
    for (what, reply) in [
        ("nothing shown", say(&code, None, None)),
        ("no cookie", say(&code, None, Some(&word))),
        ("no word", say(&code, Some(&cookie), None)),
        ("another browser's", say(&code, Some(&other_cookie), Some(&word))),
        ("another code's", say(&other_code, Some(&cookie), Some(&word))),
    ] {
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        assert!(reply.text().contains("Sign in on another machine"), "{what}: {}", reply.text());
    }
    let on = say(&code, Some(&cookie), Some(&word));
    assert_eq!(on.status, 303, "{}", on.text());
    assert!(header(&on, "location").starts_with(&provider.issuer()), "to the provider");
    cookie_of(&on);
}

#[test]
fn attack_ci21_whoever_signs_in_for_another_machine_reads_which() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Staging);
    let (own, code) = (origin(&server), device(&server));
    let form = ("content-type", "application/x-www-form-urlencoded");
    let page = server.post_form(&own, "/sign-in/device", &[form], format!("user_code={code}").as_bytes());
    let text = page.text();
    let word = text.split("name=\"word\" value=\"").nth(1).expect("a word").split('"').next().expect("a word");
    let shown = header(&page, "set-cookie").split(';').next().expect("a pair").to_owned();
    let yes = format!("user_code={code}&confirm=yes&word={word}");
    let on = server.post_form(&own, "/sign-in/device", &[form, ("cookie", shown.as_str())], yes.as_bytes());
    let (location, cookie) = (header(&on, "location"), cookie_of(&on));
    let asked = provider.asked(&location);
    let answer = provider.signs_in("ana", &asked.nonce);
    let path = format!("/sign-in/callback?code={answer}&state={}", asked.state);
    let back = server.browse_at(&own, &path, Some(&cookie));
    let prompt = server.browse_at(&own, &header(&back, "location"), Some(&cookie)).text();
    assert!(prompt.contains(&code) && prompt.contains("127.0.0.1"), "{prompt}");
}

#[test]
fn attack_ch33_guesses_at_client_ids_silence_no_other_refusal() {
    let server = Server::new();
    let etl = server.shop("acme");
    for n in 0..150 {
        assert_eq!(server.ask_token(&format!("made-up-{n}@acme"), &etl.secret).status, 401);
    }
    let key = prover();
    let mut proof = prove(&server, &key, "POST", "/v1/sign-in/device", None);
    proof.push('x');
    let refused = server.send_with(
        "POST",
        "/v1/token",
        None,
        &[("dpop", &proof), ("content-type", JSON)],
        Some(json!({"client_id": etl.client_id, "client_secret": etl.secret}).to_string().as_bytes()),
    );
    assert_eq!(refused.problem(401), "auth/bad-proof");
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(log.contains("proof.refused"), "{log}");
    assert_eq!(log.matches("token.refused").count(), creta_server::limits::FAILURES_RECORDED_MAX as usize);
}
