//! Windows put together from tiles and facts (rule S11).

use std::collections::HashMap;
use std::ops::Range;

use creta_model::Aggregate;
use creta_planner::{Aggregation, KeyColumn};
use num_traits::ToPrimitive;

use super::distinct::Seen;
use super::input::{Input, Numbers};
use super::outcome::Outcome;
use super::partial::{Accumulator, LARGEST, SMALLEST};
use super::sums::{KeySums, Scratch, whole};
use super::tile::{TileInput, TileMark};
use super::wide::{Total, WIDE_LIMBS};
use super::{Frame, One, WindowPlan};
use crate::exact::round_quotient;
use crate::expression::{divide_half_even, in_38_digits};
use crate::fact_index::{Cover, Page, Want, partial_of};
use crate::facts::FactPoint;
use crate::timeline::Timeline;

/// Numbers of aggregations, with that of the index's input where partials are merged.
type Members = Vec<(usize, Option<usize>)>;

/// What the aggregations of each frame want of their windows.
pub(super) struct Wanted {
    /// Of each frame, without repeats.
    pub(super) wants: Vec<Vec<Want>>,
    /// The aggregations of each want.
    of: Vec<Vec<Members>>,
}

impl Wanted {
    pub(super) fn of(
        inputs: &[TileInput],
        columns: &[KeyColumn],
        aggregations: &[Aggregation],
        frames: &[Frame],
    ) -> Self {
        let mut wanted = Self { wants: Vec::new(), of: Vec::new() };
        for frame in frames {
            let mut merging = Want { inputs: Vec::new(), from_start: true, facts: 0 };
            let mut merged = Vec::new();
            let (mut wants, mut of): (Vec<Want>, Vec<Members>) = (Vec::new(), Vec::new());
            for index in &frame.aggregations {
                let aggregation = &aggregations[*index];
                let input = inputs.iter().position(|input| input.serves(aggregation, columns));
                let ends = |from_start: bool, facts: u32| (from_start, u64::from(facts));
                let (from_start, facts) = match (input, &aggregation.aggregate) {
                    (None, _) => (true, u64::MAX),
                    (Some(_), Aggregate::First) => ends(true, 1),
                    (Some(_), Aggregate::Last) => ends(false, 1),
                    (Some(_), Aggregate::LastN { n }) => ends(false, *n),
                    (Some(input), _) => {
                        if !merging.inputs.contains(&input) {
                            merging.inputs.push(input);
                        }
                        merged.push((*index, Some(input)));
                        continue;
                    }
                };
                let want = Want { inputs: input.into_iter().collect(), from_start, facts };
                match wants.iter().position(|other| *other == want) {
                    Some(place) => of[place].push((*index, None)),
                    None => {
                        wants.push(want);
                        of.push(vec![(*index, None)]);
                    }
                }
            }
            if !merged.is_empty() {
                // Each input is put together once.
                merged.sort_by_key(|(_, input)| *input);
                wants.push(merging);
                of.push(merged);
            }
            wanted.wants.push(wants);
            wanted.of.push(of);
        }
        wanted
    }
}

/// Windows of keys that have tiles.
pub(super) struct Tiled {
    pub(super) wanted: Wanted,
    /// Inputs of the index.
    pub(super) marks: Vec<TileMark>,
    pub(super) pages: Vec<Page>,
    /// By number of the point: for each frame a cover per want.
    pub(super) covers: HashMap<u32, Vec<Vec<Cover>>>,
}

impl Tiled {
    /// Whether the windows of a point are put together from tiles; those of all points of its key are, or none.
    pub(super) fn has(&self, point: u32) -> bool {
        self.covers.contains_key(&point)
    }

    pub(super) fn answers<'a>(
        &'a self,
        plan: &'a WindowPlan<'a>,
        timeline: &'a Timeline<'a>,
        sums: &'a [KeySums<'a>],
    ) -> Answers<'a> {
        Answers { tiled: self, plan, timeline, sums, accumulator: Accumulator::new(), runs: Vec::new() }
    }
}

/// Answers the windows of one key.
pub(super) struct Answers<'a> {
    tiled: &'a Tiled,
    plan: &'a WindowPlan<'a>,
    timeline: &'a Timeline<'a>,
    sums: &'a [KeySums<'a>],
    accumulator: Box<Accumulator>,
    runs: Vec<Range<usize>>,
}

