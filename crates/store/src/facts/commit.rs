//! The way of an append: encoded by its caller, written with whatever else waits, answered when durable.

use std::sync::Arc;

use creta_keys::SealedLog;
use creta_platform::FileError;

use super::manifest::Anchor;
use super::once::{Once, TOLD_BYTES_MAX};
use super::record::{Opened, UnitRecord, encode_closed, encode_manifest, encode_remembered};
use super::tail::Tail;
use super::{FactStore, LogState, STORE, next_chain};
use crate::sealing::{files_failed, sealed_failed};
use crate::{FactBatch, Position, StoreError};

/// What a record may take so that sealed it stays below the log's 4 GiB.
const RECORD_BYTES_MAX: u64 = u32::MAX as u64 - 1024;

/// Appends that wait to be written.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Vec<Waiting>,
    /// Somebody is writing.
    led: bool,
    answers: Vec<(u64, Result<Position, StoreError>)>,
    next_ticket: u64,
}

struct Waiting {
    ticket: u64,
    record: UnitRecord,
    batches: Vec<FactBatch>,
    once: Option<Once>,
}

/// What becomes durable together.
#[derive(Debug, Clone, Default)]
pub struct Unit {
    /// Those without rows are left out.
    pub batches: Vec<FactBatch>,
    /// What is remembered of it from then on.
    pub once: Option<Once>,
}

impl FactStore {
    /// The first to find nobody writing writes for all who wait; the others wait for their answers.
    pub(super) fn commit(&self, units: Vec<Unit>) -> Vec<Result<Position, StoreError>> {
        let encoded: Vec<_> = units.into_iter().map(|unit| self.encode(unit)).collect();
        let mut queue = self.queue.lock().expect("no code panics while it holds the queue");
        let mut tickets = Vec::with_capacity(encoded.len());
        for unit in encoded {
            tickets.push(match unit {
                Ok(Some((record, batches, once))) => {
                    let ticket = queue.next_ticket;
                    queue.next_ticket += 1;
                    queue.waiting.push(Waiting { ticket, record, batches, once });
                    Ok(Some(ticket))
                }
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            });
        }
        let last = tickets.iter().filter_map(|ticket| ticket.as_ref().ok()?.as_ref()).next_back().copied();
        loop {
            // Groups are written whole and in order, so who has the last answer has all.
            if last.is_none_or(|last| queue.answers.iter().any(|(answered, _)| *answered == last)) {
                let mut answer = |ticket: u64| {
                    let at = queue.answers.iter().position(|(answered, _)| *answered == ticket);
                    queue.answers.swap_remove(at.expect("whoever waits is answered")).1
                };
                let mut answers = Vec::with_capacity(tickets.len());
                for ticket in tickets {
                    answers.push(match ticket {
                        Ok(Some(ticket)) => answer(ticket),
                        Ok(None) => Ok(self.position()),
                        Err(error) => Err(error),
                    });
                }
                return answers;
            }
            if queue.led {
                queue = self.answered.wait(queue).expect("no code panics while it holds the queue");
                continue;
            }
            queue.led = true;
            let group = std::mem::take(&mut queue.waiting);
            drop(queue);
            let lead = Lead(self);
            let answers = self.write(group);
            self.queue.lock().expect("no code panics while it holds the queue").answers.extend(answers);
            drop(lead);
            queue = self.queue.lock().expect("no code panics while it holds the queue");
        }
    }

    /// The record of a unit; none for one that holds nothing.
    #[allow(clippy::type_complexity, reason = "taken apart where it is made")]
    fn encode(&self, unit: Unit) -> Result<Option<(UnitRecord, Vec<FactBatch>, Option<Once>)>, StoreError> {
        let Unit { mut batches, once } = unit;
        batches.retain(|facts| facts.rows() > 0);
        if batches.is_empty() && once.is_none() {
            return Ok(None);
        }
        let mut id = [0; 16];
        self.random.fill(&mut id);
        let record = UnitRecord::encode(&batches, id, once.as_ref()).map_err(|error| self.unencodable(error))?;
        let too_large = |bytes, bytes_max| StoreError::TooLarge { store: self.prefix.clone(), bytes, bytes_max };
        let told = once.as_ref().map_or(0, |once| once.told.len());
        if told > TOLD_BYTES_MAX {
            return Err(too_large(told as u64, TOLD_BYTES_MAX as u64));
        }
        let bytes = record.len() as u64;
        if bytes > RECORD_BYTES_MAX {
            return Err(too_large(bytes, RECORD_BYTES_MAX));
        }
        Ok(Some((record, batches, once)))
    }

    fn write(&self, mut group: Vec<Waiting>) -> Vec<(u64, Result<Position, StoreError>)> {
        let mut log = self.lock_log();
        let before = log.end;
        let outcome = self.settle(&mut log).and_then(|()| self.write_records(&mut log, &mut group));
        let answers = group.iter().zip(before.0 + 1..).map(|(waiting, position)| {
            let answer = match &outcome {
                Ok(()) => Ok(Position(position)),
                Err(error) => Err(repeat(error)),
            };
            (waiting.ticket, answer)
        });
        let mut answers: Vec<_> = answers.collect();
        if let (Err(error), Some(first)) = (outcome, answers.first_mut()) {
            first.1 = Err(error);
        }
        answers
    }

