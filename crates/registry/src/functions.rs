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
        Function::Mul => numeric_pair(args).and_then(multiplied),
        Function::Div => divided(args),
        Function::FloorDiv | Function::Mod => whole_division(function, args),
        Function::Pow => power(args),
        Function::Neg | Function::Abs => {
            same_as_argument(function, args, |ty| ty.is_numeric() || *ty == Type::Timedelta)
        }
        Function::Eq | Function::Ne => equality(function, args),
        Function::Lt | Function::Le | Function::Gt | Function::Ge => ordering(function, args),
        Function::And | Function::Or => logical(function, args),
        Function::Not => same_as_argument(function, args, |ty| *ty == Type::Bool),
        Function::If => conditional(args),
        Function::IsNone => Ok(call(function, args, Type::Bool, Some(false))),
        Function::Coalesce => coalesce(args),
        Function::Min | Function::Max => extreme(function, args),
        Function::Lower | Function::Upper | Function::Strip => all(function, args, is_text, Type::Str),
        Function::Length => all(function, args, |ty| is_text(ty) || matches!(ty, Type::List { .. }), Type::Int),
        Function::StartsWith | Function::EndsWith => all(function, args, is_text, Type::Bool),
        Function::Contains => contains(args),
        Function::Replace => all(function, args, is_text, Type::Str),
        Function::Slice => slice(args),
        Function::Sqrt | Function::Exp | Function::Log => match args[0].ty.is_numeric() {
            true => {
                let args = args.into_iter().map(to_float).collect();
                Ok(call(function, args, Type::Float, None))
            }
            false => Err(Refusal::operands(&args)),
        },
        Function::Floor | Function::Ceil => all(function, args, Type::is_numeric, Type::Int),
        Function::ToInt => all(function, args, is_number_or_bool, Type::Int),
        Function::Round => round(args),
        Function::ToFloat => all(function, args, is_number_or_bool, Type::Float),
        Function::ToStr => all(function, args, |ty| is_text(ty) || matches!(ty, Type::Int | Type::Bool), Type::Str),
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

/// A member of an enum is a text, as Python's `StrEnum` has it.
fn is_text(ty: &Type) -> bool {
    matches!(ty, Type::Str | Type::Enum { .. })
}

