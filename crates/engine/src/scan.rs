//! Facts for training sets: whole entities out of a snapshot of the truth.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use creta_model::{EntityId, FeatureId};
use creta_store::{FactSnapshot, layout};

use crate::error::EngineError;
use crate::facts::{FactReader, FactRequest, SUPERSEDED_AT, supersede};

/// Reads the columns that a run asks for, of every fact of an entity, and shares them between steps.
pub struct SnapshotReader {
    snapshot: FactSnapshot,
    scanned: Mutex<HashMap<EntityId, Scanned>>,
}

/// What was read of one entity.
#[derive(Default)]
struct Scanned {
    /// `superseded_at` of each batch; `None` where no fact has an event id.
    superseded: Option<Option<Vec<ArrayRef>>>,
    /// Batches by the features that they were read with; `None` for all.
    batches: HashMap<Option<BTreeSet<FeatureId>>, Vec<RecordBatch>>,
}

impl SnapshotReader {
    /// Facts as they were when `snapshot` was taken.
    pub fn new(snapshot: FactSnapshot) -> Self {
        Self { snapshot, scanned: Mutex::new(HashMap::new()) }
    }

    /// Every fact of an entity, with `superseded_at` where it has event ids.
    pub fn entity(&self, entity: EntityId) -> Result<Vec<RecordBatch>, EngineError> {
        self.scan(entity, None)
    }

    fn scan(&self, entity: EntityId, features: Option<BTreeSet<FeatureId>>) -> Result<Vec<RecordBatch>, EngineError> {
        let mut scanned = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        let scanned = scanned.entry(entity).or_default();
        if let Some(batches) = scanned.batches.get(&features) {
            return Ok(batches.clone());
        }
        let wanted: Option<Vec<FeatureId>> = features.as_ref().map(|features| features.iter().copied().collect());
        let batches = self.snapshot.scan(entity, wanted.as_deref(), ..);
        let batches = batches.map_err(|error| EngineError::Reader { source: Box::new(error) })?;
        // A snapshot answers with the same rows in the same order whatever the columns, so this is computed once.
        let superseded = match &scanned.superseded {
            Some(superseded) => superseded,
            None => &*scanned.superseded.insert(superseded_columns(&batches)?),
        };
        let batches = match superseded {
            None => batches,
            Some(columns) => beside(batches, columns)?,
        };
        scanned.batches.insert(features, batches.clone());
        Ok(batches)
    }
}

/// `superseded_at` of all facts of one entity, by batch, unless none of them has an event id.
fn superseded_columns(batches: &[RecordBatch]) -> Result<Option<Vec<ArrayRef>>, EngineError> {
    let has_ids =
        |batch: &RecordBatch| batch.column_by_name(layout::EVENT_ID).is_some_and(|ids| ids.null_count() < ids.len());
    if !batches.iter().any(has_ids) {
        return Ok(None);
    }
    let column = |times: Vec<i64>| -> ArrayRef {
        let times = times.into_iter().map(|at| (at != i64::MAX).then_some(at));
        Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    Ok(Some(supersede(batches)?.into_iter().map(column).collect()))
}

/// Adds `superseded_at` to all facts of one entity.
fn beside(batches: Vec<RecordBatch>, superseded: &[ArrayRef]) -> Result<Vec<RecordBatch>, EngineError> {
    debug_assert_eq!(batches.len(), superseded.len());
    let with = |(batch, column): (RecordBatch, &ArrayRef)| {
        let mut fields = batch.schema_ref().fields().to_vec();
        fields.push(Arc::new(Field::new(SUPERSEDED_AT, layout::instant_type(), true)));
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::clone(column));
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    };
    batches.into_iter().zip(superseded).map(with).collect()
}

impl FactReader for SnapshotReader {
    fn read(&self, request: &FactRequest<'_>) -> Result<Vec<RecordBatch>, EngineError> {
        let features = request.key.iter().map(|part| part.feature).chain(request.columns.iter().copied());
        self.scan(request.entity, Some(features.collect()))
    }

    fn release(&self, entity: EntityId) {
        self.scanned.lock().unwrap_or_else(PoisonError::into_inner).remove(&entity);
    }
}
