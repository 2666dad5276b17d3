//! The files of a pack: which there are, and what follows from the evidence.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::run::Run;
use super::{ControlPeriod, NUMBER_MAX, Pack, PackError, PackRequest, Timeline, canonical};
use crate::{Checkpoint, Hash};

/// The form of packs that this build writes and reads.
pub const PACK_FORMAT: &str = "creta.pack/1";
/// How samples are drawn: see [`draw`].
pub const SAMPLE_METHOD: &str = "creta.sample/1";
/// The file that says what the pack is about and lists all others.
pub const MANIFEST: &str = "manifest.json";

const README: &str = "README.txt";
const CHECKPOINT: &str = "checkpoint";
const VERIFIER_KEY: &str = "verifier-key";
const POPULATION: &str = "population.csv";
const SAMPLE: &str = "sample.csv";
const PERIOD: &str = "period.json";
const SEED_BYTES_MAX: usize = 128;
const ID_BYTES_MAX: usize = 64;

/// What `manifest.json` says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: String,
    request: PackRequest,
    log: LogPosition,
    population: Counted,
    sample: Drawn,
    files: Vec<FileLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogPosition {
    origin: String,
    size: u64,
    root: Hash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    subjects: u64,
    sha256: Hash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drawn {
    method: String,
    subjects: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLine {
    path: String,
    bytes: u64,
    sha256: Hash,
}

#[derive(Serialize)]
struct Period<'a> {
    format: &'static str,
    #[serde(with = "time")]
    from: crate::Time,
    #[serde(with = "time")]
    until: crate::Time,
    controls: &'a [ControlPeriod],
}

/// Times in JSON, in the one form that the log writes.
pub(super) mod time {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::Time;

    pub(crate) fn serialize<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        Time::parse(&text).ok_or_else(|| serde::de::Error::custom("a time is not in the form `2026-03-01T12:00:00Z`"))
    }
}

pub(super) fn evidence_path(index: u64) -> String {
    format!("evidence/{index}.json")
}

fn proof_path(index: u64) -> String {
    format!("proofs/{index}.tlog-proof")
}

/// Whether a pack can have a file of this path.
pub(super) fn is_path(path: &str) -> bool {
    let fixed = [MANIFEST, README, CHECKPOINT, VERIFIER_KEY, POPULATION, SAMPLE, PERIOD];
    fixed.contains(&path)
        || index_of(path, "evidence/", ".json").is_some()
        || index_of(path, "raw/", ".json").is_some()
        || index_of(path, "proofs/", ".tlog-proof").is_some()
}

fn index_of(path: &str, folder: &str, ending: &str) -> Option<u64> {
    let text = path.strip_prefix(folder)?.strip_suffix(ending)?;
    text.parse().ok().filter(|index: &u64| index.to_string() == text)
}

