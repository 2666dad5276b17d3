//! Golden cases: facts, what is asked, and the answer, as worked examples in `tests/golden/`.
//!
//! A case is its text, `----`, and the answer; cases of a file are separated by `====`. Rows stand indented under
//! their heading, cells are separated by two or more spaces. `null` is an observed null, `-` was not observed. Columns
//! that only place a fact in time and order may be left out: a fact arrives when it is true, in the order of the rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use creta_model::{Aggregate, EntityId, FeatureId, Function, Instant, Span, Type, Value};
use creta_planner::{Aggregation, BoundExpr, KeyColumn, LookupColumn, Origin, Step};

use crate::reference::{Cell, Fact};
use crate::run::Rows;
use crate::testing::{MemoryFacts, PlanOf, call, cells, instants, name, run_plan};
use crate::{NoResolvers, build_array};

#[test]
fn point_in_time_cases() {
    run("point_in_time");
}

#[test]
fn window_cases() {
    run("windows");
}

#[test]
fn expression_cases() {
    run("expressions");
}

fn run(folder: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(folder);
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
            let got = Case::parse(question).answer();
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

/// A heading's columns and the rows under it.
#[derive(Default)]
struct Table {
    columns: Vec<(String, Option<Type>)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// `facts  Trip (user int, fare float, event_time)`.
    fn of(heading: &str) -> Self {
        let columns =
            heading.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).expect("columns in brackets");
        let columns = columns.split(", ").map(|column| match column.split_once(' ') {
            Some((name, ty)) => (name.to_owned(), Some(parse_type(ty))),
            None => (column.to_owned(), None),
        });
        Self { columns: columns.collect(), rows: Vec::new() }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(column, _)| column == name)
    }

    fn text<'a>(&'a self, row: &'a [String], name: &str) -> Option<&'a str> {
        self.find(name).map(|index| row[index].as_str())
    }

    /// Columns with a type, which hold values.
    fn typed(&self) -> impl Iterator<Item = (usize, &str, &Type)> {
        let columns = self.columns.iter().enumerate();
        columns.filter_map(|(index, (name, ty))| Some((index, name.as_str(), ty.as_ref()?)))
    }

    /// The values of a column; `-` reads as null here.
    fn values(&self, index: usize, ty: &Type) -> Vec<Value> {
        self.rows.iter().map(|row| parse_value(&row[index], ty).unwrap_or(Value::Null)).collect()
    }
}

fn parse_type(text: &str) -> Type {
    if let Some(item) = text.strip_prefix("list ") {
        return Type::List { item: Box::new(parse_type(item)), optional: true };
    }
    if let Some(scale) = text.strip_prefix("decimal ") {
        return Type::Decimal { scale: scale.parse().expect("a scale") };
    }
    serde_json::from_value(serde_json::json!({ "kind": text })).unwrap_or_else(|_| panic!("`{text}` is no type"))
}

fn parse_value(text: &str, ty: &Type) -> Option<Value> {
    if text == "-" {
        return None;
    }
    // Texts may stand without quotes; what is not JSON is a text.
    let json = serde_json::from_str(text).ok().filter(|json: &serde_json::Value| match ty {
        Type::Str | Type::Bytes | Type::Decimal { .. } => json.is_string() || json.is_null(),
        _ => true,
    });
    let json = json.unwrap_or_else(|| text.into());
    Some(Value::from_json(ty, &json).unwrap_or_else(|error| panic!("`{text}`: {error}")))
}

