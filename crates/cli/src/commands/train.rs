//! `creta train`: features beside the rows of a spine, as a Parquet file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::util::display::array_value_to_string;
use creta_engine::{TIMES_FLOORED, create_parquet, read_parquet};
use creta_model::{FeaturePath, Problem};
use parquet::errors::ParquetError;

use super::{arrow_stream, connect, dataset, leakage};
use crate::args::Train;
use crate::failure::Failure;
use crate::http::{ARROW_STREAM, query_string};
use crate::terminal::{Align, Terminal, counted, grouped, table};

/// Rows and columns shown of a training set; the rest is in the file.
const PREVIEW_ROWS: usize = 4;
const PREVIEW_COLUMNS: usize = 15;
const PREVIEW_WIDTH: usize = 20;

pub(crate) fn run(train: &Train, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    if let Some(name) = &train.name {
        return dataset::make(train, name, terminal);
    }
    if train.audit_leakage {
        return leakage::audit(train, terminal);
    }
    let start = Instant::now();
    let spine = read_spine(&train.spine)?;
    let inputs = serde_json::to_string(&inputs(&train.input)?).expect("names have a JSON form");
    let features: Vec<String> = train.features.iter().map(ToString::to_string).collect();
    let path = query_string(
        "/v1/training-sets",
        &[
            ("features", Some(features.join(","))),
            ("as_of", Some(train.as_of.clone())),
            ("inputs", Some(inputs)),
            ("states", Some(train.states.to_string())),
            ("memory", train.memory.map(|memory| memory.to_string())),
            ("sample", sample(train)?),
            ("required", required(train)),
            ("sink", train.sink.clone()),
        ],
    );
    let (server, _) = connect(&train.connection)?;
    let bar = terminal.progress("building the training set", 0);
    let answer = arrow_stream(&spine).and_then(|body| server.post_bytes(&path, ARROW_STREAM, &body));
    let Some(out) = &train.out else {
        bar.finish_and_clear();
        let written = answer?.into_body().read_to_string().map_err(|error| not_understood(&error))?;
        return show_sink(&written, terminal);
    };
    let written = answer.and_then(|answer| {
        let reader = StreamReader::try_new(answer.into_body().into_reader(), None);
        let reader = reader.map_err(|error| unreadable(&error))?;
        let schema = reader.schema();
        write_parquet(out, schema, reader.map(|batch| batch.map_err(|error| unreadable(&error))))
    });
    bar.finish_and_clear();
    let written = written?;
    let seconds = start.elapsed().as_secs_f64();
    let shown = serde_json::json!({
        "file": out, "rows": written.rows, "columns": written.columns, "seconds": seconds,
        "floored": written.floored,
    });
    terminal.show(&shown, || {
        let (rows, columns) = (counted(written.rows, "row", "rows"), counted(written.columns, "column", "columns"));
        let floored = floored_text(written.floored);
        format!("{}{rows}, {columns} in {seconds:.1} s, written to {}{floored}", written.preview, out.display())
    });
    Ok(())
}

/// Says that times of the spine lost digits (rule S17), on a line of its own; nothing where none did.
pub(super) fn floored_text(floored: u64) -> String {
    match floored {
        0 => String::new(),
        _ => format!(
            "\n{} finer than a microsecond, and floored",
            counted(floored, "time of the spine was", "times of the spine were")
        ),
    }
}

/// Which rows to look at, as the server takes it.
pub(super) fn sample(train: &Train) -> Result<Option<String>, Failure> {
    let Some(sample) = train.sample else { return Ok(None) };
    let json = if sample > 0.0 && sample < 1.0 {
        serde_json::json!({ "share": sample, "seed": train.seed })
    } else if sample >= 1.0 && sample.fract() == 0.0 && sample <= 1e15 {
        serde_json::json!({ "rows": sample as u64, "seed": train.seed })
    } else {
        let message = "a sample is a number of rows, or a share of them between 0 and 1";
        return Err(Failure::usage("request/bad-sample", message, "write `--sample 10000` or `--sample 0.1`"));
    };
    Ok(Some(json.to_string()))
}

/// Features without whose value a row is left out, as the server takes them.
pub(super) fn required(train: &Train) -> Option<String> {
    let paths: Vec<String> = train.required.iter().map(ToString::to_string).collect();
    (!paths.is_empty()).then(|| paths.join(","))
}

/// Says what the server wrote where.
pub(super) fn show_sink(answer: &str, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let written: WrittenToSink = serde_json::from_str(answer).map_err(|error| not_understood(&error))?;
    terminal.show(&written, || {
        let rows = counted(written.rows, "row", "rows");
        format!("{rows}, written by the server to sink `{}` as {}", written.sink, written.file)
    });
    Ok(())
}

pub(super) fn not_understood(error: &dyn std::fmt::Display) -> Failure {
    let problem = Problem::new("answer/unreadable", format!("the server's answer could not be read: {error}"));
    Failure::from(problem.with_help("try again; if it happens again, read the server's log"))
}

/// What a server wrote to a sink.
#[derive(serde::Serialize, serde::Deserialize)]
struct WrittenToSink {
    sink: String,
    file: String,
    rows: u64,
    bytes: u64,
}

