//! Made-up facts of any number: a million accounts, a few of them with most of the facts, and a spine that asks about them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, SchemaRef};
use creta_engine::{ParquetForm, ParquetWriter};
use creta_iam::{Action, FeatureSet};
use creta_model::{Bundle, EntityId, Environment, FeatureId, Name, Scope};
use creta_platform::Platform;
use creta_registry::Registry;
use creta_store::layout::fact_schema;
use creta_store::{FactBatch, FactStore, MemoryStore, Merge, OnlineKey, OnlineStore, OnlineView, Position, StoreError};
use serde_json::json;

use super::{LEVEL, Opened, Outcome, ROW_GROUP_ROWS, said};

const ACCOUNTS: u64 = 1_000_000;
/// Every tenth fact is about one account.
const HOT: u64 = 10;
/// Facts of one segment.
const CHUNK: u64 = 1 << 20;
/// A year in microseconds, and its start.
const YEAR: u64 = 365 * 86_400_000_000;
const START: i64 = 1_704_067_200_000_000;

const SPANS: [&str; 8] = ["1h", "6h", "1d", "3d", "7d", "14d", "30d", "90d"];

/// SplitMix64: enough for numbers that only have to look unrelated.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One account has every tenth fact, a thousandth of the others most of the rest.
    fn account(&mut self) -> i64 {
        if self.next().is_multiple_of(HOT) {
            return 0;
        }
        // The cube crowds low numbers.
        (self.share().powi(3) * ACCOUNTS as f64) as i64
    }
}

/// An account with what happened to it, windows over that, and tables beside it.
fn bundle(tables: u64) -> Outcome<Bundle> {
    let here = json!({ "file": "scale.py", "line": 1 });
    let key = json!({ "name": "account", "type": { "kind": "int" }, "role": "key", "location": here });
    let amount = json!({ "name": "amount", "type": { "kind": "float" }, "location": here });
    let window = |name: &str, kind: &str, aggregate: &str| {
        json!({
            "name": name, "type": { "kind": kind }, "location": here,
            "window": {
                "relation": "events", "aggregate": aggregate, "last": SPANS,
                "value": { "op": "feature", "path": "Account.amount" },
            },
        })
    };
    let mut relations = vec![
        json!({ "name": "events", "kind": "many", "target": "Account", "on": [["account", "account"]], "location": here }),
    ];
    let mut entities = Vec::new();
    for number in 0..tables {
        let (name, relation) = (format!("Table{number}"), format!("table{number}"));
        relations.push(
            json!({ "name": relation, "kind": "one", "target": name, "on": [["account", "account"]], "location": here }),
        );
        entities.push(json!({ "name": name, "location": here, "features": [key, amount] }));
    }
    entities.push(json!({
        "name": "Account", "location": here, "relations": relations,
        "features": [key, amount, window("event_count", "int", "count"), window("amount_mean", "float", "mean")],
    }));
    let bundle = json!({
        "format": "creta.bundle/1", "modules": {}, "lock": { "python": "3.11" },
        "graph": { "format": "creta.graph/1", "project": "scale", "entities": entities },
    });
    Ok(serde_json::from_value(bundle)?)
}

/// Facts of one entity, in the layout of facts and as a peer gets them.
struct Table {
    entity: EntityId,
    key: FeatureId,
    value: FeatureId,
}

impl Table {
    fn of(registry: &Registry, name: &str) -> Outcome<Self> {
        let (entity, feature) = (Name::parse(name)?, |name: &str| Name::parse(name));
        let id = |name: &str| -> Outcome<FeatureId> {
            Ok(registry.feature_id(&entity, &feature(name)?).ok_or("an unknown feature")?)
        };
        let of_entity = registry.entity_id(&entity).ok_or("an unknown entity")?;
        Ok(Self { entity: of_entity, key: id("account")?, value: id("amount")? })
    }

    fn schema(&self) -> SchemaRef {
        fact_schema([(self.key, DataType::Int64), (self.value, DataType::Float64)])
    }

    /// Stores `facts` of them, a segment at a time, and writes them for peers.
    fn make(&self, store: &FactStore, file: &Path, facts: u64, seed: u64) -> Outcome<()> {
        let mut numbers = Numbers(seed);
        let mut writer = None;
        for start in (0..facts).step_by(CHUNK as usize) {
            let count = CHUNK.min(facts - start);
            // Each chunk has its own stretch of the year, as loads over time have.
            let at: Vec<i64> = {
                let (from, length) = (YEAR / facts.max(1) * start, YEAR / facts.max(1) * count);
                let mut at: Vec<i64> =
                    (0..count).map(|_| START + (from + numbers.next() % length.max(1)) as i64).collect();
                at.sort_unstable();
                at
            };
            let account: Vec<i64> = at.iter().map(|_| numbers.account()).collect();
            // Cents, as amounts have.
            let amount: Vec<f64> = at.iter().map(|_| (numbers.share() * 100_000.0).round() / 100.0).collect();
            let times = Arc::new(TimestampMicrosecondArray::from(at).with_timezone("UTC")) as ArrayRef;
            let (account, amount) =
                (Arc::new(Int64Array::from(account)) as ArrayRef, Arc::new(Float64Array::from(amount)) as ArrayRef);
            let rows = count as usize;
            let columns: Vec<ArrayRef> = vec![
                Arc::clone(&times),
                Arc::clone(&times),
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n("made-up", rows))),
                Arc::new(UInt64Array::from_iter_values(start..start + count)),
                Arc::new(BinaryArray::from_iter(std::iter::repeat_n(None::<&[u8]>, rows))),
                Arc::new(BooleanArray::from(vec![false; rows])),
            ];
            let of_features = if self.key < self.value { [&account, &amount] } else { [&amount, &account] };
            let columns = columns.into_iter().chain(of_features.into_iter().cloned()).collect();
            let batch = RecordBatch::try_new(self.schema(), columns)?;
            store.append(vec![FactBatch::new(self.entity, batch)?])?;
            store.flush()?;
            write(
                &mut writer,
                file,
                RecordBatch::try_from_iter([("account", account), ("at", times), ("amount", amount)])?,
            )?;
        }
        writer.ok_or("no facts")?.finish()?;
        Ok(())
    }
}

