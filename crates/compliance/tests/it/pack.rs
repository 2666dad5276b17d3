//! Evidence packs: what they say, and that no manipulation of one goes unnoticed.

mod archive;

use std::collections::BTreeMap;

use creta_compliance::{Outcome, Seen, least, over_period};
use creta_proof::pack::{PackError, PackReport, draw, verify};
use creta_proof::{Hash, InclusionProof};
use proptest::prelude::*;
use serde_json::Value;

use crate::recorded::{CHECKS, Key, Plan, Recorded, at};
use archive::{archive_of, files_of, with_true_manifest};

/// Within 10..40: a failure at 21 that ends at 25, and runs before and after the period.
const PLAN: [Plan<'_>; 8] = [
    ("isolation", 1, Outcome::Pass),
    ("route-permits", 2, Outcome::Pass),
    ("isolation", 12, Outcome::Pass),
    ("isolation", 21, Outcome::Fail),
    ("route-permits", 22, Outcome::Pass),
    ("isolation", 25, Outcome::Pass),
    ("isolation", 45, Outcome::Pass),
    ("route-permits", 46, Outcome::Unknown),
];

type Files = BTreeMap<String, Vec<u8>>;

fn recorded() -> Recorded {
    Recorded::new(&PLAN)
}

/// Index in the log of a run of the plan: an entry stands before them, and one after each.
fn index(turn: u64) -> u64 {
    1 + 2 * turn
}

fn evidence_path(turn: u64) -> String {
    format!("evidence/{}.json", index(turn))
}

fn proof_path(turn: u64) -> String {
    format!("proofs/{}.tlog-proof", index(turn))
}

fn verified(recorded: &Recorded, bytes: &[u8]) -> PackReport {
    verify(bytes, &recorded.vkey()).expect("an untouched pack verifies")
}

/// What verification says of the files after `edit`, with the list of files in the manifest put right.
fn after(recorded: &Recorded, edit: impl FnOnce(&mut Files)) -> PackError {
    let mut files = files_of(&recorded.pack(10, 40));
    let before = files.clone();
    edit(&mut files);
    assert_ne!(files, before, "nothing was edited");
    verify(&archive_of(&with_true_manifest(files)), &recorded.vkey()).expect_err("the edit is noticed")
}

fn text_of(files: &Files, path: &str) -> String {
    String::from_utf8(files[path].clone()).expect("text")
}

fn replace(files: &mut Files, path: &str, from: &str, to: &str) {
    let text = text_of(files, path);
    assert!(text.contains(from), "`{path}` has no `{from}`");
    files.insert(path.to_owned(), text.replacen(from, to, 1).into_bytes());
}

fn take_out(files: &mut Files, turn: u64) {
    for path in [evidence_path(turn), proof_path(turn), format!("raw/{}.json", index(turn))] {
        files.remove(&path).expect("was there");
    }
}

#[test]
fn a_pack_says_how_a_period_went_and_verifies() {
    let recorded = recorded();
    let bytes = recorded.pack(10, 40);
    assert_eq!(recorded.pack(10, 40), bytes, "the same input gives the same bytes");
    let report = verified(&recorded, &bytes);
    report.require_seed("4711-auditor").expect("the seed");
    let complete = report.require_complete(&recorded.entries).expect("nothing is left out");
    assert_eq!((complete.entries, complete.runs, complete.after_checkpoint), (17, 8, 0));

    assert_eq!((report.population, report.sample), (12, 3));
    assert_eq!(report.lost, Vec::<u64>::new());
    let isolation = report.controls.iter().flat_map(|control| &control.checks).find(|check| check.id == "isolation");
    let isolation = isolation.expect("asked for");
    assert_eq!((isolation.runs, isolation.failed, isolation.failures), (3, 1, 1));
    assert_eq!(report.only_log_shows, Vec::<String>::new());

    let files = files_of(&bytes);
    assert!(
        files.contains_key(&evidence_path(0)) && files.contains_key(&evidence_path(6)),
        "the runs around the period"
    );
    for (path, evidence) in files.iter().filter(|(path, _)| path.starts_with("evidence/")) {
        let index: u64 = path["evidence/".len()..path.len() - ".json".len()].parse().expect("an index");
        assert_eq!(*evidence, recorded.evidence[&index].to_bytes());
        assert_eq!(files[&format!("raw/{index}.json")], recorded.evidence[&index].raw.as_bytes());
    }
    let readme = text_of(&files, "README.txt");
    assert!(readme.contains("creta-verify pack FILE --key VKEY --seed 4711-auditor"), "{readme}");
    let population = text_of(&files, "population.csv");
    assert!(population.contains("isolation,\"listener:isolation-1, \"\"2\"\"\",2,1,7,11\r\n"), "{population}");
}

