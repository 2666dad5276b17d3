//! What a pillar shows: its state by the checks that look at it, and its figures.

use std::collections::BTreeMap;

use creta_compliance::{
    Collector, Evidence, Finding, Ledger, LogLine, LogPosition, Mode, Observation, Organisation, Pillar, PillarReport,
    Registry, ReportInput, Run, State, detail, report,
};
use creta_model::{Environment, Instant, Span};

/// A run of a check: its name, when, and whether it found something wrong.
type Ran = (&'static str, u32, bool);

/// The pillars after these runs and this many refused attempts against CH-20, `minutes` after the beginning.
fn pillars(runs: &[Ran], refusals: u64, minutes: u32) -> [PillarReport; 3] {
    let registry = Registry::embedded();
    let at = |minutes: u32| Instant::parse("2026-11-22T12:00:00Z").expect("valid").plus(Span::seconds(60 * minutes));
    let (mut ledger, mut kept) = (Ledger::default(), BTreeMap::new());
    for (index, (check, minute, fails)) in (0..).zip(runs) {
        let evidence = seen(&registry, check, at(*minute), *fails);
        let details: BTreeMap<String, String> = [
            (detail::CHECK, (*check).to_owned()),
            (detail::EVIDENCE, format!("sha256:{}", evidence.digest())),
            (detail::SUBJECTS, evidence.subjects.len().to_string()),
            (detail::OBSERVED_AT, evidence.observed_at.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let (time, action) = (at(*minute), Ledger::action(evidence.outcome));
        ledger.read(LogLine { index, time, action, refused: false, commitment: None, details: &details });
        kept.insert(index, evidence);
    }
    for index in ledger.lines()..ledger.lines() + refusals {
        let (time, details) = (at(0), BTreeMap::new());
        ledger.read(LogLine {
            index,
            time,
            action: "query",
            refused: true,
            commitment: Some("CH-20"),
            details: &details,
        });
    }
    let report = report(&ReportInput {
        registry: &registry,
        ledger: &ledger,
        organisation: &Organisation { name: "Acme".to_owned(), mode: Mode::InHouse, demonstration: false },
        environment: &Environment::parse("prod").expect("valid"),
        log: LogPosition {
            origin: "creta/prod/audit".to_owned(),
            size: ledger.lines(),
            root: String::new(),
            verifier_key: String::new(),
            witnesses: Vec::new(),
        },
        now: at(minutes),
        fetch: &|recorded| kept.get(&recorded.index).cloned().ok_or_else(|| "there is none".to_owned()),
        fetch_artefact: &|_| Err("there is none".to_owned()),
    });
    report.pillars.try_into().expect("three")
}

fn seen(registry: &Registry, check: &str, at: Instant, fails: bool) -> Evidence {
    let definition = registry.check(check).expect("it ships");
    let collector = Collector {
        name: "server/prod".to_owned(),
        place: definition.place.clone(),
        environment: Environment::parse("prod").expect("valid"),
        code_version: "0.1.0".to_owned(),
    };
    let seen = Observation {
        subjects: ["one", "two", "three"].map(str::to_owned).into(),
        findings: fails.then(|| Finding::new("one", "probe/wrong", "one is wrong")).into_iter().collect(),
        could_not: None,
        raw: serde_json::json!({}),
    };
    let run =
        Run { id: format!("{check} {at}"), since: None, observed_at: at, received_at: at, noticed_planted_fault: true };
    let commitments = registry.watched_by(check).map(|row| row.id.clone()).collect();
    Evidence::judge(definition, commitments, &collector, run, seen)
}

#[test]
fn a_pillar_shows_for_how_long_it_held_what_was_looked_at_and_what_was_refused() {
    // Ten minutes of looking: questions went unanswered in the sixth.
    let serving = (0..10).map(|minute| ("serving", minute, minute == 5));
    let runs: Vec<Ran> = [("isolation", 0, false), ("log-integrity", 0, false), ("evidence-integrity", 0, false)]
        .into_iter()
        .chain(serving)
        .collect();
    let [confidentiality, integrity, availability] = pillars(&runs, 2, 10);
    assert_eq!([confidentiality.state, integrity.state, availability.state], [State::Met, State::Stale, State::Met]);
    assert_eq!(availability.held_ppm, Some(900_000));
    assert_eq!(confidentiality.held_ppm, Some(1_000_000));
    // That the log is whole is good for five minutes.
    assert!(integrity.held_ppm.is_some_and(|held| (500_000..500_100).contains(&held)), "{:?}", integrity.held_ppm);
    assert_eq!([confidentiality.subjects, integrity.subjects, availability.subjects], [3, 6, 3]);
    assert_eq!([confidentiality.refusals, integrity.refusals], [2, 0], "CH-20 protects confidentiality alone");
}

#[test]
fn what_fails_colours_its_own_pillar_and_no_other() {
    for (check, pillar) in [
        ("isolation", Pillar::Confidentiality),
        ("log-integrity", Pillar::Integrity),
        ("serving", Pillar::Availability),
    ] {
        let runs: Vec<Ran> = ["isolation", "log-integrity", "serving"].map(|name| (name, 0, name == check)).into();
        for report in pillars(&runs, 0, 1) {
            let expected = if report.pillar == pillar { State::Failing } else { State::Met };
            assert_eq!(report.state, expected, "{check} and {:?}", report.pillar);
        }
    }
}

#[test]
fn a_pillar_that_nobody_looked_at_has_not_started_and_shows_no_time() {
    for report in pillars(&[], 0, 1) {
        assert_eq!((report.state, report.held_ppm, report.subjects), (State::NotStarted, None, 0));
    }
}
