//! Sealed logs: acknowledged records are there in order; of a batch in flight a prefix may be.

use std::sync::Arc;

use creta_keys::{KeyError, LogPosition, LogReader, ScopeKey, SealedLog};
use creta_platform::{Files, SeededRandom};

use crate::workload::{Outcome, Workload, bytes, ensure, scope_key};

const STORE: &str = "facts";
const PATH: &str = "log";

/// One sealed log.
pub struct SealedLogs {
    random: Arc<SeededRandom>,
    key: ScopeKey,
    promised: Vec<Vec<u8>>,
    in_flight: Vec<Vec<u8>>,
    /// Where the log was when the last promise was made.
    anchor: Option<LogPosition>,
    open: Option<(SealedLog, Arc<dyn Files>)>,
}

impl Workload for SealedLogs {
    const NAME: &'static str = "sealed_logs";

    fn new(random: Arc<SeededRandom>) -> Self {
        let key = scope_key(&random);
        Self { random, key, promised: Vec::new(), in_flight: Vec::new(), anchor: None, open: None }
    }

    fn open(&mut self, files: &Arc<dyn Files>) -> Outcome {
        let mut found = Vec::new();
        let log = SealedLog::open_each(files, &self.key, STORE, PATH, |record| {
            found.push(record.bytes);
            Ok::<(), KeyError>(())
        })?;
        let possible = [&self.promised[..], &self.in_flight[..]].concat();
        ensure(found.len() >= self.promised.len(), || {
            format!("{} records were acknowledged and {} are there", self.promised.len(), found.len())
        })?;
        ensure(possible.starts_with(&found), || "a record is there that was never appended in that place".to_owned())?;
        ensure(found.len() > self.promised.len() || self.anchor.is_none_or(|anchor| anchor == log.position()), || {
            "the position of an unchanged log has changed".to_owned()
        })?;
        self.promised = found;
        self.in_flight.clear();
        self.anchor = Some(log.position());
        self.open = Some((log, Arc::clone(files)));
        Ok(())
    }

    fn step(&mut self) -> Outcome {
        let (log, files) = self.open.as_mut().expect("the driver opens before it works");
        if self.random.below(8) == 0 {
            let mut reader = LogReader::open(files, &self.key, STORE, PATH)?;
            let mut read = Vec::new();
            for record in &mut reader {
                read.push(record?.bytes);
            }
            ensure(read == self.promised, || {
                "a reader beside the writer sees other records than were acknowledged".to_owned()
            })?;
            return ensure(reader.position() == log.position(), || {
                "reader and writer disagree on the position".to_owned()
            });
        }
        self.in_flight = (0..self.random.below(4)).map(|_| bytes(&self.random)).collect();
        let numbers = log.append(&self.in_flight.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let expected = self.promised.len() as u64..(self.promised.len() + self.in_flight.len()) as u64;
        ensure(numbers.iter().copied().eq(expected), || format!("records were numbered {numbers:?}"))?;
        self.promised.append(&mut self.in_flight);
        self.anchor = Some(log.position());
        Ok(())
    }

    fn close(&mut self) {
        self.open = None;
    }
}
