//! How loads are written: checked side by side, made durable in groups, made visible in groups.
//!
//! ```text
//! each load, on its own thread      ─► check ─► wait for a turn ─────────────────────────► wait for a turn ─► answer
//! whoever has the turn, for all who wait         stamp, one append, one sync ─► next turn    one transaction
//! ```
//!
//! Loads are written in the order in which they came to wait; whoever has a turn gives it back when its own load is written.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use creta_audit::Permit;
use creta_iam::{Action, Place, Principal};
use creta_keys::ScopeKey;
use creta_model::{Instant, Problem};
use creta_registry::Registry;
use creta_store::{FactBatch, Once, Position, StoreError, Unit};

use super::{ROWS_AT_ONCE, ScopeEngine, Writer, catch_up, lock, not_kept_apart, store_problem};
use crate::ingest::{self, Checked, Stamp};
use crate::present::Arriving;
use crate::request::{IngestReport, IngestRequest};
use crate::scope_engine::upkeep::NOT_ONLINE_YET;

/// What a load is called by whoever sends it, so that it is taken once however often it is sent.
#[derive(Debug, Clone)]
pub struct OnceKey {
    /// Chosen by the sender. Keys of different principals never meet.
    pub key: String,
    /// A digest of everything that was sent: another load by the same key is a mistake.
    pub content: [u8; 32],
}

/// What became of a load.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What whoever sent it is told; the same every time.
    pub report: IngestReport,
    /// It had been taken before, and nothing was stored now.
    pub repeated: bool,
}

/// Loads on their way.
#[derive(Default)]
pub(super) struct Loads {
    waiting: Mutex<VecDeque<Arc<Load>>>,
    /// Durable and not visible yet, in order.
    durable: Mutex<VecDeque<Durable>>,
    /// The turn of whoever makes loads visible, or the whole index anew.
    turn: Mutex<()>,
}

/// A load that was checked and waits to be written.
struct Load {
    registry: Arc<Registry>,
    checked: Checked,
    principal: Principal,
    place: Place,
    once: Option<([u8; 16], [u8; 16])>,
    outcome: Mutex<Option<Outcome>>,
}

enum Outcome {
    Written {
        report: IngestReport,
        position: Option<Position>,
    },
    Repeated(IngestReport),
    Failed(Problem),
    /// Definitions changed since it was checked, or a load by the same key is being written: check and ask anew.
    Again,
}

struct Durable {
    facts: Option<FactBatch>,
    position: Position,
    _arriving: Arc<Arriving>,
}

/// The loads of one group. Whoever waits for one of them is answered, after a panic too.
struct Group(Vec<Arc<Load>>);

impl Drop for Group {
    fn drop(&mut self) {
        for load in &self.0 {
            lock(&load.outcome).get_or_insert_with(|| {
                Outcome::Failed(Problem::new("internal/load", "the load could not be written").with_help(
                    "look whether its facts are there before you send it again, or send it with the key it had",
                ))
            });
        }
    }
}

impl Load {
    fn answer(&self, outcome: Outcome) {
        *lock(&self.outcome) = Some(outcome);
    }
}

/// What stands for a load's name and content in the store. The name is bound to who gave it: nobody finds out what others did
/// by guessing theirs.
fn named(scope_key: &ScopeKey, once: &OnceKey, principal: &Principal) -> ([u8; 16], [u8; 16]) {
    let who = principal.home().path();
    let parts = [principal.kind().as_bytes(), who.as_bytes(), principal.id().as_str().as_bytes(), once.key.as_bytes()];
    let half = |hash: [u8; 32]| hash[..16].try_into().expect("sixteen of them");
    (half(scope_key.mac("load by key", &parts)), half(scope_key.mac("load by content", &[&once.content])))
}

impl ScopeEngine {
    /// Stores facts durably, then makes them visible online. All rows are taken or none. Whom a row rule binds writes nothing
    /// that it looks at: they would say themselves what they see.
    ///
    /// Once they are durable the load is taken: what fails afterwards is a warning of the report, since sending the load again
    /// would count it twice.
    pub fn ingest(
        &self,
        request: &IngestRequest,
        batches: &[arrow::array::RecordBatch],
        permit: &Permit,
    ) -> Result<IngestReport, Problem> {
        self.ingest_once(request, batches, permit, None).map(|loaded| loaded.report)
    }

