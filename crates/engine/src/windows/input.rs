//! What is aggregated: an expression over facts under a filter, evaluated once per fact.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, DurationMicrosecondArray, Float64Array,
    Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::compute;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Float64Type, Int64Type, TimestampMicrosecondType,
};
use creta_model::{Aggregate, CellError, CellState, Type};
use creta_planner::{Aggregation, BoundExpr, KeyColumn};

use creta_store::layout::feature_column;

use super::distinct::Identities;
use super::prefix::Prefix;
use crate::column::CellColumn;
use crate::error::EngineError;
use crate::exact::{Parts, Power};
use crate::expression::evaluate;
use crate::facts::contract;
use crate::point_in_time::{KeyedRows, severity};
use crate::timeline::Timelines;
use crate::value::null_array;

/// One value expression with its filter, in the order of positions.
pub(super) struct Input {
    pub(super) ty: Option<Type>,
    pub(super) values: Option<ArrayRef>,
    /// Number of positions before each one that count.
    counted: Vec<u32>,
    /// Positions whose value or filter failed.
    failures: BTreeMap<usize, Arc<CellError>>,
    pub(super) numbers: Option<Numbers>,
    /// Sums of the numbers and of their squares before each position, where so many rows ask that they pay.
    ones: OnceLock<Option<Prefix>>,
    squares: OnceLock<Option<Prefix>>,
    /// Sorts as the values do.
    pub(super) order: Option<Vec<i64>>,
    pub(super) identities: Option<Identities>,
    keys: OnceLock<Option<Vec<i128>>>,
}

impl Input {
    pub(super) fn new(
        keyed: &KeyedRows<'_>,
        columns: &[KeyColumn],
        aggregation: &Aggregation,
        batches: &[RecordBatch],
        timelines: &Timelines,
    ) -> Result<Self, EngineError> {
        let evaluated = |expr: &Option<BoundExpr>| {
            let Some(expr) = expr else { return Ok(None) };
            let cells = batches.iter().map(|batch| {
                let column = |index: usize| fact_column(keyed, columns, batch, index);
                evaluate(expr, &column, batch.num_rows())
            });
            cells.collect::<Result<Vec<_>, EngineError>>().map(Some)
        };
        let (values, filter) = (evaluated(&aggregation.value)?, evaluated(&aggregation.filter)?);
        if aggregation.filter.as_ref().is_some_and(|filter| *filter.ty() != Type::Bool) {
            return Err(EngineError::plan("the filter of a window is not a bool"));
        }
        let mut failures = BTreeMap::new();
        let mut counted = Vec::with_capacity(timelines.len() + 1);
        let mut count = 0;
        counted.push(0);
        for (position, (batch, row)) in timelines.places.iter().enumerate() {
            let filter = filter.as_ref().map(|cells| &*cells[*batch]);
            let value = values.as_ref().map(|cells| &*cells[*batch]);
            match Pass::of(filter, value, *row) {
                Pass::Yes => count += 1,
                Pass::No => {}
                Pass::Failed(error) => {
                    failures.insert(position, error);
                }
            }
            counted.push(count);
        }
        let ty = aggregation.value.as_ref().map(|value| value.ty().clone());
        let values = match (&ty, values) {
            (Some(ty), Some(values)) => Some(in_order(ty, &values, timelines)?),
            _ => None,
        };
        Ok(Self {
            ty,
            values,
            counted,
            failures,
            numbers: None,
            ones: OnceLock::new(),
            squares: OnceLock::new(),
            order: None,
            identities: None,
            keys: OnceLock::new(),
        })
    }

