//! From a user's table to facts: names, types, times, keys and bounds are checked before anything is stored.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{CastOptions, cast_with_options, concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use creta_model::{Arrival, Entity, EntityId, EventTime, Feature, FeatureId, Instant, Name, Problem, Role, Span, Type};
use creta_registry::Registry;
use creta_store::{FactBatch, layout};

use crate::coerce::{arrow_words, coerce};
use crate::request::{IngestReport, IngestRequest};
use crate::resolve::violations;

/// How far apart the clocks of a source and of Creta may be (rules S1, S18).
pub const CLOCK_SKEW: Span = Span::seconds(60);

/// What a load becomes: facts to store and serve, and facts from the future to store apart.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Facts to serve; `None` when no row is left.
    pub facts: Option<FactBatch>,
    /// Facts with `event_time > arrival_time + skew` (rule S18).
    pub quarantined: Option<FactBatch>,
    /// All but the position.
    pub report: IngestReport,
}

/// When a load comes in, and the number of its first row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    /// The scope's clock.
    pub now: Instant,
    /// `source_sequence` of the first row (rule S7); rows count up from it.
    pub sequence: u64,
    /// Facts may lie after `now` and are known from the moment they are true on.
    pub any_time: bool,
}

/// A load that was checked and whose columns are those of its facts; when it arrives is all that is missing.
#[derive(Debug)]
pub(crate) struct Checked {
    entity: EntityId,
    source: String,
    event_time: ArrayRef,
    arrival: Arrived,
    event_id: ArrayRef,
    retracted: ArrayRef,
    features: Vec<(Arc<Field>, ArrayRef)>,
    report: IngestReport,
}

/// What a load says of when its facts were known (rule S1).
#[derive(Debug)]
enum Arrived {
    /// A column of this name says so.
    Said(String, ArrayRef),
    /// So long after their events.
    Delayed(ArrayRef),
    /// Nothing: when the load arrives.
    Now,
}

/// Checks a load. Nothing is stored here, and a load is taken whole or not at all: the first bad column or row is the error.
/// Cost: a few passes over the load.
pub(crate) fn check(registry: &Registry, request: &IngestRequest, batches: &[RecordBatch]) -> Result<Checked, Problem> {
    let entity =
        registry.graph().find_entity(&request.entity).ok_or_else(|| unknown_entity(registry, &request.entity))?;
    let entity_id = registry.entity_id(&request.entity).expect("every entity of the graph has a number");
    let table = one_batch(batches)?;
    let mut load = Load { entity, request, table: &table, report: IngestReport::default() };
    load.report.rows = table.num_rows() as u64;

    let event_time = load.event_time()?;
    let arrival = load.arrival(&event_time)?;
    let retracted = load.retracted()?;
    let event_id = load.event_id()?;
    if let Some(row) = (0..table.num_rows()).find(|row| retracted.value(*row) && event_id.is_null(*row)) {
        return Err(Problem::new(
            "ingest/retraction-without-event",
            format!("row {row} is a retraction and does not say which event it takes back"),
        )
        .with_help("name the column of event ids with `event_id=`"));
    }
    let features = load.features(registry, &event_time, &retracted)?;
    let features = features.into_iter().map(|(feature, id, array)| {
        (Arc::new(Field::new(layout::feature_column(id), feature.ty.to_arrow(), true)), array)
    });
    let features = features.collect();
    load.note_ignored_columns();
    Ok(Checked {
        entity: entity_id,
        source: request.source.clone().unwrap_or_else(|| "api".to_owned()),
        event_time,
        arrival,
        event_id: Arc::new(event_id),
        retracted: Arc::new(retracted),
        features,
        report: load.report,
    })
}

impl Checked {
    /// Rows of the load.
    pub(crate) fn rows(&self) -> u64 {
        self.report.rows
    }

