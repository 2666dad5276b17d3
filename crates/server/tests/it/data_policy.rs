//! What was agreed on about a tenant's data: row rules, tags that no longer flow, and tokens in the place of values.

use creta_keys::{KeyRing, RootKey};
use creta_model::{Environment, EnvironmentClass, Scope};
use creta_platform::Platform;
use creta_store::{MetadataStore as _, SqliteStore};
use serde_json::{Value, json};

use crate::people::{Someone, answer_prompt, assign, authenticator, server, sign_in, sign_in_with};
use crate::provider::Provider;
use crate::support::{INGEST, Server, bundle, facts, spine};

const ROWS: &str = "/v1/access/rows";
const LIFTED: &str = "/v1/access/declassifications";
const REASON: &str = "Each market looks after its own customers only";

fn rule(id: &str, roles: &[&str], cities: &[&str]) -> Value {
    json!({"id": id, "entity": "User", "roles": roles, "feature": "User.city", "op": "in", "values": cities})
}

fn rules(rules: &[Value]) -> Value {
    json!({"tenant": "acme", "rules": {"rules": rules}, "reason": REASON})
}

fn ask(outputs: &[&str]) -> Value {
    json!({"inputs": {"User.id": [7, 8, 9]}, "outputs": outputs})
}

fn tags(bundle: &mut Value, feature: &str, tags: Value) {
    let features = bundle["graph"]["entities"][0]["features"].as_array_mut().expect("features");
    features.iter_mut().find(|own| own["name"] == feature).expect("there")["tags"] = tags;
}

/// The shop with a loud city, computed from the city.
fn loud(function: &str) -> Value {
    let mut bundle = bundle();
    let features = bundle["graph"]["entities"][0]["features"].as_array_mut().expect("features");
    features.push(json!({"name": "shout", "type": {"kind": "str"}, "role": "value",
        "location": {"file": "shop.py", "line": 2},
        "expression": {"op": "call", "function": function, "args": [{"op": "feature", "path": "User.city"}]}}));
    bundle
}

fn shop(server: &Server, tenant: &str, bundle: &Value) -> String {
    server.tenant(tenant);
    let etl = server.account(tenant, "etl", "developer");
    server.post("/v1/deploy", &etl.token, bundle).ok();
    server.post_arrow(INGEST, &etl.token, &facts()).ok();
    etl.token
}

fn people<const N: usize>(server: &Server, provider: &Provider, who: [(&str, &str); N]) -> [Someone; N] {
    who.map(|(name, role)| {
        let person = sign_in(server, provider, name);
        assign(server, name, &json!({"roles": [role], "tenant": "acme"}));
        person
    })
}

fn id(proposal: &Value) -> &str {
    proposal["proposal"].as_str().expect("an id")
}

#[test]
fn row_rules_bind_with_the_next_request_wherever_data_is_asked_for() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Development);
    let etl = shop(&server, "acme", &bundle());
    let [vic, dan] = people(&server, &provider, [("vic", "viewer"), ("dan", "data-scientist")]);
    let city = |who: &Someone, server: &Server| {
        let answer = who.post(server, "/v1/query", &ask(&["User.city", "User.doubled"])).ok();
        (answer["columns"][0]["values"].clone(), answer["columns"][1]["states"].clone())
    };
    assert_eq!(city(&vic, &server).0, json!(["Turin", "Bern", null]));
    let proposed =
        server.post(ROWS, &server.admin_token(), &rules(&[rule("home", &["viewer", "data-scientist"], &["Bern"])]));
    assert_eq!(proposed.ok()["state"], "in-force", "it shows nothing more");
    let denied = (json!([null, "Bern", null]), json!({"0": "denied", "2": "denied"}));
    assert_eq!(city(&vic, &server), denied);
    // Programs of other roles are not bound.
    let program = server.post("/v1/query", &etl, &ask(&["User.city"])).ok();
    assert_eq!(program["columns"][0]["values"], json!(["Turin", "Bern", null]));
    // Many rows, and training sets, each row at its own instant: user 7 was in Lyon, then in Turin.
    let table = spine(&[(7, "2025-03-05T00:00:00Z"), (8, "2025-03-05T00:00:00Z"), (8, "2025-02-01T00:00:00Z")]);
    for path in [
        "/v1/query/arrow?features=User.city&as_of=at&states=true",
        "/v1/training-sets?features=User.city&as_of=at&states=true",
    ] {
        let reply = dan.send_arrow(&server, path, &table);
        let batch = reply.batch();
        let states = batch.column_by_name("User.city__state").expect("asked for");
        let states = arrow::array::AsArray::as_string::<i32>(states);
        assert_eq!(states.iter().flatten().collect::<Vec<_>>(), ["denied", "value", "denied"], "{path}");
    }
    let plan = vic.post(&server, "/v1/explain", &ask(&["User.city"])).ok();
    assert_eq!(plan["rows"], json!([{"rule": "home", "feature": "User.city", "entity": "User"}]), "{plan}");
    assert!(plan["text"].as_str().is_some_and(|text| text.contains("rule `home`, which binds you")));
    let explained = vic.get(&server, "/v1/access/explain?action=query&features=User.city").ok();
    assert_eq!(explained["rows"][0]["rule"], "home", "{explained}");
    server.stop();
    server.start();
    assert_eq!(city(&vic, &server), denied, "it outlives a restart");
}

