//! The typed expression language: what `this.amount / this.limit` becomes.

use serde::{Deserialize, Serialize};

use crate::{FeaturePath, Type};

/// An expression over features of one entity. In JSON
/// `{"op":"call","function":"div","args":[{"op":"feature","path":"Txn.amount"},{"op":"literal","type":{"kind":"float"},"value":2.0}]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Expr {
    /// The value of a feature.
    Feature {
        /// Rooted at the entity the expression belongs to.
        path: FeaturePath,
    },
    /// A constant.
    Literal {
        /// Its type.
        #[serde(rename = "type")]
        ty: Type,
        /// JSON form of the value by that type; `null` is Python's `None`.
        value: serde_json::Value,
    },
    /// A function applied to arguments.
    Call {
        /// Which function.
        function: Function,
        /// Its arguments, in order.
        args: Vec<Expr>,
    },
}

/// Functions with Python's meaning (rule S31). Unless said otherwise an argument without a value makes the result null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// `a + b`: numbers, strings, datetime + timedelta, date + timedelta (whole days), timedelta + timedelta.
    Add,
    /// `a - b`: numbers, datetime - datetime, datetime - timedelta, date - date, timedelta - timedelta.
    Sub,
    /// `a * b`: numbers.
    Mul,
    /// `a / b`: true division, a float (Decimal stays Decimal).
    Div,
    /// `a // b`: floors towards minus infinity.
    FloorDiv,
    /// `a % b`: takes the sign of `b`.
    Mod,
    /// `a ** b`.
    Pow,
    /// `-a`.
    Neg,
    /// `abs(a)`.
    Abs,
    /// `a == b`.
    Eq,
    /// `a != b`.
    Ne,
    /// `a < b`.
    Lt,
    /// `a <= b`.
    Le,
    /// `a > b`.
    Gt,
    /// `a >= b`.
    Ge,
    /// `a and b` over bools; false wins over null.
    And,
    /// `a or b` over bools; true wins over null.
    Or,
    /// `not a`.
    Not,
    /// `b if a else c`; a null condition takes `c`.
    If,
    /// `a is None`; never null.
    IsNone,
    /// The first argument that has a value.
    Coalesce,
    /// `min(a, b, ...)`, one or more.
    Min,
    /// `max(a, b, ...)`, one or more.
    Max,
    /// `a.lower()`.
    Lower,
    /// `a.upper()`.
    Upper,
    /// `a.strip()`.
    Strip,
    /// `len(a)`: characters of a string, items of a list.
    Length,
    /// `a.startswith(b)`.
    StartsWith,
    /// `a.endswith(b)`.
    EndsWith,
    /// `b in a`: substring, or item of a list.
    Contains,
    /// `a.replace(b, c)`.
    Replace,
    /// `a[b:c]` over characters; `None` bounds are open.
    Slice,
    /// `math.sqrt(a)`.
    Sqrt,
    /// `math.exp(a)`.
    Exp,
    /// `math.log(a)`.
    Log,
    /// `math.floor(a)`, an int.
    Floor,
    /// `math.ceil(a)`, an int.
    Ceil,
    /// `round(a)`, an int, or `round(a, n)`, a float: half to even as Python does it.
    Round,
    /// `float(a)` of a number.
    ToFloat,
    /// `int(a)` of a number: towards zero.
    ToInt,
    /// `str(a)` of an int, bool or string.
    ToStr,
    /// `a.year` of a date or datetime (UTC).
    Year,
    /// `a.month`.
    Month,
    /// `a.day`.
    Day,
    /// `a.hour` of a datetime (UTC).
    Hour,
    /// `a.minute`.
    Minute,
    /// `a.second`.
    Second,
    /// `a.weekday()`: Monday is 0.
    Weekday,
    /// `a.date()` of a datetime (UTC).
    DateOf,
    /// `a.total_seconds()` of a timedelta.
    TotalSeconds,
}

impl Expr {
    /// Calls `visit` for each feature the expression reads, in order of appearance, repeats included.
    pub fn for_each_path<'a>(&'a self, visit: &mut impl FnMut(&'a FeaturePath)) {
        match self {
            Self::Feature { path } => visit(path),
            Self::Literal { .. } => {}
            Self::Call { args, .. } => args.iter().for_each(|arg| arg.for_each_path(visit)),
        }
    }
}