    /// As [`ingest`](Self::ingest), and a load with a key is taken once: sent again by the same principal, it is answered as it
    /// was the first time, after a crash too. A key is remembered for [`creta_store::ONCE_KEPT`] and among the newest
    /// [`creta_store::ONCE_KEYS_MAX`] of the scope; another load by a key that is remembered is `ingest/key-reused`.
    pub fn ingest_once(
        &self,
        request: &IngestRequest,
        batches: &[arrow::array::RecordBatch],
        permit: &Permit,
        once: Option<&OnceKey>,
    ) -> Result<Loaded, Problem> {
        self.permitted(permit, Action::Ingest, [])?;
        let once = once.map(|once| named(&self.key, once, permit.principal()));
        loop {
            if let Some(report) = once.and_then(|once| self.taken_before(once)).transpose()? {
                let position = Some(Position(report.position));
                return Ok(Loaded { report: self.when_shown(report, position), repeated: true });
            }
            let registry = self.registry_to_load()?;
            let load = Arc::new(Load {
                checked: ingest::check(&registry, request, batches)?,
                registry,
                principal: permit.principal().clone(),
                place: permit.place().clone(),
                once,
                outcome: Mutex::default(),
            });
            match self.written(&load) {
                Outcome::Again => {}
                Outcome::Failed(problem) => return Err(problem),
                Outcome::Repeated(report) => {
                    let position = Some(Position(report.position));
                    return Ok(Loaded { report: self.when_shown(report, position), repeated: true });
                }
                Outcome::Written { report, position } => {
                    return Ok(Loaded { report: self.when_shown(report, position), repeated: false });
                }
            }
        }
    }

    /// The report of a load, once its facts are visible; a repeated one may be asked about while the first is on its way.
    fn when_shown(&self, mut report: IngestReport, position: Option<Position>) -> IngestReport {
        if let Err(error) = position.map_or(Ok(()), |position| self.show(position)) {
            tracing::error!(scope = %self.scope, %error, "acknowledged facts are not online yet");
            report.warnings.push(NOT_ONLINE_YET.to_owned());
        }
        report
    }

    /// The definitions that loads go by; whoever waited for a deploy goes by what it put in force.
    fn registry_to_load(&self) -> Result<Arc<Registry>, Problem> {
        if lock(&self.stopped).is_some() {
            self.resume(&lock(&self.writer))?;
        }
        Ok(Arc::clone(&self.deployment()?.registry))
    }

    /// The report of a load that was taken, if one was by this key.
    fn taken_before(&self, (key, content): ([u8; 16], [u8; 16])) -> Option<Result<IngestReport, Problem>> {
        let (position, known) = self.facts.remembered(&key, self.platform.clock.now())?;
        if known.content != content {
            return Some(Err(Problem::new("ingest/key-reused", "another load was sent by this idempotency key")
                .with_help(
                    "send the very same request again, or give this one a key of its own; nothing was stored",
                )));
        }
        let report = serde_json::from_slice::<IngestReport>(&known.told);
        let report = report.map(|report| IngestReport { position: position.0, ..report });
        Some(report.map_err(|error| Problem::new("internal/load", format!("a kept report does not read: {error}"))))
    }

    /// Waits until a load is written, by whoever has the turn.
    fn written(&self, load: &Arc<Load>) -> Outcome {
        lock(&self.loads.waiting).push_back(Arc::clone(load));
        let mut writer = lock(&self.writer);
        loop {
            if let Some(outcome) = lock(&load.outcome).take() {
                return outcome;
            }
            self.write_group(&mut writer);
        }
    }

