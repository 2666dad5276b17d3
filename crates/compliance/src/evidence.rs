//! Evidence: what one run of a check saw, of what, when, by which code. Never typed in by anybody.

use std::collections::BTreeSet;

use creta_model::{Environment, Instant};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};

use crate::CommitmentId;

/// The form of evidence that this build writes and reads.
pub const EVIDENCE_FORMAT: &str = "creta.evidence/1";

/// The raw output of a check is at most so long; a check that saw more keeps a digest of it.
pub const RAW_BYTES_MAX: usize = 32 * 1024;

/// How a run of a check ended. There is no fourth way, and no default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It looked at everything and found nothing wrong.
    Pass,
    /// It found something wrong.
    Fail,
    /// It could not look, or did not notice its own planted fault. Never shown as pass.
    Unknown,
}

impl Outcome {
    /// `pass`, `fail` or `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// Something that is not as promised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What it concerns, as the inventory names it.
    pub subject: String,
    /// A stable code: `inventory/undeclared`.
    pub code: String,
    /// For people: what is wrong and what to do. Never a feature value, a secret or the name of a tenant.
    pub says: String,
}

impl Finding {
    /// A finding.
    pub fn new(subject: impl Into<String>, code: impl Into<String>, says: impl Into<String>) -> Self {
        Self { subject: subject.into(), code: code.into(), says: says.into() }
    }
}

/// What a check saw and where, before anybody judged whether it may count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// Everything it looked at, as the inventory names it.
    pub subjects: BTreeSet<String>,
    /// What is not as promised.
    pub findings: Vec<Finding>,
    /// Why it could not look, if it could not.
    pub could_not: Option<String>,
    /// What it read and was answered, for whoever wants to judge again.
    pub raw: serde_json::Value,
}

/// One run of a check, as it is kept: canonical JSON (RFC 8785). Its SHA-256 stands in the audit log before the document
/// is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`EVIDENCE_FORMAT`].
    pub format: String,
    /// Which check.
    pub check: String,
    /// Digest of the check's definition together with the version of the code that ran it.
    pub check_digest: Hash,
    /// Version of the code that ran.
    pub code_version: String,
    /// Who collected it: `server/<environment id>`.
    pub collector: String,
    /// Where it ran: `server process`, `witness`.
    pub place: String,
    /// The environment it is about.
    pub environment: Environment,
    /// The commitments it speaks for.
    pub commitments: Vec<CommitmentId>,
    /// A random name of this run, so that no run counts twice.
    pub run: String,
    /// Everything looked at, in order.
    pub subjects: Vec<String>,
    /// SHA-256 of the canonical JSON of `subjects`.
    pub population: Hash,
    /// Begin of the time it speaks for: the previous run, or the observation itself.
    pub from: Instant,
    /// When it looked.
    pub observed_at: Instant,
    /// When it was accepted. Never earlier than `observed_at`.
    pub received_at: Instant,
    /// How it ended.
    pub outcome: Outcome,
    /// What is not as promised, in order.
    pub findings: Vec<Finding>,
    /// Why it ended `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub could_not: Option<String>,
    /// Whether the check turned red at the fault planted for it just before.
    pub noticed_planted_fault: bool,
    /// SHA-256 of `raw`.
    pub raw_digest: Hash,
    /// What was read and answered, as text; empty when it was too long to keep.
    pub raw: String,
}

/// Where and by what a check is run; the same for all checks of a runner.
#[derive(Debug, Clone)]
pub struct Collector {
    /// `server/<environment id>`.
    pub name: String,
    /// `server process`.
    pub place: String,
    /// The environment.
    pub environment: Environment,
    /// Version of the code.
    pub code_version: String,
}

/// When a run of a check took place, and under which name.
#[derive(Debug, Clone)]
pub struct Run {
    /// Random name.
    pub id: String,
    /// The previous observation of the same check, if any.
    pub since: Option<Instant>,
    /// When the check looked.
    pub observed_at: Instant,
    /// When its observation arrived.
    pub received_at: Instant,
    /// Whether it noticed the fault planted for it just before.
    pub noticed_planted_fault: bool,
}

/// Why a piece of evidence does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Its form is not the documented one.
    #[error("this is not evidence of the form `{EVIDENCE_FORMAT}`: {rule}")]
    Form {
        /// What it lacks.
        rule: &'static str,
    },
    /// It claims to have been seen after it was received.
    #[error("evidence of `{check}` claims an observation later than its arrival; check the collector's clock")]
    FromTheFuture {
        /// Which check.
        check: String,
    },
    /// The same run, or an older one, was already counted.
    #[error("evidence of `{check}` repeats an observation that was already counted; run the check again")]
    Replayed {
        /// Which check.
        check: String,
    },
    /// It says one thing and shows another.
    #[error("evidence of `{check}` contradicts itself: {rule}")]
    Contradiction {
        /// Which check.
        check: String,
        /// What does not fit.
        rule: &'static str,
    },
}

