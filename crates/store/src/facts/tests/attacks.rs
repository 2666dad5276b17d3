//! Whoever can read and write the files, but has no key.

use std::sync::Arc;

use creta_model::EntityId;
use creta_platform::{Files, MemoryFiles, Platform, SeededRandom, SystemRandom};

use crate::testing::{Fact, batch, key};
use crate::{FactStore, StoreError};

struct Disk {
    files: Arc<MemoryFiles>,
    platform: Platform,
}

type Copy = Vec<(String, Vec<u8>)>;

impl Disk {
    fn new() -> Self {
        let files = Arc::new(MemoryFiles::new());
        let platform = Platform { files: files.clone(), random: Arc::new(SystemRandom), ..Platform::in_memory() };
        Self { files, platform }
    }

    fn open(&self, tenant: &str) -> Result<FactStore, StoreError> {
        FactStore::open(&self.platform, key(tenant), &format!("dev/{tenant}/facts"))
    }

    /// A store with two segments and two units in the log.
    fn filled(&self, tenant: &str) -> FactStore {
        let store = self.open(tenant).expect("a new store");
        for n in 0..4 {
            store.append(vec![batch(1, &[Fact::at(n, n as u64)])]).expect("space");
            if n < 2 {
                store.flush().expect("space");
            }
        }
        store
    }

    fn paths(&self, part: &str) -> Vec<String> {
        self.files.list("").expect("readable").into_iter().filter(|path| path.contains(part)).collect()
    }

    fn copy(&self) -> Copy {
        self.paths("").into_iter().map(|path| (path.clone(), self.files.read(&path).expect("there"))).collect()
    }

    fn put_back(&self, copy: &[(String, Vec<u8>)]) {
        for path in self.paths("") {
            self.files.delete(&path).expect("there");
        }
        copy.iter().for_each(|(path, bytes)| self.files.replace(path, bytes).expect("space"));
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        self.files.read(path).expect("there")
    }

    /// Opening must fail, with a reason that holds `reason`, and must not remove anything.
    fn refused(&self, reason: &str) {
        let before = self.copy();
        match self.open("acme") {
            Ok(_) => panic!("opened in spite of: {reason}"),
            Err(error @ (StoreError::Tampered { .. } | StoreError::Foreign { .. })) => {
                assert!(error.to_string().contains(reason), "{error}, which should say: {reason}");
            }
            Err(error) => panic!("{error}"),
        }
        assert!(self.copy() == before, "evidence was removed");
    }
}

#[test]
fn attack_ci12_no_value_source_or_event_id_is_on_disk() {
    let canary = "canary-7f3a-of-a-customer";
    let disk = Disk::new();
    let store = disk.open("acme").expect("a new store");
    let number = 1_234_567.890_625_f64;
    for n in 0..3 {
        let mut fact = Fact::at(n, n as u64);
        fact.source = canary.to_owned();
        fact.event_id = Some(canary.as_bytes().to_vec());
        fact.values[0].1 = Some(number);
        store.append(vec![batch(1, &[fact])]).expect("space");
        if n == 1 {
            store.flush().expect("space");
        }
        let on_disk: Vec<u8> = disk.copy().into_iter().flat_map(|(_, bytes)| bytes).collect();
        for canary in [canary.as_bytes(), &number.to_le_bytes(), b"event_time", b"PAR1", b"segments"] {
            assert!(!on_disk.windows(canary.len()).any(|window| window == canary), "{canary:?} is on disk");
        }
    }
}

#[test]
fn attack_ch23_a_store_at_another_tenants_path_is_refused() {
    let disk = Disk::new();
    drop(disk.filled("acme"));
    drop(disk.filled("globex"));
    let of_globex: Copy = disk.copy().into_iter().filter(|(path, _)| path.contains("globex")).collect();
    let moved: Copy = of_globex.into_iter().map(|(path, bytes)| (path.replace("globex", "acme"), bytes)).collect();
    disk.put_back(&moved);
    disk.refused("was not sealed for this scope and store");
    // A single file is noticed as well.
    let sealed = "was not sealed for this scope and store";
    for (part, reason) in [("/log/", sealed), ("/segment/", "belongs to another place"), ("/manifest", sealed)] {
        let disk = Disk::new();
        drop(disk.filled("acme"));
        drop(disk.filled("globex"));
        let path = |tenant: &str| disk.paths(part).into_iter().find(|path| path.contains(tenant)).expect("there");
        disk.files.replace(&path("acme"), &disk.bytes(&path("globex"))).expect("space");
        disk.refused(reason);
    }
}

#[test]
fn attack_ch23_the_key_of_another_tenant_does_not_open_a_store() {
    let disk = Disk::new();
    drop(disk.filled("acme"));
    let opened = FactStore::open(&disk.platform, key("globex"), "dev/acme/facts").map(drop);
    assert!(matches!(opened, Err(StoreError::Foreign { .. })));
}

