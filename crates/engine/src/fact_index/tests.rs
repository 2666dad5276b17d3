//! Windows from tiles against the reference and against windows from facts, and where facts lie against when they came.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use creta_model::{EntityId, FeatureId, Span, Value};
use creta_planner::{Aggregation, Plan, Step};
use creta_store::{FactBatch, Merge, OnlineKey, OnlineStore, OnlineView, Position, StoreError};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Before, Contents, FactIndex, IndexSpec, Limits};
use crate::NoResolvers;
use crate::metamorphic::{crowd, plan_of};
use crate::properties::{
    ASKED, Row, answers, assert_same, expected_lookups, expected_windows, floats, history, key, lookup_plan, names,
    rows, spine, types, window_columns, window_plan,
};
use crate::reference::{Cell, Fact};
use crate::testing::{MemoryFacts, at, cells, run_plan};
use crate::windows::tile_inputs;

/// Leaves of two facts, and tiles wherever they can be.
const SMALL: Limits = Limits { inline_facts_max: 4, leaf_facts_max: 2, facts_per_window: 0 };

type Values = BTreeMap<OnlineKey, Vec<u8>>;

/// A store whose values can be looked at, that counts reads and can be made to fail.
#[derive(Default)]
struct Shelf {
    values: Mutex<(Values, Position)>,
    reads: AtomicUsize,
    full: AtomicBool,
}

struct Glance<'a>(&'a Shelf, Values);

impl OnlineView for Glance<'_> {
    fn get_many(&self, keys: &[OnlineKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.0.reads.fetch_add(keys.len(), Ordering::Relaxed);
        Ok(keys.iter().map(|key| self.1.get(key).cloned()).collect())
    }
}

impl OnlineStore for Shelf {
    fn view(&self) -> Result<Box<dyn OnlineView + '_>, StoreError> {
        Ok(Box::new(Glance(self, self.values.lock().expect("whole").0.clone())))
    }

    fn update_many(&self, keys: &[OnlineKey], merge: &mut Merge<'_>, position: Position) -> Result<(), StoreError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(StoreError::Full { store: "shelf".into() });
        }
        let mut values = self.values.lock().expect("whole");
        for (index, key) in keys.iter().enumerate() {
            match merge(index, values.0.get(key).cloned())? {
                Some(value) => values.0.insert(key.clone(), value),
                None => values.0.remove(key),
            };
        }
        values.1 = position;
        Ok(())
    }

    fn position(&self) -> Result<Position, StoreError> {
        Ok(self.values.lock().expect("whole").1)
    }

    fn clear(&self) -> Result<(), StoreError> {
        *self.values.lock().expect("whole") = Default::default();
        Ok(())
    }
}

fn contents(aggregations: &[Aggregation]) -> Contents {
    let columns = window_columns();
    let tiles = tile_inputs(aggregations.iter().map(|aggregation| (columns.as_slice(), aggregation)));
    let features = key().iter().map(|part| part.feature).collect();
    let specs = vec![IndexSpec { entity: EntityId(1), features }];
    Contents { specs, types: types().into_iter().collect(), tiles: vec![tiles] }
}

fn opened(shelf: &Arc<Shelf>, aggregations: &[Aggregation], limits: Limits) -> FactIndex {
    FactIndex::open_with(Arc::clone(shelf) as _, contents(aggregations), Before::default(), limits).expect("readable")
}

fn fact_batches(facts: &[Fact]) -> Vec<FactBatch> {
    let batches = MemoryFacts::plain(facts, &types(), &[]);
    batches.into_iter().map(|batch| FactBatch::new(EntityId(1), batch).expect("of the layout")).collect()
}

fn apply(index: &FactIndex, facts: &[Fact]) {
    let position = index.position().expect("readable");
    index.apply(&fact_batches(facts), Position(position.0 + 1)).expect("space");
}

/// An index to which facts were applied in parts.
fn index_of(facts: &[Fact], cuts: &[usize], aggregations: &[Aggregation], limits: Limits) -> (Arc<Shelf>, FactIndex) {
    let shelf = Arc::new(Shelf::default());
    let index = opened(&shelf, aggregations, limits);
    let mut cuts = cuts.to_vec();
    cuts.push(facts.len());
    cuts.sort_unstable();
    let mut start = 0;
    for cut in cuts {
        if cut > start {
            apply(&index, &facts[start..cut]);
        }
        start = cut;
    }
    (shelf, index)
}

fn ask(index: &FactIndex, plan: &Plan, rows: &[Row]) -> Vec<Vec<Cell>> {
    cells(&run_plan(plan, &spine(rows), &index.view().expect("readable"), &NoResolvers, 1))
}

fn aggregations(plan: &Plan) -> &[Aggregation] {
    match &plan.steps[0] {
        Step::Windows { aggregations, .. } => aggregations,
        _ => panic!("a plan of windows"),
    }
}

/// Every tenth microsecond is so far from the one before.
const TEN: i64 = 10;

fn far(micros: i64, ten: i64) -> i64 {
    micros.div_euclid(TEN) * ten + micros.rem_euclid(TEN)
}

