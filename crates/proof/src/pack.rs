//! Evidence packs, `creta.pack/1`: what an auditor gets for a period, and its verification.
//!
//! A pack is an archive of files. Given are the runs of some checks (their evidence, and the proof that the log holds its
//! digest), the log's checkpoint, and what was asked for: commitments, period, seed of the sample. Everything else in it
//! follows from these and is made again by [`verify()`]: raw outputs, population, sample, states over the period, the list
//! of files, the page to read first, and the archive's own bytes. So there is nothing in a pack that could be edited
//! without being noticed. Left out could be runs: each says when the run before it was, so one that is missing between
//! others shows. What only the log can show is listed in [`PackReport::only_log_shows`], and
//! [`PackReport::require_complete`] settles it with an exported log.

mod archive;
mod files;
mod period;
mod run;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::verify::LogReader;
use crate::{Checkpoint, Hash, ProofError, SignedCheckpoint, Time, VerifierKey, verify};

pub use archive::{ARCHIVE_BYTES_MAX, FILE_BYTES_MAX, FILES_MAX};
pub use files::{MANIFEST, PACK_FORMAT, SAMPLE_METHOD, draw};
pub use period::{ControlPeriod, PeriodState, Stretch, Timeline};
use run::Run;

/// Largest number in a file of a pack: larger ones have no exact form in canonical JSON (RFC 8785 §3.2.2.3).
const NUMBER_MAX: u64 = 1 << 53;

/// Why a pack cannot be made, or is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Not an archive of the documented form.
    #[error("this is not an evidence pack: {rule}; ask for the pack again")]
    Archive {
        /// What is wrong with it.
        rule: &'static str,
    },
    /// A file is missing that every pack has.
    #[error("the pack has no `{path}`; it was taken out after the pack was made")]
    NoFile {
        /// Its path.
        path: String,
    },
    /// A file does not belong to a pack, or to this one.
    #[error("`{path}` does not belong into this pack; it was put in after the pack was made")]
    Stray {
        /// Its path.
        path: String,
    },
    /// What was asked for cannot be asked for, or the manifest does not have its form.
    #[error("what the pack says it is about is not valid: {rule}")]
    Request {
        /// What is wrong.
        rule: &'static str,
    },
    /// A file is not what follows from the evidence.
    #[error("`{path}` is not what follows from the evidence in the pack; it was edited")]
    Differs {
        /// Its path.
        path: String,
    },
    /// The checkpoint or a proof is not believed.
    #[error("the pack's checkpoint is not believed")]
    Checkpoint(#[source] ProofError),
    /// A run is not in the log as the pack shows it.
    #[error("the run at {index} of the log is not proven by the pack")]
    NotProven {
        /// Index in the log.
        index: u64,
        /// Why.
        #[source]
        cause: ProofError,
    },
    /// The evidence of a run is not what the log says.
    #[error("the evidence at {index} of the log is not what was logged: {rule}")]
    Evidence {
        /// Index in the log.
        index: u64,
        /// What does not fit.
        rule: &'static str,
    },
    /// A run lies between others, or before them, and is not in the pack.
    #[error("a run of `{check}` at {at} is missing: the run at {index} of the log follows it; ask why it was left out")]
    Missing {
        /// The check.
        check: String,
        /// When the missing run looked.
        at: Time,
        /// Index of the run that follows it.
        index: u64,
    },
    /// The log has runs that the pack does not have.
    #[error("the log has a run of `{check}` at {index} that the pack leaves out; ask why")]
    LeftOut {
        /// The check.
        check: String,
        /// Index in the log.
        index: u64,
    },
    /// The pack was made with another seed than the auditor's.
    #[error("the sample was drawn with another seed than yours; ask for a pack with your seed")]
    OtherSeed,
    /// The given log is not the one of the pack.
    #[error("the pack and the log do not fit together")]
    OtherLog(#[source] ProofError),
}

impl PackError {
    /// A stable word for it, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Archive { .. } => "pack/archive",
            Self::NoFile { .. } => "pack/no-file",
            Self::Stray { .. } => "pack/stray",
            Self::Request { .. } => "pack/request",
            Self::Differs { .. } => "pack/differs",
            Self::Checkpoint(_) => "pack/checkpoint",
            Self::NotProven { .. } => "pack/not-proven",
            Self::Evidence { .. } => "pack/evidence",
            Self::Missing { .. } => "pack/missing",
            Self::LeftOut { .. } => "pack/left-out",
            Self::OtherSeed => "pack/other-seed",
            Self::OtherLog(_) => "pack/other-log",
        }
    }
}

