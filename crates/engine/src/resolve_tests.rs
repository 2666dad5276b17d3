//! Which rows are called, what comes of their answers, and what a run refuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray};
use creta_model::{CellError, CellState, EntityId, Function, Instant, ResolverMode, Type, Validation, Value};
use creta_planner::{CallInput, CallOutput, LookupColumn, Origin, Plan, ResolverCall, SlotId, Step};
use proptest::prelude::*;

use crate::column::{CellColumn, cell_error};
use crate::point_in_time::severity;
use crate::reference::Cell;
use crate::resolve::{Input, resolve};
use crate::run::execute;
use crate::testing::{Closures, MemoryFacts, PlanOf, call, cells, column, input, instants, name, run_plan};
use crate::{EngineError, NoResolvers, ResolverAnswer, ResolverHost, Rows, RunOptions, build_array, violations};

fn resolver() -> ResolverCall {
    ResolverCall {
        name: name("double"),
        module: "features".into(),
        mode: ResolverMode::Scalar,
        is_async: false,
        timeout: None,
        retries: 0,
        fingerprint: String::new(),
    }
}

fn parameter(ty: Type, optional: bool) -> CallInput {
    CallInput { name: "x".into(), ty, slot: Some(SlotId(0)), optional }
}

fn output(ty: Type) -> CallOutput {
    CallOutput { slot: SlotId(1), ty, optional: false, validation: None, default: None }
}

fn column_of(cells: &[Cell]) -> Arc<CellColumn> {
    let mut errors = BTreeMap::new();
    let (mut states, mut values) = (Vec::new(), Vec::new());
    for (row, cell) in cells.iter().enumerate() {
        values.push(if let Cell::Value(value) = cell { value.clone() } else { Value::Null });
        states.push(match cell {
            Cell::Value(_) => CellState::Value,
            Cell::Null => CellState::Null,
            Cell::Missing => CellState::Missing,
            Cell::Expired => CellState::Expired,
            Cell::Denied => CellState::Denied,
            Cell::Error(code) => {
                errors.insert(row, cell_error(code, "given"));
                CellState::Error
            }
        });
    }
    let values = build_array(&Type::Int, &values).expect("ints");
    Arc::new(CellColumn::new(values, states, errors).expect("cells"))
}

/// Columns in, one column out.
struct Answers(Result<ResolverAnswer, CellError>);

impl ResolverHost for Answers {
    fn call(&self, _call: &ResolverCall, _inputs: &RecordBatch) -> Result<ResolverAnswer, CellError> {
        self.0.clone()
    }
}

fn answered(array: ArrayRef) -> Answers {
    Answers(Ok(ResolverAnswer { outputs: vec![array], errors: BTreeMap::new() }))
}

/// What a resolver of one int makes of each of `rows` rows.
fn outcome(host: &dyn ResolverHost, output: CallOutput, rows: i64) -> Vec<Cell> {
    let given: Vec<Cell> = (1..=rows).map(|row| Cell::Value(Value::Int(row))).collect();
    let call = parameter(Type::Int, false);
    let inputs = [Input { call: &call, cells: column_of(&given) }];
    let ty = output.ty.clone();
    let answers = resolve(&resolver(), &inputs, &[output], given.len(), host).expect("resolves");
    (0..given.len()).map(|row| Cell::of(&answers[0], &ty, row)).collect()
}

fn int(value: i64) -> Cell {
    Cell::Value(Value::Int(value))
}

fn error(code: &str) -> Cell {
    Cell::Error(code.into())
}

fn any_cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        3 => (-9i64..10).prop_map(int),
        1 => Just(Cell::Null),
        1 => Just(Cell::Missing),
        1 => Just(Cell::Expired),
        1 => Just(Cell::Error("given/error".into())),
        1 => Just(Cell::Denied),
    ]
}