    /// The facts of the load as it arrives. What its times make impossible then is an error.
    pub(crate) fn stamp(&self, stamp: Stamp) -> Result<Prepared, Problem> {
        let arrival = self.arrival(stamp.now)?;
        let rows = self.event_time.len();
        let mut fields: Vec<Arc<Field>> = layout::META_FIELDS.to_vec();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::clone(&self.event_time),
            Arc::clone(&arrival),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.source, rows))),
            Arc::new(UInt64Array::from_iter_values((0..rows as u64).map(|row| stamp.sequence + row))),
            Arc::clone(&self.event_id),
            Arc::clone(&self.retracted),
        ];
        for (field, array) in &self.features {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(array));
        }
        let facts = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns follow their fields");

        let learned = if stamp.any_time { Arc::clone(&arrival) } else { not_after(&arrival, stamp.now) };
        let future = future_rows(&self.event_time, &learned);
        let (kept, quarantined) = split(&facts, &future);
        let mut report = self.report.clone();
        report.accepted = kept.num_rows() as u64;
        report.quarantined = quarantined.num_rows() as u64;
        if report.floored > 0 {
            report.warnings.push(format!("{} times were finer than a microsecond and were floored", report.floored));
        }
        if !stamp.any_time
            && let Some(warning) = not_known_yet(&kept, stamp.now)
        {
            report.warnings.push(warning);
        }
        if report.quarantined > 0 {
            let facts = match report.quarantined {
                1 => "1 fact lies".to_owned(),
                many => format!("{many} facts lie"),
            };
            report.warnings.push(format!(
                "{facts} more than {CLOCK_SKEW} after the arrival time, or after now, and will never be served: look at the \
                 source's clock and time zone, then load what is right"
            ));
        }
        let batch = |rows: RecordBatch| {
            (rows.num_rows() > 0)
                .then(|| {
                    FactBatch::new(self.entity, rows).map_err(|error| Problem::new("internal/facts", error.to_string()))
                })
                .transpose()
        };
        Ok(Prepared { facts: batch(kept)?, quarantined: batch(quarantined)?, report })
    }

    /// Rule S1: history must say when it was known.
    fn arrival(&self, now: Instant) -> Result<ArrayRef, Problem> {
        match &self.arrival {
            Arrived::Said(name, array) => {
                let limit = now.plus(CLOCK_SKEW).micros();
                match array.as_primitive::<TimestampMicrosecondType>().values().iter().position(|at| *at > limit) {
                    // The source's clock is fast: what is here now is known now (rule S29).
                    None => Ok(not_after(array, now)),
                    Some(row) => Err(Problem::new(
                        "ingest/arrival-in-the-future",
                        format!("column `{name}` says that row {row} will arrive after now"),
                    )
                    .with_help("an arrival time is when the fact was learned; check the column and its time zone")),
                }
            }
            Arrived::Delayed(array) => Ok(Arc::clone(array)),
            Arrived::Now => {
                let limit = now.minus(CLOCK_SKEW).micros();
                let times = self.event_time.as_primitive::<TimestampMicrosecondType>();
                if let Some(row) = times.values().iter().position(|at| *at < limit) {
                    return Err(Problem::new(
                        "ingest/history-without-arrival",
                        format!("row {row} happened in the past, and the load does not say when it became known"),
                    )
                    .with_help(
                        "give the column that says so (`arrival=\"received_at\"`), or how long after the event it was known \
                         (`arrival=hours(6)`); otherwise training sets would be empty or see the future",
                    ));
                }
                Ok(repeat(now, self.event_time.len()))
            }
        }
    }
}

struct Load<'a> {
    entity: &'a Entity,
    request: &'a IngestRequest,
    table: &'a RecordBatch,
    report: IngestReport,
}

