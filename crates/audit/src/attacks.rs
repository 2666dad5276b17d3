//! CH-44: every manipulation of the log is noticed. The attacker may change the disk, and in the harder cases holds the
//! environment's key as well, as its root user does.

use std::sync::Arc;

use creta_keys::SealedFiles;
use creta_model::Span;
use creta_platform::MemoryFiles;
use proptest::prelude::*;

use crate::testing::{CHECKPOINT, ENTRIES, SIGNING_KEY, World, prod};
use crate::verify::{verify_checkpoint, verify_log};
use crate::{AuditError, Entry, Log, ProofError, SignedCheckpoint};

/// What opening the log says after an attacker with the key rewrote its entries.
fn opening_after(forge: impl FnOnce(&mut Vec<Vec<u8>>)) -> AuditError {
    let (world, signed) = World::with_deploys(9);
    let vkey = world.open().expect("opens").verifier_key();
    let mut entries = world.stolen_entries();
    verify_log(signed.claimed(), &entries).expect("the true log verifies");
    forge(&mut entries);

    // Apart from the log: whoever has the checkpoint and the entries notices it too.
    let checkpoint = verify_checkpoint(signed.as_str(), &vkey).expect("the checkpoint itself is untouched");
    verify_log(&checkpoint, &entries).map(drop).expect_err("entries that were never signed");

    world.forge_entries(&entries);
    world.open().map(drop).expect_err("a forged log does not open")
}

#[test]
fn attack_ch44_edit_an_entry() {
    let error = opening_after(|entries| {
        let mut entry = Entry::parse(&entries[3]).expect("valid");
        entry.action = "query".to_owned();
        entries[3] = entry.to_bytes().expect("fits");
    });
    assert!(matches!(error, AuditError::Proof(ProofError::Inconsistent { size: 9 })), "{error:?}");
}

#[test]
fn attack_ch44_delete_the_newest() {
    let error = opening_after(|entries| drop(entries.pop()));
    assert!(matches!(error, AuditError::Proof(ProofError::Shorter { entries: 8, checkpoint: 9 })), "{error:?}");
}

#[test]
fn attack_ch44_delete_everything() {
    let error = opening_after(Vec::clear);
    assert!(matches!(error, AuditError::Proof(ProofError::Shorter { entries: 0, checkpoint: 9 })), "{error:?}");
}

#[test]
fn attack_ch44_drop_from_the_middle() {
    let error = opening_after(|entries| drop(entries.drain(3..5)));
    assert!(matches!(error, AuditError::Proof(ProofError::Shorter { entries: 7, checkpoint: 9 })), "{error:?}");
}

#[test]
fn attack_ch44_drop_from_the_middle_and_fill_up() {
    let error = opening_after(|entries| {
        let copy = entries[8].clone();
        entries.remove(4);
        entries.push(copy);
    });
    assert!(matches!(error, AuditError::Proof(ProofError::Inconsistent { size: 9 })), "{error:?}");
}

#[test]
fn attack_ch44_reorder() {
    let error = opening_after(|entries| entries.swap(2, 6));
    assert!(matches!(error, AuditError::Proof(ProofError::Inconsistent { size: 9 })), "{error:?}");
}

#[test]
fn attack_ch44_insert() {
    let error = opening_after(|entries| entries.insert(4, entries[4].clone()));
    assert!(matches!(error, AuditError::Proof(ProofError::Inconsistent { size: 9 })), "{error:?}");
}

#[test]
fn entries_beyond_a_checkpoint_are_not_verified_by_it() {
    let (world, old) = World::with_deploys(3);
    let log = world.open().expect("opens");
    world.deploys(&log, 1);
    let error = verify_log(old.claimed(), world.stolen_entries()).map(drop).expect_err("one more than was signed");
    assert!(matches!(error, ProofError::Longer { entries: 4, checkpoint: 3 }), "{error:?}");
}

#[test]
fn attack_ch44_put_back_an_older_copy_of_the_entries() {
    let (world, _) = World::with_deploys(4);
    let yesterday = world.bytes(ENTRIES);
    let log = world.open().expect("opens");
    world.deploys(&log, 3);
    drop(log);
    world.put(ENTRIES, &yesterday);
    let error = world.open().map(drop).expect_err("rolled back");
    assert!(matches!(error, AuditError::Proof(ProofError::Shorter { entries: 4, checkpoint: 7 })), "{error:?}");
    assert!(error.to_string().contains("an older copy was restored"), "{error}");
}

