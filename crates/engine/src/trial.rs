//! Tries a compiled resolver against Python, on inputs made up for it.

use arrow::array::Array;
use creta_compiler::{CompiledResolver, NoValue};
use creta_model::{CellError, Type, Value};
use creta_planner::ResolverCall;

use crate::host::{ResolverHost, input_batch};
use crate::resolve::as_declared;
use crate::value::{build_array, read_value};

/// Rows of a trial: a call of Python and a few milliseconds.
const ROWS: usize = 96;

/// What came of it.
pub(crate) enum Outcome {
    Agrees,
    /// What was given and what came of it, in words. The inputs are made up, nobody's data is among them.
    Differs(String),
    /// Python could not be asked.
    NotTried(CellError),
}

type Row = Result<Vec<Value>, CellError>;

/// Compares rows one by one and all at once with Python's. The seed decides on the inputs.
pub(crate) fn try_out(
    resolver: &CompiledResolver,
    call: &ResolverCall,
    parameters: &[String],
    seed: u64,
    python: &dyn ResolverHost,
) -> Outcome {
    let types: Vec<&Type> = resolver.parameters().map(|(ty, _)| ty).collect();
    let outputs: Vec<&Type> = resolver.output_types().collect();
    // Rows that compiled code leaves to Python have nothing to compare.
    let (mut rows, mut single): (Vec<Vec<Value>>, Vec<Row>) = (Vec::new(), Vec::new());
    for row in resolver.made_up(seed, ROWS) {
        let outcome = resolver.call_one(&row.iter().collect::<Vec<_>>());
        let known = match outcome {
            Ok(values) => Ok(values),
            Err(NoValue::Error(error)) => Err(error),
            Err(NoValue::AskPython) => continue,
        };
        rows.push(row);
        single.push(known);
    }
    if rows.is_empty() {
        return Outcome::Agrees;
    }
    let columns = types.iter().enumerate().map(|(at, ty)| {
        let cells: Vec<Value> = rows.iter().map(|row| row[at].clone()).collect();
        build_array(ty, &cells).expect("values made for a type are of it")
    });
    let batch = input_batch(parameters.iter().map(String::as_str), columns.collect(), rows.len());
    let answer = match python.call(call, &batch) {
        Ok(answer) => answer,
        Err(error) => return Outcome::NotTried(error),
    };
    let mut theirs: Vec<Row> = vec![Ok(Vec::new()); rows.len()];
    for (array, ty) in answer.outputs.iter().zip(&outputs) {
        let array = as_declared(call, ty, array).ok().filter(|array| array.len() == rows.len());
        let Some(array) = array else {
            return Outcome::Differs("any input: Python's columns are of other types".into());
        };
        for (row, values) in theirs.iter_mut().flatten().enumerate() {
            values.push(read_value(&array, ty, row));
        }
    }
    for (row, error) in answer.errors {
        if let Some(outcome) = theirs.get_mut(row) {
            *outcome = Err(error);
        }
    }
    let build = |ty: &Type, values: &[Value]| build_array(ty, values).ok();
    let Some(columnar) = resolver.call_rows(batch.columns(), rows.len(), &build) else {
        return Outcome::Differs("any input: it takes other columns".into());
    };
    for (at, (theirs, single)) in theirs.iter().zip(&single).enumerate() {
        let together: Row = match columnar.errors.get(&at) {
            Some(error) => Err(error.clone()),
            None => Ok(columnar.outputs.iter().zip(&outputs).map(|(array, ty)| read_value(array, ty, at)).collect()),
        };
        for ours in [single, &together] {
            // A row may be left to Python among others although it is answered alone.
            let is_left = std::ptr::eq(ours, &together) && columnar.asked.contains(&at);
            let agrees = is_left || same(ours, theirs);
            if !agrees {
                return Outcome::Differs(described(parameters, &rows[at], ours, theirs));
            }
        }
    }
    Outcome::Agrees
}

fn same(ours: &Row, theirs: &Row) -> bool {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| is_same(a, b)),
        (Err(ours), Err(theirs)) => ours == theirs,
        _ => false,
    }
}

/// Whether two values are the same to the last bit. All NaNs are one value.
pub(crate) fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (Value::List(a), Value::List(b)) | (Value::Struct(a), Value::Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        _ => a == b,
    }
}

fn described(parameters: &[String], row: &[Value], ours: &Row, theirs: &Row) -> String {
    let given: Vec<String> = parameters.iter().zip(row).map(|(name, value)| format!("{name}={value:?}")).collect();
    let told = |row: &Row| match row {
        Ok(values) => values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", "),
        Err(error) => error.message.clone(),
    };
    format!("made-up {}: compiled {}, Python {}", given.join(", "), told(ours), told(theirs))
}
