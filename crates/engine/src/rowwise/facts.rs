//! Lookups: the newest facts of each row's key, left where they lie.

use creta_model::{CellState, EntityId, Instant, Type, Value};
use creta_planner::{KeyColumn, LookupColumn};
use creta_store::StoreError;

use super::{Cell, Content};
use crate::answers::ValueRows;
use crate::fact_index::{IndexSpec, IndexView, Newest, NotABlock, Wanted, damaged, is_plain};
use crate::key_set::{Encoded, encode_value};

/// One lookup by given keys.
pub(super) struct Lookup {
    spec: IndexSpec,
    /// Which given columns make the key.
    key: Vec<usize>,
    key_types: Vec<Type>,
    wanted: Wanted,
}

/// A feature that a lookup finds.
pub(super) struct FactColumn {
    pub(super) lookup: usize,
    column: usize,
    ty: Type,
    max_age_us: Option<i64>,
    default: Option<Value>,
}

/// What was found for one lookup: the roots of each row, and for each row one [`Newest`] per column.
pub(super) struct Found {
    roots: Vec<Option<Vec<u8>>>,
    newest: Vec<Newest>,
    columns: usize,
}

impl Lookup {
    pub(super) fn new(entity: EntityId, key: &[KeyColumn], given: Vec<usize>, columns: &[LookupColumn]) -> Self {
        Self {
            spec: IndexSpec { entity, features: key.iter().map(|part| part.feature).collect() },
            key: given,
            key_types: key.iter().map(|part| part.ty.clone()).collect(),
            wanted: Wanted::new(columns.iter().map(|asked| asked.column.feature).collect()),
        }
    }

    /// `None` when it has to be found over columns.
    pub(super) fn find(&self, view: &IndexView<'_>, rows: &ValueRows) -> Result<Option<Found>, StoreError> {
        let count = rows.as_of.len();
        let mut keys = Vec::with_capacity(count);
        for row in 0..count {
            let mut key = Vec::with_capacity(32);
            for (given, ty) in self.key.iter().zip(&self.key_types) {
                match encode_value(ty, &rows.given[*given][row], &mut key) {
                    Ok(Encoded::Complete) => {}
                    Ok(Encoded::Null | Encoded::Nan) | Err(_) => return Ok(None),
                }
            }
            keys.push(key);
        }
        let Some(roots) = view.roots(&self.spec, &keys)? else { return Ok(None) };
        let (reader, columns) = (view.index().newest(&self.wanted), self.wanted.len());
        let mut newest = vec![Newest::default(); count * columns];
        for (row, root) in roots.iter().enumerate() {
            let Some(root) = root else { continue };
            let at = (rows.as_of[row].micros(), rows.known_as_of[row].micros());
            if !reader.find(root, at, &mut newest[row * columns..(row + 1) * columns]).map_err(damaged)? {
                return Ok(None);
            }
        }
        Ok(Some(Found { roots, newest, columns }))
    }
}

impl FactColumn {
    /// `None` for what is not read in place.
    pub(super) fn of(lookup: usize, column: usize, asked: &LookupColumn) -> Option<Self> {
        let ty = asked.column.ty.clone();
        let default = match &asked.default {
            None => None,
            Some(default) => Some(Value::from_json(&ty, default).ok()?),
        };
        let max_age_us = asked.max_age.map(creta_model::Span::micros);
        is_plain(&ty).then_some(Self { lookup, column, ty, max_age_us, default })
    }

    pub(super) fn cell<'a>(&'a self, found: &'a Found, row: usize, as_of: Instant) -> Result<Cell<'a>, NotABlock> {
        let newest = &found.newest[row * found.columns + self.column];
        let absent = match newest.event_time {
            None => CellState::Missing,
            Some(event_time) if self.max_age_us.is_some_and(|max| as_of.micros() - event_time > max) => {
                CellState::Expired
            }
            Some(_) => {
                let root = found.roots[row].as_deref().unwrap_or_default();
                let content = Content::Plain(newest.value(root, &self.ty)?);
                return Ok(Cell { content, event_time: newest.event_time });
            }
        };
        Ok(match &self.default {
            Some(default) => Cell::of(default), // No fact stands behind a default.
            None => Cell { content: Content::Absent(absent), event_time: newest.event_time },
        })
    }
}
