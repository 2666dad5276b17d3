//! Do online and offline agree? Facts are replayed in arrival order into a throwaway index, the online path is asked on
//! the way, the offline path afterwards, and every cell is compared bit for bit.
//!
//! A run that finds nothing proves little unless it would have found something: before each run a fault is planted in a
//! copy of the facts, and the same comparison has to see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{concat_batches, take, take_record_batch};
use arrow::datatypes::{Schema, TimestampMicrosecondType};
use creta_audit::Permit;
use creta_iam::Action;
use creta_model::{CellState, Entity, EntityId, Feature, FeaturePath, Instant, Name, Problem, RelationKind, Role};
use creta_planner::{Plan, Shape};
use creta_registry::Registry;
use creta_store::{FactBatch, MemoryStore, Position, layout};

use crate::answer::Answer;
use crate::fact_index::{Before, Contents, FactIndex};
use crate::request::{VerifyOptions, VerifyReport};
use crate::run::Rows;
use crate::scan::SnapshotReader;
use crate::scope_engine::{Deployment, ScopeEngine, store_problem};
use crate::value::read_value;

/// How long before a stop the online path is asked, in microseconds.
const BEFORE_STOP: [i64; 5] = [0, 1, 3_599_999_999, 86_400_000_000, 7 * 86_400_000_000 - 1];

/// How often the online path is asked on the way.
const STOPS: usize = 20;

/// Most cells that are compared in one run.
const SAMPLES_MAX: u64 = 1_000_000;

/// Differences shown in the report.
const EXAMPLES_MAX: usize = 5;

impl ScopeEngine {
    /// Replays this scope's facts and compares online with offline answers; `progress` hears (cells compared, cells planned).
    pub fn verify(
        &self,
        options: &VerifyOptions,
        permit: &Permit,
        progress: &dyn Fn(u64, u64),
    ) -> Result<VerifyReport, Problem> {
        self.permitted(permit, Action::Verify, [])?;
        if options.samples > SAMPLES_MAX {
            let message = format!("at most {SAMPLES_MAX} cells are compared at a time");
            return Err(Problem::new("too-large/samples", message)
                .with_help("ask for fewer samples, with another `seed` each time"));
        }
        let started = self.platform.clock.monotonic();
        let deployment = self.deployment()?;
        let history = History::of(self, &deployment)?;
        let probes = history.probes(self, &deployment, options)?;
        if probes.is_empty() {
            return Err(Problem::new(
                "verify/nothing-to-compare",
                "there are no facts to replay, or no feature reads any",
            )
            .with_help("ingest facts first"));
        }
        let reader = SnapshotReader::new(self.facts.snapshot());
        let planted = self.planted_fault_is_seen(&deployment, &history, &probes, permit, &reader)?;
        let mut report = VerifyReport {
            planted_fault_seen: planted,
            facts: history.facts.iter().map(|unit| unit.times.len() as u64).sum(),
            rows: probes.iter().map(|probe| probe.rows.as_of.len() as u64).sum(),
            features: probes
                .iter()
                .flat_map(|p| p.plan.outputs.iter().map(|slot| p.plan.slots[slot.0].path.clone()))
                .collect::<BTreeSet<FeaturePath>>()
                .into_iter()
                .collect(),
            ..VerifyReport::default()
        };
        let planned: u64 = probes.iter().map(Probe::cells).sum();
        self.replay(&deployment, &history, &probes, permit, &mut |probe, online| {
            let offline = self.execute(&deployment, &probe.plan, &probe.rows, permit, &reader)?;
            compare(probe, online, &offline, &mut report);
            progress(report.compared, planned);
            Ok(())
        })?;
        report.seconds = self.platform.clock.monotonic().saturating_sub(started).as_secs_f64();
        Ok(report)
    }