#[test]
fn attack_ci20_row_rules_that_show_more_need_another_person_who_saw_them() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    shop(&server, "acme", &bundle());
    let [vic, ana, ben] =
        people(&server, &provider, [("vic", "viewer"), ("ana", "administrator"), ("ben", "security-lead")]);
    let ana_two = sign_in(&server, &provider, "ana-two");
    let admin = server.admin_token();
    let seen = || vic.post(&server, "/v1/query", &ask(&["User.city"])).ok()["columns"][0]["values"].clone();
    let home = rule("home", &["viewer"], &["Bern"]);
    server.post(ROWS, &admin, &rules(std::slice::from_ref(&home))).ok();
    let only_bern = json!([null, "Bern", null]);
    assert_eq!(seen(), only_bern);

    // Weaker in each way; not by the local administrator, and not alone.
    for weaker in [
        vec![],
        vec![rule("home", &["data-scientist"], &["Bern"])],
        vec![rule("home", &["viewer"], &["Bern", "Turin"])],
    ] {
        assert_eq!(server.post(ROWS, &admin, &rules(&weaker)).problem(403), "access/people-only");
        let proposed = ana.post(&server, ROWS, &rules(&weaker)).ok();
        assert_eq!((&proposed["state"], seen()), (&json!("open"), only_bern.clone()), "{proposed}");
    }
    assert_eq!(vic.post(&server, ROWS, &rules(&[])).problem(403), "access/denied");
    assert_eq!(ben.post(&server, ROWS, &rules(&[])).problem(403), "access/denied", "who approves does not propose");
    let mut talk = rules(&[]);
    talk["reason"] = "please please".into();
    assert_eq!(ana.post(&server, ROWS, &talk).problem(403), "access/reason");

    let proposed = ana.post(&server, ROWS, &rules(&[])).ok();
    let path = format!("{ROWS}/{}", id(&proposed));
    let approve =
        |who: &Someone, digest: &Value| who.post(&server, &format!("{path}/approve"), &json!({"digest": digest}));
    assert_eq!(approve(&ana, &proposed["digest"]).problem(403), "access/denied");
    assign(&server, "ana", &json!({"roles": []}));
    assign(
        &server,
        "ana-two",
        &json!({"roles": ["security-lead"], "tenant": "acme", "same_human_as": "ana@example.com"}),
    );
    assert_eq!(approve(&ana_two, &proposed["digest"]).problem(403), "access/own-proposal");
    assert_eq!(approve(&ben, &json!("00")).problem(409), "conflict/changed");
    // What was shown beside other rules is not what is approved now.
    server.post(ROWS, &admin, &rules(&[home.clone(), rule("more", &["reader"], &["Bern"])])).ok();
    assert_eq!(approve(&ben, &proposed["digest"]).problem(409), "conflict/changed");
    assert_eq!(seen(), only_bern);
    let shown = ben.get(&server, &format!("{path}?tenant=acme")).ok();
    assert_eq!(shown["wider"].as_array().map(Vec::len), Some(2), "{shown}");
    assert_eq!(approve(&ben, &shown["digest"]).ok()["state"], "in-force");
    assert_eq!(seen(), json!(["Turin", "Bern", null]));
    assert_eq!(approve(&ben, &shown["digest"]).status, 409, "once");
    let log = server.get("/v1/audit/entries?limit=1000", &admin).text();
    for entry in ["rows.proposed", "rows.adopted", "rows.ended", "proposal.refused"] {
        assert!(log.contains(entry), "{entry}");
    }
}

