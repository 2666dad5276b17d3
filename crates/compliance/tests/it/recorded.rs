//! A log in which runs of two checks stand among other entries, with the evidence of each run.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use creta_compliance::pack::{self, PackInput};
use creta_compliance::{
    Collector, CommitmentId, Evidence, Finding, Ledger, LogLine, Observation, Outcome, Registry, Run, detail,
};
use creta_model::{Environment, Instant, Span};
use creta_proof::{Checkpoint, Hash, InclusionProof, KeyKind, SignedCheckpoint, Tree, VerifierKey};
use serde_json::Value;

/// The checks that run.
pub(crate) const CHECKS: [&str; 2] = ["isolation", "route-permits"];

pub(crate) struct Recorded {
    pub(crate) registry: Registry,
    pub(crate) ledger: Ledger,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) evidence: BTreeMap<u64, Evidence>,
    pub(crate) tree: Tree,
    key: Key,
}

pub(crate) struct Key {
    pair: Ed25519KeyPair,
    pub(crate) public: VerifierKey,
}

impl Key {
    pub(crate) fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes");
        let public = pair.public_key().as_ref().try_into().expect("32 bytes");
        Self { pair, public: VerifierKey::new(KeyKind::Log, "creta/prod/audit", public).expect("a name") }
    }

    pub(crate) fn sign(&self, size: u64, root: Hash) -> SignedCheckpoint {
        let checkpoint = Checkpoint { origin: "creta/prod/audit".to_owned(), size, root };
        checkpoint.sign(&self.public, |text| self.pair.sign(text).as_ref().try_into().expect("64 bytes"))
    }
}

/// One planned run: the check, minutes after the log began, and how it ends.
pub(crate) type Plan<'a> = (&'a str, u32, Outcome);

pub(crate) fn at(minutes: u32) -> Instant {
    Instant::parse("2026-03-01T12:00:00Z").expect("valid").plus(Span::seconds(minutes * 60))
}

pub(crate) fn prod() -> Environment {
    Environment::parse("prod").expect("valid")
}

