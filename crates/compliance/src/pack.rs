//! Evidence packs: what an auditor gets for some commitments and a period. Form and verification stand in
//! [`creta_proof::pack`], apart from whoever makes them.

use std::collections::{BTreeMap, BTreeSet};

use creta_model::{Environment, Instant};
use creta_proof::Time;
use creta_proof::pack::{Pack, PackControl, PackRequest, of_period};

use crate::{CommitmentId, Ledger, Recorded, Registry};

/// Fetches the evidence of a run.
pub type FetchEvidence<'a> = dyn Fn(&Recorded) -> Result<Option<Vec<u8>>, String> + 'a;

/// What a pack is made of.
pub struct PackInput<'a> {
    /// The promises.
    pub registry: &'a Registry,
    /// The evidence that the log knows of, up to the checkpoint.
    pub ledger: &'a Ledger,
    /// Which environment.
    pub environment: &'a Environment,
    /// What the auditor asks about. An id that another commitment carries stands for that commitment.
    pub controls: &'a [CommitmentId],
    /// First instant of the period.
    pub from: Instant,
    /// First instant after it.
    pub until: Instant,
    /// What the auditor chose for drawing the sample: 1 to 128 visible ASCII characters.
    pub seed: &'a str,
    /// How many subjects to draw.
    pub sample: u64,
    /// The log's signed checkpoint. Runs that it does not cover are left out.
    pub checkpoint: &'a str,
    /// Size of that checkpoint.
    pub size: u64,
    /// The log's verifier key.
    pub verifier_key: &'a str,
    /// Fetches the evidence of a run as it was logged; `None` where it is lost. The error is for people.
    pub evidence: &'a FetchEvidence<'a>,
    /// Makes the proof file of the entry at an index, with the entry in it, against the checkpoint. The error is for people.
    pub proof: &'a dyn Fn(u64) -> Result<String, String>,
}

/// Why a pack cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// There is no such commitment.
    #[error("there is no commitment `{id}`; `creta trust status` lists them")]
    UnknownCommitment {
        /// What was asked for.
        id: CommitmentId,
    },
    /// Evidence or a proof cannot be fetched.
    #[error("the run at {index} of the log cannot be put into the pack: {reason}")]
    Unavailable {
        /// Index in the log.
        index: u64,
        /// Why.
        reason: String,
    },
    /// What was fetched does not make a pack that verifies.
    #[error("the pack would not verify, so it was not written: {0}")]
    NotVerified(#[from] creta_proof::pack::PackError),
}

/// The pack's bytes: the same for the same input. It holds every run of the period, the last one before it and the first
/// one after it, as far as the checkpoint reaches, and verifies.
///
/// Memory is twice that of the pack, which has at most [`creta_proof::pack::ARCHIVE_BYTES_MAX`] bytes.
pub fn write(input: &PackInput<'_>) -> Result<Vec<u8>, PackError> {
    let request = request(input)?;
    let (mut proofs, mut evidence) = (BTreeMap::new(), BTreeMap::new());
    let checks: BTreeSet<&str> = request.checks();
    for check in checks {
        let runs = input.ledger.runs(check);
        let covered = &runs[..runs.partition_point(|run| run.index < input.size)];
        for run in of_period(covered, &request, |run| time(run.observed_at)) {
            let unavailable = |reason| PackError::Unavailable { index: run.index, reason };
            proofs.insert(run.index, (input.proof)(run.index).map_err(unavailable)?);
            if let Some(bytes) = (input.evidence)(run).map_err(unavailable)? {
                evidence.insert(run.index, bytes);
            }
        }
    }
    let pack = Pack {
        request,
        checkpoint: input.checkpoint.to_owned(),
        verifier_key: input.verifier_key.trim_end().to_owned(),
        proofs,
        evidence,
    };
    Ok(pack.to_bytes()?)
}

fn request(input: &PackInput<'_>) -> Result<PackRequest, PackError> {
    let mut controls = BTreeMap::new();
    for id in input.controls {
        let mut carriers = input.registry.carriers(id).peekable();
        carriers.peek().ok_or_else(|| PackError::UnknownCommitment { id: id.clone() })?;
        for commitment in carriers {
            let checks: BTreeSet<String> = commitment.checks.iter().cloned().collect();
            let control = PackControl {
                id: commitment.id.to_string(),
                freshness_us: commitment.freshness().micros().unsigned_abs(),
                checks: checks.into_iter().collect(),
            };
            controls.insert(control.id.clone(), control);
        }
    }
    Ok(PackRequest {
        environment: input.environment.to_string(),
        from: time(input.from),
        until: time(input.until),
        controls: controls.into_values().collect(),
        seed: input.seed.to_owned(),
        sample: input.sample,
    })
}

fn time(instant: Instant) -> Time {
    Time::from_micros(instant.micros()).expect("an instant lies within the years that times have")
}
