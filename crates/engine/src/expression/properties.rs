//! Expressions over columns against the reference's one value at a time, over generated expressions and cells.

use std::collections::BTreeMap;
use std::sync::Arc;

use creta_model::{CellState, Function, Instant, Type, Value};
use creta_planner::BoundExpr;
use proptest::prelude::*;
use proptest::sample::select;

use super::evaluate;
use crate::column::{CellColumn, cell_error};
use crate::reference::{self, Cell};
use crate::testing::{at, call, input, literal};
use crate::value::build_array;

/// Types of the columns that expressions read, twice each.
fn column_types() -> Vec<Type> {
    let one = vec![Type::Bool, Type::Int, Type::Float, Type::Str, Type::Datetime, Type::Timedelta];
    [one.clone(), one].concat()
}

fn values(ty: &Type) -> BoxedStrategy<Value> {
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int => prop_oneof![
            3 => -4i64..5,
            1 => select(vec![i64::MAX, i64::MIN, i64::MIN + 1, 1 << 53, (1 << 53) + 1, 3_037_000_500]),
            1 => any::<i64>(),
        ]
        .prop_map(Value::Int)
        .boxed(),
        Type::Float => prop_oneof![
            3 => (-50i32..50).prop_map(|eighths| f64::from(eighths) / 8.0),
            1 => select(vec![0.0, -0.0, 0.5, -2.5, 1e17, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 5e-324]),
            1 => select(vec![9_007_199_254_740_993.0, 9_223_372_036_854_775_808.0, -9_223_372_036_854_775_808.0, 2.675]),
            1 => any::<f64>(),
        ]
        .prop_map(Value::Float)
        .boxed(),
        Type::Str => select(vec!["", "a", "Ab", "ΑΣ", "ß", "日本語", "a\u{1f600}b", "abcabc", "b"])
            .prop_map(|text| Value::Str(text.into()))
            .boxed(),
        Type::Datetime => prop_oneof![
            2 => -100_000_000_000_000i64..100_000_000_000_000,
            1 => select(vec![0, -1, Instant::MIN.micros(), Instant::MAX.micros(), 951_782_400_000_000]),
        ]
        .prop_map(|micros| Value::Datetime(at(micros)))
        .boxed(),
        _ => prop_oneof![
            2 => -100_000_000_000_000i64..100_000_000_000_000,
            1 => select(vec![0, 1, -1, i64::MAX, i64::MIN, 86_400_000_000]),
        ]
        .prop_map(Value::Timedelta)
        .boxed(),
    }
}

fn cells_of(ty: &Type) -> BoxedStrategy<Cell> {
    prop_oneof![
        12 => values(ty).prop_map(Cell::Value),
        2 => Just(Cell::Null),
        1 => Just(Cell::Missing),
        1 => Just(Cell::Expired),
        1 => Just(Cell::Error("given/error".into())),
        1 => Just(Cell::Denied),
    ]
    .boxed()
}

fn table() -> impl Strategy<Value = Vec<Vec<Cell>>> {
    let row: Vec<BoxedStrategy<Cell>> = column_types().iter().map(cells_of).collect();
    prop::collection::vec(row, 1..24)
}

fn to_columns(table: &[Vec<Cell>]) -> Vec<Arc<CellColumn>> {
    let column = |(index, ty): (usize, Type)| {
        let mut errors = BTreeMap::new();
        let mut states = Vec::new();
        let mut values = Vec::new();
        for (row, cells) in table.iter().enumerate() {
            let (state, value) = match &cells[index] {
                Cell::Value(value) => (CellState::Value, value.clone()),
                Cell::Null => (CellState::Null, Value::Null),
                Cell::Missing => (CellState::Missing, Value::Null),
                Cell::Expired => (CellState::Expired, Value::Null),
                Cell::Denied => (CellState::Denied, Value::Null),
                Cell::Error(code) => {
                    errors.insert(row, cell_error(code, "given"));
                    (CellState::Error, Value::Null)
                }
            };
            states.push(state);
            values.push(value);
        }
        let values = build_array(&ty, &values).expect("typed cells");
        Arc::new(CellColumn::new(values, states, errors).expect("cells"))
    };
    column_types().into_iter().enumerate().map(column).collect()
}

