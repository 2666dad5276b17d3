//! What is granted beside what is used.

use creta_model::{EnvironmentClass, Span};
use serde_json::{Value, json};

use crate::people::{Someone, assign, server_by, sign_in};
use crate::provider::Provider;
use crate::support::Server;

/// What a person who looks after an environment may do there and in its scopes, beside what everybody does for themselves.
const OPERATOR: [&str; 15] = [
    "artefact.record",
    "recovery.hold",
    "audit.read",
    "catalogue.read",
    "exception.propose",
    "metrics.read",
    "inventory.declare",
    "service-account.create",
    "service-account.list",
    "service-account.revoke",
    "service-account.rotate",
    "statistics.read",
    "tenant.list",
    "trust.read",
    "trust.run",
];

fn analysis(server: &Server) -> Value {
    server.running().keep_log().expect("kept"); // Reads are counted, and written each second.
    server.get("/v1/access/analysis", &server.admin_token()).ok()
}

fn unused(analysis: &Value, subject: &str) -> Vec<String> {
    let findings = analysis["findings"].as_array().expect("a list");
    let found = findings.iter().find(|finding| finding["subject"] == subject);
    let names = |finding: &Value| -> Vec<String> {
        let unused = finding["unused"].as_array().expect("a list");
        unused.iter().map(|name| name.as_str().expect("text").to_owned()).collect()
    };
    found.map(names).unwrap_or_default()
}

fn work(server: &Server, who: &Someone) {
    who.get(server, "/v1/tenants").ok();
    who.get(server, "/v1/service-accounts?tenant=acme").ok();
    who.get(server, "/v1/audit/entries?limit=1").ok();
}

#[test]
fn a_right_that_nobody_used_for_ninety_days_is_found_and_no_other() {
    let provider = Provider::start();
    let (server, clock) = server_by(&provider, EnvironmentClass::Development, "");
    server.tenant("acme");
    sign_in(&server, &provider, "ana");
    assign(&server, "ana", &json!({"roles": ["operator"]}));
    server.account("acme", "idle", "ingester");

    // Too young to be judged.
    assert_eq!(unused(&analysis(&server), "person:ana@example.com"), [""; 0]);
    assert!(analysis(&server)["young"].as_array().expect("a list").contains(&json!("person:ana@example.com")));

    clock.advance(Span::days(80));
    for _ in 0..3 {
        work(&server, &sign_in(&server, &provider, "ana"));
        clock.advance(Span::seconds(1234));
    }
    clock.advance(Span::days(11));
    // Somebody who came last week.
    sign_in(&server, &provider, "zoe");
    assign(&server, "zoe", &json!({"roles": ["auditor"]}));
    clock.advance(Span::days(7));
    let found = analysis(&server);
    let mut expected: Vec<String> = OPERATOR
        .iter()
        .filter(|action| !["tenant.list", "service-account.list", "audit.read"].contains(action))
        .map(|action| format!("{action}@prod"))
        .collect();
    let mut seen = unused(&found, "person:ana@example.com");
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);
    assert_eq!(unused(&found, "service-account:idle@acme"), ["token.issue@prod/acme", "ingest@prod/acme"]);
    assert!(found["young"].as_array().expect("a list").contains(&json!("person:zoe@example.com")));
    assert_eq!(unused(&found, "person:zoe@example.com"), [""; 0]);
    let kept = |subject: &str| {
        let proposal = found["proposal"].as_array().expect("a list");
        proposal.iter().filter(|right| right["subject"] == subject).count()
    };
    assert_eq!(kept("person:ana@example.com"), 3);
    let policy = found["policy"].as_str().expect("a policy");
    assert!(policy.contains("trust.run") && !policy.contains("\"tenant.list\""), "{policy}");
}

#[test]
fn attack_ci23_touching_rights_to_keep_them_is_no_use_of_them() {
    let provider = Provider::start();
    let (server, clock) = server_by(&provider, EnvironmentClass::Development, "");
    server.tenant("acme");
    sign_in(&server, &provider, "ana");
    assign(&server, "ana", &json!({"roles": ["operator"]}));
    clock.advance(Span::days(88));
    // A script that walks through everything, once a day.
    for _ in 0..5 {
        let ana = sign_in(&server, &provider, "ana");
        work(&server, &ana);
        for path in ["/v1/trust", "/v1/trust/inventory"] {
            assert_ne!(ana.get(&server, path).status, 403);
        }
        ana.post(&server, "/v1/service-accounts/nobody@acme/revoke", &json!({}));
        server.running().keep_log().expect("kept");
        clock.advance(Span::days(1));
    }
    let found = analysis(&server);
    let seen = unused(&found, "person:ana@example.com");
    for action in ["tenant.list", "service-account.list", "audit.read", "trust.read"] {
        assert!(seen.contains(&format!("{action}@prod")), "{action}: {found}");
    }
    let text = found["findings"].to_string();
    assert!(text.contains("regular") || text.contains("sweep"), "{text}");
}

