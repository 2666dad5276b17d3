//! What tiles hold: for each input of the windows over an index, its aggregates over the facts of an interval (rule S11).
//!
//! An input is a value expression with its filter. Its fingerprint says what was aggregated, so that a tile made for
//! another input is never taken for this one's (rule S28). A tile holds a partial per input; the partials of one tile are
//! written one after the other, each behind its length, 0 where there is none.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
use creta_model::{Aggregate, FeatureId, Type};
use creta_planner::{Aggregation, BoundExpr, KeyColumn};
use creta_registry::{SEMANTICS_VERSION, digest};
use creta_store::layout;

use super::input::{Numbers, Pass, fixed_keys, has_fixed_keys};
use super::partial::{Accumulator, Keeps, LARGEST, SMALLEST, SQUARES, SUM};
use crate::column::CellColumn;
use crate::error::EngineError;
use crate::expression::evaluate;
use crate::fact_index::NotABlock;
use crate::value::{is_of_type, null_array};

/// Which input a partial is of and what it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct TileMark {
    pub(crate) fingerprint: [u8; 16],
    pub(crate) keeps: Keeps,
}

/// One input of the windows over an index. In its expressions `BoundExpr::Column(n)` is the feature with id `n`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TileInput {
    pub(crate) mark: TileMark,
    value: Option<BoundExpr>,
    filter: Option<BoundExpr>,
}

/// What an aggregate needs of a partial; `None` if partials do not help, whatever they keep.
fn needs(aggregate: &Aggregate, ty: Option<&Type>) -> Option<Keeps> {
    match aggregate {
        // First and last only need to know where there is something.
        Aggregate::Count | Aggregate::First | Aggregate::Last | Aggregate::LastN { .. } => Some(0),
        Aggregate::Sum | Aggregate::Mean => Some(SUM),
        Aggregate::Var | Aggregate::Std => Some(SUM | SQUARES),
        Aggregate::Min => ty.is_some_and(has_fixed_keys).then_some(SMALLEST),
        Aggregate::Max => ty.is_some_and(has_fixed_keys).then_some(LARGEST),
        Aggregate::Distinct | Aggregate::Percentile { .. } => None,
    }
}

/// A page counts its inputs in a byte; windows over further ones read facts.
const INPUTS_MAX: usize = 255;

/// The inputs of these aggregations that tiles help with, each once, in the order of their marks.
pub(crate) fn tile_inputs<'a>(all: impl Iterator<Item = (&'a [KeyColumn], &'a Aggregation)>) -> Vec<TileInput> {
    let mut inputs: Vec<TileInput> = Vec::new();
    for (columns, aggregation) in all {
        let Some(keeps) = needs(&aggregation.aggregate, aggregation.value.as_ref().map(BoundExpr::ty)) else {
            continue;
        };
        let by_id = |expr: &Option<BoundExpr>| match expr {
            None => Some(None),
            Some(expr) => by_feature(expr, columns).map(Some),
        };
        let (Some(value), Some(filter)) = (by_id(&aggregation.value), by_id(&aggregation.filter)) else { continue };
        match inputs.iter_mut().find(|input| input.value == value && input.filter == filter) {
            Some(input) => input.mark.keeps |= keeps,
            None => inputs.push(TileInput {
                mark: TileMark { fingerprint: fingerprint(&value, &filter), keeps },
                value,
                filter,
            }),
        }
    }
    inputs.sort_by_key(|input| input.mark);
    inputs.truncate(INPUTS_MAX);
    inputs
}

/// The expression with ids of features in place of columns; `None` if it reads a column that there is not.
fn by_feature(expr: &BoundExpr, columns: &[KeyColumn]) -> Option<BoundExpr> {
    Some(match expr {
        BoundExpr::Column { index, ty } => {
            BoundExpr::Column { index: columns.get(*index)?.feature.0 as usize, ty: ty.clone() }
        }
        BoundExpr::Literal { .. } => expr.clone(),
        BoundExpr::Call { function, args, ty } => {
            let args = args.iter().map(|arg| by_feature(arg, columns)).collect::<Option<_>>()?;
            BoundExpr::Call { function: *function, args, ty: ty.clone() }
        }
    })
}

fn fingerprint(value: &Option<BoundExpr>, filter: &Option<BoundExpr>) -> [u8; 16] {
    let digest = digest(&("window-input", SEMANTICS_VERSION, value, filter));
    let hex = digest.strip_prefix("sha256:").expect("a digest names its kind");
    u128::from_str_radix(&hex[..32], 16).expect("a digest is hexadecimal").to_be_bytes()
}