/// Checks what was asked for, apart from any evidence.
pub(super) fn check_request(request: &PackRequest) -> Result<(), PackError> {
    let refuse = |rule| Err(PackError::Request { rule });
    let is_id = |id: &str| {
        (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if request.from >= request.until {
        return refuse("the period is empty");
    }
    if !(1..=SEED_BYTES_MAX).contains(&request.seed.len()) || !request.seed.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return refuse("a seed is 1 to 128 visible ASCII characters");
    }
    if !is_id(&request.environment) {
        return refuse("its environment is not the name of one");
    }
    let in_order = |ids: &[&str]| ids.iter().all(|id| is_id(id)) && ids.is_sorted_by(|one, next| one < next);
    let controls: Vec<&str> = request.controls.iter().map(|control| control.id.as_str()).collect();
    if controls.is_empty() || !in_order(&controls) {
        return refuse("commitments are one or more ids, in order, each once");
    }
    for control in &request.controls {
        let checks: Vec<&str> = control.checks.iter().map(String::as_str).collect();
        if !in_order(&checks) {
            return refuse("checks are ids, in order, each once");
        }
        if !(1..=NUMBER_MAX).contains(&control.freshness_us) {
            return refuse("a freshness is at least a microsecond, and at most 285 years");
        }
    }
    if request.checks().is_empty() {
        return refuse("nothing watches the commitments, so there is nothing to show");
    }
    if request.sample > NUMBER_MAX {
        return refuse("no sample is that large");
    }
    Ok(())
}

/// Takes a pack apart into what it is made of.
pub(super) fn unpack(files: &BTreeMap<String, Vec<u8>>) -> Result<Pack, PackError> {
    let file = |path: &str| files.get(path).ok_or_else(|| PackError::NoFile { path: path.to_owned() });
    let text = |path: &str| {
        let text = String::from_utf8(file(path)?.clone());
        text.map_err(|_| PackError::Differs { path: path.to_owned() })
    };
    let manifest: Manifest = serde_json::from_slice(file(MANIFEST)?)
        .map_err(|_| PackError::Request { rule: "`manifest.json` does not have its form" })?;
    if manifest.format != PACK_FORMAT {
        return Err(PackError::Request { rule: "its format is not known to this build" });
    }
    let verifier_key = text(VERIFIER_KEY)?;
    let verifier_key = verifier_key.strip_suffix('\n').unwrap_or(&verifier_key).to_owned();
    let (mut proofs, mut evidence) = (BTreeMap::new(), BTreeMap::new());
    for (path, content) in files {
        if let Some(index) = index_of(path, "proofs/", ".tlog-proof") {
            proofs.insert(index, text(path)?);
        } else if let Some(index) = index_of(path, "evidence/", ".json") {
            evidence.insert(index, content.clone());
        }
    }
    Ok(Pack { request: manifest.request, checkpoint: text(CHECKPOINT)?, verifier_key, proofs, evidence })
}

/// All files of a pack that was checked.
pub(super) fn all(
    pack: &Pack,
    checkpoint: &Checkpoint,
    runs: &[Run],
    controls: &[ControlPeriod],
) -> BTreeMap<String, Vec<u8>> {
    let request = &pack.request;
    let population = population(runs, request);
    let sample = draw(&request.seed, population.keys().map(|(check, subject)| (*check, *subject)), request.sample);
    let period = Period { format: "creta.period/1", from: request.from, until: request.until, controls };
    let mut files = BTreeMap::from([
        (CHECKPOINT.to_owned(), pack.checkpoint.clone().into_bytes()),
        (VERIFIER_KEY.to_owned(), format!("{}\n", pack.verifier_key).into_bytes()),
        (POPULATION.to_owned(), population_csv(&population).into_bytes()),
        (SAMPLE.to_owned(), sample_csv(&sample, &population).into_bytes()),
        (PERIOD.to_owned(), canonical(&period)),
    ]);
    files.extend(pack.proofs.iter().map(|(index, proof)| (proof_path(*index), proof.clone().into_bytes())));
    files.extend(pack.evidence.iter().map(|(index, evidence)| (evidence_path(*index), evidence.clone())));
    for run in runs.iter().filter(|run| !run.raw.is_empty()) {
        files.insert(format!("raw/{}.json", run.index), run.raw.clone().into_bytes());
    }
    let list = Hash::of(&[&files[POPULATION]]);
    files.insert(README.to_owned(), readme(request, checkpoint, controls, &sample).into_bytes());
    let line = |(path, content): (&String, &Vec<u8>)| FileLine {
        path: path.clone(),
        bytes: content.len() as u64,
        sha256: Hash::of(&[content]),
    };
    let manifest = Manifest {
        format: PACK_FORMAT.to_owned(),
        request: request.clone(),
        log: LogPosition { origin: checkpoint.origin.clone(), size: checkpoint.size, root: checkpoint.root },
        population: Counted { subjects: population.len() as u64, sha256: list },
        sample: Drawn { method: SAMPLE_METHOD.to_owned(), subjects: sample.len() as u64 },
        files: files.iter().map(line).collect(),
    };
    files.insert(MANIFEST.to_owned(), canonical(&manifest));
    files
}

/// What is known of a subject.
pub(super) struct Subject {
    runs: u64,
    with_findings: u64,
    first: u64,
    last: u64,
}

/// Everything that runs of the period looked at, by check and subject.
pub(super) fn population<'a>(runs: &'a [Run], request: &PackRequest) -> BTreeMap<(&'a str, &'a str), Subject> {
    let mut population: BTreeMap<(&str, &str), Subject> = BTreeMap::new();
    let within = |run: &&Run| request.from <= run.observed_at && run.observed_at < request.until;
    for run in runs.iter().filter(within) {
        for subject in &run.subjects {
            let new = Subject { runs: 0, with_findings: 0, first: run.index, last: run.index };
            let known = population.entry((&run.check, subject)).or_insert(new);
            known.runs += 1;
            known.with_findings += u64::from(run.found.contains(subject));
            known.first = known.first.min(run.index);
            known.last = known.last.max(run.index);
        }
    }
    population
}

