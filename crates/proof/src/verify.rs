//! Verification that stands apart from the log: it takes bytes, texts and the verifier key, and trusts nothing else.
//!
//! What is signed: a checkpoint says "this log had `size` entries with this root". With it, an inclusion proof shows
//! that an entry is in the log, a consistency proof that an older checkpoint is its beginning, and all entries together
//! that none was edited, dropped or reordered. What no proof can show alone is that a log was not rolled back together
//! with its checkpoint: for that, keep the newest checkpoint you saw somewhere else.

use serde::Serialize;

use crate::{Checkpoint, Hash, ProofError, SignedCheckpoint, Time, VerifierKey, check_entry};

/// Reads a checkpoint and checks that `vkey` signed it for the origin it names.
pub fn verify_checkpoint(text: &str, vkey: &str) -> Result<Checkpoint, ProofError> {
    SignedCheckpoint::parse(text)?.verify(&VerifierKey::parse(vkey)?)
}

/// Checks that `entry` is the one at `index` of a tree of `size` entries and this root. The proof is ordered from the
/// leaf upwards. Follows RFC 9162 §2.1.3.2.
pub fn verify_inclusion(entry: &[u8], index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Proof { rule: "the entry's index lies beyond the tree" });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = Hash::leaf(entry);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Proof { rule: "the proof is too long" });
        }
        if node & 1 == 1 || node == last {
            hash = Hash::node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = Hash::node(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::Proof { rule: "the proof is too short" });
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Proof { rule: "the proof leads to another root" }) }
}

/// Checks that the tree of `old_size` entries is the beginning of that of `new_size`. Follows RFC 9162 §2.1.4.2.
///
/// An empty old tree is the beginning of every tree and needs no proof.
pub fn verify_consistency(
    old_size: u64,
    new_size: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    let wrong = |rule| Err(ProofError::Proof { rule });
    if old_size > new_size {
        return wrong("the old tree is larger than the new one");
    }
    if old_size == 0 && *old_root != Hash::empty() {
        return wrong("the old tree is empty and its root is not that of an empty tree");
    }
    if old_size == 0 || old_size == new_size {
        return match (proof.is_empty(), old_size < new_size || old_root == new_root) {
            (false, _) => wrong("the proof is too long"),
            (true, false) => wrong("the roots differ"),
            (true, true) => Ok(()),
        };
    }
    let mut rest = proof.iter();
    // Where the old tree is a complete subtree, its root is the first hash and is left out of the proof.
    let first = if old_size.is_power_of_two() { Some(old_root) } else { rest.next() };
    let Some(first) = first else { return wrong("the proof is too short") };
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return wrong("the proof is too long");
        }
        if node & 1 == 1 || node == last {
            old = Hash::node(sibling, &old);
            new = Hash::node(sibling, &new);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new = Hash::node(&new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return wrong("the proof is too short");
    }
    match (old == *old_root, new == *new_root) {
        (true, true) => Ok(()),
        (false, _) => wrong("the proof leads to another old root"),
        (true, false) => wrong("the proof leads to another new root"),
    }
}

/// What all entries of a log say together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogReport {
    /// How many entries.
    pub entries: u64,
    /// The root over them.
    pub root: Hash,
    /// Time of the first entry; `None` in an empty log.
    pub first_time: Option<Time>,
    /// Time of the last entry.
    pub last_time: Option<Time>,
    /// Indices of entries whose time is earlier than that of the entry before: somebody set the clock back.
    pub clock_set_back: Vec<u64>,
}

/// Checks all entries of a log, in order, against a verified checkpoint: none missing, none more, none edited, each in
/// the documented form. Memory O(log entries).
pub fn verify_log<E: AsRef<[u8]>>(
    checkpoint: &Checkpoint,
    entries: impl IntoIterator<Item = E>,
) -> Result<LogReport, ProofError> {
    let mut reader = LogReader::default();
    for entry in entries {
        reader.read(entry.as_ref())?;
    }
    let report = reader.report();
    check_extent(checkpoint, report.entries)?;
    if report.entries > checkpoint.size {
        return Err(ProofError::Longer { entries: report.entries, checkpoint: checkpoint.size });
    }
    if report.root == checkpoint.root { Ok(report) } else { Err(ProofError::Inconsistent { size: checkpoint.size }) }
}

/// A log has at least as many entries as it signed: otherwise [`ProofError::Shorter`].
pub fn check_extent(checkpoint: &Checkpoint, entries: u64) -> Result<(), ProofError> {
    if entries < checkpoint.size {
        return Err(ProofError::Shorter { entries, checkpoint: checkpoint.size });
    }
    Ok(())
}

/// Reads entries in order and keeps what a root needs: the roots of the complete subtrees, widest first.
#[derive(Debug, Default)]
pub struct LogReader {
    entries: u64,
    subtrees: Vec<Hash>,
    first_time: Option<Time>,
    last_time: Option<Time>,
    clock_set_back: Vec<u64>,
}

impl LogReader {
    /// Takes the next entry. An entry that does not have the documented form is [`ProofError::Entry`].
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), ProofError> {
        let index = self.entries;
        let time = check_entry(bytes).map_err(|rule| ProofError::Entry { index, rule })?;
        self.add(Hash::leaf(bytes), time);
        Ok(())
    }

    /// Takes the next entry of which leaf hash and time are known, its form being checked elsewhere.
    pub fn add(&mut self, leaf: Hash, time: Time) {
        if self.last_time.is_some_and(|last| time < last) {
            self.clock_set_back.push(self.entries);
        }
        self.first_time = self.first_time.or(Some(time));
        self.last_time = Some(time);

        self.subtrees.push(leaf);
        self.entries += 1;
        for _ in 0..self.entries.trailing_zeros() {
            let right = self.subtrees.pop().expect("an even count ends in two subtrees of one width");
            let left = self.subtrees.pop().expect("an even count ends in two subtrees of one width");
            self.subtrees.push(Hash::node(&left, &right));
        }
    }

    /// The root over what was read so far.
    pub fn root(&self) -> Hash {
        let joined = self.subtrees.iter().rev().copied().reduce(|right, left| Hash::node(&left, &right));
        joined.unwrap_or_else(Hash::empty)
    }

    /// How many were read.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// What was read, together.
    pub fn report(self) -> LogReport {
        LogReport {
            entries: self.entries,
            root: self.root(),
            first_time: self.first_time,
            last_time: self.last_time,
            clock_set_back: self.clock_set_back,
        }
    }
}
