//! Generated programs over generated inputs, compiled and in CPython: the same values to the last bit, or the same exception.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use creta_compiler::{Raised, Value};
use creta_model::{Instant, Value as Stored};
use serde_json::{Value as Json, json};

use crate::generate::{Dice, program};
use crate::inputs::value;
use crate::support::{compile, exact};

const ROWS: usize = 12;

/// How many programs: a few seconds' worth, or what the long tests ask for.
pub(crate) fn programs() -> u64 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse::<u64>().ok()).map_or(2_000, |cases| cases * 50)
}

struct CPython {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl CPython {
    fn start() -> Option<Self> {
        let python = std::env::var_os("CRETA_PYTHON").unwrap_or_else(|| "python3".into());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cpython.py");
        let started = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = match started {
            Ok(process) => process,
            Err(error) => {
                assert!(std::env::var_os("CRETA_REQUIRE_PYTHON").is_none(), "no Python: {error}");
                eprintln!("not run: no Python; set CRETA_PYTHON");
                return None;
            }
        };
        let to = process.stdin.take().expect("piped");
        let from = BufReader::new(process.stdout.take().expect("piped"));
        Some(Self { process, to, from })
    }

    fn ask(&mut self, question: &Json) -> Json {
        writeln!(self.to, "{question}").expect("CPython takes questions");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("CPython answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("CPython gave up on {question}"))
    }
}

impl Drop for CPython {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

pub(crate) fn stored(encoded: &Json) -> Stored {
    let text = || encoded[1].as_str().expect("a text");
    let items = || encoded[1].as_array().expect("items").iter().map(stored).collect();
    match encoded[0].as_str().expect("a kind") {
        "none" => Stored::Null,
        "bool" => Stored::Bool(encoded[1].as_bool().expect("a bool")),
        "int" => Stored::Int(text().parse().expect("an int")),
        "float" if text() == "nan" => Stored::Float(f64::NAN),
        "float" => Stored::Float(f64::from_bits(u64::from_str_radix(text(), 16).expect("bits"))),
        "date" => Stored::Date(encoded[1].as_i64().expect("days") as i32),
        "datetime" => Stored::Datetime(Instant::from_micros(text().parse().expect("micros")).expect("in range")),
        "timedelta" => Stored::Timedelta(text().parse().expect("micros")),
        "list" => Stored::List(items()),
        "struct" => Stored::Struct(items()),
        _ => Stored::Str(text().to_owned()),
    }
}

#[test]
fn compiled_programs_agree_with_cpython() {
    let Some(mut python) = CPython::start() else { return };
    let first = std::env::var("CRETA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(0..programs(), |seed| seed..seed + 1);
    let (mut compiled, mut refused, mut rows_run, mut values, mut left) = (0u64, 0u64, 0u64, 0u64, 0u64);
    let mut reasons = std::collections::BTreeMap::<String, u64>::new();
    let mut differences = Vec::new();
    for seed in seeds {
        let mut dice = Dice(seed.wrapping_mul(0x5851_F42D_4C95_7F2D));
        let generated = program(&mut dice);
        let (program, shapes) = match compile(&generated.source, &generated.parameters) {
            Ok(compiled) => compiled,
            Err(refusal) => {
                refused += 1;
                *reasons.entry(format!("refused: {}", refusal.what)).or_default() += 1;
                continue;
            }
        };
        compiled += 1;
        let rows: Vec<Vec<Json>> = (0..ROWS)
            .map(|_| generated.parameters.iter().map(|(ty, optional)| value(&mut dice, ty, *optional)).collect())
            .collect();
        let outcomes: Vec<Result<Value, Raised>> = rows
            .iter()
            .map(|row| {
                let arguments: Vec<Value> =
                    row.iter().zip(&shapes).map(|(cell, shape)| shape.read(&stored(cell)).expect("its type")).collect();
                program.call(&arguments)
            })
            .collect();
        let given_up: Vec<usize> = (0..ROWS).filter(|row| matches!(outcomes[*row], Err(Raised::Beyond(_)))).collect();
        let answer = python.ask(&json!({ "source": generated.source, "rows": rows, "probe": given_up }));
        for (row, outcome) in outcomes.iter().enumerate() {
            rows_run += 1;
            let theirs = &answer["answers"][row];
            let ours = match outcome {
                Ok(value) => {
                    values += 1;
                    exact(value)
                }
                Err(Raised::Exception(name) | Raised::At(name, _)) => json!(["raises", name]),
                Err(Raised::Beyond(why)) => {
                    left += 1;
                    *reasons.entry(format!("left to Python: {why}")).or_default() += 1;
                    let at = given_up.iter().position(|own| *own == row).expect("asked about");
                    let seen = answer["probed"][at].as_array().expect("a list");
                    let expected = match *why {
                        // Within a sum the partial sums are not seen.
                        "an int beyond 64 bits" if generated.source.contains("sum(") => continue,
                        // A complex power that overflows never comes to be.
                        "a complex number" if *theirs == json!(["raises", "OverflowError"]) => continue,
                        // Nor does a text that has no room.
                        "a text or list of more than 16 MiB"
                            if ["MemoryError", "OverflowError"]
                                .iter()
                                .any(|name| *theirs == json!(["raises", name])) =>
                        {
                            continue;
                        }
                        "an int beyond 64 bits" | "a complex number" => "number",
                        "letters outside ASCII" | "a text or list of more than 16 MiB" => "text",
                        "whether two NaNs are the same object" | "the order of NaN in `sorted`" => "nan",
                        _ => continue,
                    };
                    if !seen.iter().any(|seen| seen == expected) {
                        let source = &generated.source[generated.source.find("def f(").expect("the function")..];
                        let row = json!(rows[row]);
                        differences.push(format!(
                            "seed {seed}: gave up for {why} without reason in\n{source}row {row}\nCPython {theirs}\n"
                        ));
                    }
                    continue;
                }
            };
            if ours != *theirs {
                let source = &generated.source[generated.source.find("def f(").expect("the function")..];
                let row = json!(rows[row]);
                differences.push(format!("seed {seed}:\n{source}row {row}\ncompiled {ours}\nCPython  {theirs}\n"));
                break;
            }
        }
    }
    let shown = differences.iter().take(20).cloned().collect::<String>();
    assert!(differences.is_empty(), "{} programs differ:\n{shown}", differences.len());
    eprintln!(
        "{compiled} programs compiled, {refused} refused; {rows_run} rows, {values} with values, {left} left to Python"
    );
    for (reason, count) in &reasons {
        eprintln!("  {count:6}  {reason}");
    }
    if first.is_none() {
        assert!(compiled > refused * 3, "most programs have to compile: {compiled} did, {refused} did not");
        assert!(values * 3 > rows_run, "a third of the rows have to have values: {values} of {rows_run}");
        assert!(left * 5 < rows_run, "too much is left to Python: {left} of {rows_run}");
    }
}
