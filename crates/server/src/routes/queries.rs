//! Questions: a few rows as JSON, many as Arrow, training sets, and how a query would be answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use axum::response::Response;
use creta_audit::{Details, Event, Permit};
use creta_disclosure::Label;
use creta_engine::{
    BindingRule, KnownAsOfColumn, LABEL_DATASET, LABEL_ENTRY, LabelColumn, QueryRequest, Sample, TrainingOptions,
    TrainingSetRequest, WrittenQuery,
};
use creta_model::{FeaturePath, MemorySize, Problem, Span};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::arrow_body::ARROW_STREAM;
use crate::context::{Admitted, AtOnce, Guarded, Input};
use crate::disclosure::{Written, day_of, ends_on_a_machine, no_download};
use crate::limits::JSON_ROWS_MAX;
use crate::problem::{Refusal, from_audit, json_problem, logged};
use crate::routes::{JSON, json as answer, typed};

/// Rows of a query that is answered where its request was read, on a thread that serves other connections too.
const ROWS_AT_ONCE_MAX: usize = 128;

/// Answers a query of up to 10,000 rows from the online store.
pub(super) async fn query(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    input.require_object()?;
    match query_at_once(&guarded, &input.body)? {
        AtOnce::Answer(answer) => return Ok(answer),
        AtOnce::Admitted(permit) => return query_admitted(guarded, permit, &input.body).await,
        AtOnce::No => {}
    }
    let request = query_request(&input)?;
    let asked = request.clone();
    let body = input.body.clone();
    let answer = guarded
        .act_on_features(
            Details::none(),
            move |engine| {
                let ready = engine.ready(&asked)?;
                if let Ok(query) = WrittenQuery::read(&body) {
                    engine.keep_ready(&query, &asked, &ready);
                }
                Ok(ready.features().clone())
            },
            move |admitted| {
                if ends_on_a_machine(admitted.permit.principal(), admitted.control.class()) {
                    let who = admitted.counted();
                    let rows = request.rows() as u64;
                    let taken = admitted.app.disclosures.rows.take(&who, day_of(admitted.now()), rows);
                    taken.map_err(|problem| kept_back(admitted, problem))?;
                }
                let answer = admitted.engine()?.query_json(&request, &admitted.permit)?;
                admitted.app.metrics.rows_asked(admitted.scope()?, answer.rows as u64);
                Ok(answer)
            },
        )
        .await?;
    Ok(typed(JSON, answer.json))
}

/// The rest of a question that [`query_at_once`] admitted.
pub(crate) async fn query_admitted(guarded: Guarded, permit: Permit, body: &[u8]) -> Result<Response, Refusal> {
    let request: QueryRequest =
        serde_json::from_slice(body).map_err(|error| json_problem("request/malformed", "the body", &error))?;
    let answer = guarded.act_by(permit, move |admitted| {
        let answer = admitted.engine()?.query_json(&request, &admitted.permit)?;
        admitted.app.metrics.rows_asked(admitted.scope()?, answer.rows as u64);
        Ok(answer)
    });
    Ok(typed(JSON, answer.await?.json))
}

/// Answers a small query whose shape was asked for before, for stored facts and what compiled resolvers make of them, without
/// leaving this thread.
pub(crate) fn query_at_once(guarded: &Guarded, body: &[u8]) -> Result<AtOnce<Response>, Refusal> {
    let Ok(query) = WrittenQuery::read(body) else { return Ok(AtOnce::No) };
    if query.rows() > ROWS_AT_ONCE_MAX {
        return Ok(AtOnce::No);
    }
    guarded.act_at_once(
        |engine, principal| {
            let ready = engine.find_ready(&query, principal)?;
            Some((ready.features().clone(), ready))
        },
        |admitted, engine, ready| {
            let Some(answer) = engine.query_ready(&ready, &query, &admitted.permit)? else { return Ok(None) };
            admitted.app.metrics.rows_asked(admitted.scope()?, answer.rows as u64);
            Ok(Some(typed(JSON, answer.json)))
        },
    )
}

