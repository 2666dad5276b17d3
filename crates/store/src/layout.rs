//! The canonical Arrow layout of facts, version [`LAYOUT`]: the same in memory, in the log, in segments and on the wire.
//!
//! | Column | Arrow type | Null |
//! | --- | --- | --- |
//! | `event_time`, `arrival_time` | `Timestamp(us, "UTC")` | never |
//! | `source` | `Utf8` | never |
//! | `sequence` | `UInt64` | never |
//! | `event_id` | `Binary` | allowed: the fact has no event id |
//! | `retracted` | `Boolean` | never |
//! | `f<FeatureId>`, ascending | the feature's [`Type::to_arrow`](creta_model::Type::to_arrow) | an observed null |
//!
//! A feature without a column was not observed by the load; a null was observed to be null. Key features are columns like
//! every other.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use creta_model::{EntityId, FeatureId, Instant};

use crate::StoreError;

/// Name and version of this layout. It stands in every log record and segment.
pub const LAYOUT: &str = "creta.facts/1";

/// When the fact was true.
pub const EVENT_TIME: &str = "event_time";
/// When Creta learned it.
pub const ARRIVAL_TIME: &str = "arrival_time";
/// Id of the source it came from.
pub const SOURCE: &str = "source";
/// Partition and offset, or row number, within the source (rule S7).
pub const SEQUENCE: &str = "sequence";
/// Declared event id (rule S8), null where the source has none.
pub const EVENT_ID: &str = "event_id";
/// Whether the fact takes its event back (rule S22).
pub const RETRACTED: &str = "retracted";

/// How many columns stand before the features.
pub const META_COLUMNS: usize = 6;

/// The columns that every fact batch starts with, in order.
pub static META_FIELDS: LazyLock<[FieldRef; META_COLUMNS]> = LazyLock::new(|| {
    let field = |name: &str, ty: DataType, nullable: bool| Arc::new(Field::new(name, ty, nullable));
    [
        field(EVENT_TIME, instant_type(), false),
        field(ARRIVAL_TIME, instant_type(), false),
        field(SOURCE, DataType::Utf8, false),
        field(SEQUENCE, DataType::UInt64, false),
        field(EVENT_ID, DataType::Binary, true),
        field(RETRACTED, DataType::Boolean, false),
    ]
});

/// The Arrow type of an instant.
pub fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Name of a feature's column: `f12`.
pub fn feature_column(feature: FeatureId) -> String {
    feature.to_string()
}

/// The feature of a column name; `None` for any other text, `f012` and `f+1` among them.
pub fn feature_of(column: &str) -> Option<FeatureId> {
    let digits = column.strip_prefix('f')?;
    let id = FeatureId(digits.parse().ok()?);
    (feature_column(id) == column).then_some(id)
}

/// The layout's schema for a set of features with their Arrow types. Order does not matter; a repeated feature counts once.
pub fn fact_schema(features: impl IntoIterator<Item = (FeatureId, DataType)>) -> SchemaRef {
    let mut features: Vec<_> = features.into_iter().collect();
    features.sort_by_key(|(id, _)| *id);
    features.dedup_by_key(|(id, _)| *id);
    let features = features.into_iter().map(|(id, ty)| Arc::new(Field::new(feature_column(id), ty, true)));
    Arc::new(Schema::new(META_FIELDS.iter().cloned().chain(features).collect::<Vec<_>>()))
}

/// Facts of one entity that are known to follow the layout.
#[derive(Debug, Clone, PartialEq)]
pub struct FactBatch {
    entity: EntityId,
    batch: RecordBatch,
}

