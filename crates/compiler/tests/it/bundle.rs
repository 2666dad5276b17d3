//! A bundle's resolvers as the engine would call them: stored values and columns in, the same out.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Float64Array, Int64Array};
use arrow::datatypes::Float64Type;
use creta_compiler::{CompiledResolver, NoValue, compile_bundle};
use creta_model::{Bundle, CellError, Value as Stored};
use serde_json::json;

const SOURCE: &str = "def ratio(n, of):\n    if n < 0:\n        raise ValueError(n)\n    return n * n / of\n\n\ndef text(n, of):\n    return str(n)\n";

fn resolvers() -> Vec<CompiledResolver> {
    let here = json!({ "file": "features.py", "line": 1 });
    let feature = |name: &str, ty: &str, role: &str| json!({ "name": name, "type": { "kind": ty }, "role": role, "location": here });
    let resolver = |name: &str| {
        json!({
            "name": name, "module": "features", "mode": "scalar", "code": SOURCE, "location": here,
            "inputs": [{ "name": "n", "from": { "path": "E.n" } }, { "name": "of", "from": { "path": "E.of" } }],
            "outputs": [format!("E.{name}")],
        })
    };
    let features = [
        feature("id", "int", "key"),
        feature("n", "int", "value"),
        feature("of", "float", "value"),
        feature("ratio", "float", "value"),
        feature("text", "float", "value"),
    ];
    let bundle: Bundle = serde_json::from_value(json!({
        "format": "creta.bundle/1",
        "modules": { "features.py": SOURCE },
        "lock": { "python": "3.11" },
        "graph": {
            "format": "creta.graph/1", "project": "p", "sources": [], "queries": [],
            "entities": [{ "name": "E", "location": here, "relations": [], "features": features }],
            "resolvers": [resolver("ratio"), resolver("text")],
        },
    }))
    .expect("a bundle");
    compile_bundle(&bundle).into_iter().map(|(_, compiled)| compiled.expect("it compiles")).collect()
}

fn error(code: &str, message: &str) -> NoValue {
    NoValue::Error(CellError { code: code.into(), message: message.into() })
}

#[test]
fn one_row_has_a_value_an_error_or_is_asked_of_python() {
    let resolvers = resolvers();
    let call = |n: i64, of: f64| resolvers[0].call_one(&[&Stored::Int(n), &Stored::Float(of)]);
    assert_eq!(call(3, 2.0), Ok(vec![Stored::Float(4.5)]));
    assert_eq!(call(-1, 2.0), Err(error("resolver/raised", "resolver `ratio` raised `ValueError` at features.py:3")));
    assert_eq!(
        call(3, 0.0),
        Err(error("resolver/raised", "resolver `ratio` raised `ZeroDivisionError` at features.py:4"))
    );
    assert_eq!(call(i64::MAX, 2.0), Err(NoValue::AskPython));
    let wrong = "resolver `text` returned values of other types than it declares: expected float, got a str";
    let text = resolvers[1].call_one(&[&Stored::Int(3), &Stored::Float(2.0)]);
    assert_eq!(text, Err(error("resolver/wrong-type", wrong)));
}

#[test]
fn columns_have_the_same_answers() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![3, -1, i64::MAX, 4])),
        Arc::new(Float64Array::from(vec![2.0, 2.0, 2.0, 8.0])),
    ];
    let build = |_: &creta_model::Type, values: &[Stored]| {
        let floats = values.iter().map(|value| if let Stored::Float(float) = value { Some(*float) } else { None });
        Some(Arc::new(floats.collect::<Float64Array>()) as ArrayRef)
    };
    let batch = resolvers()[0].call_rows(&columns, 4, &build).expect("two parameters");
    let floats = batch.outputs[0].as_primitive::<Float64Type>();
    assert_eq!((floats.len(), floats.value(0), floats.value(3)), (4, 4.5, 2.0));
    assert_eq!(batch.errors.keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(batch.asked, [2]);
}
