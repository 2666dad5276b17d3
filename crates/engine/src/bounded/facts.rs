//! Facts split by key, so that those of one part fit in memory.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::Buffer;
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use creta_model::{EntityId, FeatureId, Type};
use creta_planner::KeyColumn;
use creta_store::{FactSnapshot, StoreError, layout};

use super::cells::{read_batch, write_batch};
use super::spill::SpillRun;
use crate::error::EngineError;
use crate::facts::{FactReader, FactRequest, RepeatedIds, SUPERSEDED_AT, supersede};
use crate::key_set::{Encoded, KeyEncoder};

/// Name of the metadata that holds the one source of all facts of a batch.
const SOURCE_OF_ALL: &str = "source";

/// Which part a key belongs to. The same key, whatever its columns are made of, belongs to the same part.
pub(crate) fn part_of(key: &[u8], parts: usize) -> usize {
    // FNV-1a, then mixed so that the upper bits depend on every byte.
    let mut hash = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^= hash >> 32;
    ((u128::from(hash) * parts as u128) >> 64) as usize
}

/// Facts of an entity that a later version supersedes, by batch and row of a scan.
#[derive(Default)]
pub(crate) struct Superseded {
    has_ids: bool,
    at: HashMap<(u32, u32), i64>,
}

impl Superseded {
    /// Passes over the event ids twice: only ids that occur more than once are kept and compared. Memory is two bits for every
    /// eighth of a fact and what those ids take.
    pub(crate) fn of(snapshot: &FactSnapshot, entity: EntityId) -> Result<Self, EngineError> {
        let facts = snapshot.statistics().get(&entity).map_or(0, |statistics| statistics.rows);
        let mut repeated = RepeatedIds::new(facts);
        each(snapshot, entity, &[], &mut |_, batch| {
            repeated.look_at(&batch);
            Ok(())
        })?;
        if !repeated.has_ids() {
            return Ok(Self::default());
        }
        let (mut batches, mut places) = (Vec::new(), Vec::new());
        each(snapshot, entity, &[], &mut |number, batch| {
            let picked = repeated.maybe(&batch);
            if picked.true_count() > 0 {
                places.push(picked.values().set_indices().map(|row| (number, row as u32)).collect::<Vec<_>>());
                batches.push(filter_record_batch(&batch, &picked)?);
            }
            Ok(())
        })?;
        let at = supersede(&batches)?;
        let at = places.iter().flatten().zip(at.iter().flatten()).filter(|(_, at)| **at < i64::MAX);
        Ok(Self { has_ids: true, at: at.map(|(place, at)| (*place, *at)).collect() })
    }
}

/// Calls `visit` with each batch of a scan and its number.
fn each(
    snapshot: &FactSnapshot,
    entity: EntityId,
    columns: &[FeatureId],
    visit: &mut dyn FnMut(u32, RecordBatch) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    enum Stopped {
        Store(StoreError),
        Here(EngineError),
    }
    impl From<StoreError> for Stopped {
        fn from(error: StoreError) -> Self {
            Self::Store(error)
        }
    }
    let mut number = 0;
    let scanned = snapshot.scan_each(entity, Some(columns), .., |batch| -> Result<(), Stopped> {
        visit(number, batch).map_err(Stopped::Here)?;
        number += 1;
        Ok(())
    });
    scanned.map_err(|stopped| match stopped {
        Stopped::Store(error) => EngineError::Reader { source: Box::new(error) },
        Stopped::Here(error) => error,
    })
}

/// What facts are split by.
pub(crate) struct Split<'a> {
    /// What their files are called by: the first step that asks for them.
    pub(crate) name: usize,
    pub(crate) entity: EntityId,
    pub(crate) key: &'a [KeyColumn],
    pub(crate) columns: &'a [FeatureId],
    /// Event times that can matter to any row, both included.
    pub(crate) times: (i64, i64),
    /// For each part whether its facts are needed.
    pub(crate) wanted: Vec<bool>,
    /// Bytes that may wait in memory.
    pub(crate) waiting_bytes: u64,
}

