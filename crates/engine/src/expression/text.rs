//! Functions of texts, by Unicode code points, and of lists.

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use creta_model::{Function, Type, Value};

use super::{Call, Computed};
use crate::error::EngineError;
use crate::value::read_value;

pub(super) fn concatenate(call: &Call<'_>) -> Result<Computed, EngineError> {
    let (Function::Add, [Type::Str, Type::Str]) = (call.function, call.types) else { return Err(call.unsupported()) };
    let (a, b) = (call.values(0).as_string::<i32>(), call.values(1).as_string::<i32>());
    Ok(call.each_row::<_, StringArray>(|row| Ok([a.value(row), b.value(row)].concat())))
}

fn is_text(ty: &Type) -> bool {
    matches!(ty, Type::Str | Type::Enum { .. })
}

pub(super) fn call(call: &Call<'_>) -> Result<Computed, EngineError> {
    let texts = |count: usize| call.types.len() == count && call.types.iter().all(|ty| is_text(ty));
    let text = |index: usize| call.values(index).as_string::<i32>();
    let per_text = |of: fn(&str) -> String| {
        let a = text(0);
        call.each_row::<_, StringArray>(|row| Ok(of(a.value(row))))
    };
    let about_two = |of: fn(&str, &str) -> bool| {
        let (a, b) = (text(0), text(1));
        call.each_row::<_, BooleanArray>(|row| Ok(of(a.value(row), b.value(row))))
    };
    Ok(match (call.function, call.types) {
        (Function::Lower, _) if texts(1) => per_text(str::to_lowercase),
        (Function::Upper, _) if texts(1) => per_text(str::to_uppercase),
        (Function::Strip, _) if texts(1) => per_text(|text| text.trim_matches(is_space).to_owned()),
        (Function::Length, _) if texts(1) => {
            let a = text(0);
            call.each_row::<_, Int64Array>(|row| Ok(a.value(row).chars().count() as i64))
        }
        (Function::Length, [Type::List { .. }]) => {
            let a = call.values(0).as_list::<i32>();
            call.each_row::<_, Int64Array>(|row| Ok(i64::from(a.value_length(row))))
        }
        (Function::StartsWith, _) if texts(2) => about_two(|a, b| a.starts_with(b)),
        (Function::EndsWith, _) if texts(2) => about_two(|a, b| a.ends_with(b)),
        (Function::Contains, _) if texts(2) => about_two(|a, b| a.contains(b)),
        (Function::Contains, [Type::List { item, .. }, ty]) if item.as_ref() == *ty => {
            let (a, b) = (call.values(0).as_list::<i32>(), call.values(1));
            call.each_row::<_, BooleanArray>(|row| {
                let (items, wanted) = (a.value(row), read_value(b, ty, row));
                Ok((0..items.len()).any(|index| read_value(&items, item, index) == wanted))
            })
        }
        (Function::Replace, _) if texts(3) => {
            let (a, b, c) = (text(0), text(1), text(2));
            call.each_row::<_, StringArray>(|row| Ok(a.value(row).replace(b.value(row), c.value(row))))
        }
        (Function::Slice, [ty, Type::Int, Type::Int]) if is_text(ty) => slice(call),
        (Function::ToStr, [Type::Bool]) => {
            let a = call.values(0).as_boolean();
            call.each_row::<_, StringArray>(|row| Ok(if a.value(row) { "True" } else { "False" }))
        }
        (Function::ToStr, [Type::Int]) => {
            let a = call.values(0).as_primitive::<Int64Type>();
            call.each_row::<_, StringArray>(|row| Ok(a.value(row).to_string()))
        }
        (Function::ToStr, _) if texts(1) => per_text(str::to_owned),
        _ => return Err(call.unsupported()),
    })
}

/// Python also strips the four separators of ASCII, which Unicode does not call white space.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// `a[b:c]`: negative bounds count from the end, bounds outside are moved inside.
fn slice(call: &Call<'_>) -> Computed {
    let a = call.values(0).as_string::<i32>();
    call.each_row::<_, StringArray>(|row| {
        let text = a.value(row);
        let length = text.chars().count() as i64;
        let bound = |index: usize, open: i64| match read_value(call.values(index), &Type::Int, row) {
            Value::Int(at) if at < 0 => at.saturating_add(length).max(0),
            Value::Int(at) => at.min(length),
            _ => open,
        };
        let (from, to) = (bound(1, 0), bound(2, length));
        Ok(text.chars().skip(from as usize).take((to - from).max(0) as usize).collect::<String>())
    })
}
