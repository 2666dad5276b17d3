//! Reads declared sources: Parquet, CSV, Arrow and SQLite files of a project.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Array, Float64Builder, Int64Builder, NullArray, RecordBatch,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use chrono::Utc;
use creta_model::{Arrival, Entity, EventTime, Feature, Graph, Problem, Source, SourceFormat, Type, parse_decimal};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::request::IngestRequest;

const BATCH_ROWS: usize = 65_536;

/// How the facts of a declared source are to be ingested.
pub fn load_request(source: &Source) -> IngestRequest {
    IngestRequest {
        entity: source.entity.clone(),
        event_time: source.event_time.clone(),
        arrival: source.arrival.clone(),
        event_id: None,
        source: Some(source.name.to_string()),
        columns: source.columns.clone(),
        zone: source.zone.clone(),
        retract: None,
    }
}

/// Reads a declared source whole. Paths are relative to `project` and may not leave it. Errors name the file.
pub fn read_source(project: &Path, graph: &Graph, source: &Source) -> Result<Vec<RecordBatch>, Problem> {
    let entity = graph.find_entity(&source.entity).ok_or_else(|| {
        Problem::new(
            "not-found/entity",
            format!("source `{}` loads the unknown entity `{}`", source.name, source.entity),
        )
        .at(&source.location)
    })?;
    let (SourceFormat::Parquet { path }
    | SourceFormat::Csv { path }
    | SourceFormat::Arrow { path }
    | SourceFormat::Sqlite { path, .. }) = &source.format;
    let file = inside(project, path).map_err(|problem| problem.at(&source.location))?;
    let unreadable = |why: String| {
        Problem::new("source/unreadable", format!("source `{}` cannot read `{path}`: {why}", source.name))
            .at(&source.location)
            .with_help("check the path, which is relative to the project folder, and the format")
    };
    let open = || {
        File::open(&file).map_err(|error| {
            unreadable(match error.kind() {
                ErrorKind::NotFound => "there is no such file".to_owned(),
                ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
                kind => kind.to_string(),
            })
        })
    };
    match &source.format {
        SourceFormat::Parquet { .. } => read_parquet(open()?).map_err(unreadable),
        SourceFormat::Csv { .. } => {
            read_csv(open()?).and_then(|batches| declared(batches, entity, source)).map_err(unreadable)
        }
        SourceFormat::Arrow { .. } => read_arrow(open()?).map_err(unreadable),
        SourceFormat::Sqlite { sql, .. } => {
            open()?;
            read_sqlite(&file, sql).and_then(|batches| declared(batches, entity, source)).map_err(unreadable)
        }
    }
}

fn inside(project: &Path, path: &str) -> Result<PathBuf, Problem> {
    let relative = Path::new(path);
    if relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Ok(project.join(relative));
    }
    Err(Problem::new("source/outside-project", format!("`{path}` leaves the project folder"))
        .with_help("put the file, or a link to it, inside the project"))
}

/// Reads a Parquet file.
pub fn read_parquet(file: File) -> Result<Vec<RecordBatch>, String> {
    let words = |error: ParquetError| match error {
        ParquetError::General(why) => format!("it is no Parquet file, or was cut off ({why})"),
        ParquetError::EOF(_) => CUT_OFF.to_owned(),
        other => other.to_string(),
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(words)?;
    let schema = Arc::clone(reader.schema());
    let reader = reader.with_batch_size(BATCH_ROWS).build().map_err(words)?;
    whole(reader.map(|batch| batch.map_err(|error| arrow_error(&error))), &schema)
}

/// Reads an Arrow IPC file, or failing that an IPC stream, which must have its end marker: without it nobody can tell a
/// stream from the first half of one.
pub fn read_arrow(mut file: File) -> Result<Vec<RecordBatch>, String> {
    if let Ok(reader) = FileReader::try_new(BufReader::new(&mut file), None) {
        let schema = reader.schema();
        return whole(reader.map(|batch| batch.map_err(|error| arrow_error(&error))), &schema);
    }
    file.rewind().map_err(|error| error.to_string())?;
    let reader = StreamReader::try_new(BufReader::new(&mut file), None).map_err(|error| arrow_error(&error))?;
    let schema = reader.schema();
    let batches = whole(reader.map(|batch| batch.map_err(|error| arrow_error(&error))), &schema)?;
    if has_end_marker(&mut file).map_err(|error| error.to_string())? { Ok(batches) } else { Err(CUT_OFF.to_owned()) }
}

const CUT_OFF: &str = "it ends too early and was cut off";

/// Whether a stream ends as Arrow's IPC format ends one: a continuation marker and a length of zero.
fn has_end_marker(file: &mut File) -> std::io::Result<bool> {
    let mut end = [0; 8];
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut end)?;
    Ok(end == [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])
}

