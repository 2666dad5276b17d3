//! Separation of duties: every identity tries what it must not do, and nobody is given what must be apart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use creta_iam::{Action, Identity, Role, forbidden_pairs};
use creta_model::EnvironmentClass;
use serde_json::{Value, json};

use crate::people::{Someone, appoint, assign, authenticator, server, sign_in, sign_in_with};
use crate::provider::Provider;
use crate::support::{JSON, Reply, Server};

/// Somebody who asks, with whatever shows who they are.
enum Asker {
    Token(String),
    Person(Someone),
}

impl Asker {
    fn send(&self, server: &Server, method: &str, path: &str, body: &Value) -> Reply {
        match self {
            Self::Token(token) if method == "GET" => server.get(path, token),
            Self::Token(token) => server.send(method, path, Some(token), Some((JSON, body.to_string().as_bytes()))),
            Self::Person(person) => person.send(server, method, path, (method != "GET").then_some(body)),
        }
    }
}

struct Route {
    method: String,
    path: String,
    action: Action,
}

fn guarded_routes() -> Vec<Route> {
    let document: Value = serde_json::from_str(&creta_server::openapi_document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let all = paths.iter().flat_map(|(path, item)| {
        item.as_object().expect("operations").iter().filter_map(move |(method, operation)| {
            let action = Action::parse(operation["x-creta-action"].as_str()?).expect("an action");
            Some(Route { method: method.to_uppercase(), path: path.clone(), action })
        })
    });
    all.collect()
}

/// What a request has to name for its question to be asked: something that is really there.
fn filled(route: &Route, [request, grant, secret, change]: [&str; 4]) -> (String, Value) {
    let path = match route.path.as_str() {
        path if path.starts_with("/v1/access/requests/") => path.replace("{id}", request),
        path if path.starts_with("/v1/access/grants/") => path.replace("{id}", grant),
        "/v1/statistics" => "/v1/statistics?tenant=acme&feature=User.city".to_owned(),
        "/v1/service-accounts" if route.method == "GET" => "/v1/service-accounts?tenant=acme".to_owned(),
        "/v1/canary-tokens" if route.method == "GET" => "/v1/canary-tokens?tenant=acme".to_owned(),
        path if path.starts_with("/v1/access/rows") && route.method == "GET" => {
            format!("{}?tenant=acme", path.replace("{id}", "nobody"))
        }
        path if path.starts_with("/v1/service-account-requests/") => path.replace("{id}", secret),
        path if path.starts_with("/v1/person-requests/") => path.replace("{id}", change),
        path => path.replace("{id}", "etl@acme").replace("{level}", "0").replace("{index}", "000"),
    };
    let body = match route.path.as_str() {
        "/v1/service-accounts" => json!({"tenant": "acme", "name": "another", "role": "reader"}),
        "/v1/persons/invite" => json!({"tenant": "acme", "email": "somebody@acme.example"}),
        "/v1/service-account-requests" => secret_request(),
        "/v1/person-requests" => change_request(),
        "/v1/service-account-requests/{id}/approve" | "/v1/person-requests/{id}/approve" => json!({"digest": "none"}),
        "/v1/access/rows" => json!({"tenant": "acme", "rules": {"rules": []}, "reason": "none"}),
        "/v1/canary-tokens" => json!({"tenant": "acme", "name": "another"}),
        "/v1/canary/rotate" => json!({"tenant": "acme"}),
        "/v1/access/rows/{id}/approve" => json!({"digest": "none"}),
        "/v1/access/requests/{id}/decide" => json!({"verdict": "approve", "digest": "none"}),
        _ => json!({}),
    };
    (path, body)
}

fn secret_request() -> Value {
    json!({"what": "create", "tenant": "acme", "name": "scoring", "role": "reader",
        "reason": "The scoring service of the shop starts on Monday"})
}

fn change_request() -> Value {
    json!({"what": "invite", "person": "somebody@acme.example", "tenant": "acme",
        "reason": "The first of their people who looks after the shop"})
}

#[test]
fn attack_ch35_every_identity_is_refused_every_action_that_is_not_its_own() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    server.shop("acme"); // With the account `etl@acme`.
    let asker = |identity: Identity| match identity {
        Identity::Administrator => Asker::Token(server.admin_token()),
        Identity::Program(role @ (Role::Backup | Role::Monitor)) => {
            let body = json!({"name": format!("some-{role}"), "role": role});
            let made = server.post("/v1/provisioners", &server.admin_token(), &body).ok();
            let text = |name: &str| made[name].as_str().expect("text").to_owned();
            Asker::Token(server.token(&text("client_id"), &text("client_secret")))
        }
        Identity::Program(role) => Asker::Token(server.account("acme", role.as_str(), role.as_str()).token),
        Identity::Person(role) => {
            let person = sign_in(&server, &provider, role.as_str());
            let of_tenant = [Role::Viewer, Role::DataScientist, Role::Developer].contains(&role);
            let tenant = of_tenant.then_some("acme");
            assign(&server, role.as_str(), &json!({"roles": [role], "tenant": tenant}));
            Asker::Person(person)
        }
    };
    // Something to decide on, and something to take away.
    let [ana, ben, eve] = ["ana", "ben", "eve"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    let (request, approved) = (eve.request(&server, "viewer", 1).ok(), ana.request(&server, "operator", 1).ok());
    let id = |value: &Value, name: &str| value[name].as_str().expect("an id").to_owned();
    let path = |what: &str| format!("/v1/access/requests/{}/{what}", id(&approved, "request"));
    ben.post(&server, &path("decide"), &json!({"verdict": "approve", "digest": approved["digest"]})).ok();
    let grant = ana.post(&server, &path("activate"), &json!({})).ok();
    let secret = ana.post(&server, "/v1/service-account-requests", &secret_request()).ok();
    let adam = sign_in(&server, &provider, "adam");
    assign(&server, "adam", &json!({"roles": ["administrator"]}));
    let change = adam.post(&server, "/v1/person-requests", &change_request()).ok();

    // Pages are for browsers, whose sessions open nothing else; what they call is asked here.
    let routes: Vec<_> = guarded_routes().into_iter().filter(|route| !route.path.starts_with("/view")).collect();
    let mut tried = BTreeSet::new();
    // Nobody logs in as a server's checks.
    let somebody = |(identity, _): &(Identity, Action)| *identity != Identity::Program(Role::Checker);
    let mut pairs: Vec<(Identity, Action)> = forbidden_pairs().filter(somebody).collect();
    pairs.sort();
    for group in pairs.chunk_by(|a, b| a.0 == b.0) {
        let (identity, asker) = (group[0].0, asker(group[0].0));
        for route in routes.iter().filter(|route| group.iter().any(|(_, action)| *action == route.action)) {
            let named = [id(&request, "request"), id(&grant, "grant"), id(&secret, "request"), id(&change, "request")];
            let (path, body) = filled(route, named.each_ref().map(String::as_str));
            let reply = asker.send(&server, &route.method, &path, &body);
            let what = format!("{identity}: {} {path}: {}", route.method, reply.text());
            let said = reply.json();
            // Directories read another form, whose text begins with the code.
            let code = said["code"].as_str().or_else(|| said["detail"].as_str()?.split(": ").next());
            assert_eq!((reply.status, code), (403, Some("access/denied")), "{what}");
            tried.insert((identity, route.action));
        }
    }
    let with_route: BTreeSet<Action> = routes.iter().map(|route| route.action).collect();
    let expected = pairs.iter().filter(|(_, action)| with_route.contains(action)).count();
    assert_eq!(tried.len(), expected, "every pair whose action has a route");
    assert!(expected > 200, "{expected} pairs");
}

fn refused_as_toxic(reply: &Reply) -> String {
    assert_eq!(reply.problem(422), "duties/toxic");
    reply.json()["message"].as_str().expect("text").to_owned()
}

#[test]
fn attack_ch35_no_human_is_given_duties_that_must_be_apart_by_any_account() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    server.tenant("acme");
    let people = ["ana", "ana-two", "ana-three", "ben"].map(|who| sign_in(&server, &provider, who));
    let [ana, _, _, ben] = &people;
    let admin = server.admin_token();
    let give = |who: &str, body: &Value| server.post(&format!("/v1/persons/{who}@example.com/assign"), &admin, body);

    // At once, in one account.
    for (what, body) in [
        ("assigns and approves", json!({"roles": ["administrator", "security-lead"]})),
        ("judges what they assign", json!({"roles": ["administrator", "auditor"]})),
        ("deploys and lifts tags", json!({"roles": ["developer", "security-lead"], "tenant": "acme"})),
        ("judges what they write", json!({"roles": ["developer", "auditor"], "tenant": "acme"})),
    ] {
        refused_as_toxic(&give("ana", &body));
        assert_eq!(ana.get(&server, "/v1/me").ok()["person"]["roles"], json!([]), "{what}");
    }
    // By two accounts, whichever comes first, and through a third.
    give("ana", &json!({"roles": ["administrator"]})).ok();
    let shown =
        refused_as_toxic(&give("ana-two", &json!({"roles": ["security-lead"], "same_human_as": "ana@example.com"})));
    for step in ["person:ana@example.com > role:administrator@prod > assign-roles@prod", "person:ana-two@example.com"] {
        assert!(shown.contains(step), "{shown}");
    }
    give("ana-two", &json!({"roles": ["security-lead"]})).ok();
    refused_as_toxic(&give("ana-two", &json!({"roles": ["security-lead"], "same_human_as": "ana@example.com"})));
    give("ana-three", &json!({"roles": [], "same_human_as": "ana-two@example.com"})).ok();
    refused_as_toxic(&give("ana-three", &json!({"roles": [], "same_human_as": "ana@example.com"})));
    // For hours.
    give("ben", &json!({"roles": ["security-lead"]})).ok();
    let request = ana.request(&server, "security-lead", 1).ok();
    let path = |what: &str| format!("/v1/access/requests/{}/{what}", request["request"].as_str().expect("an id"));
    ben.post(&server, &path("decide"), &json!({"verdict": "approve", "digest": request["digest"]})).ok();
    refused_as_toxic(&ana.post(&server, &path("activate"), &json!({})));
    // What is apart is given.
    give("ana", &json!({"roles": ["security-lead"]})).ok();
    ana.post(&server, &path("activate"), &json!({})).ok();
    refused_as_toxic(&give("ana", &json!({"roles": ["administrator"]})));

    let log = server.get("/v1/audit/entries?limit=1000", &admin).text();
    assert!(log.matches("duties.refused").count() >= 9 && log.contains("CH-35"), "{log}");
}

