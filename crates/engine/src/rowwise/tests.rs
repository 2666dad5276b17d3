//! Answers made row by row against answers over columns, over histories that aim at the edges of the rules.

use std::cell::Cell as Count;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch, TimestampMicrosecondArray};
use creta_model::{Aggregate, CellError, EntityId, FeatureId, Function, ResolverMode, Span, Type, Validation, Value};
use creta_planner::{Aggregation, CallInput, CallOutput, KeyColumn, LookupColumn, Origin, Plan, ResolverCall, Step};
use creta_store::{FactBatch, MemoryStore, Position};
use proptest::prelude::*;

use super::{MADE_MAX, RowPlan};
use crate::answers::{ValueRows, to_json};
use crate::fact_index::{Before, Contents, FactIndex, IndexSpec};
use crate::host::AtOnce;
use crate::properties::{FLOAT, INT, TEXT, floats, history, key, rows, spine, types};
use crate::reference::Fact;
use crate::run::Rows;
use crate::testing::{Closures, MemoryFacts, PlanOf, call, column, input, name, run_plan};
use crate::value::read_value;
use crate::windows::{TileInput, tile_inputs};
use crate::{NoResolvers, ResolverAnswer, ResolverHost, build_array};

const BOOL: u32 = 13;
const DATE: u32 = 14;
const DATETIME: u32 = 15;
const TIMEDELTA: u32 = 16;
const DECIMAL: u32 = 17;
const BYTES: u32 = 18;
const LONG: u32 = 19;
const LIST: u32 = 20;

fn all_types() -> BTreeMap<FeatureId, Type> {
    let mut all = types();
    all.extend(
        [
            (BOOL, Type::Bool),
            (DATE, Type::Date),
            (DATETIME, Type::Datetime),
            (TIMEDELTA, Type::Timedelta),
            (DECIMAL, Type::Decimal { scale: 2 }),
            (BYTES, Type::Bytes),
            (LONG, Type::Str),
            (LIST, Type::List { item: Box::new(Type::Int), optional: false }),
        ]
        .map(|(id, ty)| (FeatureId(id), ty)),
    );
    all
}

/// The same fact with features of every type, that follow from its integer.
fn widened(mut fact: Fact) -> Fact {
    let Some(int) = fact.values.get(&FeatureId(INT)).cloned() else { return fact };
    let values = match int {
        Value::Int(int) => [
            (BOOL, Value::Bool(int % 2 == 0)),
            (DATE, Value::Date((int % 3_000_000) as i32)),
            (DATETIME, Value::Datetime(crate::testing::at(int % 60_000_000_000_000_000))),
            (TIMEDELTA, Value::Timedelta(int)),
            (DECIMAL, Value::Decimal(i128::from(int) * 10_i128.pow(15))),
            (BYTES, Value::Bytes(vec![0, 255, int as u8, 1][..(int.unsigned_abs() % 5) as usize].to_vec())),
            // Around the ends of blocks of eight and thirty-two.
            (LONG, Value::Str(format!("{}\"\n", "é".repeat((int.unsigned_abs() % 40) as usize)))),
        ],
        _ => [BOOL, DATE, DATETIME, TIMEDELTA, DECIMAL, BYTES, LONG].map(|id| (id, Value::Null)),
    };
    fact.values.extend(values.map(|(id, value)| (FeatureId(id), value)));
    fact
}

fn index(facts: &[Fact], cuts: &[usize], with_list: bool) -> FactIndex {
    index_with(facts, cuts, with_list, Vec::new())
}

fn index_with(facts: &[Fact], cuts: &[usize], with_list: bool, tiles: Vec<TileInput>) -> FactIndex {
    let types = all_types();
    let spec = IndexSpec { entity: EntityId(1), features: key().iter().map(|part| part.feature).collect() };
    let contents = Contents { specs: vec![spec], types: types.clone().into_iter().collect(), tiles: vec![tiles] };
    let index = FactIndex::open(Arc::new(MemoryStore::new()), contents, Before::default()).expect("opens");
    let mut facts = facts.to_vec();
    if with_list {
        facts.iter_mut().for_each(|fact| drop(fact.values.insert(FeatureId(LIST), Value::List(vec![Value::Int(1)]))));
    }
    for (position, batch) in (1..).zip(MemoryFacts::plain(&facts, &types, cuts)) {
        let batch = FactBatch::new(EntityId(1), batch).expect("facts of the layout");
        index.apply(&[batch], Position(position)).expect("applied");
    }
    index
}