impl Answers<'_> {
    /// Pushes what each aggregation comes to at a point.
    pub(super) fn answer(
        &mut self,
        number: u32,
        point: &FactPoint,
        seen: &mut [Option<Seen>],
        scratch: &mut Scratch,
        outcomes: &mut [Outcome],
    ) {
        let plan = self.plan;
        for (covers, of) in self.tiled.covers[&number].iter().zip(&self.tiled.wanted.of) {
            for (cover, aggregations) in covers.iter().zip(of) {
                self.find_runs(cover, point.known_as_of);
                let mut accumulated = None;
                for (index, input) in aggregations {
                    let aggregate = &plan.aggregations[*index].aggregate;
                    let of_input = plan.inputs.of[*index];
                    let outcome = &mut outcomes[*index];
                    match input {
                        None => {
                            let one = One { plan, sums: &self.sums[of_input], runs: &self.runs };
                            one.answer(aggregate, &mut seen[of_input], scratch, None, outcome);
                        }
                        Some(input) => {
                            let facts = &plan.inputs.all[of_input];
                            let failure = self.runs.iter().find_map(|run| facts.first_failure(run.clone()));
                            if let Some(error) = failure {
                                outcome.fail(error);
                                continue;
                            }
                            if accumulated != Some(*input) {
                                self.accumulate(cover, *input, facts);
                                accumulated = Some(*input);
                            }
                            if push(aggregate, &self.accumulator, facts, outcome).is_none() {
                                outcome.fail(&plan.overflow);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Visible facts among those of a cover that are not in tiles.
    fn find_runs(&mut self, cover: &Cover, known_as_of: i64) {
        self.runs.clear();
        for (first, last) in &cover.facts {
            let positions = self.timeline.first_at(*first)..self.timeline.first_after(*last);
            if !positions.is_empty() {
                self.timeline.for_each_run(positions, known_as_of, &mut |run| self.runs.push(run));
            }
        }
    }

    fn accumulate(&mut self, cover: &Cover, input: usize, facts: &Input) {
        let mark = &self.tiled.marks[input];
        self.accumulator.clear();
        for (page, entry) in &cover.tiles {
            let page = &self.tiled.pages[*page as usize];
            let partial = partial_of(page, page.partials(*entry), input, mark);
            let partial = partial.ok().flatten().expect("a cover has tiles only that hold its inputs");
            self.accumulator.merge(mark.keeps, partial).expect("a partial whose head was read is whole");
        }
        let keys = if mark.keeps & (SMALLEST | LARGEST) == 0 { None } else { facts.fixed_keys() };
        for position in self.runs.iter().cloned().flatten().filter(|position| facts.counts(*position)) {
            let number = facts.numbers.as_ref().map(|numbers| (numbers, position));
            self.accumulator.add(mark.keeps, number, keys.map(|keys| keys[position]));
        }
    }
}

/// Pushes an aggregate; `None` if its type cannot hold it.
fn push(aggregate: &Aggregate, all: &Accumulator, input: &Input, outcome: &mut Outcome) -> Option<()> {
    let count = all.count();
    match aggregate {
        Aggregate::Count => outcome.push_int(count as i64),
        _ if count == 0 => outcome.push_missing(),
        Aggregate::Sum => sum(all, input, outcome)?,
        Aggregate::Mean => mean(all, count, outcome)?,
        Aggregate::Var | Aggregate::Std if count < 2 => outcome.push_missing(),
        Aggregate::Var => outcome.push_float(all.variance()),
        Aggregate::Std => outcome.push_float(all.variance().sqrt()),
        Aggregate::Min => outcome.push_key(all.smallest()),
        Aggregate::Max => outcome.push_key(all.largest()),
        Aggregate::First
        | Aggregate::Last
        | Aggregate::LastN { .. }
        | Aggregate::Distinct
        | Aggregate::Percentile { .. } => {
            unreachable!("not put together from partials")
        }
    }
    Some(())
}

fn sum(all: &Accumulator, input: &Input, outcome: &mut Outcome) -> Option<()> {
    let mut buffer = [0; WIDE_LIMBS];
    let Total { negative, limbs, exponent } = all.total(&mut buffer);
    match input.numbers.as_ref().expect("prepared for sums") {
        Numbers::Floats { .. } => {
            outcome.push_float(all.special().unwrap_or_else(|| round_quotient(negative, limbs, exponent, &[])));
        }
        Numbers::Ints(_) => outcome.push_int(signed(negative, limbs, exponent).to_i64()?),
        Numbers::Decimals(_) => outcome.push_decimal(in_38_digits(&signed(negative, limbs, exponent))?),
    }
    Some(())
}

fn mean(all: &Accumulator, count: u64, outcome: &mut Outcome) -> Option<()> {
    if let Some(special) = all.special() {
        outcome.push_float(special);
        return Some(());
    }
    let mut buffer = [0; WIDE_LIMBS];
    let Total { negative, limbs, exponent } = all.total(&mut buffer);
    if outcome.is_float() {
        outcome.push_float(round_quotient(negative, limbs, exponent, &[count]));
        return Some(());
    }
    let mean = divide_half_even(&signed(negative, limbs, exponent), &count.into());
    if outcome.is_int() {
        outcome.push_int(mean.to_i64()?);
    } else {
        outcome.push_decimal(in_38_digits(&mean)?);
    }
    Some(())
}

/// A sum of whole numbers, whose unit is never finer than 1.
fn signed(negative: bool, limbs: &[u64], exponent: i32) -> num_bigint::BigInt {
    // A limb without bits on top, so that the magnitude is read as what it is.
    let magnitude = whole(&[limbs, &[0]].concat(), exponent);
    if negative { -magnitude } else { magnitude }
}
