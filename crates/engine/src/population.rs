//! The values of a feature over all entities, as what may be told of them: ranges, never values (CH-19).

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::row::{RowConverter, SortField};
use creta_audit::Permit;
use creta_disclosure::{Partition, Population};
use creta_iam::Action;
use creta_model::{Entity, EntityId, FeaturePath, Instant, Problem, RelationKind};
use creta_registry::Registry;
use creta_store::layout;

use crate::answer::AnswerColumn;
use crate::ready::tags_changed;
use crate::run::{Rows, RunOptions, run};
use crate::scan::SnapshotReader;
use crate::scope_engine::{Deployment, FeatureAccess, ScopeEngine, store_problem};
use crate::value::read_value;

impl ScopeEngine {
    /// The feature that statistics are asked for, with its tags: for the access decision. Paths over relations are refused,
    /// so that nobody makes new questions of known ones.
    pub fn feature_of_statistics(&self, path: &FeaturePath) -> Result<FeatureAccess, Problem> {
        let deployment = self.deployment()?;
        if !path.via.is_empty() {
            let problem = Problem::new("statistics/path", "statistics are of an entity's own features");
            return Err(problem.with_help("ask for `Entity.feature`, without a relation on the way"));
        }
        let entity = deployment.registry.entity(&path.root);
        let feature = entity.and_then(|entity| entity.find_feature(&path.feature));
        let Some(feature) = feature.filter(|feature| feature.window.is_some() == path.window.is_some()) else {
            return Err(Problem::new("not-found/feature", format!("there is no feature `{path}`")).with_help(
                "`creta plan` and the catalogue name them; a windowed one needs its window: `Entity.feature[7d]`",
            ));
        };
        let reference = creta_registry::FeatureRef::new(&path.root, &feature.name);
        Ok(FeatureAccess { name: reference.to_string(), tags: deployment.registry.effective_tags(&reference) })
    }

