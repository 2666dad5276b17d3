//! What would keep a server busy is given up soon, one row at a time and in a batch.

use std::time::{Duration, Instant};

use creta_compiler::{Lane, Raised, Value};
use creta_model::Type;

use crate::support::compile;

fn doubling(depth: usize) -> String {
    let functions: String =
        (1..depth).map(|at| format!("def g{at}(n):\n    return g{0}(n) + g{0}(n)\n", at - 1)).collect();
    format!("def g0(n):\n    return n\n{functions}def f(n):\n    return g{}(n)\n", depth - 1)
}

#[test]
fn attack_resolvers_that_would_keep_the_server_busy_are_left_to_python() {
    let sources = [
        "def f(n):\n    total = 0\n    for a in range(n):\n        for b in range(n):\n            for c in range(n):\n                total += 1\n    return total\n".to_owned(),
        "def f(n):\n    return sum(a * b * c for a in range(n) for b in range(n) for c in range(n))\n".to_owned(),
        "def f(n):\n    text = 'abc' * n\n    found = 0\n    for a in range(n):\n        found += text.count('z')\n    return found\n".to_owned(),
        "def f(n):\n    text = 'a' * n\n    for a in range(n):\n        text = text + text[:n]\n    return len(text)\n".to_owned(),
        "def f(n):\n    items = list(range(n))\n    found = 0\n    for a in range(n):\n        if -1 in items:\n            found += 1\n    return found\n".to_owned(),
    ];
    for source in sources {
        let (program, _) =
            compile(&source, &[(Type::Int, false)]).unwrap_or_else(|refusal| panic!("{refusal}\n{source}"));
        let start = Instant::now();
        let single = program.call(&[Value::Int(50_000)]);
        assert!(matches!(single, Err(Raised::Beyond(_))), "{single:?} of\n{source}");
        let answers = program.call_rows(&[Lane::Ints(vec![50_000; 20])], 20);
        assert_eq!(answers.raised.len(), 20, "{source}");
        assert!(start.elapsed() < Duration::from_secs(20), "{:?} for\n{source}", start.elapsed());
    }
}

#[test]
fn what_is_given_up_leaves_nothing_behind() {
    let loops = "def f(n):\n    return sum(1 for a in range(n) for b in range(n))\n";
    let (busy, _) = compile(loops, &[(Type::Int, false)]).expect("it compiles");
    let (easy, _) =
        compile("def f(n):\n    return sum(a for a in range(n))\n", &[(Type::Int, false)]).expect("it compiles");
    assert!(busy.call(&[Value::Int(50_000)]).is_err());
    for _ in 0..50 {
        assert!(matches!(easy.call(&[Value::Int(60_000)]), Ok(Value::Int(1_799_970_000))));
    }
}

#[test]
fn attack_sources_nested_without_end_are_refused() {
    let deep = [
        format!("def f(n):\n    return {}n\n", "-".repeat(50_000)),
        format!("def f(n):\n    return {}n{}\n", "(".repeat(50_000), ")".repeat(50_000)),
        format!("def f(n):\n    return n{}\n", " + n".repeat(50_000)),
        format!("def f(n):\n    return n{}\n", " + n".repeat(300)),
        format!(
            "def f(n):\n    if n == 0:\n        return 0\n{}    return n\n",
            "    elif n == 1:\n        return 1\n".repeat(5_000)
        ),
        doubling(40),
        doubling(5_000),
    ];
    for source in deep {
        // As deploys do, on a thread whose stack is large enough.
        let thread = std::thread::Builder::new().stack_size(256 << 20);
        let refused = thread.spawn(move || compile(&source, &[(Type::Int, false)]).is_err()).expect("a thread").join();
        assert!(refused.expect("no stack runs out"));
    }
}
