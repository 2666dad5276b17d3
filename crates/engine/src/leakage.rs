//! A guard against training on what could not have been known: facts that were learned late, and labels that features see.
//!
//! A training set is point-in-time correct by construction, so no feature sees a fact from after its row's instant (rules S1
//! to S3). What remains are instants that were chosen too late, so that the label's own fact is history already, restated
//! history, labels that are handed in as inputs, and features that say the label by another name. Each is looked for where it
//! shows: in the definitions, in the facts, or in the rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use creta_audit::Permit;
use creta_iam::{Action, FeatureSet};
use creta_model::{Arrival, CellState, EntityId, FeatureId, FeaturePath, Name, Problem, Span};
use creta_planner::{BoundExpr, Plan, SlotId, Step};
use creta_registry::{FeatureRef, Registry};
use creta_store::layout;
use serde::{Deserialize, Serialize};

use crate::datasets::computed_from;
use crate::facts::FactReader;
use crate::request::{KnownAsOfColumn, TrainingSetRequest};
use crate::scan::SnapshotReader;
use crate::scope_engine::{ScopeEngine, store_problem};
use crate::selecting::sampled;
use crate::spine;

/// Rows with both values below which a feature is not compared with a label: so few say nothing.
const COMPARED_MIN: usize = 20;
/// Share of them, in percent, from which a feature says the label.
const SAME_PERCENT: usize = 99;

/// What is to be learned: a column of the spine, and the feature that it holds values of, if it is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelColumn {
    /// Column of the spine.
    pub column: String,
    /// What it holds; left out, the column's own name if it is a path, or the path that the request maps to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<FeaturePath>,
}

/// What the guard found. No value is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LeakageReport {
    /// Rows looked at.
    pub rows: u64,
    /// Features looked at.
    pub features: u64,
    /// What was found, the worst first; none is how it should be.
    pub findings: Vec<Finding>,
}

/// A leak beside what people are told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    #[serde(flatten)]
    pub leak: Leak,
    /// Whether a model that learns from the set as it is learns what it cannot know; otherwise it is worth a look.
    pub certain: bool,
    /// For people.
    pub says: String,
}

/// Something by which a model might learn what it cannot know later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "leak")]
pub enum Leak {
    /// The label's own fact is known at the row's instant, and the feature reads it, or what the label is computed from.
    LabelVisible {
        /// Feature asked for.
        feature: FeaturePath,
        /// The label's feature.
        label: FeaturePath,
        /// Rows in which the label's own fact is known.
        rows: u64,
    },
    /// The feature reads the label's feature, and whether the label's own fact is known is withheld from whoever asks.
    NotJudged {
        /// Feature asked for.
        feature: FeaturePath,
        /// The label's feature.
        label: FeaturePath,
        /// Rows in which it is withheld.
        rows: u64,
    },
    /// The label's column is an input from which the feature is computed.
    LabelGiven {
        /// Feature asked for.
        feature: FeaturePath,
        /// Column of the label.
        label: String,
    },
    /// The feature has the label's value in nearly every row.
    SameAsLabel {
        /// Feature asked for.
        feature: FeaturePath,
        /// Column of the label.
        label: String,
        /// Rows with both values.
        compared: u64,
        /// Of these, rows in which they are the same.
        same: u64,
    },
    /// Facts that were learned later than they were true by more than is declared, and restated history is asked for: rows see
    /// facts that nobody had at their instant.
    Restated {
        /// Feature asked for.
        feature: FeaturePath,
        /// Rows whose value is another one than was known at their instant.
        rows: u64,
    },
    /// Facts were learned later than they were true by more than is declared. They count from when they were learned, as long as
    /// nobody asks for restated history; online the feature is as late.
    LateFacts {
        /// Feature asked for.
        feature: FeaturePath,
        /// Whose facts.
        entity: Name,
        /// How many there are.
        facts: u64,
        /// How many of them are late.
        late: u64,
        /// How late they may be.
        declared: Span,
        /// How late the latest is, in microseconds.
        latest_us: i64,
    },
}

impl Leak {
    /// The worse, the less.
    fn rank(&self) -> u8 {
        match self {
            Self::LabelGiven { .. } => 0,
            Self::LabelVisible { .. } => 1,
            Self::SameAsLabel { .. } => 2,
            Self::Restated { .. } => 3,
            Self::NotJudged { .. } => 4,
            Self::LateFacts { .. } => 5,
        }
    }