/// The facts of each part, in sealed files and in memory.
pub(crate) struct Parts {
    name: usize,
    waiting: Vec<Vec<RecordBatch>>,
    files: Vec<usize>,
}

impl Split<'_> {
    /// Splits the facts by part, without those that no row can see.
    pub(crate) fn facts(
        &self,
        snapshot: &FactSnapshot,
        superseded: &Superseded,
        run: &mut SpillRun<'_>,
    ) -> Result<Parts, EngineError> {
        let mut features: Vec<FeatureId> = self.key.iter().map(|part| part.feature).collect();
        features.extend(self.columns);
        let count = self.wanted.len();
        let mut parts = Parts { name: self.name, waiting: vec![Vec::new(); count], files: vec![0; count] };
        let mut waiting_bytes = 0;
        each(snapshot, self.entity, &features, &mut |number, batch| {
            for (part, batch) in self.split(number, &batch, superseded)? {
                waiting_bytes += batch.get_array_memory_size() as u64;
                parts.waiting[part].push(batch);
            }
            if count > 1 && waiting_bytes > self.waiting_bytes {
                parts.flush(run)?;
                waiting_bytes = 0;
            }
            Ok(())
        })?;
        Ok(parts)
    }

    fn split(
        &self,
        number: u32,
        batch: &RecordBatch,
        superseded: &Superseded,
    ) -> Result<Vec<(usize, RecordBatch)>, EngineError> {
        let parts = self.wanted.len();
        let column = |part: &KeyColumn| batch.column_by_name(&layout::feature_column(part.feature)).cloned();
        let Some(keys) = self.key.iter().map(column).collect::<Option<Vec<ArrayRef>>>() else { return Ok(Vec::new()) };
        let types: Vec<Type> = self.key.iter().map(|part| part.ty.clone()).collect();
        let encoder = KeyEncoder::new(&types, &keys)?;
        let events = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
        let arrivals = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
        let retracted = batch.column_by_name(layout::RETRACTED).expect("a column of the layout").as_boolean();
        let at = |row: usize| superseded.at.get(&(number, row as u32)).copied().unwrap_or(i64::MAX);
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); parts];
        let mut key = Vec::new();
        for row in 0..batch.num_rows() {
            let outside = events[row] < self.times.0 || events[row] > self.times.1;
            if outside || retracted.value(row) || (superseded.has_ids && at(row) <= arrivals[row]) {
                continue;
            }
            key.clear();
            if encoder.encode(row, &mut key) == Encoded::Complete {
                let part = if parts == 1 { 0 } else { part_of(&key, parts) };
                if self.wanted[part] {
                    rows[part].push(row as u32);
                }
            }
        }
        let mut slim = Slim::of(batch)?;
        if superseded.has_ids {
            let times: TimestampMicrosecondArray =
                (0..batch.num_rows()).map(|row| Some(at(row)).filter(|at| *at < i64::MAX)).collect();
            slim = slim.with(SUPERSEDED_AT, Arc::new(times.with_timezone("UTC")))?;
        }
        let taken = rows
            .into_iter()
            .enumerate()
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(part, rows)| Ok((part, take_record_batch(&slim.0, &UInt32Array::from(rows))?)));
        taken.collect()
    }
}

/// A batch of facts without what all of them share or nobody reads any more.
struct Slim(RecordBatch);

impl Slim {
    fn of(batch: &RecordBatch) -> Result<Self, EngineError> {
        let sources = batch.column_by_name(layout::SOURCE).expect("a column of the layout").as_string::<i32>();
        let first = (batch.num_rows() > 0).then(|| sources.value(0));
        let one = first.filter(|first| sources.iter().all(|source| source == Some(first)));
        let left_out = |name: &str| {
            name == layout::EVENT_ID || name == layout::RETRACTED || (name == layout::SOURCE && one.is_some())
        };
        let schema = batch.schema_ref();
        let kept: Vec<usize> =
            (0..batch.num_columns()).filter(|index| !left_out(schema.field(*index).name())).collect();
        let slim = batch.project(&kept)?;
        let metadata = one.map(|source| (SOURCE_OF_ALL.to_owned(), source.to_owned())).into_iter().collect();
        let schema = Schema::new_with_metadata(slim.schema().fields().clone(), metadata);
        Ok(Self(slim.with_schema(Arc::new(schema))?))
    }

