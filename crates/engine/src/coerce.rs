//! The door for columns from outside: what fits a feature's type, and how it is brought into its Arrow type (rule S20).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, ListArray, PrimitiveArray, StructArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationNanosecondType, Field, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow::error::ArrowError;
use chrono::{Offset, TimeZone};
use chrono_tz::Tz;
use creta_model::{Instant, Problem, Type};

/// A column in its feature's Arrow type, and how many of its times were finer than a microsecond and floored (rule S17).
#[derive(Debug)]
pub struct Coerced {
    /// The values.
    pub array: ArrayRef,
    /// Rows whose time lost digits.
    pub floored: u64,
}

const DAY_MILLIS: i64 = 86_400_000;

const YEARS_HELP: &str = "check the unit of the column: seconds read as milliseconds end up far away";

/// Brings `array` into the Arrow type of `ty`, or says why it does not fit.
///
/// Widths are unified (any integer for `int`, any float or an exact integer for `float`, any text layout for `str`);
/// nothing is parsed from text and nothing is rounded but times, which are floored to microseconds. `what` names the
/// column in the message; `zone` is the IANA zone of naive datetimes (rule S15). Cost: one pass.
pub fn coerce(what: &str, ty: &Type, array: &ArrayRef, zone: Option<&str>) -> Result<Coerced, Problem> {
    let wanted = ty.to_arrow();
    let plain = |array| Ok(Coerced { array, floored: 0 });
    let given = array.data_type();
    if *given == DataType::Null {
        return plain(new_null_array(&wanted, array.len()));
    }
    let dense = match given {
        DataType::Dictionary(_, values) => Some(values.as_ref()),
        DataType::RunEndEncoded(_, values) => Some(values.data_type()),
        _ => None,
    };
    if let Some(values) = dense {
        return coerce(what, ty, &cast(what, ty, array, values)?, zone);
    }
    match (ty, given) {
        (Type::Datetime, DataType::Timestamp(_, has_zone)) => instants(what, array, has_zone.is_some(), zone),
        (Type::Enum { name, members }, _) if is_text(given) => {
            let array = cast(what, ty, array, &wanted)?;
            let texts = array.as_string::<i32>();
            let stranger =
                (0..texts.len()).find(|row| texts.is_valid(*row) && !members.iter().any(|m| m == texts.value(*row)));
            match stranger {
                None => plain(array),
                Some(row) => Err(Problem::new(
                    "value/not-a-member",
                    format!("{what} holds a text in row {row} that is no member of `{name}`"),
                )
                .with_help(format!(
                    "members are {}",
                    members.iter().map(|m| format!("`{m}`")).collect::<Vec<_>>().join(", ")
                ))),
            }
        }
        _ if fits(ty, given) => convert(what, ty, array),
        _ => Err(mismatch(what, ty, given)),
    }
}

/// Brings what fits into the Arrow type of `ty`, items and members by the same rules as whole values. Whether values within
/// values lie in the range of their types is for [`violations`](crate::resolve::violations) to say, which knows the row.
fn convert(what: &str, ty: &Type, array: &ArrayRef) -> Result<Coerced, Problem> {
    let plain = |array| Ok(Coerced { array, floored: 0 });
    match (ty, array.data_type()) {
        (_, DataType::Null) => plain(new_null_array(&ty.to_arrow(), array.len())),
        (_, given) if *given == ty.to_arrow() => plain(Arc::clone(array)),
        (Type::Datetime, DataType::Timestamp(..)) => {
            let (micros, floored) = to_micros(what, array)?;
            let micros = micros.reinterpret_cast::<TimestampMicrosecondType>().with_timezone("UTC");
            Ok(Coerced { array: Arc::new(micros), floored })
        }
        (Type::Timedelta, DataType::Duration(TimeUnit::Nanosecond)) => {
            let (micros, floored) = floor_nanos(array.as_primitive::<DurationNanosecondType>());
            Ok(Coerced { array: Arc::new(micros.reinterpret_cast::<DurationMicrosecondType>()), floored })
        }
        (Type::Date, DataType::Date64) => {
            let millis = array.as_primitive::<Date64Type>();
            let days = millis.try_unary::<_, Date32Type, ArrowError>(|ms| {
                i32::try_from(ms.div_euclid(DAY_MILLIS)).map_err(|_| ArrowError::CastError(String::new()))
            });
            plain(Arc::new(days.map_err(|_| inexact(what, ty))?))
        }
        (Type::List { item, .. }, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)) => {
            lists(what, ty, item, array)
        }
        (Type::Struct { fields, .. }, DataType::Struct(_)) => {
            let given = array.as_struct();
            let members = fields.iter().zip(given.columns()).map(|(field, member)| convert(what, &field.ty, member));
            let members = members.collect::<Result<Vec<_>, _>>()?;
            let floored = members.iter().map(|member| member.floored).sum();
            let DataType::Struct(wanted) = ty.to_arrow() else { unreachable!("a struct's Arrow type is a struct") };
            let members = members.into_iter().map(|member| member.array).collect();
            let array = StructArray::try_new_with_length(wanted, members, given.nulls().cloned(), given.len());
            Ok(Coerced { array: Arc::new(array.map_err(|_| inexact(what, ty))?), floored })
        }
        _ => plain(cast(what, ty, array, &ty.to_arrow())?),
    }
}

