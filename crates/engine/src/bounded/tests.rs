//! A run in parts against a run that holds everything.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch, StringArray};
use creta_keys::{KeyRing, RootKey, ScopeKey};
use creta_model::{Aggregate, EntityId, Environment, Function, Instant, Scope, Span, Type, Value};
use creta_planner::{Aggregation, LookupColumn, Origin, Plan, Step};
use creta_platform::Platform;
use creta_store::{FactBatch, FactStore};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;

use super::cells::read_batch;
use super::*;
use crate::NoResolvers;
use crate::properties::{
    ASKED, FLOAT, Row, TEXT, floats, history, key, lookup_plan, rows, spine, types, window_columns, window_plan,
};
use crate::reference::{Cell, Fact};
use crate::run::execute;
use crate::scan::SnapshotReader;
use crate::testing::{MemoryFacts, PlanOf, call, cells, column, input, literal, name};

/// Facts of one entity in a store, and where parts wait.
struct World {
    platform: Platform,
    key: ScopeKey,
    store: FactStore,
    folder: SpillFolder,
}

impl World {
    fn with(history: &[Fact], cuts: &[usize]) -> Self {
        let platform = Platform::in_memory();
        let environment = Environment::parse("dev").expect("valid");
        let root = RootKey::generate(&environment, &*platform.random);
        let ring = KeyRing::open(root, environment, platform.clone()).expect("opens");
        let key = ring.create_scope(&Scope::parse("acme", "dev").expect("valid")).expect("a key");
        let store = FactStore::open(&platform, key.clone(), "facts").expect("opens");
        for (number, batch) in MemoryFacts::plain(history, &types(), cuts).into_iter().enumerate() {
            let fields = batch.schema_ref().fields().iter().map(|field| {
                let optional = field.name() == "event_id" || field.name().starts_with('f');
                Arc::new(arrow::datatypes::Field::clone(field).with_nullable(optional))
            });
            let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
            let batch = RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec()).expect("no nulls");
            store.append(vec![FactBatch::new(EntityId(1), batch).expect("of the layout")]).expect("durable");
            if number % 2 == 0 {
                store.flush().expect("a segment");
            }
        }
        let folder = SpillFolder::new(&platform, key.clone(), "spill/".into());
        Self { platform, key, store, folder }
    }

    fn whole(&self, plan: &Plan, rows: &Rows, threads: usize) -> Answer {
        let options = RunOptions { threads, ..RunOptions::default() };
        let reader = SnapshotReader::new(self.store.snapshot());
        execute(plan, rows, &reader, &NoResolvers, &options, None).expect("the plan runs")
    }

    /// The same in parts; `progress` may end it.
    fn in_parts(
        &self,
        plan: &Plan,
        rows: &Rows,
        (parts, block_rows): (usize, usize),
        threads: usize,
        progress: &dyn Fn(&TrainingProgress),
    ) -> Vec<Vec<Cell>> {
        let snapshot = self.store.snapshot();
        let options = RunOptions { threads, ..RunOptions::default() };
        let now = Instant::from_micros(0).expect("in range");
        let mut run = self.folder.begin("run", now, block_rows).expect("begins").expect("nobody else");
        for step in 0..plan.steps.len() {
            run.manifest.parts.entry(step).or_insert(parts);
        }
        let budget = Budget { block_rows, waiting_bytes: 100, part_bytes: u64::MAX };
        let bounded = BoundedRun {
            plan,
            rows,
            snapshot: &snapshot,
            host: &NoResolvers,
            options: &options,
            budget,
            run,
            progress,
        };
        let mut answered = Vec::new();
        bounded
            .run(|range, answer| -> Result<(), EngineError> {
                assert_eq!((range.start, range.len()), (answered.len(), answer.rows));
                answered.extend(cells(&answer));
                Ok(())
            })
            .expect("the plan runs");
        answered
    }

    fn files(&self) -> Vec<String> {
        self.platform.files.list("spill/").expect("a list")
    }
}

fn ignore(_: &TrainingProgress) {}

