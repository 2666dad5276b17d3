//! Trust: checks run against this server, their evidence goes into the log, and what they show is published.
//!
//! A check first proves that it can turn red ([`checks`]); its observation is judged by `creta_compliance`; the digest of the
//! evidence stands in the log before the document is stored. The report is computed from the log alone, and each piece of
//! evidence that it shows is proven to stand there.

pub(crate) mod artefacts;
pub(crate) mod checks;
mod client;
pub(crate) mod contact;
pub(crate) mod exceptions;
pub(crate) mod intake;
mod observed;
pub(crate) mod outputs;
mod pickup;
pub(crate) mod probes;
pub(crate) mod refusals;
pub(crate) mod site;
mod text;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use creta_audit::{Details, Event, verify};
use creta_compliance::{
    Collector, CommitmentId, Evidence, Inventory, Ledger, LogLine, LogPosition, Observation, Organisation, Outcome,
    Recorded, Registry, ReportInput, Run, TrustReport, detail, report,
};
use creta_model::{Instant, Problem, Scope, Span};
use creta_proof::Hash;
use serde::Serialize;

use self::checks::{CHECKS, Check, World};
use self::client::Client;
use self::probes::Probes;
use crate::config::Config;
use crate::control_plane::ControlPlane;
use crate::http::App;
use crate::intake::{CODES_LABEL, Codes, Gate, Pager};
use crate::problem::{from_audit, from_store};

/// Kind of the documents that hold evidence.
const EVIDENCE_KIND: &str = "evidence";
/// Entries of the log that are read at a time.
const LINES_AT_A_TIME: u64 = 10_000;
/// A check runs again when this part of its freshness has passed, so that one missed run makes nothing stale.
const RUNS_PER_FRESHNESS: i64 = 3;
/// The file in which people declare what there is.
const INVENTORY_FILE: &str = "trust/inventory.toml";
/// The folder of an organisation's own commitments, documents and frameworks.
const OWN_FOLDER: &str = "trust/commitments";

/// The trust machinery of one server.
pub(crate) struct Trust {
    folder: PathBuf,
    root_key: PathBuf,
    environment_id: String,
    organisation: Organisation,
    contacts: Vec<String>,
    registry: Registry,
    ledger: Mutex<Ledger>,
    at_work: Mutex<()>,
    address: OnceLock<SocketAddr>,
    components: OnceLock<SocketAddr>,
    started: (Instant, Duration),
    site: site::Cache,
    pub(crate) gate: Gate,
    pub(crate) codes: Codes,
    pub(crate) pager: Arc<Pager>,
    pub(crate) intakes: pickup::Intakes,
}

/// What came of one run of a check.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ran {
    /// Which check.
    pub(crate) check: String,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// How many subjects it looked at.
    pub(crate) subjects: usize,
    /// What it found.
    pub(crate) findings: Vec<creta_compliance::Finding>,
    /// Why it could not look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) could_not: Option<String>,
    /// Index of its entry in the log.
    pub(crate) log_index: u64,
}

impl Trust {
    /// Loads the commitments, the organisation's own among them, and all evidence that the log knows of.
    pub(crate) fn open(folder: &Path, config: &Config, control: &ControlPlane) -> Result<Self, Problem> {
        let own = folder.join(OWN_FOLDER);
        let registry = Registry::load(own.is_dir().then_some(own.as_path()))
            .map_err(|error| Problem::new("trust/commitments", error.to_string()))?;
        let clock = &control.platform().clock;
        let trust = Self {
            folder: folder.to_owned(),
            root_key: config.root_key_file(folder),
            environment_id: config.environment_id.clone(),
            organisation: config.organisation.clone(),
            contacts: config.security_contacts.clone(),
            registry,
            ledger: Mutex::default(),
            at_work: Mutex::default(),
            address: OnceLock::new(),
            components: OnceLock::new(),
            started: (clock.now(), clock.monotonic()),
            site: site::Cache::default(),
            gate: Gate::default(),
            codes: Codes::new(&control.own_key().derive(CODES_LABEL)),
            pager: Arc::new(Pager::new(
                format!("server/{}", config.environment_id),
                folder,
                Arc::clone(&control.platform().files),
                Arc::clone(clock),
                config.on_call.clone(),
            )),
            intakes: pickup::Intakes::new(&config.intake, control)?,
        };
        trust.catch_up(control)?;
        trust.date_text(control)?;
        Ok(trust)
    }

    /// Says where the server can be reached; checks cannot look before.
    pub(crate) fn serves_at(&self, address: SocketAddr) {
        let _ = self.address.set(address); // The same server says it once.
    }

    /// Says where it takes components alone.
    pub(crate) fn serves_components_at(&self, address: SocketAddr) {
        let _ = self.components.set(address); // The same server says it once.
    }

