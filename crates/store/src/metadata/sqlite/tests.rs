use std::sync::mpsc::channel;

use super::*;
use crate::testing::key;

#[test]
fn attack_ch35_a_copy_keeps_nobody_who_reads_or_writes_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("metadata.db"), key("acme")).expect("a new store");
    store.write("grant", "1", None, b"one").expect("space");
    let (copy, now) = (folder.path().join("copy.db"), store.epoch().expect("readable"));
    std::thread::scope(|threads| {
        // Somebody is at work on the store for as long as it takes.
        let at_work = store.lock();
        let (done, copied) = channel();
        let (store, copy) = (&store, &copy);
        threads.spawn(move || done.send(store.copy_to(copy)).expect("somebody waits"));
        let copied = copied.recv_timeout(Duration::from_secs(20)).expect("it waits for nobody");
        assert_eq!(copied.expect("copied"), now);
        drop(at_work);
    });
    // What others write to the file while it is copied is in it wholly or not at all.
    let other = SqliteStore::open(folder.path().join("metadata.db"), key("acme")).expect("the same store");
    for number in 0..20_u32 {
        other.write("grant", &format!("more {number}"), None, &[7; 3000]).expect("space");
        let copy = folder.path().join(format!("copy-{number}.db"));
        let moment = store.copy_to(&copy).expect("copied");
        assert_eq!(moment, other.epoch().expect("readable"));
    }
}

#[test]
fn attack_ch35_a_copy_of_changed_rows_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metadata.db");
    let store = SqliteStore::open(&path, key("acme")).expect("a new store");
    store.write("grant", "1", None, b"one").expect("space");
    store.write("grant", "2", None, b"two").expect("space");
    Connection::open(&path).and_then(|own| own.execute("DELETE FROM document", [])).expect("deleted");
    let copied = store.copy_to(folder.path().join("copy.db"));
    assert!(matches!(copied, Err(StoreError::Tampered { .. })), "{copied:?}");
}
