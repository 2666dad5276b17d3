//! What bad input gets: `tests/golden/bad_input/*.case`. A case is what happens to a scope, `----`, and what was answered.
//!
//! The scope holds the airline of [`support::bundle`](crate::support::bundle). One line is one deed, tables stand indented
//! under it: `ingest JSON` and `query JSON` are requests, `file` and its kin write a file of the project, `load` reads a
//! declared source and ingests it, and some lines harm the disk. What is stored stands at the end of every answer, so
//! that each case shows that nothing was lost and nothing was half written.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::ipc::writer::StreamWriter;
use creta_engine::{IngestReport, build_array, load_request, read_source};
use creta_iam::Action;
use creta_model::{CellState, Problem, Source, Type, Value};
use creta_platform::{Fault, Files};
use parquet::arrow::ArrowWriter;
use serde_json::json;

use crate::support::{Airline, Stores, at, bundle};

#[test]
fn what_bad_input_gets() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/bad_input");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap_or_else(|error| panic!("{}: {error}", root.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "case"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", root.display());
    let update = std::env::var_os("CRETA_UPDATE_GOLDEN").is_some();
    let mut failures = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable case");
        let mut written = Vec::new();
        for case in text.split("====\n") {
            let (question, expected) = case.split_once("----\n").unwrap_or((case, ""));
            let got = Case::new().answer(question);
            if !update && expected.trim_end() != got.trim_end() {
                let title = question.lines().next().unwrap_or_default();
                writeln!(failures, "{}: {title}\nexpected:\n{expected}\ngot:\n{got}", file.display())
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

/// A scope, open or closed, the project's folder, and what was answered so far.
struct Case {
    airline: Option<Airline>,
    stores: Stores,
    /// The disk's files before they were harmed.
    whole: Vec<(String, Vec<u8>)>,
    project: tempfile::TempDir,
    text: String,
}

impl Case {
    fn new() -> Self {
        let airline = Airline::new();
        let stores = airline.stores.clone();
        let project = tempfile::tempdir().expect("a folder");
        Self { airline: Some(airline), stores, whole: Vec::new(), project, text: String::new() }
    }

    fn answer(mut self, question: &str) -> String {
        let lines: Vec<&str> = question.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let mut from = 0;
        while from < lines.len() {
            let rows = lines[from + 1..].iter().take_while(|line| line.starts_with(' ')).count();
            let (deed, rest) = lines[from].split_once(' ').unwrap_or((lines[from], ""));
            self.act(deed, rest.trim(), &lines[from + 1..=from + rows]);
            from += rows + 1;
        }
        self.tell_stored();
        self.text
    }

    fn tell_stored(&mut self) {
        let statistics = self.airline().engine.statistics();
        assert_eq!(statistics["position"], statistics["online_position"], "what is served is what is stored");
        let count = |what: &str| statistics[what]["Flight"].as_u64().unwrap_or(0);
        self.line(&format!("stored: {} served, {} kept apart", count("facts"), count("quarantined")));
    }

    fn act(&mut self, deed: &str, rest: &str, rows: &[&str]) {
        match deed {
            "ingest" => {
                let (request, heading) = rest.rsplit_once(" (").expect("JSON, then columns in brackets");
                let request = serde_json::from_str(request).expect("JSON");
                let outcome = self.airline().ingest(request, table(heading, rows));
                self.tell_load(outcome);
            }
            "query" => {
                let outcome = self.airline().query(serde_json::from_str(rest).expect("JSON"));
                match outcome {
                    Err(problem) => self.tell(&problem),
                    Ok(answer) => {
                        for column in answer.columns {
                            let cell = |row: usize| match column.states.get(&row) {
                                None => column.values[row].to_string(),
                                Some(CellState::Error) => format!("error({})", column.errors[&row].code),
                                Some(state) => state.as_str().to_owned(),
                            };
                            let cells: Vec<String> = (0..answer.rows).map(cell).collect();
                            self.line(&format!("{}: {}", column.feature, cells.join(", ")));
                        }
                    }
                }
            }
            "file" => {
                let lines: Vec<&str> = rows.iter().map(|row| row.trim()).collect();
                self.write(rest, format!("{}\n", lines.join("\n")).as_bytes());
            }
            "parquet" | "arrow" => {
                let (path, heading) = rest.split_once(" (").expect("a path, then columns in brackets");
                let table = table(heading, rows);
                let bytes = if deed == "parquet" { parquet_bytes(&table) } else { arrow_bytes(&table) };
                self.write(path, &bytes);
            }
            "cut" => {
                let (path, cut) = rest.split_once(" by ").expect("`cut PATH by BYTES`");
                let bytes = std::fs::read(self.project.path().join(path)).expect("a file of the project");
                let cut: usize = cut.parse().expect("a number of bytes");
                self.write(path, &bytes[..bytes.len() - cut]);
            }
            "load" => self.load(rest),
            "full" => self.stores.files.inject(Fault::Full, 0),
            "close" => {
                self.airline = None;
                self.whole = self.files();
            }
            "harm" => self.harm(rest),
            "undo" => {
                for (path, _) in self.files() {
                    self.stores.files.delete(&path).expect("a file of the disk");
                }
                for (path, bytes) in &self.whole {
                    self.stores.files.create(path, bytes).expect("room");
                }
            }
            "open" => {
                let before = self.files();
                match self.stores.clone().open() {
                    Ok(airline) => {
                        self.airline = Some(airline);
                        self.line("opened");
                        self.tell_stored();
                    }
                    Err(problem) => {
                        assert!(before == self.files(), "what is refused is left as it was");
                        self.tell(&problem);
                    }
                }
            }
            _ => panic!("`{deed}` is no deed"),
        }
    }

    fn airline(&self) -> &Airline {
        self.airline.as_ref().expect("the scope is open")
    }

    fn line(&mut self, text: &str) {
        writeln!(self.text, "{text}").expect("a string");
    }

    fn tell(&mut self, problem: &Problem) {
        let folder = self.project.path().display().to_string();
        let text = problem.to_string();
        assert!(!text.contains(&folder), "a message names files as the project does: {text}");
        assert!(problem.help.is_some(), "a message says what to do: {text}");
        self.line(&text);
    }

    fn tell_load(&mut self, outcome: Result<IngestReport, Problem>) {
        match outcome {
            Err(problem) => self.tell(&problem),
            Ok(report) => {
                self.line(&format!(
                    "accepted {} of {}, {} kept apart",
                    report.accepted, report.rows, report.quarantined
                ));
                for warning in report.warnings {
                    self.line(&format!("warning: {warning}"));
                }
            }
        }
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        std::fs::write(self.project.path().join(path), bytes).expect("a file of the project");
    }

    /// `{"format": "csv", "path": "flights.csv"}` is a declared source of flights.
    fn load(&mut self, text: &str) {
        let mut source: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let common = json!({
            "name": "flights", "entity": "Flight", "event_time": { "column": "departed" }, "arrival": { "delay": "0s" },
            "location": { "file": "features.py", "line": 40 }
        });
        for (name, value) in common.as_object().expect("an object") {
            source.as_object_mut().expect("an object").entry(name).or_insert(value.clone());
        }
        let source: Source = serde_json::from_value(source).expect("a source");
        match read_source(self.project.path(), &bundle().graph, &source) {
            Err(problem) => self.tell(&problem),
            Ok(batches) => {
                let airline = self.airline();
                let permit = airline.permit(Action::Ingest, &[]);
                let outcome = airline.engine.ingest(&load_request(&source), &batches, &permit);
                self.tell_load(outcome);
            }
        }
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let files = &self.stores.files;
        let read = |path: String| (path.clone(), files.read(&path).expect("a listed file"));
        files.list("tenants/acme/facts/").expect("a list").into_iter().map(read).collect()
    }

    /// The largest file with that text in its path.
    fn largest(&self, part: &str) -> (&str, Vec<u8>) {
        let named = self.whole.iter().filter(|(path, _)| path.contains(part));
        let Some((path, bytes)) = named.max_by_key(|(_, bytes)| bytes.len()) else {
            panic!("no file `{part}` among {:?}", self.whole.iter().map(|(path, _)| path).collect::<Vec<_>>())
        };
        (path, bytes.clone())
    }

    /// `flip PART`, `shorten PART`, `lose PART`, and `swap PART OTHER`, which puts the other file in place of the first.
    fn harm(&self, rest: &str) {
        let (how, part) = rest.split_once(' ').expect("how and which");
        let (part, other) = part.split_once(' ').unwrap_or((part, part));
        let (path, mut bytes) = self.largest(part);
        match how {
            "swap" => bytes = self.largest(other).1,
            "flip" => *bytes.last_mut().expect("the file has bytes") ^= 1,
            "shorten" => bytes.truncate(bytes.len() / 2),
            "lose" => return self.stores.files.delete(path).expect("a file of the disk"),
            _ => panic!("`{how}` is no harm"),
        }
        self.stores.files.replace(path, &bytes).expect("room");
    }
}

/// A table from `id int, departed datetime)` and indented rows whose cells are separated by two or more spaces.
fn table(heading: &str, rows: &[&str]) -> RecordBatch {
    let columns = heading.trim_end_matches(')').split(", ").map(|column| column.split_once(' ').expect("name type"));
    let rows: Vec<Vec<&str>> =
        rows.iter().map(|row| row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    let arrays = columns.enumerate().map(|(index, (name, ty))| {
        let cells: Vec<&str> = rows.iter().map(|row| row[index]).collect();
        (name.to_owned(), array(ty, &cells))
    });
    RecordBatch::try_from_iter_with_nullable(arrays.map(|(name, array)| (name, array, true))).expect("even columns")
}

fn array(ty: &str, cells: &[&str]) -> ArrayRef {
    if ty == "naive" {
        let micros = cells.iter().map(|cell| at(&format!("{cell}Z")).micros());
        return Arc::new(TimestampMicrosecondArray::from_iter_values(micros));
    }
    let ty: Type = serde_json::from_value(json!({ "kind": ty })).expect("a type");
    let value = |cell: &&str| {
        let json = serde_json::from_str(cell).unwrap_or_else(|_| json!(cell));
        Value::from_json(&ty, &json).expect("a cell of its type")
    };
    build_array(&ty, &cells.iter().map(value).collect::<Vec<_>>()).expect("typed cells")
}

fn parquet_bytes(table: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, table.schema(), None).expect("a writer");
    writer.write(table).expect("written");
    writer.close().expect("closed");
    bytes
}

fn arrow_bytes(table: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, table.schema_ref()).expect("a writer");
    for row in 0..table.num_rows() {
        writer.write(&table.slice(row, 1)).expect("written");
    }
    writer.finish().expect("finished");
    drop(writer);
    bytes
}