#[test]
fn attack_ci20_stored_row_rules_that_are_not_the_logs_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::at(folder.path());
    let etl = shop(&server, "acme", &bundle());
    server.post(ROWS, &server.admin_token(), &rules(&[rule("home", &["developer"], &["Bern"])])).ok();
    server.stop();
    // Somebody with the root key writes other rules into the document.
    {
        let environment = Environment::parse("prod").expect("valid");
        let root = RootKey::load_file(&server.report.root_key, &environment).expect("there");
        let platform = Platform::system(server.data()).expect("there");
        let ring = KeyRing::open(root, environment.clone(), platform).expect("opens");
        let key = ring.scope(&Scope::parse("acme", "prod").expect("valid")).expect("there");
        let store = SqliteStore::open(server.data().join("tenants/acme/metadata.sqlite"), key).expect("opens");
        let document = store.list("row-rules").expect("readable").pop().expect("one");
        let mut body: Value = serde_json::from_slice(&document.body).expect("JSON");
        body["matter"]["rules"]["rules"][0]["values"] = json!(["Bern", "Turin"]);
        store.write("row-rules", &document.id, Some(document.version), body.to_string().as_bytes()).expect("written");
    }
    server.start();
    let reply = server.post("/v1/query", &etl, &ask(&["User.city"]));
    assert_eq!(reply.json()["code"], "store/refused", "{}", reply.text());
}

