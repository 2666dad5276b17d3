//! Plans run row by row on values, for the few rows that an application asks about at a time.
//!
//! A second way to what running a plan over columns gives, for plans that look facts up by given keys and call resolvers that are
//! compiled. Facts are read where they lie in the bytes of the online index; expressions and windows run over columns of the few
//! rows that there are. It answers the same, byte for byte (property tests below), or says that it does not answer; and nothing
//! in it waits, neither for a process nor for a trial, or takes longer than a fraction of a millisecond.

mod calls;
mod columns;
mod facts;
mod json;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use creta_model::{CellError, CellState, Instant, Type, Value};
use creta_planner::{Origin, Plan, Step};
use creta_store::StoreError;

use calls::Call;
use columns::OverColumns;
use facts::{FactColumn, Found, Lookup};
use json::Output;

use crate::answers::ValueRows;
use crate::error::EngineError;
use crate::fact_index::{IndexView, NotABlock, Plain, damaged};
use crate::host::{AtOnce, ResolverHost};

/// Work that all calls of one question may be together, in units of the compiler: a fraction of a millisecond. What is more goes
/// the other way, on a thread that nobody waits for.
const WORK_MAX: u64 = 1 << 14;
/// What one question may make, rows times cells of a row: each takes a fraction of a microsecond and more.
const MADE_MAX: usize = 1_024;

/// A plan that runs row by row.
pub(crate) struct RowPlan {
    lookups: Vec<Lookup>,
    facts: Vec<FactColumn>,
    /// What is done after the lookups, in order, and the place of the first cell of a row that it makes.
    steps: Vec<(RowStep, usize)>,
    /// The compiled forms of the calls, once all are at hand.
    compiled: OnceLock<Vec<Arc<dyn AtOnce>>>,
    /// How many cells of a row steps make.
    made: usize,
    outputs: Vec<Output>,
    /// The end of every answer in JSON.
    end: Vec<u8>,
}

enum RowStep {
    Call(Call),
    OverColumns(OverColumns),
}

/// Where the cells of a slot come from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// The given column at this place.
    Given(usize),
    /// The fact column at this place.
    Fact(usize),
    /// Made by a step, at this place of a row.
    Made(usize),
}

/// A cell that a step made.
#[derive(Debug, Clone)]
enum Made {
    Value(Value),
    Absent(CellState),
    Failed(Arc<CellError>),
}

/// One cell of an answer.
#[derive(Debug)]
struct Cell<'a> {
    content: Content<'a>,
    /// Of the fact that it came from, in microseconds.
    event_time: Option<i64>,
}

/// What a cell holds.
#[derive(Debug)]
enum Content<'a> {
    Plain(Plain<'a>),
    Value(&'a Value),
    /// Neither a value nor an observed null nor an error.
    Absent(CellState),
    Failed(&'a Arc<CellError>),
}

impl RowPlan {
    /// `None` for a plan that does something else, or reads what is not read in place.
    pub(crate) fn of(plan: &Plan) -> Option<Self> {
        let mut sources: Vec<Option<Source>> = vec![None; plan.slots.len()];
        for (position, slot) in plan.given.iter().enumerate() {
            sources[slot.0] = Some(Source::Given(position));
        }
        let (mut lookups, mut facts, mut steps, mut made) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for step in &plan.steps {
            match step {
                Step::Lookup { entity, key, key_slots, columns, .. } => {
                    let given = |slot: &creta_planner::SlotId| match sources[slot.0] {
                        Some(Source::Given(position)) => Some(position),
                        _ => None,
                    };
                    let key_slots = key_slots.iter().map(given).collect::<Option<_>>()?;
                    for (column, asked) in columns.iter().enumerate() {
                        sources[asked.slot.0] = Some(Source::Fact(facts.len()));
                        facts.push(FactColumn::of(lookups.len(), column, asked)?);
                    }
                    lookups.push(Lookup::new(*entity, key, key_slots, columns));
                }
                other => {
                    let source = |slot: usize| sources[slot];
                    let step = match other {
                        Step::Resolve { resolver, inputs, outputs } => {
                            RowStep::Call(Call::of(resolver, inputs, outputs, |slot| source(slot.0))?)
                        }
                        _ => RowStep::OverColumns(OverColumns::of(plan, other, source)?),
                    };
                    let first = made;
                    for slot in columns::made(other) {
                        sources[slot.0] = Some(Source::Made(made));
                        made += 1;
                    }
                    steps.push((step, first));
                }
            }
        }
        let output = |id: &creta_planner::SlotId| {
            let slot = &plan.slots[id.0];
            let source = sources[id.0]?;
            // A cell with an age came from a fact, and only then.
            ((slot.origin == Origin::Facts) == matches!(source, Source::Fact(_))).then(|| Output::new(slot, source))
        };
        let outputs = plan.outputs.iter().map(output).collect::<Option<_>>()?;
        let end = json::end_of(plan);
        Some(Self { lookups, facts, steps, compiled: OnceLock::new(), made, outputs, end })
    }

    /// Whether so many rows can be answered without waiting for anything, as far as is known before they are.
    pub(crate) fn is_at_hand(&self, rows: usize, host: &dyn ResolverHost) -> bool {
        self.steps.is_empty() || (rows * self.made <= MADE_MAX && self.compiled(host).is_some())
    }

    fn compiled(&self, host: &dyn ResolverHost) -> Option<&[Arc<dyn AtOnce>]> {
        if let Some(compiled) = self.compiled.get() {
            return Some(compiled);
        }
        let calls = self.steps.iter().filter_map(|(step, _)| match step {
            RowStep::Call(call) => Some(call),
            RowStep::OverColumns(_) => None,
        });
        // What is not compiled, or was not tried yet, may be at another time.
        let all = calls.map(|call| host.at_once(&call.resolver)).collect::<Option<Vec<_>>>()?;
        Some(self.compiled.get_or_init(|| all))
    }

    /// The cells of these rows, which are those of the plan; `None` when they have to be found over columns. Definitions and
    /// host must be those that the plan was made for.
    pub(crate) fn run<'a>(
        &'a self,
        view: &IndexView<'_>,
        host: &dyn ResolverHost,
        rows: &'a ValueRows,
    ) -> Result<Option<Cells<'a>>, EngineError> {
        let count = rows.as_of.len();
        if !self.steps.is_empty() && count * self.made > MADE_MAX {
            return Ok(None);
        }
        let mut found = Vec::with_capacity(self.lookups.len());
        for lookup in &self.lookups {
            match lookup.find(view, rows).map_err(failed)? {
                Some(of_lookup) => found.push(of_lookup),
                None => return Ok(None),
            }
        }
        let made = vec![Made::Absent(CellState::Missing); count * self.made];
        let mut cells = Cells { plan: self, rows, found, made };
        if self.steps.is_empty() {
            return Ok(Some(cells));
        }
        let Some(compiled) = self.compiled(host) else { return Ok(None) };
        let ran = creta_compiler::bounded(WORK_MAX, || self.run_steps(view, compiled, &mut cells));
        Ok(ran?.map(|()| cells))
    }

    fn run_steps(
        &self,
        view: &IndexView<'_>,
        compiled: &[Arc<dyn AtOnce>],
        cells: &mut Cells<'_>,
    ) -> Result<Option<()>, EngineError> {
        let mut compiled = compiled.iter();
        for (step, first) in &self.steps {
            match step {
                RowStep::Call(call) => {
                    let compiled = compiled.next().expect("each call has its compiled form");
                    for row in 0..cells.rows() {
                        let at = row * self.made + first;
                        if call.run(cells, row, at, compiled.as_ref()).map_err(broken)?.is_none() {
                            return Ok(None);
                        }
                    }
                }
                RowStep::OverColumns(step) => {
                    let Some(columns) = step.run(cells, view)? else { return Ok(None) };
                    debug_assert_eq!(columns.len(), step.makes());
                    for (place, column) in columns.into_iter().enumerate() {
                        for (row, made) in column.into_iter().enumerate() {
                            cells.made[row * self.made + first + place] = made;
                        }
                    }
                }
            }
        }
        Ok(Some(()))
    }
}

