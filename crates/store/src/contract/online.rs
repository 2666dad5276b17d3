//! Every online store.

use crate::testing::key;
use crate::{LmdbStore, MemoryStore, OnlineKey, OnlineStore, Position, StoreError, WriteBack};

pub(super) const MAP_BYTES: usize = 16 << 20;

fn on_every_store(suite: impl Fn(&dyn OnlineStore)) {
    suite(&MemoryStore::new());
    let folder = tempfile::tempdir().expect("a folder");
    suite(&LmdbStore::open(folder.path().join("online"), key("acme"), MAP_BYTES).expect("a new store"));
    // One whose values wait, and one that writes them at every call.
    for bytes_max in [1 << 20, 0] {
        let below = LmdbStore::open(folder.path().join(format!("{bytes_max}")), key("acme"), MAP_BYTES);
        suite(&WriteBack::over(below.expect("a new store"), bytes_max).expect("readable"));
    }
}

fn keys(names: &[&str]) -> Vec<OnlineKey> {
    names.iter().map(|name| OnlineKey::new("values", name.as_bytes())).collect()
}

fn put(store: &dyn OnlineStore, names: &[&str], value: &[u8], position: u64) -> Result<(), StoreError> {
    store.update_many(&keys(names), &mut |_, _| Ok(Some(value.to_vec())), Position(position))
}

fn get(store: &dyn OnlineStore, names: &[&str]) -> Vec<Option<Vec<u8>>> {
    store.get_many(&keys(names)).expect("readable")
}

#[test]
fn a_new_store_is_empty_and_at_the_start() {
    on_every_store(|store| {
        assert_eq!(store.position().expect("readable"), Position::START);
        assert_eq!(get(store, &["a"]), [None]);
    });
}

#[test]
fn s9_a_merge_sees_the_old_value_also_of_the_same_call() {
    on_every_store(|store| {
        let names = ["a", "b", "a"];
        let mut append = |index: usize, old: Option<Vec<u8>>| {
            let mut value = old.unwrap_or_default();
            value.push(b'0' + index as u8);
            Ok(Some(value))
        };
        store.update_many(&keys(&names), &mut append, Position(3)).expect("space");
        store.update_many(&keys(&["b"]), &mut append, Position(4)).expect("space");
        assert_eq!(get(store, &["b", "c", "a"]), [Some(b"10".to_vec()), None, Some(b"02".to_vec())]);
        assert_eq!(store.position().expect("readable"), Position(4));
    });
}

#[test]
fn a_failed_merge_changes_nothing() {
    on_every_store(|store| {
        put(store, &["a"], b"1", 1).expect("space");
        let mut fail_second = |index, _| match index {
            0 => Ok(Some(b"2".to_vec())),
            _ => Err(StoreError::Stopped { store: "test".into() }),
        };
        let outcome = store.update_many(&keys(&["a", "b"]), &mut fail_second, Position(2));
        assert!(matches!(outcome, Err(StoreError::Stopped { .. })));
        assert_eq!(
            (get(store, &["a", "b"]), store.position().expect("readable")),
            (vec![Some(b"1".to_vec()), None], Position(1))
        );
    });
}

#[test]
fn positions_do_not_go_back() {
    on_every_store(|store| {
        put(store, &["a"], b"1", 5).expect("space");
        put(store, &["a"], b"2", 5).expect("the same position is fine");
        let back = put(store, &["a"], b"3", 4);
        assert!(matches!(back, Err(StoreError::Behind { given: Position(4), present: Position(5), .. })));
        assert_eq!(get(store, &["a"]), [Some(b"2".to_vec())]);
    });
}

#[test]
fn values_can_be_removed_one_by_one_and_all_together() {
    on_every_store(|store| {
        put(store, &["a", "b"], b"1", 1).expect("space");
        store.update_many(&keys(&["a", "z"]), &mut |_, _| Ok(None), Position(2)).expect("space");
        assert_eq!(get(store, &["a", "b"]), [None, Some(b"1".to_vec())]);
        store.clear().expect("space");
        assert_eq!((get(store, &["b"]), store.position().expect("readable")), (vec![None], Position::START));
        put(store, &["b"], b"2", 1).expect("it starts again");
    });
}

#[test]
fn replaced_values_and_the_position_come_together_and_positions_do_not_go_back() {
    on_every_store(|store| {
        put(store, &["a", "b"], b"1", 1).expect("space");
        let [a, b, c] = keys(&["a", "b", "c"]).try_into().expect("three");
        let values = vec![(a.clone(), Some(b"2".to_vec())), (b, None), (c, Some(b"3".to_vec()))];
        store.replace_many(values, Position(2)).expect("space");
        assert_eq!(get(store, &["a", "b", "c"]), [Some(b"2".to_vec()), None, Some(b"3".to_vec())]);
        let back = store.replace_many(vec![(a, None)], Position(1));
        assert!(matches!(back, Err(StoreError::Behind { given: Position(1), present: Position(2), .. })));
        assert_eq!((get(store, &["a"]), store.position().expect("readable")), (vec![Some(b"2".to_vec())], Position(2)));
    });
}

#[test]
fn a_view_stays_at_its_moment() {
    on_every_store(|store| {
        put(store, &["a", "b"], b"1", 1).expect("space");
        let view = store.view().expect("readable");
        assert_eq!(view.get_many(&keys(&["a"])).expect("readable"), [Some(b"1".to_vec())]);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| put(store, &["a", "b"], b"2", 2).expect("space"));
            writer.join().expect("it does not wait for the view");
        });
        assert_eq!(view.get_many(&keys(&["b"])).expect("readable"), [Some(b"1".to_vec())]);
        drop(view);
        assert_eq!(get(store, &["a", "b"]), vec![Some(b"2".to_vec()); 2]);
    });
}

#[test]
fn s19_keys_of_two_kinds_never_meet() {
    on_every_store(|store| {
        let pair = [OnlineKey::new("a", *b"bc"), OnlineKey::new("ab", *b"c")];
        store.update_many(&pair, &mut |index, old| Ok(old.or(Some(vec![index as u8]))), Position(1)).expect("space");
        assert_eq!(store.get_many(&pair).expect("readable"), [Some(vec![0]), Some(vec![1])]);
    });
}

#[test]
fn writers_take_turns_and_readers_see_whole_calls() {
    on_every_store(|store| {
        let names = ["a", "b"];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let mut add = |_, old: Option<Vec<u8>>| Ok(Some(vec![old.map_or(0, |old| old[0]) + 1]));
                        store.update_many(&keys(&names), &mut add, Position(1)).expect("space");
                    }
                });
            }
            for _ in 0..50 {
                let pair = get(store, &names);
                assert_eq!(pair[0], pair[1]);
            }
        });
        assert_eq!(get(store, &names), [Some(vec![100]), Some(vec![100])]);
    });
}

#[test]
fn a_full_map_changes_nothing_and_a_larger_one_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let value = vec![7; 4 << 20];
    let store = LmdbStore::open(folder.path(), key("acme"), 2 << 20).expect("a new store");
    assert!(matches!(put(&store, &["a"], &value, 1), Err(StoreError::Full { .. })));
    put(&store, &["b"], b"small", 1).expect("small values fit");
    drop(store);
    let store = LmdbStore::open(folder.path(), key("acme"), MAP_BYTES).expect("the same store");
    put(&store, &["a"], &value, 2).expect("space");
    assert_eq!(get(&store, &["a", "b"]), [Some(value), Some(b"small".to_vec())]);
}
