//! What was taken away does not come back with an older copy of the control plane's documents.

use creta_audit::{Event, Log};
use creta_identity::dpop::Prover;
use creta_model::EnvironmentClass;
use creta_server::{AskedRecovery, ServeOptions, accept_older, start};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::devices::{Laptop, key, standard};
use crate::people::{Someone, assign, prover, sign_in, sign_in_holding};
use crate::provider::Provider;
use crate::provisioning::{group, make, provisioner, user};
use crate::recovery::{World, refused, sign};
use crate::support::Server;

const REASON: &str = "The disk of the control plane was lost in the night";

/// The documents of the control plane as they are now, put back after `meanwhile`, as an operator in development accepts it.
fn put_back(server: &mut Server, meanwhile: impl FnOnce(&mut Server)) {
    let folder = tempfile::tempdir().expect("a folder");
    let (documents, kept) = (server.data().join("metadata.sqlite"), folder.path().join("metadata.sqlite"));
    server.stop();
    std::fs::copy(&documents, &kept).expect("copied");
    server.start();
    meanwhile(server);
    server.stop();
    std::fs::copy(&kept, &documents).expect("put back");
    for beside in ["metadata.sqlite-wal", "metadata.sqlite-shm"] {
        let _ = std::fs::remove_file(server.data().join(beside)); // Where there is one.
    }
    let error = start(&ServeOptions { folder: server.data(), listen: None }).err().expect("older").to_problem();
    assert_eq!(error.code, "store/older-copy");
    accept_older(&server.data(), None, REASON).expect("accepted");
    server.start();
}

fn log(server: &Server) -> Vec<Value> {
    let log = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).json();
    log["entries"].as_array().expect("a list").iter().map(|entry| entry["entry"].clone()).collect()
}

fn ended(server: &Server) -> Vec<Value> {
    let all = log(server).into_iter();
    all.filter(|entry| entry["action"] == "restore.access-ended").map(|entry| entry["details"].clone()).collect()
}

/// The grant that an approved request becomes.
fn approved(server: &Server, (who, by): (&Someone, &Someone), role: &str) -> String {
    let reason = format!("Look into what a {role} sees of last night's load of payments");
    let asked = json!({"role": role, "reason": reason, "ticket": "OPS-1234", "hours": 2});
    let request = who.post(server, "/v1/access/requests", &asked).json();
    let id = request["request"].as_str().unwrap_or_else(|| panic!("{request}")).to_owned();
    let approve = json!({"verdict": "approve", "digest": request["digest"]});
    by.post(server, &format!("/v1/access/requests/{id}/decide"), &approve).ok();
    id
}

#[test]
fn attack_ch33_sessions_and_grants_that_were_taken_away_do_not_come_back_with_older_documents() {
    let provider = Provider::start();
    let mut server = Server::configured(EnvironmentClass::Development, &format!("{}{}", provider.config(), standard()));
    server.shop("acme");
    let (ana, ben) = (sign_in(&server, &provider, "ana"), sign_in(&server, &provider, "ben"));
    assign(&server, "ana", &json!({"roles": [], "tenant": "acme"}));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    let page = Browser::open(&server, &provider, "ben");
    let begun = approved(&server, (&ana, &ben), "developer");
    let grant = ana.post(&server, &format!("/v1/access/requests/{begun}/activate"), &json!({})).ok();
    let waiting = approved(&server, (&ana, &ben), "data-scientist");
    ana.get(&server, "/v1/catalogue").ok();
    put_back(&mut server, |server| {
        // Taken away: the grant, the request that waited, Ana's session, and the pages.
        let grant = grant["grant"].as_str().expect("an id");
        ben.post(server, &format!("/v1/access/grants/{grant}/revoke"), &json!({})).ok();
        ana.post(server, &format!("/v1/access/requests/{waiting}/withdraw"), &json!({})).ok();
        let session = ana.opened["session"].as_str().expect("an id");
        ana.post(server, &format!("/v1/sessions/{session}/revoke"), &json!({})).ok();
    });
    assert_eq!(ana.get(&server, "/v1/me").problem(401), "auth/bad-token");
    assert_eq!(ana.renew(&server, &ana.prover).problem(401), "auth/session-over");
    assert_eq!(ben.get(&server, "/v1/me").problem(401), "auth/bad-token", "whichever: the documents know no better");
    assert_eq!(crate::browser::refused(&page.get(&server, "/view"), 401), "auth/session-over");
    let ana = sign_in(&server, &provider, "ana");
    assert_eq!(ana.get(&server, "/v1/catalogue").problem(403), "access/denied");
    let grants = ana.get(&server, "/v1/access/grants").ok();
    assert_eq!(grants["grants"][0]["holds"], false, "{grants}");
    for id in [&begun, &waiting] {
        let again = ana.post(&server, &format!("/v1/access/requests/{id}/activate"), &json!({}));
        assert_eq!(again.problem(403), "access/not-open");
    }
    let told = ended(&server);
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["grants"], &told[0]["requests"]), (&json!("1"), &json!("1")), "{told:?}");
    assert!(told[0]["sessions"].as_str().is_some_and(|sessions| sessions != "0"), "{told:?}");

    // Only the first start ends anything.
    server.stop();
    server.start();
    ana.get(&server, "/v1/me").ok();
    assert_eq!(ended(&server).len(), 1);
}