fn is_number_or_bool(ty: &Type) -> bool {
    ty.is_numeric() || *ty == Type::Bool
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

const MIXED_DECIMAL: &str = "Decimal and float do not mix in Python either; convert the Decimal with `to_float(...)`";

/// Two numbers made alike: both int, both float, or Decimals and ints as they are.
fn numeric_pair(args: Vec<Typed>) -> Result<Vec<Typed>, Refusal> {
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
        (Str, Type::Int) | (Type::Int, Str) if add => {
            return Err(Refusal::operands(&args).with_help("convert the number with `to_str(...)`"));
        }
        _ => {
            let args = numeric_pair(args)?;
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
    let args = numeric_pair(args)?;
    let ty = match sum_type(&args) {
        Type::Decimal { scale } => Type::Decimal { scale: scale.max(QUOTIENT_PLACES_MIN) },
        _ => Type::Float,
    };
    Ok(call(Function::Div, args, ty, None))
}

fn whole_division(function: Function, args: Vec<Typed>) -> Applied {
    let args = numeric_pair(args)?;
    let ty = sum_type(&args);
    Ok(call(function, args, ty, None))
}

/// Of two ints an int, unless the exponent is known to be negative: Python decides by its sign.
fn power(args: Vec<Typed>) -> Applied {
    if args.iter().any(|arg| scale_of(&arg.ty).is_some()) {
        return Err(Refusal::operands(&args).with_help("convert the Decimal with `to_float(...)`"));
    }
    let negative = match &args[1].node {
        Node::Literal(Json::Number(n)) => n.as_f64().is_some_and(|exponent| exponent < 0.0),
        Node::Call(Function::Neg, inner) => matches!(inner[0].node, Node::Literal(_)),
        _ => false,
    };
    if args.iter().all(|arg| arg.ty == Type::Int) {
        return Ok(call(Function::Pow, args, if negative { Type::Float } else { Type::Int }, None));
    }
    if !args.iter().all(|arg| matches!(arg.ty, Type::Int | Type::Float)) {
        return Err(Refusal::operands(&args));
    }
    let args = args.into_iter().map(to_float).collect();
    Ok(call(Function::Pow, args, Type::Float, None))
}

/// Two arguments of one kind. Numbers stay as they are, because Python compares int, float and Decimal exactly.
fn comparable(args: Vec<Typed>) -> Result<Vec<Typed>, Refusal> {
    let [a, b] = [&args[0], &args[1]];
    match (&a.ty, &b.ty) {
        (Type::Enum { .. }, Type::Str) | (Type::Str, Type::Enum { .. }) => enum_and_text(args),
        (Type::Date, Type::Datetime) | (Type::Datetime, Type::Date) => {
            Err(Refusal::operands(&args).with_help("take the day of the datetime with `.date()`"))
        }
        (x, y) if x == y || (x.is_numeric() && y.is_numeric()) => Ok(args),
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
        let instead = if function == Function::Eq { "`.is_none()`" } else { "`~` and `.is_none()`" };
        return Err(Refusal::operands(&args).with_help(format!("ask with {instead}")));
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
        return Err(Refusal::operands(&args).with_help("compare first: `&`, `|` and `~` are over bools here"));
    }
    let folded = args.into_iter().reduce(|left, right| call(function, vec![left, right], Type::Bool, None));
    Ok(folded.expect("the arity was checked"))
}

/// Values made one type, so that any of them may be the result. `None` takes the type of the others.
fn unify(args: Vec<Typed>) -> Result<Vec<Typed>, Refusal> {
    let mut common: Option<Type> = None;
    for arg in args.iter().filter(|arg| !arg.is_none()) {
        common = match (common, &arg.ty) {
            (None, ty) => Some(ty.clone()),
            (Some(a), b) => Some(wider(&a, b).ok_or_else(|| {
                let mixed = a.is_numeric() && b.is_numeric();
                let refusal = Refusal::operands(&args);
                if mixed { refusal.with_help(MIXED_DECIMAL) } else { refusal }
            })?),
        };
    }
    let Some(ty) = common else {
        return Ok(args);
    };
    let refusal = Refusal::operands(&args);
    args.into_iter().map(|arg| coerce(arg, &ty)).collect::<Option<Vec<_>>>().ok_or(refusal)
}

/// The type that values of both types have without loss, if there is one.
fn wider(a: &Type, b: &Type) -> Option<Type> {
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (Type::Int, Type::Float) | (Type::Float, Type::Int) => Some(Type::Float),
        (Type::Int, ty @ Type::Decimal { .. }) | (ty @ Type::Decimal { .. }, Type::Int) => Some(ty.clone()),
        (Type::Decimal { scale: a }, Type::Decimal { scale: b }) => Some(Type::Decimal { scale: *a.max(b) }),
        (Type::Str, ty @ Type::Enum { .. }) | (ty @ Type::Enum { .. }, Type::Str) => Some(ty.clone()),
        _ => None,
    }
}

/// The value as `ty`, where Python would take it for one: an int as a float or Decimal, a Decimal with more places, a
/// constant text as the enum it is a member of, `None` as anything.
pub(crate) fn coerce(arg: Typed, ty: &Type) -> Option<Typed> {
    if arg.ty == *ty {
        return Some(arg);
    }
    if arg.is_none() {
        return Some(Typed { ty: ty.clone(), ..arg });
    }
    match (&arg.ty, ty, &arg.node) {
        (Type::Int, Type::Float, _) => Some(to_float(arg)),
        (Type::Int, Type::Decimal { .. }, Node::Literal(_)) => Some(Typed { ty: ty.clone(), ..arg }),
        (Type::Decimal { scale: from }, Type::Decimal { scale: to }, Node::Literal(_)) if from < to => {
            Some(Typed { ty: ty.clone(), ..arg })
        }
        (Type::Int, Type::Decimal { scale: to }, _) => Some(more_places(arg, *to)),
        (Type::Decimal { scale: from }, Type::Decimal { scale: to }, _) if from < to => Some(more_places(arg, *to)),
        (Type::Str, Type::Enum { members, .. }, Node::Literal(Json::String(text))) if members.contains(text) => {
            Some(Typed { ty: ty.clone(), ..arg })
        }
        _ => None,
    }
}

/// `a + Decimal("0.00")`: the same value with more places.
fn more_places(arg: Typed, scale: u8) -> Typed {
    let ty = Type::Decimal { scale };
    let zero = Typed { node: Node::Literal(Json::from("0")), ty: ty.clone(), optional: false };
    let optional = arg.optional;
    call(Function::Add, vec![arg, zero], ty, Some(optional))
}

fn conditional(mut args: Vec<Typed>) -> Applied {
    if args[0].ty != Type::Bool || args[0].is_none() {
        let help = "the condition of `when` has to be a bool; compare first";
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
        (a, b) if is_text(a) && is_text(b) => Ok(call(Function::Contains, args, Type::Bool, None)),
        (Type::List { item, .. }, needle) if **item == *needle => Ok(call(Function::Contains, args, Type::Bool, None)),
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
    if !is_text(&args[0].ty) || args[0].is_none() || args[1..].iter().any(|bound| bound.ty != Type::Int) {
        return Err(Refusal::operands(&args));
    }
    let optional = args[0].optional;
    Ok(call(Function::Slice, args, Type::Str, Some(optional)))
}

/// Rounded to places, a Decimal has no more of them than that.
fn round(args: Vec<Typed>) -> Applied {
    let ty = match &args[..] {
        [number] if number.ty.is_numeric() => Type::Int,
        [number, places] if number.ty.is_numeric() && places.ty == Type::Int => {
            let places = match &places.node {
                Node::Literal(Json::Number(n)) => n.as_i64(),
                _ => None,
            };
            match (&number.ty, places) {
                (Type::Decimal { scale }, Some(places @ 0..)) => {
                    Type::Decimal { scale: u8::try_from(places).unwrap_or(*scale).min(*scale) }
                }
                (ty, _) => ty.clone(),
            }
        }
        _ => return Err(Refusal::operands(&args)),
    };
    Ok(call(Function::Round, args, ty, None))
}