    /// Computes what an aggregate over this input needs, for `many` rows more than for few; refuses types that it is not
    /// defined for.
    pub(super) fn prepare(&mut self, aggregation: &Aggregation, slot: &Type, many: bool) -> Result<(), EngineError> {
        let aggregate = aggregation.aggregate;
        if aggregate == Aggregate::Count {
            return expect_type(aggregate, *slot == Type::Int);
        }
        let (Some(ty), Some(values)) = (self.ty.clone(), self.values.clone()) else {
            return Err(EngineError::plan(format!("{aggregate:?} has no value to aggregate")));
        };
        match aggregate {
            Aggregate::Sum | Aggregate::Mean | Aggregate::Var | Aggregate::Std => {
                if self.numbers.is_none() {
                    self.numbers = Numbers::of(&ty, &values, &self.counted);
                }
                let numbers = self.numbers.as_ref().ok_or_else(|| undefined(aggregate, &ty))?;
                expect_type(aggregate, numbers.gives(aggregate, &ty, slot))?;
                if many {
                    self.ones.get_or_init(|| Prefix::new(numbers, &self.counted, Power::One));
                    if matches!(aggregate, Aggregate::Var | Aggregate::Std) {
                        self.squares.get_or_init(|| Prefix::new(numbers, &self.counted, Power::Two));
                    }
                }
                Ok(())
            }
            Aggregate::Min | Aggregate::Max => {
                if self.order.is_none() {
                    self.order = Some(sort_keys(&ty, &values).ok_or_else(|| undefined(aggregate, &ty))?);
                }
                expect_type(aggregate, *slot == ty)
            }
            Aggregate::Percentile { .. } => {
                if self.numbers.is_none() {
                    self.numbers = Numbers::of(&ty, &values, &self.counted);
                }
                if self.order.is_none() {
                    self.order = sort_keys(&ty, &values);
                }
                let numbers = self.numbers.as_ref().ok_or_else(|| undefined(aggregate, &ty))?;
                // Between two values lies what a mean of them could be.
                expect_type(aggregate, numbers.gives(Aggregate::Mean, &ty, slot))
            }
            Aggregate::First | Aggregate::Last => expect_type(aggregate, *slot == ty),
            Aggregate::LastN { .. } => expect_type(aggregate, matches!(slot, Type::List { item, .. } if **item == ty)),
            Aggregate::Distinct => {
                if self.identities.is_none() {
                    self.identities = Some(Identities::new(&values)?);
                }
                expect_type(aggregate, *slot == Type::Int)
            }
            Aggregate::Count => Ok(()),
        }
    }

    /// What sorts as the values do and says what they are, for types that have such.
    pub(super) fn fixed_keys(&self) -> Option<&[i128]> {
        let keys = self.keys.get_or_init(|| fixed_keys(self.ty.as_ref()?, self.values.as_ref()?));
        keys.as_deref()
    }

    /// Sums before each position, if they are kept.
    pub(super) fn prefix(&self, power: Power) -> Option<&Prefix> {
        let kept = if power == Power::One { &self.ones } else { &self.squares };
        kept.get().and_then(Option::as_ref)
    }

    /// Whether the fact at `position` passes the filter and has a value.
    pub(super) fn counts(&self, position: usize) -> bool {
        self.counted[position] != self.counted[position + 1]
    }

    /// How many positions count.
    pub(super) fn count(&self, positions: Range<usize>) -> u64 {
        (self.counted[positions.end] - self.counted[positions.start]).into()
    }

    /// Whether some value or filter failed.
    pub(super) fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    /// The first failure by rule S7 among these positions.
    pub(super) fn first_failure(&self, positions: Range<usize>) -> Option<&Arc<CellError>> {
        if self.failures.is_empty() {
            return None;
        }
        self.failures.range(positions).next().map(|(_, error)| error)
    }
}

/// Whether a fact counts.
pub(super) enum Pass {
    Yes,
    No,
    Failed(Arc<CellError>),
}

impl Pass {
    /// `filter` and `value` are those of the fact in `row`, if there are any.
    pub(super) fn of(filter: Option<&CellColumn>, value: Option<&CellColumn>, row: usize) -> Self {
        let passes = filter.map_or(Self::Yes, |filter| Self::of_filter(filter, row));
        match (passes, value) {
            (Self::Yes, Some(value)) => Self::of_value(value, row),
            (pass, _) => pass,
        }
    }

    fn of_filter(cells: &CellColumn, row: usize) -> Self {
        match Self::of_value(cells, row) {
            Self::Yes if !cells.values().as_boolean().value(row) => Self::No,
            pass => pass,
        }
    }

    fn of_value(cells: &CellColumn, row: usize) -> Self {
        match cells.state(row) {
            CellState::Value => Self::Yes,
            state if severity(state) > 0 => Self::Failed(Arc::clone(&cells.errors()[&row])),
            _ => Self::No,
        }
    }
}

fn undefined(aggregate: Aggregate, ty: &Type) -> EngineError {
    EngineError::plan(format!("{aggregate:?} of {} does not exist", ty.python_name()))
}

fn expect_type(aggregate: Aggregate, fits: bool) -> Result<(), EngineError> {
    if fits { Ok(()) } else { Err(EngineError::plan(format!("{aggregate:?} goes to a slot of another type"))) }
}

