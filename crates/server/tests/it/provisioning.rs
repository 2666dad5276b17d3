//! The organisation's directory tells who is here and who has left (SCIM 2.0), and that is so from the next request on.

use creta_model::EnvironmentClass;
use serde_json::{Value, json};

use crate::people::{Someone, browse_through, prove, prover, sign_in};
use crate::provider::Provider;
use crate::support::{Account, JSON, Reply, Server};

pub(crate) const SCIM: &str = "application/scim+json";

/// The account by which the directory provisions.
pub(crate) fn provisioner(server: &Server) -> Account {
    let made = server.post("/v1/provisioners", &server.admin_token(), &json!({"name": "directory"})).ok();
    assert_eq!(made["tenant"], Value::Null);
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    let (client_id, secret) = (text("client_id"), text("client_secret"));
    let token = server.token(&client_id, &secret);
    Account { client_id, secret, token }
}

pub(crate) fn scim(server: &Server, token: &str, method: &str, path: &str, body: Option<&Value>) -> Reply {
    let body = body.map(Value::to_string);
    let body = body.as_ref().map(|body| (SCIM, body.as_bytes()));
    server.send(method, &format!("/scim/v2{path}"), Some(token), body)
}

pub(crate) fn user(who: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": format!("{who}@example.com"), "externalId": format!("sub-{who}"),
        "emails": [{"value": format!("{who}@example.com"), "primary": true}],
    })
}

pub(crate) fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name, "members": members})
}

/// Makes one and gives its id.
pub(crate) fn make(server: &Server, token: &str, path: &str, body: &Value) -> String {
    let reply = scim(server, token, "POST", path, Some(body));
    assert_eq!((reply.status, reply.content_type.as_str()), (201, SCIM), "{}", reply.text());
    reply.json()["id"].as_str().expect("an id").to_owned()
}

fn leave(server: &Server, token: &str, id: &str) -> Reply {
    let patch = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "Replace", "path": "active", "value": false}],
    });
    scim(server, token, "PATCH", &format!("/Users/{id}"), Some(&patch))
}

fn configured(provider: &Provider, tail: &str) -> Server {
    Server::configured(EnvironmentClass::Development, &format!("{}{tail}", provider.config()))
}

const GROUPS: &str = "[sign_in.groups]\n\
    \"creta developers\" = { role = \"developer\", tenant = \"acme\" }\n\
    \"creta security\" = { role = \"security-lead\" }\n";

fn renew(server: &Server, who: &Someone) -> Reply {
    let body = json!({"session": who.opened["session"], "renewal": who.opened["renewal"]}).to_string();
    let proof = prove(server, &who.prover, "POST", "/v1/sessions/renew", None);
    let headers = [("dpop", proof.as_str()), ("content-type", JSON)];
    server.send_with("POST", "/v1/sessions/renew", None, &headers, Some(body.as_bytes()))
}

fn person_in(server: &Server, id: &str) -> Value {
    let persons = server.get("/v1/persons", &server.admin_token()).ok();
    let found = persons["persons"].as_array().expect("a list").iter().find(|person| person["person"] == id).cloned();
    found.unwrap_or_else(|| panic!("{id} in {persons}"))
}