#[test]
fn attack_ch35_a_tag_is_lifted_by_two_and_flows_again_when_anything_changes() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let mut original = loud("lower");
    tags(&mut original, "city", json!(["pii"]));
    let etl = shop(&server, "acme", &original);
    let [vic, dev, ben] =
        people(&server, &provider, [("vic", "viewer"), ("dev", "developer"), ("ben", "security-lead")]);
    let dev_two = sign_in(&server, &provider, "dev-two");
    let seen = || {
        let answer = vic.post(&server, "/v1/query", &ask(&["User.shout", "User.city"])).ok();
        (answer["columns"][0]["values"][0].clone(), answer["columns"][1]["values"][0].clone())
    };
    let masked = (Value::Null, json!("Xxxxx"));
    assert_eq!(seen(), masked);
    let lift = |feature: &str, tag: &str| json!({"feature": feature, "tag": tag, "reason": "Cities of more than a million people only"});
    assert_eq!(dev.post(&server, LIFTED, &lift("User.city", "pii")).problem(422), "declassify/own-tag");
    assert_eq!(dev.post(&server, LIFTED, &lift("User.shout", "secret")).problem(404), "not-found/tag");
    assert_eq!(dev.post(&server, LIFTED, &lift("User.nothing", "pii")).problem(404), "not-found/tag");
    assert_eq!(vic.post(&server, LIFTED, &lift("User.shout", "pii")).problem(403), "access/denied");
    let proposed = dev.post(&server, LIFTED, &lift("User.shout", "pii")).ok();
    assert_eq!(proposed["sources"], json!(["User.city"]), "{proposed}");
    let approve = |who: &Someone, proposed: &Value| {
        who.post(&server, &format!("{LIFTED}/{}/approve", id(proposed)), &json!({"digest": proposed["digest"]}))
    };
    assert_eq!(approve(&dev, &proposed).problem(403), "access/denied");
    assign(&server, "dev", &json!({"roles": [], "tenant": "acme"}));
    assign(
        &server,
        "dev-two",
        &json!({"roles": ["security-lead"], "tenant": "acme", "same_human_as": "dev@example.com"}),
    );
    assert_eq!(approve(&dev_two, &proposed).problem(403), "access/own-proposal");
    assign(&server, "dev-two", &json!({"roles": [], "tenant": "acme"}));
    assign(&server, "dev", &json!({"roles": ["developer"], "tenant": "acme"}));
    let mut other = proposed.clone();
    other["digest"] = "00".into();
    assert_eq!(approve(&ben, &other).problem(409), "conflict/changed");
    assert_eq!(seen(), masked);
    approve(&ben, &proposed).ok();
    assert_eq!(seen(), (json!("turin"), json!("Xxxxx")), "the source keeps its tag");
    let explained = vic.get(&server, "/v1/access/explain?action=query&features=User.shout").ok();
    assert_eq!(explained["declassified"], json!([{"feature": "User.shout", "tag": "pii"}]), "{explained}");
    assert_eq!((&explained["features"][0]["level"], &explained["features"][0]["tags"]), (&json!("allow"), &json!([])));
    let catalogue = vic.get(&server, "/v1/catalogue").ok();
    assert!(catalogue.to_string().contains(r#""declassified":["pii"]"#), "{catalogue}");

    // Another definition, or another source, and it is over, for good.
    let mut changed = loud("upper");
    tags(&mut changed, "city", json!(["pii"]));
    let checked = server.post("/v1/check", &etl, &changed).ok();
    assert_eq!(checked["warnings"][0]["code"], "declassify/ended", "{checked}");
    assert_eq!(seen().0, "turin", "looking ends nothing");
    let deployed = server.post("/v1/deploy", &etl, &changed).ok();
    assert_eq!(deployed["warnings"][0]["code"], "declassify/ended", "{deployed}");
    assert_eq!(seen().0, Value::Null);
    server.post("/v1/deploy", &etl, &original).ok();
    assert_eq!(seen(), masked, "what was agreed on does not come back by itself");
    assert_eq!(dev.get(&server, LIFTED).ok()["declassifications"][0]["state"], "ended");
    assert_eq!(approve(&ben, &proposed).problem(409), "conflict/settled");
    let proposed = dev.post(&server, LIFTED, &lift("User.shout", "pii")).ok();
    approve(&ben, &proposed).ok();
    assert_eq!(seen().0, "turin");
    // The same definition, and the tag from somewhere else as well.
    let mut more = original.clone();
    more["graph"]["entities"][0]["tags"] = json!(["pii"]);
    server.post("/v1/deploy", &etl, &more).ok();
    assert_eq!(seen(), masked);
    server.post("/v1/deploy", &etl, &original).ok();
    assert_eq!(seen(), masked);
    // Taken back.
    let proposed = dev.post(&server, LIFTED, &lift("User.shout", "pii")).ok();
    approve(&ben, &proposed).ok();
    assert_eq!(seen().0, "turin");
    dev.post(&server, &format!("{LIFTED}/{}/withdraw", id(&proposed)), &json!({})).ok();
    assert_eq!(seen(), masked);
    // Proposed of a definition that is gone when it is approved.
    let proposed = dev.post(&server, LIFTED, &lift("User.shout", "pii")).ok();
    server.post("/v1/deploy", &etl, &changed).ok();
    assert_eq!(approve(&ben, &proposed).problem(409), "conflict/changed");
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    for entry in ["declassify.proposed", "declassify.approved", "declassify.ended", "proposal.refused"] {
        assert!(log.contains(entry), "{entry}");
    }
}

#[test]
fn attack_ch14_tokens_are_equal_for_equal_values_of_one_feature_and_tenant_and_of_nothing_else() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let mut bundle = loud("lower");
    for feature in ["city", "score"] {
        tags(&mut bundle, feature, json!(["pseudonymous"]));
    }
    let acme = shop(&server, "acme", &bundle);
    shop(&server, "globex", &bundle);
    let [dan, vic] = people(&server, &provider, [("dan", "data-scientist"), ("vic", "viewer")]);
    let outputs = ["User.city", "User.score", "User.shout"];
    let ask_of = |ids: &[i64]| json!({"inputs": {"User.id": ids}, "outputs": outputs});
    let tokens = |who: &Someone| who.post(&server, "/v1/query", &ask_of(&[7, 7, 8, 9])).ok();
    let own = tokens(&dan);
    for column in own["columns"].as_array().expect("columns") {
        let values: Vec<&str> = column["values"].as_array().expect("values").iter().filter_map(Value::as_str).collect();
        assert_eq!((values.len(), &column["type"]), (3, &json!("str")), "{column}");
        assert!(values.iter().all(|token| token.starts_with("tok1_") && token.len() == 27), "{values:?}");
        assert!(values[0] == values[1] && values[0] != values[2], "equal where the values are");
        assert_eq!(column["states"], json!({"3": "missing"}));
        assert!(column["ages_us"].is_null(), "when something was last seen says something about it");
    }
    let all = own["columns"].to_string(); // The instants beside them have seconds like `3.5`.
    for value in ["Turin", "Bern", "turin", "2.5", "3.5"] {
        assert!(!all.contains(value), "{value} in {all}");
    }
    assert_eq!(own["columns"][0]["values"], tokens(&dan)["columns"][0]["values"], "again and again");
    assert_ne!(own["columns"][0]["values"][0], own["columns"][2]["values"][0], "another feature, other tokens");
    // A viewer gets the form of texts and nothing of numbers; programs do their work.
    let seen = vic.post(&server, "/v1/query", &ask_of(&[7])).ok();
    assert_eq!(seen["columns"][0]["values"], json!(["Xxxxx"]), "{seen}");
    assert_eq!(seen["columns"][1]["states"], json!({"0": "denied"}));
    let program = server.post("/v1/query", &acme, &ask_of(&[7])).ok();
    assert_eq!(program["columns"][0]["values"], json!(["Turin"]));
    // Tokens of a training set join with those of a query.
    let table = spine(&[(7, "2025-03-05T00:00:00Z")]);
    let batch = dan.send_arrow(&server, "/v1/training-sets?features=User.city&as_of=at", &table).batch();
    let trained = batch.column_by_name("User.city").expect("asked for");
    let trained = arrow::array::AsArray::as_string::<i32>(trained).value(0).to_owned();
    assert_eq!(Some(trained.as_str()), own["columns"][0]["values"][0].as_str());
    // The same values of another tenant have other tokens.
    assign(&server, "dan", &json!({"roles": ["data-scientist"], "tenant": "globex"}));
    let dan = sign_in(&server, &provider, "dan");
    let theirs = tokens(&dan);
    for column in 0..3 {
        assert_ne!(own["columns"][column]["values"][0], theirs["columns"][column]["values"][0]);
    }
    let explained = dan.get(&server, "/v1/access/explain?action=query&features=User.city").ok();
    assert_eq!(explained["features"][0]["level"], "tokenised", "{explained}");
}

