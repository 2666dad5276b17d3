//! Policies of one's own: narrower ones at once, wider ones by two people, and nothing by the back door.

use std::collections::BTreeSet;

use creta_iam::Role;
use creta_keys::{KeyRing, RootKey};
use creta_model::{Environment, EnvironmentClass};
use creta_platform::Platform;
use creta_server::{Appointment, appoint};
use creta_store::{MetadataStore as _, SqliteStore};
use serde_json::{Value, json};

use crate::people::{assign, server, sign_in};
use crate::provider::Provider;
use crate::support::Server;

pub(crate) const AUDITORS_RUN_CHECKS: &str = r#"
@id("auditors-run-checks")
permit (
  principal is Creta::Person in Creta::Role::"auditor",
  action == Creta::Action::"trust.run",
  resource is Creta::Environment
)
when { principal.environment == resource.environment };"#;

const OPERATORS_RUN_NO_CHECKS: &str = r#"
@id("operators-run-no-checks")
forbid (
  principal is Creta::Person in Creta::Role::"operator",
  action == Creta::Action::"trust.run",
  resource
);"#;

const RUN: &str = "/v1/trust/run";

fn text(text: &str) -> Value {
    json!({ "text": text })
}

#[test]
fn a_narrower_policy_takes_effect_at_once_and_outlives_a_restart() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Development);
    let ana = sign_in(&server, &provider, "ana");
    assign(&server, "ana", &json!({"roles": ["operator"]}));
    let run = |server: &Server| ana.post(server, RUN, &json!({"checks": ["no-such-check"]})).status;
    assert_ne!(run(&server), 403);
    let admin = server.admin_token();
    let checked = server.post("/v1/access/policies/check", &admin, &text(OPERATORS_RUN_NO_CHECKS)).ok();
    assert!(checked["wider"] == 0 && checked["narrower"].as_u64().is_some_and(|n| n > 0), "{checked}");
    assert_ne!(run(&server), 403, "looking changes nothing");
    let proposed = server.post("/v1/access/policies", &admin, &text(OPERATORS_RUN_NO_CHECKS)).ok();
    assert_eq!(proposed["in_force"], true, "{proposed}");
    assert_eq!(run(&server), 403);
    server.stop();
    server.start();
    assert_eq!(run(&server), 403);
    let listed = server.get("/v1/access/policies", &server.admin_token()).ok();
    assert_eq!((&listed["in_force"], &listed["text"]), (&proposed["policy"], &json!(OPERATORS_RUN_NO_CHECKS)));
}

#[test]
fn attack_ci20_a_wider_policy_needs_another_person_who_saw_it() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let [ana, ana_two, ben, eve] = ["ana", "ana-two", "ben", "eve"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": ["administrator"]}));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    assign(&server, "eve", &json!({"roles": ["auditor"]}));
    let admin = server.admin_token();
    let run = || eve.post(&server, RUN, &json!({"checks": ["no-such-check"]})).status;

    // Not by the local administrator, whom nobody can tell from an approver.
    assert_eq!(
        server.post("/v1/access/policies", &admin, &text(AUDITORS_RUN_CHECKS)).problem(403),
        "access/people-only"
    );
    let proposed = ana.post(&server, "/v1/access/policies", &text(AUDITORS_RUN_CHECKS)).ok();
    assert_eq!((&proposed["in_force"], run()), (&json!(false), 403), "{proposed}");
    let path = format!("/v1/access/policies/{}/approve", proposed["policy"].as_str().expect("an id"));
    let approval = json!({"digest": proposed["digest"]});
    // Not by whoever proposed it, by whichever account; not by whoever may not; not another text.
    assert_eq!(ana.post(&server, &path, &approval).problem(403), "access/denied");
    assign(&server, "ana", &json!({"roles": ["security-lead"]}));
    assert_eq!(ana.post(&server, &path, &approval).problem(403), "access/own-proposal");
    assign(&server, "ana", &json!({"roles": []}));
    assign(&server, "ana-two", &json!({"roles": ["security-lead"], "same_human_as": "ana@example.com"}));
    assert_eq!(ana_two.post(&server, &path, &approval).problem(403), "access/own-proposal");
    assert_eq!(eve.post(&server, &path, &approval).problem(403), "access/denied");
    for digest in ["sha256:00", proposed["text_digest"].as_str().expect("text")] {
        assert_eq!(ben.post(&server, &path, &json!({"digest": digest})).problem(409), "conflict/changed");
    }
    // Not as it was shown before something else changed.
    server.post("/v1/access/policies", &admin, &text(OPERATORS_RUN_NO_CHECKS)).ok();
    assert_eq!(ben.post(&server, &path, &approval).problem(409), "conflict/changed");
    assert_eq!(run(), 403);
    let shown = ben.get(&server, path.trim_end_matches("/approve")).ok();
    assert!(shown["comparison"]["wider"].as_u64().is_some_and(|wider| wider > 0), "{shown}");
    assert_eq!(ben.post(&server, &path, &json!({"digest": shown["digest"]})).ok()["in_force"], true);
    assert_ne!(run(), 403);
    let log = server.get("/v1/audit/entries?limit=1000", &admin).text();
    for entry in ["policy.proposed", "policy.refused", "policy.adopted", "CI-20"] {
        assert!(log.contains(entry), "{entry}: {log}");
    }
}