/// A feature of the facts; null throughout where the load did not observe it.
fn fact_column(
    keyed: &KeyedRows<'_>,
    columns: &[KeyColumn],
    batch: &RecordBatch,
    index: usize,
) -> Result<Arc<CellColumn>, EngineError> {
    let column = columns.get(index).ok_or_else(|| EngineError::plan(format!("a window has no column {index}")))?;
    let values = match batch.column_by_name(&feature_column(column.feature)) {
        Some(values) if crate::value::is_of_type(values, &column.ty) => Arc::clone(values),
        Some(values) => {
            let detail =
                format!("`{}` is {}, its feature {}", column.name, values.data_type(), column.ty.python_name());
            return Err(contract(keyed.entity_name.as_str(), detail));
        }
        None => null_array(&column.ty, batch.num_rows()),
    };
    Ok(Arc::new(CellColumn::from_values(values)))
}

fn in_order(ty: &Type, values: &[Arc<CellColumn>], timelines: &Timelines) -> Result<ArrayRef, EngineError> {
    if values.is_empty() {
        return Ok(null_array(ty, 0));
    }
    let sources: Vec<&dyn Array> = values.iter().map(|cells| cells.values().as_ref()).collect();
    Ok(compute::interleave(&sources, &timelines.places)?)
}

/// Numbers that can be added up exactly.
pub(super) enum Numbers {
    Floats {
        values: Vec<f64>,
        specials: Option<Specials>,
    },
    /// Also lengths of time, in microseconds.
    Ints(Vec<i64>),
    /// Unscaled.
    Decimals(Vec<i128>),
}

/// Number of positions before each one that count and hold NaN, +inf and -inf.
pub(super) struct Specials {
    pub(super) nan: Vec<u32>,
    pub(super) up: Vec<u32>,
    pub(super) down: Vec<u32>,
}

impl Specials {
    fn of(values: &[f64], counted: &[u32]) -> Option<Self> {
        let counting = || values.iter().zip(counted.windows(2)).map(|(value, pair)| (*value, pair[0] != pair[1]));
        if counting().all(|(value, counts)| value.is_finite() || !counts) {
            return None;
        }
        let prefix = |is: &dyn Fn(f64) -> bool| {
            let mut count = 0;
            let counts = counting().map(|(value, counts)| {
                count += u32::from(counts && is(value));
                count
            });
            std::iter::once(0).chain(counts).collect()
        };
        Some(Self {
            nan: prefix(&f64::is_nan),
            up: prefix(&|value| value == f64::INFINITY),
            down: prefix(&|value| value == f64::NEG_INFINITY),
        })
    }

    /// What a sum with these is, as IEEE 754 has it; `None` if there are none.
    pub(super) fn sum(&self, runs: &[Range<usize>]) -> Option<f64> {
        let any = |counts: &[u32]| runs.iter().any(|run| counts[run.start] != counts[run.end]);
        match (any(&self.nan), any(&self.up), any(&self.down)) {
            (false, false, false) => None,
            (false, true, false) => Some(f64::INFINITY),
            (false, false, true) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }
}

impl Numbers {
    /// `counted` is the number of positions before each one that count.
    fn of(ty: &Type, values: &ArrayRef, counted: &[u32]) -> Option<Self> {
        let mut numbers = Self::plain(ty, values)?;
        if let Self::Floats { values, specials } = &mut numbers {
            *specials = Specials::of(values, counted);
        }
        Some(numbers)
    }

    /// The same without counts of numbers that are not finite.
    pub(super) fn plain(ty: &Type, values: &ArrayRef) -> Option<Self> {
        Some(match ty {
            Type::Float => {
                let floats = values.as_primitive::<Float64Type>().iter().map(Option::unwrap_or_default);
                Self::Floats { specials: None, values: floats.collect() }
            }
            Type::Int => Self::Ints(values.as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default).collect()),
            Type::Timedelta => {
                let lengths = values.as_primitive::<DurationMicrosecondType>().iter();
                Self::Ints(lengths.map(Option::unwrap_or_default).collect())
            }
            Type::Decimal { .. } => {
                Self::Decimals(values.as_primitive::<Decimal128Type>().iter().map(Option::unwrap_or_default).collect())
            }
            _ => return None,
        })
    }

    /// Whether an aggregate of these numbers, which are of type `ty`, has that type.
    fn gives(&self, aggregate: Aggregate, ty: &Type, slot: &Type) -> bool {
        match (aggregate, self) {
            (Aggregate::Sum, _) => slot == ty,
            (Aggregate::Mean, Self::Decimals(_)) => slot == ty,
            (Aggregate::Mean, Self::Ints(_)) if *ty == Type::Timedelta => slot == ty,
            (_, Self::Decimals(_)) => false,
            _ => *slot == Type::Float,
        }
    }

