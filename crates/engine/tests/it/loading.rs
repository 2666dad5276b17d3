//! Loads that are sent again, that meet, and that overlap with questions.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::support::{Airline, Departure, LoseOnline, departure, load, table};

fn stored(airline: &Airline, what: &str) -> u64 {
    airline.engine.statistics()[what]["Flight"].as_u64().unwrap_or(0)
}

/// A load without event ids would count twice.
fn plain() -> serde_json::Value {
    let mut load = load();
    load.as_object_mut().expect("an object").remove("event_id");
    load
}

fn carriers_flights(airline: &Airline, carrier: &str) -> serde_json::Value {
    let query = json!({ "inputs": { "Carrier.code": [carrier] }, "outputs": ["Carrier.flights_n[7d]"] });
    airline.query(query).expect("an answer").columns[0].values[0].clone()
}

#[test]
fn s29_a_load_that_is_sent_again_by_its_key_is_taken_once_and_answered_alike() {
    let mut airline = Airline::new();
    let rows = table(&[departure(1, "UA", 60, 5.0), departure(2, "UA", 61, 6.0)]);
    let first = airline.ingest_once("etl", "a", 1, plain(), rows.clone()).expect("a load");
    assert!(!first.repeated);
    for how in 0..4 {
        match how {
            1 => airline = airline.reopened(LoseOnline::No),
            2 => airline.engine.flush().expect("space"),
            3 => airline = airline.reopened(LoseOnline::Yes),
            _ => {}
        }
        let again = airline.ingest_once("etl", "a", 1, plain(), rows.clone()).expect("the same answer");
        assert!(again.repeated);
        assert_eq!(again.report, first.report);
        assert_eq!((stored(&airline, "facts"), carriers_flights(&airline, "UA")), (2, json!(2)));
    }
    // Nothing of the request is looked at again: what it was checked by may have changed.
    let other = airline.ingest_once("etl", "a", 1, json!({"entity": "Nobody", "event_time": {"column": "x"}}), rows);
    assert_eq!(other.expect("by its key").report, first.report);
}

#[test]
fn another_load_by_a_key_that_is_remembered_is_a_mistake_and_changes_nothing() {
    let airline = Airline::new();
    airline.ingest_once("etl", "a", 1, load(), table(&[departure(1, "UA", 60, 5.0)])).expect("a load");
    let problem = airline.ingest_once("etl", "a", 2, load(), table(&[departure(2, "UA", 60, 5.0)])).expect_err("used");
    assert_eq!(problem.code, "ingest/key-reused");
    assert_eq!(stored(&airline, "facts"), 1);
    // A load that was refused leaves its key free.
    let wrong = Departure { delay: Some(-5000.0), ..departure(3, "UA", 60, 5.0) };
    airline.ingest_once("etl", "b", 3, load(), table(&[wrong])).expect_err("out of bounds");
    assert!(!airline.ingest_once("etl", "b", 4, load(), table(&[departure(3, "UA", 60, 5.0)])).expect("free").repeated);
}

#[test]
fn attack_ch03_who_guesses_the_key_of_another_learns_nothing_and_takes_nothing() {
    let airline = Airline::new();
    let rows = || table(&[departure(1, "UA", 60, 5.0)]);
    airline.ingest_once("etl", "a", 1, plain(), rows()).expect("a load");
    let guessed = airline.ingest_once("other", "a", 1, plain(), rows()).expect("a load of their own");
    assert!(!guessed.repeated, "neither the answer of the first, nor that there is one");
    let guessed = airline.ingest_once("third", "a", 2, plain(), rows()).expect("nor that it was something else");
    assert!(!guessed.repeated);
    assert_eq!(stored(&airline, "facts"), 3);
    assert!(airline.ingest_once("etl", "a", 1, plain(), rows()).expect("still theirs").repeated);
}

#[test]
fn a_load_of_which_all_rows_are_from_the_future_is_kept_apart_once() {
    let airline = Airline::new();
    let future = || table(&[Departure { known_after: -30, ..departure(2, "UA", 70, 6.0) }]);
    let first = airline.ingest_once("etl", "a", 1, load(), future()).expect("taken");
    assert_eq!((first.report.accepted, first.report.quarantined), (0, 1));
    let again = airline.ingest_once("etl", "a", 1, load(), future()).expect("taken");
    assert_eq!((again.repeated, again.report), (true, first.report));
    assert_eq!((stored(&airline, "facts"), stored(&airline, "quarantined")), (0, 1));
    airline.ingest(load(), table(&[departure(1, "UA", 60, 5.0)])).expect("the log goes on behind it");
    assert_eq!(carriers_flights(&airline, "UA"), json!(1));
}

#[test]
fn loads_that_meet_are_each_taken_once_and_seen_by_whoever_sent_them() {
    let airline = Airline::new();
    let repeated = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for thread in 0..8 {
            let (airline, repeated) = (&airline, &repeated);
            threads.spawn(move || {
                for n in 0..25 {
                    // Two threads each send the same loads at the same time.
                    let id = i64::from(thread / 2 * 100 + n);
                    let carrier = format!("C{id}");
                    let rows = table(&[departure(id, &carrier, 60, 5.0)]);
                    let loaded = airline.ingest_once("etl", &format!("k{id}"), 1, plain(), rows).expect("a load");
                    repeated.fetch_add(u64::from(loaded.repeated), Ordering::Relaxed);
                    assert_eq!(loaded.report.accepted, 1);
                    assert_eq!(carriers_flights(airline, &carrier), json!(1), "seen at once, and once");
                }
            });
        }
    });
    assert_eq!((stored(&airline, "facts"), repeated.into_inner()), (100, 100));
    let positions = airline.engine.statistics();
    assert_eq!(positions["position"], positions["online_position"]);
}
