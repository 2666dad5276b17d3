//! The store must answer like a list of units.

use creta_model::{EntityId, FeatureId, Instant};
use creta_platform::Platform;
use proptest::prelude::*;

use crate::testing::{Fact, batch, facts, key, sorted};
use crate::{FactBatch, FactStore, Position};

#[derive(Debug, Clone)]
enum Op {
    /// Batches of entity, set of features and event times.
    Append(Vec<(u32, u8, Vec<i64>)>),
    Flush,
    Compact,
    Reopen,
    /// Entity, features, first and last event time.
    Scan(u32, Option<Vec<u32>>, i64, i64),
    ReadSince(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let times = prop::collection::vec(0..20i64, 0..12);
    let batches = prop::collection::vec((1..3u32, 0..3u8, times), 0..4);
    let features = prop::option::of(prop::collection::vec(1..4u32, 0..3));
    prop_oneof![
        8 => batches.prop_map(Op::Append),
        2 => Just(Op::Flush),
        1 => Just(Op::Compact),
        1 => Just(Op::Reopen),
        4 => (1..4u32, features, -1..21i64, -1..21i64).prop_map(|(e, f, a, b)| Op::Scan(e, f, a, b)),
        2 => any::<prop::sample::Index>().prop_map(|at| Op::ReadSince(at.index(64) as u64)),
    ]
}

/// The list of units: entity and facts of each batch with rows.
#[derive(Default)]
struct Model {
    units: Vec<Vec<(u32, Vec<Fact>)>>,
    sequence: u64,
}

impl Model {
    fn make(&mut self, batches: Vec<(u32, u8, Vec<i64>)>) -> Vec<(u32, Vec<Fact>)> {
        let mut make = |features: u8, event| {
            self.sequence += 1;
            let mut fact = Fact::at(event, self.sequence);
            fact.values.truncate(usize::from(features));
            fact
        };
        let batches = batches.into_iter();
        batches.map(|(e, features, times)| (e, times.into_iter().map(|at| make(features, at)).collect())).collect()
    }

    fn scan(&self, entity: u32, features: Option<&[FeatureId]>, first: i64, last: i64) -> Vec<Fact> {
        let mut found: Vec<Fact> = Vec::new();
        for (_, facts) in self.units.iter().flatten().filter(|(of, _)| *of == entity) {
            for fact in facts.iter().filter(|fact| (first..=last).contains(&fact.event)) {
                let mut fact = fact.clone();
                fact.values.retain(|(feature, _)| features.is_none_or(|wanted| wanted.contains(feature)));
                found.push(fact);
            }
        }
        found.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
        found
    }
}

/// The facts of a unit, whichever way they are cut into batches.
fn flat<'a>(batches: impl Iterator<Item = (u32, &'a [Fact])>) -> Vec<(u32, Fact)> {
    let mut all: Vec<_> = batches.flat_map(|(e, facts)| facts.iter().map(move |fact| (e, fact.clone()))).collect();
    all.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    all
}

fn check_units(store: &FactStore, model: &Model, since: u64) {
    let since = since.min(model.units.len() as u64);
    let found: Vec<(Position, Vec<FactBatch>)> = store.read_since(Position(since)).expect("readable").collect();
    assert_eq!(found.len() as u64, model.units.len() as u64 - since);
    let names = |units: &[(Position, Vec<FactBatch>)]| -> Vec<(Position, Vec<(u32, Fact)>)> {
        let of = |batches: &[FactBatch]| -> Vec<(u32, Vec<Fact>)> {
            batches.iter().map(|facts_of| (facts_of.entity().0, facts(facts_of.batch()))).collect()
        };
        units.iter().map(|(at, batches)| (*at, flat(of(batches).iter().map(|(e, all)| (*e, all.as_slice()))))).collect()
    };
    for memory_max in [0, 4096, u64::MAX] {
        let (mut at, mut portions) = (Position(since), Vec::new());
        loop {
            let some = store.snapshot().some_units_since(at, memory_max, "").expect("readable");
            let Some((last, _)) = some.last() else { break };
            at = *last;
            portions.extend(some);
        }
        assert_eq!(names(&portions), names(&found), "some at a time are all in the end");
    }
    for ((position, batches), number) in found.into_iter().zip(since + 1..) {
        assert_eq!(position, Position(number));
        let batches: Vec<_> = batches.iter().map(|facts_of| (facts_of.entity().0, facts(facts_of.batch()))).collect();
        let expected = &model.units[number as usize - 1];
        assert_eq!(
            flat(batches.iter().map(|(e, facts)| (*e, facts.as_slice()))),
            flat(expected.iter().map(|(e, facts)| (*e, facts.as_slice())))
        );
    }
}