impl Load<'_> {
    fn column(&self, name: &str, what: &str) -> Result<&ArrayRef, Problem> {
        self.table.column_by_name(name).ok_or_else(|| {
            let names: Vec<_> = self.table.schema_ref().fields().iter().map(|f| format!("`{}`", f.name())).collect();
            Problem::new("ingest/no-column", format!("the load has no column `{name}` for {what}"))
                .with_note("columns", names.join(", "), None)
                .with_help("name the right column, or rename it in the data")
        })
    }

    /// The column that holds a feature: mapped, or of its name, or of its path.
    fn column_name(&self, feature: &Name) -> Option<String> {
        let mapped = self.request.columns.get(feature).cloned();
        let path = format!("{}.{feature}", self.entity.name);
        mapped.or_else(|| {
            [feature.as_str(), path.as_str()]
                .into_iter()
                .find(|name| self.table.column_by_name(name).is_some())
                .map(str::to_owned)
        })
    }

    fn instants(&mut self, name: &str, what: &str) -> Result<ArrayRef, Problem> {
        let column = Arc::clone(self.column(name, what)?);
        let coerced = coerce(&format!("column `{name}`"), &Type::Datetime, &column, self.request.zone.as_deref())?;
        self.report.floored += coerced.floored;
        if let Some(row) = first_null(&coerced.array) {
            return Err(Problem::new("ingest/no-time", format!("column `{name}` has no {what} in row {row}"))
                .with_help("every fact needs one; drop the row or fill it"));
        }
        Ok(coerced.array)
    }

    fn event_time(&mut self) -> Result<ArrayRef, Problem> {
        match &self.request.event_time {
            EventTime::Column(name) => self.instants(&name.clone(), "event time"),
            EventTime::Constant(at) => Ok(repeat(*at, self.table.num_rows())),
        }
    }

    fn arrival(&mut self, event_time: &ArrayRef) -> Result<Arrived, Problem> {
        Ok(match &self.request.arrival {
            Some(Arrival::Column(name)) => {
                let name = name.clone();
                let array = self.instants(&name, "arrival time")?;
                Arrived::Said(name, array)
            }
            Some(Arrival::Delay(delay)) => {
                let times = event_time.as_primitive::<TimestampMicrosecondType>();
                let later = times.unary::<_, TimestampMicrosecondType>(|at| {
                    at.saturating_add(delay.micros()).min(Instant::MAX.micros())
                });
                Arrived::Delayed(Arc::new(later.with_timezone("UTC")))
            }
            None => Arrived::Now,
        })
    }

    fn retracted(&self) -> Result<BooleanArray, Problem> {
        let Some(name) = &self.request.retract else {
            return Ok(BooleanArray::from(vec![false; self.table.num_rows()]));
        };
        let column = self.column(name, "retractions")?;
        let flags = coerce(&format!("column `{name}`"), &Type::Bool, column, None)?.array;
        Ok(flags.as_boolean().iter().map(|flag| Some(flag.unwrap_or(false))).collect())
    }

    /// The bytes that equal versions of one event share: the row encoding of the event id column.
    fn event_id(&self) -> Result<BinaryArray, Problem> {
        let declared = self.entity.features.iter().find(|f| f.event_id);
        let name = match (&self.request.event_id, declared) {
            (Some(name), _) => Some(name.clone()),
            (None, Some(feature)) => self.column_name(&feature.name),
            (None, None) => None,
        };
        let Some(name) = name else {
            return Ok(BinaryArray::from_iter(std::iter::repeat_n(None::<&[u8]>, self.table.num_rows())));
        };
        let mut column = Arc::clone(self.column(&name, "event ids")?);
        if let Some(feature) = declared.filter(|f| self.column_name(&f.name).as_ref() == Some(&name)) {
            let what = format!("`{}.{}`", self.entity.name, feature.name);
            column = coerce(&what, &feature.ty, &column, self.request.zone.as_deref())
                .map_err(|problem| problem.at(&feature.location))?
                .array;
        }
        encode_event_ids(&name, &column, self.request.zone.as_deref())
    }

    /// Stored features the load brings, in declaration order, with their checked columns.
    fn features<'r>(
        &mut self,
        registry: &'r Registry,
        event_time: &ArrayRef,
        retracted: &BooleanArray,
    ) -> Result<Vec<(&'r Feature, FeatureId, ArrayRef)>, Problem> {
        let entity = registry.graph().find_entity(&self.request.entity).expect("found by prepare");
        let mut out = Vec::new();
        for feature in &entity.features {
            let id = registry.feature_id(&entity.name, &feature.name).expect("every feature of the graph has a number");
            if feature.role == Role::EventTime {
                out.push((feature, id, Arc::clone(event_time)));
                continue;
            }
            let what = format!("`{}.{}`", entity.name, feature.name);
            let Some(name) = self.column_name(&feature.name) else {
                if feature.role == Role::Key {
                    self.column(feature.name.as_str(), &format!("the key {what}"))
                        .map_err(|problem| problem.at(&feature.location))?;
                }
                continue;
            };
            if !registry.is_stored(&entity.name, &feature.name) {
                return Err(Problem::new(
                    "ingest/computed-feature",
                    format!("{what} is computed and cannot be loaded"),
                )
                .at(&feature.location)
                .with_help(format!("leave the column `{name}` out, or load it under the name of a stored feature")));
            }
            let coerced = self
                .column(&name, &what)
                .and_then(|column| coerce(&what, &feature.ty, column, self.request.zone.as_deref()))
                .map_err(|problem| problem.at(&feature.location))?;
            self.report.floored += coerced.floored;
            self.check_nulls(feature, &what, &coerced.array, retracted)?;
            check_bounds(feature, &what, &coerced.array)?;
            out.push((feature, id, coerced.array));
        }
        Ok(out)
    }

    fn check_nulls(
        &self,
        feature: &Feature,
        what: &str,
        array: &ArrayRef,
        retracted: &BooleanArray,
    ) -> Result<(), Problem> {
        if feature.optional && feature.role != Role::Key {
            return Ok(());
        }
        // A retraction is an empty version: only its key and event id matter.
        let row =
            (0..array.len()).find(|row| array.is_null(*row) && (feature.role == Role::Key || !retracted.value(*row)));
        match row {
            None => Ok(()),
            Some(row) if feature.role == Role::Key => {
                Err(Problem::new("ingest/null-key", format!("the key {what} is null in row {row}"))
                    .at(&feature.location)
                    .with_help("a fact must be about something; drop the row or fill the key"))
            }
            Some(row) => Err(Problem::new(
                "ingest/unexpected-null",
                format!("{what} is null in row {row}, but its type is `{}`", feature.ty.python_name()),
            )
            .at(&feature.location)
            .with_help(format!("declare it `{} | None`, or drop the row", feature.ty.python_name()))),
        }
    }

    fn note_ignored_columns(&mut self) {
        let mut used: Vec<String> = self.entity.features.iter().filter_map(|f| self.column_name(&f.name)).collect();
        used.extend([&self.request.event_id, &self.request.retract].into_iter().flatten().cloned());
        if let EventTime::Column(name) = &self.request.event_time {
            used.push(name.clone());
        }
        if let Some(Arrival::Column(name)) = &self.request.arrival {
            used.push(name.clone());
        }
        let ignored =
            self.table.schema_ref().fields().iter().map(|f| f.name().clone()).filter(|name| !used.contains(name));
        self.report.ignored_columns = ignored.collect();
    }
}