    /// Whether a model that learns from the set as it is learns what it cannot know; otherwise it is worth a look.
    pub fn is_certain(&self) -> bool {
        !matches!(self, Self::LateFacts { .. } | Self::NotJudged { .. })
    }
}

impl std::fmt::Display for Leak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LabelVisible { feature, label, rows } => write!(
                f,
                "`{feature}` reads `{label}`, and in {rows} rows the label's own fact is known already: ask at an earlier instant"
            ),
            Self::NotJudged { feature, label, rows } => write!(
                f,
                "`{feature}` reads `{label}`, and in {rows} rows you are not told whether the label's own fact is known: have \
                 it looked at by a program that gets the label"
            ),
            Self::LabelGiven { feature, label } => {
                write!(f, "`{feature}` is computed from the label's column `{label}`: give the column another name")
            }
            Self::SameAsLabel { feature, label, compared, same } => {
                write!(
                    f,
                    "`{feature}` is the label `{label}` in {same} of {compared} rows: it says what is to be learned"
                )
            }
            Self::Restated { feature, rows } => write!(
                f,
                "`{feature}` has another value in {rows} rows than was known at their instant: leave out `known_as_of`"
            ),
            Self::LateFacts { feature, entity, facts, late, declared, latest_us } => write!(
                f,
                "`{feature}` reads {entity}: {late} of {facts} facts were learned later than {declared} after they were true, the \
                 latest after {}: declare the delay, and expect the feature to be as late online",
                Span::from_micros(*latest_us).map_or_else(|_| format!("{latest_us} us"), |span| span.to_string())
            ),
        }
    }
}

impl ScopeEngine {
    /// What the guard reads: the features of the training set, and those of the labels.
    pub fn features_of_audit(
        &self,
        request: &TrainingSetRequest,
        labels: &[LabelColumn],
        spine: &[RecordBatch],
    ) -> Result<FeatureSet, Problem> {
        let all = self.features_of_training_set(request, spine)?;
        let mut sets = vec![all];
        let registry = &self.deployment()?.registry;
        let reads = reads(registry, request);
        for (_, feature) in self.labels_of(request, labels, spine)? {
            let Some(feature) = feature else { continue };
            let own = OwnFact::of(registry, &feature, &reads);
            // Without the key of its entity a row's own label cannot be asked for.
            let hidden = own.hidden(request, spine)?;
            sets.extend(self.features_of_training_set(&own.asked(request), &hidden).ok());
        }
        let of = |set: &FeatureSet| -> Vec<(String, Vec<String>)> {
            set.iter().map(|(name, tags)| (name.to_owned(), tags.map(str::to_owned).collect())).collect()
        };
        Ok(FeatureSet::new(sets.iter().flat_map(of)))
    }

