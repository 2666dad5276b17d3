//! `creta witness`: run a witness, and watch a log together with its witness. Also what the operator of a log does about
//! witnesses: name one, declare a fork, answer for an older copy.

use std::path::Path;
use std::time::Duration;

use creta_audit::Entry;
use creta_model::{Environment, Instant, Problem, TenantId};
use creta_platform::{Clock as _, SystemClock};
use creta_proof::verify::verify_consistency;
use creta_proof::{Hash, SignedCheckpoint, VerifierKey};
use creta_server::witness::monitor::{Alarm, SEEN_FORMAT, Seen, check_cosignature};
use creta_server::witness::{
    self, ForkNotice, RunningWitness, WatchedLog, WitnessClient, WitnessOptions, WitnessServeOptions,
};
use serde::{Deserialize, Serialize};

use super::connect;
use super::server::failed;
use crate::args::{Monitor, ServerWitnessCommand, WitnessCommand};
use crate::failure::{Exit, Failure};
use crate::http::Server;
use crate::profile::write_private;
use crate::terminal::{Terminal, grouped};

/// Entries that are asked for at a time.
const PAGE: u64 = 1_000;

pub(crate) fn run(command: WitnessCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        WitnessCommand::Init { data, name, listen, host } => {
            let mut options = WitnessOptions { names: host, ..WitnessOptions::named(name) };
            options.listen = listen.unwrap_or(options.listen);
            let made = witness::init(&data, &options).map_err(|error| failed(&error))?;
            terminal.show(&made, || {
                format!(
                    "made a witness\n  address    {}\n  authority  {}   give it to the operators of logs\n  \
                     key        {}   give it to them, and to everybody who should believe this witness\n\
                     next: creta witness add-log --data {} --key KEY",
                    made.url,
                    made.ca.display(),
                    made.key,
                    made.folder.display(),
                )
            });
            Ok(())
        }
        WitnessCommand::AddLog { data, key } => {
            let log = witness::add_log(&data, &key).map_err(|error| failed(&error))?;
            terminal.show(&log, || format!("watching {}", log.key));
            Ok(())
        }
        WitnessCommand::Admit { data, environment, environment_id, ca, component } => {
            let named = Environment::parse(environment.as_str())
                .map_err(|error| Failure::usage("witness/environment", error.to_string(), "name the environment"))?;
            witness::admit(&data, &named, &environment_id, &ca, &component).map_err(|error| failed(&error))?;
            let shown = serde_json::json!({ "environment": environment, "components": component });
            terminal.show(&shown, || {
                let names = component.join(", ");
                format!("from the next start on `{environment}` is let in as {names}, and nobody who is not named so")
            });
            Ok(())
        }
        WitnessCommand::Start { data, listen } => {
            let options = WitnessServeOptions { folder: data, listen };
            let said = |witness: &RunningWitness| {
                let shown = serde_json::json!({
                    "url": witness.url(), "key": witness.key(), "pid": std::process::id(),
                });
                terminal.show(&shown, || format!("witnessing at {}; ctrl-c stops it", witness.url()));
            };
            witness::serve(&options, said).map_err(|error| failed(&error))
        }
        WitnessCommand::Status { data } => {
            let logs = witness::watched_logs(&data).map_err(|error| failed(&error))?;
            terminal.show(&logs, || logs.iter().map(log_lines).collect::<Vec<_>>().join("\n"));
            Ok(())
        }
        WitnessCommand::AcceptFork { data, notice } => {
            let text = std::fs::read_to_string(&notice).map_err(|error| Failure::file("read", &notice, &error))?;
            let parsed: ForkNotice = serde_json::from_str(&text).map_err(|error| {
                let message = format!("`{}` is not a fork notice: {error}", notice.display());
                Failure::usage("witness/fork-notice", message, "name a file that `creta audit fork` wrote")
            })?;
            let log = witness::accept_fork(&data, &parsed).map_err(|error| failed(&error))?;
            terminal.show(&log, || format!("accepted; both heads stay on record\n{}", log_lines(&log)));
            Ok(())
        }
        WitnessCommand::Monitor(monitor) => run_monitor(&monitor, terminal),
    }
}