/// Shows how a query would be answered. Reads no data.
pub(super) async fn explain(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let request = query_request(&input)?;
    let (explanation, rules) = guarded
        .act(Details::none(), move |admitted| {
            let engine = admitted.engine()?;
            Ok((engine.explain(&request, &admitted.permit)?, engine.binding_rules(admitted.permit.principal())))
        })
        .await?;
    let mut body = serde_json::to_value(&explanation).expect("an explanation has a JSON form");
    let mut text = explanation.to_string(); // For people, so that no client has to lay it out again.
    for BindingRule { rule, feature, entity } in &rules {
        text += "\n";
        text += &format!("rows of `{entity}` are denied unless `{feature}` satisfies rule `{rule}`, which binds you");
    }
    body["text"] = text.into();
    body["rows"] = serde_json::to_value(&rules).expect("rules have a JSON form");
    answer(&body)
}

fn query_request(input: &Input) -> Result<QueryRequest, Problem> {
    let request: QueryRequest = input.json()?;
    if request.rows() > JSON_ROWS_MAX {
        let problem = Problem::new("too-large/rows", format!("a query in JSON has at most {JSON_ROWS_MAX} rows"));
        return Err(problem.with_help("send larger ones as Arrow to `/v1/query/arrow`"));
    }
    Ok(request)
}

/// A refusal to hand out values in bulk, which the log keeps (CH-14).
pub(super) fn kept_back(admitted: &Admitted<'_>, problem: Problem) -> Problem {
    admitted.control.record(Event::of(&admitted.permit, "download.refused").for_commitment("CH-14"));
    problem
}

/// The query string of bulk questions; the body is the spine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpineQuery {
    /// Paths, separated by commas.
    pub(super) features: String,
    /// Column of the instants.
    pub(super) as_of: String,
    /// `latest`, or a column.
    #[serde(default)]
    pub(super) known_as_of: Option<String>,
    /// JSON object of path to column.
    #[serde(default)]
    pub(super) inputs: Option<String>,
    /// Whether to add a column of states beside each feature.
    #[serde(default)]
    pub(super) states: bool,
    /// JSON object of path to span.
    #[serde(default)]
    pub(super) max_age: Option<String>,
    /// What the process may take while it builds a training set.
    #[serde(default)]
    pub(super) memory: Option<MemorySize>,
    /// JSON of which rows to look at.
    #[serde(default)]
    pub(super) sample: Option<String>,
    /// Paths without whose value a row is left out, separated by commas.
    #[serde(default)]
    pub(super) required: Option<String>,
    /// The tenant's sink to write the answer to, instead of handing it out.
    #[serde(default)]
    pub(super) sink: Option<String>,
}

/// What becomes of a bulk answer.
enum Bulk {
    /// An Arrow stream, for whoever asked.
    Stream(Vec<u8>),
    /// It went to a sink.
    Written(Written),
}

impl SpineQuery {
    pub(super) fn into_request(self) -> Result<TrainingSetRequest, Problem> {
        Ok(TrainingSetRequest {
            features: paths("features", &self.features)?,
            as_of: self.as_of,
            known_as_of: self.known_as_of.map(|text| match text.as_str() {
                "latest" => KnownAsOfColumn::Latest,
                _ => KnownAsOfColumn::Column(text),
            }),
            inputs: json_parameter::<BTreeMap<FeaturePath, String>>("inputs", self.inputs)?,
            states: self.states,
            max_age: json_parameter::<BTreeMap<FeaturePath, Span>>("max_age", self.max_age)?,
            sample: self
                .sample
                .map(|text| json_parameter::<Option<Sample>>("sample", Some(text)))
                .transpose()?
                .flatten(),
            required: self.required.map(|text| paths("required", &text)).transpose()?.unwrap_or_default(),
        })
    }
}

/// Paths of features, separated by commas.
fn paths(name: &str, text: &str) -> Result<Vec<FeaturePath>, Problem> {
    let paths = text.split(',').map(|text| FeaturePath::parse(text.trim())).collect::<Result<Vec<_>, _>>();
    paths.map_err(|error| Problem::new("request/query-string", format!("in `{name}`: {error}")))
}

/// A parameter of the query string that holds JSON; left out it is empty.
pub(super) fn json_parameter<T: DeserializeOwned + Default>(name: &str, text: Option<String>) -> Result<T, Problem> {
    let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
    let problem =
        |error: serde_json::Error| json_problem("request/query-string", &format!("the parameter `{name}`"), &error);
    parsed.map(Option::unwrap_or_default).map_err(problem)
}

