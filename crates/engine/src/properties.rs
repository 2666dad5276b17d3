//! Lookups and windows against the reference, over histories that aim at the edges of the rules.

use std::collections::BTreeMap;

use creta_model::{Aggregate, EntityId, FeatureId, Function, Span, Type, Value};
use creta_planner::{Aggregation, KeyColumn, LookupColumn, Origin, Plan, Step};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::reference::{self, At, Cell, Fact};
use crate::run::Rows;
use crate::testing::{MemoryFacts, PlanOf, at, call, cells, column, input, instants, literal, name, run_plan};
use crate::{NoResolvers, build_array};

pub(crate) const FLOAT: u32 = 10;
pub(crate) const INT: u32 = 11;
pub(crate) const TEXT: u32 = 12;

pub(crate) fn types() -> BTreeMap<FeatureId, Type> {
    [(1, Type::Str), (2, Type::Str), (FLOAT, Type::Float), (INT, Type::Int), (TEXT, Type::Str)]
        .into_iter()
        .map(|(id, ty)| (FeatureId(id), ty))
        .collect()
}

pub(crate) fn key() -> Vec<KeyColumn> {
    vec![column(1, Type::Str), column(2, Type::Str)]
}

/// Keys that are equal when glued together, and nearly equal ones.
pub(crate) fn key_values() -> impl Strategy<Value = (&'static str, &'static str)> {
    select(vec![
        ("1", "23"),
        ("12", "3"),
        ("", "123"),
        ("1", "2"),
        ("a\0", "b"),
        ("a", "\0b"),
        ("", "\u{3}"),
        ("\u{3}", ""),
    ])
}

/// Few different times, one microsecond apart around multiples of ten, so that equal times and window ends are met often.
pub(crate) fn times() -> impl Strategy<Value = i64> {
    (0i64..6, -1i64..=1).prop_map(|(tens, near)| tens * 10 + near)
}

pub(crate) fn floats() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-40i32..40).prop_map(|tenths| f64::from(tenths) / 10.0),
        2 => any::<f64>(),
        1 => select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        2 => select(vec![5e-324, -5e-324, f64::MIN_POSITIVE, 1e300, -1e300, f64::MAX, f64::MIN, 1e16, 1.0, 0.1]),
    ]
}

fn ints() -> impl Strategy<Value = i64> {
    prop_oneof![3 => -5i64..6, 1 => select(vec![i64::MAX, i64::MIN, i64::MAX - 1]), 1 => any::<i64>()]
}

fn nullable(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 4 => values]
}

fn facts(floats: BoxedStrategy<f64>) -> impl Strategy<Value = Fact> {
    let observed = (
        key_values(),
        prop::option::weighted(0.8, nullable(floats.prop_map(Value::Float))),
        prop::option::weighted(0.8, nullable(ints().prop_map(Value::Int))),
        prop::option::weighted(0.8, nullable(select(vec!["x", "y", "z", "é"]).prop_map(|t| Value::Str(t.into())))),
    );
    let stamps = (times(), prop_oneof![Just(0i64), 0i64..4, 0i64..40], select(vec!["a", "b", "ab"]));
    // Few event ids, so that events have several versions, also under several keys.
    (stamps, prop::option::weighted(0.5, 0u8..6), prop::bool::weighted(0.1), observed).prop_map(
        |((event, delay, source), event_id, retracted, (key, float, int, text))| {
            let mut values =
                BTreeMap::from([(FeatureId(1), Value::Str(key.0.into())), (FeatureId(2), Value::Str(key.1.into()))]);
            for (id, value) in [(FLOAT, float), (INT, int), (TEXT, text)] {
                values.extend(value.map(|value| (FeatureId(id), value)));
            }
            Fact {
                event_time: at(event),
                arrival_time: at(event + delay),
                source: source.into(),
                sequence: 0,
                event_id: event_id.map(|id| vec![id]),
                retracted,
                values,
            }
        },
    )
}

pub(crate) fn history(max: usize, floats: BoxedStrategy<f64>) -> impl Strategy<Value = Vec<Fact>> {
    prop::collection::vec(facts(floats), 0..max).prop_map(|mut history| {
        for (sequence, fact) in history.iter_mut().enumerate() {
            fact.sequence = sequence as u64;
        }
        history
    })
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) key: (&'static str, &'static str),
    pub(crate) as_of: i64,
    pub(crate) known_as_of: i64,
}

