//! Training sets: from a spine to rows of a plan, and the answer beside the spine (rule S21).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, TimestampMicrosecondType};
use creta_model::{FeaturePath, Instant, Problem, Type};
use creta_planner::Plan;
use creta_registry::Registry;

use crate::answer::Answer;
use crate::coerce::coerce;
use crate::request::{KnownAsOfColumn, TrainingSetRequest};
use crate::resolve::violations;
use crate::run::Rows;
use crate::scope_engine::KNOWN_TO;
use crate::selecting::ROWS_DROPPED;

/// The parts of a spine as one table.
pub(crate) fn one_table(spine: &[RecordBatch]) -> Result<RecordBatch, Problem> {
    let Some(first) = spine.first() else {
        return Err(Problem::new("spine/empty", "the spine holds no table").with_help("send at least a schema"));
    };
    concat_batches(first.schema_ref(), spine)
        .map_err(|_| Problem::new("spine/mixed-schemas", "the parts of the spine have different columns"))
}

/// Paths with the spine's columns that give them: mapped ones, and columns named by the path of a feature. Sorted.
pub(crate) fn given_columns(
    registry: &Registry,
    request: &TrainingSetRequest,
    spine: &[RecordBatch],
) -> Result<Vec<(FeaturePath, String)>, Problem> {
    let schema = spine.first().map(RecordBatch::schema).unwrap_or_else(|| Arc::new(Schema::empty()));
    let mut given: BTreeMap<FeaturePath, String> = BTreeMap::new();
    for field in schema.fields() {
        if let Ok(path) = FeaturePath::parse(field.name())
            && path.to_string() == *field.name()
            && registry.catalog().follow(&path).is_ok()
        {
            given.insert(path, field.name().clone());
        }
    }
    for (path, column) in &request.inputs {
        if schema.index_of(column).is_err() {
            return Err(no_column(&schema, column, &format!("`{path}`")));
        }
        given.insert(path.clone(), column.clone());
    }
    Ok(given.into_iter().collect())
}

fn no_column(schema: &Schema, column: &str, what: &str) -> Problem {
    let names: Vec<_> = schema.fields().iter().map(|field| format!("`{}`", field.name())).collect();
    Problem::new("spine/no-column", format!("the spine has no column `{column}` for {what}"))
        .with_note("columns", names.join(", "), None)
        .with_help("name the right column")
}

/// The rows of the spine as the plan takes them, and how many of the times that it brought were floored (rule S17).
pub(crate) fn rows(
    plan: &Plan,
    request: &TrainingSetRequest,
    table: &RecordBatch,
    given: &[(FeaturePath, String)],
) -> Result<(Rows, u64), Problem> {
    let mut floored = BTreeMap::new(); // By column: one that is used twice counts once.
    let mut columns = Vec::with_capacity(plan.given.len());
    for slot in &plan.given {
        let slot = &plan.slots[slot.0];
        let (_, name) = given.iter().find(|(path, _)| *path == slot.path).expect("the plan was made for these columns");
        let column = table.column_by_name(name).expect("given columns are columns of the spine");
        let coerced = coerce(&format!("`{}` of the spine", slot.path), &slot.ty, column, None)?;
        floored.insert(name.as_str(), coerced.floored);
        let array = coerced.array;
        if let Some(row) = (0..array.len()).find(|row| array.is_null(*row) && !slot.optional) {
            return Err(Problem::new(
                "spine/unexpected-null",
                format!("`{}` is null in row {row} of the spine", slot.path),
            )
            .with_help(format!(
                "its type is `{}`; drop the row, or declare the feature optional",
                slot.ty.python_name()
            )));
        }
        if let Some((row, error)) = violations(&slot.ty, None, &array).into_iter().next() {
            return Err(Problem::new(
                "value/out-of-bounds",
                format!("`{}` of the spine in row {row}: {}", slot.path, error.message),
            )
            .with_help("correct or drop the row"));
        }
        columns.push(array);
    }
    let (as_of, of_as_of) = instants(table, &request.as_of, "`as_of`")?;
    floored.insert(&request.as_of, of_as_of);
    let known_as_of = match &request.known_as_of {
        None => as_of.clone(),
        Some(KnownAsOfColumn::Latest) => {
            TimestampMicrosecondArray::from_value(Instant::MAX.micros(), table.num_rows()).with_timezone("UTC")
        }
        Some(KnownAsOfColumn::Column(name)) => {
            let (known_as_of, of_known) = instants(table, name, "`known_as_of`")?;
            floored.insert(name, of_known);
            known_as_of
        }
    };
    Ok((Rows { given: columns, as_of, known_as_of }, floored.values().sum()))
}

