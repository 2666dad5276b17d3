//! Training sets within a limit of memory.
//!
//! A step that reads facts is answered in parts: its rows and its facts are split by key, so that the rows of one part see no
//! fact of another. The facts of a part wait in sealed files until it is its turn; its answers wait there until all steps are
//! done. Then rows are put together again, a block after the other, in the order of the spine, and what is computed row by row
//! is computed then. In memory are the spine, one part, and one block; the answers are those of a run that holds everything.

mod budget;
mod cells;
mod facts;
mod spill;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute;
use creta_model::{EntityId, FeatureId, Name};
use creta_planner::{BoundExpr, KeyColumn, Plan, SlotId, Step};
use creta_store::FactSnapshot;

pub(crate) use self::budget::{Budget, resident_bytes};
use self::cells::{read_cells, write_batch, write_cells};
use self::facts::{NoFacts, PartFacts, Split, Superseded, part_of};
use self::spill::Place;
pub(crate) use self::spill::{SpillFolder, SpillRun};
use crate::answer::Answer;
use crate::column::CellColumn;
use crate::error::EngineError;
use crate::host::ResolverHost;
use crate::key_set::{Encoded, KeyEncoder};
use crate::point_in_time::{Instants, KeyedRows, lookup};
use crate::run::{Rows, RunOptions, Slots, computed, run_unbound};
use crate::windows::windows;

/// How far a training set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrainingProgress {
    /// Rows of parts and of the answer that are done; each step that is answered in parts counts every row once.
    pub rows_done: u64,
    /// How many there are to do.
    pub rows_total: u64,
    /// Bytes written to sealed files so far.
    pub spilled_bytes: u64,
    /// Parts that an earlier run, which was stopped, had done.
    pub parts_resumed: u64,
}

/// How a training set is built.
#[derive(Clone, Copy, Default)]
pub struct TrainingOptions<'a> {
    /// What the process may take at most, in bytes, what it has taken already included. Without it everything is held.
    pub memory_bytes: Option<u64>,
    /// Called when a part or a range of rows is done.
    pub progress: Option<&'a dyn Fn(&TrainingProgress)>,
}

/// One run in parts.
pub(crate) struct BoundedRun<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) rows: &'a Rows,
    pub(crate) snapshot: &'a FactSnapshot,
    pub(crate) host: &'a dyn ResolverHost,
    pub(crate) options: &'a RunOptions,
    pub(crate) budget: Budget,
    pub(crate) run: SpillRun<'a>,
    pub(crate) progress: &'a dyn Fn(&TrainingProgress),
}

/// What a step that reads facts asks about.
struct Asked<'a> {
    entity: EntityId,
    entity_name: &'a Name,
    key: &'a [KeyColumn],
    key_slots: &'a [SlotId],
    columns: Vec<FeatureId>,
    /// Of its windows; `None` for lookups.
    span_max: Option<i64>,
}

impl<'a> Asked<'a> {
    fn of(step: &'a Step) -> Option<Self> {
        match step {
            Step::Lookup { entity, entity_name, key, key_slots, columns } => {
                let columns = columns.iter().map(|column| column.column.feature).collect();
                Some(Self { entity: *entity, entity_name, key, key_slots, columns, span_max: None })
            }
            Step::Windows { entity, entity_name, key, key_slots, columns, aggregations } => {
                let columns = columns.iter().map(|column| column.feature).collect();
                let span_max = aggregations.iter().map(|aggregation| aggregation.span.micros()).max();
                Some(Self { entity: *entity, entity_name, key, key_slots, columns, span_max: span_max.or(Some(0)) })
            }
            Step::Expression { .. } | Step::Resolve { .. } => None,
        }
    }

    /// Whether both find the facts of a row by the same keys.
    fn is_about_the_same(&self, other: &Asked<'_>) -> bool {
        (self.entity, self.key, self.key_slots) == (other.entity, other.key, other.key_slots)
    }
}