proptest! {
    #[test]
    fn s32_rows_without_their_inputs_are_not_called_and_take_over_the_state(
        rows in prop::collection::vec([any_cell(), any_cell()], 1..12), optional in any::<[bool; 2]>(),
    ) {
        let seen = Mutex::new(Vec::new());
        let host = Closures(
            |_: &ResolverCall, arguments: &[Value]| {
                seen.lock().expect("one thread").push(arguments.to_vec());
                let sum = arguments.iter().map(|value| if let Value::Int(int) = value { *int } else { 100 }).sum();
                Ok(vec![Value::Int(sum)])
            },
            vec![Type::Int],
        );
        let calls = optional.map(|optional| parameter(Type::Int, optional));
        let columns = [0, 1].map(|index| column_of(&rows.iter().map(|row| row[index].clone()).collect::<Vec<_>>()));
        let inputs: Vec<Input<'_>> =
            calls.iter().zip(&columns).map(|(call, cells)| Input { call, cells: Arc::clone(cells) }).collect();
        let got = resolve(&resolver(), &inputs, &[output(Type::Int)], rows.len(), &host).expect("resolves");
        let mut called = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let is = |wanted: fn(&Cell) -> bool| row.iter().find(|cell| wanted(cell)).cloned();
            let absent = row.iter().zip(optional)
                .find(|(cell, optional)| !matches!(cell, Cell::Value(_)) && !optional)
                .map(|(cell, _)| cell.clone());
            let passed = is(|cell| matches!(cell, Cell::Denied))
                .or_else(|| is(|cell| matches!(cell, Cell::Error(_))))
                .or(absent);
            let arguments: Vec<Value> =
                row.iter().map(|cell| if let Cell::Value(value) = cell { value.clone() } else { Value::Null }).collect();
            let expected = passed.unwrap_or_else(|| {
                called.push(arguments.clone());
                int(arguments.iter().map(|value| if let Value::Int(int) = value { *int } else { 100 }).sum())
            });
            prop_assert_eq!(Cell::of(&got[0], &Type::Int, index), expected, "row {} of {:?}", index, rows);
        }
        prop_assert_eq!(seen.into_inner().expect("one thread"), called);
    }
}

#[test]
fn s32_denied_is_stronger_than_error_and_both_than_absence() {
    let order = [CellState::Denied, CellState::Error, CellState::Missing].map(severity);
    assert!(order.is_sorted_by(|a, b| a > b));
}

#[test]
fn a_row_that_raises_fails_alone_and_a_call_that_fails_fails_its_rows() {
    let raised = CellError { code: "resolver/raised".into(), message: "`double` raised".into() };
    let mut answer = ResolverAnswer { outputs: vec![Arc::new(Int64Array::from(vec![2, 0, 6]))], ..Default::default() };
    answer.errors.insert(1, raised.clone());
    assert_eq!(outcome(&Answers(Ok(answer)), output(Type::Int), 3), [int(2), error("resolver/raised"), int(6)]);
    assert_eq!(outcome(&Answers(Err(raised)), output(Type::Int), 2), vec![error("resolver/raised"); 2]);
}

#[test]
fn answers_of_another_type_length_or_count_are_errors_of_the_output() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1", "2"]));
    assert_eq!(outcome(&answered(texts), output(Type::Int), 2), vec![error("resolver/wrong-type"); 2]);
    let short: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert_eq!(outcome(&answered(short), output(Type::Int), 2), vec![error("resolver/wrong-length"); 2]);
    let nothing = Answers(Ok(ResolverAnswer::default()));
    assert_eq!(outcome(&nothing, output(Type::Int), 2), vec![error("resolver/wrong-count"); 2]);
    assert_eq!(outcome(&nothing, output(Type::Int), 1), [error("resolver/wrong-count")]);
}

#[test]
fn s20_widths_of_answers_are_unified() {
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    assert_eq!(outcome(&answered(Arc::clone(&narrow)), output(Type::Int), 2), [int(1), int(2)]);
    let floats = [Cell::Value(Value::Float(1.0)), Cell::Value(Value::Float(2.0))];
    assert_eq!(outcome(&answered(narrow), output(Type::Float), 2), floats);
    let large: ArrayRef = Arc::new(LargeStringArray::from(vec!["a"]));
    assert_eq!(outcome(&answered(large), output(Type::Str), 1), [Cell::Value(Value::Str("a".into()))]);
}

