//! Writes training sets as Parquet, columns side by side on several threads.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_empty_array};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::add_encoded_arrow_schema_to_metadata;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use crate::parallel::in_parallel;

/// How a file is laid out. The bytes depend on this and on the rows, not on the number of threads nor on how rows come in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParquetForm {
    /// Level of Zstandard, 1 to 22.
    pub level: i32,
    /// Rows of a row group, at least 1. So many rows are held in memory, with what they are compressed to.
    pub row_group_rows: usize,
}

impl ParquetForm {
    /// The form of files that are handed out: Zstandard's quickest level, and row groups of at most 2^17 rows, of fewer where
    /// there are so many columns that a group would hold more than 2^24 cells.
    pub fn of(schema: &SchemaRef) -> Self {
        let columns: usize = schema.fields().iter().map(|field| leaves(field.data_type())).sum();
        let rows = (ROW_GROUP_CELLS_MAX / columns.max(1)).clamp(ROW_GROUP_ROWS_MIN, ROW_GROUP_ROWS_MAX);
        Self { level: 1, row_group_rows: 1 << rows.ilog2() }
    }
}

const ROW_GROUP_CELLS_MAX: usize = 1 << 24;
const ROW_GROUP_ROWS_MIN: usize = 1 << 10;
const ROW_GROUP_ROWS_MAX: usize = 1 << 17;

/// Writes a file as [`write_parquet`] does, in the form of its columns. One that was there stays until the new one is whole.
pub fn create_parquet<E: From<ParquetError> + From<io::Error>>(
    path: &Path,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch, E>>,
) -> Result<u64, E> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(folder)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let rows = write_parquet(temporary.as_file(), schema, batches, ParquetForm::of(schema), threads)?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(rows)
}

/// Writes batches as they come and answers how many rows they had. All have `schema`.
///
/// Every column has statistics per row group. The first error of `batches` ends it; what was written until then is no file.
pub fn write_parquet<E: From<ParquetError>>(
    out: impl Write + Send,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch, E>>,
    form: ParquetForm,
    threads: usize,
) -> Result<u64, E> {
    let mut writer = ParquetWriter::new(out, schema, form, threads);
    for batch in batches {
        writer.write(batch?)?;
    }
    Ok(writer.finish()?)
}

/// A Parquet file that grows batch by batch; see [`write_parquet`]. In memory are the rows of one row group and what they are
/// compressed to. Dropped before it is finished, it is no file.
pub struct ParquetWriter<W: Write + Send> {
    schema: SchemaRef,
    form: ParquetForm,
    threads: usize,
    /// Until the first row group shows what its columns are like.
    out: Option<W>,
    file: Option<FileWriter<W>>,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    rows: u64,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Nothing is written yet.
    pub fn new(out: W, schema: &SchemaRef, form: ParquetForm, threads: usize) -> Self {
        Self {
            schema: Arc::clone(schema),
            form,
            threads,
            out: Some(out),
            file: None,
            waiting: Vec::new(),
            waiting_rows: 0,
            rows: 0,
        }
    }

    /// Adds rows, and writes the row groups that are full.
    pub fn write(&mut self, mut batch: RecordBatch) -> Result<(), ParquetError> {
        self.rows += batch.num_rows() as u64;
        while self.waiting_rows + batch.num_rows() >= self.form.row_group_rows {
            let taken = self.form.row_group_rows - self.waiting_rows;
            self.waiting.push(batch.slice(0, taken));
            batch = batch.slice(taken, batch.num_rows() - taken);
            self.flush()?;
        }
        if batch.num_rows() > 0 {
            self.waiting_rows += batch.num_rows();
            self.waiting.push(batch);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        if let Some(out) = self.out.take() {
            self.file = Some(FileWriter::open(out, &self.schema, &self.waiting, self.form)?);
        }
        let file = self.file.as_mut().expect("opened above");
        file.write_group(&self.waiting, self.threads)?;
        self.waiting.clear();
        self.waiting_rows = 0;
        Ok(())
    }

    /// Writes what is left and the file's end; answers how many rows it has.
    pub fn finish(mut self) -> Result<u64, ParquetError> {
        if self.waiting_rows > 0 || self.rows == 0 {
            self.flush()?;
        }
        self.file.expect("flushed at least once").file.close()?;
        Ok(self.rows)
    }
}

struct FileWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    groups: usize,
}

