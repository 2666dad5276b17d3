//! The promises and how they stand, in OSCAL: complete, stable, and with no reference that leads nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use creta_compliance::oscal::{
    CATALOG_FILE, COMPONENTS_FILE, OSCAL_VERSION, OscalError, Publication, RESULTS_FILE, assessment_results, catalog,
    check_references, component_definition, evidence_path, proof_path,
};
use creta_compliance::{Evidence, LogPosition, Mode, Organisation, Outcome, ReportInput, State, TrustReport, report};
use creta_model::Instant;
use serde_json::{Value, json};

use crate::recorded::{Plan, Recorded, at, prod};

const PLAN: [Plan<'_>; 3] =
    [("isolation", 1, Outcome::Pass), ("route-permits", 2, Outcome::Pass), ("isolation", 12, Outcome::Fail)];

fn publication() -> Publication {
    Publication { organisation: "Example".to_owned(), code_version: "0.1.0".to_owned(), modified: at(20) }
}

fn report_of(recorded: &Recorded, now: Instant) -> TrustReport {
    report(&ReportInput {
        registry: &recorded.registry,
        ledger: &recorded.ledger,
        organisation: &Organisation { name: "Example".to_owned(), mode: Mode::Vendor, demonstration: true },
        environment: &prod(),
        log: LogPosition {
            origin: "creta/prod/audit".to_owned(),
            size: recorded.tree.len(),
            root: recorded.tree.root(recorded.tree.len()).expect("whole").to_base64(),
            verifier_key: recorded.vkey(),
            witnesses: Vec::new(),
        },
        now,
        fetch: &|run| Ok(recorded.evidence[&run.index].clone()),
        fetch_artefact: &|_| Err("there is none".to_owned()),
    })
}

struct Documents {
    documents: BTreeMap<String, Value>,
    files: BTreeSet<String>,
}

impl Documents {
    fn of(recorded: &Recorded, evidence: &BTreeMap<u64, Evidence>) -> Self {
        let (registry, publication) = (&recorded.registry, publication());
        let report = report_of(recorded, at(20));
        let results = assessment_results(&report, registry, &publication, evidence).expect("a report of this registry");
        let documents = [
            (CATALOG_FILE, catalog(registry, &publication)),
            (COMPONENTS_FILE, component_definition(registry, &publication)),
            (RESULTS_FILE, results),
        ];
        let indices = recorded.evidence.keys();
        Self {
            documents: documents.map(|(file, document)| (file.to_owned(), document)).into(),
            files: indices.flat_map(|index| [evidence_path(*index), proof_path(*index)]).collect(),
        }
    }

    fn dangling(&self) -> Vec<String> {
        let documents = self.documents.iter().map(|(file, document)| (file.clone(), document)).collect();
        match check_references(&documents, &self.files) {
            Ok(()) => Vec::new(),
            Err(dangling) => dangling.iter().map(ToString::to_string).collect(),
        }
    }
}

#[test]
fn the_documents_refer_to_nothing_that_is_not_there() {
    let recorded = Recorded::new(&PLAN);
    let documents = Documents::of(&recorded, &recorded.evidence);
    assert_eq!(documents.dangling(), Vec::<String>::new());
    // `tools/check_oscal.py` validates them with another tool.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oscal");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (file, document) in &documents.documents {
        std::fs::write(folder.join(file), format!("{document:#}\n")).expect("written");
    }
}

#[test]
fn every_commitment_is_a_control_and_has_a_finding_that_says_why() {
    let recorded = Recorded::new(&PLAN);
    let documents = Documents::of(&recorded, &BTreeMap::new()).documents;
    let report = report_of(&recorded, at(20));
    let controls = documents[CATALOG_FILE]["catalog"]["controls"].as_array().expect("controls");
    let result = &documents[RESULTS_FILE]["assessment-results"]["results"][0];
    let findings = result["findings"].as_array().expect("findings");
    assert_eq!((controls.len(), findings.len()), (report.commitments.len(), report.commitments.len()));
    let mut states = BTreeSet::new();
    for ((control, finding), commitment) in controls.iter().zip(findings).zip(&report.commitments) {
        assert_eq!(control["id"], commitment.id.as_str());
        let status = &finding["target"]["status"];
        let satisfied = status["state"] == "satisfied";
        assert_eq!(satisfied, commitment.state == State::Met, "{}", commitment.id);
        assert!(status["remarks"].as_str().expect("a reason").starts_with(commitment.state.as_str()), "{status}");
        states.insert(commitment.state);
    }
    assert!(states.contains(&State::Failing) && states.contains(&State::NotStarted), "{states:?}");
    for document in documents.values() {
        let content = document.as_object().expect("an object").values().next().expect("a document");
        assert_eq!(content["metadata"]["oscal-version"], OSCAL_VERSION);
    }
}

