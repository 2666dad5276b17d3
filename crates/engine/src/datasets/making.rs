//! Making a version: the training set as its maker gets it, sealed in parts, then written down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use creta_audit::Permit;
use creta_iam::{Action, Level};
use creta_model::{CellState, FeatureId, FeaturePath, Problem};
use creta_planner::{Plan, Step};
use creta_registry::{FeatureRef, Registry};
use creta_store::FactSnapshot;
use parquet::errors::ParquetError;

use super::digests::{ColumnDigest, of_columns};
use super::kept::DatasetLimits;
use super::version::{
    ColumnKind, DatasetColumn, DatasetName, DatasetPart, DatasetState, DatasetVersion, FORMAT, FeatureMade, FeatureRead,
};
use crate::facts::FactReader;
use crate::parquet_file::{ParquetForm, write_parquet};
use crate::ready::ReadyShape;
use crate::request::{KnownAsOfColumn, TrainingSetRequest};
use crate::scan::SnapshotReader;
use crate::scope_engine::{Deployment, ReadyPolicy, ScopeEngine, store_problem};
use crate::selecting::{sampled, with_required};
use crate::spine::{self, TIMES_FLOORED};

/// Rows of a part. A part is in memory as a whole when it is written or read.
pub(super) const PART_ROWS: usize = 1 << 18;

/// What to keep under which name.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetRequest {
    /// What the dataset is called; the version is one more than its newest.
    pub name: DatasetName,
    /// What to build.
    pub training_set: TrainingSetRequest,
    /// Tags that columns of the spine carry which are no feature.
    pub spine_tags: SpineTags,
}

/// Tags that columns of the spine carry which are no feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpineTags {
    /// These and no others, whatever comes later: whoever makes the set knows what is in them.
    Declared(BTreeSet<String>),
    /// Those of the features of which the maker gets values, the tags that these get later among them: any such value may be in
    /// the columns.
    Seen {
        /// The features, by their stable numbers.
        features: BTreeSet<FeatureId>,
        /// What they carry.
        tags: BTreeSet<String>,
    },
}

impl SpineTags {
    fn tags(&self) -> &BTreeSet<String> {
        match self {
            Self::Declared(tags) | Self::Seen { tags, .. } => tags,
        }
    }
}

/// A dataset as it is being made.
struct Making<'a> {
    deployment: &'a Deployment,
    policy: &'a ReadyPolicy,
    shape: &'a ReadyShape,
    request: &'a DatasetRequest,
    given: &'a [(FeaturePath, String)],
    permit: &'a Permit,
}

impl ScopeEngine {
    /// Builds a training set and keeps it as the next version of a dataset: whole or not at all.
    ///
    /// `train` is a permit for the features; what is kept is what it gives. `make` is one for keeping. Nothing of values goes
    /// into the metadata beyond counts and digests. Beyond `limits` nothing is kept. Memory is that of the training set and of one
    /// part.
    pub fn make_dataset(
        &self,
        request: &DatasetRequest,
        spine: &[RecordBatch],
        (train, make): (&Permit, &Permit),
        limits: &DatasetLimits,
    ) -> Result<DatasetVersion, Problem> {
        self.permitted(make, Action::DatasetMake, [])?;
        if let SpineTags::Declared(tags) = &request.spine_tags {
            self.require_known(tags)?;
        }
        self.require_free(&request.name)?;
        self.require_room(limits, 0)?;
        let deployment = self.deployment()?;
        let policy = self.ready_policy(&deployment.registry);
        let given = spine::given_columns(&deployment.registry, &request.training_set, spine)?;
        let paths = given.iter().map(|(path, _)| path.clone()).collect();
        let asked = &request.training_set;
        let shape = self.shape_for(&deployment, &policy, paths, asked.features.clone(), &asked.max_age)?;

        let snapshot = self.facts.snapshot();
        let reader = SnapshotReader::new(snapshot.clone());
        let with_states = TrainingSetRequest { states: true, ..asked.clone() };
        let sample = sampled(spine, asked.sample.as_ref())?;
        let facts = (&reader as &dyn FactReader, snapshot.position());
        let built = self.beside_spine(&deployment, &with_states, &sample, train, Action::Train, facts)?;
        let built = plain(with_required(built, asked)?)?;
        let making =
            Making { deployment: &deployment, policy: &policy, shape: &shape, request, given: &given, permit: train };
        let spine_rows = spine.iter().map(|batch| batch.num_rows() as u64).sum();
        let mut version = self.described(&making, &snapshot, spine_rows, &built)?;
        version.table = self.tables.new_id();
        version.parts = self.write_parts(&version.table, &built).inspect_err(|_| self.remove_table(&version.table))?;
        self.keep_version(version, limits)
    }

