//! Rules about another human go by what is known now, and nobody learns of others what is not theirs to know.

use creta_model::EnvironmentClass;
use serde_json::{Value, json};

use crate::people::{Someone, assign, server, sign_in};
use crate::provider::Provider;
use crate::support::{Reply, Server};

#[test]
fn attack_ch43_accounts_that_become_known_as_one_humans_decide_nothing_for_each_other() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let [ana, second, eve] = ["ana", "ana-two", "eve"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": ["security-lead"]}));
    assign(&server, "ana-two", &json!({"roles": ["administrator"]}));
    // Asked for and proposed while nobody knew whose accounts these are.
    let own = second.request(&server, "operator", 1).ok();
    let policy = r#"@id("auditors-run-checks") permit (principal is Creta::Person in Creta::Role::"auditor",
        action == Creta::Action::"trust.run", resource is Creta::Environment)
        when { principal.environment == resource.environment };"#;
    let proposed = second.post(&server, "/v1/access/policies", &json!({ "text": policy })).ok();
    let others = eve.request(&server, "auditor", 1).ok();
    assign(&server, "ana-two", &json!({"roles": [], "same_human_as": "ana@example.com"}));

    let decide = |request: &Value| {
        let path = format!("/v1/access/requests/{}/decide", request["request"].as_str().expect("an id"));
        ana.post(&server, &path, &json!({"verdict": "approve", "digest": request["digest"]}))
    };
    assert_eq!(decide(&own).problem(403), "access/same-person");
    let path = format!("/v1/access/policies/{}/approve", proposed["policy"].as_str().expect("an id"));
    let approved = ana.post(&server, &path, &json!({"digest": proposed["digest"]}));
    assert_eq!(approved.problem(403), "access/own-proposal");
    assert_eq!(decide(&others).ok()["state"], "approved", "what is somebody else's is decided");
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(log.contains("access.refused") && log.contains("CH-43"), "{log}");
}

/// Approves what somebody asked for, in class development: as whoever holds the right.
fn approve(server: &Server, by: &Someone, request: &Value) -> Reply {
    let path = format!("/v1/access/requests/{}/decide", request["request"].as_str().expect("an id"));
    by.post(server, &path, &json!({"verdict": "approve", "digest": request["digest"]}))
}

fn activate(server: &Server, who: &Someone, request: &Value) -> Reply {
    who.post(
        server,
        &format!("/v1/access/requests/{}/activate", request["request"].as_str().expect("an id")),
        &json!({}),
    )
}

/// Asks for a role, in words of its own.
fn ask(server: &Server, who: &Someone, role: &str) -> Value {
    let reason = match role {
        "security-lead" => "Stand in for a colleague who approves access and is ill this week",
        "viewer" => "Read the definitions that an incident of Tuesday is said to come from",
        "auditor" => "Prepare the yearly audit, whose questions came in this morning",
        _ => "Look into why last night's load of payments was refused",
    };
    let body = json!({"role": role, "ticket": "OPS-1234", "hours": 2, "reason": reason});
    who.post(server, "/v1/access/requests", &body).ok()
}

/// An approval must not rest on whoever asked: what it rests on are the grants that let the approver approve, and no others.
#[test]
fn attack_ch17_a_second_grant_does_not_hide_whose_approval_an_approval_rests_on() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    server.tenant("acme");
    let [ana, ben, carl, sam] = ["ana", "ben", "carl", "sam"].map(|who| sign_in(&server, &provider, who));
    for who in ["ana", "carl", "sam"] {
        assign(&server, who, &json!({"roles": ["security-lead"]}));
    }
    let lead = ask(&server, &ben, "security-lead");
    approve(&server, &ana, &lead).ok();
    activate(&server, &ben, &lead).ok();
    let asked = json!({"role": "viewer", "ticket": "OPS-1235", "hours": 2, "place": {"tenant": "acme"},
        "reason": "Compare the catalogue of this customer with what they reported on Monday"});
    let other = ben.post(&server, "/v1/access/requests", &asked).ok();
    approve(&server, &carl, &other).ok();
    activate(&server, &ben, &other).ok();
    let of_ana = ask(&server, &ana, "operator");
    assert_eq!(approve(&server, &ben, &of_ana).problem(403), "access/dependent-right");
    let of_carl = ask(&server, &carl, "operator");
    assert_eq!(approve(&server, &ben, &of_carl).ok()["state"], "approved", "his right does not rest on Carl");

    // Whoever may approve for good does so whatever else they were granted, and by whom.
    let of_sam = ask(&server, &sam, "viewer");
    approve(&server, &ana, &of_sam).ok();
    activate(&server, &sam, &of_sam).ok();
    assert_eq!(approve(&server, &sam, &of_ana).ok()["state"], "approved");
}