fn arrow_error(error: &ArrowError) -> String {
    match error {
        ArrowError::IoError(_, cause) if cause.kind() == ErrorKind::UnexpectedEof => CUT_OFF.to_owned(),
        other => other.to_string(),
    }
}

fn whole(
    batches: impl Iterator<Item = Result<RecordBatch, String>>,
    schema: &Arc<Schema>,
) -> Result<Vec<RecordBatch>, String> {
    // Readers leave out what a file says of itself; where a table is from has to stay with it.
    let whole = |batch: RecordBatch| {
        let of_batch = batch.schema();
        let with = Schema::new_with_metadata(of_batch.fields().clone(), schema.metadata().clone());
        batch.with_schema(Arc::new(with)).map_err(|error| error.to_string())
    };
    let batches = batches.map(|batch| batch.and_then(whole)).collect::<Result<Vec<_>, _>>()?;
    Ok(if batches.is_empty() { vec![RecordBatch::new_empty(Arc::clone(schema))] } else { batches })
}

/// Reads a CSV file as text, an empty field as null.
fn read_csv(mut file: File) -> Result<Vec<RecordBatch>, String> {
    let words = |error: ArrowError| match error {
        // These name lines and counts; only conversions would show a field.
        ArrowError::CsvError(why) => why,
        other => other.to_string(),
    };
    let format = Format::default().with_header(true);
    let (header, _) = format.infer_schema(BufReader::new(&mut file), Some(0)).map_err(words)?;
    file.rewind().map_err(|error| error.to_string())?;
    let texts = header.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true));
    let schema = Arc::new(Schema::new(texts.collect::<Vec<_>>()));
    let reader = ReaderBuilder::new(Arc::clone(&schema)).with_format(format).with_batch_size(BATCH_ROWS);
    whole(reader.build(file).map_err(words)?.map(|batch| batch.map_err(words)), &schema)
}

/// CSV and SQLite lack most types: columns that feed a feature or a time are converted to its type; others stay as they are.
fn declared(batches: Vec<RecordBatch>, entity: &Entity, source: &Source) -> Result<Vec<RecordBatch>, String> {
    let wanted = |column: &str| {
        let is_time = matches!(&source.event_time, EventTime::Column(name) if name == column)
            || matches!(&source.arrival, Some(Arrival::Column(name)) if name == column);
        let feeds = |f: &&Feature| source.columns.get(&f.name).map_or(f.name.as_str(), String::as_str) == column;
        if is_time { Some(&Type::Datetime) } else { entity.features.iter().find(feeds).map(|f| &f.ty) }
    };
    let mut before = 0;
    let mut converted = Vec::with_capacity(batches.len());
    for batch in batches {
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let column = match wanted(field.name()) {
                Some(ty) => as_type(column, ty).map_err(|wrong| wrong.at(field.name(), ty, before))?,
                None => Arc::clone(column),
            };
            columns.push((field.name(), column, true));
        }
        before += batch.num_rows();
        converted.push(RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| error.to_string())?);
    }
    Ok(converted)
}

/// Why a column cannot be of its feature's type; the number is a row.
enum Wrong {
    Value(usize),
    Mixed(usize),
    Other(ArrowError),
}

