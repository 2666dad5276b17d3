//! Segments: sealed Parquet files of one entity and one set of features, sorted by rule S7.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType, UInt64Type};
use arrow::error::ArrowError;
use bytes::{Buf, Bytes};
use creta_keys::{KeyError, ScopeKey, SealedFiles};
use creta_model::{EntityId, FeatureId, Instant};
use creta_platform::Random;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};

use super::cache::ColumnCache;
use super::manifest::SegmentMeta;
use crate::layout::{META_COLUMNS, feature_of, instants};
use crate::sealing::sealed_failed;
use crate::{Position, StoreError};

/// The last column of every segment: the position of the unit that brought the row.
const POSITION: &str = "position";
/// Rows per segment at most. A segment's decoded columns stay far below the 2 GiB that Arrow's offsets can address.
pub(crate) const SEGMENT_ROWS_MAX: usize = 1 << 20;
/// Decoded bytes per segment, about, at most.
pub(crate) const SEGMENT_MEMORY_MAX: u64 = 256 << 20;
const ROW_GROUP_ROWS: usize = 1 << 17;
/// Zstandard's fastest level: segments are written once and mostly read from memory.
const ZSTD_LEVEL: i32 = 1;

/// Where the segments of one store live and how they are sealed and remembered.
pub(crate) struct SegmentFolder {
    pub(crate) files: SealedFiles,
    pub(crate) key: ScopeKey,
    /// Ends with a slash.
    pub(crate) prefix: String,
    pub(crate) cache: ColumnCache,
}

/// A segment that a view may read. Its file goes when it is obsolete and the last view that names it is gone.
pub(crate) struct Segment {
    pub(crate) meta: SegmentMeta,
    folder: Arc<SegmentFolder>,
    footer: OnceLock<Footer>,
    obsolete: AtomicBool,
}

/// What reading a segment leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remember {
    /// Decoded columns, for whoever asks next.
    Columns,
    /// Nothing: for passes over more than memory holds.
    Nothing,
}

struct Footer {
    metadata: ArrowReaderMetadata,
    /// Without the position.
    facts: SchemaRef,
}

impl SegmentFolder {
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Seals one segment from rows that [`sort`] gave, and returns what the manifest must know.
    pub(crate) fn write(
        &self,
        number: u64,
        random: &dyn Random,
        entity: EntityId,
        rows: &RecordBatch,
    ) -> Result<SegmentMeta, StoreError> {
        let bytes = encode(rows).map_err(|error| self.undecodable("a new segment", error))?;
        let mut salt = [0; 8];
        random.fill(&mut salt);
        let name = format!("{number:020}-{}", hex::encode(salt));
        let path = self.path(&name);
        self.files.create(&path, &bytes).map_err(|error| sealed_failed(&path, error))?;
        let positions = rows.column(rows.num_columns() - 1).as_primitive::<UInt64Type>().values();
        let instant = |micros: Option<&i64>| {
            Instant::from_micros(*micros.expect("a segment has rows")).expect("fact batches hold instants in range")
        };
        let (events, arrivals) = (instants(rows, 0), instants(rows, 1));
        Ok(SegmentMeta {
            name,
            entity,
            rows: rows.num_rows() as u64,
            bytes: bytes.len() as u64,
            memory: memory(rows),
            digest: self.digest(&bytes),
            event_min: instant(events.first()),
            event_max: instant(events.last()),
            arrival_min: instant(arrivals.iter().min()),
            arrival_max: instant(arrivals.iter().max()),
            first: Position(*positions.iter().min().expect("a segment has rows")),
            last: Position(*positions.iter().max().expect("a segment has rows")),
        })
    }

    fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        self.key.mac("facts segment", &[bytes])
    }

    fn undecodable(&self, name: &str, error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
        StoreError::Decode { store: self.path(name), source: Box::new(error) }
    }
}

impl Segment {
    pub(crate) fn new(meta: SegmentMeta, folder: Arc<SegmentFolder>) -> Self {
        Self { meta, folder, footer: OnceLock::new(), obsolete: AtomicBool::new(false) }
    }

