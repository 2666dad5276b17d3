//! What is due, when clocks change and years leap, and what has to be shown for it.

use std::collections::{BTreeMap, BTreeSet};

use creta_model::{Instant, Span};
use creta_programme::PersonRef;
use creta_programme::cadence::{
    Actor, Cadence, CadenceError, Completion, Field, FieldKind, OccurrenceState, People, Schedule,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden;
use crate::testing::*;

fn schedule(rule: &str, start: &str, zone: &str) -> Schedule {
    Schedule::parse(rule, start, zone).expect("a schedule")
}

/// `rule`, `start`, `zone`, `from`, `to`.
fn answer(question: &str) -> String {
    let mut given = BTreeMap::new();
    for line in question.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (key, value) = line.split_once(' ').expect("a key and a value");
        given.insert(key, value);
    }
    match Schedule::parse(given["rule"], given["start"], given["zone"]) {
        Err(error) => error.to_string(),
        Ok(schedule) => {
            let instants = schedule.between(at(given["from"]), at(given["to"]));
            instants.iter().map(Instant::to_string).collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn golden_cadences() {
    golden::run("programme/cadences", answer);
}

fn review() -> Cadence {
    let field = |name: &str, kind| Field { name: name.to_owned(), kind };
    Cadence {
        format: "creta.cadence/1".to_owned(),
        id: subject("access-review"),
        revision: 0,
        rule: "FREQ=MONTHLY;INTERVAL=3".to_owned(),
        start: "2026-01-05T09:00:00".to_owned(),
        zone: "Europe/Vienna".to_owned(),
        due_within: Span::days(14),
        owner: "security-lead".to_owned(),
        artefact: vec![
            field("result", FieldKind::Digest),
            field("reviewed", FieldKind::Count),
            field("held-at", FieldKind::Instant),
            field("summary", FieldKind::Text),
            field("ticket", FieldKind::Name),
        ],
        people: People::One,
    }
}

const OPENS: &str = "2026-01-05T08:00:00Z";
const ID: &str = "access-review@2026-01-05T08:00:00Z";

fn artefact(seed: u8, held_at: Instant) -> BTreeMap<String, Value> {
    [
        ("result", json!(format!("{seed:02x}").repeat(32))),
        ("reviewed", json!(50)),
        ("held-at", json!(held_at.to_string())),
        ("summary", json!("Fifty identities, five of them revoked")),
        ("ticket", json!("OPS-1234")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn complete(
    cadence: &Cadence,
    id: &str,
    by: &str,
    seed: u8,
    known: &[Completion],
    now: Instant,
) -> Result<Completion, CadenceError> {
    let roles = BTreeSet::from(["security-lead".to_owned()]);
    let who = person(by);
    let held = known.iter().map(|c| c.at).max().map_or(at(OPENS), |_| now);
    let change = cadence.complete(id, Actor { who: &who, roles: &roles }, artefact(seed, held), known, now)?;
    require_loggable(&change.entry);
    Ok(change.document)
}

fn states(cadence: &Cadence, done: &[Completion], now: Instant) -> Vec<OccurrenceState> {
    cadence.statuses(done, now).expect("sound").iter().map(|status| status.state).collect()
}

#[test]
fn an_occurrence_opens_and_falls_due_to_the_microsecond() {
    use OccurrenceState::{Done, Open, Overdue, Upcoming};
    let (cadence, opens) = (review(), at(OPENS));
    let due = opens.plus(Span::days(14));
    assert_eq!(states(&cadence, &[], opens.minus(tick())), [Upcoming]);
    assert_eq!(states(&cadence, &[], opens), [Open, Upcoming]);
    assert_eq!(states(&cadence, &[], due), [Open, Upcoming]);
    assert_eq!(states(&cadence, &[], due.plus(tick())), [Overdue, Upcoming]);
    let next = at("2026-04-05T07:00:00Z");
    assert_eq!(states(&cadence, &[], next), [Overdue, Open, Upcoming], "overdue stays so");
    let done = complete(&cadence, ID, "ana", 1, &[], due.plus(tick())).expect("late, and counts");
    let statuses = cadence.statuses(std::slice::from_ref(&done), next).expect("sound");
    assert_eq!(statuses.iter().map(|s| s.state).collect::<Vec<_>>(), [Done, Open, Upcoming]);
    assert_eq!(statuses.iter().map(|s| s.is_late(next)).collect::<Vec<_>>(), [true, false, false]);
    let in_time = complete(&cadence, ID, "ana", 1, &[], due).expect("in time");
    assert!(!cadence.statuses(&[in_time], next).expect("sound")[0].is_late(next));
    assert_eq!(statuses[0].occurrence.id, ID);
}

#[test]
fn attack_ci24_nothing_is_completed_early_twice_by_another_or_for_nothing() {
    let (cadence, opens) = (review(), at(OPENS));
    let code = |result: Result<Completion, CadenceError>| result.map(drop).expect_err("refused").code();
    assert_eq!(code(complete(&cadence, ID, "ana", 1, &[], opens.minus(tick()))), "cadence/early");
    assert_eq!(
        code(complete(&cadence, "access-review@2026-01-05T09:00:00Z", "ana", 1, &[], opens)),
        "cadence/no-occurrence"
    );
    let done = complete(&cadence, ID, "ana", 1, &[], opens).expect("allowed");
    assert_eq!(code(complete(&cadence, ID, "ben", 2, std::slice::from_ref(&done), opens)), "cadence/done");

    let (who, roles) = (person("ana"), BTreeSet::from(["developer".to_owned()]));
    let refused = cadence.complete(ID, Actor { who: &who, roles: &roles }, artefact(1, opens), &[], opens);
    assert_eq!(refused.map(drop).expect_err("another role").code(), "cadence/wrong-person");

    // What was shown in January is not shown again in April.
    let april = at("2026-04-05T07:00:00Z");
    let next = "access-review@2026-04-05T07:00:00Z";
    assert_eq!(code(complete(&cadence, next, "ana", 1, std::slice::from_ref(&done), april)), "cadence/artefact");
    assert!(complete(&cadence, next, "ana", 2, &[done], april).is_ok());
}

#[test]
fn attack_ci24_an_artefact_lacks_nothing_and_holds_nothing_else() {
    let (cadence, opens) = (review(), at(OPENS));
    let now = opens.plus(Span::hours(1));
    let roles = BTreeSet::from(["security-lead".to_owned()]);
    let who = person("ana");
    let attempt = |artefact| cadence.complete(ID, Actor { who: &who, roles: &roles }, artefact, &[], now).map(drop);
    assert_eq!(attempt(artefact(1, opens)), Ok(()));
    for name in ["result", "reviewed", "held-at", "summary", "ticket"] {
        let mut lacking = artefact(1, opens);
        lacking.remove(name);
        let message = attempt(lacking).expect_err(name).to_string();
        assert!(message.contains(&format!("`{name}` is missing")), "{message}");
    }
    for (name, value) in [
        ("result", json!("AB".repeat(32))),
        ("result", json!("ab".repeat(31))),
        ("result", json!(7)),
        ("reviewed", json!(-1)),
        ("reviewed", json!(1.5)),
        ("reviewed", json!((1_u64 << 53) + 1)),
        ("reviewed", json!("50")),
        ("held-at", json!(opens.minus(tick()).to_string())),
        ("held-at", json!(now.plus(tick()).to_string())),
        ("held-at", json!("2026-01-05")),
        ("summary", json!("ok")),
        ("summary", json!(" ".repeat(30))),
        ("summary", json!("x".repeat(4_001))),
        ("summary", Value::Null),
        ("ticket", json!("two words")),
        ("ticket", json!("")),
        ("extra", json!("Something that nobody asked for")),
        ("an unknown name that might hold anything", json!(1)),
    ] {
        let mut wrong = artefact(1, opens);
        wrong.insert(name.to_owned(), value.clone());
        let message = attempt(wrong).expect_err(name).to_string();
        assert!(!message.contains("anything") && !message.contains("nobody"), "{message}");
    }
    for (name, value) in [
        ("reviewed", json!(0)),
        ("reviewed", json!(1_u64 << 53)),
        ("held-at", json!(now.to_string())),
        ("summary", json!("x".repeat(20))),
        ("summary", json!("x".repeat(4_000))),
    ] {
        let mut right = artefact(1, opens);
        right.insert(name.to_owned(), value);
        assert_eq!(attempt(right), Ok(()), "{name}");
    }
}

#[test]
fn attack_ci24_two_people_means_two_people_and_what_they_saw() {
    let cadence = Cadence { people: People::Two, ..review() };
    let (opens, later) = (at(OPENS), at(OPENS).plus(Span::hours(1)));
    let reported = complete(&cadence, ID, "ana", 1, &[], opens).expect("allowed");
    assert_eq!(states(&cadence, std::slice::from_ref(&reported), later)[0], OccurrenceState::Open, "one is not enough");
    let confirm = |by: &PersonRef, seen| reported.confirm(by, seen, later).map(|change| change.document);
    for own in ["ana", "ana-admin=ana"] {
        assert_eq!(confirm(&person(own), reported.digest()).expect_err(own).code(), "cadence/wrong-person");
    }
    let other = complete(&cadence, ID, "ana", 2, &[], opens).expect("allowed");
    assert_eq!(confirm(&person("ben"), other.digest()).expect_err("something else").code(), "cadence/changed");
    let done = confirm(&person("ben"), reported.digest()).expect("allowed");
    assert_eq!(states(&cadence, std::slice::from_ref(&done), later)[0], OccurrenceState::Done);
    assert_eq!(cadence.statuses(std::slice::from_ref(&done), later).expect("sound")[0].done_at, Some(later));
    assert!(done.confirm(&person("carl"), done.digest(), later).is_err(), "once");
    assert_eq!(Completion::parse(&done.to_bytes()).expect("own form"), done);
    let mut forged = done.clone();
    forged.confirmed.as_mut().expect("confirmed").by = person("ana-2=ana");
    assert!(Completion::parse(&forged.to_bytes()).is_err());
    let mut early = done;
    early.at = later.plus(tick());
    assert!(Completion::parse(&early.to_bytes()).is_err());
}

#[test]
fn attack_ci24_moving_a_cadence_hides_nothing_that_is_overdue() {
    let (cadence, opens) = (review(), at(OPENS));
    let later = |start: &str| Cadence { start: start.to_owned(), ..review() };
    let far = later("2026-02-02T09:00:00");
    let revise =
        |to: &Cadence, done: &[Completion], now| cadence.revise(to.clone(), done, now).map(|change| change.document);
    for now in [opens, opens.plus(Span::days(20))] {
        assert_eq!(revise(&far, &[], now).expect_err("undone").code(), "cadence/unfinished");
    }
    let now = opens.plus(Span::days(1));
    let done = [complete(&cadence, ID, "ana", 1, &[], now).expect("allowed")];
    assert_eq!(revise(&far, &done, now).expect("all done").revision, 1);
    assert_eq!(
        revise(&later("2026-01-01T09:00:00"), &done, now).expect_err("it would begin before").code(),
        "cadence/definition"
    );
    let other = Cadence { id: subject("other"), ..far.clone() };
    assert_eq!(revise(&other, &done, now).expect_err("another name").code(), "cadence/definition");
    let empty = Cadence { artefact: Vec::new(), ..far };
    assert_eq!(revise(&empty, &done, now).expect_err("nothing to show").code(), "cadence/definition");
    // The new one begins after now, to the second.
    let exact = later("2026-01-06T09:00:00");
    assert_eq!(
        exact.schedule().expect("sound").between(Instant::MIN, Instant::MAX.minus(Span::days(9))).first(),
        Some(&now)
    );
    assert!(revise(&exact, &done, now).is_err());
}

#[test]
fn definitions_that_cannot_work_are_refused() {
    assert!(review().declare().is_ok());
    assert_eq!(Cadence::parse(&review().to_bytes()).expect("own form"), review());
    let field = |name: &str| Field { name: name.to_owned(), kind: FieldKind::Count };
    for (what, cadence) in [
        ("no fields", Cadence { artefact: Vec::new(), ..review() }),
        ("a field twice", Cadence { artefact: vec![field("a"), field("a")], ..review() }),
        ("a field without a name", Cadence { artefact: vec![field("")], ..review() }),
        (
            "no time",
            Cadence { due_within: Span::from_micros(Span::hours(1).micros() - 1).expect("positive"), ..review() },
        ),
        ("no owner", Cadence { owner: String::new(), ..review() }),
        ("no name for occurrences", Cadence { id: subject("a@b"), ..review() }),
        ("a long name", Cadence { id: subject(&"a".repeat(65)), ..review() }),
        ("no zone", Cadence { zone: "Europe/Atlantis".to_owned(), ..review() }),
    ] {
        assert!(Cadence::parse(&cadence.to_bytes()).is_err(), "{what}");
        assert!(cadence.declare().is_err(), "{what}");
    }
    assert!(Cadence { due_within: Span::hours(1), id: subject(&"a".repeat(64)), ..review() }.declare().is_ok());
}

#[test]
fn half_a_century_of_days_is_quick_enough_and_lacks_none() {
    let days = schedule("FREQ=DAILY", "2000-01-01T00:30:00", "America/Sao_Paulo");
    let instants = days.between(at("2000-01-01T00:00:00Z"), at("2050-01-01T00:00:00Z"));
    // 50 years with 13 leap days. In this zone midnight itself is skipped when clocks change, and no day may get lost.
    assert_eq!(instants.len(), 50 * 365 + 13);
    assert!(instants.windows(2).all(|pair| {
        let hours = (pair[1].micros() - pair[0].micros()) / 3_600_000_000;
        (22..=25).contains(&hours)
    }));
}

const RULES: [&str; 9] = [
    "FREQ=DAILY",
    "FREQ=DAILY;INTERVAL=10",
    "FREQ=WEEKLY;BYDAY=MO,TH",
    "FREQ=MONTHLY;INTERVAL=3",
    "FREQ=MONTHLY;BYMONTHDAY=-1",
    "FREQ=MONTHLY;BYDAY=1MO",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
    "FREQ=YEARLY",
    "FREQ=MONTHLY;BYMONTHDAY=31",
];
const ZONES: [&str; 6] =
    ["UTC", "Europe/Vienna", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A clock that goes on never changes what was: occurrences only join at the end, and all that have opened are there.
    #[test]
    fn time_only_adds(rule in 0..RULES.len(), zone in 0..ZONES.len(), hour in 0_u32..24, half in 0_u32..2, day in 0_i64..4_000, step in 0_i64..40_000) {
        let start = format!("2009-03-01T{hour:02}:{:02}:00", half * 30);
        let schedule = schedule(RULES[rule], &start, ZONES[zone]);
        let now = at("2009-03-01T00:00:00Z").plus(Span::from_micros(day * 86_400_000_000).expect("positive"));
        let later = now.plus(Span::from_micros(step * 600_000_000).expect("positive"));
        let (before, after) = (schedule.until_after(now), schedule.until_after(later));
        prop_assert!(after.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(before.len() <= after.len() && before[..] == after[..before.len()]);
        let (next, opened) = before.split_last().expect("there is always a next one");
        prop_assert!(now < *next && opened.iter().all(|at| *at <= now));
        prop_assert_eq!(schedule.between(Instant::MIN, now.plus(tick())), opened);
        prop_assert_eq!(schedule.between(Instant::MIN, *next), opened, "the end is not part of it");
        prop_assert_eq!(schedule.between(*next, next.plus(tick())), [*next], "the begin is");
    }

    /// A daily rule opens once on every local day, at the local time where there is one: against chrono, a day at a time.
    #[test]
    fn every_day_opens_once(zone in 0..ZONES.len(), hour in 0_u32..24, minute in 0_u32..60, from in 0_u64..6_000) {
        use chrono::{Days, NaiveDate, TimeZone as _};
        let first = NaiveDate::from_ymd_opt(2005, 1, 1).expect("a day") + Days::new(from);
        let tz: chrono_tz::Tz = ZONES[zone].parse().expect("a zone");
        let start = first.and_hms_opt(hour, minute, 0).expect("a time");
        let schedule = schedule("FREQ=DAILY", &start.format("%Y-%m-%dT%H:%M:%S").to_string(), ZONES[zone]);
        let days = 400;
        let mut expected = BTreeSet::new();
        for day in 0..days {
            let local = start + Days::new(day);
            let offset_at = |local| tz.from_local_datetime(local).earliest();
            // Where there is no such time, the offset before is found an hour at a time.
            let utc = offset_at(&local).map(|at| at.naive_utc()).unwrap_or_else(|| {
                let mut hours = 1;
                loop {
                    let earlier = local - chrono::TimeDelta::hours(hours);
                    match tz.from_local_datetime(&earlier).latest() {
                        Some(at) => break local - (earlier - at.naive_utc()),
                        None => hours += 1,
                    }
                }
            });
            expected.insert(Instant::from_micros(utc.and_utc().timestamp_micros()).expect("in range"));
        }
        let end = expected.last().expect("days").plus(tick());
        prop_assert_eq!(schedule.between(Instant::MIN, end), expected.into_iter().collect::<Vec<_>>());
    }
}
