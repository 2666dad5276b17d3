//! Facts for training sets: whole entities out of a snapshot of the truth.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use creta_model::EntityId;
use creta_store::{FactSnapshot, layout};

use crate::error::EngineError;
use crate::facts::{FactReader, FactRequest, SUPERSEDED_AT, supersede};

/// Reads every fact of an entity once per run and shares it between steps.
pub struct SnapshotReader {
    snapshot: FactSnapshot,
    scanned: Mutex<HashMap<EntityId, Vec<RecordBatch>>>,
}

impl SnapshotReader {
    /// Facts as they were when `snapshot` was taken.
    pub fn new(snapshot: FactSnapshot) -> Self {
        Self { snapshot, scanned: Mutex::new(HashMap::new()) }
    }

    /// Every fact of an entity, with `superseded_at` where it has event ids.
    pub fn entity(&self, entity: EntityId) -> Result<Vec<RecordBatch>, EngineError> {
        let mut scanned = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(batches) = scanned.get(&entity) {
            return Ok(batches.clone());
        }
        let batches =
            self.snapshot.scan(entity, None, ..).map_err(|error| EngineError::Reader { source: Box::new(error) })?;
        let batches = with_superseded(batches)?;
        scanned.insert(entity, batches.clone());
        Ok(batches)
    }
}

/// Adds `superseded_at` to all facts of one entity, unless none of them has an event id.
pub(crate) fn with_superseded(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, EngineError> {
    let has_ids =
        |batch: &RecordBatch| batch.column_by_name(layout::EVENT_ID).is_some_and(|ids| ids.null_count() < ids.len());
    if !batches.iter().any(has_ids) {
        return Ok(batches);
    }
    let superseded = supersede(&batches)?;
    batches
        .into_iter()
        .zip(superseded)
        .map(|(batch, times)| {
            let times = times.into_iter().map(|at| (at != i64::MAX).then_some(at));
            let column: ArrayRef = Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"));
            let mut fields = batch.schema_ref().fields().to_vec();
            fields.push(Arc::new(Field::new(SUPERSEDED_AT, layout::instant_type(), true)));
            let mut columns = batch.columns().to_vec();
            columns.push(column);
            Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
        })
        .collect()
}

impl FactReader for SnapshotReader {
    fn read(&self, request: &FactRequest<'_>) -> Result<Vec<RecordBatch>, EngineError> {
        self.entity(request.entity)
    }
}