fn parse_instant(text: &str) -> Instant {
    Instant::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A cell as a case shows it: texts in quotes only where they could be taken for something else.
fn show(cell: &Cell, ty: &Type) -> String {
    match cell {
        Cell::Null => "null".into(),
        Cell::Missing => "missing".into(),
        Cell::Expired => "expired".into(),
        Cell::Denied => "denied".into(),
        Cell::Error(code) => format!("error({code})"),
        Cell::Value(Value::Str(text)) => {
            let plain = text.chars().all(char::is_alphanumeric) && text.starts_with(char::is_uppercase);
            if plain { text.clone() } else { serde_json::Value::from(text.as_str()).to_string() }
        }
        Cell::Value(value) => match value.to_json(ty) {
            serde_json::Value::String(text) => text,
            json => json.to_string(),
        },
    }
}

/// One `lookup`, `window` or `expression` line.
#[allow(clippy::large_enum_variant, reason = "a case holds a handful")]
enum Asked {
    Lookup {
        feature: String,
        max_age: Option<Span>,
        default: Option<serde_json::Value>,
    },
    Window {
        aggregate: Aggregate,
        value: Option<BoundExpr>,
        filter: Option<BoundExpr>,
        last: Span,
        include_now: bool,
        default: Option<serde_json::Value>,
    },
    Expression(BoundExpr),
}

#[derive(Default)]
struct Case {
    facts: Table,
    spine: Table,
    asked: Vec<Asked>,
}

impl Case {
    fn parse(text: &str) -> Self {
        let mut case = Self::default();
        let mut in_facts = true;
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            if line.starts_with(' ') {
                let row = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect();
                let table = if in_facts { &mut case.facts } else { &mut case.spine };
                table.rows.push(row);
                continue;
            }
            let (word, rest) = line.split_once("  ").unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "facts" => case.facts = Table::of(rest),
                "spine" | "columns" => {
                    case.spine = Table::of(rest);
                    in_facts = false;
                }
                "lookup" | "window" | "expression" => {
                    let asked = case.parse_asked(word, rest);
                    case.asked.push(asked);
                }
                _ => panic!("`{line}` is no heading"),
            }
        }
        case
    }

    fn parse_asked(&self, word: &str, text: &str) -> Asked {
        let table = if word == "expression" { &self.spine } else { &self.facts };
        let expr = |text: &str| Parser { rest: text, table }.whole();
        let mut parts = text.split("  ").map(str::trim).filter(|part| !part.is_empty());
        let what = parts.next().expect("what is asked");
        if word == "expression" {
            return Asked::Expression(expr(what));
        }
        let options: Vec<(&str, &str)> = parts.map(|part| part.split_once(' ').unwrap_or((part, ""))).collect();
        let option = |name: &str| options.iter().find(|(option, _)| *option == name).map(|(_, value)| *value);
        let span = |name: &str| option(name).map(|text| Span::parse(text).expect("a span"));
        let default = option("default").map(|json| serde_json::from_str(json).expect("JSON"));
        if word == "lookup" {
            return Asked::Lookup { feature: what.to_owned(), max_age: span("max_age"), default };
        }
        let (aggregate, value) =
            what.strip_suffix(')').and_then(|what| what.split_once('(')).expect("aggregate(value)");
        let aggregate = match aggregate.split_once('_') {
            Some(("last", n)) => Aggregate::LastN { n: n.parse().expect("a number") },
            Some(("percentile", percent)) => {
                let percent: f64 = percent.parse().expect("a number");
                Aggregate::Percentile { thousandths: (percent * 1000.0) as u32 }
            }
            _ => serde_json::from_value(serde_json::json!({ "aggregate": aggregate })).expect("an aggregate"),
        };
        Asked::Window {
            aggregate,
            value: (!value.is_empty()).then(|| expr(value)),
            filter: option("where").map(expr),
            last: span("last").expect("a window has a length"),
            include_now: option("include_now").is_some(),
            default,
        }
    }

    fn feature(&self, index: usize) -> KeyColumn {
        let (column, ty) = &self.facts.columns[index];
        KeyColumn { feature: FeatureId(index as u32), name: name(column), ty: ty.clone().expect("a typed column") }
    }

    fn history(&self) -> Vec<Fact> {
        let fact = |(number, row): (usize, &Vec<String>)| {
            let text = |name: &str| self.facts.text(row, name).filter(|text| *text != "-");
            let event_time = parse_instant(text("event_time").expect("facts have a time"));
            Fact {
                event_time,
                arrival_time: text("arrival_time").map_or(event_time, parse_instant),
                source: text("source").unwrap_or("source").into(),
                sequence: text("sequence").map_or(number as u64, |text| text.parse().expect("a number")),
                event_id: text("event_id").map(|id| id.as_bytes().to_vec()),
                retracted: text("retracted") == Some("true"),
                values: self
                    .facts
                    .typed()
                    .filter_map(|(index, _, ty)| Some((FeatureId(index as u32), parse_value(&row[index], ty)?)))
                    .collect(),
            }
        };
        self.facts.rows.iter().enumerate().map(fact).collect()
    }

    fn answer(&self) -> String {
        let given: Vec<(usize, &str, &Type)> = self.spine.typed().collect();
        let types: Vec<Type> = given.iter().map(|(_, _, ty)| (*ty).clone()).collect();
        let mut plan = PlanOf::given(&types);
        let columns =
            given.iter().map(|(index, _, ty)| build_array(ty, &self.spine.values(*index, ty)).expect("typed rows"));
        let columns = columns.collect();
        let times = |name: &str| -> Option<Vec<i64>> {
            self.spine.find(name)?;
            let texts = self.spine.rows.iter().map(|row| self.spine.text(row, name).expect("a column"));
            Some(texts.map(|text| parse_instant(text).micros()).collect())
        };
        let as_of = times("as_of").unwrap_or_else(|| vec![0; self.spine.rows.len()]);
        let known_as_of = times("known_as_of").unwrap_or_else(|| as_of.clone());
        let rows = Rows { given: columns, as_of: instants(&as_of), known_as_of: instants(&known_as_of) };
        let key: Vec<KeyColumn> =
            given.iter().filter_map(|(_, name, _)| self.facts.find(name).map(|index| self.feature(index))).collect();
        for asked in &self.asked {
            let step = self.step(asked, &mut plan, &key);
            plan.0.steps.push(step);
        }
        let history = self.history();
        let types: BTreeMap<FeatureId, Type> =
            self.facts.typed().map(|(index, _, ty)| (FeatureId(index as u32), ty.clone())).collect();
        let answer = run_plan(&plan.0, &rows, &MemoryFacts::new(&history, &types, &[]), &NoResolvers, 1);
        let mut text = String::new();
        for row in cells(&answer) {
            let shown: Vec<String> =
                row.iter().zip(&answer.columns).map(|(cell, column)| show(cell, &column.ty)).collect();
            writeln!(text, "  {}", shown.join("  ")).expect("a string");
        }
        text
    }

    fn step(&self, asked: &Asked, plan: &mut PlanOf, key: &[KeyColumn]) -> Step {
        let (entity, entity_name) = (EntityId(1), name("Thing"));
        let key_slots = plan.0.given.clone();
        match asked {
            Asked::Lookup { feature, max_age, default } => {
                let column = self.feature(self.facts.find(feature).expect("a feature of the facts"));
                let slot = plan.output(column.ty.clone(), Origin::Facts);
                let columns = vec![LookupColumn { column, slot, max_age: *max_age, default: default.clone() }];
                Step::Lookup { entity, entity_name, key: key.to_vec(), key_slots, columns }
            }
            Asked::Window { aggregate, value, filter, last, include_now, default } => {
                let of = value.as_ref().map(|value| value.ty().clone());
                let ty = match (aggregate, of) {
                    (Aggregate::Count | Aggregate::Distinct, _) | (_, None) => Type::Int,
                    (Aggregate::Var | Aggregate::Std, _)
                    | (Aggregate::Mean | Aggregate::Percentile { .. }, Some(Type::Int)) => Type::Float,
                    (Aggregate::LastN { .. }, Some(item)) => Type::List { item: Box::new(item), optional: false },
                    (_, Some(ty)) => ty,
                };
                let columns = (0..self.facts.columns.len())
                    .filter(|index| self.facts.columns[*index].1.is_some())
                    .map(|index| self.feature(index))
                    .collect();
                let aggregation = Aggregation {
                    aggregate: *aggregate,
                    value: value.clone(),
                    filter: filter.clone(),
                    span: *last,
                    include_now: *include_now,
                    slot: plan.output(ty, Origin::Window),
                    default: default.clone(),
                };
                let aggregations = vec![aggregation];
                Step::Windows { entity, entity_name, key: key.to_vec(), key_slots, columns, aggregations }
            }
            Asked::Expression(expr) => Step::Expression {
                expr: expr.clone(),
                slot: plan.output(expr.ty().clone(), Origin::Expression),
                default: None,
            },
        }
    }
}