/// An expression of type `ty` at most `depth` calls deep.
fn expr(ty: Type, depth: u32) -> BoxedStrategy<BoundExpr> {
    let indices: Vec<usize> =
        column_types().iter().enumerate().filter(|(_, column)| **column == ty).map(|(index, _)| index).collect();
    let of = ty.clone();
    let column = select(indices).prop_map(move |index| input(index, of.clone()));
    let of = ty.clone();
    let constant = prop_oneof![5 => values(&ty), 1 => Just(Value::Null)]
        .prop_map(move |value| literal(of.clone(), value.to_json(&of)));
    let leaf = prop_oneof![3 => column, 1 => constant].boxed();
    if depth == 0 {
        return leaf;
    }
    // Only what is drawn is built.
    let sub = move |ty: &Type| -> BoxedStrategy<BoundExpr> {
        let ty = ty.clone();
        Just(()).prop_flat_map(move |()| expr(ty.clone(), depth - 1)).boxed()
    };
    let build = |functions: Vec<Function>, args: Vec<BoxedStrategy<BoundExpr>>, ty: Type| -> BoxedStrategy<BoundExpr> {
        (select(functions), args).prop_map(move |(function, args)| call(function, args, ty.clone())).boxed()
    };
    use Function as F;
    use Type as T;
    let mut calls = vec![
        build(vec![F::If], vec![sub(&T::Bool), sub(&ty), sub(&ty)], ty.clone()),
        build(vec![F::Coalesce], vec![sub(&ty), sub(&ty), sub(&ty)], ty.clone()),
    ];
    let comparisons = vec![F::Eq, F::Ne, F::Lt, F::Le, F::Gt, F::Ge];
    match ty {
        T::Bool => {
            calls.push(build(vec![F::And, F::Or], vec![sub(&T::Bool), sub(&T::Bool)], T::Bool));
            calls.push(build(vec![F::Not], vec![sub(&T::Bool)], T::Bool));
            for (a, b) in [
                (T::Int, T::Int),
                (T::Int, T::Float),
                (T::Float, T::Int),
                (T::Float, T::Float),
                (T::Str, T::Str),
                (T::Datetime, T::Datetime),
                (T::Timedelta, T::Timedelta),
            ] {
                calls.push(build(comparisons.clone(), vec![sub(&a), sub(&b)], T::Bool));
                calls.push(build(vec![F::IsNone], vec![sub(&a)], T::Bool));
            }
            let texts = vec![F::StartsWith, F::EndsWith, F::Contains];
            calls.push(build(texts, vec![sub(&T::Str), sub(&T::Str)], T::Bool));
        }
        T::Int => {
            let two = vec![F::Add, F::Sub, F::Mul, F::FloorDiv, F::Mod, F::Pow, F::Min, F::Max];
            calls.push(build(two, vec![sub(&T::Int), sub(&T::Int)], T::Int));
            calls.push(build(vec![F::Neg, F::Abs, F::Round], vec![sub(&T::Int)], T::Int));
            calls.push(build(vec![F::Floor, F::Ceil, F::Round, F::ToInt], vec![sub(&T::Float)], T::Int));
            calls.push(build(vec![F::Length], vec![sub(&T::Str)], T::Int));
            let parts = vec![F::Year, F::Month, F::Day, F::Hour, F::Minute, F::Second, F::Weekday];
            calls.push(build(parts, vec![sub(&T::Datetime)], T::Int));
        }
        T::Float => {
            calls.push(build(vec![F::Div], vec![sub(&T::Int), sub(&T::Int)], T::Float));
            let two = vec![F::Add, F::Sub, F::Mul, F::Div];
            calls.push(build(two, vec![sub(&T::Float), sub(&T::Float)], T::Float));
            calls.push(build(vec![F::Min, F::Max], vec![sub(&T::Float), sub(&T::Float), sub(&T::Float)], T::Float));
            calls.push(build(vec![F::Neg, F::Abs, F::Sqrt], vec![sub(&T::Float)], T::Float));
            calls.push(build(vec![F::ToFloat], vec![sub(&T::Int)], T::Float));
            calls.push(build(vec![F::ToFloat], vec![sub(&T::Bool)], T::Float));
            calls.push(build(vec![F::TotalSeconds], vec![sub(&T::Timedelta)], T::Float));
        }
        T::Str => {
            calls.push(build(vec![F::Lower, F::Upper], vec![sub(&T::Str)], T::Str));
            calls.push(build(vec![F::Add], vec![sub(&T::Str), sub(&T::Str)], T::Str));
            calls.push(build(vec![F::Slice], vec![sub(&T::Str), sub(&T::Int), sub(&T::Int)], T::Str));
            calls.push(build(vec![F::ToStr], vec![sub(&T::Int)], T::Str));
            calls.push(build(vec![F::ToStr], vec![sub(&T::Bool)], T::Str));
        }
        T::Datetime => {
            calls.push(build(vec![F::Add, F::Sub], vec![sub(&T::Datetime), sub(&T::Timedelta)], T::Datetime));
        }
        _ => {
            calls.push(build(vec![F::Sub], vec![sub(&T::Datetime), sub(&T::Datetime)], T::Timedelta));
            calls.push(build(vec![F::Add, F::Sub], vec![sub(&T::Timedelta), sub(&T::Timedelta)], T::Timedelta));
            calls.push(build(vec![F::Neg, F::Abs], vec![sub(&T::Timedelta)], T::Timedelta));
        }
    }
    prop_oneof![1 => leaf, 5 => proptest::strategy::Union::new(calls)].boxed()
}