#[test]
fn attack_ch33_people_devices_and_programs_that_were_put_out_stay_out_under_older_documents() {
    let provider = Provider::start();
    let mut server = Server::configured(EnvironmentClass::Development, &format!("{}{}", provider.config(), standard()));
    let etl = server.shop("acme");
    let [gone, rotated, kept] = ["gone", "rotated", "kept"].map(|name| server.account("acme", name, "reader"));
    let people = ["ana", "eve", "zoe", "kim"];
    people.iter().for_each(|who| drop(sign_in(&server, &provider, who)));
    for who in people {
        assign(&server, who, &json!({"roles": ["developer"], "tenant": "acme"}));
    }
    let lost = Laptop::ready(&server, &provider, "ana", 7).id();
    let own = Laptop::ready(&server, &provider, "kim", 8).id();
    let mut secret = String::new();
    put_back(&mut server, |server| {
        let admin = server.admin_token();
        let post = |path: &str, body: &Value| server.post(path, &admin, body).ok();
        post("/v1/persons/eve@example.com/leave", &json!({}));
        assign(server, "zoe", &json!({"roles": ["viewer"], "tenant": "acme"}));
        let ana = sign_in(server, &provider, "ana");
        ana.post(server, &format!("/v1/devices/{}/revoke", lost.as_str()), &json!({})).ok();
        post(&format!("/v1/service-accounts/{}/revoke", gone.client_id), &json!({}));
        let path = format!("/v1/service-accounts/{}/rotate", rotated.client_id);
        let new = post(&path, &json!({"overlap_hours": 0}));
        secret = new["client_secret"].as_str().expect("a secret").to_owned();
    });
    // Who left is gone; who had less has nothing until somebody gives it; who kept everything does.
    let refused = crate::people::browse_through(&server, &provider, "eve", lost.as_str(), "v");
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("ended when its person left"), "{}", refused.text());
    let zoe = sign_in(&server, &provider, "zoe");
    assert_eq!(zoe.get(&server, "/v1/catalogue").problem(403), "access/denied");
    assert_eq!(zoe.get(&server, "/v1/me").ok()["person"]["roles"], json!([]));
    sign_in(&server, &provider, "kim").get(&server, "/v1/catalogue").ok();
    // The stolen computer's key opens nothing; another one is as good as it was.
    let devices = |who: &str| sign_in(&server, &provider, who).get(&server, "/v1/devices").ok()["devices"][0].clone();
    let of_ana = devices("ana");
    assert!(of_ana["revoked"].is_string(), "{of_ana}");
    let on_it = sign_in_holding(&server, &provider, "ana", Prover::new(key(7)), None);
    assert_eq!(on_it.get(&server, "/v1/me").ok()["device"], "none");
    let of_kim = devices("kim");
    assert!(of_kim["revoked"].is_null() && of_kim["device"] == own.as_str(), "{of_kim}");
    // Old secrets get no token, the new one neither; a program that nobody touched goes on.
    for (account, secret) in [(&gone, &gone.secret), (&rotated, &rotated.secret), (&rotated, &secret)] {
        assert_eq!(server.ask_token(&account.client_id, secret).status, 401, "{}", account.client_id);
    }
    server.token(&kept.client_id, &kept.secret);
    server.token(&etl.client_id, &etl.secret);
    let told = ended(&server);
    let count = |name: &str| told[0][name].as_str().expect("a count").to_owned();
    assert_eq!([count("people"), count("devices"), count("programs")], ["2", "1", "2"], "{told:?}");
}