fn log_lines(log: &WatchedLog) -> String {
    let head = |note: &str| SignedCheckpoint::parse(note).map(|signed| signed.claimed().clone());
    let shown = |note: &str| match head(note) {
        Ok(head) => format!("{} entries, root {}", grouped(head.size), head.root.to_base64()),
        Err(error) => error.to_string(),
    };
    let mut lines = vec![log.key.clone()];
    let newest = log.checkpoint.as_deref().map_or_else(|| "nothing cosigned yet".to_owned(), shown);
    lines.push(format!("  newest    {newest}"));
    for fork in &log.forks {
        lines.push(format!("  fork      accepted {}: {}", fork.accepted, fork.reason));
        lines.push(format!("    left    {}", shown(&fork.left)));
        lines.push(format!("    taken   {}", shown(&fork.taken)));
    }
    for evidence in &log.evidence {
        lines.push(format!("  EVIDENCE  {}: the log has signed two histories", evidence.received));
        lines.push(format!("    first   {}", shown(&evidence.cosigned)));
        lines.push(format!("    then    {}", shown(&evidence.contradicting)));
    }
    lines.join("\n")
}

/// Names a witness to a server.
pub(super) fn add_to_server(command: ServerWitnessCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let ServerWitnessCommand::Add { data, url, key, ca } = command;
    let added = creta_server::add_witness(&data, &url, &key, &ca).map_err(|error| failed(&error))?;
    terminal.show(&added, || {
        format!(
            "the log is sent to {} from the next start of the server on\nnext: creta server start --data {}",
            added.url,
            data.display()
        )
    });
    Ok(())
}

/// Declares that the log goes on from an older copy.
pub(super) fn fork(data: &Path, reason: &str, out: &Path, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let notices = creta_server::declare_fork(data, reason, out).map_err(|error| failed(&error))?;
    let shown = serde_json::json!({ "notices": notices.len(), "folder": out });
    terminal.show(&shown, || {
        let mut lines = vec!["the fork stands in the log; give each notice to whoever runs that witness".to_owned()];
        for (number, notice) in (1..).zip(&notices) {
            lines.push(format!("  {}   for {}", out.join(format!("fork-{number}.json")).display(), notice.witness));
        }
        lines.push("next: creta witness accept-fork --data FOLDER NOTICE".to_owned());
        lines.join("\n")
    });
    Ok(())
}

/// Answers for an older copy.
pub(super) fn accept_older(
    data: &Path,
    tenant: Option<&str>,
    reason: &str,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let tenant = tenant.map(TenantId::parse).transpose();
    let tenant = tenant.map_err(|error| Failure::usage("request/tenant", error.to_string(), "name the tenant"))?;
    let entries = creta_server::accept_older(data, tenant.as_ref(), reason).map_err(|error| failed(&error))?;
    let shown = serde_json::json!({ "entries": entries });
    terminal.show(&shown, || {
        let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
        format!("accepted; it stands in the log as entries {}", entries.join(", "))
    });
    Ok(())
}

/// What one round found.
#[derive(Debug, Serialize)]
struct Round {
    time: Instant,
    entries: u64,
    alarms: Vec<Alarm>,
}

/// What is watched, and what is believed.
struct Watching {
    server: Server,
    log_key: VerifierKey,
    witness: Option<(WitnessClient, VerifierKey)>,
}

