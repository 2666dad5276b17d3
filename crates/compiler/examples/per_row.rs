//! What a compiled resolver costs: one call, a row of a batch of 1,000, and CPython's own direct call beside them.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use creta_compiler::{Lane, Project, ResolverSource, Value};
use creta_model::{ResolverMode, Type};

const ROWS: usize = 1_000;

struct Case {
    name: &'static str,
    source: &'static str,
    inputs: Vec<(Type, bool)>,
    arguments: Vec<Value>,
    /// The same arguments in Python.
    python: &'static str,
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "a / b + 1.0",
            source: "def f(a, b):\n    return a / b + 1.0\n",
            inputs: vec![(Type::Float, false), (Type::Float, false)],
            arguments: vec![Value::Float(3.5), Value::Float(2.0)],
            python: "3.5, 2.0",
        },
        Case {
            name: "delay, wind, three ifs",
            source: "def f(delay, wind, sky):\n    score = delay / 60 + (wind or 0.0) / 100\n    if sky == \"severe\":\n        score += 0.4\n    elif sky == \"rough\":\n        score += 0.1\n    return min(1.0, max(0.0, score))\n",
            inputs: vec![(Type::Float, false), (Type::Float, true), (Type::Str, false)],
            arguments: vec![Value::Float(12.0), Value::Float(8.0), Value::text("rough")],
            python: "12.0, 8.0, 'rough'",
        },
        Case {
            name: "part after the last @",
            source: "def f(email):\n    return email.rsplit(\"@\", 1)[-1].lower()\n",
            inputs: vec![(Type::Str, false)],
            arguments: vec![Value::text("ana@Example.com")],
            python: "'ana@Example.com'",
        },
        Case {
            name: "years since, of an instant",
            source: "def f(year, at):\n    if year is None:\n        return None\n    return max(0.0, at.year + (at.month - 1) / 12 - year)\n",
            inputs: vec![(Type::Int, true), (Type::Datetime, false)],
            arguments: vec![Value::Int(1999), Value::Datetime(1_743_296_400_000_000)],
            python: "1999, __import__('datetime').datetime(2025, 3, 30, 1, tzinfo=__import__('datetime').UTC)",
        },
    ]
}

/// Nanoseconds per run, the best of several rounds.
fn best(runs: usize, mut run: impl FnMut()) -> f64 {
    (0..7)
        .map(|_| {
            let start = Instant::now();
            (0..runs).for_each(|_| run());
            start.elapsed().as_nanos() as f64 / runs as f64
        })
        .fold(f64::INFINITY, f64::min)
}

#[allow(clippy::print_stdout, reason = "it prints numbers")]
fn main() {
    println!("{:28} {:>12} {:>14} {:>14} {:>12}", "", "one call ns", "1,000 rows us", "ns per row", "CPython ns");
    for case in cases() {
        let project = Project::new(&BTreeMap::from([("features.py".to_owned(), case.source.to_owned())]));
        let source = ResolverSource {
            name: "f",
            module: "features",
            mode: ResolverMode::Scalar,
            is_async: false,
            code: case.source,
            inputs: case.inputs,
        };
        let program = project.compile(&source).expect("these compile");
        let one = best(20_000, || {
            black_box(program.call(black_box(&case.arguments))).expect("no exception");
        });
        let lanes: Vec<Lane> = case.arguments.iter().map(|value| Lane::of(vec![value.clone(); ROWS])).collect();
        let batch = best(200, || {
            black_box(program.call_rows(black_box(&lanes), ROWS));
        });
        let timed = format!(
            "import timeit\n{}args = ({},)\nprint(min(timeit.repeat(lambda: f(*args), number=20000, repeat=7)) / 20000 * 1e9)",
            case.source, case.python
        );
        let python = std::env::var_os("CRETA_PYTHON").unwrap_or_else(|| "python3".into());
        let cpython = Command::new(python).args(["-c", &timed]).output().ok();
        let cpython = cpython.and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse::<f64>().ok());
        let cpython = cpython.map_or_else(|| "-".to_owned(), |nanos| format!("{nanos:.0}"));
        println!("{:28} {one:12.0} {:14.1} {:14.1} {cpython:>12}", case.name, batch / 1e3, batch / ROWS as f64);
    }
}