/// Older releases wrote entries that do not say about whom they are.
#[test]
fn attack_ch33_what_the_log_names_nobody_for_counts_for_everybody_under_older_documents() {
    let provider = Provider::start();
    let mut server = Server::configured(EnvironmentClass::Development, &format!("{}{}", provider.config(), standard()));
    let etl = server.shop("acme");
    ["ana", "ana-two", "ben"].iter().for_each(|who| drop(sign_in(&server, &provider, who)));
    assign(&server, "ana", &json!({"roles": ["viewer"], "tenant": "acme"}));
    assign(&server, "ben", &json!({"roles": ["security-lead"]}));
    put_back(&mut server, |server| {
        assign(server, "ana-two", &json!({"roles": [], "same_human_as": "ana@example.com"}));
        server.stop();
        let (platform, key, environment) = crate::unproven::opened(server);
        let log = Log::open(&platform, key, environment.clone()).expect("opens");
        for action in ["person.left", "service-account.rotated"] {
            let place = creta_iam::Place::Environment(environment.clone());
            log.record(Event::new(action, place)).expect("recorded");
        }
        log.close().expect("closed");
        drop(log);
        server.start();
    });
    // Nobody has a role, and no program a secret: whoever left, and whichever was rotated, may be any of them.
    for who in ["ana", "ben"] {
        let me = sign_in(&server, &provider, who).get(&server, "/v1/me").ok();
        assert_eq!(me["person"]["roles"], json!([]), "{me}");
    }
    assert_eq!(server.ask_token(&etl.client_id, &etl.secret).status, 401);
    // Two accounts that are known to be one human's decide nothing for each other.
    assign(&server, "ana-two", &json!({"roles": ["security-lead"]}));
    assign(&server, "ana", &json!({"roles": []}));
    let (ana, two) = (sign_in(&server, &provider, "ana"), sign_in(&server, &provider, "ana-two"));
    let request = ana.request(&server, "viewer", 1).ok();
    let path = format!("/v1/access/requests/{}/decide", request["request"].as_str().expect("an id"));
    let approve = json!({"verdict": "approve", "digest": request["digest"]});
    assert_eq!(two.post(&server, &path, &approve).problem(403), "access/same-person");
}

#[test]
fn attack_ch33_whom_the_directory_put_out_is_not_let_in_by_older_documents() {
    let provider = Provider::start();
    let groups = "[sign_in.groups]\nmakers = { role = \"developer\", tenant = \"acme\", need = \"Makes features of the shop and mends those that broke\" }\n";
    let mut server = Server::configured(EnvironmentClass::Development, &format!("{}{groups}", provider.config()));
    server.shop("acme");
    let directory = provisioner(&server);
    let [ana, eve, zoe] = ["ana", "eve", "zoe"].map(|who| make(&server, &directory.token, "/Users", &user(who)));
    let makers = make(&server, &directory.token, "/Groups", &group("makers", &[&ana, &eve, &zoe]));
    sign_in(&server, &provider, "eve").get(&server, "/v1/catalogue").ok();
    put_back(&mut server, |server| {
        let token = server.token(&directory.client_id, &directory.secret);
        let send = |method: &str, path: &str, body: &Value| {
            let path = format!("/scim/v2{path}");
            let reply =
                server.send(method, &path, Some(&token), Some(("application/scim+json", body.to_string().as_bytes())));
            assert!(reply.status < 300, "{method} {path}: {}", reply.text());
        };
        let patch = |operation: Value| json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]});
        send("PATCH", &format!("/Users/{eve}"), &patch(json!({"op": "replace", "path": "active", "value": false})));
        let out = patch(json!({"op": "remove", "path": format!("members[value eq \"{zoe}\"]")}));
        send("PATCH", &format!("/Groups/{makers}"), &out);
    });
    let refused = crate::people::browse_through(&server, &provider, "eve", prover().thumbprint().as_str(), "v");
    assert_ne!(refused.status, 303, "{}", refused.text());
    let zoe = sign_in(&server, &provider, "zoe");
    assert_eq!(zoe.get(&server, "/v1/catalogue").problem(403), "access/denied");
    sign_in(&server, &provider, "ana").get(&server, "/v1/catalogue").ok();
    // It stays so over another start, which makes everybody what the directory says.
    server.stop();
    server.start();
    let zoe = sign_in(&server, &provider, "zoe");
    assert_eq!(zoe.get(&server, "/v1/catalogue").problem(403), "access/denied");
}

#[test]
fn attack_ch35_the_recovery_key_of_somebody_who_left_counts_under_no_older_documents() {
    let mut world = World::new();
    let (of_ana, of_ben) = (world.key(&world.ana), world.key(&world.ben));
    let copy = world.back_up("copy");
    world.ana.post(&world.server, "/v1/persons/ben@example.com/leave", &json!({})).ok();
    world.server.stop();
    // The documents that would be put in place say that Ben is here and that his key is good.
    let statement = world.draw(&AskedRecovery::Restore { copy: copy.clone(), tenant: None });
    let approvals = [sign(&statement, "ana", &of_ana), sign(&statement, "ben", &of_ben)];
    let refusal = refused(world.recover(&statement, &approvals, Some(&copy)));
    assert!(refusal.contains("has not registered this recovery key, or it has ended"), "{refusal}");
    world.server.start();
    assert_eq!(world.ana.get(&world.server, "/v1/recovery/keys").ok()["people"], 1, "everything is as it was");
}
