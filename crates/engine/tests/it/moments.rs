//! What a question sees of loads that arrive while it is asked, and what it may know of instants after the present.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, Int64Type};
use creta_engine::{KNOWN_TO, TrainingSetRequest};
use creta_iam::Action;
use creta_model::{Instant, Span};
use creta_store::{MemoryStore, Merge, OnlineKey, OnlineStore, OnlineView, Position, StoreError};
use serde_json::json;

use crate::support::{Airline, NOW, Stores, at, bundle, departure, instants, load, table};

/// Something that happens once, after the first read of a question.
type Hook = Mutex<Option<Box<dyn FnOnce() + Send>>>;

/// Online values with something that happens while they are read.
struct Meanwhile {
    inner: MemoryStore,
    hook: Hook,
}

struct Watching<'a> {
    inner: Box<dyn OnlineView + 'a>,
    hook: &'a Hook,
}

impl OnlineView for Watching<'_> {
    fn get_many(&self, keys: &[OnlineKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let values = self.inner.get_many(keys)?;
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(happen) = hook {
            std::thread::scope(|threads| threads.spawn(happen).join().expect("it does not wait for the question"));
        }
        Ok(values)
    }
}

impl OnlineStore for Meanwhile {
    fn view(&self) -> Result<Box<dyn OnlineView + '_>, StoreError> {
        Ok(Box::new(Watching { inner: self.inner.view()?, hook: &self.hook }))
    }

    fn update_many(&self, keys: &[OnlineKey], merge: &mut Merge<'_>, position: Position) -> Result<(), StoreError> {
        self.inner.update_many(keys, merge, position)
    }

    fn position(&self) -> Result<Position, StoreError> {
        self.inner.position()
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.inner.clear()
    }
}

#[test]
fn s23_all_that_a_question_reads_is_of_one_moment() {
    let online = Arc::new(Meanwhile { inner: MemoryStore::new(), hook: Mutex::default() });
    let mut stores = Stores::new();
    stores.online = Arc::clone(&online) as Arc<dyn OnlineStore>;
    let airline = Arc::new(stores.open().expect("opens"));
    airline.deploy(bundle()).expect("a valid project");
    airline.ingest(load(), table(&[departure(1, "UA", 60, 5.0)])).expect("a load");
    let outputs = ["Flight.delay", "Flight.operator.flights_n[1d]", "Flight.operator.delay_sum[1d]"];
    let query = json!({ "inputs": { "Flight.id": [1] }, "outputs": outputs });
    let spine = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1])) as _),
        ("at", instants([at(NOW).micros()])),
    ])
    .expect("one length");
    let by_spine: TrainingSetRequest =
        serde_json::from_value(json!({ "features": outputs, "as_of": "at", "inputs": { "Flight.id": "id" } }))
            .expect("a request");
    let ask = || airline.query(query.clone()).expect("answers").columns.iter().map(|c| c.values[0].clone()).collect();
    let ask_batch = || {
        let features = airline.engine.features_of_training_set(&by_spine, std::slice::from_ref(&spine)).expect("plans");
        let names: Vec<&str> = features.names().collect();
        let permit = airline.permit(Action::Query, &names);
        let batch =
            airline.engine.query_batch(&by_spine, std::slice::from_ref(&spine), &permit).expect("answers").remove(0);
        let delay = batch.column(2).as_primitive::<Float64Type>().value(0);
        let count = batch.column(3).as_primitive::<Int64Type>().value(0);
        let sum = batch.column(4).as_primitive::<Float64Type>().value(0);
        vec![json!(delay), json!(count), json!(sum)]
    };
    let asked: [&dyn Fn() -> Vec<serde_json::Value>; 2] = [&ask, &ask_batch];
    for (round, ask) in asked.into_iter().enumerate() {
        let n = round as i64 + 1;
        let before = vec![json!(5.0), json!(n), json!(5.0 * n as f64)];
        assert_eq!(ask(), before);
        // History that was known long before the instant asked about: another flight of the carrier.
        let late = Arc::clone(&airline);
        *online.hook.lock().expect("nobody panics") = Some(Box::new(move || {
            late.ingest(load(), table(&[departure(n + 1, "UA", 60 + n, 5.0)])).expect("a load");
        }));
        assert_eq!(ask(), before, "the load came between two reads of one question");
        assert_eq!(ask(), [json!(5.0), json!(n + 1), json!(5.0 * (n + 1) as f64)], "it is there");
    }
}