#[test]
fn attack_ch44_put_back_an_older_copy_of_everything() {
    let (world, _) = World::with_deploys(4);
    let yesterday = world.backup();
    let log = world.open().expect("opens");
    let kept = world.deploys(&log, 3);
    drop(log);
    world.restore(&yesterday);
    // Nothing inside can show it; a checkpoint that was kept elsewhere does.
    let log = world.open().expect("consistent with itself");
    let error = log.require_continues(&kept).expect_err("rolled back");
    assert!(matches!(error, AuditError::Proof(ProofError::Shorter { entries: 4, checkpoint: 7 })), "{error:?}");

    // Growing over the gap does not help.
    world.clock.advance(Span::hours(1));
    world.deploys(&log, 5);
    let error = log.require_continues(&kept).expect_err("another history");
    assert!(matches!(error, AuditError::Proof(ProofError::Inconsistent { size: 7 })), "{error:?}");
}

#[test]
fn attack_ch44_fork() {
    let (world, common) = World::with_deploys(4);
    let other = world.moved_to(Arc::new(MemoryFiles::new()));
    other.restore(&world.backup());
    let (log, fork) = (world.open().expect("opens"), other.open().expect("opens"));
    let one = world.deploys(&log, 2);
    let two = world.deploys(&fork, 2);
    assert_eq!(one.claimed().size, two.claimed().size);
    for (log, own, foreign) in [(&log, &one, &two), (&fork, &two, &one)] {
        log.require_continues(&common).expect("both continue what they share");
        log.require_continues(own).expect("its own");
        let error = log.require_continues(foreign).expect_err("the other branch");
        assert!(matches!(error, AuditError::Proof(ProofError::Inconsistent { size: 6 })), "{error:?}");
    }
}

#[test]
fn attack_ch44_remove_the_signing_key() {
    let (world, _) = World::with_deploys(3);
    world.platform.files.delete(SIGNING_KEY).expect("deleted");
    assert!(matches!(world.open().map(drop), Err(AuditError::SigningKey { .. })));
    world.platform.files.delete(CHECKPOINT).expect("deleted");
    assert!(matches!(world.open().map(drop), Err(AuditError::SigningKey { .. })));
}

#[test]
fn attack_ch44_remove_the_checkpoint() {
    let (world, _) = World::with_deploys(3);
    world.platform.files.delete(CHECKPOINT).expect("deleted");
    let error = world.open().map(drop).expect_err("no checkpoint");
    assert!(matches!(error, AuditError::CheckpointMissing { entries: 3 }), "{error:?}");
}

#[test]
fn attack_ch44_replace_the_signing_key_and_sign_again() {
    let (world, _) = World::with_deploys(3);
    let vkey = world.open().expect("opens").verifier_key();
    let sealed = SealedFiles::new(world.platform.files.clone(), world.key.clone(), "audit");
    sealed.replace(SIGNING_KEY, &[9; 32]).expect("written");
    let error = world.open().map(drop).expect_err("the stored checkpoint is of the old key");
    assert!(matches!(error, AuditError::Proof(ProofError::Unsigned { .. })), "{error:?}");

    // With all three files made anew the log opens, and nobody who knows the old verifier key believes it.
    let entries = world.stolen_entries();
    world.restore(&[]);
    let forged = world.open().expect("a new log");
    world.deploys(&forged, entries.len() as u64);
    let signed = forged.checkpoint().expect("signed");
    assert_ne!(forged.verifier_key(), vkey);
    let error = verify_checkpoint(signed.as_str(), &vkey).expect_err("another key");
    assert!(matches!(error, ProofError::Unsigned { .. }), "{error:?}");
}