    /// Looks for leaks in a training set: builds it, once more as known at each row's instant where restated history is asked
    /// for, and once for each label. Time and memory as for these training sets.
    pub fn audit_leakage(
        &self,
        request: &TrainingSetRequest,
        labels: &[LabelColumn],
        spine: &[RecordBatch],
        permit: &Permit,
    ) -> Result<LeakageReport, Problem> {
        let deployment = self.deployment()?;
        let registry = &deployment.registry;
        let policy = self.ready_policy(registry);
        let labels = self.labels_of(request, labels, spine)?;
        let spine = &sampled(spine, request.sample.as_ref())?;
        let given = spine::given_columns(registry, request, spine)?;
        let paths = given.iter().map(|(path, _)| path.clone()).collect();
        let shape = self.shape_for(&deployment, &policy, paths, request.features.clone(), &request.max_age)?;
        let snapshot = self.facts.snapshot();
        let reader = SnapshotReader::new(snapshot.clone());
        let with_states = TrainingSetRequest { states: true, ..request.clone() };
        let build = |request: &TrainingSetRequest, spine: &[RecordBatch]| {
            let facts = (&reader as &dyn FactReader, snapshot.position());
            let built = self.beside_spine(&deployment, request, spine, permit, Action::Train, facts)?;
            spine::one_table(&built)
        };
        let built = build(&with_states, spine)?;
        let reads = reads(registry, request);
        let mut findings = Vec::<Leak>::new();
        for (column, feature) in &labels {
            let from_column = computed_from_given(&shape.plan, &given, column);
            findings.extend(from_column.into_iter().map(|feature| Leak::LabelGiven { feature, label: column.clone() }));
            for path in &request.features {
                findings.extend(same_as_label(path, column, &built)?);
            }
            let Some(label) = feature else { continue };
            let own = OwnFact::of(registry, label, &reads);
            let (alone, without) = (own.asked(&with_states), own.hidden(request, spine)?);
            if own.parts.is_empty() || self.features_of_training_set(&alone, &without).is_err() {
                continue;
            }
            let at = build(&alone, &without)?;
            let just_before = free_name(&without);
            let before = [with_before(&alone, &just_before, &without)?];
            let before = build(&as_of_before(&alone, &just_before), &before)?;
            for path in &request.features {
                let read: Vec<&(FeaturePath, FeatureRef)> =
                    own.parts.iter().filter(|(_, part)| reads[path].contains(part)).collect();
                if read.is_empty() {
                    continue;
                }
                let paths = given.iter().map(|(path, _)| path.clone()).collect();
                let one = self.shape_for(&deployment, &policy, paths, vec![path.clone()], &request.max_age)?;
                let (mut known, mut withheld) = (0, 0);
                for (part, target) in read {
                    let id = registry.feature_id(&target.entity, &target.feature);
                    let told = told(if reads_at_the_instant(&one.plan, id) { &at } else { &before }, part)?;
                    (known, withheld) = (known.max(told.known), withheld.max(told.withheld));
                }
                let (feature, label) = (path.clone(), label.clone());
                if known > 0 {
                    findings.push(Leak::LabelVisible { feature, label, rows: known });
                } else if withheld > 0 {
                    findings.push(Leak::NotJudged { feature, label, rows: withheld });
                }
            }
        }
        if request.known_as_of.is_some() {
            let known_then = build(&TrainingSetRequest { known_as_of: None, ..with_states.clone() }, spine)?;
            for path in &request.features {
                let rows = different(path, &built, &known_then)?;
                if rows > 0 {
                    findings.push(Leak::Restated { feature: path.clone(), rows });
                }
            }
        }
        let guard = self.guard(&deployment, permit.principal(), permit.place());
        let may_count = |entity: EntityId| guard.as_ref().is_none_or(|guard| !guard.binds(entity));
        findings.extend(late_facts(registry, &snapshot, &request.features, &reads, may_count)?);
        findings.sort_by_key(Leak::rank); // Stable: within a kind by label and in the order asked.
        let told = |leak: Leak| Finding { certain: leak.is_certain(), says: leak.to_string(), leak };
        let findings = findings.into_iter().map(told).collect();
        Ok(LeakageReport { rows: built.num_rows() as u64, features: request.features.len() as u64, findings })
    }

    /// The labels with their features.
    fn labels_of(
        &self,
        request: &TrainingSetRequest,
        labels: &[LabelColumn],
        spine: &[RecordBatch],
    ) -> Result<Vec<(String, Option<FeaturePath>)>, Problem> {
        let registry = self.deployment()?.registry.clone();
        let given = spine::given_columns(&registry, request, spine)?;
        let label = |label: &LabelColumn| {
            let there = spine.first().is_some_and(|batch| batch.schema_ref().index_of(&label.column).is_ok());
            if !there {
                let problem =
                    Problem::new("spine/no-column", format!("the spine has no column `{}` for a label", label.column));
                return Err(problem.with_help("name the right column"));
            }
            if let Some(feature) = &label.feature
                && registry.catalog().follow(feature).is_err()
            {
                let problem =
                    Problem::new("leakage/no-feature", format!("there is no feature `{feature}` for the label"));
                return Err(problem.with_help("write `--label column=Entity.feature` with a feature that is deployed"));
            }
            let mapped = given.iter().find(|(_, column)| *column == label.column).map(|(path, _)| path.clone());
            Ok((label.column.clone(), label.feature.clone().or(mapped)))
        };
        labels.iter().map(label).collect()
    }
}

/// What each feature asked for is computed from, itself included.
fn reads<'a>(registry: &Registry, request: &'a TrainingSetRequest) -> BTreeMap<&'a FeaturePath, BTreeSet<FeatureRef>> {
    request.features.iter().map(|path| (path, computed_from(registry, path))).collect()
}

/// What says of a row whether its label is known: the label's feature, or, where that is computed, the stored features of the
/// same entity that it is computed from. Keys and what relations go by are no part of it: they are known before.
struct OwnFact {
    /// Those that some feature asked for reads.
    parts: Vec<(FeaturePath, FeatureRef)>,
}