#[test]
fn attack_ch35_outside_development_no_program_both_deploys_and_reads() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Staging);
    appoint(&mut server, &provider, &[("kim", "administrator"), ("lee", "security-lead")]);
    let kim = sign_in_with(&server, &provider, "kim", Some(&mut authenticator(&server, 1)));
    let mut key = authenticator(&server, 2);
    let lee = sign_in_with(&server, &provider, "lee", Some(&mut key));
    kim.post(&server, "/v1/tenants", &json!({"tenant": "acme"})).ok();
    let body = |role: &str| json!({"tenant": "acme", "name": role, "role": role});
    let make = |role: &str| kim.post(&server, "/v1/service-accounts", &body(role));
    let shown = refused_as_toxic(&make("developer"));
    assert!(shown.contains("service-account:developer@acme > deploy@prod/acme"), "{shown}");
    // Secrets of the tenant's programs are shown to its own people.
    let max = sign_in_with(&server, &provider, "max", Some(&mut authenticator(&server, 3)));
    let operator = json!({"roles": ["operator"], "tenant": "acme", "need": "Looks after the programs that score customers of the shop"});
    kim.post(&server, "/v1/persons/max@example.com/assign", &operator).ok();
    for role in ["deployer", "ingester", "provisioner"] {
        crate::secrets::made_by_two(&server, &max, (&lee, &mut key), role, role);
    }
    let listed = kim.get(&server, "/v1/service-accounts?tenant=acme").ok();
    assert_eq!(listed["service_accounts"].as_array().expect("a list").len(), 3, "what was refused is not there");
}

#[test]
fn attack_ch35_a_stolen_deployers_token_reads_nothing_and_wakes_somebody() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("pages");
    let tail =
        format!("[[on_call]]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> {}\"]\n", out.to_str().expect("a plain path"));
    let server = Server::configured(EnvironmentClass::Development, &tail);
    server.shop("acme");
    let stolen = server.account("acme", "release", "deployer").token;
    let question = json!({"features": ["User.city"], "rows": [{"User.id": 7}]});
    assert_eq!(server.post("/v1/query", &stolen, &question).problem(403), "access/denied");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string(&out).is_ok_and(|pages| pages.contains("duties-") && pages.contains("urgent")) {
        assert!(Instant::now() < deadline, "nobody was paged");
        std::thread::yield_now();
    }
    server.running().keep_log().expect("kept"); // Refused reads are counted, and written each second.
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(log.contains("deployers-only-deploy") && log.contains("CH-35"), "{log}");
}
