//! Definitions written from a Parquet file: an entity, its source, an example of a window over it, and a test.

use std::collections::BTreeSet;
use std::path::Path;

use creta_model::Name;

use super::columns::{self, Column, Zone};
use super::{Content, NewFile};
use crate::args::Init;
use crate::failure::Failure;

/// What came of a file.
pub(super) struct Made {
    pub(super) files: Vec<NewFile>,
    pub(super) left_out: Vec<(String, String)>,
}

/// A column under the name it gets in Python.
struct Member {
    name: String,
    column: Column,
}

/// What Python's formatters take for a line.
const LINE_MAX: usize = 88;

const KEYWORDS: [&str; 35] = [
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except",
    "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
    "return", "try", "while", "with", "yield", "False", "None", "True",
];

pub(super) fn definitions(file: &Path, init: &Init) -> Result<Made, Failure> {
    let found = columns::read(file)?;
    let entity = match &init.entity {
        Some(name) => name.to_string(),
        None => entity_name(file),
    };
    let keys = choose_keys(&found.usable, &init.key, &entity)?;
    let time = choose_time(&found.usable, init.event_time.as_deref())?;
    let mut taken = BTreeSet::new();
    let members: Vec<Member> =
        found.usable.into_iter().map(|column| Member { name: python_name(&column.name, &mut taken), column }).collect();
    let file_name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let target = std::path::absolute(file).map_err(|error| Failure::file("find", file, &error))?;
    let module = snake(&entity);
    let written =
        Written { entity: &entity, members: &members, keys: &keys, time: &time, file: &file_name, rows: found.rows };
    Ok(Made {
        files: vec![
            NewFile::text(format!("features/{module}.py"), written.module()),
            NewFile::text(format!("tests/test_{module}.py"), written.test(&module)),
            NewFile { path: format!("data/{file_name}"), content: Content::Link(target) },
        ],
        left_out: found.left_out,
    })
}

/// `flights.parquet` holds `Flight`s.
fn entity_name(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut name = String::new();
    for word in stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        name.push_str(&first.to_ascii_uppercase());
        name.push_str(rest);
    }
    let singular = name.strip_suffix('s').filter(|rest| rest.len() > 2 && !rest.ends_with('s'));
    let name = singular.unwrap_or(&name);
    if Name::parse(name).is_ok() { name.to_owned() } else { "Fact".to_owned() }
}

fn snake(name: &str) -> String {
    let mut text = String::new();
    for (index, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// A name that Python and Creta take, and that no other column has.
fn python_name(column: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name: String =
        column.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).take(90).collect();
    name = name.trim_matches('_').to_owned();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.insert_str(0, "c_");
    }
    if KEYWORDS.contains(&name.as_str()) {
        name.push('_');
    }
    let base = name.clone();
    let mut n = 1;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{base}_{n}");
    }
    name
}

fn choose_keys(columns: &[Column], given: &[String], entity: &str) -> Result<Vec<String>, Failure> {
    let candidates = || {
        let names: Vec<String> =
            columns.iter().filter(|c| c.is_key_type && c.time.is_none()).map(|c| format!("`{}`", c.name)).collect();
        format!("columns that can be a key are {}", names.join(", "))
    };
    if given.is_empty() {
        let id = format!("{}_id", snake(entity));
        let guess = columns.iter().find(|c| c.is_key_type && (c.name.eq_ignore_ascii_case("id") || c.name == id));
        return guess.map(|column| vec![column.name.clone()]).ok_or_else(|| {
            let message = format!("which column tells one `{entity}` from another is not clear from the file");
            Failure::usage("project/no-key", message, format!("add `--key COLUMN`; {}", candidates()))
        });
    }
    for name in given {
        if !columns.iter().any(|column| &column.name == name && column.is_key_type) {
            let message = format!("`{name}` is no column of the file that can be a key");
            return Err(Failure::usage("project/bad-key", message, candidates()));
        }
    }
    Ok(given.to_vec())
}