impl OwnFact {
    fn of(registry: &Registry, label: &FeaturePath, reads: &BTreeMap<&FeaturePath, BTreeSet<FeatureRef>>) -> Self {
        let Ok(target) = registry.catalog().follow(label) else { return Self { parts: Vec::new() } };
        let entity = target.entity;
        let own = FeatureRef::new(&entity.name, &target.feature.name);
        let leads = |name: &Name| {
            entity.keys().any(|key| key.name == *name)
                || entity.relations.iter().any(|relation| relation.on.iter().any(|(here, _)| here == name))
        };
        let beneath = computed_from(registry, label).into_iter().filter(|part| {
            part.entity == entity.name && registry.is_stored(&part.entity, &part.feature) && !leads(&part.feature)
        });
        let path = |part: &FeatureRef| FeaturePath {
            root: label.root.clone(),
            via: label.via.clone(),
            feature: part.feature.clone(),
            window: None,
        };
        let all: BTreeMap<FeatureRef, FeaturePath> =
            beneath.map(|part| (part.clone(), path(&part))).chain([(own, label.clone())]).collect();
        let is_read = |part: &FeatureRef| reads.values().any(|read| read.contains(part));
        let parts = all.into_iter().filter(|(part, _)| is_read(part)).map(|(part, path)| (path, part)).collect();
        Self { parts }
    }

    /// The request for these alone, whatever their age: what has expired is known all the same.
    fn asked(&self, request: &TrainingSetRequest) -> TrainingSetRequest {
        let features: Vec<FeaturePath> = self.parts.iter().map(|(path, _)| path.clone()).collect();
        let mut asked = TrainingSetRequest { max_age: BTreeMap::new(), ..request.clone() };
        asked.inputs.retain(|path, _| !features.contains(path));
        TrainingSetRequest { features, ..asked }
    }

    /// The spine without the columns that give them: what is known of them from elsewhere is asked.
    fn hidden(&self, request: &TrainingSetRequest, spine: &[RecordBatch]) -> Result<Vec<RecordBatch>, Problem> {
        let is_part = |path: &FeaturePath| self.parts.iter().any(|(part, _)| part == path);
        let column = |path: &FeaturePath| request.inputs.get(path).cloned().unwrap_or_else(|| path.to_string());
        let needed = |name: &String| {
            *name == request.as_of || request.inputs.iter().any(|(path, column)| !is_part(path) && column == name)
        };
        let gone: BTreeSet<String> =
            self.parts.iter().map(|(path, _)| column(path)).filter(|name| !needed(name)).collect();
        let without = |batch: &RecordBatch| {
            let kept: Vec<usize> = (0..batch.num_columns())
                .filter(|index| !gone.contains(batch.schema_ref().field(*index).name()))
                .collect();
            batch.project(&kept).map_err(|error| Problem::new("internal/engine", error.to_string()))
        };
        spine.iter().map(without).collect()
    }
}

/// A name for one more column that no column of the spine has.
fn free_name(spine: &[RecordBatch]) -> String {
    let taken = |name: &str| spine.first().is_some_and(|batch| batch.schema_ref().index_of(name).is_ok());
    let mut name = "just before".to_owned();
    while taken(&name) {
        name.push('\'');
    }
    name
}

/// The request as of just before each row's instant, with what was known at it.
fn as_of_before(request: &TrainingSetRequest, before: &str) -> TrainingSetRequest {
    let known = request.known_as_of.clone().unwrap_or_else(|| KnownAsOfColumn::Column(request.as_of.clone()));
    TrainingSetRequest { as_of: before.to_owned(), known_as_of: Some(known), ..request.clone() }
}

/// The spine with the column that [`as_of_before`] asks by.
fn with_before(request: &TrainingSetRequest, name: &str, spine: &[RecordBatch]) -> Result<RecordBatch, Problem> {
    let table = spine::one_table(spine)?;
    let (instants, _) = spine::instants(&table, &request.as_of, "`as_of`")?;
    let before = instants.unary::<_, TimestampMicrosecondType>(|at| at - 1).with_timezone("UTC");
    let mut fields = table.schema_ref().fields().to_vec();
    fields.push(Arc::new(Field::new(name, before.data_type().clone(), false)));
    let columns = table.columns().iter().cloned().chain([Arc::new(before) as ArrayRef]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| Problem::new("internal/engine", error.to_string()))
}

