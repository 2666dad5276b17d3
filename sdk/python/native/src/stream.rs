//! Arrow tables in and out of Python without copying, by the PyCapsule interface of Arrow's C data format.

use std::ffi::CStr;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ffi_stream::{ArrowArrayStreamReader, FFI_ArrowArrayStream};
use creta_engine::create_parquet;
use parquet::errors::ParquetError;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

/// The name that Arrow's PyCapsule interface gives to capsules of streams.
const CAPSULE: &CStr = c"arrow_array_stream";

/// Takes all batches of an object with `__arrow_c_stream__`: pyarrow, polars, pandas and DuckDB tables have it.
#[allow(
    unsafe_code,
    reason = "a capsule holds a pointer; whose it is and how long it lives is the interface's contract"
)]
pub(crate) fn read_stream(table: &Bound<'_, PyAny>) -> PyResult<(SchemaRef, Vec<RecordBatch>)> {
    let capsule = table.call_method0("__arrow_c_stream__").map_err(|error| {
        if error.is_instance_of::<pyo3::exceptions::PyAttributeError>(table.py()) {
            PyTypeError::new_err("expected a table with `__arrow_c_stream__`, for example of pyarrow, polars or pandas")
        } else {
            error
        }
    })?;
    let capsule = capsule.cast::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(CAPSULE))?;
    // SAFETY: a capsule of this name holds a valid `ArrowArrayStream` by the interface's contract, and it is alive here.
    // The stream is moved out, which leaves the capsule a released one, so that nothing is released twice.
    let reader = unsafe { ArrowArrayStreamReader::from_raw(pointer.cast::<FFI_ArrowArrayStream>().as_ptr()) };
    let reader = reader.map_err(broken)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(broken)?;
    Ok((schema, batches))
}

/// Writes a table as one Parquet file and answers how many rows it had. A file that was there stays until the new one is whole.
#[pyfunction]
pub(crate) fn write_parquet(py: Python<'_>, table: &Bound<'_, PyAny>, path: PathBuf) -> PyResult<u64> {
    let (schema, batches) = read_stream(table)?;
    py.detach(|| create_parquet(&path, &schema, batches.into_iter().map(Ok::<_, Unwritten>))).map_err(|why| match why {
        Unwritten::Table(why) => PyValueError::new_err(format!("the table has no form as Parquet: {why}")),
        Unwritten::File(error) => error.into(),
    })
}

/// Why a table was not written.
enum Unwritten {
    Table(String),
    File(io::Error),
}

impl From<ParquetError> for Unwritten {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(error) => match error.downcast::<io::Error>() {
                Ok(error) => Self::File(*error),
                Err(error) => Self::Table(error.to_string()),
            },
            error => Self::Table(error.to_string()),
        }
    }
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

fn broken(error: ArrowError) -> PyErr {
    PyValueError::new_err(format!("the table could not be read: {error}"))
}

/// Batches on their way to Python. Can be read more than once: the batches are shared, not copied.
#[pyclass(frozen, module = "creta._native")]
pub(crate) struct ArrowStream {
    schema: SchemaRef,
    // Arrays of one batch are shared between readers by reference counts.
    batches: Mutex<Arc<[RecordBatch]>>,
}

impl ArrowStream {
    pub(crate) fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches: Mutex::new(batches.into()) }
    }
}

#[pymethods]
impl ArrowStream {
    /// A capsule with an Arrow C stream. `requested_schema` may be given by the interface and is not needed to be met.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let batches: Vec<_> = self.batches.lock().unwrap_or_else(PoisonError::into_inner).to_vec();
        let reader = RecordBatchIterator::new(batches.into_iter().map(Ok), Arc::clone(&self.schema));
        PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), CAPSULE)
    }
}
