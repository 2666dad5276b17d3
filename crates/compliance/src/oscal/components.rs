//! What implements the promises: the software, and the checks that watch it.

use serde_json::{Value, json};

use super::{CATALOG_FILE, Publication, Roles, document, prop, resource, text, uuid};
use crate::{CheckDefinition, Commitment, Registry, Software};

/// The software as a component that implements every commitment whose software is here, and each check as a component
/// that validates it. Commitments whose software is to come are not implemented and do not appear.
pub fn component_definition(registry: &Registry, publication: &Publication) -> Value {
    let catalog = uuid::of(&["resource", CATALOG_FILE]);
    let implemented = |commitment: &&Commitment| commitment.software == Software::Here;
    let requirements: Vec<Value> =
        registry.commitments().filter(implemented).map(|commitment| requirement("software", commitment)).collect();
    let mut software = json!({
        "uuid": uuid::of(&["component", "creta"]),
        "type": "software",
        "title": "Creta",
        "description": "A feature platform that keeps tenants apart and proves what it did.",
        "props": [prop("code-version", &publication.code_version)],
    });
    if !requirements.is_empty() {
        software["control-implementations"] = json!([implementation(&catalog, "creta", requirements)]);
    }
    let mut components = vec![software];
    for check in registry.checks() {
        let mut component = check_component(check, &publication.code_version);
        let watched: Vec<Value> = registry
            .commitments()
            .filter(|commitment| commitment.checks.contains(&check.id))
            .map(|commitment| requirement(&check.id, commitment))
            .collect();
        if !watched.is_empty() {
            component["control-implementations"] = json!([implementation(&catalog, &check.id, watched)]);
        }
        components.push(component);
    }
    let body = json!({
        "components": components,
        "back-matter": {"resources": [resource(&catalog, "The commitments", &[(CATALOG_FILE, None)])]},
    });
    let title = format!("How {} keeps its commitments", publication.organisation);
    document("component-definition", &title, publication, &Roles::of(registry), body)
}

/// UUID of a check, the same in all documents.
pub(super) fn check_uuid(check: &str) -> String {
    uuid::of(&["component", "check", check])
}

fn check_component(check: &CheckDefinition, code_version: &str) -> Value {
    json!({
        "uuid": check_uuid(&check.id),
        "type": "validation",
        "title": text(&check.title),
        "description": text(&check.observes),
        "purpose": text(&check.population),
        "props": [
            prop("check", &check.id),
            prop("freshness", check.freshness),
            prop("place", &check.place),
            prop("planted-fault", &check.negative),
            prop("definition-digest", check.digest(code_version)),
        ],
    })
}

fn implementation(catalog: &str, component: &str, requirements: Vec<Value>) -> Value {
    json!({
        "uuid": uuid::of(&["control-implementation", component]),
        "source": format!("#{catalog}"),
        "description": "What is kept by this component, or watched by it.",
        "implemented-requirements": requirements,
    })
}

fn requirement(component: &str, commitment: &Commitment) -> Value {
    json!({
        "uuid": uuid::of(&["implemented-requirement", component, commitment.id.as_str()]),
        "control-id": commitment.id.as_str(),
        "description": text(&commitment.behaviour),
        "responsible-roles": [{"role-id": commitment.owner}],
    })
}