impl Wrong {
    fn at(self, column: &str, ty: &Type, before: usize) -> String {
        match self {
            Self::Value(row) => {
                format!("column `{column}` should hold `{}` and does not in row {}", ty.python_name(), before + row)
            }
            Self::Mixed(row) => format!(
                "column `{column}` mixes times with and without a time zone, first in row {}; write all of them one way",
                before + row
            ),
            Self::Other(error) => format!("column `{column}`: {error}"),
        }
    }
}

/// Texts, and SQLite's 0 and 1, as the type they stand for. What needs no conversion is left to the checks of a load.
fn as_type(column: &ArrayRef, ty: &Type) -> Result<ArrayRef, Wrong> {
    match (column.data_type(), ty) {
        (DataType::Utf8, Type::Datetime) => times(column.as_string()),
        (DataType::Utf8, Type::Decimal { scale }) => {
            let read = |(row, text): (usize, Option<&str>)| match text {
                Some(text) => parse_decimal(text, *scale).map(Some).ok_or(Wrong::Value(row)),
                None => Ok(None),
            };
            let unscaled = column.as_string::<i32>().iter().enumerate().map(read);
            let decimals = unscaled.collect::<Result<Decimal128Array, Wrong>>()?;
            Ok(Arc::new(decimals.with_data_type(ty.to_arrow())))
        }
        (DataType::Utf8, Type::Bool | Type::Int | Type::Float | Type::Date) | (DataType::Int64, Type::Bool) => {
            let converted = cast(column, &ty.to_arrow()).map_err(Wrong::Other)?;
            let is_other_int = |row: usize| {
                column.as_primitive_opt::<Int64Type>().is_some_and(|ints| !matches!(ints.value(row), 0 | 1))
            };
            match (0..column.len()).find(|row| column.is_valid(*row) && (converted.is_null(*row) || is_other_int(*row)))
            {
                Some(row) => Err(Wrong::Value(row)),
                None => Ok(converted),
            }
        }
        _ => Ok(Arc::clone(column)),
    }
}

/// Times as text: instants when they say their zone, local times when none does (rule S15 decides about those).
fn times(texts: &StringArray) -> Result<ArrayRef, Wrong> {
    let mut zoned: Option<bool> = None;
    let mut micros = Vec::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else {
            micros.push(None);
            continue;
        };
        let says_zone = has_zone(text);
        if *zoned.get_or_insert(says_zone) != says_zone {
            return Err(Wrong::Mixed(row));
        }
        let at = string_to_datetime(&Utc, text).map_err(|_| Wrong::Value(row))?;
        micros.push(Some(at.timestamp_micros()));
    }
    let micros = TimestampMicrosecondArray::from(micros);
    Ok(Arc::new(if zoned == Some(false) { micros } else { micros.with_timezone("UTC") }))
}