fn run_monitor(monitor: &Monitor, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let key = |text: &str| {
        let help = "give the key as it was shown when the log or the witness was made";
        VerifierKey::parse(text).map_err(|error| Failure::usage("monitor/key", error.to_string(), help))
    };
    let witness = match (&monitor.witness_url, &monitor.witness_key, &monitor.witness_ca) {
        (Some(url), Some(witness), Some(ca)) => Some((witness_client(url, ca, monitor)?, key(witness)?)),
        _ => None,
    };
    let (server, _) = connect(&monitor.connection)?;
    let watching = Watching { server, log_key: key(&monitor.log_key)?, witness };
    let mut seen = load(&monitor.state, &watching.log_key)?;
    let clock = SystemClock::new();
    loop {
        let now = clock.now();
        let alarms = watching.round(&mut seen, now, monitor);
        store(&monitor.state, &seen)?;
        let round = Round { time: now, entries: seen.size, alarms };
        if monitor.once {
            return round.end(terminal);
        }
        if !round.alarms.is_empty() {
            terminal.show(&round, || round.text());
        }
        std::thread::sleep(Duration::from_micros(monitor.every.micros().unsigned_abs()));
    }
}

/// A client of the witness, which may let in only whoever shows a component's certificate.
fn witness_client(url: &str, ca: &Path, monitor: &Monitor) -> Result<WitnessClient, Failure> {
    let (Some(certificate), Some(key)) = (&monitor.witness_certificate, &monitor.witness_certificate_key) else {
        return Ok(WitnessClient::new(url, ca)?);
    };
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error));
    Ok(WitnessClient::showing(url, ca, Some((&read(certificate)?, &read(key)?)))?)
}

impl Round {
    /// The only round: its alarms are the problems that the command ends with.
    fn end(self, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        if self.alarms.is_empty() {
            terminal.show(&self, || self.text());
            return Ok(());
        }
        let problems =
            self.alarms.into_iter().map(|alarm| Problem::new(format!("monitor/{}", alarm.kind), alarm.message));
        Err(Failure { exit: Exit::Failed, problems: problems.collect() })
    }

