//! The trust report: every commitment with its state and why. The page, the JSON and `creta trust status` show this and
//! nothing else.

use creta_model::{Environment, Instant, Span};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};

use crate::artefact::{ARTEFACT_SPAN_MAX, Artefact};
use crate::evidence::{Evidence, Finding, Outcome};
use crate::ledger::{DatedText, Ledger, Recorded, RecordedArtefact};
use crate::state::{Interval, PeriodSummary, Seen, State, least, over_period, state_at};
use crate::{Class, Commitment, CommitmentId, Mappings, Pillar, Registry, Software};

/// The form of reports that this build writes.
pub const REPORT_FORMAT: &str = "creta.trust/1";

/// How far back a report looks.
pub const HISTORY: Span = Span::days(90);

/// Who runs this, as the page says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organisation {
    /// Its name.
    pub name: String,
    /// Whom it serves.
    pub mode: Mode,
    /// Set where checks or artefacts are made up for a demonstration; every page then says so.
    #[serde(default)]
    pub demonstration: bool,
}

/// Whom the organisation serves (shown on the page).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Other organisations; its own staff never see customers' values.
    Vendor,
    /// Itself; its data scientists are users of their own tenant.
    InHouse,
}

/// The log that the report's evidence stands in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// Name of the log.
    pub origin: String,
    /// How many entries the checkpoint covers.
    pub size: u64,
    /// Root over them, in base64.
    pub root: String,
    /// By which its checkpoints are recognised.
    pub verifier_key: String,
    /// Names of the witnesses whose cosignatures the checkpoint bears.
    pub witnesses: Vec<String>,
}

/// What a report is made of.
pub struct ReportInput<'a> {
    /// The promises.
    pub registry: &'a Registry,
    /// The evidence.
    pub ledger: &'a Ledger,
    /// Who runs this.
    pub organisation: &'a Organisation,
    /// Which environment.
    pub environment: &'a Environment,
    /// Where the evidence stands.
    pub log: LogPosition,
    /// The instant it speaks of.
    pub now: Instant,
    /// Fetches the evidence of a run, having checked that it is what the log says, within the checkpoint. The error is for
    /// people.
    pub fetch: &'a dyn Fn(&Recorded) -> Result<Evidence, String>,
    /// Fetches the statement about an artefact, having checked it and its file in the same way.
    pub fetch_artefact: &'a dyn Fn(&RecordedArtefact) -> Result<Artefact, String>,
}

/// Every commitment, its state, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustReport {
    /// [`REPORT_FORMAT`].
    pub format: String,
    /// Who runs this.
    pub organisation: Organisation,
    /// Which environment.
    pub environment: Environment,
    /// The instant it speaks of.
    pub generated_at: Instant,
    /// Where its evidence stands.
    pub log: LogPosition,
    /// The texts of these promises that the log dates, newest first.
    #[serde(default)]
    pub texts: Vec<DatedText>,
    /// Commitments that are met now.
    pub met: usize,
    /// All commitments.
    pub total: usize,
    /// How many are in each state, most urgent first.
    pub counts: Vec<(State, usize)>,
    /// The commitments in the order of their ids.
    pub commitments: Vec<CommitmentReport>,
    /// Exceptions that hold now, by when they end. None of them makes anything met.
    #[serde(default)]
    pub exceptions: Vec<ExceptionReport>,
    /// The three pillars.
    pub pillars: Vec<PillarReport>,
    /// What nobody should read into this page.
    pub not_claimed: Vec<String>,
}

/// One commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitmentReport {
    /// Its id.
    pub id: CommitmentId,
    /// Ids that it carries.
    pub folded: Vec<CommitmentId>,
    /// A short name.
    pub title: String,
    /// The promise.
    pub text: String,
    /// How it is kept.
    pub class: Vec<Class>,
    /// Which pillars it belongs to.
    pub pillar: Vec<Pillar>,
    /// What the software does, and refuses.
    pub behaviour: String,
    /// The attack that has to fail.
    pub attack: String,
    /// The tests that attack it at every build.
    pub attack_tests: Vec<String>,
    /// The role that answers for it.
    pub owner: String,
    /// Its state now.
    pub state: State,
    /// Why, in a sentence.
    pub reason: String,
    /// Shown where an artefact from outside is needed: `not held`, or `held`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// What somebody outside issued for it, the newest of each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artefacts: Vec<ArtefactReport>,
    /// What watches it.
    pub checks: Vec<CheckReport>,
    /// How old its oldest counting evidence is, in seconds; absent without evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_age_s: Option<u64>,
    /// Its states over [`HISTORY`].
    pub history: PeriodSummary,
    /// Attempts against it that were refused and recorded within [`HISTORY`].
    pub refusals: u64,
    /// Criteria it answers.
    pub mappings: Mappings,
}

