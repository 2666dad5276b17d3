//! The log: admits decisions, appends entries, signs checkpoints and proves what it says.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};

use creta_iam::{Action, Decision, Place, Principal};
use creta_keys::{KeyRing, RootKey, ScopeKey};
use creta_model::{Environment, Instant};
use creta_platform::{Clock, Platform};
use creta_proof::verify::{LogReader, check_extent};
use creta_proof::{Time, Tree};
use serde::Serialize;

use crate::checkpoint::Signer;
use crate::reads::Reads;
use crate::storage::Storage;
use crate::{AuditError, Checkpoint, Details, Entry, Hash, Permit, ProofError, SignedCheckpoint};

/// An environment's audit log. Shared by reference between all threads of its server; there is one writer process.
///
/// **What is durable when.** An entry is on disk, sealed, when `admit` (for actions that are logged first) or `record`
/// returns. Other reads are counted and written by [`Log::flush_reads`]; a crash loses at most the last second of them.
///
/// **When the disk fails**, actions that are logged first are refused ([`AuditError::Write`]) until the log is opened
/// again. Counted reads go on, for at most [`READS_PENDING_MAX`](crate::READS_PENDING_MAX) and
/// [`READ_GROUPS_MAX`](crate::READ_GROUPS_MAX) groups, and are refused then. An entry whose write failed may still be
/// found after a restart: the log then names something that did not happen, never the other way round.
///
/// **Cost.** A counted read takes about a microsecond. A logged action takes one durable write, shared by all threads
/// that wait for one. Hashes and entries are kept in memory: about 64 bytes and the entry's length each.
pub struct Log {
    environment: Environment,
    clock: Arc<dyn Clock>,
    key: ScopeKey,
    signer: Signer,
    queue: Mutex<Vec<Waiting>>,
    storage: Mutex<Storage>,
    written: RwLock<Written>,
    reads: Mutex<Reads>,
    newest: Mutex<SignedCheckpoint>,
    halted: OnceLock<Arc<str>>,
}

/// Everything durable, in order.
#[derive(Default)]
struct Written {
    tree: Tree,
    entries: Vec<Box<[u8]>>,
}

/// Entries of one caller on their way to the disk.
struct Waiting {
    entries: Vec<Vec<u8>>,
    outcome: Arc<OnceLock<Result<Range<u64>, AuditError>>>,
}

/// Something that happened, other than a decision: a start, the outcome of a permitted action, evidence of a check.
#[derive(Debug, Clone)]
pub struct Event {
    name: &'static str,
    place: Place,
    actor: Option<Principal>,
    commitment: Option<&'static str>,
    details: Details,
}

impl Event {
    /// Something that happened at `place`, by itself: `server.start`.
    pub fn new(name: &'static str, place: Place) -> Self {
        Self { name, place, actor: None, commitment: None, details: Details::none() }
    }

    /// The outcome of what `permit` allowed: `deploy.done`.
    pub fn of(permit: &Permit, name: &'static str) -> Self {
        Self { actor: Some(permit.principal().clone()), ..Self::new(name, permit.place().clone()) }
    }

    /// By somebody known, though no permit was given: an attempt, a sign-in.
    pub fn by(self, actor: &Principal) -> Self {
        Self { actor: Some(actor.clone()), ..self }
    }

    /// With further facts.
    pub fn with(self, details: Details) -> Self {
        Self { details, ..self }
    }

    /// As evidence for a commitment: `CH-44`.
    pub fn for_commitment(self, id: &'static str) -> Self {
        Self { commitment: Some(id), ..self }
    }
}

/// The files of a log at one moment; see [`Log::extent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogExtent {
    /// How many entries there are.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// Path of the entries, and how many of its bytes count.
    pub entries: (String, u64),
    /// Path of the newest checkpoint, and its sealed bytes.
    pub checkpoint: (String, Vec<u8>),
}

