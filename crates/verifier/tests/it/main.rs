//! The tool as an auditor runs it.

mod attacks;
mod pack;
mod world;

use creta_proof::{ConsistencyProof, InclusionProof};

use crate::world::{Export, Outcome, entries, log_key, run, tree_of, witness_key};

#[test]
fn a_whole_log_verifies_and_the_report_says_what_was_not_asked() {
    let text = Export::of(&entries(600)).verify(&[]).verified();
    assert!(text.contains("verified: all 600 entries of creta/prod/audit"), "{text}");
    assert!(text.contains("2026-03-01T12:00:00Z to 2026-03-26T11:00:00Z"), "{text}");
    assert!(text.contains("no older copy was put back shows only with --since or --witness"), "{text}");
    Export::of(&[]).verify(&[]).verified();
}

#[test]
fn a_log_continues_an_older_checkpoint_and_names_its_witness() {
    let all = entries(600);
    let export = Export::of(&all);
    let cosigned = witness_key().cosign(&log_key().sign(&all), "2026-03-26T12:00:00Z");
    export.put("checkpoint", cosigned.as_str().as_bytes());
    export.put("older", log_key().sign(&all[..300]).as_str().as_bytes());
    let (older, witness) = (export.path().join("older"), witness_key().public.to_string());
    let older = older.to_str().expect("text");
    let text = export.verify(&["--since", older, "--witness", &witness]).verified();
    assert!(text.contains("continues the checkpoint at 300 entries"), "{text}");
    assert!(text.contains("witness  witness.example/creta at 2026-03-26T12:00:00Z"), "{text}");

    let json = export.verify(&["--since", older, "--json"]).verified();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["verified"], &json["kind"], &json["entries"]), (&true.into(), &"log".into(), &600.into()));
    assert_eq!((&json["since"], &json["clock_set_back"]), (&300.into(), &serde_json::json!([])));
}

fn on_file(command: &str, text: &str, more: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, text).expect("written");
    let key = log_key().public.to_string();
    run(&[&[command, file.to_str().expect("text"), "--key", &key], more].concat())
}

#[test]
fn proofs_of_both_kinds_verify_and_changed_ones_do_not() {
    let (all, witness) = (entries(600), witness_key().public.to_string());
    let (tree, signed) = (tree_of(&all), witness_key().cosign(&log_key().sign(&all), "2026-03-26T12:00:00Z"));
    let proof = InclusionProof {
        entry: all[300].clone(),
        index: 300,
        proof: tree.inclusion(300, 600).expect("within"),
        checkpoint: signed.clone(),
    };
    let text = on_file("proof", &proof.to_string(), &["--witness", &witness]).verified();
    assert!(text.contains("entry 300 is in the 600 entries") && text.contains("\"turn\": \"300\""), "{text}");
    on_file("proof", &InclusionProof { index: 301, ..proof.clone() }.to_string(), &[]).refused("does not verify");
    on_file("proof", &InclusionProof { entry: all[301].clone(), ..proof.clone() }.to_string(), &[])
        .refused("leads to another root");
    on_file("proof", "{}", &[]).refused("not a proof file");

    let grown = ConsistencyProof {
        old: log_key().sign(&all[..300]),
        proof: tree.consistency(300, 600).expect("within"),
        new: signed.clone(),
    };
    let text = on_file("consistency", &grown.to_string(), &["--witness", &witness]).verified();
    assert!(text.contains("the 600 entries of creta/prod/audit begin with its first 300"), "{text}");
    let other = ConsistencyProof { old: log_key().sign(&all[1..301]), ..grown };
    on_file("consistency", &other.to_string(), &[]).refused("another old root");

    on_file("witnessed", signed.as_str(), &["--witness", &witness]).verified();
    on_file("witnessed", log_key().sign(&all).as_str(), &["--witness", &witness]).refused("not cosigned");
    let json = on_file("proof", &proof.to_string().replace("index 300", "index 301"), &["--json"]);
    assert_eq!(json.code, 1);
    let json: serde_json::Value = serde_json::from_str(&json.text).expect("JSON");
    assert_eq!((&json["verified"], &json["code"]), (&false.into(), &"proof/wrong".into()));
}

#[test]
fn wrong_use_is_told_apart_from_a_log_that_does_not_verify() {
    let (export, key) = (Export::of(&entries(3)), log_key().public.to_string());
    let folder = export.path().to_str().expect("text");
    run(&["log", folder]).wrong_use("--key");
    run(&["log", folder, "--key", "mine"]).wrong_use("not a verifier key");
    run(&["log", folder, "--key", &witness_key().public.to_string()]).wrong_use("this is a witness's key");
    run(&["log", "/nowhere", "--key", &key]).wrong_use("is not a folder");
    export.verify(&["--since", "/nowhere"]).wrong_use("cannot be read");
    export.verify(&["--witness", &key]).wrong_use("this is a log's key");
    export.verify(&["--witnessed-after", "2026-03-01T12:00:00Z"]).wrong_use("--witness");
    export.remove("checkpoint");
    export.verify(&[]).refused("there is no file `checkpoint`");
}
