//! A plan as short text: one line a slot, one line a step.

use std::fmt::Write as _;

use creta_planner::{BoundExpr, KeyColumn, Plan, SlotId, Step};
use creta_registry::render_type;

fn slots(ids: &[SlotId]) -> String {
    ids.iter().map(|id| format!("#{}", id.0)).collect::<Vec<_>>().join(" ")
}

fn columns(columns: &[KeyColumn]) -> String {
    columns.iter().map(|column| format!("{}", column.name)).collect::<Vec<_>>().join(" ")
}

/// Slots are `#n`, columns of facts `$n`.
fn expr(bound: &BoundExpr, sign: char) -> String {
    match bound {
        BoundExpr::Column { index, .. } => format!("{sign}{index}"),
        BoundExpr::Literal { value, ty } => format!("{value}:{}", ty.python_name()),
        BoundExpr::Call { function, args, ty } => {
            let args: Vec<String> = args.iter().map(|arg| expr(arg, sign)).collect();
            format!("{function:?}({}):{}", args.join(", "), ty.python_name())
        }
    }
}

fn or_default(default: &Option<serde_json::Value>) -> String {
    default.as_ref().map_or_else(String::new, |value| format!(" else {value}"))
}

fn step(step: &Step) -> String {
    match step {
        Step::Lookup { entity, entity_name, key, key_slots, columns: found } => {
            let mut text = format!("lookup {entity_name}({entity}) by {} = {}", columns(key), slots(key_slots));
            for column in found {
                let age = column.max_age.map_or_else(String::new, |age| format!(" max_age {age}"));
                write!(text, "\n    #{} = {}{age}{}", column.slot.0, column.column.name, or_default(&column.default))
                    .expect("text");
            }
            text
        }
        Step::Windows { entity, entity_name, key, key_slots, columns: read, aggregations } => {
            let mut text = format!(
                "windows {entity_name}({entity}) by {} = {} over {}",
                columns(key),
                slots(key_slots),
                columns(read)
            );
            for one in aggregations {
                let value = one.value.as_ref().map_or_else(String::new, |value| expr(value, '$'));
                let filter =
                    one.filter.as_ref().map_or_else(String::new, |filter| format!(" where {}", expr(filter, '$')));
                let now = if one.include_now { " now" } else { "" };
                let (slot, aggregate) = (one.slot.0, one.aggregate);
                write!(
                    text,
                    "\n    #{slot} = {aggregate:?}({value}){filter} last {}{now}{}",
                    one.span,
                    or_default(&one.default)
                )
                .expect("text");
            }
            text
        }
        Step::Expression { expr: bound, slot, default } => {
            format!("expression #{} = {}{}", slot.0, expr(bound, '#'), or_default(default))
        }
        Step::Resolve { resolver, inputs, outputs } => {
            let inputs: Vec<String> = inputs
                .iter()
                .map(|input| {
                    let from = input.slot.map_or("now".to_owned(), |slot| format!("#{}", slot.0));
                    format!("{}={from}: {}", input.name, render_type(&input.ty, input.optional))
                })
                .collect();
            let outputs: Vec<String> =
                outputs.iter().map(|output| format!("#{}{}", output.slot.0, or_default(&output.default))).collect();
            format!("resolve {}({}) -> {}", resolver.name, inputs.join(", "), outputs.join(" "))
        }
    }
}

pub(crate) fn show(plan: &Plan) -> String {
    let mut text = String::new();
    for (number, slot) in plan.slots.iter().enumerate() {
        writeln!(text, "#{number} {}: {}", slot.path, render_type(&slot.ty, slot.optional)).expect("text");
    }
    for one in &plan.steps {
        writeln!(text, "{}", step(one)).expect("text");
    }
    writeln!(text, "answer {}", slots(&plan.outputs)).expect("text");
    text
}
