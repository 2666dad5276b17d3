//! What somebody got in a day, over restarts: counted in memory, and kept ahead of what was counted.
//!
//! A document for every answer would cost more than the answer. So a count reserves some more than it needs and keeps that;
//! the next document is written when that is used up. A server that starts goes on from what was reserved: whoever asked may
//! lose the rest of one reserve, and never gets it twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use creta_model::Problem;
use serde::{Deserialize, Serialize};

use crate::problem::internal;
use crate::register::{Record, Register};

const FORMAT: &str = "creta.counted/1";
/// How many are counted apart; more than that share one count.
const COUNTED_MAX: usize = 10_000;

/// What is reserved of a day for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reserved {
    format: String,
    /// `rows/person:ana@example.com`
    of: String,
    /// Days since 1970-01-01, UTC.
    day: i64,
    reserved: u64,
}

impl Record for Reserved {
    const KIND: &'static str = "counted";

    fn id(&self) -> String {
        self.of.clone()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|record| record.format == FORMAT)
    }
}

/// Counts of one kind of thing.
pub(super) struct DayCounts {
    kept: Arc<Register<Reserved>>,
    what: &'static str,
    /// What is reserved at once.
    reserve: u64,
    /// No more than this in a day.
    most: u64,
    counted: Mutex<HashMap<String, Count>>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    day: i64,
    total: u64,
    reserved: u64,
}

impl DayCounts {
    /// Goes on from what was reserved.
    pub(super) fn open(kept: Arc<Register<Reserved>>, what: &'static str, (reserve, most): (u64, u64)) -> Self {
        let own = |record: Reserved| {
            let who = record.of.strip_prefix(what)?.strip_prefix('/')?.to_owned();
            Some((who, Count { day: record.day, total: record.reserved, reserved: record.reserved }))
        };
        let counted = kept.list(|_| true).into_iter().filter_map(own).collect();
        Self { kept, what, reserve, most, counted: Mutex::new(counted) }
    }

    /// Counts so many for somebody, unless that is too many for the day; says whether it is not. What was counted is kept when
    /// this returns. Costs a look into memory, and now and then one document.
    pub(super) fn take(&self, who: &str, day: i64, amount: u64) -> Result<bool, Problem> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.len() >= COUNTED_MAX && !counted.contains_key(who) {
            counted.retain(|_, count| count.day >= day);
        }
        let who = if counted.len() < COUNTED_MAX || counted.contains_key(who) { who } else { "" };
        let fresh = Count { day, total: 0, reserved: 0 };
        let count = counted.entry(who.to_owned()).or_insert(fresh);
        if count.day < day {
            *count = fresh;
        }
        let total = count.total.saturating_add(amount);
        if total > self.most {
            return Ok(false);
        }
        if total > count.reserved {
            let reserved = total.div_ceil(self.reserve).saturating_mul(self.reserve).min(self.most);
            self.keep(who, count.day, reserved)?;
            count.reserved = reserved;
        }
        count.total = total;
        Ok(true)
    }

    fn keep(&self, who: &str, day: i64, reserved: u64) -> Result<(), Problem> {
        let of = format!("{}/{who}", self.what);
        let record = Reserved { format: FORMAT.to_owned(), of, day, reserved };
        match self.kept.change(&record.of, |_| Ok::<_, Problem>(record.clone()))? {
            Some(_) => Ok(()),
            None => self.kept.add(record)?.map(drop).ok_or_else(internal),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use creta_store::{MemoryMetadata, MetadataStore};

    use super::*;

    /// What is kept in memory, as a server that starts reads it.
    pub(crate) fn kept(metadata: &Arc<dyn MetadataStore>) -> Arc<Register<Reserved>> {
        Arc::new(Register::load(Arc::clone(metadata)).expect("readable"))
    }

    pub(crate) fn memory() -> Arc<dyn MetadataStore> {
        Arc::new(MemoryMetadata::new())
    }

    fn written(metadata: &Arc<dyn MetadataStore>) -> u64 {
        metadata.list(Reserved::KIND).expect("readable").iter().map(|document| document.version).sum()
    }

    #[test]
    fn attack_ch14_nobody_gets_a_days_count_twice_by_a_restart() {
        let metadata = memory();
        let open = || DayCounts::open(kept(&metadata), "rows", (50, 1_000));
        let mut got = 0;
        // A restart after every few rows gives less, and never more.
        for _ in 0..100 {
            let counts = open();
            got += (0..7).filter(|_| counts.take("ana", 7, 1).expect("kept")).count();
        }
        assert!((100..=1_000).contains(&got), "{got}");
        assert!(!open().take("ana", 7, 1).expect("kept"));
        assert!(open().take("eve", 7, 1_000).expect("kept"), "somebody else");
        assert!(!open().take("eve", 7, 1).expect("kept"));
        assert!(open().take("ana", 8, 1).expect("kept"), "the next day");
    }

    #[test]
    fn documents_are_written_now_and_then() {
        let metadata = memory();
        let counts = DayCounts::open(kept(&metadata), "rows", (50, 1_000));
        assert_eq!(
            (0..1_000).filter(|_| counts.take("ana", 7, 1).expect("kept")).count(),
            1_000,
            "without a restart all"
        );
        assert_eq!(written(&metadata), 20);
        let other = DayCounts::open(kept(&metadata), "bytes", (50, 1_000));
        assert!(other.take("ana", 7, 1).expect("kept"), "another thing is counted apart");
    }

    #[test]
    fn attack_ch14_strangers_fill_no_memory() {
        let counts = DayCounts::open(kept(&memory()), "rows", (50, 1_000));
        for number in 0..COUNTED_MAX + 10 {
            counts.take(&number.to_string(), 7, 1).expect("kept");
        }
        assert!(counts.counted.lock().expect("nobody panicked").len() <= COUNTED_MAX + 1);
    }
}
