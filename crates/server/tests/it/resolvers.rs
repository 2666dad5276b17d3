//! A project with a Python resolver, run by the real worker of the Python package.

use std::path::{Path, PathBuf};
use std::process::Command;

use creta_server::WorkerConfig;
use serde_json::json;

use crate::support::{INGEST, Server, bundle, facts};

const MODULE: &str = r#"
from datetime import datetime
from typing import Annotated

from creta import Feature, entity, event_time, feature, key, resolver


@entity
class User:
    id: Feature[int] = key()
    seen: Feature[datetime] = event_time()
    city: Feature[str] = feature()
    score: Feature[float] = feature()
    shout: Feature[str] = feature()


@resolver
def shout(city: Annotated[str, User.city]) -> Annotated[str, User.shout]:
    if city == "Bern":
        raise ValueError(f"no shouting in {city}")
    return city.upper() + "!"
"#;

/// An interpreter that has what a worker needs. Where none is found, `CRETA_REQUIRE_PYTHON` makes that an error.
pub(crate) fn python() -> Option<WorkerConfig> {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python/src");
    let config = WorkerConfig { python_path: vec![sdk.clone()], ..WorkerConfig::default() };
    let works = |python: &PathBuf| {
        let probe = Command::new(python).args(["-c", "import pyarrow, creta._worker"]).env("PYTHONPATH", &sdk).output();
        probe.is_ok_and(|output| output.status.success())
    };
    let found = works(&config.interpreter());
    assert!(found || std::env::var_os("CRETA_REQUIRE_PYTHON").is_none(), "no Python with pyarrow; set CRETA_PYTHON");
    found.then_some(config)
}

pub(crate) fn with_resolver() -> serde_json::Value {
    let mut bundle = bundle();
    let place = json!({"file": "shop.py", "line": 1});
    let features = bundle["graph"]["entities"][0]["features"].as_array_mut().expect("a list");
    features.pop();
    features.push(json!({"name": "shout", "type": {"kind": "str"}, "location": place}));
    bundle["graph"]["resolvers"] = json!([{
        "name": "shout", "module": "shop", "mode": "scalar", "code": "def shout",
        "inputs": [{"name": "city", "from": {"path": "User.city"}}], "outputs": ["User.shout"], "location": place,
    }]);
    bundle["modules"] = json!({"shop.py": MODULE});
    bundle
}

#[test]
fn a_python_resolver_runs_in_a_worker_and_its_values_stay_out_of_errors() {
    let Some(workers) = python() else {
        eprintln!("not run: no Python with pyarrow; set CRETA_PYTHON");
        return;
    };
    let server = Server::with_workers(workers);
    server.tenant("acme");
    let token = server.account("acme", "etl", "developer").token;
    server.post("/v1/deploy", &token, &with_resolver()).ok();
    server.post_arrow(INGEST, &token, &facts()).ok();
    let question = json!({"inputs": {"User.id": [7, 8]}, "outputs": ["User.shout"]});
    let reply = server.post("/v1/query", &token, &question);
    let answer = reply.ok();
    assert_eq!(answer["columns"][0]["values"], json!(["TURIN!", null]));
    assert_eq!(answer["columns"][0]["states"], json!({"1": "error"}));
    assert_eq!(answer["columns"][0]["errors"]["1"]["code"], "resolver/raised");
    assert!(!reply.text().contains("no shouting"), "Python's message stays in the worker: {}", reply.text());

    let broken = with_resolver().to_string().replace("from creta import", "import nothing_here\\nfrom creta import");
    let reply = server.send("POST", "/v1/deploy", Some(&token), Some(("application/json", broken.as_bytes())));
    assert_eq!(reply.problem(422), "project/import-failed");
    assert_eq!(
        server.post("/v1/query", &token, &question).ok()["columns"][0]["values"][0],
        "TURIN!",
        "the old one stays"
    );
}

