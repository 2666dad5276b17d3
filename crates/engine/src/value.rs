//! Between Arrow columns and single dynamically typed values: literals, defaults, one-row calls and the reference.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DurationMicrosecondArray,
    FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Field, Float32Type, Float64Type, Int64Type,
    TimestampMicrosecondType,
};
use creta_model::{Instant, Type, TypeMismatch, Value};

/// The value in one row of a column of type `ty`; null reads as [`Value::Null`].
///
/// The column must have the Arrow form of `ty` (see [`Type::to_arrow`]), which every door of the engine checks.
pub fn read_value(array: &dyn Array, ty: &Type, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match ty {
        Type::Bool => Value::Bool(array.as_boolean().value(row)),
        Type::Int => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        Type::Float => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        Type::Str | Type::Enum { .. } => Value::Str(array.as_string::<i32>().value(row).to_owned()),
        Type::Bytes => Value::Bytes(array.as_binary::<i32>().value(row).to_owned()),
        Type::Decimal { .. } => Value::Decimal(array.as_primitive::<Decimal128Type>().value(row)),
        Type::Date => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        Type::Datetime => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let inside = micros.clamp(Instant::MIN.micros(), Instant::MAX.micros());
            Value::Datetime(Instant::from_micros(inside).expect("clamped into the range"))
        }
        Type::Timedelta => Value::Timedelta(array.as_primitive::<DurationMicrosecondType>().value(row)),
        Type::List { item, .. } => {
            let items = array.as_list::<i32>().value(row);
            Value::List((0..items.len()).map(|index| read_value(&items, item, index)).collect())
        }
        Type::Struct { fields, .. } => {
            let members = array.as_struct().columns().iter().zip(fields);
            Value::Struct(members.map(|(column, field)| read_value(column, &field.ty, row)).collect())
        }
        Type::Vector { .. } => {
            let items = array.as_fixed_size_list().value(row);
            Value::Vector(items.as_primitive::<Float32Type>().values().to_vec())
        }
    }
}

/// A column of type `ty` with one row per value. A value of another type is a mismatch; it names kinds, not values.
pub fn build_array(ty: &Type, values: &[Value]) -> Result<ArrayRef, TypeMismatch> {
    macro_rules! column {
        ($array:ty, $variant:ident) => {
            Arc::new(
                collect(ty, values, |value| if let Value::$variant(v) = value { Some(*v) } else { None })?
                    .collect::<$array>(),
            )
        };
    }
    Ok(match ty {
        Type::Bool => column!(BooleanArray, Bool),
        Type::Int => column!(Int64Array, Int),
        Type::Float => column!(Float64Array, Float),
        Type::Date => column!(Date32Array, Date),
        Type::Timedelta => column!(DurationMicrosecondArray, Timedelta),
        Type::Str | Type::Enum { .. } => Arc::new(
            collect(ty, values, |value| if let Value::Str(text) = value { Some(text) } else { None })?
                .collect::<StringArray>(),
        ),
        Type::Bytes => Arc::new(
            collect(ty, values, |value| if let Value::Bytes(bytes) = value { Some(bytes) } else { None })?
                .collect::<BinaryArray>(),
        ),
        Type::Decimal { scale } => {
            let digits = collect(ty, values, |value| if let Value::Decimal(d) = value { Some(*d) } else { None })?;
            Arc::new(
                digits
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(38, *scale as i8)
                    .map_err(|_| mismatch(ty, "a decimal with too large a scale"))?,
            )
        }
        Type::Datetime => {
            let at =
                collect(ty, values, |value| if let Value::Datetime(at) = value { Some(at.micros()) } else { None })?;
            Arc::new(at.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        Type::List { item, .. } => list(ty, item, values)?,
        Type::Struct { fields, .. } => {
            let mut columns = Vec::with_capacity(fields.len());
            for (index, field) in fields.iter().enumerate() {
                let members: Vec<Value> = collect(ty, values, |value| match value {
                    Value::Struct(members) => members.get(index).cloned(),
                    _ => None,
                })?
                .map(|member| member.unwrap_or(Value::Null))
                .collect();
                columns.push(build_array(&field.ty, &members)?);
            }
            let DataType::Struct(arrow_fields) = ty.to_arrow() else {
                unreachable!("a struct type is an Arrow struct")
            };
            let nulls = nulls(values);
            let array = StructArray::try_new_with_length(arrow_fields, columns, Some(nulls), values.len());
            Arc::new(array.map_err(|_| mismatch(ty, "members of other lengths"))?)
        }
        Type::Vector { size } => {
            let mut floats = Vec::with_capacity(values.len() * *size as usize);
            for vector in collect(ty, values, |value| match value {
                Value::Vector(vector) if vector.len() == *size as usize => Some(vector),
                _ => None,
            })? {
                match vector {
                    Some(vector) => floats.extend_from_slice(vector),
                    None => floats.resize(floats.len() + *size as usize, 0.0),
                }
            }
            let field = Arc::new(Field::new("item", DataType::Float32, false));
            let array = FixedSizeListArray::try_new_with_length(
                field,
                *size as i32,
                Arc::new(Float32Array::from(floats)),
                Some(nulls(values)),
                values.len(),
            );
            Arc::new(array.map_err(|_| mismatch(ty, "a vector of another size"))?)
        }
    })
}

/// `rows` nulls of type `ty`.
pub fn null_array(ty: &Type, rows: usize) -> ArrayRef {
    arrow::array::new_null_array(&ty.to_arrow(), rows)
}

/// Whether a column has the Arrow form of `ty`.
pub fn is_of_type(array: &dyn Array, ty: &Type) -> bool {
    array.data_type().equals_datatype(&ty.to_arrow())
}

fn list(ty: &Type, item: &Type, values: &[Value]) -> Result<ArrayRef, TypeMismatch> {
    let mut items = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    for list in collect(ty, values, |value| if let Value::List(items) = value { Some(items) } else { None })? {
        lengths.push(list.map_or(0, Vec::len));
        items.extend(list.into_iter().flatten().cloned());
    }
    let field = Arc::new(Field::new("item", item.to_arrow(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let array = ListArray::try_new(field, offsets, build_array(item, &items)?, Some(nulls(values)));
    Ok(Arc::new(array.map_err(|_| mismatch(ty, "a list with items of another type"))?))
}

fn nulls(values: &[Value]) -> NullBuffer {
    values.iter().map(|value| *value != Value::Null).collect()
}

fn mismatch(ty: &Type, got: &str) -> TypeMismatch {
    TypeMismatch { expected: ty.python_name(), got: got.to_owned() }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Int(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Str(_) => "a string",
        Value::Bytes(_) => "bytes",
        Value::Decimal(_) => "a decimal",
        Value::Date(_) => "a date",
        Value::Datetime(_) => "a datetime",
        Value::Timedelta(_) => "a timedelta",
        Value::List(_) => "a list",
        Value::Struct(_) => "a struct",
        Value::Vector(_) => "a vector of another size",
    }
}

/// Each value as `read` sees it, null as `None`; the first that `read` does not know is the mismatch.
fn collect<'a, T: 'a>(
    ty: &Type,
    values: &'a [Value],
    read: impl Fn(&'a Value) -> Option<T> + 'a,
) -> Result<impl Iterator<Item = Option<T>> + 'a, TypeMismatch> {
    if let Some(wrong) = values.iter().find(|value| **value != Value::Null && read(value).is_none()) {
        return Err(mismatch(ty, kind(wrong)));
    }
    Ok(values.iter().map(read))
}