/// `Flight.carrier=carrier`: a path and the column that holds its known values.
pub(super) fn inputs(given: &[String]) -> Result<BTreeMap<FeaturePath, String>, Failure> {
    let parsed = given.iter().map(|text| {
        let (path, column) = text.split_once('=')?;
        Some((FeaturePath::parse(path).ok()?, column.to_owned()))
    });
    parsed.collect::<Option<_>>().ok_or_else(|| {
        let message = "an `--input` is not a path and a column";
        Failure::usage("request/bad-input", message, "write for example `--input Flight.carrier=carrier`")
    })
}

pub(super) fn read_spine(file: &Path) -> Result<Vec<RecordBatch>, Failure> {
    let opened = File::open(file).map_err(|error| Failure::file("read", file, &error))?;
    read_parquet(opened).map_err(|why| {
        let message = format!("the spine `{}` cannot be read: {why}", file.display());
        Failure::usage("file/not-parquet", message, "name a Parquet file")
    })
}

fn unreadable(error: &arrow::error::ArrowError) -> Failure {
    not_understood(error)
}

/// What a training set turned out to be.
struct Written {
    rows: u64,
    columns: u64,
    /// Times of the spine that lost digits.
    floored: u64,
    preview: String,
}

/// Why a file was not written.
enum Unwritten {
    /// What it was to hold did not come.
    Answer(Failure),
    /// It could not be made.
    File(std::io::Error),
}

impl From<ParquetError> for Unwritten {
    fn from(error: ParquetError) -> Self {
        Self::File(std::io::Error::other(error))
    }
}

impl From<std::io::Error> for Unwritten {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}

/// Writes batches as they come, a row group at a time; a file that was there stays until the new one is whole.
fn write_parquet(
    file: &Path,
    schema: SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, Failure>>,
) -> Result<Written, Failure> {
    let columns = schema.fields().len() as u64;
    let floored = schema.metadata().get(TIMES_FLOORED).and_then(|count| count.parse().ok()).unwrap_or(0);
    let mut shown = String::new();
    let batches = batches.map(|batch| {
        let batch = batch.map_err(Unwritten::Answer)?;
        if shown.is_empty() {
            shown = preview(&batch);
        }
        Ok(batch)
    });
    let rows = create_parquet(file, &schema, batches).map_err(|why| match why {
        Unwritten::Answer(failure) => failure,
        Unwritten::File(error) => Failure::file("write", file, &error),
    })?;
    Ok(Written { rows, columns, floored, preview: shown })
}

/// A few rows of the first batch, spread over it, one column each: wide tables stay readable that way. Of the columns
/// the last: those are the features.
fn preview(batch: &RecordBatch) -> String {
    let shown = batch.num_rows().min(PREVIEW_ROWS);
    let rows: Vec<usize> = (0..shown).map(|n| (2 * n + 1) * batch.num_rows() / (2 * shown)).collect();
    let skipped = batch.num_columns().saturating_sub(PREVIEW_COLUMNS);
    let numbers: Vec<String> = rows.iter().map(|row| format!("row {}", grouped(*row as u64))).collect();
    let mut headings = vec![("column", Align::Left)];
    headings.extend(numbers.iter().map(|number| (number.as_str(), Align::Right)));
    let lines = (skipped..batch.num_columns()).map(|column| {
        let mut line = vec![batch.schema_ref().field(column).name().clone()];
        line.extend(rows.iter().map(|row| cell(batch.column(column), *row)));
        line
    });
    let mut text = table(&headings, &lines.collect::<Vec<_>>()) + "\n";
    if skipped > 0 {
        text.push_str(&format!("and {}\n", counted(skipped as u64, "column before them", "columns before them")));
    }
    text + "\n"
}

/// A value in at most [`PREVIEW_WIDTH`] characters; numbers with a fraction in four places.
fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    let text = match column.as_primitive_opt::<Float64Type>() {
        Some(floats) => format!("{:.4}", floats.value(row)),
        None => array_value_to_string(column, row).unwrap_or_default(),
    };
    if text.chars().count() <= PREVIEW_WIDTH {
        return text;
    }
    text.chars().take(PREVIEW_WIDTH - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn a_preview_shows_rows_from_the_whole_table() {
        let columns: Vec<(String, ArrayRef)> = vec![
            ("id".into(), Arc::new(Int64Array::from_iter_values(0..1000))),
            ("x".into(), Arc::new(arrow::array::Float64Array::from_iter((0..1000).map(|n| (n > 500).then_some(0.5))))),
            ("t".into(), Arc::new(arrow::array::StringArray::from_iter_values((0..1000).map(|_| "ä".repeat(30))))),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let cut = format!("{}...", "ä".repeat(17));
        let text = preview(&batch);
        assert!(text.starts_with("column               row 125"), "{text}");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["id", "125", "375", "625", "875"]);
        assert_eq!(lines[2], ["x", "0.5000", "0.5000"]);
        assert_eq!(lines[3][1], cut);
        assert_eq!(preview(&batch.slice(0, 0)).lines().count(), 5, "a table without rows still has its columns");
    }

    #[test]
    fn a_training_set_survives_writing_and_a_failed_one_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("t.parquet");
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let column = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).expect("a batch");
        let two = [Ok(batch.clone()), Ok(batch.clone())];
        let written = write_parquet(&file, Arc::clone(&schema), two.into_iter()).expect("writes");
        assert_eq!((written.rows, written.columns), (6, 1));
        assert!(written.preview.contains("id"));
        let cut_short = [Ok(batch), Err(Failure::usage("a/b", "cut short", ""))];
        assert!(write_parquet(&file, schema, cut_short.into_iter()).is_err());
        let read = read_spine(&file).expect("the first file");
        assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 6);
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1, "no half file is left");
    }
}
