//! What is asked while, and after, a deploy makes the online values anew.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use creta_model::Bundle;
use creta_store::{MemoryStore, Merge, OnlineKey, OnlineStore, OnlineView, Position, StoreError};
use serde_json::{Value, json};

use crate::support::{Stores, bundle, departure, load, table};

/// Online values whose next reader looks at the very moment after they were cleared.
#[derive(Default)]
struct Watched {
    inner: MemoryStore,
    reader: Mutex<Option<Waiting>>,
    clearing: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

/// Says that it is there, waits, says that it looked.
type Waiting = (Sender<()>, Receiver<()>, Sender<()>);

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl OnlineStore for Watched {
    fn view(&self) -> Result<Box<dyn OnlineView + '_>, StoreError> {
        let Some((there, go, looked)) = take(&self.reader) else { return self.inner.view() };
        there.send(()).expect("the test waits");
        go.recv().expect("it goes on");
        let view = self.inner.view();
        looked.send(()).expect("whoever clears waits");
        view
    }

    fn update_many(&self, keys: &[OnlineKey], merge: &mut Merge<'_>, position: Position) -> Result<(), StoreError> {
        self.inner.update_many(keys, merge, position)
    }

    fn position(&self) -> Result<Position, StoreError> {
        self.inner.position()
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.inner.clear()?;
        if let Some((go, looked)) = take(&self.clearing) {
            go.send(()).expect("the reader waits");
            looked.recv().expect("it looks");
        }
        Ok(())
    }
}

/// The airline with another stored feature, without which the online values are made anew.
fn with_gate() -> Bundle {
    let mut bundle = serde_json::to_value(bundle()).expect("JSON");
    let here = json!({ "file": "features.py", "line": 1 });
    let gate = json!({ "name": "gate", "type": { "kind": "str" }, "optional": true, "location": here });
    bundle["graph"]["entities"][1]["features"].as_array_mut().expect("features").push(gate);
    serde_json::from_value(bundle).expect("a bundle")
}

#[test]
fn a_question_that_meets_cleared_online_values_is_answered_by_what_comes_into_force() {
    for outputs in [json!(["Carrier.flights_n[7d]"]), json!(["Carrier.flights_n[7d]", "Carrier.code"])] {
        let online = Arc::new(Watched::default());
        let mut stores = Stores::new();
        stores.online = Arc::clone(&online) as Arc<dyn OnlineStore>;
        let airline = stores.open().expect("opens");
        airline.deploy(with_gate()).expect("a valid project");
        airline.ingest(load(), table(&[departure(1, "UA", 60, 5.0)])).expect("a load");
        let (there, is_there) = channel();
        let (go, goes) = channel();
        let (looked, has_looked) = channel();
        std::thread::scope(|threads| {
            *online.reader.lock().expect("whole") = Some((there, goes, looked));
            let asks =
                threads.spawn(|| airline.query(json!({ "inputs": { "Carrier.code": ["UA"] }, "outputs": outputs })));
            is_there.recv().expect("it asks");
            *online.clearing.lock().expect("whole") = Some((go, has_looked));
            airline.deploy(bundle()).expect("a valid project");
            let answer = asks.join().expect("it does not panic").expect("an answer");
            assert_eq!(answer.columns[0].values, [json!(1)], "never what is half made");
        });
    }
}

/// A thing with `b` stored, or computed from `a`.
fn things(b: &Value) -> Bundle {
    let here = json!({ "file": "features.py", "line": 1 });
    let mut features = json!([
        { "name": "id", "type": { "kind": "int" }, "role": "key", "location": here },
        { "name": "carrier", "type": { "kind": "str" }, "location": here },
        { "name": "departed", "type": { "kind": "datetime" }, "role": "event_time", "location": here },
        { "name": "delay", "type": { "kind": "float" }, "optional": true, "location": here },
    ]);
    for (name, value) in b.as_object().expect("members") {
        features[3][name] = value.clone();
    }
    let bundle = json!({
        "format": "creta.bundle/1", "modules": {}, "lock": { "python": "3.11" },
        "graph": {
            "format": "creta.graph/1", "project": "airline", "resolvers": [], "sources": [], "queries": [],
            "entities": [{ "name": "Flight", "location": here, "features": features }],
        },
    });
    serde_json::from_value(bundle).expect("a bundle")
}

#[test]
fn a_feature_that_is_stored_again_after_it_was_computed_has_all_its_facts() {
    let airline = Stores::new().open().expect("opens");
    let delay = || {
        let answer = airline.query(json!({ "inputs": { "Flight.id": [1] }, "outputs": ["Flight.delay"] }));
        answer.expect("an answer").columns[0].values[0].clone()
    };
    airline.deploy(things(&json!({}))).expect("a valid project");
    airline.ingest(load(), table(&[departure(1, "UA", 60, 5.0)])).expect("a load");
    let computed = json!({ "expression": { "op": "literal", "type": { "kind": "float" }, "value": 7.0 } });
    airline.deploy(things(&computed)).expect("a valid project");
    assert_eq!(delay(), json!(7.0));
    airline.deploy(things(&json!({}))).expect("a valid project");
    assert_eq!(delay(), json!(5.0), "what was loaded before it was computed");
}
