//! Evidence packs, as an auditor verifies them.

use std::collections::BTreeMap;

use creta_proof::pack::{Pack, PackControl, PackError, PackRequest};
use creta_proof::{Hash, InclusionProof, Time};
use serde_json::{Value, json};

use crate::world::{Export, Outcome, entries, log_key, run, tree_of, witness_key};

fn canonical(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("texts and small numbers")
}

/// A log of 300 entries with a run of `clock` each hour that `outcomes` names, and the evidence of each.
struct Watched {
    log: Vec<Vec<u8>>,
    evidence: BTreeMap<u64, Vec<u8>>,
}

fn time(hour: u64) -> Time {
    let begin = Time::parse("2026-03-01T12:00:00Z").expect("a time").micros();
    Time::from_micros(begin + i64::try_from(hour).expect("small") * 3_600_000_000).expect("this century")
}

impl Watched {
    fn new(outcomes: &[(u64, &str)]) -> Self {
        let (mut log, mut evidence, mut previous) = (entries(300), BTreeMap::new(), None);
        for (hour, outcome) in outcomes {
            let at = time(*hour).to_string();
            let subjects = json!(["host:a", "host:b"]);
            let (population, raw) = (Hash::of(&[&canonical(&subjects)]), "{\"offset_ms\":3}");
            let seen = canonical(&json!({
                "check": "clock", "commitments": ["CH-44"], "environment": "prod",
                "findings": if *outcome == "fail" { json!([{"subject": "host:a", "code": "c", "says": "late"}]) } else { json!([]) },
                "format": "creta.evidence/1", "from": previous.as_ref().unwrap_or(&at), "observed_at": at,
                "outcome": outcome, "population": population.to_string(), "raw": raw,
                "raw_digest": Hash::of(&[raw.as_bytes()]).to_string(), "received_at": at,
                "run": format!("run-{hour}"), "subjects": subjects,
            }));
            log[usize::try_from(*hour).expect("small")] = canonical(&json!({
                "action": format!("check.{outcome}"),
                "details": {
                    "check": "clock", "evidence": format!("sha256:{}", Hash::of(&[&seen])), "observed-at": at,
                    "population": format!("sha256:{population}"), "run": format!("run-{hour}"), "subjects": "2",
                },
                "environment": "prod", "time": at, "version": "creta.audit/1",
            }));
            evidence.insert(*hour, seen);
            previous = Some(at);
        }
        Self { log, evidence }
    }

    /// A pack for hours 100 to 200, of the runs whose hours are given.
    fn pack(&self, hours: &[u64]) -> Vec<u8> {
        self.pack_for("CH-44", hours).expect("a pack that verifies")
    }

    fn pack_for(&self, control: &str, hours: &[u64]) -> Result<Vec<u8>, PackError> {
        let signed = witness_key().cosign(&log_key().sign(&self.log), "2026-03-26T12:00:00Z");
        let (tree, size) = (tree_of(&self.log), self.log.len() as u64);
        let proof = |index: &u64| {
            let proof = InclusionProof {
                entry: self.log[usize::try_from(*index).expect("small")].clone(),
                index: *index,
                proof: tree.inclusion(*index, size).expect("within"),
                checkpoint: signed.clone(),
            };
            (*index, proof.to_string())
        };
        let pack = Pack {
            request: PackRequest {
                environment: "prod".to_owned(),
                from: time(100),
                until: time(200),
                controls: vec![PackControl {
                    id: control.to_owned(),
                    freshness_us: 200 * 3_600_000_000,
                    checks: vec!["clock".to_owned()],
                }],
                seed: "4711".to_owned(),
                sample: 1,
            },
            checkpoint: signed.as_str().to_owned(),
            verifier_key: log_key().public.to_string(),
            proofs: hours.iter().map(proof).collect(),
            evidence: hours.iter().map(|hour| (*hour, self.evidence[hour].clone())).collect(),
        };
        pack.to_bytes()
    }
}

fn verify(bytes: &[u8], more: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pack.zip");
    std::fs::write(&file, bytes).expect("written");
    let key = log_key().public.to_string();
    run(&[&["pack", file.to_str().expect("text"), "--key", &key], more].concat())
}

