//! What somebody here took away by name stays taken away, whatever the organisation's directory goes on to say.

use std::sync::Arc;

use creta_model::{EnvironmentClass, Span};
use creta_platform::ManualClock;
use serde_json::{Value, json};

use crate::people::{assign, browse_through, prover, server_by, sign_in};
use crate::provider::Provider;
use crate::provisioning::{SCIM, group, make, provisioner, scim, user};
use crate::support::Server;

const GROUPS: &str = "[sign_in.groups]\n\
    \"creta developers\" = { role = \"developer\", tenant = \"acme\" }\n\
    \"creta viewers\" = { role = \"viewer\", tenant = \"acme\" }\n";

fn world() -> (Provider, Server, Arc<ManualClock>) {
    let provider = Provider::start();
    let (server, clock) = server_by(&provider, EnvironmentClass::Development, GROUPS);
    server.shop("acme");
    (provider, server, clock)
}

fn person(server: &Server, id: &str) -> Value {
    let listed = server.get("/v1/persons", &server.admin_token()).ok();
    let all = listed["persons"].as_array().expect("a list");
    all.iter().find(|person| person["person"] == id).cloned().unwrap_or_else(|| panic!("{id} in {listed}"))
}

fn orphans(server: &Server, clock: &ManualClock) -> String {
    clock.advance(Span::seconds(1)); // No observation counts twice.
    let body = json!({"checks": ["orphan-accounts"]});
    server.post("/v1/trust/run", &server.admin_token(), &body).ok().to_string()
}

fn directory_says_something(server: &Server, token: &str, id: &str) {
    let patch = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "title", "value": "Engineer"}]});
    scim(server, token, "PATCH", &format!("/Users/{id}"), Some(&patch)).ok();
}

#[test]
fn attack_ci24_a_role_that_a_review_took_stays_taken_whatever_the_directory_says() {
    let (provider, server, clock) = world();
    let directory = provisioner(&server);
    let [ana, eve] = ["ana", "eve"].map(|who| make(&server, &directory.token, "/Users", &user(who)));
    make(&server, &directory.token, "/Groups", &group("creta developers", &[&ana]));
    sign_in(&server, &provider, "ben");
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    clock.advance(Span::days(93));
    server.running().keep_log().expect("kept");
    let ben = sign_in(&server, &provider, "ben");
    let listed = ben.get(&server, "/v1/reviews").ok();
    let review = listed["reviews"][0]["review"].as_str().expect("an id").to_owned();
    let lines = ben.get(&server, &format!("/v1/reviews/{review}")).ok()["lines"].clone();
    let is_hers = |line: &&Value| line["identity"]["subject"] == "person:ana@example.com";
    let line = lines.as_array().expect("a list").iter().find(is_hers).expect("under review").clone();
    clock.advance(Span::seconds(3));
    let body = json!({"subject": line["identity"]["subject"], "digest": line["digest"], "verdict": "revoke",
        "reason": "Moved to another team in spring, no longer builds these"});
    ben.post(&server, &format!("/v1/reviews/{review}/decide"), &body).ok();
    let roles = |server: &Server| person(server, "ana@example.com")["roles"].clone();
    assert_eq!(roles(&server), json!([]));

    // The directory speaks of somebody else, and of her.
    let token = server.token(&directory.client_id, &directory.secret);
    directory_says_something(&server, &token, &eve);
    assert_eq!(roles(&server), json!([]), "what a review took is not given back by itself");
    directory_says_something(&server, &token, &ana);
    assert_eq!(roles(&server), json!([]));
    assert!(orphans(&server, &clock).contains("people/withheld"));
    // Out of the directory and back again, with a new account.
    let active = |active: bool| {
        let patch = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": "active", "value": active}]});
        scim(&server, &token, "PATCH", &format!("/Users/{ana}"), Some(&patch)).ok();
    };
    active(false);
    active(true);
    let again = sign_in(&server, &provider, "ana").opened["person"].as_str().expect("an account").to_owned();
    assert_eq!(person(&server, &again)["roles"], json!([]));
    // Other groups give what they give; no more than these is given by name; what was taken is given again by name.
    make(&server, &token, "/Groups", &group("creta viewers", &[&ana]));
    assert_eq!(person(&server, &again)["roles"], json!(["viewer"]));
    let give = |roles: &[&str]| {
        let body = json!({"roles": roles, "tenant": "acme", "need": "Back in the team that builds the features"});
        server.post(&format!("/v1/persons/{again}/assign"), &server.admin_token(), &body)
    };
    assert_eq!(give(&["viewer", "operator"]).problem(409), "conflict/provisioned");
    let both = give(&["viewer", "developer"]).ok()["roles"].clone();
    assert_eq!(both.as_array().map(Vec::len), Some(2), "{both}");
    directory_says_something(&server, &token, &eve);
    assert_eq!(person(&server, &again)["roles"], both);
    assert!(!orphans(&server, &clock).contains("people/withheld"), "{}", orphans(&server, &clock));
}