pub(crate) fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (key_values(), times(), prop_oneof![Just(0i64), -20i64..60]).prop_map(|(key, as_of, later)| Row {
        key,
        as_of,
        known_as_of: as_of + later,
    });
    prop::collection::vec(row, 1..24)
}

pub(crate) fn spine(rows: &[Row]) -> Rows {
    let part = |of: fn(&Row) -> &'static str| {
        let values: Vec<Value> = rows.iter().map(|row| Value::Str(of(row).into())).collect();
        build_array(&Type::Str, &values).expect("texts")
    };
    Rows {
        given: vec![part(|row| row.key.0), part(|row| row.key.1)],
        as_of: instants(&rows.iter().map(|row| row.as_of).collect::<Vec<_>>()),
        known_as_of: instants(&rows.iter().map(|row| row.known_as_of).collect::<Vec<_>>()),
    }
}

fn key_of(row: &Row) -> [(FeatureId, Value); 2] {
    [(FeatureId(1), Value::Str(row.key.0.into())), (FeatureId(2), Value::Str(row.key.1.into()))]
}

fn at_of(row: &Row) -> At {
    At { as_of: at(row.as_of), known_as_of: at(row.known_as_of) }
}

pub(crate) fn lookup_plan(asked: &[(u32, Option<i64>)]) -> Plan {
    let mut plan = PlanOf::given(&[Type::Str, Type::Str]);
    let columns = asked
        .iter()
        .map(|(id, max_age)| LookupColumn {
            column: column(*id, types()[&FeatureId(*id)].clone()),
            slot: plan.output(types()[&FeatureId(*id)].clone(), Origin::Facts),
            max_age: max_age.map(|micros| Span::from_micros(micros).expect("not negative")),
            default: None,
        })
        .collect();
    let key_slots = plan.0.given.clone();
    plan.step(Step::Lookup { entity: EntityId(1), entity_name: name("Thing"), key: key(), key_slots, columns })
}

pub(crate) const ASKED: [(u32, Option<i64>); 6] =
    [(FLOAT, None), (INT, Some(10)), (TEXT, Some(0)), (TEXT, None), (INT, None), (1, Some(9))];

pub(crate) fn expected_lookups(history: &[Fact], rows: &[Row]) -> Vec<Vec<Cell>> {
    let cell = |row: &Row, (id, max_age): (u32, Option<i64>)| {
        let max_age = max_age.map(|micros| Span::from_micros(micros).expect("not negative"));
        reference::point_in_time(history, &key_of(row), FeatureId(id), max_age, at_of(row))
    };
    rows.iter().map(|row| ASKED.iter().map(|asked| cell(row, *asked)).collect()).collect()
}

pub(crate) fn answers(plan: &Plan, rows: &[Row], history: &[Fact], cuts: &[usize], threads: usize) -> Vec<Vec<Cell>> {
    let facts = MemoryFacts::new(history, &types(), cuts);
    cells(&run_plan(plan, &spine(rows), &facts, &NoResolvers, threads))
}

