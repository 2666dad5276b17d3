//! Windows: aggregations over the facts of a key between two instants (rules S3, S4, S7, S8, S13, S26).
//!
//! Facts are sorted once by key and rule S7, rows by key and instant. A row's window is then a range of positions that only moves
//! forward from row to row, cut into runs of visible facts where some arrived late or were superseded. What is aggregated over a
//! run comes from prefix sums, queues and trees, built only where several rows ask. All of it is exact, so the answer is the same
//! whatever was precomputed and however rows were split between threads. The online index has tiles: there a window of a key with
//! many facts is put together from partial aggregates and the facts at its ends (rule S11).

mod distinct;
mod extreme;
mod input;
mod outcome;
mod partial;
mod percentile;
mod prefix;
mod short;
mod sums;
mod tile;
mod tiled;
mod wide;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use creta_model::{Aggregate, CellError, Type};
use creta_planner::{Aggregation, KeyColumn};

use self::distinct::{Identities, Seen};
use self::extreme::ExtremeQueue;
use self::input::Input;
use self::outcome::{Outcome, Outcomes};
use self::short::ShortSums;
use self::sums::{KeySums, Scratch};
use crate::column::CellColumn;
use crate::error::EngineError;
use crate::fact_index::Found;
use crate::facts::{FactPoint, FactRange, FactReader, FactRequest};
use crate::parallel::in_parallel;
use crate::point_in_time::{Instants, KeyedRows, Spine};
use crate::timeline::{Timeline, Timelines};

pub(crate) use self::partial::{Accumulator, peek};
pub(crate) use self::tile::{TileFacts, TileInput, TileMark, merged, next_partial, partials, tile_inputs};
use self::tiled::{Tiled, Wanted};

/// One column of cells per aggregation, in order; `types` are the types of their slots.
///
/// With `f` facts and `r` rows: O(f log f + r log r) to sort, less where they come sorted; then per row and aggregation about O(1)
/// for count, sum, mean, var, std, min, max, first and last, O(n) for the last n, O(log f) for percentiles, O(window) for distinct,
/// and O(log f) more for a
/// window and each of its facts that arrived late or was superseded.
pub(crate) fn windows(
    keyed: &KeyedRows<'_>,
    columns: &[KeyColumn],
    aggregations: &[Aggregation],
    types: &[Type],
    at: Instants<'_>,
    facts: &dyn FactReader,
    threads: usize,
) -> Result<Vec<CellColumn>, EngineError> {
    let spine = Spine::new(keyed, at)?;
    let mut features = Vec::new();
    for column in columns {
        let is_key = keyed.key.iter().any(|part| part.feature == column.feature);
        if !is_key && !features.contains(&column.feature) {
            features.push(column.feature);
        }
    }
    let span_max = aggregations.iter().map(|aggregation| aggregation.span.micros()).max().unwrap_or(0);
    let as_of = || spine.points.iter().map(|point| point.as_of);
    let range = FactRange::Window {
        from: as_of().min().unwrap_or(i64::MAX).saturating_sub(span_max),
        to: as_of().max().unwrap_or(i64::MIN),
        span_max,
    };
    let request = FactRequest {
        entity: keyed.entity,
        key: keyed.key,
        keys: &spine.keys,
        columns: &features,
        points: &spine.points,
        range,
    };
    let frames = frames(aggregations);
    let Read { batches, tiled } = if spine.points.is_empty() {
        Read { batches: Vec::new(), tiled: None }
    } else {
        read(&request, columns, aggregations, &frames, facts)?
    };
    let members: Vec<_> = batches.iter().collect();
    let timelines = Timelines::new(&members, &request, keyed.entity_name.as_str())?;
    let many = spine.points.len() * FACTS_PER_ROW_MAX >= timelines.len();
    let inputs = Inputs::new(keyed, columns, aggregations, types, &batches, &timelines, many)?;
    let overflow =
        crate::column::cell_error("arithmetic/overflow", "the sum does not fit its type; aggregate a float instead");
    let plan = WindowPlan { timelines: &timelines, frames, inputs, aggregations, types, tiled, overflow };

    let order = spine.by_key_and_time();
    let workers = threads.clamp(1, order.len().div_ceil(ROWS_PER_THREAD_MIN).max(1));
    let chunk_rows = order.len().div_ceil(workers).max(1);
    let chunk = |number: usize| {
        let start = (number * chunk_rows).min(order.len());
        plan.answer(&order[start..(start + chunk_rows).min(order.len())], &spine.points)
    };
    let chunks = in_parallel(workers, workers, chunk);
    let order: Vec<u32> = order.iter().map(|point| spine.rows[*point as usize] as u32).collect();
    let outcomes = Outcomes { keyed, spine: &spine, order: &order, chunk_rows, rows: at.as_of.len() };
    outcomes.columns(chunks, &plan, workers)
}

/// With more facts than this for each row, sums before every fact do not pay.
const FACTS_PER_ROW_MAX: usize = 8;

/// Fewer rows are not worth a thread.
const ROWS_PER_THREAD_MIN: usize = 512;

