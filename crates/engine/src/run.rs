//! Runs a plan for the rows of a request.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use creta_audit::Permit;
use creta_iam::Action;
use creta_model::{CellState, EntityId, FeaturePath, Instant, Name};
use creta_planner::{Plan, Slot, SlotId, Step};
use creta_registry::Registry;

use crate::answer::{Answer, AnswerColumn};
use crate::column::CellColumn;
use crate::error::EngineError;
use crate::expression::evaluate;
use crate::facts::FactReader;
use crate::host::ResolverHost;
use crate::parallel::in_parallel;
use crate::point_in_time::{Instants, KeyedRows, lookup};
use crate::resolve::{Input, resolve};
use crate::rows::{Evidence, Judged, RowGuard};
use crate::value::is_of_type;
use crate::windows::windows;

/// The rows of a request.
#[derive(Debug, Clone)]
pub struct Rows {
    /// One column per given slot of the plan, in its order; null is an observed null (rule S24).
    pub given: Vec<ArrayRef>,
    /// Each row's instant, UTC, without nulls.
    pub as_of: TimestampMicrosecondArray,
    /// Facts that arrived later do not exist for the row; by default its `as_of` (rule S1), [`Instant::MAX`] for
    /// restated history.
    pub known_as_of: TimestampMicrosecondArray,
}

impl Rows {
    /// Lets nobody know more than what has arrived until `now`. The answer is `now` where some row's instant is later.
    pub(crate) fn know_at_most(&mut self, now: Instant) -> Option<Instant> {
        let micros = now.micros();
        self.known_as_of =
            self.known_as_of.unary::<_, TimestampMicrosecondType>(|at| at.min(micros)).with_timezone("UTC");
        self.as_of.values().iter().any(|at| *at > micros).then_some(now)
    }

    /// Rows that know what was known at their own instant.
    pub fn new(given: Vec<ArrayRef>, as_of: TimestampMicrosecondArray) -> Self {
        Self { given, known_as_of: as_of.clone(), as_of }
    }

    /// `rows` rows at one instant.
    pub fn at(given: Vec<ArrayRef>, rows: usize, as_of: Instant) -> Self {
        Self::new(given, TimestampMicrosecondArray::from(vec![as_of.micros(); rows]).with_timezone("UTC"))
    }
}

/// How to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Threads that may work at once, at least 1. Answers do not depend on it (rule S26).
    pub threads: usize,
    /// Slots that the principal may not see: their cells are `denied`, and so is what would be computed from them.
    pub denied: Vec<SlotId>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { threads: 1, denied: Vec::new() }
    }
}

/// Runs a plan: one cell per row and output, rows in their order (rule S21).
///
/// `permit` proves that somebody was asked and that it was recorded; it must be for reading features. What it covers is
/// the caller's decision: a plan knows slots, not who may see them. Reads facts once per lookup and window step; memory is
/// that of the slots and of one step's facts. Errors concern the whole run, never a single row.
pub fn run(
    plan: &Plan,
    rows: &Rows,
    permit: &Permit,
    facts: &dyn FactReader,
    host: &dyn ResolverHost,
    options: &RunOptions,
) -> Result<Answer, EngineError> {
    run_guarded(plan, rows, permit, facts, host, options, None)
}

/// As [`run`], by the row rules that bind whoever asks.
pub(crate) fn run_guarded(
    plan: &Plan,
    rows: &Rows,
    permit: &Permit,
    facts: &dyn FactReader,
    host: &dyn ResolverHost,
    options: &RunOptions,
    guard: Option<Guarding<'_>>,
) -> Result<Answer, EngineError> {
    match permit.action() {
        Action::Query | Action::Train | Action::Verify | Action::StatisticsRead => {
            execute(plan, rows, facts, host, options, guard)
        }
        action => Err(EngineError::NotPermitted { action: action.as_str() }),
    }
}

/// Row rules, and where numbers of entities are known.
#[derive(Clone, Copy)]
pub(crate) struct Guarding<'a> {
    pub(crate) guard: &'a RowGuard,
    pub(crate) registry: &'a Registry,
}

pub(crate) fn execute(
    plan: &Plan,
    rows: &Rows,
    facts: &dyn FactReader,
    host: &dyn ResolverHost,
    options: &RunOptions,
    guarding: Option<Guarding<'_>>,
) -> Result<Answer, EngineError> {
    execute_judged(plan, rows, facts, host, options, guarding).map(|(answer, _)| answer)
}

