//! Answers as they go over the wire: the JSON of a [`QueryAnswer`](crate::QueryAnswer), written from cells.

use std::ops::Range;
use std::sync::Arc;

use creta_model::{CellError, CellState, Instant, Type, Value};
use creta_planner::{Plan, Slot};
use serde::Serialize;

use super::{Cells, Content, Source, broken};
use crate::answers::source_text;
use crate::error::EngineError;
use crate::fact_index::{NotABlock, Plain};

/// One column of an answer.
pub(super) struct Output {
    ty: Type,
    pub(super) source: Source,
    /// The column's text up to its values.
    begin: Vec<u8>,
    /// The column's text from its source on, but for errors.
    end: Vec<u8>,
}

impl Output {
    pub(super) fn new(slot: &Slot, source: Source) -> Self {
        let mut begin = b"{\"feature\":".to_vec();
        write(&slot.path, &mut begin);
        begin.extend(b",\"type\":");
        write(&slot.ty.python_name(), &mut begin);
        begin.extend(b",\"values\":[");
        let mut end = b",\"source\":".to_vec();
        write(&source_text(&slot.origin), &mut end);
        Self { ty: slot.ty.clone(), source, begin, end }
    }

    fn write(&self, cells: &Cells<'_>, aside: &mut Aside, out: &mut Vec<u8>) -> Result<(), NotABlock> {
        let has_ages = matches!(self.source, Source::Fact(_));
        aside.clear();
        out.extend(&self.begin);
        for (row, as_of) in cells.as_of().iter().enumerate() {
            if row > 0 {
                out.push(b',');
            }
            let cell = cells.cell(self.source, row)?;
            match &cell.content {
                Content::Plain(plain) => write_plain(plain, &self.ty, out)?,
                Content::Value(value) => write_value(value, &self.ty, out),
                Content::Absent(_) => out.extend(b"null"),
                Content::Failed(error) => {
                    out.extend(b"null");
                    aside.errors.push((row, Arc::clone(error)));
                }
            }
            let state = cell.state();
            if state != CellState::Value {
                aside.states.push((row, state));
            }
            if has_ages {
                aside.ages.push(cell.event_time.map(|event_time| as_of.micros() - event_time));
            }
        }
        out.push(b']');
        write_by_row(b",\"states\":{", &aside.states, out);
        if has_ages {
            aside.write_ages(out);
        }
        out.extend(&self.end);
        write_by_row(b",\"errors\":{", &aside.errors, out);
        out.push(b'}');
        Ok(())
    }
}

/// What of a column is written behind its values; its room is used again for the next one.
#[derive(Default)]
struct Aside {
    states: Vec<(usize, CellState)>,
    errors: Vec<(usize, Arc<CellError>)>,
    ages: Vec<Option<i64>>,
    /// The ages that were written last, and where.
    written: Option<(Vec<Option<i64>>, Range<usize>)>,
}

impl Aside {
    fn clear(&mut self) {
        self.states.clear();
        self.errors.clear();
        self.ages.clear();
    }

    /// Features of one load have the same ages, so most columns repeat those of the one before.
    fn write_ages(&mut self, out: &mut Vec<u8>) {
        if let Some((_, text)) = self.written.as_ref().filter(|(ages, _)| *ages == self.ages) {
            return out.extend_from_within(text.clone());
        }
        let start = out.len();
        out.extend(b",\"ages_us\":[");
        for (row, age) in self.ages.iter().enumerate() {
            if row > 0 {
                out.push(b',');
            }
            write(age, out);
        }
        out.push(b']');
        self.written = Some((std::mem::take(&mut self.ages), start..out.len()));
    }
}

impl Cells<'_> {
    /// The answer.
    pub(crate) fn json(&self) -> Result<Vec<u8>, EngineError> {
        let (plan, count) = (self.plan, self.rows());
        let of_columns = plan.outputs.iter().map(|output| output.begin.len() + output.end.len() + 40 * count + 20);
        let mut out = Vec::with_capacity(of_columns.sum::<usize>() + 64 * count + 256);
        out.extend(b"{\"rows\":");
        write(&count, &mut out);
        out.extend(b",\"as_of\":[");
        write_instants(self.as_of(), &mut out);
        out.push(b']');
        if let Some(known_to) = &self.known_to() {
            out.extend(b",\"known_to\":");
            write(known_to, &mut out);
        }
        out.extend(b",\"columns\":[");
        let mut aside = Aside::default();
        for (number, output) in plan.outputs.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            output.write(self, &mut aside, &mut out).map_err(broken)?;
        }
        out.extend(&plan.end);
        Ok(out)
    }
}

/// The end of every answer of a plan.
pub(super) fn end_of(plan: &Plan) -> Vec<u8> {
    let mut end = b"],\"plan\":".to_vec();
    write(&plan.fingerprint, &mut end);
    end.push(b'}');
    end
}

fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("memory takes what is written");
}

/// An object by rows, unless it would be empty.
fn write_by_row<T: Serialize>(begin: &[u8], members: &[(usize, T)], out: &mut Vec<u8>) {
    if members.is_empty() {
        return;
    }
    out.extend(begin);
    for (number, (row, member)) in members.iter().enumerate() {
        out.extend(if number > 0 { b",\"" as &[u8] } else { b"\"" });
        write(row, out);
        out.extend(b"\":");
        write(member, out);
    }
    out.push(b'}');
}

fn write_instants(instants: &[Instant], out: &mut Vec<u8>) {
    let mut last: Option<(Instant, Range<usize>)> = None;
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

fn write_value(value: &Value, ty: &Type, out: &mut Vec<u8>) {
    match value {
        Value::Bool(value) => write(value, out),
        Value::Int(value) | Value::Timedelta(value) => write(value, out),
        Value::Float(value) if value.is_finite() => write(value, out),
        Value::Str(value) => write(value, out),
        Value::Datetime(value) => write(value, out),
        other => write(&other.to_json(ty), out),
    }
}

fn write_plain(value: &Plain<'_>, ty: &Type, out: &mut Vec<u8>) -> Result<(), NotABlock> {
    match (value, ty) {
        (Plain::Null, _) => out.extend(b"null"),
        (Plain::Bool(value), _) => write(value, out),
        (Plain::Float(value), _) if value.is_finite() => write(value, out),
        (Plain::Long(value), Type::Int | Type::Timedelta) => write(value, out),
        (Plain::Bytes(bytes), Type::Str | Type::Enum { .. }) => {
            write(std::str::from_utf8(bytes).map_err(|_| NotABlock)?, out);
        }
        (other, _) => write_value(&other.value(ty)?, ty, out),
    }
    Ok(())
}
