//! Laws that answers obey whatever the right answer is: shifted times, windows split in two, facts that nobody can see, other
//! partitions.

use creta_model::{Aggregate, EntityId, Instant, Span, Type};
use creta_planner::{Aggregation, Origin, Plan, Step};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::properties::{
    ASKED, FLOAT, INT, Row, answers, assert_same, expected_lookups, expected_windows, floats, history, key, key_values,
    lookup_plan, names, rows, window_columns, window_plan,
};
use crate::reference::{Cell, Fact};
use crate::testing::{PlanOf, at, input, name};

fn shifted(instant: Instant, by: i64) -> Instant {
    at(instant.micros() + by)
}

/// A count of everything and the sum, count and greatest of an int, over the last `span` microseconds.
pub(crate) fn plan_of(spans: &[i64]) -> Plan {
    let mut plan = PlanOf::given(&[Type::Str, Type::Str]);
    let int = || Some(input(1, Type::Int));
    let mut all = Vec::new();
    for span in spans {
        for (aggregate, value) in
            [(Aggregate::Count, None), (Aggregate::Count, int()), (Aggregate::Sum, int()), (Aggregate::Max, int())]
        {
            all.push(Aggregation {
                aggregate,
                value,
                filter: None,
                span: Span::from_micros(*span).expect("not negative"),
                include_now: false,
                slot: plan.output(Type::Int, Origin::Window),
                default: None,
            });
        }
    }
    let key_slots = plan.0.given.clone();
    let (entity, entity_name) = (EntityId(1), name("Thing"));
    plan.step(Step::Windows {
        entity,
        entity_name,
        key: key(),
        key_slots,
        columns: window_columns(),
        aggregations: all,
    })
}

fn int(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Value(creta_model::Value::Int(int)) => Some(*int),
        Cell::Missing => None,
        other => panic!("{other:?} is no number of a window"),
    }
}