fn grants(analysis: &Value) -> Value {
    let grants = analysis["grants"].as_array().expect("a list");
    grants.iter().find(|one| one["holder"] == "person:ana@example.com").cloned().unwrap_or_default()
}

#[test]
fn grants_of_hours_are_judged_together() {
    let provider = Provider::start();
    let (server, clock) = server_by(&provider, EnvironmentClass::Development, "");
    server.tenant("acme");
    sign_in(&server, &provider, "ana");
    sign_in(&server, &provider, "ben");
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    let listed = |server: &Server, who: &Someone| drop(who.get(server, "/v1/tenants").ok());
    let nothing = |_: &Server, _: &Someone| {};
    // The same reason again would be refused.
    granted_hour(&server, &provider, &clock, "Look into why last night's load of payments was refused", listed);
    let once = grants(&analysis(&server));
    assert_eq!((&once["grants"], &once["idle"], &once["judged"]), (&json!(1), &json!(0), &json!(false)), "{once}");
    assert_eq!((&once["used"], &once["unused"]), (&json!(["tenant.list"]), &json!([])), "too few to be judged");
    clock.advance(Span::days(1));
    granted_hour(&server, &provider, &clock, "Count the tenants of the shop for the quarterly bill", nothing);
    granted_hour(&server, &provider, &clock, "Rotate the credentials of the nightly ingestion program", nothing);
    let thrice = grants(&analysis(&server));
    assert_eq!(
        (&thrice["grants"], &thrice["idle"], &thrice["judged"]),
        (&json!(3), &json!(2), &json!(true)),
        "{thrice}"
    );
    assert_eq!(thrice["used"], json!(["tenant.list"]), "what was used in any of them counts");
    let unused = thrice["unused"].to_string();
    assert!(unused.contains("service-account.create") && !unused.contains("tenant.list"), "{unused}");
}

/// Somebody is granted a role for an hour, does what they came for, and the hour passes.
fn granted_hour(
    server: &Server,
    provider: &Provider,
    clock: &creta_platform::ManualClock,
    reason: &str,
    work: fn(&Server, &Someone),
) {
    let [ana, ben] = ["ana", "ben"].map(|who| sign_in(server, provider, who));
    let body = json!({"role": "operator", "ticket": "OPS-1234", "hours": 1, "reason": reason});
    let request = ana.post(server, "/v1/access/requests", &body).ok();
    let path = |what: &str| format!("/v1/access/requests/{}/{what}", request["request"].as_str().expect("an id"));
    ben.post(server, &path("decide"), &json!({"verdict": "approve", "digest": request["digest"]})).ok();
    ana.post(server, &path("activate"), &json!({})).ok();
    work(server, &ana);
    server.running().keep_log().expect("kept");
    clock.advance(Span::hours(2));
}

#[test]
fn attack_ci23_what_stays_unused_turns_the_check_red() {
    let provider = Provider::start();
    let (server, clock) = server_by(&provider, EnvironmentClass::Development, "");
    sign_in(&server, &provider, "ana");
    assign(&server, "ana", &json!({"roles": ["operator"]}));
    let codes = |server: &Server| -> Vec<String> {
        clock.advance(Span::seconds(60)); // The same look at the same instant is no second observation.
        let body = json!({"checks": ["unused-rights"]});
        let ran = server.post("/v1/trust/run", &server.admin_token(), &body).ok()["ran"].clone();
        let ran = ran.as_array().expect("a list").clone();
        let findings = ran.iter().flat_map(|run| run["findings"].as_array().cloned().unwrap_or_default());
        findings.map(|finding| finding["code"].as_str().unwrap_or_default().to_owned()).collect()
    };
    clock.advance(Span::days(91));
    assert_eq!(codes(&server), [""; 0], "found, and there is time to take it away");
    clock.advance(Span::days(30));
    let found = codes(&server);
    assert!(found.contains(&"access/unused-role".to_owned()), "{found:?}");
    // One use of one right keeps the role, and what nobody uses of it is still found.
    sign_in(&server, &provider, "ana").get(&server, "/v1/tenants").ok();
    server.running().keep_log().expect("kept");
    let found = codes(&server);
    assert!(!found.contains(&"access/unused-role".to_owned()), "{found:?}");
    assert!(found.contains(&"access/unused-actions".to_owned()), "{found:?}");
    // Adopted, the policy that the analyser writes makes the check green, and what was used still works.
    let policy = server.get("/v1/access/analysis", &server.admin_token()).ok()["policy"].clone();
    server.post("/v1/access/policies", &server.admin_token(), &json!({"text": policy})).ok();
    assert_eq!(codes(&server), [""; 0]);
    sign_in(&server, &provider, "ana").get(&server, "/v1/tenants").ok();
}