fn plan(asked: &[(u32, Option<i64>, bool)]) -> Plan {
    let types = all_types();
    let mut plan = PlanOf::given(&[Type::Str, Type::Str]);
    let columns = asked.iter().map(|(id, max_age, with_default)| {
        let ty = types[&FeatureId(*id)].clone();
        let default = match ty {
            Type::Int => Some(serde_json::json!(7)),
            Type::Str => Some(serde_json::json!("none \"known\"")),
            Type::Decimal { .. } => Some(serde_json::json!("1.50")),
            Type::Bool => Some(serde_json::Value::Null),
            _ => None,
        };
        LookupColumn {
            slot: plan.output(ty.clone(), Origin::Facts),
            column: column(*id, ty),
            max_age: max_age.map(|micros| Span::from_micros(micros).expect("not negative")),
            default: default.filter(|_| *with_default),
        }
    });
    let columns = columns.collect();
    plan.0.outputs.push(plan.0.given[1]); // What is given is answered too.
    let key_slots = plan.0.given.clone();
    let key: Vec<KeyColumn> = key();
    plan.step(Step::Lookup { entity: EntityId(1), entity_name: name("Thing"), key, key_slots, columns })
}

/// How many questions were asked, how many were answered by row, and how many of those answers hold errors.
#[derive(Default)]
struct Tally {
    asked: Count<u32>,
    answered: Count<u32>,
    failed: Count<u32>,
}

impl Tally {
    /// An answer by row, if there is one, is the answer over columns, byte for byte.
    fn require_equal(
        &self,
        plan: &Plan,
        rows: &Rows,
        index: &FactIndex,
        host: &dyn ResolverHost,
    ) -> Result<(), TestCaseError> {
        self.asked.set(self.asked.get() + 1);
        let Some(json) = by_row(plan, rows, index, host) else { return Ok(()) };
        self.answered.set(self.answered.get() + 1);
        self.failed.set(self.failed.get() + u32::from(json.contains("\"errors\"")));
        prop_assert_eq!(json, over_columns(plan, rows, index, host));
        Ok(())
    }

    /// All would be equal for certain if nothing were answered.
    fn require_most(&self) {
        let (answered, asked) = (self.answered.get(), self.asked.get());
        assert!(answered * 5 > asked * 3, "{answered} of {asked}");
    }
}

fn over_columns(plan: &Plan, rows: &Rows, index: &FactIndex, host: &dyn ResolverHost) -> String {
    let answer = run_plan(plan, rows, &index.view().expect("readable"), host, 1);
    serde_json::to_string(&to_json(plan, rows, None, &answer)).expect("an answer has a JSON form")
}

fn by_row(plan: &Plan, rows: &Rows, index: &FactIndex, host: &dyn ResolverHost) -> Option<String> {
    let instants =
        |column: &TimestampMicrosecondArray| column.values().iter().map(|at| crate::testing::at(*at)).collect();
    let given = rows.given.iter().zip(&plan.given).map(|(column, slot)| {
        let ty = &plan.slots[slot.0].ty;
        (0..column.len()).map(|row| read_value(column, ty, row)).collect()
    });
    let rows = ValueRows {
        given: given.collect(),
        as_of: instants(&rows.as_of),
        known_as_of: instants(&rows.known_as_of),
        known_to: None,
    };
    let plan = RowPlan::of(plan).expect("it looks up and calls");
    let answer = || {
        let cells = plan.run(&index.view().expect("readable"), host, &rows).expect("readable");
        cells.map(|cells| String::from_utf8(cells.json().expect("readable")).expect("UTF-8"))
    };
    let first = answer();
    assert_eq!(answer(), first, "what was learned of how facts lie changes no answer");
    first
}

const ASKED: [u32; 10] = [FLOAT, INT, TEXT, BOOL, DATE, DATETIME, TIMEDELTA, DECIMAL, BYTES, LONG];

