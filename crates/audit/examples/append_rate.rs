//! How fast the log appends in durable batches, beside a plain file that is written and synced, and how fast an export of
//! it verifies.
//!
//! `cargo run -p creta-audit --profile demo --example append_rate -- FOLDER [ENTRIES]`; the folder should lie on the disk
//! that a server would use. It is left behind with the log and its export in it.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use creta_audit::{AuditError, Details, Event, Log, VerifierKey};
use creta_iam::{Place, control_plane};
use creta_keys::{KeyRing, RootKey};
use creta_model::Environment;
use creta_platform::Platform;
use creta_proof::ExportedLog;
use creta_proof::export::Demands;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("name a folder")?);
    let verified: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let mut out = std::io::stdout();

    let log = open(&folder.join("log"))?;
    for (batch, batches) in [(1, 500), (100, 250), (1000, 40)] {
        let (bytes, took) = append(&log, batch, batches)?;
        let plain = write_and_sync(&folder.join("plain"), bytes / batches, batches)?;
        let rate = |took: Duration| (batch * batches) as f64 / took.as_secs_f64();
        writeln!(
            out,
            "batches of {batch:>4}: {:>9.0} entries/s durable, {:>9.0} as plain write and sync ({} bytes a batch)",
            rate(took),
            rate(plain),
            bytes / batches
        )?;
    }

    let start = Instant::now();
    while log.size() < verified {
        append(&log, 4000.min(verified - log.size()), 1)?;
    }
    writeln!(out, "grown to {} entries in {:.1} s", log.size(), start.elapsed().as_secs_f64())?;
    let (start, export) = (Instant::now(), folder.join("export"));
    log.export(|path, bytes| put(&export.join(path), bytes))?;
    writeln!(out, "exported in {:.1} s", start.elapsed().as_secs_f64())?;
    let (start, key) = (Instant::now(), VerifierKey::parse(&log.verifier_key())?);
    let report = ExportedLog::new(&export).verify(&key, &Demands::default())?;
    writeln!(out, "verified {} entries in {:.1} s", report.log.entries, start.elapsed().as_secs_f64())?;
    Ok(())
}

fn open(folder: &Path) -> Result<Log, Box<dyn Error>> {
    let environment = Environment::parse("prod")?;
    let platform = Platform::system(folder)?;
    let root = RootKey::generate(&environment, platform.random.as_ref());
    let ring = KeyRing::open(root, environment.clone(), platform.clone())?;
    let key = ring.scope_or_create(&control_plane(&environment))?;
    Ok(Log::open(&platform, key, environment)?)
}

/// Gives how many bytes of entries were appended, and how long it took until all were durable.
fn append(log: &Log, batch: u64, batches: u64) -> Result<(u64, Duration), AuditError> {
    let place = Place::Environment(log.environment().clone());
    let event = |turn: u64| {
        let details = Details::none().name("check", "log-integrity")?.count("subjects", turn)?;
        Ok(Event::new("check.pass", place.clone()).with(details.digest("evidence", [7; 32])?).for_commitment("CH-44"))
    };
    let events: Vec<Vec<Event>> =
        (0..batches).map(|_| (0..batch).map(event).collect()).collect::<Result<_, AuditError>>()?;
    let (first, start) = (log.size(), Instant::now());
    for batch in events {
        log.record_all(batch)?;
    }
    let took = start.elapsed();
    let length = log.entry_bytes(first)?.len() as u64;
    Ok((length * batch * batches, took))
}

fn write_and_sync(file: &Path, bytes: u64, times: u64) -> std::io::Result<Duration> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(file)?;
    let bytes = vec![b'x'; usize::try_from(bytes).expect("a batch fits into memory")];
    let start = Instant::now();
    for _ in 0..times {
        file.write_all(&bytes)?;
        file.sync_data()?;
    }
    Ok(start.elapsed())
}

fn put(file: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(file.parent().expect("it lies in the folder"))?;
    fs::write(file, bytes)?;
    Ok(())
}
