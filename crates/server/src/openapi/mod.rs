//! The API's description in OpenAPI 3.1, made from the table of routes. Committed as `docs/reference/openapi.json`.

mod break_glass;
mod datasets;
mod devices;
mod operations;
mod pages;
mod people;
mod recovery;
mod scim;

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::people::web::{COOKIE, FORM_HEADER, VIEWS};
use crate::problem::{PROBLEM_JSON, SCIM_JSON};
use crate::routes::{Access, ROUTES, Route};

const SCHEMAS: &str = include_str!("schemas.json");

/// What a route takes and gives.
struct Operation {
    /// Method and path, as in the table of routes.
    id: &'static str,
    /// Unique name, for generated clients.
    name: &'static str,
    tag: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    body: Body,
    answer: Answer,
    /// Statuses of refusals besides those that every route has.
    problems: &'static [u16],
}

struct Parameter {
    name: &'static str,
    place: &'static str,
    required: bool,
    /// JSON schema.
    schema: &'static str,
    description: &'static str,
}

#[derive(PartialEq)]
enum Body {
    None,
    Json(&'static str),
    JsonOrForm(&'static str),
    /// As JSON, or as the form of a page, which is answered with a page.
    JsonOrPage(&'static str),
    /// The form of a page.
    Form(&'static str),
    Arrow,
    /// JSON of provisioning (RFC 7644).
    Scim(&'static str),
}

struct Answer {
    status: u16,
    content_type: &'static str,
    /// Name of a schema; none for bodies that are not JSON.
    schema: Option<&'static str>,
    description: &'static str,
}

/// The description as it is served and committed: indented JSON with a final newline. The same for every build of a version.
pub fn document_text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).expect("a description has a JSON form");
    text.push('\n');
    text
}

fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = route.path.replace("{*", "{");
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[route.method.as_str().to_lowercase()] = describe(route);
    }
    let schemas: Value = serde_json::from_str(SCHEMAS).expect("the schemas are JSON");
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Creta",
            "description": "Features for machine learning: now, and as they were. The scope of a request, a tenant in \
                an environment, comes from its token.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "From `POST /v1/token`."},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Of a browser that signed in. Worth nothing without the proof."},
                "proof": {"type": "apiKey", "in": "header", "name": "dpop", "description": "Proof of the browser's key for this request and this cookie (RFC 9449)."},
                "form": {"type": "apiKey", "in": "header", "name": FORM_HEADER, "description": "What pages of the session were told, with every change."},
            },
        },
    })
}

fn operations() -> impl Iterator<Item = &'static Operation> {
    operations::OPERATIONS
        .iter()
        .chain(people::OPERATIONS)
        .chain(break_glass::OPERATIONS)
        .chain(datasets::OPERATIONS)
        .chain(pages::OPERATIONS)
        .chain(recovery::OPERATIONS)
        .chain(devices::OPERATIONS)
        .chain(scim::OPERATIONS)
}

fn id_of(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

fn describe(route: &Route) -> Value {
    let id = id_of(route);
    let found = operations().find(|operation| operation.id == id);
    let operation = found.expect("a test compares routes with operations");
    let guarded = matches!(route.access, Access::Guarded { .. });
    let mut described = json!({
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": security(route, guarded),
        "responses": responses(operation, guarded),
    });
    if let Access::Guarded { action, place, .. } = &route.access {
        described["x-creta-action"] = action.as_str().into();
        described["x-creta-place"] = place.as_str().into();
    }
    if !operation.parameters.is_empty() {
        described["parameters"] = operation.parameters.iter().map(parameter).collect();
    }
    if let Some(body) = body(&operation.body, route.body_bytes_max) {
        described["requestBody"] = body;
    }
    described
}

fn security(route: &Route, guarded: bool) -> Value {
    match (guarded, route.path.starts_with(VIEWS), route.method == Method::GET) {
        (false, ..) => json!([]),
        (true, false, _) => json!([{"token": []}]),
        (true, true, true) => json!([{"session": [], "proof": []}]),
        (true, true, false) => json!([{"session": [], "proof": [], "form": []}]),
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let schema: Value = serde_json::from_str(parameter.schema).expect("schemas of parameters are JSON");
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": schema,
    })
}