/// Refuses a column of which a value breaks the feature's bounds; names the row and the rule, never the value.
fn check_bounds(feature: &Feature, what: &str, array: &ArrayRef) -> Result<(), Problem> {
    match violations(&feature.ty, feature.validation.as_ref(), array).into_iter().next() {
        None => Ok(()),
        Some((row, error)) => {
            Err(Problem::new("value/out-of-bounds", format!("{what} in row {row}: {}", error.message))
                .at(&feature.location)
                .with_help("nothing was stored; correct or drop the row, or widen the bound"))
        }
    }
}

fn unknown_entity(registry: &Registry, name: &Name) -> Problem {
    let known: Vec<_> = registry.graph().entities.iter().map(|e| format!("`{}`", e.name)).collect();
    Problem::new("not-found/entity", format!("no entity is called `{name}`"))
        .with_note("entities", known.join(", "), None)
        .with_help("check the spelling, or deploy the project that declares it")
}

fn one_batch(batches: &[RecordBatch]) -> Result<RecordBatch, Problem> {
    let Some(first) = batches.first() else {
        return Err(Problem::new("ingest/empty", "the load holds no table").with_help("send at least a schema"));
    };
    concat_batches(first.schema_ref(), batches).map_err(|_| {
        Problem::new("ingest/mixed-schemas", "the parts of the load have different columns")
            .with_help("give all parts the same columns and types, or send them as loads of their own")
    })
}

fn first_null(array: &ArrayRef) -> Option<usize> {
    (array.null_count() > 0).then(|| (0..array.len()).find(|row| array.is_null(*row))).flatten()
}

fn repeat(at: Instant, rows: usize) -> ArrayRef {
    Arc::new(arrow::array::TimestampMicrosecondArray::from_value(at.micros(), rows).with_timezone("UTC"))
}

/// The same instants, those after `limit` moved to it.
fn not_after(instants: &ArrayRef, limit: Instant) -> ArrayRef {
    let instants = instants.as_primitive::<TimestampMicrosecondType>();
    let moved = instants.unary::<_, TimestampMicrosecondType>(|at| at.min(limit.micros()));
    Arc::new(moved.with_timezone("UTC"))
}

