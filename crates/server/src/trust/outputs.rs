//! What auditors take away: evidence packs and OSCAL documents.

use std::collections::{BTreeMap, BTreeSet};

use creta_audit::{SignedCheckpoint, verify};
use creta_compliance::pack::{PackError, PackInput};
use creta_compliance::{CommitmentId, Evidence, oscal, pack};
use creta_model::{Instant, Problem};
use creta_proof::InclusionProof;
use serde::Serialize;
use serde_json::Value;

use super::{Trust, lock};
use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, logged};

/// What an auditor asks for.
pub(crate) struct PackRequest {
    pub(crate) controls: Vec<CommitmentId>,
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    pub(crate) seed: String,
    pub(crate) sample: u64,
}

/// OSCAL documents with the files that they refer to.
#[derive(Serialize)]
pub(crate) struct Oscal {
    /// Documents by file name.
    pub(crate) documents: BTreeMap<String, Value>,
    /// Evidence and proofs by path, as text.
    pub(crate) files: BTreeMap<String, String>,
}

impl Trust {
    /// The proof file of an entry against a checkpoint; `None` where the checkpoint does not cover it.
    pub(super) fn proof_file(&self, control: &ControlPlane, signed: &SignedCheckpoint, index: u64) -> Option<String> {
        let log = control.log();
        let checkpoint = verify::verify_checkpoint(signed.as_str(), &log.verifier_key()).ok()?;
        let proof = log.prove_inclusion(index, checkpoint.size).ok()?;
        let entry = log.entry_bytes(index).ok()?;
        Some(InclusionProof { index, proof, entry, checkpoint: signed.clone() }.to_string())
    }

    /// Raw outputs, proofs, population and a sample for some commitments and a period, as a zip that verifies by itself.
    pub(crate) fn pack(&self, control: &ControlPlane, request: &PackRequest) -> Result<Vec<u8>, Problem> {
        self.catch_up(control)?;
        let signed = control.log().checkpoint().map_err(|e| from_audit(&e))?;
        let ledger = lock(&self.ledger).clone();
        let input = PackInput {
            registry: self.registry(),
            ledger: &ledger,
            environment: control.environment(),
            controls: &request.controls,
            from: request.from,
            until: request.until,
            seed: &request.seed,
            sample: request.sample,
            checkpoint: signed.as_str(),
            size: signed.claimed().size,
            verifier_key: &control.log().verifier_key(),
            evidence: &|recorded| match self.stored(control, recorded) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(reason) => {
                    tracing::warn!(index = recorded.index, reason, "evidence is missing in a pack");
                    Ok(None)
                }
            },
            proof: &|index| {
                self.proof_file(control, &signed, index).ok_or_else(|| "the checkpoint does not cover it".to_owned())
            },
        };
        pack::write(&input).map_err(|error| match error {
            PackError::UnknownCommitment { .. } => Problem::new("not-found/commitment", error.to_string()),
            other => Problem::new("trust/pack", other.to_string()),
        })
    }

    /// The registry and the report of this moment in OSCAL, every reference leading somewhere.
    pub(crate) fn oscal(&self, control: &ControlPlane) -> Result<Oscal, Problem> {
        let report = self.report(control)?;
        let signed = control.log().checkpoint().map_err(|e| from_audit(&e))?;
        let publication = oscal::Publication {
            organisation: self.organisation().name.clone(),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            modified: report.generated_at,
        };
        let (mut evidence, mut files) = (BTreeMap::new(), BTreeMap::new());
        let latest: BTreeSet<u64> = report
            .commitments
            .iter()
            .flat_map(|commitment| commitment.checks.iter().filter_map(|check| check.log_index))
            .collect();
        for recorded in self.all_recorded().iter().filter(|recorded| latest.contains(&recorded.index)) {
            let Ok(piece) = self.proven(control, recorded, signed.as_str()) else { continue };
            let text = String::from_utf8(piece.to_bytes()).expect("canonical JSON is text");
            files.insert(oscal::evidence_path(recorded.index), text);
            evidence.insert(recorded.index, piece);
        }
        for index in &latest {
            if let Some(proof) = self.proof_file(control, &signed, *index) {
                files.insert(oscal::proof_path(*index), proof);
            }
        }
        self.oscal_documents(&report, &publication, &evidence, files)
    }

    fn oscal_documents(
        &self,
        report: &creta_compliance::TrustReport,
        publication: &oscal::Publication,
        evidence: &BTreeMap<u64, Evidence>,
        files: BTreeMap<String, String>,
    ) -> Result<Oscal, Problem> {
        let registry = self.registry();
        let results = oscal::assessment_results(report, registry, publication, evidence)
            .map_err(|error| logged("the report has no form in OSCAL", &error))?;
        let documents = BTreeMap::from([
            (oscal::CATALOG_FILE.to_owned(), oscal::catalog(registry, publication)),
            (oscal::COMPONENTS_FILE.to_owned(), oscal::component_definition(registry, publication)),
            (oscal::RESULTS_FILE.to_owned(), results),
        ]);
        let by_name: BTreeMap<String, &Value> = documents.iter().map(|(name, value)| (name.clone(), value)).collect();
        oscal::check_references(&by_name, &files.keys().cloned().collect()).map_err(|dangling| {
            tracing::error!(references = dangling.len(), first = ?dangling.first(), "OSCAL documents do not hang together");
            crate::problem::internal()
        })?;
        Ok(Oscal { documents, files })
    }
}
