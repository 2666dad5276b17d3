//! What a witness decides: C2SP tlog-witness, `add-checkpoint`. Pure; the program around it keeps the state and the key.
//!
//! A witness remembers, per log, the size and root of the largest checkpoint it cosigned. A log asks it to cosign a larger
//! one and proves that it continues that. Whoever demands the cosignature then knows that the log showed the witness and
//! them the same history. The program must read the state, [`consider`], store the new state durably and only then sign,
//! without another request of the same log in between; otherwise two requests could lead it back.

use std::fmt;

use serde::Serialize;

use crate::verify::verify_consistency;
use crate::{Checkpoint, Hash, ProofError, SignedCheckpoint, Time, VerifierKey};

/// Media type of the body that says which size the witness knows.
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";
/// Longest proof a request may carry, in hashes.
pub const PROOF_HASHES_MAX: usize = 63;

/// A request to cosign a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the checkpoint that the proof begins with: the largest that the witness cosigned, as the log believes.
    pub old: u64,
    /// That the tree of `old` entries is the beginning of that of `checkpoint`. Empty for an `old` of 0.
    pub proof: Vec<Hash>,
    /// What to cosign.
    pub checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// Reads a request's body.
    pub fn parse(body: &str) -> Result<Self, Refusal> {
        let malformed = |rule| Refusal::Malformed { rule };
        let (head, note) = body.split_once("\n\n").ok_or(malformed("it has no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(number);
        let old = old.ok_or(malformed("its first line is not `old` and a size"))?;
        let proof: Option<Vec<Hash>> = lines.map(Hash::from_base64).collect();
        let proof = proof.ok_or(malformed("a line of the proof is not 32 bytes of base64"))?;
        if proof.len() > PROOF_HASHES_MAX {
            return Err(malformed("its proof has more than 63 hashes"));
        }
        let checkpoint = SignedCheckpoint::parse(note).map_err(|_| malformed("its checkpoint is not a signed note"))?;
        if old > checkpoint.claimed().size {
            return Err(malformed("its old size is larger than its checkpoint"));
        }
        Ok(Self { old, proof, checkpoint })
    }
}

/// As it is sent.
impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be read.
    #[error("the request is malformed: {rule}")]
    Malformed {
        /// What is wrong with it.
        rule: &'static str,
    },
    /// The log is not one that this witness watches.
    #[error("log `{origin}` is not watched here; add its verifier key to the witness")]
    UnknownLog {
        /// The log that the checkpoint names.
        origin: String,
    },
    /// The log's key did not sign the checkpoint.
    #[error("the checkpoint is not believed")]
    NotSigned {
        /// Why not.
        source: ProofError,
    },
    /// The proof begins elsewhere than where the witness stands.
    #[error("this witness has cosigned {known} entries; prove that the checkpoint continues those")]
    OtherSize {
        /// Size of the largest checkpoint that was cosigned, 0 if none.
        known: u64,
    },
    /// The log signed another root for the size that the witness cosigned: two histories. Keep the request.
    #[error("this witness has cosigned another root for {known} entries: the log has signed two histories")]
    OtherRoot {
        /// The size in question.
        known: u64,
    },
    /// The proof does not show that the checkpoint continues what was cosigned.
    #[error("the checkpoint is not shown to continue the {known} entries that were cosigned")]
    NotConsistent {
        /// Size of the largest checkpoint that was cosigned.
        known: u64,
        /// Where the proof fails.
        source: ProofError,
    },
}

impl Refusal {
    /// The status that C2SP tlog-witness gives it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed { .. } => 400,
            Self::NotSigned { .. } => 403,
            Self::UnknownLog { .. } => 404,
            Self::OtherSize { .. } | Self::OtherRoot { .. } => 409,
            Self::NotConsistent { .. } => 422,
        }
    }

    /// The size to answer, as [`SIZE_MEDIA_TYPE`] and followed by a newline, where the log only has to start elsewhere.
    pub fn known_size(&self) -> Option<u64> {
        match self {
            Self::OtherSize { known } | Self::OtherRoot { known } => Some(*known),
            _ => None,
        }
    }

    /// Whether the log signed what cannot be true: the request is evidence against it and has to be kept.
    pub fn is_misbehaviour(&self) -> bool {
        matches!(self, Self::OtherRoot { .. })
    }
}

