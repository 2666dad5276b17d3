//! Columns of cells as bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt8Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{Field, Int64Type, Schema, UInt8Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use creta_model::{CellError, CellState};

use crate::column::CellColumn;
use crate::error::EngineError;

/// Every state, at the place of its number.
const STATES: [CellState; 6] =
    [CellState::Value, CellState::Null, CellState::Missing, CellState::Expired, CellState::Error, CellState::Denied];

/// One Arrow stream with these columns, which have one length: of each its values, and its states, event times and errors where
/// it has such.
pub(crate) fn write_cells(columns: &[CellColumn], out: &mut Vec<u8>) -> Result<(), EngineError> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    let mut add = |name: String, array: ArrayRef| {
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    };
    for (index, column) in columns.iter().enumerate() {
        add(format!("v{index}"), Arc::clone(column.values()));
        if let Some(states) = column.states() {
            add(format!("s{index}"), Arc::new(UInt8Array::from_iter_values(states.iter().map(|state| *state as u8))));
        }
        if let Some(times) = column.event_times() {
            add(format!("t{index}"), Arc::new(times.clone()));
        }
        if !column.errors().is_empty() {
            let error = |row: usize| {
                let error = column.errors().get(&row)?;
                Some(serde_json::to_string(error.as_ref()).expect("an error has a JSON form"))
            };
            add(format!("e{index}"), Arc::new((0..column.len()).map(error).collect::<StringArray>()));
        }
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    write_batch(&batch, out)?;
    Ok(())
}

/// The columns that [`write_cells`] wrote.
pub(crate) fn read_cells(bytes: Vec<u8>) -> Result<Vec<CellColumn>, EngineError> {
    let batch = read_batch(&mut Buffer::from_vec(bytes))?;
    let mut columns = Vec::new();
    while let Some(values) = batch.column_by_name(&format!("v{}", columns.len())) {
        let of = |kind: char| batch.column_by_name(&format!("{kind}{}", columns.len()));
        let states = of('s').map(|states| {
            let states = states.as_primitive::<UInt8Type>().values().iter();
            states.map(|state| STATES[usize::from(*state)]).collect()
        });
        let times: Option<Int64Array> = of('t').map(|times| times.as_primitive::<Int64Type>().clone());
        let mut errors: BTreeMap<usize, Arc<CellError>> = BTreeMap::new();
        if let Some(texts) = of('e') {
            let mut known: BTreeMap<&str, Arc<CellError>> = BTreeMap::new();
            for (row, text) in texts.as_string::<i32>().iter().enumerate() {
                let Some(text) = text else { continue };
                let read = || Arc::new(serde_json::from_str(text).expect("an error that was written"));
                errors.insert(row, Arc::clone(known.entry(text).or_insert_with(read)));
            }
        }
        columns.push(CellColumn::restore(Arc::clone(values), states, errors, times));
    }
    Ok(columns)
}

/// Appends one Arrow stream of one batch, without the marker of its end: what follows is another one.
pub(crate) fn write_batch(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    StreamWriter::try_new(out, &batch.schema())?.write(batch)
}

/// Takes one Arrow stream of one batch from the front. Its arrays share the bytes.
pub(crate) fn read_batch(bytes: &mut Buffer) -> Result<RecordBatch, ArrowError> {
    let mut decoder = StreamDecoder::new();
    let batch = decoder.decode(bytes)?;
    batch.ok_or_else(|| ArrowError::IpcError("a part of a training set holds no table".into()))
}
