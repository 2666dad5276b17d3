//! What the tests of this crate share: keys and small fact batches.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BinaryArray, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow::array::{TimestampMicrosecondArray, UInt64Array};
use creta_keys::{KeyRing, RootKey, ScopeKey};
use creta_model::{EntityId, Environment, FeatureId, Scope};
use creta_platform::{Platform, SeededRandom};

use crate::FactBatch;
use crate::layout::{ARRIVAL_TIME, EVENT_ID, EVENT_TIME, RETRACTED, SEQUENCE, SOURCE, feature_column};

/// The same key for the same tenant, every time in one process.
pub(crate) fn key(tenant: &str) -> ScopeKey {
    static RING: LazyLock<KeyRing> = LazyLock::new(|| ring(Platform::in_memory()));
    of_tenant(&RING, tenant)
}

/// The same key for the same tenant in every process that names the same folder.
pub(crate) fn key_in(folder: &Path, tenant: &str) -> ScopeKey {
    of_tenant(&ring(Platform::system(folder).expect("a folder")), tenant)
}

fn ring(platform: Platform) -> KeyRing {
    let environment = Environment::parse("dev").expect("valid");
    let root = RootKey::generate(&environment, &SeededRandom::new(1));
    KeyRing::open(root, environment, platform).expect("its own files")
}

fn of_tenant(ring: &KeyRing, tenant: &str) -> ScopeKey {
    ring.scope_or_create(&Scope::parse(tenant, "dev").expect("valid")).expect("a key")
}

/// One fact of the test model.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(crate) struct Fact {
    pub(crate) event: i64,
    pub(crate) arrival: i64,
    pub(crate) source: String,
    pub(crate) sequence: u64,
    pub(crate) event_id: Option<Vec<u8>>,
    pub(crate) retracted: bool,
    /// Per feature column of the batch.
    pub(crate) values: Vec<(FeatureId, Option<f64>)>,
}

impl Fact {
    /// A fact with values for features 1 and 2.
    pub(crate) fn at(event: i64, sequence: u64) -> Self {
        Self {
            event,
            arrival: event + 10,
            source: format!("source-{}", sequence % 3),
            sequence,
            event_id: sequence.is_multiple_of(2).then(|| sequence.to_be_bytes().to_vec()),
            retracted: sequence % 5 == 4,
            values: vec![(FeatureId(1), Some(sequence as f64)), (FeatureId(2), None)],
        }
    }
}

/// A batch of facts that all have values for the same features.
pub(crate) fn batch(entity: u32, facts: &[Fact]) -> FactBatch {
    let times = |time: fn(&Fact) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(facts.iter().map(time)).with_timezone("UTC"))
    };
    let sources = facts.iter().map(|fact| fact.source.as_str());
    let ids: Vec<_> = facts.iter().map(|fact| fact.event_id.as_deref()).collect();
    let retracted: Vec<_> = facts.iter().map(|fact| fact.retracted).collect();
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (EVENT_TIME.into(), times(|fact| fact.event)),
        (ARRIVAL_TIME.into(), times(|fact| fact.arrival)),
        (SOURCE.into(), Arc::new(StringArray::from_iter_values(sources))),
        (SEQUENCE.into(), Arc::new(UInt64Array::from_iter_values(facts.iter().map(|fact| fact.sequence)))),
        (EVENT_ID.into(), Arc::new(BinaryArray::from(ids))),
        (RETRACTED.into(), Arc::new(BooleanArray::from(retracted))),
    ];
    for (index, (feature, _)) in facts.first().map_or(&[][..], |fact| &fact.values).iter().enumerate() {
        let values: Float64Array = facts.iter().map(|fact| fact.values[index].1).collect();
        columns.push((feature_column(*feature), Arc::new(values)));
    }
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    FactBatch::new(EntityId(entity), batch.expect("equal lengths")).expect("it follows the layout")
}

/// The facts of a batch, read back value by value.
pub(crate) fn facts(batch: &RecordBatch) -> Vec<Fact> {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float64Type, UInt64Type};
    let schema = batch.schema();
    let features: Vec<_> = schema.fields()[6..]
        .iter()
        .map(|field| crate::layout::feature_of(field.name()).expect("a feature column"))
        .collect();
    let (sources, ids) = (batch.column(2).as_string::<i32>(), batch.column(4).as_binary::<i32>());
    (0..batch.num_rows())
        .map(|row| Fact {
            event: crate::layout::instants(batch, 0)[row],
            arrival: crate::layout::instants(batch, 1)[row],
            source: sources.value(row).to_owned(),
            sequence: batch.column(3).as_primitive::<UInt64Type>().value(row),
            event_id: ids.is_valid(row).then(|| ids.value(row).to_vec()),
            retracted: batch.column(5).as_boolean().value(row),
            values: (features.iter().enumerate())
                .map(|(index, feature)| {
                    let values = batch.column(6 + index).as_primitive::<Float64Type>();
                    (*feature, values.is_valid(row).then(|| values.value(row)))
                })
                .collect(),
        })
        .collect()
}

/// All facts of some batches in a fixed order.
pub(crate) fn sorted(batches: &[RecordBatch]) -> Vec<Fact> {
    let mut all: Vec<_> = batches.iter().flat_map(facts).collect();
    all.sort_by(|a, b| a.partial_cmp(b).expect("no NaN in the test model"));
    all
}