fn reference(schema: &str) -> Value {
    json!({ "schema": {"$ref": format!("#/components/schemas/{schema}")} })
}

fn body(body: &Body, bytes_max: usize) -> Option<Value> {
    let content = match body {
        Body::None => return None,
        Body::Json(schema) => json!({ "application/json": reference(schema) }),
        Body::JsonOrForm(schema) | Body::JsonOrPage(schema) => {
            json!({ "application/json": reference(schema), "application/x-www-form-urlencoded": reference(schema) })
        }
        Body::Form(schema) => json!({ "application/x-www-form-urlencoded": reference(schema) }),
        Body::Scim(schema) => json!({ SCIM_JSON: reference(schema), "application/json": reference(schema) }),
        Body::Arrow => json!({ crate::arrow_body::ARROW_STREAM: {"schema": {"type": "string", "format": "binary"}} }),
    };
    Some(json!({ "required": true, "content": content, "description": format!("At most {bytes_max} bytes.") }))
}

fn responses(operation: &Operation, guarded: bool) -> Value {
    let id_header = json!({
        "x-request-id": {"description": "Names this request in the server's log.", "schema": {"type": "string"}},
    });
    let mut responses = Map::new();
    let answer = &operation.answer;
    let with_page = |mut content: Value| {
        if matches!(operation.body, Body::JsonOrPage(_)) || operation.answer.content_type.starts_with("text/html") {
            content["text/html; charset=utf-8"] = json!({});
        }
        content
    };
    let mut content = with_page(json!({ answer.content_type: answer.schema.map_or_else(|| json!({}), reference) }));
    if answer.status == 204 {
        content = json!({});
    }
    responses.insert(
        answer.status.to_string(),
        json!({ "description": answer.description, "headers": id_header, "content": content }),
    );
    for status in statuses(operation, guarded) {
        let content = match operation.id.contains(" /scim/") {
            true => json!({ SCIM_JSON: reference("ScimError") }),
            // Where something is shown under another name of this server: an address, and nothing to read.
            false if status == 303 => json!({}),
            false if operation.id.contains(" /view") => json!({ pages::PAGE: {} }),
            false => with_page(json!({ PROBLEM_JSON: reference("Problem") })),
        };
        responses.insert(
            status.to_string(),
            json!({ "description": meaning(status), "headers": id_header, "content": content }),
        );
    }
    Value::Object(responses)
}

fn statuses(operation: &Operation, guarded: bool) -> BTreeSet<u16> {
    let mut statuses = BTreeSet::from([400, 408, 413, 500, 503]);
    if guarded {
        statuses.extend([401, 403]);
    }
    if operation.body != Body::None {
        statuses.insert(415);
    }
    statuses.extend(operation.problems);
    statuses
}