/// Whether to cosign. `known` is size and root of the largest checkpoint of this log that was cosigned, `key` the log's.
/// Gives the checkpoint to remember and to sign ([`Checkpoint::cosign`]). Time O(log of the size).
pub fn consider(known: Option<(u64, Hash)>, request: &AddCheckpoint, key: &VerifierKey) -> Result<Checkpoint, Refusal> {
    let claimed = request.checkpoint.claimed();
    if claimed.origin != key.name() {
        return Err(Refusal::UnknownLog { origin: claimed.origin.clone() });
    }
    let new = request.checkpoint.verify(key).map_err(|source| Refusal::NotSigned { source })?;
    if request.old > new.size {
        return Err(Refusal::Malformed { rule: "its old size is larger than its checkpoint" });
    }
    let (size, root) = known.unwrap_or((0, Hash::empty()));
    if request.old != size {
        return Err(Refusal::OtherSize { known: size });
    }
    if new.size == size && new.root != root {
        return Err(Refusal::OtherRoot { known: size });
    }
    verify_consistency(size, new.size, &root, &new.root, &request.proof)
        .map_err(|source| Refusal::NotConsistent { known: size, source })?;
    Ok(new)
}

/// That a witness cosigned a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witnessed {
    /// Name of the witness.
    pub witness: String,
    /// When, by its clock.
    pub time: Time,
}