/// Ints small enough that no sum overflows.
fn small(mut history: Vec<Fact>) -> Vec<Fact> {
    for fact in &mut history {
        for value in fact.values.values_mut() {
            if let creta_model::Value::Int(int) = value {
                *int %= 1000;
            }
        }
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn s15_shifting_all_times_changes_nothing(
        history in history(40, floats().boxed()), rows in rows(), by in prop_oneof![Just(1i64), -1_000_000_007i64..1 << 50],
    ) {
        let mut later = history.clone();
        for fact in &mut later {
            (fact.event_time, fact.arrival_time) = (shifted(fact.event_time, by), shifted(fact.arrival_time, by));
        }
        let moved = |row: &Row| Row { as_of: row.as_of + by, known_as_of: row.known_as_of + by, ..row.clone() };
        let moved: Vec<Row> = rows.iter().map(moved).collect();
        let (windows, _) = window_plan();
        prop_assert_eq!(answers(&windows, &rows, &history, &[], 1), answers(&windows, &moved, &later, &[], 1));
        let lookups = lookup_plan(&ASKED);
        prop_assert_eq!(answers(&lookups, &rows, &history, &[], 1), answers(&lookups, &moved, &later, &[], 1));
    }

    #[test]
    fn s3_s4_a_window_is_its_two_parts(
        history in history(60, floats().boxed()).prop_map(small), rows in rows(), early in 0i64..30, late in 0i64..30,
    ) {
        let whole = answers(&plan_of(&[early + late]), &rows, &history, &[], 1);
        let last = answers(&plan_of(&[late]), &rows, &history, &[], 1);
        // What is known stays; only the end of the window moves back.
        let before = |row: &Row| Row { as_of: row.as_of - late, ..row.clone() };
        let first = answers(&plan_of(&[early]), &rows.iter().map(before).collect::<Vec<_>>(), &history, &[], 1);
        for (whole, (first, last)) in whole.iter().zip(first.iter().zip(&last)) {
            for index in 0..3 {
                let sum = int(&first[index]).unwrap_or(0) + int(&last[index]).unwrap_or(0);
                prop_assert_eq!(int(&whole[index]).unwrap_or(0), sum, "aggregation {}", index);
            }
            prop_assert_eq!(int(&whole[3]), int(&first[3]).max(int(&last[3])));
        }
    }

    #[test]
    fn s2_facts_that_no_row_can_see_change_nothing(
        history in history(40, floats().boxed()), strangers in history(20, floats().boxed()), rows in rows(),
    ) {
        let mut more = history.clone();
        for (index, mut stranger) in strangers.into_iter().enumerate() {
            // True early enough, but learned after everything that any row knows; or a version of nothing, in the far future.
            stranger.arrival_time = at(10_000);
            stranger.event_id = None;
            stranger.sequence = 1_000 + index as u64;
            more.insert(index.min(more.len()), stranger);
        }
        let (windows, _) = window_plan();
        prop_assert_eq!(answers(&windows, &rows, &history, &[], 1), answers(&windows, &rows, &more, &[], 2));
        let lookups = lookup_plan(&ASKED);
        prop_assert_eq!(answers(&lookups, &rows, &history, &[], 1), answers(&lookups, &rows, &more, &[], 2));
    }
}

/// Many rows and facts of few keys, so that everything that is precomputed is, rows in no order of time.
pub(crate) fn crowd() -> impl Strategy<Value = (Vec<Fact>, Vec<Row>)> {
    let row = (
        prop::sample::select(vec![("1", "23"), ("12", "3")]),
        -5i64..80,
        prop_oneof![4 => Just(0i64), 1 => -20i64..20],
    );
    let rows = prop::collection::vec(row, 60..90);
    // Exponents that prefix sums of one, two and four limbs hold, and some that they do not.
    let values = prop_oneof![
        Just(prop_oneof![1 => Just(f64::NAN), 30 => (-40i32..40).prop_map(f64::from)].boxed()),
        Just((-40i32..40).prop_map(|tenths| f64::from(tenths) / 10.0).boxed()),
        Just((-40i32..40).prop_map(|exponent| 1.1 * 2f64.powi(exponent)).boxed()),
        Just((-300i32..300).prop_map(|exponent| 1.1 * 2f64.powi(exponent)).boxed()),
        Just(floats().boxed()),
    ];
    let facts = values.prop_flat_map(|values| history(160, values));
    (facts, rows, key_values(), any::<bool>()).prop_map(|(mut facts, rows, key, versions)| {
        for (index, fact) in facts.iter_mut().enumerate() {
            let (first, second) = if index % 4 == 3 { key } else { ("1", "23") };
            fact.values.insert(creta_model::FeatureId(1), creta_model::Value::Str(first.into()));
            fact.values.insert(creta_model::FeatureId(2), creta_model::Value::Str(second.into()));
            if !versions {
                fact.event_id = None;
            }
        }
        let row = |(key, as_of, later)| Row { key, as_of, known_as_of: as_of + later };
        (facts, rows.into_iter().map(row).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn s3_s4_s7_s8_s13_s26_crowded_windows_agree_with_the_reference((history, rows) in crowd(), cut in any::<Index>()) {
        let (plan, all) = window_plan();
        let got = answers(&plan, &rows, &history, &[cut.index(history.len() + 1)], 1);
        assert_same(&got, &expected_windows(&history, &rows, &all), &names(&all))?;
        let lookups = answers(&lookup_plan(&ASKED), &rows, &history, &[], 1);
        assert_same(&lookups, &expected_lookups(&history, &rows), &ASKED.map(|asked| format!("{asked:?}")))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn s26_one_two_and_eight_partitions_give_the_same_cells((history, rows) in crowd()) {
        let (plan, _) = window_plan();
        // Enough rows that each of eight threads gets some, and that keys are cut.
        let many: Vec<Row> = rows.iter().cycle().take(8 * 512).cloned().collect();
        let one = answers(&plan, &many, &history, &[], 1);
        prop_assert_eq!(&one[..rows.len()], &answers(&plan, &rows, &history, &[], 1)[..]);
        for threads in [2, 8] {
            prop_assert!(one == answers(&plan, &many, &history, &[], threads), "{} partitions", threads);
        }
    }
}

#[test]
fn the_features_of_the_laws_are_those_of_the_properties() {
    assert_eq!(window_columns().iter().map(|column| column.feature.0).take(2).collect::<Vec<_>>(), [FLOAT, INT]);
}
