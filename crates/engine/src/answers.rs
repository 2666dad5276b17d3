//! Between the JSON of queries and the columns of plans.

use std::collections::BTreeMap;

use arrow::array::{Array, TimestampMicrosecondArray};
use creta_model::{CellState, Entity, FeaturePath, Instant, Problem, Type, Value};
use creta_planner::{Origin, Plan};
use creta_registry::{FeatureRef, Registry};

use crate::answer::Answer;
use crate::request::{Instants, KnownAsOf, QueryAnswer, QueryColumn, QueryRequest};
use crate::run::Rows;
use crate::scope_engine::ReadyPolicy;
use crate::value::{build_array, read_value};

/// The features asked for: listed, or those of the named query.
pub(crate) fn outputs(registry: &Registry, request: &QueryRequest) -> Result<Vec<FeaturePath>, Problem> {
    let Some(name) = &request.query else {
        if request.outputs.is_empty() {
            return Err(Problem::new("query/no-outputs", "the query asks for no feature")
                .with_help("list features in `outputs`, or name a query in `query`"));
        }
        return Ok(request.outputs.clone());
    };
    if !request.outputs.is_empty() {
        return Err(Problem::new("query/two-outputs", "the query gives both `outputs` and a named `query`")
            .with_help("give one of them"));
    }
    let (name, version) = name.split_once('@').map_or((name.as_str(), None), |(name, version)| (name, Some(version)));
    let queries = registry.graph().queries.iter().filter(|query| query.name.as_str() == name);
    let found = match version {
        None => queries.max_by_key(|query| query.version),
        Some(version) => queries.into_iter().find(|query| query.version.to_string() == version),
    };
    found.map(|query| query.outputs.clone()).ok_or_else(|| {
        let known: Vec<_> = registry.graph().queries.iter().map(|q| format!("`{}@{}`", q.name, q.version)).collect();
        let problem = Problem::new(
            "not-found/query",
            format!("no query is called `{}`", request.query.as_deref().unwrap_or(name)),
        );
        if known.is_empty() {
            problem.with_help("declare one with `named_query` and deploy, or list features in `outputs`")
        } else {
            problem.with_note("queries", known.join(", "), None).with_help("check the name and the version")
        }
    })
}

/// What a query brings: values for each given slot of a plan, in its order, and instants.
pub(crate) struct Brought<'a> {
    pub(crate) inputs: Vec<&'a [serde_json::Value]>,
    pub(crate) as_of: Option<&'a Instants>,
    pub(crate) known_as_of: Option<&'a KnownAsOf>,
}

impl<'a> Brought<'a> {
    /// What a request brings to a plan of its shape.
    pub(crate) fn of(request: &'a QueryRequest) -> Self {
        Self {
            inputs: request.inputs.values().map(Vec::as_slice).collect(), // A plan has them in the order of their paths.
            as_of: request.as_of.as_ref(),
            known_as_of: request.known_as_of.as_ref(),
        }
    }
}

/// The rows of a query: a value of its type for each given slot and row, and each row's instants.
#[derive(Debug)]
pub(crate) struct ValueRows {
    /// In the plan's order.
    pub(crate) given: Vec<Vec<Value>>,
    pub(crate) as_of: Vec<Instant>,
    pub(crate) known_as_of: Vec<Instant>,
    /// See [`QueryAnswer::known_to`].
    pub(crate) known_to: Option<Instant>,
}

/// Up to where rows are answered whose instant lies after `now`, when nothing was said of what is known: facts arrive until
/// then, and an answer that had been given would be another one when it is asked again.
pub(crate) fn known_to(as_of: impl IntoIterator<Item = Instant>, now: Instant) -> Option<Instant> {
    as_of.into_iter().any(|at| at > now).then_some(now)
}

/// What a query brings, checked.
pub(crate) fn value_rows(plan: &Plan, brought: &Brought<'_>, now: Instant) -> Result<ValueRows, Problem> {
    let count = row_count(plan, brought)?;
    let mut given = Vec::with_capacity(plan.given.len());
    for (slot, values) in plan.given.iter().zip(&brought.inputs) {
        let slot = &plan.slots[slot.0];
        given.push(input_values(&slot.path, &slot.ty, slot.optional, values)?);
    }
    let as_of = instants(brought.as_of, "as_of", count, now)?;
    let mut upto = None;
    let known_as_of = match brought.known_as_of {
        None => {
            upto = known_to(as_of.iter().copied(), now);
            as_of.iter().map(|at| (*at).min(now)).collect()
        }
        Some(KnownAsOf::Latest) => vec![Instant::MAX; count],
        Some(KnownAsOf::At(at)) => instants(Some(at), "known_as_of", count, now)?,
    };
    Ok(ValueRows { given, as_of, known_as_of, known_to: upto })
}

impl ValueRows {
    /// The same as columns.
    pub(crate) fn columns(&self, plan: &Plan) -> Result<Rows, Problem> {
        let mut given = Vec::with_capacity(self.given.len());
        for (slot, values) in plan.given.iter().zip(&self.given) {
            let slot = &plan.slots[slot.0];
            given.push(build_array(&slot.ty, values).map_err(|error| {
                Problem::new("value/wrong-type", format!("`{}`: {error}", slot.path))
                    .with_help(format!("its type is `{}`", slot.ty.python_name()))
            })?);
        }
        Ok(Rows { given, as_of: column(&self.as_of), known_as_of: column(&self.known_as_of) })
    }
}

