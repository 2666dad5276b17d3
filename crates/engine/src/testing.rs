//! What the tests of this crate share: facts in memory, small plans, and cells to compare.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use creta_model::{CellError, FeatureId, FeaturePath, Instant, Name, Type, Value};
use creta_planner::{BoundExpr, KeyColumn, Origin, Plan, ResolverCall, Slot, SlotId, Step};
use creta_store::layout::{ARRIVAL_TIME, EVENT_ID, EVENT_TIME, RETRACTED, SEQUENCE, SOURCE, feature_column};

use crate::reference::{Cell, Fact};
use crate::run::{Rows, RunOptions, execute};
use crate::{
    Answer, EngineError, FactReader, FactRequest, ResolverAnswer, ResolverHost, SUPERSEDED_AT, build_array, supersede,
};

pub(crate) fn at(micros: i64) -> Instant {
    Instant::from_micros(micros).expect("in range")
}

pub(crate) fn instants(micros: &[i64]) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from(micros.to_vec()).with_timezone("UTC")
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).expect("valid")
}

pub(crate) fn column(id: u32, ty: Type) -> KeyColumn {
    KeyColumn { feature: FeatureId(id), name: name(&format!("f{id}")), ty }
}

/// All facts of one entity, given to every request whole.
pub(crate) struct MemoryFacts {
    batches: Vec<RecordBatch>,
}

impl MemoryFacts {
    /// Facts in batches of those that observed the same features, split where `cuts` says so.
    pub(crate) fn new(facts: &[Fact], types: &BTreeMap<FeatureId, Type>, cuts: &[usize]) -> Self {
        let plain = Self::plain(facts, types, cuts);
        let superseded = supersede(&plain).expect("facts of the layout");
        let batches = plain.into_iter().zip(superseded).map(|(batch, superseded)| {
            let column: TimestampMicrosecondArray =
                superseded.into_iter().map(|at| (at != i64::MAX).then_some(at)).collect();
            with_column(&batch, SUPERSEDED_AT, Arc::new(column.with_timezone("UTC")))
        });
        Self { batches: batches.collect() }
    }

    /// The same batches in the layout of facts, without what supersedes them.
    pub(crate) fn plain(facts: &[Fact], types: &BTreeMap<FeatureId, Type>, cuts: &[usize]) -> Vec<RecordBatch> {
        let mut groups: BTreeMap<(usize, BTreeSet<FeatureId>), Vec<&Fact>> = BTreeMap::new();
        for (index, fact) in facts.iter().enumerate() {
            let part = cuts.iter().filter(|cut| **cut <= index).count();
            groups.entry((part, fact.values.keys().copied().collect())).or_default().push(fact);
        }
        groups.iter().map(|((_, features), facts)| batch(facts, features, types)).collect()
    }
}

fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let names = batch.schema();
    let mut columns: Vec<(&str, ArrayRef)> =
        names.fields().iter().map(|field| field.name().as_str()).zip(batch.columns().iter().cloned()).collect();
    columns.push((name, column));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("columns of one length")
}

fn batch(facts: &[&Fact], features: &BTreeSet<FeatureId>, types: &BTreeMap<FeatureId, Type>) -> RecordBatch {
    let micros = |of: fn(&Fact) -> Instant| -> ArrayRef {
        Arc::new(instants(&facts.iter().map(|fact| of(fact).micros()).collect::<Vec<_>>()))
    };
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (EVENT_TIME.into(), micros(|fact| fact.event_time)),
        (ARRIVAL_TIME.into(), micros(|fact| fact.arrival_time)),
        (SOURCE.into(), Arc::new(StringArray::from_iter_values(facts.iter().map(|fact| &fact.source)))),
        (SEQUENCE.into(), Arc::new(UInt64Array::from_iter_values(facts.iter().map(|fact| fact.sequence)))),
        (EVENT_ID.into(), Arc::new(facts.iter().map(|fact| fact.event_id.as_deref()).collect::<BinaryArray>())),
        (RETRACTED.into(), Arc::new(BooleanArray::from_iter(facts.iter().map(|fact| Some(fact.retracted))))),
    ];
    for feature in features {
        let values: Vec<Value> = facts.iter().map(|fact| fact.values[feature].clone()).collect();
        columns.push((feature_column(*feature), build_array(&types[feature], &values).expect("typed facts")));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("columns of one length")
}

