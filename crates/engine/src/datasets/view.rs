//! What somebody gets of a dataset: the least of what was kept and of what their rights give them now.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions, RecordBatchReader as _, StringArray, new_null_array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use creta_audit::Permit;
use creta_iam::{Action, Decision, FeatureSet, Level};
use creta_model::{CellError, CellState, EntityId, FeatureId, FeaturePath, Problem, Type};
use creta_registry::{FeatureRef, Registry};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::kept::retired;
use super::making::SpineTags;
use super::version::{ColumnKind, DatasetColumn, DatasetState, DatasetVersion, FeatureMade};
use crate::column::{CellColumn, written_anew};
use crate::masking::Leaving;
use crate::parquet_file::{ParquetForm, write_parquet};
use crate::rows::RowGuard;
use crate::run::{Guarding, RunOptions, execute_judged};
use crate::scan::SnapshotReader;
use crate::scope_engine::{Deployment, ReadyPolicy, ScopeEngine, engine_problem, store_problem};
use crate::spine::{self, LABEL_DATASET, LABEL_ENTRY, LABEL_KNOWN_AS_OF, LABEL_PLAN, LABEL_POSITION, TIMES_FLOORED};

/// Under this name it is decided on columns of the spine that are no feature. No feature is called so: their names have a dot.
const SPINE: &str = "spine";

/// Which columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// By name; `None` for all.
    pub columns: Option<BTreeSet<String>>,
    /// Whether a column of states stands beside each feature.
    pub states: bool,
}

/// Rows of a dataset as somebody gets them.
#[derive(Debug, Clone)]
pub struct DatasetRows {
    /// Of every batch.
    pub schema: SchemaRef,
    /// In order.
    pub batches: Vec<RecordBatch>,
    /// Rows that a row rule kept back.
    pub rows_unseen: u64,
    /// Selected columns that are not shown as they were kept: masked, or not at all.
    pub withheld: BTreeSet<String>,
    /// Whether row rules bind whoever asks.
    pub is_bound: bool,
}

impl DatasetRows {
    /// As a Parquet file with `schema`, which differs from its own in metadata alone.
    pub fn to_parquet(&self, schema: &SchemaRef) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        let batches = self.batches.iter().map(|batch| batch.clone().with_schema(Arc::clone(schema)));
        let batches = batches.map(|batch| batch.map_err(ParquetError::from));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let written = write_parquet(&mut bytes, schema, batches, ParquetForm::of(schema), threads);
        written.map_err(|error| Problem::new("internal/engine", format!("the rows are no Parquet file: {error}")))?;
        Ok(bytes)
    }
}

impl Selection {
    /// The columns that tell rows of a version apart, and those of `columns` that it has, with states.
    pub fn for_comparing(version: &DatasetVersion, columns: Option<&BTreeSet<String>>) -> Self {
        let Some(wanted) = columns else { return Self { columns: None, states: true } };
        let tells_apart =
            |column: &&DatasetColumn| column.kind == ColumnKind::Given || column.name == version.request.as_of;
        let names = version.columns.iter().filter(|column| wanted.contains(&column.name) || tells_apart(column));
        Self { columns: Some(names.map(|column| column.name.clone()).collect()), states: true }
    }

    fn has(&self, column: &DatasetColumn) -> bool {
        self.columns.as_ref().is_none_or(|names| names.contains(&column.name))
    }
}

/// What a column is decided on: a name, and tags.
type Asked = (String, BTreeSet<String>);

impl ScopeEngine {
    /// The tags that features carry here.
    pub fn tags_in_force(&self) -> BTreeSet<String> {
        let Some(registry) = self.registry() else { return BTreeSet::new() };
        let policy = self.ready_policy(&registry);
        registry.features().flat_map(|(feature, _, _)| policy.tags(&registry, &feature)).collect()
    }