    fn with(self, name: &str, column: ArrayRef) -> Result<Self, EngineError> {
        let mut fields = self.0.schema_ref().fields().to_vec();
        fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
        let mut columns = self.0.columns().to_vec();
        columns.push(column);
        let schema = Schema::new_with_metadata(fields, self.0.schema_ref().metadata().clone());
        Ok(Self(RecordBatch::try_new(Arc::new(schema), columns)?))
    }

    /// The batch as a reader answers with it.
    fn whole(self) -> Result<RecordBatch, EngineError> {
        let rows = self.0.num_rows();
        let source = self.0.schema_ref().metadata().get(SOURCE_OF_ALL).cloned();
        let mut whole = self.with(layout::RETRACTED, Arc::new(BooleanArray::from(vec![false; rows])))?;
        if let Some(source) = source {
            let texts = StringArray::from_iter_values(std::iter::repeat_n(source, rows));
            whole = whole.with(layout::SOURCE, Arc::new(texts))?;
        }
        let schema = Schema::new(whole.0.schema_ref().fields().clone());
        Ok(RecordBatch::try_new(Arc::new(schema), whole.0.columns().to_vec())?)
    }
}

impl Parts {
    fn flush(&mut self, run: &mut SpillRun<'_>) -> Result<(), EngineError> {
        for part in 0..self.waiting.len() {
            let batches = std::mem::take(&mut self.waiting[part]);
            if batches.is_empty() {
                continue;
            }
            let mut bytes = Vec::new();
            for batch in &batches {
                write_batch(batch, &mut bytes)?;
            }
            drop(batches);
            run.put(&self.name(part, self.files[part]), &bytes)?;
            self.files[part] += 1;
        }
        Ok(())
    }

    fn name(&self, part: usize, file: usize) -> String {
        format!("facts-{}-{part}-{file}", self.name)
    }

    /// The facts of a part, in the order of the scan. They are here once.
    pub(crate) fn take(&mut self, part: usize, run: &mut SpillRun<'_>) -> Result<PartFacts, EngineError> {
        let mut batches = Vec::new();
        for file in 0..self.files[part] {
            let mut bytes = Buffer::from_vec(run.take(&self.name(part, file))?);
            while !bytes.is_empty() {
                batches.push(Slim(read_batch(&mut bytes)?).whole()?);
            }
        }
        for batch in std::mem::take(&mut self.waiting[part]) {
            batches.push(Slim(batch).whole()?);
        }
        Ok(PartFacts(batches))
    }
}

/// The facts of one part, for the operators.
pub(crate) struct PartFacts(Vec<RecordBatch>);

impl FactReader for PartFacts {
    fn read(&self, _request: &FactRequest<'_>) -> Result<Vec<RecordBatch>, EngineError> {
        Ok(self.0.clone())
    }
}

/// For steps that read no facts.
pub(crate) struct NoFacts;

impl FactReader for NoFacts {
    fn read(&self, _request: &FactRequest<'_>) -> Result<Vec<RecordBatch>, EngineError> {
        Err(EngineError::plan("a step that reads no facts asked for some"))
    }
}

/// Bytes that a value of this type takes, about.
pub(crate) fn width(ty: &Type) -> u64 {
    match ty.to_arrow() {
        DataType::Boolean => 1,
        DataType::Utf8 | DataType::Binary => 24,
        DataType::Decimal128(..) => 16,
        DataType::List(_) | DataType::Struct(_) | DataType::FixedSizeList(..) => 64,
        _ => 8,
    }
}
