//! Grants and the log: each stage is an entry, nothing happens without one, and what is kept is held against it.

use std::path::Path;
use std::process::Command;

use creta_audit::{Hash, verify};
use creta_keys::{KeyRing, RootKey};
use creta_model::{Environment, EnvironmentClass};
use creta_platform::Platform;
use creta_store::{MetadataStore as _, SqliteStore};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::people::{Someone, assign, server, sign_in};
use crate::provider::Provider;
use crate::support::{Reply, Server};

/// A request for a role, each with a reason of its own.
fn ask(server: &Server, ana: &Someone, role: &str) -> Reply {
    let reason = match role {
        "developer" => "Deploy the corrected score of merchants for the risk team",
        "viewer" => "Compare the catalogue with yesterday's list of sources by hand",
        "auditor" => "Read through the entries of the night in which loads failed",
        _ => "Build a training set for the quarterly evaluation of fraud models",
    };
    ana.post(server, "/v1/access/requests", &json!({"role": role, "ticket": "OPS-1", "hours": 1, "reason": reason}))
}

/// Somebody of a tenant asks for a role, and somebody else approves it: the request's path.
fn approved(server: &Server, ana: &Someone, ben: &Someone, role: &str) -> String {
    let request = ask(server, ana, role);
    assert_eq!(request.status, 201, "{}", request.text());
    let request = request.json();
    let path = format!("/v1/access/requests/{}", request["request"].as_str().expect("an id"));
    ben.post(server, &format!("{path}/decide"), &json!({"verdict": "approve", "digest": request["digest"]})).ok();
    path
}

fn people(server: &Server, provider: &Provider) -> [Someone; 2] {
    let both = ["ana", "ben"].map(|who| sign_in(server, provider, who));
    assign(server, "ana", &json!({"roles": [], "tenant": "acme"}));
    assign(server, "ben", &json!({"roles": ["security-lead"]}));
    both
}

fn entries(server: &Server) -> Vec<Value> {
    let page = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).ok();
    page["entries"].as_array().expect("a list").clone()
}

#[test]
fn each_stage_of_a_grant_is_an_entry_with_a_proof_and_the_tenant_reads_its_use() {
    let provider = Provider::start();
    let server = server(&provider, EnvironmentClass::Development);
    let etl = server.shop("acme");
    let [ana, ben] = people(&server, &provider);
    let path = approved(&server, &ana, &ben, "developer");
    let grant = ana.post(&server, &format!("{path}/activate"), &json!({})).ok();
    let id = grant["grant"].as_str().expect("an id");
    ana.post(&server, "/v1/deploy", &crate::support::bundle()).ok();
    ana.post(&server, &format!("/v1/access/grants/{id}/return"), &json!({})).ok();
    let ran = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["access-grants"]})).ok();
    assert!(ran.to_string().contains("pass") && !ran.to_string().contains("access/grant-"), "{ran}");

    let all = entries(&server);
    let request = path.rsplit('/').next().expect("an id");
    let of = |action: &str, detail: &str, value: &str| {
        let found =
            all.iter().find(|line| line["entry"]["action"] == action && line["entry"]["details"][detail] == value);
        found.unwrap_or_else(|| panic!("{action} of {value} is in {all:?}"))["index"].as_u64().expect("an index")
    };
    let stages = [
        of("access.request.opened", "request", request),
        of("access.request.approved", "request", request),
        of("access.grant.activated", "grant", id),
        of("deploy", "grant", id),
        of("access.grant.returned", "grant", id),
    ];
    assert!(stages.is_sorted(), "in the order in which it went: {stages:?}");
    for index in stages {
        let proof = server.get(&format!("/v1/audit/proof/inclusion?index={index}"), &server.admin_token()).ok();
        let text = |name: &str| proof[name].as_str().expect("text");
        let newest = verify::verify_checkpoint(text("checkpoint"), &server.report.audit_verifier_key).expect("signed");
        let hashes = proof["proof"].as_array().expect("a list").iter();
        let hashes: Vec<Hash> =
            hashes.map(|hash| Hash::from_base64(hash.as_str().expect("text")).expect("a hash")).collect();
        verify::verify_inclusion(text("entry").as_bytes(), index, newest.size, &hashes, &newest.root)
            .expect("in the log");
    }
    let seen = server.get("/v1/audit/access?limit=1000", &etl.token).ok();
    let seen: Vec<u64> =
        seen["accesses"].as_array().expect("a list").iter().filter_map(|access| access["index"].as_u64()).collect();
    assert!(stages.iter().all(|index| seen.contains(index)), "the tenant reads all of it: {stages:?} in {seen:?}");
}

/// Names the folder for the process whose disk fills up.
const CHILD: &str = "CRETA_TEST_FULL_DISK";