    /// Of each feature at each instant what may be told. What is not known at an instant, as of what was known then, does not
    /// count. Reads the facts of the features' entities once per instant; values do not leave this function.
    pub fn populations(&self, asked: &[(FeaturePath, Instant)], permit: &Permit) -> Result<Vec<Population>, Problem> {
        let deployment = self.deployment()?;
        let features = asked.iter().map(|(path, _)| self.feature_of_statistics(path));
        let features = features.collect::<Result<Vec<FeatureAccess>, Problem>>()?;
        // The first is what is asked for; the others were answered before and are compared with it.
        self.permitted(permit, Action::StatisticsRead, features.first().map(|feature| feature.name.as_str()))?;
        let as_decided = |feature: &FeatureAccess| {
            let decided = permit.features().tags_of(&feature.name).into_iter().flatten();
            decided.eq(feature.tags.iter().map(String::as_str))
        };
        if let Some(feature) = features.first().filter(|feature| !as_decided(feature)) {
            return Err(tags_changed(&feature.name));
        }
        let mut together: BTreeMap<(&creta_model::Name, Instant), Vec<usize>> = BTreeMap::new();
        for (place, (path, at)) in asked.iter().enumerate() {
            together.entry((&path.root, *at)).or_default().push(place);
        }
        let mut found: Vec<Option<Population>> = asked.iter().map(|_| None).collect();
        for ((_, at), places) in together {
            let paths: Vec<FeaturePath> = places.iter().map(|place| asked[*place].0.clone()).collect();
            let populations = self.at(&deployment, &paths, at, permit)?;
            for (place, population) in places.into_iter().zip(populations) {
                found[place] = Some(population);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Features of one entity at one instant.
    fn at(
        &self,
        deployment: &Deployment,
        paths: &[FeaturePath],
        at: Instant,
        permit: &Permit,
    ) -> Result<Vec<Population>, Problem> {
        let registry = &deployment.registry;
        let entity = registry.entity(&paths[0].root).expect("checked before");
        let given = entity.keys().map(|key| FeaturePath::direct(entity.name.clone(), key.name.clone())).collect();
        let mut outputs = paths.to_vec();
        outputs.sort();
        outputs.dedup();
        let policy = self.ready_policy(&deployment.registry);
        let shape = self.shape_for(deployment, &policy, given, outputs, &BTreeMap::new())?;
        // Counts over all entities, minus those that somebody sees, would tell of the others.
        let guard = self.guard(deployment, permit.principal(), permit.place());
        if guard.is_some_and(|guard| guard.concerns(registry.entity_id(&entity.name), &shape.plan)) {
            let message = format!("a row rule binds you to some rows that statistics of `{}` are about", entity.name);
            return Err(Problem::new("access/rows", message)
                .with_help("ask for the rows that you see; somebody whom no row rule binds can ask for statistics"));
        }
        let keys = self.keys_at(registry, entity, at)?;
        let rows = keys.first().map_or(0, |key| key.len());
        let texts = texts(&keys)?;
        let answer = run(
            &shape.plan,
            &Rows::at(keys, rows, at),
            permit,
            &SnapshotReader::new(self.facts.snapshot()),
            deployment.host.as_ref(),
            &RunOptions::default(),
        )
        .map_err(|error| Problem::new("internal/engine", error.to_string()))?;
        let population = |path: &FeaturePath| {
            let column = answer.find(path).expect("every output is answered");
            let feature = entity.find_feature(&path.feature).expect("checked before");
            let partition = Partition::of(&column.ty, feature.validation.as_ref());
            Population::new(partition, &column.ty, values(&texts, column))
        };
        Ok(paths.iter().map(population).collect())
    }

    /// The keys of an entity that the facts known at an instant hold, each once.
    fn keys_at(&self, registry: &Registry, entity: &Entity, at: Instant) -> Result<Vec<ArrayRef>, Problem> {
        let snapshot = self.facts.snapshot();
        let mut parts: Vec<Vec<ArrayRef>> = Vec::new();
        for (holder, columns) in holders(registry, entity) {
            for batch in snapshot.scan(holder, None, ..=at).map_err(|error| store_problem(&error))? {
                let Some(keys) = columns.iter().map(|name| batch.column_by_name(name)).collect::<Option<Vec<_>>>()
                else {
                    continue;
                };
                let known = known(&batch, &keys, at);
                let taken = keys.iter().map(|key| take(key, &known, None)).collect::<Result<Vec<_>, _>>();
                parts.push(taken.map_err(|error| internal(&error))?);
            }
            if !parts.is_empty() {
                break; // Facts of its own; otherwise those that a relation leads to name the keys.
            }
        }
        let columns = (0..entity.keys().count()).map(|key| {
            let of_key: Vec<&dyn Array> = parts.iter().map(|part| part[key].as_ref()).collect();
            concat(&of_key).map_err(|error| internal(&error))
        });
        if parts.is_empty() {
            let types = entity.keys().map(|key| arrow::array::new_empty_array(&key.ty.to_arrow()));
            return Ok(types.collect());
        }
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let mut seen = std::collections::HashSet::new();
        let first = texts(&columns)?.into_iter().enumerate().filter(|(_, text)| seen.insert(text.clone()));
        let first: UInt32Array = first.map(|(row, _)| row as u32).collect();
        columns.iter().map(|column| take(column, &first, None).map_err(|error| internal(&error))).collect()
    }
}

/// Where keys of an entity are found: in its own facts, else in those that a `many` relation leads to from all of its key.
fn holders(registry: &Registry, entity: &Entity) -> Vec<(EntityId, Vec<String>)> {
    let column =
        |owner: &Entity, name: &creta_model::Name| registry.feature_id(&owner.name, name).map(layout::feature_column);
    let own = entity.keys().map(|key| column(entity, &key.name)).collect::<Option<Vec<_>>>();
    let mut holders: Vec<(EntityId, Vec<String>)> = registry.entity_id(&entity.name).zip(own).into_iter().collect();
    for relation in entity.relations.iter().filter(|relation| relation.kind == RelationKind::Many) {
        let Some(target) = registry.entity(&relation.target) else { continue };
        let there =
            |key: &creta_model::Feature| relation.on.iter().find(|(here, _)| *here == key.name).map(|(_, there)| there);
        let columns = entity.keys().map(|key| column(target, there(key)?)).collect::<Option<Vec<_>>>();
        holders.extend(registry.entity_id(&target.name).zip(columns));
    }
    holders
}

/// Rows that had arrived at an instant, with a whole key.
fn known(batch: &RecordBatch, keys: &[&ArrayRef], at: Instant) -> UInt32Array {
    let arrivals = batch.column_by_name(layout::ARRIVAL_TIME).expect("facts have an arrival time");
    let arrivals = arrivals.as_primitive::<TimestampMicrosecondType>();
    let is_known = |row: &usize| arrivals.value(*row) <= at.micros() && keys.iter().all(|key| key.is_valid(*row));
    (0..batch.num_rows()).filter(is_known).map(|row| row as u32).collect()
}

/// A text for each row's key, the same for equal keys alone.
fn texts(keys: &[ArrayRef]) -> Result<Vec<String>, Problem> {
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let rows = RowConverter::new(fields).and_then(|converter| converter.convert_columns(keys));
    let rows = rows.map_err(|error| internal(&error))?;
    Ok(rows.iter().map(|row| row.data().iter().map(|byte| format!("{byte:02x}")).collect()).collect())
}

fn values<'a>(
    texts: &'a [String],
    column: &'a AnswerColumn,
) -> impl Iterator<Item = (String, creta_model::Value)> + 'a {
    // Missing, expired and failed cells are null here: none of them has a value.
    let values = column.cells.values();
    texts.iter().enumerate().map(move |(row, text)| (text.clone(), read_value(values, &column.ty, row)))
}

fn internal(error: &arrow::error::ArrowError) -> Problem {
    Problem::new("internal/engine", error.to_string())
}
