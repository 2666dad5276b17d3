//! Routes for the organisation's directory (SCIM 2.0).

use super::operations::{TEXT, created, json, path, query};
use super::{Answer, Body, Operation, Parameter};
use crate::problem::SCIM_JSON;

const COUNT: &str = r#"{"type":"integer"}"#;
const ID: Parameter = path("id", TEXT, "The id that this server gave.");
const ATTRIBUTES: Parameter = query("attributes", TEXT, "Names, separated by commas: send only these.");
const EXCLUDED: Parameter = query("excludedAttributes", TEXT, "Names, separated by commas: leave these out.");

const LIST: &[Parameter] = &[
    query("filter", TEXT, "RFC 7644 section 3.4.2.2."),
    query("sortBy", TEXT, "An attribute."),
    query("sortOrder", r#"{"enum":["ascending","descending"]}"#, "By default ascending."),
    query("startIndex", COUNT, "Counted from 1."),
    query("count", COUNT, "At most 200."),
    ATTRIBUTES,
    EXCLUDED,
];
const ONE: &[Parameter] = &[ID, ATTRIBUTES, EXCLUDED, header("if-none-match", "Tags that are known already.")];
const CHANGE: &[Parameter] = &[ID, header("if-match", "Tags of which one has to be current.")];

const MADE: Answer =
    Answer { status: 201, content_type: SCIM_JSON, schema: Some("ScimResource"), description: "Made." };
const GONE: Answer = Answer { status: 204, content_type: SCIM_JSON, schema: None, description: "Gone." };

const fn scim(schema: &'static str) -> Answer {
    Answer { status: 200, content_type: SCIM_JSON, schema: Some(schema), description: "Done." }
}

const fn header(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: "header", required: false, schema: TEXT, description }
}