fn choose_time(columns: &[Column], given: Option<&str>) -> Result<String, Failure> {
    let times: Vec<&str> = columns.iter().filter(|c| c.time.is_some()).map(|c| c.name.as_str()).collect();
    match (given, times.as_slice()) {
        (Some(name), _) if times.contains(&name) => Ok(name.to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        _ => {
            let quoted: Vec<String> = times.iter().map(|name| format!("`{name}`")).collect();
            let message = match given {
                Some(name) => format!("`{name}` is no column of the file that holds a time"),
                None => "which column says when a row was true is not clear from the file".to_owned(),
            };
            let help = if quoted.is_empty() {
                "the file needs a timestamp column: without one nothing can be said about the past".to_owned()
            } else {
                format!("add `--event-time COLUMN`; columns that hold a time are {}", quoted.join(", "))
            };
            Err(Failure::usage("project/no-event-time", message, help))
        }
    }
}

/// What is known when the files are written.
struct Written<'a> {
    entity: &'a str,
    members: &'a [Member],
    keys: &'a [String],
    time: &'a str,
    file: &'a str,
    rows: i64,
}

impl Written<'_> {
    fn is_key(&self, member: &Member) -> bool {
        self.keys.contains(&member.column.name)
    }

    fn is_time(&self, member: &Member) -> bool {
        member.column.name == self.time
    }

    /// Other columns that rows can be grouped by; the first of them makes the example, texts before numbers.
    fn group(&self) -> Option<&Member> {
        let plain = |m: &&Member| !self.is_key(m) && m.column.time.is_none() && m.column.is_key_type;
        let text = self.members.iter().filter(plain).find(|m| m.column.python == "str");
        text.or_else(|| self.members.iter().filter(plain).find(|m| m.column.python == "int"))
    }

    /// The number that the example takes the mean of: one with a fraction before one without.
    fn number(&self) -> Option<&Member> {
        let group = self.group().map(|group| group.name.as_str());
        let plain = |m: &&Member| !self.is_key(m) && Some(m.name.as_str()) != group && m.column.is_number();
        let float = self.members.iter().filter(plain).find(|m| m.column.python == "float");
        float.or_else(|| self.members.iter().find(plain))
    }

    fn group_entity(&self, group: &Member) -> String {
        let mut name = entity_name(Path::new(&group.name));
        if name == self.entity || name == "Fact" {
            name.push_str("Group");
        }
        name
    }

    fn module(&self) -> String {
        let entity = self.entity;
        let (file, rows) = (self.file, self.rows);
        let mut text = format!(
            "\"\"\"Written from `{file}` ({rows} rows); yours to change.\"\"\"\n\nfrom __future__ import annotations\n\n"
        );
        text.push_str(&self.imports());
        text.push_str(&format!("\n\n@entity\nclass {entity}:\n    \"\"\"One row of `{file}`.\"\"\"\n\n"));
        for member in self.members {
            text.push_str(&format!("    {}\n", self.member(member)));
        }
        if let Some(group) = self.group() {
            let name = self.group_entity(group);
            let relation = snake(&name);
            let taken = self.members.iter().any(|member| member.name == relation);
            let relation = if taken { format!("{relation}_history") } else { relation };
            text.push_str(&declared(
                &format!("{relation}: One[{name}]"),
                "one",
                &format!("on=lambda: ({entity}.{}, {name}.code)", group.name),
            ));
            text.push_str(&self.grouped(group, &name));
        }
        text.push_str(&self.source());
        text
    }

    fn imports(&self) -> String {
        let has = |python: &str| self.members.iter().any(|member| member.column.python.starts_with(python));
        let mut text = String::new();
        let dates: Vec<&str> = ["date", "datetime", "timedelta"]
            .into_iter()
            .filter(|name| self.members.iter().any(|member| member.column.python == *name))
            .collect();
        text.push_str(&format!("from datetime import {}\n", dates.join(", ")));
        if has("Annotated[Decimal") {
            text.push_str("from decimal import Decimal\nfrom typing import Annotated\n");
        }
        let mut names = vec!["Feature", "entity", "event_time", "feature", "key", "parquet", "seconds", "source"];
        if has("Annotated[Decimal") {
            names.push("Scale");
        }
        if self.group().is_some() {
            names.extend(["Many", "One", "Windowed", "count", "days", "many", "one"]);
            if self.number().is_some() {
                names.push("mean");
            }
        }
        if !self.members.iter().any(|member| !self.is_key(member) && !self.is_time(member)) {
            names.retain(|name| *name != "feature");
        }
        // As import sorters do: constants and classes first, then functions.
        names.sort_by_key(|name| (name.starts_with(|c: char| c.is_ascii_lowercase()), *name));
        text.push_str(&format!("\nfrom creta import (\n    {},\n)\n", names.join(",\n    ")));
        text
    }

    fn member(&self, member: &Member) -> String {
        let Column { python, optional, .. } = &member.column;
        let declared = match () {
            () if self.is_key(member) => "key()",
            () if self.is_time(member) => "event_time()",
            () => "feature()",
        };
        let null = if *optional && declared == "feature()" { " | None" } else { "" };
        format!("{}: Feature[{python}{null}] = {declared}", member.name)
    }

    fn grouped(&self, group: &Member, name: &str) -> String {
        let entity = self.entity;
        let rows = format!("{}s", snake(entity));
        let mut text = format!(
            "\n\n@entity\nclass {name}:\n    \"\"\"What happened lately where `{entity}.{}` is the same.\"\"\"\n\n",
            group.name
        );
        text.push_str(&format!("    code: Feature[{}] = key()\n", group.column.python));
        let on = format!("on=lambda: ({name}.code, {entity}.{})", group.name);
        text.push_str(&declared(&format!("{rows}: Many[{entity}]"), "many", &on));
        let last = "last=(days(1), days(7))";
        text.push_str(&declared(&format!("{rows}_count: Windowed[int]"), "count", &format!("{rows}, {last}")));
        if let Some(number) = self.number() {
            let mean = format!("{rows}[{entity}.{}], {last}", number.name);
            text.push_str(&declared(&format!("{}_mean: Windowed[float]", number.name), "mean", &mean));
        }
        text
    }

    fn source(&self) -> String {
        let entity = self.entity;
        let renamed: Vec<String> = self
            .members
            .iter()
            .filter(|member| member.name != member.column.name)
            .map(|member| format!("{entity}.{}: {}", member.name, quoted(&member.column.name)))
            .collect();
        let mut text = format!("\n\n{}_rows = source(\n    {entity},\n", snake(entity));
        text.push_str(&format!("    parquet({}),\n", quoted(&format!("data/{}", self.file))));
        text.push_str(&format!("    event_time={},\n", quoted(self.time)));
        text.push_str("    # Each row counts as known at its event time. Where it became known later, say\n");
        text.push_str("    # a delay or a column: what was not known yet must not reach a training set.\n");
        text.push_str("    arrival=seconds(0),\n");
        if !renamed.is_empty() {
            text.push_str(&format!("    columns={{{}}},\n", renamed.join(", ")));
        }
        if self.members.iter().any(|member| member.column.time == Some(Zone::Missing)) {
            text.push_str("    # The file's times say no zone; correct this if they are not UTC.\n    zone=\"UTC\",\n");
        }
        text + ")\n"
    }

    fn test(&self, module: &str) -> String {
        let entity = self.entity;
        format!(
            "\"\"\"The definitions in `features/{module}.py` hold together.\"\"\"\n\n\
             from pathlib import Path\n\n\
             import creta\n\n\
             from features.{module} import {entity}\n\n\
             PROJECT = Path(__file__).parent.parent\n\n\n\
             def test_the_project_checks() -> None:\n    \
                 assert creta.check(PROJECT) == []\n\n\n\
             def test_the_entity_is_described() -> None:\n    \
                 assert {entity}.__doc__\n"
        )
    }
}

