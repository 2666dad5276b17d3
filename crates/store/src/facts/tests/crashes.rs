//! Whatever fails, wherever it fails: what was answered is there, everything else is there whole or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use creta_model::{EntityId, Instant};
use creta_platform::{AppendFile, Fault, FaultyFiles, FileError, Files, MemoryFiles, Platform, SeededRandom};

use crate::testing::{Fact, batch, facts, key};
use crate::{FactStore, Once, Position, StoreError, Unit};

const PREFIX: &str = "dev/acme/facts";

#[derive(Clone, Copy)]
enum Step {
    Append,
    Flush,
    Compact,
    Reopen,
}

use Step::{Append, Compact, Flush, Reopen};

const SCENARIO: [Step; 11] = [Append, Flush, Append, Append, Flush, Append, Reopen, Compact, Append, Flush, Append];

fn platform(files: Arc<dyn Files>) -> Platform {
    Platform { files, random: Arc::new(SeededRandom::new(3)), ..Platform::in_memory() }
}

fn open(files: &FaultyFiles) -> Result<FactStore, StoreError> {
    FactStore::open(&platform(Arc::new(files.clone())), key("acme"), PREFIX)
}

/// Unit `n`: two batches, whose facts have the sequence numbers `10 * n` and up.
fn unit(n: u64) -> Vec<crate::FactBatch> {
    let facts: Vec<_> = (0..4).map(|i| Fact::at((n * 3 + i) as i64 % 7, 10 * n + i)).collect();
    vec![batch(1, &facts[..3]), batch(2, &facts[3..])]
}

fn now() -> Instant {
    Instant::from_micros(0).expect("in range")
}

/// Every second unit is remembered.
fn once(n: u64) -> Option<Once> {
    let name = [n as u8; 16];
    (n % 2 == 1).then(|| Once { key: name, content: name, at: now(), told: n.to_be_bytes().to_vec() })
}

fn append(store: &FactStore, n: u64) -> Result<Position, StoreError> {
    store.append_all(vec![Unit { batches: unit(n), once: once(n) }]).remove(0)
}

/// The units that a store holds, in order of position, each checked to be whole.
fn units(store: &FactStore) -> Vec<u64> {
    let found = store.read_since(Position::START).expect("readable");
    let found = found.map(|(_, batches)| {
        let mut sequences: Vec<_> =
            batches.iter().flat_map(|part| facts(part.batch())).map(|fact| fact.sequence).collect();
        sequences.sort_unstable();
        let n = sequences[0] / 10;
        assert_eq!(sequences, (10 * n..10 * n + 4).collect::<Vec<_>>(), "a unit is torn");
        n
    });
    let found: Vec<_> = found.collect();
    let rows = |entity| store.scan(EntityId(entity), None, ..).expect("readable").iter().map(|b| b.num_rows()).sum();
    let (rows, expected): ([usize; 2], _) = ([rows(1), rows(2)], [3 * found.len(), found.len()]);
    assert_eq!(rows, expected, "a scan and the history disagree");
    for n in 0..2 * SCENARIO.len() as u64 {
        let position = (1..).zip(&found).find(|(_, unit)| **unit == n).map(|(position, _)| Position(position));
        let known = store.remembered(&[n as u8; 16], now());
        assert_eq!(known, position.zip(once(n)), "a unit and what is remembered of it come apart");
    }
    found
}

/// What has been answered, and what failed.
#[derive(Default)]
struct Told {
    answered: Vec<u64>,
    failed: Vec<u64>,
    next: u64,
}

impl Told {
    /// One step; gives the store back unless opening it failed.
    fn step(&mut self, files: &FaultyFiles, store: Option<FactStore>, step: Step) -> (Option<FactStore>, bool) {
        let Some(store) = store.or_else(|| open(files).ok()) else { return (None, false) };
        match step {
            Append => {
                let n = self.next;
                self.next += 1;
                let outcome = append(&store, n);
                if outcome.is_ok() {
                    self.answered.push(n)
                } else {
                    self.failed.push(n)
                }
                (Some(store), outcome.is_ok())
            }
            Flush => {
                let done = store.flush().is_ok();
                (Some(store), done)
            }
            Compact => {
                let done = store.compact().is_ok();
                (Some(store), done)
            }
            Reopen => {
                drop(store);
                let store = open(files).ok();
                let done = store.is_some();
                (store, done)
            }
        }
    }

    fn check(&self, found: &[u64]) {
        assert!(found.is_sorted_by(|a, b| a < b), "{found:?} are out of order");
        assert!(
            self.answered.iter().all(|n| found.contains(n)),
            "{:?} were answered, {found:?} are there",
            self.answered
        );
        let known = |n: &u64| self.answered.contains(n) || self.failed.contains(n);
        assert!(found.iter().all(known), "{found:?} holds what nobody appended");
    }
}

fn operations() -> u64 {
    let files = FaultyFiles::new(1);
    let mut told = Told::default();
    let mut store = Some(open(&files).expect("a new store"));
    for step in SCENARIO {
        let (after, done) = told.step(&files, store, step);
        assert!(done, "nothing fails without a fault");
        store = after;
    }
    drop(store);
    files.operations()
}