/// Whether a plan reads a feature up to the row's instant itself: by a lookup (rule S2) or a closed window. Otherwise it reads
/// what was before (rule S3).
fn reads_at_the_instant(plan: &Plan, feature: Option<FeatureId>) -> bool {
    plan.steps.iter().any(|step| match step {
        Step::Lookup { columns, .. } => columns.iter().any(|looked_up| Some(looked_up.column.feature) == feature),
        Step::Windows { columns, aggregations, .. } => {
            columns.iter().any(|read| Some(read.feature) == feature)
                && aggregations.iter().any(|aggregation| aggregation.include_now)
        }
        Step::Expression { .. } | Step::Resolve { .. } => false,
    })
}

/// Features that are computed from a column of the spine.
fn computed_from_given(plan: &Plan, given: &[(FeaturePath, String)], column: &str) -> Vec<FeaturePath> {
    let of_column = |path: &FeaturePath| given.iter().any(|(given, name)| given == path && name == column);
    let mut reads = vec![false; plan.slots.len()];
    for SlotId(slot) in &plan.given {
        reads[*slot] = of_column(&plan.slots[*slot].path);
    }
    for step in &plan.steps {
        match step {
            // What is found by a label is computed from it as well.
            Step::Lookup { key_slots, columns, .. } => {
                let found = key_slots.iter().any(|SlotId(slot)| reads[*slot]);
                columns.iter().for_each(|column| reads[column.slot.0] = found);
            }
            Step::Windows { key_slots, aggregations, .. } => {
                let found = key_slots.iter().any(|SlotId(slot)| reads[*slot]);
                aggregations.iter().for_each(|aggregation| reads[aggregation.slot.0] = found);
            }
            Step::Expression { expr, slot, .. } => reads[slot.0] = reads_any(expr, &reads),
            Step::Resolve { inputs, outputs, .. } => {
                let found = inputs.iter().filter_map(|input| input.slot).any(|SlotId(slot)| reads[slot]);
                outputs.iter().for_each(|output| reads[output.slot.0] = found);
            }
        }
    }
    plan.outputs.iter().filter(|slot| reads[slot.0]).map(|slot| plan.slots[slot.0].path.clone()).collect()
}

fn reads_any(expr: &BoundExpr, reads: &[bool]) -> bool {
    match expr {
        BoundExpr::Column { index, .. } => reads[*index],
        BoundExpr::Literal { .. } => false,
        BoundExpr::Call { args, .. } => args.iter().any(|arg| reads_any(arg, reads)),
    }
}

fn column<'a>(table: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Problem> {
    let missing = || Problem::new("internal/engine", format!("the training set has no column `{name}`"));
    table.column_by_name(name).ok_or_else(missing)
}

/// What there is to know of a feature in some rows.
struct Told {
    /// It has a value, or had one that is too old.
    known: u64,
    /// Whoever asks is not told.
    withheld: u64,
}

/// Rows in which a feature is known, and in which that is withheld. The table has to have states.
fn told(table: &RecordBatch, feature: &FeaturePath) -> Result<Told, Problem> {
    let states = column(table, &format!("{feature}__state"))?.as_string::<i32>();
    let count = |of: &[CellState]| {
        states.iter().flatten().filter(|state| of.iter().any(|of| of.as_str() == *state)).count() as u64
    };
    Ok(Told { known: count(&[CellState::Value, CellState::Expired]), withheld: count(&[CellState::Denied]) })
}

/// Whether a feature has the label's value nearly always. Numbers are compared as numbers, texts as texts; a label that is the
/// same in all rows says nothing.
fn same_as_label(feature: &FeaturePath, label: &str, table: &RecordBatch) -> Result<Option<Leak>, Problem> {
    let (values, labels) = (column(table, &feature.to_string())?, column(table, label)?);
    let plain = |array: &ArrayRef| match array.data_type() {
        ty if ty.is_numeric() || *ty == DataType::Boolean => cast(array, &DataType::Float64).ok(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) => {
            cast(array, &DataType::Utf8).ok()
        }
        _ => None,
    };
    let (Some(values), Some(labels)) = (plain(values), plain(labels)) else { return Ok(None) };
    if values.data_type() != labels.data_type() {
        return Ok(None);
    }
    let both: Vec<usize> = (0..values.len()).filter(|row| values.is_valid(*row) && labels.is_valid(*row)).collect();
    let (same, various) = if *values.data_type() == DataType::Float64 {
        let (values, labels) = (values.as_primitive::<Float64Type>(), labels.as_primitive::<Float64Type>());
        let same = both.iter().filter(|row| values.value(**row) == labels.value(**row)).count();
        let kinds: HashSet<u64> = both.iter().map(|row| labels.value(*row).to_bits()).collect();
        (same, kinds.len() > 1)
    } else {
        let (values, labels) = (values.as_string::<i32>(), labels.as_string::<i32>());
        let same = both.iter().filter(|row| values.value(**row) == labels.value(**row)).count();
        let kinds: HashSet<&str> = both.iter().map(|row| labels.value(*row)).collect();
        (same, kinds.len() > 1)
    };
    let says = both.len() >= COMPARED_MIN && various && same * 100 >= both.len() * SAME_PERCENT;
    Ok(says.then(|| Leak::SameAsLabel {
        feature: feature.clone(),
        label: label.to_owned(),
        compared: both.len() as u64,
        same: same as u64,
    }))
}