#[test]
fn a_pass_is_good_up_to_and_including_the_last_instant_of_its_freshness() {
    let recorded = Recorded::new(&[("isolation", 1, Outcome::Pass)]);
    let report = verified(&recorded, &recorded.pack(61, 62)); // Its freshness is an hour.
    let intervals = serde_json::to_value(&report.controls[0].whole.intervals).expect("plain data");
    let states: Vec<(&Value, &Value)> =
        intervals.as_array().expect("a list").iter().map(|stretch| (&stretch["state"], &stretch["until"])).collect();
    let last = format!("{}.000001Z", at(61).to_string().trim_end_matches('Z'));
    assert_eq!(states, [(&"met".into(), &last.into()), (&"stale".into(), &at(62).to_string().into())]);
}

#[test]
fn a_sample_can_be_drawn_again_from_the_population() {
    let population = ["c", "a", "b"].map(|subject| ("isolation", subject));
    let drawn = draw("4711", population, 2);
    let by_hand = |subject: &str| Hash::of(&[format!("4711\0isolation\0{subject}").as_bytes()]);
    let mut expected = ["a", "b", "c"].map(|subject| (by_hand(subject), "isolation", subject)).to_vec();
    expected.sort_unstable();
    assert_eq!(drawn, expected[..2]);
    assert_eq!(draw("4711", population, 9).len(), 3);
    assert_ne!(draw("4712", population, 3), draw("4711", population, 3));
}

#[test]
fn attack_edited_evidence_is_noticed_with_and_without_its_manifest_put_right() {
    let recorded = recorded();
    for (from, to) in [
        ("\"outcome\":\"fail\"", "\"outcome\":\"pass\""),
        ("it is open", "it is shut"),
        ("server process", "witness process"),
        ("{", "{ "),
    ] {
        let edit = |files: &mut Files| replace(files, &evidence_path(3), from, to);
        let refused = after(&recorded, edit);
        assert_eq!(refused, PackError::Evidence { index: index(3), rule: "its digest is another" });
        let mut files = files_of(&recorded.pack(10, 40));
        edit(&mut files);
        assert!(verify(&archive_of(&files), &recorded.vkey()).is_err());
    }
}

#[test]
fn attack_a_failing_run_that_was_dropped_is_noticed() {
    let recorded = recorded();
    match after(&recorded, |files| take_out(files, 3)) {
        PackError::Missing { check, at: missing, index: next } => {
            assert_eq!((check.as_str(), missing.to_string(), next), ("isolation", at(21).to_string(), index(5)));
        }
        other => panic!("{other}"),
    }
    // With the run before the period gone too, the first one that is left still says that there was one.
    let both = after(&recorded, |files| [0, 2, 3].into_iter().for_each(|turn| take_out(files, turn)));
    assert!(matches!(both, PackError::Missing { .. }), "{both}");
    // Without its proof, or without its evidence alone, something does not fit either.
    assert!(matches!(after(&recorded, |files| drop(files.remove(&proof_path(3)))), PackError::Stray { .. }));
    after(&recorded, |files| drop(files.remove(&evidence_path(3))));
}