    /// Refuses tags that no feature has: a mistake in one would show columns to more than was meant.
    fn require_known(&self, tags: &BTreeSet<String>) -> Result<(), Problem> {
        let known = self.tags_in_force();
        let Some(unknown) = tags.iter().find(|tag| !known.contains(*tag)) else { return Ok(()) };
        let names: Vec<String> = known.iter().map(|tag| format!("`{tag}`")).collect();
        Err(Problem::new("dataset/unknown-tag", format!("no feature carries the tag `{unknown}`"))
            .with_note("tags", names.join(", "), None)
            .with_help("name tags that features have, or none if everybody may see the spine's columns"))
    }

    fn write_parts(&self, table: &str, built: &[RecordBatch]) -> Result<Vec<DatasetPart>, Problem> {
        let mut parts = Vec::new();
        for (number, part) in cut(built)?.into_iter().enumerate() {
            let mut bytes = Vec::new();
            let rows = [Ok::<_, ParquetError>(part.clone())];
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            write_parquet(&mut bytes, &part.schema(), rows, ParquetForm::of(&part.schema()), threads)
                .map_err(|error| unwritable(&error))?;
            let written = self.tables.write(table, number, &bytes).map_err(|error| store_problem(&error))?;
            parts.push(DatasetPart { rows: part.num_rows() as u64, part: written });
        }
        Ok(parts)
    }

    fn described(
        &self,
        making: &Making<'_>,
        snapshot: &FactSnapshot,
        spine_rows: u64,
        built: &[RecordBatch],
    ) -> Result<DatasetVersion, Problem> {
        let registry = &making.deployment.registry;
        let asked = &making.request.training_set;
        let columns = making.columns(built, &self.scope().environment)?;
        let of = |is: &dyn Fn(&DatasetColumn) -> bool| {
            of_columns(columns.iter().filter(|column| is(column)).map(|column| column.digest.as_str()))
        };
        Ok(DatasetVersion {
            format: FORMAT.to_owned(),
            name: making.request.name.clone(),
            version: 0,
            dataset: String::new(),
            state: DatasetState::Kept,
            made: self.platform.clock.now(),
            made_by: making.permit.principal().id().to_string(),
            entry: making.permit.entry(),
            request: asked.clone(),
            known_as_of: match &asked.known_as_of {
                None => "as_of".to_owned(),
                Some(KnownAsOfColumn::Latest) => "latest".to_owned(),
                Some(KnownAsOfColumn::Column(column)) => format!("column `{column}`"),
            },
            revision: registry.revision(),
            bundle: registry.bundle_digest().to_owned(),
            plan: making.shape.plan.fingerprint.clone(),
            definitions: making.definitions(&self.scope().environment),
            position: snapshot.position().0,
            facts: facts_read(&making.shape.plan, registry, snapshot),
            spine_rows,
            floored: floored(built),
            spine_seen: match &making.request.spine_tags {
                SpineTags::Declared(_) => BTreeSet::new(),
                SpineTags::Seen { features, .. } => features.clone(),
            },
            spine_digest: of(&|column| column.kind != ColumnKind::Feature),
            rows: Some(built.iter().map(|batch| batch.num_rows() as u64).sum()),
            digest: of(&|_| true),
            columns,
            table: String::new(),
            parts: Vec::new(),
        })
    }
}