/// As [`execute`], and for each row whether it is about an entity that a rule keeps from whoever asks; empty without rules.
pub(crate) fn execute_judged(
    plan: &Plan,
    rows: &Rows,
    facts: &dyn FactReader,
    host: &dyn ResolverHost,
    options: &RunOptions,
    guarding: Option<Guarding<'_>>,
) -> Result<(Answer, Vec<bool>), EngineError> {
    let at = instants(rows)?;
    let mut slots = Slots::new(plan, options);
    slots.give(rows, at.as_of.len())?;
    let mut guarded = Guarded { guarding, judged: Judged::default(), evidence: Evidence { rows, facts, host } };
    let mut done = 0;
    while done < plan.steps.len() {
        // Row rules look at facts of their own accord.
        let alone = guarding.is_some() || options.threads == 1;
        let together = if alone { 1 } else { slots.ready(&plan.steps[done..]).max(1) };
        let steps = &plan.steps[done..done + together];
        if let [step] = steps {
            run_step(step, &mut slots, at, &mut guarded, options.threads)?;
            slots.deny_reached(step, &mut guarded)?;
        } else {
            let answer = |index: usize| answer_from_facts(&steps[index], &slots, at, facts, options.threads);
            let answers = in_parallel(together, options.threads, answer);
            for (step, answers) in steps.iter().zip(answers) {
                slots.fill(computed(step).into_iter(), answers?)?;
            }
        }
        done += together;
        if guarding.is_none() {
            let later = |entity| plan.steps[done..].iter().any(|step| reads(step) == Some(entity));
            steps.iter().filter_map(reads).filter(|entity| !later(*entity)).for_each(|entity| facts.release(entity));
        }
    }
    let mut columns = plan.outputs.iter().map(|slot| slots.answer(*slot, at)).collect::<Result<Vec<_>, _>>()?;
    let mut unseen = Vec::new();
    if let Some(Guarding { guard, registry }) = guarding {
        let given = plan.given.iter().map(|id| Ok((slots.slot(*id)?.path.clone(), *id, slots.get(*id)?)));
        let given = given.collect::<Result<Vec<_>, EngineError>>()?;
        let number = |name: &Name| registry.entity_id(name);
        guard.deny_rows(number, &mut columns, &given, &mut guarded.judged, guarded.evidence)?;
        let asked = plan.outputs.iter().map(|slot| Ok(&slots.slot(*slot)?.path.root));
        let roots = asked.chain(given.iter().map(|(path, _, _)| Ok(&path.root))).collect::<Result<_, EngineError>>()?;
        let (judged, evidence) = (&mut guarded.judged, guarded.evidence);
        unseen = guard.unseen_rows((number, roots), &given, judged, evidence, |slot| slots.get(slot))?;
    }
    Ok((Answer { columns, rows: at.as_of.len() }, unseen))
}

/// What a step runs on, and the rules that bind whoever asks.
struct Guarded<'a> {
    guarding: Option<Guarding<'a>>,
    judged: Judged,
    evidence: Evidence<'a>,
}

fn run_step(
    step: &Step,
    slots: &mut Slots<'_>,
    at: Instants<'_>,
    guarded: &mut Guarded<'_>,
    threads: usize,
) -> Result<(), EngineError> {
    let Evidence { rows, facts, host } = guarded.evidence;
    match step {
        Step::Lookup { entity, key, key_slots, .. } | Step::Windows { entity, key, key_slots, .. } => {
            let mut answers = answer_from_facts(step, slots, at, facts, threads)?;
            if let Some(Guarding { guard, .. }) = guarded.guarding {
                let cells = slots.all(key_slots)?;
                let keyed = (key.as_slice(), key_slots.as_slice(), cells.as_slice());
                let (judged, evidence) = (&mut guarded.judged, guarded.evidence);
                answers = match step {
                    Step::Lookup { .. } => guard.deny_looked_up(*entity, keyed, answers, judged, evidence)?,
                    _ => guard.deny_aggregated(*entity, keyed, answers, judged, evidence)?,
                };
            }
            slots.fill(computed(step).into_iter(), answers)
        }
        Step::Expression { expr, slot, default } => {
            let cells = evaluate(expr, &|index| slots.get(SlotId(index)), at.as_of.len())?;
            let answer = CellColumn::clone(&cells).with_default(expr.ty(), default.as_ref())?;
            slots.fill([*slot].into_iter(), vec![answer])
        }
        Step::Resolve { resolver, inputs, outputs } => {
            let mut read = Vec::with_capacity(inputs.len());
            for call in inputs {
                let cells = match call.slot {
                    Some(slot) => slots.get(slot)?,
                    None => Arc::new(CellColumn::from_values(Arc::new(rows.as_of.clone().with_timezone("UTC")))),
                };
                read.push(Input { call, cells });
            }
            let answers = resolve(resolver, &read, outputs, at.as_of.len(), host)?;
            slots.fill(outputs.iter().map(|output| output.slot), answers)
        }
    }
}

