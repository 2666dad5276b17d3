//! Queries that need stored facts alone: answered from the bytes of the online index to the bytes of the answer.
//!
//! A second way to what running the plan over columns gives, for the question that is asked most. It answers the same, byte
//! for byte (property test below), or says that it does not answer.

use creta_model::{CellState, Instant, Type, Value};
use creta_planner::{Plan, Step};
use creta_store::StoreError;
use serde::Serialize;

use crate::answers::{ValueRows, source_text};
use crate::error::EngineError;
use crate::fact_index::{FactIndex, IndexSpec, Newest, NotABlock, Plain, Wanted, damaged, is_plain};
use crate::key_set::{Encoded, encode_value};

/// A plan that looks facts up by given keys and does nothing else.
pub(crate) struct StoredPlan {
    lookups: Vec<StoredLookup>,
    outputs: Vec<StoredOutput>,
    /// The end of every answer.
    end: Vec<u8>,
}

struct StoredLookup {
    spec: IndexSpec,
    /// Which given columns make the key.
    key: Vec<usize>,
    key_types: Vec<Type>,
    wanted: Wanted,
}

struct StoredOutput {
    ty: Type,
    from: From,
    /// The column's text up to its values.
    begin: Vec<u8>,
    /// The column's text from its source on.
    end: Vec<u8>,
}

enum From {
    Given(usize),
    Fact {
        lookup: usize,
        column: usize,
        max_age_us: Option<i64>,
        /// Text of the default and the state of a cell that shows it.
        default: Option<(Vec<u8>, CellState)>,
    },
}

/// What was found for one lookup: the roots of each row, and for each row one [`Newest`] per column.
struct Found {
    roots: Vec<Option<Vec<u8>>>,
    newest: Vec<Newest>,
}

fn text(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it has a JSON form")
}

fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("memory takes what is written");
}

impl StoredPlan {
    /// `None` for a plan that does more, or reads what is not read in place.
    pub(crate) fn of(plan: &Plan) -> Option<Self> {
        let given_at = |slot| plan.given.iter().position(|given| *given == slot);
        let mut lookups = Vec::with_capacity(plan.steps.len());
        let mut sources: Vec<Option<From>> = plan.slots.iter().map(|_| None).collect();
        for (position, slot) in plan.given.iter().enumerate() {
            sources[slot.0] = Some(From::Given(position));
        }
        for step in &plan.steps {
            let Step::Lookup { entity, key, key_slots, columns, .. } = step else { return None };
            for (column, asked) in columns.iter().enumerate() {
                if !is_plain(&asked.column.ty) {
                    return None;
                }
                let default = match &asked.default {
                    None => None,
                    Some(default) => {
                        let value = Value::from_json(&asked.column.ty, default).ok()?;
                        let state = if value == Value::Null { CellState::Null } else { CellState::Value };
                        Some((text(&value.to_json(&asked.column.ty)), state))
                    }
                };
                let max_age_us = asked.max_age.map(creta_model::Span::micros);
                sources[asked.slot.0] = Some(From::Fact { lookup: lookups.len(), column, max_age_us, default });
            }
            lookups.push(StoredLookup {
                spec: IndexSpec { entity: *entity, features: key.iter().map(|part| part.feature).collect() },
                key: key_slots.iter().map(|slot| given_at(*slot)).collect::<Option<_>>()?,
                key_types: key.iter().map(|part| part.ty.clone()).collect(),
                wanted: Wanted::new(columns.iter().map(|asked| asked.column.feature).collect()),
            });
        }
        let mut outputs = Vec::with_capacity(plan.outputs.len());
        for id in &plan.outputs {
            let slot = &plan.slots[id.0];
            // A slot that is asked for twice is read twice.
            let from = match sources[id.0].as_ref()? {
                From::Given(position) => From::Given(*position),
                From::Fact { lookup, column, max_age_us, default } => {
                    From::Fact { lookup: *lookup, column: *column, max_age_us: *max_age_us, default: default.clone() }
                }
            };
            let mut begin = b"{\"feature\":".to_vec();
            write(&slot.path, &mut begin);
            begin.extend(b",\"type\":");
            write(&slot.ty.python_name(), &mut begin);
            begin.extend(b",\"values\":[");
            let mut end = b",\"source\":".to_vec();
            write(&source_text(&slot.origin), &mut end);
            end.push(b'}');
            outputs.push(StoredOutput { ty: slot.ty.clone(), from, begin, end });
        }
        let mut end = b"],\"plan\":".to_vec();
        write(&plan.fingerprint, &mut end);
        end.push(b'}');
        Some(Self { lookups, outputs, end })
    }

