//! Decoded columns of segments, bounded by their bytes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use arrow::array::{Array, ArrayRef};

/// Keeps the columns used last, up to a number of bytes.
pub(crate) struct ColumnCache {
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    segments: HashMap<String, HashMap<usize, Entry>>,
    bytes: u64,
    uses: u64,
}

struct Entry {
    column: ArrayRef,
    bytes: u64,
    used: u64,
}

impl ColumnCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// The columns at hand, in the order of `indices`.
    pub(crate) fn get(&self, segment: &str, indices: &[usize]) -> Vec<Option<ArrayRef>> {
        let mut state = self.state();
        state.uses += 1;
        let used = state.uses;
        let columns = state.segments.get_mut(segment);
        let Some(columns) = columns else { return vec![None; indices.len()] };
        let mut touch = |index: &usize| {
            let entry = columns.get_mut(index)?;
            entry.used = used;
            Some(entry.column.clone())
        };
        indices.iter().map(&mut touch).collect()
    }

    /// Keeps a column, and lets the ones go that were not used for longest. One that is larger than the whole cache is not
    /// kept.
    pub(crate) fn put(&self, segment: &str, index: usize, column: &ArrayRef) {
        let bytes = column.get_array_memory_size() as u64;
        if bytes > self.bytes_max {
            return;
        }
        let mut state = self.state();
        state.uses += 1;
        let entry = Entry { column: column.clone(), bytes, used: state.uses };
        let replaced = state.segments.entry(segment.to_owned()).or_default().insert(index, entry);
        state.bytes += bytes;
        state.bytes -= replaced.map_or(0, |entry| entry.bytes);
        while state.bytes > self.bytes_max {
            state.drop_oldest();
        }
    }

    /// Lets all columns of a segment go.
    pub(crate) fn forget(&self, segment: &str) {
        let mut state = self.state();
        if let Some(columns) = state.segments.remove(segment) {
            state.bytes -= columns.values().map(|entry| entry.bytes).sum::<u64>();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the cache")
    }
}

impl State {
    fn drop_oldest(&mut self) {
        let entries = self
            .segments
            .iter()
            .flat_map(|(segment, columns)| columns.iter().map(move |(index, entry)| (entry.used, segment, *index)));
        let (_, segment, index) = entries.min().expect("bytes are held by some column");
        let segment = segment.clone();
        let columns = self.segments.get_mut(&segment).expect("found just now");
        self.bytes -= columns.remove(&index).expect("found just now").bytes;
        if columns.is_empty() {
            self.segments.remove(&segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    fn column(rows: i64) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(0..rows))
    }

    #[test]
    fn the_columns_used_last_stay_within_the_bytes() {
        let size = column(100).get_array_memory_size() as u64;
        let cache = ColumnCache::new(2 * size);
        cache.put("a", 0, &column(100));
        cache.put("a", 1, &column(100));
        assert!(cache.get("a", &[0])[0].is_some());
        cache.put("b", 0, &column(100));
        assert_eq!(cache.get("a", &[0, 1]).iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
        assert!(cache.get("b", &[0])[0].is_some());
        cache.put("b", 1, &column(10_000));
        assert!(cache.get("b", &[0, 1])[1].is_none());
        cache.forget("a");
        cache.forget("b");
        assert_eq!(cache.state().bytes, 0);
    }
}
