//! The newest facts of a key, read where they lie: no fact is copied and no column is built.
//!
//! This is a second way to what [`FactIndex::find`](super::FactIndex::find) and a lookup find, for keys whose facts lie in
//! their root. Whatever else there is (facts in buckets, ties that only the source decides, lists and structures) is left to
//! the first way. Values are read from [Arrow's row encoding](arrow::row): a byte that says whether there is one, then for
//! numbers their big-endian bytes with the sign turned over, and for texts blocks of eight, later of thirty-two, each with
//! its length or 255 for "more follows".

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use creta_model::{FeatureId, Instant, Type, Value};

use super::block::{NotABlock, take, take_i64, take_u16, take_u32};
use super::{FORMAT, INLINE};

/// Where the newest value of a feature lies that is known at an instant.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Newest {
    /// Event time of its fact; `None` where no fact is known that carries the feature.
    pub(crate) event_time: Option<i64>,
    arrival_time: i64,
    /// Where its value begins in the root.
    at: usize,
}

/// A value as it is encoded, null apart.
#[derive(Debug, PartialEq)]
pub(crate) enum Plain<'a> {
    Null,
    Bool(bool),
    Long(i64),
    Float(f64),
    Decimal(i128),
    Day(i32),
    Bytes(Cow<'a, [u8]>),
}

impl Plain<'_> {
    /// The value, of type `ty`.
    pub(crate) fn value(&self, ty: &Type) -> Result<Value, NotABlock> {
        Ok(match (self, ty) {
            (Plain::Null, _) => Value::Null,
            (Plain::Bool(value), _) => Value::Bool(*value),
            (Plain::Long(micros), Type::Datetime) => {
                let inside = (*micros).clamp(Instant::MIN.micros(), Instant::MAX.micros());
                Value::Datetime(Instant::from_micros(inside).expect("clamped into the range"))
            }
            (Plain::Long(micros), Type::Timedelta) => Value::Timedelta(*micros),
            (Plain::Long(value), _) => Value::Int(*value),
            (Plain::Float(value), _) => Value::Float(*value),
            (Plain::Decimal(digits), _) => Value::Decimal(*digits),
            (Plain::Day(days), _) => Value::Date(*days),
            (Plain::Bytes(bytes), Type::Bytes) => Value::Bytes(bytes.to_vec()),
            (Plain::Bytes(bytes), _) => Value::Str(std::str::from_utf8(bytes).map_err(|_| NotABlock)?.to_owned()),
        })
    }
}

/// How a value of some type lies in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// So many bytes behind the first.
    Fixed(usize),
    Blocks,
}

impl Form {
    /// `None` for what is read in the first way only.
    fn of(ty: &Type) -> Option<Self> {
        Some(match ty {
            Type::Bool => Self::Fixed(1),
            Type::Date => Self::Fixed(4),
            Type::Int | Type::Float | Type::Datetime | Type::Timedelta => Self::Fixed(8),
            Type::Decimal { .. } => Self::Fixed(16),
            Type::Str | Type::Enum { .. } | Type::Bytes => Self::Blocks,
            Type::List { .. } | Type::Struct { .. } | Type::Vector { .. } => return None,
        })
    }
}

/// Whether values of a type can be read here.
pub(crate) fn is_plain(ty: &Type) -> bool {
    Form::of(ty).is_some()
}

/// The features of a part of a block: how each lies in a row, and which wanted ones it is.
struct Layout {
    features: Box<[u8]>,
    fields: Vec<(Form, Box<[usize]>)>,
}

/// Features that are looked for together, and how parts of blocks lie that were met so far. For one set of definitions: types
/// of features must not change.
pub(crate) struct Wanted {
    features: Vec<FeatureId>,
    layouts: RwLock<Vec<Arc<Layout>>>,
}

/// Layouts that are kept: facts of an entity carry few different sets of features.
const LAYOUTS_MAX: usize = 64;

impl Wanted {
    pub(crate) fn new(features: Vec<FeatureId>) -> Self {
        Self { features, layouts: RwLock::default() }
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.features.len()
    }