/// T8: what was approved once is not approved again, after something else took its place neither.
#[test]
fn attack_ci20_an_approval_of_a_policy_counts_once() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let [ana, ben, eve] = ["ana", "ben", "eve"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": ["administrator"]}));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    assign(&server, "eve", &json!({"roles": ["auditor"]}));
    let run = || eve.post(&server, RUN, &json!({"checks": ["no-such-check"]})).status;
    let proposed = ana.post(&server, "/v1/access/policies", &text(AUDITORS_RUN_CHECKS)).ok();
    let path = format!("/v1/access/policies/{}/approve", proposed["policy"].as_str().expect("an id"));
    let approval = json!({"digest": proposed["digest"]});
    assert_eq!(ben.post(&server, &path, &approval).ok()["in_force"], true);
    assert_ne!(run(), 403);
    assert_eq!(ben.post(&server, &path, &approval).status, 409, "the same again");
    // Taken back: the approval that was given does not bring it back.
    let narrower = server.post("/v1/access/policies", &server.admin_token(), &text(OPERATORS_RUN_NO_CHECKS)).ok();
    assert_eq!((&narrower["in_force"], run()), (&json!(true), 403), "{narrower}");
    assert_eq!(ben.post(&server, &path, &approval).status, 409, "later");
    assert_eq!(run(), 403);
}

#[test]
fn attack_ci20_wildcards_names_and_duties_in_one_hand_are_no_policies() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let [ana, ben, _] = ["ana", "ben", "eve"].map(|who| sign_in(&server, &provider, who));
    assign(&server, "ana", &json!({"roles": ["administrator"]}));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    for bad in [
        "permit (principal, action, resource);",
        "@id(\"x\") permit (principal, action, resource);",
        "@id(\"x\") permit (principal is Creta::Person, action, resource is Creta::Scope);",
        "@id(\"x\") permit (principal == Creta::Person::\"ana\", action == Creta::Action::\"query\", resource is Creta::Scope);",
        "@id(\"no-other-scope\") forbid (principal is Creta::Person, action == Creta::Action::\"query\", resource);",
        "not a policy",
    ] {
        assert_eq!(ana.post(&server, "/v1/access/policies", &text(bad)).problem(422), "policy/refused", "{bad}");
    }
    // Whoever approves policies would assign roles as well.
    let both = r#"@id("leads-assign") permit (principal is Creta::Person in Creta::Role::"security-lead",
        action == Creta::Action::"person.assign", resource is Creta::Environment)
        when { principal.environment == resource.environment };"#;
    let proposed = ana.post(&server, "/v1/access/policies", &text(both)).ok();
    let path = format!("/v1/access/policies/{}/approve", proposed["policy"].as_str().expect("an id"));
    let refused = ben.post(&server, &path, &json!({"digest": proposed["digest"]}));
    assert_eq!(refused.problem(422), "duties/toxic", "{}", refused.text());
    let listed = server.get("/v1/access/policies", &server.admin_token()).ok();
    assert_eq!(listed["in_force"], Value::Null);
}

#[test]
fn attack_ci20_a_stored_policy_that_is_not_the_logs_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::at(folder.path());
    server.post("/v1/access/policies", &server.admin_token(), &text(OPERATORS_RUN_NO_CHECKS)).ok();
    server.stop();
    // Somebody with the root key writes another text into the document.
    {
        let environment = Environment::parse("prod").expect("valid");
        let root = RootKey::load_file(&server.report.root_key, &environment).expect("there");
        let platform = Platform::system(server.data()).expect("there");
        let ring = KeyRing::open(root, environment.clone(), platform).expect("opens");
        let key = ring.scope(&creta_iam::control_plane(&environment)).expect("there");
        let store = SqliteStore::open(server.data().join("metadata.sqlite"), key).expect("opens");
        let document = store.list("policy").expect("readable").pop().expect("one");
        let mut body: Value = serde_json::from_slice(&document.body).expect("JSON");
        body["text"] = AUDITORS_RUN_CHECKS.into();
        store.write("policy", &document.id, Some(document.version), body.to_string().as_bytes()).expect("written");
    }
    let options = creta_server::ServeOptions { folder: server.data(), listen: None };
    let refused = creta_server::start(&options).err().expect("refused").to_problem();
    assert_eq!(refused.code, "server/policies");
}

#[test]
fn an_environment_is_begun_by_appointing_two_people() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Development);
    server.stop();
    let appointment = |who: &str, roles: &[Role]| Appointment {
        issuer: provider.issuer(),
        subject: format!("sub-{who}"),
        email: Some(format!("{who}@example.com")),
        roles: roles.iter().copied().collect::<BTreeSet<_>>(),
        need: None,
    };
    let data = server.data();
    let refused =
        |who: &str, roles: &[Role]| appoint(&data, &appointment(who, roles)).expect_err("refused").to_problem().code;
    assert_eq!(refused("ana", &[Role::Administrator, Role::SecurityLead]), "duties/toxic");
    assert_eq!(refused("ana", &[Role::Deployer]), "request/roles");
    assert_eq!(refused("ana", &[]), "request/roles");
    assert_eq!(appoint(&data, &appointment("ana", &[Role::Administrator])).expect("appointed"), "ana@example.com");
    assert_eq!(appoint(&data, &appointment("ben", &[Role::SecurityLead])).expect("appointed"), "ben@example.com");
    assert_eq!(refused("ben", &[Role::Operator]), "conflict/appointed");
    server.start();
    assert_eq!(
        creta_server::appoint(&data, &appointment("eve", &[Role::Auditor])).expect_err("it runs").to_problem().code,
        "server/in-use"
    );
    let [ana, eve] = ["ana", "eve"].map(|who| sign_in(&server, &provider, who));
    ana.post(&server, "/v1/persons/eve@example.com/assign", &json!({"roles": ["auditor"]})).ok();
    eve.get(&server, "/v1/persons").ok();
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert_eq!(log.matches("person.appointed").count(), 2, "{log}");
}
