//! Which types each function takes and gives: Python's rules, nothing guessed.

use creta_model::{Function, Type};
use serde_json::Value as Json;

use crate::closest::closest;
use crate::infer::{Node, Refusal, Typed};

type Applied = Result<Typed, Refusal>;

/// The largest integer magnitude that a double holds exactly.
const EXACT_INT: u64 = 1 << 53;

/// The call with its result type; arguments are converted where Python converts silently.
pub(crate) fn apply(function: Function, args: Vec<Typed>) -> Applied {
    arity(function, args.len())?;
    let takes_none = matches!(
        function,
        Function::If | Function::IsNone | Function::Coalesce | Function::Slice | Function::Eq | Function::Ne
    );
    if !takes_none && args.iter().any(Typed::is_none) {
        return Err(Refusal::operands(&args));
    }
    match function {
        Function::Add | Function::Sub => additive(function, args),
        Function::Mul => numeric_pair(function, args).and_then(|args| multiplied(args)),
        Function::Div => divided(args),
        Function::FloorDiv | Function::Mod => whole_division(function, args),
        Function::Pow => power(args),
        Function::Neg | Function::Abs => same_as_argument(function, args, Type::is_numeric),
        Function::Eq | Function::Ne => equality(function, args),
        Function::Lt | Function::Le | Function::Gt | Function::Ge => ordering(function, args),
        Function::And | Function::Or => logical(function, args),
        Function::Not => same_as_argument(function, args, |ty| *ty == Type::Bool),
        Function::If => conditional(args),
        Function::IsNone => Ok(call(function, args, Type::Bool, Some(false))),
        Function::Coalesce => coalesce(args),
        Function::Min | Function::Max => extreme(function, args),
        Function::Lower | Function::Upper | Function::Strip => same_as_argument(function, args, is_str),
        Function::Length => match args[0].ty {
            Type::Str | Type::List { .. } => Ok(call(function, args, Type::Int, None)),
            _ => Err(Refusal::operands(&args)),
        },
        Function::StartsWith | Function::EndsWith => all(function, args, is_str, Type::Bool),
        Function::Contains => contains(args),
        Function::Replace => all(function, args, is_str, Type::Str),
        Function::Slice => slice(args),
        Function::Sqrt | Function::Exp | Function::Log => match args[0].ty.is_numeric() {
            true => {
                let args = args.into_iter().map(to_float).collect();
                Ok(call(function, args, Type::Float, None))
            }
            false => Err(Refusal::operands(&args)),
        },
        Function::Floor | Function::Ceil | Function::ToInt => all(function, args, Type::is_numeric, Type::Int),
        Function::Round => round(args),
        Function::ToFloat => all(function, args, Type::is_numeric, Type::Float),
        Function::ToStr => all(function, args, |ty| matches!(ty, Type::Int | Type::Bool | Type::Str), Type::Str),
        Function::Year | Function::Month | Function::Day | Function::Weekday => {
            all(function, args, |ty| matches!(ty, Type::Date | Type::Datetime), Type::Int)
        }
        Function::Hour | Function::Minute | Function::Second => {
            all(function, args, |ty| *ty == Type::Datetime, Type::Int)
        }
        Function::DateOf => all(function, args, |ty| *ty == Type::Datetime, Type::Date),
        Function::TotalSeconds => all(function, args, |ty| *ty == Type::Timedelta, Type::Float),
    }
}

fn arity(function: Function, given: usize) -> Result<(), Refusal> {
    let (least, most, takes) = match function {
        Function::Neg
        | Function::Abs
        | Function::Not
        | Function::IsNone
        | Function::Lower
        | Function::Upper
        | Function::Strip
        | Function::Length
        | Function::Sqrt
        | Function::Exp
        | Function::Log
        | Function::Floor
        | Function::Ceil
        | Function::ToFloat
        | Function::ToInt
        | Function::ToStr
        | Function::Year
        | Function::Month
        | Function::Day
        | Function::Hour
        | Function::Minute
        | Function::Second
        | Function::Weekday
        | Function::DateOf
        | Function::TotalSeconds => (1, 1, "one argument"),
        Function::Round => (1, 2, "one or two arguments"),
        Function::If | Function::Replace | Function::Slice => (3, 3, "three arguments"),
        Function::Coalesce | Function::Min | Function::Max => (1, usize::MAX, "at least one argument"),
        Function::And | Function::Or => (2, usize::MAX, "at least two arguments"),
        _ => (2, 2, "two arguments"),
    };
    if (least..=most).contains(&given) { Ok(()) } else { Err(Refusal::Arity(takes, given)) }
}

/// A call whose result may be null when an argument may be, unless `optional` says otherwise.
fn call(function: Function, args: Vec<Typed>, ty: Type, optional: Option<bool>) -> Typed {
    let optional = optional.unwrap_or_else(|| args.iter().any(|arg| arg.optional));
    Typed { node: Node::Call(function, args), ty, optional }
}