impl FactReader for MemoryFacts {
    fn read(&self, _request: &FactRequest<'_>) -> Result<Vec<RecordBatch>, EngineError> {
        Ok(self.batches.clone())
    }
}

/// Resolvers as closures over one row: values in, values or an error out.
pub(crate) struct Closures<F>(pub(crate) F, pub(crate) Vec<Type>);

impl<F: Fn(&ResolverCall, &[Value]) -> Result<Vec<Value>, CellError> + Send + Sync> ResolverHost for Closures<F> {
    fn call(&self, call: &ResolverCall, inputs: &RecordBatch) -> Result<ResolverAnswer, CellError> {
        let mut answer = ResolverAnswer::default();
        let mut rows = Vec::new();
        for row in 0..inputs.num_rows() {
            let arguments: Vec<Value> =
                inputs.columns().iter().map(|column| crate::read_value(column, &type_of(column), row)).collect();
            rows.push((self.0)(call, &arguments).unwrap_or_else(|error| {
                answer.errors.insert(row, error);
                vec![Value::Null; self.1.len()]
            }));
        }
        for (index, ty) in self.1.iter().enumerate() {
            let values: Vec<Value> = rows.iter().map(|row| row[index].clone()).collect();
            answer.outputs.push(build_array(ty, &values).expect("typed answers"));
        }
        Ok(answer)
    }
}

fn type_of(column: &ArrayRef) -> Type {
    let candidates = [Type::Bool, Type::Int, Type::Float, Type::Str, Type::Datetime];
    candidates.into_iter().find(|ty| ty.to_arrow() == *column.data_type()).expect("a type used in tests")
}

/// A plan put together slot by slot.
pub(crate) struct PlanOf(pub(crate) Plan);

impl PlanOf {
    /// `given` columns become the first slots.
    pub(crate) fn given(types: &[Type]) -> Self {
        let mut plan = Self(Plan {
            fingerprint: String::new(),
            slots: Vec::new(),
            given: Vec::new(),
            steps: Vec::new(),
            outputs: Vec::new(),
        });
        for ty in types {
            let slot = plan.slot(ty.clone(), Origin::Given);
            plan.0.given.push(slot);
        }
        plan
    }

    pub(crate) fn slot(&mut self, ty: Type, origin: Origin) -> SlotId {
        let id = SlotId(self.0.slots.len());
        let path = FeaturePath::direct(name("Thing"), name(&format!("slot{}", id.0)));
        self.0.slots.push(Slot { path, ty, optional: true, origin });
        id
    }

    /// A slot that is also an output.
    pub(crate) fn output(&mut self, ty: Type, origin: Origin) -> SlotId {
        let id = self.slot(ty, origin);
        self.0.outputs.push(id);
        id
    }

    pub(crate) fn step(mut self, step: Step) -> Plan {
        self.0.steps.push(step);
        self.0
    }
}

pub(crate) fn run_plan(
    plan: &Plan,
    rows: &Rows,
    facts: &dyn FactReader,
    host: &dyn ResolverHost,
    threads: usize,
) -> Answer {
    let options = RunOptions { threads, ..RunOptions::default() };
    execute(plan, rows, facts, host, &options, None).expect("the plan runs")
}

/// The cells of each output, row by row.
pub(crate) fn cells(answer: &Answer) -> Vec<Vec<Cell>> {
    (0..answer.rows)
        .map(|row| answer.columns.iter().map(|column| Cell::of(&column.cells, &column.ty, row)).collect())
        .collect()
}

pub(crate) fn input(index: usize, ty: Type) -> BoundExpr {
    BoundExpr::Column { index, ty }
}

pub(crate) fn literal(ty: Type, value: serde_json::Value) -> BoundExpr {
    BoundExpr::Literal { ty, value }
}

pub(crate) fn call(function: creta_model::Function, args: Vec<BoundExpr>, ty: Type) -> BoundExpr {
    BoundExpr::Call { function, args, ty }
}