/// Every aggregate over every kind of value it takes, with and without a filter.
fn aggregations(plan: &mut PlanOf) -> Vec<Aggregation> {
    let (float, int, text) = (input(0, Type::Float), input(1, Type::Int), input(2, Type::Str));
    let positive = call(Function::Gt, vec![int.clone(), literal(Type::Int, 0.into())], Type::Bool);
    // Fails where the int is 0, overflows at the smallest int.
    let fails = call(Function::FloorDiv, vec![literal(Type::Int, i64::MIN.into()), int.clone()], Type::Int);
    let list = |item: Type| Type::List { item: Box::new(item), optional: false };
    let mut all = Vec::new();
    for (turn, span) in [10, 11, 25, 1].into_iter().enumerate() {
        let mut add = |aggregate, value: Option<&_>, ty: Type, filtered: bool| {
            all.push(Aggregation {
                aggregate,
                value: value.cloned(),
                filter: filtered.then(|| positive.clone()),
                span: Span::from_micros(span).expect("not negative"),
                include_now: turn % 2 == 1,
                slot: plan.output(ty, Origin::Window),
                default: None,
            });
        };
        add(Aggregate::Count, None, Type::Int, false);
        add(Aggregate::Count, None, Type::Int, true);
        for aggregate in [Aggregate::Sum, Aggregate::Mean, Aggregate::Var, Aggregate::Std] {
            add(aggregate, Some(&float), Type::Float, turn == 2);
            let ty = if aggregate == Aggregate::Sum { Type::Int } else { Type::Float };
            add(aggregate, Some(&int), ty, turn == 0);
        }
        for thousandths in [1, 50_000, 99_900] {
            add(Aggregate::Percentile { thousandths }, Some(&float), Type::Float, turn == 2);
            add(Aggregate::Percentile { thousandths }, Some(&int), Type::Float, turn == 0);
        }
        for aggregate in [Aggregate::Min, Aggregate::Max, Aggregate::First, Aggregate::Last] {
            add(aggregate, Some(&float), Type::Float, turn == 2);
            add(aggregate, Some(&text), Type::Str, turn == 0);
        }
        for value in [&float, &int, &text] {
            add(Aggregate::Count, Some(value), Type::Int, turn == 1);
            add(Aggregate::Distinct, Some(value), Type::Int, turn == 1);
            add(Aggregate::LastN { n: 2 }, Some(value), list(value.ty().clone()), turn == 3);
        }
        add(Aggregate::Sum, Some(&fails), Type::Int, turn == 3);
    }
    all
}

pub(crate) fn window_columns() -> Vec<KeyColumn> {
    vec![column(FLOAT, Type::Float), column(INT, Type::Int), column(TEXT, Type::Str)]
}

pub(crate) fn window_plan() -> (Plan, Vec<Aggregation>) {
    let mut plan = PlanOf::given(&[Type::Str, Type::Str]);
    let all = aggregations(&mut plan);
    let key_slots = plan.0.given.clone();
    let step = Step::Windows {
        entity: EntityId(1),
        entity_name: name("Thing"),
        key: key(),
        key_slots,
        columns: window_columns(),
        aggregations: all.clone(),
    };
    (plan.step(step), all)
}

pub(crate) fn expected_windows(history: &[Fact], rows: &[Row], all: &[Aggregation]) -> Vec<Vec<Cell>> {
    let columns = window_columns();
    let cell = |row: &Row, aggregation| reference::window(history, &key_of(row), &columns, aggregation, at_of(row));
    rows.iter().map(|row| all.iter().map(|aggregation| cell(row, aggregation)).collect()).collect()
}

pub(crate) fn assert_same(got: &[Vec<Cell>], expected: &[Vec<Cell>], names: &[String]) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.len(), expected.len());
    for (row, (got, expected)) in got.iter().zip(expected).enumerate() {
        for (index, name) in names.iter().enumerate() {
            prop_assert_eq!(&got[index], &expected[index], "row {} of {}", row, name);
        }
    }
    Ok(())
}