fn meaning(status: u16) -> &'static str {
    match status {
        303 => "To where it is shown, or to the identity provider.",
        400 => "The request cannot be read.",
        401 => "Who asks is not known: no token, an expired one, or one of elsewhere.",
        403 => "The policies do not allow this. The denial stands in the log.",
        404 => "There is no such thing in this scope.",
        408 => "The body took too long to arrive.",
        412 => "It was changed after it was read.",
        409 => "It is there already, or was changed by somebody else.",
        413 => "Too much at once.",
        415 => "Another content type is expected.",
        422 => "Understood, and not possible.",
        429 => "Too many attempts; wait.",
        503 => "Busy or about to stop; try again.",
        507 => "The server's disk is full.",
        _ => "The server failed.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");

    #[test]
    fn every_route_is_described_once_and_nothing_else_is() {
        let routes: Vec<String> = ROUTES.iter().map(id_of).collect();
        let mut described: Vec<&str> = operations().map(|operation| operation.id).collect();
        let mut expected: Vec<&str> = routes.iter().map(String::as_str).collect();
        expected.sort_unstable();
        described.sort_unstable();
        assert_eq!(described, expected);
        let names: BTreeSet<&str> = operations().map(|operation| operation.name).collect();
        assert_eq!(names.len(), ROUTES.len(), "operation ids are unique");
    }

    /// What is in the group `approval` of the policies' schema, and is not signed by whoever does it; each with its reason.
    const UNSIGNED: [(&str, &str); 19] = [
        ("POST /view/requests/{id}/decide", "signed on the page it leads to, as by the API"),
        ("POST /view/reviews/{id}/decide", "signed on the page it leads to, as by the API"),
        ("POST /view/policies/{id}/approve", "signed on the page it leads to, as by the API"),
        ("POST /v1/persons/invite", "agreed to by somebody who signs it, where it would let one act as another"),
        ("POST /v1/persons/{id}/assign", "takes a grant in production, which was signed; gives the giver nothing"),
        ("POST /v1/persons/{id}/reset-authenticators", "agreed to by somebody who signs it, of whoever decides"),
        ("POST /v1/persons/{id}/leave", "takes away"),
        ("POST /v1/persons/{id}/readmit", "gives what the directory gives, and no more"),
        ("POST /v1/person-requests", "asks"),
        ("POST /v1/provisioners", "approved by somebody who signs it"),
        ("POST /v1/provisioner-requests", "asks"),
        ("POST /v1/provisioners/{id}/rotate", "approved by somebody who signs it"),
        ("POST /v1/provisioners/{id}/revoke", "takes away"),
        ("POST /v1/devices/import", "not of one's own devices; the log has the digest of what was brought"),
        ("POST /v1/recovery/keys", "signed with the key that it is about"),
        ("POST /v1/recovery/keys/{id}/end", "takes away"),
        ("POST /v1/reviews/{id}/close", "every decision in it was signed"),
        ("POST /v1/break-glass/seal", "each half is signed for when it is used"),
        ("POST /v1/break-glass/openings/{id}/review", "gives nobody anything"),
    ];

    #[test]
    fn attack_ci22_whoever_approves_signs_it_by_every_route_there_is() {
        let schemas: Value = serde_json::from_str(SCHEMAS).expect("JSON");
        let approves = |route: &&Route| match &route.access {
            Access::Guarded { action, .. } => {
                let group = [
                    "access.approve",
                    "person.assign",
                    "policy.approve",
                    "declassify.approve",
                    "rows.approve",
                    "review.decide",
                    "exception.approve",
                    "recovery.hold",
                ];
                route.method != axum::http::Method::GET && group.contains(&action.as_str())
            }
            Access::Public(_) => false,
        };
        let mut unsigned: Vec<&str> = UNSIGNED.iter().map(|(id, _)| *id).collect();
        for route in ROUTES.iter().filter(approves) {
            let id = id_of(route);
            if let Some(at) = unsigned.iter().position(|known| **known == id) {
                unsigned.remove(at);
                continue;
            }
            let operation = operations().find(|operation| operation.id == id).expect("described");
            let schema = operation.answer.schema.expect("a document");
            let verify = &schemas[schema]["properties"]["verify"];
            assert!(verify.is_object(), "{id} neither says where it is signed nor is it among those that are not");
        }
        assert_eq!(unsigned, Vec::<&str>::new(), "these are signed, or are no approvals");
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = document();
        let mut open = vec![&document];
        let mut seen = BTreeSet::new();
        while let Some(value) = open.pop() {
            match value {
                Value::Object(members) => {
                    if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                        let pointer = target.strip_prefix('#').expect("references stay inside");
                        assert!(document.pointer(pointer).is_some(), "{target}");
                        seen.insert(target.to_owned());
                    }
                    open.extend(members.values());
                }
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
        let schemas = document["components"]["schemas"].as_object().expect("schemas").len();
        assert_eq!(seen.len(), schemas, "every schema is used");
    }

    #[test]
    fn the_committed_description_is_this_one() {
        let text = document_text();
        if std::env::var_os("CRETA_UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(std::path::Path::new(GOLDEN).parent().expect("a folder")).expect("made");
            std::fs::write(GOLDEN, &text).expect("written");
        }
        let committed = std::fs::read_to_string(GOLDEN).unwrap_or_default();
        assert!(
            committed == text,
            "docs/reference/openapi.json is not what the routes say; run this test with CRETA_UPDATE_GOLDEN=1"
        );
    }
}
