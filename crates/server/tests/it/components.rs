//! Components of an environment: who lets them in, who lets in nobody else, and what a certificate is worth alone.

use creta_model::EnvironmentClass;
use creta_server::ComponentRole;
use serde_json::{Value, json};
use ureq::Agent;

use crate::support::{Server, read_reply};
use crate::transit::{component, environment, of, showing, staging, turned_away};
use crate::witness::Witness;

#[test]
fn attack_ch25_a_listener_for_components_takes_nobody_else() {
    let mut server = Server::configured(EnvironmentClass::Development, "[components]\nlisten = \"127.0.0.1:0\"\n");
    let folder = tempfile::tempdir().expect("a folder");
    let own = of(&component(&mut server, "monitor-1", &folder.path().join("own")));
    let mut staging = staging();
    let foreign = of(&component(&mut staging, "monitor-1", &folder.path().join("foreign")));
    let address = server.running().components_address().expect("it listens twice");
    let url = format!("https://localhost:{}/health", address.port());
    let asked = |agent: &Agent| agent.get(&url).call().map(|answer| answer.status().as_u16());

    assert_eq!(asked(&showing(&server.report.ca, &own.0, &own.1)).expect("let in"), 200);
    assert!(asked(&crate::support::agent(&server.report.ca)).is_err(), "without a certificate");
    assert!(asked(&showing(&server.report.ca, &foreign.0, &foreign.1)).is_err(), "with another environment's");
    assert!(turned_away(&server).iter().any(|(what, why)| what == "certificate" && why == "other-environment"));
    // A certificate is no token: it says who asks, and gives no right to anything.
    let reply = read_reply(
        showing(&server.report.ca, &own.0, &own.1)
            .get(format!("https://localhost:{}/v1/tenants", address.port()))
            .call()
            .expect("an answer"),
    );
    assert_eq!(reply.problem(401), "auth/no-token");

    staging.stop(); // Its listener is one of this process.
    server.post("/v1/trust/inventory", &server.admin_token(), &json!({"owner": "platform", "region": "eu"})).ok();
    let ran =
        server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["tls-listeners", "inventory"]})).ok();
    for run in ran["ran"].as_array().expect("a list") {
        assert_eq!(run["outcome"], "pass", "{run}");
    }
    server.stop();
    creta_server::revoke_component(&server.data(), "monitor-1").expect("revoked");
    server.start();
    let address = server.running().components_address().expect("it listens twice");
    let url = format!("https://localhost:{}/health", address.port());
    assert!(showing(&server.report.ca, &own.0, &own.1).get(&url).call().is_err(), "one that was revoked");
}

#[test]
fn attack_ch25_a_witness_of_the_same_organisation_takes_the_servers_it_knows_and_nobody_else() {
    let mut prod = Server::new();
    let mut witness = Witness::of(&prod.report.audit_verifier_key);
    witness.stop();
    let admit = |name: &str, server: &Server| {
        let (id, ca) = (&server.report.environment_id, &server.report.ca);
        creta_server::witness::admit(&witness.made.folder, &environment(name), id, ca, &["server".to_owned()])
    };
    admit("prod", &prod).expect("admitted");
    witness.start();
    prod.stop();
    creta_server::add_witness(&prod.data(), &witness.url(), &witness.made.key, &witness.made.ca).expect("added");
    prod.start();
    assert!(prod.running().keep_log().expect("kept").is_some(), "the server showed who it is, and got its cosignature");

    // Strangers, a component that is not the server, and another environment get no further than the handshake.
    let folder = tempfile::tempdir().expect("a folder");
    let worker = of(&component(&mut prod, "worker-1", &folder.path().join("worker")));
    let mut other = staging();
    let foreign = of(&component(&mut other, "worker-1", &folder.path().join("foreign")));
    let newest = |shows: Option<&(String, String)>| {
        let shows = shows.map(|(certificate, key)| (certificate.as_str(), key.as_str()));
        creta_server::witness::WitnessClient::showing(&witness.url(), &witness.made.ca, shows)
            .expect("a client")
            .newest("creta/prod/audit")
    };
    for (who, shows) in [("nobody", None), ("a worker", Some(&worker)), ("staging", Some(&foreign))] {
        assert!(newest(shows).is_err(), "{who} was let in");
    }
    other.stop();
    creta_server::add_witness(&other.data(), &witness.url(), &witness.made.key, &witness.made.ca).expect("added");
    other.start();
    assert!(other.running().keep_log().expect("kept").is_none(), "staging's server gets no cosignature");
}

/// Every role of components, times every guarded route of the interface's own description.
#[test]
fn attack_ch35_no_components_certificate_gives_a_right_to_any_route() {
    let mut server = Server::new();
    let folder = tempfile::tempdir().expect("a folder");
    server.stop();
    let made = ComponentRole::ALL.map(|role| {
        let out = folder.path().join(role.as_str());
        (role, creta_server::add_component(&server.data(), &format!("{role}-1"), role, &out).expect("made"))
    });
    server.start();
    let document: Value = serde_json::from_str(&creta_server::openapi_document()).expect("JSON");
    let mut tried = 0;
    for (role, report) in &made {
        let (certificate, key) = of(report);
        let agent = showing(&server.report.ca, &certificate, &key);
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                if operation["x-creta-action"].is_null() {
                    continue;
                }
                let filled = path.replace("{id}", "etl@acme").replace("{level}", "0").replace("{index}", "000");
                let url = format!("{}{filled}", server.running().url());
                let request = ureq::http::Request::builder().method(method.to_uppercase().as_str()).uri(url);
                let answer = match method.as_str() {
                    "get" | "delete" => agent.run(request.body(()).expect("a request")),
                    _ => agent.run(request.body(b"{}".as_slice()).expect("a request")),
                };
                let reply = read_reply(answer.expect("an answer"));
                tried += 1;
                // Pages answer to a browser's session and to nothing else.
                if path.starts_with("/view") {
                    assert_eq!(crate::browser::refused(&reply, 401), "auth/no-session", "{role}: {method} {path}");
                    continue;
                }
                let said = reply.json();
                let code = said["code"].as_str().or_else(|| said["detail"].as_str()?.split(": ").next());
                assert_eq!((reply.status, code), (401, Some("auth/no-token")), "{role}: {method} {path}");
            }
        }
    }
    assert!(tried > 200, "{tried}");
}
