//! Fork notices: an operator says that a log goes on from an older copy, and from which.
//!
//! After a disaster the newest copy of a data folder may be lost. The log that is put back then lacks entries that a
//! witness has seen, so the witness refuses it, and the server refuses to append. The way on is in the open: an entry
//! `fork.notice` in the log that goes on says which checkpoint is left behind and holds the digest of the reason, and a
//! notice file proves that entry to the witness's operator, who decides. Both heads then stay in the witness's file.

use creta_audit::{AuditError, Details, Entry, Event, Hash, Log};
use creta_iam::Place;
use creta_proof::{Checkpoint, SignedCheckpoint, VerifierKey, verify};
use serde::{Deserialize, Serialize};

/// Version of [`ForkNotice::format`].
pub const FORK_FORMAT: &str = "creta.fork/1";
/// The entry.
pub(crate) const NOTICE: &str = "fork.notice";

/// What the operator of a log gives to the operator of a witness. Self-contained, and good for one witness and one head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkNotice {
    /// [`FORK_FORMAT`].
    pub format: String,
    /// The verifier key of the witness it is for.
    pub witness: String,
    /// Why.
    pub reason: String,
    /// The newest checkpoint of the history that is left behind, as the witness showed it.
    pub left: String,
    /// Index of the entry that declares it.
    pub index: u64,
    /// That entry.
    pub entry: String,
    /// That it is in the log of `checkpoint`: hashes in base64, from the leaf upwards.
    pub proof: Vec<String>,
    /// The log that goes on.
    pub checkpoint: String,
}

/// Records that the log goes on without what `left` covers, and proves it. Durable when this returns.
pub(crate) fn declare(
    log: &Log,
    witness: &VerifierKey,
    left: &SignedCheckpoint,
    reason: &str,
) -> Result<ForkNotice, AuditError> {
    let size = log.size();
    let of = |text: &str| *Hash::of(&[text.as_bytes()]).as_bytes();
    let details = Details::none()
        .digest("witness", of(&witness.to_string()))?
        .count("left-size", left.claimed().size)?
        .digest("left-root", *left.claimed().root.as_bytes())?
        .digest("reason", of(reason))?
        .count("size", size)?
        .digest("root", *log.root(size)?.as_bytes())?;
    let place = Place::Environment(log.environment().clone());
    let index = log.record(Event::new(NOTICE, place).with(details).for_commitment("CH-44"))?;
    let signed = log.checkpoint()?;
    let proof = log.prove_inclusion(index, signed.claimed().size)?;
    Ok(ForkNotice {
        format: FORK_FORMAT.to_owned(),
        witness: witness.to_string(),
        reason: reason.to_owned(),
        left: left.to_string(),
        index,
        entry: String::from_utf8_lossy(&log.entry_bytes(index)?).into_owned(),
        proof: proof.iter().map(Hash::to_base64).collect(),
        checkpoint: signed.to_string(),
    })
}

/// Whether the log has declared to go on without `left`.
pub(crate) fn is_declared(log: &Log, witness: &VerifierKey, left: &Checkpoint) -> Result<bool, AuditError> {
    Ok(entries_of(log, &[NOTICE])?.iter().any(|(_, entry)| declares(entry, witness, left)))
}

/// Whether an entry declares, to this witness, to go on without `left`.
fn declares(entry: &Entry, witness: &VerifierKey, left: &Checkpoint) -> bool {
    let says = |name: &str, value: &str| entry.details.get(name).is_some_and(|detail| detail == value);
    entry.action == NOTICE
        && says("witness", &digest_of(&witness.to_string()))
        && says("left-size", &left.size.to_string())
        && says("left-root", &digest(left.root.as_bytes()))
}

/// Entries of some actions, each with its index, in order. Looks at every entry and parses those few.
pub(crate) fn entries_of(log: &Log, actions: &[&str]) -> Result<Vec<(u64, Entry)>, AuditError> {
    entries_since(log, 0, actions)
}

/// The same from some entry on.
pub(crate) fn entries_since(log: &Log, first: u64, actions: &[&str]) -> Result<Vec<(u64, Entry)>, AuditError> {
    // Canonical JSON writes an action in one way only, and no detail may hold quotation marks.
    let texts: Vec<String> = actions.iter().map(|action| format!("\"action\":\"{action}\"")).collect();
    let mut found = Vec::new();
    for index in first..log.size() {
        let bytes = log.entry_bytes(index)?;
        if texts.iter().any(|text| memchr::memmem::find(&bytes, text.as_bytes()).is_some()) {
            let entries = log.entries(index..index + 1)?;
            let meant = entries.into_iter().filter(|entry| actions.contains(&entry.action.as_str()));
            found.extend(meant.map(|entry| (index, entry)));
        }
    }
    Ok(found)
}

impl ForkNotice {
    /// Checks everything that this notice says, for the witness of `own`, where `newest` is what it cosigned last. Gives
    /// the checkpoint to go on from. The error says what is wrong.
    pub(super) fn verify(
        &self,
        log: &VerifierKey,
        own: &VerifierKey,
        newest: &Checkpoint,
    ) -> Result<Checkpoint, String> {
        if self.format != FORK_FORMAT {
            return Err(format!("its format is `{}`, and this build reads `{FORK_FORMAT}`", self.format));
        }
        if self.witness != own.to_string() {
            return Err("it is for another witness".to_owned());
        }
        let signed = |note: &str| SignedCheckpoint::parse(note)?.verify(log);
        let left = signed(&self.left).map_err(|error| error.to_string())?;
        if left != *newest {
            return Err(format!(
                "it leaves a checkpoint of {} entries, and the newest one cosigned here has {}: it was used before, or is \
                 older than that",
                left.size, newest.size
            ));
        }
        let taken = signed(&self.checkpoint).map_err(|error| error.to_string())?;
        let proof: Option<Vec<Hash>> = self.proof.iter().map(|hash| Hash::from_base64(hash)).collect();
        let proof = proof.ok_or("its proof holds something that is no hash")?;
        verify::verify_inclusion(self.entry.as_bytes(), self.index, taken.size, &proof, &taken.root)
            .map_err(|error| error.to_string())?;
        let entry = Entry::parse(self.entry.as_bytes())?;
        if !declares(&entry, own, newest) || entry.details.get("reason") != Some(&digest_of(&self.reason)) {
            return Err("the entry it shows does not declare this fork for this reason".to_owned());
        }
        Ok(taken)
    }
}

fn digest(bytes: &[u8; 32]) -> String {
    format!("sha256:{}", hex::encode(bytes))
}

fn digest_of(text: &str) -> String {
    digest(Hash::of(&[text.as_bytes()]).as_bytes())
}