#[test]
fn attack_ci12_swapped_and_replaced_segments_are_refused() {
    let disk = Disk::new();
    drop(disk.filled("acme"));
    let segments = disk.paths("/segment/");
    let (one, two) = (disk.bytes(&segments[0]), disk.bytes(&segments[1]));
    disk.files.replace(&segments[0], &two).expect("space");
    disk.files.replace(&segments[1], &one).expect("space");
    disk.refused("it was changed, or belongs to another place");
}

#[test]
fn attack_ci12_a_cut_or_missing_segment_is_refused() {
    for len in [0, 1, 60, 200] {
        let disk = Disk::new();
        drop(disk.filled("acme"));
        let path = disk.paths("/segment/").remove(0);
        let bytes = disk.bytes(&path);
        disk.files.replace(&path, &bytes[..len]).expect("space");
        disk.refused("cut short");
        disk.files.replace(&path, &bytes[..bytes.len() - 1]).expect("space");
        disk.refused("cut short");
        disk.files.delete(&path).expect("there");
        disk.refused("is missing");
    }
}

#[test]
fn attack_ci12_a_flipped_bit_of_a_segment_is_noticed_when_it_is_read() {
    let disk = Disk::new();
    drop(disk.filled("acme"));
    let path = disk.paths("/segment/").remove(0);
    let whole = disk.bytes(&path);
    for at in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        disk.files.replace(&path, &bytes).expect("space");
        let noticed = disk.open("acme").and_then(|store| {
            store.verify().expect_err("the digest covers every byte");
            store.scan(EntityId(1), None, ..).map(drop)
        });
        assert!(noticed.is_err(), "byte {at}");
    }
}

#[test]
fn attack_ci12_a_rolled_back_manifest_is_refused() {
    let disk = Disk::new();
    let store = disk.filled("acme");
    let manifest = disk.paths("/manifest").remove(0);
    let old = disk.bytes(&manifest);
    // A flush: the old manifest names a log that is gone.
    store.flush().expect("space");
    let newer = disk.bytes(&manifest);
    disk.files.replace(&manifest, &old).expect("space");
    disk.refused("an older copy was put in its place");
    // A compaction, with the old segments put back too: the log names a newer manifest.
    disk.files.replace(&manifest, &newer).expect("space");
    let segments: Copy = disk.copy().into_iter().filter(|(path, _)| path.contains("/segment/")).collect();
    store.compact().expect("space");
    store.append(vec![batch(1, &[Fact::at(9, 9)])]).expect("space");
    drop(store);
    disk.files.replace(&manifest, &newer).expect("space");
    segments.iter().for_each(|(path, bytes)| disk.files.replace(path, bytes).expect("space"));
    disk.refused("an older copy was put in its place");
}

#[test]
fn attack_ci12_missing_files_are_refused() {
    for (part, reason) in [("/manifest", "its manifest is missing"), ("/log/", "its log is missing")] {
        let disk = Disk::new();
        drop(disk.filled("acme"));
        disk.files.delete(&disk.paths(part).remove(0)).expect("there");
        disk.refused(reason);
    }
}

#[test]
fn attack_ci12_a_log_that_was_begun_anew_or_is_older_is_refused() {
    let disk = Disk::new();
    let store = disk.filled("acme");
    let log = disk.paths("/log/").remove(0);
    let (before, bytes) = (disk.files.read(&log).expect("there"), disk.bytes(&log));
    store.flush().expect("space");
    drop(store);
    // The old log under the new one's name, and a log without its first record.
    let new = disk.paths("/log/").remove(0);
    let new_bytes = disk.bytes(&new);
    disk.files.replace(&new, &before).expect("space");
    disk.refused("not sealed for this scope and store");
    disk.files.replace(&new, &new_bytes[..120]).expect("space");
    disk.refused("its log is cut short");
    disk.files.replace(&new, &new_bytes).expect("space");
    disk.open("acme").expect("the files as they were");
    // A changed byte in the middle.
    let disk = Disk::new();
    drop(disk.filled("acme"));
    let mut changed = disk.bytes(&log);
    assert!(changed.len() >= bytes.len() / 2);
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    disk.files.replace(&log, &changed).expect("space");
    disk.refused("was changed or belongs elsewhere");
}

#[test]
fn attack_ci12_a_shortened_log_is_noticed_by_who_knows_more() {
    let disk = Disk::new();
    let store = disk.filled("acme");
    let acknowledged = store.position();
    drop(store);
    let log = disk.paths("/log/").remove(0);
    let whole = disk.bytes(&log);
    let open = |known| FactStore::open_known(&disk.platform, key("acme"), "dev/acme/facts", known);
    for cut in [1, 40, whole.len() / 4] {
        disk.files.replace(&log, &whole[..whole.len() - cut]).expect("space");
        let before = disk.copy();
        match open(acknowledged) {
            Err(StoreError::Ahead { given, end, .. }) => assert!(given == acknowledged && end < acknowledged),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("acknowledged facts are missing"),
        }
        assert!(disk.copy() == before, "evidence was removed");
    }
    disk.files.replace(&log, &whole).expect("space");
    assert_eq!(open(acknowledged).expect("the whole log").position(), acknowledged);
}