    /// The answer in its JSON form; `None` when it has to be found over columns. `rows` are those of the plan.
    pub(crate) fn answer(&self, index: &FactIndex, rows: &ValueRows) -> Result<Option<Vec<u8>>, EngineError> {
        let failed = |error: StoreError| EngineError::Reader { source: Box::new(error) };
        let mut found = Vec::with_capacity(self.lookups.len());
        for lookup in &self.lookups {
            match lookup.find(index, rows).map_err(failed)? {
                Some(of_lookup) => found.push(of_lookup),
                None => return Ok(None),
            }
        }
        let count = rows.as_of.len();
        let bytes = self.outputs.iter().map(|output| output.begin.len() + output.end.len() + 40 * count).sum::<usize>();
        let mut out = Vec::with_capacity(bytes + 64 * count + 256);
        out.extend(b"{\"rows\":");
        write(&count, &mut out);
        out.extend(b",\"as_of\":[");
        write_instants(&rows.as_of, &mut out);
        out.extend(b"],\"columns\":[");
        for (number, output) in self.outputs.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            output.write(rows, &found, &mut out).map_err(|broken| failed(damaged(broken)))?;
        }
        out.extend(&self.end);
        Ok(Some(out))
    }
}

impl StoredLookup {
    fn find(&self, index: &FactIndex, rows: &ValueRows) -> Result<Option<Found>, StoreError> {
        let count = rows.as_of.len();
        let mut keys = Vec::with_capacity(count);
        for row in 0..count {
            let mut key = Vec::with_capacity(32);
            for (given, ty) in self.key.iter().zip(&self.key_types) {
                match encode_value(ty, &rows.given[*given][row], &mut key) {
                    Ok(Encoded::Complete) => {}
                    Ok(Encoded::Null | Encoded::Nan) | Err(_) => return Ok(None),
                }
            }
            keys.push(key);
        }
        let Some(roots) = index.roots(&self.spec, &keys)? else { return Ok(None) };
        let (reader, columns) = (index.newest(&self.wanted), self.wanted.len());
        let mut newest = vec![Newest::default(); count * columns];
        for (row, root) in roots.iter().enumerate() {
            let Some(root) = root else { continue };
            let at = (rows.as_of[row].micros(), rows.known_as_of[row].micros());
            if !reader.find(root, at, &mut newest[row * columns..(row + 1) * columns]).map_err(damaged)? {
                return Ok(None);
            }
        }
        Ok(Some(Found { roots, newest }))
    }
}

impl StoredOutput {
    fn write(&self, rows: &ValueRows, found: &[Found], out: &mut Vec<u8>) -> Result<(), NotABlock> {
        out.extend(&self.begin);
        match &self.from {
            From::Given(given) => self.write_given(&rows.given[*given], out),
            From::Fact { lookup, column, max_age_us, default } => {
                let (found, columns) = (&found[*lookup], found[*lookup].columns(rows.as_of.len()));
                let default = default.as_ref().map(|(text, state)| (text.as_slice(), *state));
                self.write_facts(
                    rows,
                    |row| (found.root(row), &found.newest[row * columns + column]),
                    (*max_age_us, default),
                    out,
                )?;
            }
        }
        out.extend(&self.end);
        Ok(())
    }

    fn write_given(&self, values: &[Value], out: &mut Vec<u8>) {
        for (row, value) in values.iter().enumerate() {
            if row > 0 {
                out.push(b',');
            }
            write(&value.to_json(&self.ty), out);
        }
        out.push(b']');
        let nulls = values.iter().enumerate().filter(|(_, value)| **value == Value::Null);
        write_states(nulls.map(|(row, _)| (row, CellState::Null)), out);
    }

