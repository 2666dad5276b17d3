//! Proofs as text files that stand for themselves: whoever has one and the log's key needs nothing else.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::verify::{verify_consistency, verify_inclusion};
use crate::{Checkpoint, Hash, ProofError, SignedCheckpoint, VerifierKey, check_entry};

const INCLUSION: &str = "c2sp.org/tlog-proof@v1";
const CONSISTENCY: &str = "creta.consistency/1";
const HASHES_MAX: usize = 64; // One for each bit of a size.

/// A proof file of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofFile {
    /// That an entry is in the log.
    Inclusion(InclusionProof),
    /// That a log continues an older state of itself.
    Consistency(ConsistencyProof),
}

impl ProofFile {
    /// Reads either kind; the first line tells which.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        match text.split('\n').next() {
            Some(CONSISTENCY) => ConsistencyProof::parse(text).map(Self::Consistency),
            Some(INCLUSION) => InclusionProof::parse(text).map(Self::Inclusion),
            _ => Err(ProofError::ProofFile { rule: "its first line names no kind of proof that is known here" }),
        }
    }
}

/// That an entry is in the log: C2SP tlog-proof, with the entry as its extra data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The bytes of the entry, as they are hashed.
    pub entry: Vec<u8>,
    /// Its place in the log, from 0.
    pub index: u64,
    /// Siblings from the leaf upwards.
    pub proof: Vec<Hash>,
    /// The log's checkpoint, with cosignatures if there are any.
    pub checkpoint: SignedCheckpoint,
}

impl InclusionProof {
    /// Reads the file. One without the entry is refused: there is nothing here to look it up in.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let malformed = |rule| ProofError::ProofFile { rule };
        let (head, note) = text.split_once("\n\n").ok_or(malformed("it has no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(INCLUSION) {
            return Err(malformed("its first line is not `c2sp.org/tlog-proof@v1`"));
        }
        let entry = lines.next().and_then(|line| line.strip_prefix("extra "));
        let entry = entry.ok_or(malformed("it does not carry the entry in a line `extra`"))?;
        let entry = STANDARD.decode(entry).map_err(|_| malformed("its entry is not base64"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.ok_or(malformed("it has no line `index`"))?;
        let number = index.parse().ok().filter(|number: &u64| number.to_string() == index);
        let number = number.ok_or(malformed("its index is not a plain number"))?;
        Ok(Self { entry, index: number, proof: hashes(lines)?, checkpoint: SignedCheckpoint::parse(note)? })
    }

    /// Checks that `key`, the log's, signed the checkpoint and that the entry is in the log it speaks of, in the form the
    /// log writes. Gives the checkpoint.
    pub fn verify(&self, key: &VerifierKey) -> Result<Checkpoint, ProofError> {
        let checkpoint = self.checkpoint.verify(key)?;
        verify_inclusion(&self.entry, self.index, checkpoint.size, &self.proof, &checkpoint.root)?;
        check_entry(&self.entry).map_err(|rule| ProofError::Entry { index: self.index, rule })?;
        Ok(checkpoint)
    }
}

/// As it is written.
impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{INCLUSION}\nextra {}\nindex {}\n", STANDARD.encode(&self.entry), self.index)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// That a log continues an older state of itself: `creta.consistency/1`. Lines: that name, the older checkpoint, an empty
/// line, the hashes of the proof, an empty line, the newer checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The older checkpoint.
    pub old: SignedCheckpoint,
    /// PROOF(old size, D[new size]) of RFC 6962 §2.1.2.
    pub proof: Vec<Hash>,
    /// The newer checkpoint.
    pub new: SignedCheckpoint,
}

impl ConsistencyProof {
    /// Reads the file.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let malformed = |rule| ProofError::ProofFile { rule };
        let text = text.strip_prefix(CONSISTENCY).and_then(|text| text.strip_prefix('\n'));
        let text = text.ok_or(malformed("its first line is not `creta.consistency/1`"))?;
        // A checkpoint has one empty line of its own; the next one ends it.
        let own = text.find("\n\n").ok_or(malformed("it has no older checkpoint"))? + 2;
        let end = text[own..].find("\n\n").ok_or(malformed("its older checkpoint does not end"))? + own + 1;
        let (old, rest) = (&text[..end], &text[end + 1..]);
        let (proof, new) = match rest.strip_prefix('\n') {
            Some(new) => (Vec::new(), new),
            None => {
                let cut = rest.split_once("\n\n").ok_or(malformed("it has no newer checkpoint"))?;
                (hashes(cut.0.split('\n'))?, cut.1)
            }
        };
        Ok(Self { old: SignedCheckpoint::parse(old)?, proof, new: SignedCheckpoint::parse(new)? })
    }