#[test]
fn who_was_provisioned_has_the_roles_of_their_groups_from_the_first_sign_in() {
    let provider = Provider::start();
    let mut server = configured(&provider, &format!("provisioned = true\n{GROUPS}"));
    server.shop("acme");
    let directory = provisioner(&server);
    let token = directory.token.as_str();
    let verifier = "v".repeat(43);
    let stranger = browse_through(&server, &provider, "ana", prover().thumbprint().as_str(), &verifier);
    assert_eq!(stranger.status, 403, "{}", stranger.text());
    assert!(stranger.text().contains("directory has not told this server about you"), "{}", stranger.text());

    let id = make(&server, token, "/Users", &user("ana"));
    assert_eq!(person_in(&server, "ana@example.com")["roles"], json!([]), "without roles");
    let developers = make(&server, token, "/Groups", &group("creta developers", &[&id]));
    let person = person_in(&server, "ana@example.com");
    assert_eq!((&person["roles"], &person["tenant"]), (&json!(["developer"]), &json!("acme")));
    let ana = sign_in(&server, &provider, "ana");
    assert_eq!(ana.opened["person"], "ana@example.com");
    ana.get(&server, "/v1/catalogue").ok();
    let assigned = json!({"roles": ["administrator"]});
    let refused = server.post("/v1/persons/ana@example.com/assign", &server.admin_token(), &assigned);
    assert_eq!(refused.problem(409), "conflict/provisioned");

    // Through a group in a group, by a change of name, and gone with the group.
    let team = make(&server, token, "/Groups", &group("team", &[&id]));
    let nested = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "creta developers", "members": [{"value": team}]});
    let path = format!("/Groups/{developers}");
    let etag = scim(&server, token, "GET", &path, None).headers["etag"].to_str().expect("text").to_owned();
    let headers = [("content-type", SCIM), ("if-match", "W/\"99\"")];
    let body = nested.to_string();
    let send = |headers: &[(&str, &str)]| {
        server.send_with("PUT", &format!("/scim/v2{path}"), Some(token), headers, Some(body.as_bytes()))
    };
    assert_eq!(send(&headers).status, 412, "somebody else changed it");
    let changed = send(&[("content-type", SCIM), ("if-match", &etag)]);
    assert_ne!(changed.headers["etag"].to_str().expect("text"), etag);
    ana.get(&server, "/v1/catalogue").ok();
    // What was told is there after a restart.
    let admin = server.admin_token();
    server.stop();
    server.start();
    let listed = scim(&server, token, "GET", "/Users?filter=userName%20eq%20%22ana@example.com%22", None).ok();
    assert_eq!((&listed["totalResults"], &listed["Resources"][0]["id"]), (&json!(1), &json!(id)));
    ana.get(&server, "/v1/catalogue").ok();
    assert_eq!(scim(&server, token, "DELETE", &format!("/Groups/{team}"), None).status, 204);
    assert_eq!(ana.get(&server, "/v1/catalogue").problem(403), "access/denied");
    let log = server.get("/v1/audit/entries?limit=1000", &admin).text();
    for entry in ["person.provisioned", "person.assigned", "scim.write"] {
        assert!(log.contains(entry), "{entry}");
    }
}

#[test]
fn attack_ch35_groups_in_groups_do_not_put_two_duties_into_one_hand() {
    let provider = Provider::start();
    let groups = "[sign_in.groups]\n\
        \"creta administrators\" = { role = \"administrator\" }\n\
        \"creta security\" = { role = \"security-lead\" }\n";
    let server = configured(&provider, groups);
    let directory = provisioner(&server);
    let token = directory.token.as_str();
    let id = make(&server, token, "/Users", &user("ana"));
    let roles = || person_in(&server, "ana@example.com")["roles"].clone();
    // Each by itself is fine, two groups deep.
    let squad = make(&server, token, "/Groups", &group("squad", &[&id]));
    let team = make(&server, token, "/Groups", &group("team", &[&squad]));
    let administrators = make(&server, token, "/Groups", &group("creta administrators", &[&team]));
    assert_eq!(roles(), json!(["administrator"]));
    // The other side, by another way.
    let on_call = make(&server, token, "/Groups", &group("on call", &[&squad]));
    let security = make(&server, token, "/Groups", &group("creta security", &[&on_call]));
    assert_eq!(roles(), json!([]), "neither of the two");
    server.running().keep_log().expect("kept");
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).ok();
    let refused = log["entries"].as_array().expect("a list").iter().rev().map(|row| row.get("entry").unwrap_or(row));
    let refused = refused.clone().find(|entry| entry["action"] == "duties.refused").expect("recorded");
    assert_eq!((&refused["commitment"], &refused["details"]["person"]), (&json!("CH-35"), &json!("ana@example.com")));
    let ways: Vec<&str> =
        ["left-groups", "right-groups"].map(|way| refused["details"][way].as_str().expect("a way")).into();
    for way in [format!("{administrators}/{squad}"), format!("{security}/{squad}")] {
        assert!(ways.contains(&way.as_str()), "{way}: {refused}");
    }
    // Put right in the directory, the other one is left.
    assert_eq!(scim(&server, token, "DELETE", &format!("/Groups/{on_call}"), None).status, 204);
    assert_eq!(roles(), json!(["administrator"]));
}