/// Reads `div(a, to_float(2):float):float`: calls carry the type of their result, names are columns, the rest is JSON.
struct Parser<'a> {
    rest: &'a str,
    table: &'a Table,
}

impl<'a> Parser<'a> {
    fn whole(mut self) -> BoundExpr {
        let expr = self.expr();
        assert!(self.rest.is_empty(), "`{}` is left over", self.rest);
        expr
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn expr(&mut self) -> BoundExpr {
        let before = self.rest;
        let word = self.word();
        if self.take("(") {
            let function: Function =
                serde_json::from_value(word.into()).unwrap_or_else(|_| panic!("no function `{word}`"));
            let mut args = Vec::new();
            while !self.take(")") {
                args.push(self.expr());
                self.take(", ");
            }
            assert!(self.take(":"), "`{word}(...)` has no type");
            return call(function, args, self.ty());
        }
        if let Some(position) = self.table.find(word) {
            let index = self.table.typed().take_while(|(index, _, _)| *index < position).count();
            return BoundExpr::Column { index, ty: self.table.columns[position].1.clone().expect("a typed column") };
        }
        self.rest = before;
        self.literal()
    }

    fn literal(&mut self) -> BoundExpr {
        let end = match self.rest.strip_prefix('"') {
            Some(text) => text.find('"').map(|end| end + 2),
            None => self.rest.find([',', ')', ':']),
        };
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        let value: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("`{text}` is no literal"));
        let ty = match &value {
            _ if self.take(":") => self.ty(),
            serde_json::Value::Bool(_) => Type::Bool,
            serde_json::Value::Number(number) if number.is_f64() => Type::Float,
            serde_json::Value::String(_) => Type::Str,
            _ => Type::Int,
        };
        BoundExpr::Literal { ty, value }
    }

    fn ty(&mut self) -> Type {
        let end = self.rest.find([',', ')', ':']).unwrap_or(self.rest.len());
        let (ty, rest) = self.rest.split_at(end);
        self.rest = rest;
        parse_type(ty)
    }
}
