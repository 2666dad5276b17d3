//! What durability of facts costs: appends of 100,000 rows with 20 features, against writing and syncing as many bytes to a
//! plain file. Run with `cargo run --release -p creta-store --example append_bench [folder]`.
#![allow(clippy::print_stdout, reason = "a benchmark reports on its standard output")]

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BinaryArray, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow::array::{TimestampMicrosecondArray, UInt64Array};
use creta_keys::{KeyRing, RootKey};
use creta_model::{EntityId, Environment, Scope};
use creta_platform::Platform;
use creta_store::{FactBatch, FactStore, layout};

const ROWS: usize = 100_000;
const FEATURES: usize = 20;
const ROUNDS: u64 = 10;

fn facts(round: u64) -> Result<FactBatch, Box<dyn Error>> {
    let rows = 0..ROWS as u64;
    let times = |late: u64| -> ArrayRef {
        let times = rows.clone().map(|row| (round * ROWS as u64 + row + late) as i64);
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
    };
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (layout::EVENT_TIME.into(), times(0)),
        (layout::ARRIVAL_TIME.into(), times(5)),
        (layout::SOURCE.into(), Arc::new(StringArray::from_iter_values(rows.clone().map(|_| "orders")))),
        (layout::SEQUENCE.into(), Arc::new(UInt64Array::from_iter_values(rows.clone()))),
        (layout::EVENT_ID.into(), Arc::new(BinaryArray::from_iter_values(rows.clone().map(|row| row.to_be_bytes())))),
        (layout::RETRACTED.into(), Arc::new(BooleanArray::from(vec![false; ROWS]))),
    ];
    for feature in 0..FEATURES as u64 {
        // Multiplication by an odd constant: cheap values that do not compress.
        let noise = rows.clone().map(|row| (row + feature + round).wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64);
        columns.push((format!("f{}", feature + 1), Arc::new(Float64Array::from_iter_values(noise))));
    }
    Ok(FactBatch::new(EntityId(1), RecordBatch::try_from_iter(columns)?)?)
}

fn timed<T>(work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(parent)?;
    let platform = Platform::system(folder.path().join("store"))?;
    let environment = Environment::parse("dev")?;
    let root = RootKey::generate(&environment, &*platform.random);
    let key = KeyRing::open(root, environment, platform.clone())?.scope_or_create(&Scope::parse("acme", "dev")?)?;
    let store = FactStore::open(&platform, key, "dev/acme/facts")?;
    let log = "dev/acme/facts/log/00000000000000000000";
    let mut plain = File::create(folder.path().join("plain"))?;

    let (mut durable, mut written, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
    for round in 0..ROUNDS {
        let batch = facts(round)?;
        let before = platform.files.size(log)?;
        durable += timed(|| Ok(store.append(vec![batch])?))?;
        let noise = vec![round as u8; usize::try_from(platform.files.size(log)? - before)?];
        bytes += noise.len();
        written += timed(|| {
            plain.write_all(&noise)?;
            Ok(plain.sync_data()?)
        })?;
    }
    let flush = timed(|| Ok(store.flush()?))?;
    let cold = timed(|| Ok(store.scan(EntityId(1), None, ..)?))?;
    let warm = timed(|| Ok(store.scan(EntityId(1), None, ..)?))?;
    let rows = ROWS as f64 * ROUNDS as f64;
    println!("{rows} rows of {FEATURES} features, {} MB in the log", bytes / 1_000_000);
    println!("durable append  {durable:>10.1?}  {:>10.0} rows/s", rows / durable.as_secs_f64());
    println!("plain and sync  {written:>10.1?}");
    println!("ratio           {:>10.2}", durable.as_secs_f64() / written.as_secs_f64());
    println!("flush           {flush:>10.1?}\nscan, cold      {cold:>10.1?}\nscan, warm      {warm:>10.1?}");
    Ok(())
}