/// What [`Log::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The verifier key that the checkpoint was checked with.
    pub verifier_key: String,
    /// The newest stored checkpoint; its signature and its root are right.
    pub checkpoint: Checkpoint,
    /// Entries in storage. Those beyond the checkpoint will be covered by the next one.
    pub entries: u64,
    /// The root over all entries in storage.
    pub root: Hash,
    /// Time of the first entry.
    pub first_time: Option<Instant>,
    /// Time of the last entry.
    pub last_time: Option<Instant>,
    /// Indices of entries that are earlier than the one before them: somebody set the clock back.
    pub clock_set_back: Vec<u64>,
}

impl Log {
    /// Opens the log of `environment`, or begins it. `key` is that of the environment's control plane.
    ///
    /// Reads and hashes all entries, and compares them with the newest stored checkpoint: a log that is shorter than what
    /// it signed, or differs from it, is refused ([`AuditError::Shorter`], [`AuditError::Inconsistent`]), as is one whose
    /// signing key or checkpoint is gone. Time and memory grow with the log.
    pub fn open(platform: &Platform, key: ScopeKey, environment: Environment) -> Result<Self, AuditError> {
        if key.scope().environment != environment {
            return Err(AuditError::OtherKey { scope: Box::new(key.scope().clone()), environment });
        }
        let mut written = Written::default();
        let storage = Storage::open(platform, &key, |entry| written.push(entry))?;
        let entries = written.tree.len();
        let (signer, newest) = storage.signer_and_checkpoint(&environment, entries, platform.random.as_ref())?;
        written.require(&newest.verify(signer.verifier())?)?;
        let recovered = storage.recovered();
        let log = Self {
            environment,
            clock: platform.clock.clone(),
            key,
            signer,
            queue: Mutex::default(),
            storage: Mutex::new(storage),
            written: RwLock::new(written),
            reads: Mutex::default(),
            newest: Mutex::new(newest),
            halted: OnceLock::new(),
        };
        log.note_a_clock_set_back()?;
        if let Some(torn) = recovered {
            let details = Details::none().count("bytes", torn.bytes)?;
            let place = Place::Environment(log.environment.clone());
            log.record(Event::new("audit.tail-cut-off", place).with(details).for_commitment("CH-44"))?;
        }
        Ok(log)
    }

    /// A log that lives and dies with the process, under keys of its own: for `creta.local` and tests.
    pub fn in_memory(environment: Environment) -> Result<Self, AuditError> {
        let platform = Platform::in_memory();
        let root = RootKey::generate(&environment, platform.random.as_ref());
        let key = KeyRing::open(root, environment.clone(), platform.clone())
            .and_then(|ring| ring.scope_or_create(&creta_iam::control_plane(&environment)))
            .map_err(|source| AuditError::Write { source: Arc::new(source) })?;
        Self::open(&platform, key, environment)
    }

    /// Records `decision` and gives leave to act on it, or [`AuditError::Denied`].
    ///
    /// What [`is_logged_first`](creta_iam::Action::is_logged_first) is durable when this returns, denials too. Other reads
    /// are counted, denied ones too: see [`Log`] for what happens while the disk fails.
    /// A principal of another environment is [`AuditError::OtherEnvironment`]: its decisions belong into another log.
    pub fn admit(&self, decision: Decision, details: Details) -> Result<Permit, AuditError> {
        if *decision.principal().environment() != self.environment {
            let principal = Box::new(decision.principal().clone());
            return Err(AuditError::OtherEnvironment { principal, environment: self.environment.clone() });
        }
        self.require_not_halted()?;
        let entry = if decision.action().is_logged_first() {
            Some(self.write_decision(&decision, &details)?)
        } else {
            self.count_read(&decision, details)?;
            None
        };
        if decision.is_allowed() {
            return Ok(Permit::new(decision, entry));
        }
        Err(AuditError::Denied {
            principal: Box::new(decision.principal().clone()),
            action: decision.action(),
            place: decision.resource().place().clone(),
            reason: decision.reason(),
        })
    }