/// Times further apart, so that pages lie far above their leaves, and before 1970 there are some too.
fn stretched(mut history: Vec<Fact>, mut rows: Vec<Row>, ten: i64) -> (Vec<Fact>, Vec<Row>) {
    let far = |micros: i64| far(micros - 3 * TEN, ten);
    for fact in &mut history {
        fact.event_time = at(far(fact.event_time.micros()));
        fact.arrival_time = at(far(fact.arrival_time.micros()));
    }
    for row in &mut rows {
        (row.as_of, row.known_as_of) = (far(row.as_of), far(row.known_as_of));
    }
    (history, rows)
}

/// Every aggregate, over windows that are longer in the same measure.
fn stretched_plan(ten: i64) -> (Plan, Vec<Aggregation>) {
    let (mut plan, mut all) = window_plan();
    let Step::Windows { aggregations, .. } = &mut plan.steps[0] else { panic!("a plan of windows") };
    for aggregation in all.iter_mut().chain(aggregations) {
        aggregation.span = Span::from_micros(far(aggregation.span.micros(), ten)).expect("not negative");
    }
    (plan, all)
}

fn check(history: &[Fact], rows: &[Row], cuts: &[usize], ten: i64) -> Result<(), TestCaseError> {
    let (plan, all) = stretched_plan(ten);
    let (_, index) = index_of(history, cuts, &all, SMALL);
    let got = ask(&index, &plan, rows);
    assert_same(&got, &expected_windows(history, rows, &all), &names(&all))?;
    prop_assert_eq!(&got, &answers(&plan, rows, history, &[], 1), "facts give what tiles give");
    let never = Limits { facts_per_window: u64::MAX, ..SMALL };
    prop_assert_eq!(&got, &ask(&index_of(history, &[], &all, never).1, &plan, rows), "leaves hold all facts");
    let lookups = ask(&index, &lookup_plan(&ASKED), rows);
    assert_same(&lookups, &expected_lookups(history, rows), &ASKED.map(|asked| format!("{asked:?}")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn s3_s4_s7_s8_s11_s13_s22_s26_windows_from_tiles_agree_with_the_reference_and_with_facts(
        history in history(70, floats().boxed()), rows in rows(), cuts in any::<[Index; 3]>(),
    ) {
        check(&history, &rows, &cuts.map(|cut| cut.index(history.len() + 1)), TEN)?;
    }

    #[test]
    fn s3_s8_s11_s26_tiles_of_hot_keys_agree_with_the_reference_and_with_facts(
        (history, rows) in crowd(), cuts in any::<[Index; 3]>(), ten in prop_oneof![Just(TEN), Just(1 << 33)],
    ) {
        let (history, rows) = stretched(history, rows, ten);
        check(&history, &rows, &cuts.map(|cut| cut.index(history.len() + 1)), ten)?;
    }

    #[test]
    fn s9_s26_facts_and_tiles_lie_in_the_same_bytes_whatever_the_order_and_parts(
        (history, _) in crowd(), turn in any::<Index>(), cuts in any::<[Index; 5]>(),
        ten in prop_oneof![Just(TEN), Just(1 << 33)],
    ) {
        let (history, _) = stretched(history, Vec::new(), ten);
        let (_, all) = window_plan();
        let mut other = history.clone();
        if !history.is_empty() {
            other.rotate_left(turn.index(history.len()));
            other.reverse();
        }
        let (built, _) = index_of(&history, &[], &all, SMALL);
        let (grown, _) = index_of(&other, &cuts.map(|cut| cut.index(other.len() + 1)), &all, SMALL);
        let (built, grown) = (built.values.lock().expect("whole"), grown.values.lock().expect("whole"));
        prop_assert!(built.0.keys().eq(grown.0.keys()), "{} values and {}", built.0.len(), grown.0.len());
        for (key, value) in &built.0 {
            prop_assert_eq!(Some(value), grown.0.get(key), "{}", key.kind());
        }
    }

    #[test]
    fn s9_a_fact_that_comes_twice_counts_once((history, rows) in crowd(), again in any::<[Index; 3]>()) {
        let (plan, all) = window_plan();
        // Versions of an event stay apart: a repeated one is another question.
        let history: Vec<Fact> = history.into_iter().map(|fact| Fact { event_id: None, ..fact }).collect();
        let mut more = history.clone();
        if !history.is_empty() {
            more.extend(again.map(|index| history[index.index(history.len())].clone()));
        }
        let (_, index) = index_of(&more, &[history.len()], &all, SMALL);
        assert_same(&ask(&index, &plan, &rows), &expected_windows(&history, &rows, &all), &names(&all))?;
    }

    #[test]
    fn s28_windows_that_are_new_read_facts_until_their_tiles_are_made(
        (history, rows) in crowd(), keep in any::<[Index; 4]>(), late in prop::option::of(any::<Index>()),
    ) {
        let (plan, all) = window_plan();
        let early: Vec<Aggregation> = keep.iter().map(|index| all[index.index(all.len())].clone()).collect();
        // Where no fact comes late, every page is still one of the earlier windows.
        let cut = late.map_or(history.len(), |late| late.index(history.len() + 1));
        let (shelf, _) = index_of(&history[..cut], &[], &early, SMALL);
        let index = opened(&shelf, &all, SMALL);
        // Facts that come before the tiles are made find some of them and lack others.
        apply(&index, &history[cut..]);
        let expected = expected_windows(&history, &rows, &all);
        assert_same(&ask(&index, &plan, &rows), &expected, &names(&all))?;
        prop_assert_eq!(index.lacks_tiles().expect("readable"), contents(&early).tiles != contents(&all).tiles);
        // In portions, as whoever has more facts than memory does.
        let portion = late.map_or(history.len(), |late| late.index(history.len() + 1)).max(1);
        history.chunks(portion).for_each(|some| index.make_tiles(&fact_batches(some)).expect("space"));
        prop_assert_eq!(index.lacks_tiles().expect("readable"), contents(&early).tiles != contents(&all).tiles);
        index.tiles_are_made().expect("space");
        prop_assert!(!index.lacks_tiles().expect("readable"));
        assert_same(&ask(&index, &plan, &rows), &expected, &names(&all))?;
        let (built, _) = index_of(&history, &[cut], &all, SMALL);
        prop_assert_eq!(&shelf.values.lock().expect("whole").0, &built.values.lock().expect("whole").0);
    }

    #[test]
    fn a_store_that_fails_keeps_facts_and_tiles_as_they_were((history, rows) in crowd(), cut in any::<Index>()) {
        let (plan, all) = window_plan();
        let cut = cut.index(history.len() + 1);
        let (shelf, index) = index_of(&history[..cut], &[], &all, SMALL);
        let before = (ask(&index, &plan, &rows), shelf.values.lock().expect("whole").0.clone());
        shelf.full.store(true, Ordering::Relaxed);
        let position = index.position().expect("readable");
        let refused = index.apply(&fact_batches(&history[cut..]), Position(position.0 + 1));
        prop_assert!(refused.is_err());
        prop_assert_eq!(&before, &(ask(&index, &plan, &rows), shelf.values.lock().expect("whole").0.clone()));
        prop_assert_eq!(index.position().expect("readable"), position);
        shelf.full.store(false, Ordering::Relaxed);
        apply(&index, &history[cut..]);
        assert_same(&ask(&index, &plan, &rows), &expected_windows(&history, &rows, &all), &names(&all))?;
    }
}

/// Facts of one key, one after each of these gaps, known at once.
fn steady(gaps: impl Iterator<Item = i64>) -> Vec<Fact> {
    let mut time = 0;
    let fact = |(sequence, gap): (usize, i64)| {
        time += gap;
        let key = [(1, Value::Str("1".into())), (2, Value::Str("23".into()))];
        let int = (crate::properties::INT, Value::Int(sequence as i64 % 97 - 48));
        let values = key.into_iter().chain([int]).map(|(id, value)| (FeatureId(id), value)).collect();
        Fact {
            event_time: at(time),
            arrival_time: at(time),
            source: "a".into(),
            sequence: sequence as u64,
            event_id: None,
            retracted: false,
            values,
        }
    };
    gaps.enumerate().map(fact).collect()
}

#[test]
fn s3_s4_s11_every_window_around_every_edge_of_a_tile_is_right() {
    // Pages of 32 microseconds, leaves of up to two facts: every instant is an edge of some tile or next to one.
    let history = steady([1, 3, 1, 1, 2, 7, 1, 1, 1, 1, 9, 1, 2, 1, 1, 20, 1, 1, 1, 1, 30, 2].into_iter());
    let spans: Vec<i64> = (1..100).collect();
    let plan = plan_of(&spans);
    let all = aggregations(&plan);
    let (_, index) = index_of(&history, &[5, 11], all, SMALL);
    let row = |as_of: i64| Row { key: ("1", "23"), as_of, known_as_of: as_of };
    let rows: Vec<Row> = (0..100).map(row).collect();
    assert_same(&ask(&index, &plan, &rows), &expected_windows(&history, &rows, all), &names(all)).expect("the same");
}

#[test]
fn s11_a_window_over_many_facts_reads_few_values() {
    let history = steady((0..20_000).map(|n| 1 + n % 1_000_003 * 7919 % 60_000_000));
    let end = history[history.len() - 1].event_time.micros();
    let plan = plan_of(&[end / 2, end - 7]);
    let all = aggregations(&plan);
    let (shelf, index) = index_of(&history, &[7, 5_000], all, Limits::default());
    let row = |as_of: i64| Row { key: ("1", "23"), as_of, known_as_of: as_of };
    let rows = [row(end - end / 3), row(end)];
    for row in &rows {
        let before = shelf.reads.load(Ordering::Relaxed);
        let got = ask(&index, &plan, std::slice::from_ref(row));
        let read = shelf.reads.load(Ordering::Relaxed) - before;
        let counted = match &got[0][0] {
            Cell::Value(Value::Int(count)) => *count,
            other => panic!("{other:?} is no count"),
        };
        assert!(counted > 3_000 && read < 24, "{counted} facts took {read} reads");
        assert_eq!(got[0], answers(&plan, std::slice::from_ref(row), &history, &[], 1)[0]);
    }
}