impl Evidence {
    /// Judges an observation. A check that did not notice the fault planted for it ends `unknown`, whatever it saw; so
    /// does one that saw nothing at all, since an empty population proves nothing.
    pub fn judge(
        check: &crate::CheckDefinition,
        commitments: Vec<CommitmentId>,
        collector: &Collector,
        run: Run,
        seen: Observation,
    ) -> Self {
        let could_not = match &seen.could_not {
            Some(reason) => Some(reason.clone()),
            None if !run.noticed_planted_fault => Some("the check did not notice the fault planted for it".to_owned()),
            None if seen.subjects.is_empty() && seen.findings.is_empty() => {
                Some("there was nothing to look at".to_owned())
            }
            None => None,
        };
        let outcome = match (&could_not, seen.findings.is_empty()) {
            (Some(_), true) => Outcome::Unknown,
            (_, false) => Outcome::Fail,
            (None, true) => Outcome::Pass,
        };
        let subjects: Vec<String> = seen.subjects.into_iter().collect();
        let raw = seen.raw.to_string();
        let mut findings = seen.findings;
        findings.sort_unstable();
        Self {
            format: EVIDENCE_FORMAT.to_owned(),
            check: check.id.clone(),
            check_digest: check.digest(&collector.code_version),
            code_version: collector.code_version.clone(),
            collector: collector.name.clone(),
            place: collector.place.clone(),
            environment: collector.environment.clone(),
            commitments,
            run: run.id,
            population: digest(&subjects),
            subjects,
            from: run.since.unwrap_or(run.observed_at),
            observed_at: run.observed_at,
            received_at: run.received_at,
            outcome,
            findings,
            could_not,
            noticed_planted_fault: run.noticed_planted_fault,
            raw_digest: Hash::of(&[raw.as_bytes()]),
            raw: if raw.len() <= RAW_BYTES_MAX { raw } else { String::new() },
        }
    }

    /// Reads evidence and checks that it does not contradict itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let evidence: Self =
            serde_json::from_slice(bytes).map_err(|_| EvidenceError::Form { rule: "it does not have its members" })?;
        if evidence.to_bytes() != bytes {
            return Err(EvidenceError::Form { rule: "it is not canonical JSON" });
        }
        evidence.require_consistent()?;
        Ok(evidence)
    }

    /// The bytes whose digest stands in the log.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(self)
    }

    /// SHA-256 of [`Evidence::to_bytes`].
    pub fn digest(&self) -> Hash {
        Hash::of(&[&self.to_bytes()])
    }

    /// Times in order (R3), digests that fit, and an outcome that follows from what was seen.
    pub fn require_consistent(&self) -> Result<(), EvidenceError> {
        let contradiction = |rule| Err(EvidenceError::Contradiction { check: self.check.clone(), rule });
        if self.format != EVIDENCE_FORMAT {
            return Err(EvidenceError::Form { rule: "its format is not known to this build" });
        }
        if self.observed_at > self.received_at {
            return Err(EvidenceError::FromTheFuture { check: self.check.clone() });
        }
        if self.from > self.observed_at {
            return contradiction("its period begins after its observation");
        }
        if self.population != digest(&self.subjects) {
            return contradiction("its population is not the subjects it lists");
        }
        if !self.subjects.is_sorted_by(|a, b| a < b) {
            return contradiction("its subjects are not in order, each once");
        }
        if !self.raw.is_empty() && self.raw_digest != Hash::of(&[self.raw.as_bytes()]) {
            return contradiction("its raw output is not what its digest says");
        }
        match self.outcome {
            Outcome::Pass if !self.findings.is_empty() => contradiction("it passes with findings"),
            Outcome::Pass if self.could_not.is_some() => contradiction("it passes although it could not look"),
            Outcome::Pass if !self.noticed_planted_fault => contradiction("it passes without its planted fault"),
            Outcome::Pass if self.subjects.is_empty() => contradiction("it passes without a subject"),
            Outcome::Fail if self.findings.is_empty() => contradiction("it fails without a finding"),
            Outcome::Unknown if self.could_not.is_none() => contradiction("it is unknown without a reason"),
            _ => Ok(()),
        }
    }
}

fn digest(subjects: &[String]) -> Hash {
    Hash::of(&[&canonical(&subjects)])
}

pub(crate) fn canonical(value: &impl Serialize) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("names, texts and whole numbers have a canonical form")
}