/// Draws a sample, `creta.sample/1`: the subjects in the order of SHA-256(seed, a zero byte, check, a zero byte, subject),
/// compared as bytes, of which the first `size` are taken. Whoever has the population can draw it again. Gives each with
/// its hash.
pub fn draw<'a>(
    seed: &str,
    population: impl IntoIterator<Item = (&'a str, &'a str)>,
    size: u64,
) -> Vec<(Hash, &'a str, &'a str)> {
    let hashed = |(check, subject): (&'a str, &'a str)| {
        let parts = [seed.as_bytes(), &[0], check.as_bytes(), &[0], subject.as_bytes()];
        (Hash::of(&parts), check, subject)
    };
    let mut drawn: Vec<(Hash, &str, &str)> = population.into_iter().map(hashed).collect();
    drawn.sort_unstable();
    drawn.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    drawn
}

fn population_csv(population: &BTreeMap<(&str, &str), Subject>) -> String {
    let mut csv = "check,subject,runs,runs_with_findings,first_index,last_index\r\n".to_owned();
    for ((check, subject), known) in population {
        let Subject { runs, with_findings, first, last } = known;
        write!(csv, "{check},{},{runs},{with_findings},{first},{last}\r\n", field(subject)).expect("text takes text");
    }
    csv
}

fn sample_csv(sample: &[(Hash, &str, &str)], population: &BTreeMap<(&str, &str), Subject>) -> String {
    let mut csv = "rank,sha256,check,subject,first_index,last_index\r\n".to_owned();
    for (rank, (hash, check, subject)) in (1..).zip(sample) {
        let Subject { first, last, .. } = population[&(*check, *subject)];
        write!(csv, "{rank},{hash},{check},{},{first},{last}\r\n", field(subject)).expect("text takes text");
    }
    csv
}

/// A field of a CSV file: RFC 4180 §2. A text that a spreadsheet would take for a formula is quoted with an apostrophe.
fn field(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn readme(
    request: &PackRequest,
    checkpoint: &Checkpoint,
    controls: &[ControlPeriod],
    sample: &[(Hash, &str, &str)],
) -> String {
    let mut text = format!(
        "Evidence for {controls}\n\
         in `{environment}`, from {from} up to {until}.\n\
         \n\
         Verify this file:\n\
         \n\
         \x20   creta-verify pack FILE --key VKEY --seed {seed}\n\
         \n\
         VKEY is the log's verifier key, from another source than this file. With `--log DIR`, an exported log, it also\n\
         shows that no run was left out.\n\
         \n\
         Log {origin}, {size} entries, root {root}.\n\n",
        controls = controls.iter().map(|control| control.whole.id.as_str()).collect::<Vec<_>>().join(", "),
        environment = request.environment,
        from = request.from,
        until = request.until,
        seed = request.seed,
        origin = checkpoint.origin,
        size = checkpoint.size,
        root = checkpoint.root.to_base64(),
    );
    for control in controls {
        let Timeline { id, runs, failed, unknown, met_ppm, failures, gaps, .. } = &control.whole;
        writeln!(
            text,
            "{id}: met for {}.{:04} % of the period; began to fail {failures} times; {gaps} gaps; {runs} runs, {failed} \
             failed, {unknown} unknown.",
            met_ppm / 10_000,
            met_ppm % 10_000,
        )
        .expect("text takes text");
    }
    write!(
        text,
        "\n\
         manifest.json     what was asked for, and SHA-256 of every file\n\
         period.json       states over the period\n\
         population.csv    every subject that a run of the period looked at\n\
         sample.csv        {} of them, in the order of SHA-256(seed 00 check 00 subject)\n\
         evidence/         what each run saw, as it was logged; the name is the index in the log\n\
         raw/              what each run read and was answered\n\
         proofs/           that the log holds the digest of each run's evidence (C2SP tlog-proof)\n\
         checkpoint        the log's signed state\n\
         verifier-key      the log's key, for comparing with yours\n",
        sample.len()
    )
    .expect("text takes text");
    text
}
