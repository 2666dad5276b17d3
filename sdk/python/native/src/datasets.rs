//! Datasets of `creta.local`: kept in memory as a server keeps them on its disk, and gone with the process.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use creta_engine::{
    DatasetLimits, DatasetName, DatasetRef, DatasetRequest, DatasetRows, DatasetVersion, Keeper, Selection, SpineTags,
    TrainingSetRequest,
};
use creta_iam::{Action, FeatureSet};
use creta_model::Problem;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::local::Local;

/// What to build and keep.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    name: DatasetName,
    training_set: TrainingSetRequest,
    /// Left out, every tag of which values are seen.
    spine_tags: Option<BTreeSet<String>>,
}

/// What to do with kept ones.
#[derive(Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Operation {
    List,
    Describe { dataset: String },
    Profile { dataset: String, columns: Option<BTreeSet<String>>, preview: usize },
    Diff { dataset: String, with: String, columns: Option<BTreeSet<String>> },
    Rename { dataset: DatasetName, to: DatasetName },
    Retire { dataset: String },
}

/// Which rows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedRows {
    dataset: String,
    columns: Option<BTreeSet<String>>,
    states: bool,
}

pub(crate) fn make(local: &Local, wanted: Wanted, spine: &[RecordBatch]) -> Result<DatasetVersion, Problem> {
    let Wanted { name, training_set, spine_tags } = wanted;
    let features = local.engine.features_of_training_set(&training_set, spine)?;
    let seen = || local.engine.spine_tags_seen(|all| local.decide(Action::Train, all));
    let request = DatasetRequest { name, training_set, spine_tags: spine_tags.map_or_else(seen, SpineTags::Declared) };
    let make = local.permit(Action::DatasetMake, FeatureSet::none())?;
    let train = local.permit(Action::Train, features)?;
    let made = local.engine.make_dataset(&request, spine, (&train, &make), &DatasetLimits::NONE)?;
    let rows = made.rows;
    Ok(DatasetVersion { rows, ..made.without_contents() })
}

pub(crate) fn operate(local: &Local, operation: Operation) -> Result<Value, Problem> {
    let engine = &local.engine;
    match operation {
        Operation::List => {
            let read = local.permit(Action::CatalogueRead, FeatureSet::none())?;
            Ok(json!({ "datasets": engine.datasets(&read)? }))
        }
        Operation::Describe { dataset } => {
            let read = local.permit(Action::CatalogueRead, FeatureSet::none())?;
            read.require(Action::CatalogueRead, engine.scope(), []).expect("the permit was asked for this");
            Ok(value(&engine.dataset(&DatasetRef::parse(&dataset)?)?.without_contents()))
        }
        Operation::Profile { dataset, columns, preview } => {
            let version = engine.dataset(&DatasetRef::parse(&dataset)?)?;
            let rows = shown(local, &version, &Selection { columns, states: true })?;
            Ok(value(&rows.profile(&version, preview)?))
        }
        Operation::Diff { dataset, with, columns } => {
            let side = |which: &str| {
                let version = engine.dataset(&DatasetRef::parse(which)?)?;
                let rows = shown(local, &version, &Selection::for_comparing(&version, columns.as_ref()))?;
                Ok::<_, Problem>((version, rows))
            };
            let (left, right) = (side(&dataset)?, side(&with)?);
            Ok(value(&engine.diff_datasets((&left.0, &left.1), (&right.0, &right.1))?))
        }
        Operation::Rename { dataset, to } => {
            engine.rename_dataset(
                &dataset,
                &to,
                &local.permit(Action::DatasetRetire, FeatureSet::none())?,
                Keeper::OfAll,
            )?;
            Ok(json!({ "name": to }))
        }
        Operation::Retire { dataset } => {
            let permit = local.permit(Action::DatasetRetire, FeatureSet::none())?;
            Ok(value(&engine.retire_dataset(&DatasetRef::parse(&dataset)?, &permit, Keeper::OfAll)?.without_contents()))
        }
    }
}

pub(crate) fn rows(local: &Local, wanted: &WantedRows) -> Result<DatasetRows, Problem> {
    let version = local.engine.dataset(&DatasetRef::parse(&wanted.dataset)?)?;
    shown(local, &version, &Selection { columns: wanted.columns.clone(), states: wanted.states })
}

fn shown(local: &Local, version: &DatasetVersion, selection: &Selection) -> Result<DatasetRows, Problem> {
    let features = local.engine.features_of_dataset(version, selection)?;
    local.engine.dataset_rows(version, selection, &local.permit(Action::Train, features)?)
}

fn value(body: &impl Serialize) -> Value {
    serde_json::to_value(body).expect("it has a JSON form")
}