#[test]
fn none_is_null_only_where_the_feature_is_optional() {
    let nulls = || -> ArrayRef { Arc::new(Int64Array::from(vec![None, Some(4)])) };
    assert_eq!(outcome(&answered(nulls()), output(Type::Int), 2), [error("resolver/returned-none"), int(4)]);
    let optional = CallOutput { optional: true, ..output(Type::Int) };
    assert_eq!(outcome(&answered(nulls()), optional, 2), [Cell::Null, int(4)]);
}

#[test]
fn values_outside_their_bounds_are_errors() {
    let check = |ty: &Type, validation: Validation, values: &[Value]| -> Vec<String> {
        let found = violations(ty, Some(&validation), &build_array(ty, values).expect("typed"));
        (0..values.len()).map(|row| found.get(&row).map_or(String::new(), |error| error.code.clone())).collect()
    };
    let bounded = Validation { min: Some(0.0), max: Some(9_007_199_254_740_992.0), ..Validation::default() };
    let ints = [-1, 0, 9_007_199_254_740_992, 9_007_199_254_740_993].map(Value::Int);
    assert_eq!(check(&Type::Int, bounded.clone(), &ints), ["validation/below-min", "", "", "validation/above-max"]);
    let floats = [f64::NAN, -0.0, f64::INFINITY].map(Value::Float);
    assert_eq!(check(&Type::Float, bounded, &floats), ["validation/below-min", "", "validation/above-max"]);
    let short = Validation { min_length: Some(1), max_length: Some(2), ..Validation::default() };
    let texts = ["", "日本", "日本語"].map(|text| Value::Str(text.into()));
    assert_eq!(check(&Type::Str, short, &texts), ["validation/too-short", "", "validation/too-long"]);
    let pattern = Validation { pattern: Some("a|bc".into()), ..Validation::default() };
    let texts = ["a", "bc", "abc", "xa"].map(|text| Value::Str(text.into()));
    assert_eq!(check(&Type::Str, pattern, &texts), ["", "", "validation/pattern", "validation/pattern"]);
    let color = Type::Enum { name: "Color".into(), members: vec!["red".into()] };
    let texts = ["red", "blue"].map(|text| Value::Str(text.into()));
    assert_eq!(check(&color, Validation::default(), &texts), ["", "validation/not-a-member"]);
}

/// A given int and a lookup by it, then an expression over both.
fn chained() -> Plan {
    let mut plan = PlanOf::given(&[Type::Int]);
    let found = plan.output(Type::Int, Origin::Facts);
    let sum = plan.output(Type::Int, Origin::Expression);
    plan.0.steps.push(Step::Lookup {
        entity: EntityId(1),
        entity_name: name("Thing"),
        key: vec![column(1, Type::Int)],
        key_slots: vec![SlotId(0)],
        columns: vec![LookupColumn { column: column(2, Type::Int), slot: found, max_age: None, default: None }],
    });
    let expr = call(Function::Add, vec![input(0, Type::Int), input(found.0, Type::Int)], Type::Int);
    plan.step(Step::Expression { expr, slot: sum, default: None })
}

fn no_facts() -> MemoryFacts {
    MemoryFacts::new(&[], &BTreeMap::new(), &[])
}

#[test]
fn s24_s32_given_nulls_are_observed_and_states_travel_through_a_plan() {
    let given: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
    let rows = Rows::at(vec![given], 2, Instant::MAX);
    let answer = run_plan(&chained(), &rows, &no_facts(), &NoResolvers, 1);
    assert_eq!(cells(&answer), [[Cell::Missing, Cell::Missing], [Cell::Missing, Cell::Null]]);
    assert!(answer.columns[0].ages.is_some() && answer.columns[1].ages.is_none());
}