pub(crate) fn names(all: &[Aggregation]) -> Vec<String> {
    all.iter()
        .map(|one| format!("{:?} of {:?} where {:?} last {}", one.aggregate, one.value, one.filter, one.span))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn s2_s5_s7_s8_s12_s19_lookups_agree_with_the_reference(
        history in history(40, floats().boxed()), rows in rows(), cut in any::<Index>(),
    ) {
        let got = answers(&lookup_plan(&ASKED), &rows, &history, &[cut.index(history.len() + 1)], 1);
        assert_same(&got, &expected_lookups(&history, &rows), &ASKED.map(|asked| format!("{asked:?}")))?;
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn s9_s21_s26_order_batches_and_repeats_of_facts_do_not_matter(
        history in history(30, floats().boxed()), rows in rows(), shuffle in any::<Index>(), cuts in any::<[Index; 3]>(),
        again in any::<Index>(),
    ) {
        let (windows, _) = window_plan();
        let lookups = lookup_plan(&ASKED);
        let mut other = history.clone();
        if !history.is_empty() {
            other.rotate_left(shuffle.index(history.len()));
            other.reverse();
            other.push(history[again.index(history.len())].clone());
        }
        let mut cuts = cuts.map(|cut| cut.index(other.len() + 1));
        cuts.sort_unstable();
        prop_assert_eq!(answers(&windows, &rows, &history, &[], 1), answers(&windows, &rows, &other, &cuts, 4));
        prop_assert_eq!(answers(&lookups, &rows, &history, &[], 1), answers(&lookups, &rows, &other, &cuts, 4));
        // Rows do not see each other: asked in another order, each gets its own answer.
        let mut reversed = rows.clone();
        reversed.reverse();
        let mut back = answers(&windows, &reversed, &history, &[], 1);
        back.reverse();
        prop_assert_eq!(answers(&windows, &rows, &history, &[], 1), back);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn s3_s4_s7_s8_s13_s26_windows_agree_with_the_reference(
        history in history(40, floats().boxed()), rows in rows(), cut in any::<Index>(),
    ) {
        let (plan, all) = window_plan();
        let got = answers(&plan, &rows, &history, &[cut.index(history.len() + 1)], 1);
        assert_same(&got, &expected_windows(&history, &rows, &all), &names(&all))?;
    }

    #[test]
    fn s26_numbers_whose_sums_fit_into_a_word_are_summed_up_exactly_too(
        history in history(60, (-40i32..40).prop_map(|quarters| f64::from(quarters) / 4.0).boxed()), rows in rows(),
    ) {
        let (plan, all) = window_plan();
        let got = answers(&plan, &rows, &history, &[], 1);
        assert_same(&got, &expected_windows(&history, &rows, &all), &names(&all))?;
    }

    #[test]
    fn s26_finite_floats_of_any_size_sum_up_exactly(
        history in history(60, any::<f64>().prop_filter("finite", |x| x.is_finite()).boxed()), rows in rows(),
    ) {
        let (plan, all) = window_plan();
        let got = answers(&plan, &rows, &history, &[], 1);
        assert_same(&got, &expected_windows(&history, &rows, &all), &names(&all))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn s26_the_number_of_threads_does_not_matter(history in history(30, floats().boxed()), rows in rows()) {
        let (plan, _) = window_plan();
        // Enough rows for several threads, which then meet in the middle of a key.
        let many: Vec<Row> = rows.iter().cycle().take(1700).cloned().collect();
        let one = answers(&plan, &many, &history, &[], 1);
        prop_assert_eq!(&one[..rows.len()], &answers(&plan, &rows, &history, &[], 1)[..]);
        for threads in [2, 3, 64] {
            prop_assert!(one == answers(&plan, &many, &history, &[], threads), "{} threads", threads);
        }
    }
}

/// One key with so many facts and rows that sums and trees are precomputed.
fn long_history() -> impl Strategy<Value = (Vec<Fact>, Vec<Row>)> {
    let values = prop_oneof![
        3 => (-40i32..40).prop_map(|tenths| f64::from(tenths) / 10.0).boxed(),
        1 => floats().boxed(),
        1 => (-300i32..300).prop_map(|exponent| 1.5 * 10f64.powi(exponent)).boxed(),
    ];
    let facts = prop::collection::vec((facts(values.boxed()), prop::bool::weighted(0.1)), 70..140);
    let rows = prop::collection::vec((-5i64..80, prop_oneof![3 => Just(0i64), 1 => -20i64..20]), 4..7);
    (facts, rows).prop_map(|(facts, rows)| {
        let history = facts.into_iter().enumerate().map(|(index, (mut fact, has_versions))| {
            fact.values.insert(FeatureId(1), Value::Str("1".into()));
            fact.values.insert(FeatureId(2), Value::Str("23".into()));
            fact.sequence = index as u64;
            if !has_versions {
                fact.event_id = None;
            }
            fact
        });
        let row = |(as_of, later): (i64, i64)| Row { key: ("1", "23"), as_of, known_as_of: as_of + later };
        (history.collect(), rows.into_iter().map(row).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn s3_s4_s8_s26_precomputed_windows_agree_with_the_reference((history, rows) in long_history()) {
        let (plan, all) = window_plan();
        let got = answers(&plan, &rows, &history, &[], 1);
        assert_same(&got, &expected_windows(&history, &rows, &all), &names(&all))?;
        let lookups = answers(&lookup_plan(&ASKED), &rows, &history, &[], 1);
        assert_same(&lookups, &expected_lookups(&history, &rows), &ASKED.map(|asked| format!("{asked:?}")))?;
    }
}

/// Exact types: decimals, lengths of time and days.
mod exact_types {
    use super::*;

    const DECIMAL: u32 = 20;
    const LENGTH: u32 = 21;
    const DAY: u32 = 22;

    fn typed() -> BTreeMap<FeatureId, Type> {
        [(1, Type::Int), (DECIMAL, Type::Decimal { scale: 2 }), (LENGTH, Type::Timedelta), (DAY, Type::Date)]
            .into_iter()
            .map(|(id, ty)| (FeatureId(id), ty))
            .collect()
    }

    fn plan() -> (Plan, Vec<Aggregation>) {
        let mut plan = PlanOf::given(&[Type::Int]);
        let values = [(0, Type::Decimal { scale: 2 }), (1, Type::Timedelta), (2, Type::Date)];
        let mut all = Vec::new();
        for (index, ty) in values {
            let percentile = Aggregate::Percentile { thousandths: 33_300 };
            for aggregate in
                [Aggregate::Sum, Aggregate::Mean, percentile, Aggregate::Min, Aggregate::Max, Aggregate::Distinct]
            {
                let is_of_numbers =
                    matches!(aggregate, Aggregate::Sum | Aggregate::Mean | Aggregate::Percentile { .. });
                if ty == Type::Date && is_of_numbers {
                    continue;
                }
                let slot = if aggregate == Aggregate::Distinct { Type::Int } else { ty.clone() };
                all.push(Aggregation {
                    aggregate,
                    value: Some(input(index, ty.clone())),
                    filter: None,
                    span: Span::from_micros(30).expect("not negative"),
                    include_now: false,
                    slot: plan.output(slot, Origin::Window),
                    default: None,
                });
            }
        }
        let columns: Vec<KeyColumn> =
            [DECIMAL, LENGTH, DAY].map(|id| column(id, typed()[&FeatureId(id)].clone())).to_vec();
        let key_slots = plan.0.given.clone();
        let step = Step::Windows {
            entity: EntityId(1),
            entity_name: name("Thing"),
            key: vec![column(1, Type::Int)],
            key_slots,
            columns,
            aggregations: all.clone(),
        };
        (plan.step(step), all)
    }

    fn decimals() -> impl Strategy<Value = i128> {
        let most = 10i128.pow(38) - 1;
        prop_oneof![3 => -500i128..500, 1 => select(vec![most, -most, most / 2 + 1])]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn s26_decimals_and_lengths_of_time_stay_exact(
            facts in prop::collection::vec((times(), decimals(), ints(), -3i32..3), 0..50),
            instants_of_rows in prop::collection::vec(times(), 1..8),
        ) {
            let history: Vec<Fact> = facts.iter().enumerate().map(|(index, (time, decimal, length, day))| Fact {
                event_time: at(*time),
                arrival_time: at(*time),
                source: "s".into(),
                sequence: index as u64,
                event_id: None,
                retracted: false,
                values: BTreeMap::from([
                    (FeatureId(1), Value::Int(7)),
                    (FeatureId(DECIMAL), Value::Decimal(*decimal)),
                    (FeatureId(LENGTH), Value::Timedelta(*length)),
                    (FeatureId(DAY), Value::Date(*day)),
                ]),
            }).collect();
            let (plan, all) = plan();
            let given = build_array(&Type::Int, &vec![Value::Int(7); instants_of_rows.len()]).expect("ints");
            let rows = Rows::new(vec![given], instants(&instants_of_rows));
            let facts = MemoryFacts::new(&history, &typed(), &[]);
            let got = cells(&run_plan(&plan, &rows, &facts, &NoResolvers, 2));
            let columns: Vec<KeyColumn> =
                [DECIMAL, LENGTH, DAY].map(|id| column(id, typed()[&FeatureId(id)].clone())).to_vec();
            let expected: Vec<Vec<Cell>> = instants_of_rows.iter().map(|time| {
                let when = At { as_of: at(*time), known_as_of: at(*time) };
                let key = [(FeatureId(1), Value::Int(7))];
                all.iter().map(|one| reference::window(&history, &key, &columns, one, when)).collect()
            }).collect();
            assert_same(&got, &expected, &names(&all))?;
        }
    }
}
