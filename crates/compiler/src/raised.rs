//! Why a call has no value.

use crate::program::Place;

/// A value, or why there is none.
pub type Outcome<T> = Result<T, Raised>;

/// What ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// The Python exception of that name.
    Exception(&'static str),
    /// The same, and the statement that raised it: the innermost one.
    At(&'static str, Place),
    /// Python has an answer that compiled code does not know, for the reason given: an int beyond 64 bits, a complex
    /// number, letters newer than some Python's tables. Whoever runs the program asks Python for this row.
    Beyond(&'static str),
}

impl Raised {
    /// Name of the exception.
    pub fn exception(self) -> Option<&'static str> {
        match self {
            Self::Exception(name) | Self::At(name, _) => Some(name),
            Self::Beyond(_) => None,
        }
    }

    /// Adds where it happened, unless that is known.
    #[must_use]
    pub(crate) fn at(self, place: Place) -> Self {
        match self {
            Self::Exception(name) => Self::At(name, place),
            known => known,
        }
    }

    pub(crate) const TYPE: Self = Self::Exception("TypeError");
    pub(crate) const VALUE: Self = Self::Exception("ValueError");
    /// A division by zero.
    pub const ZERO_DIVISION: Self = Self::Exception("ZeroDivisionError");
    /// A float that is too large.
    pub const OVERFLOW: Self = Self::Exception("OverflowError");
    pub(crate) const INDEX: Self = Self::Exception("IndexError");
    pub(crate) const KEY: Self = Self::Exception("KeyError");
    pub(crate) const ATTRIBUTE: Self = Self::Exception("AttributeError");
    /// An int beyond 64 bits.
    pub const INT: Self = Self::Beyond("an int beyond 64 bits");
    pub(crate) const LETTERS: Self = Self::Beyond("letters outside ASCII");
    pub(crate) const LARGE: Self = Self::Beyond("a text or list of more than 16 MiB");
    pub(crate) const WORK: Self = Self::Beyond("more work than one call may be");
    pub(crate) const VERSION: Self = Self::Beyond("an exception that differs between versions of Python");
    pub(crate) const NOT_COMPILED: Self = Self::Beyond("types that this operation is not compiled for");
}

/// Exceptions that a resolver may raise by name.
pub(crate) const RAISABLE: &[&str] = &[
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "Exception",
    "IndexError",
    "KeyError",
    "LookupError",
    "NotImplementedError",
    "OverflowError",
    "RuntimeError",
    "TypeError",
    "ValueError",
    "ZeroDivisionError",
];