impl<W: Write + Send> FileWriter<W> {
    /// `first` are the rows that the file begins with: they show which columns repeat their values.
    fn open(out: W, schema: &SchemaRef, first: &[RecordBatch], form: ParquetForm) -> Result<Self, ParquetError> {
        // The library stops the process at one instead of refusing it.
        if let Some(field) = schema.fields().iter().find(|field| holds_a_union(field.data_type())) {
            return Err(ParquetError::General(format!("`{}` holds a union", field.name())));
        }
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(form.level)?))
            .set_statistics_enabled(EnabledStatistics::Chunk);
        for (index, field) in schema.fields().iter().enumerate() {
            if !first.is_empty() && is_various(&whole(field, first, index)?) {
                let path = ColumnPath::new(vec![field.name().clone()]);
                properties = properties.set_column_dictionary_enabled(path, false);
            }
        }
        let mut properties = properties.build();
        add_encoded_arrow_schema_to_metadata(schema, &mut properties);
        let converter = ArrowSchemaConverter::new().with_coerce_types(properties.coerce_types());
        let root = converter.convert(schema)?.root_schema_ptr();
        let file = SerializedFileWriter::new(out, root, Arc::new(properties))?;
        let columns = ArrowRowGroupWriterFactory::new(&file, Arc::clone(schema));
        Ok(Self { file, columns, schema: Arc::clone(schema), groups: 0 })
    }

    fn write_group(&mut self, batches: &[RecordBatch], threads: usize) -> Result<(), ParquetError> {
        let mut writers = self.columns.create_column_writers(self.groups)?.into_iter();
        let fields = self.schema.fields();
        let of_field: Vec<Mutex<Vec<ArrowColumnWriter>>> =
            fields.iter().map(|field| Mutex::new(writers.by_ref().take(leaves(field.data_type())).collect())).collect();
        let encoded = in_parallel(fields.len(), threads, |index| {
            let writers = std::mem::take(&mut *of_field[index].lock().unwrap_or_else(PoisonError::into_inner));
            encode(&fields[index], writers, &whole(&fields[index], batches, index)?)
        });
        let mut group = self.file.next_row_group()?;
        for chunks in encoded {
            for chunk in chunks? {
                chunk.append_to_row_group(&mut group)?;
            }
        }
        group.close()?;
        self.groups += 1;
        Ok(())
    }
}

fn encode(
    field: &Field,
    mut writers: Vec<ArrowColumnWriter>,
    column: &ArrayRef,
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    for (leaf, writer) in compute_leaves(field, column)?.iter().zip(&mut writers) {
        writer.write(leaf)?;
    }
    writers.into_iter().map(ArrowColumnWriter::close).collect()
}

/// A column of a row group. Its batches are put together first, so that pages do not tell where one ended.
fn whole(field: &Field, batches: &[RecordBatch], index: usize) -> Result<ArrayRef, ParquetError> {
    if let [batch] = batches {
        return Ok(Arc::clone(batch.column(index)));
    }
    let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(index).as_ref()).collect();
    Ok(if parts.is_empty() { new_empty_array(field.data_type()) } else { compute::concat(&parts)? })
}

fn holds_a_union(ty: &DataType) -> bool {
    match ty {
        DataType::Union(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| holds_a_union(field.data_type())),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => holds_a_union(item.data_type()),
        _ => false,
    }
}

/// How many columns Parquet makes of a column of this type.
fn leaves(ty: &DataType) -> usize {
    match ty {
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => leaves(item.data_type()),
        _ => 1,
    }
}

/// Values looked at to see whether a column repeats them.
const SAMPLE: usize = 4096;

