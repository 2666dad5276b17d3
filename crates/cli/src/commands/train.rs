//! `creta train`: features beside the rows of a spine, as a Parquet file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::util::pretty::pretty_format_batches;
use creta_engine::read_parquet;
use creta_model::{FeaturePath, Problem};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{arrow_stream, connect};
use crate::args::Train;
use crate::failure::Failure;
use crate::http::{ARROW_STREAM, query_string};
use crate::terminal::{Terminal, counted};

/// Rows and columns shown of a training set; the rest is in the file.
const PREVIEW_ROWS: usize = 5;
const PREVIEW_COLUMNS: usize = 8;

pub(crate) fn run(train: &Train, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
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
        ],
    );
    let (server, _) = connect(&train.connection)?;
    let bar = terminal.progress("building the training set", 0);
    let answer = arrow_stream(&spine).and_then(|body| server.post_bytes(&path, ARROW_STREAM, &body));
    let written = answer.and_then(|answer| {
        let reader = StreamReader::try_new(answer.into_body().into_reader(), None);
        let reader = reader.map_err(|error| unreadable(&error))?;
        let schema = reader.schema();
        write_parquet(&train.out, schema, reader.map(|batch| batch.map_err(|error| unreadable(&error))))
    });
    bar.finish_and_clear();
    let written = written?;
    let seconds = start.elapsed().as_secs_f64();
    let shown = serde_json::json!({
        "file": train.out, "rows": written.rows, "columns": written.columns, "seconds": seconds,
    });
    terminal.show(&shown, || {
        let (rows, columns) = (counted(written.rows, "row", "rows"), counted(written.columns, "column", "columns"));
        format!("{}{rows}, {columns} in {seconds:.1} s, written to {}", written.preview, train.out.display())
    });
    Ok(())
}

/// `Flight.carrier=carrier`: a path and the column that holds its known values.
fn inputs(given: &[String]) -> Result<BTreeMap<FeaturePath, String>, Failure> {
    let parsed = given.iter().map(|text| {
        let (path, column) = text.split_once('=')?;
        Some((FeaturePath::parse(path).ok()?, column.to_owned()))
    });
    parsed.collect::<Option<_>>().ok_or_else(|| {
        let message = "an `--input` is not a path and a column";
        Failure::usage("request/bad-input", message, "write for example `--input Flight.carrier=carrier`")
    })
}

fn read_spine(file: &Path) -> Result<Vec<RecordBatch>, Failure> {
    let opened = File::open(file).map_err(|error| Failure::file("read", file, &error))?;
    read_parquet(opened).map_err(|why| {
        let message = format!("the spine `{}` cannot be read: {why}", file.display());
        Failure::usage("file/not-parquet", message, "name a Parquet file")
    })
}

fn unreadable(error: &arrow::error::ArrowError) -> Failure {
    let problem = Problem::new("answer/unreadable", format!("the server's answer could not be read: {error}"));
    Failure::from(problem.with_help("try again; if it happens again, read the server's log"))
}

/// What a training set turned out to be.
struct Written {
    rows: u64,
    columns: u64,
    preview: String,
}

/// Writes batches as they come; a file that was there stays until the new one is whole.
fn write_parquet(
    file: &Path,
    schema: SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, Failure>>,
) -> Result<Written, Failure> {
    let failed = |error: &std::io::Error| Failure::file("write", file, error);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let columns = schema.fields().len() as u64;
    let broken = |error: parquet::errors::ParquetError| failed(&std::io::Error::other(error));
    let mut writer = ArrowWriter::try_new(temporary.as_file(), schema, Some(properties)).map_err(broken)?;
    let mut written = Written { rows: 0, columns, preview: String::new() };
    for batch in batches {
        let batch = batch?;
        if written.rows == 0 {
            written.preview = preview(&batch);
        }
        written.rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(broken)?;
    }
    writer.close().map_err(broken)?;
    temporary.persist(file).map_err(|error| failed(&error.error))?;
    Ok(written)
}

/// The first rows, and of wide tables the last columns: those are the features.
fn preview(batch: &RecordBatch) -> String {
    let rows = batch.slice(0, batch.num_rows().min(PREVIEW_ROWS));
    let columns: Vec<usize> = (batch.num_columns().saturating_sub(PREVIEW_COLUMNS)..batch.num_columns()).collect();
    let shown = rows.project(&columns).and_then(|rows| Ok(pretty_format_batches(&[rows])?.to_string()));
    let more = match batch.num_columns() - columns.len() {
        0 => String::new(),
        more => format!("{} not shown\n", counted(more as u64, "more column", "more columns")),
    };
    shown.map_or_else(|_| String::new(), |text| format!("{text}\n{more}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

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
