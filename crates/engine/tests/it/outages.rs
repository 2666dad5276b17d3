//! What becomes of a load or a deploy when a store fails, the clock is set back, or two of them meet.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use creta_engine::{NoResolvers, QueryAnswer, ResolverHost, ResolverHosts, TrainingSetRequest};
use creta_model::{Bundle, CellState, Instant, Problem, Scope, Span};
use creta_platform::{Clock as _, Fault, Files as _};
use creta_store::{MemoryStore, Merge, OnlineKey, OnlineStore, OnlineView, Position, StoreError};
use serde_json::json;

use crate::support::{
    Airline, LoseOnline, MIDNIGHT, MINUTE, NOW, Stores, at, bundle, departure, instants, load, table,
};

/// Online values of which writing fails once, when it is its turn.
struct FailingOnline {
    inner: MemoryStore,
    /// Writes until the one that fails; below zero none does.
    left: AtomicI64,
}

impl FailingOnline {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryStore::new(), left: AtomicI64::new(-1) })
    }

    fn fail_after(&self, writes: i64) {
        self.left.store(writes, Ordering::SeqCst);
    }

    fn has_failed(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    fn turn(&self) -> Result<(), StoreError> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            0 => Err(StoreError::Full { store: "online values".into() }),
            _ => Ok(()),
        }
    }
}

impl OnlineStore for FailingOnline {
    fn view(&self) -> Result<Box<dyn OnlineView + '_>, StoreError> {
        self.inner.view()
    }

    fn update_many(&self, keys: &[OnlineKey], merge: &mut Merge<'_>, position: Position) -> Result<(), StoreError> {
        self.turn().and_then(|()| self.inner.update_many(keys, merge, position))
    }

    fn position(&self) -> Result<Position, StoreError> {
        self.inner.position()
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.turn().and_then(|()| self.inner.clear())
    }
}

fn over(online: &Arc<FailingOnline>) -> Airline {
    let mut stores = Stores::new();
    stores.online = Arc::clone(online) as Arc<dyn OnlineStore>;
    stores.open().expect("opens")
}

/// The airline before it looked at the flights of a carrier.
fn without_windows() -> Bundle {
    let mut bundle = serde_json::to_value(bundle()).expect("JSON");
    let carrier = &mut bundle["graph"]["entities"][0];
    carrier["relations"] = json!([]);
    carrier["features"].as_array_mut().expect("features").truncate(1);
    bundle["graph"]["queries"] = json!([]);
    serde_json::from_value(bundle).expect("a bundle")
}

fn flights(airline: &Airline, code: &str) -> QueryAnswer {
    let query = json!({ "inputs": { "Carrier.code": [code] }, "outputs": ["Carrier.flights_n[1d]"] });
    airline.query(query).expect("answers")
}

/// How many flights of a carrier both ways to answer see; they have to agree.
fn counted(airline: &Airline, code: &str) -> i64 {
    let answer = flights(airline, code);
    let spine = RecordBatch::try_from_iter([
        ("Carrier.code", Arc::new(arrow::array::StringArray::from(vec![code])) as ArrayRef),
        ("at", instants(answer.as_of.iter().map(|at| at.micros()))),
    ]);
    let request: TrainingSetRequest =
        serde_json::from_value(json!({ "features": ["Carrier.flights_n[1d]"], "as_of": "at" })).expect("a request");
    let offline = airline.training_set(&request, spine.expect("one length")).expect("answers");
    let offline = offline.column(2).as_primitive::<Int64Type>();
    assert!(offline.is_valid(0));
    assert_eq!(answer.columns[0].values, [json!(offline.value(0))], "online and offline agree");
    offline.value(0)
}

fn stored(airline: &Airline) -> (u64, u64) {
    let statistics = airline.engine.statistics();
    let count = |what: &str| statistics[what]["Flight"].as_u64().unwrap_or(0);
    (count("facts"), count("quarantined"))
}