    /// Replays `history` stop by stop and hands each probe its online answer.
    fn replay(
        &self,
        deployment: &Deployment,
        history: &History,
        probes: &[Probe],
        permit: &Permit,
        visit: &mut dyn FnMut(&Probe, &Answer) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let problem = |error| store_problem(&error);
        let registry = &deployment.registry;
        let store = Arc::new(MemoryStore::new());
        let contents = Contents::of(registry, &self.scope().environment);
        let index = FactIndex::open(store, contents, Before::default()).map_err(problem)?;
        let mut done = vec![0; history.facts.len()];
        let mut position = Position::START;
        for stop in &history.stops {
            let mut units = Vec::new();
            for (unit, done) in history.facts.iter().zip(&mut done) {
                let end = unit.known_at(*stop);
                if end > *done {
                    units.push(FactBatch::new(unit.entity, unit.batch.slice(*done, end - *done)).map_err(problem)?);
                    *done = end;
                }
            }
            position = Position(position.0 + 1);
            index.apply(&units, position).map_err(problem)?;
            let view = index.view().map_err(problem)?;
            for probe in probes.iter().filter(|probe| probe.stop == *stop) {
                visit(probe, &self.execute(deployment, &probe.plan, &probe.rows, permit, &view)?)?;
            }
        }
        Ok(())
    }