/// For each route, by its operation id.
pub(super) static OPERATIONS: &[Operation] = &[
    Operation {
        id: "POST /v1/provisioners",
        name: "create_provisioner",
        tag: "provisioning",
        summary: "Make an account of the environment, by which the organisation's directory provisions people, backups are taken or metrics are read. The answer holds its secret, once.",
        parameters: &[],
        body: Body::Json("ProvisionerRequest"),
        answer: created("ServiceAccountMade"),
        problems: &[409, 422, 507],
    },
    Operation {
        id: "GET /v1/provisioners",
        name: "list_provisioners",
        tag: "provisioning",
        summary: "List the accounts of the environment, revoked ones included.",
        parameters: &[],
        body: Body::None,
        answer: json("ServiceAccounts"),
        problems: &[],
    },
    Operation {
        id: "POST /v1/provisioners/{id}/rotate",
        name: "rotate_provisioner",
        tag: "provisioning",
        summary: "Give such an account a new secret; the present one stays good for some hours.",
        parameters: &[path("id", TEXT, "The client id.")],
        body: Body::Json("Rotation"),
        answer: json("ServiceAccountMade"),
        problems: &[404, 409, 422, 507],
    },
    Operation {
        id: "POST /v1/provisioners/{id}/revoke",
        name: "revoke_provisioner",
        tag: "provisioning",
        summary: "End such an account and all its tokens.",
        parameters: &[path("id", TEXT, "The client id.")],
        body: Body::None,
        answer: json("ServiceAccount"),
        problems: &[404, 507],
    },
    Operation {
        id: "GET /scim/v2/ServiceProviderConfig",
        name: "scim_config",
        tag: "provisioning",
        summary: "What this server can do (RFC 7643 section 5).",
        parameters: &[],
        body: Body::None,
        answer: scim("ScimResource"),
        problems: &[],
    },
    Operation {
        id: "GET /scim/v2/Schemas",
        name: "scim_schemas",
        tag: "provisioning",
        summary: "The schemas of users and groups.",
        parameters: &[],
        body: Body::None,
        answer: scim("ScimList"),
        problems: &[],
    },
    Operation {
        id: "GET /scim/v2/Schemas/{id}",
        name: "scim_schema",
        tag: "provisioning",
        summary: "One schema.",
        parameters: &[path("id", TEXT, "Its URN.")],
        body: Body::None,
        answer: scim("ScimResource"),
        problems: &[404],
    },
    Operation {
        id: "GET /scim/v2/ResourceTypes",
        name: "scim_resource_types",
        tag: "provisioning",
        summary: "What kinds of resources there are.",
        parameters: &[],
        body: Body::None,
        answer: scim("ScimList"),
        problems: &[],
    },
    Operation {
        id: "GET /scim/v2/ResourceTypes/{id}",
        name: "scim_resource_type",
        tag: "provisioning",
        summary: "One kind of resource.",
        parameters: &[path("id", TEXT, "Its name.")],
        body: Body::None,
        answer: scim("ScimResource"),
        problems: &[404],
    },
    Operation {
        id: "GET /scim/v2/Users",
        name: "list_scim_users",
        tag: "provisioning",
        summary: "Find users (RFC 7644 section 3.4.2).",
        parameters: LIST,
        body: Body::None,
        answer: scim("ScimList"),
        problems: &[],
    },
    Operation {
        id: "POST /scim/v2/Users",
        name: "create_scim_user",
        tag: "provisioning",
        summary: "Make a user.",
        parameters: &[],
        body: Body::Scim("ScimResource"),
        answer: MADE,
        problems: &[409, 507],
    },
    Operation {
        id: "GET /scim/v2/Users/{id}",
        name: "get_scim_user",
        tag: "provisioning",
        summary: "Read a user.",
        parameters: ONE,
        body: Body::None,
        answer: scim("ScimResource"),
        problems: &[404],
    },
    Operation {
        id: "PUT /scim/v2/Users/{id}",
        name: "replace_scim_user",
        tag: "provisioning",
        summary: "Put another in the place of a user.",
        parameters: CHANGE,
        body: Body::Scim("ScimResource"),
        answer: scim("ScimResource"),
        problems: &[404, 409, 412, 507],
    },
    Operation {
        id: "PATCH /scim/v2/Users/{id}",
        name: "patch_scim_user",
        tag: "provisioning",
        summary: "Change parts of a user. `active` false ends everything of theirs.",
        parameters: CHANGE,
        body: Body::Scim("ScimPatch"),
        answer: scim("ScimResource"),
        problems: &[404, 409, 412, 507],
    },
    Operation {
        id: "DELETE /scim/v2/Users/{id}",
        name: "delete_scim_user",
        tag: "provisioning",
        summary: "Remove a user. Everything of theirs ends.",
        parameters: CHANGE,
        body: Body::None,
        answer: GONE,
        problems: &[404, 412, 507],
    },
    Operation {
        id: "GET /scim/v2/Groups",
        name: "list_scim_groups",
        tag: "provisioning",
        summary: "Find groups (RFC 7644 section 3.4.2).",
        parameters: LIST,
        body: Body::None,
        answer: scim("ScimList"),
        problems: &[],
    },
    Operation {
        id: "POST /scim/v2/Groups",
        name: "create_scim_group",
        tag: "provisioning",
        summary: "Make a group.",
        parameters: &[],
        body: Body::Scim("ScimResource"),
        answer: MADE,
        problems: &[409, 507],
    },
    Operation {
        id: "GET /scim/v2/Groups/{id}",
        name: "get_scim_group",
        tag: "provisioning",
        summary: "Read a group.",
        parameters: ONE,
        body: Body::None,
        answer: scim("ScimResource"),
        problems: &[404],
    },
    Operation {
        id: "PUT /scim/v2/Groups/{id}",
        name: "replace_scim_group",
        tag: "provisioning",
        summary: "Put another in the place of a group.",
        parameters: CHANGE,
        body: Body::Scim("ScimResource"),
        answer: scim("ScimResource"),
        problems: &[404, 409, 412, 507],
    },
    Operation {
        id: "PATCH /scim/v2/Groups/{id}",
        name: "patch_scim_group",
        tag: "provisioning",
        summary: "Change parts of a group.",
        parameters: CHANGE,
        body: Body::Scim("ScimPatch"),
        answer: scim("ScimResource"),
        problems: &[404, 409, 412, 507],
    },
    Operation {
        id: "DELETE /scim/v2/Groups/{id}",
        name: "delete_scim_group",
        tag: "provisioning",
        summary: "Remove a group.",
        parameters: CHANGE,
        body: Body::None,
        answer: GONE,
        problems: &[404, 412, 507],
    },
    Operation {
        id: "POST /scim/v2/.search",
        name: "search_scim",
        tag: "provisioning",
        summary: "Find users and groups by a message (RFC 7644 section 3.4.3).",
        parameters: &[],
        body: Body::Scim("ScimSearch"),
        answer: scim("ScimList"),
        problems: &[],
    },
    Operation {
        id: "POST /scim/v2/Users/.search",
        name: "search_scim_users",
        tag: "provisioning",
        summary: "Find users by a message (RFC 7644 section 3.4.3).",
        parameters: &[],
        body: Body::Scim("ScimSearch"),
        answer: scim("ScimList"),
        problems: &[],
    },
    Operation {
        id: "POST /scim/v2/Groups/.search",
        name: "search_scim_groups",
        tag: "provisioning",
        summary: "Find groups by a message (RFC 7644 section 3.4.3).",
        parameters: &[],
        body: Body::Scim("ScimSearch"),
        answer: scim("ScimList"),
        problems: &[],
    },
];
