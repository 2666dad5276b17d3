//! Types and values as the tests write them.

use std::collections::BTreeMap;

use creta_compiler::{Program, Project, Refusal, ResolverSource, Shape, Value};
use creta_model::{ResolverMode, StructField, Type};

/// `int`, `list float`, `Sky` for the enum of the tests, `Point` for their dataclass.
pub(crate) fn parse_type(text: &str) -> Type {
    if let Some(item) = text.strip_prefix("list ") {
        let (item, optional) = parse_optional(item);
        return Type::List { item: Box::new(item), optional };
    }
    match text {
        "Sky" => Type::Enum { name: "Sky".into(), members: vec!["fine".into(), "rough".into()] },
        "Point" => {
            let field = |name: &str| StructField { name: name.into(), ty: Type::Float, optional: false };
            Type::Struct { name: "Point".into(), fields: vec![field("x"), field("y")] }
        }
        other => serde_json::from_value(serde_json::json!({ "kind": other }))
            .unwrap_or_else(|_| panic!("`{other}` is no type")),
    }
}

/// A type that may end in `?`.
pub(crate) fn parse_optional(text: &str) -> (Type, bool) {
    match text.strip_suffix('?') {
        Some(inner) => (parse_type(inner), true),
        None => (parse_type(text), false),
    }
}

/// Compiles the function `f` of one module.
pub(crate) fn compile(text: &str, inputs: &[(Type, bool)]) -> Result<(Program, Vec<Shape>), Refusal> {
    let project = Project::new(&BTreeMap::from([("features.py".to_owned(), text.to_owned())]));
    let shapes = inputs.iter().map(|(ty, _)| Shape::of(&project, ty)).collect();
    let source = ResolverSource {
        name: "f",
        module: "features",
        mode: ResolverMode::Scalar,
        is_async: false,
        code: &captured(text),
        inputs: inputs.to_vec(),
    };
    project.compile(&source).map(|program| (program, shapes))
}

/// The module as an export would write it: constants first. What is no constant is left out by the compiler itself.
fn captured(text: &str) -> String {
    let is_constant = |line: &&str| {
        line.split_once(" = ").is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    let constants = text.lines().filter(is_constant);
    let rest = text.lines().filter(|line| !is_constant(line));
    constants.chain(rest).collect::<Vec<_>>().join("\n")
}

/// A value that no two different values share: floats by their bits.
pub(crate) fn exact(value: &Value) -> serde_json::Value {
    use serde_json::json;
    let items = |items: &[Value]| items.iter().map(exact).collect::<Vec<_>>();
    match value {
        Value::None | Value::Unbound => json!(["none"]),
        Value::Bool(flag) => json!(["bool", flag]),
        Value::Int(int) => json!(["int", int.to_string()]),
        Value::Float(float) if float.is_nan() => json!(["float", "nan"]),
        Value::Float(float) => json!(["float", format!("{:016x}", float.to_bits())]),
        Value::Str(text) => json!(["str", &**text]),
        Value::Date(days) => json!(["date", days]),
        Value::Datetime(micros) => json!(["datetime", micros.to_string()]),
        Value::Timedelta(micros) => json!(["timedelta", micros.to_string()]),
        Value::Enum(class, at) => json!(["enum", class.members[*at as usize].1]),
        Value::List(list) => json!(["list", items(list)]),
        Value::Tuple(list) => json!(["tuple", items(list)]),
        Value::Struct(instance) => json!(["struct", items(&instance.values)]),
        Value::Set(_) => json!(["set"]),
        Value::Dict(_) => json!(["dict"]),
    }
}