/// A key with fewer facts or fewer rows than these is answered by walking through its facts.
const PRECOMPUTE_FACTS_MIN: usize = 32;
const PRECOMPUTE_ROWS_MIN: usize = 3;

/// One window length, and the aggregations over it.
struct Frame {
    span: i64,
    include_now: bool,
    aggregations: Vec<usize>,
}

fn frames(aggregations: &[Aggregation]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for (index, aggregation) in aggregations.iter().enumerate() {
        let (span, include_now) = (aggregation.span.micros(), aggregation.include_now);
        match frames.iter_mut().find(|frame| frame.span == span && frame.include_now == include_now) {
            Some(frame) => frame.aggregations.push(index),
            None => frames.push(Frame { span, include_now, aggregations: vec![index] }),
        }
    }
    frames
}

/// Facts, and windows that are put together from tiles.
struct Read {
    batches: Vec<RecordBatch>,
    tiled: Option<Tiled>,
}

fn read(
    request: &FactRequest<'_>,
    columns: &[KeyColumn],
    aggregations: &[Aggregation],
    frames: &[Frame],
    facts: &dyn FactReader,
) -> Result<Read, EngineError> {
    let Some(view) = facts.tiles() else { return Ok(Read { batches: facts.read(request)?, tiled: None }) };
    let inputs = view.index().inputs(request);
    let wanted = Wanted::of(inputs, columns, aggregations, frames);
    let spans: Vec<(i64, bool)> = frames.iter().map(|frame| (frame.span, frame.include_now)).collect();
    let found = view
        .find_windows(request, &spans, &wanted.wants)
        .map_err(|error| EngineError::Reader { source: Box::new(error) })?
        .ok_or_else(|| EngineError::plan("no online index serves one of its steps"))?;
    let Found { batches, pages, covers } = found;
    let marks = inputs.iter().map(|input| input.mark).collect();
    let tiled = (!covers.is_empty()).then_some(Tiled { wanted, marks, pages, covers });
    Ok(Read { batches, tiled })
}

/// What is aggregated, each expression with its filter once.
struct Inputs {
    all: Vec<Input>,
    /// Index into `all` of each aggregation.
    of: Vec<usize>,
}

impl Inputs {
    fn new(
        keyed: &KeyedRows<'_>,
        columns: &[KeyColumn],
        aggregations: &[Aggregation],
        types: &[Type],
        batches: &[RecordBatch],
        timelines: &Timelines,
        many: bool,
    ) -> Result<Self, EngineError> {
        let mut inputs = Self { all: Vec::new(), of: Vec::with_capacity(aggregations.len()) };
        for (index, aggregation) in aggregations.iter().enumerate() {
            let known = aggregations[..index]
                .iter()
                .position(|other| other.value == aggregation.value && other.filter == aggregation.filter);
            let input = match known {
                Some(other) => inputs.of[other],
                None => {
                    inputs.all.push(Input::new(keyed, columns, aggregation, batches, timelines)?);
                    inputs.all.len() - 1
                }
            };
            inputs.all[input].prepare(aggregation, &types[index], many)?;
            inputs.of.push(input);
        }
        Ok(inputs)
    }
}

/// What all threads share.
struct WindowPlan<'a> {
    timelines: &'a Timelines,
    frames: Vec<Frame>,
    inputs: Inputs,
    aggregations: &'a [Aggregation],
    types: &'a [Type],
    tiled: Option<Tiled>,
    overflow: Arc<CellError>,
}

impl WindowPlan<'_> {
    /// The outcomes of each aggregation for some points, which are sorted by key and time.
    fn answer(&self, order: &[u32], all: &[FactPoint]) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = self
            .aggregations
            .iter()
            .zip(self.types)
            .map(|(aggregation, ty)| Outcome::new(aggregation, ty, order.len()))
            .collect();
        let mut seen: Vec<Option<Seen>> =
            self.inputs.all.iter().map(|input| input.identities.as_ref().map(Identities::seen)).collect();
        let short: Vec<Option<ShortSums<'_>>> = self.inputs.all.iter().map(ShortSums::of).collect();
        let mut scratch = Scratch::new();
        let mut runs = Vec::new();
        let mut points = Vec::new();
        for of_key in order.chunk_by(|a, b| all[*a as usize].key == all[*b as usize].key) {
            let timeline = self.timelines.of_key(all[of_key[0] as usize].key);
            let tiled = self.tiled.as_ref().filter(|tiled| tiled.has(of_key[0]));
            let precompute = tiled.is_none()
                && of_key.len() >= PRECOMPUTE_ROWS_MIN
                && timeline.range().len() >= PRECOMPUTE_FACTS_MIN;
            let keys: Vec<KeySums<'_>> =
                self.inputs.all.iter().map(|input| KeySums::new(input, timeline.range(), precompute)).collect();
            if let Some(tiled) = tiled {
                let mut answers = tiled.answers(self, &timeline, &keys);
                for point in of_key {
                    answers.answer(*point, &all[*point as usize], &mut seen, &mut scratch, &mut outcomes);
                }
                continue;
            }
            // Side by side, since every frame passes over them.
            points.clear();
            points.extend(of_key.iter().map(|point| all[*point as usize]));
            for frame in &self.frames {
                let mut sweep = Sweep::new(&timeline, frame);
                let mut queues: Vec<ExtremeQueue> =
                    frame.aggregations.iter().map(|_| ExtremeQueue::default()).collect();
                for point in &points {
                    let window = sweep.window(point);
                    let is_whole = window.is_empty() || timeline.all_certain(&window, point.known_as_of);
                    let runs: &[Range<usize>] = match is_whole {
                        true if window.is_empty() => &[],
                        true => std::slice::from_ref(&window),
                        false => {
                            runs.clear();
                            timeline.for_each_run(window.clone(), point.known_as_of, &mut |run| runs.push(run));
                            &runs
                        }
                    };
                    for (index, queue) in frame.aggregations.iter().zip(&mut queues) {
                        let (input, outcome) = (self.inputs.of[*index], &mut outcomes[*index]);
                        let aggregate = &self.aggregations[*index].aggregate;
                        if is_whole
                            && let Some(short) = &short[input]
                            && short.answer(aggregate, &window, outcome)
                        {
                            continue;
                        }
                        let queue = (precompute && runs.first() == Some(&window)).then_some(queue);
                        let one = One { plan: self, sums: &keys[input], runs };
                        one.answer(aggregate, &mut seen[input], &mut scratch, queue, outcome);
                    }
                }
            }
        }
        outcomes
    }
}