/// A lookup whose answer is, in upper case, part of the key of windows; then an expression over one of these.
fn chained() -> Plan {
    let mut plan = PlanOf::given(&[Type::Str, Type::Str]);
    let given = plan.0.given.clone();
    let found = plan.output(Type::Str, Origin::Facts);
    let lower = plan.output(Type::Str, Origin::Expression);
    let count = plan.output(Type::Int, Origin::Window);
    let more = plan.output(Type::Int, Origin::Expression);
    let columns = vec![LookupColumn { column: column(TEXT, Type::Str), slot: found, max_age: None, default: None }];
    plan.0.steps.push(Step::Lookup {
        entity: EntityId(1),
        entity_name: name("Thing"),
        key: key(),
        key_slots: given,
        columns,
    });
    let expr = call(Function::Lower, vec![input(found.0, Type::Str)], Type::Str);
    plan.0.steps.push(Step::Expression { expr, slot: lower, default: None });
    plan.0.steps.push(Step::Windows {
        entity: EntityId(1),
        entity_name: name("Thing"),
        key: vec![column(TEXT, Type::Str)],
        key_slots: vec![lower],
        columns: window_columns(),
        aggregations: vec![Aggregation {
            aggregate: Aggregate::Count,
            value: None,
            filter: None,
            span: Span::from_micros(25).expect("not negative"),
            include_now: false,
            slot: count,
            default: None,
        }],
    });
    let expr = call(Function::Add, vec![input(count.0, Type::Int), literal(Type::Int, 1.into())], Type::Int);
    plan.step(Step::Expression { expr, slot: more, default: None })
}

/// A lookup and windows that find the same facts by the same keys.
fn both() -> Plan {
    let mut plan = PlanOf::given(&[Type::Str, Type::Str]);
    let given = plan.0.given.clone();
    let found = plan.output(Type::Str, Origin::Facts);
    let columns = vec![LookupColumn { column: column(TEXT, Type::Str), slot: found, max_age: None, default: None }];
    let (entity, entity_name) = (EntityId(1), name("Thing"));
    plan.0.steps.push(Step::Lookup {
        entity,
        entity_name: entity_name.clone(),
        key: key(),
        key_slots: given.clone(),
        columns,
    });
    let aggregations = [(Aggregate::Mean, 10), (Aggregate::Max, 25)].map(|(aggregate, span)| Aggregation {
        aggregate,
        value: Some(input(0, Type::Float)),
        filter: None,
        span: Span::from_micros(span).expect("not negative"),
        include_now: false,
        slot: plan.output(Type::Float, Origin::Window),
        default: None,
    });
    plan.step(Step::Windows {
        entity,
        entity_name,
        key: key(),
        key_slots: given,
        columns: window_columns(),
        aggregations: aggregations.to_vec(),
    })
}