impl Making<'_> {
    fn columns(
        &self,
        built: &[RecordBatch],
        environment: &creta_model::Environment,
    ) -> Result<Vec<DatasetColumn>, Problem> {
        let Some(first) = built.first() else { return Ok(Vec::new()) };
        let outputs = &self.shape.plan.outputs;
        let spine_columns = first.num_columns() - 2 * outputs.len();
        let mut columns = Vec::with_capacity(spine_columns + outputs.len());
        for (index, field) in first.schema_ref().fields().iter().enumerate().take(spine_columns) {
            let paths = self.given.iter().filter(|(_, column)| column == field.name()).map(|(path, _)| path);
            let features: Vec<FeatureMade> = paths.filter_map(|path| self.feature(path, environment)).collect();
            let is_feature = !features.is_empty();
            let nulls: u64 = built.iter().map(|batch| batch.column(index).null_count() as u64).sum();
            columns.push(DatasetColumn {
                name: field.name().clone(),
                kind: if is_feature { ColumnKind::Given } else { ColumnKind::Spine },
                ty: field.data_type().to_string(),
                value_type: None,
                features,
                level: Level::Allow,
                tags: if is_feature { BTreeSet::new() } else { self.request.spine_tags.tags().clone() },
                stored: false,
                brought: true,
                absent: if nulls > 0 { BTreeMap::from([("null".to_owned(), nulls)]) } else { BTreeMap::new() },
                digest: digest(built, &[index])?,
            });
        }
        for (output, slot) in outputs.iter().enumerate() {
            let (slot, index) = (&self.shape.plan.slots[slot.0], spine_columns + 2 * output);
            let feature = self.feature(&slot.path, environment);
            let level = feature.as_ref().and_then(|made| self.permit.level_of(&made.feature)).unwrap_or(Level::Deny);
            columns.push(DatasetColumn {
                name: first.schema_ref().field(index).name().clone(),
                kind: ColumnKind::Feature,
                ty: if level == Level::Tokenised { "str".to_owned() } else { slot.ty.python_name() },
                value_type: Some(slot.ty.clone()),
                features: feature.into_iter().collect(),
                level,
                tags: BTreeSet::new(),
                stored: self.shape.outputs[output].is_stored,
                brought: self.shape.outputs[output].is_brought,
                absent: absent(built, index + 1),
                digest: digest(built, &[index, index + 1])?,
            });
        }
        Ok(columns)
    }

    fn feature(&self, path: &FeaturePath, environment: &creta_model::Environment) -> Option<FeatureMade> {
        let registry = &self.deployment.registry;
        let target = registry.catalog().follow(path).ok()?;
        let feature = FeatureRef::new(&target.entity.name, &target.feature.name);
        let read = |read: &FeatureRef| FeatureRead {
            feature: read.to_string(),
            id: registry.feature_id(&read.entity, &read.feature),
            tags: self.policy.tags(registry, read),
        };
        Some(FeatureMade {
            path: path.clone(),
            feature: feature.to_string(),
            id: registry.feature_id(&feature.entity, &feature.feature),
            fingerprint: registry.feature_fingerprint(&feature, environment),
            tags: self.policy.tags(registry, &feature),
            read: computed_from(registry, path).iter().filter(|other| **other != feature).map(read).collect(),
        })
    }

    /// Fingerprints of all features that anything was computed from.
    fn definitions(&self, environment: &creta_model::Environment) -> BTreeMap<String, String> {
        let registry = &self.deployment.registry;
        let mut fingerprints = registry.fingerprints_in(environment);
        let outputs = self.shape.plan.outputs.iter().map(|slot| &self.shape.plan.slots[slot.0].path);
        let all: BTreeSet<FeatureRef> = outputs.flat_map(|path| computed_from(registry, path)).collect();
        all.iter().filter_map(|feature| Some((feature.to_string(), fingerprints.of(feature)?))).collect()
    }
}

/// The feature that a path leads to, and all that it is computed from, at however many removes.
pub(crate) fn computed_from(registry: &Registry, path: &FeaturePath) -> BTreeSet<FeatureRef> {
    let Ok(target) = registry.catalog().follow(path) else { return BTreeSet::new() };
    let mut open = vec![FeatureRef::new(&target.entity.name, &target.feature.name)];
    open.extend(registry.lineage(path));
    let mut all = BTreeSet::new();
    while let Some(feature) = open.pop() {
        if all.insert(feature.clone()) {
            open.extend(registry.inputs_of(&feature));
        }
    }
    all
}

/// How many facts there are of each entity that a plan reads.
fn facts_read(plan: &Plan, registry: &Registry, snapshot: &FactSnapshot) -> BTreeMap<String, u64> {
    let statistics = snapshot.statistics();
    let read = plan.steps.iter().filter_map(|step| match step {
        Step::Lookup { entity, .. } | Step::Windows { entity, .. } => Some(*entity),
        Step::Expression { .. } | Step::Resolve { .. } => None,
    });
    read.filter_map(|id| Some((registry.entity_name(id)?.to_string(), statistics.get(&id).map_or(0, |all| all.rows))))
        .collect()
}