fn any_expr() -> impl Strategy<Value = BoundExpr> {
    (select(column_types()), 1u32..4).prop_flat_map(|(ty, depth)| expr(ty, depth))
}

fn both(expr: &BoundExpr, table: &[Vec<Cell>]) -> (Vec<Cell>, Vec<Cell>) {
    let columns = to_columns(table);
    let got = evaluate(expr, &|index| Ok(Arc::clone(&columns[index])), table.len()).expect("a typed expression");
    let got = (0..table.len()).map(|row| Cell::of(&got, expr.ty(), row)).collect();
    let expected = table.iter().map(|row| reference::expression(expr, &|index| row[index].clone())).collect();
    (got, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn s31_s32_expressions_agree_with_the_reference(expr in any_expr(), table in table()) {
        let (got, expected) = both(&expr, &table);
        for row in 0..table.len() {
            prop_assert_eq!(&got[row], &expected[row], "row {} of {:?}", row, expr);
        }
    }

    #[test]
    fn s31_coalesce_is_a_conditional_on_none(a in 0usize..12, table in table()) {
        let ty = column_types()[a].clone();
        let (first, second) = (input(a, ty.clone()), input((a + 6) % 12, ty.clone()));
        let none = call(Function::IsNone, vec![first.clone()], Type::Bool);
        let conditional = call(Function::If, vec![none, second.clone(), first.clone()], ty.clone());
        let coalesce = call(Function::Coalesce, vec![first, second], ty);
        prop_assert_eq!(both(&coalesce, &table).0, both(&conditional, &table).0);
    }

    #[test]
    fn s31_rounding_to_places_agrees_with_exact_formatting(value in any::<f64>(), tie in -4000i64..4000, digits in 0i64..20) {
        // Eighths are ties at two places now and then.
        for value in [value, tie as f64 / 8.0, tie as f64 / 1000.0] {
            let round = call(
                Function::Round,
                vec![literal(Type::Float, Value::Float(value).to_json(&Type::Float)), literal(Type::Int, digits.into())],
                Type::Float,
            );
            let (got, expected) = both(&round, &[vec![Cell::Null; 12]]);
            if value.is_finite() {
                prop_assert_eq!(&got, &expected, "round({:?}, {})", value, digits);
            }
        }
    }
}
