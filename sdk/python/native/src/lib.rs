//! `creta._native`: the engine inside a Python process, and the command line.
//!
//! Requests and answers are the JSON that the server speaks; tables cross as Arrow streams. The engine runs without
//! holding the interpreter and attaches to it only while one of the project's resolvers runs.

mod belongings;
mod convert;
mod datasets;
mod host;
mod local;
mod stream;

use creta_model::Problem;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    _native,
    NativeError,
    PyException,
    "What the engine refused; its one argument is a list of problems as JSON."
);

/// The exception for these problems.
pub(crate) fn native_error(problems: &[Problem]) -> PyErr {
    NativeError::new_err(serde_json::to_string(problems).expect("problems are texts"))
}

/// Runs the command line `creta` with these arguments, the program's name first, and returns its exit code.
#[pyfunction]
#[pyo3(name = "main")]
fn command_line(py: Python<'_>, arguments: Vec<String>) -> i32 {
    py.detach(|| creta_cli::main(arguments))
}

/// Proof that the holder of a session's key makes a request (RFC 9449): the value of the header `dpop`.
#[pyfunction]
#[pyo3(signature = (key, method, url, token))]
fn prove_possession(key: &str, method: &str, url: &str, token: Option<&str>) -> PyResult<String> {
    let proof = creta_cli::prove_possession(key, method, url, token);
    proof.ok_or_else(|| {
        let problem = Problem::new("profile/invalid-session", "the key of this session cannot be read");
        native_error(&[problem.with_help("sign in again: `creta login`")])
    })
}

/// A new key as [`prove_possession`] takes it: for a program whose tokens have to be bound to one.
#[pyfunction]
fn make_key() -> String {
    creta_cli::make_key()
}

/// Refuses a path at which something of a server lies: a data folder, a root key, a credential, profiles.
#[pyfunction]
fn refuse_belongings(path: std::path::PathBuf) -> PyResult<()> {
    belongings::refuse_belongings(&path).map_err(|problem| native_error(&[problem]))
}

/// The extension module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("NativeError", module.py().get_type::<NativeError>())?;
    module.add_class::<local::Local>()?;
    module.add_class::<stream::ArrowStream>()?;
    module.add_function(wrap_pyfunction!(command_line, module)?)?;
    module.add_function(wrap_pyfunction!(stream::write_parquet, module)?)?;
    module.add_function(wrap_pyfunction!(refuse_belongings, module)?)?;
    module.add_function(wrap_pyfunction!(make_key, module)?)?;
    module.add_function(wrap_pyfunction!(prove_possession, module)?)
}
