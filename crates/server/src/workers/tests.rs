//! Workers that misbehave: `tests/fake_worker` does what a resolver's name says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use creta_engine::{ResolverAnswer, ResolverHost as _, ResolverHosts as _};
use creta_model::{Bundle, CellError, Name, ResolverMode, Scope, Span};
use creta_planner::ResolverCall;
use serde_json::json;

use super::host::{WorkerHosts, Workers};
use super::process::Launch;
use crate::arrow_body::encode;
use crate::config::WorkerConfig;
use crate::limits::{WORKER_CALLS_WAITING_MAX, WORKER_CHUNK_ROWS};

fn config() -> WorkerConfig {
    let fake = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake_worker"));
    WorkerConfig { python_path: vec![fake], processes: 1, ..WorkerConfig::default() }
}

/// A project whose one resolver takes an int and gives an int.
fn bundle(resolver: &str, modules: BTreeMap<String, String>) -> Bundle {
    let place = json!({"file": "shop.py", "line": 1});
    let feature =
        |name: &str, role: &str| json!({"name": name, "type": {"kind": "int"}, "role": role, "location": place});
    let graph = json!({
        "format": "creta.graph/1", "project": "shop",
        "entities": [{"name": "User", "features": [feature("id", "key"), feature("next", "value")], "location": place}],
        "resolvers": [{
            "name": resolver, "module": "shop", "mode": "scalar", "code": "",
            "inputs": [{"name": "id", "from": {"path": "User.id"}}], "outputs": ["User.next"], "location": place,
        }],
    });
    let json = json!({"format": "creta.bundle/1", "graph": graph, "modules": modules, "lock": {"python": "3.11"}});
    serde_json::from_value(json).expect("a bundle")
}

fn call(resolver: &str) -> ResolverCall {
    ResolverCall {
        name: Name::parse(resolver).expect("a name"),
        module: "shop".into(),
        mode: ResolverMode::Scalar,
        is_async: false,
        timeout: Some(Span::seconds(20)),
        retries: 0,
        fingerprint: String::new(),
    }
}

fn inputs(ids: std::ops::Range<i64>) -> RecordBatch {
    RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef)]).expect("one column")
}

/// What a sound worker answers for ids: the next number, and errors in some rows.
fn answer(ids: std::ops::Range<i64>, raised: &[usize]) -> Vec<u8> {
    let codes: StringArray =
        (0..(ids.end - ids.start) as usize).map(|row| raised.contains(&row).then_some("resolver/raised")).collect();
    let values = Int64Array::from_iter_values(ids.map(|id| id + 1));
    let batch = RecordBatch::try_from_iter([("o0", Arc::new(values) as ArrayRef), ("e0", Arc::new(codes) as ArrayRef)]);
    let batch = batch.expect("columns of one length");
    encode(&batch.schema(), &[batch]).expect("encodes")
}

/// Prepared answers by the length of the call they belong to.
fn prepared(answers: &[(std::ops::Range<i64>, Vec<u8>)]) -> BTreeMap<String, String> {
    let length = |ids: &std::ops::Range<i64>| {
        let batch = inputs(ids.clone());
        8 + encode(&batch.schema(), &[batch]).expect("encodes").len()
    };
    answers.iter().map(|(ids, bytes)| (length(ids).to_string(), STANDARD.encode(bytes))).collect()
}

fn workers(resolver: &str, modules: BTreeMap<String, String>, processes: usize) -> Workers {
    Workers::new(Launch::new(&config()), processes, &bundle(resolver, modules)).expect("a pool")
}

fn ask(resolver: &str, change: impl FnOnce(&mut ResolverCall)) -> Result<ResolverAnswer, CellError> {
    let workers = workers(resolver, prepared(&[(0..3, answer(0..3, &[]))]), 1);
    let mut call = call(resolver);
    change(&mut call);
    workers.call(&call, &inputs(0..3))
}

