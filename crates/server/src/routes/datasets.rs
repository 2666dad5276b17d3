//! Training sets that were given a name: made, listed, described, handed out, renamed and retired.
//!
//! What a dataset is made of is for whoever reads the catalogue. Its rows are for whoever may build a training set of the same
//! features now: the permit is one to train, on the features of the dataset with the tags that they have now and had then.

use std::collections::BTreeSet;

use axum::response::Response;
use creta_audit::{Details, Event};
use creta_engine::{
    DatasetName, DatasetRef, DatasetRequest, DatasetRows, DatasetVersion, Keeper, ScopeEngine, Selection, SpineTags,
};
use creta_iam::{Action, FeatureSet};
use creta_model::Problem;
use serde::{Deserialize, Serialize};

use super::queries::{SpineQuery, decode_blocking, json_parameter, kept_back, labelled, labelled_schema, no_guesses};
use crate::arrow_body::{ARROW_STREAM, encode};
use crate::context::{Admitted, Guarded, Input, PlaceOf, resource};
use crate::disclosure::{day_of, ends_on_a_machine, no_download};
use crate::problem::{Refusal, from_audit, logged};
use crate::routes::{json as answer, typed};

/// Content type of Parquet files.
const PARQUET: &str = "application/vnd.apache.parquet";

/// The query string of a dataset that is made; the body is the spine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MakeQuery {
    name: DatasetName,
    features: String,
    as_of: String,
    #[serde(default)]
    known_as_of: Option<String>,
    #[serde(default)]
    inputs: Option<String>,
    #[serde(default)]
    max_age: Option<String>,
    #[serde(default)]
    sample: Option<String>,
    #[serde(default)]
    required: Option<String>,
    /// JSON list of tags; left out, all tags of which whoever asks gets values.
    #[serde(default)]
    spine_tags: Option<String>,
}

/// Builds a training set and keeps it as the next version of a dataset.
pub(super) async fn make(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let MakeQuery { name, features, as_of, known_as_of, inputs, max_age, sample, required, spine_tags } =
        input.query()?;
    let (states, memory, sink) = (false, None, None);
    let question = SpineQuery { features, as_of, known_as_of, inputs, states, max_age, sample, required, memory, sink };
    let training_set = question.into_request()?;
    let declared = spine_tags.map(|text| json_parameter::<BTreeSet<String>>("spine_tags", Some(text))).transpose()?;
    let (schema, mut spine) = decode_blocking(input).await?;
    if spine.is_empty() {
        spine.push(arrow::array::RecordBatch::new_empty(schema));
    }
    let rows: u64 = spine.iter().map(|batch| batch.num_rows() as u64).sum();
    let details = Details::none()
        .name("dataset", name.as_str())
        .and_then(|details| details.count("rows", rows))
        .and_then(|details| details.name("known-as-of", training_set.known_until()))
        .and_then(|details| details.name("spine-tags", if declared.is_some() { "declared" } else { "all" }));
    let details = details.map_err(|e| from_audit(&e))?;
    let (asked, asked_spine) = (training_set.clone(), spine.clone());
    let made = guarded
        .act_and_also(
            Action::Train,
            details,
            move |engine| engine.features_of_training_set(&asked, &asked_spine),
            move |admitted, make| {
                // How many rows are left, and what stands in each, would say which guesses of a spine were right.
                if !training_set.required.is_empty() {
                    no_guesses(admitted)?;
                }
                let engine = admitted.engine()?;
                let seen = || {
                    let (control, permit) = (admitted.control, &admitted.permit);
                    engine.spine_tags_seen(|all| {
                        control.decide(permit.principal(), Action::Train, &resource(permit.place(), all))
                    })
                };
                let spine_tags = declared.map_or_else(seen, SpineTags::Declared);
                let request = DatasetRequest { name, training_set, spine_tags };
                let limits = &admitted.app.disclosures.datasets;
                let made = engine.make_dataset(&request, &spine, (&admitted.permit, make), limits)?;
                let details = Details::none()
                    .name("dataset", made.reference())
                    .and_then(|details| details.count("rows", made.rows.unwrap_or(0)))
                    .and_then(|details| details.name("plan", made.plan.as_str()))
                    .and_then(|details| details.count("position", made.position))
                    .and_then(|details| details.keyed("content", made.digest.as_bytes()));
                let details = details.map_err(|e| from_audit(&e))?;
                admitted.control.record(Event::of(make, "dataset.kept").with(details));
                Ok(made)
            },
        )
        .await?;
    // Whoever made it got these rows, so they may know how many there are.
    let rows = made.rows;
    answer(&DatasetVersion { rows, ..made.without_contents() })
}

/// All datasets of the scope, with their versions.
#[derive(Serialize)]
struct Listed {
    datasets: Vec<creta_engine::DatasetEntry>,
}

pub(super) async fn list(guarded: Guarded, _: Input) -> Result<Response, Refusal> {
    let listed = guarded
        .act(Details::none(), |admitted| Ok(Listed { datasets: admitted.engine()?.datasets(&admitted.permit)? }))
        .await?;
    answer(&listed)
}

