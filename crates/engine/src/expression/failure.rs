//! Why a function has no result for some arguments.

use std::sync::Arc;

use creta_compiler::Raised;
use creta_model::{CellError, Function};

use crate::column::cell_error;

/// Each is an exception in Python, or an int beyond 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    DivisionByZero,
    Overflow,
    /// A number for which the function is not defined.
    Domain,
    /// An int to the power of a negative int is a float in Python.
    NegativeExponent,
    /// An instant or day outside the years 0001 to 9999.
    OutOfRange,
}

impl From<Raised> for Failure {
    /// An exception of arithmetic, or what Python would answer with an int beyond 64 bits or a complex number.
    fn from(raised: Raised) -> Self {
        match raised {
            Raised::ZERO_DIVISION => Self::DivisionByZero,
            Raised::OVERFLOW | Raised::INT => Self::Overflow,
            _ => Self::Domain,
        }
    }
}

impl Failure {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::DivisionByZero => "arithmetic/division-by-zero",
            Self::Overflow => "arithmetic/overflow",
            Self::Domain => "arithmetic/domain",
            Self::NegativeExponent => "arithmetic/negative-exponent",
            Self::OutOfRange => "arithmetic/out-of-range",
        }
    }

    pub(crate) fn to_error(self, function: Function) -> Arc<CellError> {
        let name = written(function);
        cell_error(
            self.code(),
            match self {
                Self::DivisionByZero => format!("`{name}` divides by zero; guard it, for example with `if`"),
                Self::Overflow => format!("the result of `{name}` does not fit its type"),
                Self::Domain => format!("`{name}` is not defined for this number"),
                Self::NegativeExponent => format!("`{name}` has a negative exponent; make the base a float"),
                Self::OutOfRange => format!("the result of `{name}` is outside the years 0001 to 9999"),
            },
        )
    }
}

/// The function as a Python developer writes it.
fn written(function: Function) -> &'static str {
    match function {
        Function::Add => "+",
        Function::Sub => "-",
        Function::Mul => "*",
        Function::Div => "/",
        Function::FloorDiv => "//",
        Function::Mod => "%",
        Function::Pow => "**",
        Function::Neg => "-",
        Function::Abs => "abs",
        Function::Sqrt => "math.sqrt",
        Function::Exp => "math.exp",
        Function::Log => "math.log",
        Function::Floor => "math.floor",
        Function::Ceil => "math.ceil",
        Function::Round => "round",
        Function::ToInt => "int",
        Function::ToFloat => "float",
        _ => "expression",
    }
}
