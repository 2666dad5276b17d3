//! One run of a check: its entry in the log, proven, and its evidence, compared with the entry.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{PackError, PackRequest, population_digest};
use crate::verify::verify_inclusion;
use crate::{Checkpoint, Hash, InclusionProof, ProofError, Time, check_entry};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Pass,
    Fail,
    Unknown,
}

/// A run, believed.
pub(super) struct Run {
    pub(super) index: u64,
    pub(super) check: String,
    pub(super) observed_at: Time,
    /// As it counts: a pass without its evidence is unknown.
    pub(super) outcome: Outcome,
    /// Whether its evidence is not there.
    pub(super) is_lost: bool,
    /// When the run before it looked, if it says so.
    previous: Option<Time>,
    name: String,
    commitments: Vec<String>,
    pub(super) subjects: Vec<String>,
    /// Subjects with findings.
    pub(super) found: BTreeSet<String>,
    pub(super) raw: String,
}

/// What the entry of a run says.
pub(super) struct Logged {
    pub(super) check: String,
    pub(super) observed_at: Time,
    time: Time,
    outcome: Outcome,
    environment: String,
    evidence: Hash,
    population: Option<Hash>,
    subjects: u64,
    run: Option<String>,
}

#[derive(Deserialize)]
struct EntryForm {
    time: String,
    action: String,
    environment: String,
    #[serde(default)]
    details: BTreeMap<String, String>,
}

/// The members of `creta.evidence/1` that are compared here; others are left to the reader.
#[derive(Deserialize)]
struct EvidenceForm {
    format: String,
    check: String,
    environment: String,
    commitments: Vec<String>,
    run: String,
    subjects: Vec<String>,
    population: Hash,
    from: String,
    observed_at: String,
    received_at: String,
    outcome: Outcome,
    findings: Vec<FindingForm>,
    raw: String,
    raw_digest: Hash,
}

#[derive(Deserialize)]
struct FindingForm {
    subject: String,
}

/// The entry that a proof file carries, having checked the proof against the pack's checkpoint, whose signature is verified.
pub(super) fn proven_entry(index: u64, proof: &str, note: &str, checkpoint: &Checkpoint) -> Result<Vec<u8>, PackError> {
    let refuse = |cause| PackError::NotProven { index, cause };
    let parsed = InclusionProof::parse(proof).map_err(refuse)?;
    if parsed.to_string() != proof {
        return Err(refuse(ProofError::ProofFile { rule: "it is not written as proof files are" }));
    }
    if parsed.index != index {
        return Err(refuse(ProofError::ProofFile { rule: "it is of another entry than its name says" }));
    }
    if parsed.checkpoint.as_str() != note {
        return Err(refuse(ProofError::ProofFile { rule: "its checkpoint is not the pack's" }));
    }
    verify_inclusion(&parsed.entry, index, checkpoint.size, &parsed.proof, &checkpoint.root).map_err(refuse)?;
    check_entry(&parsed.entry).map_err(|rule| refuse(ProofError::Entry { index, rule }))?;
    Ok(parsed.entry)
}

impl Logged {
    /// `None` where the entry is not one of a run, or lacks what one has to say.
    pub(super) fn read(entry: &[u8]) -> Option<Self> {
        let entry: EntryForm = serde_json::from_slice(entry).ok()?;
        let outcome = match entry.action.as_str() {
            "check.pass" => Outcome::Pass,
            "check.fail" => Outcome::Fail,
            "check.unknown" => Outcome::Unknown,
            _ => return None,
        };
        let text = |name: &str| entry.details.get(name).map(String::as_str);
        let digest = |name: &str| Hash::try_from(text(name)?.strip_prefix("sha256:")?.to_owned()).ok();
        Some(Self {
            check: text("check")?.to_owned(),
            observed_at: Time::parse(text("observed-at")?)?,
            time: Time::parse(&entry.time)?,
            outcome,
            evidence: digest("evidence")?,
            population: digest("population"),
            subjects: text("subjects")?.parse().ok()?,
            run: text("run").map(str::to_owned),
            environment: entry.environment,
        })
    }

    /// Whether it may count: it does not come before what it observed.
    pub(super) fn counts(&self) -> bool {
        self.observed_at <= self.time
    }
}

impl Run {
    /// A run whose entry is proven, with its evidence, if that is there.
    pub(super) fn read(
        index: u64,
        entry: &[u8],
        evidence: Option<&[u8]>,
        request: &PackRequest,
    ) -> Result<Self, PackError> {
        let refuse = |rule| PackError::Evidence { index, rule };
        let logged = Logged::read(entry).ok_or(refuse("its entry is not one of a run"))?;
        if !logged.counts() {
            return Err(refuse("its entry is older than what was observed"));
        }
        if logged.environment != request.environment {
            return Err(refuse("it is of another environment"));
        }
        if !request.checks().contains(logged.check.as_str()) {
            return Err(refuse("it is of a check that was not asked for"));
        }
        match evidence {
            Some(evidence) => Self::with_evidence(index, logged, evidence, request),
            None => Ok(Self {
                index,
                check: logged.check,
                observed_at: logged.observed_at,
                outcome: if logged.outcome == Outcome::Fail { Outcome::Fail } else { Outcome::Unknown },
                is_lost: true,
                previous: None,
                name: logged.run.ok_or(refuse("its entry does not name it"))?,
                commitments: Vec::new(),
                subjects: Vec::new(),
                found: BTreeSet::new(),
                raw: String::new(),
            }),
        }
    }