#[test]
fn attack_ci20_outside_development_no_role_is_given_for_good_without_a_need() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Staging);
    let mut key = crate::people::authenticator(&server, 1);
    crate::people::sign_in_with(&server, &provider, "ana", Some(&mut key));
    let admin = server.admin_token();
    let give = |body: &Value| server.post("/v1/persons/ana@example.com/assign", &admin, body);
    assert_eq!(give(&json!({"roles": ["auditor"]})).problem(403), "access/need");
    for talk in ["", "needed", "she needs access for work please", "test test test test test"] {
        assert_eq!(give(&json!({"roles": ["auditor"], "need": talk})).problem(403), "access/need", "{talk}");
    }
    let need = "Audits the handling of customers' addresses each quarter";
    let given = give(&json!({"roles": ["auditor"], "need": need})).ok();
    assert_eq!(given["needs"], json!({"auditor": need}));
    // A role that is kept keeps its need; one that is new has to say its own, and a role at another home is another.
    assert_eq!(give(&json!({"roles": ["auditor", "viewer"]})).problem(403), "access/need");
    give(&json!({"roles": ["auditor"]})).ok();
    server.tenant("acme");
    assert_eq!(give(&json!({"roles": ["auditor"], "tenant": "acme"})).problem(403), "access/need");
    let listed = server.get("/v1/persons", &admin).ok();
    assert_eq!(listed["persons"][0]["needs"], json!({"auditor": need}), "{listed}");
    let analysed = server.get("/v1/access/analysis", &admin).ok();
    assert_eq!(analysed["standing"][0]["need"], need, "{analysed}");
    give(&json!({"roles": []})).ok();
    assert_eq!(give(&json!({"roles": ["auditor"]})).problem(403), "access/need", "what was taken away is given anew");
}