    /// `None` for NaN and the infinities.
    pub(super) fn parts(&self, position: usize) -> Option<Parts> {
        match self {
            Self::Floats { values, .. } => Parts::of_float(values[position]),
            Self::Ints(values) => Some(Parts::of_int(values[position].into())),
            Self::Decimals(values) => Some(Parts::of_int(values[position])),
        }
    }

    /// The number at a position where there are no parts.
    pub(super) fn special(&self, position: usize) -> f64 {
        match self {
            Self::Floats { values, .. } => values[position],
            Self::Ints(_) | Self::Decimals(_) => unreachable!("whole numbers are finite"),
        }
    }
}

/// Whether values of a type have a place in their order that fits into 128 bits.
pub(super) fn has_fixed_keys(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Int | Type::Datetime | Type::Timedelta | Type::Date | Type::Bool | Type::Float | Type::Decimal { .. }
    )
}

/// Integers that sort as the values do and say what they are; `None` for types without such.
pub(super) fn fixed_keys(ty: &Type, values: &ArrayRef) -> Option<Vec<i128>> {
    match ty {
        Type::Decimal { .. } => Some(values.as_primitive::<Decimal128Type>().values().to_vec()),
        _ if has_fixed_keys(ty) => Some(sort_keys(ty, values)?.into_iter().map(i128::from).collect()),
        _ => None,
    }
}

/// The values that [`fixed_keys`] says these are.
pub(super) fn values_of_keys(ty: &Type, keys: &[i128]) -> Result<ArrayRef, EngineError> {
    let longs = || keys.iter().map(|key| *key as i64);
    Ok(match ty {
        Type::Int => Arc::new(Int64Array::from_iter_values(longs())),
        Type::Datetime => Arc::new(TimestampMicrosecondArray::from_iter_values(longs()).with_timezone("UTC")),
        Type::Timedelta => Arc::new(DurationMicrosecondArray::from_iter_values(longs())),
        Type::Date => Arc::new(Date32Array::from_iter_values(longs().map(|day| day as i32))),
        Type::Bool => Arc::new(longs().map(|bool| Some(bool == 1)).collect::<BooleanArray>()),
        Type::Float => {
            Arc::new(Float64Array::from_iter_values(longs().map(|key| f64::from_bits(total_order(key) as u64))))
        }
        Type::Decimal { .. } => {
            let DataType::Decimal128(precision, scale) = ty.to_arrow() else {
                unreachable!("decimals are 128 bits wide")
            };
            Arc::new(
                Decimal128Array::from_iter_values(keys.iter().copied()).with_precision_and_scale(precision, scale)?,
            )
        }
        _ => return Err(EngineError::plan(format!("a tile has no extremes of {}", ty.python_name()))),
    })
}

/// From the bits of a float to an integer that sorts by IEEE total order, and back.
fn total_order(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// Integers that sort as the values do, floats by IEEE total order (rule S14).
fn sort_keys(ty: &Type, values: &ArrayRef) -> Option<Vec<i64>> {
    Some(match ty {
        Type::Int => values.as_primitive::<Int64Type>().values().to_vec(),
        Type::Datetime => values.as_primitive::<TimestampMicrosecondType>().values().to_vec(),
        Type::Timedelta => values.as_primitive::<DurationMicrosecondType>().values().to_vec(),
        Type::Date => values.as_primitive::<Date32Type>().values().iter().map(|day| i64::from(*day)).collect(),
        Type::Bool => values.as_boolean().iter().map(|bool| i64::from(bool == Some(true))).collect(),
        Type::Float => {
            let floats = values.as_primitive::<Float64Type>().values();
            floats.iter().map(|value| total_order(value.to_bits() as i64)).collect()
        }
        Type::Decimal { .. } => ranks(values.as_primitive::<Decimal128Type>().values()),
        Type::Str | Type::Enum { .. } => {
            let texts: Vec<&str> = values.as_string::<i32>().iter().map(Option::unwrap_or_default).collect();
            ranks(&texts)
        }
        Type::Bytes => {
            let texts: Vec<&[u8]> = values.as_binary::<i32>().iter().map(Option::unwrap_or_default).collect();
            ranks(&texts)
        }
        Type::List { .. } | Type::Struct { .. } | Type::Vector { .. } => return None,
    })
}

/// Equal values get equal ranks, smaller ones smaller ranks.
fn ranks<T: Ord>(values: &[T]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|a, b| values[*a].cmp(&values[*b]));
    let mut ranks = vec![0; values.len()];
    let mut rank = 0;
    for pair in order.windows(2) {
        rank += i64::from(values[pair[0]] != values[pair[1]]);
        ranks[pair[1]] = rank;
    }
    ranks
}