    fn with_evidence(index: u64, logged: Logged, bytes: &[u8], request: &PackRequest) -> Result<Self, PackError> {
        let refuse = |rule| Err(PackError::Evidence { index, rule });
        if Hash::of(&[bytes]) != logged.evidence {
            return refuse("its digest is another");
        }
        let Ok(evidence) = serde_json::from_slice::<EvidenceForm>(bytes) else {
            return refuse("it does not have the form of evidence");
        };
        if evidence.format != "creta.evidence/1" || !is_canonical(bytes) {
            return refuse("it does not have the form of evidence");
        }
        let time = |text: &str| Time::parse(text).ok_or(PackError::Evidence { index, rule: "a time has another form" });
        let (from, observed_at) = (time(&evidence.from)?, time(&evidence.observed_at)?);
        if evidence.check != logged.check || logged.run.as_ref() != Some(&evidence.run) {
            return refuse("it is of another run than its entry");
        }
        if evidence.environment != request.environment {
            return refuse("it is of another environment");
        }
        if evidence.outcome != logged.outcome {
            return refuse("it ends otherwise than its entry says");
        }
        if observed_at != logged.observed_at || from > observed_at || observed_at > time(&evidence.received_at)? {
            return refuse("its times do not fit its entry or one another");
        }
        let population = population_digest(&evidence.subjects);
        if population != evidence.population
            || logged.population != Some(population)
            || logged.subjects != evidence.subjects.len() as u64
            || !evidence.subjects.is_sorted_by(|one, next| one < next)
        {
            return refuse("its population is not the subjects it lists");
        }
        if !evidence.raw.is_empty() && Hash::of(&[evidence.raw.as_bytes()]) != evidence.raw_digest {
            return refuse("its raw output is not what its digest says");
        }
        Ok(Self {
            index,
            check: evidence.check,
            observed_at,
            outcome: evidence.outcome,
            is_lost: false,
            previous: Some(from).filter(|from| *from < observed_at),
            name: evidence.run,
            commitments: evidence.commitments,
            subjects: evidence.subjects,
            found: evidence.findings.into_iter().map(|finding| finding.subject).collect(),
            raw: evidence.raw,
        })
    }
}

fn is_canonical(bytes: &[u8]) -> bool {
    let value: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
    value.is_ok_and(|value| serde_json_canonicalizer::to_vec(&value).is_ok_and(|canonical| canonical == bytes))
}

/// No run counts twice.
pub(super) fn require_unlike(runs: &[Run]) -> Result<(), PackError> {
    let (mut names, mut instants) = (BTreeSet::new(), BTreeSet::new());
    for run in runs {
        if !names.insert(&run.name) || !instants.insert((&run.check, run.observed_at)) {
            return Err(PackError::Evidence { index: run.index, rule: "the same run stands in the pack twice" });
        }
    }
    Ok(())
}

/// Runs of one check, in order of their instants: each follows the one before it, in the log too, and says so. The first
/// one is at or before the beginning of the period, or the first ever; none lies further outside than needed.
pub(super) fn require_linked(runs: &[&Run], request: &PackRequest) -> Result<(), PackError> {
    for pair in runs.windows(2) {
        let (one, next) = (pair[0], pair[1]);
        if one.index >= next.index {
            return Err(PackError::Evidence { index: next.index, rule: "it looked later and was logged earlier" });
        }
        match next.previous {
            _ if next.is_lost => {}
            Some(previous) if previous == one.observed_at => {}
            Some(previous) if previous > one.observed_at => {
                return Err(PackError::Missing { check: next.check.clone(), at: previous, index: next.index });
            }
            Some(_) | None => {
                return Err(PackError::Evidence { index: next.index, rule: "it does not follow the run before it" });
            }
        }
    }
    if let Some(first) = runs.first()
        && first.observed_at >= request.from
        && let Some(previous) = first.previous
    {
        return Err(PackError::Missing { check: first.check.clone(), at: previous, index: first.index });
    }
    let needed = super::of_period(runs, request, |run| run.observed_at);
    let outside = |run: &&&Run| needed.binary_search_by_key(&run.observed_at, |needed| needed.observed_at).is_err();
    match runs.iter().find(outside) {
        Some(stray) => Err(PackError::Evidence { index: stray.index, rule: "it lies outside of the period" }),
        None => Ok(()),
    }
}

/// The newest evidence of each check speaks for every commitment that the pack says it watches.
pub(super) fn require_spoken_for(runs: &[Run], request: &PackRequest) -> Result<(), PackError> {
    for control in &request.controls {
        for check in &control.checks {
            let newest =
                runs.iter().filter(|run| run.check == *check && !run.is_lost).max_by_key(|run| run.observed_at);
            if let Some(newest) = newest
                && !newest.commitments.contains(&control.id)
            {
                let rule = "it does not speak for a commitment that the pack says it watches";
                return Err(PackError::Evidence { index: newest.index, rule });
            }
        }
    }
    Ok(())
}
