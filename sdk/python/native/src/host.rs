//! Calls resolvers in the interpreter that embeds the engine.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use creta_engine::{Argument, ResolverAnswer, ResolverHost};
use creta_model::{CellError, Type, Value};
use creta_planner::ResolverCall;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::convert::{from_python, to_python};
use crate::stream::{ArrowStream, read_stream};

/// The two functions of `creta` that know the project's modules.
///
/// `resolver_call(name, inputs)` takes a table with one column per parameter and returns a pair: a table with one column
/// per output, and a dictionary from row to `(code, message)` for rows that raised. `scalar_call(name, arguments)` takes
/// a tuple of plain values and returns a tuple of them, or raises. Both attach to the interpreter for as long as they run.
pub(crate) struct PythonHost {
    resolver_call: Py<PyAny>,
    scalar_call: Py<PyAny>,
}

impl PythonHost {
    pub(crate) fn new(resolver_call: Py<PyAny>, scalar_call: Py<PyAny>) -> Self {
        Self { resolver_call, scalar_call }
    }
}

impl ResolverHost for PythonHost {
    fn call(&self, call: &ResolverCall, inputs: &RecordBatch) -> Result<ResolverAnswer, CellError> {
        Python::attach(|py| {
            let table = ArrowStream::new(inputs.schema(), vec![inputs.clone()]);
            let answer = self.resolver_call.bind(py).call1((call.name.as_str(), table));
            let answer = answer.map_err(|error| raised(py, call, &error))?;
            let (outputs, errors): (Bound<'_, PyAny>, BTreeMap<usize, (String, String)>) =
                answer.extract().map_err(|_| wrong_type(call))?;
            let (schema, batches) = read_stream(&outputs).map_err(|_| wrong_type(call))?;
            let outputs = arrow::compute::concat_batches(&schema, &batches).map_err(|_| wrong_type(call))?;
            let errors = errors.into_iter().map(|(row, (code, message))| (row, CellError { code, message })).collect();
            Ok(ResolverAnswer { outputs: outputs.columns().to_vec(), errors })
        })
    }

    fn call_one(
        &self,
        call: &ResolverCall,
        arguments: &[Argument<'_>],
        outputs: &[&Type],
    ) -> Result<Vec<Value>, CellError> {
        Python::attach(|py| {
            let arguments = arguments
                .iter()
                .map(|argument| to_python(py, argument.ty, &argument.value))
                .collect::<PyResult<Vec<_>>>()
                .and_then(|values| PyTuple::new(py, values))
                .map_err(|error| raised(py, call, &error))?;
            let name = PyString::new(py, call.name.as_str());
            let answer =
                self.scalar_call.bind(py).call1((name, arguments)).map_err(|error| raised(py, call, &error))?;
            let answer = answer.cast::<PyTuple>().map_err(|_| wrong_type(call))?;
            if answer.len() != outputs.len() {
                return Err(wrong_type(call));
            }
            let values = outputs.iter().zip(answer.iter()).map(|(ty, value)| from_python(ty, &value));
            values.collect::<Option<_>>().ok_or_else(|| wrong_type(call))
        })
    }
}

/// What a raising call leaves in its cells: the kind of the exception, never its message, which may hold values.
/// An exception of `creta` itself says its own code and message, which hold none.
fn raised(py: Python<'_>, call: &ResolverCall, error: &PyErr) -> CellError {
    let value = error.value(py);
    let own = |name: &str| value.getattr(name).ok()?.extract::<String>().ok();
    let is_own = py
        .import("creta._errors")
        .and_then(|module| value.is_instance(&module.getattr("CretaError")?))
        .unwrap_or(false);
    if is_own && let (Some(code), Some(message)) = (own("code"), own("message")) {
        return CellError { code, message };
    }
    let kind = error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| format!("`{name}`"));
    CellError { code: "resolver/raised".into(), message: format!("resolver `{}` raised {kind}", call.name) }
}

fn wrong_type(call: &ResolverCall) -> CellError {
    CellError {
        code: "resolver/wrong-type".into(),
        message: format!("resolver `{}` returned values of other types than it declares", call.name),
    }
}
