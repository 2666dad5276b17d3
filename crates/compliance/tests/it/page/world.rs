//! A deployment that has been watched for 90 days: a ledger of many runs, in which every state occurs.

use std::collections::BTreeMap;

use creta_compliance::{
    Collector, Evidence, Finding, Ledger, LogLine, LogPosition, Mode, Observation, Organisation, Outcome, Recorded,
    Registry, ReportInput, Run, TrustReport, detail, report,
};
use creta_model::{Environment, Instant, Span};
use creta_proof::Hash;

/// What was recorded, and the evidence of each check's latest run.
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) ledger: Ledger,
    evidence: BTreeMap<u64, Evidence>,
    now: Instant,
}

/// How a check's latest run ended, by its id. The others passed.
const FAILING: &str = "sealed-bytes";
const UNKNOWN: &str = "log-witness";
const STALE: &str = "route-permits";

impl World {
    /// About `runs` runs of all checks over 90 days, each as often as its freshness asks for in proportion.
    pub(crate) fn new(runs: usize) -> Self {
        let registry = Registry::embedded();
        let now = Instant::parse("2026-11-22T19:30:00Z").expect("valid");
        let natural: f64 = registry.checks().map(|check| DAYS_90 / check.freshness.span().micros() as f64).sum();
        let scale = natural / runs as f64;
        let mut planned: Vec<(Instant, &str, bool)> = Vec::new();
        for check in registry.checks() {
            let step = ((check.freshness.span().micros() as f64 * scale) as i64).max(1_000_000);
            let newest = if check.id == STALE { now.minus(Span::days(40)) } else { now.minus(Span::seconds(95)) };
            let oldest = now.minus(Span::days(90)).micros();
            let count = (newest.micros() - oldest) / step;
            planned.extend((0..=count).rev().map(|back| {
                (Instant::from_micros(newest.micros() - back * step).expect("in range"), check.id.as_str(), back == 0)
            }));
        }
        planned.sort_unstable();
        let (mut ledger, mut evidence) = (Ledger::default(), BTreeMap::new());
        for (index, (at, check, is_last)) in planned.iter().enumerate() {
            let index = index as u64;
            let seen = if *is_last { Some(seen(&registry, check, *at, index)) } else { None };
            let outcome = seen.as_ref().map_or(earlier(index), |seen| seen.outcome);
            let digest = seen.as_ref().map_or_else(|| Hash::of(&[&index.to_be_bytes()]), Evidence::digest);
            let details: BTreeMap<String, String> = [
                (detail::CHECK, (*check).to_owned()),
                (detail::EVIDENCE, format!("sha256:{digest}")),
                (detail::SUBJECTS, seen.as_ref().map_or(12, |seen| seen.subjects.len()).to_string()),
                (detail::OBSERVED_AT, at.to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
            let (action, refused) = (Ledger::action(outcome), false);
            ledger.read(LogLine { index, time: *at, action, refused, commitment: None, details: &details });
            evidence.extend(seen.map(|seen| (index, seen)));
        }
        let (index, details) = (planned.len() as u64, BTreeMap::new());
        let refusal =
            LogLine { index, time: now, action: "query", refused: true, commitment: Some("CH-20"), details: &details };
        ledger.read(refusal);
        let texts = [(40, Hash::of(&[b"earlier"])), (3, Hash::of(&[&registry.canonical()]))];
        for (index, (days, text)) in (index + 1..).zip(texts) {
            let details = BTreeMap::from([(detail::TEXT.to_owned(), format!("sha256:{text}"))]);
            let (time, action) = (now.minus(Span::days(days)), Ledger::TEXT_ACTION);
            ledger.read(LogLine { index, time, action, refused: false, commitment: None, details: &details });
        }
        Self { registry, ledger, evidence, now }
    }

    pub(crate) fn report(&self, organisation: &Organisation) -> TrustReport {
        self.report_by(&self.registry, organisation, &|_, evidence| evidence)
    }

    /// The report of a registry, where the store gives what `stored` makes of it.
    pub(crate) fn report_by(
        &self,
        registry: &Registry,
        organisation: &Organisation,
        stored: Stored<'_>,
    ) -> TrustReport {
        let fetch = |recorded: &Recorded| {
            let known = self.evidence.get(&recorded.index).cloned();
            stored(recorded, known.ok_or_else(|| "there is no such evidence".to_owned()))
        };
        report(&ReportInput {
            registry,
            ledger: &self.ledger,
            organisation,
            environment: &Environment::parse("prod").expect("valid"),
            log: LogPosition {
                origin: "creta/prod/audit".to_owned(),
                size: self.ledger.lines(),
                root: Hash::of(&[b"root"]).to_base64(),
                verifier_key: "creta/prod/audit+a4c1f2d0+AWxiM0p1c3RBbkV4YW1wbGVLZXlGb3JQYWdlcw==".to_owned(),
                witnesses: Vec::new(),
            },
            now: self.now,
            fetch: &fetch,
            fetch_artefact: &|_| Err("there is none".to_owned()),
        })
    }
}

/// What the store gives for a run, made of what was put there.
pub(crate) type Stored<'a> = &'a dyn Fn(&Recorded, Result<Evidence, String>) -> Result<Evidence, String>;

const DAYS_90: f64 = 90.0 * 86_400.0 * 1_000_000.0;

/// An organisation to look at.
pub(crate) fn organisation() -> Organisation {
    Organisation { name: "Meridian Rail".to_owned(), mode: Mode::Vendor, demonstration: true }
}

/// What an earlier run ended with: now and then something is wrong.
fn earlier(index: u64) -> Outcome {
    match index.wrapping_mul(2_654_435_761) % 4_001 {
        0 => Outcome::Fail,
        1 => Outcome::Unknown,
        _ => Outcome::Pass,
    }
}

fn seen(registry: &Registry, check: &str, at: Instant, index: u64) -> Evidence {
    let definition = registry.check(check).expect("it is one of the registry's");
    let collector = Collector {
        name: "server/prod".to_owned(),
        place: definition.place.clone(),
        environment: Environment::parse("prod").expect("valid"),
        code_version: "0.1.0".to_owned(),
    };
    let findings = match check {
        FAILING => vec![Finding::new(
            "store:tenant-facts",
            "sealed-bytes/in-the-open",
            "a planted value stands in the open in a file of `store:tenant-facts`; seal it again and find out what wrote it",
        )],
        _ => Vec::new(),
    };
    let could_not = (check == UNKNOWN).then(|| "no witness answered within 5 seconds".to_owned());
    let subjects = (0..12).map(|n| format!("listener:{n:02}")).collect();
    let seen = Observation { subjects, findings, could_not, raw: serde_json::json!({"looked": 12}) };
    let run =
        Run { id: format!("run-{index}"), since: None, observed_at: at, received_at: at, noticed_planted_fault: true };
    Evidence::judge(definition, registry.watched_by(check).map(|row| row.id.clone()).collect(), &collector, run, seen)
}
