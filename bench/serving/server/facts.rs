//! The facts of the bench: `bench/serving/with_feast.py` makes the same users.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use creta_model::Instant;

use crate::Outcome;

/// Stored features of a user: 30 floats, 10 integers, 10 texts.
pub(crate) const USER_FEATURES: usize = 50;
/// Stored features of a thing, beside those that its resolvers read.
pub(crate) const THING_FEATURES: usize = 100;
/// Features that the resolvers of a thing read.
pub(crate) const THING_READ: usize = 12;
/// When everything was seen, and before when everything was bought.
const SEEN: &str = "2026-03-01T00:00:00Z";
const DAYS_30: i64 = 30 * 86_400_000_000;

fn seen() -> Outcome<i64> {
    Ok(Instant::parse(SEEN)?.micros())
}

fn instants(micros: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

fn ids(of: &Range<usize>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(of.clone().map(|id| id as i64)))
}

/// One fact of each user.
pub(crate) fn users(users: Range<usize>) -> Outcome<RecordBatch> {
    let seen = seen()?;
    let mut columns = vec![("id".to_owned(), ids(&users)), ("seen".into(), instants(users.clone().map(|_| seen)))];
    for n in 0..USER_FEATURES {
        let column: ArrayRef = match n % 5 {
            0..=2 => Arc::new(Float64Array::from_iter_values(users.clone().map(|user| (user * n) as f64 / 7.0))),
            3 => Arc::new(Int64Array::from_iter_values(users.clone().map(|user| (user * n % 100_003) as i64))),
            _ => Arc::new(StringArray::from_iter_values(users.clone().map(|user| format!("city-{}", user * n % 997)))),
        };
        columns.push((format!("f{n}"), column));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// One fact of each thing.
pub(crate) fn things(things: Range<usize>) -> Outcome<RecordBatch> {
    let seen = seen()?;
    let mut columns = vec![("id".to_owned(), ids(&things)), ("seen".into(), instants(things.clone().map(|_| seen)))];
    let read = (0..THING_READ).map(|n| ("i", n));
    for (kind, n) in read.chain((0..THING_FEATURES).map(|n| ("s", n))) {
        let values = things.clone().map(|thing| ((thing * 31 + n * 17) % 9_973) as f64 / 7.0);
        columns.push((format!("{kind}{n}"), Arc::new(Float64Array::from_iter_values(values))));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Purchases `numbers` of a buyer who makes `of` in thirty days, in order of time.
pub(crate) fn purchases(buyer: &str, numbers: Range<i64>, of: i64) -> Outcome<RecordBatch> {
    let start = seen()? - DAYS_30;
    let count = numbers.clone().count();
    Ok(RecordBatch::try_from_iter([
        (
            "id",
            Arc::new(Int64Array::from_iter_values(numbers.clone().map(|n| n * 10 + buyer.len() as i64))) as ArrayRef,
        ),
        ("buyer", Arc::new(StringArray::from_iter_values(std::iter::repeat_n(buyer, count)))),
        ("bought", instants(numbers.clone().map(|n| start + n * (DAYS_30 / of)))),
        ("amount", Arc::new(Float64Array::from_iter_values(numbers.map(|n| ((n * 7_919) % 100_000) as f64 / 100.0)))),
    ])?)
}