#[test]
fn s26_an_answer_by_row_is_the_answer_over_columns() {
    let tally = Tally::default();
    let column =
        (prop::sample::select(ASKED.to_vec()), prop::option::weighted(0.3, 0i64..30), prop::bool::weighted(0.4));
    let input = (
        history(24, floats().boxed()),
        prop::collection::vec(0usize..24, 0..4),
        rows(),
        prop::collection::vec(column, 1..12),
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    let ran = runner.run(&input, |(history, cuts, rows, asked)| {
        let facts: Vec<Fact> = history.into_iter().map(widened).collect();
        let (index, plan) = (index(&facts, &cuts, false), plan(&asked));
        for part in [&rows[..0], &rows[..1], &rows[..]] {
            let rows = spine(part);
            tally.require_equal(&plan, &rows, &index, &NoResolvers)?;
        }
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    tally.require_most();
}

#[test]
fn what_is_not_read_in_place_is_left_to_columns() {
    let fact = |sequence: u64, source: &str, event: i64| Fact {
        event_time: crate::testing::at(event),
        arrival_time: crate::testing::at(event),
        source: source.into(),
        sequence,
        event_id: None,
        retracted: false,
        values: [(1, Value::Str("1".into())), (2, Value::Str("23".into())), (INT, Value::Int(sequence as i64))]
            .map(|(id, value)| (FeatureId(id), value))
            .into(),
    };
    let given = |second: Value| vec![Value::Str("1".into()), second];
    let rows = |second: Value| {
        let given = given(second).into_iter().map(|value| build_array(&Type::Str, &[value]).expect("a text"));
        Rows::at(given.collect(), 1, crate::testing::at(100))
    };
    let plan = plan(&[(INT, None, false)]);
    let one = [fact(0, "a", 1)];
    let answer = |facts: &[Fact], second: Value, with_list: bool| {
        let index = index(facts, &[], with_list);
        let rows = rows(second);
        let (found, expected) =
            (by_row(&plan, &rows, &index, &NoResolvers), over_columns(&plan, &rows, &index, &NoResolvers));
        assert!(found.as_ref().is_none_or(|found| *found == expected));
        found.is_some()
    };
    let key = || Value::Str("23".into());
    assert!(answer(&one, key(), false));
    assert!(answer(&[], key(), false), "that nothing is known is an answer");
    assert!(!answer(&one, Value::Null, false), "a row without a key");
    assert!(!answer(&one, key(), true), "lists beside what is asked for");
    assert!(!answer(&[fact(0, "a", 1), fact(1, "b", 1)], key(), false), "a tie that the source decides");
    let many: Vec<Fact> = (0..300).map(|n| fact(n, "a", n as i64)).collect();
    assert!(!answer(&many, key(), false), "facts in buckets");
}

#[test]
fn a_plan_that_does_something_else_is_not_answered_here() {
    let mut plan = plan(&[(INT, None, false)]);
    let alias = crate::testing::input(plan.outputs[0].0, Type::Int);
    plan.steps.push(Step::Expression { expr: alias, slot: plan.outputs[0], default: None });
    assert!(RowPlan::of(&plan).is_none(), "a cell as it is, with the time of its fact");
    let asked = [(LIST, None, false)];
    assert!(RowPlan::of(&super::tests::plan(&asked)).is_none(), "a list");
}

/// Two resolvers: `made` gives a float, an int and a text, `read` a text of what `made` gave.
fn answers(call: &ResolverCall, arguments: &[Value]) -> Result<Vec<Value>, CellError> {
    let raised = |why: &str| Err(CellError { code: "resolver/raised".into(), message: why.into() });
    match (call.name.as_str(), arguments) {
        ("made", [Value::Float(float), ..]) if float.is_nan() => raised("NaN"),
        ("made", [float, int, Value::Datetime(now)]) => {
            let some = |value: &Value, none: Value| if *value == Value::Null { none } else { value.clone() };
            let even = matches!(int, Value::Int(int) if int % 2 == 0);
            let text = if even { Value::Str("even".into()) } else { Value::Null };
            let int = some(int, Value::Int(now.micros()));
            Ok(vec![some(float, Value::Float(0.5)), int, text])
        }
        ("read", [Value::Float(float), ..]) if *float < 0.0 => raised("negative"),
        ("read", [float, text]) => Ok(vec![Value::Str(format!("{float:?} {text:?}"))]),
        _ => raised("called otherwise"),
    }
}

/// Over columns as closures, row by row as what is compiled; the calls of some are beyond it.
struct Host<'a>(&'a str);

struct One(ResolverCall);

impl AtOnce for One {
    fn call(&self, arguments: &[Value]) -> Option<Result<Vec<Value>, CellError>> {
        let beyond = arguments.contains(&Value::Float(4.0));
        (!beyond).then(|| answers(&self.0, arguments))
    }
}

impl ResolverHost for Host<'_> {
    fn call(&self, call: &ResolverCall, inputs: &RecordBatch) -> Result<ResolverAnswer, CellError> {
        let types = if call.name.as_str() == "made" { &[Type::Float, Type::Int, Type::Str][..] } else { &[Type::Str] };
        Closures(answers, types.to_vec()).call(call, inputs)
    }

    fn at_once(&self, call: &ResolverCall) -> Option<Arc<dyn AtOnce>> {
        (call.name.as_str() != self.0).then(|| Arc::new(One(call.clone())) as Arc<dyn AtOnce>)
    }
}

fn resolver(named: &str) -> ResolverCall {
    ResolverCall {
        name: name(named),
        module: "features".into(),
        mode: ResolverMode::Scalar,
        is_async: false,
        timeout: None,
        retries: 0,
        fingerprint: String::new(),
    }
}

/// Lookups of a float, an int and a text, and both resolvers over them; every choice that a plan has from `choices`.
fn calling(choices: [bool; 10], max_age: Option<i64>) -> Plan {
    let [
        optional_float,
        optional_int,
        optional_made,
        optional_text,
        may_be_null,
        bounded,
        default,
        defaults,
        short,
        lookup,
    ] = choices;
    let mut plan = plan(&[(FLOAT, max_age, false), (INT, None, defaults), (TEXT, max_age, defaults)]);
    let [float, int, text] = [0, 1, 2].map(|output| plan.outputs[output]);
    let mut of = PlanOf(plan);
    let [a, b, c, d] = [Type::Float, Type::Int, Type::Str, Type::Str].map(|ty| {
        let made = Origin::Resolver(name(if ty == Type::Str { "read" } else { "made" }));
        of.output(ty, made)
    });
    plan = of.0;
    let input = |named: &str, ty: Type, slot, optional| CallInput { name: named.into(), ty, slot, optional };
    let output = |slot, ty: Type, optional, validation| {
        let value = if ty == Type::Str { serde_json::json!("none") } else { serde_json::json!(1) };
        CallOutput { slot, ty, optional, validation, default: default.then_some(value) }
    };
    let positive = bounded.then(|| Validation { min: Some(0.0), ..Validation::default() });
    let brief = short.then(|| Validation { max_length: Some(12), ..Validation::default() });
    plan.steps.push(Step::Resolve {
        resolver: resolver("made"),
        inputs: vec![
            input("float", Type::Float, Some(float), optional_float),
            input("int", Type::Int, Some(int), optional_int),
            input("now", Type::Datetime, None, false),
        ],
        outputs: vec![
            output(a, Type::Float, false, positive.clone()),
            output(b, Type::Int, false, positive),
            output(c, Type::Str, may_be_null, None),
        ],
    });
    let text = if lookup { text } else { c };
    plan.steps.push(Step::Resolve {
        resolver: resolver("read"),
        inputs: vec![
            input("float", Type::Float, Some(a), optional_made),
            input("text", Type::Str, Some(text), optional_text),
        ],
        outputs: vec![output(d, Type::Str, false, brief)],
    });
    plan
}

#[test]
fn s26_s32_calls_by_row_are_calls_over_columns() {
    let tally = Tally::default();
    let input = (history(24, floats().boxed()), rows(), any::<[bool; 10]>(), prop::option::weighted(0.3, 0i64..30));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(600));
    let ran = runner.run(&input, |(facts, rows, choices, max_age)| {
        let (index, plan, host) = (index(&facts, &[], false), calling(choices, max_age), Host(""));
        for part in [&rows[..0], &rows[..1], &rows[..]] {
            let rows = spine(part);
            tally.require_equal(&plan, &rows, &index, &host)?;
        }
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    tally.require_most();
    assert!(tally.failed.get() > 20, "errors were among them: {}", tally.failed.get());
}

#[test]
fn what_would_wait_for_python_is_left_to_columns() {
    let fact = Fact {
        event_time: crate::testing::at(1),
        arrival_time: crate::testing::at(1),
        source: "a".into(),
        sequence: 0,
        event_id: None,
        retracted: false,
        values: [
            (1, Value::Str("1".into())),
            (2, Value::Str("23".into())),
            (FLOAT, Value::Float(4.0)),
            (INT, Value::Int(2)),
            (TEXT, Value::Str("a".into())),
        ]
        .map(|(id, value)| (FeatureId(id), value))
        .into(),
    };
    let rows = |count: usize| {
        let part = |text: &str| build_array(&Type::Str, &vec![Value::Str(text.into()); count]).expect("texts");
        Rows::at(vec![part("1"), part("23")], count, crate::testing::at(100))
    };
    let (index, plan) = (index(&[fact], &[], false), calling([true; 10], None));
    let in_rows = RowPlan::of(&plan).expect("it looks up and calls");
    assert!(!in_rows.is_at_hand(1, &Host("read")), "one is not compiled");
    assert_eq!(by_row(&plan, &rows(1), &index, &Host("read")), None);
    assert!(in_rows.is_at_hand(1, &Host("")), "compiled later");
    assert!(!in_rows.is_at_hand(MADE_MAX, &Host("")), "too many calls");
    assert_eq!(by_row(&plan, &rows(1), &index, &Host("")), None, "a call beyond compiled code");
}

/// Windows over the floats of a key, an expression over one of them and a lookup, and a call that reads the expression.
fn windowed(spans: [i64; 2], default: bool) -> (Plan, Vec<Aggregation>) {
    let mut plan = plan(&[(FLOAT, None, false)]);
    let float = plan.outputs[0];
    let mut of = PlanOf(plan);
    let mut aggregations = Vec::new();
    for span in spans {
        for aggregate in [Aggregate::Count, Aggregate::Sum, Aggregate::Mean, Aggregate::Std] {
            let ty = if aggregate == Aggregate::Count { Type::Int } else { Type::Float };
            aggregations.push(Aggregation {
                aggregate,
                value: Some(input(0, Type::Float)),
                filter: None,
                span: Span::from_micros(span).expect("positive"),
                include_now: false,
                slot: of.output(ty, Origin::Window),
                default: default.then(|| serde_json::json!(0)),
            });
        }
    }
    let sum = aggregations[1].slot;
    let larger = of.output(Type::Bool, Origin::Expression);
    plan = of.0;
    let key_slots = plan.given[..2].to_vec();
    plan.steps.push(Step::Windows {
        entity: EntityId(1),
        entity_name: name("Thing"),
        key: key(),
        key_slots,
        columns: vec![column(FLOAT, Type::Float)],
        aggregations: aggregations.clone(),
    });
    let arguments = vec![input(sum.0, Type::Float), input(float.0, Type::Float)];
    let expr = call(Function::Gt, arguments, Type::Bool);
    plan.steps.push(Step::Expression { expr, slot: larger, default: default.then(|| serde_json::json!(true)) });
    (plan, aggregations)
}

#[test]
fn s26_windows_and_expressions_by_row_are_those_over_columns() {
    let tally = Tally::default();
    let spans = [prop::sample::select(vec![1, 10, 30]), prop::sample::select(vec![20, 60])];
    let input = (history(24, floats().boxed()), rows(), spans, any::<bool>());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    let ran = runner.run(&input, |(facts, rows, spans, default)| {
        let (plan, aggregations) = windowed(spans, default);
        let columns = [column(FLOAT, Type::Float)];
        let tiles = tile_inputs(aggregations.iter().map(|aggregation| (&columns[..], aggregation)));
        let index = index_with(&facts, &[], false, tiles);
        for part in [&rows[..0], &rows[..1], &rows[..]] {
            let rows = spine(part);
            tally.require_equal(&plan, &rows, &index, &NoResolvers)?;
        }
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    tally.require_most();
}

#[test]
fn a_window_that_no_tiles_serve_is_left_to_columns() {
    let (plan, aggregations) = windowed([10, 20], false);
    let texts = build_array(&Type::Str, &[Value::Str("1".into())]).expect("a text");
    let rows = Rows::at(vec![texts.clone(), texts], 1, crate::testing::at(100));
    assert_eq!(by_row(&plan, &rows, &index(&[], &[], false), &NoResolvers), None);
    let columns = [column(FLOAT, Type::Float)];
    let tiles = tile_inputs(aggregations.iter().map(|aggregation| (&columns[..], aggregation)));
    assert!(by_row(&plan, &rows, &index_with(&[], &[], false, tiles), &NoResolvers).is_some());
    let mut plan = plan;
    let Some(Step::Windows { aggregations, .. }) =
        plan.steps.iter_mut().find(|step| matches!(step, Step::Windows { .. }))
    else {
        panic!("there are windows")
    };
    aggregations[0].aggregate = Aggregate::Distinct;
    assert!(RowPlan::of(&plan).is_none(), "how many facts it reads has no bound");
}