#[test]
fn s5_s13_a_default_replaces_absence_only_and_has_no_age() {
    let cells = column_of(&[int(1), Cell::Null, Cell::Missing, Cell::Expired, error("given/error"), Cell::Denied]);
    let cells = CellColumn::clone(&cells).with_event_times(Int64Array::from(vec![1, 2, 3, 4, 5, 6]));
    let replaced = cells.clone().with_default(&Type::Int, Some(&9.into())).expect("an int");
    let got: Vec<Cell> = (0..6).map(|row| Cell::of(&replaced, &Type::Int, row)).collect();
    assert_eq!(got, [int(1), Cell::Null, int(9), int(9), error("given/error"), Cell::Denied]);
    let times = replaced.event_times().expect("kept");
    assert_eq!(times, &Int64Array::from(vec![Some(1), Some(2), None, None, Some(5), Some(6)]));
    let nothing = cells.with_default(&Type::Int, Some(&serde_json::Value::Null)).expect("null");
    assert_eq!(Cell::of(&nothing, &Type::Int, 2), Cell::Null);
}

#[test]
fn s32_what_is_denied_stays_denied_in_everything_made_from_it() {
    let given: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let rows = Rows::at(vec![given], 1, Instant::MAX);
    let options = RunOptions { denied: vec![SlotId(0)], ..RunOptions::default() };
    let answer = execute(&chained(), &rows, &no_facts(), &NoResolvers, &options, None).expect("runs");
    assert_eq!(cells(&answer), [[Cell::Denied, Cell::Denied]]);
}

#[test]
fn s21_s20_rows_that_do_not_fit_the_plan_are_refused() {
    let run = |rows: Rows| execute(&chained(), &rows, &no_facts(), &NoResolvers, &RunOptions::default(), None);
    let ints = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let refused = |rows: Rows| run(rows).expect_err("must be refused").to_string();
    assert_eq!(
        refused(Rows::at(vec![], 1, Instant::MAX)),
        "the request brings 0 columns, its plan takes 1; plan the request again with its own columns"
    );
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["7"]));
    assert_eq!(
        refused(Rows::at(vec![texts], 1, Instant::MAX)),
        "`Thing.slot0` is int, the request brings Utf8; convert the column before asking"
    );
    assert_eq!(
        refused(Rows::at(vec![ints(vec![7, 8])], 1, Instant::MAX)),
        "`Thing.slot0` has 2 rows, the request has 1; give one value per row"
    );
    assert_eq!(
        refused(Rows::new(vec![ints(vec![7])], instants(&[i64::MAX]))),
        "row 0 has no usable `as_of`; give every row an instant between the years 0001 and 9999"
    );
    let empty = run(Rows::at(vec![ints(vec![])], 0, Instant::MAX)).expect("no rows are rows too");
    assert_eq!((empty.rows, empty.columns.len()), (0, 2));
}

#[test]
fn facts_with_event_ids_must_say_what_supersedes_them() {
    struct Bare;
    impl crate::FactReader for Bare {
        fn read(&self, _: &crate::FactRequest<'_>) -> Result<Vec<RecordBatch>, EngineError> {
            use arrow::array::{BinaryArray, BooleanArray, UInt64Array};
            use creta_store::layout as l;
            let columns: Vec<(&str, ArrayRef)> = vec![
                (l::EVENT_TIME, Arc::new(instants(&[0]))),
                (l::ARRIVAL_TIME, Arc::new(instants(&[0]))),
                (l::SOURCE, Arc::new(StringArray::from(vec!["s"]))),
                (l::SEQUENCE, Arc::new(UInt64Array::from(vec![0]))),
                (l::EVENT_ID, Arc::new(BinaryArray::from(vec![&b"e"[..]]))),
                (l::RETRACTED, Arc::new(BooleanArray::from(vec![false]))),
                ("f1", Arc::new(Int64Array::from(vec![7]))),
                ("f2", Arc::new(Int64Array::from(vec![8]))),
            ];
            Ok(vec![RecordBatch::try_from_iter(columns)?])
        }
    }
    let rows = Rows::at(vec![Arc::new(Int64Array::from(vec![7]))], 1, Instant::MAX);
    let refused = execute(&chained(), &rows, &Bare, &NoResolvers, &RunOptions::default(), None);
    assert!(matches!(refused, Err(EngineError::Facts { .. })));
}
