//! The module `math`, as CPython wraps the C library: exceptions where C gives NaN or infinity.

use crate::numbers;
use crate::raised::{Outcome, Raised};
use crate::value::Value;

/// A function of `math`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Acos,
    Asin,
    Atan,
    Atan2,
    Ceil,
    Copysign,
    Cos,
    Cosh,
    Degrees,
    Exp,
    Expm1,
    Fabs,
    Floor,
    Fmod,
    Isfinite,
    Isinf,
    Isnan,
    Log,
    Log10,
    Log1p,
    Log2,
    Pow,
    Radians,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    Tanh,
    Trunc,
}

impl Function {
    /// The function of that name with its parameters.
    pub(crate) fn find(name: &str) -> Option<(Self, &'static [&'static str])> {
        use Function as F;
        const ONE: &[&str] = &["/x"];
        const TWO: &[&str] = &["/x", "/y"];
        Some(match name {
            "acos" => (F::Acos, ONE),
            "asin" => (F::Asin, ONE),
            "atan" => (F::Atan, ONE),
            "atan2" => (F::Atan2, TWO),
            "ceil" => (F::Ceil, ONE),
            "copysign" => (F::Copysign, TWO),
            "cos" => (F::Cos, ONE),
            "cosh" => (F::Cosh, ONE),
            "degrees" => (F::Degrees, ONE),
            "exp" => (F::Exp, ONE),
            "expm1" => (F::Expm1, ONE),
            "fabs" => (F::Fabs, ONE),
            "floor" => (F::Floor, ONE),
            "fmod" => (F::Fmod, TWO),
            "isfinite" => (F::Isfinite, ONE),
            "isinf" => (F::Isinf, ONE),
            "isnan" => (F::Isnan, ONE),
            "log" => (F::Log, &["/x", "/base?"]),
            "log10" => (F::Log10, ONE),
            "log1p" => (F::Log1p, ONE),
            "log2" => (F::Log2, ONE),
            "pow" => (F::Pow, TWO),
            "radians" => (F::Radians, ONE),
            "sin" => (F::Sin, ONE),
            "sinh" => (F::Sinh, ONE),
            "sqrt" => (F::Sqrt, ONE),
            "tan" => (F::Tan, ONE),
            "tanh" => (F::Tanh, ONE),
            "trunc" => (F::Trunc, ONE),
            _ => return None,
        })
    }

    /// A constant of the module.
    pub(crate) fn constant(name: &str) -> Option<f64> {
        use std::f64::consts;
        Some(match name {
            "pi" => consts::PI,
            "e" => consts::E,
            "tau" => consts::TAU,
            "inf" => f64::INFINITY,
            "nan" => f64::NAN,
            _ => return None,
        })
    }

    pub(crate) fn call(self, args: &[Value]) -> Outcome<Value> {
        let number = |at: usize| args[at].as_float().ok_or(Raised::TYPE);
        // Ints stay ints where Python rounds.
        if matches!(self, Self::Ceil | Self::Floor | Self::Trunc)
            && let Some(int) = args[0].as_int()
        {
            return Ok(Value::Int(int));
        }
        if self == Self::Trunc && !matches!(args[0], Value::Float(_)) {
            return Err(Raised::TYPE);
        }
        let x = number(0)?;
        Ok(Value::Float(match self {
            Self::Ceil => return numbers::whole(x.ceil()).map(Value::Int),
            Self::Floor => return numbers::whole(x.floor()).map(Value::Int),
            Self::Trunc => return numbers::whole(x.trunc()).map(Value::Int),
            Self::Isfinite => return Ok(Value::Bool(x.is_finite())),
            Self::Isinf => return Ok(Value::Bool(x.is_infinite())),
            Self::Isnan => return Ok(Value::Bool(x.is_nan())),
            Self::Acos => bounded(x, x.acos())?,
            Self::Asin => bounded(x, x.asin())?,
            Self::Atan => x.atan(),
            Self::Atan2 => x.atan2(number(1)?),
            Self::Copysign => x.copysign(number(1)?),
            Self::Cos => bounded(x, x.cos())?,
            Self::Cosh => overflowing(x, x.cosh())?,
            Self::Degrees => x * (180.0 / std::f64::consts::PI),
            Self::Exp => overflowing(x, x.exp())?,
            Self::Expm1 => overflowing(x, x.exp_m1())?,
            Self::Fabs => x.abs(),
            Self::Fmod => modulo(x, number(1)?)?,
            Self::Log => logarithm(args, x)?,
            Self::Log10 => positive(x)?.log10(),
            Self::Log1p => bounded_below(x)?,
            Self::Log2 => positive(x)?.log2(),
            Self::Pow => power(x, number(1)?)?,
            Self::Radians => x * (std::f64::consts::PI / 180.0),
            Self::Sin => bounded(x, x.sin())?,
            Self::Sinh => overflowing(x, x.sinh())?,
            Self::Sqrt => bounded(x, x.sqrt())?,
            Self::Tan => bounded(x, x.tan())?,
            Self::Tanh => x.tanh(),
        }))
    }
}

/// `ValueError` where a number gave NaN, as of `sqrt(-1)` and `sin(inf)`.
fn bounded(x: f64, result: f64) -> Outcome<f64> {
    if result.is_nan() && !x.is_nan() { Err(Raised::VALUE) } else { Ok(result) }
}

/// `OverflowError` where a finite number gave infinity.
fn overflowing(x: f64, result: f64) -> Outcome<f64> {
    if result.is_infinite() && x.is_finite() { Err(Raised::OVERFLOW) } else { Ok(result) }
}

fn positive(x: f64) -> Outcome<f64> {
    if x <= 0.0 { Err(Raised::VALUE) } else { Ok(x) }
}

fn bounded_below(x: f64) -> Outcome<f64> {
    if x <= -1.0 {
        return Err(Raised::VALUE);
    }
    // CPython keeps the sign of zero, whatever the C library does.
    Ok(if x == 0.0 { x } else { x.ln_1p() })
}

fn logarithm(args: &[Value], x: f64) -> Outcome<f64> {
    let numerator = positive(x)?.ln();
    let base = match &args[1] {
        Value::Unbound => return Ok(numerator),
        base => base.as_float().ok_or(Raised::TYPE)?,
    };
    numbers::divide(numerator, positive(base)?.ln())
}

fn modulo(x: f64, y: f64) -> Outcome<f64> {
    if y.is_infinite() && x.is_finite() {
        return Ok(x);
    }
    let rest = x % y;
    if rest.is_nan() && !x.is_nan() && !y.is_nan() { Err(Raised::VALUE) } else { Ok(rest) }
}

/// `math.pow`: over floats alone, with `ValueError` where no real number is the answer.
fn power(x: f64, y: f64) -> Outcome<f64> {
    if x == 0.0 && y == f64::NEG_INFINITY {
        return Err(Raised::Beyond("a power that differs between versions of Python"));
    }
    let power = x.powf(y);
    if !x.is_finite() || !y.is_finite() || power.is_finite() {
        return Ok(power);
    }
    if power.is_nan() || x == 0.0 { Err(Raised::VALUE) } else { Err(Raised::OVERFLOW) }
}