/// Flights that depart at some instants, arriving when they are loaded, or by a delay.
fn departing(airline: &Airline, flights: &[(i64, Instant)], delay: Option<&str>) {
    let base = table(&flights.iter().map(|(id, _)| departure(*id, "UA", 0, 5.0)).collect::<Vec<_>>());
    let columns = ["id", "carrier", "delay"].map(|name| (name, Arc::clone(&base[name])));
    let departed = ("departed", instants(flights.iter().map(|(_, at)| at.micros())));
    let batch = RecordBatch::try_from_iter(columns.into_iter().chain([departed])).expect("one length");
    let mut load = json!({ "entity": "Flight", "event_time": { "column": "departed" } });
    if let Some(delay) = delay {
        load["arrival"] = json!({ "delay": delay });
    }
    airline.ingest(load, batch).expect("a load");
}

#[test]
fn s1_an_instant_after_the_present_is_answered_by_what_has_arrived_and_says_so() {
    let airline = Airline::new();
    let now = at(NOW);
    let later = now.plus(Span::seconds(2));
    let of = |as_of: serde_json::Value, known: Option<serde_json::Value>| {
        let mut query = json!({ "inputs": { "Carrier.code": ["UA", "UA"] }, "outputs": ["Carrier.flights_n[1d]"] });
        query["as_of"] = as_of;
        if let Some(known) = known {
            query["known_as_of"] = known;
        }
        airline.query(query).expect("answers")
    };
    let offline = |as_of: Instant, known: Instant| {
        let spine = RecordBatch::try_from_iter([
            ("Carrier.code", Arc::new(StringArray::from(vec!["UA"])) as _),
            ("at", instants([as_of.micros()])),
            ("known", instants([known.micros()])),
        ]);
        let request = json!({
            "features": ["Carrier.flights_n[1d]"], "as_of": "at", "known_as_of": { "column": "known" }
        });
        let request: TrainingSetRequest = serde_json::from_value(request).expect("a request");
        let batch = airline.training_set(&request, spine.expect("one length")).expect("answers");
        batch.column(3).as_primitive::<Int64Type>().value(0)
    };
    let first = of(json!([now.to_string(), later.to_string()]), None);
    let known_to = first.known_to.expect("one instant lies after the present");
    assert_eq!((known_to, &first.columns[0].values), (now, &vec![json!(0), json!(0)]));
    // Stored, and not known before the instant that is asked about.
    departing(&airline, &[(2, now.minus(Span::seconds(1)))], Some("2s"));
    let again = of(json!([now.to_string(), later.to_string()]), None);
    let known_to = again.known_to.expect("one instant lies after the present");
    assert_eq!(again.columns[0].values, [json!(offline(now, now)), json!(offline(later, known_to))]);
    assert_eq!(offline(later, later), 1, "the fact is there");
    departing(&airline, &[(1, now.minus(Span::seconds(1)))], None);
    // It arrived after what was answered about: nothing that was said is taken back by a training set at the same instants.
    assert_eq!((offline(now, now), offline(later, known_to)), (0, 0));
    let again = of(json!([now.to_string(), later.to_string()]), Some(json!(known_to.to_string())));
    assert_eq!(again.columns, first.columns);
    assert_eq!(again.known_to, None, "whoever says what is known is told nothing");
    airline.clock.advance(Span::seconds(1));
    let present = of(json!([now.to_string(), now.to_string()]), None);
    assert_eq!(present.known_to, None);
    assert_eq!(of(json!([later.to_string(), later.to_string()]), None).columns[0].values, [json!(2), json!(2)]);
}

#[test]
fn s1_a_batch_about_later_instants_says_up_to_where_it_was_answered() {
    let airline = Airline::new();
    let spine = RecordBatch::try_from_iter([
        ("Carrier.code", Arc::new(StringArray::from(vec!["UA"])) as _),
        ("at", instants([at(NOW).plus(Span::hours(1)).micros()])),
    ]);
    let spine = [spine.expect("one length")];
    let request = json!({ "features": ["Carrier.flights_n[1d]"], "as_of": "at" });
    let request: TrainingSetRequest = serde_json::from_value(request).expect("a request");
    let features = airline.engine.features_of_training_set(&request, &spine).expect("plans");
    let permit = airline.permit(Action::Query, &features.names().collect::<Vec<_>>());
    let ask = || {
        let batch = airline.engine.query_batch(&request, &spine, &permit).expect("answers").remove(0);
        let count = batch.column(2).as_primitive::<Int64Type>().value(0);
        (count, batch.schema().metadata().get(KNOWN_TO).cloned())
    };
    assert_eq!(ask(), (0, Some(at(NOW).to_string())));
    departing(&airline, &[(1, at(NOW))], None);
    let present = at(NOW).plus(Span::from_micros(2).expect("not negative"));
    assert_eq!(ask(), (1, Some(present.to_string())), "it arrived just after what was answered about");
    airline.clock.advance(Span::hours(2));
    assert_eq!(ask(), (1, None), "the instant is past");
}