/// A column of instants, and how many of them were floored.
pub(crate) fn instants(
    table: &RecordBatch,
    name: &str,
    what: &str,
) -> Result<(TimestampMicrosecondArray, u64), Problem> {
    let column = table.column_by_name(name).ok_or_else(|| no_column(table.schema_ref(), name, what))?;
    let coerced = coerce(&format!("column `{name}` of the spine"), &Type::Datetime, column, None)?;
    let array = coerced.array;
    match (0..array.len()).find(|row| array.is_null(*row)) {
        None => Ok((array.as_primitive::<TimestampMicrosecondType>().clone(), coerced.floored)),
        Some(row) => {
            Err(Problem::new("spine/no-instant", format!("column `{name}` is null in row {row} of the spine"))
                .with_help("every row needs an instant; drop the row or fill it"))
        }
    }
}

/// Key in the schema's metadata of a table: until when facts counted (rule S1), `as_of`, `column` or `latest`. Arrow and
/// Parquet files keep it.
pub const LABEL_KNOWN_AS_OF: &str = "creta.known_as_of";
/// Key of the fingerprint of the plan that ran.
pub const LABEL_PLAN: &str = "creta.plan";
/// Key of the position in the log of facts: those after it did not count. Of training sets alone.
pub const LABEL_POSITION: &str = "creta.position";
/// Key of the audit log's entry with the permit that a table was built under (rule S30): its index. A server writes it.
pub const LABEL_ENTRY: &str = "creta.entry";
/// Key of what a table was called when it was kept: `name@version`.
pub const LABEL_DATASET: &str = "creta.dataset";
/// Key of how many times of the spine were finer than a microsecond and floored (rule S17); not there if none was.
pub const TIMES_FLOORED: &str = "creta.times-floored";

/// How an answer came about.
pub(crate) struct Made<'a> {
    /// Fingerprint of the plan.
    pub(crate) plan: &'a str,
    /// The position in the log of facts, where it was one for all.
    pub(crate) position: Option<u64>,
    /// Times that were floored.
    pub(crate) floored: u64,
}

/// The spine's columns untouched, then each feature, then its state if that was asked for. The schema's metadata is the
/// spine's and how this answer came about; what the spine said of that is replaced.
pub(crate) fn beside(
    table: &RecordBatch,
    request: &TrainingSetRequest,
    made: &Made<'_>,
    answer: &Answer,
) -> Result<RecordBatch, Problem> {
    let mut fields = table.schema_ref().fields().to_vec();
    let mut columns: Vec<ArrayRef> = table.columns().to_vec();
    let mut add = |name: String, array: ArrayRef, nullable: bool| {
        if fields.iter().any(|field| *field.name() == name) {
            return Err(Problem::new("spine/column-exists", format!("the spine already has a column `{name}`"))
                .with_help("rename it, or do not ask for the feature"));
        }
        fields.push(Arc::new(Field::new(name, array.data_type().clone(), nullable)));
        columns.push(array);
        Ok(())
    };
    for column in &answer.columns {
        add(column.path.to_string(), Arc::clone(column.cells.values()), true)?;
        if request.states {
            let states = (0..answer.rows).map(|row| Some(column.cells.state(row).as_str())).collect::<StringArray>();
            add(format!("{}__state", column.path), Arc::new(states), false)?;
        }
    }
    let mut metadata = table.schema_ref().metadata().clone();
    metadata.retain(|key, _| {
        ![LABEL_ENTRY, LABEL_DATASET, LABEL_POSITION, TIMES_FLOORED, ROWS_DROPPED, KNOWN_TO].contains(&key.as_str())
    });
    metadata.insert(LABEL_KNOWN_AS_OF.to_owned(), request.known_until().to_owned());
    metadata.insert(LABEL_PLAN.to_owned(), made.plan.to_owned());
    metadata.extend(made.position.map(|position| (LABEL_POSITION.to_owned(), position.to_string())));
    if made.floored > 0 {
        metadata.insert(TIMES_FLOORED.to_owned(), made.floored.to_string());
    }
    let schema = Schema::new(fields).with_metadata(metadata);
    RecordBatch::try_new(Arc::new(schema), columns)
        .map_err(|error| Problem::new("internal/engine", format!("the answer does not fit beside the spine: {error}")))
}