/// Whether an expression over `columns` is one by features.
fn is_same(expr: &BoundExpr, columns: &[KeyColumn], by_id: &BoundExpr) -> bool {
    match (expr, by_id) {
        (BoundExpr::Column { index, ty }, BoundExpr::Column { index: id, ty: other }) => {
            columns.get(*index).is_some_and(|column| column.feature.0 as usize == *id) && ty == other
        }
        (BoundExpr::Literal { .. }, BoundExpr::Literal { .. }) => expr == by_id,
        (
            BoundExpr::Call { function, args, ty },
            BoundExpr::Call { function: other_function, args: others, ty: other },
        ) => {
            function == other_function
                && ty == other
                && args.len() == others.len()
                && args.iter().zip(others).all(|(arg, other)| is_same(arg, columns, other))
        }
        _ => false,
    }
}

impl TileInput {
    /// Whether a partial of this input is what the aggregation needs.
    pub(crate) fn serves(&self, aggregation: &Aggregation, columns: &[KeyColumn]) -> bool {
        let same = |expr: &Option<BoundExpr>, by_id: &Option<BoundExpr>| match (expr, by_id) {
            (None, None) => true,
            (Some(expr), Some(by_id)) => is_same(expr, columns, by_id),
            _ => false,
        };
        needs(&aggregation.aggregate, aggregation.value.as_ref().map(BoundExpr::ty))
            .is_some_and(|needed| needed & !self.mark.keeps == 0)
            && same(&aggregation.value, &self.value)
            && same(&aggregation.filter, &self.filter)
    }
}

/// Facts of many tiles that carry the same features: those of one tile beside each other, in ascending order of tiles.
pub(crate) struct TileFacts {
    /// In the layout of facts; none retracted or superseded.
    pub(crate) batch: RecordBatch,
    /// The tile of each fact.
    pub(crate) tiles: Vec<u32>,
}

/// The written partials of each of `tiles` tiles. An input that cannot be evaluated has none: a window over it reads facts
/// and says why. Cost: that of the expressions over all facts at once, and O(1) per fact and input.
pub(crate) fn partials(inputs: &[TileInput], facts: &[TileFacts], tiles: usize) -> Vec<Vec<u8>> {
    let mut written = vec![Vec::new(); tiles];
    let repeated = repeats(facts);
    let ranges: Vec<Vec<Range<usize>>> = facts.iter().map(|facts| ranges(&facts.tiles, tiles)).collect();
    let mut accumulator = Accumulator::new();
    for input in inputs {
        let evaluated: Result<Vec<Evaluated>, EngineError> =
            facts.iter().map(|facts| input.evaluate(&facts.batch)).collect();
        let Ok(evaluated) = evaluated else {
            written.iter_mut().for_each(|tile| write_one(tile, |_| ()));
            continue;
        };
        for (tile, out) in written.iter_mut().enumerate() {
            accumulator.clear();
            for (batch, (evaluated, ranges)) in evaluated.iter().zip(&ranges).enumerate() {
                for row in ranges[tile].clone().filter(|row| !repeated.contains(&(batch, *row))) {
                    evaluated.add(row, input.mark.keeps, &mut accumulator);
                }
            }
            write_one(out, |out| accumulator.write(input.mark.keeps, out));
        }
    }
    written
}

/// Merges the written partials of several tiles, whose inputs are `marks`; an input that one of them lacks has none.
pub(crate) fn merged<'a>(
    marks: &[TileMark],
    tiles: impl Iterator<Item = &'a [u8]> + Clone,
    accumulator: &mut Accumulator,
) -> Result<Vec<u8>, NotABlock> {
    let mut rest: Vec<&[u8]> = tiles.collect();
    let mut out = Vec::new();
    for mark in marks {
        accumulator.clear();
        let mut whole = true;
        for tile in &mut rest {
            let partial = next_partial(tile)?;
            whole &= !partial.is_empty();
            if whole {
                accumulator.merge(mark.keeps, partial)?;
            }
        }
        write_one(&mut out, |out| {
            if whole {
                accumulator.write(mark.keeps, out)
            }
        });
    }
    Ok(out)
}

fn write_one(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 2]);
    write(out);
    let length = u16::try_from(out.len() - start - 2).expect("a partial takes at most 1200 bytes");
    out[start..start + 2].copy_from_slice(&length.to_le_bytes());
}

/// Takes one partial from those of a tile; empty where there is none.
pub(crate) fn next_partial<'a>(tile: &mut &'a [u8]) -> Result<&'a [u8], NotABlock> {
    let (length, rest) = tile.split_first_chunk::<2>().ok_or(NotABlock)?;
    let (partial, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into()).ok_or(NotABlock)?;
    *tile = rest;
    Ok(partial)
}