#[test]
fn a_crash_at_any_step_keeps_every_answered_unit_and_tears_none() {
    for at in 0..operations() {
        for seed in [2 * at, 2 * at + 1] {
            let mut files = FaultyFiles::new(seed);
            files.inject(Fault::Crash, at);
            let mut told = Told::default();
            let mut store = open(&files).ok();
            for step in SCENARIO {
                if files.is_crashed() {
                    break;
                }
                store = told.step(&files, store, step).0;
            }
            drop(store);
            files = files.restart();
            let store = open(&files).unwrap_or_else(|error| panic!("crash at {at}, seed {seed}: {error}"));
            let found = units(&store);
            told.check(&found);
            // It goes on, and what a crash left behind is gone.
            append(&store, 900).expect("space");
            store.flush().expect("space");
            store.compact().expect("space");
            drop(store);
            let store = open(&files).expect("it opens again");
            assert_eq!(units(&store), [&found[..], &[900]].concat());
            let logs = files.list(&format!("{PREFIX}/log/")).expect("readable").len();
            let segments = files.list(&format!("{PREFIX}/segment/")).expect("readable").len();
            assert_eq!((logs, segments), (1, 2), "leftovers after a crash at {at}, seed {seed}");
        }
    }
}

#[test]
fn a_crash_while_recovering_from_a_crash_loses_nothing_either() {
    for at in (0..operations()).step_by(5) {
        for again in 0..4 {
            let files = FaultyFiles::new(at);
            files.inject(Fault::Crash, at);
            let mut told = Told::default();
            let mut store = open(&files).ok();
            for step in SCENARIO {
                store = told.step(&files, store, step).0;
            }
            drop(store);
            let files = files.restart();
            files.inject(Fault::Crash, again);
            drop(open(&files));
            let store = open(&files.restart()).unwrap_or_else(|error| panic!("crash at {at}, then {again}: {error}"));
            told.check(&units(&store));
        }
    }
}

#[test]
fn after_a_failure_at_any_step_the_store_goes_on_without_what_failed() {
    for fault in [Fault::Full, Fault::Error] {
        for at in 0..operations() {
            let files = FaultyFiles::new(at);
            files.inject(fault, at);
            let mut told = Told::default();
            let mut store = open(&files).ok();
            let mut failures = 0;
            for step in SCENARIO {
                let (after, done) = told.step(&files, store, step);
                failures += u32::from(!done);
                if let Some(store) = after.as_ref().filter(|_| !done) {
                    assert_eq!(units(store), told.answered, "{fault:?} at {at}");
                }
                store = after;
            }
            assert!(failures <= 1, "{fault:?} at {at}: one fault, {failures} failures");
            assert_eq!(store.map(|store| units(&store)), Some(told.answered.clone()), "{fault:?} at {at}, at the end");
            let store = open(&files.restart()).unwrap_or_else(|error| panic!("{fault:?} at {at}: {error}"));
            assert_eq!(units(&store), told.answered, "{fault:?} at {at}, reopened");
        }
    }
}

#[test]
fn a_full_disk_is_reported_as_such_and_nothing_is_half_written() {
    let files = FaultyFiles::new(5);
    let store = open(&files).expect("a new store");
    append(&store, 1).expect("space");
    files.inject(Fault::Full, 0);
    assert!(matches!(append(&store, 2), Err(StoreError::Full { .. })));
    assert_eq!((units(&store), store.position()), (vec![1], Position(1)));
    assert_eq!(append(&store, 3).expect("space again"), Position(2));
    files.inject(Fault::Full, 3);
    assert!(matches!(store.flush(), Err(StoreError::Full { .. })));
    store.flush().expect("space again");
    assert_eq!(units(&store), [1, 3]);
}

/// Files that take a new manifest, then report that they could not.
struct AnswerLost(Arc<MemoryFiles>);

/// Files whose logs, once `stuck`, take bytes but can neither make them durable nor cut them off.
struct StuckLog {
    files: Arc<MemoryFiles>,
    stuck: Arc<AtomicBool>,
}

struct StuckAppend {
    file: Box<dyn AppendFile>,
    stuck: Arc<AtomicBool>,
}

fn simulated(path: &str) -> FileError {
    FileError::Io { action: "make durable", path: path.to_owned(), source: std::io::Error::other("simulated") }
}

impl StuckAppend {
    fn check(&self) -> Result<(), FileError> {
        if self.stuck.load(Ordering::Relaxed) { Err(simulated("log")) } else { Ok(()) }
    }
}

