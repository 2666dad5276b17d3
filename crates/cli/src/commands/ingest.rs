//! `creta ingest`: facts from declared sources or a file, sent as they are read.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use arrow::array::RecordBatch;
use creta_engine::{IngestReport, IngestRequest, load_request, read_parquet, read_source};
use creta_model::{Arrival, Bundle, EventTime, Problem, Source};
use serde::Serialize;

use super::{arrow_stream, connect};
use crate::args::Ingest;
use crate::commands::project::export;
use crate::failure::Failure;
use crate::http::{ARROW_STREAM, Server, query_string};
use crate::terminal::{Align, Terminal, grouped, table};

/// Rows of one request: large enough to be quick, small enough for the server's limit on bodies.
const ROWS_PER_REQUEST: usize = 200_000;

#[derive(Serialize)]
struct Loaded {
    name: String,
    entity: String,
    #[serde(flatten)]
    report: IngestReport,
    seconds: f64,
}

pub(crate) fn run(ingest: &Ingest, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (server, _) = connect(&ingest.connection)?;
    let mut loads = Vec::new();
    if let Some(file) = &ingest.file {
        loads.push(load(&server, file_request(ingest)?, &file.display().to_string(), read_file(file)?, terminal)?);
    } else {
        let bundle = export(&ingest.project, ingest.python.as_deref(), terminal)?;
        for source in chosen(ingest, &bundle)? {
            let batches = read_source(&ingest.project, &bundle.graph, source)
                .map_err(|problem| Failure::project(vec![problem]))?;
            loads.push(load(&server, load_request(source), source.name.as_str(), batches, terminal)?);
        }
    }
    let warnings: Vec<Problem> = loads
        .iter()
        .flat_map(|load| {
            load.report.warnings.iter().map(|text| Problem::new("ingest/warning", format!("{}: {text}", load.name)))
        })
        .collect();
    terminal.warn(&warnings);
    terminal.show(&loads, || summary(&loads));
    Ok(())
}

/// The sources asked for by name, or all.
fn chosen<'a>(ingest: &Ingest, bundle: &'a Bundle) -> Result<Vec<&'a Source>, Failure> {
    let sources = &bundle.graph.sources;
    let names = || sources.iter().map(|source| format!("`{}`", source.name)).collect::<Vec<_>>().join(", ");
    if !ingest.all && ingest.source.is_empty() {
        let help = format!(
            "add `--source NAME`, `--all`, or `--file FILE --entity NAME --event-time COLUMN`; sources are {}",
            names()
        );
        return Err(Failure::usage("ingest/nothing", "nothing to load was named", help));
    }
    if sources.is_empty() {
        let help = "declare one with `source(...)`, or name a file with `--file`";
        return Err(Failure::usage("ingest/no-source", "the project declares no source", help));
    }
    if ingest.all {
        return Ok(sources.iter().collect());
    }
    let find = |name| {
        sources.iter().find(|source| &source.name == name).ok_or_else(|| {
            let message = format!("there is no source `{name}`");
            Failure::usage("ingest/unknown-source", message, format!("sources are {}", names()))
        })
    };
    ingest.source.iter().map(find).collect()
}

fn file_request(ingest: &Ingest) -> Result<IngestRequest, Failure> {
    let event_time = match (&ingest.event_time, ingest.event_time_constant) {
        (Some(column), _) => Some(EventTime::Column(column.clone())),
        (None, Some(at)) => Some(EventTime::Constant(at)),
        (None, None) => None,
    };
    let (Some(entity), Some(event_time)) = (&ingest.entity, event_time) else {
        let help = "add `--entity NAME` and `--event-time COLUMN`, or `--event-time-constant INSTANT` for all rows";
        return Err(Failure::usage("ingest/unclear", "a file needs an entity and an event time", help));
    };
    let column = ingest.arrival.clone().map(Arrival::Column);
    Ok(IngestRequest {
        entity: entity.clone(),
        event_time,
        arrival: column.or(ingest.arrival_delay.map(Arrival::Delay)),
        event_id: None,
        source: None,
        columns: std::collections::BTreeMap::new(),
        zone: ingest.zone.clone(),
        retract: None,
    })
}

fn read_file(file: &Path) -> Result<Vec<RecordBatch>, Failure> {
    let opened = File::open(file).map_err(|error| Failure::file("read", file, &error))?;
    read_parquet(opened).map_err(|why| {
        let message = format!("`{}` cannot be read: {why}", file.display());
        Failure::usage("file/not-parquet", message, "name a Parquet file")
    })
}

/// Sends one load in parts. Each part is durable when it is answered; after an interruption the same load can be sent
/// again where its entity has an event id.
fn load(
    server: &Server,
    request: IngestRequest,
    name: &str,
    batches: Vec<RecordBatch>,
    terminal: &Terminal<'_>,
) -> Result<Loaded, Failure> {
    let start = Instant::now();
    let path = address(&request);
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let bar = terminal.progress(&format!("loading {name}"), rows as u64);
    let mut total = IngestReport::default();
    for part in parts(batches) {
        let answer = server.post_bytes(&path, ARROW_STREAM, &arrow_stream(&part)?);
        let report: IngestReport = answer.and_then(crate::http::read_json).inspect_err(|_| bar.finish_and_clear())?;
        bar.inc(report.rows);
        add(&mut total, report);
    }
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    Ok(Loaded { name: name.to_owned(), entity: request.entity.to_string(), report: total, seconds })
}