fn is_str(ty: &Type) -> bool {
    *ty == Type::Str
}

fn all(function: Function, args: Vec<Typed>, takes: impl Fn(&Type) -> bool, gives: Type) -> Applied {
    if args.iter().all(|arg| takes(&arg.ty)) {
        Ok(call(function, args, gives, None))
    } else {
        Err(Refusal::operands(&args))
    }
}

fn same_as_argument(function: Function, args: Vec<Typed>, takes: impl Fn(&Type) -> bool) -> Applied {
    let gives = args[0].ty.clone();
    all(function, args, takes, gives)
}

/// `float(a)`; an integer constant that a double holds exactly becomes a float constant.
fn to_float(arg: Typed) -> Typed {
    if arg.ty == Type::Float {
        return arg;
    }
    if let (Node::Literal(Json::Number(n)), Type::Int) = (&arg.node, &arg.ty)
        && let Some(exact) = n.as_i64().filter(|n| n.unsigned_abs() <= EXACT_INT)
    {
        return Typed { node: Node::Literal(Json::from(exact as f64)), ty: Type::Float, optional: false };
    }
    let optional = arg.optional;
    call(Function::ToFloat, vec![arg], Type::Float, Some(optional))
}

const MIXED_DECIMAL: &str = "Decimal and float do not mix in Python either; convert the Decimal with `float(...)`";

/// Two numbers made alike: both int, both float, or Decimals and ints as they are.
fn numeric_pair(function: Function, args: Vec<Typed>) -> Result<Vec<Typed>, Refusal> {
    debug_assert!(args.len() == 2, "`{function:?}` has two arguments");
    match (&args[0].ty, &args[1].ty) {
        (Type::Float, Type::Decimal { .. }) | (Type::Decimal { .. }, Type::Float) => {
            Err(Refusal::operands(&args).with_help(MIXED_DECIMAL))
        }
        (Type::Float, Type::Int) | (Type::Int, Type::Float) => Ok(args.into_iter().map(to_float).collect()),
        (a, b) if a.is_numeric() && b.is_numeric() => Ok(args),
        _ => Err(Refusal::operands(&args)),
    }
}

fn scale_of(ty: &Type) -> Option<u8> {
    match ty {
        Type::Decimal { scale } => Some(*scale),
        _ => None,
    }
}

/// The type of a sum or difference of two numbers that [`numeric_pair`] made alike.
fn sum_type(args: &[Typed]) -> Type {
    match (scale_of(&args[0].ty), scale_of(&args[1].ty)) {
        (None, None) => args[0].ty.clone(),
        (a, b) => Type::Decimal { scale: a.unwrap_or(0).max(b.unwrap_or(0)) },
    }
}

fn additive(function: Function, args: Vec<Typed>) -> Applied {
    use Type::{Date, Datetime, Str, Timedelta};
    let add = function == Function::Add;
    let ty = match (&args[0].ty, &args[1].ty) {
        (Str, Str) if add => Str,
        (Datetime, Timedelta) => Datetime,
        (Date, Timedelta) => Date,
        (Timedelta, Datetime) if add => Datetime,
        (Timedelta, Date) if add => Date,
        (Timedelta, Timedelta) => Timedelta,
        (Datetime, Datetime) | (Date, Date) if !add => Timedelta,
        (Str, number) | (number, Str) if add && number.is_numeric() => {
            return Err(Refusal::operands(&args).with_help("convert the number with `str(...)`"));
        }
        _ => {
            let args = numeric_pair(function, args)?;
            let ty = sum_type(&args);
            return Ok(call(function, args, ty, None));
        }
    };
    Ok(call(function, args, ty, None))
}

fn multiplied(args: Vec<Typed>) -> Applied {
    let ty = match (scale_of(&args[0].ty), scale_of(&args[1].ty)) {
        (None, None) => args[0].ty.clone(),
        (a, b) => {
            let scale = a.unwrap_or(0) + b.unwrap_or(0);
            if scale > 38 {
                return Err(Refusal::operands(&args)
                    .with_help(format!("the product has {scale} decimal places, the most is 38; use fewer places")));
            }
            Type::Decimal { scale }
        }
    };
    Ok(call(Function::Mul, args, ty, None))
}

/// Decimal places of a quotient: those of the operands, and at least these.
const QUOTIENT_PLACES_MIN: u8 = 6;

/// `int / int` stays a division of ints, because Python rounds its exact quotient once.
fn divided(args: Vec<Typed>) -> Applied {
    let args = numeric_pair(Function::Div, args)?;
    let ty = match sum_type(&args) {
        Type::Decimal { scale } => Type::Decimal { scale: scale.max(QUOTIENT_PLACES_MIN) },
        _ => Type::Float,
    };
    Ok(call(Function::Div, args, ty, None))
}

