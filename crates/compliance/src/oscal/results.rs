//! What the checks saw, and what follows for each promise.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::catalog::objective_id;
use super::components::check_uuid;
use super::{
    CATALOG_FILE, COMPONENTS_FILE, NAMESPACE, Publication, Roles, document, one_line, prop, resource, text, uuid,
};
use crate::{CheckReport, CommitmentReport, Evidence, Registry, State, TrustReport};

/// Why a report cannot be shown as assessment results.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OscalError {
    /// The report speaks of what the registry does not have.
    #[error("the report speaks of `{id}`, which the registry does not have; use the registry it was made from")]
    OtherRegistry {
        /// A commitment or a check.
        id: String,
    },
    /// A piece of evidence is not the one the report names.
    #[error("the evidence at {index} of the log is not the one that the report names for `{check}`; fetch it again")]
    OtherEvidence {
        /// The check.
        check: String,
        /// Index in the log.
        index: u64,
    },
}

/// Where the documents expect the evidence that the entry at `index` names.
pub fn evidence_path(index: u64) -> String {
    format!("evidence/{index}.json")
}

/// Where the documents expect the proof that the entry at `index` is in the log.
pub fn proof_path(index: u64) -> String {
    format!("proofs/{index}.tlog-proof")
}

/// The report as assessment results: one observation per check that has run, one finding per commitment. Only `met` is
/// satisfied; a commitment that is failing, unknown, stale or not started is not, and the finding says why.
///
/// `evidence` holds, by index in the log, the evidence that the caller has; what is there must be what the report names,
/// and adds population, collector and place to its observation.
pub fn assessment_results(
    report: &TrustReport,
    registry: &Registry,
    publication: &Publication,
    evidence: &BTreeMap<u64, Evidence>,
) -> Result<Value, OscalError> {
    let unknown = |id: &str| OscalError::OtherRegistry { id: id.to_owned() };
    let mut observations: BTreeMap<&str, Observed<'_>> = BTreeMap::new();
    for commitment in &report.commitments {
        registry.commitment(&commitment.id).ok_or_else(|| unknown(commitment.id.as_str()))?;
        for check in &commitment.checks {
            if let Some(observed) = Observed::of(report, check, evidence)? {
                registry.check(&check.id).ok_or_else(|| unknown(&check.id))?;
                observations.entry(&check.id).or_insert(observed);
            }
        }
    }
    let catalog = uuid::of(&["resource", CATALOG_FILE]);
    let components = uuid::of(&["resource", COMPONENTS_FILE]);
    let mut resources = vec![
        resource(&catalog, "The commitments", &[(CATALOG_FILE, None)]),
        resource(&components, "The checks that are run, and how often", &[(COMPONENTS_FILE, None)]),
    ];
    resources.extend(observations.values().map(Observed::resource));

    let starts = observations.values().map(|observed| observed.at).min();
    let include: Vec<Value> =
        report.commitments.iter().map(|commitment| json!({"control-id": commitment.id.as_str()})).collect();
    let mut result = json!({
        "uuid": uuid::of(&["result", report.environment.as_str(), &report.generated_at.to_string()]),
        "title": format!("Commitments in `{}`", report.environment),
        "description": format!("{} of {} commitments are met by evidence in date.", report.met, report.total),
        "start": starts.unwrap_or(report.generated_at).to_string(),
        "end": report.generated_at.to_string(),
        "props": [
            prop("environment", &report.environment),
            prop("log-origin", &report.log.origin),
            prop("log-size", report.log.size),
            prop("log-root", &report.log.root),
            prop("log-verifier-key", &report.log.verifier_key),
        ],
        "reviewed-controls": {"control-selections": [{"include-controls": include}]},
        "findings": report.commitments.iter().map(|commitment| finding(report, commitment, &observations)).collect::<Vec<_>>(),
    });
    if !observations.is_empty() {
        result["observations"] = observations.values().map(|observed| observed.observation(report)).collect();
        let local: Vec<Value> = observations.values().map(Observed::component).collect();
        result["local-definitions"] = json!({"components": local});
    }
    let body = json!({
        "import-ap": {
            "href": format!("#{components}"),
            "remarks": "There is no assessment plan apart from the checks and how often each has to run.",
        },
        "results": [result],
        "back-matter": {"resources": resources},
    });
    let title = format!("How the commitments of {} stand", publication.organisation);
    Ok(document("assessment-results", &title, publication, &Roles::none(), body))
}

/// The latest run of a check, as the report names it.
struct Observed<'a> {
    check: &'a CheckReport,
    at: creta_model::Instant,
    index: u64,
    digest: &'a str,
    evidence: Option<&'a Evidence>,
}

