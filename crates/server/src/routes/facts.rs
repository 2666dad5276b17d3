//! Facts: tables as Arrow, single ones as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, NullArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use axum::http::HeaderValue;
use axum::response::Response;
use bytes::Bytes;
use creta_audit::{Details, Event};
use creta_engine::{IngestRequest, Loaded, OnceKey, ScopeEngine, build_array};
use creta_model::{Arrival, Entity, EventTime, Instant, Name, Problem, Span, Type, Value};
use creta_proof::Hash;
use serde::Deserialize;

use crate::context::{Admitted, Guarded, Input};
use crate::limits::JSON_ROWS_MAX;
use crate::problem::{Refusal, from_audit};
use crate::routes::json as answer;
use crate::routes::queries::{decode_blocking, json_parameter};

/// The query string of a load; the body is the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadQuery {
    entity: Name,
    /// Column of event times. Either this or the next.
    #[serde(default)]
    event_time: Option<String>,
    /// The same event time for all rows.
    #[serde(default)]
    event_time_constant: Option<Instant>,
    /// Column of arrival times. At most one of this and the next.
    #[serde(default)]
    arrival_column: Option<String>,
    /// Arrival is this long after the event.
    #[serde(default)]
    arrival_delay: Option<Span>,
    #[serde(default)]
    event_id: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    retract: Option<String>,
    /// JSON object of feature to column.
    #[serde(default)]
    columns: Option<String>,
}

impl LoadQuery {
    fn into_request(self) -> Result<IngestRequest, Problem> {
        let one_of = |names: &str| Problem::new("request/query-string", format!("give {names}"));
        Ok(IngestRequest {
            entity: self.entity,
            event_time: match (self.event_time, self.event_time_constant) {
                (Some(column), None) => EventTime::Column(column),
                (None, Some(at)) => EventTime::Constant(at),
                _ => return Err(one_of("either `event_time` or `event_time_constant`")),
            },
            arrival: match (self.arrival_column, self.arrival_delay) {
                (Some(column), None) => Some(Arrival::Column(column)),
                (None, Some(delay)) => Some(Arrival::Delay(delay)),
                (None, None) => None,
                _ => return Err(one_of("at most one of `arrival_column` and `arrival_delay`")),
            },
            event_id: self.event_id,
            source: self.source,
            columns: json_parameter::<BTreeMap<Name, String>>("columns", self.columns)?,
            zone: self.zone,
            retract: self.retract,
        })
    }
}

/// Stores a table of facts. Durable and visible online when it answers.
pub(super) async fn ingest(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let request = input.query::<LoadQuery>()?.into_request()?;
    let sent_as = SentAs::of(&input)?;
    let (schema, mut batches) = decode_blocking(input).await?;
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    let loaded =
        guarded.act(details(&request, rows)?, move |admitted| store(admitted, &request, &batches, sent_as)).await?;
    told(&loaded)
}

