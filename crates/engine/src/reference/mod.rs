//! Slow versions that are obviously right: nested loops over all facts, one row and one value at a time, fractions of
//! unbounded integers. The operators are tested against these, and so is whatever claims to agree with them.

mod exact;
mod expression;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use creta_model::{CellError, CellState, FeatureId, Instant, Span, Type, Value};

use crate::column::CellColumn;

pub use exact::nearest_double;
pub use expression::expression;
pub use window::window;

/// One fact about an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// When it was true.
    pub event_time: Instant,
    /// When Creta learned it.
    pub arrival_time: Instant,
    /// Where it came from.
    pub source: String,
    /// Its place in the source.
    pub sequence: u64,
    /// Marks versions of one event.
    pub event_id: Option<Vec<u8>>,
    /// Whether it takes the event back.
    pub retracted: bool,
    /// What was observed; a feature without an entry was not, a null was observed to be null.
    pub values: BTreeMap<FeatureId, Value>,
}

impl Fact {
    /// Rule S7.
    fn order(&self) -> (Instant, Instant, &str, u64) {
        (self.event_time, self.arrival_time, &self.source, self.sequence)
    }

    fn has_key(&self, key: &[(FeatureId, Value)]) -> bool {
        key.iter().all(|(feature, wanted)| self.values.get(feature).is_some_and(|value| same_key(value, wanted)))
    }
}

/// -0 equals 0, null and NaN equal nothing (rule S14).
fn same_key(a: &Value, b: &Value) -> bool {
    *a != Value::Null && a == b
}

/// One answer cell (rule S12).
#[derive(Debug, Clone)]
pub enum Cell {
    /// A value, never null.
    Value(Value),
    /// Null was observed.
    Null,
    /// Never observed.
    Missing,
    /// Too old.
    Expired,
    /// The code of the error.
    Error(String),
    /// Not for the principal.
    Denied,
}

impl PartialEq for Cell {
    /// Floats are the same when their bits are, except that NaN is NaN.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(a), Self::Value(b)) => same_bits(a, b),
            (Self::Error(a), Self::Error(b)) => a == b,
            (Self::Null, Self::Null)
            | (Self::Missing, Self::Missing)
            | (Self::Expired, Self::Expired)
            | (Self::Denied, Self::Denied) => true,
            _ => false,
        }
    }
}

fn same_bits(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (Value::List(a), Value::List(b)) | (Value::Struct(a), Value::Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_bits(a, b))
        }
        (a, b) => a == b,
    }
}

impl Cell {
    /// What stands in one row of a column of type `ty`.
    pub fn of(cells: &CellColumn, ty: &Type, row: usize) -> Self {
        match cells.state(row) {
            CellState::Value => Self::Value(cells.value(ty, row).expect("a cell of state value has one")),
            CellState::Null => Self::Null,
            CellState::Missing => Self::Missing,
            CellState::Expired => Self::Expired,
            CellState::Error => Self::Error(cells.errors().get(&row).map_or("", |e: &Arc<CellError>| &e.code).into()),
            CellState::Denied => Self::Denied,
        }
    }

    /// An observed value, which may be null.
    pub fn observed(value: Value) -> Self {
        if value == Value::Null { Self::Null } else { Self::Value(value) }
    }
}

/// The instants of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// The row's instant.
    pub as_of: Instant,
    /// Facts that arrived later do not exist.
    pub known_as_of: Instant,
}

/// The facts that exist for somebody who knows what arrived until `known_as_of`, in the order of rule S7: the last known
/// version of each event unless it is a retraction (rule S8), and each fact once.
pub fn visible(history: &[Fact], known_as_of: Instant) -> Vec<&Fact> {
    let known: Vec<&Fact> = history.iter().filter(|fact| fact.arrival_time <= known_as_of).collect();
    let mut visible = Vec::new();
    for fact in &known {
        let newer =
            |other: &&Fact| fact.event_id.is_some() && other.event_id == fact.event_id && other.order() > fact.order();
        let repeated = visible.iter().any(|other: &&Fact| other.order() == fact.order());
        if !fact.retracted && !known.iter().any(newer) && !repeated {
            visible.push(*fact);
        }
    }
    visible.sort_by_key(|fact| fact.order());
    visible
}

/// The latest fact with this key that observed `feature`, at or before the instant (rules S2, S5, S12).
pub fn point_in_time(
    history: &[Fact],
    key: &[(FeatureId, Value)],
    feature: FeatureId,
    max_age: Option<Span>,
    at: At,
) -> Cell {
    let mut latest = None;
    for fact in visible(history, at.known_as_of) {
        if fact.has_key(key) && fact.event_time <= at.as_of && fact.values.contains_key(&feature) {
            latest = Some(fact);
        }
    }
    let Some(fact) = latest else { return Cell::Missing };
    let age = at.as_of.micros() - fact.event_time.micros();
    if max_age.is_some_and(|max_age| age > max_age.micros()) {
        return Cell::Expired;
    }
    Cell::observed(fact.values[&feature].clone())
}