#[test]
fn compiled_and_in_a_worker_a_resolver_answers_alike_and_the_deploy_says_which_it_is() {
    let Some(workers) = python() else {
        eprintln!("not run: no Python with pyarrow; set CRETA_PYTHON");
        return;
    };
    let server = Server::with_workers(workers);
    let mut answers = Vec::new();
    // What was exported decides: code that is not what the module says is never compiled.
    let function = &MODULE[MODULE.find("def shout").expect("it is there")..];
    for (tenant, code, runs) in [("acme", function, "compiled"), ("globex", "def shout", "python")] {
        server.tenant(tenant);
        let token = server.account(tenant, "etl", "developer").token;
        let mut bundle = with_resolver();
        bundle["graph"]["resolvers"][0]["code"] = json!(code);
        let deployed = server.post("/v1/deploy", &token, &bundle).ok();
        assert_eq!(deployed["resolvers"][0]["runs"], runs, "{deployed}");
        assert_eq!(deployed["warnings"], json!([]));
        server.post_arrow(INGEST, &token, &facts()).ok();
        let question = json!({"inputs": {"User.id": [7, 8]}, "outputs": ["User.shout"]});
        let explained = server.post("/v1/explain", &token, &question).ok();
        assert_eq!(explained["outputs"][0]["runs"], runs, "{explained}");
        let one = json!({"inputs": {"User.id": [8]}, "outputs": ["User.shout"]});
        let ask = |question| server.post("/v1/query", &token, &question).ok()["columns"].clone();
        answers.push((ask(question), ask(one)));
    }
    assert_eq!(answers[0], answers[1]);
    let line = MODULE.lines().position(|line| line.contains("raise")).expect("it raises") + 1;
    let message = format!("resolver `shout` raised `ValueError` at shop.py:{line}");
    assert_eq!(answers[0].0[0]["errors"]["1"]["message"], message);
}

#[test]
fn what_a_compiled_resolver_makes_is_answered_alike_and_counted_alike_each_time() {
    let Some(workers) = python() else {
        eprintln!("not run: no Python with pyarrow; set CRETA_PYTHON");
        return;
    };
    let server = Server::with_workers(workers);
    server.tenant("acme");
    let token = server.account("acme", "etl", "developer").token;
    let mut bundle = with_resolver();
    bundle["graph"]["resolvers"][0]["code"] = json!(&MODULE[MODULE.find("def shout").expect("it is there")..]);
    assert_eq!(server.post("/v1/deploy", &token, &bundle).ok()["resolvers"][0]["runs"], "compiled");
    server.post_arrow(INGEST, &token, &facts()).ok();
    let load = json!({"entity": "User", "event_time": {"column": "seen"}, "arrival": {"delay": "0s"}});
    let row = json!({"id": 70, "seen": "2025-03-01T00:00:00Z", "city": "Łódź", "score": 1.0});
    server.post("/v1/facts", &token, &json!({"load": load, "rows": [row]})).ok();
    let reader = server.account("acme", "scoring", "reader").token;
    let ask = |ids: &[i64]| {
        let question = json!({"inputs": {"User.id": ids}, "outputs": ["User.shout", "User.city"], "as_of": "2025-03-05T00:00:00Z"});
        server.post("/v1/query", &reader, &question)
    };
    let mut asked = 0;
    // The last has letters that compiled code may leave to Python.
    for ids in [&[7][..], &[8], &[7, 8, 9], &[70], &[7, 70]] {
        let answers: Vec<_> = (0..3).map(|_| ask(ids)).collect();
        asked += answers.len() as u64;
        answers[0].ok();
        assert!(
            answers.iter().all(|answer| answer.text() == answers[0].text()),
            "whichever way: {}",
            answers[2].text()
        );
    }
    assert_eq!(ask(&[7, 70]).ok()["columns"][0]["values"], json!(["TURIN!", "ŁÓDŹ!"]));
    let seen = server.get("/v1/audit/access", &token).ok();
    let seen = seen["accesses"].as_array().expect("a list");
    let reads = seen.iter().filter(|access| access["action"] == "query" && access["id"] == "scoring");
    let reads: u64 = reads.map(|access| access["counts"]["reads"].as_u64().expect("a count")).sum();
    assert_eq!(reads, asked + 1, "each question is counted once: {seen:?}");
    // What was made ready answers nothing after another deploy.
    let quiet = MODULE.replace("\"!\"", "\".\"");
    bundle["modules"] = json!({"shop.py": quiet});
    bundle["graph"]["resolvers"][0]["code"] = json!(&quiet[quiet.find("def shout").expect("it is there")..]);
    server.post("/v1/deploy", &token, &bundle).ok();
    assert_eq!(ask(&[7]).ok()["columns"][0]["values"], json!(["TURIN."]));
}