/// Answers many rows from the online store: an Arrow stream with the spine's columns and the features.
pub(super) async fn query_arrow(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let rows_alone = |_: &TrainingSetRequest, rows: u64, _: &str| {
        Details::none().count("rows", rows).map_err(|e| from_audit(&e)) // Reads are counted together, whatever their plan.
    };
    beside_spine(guarded, input, rows_alone, |admitted, asked, take| {
        let batches = admitted.engine()?.query_batch(&asked.request, &asked.spine, &admitted.permit)?;
        admitted.app.metrics.rows_asked(admitted.scope()?, batches.iter().map(|batch| batch.num_rows() as u64).sum());
        Ok(batches.into_iter().try_for_each(take)?)
    })
    .await
}

/// Builds a training set: as above, out of the facts themselves, point-in-time correct.
pub(super) async fn training_set(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    beside_spine(guarded, input, how, |admitted, asked, take| {
        let set = admitted.app.disclosures.training_memory;
        let memory = [set, asked.memory].into_iter().flatten().min();
        let options = TrainingOptions { memory_bytes: memory.map(MemorySize::bytes), progress: None };
        let AskedBeside { request, spine, .. } = asked;
        Ok(admitted.engine()?.training_set_in_parts(&request, spine, &admitted.permit, &options, take)?)
    })
    .await
}

pub(super) type Batches = Vec<RecordBatch>;

/// A question about the rows of a spine.
struct AskedBeside {
    request: TrainingSetRequest,
    spine: Batches,
    memory: Option<MemorySize>,
}

/// Where batches of an answer go.
type Take<'a> = &'a mut dyn FnMut(RecordBatch) -> Result<(), Problem>;

/// The query string of an audit: that of a training set, and what is to be learned.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
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
    /// JSON object of a column of the spine to the feature that it holds values of, or to null.
    labels: String,
}

/// Labels of an audit at most. Each takes two more training sets, and could be a guess of what somebody may not count.
const LABELS_MAX: usize = 8;

/// Refuses what answers guesses about values, row by row, to people outside of development: their spine is the guess, and what
/// comes back says whether it was right. Programs of the tenant get the values anyway. The log keeps the refusal (CH-14).
pub(super) fn no_guesses(admitted: &Admitted<'_>) -> Result<(), Problem> {
    if !ends_on_a_machine(admitted.permit.principal(), admitted.control.class()) {
        return Ok(());
    }
    let problem = Problem::new("dataset/class", "people do not do this outside of environments of class development")
        .with_help("programs of the tenant make and compare datasets, and audit them for leaks: ask one of yours");
    Err(kept_back(admitted, problem))
}

/// Looks for what a model could learn of a training set and not know later. Tells counts, never a value.
pub(super) async fn audit_leakage(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let AuditQuery { features, as_of, known_as_of, inputs, max_age, sample, labels } = input.query()?;
    let (states, required, memory, sink) = (false, None, None, None);
    let question = SpineQuery { features, as_of, known_as_of, inputs, states, max_age, sample, required, memory, sink };
    let request = question.into_request()?;
    let labels: BTreeMap<String, Option<FeaturePath>> = json_parameter("labels", Some(labels))?;
    if labels.len() > LABELS_MAX {
        let problem = Problem::new("too-large/labels", format!("an audit looks at {LABELS_MAX} labels at most"));
        return Err(problem.with_help("ask for some of them, and for the others in another audit").into());
    }
    let labels: Vec<LabelColumn> =
        labels.into_iter().map(|(column, feature)| LabelColumn { column, feature }).collect();
    let (schema, mut spine) = decode_blocking(input).await?;
    if spine.is_empty() {
        spine.push(arrow::array::RecordBatch::new_empty(schema));
    }
    let rows = spine.iter().map(|batch| batch.num_rows() as u64).sum();
    let details = Details::none().count("rows", rows).map_err(|e| from_audit(&e))?;
    let (asked, asked_labels, asked_spine) = (request.clone(), labels.clone(), spine.clone());
    let report = guarded
        .act_on_features(
            details,
            move |engine| engine.features_of_audit(&asked, &asked_labels, &asked_spine),
            move |admitted| {
                no_guesses(admitted)?;
                Ok(admitted.engine()?.audit_leakage(&request, &labels, &spine, &admitted.permit)?)
            },
        )
        .await?;
    answer(&report)
}

