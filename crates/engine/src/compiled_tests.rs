//! What is asked of Python, what is not, and what a difference leads to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use creta_model::{Bundle, CellError, ResolverMode, Type, Value};
use creta_planner::{ResolverCall, Runs};
use serde_json::json;

use crate::testing::{Closures, name};
use crate::{Argument, CompiledHost, DIFFERS, ResolverAnswer, ResolverHost, Trial};

const SOURCE: &str = "def cube(n):\n    if n == 13:\n        raise ValueError(n)\n    return n * n * n\n";

fn bundle() -> Bundle {
    let here = json!({ "file": "features.py", "line": 1 });
    let feature =
        |name: &str, role: &str| json!({ "name": name, "type": { "kind": "int" }, "role": role, "location": here });
    let frame = json!({
        "name": "framed", "module": "features", "mode": "arrow", "code": "", "location": here,
        "inputs": [{ "name": "n", "from": { "path": "E.n" } }], "outputs": ["E.framed"],
    });
    let cube = json!({
        "name": "cube", "module": "features", "mode": "scalar", "code": SOURCE, "location": here,
        "inputs": [{ "name": "n", "from": { "path": "E.n" } }], "outputs": ["E.cube"],
    });
    let features = [feature("id", "key"), feature("n", "value"), feature("cube", "value"), feature("framed", "value")];
    serde_json::from_value(json!({
        "format": "creta.bundle/1", "modules": { "features.py": format!("{SOURCE}\n\ndef framed(n):\n    return n\n") },
        "lock": { "python": "3.11" },
        "graph": {
            "format": "creta.graph/1", "project": "p", "sources": [], "queries": [],
            "entities": [{ "name": "E", "location": here, "relations": [], "features": features }],
            "resolvers": [cube, frame],
        },
    }))
    .expect("a bundle")
}

fn call_of(resolver: &str) -> ResolverCall {
    ResolverCall {
        name: name(resolver),
        module: "features".into(),
        mode: ResolverMode::Scalar,
        is_async: false,
        timeout: None,
        retries: 0,
        fingerprint: String::new(),
    }
}

fn error(code: &str, message: &str) -> CellError {
    CellError { code: code.into(), message: message.into() }
}

/// Python's answers, and what it was asked.
struct Python {
    asked: Mutex<Vec<i64>>,
    answer: fn(i64) -> Result<i64, CellError>,
    away: AtomicBool,
}

fn cpython(n: i64) -> Result<i64, CellError> {
    if n == 13 {
        return Err(error("resolver/raised", "resolver `cube` raised `ValueError` at features.py:3"));
    }
    let cube = i128::from(n).pow(3);
    i64::try_from(cube).map_err(|_| error("resolver/overflow", "resolver `cube` returned an int beyond 64 bits"))
}

impl Python {
    fn new(answer: fn(i64) -> Result<i64, CellError>) -> Arc<Self> {
        Arc::new(Self { asked: Mutex::default(), answer, away: AtomicBool::new(false) })
    }

    fn asked(&self) -> Vec<i64> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

impl ResolverHost for Python {
    fn call(&self, call: &ResolverCall, inputs: &RecordBatch) -> Result<ResolverAnswer, CellError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(error("resolver/worker-start", "resolver `cube` has no worker: it could not be started"));
        }
        let answer = Closures(
            |_: &ResolverCall, arguments: &[Value]| {
                let [Value::Int(n)] = arguments else { panic!("one int") };
                self.asked.lock().expect("no panic").push(*n);
                (self.answer)(*n).map(|n| vec![Value::Int(n)])
            },
            vec![Type::Int],
        );
        answer.call(call, inputs)
    }
}

fn column(ints: &[i64]) -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(ints.to_vec())) as ArrayRef)]).expect("one column")
}

fn ask(host: &CompiledHost, resolver: &str, ints: &[i64]) -> Vec<Result<i64, String>> {
    let answer = host.call(&call_of(resolver), &column(ints)).expect("answered");
    let values = answer.outputs[0].as_primitive::<Int64Type>();
    assert_eq!(values.len(), ints.len());
    let errors: BTreeMap<usize, CellError> = answer.errors;
    (0..ints.len()).map(|row| errors.get(&row).map_or_else(|| Ok(values.value(row)), |e| Err(e.code.clone()))).collect()
}

fn ask_one(host: &CompiledHost, n: i64) -> Result<Vec<Value>, CellError> {
    let arguments = [Argument { name: "n", ty: &Type::Int, value: Value::Int(n) }];
    host.call_one(&call_of("cube"), &arguments, &[&Type::Int])
}