/// Facts that are not to be known before an instant after now, because of the delay that the load declares.
fn not_known_yet(kept: &RecordBatch, now: Instant) -> Option<String> {
    let arrivals = kept.column_by_name(layout::ARRIVAL_TIME).expect("a column of the layout");
    let arrivals = arrivals.as_primitive::<TimestampMicrosecondType>().values();
    let ahead = arrivals.iter().filter(|at| **at > now.micros());
    let (count, last) = (ahead.clone().count(), *ahead.max()?);
    let last = Instant::from_micros(last).expect("arrivals are in range");
    let (facts, are) = if count == 1 { ("1 fact".to_owned(), "is") } else { (format!("{count} facts"), "are") };
    Some(format!("{facts} {are} stored and not served before the declared delay is over, the last at {last}"))
}

/// Event ids of one kind have one form, whatever the width or unit they come in: otherwise the versions of an event would
/// not meet (rules S8, S20).
fn encode_event_ids(name: &str, column: &ArrayRef, zone: Option<&str>) -> Result<BinaryArray, Problem> {
    let unusable = || {
        let holds = arrow_words(column.data_type());
        Problem::new("ingest/bad-event-id", format!("column `{name}` holds `{holds}`, which cannot tell events apart"))
            .with_help("name a column of integers or texts with `event_id=`")
    };
    let ty = kind_of_ids(column.data_type()).ok_or_else(unusable)?;
    let whole = match column.data_type() {
        given if ty == Type::Int && given.is_decimal() => whole_numbers(column).ok_or_else(|| {
            Problem::new("value/out-of-range", format!("column `{name}` holds an event id beyond 64 bits"))
                .with_help("bring event ids that are as long as texts")
        })?,
        _ => Arc::clone(column),
    };
    let column = coerce(&format!("column `{name}`"), &ty, &whole, zone)?.array;
    let converter = RowConverter::new(vec![SortField::new(ty.to_arrow())]).expect("plain types have a row form");
    let rows = converter.convert_columns(std::slice::from_ref(&column)).expect("the column is of its type");
    Ok((0..column.len()).map(|row| column.is_valid(row).then(|| rows.row(row).data().to_vec())).collect())
}

/// Decimals without places as integers; `None` when one is beyond 64 bits.
fn whole_numbers(column: &ArrayRef) -> Option<ArrayRef> {
    cast_with_options(column, &DataType::Int64, &CastOptions { safe: false, ..CastOptions::default() }).ok()
}

/// The one type for all that tell events apart in the same way; `None` for what cannot.
fn kind_of_ids(given: &DataType) -> Option<Type> {
    match given {
        given if given.is_integer() => Some(Type::Int),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => match u8::try_from(*scale).ok()? {
            0 => Some(Type::Int),
            scale => Some(Type::Decimal { scale }),
        },
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Type::Str),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Some(Type::Bytes)
        }
        DataType::Timestamp(..) => Some(Type::Datetime),
        DataType::Date32 | DataType::Date64 => Some(Type::Date),
        DataType::Duration(_) => Some(Type::Timedelta),
        DataType::Boolean => Some(Type::Bool),
        DataType::Dictionary(_, values) => kind_of_ids(values),
        DataType::RunEndEncoded(_, values) => kind_of_ids(values.data_type()),
        _ => None,
    }
}

/// Rule S18: rows whose event time lies after their arrival time by more than the skew.
fn future_rows(event_time: &ArrayRef, arrival: &ArrayRef) -> BooleanArray {
    let event_time = event_time.as_primitive::<TimestampMicrosecondType>();
    let arrival = arrival.as_primitive::<TimestampMicrosecondType>();
    (0..event_time.len())
        .map(|row| Some(event_time.value(row) > arrival.value(row).saturating_add(CLOCK_SKEW.micros())))
        .collect()
}

fn split(facts: &RecordBatch, future: &BooleanArray) -> (RecordBatch, RecordBatch) {
    if future.true_count() == 0 {
        return (facts.clone(), facts.slice(0, 0));
    }
    let now = arrow::compute::not(future).expect("booleans negate");
    let filter = |mask| filter_record_batch(facts, mask).expect("the mask has one flag per row");
    (filter(&now), filter(future))
}