/// One input over one batch.
struct Evaluated {
    filter: Option<Arc<CellColumn>>,
    value: Option<Arc<CellColumn>>,
    numbers: Option<Numbers>,
    keys: Option<Vec<i128>>,
}

impl TileInput {
    fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated, EngineError> {
        let column = |id: usize, ty: &Type| {
            let values = batch.column_by_name(&layout::feature_column(FeatureId(id as u32)));
            let values = values.map_or_else(|| null_array(ty, batch.num_rows()), Arc::clone);
            if !is_of_type(&values, ty) {
                return Err(EngineError::plan("a stored feature has another type than its window reads"));
            }
            Ok(Arc::new(CellColumn::from_values(values)))
        };
        let types = self.types();
        let by_id = |id: usize| column(id, types.get(&id).copied().expect("collected from the expressions"));
        let evaluated =
            |expr: &Option<BoundExpr>| expr.as_ref().map(|expr| evaluate(expr, &by_id, batch.num_rows())).transpose();
        let (value, filter) = (evaluated(&self.value)?, evaluated(&self.filter)?);
        if self.filter.as_ref().is_some_and(|filter| *filter.ty() != Type::Bool) {
            return Err(EngineError::plan("the filter of a window is not a bool"));
        }
        let (mut numbers, mut keys) = (None, None);
        if let (Some(ty), Some(cells)) = (self.value.as_ref().map(BoundExpr::ty), &value) {
            let undefined = || EngineError::plan("a window's aggregate does not exist for its value");
            if self.mark.keeps & (SUM | SQUARES) != 0 {
                numbers = Some(Numbers::plain(ty, cells.values()).ok_or_else(undefined)?);
            }
            if self.mark.keeps & (SMALLEST | LARGEST) != 0 {
                keys = Some(fixed_keys(ty, cells.values()).ok_or_else(undefined)?);
            }
        }
        Ok(Evaluated { filter, value, numbers, keys })
    }

    /// Types of the features that are read, by id.
    fn types(&self) -> HashMap<usize, &Type> {
        fn collect<'e>(expr: &'e BoundExpr, types: &mut HashMap<usize, &'e Type>) {
            match expr {
                BoundExpr::Column { index, ty } => drop(types.insert(*index, ty)),
                BoundExpr::Literal { .. } => {}
                BoundExpr::Call { args, .. } => args.iter().for_each(|arg| collect(arg, types)),
            }
        }
        let mut types = HashMap::new();
        self.value.iter().chain(&self.filter).for_each(|expr| collect(expr, &mut types));
        types
    }
}

impl Evaluated {
    fn add(&self, row: usize, keeps: Keeps, accumulator: &mut Accumulator) {
        match Pass::of(self.filter.as_deref(), self.value.as_deref(), row) {
            Pass::Yes => {
                let number = self.numbers.as_ref().map(|numbers| (numbers, row));
                accumulator.add(keeps, number, self.keys.as_ref().map(|keys| keys[row]));
            }
            Pass::No => {}
            Pass::Failed(_) => accumulator.fail(),
        }
    }
}

/// Rows of each tile.
fn ranges(tiles_of: &[u32], tiles: usize) -> Vec<Range<usize>> {
    let mut ranges = vec![0..0; tiles];
    let mut start = 0;
    for run in tiles_of.chunk_by(|a, b| a == b) {
        ranges[run[0] as usize] = start..start + run.len();
        start += run.len();
    }
    ranges
}

/// Facts of one tile that have the four parts of rule S7 in common are one fact: all but the first, by batch and row.
fn repeats(facts: &[TileFacts]) -> HashSet<(usize, usize)> {
    let mut stamps = Vec::new();
    for (number, facts) in facts.iter().enumerate() {
        let times = |name: &str| facts.batch[name].as_primitive::<TimestampMicrosecondType>().values();
        let (event, arrival) = (times(layout::EVENT_TIME), times(layout::ARRIVAL_TIME));
        let sequence = facts.batch[layout::SEQUENCE].as_primitive::<UInt64Type>().values();
        let stamp = |row: usize| (facts.tiles[row], event[row], arrival[row], sequence[row]);
        stamps.extend((0..facts.tiles.len()).map(|row| (stamp(row), (number, row))));
    }
    if !stamps.is_sorted() {
        stamps.sort_unstable();
    }
    let source = |(number, row): (usize, usize)| facts[number].batch[layout::SOURCE].as_string::<i32>().value(row);
    let mut repeated = HashSet::new();
    for same in stamps.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
        for (index, (_, place)) in same.iter().enumerate() {
            if same[..index].iter().any(|(_, earlier)| source(*earlier) == source(*place)) {
                repeated.insert(*place);
            }
        }
    }
    repeated
}