/// Whether something follows the time: `Z`, an offset such as `+02:00`, or a zone's name. A date has ten characters and one
/// that parts it from the time.
fn has_zone(text: &str) -> bool {
    let time = text.get(11..).unwrap_or_default();
    time.contains(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.' | ','))
}

/// Runs one `select` on a database opened for reading only. A column's type is that of its first value that is not null.
fn read_sqlite(path: &Path, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let words = |error: rusqlite::Error| error.to_string();
    let database =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(words)?;
    let mut statement = database.prepare(sql).map_err(words)?;
    if !statement.readonly() {
        return Err("the statement would change the database; write one `select`".into());
    }
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut columns: Vec<SqliteColumn> = names.iter().map(|_| SqliteColumn::Unknown { nulls: 0 }).collect();
    let mut rows = statement.query([]).map_err(words)?;
    while let Some(row) = rows.next().map_err(words)? {
        for (index, column) in columns.iter_mut().enumerate() {
            let value = row.get_ref(index).map_err(words)?;
            column.push(value).map_err(|kind| format!("column `{}` mixes {kind}", names[index]))?;
        }
    }
    let arrays: Vec<ArrayRef> = columns.into_iter().map(SqliteColumn::finish).collect();
    let fields: Vec<Field> =
        names.iter().zip(&arrays).map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map(|batch| vec![batch])
        .map_err(|error| error.to_string())
}

enum SqliteColumn {
    Unknown { nulls: usize },
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Blob(BinaryBuilder),
}

impl SqliteColumn {
    fn push(&mut self, value: ValueRef<'_>) -> Result<(), &'static str> {
        if let Self::Unknown { nulls } = self {
            let nulls = *nulls;
            macro_rules! start {
                ($variant:ident, $builder:ty) => {{
                    let mut builder = <$builder>::new();
                    (0..nulls).for_each(|_| builder.append_null());
                    *self = Self::$variant(builder);
                }};
            }
            match value {
                ValueRef::Null => *self = Self::Unknown { nulls: nulls + 1 },
                ValueRef::Integer(_) => start!(Int, Int64Builder),
                ValueRef::Real(_) => start!(Float, Float64Builder),
                ValueRef::Text(_) => start!(Text, StringBuilder),
                ValueRef::Blob(_) => start!(Blob, BinaryBuilder),
            }
            if matches!(value, ValueRef::Null) {
                return Ok(());
            }
        }
        match (self, value) {
            (Self::Int(builder), ValueRef::Null) => builder.append_null(),
            (Self::Float(builder), ValueRef::Null) => builder.append_null(),
            (Self::Text(builder), ValueRef::Null) => builder.append_null(),
            (Self::Blob(builder), ValueRef::Null) => builder.append_null(),
            (Self::Int(builder), ValueRef::Integer(i)) => builder.append_value(i),
            (Self::Float(builder), ValueRef::Real(f)) => builder.append_value(f),
            (Self::Text(builder), ValueRef::Text(text)) => {
                builder.append_value(std::str::from_utf8(text).map_err(|_| "text with bytes that are not UTF-8")?);
            }
            (Self::Blob(builder), ValueRef::Blob(bytes)) => builder.append_value(bytes),
            (Self::Int(_), _) => return Err("integers with other values; cast it in the statement"),
            (Self::Float(_), _) => return Err("floats with other values; cast it in the statement"),
            (Self::Text(_), _) => return Err("texts with other values; cast it in the statement"),
            (_, _) => return Err("blobs with other values; cast it in the statement"),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Unknown { nulls } => Arc::new(NullArray::new(nulls)),
            Self::Int(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Blob(mut builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Decimal128Type, TimeUnit, TimestampMicrosecondType};

    #[test]
    fn a_source_may_not_leave_its_project() {
        for bad in ["../secret.parquet", "/etc/passwd", "data/../../x"] {
            assert_eq!(inside(Path::new("/project"), bad).expect_err("outside").code, "source/outside-project");
        }
        assert!(inside(Path::new("/project"), "./data/flights.parquet").is_ok());
    }

    #[test]
    fn sqlite_columns_keep_nulls_and_refuse_mixtures_and_writes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("shop.db");
        let database = Connection::open(&path).expect("opens");
        database
            .execute_batch("create table t(a, b, c); insert into t values (null, 1.5, 'x'), (7, null, 2);")
            .expect("valid SQL");
        let batch = &read_sqlite(&path, "select a, b from t order by rowid").expect("reads")[0];
        assert_eq!((batch.num_rows(), batch.column(0).null_count()), (2, 1));
        assert_eq!(batch.column(0).data_type(), &DataType::Int64);
        assert!(read_sqlite(&path, "select c from t").expect_err("mixed").contains("mixes texts"));
        assert!(read_sqlite(&path, "delete from t returning a").expect_err("a write").contains("would change"));
    }

    #[test]
    fn texts_and_ints_become_what_their_features_declare() {
        let here = serde_json::json!({ "file": "shop.py", "line": 1 });
        let feature =
            |name: &str, kind: &str| serde_json::json!({ "name": name, "type": { "kind": kind }, "location": here });
        let entity: Entity = serde_json::from_value(serde_json::json!({
            "name": "Order", "location": here,
            "features": [feature("id", "int"), feature("paid", "bool"), feature("born", "date")]
        }))
        .expect("an entity");
        let source: Source = serde_json::from_value(serde_json::json!({
            "name": "orders", "entity": "Order", "format": "csv", "path": "x", "event_time": { "column": "at" },
            "columns": { "paid": "was_paid" }, "location": here
        }))
        .expect("a source");
        let texts = |values: &[Option<&str>]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
        let ints = |values: &[i64]| Arc::new(arrow::array::Int64Array::from(values.to_vec())) as ArrayRef;
        let read = |paid: ArrayRef, at: ArrayRef| {
            let columns = [
                ("id", texts(&[Some("7"), None])),
                ("was_paid", paid),
                ("born", texts(&[Some("2000-02-29"), None])),
                ("at", at),
                ("note", texts(&[Some("x"), None])),
            ];
            let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)));
            declared(vec![batch.expect("columns of one length")], &entity, &source)
        };
        let types = |batch: &RecordBatch| -> Vec<String> {
            batch.columns().iter().map(|column| column.data_type().to_string()).collect()
        };
        let zoned = read(ints(&[0, 1]), texts(&[Some("2025-03-01 12:00:00+01:00"), None])).expect("reads");
        assert_eq!(types(&zoned[0]), ["Int64", "Boolean", "Date32", "Timestamp(µs, \"UTC\")", "Utf8"]);
        let local = read(ints(&[0, 1]), texts(&[Some("2025-03-01"), None])).expect("reads");
        assert_eq!(types(&local[0])[3], "Timestamp(µs)");
        let named = read(ints(&[0, 1]), texts(&[Some("2025-07-01 12:00:00 UTC"), None])).expect("reads");
        assert_eq!(types(&named[0])[3], "Timestamp(µs, \"UTC\")", "a zone's name is a zone");
        let mixed = read(ints(&[0, 1]), texts(&[Some("2025-07-01T12:00:00.5"), Some("2025-07-01 12:00:00 UTC")]));
        assert!(mixed.expect_err("one local, one not").contains("mixes times with and without a time zone"));
        let two = read(ints(&[0, 2]), texts(&[None, None])).expect_err("2 is neither true nor false");
        assert_eq!(two, "column `was_paid` should hold `bool` and does not in row 1");
    }

    #[test]
    fn s15_times_that_end_in_a_zones_name_are_instants() {
        let texts = StringArray::from(vec!["2025-07-01 12:00:00 UTC", "2025-07-01 12:00:00 America/New_York"]);
        let Ok(read) = times(&texts) else { panic!("both are times") };
        assert_eq!(read.data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
        let noon = creta_model::Instant::parse("2025-07-01T12:00:00Z").expect("valid").micros();
        let micros = read.as_primitive::<TimestampMicrosecondType>().values();
        assert_eq!(micros, &[noon, noon + 4 * 3_600_000_000]);
        for (text, zone) in [
            ("2025-07-01", false),
            ("2025-07-01T12:00", false),
            ("2025-07-01 12:00:00,5", false),
            ("2025-07-01T12:00:00z", true),
            ("2025-07-01T12:00:00-04", true),
            ("2025-07-01 12:00:00 GMT", true),
        ] {
            assert_eq!(has_zone(text), zone, "{text}");
        }
    }

    #[test]
    fn decimals_in_texts_are_read_exactly_or_not_at_all() {
        let ty = Type::Decimal { scale: 2 };
        let read =
            |text: &str| as_type(&(Arc::new(StringArray::from(vec![Some("1"), None, Some(text)])) as ArrayRef), &ty);
        let Ok(exact) = read("1.500") else { panic!("two places are enough for it") };
        let decimals = exact.as_primitive::<Decimal128Type>();
        assert_eq!((exact.data_type(), decimals.value(2), decimals.is_null(1)), (&ty.to_arrow(), 150, true));
        for text in ["1.005", "1e3", "one", "1000000000000000000000000000000000000.00"] {
            assert!(matches!(read(text), Err(Wrong::Value(2))), "{text}");
        }
    }
}
