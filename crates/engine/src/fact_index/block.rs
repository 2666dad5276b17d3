//! Blocks of indexed facts: how facts lie in the bytes of one online value.
//!
//! A block is a format byte and parts; a part holds the facts that carry the same features:
//!
//! ```text
//! part   features u16, feature id u32 each, facts u32, then each fact
//! fact   length u32 of what follows, superseded_at i64, event_time i64, arrival_time i64, sequence u64, retracted u8,
//!        the Arrow row encoding of source, event_id and the features
//! ```
//!
//! Numbers are little endian. What decides visibility stands in front, so that finding, skipping and superseding a fact
//! needs no decoding. Blocks are derived from the facts and rebuilt when the format changes, so the row encoding of one
//! Arrow release never meets another's.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType, UInt64Type};
use arrow::row::{RowConverter, SortField};
use creta_model::{FeatureId, Type};
use creta_store::layout;

use crate::facts::SUPERSEDED_AT;

/// Raised whenever the bytes of a block change meaning; an Arrow upgrade counts.
pub(super) const FORMAT: u8 = 2;

const FIXED_BYTES: usize = 8 * 4 + 1;

/// Why bytes are not a block: they were written by another version or are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotABlock;

/// The facts of one block that carry the same features.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// Ascending.
    pub(super) features: Vec<FeatureId>,
    /// In no particular order.
    pub(super) facts: Vec<IndexedFact>,
}

/// One fact as it lies in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexedFact {
    /// Smallest arrival time of a later version of its event; `i64::MAX` for none (rule S8).
    pub(super) superseded_at: i64,
    pub(super) event_time: i64,
    pub(super) arrival_time: i64,
    pub(super) sequence: u64,
    pub(super) retracted: bool,
    /// Source, event id and features in Arrow's row encoding.
    pub(super) row: Box<[u8]>,
}

/// Adds `parts` to a block's bytes.
pub(super) fn append(block: &mut Vec<Part>, parts: Vec<Part>) {
    for part in parts {
        match block.iter_mut().find(|old| old.features == part.features) {
            Some(old) => old.facts.extend(part.facts),
            None => block.push(part),
        }
    }
}

/// Writes parts behind whatever stands in `out`.
pub(super) fn write(parts: &[Part], out: &mut Vec<u8>) {
    for part in parts {
        out.extend((part.features.len() as u16).to_le_bytes());
        part.features.iter().for_each(|id| out.extend(id.0.to_le_bytes()));
        out.extend((part.facts.len() as u32).to_le_bytes());
        for fact in &part.facts {
            out.extend(((FIXED_BYTES + fact.row.len()) as u32).to_le_bytes());
            out.extend(fact.superseded_at.to_le_bytes());
            out.extend(fact.event_time.to_le_bytes());
            out.extend(fact.arrival_time.to_le_bytes());
            out.extend(fact.sequence.to_le_bytes());
            out.push(u8::from(fact.retracted));
            out.extend(&fact.row);
        }
    }
}

/// Reads what [`write`] wrote.
pub(super) fn read(mut bytes: &[u8]) -> Result<Vec<Part>, NotABlock> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let features = take_u16(&mut bytes)? as usize;
        let features = (0..features).map(|_| take_u32(&mut bytes).map(FeatureId)).collect::<Result<Vec<_>, _>>()?;
        let count = take_u32(&mut bytes)? as usize;
        let mut facts = Vec::with_capacity(count.min(bytes.len() / FIXED_BYTES));
        for _ in 0..count {
            let length = take_u32(&mut bytes)? as usize;
            let mut fact = take(&mut bytes, length)?;
            facts.push(IndexedFact {
                superseded_at: take_i64(&mut fact)?,
                event_time: take_i64(&mut fact)?,
                arrival_time: take_i64(&mut fact)?,
                sequence: take_i64(&mut fact)? as u64,
                retracted: take(&mut fact, 1)?[0] == 1,
                row: fact.into(),
            });
        }
        parts.push(Part { features, facts });
    }
    Ok(parts)
}

pub(crate) fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], NotABlock> {
    let (head, tail) = bytes.split_at_checked(length).ok_or(NotABlock)?;
    *bytes = tail;
    Ok(head)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], NotABlock> {
    Ok(take(bytes, N)?.try_into().expect("took exactly N bytes"))
}

pub(super) fn take_u16(bytes: &mut &[u8]) -> Result<u16, NotABlock> {
    take_array(bytes).map(u16::from_le_bytes)
}

pub(crate) fn take_u32(bytes: &mut &[u8]) -> Result<u32, NotABlock> {
    take_array(bytes).map(u32::from_le_bytes)
}

pub(super) fn take_i64(bytes: &mut &[u8]) -> Result<i64, NotABlock> {
    take_array(bytes).map(i64::from_le_bytes)
}

fn sort_fields(batch_fields: &[DataType]) -> Vec<SortField> {
    let mut fields = vec![SortField::new(DataType::Utf8), SortField::new(DataType::Binary)];
    fields.extend(batch_fields.iter().cloned().map(SortField::new));
    fields
}

