//! Many threads at once.

use std::collections::BTreeMap;

use creta_model::EntityId;
use creta_platform::Platform;

use crate::testing::{Fact, batch, facts, key};
use crate::{FactStore, Position};

#[test]
fn every_append_gets_its_own_position_while_others_flush_compact_and_read() {
    let platform = Platform::in_memory();
    let store = FactStore::open(&platform, key("acme"), "dev/acme/facts").expect("a new store");
    let positions = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4u64)
            .map(|writer| {
                let store = &store;
                let append = move |n| {
                    let sequence = writer * 1000 + n;
                    (store.append(vec![batch(1, &[Fact::at(0, sequence)])]).expect("space"), sequence)
                };
                scope.spawn(move || (0..50).map(append).collect::<Vec<_>>())
            })
            .collect();
        scope.spawn(|| {
            for _ in 0..20 {
                store.flush().expect("space");
                store.compact().expect("space");
            }
        });
        scope.spawn(|| {
            for _ in 0..50 {
                let snapshot = store.snapshot();
                let rows: usize =
                    snapshot.scan(EntityId(1), None, ..).expect("readable").iter().map(|batch| batch.num_rows()).sum();
                assert_eq!(Position(rows as u64), snapshot.position());
            }
        });
        let positions = writers.into_iter().flat_map(|writer| writer.join().expect("no panic"));
        positions.collect::<BTreeMap<_, _>>()
    });
    assert_eq!(positions.keys().map(|position| position.0).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
    for (position, batches) in store.read_since(Position::START).expect("readable") {
        assert_eq!(facts(batches[0].batch())[0].sequence, positions[&position]);
    }
}