#[test]
fn attack_ci20_a_deploy_that_takes_a_tag_away_waits_for_another_person() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Staging);
    server.tenant("acme");
    let programs = [("release", "deployer"), ("load", "ingester")];
    let [release, load] = crate::secrets::programs_by_two(&server, &provider, programs).map(|account| account.token);
    let mut masked = bundle();
    tags(&mut masked, "city", json!(["pii", "finance"]));
    server.post("/v1/deploy", &release, &masked).ok();
    server.post_arrow(INGEST, &load, &facts()).ok();
    let (mut of_vic, mut of_ben) = (authenticator(&server, 1), authenticator(&server, 2));
    let vic = sign_in_with(&server, &provider, "vic", Some(&mut of_vic));
    let ben = sign_in_with(&server, &provider, "ben", Some(&mut of_ben));
    assign(&server, "vic", &json!({"roles": ["viewer"], "tenant": "acme"}));
    assign(&server, "ben", &json!({"roles": ["security-lead"], "tenant": "acme"}));
    let seen = || vic.post(&server, "/v1/query", &ask(&["User.city"])).ok()["columns"][0]["values"][0].clone();
    assert_ne!(seen(), "Turin", "it is masked");

    // By itself, weaker, or under another name at the same time.
    let mut weaker = masked.clone();
    tags(&mut weaker, "city", json!(["pseudonymous", "finance"]));
    for candidate in [bundle(), weaker] {
        let refused = server.post("/v1/deploy", &release, &candidate);
        assert_eq!(refused.problem(403), "access/second-person");
        assert!(refused.text().contains("`User.city` loses `pii`"), "{}", refused.text());
        assert_ne!(seen(), "Turin");
    }
    // What takes nothing away is deployed as ever.
    let mut more = masked.clone();
    tags(&mut more, "city", json!(["pii", "finance", "eu"]));
    server.post("/v1/deploy", &release, &more).ok();
    server.post("/v1/deploy", &release, &bundle()).problem(403);

    let listed = ben.get(&server, "/v1/access/tag-removals").ok();
    let last = listed["removals"].as_array().expect("a list").last().expect("one").clone();
    assert_eq!(last["dropped"].as_array().map(Vec::len), Some(3), "{last}");
    let path = format!("/v1/access/tag-removals/{}/approve", id(&last));
    let approve = |who: &Someone, digest: &Value| who.post(&server, &path, &json!({"digest": digest}));
    assert_eq!(approve(&vic, &last["digest"]).problem(403), "access/denied");
    assert_eq!(server.post(&path, &release, &json!({"digest": last["digest"]})).problem(403), "access/denied");
    assert_eq!(approve(&ben, &json!("00")).problem(409), "conflict/changed");
    let asked = approve(&ben, &last["digest"]).ok();
    assert_eq!(server.post("/v1/deploy", &release, &bundle()).problem(403), "access/second-person", "not signed yet");
    let verify = asked["verify"].as_str().expect("where to sign");
    answer_prompt(&server, &mut of_ben, verify.split("prompt=").nth(1).expect("a prompt"), None).ok();
    // Exactly this project, once.
    let mut other = bundle();
    other["graph"]["project"] = json!("other");
    assert_eq!(server.post("/v1/deploy", &release, &other).problem(403), "access/second-person");
    server.post("/v1/deploy", &release, &bundle()).ok();
    assert_eq!(seen(), "Turin");
    server.post("/v1/deploy", &release, &more).ok();
    assert_eq!(server.post("/v1/deploy", &release, &bundle()).problem(403), "access/second-person", "it was used");
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    for entry in ["tags.removal-proposed", "tags.removal-approved", "tags.removal-ended", "deploy.refused"] {
        assert!(log.contains(entry), "{entry}: {log}");
    }
}