    /// The features of which somebody gets values, and their tags: any of them may be in what they bring. `decide` answers what
    /// they get of the features it is given. Time O(features).
    pub fn spine_tags_seen(&self, decide: impl FnOnce(FeatureSet) -> Decision) -> SpineTags {
        let Some(registry) = self.registry() else {
            return SpineTags::Seen { features: BTreeSet::new(), tags: BTreeSet::new() };
        };
        let policy = self.ready_policy(&registry);
        let all: Vec<(FeatureRef, BTreeSet<String>)> =
            registry.features().map(|(feature, _, _)| (feature.clone(), policy.tags(&registry, &feature))).collect();
        let decision = decide(FeatureSet::new(all.iter().map(|(feature, tags)| (feature.to_string(), tags.clone()))));
        let seen =
            |feature: &FeatureRef| decision.level_of(&feature.to_string()).is_none_or(|level| level == Level::Allow);
        let (mut features, mut tags) = (BTreeSet::new(), BTreeSet::new());
        for (feature, own) in all.into_iter().filter(|(feature, _)| seen(feature)) {
            features.extend(registry.feature_id(&feature.entity, &feature.feature));
            tags.extend(own);
        }
        SpineTags::Seen { features, tags }
    }

    /// What would be shown of a dataset: for the access decision, before anything is read.
    pub fn features_of_dataset(&self, version: &DatasetVersion, selection: &Selection) -> Result<FeatureSet, Problem> {
        if let Some(unknown) =
            selection.columns.iter().flatten().find(|name| version.columns.iter().all(|column| column.name != **name))
        {
            let names: Vec<String> = version.columns.iter().map(|column| format!("`{}`", column.name)).collect();
            return Err(Problem::new(
                "dataset/no-column",
                format!("`{}` has no column `{unknown}`", version.reference()),
            )
            .with_note("columns", names.join(", "), None)
            .with_help("name the right columns"));
        }
        let deployment = self.deployment()?;
        let policy = self.ready_policy(&deployment.registry);
        let selected = version.columns.iter().filter(|column| selection.has(column));
        let asking = Asking::new(&deployment.registry, &policy, version);
        // Which rows there are says of whom there is a required feature.
        Ok(FeatureSet::new(selected.chain(required(version)).flat_map(|column| asking.of(column))))
    }

    /// The rows of a dataset, as far as the permit gives them and no row rule keeps them back. Reads the content whole; whom a
    /// row rule binds, for them the training set is computed once more, to judge the rows.
    pub fn dataset_rows(
        &self,
        version: &DatasetVersion,
        selection: &Selection,
        permit: &Permit,
    ) -> Result<DatasetRows, Problem> {
        let features = self.features_of_dataset(version, selection)?;
        self.permitted(permit, Action::Train, features.names())?;
        if *permit.features() != features {
            return Err(Problem::new("conflict/changed", "the tags of a column changed while this was asked")
                .with_help("ask again"));
        }
        if version.state != DatasetState::Kept {
            return Err(retired(version));
        }
        let deployment = self.deployment()?;
        let policy = self.ready_policy(&deployment.registry);
        let guard = self.guard(&deployment, permit.principal(), permit.place());
        let asking = Asking::new(&deployment.registry, &policy, version);
        let levels: Vec<Level> = version
            .columns
            .iter()
            .map(|column| {
                let asked = asking.of(column);
                let level = |(name, _): &Asked| permit.level_of(name).unwrap_or(Level::Deny);
                asked.iter().map(level).min().unwrap_or(Level::Allow)
            })
            .collect();
        let level_of = version.columns.iter().zip(&levels);
        let chosen_by = |column: &DatasetColumn| required(version).any(|required| required.name == column.name);
        if let Some((column, _)) = level_of.clone().find(|(column, level)| **level != Level::Allow && chosen_by(column))
        {
            let (name, required) = (version.reference(), &column.name);
            return Err(Problem::new(
                "access/required",
                format!("rows of `{name}` are there if `{required}` has a value"),
            )
            .with_help("you do not get that feature's values, and so not whose rows these are; make one without it"));
        }
        let (mut batches, mut rows_unseen) = (Vec::new(), 0);
        for number in 0..version.parts.len() {
            let part = self.part(version, number)?;
            let kept_back = match &guard {
                Some(guard) => self.kept_back(&deployment, guard, version, &part)?,
                None => KeptBack::default(),
            };
            let shown = self.shown(version, selection, &levels, &part, &kept_back, guard.is_some())?;
            rows_unseen += kept_back.rows.iter().filter(|unseen| **unseen).count() as u64;
            batches.push(shown);
        }
        let schema = batches.first().map(RecordBatch::schema).unwrap_or_else(|| Arc::new(Schema::empty()));
        let is_bound = guard.is_some();
        let withheld = level_of
            .filter(|(column, level)| **level != Level::Allow || is_bound && is_unruled(version, column))
            .map(|(column, _)| &column.name)
            .filter(|name| selection.columns.as_ref().is_none_or(|names| names.contains(*name)))
            .cloned()
            .collect();
        Ok(DatasetRows { schema, batches, rows_unseen, withheld, is_bound })
    }