/// Feature columns of a fact batch with their ids, ascending.
fn feature_columns(batch: &RecordBatch) -> Vec<(FeatureId, ArrayRef)> {
    let schema = batch.schema();
    let mut columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .filter_map(|(field, column)| Some((layout::feature_of(field.name())?, Arc::clone(column))))
        .collect();
    columns.sort_by_key(|(id, _)| *id);
    columns
}

/// Every fact of a batch in block form, with what supersedes it and those features that are to be kept.
pub(super) fn encode(
    batch: &RecordBatch,
    superseded_at: &[i64],
    keep: impl Fn(FeatureId) -> bool,
) -> (Vec<FeatureId>, Vec<IndexedFact>) {
    let mut columns = feature_columns(batch);
    columns.retain(|(feature, _)| keep(*feature));
    let types: Vec<_> = columns.iter().map(|(_, column)| column.data_type().clone()).collect();
    let converter = RowConverter::new(sort_fields(&types)).expect("every feature type has a row encoding");
    let meta = |name: &str| batch.column_by_name(name).expect("the layout holds every meta column");
    let mut encoded = vec![Arc::clone(meta(layout::SOURCE)), Arc::clone(meta(layout::EVENT_ID))];
    encoded.extend(columns.iter().map(|(_, column)| Arc::clone(column)));
    let rows = converter.convert_columns(&encoded).expect("columns have the converter's types");
    let event_time = meta(layout::EVENT_TIME).as_primitive::<TimestampMicrosecondType>();
    let arrival_time = meta(layout::ARRIVAL_TIME).as_primitive::<TimestampMicrosecondType>();
    let sequence = meta(layout::SEQUENCE).as_primitive::<UInt64Type>();
    let retracted = meta(layout::RETRACTED).as_boolean();
    let facts = (0..batch.num_rows())
        .map(|row| IndexedFact {
            superseded_at: superseded_at[row],
            event_time: event_time.value(row),
            arrival_time: arrival_time.value(row),
            sequence: sequence.value(row),
            retracted: retracted.value(row),
            row: rows.row(row).data().into(),
        })
        .collect();
    (columns.into_iter().map(|(id, _)| id).collect(), facts)
}

/// Facts back as batches in the layout of facts plus `superseded_at`, one for each distinct set of features.
pub(super) fn decode(parts: Vec<Part>, types: &HashMap<FeatureId, Type>) -> Result<Vec<RecordBatch>, NotABlock> {
    let mut merged: Vec<Part> = Vec::new();
    append(&mut merged, parts);
    // Whichever value was read first, facts come in the same order.
    merged.sort_by(|a, b| a.features.cmp(&b.features));
    let decode = |part: Part| decode_part(&part.features, &part.facts.iter().collect::<Vec<_>>(), types);
    merged.into_iter().filter(|part| !part.facts.is_empty()).map(decode).collect()
}

/// Facts that carry these features, ascending, in the layout of facts plus `superseded_at`.
pub(super) fn decode_part(
    features: &[FeatureId],
    facts: &[&IndexedFact],
    types: &HashMap<FeatureId, Type>,
) -> Result<RecordBatch, NotABlock> {
    let feature_types =
        features.iter().map(|id| types.get(id).map(Type::to_arrow).ok_or(NotABlock)).collect::<Result<Vec<_>, _>>()?;
    let converter = RowConverter::new(sort_fields(&feature_types)).map_err(|_| NotABlock)?;
    let parser = converter.parser();
    let rows = facts.iter().map(|fact| parser.parse(&fact.row));
    let mut decoded = converter.convert_rows(rows).map_err(|_| NotABlock)?.into_iter();
    let times = |values: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef;
    let mut columns: Vec<ArrayRef> = vec![
        times(facts.iter().map(|fact| fact.event_time).collect()),
        times(facts.iter().map(|fact| fact.arrival_time).collect()),
        decoded.next().ok_or(NotABlock)?,
        Arc::new(UInt64Array::from_iter_values(facts.iter().map(|fact| fact.sequence))),
        decoded.next().ok_or(NotABlock)?,
        Arc::new(facts.iter().map(|fact| Some(fact.retracted)).collect::<BooleanArray>()),
    ];
    let mut fields = layout::META_FIELDS.to_vec();
    for (id, (column, ty)) in features.iter().zip(decoded.zip(&feature_types)) {
        fields.push(Arc::new(Field::new(layout::feature_column(*id), ty.clone(), true)));
        columns.push(column);
    }
    fields.push(Arc::new(Field::new(SUPERSEDED_AT, layout::instant_type(), true)));
    let superseded = facts.iter().map(|fact| (fact.superseded_at != i64::MAX).then_some(fact.superseded_at));
    columns.push(Arc::new(superseded.collect::<TimestampMicrosecondArray>().with_timezone("UTC")));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|_| NotABlock)
}