fn plans() -> [Plan; 4] {
    [lookup_plan(&ASKED), window_plan().0, chained(), both()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn s21_s26_parts_blocks_and_threads_change_no_answer(
        history in history(40, floats().boxed()), rows in rows(), cuts in any::<[Index; 2]>(),
        parts in prop::sample::select(vec![1usize, 2, 3, 8]), block_rows in 1usize..12,
    ) {
        let mut cuts = cuts.map(|cut| cut.index(history.len() + 1));
        cuts.sort_unstable();
        let world = World::with(&history, &cuts);
        let rows = spine(&rows);
        for plan in plans() {
            let expected = cells(&world.whole(&plan, &rows, 1));
            for threads in [1, 4] {
                prop_assert_eq!(&cells(&world.whole(&plan, &rows, threads)), &expected);
                prop_assert_eq!(&world.in_parts(&plan, &rows, (parts, block_rows), threads, &ignore), &expected);
            }
            prop_assert!(world.files().is_empty(), "nothing is left: {:?}", world.files());
        }
    }

    #[test]
    fn s26_a_run_that_was_stopped_goes_on_and_gives_the_same(
        history in history(40, floats().boxed()), rows in rows(), stop_after in 0usize..12,
    ) {
        let world = World::with(&history, &[history.len() / 2]);
        let rows = spine(&rows);
        for plan in plans() {
            let expected = cells(&world.whole(&plan, &rows, 1));
            let calls = RefCell::new(0);
            let stop = |_: &TrainingProgress| {
                *calls.borrow_mut() += 1;
                assert!(*calls.borrow() <= stop_after, "stopped");
            };
            let stopped = catch_unwind(AssertUnwindSafe(|| world.in_parts(&plan, &rows, (3, 5), 1, &stop))).is_err();
            // As after a crash: other handles on the same files.
            let again = World {
                folder: SpillFolder::new(&world.platform, world.key.clone(), "spill/".into()),
                platform: world.platform.clone(),
                key: world.key.clone(),
                store: FactStore::open(&world.platform, world.key.clone(), "facts").expect("opens"),
            };
            again.folder.sweep(Instant::from_micros(1000).expect("in range")).expect("sweeps");
            let resumed = RefCell::new(0);
            let note = |progress: &TrainingProgress| *resumed.borrow_mut() = progress.parts_resumed;
            prop_assert_eq!(&again.in_parts(&plan, &rows, (3, 5), 2, &note), &expected);
            if stopped {
                let fact_passes = 3 * plan.steps.iter().filter(|step| Asked::of(step).is_some()).count();
                prop_assert!(stop_after == 0 || stop_after >= fact_passes || *resumed.borrow() > 0, "it went on");
            }
            prop_assert!(again.files().is_empty(), "nothing is left: {:?}", again.files());
        }
    }
}

fn lots() -> (Vec<Fact>, Vec<Row>) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let histories = history(40, floats().boxed());
    let mut all: Vec<Fact> = Vec::new();
    while all.len() < 200 {
        all.extend(histories.new_tree(&mut runner).expect("a history").current());
    }
    for (sequence, fact) in all.iter_mut().enumerate() {
        fact.sequence = sequence as u64;
        fact.values.insert(creta_model::FeatureId(TEXT), Value::Str("CANARY-in-a-fact".into()));
        fact.values.insert(creta_model::FeatureId(FLOAT), Value::Float(f64::from_bits(0x4043_4144_4543_4144)));
    }
    let mut asked = Vec::new();
    while asked.len() < 100 {
        asked.extend(rows().new_tree(&mut runner).expect("rows").current());
    }
    (all, asked)
}

#[test]
fn attack_ch23_files_in_which_parts_wait_hold_no_plaintext() {
    let (history, asked) = lots();
    let world = World::with(&history, &[]);
    let rows = spine(&asked);
    let seen = RefCell::new((0, 0));
    let look = |_: &TrainingProgress| {
        for path in world.files() {
            let bytes = world.platform.files.read(&path).expect("there");
            for canary in [&b"CANARY"[..], &f64::from_bits(0x4043_4144_4543_4144).to_le_bytes()] {
                assert!(!bytes.windows(canary.len()).any(|window| window == canary), "{path} shows a value");
            }
            let (facts, parts) = &mut *seen.borrow_mut();
            *facts += usize::from(path.contains("/facts-"));
            *parts += usize::from(path.contains("/part-"));
        }
    };
    for plan in plans() {
        let expected = cells(&world.whole(&plan, &rows, 1));
        assert_eq!(world.in_parts(&plan, &rows, (4, 16), 1, &look), expected);
    }
    let (facts, parts) = *seen.borrow();
    assert!(facts > 10 && parts > 10, "facts and answers waited: {facts} {parts}");
}

#[test]
fn attack_ch23_a_part_of_another_scope_or_place_is_refused() {
    let (history, asked) = lots();
    let world = World::with(&history, &[]);
    let rows = spine(&asked);
    let plan = lookup_plan(&ASKED);
    let swapped = RefCell::new(false);
    let swap = |_: &TrainingProgress| {
        let files = &world.platform.files;
        let parts: Vec<String> = world.files().into_iter().filter(|path| path.contains("/part-")).collect();
        if let [first, second, ..] = parts.as_slice() {
            files.replace(first, &files.read(second).expect("there")).expect("writes");
            *swapped.borrow_mut() = true;
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| world.in_parts(&plan, &rows, (4, 16), 1, &swap)));
    assert!(*swapped.borrow() && outcome.is_err(), "one part does not stand for another");
}

