//! The promises as a catalogue of controls.

use serde_json::{Value, json};

use super::{Publication, Roles, classed, document, prop, text};
use crate::{Commitment, Registry};

/// Every commitment as a control of the catalogue, under its own id, in order. Ids that it carries, mappings to
/// frameworks, owner, pillars and tests are properties; a mapping that nobody has reviewed says so.
pub fn catalog(registry: &Registry, publication: &Publication) -> Value {
    let controls: Vec<Value> = registry.commitments().map(control).collect();
    let title = format!("Commitments of {}", publication.organisation);
    document("catalog", &title, publication, &Roles::none(), json!({"controls": controls}))
}

/// Id of the part of a control that an assessment speaks of: that the attack fails and the promise holds.
pub(super) fn objective_id(control: &str) -> String {
    format!("{control}_obj")
}

/// Id of the part that is the promise itself.
pub(super) fn statement_id(control: &str) -> String {
    format!("{control}_smt")
}

fn control(commitment: &Commitment) -> Value {
    let id = commitment.id.as_str();
    let mut props = vec![prop("owner", &commitment.owner), prop("software", commitment.software.as_str())];
    props.extend(commitment.class.iter().map(|class| prop("kept-by", class.as_str())));
    props.extend(commitment.pillar.iter().map(|pillar| prop("pillar", pillar.as_str())));
    props.extend(commitment.folded.iter().map(|folded| prop("carries", folded)));
    props.push(prop("artefact-from-outside", if commitment.outside { "needed" } else { "not-needed" }));
    props.push(prop("freshness", commitment.freshness()));
    props.push(prop("mappings-reviewed", commitment.mappings.reviewed));
    for (framework, criteria) in &commitment.mappings.criteria {
        props.extend(criteria.iter().map(|criterion| classed("maps-to", framework, criterion)));
    }
    props.extend(commitment.checks.iter().map(|check| prop("check", check)));
    props.extend(commitment.positive_tests.iter().map(|test| prop("positive-test", test)));
    props.extend(commitment.attack_tests.iter().map(|test| prop("attack-test", test)));
    json!({
        "id": id,
        "class": "creta-commitment",
        "title": text(&commitment.title),
        "props": props,
        "parts": [
            {"id": statement_id(id), "name": "statement", "prose": text(&commitment.text)},
            {"id": format!("{id}_gdn"), "name": "guidance", "prose": text(&commitment.behaviour)},
            {"id": objective_id(id), "name": "assessment-objective", "prose": text(&commitment.attack)},
        ],
    })
}
