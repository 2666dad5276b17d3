//! Instants, days and lengths of time, in UTC.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, DurationMicrosecondArray, Float64Array, Int64Array, TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, DurationMicrosecondType, TimestampMicrosecondType};
use chrono::{Datelike, NaiveDate};
use creta_compiler::numbers;
use creta_model::{Function, Instant, Type};

use super::{Call, Computed, Failure};
use crate::error::EngineError;

const DAY: i64 = 86_400_000_000;

/// Days since 1970-01-01 of 0001-01-01 and 9999-12-31.
const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;

fn instant(micros: i64) -> Result<i64, Failure> {
    Instant::from_micros(micros).map(Instant::micros).map_err(|_| Failure::OutOfRange)
}

fn day(days: i64) -> Result<i32, Failure> {
    if DAYS.contains(&days) { Ok(days as i32) } else { Err(Failure::OutOfRange) }
}

/// A column of instants or lengths in microseconds, or of days.
fn numbers<'a>(ty: &Type, values: &'a ArrayRef) -> Option<Box<dyn Fn(usize) -> i64 + 'a>> {
    Some(match ty {
        Type::Datetime => {
            let values = values.as_primitive::<TimestampMicrosecondType>();
            Box::new(|row| values.value(row))
        }
        Type::Timedelta => {
            let values = values.as_primitive::<DurationMicrosecondType>();
            Box::new(|row| values.value(row))
        }
        Type::Date => {
            let values = values.as_primitive::<Date32Type>();
            Box::new(|row| values.value(row).into())
        }
        _ => return None,
    })
}

pub(super) fn arithmetic(call: &Call<'_>) -> Result<Computed, EngineError> {
    let number = |index: usize| numbers(call.types[index], call.values(index)).ok_or_else(|| call.unsupported());
    let a = number(0)?;
    if let [Type::Timedelta] = call.types {
        return match call.function {
            Function::Neg => Ok(lengths(call, |row| a(row).checked_neg())),
            Function::Abs => Ok(lengths(call, |row| a(row).checked_abs())),
            _ => Err(call.unsupported()),
        };
    }
    let [left, right] = call.types else { return Err(call.unsupported()) };
    let b = number(1)?;
    match (call.function, left, right) {
        (Function::Add, Type::Datetime, Type::Timedelta) | (Function::Add, Type::Timedelta, Type::Datetime) => {
            Ok(instants(call, |row| a(row).checked_add(b(row))))
        }
        (Function::Sub, Type::Datetime, Type::Timedelta) => Ok(instants(call, |row| a(row).checked_sub(b(row)))),
        (Function::Add, Type::Timedelta, Type::Timedelta) => Ok(lengths(call, |row| a(row).checked_add(b(row)))),
        (Function::Sub, Type::Timedelta, Type::Timedelta) | (Function::Sub, Type::Datetime, Type::Datetime) => {
            Ok(lengths(call, |row| a(row).checked_sub(b(row))))
        }
        // Python takes the whole days of the length, rounded down, and forgets the rest.
        (Function::Add, Type::Date, Type::Timedelta) => Ok(days(call, |row| a(row) + b(row).div_euclid(DAY))),
        (Function::Add, Type::Timedelta, Type::Date) => Ok(days(call, |row| b(row) + a(row).div_euclid(DAY))),
        (Function::Sub, Type::Date, Type::Timedelta) => Ok(days(call, |row| a(row) - b(row).div_euclid(DAY))),
        (Function::Sub, Type::Date, Type::Date) => Ok(lengths(call, |row| (a(row) - b(row)).checked_mul(DAY))),
        _ => Err(call.unsupported()),
    }
}

fn instants(call: &Call<'_>, of: impl Fn(usize) -> Option<i64>) -> Computed {
    let computed =
        call.each_row::<_, TimestampMicrosecondArray>(|row| of(row).ok_or(Failure::OutOfRange).and_then(instant));
    let values = computed.values.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("UTC");
    Computed { values: Arc::new(values), ..computed }
}

fn lengths(call: &Call<'_>, of: impl Fn(usize) -> Option<i64>) -> Computed {
    call.each_row::<_, DurationMicrosecondArray>(|row| of(row).ok_or(Failure::Overflow))
}

fn days(call: &Call<'_>, of: impl Fn(usize) -> i64) -> Computed {
    call.each_row::<_, Date32Array>(|row| day(of(row)))
}

pub(super) fn part(call: &Call<'_>) -> Result<Computed, EngineError> {
    let [ty] = call.types else { return Err(call.unsupported()) };
    let a = numbers(ty, call.values(0)).ok_or_else(|| call.unsupported())?;
    let to_day = move |at: i64| if matches!(ty, Type::Datetime) { at.div_euclid(DAY) } else { at };
    match (call.function, ty) {
        (Function::TotalSeconds, Type::Timedelta) => {
            Ok(call.each_row::<_, Float64Array>(|row| Ok(numbers::divide_ints(a(row), 1_000_000)?)))
        }
        (Function::DateOf, Type::Datetime) => Ok(days(call, |row| to_day(a(row)))),
        (Function::Hour | Function::Minute | Function::Second, Type::Datetime) => {
            let (unit, count) = match call.function {
                Function::Hour => (3_600_000_000, 24),
                Function::Minute => (60_000_000, 60),
                _ => (1_000_000, 60),
            };
            Ok(call.each_row::<_, Int64Array>(|row| Ok(a(row).div_euclid(unit).rem_euclid(count))))
        }
        // The first day of the epoch was a Thursday.
        (Function::Weekday, Type::Date | Type::Datetime) => {
            Ok(call.each_row::<_, Int64Array>(|row| Ok((to_day(a(row)) + 3).rem_euclid(7))))
        }
        (Function::Year | Function::Month | Function::Day, Type::Date | Type::Datetime) => Ok(call
            .each_row::<_, Int64Array>(|row| {
                let day = NaiveDate::from_num_days_from_ce_opt((to_day(a(row)) + 719_163) as i32)
                    .ok_or(Failure::OutOfRange)?;
                Ok(match call.function {
                    Function::Year => day.year().into(),
                    Function::Month => day.month().into(),
                    _ => day.day().into(),
                })
            })),
        _ => Err(call.unsupported()),
    }
}