impl AppendFile for StuckAppend {
    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.append(bytes)
    }
    fn sync(&mut self) -> Result<(), FileError> {
        self.check().and_then(|()| self.file.sync())
    }
    fn truncate(&mut self, len: u64) -> Result<(), FileError> {
        self.check().and_then(|()| self.file.truncate(len))
    }
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl Files for StuckLog {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.files.create(path, bytes)
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.files.replace(path, bytes)
    }
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.files.read(path)
    }
    fn read_range(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>, FileError> {
        self.files.read_range(path, offset, len)
    }
    fn size(&self, path: &str) -> Result<u64, FileError> {
        self.files.size(path)
    }
    fn append(&self, path: &str) -> Result<Box<dyn AppendFile>, FileError> {
        let file = self.files.append(path)?;
        Ok(Box::new(StuckAppend { file, stuck: Arc::clone(&self.stuck) }))
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, FileError> {
        self.files.list(prefix)
    }
    fn delete(&self, path: &str) -> Result<(), FileError> {
        self.files.delete(path)
    }
}

#[test]
fn a_log_whose_end_is_in_doubt_stops_appends_until_the_store_is_opened_again() {
    let files = Arc::new(MemoryFiles::new());
    let stuck = Arc::new(AtomicBool::new(false));
    let broken = Arc::new(StuckLog { files: files.clone(), stuck: stuck.clone() });
    let store = FactStore::open(&platform(broken), key("acme"), PREFIX).expect("a new store");
    append(&store, 1).expect("space");
    stuck.store(true, Ordering::Relaxed);
    assert!(append(&store, 2).is_err());
    stuck.store(false, Ordering::Relaxed);
    assert!(matches!(append(&store, 3), Err(StoreError::Stopped { .. })));
    assert!(matches!(store.flush(), Err(StoreError::Stopped { .. })));
    assert_eq!(units(&store), [1]);
    drop(store);
    let store = FactStore::open(&platform(files), key("acme"), PREFIX).expect("it opens");
    assert_eq!(units(&store), [1, 2], "the failed append was whole, and nothing came after it");
}

#[test]
fn a_failed_flush_leaves_no_segments_behind() {
    let mut failures = 0;
    for at in 0..30 {
        let files = FaultyFiles::new(at);
        let store = open(&files).expect("a new store");
        append(&store, 1).expect("space");
        files.inject(Fault::Full, at);
        if store.flush().is_ok() {
            continue;
        }
        failures += 1;
        let segments = files.list(&format!("{PREFIX}/segment/")).expect("readable");
        assert!(segments.is_empty(), "{segments:?} after a full disk at {at}");
    }
    assert!(failures > 5);
}

impl Files for AnswerLost {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.0.create(path, bytes)
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.0.replace(path, bytes)?;
        Err(simulated(path))
    }
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.0.read(path)
    }
    fn read_range(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>, FileError> {
        self.0.read_range(path, offset, len)
    }
    fn size(&self, path: &str) -> Result<u64, FileError> {
        self.0.size(path)
    }
    fn append(&self, path: &str) -> Result<Box<dyn AppendFile>, FileError> {
        self.0.append(path)
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, FileError> {
        self.0.list(prefix)
    }
    fn delete(&self, path: &str) -> Result<(), FileError> {
        self.0.delete(path)
    }
}

#[test]
fn a_manifest_of_unknown_durability_may_turn_out_either_way() {
    for steps in [vec![Flush], vec![Flush, Append], vec![Flush, Append, Flush], vec![Flush, Append, Flush, Compact]] {
        for survives in [true, false] {
            let files = Arc::new(MemoryFiles::new());
            let open =
                |files: Arc<dyn Files>| FactStore::open(&platform(files), key("acme"), PREFIX).expect("it opens");
            let store = open(Arc::new(AnswerLost(files.clone())));
            append(&store, 1).expect("space");
            let manifest = format!("{PREFIX}/manifest");
            let mut before = Vec::new();
            for step in &steps {
                if !matches!(step, Append) {
                    before = files.read(&manifest).expect("there");
                }
                match step {
                    Flush => store.flush().expect("the new manifest is in place"),
                    Compact => store.compact().expect("the new manifest is in place"),
                    Append | Reopen => drop(append(&store, 2).expect("space")),
                }
            }
            let expected = units(&store);
            drop(store);
            if !survives {
                files.replace(&manifest, &before).expect("space");
            }
            assert_eq!(units(&open(files)), expected);
        }
    }
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_record_holds_the_units_before_it() {
    let files = Arc::new(MemoryFiles::new());
    let platform = platform(files.clone());
    let open = || FactStore::open(&platform, key("acme"), PREFIX);
    let store = open().expect("a new store");
    append(&store, 1).expect("space");
    append(&store, 2).expect("space");
    let log = files.list(&format!("{PREFIX}/log/")).expect("readable").remove(0);
    let start = files.size(&log).expect("there");
    store.append(vec![batch(1, &[Fact::at(1, 30)])]).expect("space");
    drop(store);
    let whole = files.read(&log).expect("there");
    let open_cut = |len: usize| {
        files.replace(&log, &whole[..len]).expect("space");
        let store = open().expect("a torn record is not an attack");
        let rows = store.statistics().values().map(|of_entity| of_entity.rows).sum::<u64>();
        (store.position(), rows)
    };
    for len in usize::try_from(start).expect("small")..whole.len() {
        assert_eq!(open_cut(len), (Position(2), 8), "cut at {len} of {}", whole.len());
    }
    assert_eq!(open_cut(whole.len()), (Position(3), 9));
}