fn row_count(plan: &Plan, brought: &Brought<'_>) -> Result<usize, Problem> {
    let Some(first) = brought.inputs.first() else {
        return Ok(match brought.as_of {
            Some(Instants::Each(instants)) => instants.len(),
            _ => 1,
        });
    };
    let path = |input: usize| &plan.slots[plan.given[input].0].path;
    match brought.inputs.iter().position(|values| values.len() != first.len()) {
        None => Ok(first.len()),
        Some(other) => Err(Problem::new(
            "query/uneven-inputs",
            format!(
                "`{}` has {} values and `{}` has {}",
                path(0),
                first.len(),
                path(other),
                brought.inputs[other].len()
            ),
        )
        .with_help("give one value per row for every input")),
    }
}

fn instants(given: Option<&Instants>, what: &str, rows: usize, now: Instant) -> Result<Vec<Instant>, Problem> {
    match given {
        None => Ok(vec![now; rows]),
        Some(Instants::One(at)) => Ok(vec![*at; rows]),
        Some(Instants::Each(instants)) if instants.len() == rows => Ok(instants.clone()),
        Some(Instants::Each(instants)) => Err(Problem::new(
            "query/uneven-inputs",
            format!("`{what}` has {} instants for {rows} rows", instants.len()),
        )
        .with_help("give one instant, or one per row")),
    }
}

fn column(instants: &[Instant]) -> TimestampMicrosecondArray {
    let micros = instants.iter().map(|at| at.micros()).collect::<Vec<_>>();
    TimestampMicrosecondArray::from(micros).with_timezone("UTC")
}

fn input_values(
    path: &FeaturePath,
    ty: &Type,
    optional: bool,
    values: &[serde_json::Value],
) -> Result<Vec<Value>, Problem> {
    let mut typed = Vec::with_capacity(values.len());
    for (row, json) in values.iter().enumerate() {
        let value = Value::from_json(ty, json).map_err(|error| {
            let code = if error.got.contains("time zone") { "time/naive" } else { "value/wrong-type" };
            let help = if code == "time/naive" {
                "give the instant with its zone: `2025-03-01T12:00:00Z`".to_owned()
            } else {
                format!("its type is `{}`; give a value of that type, or leave the input out", ty.python_name())
            };
            Problem::new(code, format!("`{path}` in row {row}: {error}")).with_help(help)
        })?;
        if value == Value::Null && !optional {
            return Err(Problem::new("value/unexpected-null", format!("`{path}` in row {row} is null"))
                .with_help(format!("its type is `{}`; leave the input out if it is not known", ty.python_name())));
        }
        typed.push(value);
    }
    Ok(typed)
}

/// The columnar answer (rule S35).
pub(crate) fn to_json(plan: &Plan, rows: &Rows, known_to: Option<Instant>, answer: &Answer) -> QueryAnswer {
    let at =
        |index: usize| Instant::from_micros(rows.as_of.value(index)).expect("instants were checked when they came in");
    QueryAnswer {
        rows: answer.rows,
        as_of: (0..answer.rows).map(at).collect(),
        known_to,
        columns: answer.columns.iter().map(|column| answer_column(column, answer.rows)).collect(),
        plan: plan.fingerprint.clone(),
    }
}

fn answer_column(column: &crate::answer::AnswerColumn, rows: usize) -> QueryColumn {
    let cells = &column.cells;
    let value = |row: usize| match cells.state(row) {
        CellState::Value => read_value(cells.values(), &column.ty, row).to_json(&column.ty),
        _ => serde_json::Value::Null,
    };
    let absent = |row: &usize| cells.state(*row) != CellState::Value;
    QueryColumn {
        feature: column.path.clone(),
        ty: column.ty.python_name(),
        values: (0..rows).map(value).collect(),
        states: (0..rows).filter(absent).map(|row| (row, cells.state(row))).collect(),
        ages_us: column
            .ages
            .as_ref()
            .map(|ages| (0..rows).map(|row| ages.is_valid(row).then(|| ages.value(row))).collect()),
        source: source_text(&column.origin),
        errors: cells.errors().iter().map(|(row, error)| (*row, error.as_ref().clone())).collect::<BTreeMap<_, _>>(),
    }
}

pub(crate) fn source_text(origin: &Origin) -> String {
    match origin {
        Origin::Given => "given".to_owned(),
        Origin::Facts => "facts".to_owned(),
        Origin::Window => "window".to_owned(),
        Origin::Expression => "expression".to_owned(),
        Origin::Resolver(name) => format!("resolver:{name}"),
    }
}

/// An entity as the catalogue shows it.
pub(crate) fn catalogue_entry(registry: &Registry, entity: &Entity, policy: &ReadyPolicy) -> serde_json::Value {
    let features: Vec<_> = entity
        .features
        .iter()
        .map(|feature| {
            let name = FeatureRef::new(&entity.name, &feature.name);
            let stopped = policy.stopped_at(registry, &name);
            let mut view = serde_json::json!({
                "name": feature.name,
                "type": creta_registry::render_type(&feature.ty, feature.optional),
                "role": feature.role,
                "doc": feature.doc,
                "owner": registry.owner(&name),
                "tags": policy.tags(registry, &name),
                "unit": feature.unit,
                "windows": feature.window.as_ref().map(|window| window.last.clone()),
                "stored": registry.is_stored(&entity.name, &feature.name),
                "inputs": registry.inputs_of(&name).iter().map(ToString::to_string).collect::<Vec<_>>(),
                "deprecated": feature.deprecated,
            });
            if !stopped.is_empty() {
                view["declassified"] = serde_json::json!(stopped); // Tags of its inputs that two people agreed to stop here.
            }
            view
        })
        .collect();
    serde_json::json!({
        "name": entity.name,
        "doc": entity.doc,
        "owner": entity.owner,
        "tags": entity.tags,
        "features": features,
        "relations": entity.relations,
    })
}