impl Recorded {
    /// Runs in the order given, with another entry after each.
    pub(crate) fn new(plan: &[Plan<'_>]) -> Self {
        Self::claiming(plan, &[])
    }

    /// The same, where some runs, by their place in the plan, claim another run before them than there was.
    pub(crate) fn claiming(plan: &[Plan<'_>], claims: &[(usize, Option<Instant>)]) -> Self {
        let mut recorded = Self {
            registry: Registry::embedded(),
            ledger: Ledger::default(),
            entries: Vec::new(),
            evidence: BTreeMap::new(),
            tree: Tree::default(),
            key: Key::new(7),
        };
        recorded.log(&at(0), "server.start", &BTreeMap::new());
        for (turn, (check, minutes, outcome)) in plan.iter().enumerate() {
            let latest = recorded.ledger.latest(check).map(|latest| latest.observed_at);
            let since = claims.iter().find(|(claiming, _)| *claiming == turn).map_or(latest, |(_, claim)| *claim);
            recorded.run(turn, check, *minutes, *outcome, since);
            recorded.log(&at(*minutes), "deploy", &BTreeMap::new());
        }
        recorded
    }

    fn log(&mut self, time: &Instant, action: &str, details: &BTreeMap<String, String>) {
        let mut entry = serde_json::json!({
            "version": "creta.audit/1", "time": time.to_string(), "environment": "prod", "action": action,
        });
        if !details.is_empty() {
            entry["details"] = serde_json::to_value(details).expect("texts");
        }
        let bytes = serde_json_canonicalizer::to_vec(&entry).expect("texts");
        self.tree.push(Hash::leaf(&bytes));
        let index = self.entries.len() as u64;
        self.ledger.read(LogLine { index, time: *time, action, refused: false, commitment: None, details });
        self.entries.push(bytes);
    }

    fn run(&mut self, turn: usize, check: &str, minutes: u32, outcome: Outcome, since: Option<Instant>) {
        let definition = self.registry.check(check).expect("ships");
        let commitments: Vec<CommitmentId> = self.registry.watched_by(check).map(|row| row.id.clone()).collect();
        let collector = Collector {
            name: "server/abc".to_owned(),
            place: "server process".to_owned(),
            environment: prod(),
            code_version: "0.1.0".to_owned(),
        };
        let run = Run {
            id: format!("run-{turn}"),
            since,
            observed_at: at(minutes),
            received_at: at(minutes),
            noticed_planted_fault: true,
        };
        let subjects = (0..4).map(|number| format!("listener:{check}-{number}, \"{}\"", number + turn % 2)).collect();
        let findings = match outcome {
            Outcome::Fail => {
                vec![Finding::new(format!("listener:{check}-1, \"{}\"", 1 + turn % 2), "a/b", "it is open")]
            }
            Outcome::Pass | Outcome::Unknown => Vec::new(),
        };
        let could_not = (outcome == Outcome::Unknown).then(|| "nobody answered".to_owned());
        let raw = serde_json::json!({"turn": turn, "answers": ["a", "b"]});
        let seen = Observation { subjects, findings, could_not, raw };
        let evidence = Evidence::judge(definition, commitments, &collector, run, seen);
        assert_eq!(evidence.outcome, outcome);
        let details: BTreeMap<String, String> = [
            (detail::CHECK, check.to_owned()),
            (detail::EVIDENCE, format!("sha256:{}", evidence.digest())),
            (detail::POPULATION, format!("sha256:{}", evidence.population)),
            (detail::SUBJECTS, evidence.subjects.len().to_string()),
            (detail::OBSERVED_AT, evidence.observed_at.to_string()),
            (detail::RUN, evidence.run.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let index = self.entries.len() as u64;
        self.log(&at(minutes), Ledger::action(outcome), &details);
        self.evidence.insert(index, evidence);
    }

    /// The same evidence under a log whose entry at `index` says something else.
    pub(crate) fn logged_as(mut self, index: u64, edit: impl FnOnce(&mut Value)) -> Self {
        let entry = &mut self.entries[usize::try_from(index).expect("small")];
        let mut value = serde_json::from_slice(entry).expect("an entry");
        edit(&mut value);
        *entry = serde_json_canonicalizer::to_vec(&value).expect("texts");
        self.tree = Tree::default();
        self.entries.iter().for_each(|entry| self.tree.push(Hash::leaf(entry)));
        self
    }

    pub(crate) fn vkey(&self) -> String {
        self.key.public.to_string()
    }

    pub(crate) fn checkpoint(&self, key: &Key) -> SignedCheckpoint {
        key.sign(self.tree.len(), self.tree.root(self.tree.len()).expect("whole"))
    }

    /// The proof file of an entry.
    pub(crate) fn proof(&self, index: u64, key: &Key) -> String {
        let proof = InclusionProof {
            entry: self.entries[usize::try_from(index).expect("small")].clone(),
            index,
            proof: self.tree.inclusion(index, self.tree.len()).expect("within"),
            checkpoint: self.checkpoint(key),
        };
        proof.to_string()
    }

    /// A commitment that the first check watches, and one that both do.
    pub(crate) fn controls(&self) -> Vec<CommitmentId> {
        ["CH-03", "CH-20"].map(|id| CommitmentId::parse(id).expect("an id")).into()
    }

    /// A pack for the minutes `from..until`, signed by `key`; the evidence of runs in `lost` is gone.
    pub(crate) fn pack_by(&self, key: &Key, from: u32, until: u32, lost: &[u64]) -> Result<Vec<u8>, pack::PackError> {
        pack::write(&PackInput {
            registry: &self.registry,
            ledger: &self.ledger,
            environment: &prod(),
            controls: &self.controls(),
            from: at(from),
            until: at(until),
            seed: "4711-auditor",
            sample: 3,
            checkpoint: self.checkpoint(key).as_str(),
            size: self.tree.len(),
            verifier_key: &key.public.to_string(),
            evidence: &|run| {
                let found = self.evidence.get(&run.index).filter(|_| !lost.contains(&run.index));
                Ok(found.map(Evidence::to_bytes))
            },
            proof: &|index| Ok(self.proof(index, key)),
        })
    }

    pub(crate) fn pack(&self, from: u32, until: u32) -> Vec<u8> {
        self.pack_by(&self.key, from, until, &[]).expect("makes a pack")
    }
}
