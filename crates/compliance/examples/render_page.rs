//! Writes the trust page of a made-up deployment into a folder and prints how long that took and how large it is. The
//! headers that a server has to send with it are in `headers.txt`.
//!
//!     cargo run -p creta-compliance --example render_page -- /tmp/site [runs]
#![allow(clippy::print_stdout)] // It is a program that prints.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use creta_compliance::Organisation;
use creta_compliance::page::{
    HEADERS, Intake, PageFile, ReportDraft, ReportProgress, Site, SiteOptions, report_form, report_received,
    report_status, text,
};
use creta_model::Span;

#[path = "../tests/it/page/world.rs"]
mod world;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("name a folder to write the site into")?;
    let runs = arguments.next().map_or(Ok(100_000), |runs| runs.parse())?;
    let (world, organisation) = (world::World::new(runs), world::organisation());
    let intake = Intake { acknowledge_within: Span::hours(24), decide_within: Span::days(7) };
    let proof = |index: u64| Some(format!("c2sp.org/tlog-proof@v1\nindex {index}\n"));
    let options = SiteOptions {
        version: env!("CARGO_PKG_VERSION"),
        class: creta_model::EnvironmentClass::Production,
        proof: &proof,
        text: &|_| Some(world.registry.canonical()),
        intake: Some(intake.clone()),
    };

    let (mut report_ms, mut render_ms) = (Vec::new(), Vec::new());
    let (mut report, mut files) = (world.report(&organisation), BTreeMap::new());
    for _ in 0..5 {
        let begin = Instant::now();
        report = world.report(&organisation);
        report_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        let begin = Instant::now();
        files = Site::render(&report, &world.registry, &options);
        render_ms.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let intervals: usize = report.commitments.iter().map(|row| row.history.intervals.len()).sum();
    println!("{}", text(&report));
    println!("{} entries, {intervals} stretches of history", world.ledger.lines());
    println!("report  {:8.1} ms (best of 5)", best(&report_ms));
    println!("render  {:8.1} ms (best of 5), {} files", best(&render_ms), files.len());
    files.extend(answers(&organisation, &intake, &report));
    for (path, file) in &files {
        let path = Path::new(&folder).join(path);
        std::fs::create_dir_all(path.parent().ok_or("a file has a folder")?)?;
        std::fs::write(&path, &file.bytes)?;
    }
    let headers: String = HEADERS.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    std::fs::write(Path::new(&folder).join("headers.txt"), headers)?;
    let largest = files.iter().filter(|(path, _)| path.starts_with("trust/commitments/"));
    let largest = largest.max_by_key(|(_, file)| file.bytes.len()).map(|(path, _)| path.clone());
    for (path, file) in &files {
        if !path.starts_with("trust/commitments/") && !path.starts_with("trust/proofs/")
            || Some(path) == largest.as_ref()
        {
            println!("{:9} B  {path}", file.bytes.len());
        }
    }
    Ok(())
}

fn best(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Answers to somebody who reports something, as files to look at.
fn answers(
    organisation: &Organisation,
    intake: &Intake,
    report: &creta_compliance::TrustReport,
) -> BTreeMap<String, PageFile> {
    let now = report.generated_at;
    let progress = ReportProgress {
        reference: "R-7Q4M-2KDP".to_owned(),
        received_at: now.minus(Span::days(2)),
        acknowledge_by: now.minus(Span::days(1)),
        acknowledged_at: Some(now.minus(Span::hours(44))),
        decide_by: now.plus(Span::days(5)),
        decision: Some((now, "accepted".to_owned(), "It is real <b>and</b> fixed in the next release.".to_owned())),
    };
    let draft = ReportDraft {
        title: "\"><script>alert(1)</script>".to_owned(),
        description: "</textarea><img src=x onerror=alert(1)>".to_owned(),
        contact: String::new(),
        urgent: true,
    };
    let problem = "Too many reports from your address. Try again in 10 minutes, or write to us.";
    [
        ("received", report_received(organisation, intake, "R-7Q4M-2KDP", "/trust/report/status/8b1f3c")),
        ("status", report_status(organisation, &progress)),
        ("again", report_form(organisation, intake, &draft, Some(problem))),
    ]
    .map(|(name, file)| (format!("trust/report/{name}/index.html"), file))
    .into()
}
