//! `tests/golden/compiler/*.case`: a module, a call, rows, and the answers or the refusal.

use std::fmt::Write as _;
use std::path::Path;

use creta_compiler::{Raised, Value};
use creta_model::{Instant, Type, Value as Stored};

use crate::support::{compile, parse_optional};

#[test]
fn compiler_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/compiler");
    let update = std::env::var_os("CRETA_UPDATE_GOLDEN").is_some();
    let mut files: Vec<_> =
        std::fs::read_dir(&root).expect("cases").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut failures = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable case");
        let mut written = Vec::new();
        for case in text.split("====\n") {
            let (question, expected) = case.split_once("----\n").unwrap_or((case, ""));
            let got = answer(question);
            if !update && expected.trim_end() != got.trim_end() {
                let title = question.lines().next().unwrap_or_default();
                write!(failures, "{}: {title}\nexpected:\n{expected}\ngot:\n{got}\n", file.display())
                    .expect("a string");
            }
            written.push(format!("{question}----\n{got}"));
        }
        if update {
            std::fs::write(&file, written.join("====\n")).expect("a writable case");
        }
    }
    assert!(failures.is_empty(), "{failures}\nIf the new answers are right, run again with CRETA_UPDATE_GOLDEN=1.");
}

/// Lines of Python stand indented below `python`, rows below `call  f(a int, b float?)`.
fn answer(question: &str) -> String {
    let mut module = String::new();
    let mut inputs = Vec::new();
    let mut rows: Vec<Vec<&str>> = Vec::new();
    let mut in_python = false;
    for line in question.lines().filter(|line| !line.starts_with('#')) {
        if line == "python" {
            in_python = true;
        } else if let Some(heading) = line.strip_prefix("call  f(") {
            in_python = false;
            let parameters = heading.trim_end_matches(')').split(", ").filter(|text| !text.is_empty());
            inputs = parameters.map(|text| parse_optional(text.split_once(' ').expect("a type").1)).collect();
        } else if in_python {
            module += line.strip_prefix("  ").unwrap_or(line);
            module.push('\n');
        } else if let Some(row) = line.strip_prefix("  ") {
            rows.push(row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect());
        }
    }
    let (program, shapes) = match compile(&module, &inputs) {
        Ok(compiled) => compiled,
        Err(refusal) => return format!("  refused {}\n", refusal.to_string().replace('\n', "\n  ")),
    };
    if rows.is_empty() {
        rows.push(Vec::new());
    }
    let mut answers = String::new();
    for row in rows {
        let arguments: Vec<Value> = row
            .iter()
            .zip(&shapes)
            .map(|(cell, shape)| shape.read(&stored(cell, shape.ty())).expect("a value of its type"))
            .collect();
        let answer = match program.call(&arguments) {
            Ok(value) => shown(&value),
            Err(Raised::Exception(name) | Raised::At(name, _)) => format!("raises {name}"),
            Err(Raised::Beyond(why)) => format!("asks Python: {why}"),
        };
        writeln!(answers, "  {answer}").expect("a string");
    }
    answers
}

fn stored(cell: &str, ty: &Type) -> Stored {
    let json = match cell {
        "None" => serde_json::Value::Null,
        "nan" => "NaN".into(),
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        other => serde_json::from_str(other).unwrap_or_else(|_| other.into()),
    };
    let json = match (ty, json) {
        (Type::Str, json) if !json.is_string() && !json.is_null() => cell.into(),
        (_, json) => json,
    };
    Stored::from_json(ty, &json).unwrap_or_else(|error| panic!("`{cell}`: {error}"))
}

/// As Python would print it.
fn shown(value: &Value) -> String {
    let items = |items: &[Value]| items.iter().map(shown).collect::<Vec<_>>().join(", ");
    match value {
        Value::None | Value::Unbound => "None".into(),
        Value::Bool(flag) => if *flag { "True" } else { "False" }.into(),
        Value::Int(int) => int.to_string(),
        Value::Float(float) if float.is_nan() => "nan".into(),
        Value::Float(float) if float.is_infinite() => if *float > 0.0 { "inf" } else { "-inf" }.into(),
        Value::Float(float) => format!("{float:?}"),
        Value::Str(text) => serde_json::Value::from(&**text).to_string(),
        Value::Date(_) => format!("day {}", exact_text(value)),
        Value::Datetime(micros) => Instant::from_micros(*micros).expect("in range").to_string(),
        Value::Timedelta(micros) => format!("timedelta of {micros} us"),
        Value::Enum(class, at) => format!("{}.{}", class.name, class.members[*at as usize].0),
        Value::List(list) => format!("[{}]", items(list)),
        Value::Tuple(list) => format!("({})", items(list)),
        Value::Struct(instance) => format!("{}({})", instance.class.name, items(&instance.values)),
        Value::Set(_) => "a set".into(),
        Value::Dict(_) => "a dict".into(),
    }
}

fn exact_text(value: &Value) -> String {
    crate::support::exact(value)[1].to_string()
}
