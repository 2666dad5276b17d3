//! The fact store over every kind of files.

use std::sync::Arc;

use creta_model::{EntityId, FeatureId, Instant};
use creta_platform::{DiskFiles, Files, MemoryFiles, Platform};

use crate::testing::{Fact, batch, key, sorted};
use crate::{FactStore, ONCE_KEPT, Once, Position, StoreError, Unit};

const E: EntityId = EntityId(1);

fn on_every_kind_of_files(suite: impl Fn(&Platform)) {
    let folder = tempfile::tempdir().expect("a folder");
    let kinds: [Arc<dyn Files>; 2] =
        [Arc::new(MemoryFiles::new()), Arc::new(DiskFiles::open(folder.path()).expect("a folder"))];
    for files in kinds {
        suite(&Platform { files, ..Platform::in_memory() });
    }
}

fn open(platform: &Platform) -> FactStore {
    FactStore::open(platform, key("acme"), "dev/acme/facts").expect("it opens")
}

fn at(micros: i64) -> Instant {
    Instant::from_micros(micros).expect("in range")
}

fn some_facts(count: u64) -> Vec<Fact> {
    (0..count).map(|n| Fact::at((n * 7919 % 1000) as i64, n)).collect()
}

#[test]
fn what_is_appended_is_there_now_after_a_flush_and_after_reopening() {
    on_every_kind_of_files(|platform| {
        let store = open(platform);
        let all = some_facts(100);
        assert_eq!(store.append(vec![batch(1, &all[..40])]).expect("space"), Position(1));
        assert_eq!(store.append(vec![batch(1, &all[40..90]), batch(2, &all[90..])]).expect("space"), Position(2));
        let expected = sorted(&[batch(1, &all[..90]).into_batch()]);
        let check = |store: &FactStore| {
            assert_eq!(store.position(), Position(2));
            assert_eq!(sorted(&store.scan(E, None, ..).expect("readable")), expected);
            assert_eq!(store.statistics()[&EntityId(2)].rows, 10);
            let units: Vec<_> = store.read_since(Position(1)).expect("readable").collect();
            assert_eq!((units.len(), units[0].0, units[0].1.len()), (1, Position(2), 2));
        };
        check(&store);
        check(&open(platform));
        store.flush().expect("space");
        check(&store);
        drop(store);
        let store = open(platform);
        check(&store);
        store.verify().expect("whole");
    });
}

#[test]
fn a_scan_keeps_to_its_columns_and_event_times() {
    on_every_kind_of_files(|platform| {
        let store = open(platform);
        let all = some_facts(100);
        store.append(vec![batch(1, &all[..50])]).expect("space");
        store.flush().expect("space");
        store.append(vec![batch(1, &all[50..])]).expect("space");
        // Both ends are event times that are there, in the segment and in the tail.
        for (first, last) in [(all[3].event, all[70].event), (all[60].event, all[7].event)] {
            let (first, last) = (first.min(last), first.max(last));
            let wanted = [FeatureId(2), FeatureId(9)];
            let mut expected = all.clone();
            expected.retain(|fact| (first..last).contains(&fact.event));
            expected.iter_mut().for_each(|fact| fact.values = vec![(FeatureId(2), None)]);
            expected.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
            let found = store.scan(E, Some(&wanted), at(first)..at(last)).expect("readable");
            assert_eq!(sorted(&found), expected);
        }
        assert!(store.scan(E, None, at(1000)..).expect("readable").is_empty());
        assert!(store.scan(EntityId(9), None, ..).expect("readable").is_empty());
    });
}

#[test]
fn a_position_beyond_the_end_asks_for_a_rebuild() {
    on_every_kind_of_files(|platform| {
        let store = open(platform);
        store.append(vec![batch(1, &some_facts(1))]).expect("space");
        let ahead = store.read_since(Position(2)).map(drop);
        assert!(matches!(ahead, Err(StoreError::Ahead { given: Position(2), end: Position(1), .. })));
        assert_eq!(store.read_since(Position(1)).expect("readable").count(), 0);
    });
}

#[test]
fn the_latest_arrival_is_found_in_segments_and_in_the_log() {
    on_every_kind_of_files(|platform| {
        let store = open(platform);
        let late = |arrival: i64| Fact { arrival, ..Fact::at(1, 1) };
        let latest =
            |after: i64| store.snapshot().latest_arrival(at(after), |event, _| event == at(1)).expect("readable");
        assert_eq!(latest(0), None);
        store.append(vec![batch(1, &[late(50), late(70)])]).expect("space");
        store.flush().expect("space");
        assert_eq!((latest(0), latest(69), latest(70)), (Some(at(70)), Some(at(70)), None));
        store.append(vec![batch(1, &[late(60), late(90)]), batch(2, &[Fact { event: 2, ..late(99) }])]).expect("space");
        assert_eq!(
            (latest(0), latest(89), latest(90)),
            (Some(at(90)), Some(at(90)), None),
            "what does not count does not"
        );
    });
}

#[test]
fn what_is_remembered_of_a_unit_is_there_after_flushes_and_reopening_with_or_without_facts() {
    on_every_kind_of_files(|platform| {
        let once = |n: u8| Once { key: [n; 16], content: [n + 1; 16], at: at(i64::from(n)), told: vec![n; 3] };
        let unit = |n: u8, facts: &[Fact]| Unit { batches: vec![batch(1, facts)], once: Some(once(n)) };
        let store = open(platform);
        let facts = some_facts(2);
        let answers = store.append_all(vec![unit(1, &facts[..1]), Unit::default(), unit(2, &[]), unit(3, &facts[1..])]);
        let positions: Vec<_> = answers.into_iter().map(|answer| answer.expect("space").0).collect();
        assert_eq!(positions, [1, 3, 2, 3], "what holds nothing is where the store was when it was asked");
        assert_eq!(store.append_all(vec![unit(4, &[])]).remove(0).expect("space"), Position(4));
        let check = |store: &FactStore| {
            for n in 1..=4 {
                assert_eq!(store.remembered(&[n; 16], at(9)), Some((Position(n.into()), once(n))));
            }
            assert_eq!(store.remembered(&[5; 16], at(9)), None);
            assert_eq!(store.remembered(&[1; 16], at(2).plus(ONCE_KEPT)), None, "its day is over");
            for since in 0..4 {
                let units = store.read_some_since(Position(since)).expect("readable");
                assert!(!units.is_empty(), "whoever catches up from {since} on comes to the end");
                assert_eq!(units.first().map(|(position, _)| position.0), Some(since + 1));
            }
        };
        check(&store);
        check(&open(platform));
        for _ in 0..2 {
            store.flush().expect("space");
            check(&store);
        }
        check(&open(platform));
        store.append(vec![batch(2, &facts)]).expect("space");
        store.flush().expect("space");
        store.compact().expect("space");
        check(&store);
        check(&open(platform));
        let told = Once { told: vec![0; 65 << 10], ..once(9) };
        let answers = store.append_all(vec![Unit { batches: vec![], once: Some(told) }, unit(5, &[])]);
        assert!(
            matches!(answers[0], Err(StoreError::TooLarge { .. })) && answers[1].is_ok(),
            "each is taken by itself"
        );
    });
}