#[test]
fn attack_ch33_whoever_leaves_the_directory_is_out_whatever_they_still_hold() {
    let provider = Provider::start();
    let mut server = configured(&provider, GROUPS);
    server.shop("acme");
    let directory = provisioner(&server);
    let token = directory.token.as_str();
    for how in ["inactive", "deleted", "somebody else"] {
        let who = format!("ana-{}", how.replace(' ', "-"));
        let id = make(&server, token, "/Users", &user(&who));
        make(&server, token, "/Groups", &group("creta developers", &[&id]));
        let (ana, elsewhere) = (sign_in(&server, &provider, &who), sign_in(&server, &provider, &who));
        ana.get(&server, "/v1/catalogue").ok();
        match how {
            "inactive" => assert_eq!(leave(&server, token, &id).ok()["active"], false),
            "deleted" => {
                assert_eq!(scim(&server, token, "DELETE", &format!("/Users/{id}"), None).status, 204);
            }
            _ => {
                let mut other = user(&who);
                other["externalId"] = "sub-another-human".into();
                assert_eq!(scim(&server, token, "PUT", &format!("/Users/{id}"), Some(&other)).status, 200);
            }
        }
        // The sessions that were open, their tokens, their renewal, and a new sign-in.
        for session in [&ana, &elsewhere] {
            assert_eq!(session.get(&server, "/v1/catalogue").problem(401), "auth/bad-token", "{how}");
            assert_eq!(session.get(&server, "/v1/me").problem(401), "auth/bad-token", "{how}");
            assert_eq!(renew(&server, session).problem(401), "auth/session-over", "{how}");
        }
        server.stop();
        server.start();
        assert_eq!(renew(&server, &ana).problem(401), "auth/session-over", "{how}, after a restart");
        let back = browse_through(&server, &provider, &who, prover().thumbprint().as_str(), &"v".repeat(43));
        assert_eq!(back.status, 403, "{how}: {}", back.text());
        assert!(person_in(&server, &format!("{who}@example.com"))["left"].is_string(), "{how}");
        let groups = scim(&server, token, "GET", "/Groups", None).ok();
        let group = groups["Resources"][0]["id"].as_str().expect("an id").to_owned();
        assert_eq!(scim(&server, token, "DELETE", &format!("/Groups/{group}"), None).status, 204);
    }
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert_eq!(log.matches("\"person.left\"").count(), 3, "{log}");
}

#[test]
fn who_comes_back_has_a_new_account_without_what_the_old_one_had() {
    let provider = Provider::start();
    let server = configured(&provider, "");
    let directory = provisioner(&server);
    let id = make(&server, &directory.token, "/Users", &user("ana"));
    let assigned = json!({"roles": ["administrator"]});
    server.post("/v1/persons/ana@example.com/assign", &server.admin_token(), &assigned).ok();
    let before = sign_in(&server, &provider, "ana");
    before.get(&server, "/v1/tenants").ok();
    leave(&server, &directory.token, &id).ok();
    let mut again = user("ana");
    again["active"] = true.into();
    scim(&server, &directory.token, "PUT", &format!("/Users/{id}"), Some(&again)).ok();
    let ana = sign_in(&server, &provider, "ana");
    let account = ana.opened["person"].as_str().expect("an account").to_owned();
    assert_ne!(account, "ana@example.com");
    assert_eq!(person_in(&server, &account)["human"], "ana@example.com", "known to be the same human");
    assert_eq!(ana.get(&server, "/v1/tenants").problem(403), "access/denied");
    assert_eq!(before.get(&server, "/v1/me").problem(401), "auth/bad-token");
}