    fn part(&self, version: &DatasetVersion, number: usize) -> Result<RecordBatch, Problem> {
        let described = &version.parts[number];
        let bytes = self.tables.read(&version.table, number, &described.part).map_err(|error| store_problem(&error))?;
        let refused = |why: &dyn std::fmt::Display| {
            Problem::new("store/refused", format!("a part of `{}` cannot be read: {why}", version.reference()))
                .with_help("restore it from a backup, or make the dataset anew")
        };
        let rows = usize::try_from(described.rows).map_err(|error| refused(&error))?.max(1);
        let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).map_err(|error| refused(&error))?;
        let reader = builder.with_batch_size(rows).build().map_err(|error| refused(&error))?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| refused(&error))?;
        let part = concat_batches(&schema, &batches).map_err(|error| refused(&error))?;
        if part.num_rows() as u64 == described.rows { Ok(part) } else { Err(refused(&"it has another number of rows")) }
    }

    /// What row rules keep back of a part. The training set is computed again under them: what they deny there is denied here.
    fn kept_back(
        &self,
        deployment: &Deployment,
        guard: &RowGuard,
        version: &DatasetVersion,
        part: &RecordBatch,
    ) -> Result<KeptBack, Problem> {
        let not_judged = || {
            let name = version.reference();
            Problem::new(
                "access/rows",
                format!("row rules bind you, and the rows of `{name}` can no longer be judged by them"),
            )
            .with_help("the definitions have changed since it was made; make it anew")
        };
        let registry = &deployment.registry;
        let spine =
            version.columns.iter().filter(|column| column.kind != ColumnKind::Feature).map(|column| &column.name);
        let spine = spine.map(|name| part.schema_ref().index_of(name)).collect::<Result<Vec<_>, _>>();
        let spine = spine.and_then(|indices| part.project(&indices)).map_err(|_| not_judged())?;
        let (request, policy) = (&version.request, self.ready_policy(registry));
        let given = spine::given_columns(registry, request, std::slice::from_ref(&spine)).map_err(|_| not_judged())?;
        // A column that gave a feature when the set was made has to give it still.
        let paths: BTreeSet<&FeaturePath> = given.iter().map(|(path, _)| path).collect();
        let made = version
            .columns
            .iter()
            .filter(|column| column.kind == ColumnKind::Given)
            .flat_map(|column| &column.features);
        if made.clone().any(|feature| !paths.contains(&feature.path)) {
            return Err(not_judged());
        }
        let paths = given.iter().map(|(path, _)| path.clone()).collect();
        let shape = self
            .shape_for(deployment, &policy, paths, request.features.clone(), &request.max_age)
            .map_err(|_| not_judged())?;
        let (rows, _) = spine::rows(&shape.plan, request, &spine, &given).map_err(|_| not_judged())?;
        let reader = SnapshotReader::new(self.facts.snapshot());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let options = RunOptions { threads, ..RunOptions::default() };
        let guarding = Some(Guarding { guard, registry });
        let (answer, rows) = execute_judged(&shape.plan, &rows, &reader, deployment.host.as_ref(), &options, guarding)
            .map_err(|error| engine_problem(&error))?;
        let denied = |column: &crate::answer::AnswerColumn| {
            let denied: Vec<bool> = (0..answer.rows).map(|row| column.cells.state(row) == CellState::Denied).collect();
            (column.path.to_string(), denied)
        };
        let cells = answer.columns.iter().map(denied).filter(|(_, denied)| denied.contains(&true)).collect();
        let columns =
            made.filter(|made| reaches_bound(registry, guard, &made.path)).map(|made| made.path.clone()).collect();
        Ok(KeptBack { rows, cells, columns })
    }

    /// The selected columns of a part as they leave.
    fn shown(
        &self,
        version: &DatasetVersion,
        selection: &Selection,
        levels: &[Level],
        part: &RecordBatch,
        kept_back: &KeptBack,
        is_bound: bool,
    ) -> Result<RecordBatch, Problem> {
        let (mut fields, mut columns) = (Vec::<Arc<Field>>::new(), Vec::<ArrayRef>::new());
        let mut add = |field: Arc<Field>, array: ArrayRef| {
            fields.push(field);
            columns.push(array);
        };
        let place = |name: &str| part.schema_ref().index_of(name).map_err(|_| missing(version, name));
        for (column, level) in version.columns.iter().zip(levels).filter(|(column, _)| selection.has(column)) {
            let index = place(&column.name)?;
            let (field, array) = (&part.schema_ref().fields()[index], part.column(index));
            if column.kind != ColumnKind::Feature {
                let withheld = *level != Level::Allow
                    || is_bound && is_unruled(version, column)
                    || column.features.iter().any(|feature| kept_back.columns.contains(&feature.path));
                match withheld {
                    false => add(Arc::clone(field), Arc::clone(array)),
                    true => add(
                        Arc::new(Field::clone(field).with_nullable(true)),
                        new_null_array(field.data_type(), part.num_rows()),
                    ),
                }
                continue;
            }
            let states = part.column(place(&format!("{}__state", column.name))?);
            let cells = leaving(column, *level, &self.tokeniser, array, states)?;
            let cells = match kept_back.cells.get(&column.name) {
                Some(denied) => cells.deny(|row| denied[row]).map_err(|error| engine_problem(&error))?,
                None => cells,
            };
            add(
                Arc::new(Field::new(&column.name, cells.values().data_type().clone(), true)),
                Arc::clone(cells.values()),
            );
            if selection.states {
                let states: StringArray = (0..cells.len()).map(|row| Some(cells.state(row).as_str())).collect();
                add(
                    Arc::new(Field::new(format!("{}__state", column.name), states.data_type().clone(), false)),
                    Arc::new(states),
                );
            }
        }
        let schema = Arc::new(Schema::new(fields).with_metadata(how_it_came_about(version)));
        let options = RecordBatchOptions::new().with_row_count(Some(part.num_rows()));
        let unfit = |error: arrow::error::ArrowError| {
            Problem::new("internal/engine", format!("the columns of a dataset do not fit together: {error}"))
        };
        let seen = kept_back.rows.contains(&true).then_some(|row: usize| !kept_back.rows[row]);
        let Some(seen) = seen else {
            let columns =
                columns.iter().map(|column| written_anew(column, |_| true)).collect::<Result<_, _>>().map_err(unfit)?;
            return RecordBatch::try_new_with_options(schema, columns, &options).map_err(unfit);
        };
        let columns =
            columns.iter().map(|column| written_anew(column, seen)).collect::<Result<_, _>>().map_err(unfit)?;
        let rows = (0..part.num_rows()).filter(|row| seen(*row)).count();
        RecordBatch::try_new_with_options(schema, columns, &options.with_row_count(Some(rows))).map_err(unfit)
    }
}

