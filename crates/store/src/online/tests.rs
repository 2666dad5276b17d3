//! LMDB under `kill -9`, and whoever can write its file.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use creta_platform::SeededRandom;
use heed::types::Bytes;
use heed::{Database, EnvOpenOptions};

use crate::testing::{key, key_in};
use crate::{LmdbStore, OnlineKey, OnlineStore, Position, StoreError};

const MAP_BYTES: usize = 64 << 20;
const FOLDER: &str = "CRETA_STORE_TEST_FOLDER";
const KEYS: u64 = 40;

fn open(folder: &Path, tenant: &str) -> Result<LmdbStore, StoreError> {
    LmdbStore::open(folder, key(tenant), MAP_BYTES)
}

/// The store in a folder that holds its key as well, for two processes.
fn open_shared(folder: &Path) -> LmdbStore {
    LmdbStore::open(folder.join("online"), key_in(&folder.join("keys"), "acme"), MAP_BYTES).expect("the file is whole")
}

fn keys() -> Vec<OnlineKey> {
    (0..KEYS).map(|n| OnlineKey::new("values", n.to_be_bytes())).collect()
}

/// Position `p` writes `p` under every key, so any mixture of two calls shows.
fn write(store: &LmdbStore, position: u64) {
    let value = position.to_be_bytes().repeat(20);
    store.update_many(&keys(), &mut |_, _| Ok(Some(value.clone())), Position(position)).expect("space");
}

/// The child's side of the test below: writes until it is killed. Without the variable it has nothing to do.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = open_shared(Path::new(&folder));
    let mut position = store.position().expect("readable").0;
    loop {
        position += 1;
        write(&store, position);
        // The harness captures `println!`; the parent reads this through the pipe.
        #[allow(clippy::explicit_write, reason = "print! would be captured by the test harness")]
        std::io::Write::write_all(&mut std::io::stdout(), format!("\nat {position}\n").as_bytes())
            .expect("the parent reads");
    }
}

#[test]
fn after_kill_9_values_and_position_are_of_one_call_and_none_that_was_answered_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let random = SeededRandom::new(11);
    let mut reached = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "online::tests::child_that_writes_until_it_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test again");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
        let position = |line: &String| line.strip_prefix("at ").and_then(|text| text.parse::<u64>().ok());
        let mut answered = lines.find_map(|line| position(&line)).expect("the child writes");
        // A moment of the child's work that differs from round to round.
        let (calls, micros) = (random.below(20), random.below(3_000));
        for line in lines.by_ref().filter(|line| position(line).is_some()).take(calls as usize) {
            answered = position(&line).expect("filtered");
        }
        std::thread::park_timeout(Duration::from_micros(micros));
        child.kill().expect("it runs");
        child.wait().expect("it was ours");
        answered = lines.filter_map(|line| position(&line)).last().unwrap_or(answered);
        let store = open_shared(folder.path());
        let found = store.position().expect("readable");
        assert!(found >= Position(answered) && answered > reached, "round {round}: {found}, answered {answered}");
        let values = store.get_many(&keys()).expect("readable");
        assert!(values.iter().all(|value| value.as_deref() == Some(&found.0.to_be_bytes().repeat(20)[..])));
        reached = found.0;
        write(&store, reached + 1);
        reached += 1;
    }
}

/// What somebody with access to the file, but without the key, can do.
fn as_an_attacker(folder: &Path, change: impl FnOnce(&mut Vec<(Vec<u8>, Vec<u8>)>)) {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_BYTES).max_dbs(1).max_readers(1024);
    // SAFETY: the folder belongs to this test, and no store has it open.
    #[allow(unsafe_code, reason = "LMDB maps its file into memory, so opening is marked unsafe")]
    let env = unsafe { options.open(folder) }.expect("no store has it open");
    let mut txn = env.write_txn().expect("no other writer");
    let values: Database<Bytes, Bytes> = env.create_database(&mut txn, Some("values")).expect("it is there");
    let read = values.iter(&txn).expect("readable").map(|entry| entry.map(|(k, v)| (k.to_vec(), v.to_vec())));
    let mut entries: Vec<_> = read.collect::<Result<_, _>>().expect("readable");
    change(&mut entries);
    values.clear(&mut txn).expect("space");
    entries.iter().for_each(|(key, value)| values.put(&mut txn, key, value).expect("space"));
    txn.commit().expect("space");
    env.prepare_for_closing().wait();
}

/// A closed store with a value per key.
fn written(folder: &Path, tenant: &str) {
    let store = open(folder, tenant).expect("a new store");
    let mut own = |index: usize, _| Ok(Some(vec![index as u8; 10]));
    store.update_many(&keys()[..3], &mut own, Position(1)).expect("space");
}

#[test]
fn attack_ci12_a_value_moved_to_another_key_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), "acme");
    as_an_attacker(folder.path(), |entries| {
        let mut values: Vec<_> = entries.iter_mut().filter(|(key, _)| key.len() == 32).collect();
        let first = values[0].1.clone();
        values[1].1 = first;
    });
    let store = open(folder.path(), "acme").expect("the position is untouched");
    let outcomes: Vec<_> = keys()[..3].iter().map(|key| store.get_many(std::slice::from_ref(key))).collect();
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Tampered { .. }))).count();
    assert_eq!((refused, outcomes.iter().filter(|outcome| outcome.is_ok()).count()), (1, 2));
}

#[test]
fn attack_ci12_a_store_without_its_position_or_with_another_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), "acme");
    as_an_attacker(folder.path(), |entries| {
        let value = entries.iter().find(|(key, _)| key.len() == 32).expect("there").1.clone();
        entries.iter_mut().find(|(key, _)| key == b"position").expect("there").1 = value;
    });
    assert!(matches!(open(folder.path(), "acme").map(drop), Err(StoreError::Foreign { .. })));
    as_an_attacker(folder.path(), |entries| entries.retain(|(key, _)| key != b"position"));
    assert!(matches!(open(folder.path(), "acme").map(drop), Err(StoreError::Tampered { .. })));
}

#[test]
fn attack_ch23_the_folder_of_another_tenant_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), "globex");
    assert!(matches!(open(folder.path(), "acme").map(drop), Err(StoreError::Foreign { .. })));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).expect("space");
    assert!(matches!(open(&link, "globex").map(drop), Err(StoreError::Database { .. })), "links are not followed");
}

#[test]
fn attack_ci12_neither_keys_nor_values_are_on_disk() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("online");
    let canary = b"canary-7f3a-of-a-customer";
    let store = open(&path, "acme").expect("a new store");
    let key = [OnlineKey::new("values", *canary)];
    store.update_many(&key, &mut |_, _| Ok(Some(canary.to_vec())), Position(1)).expect("space");
    assert_eq!(store.get_many(&key).expect("readable"), [Some(canary.to_vec())]);
    drop(store);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in std::fs::read_dir(&path).expect("there") {
        let bytes = std::fs::read(file.expect("there").path()).expect("readable");
        assert!(!bytes.windows(canary.len()).any(|window| window == canary));
    }
    assert!(!format!("{:?}", key[0]).contains("canary"));
}
