//! Fact stores: acknowledged units are there in order, one in flight wholly or not at all, through flushes and compactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::array::{TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{Int64Type, UInt64Type};
use creta_keys::ScopeKey;
use creta_model::{EntityId, FeatureId, Instant};
use creta_platform::{Files, ManualClock, Platform, Random, SeededRandom};
use creta_store::layout::{ARRIVAL_TIME, EVENT_ID, EVENT_TIME, RETRACTED, SEQUENCE, SOURCE, feature_column};
use creta_store::{Epoch, FactBatch, FactSnapshot, FactStore, Position, StoreError};

use crate::workload::{Outcome, Trouble, Workload, ensure, scope_key};

const PREFIX: &str = "sim/acme/facts";
const ENTITIES: u32 = 3;
const EVENT_MICROS_MAX: u64 = 1_000;

/// One fact: its sequence number is its own, and its value tells which fact it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fact {
    sequence: u64,
    entity: u32,
    event: i64,
    value: i64,
}

/// The facts of one append, by sequence.
type Unit = Vec<Fact>;

/// One fact store.
pub struct FactStores {
    random: Arc<SeededRandom>,
    key: ScopeKey,
    next_sequence: u64,
    promised: Vec<Unit>,
    /// Units whose append failed since the last promise: one of them may stand next.
    in_flight: Vec<Unit>,
    /// The last moment that was seen, kept off the disk.
    kept: Option<Epoch>,
    open: Option<FactStore>,
    /// The disk was full a moment ago. It is no longer, so nothing may fail for it.
    was_full: bool,
    /// A snapshot, and how many units it was taken after.
    held: Option<(FactSnapshot, usize)>,
}

fn number(count: usize) -> u64 {
    u64::try_from(count).expect("a length")
}

fn batch(entity: u32, facts: &[Fact], with_second_feature: u64) -> FactBatch {
    let times = |shift: i64| -> ArrayRef {
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(facts.iter().map(|fact| fact.event + shift))
                .with_timezone("UTC"),
        )
    };
    let values = || Int64Array::from_iter_values(facts.iter().map(|fact| fact.value));
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (EVENT_TIME.into(), times(0)),
        (ARRIVAL_TIME.into(), times(10)),
        (SOURCE.into(), Arc::new(StringArray::from_iter_values(facts.iter().map(|_| "sim")))),
        (SEQUENCE.into(), Arc::new(UInt64Array::from_iter_values(facts.iter().map(|fact| fact.sequence)))),
        (EVENT_ID.into(), Arc::new(facts.iter().map(|_| None::<&[u8]>).collect::<BinaryArray>())),
        (RETRACTED.into(), Arc::new(BooleanArray::from(vec![false; facts.len()]))),
        (feature_column(FeatureId(1)), Arc::new(values())),
    ];
    // Batches of two kinds, so that they do not all end in the same segments.
    if with_second_feature == 1 {
        columns.push((feature_column(FeatureId(2)), Arc::new(values())));
    }
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    FactBatch::new(EntityId(entity), batch.expect("columns of equal length")).expect("the layout of facts")
}

fn facts(entity: EntityId, batch: &RecordBatch) -> Vec<Fact> {
    let column = |name: &str| batch.column_by_name(name).expect("a column of the layout");
    let events = column(EVENT_TIME).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    let sequences = column(SEQUENCE).as_primitive::<UInt64Type>();
    let values = column(&feature_column(FeatureId(1))).as_primitive::<Int64Type>();
    (0..batch.num_rows())
        .map(|row| Fact {
            sequence: sequences.value(row),
            entity: entity.0,
            event: events.value(row),
            value: values.value(row),
        })
        .collect()
}

/// The units after a position, as the store gives them.
fn units_since(store: &FactStore, since: Position) -> Result<Vec<(u64, Unit)>, StoreError> {
    let units = store.read_since(since)?.map(|(position, batches)| {
        let mut unit: Unit = batches.iter().flat_map(|batch| facts(batch.entity(), batch.batch())).collect();
        unit.sort_unstable();
        (position.0, unit)
    });
    Ok(units.collect())
}

