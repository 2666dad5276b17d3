//! Secrets of service accounts: nobody is shown one by which they would get more of features than they do, unless another
//! human agreed; and whoever may not look after accounts does not learn which there are.

use creta_model::{EnvironmentClass, Span};
use serde_json::{Value, json};

use crate::people::{Someone, answer_prompt, assign, authenticator, server, server_by, sign_in, sign_in_with};
use crate::provider::Provider;
use crate::soft_authenticator::SoftAuthenticator;
use crate::support::{Reply, Server};

const ACCOUNTS: &str = "/v1/service-accounts";
const REQUESTS: &str = "/v1/service-account-requests";

fn account(name: &str, role: &str) -> Value {
    json!({"tenant": "acme", "name": name, "role": role})
}

fn asked(what: &str, name: &str) -> Value {
    json!({"what": what, "tenant": "acme", "name": name, "role": "reader",
        "reason": "The scoring service of the shop starts on Monday"})
}

fn approve(server: &Server, who: &Someone, request: &Value) -> Reply {
    let path = format!("{REQUESTS}/{}/approve", request["request"].as_str().expect("an id"));
    who.post(server, &path, &json!({"digest": request["digest"]}))
}

/// Signs with an authenticator what somebody asked to approve.
fn sign(server: &Server, key: &mut SoftAuthenticator, asked: &Reply) -> Reply {
    let asked = asked.ok();
    assert_eq!(asked["state"], "open", "nothing is done before it is signed: {asked}");
    let verify = asked["verify"].as_str().expect("where to sign");
    answer_prompt(server, key, verify.split("prompt=").nth(1).expect("a prompt"), None)
}

/// Outside class development: a reader of `acme` that one person makes and another approved; a token of it.
pub(crate) fn reader_by_two(server: &Server, provider: &Provider, name: &str) -> String {
    let (mut one, mut two) = (authenticator(server, 71), authenticator(server, 72));
    let maker = sign_in_with(server, provider, "maker", Some(&mut one));
    let lead = sign_in_with(server, provider, "lead", Some(&mut two));
    assign(server, "maker", &json!({"roles": ["operator"], "tenant": "acme"}));
    assign(server, "lead", &json!({"roles": ["security-lead"]}));
    let request = maker.post(server, REQUESTS, &asked("create", name)).ok();
    sign(server, &mut two, &approve(server, &lead, &request)).ok();
    let made = maker.post(server, ACCOUNTS, &account(name, "reader")).ok();
    let text = |field: &str| made[field].as_str().expect("text").to_owned();
    server.token(&text("client_id"), &text("client_secret"))
}