fn lists(what: &str, ty: &Type, item: &Type, array: &ArrayRef) -> Result<Coerced, Problem> {
    let items = match array.data_type() {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            Arc::new(Field::new("item", field.data_type().clone(), true))
        }
        _ => unreachable!("only lists come here"),
    };
    let given = cast(what, ty, array, &DataType::List(items))?;
    let given = given.as_list::<i32>();
    // Of a slice only its own items.
    let (first, last) = (given.value_offsets()[0], given.value_offsets()[given.len()]);
    let of_slice = given.values().slice(first as usize, (last - first) as usize);
    let converted = convert(what, item, &of_slice)?;
    let offsets = OffsetBuffer::new(given.value_offsets().iter().map(|at| at - first).collect());
    let DataType::List(wanted) = ty.to_arrow() else { unreachable!("a list's Arrow type is a list") };
    let array = ListArray::new(wanted, offsets, converted.array, given.nulls().cloned());
    Ok(Coerced { array: Arc::new(array), floored: converted.floored })
}

fn is_text(given: &DataType) -> bool {
    matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn fits(ty: &Type, given: &DataType) -> bool {
    match ty {
        Type::Bool => *given == DataType::Boolean,
        Type::Int => given.is_integer(),
        Type::Float => given.is_floating() || given.is_integer(),
        Type::Str => is_text(given),
        Type::Bytes => matches!(
            given,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        ),
        Type::Decimal { scale } => match given {
            DataType::Decimal32(_, s)
            | DataType::Decimal64(_, s)
            | DataType::Decimal128(_, s)
            | DataType::Decimal256(_, s) => i16::from(*s) <= i16::from(*scale),
            other => other.is_integer(),
        },
        Type::Date => matches!(given, DataType::Date32 | DataType::Date64),
        Type::Timedelta => matches!(given, DataType::Duration(_)),
        Type::List { item, .. } => match given {
            DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => {
                f.data_type() == &DataType::Null || fits_nested(item, f.data_type())
            }
            _ => false,
        },
        Type::Vector { size } => match given {
            DataType::FixedSizeList(f, n) => *n == *size as i32 && f.data_type().is_floating(),
            DataType::List(f) | DataType::LargeList(f) => f.data_type().is_floating(),
            _ => false,
        },
        Type::Struct { fields, .. } => match given {
            DataType::Struct(given) => {
                given.len() == fields.len()
                    && fields.iter().zip(given).all(|(f, g)| &f.name == g.name() && fits_nested(&f.ty, g.data_type()))
            }
            _ => false,
        },
        Type::Datetime | Type::Enum { .. } => false,
    }
}

fn fits_nested(ty: &Type, given: &DataType) -> bool {
    match (ty, given) {
        (Type::Datetime, DataType::Timestamp(_, zone)) => zone.is_some(),
        (Type::Enum { .. }, given) => is_text(given),
        _ => fits(ty, given),
    }
}

fn cast(what: &str, ty: &Type, array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Problem> {
    if array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    let out = cast_with_options(array, wanted, &CastOptions { safe: false, ..CastOptions::default() })
        .map_err(|_| inexact(what, ty))?;
    // Beyond 2^53 an integer is not always a float; silently moving it would break equality.
    if *wanted == DataType::Float64 && array.data_type().is_integer() {
        let whole = cast_with_options(array, &DataType::Int64, &CastOptions { safe: false, ..CastOptions::default() });
        let exact = whole
            .is_ok_and(|whole| whole.as_primitive::<Int64Type>().iter().flatten().all(|i| i.unsigned_abs() <= 1 << 53));
        if !exact {
            return Err(Problem::new(
                "value/out-of-range",
                format!("{what} holds an integer beyond 2^53 that `float` cannot hold exactly"),
            )
            .with_help("declare the feature `int`, or bring floats if digits may be lost"));
        }
    }
    Ok(out)
}

fn inexact(what: &str, ty: &Type) -> Problem {
    Problem::new("value/out-of-range", format!("{what} holds a value that `{}` cannot hold exactly", ty.python_name()))
        .with_help("convert the column so that every value fits, or change the feature's type")
}

fn mismatch(what: &str, ty: &Type, given: &DataType) -> Problem {
    let problem = Problem::new(
        "value/wrong-type",
        format!("{what} should be `{}`, but holds `{}`", ty.python_name(), arrow_words(given)),
    );
    match (ty, given) {
        (Type::Int, DataType::Float64 | DataType::Float32) => problem.with_help(
            "pandas turns integers with gaps into floats; use its `Int64` type, polars or pyarrow, or declare the feature `float`",
        ),
        (Type::Datetime, given) if is_text(given) => {
            problem.with_help("times are not read from text; convert the column to timestamps with a time zone first")
        }
        _ => problem.with_help("convert the column, or change the feature's type"),
    }
}

/// A type of Arrow as a Python developer says it.
pub(crate) fn arrow_words(given: &DataType) -> String {
    match given {
        given if given.is_integer() => "int".into(),
        given if given.is_floating() => "float".into(),
        given if is_text(given) => "str".into(),
        DataType::Boolean => "bool".into(),
        DataType::Timestamp(_, None) => "datetime without a time zone".into(),
        DataType::Timestamp(_, Some(_)) => "datetime".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Duration(_) => "timedelta".into(),
        other => other.to_string(),
    }
}

/// Instants of any unit as UTC microseconds, floored (rule S17) and in range. A column without a zone needs `zone`
/// (rule S15); local times that do not exist or exist twice are refused.
fn instants(what: &str, array: &ArrayRef, has_zone: bool, zone: Option<&str>) -> Result<Coerced, Problem> {
    let zone = match (has_zone, zone) {
        (true, _) => None,
        (false, Some(zone)) => Some(zone.parse::<Tz>().map_err(|_| {
            Problem::new("time/unknown-zone", format!("`{zone}` is not an IANA time zone"))
                .with_help("use a name such as `Europe/Paris` or `UTC`")
        })?),
        (false, None) => {
            return Err(Problem::new("time/naive", format!("{what} holds times without a time zone"))
                .with_help("convert them to UTC, or say which zone they are in: `zone=\"America/New_York\"`"));
        }
    };
    let (micros, floored) = to_micros(what, array)?;
    let out_of_range = |row: usize| {
        Problem::new("time/out-of-range", format!("{what} holds a time in row {row} outside the years 0001 to 9999"))
            .with_help(YEARS_HELP)
    };
    let mut values = Vec::with_capacity(micros.len());
    for row in 0..micros.len() {
        if micros.is_null(row) {
            values.push(None);
            continue;
        }
        let local = micros.value(row);
        let utc = match zone {
            None => local,
            Some(zone) => to_utc(zone, local).ok_or_else(|| {
                Problem::new(
                    "time/ambiguous",
                    format!("{what} holds a local time in row {row} that does not exist or exists twice in `{zone}`"),
                )
                .with_help("clocks change there; convert the column to UTC where it is made")
            })?,
        };
        values.push(Some(Instant::from_micros(utc).map_err(|_| out_of_range(row))?.micros()));
    }
    let array = values.into_iter().collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    Ok(Coerced { array: Arc::new(array), floored })
}

fn to_micros(what: &str, array: &ArrayRef) -> Result<(Int64Array, u64), Problem> {
    let DataType::Timestamp(unit, _) = array.data_type() else {
        unreachable!("only timestamp columns come here");
    };
    if *unit == TimeUnit::Nanosecond {
        return Ok(floor_nanos(array.as_primitive::<TimestampNanosecondType>()));
    }
    let wanted = DataType::Timestamp(TimeUnit::Microsecond, None);
    let naive =
        cast_with_options(&cast_zone_away(array), &wanted, &CastOptions { safe: false, ..CastOptions::default() })
            .map_err(|_| {
                Problem::new("time/out-of-range", format!("{what} holds a time outside the years 0001 to 9999"))
                    .with_help(YEARS_HELP)
            })?;
    Ok((naive.as_primitive::<TimestampMicrosecondType>().unary(|us| us), 0))
}

/// Microseconds, and how many lost digits. Arrow's cast divides towards zero; before the epoch that would move a time into
/// its future.
fn floor_nanos<T: ArrowPrimitiveType<Native = i64>>(nanos: &PrimitiveArray<T>) -> (Int64Array, u64) {
    let floored = nanos.iter().flatten().filter(|ns| ns.rem_euclid(1000) != 0).count() as u64;
    (nanos.unary(|ns| ns.div_euclid(1000)), floored)
}

/// The same instants without the zone's name: the number counts from the epoch in UTC either way.
fn cast_zone_away(array: &ArrayRef) -> ArrayRef {
    let DataType::Timestamp(unit, _) = array.data_type() else {
        unreachable!("only timestamp columns come here");
    };
    let data = array.to_data().into_builder().data_type(DataType::Timestamp(*unit, None));
    arrow::array::make_array(data.build().expect("the layout of a timestamp does not depend on its zone"))
}

fn to_utc(zone: Tz, local_micros: i64) -> Option<i64> {
    let local = chrono::DateTime::from_timestamp_micros(local_micros)?.naive_utc();
    let at = zone.from_local_datetime(&local).single()?;
    Some(local_micros - i64::from(at.offset().fix().local_minus_utc()) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Date64Array, DurationNanosecondArray, Float64Array, Int32Array, StringArray, TimestampNanosecondArray,
        UInt64Array,
    };
    use creta_model::StructField;

    fn code(result: Result<Coerced, Problem>) -> String {
        result.expect_err("refused").code
    }

    #[test]
    fn s20_widths_are_unified_and_types_are_not_guessed() {
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None]));
        let coerced = coerce("`T.a`", &Type::Int, &ints, None).expect("an int");
        assert_eq!(coerced.array.as_primitive::<Int64Type>().value(0), 7);
        assert_eq!(code(coerce("`T.a`", &Type::Str, &ints, None)), "value/wrong-type");
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        assert_eq!(code(coerce("`T.a`", &Type::Int, &floats, None)), "value/wrong-type");
        let huge: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
        assert_eq!(code(coerce("`T.a`", &Type::Int, &huge, None)), "value/out-of-range");
        let inexact: ArrayRef = Arc::new(UInt64Array::from(vec![(1 << 53) + 1]));
        assert_eq!(code(coerce("`T.a`", &Type::Float, &inexact, None)), "value/out-of-range");
    }

    #[test]
    fn s15_naive_times_need_a_zone_and_s17_finer_times_are_floored() {
        let naive: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![-1, 1_500]));
        assert_eq!(code(coerce("`T.at`", &Type::Datetime, &naive, None)), "time/naive");
        let coerced = coerce("`T.at`", &Type::Datetime, &naive, Some("UTC")).expect("a zone is given");
        assert_eq!(coerced.floored, 2);
        assert_eq!(coerced.array.as_primitive::<TimestampMicrosecondType>().values(), &[-1, 1]);
    }

    #[test]
    fn s15_local_times_that_exist_twice_or_never_are_refused() {
        // 2013-11-03 01:30 exists twice in New York, 2013-03-10 02:30 never.
        for text in ["2013-11-03T01:30:00Z", "2013-03-10T02:30:00Z"] {
            let local = Instant::parse(text).expect("valid").micros();
            let naive: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![local]));
            assert_eq!(code(coerce("`T.at`", &Type::Datetime, &naive, Some("America/New_York"))), "time/ambiguous");
        }
    }

    #[test]
    fn s17_times_within_values_and_lengths_are_floored_and_counted() {
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![-1, 1_000, 1_500]).with_timezone("UTC"));
        let item = |array: &ArrayRef| Arc::new(Field::new("item", array.data_type().clone(), true));
        let offsets = OffsetBuffer::new(vec![0, 1, 3].into());
        let lists: ArrayRef = Arc::new(ListArray::new(item(&nanos), offsets, Arc::clone(&nanos), None));
        let ty = Type::List { item: Box::new(Type::Datetime), optional: false };
        let coerced = coerce("`T.a`", &ty, &lists, None).expect("a list of instants");
        let times = |array: &ArrayRef| array.as_primitive::<TimestampMicrosecondType>().values().to_vec();
        assert_eq!((coerced.floored, times(coerced.array.as_list::<i32>().values())), (2, vec![-1, 1, 1]));
        let second = coerce("`T.a`", &ty, &lists.slice(1, 1), None).expect("a list of instants");
        assert_eq!(
            (second.floored, times(&second.array.as_list::<i32>().value(0))),
            (1, vec![1, 1]),
            "of a slice its own"
        );

        let member = StructField { name: "at".into(), ty: Type::Datetime, optional: false };
        let ty = Type::Struct { name: "S".into(), fields: vec![member] };
        let field = Field::new("at", nanos.data_type().clone(), true);
        let structs: ArrayRef = Arc::new(StructArray::new(vec![field].into(), vec![nanos], None));
        let coerced = coerce("`T.a`", &ty, &structs, None).expect("a struct with an instant");
        assert_eq!((coerced.floored, times(coerced.array.as_struct().column(0))), (2, vec![-1, 1, 1]));

        let lengths: ArrayRef = Arc::new(DurationNanosecondArray::from(vec![Some(-1), None, Some(2_000)]));
        let coerced = coerce("`T.a`", &Type::Timedelta, &lengths, None).expect("lengths");
        let micros = coerced.array.as_primitive::<DurationMicrosecondType>();
        assert_eq!((coerced.floored, micros.value(0), micros.is_null(1), micros.value(2)), (1, -1, true, 2));
    }

    #[test]
    fn s20_a_day_before_the_epoch_stays_its_day_and_far_ones_are_refused() {
        let millis: ArrayRef = Arc::new(Date64Array::from(vec![-1, DAY_MILLIS + 1]));
        let coerced = coerce("`T.a`", &Type::Date, &millis, None).expect("days");
        assert_eq!(coerced.array.as_primitive::<Date32Type>().values(), &[-1, 1]);
        let far: ArrayRef = Arc::new(Date64Array::from(vec![i64::MAX]));
        assert_eq!(code(coerce("`T.a`", &Type::Date, &far, None)), "value/out-of-range");
    }

    #[test]
    fn s20_integers_within_values_become_floats_only_exactly() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![1, (1 << 53) + 1]));
        let field = Arc::new(Field::new("item", DataType::Int64, true));
        let lists: ArrayRef = Arc::new(ListArray::new(field, OffsetBuffer::new(vec![0, 2].into()), ints, None));
        let ty = Type::List { item: Box::new(Type::Float), optional: false };
        assert_eq!(code(coerce("`T.a`", &ty, &lists, None)), "value/out-of-range");
        let other = Type::List { item: Box::new(Type::Str), optional: false };
        assert_eq!(code(coerce("`T.a`", &other, &lists, None)), "value/wrong-type");
    }

    #[test]
    fn enum_strangers_are_refused_without_showing_them() {
        let ty = Type::Enum { name: "Color".into(), members: vec!["red".into(), "blue".into()] };
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["red", "secret"]));
        let problem = coerce("`T.c`", &ty, &texts, None).expect_err("no member");
        assert_eq!(problem.code, "value/not-a-member");
        assert!(!problem.to_string().contains("secret"));
    }
}
