//! What somebody began before it was taken from them: it comes to nothing, however late the rest of it arrives.

use std::sync::mpsc::channel;

use creta_identity::dpop::Prover;
use creta_keys::{KeyRing, RootKey};
use creta_model::{Environment, EnvironmentClass};
use creta_platform::Platform;
use creta_store::{MetadataStore as _, SqliteStore};
use serde_json::{Value, json};

use crate::people::{
    Someone, answer_prompt, appoint, assign, authenticator, begin, code_in, header, open_session, origin, prove,
    prover, server, sign_in, sign_in_with,
};
use crate::provider::Provider;
use crate::soft_authenticator::SoftAuthenticator;
use crate::support::{JSON, Reply, Server, Slow, read_reply};

/// Sends head and most of the body of a request, does something, and sends the rest.
fn slowly(server: &Server, path: &str, headers: &[(&str, String)], body: &Value, then: impl FnOnce()) -> Reply {
    let (started, has_started) = channel();
    let (go_on, may_go_on) = channel();
    let end = Some(body.to_string().into_bytes());
    let body = Slow { padding: 3 << 20, end, started, go_on: may_go_on };
    let request = server.agent().post(format!("{}{path}", server.running().url())).header("content-type", JSON);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    let sending = std::thread::spawn(move || request.send(ureq::SendBody::from_owned_reader(body)));
    has_started.recv().expect("most of the body is sent");
    server.wait_for("light", 2);
    then();
    go_on.send(()).expect("the body waits");
    read_reply(sending.join().expect("no panic").expect("answered"))
}

fn as_person(server: &Server, who: &Someone, path: &str) -> Vec<(&'static str, String)> {
    let proof = prove(server, &who.prover, "POST", path, Some(who.token()));
    vec![("authorization", format!("DPoP {}", who.token())), ("dpop", proof)]
}

/// Whoever was let in and was revoked before their request was whole is decided on as they are then.
#[test]
fn attack_ch33_whoever_is_revoked_while_their_request_arrives_acts_no_more() {
    const ACCOUNTS: &str = "/v1/service-accounts";
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let etl = server.shop("acme");
    let admin = server.admin_token();
    let [ana, ben, eve] = ["ana", "ben", "eve"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": ["operator"]}));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));

    // Somebody who leaves is shown no secret: it would outlive them.
    let kept = json!({"tenant": "acme", "name": "kept", "role": "reader"});
    let leave = || drop(server.post("/v1/persons/ana@example.com/leave", &admin, &json!({})).ok());
    let reply = slowly(&server, ACCOUNTS, &as_person(&server, &ana, ACCOUNTS), &kept, leave);
    assert_eq!(reply.problem(401), "auth/bad-token");
    let listed = server.get("/v1/service-accounts?tenant=acme", &admin).text();
    assert!(!listed.contains("kept"), "{listed}");

    // Whose session was ended approves nothing.
    let request = eve.request(&server, "viewer", 1).ok();
    let id = request["request"].as_str().expect("an id");
    let (path, approve) =
        (format!("/v1/access/requests/{id}/decide"), json!({"verdict": "approve", "digest": request["digest"]}));
    let own = format!("/v1/sessions/{}/revoke", ben.opened["session"].as_str().expect("an id"));
    let end = || drop(ben.post(&server, &own, &json!({})).ok());
    let reply = slowly(&server, &path, &as_person(&server, &ben, &path), &approve, end);
    assert_eq!(reply.problem(401), "auth/bad-token");
    assert_eq!(eve.get(&server, &format!("/v1/access/requests/{id}")).ok()["state"], "open");

    // Nor does a program that was revoked ask for anything, the quick way or the other.
    let question = json!({"inputs": {"User.id": [7]}, "outputs": ["User.score"]});
    for _ in 0..2 {
        server.post("/v1/query", &etl.token, &question).ok();
    }
    let bearer = [("authorization", format!("Bearer {}", etl.token))];
    let revoke = || drop(server.post(&format!("{ACCOUNTS}/{}/revoke", etl.client_id), &admin, &json!({})).ok());
    assert_eq!(slowly(&server, "/v1/query", &bearer, &question, revoke).problem(401), "auth/bad-token");
}

/// Signed in up to the code that the command line would collect, and what it would collect it with.
fn completed(server: &Server, provider: &Provider, who: &str, key: &mut SoftAuthenticator) -> (Prover, Value) {
    let (prover, verifier) = (prover(), "v".repeat(43));
    let (location, cookie) = begin(server, prover.thumbprint().as_str(), &verifier);
    let asked = provider.asked(&location);
    let code = provider.signs_in(who, &asked.nonce);
    let path = format!("/sign-in/callback?code={code}&state={}", asked.state);
    let back = server.browse_at(&origin(server), &path, Some(&cookie));
    let prompt = header(&back, "location").split("prompt=").nth(1).expect("a prompt").to_owned();
    let said = answer_prompt(server, key, &prompt, Some(&cookie));
    (prover, json!({"code": code_in(&said), "code_verifier": verifier}))
}

/// A prompt that waits for somebody's first authenticator, and its browser's cookie.
fn registering(server: &Server, provider: &Provider, who: &str) -> (String, String) {
    let (location, cookie) = begin(server, prover().thumbprint().as_str(), &"v".repeat(43));
    let asked = provider.asked(&location);
    let code = provider.signs_in(who, &asked.nonce);
    let path = format!("/sign-in/callback?code={code}&state={}", asked.state);
    let back = server.browse_at(&origin(server), &path, Some(&cookie));
    (header(&back, "location").split("prompt=").nth(1).expect("a prompt").to_owned(), cookie)
}

#[test]
fn attack_ci22_whoever_lost_their_authenticator_loses_sessions_and_sign_ins_under_way_with_it() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Staging);
    let appointed = [("kim", "administrator"), ("ben", "security-lead"), ("lee", "security-lead")];
    appoint(&mut server, &provider, &appointed);
    let mut keys: Vec<_> = (1..=5).map(|seed| authenticator(&server, seed)).collect();
    let kim = sign_in_with(&server, &provider, "kim", Some(&mut keys[0]));
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut keys[1]));
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut keys[2]));
    let request = ana.request(&server, "operator", 1).ok();
    let path = format!("/v1/access/requests/{}/decide", request["request"].as_str().expect("an id"));
    let approve = json!({"verdict": "approve", "digest": request["digest"]});
    let asked = ben.post(&server, &path, &approve).ok()["verify"].as_str().expect("where to sign").to_owned();

    // Whoever found Ben's key signs in with it and does not collect the session yet.
    let (thief, uncollected) = completed(&server, &provider, "ben", &mut keys[1]);
    let lee = sign_in_with(&server, &provider, "lee", Some(&mut keys[4]));
    let mut of_lee = keys.pop().expect("five");
    let mut reset = || {
        let body = json!({"what": "reset-authenticators", "person": "ben@example.com",
            "reason": "The key fell into the lake on Sunday"});
        let change = kim.post(&server, "/v1/person-requests", &body).ok();
        let path = format!("/v1/person-requests/{}/approve", change["request"].as_str().expect("an id"));
        let agreed = lee.post(&server, &path, &json!({"digest": change["digest"]})).ok();
        let prompt = agreed["verify"].as_str().expect("where to sign").split("prompt=").nth(1).expect("a prompt");
        answer_prompt(&server, &mut of_lee, prompt, None).ok();
        kim.send(&server, "POST", "/v1/persons/ben@example.com/reset-authenticators", None).ok();
    };
    reset();
    assert_eq!(open_session(&server, &thief, &uncollected).problem(401), "auth/sign-in-over");
    assert_eq!(ben.get(&server, "/v1/me").problem(401), "auth/bad-token", "a session of the lost key");
    assert_eq!(ben.post(&server, &path, &approve).problem(401), "auth/bad-token");
    let signed = answer_prompt(&server, &mut keys[1], asked.split("prompt=").nth(1).expect("a prompt"), None);
    assert!((400..500).contains(&signed.status), "{}", signed.text());

    // Nor is a key registered by a sign-in that began before another reset, once somebody else's is under way.
    let (prompt, cookie) = registering(&server, &provider, "ben");
    reset();
    registering(&server, &provider, "ben");
    let late = answer_prompt(&server, &mut keys[3], &prompt, Some(&cookie));
    assert_eq!(late.problem(401), "auth/sign-in-over");
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut keys[1]));
    assert_eq!(ana.get(&server, path.trim_end_matches("/decide")).ok()["state"], "open");
    let log = ben.get(&server, "/v1/audit/entries?limit=1000").text();
    assert!(log.contains("authenticator.reset") && log.contains("sign-in.refused"), "{log}");
}

