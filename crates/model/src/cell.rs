//! Answer cells (rule S12): a value, or the reason why there is none.

use serde::{Deserialize, Serialize};

/// What one cell of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum CellState {
    /// There is a value.
    Value = 0,
    /// Null was observed.
    Null = 1,
    /// Never observed.
    Missing = 2,
    /// Older than the feature's `max_age`.
    Expired = 3,
    /// Computing it failed; a [`CellError`] says why.
    Error = 4,
    /// The principal may not see it.
    Denied = 5,
}

impl CellState {
    /// The word used in every answer.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Null => "null",
            Self::Missing => "missing",
            Self::Expired => "expired",
            Self::Error => "error",
            Self::Denied => "denied",
        }
    }
}

/// Why a cell is [`CellState::Error`]. Never holds a feature value: Python's message stays in the worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CellError {
    /// Stable, machine-readable: `resolver/raised`, `arithmetic/division-by-zero`.
    pub code: String,
    /// For people: which resolver or expression, and what to look at.
    pub message: String,
}