    /// Writes loads that wait, some thousand rows together or one that is larger.
    fn write_group(&self, writer: &mut MutexGuard<'_, Writer>) {
        let mut group = Group(Vec::new());
        {
            let mut waiting = lock(&self.loads.waiting);
            let mut rows = 0;
            while let Some(load) = waiting.front() {
                rows += load.checked.rows();
                if !group.0.is_empty() && rows > ROWS_AT_ONCE as u64 {
                    break;
                }
                group.0.extend(waiting.pop_front());
            }
        }
        let ready = self.resume(writer).and_then(|()| self.deployment());
        let deployment = match ready {
            Ok(deployment) => deployment,
            Err(problem) => return group.0.iter().for_each(|load| load.answer(Outcome::Failed(problem.clone()))),
        };
        let arriving = Arc::new(self.present.arrive());
        let (before, mut kept_apart) = (writer.sequence, false);
        let (mut units, mut of_units, mut names) = (Vec::new(), Vec::new(), HashSet::new());
        for load in &group.0 {
            if !Arc::ptr_eq(&load.registry, &deployment.registry) {
                load.answer(Outcome::Again);
                continue;
            }
            if let Some(once) = load.once {
                if let Some(taken) = self.taken_before(once) {
                    load.answer(taken.map_or_else(Outcome::Failed, Outcome::Repeated));
                    continue;
                }
                if !names.insert(once.0) {
                    load.answer(Outcome::Again);
                    continue;
                }
            }
            let stamp = Stamp { now: arriving.at(), sequence: writer.sequence, any_time: self.any_time };
            let guard = self.guard(&deployment, &load.principal, &load.place);
            let prepared = load.checked.stamp(stamp).and_then(|prepared| {
                let mut facts = prepared.facts.iter().chain(&prepared.quarantined);
                match guard {
                    Some(guard) => facts.try_for_each(|facts| guard.require_unread(facts)).map(|()| prepared),
                    None => Ok(prepared),
                }
            });
            let mut prepared = match prepared {
                Ok(prepared) => prepared,
                Err(problem) => {
                    load.answer(Outcome::Failed(problem));
                    continue;
                }
            };
            // Before the facts, whose unit holds what is told of the load once more: it never tells of rows that are not kept.
            // Where facts are not written after all, a load that is sent again without a key keeps them apart twice.
            if let Some(quarantined) = prepared.quarantined.take() {
                match self.keep_apart(quarantined, load.once, arriving.at()) {
                    Ok(()) => kept_apart = true,
                    Err(error) if prepared.facts.is_none() => {
                        load.answer(Outcome::Failed(store_problem(&error)));
                        continue;
                    }
                    Err(error) => {
                        let lost = std::mem::take(&mut prepared.report.quarantined);
                        prepared.report.warnings.push(not_kept_apart(lost, &error));
                    }
                }
            }
            writer.sequence += prepared.report.rows;
            let once = load.once.map(|(key, content)| Once {
                key,
                content,
                at: arriving.at(),
                told: serde_json::to_vec(&prepared.report).expect("numbers and texts are JSON"),
            });
            units.push(Unit { batches: prepared.facts.iter().cloned().collect(), once });
            of_units.push((load, prepared));
        }
        let written = self.facts.append_all(units);
        if written.iter().all(Result::is_err) && !kept_apart {
            writer.sequence = before;
        }
        let mut durable = Vec::new();
        for ((load, prepared), written) in of_units.into_iter().zip(written) {
            let position = match written {
                Ok(position) => position,
                Err(error) => {
                    load.answer(Outcome::Failed(store_problem(&error)));
                    continue;
                }
            };
            let mut report = prepared.report;
            let position = (prepared.facts.is_some() || load.once.is_some()).then_some(position);
            if let Some(position) = position {
                report.position = position.0;
                durable.push(Durable { facts: prepared.facts, position, _arriving: Arc::clone(&arriving) });
            }
            load.answer(Outcome::Written { report, position });
        }
        arriving.is_durable();
        lock(&self.loads.durable).extend(durable);
    }

    /// Keeps rows of a load apart; those of a load with a key once, however often it is sent.
    fn keep_apart(&self, rows: FactBatch, once: Option<([u8; 16], [u8; 16])>, at: Instant) -> Result<(), StoreError> {
        if once.is_some_and(|(key, _)| self.quarantine.remembered(&key, at).is_some()) {
            return Ok(());
        }
        let once = once.map(|(key, content)| Once { key, content, at, told: Vec::new() });
        self.quarantine.append_all(vec![Unit { batches: vec![rows], once }]).remove(0).map(drop)
    }

    /// Returns when everything up to a position is visible online. Whoever has the turn applies all that is durable, some
    /// thousand facts in one transaction, and before it what the index lacks.
    fn show(&self, until: Position) -> Result<(), StoreError> {
        let _turn = lock(&self.loads.turn);
        // Dropped when all is done, and only then the present goes on.
        let durable: Vec<Durable> = lock(&self.loads.durable).drain(..).collect();
        let Ok(deployment) = self.deployment() else { return Err(StoreError::Stopped { store: "online".to_owned() }) };
        let index = &deployment.index;
        let shown = index.position()?;
        let mut next = shown;
        let new = durable.iter().filter(|load| load.position > shown);
        let is_next = |load: &Durable| {
            next = Position(next.0 + 1);
            load.position == next
        };
        if !new.clone().all(is_next) || next < until {
            return catch_up(&self.facts, index);
        }
        let (mut some, mut rows) = (Vec::new(), 0);
        let mut new = new.peekable();
        while let Some(load) = new.next() {
            rows += load.facts.as_ref().map_or(0, FactBatch::rows);
            some.extend(load.facts.clone());
            if rows >= ROWS_AT_ONCE || new.peek().is_none() {
                index.apply(&std::mem::take(&mut some), load.position)?;
                rows = 0;
            }
        }
        Ok(())
    }

    /// The turn of whoever changes what the index holds, so that nobody applies a load meanwhile.
    pub(super) fn index_turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.loads.turn)
    }
}
