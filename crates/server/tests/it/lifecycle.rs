//! Making, starting and stopping.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use creta_model::Environment;
use creta_server::{InitOptions, ServeOptions, ServerError, init, start};
use serde_json::json;

use crate::support::{INGEST, Server, Slow, facts};

#[test]
fn init_does_not_overwrite_and_says_what_is_there() {
    let mut server = Server::new();
    server.stop();
    let before = std::fs::read(&server.report.root_key).expect("a key");
    let error = init(&server.data(), &Environment::parse("staging").expect("valid"), &InitOptions::default());
    let error = error.expect_err("refused");
    assert!(matches!(error, ServerError::AlreadyThere { .. }));
    let problem = error.to_problem();
    assert_eq!(problem.code, "server/already-there");
    assert!(problem.message.contains("`config.toml`") && problem.message.contains("`root.key`"), "{problem}");
    assert_eq!(std::fs::read(&server.report.root_key).expect("a key"), before);
    server.start();
}

#[test]
fn what_init_makes_is_for_its_owner_only() {
    let server = Server::new();
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&server.data()), 0o700);
    for file in ["root.key", "admin.json", "config.toml", "metadata.sqlite"] {
        assert_eq!(mode(&server.data().join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_root_key_may_live_elsewhere_and_nothing_starts_without_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, root_key) = (folder.path().join("data"), folder.path().join("kept.key"));
    let options = InitOptions {
        listen: "127.0.0.1:0".parse().expect("valid"),
        root_key: Some(root_key.clone()),
        ..InitOptions::default()
    };
    let environment = Environment::parse("prod").expect("valid");
    init(&data, &environment, &options).expect("made");
    assert!(!data.join("root.key").exists());
    let serve = ServeOptions { folder: data, listen: None };
    start(&serve).expect("starts").stop().expect("stops");
    std::fs::remove_file(&root_key).expect("removed");
    let Err(error) = start(&serve) else { panic!("started without its root key") };
    assert_eq!(error.to_problem().code, "server/root-key");
}

#[test]
fn one_folder_has_one_server() {
    let server = Server::new();
    let Err(error) = start(&ServeOptions { folder: server.data(), listen: None }) else { panic!("started twice") };
    assert!(matches!(error, ServerError::InUse { .. }), "{error}");
    let empty = tempfile::tempdir().expect("a folder");
    let Err(error) = start(&ServeOptions { folder: empty.path().to_owned(), listen: None }) else { panic!("started") };
    assert!(matches!(error, ServerError::NotADataFolder { .. }), "{error}");
}

#[test]
fn facts_definitions_and_the_log_outlive_a_restart() {
    let mut server = Server::new();
    let developer = server.shop("acme");
    server.post_arrow(INGEST, &developer.token, &facts()).ok();
    let entries =
        |server: &Server| server.get("/v1/audit/entries?limit=1", &server.admin_token()).ok()["size"].as_u64();
    let before = entries(&server).expect("a size");
    server.stop();
    server.start();
    let question = json!({"inputs": {"User.id": [7]}, "outputs": ["User.city"]});
    assert_eq!(server.post("/v1/query", &developer.token, &question).ok()["columns"][0]["values"], json!(["Turin"]));
    assert!(entries(&server).expect("a size") > before);
    let report = server.send("POST", "/v1/audit/verify", Some(&server.admin_token()), None).ok();
    assert_eq!(report["verified"], true);
    let page = server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text();
    assert!(page.contains("server.stop"));
}

#[test]
fn a_server_at_work_moves_a_long_log_into_segments() {
    let server = Server::new();
    let developer = server.shop("acme");
    let city = "x".repeat(1 << 20);
    let rows = 66;
    let large = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef),
        ("seen", Arc::new(TimestampMicrosecondArray::from_iter_values(0..rows).with_timezone("UTC"))),
        ("city", Arc::new(StringArray::from_iter_values((0..rows).map(|_| &city)))),
        ("score", Arc::new(Float64Array::from_iter_values((0..rows).map(|n| n as f64)))),
    ]);
    server.post_arrow(INGEST, &developer.token, &large.expect("columns of one length")).ok();
    let truth = server.data().join("tenants/acme/facts/truth");
    let count = |folder: &str| std::fs::read_dir(truth.join(folder)).map_or(0, Iterator::count);
    let log_bytes = || -> u64 {
        let files = std::fs::read_dir(truth.join("log")).expect("there").flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while count("segment") == 0 || log_bytes() > 1 << 20 {
        assert!(Instant::now() < deadline, "the log of 66 MiB is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    let question = json!({"inputs": {"User.id": [65]}, "outputs": ["User.score"]});
    assert_eq!(server.post("/v1/query", &developer.token, &question).ok()["columns"][0]["values"], json!([65.0]));
}

#[test]
fn requests_at_work_are_finished_before_a_server_stops() {
    let mut server = Server::new();
    let developer = server.shop("acme");
    let (url, address) = (format!("{}/v1/facts", server.running().url()), server.running().address());
    let agent = crate::support::agent(&server.report.ca);
    let body = json!({
        "load": {"entity": "User", "event_time": {"constant": "2025-03-01T12:00:00Z"}, "arrival": {"delay": "0s"}},
        "rows": [{"id": 7, "city": "Lyon", "score": 1.5}],
    });
    let (started, has_started) = channel();
    let (go_on, may_go_on) = channel();
    let body = Slow { padding: 3 << 20, end: Some(body.to_string().into_bytes()), started, go_on: may_go_on };
    let token = developer.token.clone();
    let sending = std::thread::spawn(move || {
        let request = agent.post(&url).header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", crate::support::JSON);
        request.send(ureq::SendBody::from_owned_reader(body)).map(|reply| reply.status().as_u16())
    });
    has_started.recv().expect("most of the body is sent");
    server.wait_for("light", 2);
    let stopping = std::thread::spawn(move || {
        server.stop();
        server
    });
    while TcpStream::connect(address).is_ok() {} // Until no connection is taken any more.
    go_on.send(()).expect("the body waits");
    assert_eq!(sending.join().expect("no panic").expect("answered"), 200);
    let mut server = stopping.join().expect("no panic");
    server.start();
    assert_eq!(server.get("/v1/status", &developer.token).ok()["facts"]["User"], 1);
}