#[test]
fn attack_runs_dropped_at_the_end_are_said_to_be_unprovable_and_show_in_the_log() {
    let plan = [
        ("isolation", 1, Outcome::Pass),
        ("route-permits", 2, Outcome::Pass),
        ("isolation", 12, Outcome::Pass),
        ("isolation", 39, Outcome::Fail),
    ];
    let whole = Recorded::new(&plan);
    // The operator hides the newest run from the ledger that packs are made of; the log has it.
    let mut hiding = Recorded::new(&plan);
    hiding.ledger = Recorded::new(&plan[..3]).ledger;
    let bytes = hiding.pack(10, 40);
    let report = verify(&bytes, &whole.vkey()).expect("nothing in the pack shows it");
    assert!(
        report.only_log_shows.iter().any(|open| open.contains("`isolation` did not run after")),
        "{:?}",
        report.only_log_shows
    );
    let refused = report.require_complete(&whole.entries).expect_err("the log shows it");
    assert_eq!(refused, PackError::LeftOut { check: "isolation".to_owned(), index: index(3) });
}

#[test]
fn attack_swapped_proofs_and_evidence_are_noticed() {
    let recorded = recorded();
    let swap = |one: String, other: String| {
        after(&recorded, |files| {
            let first = files.remove(&one).expect("there");
            let second = files.insert(other, first).expect("there");
            files.insert(one, second);
        })
    };
    assert!(matches!(swap(proof_path(2), proof_path(3)), PackError::NotProven { .. }));
    assert!(matches!(swap(evidence_path(2), evidence_path(3)), PackError::Evidence { .. }));
    assert!(matches!(swap("raw/5.json".to_owned(), "raw/7.json".to_owned()), PackError::Differs { .. }));
}

#[test]
fn attack_a_run_that_is_not_in_the_log_is_noticed() {
    let recorded = recorded();
    // Evidence that passes, an entry that names it, and the failing run's own path: only the root says otherwise.
    let forged = Recorded::new(&PLAN.map(|(check, minutes, _)| (check, minutes, Outcome::Pass)));
    let refused = after(&recorded, |files| {
        let mut proof = InclusionProof::parse(&text_of(files, &proof_path(3))).expect("a proof");
        proof.entry = forged.entries[index(3) as usize].clone();
        files.insert(proof_path(3), proof.to_string().into_bytes());
        files.insert(evidence_path(3), forged.evidence[&index(3)].to_bytes());
    });
    assert!(matches!(refused, PackError::NotProven { .. }), "{refused}");
    // What a proof file says of itself has to be true too.
    let other = recorded.checkpoint(&Key::new(8)).to_string();
    let own = recorded.checkpoint(&Key::new(7)).to_string();
    for (from, to) in [("index 7\n", "index 8\n"), (&*own, &*other), ("tlog-proof@v1", "tlog-proof@v2")] {
        let refused = after(&recorded, |files| replace(files, &proof_path(3), from, to));
        assert!(matches!(refused, PackError::NotProven { .. }), "{refused}");
    }
}

#[test]
fn attack_runs_that_claim_another_history_are_refused() {
    for (turn, claim) in
        [(5, None), (5, Some(at(12))), (5, Some(at(1))), (5, Some(at(22))), (3, None), (6, Some(at(21)))]
    {
        let claiming = Recorded::claiming(&PLAN, &[(turn, claim)]);
        assert!(claiming.pack_by(&Key::new(7), 10, 40, &[]).is_err(), "run {turn} claims {claim:?}");
    }
    // The first run ever has none before it, and is at the beginning of what a pack can show.
    let first = Recorded::new(&PLAN[3..]);
    verified(&first, &first.pack(10, 40));
}