/// Rows in which a feature, or why it has no value, is not the same in two tables.
fn different(feature: &FeaturePath, one: &RecordBatch, other: &RecordBatch) -> Result<u64, Problem> {
    let failed = |error: arrow::error::ArrowError| Problem::new("internal/engine", error.to_string());
    let names = [feature.to_string(), format!("{feature}__state")];
    let of = |table: &RecordBatch| names.iter().map(|name| column(table, name).cloned()).collect::<Result<Vec<_>, _>>();
    let (one, other) = (of(one)?, of(other)?);
    let fields = one.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(failed)?;
    let (one, other) =
        (converter.convert_columns(&one).map_err(failed)?, converter.convert_columns(&other).map_err(failed)?);
    Ok(one.iter().zip(other.iter()).filter(|(one, other)| one != other).count() as u64)
}

/// For each feature the entities whose facts were learned later than declared.
fn late_facts(
    registry: &Registry,
    snapshot: &creta_store::FactSnapshot,
    features: &[FeaturePath],
    reads: &BTreeMap<&FeaturePath, BTreeSet<FeatureRef>>,
    may_count: impl Fn(EntityId) -> bool,
) -> Result<Vec<Leak>, Problem> {
    let mut measured = BTreeMap::<Name, Option<(u64, u64, Span, i64)>>::new();
    let mut found = Vec::new();
    for path in features {
        let stored = reads[path].iter().filter(|feature| registry.is_stored(&feature.entity, &feature.feature));
        let entities: BTreeSet<&Name> = stored.map(|feature| &feature.entity).collect();
        for entity in entities {
            if !measured.contains_key(entity) {
                let id = registry.entity_id(entity).filter(|id| may_count(*id));
                let lateness = id.map(|id| lateness(registry, snapshot, entity, id)).transpose()?;
                measured.insert(entity.clone(), lateness);
            }
            if let Some(Some((facts, late, declared, latest_us))) = measured.get(entity)
                && *late > 0
            {
                found.push(Leak::LateFacts {
                    feature: path.clone(),
                    entity: entity.clone(),
                    facts: *facts,
                    late: *late,
                    declared: *declared,
                    latest_us: *latest_us,
                });
            }
        }
    }
    Ok(found)
}

/// Facts of an entity, how many are late, how late they may be and how late the latest is.
fn lateness(
    registry: &Registry,
    snapshot: &creta_store::FactSnapshot,
    entity: &Name,
    id: EntityId,
) -> Result<(u64, u64, Span, i64), Problem> {
    let of_entity = registry.graph().sources.iter().filter(|source| source.entity == *entity);
    let delays = of_entity.filter_map(|source| match &source.arrival {
        Some(Arrival::Delay(delay)) => Some(*delay),
        _ => None,
    });
    let declared = delays.max_by_key(|span| span.micros()).unwrap_or(Span::ZERO);
    let (mut facts, mut late, mut latest) = (0, 0, 0);
    for batch in snapshot.scan(id, Some(&[]), ..).map_err(|error| store_problem(&error))? {
        let times =
            |name: &str| batch.column_by_name(name).map(|column| column.as_primitive::<TimestampMicrosecondType>());
        let (Some(events), Some(arrivals)) = (times(layout::EVENT_TIME), times(layout::ARRIVAL_TIME)) else { continue };
        for (event, arrival) in events.values().iter().zip(arrivals.values()) {
            let lateness = arrival.saturating_sub(*event);
            facts += 1;
            if lateness > declared.micros() {
                late += 1;
                latest = latest.max(lateness);
            }
        }
    }
    Ok((facts, late, declared, latest))
}