/// Whoever can write the documents takes away the authenticator of somebody who is signed in: nothing is approved unsigned.
#[test]
fn attack_ci22_outside_development_nobody_approves_without_an_authenticator() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Staging);
    appoint(&mut server, &provider, &[("ben", "security-lead")]);
    let (mut one, mut two) = (authenticator(&server, 1), authenticator(&server, 2));
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut one));
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut two));
    let request = ana.request(&server, "operator", 1).ok();
    let path = format!("/v1/access/requests/{}", request["request"].as_str().expect("an id"));
    server.stop();
    remove_document(&server, "authenticators", "ben@example.com");
    server.start();
    let approve = json!({"verdict": "approve", "digest": request["digest"]});
    assert_eq!(ben.post(&server, &format!("{path}/decide"), &approve).problem(403), "access/authenticator");
    assert_eq!(ana.get(&server, &path).ok()["state"], "open");
    assert!(ben.get(&server, "/v1/audit/entries?limit=1000").text().contains("authenticator.refused"));
}

/// Removes a document of the control plane as whoever has the root key could.
fn remove_document(server: &Server, kind: &str, id: &str) {
    let environment = Environment::parse("prod").expect("valid");
    let platform = Platform::system(server.data()).expect("a folder");
    let root = RootKey::load_file(&server.report.root_key, &environment).expect("the key");
    let ring = KeyRing::open(root, environment.clone(), platform).expect("opens");
    let key = ring.scope(&creta_iam::control_plane(&environment)).expect("there");
    let store = SqliteStore::open(server.data().join("metadata.sqlite"), key).expect("opens");
    let document = store.list(kind).expect("readable").into_iter().find(|document| document.id == id).expect("there");
    store.delete(kind, id, document.version).expect("removed");
}

/// An authenticator that is somebody's already: another account of the same device would sign for both.
#[test]
fn attack_ci22_nobody_registers_the_authenticator_of_somebody_else() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Staging);
    let mut key = authenticator(&server, 1);
    sign_in_with(&server, &provider, "ana", Some(&mut key));
    let (prompt, cookie) = registering(&server, &provider, "eve");
    assert_eq!(
        answer_prompt(&server, &mut authenticator(&server, 1), &prompt, Some(&cookie)).problem(403),
        "access/authenticator"
    );
    sign_in_with(&server, &provider, "eve", Some(&mut authenticator(&server, 2)));
    sign_in_with(&server, &provider, "ana", Some(&mut key));
}