/// What the rows of a version say of themselves. What their spine said is not among it: nobody knows what that tells.
fn how_it_came_about(version: &DatasetVersion) -> HashMap<String, String> {
    let mut said = HashMap::from([
        (LABEL_DATASET.to_owned(), version.reference()),
        (LABEL_KNOWN_AS_OF.to_owned(), version.request.known_until().to_owned()),
        (LABEL_PLAN.to_owned(), version.plan.clone()),
        (LABEL_POSITION.to_owned(), version.position.to_string()),
    ]);
    said.extend(version.entry.map(|entry| (LABEL_ENTRY.to_owned(), entry.to_string())));
    if version.floored > 0 {
        said.insert(TIMES_FLOORED.to_owned(), version.floored.to_string());
    }
    said
}

/// The columns by which rows were left out.
fn required(version: &DatasetVersion) -> impl Iterator<Item = &DatasetColumn> {
    let required = |column: &&DatasetColumn| {
        column.kind == ColumnKind::Feature
            && version.request.required.iter().any(|path| path.to_string() == column.name)
    };
    version.columns.iter().filter(required)
}

/// Whether a column holds what no row rule judges: it is of no feature, so it may be of anybody. The instants of the rows are
/// the question's own.
fn is_unruled(version: &DatasetVersion, column: &DatasetColumn) -> bool {
    column.kind == ColumnKind::Spine && column.name != version.request.as_of
}