async fn beside_spine(
    guarded: Guarded,
    input: Input,
    details: fn(&TrainingSetRequest, u64, &str) -> Result<Details, Problem>,
    ask: fn(&Admitted<'_>, AskedBeside, Take<'_>) -> Result<(), Refusal>,
) -> Result<Response, Refusal> {
    let mut question = input.query::<SpineQuery>()?;
    let (sink, memory) = (question.sink.take(), question.memory.take());
    let request = question.into_request()?;
    let (schema, mut spine) = decode_blocking(input).await?;
    if spine.is_empty() {
        spine.push(RecordBatch::new_empty(schema));
    }
    let rows: u64 = spine.iter().map(|batch| batch.num_rows() as u64).sum();
    let (asked, asked_spine) = (request.clone(), spine.clone());
    let answered = guarded
        .act_on_prepared(
            move |engine| {
                let (features, plan) = engine.plan_of_training_set(&asked, &asked_spine)?;
                Ok((features, details(&asked, rows, &plan)?, ()))
            },
            move |admitted, ()| {
                if sink.is_none() && ends_on_a_machine(admitted.permit.principal(), admitted.control.class()) {
                    return Err(kept_back(admitted, no_download()).into());
                }
                let asked = AskedBeside { request, spine, memory };
                let Some(sink) = sink else { return Ok(Bulk::Stream(stream(admitted, asked, ask)?)) };
                let mut file = admitted.app.disclosures.sinks.create(admitted.scope()?, &sink)?;
                ask(admitted, asked, &mut |batch| file.write(labelled(batch, admitted)?))?;
                let written = file.keep()?;
                let details = Details::none().name("sink", sink).map_err(|e| from_audit(&e))?;
                admitted.control.record(Event::of(&admitted.permit, "sink.written").with(details));
                Ok(Bulk::Written(written))
            },
        )
        .await?;
    match answered {
        Bulk::Stream(bytes) => Ok(typed(ARROW_STREAM, bytes)),
        Bulk::Written(written) => answer(&written),
    }
}

/// What the log keeps of a question about the rows of a spine: how many, by which plan, and what was known if that is not
/// what was known at each row's instant (rule S1).
fn how(request: &TrainingSetRequest, rows: u64, plan: &str) -> Result<Details, Problem> {
    let details = Details::none().count("rows", rows).and_then(|details| details.name("plan", plan));
    let details = details.and_then(|details| match request.known_until() {
        "as_of" => Ok(details),
        known => details.name("known-as-of", known),
    });
    details.map_err(|e| from_audit(&e))
}

/// The answer as one Arrow stream.
fn stream(
    admitted: &Admitted<'_>,
    asked: AskedBeside,
    ask: fn(&Admitted<'_>, AskedBeside, Take<'_>) -> Result<(), Refusal>,
) -> Result<Vec<u8>, Refusal> {
    let failed = |error: ArrowError| logged("an answer could not be encoded", &error);
    let mut writer: Option<StreamWriter<Vec<u8>>> = None;
    ask(admitted, asked, &mut |batch| {
        let batch = labelled(batch, admitted)?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(failed)?),
        };
        writer.write(&batch).map_err(failed)
    })?;
    Ok(writer.expect("an answer has at least one batch").into_inner().map_err(failed)?)
}

/// A table with where it is from.
pub(super) fn labelled(batch: RecordBatch, admitted: &Admitted<'_>) -> Result<RecordBatch, Problem> {
    let schema = labelled_schema(&batch.schema(), admitted);
    RecordBatch::try_new(schema, batch.columns().to_vec())
        .map_err(|error| logged("an answer could not be labelled", &error))
}

/// The schema with where the table is from and the log's entry with the permit it was built under (rule S30), so that it is
/// known as that wherever it goes. What the spine's own schema said of that is replaced; rows that were kept name the entry
/// that they were built under.
pub(super) fn labelled_schema(schema: &SchemaRef, admitted: &Admitted<'_>) -> SchemaRef {
    let label = Label { environment: admitted.control.environment().clone(), class: admitted.control.class() };
    let mut metadata = schema.metadata().clone();
    metadata.extend(label.to_metadata());
    if !metadata.contains_key(LABEL_DATASET) {
        metadata.extend(admitted.permit.entry().map(|entry| (LABEL_ENTRY.to_owned(), entry.to_string())));
    }
    Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
}

/// Decodes an Arrow body on a thread that may take its time.
pub(super) async fn decode_blocking(input: Input) -> Result<(SchemaRef, Batches), Refusal> {
    let decoded = tokio::task::spawn_blocking(move || input.arrow()).await;
    Ok(decoded.map_err(|_| crate::problem::internal())??)
}
