//! Secrets of service accounts: nobody is shown one by which they would get more of features than they do, unless another
//! human agreed; and whoever may not look after accounts does not learn which there are.

use creta_model::{EnvironmentClass, Span};
use serde_json::{Value, json};

use crate::people::{Someone, answer_prompt, assign, authenticator, prove, server, server_by, sign_in, sign_in_with};
use crate::provider::Provider;
use crate::soft_authenticator::SoftAuthenticator;
use crate::support::{Account, Reply, Server};

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

/// Outside class development: programs of `acme` that one person makes and another approved.
pub(crate) fn programs_by_two<const N: usize>(
    server: &Server,
    provider: &Provider,
    programs: [(&str, &str); N],
) -> [Account; N] {
    let (mut one, mut two) = (authenticator(server, 71), authenticator(server, 72));
    let maker = sign_in_with(server, provider, "maker", Some(&mut one));
    let lead = sign_in_with(server, provider, "lead", Some(&mut two));
    assign(server, "maker", &json!({"roles": ["operator"], "tenant": "acme"}));
    assign(server, "lead", &json!({"roles": ["security-lead"]}));
    programs.map(|(name, role)| {
        let made = made_by_two(server, &maker, (&lead, &mut two), name, role);
        let text = |field: &str| made[field].as_str().expect("text").to_owned();
        let (client_id, secret) = (text("client_id"), text("client_secret"));
        Account { token: server.token(&client_id, &secret), client_id, secret }
    })
}