    fn write_facts<'a>(
        &self,
        rows: &ValueRows,
        cell: impl Fn(usize) -> (&'a [u8], &'a Newest),
        (max_age_us, default): (Option<i64>, Option<(&[u8], CellState)>),
        out: &mut Vec<u8>,
    ) -> Result<(), NotABlock> {
        let mut states: Vec<(usize, CellState)> = Vec::new();
        let mut without_age: Vec<usize> = Vec::new();
        let as_of = rows.as_of.as_slice();
        for (row, at) in as_of.iter().enumerate() {
            if row > 0 {
                out.push(b',');
            }
            let (root, newest) = cell(row);
            let absent = match newest.event_time {
                None => Some(CellState::Missing),
                Some(event_time) if max_age_us.is_some_and(|max| at.micros() - event_time > max) => {
                    Some(CellState::Expired)
                }
                Some(_) => None,
            };
            let state = match (absent, default) {
                (None, _) => write_plain(newest.value(root, &self.ty)?, &self.ty, out)?,
                (Some(_), Some((text, state))) => {
                    out.extend(text);
                    without_age.push(row); // No fact stands behind a default.
                    state
                }
                (Some(absent), None) => {
                    out.extend(b"null");
                    absent
                }
            };
            if state != CellState::Value {
                states.push((row, state));
            }
        }
        out.push(b']');
        write_states(states.into_iter(), out);
        out.extend(b",\"ages_us\":[");
        let mut without_age = without_age.into_iter().peekable();
        for (row, as_of) in as_of.iter().enumerate() {
            if row > 0 {
                out.push(b',');
            }
            let shown = without_age.next_if_eq(&row).is_none();
            match cell(row).1.event_time.filter(|_| shown) {
                Some(event_time) => write(&(as_of.micros() - event_time), out),
                None => out.extend(b"null"),
            }
        }
        out.push(b']');
        Ok(())
    }
}

impl Found {
    fn columns(&self, rows: usize) -> usize {
        self.newest.len().checked_div(rows).unwrap_or(0)
    }

    fn root(&self, row: usize) -> &[u8] {
        self.roots[row].as_deref().unwrap_or_default()
    }
}

/// The states of the cells that are not values, if there are any.
fn write_states(states: impl Iterator<Item = (usize, CellState)>, out: &mut Vec<u8>) {
    let mut any = false;
    for (row, state) in states {
        out.extend(if any { b"," as &[u8] } else { b",\"states\":{" });
        any = true;
        out.push(b'"');
        write(&row, out);
        out.extend(b"\":\"");
        out.extend(state.as_str().as_bytes());
        out.push(b'"');
    }
    if any {
        out.push(b'}');
    }
}

fn write_instants(instants: &[Instant], out: &mut Vec<u8>) {
    let mut last: Option<(Instant, std::ops::Range<usize>)> = None;
    for (row, instant) in instants.iter().enumerate() {
        if row > 0 {
            out.push(b',');
        }
        let start = out.len();
        match &last {
            // Mostly all are the same.
            Some((known, written)) if known == instant => out.extend_from_within(written.clone()),
            _ => write(instant, out),
        }
        last = Some((*instant, start..out.len()));
    }
}

/// Writes a value of type `ty`; gives its state.
fn write_plain(value: Plain<'_>, ty: &Type, out: &mut Vec<u8>) -> Result<CellState, NotABlock> {
    match (value, ty) {
        (Plain::Null, _) => {
            out.extend(b"null");
            return Ok(CellState::Null);
        }
        (Plain::Bool(value), _) => write(&value, out),
        (Plain::Float(value), _) if value.is_finite() => write(&value, out),
        (Plain::Float(value), _) => write(&Value::Float(value).to_json(ty), out),
        (Plain::Long(micros), Type::Datetime) => {
            let inside = micros.clamp(Instant::MIN.micros(), Instant::MAX.micros());
            write(&Instant::from_micros(inside).expect("clamped into the range"), out);
        }
        (Plain::Long(value), _) => write(&value, out),
        (Plain::Day(days), _) => write(&Value::Date(days).to_json(ty), out),
        (Plain::Decimal(digits), _) => write(&Value::Decimal(digits).to_json(ty), out),
        (Plain::Bytes(bytes), Type::Bytes) => write(&Value::Bytes(bytes.into_owned()).to_json(ty), out),
        (Plain::Bytes(bytes), _) => write(std::str::from_utf8(&bytes).map_err(|_| NotABlock)?, out),
    }
    Ok(CellState::Value)
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