impl FactBatch {
    /// Checks `batch` against the layout and puts its columns into canonical order without copying them.
    ///
    /// Errors with [`StoreError::Layout`], naming the column and the rule: a meta column that is absent, of another type or
    /// holds nulls; a column that is neither meta nor feature, or stands twice; a type that no feature has; an instant
    /// outside years 0001 to 9999.
    pub fn new(entity: EntityId, batch: RecordBatch) -> Result<Self, StoreError> {
        let schema = batch.schema_ref();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
        for field in META_FIELDS.iter() {
            let index = schema.index_of(field.name()).map_err(|_| refused(field.name(), "it is absent"))?;
            columns.push(checked_meta(field, batch.column(index))?);
        }
        let mut features = Vec::with_capacity(batch.num_columns().saturating_sub(META_COLUMNS));
        for (index, field) in schema.fields().iter().enumerate() {
            if META_FIELDS.iter().any(|meta| meta.name() == field.name()) {
                if schema.index_of(field.name()).is_ok_and(|first| first != index) {
                    return Err(refused(field.name(), "it stands twice"));
                }
                continue;
            }
            let id = feature_of(field.name())
                .ok_or_else(|| refused(field.name(), "it is neither a column of the layout nor a feature"))?;
            if !is_feature_type(field.data_type()) {
                return Err(refused(field.name(), "no feature has its type"));
            }
            features.push((id, index));
        }
        features.sort_unstable();
        if let Some(pair) = features.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(refused(&feature_column(pair[0].0), "it stands twice"));
        }
        columns.extend(features.iter().map(|(_, index)| Arc::clone(batch.column(*index))));
        let schema = fact_schema(features.iter().map(|(id, index)| (*id, schema.field(*index).data_type().clone())));
        let batch = RecordBatch::try_new(schema, columns).map_err(|_| refused("batch", "its columns do not fit"))?;
        Ok(Self { entity, batch })
    }

    /// The entity that the facts are about.
    pub fn entity(&self) -> EntityId {
        self.entity
    }

    /// The facts, in canonical column order.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Gives up the wrapper.
    pub fn into_batch(self) -> RecordBatch {
        self.batch
    }

    /// Number of facts.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// The features that this load observed, ascending.
    pub fn features(&self) -> impl Iterator<Item = FeatureId> + '_ {
        self.batch.schema_ref().fields()[META_COLUMNS..].iter().filter_map(|field| feature_of(field.name()))
    }

    /// A feature's values; `None` when this load did not observe it.
    pub fn feature(&self, feature: FeatureId) -> Option<&ArrayRef> {
        self.batch.column_by_name(&feature_column(feature))
    }

    /// Event times in microseconds.
    pub fn event_times(&self) -> &[i64] {
        instants(&self.batch, 0)
    }

    /// Arrival times in microseconds.
    pub fn arrival_times(&self) -> &[i64] {
        instants(&self.batch, 1)
    }

    /// Wraps a batch that was checked before it was sealed.
    pub(crate) fn trusted(entity: EntityId, batch: RecordBatch) -> Self {
        Self { entity, batch }
    }
}

/// The values of an instant column of a batch that follows the layout.
pub(crate) fn instants(batch: &RecordBatch, column: usize) -> &[i64] {
    batch.column(column).as_primitive::<TimestampMicrosecondType>().values()
}

fn refused(column: &str, rule: &'static str) -> StoreError {
    StoreError::Layout { column: column.to_owned(), rule }
}

fn checked_meta(field: &Field, column: &ArrayRef) -> Result<ArrayRef, StoreError> {
    if column.data_type() != field.data_type() {
        return Err(refused(field.name(), "it has another type than the layout says"));
    }
    if !field.is_nullable() && column.null_count() > 0 {
        return Err(refused(field.name(), "it holds nulls"));
    }
    if let Some(instants) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        let in_range = Instant::MIN.micros()..=Instant::MAX.micros();
        if !instants.values().iter().all(|at| in_range.contains(at)) {
            return Err(refused(field.name(), "it holds an instant outside the years 0001 to 9999"));
        }
    }
    Ok(Arc::clone(column))
}