#[test]
fn attack_ch33_whoever_was_ended_by_name_stays_ended_whatever_the_directory_says() {
    let (provider, mut server, clock) = world();
    let directory = provisioner(&server);
    let id = make(&server, &directory.token, "/Users", &user("ana"));
    make(&server, &directory.token, "/Groups", &group("creta developers", &[&id]));
    let ana = sign_in(&server, &provider, "ana");
    let end =
        |what: &str| server.post(&format!("/v1/persons/ana@example.com/{what}"), &server.admin_token(), &json!({}));
    assert_eq!(
        server.send("POST", "/v1/persons/ana@example.com/readmit", Some(&server.admin_token()), None).problem(409),
        "conflict/person"
    );
    end("leave").ok();
    assert_eq!(ana.get(&server, "/v1/me").problem(401), "auth/bad-token");
    let refused = |server: &Server, when: &str| {
        let back = browse_through(server, &provider, "ana", prover().thumbprint().as_str(), &"v".repeat(43));
        assert_eq!(back.status, 403, "{when}: {}", back.text());
        let listed = server.get("/v1/persons", &server.admin_token()).ok();
        let hers = listed["persons"].as_array().expect("a list").iter();
        assert_eq!(hers.filter(|person| person["human"] == "ana@example.com").count(), 1, "{when}: {listed}");
    };
    directory_says_something(&server, &directory.token, &id);
    refused(&server, "the directory spoke of her");
    server.stop();
    server.start();
    refused(&server, "after a start");
    assert!(orphans(&server, &clock).contains("people/ended-here"));
    // A second user with her id is refused.
    let mut twin = user("twin");
    twin["externalId"] = "sub-ana".into();
    let token = server.token(&directory.client_id, &directory.secret);
    let reply = scim(&server, &token, "POST", "/Users", Some(&twin));
    assert_eq!(
        (reply.status, reply.content_type.as_str(), reply.json()["scimType"].clone()),
        (409, SCIM, json!("uniqueness"))
    );
    // Until somebody here decides otherwise.
    server.send("POST", "/v1/persons/ana@example.com/readmit", Some(&server.admin_token()), None).ok();
    let again = sign_in(&server, &provider, "ana");
    assert_ne!(again.opened["person"], "ana@example.com");
    again.get(&server, "/v1/catalogue").ok();
    assert!(orphans(&server, &clock).contains("pass"));
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(log.contains("person.readmitted"), "{log}");
}

#[test]
fn attack_ci21_an_address_that_the_provider_did_not_verify_names_nobody() {
    let provider = Provider::start();
    let server = crate::people::server(&provider, EnvironmentClass::Development);
    for (number, verified) in [json!(false), Value::Null].into_iter().enumerate() {
        provider.forge(move |_, claims| {
            claims["sub"] = format!("sub-eve-{number}").into();
            (claims["email"], claims["email_verified"]) = ("ceo@bank.example".into(), verified.clone());
        });
        let eve = sign_in(&server, &provider, "eve");
        let id = eve.opened["person"].as_str().expect("an account").to_owned();
        assert!(id.starts_with("p-"), "{id}");
        let shown = person(&server, &id);
        assert_eq!(shown["identity"]["subject"], format!("sub-eve-{number}"), "{shown}");
        assert!(!shown.to_string().contains("ceo@bank.example"), "{shown}");
    }
    provider.is_honest();
    assert_eq!(sign_in(&server, &provider, "ana").opened["person"], "ana@example.com");
}
