//! Confidentiality, integrity, availability: each is watched by itself, and what is broken shows where it belongs.

use std::fs;
use std::os::unix::fs::FileExt as _;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::resolvers::{python, with_resolver};
use crate::support::{INGEST, Server, facts};
use crate::trust::{declared, outcome_of, run};

/// The checks that CH-05 rests on.
const CHECKS: [&str; 5] = ["isolation", "sealed-bytes", "log-integrity", "evidence-integrity", "serving"];

/// A server one of whose tenants has a worker at work; none without a Python that can run one.
fn server() -> Option<Server> {
    let Some(workers) = python() else {
        eprintln!("not run: no Python with pyarrow; set CRETA_PYTHON");
        return None;
    };
    let server = Server::with_workers(workers);
    server.tenant("acme");
    let token = server.account("acme", "etl", "developer").token;
    server.post("/v1/deploy", &token, &with_resolver()).ok();
    server.post_arrow(INGEST, &token, &facts()).ok();
    declared(&server);
    Some(server)
}

/// The processes that run resolvers for this one.
fn workers() -> Vec<Pid> {
    let own = format!("PPid:\t{}\n", std::process::id());
    let numbered = fs::read_dir("/proc")
        .expect("a list of processes")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_ours = |pid: &String| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        status.contains(&own) && String::from_utf8_lossy(&command).contains("creta._worker")
    };
    let pids = numbered.filter(is_ours).filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw));
    pids.collect()
}

fn states(server: &Server) -> [String; 3] {
    let report = server.get("/v1/trust", &server.admin_token()).ok();
    let state = |pillar: &str| {
        let found = report["pillars"].as_array().expect("a list").iter().find(|own| own["pillar"] == pillar);
        found.expect("a pillar")["state"].as_str().expect("a state").to_owned()
    };
    ["confidentiality", "integrity", "availability"].map(state)
}

/// The states once everything that CH-05 rests on has looked again.
fn states_after_looking(server: &Server) -> [String; 3] {
    run(server, &CHECKS);
    states(server)
}

const ALL_WELL: [&str; 3] = ["met", "met", "met"];

#[test]
fn questions_are_answered_and_workers_give_a_sign_of_life() {
    let Some(server) = server() else { return };
    let ran = run(&server, &["serving"]);
    let seen = outcome_of(&ran, "serving");
    assert_eq!(
        (&seen["outcome"], &seen["subjects"]),
        (&json!("pass"), &json!(3)),
        "two probes and one tenant's workers"
    );
    assert_eq!(workers().len(), 1, "looking at workers starts none that nobody needs");
}

#[test]
fn attack_ch05_what_is_broken_turns_its_own_pillar_red_and_no_other() {
    let Some(server) = server() else { return };
    assert_eq!(states_after_looking(&server), ALL_WELL);

    // A worker stops: it lives, but answers nobody.
    let [worker] = workers().try_into().expect("one worker");
    kill_process(worker, Signal::STOP).expect("it is ours");
    assert_eq!(states_after_looking(&server), ["met", "met", "failing"]);
    assert_eq!(states_after_looking(&server), ALL_WELL, "the stopped one was ended, and another started");

    // A value of a tenant leaks into a file that is not sealed.
    let probe = probe_value(&server);
    let leak = server.data().join("leak.txt");
    fs::write(&leak, &probe).expect("written");
    assert_eq!(states_after_looking(&server), ["failing", "met", "met"]);
    fs::remove_file(&leak).expect("removed");
    assert_eq!(states_after_looking(&server), ALL_WELL);

    // One byte of the audit log is changed on the disk.
    let log = server.data().join("prod/control-plane/audit/entries");
    let mut bytes = fs::read(&log).expect("the log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let file = fs::OpenOptions::new().write(true).open(&log).expect("opens");
    file.write_all_at(&bytes[middle..=middle], middle as u64).expect("written");
    assert_eq!(states_after_looking(&server), ["met", "failing", "met"]);
}

/// What is planted in a probe tenant, read with a token of its own making.
fn probe_value(server: &Server) -> String {
    let token = server.account("creta-probe-a", "reader", "reader").token;
    let question = json!({"inputs": {"Probe.id": [1]}, "outputs": ["Probe.canary"]});
    let answer: Value = server.post("/v1/query", &token, &question).ok();
    answer["columns"][0]["values"][0].as_str().expect("the planted value").to_owned()
}