fn scanned(snapshot: &FactSnapshot, from: i64, to: i64) -> Result<Vec<Fact>, Trouble> {
    let at = |micros| Instant::from_micros(micros).expect("in range");
    let mut found = Vec::new();
    for entity in 0..ENTITIES {
        for batch in snapshot.scan(EntityId(entity), None, at(from)..at(to))? {
            found.extend(facts(EntityId(entity), &batch));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn expected(units: &[Unit], from: i64, to: i64) -> Vec<Fact> {
    let mut all: Vec<Fact> = units.concat().into_iter().filter(|fact| (from..to).contains(&fact.event)).collect();
    all.sort_unstable();
    all
}

impl FactStores {
    fn draw_unit(&mut self) -> (Unit, Vec<FactBatch>) {
        let mut by_entity: BTreeMap<u32, Vec<Fact>> = BTreeMap::new();
        for _ in 0..=self.random.below(8) {
            let entity = u32::try_from(self.random.below(u64::from(ENTITIES))).expect("small");
            let event = i64::try_from(self.random.below(EVENT_MICROS_MAX)).expect("small");
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            let value = i64::try_from(self.random.below(1 << 40)).expect("small");
            by_entity.entry(entity).or_default().push(Fact { sequence, entity, event, value });
        }
        let mut unit: Unit = by_entity.values().flatten().copied().collect();
        unit.sort_unstable();
        let batches = by_entity.iter().map(|(entity, facts)| batch(*entity, facts, self.random.below(2))).collect();
        (unit, batches)
    }

    fn append(&mut self) -> Outcome {
        let (unit, batches) = self.draw_unit();
        let store = self.open.as_ref().expect("the driver opens before it works");
        self.in_flight.push(unit.clone());
        match store.append(batches) {
            Ok(position) => {
                self.promised.push(unit);
                self.in_flight.clear();
                let expected = number(self.promised.len());
                ensure(position.0 == expected, || format!("unit {expected} was acknowledged as {position}"))
            }
            Err(error) => {
                // Told that nothing was written, we hold the store to it.
                if matches!(error, StoreError::Full { .. } | StoreError::Stopped { .. }) {
                    self.in_flight.pop();
                }
                Err(error.into())
            }
        }
    }

    fn check_range(&self, store: &FactStore) -> Outcome {
        let draw = || i64::try_from(self.random.below(EVENT_MICROS_MAX)).expect("small");
        let (a, b) = (draw(), draw());
        let (from, to) = (a.min(b), a.max(b));
        let found = scanned(&store.snapshot(), from, to)?;
        ensure(found == expected(&self.promised, from, to), || {
            "a scan gives other facts than were acknowledged".to_owned()
        })
    }

    fn check_since(&self, store: &FactStore) -> Outcome {
        let since = self.random.below(number(self.promised.len()) + 1);
        let found = units_since(store, Position(since))?;
        let units = (1..).zip(&self.promised).filter(|(position, _)| *position > since);
        let same = found.iter().map(|(position, unit)| (*position, unit)).eq(units);
        ensure(same, || format!("the units after {since} are not those that were acknowledged"))
    }
}

impl Workload for FactStores {
    const NAME: &'static str = "fact_stores";
    const OUTLIVES_ERRORS: bool = true;

    fn new(random: Arc<SeededRandom>) -> Self {
        let key = scope_key(&random);
        Self {
            random,
            key,
            next_sequence: 0,
            promised: Vec::new(),
            in_flight: Vec::new(),
            kept: None,
            open: None,
            was_full: false,
            held: None,
        }
    }

    fn open(&mut self, files: &Arc<dyn Files>) -> Outcome {
        let clock = Arc::new(ManualClock::new(Instant::from_micros(0).expect("in range")));
        let platform =
            Platform { clock, random: Arc::clone(&self.random) as Arc<dyn Random>, files: Arc::clone(files) };
        let store = FactStore::open(&platform, self.key.clone(), PREFIX)?;
        if let Some(kept) = &self.kept {
            store.check_epoch(kept)?;
        }
        store.verify()?;
        let mut found: Vec<Unit> = Vec::new();
        for (position, unit) in units_since(&store, Position::START)? {
            found.push(unit);
            ensure(position == number(found.len()), || format!("position {position} is out of order"))?;
        }
        ensure(store.position().0 == number(found.len()), || "the position is not that of the last unit".to_owned())?;
        let known = self.promised.len();
        ensure(found.len() >= known, || format!("{known} units were acknowledged and {} are there", found.len()))?;
        ensure(found[..known] == self.promised[..], || "an acknowledged unit has changed".to_owned())?;
        let beyond = &found[known..];
        ensure(beyond.len() <= 1 && beyond.iter().all(|unit| self.in_flight.contains(unit)), || {
            "a unit is there that was never appended, or not as a whole".to_owned()
        })?;
        let all = scanned(&store.snapshot(), 0, i64::try_from(EVENT_MICROS_MAX).expect("small"))?;
        ensure(all == expected(&found, 0, i64::MAX), || "units and scans give different facts".to_owned())?;
        self.promised = found;
        self.in_flight.clear();
        self.kept = Some(store.epoch());
        self.open = Some(store);
        Ok(())
    }

    fn step(&mut self) -> Outcome {
        let outcome = self.act();
        let Err(Trouble::Error(error)) = &outcome else { return outcome };
        ensure(!self.was_full, || format!("the store does not work on after the disk was full: {error}"))?;
        self.was_full = matches!(error.downcast_ref(), Some(StoreError::Full { .. }));
        outcome
    }

    fn close(&mut self) {
        self.held = None;
        self.open = None;
        self.was_full = false;
    }
}

impl FactStores {
    fn act(&mut self) -> Outcome {
        let action = self.random.below(16);
        if action < 8 {
            self.append()?;
        }
        let store = self.open.as_ref().expect("the driver opens before it works");
        match action {
            8 | 9 => store.flush()?,
            10 => store.compact()?,
            11 => store.maintain()?,
            12 => self.check_range(store)?,
            13 => self.check_since(store)?,
            14 => self.held = Some((store.snapshot(), self.promised.len())),
            15 => {
                if let Some((snapshot, units)) = &self.held {
                    let found = scanned(snapshot, 0, i64::try_from(EVENT_MICROS_MAX).expect("small"))?;
                    let same = found == expected(&self.promised[..*units], 0, i64::MAX);
                    ensure(same, || "a snapshot changed after it was taken".to_owned())?;
                }
            }
            _ => {}
        }
        ensure(store.position().0 == number(self.promised.len()), || "an append that failed is visible".to_owned())?;
        self.kept = Some(store.epoch());
        Ok(())
    }
}
