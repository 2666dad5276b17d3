//! Places in the history of a fact store.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many atomic units of facts a store has acknowledged: the first unit ends at position 1, [`Position::START`] is
/// before it. Positions of one store never repeat and never go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first unit.
    pub const START: Self = Self(0);

    /// The position after the next unit.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