impl BoundedRun<'_> {
    /// Calls `visit` with the answers for one range of rows after the other, from the first row to the last.
    pub(crate) fn run<E: From<EngineError>>(
        mut self,
        mut visit: impl FnMut(Range<usize>, Answer) -> Result<(), E>,
    ) -> Result<(), E> {
        let rows = self.rows.as_of.len();
        if rows >= u32::MAX as usize {
            return Err(EngineError::TooMany { what: "rows", max: u64::from(u32::MAX) - 1 }.into());
        }
        let early = early_steps(self.plan);
        let stored: Vec<bool> = self
            .plan
            .steps
            .iter()
            .enumerate()
            .map(|(n, step)| early.contains(&n) || Asked::of(step).is_some())
            .collect();
        let passes = stored.iter().filter(|stored| **stored).count() as u64 + 1;
        let mut progress = TrainingProgress {
            rows_total: rows as u64 * passes,
            parts_resumed: self.run.resumed as u64,
            ..TrainingProgress::default()
        };
        let mut superseded: Option<(EntityId, Superseded)> = None;
        let mut answered: BTreeSet<usize> = BTreeSet::new();
        for (number, step) in self.plan.steps.iter().enumerate().filter(|(number, _)| stored[*number]) {
            if answered.contains(&number) {
                continue;
            }
            let Some(asked) = Asked::of(step) else {
                self.answer_early(number, &mut progress)?;
                continue;
            };
            if superseded.as_ref().is_none_or(|(entity, _)| *entity != asked.entity) {
                superseded = Some((asked.entity, Superseded::of(self.snapshot, asked.entity)?));
            }
            let (_, of_entity) = superseded.as_ref().expect("made above");
            // What finds the same facts by the same keys is answered with it.
            let others = self.plan.steps.iter().enumerate().skip(number);
            let together: Vec<(usize, Asked<'_>)> = others
                .filter_map(|(number, step)| Some((number, Asked::of(step)?)))
                .filter(|(_, other)| other.is_about_the_same(&asked))
                .collect();
            answered.extend(together.iter().map(|(number, _)| *number));
            self.answer_in_parts(&together, of_entity, &mut progress)?;
        }
        for block in 0..self.blocks() {
            let range = self.range(block);
            let answer = self.answer_block(block, &stored)?;
            visit(range.clone(), answer)?;
            self.report(&mut progress, range.len());
        }
        Ok(self.run.finish()?)
    }

    fn report(&self, progress: &mut TrainingProgress, rows: usize) {
        progress.rows_done += rows as u64;
        progress.spilled_bytes = self.run.written;
        (self.progress)(progress);
    }

    fn blocks(&self) -> usize {
        self.rows.as_of.len().div_ceil(self.run.manifest.block_rows)
    }

    /// The rows of a block.
    fn range(&self, block: usize) -> Range<usize> {
        let start = block * self.run.manifest.block_rows;
        start..(start + self.run.manifest.block_rows).min(self.rows.as_of.len())
    }

    fn rows_of(&self, range: &Range<usize>) -> Rows {
        let slice = |times: &TimestampMicrosecondArray| times.slice(range.start, range.len());
        Rows {
            given: self.rows.given.iter().map(|column| column.slice(range.start, range.len())).collect(),
            as_of: slice(&self.rows.as_of),
            known_as_of: slice(&self.rows.known_as_of),
        }
    }

    /// Slots of a block, filled with what is given and with what the steps before `before` stored that `needed` names.
    fn slots_of_block(
        &self,
        block: usize,
        before: usize,
        needed: &dyn Fn(usize) -> bool,
    ) -> Result<(Rows, Slots<'_>), EngineError> {
        let rows = self.rows_of(&self.range(block));
        let mut slots = Slots::new(self.plan, self.options);
        slots.give(&rows, rows.as_of.len())?;
        for (number, step) in self.plan.steps.iter().enumerate().take(before) {
            if needed(number) {
                slots.fill(computed(step).into_iter(), self.load(number, block, rows.as_of.len())?)?;
            }
        }
        Ok((rows, slots))
    }

    /// The answers of a stored step for a block.
    fn load(&self, step: usize, block: usize, rows: usize) -> Result<Vec<CellColumn>, EngineError> {
        let parts = self.run.manifest.parts[&step];
        let mut pieces = Vec::new();
        // Which piece a part is, and how many of its rows were taken.
        let mut piece_of: Vec<Option<usize>> = vec![None; parts];
        for (part, piece) in piece_of.iter_mut().enumerate() {
            if let Some(bytes) = self.run.read_block(step, part, block)? {
                *piece = Some(pieces.len());
                pieces.push(read_cells(bytes)?);
            }
        }
        if pieces.len() == 1 {
            return Ok(pieces.remove(0));
        }
        let assigned = self.parts_of_block(step, block)?;
        let mut taken = vec![0; pieces.len()];
        let picks: Vec<(usize, usize)> = assigned
            .iter()
            .map(|part| {
                let piece = piece_of[usize::from(*part)].expect("a part that rows belong to was answered");
                taken[piece] += 1;
                (piece, taken[piece] - 1)
            })
            .collect();
        debug_assert_eq!(picks.len(), rows);
        let columns = pieces.first().map_or(0, Vec::len);
        (0..columns)
            .map(|column| {
                let of_column: Vec<CellColumn> = pieces.iter().map(|piece| piece[column].clone()).collect();
                CellColumn::interleave(&of_column, &picks)
            })
            .collect()
    }

    /// The part that each row of a block belongs to in a step. Rows without a key are in the first.
    fn parts_of_block(&self, step: usize, block: usize) -> Result<Vec<u8>, EngineError> {
        let parts = self.run.manifest.parts[&step];
        let rows = self.range(block).len();
        let Some(asked) = Asked::of(&self.plan.steps[step]).filter(|_| parts > 1) else { return Ok(vec![0; rows]) };
        let cells = self.keys_of_block(step, &asked, block)?;
        let columns: Vec<ArrayRef> = cells.iter().map(|cells| Arc::clone(cells.values())).collect();
        let types: Vec<_> = asked.key.iter().map(|part| part.ty.clone()).collect();
        let encoder = KeyEncoder::new(&types, &columns)?;
        let mut key = Vec::new();
        Ok((0..rows)
            .map(|row| {
                key.clear();
                if encoder.encode(row, &mut key) == Encoded::Complete { part_of(&key, parts) as u8 } else { 0 }
            })
            .collect())
    }

    fn keys_of_block(&self, step: usize, asked: &Asked<'_>, block: usize) -> Result<Vec<Arc<CellColumn>>, EngineError> {
        let fills =
            |number: usize| computed(&self.plan.steps[number]).iter().any(|slot| asked.key_slots.contains(slot));
        let (_, slots) = self.slots_of_block(block, step, &fills)?;
        asked.key_slots.iter().map(|slot| slots.get(*slot)).collect()
    }

    /// Answers steps that find the same facts by the same keys.
    fn answer_in_parts(
        &mut self,
        steps: &[(usize, Asked<'_>)],
        superseded: &Superseded,
        progress: &mut TrainingProgress,
    ) -> Result<(), EngineError> {
        let (first, asked) = &steps[0];
        let rows = self.rows.as_of.len();
        let bytes = |number: usize| budget::step_bytes(&self.plan.steps[number], self.plan, rows as u64, self.snapshot);
        let wanted = self.budget.parts(steps.iter().map(|(number, _)| bytes(*number)).max().unwrap_or(0));
        let parts = *self.run.manifest.parts.entry(*first).or_insert(wanted);
        for (number, _) in steps {
            self.run.manifest.parts.insert(*number, parts);
        }
        let mut rows_of_part: Vec<Vec<u32>> = vec![Vec::new(); parts];
        for block in 0..self.blocks() {
            let start = self.range(block).start as u32;
            for (row, part) in (start..).zip(self.parts_of_block(*first, block)?) {
                rows_of_part[usize::from(part)].push(row);
            }
        }
        let as_of = || self.rows.as_of.values().iter().copied();
        let earliest = as_of().min().unwrap_or(i64::MAX);
        let from = |asked: &Asked<'_>| asked.span_max.map_or(i64::MIN, |span| earliest.saturating_sub(span));
        let mut columns: Vec<FeatureId> = steps.iter().flat_map(|(_, asked)| asked.columns.iter().copied()).collect();
        columns.sort_unstable();
        columns.dedup();
        let is_done = |run: &SpillRun<'_>, part: usize| steps.iter().all(|(number, _)| run.is_done(*number, part));
        let split = Split {
            name: *first,
            entity: asked.entity,
            key: asked.key,
            columns: &columns,
            times: (
                steps.iter().map(|(_, asked)| from(asked)).min().unwrap_or(i64::MIN),
                as_of().max().unwrap_or(i64::MIN),
            ),
            wanted: (0..parts).map(|part| !is_done(&self.run, part)).collect(),
            waiting_bytes: self.budget.waiting_bytes,
        };
        let mut facts = if split.wanted.contains(&true) {
            Some(split.facts(self.snapshot, superseded, &mut self.run)?)
        } else {
            None
        };
        for (part, rows) in rows_of_part.into_iter().enumerate() {
            if !is_done(&self.run, part) {
                let facts = facts.as_mut().expect("some part is not done").take(part, &mut self.run)?;
                for (number, asked) in steps {
                    if !self.run.is_done(*number, part) {
                        let answers = self.answer_part(*number, asked, &rows, &facts)?;
                        let (bytes, blocks) = self.by_block(&rows, &answers)?;
                        drop(answers);
                        self.run.finish_part((*number, part), &bytes, blocks)?;
                    }
                }
            }
            self.report(progress, rows.len() * steps.len());
        }
        Ok(())
    }

    /// The cells of a step for some of the rows.
    fn answer_part(
        &self,
        number: usize,
        asked: &Asked<'_>,
        rows: &[u32],
        facts: &PartFacts,
    ) -> Result<Vec<CellColumn>, EngineError> {
        let cells = self.keys_of_rows(number, asked, rows)?;
        let indices = UInt32Array::from(rows.to_vec());
        let taken = |times: &TimestampMicrosecondArray| -> Result<Vec<i64>, EngineError> {
            let plain = Int64Array::new(times.values().clone(), None);
            let taken = compute::take(&plain, &indices, None)?;
            Ok(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&taken).values().to_vec())
        };
        let (as_of, known_as_of) = (taken(&self.rows.as_of)?, taken(&self.rows.known_as_of)?);
        let at = Instants { as_of: &as_of, known_as_of: &known_as_of };
        let keyed = KeyedRows { entity: asked.entity, entity_name: asked.entity_name, key: asked.key, cells: &cells };
        match &self.plan.steps[number] {
            Step::Lookup { columns, .. } => lookup(&keyed, columns, at, facts),
            Step::Windows { columns, aggregations, .. } => {
                let types = aggregations.iter().map(|aggregation| self.plan.slots[aggregation.slot.0].ty.clone());
                windows(&keyed, columns, aggregations, &types.collect::<Vec<_>>(), at, facts, self.options.threads)
            }
            Step::Expression { .. } | Step::Resolve { .. } => unreachable!("asks for no facts"),
        }
    }

    /// The keys of some rows, which are in their order.
    fn keys_of_rows(
        &self,
        number: usize,
        asked: &Asked<'_>,
        rows: &[u32],
    ) -> Result<Vec<Arc<CellColumn>>, EngineError> {
        let mut pieces: Vec<Vec<CellColumn>> = vec![Vec::new(); asked.key_slots.len()];
        let mut picks: Vec<(usize, usize)> = Vec::with_capacity(rows.len());
        for block in 0..self.blocks() {
            let range = self.range(block);
            let of_block = within(rows, &range);
            if of_block.is_empty() && block > 0 {
                continue;
            }
            let local: Vec<u32> = of_block.iter().map(|row| row - range.start as u32).collect();
            for (pieces, cells) in pieces.iter_mut().zip(self.keys_of_block(number, asked, block)?) {
                pieces.push(cells.take(&local)?);
            }
            let piece = pieces.first().map_or(0, |pieces| pieces.len() - 1);
            picks.extend((0..local.len()).map(|row| (piece, row)));
        }
        pieces.iter().map(|pieces| Ok(Arc::new(CellColumn::interleave(pieces, &picks)?))).collect()
    }

    /// Answers of some rows as bytes, and where those for each block stand in them.
    fn by_block(&self, rows: &[u32], answers: &[CellColumn]) -> Result<(Vec<u8>, Vec<Place>), EngineError> {
        let (mut bytes, mut places, mut done) = (Vec::new(), Vec::new(), 0);
        for block in 0..self.blocks() {
            let count = within(rows, &self.range(block)).len();
            let start = bytes.len() as u64;
            if count > 0 {
                let cells: Vec<CellColumn> = answers.iter().map(|cells| cells.slice(done, count)).collect();
                write_cells(&cells, &mut bytes)?;
                done += count;
            }
            places.push((start, bytes.len() as u64 - start));
        }
        Ok((bytes, places))
    }

    /// Computes a step whose answers later steps find facts by, and stores it as one part.
    fn answer_early(&mut self, number: usize, progress: &mut TrainingProgress) -> Result<(), EngineError> {
        self.run.manifest.parts.insert(number, 1);
        if !self.run.is_done(number, 0) {
            let step = &self.plan.steps[number];
            let inputs: BTreeSet<SlotId> = inputs(step).into_iter().collect();
            let (mut bytes, mut places) = (Vec::new(), Vec::new());
            for block in 0..self.blocks() {
                let fills = |other: usize| computed(&self.plan.steps[other]).iter().any(|slot| inputs.contains(slot));
                let (rows, mut slots) = self.slots_of_block(block, number, &fills)?;
                run_unbound(step, &mut slots, &rows, (&NoFacts, self.host), self.options.threads)?;
                let cells = computed(step).into_iter().map(|slot| Ok(CellColumn::clone(&*slots.get(slot)?)));
                let start = bytes.len() as u64;
                write_cells(&cells.collect::<Result<Vec<_>, EngineError>>()?, &mut bytes)?;
                places.push((start, bytes.len() as u64 - start));
            }
            self.run.finish_part((number, 0), &bytes, places)?;
        }
        self.report(progress, self.rows.as_of.len());
        Ok(())
    }

    fn answer_block(&self, block: usize, stored: &[bool]) -> Result<Answer, EngineError> {
        let (rows, mut slots) = self.slots_of_block(block, self.plan.steps.len(), &|number| stored[number])?;
        for (step, _) in self.plan.steps.iter().zip(stored).filter(|(_, stored)| !**stored) {
            run_unbound(step, &mut slots, &rows, (&NoFacts, self.host), self.options.threads)?;
        }
        let at = crate::run::instants(&rows)?;
        let columns = self.plan.outputs.iter().map(|slot| slots.answer(*slot, at)).collect::<Result<_, _>>()?;
        Ok(Answer { columns, rows: rows.as_of.len() })
    }
}

/// The name of a run: what is asked, about which rows, and how much was known.
pub(crate) fn run_id(folder: &SpillFolder, question: &[u8], table: &RecordBatch) -> Result<String, EngineError> {
    /// Rows that are looked at together.
    const ROWS: usize = 1 << 16;
    let mut mark = folder.mark(&[question]);
    for start in (0..table.num_rows()).step_by(ROWS) {
        let mut bytes = Vec::new();
        write_batch(&table.slice(start, ROWS.min(table.num_rows() - start)), &mut bytes)?;
        mark = folder.mark(&[&mark, &bytes]);
    }
    Ok(mark[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The part of ascending rows that lies in a range.
fn within<'a>(rows: &'a [u32], range: &Range<usize>) -> &'a [u32] {
    let start = rows.partition_point(|row| (*row as usize) < range.start);
    let end = rows.partition_point(|row| (*row as usize) < range.end);
    &rows[start..end]
}

/// The slots that a step reads.
fn inputs(step: &Step) -> Vec<SlotId> {
    fn of_expression(expr: &BoundExpr, found: &mut Vec<SlotId>) {
        match expr {
            BoundExpr::Column { index, .. } => found.push(SlotId(*index)),
            BoundExpr::Literal { .. } => {}
            BoundExpr::Call { args, .. } => args.iter().for_each(|arg| of_expression(arg, found)),
        }
    }
    match step {
        Step::Lookup { key_slots, .. } | Step::Windows { key_slots, .. } => key_slots.clone(),
        Step::Expression { expr, .. } => {
            let mut found = Vec::new();
            of_expression(expr, &mut found);
            found
        }
        Step::Resolve { inputs, .. } => inputs.iter().filter_map(|input| input.slot).collect(),
    }
}

/// The steps that read no facts and whose answers, directly or not, are keys of steps that do.
fn early_steps(plan: &Plan) -> BTreeSet<usize> {
    let mut needed: BTreeSet<SlotId> = BTreeSet::new();
    let mut early = BTreeSet::new();
    for (number, step) in plan.steps.iter().enumerate().rev() {
        let reads_facts = matches!(step, Step::Lookup { .. } | Step::Windows { .. });
        if !reads_facts && computed(step).iter().any(|slot| needed.contains(slot)) {
            early.insert(number);
            needed.extend(inputs(step));
        }
        if reads_facts {
            needed.extend(inputs(step));
        }
    }
    early
}