#[test]
fn attack_ch44_edit_a_checkpoint() {
    let (world, signed) = World::with_deploys(9);
    let vkey = world.open().expect("opens").verifier_key();
    let smaller = signed.as_str().replacen("\n9\n", "\n8\n", 1);
    assert!(matches!(verify_checkpoint(&smaller, &vkey), Err(ProofError::Signature { .. })));
    let renamed = signed.as_str().replace("creta/prod/audit", "creta/test/audit");
    assert!(matches!(verify_checkpoint(&renamed, &vkey), Err(ProofError::OtherLog { .. })));

    // Sealed with the stolen key in place of the true one.
    let sealed = SealedFiles::new(world.platform.files.clone(), world.key.clone(), "audit");
    sealed.replace(CHECKPOINT, smaller.as_bytes()).expect("written");
    assert!(matches!(world.open().map(drop), Err(AuditError::Proof(ProofError::Signature { .. }))));
}

#[test]
fn attack_ch44_the_log_of_another_environment() {
    let (world, _) = World::with_deploys(2);
    let staging = creta_model::Environment::parse("staging").expect("valid");
    let error = Log::open(&world.platform, world.key.clone(), staging).map(drop).expect_err("another environment");
    assert!(matches!(error, AuditError::OtherKey { .. }), "{error:?}");
}

#[test]
fn attack_ch44_set_the_clock_back() {
    let (world, _) = World::with_deploys(3);
    let earlier = World::at(Arc::new(MemoryFiles::new()), "2026-02-01T00:00:00Z");
    let earlier = World { key: world.key.clone(), ..earlier };
    earlier.restore(&world.backup());
    let log = earlier.open().expect("opens");
    assert_eq!(log.entries(3..4).expect("there")[0].action, "clock.set-back");
    log.checkpoint().expect("signed");
    assert_eq!(log.verify().expect("intact").clock_set_back, [3]);
    assert_eq!(prod(), *log.environment());
}

#[test]
fn attack_ch44_entries_that_are_not_ours() {
    let (world, signed) = World::with_deploys(2);
    let entries = world.stolen_entries();
    let text = String::from_utf8(entries[0].clone()).expect("text");
    for (what, forged) in [
        ("spaces", text.replacen(',', ", ", 1)),
        ("other version", text.replacen("creta.audit/1", "creta.audit/2", 1)),
        ("not JSON", "entry".to_owned()),
    ] {
        assert_ne!(forged, text);
        let error = verify_log(signed.claimed(), [forged.as_bytes(), &entries[1]]).map(drop).expect_err(what);
        assert!(matches!(error, ProofError::Entry { index: 0, .. }), "{what}: {error:?}");
        assert!(!error.to_string().contains("acme"), "an error does not repeat the entry");
    }
    // Outsiders pass over fields of later builds; this build knows its own.
    Entry::parse(text.replacen('{', r#"{"a":1,"#, 1).as_bytes()).expect_err("unknown field");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn attack_ch44_change_any_byte_of_any_file(which in 0usize..3, at: prop::sample::Index, bit in 0u8..8) {
        let (world, _) = World::with_deploys(3);
        let path = [ENTRIES, CHECKPOINT, SIGNING_KEY][which];
        let mut bytes = world.bytes(path);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        world.put(path, &bytes);
        prop_assert!(world.open().is_err(), "byte {} of {}", at, path);
    }

    #[test]
    fn attack_ch44_cut_any_file_anywhere(which in 0usize..3, at: prop::sample::Index) {
        let (world, _) = World::with_deploys(3);
        let path = [ENTRIES, CHECKPOINT, SIGNING_KEY][which];
        let bytes = world.bytes(path);
        world.put(path, &bytes[..at.index(bytes.len())]);
        prop_assert!(world.open().is_err(), "{} of {} bytes of {}", at.index(bytes.len()), bytes.len(), path);
    }

    #[test]
    fn attack_ch44_change_any_character_of_a_checkpoint(at: prop::sample::Index, with in "[ -~\n]") {
        let (world, signed) = World::with_deploys(3);
        let vkey = world.open().expect("opens").verifier_key();
        let mut text: Vec<char> = signed.as_str().chars().collect();
        let at = at.index(text.len());
        let with = with.chars().next().expect("one character");
        prop_assume!(text[at] != with);
        text[at] = with;
        let text: String = text.into_iter().collect();
        prop_assert!(verify_checkpoint(&text, &vkey).is_err(), "character {}", at);
    }

    #[test]
    fn texts_that_are_no_checkpoint_are_refused(text in "(\\PC|\n){0,80}") {
        prop_assert!(SignedCheckpoint::parse(&text).is_err());
        prop_assert!(crate::VerifierKey::parse(&text).is_err());
    }
}
