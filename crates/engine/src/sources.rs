//! Reads declared sources: Parquet, CSV, Arrow and SQLite files of a project.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, Float64Builder, Int64Builder, NullArray, RecordBatch, StringBuilder,
};
use arrow::compute::cast;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use creta_model::{Arrival, Entity, EventTime, Graph, Problem, Source, SourceFormat, Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::coerce::arrow_words;
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
        SourceFormat::Csv { .. } => read_csv(open()?, entity, source).map_err(unreadable),
        SourceFormat::Arrow { .. } => read_arrow(open()?).map_err(unreadable),
        SourceFormat::Sqlite { sql, .. } => {
            open()?;
            read_sqlite(&file, sql).map_err(unreadable)
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
    let batches = batches.collect::<Result<Vec<_>, _>>()?;
    Ok(if batches.is_empty() { vec![RecordBatch::new_empty(Arc::clone(schema))] } else { batches })
}

/// CSV has no types: columns that feed a feature or a time are read as that type, others as text. An empty field is null.
fn read_csv(mut file: File, entity: &Entity, source: &Source) -> Result<Vec<RecordBatch>, String> {
    let format = Format::default().with_header(true);
    let (header, _) = format.infer_schema(BufReader::new(&mut file), Some(0)).map_err(|error| error.to_string())?;
    file.rewind().map_err(|error| error.to_string())?;
    let typed = header.fields().iter().map(|field| {
        let feature = entity.features.iter().find(|f| {
            source.columns.get(&f.name).map_or(f.name.as_str() == field.name(), |column| column == field.name())
        });
        let is_time = matches!(&source.event_time, EventTime::Column(name) if name == field.name())
            || matches!(&source.arrival, Some(Arrival::Column(name)) if name == field.name());
        let datetime = || DataType::Timestamp(TimeUnit::Microsecond, source.zone.is_none().then(|| "UTC".into()));
        let ty = match feature.map(|f| &f.ty) {
            _ if is_time => datetime(),
            Some(Type::Datetime) => datetime(),
            Some(ty @ (Type::Bool | Type::Int | Type::Float | Type::Date | Type::Decimal { .. })) => ty.to_arrow(),
            _ => DataType::Utf8,
        };
        Field::new(field.name(), ty, true)
    });
    let schema = Arc::new(Schema::new(typed.collect::<Vec<_>>()));
    let reader = csv_reader(&schema, &format, &mut file)?;
    // Arrow's own message holds the field.
    let read = whole(reader.map(|batch| batch.map_err(|_| String::new())), &schema);
    read.or_else(|_| Err(bad_field(&schema, &format, &mut file)?))
}

fn csv_reader<'a>(
    schema: &Arc<Schema>,
    format: &Format,
    file: &'a mut File,
) -> Result<arrow::csv::Reader<&'a mut File>, String> {
    file.rewind().map_err(|error| error.to_string())?;
    ReaderBuilder::new(Arc::clone(schema))
        .with_format(format.clone())
        .with_batch_size(BATCH_ROWS)
        .build(file)
        .map_err(|error| error.to_string())
}

/// Where a CSV file that cannot be read goes wrong, without the field itself: its rows are read as text and converted.
fn bad_field(schema: &Arc<Schema>, format: &Format, file: &mut File) -> Result<String, String> {
    let texts = schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true));
    let texts = Arc::new(Schema::new(texts.collect::<Vec<_>>()));
    let mut before = 0;
    for batch in csv_reader(&texts, format, file)? {
        let Ok(batch) = batch else {
            return Ok(format!("a row after row {before} has another number of fields than the header"));
        };
        let mut bad: Option<(usize, &Field)> = None;
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let converted = cast(column, field.data_type()).map_err(|error| error.to_string())?;
            let row = (0..column.len()).find(|row| column.is_valid(*row) && converted.is_null(*row));
            bad = [bad, row.map(|row| (row, field.as_ref()))].into_iter().flatten().min_by_key(|(row, _)| *row);
        }
        if let Some((row, field)) = bad {
            let ty = arrow_words(field.data_type());
            return Ok(format!("column `{}` should hold `{ty}` and does not in row {}", field.name(), before + row));
        }
        before += batch.num_rows();
    }
    Ok("a field does not have the type of its feature".to_owned())
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
}