/// The cells of a step that reads facts.
fn answer_from_facts(
    step: &Step,
    slots: &Slots<'_>,
    at: Instants<'_>,
    facts: &dyn FactReader,
    threads: usize,
) -> Result<Vec<CellColumn>, EngineError> {
    match step {
        Step::Lookup { entity, entity_name, key, key_slots, columns } => {
            let cells = slots.all(key_slots)?;
            lookup(&KeyedRows { entity: *entity, entity_name, key, cells: &cells }, columns, at, facts)
        }
        Step::Windows { entity, entity_name, key, key_slots, columns, aggregations } => {
            let cells = slots.all(key_slots)?;
            let keyed = KeyedRows { entity: *entity, entity_name, key, cells: &cells };
            let types: Vec<_> = aggregations
                .iter()
                .map(|aggregation| slots.slot(aggregation.slot).map(|slot| slot.ty.clone()))
                .collect::<Result<_, _>>()?;
            windows(&keyed, columns, aggregations, &types, at, facts, threads)
        }
        Step::Expression { .. } | Step::Resolve { .. } => {
            Err(EngineError::plan("a step that reads no facts was asked for some"))
        }
    }
}

/// Runs a step on the columns before it, for somebody whom no row rule binds.
pub(crate) fn run_unbound(
    step: &Step,
    slots: &mut Slots<'_>,
    rows: &Rows,
    (facts, host): (&dyn FactReader, &dyn ResolverHost),
    threads: usize,
) -> Result<(), EngineError> {
    let mut nobody = Guarded { guarding: None, judged: Judged::default(), evidence: Evidence { rows, facts, host } };
    run_step(step, slots, instants(rows)?, &mut nobody, threads)
}

/// Columns computed so far.
pub(crate) struct Slots<'a> {
    plan: &'a Plan,
    denied: &'a [SlotId],
    columns: Vec<Option<Arc<CellColumn>>>,
}

impl<'a> Slots<'a> {
    pub(crate) fn new(plan: &'a Plan, options: &'a RunOptions) -> Self {
        Self { plan, denied: &options.denied, columns: vec![None; plan.slots.len()] }
    }