/// How many times of the spine were floored, as the training set says of itself.
fn floored(built: &[RecordBatch]) -> u64 {
    let said = built.first().and_then(|batch| batch.schema_ref().metadata().get(TIMES_FLOORED));
    said.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Cells of a column of states that are no values, by state.
fn absent(built: &[RecordBatch], index: usize) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for batch in built {
        let states = batch.column(index).as_string::<i32>();
        for state in states.iter().flatten().filter(|state| *state != CellState::Value.as_str()) {
            match counts.get_mut(state) {
                Some(count) => *count += 1,
                None => drop(counts.insert(state.to_owned(), 1)),
            }
        }
    }
    counts
}

/// The digest of one column, or of a column beside its states.
fn digest(built: &[RecordBatch], indices: &[usize]) -> Result<String, Problem> {
    let mut digests = Vec::with_capacity(indices.len());
    for index in indices {
        let mut digest = ColumnDigest::new(built[0].schema_ref().field(*index));
        built.iter().try_for_each(|batch| digest.add(batch.column(*index)))?;
        digests.push(digest.finish());
    }
    match digests.as_slice() {
        [one] => Ok(one.clone()),
        _ => Ok(of_columns(digests.iter().map(String::as_str))),
    }
}

/// The rows in parts of [`PART_ROWS`], wherever the batches end; one part without rows where there are none.
fn cut(built: &[RecordBatch]) -> Result<Vec<RecordBatch>, Problem> {
    let (mut parts, mut waiting, mut rows) = (Vec::new(), Vec::<RecordBatch>::new(), 0);
    let schema = built.first().map(RecordBatch::schema).unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty()));
    let joined = |waiting: &mut Vec<RecordBatch>| {
        let part = concat_batches(&schema, waiting.iter()).map_err(|error| unwritable(&error));
        waiting.clear();
        part
    };
    for batch in built {
        let mut from = 0;
        while from < batch.num_rows() {
            let len = (PART_ROWS - rows).min(batch.num_rows() - from);
            waiting.push(batch.slice(from, len));
            (rows, from) = (rows + len, from + len);
            if rows == PART_ROWS {
                parts.push(joined(&mut waiting)?);
                rows = 0;
            }
        }
    }
    if rows > 0 || parts.is_empty() {
        parts.push(joined(&mut waiting)?);
    }
    Ok(parts)
}

/// The rows with columns of plain types. Dictionaries and views hold values that no row of theirs has: of rows that a filter
/// left out, of others than a part's.
fn plain(built: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, Problem> {
    let all = built.into_iter().map(|batch| {
        let plain = |field: &Arc<Field>| Arc::new(Field::clone(field).with_data_type(plain_type(field.data_type())));
        let fields: Vec<Arc<Field>> = batch.schema_ref().fields().iter().map(plain).collect();
        let columns = batch.columns().iter().zip(&fields).map(|(column, field)| cast(column, field.data_type()));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|error| unwritable(&error))?;
        let schema = Schema::new(fields).with_metadata(batch.schema_ref().metadata().clone());
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(schema), columns, &options).map_err(|error| unwritable(&error))
    });
    all.collect()
}

fn plain_type(ty: &DataType) -> DataType {
    let of = |field: &Arc<Field>| Arc::new(Field::clone(field).with_data_type(plain_type(field.data_type())));
    match ty {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::Utf8View => DataType::LargeUtf8,
        DataType::BinaryView => DataType::LargeBinary,
        DataType::List(item) => DataType::List(of(item)),
        DataType::ListView(item) => DataType::List(of(item)),
        DataType::LargeList(item) => DataType::LargeList(of(item)),
        DataType::LargeListView(item) => DataType::LargeList(of(item)),
        DataType::FixedSizeList(item, len) => DataType::FixedSizeList(of(item), *len),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(of).collect()),
        other => other.clone(),
    }
}

fn unwritable(error: &dyn std::error::Error) -> Problem {
    Problem::new("dataset/column-type", format!("the rows cannot be kept in a dataset: {error}"))
        .with_help("cast the columns of the spine to plain types, or leave them out")
}