    /// How a part with these features lies; `None` if it has one that is read in the first way only.
    fn layout(&self, features: &[u8], types: &HashMap<FeatureId, Type>) -> Result<Option<Arc<Layout>>, NotABlock> {
        let known = self.layouts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.iter().find(|layout| *layout.features == *features) {
            return Ok(Some(Arc::clone(known)));
        }
        drop(known);
        let mut fields = Vec::with_capacity(features.len() / 4);
        for id in features.chunks_exact(4) {
            let id = FeatureId(u32::from_le_bytes(id.try_into().expect("four bytes")));
            let Some(form) = Form::of(types.get(&id).ok_or(NotABlock)?) else { return Ok(None) };
            let wanted = (0..self.features.len()).filter(|column| self.features[*column] == id).collect();
            fields.push((form, wanted));
        }
        while fields.last().is_some_and(|(_, wanted): &(Form, Box<[usize]>)| wanted.is_empty()) {
            fields.pop(); // Nothing behind the last wanted one is looked at.
        }
        let layout = Arc::new(Layout { features: features.into(), fields });
        let mut known = self.layouts.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < LAYOUTS_MAX {
            known.push(Arc::clone(&layout));
        }
        Ok(Some(layout))
    }
}

/// Finds the newest facts of one key after another for the same features.
pub(crate) struct NewestReader<'a> {
    wanted: &'a Wanted,
    types: &'a HashMap<FeatureId, Type>,
}

/// A fact of a part, as far as it decides whether it is shown.
struct Candidate<'a> {
    event_time: i64,
    arrival_time: i64,
    row: &'a [u8],
}

impl<'a> NewestReader<'a> {
    pub(super) fn new(wanted: &'a Wanted, types: &'a HashMap<FeatureId, Type>) -> Self {
        Self { wanted, types }
    }

    /// Where the newest value of each wanted feature lies in `root`, into `found`, for whoever asks as of `as_of` and knows what
    /// arrived until `known_as_of` (rules S2, S7, S8). `false` when that has to be found in the first way. Time O(facts +
    /// bytes of one fact per part).
    pub(crate) fn find(
        &self,
        root: &[u8],
        (as_of, known_as_of): (i64, i64),
        found: &mut [Newest],
    ) -> Result<bool, NotABlock> {
        let [FORMAT, INLINE, parts @ ..] = root else { return Ok(false) };
        let mut bytes = parts;
        while !bytes.is_empty() {
            let features = take_u16(&mut bytes)? as usize;
            let features = take(&mut bytes, 4 * features)?;
            let Some(newest) = newest_of(&mut bytes, as_of, known_as_of)? else { return Ok(false) };
            let Some(newest) = newest else { continue };
            let Some(layout) = self.wanted.layout(features, self.types)? else { return Ok(false) };
            let (start, mut rest) = (root.len() - parts.len(), newest.row);
            let row_at = newest.row.as_ptr() as usize - parts.as_ptr() as usize + start;
            skip(&mut rest, Form::Blocks)?; // Source.
            skip(&mut rest, Form::Blocks)?; // Event id.
            for (form, wanted) in &layout.fields {
                for column in wanted.iter() {
                    let best = &mut found[*column];
                    let order = (newest.event_time, newest.arrival_time);
                    match best.event_time.map(|event_time| (event_time, best.arrival_time).cmp(&order)) {
                        Some(std::cmp::Ordering::Equal) => return Ok(false),
                        Some(std::cmp::Ordering::Greater) => {}
                        Some(std::cmp::Ordering::Less) | None => {
                            let at = row_at + newest.row.len() - rest.len();
                            let (event_time, arrival_time) = order;
                            *best = Newest { event_time: Some(event_time), arrival_time, at };
                        }
                    }
                }
                skip(&mut rest, *form)?;
            }
        }
        Ok(true)
    }
}

