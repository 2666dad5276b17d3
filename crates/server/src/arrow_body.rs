//! Arrow IPC streams from outside: decoded with bounds, and never trusted about their own lengths.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use creta_model::Problem;

use crate::limits::{ARROW_COLUMNS_MAX, ARROW_DEPTH_MAX, ARROW_ROWS_MAX};

/// Content type of Arrow bodies.
pub(crate) const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// Why bytes are not an acceptable stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadArrow {
    #[error("it is cut short or its lengths do not agree with its size")]
    CutShort,
    #[error("it is not an Arrow IPC stream, or an array in it breaks the format")]
    Invalid,
    #[error("it has bytes after its end")]
    Trailing,
    #[error("it has a column of type `{0}`, which no feature has")]
    Type(String),
    #[error("it has more than {ARROW_COLUMNS_MAX} columns")]
    Columns,
    #[error("it has two columns named alike")]
    Names,
    #[error("it has more than {ARROW_ROWS_MAX} rows; send it in parts")]
    Rows,
}

impl BadArrow {
    /// The problem of a request with this body.
    pub(crate) fn to_problem(&self) -> Problem {
        let code = if matches!(self, Self::Rows) { "too-large/rows" } else { "ingest/bad-arrow" };
        Problem::new(code, format!("the body cannot be read: {self}"))
            .with_help("send one uncompressed Arrow IPC stream, as `pyarrow.ipc.new_stream` writes it")
    }
}

/// Decodes one whole stream, all of it or nothing. Memory: the body itself, which the batches share.
///
/// Everything is validated: types, nesting, offsets, text encoding, and that the number of rows is one that the columns
/// could hold. A panic in the decoder is an invalid stream like any other.
pub(crate) fn decode(body: Bytes) -> Result<(SchemaRef, Vec<RecordBatch>), BadArrow> {
    catch_unwind(AssertUnwindSafe(|| decode_checked(body))).unwrap_or(Err(BadArrow::Invalid))
}

fn decode_checked(body: Bytes) -> Result<(SchemaRef, Vec<RecordBatch>), BadArrow> {
    let mut rest = Buffer::from(body);
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    let (mut rows, mut checked) = (0_usize, false);
    while !rest.is_empty() {
        let before = rest.len();
        let batch = decoder.decode(&mut rest).map_err(|error| invalid(&error))?;
        if let (Some(schema), false) = (decoder.schema(), checked) {
            check_schema(&schema)?;
            checked = true;
        }
        if let Some(batch) = batch {
            rows = rows.saturating_add(batch.num_rows());
            if rows > ARROW_ROWS_MAX || (batch.num_columns() == 0 && batch.num_rows() > 0) {
                return Err(BadArrow::Rows);
            }
            batches.push(batch);
        } else if rest.len() == before {
            return Err(BadArrow::Trailing); // The decoder has seen the end and takes no more.
        }
    }
    decoder.finish().map_err(|_| BadArrow::CutShort)?;
    // A stream cut between two batches reads like a shorter one; only its end marker tells. After the marker the decoder
    // takes nothing more.
    if decoder.decode(&mut Buffer::from(vec![0xff_u8])).is_ok() {
        return Err(BadArrow::CutShort);
    }
    let schema = decoder.schema().ok_or(BadArrow::CutShort)?;
    Ok((schema, batches))
}

fn invalid(error: &ArrowError) -> BadArrow {
    if error.to_string().contains("Unexpected EOS") { BadArrow::Trailing } else { BadArrow::Invalid }
}

fn check_schema(schema: &SchemaRef) -> Result<(), BadArrow> {
    let mut columns = 0;
    for field in schema.fields() {
        check_type(field.data_type(), 0, &mut columns)?;
    }
    let mut names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) { Err(BadArrow::Names) } else { Ok(()) }
}

/// Whether values of this type can be read without trusting a length. Run-end encoding and unions claim rows that no
/// bytes stand for, and no feature has such a type.
fn check_type(ty: &DataType, depth: usize, columns: &mut usize) -> Result<(), BadArrow> {
    *columns += 1;
    if *columns > ARROW_COLUMNS_MAX {
        return Err(BadArrow::Columns);
    }
    let refused = || Err(BadArrow::Type(kind_of(ty)));
    if depth > ARROW_DEPTH_MAX {
        return refused();
    }
    match ty {
        DataType::Union(..) | DataType::RunEndEncoded(..) | DataType::Map(..) => refused(),
        DataType::ListView(_) | DataType::LargeListView(_) => refused(),
        DataType::List(item) | DataType::LargeList(item) => check_type(item.data_type(), depth + 1, columns),
        DataType::FixedSizeList(item, size) if *size > 0 => check_type(item.data_type(), depth + 1, columns),
        DataType::FixedSizeList(..) => refused(),
        DataType::Struct(fields) => {
            fields.iter().try_for_each(|field| check_type(field.data_type(), depth + 1, columns))
        }
        DataType::Dictionary(_, values) => check_type(values, depth + 1, columns),
        _ => Ok(()),
    }
}