    /// Checks that the file is there, whole and sealed for its place, without reading its rows.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let path = self.folder.path(&self.meta.name);
        let bytes = self.folder.files.size(&path).map_err(|error| self.failed(error))?;
        if bytes == self.meta.bytes { Ok(()) } else { Err(self.tampered("it is not the file that the manifest names")) }
    }

    /// Lets the file go with the last view that names it.
    pub(crate) fn retire(&self) {
        self.obsolete.store(true, Ordering::Release);
    }

    /// The facts' schema.
    pub(crate) fn schema(&self) -> Result<SchemaRef, StoreError> {
        Ok(Arc::clone(&self.footer()?.facts))
    }

    /// The facts with event times from `first` to `last`, both included: the layout's columns, then those of `features`
    /// that are there (all for `None`). `None` if there are no such facts. Without copying once the columns are cached.
    pub(crate) fn scan(
        &self,
        features: Option<&[FeatureId]>,
        first: i64,
        last: i64,
        remember: Remember,
    ) -> Result<Option<RecordBatch>, StoreError> {
        if self.meta.event_max.micros() < first || self.meta.event_min.micros() > last {
            return Ok(None);
        }
        let facts = self.schema()?;
        let wanted: Vec<usize> = (0..facts.fields().len())
            .filter(|index| *index < META_COLUMNS || is_wanted(facts.field(*index).name(), features))
            .collect();
        let columns = self.columns(&wanted, remember)?;
        let times = columns[0].as_primitive::<TimestampMicrosecondType>().values();
        let start = times.partition_point(|time| *time < first);
        let end = times.partition_point(|time| *time <= last);
        if start >= end {
            return Ok(None);
        }
        let schema = facts.project(&wanted).expect("the columns come from this schema");
        let batch = RecordBatch::try_new(Arc::new(schema), columns).map_err(|error| self.undecodable(error))?;
        Ok(Some(batch.slice(start, end - start)))
    }

    /// Every row with its position as last column, after comparing the file with its digest.
    pub(crate) fn load(&self) -> Result<RecordBatch, StoreError> {
        let path = self.folder.path(&self.meta.name);
        let bytes = self.folder.files.read(&path).map_err(|error| self.failed(error))?;
        if self.folder.digest(&bytes) != self.meta.digest {
            return Err(self.tampered("it is not the file that the manifest names"));
        }
        let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes));
        let builder = builder.map_err(|error| self.undecodable(error))?;
        let schema = without_metadata(builder.schema());
        self.collect(builder, &schema)
    }

    fn columns(&self, wanted: &[usize], remember: Remember) -> Result<Vec<ArrayRef>, StoreError> {
        let mut found = self.folder.cache.get(&self.meta.name, wanted);
        let missing: Vec<usize> =
            wanted.iter().zip(&found).filter(|(_, column)| column.is_none()).map(|(index, _)| *index).collect();
        if !missing.is_empty() {
            let footer = self.footer()?;
            let source = self.source();
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source.clone(), footer.metadata.clone());
            let mask = ProjectionMask::roots(builder.parquet_schema(), missing.iter().copied());
            let schema = Arc::new(footer.facts.project(&missing).expect("the columns come from this schema"));
            let rows =
                self.collect(builder.with_projection(mask), &schema).map_err(|error| source.cause(self, error))?;
            let mut decoded = missing.iter().zip(rows.columns());
            for (index, slot) in wanted.iter().zip(&mut found).filter(|(_, slot)| slot.is_none()) {
                let (decoded_index, column) = decoded.next().expect("one column for each that was missing");
                debug_assert_eq!(index, decoded_index);
                if remember == Remember::Columns {
                    self.folder.cache.put(&self.meta.name, *index, column);
                }
                *slot = Some(Arc::clone(column));
            }
        }
        Ok(found.into_iter().map(|column| column.expect("found or decoded")).collect())
    }

    fn collect<T: ChunkReader + 'static>(
        &self,
        builder: ParquetRecordBatchReaderBuilder<T>,
        schema: &SchemaRef,
    ) -> Result<RecordBatch, StoreError> {
        let rows = usize::try_from(self.meta.rows).expect("a segment's rows fit in memory");
        let reader = builder.with_batch_size(rows).build().map_err(|error| self.undecodable(error))?;
        let parts = reader.map(|part| {
            let part = part?;
            RecordBatch::try_new(Arc::clone(schema), part.columns().to_vec())
        });
        let parts = parts.collect::<Result<Vec<_>, ArrowError>>().map_err(|error| self.undecodable(error))?;
        let whole = concat_batches(schema, &parts).map_err(|error| self.undecodable(error))?;
        if whole.num_rows() == rows { Ok(whole) } else { Err(self.tampered("it has another number of rows")) }
    }

    fn footer(&self) -> Result<&Footer, StoreError> {
        if let Some(footer) = self.footer.get() {
            return Ok(footer);
        }
        let source = self.source();
        let metadata = ArrowReaderMetadata::load(&source, ArrowReaderOptions::new())
            .map_err(|error| source.cause(self, self.undecodable(error)))?;
        let whole = without_metadata(metadata.schema());
        let facts = whole.fields().len().checked_sub(1).filter(|last| whole.field(*last).name() == POSITION);
        let facts = facts.ok_or_else(|| self.tampered("it does not follow the layout"))?;
        let facts = Arc::new(Schema::new(whole.fields()[..facts].to_vec()));
        Ok(self.footer.get_or_init(|| Footer { metadata, facts }))
    }

    fn source(&self) -> Source {
        Source {
            files: self.folder.files.clone(),
            path: self.folder.path(&self.meta.name),
            len: self.meta.bytes,
            failure: Arc::default(),
        }
    }

    fn failed(&self, error: KeyError) -> StoreError {
        match error {
            KeyError::Foreign { .. } => self.tampered("it was changed, or belongs to another place"),
            other => sealed_failed(&self.folder.path(&self.meta.name), other),
        }
    }

    fn tampered(&self, reason: &str) -> StoreError {
        StoreError::Tampered { store: self.folder.path(&self.meta.name), reason: reason.to_owned() }
    }

    fn undecodable(&self, error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
        self.folder.undecodable(&self.meta.name, error)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.folder.cache.forget(&self.meta.name);
        if self.obsolete.load(Ordering::Acquire) {
            let path = self.folder.path(&self.meta.name);
            if let Err(error) = self.folder.files.delete(&path) {
                tracing::warn!(path, error = %error, "an old segment stays until the store is opened again");
            }
        }
    }
}

