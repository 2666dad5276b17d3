//! Calls of resolvers: which rows may be called, and what their answers have to be (rule S32).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{self, CastOptions};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use creta_compiler::numbers::compare_int_float;
use creta_model::{CellError, CellState, Instant, Type, Validation, Value};
use creta_planner::{CallInput, CallOutput, ResolverCall};
use regex::Regex;

use crate::column::{Absences, CellColumn, cell_error};
use crate::error::EngineError;
use crate::host::{Argument, ResolverHost, input_batch};
use crate::point_in_time::severity;
use crate::value::{build_array, is_of_type, null_array};

/// One parameter: what the plan says about it and the cells it reads.
pub(crate) struct Input<'a> {
    pub(crate) call: &'a CallInput,
    pub(crate) cells: Arc<CellColumn>,
}

/// One column of cells per output, in order.
pub(crate) fn resolve(
    call: &ResolverCall,
    inputs: &[Input<'_>],
    outputs: &[CallOutput],
    rows: usize,
    host: &dyn ResolverHost,
) -> Result<Vec<CellColumn>, EngineError> {
    let mut skipped = Absences::default();
    let mut called: Vec<u32> = Vec::with_capacity(rows);
    for row in 0..rows {
        match blocking(inputs, row) {
            Some(cells) => skipped.copy(row, cells, row),
            None => called.push(row as u32),
        }
    }
    let answers = if called.is_empty() {
        outputs.iter().map(|output| Ok(CellColumn::from_values(null_array(&output.ty, 0)))).collect()
    } else if rows == 1 {
        call_one(call, inputs, outputs, host)
    } else {
        call_rows(call, inputs, outputs, &called, rows, host)?
    };
    let mut columns = Vec::with_capacity(outputs.len());
    for (output, answer) in outputs.iter().zip(answers) {
        let checked = match answer {
            Ok(cells) => check(call, output, cells)?,
            Err(error) => CellColumn::failed(&output.ty, called.len(), &error),
        };
        let column = spread(checked, &skipped, &called, output, rows)?;
        columns.push(column.with_default(&output.ty, output.default.as_ref())?);
    }
    Ok(columns)
}

/// The input whose state the outputs of a row take over instead of a call: denied before error before the first
/// absent input that is not optional.
fn blocking<'a>(inputs: &'a [Input<'_>], row: usize) -> Option<&'a CellColumn> {
    let mut found: Option<&CellColumn> = None;
    for input in inputs {
        let state = input.cells.state(row);
        let blocks = severity(state) > 0 || (state != CellState::Value && !input.call.optional);
        if blocks && found.is_none_or(|cells| severity(state) > severity(cells.state(row))) {
            found = Some(&input.cells);
        }
    }
    found
}

type Outputs = Vec<Result<CellColumn, Arc<CellError>>>;

fn call_one(call: &ResolverCall, inputs: &[Input<'_>], outputs: &[CallOutput], host: &dyn ResolverHost) -> Outputs {
    let arguments: Vec<Argument<'_>> = inputs
        .iter()
        .map(|input| Argument {
            name: &input.call.name,
            ty: &input.call.ty,
            value: input.cells.value(&input.call.ty, 0).unwrap_or(Value::Null),
        })
        .collect();
    let types: Vec<&Type> = outputs.iter().map(|output| &output.ty).collect();
    match host.call_one(call, &arguments, &types) {
        Ok(values) if values.len() == outputs.len() => values
            .into_iter()
            .zip(&types)
            .map(|(value, ty)| match build_array(ty, &[value]) {
                Ok(array) => Ok(CellColumn::from_values(array)),
                Err(_) => Err(wrong_type(call)),
            })
            .collect(),
        Ok(_) => vec![Err(wrong_count(call)); outputs.len()],
        Err(error) => vec![Err(Arc::new(error)); outputs.len()],
    }
}

fn call_rows(
    call: &ResolverCall,
    inputs: &[Input<'_>],
    outputs: &[CallOutput],
    called: &[u32],
    rows: usize,
    host: &dyn ResolverHost,
) -> Result<Outputs, EngineError> {
    let columns = inputs
        .iter()
        .map(|input| {
            if called.len() == rows {
                Ok(Arc::clone(input.cells.values()))
            } else {
                Ok(Arc::clone(input.cells.take(called)?.values()))
            }
        })
        .collect::<Result<Vec<_>, EngineError>>()?;
    let names = inputs.iter().map(|input| input.call.name.as_str());
    let answer = match host.call(call, &input_batch(names, columns, called.len())) {
        Ok(answer) if answer.outputs.len() == outputs.len() => answer,
        Ok(_) => return Ok(vec![Err(wrong_count(call)); outputs.len()]),
        Err(error) => return Ok(vec![Err(Arc::new(error)); outputs.len()]),
    };
    let raised: BTreeMap<usize, Arc<CellError>> =
        answer.errors.into_iter().map(|(row, error)| (row, Arc::new(error))).collect();
    let mut columns = Vec::with_capacity(outputs.len());
    for (output, array) in outputs.iter().zip(answer.outputs) {
        columns.push(if array.len() != called.len() {
            Err(wrong_length(call))
        } else {
            match as_declared(call, &output.ty, &array) {
                Ok(array) => {
                    let mut absences = Absences::default();
                    for (row, error) in raised.range(..called.len()) {
                        absences.fail(*row, Arc::clone(error));
                    }
                    Ok(absences.finish(array)?)
                }
                Err(error) => Err(error),
            }
        });
    }
    Ok(columns)
}

/// The answer to a call for one row.
pub(crate) fn one_row<'a>(call: &ResolverCall, array: &'a ArrayRef) -> Result<&'a ArrayRef, Arc<CellError>> {
    if array.len() == 1 { Ok(array) } else { Err(wrong_length(call)) }
}

/// The column in the Arrow form of its declared type. Other widths of the same thing are unified (rule S20); anything
/// else is an error of the whole column.
pub(crate) fn as_declared(call: &ResolverCall, ty: &Type, array: &ArrayRef) -> Result<ArrayRef, Arc<CellError>> {
    if is_of_type(array, ty) {
        return Ok(Arc::clone(array));
    }
    let got = array.data_type();
    let same_thing = match ty {
        Type::Int => got.is_integer(),
        Type::Float => got.is_floating() || got.is_integer(),
        Type::Str | Type::Enum { .. } => is_text(got),
        Type::Bytes => matches!(got, DataType::LargeBinary | DataType::BinaryView),
        Type::Datetime => matches!(got, DataType::Timestamp(_, Some(_))),
        Type::Timedelta => matches!(got, DataType::Duration(_)),
        _ => false,
    };
    if !same_thing && *got != DataType::Null {
        return Err(wrong_type(call));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    compute::cast_with_options(array, &ty.to_arrow(), &options).map_err(|_| wrong_type(call))
}

fn is_text(ty: &DataType) -> bool {
    match ty {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

pub(crate) fn wrong_type(call: &ResolverCall) -> Arc<CellError> {
    cell_error(
        "resolver/wrong-type",
        format!("resolver `{}` returned values of another type than it declares", call.name),
    )
}

fn wrong_length(call: &ResolverCall) -> Arc<CellError> {
    cell_error(
        "resolver/wrong-length",
        format!("resolver `{}` returned another number of rows than it was given", call.name),
    )
}

pub(crate) fn wrong_count(call: &ResolverCall) -> Arc<CellError> {
    cell_error(
        "resolver/wrong-count",
        format!("resolver `{}` returned another number of features than it declares", call.name),
    )
}

/// The answer with forbidden nulls and values outside their bounds turned into errors.
fn check(call: &ResolverCall, output: &CallOutput, cells: CellColumn) -> Result<CellColumn, EngineError> {
    let violations = violations(&output.ty, output.validation.as_ref(), cells.values());
    let forbidden_null = |row| !output.optional && cells.state(row) == CellState::Null;
    if violations.is_empty() && (output.optional || !(0..cells.len()).any(forbidden_null)) {
        return Ok(cells);
    }
    let none = cell_error(
        "resolver/returned-none",
        format!("resolver `{}` returned `None` for a feature that is not optional", call.name),
    );
    let mut absences = Absences::default();
    for row in 0..cells.len() {
        if let Some(error) = violations.get(&row) {
            absences.fail(row, Arc::clone(error));
        } else if forbidden_null(row) {
            absences.fail(row, Arc::clone(&none));
        } else if cells.state(row) != CellState::Value {
            absences.copy(row, &cells, row);
        }
    }
    absences.finish(Arc::clone(cells.values()))
}

/// Puts the answers of called rows between those that were skipped.
fn spread(
    answers: CellColumn,
    skipped: &Absences,
    called: &[u32],
    output: &CallOutput,
    rows: usize,
) -> Result<CellColumn, EngineError> {
    if called.len() == rows {
        return Ok(answers);
    }
    let mut absences = skipped.clone();
    let nothing = null_array(&output.ty, 1);
    let mut picked = vec![(1, 0); rows];
    for (at, row) in called.iter().enumerate() {
        let row = *row as usize;
        match answers.state(at) {
            CellState::Value => picked[row] = (0, at),
            CellState::Null => {}
            _ => absences.copy(row, &answers, at),
        }
    }
    absences.finish(compute::interleave(&[answers.values().as_ref(), nothing.as_ref()], &picked)?)
}

/// Which values break their type's or feature's bounds, by row; nulls break none.
///
/// Besides `validation` this checks what an Arrow type cannot say: members of an enum, the range of instants and dates,
/// digits of a decimal, and nulls within values. NaN is outside any bound.
pub fn violations(ty: &Type, validation: Option<&Validation>, values: &ArrayRef) -> BTreeMap<usize, Arc<CellError>> {
    let pattern = validation.and_then(|validation| validation.pattern.as_deref());
    let mut found = BTreeMap::new();
    for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
        let broken = intrinsic(ty, values, row)
            .or_else(|| validation.and_then(|validation| bounds(ty, validation, values, row)))
            .or_else(|| pattern.and_then(|pattern| matches_whole(pattern, values, row)));
        if let Some((code, rule)) = broken {
            found.insert(row, cell_error(code, rule));
        }
    }
    found
}

type Broken = (&'static str, &'static str);

fn intrinsic(ty: &Type, values: &ArrayRef, row: usize) -> Option<Broken> {
    match ty {
        Type::Enum { members, .. } => {
            let text = values.as_string::<i32>().value(row);
            (!members.iter().any(|member| member == text))
                .then_some(("validation/not-a-member", "the value is not a member of its enum"))
        }
        Type::Datetime => {
            let micros = values.as_primitive::<TimestampMicrosecondType>().value(row);
            Instant::from_micros(micros)
                .is_err()
                .then_some(("validation/out-of-range", "the instant is outside the years 0001 to 9999"))
        }
        Type::Date => {
            let days = values.as_primitive::<Date32Type>().value(row);
            (!Value::DATES.contains(&days))
                .then_some(("validation/out-of-range", "the date is outside the years 0001 to 9999"))
        }
        Type::Decimal { .. } => {
            let unscaled = values.as_primitive::<Decimal128Type>().value(row);
            (unscaled.unsigned_abs() >= 10_u128.pow(38))
                .then_some(("validation/out-of-range", "the decimal has more than 38 digits"))
        }
        Type::List { item, optional } => {
            let items = values.as_list::<i32>().value(row);
            if !optional && items.null_count() > 0 {
                return Some(("validation/null-item", "the list holds a null item"));
            }
            (0..items.len()).filter(|index| items.is_valid(*index)).find_map(|index| intrinsic(item, &items, index))
        }
        Type::Struct { fields, .. } => fields.iter().zip(values.as_struct().columns()).find_map(|(field, column)| {
            if column.is_null(row) {
                return (!field.optional)
                    .then_some(("validation/null-member", "a member that is not optional is null"));
            }
            intrinsic(&field.ty, column, row)
        }),
        _ => None,
    }
}

fn bounds(ty: &Type, validation: &Validation, values: &ArrayRef, row: usize) -> Option<Broken> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let compare = |bound: f64| match ty {
        Type::Int => compare_int_float(values.as_primitive::<Int64Type>().value(row), bound),
        Type::Float => values.as_primitive::<Float64Type>().value(row).partial_cmp(&bound),
        Type::Decimal { scale } => {
            let unscaled = values.as_primitive::<Decimal128Type>().value(row);
            crate::exact::ratio_to_f64(unscaled, *scale).partial_cmp(&bound)
        }
        _ => Some(Equal),
    };
    if validation.min.is_some_and(|min| !matches!(compare(min), Some(Equal | Greater))) {
        return Some(("validation/below-min", "the value is below the feature's `min`"));
    }
    if validation.max.is_some_and(|max| !matches!(compare(max), Some(Equal | Less))) {
        return Some(("validation/above-max", "the value is above the feature's `max`"));
    }
    if validation.min_length.is_none() && validation.max_length.is_none() {
        return None;
    }
    let length = match ty {
        Type::Str | Type::Enum { .. } => values.as_string::<i32>().value(row).chars().count(),
        Type::Bytes => values.as_binary::<i32>().value(row).len(),
        Type::List { .. } => values.as_list::<i32>().value_length(row) as usize,
        Type::Vector { size } => *size as usize,
        _ => return None,
    };
    if validation.min_length.is_some_and(|min| length < min as usize) {
        return Some(("validation/too-short", "the value is shorter than the feature's `min_length`"));
    }
    validation
        .max_length
        .is_some_and(|max| length > max as usize)
        .then_some(("validation/too-long", "the value is longer than the feature's `max_length`"))
}

thread_local! {
    /// Compiled patterns of this thread: compiling one costs more than a whole one-row run.
    static PATTERNS: RefCell<HashMap<String, Option<Regex>>> = RefCell::default();
}

const PATTERNS_MAX: usize = 256;

fn matches_whole(pattern: &str, values: &ArrayRef, row: usize) -> Option<Broken> {
    let text = values.as_string_opt::<i32>()?.value(row);
    PATTERNS.with_borrow_mut(|patterns| {
        if patterns.len() >= PATTERNS_MAX && !patterns.contains_key(pattern) {
            patterns.clear();
        }
        if !patterns.contains_key(pattern) {
            patterns.insert(pattern.to_owned(), Regex::new(&format!(r"\A(?:{pattern})\z")).ok());
        }
        match &patterns[pattern] {
            Some(regex) if regex.is_match(text) => None,
            Some(_) => Some(("validation/pattern", "the text does not match the feature's `pattern`")),
            None => Some(("validation/pattern", "the feature's `pattern` is not a regular expression of this engine")),
        }
    })
}