    fn text(&self) -> String {
        if self.alarms.is_empty() {
            return format!("{} entries, nothing unusual", grouped(self.entries));
        }
        let lines = self.alarms.iter().map(|alarm| format!("ALARM {} {}: {}", self.time, alarm.kind, alarm.message));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Watching {
    /// One look at everything. What was seen moves on only over what was verified.
    fn round(&self, seen: &mut Seen, now: Instant, monitor: &Monitor) -> Vec<Alarm> {
        let unreachable = |failure: Failure| {
            vec![Alarm::new("unreachable", failure.problems.first().map_or_else(String::new, ToString::to_string))]
        };
        let signed = match self.checkpoint() {
            Ok(Ok(signed)) => signed,
            Ok(Err(alarm)) => return vec![alarm],
            Err(failure) => return unreachable(failure),
        };
        if let Some(alarm) = seen.check_signed(&self.log_key, &signed) {
            return vec![alarm];
        }
        let mut read = seen.clone();
        let mut alarms = match self.read(&mut read, signed.claimed().size) {
            Ok(alarms) => alarms,
            Err(failure) => return unreachable(failure),
        };
        if let Some(alarm) = read.check_root(&signed) {
            return vec![alarm];
        }
        *seen = read;
        alarms.extend(seen.check_silence(now));
        if let Some((client, key)) = &self.witness {
            alarms.extend(self.check_witness(client, key, seen, &signed, now, monitor));
        }
        alarms
    }

    fn checkpoint(&self) -> Result<Result<SignedCheckpoint, Alarm>, Failure> {
        let note = self.server.get_bytes("/v1/audit/checkpoint?newest=true")?;
        let parsed = SignedCheckpoint::parse(&String::from_utf8_lossy(&note));
        Ok(parsed.map_err(|error| Alarm::new("not-signed", error.to_string())))
    }

    /// Reads what is new.
    fn read(&self, seen: &mut Seen, size: u64) -> Result<Vec<Alarm>, Failure> {
        let mut alarms = Vec::new();
        while seen.size < size {
            let (start, limit) = (seen.size, PAGE.min(size - seen.size));
            let page: Page = self.server.get(&format!("/v1/audit/entries?start={start}&limit={limit}"))?;
            // Entries that are left out or added lead to another root.
            if page.entries.is_empty() {
                break;
            }
            alarms.extend(page.entries.iter().take(limit as usize).filter_map(|line| seen.read(&line.entry)));
        }
        Ok(alarms)
    }

    fn check_witness(
        &self,
        client: &WitnessClient,
        key: &VerifierKey,
        seen: &mut Seen,
        signed: &SignedCheckpoint,
        now: Instant,
        monitor: &Monitor,
    ) -> Vec<Alarm> {
        let name = key.name();
        let log = match client.log(self.log_key.name()) {
            Ok(log) => log,
            Err(reason) => {
                return vec![Alarm::new("not-cosigned", format!("witness `{name}` does not answer: {reason}"))];
            }
        };
        let newest = log.as_ref().and_then(|log| SignedCheckpoint::parse(log.checkpoint.as_deref()?).ok());
        let mut alarms = Vec::new();
        if let Some(alarm) = check_cosignature(&self.log_key, key, newest.as_ref(), now, monitor.cosignature_age_max) {
            alarms.push(alarm);
        }
        if let Some(newest) = newest.filter(|newest| newest.verify(&self.log_key).is_ok()) {
            alarms.extend(self.check_same_history(name, &newest, signed));
        }
        let (forks, evidence) = log.map_or((0, 0), |log| (log.forks.len(), log.evidence.len()));
        if forks > seen.forks {
            let message = format!("the operator of witness `{name}` has accepted a fork; ask what was lost");
            alarms.push(Alarm::new("fork-accepted", message));
        }
        if evidence > 0 {
            let message =
                format!("witness `{name}` holds {evidence} checkpoints that contradict what the log had signed");
            alarms.push(Alarm::new("evidence", message));
        }
        seen.forks = seen.forks.max(forks);
        alarms
    }

    /// The log must continue what its witness cosigned.
    fn check_same_history(&self, name: &str, cosigned: &SignedCheckpoint, signed: &SignedCheckpoint) -> Option<Alarm> {
        #[derive(Deserialize)]
        struct Proof {
            proof: Vec<String>,
        }
        let (old, new) = (cosigned.claimed(), signed.claimed());
        // Cosigned after the log was asked: the next round looks at it.
        let grew_meanwhile = || {
            let later = self.checkpoint().ok()?.ok()?;
            (later.claimed().size >= old.size && later.verify(&self.log_key).is_ok()).then_some(later)
        };
        let later;
        let new = if old.size <= new.size {
            new
        } else if let Some(grown) = grew_meanwhile() {
            later = grown;
            later.claimed()
        } else {
            let message = format!("witness `{name}` has cosigned {} entries and the log shows {}", old.size, new.size);
            return Some(Alarm::new("rolled-back", message));
        };
        let proof = self.server.get::<Proof>(&format!("/v1/audit/proof/consistency?old={}&new={}", old.size, new.size));
        let hashes = match proof {
            Ok(proof) => proof.proof.iter().map(|hash| Hash::from_base64(hash)).collect::<Option<Vec<_>>>(),
            Err(_) => None,
        };
        let consistent = verify_consistency(old.size, new.size, &old.root, &new.root, &hashes.unwrap_or_default());
        consistent.err().map(|error| {
            Alarm::new("forked", format!("the log does not continue what witness `{name}` cosigned: {error}"))
        })
    }
}

#[derive(Debug, Deserialize)]
struct Page {
    entries: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    entry: Entry,
}

fn load(file: &Path, key: &VerifierKey) -> Result<Seen, Failure> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Seen::nothing(key)),
        Err(error) => return Err(Failure::file("read", file, &error)),
    };
    let refused = |reason: String| {
        let message = format!("`{}` cannot be used: {reason}", file.display());
        Failure::usage("monitor/state", message, "name another file; a new one begins with the first entry")
    };
    let seen: Seen = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    if seen.format != SEEN_FORMAT || seen.key != key.to_string() {
        return Err(refused("it is about another log, or of another version".to_owned()));
    }
    Ok(seen)
}

fn store(file: &Path, seen: &Seen) -> Result<(), Failure> {
    write_private(file, &serde_json::to_vec(seen).expect("what was seen has a JSON form"))
}