#[test]
fn a_compiled_resolver_whose_worker_answers_otherwise_stays_in_the_worker() {
    let Some(workers) = python() else {
        eprintln!("not run: no Python with pyarrow; set CRETA_PYTHON");
        return;
    };
    let server = Server::with_workers(workers);
    server.tenant("acme");
    let token = server.account("acme", "etl", "developer").token;
    // Something that the compiler does not see: the module replaces what its own function does.
    let text = format!("{MODULE}\n\nshout.__code__ = (lambda city: city.lower()).__code__\n");
    let mut bundle = with_resolver();
    bundle["modules"] = json!({"shop.py": text});
    bundle["graph"]["resolvers"][0]["code"] = json!(&MODULE[MODULE.find("def shout").expect("it is there")..]);
    let deployed = server.post("/v1/deploy", &token, &bundle).ok();
    assert_eq!(deployed["resolvers"][0]["runs"], "python", "{deployed}");
    assert_eq!(deployed["warnings"][0]["code"], "compile/differs");
    server.post_arrow(INGEST, &token, &facts()).ok();
    let question = json!({"inputs": {"User.id": [7, 8]}, "outputs": ["User.shout"]});
    let answer = server.post("/v1/query", &token, &question).ok();
    assert_eq!(answer["columns"][0]["values"], json!(["turin", "bern"]));
}

#[test]
fn a_slow_resolver_hurts_nothing_but_its_own_cells() {
    let Some(workers) = python() else {
        eprintln!("not run: no Python with pyarrow; set CRETA_PYTHON");
        return;
    };
    let server = Server::with_workers(WorkerConfig { processes: 1, ..workers });
    server.tenant("acme");
    let token = server.account("acme", "etl", "developer").token;
    let mut slow = with_resolver();
    slow["modules"]["shop.py"] =
        json!(MODULE.replace("    if city", "    import time\n    time.sleep(1.0)\n    if city"));
    server.post("/v1/deploy", &token, &slow).ok();
    server.post_arrow(INGEST, &token, &facts()).ok();
    let both = json!({"inputs": {"User.id": [7]}, "outputs": ["User.shout", "User.score"]});
    let stored = json!({"inputs": {"User.id": [7]}, "outputs": ["User.score"]});
    server.post("/v1/query", &token, &stored).ok();
    let seen = std::thread::scope(|threads| {
        // As many as a tenant may have at work.
        let slow: Vec<_> = (0..64).map(|_| threads.spawn(|| server.post("/v1/query", &token, &both))).collect();
        std::thread::sleep(std::time::Duration::from_millis(400));
        let mut quick = Vec::new();
        for _ in 0..20 {
            let start = std::time::Instant::now();
            assert_eq!(server.post("/v1/query", &token, &stored).ok()["columns"][0]["values"], json!([2.5]));
            quick.push(start.elapsed());
        }
        quick.sort_unstable();
        assert!(quick[10] < std::time::Duration::from_millis(300), "stored facts are answered meanwhile: {quick:?}");
        slow.into_iter().map(|one| one.join().expect("it does not panic")).collect::<Vec<_>>()
    });
    let mut codes = std::collections::BTreeMap::new();
    for reply in seen {
        // Whoever is told to come back was told so; nobody waited without end.
        let code = match reply.status {
            503 => reply.problem(503),
            _ => {
                let answer = reply.ok();
                assert_eq!(answer["columns"][1]["values"], json!([2.5]), "the other cells of the row are there");
                answer["columns"][0]["errors"]["0"]["code"].as_str().unwrap_or("answered").to_owned()
            }
        };
        *codes.entry(code).or_insert(0) += 1;
    }
    assert!(codes["answered"] >= 1 && codes["resolver/busy"] >= 30, "{codes:?}");
}