/// An exception that holds: agreed on by two, for a time. Reasons and names are not public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionReport {
    /// What it excepts from.
    pub commitment: String,
    /// Since when.
    pub since: Instant,
    /// The first instant at which it holds no more.
    pub expires: Instant,
    /// Index of the entry in the log by which it was approved.
    pub log_index: u64,
}

/// What somebody outside issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtefactReport {
    /// Which of those that the commitment needs.
    pub kind: String,
    /// Who issued it; absent where what is stored is not what the log names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// When it was issued.
    pub issued: Instant,
    /// The first instant at which it does not count any more.
    pub good_until: Instant,
    /// Whether it counts now.
    pub counts: bool,
    /// Why it does not, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// SHA-256 of the file.
    pub file: Hash,
    /// Index of its entry in the log.
    pub log_index: u64,
}

/// One check of a commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Its id.
    pub id: String,
    /// Its name.
    pub title: String,
    /// Its state now.
    pub state: State,
    /// When it last looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Instant>,
    /// How old that may be.
    pub freshness: Span,
    /// How many subjects it looked at.
    pub subjects: u64,
    /// Index of its entry in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
    /// Digest of the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// What it found, without names of tenants.
    pub findings: Vec<Finding>,
    /// Why it could not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub could_not: Option<String>,
    /// Whether it noticed the fault planted for it.
    pub noticed_planted_fault: bool,
}

/// One pillar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PillarReport {
    /// Which.
    pub pillar: Pillar,
    /// Commitments of it that are met.
    pub met: usize,
    /// All its commitments.
    pub total: usize,
    /// The worst state of the checks that look at this pillar, each by its own freshness; not started when none does.
    pub state: State,
    /// How many things those checks looked at when they last ran.
    pub subjects: u64,
    /// Attempts against commitments of this pillar that were refused and recorded within [`HISTORY`].
    pub refusals: u64,
    /// How much of the time since the first of those checks ran, within [`HISTORY`], all of them passed and were in date, in
    /// parts of a million. Absent while none has run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_ppm: Option<u64>,
}

/// Computes the report. Time O(commitments + runs within [`HISTORY`]); one piece of evidence is fetched per check.
pub fn report(input: &ReportInput<'_>) -> TrustReport {
    let checks: Vec<Watched> =
        input.registry.checks().map(|check| Watched::of(input, &check.id, &check.title)).collect();
    let commitments: Vec<CommitmentReport> =
        input.registry.commitments().map(|commitment| of_commitment(input, &checks, commitment)).collect();
    let in_state = |state| commitments.iter().filter(|report| report.state == state).count();
    TrustReport {
        format: REPORT_FORMAT.to_owned(),
        organisation: input.organisation.clone(),
        environment: input.environment.clone(),
        generated_at: input.now,
        log: input.log.clone(),
        texts: input.ledger.texts().iter().rev().cloned().collect(),
        met: in_state(State::Met),
        total: commitments.len(),
        counts: State::ALL.into_iter().map(|state| (state, in_state(state))).collect(),
        exceptions: exceptions(input),
        pillars: Pillar::ALL.into_iter().map(|pillar| of_pillar(input, pillar, &checks, &commitments)).collect(),
        commitments,
        not_claimed: input.registry.not_claimed().map(str::to_owned).collect(),
    }
}

/// A check's evidence, fetched once for all its commitments.
struct Watched {
    id: String,
    title: String,
    runs: Vec<crate::state::Seen>,
    latest: Option<Recorded>,
    evidence: Option<Result<Evidence, String>>,
}