/// The windows of one key and length, for instants that do not go back.
struct Sweep<'a> {
    timeline: &'a Timeline<'a>,
    frame: &'a Frame,
    from: usize,
    to: usize,
}

impl<'a> Sweep<'a> {
    fn new(timeline: &'a Timeline<'a>, frame: &'a Frame) -> Self {
        let start = timeline.range().start;
        Self { timeline, frame, from: start, to: start }
    }

    /// The positions with `as_of - span <= event_time < as_of`, `<= as_of` when now is included.
    fn window(&mut self, point: &FactPoint) -> Range<usize> {
        let Self { timeline, frame, .. } = self;
        self.from = timeline.advance_to(self.from, point.as_of.saturating_sub(frame.span));
        self.to = if frame.include_now {
            timeline.advance_past(self.to, point.as_of)
        } else {
            timeline.advance_to(self.to, point.as_of)
        };
        self.from..self.to.max(self.from)
    }
}

/// One aggregation over one window.
struct One<'a> {
    plan: &'a WindowPlan<'a>,
    sums: &'a KeySums<'a>,
    runs: &'a [Range<usize>],
}

impl One<'_> {
    /// `queue` is there when the whole window is visible.
    fn answer(
        &self,
        aggregate: &Aggregate,
        seen: &mut Option<Seen>,
        scratch: &mut Scratch,
        queue: Option<&mut ExtremeQueue>,
        outcome: &mut Outcome,
    ) {
        let input = self.sums.input;
        if let Some(error) = self.runs.iter().find_map(|run| input.first_failure(run.clone())) {
            return outcome.fail(error);
        }
        let count: u64 = self.runs.iter().map(|run| input.count(run.clone())).sum();
        match aggregate {
            Aggregate::Count => outcome.push_int(count as i64),
            Aggregate::Distinct => {
                let (Some(identities), Some(seen)) = (&input.identities, seen) else {
                    unreachable!("prepared for distinct")
                };
                outcome.push_int(identities.count(seen, self.positions()));
            }
            _ if count == 0 => outcome.push_missing(),
            Aggregate::Sum => match self.sums.sum(self.runs, scratch, outcome) {
                Some(()) => {}
                None => outcome.fail(&self.plan.overflow),
            },
            Aggregate::Mean => match self.sums.mean(self.runs, count, scratch, outcome) {
                Some(()) => {}
                None => outcome.fail(&self.plan.overflow),
            },
            Aggregate::Var | Aggregate::Std if count < 2 => outcome.push_missing(),
            Aggregate::Var => outcome.push_float(self.sums.variance(self.runs, count, scratch)),
            // The square root is correctly rounded too, so the result is fixed by the variance.
            Aggregate::Std => outcome.push_float(self.sums.variance(self.runs, count, scratch).sqrt()),
            Aggregate::Min => outcome.push_position(self.sums.smallest(self.runs, queue)),
            Aggregate::Max => outcome.push_position(self.sums.largest(self.runs, queue)),
            Aggregate::First => outcome.push_position(self.positions().next()),
            Aggregate::Last => outcome.push_position(self.positions().next_back()),
            Aggregate::LastN { n } => outcome.push_list(self.positions().rev().take(*n as usize)),
            Aggregate::Percentile { thousandths } => {
                match self.sums.percentile(self.runs, count, *thousandths, scratch, outcome) {
                    Some(()) => {}
                    None => outcome.fail(&self.plan.overflow),
                }
            }
        }
    }

    /// Positions that count, in the order of rule S7.
    fn positions(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.runs.iter().cloned().flatten().filter(|position| self.sums.input.counts(*position))
    }
}