    /// As [`Log::admit`], where that waits for no disk: a read that is allowed is counted, unless counted reads wait to be
    /// written. `None` is no answer, and nothing was counted.
    pub fn admit_at_once(&self, decision: &Decision, details: Details) -> Option<Permit> {
        let own = *decision.principal().environment() == self.environment;
        if !own || self.halted().is_some() || decision.action().is_logged_first() || !decision.is_allowed() {
            return None;
        }
        let now = self.clock.now();
        let mut reads = lock(&self.reads);
        if reads.is_due(now) {
            return None;
        }
        reads.count(decision.clone(), details, now);
        Some(Permit::new(decision.clone(), None))
    }

    /// Records something that happened. Durable when this returns; gives the entry's index.
    pub fn record(&self, event: Event) -> Result<u64, AuditError> {
        Ok(self.record_all(vec![event])?.start)
    }

    /// Records what happened, in order and at one time, in one durable write: all of it or, after an error, nothing that
    /// counts. Gives the indices. Where many things happen at once, this is what makes the log keep up.
    pub fn record_all(&self, events: Vec<Event>) -> Result<Range<u64>, AuditError> {
        self.append(|now| {
            let entry = |event: Event| {
                let entry = Entry {
                    actor: event.actor,
                    commitment: event.commitment.map(str::to_owned),
                    details: self.written_details(&event.place, &event.details),
                    ..Entry::new(now, &event.place, event.name)
                };
                entry.to_bytes()
            };
            events.into_iter().map(entry).collect()
        })
    }

    /// Writes the counted reads, one entry per principal, action, resource and outcome, in one durable write. Called
    /// every second by the server, and by a read that finds others waiting for longer. Gives the number of entries.
    pub fn flush_reads(&self) -> Result<usize, AuditError> {
        let waiting = lock(&self.reads).take();
        if waiting.is_empty() {
            return Ok(0);
        }
        let groups = waiting.in_order();
        let outcome = self.append(|now| {
            let entry = |(group, tally): &(&crate::reads::Group, &crate::reads::Tally)| {
                let place = group.decision.resource().place();
                let mut details = self.written_details(place, &group.details);
                details.extend(tally.counts.iter().map(|(key, sum)| ((*key).to_owned(), sum.to_string())));
                details.insert("reads".to_owned(), tally.reads.to_string());
                details.insert("first".to_owned(), tally.first.to_string());
                details.insert("last".to_owned(), tally.last.to_string());
                Entry::of(now, &group.decision, details).to_bytes()
            };
            groups.iter().map(entry).collect()
        });
        let count = groups.len();
        match outcome {
            Ok(_) => Ok(count),
            Err(error) => {
                lock(&self.reads).put_back(waiting);
                Err(error)
            }
        }
    }