impl Watched {
    fn of(input: &ReportInput<'_>, id: &str, title: &str) -> Self {
        let latest = input.ledger.latest(id).cloned();
        let evidence = latest.as_ref().map(|latest| {
            let evidence = (input.fetch)(latest)?;
            let fits = evidence.check == id
                && evidence.outcome == latest.outcome
                && evidence.observed_at == latest.observed_at
                && evidence.digest() == latest.evidence;
            if fits { Ok(evidence) } else { Err("it is not the evidence that the log names".to_owned()) }
        });
        Self { id: id.to_owned(), title: title.to_owned(), runs: input.ledger.seen(id), latest, evidence }
    }

    fn report(&self, freshness: Span, now: Instant) -> CheckReport {
        let state = match &self.evidence {
            Some(Err(_)) => State::Failing,
            _ => state_at(&self.runs, freshness, now),
        };
        let evidence = self.evidence.as_ref().and_then(|evidence| evidence.as_ref().ok());
        let tampered = self.evidence.as_ref().and_then(|evidence| evidence.as_ref().err()).map(|reason| {
            Finding::new("evidence", "evidence/not-in-log", format!("the stored evidence does not count: {reason}"))
        });
        CheckReport {
            id: self.id.clone(),
            title: self.title.clone(),
            state,
            observed_at: self.latest.as_ref().map(|latest| latest.observed_at),
            freshness,
            subjects: self.latest.as_ref().map_or(0, |latest| latest.subjects),
            log_index: self.latest.as_ref().map(|latest| latest.index),
            evidence: self.latest.as_ref().map(|latest| latest.evidence.to_string()),
            findings: tampered
                .into_iter()
                .chain(evidence.into_iter().flat_map(|evidence| evidence.findings.iter().cloned()))
                .collect(),
            could_not: evidence.and_then(|evidence| evidence.could_not.clone()),
            noticed_planted_fault: evidence.is_some_and(|evidence| evidence.noticed_planted_fault),
        }
    }
}

fn of_commitment(input: &ReportInput<'_>, watched: &[Watched], commitment: &Commitment) -> CommitmentReport {
    let (now, freshness) = (input.now, commitment.freshness());
    let own: Vec<&Watched> = watched.iter().filter(|watched| commitment.checks.contains(&watched.id)).collect();
    let checks: Vec<CheckReport> = own.iter().map(|watched| watched.report(freshness, now)).collect();
    let (artefacts, issued) = artefacts(input, commitment);
    let held = commitment.outside.then(|| is_held(commitment, &artefacts));
    let (state, reason) = judge(commitment, &checks, held);
    let from = now.minus(HISTORY);
    let mut timelines: Vec<Vec<Interval>> =
        own.iter().map(|watched| over_period(&watched.runs, freshness, from, now)).collect();
    timelines.extend(issued.iter().map(|(runs, good_for)| {
        let mut spans = over_period(runs, *good_for, from, now);
        // What is not held is not started: nobody failed to look.
        spans.iter_mut().filter(|span| span.state != State::Met).for_each(|span| span.state = State::NotStarted);
        spans
    }));
    let mut intervals = least(&timelines);
    if intervals.is_empty() {
        intervals.push(Interval { from, until: now, state: State::NotStarted });
    }
    if !is_complete(commitment) {
        // Half of a promise is not the promise: good times do not count until the rest is there.
        intervals.iter_mut().filter(|span| span.state == State::Met).for_each(|span| span.state = State::NotStarted);
    }
    let oldest = checks.iter().filter_map(|check| check.observed_at).min();
    CommitmentReport {
        id: commitment.id.clone(),
        folded: commitment.folded.clone(),
        title: commitment.title.clone(),
        text: commitment.text.clone(),
        class: commitment.class.clone(),
        pillar: commitment.pillar.clone(),
        behaviour: commitment.behaviour.clone(),
        attack: commitment.attack.clone(),
        attack_tests: commitment.attack_tests.clone(),
        owner: commitment.owner.clone(),
        state,
        reason,
        held: held.map(|held| if held { "held" } else { "not held" }.to_owned()),
        artefacts,
        evidence_age_s: oldest
            .map(|oldest| u64::try_from((now.micros() - oldest.micros()).max(0) / 1_000_000).expect("not negative")),
        history: PeriodSummary::of(intervals),
        refusals: std::iter::once(&commitment.id)
            .chain(&commitment.folded)
            .map(|id| input.ledger.refusals(id.as_str(), HISTORY, now))
            .sum(),
        mappings: commitment.mappings.clone(),
        checks,
    }
}