fn whole_division(function: Function, args: Vec<Typed>) -> Applied {
    if args.iter().any(|arg| scale_of(&arg.ty).is_some()) {
        return Err(Refusal::operands(&args).with_help("convert the Decimal with `float(...)` or `int(...)`"));
    }
    let args = numeric_pair(function, args)?;
    let ty = args[0].ty.clone();
    Ok(call(function, args, ty, None))
}

fn power(args: Vec<Typed>) -> Applied {
    if args.iter().any(|arg| scale_of(&arg.ty).is_some()) {
        return Err(Refusal::operands(&args).with_help("convert the Decimal with `float(...)`"));
    }
    let both_int = args.iter().all(|arg| arg.ty == Type::Int);
    let exponent = match &args[1].node {
        Node::Literal(Json::Number(n)) => n.as_i64(),
        _ => None,
    };
    match exponent {
        Some(0..) if both_int => Ok(call(Function::Pow, args, Type::Int, None)),
        None if both_int => Err(Refusal::operands(&args)
            .with_help("the result is an int or a float, depending on the sign of the exponent; write `float(...)`")),
        _ if args.iter().all(|arg| matches!(arg.ty, Type::Int | Type::Float)) => {
            let args = args.into_iter().map(to_float).collect();
            Ok(call(Function::Pow, args, Type::Float, None))
        }
        _ => Err(Refusal::operands(&args)),
    }
}

/// Two arguments of one kind: numbers made comparable, constants read as the type of the other side.
fn comparable(args: Vec<Typed>) -> Result<Vec<Typed>, Refusal> {
    let [a, b] = [&args[0], &args[1]];
    match (&a.ty, &b.ty) {
        (Type::Enum { .. }, Type::Str) | (Type::Str, Type::Enum { .. }) => enum_and_text(args),
        (Type::Date, Type::Datetime) | (Type::Datetime, Type::Date) => {
            Err(Refusal::operands(&args).with_help("take the day of the datetime with `.date()`"))
        }
        (Type::Decimal { .. }, Type::Decimal { .. }) => Ok(args),
        (x, y) if x.is_numeric() && y.is_numeric() => numeric_pair(Function::Eq, args),
        (x, y) if x == y => Ok(args),
        _ => Err(Refusal::operands(&args)),
    }
}

/// An enum beside a constant text: the text must be one of its members.
fn enum_and_text(mut args: Vec<Typed>) -> Result<Vec<Typed>, Refusal> {
    let text = usize::from(args[1].ty == Type::Str);
    let ty = args[1 - text].ty.clone();
    let (Type::Enum { name, members }, Node::Literal(Json::String(given))) = (&ty, &args[text].node) else {
        return Err(Refusal::operands(&args).with_help("compare it with one of the members of the enum"));
    };
    if !members.contains(given) {
        let closest = closest(given, members.iter().map(String::as_str));
        let help = closest.map_or_else(
            || format!("`{name}` has {}", crate::error::listed(members, "and")),
            |member| format!("did you mean `\"{member}\"`?"),
        );
        return Err(Refusal::Operands(vec![name.clone(), format!("\"{given}\"")], Some(help)));
    }
    args[text].ty = ty;
    Ok(args)
}

fn equality(function: Function, args: Vec<Typed>) -> Applied {
    if args.iter().any(Typed::is_none) {
        let instead = if function == Function::Eq { "`... is None`" } else { "`not (... is None)`" };
        return Err(Refusal::operands(&args).with_help(format!("write {instead}")));
    }
    if args.iter().any(|arg| matches!(arg.ty, Type::List { .. } | Type::Struct { .. } | Type::Vector { .. })) {
        return Err(Refusal::operands(&args));
    }
    Ok(call(function, comparable(args)?, Type::Bool, None))
}

/// Types with an order that people expect.
pub(crate) fn is_ordered(ty: &Type) -> bool {
    ty.is_numeric() || matches!(ty, Type::Str | Type::Date | Type::Datetime | Type::Timedelta)
}

fn ordering(function: Function, args: Vec<Typed>) -> Applied {
    if !args.iter().all(|arg| is_ordered(&arg.ty)) {
        return Err(Refusal::operands(&args));
    }
    Ok(call(function, comparable(args)?, Type::Bool, None))
}

fn logical(function: Function, args: Vec<Typed>) -> Applied {
    if !args.iter().all(|arg| arg.ty == Type::Bool) {
        return Err(Refusal::operands(&args).with_help("compare first: `and`, `or` and `not` are over bools here"));
    }
    let folded = args.into_iter().reduce(|left, right| call(function, vec![left, right], Type::Bool, None));
    Ok(folded.expect("the arity was checked"))
}