    /// Signs and stores a checkpoint if the log grew since the last one; gives the newest.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, AuditError> {
        self.require_not_halted()?;
        let mut newest = lock(&self.newest);
        let (size, root) = {
            let written = self.written();
            (written.tree.len(), written.tree.root(written.tree.len()).expect("a tree has its own root"))
        };
        if size > newest.claimed().size {
            let signed = self.signer.sign(size, root);
            lock(&self.storage).store_checkpoint(&signed)?;
            *newest = signed;
        }
        Ok(newest.clone())
    }

    /// What a copy of this log as it is now consists of, beside the key that signs: how far it is, where its entries stand
    /// and how many bytes of that file they take, and where the newest checkpoint stands, with its sealed bytes.
    pub fn extent(&self) -> Result<LogExtent, AuditError> {
        self.checkpoint()?;
        let storage = lock(&self.storage); // No entry is half written meanwhile.
        let size = self.size();
        let (entries, checkpoint) = (storage.extent(), storage.sealed_checkpoint()?);
        Ok(LogExtent { size, root: self.root(size)?, entries, checkpoint })
    }

    /// Stops the log until it is opened again: nothing is admitted, appended or signed any more, each with
    /// [`AuditError::Halted`]. For when a witness has seen another history of this log than the one at hand: each further
    /// entry would make the two harder to tell apart. The first reason stays.
    pub fn halt(&self, reason: &str) {
        let _ = self.halted.set(reason.into()); // A second reason changes nothing.
    }

    /// Why the log was stopped, if it was.
    pub fn halted(&self) -> Option<&str> {
        self.halted.get().map(AsRef::as_ref)
    }

    /// Writes the counted reads and a last checkpoint. The log stays usable; a server calls this before it stops.
    pub fn close(&self) -> Result<SignedCheckpoint, AuditError> {
        self.flush_reads()?;
        self.checkpoint()
    }

    /// The environment it belongs to.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// By which anybody recognises this log's checkpoints: `creta/<environment>/audit+<id>+<key>`. Keep it elsewhere too.
    pub fn verifier_key(&self) -> String {
        self.signer.verifier().to_string()
    }

    /// How many entries are durable.
    pub fn size(&self) -> u64 {
        self.written().tree.len()
    }

    /// Entries of `range`, in order, for Creta's own use: what people see goes through [`Log::read`].
    /// [`AuditError::OutOfRange`] beyond the end.
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<Entry>, AuditError> {
        let written = self.written();
        let size = written.tree.len();
        let beyond = || AuditError::OutOfRange { asked: range.end.max(range.start), size };
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        let (Ok(start), Ok(end)) = (start, end) else { return Err(beyond()) };
        let entries = written.entries.get(start..end).ok_or_else(beyond)?;
        let parse =
            |(index, bytes): (u64, &[u8])| Ok(Entry::parse(bytes).map_err(|rule| ProofError::Entry { index, rule })?);
        (range.start..).zip(entries.iter().map(AsRef::as_ref)).map(parse).collect()
    }

    /// Entries of `range` that whoever holds `permit` may see, each with its index, in order. The permit is for
    /// `audit.read`: on the environment it shows every entry; on a scope those about it that are not the doing of another
    /// tenant, whose name would be given away. A range beyond the end is cut there.
    pub fn read(&self, permit: &Permit, range: Range<u64>) -> Result<Vec<(u64, Entry)>, AuditError> {
        if permit.action() != Action::AuditRead || *permit.environment() != self.environment {
            let (permitted, place) = (permit.action(), permit.place().clone());
            let missing = format!("action `{}` in environment `{}`", Action::AuditRead, self.environment);
            return Err(AuditError::NotCovered { permitted, place, missing });
        }
        let size = self.size();
        let range = range.start.min(size)..range.end.min(size).max(range.start.min(size));
        let shown = |entry: &Entry| match permit.scope() {
            None => true,
            Some(scope) => {
                let doer = entry.actor.as_ref().and_then(Principal::scope);
                entry.scope().as_ref() == Some(scope) && doer.is_none_or(|doer| doer == scope)
            }
        };
        let entries = self.entries(range.clone())?;
        Ok(range.zip(entries).filter(|(_, entry)| shown(entry)).collect())
    }

    /// The bytes of one entry, as they are hashed.
    pub fn entry_bytes(&self, index: u64) -> Result<Vec<u8>, AuditError> {
        let written = self.written();
        let found = usize::try_from(index).ok().and_then(|index| written.entries.get(index));
        found
            .map(|entry| entry.to_vec())
            .ok_or_else(|| AuditError::OutOfRange { asked: index, size: written.tree.len() })
    }

    /// The root when the log had `size` entries.
    pub fn root(&self, size: u64) -> Result<Hash, AuditError> {
        let tree = &self.written().tree;
        tree.root(size).ok_or(AuditError::OutOfRange { asked: size, size: tree.len() })
    }

    /// What shows that entry `index` is in the log of `size` entries; see [`verify_inclusion`](crate::verify::verify_inclusion).
    pub fn prove_inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, AuditError> {
        let tree = &self.written().tree;
        tree.inclusion(index, size).ok_or(AuditError::OutOfRange { asked: index.max(size), size: tree.len() })
    }

    /// What shows that the log of `old` entries is the beginning of that of `new`; see
    /// [`verify_consistency`](crate::verify::verify_consistency).
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, AuditError> {
        let tree = &self.written().tree;
        tree.consistency(old, new).ok_or(AuditError::OutOfRange { asked: old.max(new), size: tree.len() })
    }

    /// Checks that this log continues a checkpoint that was kept elsewhere. That is how a log is noticed that was rolled
    /// back together with its own checkpoint, which nothing inside it can show.
    pub fn require_continues(&self, kept: &SignedCheckpoint) -> Result<(), AuditError> {
        self.written().require(&kept.verify(self.signer.verifier())?)
    }

    /// A hash tile of C2SP tlog-tiles: `width` hashes (1 to 256) of tile `index` at `level`; `None` where the log does
    /// not have them. [`tile_path`](crate::tile_path) names it.
    pub fn tile(&self, level: u32, index: u64, width: u64) -> Option<Vec<u8>> {
        creta_proof::tile_hashes(&self.written().tree, level, index, width)
    }

    /// An entry bundle of C2SP tlog-tiles: `width` entries (1 to 256), each after its length as a big-endian `u16`.
    pub fn entries_tile(&self, index: u64, width: u64) -> Option<Vec<u8>> {
        creta_proof::bundle_of(&self.written().entries, index, width)
    }

    /// Reads the whole log again from storage and checks it against its newest stored checkpoint.
    pub fn verify(&self) -> Result<VerifyReport, AuditError> {
        let (stored, entries) = {
            let storage = lock(&self.storage); // No entry is half written meanwhile.
            (storage.read_checkpoint()?, storage.reader()?)
        };
        let stored = stored.ok_or(AuditError::CheckpointMissing { entries: self.size() })?;
        let checkpoint = stored.verify(self.signer.verifier())?;
        let mut reader = LogReader::default();
        let mut signed_root = reader.root();
        for entry in entries {
            let (entry, index) = (entry?, reader.entries());
            // Stricter than an outsider can be: this build knows every field.
            let Entry { time, .. } = Entry::parse(&entry).map_err(|rule| ProofError::Entry { index, rule })?;
            reader.add(
                Hash::leaf(&entry),
                Time::from_micros(time.micros()).expect("an instant has a year of four digits"),
            );
            if reader.entries() == checkpoint.size {
                signed_root = reader.root();
            }
        }
        check_extent(&checkpoint, reader.entries())?;
        if signed_root != checkpoint.root {
            return Err(ProofError::Inconsistent { size: checkpoint.size }.into());
        }
        let report = reader.report();
        Ok(VerifyReport {
            verifier_key: self.verifier_key(),
            checkpoint,
            entries: report.entries,
            root: report.root,
            first_time: report.first_time.map(instant),
            last_time: report.last_time.map(instant),
            clock_set_back: report.clock_set_back,
        })
    }

    fn write_decision(&self, decision: &Decision, details: &Details) -> Result<u64, AuditError> {
        let details = self.written_details(decision.resource().place(), details);
        let range = self.append(|now| Ok(vec![Entry::of(now, decision, details).to_bytes()?]))?;
        Ok(range.start)
    }

    fn count_read(&self, decision: &Decision, details: Details) -> Result<(), AuditError> {
        let now = self.clock.now();
        let mut reads = lock(&self.reads);
        if reads.is_due(now) {
            drop(reads);
            let flushed = self.flush_reads();
            reads = lock(&self.reads);
            match flushed {
                Err(error) if reads.is_overdue(now) => {
                    return Err(AuditError::ReadsPending { source: Box::new(error) });
                }
                Err(error) => tracing::warn!(%error, "counted reads wait to be recorded"),
                Ok(_) => {}
            }
        }
        reads.count(decision.clone(), details, now);
        Ok(())
    }

    /// Appends the entries that `make` makes of the present instant. Threads that come together share one write: the
    /// first to reach the storage writes for all, the others find their outcome.
    fn append(&self, make: impl FnOnce(Instant) -> Result<Vec<Vec<u8>>, AuditError>) -> Result<Range<u64>, AuditError> {
        self.require_not_halted()?;
        let outcome = {
            let mut queue = lock(&self.queue);
            let entries = make(self.clock.now())?; // Under the lock: entries stand in the order of their times.
            let outcome = Arc::new(OnceLock::new());
            queue.push(Waiting { entries, outcome: outcome.clone() });
            outcome
        };
        let mut storage = lock(&self.storage);
        if outcome.get().is_none() {
            let batch = std::mem::take(&mut *lock(&self.queue));
            self.write(&mut storage, batch);
        }
        outcome.get().expect("a batch decides the outcome of everybody in it").clone()
    }

    fn write(&self, storage: &mut Storage, batch: Vec<Waiting>) {
        let entries: Vec<&[u8]> = batch.iter().flat_map(|waiting| &waiting.entries).map(Vec::as_slice).collect();
        let failed = storage.append(&entries).err();
        let mut written = self.written.write().expect("no thread panicked while it added to the log");
        for waiting in batch {
            let outcome = match &failed {
                Some(error) => Err(error.clone()),
                None => {
                    let start = written.tree.len();
                    waiting.entries.into_iter().for_each(|entry| written.push(entry));
                    Ok(start..written.tree.len())
                }
            };
            waiting.outcome.set(outcome).expect("each outcome is decided once");
        }
    }

    fn require_not_halted(&self) -> Result<(), AuditError> {
        self.halted.get().map_or(Ok(()), |reason| Err(AuditError::Halted { reason: reason.clone() }))
    }

    fn written_details(&self, place: &Place, details: &Details) -> BTreeMap<String, String> {
        let place = place.scope().map_or_else(|| place.environment().to_string(), |scope| scope.path());
        details.written(|key, value| {
            self.key.mac_newest("creta.audit/1 detail", &[place.as_bytes(), key.as_bytes(), value])
        })
    }

    fn written(&self) -> std::sync::RwLockReadGuard<'_, Written> {
        self.written.read().expect("no thread panicked while it added to the log")
    }

    /// Within a run the clock does not go back; between two runs somebody may have set it.
    fn note_a_clock_set_back(&self) -> Result<(), AuditError> {
        let size = self.size();
        let Some(last) = size.checked_sub(1) else { return Ok(()) };
        let [last] = &self.entries(last..size)?[..] else { return Ok(()) };
        let now = self.clock.now();
        if now < last.time {
            tracing::warn!(%now, newest = %last.time, "the clock is behind the newest entry of the audit log");
            let details = Details::none().instant("newest", last.time)?;
            let place = Place::Environment(self.environment.clone());
            self.record(Event::new("clock.set-back", place).with(details).for_commitment("CH-44"))?;
        }
        Ok(())
    }
}

impl Written {
    fn push(&mut self, entry: Vec<u8>) {
        self.tree.push(Hash::leaf(&entry));
        self.entries.push(entry.into_boxed_slice());
    }

    /// The log is what it was when `checkpoint` was signed, or has grown since.
    fn require(&self, checkpoint: &Checkpoint) -> Result<(), AuditError> {
        check_extent(checkpoint, self.tree.len())?;
        match self.tree.root(checkpoint.size) {
            Some(root) if root == checkpoint.root => Ok(()),
            _ => Err(ProofError::Inconsistent { size: checkpoint.size }.into()),
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({}, {} entries)", self.signer.verifier().name(), self.size())
    }
}

fn instant(time: Time) -> Instant {
    Instant::from_micros(time.micros()).expect("it was an instant before")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panicked while it held a part of the log")
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