fn values(answer: &ResolverAnswer) -> Vec<Option<i64>> {
    answer.outputs[0].as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn a_sound_worker_answers_row_by_row() {
    let answer = ask("echoes", |_| ()).expect("answered");
    assert_eq!(values(&answer), [Some(1), Some(2), Some(3)]);
    assert!(answer.errors.is_empty());
}

#[test]
fn attack_ch02_a_worker_inherits_no_environment_folder_or_descriptor() {
    let outside =
        std::fs::File::open("/etc/hostname").or_else(|_| std::fs::File::open("/proc/version")).expect("a file");
    // As if whoever started the server had left it open for children.
    rustix::io::fcntl_setfd(&outside, rustix::io::FdFlags::empty()).expect("set");
    let answer = ask("looks_around", |_| ());
    drop(outside);
    assert_eq!(answer.map(|answer| values(&answer)), Ok(vec![Some(1), Some(2), Some(3)]));
}

#[test]
fn attack_ch02_a_worker_that_does_not_answer_is_killed_and_the_next_call_gets_another() {
    let marker = tempfile::tempdir().expect("a folder");
    let mut modules = prepared(&[(0..3, answer(0..3, &[]))]);
    modules.insert("marker".into(), marker.path().join("slept").display().to_string());
    let workers = workers("sleeps_once", modules, 1);
    let mut call = call("sleeps_once");
    call.timeout = Some(Span::seconds(2));
    let start = Instant::now();
    let error = workers.call(&call, &inputs(0..3)).expect_err("late");
    assert_eq!(error.code, "resolver/timeout");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    call.timeout = Some(Span::seconds(20));
    assert_eq!(values(&workers.call(&call, &inputs(0..3)).expect("another worker")), [Some(1), Some(2), Some(3)]);
}

#[test]
fn calls_that_find_too_many_waiting_for_a_slow_worker_fail_at_once() {
    let marker = tempfile::tempdir().expect("a folder");
    let mut modules = prepared(&[(0..3, answer(0..3, &[]))]);
    modules.insert("marker".into(), marker.path().join("slept").display().to_string());
    let workers = workers("sleeps_once", modules, 1);
    let mut call = call("sleeps_once");
    call.timeout = Some(Span::seconds(5));
    let calls = WORKER_CALLS_WAITING_MAX + 9;
    let outcomes: Vec<(String, Duration)> = std::thread::scope(|threads| {
        let (workers, call) = (&workers, &call);
        let one = || {
            let start = Instant::now();
            let code = workers.call(call, &inputs(0..3)).err().map_or(String::new(), |error| error.code);
            (code, start.elapsed())
        };
        let running: Vec<_> = (0..calls).map(|_| threads.spawn(one)).collect();
        running.into_iter().map(|call| call.join().expect("it does not panic")).collect()
    });
    let at_once = outcomes.iter().filter(|(code, took)| code == "resolver/busy" && *took < Duration::from_secs(2));
    assert_eq!(at_once.count(), 8, "one is called, so many wait: {outcomes:?}");
    assert_eq!(outcomes.iter().filter(|(code, _)| code == "resolver/timeout").count(), 1);
}

#[test]
fn a_late_call_is_tried_again_as_often_as_the_resolver_says() {
    let marker = tempfile::tempdir().expect("a folder");
    let mut modules = prepared(&[(0..3, answer(0..3, &[]))]);
    modules.insert("marker".into(), marker.path().join("slept").display().to_string());
    let workers = workers("sleeps_once", modules, 1);
    let mut call = call("sleeps_once");
    (call.timeout, call.retries) = (Some(Span::seconds(4)), 1);
    assert_eq!(values(&workers.call(&call, &inputs(0..3)).expect("the second time")), [Some(1), Some(2), Some(3)]);
}

#[test]
fn attack_ch02_workers_that_crash_or_answer_out_of_form_fail_their_call_only() {
    for (resolver, code) in [
        ("crashes", "resolver/crashed"),
        ("lies_about_length", "resolver/bad-answer"),
        ("pickles", "resolver/bad-answer"),
        ("answers_another_call", "resolver/bad-answer"),
        ("speaks_out_of_turn", "resolver/bad-answer"),
        ("refuses", "resolver/too-large"),
        ("refuses_rudely", "resolver/failed"),
    ] {
        let error = ask(resolver, |_| ()).expect_err(resolver);
        assert_eq!(error.code, code, "{resolver}");
        assert!(!error.message.contains("hunter2") && error.message.contains(resolver), "{}", error.message);
    }
    assert!(!std::path::Path::new("/tmp/pwned").exists(), "a pickle was loaded");
}

#[test]
fn attack_ch02_answers_of_other_rows_types_or_names_are_refused() {
    let texts = StringArray::from(vec!["a", "b", "c"]);
    let codes = StringArray::from(vec![None::<&str>; 3]);
    let column = |name: &'static str, array: &dyn Array| (name, arrow::array::make_array(array.to_data()));
    let stream = |columns: Vec<(&'static str, ArrayRef)>| {
        let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
        encode(&batch.schema(), &[batch]).expect("encodes")
    };
    let numbers = Int64Array::from(vec![1, 2, 3]);
    for (what, bytes) in [
        ("fewer rows", answer(0..2, &[])),
        ("more rows", answer(0..4, &[])),
        ("another type", stream(vec![column("o0", &texts), column("e0", &codes)])),
        ("no codes", stream(vec![column("o0", &numbers)])),
        ("another name", stream(vec![column("o1", &numbers), column("e0", &codes)])),
        ("codes that are numbers", stream(vec![column("o0", &numbers), column("e0", &numbers)])),
        ("nothing", Vec::new()),
    ] {
        let workers = workers("echoes", prepared(&[(0..3, bytes)]), 1);
        let error = workers.call(&call("echoes"), &inputs(0..3)).expect_err(what);
        assert_eq!(error.code, "resolver/bad-answer", "{what}");
    }
}

#[test]
fn rows_that_raise_are_tried_again_and_the_others_are_not() {
    let mut modules = prepared(&[(1..2, answer(1..2, &[]))]);
    modules.insert("first".into(), STANDARD.encode(answer(0..3, &[1])));
    let once = workers("raises_once", modules.clone(), 1).call(&call("raises_once"), &inputs(0..3)).expect("answered");
    assert_eq!(once.errors.keys().collect::<Vec<_>>(), [&1], "no retries were declared");
    assert_eq!(once.errors[&1].code, "resolver/raised");
    let mut call = call("raises_once");
    call.retries = 2;
    let again = workers("raises_once", modules, 1).call(&call, &inputs(0..3)).expect("answered");
    assert_eq!((values(&again), again.errors.len()), (vec![Some(1), Some(2), Some(3)], 0));
}

#[test]
fn large_inputs_are_split_over_the_pool_and_come_back_in_order() {
    let rows = WORKER_CHUNK_ROWS as i64;
    let rest = 10;
    // Whole chunks have one length, so they share one prepared answer; the rest has its own.
    let modules = prepared(&[(0..rows, answer(0..rows, &[5])), (0..rest, answer(100..100 + rest, &[]))]);
    let workers = workers("echoes", modules, 2);
    let answer = workers.call(&call("echoes"), &inputs(0..3 * rows + rest)).expect("answered");
    let values = values(&answer);
    assert_eq!(values.len() as i64, 3 * rows + rest);
    assert_eq!((values[0], values[rows as usize], values[3 * rows as usize]), (Some(1), Some(1), Some(101)));
    let failed: Vec<usize> = answer.errors.keys().copied().collect();
    assert_eq!(failed, [5, WORKER_CHUNK_ROWS + 5, 2 * WORKER_CHUNK_ROWS + 5]);
}

#[test]
fn a_chunk_without_an_answer_is_errors_for_its_rows_only() {
    let rows = WORKER_CHUNK_ROWS as i64;
    let modules = prepared(&[(0..rows, answer(0..rows, &[]))]); // Nothing is prepared for the rest.
    let answer = workers("echoes", modules, 2).call(&call("echoes"), &inputs(0..rows + 2)).expect("answered");
    assert_eq!(answer.errors.keys().copied().collect::<Vec<_>>(), [WORKER_CHUNK_ROWS, WORKER_CHUNK_ROWS + 1]);
    assert_eq!(answer.outputs[0].len(), WORKER_CHUNK_ROWS + 2);
}

#[test]
fn a_project_that_cannot_be_imported_is_refused_at_deploy_and_tolerated_at_start() {
    let scope = Scope::parse("acme", "prod").expect("valid");
    for (resolver, code, says) in [
        ("bad_import", "project/import-failed", "no module named `nope`"),
        ("dies_at_start", "resolver/worker-start", "ended before it was ready"),
    ] {
        let hosts = WorkerHosts::new(&config());
        let bundle = bundle(resolver, BTreeMap::new());
        let opened = hosts.host(&scope, &bundle).expect("a server starts");
        assert_eq!(opened.call(&call(resolver), &inputs(0..1)).expect_err("no worker").code, "resolver/worker-start");
        hosts.refuse_what_does_not_start();
        let Err(problem) = hosts.host(&scope, &bundle) else { panic!("{resolver} was deployed") };
        assert_eq!(problem.code, code);
        assert!(problem.to_string().contains(says), "{problem}");
    }
    let nowhere = WorkerHosts::new(&WorkerConfig { python: Some("/nowhere/python".into()), ..config() });
    nowhere.refuse_what_does_not_start();
    let Err(problem) = nowhere.host(&scope, &bundle("echoes", BTreeMap::new())) else { panic!("deployed") };
    assert!(problem.to_string().contains("/nowhere/python"), "{problem}");
}

#[test]
fn attack_ch02_a_dropped_pool_leaves_neither_workers_nor_what_they_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let marker = folder.path().join("pids");
    let mut modules = prepared(&[(0..3, answer(0..3, &[]))]);
    modules.insert("marker".into(), marker.display().to_string());
    let workers = workers("starts_a_process", modules, 1);
    workers.call(&call("starts_a_process"), &inputs(0..3)).expect("answered");
    let pids = std::fs::read_to_string(&marker).expect("written");
    let pids: Vec<&str> = pids.split(' ').collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| is_running(pid)), "{pids:?}");
    drop(workers);
    let deadline = Instant::now() + Duration::from_secs(10);
    while pids.iter().any(|pid| is_running(pid)) {
        assert!(Instant::now() < deadline, "{pids:?}");
    }
}

#[test]
fn a_worker_that_was_killed_while_nobody_called_it_fails_no_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let marker = folder.path().join("pids");
    let mut modules = prepared(&[(0..3, answer(0..3, &[]))]);
    modules.insert("marker".into(), marker.display().to_string());
    let workers = workers("starts_a_process", modules, 1);
    let first = || {
        let pids = std::fs::read_to_string(&marker).expect("written");
        pids.split(' ').next().expect("its own").to_owned()
    };
    let call = call("starts_a_process");
    workers.call(&call, &inputs(0..3)).expect("answered");
    let killed = first();
    let pid = rustix::process::Pid::from_raw(killed.parse().expect("a number")).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_running(&killed) {
        assert!(Instant::now() < deadline, "{killed} is still there");
    }
    assert_eq!(values(&workers.call(&call, &inputs(0..3)).expect("another worker")), [Some(1), Some(2), Some(3)]);
    assert_ne!(first(), killed);
}

/// Whether there is such a process and it is not merely waiting for its parent to notice its end.
fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}
