//! Figures of a dataset's columns, for people: counts, extremes, how values spread, a few rows.
//!
//! All of it is computed from the rows as whoever asks gets them, so it tells nothing that the rows would not.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, ArrayRef, AsArray as _, Float64Array, RecordBatch};
use arrow::compute::{cast, concat, concat_batches};
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use creta_model::Problem;
use serde::{Deserialize, Serialize};

use super::version::{ColumnKind, DatasetColumn, DatasetVersion};
use super::view::DatasetRows;

/// Bins of a histogram.
const BINS: usize = 12;
/// Values that are counted one by one at most; of more it is said that there are more.
const DISTINCT_MAX: usize = 10_000;
/// Most frequent values that are shown.
const TOP: usize = 5;
/// Longest text of a value that is shown, in characters.
const SHOWN_MAX: usize = 60;

/// What there is to say of a dataset's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetProfile {
    /// `name@version`.
    pub dataset: String,
    /// Rows that are shown.
    pub rows: u64,
    /// Rows that a row rule kept back.
    pub rows_unseen: u64,
    /// SHA-256 of the content, where all of it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Facts there were of each entity that was read when it was made, retractions among them; for whom no row rule binds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, u64>,
    /// In order.
    pub columns: Vec<ColumnProfile>,
    /// The first rows, each with a text per column; null where there is no value.
    pub preview: Vec<Vec<Option<String>>>,
}

/// What there is to say of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnProfile {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub kind: ColumnKind,
    /// What it holds.
    #[serde(rename = "type")]
    pub ty: String,
    /// Whether it is shown less than it was kept.
    pub withheld: bool,
    /// Cells with a value.
    pub values: u64,
    /// Cells without one, by state; `null` alone for columns of the spine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub absent: BTreeMap<String, u64>,
    /// Different values; absent where there are more than ten thousand, or values that cannot be told apart by a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<u64>,
    /// The most frequent values and how often each is there; only where some value is there twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<(String, u64)>,
    /// Least and greatest value as text, for numbers and times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<(String, String)>,
    /// For numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Numbers>,
}

/// How numbers spread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Mean of the finite ones.
    pub mean: f64,
    /// Their standard deviation (n-1); absent below two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// How many are zero.
    pub zeros: u64,
    /// NaN and infinities.
    pub not_finite: u64,
    /// Bins of equal width from the least to the greatest; one where all are the same.
    pub bins: Vec<Bin>,
}

/// A bin of a histogram: from its lower end to below its upper end, which the last one includes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower end.
    pub from: f64,
    /// Upper end.
    pub to: f64,
    /// How many.
    pub count: u64,
}

impl DatasetRows {
    /// Figures of these rows, which have to be shown with states, and the first `preview` of them. Time O(cells), memory that
    /// of one column.
    pub fn profile(&self, version: &DatasetVersion, preview: usize) -> Result<DatasetProfile, Problem> {
        let selected = version.columns.iter().filter(|column| self.schema.index_of(&column.name).is_ok());
        let columns = selected.clone().map(|column| self.profile_of(column)).collect::<Result<Vec<_>, _>>()?;
        let whole = columns.len() == version.columns.len() && self.withheld.is_empty() && !self.is_bound;
        let names: Vec<&String> = selected.map(|column| &column.name).collect();
        Ok(DatasetProfile {
            dataset: version.reference(),
            rows: self.batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            rows_unseen: self.rows_unseen,
            digest: whole.then(|| version.digest.clone()),
            facts: if self.is_bound { BTreeMap::new() } else { version.facts.clone() },
            columns,
            preview: self.preview(&names, preview)?,
        })
    }

    fn profile_of(&self, column: &DatasetColumn) -> Result<ColumnProfile, Problem> {
        let array = self.column(&column.name)?;
        let states = match column.kind {
            ColumnKind::Feature => Some(self.column(&format!("{}__state", column.name))?),
            ColumnKind::Given | ColumnKind::Spine => None,
        };
        let mut absent = BTreeMap::new();
        for row in (0..array.len()).filter(|row| array.is_null(*row)) {
            let state = states.as_ref().map_or("null", |states| states.as_string::<i32>().value(row));
            *absent.entry(state.to_owned()).or_insert(0) += 1;
        }
        let (distinct, top) = counted(&array)?;
        let (numbers, range) = numbers(&array)?;
        let range = match range {
            Some(range) => Some(range),
            None => times(&array)?,
        };
        Ok(ColumnProfile {
            name: column.name.clone(),
            kind: column.kind,
            ty: column.ty.clone(),
            withheld: self.withheld.contains(&column.name),
            values: (array.len() - array.null_count()) as u64,
            absent,
            distinct,
            top,
            range,
            numbers,
        })
    }