    /// Hides one fact that a probe can see from a copy of the history, and compares as always.
    fn planted_fault_is_seen(
        &self,
        deployment: &Deployment,
        history: &History,
        probes: &[Probe],
        permit: &Permit,
        reader: &SnapshotReader,
    ) -> Result<bool, Problem> {
        // The last stop sees the most. A fault shows unless another fact says the same, so a few facts are tried.
        let Some(stop) = probes.iter().map(|probe| probe.stop).max() else { return Ok(false) };
        let last: Vec<Probe> = probes.iter().filter(|probe| probe.stop == stop).cloned().collect();
        let mut offline = Vec::new();
        for probe in &last {
            offline.push(self.execute(deployment, &probe.plan, &probe.rows, permit, reader)?);
        }
        for probe in &last {
            let Some(faulty) = history.without_facts_of(probe) else { continue };
            let mut report = VerifyReport::default();
            self.replay(deployment, &faulty, &last, permit, &mut |probe, online| {
                let index = last.iter().position(|other| std::ptr::eq(other, probe)).expect("a probe of the last stop");
                compare(probe, online, &offline[index], &mut report);
                Ok(())
            })?;
            if report.differences > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// All facts of one entity and one set of features, in arrival order.
#[derive(Clone)]
struct Unit {
    entity: EntityId,
    batch: RecordBatch,
    /// Arrival time of each fact.
    times: Vec<i64>,
}

struct History {
    facts: Vec<Unit>,
    /// Instants at which the online path is asked, ascending.
    stops: Vec<i64>,
}

/// Keys of one entity asked about at one stop.
#[derive(Clone)]
struct Probe {
    entity: EntityId,
    stop: i64,
    plan: Arc<Plan>,
    rows: Rows,
}

impl Probe {
    fn cells(&self) -> u64 {
        (self.rows.as_of.len() * self.plan.outputs.len()) as u64
    }
}

impl History {
    fn of(engine: &ScopeEngine, deployment: &Deployment) -> Result<Self, Problem> {
        let snapshot = engine.facts.snapshot();
        let mut facts = Vec::new();
        for entity in &deployment.registry.graph().entities {
            let Some(id) = deployment.registry.entity_id(&entity.name) else { continue };
            let batches = snapshot.scan(id, None, ..).map_err(|error| store_problem(&error))?;
            let mut by_schema: BTreeMap<Vec<String>, Vec<RecordBatch>> = BTreeMap::new();
            for batch in batches.into_iter().filter(|batch| batch.num_rows() > 0) {
                let names = batch.schema_ref().fields().iter().map(|field| field.name().clone()).collect();
                by_schema.entry(names).or_default().push(batch);
            }
            for batches in by_schema.into_values() {
                facts.push(Unit::sorted(id, &batches)?);
            }
        }
        let mut arrivals: Vec<i64> = facts.iter().flat_map(|unit| unit.times.iter().copied()).collect();
        arrivals.sort_unstable();
        arrivals.dedup();
        // Stops on arrivals themselves: that is where the edges are.
        let stops: BTreeSet<i64> =
            (1..=STOPS).filter_map(|n| arrivals.get((arrivals.len() * n / STOPS).checked_sub(1)?).copied()).collect();
        Ok(Self { facts, stops: stops.into_iter().collect() })
    }

    /// Rows to ask about: at each stop keys that the facts hold, evenly drawn from the whole past.
    fn probes(
        &self,
        engine: &ScopeEngine,
        deployment: &Deployment,
        options: &VerifyOptions,
    ) -> Result<Vec<Probe>, Problem> {
        let registry = &deployment.registry;
        let mut plans: Vec<(&Entity, Arc<Plan>)> = Vec::new();
        for entity in &registry.graph().entities {
            let (holder, _) = key_holder(self, registry, entity);
            if self.facts.iter().any(|unit| unit.entity == holder)
                && let Some(plan) = plan_everything(engine, registry, entity)
            {
                plans.push((entity, Arc::new(plan)));
            }
        }
        let per_row: usize = plans.iter().map(|(_, plan)| plan.outputs.len()).sum::<usize>().max(1);
        // Keys of the first stops may not be known yet, so a few rows more than needed are asked.
        let asked = self.stops.len().max(1) * per_row;
        let rows_per_stop = (options.samples as usize).div_ceil(asked) + 1;
        let mut probes = Vec::new();
        for (number, stop) in self.stops.iter().enumerate() {
            for (entity, plan) in &plans {
                let seed = options.seed.wrapping_add(number as u64);
                if let Some(rows) = self.rows(registry, entity, plan, *stop, rows_per_stop, seed)? {
                    let entity = registry.entity_id(&entity.name).expect("every entity of the graph has a number");
                    probes.push(Probe { entity, stop: *stop, plan: Arc::clone(plan), rows });
                }
            }
        }
        Ok(probes)
    }

    /// Keys of `entity` that the facts known at `stop` hold, with instants up to there; `None` when there are none.
    fn rows(
        &self,
        registry: &Registry,
        entity: &Entity,
        plan: &Plan,
        stop: i64,
        wanted: usize,
        seed: u64,
    ) -> Result<Option<Rows>, Problem> {
        let internal = |error: arrow::error::ArrowError| Problem::new("internal/engine", error.to_string());
        let (holder, columns) = key_holder(self, registry, entity);
        let holds = |unit: &&Unit| {
            unit.entity == holder && columns.iter().all(|name| unit.batch.column_by_name(name).is_some())
        };
        let units: Vec<&Unit> = self.facts.iter().filter(holds).collect();
        let known: usize = units.iter().map(|unit| unit.known_at(stop)).sum();
        if known == 0 {
            return Ok(None);
        }
        let mut given: Vec<Vec<ArrayRef>> = vec![Vec::new(); columns.len()];
        for unit in units {
            let end = unit.known_at(stop);
            let share = wanted.saturating_mul(end).div_ceil(known);
            let usable = |row: &u32| {
                columns
                    .iter()
                    .all(|name| unit.batch.column_by_name(name).is_some_and(|key| key.is_valid(*row as usize)))
            };
            let picks: UInt32Array = (0..share)
                .map(|n| (((n * end / share) as u64).wrapping_add(seed) % end as u64) as u32)
                .filter(usable)
                .collect();
            for (parts, name) in given.iter_mut().zip(&columns) {
                let key = unit.batch.column_by_name(name).expect("units were chosen by their columns");
                parts.push(take(key, &picks, None).map_err(internal)?);
            }
        }
        let given = given
            .into_iter()
            .map(|parts| arrow::compute::concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>()).map_err(internal))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = given.first().map_or(0, |column| column.len());
        if rows == 0 {
            return Ok(None);
        }
        // The stop itself, one microsecond before it, and instants in its past.
        let first = Instant::MIN.micros();
        let as_of = (0..rows).map(|row| (stop - BEFORE_STOP[row % BEFORE_STOP.len()]).max(first));
        let as_of = TimestampMicrosecondArray::from_iter_values(as_of).with_timezone("UTC");
        debug_assert_eq!(given.len(), plan.given.len(), "the plan is given the key");
        Ok(Some(Rows::new(given, as_of)))
    }

    /// A copy in which every fact about the probe's first key that had arrived is gone.
    fn without_facts_of(&self, probe: &Probe) -> Option<Self> {
        let mut removed = false;
        let facts = self.facts.iter().map(|unit| {
            let mut unit = unit.clone();
            if unit.entity == probe.entity {
                let keys: Vec<ArrayRef> = probe_keys(probe, &unit.batch)?;
                let same = |row: &u32| {
                    probe.rows.given.iter().zip(&keys).zip(&probe.plan.given).all(|((given, column), slot)| {
                        let ty = &probe.plan.slots[slot.0].ty;
                        read_value(given, ty, 0) == read_value(column, ty, *row as usize)
                    })
                };
                let kept: Vec<u32> = (0..unit.times.len() as u32).filter(|row| !same(row)).collect();
                removed |= kept.len() < unit.times.len();
                unit.times = kept.iter().map(|row| unit.times[*row as usize]).collect();
                unit.batch = take_record_batch(&unit.batch, &UInt32Array::from(kept)).ok()?;
            }
            Some(unit)
        });
        let facts = facts.collect::<Option<Vec<_>>>()?;
        removed.then(|| Self { facts, stops: self.stops.clone() })
    }
}

fn probe_keys(probe: &Probe, batch: &RecordBatch) -> Option<Vec<ArrayRef>> {
    probe
        .plan
        .given
        .iter()
        .map(|slot| {
            // The plan's lookups name the key features of the entity by number.
            probe.plan.steps.iter().find_map(|step| match step {
                creta_planner::Step::Lookup { key, key_slots, .. } => {
                    let place = key_slots.iter().position(|given| given == slot)?;
                    batch.column_by_name(&layout::feature_column(key[place].feature)).cloned()
                }
                _ => None,
            })
        })
        .collect()
}

/// Whose facts hold keys of `entity`, and in which columns: its own, or else those of a `many` relation from its key.
fn key_holder(history: &History, registry: &Registry, entity: &Entity) -> (EntityId, Vec<String>) {
    let column = |owner: &Entity, name: &Name| {
        let id = registry.feature_id(&owner.name, name).expect("every feature of the graph has a number");
        layout::feature_column(id)
    };
    let id = |entity: &Entity| registry.entity_id(&entity.name).expect("every entity of the graph has a number");
    let own = (id(entity), entity.keys().map(|key| column(entity, &key.name)).collect());
    if history.facts.iter().any(|unit| unit.entity == own.0) {
        return own;
    }
    let from_key =
        entity.relations.iter().filter(|relation| relation.kind == RelationKind::Many).find_map(|relation| {
            let target = registry.graph().find_entity(&relation.target)?;
            let there = |key: &Feature| relation.on.iter().find(|(here, _)| *here == key.name).map(|(_, there)| there);
            let columns = entity.keys().map(|key| Some(column(target, there(key)?))).collect::<Option<Vec<_>>>()?;
            Some((id(target), columns))
        });
    from_key.unwrap_or(own)
}

/// A plan from an entity's key to every one of its features, and every window of each, that the key suffices for.
fn plan_everything(engine: &ScopeEngine, registry: &Registry, entity: &Entity) -> Option<Plan> {
    let path = |name: &Name| FeaturePath::direct(entity.name.clone(), name.clone());
    let given: Vec<FeaturePath> = entity.keys().map(|feature| path(&feature.name)).collect();
    let shape = |outputs: Vec<FeaturePath>| Shape {
        environment: engine.scope().environment.clone(),
        given: given.clone(),
        outputs,
        max_age: BTreeMap::new(),
    };
    let mut candidates = Vec::new();
    for feature in entity.features.iter().filter(|feature| feature.role != Role::Key) {
        match &feature.window {
            None => candidates.push(path(&feature.name)),
            Some(window) => candidates
                .extend(window.last.iter().map(|span| FeaturePath { window: Some(*span), ..path(&feature.name) })),
        }
    }
    let outputs: Vec<FeaturePath> = candidates
        .into_iter()
        .filter(|output| creta_planner::plan(registry, &shape(vec![output.clone()])).is_ok())
        .collect();
    if outputs.is_empty() { None } else { creta_planner::plan(registry, &shape(outputs)).ok() }
}

impl Unit {
    /// How many of its facts had arrived.
    fn known_at(&self, instant: i64) -> usize {
        self.times.partition_point(|arrival| *arrival <= instant)
    }

    fn sorted(entity: EntityId, batches: &[RecordBatch]) -> Result<Self, Problem> {
        let internal = |error: arrow::error::ArrowError| Problem::new("internal/engine", error.to_string());
        let schema: Arc<Schema> = batches[0].schema();
        let batch = concat_batches(&schema, batches).map_err(internal)?;
        let arrivals = arrival_times(&batch);
        let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
        order.sort_by_key(|row| arrivals[*row as usize]);
        let batch = take_record_batch(&batch, &UInt32Array::from(order)).map_err(internal)?;
        let times = arrival_times(&batch);
        Ok(Self { entity, batch, times })
    }
}

fn arrival_times(batch: &RecordBatch) -> Vec<i64> {
    let column = batch.column_by_name(layout::ARRIVAL_TIME).expect("a column of the layout");
    column.as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

/// Compares cell by cell: state, value bit for bit, and the code of an error.
fn compare(probe: &Probe, online: &Answer, offline: &Answer, report: &mut VerifyReport) {
    for (online, offline) in online.columns.iter().zip(&offline.columns) {
        for row in 0..probe.rows.as_of.len() {
            report.compared += 1;
            let states = (online.cells.state(row), offline.cells.state(row));
            let code =
                |column: &crate::answer::AnswerColumn| column.cells.errors().get(&row).map(|error| error.code.clone());
            let same = states.0 == states.1
                && match states.0 {
                    CellState::Value => {
                        let value =
                            |column: &crate::answer::AnswerColumn| read_value(column.cells.values(), &column.ty, row);
                        same_bits(&value(online), &value(offline))
                    }
                    CellState::Error => code(online) == code(offline),
                    _ => true,
                };
            if !same {
                report.differences += 1;
                if report.examples.len() < EXAMPLES_MAX {
                    let at = creta_model::Instant::from_micros(probe.rows.as_of.value(row))
                        .map_or_else(|_| String::new(), |at| at.to_string());
                    report.examples.push(format!(
                        "`{}` as of {at}, row {row}: {} online, {} offline",
                        online.path,
                        states.0.as_str(),
                        states.1.as_str()
                    ));
                }
            }
        }
    }
}

fn same_bits(a: &creta_model::Value, b: &creta_model::Value) -> bool {
    use creta_model::Value as V;
    match (a, b) {
        (V::Float(a), V::Float(b)) => a.to_bits() == b.to_bits(),
        (V::List(a), V::List(b)) | (V::Struct(a), V::Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_bits(a, b))
        }
        (V::Vector(a), V::Vector(b)) => a.iter().map(|f| f.to_bits()).eq(b.iter().map(|f| f.to_bits())),
        (a, b) => a == b,
    }
}