#[test]
fn attack_ci12_yesterdays_folder_is_noticed_by_a_kept_epoch() {
    let disk = Disk::new();
    let store = disk.filled("acme");
    let yesterday = disk.copy();
    store.append(vec![batch(1, &[Fact::at(9, 9)])]).expect("space");
    let kept = store.epoch();
    drop(store);
    disk.put_back(&yesterday);
    let store = disk.open("acme").expect("the files agree with each other");
    let noticed = store.check_epoch(&kept).expect_err("an older copy");
    assert!(noticed.to_string().contains("an older copy was put in its place"), "{noticed}");
    // Another history of the same length does not pass for it, even after a flush.
    store.append(vec![batch(1, &[Fact::at(9, 9)])]).expect("space");
    for _ in 0..2 {
        let noticed = store.check_epoch(&kept).expect_err("another history");
        assert!(noticed.to_string().contains("its history is not the one that was recorded"), "{noticed}");
        store.flush().expect("space");
        store.append(vec![batch(1, &[Fact::at(10, 10)])]).expect("space");
    }
}

#[test]
fn attack_ci12_a_log_of_another_history_is_refused() {
    let disk = Disk::new();
    drop(disk.filled("acme"));
    let yesterday = disk.copy();
    let went_on = || {
        disk.put_back(&yesterday);
        let store = disk.open("acme").expect("the files agree with each other");
        store.append(vec![batch(1, &[Fact::at(9, 9)])]).expect("space");
        store.flush().expect("space");
        let log = disk.paths("/log/").remove(0);
        (log.clone(), disk.bytes(&log))
    };
    let (_, other) = went_on();
    let (log, own) = went_on();
    disk.files.replace(&log, &other).expect("space");
    disk.refused("its log does not go on from its manifest");
    disk.files.replace(&log, &own).expect("space");
    disk.open("acme").expect("the files as they were");
}

#[test]
fn attack_ci12_a_log_that_the_one_before_does_not_name_is_refused() {
    let disk = Disk::new();
    let store = disk.filled("acme");
    let before = disk.copy();
    store.flush().expect("space");
    store.append(vec![batch(1, &[Fact::at(9, 9)])]).expect("space");
    drop(store);
    // Everything goes back to before the flush, and the log after it stays.
    let log = disk.paths("/log/").remove(0);
    disk.put_back(&[before, vec![(log.clone(), disk.bytes(&log))]].concat());
    disk.refused("log");
}

#[test]
fn attack_ci12_a_segment_of_another_history_under_the_same_name_fails_its_digest() {
    let disk = Disk::new();
    drop(disk.filled("acme"));
    let yesterday = disk.copy();
    // The same random names in both histories, which only a broken random source would give.
    let went_on = |value| {
        disk.put_back(&yesterday);
        let platform = Platform { random: Arc::new(SeededRandom::new(5)), ..disk.platform.clone() };
        let store = FactStore::open(&platform, key("acme"), "dev/acme/facts").expect("the files agree");
        let mut fact = Fact::at(9, 9);
        fact.values[0].1 = Some(value);
        store.append(vec![batch(1, &[fact])]).expect("space");
        store.flush().expect("space");
        let segment = disk.paths("/segment/").pop().expect("there");
        (segment.clone(), disk.bytes(&segment))
    };
    let (other_name, other) = went_on(1.234_567_890_123);
    let (segment, own) = went_on(1.345_678_901_234);
    assert_eq!((&other_name, other.len()), (&segment, own.len()));
    disk.files.replace(&segment, &other).expect("space");
    let store = disk.open("acme").expect("the length is the same");
    assert!(matches!(store.verify(), Err(StoreError::Tampered { .. })));
}

#[test]
fn a_copy_taken_while_others_append_opens_as_of_its_moment() {
    let disk = Disk::new();
    let store = disk.filled("acme");
    let (epoch, copy) = store
        .while_still(|epoch, files| {
            // Whatever is appended behind the moment is not part of it.
            store.append(vec![batch(1, &[Fact::at(9, 9)])]).expect("space");
            let read = |(path, bytes): &(String, u64)| {
                let len = usize::try_from(*bytes).expect("small");
                (path.clone(), disk.files.read_range(path, 0, len).expect("there"))
            };
            (epoch, files.iter().map(read).collect::<Copy>())
        })
        .expect("still");
    store.append(vec![batch(1, &[Fact::at(10, 10)])]).expect("space");
    store.flush().expect("space");
    store.compact().expect("space");
    let newer = store.epoch();
    assert!(copy.len() >= 4, "two segments, the manifest, the log: {}", copy.len());
    drop(store);

    disk.put_back(&copy);
    let again = disk.open("acme").expect("a store of that moment");
    assert_eq!(again.epoch(), epoch);
    assert_eq!(again.position().0, 4);
    again.verify().expect("every segment is whole");
    again.check_epoch(&newer).expect_err("older than the newest");
}