/// A commitment that was asked for, with the checks that watch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackControl {
    /// Its id.
    pub id: String,
    /// For how long a pass counts, in microseconds. The operator says so; the log does not.
    pub freshness_us: u64,
    /// Ids of the checks, in order, each once.
    pub checks: Vec<String>,
}

/// What was asked for. All of it stands in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackRequest {
    /// Which environment.
    pub environment: String,
    /// First instant of the period.
    #[serde(with = "files::time")]
    pub from: Time,
    /// First instant after it.
    #[serde(with = "files::time")]
    pub until: Time,
    /// The commitments, in order of their ids.
    pub controls: Vec<PackControl>,
    /// What the auditor chose for drawing the sample: 1 to 128 visible ASCII characters.
    pub seed: String,
    /// How many subjects to draw; all of them where there are fewer.
    pub sample: u64,
}

impl PackRequest {
    /// Ids of the checks that watch the commitments.
    pub fn checks(&self) -> BTreeSet<&str> {
        self.controls.iter().flat_map(|control| &control.checks).map(String::as_str).collect()
    }
}

/// A pack before it is written: what was asked for, and what answers it.
#[derive(Debug, Clone)]
pub struct Pack {
    /// What was asked for.
    pub request: PackRequest,
    /// The log's signed checkpoint.
    pub checkpoint: String,
    /// The log's verifier key.
    pub verifier_key: String,
    /// By index in the log: the proof file of the run's entry.
    pub proofs: BTreeMap<u64, String>,
    /// By index in the log: the evidence. A run whose evidence was lost has only a proof; it then counts as unknown, unless
    /// the log says that it failed.
    pub evidence: BTreeMap<u64, Vec<u8>>,
}

/// What a verified pack says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackReport {
    /// What it was asked for.
    pub request: PackRequest,
    /// The log's state that all runs are proven against.
    pub checkpoint: Checkpoint,
    /// How the period went.
    pub controls: Vec<ControlPeriod>,
    /// How many subjects were looked at in the period, once for each check.
    pub population: u64,
    /// How many of them are in the sample.
    pub sample: u64,
    /// Indices of runs whose evidence is lost.
    pub lost: Vec<u64>,
    /// What only the log can show, in sentences: [`PackReport::require_complete`].
    pub only_log_shows: Vec<String>,
    /// What neither pack nor log can show, in sentences: what the operator claims.
    pub unprovable: Vec<String>,
    /// The checkpoint as it was signed, with cosignatures if there are any.
    #[serde(skip)]
    pub signed: SignedCheckpoint,
    #[serde(skip)]
    indices: BTreeMap<String, BTreeSet<u64>>,
}

/// What an exported log says about a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CompleteReport {
    /// How many entries the log has.
    pub entries: u64,
    /// How many runs of the pack's checks it has up to the pack's checkpoint.
    pub runs: u64,
    /// How many of them stand after the pack's checkpoint.
    pub after_checkpoint: u64,
}