/// Values made one type, so that any of them may be the result. `None` takes the type of the others.
fn unify(mut args: Vec<Typed>) -> Result<Vec<Typed>, Refusal> {
    let Some(first) = args.iter().find(|arg| !arg.is_none()) else {
        return Ok(args);
    };
    let mut ty = first.ty.clone();
    for arg in args.iter().filter(|arg| !arg.is_none()) {
        ty = match (&ty, &arg.ty) {
            (a, b) if a == b => continue,
            (Type::Int, Type::Float) | (Type::Float, Type::Int) => Type::Float,
            (Type::Int, Type::Decimal { .. }) | (Type::Str, Type::Enum { .. }) => arg.ty.clone(),
            (Type::Decimal { .. }, Type::Int) | (Type::Enum { .. }, Type::Str) => ty,
            (Type::Float, Type::Decimal { .. }) | (Type::Decimal { .. }, Type::Float) => {
                return Err(Refusal::operands(&args).with_help(MIXED_DECIMAL));
            }
            _ => return Err(Refusal::operands(&args)),
        };
    }
    for position in 0..args.len() {
        let arg = &mut args[position];
        if arg.is_none() {
            arg.ty = ty.clone();
        } else if arg.ty != ty {
            match (&ty, &arg.ty, &arg.node) {
                (Type::Float, Type::Int, _) => args[position] = to_float(arg.clone()),
                (Type::Decimal { .. }, Type::Int, Node::Literal(_)) => arg.ty = ty.clone(),
                (Type::Enum { members, .. }, Type::Str, Node::Literal(Json::String(text)))
                    if members.contains(text) =>
                {
                    arg.ty = ty.clone();
                }
                _ => return Err(Refusal::operands(&args)),
            }
        }
    }
    Ok(args)
}

fn conditional(mut args: Vec<Typed>) -> Applied {
    if args[0].ty != Type::Bool || args[0].is_none() {
        let help = "the condition after `if` has to be a bool; compare first";
        return Err(Refusal::operands(&args[..1]).with_help(help));
    }
    let condition = args.remove(0);
    let branches = unify(args)?;
    let (ty, optional) = (branches[0].ty.clone(), branches.iter().any(|branch| branch.optional));
    let args = std::iter::once(condition).chain(branches).collect();
    Ok(call(Function::If, args, ty, Some(optional)))
}

fn coalesce(args: Vec<Typed>) -> Applied {
    let args = unify(args)?;
    let (ty, optional) = (args[0].ty.clone(), args.iter().all(|arg| arg.optional));
    Ok(call(Function::Coalesce, args, ty, Some(optional)))
}

fn extreme(function: Function, args: Vec<Typed>) -> Applied {
    if !args.iter().all(|arg| is_ordered(&arg.ty)) {
        return Err(Refusal::operands(&args));
    }
    let args = unify(args)?;
    let ty = args[0].ty.clone();
    Ok(call(function, args, ty, None))
}

fn contains(args: Vec<Typed>) -> Applied {
    match (&args[0].ty, &args[1].ty) {
        (Type::Str, Type::Str) => Ok(call(Function::Contains, args, Type::Bool, None)),
        (Type::List { item, .. }, needle) if **item == *needle => {
            Ok(call(Function::Contains, args, Type::Bool, None))
        }
        (Type::List { item, .. }, Type::Int) if **item == Type::Float => {
            let args = args.into_iter().enumerate().map(|(i, arg)| if i == 1 { to_float(arg) } else { arg }).collect();
            Ok(call(Function::Contains, args, Type::Bool, None))
        }
        _ => Err(Refusal::operands(&args)),
    }
}

/// An absent bound is open, so only the text decides whether the result may be null.
fn slice(mut args: Vec<Typed>) -> Applied {
    for bound in &mut args[1..] {
        if bound.is_none() {
            bound.ty = Type::Int;
        }
    }
    if args[0].ty != Type::Str || args[0].is_none() || args[1..].iter().any(|bound| bound.ty != Type::Int) {
        return Err(Refusal::operands(&args));
    }
    let optional = args[0].optional;
    Ok(call(Function::Slice, args, Type::Str, Some(optional)))
}

fn round(args: Vec<Typed>) -> Applied {
    match &args[..] {
        [number] if number.ty.is_numeric() => Ok(call(Function::Round, args, Type::Int, None)),
        [number, places] if number.ty == Type::Float && places.ty == Type::Int => {
            Ok(call(Function::Round, args, Type::Float, None))
        }
        [number, _] if number.ty.is_numeric() => {
            Err(Refusal::operands(&args).with_help("rounding to places is for floats; convert with `float(...)`"))
        }
        _ => Err(Refusal::operands(&args)),
    }
}