    fn write_records(&self, log: &mut LogState, group: &mut [Waiting]) -> Result<(), StoreError> {
        let name_manifest = log.manifest_unnamed.then(|| encode_manifest(log.manifest));
        let mut records: Vec<&[u8]> = name_manifest.iter().map(Vec::as_slice).collect();
        let mut anchors = Vec::with_capacity(group.len());
        let mut last = Anchor { position: log.end, chain: log.chain };
        let mut units = Vec::with_capacity(group.len());
        let mut remembered = Vec::new();
        for Waiting { record, batches, once, .. } in group {
            let chain = next_chain(&self.key, &last.chain, &record.id());
            last = Anchor { position: last.position.next(), chain };
            anchors.push(last);
            units.push((&*batches, record.len() as u64));
            remembered.extend(once.take().map(|once| (last.position, once)));
            records.push(record.at(last.position));
        }
        self.append_records(log, &records)?;
        log.manifest_unnamed = false;
        (log.end, log.chain) = (last.position, last.chain);
        log.anchors.extend(anchors);
        if !remembered.is_empty() {
            let mut known = self.lock_once();
            remembered.into_iter().for_each(|(position, once)| known.add(position, once));
        }
        self.publish(|view| {
            let mut tail = Tail::clone(&view.active);
            units.iter().for_each(|(batches, bytes)| tail.push(batches, *bytes));
            view.active = Arc::new(tail);
        });
        Ok(())
    }

    fn append_records(&self, log: &mut LogState, records: &[&[u8]]) -> Result<(), StoreError> {
        if let Err(error) = log.log.append(records) {
            log.in_doubt = true;
            // Opening it again now tells whether the failed write is gone; if that fails too, the next append tries again.
            if let Err(second) = self.settle(log) {
                tracing::warn!(store = self.prefix, error = %second, "the log could not be opened again after a failed append");
            }
            return Err(sealed_failed(&self.prefix, error));
        }
        Ok(())
    }

    /// Opens the log again after a failed append. It goes on only where the last answered append ended.
    pub(super) fn settle(&self, log: &mut LogState) -> Result<(), StoreError> {
        if !log.in_doubt {
            return Ok(());
        }
        let path = self.log_path(log.generation);
        let ignore = |_| Ok::<(), creta_keys::KeyError>(());
        let again = SealedLog::open_each(&self.files, &self.key, STORE, &path, ignore)
            .map_err(|error| sealed_failed(&self.prefix, error))?;
        if again.position() != log.log.position() {
            return Err(StoreError::Stopped { store: self.prefix.clone() });
        }
        log.log = again;
        log.in_doubt = false;
        Ok(())
    }

    /// Closes the present log, begins the next one and freezes the tail. Nothing happens if the tail is empty.
    pub(super) fn rotate(&self) -> Result<(), StoreError> {
        let mut log = self.lock_log();
        self.settle(&mut log)?;
        if self.view().active.is_empty() {
            return Ok(());
        }
        let generation = log.generation + 1;
        let path = self.log_path(generation);
        match self.files.delete(&path) {
            Ok(()) | Err(FileError::NotFound { .. }) => {}
            Err(error) => return Err(files_failed(&self.prefix, error)),
        }
        let opened = Opened { generation, base: log.end, chain: log.chain, manifest: log.manifest };
        let next = begin_log(self, &path, &opened)?;
        self.append_records(&mut log, &[&encode_closed(generation)])?;
        log.log = next;
        log.generation = generation;
        log.manifest_unnamed = false;
        self.publish(|view| {
            let tail = std::mem::replace(&mut view.active, Arc::new(Tail::new(generation, opened.base)));
            view.frozen.push(tail);
        });
        Ok(())
    }

    fn unencodable(&self, error: arrow::error::ArrowError) -> StoreError {
        StoreError::Decode { store: self.prefix.clone(), source: Box::new(error) }
    }
}

/// Writing for all who wait. It ends when this is dropped, after a panic too, so that nobody waits forever.
struct Lead<'a>(&'a FactStore);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if let Ok(mut queue) = self.0.queue.lock() {
            queue.led = false;
        }
        self.0.answered.notify_all();
    }
}

fn begin_log(store: &FactStore, path: &str, opened: &Opened) -> Result<SealedLog, StoreError> {
    let (mut log, _) =
        SealedLog::open(&store.files, &store.key, STORE, path).map_err(|error| sealed_failed(&store.prefix, error))?;
    let carried = encode_remembered(store.lock_once().all());
    let opened = opened.encode();
    let records: Vec<&[u8]> = std::iter::once(&opened).chain(&carried).map(Vec::as_slice).collect();
    log.append(&records).map_err(|error| sealed_failed(&store.prefix, error))?;
    Ok(log)
}

/// The error that the others of a group get.
fn repeat(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full { store } => StoreError::Full { store: store.clone() },
        StoreError::Stopped { store } => StoreError::Stopped { store: store.clone() },
        other => StoreError::Group { reason: other.to_string() },
    }
}
