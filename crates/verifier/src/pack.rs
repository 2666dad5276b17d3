//! Evidence packs, alone or beside an exported log.

use std::error::Error as _;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use creta_proof::export::Demands;
use creta_proof::pack::{ARCHIVE_BYTES_MAX, CompleteReport, PackError, PackReport, Timeline, verify};
use creta_proof::witness::{Witnessed, require_witnessed};
use creta_proof::{ExportedLog, ProofError, TILE_WIDTH, bundle_entries, entries_path};
use serde::Serialize;

use crate::args::Pack;
use crate::check::{Failure, require_folder};

/// What was found to be true of a pack.
#[derive(Debug, Serialize)]
pub(crate) struct PackVerified {
    #[serde(flatten)]
    report: PackReport,
    /// What the exported log says, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<CompleteReport>,
    /// Whether the seed was compared with the auditor's.
    seed_compared: bool,
    pub(crate) witnessed: Vec<Witnessed>,
}

pub(crate) fn check_pack(pack: &Pack) -> Result<PackVerified, Failure> {
    let bytes = read(&pack.file)?;
    let report = verify(&bytes, &pack.key.key.to_string()).map_err(Failure::Pack)?;
    if let Some(seed) = &pack.seed {
        report.require_seed(seed).map_err(Failure::Pack)?;
    }
    let witnessed = require_witnessed(&report.signed, &pack.witnesses.witness, pack.witnesses.witnessed_after)?;
    let complete = pack.log.as_ref().map(|folder| check_complete(pack, folder, &report)).transpose()?;
    Ok(PackVerified { report, complete, seed_compared: pack.seed.is_some(), witnessed })
}

/// Verifies the log on its own, then compares.
fn check_complete(pack: &Pack, folder: &Path, report: &PackReport) -> Result<CompleteReport, Failure> {
    require_folder(folder)?;
    let log = ExportedLog::new(folder);
    let demands = Demands { set_backs_accepted: pack.accept_set_back.clone(), ..Demands::default() };
    let size = log.verify(&pack.key.key, &demands)?.log.entries;
    let mut completeness = report.completeness();
    for index in 0..size.div_ceil(TILE_WIDTH) {
        let width = (size - index * TILE_WIDTH).min(TILE_WIDTH);
        let file = entries_path(index, width);
        let (first, last) = (index * TILE_WIDTH, index * TILE_WIDTH + width - 1);
        let missing = || ProofError::Missing { file: file.clone(), first, last };
        let bundle = log.read(&file)?.ok_or_else(missing)?;
        let damaged = |(at, rule)| ProofError::Bundle { file: file.clone(), index: first + at, rule };
        for entry in bundle_entries(&bundle, width).map_err(damaged)? {
            completeness.read(entry).map_err(Failure::Pack)?;
        }
    }
    completeness.finish().map_err(Failure::Pack)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| {
        let message = format!("`{}` cannot be read: {error}", file.display());
        Failure::Usage { message }
    };
    if fs::metadata(file).map_err(failed)?.len() > ARCHIVE_BYTES_MAX as u64 {
        return Err(Failure::Pack(PackError::Archive { rule: "it is larger than any pack" }));
    }
    fs::read(file).map_err(failed)
}

/// An error, and after it what caused it.
pub(crate) fn with_cause(error: &PackError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl PackVerified {
    pub(crate) fn text(&self) -> String {
        let report = &self.report;
        let request = &report.request;
        let ids: Vec<&str> = request.controls.iter().map(|control| control.id.as_str()).collect();
        let mut text = format!(
            "verified: evidence for {} in `{}`, {} to {}",
            ids.join(", "),
            request.environment,
            request.from,
            request.until
        );
        let mut line = |name: &str, said: String| write!(text, "\n  {name:<8} {said}").expect("a text takes more text");
        for (control, asked) in report.controls.iter().zip(&request.controls) {
            line(&control.whole.id, said(&control.whole));
            for check in &control.checks {
                line("", format!("{}: {}", check.id, said(check)));
            }
            line("", format!("a pass counts for {} s, as the pack says", asked.freshness_us / 1_000_000));
        }
        let compared = if self.seed_compared { "yours" } else { "compare it with yours, or give --seed" };
        line(
            "sample",
            format!("{} of {} subjects, seed `{}` ({compared})", report.sample, report.population, request.seed),
        );
        line("log", format!("{}, {} entries", report.checkpoint.origin, report.checkpoint.size));
        line("root", report.checkpoint.root.to_string());
        if !report.lost.is_empty() {
            line("lost", format!("the evidence of the runs at {:?}", report.lost));
        }
        match &self.complete {
            Some(CompleteReport { entries, runs, after_checkpoint }) => line(
                "complete",
                format!("of {runs} runs in {entries} entries none is left out; {after_checkpoint} came after the pack"),
            ),
            None => line("complete", "between its runs; the rest shows with --log".to_owned()),
        }
        for open in report.only_log_shows.iter().filter(|_| self.complete.is_none()) {
            line("open", format!("{open}: only the log can show it"));
        }
        for claim in &report.unprovable {
            line("claimed", claim.clone());
        }
        text
    }
}

fn said(timeline: &Timeline) -> String {
    let Timeline { runs, failed, unknown, met_ppm, failures, gaps, .. } = timeline;
    let met = format!("met {}.{:04} %", met_ppm / 10_000, met_ppm % 10_000);
    format!("{met}, began to fail {failures} times, {gaps} gaps; {runs} runs, {failed} failed, {unknown} unknown")
}