/// The cells of some rows.
pub(crate) struct Cells<'a> {
    plan: &'a RowPlan,
    rows: &'a ValueRows,
    /// Of each lookup.
    found: Vec<Found>,
    /// Row by row, as far as steps went.
    made: Vec<Made>,
}

impl Cells<'_> {
    fn cell(&self, source: Source, row: usize) -> Result<Cell<'_>, NotABlock> {
        Ok(match source {
            Source::Given(place) => Cell::of(&self.rows.given[place][row]),
            Source::Fact(place) => {
                let column = &self.plan.facts[place];
                column.cell(&self.found[column.lookup], row, self.rows.as_of[row])?
            }
            Source::Made(place) => {
                let content = match &self.made[row * self.plan.made + place] {
                    Made::Value(value) => Content::Value(value),
                    Made::Absent(state) => Content::Absent(*state),
                    Made::Failed(error) => Content::Failed(error),
                };
                Cell { content, event_time: None }
            }
        })
    }

    /// How many rows.
    fn rows(&self) -> usize {
        self.rows.as_of.len()
    }

    /// See [`crate::QueryAnswer::known_to`].
    fn known_to(&self) -> Option<Instant> {
        self.rows.known_to
    }

    /// Each row's instant.
    fn as_of(&self) -> &[Instant] {
        &self.rows.as_of
    }
}

impl<'a> Cell<'a> {
    fn of(value: &'a Value) -> Self {
        Self { content: Content::Value(value), event_time: None }
    }

    /// What the cell is.
    fn state(&self) -> CellState {
        match &self.content {
            Content::Plain(Plain::Null) | Content::Value(Value::Null) => CellState::Null,
            Content::Plain(_) | Content::Value(_) => CellState::Value,
            Content::Absent(state) => *state,
            Content::Failed(_) => CellState::Error,
        }
    }

    /// The value of type `ty`; null where there is none.
    fn value(&self, ty: &Type) -> Result<Value, NotABlock> {
        match &self.content {
            Content::Plain(plain) => plain.value(ty),
            Content::Value(value) => Ok((*value).clone()),
            Content::Absent(_) | Content::Failed(_) => Ok(Value::Null),
        }
    }

    fn copied(&self) -> Made {
        match &self.content {
            Content::Absent(state) => Made::Absent(*state),
            Content::Failed(error) => Made::Failed(Arc::clone(error)),
            Content::Plain(_) | Content::Value(_) => Made::Value(Value::Null),
        }
    }
}

fn failed(error: StoreError) -> EngineError {
    EngineError::Reader { source: Box::new(error) }
}

fn broken(error: NotABlock) -> EngineError {
    failed(damaged(error))
}
