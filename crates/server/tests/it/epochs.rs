//! Older copies of stores that are put back, and servers that are killed at work.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use creta_model::TenantId;
use creta_server::{ServeOptions, accept_older, start};
use serde_json::{Value, json};

use crate::support::{INGEST, Server, copy_folder, facts};

fn put_back(copy: &Path, place: &Path) {
    std::fs::remove_dir_all(place).expect("removed");
    copy_folder(copy, place);
}

fn ask(server: &Server, token: &str) -> crate::support::Reply {
    server.post("/v1/query", token, &json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]}))
}

fn anchored(server: &Server, tenant: Option<&str>) -> Vec<Value> {
    let page = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).ok();
    let entries = page["entries"].as_array().expect("a list").iter().map(|line| line["entry"].clone());
    entries.filter(|entry| entry["action"] == "store.epoch" && entry["tenant"].as_str() == tenant).collect()
}

#[test]
fn how_far_each_store_is_stands_in_the_log() {
    let server = Server::new();
    let developer = server.shop("acme");
    server.post_arrow(INGEST, &developer.token, &facts()).ok();
    server.running().keep_log().expect("kept");
    let newest = |tenant, store| {
        anchored(&server, tenant).into_iter().rfind(|entry| entry["details"]["store"] == store).expect("anchored")
    };
    let facts = newest(Some("acme"), "facts");
    assert_eq!(facts["details"]["position"], "1");
    assert!(facts["details"]["chain"].as_str().expect("text").starts_with("sha256:"));
    let position =
        |entry: Value| entry["details"]["position"].as_str().expect("text").parse::<u64>().expect("a number");
    assert!(position(newest(Some("acme"), "metadata")) >= 1, "the deploy");
    assert!(position(newest(None, "metadata")) >= 2, "a tenant and an account");

    let entries = anchored(&server, Some("acme")).len();
    server.running().keep_log().expect("kept");
    assert_eq!(anchored(&server, Some("acme")).len(), entries, "nothing changed, so nothing is said");
}