    /// Checks that `key`, the log's, signed both checkpoints and that the newer continues the older. Gives both.
    pub fn verify(&self, key: &VerifierKey) -> Result<(Checkpoint, Checkpoint), ProofError> {
        let (old, new) = (self.old.verify(key)?, self.new.verify(key)?);
        verify_consistency(old.size, new.size, &old.root, &new.root, &self.proof)?;
        Ok((old, new))
    }
}

/// As it is written.
impl fmt::Display for ConsistencyProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CONSISTENCY}\n{}\n", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.new)
    }
}

fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, ProofError> {
    let hashes: Option<Vec<Hash>> = lines.map(Hash::from_base64).collect();
    let hashes = hashes.ok_or(ProofError::ProofFile { rule: "a line of its proof is not 32 bytes of base64" })?;
    if hashes.len() > HASHES_MAX {
        return Err(ProofError::ProofFile { rule: "its proof is longer than any log needs" });
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;
    use crate::testing::{self, Key};
    use proptest::prelude::*;

    fn key() -> Key {
        Key::log("creta/prod/audit", 7)
    }

    fn inclusion(index: u64, size: u64) -> InclusionProof {
        let (tree, entries) = testing::log(size);
        InclusionProof {
            entry: entries[usize::try_from(index).expect("small")].clone(),
            index,
            proof: tree.inclusion(index, size).expect("within"),
            checkpoint: key().sign(size, tree.root(size).expect("within")),
        }
    }

    fn consistency(old: u64, new: u64) -> ConsistencyProof {
        let (tree, _) = testing::log(new);
        let signed = |size| key().sign(size, tree.root(size).expect("within"));
        ConsistencyProof { old: signed(old), proof: tree.consistency(old, new).expect("within"), new: signed(new) }
    }

    #[test]
    fn an_inclusion_proof_has_the_form_of_the_specification() {
        let proof = inclusion(2, 5);
        let text = proof.to_string();
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines[0], "c2sp.org/tlog-proof@v1");
        assert_eq!(STANDARD.decode(lines[1].strip_prefix("extra ").expect("extra")).expect("base64"), proof.entry);
        assert_eq!(lines[2], "index 2");
        assert_eq!(lines[3..6].iter().filter_map(|line| Hash::from_base64(line)).collect::<Vec<_>>(), proof.proof);
        assert_eq!(lines[6..9], ["", "creta/prod/audit", "5"]);
        assert_eq!(ProofFile::parse(&text).expect("own form"), ProofFile::Inclusion(proof));
    }

    #[test]
    fn a_consistency_proof_is_checkpoint_hashes_checkpoint() {
        let proof = consistency(3, 5);
        let text = proof.to_string();
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines[..3], ["creta.consistency/1", "creta/prod/audit", "3"]);
        assert!(lines[4].is_empty() && lines[5].starts_with('\u{2014}') && lines[6].is_empty(), "{text}");
        assert_eq!(lines[7..11].iter().filter_map(|line| Hash::from_base64(line)).collect::<Vec<_>>(), proof.proof);
        assert_eq!(lines[11..14], ["", "creta/prod/audit", "5"]);
        assert_eq!(ProofFile::parse(&text).expect("own form"), ProofFile::Consistency(proof));
    }

    #[test]
    fn cosignatures_travel_with_a_proof() {
        let witness = Key::witness("witness.example/w1", 3);
        let at = Time::parse("2026-03-01T12:00:00Z").expect("valid");
        let mut proof = inclusion(2, 5);
        let line = witness.cosign(proof.checkpoint.claimed(), at);
        proof.checkpoint = proof.checkpoint.with_signatures(&line).expect("well formed");
        let read = InclusionProof::parse(&proof.to_string()).expect("own form");
        read.verify(&key().public).expect("true");
        assert_eq!(read.checkpoint.cosigned(&witness.public), Ok(at));
        let mut grown = consistency(2, 5);
        (grown.old, grown.new) = (grown.old.with_signatures(&line).expect("well formed"), proof.checkpoint);
        let read = ConsistencyProof::parse(&grown.to_string()).expect("own form");
        assert_eq!(read, grown);
        assert_eq!(read.new.cosigned(&witness.public), Ok(at));
    }

    #[test]
    fn other_files_are_refused() {
        let (inclusion, consistency) = (inclusion(2, 5).to_string(), consistency(3, 5).to_string());
        for (what, good, from, to) in [
            ("another version", &inclusion, "@v1", "@v2"),
            ("no entry", &inclusion, "extra ", "other "),
            ("no index", &inclusion, "index ", "place "),
            ("zeroes in front", &inclusion, "index 2", "index 02"),
            ("a cut hash", &inclusion, "=\n", "\n"),
            ("no empty line", &inclusion, "\n\n", "\n"),
            ("another version", &consistency, "consistency/1", "consistency/2"),
            ("no older checkpoint", &consistency, "\n\n", "\n"),
            ("cut after the older one", &consistency, "\ncreta/prod/audit\n5", "creta/prod/audit\n5"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, *good, "{what}");
            let error = ProofFile::parse(&bad).expect_err(what);
            assert!(error.is_unreadable(), "{what}: {error:?}");
        }
        assert!(ProofFile::parse("").is_err() && ProofFile::parse("{}").is_err());
        let hashes = format!("{}\n", Hash::empty().to_base64()).repeat(65);
        let long = inclusion.replacen("\n\n", &format!("\n{hashes}\n"), 1);
        assert!(ProofFile::parse(&long).is_err());
    }

    #[test]
    fn attack_ch44_a_proven_entry_still_has_to_be_an_entry() {
        let mut tree = crate::Tree::default();
        tree.push(Hash::leaf(b"not an entry"));
        let checkpoint = key().sign(1, tree.root(1).expect("within"));
        let proof = InclusionProof { entry: b"not an entry".to_vec(), index: 0, proof: vec![], checkpoint };
        assert!(matches!(proof.verify(&key().public), Err(ProofError::Entry { index: 0, .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(80))]

        #[test]
        fn files_are_read_as_they_are_written_and_verify(a in 0u64..40, b in 1u64..40) {
            let (index, size) = (a % b, b);
            let read = InclusionProof::parse(&inclusion(index, size).to_string()).expect("own form");
            prop_assert_eq!(read.verify(&key().public).expect("true").size, size);
            let (old, new) = (a.min(b), a.max(b));
            let read = ConsistencyProof::parse(&consistency(old, new).to_string()).expect("own form");
            let (old_read, new_read) = read.verify(&key().public).expect("true");
            prop_assert_eq!((old_read.size, new_read.size), (old, new));
        }

        #[test]
        fn attack_ch44_change_any_character_of_a_proof(at: prop::sample::Index, with in "[ -~\n]", which: bool) {
            let text = if which { inclusion(2, 5).to_string() } else { consistency(3, 5).to_string() };
            let mut changed: Vec<char> = text.chars().collect();
            let at = at.index(changed.len());
            changed[at] = with.chars().next().expect("one character");
            let changed: String = changed.into_iter().collect();
            prop_assume!(changed != text);
            let verified = match ProofFile::parse(&changed) {
                Ok(ProofFile::Inclusion(proof)) => proof.verify(&key().public).is_ok(),
                Ok(ProofFile::Consistency(proof)) => proof.verify(&key().public).is_ok(),
                Err(_) => false,
            };
            prop_assert!(!verified, "character {}", at);
        }

        #[test]
        fn texts_that_are_no_proof_are_refused(text in "(c2sp.org/tlog-proof@v1|creta.consistency/1)(\\PC|\n){0,80}") {
            prop_assert!(ProofFile::parse(&text).is_err());
        }
    }
}