#[test]
fn attack_an_entry_that_says_something_else_than_its_evidence_is_noticed() {
    let zeroes = format!("sha256:{}", Hash::from_bytes([0; 32]));
    for (place, other) in [
        ("/action", "check.pass"),
        ("/action", "check.unknown"),
        ("/action", "deploy"),
        ("/environment", "test"),
        ("/time", &at(20).to_string()),
        ("/details/check", "route-permits"),
        ("/details/check", "clock"),
        ("/details/run", "run-4"),
        ("/details/observed-at", &at(20).to_string()),
        ("/details/subjects", "5"),
        ("/details/evidence", &zeroes),
        ("/details/population", &zeroes),
    ] {
        let edit = |entry: &mut Value| *entry.pointer_mut(place).expect("there") = other.into();
        let logged = recorded().logged_as(index(3), edit);
        let refused = logged.pack_by(&Key::new(7), 10, 40, &[]).expect_err(place);
        let creta_compliance::pack::PackError::NotVerified(PackError::Evidence { index: refused, .. }) = refused else {
            panic!("{place}: {refused}");
        };
        assert_eq!(refused, index(3), "{place}");
    }
}

#[test]
fn attack_another_key_is_noticed() {
    let recorded = recorded();
    let forged = recorded.pack_by(&Key::new(8), 10, 40, &[]).expect("a pack by another key");
    assert!(matches!(verify(&forged, &recorded.vkey()), Err(PackError::Checkpoint(_))));
    let replaced = after(&recorded, |files| {
        files.insert("verifier-key".to_owned(), format!("{}\n", Key::new(8).public).into_bytes());
    });
    assert!(matches!(replaced, PackError::Checkpoint(_)));
    // The forger's checkpoint under the log's own key.
    let root = recorded.tree.root(5).expect("within");
    let other = Key::new(8).sign(5, root).to_string();
    assert!(matches!(
        after(&recorded, |files| drop(files.insert("checkpoint".to_owned(), other.into_bytes()))),
        PackError::Checkpoint(_)
    ));
}

#[test]
fn attack_what_follows_from_evidence_cannot_be_edited() {
    let recorded = recorded();
    for (path, from, to) in [
        ("sample.csv", "1,", "2,"),
        ("population.csv", ",1,", ",0,"),
        ("period.json", "failing", "met"),
        ("README.txt", "began to fail 1 times", "began to fail 0 times"),
        ("raw/7.json", "\"turn\":3", "\"turn\":4"),
    ] {
        let refused = after(&recorded, |files| replace(files, path, from, to));
        assert_eq!(refused, PackError::Differs { path: path.to_owned() });
    }
}

#[test]
fn attack_another_seed_is_noticed() {
    let recorded = recorded();
    let refused = after(&recorded, |files| replace(files, "manifest.json", "4711-auditor", "4712-auditor"));
    assert!(matches!(refused, PackError::Differs { .. }), "{refused}");
    // A pack made anew with another seed is a pack, though not the one that was asked for.
    let report = verified(&recorded, &recorded.pack(10, 40));
    assert_eq!(report.require_seed("4712-auditor"), Err(PackError::OtherSeed));
}

#[test]
fn attack_a_manifest_that_asks_for_something_else_is_noticed() {
    let recorded = recorded();
    for (from, to) in [
        ("\"environment\":\"prod\"", "\"environment\":\"test\""),
        (&*format!("\"from\":\"{}\"", at(10)), &*format!("\"from\":\"{}\"", at(23))),
        (&*format!("\"until\":\"{}\"", at(40)), &*format!("\"until\":\"{}\"", at(20))),
        (&*format!("\"until\":\"{}\"", at(40)), &*format!("\"until\":\"{}\"", at(1))),
        ("\"isolation\"", "\"isolation\",\"key-hierarchy\""),
        ("\"checks\":[\"isolation\"", "\"checks\":[\"clock\""),
        ("\"sample\":3", "\"sample\":2"),
        ("\"sample\":3", "\"sample\":9007199254740993"),
        ("\"seed\":\"4711-auditor\"", "\"seed\":\"4711\\nauditor\""),
        ("\"seed\":", "\"sead\":"),
        ("creta.pack/1", "creta.pack/2"),
        ("\"freshness_us\":", "\"freshness_us\":0"),
    ] {
        let refused = after(&recorded, |files| replace(files, "manifest.json", from, to));
        assert!(!refused.to_string().is_empty(), "{from}");
    }
}