/// A service account of `acme`, as it is shown to its maker when it is made.
pub(crate) fn made_by_two(
    server: &Server,
    maker: &Someone,
    (lead, key): (&Someone, &mut SoftAuthenticator),
    name: &str,
    role: &str,
) -> Value {
    let mut request = asked("create", name);
    request["role"] = role.into();
    let request = maker.post(server, REQUESTS, &request).ok();
    sign(server, key, &approve(server, lead, &request)).ok();
    maker.post(server, ACCOUNTS, &account(name, role)).ok()
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
    assert_eq!(olga.post(&server, ACCOUNTS, &account("scoring", "reader")).problem(403), "access/tenants-own");
    let admin = server.admin_token();
    assert_eq!(server.post(ACCOUNTS, &admin, &account("scoring", "reader")).problem(403), "access/tenants-own");
    assert_eq!(server.post(REQUESTS, &admin, &asked("create", "scoring")).problem(403), "access/people-only");
    // What reads nothing takes two as well, where it writes.
    assert_eq!(ana.post(&server, ACCOUNTS, &account("loads", "ingester")).problem(403), "access/second-person");
    made_by_two(&server, ana, (ben, &mut keys[2]), "loads", "ingester");

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
    let digests = listed["requests"].as_array().expect("a list").iter().map(|request| &request["digest"]);
    assert!(digests.into_iter().any(|digest| *digest == request["digest"]), "{listed}");
    assert_eq!(eve.get(&server, REQUESTS).ok()["requests"], json!([]));
    let (asked_first, asked_twice) = (approve(&server, ben, &request), approve(&server, ben, &request));
    assert_eq!(ana.post(&server, ACCOUNTS, &account("scoring", "reader")).problem(403), "access/second-person");
    // Ana's authenticator is not Ben's.
    let stolen = asked_first.ok()["verify"].as_str().expect("where to sign").to_owned();
    let stolen = stolen.split("prompt=").nth(1).expect("a prompt");
    let forged = answer_prompt(&server, &mut keys[0], stolen, None);
    assert!((400..500).contains(&forged.status), "{}", forged.text());
    let state = || {
        let listed = ben.get(&server, REQUESTS).ok();
        let requests = listed["requests"].as_array().expect("a list");
        let found = requests.iter().find(|one| one["request"] == request["request"]);
        found.map_or_else(String::new, |one| one["state"].as_str().expect("text").to_owned())
    };
    assert_eq!(state(), "open");
    sign(&server, &mut keys[2], &asked_twice).ok();
    assert_eq!(state(), "approved");
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
    assert_eq!(rotate(olga).problem(403), "access/tenants-own");
    let path = format!("{ACCOUNTS}/scoring@acme/rotate");
    assert_eq!(server.post(&path, &admin, &json!({})).problem(403), "access/tenants-own");
    let request = ana.post(&server, REQUESTS, &asked("rotate", "scoring")).ok();
    sign(&server, &mut keys[2], &approve(&server, ben, &request)).ok();
    assert_ne!(rotate(ana).ok()["client_secret"], made["client_secret"]);
    assert_eq!(rotate(ana).problem(403), "access/second-person", "an approval is used once");
    let path = format!("{ACCOUNTS}/loads@acme/rotate");
    assert_eq!(eve.post(&server, &path, &json!({})).problem(403), "access/second-person");

    // It is void after a day.
    let path = format!("{ACCOUNTS}/scoring@acme/rotate");
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

/// Whoever deploys may leave a tag out, whoever ingests may write what a row rule asks for, whoever provisions makes people.
#[test]
fn attack_ci20_nobody_alone_is_shown_the_secret_of_what_changes_what_is_decided_by() {
    let provider = Provider::start();
    let (server, _) = server_by(&provider, EnvironmentClass::Staging, "");
    server.tenant("acme");
    let mut keys: Vec<_> = (1..=3).map(|seed| authenticator(&server, seed)).collect();
    let people: Vec<Someone> = ["ana", "dan", "ben"]
        .iter()
        .zip(&mut keys)
        .map(|(who, key)| sign_in_with(&server, &provider, who, Some(key)))
        .collect();
    let [ana, dan, ben] = people.as_slice() else { panic!("three people") };
    assign(&server, "ana", &json!({"roles": ["operator", "viewer"], "tenant": "acme"}));
    assign(&server, "dan", &json!({"roles": ["operator", "developer"], "tenant": "acme"}));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    for (role, action) in [("deployer", "deploy"), ("ingester", "ingest"), ("provisioner", "scim.write")] {
        let alone = ana.post(&server, ACCOUNTS, &account(role, role));
        assert_eq!(alone.problem(403), "access/second-person", "{role}");
        assert!(alone.text().contains(&format!("it may `{action}`, which you may not for good")), "{}", alone.text());
        made_by_two(&server, ana, (ben, &mut keys[2]), role, role);
    }
    // Who may themselves gains nothing.
    for role in ["deployer", "ingester"] {
        dan.post(&server, ACCOUNTS, &account(&format!("own-{role}"), role)).ok();
    }
    assert_eq!(dan.post(&server, ACCOUNTS, &account("hr", "provisioner")).problem(403), "access/second-person");
}

#[test]
fn attack_ch35_nobody_alone_makes_or_rotates_an_account_that_provisions_people() {
    const PROVISIONERS: &str = "/v1/provisioners";
    const ASKED: &str = "/v1/provisioner-requests";
    let provider = Provider::start();
    let (mut server, _) = server_by(&provider, EnvironmentClass::Staging, "");
    crate::people::appoint(&mut server, &provider, &[("kim", "administrator"), ("lee", "security-lead")]);
    let (mut one, mut two) = (authenticator(&server, 1), authenticator(&server, 2));
    let kim = sign_in_with(&server, &provider, "kim", Some(&mut one));
    let lee = sign_in_with(&server, &provider, "lee", Some(&mut two));
    let make = || kim.post(&server, PROVISIONERS, &json!({"name": "directory"}));
    let alone = make();
    assert_eq!(alone.problem(403), "access/second-person");
    assert!(
        alone.text().contains("creta service-account request directory --environment --role provisioner"),
        "{}",
        alone.text()
    );
    let why = "People of the shop come and go as its directory says";
    let ask = |what: &str| kim.post(&server, ASKED, &json!({"what": what, "name": "directory", "reason": why}));
    let request = ask("create").ok();
    assert!(
        request["says"].as_str().is_some_and(|says| says.ends_with("is provisioner of the environment")),
        "{request}"
    );
    assert_eq!(approve(&server, &kim, &request).problem(403), "access/denied");
    assert_eq!(lee.post(&server, ASKED, &json!({"what": "create", "name": "x", "reason": why})).status, 403);
    sign(&server, &mut two, &approve(&server, &lee, &request)).ok();
    let made = make().ok();
    assert_eq!((&made["tenant"], &made["role"]), (&Value::Null, &json!("provisioner")));
    let id = made["client_id"].as_str().expect("an id");
    let rotate = || kim.post(&server, &format!("{PROVISIONERS}/{id}/rotate"), &json!({}));
    assert_eq!(rotate().problem(403), "access/second-person");
    sign(&server, &mut two, &approve(&server, &lee, &ask("rotate").ok())).ok();
    assert_ne!(rotate().ok()["client_secret"], made["client_secret"]);
    assert_eq!(rotate().problem(403), "access/second-person", "an approval is used once");
    kim.post(&server, &format!("{PROVISIONERS}/{id}/revoke"), &json!({})).ok();
}

#[test]
fn attack_ci20_one_approval_shows_one_secret_however_many_ask_at_once() {
    let provider = Provider::start();
    let (server, _) = server_by(&provider, EnvironmentClass::Staging, "");
    server.tenant("acme");
    let [scoring] = programs_by_two(&server, &provider, [("scoring", "reader")]);
    assert_eq!(server.get("/v1/status", &scoring.token).status, 200);
    let (mut one, mut two) = (authenticator(&server, 1), authenticator(&server, 2));
    let ana = sign_in_with(&server, &provider, "ana", Some(&mut one));
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut two));
    assign(&server, "ana", &json!({"roles": ["operator"], "tenant": "acme"}));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    for _ in 0..4 {
        let request = ana.post(&server, REQUESTS, &asked("rotate", "scoring")).ok();
        sign(&server, &mut two, &approve(&server, &ben, &request)).ok();
        let path = format!("{ACCOUNTS}/scoring@acme/rotate");
        let proofs: Vec<_> = (0..8).map(|_| prove(&server, &ana.prover, "POST", &path, Some(ana.token()))).collect();
        let shown = std::thread::scope(|scope| {
            let send = |proof: &str| ana.send_proven(&server, "POST", &path, Some(&json!({})), proof).status;
            let threads: Vec<_> = proofs.iter().map(|proof| scope.spawn(move || send(proof))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).filter(|status| *status == 200).count()
        });
        assert_eq!(shown, 1);
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