/// Where a load goes: the body is the table, everything else stands in the address.
fn address(request: &IngestRequest) -> String {
    let (event_time, event_time_constant) = match &request.event_time {
        EventTime::Column(column) => (Some(column.clone()), None),
        EventTime::Constant(at) => (None, Some(at.to_string())),
    };
    let (arrival_column, arrival_delay) = match &request.arrival {
        Some(Arrival::Column(column)) => (Some(column.clone()), None),
        Some(Arrival::Delay(delay)) => (None, Some(delay.to_string())),
        None => (None, None),
    };
    let columns =
        (!request.columns.is_empty()).then(|| serde_json::to_string(&request.columns).expect("names have a JSON form"));
    query_string(
        "/v1/ingest",
        &[
            ("entity", Some(request.entity.to_string())),
            ("event_time", event_time),
            ("event_time_constant", event_time_constant),
            ("arrival_column", arrival_column),
            ("arrival_delay", arrival_delay),
            ("event_id", request.event_id.clone()),
            ("source", request.source.clone()),
            ("zone", request.zone.clone()),
            ("retract", request.retract.clone()),
            ("columns", columns),
        ],
    )
}

/// Batches in order, cut into requests of at most [`ROWS_PER_REQUEST`] rows; a load without rows is one request.
fn parts(batches: Vec<RecordBatch>) -> Vec<Vec<RecordBatch>> {
    let mut parts: Vec<Vec<RecordBatch>> = vec![Vec::new()];
    let mut room = ROWS_PER_REQUEST;
    for batch in batches {
        let mut from = 0;
        loop {
            let rows = (batch.num_rows() - from).min(room);
            parts.last_mut().expect("there is always a part").push(batch.slice(from, rows));
            (from, room) = (from + rows, room - rows);
            if from == batch.num_rows() {
                break;
            }
            parts.push(Vec::new());
            room = ROWS_PER_REQUEST;
        }
    }
    parts
}

fn add(total: &mut IngestReport, part: IngestReport) {
    total.rows += part.rows;
    total.accepted += part.accepted;
    total.quarantined += part.quarantined;
    total.floored += part.floored;
    total.position = part.position;
    for (kept, new) in [(&mut total.warnings, part.warnings), (&mut total.ignored_columns, part.ignored_columns)] {
        for text in new {
            if !kept.contains(&text) {
                kept.push(text);
            }
        }
    }
}

fn summary(loads: &[Loaded]) -> String {
    let headings = [
        ("source", Align::Left),
        ("entity", Align::Left),
        ("rows", Align::Right),
        ("accepted", Align::Right),
        ("quarantined", Align::Right),
        ("seconds", Align::Right),
    ];
    let row = |load: &Loaded| {
        let report = &load.report;
        vec![
            load.name.clone(),
            load.entity.clone(),
            grouped(report.rows),
            grouped(report.accepted),
            grouped(report.quarantined),
            format!("{:.1}", load.seconds),
        ]
    };
    table(&headings, &loads.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn batch(rows: usize) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(0..rows as i64))]).expect("a batch")
    }

    #[test]
    fn loads_are_cut_without_losing_or_reordering_rows() {
        let sizes = |batches: Vec<RecordBatch>| -> Vec<usize> {
            parts(batches).iter().map(|part| part.iter().map(RecordBatch::num_rows).sum()).collect()
        };
        assert_eq!(sizes(vec![batch(0)]), [0]);
        assert_eq!(sizes(vec![batch(3), batch(4)]), [7]);
        assert_eq!(sizes(vec![batch(ROWS_PER_REQUEST)]), [ROWS_PER_REQUEST]);
        assert_eq!(sizes(vec![batch(150_000), batch(300_001)]), [200_000, 200_000, 50_001]);
        let cut = parts(vec![batch(ROWS_PER_REQUEST + 2)]);
        let last = cut[1][0].column(0).as_any().downcast_ref::<Int64Array>().expect("ints").value(0);
        assert_eq!(last, ROWS_PER_REQUEST as i64);
    }

    #[test]
    fn a_file_has_a_column_of_event_times_or_one_for_all_its_rows() {
        use clap::Parser as _;

        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            ingest: Ingest,
        }
        let line = |options: &[&str]| {
            let words = ["ingest", "--file", "users.parquet", "--entity", "User"];
            Line::try_parse_from(words.iter().chain(options)).map(|line| line.ingest)
        };
        let wanted = |options: &[&str]| file_request(&line(options).expect("a load")).map(|request| request.event_time);
        assert_eq!(wanted(&["--event-time", "at"]).expect("a request"), EventTime::Column("at".to_owned()));
        let at = "2026-01-01T00:00:00Z";
        let constant = EventTime::Constant(creta_model::Instant::parse(at).expect("an instant"));
        assert_eq!(wanted(&["--event-time-constant", at]).expect("a request"), constant);
        assert_eq!(wanted(&[]).expect_err("neither").problems[0].code, "ingest/unclear");
        assert!(line(&["--event-time", "at", "--event-time-constant", at]).is_err(), "both");
    }
}
