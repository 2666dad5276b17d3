//! What is granted beside what is used.

use creta_model::{EnvironmentClass, Span};
use serde_json::{Value, json};

use crate::people::{Someone, assign, server_by, sign_in};
use crate::provider::Provider;
use crate::support::Server;

/// What a person who looks after an environment may do there and in its scopes, beside what everybody does for themselves.
const OPERATOR: [&str; 12] = [
    "artefact.record",
    "audit.read",
    "catalogue.read",
    "exception.propose",
    "inventory.declare",
    "service-account.create",
    "service-account.list",
    "service-account.revoke",
    "service-account.rotate",
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
