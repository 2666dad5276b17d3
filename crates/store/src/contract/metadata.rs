//! Every metadata store.

use crate::testing::key;
use crate::{MemoryMetadata, MetadataStore, SqliteStore, StoreError};

fn on_every_store(suite: impl Fn(&dyn MetadataStore)) {
    suite(&MemoryMetadata::new());
    let folder = tempfile::tempdir().expect("a folder");
    suite(&SqliteStore::open(folder.path().join("metadata.db"), key("acme")).expect("a new store"));
}

fn bodies(store: &dyn MetadataStore, kind: &str) -> Vec<(String, u64, Vec<u8>)> {
    let documents = store.list(kind).expect("readable");
    assert!(documents.iter().all(|document| document.kind == kind));
    documents.into_iter().map(|document| (document.id, document.version, document.body)).collect()
}

#[test]
fn a_document_is_read_as_it_was_written_last() {
    on_every_store(|store| {
        assert_eq!(store.read("grant", "1").expect("readable"), None);
        assert_eq!(store.write("grant", "1", None, b"one").expect("space"), 1);
        assert_eq!(store.write("grant", "1", Some(1), b"").expect("space"), 2);
        let found = store.read("grant", "1").expect("readable").expect("there");
        assert_eq!((found.kind.as_str(), found.id.as_str(), found.version, found.body), ("grant", "1", 2, vec![]));
        assert_eq!(store.read("role", "1").expect("readable"), None);
    });
}

#[test]
fn a_write_that_expects_another_version_is_a_conflict() {
    on_every_store(|store| {
        store.write("grant", "1", None, b"one").expect("space");
        for (expected, id) in [(None, "1"), (Some(2), "1"), (Some(1), "2")] {
            let conflict = store.write("grant", id, expected, b"two").expect_err("another version");
            assert!(matches!(conflict, StoreError::Conflict { expected: e, .. } if e == expected), "{conflict}");
        }
        assert!(matches!(store.delete("grant", "1", 7), Err(StoreError::Conflict { present: Some(1), .. })));
        assert!(matches!(store.delete("grant", "2", 1), Err(StoreError::Conflict { present: None, .. })));
        assert_eq!(bodies(store, "grant"), [("1".to_owned(), 1, b"one".to_vec())]);
    });
}

#[test]
fn versions_are_not_reused_after_a_deletion() {
    on_every_store(|store| {
        store.write("grant", "1", None, b"one").expect("space");
        store.delete("grant", "1", 1).expect("space");
        assert_eq!((store.read("grant", "1").expect("readable"), bodies(store, "grant")), (None, vec![]));
        assert!(matches!(store.write("grant", "1", Some(1), b"x"), Err(StoreError::Conflict { present: None, .. })));
        assert_eq!(store.write("grant", "1", None, b"two").expect("space"), 2);
    });
}

#[test]
fn a_list_holds_its_kind_only_sorted_by_id() {
    on_every_store(|store| {
        for id in ["b", "", "a/b", "a", "\u{10ffff}"] {
            store.write("grant", id, None, id.as_bytes()).expect("space");
        }
        store.write("grants", "x", None, b"x").expect("space");
        store.write("gran", "tx", None, b"x").expect("space");
        let ids: Vec<_> = bodies(store, "grant").into_iter().map(|(id, ..)| id).collect();
        assert_eq!(ids, ["", "a", "a/b", "b", "\u{10ffff}"]);
        assert!(bodies(store, "role").is_empty());
    });
}

#[test]
fn of_concurrent_writers_one_wins_each_version() {
    on_every_store(|store| {
        store.write("counter", "1", None, &[0]).expect("space");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut won = 0;
                    while won < 5 {
                        let now = store.read("counter", "1").expect("readable").expect("there");
                        match store.write("counter", "1", Some(now.version), &[now.body[0] + 1]) {
                            Ok(_) => won += 1,
                            Err(StoreError::Conflict { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
        let last = store.read("counter", "1").expect("readable").expect("there");
        assert_eq!((last.version, last.body), (21, vec![20]));
    });
}

#[test]
fn two_openings_of_one_file_see_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metadata.db");
    let one = SqliteStore::open(&path, key("acme")).expect("a new store");
    let two = SqliteStore::open(&path, key("acme")).expect("the same store");
    one.write("grant", "1", None, b"one").expect("space");
    assert_eq!(two.write("grant", "1", Some(1), b"two").expect("space"), 2);
    two.write("grant", "2", None, b"three").expect("space");
    assert_eq!(bodies(&one, "grant").len(), 2);
    assert_eq!(one.epoch().expect("readable"), two.epoch().expect("readable"));
    drop((one, two));
    let again = SqliteStore::open(&path, key("acme")).expect("the same store");
    assert_eq!(bodies(&again, "grant")[0], ("1".to_owned(), 2, b"two".to_vec()));
}

#[test]
fn a_copy_of_a_file_is_a_store_of_one_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("metadata.db"), key("acme")).expect("a new store");
    for number in 0..300_u32 {
        store.write("grant", &number.to_string(), None, &[7; 300]).expect("space");
    }
    let copy = folder.path().join("copy.db");
    let moment = store.copy_to(&copy).expect("copied");
    assert_eq!(moment, store.epoch().expect("readable"));
    store.copy_to(&copy).expect_err("it is there already");
    store.write("grant", "0", Some(1), b"later").expect("space");

    let opened = SqliteStore::open(&copy, key("acme")).expect("a store");
    assert_eq!(opened.epoch().expect("readable"), moment);
    assert_eq!(opened.list("grant").expect("readable").len(), 300);
    opened.check_epoch(&store.epoch().expect("readable")).expect_err("it is older now");
    assert!(SqliteStore::open(&copy, key("globex")).is_err(), "sealed as before");
}