impl Pack {
    /// The archive's bytes: the same for the same pack. What is written is verified first, with the key it names.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackError> {
        let checked = self.check(&self.verifier_key)?;
        archive::write(&checked.files)
    }

    /// Checks everything in it, and makes every file.
    fn check(&self, vkey: &str) -> Result<Checked, PackError> {
        files::check_request(&self.request)?;
        if self.verifier_key != vkey.trim_end() {
            let given = ProofError::Unsigned { key: vkey.trim_end().to_owned() };
            return Err(PackError::Checkpoint(given));
        }
        let key = VerifierKey::parse(&self.verifier_key).map_err(PackError::Checkpoint)?;
        let signed = SignedCheckpoint::parse(&self.checkpoint).map_err(PackError::Checkpoint)?;
        let checkpoint = signed.verify(&key).map_err(PackError::Checkpoint)?;
        if checkpoint.size > NUMBER_MAX {
            return Err(PackError::Checkpoint(ProofError::Checkpoint { rule: "its size is larger than any log" }));
        }
        if let Some(index) = self.evidence.keys().find(|index| !self.proofs.contains_key(index)) {
            return Err(PackError::Stray { path: files::evidence_path(*index) });
        }
        let mut runs = Vec::new();
        for (index, proof) in &self.proofs {
            let entry = run::proven_entry(*index, proof, &self.checkpoint, &checkpoint)?;
            runs.push(Run::read(*index, &entry, self.evidence.get(index).map(Vec::as_slice), &self.request)?);
        }
        run::require_unlike(&runs)?;
        let request = &self.request;
        let mut known = BTreeMap::new();
        for check in request.checks() {
            let mut of_check: Vec<&Run> = runs.iter().filter(|run| run.check == check).collect();
            of_check.sort_by_key(|run| run.observed_at);
            run::require_linked(&of_check, request)?;
            known.insert(check, period::known(&of_check));
        }
        run::require_spoken_for(&runs, request)?;
        let controls = period::controls(request, &known);
        let files = files::all(self, &checkpoint, &runs, &controls);
        let population = files::population(&runs, request).len() as u64;
        let mut indices: BTreeMap<String, BTreeSet<u64>> =
            request.checks().into_iter().map(|check| (check.to_owned(), BTreeSet::new())).collect();
        for run in &runs {
            indices.entry(run.check.clone()).or_default().insert(run.index);
        }
        let lost: Vec<u64> = runs.iter().filter(|run| run.is_lost).map(|run| run.index).collect();
        let report = PackReport {
            request: request.clone(),
            checkpoint,
            controls,
            population,
            sample: population.min(request.sample),
            only_log_shows: period::only_log_shows(request, &known, &lost),
            unprovable: period::unprovable(),
            lost,
            signed,
            indices,
        };
        Ok(Checked { files, report })
    }
}

struct Checked {
    files: BTreeMap<String, Vec<u8>>,
    report: PackReport,
}

/// Verifies a pack against the log's key, which the auditor has from elsewhere. Time O(bytes), and memory three times the
/// archive.
///
/// Verified are the checkpoint's signature, the proof of every run, the digest of every piece of evidence, that it does not
/// contradict its entry, that no run between others is missing, and that every other byte follows from that.
pub fn verify(bytes: &[u8], vkey: &str) -> Result<PackReport, PackError> {
    let given = archive::read(bytes)?;
    let pack = files::unpack(&given)?;
    let checked = pack.check(vkey)?;
    if let Some(path) = checked.files.keys().find(|path| !given.contains_key(*path)) {
        return Err(PackError::NoFile { path: path.clone() });
    }
    // The manifest lists all others, so it differs wherever one of them does: they are named first.
    let (manifest, others): (Vec<_>, Vec<_>) = given.iter().partition(|(path, _)| *path == MANIFEST);
    for (path, content) in others.into_iter().chain(manifest) {
        match checked.files.get(path) {
            None => return Err(PackError::Stray { path: path.clone() }),
            Some(expected) if expected != content => return Err(PackError::Differs { path: path.clone() }),
            Some(_) => {}
        }
    }
    if archive::write(&checked.files)? != bytes {
        return Err(PackError::Archive { rule: "the archive holds more than its files" });
    }
    Ok(checked.report)
}

impl PackReport {
    /// Checks that the sample was drawn with the auditor's own seed.
    pub fn require_seed(&self, seed: &str) -> Result<(), PackError> {
        if self.request.seed == seed { Ok(()) } else { Err(PackError::OtherSeed) }
    }