fn is_wanted(column: &str, features: Option<&[FeatureId]>) -> bool {
    features.is_none_or(|wanted| feature_of(column).is_some_and(|feature| wanted.contains(&feature)))
}

fn without_metadata(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().clone()))
}

/// Bytes that the rows take in memory.
pub(crate) fn memory(rows: &RecordBatch) -> u64 {
    let bytes = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0) as u64;
    rows.columns().iter().map(bytes).sum()
}

/// Adds the position column to facts.
pub(crate) fn with_positions(facts: &RecordBatch, positions: ArrayRef) -> RecordBatch {
    let fields = facts.schema_ref().fields().iter().cloned();
    let position = Arc::new(Field::new(POSITION, DataType::UInt64, false));
    let schema = Arc::new(Schema::new(fields.chain([position]).collect::<Vec<_>>()));
    let columns = facts.columns().iter().cloned().chain([positions]).collect();
    RecordBatch::try_new(schema, columns).expect("one position per fact")
}

/// Takes the position column off.
pub(crate) fn split_positions(rows: &RecordBatch) -> (RecordBatch, ArrayRef) {
    let last = rows.num_columns() - 1;
    let facts = rows.project(&(0..last).collect::<Vec<_>>()).expect("these columns are there");
    (facts, Arc::clone(rows.column(last)))
}

/// Joins rows with positions and sorts them by rule S7, then by position.
pub(crate) fn sort(parts: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
    let rows = concat_batches(&parts[0].schema(), parts)?;
    let by = |index: usize| SortColumn { values: Arc::clone(rows.column(index)), options: None };
    let order: UInt32Array = lexsort_to_indices(&[by(0), by(1), by(2), by(3), by(rows.num_columns() - 1)], None)?;
    take_record_batch(&rows, &order)
}

fn encode(rows: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties))?;
    writer.write(rows)?;
    writer.into_inner()
}

/// A sealed file as Parquet's reader wants it. Only the ranges asked for are read and opened.
#[derive(Clone)]
struct Source {
    files: SealedFiles,
    path: String,
    len: u64,
    /// Parquet's errors do not keep their causes, so the first one waits here.
    failure: Arc<Mutex<Option<KeyError>>>,
}

impl Source {
    /// What went wrong below, if that is why reading failed; `otherwise` if not.
    fn cause(&self, segment: &Segment, otherwise: StoreError) -> StoreError {
        let failure = self.failure.lock().expect("no code panics while it holds the failure").take();
        failure.map_or(otherwise, |error| segment.failed(error))
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Source {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        /// Parquet asks this way for page headers only, a few at a time.
        const READ_AHEAD: usize = 64 << 10;
        let len = usize::try_from(self.len.saturating_sub(start)).map_or(READ_AHEAD, |rest| rest.min(READ_AHEAD));
        Ok(self.get_bytes(start, len)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self.files.read_range(&self.path, start, length) {
            Ok(bytes) if bytes.len() == length => Ok(bytes.into()),
            Ok(bytes) => Err(ParquetError::EOF(format!("{} of {length} bytes", bytes.len()))),
            Err(error) => {
                *self.failure.lock().expect("no code panics while it holds the failure") = Some(error);
                Err(ParquetError::General("the sealed file could not be read".into()))
            }
        }
    }
}
