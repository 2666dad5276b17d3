//! What permits, the audit log and sealing cost a query, against the same engine with none of them.
//!
//! `cargo run -p creta-bench --profile demo --bin security-cost -- OUT.json [SECONDS]`. Two worlds hold the same facts and answer
//! the same questions. One is put together as a server is: features are named, decided on, admitted by a log on disk, and read from
//! the sealed online store. In the other the online store is LMDB without seals ([`plain::PlainStore`]), and one permit that was
//! given before the clock started serves for every question. Nothing of the second world is part of any program that is shipped.
//!
//! Rounds of the two alternate, so that whatever else the machine does falls on both. What is counted is processor time: of the
//! asking thread where the engine is called, of the server's threads where it is asked over HTTP. Throughput is its inverse.
//! Over HTTP a whole server, with its tokens, limits, metrics, request log and what else it does for each request, is compared
//! with a bare one that has TLS and the engine and nothing more: that ratio is an upper bound.

mod http;
mod plain;
mod world;

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::world::World;

/// The bound that permits, logging and sealing keep, in percent of throughput.
const COST_MAX_PERCENT: f64 = 25.0;
const ROWS: [usize; 2] = [1, 100];
const ROUNDS: usize = 15;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("name a file for the result")?;
    let seconds: f64 = arguments.next().map_or(Ok(0.3), |text| text.parse())?;
    let folder = tempfile::tempdir_in(std::path::Path::new(&file).parent().ok_or("name a file")?)?;
    let mut out = std::io::stdout();
    let mut report = serde_json::Map::new();
    let worlds = [World::secured(folder.path())?, World::bare(folder.path())?].map(Arc::new);

    for rows in ROWS {
        let requests: Vec<_> = (0..64).map(|n| world::question(n, rows)).collect();
        let rounds = alternate(|which| {
            let world = &worlds[which];
            let (start, mut asked) = (cpu_of_thread()?, 0_u32);
            let began = std::time::Instant::now();
            while began.elapsed().as_secs_f64() < seconds {
                for request in &requests {
                    std::hint::black_box(world.ask(request)?);
                    asked += 1;
                }
            }
            Ok((cpu_of_thread()? - start) / f64::from(asked))
        })?;
        report.insert(format!("engine_{rows}_rows"), shown(&mut out, &format!("engine, {rows} rows"), &rounds)?);
    }
    for rows in ROWS {
        let rounds = http::rounds(folder.path(), &worlds[1], rows, seconds)?;
        report.insert(format!("http_{rows}_rows"), shown(&mut out, &format!("over HTTP, {rows} rows"), &rounds)?);
    }
    let most = ROWS.iter().filter_map(|rows| report[&format!("engine_{rows}_rows")]["cost_percent"].as_f64());
    let most = most.fold(f64::MIN, f64::max);
    writeln!(out, "permits, log and seals cost at most {most:.1} % of throughput; {COST_MAX_PERCENT} % are allowed")?;
    report.insert("cost_max_percent".into(), json!(COST_MAX_PERCENT));
    std::fs::write(&file, serde_json::to_vec_pretty(&report)?)?;
    Ok(())
}

/// Processor time per question in seconds, secured and bare, round by round.
fn alternate(mut round: impl FnMut(usize) -> Outcome<f64>) -> Outcome<Vec<[f64; 2]>> {
    for which in [0, 1] {
        round(which)?; // Caches fill, plans are made.
    }
    (0..ROUNDS).map(|_| Ok([round(0)?, round(1)?])).collect()
}

fn shown(out: &mut impl std::io::Write, what: &str, rounds: &[[f64; 2]]) -> Outcome<Value> {
    let secured = median(rounds.iter().map(|round| round[0]));
    let bare = median(rounds.iter().map(|round| round[1]));
    // Of each pair by itself: what disturbed one round most likely disturbed its neighbour.
    let ratio = median(rounds.iter().map(|round| round[1] / round[0]));
    let cost = (1.0 - ratio) * 100.0;
    writeln!(
        out,
        "{what}: {:.1} us secured, {:.1} us bare, {:.0} against {:.0} a second and core, ratio {ratio:.3}, cost {cost:.1} %",
        secured * 1e6,
        bare * 1e6,
        1.0 / secured,
        1.0 / bare
    )?;
    Ok(json!({
        "secured_micros": secured * 1e6, "bare_micros": bare * 1e6, "throughput_ratio": ratio, "cost_percent": cost,
        "rounds": rounds.len(),
    }))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Processor time of this thread in seconds. The kernel counts it in nanoseconds (`sched-stats.rst`).
fn cpu_of_thread() -> Outcome<f64> {
    seconds_of("/proc/thread-self/schedstat")
}

fn seconds_of(schedstat: &str) -> Outcome<f64> {
    let text = std::fs::read_to_string(schedstat)?;
    Ok(text.split(' ').next().ok_or("no processor time")?.parse::<f64>()? / 1e9)
}