/// The newest fact of a part that is visible, the part's facts taken off `bytes`. The outer `None` is a tie.
fn newest_of<'a>(
    bytes: &mut &'a [u8],
    as_of: i64,
    known_as_of: i64,
) -> Result<Option<Option<Candidate<'a>>>, NotABlock> {
    let (mut newest, mut tie): (Option<Candidate<'a>>, bool) = (None, false);
    for _ in 0..take_u32(bytes)? {
        let length = take_u32(bytes)? as usize;
        let mut fact = take(bytes, length)?;
        let superseded_at = take_i64(&mut fact)?;
        let (event_time, arrival_time) = (take_i64(&mut fact)?, take_i64(&mut fact)?);
        take(&mut fact, 8)?; // Its number.
        let retracted = take(&mut fact, 1)?[0] == 1;
        if retracted || event_time > as_of || arrival_time > known_as_of || known_as_of >= superseded_at {
            continue;
        }
        let order =
            newest.as_ref().map(|newest| (event_time, arrival_time).cmp(&(newest.event_time, newest.arrival_time)));
        match order {
            Some(std::cmp::Ordering::Less) => {}
            Some(std::cmp::Ordering::Equal) => tie = true,
            Some(std::cmp::Ordering::Greater) | None => {
                tie = false;
                newest = Some(Candidate { event_time, arrival_time, row: fact });
            }
        }
    }
    Ok((!tie).then_some(newest))
}

/// Goes past one value.
fn skip(row: &mut &[u8], form: Form) -> Result<(), NotABlock> {
    let first = take(row, 1)?[0];
    match form {
        Form::Fixed(bytes) => drop(take(row, bytes)?),
        Form::Blocks if first < 2 => {}
        Form::Blocks => {
            let mut number = 0;
            while next_block(row, &mut number)?.1 == MORE {}
        }
    }
    Ok(())
}

/// Behind a block that is not the last one.
const MORE: u8 = 255;

impl Newest {
    /// The value that [`NewestReader::find`] found in `root`, of a feature of type `ty`.
    pub(crate) fn value<'a>(&self, root: &'a [u8], ty: &Type) -> Result<Plain<'a>, NotABlock> {
        let mut row = root.get(self.at..).ok_or(NotABlock)?;
        let first = take(&mut row, 1)?[0];
        if first == 0 {
            return Ok(Plain::Null);
        }
        Ok(match ty {
            Type::Bool => Plain::Bool(take(&mut row, 1)?[0] != 0),
            Type::Date => Plain::Day((u32::from_be_bytes(fixed(&mut row)?) ^ (1 << 31)) as i32),
            Type::Int | Type::Datetime | Type::Timedelta => Plain::Long(long(&mut row)?),
            Type::Float => {
                let bits = long(&mut row)?;
                Plain::Float(f64::from_bits((bits ^ (((bits >> 63) as u64) >> 1) as i64) as u64))
            }
            Type::Decimal { .. } => Plain::Decimal((u128::from_be_bytes(fixed(&mut row)?) ^ (1 << 127)) as i128),
            Type::Str | Type::Enum { .. } | Type::Bytes => Plain::Bytes(blocks(first, &mut row)?),
            Type::List { .. } | Type::Struct { .. } | Type::Vector { .. } => return Err(NotABlock),
        })
    }
}

fn fixed<const N: usize>(row: &mut &[u8]) -> Result<[u8; N], NotABlock> {
    Ok(take(row, N)?.try_into().expect("took exactly N bytes"))
}

fn long(row: &mut &[u8]) -> Result<i64, NotABlock> {
    Ok((u64::from_be_bytes(fixed(row)?) ^ (1 << 63)) as i64)
}

fn blocks<'a>(first: u8, row: &mut &'a [u8]) -> Result<Cow<'a, [u8]>, NotABlock> {
    if first == 1 {
        return Ok(Cow::Borrowed(&[]));
    }
    let mut number = 0;
    let (block, more) = next_block(row, &mut number)?;
    if more != MORE {
        return Ok(Cow::Borrowed(block));
    }
    let mut bytes = block.to_vec();
    loop {
        let (block, more) = next_block(row, &mut number)?;
        bytes.extend(block);
        if more != MORE {
            return Ok(Cow::Owned(bytes));
        }
    }
}

/// The next block of a text without what fills it up, and the byte behind it. `number` counts the blocks.
fn next_block<'a>(row: &mut &'a [u8], number: &mut usize) -> Result<(&'a [u8], u8), NotABlock> {
    let size = if *number < 4 { 8 } else { 32 };
    *number += 1;
    let (block, last) = (take(row, size)?, take(row, 1)?[0]);
    let length = if last == MORE { size } else { usize::from(last) };
    Ok((block.get(..length).ok_or(NotABlock)?, last))
}