#[test]
fn attack_a_longer_freshness_than_promised_is_shown_and_said_to_be_unprovable() {
    let recorded = recorded();
    let mut files = files_of(&recorded.pack(10, 40));
    replace(&mut files, "manifest.json", "\"freshness_us\":", "\"freshness_us\":9");
    let report = verify(&archive_of(&files), &recorded.vkey()).expect("nothing in the log says how long a pass counts");
    assert!(report.unprovable.iter().any(|open| open.contains("compare the freshness")), "{:?}", report.unprovable);
    // Where it would hide a gap, more than the number would have to be edited.
    let late = Recorded::new(&[("isolation", 1, Outcome::Pass), ("route-permits", 2, Outcome::Pass)]);
    let mut files = files_of(&late.pack(10, 400));
    replace(&mut files, "manifest.json", "\"freshness_us\":", "\"freshness_us\":9");
    let refused = verify(&archive_of(&files), &late.vkey()).expect_err("the gap is still in the other files");
    assert!(matches!(refused, PackError::Differs { .. }), "{refused}");
}

#[test]
fn attack_no_file_can_be_taken_out_put_in_or_doubled() {
    let recorded = recorded();
    let bytes = recorded.pack(10, 40);
    let files = files_of(&bytes);
    for path in files.keys() {
        let mut fewer = files.clone();
        fewer.remove(path);
        verify(&archive_of(&fewer), &recorded.vkey()).expect_err(path);
        let fewer = with_true_manifest(fewer);
        verify(&archive_of(&fewer), &recorded.vkey()).expect_err(path);
    }
    for path in ["evidence/999.json", "proofs/999.tlog-proof", "raw/999.json", "notes.txt", "../outside", "raw/2.json"]
    {
        after(&recorded, |files| drop(files.insert(path.to_owned(), b"{}".to_vec())));
    }
    let stray = after(&recorded, |files| drop(files.insert("raw/2.json".to_owned(), b"{}".to_vec())));
    assert_eq!(stray, PackError::Stray { path: "raw/2.json".to_owned() });
    let lacking = after(&recorded, |files| drop(files.remove("README.txt")));
    assert_eq!(lacking, PackError::NoFile { path: "README.txt".to_owned() });
    for (what, bad) in [
        ("something before it", [b"#!/bin/sh\n", &bytes[..]].concat()),
        ("something after it", [&bytes[..], b"\n"].concat()),
        ("cut off", bytes[..bytes.len() - 1].to_vec()),
        ("twice", [&bytes[..], &bytes[..]].concat()),
        ("nothing", Vec::new()),
    ] {
        verify(&bad, &recorded.vkey()).expect_err(what);
    }
}

#[test]
fn lost_evidence_never_counts_as_a_pass() {
    let recorded = recorded();
    let key = Key::new(7);
    let whole = recorded.pack(10, 40);
    let lost = recorded.pack_by(&key, 10, 40, &[index(2), index(3)]).expect("a pack all the same");
    let report = verified(&recorded, &lost);
    assert_eq!(report.lost, [index(2), index(3)]);
    let isolation = &report.controls.iter().flat_map(|control| &control.checks).find(|check| check.id == "isolation");
    let isolation = isolation.expect("asked for");
    assert_eq!((isolation.failed, isolation.unknown, isolation.failures), (1, 1, 1));
    let met = |report: &PackReport| report.controls.iter().map(|control| control.whole.met_ppm).sum::<u64>();
    assert!(met(&report) < met(&verified(&recorded, &whole)));
    assert!(report.only_log_shows.iter().any(|open| open.contains("evidence is lost")), "{:?}", report.only_log_shows);
    report.require_complete(&recorded.entries).expect("the log has both runs, and so has the pack");
}