#[test]
fn s31_only_rows_that_leave_64_bits_are_asked_of_python_and_come_back_in_place() {
    let python = Python::new(cpython);
    let host = CompiledHost::new(&bundle(), Arc::clone(&python) as _, Trial::AtDeploy);
    host.try_out().expect("tried");
    assert!(!python.asked().is_empty(), "a trial asks Python");
    let (overflow, raised) = (Err("resolver/overflow".to_owned()), Err("resolver/raised".to_owned()));
    // 2^21 cubed is 2^63, and its negative is the smallest int.
    let ints = [2, 1 << 21, 13, -(1 << 21), 3, 1 << 40];
    assert_eq!(ask(&host, "cube", &ints), [Ok(8), overflow.clone(), raised, Ok(i64::MIN), Ok(27), overflow]);
    assert_eq!(python.asked(), [1 << 21, 1 << 40]);
    assert_eq!(ask_one(&host, 5), Ok(vec![Value::Int(125)]));
    assert_eq!(python.asked(), Vec::<i64>::new());
    assert_eq!(ask_one(&host, 1 << 21).expect_err("too large").code, "resolver/overflow");
    assert_eq!(python.asked(), [1 << 21]);
}

#[test]
fn what_is_not_compiled_is_asked_of_python_and_says_why() {
    let python = Python::new(|n| Ok(n + 1));
    let host = CompiledHost::new(&bundle(), Arc::clone(&python) as _, Trial::AtDeploy);
    assert_eq!(ask(&host, "framed", &[1, 2]), [Ok(2), Ok(3)]);
    let running = host.running();
    assert_eq!((running[1].resolver.as_str(), running[1].runs), ("framed", Runs::Python));
    let why = running[1].why.clone().expect("a reason");
    assert_eq!((why.code.as_str(), why.location.expect("a place").line), ("compile/not-compiled", 7));
}

#[test]
fn a_resolver_that_answers_otherwise_than_python_is_left_to_it() {
    for otherwise in [
        (|n| cpython(n).map(|cube| if n == -3 { cube + 1 } else { cube })) as fn(i64) -> Result<i64, CellError>,
        |n| if n == 13 { Ok(0) } else { cpython(n) },
        |n| {
            if n == 13 {
                Err(error("resolver/raised", "resolver `cube` raised `KeyError` at features.py:3"))
            } else {
                cpython(n)
            }
        },
    ] {
        let python = Python::new(otherwise);
        let host = CompiledHost::new(&bundle(), Arc::clone(&python) as _, Trial::AtFirstCall);
        host.try_out().expect("nothing to do");
        assert_eq!(python.asked(), Vec::<i64>::new(), "it is tried when it is called");
        assert_eq!(host.running()[0].runs, Runs::Compiled);
        assert_eq!(ask(&host, "cube", &[2]), [Ok(8)]);
        assert_eq!(python.asked().last(), Some(&2), "after the trial the row itself");
        assert_eq!(ask_one(&host, 4), Ok(vec![Value::Int(64)]));
        assert_eq!(python.asked(), [4]);
        let running = &host.running()[0];
        let why = running.why.as_ref().expect("a reason");
        assert_eq!((running.runs, why.code.as_str()), (Runs::Python, DIFFERS));
        assert!(why.notes[0].text.contains("made-up n="), "{why}");
    }
}

#[test]
fn until_python_can_be_asked_everything_is_left_to_it() {
    let python = Python::new(cpython);
    python.away.store(true, Ordering::Relaxed);
    let host = CompiledHost::new(&bundle(), Arc::clone(&python) as _, Trial::AtDeploy);
    assert_eq!(host.try_out().expect_err("away").code, "resolver/worker-start");
    assert_eq!(ask_one(&host, 2).expect_err("away").code, "resolver/worker-start");
    python.away.store(false, Ordering::Relaxed);
    assert_eq!(ask(&host, "cube", &[2]), [Ok(8)]);
    assert!(!python.asked().contains(&(1 << 21)));
    // What was compiled and tried needs it no longer, but for the rows beyond.
    python.away.store(true, Ordering::Relaxed);
    assert_eq!(ask(&host, "cube", &[3, 1 << 21]), [Ok(27), Err("resolver/worker-start".into())]);
}

#[test]
fn the_same_code_is_tried_with_the_same_inputs() {
    let tried = || {
        let python = Python::new(cpython);
        CompiledHost::new(&bundle(), Arc::clone(&python) as _, Trial::AtDeploy).try_out().expect("tried");
        python.asked()
    };
    let rows = tried();
    assert_eq!(rows, tried());
    assert!(
        rows.contains(&13) && rows.contains(&-3) && rows.len() > 30,
        "constants of the code are among them: {rows:?}"
    );
}