impl<'a> Observed<'a> {
    /// `None` where the check has not run.
    fn of(
        report: &TrustReport,
        check: &'a CheckReport,
        evidence: &'a BTreeMap<u64, Evidence>,
    ) -> Result<Option<Self>, OscalError> {
        let (Some(at), Some(index), Some(digest)) = (check.observed_at, check.log_index, &check.evidence) else {
            return Ok(None);
        };
        let found = evidence.get(&index);
        let same = |evidence: &Evidence| {
            evidence.digest().to_string() == *digest
                && evidence.check == check.id
                && evidence.environment == report.environment
        };
        if found.is_some_and(|evidence| !same(evidence)) {
            return Err(OscalError::OtherEvidence { check: check.id.clone(), index });
        }
        Ok(Some(Self { check, at, index, digest, evidence: found }))
    }

    fn uuid(&self, report: &TrustReport) -> String {
        uuid::of(&["observation", report.environment.as_str(), &self.check.id, self.digest])
    }

    fn resource_uuid(&self) -> String {
        uuid::of(&["resource", "evidence", self.digest])
    }

    fn resource(&self) -> Value {
        let (evidence, proof) = (evidence_path(self.index), proof_path(self.index));
        let title = format!("Evidence of `{}` and the proof that the log holds its digest", self.check.id);
        resource(&self.resource_uuid(), &title, &[(&evidence, Some(self.digest)), (&proof, None)])
    }

    fn component(&self) -> Value {
        json!({
            "uuid": check_uuid(&self.check.id),
            "type": "validation",
            "title": text(&self.check.title),
            "description": text(&self.check.title),
            "status": {"state": "operational"},
        })
    }

    fn observation(&self, report: &TrustReport) -> Value {
        let check = self.check;
        let mut props = vec![
            prop("check", &check.id),
            prop("log-index", self.index),
            prop("evidence-digest", self.digest),
            prop("subjects", check.subjects),
            prop("noticed-planted-fault", check.noticed_planted_fault),
            prop("state", check.state.as_str()),
        ];
        if let Some(evidence) = self.evidence {
            props.extend([
                prop("outcome", evidence.outcome.as_str()),
                prop("population", evidence.population),
                prop("received-at", evidence.received_at),
                prop("collector", &evidence.collector),
                prop("place", &evidence.place),
                prop("code-version", &evidence.code_version),
                prop("definition-digest", evidence.check_digest),
                prop("raw-digest", evidence.raw_digest),
            ]);
        }
        let found: Vec<&str> = check.findings.iter().map(|finding| finding.says.as_str()).collect();
        let said = match (&check.could_not, found.is_empty()) {
            (Some(why), true) => format!("{}: could not look: {why}", check.title),
            (_, false) => format!("{}: {}", check.title, found.join("; ")),
            (None, true) => format!("{}: nothing found wrong", check.title),
        };
        json!({
            "uuid": self.uuid(report),
            "title": text(&check.title),
            "description": text(&said),
            "props": props,
            "links": [{"href": format!("#{}", self.resource_uuid()), "rel": "evidence"}],
            "methods": ["TEST"],
            "types": ["control-objective"],
            "origins": [{"actors": [{"type": "tool", "actor-uuid": check_uuid(&check.id)}]}],
            "relevant-evidence": [{
                "href": format!("#{}", self.resource_uuid()),
                "description": "What the check read and was answered, as one canonical JSON document.",
            }],
            "collected": self.at.to_string(),
            "expires": self.at.plus(check.freshness).to_string(),
        })
    }
}

fn finding(report: &TrustReport, commitment: &CommitmentReport, observations: &BTreeMap<&str, Observed<'_>>) -> Value {
    let id = commitment.id.as_str();
    let (state, reason) = match commitment.state {
        State::Met => ("satisfied", "pass"),
        State::Failing => ("not-satisfied", "fail"),
        State::Unknown | State::Stale | State::NotStarted => ("not-satisfied", "other"),
    };
    let why = format!("{}: {}", commitment.state.as_str(), one_line(&commitment.reason));
    let related: Vec<Value> = commitment
        .checks
        .iter()
        .filter_map(|check| observations.get(check.id.as_str()))
        .map(|observed| json!({"observation-uuid": observed.uuid(report)}))
        .collect();
    let mut finding = json!({
        "uuid": uuid::of(&["finding", report.environment.as_str(), &report.generated_at.to_string(), id]),
        "title": text(&commitment.title),
        "description": text(&why),
        "props": [
            {"name": "state", "ns": NAMESPACE, "value": commitment.state.as_str()},
            prop("refusals", commitment.refusals),
            prop("met-ppm", commitment.history.met_ppm),
            prop("failures", commitment.history.failures),
            prop("gaps", commitment.history.gaps),
        ],
        "target": {
            "type": "objective-id",
            "target-id": objective_id(id),
            "status": {"state": state, "reason": reason, "remarks": why},
        },
    });
    if !related.is_empty() {
        finding["related-observations"] = related.into();
    }
    finding
}