#[test]
fn attack_ch43_what_was_approved_begins_and_goes_on_only_by_somebody_elses_approval_as_is_known_now() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let [ana, second, eve, _] = ["ana", "ana-two", "eve", "lee"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": ["security-lead"]}));
    assign(&server, "lee", &json!({"roles": ["security-lead"]}));
    let lee = sign_in(&server, &provider, "lee");
    let [running, waiting] = ["viewer", "auditor"].map(|role| {
        let request = ask(&server, &second, role);
        approve(&server, &ana, &request).ok();
        request
    });
    let of_eve = ask(&server, &eve, "auditor");
    approve(&server, &ana, &of_eve).ok();
    let by_lee = ask(&server, &eve, "operator");
    approve(&server, &lee, &by_lee).ok();
    let grant = activate(&server, &second, &running).ok();
    let held = || second.get(&server, "/v1/me").ok()["grants"].as_array().map(Vec::len);
    assert_eq!(held(), Some(1));
    // It turns out whose accounts these are.
    assign(&server, "ana-two", &json!({"roles": [], "same_human_as": "ana@example.com"}));
    assert_eq!(activate(&server, &second, &waiting).problem(403), "access/same-person");
    assert_eq!(held(), Some(0), "what runs ends");
    let listed = ana.get(&server, "/v1/access/grants").ok();
    let shown = listed["grants"].as_array().expect("a list").iter().find(|one| one["grant"] == grant["grant"]);
    assert_eq!(shown.expect("listed")["holds"], false);
    // Nor by the approval of somebody who left; what else was approved begins.
    server.post("/v1/persons/lee@example.com/leave", &server.admin_token(), &json!({})).ok();
    assert_eq!(activate(&server, &eve, &by_lee).problem(403), "access/approver-left");
    activate(&server, &eve, &of_eve).ok();
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(log.contains("access.grant.revoked") && log.contains("access.refused"), "{log}");
}

#[test]
fn attack_ch20_nobody_finds_out_who_has_an_account_in_another_tenant() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    ["acme", "globex"].iter().for_each(|tenant| server.tenant(tenant));
    let [ana, ..] = ["ana", "bob", "eve", "staff"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": [], "tenant": "acme"}));
    assign(&server, "bob", &json!({"roles": [], "tenant": "globex"}));
    assign(&server, "eve", &json!({"roles": [], "tenant": "acme"}));
    let ask = |whom: &str, reason: &str| {
        let body = json!({"role": "viewer", "ticket": "OPS-1234", "hours": 1, "for": format!("{whom}@example.com"),
            "reason": reason});
        let reply = ana.post(&server, "/v1/access/requests", &body);
        (reply.status, reply.json()["code"].clone(), reply.text().replace(whom, "WHO"))
    };
    let reason = "Look into why last night's load of payments was refused";
    for reason in ["please", reason] {
        let (nobody, bob, staff) = (ask("zoe", reason), ask("bob", reason), ask("staff", reason));
        assert_eq!((&nobody, &nobody), (&bob, &staff), "{reason}");
    }
    assert_eq!(ask("zoe", reason).0, 404);
    assert_eq!(ask("eve", reason).0, 201, "of one's own tenant");
}

#[test]
fn attack_ch20_nobody_finds_out_which_tenants_there_are() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    ["acme", "globex"].iter().for_each(|tenant| drop(server.shop(tenant)));
    let [ana, sam] = ["ana", "sam"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": ["data-scientist"], "tenant": "acme"}));
    let statistics = |tenant: &str| {
        let reply = ana.get(&server, &format!("/v1/statistics?tenant={tenant}&feature=User.city"));
        (reply.problem(403), reply.text().replace(tenant, "TENANT"))
    };
    assert_eq!(statistics("globex"), statistics("nowhere"));
    let invite = |tenant: &str| {
        let body = json!({"email": "somebody@shop.example", "tenant": tenant});
        let reply = sam.post(&server, "/v1/persons/invite", &body);
        (reply.problem(403), reply.text().replace(tenant, "TENANT"))
    };
    assert_eq!(invite("globex"), invite("nowhere"));
}

#[test]
fn attack_ch20_people_without_a_role_learn_nothing_of_definitions() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let etl = {
        let mut bundle = crate::support::bundle();
        bundle["graph"]["entities"][0]["features"][3]["tags"] = json!(["secret"]);
        let etl = server.shop("acme");
        server.post("/v1/deploy", &etl.token, &bundle).ok();
        etl
    };
    let [ana, vic] = ["ana", "vic"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": [], "tenant": "acme"}));
    assign(&server, "vic", &json!({"roles": ["viewer"], "tenant": "acme"}));
    let path = "/v1/access/explain?action=query&features=User.doubled";
    let told = ana.get(&server, path).ok().to_string();
    assert!(!told.contains("secret") && !told.contains("User.score"), "{told}");
    let told = vic.get(&server, path).ok().to_string();
    assert!(told.contains("secret") && told.contains("User.score"), "who may know is told: {told}");
    drop(etl);
}

#[test]
fn attack_ch19_a_second_account_has_no_second_budget() {
    let provider = Provider::start();
    let tail = "[statistics]\ngroup = 20\nbudget = { of_feature = 4, of_day = 2 }\n";
    let server =
        crate::support::Server::configured(EnvironmentClass::Development, &format!("{tail}{}", provider.config()));
    server.shop("acme");
    let [ben, second] = ["ben", "ben-two"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ben", &json!({"roles": ["operator"]}));
    assign(&server, "ben-two", &json!({"roles": ["operator"], "same_human_as": "ben@example.com"}));
    let ask = |who: &crate::people::Someone| {
        let reply = who.get(&server, "/v1/statistics?tenant=acme&feature=User.city");
        (reply.status, reply.json()["code"].clone())
    };
    for _ in 0..2 {
        assert_ne!(ask(&ben).1, "access/budget");
    }
    assert_eq!(ask(&second), (403, json!("access/budget")));
}