#[test]
fn a_pack_verifies_and_the_report_says_what_it_does_not_show() {
    let watched = Watched::new(&[(50, "pass"), (120, "fail"), (150, "pass"), (250, "pass")]);
    let bytes = watched.pack(&[50, 120, 150, 250]);
    let text = verify(&bytes, &[]).verified();
    for said in [
        "verified: evidence for CH-44 in `prod`, 2026-03-05T16:00:00Z to 2026-03-09T20:00:00Z",
        "met 70.0000 %, began to fail 1 times, 0 gaps; 2 runs, 1 failed, 0 unknown",
        "1 of 2 subjects, seed `4711` (compare it with yours, or give --seed)",
        "creta/prod/audit, 300 entries",
        "between its runs; the rest shows with --log",
        "a pass counts for 720000 s, as the pack says",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let (export, witness) = (Export::of(&watched.log), witness_key().public.to_string());
    let folder = export.path().to_str().expect("text");
    let text = verify(&bytes, &["--seed", "4711", "--log", folder, "--witness", &witness]).verified();
    assert!(text.contains("(yours)") && text.contains("of 4 runs in 300 entries none is left out"), "{text}");
    assert!(text.contains("witness  witness.example/creta at 2026-03-26T12:00:00Z"), "{text}");

    let json: Value = serde_json::from_str(&verify(&bytes, &["--json"]).verified()).expect("JSON");
    assert_eq!((&json["verified"], &json["kind"]), (&true.into(), &"pack".into()));
    assert_eq!(json["controls"][0]["whole"]["failures"], 1);
}

#[test]
fn attack_ch44_packs_that_hide_something_are_refused() {
    let watched = Watched::new(&[(50, "pass"), (120, "fail"), (150, "pass"), (250, "pass")]);
    let bytes = watched.pack(&[50, 120, 150, 250]);
    verify(&bytes, &["--seed", "4712"]).refused("with another seed than yours");
    let mut edited = bytes.clone();
    let at = edited.windows(6).position(|window| window == b"\"late\"").expect("the finding");
    edited[at + 1] = b'f';
    verify(&edited, &[]).refused("");
    verify(b"PK", &[]).refused("not an evidence pack");

    let other = Watched::new(&[(50, "pass"), (120, "pass"), (150, "pass"), (250, "pass")]);
    let export = Export::of(&other.log);
    verify(&bytes, &["--log", export.path().to_str().expect("text")]).refused("do not fit together");
}

#[test]
fn attack_ch44_runs_left_out_at_the_end_show_in_the_log() {
    let watched = Watched::new(&[(50, "pass"), (120, "pass"), (190, "fail"), (250, "fail")]);
    let hiding = watched.pack(&[50, 120]);
    let text = verify(&hiding, &[]).verified();
    assert!(text.contains("that `clock` did not run after 2026-03-06T12:00:00Z: only the log can show it"), "{text}");
    let export = Export::of(&watched.log);
    verify(&hiding, &["--log", export.path().to_str().expect("text")]).refused("has a run of `clock` at 190");
}

#[test]
fn attack_ch44_a_pack_that_shows_something_else_than_was_asked_for_is_not_made() {
    let watched = Watched::new(&[(20, "fail"), (50, "pass"), (120, "pass"), (250, "pass"), (280, "pass")]);
    watched.pack(&[50, 120, 250]);
    for (what, control, hours) in [
        ("a commitment that the evidence does not speak for", "CH-20", &[50, 120, 250][..]),
        ("a run long before the period", "CH-44", &[20, 50, 120, 250]),
        ("a run long after it", "CH-44", &[50, 120, 250, 280]),
    ] {
        let refused = watched.pack_for(control, hours).expect_err(what);
        assert!(matches!(refused, PackError::Evidence { .. }), "{what}: {refused}");
    }
    let refused = watched.pack_for("CH-44", &[120, 250]).expect_err("without the run before the period");
    assert!(matches!(refused, PackError::Missing { .. }), "{refused}");
}
