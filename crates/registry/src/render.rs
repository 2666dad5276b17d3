//! Expressions as they are written with the Python package, for messages, differences and explanations.

use creta_model::{Aggregate, Expr, Function, Span, Type, Window};
use serde_json::Value;

/// The expression as Python. Features stand with their full path.
pub fn render_expr(expr: &Expr) -> String {
    write(expr, 0)
}

/// The aggregation as a sentence part: `mean of Flight.dep_delay`. Without a value it is the
/// count of rows.
pub fn render_aggregate(aggregate: Aggregate, value: Option<&str>) -> String {
    let Some(value) = value else {
        return "count".to_owned();
    };
    match aggregate {
        Aggregate::Count => format!("count of {value}"),
        Aggregate::Sum => format!("sum of {value}"),
        Aggregate::Mean => format!("mean of {value}"),
        Aggregate::Min => format!("smallest {value}"),
        Aggregate::Max => format!("largest {value}"),
        Aggregate::Std => format!("standard deviation of {value}"),
        Aggregate::Var => format!("variance of {value}"),
        Aggregate::First => format!("first {value}"),
        Aggregate::Last => format!("last {value}"),
        Aggregate::LastN { n } => format!("last {n} of {value}"),
        Aggregate::Distinct => format!("number of different {value}"),
        Aggregate::Percentile { thousandths } => {
            format!("{}th percentile of {value}", f64::from(thousandths) / 1000.0)
        }
    }
}

/// A window in one line: `mean of Flight.dep_delay over flights where Flight.dep_delay > 0`.
pub fn render_window(window: &Window) -> String {
    let value = window.value.as_ref().map(render_expr);
    let filter = window.filter.as_ref().map(|filter| format!(" where {}", render_expr(filter))).unwrap_or_default();
    let now = if window.include_now { ", now included" } else { "" };
    format!("{} over `{}`{filter}{now}", render_aggregate(window.aggregate, value.as_deref()), window.relation)
}

/// Spans separated by commas: `1h, 1d, 7d`.
pub fn render_spans(spans: &[Span]) -> String {
    spans.iter().map(Span::to_string).collect::<Vec<_>>().join(", ")
}

/// A type with its optionality, as in an annotation: `float | None`.
pub fn render_type(ty: &Type, optional: bool) -> String {
    format!("{}{}", ty.python_name(), if optional { " | None" } else { "" })
}

/// The sign or name of a function as Python has it.
pub(crate) fn function_name(function: Function) -> &'static str {
    match function {
        Function::Add => "+",
        Function::Sub | Function::Neg => "-",
        Function::Mul => "*",
        Function::Div => "/",
        Function::FloorDiv => "//",
        Function::Mod => "%",
        Function::Pow => "**",
        Function::Abs => "abs",
        Function::Eq => "==",
        Function::Ne => "!=",
        Function::Lt => "<",
        Function::Le => "<=",
        Function::Gt => ">",
        Function::Ge => ">=",
        Function::And => "&",
        Function::Or => "|",
        Function::Not => "~",
        Function::If => "when",
        Function::IsNone => "is_none",
        Function::Coalesce => "coalesce",
        Function::Min => "min_",
        Function::Max => "max_",
        Function::Lower => "lower",
        Function::Upper => "upper",
        Function::Strip => "strip",
        Function::Length => "length",
        Function::StartsWith => "startswith",
        Function::EndsWith => "endswith",
        Function::Contains => "contains",
        Function::Replace => "replace",
        Function::Slice => "slice",
        Function::Sqrt => "sqrt",
        Function::Exp => "exp",
        Function::Log => "log",
        Function::Floor => "floor",
        Function::Ceil => "ceil",
        Function::Round => "round",
        Function::ToFloat => "to_float",
        Function::ToInt => "to_int",
        Function::ToStr => "to_str",
        Function::Year => "year",
        Function::Month => "month",
        Function::Day => "day",
        Function::Hour => "hour",
        Function::Minute => "minute",
        Function::Second => "second",
        Function::Weekday => "weekday",
        Function::DateOf => "date",
        Function::TotalSeconds => "total_seconds",
    }
}

/// How tightly a function binds in Python; calls, methods and attributes bind tightest.
fn binding(function: Function) -> u8 {
    match function {
        Function::Eq | Function::Ne | Function::Lt | Function::Le | Function::Gt | Function::Ge => 2,
        Function::Or => 3,
        Function::And => 4,
        Function::Add | Function::Sub => 5,
        Function::Mul | Function::Div | Function::FloorDiv | Function::Mod => 6,
        Function::Neg | Function::Not => 7,
        Function::Pow => 8,
        _ => TIGHTEST,
    }
}