/// What row rules keep back of some rows.
#[derive(Default)]
struct KeptBack {
    /// Rows that are not seen at all.
    rows: Vec<bool>,
    /// By feature, the rows whose cell is denied.
    cells: BTreeMap<String, Vec<bool>>,
    /// Features that the spine gave and that belong to an entity which a rule is about.
    columns: BTreeSet<FeaturePath>,
}

/// What is asked of the policies before anything of a version is shown.
struct Asking<'a> {
    registry: &'a Registry,
    policy: &'a ReadyPolicy,
    /// Tags that features have now of which the maker saw values, where columns of the spine carry all of these.
    spine: BTreeSet<String>,
}

impl<'a> Asking<'a> {
    fn new(registry: &'a Registry, policy: &'a ReadyPolicy, version: &DatasetVersion) -> Self {
        let seen = |feature: &FeatureRef| {
            let id = registry.feature_id(&feature.entity, &feature.feature);
            id.is_some_and(|id| version.spine_seen.contains(&id))
        };
        let all = registry.features().map(|(feature, _, _)| feature);
        let seen = all.filter(|feature| !version.spine_seen.is_empty() && seen(feature));
        Self { registry, policy, spine: seen.flat_map(|feature| policy.tags(registry, &feature)).collect() }
    }

    /// What is asked for a column: each of its features with the tags that it has now, and once more with those that it had, or
    /// has under the name that it got, or would have by its definition of then, where they are others. A level holds only if all
    /// give it.
    fn of(&self, column: &DatasetColumn) -> Vec<Asked> {
        if column.kind == ColumnKind::Spine {
            let tags: BTreeSet<String> = column.tags.union(&self.spine).cloned().collect();
            return if tags.is_empty() { Vec::new() } else { vec![(SPINE.to_owned(), tags)] };
        }
        column.features.iter().flat_map(|made| self.of_feature(made)).collect()
    }

    fn of_feature(&self, made: &FeatureMade) -> Vec<Asked> {
        let mut all: Vec<BTreeSet<String>> = self.now(&made.feature, made.id).collect();
        all.push(made.tags.clone());
        // Tags that came later to what it was computed from then, whatever it is computed from now.
        let later = made.read.iter().flat_map(|read| {
            let now: BTreeSet<String> = self.now(&read.feature, read.id).flatten().collect();
            now.difference(&read.tags).cloned().collect::<Vec<_>>()
        });
        let later: BTreeSet<String> = later.collect();
        if !all.iter().any(|tags| later.is_subset(tags)) {
            all.push(made.tags.union(&later).cloned().collect());
        }
        let mut seen = Vec::new();
        all.retain(|tags| {
            let new = !seen.contains(tags);
            seen.push(tags.clone());
            new
        });
        let name = |number: usize| match number {
            0 => made.feature.clone(),
            _ => format!("{}@{number}", made.feature),
        };
        all.into_iter().enumerate().map(|(number, tags)| (name(number), tags)).collect()
    }

