//! How much memory a training set takes, and what it may take.

use creta_model::Problem;
use creta_planner::{Plan, Step};
use creta_store::FactSnapshot;

use super::facts::width;
use crate::run::computed;

/// Less than this beside what the process holds anyway is refused.
const ROOM_MIN: u64 = 192 << 20;

/// Bytes of a fact beside its values while an operator works on it: as it was read, as it is sorted, and what stands before it.
const FACT_BYTES: u64 = 190;

/// Bytes of a fact for each aggregation's value, filter and sums.
const INPUT_BYTES: u64 = 72;

/// Bytes of a row while an operator works on it: its key, its instants, its place.
const ROW_BYTES: u64 = 96;

/// Bytes of a cell beside its value: states, ages, and the column while it is put in order.
const CELL_BYTES: u64 = 10;

/// Cells of a block at most.
const BLOCK_CELLS_MAX: usize = 1 << 21;

/// What a run may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Rows that are answered together at the end.
    pub(crate) block_rows: usize,
    /// Bytes of facts that may wait to be written.
    pub(crate) waiting_bytes: u64,
    /// Bytes that answering one part may take.
    pub(crate) part_bytes: u64,
}

impl Budget {
    /// For a process that may take `memory_bytes` and has taken `resident`; `None` where the whole run fits. A writer that holds
    /// a row group of what comes out has its share.
    pub(crate) fn of(
        memory_bytes: u64,
        resident: u64,
        plan: &Plan,
        rows: u64,
        snapshot: &FactSnapshot,
    ) -> Result<Option<Self>, Problem> {
        let room = memory_bytes.saturating_sub(resident);
        let writing =
            plan.outputs.iter().map(|slot| width(&plan.slots[slot.0].ty) + 8).sum::<u64>() * rows.min(1 << 17);
        if whole_bytes(plan, rows, snapshot) + writing <= room / 4 * 3 {
            return Ok(None);
        }
        let rest = room.saturating_sub(writing);
        if rest < ROOM_MIN {
            let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
            let message = format!(
                "{} MiB are too little for this training set: the process holds {} MiB already, and writing takes {} MiB",
                mebibytes(memory_bytes),
                mebibytes(resident),
                mebibytes(writing)
            );
            let least = mebibytes(resident + writing + ROOM_MIN);
            return Err(Problem::new("training/too-little-memory", message)
                .with_help(format!("give it at least {least} MiB, or ask for fewer rows at once")));
        }
        let rows_max = BLOCK_CELLS_MAX / plan.slots.len().max(1);
        Ok(Some(Self {
            block_rows: 1 << rows_max.clamp(1 << 10, 1 << 16).ilog2(),
            waiting_bytes: rest / 6,
            part_bytes: rest / 2,
        }))
    }

    /// Into how many parts a step is split that takes so many bytes as a whole.
    pub(crate) fn parts(&self, step_bytes: u64) -> usize {
        step_bytes.div_ceil(self.part_bytes.max(1)).clamp(1, PARTS_MAX as u64) as usize
    }
}

/// A part is numbered by a byte.
const PARTS_MAX: usize = 256;

/// Bytes that a run takes which holds everything.
fn whole_bytes(plan: &Plan, rows: u64, snapshot: &FactSnapshot) -> u64 {
    let cells: u64 = plan.slots.iter().map(|slot| rows * (width(&slot.ty) + CELL_BYTES)).sum();
    let step = plan.steps.iter().map(|step| step_bytes(step, plan, rows, snapshot)).max();
    // What was read of facts stays for other steps.
    let read: u64 = plan.steps.iter().map(|step| facts_of(step, snapshot) * (40 + values_width(step))).sum();
    cells + step.unwrap_or(0) + read
}

fn facts_of(step: &Step, snapshot: &FactSnapshot) -> u64 {
    match step {
        Step::Lookup { entity, .. } | Step::Windows { entity, .. } => {
            snapshot.statistics().get(entity).map_or(0, |statistics| statistics.rows)
        }
        Step::Expression { .. } | Step::Resolve { .. } => 0,
    }
}

fn values_width(step: &Step) -> u64 {
    match step {
        Step::Lookup { key, columns, .. } => {
            key.iter().map(|part| width(&part.ty)).sum::<u64>()
                + columns.iter().map(|column| width(&column.column.ty)).sum::<u64>()
        }
        Step::Windows { key, columns, .. } => key.iter().chain(columns).map(|column| width(&column.ty)).sum(),
        Step::Expression { .. } | Step::Resolve { .. } => 0,
    }
}

/// Bytes that a step takes which is not split: those of its facts, its rows and its answers, which are there as columns and as
/// bytes, plain and sealed.
pub(crate) fn step_bytes(step: &Step, plan: &Plan, rows: u64, snapshot: &FactSnapshot) -> u64 {
    let facts = facts_of(step, snapshot);
    let answers: u64 = computed(step).iter().map(|slot| 3 * width(&plan.slots[slot.0].ty) + CELL_BYTES + 8).sum();
    let inputs = match step {
        Step::Windows { aggregations, .. } => {
            let mut inputs = Vec::new();
            for aggregation in aggregations {
                let input = (&aggregation.value, &aggregation.filter);
                if !inputs.contains(&input) {
                    inputs.push(input);
                }
            }
            inputs.len() as u64
        }
        _ => 0,
    };
    facts * (FACT_BYTES + values_width(step) + inputs * INPUT_BYTES) + rows * (ROW_BYTES + answers)
}

/// Bytes that this process holds in memory; 0 where the system does not say.
pub(crate) fn resident_bytes() -> u64 {
    /// What Linux counts in.
    const PAGE: u64 = 4096;
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE
}