#[test]
fn attack_ci20_nobody_makes_or_rotates_an_account_that_gets_more_than_they_do_alone() {
    let provider = Provider::start();
    let (server, clock) = server_by(&provider, EnvironmentClass::Staging, "");
    server.tenant("acme");
    let names = ["ana", "ana-two", "ben", "eve", "olga"];
    let mut keys: Vec<_> = (1..=5).map(|seed| authenticator(&server, seed)).collect();
    let mut people: Vec<Someone> =
        names.iter().zip(&mut keys).map(|(who, key)| sign_in_with(&server, &provider, who, Some(key))).collect();
    for (who, body) in [
        ("ana", json!({"roles": ["operator", "viewer"], "tenant": "acme"})),
        ("ana-two", json!({"roles": ["security-lead"], "tenant": "acme", "same_human_as": "ana@example.com"})),
        ("ben", json!({"roles": ["security-lead"]})),
        ("eve", json!({"roles": ["operator"], "tenant": "acme"})),
        ("olga", json!({"roles": ["operator"]})),
    ] {
        assign(&server, who, &body);
    }
    let [ana, ana_two, ben, eve, olga] = people.as_slice() else { panic!("five people") };

    // Alone: by nobody, whatever they get themselves.
    let reply = ana.post(&server, ACCOUNTS, &account("scoring", "reader"));
    assert_eq!(reply.problem(403), "access/second-person");
    assert!(reply.text().contains("features tagged pii: `allow` for it, `masked` for you"), "{}", reply.text());
    assert!(reply.text().contains("creta service-account request scoring --tenant acme --role reader"));
    let reply = eve.post(&server, ACCOUNTS, &account("scoring", "reader"));
    assert_eq!(reply.problem(403), "access/second-person");
    assert!(reply.text().contains("features without a tag"), "{}", reply.text());
    assert_eq!(olga.post(&server, ACCOUNTS, &account("scoring", "reader")).problem(403), "access/second-person");
    let admin = server.admin_token();
    assert_eq!(server.post(ACCOUNTS, &admin, &account("scoring", "reader")).problem(403), "access/people-only");
    assert_eq!(server.post(REQUESTS, &admin, &asked("create", "scoring")).problem(403), "access/people-only");
    // What reads nothing is made as ever.
    ana.post(&server, ACCOUNTS, &account("loads", "ingester")).ok();

    // By two. Empty talk is no reason, and nobody approves their own by whichever account.
    let mut empty = asked("create", "scoring");
    empty["reason"] = "please".into();
    assert_eq!(ana.post(&server, REQUESTS, &empty).problem(403), "access/reason");
    let request = ana.post(&server, REQUESTS, &asked("create", "scoring")).ok();
    assert_eq!(approve(&server, ana, &request).problem(403), "access/denied");
    assert_eq!(approve(&server, ana_two, &request).problem(403), "access/own-proposal");
    assert_eq!(approve(&server, eve, &request).problem(403), "access/denied");
    let mut other = request.clone();
    other["digest"] = "00".into();
    assert_eq!(approve(&server, ben, &other).problem(409), "conflict/changed");
    assert_eq!(ana.post(&server, ACCOUNTS, &account("scoring", "reader")).problem(403), "access/second-person");
    let listed = ben.get(&server, REQUESTS).ok();
    assert_eq!(listed["requests"][0]["digest"], request["digest"], "{listed}");
    assert_eq!(eve.get(&server, REQUESTS).ok()["requests"], json!([]));
    let (asked_first, asked_twice) = (approve(&server, ben, &request), approve(&server, ben, &request));
    assert_eq!(ana.post(&server, ACCOUNTS, &account("scoring", "reader")).problem(403), "access/second-person");
    // Ana's authenticator is not Ben's.
    let stolen = asked_first.ok()["verify"].as_str().expect("where to sign").to_owned();
    let stolen = stolen.split("prompt=").nth(1).expect("a prompt");
    let forged = answer_prompt(&server, &mut keys[0], stolen, None);
    assert!((400..500).contains(&forged.status), "{}", forged.text());
    assert_eq!(ben.get(&server, REQUESTS).ok()["requests"][0]["state"], "open");
    sign(&server, &mut keys[2], &asked_twice).ok();
    assert_eq!(ben.get(&server, REQUESTS).ok()["requests"][0]["state"], "approved");
    assert_eq!(approve(&server, ben, &request).problem(409), "conflict/settled");

    // An approval is good for one person, one account, one time.
    assert_eq!(eve.post(&server, ACCOUNTS, &account("scoring", "reader")).problem(403), "access/second-person");
    assert_eq!(ana.post(&server, ACCOUNTS, &account("scoring-2", "reader")).problem(403), "access/second-person");
    let made = ana.post(&server, ACCOUNTS, &account("scoring", "reader")).ok();
    assert!(made["client_secret"].as_str().is_some_and(|secret| secret.starts_with("creta_sk_")));

    // Rotating shows a secret as well.
    let rotate = |who: &Someone| who.post(&server, &format!("{ACCOUNTS}/scoring@acme/rotate"), &json!({}));
    assert_eq!(rotate(ana).problem(403), "access/second-person");
    assert!(rotate(ana).text().contains("--rotate"));
    assert_eq!(rotate(olga).problem(403), "access/second-person");
    let path = format!("{ACCOUNTS}/scoring@acme/rotate");
    assert_eq!(server.post(&path, &admin, &json!({})).problem(403), "access/people-only");
    let request = ana.post(&server, REQUESTS, &asked("rotate", "scoring")).ok();
    sign(&server, &mut keys[2], &approve(&server, ben, &request)).ok();
    assert_ne!(rotate(ana).ok()["client_secret"], made["client_secret"]);
    assert_eq!(rotate(ana).problem(403), "access/second-person", "an approval is used once");
    eve.post(&server, &format!("{ACCOUNTS}/loads@acme/rotate"), &json!({})).ok();

    // It is void after a day.
    let request = ana.post(&server, REQUESTS, &asked("rotate", "scoring")).ok();
    sign(&server, &mut keys[2], &approve(&server, ben, &request)).ok();
    let open = ana.post(&server, REQUESTS, &asked("create", "later")).ok();
    clock.advance(Span::hours(24));
    people[0] = sign_in_with(&server, &provider, "ana", Some(&mut keys[0]));
    people[2] = sign_in_with(&server, &provider, "ben", Some(&mut keys[2]));
    assert_eq!(people[0].post(&server, &path, &json!({})).problem(403), "access/second-person");
    assert_eq!(approve(&server, &people[2], &open).problem(409), "conflict/settled");

    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    for entry in [
        "service-account.requested",
        "service-account.approved",
        "service-account.request-used",
        "service-account.refused",
        "proposal.refused",
    ] {
        assert!(log.contains(entry), "{entry}: {log}");
    }
}

#[test]
fn attack_ch20_who_may_not_look_after_accounts_does_not_learn_which_there_are() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    for tenant in ["acme", "globex"] {
        server.tenant(tenant);
        server.account(tenant, "etl", "developer");
    }
    let [staff, own, other] = ["ana", "ben", "eve"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": ["auditor"]}));
    assign(&server, "ben", &json!({"roles": ["viewer"], "tenant": "acme"}));
    assign(&server, "eve", &json!({"roles": ["operator"], "tenant": "globex"}));
    for what in ["rotate", "revoke"] {
        for (who, person) in [("staff", &staff), ("a viewer", &own), ("another tenant's operator", &other)] {
            let said = |id: &str| {
                let reply = person.post(&server, &format!("{ACCOUNTS}/{id}/{what}"), &json!({}));
                let problem = reply.json();
                (reply.status, problem["code"].clone(), problem["message"].to_string().replace(id, "ID"))
            };
            let known = said("etl@acme");
            assert_eq!(known.0, 403, "{who} {what}: {known:?}");
            assert_eq!(known, said("nobody@acme"), "{who} {what}");
            let elsewhere = said("etl@nowhere");
            assert_eq!((known.0, &known.1), (elsewhere.0, &elsewhere.1), "{who} {what}");
        }
        let reply = other.post(&server, &format!("{ACCOUNTS}/nobody@globex/{what}"), &json!({}));
        assert_eq!(reply.problem(404), "not-found/service-account", "whoever may is told");
    }
    for token in [server.account("acme", "second", "developer").token, server.admin_token()] {
        let known = server.post(&format!("{ACCOUNTS}/etl@globex/revoke"), &token, &json!({})).status;
        assert!([200, 403].contains(&known), "{known}");
    }
}
