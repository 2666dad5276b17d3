//! CH-44: each way to manipulate an exported log, and what the auditor reads. The attacker writes the whole folder, and in
//! the harder cases holds the log's key.

use creta_proof::KeyKind;
use creta_proof::export::tile_paths;

use crate::world::{Export, Key, ORIGIN, entries, entry, log_key, witness_key};

const SIZE: u64 = 600;

#[test]
fn attack_ch44_edit_an_entry() {
    let mut all = entries(SIZE);
    let export = Export::of(&all);
    all[300] = entry(7, 300);
    export.put_tile("tile/entries/001", &all);
    export.verify(&[]).refused("entry 300 is not the one that was logged");
}

#[test]
fn attack_ch44_edit_an_entry_and_its_tile() {
    let mut all = entries(SIZE);
    let export = Export::of(&all);
    all[300] = entry(7, 300);
    export.put_tile("tile/entries/001", &all);
    export.put_tile("tile/0/001", &all);
    export.verify(&[]).refused("`tile/1/000.p/2` does not hold the hashes of entries 256 to 511");
    // And every tile above.
    tile_paths(SIZE).for_each(|path| export.put_tile(&path, &all));
    export.verify(&[]).refused("the audit log is not what it was when it had 600 entries");
}

#[test]
fn attack_ch44_edit_a_tile_only() {
    let mut all = entries(SIZE);
    let export = Export::of(&all);
    all[300] = entry(7, 300);
    export.put_tile("tile/0/001", &all);
    export.verify(&[]).refused("`tile/0/001` does not hold the hashes of entries 300 to 300");
}

#[test]
fn attack_ch44_delete_the_newest() {
    let all = entries(SIZE);
    let export = Export::of(&all);
    for kind in ["tile/entries", "tile/0"] {
        export.remove(&format!("{kind}/002.p/88"));
        export.put_tile(&format!("{kind}/002.p/87"), &all);
    }
    export.verify(&[]).refused("has 599 entries but signed a checkpoint of 600: entries were deleted");
    // A checkpoint that says so would have to be signed.
    let edited = log_key().sign(&all).as_str().replace("\n600\n", "\n599\n");
    export.put("checkpoint", edited.as_bytes());
    export.verify(&[]).refused("the signature of `creta/prod/audit` on this checkpoint is wrong");
}

#[test]
fn attack_ch44_drop_a_day_in_the_middle() {
    let all = entries(SIZE);
    let export = Export::of(&all);
    let dropped: Vec<Vec<u8>> = [&all[..300], &all[324..]].concat();
    export.put_tile("tile/entries/001", &dropped);
    export.remove("tile/entries/002.p/88");
    export.put_tile("tile/entries/002.p/64", &dropped);
    export.verify(&[]).refused("entry 300 is not the one that was logged");
    // With fitting tiles.
    let export = Export::of(&dropped);
    export.put("checkpoint", log_key().sign(&all).as_str().as_bytes());
    export.verify(&[]).refused("has 576 entries but signed a checkpoint of 600");
}

#[test]
fn attack_ch44_fork_with_the_logs_own_key() {
    let all = entries(SIZE);
    let mut forked = all.clone();
    forked[599] = entry(7, 599);
    let export = Export::of(&forked);
    export.verify(&[]).verified(); // Nothing inside can show it.
    for kept in [&all[..], &all[..599]] {
        export.put("kept", log_key().sign(kept).as_str().as_bytes());
        let (outcome, same) = (export.verify(&["--since", &file(&export, "kept")]), kept.len() == 600);
        match same {
            true => outcome.refused("is not what it was when it had 600 entries"),
            false => drop(outcome.verified()), // The branches have that much in common.
        }
    }
    // The witness has cosigned the other branch, and its cosignature does not fit this one.
    let cosigned = witness_key().cosign(&log_key().sign(&all), "2026-03-26T12:00:00Z");
    let line = cosigned.as_str().lines().last().expect("a line").to_owned() + "\n";
    let grafted = log_key().sign(&forked).with_signatures(&line).expect("well formed");
    export.put("checkpoint", grafted.as_str().as_bytes());
    export.verify(&["--witness", &witness()]).refused("the signature of `witness.example/creta` on this checkpoint");
}