/// A server on whose disk nothing fits any more: no file may grow, which the log notices first.
fn on_a_full_disk(folder: &Path) {
    let provider = Provider::start();
    let mut server = Server::at(folder);
    server.stop();
    let config = server.data().join("config.toml");
    let text = std::fs::read_to_string(&config).expect("written");
    std::fs::write(&config, format!("{text}\n{}", provider.config())).expect("written");
    server.start();
    let etl = server.shop("acme");
    let [ana, ben] = people(&server, &provider);
    let held = approved(&server, &ana, &ben, "developer");
    ana.post(&server, &format!("{held}/activate"), &json!({})).ok();
    let waiting = approved(&server, &ana, &ben, "viewer");
    let open = ask(&server, &ana, "data-scientist").json();

    let mut limit = getrlimit(Resource::Fsize);
    limit.current = Some(1);
    setrlimit(Resource::Fsize, limit).expect("smaller");
    let unavailable = |what: &str, reply: Reply| {
        assert_eq!(reply.problem(503), "audit/unavailable", "{what}");
    };
    let decide = format!("/v1/access/requests/{}/decide", open["request"].as_str().expect("an id"));
    unavailable("asked", ask(&server, &ana, "auditor"));
    unavailable("approved", ben.post(&server, &decide, &json!({"verdict": "approve", "digest": open["digest"]})));
    unavailable("begun", ana.post(&server, &format!("{waiting}/activate"), &json!({})));
    unavailable("used", ana.post(&server, "/v1/deploy", &crate::support::bundle()));
    unavailable("by a program", server.post("/v1/deploy", &etl.token, &crate::support::bundle()));
    // As if it were killed now: nothing is written any more.
    std::process::exit(0);
}

#[test]
fn attack_ch43_without_a_log_nothing_is_granted_begun_or_used() {
    if let Some(folder) = std::env::var_os(CHILD) {
        on_a_full_disk(Path::new(&folder));
    }
    let folder = tempfile::tempdir().expect("a folder");
    // Whoever writes beyond the limit is killed unless they ask not to be; then the write fails, as on a full disk.
    let child = Command::new("/bin/sh")
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", "grants::attack_ch43_without_a_log_nothing_is_granted_begun_or_used", "--nocapture"])
        .env(CHILD, folder.path())
        .output()
        .expect("started");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    // What was refused did not happen either.
    let server = Server::at(folder.path());
    let all = entries(&server);
    let count = |action: &str| all.iter().filter(|line| line["entry"]["action"] == action).count();
    assert_eq!((count("access.request.opened"), count("access.request.approved")), (3, 2), "{all:?}");
    assert_eq!((count("access.grant.activated"), count("deploy.done")), (1, 1));
    let ran = server.post("/v1/trust/run", &server.admin_token(), &json!({"checks": ["access-grants"]})).ok();
    assert!(!ran.to_string().contains("access/grant-"), "{ran}");
}

/// What somebody with the root key can do to a server that stands still.
fn with_documents(server: &Server, act: impl FnOnce(&SqliteStore)) {
    let environment = Environment::parse("prod").expect("valid");
    let root = RootKey::load_file(&server.report.root_key, &environment).expect("there");
    let platform = Platform::system(server.data()).expect("there");
    let ring = KeyRing::open(root, environment.clone(), platform).expect("opens");
    let key = ring.scope(&creta_iam::control_plane(&environment)).expect("there");
    act(&SqliteStore::open(server.data().join("metadata.sqlite"), key).expect("opens"));
}

#[test]
fn attack_ch43_a_grant_that_is_put_beside_the_log_is_found() {
    let provider = Provider::start();
    let mut server = server(&provider, EnvironmentClass::Development);
    server.shop("acme");
    let [ana, ben] = people(&server, &provider);
    let path = approved(&server, &ana, &ben, "developer");
    ana.post(&server, &format!("{path}/activate"), &json!({})).ok();
    let run = |server: &Server| {
        let body = json!({"checks": ["access-grants"]});
        server.post("/v1/trust/run", &server.admin_token(), &body).ok().to_string()
    };
    assert!(!run(&server).contains("access/grant-"), "{}", run(&server));
    server.stop();
    // Somebody with the root key copies a grant under another name.
    let forged = "0123456789abcdef0123456789abcdef";
    with_documents(&server, |store| {
        let document = store.list("access-grant").expect("readable").pop().expect("one");
        let body = String::from_utf8(document.body).expect("JSON").replace(&document.id, forged);
        store.write("access-grant", forged, None, body.as_bytes()).expect("written");
    });
    server.start();
    let ran = run(&server);
    assert!(ran.contains("access/grant-unrecorded") && ran.contains("that it began"), "{ran}");
    // And one that is taken away.
    server.stop();
    with_documents(&server, |store| {
        for document in store.list("access-grant").expect("readable") {
            store.delete("access-grant", &document.id, document.version).expect("deleted");
        }
    });
    server.start();
    let ran = run(&server);
    assert!(ran.contains("access/grant-unkept"), "{ran}");
}