fn kind_of(ty: &DataType) -> String {
    ty.to_string().chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// One stream with these batches, whose schema they all have.
pub(crate) fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, ListArray, NullArray, StringArray};
    use arrow::datatypes::{Field, Int64Type, Schema};
    use proptest::prelude::*;

    use super::*;

    fn batch() -> RecordBatch {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as _),
            ("city", Arc::new(StringArray::from(vec![Some("Lyon"), None, Some("Turin")])) as _),
            ("lists", Arc::new(lists) as _),
        ])
        .expect("columns of equal length")
    }

    fn stream() -> Vec<u8> {
        encode(&batch().schema(), &[batch(), batch()]).expect("encodes")
    }

    #[test]
    fn a_stream_survives_writing_and_reading() {
        let (schema, batches) = decode(stream().into()).expect("own form");
        assert_eq!(schema, batch().schema());
        assert_eq!(batches, [batch(), batch()]);
        let (_, none) = decode(encode(&schema, &[]).expect("encodes").into()).expect("no batches are fine");
        assert!(none.is_empty());
    }

    #[test]
    fn attack_every_truncation_is_refused() {
        let stream = stream();
        for len in 0..stream.len() {
            assert!(decode(stream[..len].to_vec().into()).is_err(), "cut to {len} of {}", stream.len());
        }
        let mut longer = stream;
        longer.extend_from_slice(b"more");
        assert!(decode(longer.into()).is_err());
    }

    #[test]
    fn attack_lying_lengths_are_refused_without_reserving_what_they_claim() {
        let stream = stream();
        for at in 0..stream.len().saturating_sub(8) {
            for lie in [u64::MAX, i64::MAX as u64, 1 << 40, 0] {
                let mut bytes = stream.clone();
                bytes[at..at + 8].copy_from_slice(&lie.to_le_bytes());
                // Some places are padding or data: then the stream is a different valid one, of bounded size.
                if let Ok((_, batches)) = decode(bytes.into()) {
                    assert!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() <= 6, "offset {at}");
                }
            }
        }
    }

    #[test]
    fn attack_rows_that_no_bytes_stand_for_are_counted() {
        let nulls =
            |rows| RecordBatch::try_from_iter([("nothing", Arc::new(NullArray::new(rows)) as _)]).expect("one column");
        let schema = nulls(1).schema();
        let huge = encode(&schema, &[nulls(ARROW_ROWS_MAX), nulls(1)]).expect("encodes");
        assert!(huge.len() < 2_000);
        assert_eq!(decode(huge.into()).expect_err("too many rows"), BadArrow::Rows);
    }

    #[test]
    fn attack_types_that_hide_their_length_and_deep_nesting_are_refused() {
        let mut deep = DataType::Int64;
        for _ in 0..ARROW_DEPTH_MAX + 1 {
            deep = DataType::List(Arc::new(Field::new("item", deep, true)));
        }
        let ends = Arc::new(Field::new("run_ends", DataType::Int32, false));
        let runs = DataType::RunEndEncoded(ends, Arc::new(Field::new("values", DataType::Int64, true)));
        for ty in [deep, runs] {
            let schema = Arc::new(Schema::new(vec![Field::new("x", ty, true)]));
            let refusal = decode(encode(&schema, &[]).expect("encodes").into()).expect_err("refused");
            assert!(matches!(refusal, BadArrow::Type(_) | BadArrow::Invalid), "{refusal}");
        }
        let twice = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true); 2]));
        assert_eq!(decode(encode(&twice, &[]).expect("encodes").into()), Err(BadArrow::Names));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn attack_garbage_is_an_error_and_never_a_crash(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = stream();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok((_, batches)) = decode(bytes.into()) {
                for batch in batches {
                    let shown = format!("{batch:?}"); // Readable through and through.
                    prop_assert!(shown.len() < 1 << 20);
                }
            }
        }
    }
}