fn open(platform: &Platform) -> FactStore {
    FactStore::open(platform, key("acme"), "dev/acme/facts").expect("its own files")
}

fn run(ops: Vec<Op>) {
    let platform = Platform::in_memory();
    let mut model = Model::default();
    let mut store = open(&platform);
    let mut earlier = Vec::new();
    for op in ops {
        match op {
            Op::Append(batches) => {
                let mut unit = model.make(batches);
                let batches = unit.iter().map(|(entity, facts)| batch(*entity, facts)).collect();
                let position = store.append(batches).expect("space");
                unit.retain(|(_, facts)| !facts.is_empty());
                if !unit.is_empty() {
                    model.units.push(unit);
                }
                assert_eq!(position, Position(model.units.len() as u64));
                earlier.push((store.snapshot(), model.scan(1, None, i64::MIN, i64::MAX), store.epoch()));
            }
            Op::Flush => store.flush().expect("space"),
            Op::Compact => store.compact().expect("space"),
            Op::Reopen => {
                let epoch = store.epoch();
                drop(store);
                // Opening removes the files that only snapshots of the closed store still need.
                earlier.clear();
                store = open(&platform);
                store.check_epoch(&epoch).expect("the same history");
            }
            Op::Scan(entity, features, first, last) => {
                let features = features.map(|ids| ids.into_iter().map(FeatureId).collect::<Vec<_>>());
                let features = features.as_deref();
                let at = |micros| Instant::from_micros(micros).expect("in range");
                let found = store.scan(EntityId(entity), features, at(first)..=at(last)).expect("readable");
                assert!(found.iter().all(|batch| batch.num_rows() > 0));
                assert_eq!(sorted(&found), model.scan(entity, features, first, last));
            }
            Op::ReadSince(since) => check_units(&store, &model, since),
        }
    }
    for (snapshot, expected, epoch) in &earlier {
        assert_eq!(sorted(&snapshot.scan(EntityId(1), None, ..).expect("readable")), *expected);
        store.check_epoch(epoch).expect("the same history");
    }
    check_units(&store, &model, 0);
    store.verify().expect("whole");
    drop(store);
    check_units(&open(&platform), &model, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn s22_whatever_happens_the_store_is_the_list_of_its_units(ops in prop::collection::vec(op(), 1..40)) {
        run(ops);
    }
}

#[test]
fn many_small_units_become_few_batches_and_stay_units() {
    let mut ops = Vec::new();
    for n in 0..600 {
        ops.push(Op::Append(vec![(1, (n % 2) as u8, vec![n % 20])]));
    }
    let platform = Platform::in_memory();
    let store = open(&platform);
    let mut model = Model::default();
    for op in ops {
        let Op::Append(batches) = op else { unreachable!("only appends above") };
        let unit = model.make(batches);
        store.append(unit.iter().map(|(entity, facts)| batch(*entity, facts)).collect()).expect("space");
        model.units.push(unit);
    }
    assert!(store.scan(EntityId(1), None, ..).expect("readable").len() < 60);
    check_units(&store, &model, 0);
    check_units(&store, &model, 577);
    store.flush().expect("space");
    check_units(&store, &model, 577);
    assert_eq!(store.scan(EntityId(1), None, ..).expect("readable").len(), 2);
}

#[test]
fn segments_are_sorted_by_s7() {
    let platform = Platform::in_memory();
    let store = open(&platform);
    for n in 0..40u64 {
        let facts: Vec<_> = (0..5).map(|i| Fact::at((n * 7 + i) as i64 % 6, 1000 - n * 5 - i)).collect();
        store.append(vec![batch(1, &facts)]).expect("space");
    }
    store.flush().expect("space");
    let found = store.scan(EntityId(1), None, ..).expect("readable");
    let order: Vec<_> = facts(&found[0]).into_iter().map(|f| (f.event, f.arrival, f.source, f.sequence)).collect();
    assert_eq!((found.len(), order.len()), (1, 200));
    assert!(order.is_sorted());
}
