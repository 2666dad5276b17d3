//! Single values between the engine and Python, for calls of one row.
//!
//! Python gets the plain value of a type: enums as text, structs as dictionaries; `creta` makes the user's own classes of
//! them. On the way back nothing is guessed (rule S20): what does not fit is `None` here and an error cell there.

use creta_model::{Instant, Type, Value, format_decimal, parse_decimal};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};

/// Days from the first day of Python's calendar to 1970-01-01.
const EPOCH_ORDINAL: i32 = 719_163;

/// What is needed of Python's `datetime` and `decimal`, looked up once.
struct Classes {
    /// 1970-01-01T00:00:00Z
    epoch: Py<PyAny>,
    date: Py<PyAny>,
    datetime: Py<PyAny>,
    timedelta: Py<PyAny>,
    microsecond: Py<PyAny>,
    decimal: Py<PyAny>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

fn classes(py: Python<'_>) -> PyResult<&Classes> {
    CLASSES.get_or_try_init(py, || {
        let module = py.import("datetime")?;
        let (datetime, timedelta) = (module.getattr("datetime")?, module.getattr("timedelta")?);
        let utc = module.getattr("timezone")?.getattr("utc")?;
        Ok(Classes {
            epoch: datetime.call1((1970, 1, 1, 0, 0, 0, 0, utc))?.unbind(),
            date: module.getattr("date")?.unbind(),
            microsecond: timedelta.call1((0, 0, 1))?.unbind(),
            datetime: datetime.unbind(),
            timedelta: timedelta.unbind(),
            decimal: py.import("decimal")?.getattr("Decimal")?.unbind(),
        })
    })
}

/// The Python form of a value. Cost: well under a microsecond for numbers and texts, a few for times and decimals.
pub(crate) fn to_python<'py>(py: Python<'py>, ty: &Type, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match (value, ty) {
        (Value::Null, _) => py.None().into_bound(py),
        (Value::Bool(flag), _) => PyBool::new(py, *flag).to_owned().into_any(),
        (Value::Int(number), _) => number.into_pyobject(py)?.into_any(),
        (Value::Float(number), _) => PyFloat::new(py, *number).into_any(),
        (Value::Str(text), _) => PyString::new(py, text).into_any(),
        (Value::Bytes(bytes), _) => PyBytes::new(py, bytes).into_any(),
        (Value::Decimal(unscaled), Type::Decimal { scale }) => {
            classes(py)?.decimal.bind(py).call1((format_decimal(*unscaled, *scale),))?
        }
        (Value::Decimal(unscaled), _) => classes(py)?.decimal.bind(py).call1((unscaled.to_string(),))?,
        (Value::Date(days), _) => {
            classes(py)?.date.bind(py).call_method1("fromordinal", (days.saturating_add(EPOCH_ORDINAL),))?
        }
        (Value::Datetime(at), _) => {
            let classes = classes(py)?;
            classes.epoch.bind(py).add(classes.timedelta.bind(py).call1((0, 0, at.micros()))?)?
        }
        (Value::Timedelta(micros), _) => classes(py)?.timedelta.bind(py).call1((0, 0, *micros))?,
        (Value::List(items), ty) => {
            let item_ty = if let Type::List { item, .. } = ty { item } else { ty };
            let items = items.iter().map(|item| to_python(py, item_ty, item)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any()
        }
        (Value::Struct(values), Type::Struct { fields, .. }) => {
            let members = PyDict::new(py);
            for (field, value) in fields.iter().zip(values) {
                members.set_item(&field.name, to_python(py, &field.ty, value)?)?;
            }
            members.into_any()
        }
        (Value::Struct(_), _) => py.None().into_bound(py),
        (Value::Vector(floats), _) => PyList::new(py, floats.iter().map(|float| f64::from(*float)))?.into_any(),
    })
}

/// Reads what a resolver returned by the type it declares; `None` when it is something else.
pub(crate) fn from_python(ty: &Type, value: &Bound<'_, PyAny>) -> Option<Value> {
    let py = value.py();
    if value.is_none() {
        return Some(Value::Null);
    }
    match ty {
        Type::Bool => value.cast_exact::<PyBool>().ok().map(|flag| Value::Bool(flag.is_true())),
        Type::Int => value.cast_exact::<PyInt>().ok()?.extract().ok().map(Value::Int),
        Type::Float if value.is_exact_instance_of::<PyFloat>() || value.is_exact_instance_of::<PyInt>() => {
            value.extract().ok().map(Value::Float)
        }
        Type::Float => None,
        Type::Str => value.cast_exact::<PyString>().ok()?.extract().ok().map(Value::Str),
        Type::Enum { members, .. } => {
            let text: String = value.cast_exact::<PyString>().ok()?.extract().ok()?;
            members.contains(&text).then_some(Value::Str(text))
        }
        Type::Bytes => value.cast_exact::<PyBytes>().ok().map(|bytes| Value::Bytes(bytes.as_bytes().to_vec())),
        Type::Decimal { scale } => {
            value.is_instance(classes(py).ok()?.decimal.bind(py)).ok()?.then_some(())?;
            // Fixed-point form: `str` may write an exponent.
            let text: String = value.call_method1("__format__", ("f",)).ok()?.extract().ok()?;
            parse_decimal(&text, *scale).map(Value::Decimal)
        }
        Type::Date => {
            let classes = classes(py).ok()?;
            let is_date = value.is_instance(classes.date.bind(py)).ok()?;
            let is_datetime = value.is_instance(classes.datetime.bind(py)).ok()?;
            if !is_date || is_datetime {
                return None;
            }
            let ordinal: i32 = value.call_method0("toordinal").ok()?.extract().ok()?;
            Some(Value::Date(ordinal - EPOCH_ORDINAL))
        }
        Type::Datetime => {
            let classes = classes(py).ok()?;
            // Subtracting a naive datetime raises, which is what refuses it (rule S15).
            let since = value.sub(classes.epoch.bind(py)).ok()?;
            let micros: i64 = since.floor_div(classes.microsecond.bind(py)).ok()?.extract().ok()?;
            Instant::from_micros(micros).ok().map(Value::Datetime)
        }
        Type::Timedelta => {
            let classes = classes(py).ok()?;
            value.is_instance(classes.timedelta.bind(py)).ok()?.then_some(())?;
            value.floor_div(classes.microsecond.bind(py)).ok()?.extract().ok().map(Value::Timedelta)
        }
        Type::List { item, optional } => {
            let items =
                value.try_iter().ok()?.map(|found| from_python(item, &found.ok()?)).collect::<Option<Vec<_>>>()?;
            (*optional || !items.contains(&Value::Null)).then_some(Value::List(items))
        }
        Type::Struct { fields, .. } => {
            let members = value.cast::<PyDict>().ok()?;
            let member = |field: &creta_model::StructField| {
                let value = match members.get_item(&field.name).ok()? {
                    Some(found) => from_python(&field.ty, &found)?,
                    None => Value::Null,
                };
                (field.optional || value != Value::Null).then_some(value)
            };
            fields.iter().map(member).collect::<Option<Vec<_>>>().map(Value::Struct)
        }
        Type::Vector { size } => {
            let floats: Vec<f32> = value.extract().ok()?;
            (floats.len() == *size as usize).then_some(Value::Vector(floats))
        }
    }
}