/// Whether every mechanism that the row's class names has something behind it. What people outside do is shown by what they
/// issue; what the organisation's own people do is not watched yet.
fn is_complete(commitment: &Commitment) -> bool {
    let by_people = commitment.class.contains(&Class::Programme);
    commitment.software == Software::Here
        && !commitment.checks.is_empty()
        && (!by_people || !commitment.artefacts.is_empty())
        && (!commitment.outside || !commitment.artefacts.is_empty())
}

/// Exceptions that hold, the next to end first.
fn exceptions(input: &ReportInput<'_>) -> Vec<ExceptionReport> {
    let holding = input.ledger.exceptions().filter(|exception| exception.holds(input.now));
    let mut reports: Vec<ExceptionReport> = holding
        .filter_map(|exception| {
            let (since, log_index) = exception.approved?;
            Some(ExceptionReport {
                commitment: exception.commitment.clone(),
                since,
                expires: exception.expires,
                log_index,
            })
        })
        .collect();
    reports.sort_by_key(|report| (report.expires, report.log_index));
    reports
}

/// The newest artefact of each kind that a commitment needs, and for its history when each kind was held: as runs of a
/// check that pass when an artefact comes in and fail when it ends.
fn artefacts(input: &ReportInput<'_>, commitment: &Commitment) -> (Vec<ArtefactReport>, Vec<(Vec<Seen>, Span)>) {
    let (mut reports, mut histories) = (Vec::new(), Vec::new());
    for needed in &commitment.artefacts {
        let is_it = |recorded: &&RecordedArtefact| {
            recorded.kind == needed.kind && commitment.ids().any(|id| id.as_str() == recorded.commitment)
        };
        let all: Vec<&RecordedArtefact> = input.ledger.artefacts().iter().filter(is_it).collect();
        let good_until =
            |recorded: &RecordedArtefact| recorded.expires.min(recorded.issued.plus(needed.good_for.span()));
        let report = |recorded: &&RecordedArtefact| {
            let fetched = (input.fetch_artefact)(recorded);
            let good_until = good_until(recorded);
            let because = match &fetched {
                Err(reason) => Some(format!("what is stored does not count: {reason}")),
                Ok(_) if good_until <= input.now => Some("it has expired".to_owned()),
                Ok(_) => None,
            };
            ArtefactReport {
                kind: recorded.kind.clone(),
                issuer: fetched.ok().map(|artefact| artefact.issuer),
                issued: recorded.issued,
                good_until,
                counts: because.is_none(),
                because,
                file: recorded.file,
                log_index: recorded.index,
            }
        };
        // Of several the one that counts longest; an older one is no worse for a newer that was edited.
        let best = all.iter().map(report).max_by_key(|report| (report.counts, report.good_until, report.log_index));
        let good = all.iter().map(|recorded| (recorded.received_at, good_until(recorded)));
        let mut edges: Vec<Instant> = good.clone().flat_map(|(from, until)| [from, until]).collect();
        edges.retain(|edge| *edge <= input.now);
        edges.sort_unstable();
        edges.dedup();
        let held_at = |at: Instant| good.clone().any(|(from, until)| from <= at && at < until);
        let outcome = |at| if held_at(at) { Outcome::Pass } else { Outcome::Unknown };
        histories.push((edges.into_iter().map(|at| Seen { at, outcome: outcome(at) }).collect(), ARTEFACT_SPAN_MAX));
        reports.extend(best);
    }
    (reports, histories)
}

fn is_held(commitment: &Commitment, artefacts: &[ArtefactReport]) -> bool {
    let held = |kind: &str| artefacts.iter().any(|artefact| artefact.kind == kind && artefact.counts);
    !commitment.artefacts.is_empty() && commitment.artefacts.iter().all(|needed| held(&needed.kind))
}