/// A member of a class, in the form that Python's formatters leave as it is: on one line where it fits.
fn declared(member: &str, function: &str, arguments: &str) -> String {
    let line = format!("    {member} = {function}({arguments})\n");
    if line.len() <= LINE_MAX + 1 { line } else { format!("    {member} = {function}(\n        {arguments}\n    )\n") }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Float64Array, Int64Array, NullArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    };
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn written(folder: &Path, columns: Vec<(&str, ArrayRef)>) -> std::path::PathBuf {
        let file = folder.join("web orders.parquet");
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let mut writer =
            ArrowWriter::try_new(std::fs::File::create(&file).expect("file"), batch.schema(), None).expect("writer");
        writer.write(&batch).expect("writes");
        writer.close().expect("closes");
        file
    }

    fn init(key: &[&str], event_time: Option<&str>) -> Init {
        Init {
            folder: "unused".into(),
            from: None,
            entity: None,
            key: key.iter().map(|key| (*key).to_owned()).collect(),
            event_time: event_time.map(str::to_owned),
        }
    }

    fn times() -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![1, 2]))
    }

    fn module(made: &Made) -> &str {
        match &made.files[0].content {
            Content::Text(text) => text,
            Content::Link(_) => panic!("the module is a text"),
        }
    }

    #[test]
    fn every_column_becomes_a_member_or_is_named_with_the_reason() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(vec![1, 2]))),
            ("class", Arc::new(StringArray::from(vec![Some("a"), None]))),
            ("unit price", Arc::new(Float64Array::from(vec![1.5, 2.5]))),
            ("unit_price", Arc::new(Float64Array::from(vec![1.5, 2.5]))),
            ("nothing", Arc::new(NullArray::new(2))),
            ("placed", times()),
        ];
        let made = definitions(&written(folder.path(), columns), &init(&[], None)).expect("clear");
        assert_eq!(made.left_out, [("nothing".to_owned(), "no feature has type Null".to_owned())]);
        let text = module(&made);
        for line in [
            "class WebOrder:",
            "    id: Feature[int] = key()",
            "    class_: Feature[str | None] = feature()",
            "    unit_price: Feature[float] = feature()",
            "    unit_price_2: Feature[float] = feature()",
            "    placed: Feature[datetime] = event_time()",
            "class Class:",
            "    code: Feature[str] = key()",
            "    web_orders: Many[WebOrder] = many(on=lambda: (Class.code, WebOrder.class_))",
            "    unit_price_mean: Windowed[float] = mean(",
            "    parquet(\"data/web orders.parquet\"),",
            "    event_time=\"placed\",",
            "    columns={WebOrder.class_: \"class\", WebOrder.unit_price: \"unit price\", WebOrder.unit_price_2: \"unit_price\"},",
            "    zone=\"UTC\",",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_not_clear_is_asked_rather_than_guessed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let columns = || -> Vec<(&str, ArrayRef)> {
            vec![
                ("a", Arc::new(Int64Array::from(vec![1, 2]))),
                ("x", Arc::new(Float64Array::from(vec![1.0, 2.0]))),
                ("t", times()),
                ("u", times()),
            ]
        };
        let file = written(folder.path(), columns());
        let refused = |key: &[&str], time: Option<&str>| {
            let failure = definitions(&file, &init(key, time)).err().expect("not clear");
            (failure.problems[0].code.clone(), failure.problems[0].help.clone().expect("help"))
        };
        assert_eq!(
            refused(&[], Some("t")),
            ("project/no-key".into(), "add `--key COLUMN`; columns that can be a key are `a`".into())
        );
        assert_eq!(refused(&["x"], Some("t")).0, "project/bad-key");
        let (code, help) = refused(&["a"], None);
        assert_eq!((code.as_str(), help.ends_with("are `t`, `u`")), ("project/no-event-time", true));
        assert_eq!(refused(&["a"], Some("x")).0, "project/no-event-time");
        assert!(definitions(&file, &init(&["a"], Some("t"))).is_ok());
    }

    #[test]
    fn names_of_files_become_names_of_entities() {
        let name = |file: &str| entity_name(Path::new(file));
        assert_eq!(name("/data/flights.parquet"), "Flight");
        assert_eq!(name("user_events-2024.parquet"), "UserEvents2024");
        assert_eq!(name("address.parquet"), "Address");
        assert_eq!(name("2024.parquet"), "Fact");
        assert_eq!(name("Äpfel.parquet"), "Pfel");
    }
}