/// Says beside the report whether it is that of a load that was taken before.
fn told(loaded: &Loaded) -> Result<Response, Refusal> {
    let mut response = answer(&loaded.report)?;
    if loaded.repeated {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The name that a load is given, so that it is taken once, and all that the load is.
struct SentAs {
    key: String,
    query: String,
    content_type: String,
    body: Bytes,
}

impl SentAs {
    /// The name is a string as structured fields write it (RFC 8941 section 3.3.3), as the draft on the header asks for, or the
    /// same without its quotation marks, as most clients send it.
    fn of(input: &Input) -> Result<Option<Self>, Problem> {
        let mut values = input.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(None) };
        let key = value.to_str().ok().filter(|_| values.next().is_none()).and_then(|text| {
            let text = text.trim();
            let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
            let fits = (1..=KEY_BYTES_MAX).contains(&bare.len());
            let plain = bare.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
            (fits && plain).then(|| bare.to_owned())
        });
        let key = key.ok_or_else(|| {
            Problem::new("request/idempotency-key", "the header `idempotency-key` is no key")
                .with_help(format!("send it once, with 1 to {KEY_BYTES_MAX} visible characters, such as a random UUID"))
        })?;
        let (query, content_type, body) = (input.query.clone(), input.content_type.clone(), input.body.clone());
        Ok(Some(Self { key, query, content_type, body }))
    }

    /// Reads the body once more, for its digest.
    fn into_key(self) -> OnceKey {
        let digest = Hash::of(&[self.content_type.as_bytes(), &[0], self.query.as_bytes(), &[0], &self.body]);
        OnceKey { key: self.key, content: *digest.as_bytes() }
    }
}

/// Longest idempotency key.
const KEY_BYTES_MAX: usize = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsBody {
    load: IngestRequest,
    rows: Vec<BTreeMap<String, serde_json::Value>>,
}

/// Stores single facts given as JSON objects of column to value.
pub(super) async fn single(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let sent_as = SentAs::of(&input)?;
    let FactsBody { load, rows } = input.json()?;
    if rows.len() > JSON_ROWS_MAX {
        let problem = Problem::new("too-large/rows", format!("facts in JSON are at most {JSON_ROWS_MAX} rows"));
        return Err(problem.with_help("send larger tables as Arrow to `/v1/ingest`").into());
    }
    let loaded = guarded
        .act(details(&load, rows.len() as u64)?, move |admitted| {
            let table = to_table(&*admitted.engine()?, &load, &rows)?;
            store(admitted, &load, &[table], sent_as)
        })
        .await?;
    told(&loaded)
}

fn details(request: &IngestRequest, rows: u64) -> Result<Details, Problem> {
    let details =
        Details::none().name("entity", request.entity.as_str()).and_then(|details| details.count("rows", rows));
    details.map_err(|e| from_audit(&e))
}

fn store(
    admitted: &Admitted<'_>,
    request: &IngestRequest,
    batches: &[RecordBatch],
    sent_as: Option<SentAs>,
) -> Result<Loaded, Refusal> {
    let once = sent_as.map(SentAs::into_key);
    let loaded = admitted.engine()?.ingest_once(request, batches, &admitted.permit, once.as_ref())?;
    let report = &loaded.report;
    if loaded.repeated {
        let which = Details::none().count("position", report.position).map_err(|e| from_audit(&e))?;
        admitted.control.record(Event::of(&admitted.permit, "ingest.repeated").with(which));
        return Ok(loaded);
    }
    let counts = Details::none()
        .count("accepted", report.accepted)
        .and_then(|details| details.count("quarantined", report.quarantined))
        .and_then(|details| details.count("position", report.position));
    let counts = counts.map_err(|e| from_audit(&e))?;
    admitted.control.record(Event::of(&admitted.permit, "ingest.done").with(counts));
    admitted.app.metrics.rows_ingested(admitted.scope()?, report.accepted);
    Ok(loaded)
}

/// Rows as one table, each column in the type of its feature. JSON has fewer types than features have, so the definitions
/// say what a text or a number is.
fn to_table(
    engine: &ScopeEngine,
    load: &IngestRequest,
    rows: &[BTreeMap<String, serde_json::Value>],
) -> Result<RecordBatch, Problem> {
    let registry = engine.registry().ok_or_else(|| {
        Problem::new("not-found/deployment", "nothing is deployed in this scope").with_help("deploy a project first")
    })?;
    let Some(entity) = registry.graph().find_entity(&load.entity) else {
        return Err(Problem::new("not-found/entity", format!("there is no entity `{}`", load.entity)));
    };
    let names: BTreeSet<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for name in names {
        let column = to_column(entity, load, name, rows)?;
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let table = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
    Ok(table.expect("columns have one value for each row"))
}

fn to_column(
    entity: &Entity,
    load: &IngestRequest,
    name: &str,
    rows: &[BTreeMap<String, serde_json::Value>],
) -> Result<ArrayRef, Problem> {
    let ints = || rows.iter().filter_map(|row| row.get(name)).all(|json| json.is_null() || json.is_i64());
    let Some(ty) = type_of(entity, load, name, ints) else {
        return Ok(Arc::new(NullArray::new(rows.len()))); // No feature: the load reports it as ignored.
    };
    let null = serde_json::Value::Null;
    let mut values = Vec::with_capacity(rows.len());
    for (row, given) in rows.iter().enumerate() {
        let value = Value::from_json(&ty, given.get(name).unwrap_or(&null)).map_err(|_| {
            Problem::new(
                "ingest/wrong-type",
                format!("the column `{name}` is {}, row {row} brings something else", ty.python_name()),
            )
            .with_help("instants are text like `2013-07-01T12:00:00Z`, dates like `2013-07-01`, decimals are text")
        })?;
        values.push(value);
    }
    build_array(&ty, &values)
        .map_err(|_| Problem::new("ingest/wrong-type", format!("the column `{name}` is {}", ty.python_name())))
}

/// What a column holds: what its feature does, or what the load takes it for. Event ids are what tables bring them as:
/// integers or texts, which are different events.
fn type_of(entity: &Entity, load: &IngestRequest, column: &str, ints: impl FnOnce() -> bool) -> Option<Type> {
    let renamed = load.columns.iter().find(|(_, given)| given.as_str() == column).map(|(feature, _)| feature);
    let same_name = Name::parse(column).ok().filter(|name| !load.columns.contains_key(name));
    let feature = renamed.or(same_name.as_ref()).and_then(|name| entity.find_feature(name));
    let is = |given: Option<&str>| given == Some(column);
    let arrival = match &load.arrival {
        Some(Arrival::Column(arrival)) => Some(arrival.as_str()),
        _ => None,
    };
    match (feature, &load.event_time) {
        (Some(feature), _) => Some(feature.ty.clone()),
        (None, EventTime::Column(event_time)) if event_time == column => Some(Type::Datetime),
        _ if is(arrival) => Some(Type::Datetime),
        _ if is(load.event_id.as_deref()) => Some(if ints() { Type::Int } else { Type::Str }),
        _ if is(load.retract.as_deref()) => Some(Type::Bool),
        _ => None,
    }
}