fn judge(commitment: &Commitment, checks: &[CheckReport], held_from_outside: Option<bool>) -> (State, String) {
    let worst = checks.iter().min_by_key(|check| check.state);
    if held_from_outside == Some(false) && worst.is_none_or(|worst| worst.state >= State::NotStarted) {
        return (
            State::NotStarted,
            "not held: nobody outside has issued what this needs, or it has expired".to_owned(),
        );
    }
    let Some(worst) = worst else {
        return match commitment.software {
            Software::ToCome if held_from_outside == Some(true) => {
                (State::NotStarted, "held: what it needs from outside is there; the rest of it is to come".to_owned())
            }
            Software::ToCome => (State::NotStarted, "the software for it is to come".to_owned()),
            Software::Here => (State::NotStarted, "nothing watches it yet".to_owned()),
        };
    };
    let title = &worst.title;
    match worst.state {
        State::Failing => {
            let what = worst.findings.first().map_or("it found something wrong", |finding| finding.says.as_str());
            (State::Failing, format!("{title}: {what}"))
        }
        State::Unknown => {
            let why = worst.could_not.as_deref().unwrap_or("it could not look");
            (State::Unknown, format!("{title}: {why}"))
        }
        State::Stale => (State::Stale, format!("{title}: nobody has looked for longer than {}", worst.freshness)),
        State::NotStarted => (State::NotStarted, format!("{title}: it has not run yet")),
        State::Met if is_complete(commitment) => (State::Met, held(checks)),
        State::Met => {
            (State::NotStarted, format!("what is watched holds ({}); the rest of it is to come", held(checks)))
        }
    }
}

fn held(checks: &[CheckReport]) -> String {
    let titles: Vec<&str> = checks.iter().map(|check| check.title.as_str()).collect();
    titles.join("; ")
}

/// A pillar by the checks that look at it and that some promise rests on. What else a promise needs does not colour it, or one
/// leak would show as lost integrity wherever one promise protects both.
fn of_pillar(
    input: &ReportInput<'_>,
    pillar: Pillar,
    watched: &[Watched],
    commitments: &[CommitmentReport],
) -> PillarReport {
    let own = || commitments.iter().filter(move |report| report.pillar.contains(&pillar));
    let looking: Vec<(&Watched, CheckReport)> = input
        .registry
        .checks()
        .filter(|check| check.pillar == pillar)
        .filter(|check| commitments.iter().any(|report| report.checks.iter().any(|own| own.id == check.id)))
        .filter_map(|check| Some((watched.iter().find(|watched| watched.id == check.id)?, check.freshness.span())))
        .filter(|(watched, _)| watched.latest.is_some())
        .map(|(watched, freshness)| (watched, watched.report(freshness, input.now)))
        .collect();
    let since = looking.iter().filter_map(|(watched, _)| watched.runs.first().map(|first| first.at)).min();
    let held = since.map(|since| {
        let from = since.max(input.now.minus(HISTORY));
        let timelines: Vec<Vec<Interval>> = looking
            .iter()
            .map(|(watched, report)| {
                let mut spans = over_period(&watched.runs, report.freshness, from, input.now);
                // Before its first run a check says nothing about the others.
                spans.retain(|span| span.state != State::NotStarted);
                spans
            })
            .collect();
        PeriodSummary::of(least(&timelines)).met_ppm
    });
    PillarReport {
        pillar,
        met: own().filter(|report| report.state == State::Met).count(),
        total: own().count(),
        state: looking.iter().map(|(_, report)| report.state).min().unwrap_or(State::NotStarted),
        subjects: looking.iter().map(|(_, report)| report.subjects).sum(),
        refusals: own().map(|report| report.refusals).sum(),
        held_ppm: held,
    }
}

impl TrustReport {
    /// The commitment of an id, or the one that carries it.
    pub fn commitment(&self, id: &CommitmentId) -> Option<&CommitmentReport> {
        self.commitments.iter().find(|report| report.id == *id || report.folded.contains(id))
    }

    /// Whether something is wrong that somebody should look at: a failing, unknown or stale commitment.
    pub fn needs_attention(&self) -> bool {
        self.counts.iter().any(|(state, count)| *state < State::NotStarted && *count > 0)
    }
}