/// Whether most of the numbers of a column are different, so that a dictionary of them would cost time and gain nothing.
fn is_various(column: &ArrayRef) -> bool {
    let step = (column.len() / SAMPLE).max(1);
    let bits: Vec<u64> = match column.data_type() {
        DataType::Float64 => {
            let floats = column.as_primitive::<Float64Type>();
            (0..column.len())
                .step_by(step)
                .filter(|row| floats.is_valid(*row))
                .map(|row| floats.value(row).to_bits())
                .collect()
        }
        DataType::Int64 => {
            let ints = column.as_primitive::<Int64Type>();
            (0..column.len())
                .step_by(step)
                .filter(|row| ints.is_valid(*row))
                .map(|row| ints.value(row) as u64)
                .collect()
        }
        _ => return false,
    };
    bits.len() >= SAMPLE / 8 && 4 * bits.iter().collect::<HashSet<_>>().len() > 3 * bits.len()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, ListArray, StringArray, StructArray};
    use arrow::compute::concat_batches;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use proptest::prelude::*;

    use super::*;

    fn batch(from: i64, rows: i64) -> RecordBatch {
        let numbers = || from..from + rows;
        let pair = StructArray::from(vec![
            (
                Arc::new(Field::new("a", DataType::Int64, true)),
                Arc::new(Int64Array::from_iter(numbers().map(|n| (n % 3 > 0).then_some(n)))) as ArrayRef,
            ),
            (
                Arc::new(Field::new("b", DataType::Utf8, true)),
                Arc::new(StringArray::from_iter_values(numbers().map(|n| format!("é{}", n % 7)))) as ArrayRef,
            ),
        ]);
        let lists = numbers().map(|n| (n % 5 > 0).then(|| (0..n % 4).map(Some).collect::<Vec<_>>()));
        let columns: Vec<(String, ArrayRef, bool)> = vec![
            ("id".into(), Arc::new(Int64Array::from_iter_values(numbers())), false),
            (
                "Flight.x[1h]".into(),
                Arc::new(Float64Array::from_iter(numbers().map(|n| (n % 9 > 0).then_some(n as f64 / 7.0)))),
                true,
            ),
            ("pair".into(), Arc::new(pair), true),
            ("list".into(), Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
    }

    fn written(batches: &[RecordBatch], form: ParquetForm, threads: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let given = batches.iter().cloned().map(Ok::<_, ParquetError>);
        let rows = write_parquet(&mut bytes, &batches[0].schema(), given, form, threads).expect("writes");
        assert_eq!(rows, batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn s26_what_is_written_is_read_and_threads_change_no_byte(
            sizes in prop::collection::vec(0i64..60, 1..5), row_group_rows in 1usize..70,
        ) {
            let mut from = 0;
            let batches: Vec<RecordBatch> = sizes.iter().map(|rows| {
                from += rows;
                batch(from - rows, *rows)
            }).collect();
            let form = ParquetForm { level: 3, row_group_rows };
            let bytes = written(&batches, form, 1);
            for threads in [2, 8] {
                prop_assert!(bytes == written(&batches, form, threads), "{} threads", threads);
            }
            let together = concat_batches(&batches[0].schema(), &batches).expect("one schema");
            prop_assert!(bytes == written(&[together], form, 2), "another cut into batches");
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).expect("a file");
            let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
            prop_assert!(groups.iter().rev().skip(1).all(|rows| *rows == row_group_rows as i64), "{:?}", groups);
            let schema = batches[0].schema();
            let read: Vec<RecordBatch> = reader.build().expect("reads").map(|part| part.expect("a batch")).collect();
            prop_assert_eq!(
                concat_batches(&schema, &read).expect("one schema"),
                concat_batches(&schema, &batches).expect("one schema")
            );
        }
    }

    #[test]
    fn a_failed_batch_ends_the_file_with_its_error() {
        let batches = [Ok(batch(0, 3)), Err(ParquetError::General("cut short".into()))];
        let schema = batch(0, 1).schema();
        let result = write_parquet(Vec::new(), &schema, batches, ParquetForm::of(&schema), 2);
        assert!(result.is_err_and(|error| error.to_string().contains("cut short")));
    }

    #[test]
    fn what_parquet_has_no_form_for_is_refused_with_its_column() {
        use arrow::datatypes::{Schema, UnionFields, UnionMode};
        let union = UnionFields::from_fields([Field::new("a", DataType::Int64, true)]);
        let union = DataType::Union(union, UnionMode::Sparse);
        let nested = DataType::List(Arc::new(Field::new("item", union.clone(), true)));
        for ty in [union, nested] {
            let schema = Arc::new(Schema::new(vec![Field::new("sizes", ty, true)]));
            let none: [Result<RecordBatch, ParquetError>; 0] = [];
            let refused = write_parquet(Vec::new(), &schema, none, ParquetForm::of(&schema), 1);
            assert!(refused.is_err_and(|error| error.to_string().contains("`sizes` holds a union")));
        }
    }

    #[test]
    fn the_form_of_a_file_follows_from_its_columns_alone() {
        let of = |columns: usize| {
            let fields: Vec<Field> = (0..columns).map(|n| Field::new(n.to_string(), DataType::Int64, true)).collect();
            ParquetForm::of(&Arc::new(arrow::datatypes::Schema::new(fields))).row_group_rows
        };
        assert_eq!(
            [0, 1, 60, 128, 129, 1000, 100_000].map(of),
            [1 << 17, 1 << 17, 1 << 17, 1 << 17, 1 << 16, 1 << 14, 1 << 10]
        );
    }

    #[test]
    fn only_numbers_that_hardly_repeat_go_without_a_dictionary() {
        let of = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
        assert!(is_various(&of((0..100_000).map(f64::from).collect())));
        assert!(!is_various(&of((0..100_000).map(|n| f64::from(n % 97)).collect())));
        assert!(!is_various(&of(vec![1.0, 2.0, 3.0])), "few values show nothing");
    }
}