    /// The tags of a feature under the name, and under the number, that it had.
    fn now(&self, name: &str, id: Option<FeatureId>) -> impl Iterator<Item = BTreeSet<String>> {
        let there = |feature: &FeatureRef| self.registry.feature(&feature.entity, &feature.feature).is_some();
        let by_name = FeaturePath::parse(name).ok().map(|path| FeatureRef::new(&path.root, &path.feature));
        let by_number = id.and_then(|id| self.registry.feature_name(id));
        let now = [by_name, by_number].into_iter().flatten().filter(there);
        now.map(|feature| self.policy.tags(self.registry, &feature)).collect::<Vec<_>>().into_iter()
    }
}

/// Whether a path leads along relations to or through an entity that a rule is about.
fn reaches_bound(registry: &Registry, guard: &RowGuard, path: &FeaturePath) -> bool {
    let mut entity = registry.entity(&path.root);
    let bound = |id: Option<EntityId>| id.is_none_or(|id| guard.binds(id));
    path.via.iter().any(|name| {
        let target = entity.and_then(|entity| entity.find_relation(name)).map(|relation| &relation.target);
        entity = target.and_then(|target| registry.entity(target));
        bound(target.and_then(|target| registry.entity_id(target)))
    })
}

/// The cells of a feature as they leave at a level.
fn leaving(
    column: &DatasetColumn,
    level: Level,
    tokeniser: &creta_iam::Tokeniser,
    values: &ArrayRef,
    states: &ArrayRef,
) -> Result<CellColumn, Problem> {
    let problem = |error: crate::EngineError| engine_problem(&error);
    let cells = cells(values, states)?;
    let made = column.value_type.as_ref().unwrap_or(&Type::Str);
    match (column.level, level) {
        (kept, now) if now == Level::Allow || now == kept => Ok(cells),
        (Level::Allow, now) => {
            let feature = column.features.first().map_or("", |feature| feature.feature.as_str());
            let leaving = Leaving { feature, is_stored: column.stored, is_brought: column.brought };
            leaving.at(now, tokeniser, made, &cells).map(|(cells, _)| cells).map_err(problem)
        }
        // Tokens are no forms of texts, nor the other way round.
        _ => cells.deny(|_| true).map_err(problem),
    }
}

fn cells(values: &ArrayRef, states: &ArrayRef) -> Result<CellColumn, Problem> {
    const STATES: [CellState; 6] = [
        CellState::Value,
        CellState::Null,
        CellState::Missing,
        CellState::Expired,
        CellState::Error,
        CellState::Denied,
    ];
    let words = states.as_string::<i32>();
    let state =
        |word: Option<&str>| STATES.into_iter().find(|state| Some(state.as_str()) == word).unwrap_or(CellState::Denied);
    let states: Vec<CellState> = words.iter().map(state).collect();
    // What went wrong is not kept with the cell.
    let error = Arc::new(CellError {
        code: "dataset/error".to_owned(),
        message: "it was an error when the dataset was made".to_owned(),
    });
    let errors = (0..states.len()).filter(|row| states[*row] == CellState::Error).map(|row| (row, Arc::clone(&error)));
    CellColumn::new(Arc::clone(values), states.clone(), errors.collect()).map_err(|error| engine_problem(&error))
}

fn missing(version: &DatasetVersion, column: &str) -> Problem {
    Problem::new("store/refused", format!("the content of `{}` has no column `{column}`", version.reference()))
        .with_help("restore it from a backup, or make the dataset anew")
}