/// Makes each deploy but the first wait until it may go on.
struct Gate {
    open: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl ResolverHosts for Gate {
    fn host(&self, _scope: &Scope, _bundle: &Bundle) -> Result<Arc<dyn ResolverHost>, Problem> {
        if let Some((reached, go_on)) = self.open.lock().unwrap_or_else(PoisonError::into_inner).take() {
            reached.send(()).expect("somebody waits");
            go_on.recv().expect("somebody opens");
        }
        Ok(Arc::new(NoResolvers))
    }
}

#[test]
fn a_load_that_waited_for_a_deploy_goes_by_what_it_put_in_force() {
    let gate = Arc::new(Gate { open: Mutex::default() });
    let mut stores = Stores::new();
    stores.hosts = Arc::clone(&gate) as Arc<dyn ResolverHosts>;
    let airline = stores.open().expect("opens");
    airline.deploy(without_windows()).expect("a valid project");
    let (reached, has_reached) = channel();
    let (open, go_on) = channel();
    *gate.open.lock().expect("nobody panics") = Some((reached, go_on));
    std::thread::scope(|threads| {
        let deploy = threads.spawn(|| airline.deploy(bundle()).expect("a valid project"));
        has_reached.recv().expect("the deploy begins");
        let ingest = threads.spawn(|| airline.ingest(load(), table(&[departure(1, "UA", 60, 5.0)])).expect("a load"));
        // A load that goes by what was in force when it came has looked at that by now.
        std::thread::sleep(std::time::Duration::from_millis(50));
        open.send(()).expect("the deploy waits");
        deploy.join().expect("deployed");
        ingest.join().expect("loaded");
    });
    assert_eq!(counted(&airline, "UA"), 1);
    airline.ingest(load(), table(&[departure(1, "UA", 60, 7.0)])).expect("a newer version of the event");
    assert_eq!(counted(&airline, "UA"), 1);
}

#[test]
fn s29_a_load_whose_online_values_cannot_be_written_is_taken_once() {
    let online = FailingOnline::new();
    let airline = over(&online);
    airline.deploy(bundle()).expect("a valid project");
    online.fail_after(0);
    let report = airline.ingest(load(), table(&[departure(1, "UA", 60, 5.0)])).expect("it is durable, and so taken");
    assert_eq!((report.accepted, report.position, stored(&airline)), (1, 1, (1, 0)));
    assert!(report.warnings.iter().any(|text| text.contains("do not send the load again")), "{report:?}");
    assert_eq!(flights(&airline, "UA").columns[0].values, [json!(0)], "not visible yet");
    airline.engine.maintain().expect("there is space again");
    assert_eq!(counted(&airline, "UA"), 1);
    online.fail_after(0);
    airline.ingest(load(), table(&[departure(2, "UA", 61, 5.0)])).expect("taken");
    airline.ingest(load(), table(&[departure(3, "UA", 62, 5.0)])).expect("taken");
    assert_eq!(counted(&airline, "UA"), 3, "the next load brings the one before it online");
}

/// An airline whose disk is full at a file operation, and a load of which one row is from the future.
fn full_at(operation: u64) -> (Airline, RecordBatch) {
    let airline = Airline::new();
    let future = crate::support::Departure { known_after: -30, ..departure(2, "UA", 70, 6.0) };
    let rows = table(&[departure(1, "UA", 60, 5.0), future]);
    airline.stores.files.inject(Fault::Full, operation);
    (airline, rows)
}

#[test]
fn a_load_with_rows_from_the_future_is_served_once_wherever_the_disk_is_full() {
    let mut outcomes = [0; 3];
    for operation in 0..8 {
        let (airline, rows) = full_at(operation);
        let quarantined = match airline.ingest(load(), rows.clone()) {
            Err(problem) => {
                let (facts, kept_apart) = stored(&airline);
                assert_eq!((problem.code.as_str(), facts), ("store/full", 0), "no fact is stored");
                outcomes[0] += 1;
                // What is kept apart is so first, and once more when the load is sent again without a key.
                airline.ingest(load(), rows).expect("there is space again").quarantined + kept_apart
            }
            Ok(report) if !airline.stores.files.fault_met() => {
                outcomes[2] += 1;
                report.quarantined
            }
            Ok(report) => {
                assert!(report.warnings.iter().any(|text| text.contains("do not send the load again")), "{report:?}");
                outcomes[1] += 1;
                report.quarantined
            }
        };
        assert_eq!(stored(&airline), (1, quarantined), "operation {operation}");
    }
    assert!(outcomes.iter().all(|count| *count > 0), "every outcome was met: {outcomes:?}");
}

#[test]
fn a_load_that_is_sent_again_never_tells_of_rows_that_are_not_kept() {
    let mut outcomes = [0; 3];
    for operation in 0..8 {
        let (airline, rows) = full_at(operation);
        let first = airline.ingest_once("etl", "a", 1, load(), rows.clone());
        let again = airline.ingest_once("etl", "a", 1, load(), rows).expect("there is space again");
        outcomes[match &first {
            Err(_) => 0,
            Ok(_) if airline.stores.files.fault_met() => 1,
            Ok(_) => 2,
        }] += 1;
        assert_eq!(again.repeated, first.is_ok(), "operation {operation}");
        if let Ok(first) = first {
            assert_eq!(again.report, first.report, "operation {operation}");
        }
        assert_eq!(stored(&airline), (1, again.report.quarantined), "operation {operation}");
    }
    assert!(outcomes.iter().all(|count| *count > 0), "every outcome was met: {outcomes:?}");
}

#[test]
fn a_deploy_whose_online_values_cannot_be_made_answers_nothing_until_they_are() {
    for reopens in [false, true] {
        for write in 0.. {
            let online = FailingOnline::new();
            let mut airline = over(&online);
            airline.deploy(without_windows()).expect("a valid project");
            for id in 0..5 {
                airline.ingest(load(), table(&[departure(id, "UA", 60 + id, 5.0)])).expect("a load");
            }
            online.fail_after(write);
            let deployed = airline.deploy(bundle());
            if !online.has_failed() {
                deployed.expect("a valid project");
                assert!(write > 2, "clearing, the shape and the facts are writes");
                break;
            }
            let problem = deployed.expect_err("no space").remove(0);
            assert_eq!(problem.code, "store/not-ready");
            let query = json!({ "inputs": { "Flight.id": [1] }, "outputs": ["Flight.delay"] });
            assert_eq!(airline.query(query).expect_err("not in force").code, "store/not-ready");
            if reopens {
                airline = airline.reopened(LoseOnline::No);
            }
            airline.ingest(load(), table(&[departure(5, "UA", 65, 5.0)])).expect("there is space again");
            airline.ingest(load(), table(&[departure(0, "UA", 60, 9.0)])).expect("a newer version");
            assert_eq!(counted(&airline, "UA"), 6, "write {write}");
        }
    }
}

#[test]
fn definitions_that_are_stored_come_into_force_by_themselves_or_by_the_next_deploy() {
    let online = FailingOnline::new();
    let airline = over(&online);
    airline.deploy(without_windows()).expect("a valid project");
    airline.ingest(load(), table(&[departure(1, "UA", 60, 5.0)])).expect("a load");
    online.fail_after(1);
    airline.deploy(bundle()).expect_err("no space");
    airline.engine.maintain().expect("there is space again");
    assert_eq!(counted(&airline, "UA"), 1);
    online.fail_after(1);
    airline.deploy(without_windows()).expect_err("no space");
    let again = airline.deploy(bundle()).expect("there is space again");
    assert_eq!((again.revision, counted(&airline, "UA")), (4, 1), "those in between count as deployed");
}

#[test]
fn s1_the_clock_of_a_scope_goes_on_where_it_was_when_it_was_set_back_meanwhile() {
    let request = json!({ "entity": "Flight", "event_time": { "column": "departed" } });
    let row = |clock: Instant, delay: f64| {
        let base = table(&[departure(1, "UA", 720, delay)]);
        let columns = ["id", "carrier", "delay"].map(|name| (name, Arc::clone(&base[name])));
        let columns = columns.into_iter().chain([("departed", instants([clock.micros()]))]);
        RecordBatch::try_from_iter(columns).expect("one length")
    };
    for flush in [false, true] {
        let airline = Airline::new();
        let late = at(NOW).plus(Span::seconds(10));
        airline.clock.advance(Span::seconds(10));
        airline.ingest(request.clone(), row(at(NOW), 5.0)).expect("a load");
        if flush {
            airline.engine.flush().expect("space");
        }
        let stores = airline.stores.clone().at(at(NOW));
        drop(airline);
        let airline = stores.open().expect("opens again");
        assert!(airline.engine.now() > late, "the present is later than every acknowledged arrival");
        let query = json!({ "inputs": { "Flight.id": [1] }, "outputs": ["Flight.delay"] });
        assert_eq!(airline.query(query.clone()).expect("answers").columns[0].values, [json!(5.0)], "S29");
        airline.ingest(request.clone(), row(at(NOW), 7.0)).expect("a correction");
        assert_eq!(airline.query(query).expect("answers").columns[0].values, [json!(7.0)], "S7: the later one wins");
    }
}

#[test]
fn s1_the_clock_of_a_scope_does_not_follow_arrivals_that_a_delay_puts_ahead() {
    let airline = Airline::new();
    let delayed = json!({ "entity": "Flight", "event_time": { "column": "departed" }, "arrival": { "delay": "30m" } });
    airline.ingest(delayed, table(&[departure(1, "UA", 719, 5.0)])).expect("a load");
    let airline = airline.reopened(LoseOnline::No);
    assert_eq!(airline.engine.now(), airline.clock.now());
}

#[test]
fn s29_an_arrival_of_a_fast_clock_is_now() {
    let airline = Airline::new();
    let base = table(&[departure(1, "UA", 719, 5.0)]);
    let ahead = instants([airline.clock.now().plus(Span::seconds(30)).micros()]);
    let columns = base.schema_ref().fields().iter().zip(base.columns());
    let columns = columns.map(|(field, old)| match field.name().as_str() {
        "known" => ("known", Arc::clone(&ahead)),
        name => (name, Arc::clone(old)),
    });
    airline.ingest(load(), RecordBatch::try_from_iter(columns).expect("one length")).expect("a load");
    let query = json!({ "inputs": { "Flight.id": [1] }, "outputs": ["Flight.delay"] });
    assert_eq!(airline.query(query).expect("answers").columns[0].values, [json!(5.0)]);
}

#[test]
fn s18_with_a_delay_the_future_is_what_lies_after_now() {
    let airline = Airline::new();
    let delayed = |delay: &str| json!({ "entity": "Flight", "event_time": { "column": "departed" }, "arrival": { "delay": delay } });
    let rows = table(&[departure(1, "UA", 719, 5.0), departure(2, "UA", 720 + 10 * 24 * 60, 5.0)]);
    let report = airline.ingest(delayed("0s"), rows).expect("a load");
    assert_eq!((report.accepted, report.quarantined, stored(&airline)), (1, 1, (1, 1)));
    let report = airline.ingest(delayed("6h"), table(&[departure(3, "UA", 719, 5.0)])).expect("a load");
    assert_eq!((report.accepted, report.quarantined), (1, 0));
    let told = "1 fact is stored and not served before the declared delay is over, the last at 2013-07-01T17:59:00Z";
    assert_eq!(report.warnings, [told]);
    let query = json!({ "inputs": { "Flight.id": [1, 2, 3] }, "outputs": ["Flight.delay"] });
    let answer = airline.query(query.clone()).expect("answers");
    assert_eq!(answer.columns[0].states, [(1, CellState::Missing), (2, CellState::Missing)].into());
    airline.clock.advance(Span::hours(6));
    assert_eq!(airline.query(query).expect("answers").columns[0].states, [(1, CellState::Missing)].into());
}

#[test]
fn a_scope_that_is_kept_up_does_not_gather_small_files() {
    let airline = Airline::new();
    for id in 0..9 {
        airline.ingest(load(), table(&[departure(id, "UA", 60 + id, 5.0)])).expect("a load");
        airline.engine.flush().expect("space");
    }
    let segments = || airline.stores.files.list("tenants/acme/facts/truth/segment/").expect("a list").len();
    assert_eq!(segments(), 9);
    airline.engine.maintain().expect("space");
    assert_eq!((segments(), counted(&airline, "UA")), (1, 9));
}

#[test]
fn an_index_that_was_lost_is_made_anew_from_segments_and_log() {
    let airline = Airline::new();
    for id in 0..12 {
        airline.ingest(load(), table(&[departure(id, "UA", 60 + id, 5.0)])).expect("a load");
        if id % 4 == 3 {
            airline.engine.flush().expect("space");
        }
        if id == 7 {
            airline.ingest(load(), table(&[departure(1, "UA", 61, 9.0)])).expect("a newer version");
        }
    }
    let airline = airline.reopened(LoseOnline::Yes);
    assert_eq!(counted(&airline, "UA"), 12);
    assert_eq!(airline.engine.statistics()["online_position"], json!(13));
    let earlier = json!({ "inputs": { "Carrier.code": ["UA"] }, "outputs": ["Carrier.flights_n[1d]"],
        "as_of": Instant::from_micros(MIDNIGHT + 65 * MINUTE).expect("valid").to_string() });
    assert_eq!(airline.query(earlier).expect("answers").columns[0].values, [json!(5)]);
}