#[test]
fn attack_another_log_does_not_show_that_a_pack_is_complete() {
    let recorded = recorded();
    let report = verified(&recorded, &recorded.pack(10, 40));
    let entries = &recorded.entries;
    let shorter = report.require_complete(&entries[..entries.len() - 1]);
    assert!(matches!(shorter, Err(PackError::OtherLog(_))), "{shorter:?}");
    let mut forked = entries.clone();
    forked.swap(2, 4);
    assert!(matches!(report.require_complete(&forked), Err(PackError::OtherLog(_))));
    let mut longer = entries.clone();
    longer.push(entries[index(6) as usize].clone());
    assert_eq!(report.require_complete(&longer).expect("the log went on").after_checkpoint, 1);
    assert!(matches!(report.require_complete([b"no entry"]), Err(PackError::OtherLog(_))));
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let recorded = recorded();
    assert!(recorded.pack_by(&Key::new(7), 40, 40, &[]).is_err(), "an empty period");
    assert!(recorded.pack_by(&Key::new(7), 40, 10, &[]).is_err(), "a period that ends before it begins");
    let never = Recorded::new(&[]);
    let report = verified(&never, &never.pack(10, 40));
    let open = report.only_log_shows.join("\n");
    assert!(CHECKS.iter().all(|check| open.contains(&format!("`{check}` never ran"))), "{open}");
    assert!(report.controls.iter().all(|control| control.whole.met_ppm == 0));
}

fn plans() -> impl Strategy<Value = Vec<(usize, u32, Outcome)>> {
    let outcome = prop_oneof![Just(Outcome::Pass), Just(Outcome::Fail), Just(Outcome::Unknown)];
    proptest::collection::btree_map(0..300_u32, (0..2_usize, outcome), 0..10)
        .prop_map(|plan| plan.into_iter().map(|(minutes, (check, outcome))| (check, minutes, outcome)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_verifier_and_the_server_agree_about_every_period(plan in plans(), from in 0..300_u32, length in 1..300_u32) {
        let plan: Vec<Plan<'_>> = plan.iter().map(|(check, minutes, outcome)| (CHECKS[*check], *minutes, *outcome)).collect();
        let recorded = Recorded::new(&plan);
        let report = verified(&recorded, &recorded.pack(from, from + length));
        report.require_complete(&recorded.entries).expect("complete");
        assert_eq!(report.controls.iter().map(|control| control.checks.len()).collect::<Vec<_>>(), [1, 2]);
        for control in &report.controls {
            let id = creta_compliance::CommitmentId::parse(&*control.whole.id).expect("an id");
            let commitment = recorded.registry.commitment(&id).expect("ships");
            let fresh = commitment.freshness();
            let of_check = |check: &String| {
                let seen: Vec<Seen> = recorded.ledger.seen(check);
                over_period(&seen, fresh, at(from), at(from + length))
            };
            let expected = least(&commitment.checks.iter().map(of_check).collect::<Vec<_>>());
            let text = |value: Value| value.to_string();
            prop_assert_eq!(
                text(serde_json::to_value(&control.whole.intervals).expect("plain data")),
                text(serde_json::to_value(&expected).expect("plain data"))
            );
            let summary = creta_compliance::PeriodSummary::of(expected);
            let whole = &control.whole;
            prop_assert_eq!(
                (whole.met_ppm, whole.failures, whole.gaps),
                (summary.met_ppm, summary.failures, summary.gaps)
            );
        }
    }

    #[test]
    fn attack_no_bit_of_a_pack_can_be_flipped(place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let recorded = Recorded::new(&PLAN[..3]);
        let mut bytes = recorded.pack(10, 40);
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assert!(verify(&bytes, &recorded.vkey()).is_err(), "bit {} of byte {}", bit, place);
    }
}