const TIGHTEST: u8 = 9;

/// `outer` is how tightly the surrounding text binds: looser parts get parentheses.
fn write(expr: &Expr, outer: u8) -> String {
    match expr {
        Expr::Feature { path } => path.to_string(),
        Expr::Literal { ty, value } => literal(ty, value),
        Expr::Call { function, args } => {
            let binds = binding(*function);
            let text = call(*function, args, binds);
            if binds < outer { format!("({text})") } else { text }
        }
    }
}

fn call(function: Function, args: &[Expr], binds: u8) -> String {
    let name = function_name(function);
    match (function, args) {
        (Function::Pow, [a, b]) => format!("{} ** {}", write(a, binds + 1), write(b, binds)),
        (Function::If, [condition, then, other]) => {
            let [condition, then, other] = [condition, then, other].map(|arg| write(arg, 0));
            format!("when({condition}).then({then}).otherwise({other})")
        }
        (Function::Not | Function::Neg, [a]) => format!("{name}{}", write(a, binds)),
        (Function::And | Function::Or, [_, _, ..]) => {
            args.iter().map(|arg| write(arg, binds + 1)).collect::<Vec<_>>().join(&format!(" {name} "))
        }
        (_, [a, b]) if binds < TIGHTEST => {
            // Python chains comparisons, so both sides need parentheses.
            let left = if binds == 2 { binds + 1 } else { binds };
            format!("{} {name} {}", write(a, left), write(b, binds + 1))
        }
        (
            Function::Year | Function::Month | Function::Day | Function::Hour | Function::Minute | Function::Second,
            [a],
        ) => {
            format!("{}.{name}", write(a, TIGHTEST))
        }
        (
            Function::IsNone
            | Function::Lower
            | Function::Upper
            | Function::Strip
            | Function::Length
            | Function::StartsWith
            | Function::EndsWith
            | Function::Contains
            | Function::Replace
            | Function::Slice
            | Function::Weekday
            | Function::DateOf
            | Function::TotalSeconds,
            [receiver, rest @ ..],
        ) => format!("{}.{name}({})", write(receiver, TIGHTEST), arguments(rest)),
        _ => format!("{name}({})", arguments(args)),
    }
}

fn arguments(args: &[Expr]) -> String {
    args.iter().map(|arg| write(arg, 0)).collect::<Vec<_>>().join(", ")
}

fn literal(ty: &Type, value: &Value) -> String {
    match (ty, value) {
        (_, Value::Null) => "None".to_owned(),
        (_, Value::Bool(true)) => "True".to_owned(),
        (_, Value::Bool(false)) => "False".to_owned(),
        (Type::Timedelta, Value::Number(n)) => format!("timedelta(microseconds={n})"),
        (Type::Decimal { .. }, Value::String(digits)) => format!("Decimal(\"{digits}\")"),
        (Type::Date, Value::String(day)) => format!("date({day})"),
        (Type::Datetime, Value::String(at)) => format!("datetime({at})"),
        (Type::Bytes, Value::String(base64)) => format!("bytes({base64})"),
        (_, other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(name: &str) -> Expr {
        Expr::Feature { path: creta_model::FeaturePath::parse(name).expect("path") }
    }

    fn call(function: Function, args: &[Expr]) -> Expr {
        Expr::Call { function, args: args.to_vec() }
    }

    #[test]
    fn parentheses_stand_where_python_needs_them() {
        let (a, b) = (feature("T.a"), feature("T.b"));
        let sum = call(Function::Add, &[a.clone(), b.clone()]);
        assert_eq!(render_expr(&call(Function::Mul, &[sum.clone(), b.clone()])), "(T.a + T.b) * T.b");
        assert_eq!(render_expr(&call(Function::Sub, &[a.clone(), sum.clone()])), "T.a - (T.a + T.b)");
        assert_eq!(render_expr(&call(Function::Lower, std::slice::from_ref(&sum))), "(T.a + T.b).lower()");
        let late = call(Function::Gt, &[sum, b.clone()]);
        assert_eq!(render_expr(&call(Function::Not, std::slice::from_ref(&late))), "~(T.a + T.b > T.b)");
        assert_eq!(
            render_expr(&call(Function::And, &[late.clone(), late.clone()])),
            "(T.a + T.b > T.b) & (T.a + T.b > T.b)"
        );
        assert_eq!(render_expr(&call(Function::If, &[late, a, b])), "when(T.a + T.b > T.b).then(T.a).otherwise(T.b)");
    }
}