#[test]
fn what_stopped_runs_left_goes_with_the_next_other_run_or_a_day_later() {
    let (history, asked) = lots();
    let world = World::with(&history, &[]);
    let rows = spine(&asked);
    let plan = lookup_plan(&ASKED);
    let now = |micros: i64| Instant::from_micros(micros).expect("in range");
    let stop = |progress: &TrainingProgress| assert!(progress.rows_done < 60, "stopped");
    let leave = || {
        assert!(catch_unwind(AssertUnwindSafe(|| world.in_parts(&plan, &rows, (4, 16), 1, &stop))).is_err());
        assert!(world.files().len() > 1, "something is left");
    };
    leave();
    world.folder.sweep(now(86_400_000_000 - 1)).expect("sweeps");
    let left = world.files();
    assert!(left.iter().all(|path| !path.contains("facts-")) && left.len() > 1, "answers are kept: {left:?}");
    // While the same run is under way nobody else begins it.
    let first = world.folder.begin("run", now(1), 16).expect("begins").expect("goes on");
    assert!(first.resumed > 0);
    assert!(world.folder.begin("run", now(1), 16).expect("asks").is_none());
    // Nor is what it has done removed by another one.
    drop(world.folder.begin("other", now(1), 16).expect("begins").expect("nobody else"));
    assert_eq!(world.files(), left);
    drop(first);
    drop(world.folder.begin("other", now(1), 16).expect("begins").expect("nobody else"));
    assert!(world.files().is_empty());
    leave();
    world.folder.sweep(now(86_400_000_000)).expect("sweeps");
    assert!(world.files().is_empty());
}

#[test]
fn cells_of_every_state_survive_as_bytes() {
    use creta_model::{CellError, CellState};
    let states = vec![
        CellState::Value,
        CellState::Null,
        CellState::Missing,
        CellState::Expired,
        CellState::Error,
        CellState::Denied,
    ];
    let values = Arc::new(Float64Array::from(vec![Some(-0.0), None, None, None, None, None]));
    let error = Arc::new(CellError { code: "a/b".into(), message: "why".into() });
    let odd = CellColumn::new(values, states, [(4, error)].into()).expect("cells");
    let times = Int64Array::from(vec![Some(1), None, Some(3), Some(4), None, Some(6)]);
    let texts = CellColumn::from_values(Arc::new(StringArray::from(vec![Some("é"); 6]))).with_event_times(times);
    let columns = [odd.clone(), texts];
    let mut bytes = Vec::new();
    write_cells(&columns, &mut bytes).expect("writes");
    let read = read_cells(bytes).expect("reads");
    assert_eq!(format!("{read:?}"), format!("{columns:?}"));
    // Slices and picks are those of the cells one by one.
    let picks = [(1, 0), (0, 4), (1, 2), (0, 0)];
    let picked = CellColumn::interleave(&[odd.clone(), odd.slice(3, 3)], &picks).expect("picks");
    let alone: Vec<CellColumn> = [3, 4, 5, 0].iter().map(|row| odd.take(&[*row]).expect("a row")).collect();
    for (row, alone) in alone.iter().enumerate() {
        assert_eq!((picked.state(row), picked.errors().get(&row)), (alone.state(0), alone.errors().get(&0)));
    }
    // Streams stand one behind the other.
    let batch =
        RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).expect("a table");
    let mut both = Vec::new();
    for _ in 0..2 {
        write_batch(&batch, &mut both).expect("writes");
    }
    let mut both = arrow::buffer::Buffer::from_vec(both);
    assert_eq!([read_batch(&mut both).expect("one"), read_batch(&mut both).expect("two")], [batch.clone(), batch]);
    assert!(both.is_empty());
}

#[test]
fn what_fits_is_not_split_and_what_cannot_fit_is_refused() {
    let (history, _) = lots();
    let world = World::with(&history, &[]);
    let (plan, _) = window_plan();
    let snapshot = world.store.snapshot();
    let of = |memory: u64, resident: u64, rows: u64| Budget::of(memory, resident, &plan, rows, &snapshot);
    assert_eq!(of(1 << 30, 100 << 20, 10_000).expect("fits"), None);
    let split = of(2 << 30, 100 << 20, 10_000_000).expect("fits in parts").expect("not at once");
    let step = budget::step_bytes(&plan.steps[0], &plan, 10_000_000, &snapshot);
    assert!(split.parts(step) > 1 && split.part_bytes < 1 << 30 && split.waiting_bytes < split.part_bytes);
    let refused = of(300 << 20, 200 << 20, 10_000_000).expect_err("too little");
    assert_eq!(refused.code, "training/too-little-memory");
    assert!(refused.help.is_some_and(|help| help.contains("give it at least")));
}
