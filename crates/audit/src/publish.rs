//! What the log gives to outsiders: itself as static files, and proofs as files.

use creta_proof::export::{CHECKPOINT_FILE, VERIFIER_KEY_FILE, tile_paths};
use creta_proof::{ConsistencyProof, InclusionProof, parse_tile_index};

use crate::{AuditError, Log, SignedCheckpoint};

impl Log {
    /// The log as a folder of static files ([`creta_proof::export`]): signs a checkpoint if the log grew, and gives each
    /// file's path and bytes to `put`, the checkpoint last. Gives the checkpoint. Memory of one file at a time.
    pub fn export<E: From<AuditError>>(
        &self,
        mut put: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<SignedCheckpoint, E> {
        let signed = self.checkpoint()?;
        for path in tile_paths(signed.claimed().size) {
            put(&path, &self.file(&path).expect("the log has every tile of its own checkpoint"))?;
        }
        put(VERIFIER_KEY_FILE, format!("{}\n", self.verifier_key()).as_bytes())?;
        put(CHECKPOINT_FILE, signed.as_str().as_bytes())?;
        Ok(signed)
    }

    /// One tile or bundle by its path in the exported log; `None` where the log does not have it.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        let (level, index) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = parse_tile_index(index)?;
        match level {
            "entries" => self.entries_tile(index, width),
            level => self.tile(level.parse().ok()?, index, width),
        }
    }

    /// A file that proves that entry `index` is in the log, under its newest checkpoint.
    pub fn inclusion_proof(&self, index: u64) -> Result<InclusionProof, AuditError> {
        let checkpoint = self.checkpoint()?;
        let proof = self.prove_inclusion(index, checkpoint.claimed().size)?;
        Ok(InclusionProof { entry: self.entry_bytes(index)?, index, proof, checkpoint })
    }

    /// A file that proves that the log continues an older checkpoint of itself; an error where it does not.
    pub fn consistency_proof(&self, old: &SignedCheckpoint) -> Result<ConsistencyProof, AuditError> {
        self.require_continues(old)?;
        let new = self.checkpoint()?;
        let proof = self.prove_consistency(old.claimed().size, new.claimed().size)?;
        Ok(ConsistencyProof { old: old.clone(), proof, new })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use creta_proof::VerifierKey;
    use creta_proof::export::verify_files;

    use super::*;
    use crate::testing::{World, prod};
    use crate::{Details, Event, ProofError};

    fn log_of(batches: u64) -> (World, Log) {
        let world = World::new();
        let log = world.open().expect("opens");
        for batch in 0..batches {
            let event = |turn| {
                let details = Details::none().count("turn", turn).expect("valid");
                Event::new("check.pass", creta_iam::Place::Environment(prod())).with(details)
            };
            let indices = log.record_all((0..100).map(event).collect()).expect("written");
            assert_eq!(indices, batch * 100..(batch + 1) * 100);
        }
        (world, log)
    }

    #[test]
    fn an_exported_log_verifies_file_by_file() {
        let (world, log) = log_of(6);
        let mut files = BTreeMap::new();
        let signed = log.export::<AuditError>(|path, bytes| {
            files.insert(path.to_owned(), bytes.to_vec());
            Ok(())
        });
        let signed = signed.expect("exported");
        assert_eq!(files["checkpoint"], signed.as_str().as_bytes());
        let key = VerifierKey::parse(std::str::from_utf8(&files["verifier-key"]).expect("text").trim_end());
        let checkpoint = signed.verify(&key.expect("a key")).expect("its own");
        let report = verify_files::<ProofError>(&checkpoint, None, |path| Ok(files.get(path).cloned())).expect("whole");
        assert_eq!((report.entries, report.clock_set_back), (600, vec![]));

        // The exported entries are those on the disk.
        drop(log);
        assert_eq!(world.open().expect("opens").file("tile/entries/002.p/88"), files.remove("tile/entries/002.p/88"));
        for none in ["tile/entries/002.p/89", "tile/9/000", "tile/x/000", "checkpoint", "tile/entries/../../key", ""] {
            assert_eq!(world.open().expect("opens").file(none), None, "{none}");
        }
    }

    #[test]
    fn a_batch_is_written_whole_or_not_at_all() {
        let (world, log) = log_of(1);
        let place = creta_iam::Place::Environment(prod());
        let mut long = Details::none();
        for key in ["a", "b", "c", "d"] {
            long = long.name(key, "x".repeat(128)).expect("a name");
        }
        let long = Event::new("x".repeat(66_000).leak(), place.clone()).with(long);
        let batch = vec![Event::new("check.pass", place.clone()), long];
        assert!(matches!(log.record_all(batch), Err(AuditError::EntryTooLong { .. })));
        assert_eq!(log.record_all(Vec::new()).expect("nothing to do"), 100..100);
        drop(log);
        assert_eq!(world.open().expect("opens").size(), 100);
    }

    #[test]
    fn proof_files_verify_with_the_key_alone() {
        let (_, log) = log_of(2);
        let key = VerifierKey::parse(&log.verifier_key()).expect("a key");
        let old = log.checkpoint().expect("signed");
        log.record(Event::new("server.stop", creta_iam::Place::Environment(prod()))).expect("written");
        let proof = log.inclusion_proof(200).expect("there");
        let read = InclusionProof::parse(&proof.to_string()).expect("own form");
        assert_eq!((read.verify(&key).expect("true").size, read.entry), (201, log.entry_bytes(200).expect("there")));
        let grown = ConsistencyProof::parse(&log.consistency_proof(&old).expect("it grew").to_string());
        let (old, new) = grown.expect("own form").verify(&key).expect("true");
        assert_eq!((old.size, new.size), (200, 201));
        assert!(matches!(log.inclusion_proof(201), Err(AuditError::OutOfRange { .. })));

        let (_, other) = log_of(3);
        let foreign = other.consistency_proof(&log.checkpoint().expect("signed"));
        assert!(matches!(foreign, Err(AuditError::Proof(ProofError::Inconsistent { size: 201 }))), "{foreign:?}");
    }
}