fn write(writer: &mut Option<ParquetWriter<File>>, file: &Path, batch: RecordBatch) -> Outcome<()> {
    let writer = match writer {
        Some(writer) => writer,
        None => {
            let form = ParquetForm { level: LEVEL, row_group_rows: ROW_GROUP_ROWS };
            writer.insert(ParquetWriter::new(File::create(file)?, &batch.schema(), form, 2))
        }
    };
    Ok(writer.write(batch)?)
}

/// Makes a scope with `facts` facts about accounts, as many in each of `tables` tables, and a spine of `rows` rows.
pub(super) fn make(folder: &Path, data: &Path, rows: u64, facts: u64, tables: u64) -> Outcome<()> {
    std::fs::create_dir_all(data)?;
    let _ = std::fs::remove_dir_all(folder);
    let opened = Opened::open(folder)?;
    let deployed = opened.engine.deploy(bundle(tables)?, &opened.permit(Action::Deploy, FeatureSet::none())?);
    deployed.map_err(|problems| said(problems.into_iter().next().expect("a refusal has a reason")))?;
    let registry = opened.engine.registry().ok_or("nothing is deployed")?;
    drop(opened);
    let store = store(folder)?;
    Table::of(&registry, "Account")?.make(&store, &data.join("facts.parquet"), facts, 1)?;
    for number in 0..tables {
        let file = data.join(format!("table{number}.parquet"));
        Table::of(&registry, &format!("Table{number}"))?.make(&store, &file, facts, 2 + number)?;
    }
    store.maintain()?;
    std::fs::write(folder.join("end"), store.position().0.to_string())?;
    let mut numbers = Numbers(u64::MAX);
    let mut writer = None;
    for start in (0..rows).step_by(CHUNK as usize) {
        let count = CHUNK.min(rows - start);
        let account: Vec<i64> = (0..count).map(|_| numbers.account()).collect();
        let at: Vec<i64> = (0..count).map(|_| START + (numbers.next() % YEAR) as i64).collect();
        let columns: [(&str, ArrayRef); 2] = [
            ("Account.account", Arc::new(Int64Array::from(account))),
            ("as_of", Arc::new(TimestampMicrosecondArray::from(at).with_timezone("UTC"))),
        ];
        write(&mut writer, &data.join("spine.parquet"), RecordBatch::try_from_iter(columns)?)?;
    }
    writer.ok_or("no rows")?.finish()?;
    Ok(())
}

/// The scope's facts, past the engine.
fn store(folder: &Path) -> Outcome<FactStore> {
    let (environment, scope) = (Environment::parse("bench")?, Scope::parse("acme", "bench")?);
    let platform = Platform::system(folder.join("store"))?;
    let root = creta_keys::RootKey::load_file(folder.join("root.key"), &environment)?;
    let key = creta_keys::KeyRing::open(root, environment, platform.clone())?.scope_or_create(&scope)?;
    Ok(FactStore::open(&platform, key, "facts/truth")?)
}

/// Up to where the facts of a made-up scope go; `None` for others.
pub(super) fn end(folder: &Path) -> Option<Position> {
    std::fs::read_to_string(folder.join("end")).ok()?.parse().ok().map(Position)
}

/// Online values that claim to be complete and hold nothing but what says what they would be.
pub(super) struct Forgetful {
    end: Position,
    kept: Mutex<MemoryStore>,
}

impl Forgetful {
    pub(super) fn new(end: Position) -> Self {
        Self { end, kept: Mutex::new(MemoryStore::new()) }
    }
}

/// A moment of them.
struct Kept<'a>(&'a Mutex<MemoryStore>);

impl OnlineView for Kept<'_> {
    fn get_many(&self, keys: &[OnlineKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_many(keys)
    }
}

impl OnlineStore for Forgetful {
    fn view(&self) -> Result<Box<dyn OnlineView + '_>, StoreError> {
        Ok(Box::new(Kept(&self.kept)))
    }

    fn update_many(&self, keys: &[OnlineKey], merge: &mut Merge<'_>, _position: Position) -> Result<(), StoreError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.update_many(keys, merge, Position::START)
    }

    fn position(&self) -> Result<Position, StoreError> {
        Ok(self.end)
    }

    fn clear(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
