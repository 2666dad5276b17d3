//! Answers from stored bytes against answers over columns, over histories that aim at the edges of the rules.

use std::cell::Cell as Count;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, TimestampMicrosecondArray};
use creta_model::{EntityId, FeatureId, Span, Type, Value};
use creta_planner::{KeyColumn, LookupColumn, Origin, Plan, Step};
use creta_store::{FactBatch, MemoryStore, Position};
use proptest::prelude::*;

use super::StoredPlan;
use crate::answers::{ValueRows, to_json};
use crate::fact_index::{Before, Contents, FactIndex, IndexSpec};
use crate::properties::{FLOAT, INT, TEXT, floats, history, key, rows, spine, types};
use crate::reference::Fact;
use crate::run::Rows;
use crate::testing::{MemoryFacts, PlanOf, column, name, run_plan};
use crate::value::read_value;
use crate::{NoResolvers, build_array};

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
    let types = all_types();
    let spec = IndexSpec { entity: EntityId(1), features: key().iter().map(|part| part.feature).collect() };
    let contents = Contents { specs: vec![spec], types: types.clone().into_iter().collect(), tiles: vec![Vec::new()] };
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

fn over_columns(plan: &Plan, rows: &Rows, index: &FactIndex) -> String {
    let answer = run_plan(plan, rows, index, &NoResolvers, 1);
    serde_json::to_string(&to_json(plan, rows, &answer)).expect("an answer has a JSON form")
}

fn from_bytes(plan: &Plan, rows: &Rows, index: &FactIndex) -> Option<String> {
    let instants =
        |column: &TimestampMicrosecondArray| column.values().iter().map(|at| crate::testing::at(*at)).collect();
    let given = rows.given.iter().zip(&plan.given).map(|(column, slot)| {
        let ty = &plan.slots[slot.0].ty;
        (0..column.len()).map(|row| read_value(column, ty, row)).collect()
    });
    let rows =
        ValueRows { given: given.collect(), as_of: instants(&rows.as_of), known_as_of: instants(&rows.known_as_of) };
    let stored = StoredPlan::of(plan).expect("it only looks up");
    let answer = stored.answer(index, &rows).expect("readable");
    let again = stored.answer(index, &rows).expect("readable");
    assert_eq!(answer, again, "what was learned of how facts lie changes no answer");
    answer.map(|json| String::from_utf8(json).expect("UTF-8"))
}

const ASKED: [u32; 10] = [FLOAT, INT, TEXT, BOOL, DATE, DATETIME, TIMEDELTA, DECIMAL, BYTES, LONG];

#[test]
fn s26_an_answer_from_stored_bytes_is_the_answer_over_columns() {
    let (asked_of, answered) = (Count::new(0_u32), Count::new(0_u32));
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
        for part in [&rows[..1], &rows[..]] {
            let rows = spine(part);
            asked_of.set(asked_of.get() + 1);
            if let Some(json) = from_bytes(&plan, &rows, &index) {
                answered.set(answered.get() + 1);
                prop_assert_eq!(json, over_columns(&plan, &rows, &index));
            }
        }
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    // It would be equal for certain if nothing were answered.
    assert!(answered.get() * 2 > asked_of.get(), "{} of {}", answered.get(), asked_of.get());
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
        let (found, expected) = (from_bytes(&plan, &rows, &index), over_columns(&plan, &rows, &index));
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
fn a_plan_that_does_more_than_look_up_is_not_answered_here() {
    let mut plan = plan(&[(INT, None, false)]);
    plan.steps.push(Step::Expression {
        expr: crate::testing::literal(Type::Int, serde_json::json!(1)),
        slot: plan.outputs[0],
        default: None,
    });
    assert!(StoredPlan::of(&plan).is_none());
    let asked = [(LIST, None, false)];
    assert!(StoredPlan::of(&super::tests::plan(&asked)).is_none(), "a list");
}