    /// Checks with all entries of the log, in order, that the pack has every run it should have: those of the period, the
    /// last one before it and the first one after it. The log has to be the pack's: with as many entries as the pack's
    /// checkpoint says it has the same root. Verify the log on its own first.
    pub fn require_complete<E: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = E>,
    ) -> Result<CompleteReport, PackError> {
        let mut completeness = self.completeness();
        entries.into_iter().try_for_each(|entry| completeness.read(entry.as_ref()))?;
        completeness.finish()
    }

    /// The same, for entries that come one by one.
    pub fn completeness(&self) -> Completeness<'_> {
        Completeness {
            pack: self,
            reader: LogReader::default(),
            root: None,
            counted: BTreeMap::new(),
            after_checkpoint: BTreeMap::new(),
        }
    }
}

/// Compares a pack with all entries of a log. See [`PackReport::require_complete`].
pub struct Completeness<'a> {
    pack: &'a PackReport,
    reader: LogReader,
    root: Option<Hash>,
    /// By check, the runs that count up to the pack's checkpoint: when they looked, and their index.
    counted: BTreeMap<String, Vec<(Time, u64)>>,
    /// By check, how many runs stand after it.
    after_checkpoint: BTreeMap<String, u64>,
}

impl Completeness<'_> {
    /// Takes the next entry of the log.
    pub fn read(&mut self, entry: &[u8]) -> Result<(), PackError> {
        let index = self.reader.entries();
        if index == self.pack.checkpoint.size {
            self.root = Some(self.reader.root());
        }
        self.reader.read(entry).map_err(PackError::OtherLog)?;
        let Some(logged) = run::Logged::read(entry) else { return Ok(()) };
        if !self.pack.indices.contains_key(&logged.check) || !logged.counts() {
            return Ok(());
        }
        if index >= self.pack.checkpoint.size {
            *self.after_checkpoint.entry(logged.check).or_default() += 1;
            return Ok(());
        }
        let earlier = self.counted.entry(logged.check).or_default();
        if earlier.last().is_none_or(|(latest, _)| *latest < logged.observed_at) {
            earlier.push((logged.observed_at, index));
        }
        Ok(())
    }

    /// Compares, when all entries were read.
    pub fn finish(self) -> Result<CompleteReport, PackError> {
        let (entries, checkpoint) = (self.reader.entries(), &self.pack.checkpoint);
        verify::check_extent(checkpoint, entries).map_err(PackError::OtherLog)?;
        if self.root.unwrap_or_else(|| self.reader.root()) != checkpoint.root {
            return Err(PackError::OtherLog(ProofError::Inconsistent { size: checkpoint.size }));
        }
        for (check, given) in &self.pack.indices {
            let logged = self.counted.get(check).map_or(&[][..], Vec::as_slice);
            let expected = of_period(logged, &self.pack.request, |(at, _)| *at);
            let expected: BTreeSet<u64> = expected.iter().map(|(_, index)| *index).collect();
            if let Some(index) = expected.difference(given).next() {
                return Err(PackError::LeftOut { check: check.clone(), index: *index });
            }
            if let Some(index) = given.difference(&expected).next() {
                return Err(PackError::Stray { path: files::evidence_path(*index) });
            }
        }
        Ok(CompleteReport {
            entries,
            runs: self.counted.values().map(|runs| runs.len() as u64).sum(),
            after_checkpoint: self.after_checkpoint.values().sum(),
        })
    }
}

/// Of runs in order of their instants, those that a pack of the request holds: all of the period, the last one before it,
/// by which the state at its beginning is known, and the first one after it, which shows that none was left out at its end.
pub fn of_period<'a, T>(runs: &'a [T], request: &PackRequest, at: impl Fn(&T) -> Time) -> &'a [T] {
    let first = runs.partition_point(|run| at(run) < request.from).saturating_sub(1);
    let end = (runs.partition_point(|run| at(run) < request.until) + 1).min(runs.len());
    runs.get(first..end).unwrap_or_default() // None for a period that ends before it begins.
}

/// SHA-256 of a canonical JSON list of subjects: the population's digest in evidence and log.
fn population_digest(subjects: &[String]) -> Hash {
    Hash::of(&[&canonical(&subjects)])
}

fn canonical(value: &impl Serialize) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("names, texts and whole numbers have a canonical form")
}
