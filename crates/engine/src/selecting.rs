//! Fewer rows than the spine has, because somebody asked for that: a sample, and only rows that have what they need. Without
//! either a training set has exactly the rows of its spine (rule S21).

use std::collections::HashMap;

use arrow::array::{Array as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use creta_model::Problem;
use serde::{Deserialize, Serialize};

use crate::request::TrainingSetRequest;

/// Key of a table's metadata: rows that were left out since a required feature has no value in them.
pub const ROWS_DROPPED: &str = "creta.rows-dropped";

/// Which rows of a spine are looked at. The same seed takes the same rows of the same spine, however it is cut into batches;
/// they stay in their order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// So many, or all where there are fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Each with this probability, more than 0 and at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Which are drawn.
    #[serde(default)]
    pub seed: u64,
}

/// The rows of a spine that a sample takes; all without one. Time O(rows) and a sort of the numbers drawn.
pub(crate) fn sampled(spine: &[RecordBatch], sample: Option<&Sample>) -> Result<Vec<RecordBatch>, Problem> {
    let Some(sample) = sample else { return Ok(spine.to_vec()) };
    let total: usize = spine.iter().map(RecordBatch::num_rows).sum();
    let drawn = |row: usize| mixed(sample.seed ^ mixed(row as u64));
    let bound = match (sample.rows, sample.share) {
        (Some(rows), None) => {
            let mut all: Vec<(u64, usize)> = (0..total).map(|row| (drawn(row), row)).collect();
            match usize::try_from(rows) {
                Ok(rows) if rows < total => {
                    let (_, bound, _) = all.select_nth_unstable(rows);
                    *bound
                }
                _ => (u64::MAX, usize::MAX),
            }
        }
        (None, Some(share)) if share > 0.0 && share <= 1.0 => {
            let bound = share * 2.0_f64.powi(64);
            if bound >= 2.0_f64.powi(64) { (u64::MAX, usize::MAX) } else { (bound as u64, 0) }
        }
        _ => {
            return Err(Problem::new(
                "request/bad-sample",
                "a sample is a number of rows, or a share of them above 0 and at most 1",
            )
            .with_help("give one of the two: `rows` or `share`"));
        }
    };
    let mut before = 0;
    let taken = spine.iter().map(|batch| {
        let keep: BooleanArray =
            (before..before + batch.num_rows()).map(|row| Some((drawn(row), row) < bound)).collect();
        before += batch.num_rows();
        filter_record_batch(batch, &keep).map_err(|error| unfit(&error))
    });
    taken.collect()
}

/// Finalizer of SplitMix64: every bit of the input changes every bit of the output.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Leaves out rows in which a required feature has no value, and says in the tables' metadata how many these were.
pub(crate) fn with_required(
    built: Vec<RecordBatch>,
    request: &TrainingSetRequest,
) -> Result<Vec<RecordBatch>, Problem> {
    if request.required.is_empty() {
        return Ok(built);
    }
    if let Some(unknown) = request.required.iter().find(|path| !request.features.contains(path)) {
        return Err(Problem::new("request/not-asked", format!("`{unknown}` is required and not among the features"))
            .with_help("ask for it, or do not require it"));
    }
    let names: Vec<String> = request.required.iter().map(ToString::to_string).collect();
    let kept = built.iter().map(|batch| {
        let columns: Option<Vec<_>> = names.iter().map(|name| batch.column_by_name(name)).collect();
        let columns = columns.ok_or_else(|| unfit(&"a required feature is not there"))?;
        let keep: BooleanArray =
            (0..batch.num_rows()).map(|row| Some(columns.iter().all(|column| column.is_valid(row)))).collect();
        filter_record_batch(batch, &keep).map_err(|error| unfit(&error))
    });
    let kept = kept.collect::<Result<Vec<_>, Problem>>()?;
    let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    let dropped = rows(&built) - rows(&kept);
    let said = |batch: RecordBatch| {
        let mut metadata: HashMap<String, String> = batch.schema_ref().metadata().clone();
        metadata.insert(ROWS_DROPPED.to_owned(), dropped.to_string());
        let schema = batch.schema().as_ref().clone().with_metadata(metadata);
        batch.with_schema(std::sync::Arc::new(schema)).map_err(|error| unfit(&error))
    };
    kept.into_iter().map(said).collect()
}

fn unfit(error: &dyn std::fmt::Display) -> Problem {
    Problem::new("internal/engine", format!("rows could not be selected: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray as _, Int64Array};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;

    fn spine(rows: i64) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef)])
            .expect("a table")
    }

    fn taken(spine: &[RecordBatch], sample: Sample) -> Vec<i64> {
        let batches = sampled(spine, Some(&sample)).expect("a sample");
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    const SOME: Sample = Sample { rows: Some(100), share: None, seed: 7 };

    #[test]
    fn a_sample_has_as_many_rows_as_asked_for_in_their_order() {
        let rows = taken(&[spine(1_000)], SOME);
        assert_eq!(rows.len(), 100);
        assert!(rows.is_sorted() && rows != taken(&[spine(1_000)], Sample { seed: 8, ..SOME }));
        let below = rows.iter().filter(|row| **row < 500).count();
        assert!((30..70).contains(&below), "from everywhere: {below}");
        assert_eq!(taken(&[spine(50)], SOME).len(), 50, "there are no more");
        assert_eq!(taken(&[spine(50)], Sample { rows: Some(0), ..SOME }), Vec::<i64>::new());
        let share = Sample { rows: None, share: Some(0.2), seed: 1 };
        assert!((1_800..2_200).contains(&taken(&[spine(10_000)], share).len()));
        assert_eq!(taken(&[spine(1_000)], Sample { share: Some(1.0), ..share }).len(), 1_000);
        for (rows, share) in
            [(None, None), (Some(1), Some(0.5)), (None, Some(0.0)), (None, Some(1.1)), (None, Some(f64::NAN))]
        {
            let refused = sampled(&[spine(3)], Some(&Sample { rows, share, seed: 0 })).expect_err("no sample");
            assert_eq!(refused.code, "request/bad-sample");
        }
    }

    proptest! {
        #[test]
        fn a_sample_does_not_depend_on_how_the_spine_is_cut(rows in 1_i64..400, cut in any::<prop::sample::Index>(), seed in any::<u64>()) {
            let whole = spine(rows);
            let at = cut.index(rows as usize + 1);
            let parts = [whole.slice(0, at), whole.slice(at, rows as usize - at)];
            for sample in [Sample { seed, ..SOME }, Sample { rows: None, share: Some(0.3), seed }] {
                prop_assert_eq!(taken(std::slice::from_ref(&whole), sample), taken(&parts, sample));
            }
        }
    }
}