#[test]
fn an_observation_names_evidence_by_digest_and_index() {
    let recorded = Recorded::new(&PLAN);
    let documents = Documents::of(&recorded, &recorded.evidence).documents;
    let observations = documents[RESULTS_FILE].pointer("/assessment-results/results/0/observations");
    let observations = observations.and_then(Value::as_array).expect("observations");
    assert_eq!(observations.len(), 2, "one for each check that has run");
    for observation in observations {
        let prop = |name: &str| {
            let props = observation["props"].as_array().expect("props");
            props.iter().find(|prop| prop["name"] == name).map(|prop| prop["value"].as_str().expect("text").to_owned())
        };
        let index: u64 = prop("log-index").expect("an index").parse().expect("a number");
        let evidence = &recorded.evidence[&index];
        assert_eq!(prop("evidence-digest"), Some(evidence.digest().to_string()));
        assert_eq!(prop("population"), Some(evidence.population.to_string()));
        assert_eq!(observation["collected"], evidence.observed_at.to_string());
    }
}

#[test]
fn the_same_input_gives_the_same_documents_and_another_one_other_uuids() {
    let recorded = Recorded::new(&PLAN);
    let (one, again) = (Documents::of(&recorded, &recorded.evidence), Documents::of(&recorded, &recorded.evidence));
    assert_eq!(one.documents, again.documents);
    let other = catalog(&recorded.registry, &Publication { code_version: "0.2.0".to_owned(), ..publication() });
    assert_ne!(other["catalog"]["uuid"], one.documents[CATALOG_FILE]["catalog"]["uuid"]);
}

#[test]
fn attack_other_evidence_than_the_report_names_is_refused() {
    let recorded = Recorded::new(&PLAN);
    let report = report_of(&recorded, at(20));
    let results =
        |evidence: &BTreeMap<u64, Evidence>| assessment_results(&report, &recorded.registry, &publication(), evidence);
    let (index, newest) = recorded.evidence.iter().next_back().expect("evidence");
    let mut edited = newest.clone();
    edited.outcome = Outcome::Pass;
    edited.findings.clear();
    let refused = results(&BTreeMap::from([(*index, edited)])).expect_err("another one");
    assert_eq!(refused, OscalError::OtherEvidence { check: newest.check.clone(), index: *index });

    let mut report = report.clone();
    report.commitments[0].id = creta_compliance::CommitmentId::parse("ZZ-99").expect("an id");
    let refused = assessment_results(&report, &recorded.registry, &publication(), &BTreeMap::new());
    assert_eq!(refused, Err(OscalError::OtherRegistry { id: "ZZ-99".to_owned() }));
}

#[test]
fn attack_every_reference_that_leads_nowhere_is_found() {
    let recorded = Recorded::new(&PLAN);
    let documents = Documents::of(&recorded, &recorded.evidence);
    let mut tried: BTreeMap<String, usize> = BTreeMap::new();
    for (file, document) in &documents.documents {
        let mut references = Vec::new();
        references_of("", document, &mut references);
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (place, key) in &references {
            // There are hundreds alike: of each kind the first ten, and then every fiftieth.
            let turn = seen.entry(key).and_modify(|turn| *turn += 1).or_default();
            if *turn >= 10 && !turn.is_multiple_of(50) {
                continue;
            }
            let mut bad = Documents { documents: documents.documents.clone(), files: documents.files.clone() };
            let reference =
                bad.documents.get_mut(file).and_then(|document| document.pointer_mut(place)).expect("there");
            let text = reference.as_str().expect("text").to_owned();
            *reference = json!(format!("{text}0"));
            let dangling = bad.dangling();
            assert_eq!(dangling.len(), 1, "{file}#{place}: {dangling:?}");
            assert!(dangling[0].starts_with(&format!("{file}#{place}: refers to ")), "{}", dangling[0]);
            *tried.entry(key.clone()).or_default() += 1;
        }
    }
    let kinds: Vec<&str> = tried.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["actor-uuid", "control-id", "href", "observation-uuid", "role-id", "source", "target-id"]);
}

fn references_of(at: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let place = format!("{at}/{name}");
                let is_reference = ["control-id", "href", "role-id", "source", "target-id"].contains(&name.as_str());
                if value.is_string() && (is_reference || name.ends_with("-uuid")) {
                    found.push((place, name.clone()));
                } else {
                    references_of(&place, value, found);
                }
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                references_of(&format!("{at}/{index}"), value, found);
            }
        }
        _ => {}
    }
}

#[test]
fn attack_a_name_that_two_things_have_is_found() {
    let recorded = Recorded::new(&PLAN);
    let mut documents = Documents::of(&recorded, &recorded.evidence);
    let catalog = &mut documents.documents.get_mut(CATALOG_FILE).expect("there")["catalog"];
    let first = catalog["controls"][0].clone();
    catalog["controls"].as_array_mut().expect("controls").push(first);
    assert_eq!(documents.dangling().len(), 4, "the control and its three parts: {:?}", documents.dangling());

    let mut documents = Documents::of(&recorded, &recorded.evidence);
    let components = &mut documents.documents.get_mut(COMPONENTS_FILE).expect("there")["component-definition"];
    components["components"][1]["uuid"] = components["components"][0]["uuid"].clone();
    assert!(documents.dangling().iter().any(|found| found.contains("has a UUID that something else")));
    // A file that is named and does not lie there.
    let mut documents = Documents::of(&recorded, &recorded.evidence);
    documents.files.clear();
    assert_eq!(documents.dangling().len(), 4, "evidence and proof of two runs: {:?}", documents.dangling());
}