#[test]
fn attack_ch33_a_provisioner_does_nothing_else_and_nobody_else_provisions() {
    let provider = Provider::start();
    let server = configured(&provider, "");
    let shop = server.shop("acme");
    let directory = provisioner(&server);
    make(&server, &directory.token, "/Users", &user("ana"));
    for path in [
        "/v1/tenants",
        "/v1/persons",
        "/v1/catalogue",
        "/v1/audit/entries",
        "/v1/me",
        "/v1/trust",
        "/metrics",
        "/v1/provisioners",
        "/v1/devices",
        "/v1/access/requests",
    ] {
        assert_eq!(server.get(path, &directory.token).problem(403), "access/denied", "{path}");
    }
    let assigned = json!({"roles": ["administrator"]});
    let reply = server.post("/v1/persons/ana@example.com/assign", &directory.token, &assigned);
    assert_eq!(reply.problem(403), "access/denied");
    let more = json!({"name": "more"});
    assert_eq!(server.post("/v1/provisioners", &directory.token, &more).problem(403), "access/denied");
    assert_eq!(server.post("/v1/provisioners", &shop.token, &more).problem(403), "access/denied");

    let ours = server.account("acme", "hr", "provisioner");
    for token in [&shop.token, &ours.token, &server.admin_token()] {
        let refused = scim(&server, token, "GET", "/Users", None);
        assert_eq!((refused.status, refused.content_type.as_str()), (403, SCIM), "{}", refused.text());
        assert_eq!(scim(&server, token, "POST", "/Users", Some(&user("eve"))).status, 403);
    }
    // No account of the place where those of the environment are kept, and none of them by the routes of tenants.
    let reserved = directory.client_id.split('@').nth(1).expect("a tenant");
    let body = json!({"name": "more", "role": "developer", "tenant": reserved});
    assert_eq!(server.post("/v1/service-accounts", &server.admin_token(), &body).problem(404), "not-found/tenant");
    // Revoked, it provisions no longer.
    let of_tenants = format!("/v1/service-accounts/{}/revoke", directory.client_id);
    assert_eq!(server.post(&of_tenants, &server.admin_token(), &json!({})).problem(404), "not-found/service-account");
    // Nor is the local administrator, or a tenant's account, one of them.
    for other in [&server.admin.client_id, &ours.client_id] {
        let path = format!("/v1/provisioners/{other}/revoke");
        assert_eq!(server.post(&path, &server.admin_token(), &json!({})).problem(404), "not-found/service-account");
    }
    let listed = server.get("/v1/provisioners", &server.admin_token()).ok();
    assert_eq!(listed["service_accounts"][0]["client_id"], directory.client_id);
    assert_eq!(listed["service_accounts"].as_array().map(Vec::len), Some(1));
    let path = format!("/v1/provisioners/{}/revoke", directory.client_id);
    server.post(&path, &server.admin_token(), &json!({})).ok();
    assert_eq!(scim(&server, &directory.token, "GET", "/Users", None).status, 401);
    assert_eq!(server.ask_token(&directory.client_id, &directory.secret).status, 401);
}

#[test]
fn attack_ch33_an_account_that_the_directory_does_not_know_is_found() {
    let provider = Provider::start();
    let server = configured(&provider, "");
    let ran = |says: &str| {
        let body = json!({"checks": ["orphan-accounts"]});
        let ran = server.post("/v1/trust/run", &server.admin_token(), &body).ok().to_string();
        assert!(ran.contains(says), "{says}: {ran}");
    };
    sign_in(&server, &provider, "ana");
    ran("pass");
    let directory = provisioner(&server);
    make(&server, &directory.token, "/Users", &user("ben"));
    ran("people/orphan");
    // Told of, the account that was there already is hers.
    make(&server, &directory.token, "/Users", &user("ana"));
    assert!(person_in(&server, "ana@example.com")["left"].is_null());
    ran("pass");
}