    /// Where it takes components alone, if it does.
    pub(crate) fn components_address(&self) -> Option<SocketAddr> {
        self.components.get().copied()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn contacts(&self) -> &[String] {
        &self.contacts
    }

    pub(crate) fn organisation(&self) -> &Organisation {
        &self.organisation
    }

    /// Whether checks are at work.
    pub(crate) fn is_checking(&self) -> bool {
        self.at_work.try_lock().is_err()
    }

    fn root_key_file(&self) -> &Path {
        &self.root_key
    }

    /// A scope's name where no tenant may be named: the same scope has the same name, which says nothing else.
    fn subject_of(&self, control: &ControlPlane, scope: &Scope) -> String {
        let mark = control.own_key().mac("creta.trust/1 subject", &[scope.path().as_bytes()]);
        format!("scope:{}", hex::encode(&mark[..6]))
    }

    /// What people declared. The error says what to do.
    pub(crate) fn declared(&self) -> Result<Inventory, String> {
        let file = self.folder.join(INVENTORY_FILE);
        if !file.exists() {
            return Err("no inventory was declared; run `creta trust inventory --declare`".to_owned());
        }
        Inventory::load(&file).map_err(|error| error.to_string())
    }

    /// What runs.
    pub(crate) fn observed(&self, control: &ControlPlane) -> Result<Inventory, Problem> {
        let failed =
            || Problem::new("busy/starting", "the server does not listen yet").with_help("try again in a second");
        let address = *self.address.get().ok_or_else(failed)?;
        observed::observe(&self.folder, control, &self.intakes, address, self.components_address()).map_err(|error| {
            tracing::error!(%error, "the running system could not be looked at");
            crate::problem::internal()
        })
    }

    /// Declares what runs, with `owner` and `region` for what nobody has answered for. Gives what was written.
    pub(crate) fn declare(
        &self,
        control: &ControlPlane,
        owner: Option<&str>,
        region: Option<&str>,
        permit: &creta_audit::Permit,
    ) -> Result<Inventory, Problem> {
        let observed = self.observed(control)?;
        let mut inventory = match self.declared() {
            Ok(known) => known.updated(&observed),
            Err(_) => observed,
        };
        for item in &mut inventory.items {
            item.owner = item.owner.take().or_else(|| owner.map(str::to_owned));
            item.region = item.region.take().or_else(|| region.map(str::to_owned));
        }
        let text = inventory.to_toml();
        control.platform().files.replace(INVENTORY_FILE, text.as_bytes()).map_err(|error| {
            tracing::error!(%error, "the inventory could not be written");
            crate::problem::internal()
        })?;
        let digest = Details::none()
            .digest("inventory", *Hash::of(&[text.as_bytes()]).as_bytes())
            .and_then(|details| details.count("items", inventory.items.len() as u64))
            .map_err(|e| from_audit(&e))?;
        control.record(Event::of(permit, "inventory.declared").with(digest));
        Ok(inventory)
    }

    // Checks.

    /// Runs the checks of these ids, or all, one after another, whatever else goes on. Evidence is recorded before this
    /// returns.
    pub(crate) fn run(&self, app: &App, wanted: Option<&[String]>) -> Result<Vec<Ran>, Problem> {
        let chosen = |check: &&&dyn Check| wanted.is_none_or(|ids| ids.iter().any(|id| id == check.id()));
        if let Some(unknown) = wanted.into_iter().flatten().find(|id| CHECKS.iter().all(|check| check.id() != *id)) {
            let ids: Vec<&str> = CHECKS.iter().map(|check| check.id()).collect();
            return Err(Problem::new("not-found/check", format!("there is no check `{unknown}`"))
                .with_help(format!("checks are {}", ids.join(", "))));
        }
        let _turn = lock(&self.at_work);
        self.catch_up(&app.control)?;
        let ready = self.prepare(app);
        CHECKS.iter().filter(chosen).map(|check| self.run_one(app, *check, &ready)).collect()
    }

    /// Runs the checks whose evidence will soon be out of date.
    pub(crate) fn run_due(&self, app: &App) -> Result<usize, Problem> {
        self.catch_up(&app.control)?;
        let now = app.control.platform().clock.now();
        let due: Vec<String> =
            CHECKS.iter().map(|check| check.id()).filter(|id| self.is_due(id, now)).map(str::to_owned).collect();
        if due.is_empty() {
            return Ok(0);
        }
        Ok(self.run(app, Some(&due))?.len())
    }

    fn is_due(&self, check: &str, now: Instant) -> bool {
        let using = self.registry.commitments().filter(|commitment| commitment.checks.iter().any(|id| id == check));
        let Some(freshness) = using.map(|commitment| commitment.freshness()).min() else { return false };
        let between = Span::from_micros(freshness.micros() / RUNS_PER_FRESHNESS).expect("a part of a span is one");
        lock(&self.ledger).latest(check).is_none_or(|latest| latest.observed_at.plus(between) <= now)
    }

    /// What all checks need; the error is every check's reason why it could not look.
    fn prepare(&self, app: &App) -> Result<(SocketAddr, Client, Probes), String> {
        let address = *self.address.get().ok_or("the server does not listen yet")?;
        let client = Client::new(&self.folder.join("tls/ca.pem"), observed::reachable(address))?;
        let probes = Probes::ensure(app, &client)?;
        Ok((address, client, probes))
    }

    fn run_one(
        &self,
        app: &App,
        check: &dyn Check,
        ready: &Result<(SocketAddr, Client, Probes), String>,
    ) -> Result<Ran, Problem> {
        let clock = &app.control.platform().clock;
        let looked = ready.as_ref().map_err(Clone::clone).and_then(|(address, client, probes)| {
            let (wall, monotonic) = self.started;
            let passed = clock.monotonic().saturating_sub(monotonic);
            let by_wall = Duration::from_micros(
                u64::try_from(clock.now().micros().saturating_sub(wall.micros())).unwrap_or_default(),
            );
            let world = World {
                app,
                folder: &self.folder,
                address: *address,
                client,
                probes,
                clock_drift: passed.abs_diff(by_wall),
            };
            let noticed = check.notices_planted_fault(&world)?;
            Ok((noticed, check.observe(&world)?))
        });
        let observed_at = clock.now();
        let (noticed, seen) = match looked {
            Ok((noticed, seen)) => (noticed, seen),
            Err(reason) => (false, Observation { could_not: Some(reason), ..Observation::default() }),
        };
        let evidence = self.judge(app, check.id(), noticed, observed_at, seen)?;
        let log_index = self.keep(app, &evidence)?;
        if evidence.outcome != Outcome::Pass {
            tracing::warn!(check = evidence.check, outcome = evidence.outcome.as_str(), "a check did not pass");
        }
        Ok(Ran {
            check: evidence.check,
            outcome: evidence.outcome,
            subjects: evidence.subjects.len(),
            findings: evidence.findings,
            could_not: evidence.could_not,
            log_index,
        })
    }

    fn judge(
        &self,
        app: &App,
        id: &str,
        noticed_planted_fault: bool,
        observed_at: Instant,
        seen: Observation,
    ) -> Result<Evidence, Problem> {
        let control = &app.control;
        let definition = self.registry.check(id).ok_or_else(|| {
            tracing::error!(check = id, "a check is not in the registry");
            crate::problem::internal()
        })?;
        let collector = Collector {
            name: format!("server/{}", self.environment_id),
            place: "server process".to_owned(),
            environment: control.environment().clone(),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut run = [0; 16];
        control.platform().random.fill(&mut run);
        let commitments: Vec<CommitmentId> = self
            .registry
            .commitments()
            .filter(|commitment| commitment.checks.iter().any(|check| check == id))
            .map(|commitment| commitment.id.clone())
            .collect();
        let run = Run {
            id: hex::encode(run),
            since: lock(&self.ledger).latest(id).map(|latest| latest.observed_at),
            observed_at,
            received_at: control.platform().clock.now(),
            noticed_planted_fault,
        };
        Ok(Evidence::judge(definition, commitments, &collector, run, seen))
    }

    /// Puts evidence into the log, then among the documents, and counts it. Gives its index in the log.
    fn keep(&self, app: &App, evidence: &Evidence) -> Result<u64, Problem> {
        let control = &app.control;
        lock(&self.ledger).require_new(evidence).map_err(|error| Problem::new("trust/evidence", error.to_string()))?;
        let bytes = evidence.to_bytes();
        let digest = Hash::of(&[&bytes]);
        let details = Details::none()
            .name(detail::CHECK, evidence.check.clone())
            .and_then(|details| details.digest(detail::EVIDENCE, *digest.as_bytes()))
            .and_then(|details| details.digest(detail::POPULATION, *evidence.population.as_bytes()))
            .and_then(|details| details.count(detail::SUBJECTS, evidence.subjects.len() as u64))
            .and_then(|details| details.instant(detail::OBSERVED_AT, evidence.observed_at))
            .and_then(|details| details.name(detail::RUN, evidence.run.clone()))
            .map_err(|e| from_audit(&e))?;
        let event = Event::new(Ledger::action(evidence.outcome), control.place()).with(details);
        let index = control.log().record(event).map_err(|e| from_audit(&e))?;
        control
            .metadata()
            .write(EVIDENCE_KIND, &digest.to_string(), None, &bytes)
            .map_err(|error| from_store(&error))?;
        self.catch_up(control)?;
        Ok(index)
    }

    // What is known.

    /// Reads what the log has gained.
    fn catch_up(&self, control: &ControlPlane) -> Result<(), Problem> {
        let mut ledger = lock(&self.ledger);
        let size = control.log().size();
        while ledger.lines() < size {
            let start = ledger.lines();
            let entries =
                control.log().entries(start..size.min(start + LINES_AT_A_TIME)).map_err(|e| from_audit(&e))?;
            for (index, entry) in (start..).zip(&entries) {
                ledger.read(LogLine {
                    index,
                    time: entry.time,
                    action: &entry.action,
                    refused: entry.decision == Some(creta_audit::Outcome::Deny) || entry.action.ends_with(".refused"),
                    commitment: entry.commitment.as_deref(),
                    details: &entry.details,
                });
            }
        }
        Ok(())
    }

    /// All recorded runs of all checks.
    fn all_recorded(&self) -> Vec<Recorded> {
        let ledger = lock(&self.ledger);
        self.registry.checks().flat_map(|check| ledger.runs(&check.id).to_vec()).collect()
    }

    /// The stored bytes of a piece of evidence, whatever they are.
    fn stored(&self, control: &ControlPlane, recorded: &Recorded) -> Result<Vec<u8>, String> {
        let id = recorded.evidence.to_string();
        match control.metadata().read(EVIDENCE_KIND, &id) {
            Ok(Some(document)) => Ok(document.body),
            Ok(None) => Err("the evidence that the log names is gone".to_owned()),
            Err(error) => Err(format!("the evidence that the log names cannot be read: {error}")),
        }
    }

    /// A piece of evidence, proven to be what entry `recorded.index` of the log says, within the newest checkpoint (R4).
    fn proven(&self, control: &ControlPlane, recorded: &Recorded, signed: &str) -> Result<Evidence, String> {
        let bytes = self.stored(control, recorded)?;
        if Hash::of(&[&bytes]) != recorded.evidence {
            return Err("it was changed after it was logged".to_owned());
        }
        let names = format!("\"{}\":\"sha256:{}\"", detail::EVIDENCE, recorded.evidence);
        Self::require_in_log(control, recorded.index, signed, &names)?;
        Evidence::parse(&bytes).map_err(|error| error.to_string())
    }

    /// Proves that an entry stands in the log within a checkpoint, and that it says `names`.
    fn require_in_log(control: &ControlPlane, index: u64, signed: &str, names: &str) -> Result<(), String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let log = control.log();
        let checkpoint = verify::verify_checkpoint(signed, &log.verifier_key()).map_err(|error| said(&error))?;
        let proof = log.prove_inclusion(index, checkpoint.size).map_err(|error| said(&error))?;
        let entry = log.entry_bytes(index).map_err(|error| said(&error))?;
        verify::verify_inclusion(&entry, index, checkpoint.size, &proof, &checkpoint.root)
            .map_err(|error| said(&error))?;
        if String::from_utf8_lossy(&entry).contains(names) {
            Ok(())
        } else {
            Err("the entry of the log does not name it".to_owned())
        }
    }

    /// The report of this moment.
    pub(crate) fn report(&self, control: &ControlPlane) -> Result<TrustReport, Problem> {
        self.catch_up(control)?;
        let signed = control.log().checkpoint().map_err(|e| from_audit(&e))?;
        let claimed = signed.claimed();
        let log = LogPosition {
            origin: claimed.origin.clone(),
            size: claimed.size,
            root: claimed.root.to_base64(),
            verifier_key: control.log().verifier_key(),
            witnesses: cosigners(control).into_iter().filter_map(|(name, at)| at.map(|_| name)).collect(),
        };
        let ledger = lock(&self.ledger);
        self.require_dated(control, &ledger, signed.as_str())?;
        Ok(report(&ReportInput {
            registry: &self.registry,
            ledger: &ledger,
            organisation: &self.organisation,
            environment: control.environment(),
            log,
            now: control.platform().clock.now(),
            fetch: &|recorded| self.proven(control, recorded, signed.as_str()),
            fetch_artefact: &|recorded| Self::proven_artefact(control, recorded, signed.as_str()),
        }))
    }
}

/// The witnesses of this log, each with the time of its last cosignature.
fn cosigners(control: &ControlPlane) -> Vec<(String, Option<Instant>)> {
    control.witnesses().cosigned_at().map(|(name, at)| (name.to_owned(), at)).collect()
}

/// Copies a folder with all that is in it. Links are not followed: there are none.
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_that_the_registry_names_is_written_and_every_written_one_is_named() {
        let registry = Registry::load(None).expect("the commitments of this build load");
        let mut named: Vec<&str> = registry.checks().map(|check| check.id.as_str()).collect();
        let mut written: Vec<&str> = CHECKS.iter().map(|check| check.id()).collect();
        named.sort_unstable();
        written.sort_unstable();
        assert_eq!(written, named);
    }
}