#[test]
fn attack_ch44_rewind_to_an_older_copy() {
    let all = entries(SIZE);
    let export = Export::of(&all[..500]);
    let old = witness_key().cosign(&log_key().sign(&all[..500]), "2026-03-22T07:00:00Z");
    export.put("checkpoint", old.as_str().as_bytes());
    export.verify(&["--witness", &witness()]).verified(); // Truly cosigned, long ago.

    export.put("kept", log_key().sign(&all).as_str().as_bytes());
    export.verify(&["--since", &file(&export, "kept")]).refused("has 500 entries but signed a checkpoint of 600");
    export
        .verify(&["--witness", &witness(), "--witnessed-after", "2026-03-26T00:00:00Z"])
        .refused("cosigned this checkpoint at 2026-03-22T07:00:00Z, before 2026-03-26T00:00:00Z");

    // The old checkpoint alone, over the newer files.
    let export = Export::of(&all);
    export.put("checkpoint", old.as_str().as_bytes());
    export.put_tile("tile/entries/001.p/244", &all);
    export.put_tile("tile/0/001.p/244", &all);
    export.put_tile("tile/1/000.p/1", &all);
    export.verify(&[]).refused("600 entries were given for a checkpoint of 500");
}

#[test]
fn attack_ch44_replace_the_key() {
    let all = entries(SIZE);
    let export = Export::of(&all);
    let other = Key::new(KeyKind::Log, ORIGIN, 9);
    export.put("checkpoint", other.sign(&all).as_str().as_bytes());
    export.put("verifier-key", other.public.to_string().as_bytes());
    export.verify(&[]).refused("the log's key was replaced, or it is of another log");
    let renamed = Key::new(KeyKind::Log, "creta/test/audit", 7);
    export.put("checkpoint", renamed.sign(&all).as_str().as_bytes());
    export.verify(&[]).refused("this checkpoint is of log `creta/test/audit`");
}

#[test]
fn attack_ch44_set_the_clock_back() {
    let mut all = entries(SIZE);
    all[400] = entry(400, 17);
    let export = Export::of(&all);
    export.verify(&[]).refused("entry 400 is earlier than the entry before it: somebody set the clock back");
    let text = export.verify(&["--accept-set-back", "400"]).verified();
    assert!(text.contains("set back before entries [400], as accepted"), "{text}");
    export.verify(&["--accept-set-back", "401"]).refused("entry 400 is earlier");
}

#[test]
fn attack_ch44_swap_two_entries() {
    let mut all = entries(SIZE);
    let export = Export::of(&all);
    all.swap(10, 400);
    export.put_tile("tile/entries/000", &all);
    export.put_tile("tile/entries/001", &all);
    export.verify(&[]).refused("entry 10 is not the one that was logged");
}

#[test]
fn attack_ch44_cut_a_bundle() {
    let all = entries(SIZE);
    let export = Export::of(&all);
    let whole = std::fs::read(export.path().join("tile/entries/001")).expect("there");
    export.put("tile/entries/001", &whole[..whole.len() / 2]);
    export.verify(&[]).refused("`tile/entries/001` is damaged at entry 384: the bundle ends");
    export.put("tile/entries/001", &[]);
    export.verify(&[]).refused("`tile/entries/001` is damaged at entry 256: the bundle ends before it");
    export.remove("tile/entries/001");
    export.verify(&[]).refused("`tile/entries/001` is missing, with entries 256 to 511");
}

#[test]
fn attack_ch44_hide_something_in_another_spelling() {
    // Signed by the log itself: even so an entry that can be read in two ways is refused.
    let mut all = entries(SIZE);
    all[300] =
        String::from_utf8(all[300].clone()).expect("text").replacen('{', r#"{"action":"query","#, 1).into_bytes();
    Export::of(&all).verify(&[]).refused("entry 300 of the audit log is not valid: it is not canonical JSON");
}

fn file(export: &Export, name: &str) -> String {
    export.path().join(name).to_str().expect("text").to_owned()
}

fn witness() -> String {
    witness_key().public.to_string()
}