    pub(crate) fn slot(&self, slot: SlotId) -> Result<&'a Slot, EngineError> {
        self.plan.slots.get(slot.0).ok_or_else(|| EngineError::plan(format!("it has no slot {}", slot.0)))
    }

    pub(crate) fn get(&self, slot: SlotId) -> Result<Arc<CellColumn>, EngineError> {
        let column = self.columns.get(slot.0).and_then(Option::as_ref);
        column.cloned().ok_or_else(|| EngineError::plan(format!("slot {} is read before it is computed", slot.0)))
    }

    /// How many of these steps, from the first on, read facts by keys that are there.
    fn ready(&self, steps: &[Step]) -> usize {
        let is_ready = |step: &&Step| match step {
            Step::Lookup { key_slots, .. } | Step::Windows { key_slots, .. } => {
                key_slots.iter().all(|slot| self.columns.get(slot.0).is_some_and(Option::is_some))
            }
            Step::Expression { .. } | Step::Resolve { .. } => false,
        };
        steps.iter().take_while(is_ready).count()
    }

    fn all(&self, slots: &[SlotId]) -> Result<Vec<Arc<CellColumn>>, EngineError> {
        slots.iter().map(|slot| self.get(*slot)).collect()
    }

    pub(crate) fn give(&mut self, rows: &Rows, count: usize) -> Result<(), EngineError> {
        if rows.given.len() != self.plan.given.len() {
            return Err(EngineError::GivenCount { expected: self.plan.given.len(), given: rows.given.len() });
        }
        for (slot_id, values) in self.plan.given.iter().zip(&rows.given) {
            let slot = self.slot(*slot_id)?;
            if !is_of_type(values, &slot.ty) {
                return Err(EngineError::GivenType {
                    path: slot.path.to_string(),
                    expected: slot.ty.python_name(),
                    given: values.data_type().to_string(),
                });
            }
            if values.len() != count {
                return Err(EngineError::RowCount {
                    column: slot.path.to_string(),
                    expected: count,
                    given: values.len(),
                });
            }
            self.fill([*slot_id].into_iter(), vec![CellColumn::from_values(Arc::clone(values))])?;
        }
        Ok(())
    }

    pub(crate) fn fill(
        &mut self,
        slots: impl Iterator<Item = SlotId>,
        columns: Vec<CellColumn>,
    ) -> Result<(), EngineError> {
        for (slot_id, column) in slots.zip(columns) {
            let slot = self.slot(slot_id)?;
            if !is_of_type(column.values(), &slot.ty) {
                let detail = format!(
                    "`{}` is {}, a step made {}",
                    slot.path,
                    slot.ty.python_name(),
                    column.values().data_type()
                );
                return Err(EngineError::plan(detail));
            }
            let denied = self.denied.contains(&slot_id);
            let column = if denied { CellColumn::absent(&slot.ty, column.len(), CellState::Denied) } else { column };
            self.columns[slot_id.0] = Some(Arc::new(column));
        }
        Ok(())
    }

    /// Applies row rules to what a step computed of entities that are reached along relations.
    fn deny_reached(&mut self, step: &Step, guarded: &mut Guarded<'_>) -> Result<(), EngineError> {
        let Some(Guarding { guard, registry }) = guarded.guarding else { return Ok(()) };
        for id in computed(step) {
            let path = &self.slot(id)?.path;
            if path.via.is_empty() {
                continue;
            }
            let slot_of = |path: &FeaturePath| {
                let index = self.plan.slots.iter().position(|slot| slot.path == *path)?;
                Some((SlotId(index), self.get(SlotId(index)).ok()?))
            };
            let column = CellColumn::clone(&*self.get(id)?);
            let (judged, evidence) = (&mut guarded.judged, guarded.evidence);
            let column = guard.deny_reached(registry, path, &slot_of, column, judged, evidence)?;
            self.columns[id.0] = Some(Arc::new(column));
        }
        Ok(())
    }

    pub(crate) fn answer(&self, slot_id: SlotId, at: Instants<'_>) -> Result<AnswerColumn, EngineError> {
        let slot = self.slot(slot_id)?;
        let cells = CellColumn::clone(&*self.get(slot_id)?);
        let ages = cells.event_times().map(|times| {
            let ages = times.iter().zip(at.as_of).map(|(event_time, as_of)| Some(as_of - event_time?));
            ages.collect::<Int64Array>()
        });
        Ok(AnswerColumn { path: slot.path.clone(), ty: slot.ty.clone(), origin: slot.origin.clone(), cells, ages })
    }
}

/// The entity whose facts a step reads.
fn reads(step: &Step) -> Option<EntityId> {
    match step {
        Step::Lookup { entity, .. } | Step::Windows { entity, .. } => Some(*entity),
        Step::Expression { .. } | Step::Resolve { .. } => None,
    }
}

/// The slots that a step fills.
pub(crate) fn computed(step: &Step) -> Vec<SlotId> {
    match step {
        Step::Lookup { columns, .. } => columns.iter().map(|column| column.slot).collect(),
        Step::Windows { aggregations, .. } => aggregations.iter().map(|aggregation| aggregation.slot).collect(),
        Step::Expression { slot, .. } => vec![*slot],
        Step::Resolve { outputs, .. } => outputs.iter().map(|output| output.slot).collect(),
    }
}

pub(crate) fn instants(rows: &Rows) -> Result<Instants<'_>, EngineError> {
    if rows.known_as_of.len() != rows.as_of.len() {
        return Err(EngineError::RowCount {
            column: "known_as_of".into(),
            expected: rows.as_of.len(),
            given: rows.known_as_of.len(),
        });
    }
    for (name, column) in [("as_of", &rows.as_of), ("known_as_of", &rows.known_as_of)] {
        let usable = |row: usize| column.is_valid(row) && Instant::from_micros(column.value(row)).is_ok();
        if let Some(row) = (0..column.len()).find(|row| !usable(*row)) {
            return Err(EngineError::Instant { column: name, row });
        }
    }
    Ok(Instants { as_of: rows.as_of.values(), known_as_of: rows.known_as_of.values() })
}
