//! Why a call has no value.

/// A value, or why there is none.
pub type Outcome<T> = Result<T, Raised>;

/// What ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// The Python exception of that name.
    Exception(&'static str),
    /// Python has an answer that compiled code does not know, for the reason given: an int beyond 64 bits, a complex
    /// number, letters newer than some Python's tables. Whoever runs the program asks Python for this row.
    Beyond(&'static str),
}

impl Raised {
    pub(crate) const TYPE: Self = Self::Exception("TypeError");
    pub(crate) const VALUE: Self = Self::Exception("ValueError");
    pub(crate) const ZERO_DIVISION: Self = Self::Exception("ZeroDivisionError");
    pub(crate) const OVERFLOW: Self = Self::Exception("OverflowError");
    pub(crate) const INDEX: Self = Self::Exception("IndexError");
    pub(crate) const KEY: Self = Self::Exception("KeyError");
    pub(crate) const ATTRIBUTE: Self = Self::Exception("AttributeError");
    pub(crate) const INT: Self = Self::Beyond("an int beyond 64 bits");
    pub(crate) const LETTERS: Self = Self::Beyond("letters outside ASCII");
    pub(crate) const LARGE: Self = Self::Beyond("a text or list of more than 16 MiB");
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
