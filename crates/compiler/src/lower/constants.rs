//! Constants: literals, and what a resolver captured when it was exported.

use std::collections::BTreeMap;
use std::sync::Arc;

use ruff_python_ast::{Expr, ExprCall, ModModule, Number, Stmt, UnaryOp};

use crate::builtins::Builtin;
use crate::operators::{Unary, unary};
use crate::project::Project;
use crate::value::{StructValue, Table, Value};

/// The lines `name = value` that an export begins with.
pub(super) fn captured(exported: &ModModule) -> BTreeMap<String, Expr> {
    let mut found = BTreeMap::new();
    for statement in &exported.body {
        let Stmt::Assign(assign) = statement else { break };
        if let [target] = &assign.targets[..]
            && let Some(name) = dotted(target)
        {
            found.insert(name, (*assign.value).clone());
        }
    }
    found
}

/// `LIMIT`, or `features.risk.LIMIT` where other modules have another one.
fn dotted(target: &Expr) -> Option<String> {
    match target {
        Expr::Name(name) => Some(name.id.to_string()),
        Expr::Attribute(attribute) => Some(format!("{}.{}", dotted(&attribute.value)?, attribute.attr)),
        _ => None,
    }
}

/// A literal of an immutable type.
pub(crate) fn literal(expr: &Expr) -> Option<Value> {
    Some(match expr {
        Expr::NoneLiteral(_) => Value::None,
        Expr::BooleanLiteral(flag) => Value::Bool(flag.value),
        Expr::NumberLiteral(number) => match &number.value {
            Number::Int(int) => Value::Int(int.as_i64()?),
            Number::Float(float) => Value::Float(*float),
            Number::Complex { .. } => return None,
        },
        Expr::StringLiteral(text) => text_literal(text.value.to_str())?,
        Expr::UnaryOp(operation) if operation.op == UnaryOp::USub => {
            if let Expr::NumberLiteral(number) = &*operation.operand
                && let Number::Int(int) = &number.value
                && int.as_i64().is_none()
            {
                // The smallest int has a magnitude that no int has.
                return format!("-{int}").parse().ok().map(Value::Int);
            }
            unary(Unary::Neg, &literal(&operation.operand)?).ok()?
        }
        Expr::Tuple(tuple) => Value::Tuple(tuple.elts.iter().map(literal).collect::<Option<_>>()?),
        _ => return None,
    })
}

/// The parser puts a replacement character where a text has half of a surrogate pair; such texts stay in Python.
pub(super) fn text_literal(text: &str) -> Option<Value> {
    (!text.contains('\u{fffd}')).then(|| Value::text(text))
}

/// A captured constant as the export writes it; `None` for what is not compiled.
pub(super) fn constant(project: &Project, expr: &Expr) -> Option<Value> {
    if let Some(value) = literal(expr) {
        return Some(value);
    }
    Some(match expr {
        Expr::Name(name) if name.id.as_str() == "inf" => Value::Float(f64::INFINITY),
        Expr::Name(name) if name.id.as_str() == "nan" => Value::Float(f64::NAN),
        Expr::UnaryOp(operation) if operation.op == UnaryOp::USub => {
            unary(Unary::Neg, &constant(project, &operation.operand)?).ok()?
        }
        Expr::Tuple(tuple) => {
            Value::Tuple(tuple.elts.iter().map(|item| constant(project, item)).collect::<Option<_>>()?)
        }
        Expr::Attribute(member) => {
            let Expr::Name(class) = &*member.value else { return None };
            let class = project.enum_named(class.id.as_str())?;
            let at = class.members.iter().position(|(name, _)| name == member.attr.as_str())?;
            Value::Enum(class, at as u32)
        }
        Expr::Call(call) => called(project, call)?,
        _ => return None,
    })
}

fn called(project: &Project, call: &ExprCall) -> Option<Value> {
    let args = &call.arguments;
    if let Expr::Attribute(attribute) = &*call.func {
        let Expr::Name(module) = &*attribute.value else { return None };
        if module.id.as_str() != "datetime" {
            return None;
        }
        return of_time(attribute.attr.as_str(), call);
    }
    let Expr::Name(name) = &*call.func else { return None };
    match (name.id.as_str(), &args.args[..]) {
        ("frozenset", []) => Some(Value::Set(Table::default().into())),
        ("frozenset", [Expr::Set(set)]) => {
            let mut table = Table::default();
            for item in &set.elts {
                table.insert(constant(project, item)?, None).ok()?;
            }
            Some(Value::Set(table.into()))
        }
        ("MappingProxyType", [Expr::Dict(dict)]) => {
            let mut table = Table::default();
            for item in &dict.items {
                let key = constant(project, item.key.as_ref()?)?;
                table.insert(key, Some(constant(project, &item.value)?)).ok()?;
            }
            Some(Value::Dict(table.into()))
        }
        (class, []) => {
            let (class, _) = project.struct_named(class)?;
            let mut values = Vec::with_capacity(class.fields.len());
            for field in &class.fields {
                let given =
                    args.keywords.iter().find(|given| given.arg.as_ref().is_some_and(|arg| arg.as_str() == field));
                values.push(constant(project, &given?.value)?);
            }
            Some(Value::Struct(Arc::new(StructValue { class, values })))
        }
        _ => None,
    }
}

/// `datetime.date(2020, 1, 1)` and the like, as `repr` writes them; datetimes only in UTC.
fn of_time(class: &str, call: &ExprCall) -> Option<Value> {
    let (builtin, parameters) = Builtin::find_datetime(class)?;
    let mut values = vec![Value::Unbound; parameters.len()];
    for (place, arg) in values.iter_mut().zip(&call.arguments.args) {
        *place = literal(arg)?;
    }
    let mut in_utc = false;
    for keyword in &call.arguments.keywords {
        let name = keyword.arg.as_ref()?.as_str();
        if name == "tzinfo" {
            let Expr::Attribute(zone) = &keyword.value else { return None };
            in_utc = zone.attr.as_str() == "utc";
            continue;
        }
        let at = parameters.iter().position(|own| own.trim_end_matches('?') == name)?;
        values[at] = literal(&keyword.value)?;
    }
    if builtin == Builtin::Datetime && !in_utc {
        return None;
    }
    builtin.call(&values).ok()
}
