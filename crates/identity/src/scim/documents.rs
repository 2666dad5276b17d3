//! What we say about ourselves (RFC 7643 §5 to §7), made from the same table that reads and writes.

use scim_v2::schema_urns;
use serde_json::{Value, json};

use super::schema::{Attribute, Shape, attributes};
use super::{Kind, PAGE_MAX};

/// `/ServiceProviderConfig`. `base` is the address that the directory was given, without a slash at its end.
pub fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": [schema_urns::SERVICE_PROVIDER_CONFIG],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": PAGE_MAX},
        "changePassword": {"supported": false},
        "sort": {"supported": true},
        "etag": {"supported": true},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Access token",
            "description": "A token of a service account with the role provisioner.",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig")},
    })
}

/// The elements of `/ResourceTypes`, in the order users, groups.
pub fn resource_types(base: &str) -> Vec<Value> {
    let resource_type = |kind: Kind| {
        json!({
            "schemas": [schema_urns::RESOURCE_TYPE],
            "id": kind.name(),
            "name": kind.name(),
            "description": description(kind),
            "endpoint": format!("/{}", kind.endpoint()),
            "schema": kind.urn(),
            "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", kind.name())},
        })
    };
    [Kind::User, Kind::Group].map(resource_type).into()
}

/// The elements of `/Schemas`, in the order users, groups.
pub fn schemas(base: &str) -> Vec<Value> {
    let schema = |kind: Kind| {
        json!({
            "schemas": [schema_urns::SCHEMA],
            "id": kind.urn(),
            "name": kind.name(),
            "description": description(kind),
            "attributes": attributes(kind).iter().map(describe).collect::<Vec<_>>(),
            "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{}", kind.urn())},
        })
    };
    [Kind::User, Kind::Group].map(schema).into()
}

const fn description(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "A person.",
        Kind::Group => "People and groups.",
    }
}

fn describe(attribute: &Attribute) -> Value {
    let kind = match attribute.shape {
        Shape::Text => "string",
        Shape::Boolean => "boolean",
        Shape::Reference => "reference",
        Shape::Complex(_) => "complex",
    };
    let mutability = match (attribute.immutable, attribute.read_only) {
        (true, _) => "immutable",
        (false, true) => "readOnly",
        (false, false) => "readWrite",
    };
    let mut described = json!({
        "name": attribute.name,
        "type": kind,
        "multiValued": attribute.many,
        "description": attribute.about,
        "required": attribute.required,
        "mutability": mutability,
        "returned": "default",
    });
    match attribute.shape {
        Shape::Complex(subs) => described["subAttributes"] = subs.iter().map(describe).collect(),
        Shape::Boolean => {}
        Shape::Text | Shape::Reference => {
            described["caseExact"] = json!(attribute.case_exact);
            described["uniqueness"] = json!(if attribute.unique { "server" } else { "none" });
        }
    }
    if attribute.immutable && attribute.name == "type" {
        described["canonicalValues"] = json!(["User", "Group"]);
    }
    if attribute.shape == Shape::Reference {
        described["referenceTypes"] = json!(["User", "Group"]);
    }
    described
}
