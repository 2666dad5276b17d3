//! How much work one call may be, so that no resolver keeps a server busy: what goes beyond is Python's, in a process that
//! can be ended.

use std::cell::Cell;

use crate::raised::{Outcome, Raised};
use crate::value::Value;

/// Units of one call: a round of a loop, a call of a function, a few letters or items that are made or looked at.
pub(crate) const CALL: u64 = 1 << 20;

/// Units that each row of a batch adds.
pub(crate) const ROW: u64 = 1 << 14;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Gives back what was left outside, whatever happens within.
struct Outer(u64);

impl Drop for Outer {
    fn drop(&mut self) {
        LEFT.set(self.0);
    }
}

/// Runs with so many units; outside there is no limit.
pub fn within<T>(units: u64, run: impl FnOnce() -> T) -> T {
    let _outer = Outer(LEFT.replace(units));
    run()
}

/// Takes units; none left is [`Raised::WORK`].
pub(crate) fn spend(units: usize) -> Outcome<()> {
    let left = LEFT.get().checked_sub(units as u64).ok_or(Raised::WORK)?;
    LEFT.set(left);
    Ok(())
}

/// Takes units for looking at values: nothing for numbers.
#[inline]
pub(crate) fn spend_on(values: &[Value]) -> Outcome<()> {
    match values.iter().map(weight).sum() {
        0 => Ok(()),
        units => spend(units),
    }
}

#[inline]
fn weight(value: &Value) -> usize {
    match value {
        Value::Str(text) => text.len() / 64,
        Value::List(items) | Value::Tuple(items) => items.len() / 8,
        Value::Set(table) | Value::Dict(table) => table.keys.len() / 8,
        _ => 0,
    }
}
