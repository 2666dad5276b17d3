//! Made-up facts as tables, by the definitions alone.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use creta_audit::Permit;
use creta_iam::Action;
use creta_model::{Name, Problem};
use creta_registry::Registry;
use creta_synth::{Options, SynthError, Table};

use crate::scope_engine::ScopeEngine;
use crate::value::build_array;

/// Made-up facts of every entity with stored features: its columns are named as they are. The same definitions, options and
/// version give the same tables. See [`creta_synth`].
pub fn synthesise(registry: &Registry, options: &Options) -> Result<Vec<(Name, RecordBatch)>, Problem> {
    let tables = creta_synth::synthesise(registry, options).map_err(|error| problem(&error))?;
    tables.into_iter().map(|table| Ok((table.entity.clone(), batch(&table)?))).collect()
}

impl ScopeEngine {
    /// Made-up facts by the definitions of this scope. Reads no fact: the definitions are all that is looked at.
    pub fn synth(&self, options: &Options, permit: &Permit) -> Result<Vec<(Name, RecordBatch)>, Problem> {
        self.permitted(permit, Action::Synth, [])?;
        synthesise(&self.deployment()?.registry, options)
    }
}

fn batch(table: &Table) -> Result<RecordBatch, Problem> {
    let internal = |what: String| Problem::new("internal/synth", what);
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for column in &table.columns {
        fields.push(Field::new(column.name.as_str(), column.ty.to_arrow(), true));
        columns.push(build_array(&column.ty, &column.values).map_err(|error| internal(error.to_string()))?);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| internal(error.to_string()))
}

fn problem(error: &SynthError) -> Problem {
    match error {
        SynthError::NoValue { location, .. } => Problem::new("synth/no-value", error.to_string())
            .at(location)
            .with_help("loosen its bounds, or give facts of your own for this entity"),
        SynthError::TooManyRows { .. } => {
            Problem::new("too-large/rows", error.to_string()).with_help("ask for fewer rows at once")
        }
        SynthError::UnknownEntity { .. } => {
            Problem::new("not-found/entity", error.to_string()).with_help("check the spelling")
        }
        SynthError::Options(_) => Problem::new("synth/options", error.to_string()).with_help("correct the request"),
    }
}
