//! What calls resolvers: worker processes on a server, the process itself in `creta.local`, closures in tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use creta_model::{CellError, Type, Value};
use creta_planner::ResolverCall;

use crate::compiled::Running;
use crate::resolve::{as_declared, one_row, wrong_count};
use crate::value::{build_array, read_value};

/// The columns one call returned.
#[derive(Debug, Clone, Default)]
pub struct ResolverAnswer {
    /// One per output in order, one row per input row. What stands in a failed row does not matter.
    pub outputs: Vec<ArrayRef>,
    /// Rows for which the function raised; every output of such a row is that error.
    pub errors: BTreeMap<usize, CellError>,
}

/// One argument of a call for a single row.
#[derive(Debug, Clone, PartialEq)]
pub struct Argument<'a> {
    /// Parameter name.
    pub name: &'a str,
    /// Type of the value.
    pub ty: &'a Type,
    /// The value; null only for an optional parameter.
    pub value: Value,
}

/// A resolver that answers a row in microseconds and waits for nothing.
pub trait AtOnce: Send + Sync {
    /// As [`ResolverHost::call_one`] with these arguments, in order; `None` where only [`ResolverHost::call_one`] can say, or
    /// where it would be more work than [`creta_compiler::bounded`] around it allows.
    fn call(&self, arguments: &[Value]) -> Option<Result<Vec<Value>, CellError>>;
}

/// Runs the functions of resolvers that the engine cannot evaluate itself.
pub trait ResolverHost: Send + Sync {
    /// Calls one resolver for all rows of `inputs`, whose columns are the parameters in order under their names. An error
    /// means that the whole call failed, for example for lack of time; it becomes the error of each of its cells.
    fn call(&self, call: &ResolverCall, inputs: &RecordBatch) -> Result<ResolverAnswer, CellError>;

    /// Whether the processes that run resolvers are well; `None` where there are none, because what they would run runs in this
    /// process or because nobody needed them yet.
    fn probe(&self) -> Option<Result<(), CellError>> {
        None
    }

    /// How each resolver runs, in the order of the project; nothing where none is compiled.
    fn running(&self) -> Vec<Running> {
        Vec::new()
    }

    /// Tries what is compiled against Python now, rather than before its first call. The error says why Python could not be
    /// asked; until it can be, everything is left to it.
    fn try_out(&self) -> Result<(), CellError> {
        Ok(())
    }

    /// The resolver in a form that answers a row in microseconds and waits for nothing; `None` where there is none, or none yet.
    fn at_once(&self, call: &ResolverCall) -> Option<Arc<dyn AtOnce>> {
        let _ = call;
        None
    }

    /// Calls one resolver for a single row and returns one value per output, of these types. The default goes
    /// through [`ResolverHost::call`]; a host that can do it cheaper overrides it with the same meaning.
    fn call_one(
        &self,
        call: &ResolverCall,
        arguments: &[Argument<'_>],
        outputs: &[&Type],
    ) -> Result<Vec<Value>, CellError> {
        let columns = arguments
            .iter()
            .map(|argument| {
                build_array(argument.ty, std::slice::from_ref(&argument.value)).expect("an argument fits its type")
            })
            .collect();
        let names = arguments.iter().map(|argument| argument.name);
        let answer = self.call(call, &input_batch(names, columns, 1))?;
        if let Some(error) = answer.errors.get(&0) {
            return Err(error.clone());
        }
        if answer.outputs.len() != outputs.len() {
            return Err(wrong_count(call).as_ref().clone());
        }
        let mut values = Vec::with_capacity(outputs.len());
        for (array, ty) in answer.outputs.iter().zip(outputs) {
            let array = one_row(call, array)
                .and_then(|array| as_declared(call, ty, array))
                .map_err(|error| error.as_ref().clone())?;
            values.push(read_value(&array, ty, 0));
        }
        Ok(values)
    }
}

/// A host for plans without resolvers: every call fails with `resolver/no-host`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoResolvers;

impl ResolverHost for NoResolvers {
    fn call(&self, call: &ResolverCall, _inputs: &RecordBatch) -> Result<ResolverAnswer, CellError> {
        Err(CellError {
            code: "resolver/no-host".into(),
            message: format!("resolver `{}` needs Python, which is not available here", call.name),
        })
    }
}

/// Columns of parameters as one batch; also without any parameter it has `rows` rows.
pub(crate) fn input_batch<'a>(
    names: impl Iterator<Item = &'a str>,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> RecordBatch {
    let fields: Vec<Field> =
        names.zip(&columns).map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .expect("columns of one length with their own types form a batch")
}