/// Checks that every one of `witnesses` cosigned `checkpoint`, and with `after` not before that time. Whether the log
/// signed it is asked of [`SignedCheckpoint::verify`].
pub fn require_witnessed(
    checkpoint: &SignedCheckpoint,
    witnesses: &[VerifierKey],
    after: Option<Time>,
) -> Result<Vec<Witnessed>, ProofError> {
    let require = |key: &VerifierKey| {
        let (witness, time) = (key.name().to_owned(), checkpoint.cosigned(key)?);
        match after {
            Some(after) if time < after => Err(ProofError::WitnessedBefore { key: witness, at: time, after }),
            _ => Ok(Witnessed { witness, time }),
        }
    };
    witnesses.iter().map(require).collect()
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tree;
    use crate::testing::Key;
    use proptest::prelude::*;

    const LOG: &str = "creta/prod/audit";

    fn tree(entries: u64) -> Tree {
        let mut tree = Tree::default();
        (0..entries).for_each(|n| tree.push(Hash::leaf(&n.to_be_bytes())));
        tree
    }

    fn request(tree: &Tree, old: u64, new: u64) -> AddCheckpoint {
        let checkpoint = Key::log(LOG, 7).sign(new, tree.root(new).expect("within"));
        AddCheckpoint { old, proof: tree.consistency(old, new).expect("within"), checkpoint }
    }

    fn known(tree: &Tree, size: u64) -> Option<(u64, Hash)> {
        Some((size, tree.root(size).expect("within")))
    }

    fn status(known: Option<(u64, Hash)>, request: &AddCheckpoint) -> u16 {
        consider(known, request, &Key::log(LOG, 7).public).expect_err("refused").status()
    }

    #[test]
    fn the_request_has_the_form_of_the_specification() {
        let tree = tree(7);
        let request = request(&tree, 6, 7);
        let text = request.to_string();
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines[0], "old 6");
        assert_eq!(lines[1..4].iter().filter_map(|l| Hash::from_base64(l)).collect::<Vec<_>>(), request.proof);
        assert_eq!(lines[4..7], ["", LOG, "7"]);
        assert_eq!(AddCheckpoint::parse(&text).expect("own form"), request);
    }

    #[test]
    fn malformed_requests_are_refused() {
        let tree = tree(7);
        let text = request(&tree, 6, 7).to_string();
        for (what, from, to) in [
            ("another word", "old 6", "new 6"),
            ("a zero in front", "old 6", "old 06"),
            ("a sign", "old 6", "old +6"),
            ("an old size beyond the new one", "old 6", "old 8"),
            ("a short hash", "=\n", "\n"),
            ("no empty line", "\n\n", "\n"),
            ("a cut signature line", "\u{2014} ", ""),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text, "{what}");
            assert_eq!(AddCheckpoint::parse(&bad).expect_err(what).status(), 400, "{what}");
        }
        let long =
            text.replacen("old 6\n", &format!("old 6\n{}", format!("{}\n", Hash::empty().to_base64()).repeat(61)), 1);
        assert_eq!(AddCheckpoint::parse(&long).expect_err("64 hashes").status(), 400);
    }

    #[test]
    fn each_refusal_has_the_status_of_the_specification() {
        let (tree, other) = (tree(9), {
            let mut other = self::tree(5);
            (0..4).for_each(|_| other.push(Hash::leaf(b"another")));
            other
        });
        let good = request(&tree, 5, 9);
        let key = Key::log(LOG, 7).public;
        assert_eq!(consider(known(&tree, 5), &good, &key).expect("continues").size, 9);

        let unknown = consider(None, &good, &Key::log("creta/test/audit", 7).public);
        assert_eq!(unknown.expect_err("another log").status(), 404);
        assert_eq!(consider(None, &good, &Key::log(LOG, 8).public).expect_err("another key").status(), 403);
        assert_eq!(status(None, &good), 409);
        assert_eq!(status(known(&tree, 6), &good), 409);
        assert_eq!(consider(known(&tree, 6), &good, &key).expect_err("elsewhere").known_size(), Some(6));
        assert_eq!(status(known(&tree, 5), &AddCheckpoint { proof: vec![], ..good.clone() }), 422);
        assert_eq!(status(known(&other, 5), &AddCheckpoint { proof: request(&other, 6, 9).proof, ..good }), 422);
        let first = AddCheckpoint { proof: vec![Hash::empty()], ..request(&tree, 0, 9) };
        assert_eq!(status(None, &first), 422, "a first checkpoint needs no proof");
        let beyond = AddCheckpoint { old: 10, ..request(&tree, 9, 9) };
        assert_eq!(status(known(&tree, 9), &beyond), 400);
    }

    #[test]
    fn attack_ch44_a_fork_is_not_cosigned_and_is_evidence() {
        let (tree, mut fork) = (tree(9), self::tree(5));
        (0..4).for_each(|_| fork.push(Hash::leaf(b"another")));
        let key = Key::log(LOG, 7).public;
        let same_size = consider(known(&tree, 9), &request(&fork, 9, 9), &key).expect_err("another root");
        assert!(same_size.is_misbehaviour() && same_size.status() == 409, "{same_size:?}");
        // A witness at an entry where the branches still agree cannot tell; one beyond it can.
        consider(known(&tree, 5), &request(&fork, 5, 9), &key).expect("the fork continues what it has in common");
        assert_eq!(status(known(&tree, 7), &request(&fork, 7, 9)), 422);
        assert_eq!(status(known(&tree, 7), &request(&fork, 7, 7)), 409);
    }

    #[test]
    fn attack_ch44_a_rewound_log_is_not_cosigned_again() {
        let tree = tree(9);
        assert_eq!(status(known(&tree, 9), &request(&tree, 5, 8)), 409);
        assert_eq!(status(known(&tree, 9), &request(&tree, 8, 8)), 409);
    }

    #[test]
    fn the_same_checkpoint_is_cosigned_again_and_the_first_one_without_a_proof() {
        let (tree, key) = (tree(9), Key::log(LOG, 7).public);
        consider(known(&tree, 9), &request(&tree, 9, 9), &key).expect("again");
        consider(None, &request(&tree, 0, 9), &key).expect("first seen");
        consider(None, &request(&tree, 0, 0), &key).expect("empty");
        let empty = Key::log(LOG, 7).sign(0, Hash::leaf(b"not empty"));
        assert_eq!(status(None, &AddCheckpoint { old: 0, proof: vec![], checkpoint: empty }), 409);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn whatever_grows_is_cosigned_and_nothing_else(a in 0u64..60, b in 0u64..60, c in 0u64..60) {
            let (tree, key) = (tree(60), Key::log(LOG, 7).public);
            let (old, new) = (a.min(b), a.max(b));
            let asked = request(&tree, old, new);
            let parsed = AddCheckpoint::parse(&asked.to_string()).expect("own form");
            prop_assert_eq!(consider(known(&tree, c), &parsed, &key).is_ok(), c == old);
        }
    }
}