/// How a version was made and out of what. Nothing that says anything of values.
pub(super) async fn describe(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let which = DatasetRef::parse(input.path("id"))?;
    let details = Details::none().name("dataset", which.to_string()).map_err(|e| from_audit(&e))?;
    let version = guarded.act(details, move |admitted| Ok(admitted.engine()?.dataset(&which)?)).await?;
    answer(&version.without_contents())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowsQuery {
    /// JSON list of columns; left out, all.
    #[serde(default)]
    columns: Option<String>,
    #[serde(default)]
    states: bool,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    sink: Option<String>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Arrow,
    Parquet,
}

/// What becomes of rows.
enum Handed {
    Out(&'static str, Vec<u8>),
    Written(crate::disclosure::Written),
}

/// Which columns a parameter names.
fn selection(columns: Option<String>, states: bool) -> Result<Selection, Problem> {
    let columns = columns.map(|text| json_parameter::<BTreeSet<String>>("columns", Some(text))).transpose()?;
    Ok(Selection { columns, states })
}

/// Looks a version up, and what it is decided on. What the log keeps names the version.
fn looked_up(
    engine: &ScopeEngine,
    which: &DatasetRef,
    selection: &Selection,
) -> Result<(FeatureSet, Details, DatasetVersion), Problem> {
    let version = engine.dataset(which)?;
    let features = engine.features_of_dataset(&version, selection)?;
    let details = Details::none()
        .name("dataset", version.reference())
        .and_then(|details| details.count("rows", version.rows.unwrap_or(0)))
        .map_err(|e| from_audit(&e))?;
    Ok((features, details, version))
}

/// The rows of a version, as an Arrow stream or a Parquet file, to whoever asks or into a sink.
pub(super) async fn rows(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let RowsQuery { columns, states, format, sink } = input.query()?;
    let which = DatasetRef::parse(input.path("id"))?;
    let selection = selection(columns, states)?;
    let asked = selection.clone();
    let handed = guarded
        .act_on_prepared(
            move |engine| looked_up(engine, &which, &asked),
            move |admitted, version| {
                if sink.is_none() && ends_on_a_machine(admitted.permit.principal(), admitted.control.class()) {
                    return Err(kept_back(admitted, no_download()).into());
                }
                let shown = admitted.engine()?.dataset_rows(&version, &selection, &admitted.permit)?;
                let Some(sink) = sink else {
                    let (media, bytes) = written(&shown, format, admitted)?;
                    return Ok(Handed::Out(media, bytes));
                };
                let mut file = admitted.app.disclosures.sinks.create(admitted.scope()?, &sink)?;
                shown.batches.into_iter().try_for_each(|batch| file.write(labelled(batch, admitted)?))?;
                let written = file.keep()?;
                let details = Details::none()
                    .name("sink", sink)
                    .and_then(|details| details.name("dataset", version.reference()))
                    .map_err(|e| from_audit(&e))?;
                admitted.control.record(Event::of(&admitted.permit, "sink.written").with(details));
                Ok(Handed::Written(written))
            },
        )
        .await?;
    match handed {
        Handed::Out(media, bytes) => Ok(typed(media, bytes)),
        Handed::Written(written) => answer(&written),
    }
}

fn written(shown: &DatasetRows, format: Format, admitted: &Admitted<'_>) -> Result<(&'static str, Vec<u8>), Problem> {
    let schema = labelled_schema(&shown.schema, admitted);
    match format {
        Format::Arrow => {
            let bytes = encode(&schema, &shown.batches);
            Ok((ARROW_STREAM, bytes.map_err(|error| logged("rows of a dataset could not be encoded", &error))?))
        }
        Format::Parquet => Ok((PARQUET, shown.to_parquet(&schema)?)),
    }
}

/// Rows of a preview at most.
const PREVIEW_ROWS_MAX: usize = 100;
/// Rows that the figures of a profile are counted as, where people get few rows a day.
const PROFILE_ROWS: u64 = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileQuery {
    #[serde(default)]
    columns: Option<String>,
    /// Rows to show.
    #[serde(default)]
    preview: usize,
}

/// Figures of the columns of a version, and its first rows.
pub(super) async fn profile(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let ProfileQuery { columns, preview } = input.query()?;
    let which = DatasetRef::parse(input.path("id"))?;
    if preview > PREVIEW_ROWS_MAX {
        let problem = Problem::new("too-large/rows", format!("a preview has at most {PREVIEW_ROWS_MAX} rows"));
        return Err(problem.with_help("download the rows instead").into());
    }
    let selection = selection(columns, true)?;
    let asked = selection.clone();
    let profile = guarded
        .act_on_prepared(
            move |engine| looked_up(engine, &which, &asked),
            move |admitted, version| {
                if ends_on_a_machine(admitted.permit.principal(), admitted.control.class()) {
                    let (who, day) = (admitted.counted(), day_of(admitted.now()));
                    let taken = admitted.app.disclosures.rows.take(&who, day, PROFILE_ROWS + preview as u64);
                    taken.map_err(|problem| kept_back(admitted, problem))?;
                }
                let shown = admitted.engine()?.dataset_rows(&version, &selection, &admitted.permit)?;
                Ok(shown.profile(&version, preview)?)
            },
        )
        .await?;
    answer(&profile)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiffQuery {
    /// The version to compare with: the later one.
    with: String,
    #[serde(default)]
    columns: Option<String>,
}

/// What changed from one version to another, and why. Each is looked at by a permit of its own.
pub(super) async fn diff(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let DiffQuery { with, columns } = input.query()?;
    let (left, right) = (DatasetRef::parse(input.path("id"))?, DatasetRef::parse(&with)?);
    let columns = selection(columns, true)?.columns;
    let for_right = guarded.also(Action::Train, PlaceOf::Own);
    let before = compared(guarded, left, columns.clone()).await?;
    let wanted = columns.clone();
    let diff = for_right
        .act_on_prepared(
            move |engine| for_comparing(engine, &right, wanted.as_ref()),
            move |admitted, (version, selection)| {
                no_guesses(admitted)?;
                let engine = admitted.engine()?;
                let known = |name: &String| {
                    let has = |version: &DatasetVersion| version.columns.iter().any(|column| column.name == *name);
                    has(&before.0) || has(&version)
                };
                if let Some(unknown) = columns.iter().flatten().find(|name| !known(name)) {
                    let problem =
                        Problem::new("dataset/no-column", format!("neither version has a column `{unknown}`"));
                    return Err(problem.with_help("`creta dataset describe` shows the columns").into());
                }
                let after = engine.dataset_rows(&version, &selection, &admitted.permit)?;
                Ok(engine.diff_datasets((&before.0, &before.1), (&version, &after))?)
            },
        )
        .await?;
    answer(&diff)
}

type Comparing = (FeatureSet, Details, (DatasetVersion, Selection));

fn for_comparing(
    engine: &ScopeEngine,
    which: &DatasetRef,
    columns: Option<&BTreeSet<String>>,
) -> Result<Comparing, Problem> {
    let selection = Selection::for_comparing(&engine.dataset(which)?, columns);
    let (features, details, version) = looked_up(engine, which, &selection)?;
    Ok((features, details, (version, selection)))
}

async fn compared(
    guarded: Guarded,
    which: DatasetRef,
    columns: Option<BTreeSet<String>>,
) -> Result<(DatasetVersion, DatasetRows), Refusal> {
    guarded
        .act_on_prepared(
            move |engine| for_comparing(engine, &which, columns.as_ref()),
            move |admitted, (version, selection)| {
                no_guesses(admitted)?;
                let rows = admitted.engine()?.dataset_rows(&version, &selection, &admitted.permit)?;
                Ok((version, rows))
            },
        )
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    to: DatasetName,
}

/// What a dataset is called now.
#[derive(Serialize)]
struct Renamed {
    name: DatasetName,
}

/// Of whose datasets somebody decides what becomes: of all, who may deploy the definitions; of their own, who made them.
fn keeper(admitted: &Admitted<'_>) -> Keeper {
    let (principal, place) = (admitted.permit.principal(), admitted.permit.place());
    let resource = resource(place, FeatureSet::none());
    match admitted.control.decide(principal, Action::Deploy, &resource).is_allowed() {
        true => Keeper::OfAll,
        false => Keeper::OfOwn,
    }
}

/// Gives a dataset another name.
pub(super) async fn rename(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let from = DatasetRef::parse(input.path("id"))?;
    if from.version.is_some() {
        let problem = Problem::new("dataset/whole", "a dataset is renamed with all its versions");
        return Err(problem.with_help(format!("name it without a version: `{}`", from.name)).into());
    }
    let Rename { to } = input.json()?;
    let details = Details::none()
        .name("dataset", from.name.as_str())
        .and_then(|details| details.name("to", to.as_str()))
        .map_err(|e| from_audit(&e))?;
    let renamed = guarded
        .act(details.clone(), move |admitted| {
            admitted.engine()?.rename_dataset(&from.name, &to, &admitted.permit, keeper(admitted))?;
            admitted.control.record(Event::of(&admitted.permit, "dataset.renamed").with(details));
            Ok(Renamed { name: to })
        })
        .await?;
    answer(&renamed)
}

/// Removes the content of a version for good.
pub(super) async fn retire(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let which = DatasetRef::parse(input.path("id"))?;
    let details = Details::none().name("dataset", which.to_string()).map_err(|e| from_audit(&e))?;
    let version = guarded
        .act(details.clone(), move |admitted| {
            let version = admitted.engine()?.retire_dataset(&which, &admitted.permit, keeper(admitted))?;
            admitted.control.record(Event::of(&admitted.permit, "dataset.retired").with(details));
            Ok(version)
        })
        .await?;
    answer(&version.without_contents())
}