#[test]
fn attack_ci12_a_tenants_folder_of_yesterday_is_refused_until_somebody_answers_for_it() {
    let mut server = Server::new();
    let (acme, globex) = (server.shop("acme"), server.shop("globex"));
    for tenant in [&acme, &globex] {
        server.post_arrow(INGEST, &tenant.token, &facts()).ok();
    }
    server.stop();
    let backups = tempfile::tempdir().expect("a folder");
    let (place, yesterday) = (server.data().join("tenants/acme"), backups.path().join("acme"));
    copy_folder(&place, &yesterday);
    server.start();
    server.post_arrow(INGEST, &acme.token, &facts()).ok();
    server.stop();
    let today = backups.path().join("today");
    copy_folder(&place, &today);

    put_back(&yesterday, &place);
    server.start();
    let reply = ask(&server, &acme.token);
    assert_eq!(reply.problem(500), "store/older-copy");
    let text = reply.text();
    for part in ["`acme`", "tenants/acme/facts/truth", "older copy", "creta audit accept-older", "--tenant acme"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert_eq!(ask(&server, &globex.token).status, 200, "other tenants are not concerned");
    server.stop();
    // Half of it is no better.
    put_back(&today, &place);
    std::fs::copy(yesterday.join("metadata.sqlite"), place.join("metadata.sqlite")).expect("copied");
    server.start();
    assert_eq!(ask(&server, &acme.token).status, 200, "the documents did not change since");
    server.stop();
    put_back(&today, &place);
    put_back(&yesterday.join("facts"), &place.join("facts"));
    server.start();
    // The values derived from today's facts notice that by themselves.
    assert_eq!(ask(&server, &acme.token).problem(500), "store/refused");
    server.stop();
    // No folder at all is the oldest copy.
    std::fs::remove_dir_all(&place).expect("removed");
    server.start();
    assert_eq!(ask(&server, &acme.token).problem(500), "store/older-copy");
    server.stop();

    std::fs::remove_dir_all(&place).expect("removed");
    copy_folder(&today, &place);
    server.start();
    assert_eq!(ask(&server, &acme.token).status, 200, "the newest copy is taken");
    server.stop();

    put_back(&yesterday, &place);
    let tenant = TenantId::parse("acme").expect("valid");
    accept_older(&server.data(), Some(&tenant), " ").expect_err("a reason is needed");
    accept_older(&server.data(), Some(&tenant), "the disk was lost").expect("accepted");
    server.start();
    assert_eq!(ask(&server, &acme.token).status, 200);
    let page = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(page.contains("store.older-accepted") && !page.contains("the disk was lost"), "{page}");
    // What was accepted is what counts from now on.
    server.post_arrow(INGEST, &acme.token, &facts()).ok();
    server.stop();
    put_back(&yesterday, &place);
    server.start();
    assert_eq!(ask(&server, &acme.token).problem(500), "store/older-copy");
}

#[test]
fn attack_ci12_yesterdays_documents_of_the_control_plane_are_refused() {
    let mut server = Server::new();
    let revoked = server.shop("acme");
    server.stop();
    let backups = tempfile::tempdir().expect("a folder");
    let (place, yesterday) = (server.data().join("metadata.sqlite"), backups.path().join("metadata.sqlite"));
    std::fs::copy(&place, &yesterday).expect("copied");
    server.start();
    let path = format!("/v1/service-accounts/{}/revoke", revoked.client_id);
    server.send("POST", &path, Some(&server.admin_token()), None).ok();
    server.stop();

    std::fs::copy(&yesterday, &place).expect("copied");
    let serve = ServeOptions { folder: server.data(), listen: None };
    let Err(error) = start(&serve) else { panic!("a revoked account came back") };
    let problem = error.to_problem();
    assert_eq!(problem.code, "store/older-copy");
    let text = problem.to_string();
    assert!(
        text.contains("control plane") && text.contains("metadata.sqlite") && text.contains("accept-older"),
        "{text}"
    );
    accept_older(&server.data(), None, "the disk was lost").expect("accepted");
    server.start();
    assert_eq!(server.ask_token(&revoked.client_id, &revoked.secret).status, 401, "what was revoked since stays so");
    server.get("/v1/tenants", &server.admin_token()).ok();
}

#[test]
fn a_log_that_was_taken_away_is_not_begun_again() {
    let mut server = Server::new();
    server.stop();
    std::fs::remove_dir_all(server.data().join("prod/control-plane/audit")).expect("removed");
    let Err(error) = start(&ServeOptions { folder: server.data(), listen: None }) else { panic!("it started") };
    assert_eq!(error.to_problem().code, "audit/gone");
}

/// What a server does here before it is killed: facts come in, and epochs are anchored all the time.
fn work(folder: &Path, rounds: usize, mut each: impl FnMut(usize)) {
    let server = Server::at(folder);
    let developer = server.shop("acme");
    for round in 0..rounds {
        server.post_arrow(INGEST, &developer.token, &facts()).ok();
        server.running().keep_log().expect("kept");
        each(round);
    }
}

/// Names the folder for the process that is to be killed.
const CHILD: &str = "CRETA_TEST_KILLED_SERVER";

#[test]
fn a_server_at_work_anchors_epochs_as_it_goes() {
    if let Some(folder) = std::env::var_os(CHILD) {
        use std::io::Write as _;
        work(Path::new(&folder), usize::MAX, |round| {
            let mut out = std::io::stdout();
            writeln!(out, "round {round}").and_then(|()| out.flush()).expect("the parent reads");
        });
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut rounds = 0;
    work(folder.path(), 3, |_| rounds += 1);
    let server = Server::at(folder.path());
    let positions = anchored(&server, Some("acme"));
    let positions: Vec<_> = positions.iter().filter(|entry| entry["details"]["store"] == "facts").collect();
    assert!(positions.len() >= rounds, "{positions:?}");
}

#[test]
fn a_server_that_is_killed_at_work_opens_again_with_all_its_tenants() {
    for rounds in [1, 4, 7] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "epochs::a_server_at_work_anchors_epochs_as_it_goes", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let said = lines.map(|line| line.expect("text")).filter(|line| line.starts_with("round")).take(rounds).count();
        // Wherever it is by now: in the middle of a load, of an anchor or of a checkpoint.
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert_eq!(said, rounds, "the server worked until it was killed");

        let server = Server::at(folder.path());
        let developer = server.account("acme", "after", "developer");
        let found = ask(&server, &developer.token).ok();
        assert_eq!(found["columns"][0]["values"], json!(["Turin"]), "after {rounds} rounds");
        assert!(!anchored(&server, Some("acme")).is_empty());
    }
}