    /// One column of all batches.
    pub(super) fn column(&self, name: &str) -> Result<ArrayRef, Problem> {
        let index = self.schema.index_of(name).map_err(|error| unfit(&error))?;
        let parts: Vec<&dyn Array> = self.batches.iter().map(|batch| batch.column(index).as_ref()).collect();
        concat(&parts).map_err(|error| unfit(&error))
    }

    fn preview(&self, names: &[&String], rows: usize) -> Result<Vec<Vec<Option<String>>>, Problem> {
        let mut first = Vec::<RecordBatch>::new();
        let mut left = rows;
        for batch in &self.batches {
            let taken = left.min(batch.num_rows());
            first.push(batch.slice(0, taken));
            left -= taken;
        }
        let first = concat_batches(&self.schema, &first).map_err(|error| unfit(&error))?;
        let columns = names.iter().map(|name| {
            let column = first.column(first.schema_ref().index_of(name).map_err(|error| unfit(&error))?);
            texts(column)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok((0..first.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect())
    }
}

fn unfit(error: &dyn std::error::Error) -> Problem {
    Problem::new("internal/engine", format!("the columns of a dataset do not fit together: {error}"))
}

const FORMAT: FormatOptions<'static> = FormatOptions::new().with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));

/// Each value as a text of at most [`SHOWN_MAX`] characters.
fn texts(array: &ArrayRef) -> Result<Vec<Option<String>>, Problem> {
    let formatter = ArrayFormatter::try_new(array, &FORMAT).map_err(|error| unfit(&error))?;
    let text = |row: usize| {
        array.is_valid(row).then(|| {
            let text = formatter.value(row).to_string();
            match text.char_indices().nth(SHOWN_MAX) {
                None => text,
                Some((at, _)) => format!("{}...", &text[..at]),
            }
        })
    };
    Ok((0..array.len()).map(text).collect())
}

/// How many different values there are, and those with how often each occurs.
type Counted = (Option<u64>, Vec<(String, u64)>);

/// How many values there are, and which the most.
fn counted(array: &ArrayRef) -> Result<Counted, Problem> {
    let formatter = ArrayFormatter::try_new(array, &FORMAT).map_err(|error| unfit(&error))?;
    let mut counts = HashMap::<String, u64>::new();
    for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
        *counts.entry(formatter.value(row).to_string()).or_insert(0) += 1;
        if counts.len() > DISTINCT_MAX {
            return Ok((None, Vec::new()));
        }
    }
    let distinct = Some(counts.len() as u64);
    let mut top: Vec<(String, u64)> = counts.into_iter().filter(|(_, count)| *count > 1).collect();
    top.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
    top.truncate(TOP);
    let short = |(text, count): (String, u64)| match text.char_indices().nth(SHOWN_MAX) {
        None => (text, count),
        Some((at, _)) => (format!("{}...", &text[..at]), count),
    };
    Ok((distinct, top.into_iter().map(short).collect()))
}

type Spread = (Option<Numbers>, Option<(String, String)>);

fn numbers(array: &ArrayRef) -> Result<Spread, Problem> {
    if !array.data_type().is_numeric() || matches!(array.data_type(), DataType::Float16) {
        return Ok((None, None));
    }
    let floats = cast(array, &DataType::Float64).map_err(|error| unfit(&error))?;
    let floats: &Float64Array = floats.as_primitive::<Float64Type>();
    let finite = || floats.iter().flatten().filter(|number| number.is_finite());
    let count = finite().count();
    if count == 0 {
        return Ok((None, None));
    }
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    // Around the middle, so that neither sums nor squares of large numbers run over.
    let middle = low / 2.0 + high / 2.0;
    let mean = middle + finite().map(|x| (x - middle) / count as f64).sum::<f64>();
    let squares: f64 = finite().map(|x| (x - mean).powi(2)).sum();
    Ok((
        Some(Numbers {
            mean,
            std: (count > 1).then(|| (squares / (count - 1) as f64).sqrt()).filter(|std| std.is_finite()),
            zeros: finite().filter(|x| *x == 0.0).count() as u64,
            not_finite: (floats.len() - floats.null_count() - count) as u64,
            bins: bins(finite(), low, high),
        }),
        Some((low.to_string(), high.to_string())),
    ))
}

fn bins(numbers: impl Iterator<Item = f64>, low: f64, high: f64) -> Vec<Bin> {
    let width = high / BINS as f64 - low / BINS as f64;
    if width <= 0.0 {
        return vec![Bin { from: low, to: high, count: numbers.count() as u64 }];
    }
    let mut counts = [0_u64; BINS];
    numbers.for_each(|x| counts[(((x / width) - (low / width)) as usize).min(BINS - 1)] += 1);
    let end = |n: usize| if n == BINS { high } else { low + width * n as f64 };
    counts.iter().enumerate().map(|(n, count)| Bin { from: end(n), to: end(n + 1), count: *count }).collect()
}

/// The first and the last of instants and dates.
fn times(array: &ArrayRef) -> Result<Option<(String, String)>, Problem> {
    if !array.data_type().is_temporal() || array.null_count() == array.len() {
        return Ok(None);
    }
    let order = arrow::compute::sort_to_indices(array, None, None).map_err(|error| unfit(&error))?;
    let values: Vec<usize> =
        order.values().iter().map(|row| *row as usize).filter(|row| array.is_valid(*row)).collect();
    let formatter = ArrayFormatter::try_new(array, &FORMAT).map_err(|error| unfit(&error))?;
    let text = |row: Option<&usize>| row.map(|row| formatter.value(*row).to_string());
    Ok(text(values.first()).zip(text(values.last())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    fn spread(numbers_: Vec<Option<f64>>) -> Numbers {
        let array: ArrayRef = Arc::new(Float64Array::from(numbers_));
        numbers(&array).expect("numbers").0.expect("some are finite")
    }

    #[test]
    fn numbers_have_mean_deviation_and_bins_that_hold_all_of_them() {
        let told = spread(vec![Some(2.0), Some(4.0), None, Some(6.0), Some(f64::NAN), Some(0.0)]);
        assert_eq!((told.mean, told.zeros, told.not_finite), (3.0, 1, 1));
        assert!((told.std.expect("four") - (20.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(told.bins.iter().map(|bin| bin.count).sum::<u64>(), 4);
        assert_eq!((told.bins[0].from, told.bins[BINS - 1].to), (0.0, 6.0));
        assert_eq!((told.bins[0].count, told.bins[4].count, told.bins[8].count, told.bins[11].count), (1, 1, 1, 1));
        let same = spread(vec![Some(7.0), Some(7.0)]);
        assert_eq!((same.bins.len(), same.bins[0].count, same.std), (1, 2, Some(0.0)));
        assert_eq!(spread(vec![Some(1.0)]).std, None);
        let wide = spread(vec![Some(f64::MIN), Some(f64::MAX)]);
        assert_eq!((wide.mean, wide.bins.iter().map(|bin| bin.count).sum::<u64>()), (0.0, 2), "nothing runs over");
        let none: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(f64::INFINITY)]));
        assert_eq!(numbers(&none).expect("numbers"), (None, None));
    }

    #[test]
    fn values_are_counted_and_the_most_frequent_named() {
        let texts_: ArrayRef =
            Arc::new(StringArray::from(vec![Some("b"), Some("a"), Some("b"), None, Some("c"), Some("a")]));
        let (distinct, top) = counted(&texts_).expect("counted");
        assert_eq!((distinct, top), (Some(3), vec![("a".to_owned(), 2), ("b".to_owned(), 2)]));
        let many: ArrayRef = Arc::new(Int64Array::from_iter_values(0..=DISTINCT_MAX as i64));
        assert_eq!(counted(&many).expect("counted"), (None, vec![]));
        let long: ArrayRef = Arc::new(StringArray::from(vec!["é".repeat(100)]));
        assert_eq!(texts(&long).expect("texts")[0].as_ref().map(|text| text.chars().count()), Some(SHOWN_MAX + 3));
        let at: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![Some(1_000_000), None, Some(0)]).with_timezone("UTC"));
        let range = times(&at).expect("times").expect("some");
        assert_eq!(range, ("1970-01-01T00:00:00Z".to_owned(), "1970-01-01T00:00:01Z".to_owned()));
    }
}