/// Whether some [`Type`](creta_model::Type) is carried by this Arrow type.
fn is_feature_type(ty: &DataType) -> bool {
    match ty {
        DataType::Boolean
        | DataType::Int64
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32
        | DataType::Duration(TimeUnit::Microsecond) => true,
        DataType::Decimal128(38, scale) => (0..=38).contains(scale),
        DataType::Timestamp(..) => *ty == instant_type(),
        DataType::List(item) => item.name() == "item" && item.is_nullable() && is_feature_type(item.data_type()),
        DataType::Struct(fields) => {
            fields.iter().all(|field| field.is_nullable() && is_feature_type(field.data_type()))
        }
        DataType::FixedSizeList(item, _) => *item.data_type() == DataType::Float32 && !item.is_nullable(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, BooleanArray, Float64Array, Int32Array, StringArray};
    use arrow::array::{TimestampMicrosecondArray, UInt64Array};

    use super::*;

    fn times(values: impl Into<Vec<Option<i64>>>) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values.into()).with_timezone("UTC"))
    }

    type Columns = Vec<(&'static str, ArrayRef)>;

    fn columns() -> Columns {
        vec![
            ("f12", Arc::new(Float64Array::from(vec![Some(1.5), None])) as ArrayRef),
            (RETRACTED, Arc::new(BooleanArray::from(vec![false, true]))),
            ("f3", Arc::new(StringArray::from(vec!["a", "b"]))),
            (EVENT_ID, Arc::new(BinaryArray::from(vec![Some(b"e1".as_slice()), None]))),
            (SEQUENCE, Arc::new(UInt64Array::from(vec![0, 1]))),
            (SOURCE, Arc::new(StringArray::from(vec!["s", "s"]))),
            (ARRIVAL_TIME, times([Some(5), Some(6)])),
            (EVENT_TIME, times([Some(3), Some(4)])),
        ]
    }

    fn batch(columns: Columns) -> RecordBatch {
        RecordBatch::try_from_iter(columns).expect("equal lengths")
    }

    #[test]
    fn columns_come_out_in_canonical_order() {
        let facts = FactBatch::new(EntityId(7), batch(columns())).expect("it follows the layout");
        let schema = facts.batch().schema();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, [EVENT_TIME, ARRIVAL_TIME, SOURCE, SEQUENCE, EVENT_ID, RETRACTED, "f3", "f12"]);
        assert_eq!(facts.features().collect::<Vec<_>>(), [FeatureId(3), FeatureId(12)]);
        assert_eq!((facts.event_times(), facts.arrival_times()), ([3, 4].as_slice(), [5, 6].as_slice()));
        assert!(facts.feature(FeatureId(4)).is_none());
        assert_eq!(schema, fact_schema([(FeatureId(12), DataType::Float64), (FeatureId(3), DataType::Utf8)]));
    }

    #[test]
    fn what_breaks_the_layout_is_refused_by_name() {
        let refuse = |change: &dyn Fn(&mut Columns), expected: &str| {
            let mut columns = columns();
            change(&mut columns);
            let error = FactBatch::new(EntityId(7), batch(columns)).expect_err(expected);
            let StoreError::Layout { column, rule } = error else { panic!("{error}") };
            assert!(format!("`{column}`: {rule}").starts_with(expected), "{column}: {rule}");
        };
        refuse(&|c| drop(c.pop()), "`event_time`: it is absent");
        refuse(&|c| c[7].1 = times([Some(3), None]), "`event_time`: it holds nulls");
        refuse(&|c| c[6].1 = times([Some(3), Some(i64::MAX)]), "`arrival_time`: it holds an instant outside");
        refuse(&|c| c[4].1 = Arc::new(Int32Array::from(vec![0, 1])), "`sequence`: it has another type");
        refuse(&|c| c[0].1 = Arc::new(Int32Array::from(vec![0, 1])), "`f12`: no feature has its type");
        refuse(&|c| c[0].0 = "f012", "`f012`: it is neither");
        refuse(&|c| c[0].0 = "f3", "`f3`: it stands twice");
        refuse(&|c| c.push((SOURCE, Arc::clone(&c[5].1))), "`source`: it stands twice");
    }

    #[test]
    fn every_model_type_is_a_feature_type() {
        use creta_model::{StructField, Type};
        let list = Type::List { item: Box::new(Type::Decimal { scale: 2 }), optional: true };
        let nested = Type::Struct {
            name: "S".into(),
            fields: vec![StructField { name: "m".into(), ty: list.clone(), optional: true }],
        };
        let plain = [Type::Bool, Type::Int, Type::Float, Type::Str, Type::Bytes, Type::Date, Type::Datetime];
        let others = [Type::Timedelta, Type::Vector { size: 3 }, list, nested];
        for ty in plain.into_iter().chain(others) {
            assert!(is_feature_type(&ty.to_arrow()), "{ty:?}");
        }
        assert!(!is_feature_type(&DataType::Timestamp(TimeUnit::Microsecond, None)));
    }
}
